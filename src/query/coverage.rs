//! What an answer rests on: the capture, what that capture did not see, and how certain the answer is.
//!
//! Must never know: how an answer is shown.

use super::{Archive, EXPECTED_DISTANCE, Instant, QueryError};
use crate::archive::entry::{Body, Coverage, Status};
use crate::canonical::Key;

/// How sure it is that something was so at the instant asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// The audit log tells when it changed, to the second.
    Corroborated,
    /// It was read so then, or before and after without a change between.
    Observed,
    /// It changed within a time in which the instant lies, and nobody saw on which side of it.
    ChangedInGap,
    /// Nobody looked: it wasn't read then and not since.
    Unknown,
}

impl Certainty {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Certainty::Corroborated => "corroborated",
            Certainty::Observed => "observed",
            Certainty::ChangedInGap => "changed-in-gap",
            Certainty::Unknown => "unknown",
        }
    }
}

/// A part of the tenant that a capture didn't see whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The collection.
    pub collection: String,
    /// The relation, where it is about one.
    pub relation: Option<String>,
    /// The facet, where it is about one.
    pub facet: Option<String>,
    /// What the capture says of it; `None` where it has no row.
    pub status: Option<Status>,
    /// Why, from a closed list.
    pub code: Option<String>,
    /// The capture at which the longest unread part was last read.
    pub oldest: Option<u64>,
}

impl Gap {
    /// Whether an answer is incomplete because of it. What is read in turns or isn't due is as it should be.
    pub fn is_incomplete(&self) -> bool {
        !matches!(self.status, Some(Status::Complete | Status::Rolling | Status::NotDue))
    }

    /// `user`, `group members` or `user#activity`.
    pub fn subject(&self) -> String {
        let relation = self.relation.as_ref().map_or(String::new(), |relation| format!(" {relation}"));
        let facet = self.facet.as_ref().map_or(String::new(), |facet| format!("#{facet}"));
        format!("{}{facet}{relation}", self.collection)
    }

    /// The status and what explains it.
    pub fn reason(&self) -> String {
        let status = self.status.map_or("never read", Status::as_str);
        let code = self.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
        let oldest = self.oldest.map_or(String::new(), |oldest| format!(" since #{oldest}"));
        format!("{status}{oldest}{code}")
    }

    fn of(row: &Coverage) -> Gap {
        Gap {
            collection: row.c.clone(),
            relation: row.r.clone(),
            facet: row.f.clone(),
            status: Some(row.st),
            code: row.code.clone(),
            oldest: row.oldest,
        }
    }
}

/// What an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The instant it belongs to.
    pub instant: Instant,
    /// The rows of its capture that aren't complete, for the collections that were asked about.
    pub gaps: Vec<Gap>,
}

impl Basis {
    /// Whether the answer is incomplete: something asked about wasn't seen.
    pub fn is_incomplete(&self) -> bool {
        self.instant.capture.unknown || self.is_late() || self.gaps.iter().any(Gap::is_incomplete)
    }

    /// Whether the time asked for lies so long after the last capture that another one is missing.
    pub fn is_late(&self) -> bool {
        self.instant.is_late()
    }
}

impl Instant {
    /// Whether the time asked for lies so long after the last capture that another one is missing.
    pub fn is_late(&self) -> bool {
        let distance = self.asked.map(|asked| asked.duration_since(self.capture.time));
        self.next.is_none() && distance.is_some_and(|distance| distance > EXPECTED_DISTANCE)
    }

    /// Whether the time asked for lies between two captures further apart than they should be.
    fn is_in_wide_gap(&self) -> bool {
        let Some((asked, next)) = self.asked.zip(self.next) else { return false };
        asked > self.capture.time && next.time.duration_since(self.capture.time) > EXPECTED_DISTANCE
    }
}

/// Captures after the one asked for that are looked at for a later reading.
const LOOK_AHEAD: usize = 200;

impl Archive {
    /// The basis of an answer about `collection`, or about everything.
    ///
    /// # Errors
    /// The archive's.
    pub async fn basis(&self, instant: &Instant, collection: Option<&str>) -> Result<Basis, QueryError> {
        let body = self.body(instant.capture.seq).await?;
        let rows = body.cover.iter().flatten();
        let asked = rows.filter(|row| collection.is_none_or(|collection| row.c == collection));
        let mut gaps: Vec<Gap> = asked.clone().filter(|row| row.st != Status::Complete).map(Gap::of).collect();
        if let Some(collection) = collection
            && !asked.clone().any(|row| row.r.is_none() && row.f.is_none())
        {
            let collection = collection.to_owned();
            gaps.push(Gap { collection, relation: None, facet: None, status: None, code: None, oldest: None });
        }
        Ok(Basis { instant: *instant, gaps })
    }

    /// How certain the content of a key (or its absence) is at an instant.
    pub(super) async fn certainty(&self, key: &Key, id: u32, at: &Instant) -> Result<Certainty, QueryError> {
        let seq = at.capture.seq;
        if at.capture.unknown || at.is_late() {
            return Ok(Certainty::Unknown);
        }
        let head = self.head()?.seq;
        let later = self.view().versions(id)?.into_iter().find(|version| version.seq > seq && version.seq <= head);
        if let Some(later) = later {
            let before = self.view().capture_before(later.seq)?.map_or(0, |row| row.seq);
            let confirmed = later.q.unwrap_or(before);
            let in_gap = confirmed < seq || confirmed == seq && at.is_in_wide_gap();
            return Ok(if in_gap { Certainty::ChangedInGap } else { Certainty::Observed });
        }
        let seen = self.is_read_since(key, at, head).await?;
        Ok(if seen { Certainty::Observed } else { Certainty::Unknown })
    }

    /// Whether the collection of `key` was read whole at the instant or at a later capture.
    async fn is_read_since(&self, key: &Key, at: &Instant, head: u64) -> Result<bool, QueryError> {
        let seq = at.capture.seq;
        let mut row = Some(at.capture);
        for _ in 0..LOOK_AHEAD {
            let Some(capture) = row.filter(|capture| capture.seq <= head) else { return Ok(false) };
            if !capture.unknown && is_read(&*self.body(capture.seq).await?, key, seq) {
                return Ok(true);
            }
            row = self.view().capture_after(capture.seq)?;
        }
        Ok(is_read(&*self.body(head).await?, key, seq))
    }
}

/// Whether the capture read all of the collection (or facet) of `key` since capture `seq`.
fn is_read(body: &Body, key: &Key, seq: u64) -> bool {
    body.cover.iter().flatten().any(|row| {
        let same = row.c == key.collection() && row.r.is_none() && row.f.as_deref() == key.facet_name();
        let read = match row.st {
            Status::Complete => true,
            Status::Rolling => row.oldest.is_some_and(|oldest| oldest >= seq),
            _ => false,
        };
        same && read
    })
}
