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
