//! What no feed reports: which sources are read in this capture, so that everything is visited within a span and what
//! changed at once; and facets, which have a cadence of their own.
//!
//! Must never know: what is done with what was seen.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::SignedDuration;

use super::CaptureError;
use super::gather::{Aim, Gatherer};
use super::rows::{self, Part};
use super::seen::FacetSeen;
use super::spool::Phase;
use crate::archive::Key;
use crate::archive::entry::Status;
use crate::collect::{self, COLLECTIONS, Outcome, Recipe, RelationRead, Source};
use crate::index::{IndexError, VersionKind};
use crate::model;

/// A read that was due an hour ago must not wait another day because a capture began some minutes earlier than usual.
const SLACK: SignedDuration = SignedDuration::from_mins(30);

/// Whose turn it is: earlier ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It changed since it was read.
    Urgent,
    /// It was never visited.
    Never,
    /// It was last visited in this capture.
    At(u64),
}

/// What of a relation is read in this capture.
pub(super) struct Due {
    /// The row under which the local state keeps what was read.
    row: String,
    sources: Vec<Source>,
    /// The longest unread of the others.
    oldest: Option<u64>,
    is_all: bool,
    /// Others have never been read.
    is_begun: bool,
}

/// How a relation is swept.
struct Sweep<'a> {
    /// The collection of the sources.
    collection: &'a str,
    /// The row under which the local state keeps what was read.
    row: String,
    /// The subtypes that have it.
    kinds: &'static [&'static str],
    /// There may be as many sources as people: in turns only.
    many: bool,
}

/// What is swept: a relation, a collection under another, or one object for each of another.
enum Visit {
    Relation(&'static Recipe, &'static RelationRead),
    Under(&'static Recipe, &'static str, &'static str),
    Per(&'static Recipe, &'static str),
}

impl Visit {
    fn is_many(&self) -> bool {
        match self {
            Visit::Relation(_, relation) => relation.many,
            Visit::Under(..) => false,
            Visit::Per(recipe, _) => matches!(recipe.how, collect::How::Per { many: true, .. }),
        }
    }
}

impl Gatherer<'_> {
    /// Relations that no feed reports, and collections that hang under others. Those with few sources come first. Of
    /// those with as many as people each may spend an equal share of what is left, and what it leaves goes to the next;
    /// they take turns in being the first, so that none starves where time or budget are short.
    pub(super) async fn sweeps(&mut self) -> Result<(), CaptureError> {
        let (mut few, mut many) = (Vec::new(), Vec::new());
        for recipe in COLLECTIONS {
            let visits = match (recipe.parent(), recipe.per()) {
                (Some((parent, relation)), _) => vec![Visit::Under(recipe, parent, relation)],
                (None, Some(parent)) => vec![Visit::Per(recipe, parent)],
                (None, None) if self.is_off(recipe.collection) => Vec::new(),
                (None, None) => {
                    let unfed = recipe.relations.iter().filter(|relation| !relation.feed);
                    unfed.map(|relation| Visit::Relation(recipe, relation)).collect()
                }
            };
            let (of_many, of_few): (Vec<Visit>, Vec<Visit>) = visits.into_iter().partition(Visit::is_many);
            few.extend(of_few);
            many.extend(of_many);
        }
        let turns = usize::try_from(self.out.last_seq).unwrap_or_default() % many.len().max(1);
        many.rotate_left(turns);
        for visit in few {
            self.visit(visit, self.sweep_left).await?;
        }
        let mut others = many.len() as u64;
        for visit in many {
            self.visit(visit, self.sweep_left.div_ceil(others)).await?;
            others -= 1;
        }
        Ok(())
    }

    async fn visit(&mut self, visit: Visit, budget: u64) -> Result<(), CaptureError> {
        self.out.unread.clear();
        match visit {
            Visit::Relation(recipe, relation) => self.relation(recipe, relation, budget).await,
            Visit::Under(recipe, parent, relation) => self.under(recipe, parent, relation, budget).await,
            Visit::Per(recipe, parent) => self.per(recipe, parent, budget).await,
        }
    }

