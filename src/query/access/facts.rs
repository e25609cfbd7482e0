//! Single facts as the archive has them: links, and what objects say, each with the stretch in which it held.
//!
//! Must never know: what a fact grants.
//!
//! Every look says which collection or relation it rests on; what was looked at is what an answer's basis is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::Value;

use super::held::{Held, Window};
use crate::archive::entry::Status;
use crate::canonical::Key;
use crate::index::{LinkRow, Version, VersionKind};
use crate::query::{Archive, Instant, QueryError};

/// A collection, relation or facet that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The collection.
    pub collection: String,
    /// The relation, where it is one.
    pub relation: Option<String>,
    /// The facet, where it is one.
    pub facet: Option<String>,
}

/// A link that may have held within the window, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The number of the other end.
    pub other: u32,
    /// When.
    pub held: Held,
}

/// What an object said, and when it said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<T> {
    /// The object.
    pub key: Key,
    /// What.
    pub what: T,
    /// When.
    pub held: Held,
}

/// The facts of one archive, as a question about one window sees them.
pub struct Facts<'a> {
    /// The archive.
    pub archive: &'a Archive,
    /// The window.
    pub window: Window,
    used: Mutex<BTreeSet<Subject>>,
    /// What is known of captures, by the subject that they may have read.
    known: Mutex<BTreeMap<Subject, Arc<Mutex<Known>>>>,
}

/// Content as JSON; `None` where it is none, or there is none.
pub type Json = Option<Arc<Value>>;

/// What stretches of rows about one collection or relation have in common. A large group has a hundred thousand of them that begin
/// at a few captures, and what is known of those is looked up once.
#[derive(Debug)]
struct Known {
    /// The last capture by which all of it had been read; 0 where it never was.
    last_read: u64,
    missing: HashMap<u64, (u64, bool)>,
    before: HashMap<u64, Option<u64>>,
}

impl<'a> Facts<'a> {
    /// Facts as of an instant.
    ///
    /// # Errors
    /// The archive's.
    pub fn at(archive: &'a Archive, instant: &Instant) -> Result<Self, QueryError> {
        let after = after(instant);
        let asked = instant.asked.map(|asked| (asked, asked));
        Self::over(archive, (instant, after), (instant, after), asked)
    }

    /// Facts of a period, from one instant to another.
    ///
    /// # Errors
    /// The archive's.
    pub fn during(archive: &'a Archive, begin: &Instant, end: &Instant) -> Result<Self, QueryError> {
        let asked = begin.asked.zip(end.asked);
        Self::over(archive, (begin, after(begin)), (end, after(end)), asked)
    }

    fn over(
        archive: &'a Archive,
        begin: (&Instant, u64),
        end: (&Instant, u64),
        asked: Option<(Timestamp, Timestamp)>,
    ) -> Result<Self, QueryError> {
        let window = Window {
            begin: begin.0.capture,
            end: end.0.capture,
            begin_after: begin.1,
            end_after: end.1,
            asked,
            horizon: archive.head()?.seq,
        };
        Ok(Facts { archive, window, used: Mutex::default(), known: Mutex::default() })
    }

    /// Everything that was looked at so far.
    pub fn used(&self) -> BTreeSet<Subject> {
        lock(&self.used).clone()
    }

    /// Says that an answer rests on a collection or relation.
    pub fn rest_on(&self, collection: &str, relation: Option<&str>) -> Subject {
        let subject = Subject { collection: collection.to_owned(), relation: relation.map(str::to_owned), facet: None };
        lock(&self.used).insert(subject.clone());
        subject
    }

    /// Says that an answer rests on a facet.
    pub fn rest_on_facet(&self, collection: &str, facet: &str) {
        let (collection, facet) = (collection.to_owned(), Some(facet.to_owned()));
        lock(&self.used).insert(Subject { collection, relation: None, facet });
    }

    /// Says that an answer rests on all of these.
    pub fn rest_on_all(&self, subjects: BTreeSet<Subject>) {
        lock(&self.used).extend(subjects);
    }

