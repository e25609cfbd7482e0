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
use crate::collect::{self, Outcome, Recipe, Source};
use crate::index::{IndexError, VersionKind};
use crate::model;

/// A read that was due an hour ago must not wait another day because a capture began some minutes earlier than usual.
const SLACK: SignedDuration = SignedDuration::from_mins(30);

/// What of a relation is read in this capture.
pub(super) struct Due {
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

impl Gatherer<'_> {
    /// Relations that no feed reports, and collections that hang under others.
    pub(super) async fn fan_outs(&mut self, recipe: &'static Recipe) -> Result<(), CaptureError> {
        let name = recipe.collection;
        if let Some((parent, relation)) = recipe.parent() {
            return self.under(recipe, parent, relation).await;
        }
        if let Some(parent) = recipe.per() {
            return self.per(recipe, parent).await;
        }
        if self.is_off(name) {
            return Ok(());
        }
        for relation in recipe.relations.iter().filter(|relation| !relation.feed) {
            let row = rows::text(name, Part::Relation(relation.name));
            let sweep = Sweep { collection: name, row, kinds: relation.kinds, many: relation.many };
            let due = self.due(&sweep)?;
            let outcome = match due.sources.is_empty() {
                true => None,
                false => Some(self.links(recipe, relation, due.sources.clone(), Phase::Links).await?),
            };
            self.record_sweep(name, Part::Relation(relation.name), &due, outcome.as_ref());
        }
        Ok(())
    }

    async fn under(
        &mut self,
        recipe: &'static Recipe,
        parent: &'static str,
        relation: &'static str,
    ) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.entry(name).or_default();
        if self.is_off(name) || self.is_off(parent) {
            self.out.rows.set(name, Part::Objects, Status::Absent).code = Some("off".to_owned());
            self.out.rows.set(parent, Part::Relation(relation), Status::Absent).code = Some("off".to_owned());
            return Ok(());
        }
        let row = rows::text(parent, Part::Relation(relation));
        let due = self.due(&Sweep { collection: parent, row, kinds: &[], many: false })?;
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

    async fn per(&mut self, recipe: &'static Recipe, parent: &'static str) -> Result<(), CaptureError> {
        let name = recipe.collection;
        self.out.collections.entry(name).or_default();
        if self.is_off(name) || self.is_off(parent) {
            self.set_off(recipe);
            return Ok(());
        }
        let row = rows::text(name, Part::Objects);
        let collect::How::Per { kinds, many, .. } = recipe.how else { return Ok(()) };
        let due = self.due(&Sweep { collection: parent, row, kinds, many })?;
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

    /// Which sources are to be read now: those that came, changed or were touched by an event, and of the others as many
    /// as are due, the longest unread first. Where there may be as many sources as people, all of that within the budget;
    /// what changed and doesn't fit comes first next time.
    fn due(&mut self, sweep: &Sweep<'_>) -> Result<Due, CaptureError> {
        let all = self.candidates(sweep)?;
        let swept = self.progress.swept(&sweep.row)?;
        let never = self.progress.row(&sweep.row)?.0.is_none();
        let is_recovered = self.recovered.is_whole(sweep.collection);
        if !sweep.many && (self.request.reconcile || never || !self.is_known || is_recovered) {
            return Ok(Due { sources: all, oldest: None, is_all: true, is_begun: false });
        }
        let changed = self.out.collections.get(sweep.collection).map(|seenness| &seenness.sources);
        let is_urgent = |key: &Key| {
            changed.is_some_and(|changed| changed.contains(key))
                || !self.out.touched.is_empty() && self.out.touched.contains(&key.decoded_id())
        };
        let read_at = |source: &Source| match is_urgent(&source.key) {
            true => 0,
            false => swept.get(source.key.as_str()).copied().unwrap_or(0),
        };
        let mut order: Vec<(u64, usize)> =
            all.iter().enumerate().map(|(place, source)| (read_at(source), place)).collect();
        order.sort_unstable();
        let urgent = order.iter().take_while(|(seq, _)| *seq == 0).count();
        let share = all.len().div_ceil(self.options.sweep_captures.max(1) as usize);
        let budget = usize::try_from(self.sweep_left).unwrap_or(usize::MAX);
        let take = match sweep.many {
            true => urgent.max(share).min(budget),
            false => urgent.max(share.min(budget)),
        };
        self.sweep_left = self.sweep_left.saturating_sub(take as u64);
        let (now, later) = order.split_at(take.min(order.len()));
        let mut oldest = None;
        let mut is_begun = false;
        for (_, place) in later {
            let key = &all[*place].key;
            match swept.get(key.as_str()) {
                Some(seq) => oldest = Some(oldest.map_or(*seq, |oldest: u64| oldest.min(*seq))),
                None => is_begun = true,
            }
            if swept.contains_key(key.as_str()) && is_urgent(key) {
                self.out.update.stale.push((sweep.row.clone(), key.clone()));
            }
        }
        let is_all = later.is_empty();
        let mut sources: Vec<Source> = now.iter().map(|(_, place)| all[*place].clone()).collect();
        sources.sort_unstable();
        Ok(Due { sources, oldest, is_all, is_begun })
    }

    fn record_sweep(&mut self, collection: &str, part: Part<'_>, due: &Due, outcome: Option<&Outcome>) {
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
                self.out.rows.set(name, part, Status::Absent).code = Some("off".to_owned());
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
