//! Reading the tenant for one capture: which feeds, lists and fan-outs are due, and what came of each.
//!
//! Must never know: what is done with what was seen.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::progress::Progress;
use super::rows::{self, Rows};
use super::spool::{Phase, Record, Seen, Spool};
use super::{CaptureError, Options, Request};
use crate::archive::Key;
use crate::archive::entry::Status;
use crate::archive::line::Content;
use crate::collect::{self, COLLECTIONS, Outcome, Recipe, RelationRead, Sighting};
use crate::graph::{self, Reader, Receipt};
use crate::index::{IndexError, VersionKind, View};
use crate::model;

/// Pages that may wait between reading and spooling.
const PAGES_WAITING: usize = 4;

/// Everything that was seen.
pub(super) struct Gathered {
    pub collections: BTreeMap<&'static str, Seenness>,
    pub rows: Rows,
    pub receipts: Vec<Receipt>,
    /// New feed tokens; `None` for a feed whose token is of no more use.
    pub feeds: BTreeMap<String, Option<String>>,
    /// (row, source) pairs whose relation was read.
    pub swept: Vec<(String, Key)>,
    pub troubles: Vec<(String, String)>,
    error: Option<graph::Error>,
    pub reconciled: BTreeSet<&'static str>,
    pub last_seq: u64,
}

/// What was seen of one collection.
#[derive(Default)]
pub(super) struct Seenness {
    pub spool: Spool,
    pub first_full: bool,
    pub whole: Option<bool>,
    pub generations: BTreeMap<Phase, u32>,
    /// Keys that the feed or list showed, where fan-outs need them.
    pub sources: BTreeSet<Key>,
    pub gone: BTreeSet<Key>,
    /// Properties that any of the reads was refused.
    pub refused: BTreeSet<String>,
}

impl Gathered {
    /// What ended the reading, where not a single row could be read.
    pub fn nothing_read(&mut self) -> Option<graph::Error> {
        let read = self.rows.0.values().any(|row| !matches!(row.st, Status::Carried));
        if read { None } else { self.error.take() }
    }
}

struct Gatherer<'a> {
    reader: &'a Reader,
    view: &'a View,
    progress: &'a Progress,
    options: &'a Options,
    request: &'a Request,
    /// Whether what the tenant is compared with is the state at the head.
    is_known: bool,
    out: Gathered,
}

/// Reads what is due.
pub(super) async fn gather(
    reader: &Reader,
    view: &View,
    progress: &Progress,
    options: &Options,
    request: &Request,
) -> Result<Gathered, CaptureError> {
    let last_seq = view.position()?.map_or(0, |head| head.size.saturating_sub(1));
    let out = Gathered {
        collections: BTreeMap::new(),
        rows: Rows::default(),
        receipts: Vec::new(),
        feeds: BTreeMap::new(),
        swept: Vec::new(),
        troubles: Vec::new(),
        error: None,
        reconciled: BTreeSet::new(),
        last_seq,
    };
    let is_known = view.is_state_known()?;
    let mut gatherer = Gatherer { reader, view, progress, options, request, is_known, out };
    for recipe in COLLECTIONS.iter().filter(|recipe| recipe.parent().is_none()) {
        gatherer.collection(recipe).await?;
    }
    for recipe in COLLECTIONS {
        gatherer.fan_outs(recipe).await?;
    }
    Ok(gatherer.out)
}