    async fn relation(
        &mut self,
        recipe: &'static Recipe,
        relation: &'static RelationRead,
        budget: u64,
    ) -> Result<(), CaptureError> {
        let name = recipe.collection;
        let row = rows::text(name, Part::Relation(relation.name));
        let due = self.due(&Sweep { collection: name, row, kinds: relation.kinds, many: relation.many }, budget)?;
        let outcome = match due.sources.is_empty() {
            true => None,
            false => Some(self.links(recipe, relation, due.sources.clone(), Phase::Links).await?),
        };
        self.record_sweep(name, Part::Relation(relation.name), &due, outcome.as_ref());
        Ok(())
    }

    async fn under(
        &mut self,
        recipe: &'static Recipe,
        parent: &'static str,
        relation: &'static str,
        budget: u64,
    ) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.entry(name).or_default();
        if self.is_off(name) || self.is_off(parent) {
            let off = || Some(collect::code::OFF.to_owned());
            self.out.rows.set(name, Part::Objects, Status::Absent).code = off();
            self.out.rows.set(parent, Part::Relation(relation), Status::Absent).code = off();
            return Ok(());
        }
        let row = rows::text(parent, Part::Relation(relation));
        let due = self.due(&Sweep { collection: parent, row, kinds: &[], many: false }, budget)?;
        let outcome = match due.sources.is_empty() {
            true => None,
            false => {
                let sources = due.sources.iter().map(|source| source.key.clone()).collect();
                let read = async |reader: &crate::graph::Reader, out| recipe.children(reader, sources, &out).await;
                Some(self.run(name, Aim::Under(parent), read).await?)
            }
        };
        self.record_sweep(parent, Part::Relation(relation), &due, outcome.as_ref());
        self.record_sweep(name, Part::Objects, &due, outcome.as_ref());
        Ok(())
    }

    async fn per(&mut self, recipe: &'static Recipe, parent: &'static str, budget: u64) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.entry(name).or_default();
        if self.is_off(name) || self.is_off(parent) {
            self.set_off(recipe);
            return Ok(());
        }
        let row = rows::text(name, Part::Objects);
        let collect::How::Per { kinds, many, .. } = recipe.how else { return Ok(()) };
        let due = self.due(&Sweep { collection: parent, row, kinds, many }, budget)?;
        let outcome = match due.sources.is_empty() {
            true => None,
            false => {
                let sources = due.sources.iter().map(|source| source.key.clone()).collect();
                let read = async |reader: &crate::graph::Reader, out| recipe.each(reader, sources, &out).await;
                Some(self.run(name, Aim::Per(parent), read).await?)
            }
        };
        self.record_sweep(name, Part::Objects, &due, outcome.as_ref());
        Ok(())
    }

    /// Every object of a collection as far as is known now: at the head, less what went, plus what came.
    pub(super) fn sources(&self, collection: &str) -> Result<BTreeSet<Key>, CaptureError> {
        let mut sources = BTreeSet::new();
        let seenness = self.out.collections.get(collection);
        if !seenness.is_some_and(|seenness| seenness.first_full) {
            self.view.each_key::<IndexError>(Some(collection), |key, id| {
                if key.facet_name().is_none() {
                    let version = self.view.version_at(id, u64::from(u32::MAX))?;
                    if version.is_some_and(|version| version.kind != VersionKind::Removed) {
                        sources.insert(key);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        if let Some(seenness) = seenness {
            sources.extend(seenness.sources.iter().cloned());
            sources.retain(|key| !seenness.gone.contains(key));
        }
        Ok(sources)
    }

    /// The sources of a sweep with their subtypes.
    fn candidates(&self, sweep: &Sweep<'_>) -> Result<Vec<Source>, CaptureError> {
        let sources = self.sources(sweep.collection)?;
        if sweep.kinds.is_empty() {
            return Ok(sources.into_iter().map(Source::from).collect());
        }
        let known = self.progress.kinds(sweep.collection)?;
        let seen = self.out.collections.get(sweep.collection).map(|seenness| &seenness.kinds);
        let with_kind = sources.into_iter().filter_map(|key| {
            let seen = seen.and_then(|kinds| kinds.get(&key).copied());
            let kind = seen.or(known.get(key.as_str()).map(String::as_str))?;
            let subtype = sweep.kinds.iter().copied().find(|subtype| *subtype == kind)?;
            Some(Source { key, subtype: Some(subtype) })
        });
        Ok(with_kind.collect())
    }

    /// Which sources are to be read now: those that came, changed or were touched by an event, then those that were never
    /// read, and of the others as many as are due, the longest unread first. Where there may be as many sources as people,
    /// all of that within the budget; what changed and doesn't fit comes first next time.
    fn due(&mut self, sweep: &Sweep<'_>, budget: u64) -> Result<Due, CaptureError> {
        let all = self.candidates(sweep)?;
        if !sweep.many && (self.request.reconcile || !self.is_known) {
            return Ok(Due { row: sweep.row.clone(), sources: all, oldest: None, is_all: true, is_begun: false });
        }
        let (swept, tried) = (self.progress.swept(&sweep.row)?, self.progress.tried(&sweep.row)?);
        let stale = self.progress.stale(&sweep.row)?;
        let is_recovered = self.recovered.is_whole(sweep.collection);
        let changed = self.out.collections.get(sweep.collection).map(|seenness| &seenness.sources);
        let is_urgent = |key: &Key| {
            is_recovered
                || changed.is_some_and(|changed| changed.contains(key))
                || stale.contains(key.as_str())
                || !self.out.touched.is_empty() && self.out.touched.contains(&key.decoded_id())
        };
        let turn = |key: &Key| {
            let visited = swept.get(key.as_str()).max(tried.get(key.as_str())).copied();
            match (is_urgent(key), visited) {
                (true, _) => Turn::Urgent,
                (false, None) => Turn::Never,
                (false, Some(seq)) => Turn::At(seq),
            }
        };
        let mut order: Vec<(Turn, usize)> =
            all.iter().enumerate().map(|(place, source)| (turn(&source.key), place)).collect();
        order.sort_unstable();
        let urgent = order.iter().take_while(|(turn, _)| *turn <= Turn::Never).count();
        let share = all.len().div_ceil(self.options.sweep_captures.max(1) as usize);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let take = match sweep.many {
            true => urgent.max(share).min(budget),
            false => urgent.max(share.min(budget)),
        };
        let take = take.min(order.len());
        self.sweep_left = self.sweep_left.saturating_sub(take as u64);
        let (now, later) = order.split_at(take);
        // Reading one takes the mark from it again: what can't be read now comes first next time.
        for (_, place) in order.iter().take_while(|(turn, _)| *turn == Turn::Urgent) {
            if swept.contains_key(all[*place].key.as_str()) {
                self.out.update.stale.push((sweep.row.clone(), all[*place].key.clone()));
            }
        }
        let last_read = |place: usize| swept.get(all[place].key.as_str()).copied();
        let oldest = later.iter().filter_map(|(_, place)| last_read(*place)).min();
        let is_begun = later.iter().any(|(_, place)| last_read(*place).is_none());
        let mut sources: Vec<Source> = now.iter().map(|(_, place)| all[*place].clone()).collect();
        sources.sort_unstable();
        Ok(Due { row: sweep.row.clone(), sources, oldest, is_all: later.is_empty(), is_begun })
    }

    fn record_sweep(&mut self, collection: &str, part: Part<'_>, due: &Due, outcome: Option<&Outcome>) {
        // Where none could be read there was no turn that any of them has had.
        let had_turns = outcome.is_some_and(|outcome| !matches!(outcome.status, collect::Status::Absent(_)));
        let unread = std::mem::take(&mut self.out.unread);
        let lasting = unread.into_iter().filter(|(_, why)| had_turns && !collect::is_passing(why));
        self.out.update.tried.extend(lasting.map(|(source, _)| (due.row.clone(), source)));
        let (mut status, mut code) = outcome.map_or((Status::Complete, None), rows::status_of);
        if status == Status::Complete && !due.is_all {
            (status, code) = match (due.is_begun, due.sources.is_empty()) {
                (true, false) => (Status::Partial, Some(collect::code::NOT_YET)),
                (true, true) => (Status::Carried, Some(collect::code::NOT_YET)),
                (false, true) => (Status::NotDue, None),
                (false, false) => (Status::Rolling, None),
            };
        }
        let row = self.out.rows.set(collection, part, status);
        row.how = Some("whole".to_owned());
        row.code = code.map(str::to_owned);
        if let Some(outcome) = outcome {
            row.needs = outcome.needs.map(str::to_owned);
            row.n = Some(outcome.items);
            rows::set_costs(row, outcome);
        }
        if matches!(status, Status::Rolling | Status::NotDue | Status::Partial) {
            row.oldest = due.oldest;
        }
    }

    /// Whether what was last complete some time ago is due again.
    pub(super) fn is_due(&self, collection: &str, part: Part<'_>, hours: u32) -> Result<bool, CaptureError> {
        if self.request.reconcile || !self.is_known {
            return Ok(true);
        }
        let Some(seq) = self.progress.row(&rows::text(collection, part))?.0 else { return Ok(true) };
        let Some(capture) = self.view.capture(seq)? else { return Ok(true) };
        let age = self.t0.duration_since(capture.time);
        // A clock that was set back must not stop the reading.
        Ok(age.is_negative() || age + SLACK >= SignedDuration::from_hours(i64::from(hours)))
    }

    /// The row of something that isn't read now.
    pub(super) fn not_due(&mut self, collection: &str, part: Part<'_>) -> Result<(), CaptureError> {
        let last = self.progress.row(&rows::text(collection, part))?.0;
        self.out.rows.set(collection, part, Status::NotDue).oldest = last;
        Ok(())
    }

    /// Facets that come with the objects themselves, where they are due.
    pub(super) fn open_lifted_facets(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        let facets = model::find(name).expect("every recipe has a collection").facets;
        for facet in facets.iter().filter(|facet| recipe.facet(facet.name).is_none()) {
            if self.is_wanted(name, facet.name)? {
                let seenness = self.out.collections.entry(name).or_default();
                seenness.facets.insert(facet.name, FacetSeen { is_lifted: true, ..FacetSeen::default() });
            }
        }
        Ok(())
    }

    fn is_wanted(&self, collection: &str, facet: &str) -> Result<bool, CaptureError> {
        let row = rows::text(collection, Part::Facet(facet));
        let hours = self.options.hours(&row, FACET_HOURS);
        Ok(!self.is_off(&row) && self.is_due(collection, Part::Facet(facet), hours)?)
    }

    /// Reads the facets of a collection that are due.
    pub(super) async fn facets(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        for facet in model::find(name).expect("every recipe has a collection").facets {
            let part = Part::Facet(facet.name);
            if self.is_off(&rows::text(name, part)) {
                self.out.rows.set(name, part, Status::Absent).code = Some(collect::code::OFF.to_owned());
                continue;
            }
            let is_lifted = self.out.collections[name].facets.contains_key(facet.name);
            let Some(read) = recipe.facet(facet.name).filter(|_| !is_lifted) else {
                match is_lifted {
                    true => self.close_lifted(name, facet.name),
                    false => self.not_due(name, part)?,
                }
                continue;
            };
            if !self.is_wanted(name, facet.name)? {
                self.not_due(name, part)?;
                continue;
            }
            let seenness = self.out.collections.entry(name).or_default();
            seenness.facets.insert(facet.name, FacetSeen::default());
            let run = async |reader: &crate::graph::Reader, out| recipe.facet_read(read, reader, &out).await;
            let outcome = self.run(name, Aim::Facet(facet.name), run).await?;
            let seenness = self.out.collections.get_mut(name).expect("inserted above");
            seenness.facets.get_mut(facet.name).expect("inserted above").is_full = outcome.full;
            self.record(name, part, "whole", &outcome);
        }
        Ok(())
    }

    /// A facet that came with the objects was seen as far as they were.
    fn close_lifted(&mut self, name: &'static str, facet: &'static str) {
        let seenness = self.out.collections.get_mut(name).expect("inserted before");
        let is_full = seenness.first_full;
        seenness.facets.get_mut(facet).expect("it was opened").is_full = is_full;
        let of_objects = self.out.rows.get_mut(name, Part::Objects).map(|row| (row.st, row.code.clone()));
        let (status, code) = of_objects.unwrap_or((Status::Carried, None));
        let row = self.out.rows.set(name, Part::Facet(facet), status);
        row.how = Some("whole".to_owned());
        row.code = code;
    }
}

/// Hours between two reads of a facet, where the configuration says nothing.
const FACET_HOURS: u32 = 24;
