//! Orphans: files of a container that no entry commits to.
//!
//! Must never know: what is in a file.

use std::collections::{BTreeMap, HashSet};

use super::packs::Reading;
use super::survey::{Survey, packs_of};
use super::{Report, Severity};
use crate::archive::entry::Body;
use crate::store::StoreError;

/// The names that entries commit to, of containers whose last entry is still to come, and what was found in the others.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// By the last entry of each: the containers.
    closing: BTreeMap<u64, Vec<String>>,
    committed: BTreeMap<String, HashSet<String>>,
    notes: BTreeMap<String, (String, usize)>,
}

impl Orphans {
    pub fn new(survey: &Survey) -> Orphans {
        let mut closing: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (container, (_, last)) in survey.containers() {
            closing.entry(*last).or_default().push(container.clone());
        }
        Orphans { closing, committed: BTreeMap::new(), notes: BTreeMap::new() }
    }

    /// Takes down what an entry commits to.
    pub fn commit(&mut self, body: &Body) {
        if let Some(container) = &body.container {
            let names = packs_of(body).map(|pack| pack.n.clone());
            self.committed.entry(container.clone()).or_default().extend(names);
        }
    }

    /// Looks for orphans in the containers whose last entry is `seq`: every entry of them was taken down.
    pub async fn close(&mut self, reading: Reading<'_>, seq: u64) -> Result<(), StoreError> {
        for container in self.closing.remove(&seq).unwrap_or_default() {
            let committed = self.committed.remove(&container).unwrap_or_default();
            let listed = match reading.store.list(&format!("{container}/s/"), "").await {
                Ok(listed) => listed,
                Err(StoreError::BadName { .. }) => continue,
                Err(error) => return Err(error),
            };
            let mut orphans = listed
                .iter()
                .map(|blob| &blob.name)
                .filter(|name| !committed.contains(*name) && !reading.survey.is_foreign(name));
            if let Some(first) = orphans.next() {
                self.notes.insert(container, (first.clone(), orphans.count() + 1));
            }
        }
        Ok(())
    }

    /// Says what was found, in the order of containers.
    pub fn report(self, report: &mut Report) {
        for (first, count) in self.notes.into_values() {
            let message = format!("{count} files here belong to no entry; a crash before a commit leaves such files");
            report.add(Severity::Note, "orphan", &first, None, message);
        }
    }
}
