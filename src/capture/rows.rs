//! Rows of coverage while they come about, and when a row was last read.
//!
//! Must never know: objects.

use std::collections::BTreeMap;

use crate::archive::entry::{Body, Coverage, Status};
use crate::collect::{self, Outcome};

/// A row's name: collection, and relation where it is about one.
pub(super) type RowName = (String, Option<String>);

/// The name under which the local state keeps a row.
pub(super) fn text(row: &RowName) -> String {
    match &row.1 {
        Some(relation) => format!("{} {relation}", row.0),
        None => row.0.clone(),
    }
}

/// The rows of one capture.
#[derive(Debug, Default)]
pub(super) struct Rows(pub BTreeMap<RowName, Coverage>);

impl Rows {
    /// Sets a row.
    pub fn set(&mut self, collection: &str, relation: Option<&str>, status: Status) -> &mut Coverage {
        let row = Coverage {
            c: collection.to_owned(),
            r: relation.map(str::to_owned),
            f: None,
            st: status,
            how: None,
            n: None,
            count: None,
            oldest: None,
            code: None,
            missed: None,
            refused: Vec::new(),
        };
        let name = (row.c.clone(), row.r.clone());
        self.0.insert(name.clone(), row);
        self.0.get_mut(&name).expect("just inserted")
    }

    /// The row of a collection or relation.
    pub fn get_mut(&mut self, collection: &str, relation: Option<&str>) -> Option<&mut Coverage> {
        self.0.get_mut(&(collection.to_owned(), relation.map(str::to_owned)))
    }

    /// In the order in which entries have them.
    pub fn into_cover(self) -> Vec<Coverage> {
        self.0.into_values().collect()
    }
}

/// The status and code of a read.
pub(super) fn status_of(outcome: &Outcome) -> (Status, Option<&'static str>) {
    match outcome.status {
        collect::Status::Complete => (Status::Complete, None),
        collect::Status::Partial(code) => (Status::Partial, Some(code)),
        collect::Status::Carried(code) => (Status::Carried, Some(code)),
        collect::Status::Absent(code) => (Status::Absent, Some(code)),
    }
}

/// Whether `row` was complete in the capture just before, so that its changes need no `q`.
pub(super) fn was_complete(last: &Body, collection: &str, relation: Option<&str>) -> bool {
    let mut cover = last.cover.iter().flatten();
    cover.any(|row| row.c == collection && row.r.as_deref() == relation && row.st == Status::Complete)
}
