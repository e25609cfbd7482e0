//! The history of one object: every capture at which it changed, with what changed and between which captures.
//!
//! Must never know: how an answer is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::{Archive, QueryError, comparable};
use crate::canonical::Key;
use crate::diff::{self, Change, LinkChange, Links, PropertyChange};
use crate::index::{CaptureRow, LinkRow, Version};

/// One change of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The capture that saw it first: it happened not after that.
    pub capture: CaptureRow,
    /// The capture that last saw everything as it was before: it happened after that. `None` for what the archive
    /// began with, and for what stands in the oldest base that is left where older content expired.
    pub not_before: Option<CaptureRow>,
    /// Whether the object came, went or changed.
    pub change: Change,
    /// Changed properties.
    pub properties: Vec<PropertyChange>,
    /// Changed links.
    pub links: Vec<LinkChange>,
}

/// What the rows of an object say about one capture.
#[derive(Default)]
struct Moves {
    version: Option<Version>,
    ended: Links,
    begun: Links,
    read: BTreeSet<Option<u64>>,
}

impl Archive {
    /// Every revision of `key` (number `id`), oldest first.
    ///
    /// # Errors
    /// The archive's.
    pub async fn history(&self, key: &Key, id: u32) -> Result<Vec<Revision>, QueryError> {
        let moves = self.moves(id)?;
        let mut revisions = Vec::with_capacity(moves.len());
        let (mut content, mut links): (Option<Vec<u8>>, usize) = (None, 0);
        for (seq, moves) in moves {
            let was_there = content.is_some() || links > 0;
            let before = content.clone();
            if let Some(version) = &moves.version {
                content = self.content(key, version).await?.as_ref().map(comparable);
            }
            links = links + count(&moves.begun) - count(&moves.ended);
            let properties = diff::content(before.as_deref(), content.as_deref());
            let changed = diff::links(&moves.ended, &moves.begun);
            let Some(change) = Change::between(was_there, content.is_some() || links > 0) else { continue };
            if change == Change::Changed && before == content && changed.is_empty() {
                continue;
            }
            let (capture, not_before) = self.interval(seq, &moves.read)?;
            revisions.push(Revision { capture, not_before, change, properties, links: changed });
        }
        Ok(revisions)
    }

    fn moves(&self, id: u32) -> Result<BTreeMap<u64, Moves>, QueryError> {
        let head = self.head()?.seq;
        let mut moves: BTreeMap<u64, Moves> = BTreeMap::new();
        for version in self.view().versions(id)?.into_iter().filter(|version| version.seq <= head) {
            let at = moves.entry(version.seq).or_default();
            at.version = Some(version);
            at.read.insert(version.q);
        }
        for row in self.view().links_from(id)? {
            let target = self.view().key(row.target)?;
            let put = |links: &mut Links, row: &LinkRow| {
                links.entry(row.relation.clone()).or_default().insert(target.clone(), row.properties.clone());
            };
            if row.from <= head {
                let at = moves.entry(row.from).or_default();
                put(&mut at.begun, &row);
                at.read.insert(row.q_from);
            }
            if let Some(until) = row.until.filter(|until| *until <= head) {
                let at = moves.entry(until).or_default();
                put(&mut at.ended, &row);
                at.read.insert(row.q_until);
            }
        }
        Ok(moves)
    }

    /// The capture itself, and the earliest of the captures that last saw a part of it as before.
    fn interval(&self, seq: u64, read: &BTreeSet<Option<u64>>) -> Result<(CaptureRow, Option<CaptureRow>), QueryError> {
        let capture = self.capture(seq, self.head()?.seq)?;
        let before = self.view().capture_before(seq)?;
        let oldest = read.iter().copied().flatten().min();
        let not_before = match (before, oldest) {
            (Some(before), Some(oldest)) if oldest < before.seq => self.view().capture_before(oldest + 1)?,
            _ => before,
        };
        // What an expired capture saw nobody can tell any more.
        Ok((capture, not_before.filter(|row| !row.expired)))
    }
}

fn count(links: &Links) -> usize {
    links.values().map(BTreeMap::len).sum()
}