impl Gatherer<'_> {
    fn is_off(&self, collection: &str) -> bool {
        self.options.off.iter().any(|off| off == collection)
    }

    /// Feed or lists of one collection, and the rows of the collection and of what its feed reports.
    async fn collection(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.insert(name, Seenness::default());
        if self.is_off(name) {
            self.set_off(recipe);
            return Ok(());
        }
        if !recipe.has_feed() {
            let outcome = self.run(name, Phase::First, async |reader, out| recipe.whole(reader, &out).await).await?;
            let seenness = self.out.collections.get_mut(name).expect("inserted above");
            seenness.first_full = outcome.full;
            self.record(name, None, "whole", &outcome);
            return Ok(());
        }
        // Where the head is unknown, what the feed tells since doesn't bring it back: only a full round does.
        let token = match self.is_known {
            true => self.progress.token(name, self.out.last_seq)?,
            false => None,
        };
        let begins = token.is_none();
        let first = self.feed(recipe, Phase::First, token.as_deref()).await?;
        self.out.collections.get_mut(name).expect("inserted above").first_full = first.full;
        let mut last = first;
        // A full round has just read everything; reading it once more would prove nothing.
        if self.request.reconcile && !begins && !last.full && last.status == collect::Status::Complete {
            let whole = self.run(name, Phase::Whole, async |reader, out| recipe.whole(reader, &out).await).await?;
            self.whole_relations(recipe).await?;
            let token = last.token.clone();
            let again = self.feed(recipe, Phase::Again, token.as_deref()).await?;
            // Without a closed second round nobody can tell what moved from what was missed. What it showed is taken
            // over all the same, and the first round's token is kept, so that it comes again.
            if again.status == collect::Status::Complete && !again.full {
                self.out.collections.get_mut(name).expect("inserted above").whole = Some(whole.full);
                if whole.full {
                    self.out.reconciled.insert(name);
                }
                let count = whole.count;
                last = Outcome { count, items: whole.items, ..again };
            }
        }
        self.record(name, None, "feed", &last);
        for relation in recipe.relations.iter().filter(|relation| relation.feed) {
            self.record(name, Some(relation.name), "feed", &last);
        }
        if let Some(token) = last.token {
            self.out.feeds.insert(name.to_owned(), Some(token));
        }
        Ok(())
    }

    async fn feed(
        &mut self,
        recipe: &'static Recipe,
        phase: Phase,
        token: Option<&str>,
    ) -> Result<Outcome, CaptureError> {
        self.run(recipe.collection, phase, async |reader, out| recipe.feed(reader, token, &out).await).await
    }

    /// In a reconciliation the relations that the feed reports are read whole too, except those with one target at
    /// most: they would cost a request an object.
    async fn whole_relations(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        for relation in recipe.relations.iter().filter(|relation| relation.feed && !relation.single) {
            let sources = self.sources(recipe.collection)?;
            self.links(recipe, relation, sources, Phase::Whole).await?;
        }
        Ok(())
    }

    fn set_off(&mut self, recipe: &'static Recipe) {
        let name = recipe.collection;
        let model = model::find(name).expect("every recipe has a collection");
        let rows = std::iter::once(None).chain(model.relations.iter().map(|relation| Some(relation.name)));
        for relation in rows {
            self.out.rows.set(name, relation, Status::Absent).code = Some("off".to_owned());
        }
    }

    /// Relations that no feed reports, and collections that hang under this one.
    async fn fan_outs(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        if let Some((parent, relation)) = recipe.parent() {
            self.out.collections.entry(name).or_default();
            if self.is_off(name) || self.is_off(parent) {
                self.out.rows.set(name, None, Status::Absent).code = Some("off".to_owned());
                self.out.rows.set(parent, Some(relation), Status::Absent).code = Some("off".to_owned());
                return Ok(());
            }
            let due = self.due(parent, relation)?;
            let outcome = match due.sources.is_empty() {
                true => None,
                false => {
                    let sources: Vec<Key> = due.sources.iter().cloned().collect();
                    Some(
                        self.run_under(name, Some(parent), Phase::Links, async |reader, out| {
                            recipe.children(reader, sources, &out).await
                        })
                        .await?,
                    )
                }
            };
            self.record_fan_out(parent, Some(relation), &due, outcome.as_ref());
            self.record_fan_out(name, None, &due, outcome.as_ref());
            return Ok(());
        }
        if self.is_off(name) {
            return Ok(());
        }
        for relation in recipe.relations.iter().filter(|relation| !relation.feed) {
            let due = self.due(name, relation.name)?;
            let outcome = match due.sources.is_empty() {
                true => None,
                false => Some(self.links(recipe, relation, due.sources.clone(), Phase::Links).await?),
            };
            self.record_fan_out(name, Some(relation.name), &due, outcome.as_ref());
        }
        Ok(())
    }

    async fn links(
        &mut self,
        recipe: &'static Recipe,
        relation: &'static RelationRead,
        sources: BTreeSet<Key>,
        phase: Phase,
    ) -> Result<Outcome, CaptureError> {
        let sources: Vec<Key> = sources.into_iter().collect();
        self.run(recipe.collection, phase, async |reader, out| recipe.links(relation, reader, sources, &out).await)
            .await
    }

    /// Every object of a collection as far as is known now: at the head, less what went, plus what came.
    fn sources(&self, collection: &str) -> Result<BTreeSet<Key>, CaptureError> {
        let mut sources = BTreeSet::new();
        let seenness = self.out.collections.get(collection);
        self.view.each_key::<IndexError>(Some(collection), |key, id| {
            let version = self.view.version_at(id, u64::from(u32::MAX))?;
            if version.is_some_and(|version| version.kind != VersionKind::Removed) && key.facet_name().is_none() {
                sources.insert(key);
            }
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        if let Some(seenness) = seenness {
            if seenness.first_full {
                sources.clear();
            }
            sources.extend(seenness.sources.iter().cloned());
            sources.retain(|key| !seenness.gone.contains(key));
        }
        Ok(sources)
    }

    /// Which sources of a relation are to be read now: those that came or changed, and of the others as many as are due,
    /// the longest unread first.
    fn due(&self, collection: &str, relation: &str) -> Result<Due, CaptureError> {
        let row = rows::text(&(collection.to_owned(), Some(relation.to_owned())));
        let all = self.sources(collection)?;
        let swept = self.progress.swept(&row)?;
        let never = self.progress.row(&row)?.0.is_none();
        let changed = self.out.collections.get(collection).map(|seenness| &seenness.sources);
        let mut sources: BTreeSet<Key> = BTreeSet::new();
        if self.request.reconcile || never || !self.is_known {
            sources = all.clone();
        } else {
            let share = (all.len() as u64).div_ceil(self.options.sweep_captures.max(1)) as usize;
            let mut oldest: Vec<(u64, &Key)> =
                all.iter().map(|key| (swept.get(key.as_str()).copied().unwrap_or(0), key)).collect();
            oldest.sort_unstable();
            sources.extend(oldest.iter().take_while(|(seq, _)| *seq == 0).map(|(_, key)| (*key).clone()));
            sources.extend(oldest.iter().take(share).map(|(_, key)| (*key).clone()));
            sources.extend(changed.into_iter().flatten().filter(|key| all.contains(*key)).cloned());
        }
        let oldest = all.iter().filter(|key| !sources.contains(*key)).filter_map(|key| swept.get(key.as_str())).min();
        Ok(Due { oldest: oldest.copied(), is_all: sources.len() == all.len(), sources })
    }

    /// Runs one read with its consumer, and keeps what ended it.
    async fn run(
        &mut self,
        collection: &'static str,
        phase: Phase,
        read: impl AsyncFnOnce(&Reader, collect::Sink) -> Outcome,
    ) -> Result<Outcome, CaptureError> {
        self.run_under(collection, None, phase, read).await
    }

    async fn run_under(
        &mut self,
        collection: &'static str,
        parent: Option<&'static str>,
        phase: Phase,
        read: impl AsyncFnOnce(&Reader, collect::Sink) -> Outcome,
    ) -> Result<Outcome, CaptureError> {
        let (sender, mut receiver) = mpsc::channel::<Vec<Sighting>>(PAGES_WAITING);
        let reader = self.reader;
        let watch = &self.request.watch;
        let out = &mut self.out;
        let consume = async {
            let mut result = Ok(());
            while let Some(page) = receiver.recv().await {
                watch.tell(collection, page.len() as u64);
                for sighting in page {
                    if result.is_ok() {
                        result = out.take(collection, parent, phase, sighting);
                    }
                }
            }
            result
        };
        let (mut outcome, consumed) = tokio::join!(read(reader, sender), consume);
        consumed?;
        let seenness = self.out.collections.entry(collection).or_default();
        seenness.refused.extend(outcome.refused.iter().cloned());
        if let Some(error) = outcome.error.take() {
            self.out.troubles.push((collection.to_owned(), describe(&error)));
            self.out.error.get_or_insert(error);
        }
        Ok(outcome)
    }

    fn record(&mut self, collection: &str, relation: Option<&str>, how: &str, outcome: &Outcome) {
        let (status, code) = rows::status_of(outcome);
        let row = self.out.rows.set(collection, relation, status);
        row.how = Some(how.to_owned());
        row.code = code.map(str::to_owned);
        if relation.is_none() {
            row.n = Some(outcome.items);
            row.count = outcome.count;
            let refused = self.out.collections.get(collection).map(|seenness| &seenness.refused);
            row.refused = refused.into_iter().flatten().cloned().collect();
        }
    }

    fn record_fan_out(&mut self, collection: &str, relation: Option<&str>, due: &Due, outcome: Option<&Outcome>) {
        let (mut status, code) = outcome.map_or((Status::Complete, None), rows::status_of);
        if status == Status::Complete && !due.is_all {
            status = if due.sources.is_empty() { Status::NotDue } else { Status::Rolling };
        }
        let row = self.out.rows.set(collection, relation, status);
        row.how = Some("whole".to_owned());
        row.code = code.map(str::to_owned);
        row.n = outcome.map(|outcome| outcome.items);
        if matches!(status, Status::Rolling | Status::NotDue | Status::Partial) {
            row.oldest = due.oldest;
        }
    }
}

/// What of a relation is read in this capture.
struct Due {
    sources: BTreeSet<Key>,
    oldest: Option<u64>,
    is_all: bool,
}

impl Gathered {
    fn take(
        &mut self,
        collection: &'static str,
        parent: Option<&'static str>,
        phase: Phase,
        sighting: Sighting,
    ) -> Result<(), CaptureError> {
        let (key, seen) = match sighting {
            Sighting::Receipt(receipt) => {
                self.receipts.push(receipt);
                return Ok(());
            }
            Sighting::Restart => {
                let seenness = self.collections.entry(collection).or_default();
                *seenness.generations.entry(phase).or_insert(0) += 1;
                return Ok(());
            }
            Sighting::Unread { source, relation, code } => {
                if code != collect::code::GONE {
                    tracing::debug!(source = %source, relation, code, "a relation could not be read");
                }
                return Ok(());
            }
            Sighting::Object { key, content, partial } => {
                let content = match content {
                    collect::Content::Canonical(bytes) => Content::Canonical(bytes),
                    collect::Content::Raw(bytes) => Content::Raw(bytes),
                };
                (key, Seen::Content { content, partial })
            }
            Sighting::Gone { key } => (key, Seen::Gone),
            Sighting::Link { source, relation, target, present } => {
                (source, Seen::Link { relation: relation.to_owned(), target, present })
            }
            Sighting::Links { source, relation, targets } => {
                if phase != Phase::First && phase != Phase::Again {
                    self.swept.push((format!("{} {relation}", source.collection()), source.clone()));
                }
                (source, Seen::Links { relation: relation.to_owned(), targets })
            }
        };
        // Under a parent the links are the parent's and the objects the child's.
        let owner = match (&seen, parent) {
            (Seen::Links { .. }, Some(parent)) => parent,
            _ => collection,
        };
        let seenness = self.collections.entry(owner).or_default();
        let phase = if parent.is_some() && owner == collection { Phase::First } else { phase };
        if phase == Phase::First || phase == Phase::Again {
            match seen {
                Seen::Gone => {
                    seenness.sources.remove(&key);
                    seenness.gone.insert(key.clone());
                }
                Seen::Content { .. } if has_fan_outs(collection) => {
                    seenness.gone.remove(&key);
                    seenness.sources.insert(key.clone());
                }
                _ => {}
            }
        }
        let generation = seenness.generations.get(&phase).copied().unwrap_or(0);
        seenness.spool.push(&Record { key, phase, generation, seen })?;
        Ok(())
    }
}

fn has_fan_outs(collection: &str) -> bool {
    COLLECTIONS.iter().any(|recipe| {
        recipe.parent().is_some_and(|(parent, _)| parent == collection)
            || (recipe.collection == collection && recipe.relations.iter().any(|relation| !relation.feed))
    })
}

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
