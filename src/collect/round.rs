//! Reading a collection from beginning to end: its lists, or one round of its feed.
//!
//! Must never know: which collection it is, beyond its recipe.

use std::collections::{BTreeSet, HashSet};

use super::outcome::{Outcome, Status, code, code_of, is_lasting, needs_of};
use super::recipe::{FacetRead, Feed, How, List, Part, Recipe};
use super::selection::{Selection, address};
use super::sift::Sifter;
use super::sighting::{Sighting, Sink};
use super::token::{Token, fingerprint};
use super::{detail, events};
use crate::canonical::{Key, Rules};
use crate::graph::{Error, Page, Reader, Request, Response};
use crate::model::{self, Collection};

/// How often a read starts over because a token expired. A tenant so large that its pages outlive their tokens three
/// times in a row can't be read this way.
const RESTARTS: u32 = 3;

impl Recipe {
    /// Reads one round of the change feed: from `token` where it can still be used, else everything.
    ///
    /// A token that the service no longer knows is no error: the round starts over from nothing, and the outcome says
    /// [`Outcome::full`]. Only a round that ended with a delta link has a token. A collection without a feed is
    /// [`Status::Absent`].
    pub async fn feed(&'static self, reader: &Reader, token: Option<&str>, out: &Sink) -> Outcome {
        let mut round = Round::new(self.collection, reader, out);
        let Some(feed) = self.feed_part() else { return round.absent(code::NOT_OFFERED) };
        let result = round.feed(self, feed, token).await;
        round.finish(result)
    }

    /// Reads every object of the collection. For one that hangs under parents: [`Recipe::children`].
    ///
    /// `refused` names what the tenant refused before and isn't asked for now.
    pub async fn whole(&'static self, reader: &Reader, refused: &[String], out: &Sink) -> Outcome {
        let mut round = Round::new(self.collection, reader, out);
        let (lists, count) = match &self.how {
            How::Lists { lists, count, .. } => (lists, count),
            How::Single { path } => {
                let result = round.single(self, path).await;
                return round.finish(result);
            }
            _ => return round.absent(code::NOT_OFFERED),
        };
        let result = round.whole(self, lists, refused).await;
        if let (Ok(_), Some(path)) = (&result, count) {
            // The index that counts lags and may be refused: it only corroborates.
            let request = Request::new(*path).permission(self.permission).eventual();
            round.count = round.reader.count(&request).await.ok();
        }
        round.finish(result)
    }

    /// Reads the lists of those of `subtypes` that have one: what only they give is in no feed. The lists of others are left
    /// alone.
    pub async fn subtypes(&'static self, subtypes: &BTreeSet<&'static str>, reader: &Reader, out: &Sink) -> Outcome {
        let mut round = Round::new(self.collection, reader, out);
        let How::Lists { lists, .. } = &self.how else { return round.absent(code::NOT_OFFERED) };
        let mut gain = Gain { full: true, ..Gain::default() };
        for list in lists.iter() {
            let Part::Subtype(kind) = list.part else { continue };
            if !subtypes.contains(kind) {
                continue;
            }
            if let Err(stop) = round.subtype(self, list, &mut gain).await {
                return round.finish(Err(stop));
            }
        }
        round.finish(Ok(gain))
    }

    /// Whether any of `subtypes` has a list of its own.
    pub fn has_list_of(&self, subtypes: &BTreeSet<&'static str>) -> bool {
        let How::Lists { lists, .. } = &self.how else { return false };
        lists.iter().any(|list| matches!(list.part, Part::Subtype(kind) if subtypes.contains(kind)))
    }

    /// Reads one facet of every object that has it.
    pub async fn facet_read(&'static self, facet: &'static FacetRead, reader: &Reader, out: &Sink) -> Outcome {
        let mut round = Round::new(self.collection, reader, out);
        let result = round.facet(self, facet).await;
        round.finish(result)
    }
}

/// Why a round ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// A request failed for good.
    Failed(Error),
    /// Nobody listens any more.
    Stopped,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// What was gained by a round that came to its end.
#[derive(Debug, Default)]
pub(super) struct Gain {
    full: bool,
    token: Option<String>,
    /// What kept a part of it from being read.
    shortfall: Option<(&'static str, Error)>,
}

pub(super) struct Round<'o> {
    collection: &'static Collection,
    reader: Reader,
    rules: Rules,
    out: &'o Sink,
    items: u64,
    odd: u64,
    pages: u64,
    count: Option<u64>,
    refused: Vec<String>,
    /// Properties that were asked for by name.
    asked: Vec<String>,
    /// Whether anything was sent on.
    sent: bool,
}

