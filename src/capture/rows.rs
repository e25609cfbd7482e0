//! Rows of coverage while they come about, and when a row was last read.
//!
//! Must never know: objects.

use std::collections::BTreeMap;

use crate::archive::entry::{Body, Coverage, Status};
use crate::collect::{self, Outcome};

/// What a row is about: a collection, and a relation or a facet of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// The objects.
    Objects,
    /// One relation of theirs.
    Relation(&'a str),
    /// One facet of theirs.
    Facet(&'a str),
}

impl<'a> Part<'a> {
    pub fn relation(self) -> Option<&'a str> {
        match self {
            Part::Relation(relation) => Some(relation),
            _ => None,
        }
    }

    pub fn facet(self) -> Option<&'a str> {
        match self {
            Part::Facet(facet) => Some(facet),
            _ => None,
        }
    }

    pub fn of_facet(facet: Option<&'a str>) -> Part<'a> {
        facet.map_or(Part::Objects, Part::Facet)
    }
}

/// The name under which the local state keeps a row.
pub(super) fn text(collection: &str, part: Part<'_>) -> String {
    match part {
        Part::Objects => collection.to_owned(),
        Part::Relation(relation) => format!("{collection} {relation}"),
        Part::Facet(facet) => format!("{collection}#{facet}"),
    }
}

/// The rows of one capture, by collection, relation and facet.
#[derive(Debug, Default)]
pub(super) struct Rows(BTreeMap<(String, Option<String>, Option<String>), Coverage>);

impl Rows {
    /// Sets a row.
    pub fn set(&mut self, collection: &str, part: Part<'_>, status: Status) -> &mut Coverage {
        let row = Coverage::new(collection, part.relation(), part.facet(), status);
        let name = (row.c.clone(), row.r.clone(), row.f.clone());
        self.0.insert(name.clone(), row);
        self.0.get_mut(&name).expect("just inserted")
    }

    /// One row.
    pub fn get_mut(&mut self, collection: &str, part: Part<'_>) -> Option<&mut Coverage> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        self.0.get_mut(&(collection.to_owned(), owned(part.relation()), owned(part.facet())))
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &Coverage> {
        self.0.values()
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

/// What the read under a row cost.
pub(super) fn set_costs(row: &mut Coverage, outcome: &Outcome) {
    let some = |number: u64| Some(number).filter(|&number| number > 0);
    row.pages = some(outcome.pages);
    row.requests = some(outcome.requests);
    row.units = some(outcome.units);
    row.from_ms = some(outcome.from_ms);
    row.ms = some(outcome.ms);
}

/// Whether a row was complete in the capture just before, so that its changes need no `q`.
pub(super) fn was_complete(last: &Body, collection: &str, part: Part<'_>) -> bool {
    let mut cover = last.cover.iter().flatten();
    cover.any(|row| {
        row.c == collection
            && row.r.as_deref() == part.relation()
            && row.f.as_deref() == part.facet()
            && row.st == Status::Complete
    })
}
