//! What an answer rests on: the entries of the captures used, and what they saw of everything that was looked at.
//!
//! Must never know: the question.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Asking;
use crate::archive::entry::Status;
use crate::hash::Hash;
use crate::index::Sight;
use crate::query::access::Subject;
use crate::query::{EXPECTED_DISTANCE, QueryError};

/// An entry that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryMark {
    /// Its number.
    pub seq: u64,
    /// The instant for which the capture stands.
    pub time: Timestamp,
    /// Its hash as a leaf of the log.
    pub hash: Hash,
    /// The root of the whole state after it.
    pub state: Hash,
}

/// What was seen of a collection or relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it is about.
    pub subject: Subject,
    /// What the captures of the window say of it: the first of them, and each that says something else.
    pub sights: Vec<Sight>,
    /// The capture by which all of it had been read since the end of the window.
    pub confirmed: Option<u64>,
    /// Whether nothing that matters can have been missed of it.
    pub is_complete: bool,
}

/// What an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The captures at both ends of the window, those behind them where the times asked lie between, and the head.
    pub entries: Vec<EntryMark>,
    /// What was looked at, sorted.
    pub seen: Vec<Seen>,
    /// Times within the window without a capture, longer than they should be: their ends.
    pub outages: Vec<(Timestamp, Timestamp)>,
    /// Whether nothing that matters can have been missed.
    pub is_complete: bool,
}

impl Evidence {
    /// What the answer of `asking` rests on.
    pub(super) async fn of(asking: &Asking<'_>) -> Result<Evidence, QueryError> {
        let window = asking.access.facts.window;
        let mut numbers = vec![window.begin.seq, window.begin_after, window.end.seq, window.end_after, window.horizon];
        numbers.sort_unstable();
        numbers.dedup();
        let mut entries = Vec::with_capacity(numbers.len());
        for seq in numbers {
            let Some(row) = asking.archive.view().capture(seq)? else { continue };
            let (hash, state) = asking.archive.entry_hashes(seq).await?;
            entries.push(EntryMark { seq, time: row.time, hash, state });
        }
        let mut seen = Vec::new();
        for subject in asking.access.facts.used() {
            seen.push(see(asking, subject)?);
        }
        let outages = outages(asking)?;
        let blind = window.begin.unknown || window.end.unknown || asking.end.is_late();
        let is_complete = !blind && outages.is_empty() && seen.iter().all(|seen| seen.is_complete);
        Ok(Evidence { entries, seen, outages, is_complete })
    }

    /// As JSON: part of what an answer is hashed over.
    pub fn to_json(&self) -> Value {
        let entry = |entry: &EntryMark| json!({"seq": entry.seq, "time": entry.time.to_string(), "entry": entry.hash.to_string(), "state": entry.state.to_string()});
        let outage = |(from, to): &(Timestamp, Timestamp)| json!([from.to_string(), to.to_string()]);
        json!({
            "entries": self.entries.iter().map(entry).collect::<Vec<_>>(),
            "coverage": self.seen.iter().map(Seen::to_json).collect::<Vec<_>>(),
            "outages": self.outages.iter().map(outage).collect::<Vec<_>>(),
            "complete": self.is_complete,
        })
    }
}

impl Seen {
    fn to_json(&self) -> Value {
        let mut row = Map::new();
        row.insert("collection".to_owned(), self.subject.collection.as_str().into());
        if let Some(relation) = &self.subject.relation {
            row.insert("relation".to_owned(), relation.as_str().into());
        }
        if let Some(facet) = &self.subject.facet {
            row.insert("facet".to_owned(), facet.as_str().into());
        }
        let sight = |sight: &Sight| {
            let status = sight.status.map_or("never read", Status::as_str);
            json!({"seq": sight.seq, "status": status, "oldest": sight.oldest, "code": sight.code})
        };
        // A month of sweeps says another `oldest` every hour: the ends tell enough.
        let told: Vec<Value> = match self.sights.as_slice() {
            [first, .., last] if self.sights.len() > MOST_SIGHTS => vec![sight(first), sight(last)],
            sights => sights.iter().map(sight).collect(),
        };
        row.insert("sights".to_owned(), told.into());
        row.insert("confirmed".to_owned(), self.confirmed.into());
        row.insert("complete".to_owned(), self.is_complete.into());
        row.into()
    }

