//! Reading the tenant for one capture: which feeds, lists, facets and fan-outs are due, and what came of each.
//!
//! Must never know: what is done with what was seen.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::progress::{Progress, Update};
use super::recovery;
use super::rows::{self, Part, Rows};
use super::seen::Seenness;
use super::spool::Phase;
use super::{CaptureError, Options, Request};
use crate::archive::Key;
use crate::archive::entry::{Coverage, Status};
use crate::collect::{self, COLLECTIONS, Outcome, Recipe, RelationRead, Sighting, Source};
use crate::graph::{self, Bucket, Reader, Receipt};
use crate::index::View;
use crate::model;

/// Pages that may wait between reading and spooling.
const PAGES_WAITING: usize = 4;

/// Everything that was seen.
pub(super) struct Gathered {
    pub collections: BTreeMap<&'static str, Seenness>,
    pub rows: Rows,
    pub receipts: Vec<Receipt>,
    /// What the local state takes over once this is committed.
    pub update: Update,
    pub troubles: Vec<(String, String)>,
    error: Option<graph::Error>,
    pub reconciled: BTreeSet<&'static str>,
    /// Ids of what the new events were done to.
    pub touched: BTreeSet<String>,
    /// A new event says that the service's own recovery did something.
    pub has_recovered: bool,
    /// Sources that the read in hand couldn't read, and why.
    pub unread: Vec<(Key, &'static str)>,
    pub last_seq: u64,
    /// The time of the last event seen.
    pub latest_event: Option<Timestamp>,
    /// The time of the first event seen.
    pub earliest_event: Option<Timestamp>,
}

impl Gathered {
    /// What ended the reading, where not a single row could be read.
    pub fn nothing_read(&mut self) -> Option<graph::Error> {
        let was_asked = |row: &&Coverage| row.requests.is_some_and(|requests| requests > 0);
        let read = self.rows.iter().filter(was_asked).any(|row| !matches!(row.st, Status::Carried));
        if read { None } else { self.error.take() }
    }
}

pub(super) struct Gatherer<'a> {
    pub reader: &'a Reader,
    pub view: &'a View,
    pub progress: &'a Progress,
    pub options: &'a Options,
    pub request: &'a Request,
    /// The permissions that the token names.
    pub granted: Vec<String>,
    /// Whether what the tenant is compared with is the state at the head.
    pub is_known: bool,
    pub t0: Timestamp,
    /// Reads that the rolling sweeps may still make.
    pub sweep_left: u64,
    /// What Microsoft's own recovery wrote, in no change feed.
    pub recovered: recovery::Scope,
    pub out: Gathered,
}

/// Reads what is due.
pub(super) async fn gather(
    reader: &Reader,
    view: &View,
    progress: &Progress,
    options: &Options,
    request: &Request,
    t0: Timestamp,
) -> Result<Gathered, CaptureError> {
    let last_seq = view.position()?.map_or(0, |head| head.size.saturating_sub(1));
    let out = Gathered {
        collections: BTreeMap::new(),
        rows: Rows::default(),
        receipts: Vec::new(),
        update: Update::default(),
        troubles: Vec::new(),
        error: None,
        reconciled: BTreeSet::new(),
        touched: BTreeSet::new(),
        has_recovered: false,
        unread: Vec::new(),
        last_seq,
        latest_event: None,
        earliest_event: None,
    };
    let is_known = view.is_state_known()?;
    let granted = reader.granted().await.ok().flatten().unwrap_or_default();
    let sweep_left = options.sweep_requests;
    let recovered = recovery::Scope::of(progress.recovered()?);
    let mut gatherer =
        Gatherer { reader, view, progress, options, request, granted, is_known, t0, sweep_left, recovered, out };
    let lists = || COLLECTIONS.iter().filter(|recipe| recipe.parent().is_none() && recipe.per().is_none());
    // Reports have so narrow a limit that a large one takes most of an hour: nothing may have to wait for it.
    let is_slow = |recipe: &&'static Recipe| recipe.bucket == Bucket::Reports && !recipe.is_events();
    for recipe in lists().filter(|recipe| !is_slow(recipe)) {
        match recipe.is_events() {
            true => gatherer.events(recipe).instrument(span(recipe)).await?,
            false => gatherer.collection(recipe).instrument(span(recipe)).await?,
        }
        if recipe.collection == recovery::JOBS {
            gatherer.find_recovered()?;
        }
        gatherer.out.settle()?;
    }
    gatherer.sweeps().await?;
    for recipe in lists().filter(is_slow) {
        gatherer.collection(recipe).instrument(span(recipe)).await?;
    }
    gatherer.out.update.recovered = Some(gatherer.recovered.left());
    Ok(gatherer.out)
}

