//! Reading a relation whole, object by object, several at a time.
//!
//! Must never know: which relation it is, beyond its recipe.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

use super::outcome::{Outcome, Status, code, code_of, is_lasting, needs_of};
use super::recipe::{How, Recipe, RelationRead};
use super::sift::{Sifter, target_of};
use super::sighting::{Content, Sighting, Sink};
use crate::canonical::{Json, Key, Rules, canonicalize};
use crate::graph::{Bucket, Error, MAX_PARTS, Page, Pages, Reader, Request, Response, escape};
use crate::model::{self, Collection};

/// So many sources in a row that fail for the same lasting reason, with none that succeeds, mean that none will.
const HOPELESS: u64 = 5;

/// Batches on their way at once: what they hold is bounded by this.
const CHUNKS_AT_ONCE: usize = 4;

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
        let (path, permission, by_kind) = (relation.path, relation.permission, relation.kind_permissions);
        let reading = Reading { relation: relation.name, path, permission, by_kind, aim };
        reading.run(reader, sources, out).await
    }

    /// Reads this collection under each of `parents`: its objects, and a [`Sighting::Links`] or a [`Sighting::Unread`] for
    /// every parent. Links come after the objects and decide: an object that its parent's links don't name was seen on a
    /// page of a list that had to start over. For a collection that doesn't hang under parents the outcome is [`Status::Absent`].
    pub async fn children(&'static self, reader: &Reader, parents: Vec<Key>, out: &Sink) -> Outcome {
        let (How::Under { relation, path, .. }, Some(child)) = (&self.how, model::find(self.collection)) else {
            return Tally::default().outcome(&reader.metered(), Status::Absent(code::NOT_OFFERED), None);
        };
        let reading = Reading { relation, path, permission: self.permission, by_kind: &[], aim: Aim::Children(child) };
        reading.run(reader, parents.into_iter().map(Source::from).collect(), out).await
    }

    /// Reads the one object here that belongs to each of `parents`: it, or that it is gone, or a [`Sighting::Unread`]. For
    /// a collection of another kind the outcome is [`Status::Absent`].
    pub async fn each(&'static self, reader: &Reader, parents: Vec<Key>, out: &Sink) -> Outcome {
        let (How::Per { path, .. }, Some(own)) = (&self.how, model::find(self.collection)) else {
            return Tally::default().outcome(&reader.metered(), Status::Absent(code::NOT_OFFERED), None);
        };
        let reading = Reading { relation: "", path, permission: self.permission, by_kind: &[], aim: Aim::Own(own) };
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
        let reading = Reading { relation: "", path: &path, permission: self.permission, by_kind: &[], aim };
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
    /// The permissions of subtypes that have others.
    by_kind: &'static [(&'static str, &'static str)],
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
        let mut run = Run::default();
        let mut chunks = sources.chunks(MAX_PARTS).map(<[Source]>::to_vec).collect::<Vec<_>>().into_iter();
        let read = |sources| self.chunk(reader, rules, sources, hopeless, succeeded, out);
        // The first goes ahead: a permission that lacks for all shows there, at the price of one batch.
        let first = futures_util::stream::iter(chunks.next()).then(read);
        let rest = futures_util::stream::iter(chunks).map(read).buffer_unordered(match self.aim {
            // Pages of whole objects are some fifty times what pages of ids are.
            Aim::Children(_) => 1,
            _ => CHUNKS_AT_ONCE,
        });
        let mut reads = std::pin::pin!(first.chain(rest));
        while let Some(chunk) = reads.next().await {
            let mut sightings = run.take(chunk, hopeless, succeeded);
            if matches!(self.aim, Aim::Own(_)) && succeeded.load(Ordering::Relaxed) == 0 {
                run.doubt(&mut sightings, self.relation, hopeless);
            }
            if out.send(sightings).await.is_err() {
                return run.tally.outcome(reader, Status::Partial(code::STOPPED), None);
            }
        }
        let status = match run.shortfall {
            None => Status::Complete,
            Some(why) if succeeded.load(Ordering::Relaxed) > 0 => Status::Partial(why),
            Some(why) if is_lasting(why) => Status::Absent(why),
            Some(why) => Status::Carried(why),
        };
        run.tally.outcome(reader, status, run.error)
    }

    /// Reads what is under some sources, in one batch as far as that goes.
    async fn chunk(
        &self,
        reader: &Reader,
        rules: &Rules,
        sources: Vec<Source>,
        hopeless: &OnceLock<&'static str>,
        succeeded: &AtomicU64,
        out: &Sink,
    ) -> Vec<One> {
        // Kept under the hash of its bytes, a source has no id by which it could be asked for.
        let (sound, odd): (Vec<Source>, Vec<Source>) =
            sources.into_iter().partition(|source| !source.key.id().starts_with('!'));
        let mut read: Vec<One> =
            odd.into_iter().map(|source| self.unread(source.key, code::BAD_RESPONSE, None)).collect();
        if let Some(why) = hopeless.get() {
            read.extend(sound.into_iter().map(|source| self.unread(source.key, why, None)));
            return read;
        }
        let results = match self.aim {
            Aim::Targets | Aim::Children(_) => self.lists(reader, rules, &sound, out).await,
            Aim::Target | Aim::Own(_) | Aim::Again(..) => self.documents(reader, rules, &sound).await,
        };
        for (source, result) in sound.into_iter().zip(results) {
            read.push(match result {
                Ok(one) => {
                    succeeded.fetch_add(1, Ordering::Relaxed);
                    one
                }
                Err(error) => {
                    let why = match error {
                        Error::NotFound { .. } => code::GONE,
                        _ => code_of(&error),
                    };
                    self.unread(source.key, why, Some(error))
                }
            });
        }
        read
    }

    fn request(&self, source: &Source) -> Request {
        let path = self.path.replace("{id}", &escape(&source.key.decoded_id()));
        let path = path.replace("{kind}", source.subtype.unwrap_or_default());
        let bucket = match self.aim {
            Aim::Again(_, bucket) => bucket,
            _ => Bucket::Directory,
        };
        let by_kind = self.by_kind.iter().find(|(kind, _)| Some(*kind) == source.subtype);
        Request::new(path).permission(by_kind.map_or(self.permission, |(_, permission)| permission)).bucket(bucket)
    }

    /// A source under which nothing could be read.
    fn unread(&self, source: Key, why: &'static str, error: Option<Error>) -> One {
        let sighting = match (why, self.aim) {
            (code::GONE, Aim::Own(own) | Aim::Again(own, _)) => Sighting::Gone { key: own_key(own, &source) },
            _ => Sighting::Unread { source, relation: self.relation, code: why },
        };
        One { sightings: vec![sighting], tally: Tally::default(), error }
    }

    /// One object under each source. For a single target 404 is how the service says that there is none (learn,
    /// user-list-manager).
    async fn documents(&self, reader: &Reader, rules: &Rules, sources: &[Source]) -> Vec<Result<One, Error>> {
        let requests: Vec<Request> = sources.iter().map(|source| self.request(source)).collect();
        let read = reader.batch(&requests, |place, _, json| self.document(rules, &sources[place].key, json)).await;
        let ones = read.into_iter().zip(sources).map(|(read, source)| match (read, self.aim) {
            (Ok((response, mut sightings)), _) => {
                sightings.insert(0, Sighting::Receipt(response.receipt(1, Vec::new())));
                Ok(One { sightings, tally: Tally { items: 1, odd: 0, pages: 1 }, error: None })
            }
            (Err(Error::NotFound { .. }), Aim::Target) => {
                let links =
                    Sighting::Links { source: source.key.clone(), relation: self.relation, targets: Vec::new() };
                Ok(One { sightings: vec![links], tally: Tally::default(), error: None })
            }
            (Err(error), _) => Err(error),
        });
        ones.collect()
    }

    fn document(&self, rules: &Rules, source: &Key, json: Json<'_>) -> Result<Vec<Sighting>, &'static str> {
        json.members().ok_or("an object was expected")?;
        match self.aim {
            Aim::Own(own) => {
                let content = canonicalize(&json, rules);
                let content = content.map_or_else(|_| Content::Raw(json.source.to_vec()), Content::Canonical);
                let key = own_key(own, source);
                Ok(vec![Sighting::Object { key, content, partial: false, subtype: None }])
            }
            Aim::Again(own, _) => {
                let mut sightings = Vec::new();
                Sifter::plain(own, rules).sift(json, &mut sightings);
                Ok(sightings)
            }
            Aim::Target | Aim::Targets | Aim::Children(_) => {
                let target = target_of(&json).ok_or("an object without an id")?;
                Ok(vec![Sighting::Links { source: source.clone(), relation: self.relation, targets: vec![target] }])
            }
        }
    }

    /// A list under each source: the first pages together, what follows one by one.
    async fn lists(&self, reader: &Reader, rules: &Rules, sources: &[Source], out: &Sink) -> Vec<Result<One, Error>> {
        let requests: Vec<Request> = sources.iter().map(|source| self.request(source)).collect();
        let take = |_: usize, response: &Response, page: Page<'_>| {
            let mut listed = Listed::default();
            self.sift(rules, response, page, &mut listed);
            listed
        };
        let first = reader.first_pages(&requests, take).await;
        let mut ones = Vec::with_capacity(sources.len());
        for ((first, request), source) in first.into_iter().zip(&requests).zip(sources) {
            let listed = match first {
                Ok((listed, pages)) => self.rest(reader, rules, request, listed, pages, out).await,
                Err(Error::TokenExpired { .. }) => self.anew(reader, rules, request, out).await,
                Err(error) => Err(error),
            };
            ones.push(listed.map(|listed| self.close(&source.key, listed)));
        }
        ones
    }

    fn close(&self, source: &Key, mut listed: Listed) -> One {
        listed.targets.sort_unstable();
        listed.targets.dedup();
        let links = Sighting::Links { source: source.clone(), relation: self.relation, targets: listed.targets };
        listed.sightings.push(links);
        One { sightings: listed.sightings, tally: listed.tally, error: None }
    }

    /// The pages after the first. A page token that expired, as seen on large groups (msgraph-sdk-dotnet#2254), begins the
    /// list again, and what it gave is dropped.
    async fn rest(
        &self,
        reader: &Reader,
        rules: &Rules,
        request: &Request,
        mut listed: Listed,
        mut pages: Pages<'_>,
        out: &Sink,
    ) -> Result<Listed, Error> {
        loop {
            match pages.next(|response, page| self.sift(rules, response, page, &mut listed)).await {
                Ok(Some(())) => self.flush(&mut listed, out).await,
                Ok(None) => return Ok(listed),
                Err(Error::TokenExpired { .. }) => return self.anew(reader, rules, request, out).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn anew(&self, reader: &Reader, rules: &Rules, request: &Request, out: &Sink) -> Result<Listed, Error> {
        let mut restarts = 0;
        'again: loop {
            let mut listed = Listed::default();
            let mut pages = reader.pages(request.clone());
            loop {
                match pages.next(|response, page| self.sift(rules, response, page, &mut listed)).await {
                    Ok(Some(())) => self.flush(&mut listed, out).await,
                    Ok(None) => return Ok(listed),
                    Err(Error::TokenExpired { .. }) if restarts < 3 => {
                        restarts += 1;
                        continue 'again;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// A resource may have half a million assignments: their keys are held, not they.
    async fn flush(&self, listed: &mut Listed, out: &Sink) {
        if listed.sightings.len() >= FLUSH {
            // Nobody listening shows at the next sending.
            let _ = out.send(std::mem::take(&mut listed.sightings)).await;
        }
    }

    fn sift(&self, rules: &Rules, response: &Response, page: Page<'_>, listed: &mut Listed) {
        let sifter = match self.aim {
            Aim::Children(collection) => Some(Sifter::plain(collection, rules)),
            _ => None,
        };
        let items = page.items.len() as u64;
        for item in page.items {
            let key = match &sifter {
                Some(sifter) => sifter.sift(item, &mut listed.sightings),
                None => target_of(&item),
            };
            listed.tally.odd += u64::from(key.is_none());
            listed.targets.extend(key);
        }
        listed.tally.items += items;
        listed.tally.pages += 1;
        listed.sightings.push(Sighting::Receipt(response.receipt(items, Vec::new())));
    }
}

/// What was read so far, of all sources.
#[derive(Debug, Default)]
struct Run {
    tally: Tally,
    failures: u64,
    shortfall: Option<&'static str>,
    error: Option<Error>,
}

impl Run {
    /// Counts what was read under some sources, decides whether the others are worth asking for, and returns the
    /// sightings.
    fn take(&mut self, chunk: Vec<One>, hopeless: &OnceLock<&'static str>, succeeded: &AtomicU64) -> Vec<Sighting> {
        let mut sightings = Vec::new();
        for one in chunk {
            self.tally.items += one.tally.items;
            self.tally.odd += one.tally.odd;
            self.tally.pages += one.tally.pages;
            if let Some(why) = unread(&one.sightings).filter(|why| *why != code::GONE) {
                self.failures += 1;
                self.shortfall.get_or_insert(why);
                let none_will = is_lasting(why) && self.failures >= HOPELESS && succeeded.load(Ordering::Relaxed) == 0;
                if none_will || one.error.as_ref().is_some_and(ends_all) {
                    let _ = hopeless.set(why);
                }
                self.error = self.error.take().or(one.error);
            }
            sightings.extend(one.sightings);
        }
        sightings
    }
}

impl Run {
    /// Where everything that was asked for is said not to be there, the address isn't: nothing can be said of the objects.
    fn doubt(&mut self, sightings: &mut [Sighting], relation: &'static str, hopeless: &OnceLock<&'static str>) {
        let gone = sightings.iter().filter(|sighting| matches!(sighting, Sighting::Gone { .. })).count() as u64;
        if gone < HOPELESS && hopeless.get().is_none() {
            return;
        }
        for sighting in sightings {
            if let Sighting::Gone { key } = sighting {
                *sighting = Sighting::Unread { source: key.clone(), relation, code: code::NOT_OFFERED };
                self.shortfall.get_or_insert(code::NOT_OFFERED);
            }
        }
        let _ = hopeless.set(code::NOT_OFFERED);
    }
}

/// What a list gave so far.
#[derive(Debug, Default)]
struct Listed {
    sightings: Vec<Sighting>,
    targets: Vec<Key>,
    tally: Tally,
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
            needs: needs_of(error.as_ref()),
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
