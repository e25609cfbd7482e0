//! Links that are there at one of two captures and not at the other.
//!
//! Must never know: what a link means.

use super::IndexError;
use super::build::damaged;
use super::links::LinkRow;
use super::tables::*;
use super::view::View;

/// What two captures show of the links that start at a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns {
    /// Stretches that hold at one of them and not at the other, in no order. A link that got other properties has one that ended and
    /// one that began.
    pub rows: Vec<LinkRow>,
    /// Whether there is any link at the first.
    pub had: bool,
    /// Whether there is any link at the second.
    pub has: bool,
}

impl View {
    /// The links from a key that turn between two captures, in either order. Of a large group nearly all stay, and of those no row
    /// is made.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn turns(&self, id: u32, one: u64, other: u64) -> Result<Turns, IndexError> {
        let mut turns = Turns::default();
        for row in self.links.range((id, 0, 0)..=(id, u32::MAX, u32::MAX))? {
            let (key, value) = row?;
            let (source, relation, target) = key.value();
            if target & VALUE != 0 {
                continue;
            }
            let from = LinkValue::first_capture(value.value()).ok_or_else(|| damaged("a damaged link"))?;
            let (held, holds) = (u64::from(from) <= one, u64::from(from) <= other);
            turns.had |= held;
            turns.has |= holds;
            if held != holds {
                let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
                turns.rows.push(self.link_row((source, relation, target), value)?);
            }
        }
        for row in self.ended_from(id, one.min(other), one.max(other))? {
            let (held, holds) = (row.holds_at(one), row.holds_at(other));
            turns.had |= held;
            turns.has |= holds;
            if held != holds {
                turns.rows.push(row);
            }
        }
        Ok(turns)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::rows::Tables;
    use super::super::{Index, View};
    use super::*;

    const LAST: u32 = 60;

    /// A stretch in which a link was there: source, target, the first capture with it, the first without it, and when it was last
    /// seen missing.
    type Held = (u32, u32, u32, u32, Option<u32>);

    /// xorshift64.
    fn below(state: &mut u64, end: u32) -> u32 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % u64::from(end)) as u32
    }

    fn histories(dice: &mut u64, tables: &mut Tables<'_>) -> Vec<Held> {
        let mut all = Vec::new();
        let relations = ["members", "owners"].map(|relation| tables.relation(relation).unwrap());
        for source in 1..16 {
            let targets = [0, 1, 4, 30, 60][source as usize % 5];
            for target in (100..100 + targets).chain([VALUE | 7]) {
                let relation = relations[(target % 2) as usize];
                let mut at = 0;
                loop {
                    let from = at + 1 + below(dice, 15);
                    let until = from + 1 + below(dice, 25);
                    if from > LAST {
                        break;
                    }
                    let q = (below(dice, 3) == 0).then(|| at + below(dice, from - at));
                    tables.begin((source, relation, target), from, q, Vec::new()).unwrap();
                    let end = if until > LAST { STILL } else { until };
                    all.push((source, target, from, end, q));
                    if end == STILL {
                        break;
                    }
                    let value = LinkValue::open(from, q, Vec::new());
                    tables.close((source, relation, target), value, until, None).unwrap();
                    at = until;
                }
            }
        }
        all
    }

    fn check(view: &View, all: &[Held], one: u32, other: u32) {
        let during = u64::from(one.min(other))..=u64::from(one.max(other));
        for id in 1..16 {
            let own: Vec<&Held> = all.iter().filter(|held| held.0 == id && held.1 & VALUE == 0).collect();
            let holds = |held: &Held, at: u32| held.2 <= at && at < held.3;
            let turned: BTreeSet<(u32, u64)> = own
                .iter()
                .filter(|held| holds(held, one) != holds(held, other))
                .map(|held| (held.1, u64::from(held.2)))
                .collect();
            let turns = view.turns(id, u64::from(one), u64::from(other)).unwrap();
            assert_eq!(turns.had, own.iter().any(|held| holds(held, one)), "{id} at {one}");
            assert_eq!(turns.has, own.iter().any(|held| holds(held, other)), "{id} at {other}");
            assert_eq!(turns.rows.len(), turned.len());
            let found: BTreeSet<_> = turns.rows.iter().map(|row| (row.target, row.from)).collect();
            assert_eq!(found, turned, "{id} from {one} to {other}");
            // A stretch reaches back to when it was last seen missing.
            let touches = |held: &&&Held| {
                u64::from(held.4.map_or(held.2, |q| q + 1)) <= *during.end() && u64::from(held.3) > *during.start()
            };
            let near: BTreeSet<_> = own.iter().filter(touches).map(|held| (held.1, u64::from(held.2))).collect();
            let found = view.links_from_during(id, None, &during).unwrap();
            assert_eq!(found.iter().map(|row| (row.target, row.from)).collect::<BTreeSet<_>>(), near);
        }
        for target in 100..160 {
            let relation = ["members", "owners"][(target % 2) as usize];
            let near = all.iter().filter(|held| {
                let first = held.4.map_or(held.2, |q| q + 1);
                held.1 == target && u64::from(first) <= *during.end() && u64::from(held.3) > *during.start()
            });
            let near: BTreeSet<_> = near.map(|held| (held.0, u64::from(held.2))).collect();
            let found = view.links_to_during(target, Some(relation), &during).unwrap();
            assert_eq!(found.iter().map(|row| (row.source, row.from)).collect::<BTreeSet<_>>(), near, "{target}");
        }
    }

    /// However much ended: what is read whole and what is looked for come to the same.
    #[test]
    fn looks_find_what_touches_and_turns_what_differs() {
        let mut dice = std::env::var("TENURE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(8821);
        println!("seed {dice}");
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(directory.path()).unwrap();
        let txn = index.database.begin_write().unwrap();
        let all = {
            let mut tables = Tables::open(&txn).unwrap();
            for seq in 1..=u64::from(LAST) {
                tables.captures.insert(seq, [0; 9].as_slice()).unwrap();
            }
            histories(&mut dice, &mut tables)
        };
        txn.commit().unwrap();
        assert!(all.len() > 300, "{}", all.len());
        let view = index.view().unwrap();
        for _ in 0..80 {
            let (one, other) = (1 + below(&mut dice, LAST), 1 + below(&mut dice, LAST));
            check(&view, &all, one, other);
        }
    }
}