/// What a trace shows of reading a collection.
fn span(recipe: &Recipe) -> tracing::Span {
    tracing::info_span!("collection", name = recipe.collection)
}

impl Gatherer<'_> {
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.options.off.iter().any(|off| off == name)
    }

    /// Events since the last one known, with an overlap for those that come late.
    async fn events(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.insert(name, Seenness::default());
        if self.is_off(name) {
            self.set_off(recipe);
            return Ok(());
        }
        let token = self.progress.token(name, self.out.last_seq)?;
        let watermark: Option<Timestamp> = token.and_then(|token| token.parse().ok());
        let overlap = match self.request.reconcile {
            true => self.options.event_overlap * 6,
            false => self.options.event_overlap,
        };
        let from = watermark.and_then(|watermark| watermark.checked_sub(overlap).ok());
        let outcome =
            self.run(name, Aim::Phase(Phase::First), async |reader, out| recipe.events(reader, from, &out).await);
        let outcome = outcome.await?;
        self.record(name, Part::Objects, "feed", &outcome);
        if outcome.status != collect::Status::Complete {
            return Ok(());
        }
        // Nothing dated later than the service's own clock may move the watermark: what follows would be left out.
        let skew = jiff::SignedDuration::from_millis(self.reader.meter().skew_ms());
        let now = self.t0.saturating_add(skew).unwrap_or(self.t0);
        let latest = self.out.latest_event.map(|latest| latest.min(now));
        let next = latest.into_iter().chain(watermark).max().or(from);
        if let Some(next) = next {
            self.out.update.feeds.insert(name.to_owned(), Some(next.to_string()));
        }
        // The service keeps events for some days only. Where it still shows one from before the watermark, it has kept
        // everything since; where it doesn't after so long, nobody knows.
        let is_late = self.last_told(name)?.is_some_and(|told| now.duration_since(told) > KEPT);
        let mark = watermark.or(self.last_told(name)?);
        let reaches_back = self.out.earliest_event.zip(mark).is_some_and(|(earliest, mark)| earliest <= mark);
        if is_late
            && !reaches_back
            && let Some(row) = self.out.rows.get_mut(name, Part::Objects)
        {
            row.st = Status::Partial;
            row.code = Some(collect::code::RETENTION.to_owned());
        }
        Ok(())
    }

    /// When all events until then had been told: at the last capture that read them to the end, as far as the local state
    /// knows; without it at the last capture.
    fn last_told(&self, name: &str) -> Result<Option<Timestamp>, CaptureError> {
        let complete = self.progress.row(&rows::text(name, Part::Objects))?.0;
        let capture = match complete {
            Some(seq) => self.view.capture(seq)?,
            None => self.view.last_capture()?,
        };
        Ok(capture.map(|capture| capture.time))
    }

    /// Feed or lists of one collection, and the rows of the collection and of what its feed reports.
    async fn collection(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.insert(name, Seenness::default());
        if self.is_off(name) {
            self.set_off(recipe);
            return Ok(());
        }
        let hours = self.options.hours(name, recipe.hours);
        if hours > 0 && !self.is_due(name, Part::Objects, hours)? {
            self.not_due(name, Part::Objects)?;
            return Ok(());
        }
        self.open_lifted_facets(recipe)?;
        match recipe.has_feed() {
            true => self.by_feed(recipe).await?,
            false => self.by_list(recipe).await?,
        }
        self.facets(recipe).await
    }

    async fn by_list(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        let refused = self.refused(name)?;
        let read = async |reader: &Reader, out| recipe.whole(reader, &refused, &out).await;
        let outcome = self.run(name, Aim::Phase(Phase::First), read).await?;
        self.out.collections.get_mut(name).expect("inserted before").first_full = outcome.full;
        if outcome.full {
            self.out.update.refused.insert(name.to_owned(), outcome.refused.clone());
        }
        self.record(name, Part::Objects, "whole", &outcome);
        Ok(())
    }

    /// What the tenant refused before: not asked for again but in a reconciliation.
    fn refused(&self, name: &str) -> Result<Vec<String>, CaptureError> {
        match self.request.reconcile {
            true => Ok(Vec::new()),
            false => Ok(self.progress.refused(name)?),
        }
    }

    async fn by_feed(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        // Where the head is unknown, what the feed tells since doesn't bring it back: only a full round does.
        let token = match self.is_known {
            true => self.progress.token(name, self.out.last_seq)?,
            false => None,
        };
        let begins = token.is_none();
        let first = self.feed(recipe, Phase::First, token.as_deref()).await?;
        self.out.collections.get_mut(name).expect("inserted before").first_full = first.full;
        let mut last = first;
        let recovered = self.recovered.is_whole(name);
        // A full round has just read everything; reading it once more would prove nothing.
        let may = !begins && !last.full && last.status == collect::Status::Complete;
        if last.full && last.status == collect::Status::Complete {
            self.recovered.set_read(name);
        }
        let mut token = last.token.take();
        if (self.request.reconcile || recovered) && may {
            let whole = async |reader: &Reader, out| recipe.whole(reader, &[], &out).await;
            let whole = self.run(name, Aim::Phase(Phase::Whole), whole).await?;
            let links = self.whole_relations(recipe).await?;
            let mut again = self.feed(recipe, Phase::Again, token.as_deref()).await?;
            // Without a closed second round nobody can tell what moved from what was missed. What it showed is taken
            // over all the same, and the first round's token is kept, so that it comes again.
            if again.status == collect::Status::Complete && !again.full {
                let seenness = self.out.collections.get_mut(name).expect("inserted before");
                seenness.whole = Some(whole.full);
                seenness.is_explained = recovered;
                if whole.full {
                    self.out.reconciled.insert(name);
                }
                seenness.untracked = last.refused.iter().cloned().collect();
                token = again.token.take();
                if whole.full && self.is_given_now(name, &last.refused, &whole.refused)? {
                    // The feed must begin anew to track it.
                    token = None;
                    self.out.update.feeds.insert(name.to_owned(), None);
                }
                let count = whole.count;
                last = Outcome { count, items: whole.items, ..again.and(&last).and(&whole) };
                again = Outcome::none();
            }
            if recovered {
                // What a native recovery wrote is in no feed: as long as it wasn't read, the feed alone is not all.
                let parts = [whole, links, again];
                match parts.iter().all(|part| part.status == collect::Status::Complete) {
                    true => self.recovered.set_read(name),
                    false => last = parts.into_iter().fold(last, Outcome::lacking),
                }
            }
        }
        if let Some(objects) = self.recovered.objects(name) {
            let reread = self.reread(recipe, objects).await?;
            if reread.status == collect::Status::Complete {
                self.recovered.set_read(name);
            }
            last = last.with_part(reread);
        }
        if let Some(subtypes) = self.subtypes(recipe).await? {
            last = last.with_part(subtypes);
        }
        self.record(name, Part::Objects, "feed", &last);
        for relation in recipe.relations.iter().filter(|relation| relation.feed) {
            self.record(name, Part::Relation(relation.name), "feed", &last);
        }
        if let Some(token) = token {
            self.out.update.feeds.insert(name.to_owned(), Some(token));
        }
        Ok(())
    }

    /// What only the lists of subtypes give, where the feed showed any of them.
    async fn subtypes(&mut self, recipe: &'static Recipe) -> Result<Option<Outcome>, CaptureError> {
        let name = recipe.collection;
        let shown: BTreeSet<&'static str> = self.out.collections[name].kinds.values().copied().collect();
        if !recipe.has_list_of(&shown) {
            return Ok(None);
        }
        let read = async |reader: &Reader, out| recipe.subtypes(&shown, reader, &out).await;
        self.run(name, Aim::Phase(Phase::Reread), read).await.map(Some)
    }

    async fn feed(
        &mut self,
        recipe: &'static Recipe,
        phase: Phase,
        token: Option<&str>,
    ) -> Result<Outcome, CaptureError> {
        let read = async |reader: &Reader, out| recipe.feed(reader, token, &out).await;
        self.run(recipe.collection, Aim::Phase(phase), read).await
    }

    /// Whether the list gives what the feed was refused. A feed may refuse what a list never does: it is asked once more,
    /// and again only after the list, too, was refused it meanwhile.
    fn is_given_now(
        &mut self,
        name: &'static str,
        by_feed: &[String],
        by_list: &[String],
    ) -> Result<bool, CaptureError> {
        let row = format!("{name} feed");
        let asked_again: BTreeSet<String> = self.progress.refused(&row)?.into_iter().collect();
        let given: BTreeSet<String> = by_feed.iter().filter(|name| !by_list.contains(name)).cloned().collect();
        let is_new = given.iter().any(|name| !asked_again.contains(name));
        let kept = asked_again.into_iter().filter(|name| !by_list.contains(name));
        self.out.update.refused.insert(row, kept.chain(given).collect::<BTreeSet<_>>().into_iter().collect());
        Ok(is_new)
    }

    /// In a reconciliation the relations that the feed reports are read whole too, except those with one target at
    /// most: they would cost a request an object.
    async fn whole_relations(&mut self, recipe: &'static Recipe) -> Result<Outcome, CaptureError> {
        let mut all = Outcome::none();
        for relation in recipe.relations.iter().filter(|relation| relation.feed && !relation.single) {
            let sources = self.sources(recipe.collection)?.into_iter().map(Source::from).collect();
            all = all.with_part(self.links(recipe, relation, sources, Phase::Whole).await?);
        }
        Ok(all)
    }

    /// Reads single objects anew, with what the feed would have said of their links.
    async fn reread(&mut self, recipe: &'static Recipe, objects: Vec<Key>) -> Result<Outcome, CaptureError> {
        let name = recipe.collection;
        let keys = objects.clone();
        let read = async |reader: &Reader, out| recipe.objects(reader, keys, &out).await;
        let mut reread = self.run(name, Aim::Phase(Phase::Reread), read).await?;
        for relation in recipe.relations.iter().filter(|relation| relation.feed) {
            let sources = objects.iter().cloned().map(Source::from).collect();
            let links = self.links(recipe, relation, sources, Phase::Reread).await?;
            reread = reread.with_part(links);
        }
        Ok(reread)
    }

    pub(super) fn set_off(&mut self, recipe: &'static Recipe) {
        let name = recipe.collection;
        let model = model::find(name).expect("every recipe has a collection");
        let relations = model.relations.iter().map(|relation| Part::Relation(relation.name));
        let facets = model.facets.iter().map(|facet| Part::Facet(facet.name));
        for part in std::iter::once(Part::Objects).chain(relations).chain(facets) {
            self.out.rows.set(name, part, Status::Absent).code = Some(collect::code::OFF.to_owned());
        }
    }

    pub(super) async fn links(
        &mut self,
        recipe: &'static Recipe,
        relation: &'static RelationRead,
        sources: Vec<Source>,
        phase: Phase,
    ) -> Result<Outcome, CaptureError> {
        let read = async |reader: &Reader, out| recipe.links(relation, reader, sources, &out).await;
        self.run(recipe.collection, Aim::Phase(phase), read).await
    }

    /// Runs one read with its consumer, and keeps what ended it.
    pub(super) async fn run(
        &mut self,
        collection: &'static str,
        aim: Aim,
        read: impl AsyncFnOnce(&Reader, collect::Sink) -> Outcome,
    ) -> Result<Outcome, CaptureError> {
        let (sender, mut receiver) = mpsc::channel::<Vec<Sighting>>(PAGES_WAITING);
        let (reader, view) = (self.reader, self.view);
        let watch = &self.request.watch;
        let out = &mut self.out;
        let consume = async {
            let mut result = Ok(());
            while let Some(page) = receiver.recv().await {
                watch.tell(collection, page.len() as u64);
                for sighting in page {
                    if result.is_ok() {
                        result = out.take(view, collection, aim, sighting);
                    }
                }
            }
            result
        };
        let begun = reader.clock().now();
        let (mut outcome, consumed) = tokio::join!(read(reader, sender), consume);
        consumed?;
        let since = |from: Timestamp, to: Timestamp| u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0);
        outcome.from_ms = since(self.t0, begun);
        outcome.ms = since(begun, reader.clock().now());
        let seenness = self.out.collections.entry(collection).or_default();
        if matches!(aim, Aim::Phase(_)) {
            seenness.refused.extend(outcome.refused.iter().cloned());
        }
        if let Some(error) = outcome.error.take() {
            self.out.troubles.push((collection.to_owned(), describe(&error)));
            self.out.error.get_or_insert(error);
        }
        Ok(outcome)
    }

    /// The permission for lack of which something wasn't read: not one that the token names, which the service refused
    /// all the same because the tenant has no such thing.
    pub(super) fn needs(&self, outcome: &Outcome) -> Option<String> {
        outcome.needs.filter(|needs| !self.granted.iter().any(|granted| granted == needs)).map(str::to_owned)
    }

    pub(super) fn record(&mut self, collection: &str, part: Part<'_>, how: &str, outcome: &Outcome) {
        let (status, code) = rows::status_of(outcome);
        let refused = self.out.collections.get(collection).map(|seenness| &seenness.refused);
        let refused: Vec<String> = refused.into_iter().flatten().cloned().collect();
        let needs = self.needs(outcome);
        let row = self.out.rows.set(collection, part, status);
        row.how = Some(how.to_owned());
        row.code = code.map(str::to_owned);
        row.needs = needs;
        if part.relation().is_some() {
            return;
        }
        row.n = Some(outcome.items);
        row.count = outcome.count;
        row.asked = outcome.asked.clone();
        if part == Part::Objects {
            row.refused = refused;
        }
        rows::set_costs(row, outcome);
    }
}

/// What a read is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The objects of a collection, or links of theirs.
    Phase(Phase),
    /// One facet.
    Facet(&'static str),
    /// The objects that hang under those of another collection, and the links to them.
    Under(&'static str),
    /// One object for each of another collection.
    Per(&'static str),
}

/// The shortest time for which the service keeps audit records (learn, reference-reports-data-retention: 7 days without
/// a P1 or P2 licence).
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);

/// An error with its causes, for people.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
