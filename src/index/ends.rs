//! Which segments have ended, as far as the index has followed the log: their captures are known to have been, and no more.
//!
//! Must never know: retention, or holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::IndexError;
use super::build::damaged;
use crate::archive::entry::{Body, Entry, entry_name};
use crate::archive::pack::Place;
use crate::store::{Store, StoreError};

/// Ends of segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// What the rows of this index are made without.
    pub ended: BTreeSet<u64>,
    /// Those with an `expired` entry.
    pub done: BTreeSet<u64>,
    /// Those with an `expire` entry alone: where their packs are, and how many there were.
    pub begun: BTreeMap<u64, (String, u64)>,
}

impl Ends {
    /// Whether the segment of an entry is one of those that rows are made without.
    pub fn has(&self, body: &Body) -> bool {
        body.segment.is_some_and(|segment| self.ended.contains(&segment))
    }

    /// Takes an `expire` or `expired` entry in.
    pub async fn learn(&mut self, store: &dyn Store, body: &Body) -> Result<(), IndexError> {
        let Some(target) = body.target else { return Ok(()) };
        if body.kind == "expired" {
            self.begun.remove(&target);
            self.done.insert(target);
            return Ok(());
        }
        let container = match store.get(&entry_name(target)).await {
            Ok(file) => Entry::parse(&file).ok().and_then(|entry| entry.body.container),
            // Lost: its captures are unknown anyway.
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(container) = container {
            self.begun.insert(target, (container, body.count.unwrap_or(0)));
        }
        Ok(())
    }

    /// What rows have to be made without now. Of a segment whose end has begun and isn't told yet the packs decide: while
    /// all are there it is read as ever, since a hold may have stopped its end.
    pub async fn settled(&self, store: &dyn Store) -> Result<BTreeSet<u64>, StoreError> {
        let mut ended = self.done.clone();
        for (segment, (container, count)) in &self.begun {
            let left = match store.list(&Place::segment_prefix(container, *segment), "").await {
                Ok(left) => left.len() as u64,
                Err(StoreError::BadName { .. }) => 0,
                Err(error) => return Err(error),
            };
            if left < *count {
                ended.insert(*segment);
            }
        }
        Ok(ended)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let begun = self.begun.iter().map(|(segment, (container, count))| json!([segment, container, count]));
        let begun: Vec<Value> = begun.collect();
        json!({ "ended": self.ended, "done": self.done, "begun": begun }).to_string().into_bytes()
    }

    pub fn from_bytes(bytes: Option<&[u8]>) -> Result<Ends, IndexError> {
        let Some(bytes) = bytes else { return Ok(Ends::default()) };
        let read = || {
            let value: Value = serde_json::from_slice(bytes).ok()?;
            let numbers = |name: &str| -> Option<BTreeSet<u64>> {
                value.get(name)?.as_array()?.iter().map(Value::as_u64).collect()
            };
            let begun = value.get("begun")?.as_array()?.iter().map(|row| {
                let (segment, container, count) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Some((segment.as_u64()?, (container.as_str()?.to_owned(), count.as_u64()?)))
            });
            Some(Ends { ended: numbers("ended")?, done: numbers("done")?, begun: begun.collect::<Option<_>>()? })
        };
        read().ok_or_else(|| damaged("damaged ends of segments"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_round_trip_and_damaged_ones_are_refused() {
        let ends = Ends { ended: [1].into(), done: [1, 9].into(), begun: [(20, ("2026-09".to_owned(), 7))].into() };
        assert_eq!(Ends::from_bytes(Some(&ends.to_bytes())).unwrap(), ends);
        assert_eq!(Ends::from_bytes(None).unwrap(), Ends::default());
        assert!(Ends::from_bytes(Some(b"{}")).is_err());
    }
}