/// One page, sifted.
struct Sifted {
    sightings: Vec<Sighting>,
    delta: Option<String>,
    items: u64,
    odd: u64,
}

fn sift_page(sifter: &Sifter<'_>, response: &Response, page: Page<'_>) -> Sifted {
    let items = page.items.len() as u64;
    let mut sightings = Vec::with_capacity(page.items.len() + 1);
    let mut keys = Vec::new();
    let mut odd = 0;
    for item in page.items {
        match sifter.sift(item, &mut sightings) {
            Some(key) if sifter.feed => keys.push(key),
            Some(_) => {}
            None => odd += 1,
        }
    }
    sightings.push(Sighting::Receipt(response.receipt(items, keys)));
    Sifted { sightings, delta: page.delta, items, odd }
}

impl<'o> Round<'o> {
    pub(super) fn new(collection: &str, reader: &Reader, out: &'o Sink) -> Self {
        Round {
            collection: model::find(collection).expect("a test holds the recipes against the model's table"),
            reader: reader.metered(),
            rules: model::rules(),
            out,
            items: 0,
            odd: 0,
            pages: 0,
            count: None,
            refused: Vec::new(),
            asked: Vec::new(),
            sent: false,
        }
    }

    async fn send(&mut self, sightings: Vec<Sighting>) -> Result<(), Stop> {
        self.sent = true;
        self.out.send(sightings).await.map_err(|_| Stop::Stopped)
    }

    /// Says that what was sent no longer counts for absence; what was counted begins anew.
    async fn restart(&mut self) -> Result<(), Stop> {
        (self.items, self.odd) = (0, 0);
        self.refused.clear();
        self.asked.clear();
        match self.sent {
            true => self.send(vec![Sighting::Restart]).await,
            false => Ok(()),
        }
    }

    /// Reads all pages from `request` on and returns the delta link of the last one. Objects that `known` excludes are
    /// left out; without excluding, it is told about all of them.
    async fn walk(&mut self, request: Request, sifter: &Sifter<'_>, known: &mut Known) -> Result<Option<String>, Stop> {
        let reader = self.reader.clone();
        let mut pages = reader.pages(request);
        let mut delta = None;
        while let Some(mut page) = pages.next(|response, page| sift_page(sifter, response, page)).await? {
            self.pages += 1;
            self.items += page.items;
            self.odd += page.odd;
            delta = page.delta.or(delta);
            known.filter(&mut page.sightings);
            self.send(page.sightings).await?;
        }
        Ok(delta)
    }

    async fn feed(&mut self, recipe: &Recipe, feed: &Feed, token: Option<&str>) -> Result<Gain, Stop> {
        let links = || recipe.relations.iter().filter(|relation| relation.feed).map(|relation| relation.name);
        // A feed that is read without $select tracks its default links by itself.
        let wanted: Vec<_> = match feed.select {
            [] => Vec::new(),
            select => select.iter().copied().chain(links()).collect(),
        };
        let selected = fingerprint(&wanted);
        let all = wanted.clone();
        let mut selection = Selection::new(wanted, feed.guarded, false);
        let now = self.reader.clock().now();
        let mut resume = token.and_then(Token::read).filter(|token| token.is_usable(now, &selected));
        let collection = self.collection;
        let rules = self.rules.clone();
        let sifter = Sifter { feed: true, ..Sifter::plain(collection, &rules) };
        let mut restarts = 0;
        loop {
            let start = match &resume {
                Some(token) => token.link.clone(),
                None => address(feed.path, selection.names(), None),
            };
            let request = request(recipe, start, recipe.permission, selection.names());
            let before = self.pages;
            let error = match self.walk(request, &sifter, &mut Known::None).await {
                Ok(Some(link)) => {
                    let refused = match &resume {
                        Some(token) => token.refused.clone(),
                        None => selection.refused().to_vec(),
                    };
                    let asked = all.iter().filter(|name| !refused.iter().any(|refused| refused == *name));
                    self.asked = asked.map(|name| (*name).to_owned()).collect();
                    self.refused = refused.clone();
                    let token = Token { link, from: self.reader.clock().now(), selected, refused };
                    return Ok(Gain { full: resume.is_none(), token: Some(token.write()), shortfall: None });
                }
                Ok(None) => Error::BadResponse { status: 200, what: "a feed that ends without a delta link" },
                Err(Stop::Failed(error)) => error,
                Err(stop) => return Err(stop),
            };
            let first = self.pages == before;
            let again = match resume.is_some() {
                // Whatever the service has against the link itself: without it there is only the beginning.
                true => is_reset(&error) || first && is_about_the_link(&error),
                false => is_reset(&error) || selection.give_in(&error),
            };
            let counted = resume.is_some() || is_reset(&error);
            if !again || counted && restarts >= RESTARTS {
                return Err(error.into());
            }
            restarts += u32::from(counted);
            resume = None;
            tracing::info!(collection = recipe.collection, code = code_of(&error), "the feed starts over");
            self.restart().await?;
        }
    }

