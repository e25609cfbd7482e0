//! What the log says of segments: where each begins and ends, which packs it commits to, what holds it, what was ended.
//!
//! Must never know: the store's files, time, or who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entry::Entry;
use super::verify::Revocations;
use super::walker::{Step, Verdict, WalkError, Walker, greatest_seq};
use crate::store::Store;

/// How far the end of a segment has come, as the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// Nothing was begun.
    #[default]
    Open,
    /// An `expire` entry stands in the log, and no `expired` after it.
    Begun,
    /// An `expired` entry stands in the log.
    Done,
}

/// A segment as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number, that of the entry which opened it.
    pub number: u64,
    /// Its container.
    pub container: String,
    /// The last entry that belongs to it.
    pub last: u64,
    /// Names of the packs that its entries commit to, in the order of commits.
    pub packs: Vec<String>,
    /// How far its end has come.
    pub end: End,
}

/// What the log says, up to where it was read.
#[derive(Debug)]
pub struct Register {
    walker: Walker,
    genesis: Arc<Entry>,
    segments: BTreeMap<u64, Segment>,
    /// By number, which entries each holds; all there are and come where it doesn't say.
    holds: BTreeMap<u64, Option<(u64, u64)>>,
    releases: Vec<Arc<Entry>>,
    keys: BTreeMap<u64, Entry>,
    lost: BTreeSet<u64>,
    voids: BTreeSet<u64>,
}

impl Register {
    /// Reads the whole log. `progress` hears of entries done and of the greatest there is.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn read(store: &dyn Store, mut progress: impl FnMut(u64, u64)) -> Result<Register, WalkError> {
        let (walker, genesis) = Walker::start(store).await?;
        let keys = BTreeMap::from([(0, Entry::clone(&genesis))]);
        let mut register = Register {
            walker,
            genesis,
            segments: BTreeMap::new(),
            holds: BTreeMap::new(),
            releases: Vec::new(),
            keys,
            lost: BTreeSet::new(),
            voids: BTreeSet::new(),
        };
        let end = greatest_seq(store).await?;
        while let Some(step) = register.walker.step(store, end).await? {
            progress(step.seq, end.unwrap_or(step.seq));
            register.add(step);
        }
        Ok(register)
    }

    /// Reads what was committed since.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn catch_up(&mut self, store: &dyn Store) -> Result<(), WalkError> {
        while let Some(step) = self.walker.step(store, None).await? {
            self.add(step);
        }
        Ok(())
    }

    fn add(&mut self, step: Step) {
        let entry = match step.verdict {
            Verdict::Good(entry) => entry,
            Verdict::Void(_) => {
                self.voids.insert(step.seq);
                return;
            }
            Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => {
                self.lost.insert(step.seq);
                return;
            }
        };
        let body = &entry.body;
        if let (Some(number), Some(container)) = (body.segment, &body.container) {
            let fresh =
                || Segment { number, container: container.clone(), last: body.seq, packs: Vec::new(), end: End::Open };
            let segment = self.segments.entry(number).or_insert_with(fresh);
            segment.last = body.seq;
            segment.packs.extend(body.all_packs().map(|pack| pack.n.clone()));
        }
        match body.kind.as_str() {
            "hold" => {
                let range = match body.range.as_deref() {
                    Some([first, last]) if first <= last => Some((*first, *last)),
                    _ => None,
                };
                self.holds.insert(body.seq, range);
            }
            "release" => self.releases.push(entry),
            "key" => drop(self.keys.insert(body.seq, Entry::clone(&entry))),
            "expire" => self.set_end(body.target, End::Begun),
            "expired" => self.set_end(body.target, End::Done),
            _ => {}
        }
    }

    fn set_end(&mut self, target: Option<u64>, end: End) {
        if let Some(segment) = target.and_then(|target| self.segments.get_mut(&target)) {
            segment.end = end;
        }
    }

    /// The position at which reading ended.
    pub fn walker(&self) -> &Walker {
        &self.walker
    }

    /// The genesis entry.
    pub fn genesis(&self) -> &Entry {
        &self.genesis
    }

    /// The segments in their order. The last is the open one.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.values()
    }

    /// A segment by its number.
    pub fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.get(&number)
    }

    /// Entries that are missing, changed or unverifiable: what they said is not in here.
    pub fn lost(&self) -> &BTreeSet<u64> {
        &self.lost
    }

    /// Files in the log that are no entries.
    pub fn voids(&self) -> &BTreeSet<u64> {
        &self.voids
    }

    /// Numbers of the `hold` entries in force that hold `segment`.
    ///
    /// A hold is in force until a `release` entry names it as its `target`; a release signed by a key that is revoked
    /// releases nothing. A hold with a `range` of entries holds the segments that have one of them. One that doesn't
    /// say, or says it in a way that isn't understood here, holds everything: too much is kept rather than too little.
    pub fn holding(&self, segment: &Segment) -> Vec<u64> {
        let ring = self.walker.ring();
        let revocations = Revocations::of(&self.keys, ring);
        let released: BTreeSet<u64> = self
            .releases
            .iter()
            .filter(|release| revocations.accept(release, ring))
            .filter_map(|release| release.body.target.filter(|target| *target < release.body.seq))
            .collect();
        let holds = self.holds.iter().filter(|(number, _)| !released.contains(number));
        let touches =
            |range: &Option<(u64, u64)>| range.is_none_or(|(from, to)| from <= segment.last && segment.number <= to);
        holds.filter(|(_, range)| touches(range)).map(|(number, _)| *number).collect()
    }
}
