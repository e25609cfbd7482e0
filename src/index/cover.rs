//! What captures saw of each collection, relation and facet, so that nobody has to read a thousand entries to know it of a
//! month.
//!
//! Must never know: what is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use redb::ReadableTable as _;

use super::IndexError;
use super::build::damaged;
use super::rows::Tables;
use super::tables::*;
use super::view::View;
use crate::archive::entry::{Body, Status};

/// What a capture saw of a collection, relation or facet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The capture since which it says so.
    pub seq: u64,
    /// What the capture says; `None` where it has no row.
    pub status: Option<Status>,
    /// The oldest capture at which any part was last read.
    pub oldest: Option<u64>,
    /// Why it isn't complete, from a closed list.
    pub code: Option<String>,
}

/// By subject: its number and what was last said.
pub(super) type Subjects = BTreeMap<String, (u32, (u8, u32, String))>;

/// The statuses by their numbers in a row; nothing is 0.
const STATUSES: [Status; 6] =
    [Status::Complete, Status::Rolling, Status::NotDue, Status::Partial, Status::Carried, Status::Absent];

fn subject(collection: &str, relation: Option<&str>, facet: Option<&str>) -> String {
    // No name of a collection or facet holds these; a relation comes last and may.
    format!("{collection}#{} {}", facet.unwrap_or_default(), relation.unwrap_or_default())
}

impl Tables<'_> {
    /// Keeps what a capture saw, where that isn't what was said before.
    pub fn add_cover(&mut self, body: &Body) -> Result<(), IndexError> {
        let mut subjects = match self.known_subjects.take() {
            Some(subjects) => subjects,
            None => self.read_subjects()?,
        };
        let mut left: BTreeSet<String> = subjects.keys().cloned().collect();
        for row in body.cover.iter().flatten() {
            let name = subject(&row.c, row.r.as_deref(), row.f.as_deref());
            left.remove(&name);
            let status = STATUSES.iter().position(|status| *status == row.st).map_or(0, |place| place as u8 + 1);
            let oldest = row.oldest.map_or(STILL, |oldest| oldest as u32);
            self.say(&mut subjects, name, body.seq, (status, oldest, row.code.clone().unwrap_or_default()))?;
        }
        for name in left {
            self.say(&mut subjects, name, body.seq, (0, STILL, String::new()))?;
        }
        self.known_subjects = Some(subjects);
        Ok(())
    }

    fn say(
        &mut self,
        subjects: &mut Subjects,
        name: String,
        seq: u64,
        said: (u8, u32, String),
    ) -> Result<(), IndexError> {
        let number = match subjects.get(&name) {
            Some((_, last)) if *last == said => return Ok(()),
            Some((number, _)) => *number,
            None => {
                let number = subjects.len() as u32;
                self.subjects.insert(name.as_str(), number)?;
                number
            }
        };
        self.cover.insert((number, seq as u32), (said.0, said.1, said.2.as_str()))?;
        subjects.insert(name, (number, said));
        Ok(())
    }

    fn read_subjects(&self) -> Result<Subjects, IndexError> {
        let mut subjects = Subjects::new();
        for row in self.subjects.iter()? {
            let (name, number) = row?;
            let (name, number) = (name.value().to_owned(), number.value());
            let last = self.cover.range((number, 0)..=(number, u32::MAX))?.next_back();
            let (_, last) = last.ok_or_else(|| damaged("a subject of coverage without a row"))??;
            let (status, oldest, code) = last.value();
            subjects.insert(name, (number, (status, oldest, code.to_owned())));
        }
        Ok(subjects)
    }
}

impl View {
    /// What capture `seq` saw of a collection, relation or facet.
    pub fn sight(
        &self,
        collection: &str,
        relation: Option<&str>,
        facet: Option<&str>,
        seq: u64,
    ) -> Result<Sight, IndexError> {
        let none = Sight { seq: 0, status: None, oldest: None, code: None };
        let found = self.sights_during(collection, relation, facet, &(seq..=seq))?;
        Ok(found.into_iter().next().unwrap_or(none))
    }

