//! Reading a relation whole, object by object, several at a time.
//!
//! Must never know: which relation it is, beyond its recipe.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

use super::outcome::{Outcome, Status, code, code_of, is_lasting};
use super::recipe::{How, Recipe, RelationRead};
use super::sift::{Sifter, target_of};
use super::sighting::{Content, Sighting, Sink};
use crate::canonical::{Key, Rules, canonicalize};
use crate::graph::{Bucket, Error, Reader, Request, escape};
use crate::model::{self, Collection};

/// So many sources in a row that fail for the same lasting reason, with none that succeeds, mean that none will.
const HOPELESS: u64 = 5;

/// So many sightings of one source are sent on before its last page is read.
const FLUSH: usize = 2000;

impl Recipe {
    /// Reads `relation` of each of `sources` whole: a [`Sighting::Links`] or a [`Sighting::Unread`] for every one, in any
    /// order. A source that vanished meanwhile doesn't make the outcome partial.
    pub async fn links(
        &'static self,
        relation: &'static RelationRead,
        reader: &Reader,
        sources: Vec<Source>,
        out: &Sink,
    ) -> Outcome {
        let aim = match relation.single {
            true => Aim::Target,
            false => Aim::Targets,
        };
        let reading = Reading { relation: relation.name, path: relation.path, permission: relation.permission, aim };
        reading.run(reader, sources, out).await
    }

    /// Reads this collection under each of `parents`: its objects, and a [`Sighting::Links`] or a [`Sighting::Unread`] for
    /// every parent. Links come after the objects and decide: an object that its parent's links don't name was seen on a
    /// page of a list that had to start over. For a collection that doesn't hang under parents the outcome is [`Status::Absent`].
    pub async fn children(&'static self, reader: &Reader, parents: Vec<Key>, out: &Sink) -> Outcome {
        let (How::Under { relation, path, .. }, Some(child)) = (&self.how, model::find(self.collection)) else {
            return Tally::default().outcome(&reader.metered(), Status::Absent(code::NOT_OFFERED), None);
        };
        let reading = Reading { relation, path, permission: self.permission, aim: Aim::Children(child) };
        reading.run(reader, parents.into_iter().map(Source::from).collect(), out).await
    }

    /// Reads the one object here that belongs to each of `parents`: it, or that it is gone, or a [`Sighting::Unread`]. For
    /// a collection of another kind the outcome is [`Status::Absent`].
    pub async fn each(&'static self, reader: &Reader, parents: Vec<Key>, out: &Sink) -> Outcome {
        let (How::Per { path, .. }, Some(own)) = (&self.how, model::find(self.collection)) else {
            return Tally::default().outcome(&reader.metered(), Status::Absent(code::NOT_OFFERED), None);
        };
        let reading = Reading { relation: "", path, permission: self.permission, aim: Aim::Own(own) };
        reading.run(reader, parents.into_iter().map(Source::from).collect(), out).await
    }
}

impl Recipe {
    /// Reads single objects of the collection anew, by their names: each, or that it is gone, or a
    /// [`Sighting::Unread`] with no relation. What only a subtype has isn't shown.
    pub async fn objects(&'static self, reader: &Reader, keys: Vec<Key>, out: &Sink) -> Outcome {
        let (How::Lists { lists: [list, ..], .. }, Some(own)) = (&self.how, model::find(self.collection)) else {
            return Tally::default().outcome(&reader.metered(), Status::Absent(code::NOT_OFFERED), None);
        };
        let path = super::selection::address(&format!("{}/{{id}}", list.path), list.select, None);
        let aim = Aim::Again(own, self.bucket);
        let reading = Reading { relation: "", path: &path, permission: self.permission, aim };
        reading.run(reader, keys.into_iter().map(Source::from).collect(), out).await
    }
}

/// An object under which something is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Its name.
    pub key: Key,
    /// Its subtype, where the address depends on it.
    pub subtype: Option<&'static str>,
}

impl From<Key> for Source {
    fn from(key: Key) -> Self {
        Source { key, subtype: None }
    }
}

/// What is read under each source.
struct Reading<'p> {
    relation: &'static str,
    path: &'p str,
    permission: &'static str,
    aim: Aim,
}