    /// `user`, `group members` or `user#activity`.
    pub fn name(&self) -> String {
        let relation = self.subject.relation.as_ref().map_or(String::new(), |relation| format!(" {relation}"));
        let facet = self.subject.facet.as_ref().map_or(String::new(), |facet| format!("#{facet}"));
        format!("{}{facet}{relation}", self.subject.collection)
    }
}

/// The code of a row whose licence the tenant lacks: docs/format.md lists them.
const NO_LICENCE: &str = "no-licence";

/// How the names of collections begin of which a tenant without the licence has nothing: Privileged Identity Management and
/// Conditional Access (learn.microsoft.com/entra/fundamentals/licensing).
const LICENSED: [&str; 6] = [
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleEligibilitySchedule",
    "unifiedRoleManagementPolicy",
    "conditionalAccessPolicy",
    "namedLocation",
    "authenticationStrengthPolicy",
];

/// Sights that are told one by one.
const MOST_SIGHTS: usize = 24;

fn see(asking: &Asking<'_>, subject: Subject) -> Result<Seen, QueryError> {
    let (window, view) = (asking.access.facts.window, asking.archive.view());
    let (collection, relation, facet) =
        (subject.collection.as_str(), subject.relation.as_deref(), subject.facet.as_deref());
    let during = window.begin.seq..=window.end.seq;
    let sights = view.sights_during(collection, relation, facet, &during)?;
    let confirmed = view.confirmed(collection, relation, facet, &(window.end_after..=window.horizon))?;
    // Without the licence for it there can be nothing of it. Of what happens anyway and only isn't told, that doesn't hold.
    let needs_licence = facet.is_none() && LICENSED.iter().any(|prefix| collection.starts_with(prefix));
    let is_unlicensed = |sight: &Sight| {
        needs_licence && sight.status == Some(Status::Absent) && sight.code.as_deref() == Some(NO_LICENCE)
    };
    let is_seen = |sight: &Sight| {
        matches!(sight.status, Some(Status::Complete | Status::Rolling | Status::NotDue)) || is_unlicensed(sight)
    };
    let ends_well = confirmed.is_some() || sights.last().is_some_and(is_unlicensed);
    let began_seen = sights.first().is_some_and(|sight| sight.seq <= window.begin.seq && is_seen(sight));
    let is_complete = match window.is_instant() {
        true => ends_well && (began_seen || is_bracketed(asking, &subject, confirmed)?),
        false => ends_well && began_seen && sights.iter().all(is_seen),
    };
    Ok(Seen { subject, sights, confirmed, is_complete })
}

/// Whether an instant at which something wasn't read lies between two captures that did read it and are no further apart than
/// captures with one left out: then nothing is hidden that a gap between captures wouldn't hide.
fn is_bracketed(asking: &Asking<'_>, subject: &Subject, confirmed: Option<u64>) -> Result<bool, QueryError> {
    let (window, view) = (asking.access.facts.window, asking.archive.view());
    let (relation, facet) = (subject.relation.as_deref(), subject.facet.as_deref());
    let before = view.last_read(&subject.collection, relation, facet, window.begin.seq)?;
    let time = |seq: Option<u64>| Ok::<_, QueryError>(seq.map(|seq| view.capture(seq)).transpose()?.flatten());
    let (Some(before), Some(after)) = (time(before)?, time(confirmed)?) else { return Ok(false) };
    Ok(after.time.duration_since(before.time) <= EXPECTED_DISTANCE * 2)
}

/// Times between captures of the window that are longer than they should be; before its end and after its beginning.
fn outages(asking: &Asking<'_>) -> Result<Vec<(Timestamp, Timestamp)>, QueryError> {
    let (window, view) = (asking.access.facts.window, asking.archive.view());
    let mut outages = Vec::new();
    let mut last = window.begin;
    while let Some(next) = view.capture_after(last.seq)?.filter(|next| next.seq <= window.end_after) {
        if next.time.duration_since(last.time) > EXPECTED_DISTANCE {
            outages.push((last.time, next.time));
        }
        last = next;
    }
    Ok(outages)
}