    /// Every object of a collection that is there at the window's end, in the order of their keys.
    pub fn objects(&self, collection: &str) -> Result<Vec<(u32, Key)>, QueryError> {
        self.rest_on(collection, None);
        let view = self.archive.view();
        let mut found = Vec::new();
        view.each_key(Some(collection), |key, id| {
            let version = view.version_at(id, self.window.end.seq)?;
            if key.facet_name().is_none() && version.is_some_and(|version| version.kind != VersionKind::Removed) {
                found.push((id, key));
            }
            Ok::<_, QueryError>(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The links of `relation` from an object of `collection` that may have held within the window.
    pub fn links_from(&self, id: u32, collection: &str, relation: &str) -> Result<Vec<Linked>, QueryError> {
        let subject = self.rest_on(collection, Some(relation));
        let rows = self.archive.view().links_from_during(id, Some(relation), &self.window.captures())?;
        self.linked(rows, &subject, |row| row.target)
    }

    /// The links of `relation` that lead to an object from objects of `collection`.
    pub fn links_to(&self, id: u32, collection: &str, relation: &str) -> Result<Vec<Linked>, QueryError> {
        let subject = self.rest_on(collection, Some(relation));
        let rows = self.archive.view().links_to_during(id, Some(relation), &self.window.captures())?;
        self.linked_from(rows, collection, &subject)
    }

    /// What objects of `collection` are linked by, of all that these rows start at.
    fn linked_from(&self, rows: Vec<LinkRow>, collection: &str, subject: &Subject) -> Result<Vec<Linked>, QueryError> {
        let mut mine = Vec::with_capacity(rows.len());
        for row in rows {
            if self.archive.view().key(row.source)?.collection() == collection {
                mine.push(row);
            }
        }
        self.linked(mine, subject, |row| row.source)
    }

    fn linked(
        &self,
        rows: Vec<LinkRow>,
        subject: &Subject,
        other: fn(&LinkRow) -> u32,
    ) -> Result<Vec<Linked>, QueryError> {
        let mut found = Vec::with_capacity(rows.len());
        let stretches = self.stretches(subject)?;
        for row in rows.into_iter().filter(|row| row.from <= self.window.horizon) {
            let held = stretches.held((row.from, row.q_from), (row.until, row.q_until))?;
            if self.window.sureness(&held).is_some() {
                found.push(Linked { other: other(&row), held });
            }
        }
        // Links with other properties follow one another; to a fact that makes no difference.
        found.sort_unstable_by_key(|linked| (linked.other, linked.held));
        let mut joined: Vec<Linked> = Vec::with_capacity(found.len());
        for linked in found {
            match joined.last_mut().filter(|last| last.other == linked.other) {
                Some(last) => match last.held.or(linked.held) {
                    Some(held) => last.held = held,
                    None => joined.push(linked),
                },
                None => joined.push(linked),
            }
        }
        Ok(joined)
    }

    /// Objects of `collection` whose indexed `property` may have had `value` within the window, with their keys.
    pub fn with_value(&self, collection: &str, property: &str, value: &str) -> Result<Vec<(u32, Key)>, QueryError> {
        self.with_value_of(&[collection], property, value)
    }

    /// As [`Facts::with_value`], for objects of several collections, in the order of these: one look finds all of them.
    pub fn with_value_of(
        &self,
        collections: &[&str],
        property: &str,
        value: &str,
    ) -> Result<Vec<(u32, Key)>, QueryError> {
        for collection in collections {
            self.rest_on(collection, None);
        }
        let rows = self.archive.view().with_value_during(property, value, &self.window.captures())?;
        let mut found = BTreeMap::new();
        for row in rows.into_iter().filter(|row| row.from <= self.window.horizon) {
            let key = self.archive.view().key(row.source)?;
            if let Some(place) = collections.iter().position(|collection| *collection == key.collection()) {
                found.insert((place, row.source), key);
            }
        }
        Ok(found.into_iter().map(|((_, id), key)| (id, key)).collect())
    }

    /// The stretches in which objects of `collection` had an indexed `property` of this value, as the index has them: no content is
    /// read, and text that says the same as a truth value counts as one.
    pub fn stretches_of_value(&self, collection: &str, property: &str, value: &str) -> Result<Vec<Linked>, QueryError> {
        let subject = self.rest_on(collection, None);
        let rows = self.archive.view().with_value_during(property, value, &self.window.captures())?;
        self.linked_from(rows, collection, &subject)
    }

    /// What an object said within the window, by `read` of its content: one row for each stretch in which that was the same.
    /// Content of which `read` makes nothing is as if it weren't there.
    pub async fn said<T: PartialEq>(
        &self,
        id: u32,
        key: &Key,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<Said<T>>, QueryError> {
        let subject = self.rest_on(key.collection(), None);
        let versions = self.archive.view().versions(id)?;
        let versions: Vec<Version> = versions.into_iter().filter(|row| row.seq <= self.window.horizon).collect();
        let stretches = self.stretches(&subject)?;
        let mut found: Vec<Said<T>> = Vec::new();
        // From the last to the first: what is the same joins the stretch behind it, and what ended before the window ends it.
        let mut next: Option<Version> = None;
        for version in versions.into_iter().rev() {
            let until = (next.map(|next| next.seq), next.and_then(|next| next.q));
            let held = stretches.held((version.seq, version.q), until)?;
            next = Some(version);
            let ended_early = held.until.is_some_and(|until| until <= self.window.begin.seq);
            let follows = found.last().is_some_and(|last| Some(last.held.from) == held.until);
            if ended_early && !follows {
                break;
            }
            let content = self.content(key, &version).await?;
            let Some(what) = content.as_deref().and_then(&read) else { continue };
            match found.last_mut().filter(|last| last.what == what && Some(last.held.from) == held.until) {
                Some(last) => {
                    last.held = Held { sure: last.held.sure, until: last.held.until, ..held };
                }
                None if ended_early => break,
                None => found.push(Said { key: key.clone(), what, held }),
            }
        }
        found.retain(|said| self.window.sureness(&said.held).is_some());
        found.reverse();
        Ok(found)
    }

    /// The content of an object as of the window's end, whatever became of it then; `None` where it had none that is JSON.
    pub async fn content_at_end(&self, id: u32, key: &Key) -> Result<Json, QueryError> {
        self.rest_on(key.collection(), None);
        match self.archive.view().version_at(id, self.window.end.seq)? {
            Some(version) => self.content(key, &version).await,
            None => Ok(None),
        }
    }

    /// The content of a version as JSON.
    pub async fn content(&self, key: &Key, version: &Version) -> Result<Json, QueryError> {
        self.archive.json(key, version).await
    }

    /// The key and number of the directory object called `id`, of one of `collections`: one that the archive knows. Where it
    /// knows none the answer rests on all of them: one that couldn't be read may be it.
    pub fn object(&self, id: &str, collections: &[&str]) -> Result<Option<(u32, Key)>, QueryError> {
        for collection in collections {
            let key = Key::new(collection, id);
            if let Some(number) = self.archive.view().id(&key)?
                && self.archive.is_known(number)?
            {
                self.rest_on(collection, None);
                return Ok(Some((number, key)));
            }
        }
        for collection in collections {
            self.rest_on(collection, None);
            if *collection == "group" {
                self.rest_on(collection, Some("members"));
            }
        }
        Ok(None)
    }

    /// What makes stretches of rows about one collection or relation.
    fn stretches<'b>(&'b self, subject: &'b Subject) -> Result<Stretches<'b>, QueryError> {
        if let Some(known) = lock(&self.known).get(subject) {
            return Ok(Stretches { facts: self, subject, known: known.clone() });
        }
        let view = self.archive.view();
        let (relation, facet) = (subject.relation.as_deref(), subject.facet.as_deref());
        let last_read = view.last_read(&subject.collection, relation, facet, self.window.horizon)?.unwrap_or(0);
        let known = Known { last_read, missing: HashMap::new(), before: HashMap::new() };
        let known = Arc::new(Mutex::new(known));
        lock(&self.known).insert(subject.clone(), known.clone());
        Ok(Stretches { facts: self, subject, known })
    }
}

/// Makes stretches of rows about one collection or relation.
struct Stretches<'a> {
    facts: &'a Facts<'a>,
    subject: &'a Subject,
    known: Arc<Mutex<Known>>,
}

impl Stretches<'_> {
    /// A stretch from two rows: where it begins and ends, each with the capture that was the last to see it otherwise.
    fn held(&self, from: (u64, Option<u64>), until: (Option<u64>, Option<u64>)) -> Result<Held, QueryError> {
        let (from, q_from) = from;
        let known = until.0.filter(|until| *until <= self.facts.window.horizon);
        let sure = match (known, until.1) {
            (None, _) => from.max(lock(&self.known).last_read),
            (Some(_), Some(q)) => q.max(from),
            (Some(until), None) => self.before(until)?.map_or(from, |seq| seq.max(from)),
        };
        let (missing, is_open) = match q_from {
            Some(q) => (q, false),
            None => self.missing_before(from)?,
        };
        Ok(Held { missing, from, sure, until: known, is_open })
    }

    fn before(&self, seq: u64) -> Result<Option<u64>, QueryError> {
        if let Some(found) = lock(&self.known).before.get(&seq) {
            return Ok(*found);
        }
        let found = self.facts.archive.view().capture_before(seq)?.map(|row| row.seq);
        lock(&self.known).before.insert(seq, found);
        Ok(found)
    }

    /// The last capture before `from` that would have shown something of the collection or relation, and whether there was none.
    /// Of the time before anybody looked nothing is said: then it is the one just before.
    fn missing_before(&self, from: u64) -> Result<(u64, bool), QueryError> {
        if let Some(found) = lock(&self.known).missing.get(&from) {
            return Ok(*found);
        }
        let (view, subject) = (self.facts.archive.view(), self.subject);
        let (relation, facet) = (subject.relation.as_deref(), subject.facet.as_deref());
        let before = view.capture_before(from)?.filter(|before| !before.expired);
        let found = match before {
            None => (0, true),
            Some(before) => {
                let sight = view.sight(&subject.collection, relation, facet, before.seq)?;
                // What is read in turns says with each change when it was read before; what the gate holds back was read.
                let read = match sight.status {
                    Some(Status::Complete | Status::Rolling) => true,
                    Some(Status::Partial) => sight.code.as_deref() == Some("gate"),
                    _ => false,
                };
                match view.last_read(&subject.collection, relation, facet, before.seq)? {
                    _ if read && !before.unknown => (before.seq, false),
                    Some(last) => (last, false),
                    None => (before.seq, true),
                }
            }
        };
        lock(&self.known).missing.insert(from, found);
        Ok(found)
    }
}

/// The first capture at or after an instant, as far as it is known.
fn after(instant: &Instant) -> u64 {
    let is_later = instant.asked.is_some_and(|asked| asked > instant.capture.time);
    instant.next.filter(|_| is_later).map_or(instant.capture.seq, |next| next.seq)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this")
}