/// What is at the address.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// A list of link targets.
    Targets,
    /// One link target, or none.
    Target,
    /// A list of objects of this collection.
    Children(&'static Collection),
    /// One object of this collection, named as the source is.
    Own(&'static Collection),
    /// The source itself, of this collection.
    Again(&'static Collection, Bucket),
}

#[derive(Debug, Default)]
struct Tally {
    items: u64,
    odd: u64,
    pages: u64,
}

/// What was read under one source.
struct One {
    sightings: Vec<Sighting>,
    tally: Tally,
    error: Option<Error>,
}

impl Reading<'_> {
    async fn run(&self, reader: &Reader, sources: Vec<Source>, out: &Sink) -> Outcome {
        let reader = &reader.metered();
        let rules = &model::rules();
        let hopeless = &OnceLock::new();
        let succeeded = &AtomicU64::new(0);
        let mut tally = Tally::default();
        let (mut failures, mut shortfall, mut first_error) = (0, None, None);
        let mut reads = futures_util::stream::iter(sources)
            .map(|source| self.one(reader, rules, source, hopeless, succeeded, out))
            .buffer_unordered(reader.limits().in_flight);
        while let Some(one) = reads.next().await {
            tally.items += one.tally.items;
            tally.odd += one.tally.odd;
            tally.pages += one.tally.pages;
            if let Some(why) = unread(&one.sightings).filter(|why| *why != code::GONE) {
                failures += 1;
                shortfall.get_or_insert(why);
                let none_will = is_lasting(why) && failures >= HOPELESS && succeeded.load(Ordering::Relaxed) == 0;
                if none_will || one.error.as_ref().is_some_and(ends_all) {
                    let _ = hopeless.set(why);
                }
                first_error = first_error.or(one.error);
            }
            if out.send(one.sightings).await.is_err() {
                return tally.outcome(reader, Status::Partial(code::STOPPED), None);
            }
        }
        let status = match shortfall {
            None => Status::Complete,
            Some(why) if succeeded.load(Ordering::Relaxed) > 0 => Status::Partial(why),
            Some(why) if is_lasting(why) => Status::Absent(why),
            Some(why) => Status::Carried(why),
        };
        tally.outcome(reader, status, first_error)
    }

    async fn one(
        &self,
        reader: &Reader,
        rules: &Rules,
        source: Source,
        hopeless: &OnceLock<&'static str>,
        succeeded: &AtomicU64,
        out: &Sink,
    ) -> One {
        let mut one = One { sightings: Vec::new(), tally: Tally::default(), error: None };
        let mut targets = Vec::new();
        let relation = self.relation;
        let result = match (hopeless.get(), source.key.id().starts_with('!')) {
            (Some(why), _) => Err(*why),
            // Kept under the hash of its bytes: it has no id by which it could be asked for.
            (None, true) => Err(code::BAD_RESPONSE),
            (None, false) => self.read(reader, rules, &source, &mut one, &mut targets, out).await.map_err(|error| {
                let why = match error {
                    Error::NotFound { .. } => code::GONE,
                    _ => code_of(&error),
                };
                one.error = Some(error);
                why
            }),
        };
        let source = source.key;
        one.sightings.extend(match (result, self.aim) {
            (Ok(()), Aim::Own(_) | Aim::Again(..)) => {
                succeeded.fetch_add(1, Ordering::Relaxed);
                None
            }
            (Err(code::GONE), Aim::Own(own) | Aim::Again(own, _)) => {
                Some(Sighting::Gone { key: own_key(own, &source) })
            }
            (Ok(()), _) => {
                succeeded.fetch_add(1, Ordering::Relaxed);
                targets.sort_unstable();
                targets.dedup();
                Some(Sighting::Links { source, relation, targets })
            }
            (Err(code), _) => Some(Sighting::Unread { source, relation, code }),
        });
        one
    }

    async fn read(
        &self,
        reader: &Reader,
        rules: &Rules,
        source: &Source,
        one: &mut One,
        targets: &mut Vec<Key>,
        out: &Sink,
    ) -> Result<(), Error> {
        let path = self.path.replace("{id}", &escape(&source.key.decoded_id()));
        let path = path.replace("{kind}", source.subtype.unwrap_or_default());
        let request = Request::new(path).permission(self.permission).bucket(Bucket::Directory);
        match self.aim {
            Aim::Target => return self.read_single(reader, request, one, targets).await,
            Aim::Own(own) => return read_own(reader, rules, request, own, &source.key, one).await,
            Aim::Again(own, bucket) => return read_again(reader, rules, request.bucket(bucket), own, one).await,
            Aim::Targets | Aim::Children(_) => {}
        }
        let mut restarts = 0;
        loop {
            match self.read_list(reader, rules, request.clone(), one, targets, out).await {
                // Seen on large groups (msgraph-sdk-dotnet#2254): this list begins again, and what it gave is dropped.
                Err(Error::TokenExpired { .. }) if restarts < 3 => {
                    restarts += 1;
                    targets.clear();
                    one.sightings.clear();
                    (one.tally.items, one.tally.odd) = (0, 0);
                }
                result => return result,
            }
        }
    }

    async fn read_list(
        &self,
        reader: &Reader,
        rules: &Rules,
        request: Request,
        one: &mut One,
        targets: &mut Vec<Key>,
        out: &Sink,
    ) -> Result<(), Error> {
        let sifter = match self.aim {
            Aim::Children(collection) => Some(Sifter::plain(collection, rules)),
            _ => None,
        };
        let mut pages = reader.pages(request);
        loop {
            let read = pages.next(|response, page| {
                let items = page.items.len() as u64;
                for item in page.items {
                    let key = match &sifter {
                        Some(sifter) => sifter.sift(item, &mut one.sightings),
                        None => target_of(&item),
                    };
                    one.tally.odd += u64::from(key.is_none());
                    targets.extend(key);
                }
                one.tally.items += items;
                one.sightings.push(Sighting::Receipt(response.receipt(items, Vec::new())));
            });
            match read.await? {
                Some(()) => one.tally.pages += 1,
                None => return Ok(()),
            }
            // A resource may have half a million assignments: their keys are held, not they.
            if one.sightings.len() >= FLUSH && out.send(std::mem::take(&mut one.sightings)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// One object instead of a list. 404 is how the service says that there is none (learn, user-list-manager).
    async fn read_single(
        &self,
        reader: &Reader,
        request: Request,
        one: &mut One,
        targets: &mut Vec<Key>,
    ) -> Result<(), Error> {
        let take = |_: &crate::graph::Response, json: crate::canonical::Json<'_>| {
            target_of(&json).ok_or("an object without an id")
        };
        match reader.document(&request, take).await {
            Ok((response, target)) => {
                one.tally.items += 1;
                one.tally.pages += 1;
                one.sightings.push(Sighting::Receipt(response.receipt(1, Vec::new())));
                targets.push(target);
                Ok(())
            }
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// One object that takes the name of the one it belongs to.
async fn read_own(
    reader: &Reader,
    rules: &Rules,
    request: Request,
    own: &'static Collection,
    source: &Key,
    one: &mut One,
) -> Result<(), Error> {
    let take = |_: &crate::graph::Response, json: crate::canonical::Json<'_>| {
        json.members().ok_or("an object was expected")?;
        let bytes = canonicalize(&json, rules);
        Ok(bytes.map_or_else(|_| Content::Raw(json.source.to_vec()), Content::Canonical))
    };
    let (response, content) = reader.document(&request, take).await?;
    (one.tally.items, one.tally.pages) = (1, 1);
    let key = own_key(own, source);
    one.sightings.push(Sighting::Object { key, content, partial: false, subtype: None });
    one.sightings.push(Sighting::Receipt(response.receipt(1, Vec::new())));
    Ok(())
}

/// One object as its list would have shown it.
async fn read_again(
    reader: &Reader,
    rules: &Rules,
    request: Request,
    own: &'static Collection,
    one: &mut One,
) -> Result<(), Error> {
    let sifter = Sifter::plain(own, rules);
    let take = |_: &crate::graph::Response, json: crate::canonical::Json<'_>| {
        json.members().ok_or("an object was expected")?;
        let mut sightings = Vec::new();
        sifter.sift(json, &mut sightings);
        Ok(sightings)
    };
    let (response, sightings) = reader.document(&request, take).await?;
    (one.tally.items, one.tally.pages) = (1, 1);
    one.sightings.extend(sightings);
    one.sightings.push(Sighting::Receipt(response.receipt(1, Vec::new())));
    Ok(())
}

fn own_key(own: &Collection, source: &Key) -> Key {
    Key::new(own.name, &source.decoded_id())
}

impl Tally {
    fn outcome(self, reader: &Reader, status: Status, error: Option<Error>) -> Outcome {
        Outcome {
            status,
            items: self.items,
            odd: self.odd,
            count: None,
            pages: self.pages,
            requests: reader.meter().requests(),
            units: reader.meter().units(),
            full: status == Status::Complete,
            token: None,
            refused: Vec::new(),
            asked: Vec::new(),
            from_ms: 0,
            ms: 0,
            error,
        }
    }
}

fn unread(sightings: &[Sighting]) -> Option<&'static str> {
    match sightings.last() {
        Some(Sighting::Unread { code, .. }) => Some(code),
        _ => None,
    }
}

/// Errors after which the next source would fare no better, at the price of another round of waiting.
fn ends_all(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::Throttled { .. }
            | Error::Unauthorized { .. }
            | Error::TimeLimit
            | Error::Options { .. }
    )
}