    async fn whole(
        &mut self,
        recipe: &'static Recipe,
        lists: &'static [List],
        refused: &[String],
    ) -> Result<Gain, Stop> {
        let mut selections: Vec<_> = lists
            .iter()
            .map(|list| {
                let names = list.select.iter().chain(list.extra).copied();
                let selection = Selection::new(names, list.guarded, matches!(list.part, Part::Kind(_)));
                selection.paged(list.top).without(refused)
            })
            .collect();
        let mut restarts = 0;
        'again: loop {
            let mut gain = Gain { full: true, ..Gain::default() };
            let mut known = match lists.iter().any(|list| list.part == Part::Beta) {
                true => Known::Collect(HashSet::new()),
                false => Known::None,
            };
            for (list, selection) in lists.iter().zip(&mut selections) {
                let pages = self.pages;
                let result = loop {
                    match self.list(recipe, lists, list, selection, &mut known, &mut gain).await {
                        // Nothing of this list was seen yet, so that it just is asked for again.
                        Err(Stop::Failed(error)) if self.pages == pages && selection.give_in(&error) => {}
                        result => break result,
                    }
                };
                match result {
                    Ok(()) => {
                        self.refused.extend_from_slice(selection.refused());
                        self.asked.extend(selection.names().iter().map(|name| (*name).to_owned()));
                    }
                    Err(Stop::Failed(error))
                        if restarts < RESTARTS && (is_reset(&error) || selection.give_in(&error)) =>
                    {
                        restarts += 1;
                        self.restart().await?;
                        continue 'again;
                    }
                    Err(Stop::Failed(error)) => self.fall_short(list, error, &mut gain)?,
                    Err(stop) => return Err(stop),
                }
            }
            return Ok(gain);
        }
    }

    async fn list(
        &mut self,
        recipe: &'static Recipe,
        lists: &[List],
        list: &List,
        selection: &Selection,
        known: &mut Known,
        gain: &mut Gain,
    ) -> Result<(), Stop> {
        let collection = self.collection;
        let rules = self.rules.clone();
        let subtypes = lists.iter().filter_map(|list| match list.part {
            Part::Subtype(kind) => Some(kind),
            _ => None,
        });
        let (kind, incomplete) = match list.part {
            Part::All | Part::Beta => (None, subtypes.collect()),
            Part::Kind(kind) => (Some(kind), subtypes.collect()),
            Part::Subtype(kind) => (Some(kind), Vec::new()),
        };
        let sifter = Sifter { collection, rules: &rules, feed: false, kind, incomplete, facet: None };
        if list.part == Part::Beta {
            known.exclude();
        }
        let address = address(list.path, selection.names(), selection.top());
        let permission = list.permission.unwrap_or(recipe.permission);
        let request = request(recipe, address, permission, selection.names());
        let request = request.bucket(list.bucket.unwrap_or(recipe.bucket));
        if recipe.details.is_empty() {
            return self.walk(request, &sifter, known).await.map(drop);
        }
        let reader = self.reader.clone();
        let mut pages = reader.pages(request);
        while let Some(mut page) = pages.next(|response, page| sift_page(&sifter, response, page)).await? {
            self.pages += 1;
            self.items += page.items;
            self.odd += page.odd;
            known.filter(&mut page.sightings);
            self.complete(recipe, &mut page.sightings, gain).await;
            self.send(page.sightings).await?;
        }
        Ok(())
    }

    /// Puts the details into objects that were just read.
    async fn complete(&mut self, recipe: &'static Recipe, sightings: &mut Vec<Sighting>, gain: &mut Gain) {
        let completed = detail::complete(recipe, &self.reader, &self.rules, sightings).await;
        sightings.extend(completed.receipts.into_iter().map(Sighting::Receipt));
        self.refused.extend(completed.refused.into_iter().map(str::to_owned));
        if let Some(error) = completed.error {
            // What may hide behind a part that wasn't read is no absence.
            gain.full = false;
            gain.shortfall.get_or_insert((code_of(&error), error));
        }
    }

    async fn single(&mut self, recipe: &'static Recipe, path: &str) -> Result<Gain, Stop> {
        let (collection, rules) = (self.collection, self.rules.clone());
        let sifter = Sifter::plain(collection, &rules);
        let request = request(recipe, path.to_owned(), recipe.permission, &[]);
        let take = |_: &Response, json: crate::canonical::Json<'_>| {
            let mut sightings = Vec::new();
            match json.members().is_some() {
                true => sifter.sift(json, &mut sightings),
                false => return Err("an object was expected"),
            };
            Ok(sightings)
        };
        let (response, mut sightings) = self.reader.document(&request, take).await?;
        (self.pages, self.items) = (1, 1);
        sightings.push(Sighting::Receipt(response.receipt(1, Vec::new())));
        let mut gain = Gain { full: true, ..Gain::default() };
        self.complete(recipe, &mut sightings, &mut gain).await;
        self.send(sightings).await?;
        Ok(gain)
    }

    async fn facet(&mut self, recipe: &'static Recipe, facet: &'static FacetRead) -> Result<Gain, Stop> {
        let (collection, rules) = (self.collection, self.rules.clone());
        let kept = collection.facets.iter().find(|kept| kept.name == facet.name);
        let kept = kept.expect("a test holds the recipes against the model's table");
        let sifter = Sifter { facet: Some(kept), ..Sifter::plain(collection, &rules) };
        let select: Vec<&'static str> = std::iter::once("id").chain(kept.properties.iter().copied()).collect();
        let mut restarts = 0;
        loop {
            let request = request(recipe, address(facet.path, &select, facet.top), facet.permission, &select);
            match self.walk(request, &sifter, &mut Known::None).await {
                Ok(_) => {
                    self.asked = select.iter().map(|name| (*name).to_owned()).collect();
                    return Ok(Gain { full: true, ..Gain::default() });
                }
                Err(Stop::Failed(error)) if is_reset(&error) && restarts < RESTARTS => {
                    restarts += 1;
                    self.restart().await?;
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Reads pages of events. An expired page token costs the pages read so far once more, which are recognised.
    pub(super) async fn events(
        &mut self,
        recipe: &'static Recipe,
        address: String,
        time: &'static str,
    ) -> Result<Gain, Stop> {
        let rules = self.rules.clone();
        let reader = self.reader.clone();
        let mut restarts = 0;
        'again: loop {
            let mut pages = reader.pages(request(recipe, address.clone(), recipe.permission, &[]));
            loop {
                let sift = |response: &Response, page: Page<'_>| {
                    let items = page.items.len() as u64;
                    let mut sightings: Vec<_> =
                        page.items.iter().map(|item| events::sift(recipe, time, &rules, item)).collect();
                    sightings.push(Sighting::Receipt(response.receipt(items, Vec::new())));
                    (items, sightings)
                };
                match pages.next(sift).await {
                    Ok(Some((items, sightings))) => {
                        self.pages += 1;
                        self.items += items;
                        self.send(sightings).await?;
                    }
                    Ok(None) => return Ok(Gain { full: true, ..Gain::default() }),
                    Err(error) if is_reset(&error) && restarts < RESTARTS => {
                        restarts += 1;
                        continue 'again;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    async fn subtype(&mut self, recipe: &'static Recipe, list: &'static List, gain: &mut Gain) -> Result<(), Stop> {
        let names = list.select.iter().chain(list.extra).copied();
        let mut selection = Selection::new(names, list.guarded, false);
        let mut restarts = 0;
        loop {
            match self.list(recipe, &[], list, &selection, &mut Known::None, gain).await {
                Ok(()) => {
                    self.refused.extend_from_slice(selection.refused());
                    return Ok(());
                }
                Err(Stop::Failed(error)) if selection.give_in(&error) => {}
                // What comes twice says the same twice.
                Err(Stop::Failed(error)) if is_reset(&error) && restarts < RESTARTS => restarts += 1,
                Err(Stop::Failed(error)) => return self.fall_short(list, error, gain),
                Err(stop) => return Err(stop),
            }
        }
    }

    /// What it means that one of several lists can't be read.
    fn fall_short(&mut self, list: &List, error: Error, gain: &mut Gain) -> Result<(), Stop> {
        let why = code_of(&error);
        match list.part {
            Part::All => return Err(error.into()),
            // The base type's list showed them all; what is missing is what only they have.
            Part::Subtype(kind) => self.refused.push(format!("microsoft.graph.{kind}")),
            // A cloud without the beta has no policies that only the beta lists.
            Part::Beta if why == code::NOT_OFFERED => self.refused.push("beta".to_owned()),
            Part::Beta => {
                gain.shortfall.get_or_insert((code::BETA_UNREAD, error));
            }
            // A kind that this cloud or tenant doesn't know has nothing in it.
            Part::Kind(kind) if why == code::NOT_OFFERED || why == code::REFUSED => {
                self.refused.push(format!("microsoft.graph.{kind}"));
            }
            Part::Kind(kind) => {
                self.refused.push(format!("microsoft.graph.{kind}"));
                gain.shortfall.get_or_insert((why, error));
            }
        }
        gain.full &= gain.shortfall.is_none();
        Ok(())
    }

    pub(super) fn absent(self, code: &'static str) -> Outcome {
        self.outcome(Status::Absent(code), Gain::default(), None)
    }

    pub(super) fn finish(self, result: Result<Gain, Stop>) -> Outcome {
        let short = |sent, why| match sent {
            true => Status::Partial(why),
            false if is_lasting(why) => Status::Absent(why),
            false => Status::Carried(why),
        };
        match result {
            Ok(mut gain) => match gain.shortfall.take() {
                None => self.outcome(Status::Complete, gain, None),
                Some((why, error)) => {
                    let status = short(self.sent, why);
                    self.outcome(status, gain, Some(error))
                }
            },
            Err(Stop::Stopped) => self.outcome(Status::Partial(code::STOPPED), Gain::default(), None),
            Err(Stop::Failed(error)) => {
                let status = short(self.sent, code_of(&error));
                self.outcome(status, Gain::default(), Some(error))
            }
        }
    }

    fn outcome(mut self, status: Status, gain: Gain, error: Option<Error>) -> Outcome {
        // Lists of one collection that select the same refuse the same.
        for names in [&mut self.refused, &mut self.asked] {
            names.sort_unstable();
            names.dedup();
        }
        Outcome {
            status,
            items: self.items,
            odd: self.odd,
            count: self.count,
            pages: self.pages,
            requests: self.reader.meter().requests(),
            units: self.reader.meter().units(),
            full: gain.full,
            token: gain.token,
            refused: self.refused,
            asked: self.asked,
            needs: needs_of(error.as_ref()),
            from_ms: 0,
            ms: 0,
            error,
        }
    }
}

/// Which objects were seen, for a list that only adds to another.
enum Known {
    None,
    Collect(HashSet<Key>),
    Exclude(HashSet<Key>),
}

impl Known {
    fn exclude(&mut self) {
        if let Known::Collect(keys) = self {
            *self = Known::Exclude(std::mem::take(keys));
        }
    }

    fn filter(&mut self, sightings: &mut Vec<Sighting>) {
        match self {
            Known::None => {}
            Known::Collect(keys) => keys.extend(sightings.iter().filter_map(|sighting| match sighting {
                Sighting::Object { key, .. } => Some(key.clone()),
                _ => None,
            })),
            Known::Exclude(keys) => {
                sightings.retain(|sighting| !matches!(sighting, Sighting::Object { key, .. } if keys.contains(key)));
            }
        }
    }
}

fn request(recipe: &Recipe, address: String, permission: &'static str, select: &[&'static str]) -> Request {
    Request::new(address)
        .permission(permission)
        .bucket(recipe.bucket)
        .unknown_enum_members(recipe.unknown_enum_members)
        .select(select.to_vec())
}

/// The service no longer knows the token of a page or round.
fn is_reset(error: &Error) -> bool {
    matches!(error, Error::TokenExpired { .. })
}

fn is_about_the_link(error: &Error) -> bool {
    matches!(error, Error::Refused { .. } | Error::NotFound { .. } | Error::ForeignLink)
}