    /// What the captures `during` saw of a collection, relation or facet: what the first one says, and what changes after it.
    pub fn sights_during(
        &self,
        collection: &str,
        relation: Option<&str>,
        facet: Option<&str>,
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<Sight>, IndexError> {
        let name = subject(collection, relation, facet);
        let Some(number) = self.subjects.get(name.as_str())?.map(|number| number.value()) else {
            return Ok(Vec::new());
        };
        let (first, last) = (*during.start() as u32, u32::try_from(*during.end()).unwrap_or(STILL));
        let mut found = Vec::new();
        let before = self.cover.range((number, 0)..=(number, first))?.next_back();
        let after = self.cover.range((number, first.saturating_add(1))..=(number, last.max(first)))?;
        for row in before.into_iter().chain(after) {
            let (key, row) = row?;
            let (status, oldest, code) = row.value();
            found.push(Sight {
                seq: u64::from(key.value().1),
                status: usize::from(status).checked_sub(1).and_then(|place| STATUSES.get(place).copied()),
                oldest: known(oldest).map(u64::from),
                code: Some(code.to_owned()).filter(|code| !code.is_empty()),
            });
        }
        Ok(found)
    }

    /// As [`View::sights_during`], of everything that is covered, by `collection`, `collection#facet` or `collection relation`.
    pub fn all_sights_during(&self, during: &RangeInclusive<u64>) -> Result<Vec<(String, Vec<Sight>)>, IndexError> {
        let mut found = Vec::new();
        for row in self.subjects.iter()? {
            let name = row?.0.value().to_owned();
            let (head, relation) = name.split_once(' ').ok_or_else(|| damaged("a damaged subject of coverage"))?;
            let (collection, facet) = head.split_once('#').ok_or_else(|| damaged("a damaged subject of coverage"))?;
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let (relation, facet) = (some(relation), some(facet));
            let sights = self.sights_during(collection, relation.as_deref(), facet.as_deref(), during)?;
            let relation = relation.map_or(String::new(), |relation| format!(" {relation}"));
            let facet = facet.map_or(String::new(), |facet| format!("#{facet}"));
            found.push((format!("{collection}{facet}{relation}"), sights));
        }
        Ok(found)
    }

    /// The first capture from `seq` to `last` by which the whole of a collection, relation or facet had been read since `seq`.
    pub fn confirmed(
        &self,
        collection: &str,
        relation: Option<&str>,
        facet: Option<&str>,
        during: &RangeInclusive<u64>,
    ) -> Result<Option<u64>, IndexError> {
        let (seq, last) = (*during.start(), *during.end());
        let sights = self.sights_during(collection, relation, facet, during)?;
        for (place, sight) in sights.iter().enumerate() {
            let is_read = match sight.status {
                Some(Status::Complete) => true,
                Some(Status::Rolling) => sight.oldest.is_some_and(|oldest| oldest >= seq),
                _ => false,
            };
            let end = sights.get(place + 1).map_or(last, |next| next.seq - 1);
            if is_read && let Some(found) = self.first_known(sight.seq.max(seq), end)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The last capture up to `seq` since which, or at which, all of a collection, relation or facet was read: what was there
    /// then and wasn't found gone is sure to have been there. `None` where it never was.
    pub fn last_read(
        &self,
        collection: &str,
        relation: Option<&str>,
        facet: Option<&str>,
        seq: u64,
    ) -> Result<Option<u64>, IndexError> {
        let name = subject(collection, relation, facet);
        let Some(number) = self.subjects.get(name.as_str())?.map(|number| number.value()) else { return Ok(None) };
        let mut end = seq;
        for row in self.cover.range((number, 0)..=(number, seq as u32))?.rev() {
            let (key, row) = row?;
            let since = u64::from(key.value().1);
            let (status, oldest, _) = row.value();
            match usize::from(status).checked_sub(1).and_then(|place| STATUSES.get(place)) {
                Some(Status::Complete) => {
                    if let Some(found) = self.last_known(since, end)? {
                        return Ok(Some(found));
                    }
                }
                Some(Status::Rolling) if oldest != STILL => return Ok(Some(u64::from(oldest))),
                _ => {}
            }
            end = since.saturating_sub(1);
        }
        Ok(None)
    }

    /// The last capture of `first..=last` whose state is known.
    fn last_known(&self, first: u64, last: u64) -> Result<Option<u64>, IndexError> {
        let mut row = self.capture_before(last + 1)?;
        while let Some(capture) = row.filter(|capture| capture.seq >= first) {
            if !capture.unknown {
                return Ok(Some(capture.seq));
            }
            row = self.capture_before(capture.seq)?;
        }
        Ok(None)
    }

    /// The first capture of `first..=last` whose state is known.
    fn first_known(&self, first: u64, last: u64) -> Result<Option<u64>, IndexError> {
        let mut row = match self.capture(first)? {
            Some(row) => Some(row),
            None => self.capture_after(first)?,
        };
        while let Some(capture) = row.filter(|capture| capture.seq <= last) {
            if !capture.unknown {
                return Ok(Some(capture.seq));
            }
            row = self.capture_after(capture.seq)?;
        }
        Ok(None)
    }
}
