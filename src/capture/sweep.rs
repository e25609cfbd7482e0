//! What no feed reports: which sources are read in this capture, so that everything is visited within a span and what
//! changed at once.
//!
//! Must never know: what is done with what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::CaptureError;
use super::gather::{Aim, Gatherer};
use super::progress::Progress;
use super::rows::{self, Part};
use super::spool::Phase;
use super::turns::{Queue, Visit};
use crate::archive::Key;
use crate::archive::entry::Status;
use crate::collect::{self, COLLECTIONS, Outcome, Recipe, RelationRead, Source};
use crate::index::{IndexError, VersionKind, View};

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
    /// The collection of the sources.
    collection: &'static str,
    sources: Vec<Source>,
    /// The longest unread of the others.
    oldest: Option<u64>,
    is_all: bool,
    /// Others have never been read.
    is_begun: bool,
}

/// How a relation is swept.
struct Sweep {
    /// The collection of the sources.
    collection: &'static str,
    /// The row under which the local state keeps what was read.
    row: String,
    /// The subtypes that have it.
    kinds: &'static [&'static str],
    /// There may be as many sources as people: in turns only.
    many: bool,
}

/// What is swept: a relation, a collection under another, or one object for each of another.
enum Swept {
    Relation(&'static Recipe, &'static RelationRead),
    Under(&'static Recipe, &'static str, &'static str),
    Per(&'static Recipe, &'static str),
}

impl Swept {
    fn is_many(&self) -> bool {
        match self {
            Swept::Relation(_, relation) => relation.many,
            Swept::Under(..) => false,
            Swept::Per(recipe, _) => matches!(recipe.how, collect::How::Per { many: true, .. }),
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
            let swept = match (recipe.parent(), recipe.per()) {
                (Some((parent, relation)), _) => vec![Swept::Under(recipe, parent, relation)],
                (None, Some(parent)) => vec![Swept::Per(recipe, parent)],
                (None, None) if self.is_off(recipe.collection) => Vec::new(),
                (None, None) => {
                    let unfed = recipe.relations.iter().filter(|relation| !relation.feed);
                    unfed.map(|relation| Swept::Relation(recipe, relation)).collect()
                }
            };
            let (of_many, of_few): (Vec<Swept>, Vec<Swept>) = swept.into_iter().partition(Swept::is_many);
            few.extend(of_few);
            many.extend(of_many);
        }
        let turns = usize::try_from(self.out.last_seq).unwrap_or_default() % many.len().max(1);
        many.rotate_left(turns);
        for swept in few {
            self.visit(swept, self.sweep_left).await?;
        }
        let mut others = many.len() as u64;
        for swept in many {
            self.visit(swept, self.sweep_left.div_ceil(others)).await?;
            others -= 1;
        }
        Ok(())
    }

    async fn visit(&mut self, swept: Swept, budget: u64) -> Result<(), CaptureError> {
        self.out.settle()?;
        self.out.unread.clear();
        match swept {
            Swept::Relation(recipe, relation) => self.relation(recipe, relation, budget).await,
            Swept::Under(recipe, parent, relation) => self.under(recipe, parent, relation, budget).await,
            Swept::Per(recipe, parent) => self.per(recipe, parent, budget).await,
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
    fn candidates(&self, sweep: &Sweep) -> Result<Vec<Source>, CaptureError> {
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
    /// read, and of the others as many as are due, the longest unvisited first. Where there may be as many sources as
    /// people, all of that within the budget; what changed and doesn't fit comes first next time.
    fn due(&mut self, sweep: &Sweep, budget: u64) -> Result<Due, CaptureError> {
        if !sweep.many && (self.request.reconcile || !self.is_known) {
            let sources = self.candidates(sweep)?;
            self.out.update.unordered.push(sweep.row.clone());
            return Ok(Due {
                row: sweep.row.clone(),
                collection: sweep.collection,
                sources,
                oldest: None,
                is_all: true,
                is_begun: false,
            });
        }
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        // After a full round absences count, and a recovery of everything may have touched everything.
        let has_moved = self.out.collections.get(sweep.collection).is_some_and(|seenness| seenness.first_full);
        let queue = match has_moved || !self.is_known || self.recovered.is_whole(sweep.collection) {
            true => None,
            false => self.progress.queue(&sweep.row)?,
        };
        let due = match queue {
            Some(queue) => self.due_in_order(sweep, &queue, budget)?,
            None => self.due_of_all(sweep, budget)?,
        };
        self.sweep_left = self.sweep_left.saturating_sub(due.sources.len() as u64);
        Ok(due)
    }

    /// How many of `len` sources an hour has to visit.
    fn share(&self, len: usize) -> usize {
        len.div_ceil(self.options.sweep_captures.max(1) as usize)
    }

    /// As [`due`](Self::due), where the order of the turns is known.
    fn due_in_order(&mut self, sweep: &Sweep, queue: &Queue<'_>, budget: usize) -> Result<Due, CaptureError> {
        let seenness = &self.out.collections[sweep.collection];
        let mut urgent: BTreeSet<Key> = seenness.sources.clone();
        urgent.extend(self.progress.stale(&sweep.row)?.iter().filter_map(|key| key.parse().ok()));
        urgent.extend(self.out.touched.iter().map(|id| Key::new(sweep.collection, id)));
        let mut now = BTreeMap::new();
        let mut len = usize::try_from(queue.len).unwrap_or(usize::MAX);
        let mut is_begun = false;
        let mut is_all = true;
        let limit = if sweep.many { budget } else { usize::MAX };
        for key in urgent.difference(&seenness.gone) {
            let visit = queue.visit(key.as_str())?;
            let is_new = visit.is_none() && seenness.sources.contains(key);
            let Some(subtype) = self.subtype(sweep, key)?.filter(|_| visit.is_some() || is_new) else { continue };
            if is_new {
                len += 1;
                self.out.update.arrived.push((sweep.row.clone(), key.clone()));
            }
            let was_read = visit.is_some_and(|visit| visit.read.is_some());
            if was_read {
                // Reading it takes the mark away again: what can't be read now comes first next time.
                self.out.update.stale.push((sweep.row.clone(), key.clone()));
            }
            match now.len() < limit {
                true => drop(now.insert(key.clone(), subtype)),
                false => (is_begun, is_all) = (is_begun || !was_read, false),
            }
        }
        let due = self.share(len).min(budget);
        let mut turns: Vec<Key> = Vec::new();
        let in_vain = self.progress.in_vain(&sweep.row)?;
        let mut later = None;
        queue.each(0, |source, at| {
            let Ok(key) = source.parse::<Key>() else { return Ok(ControlFlow::Continue(())) };
            if now.contains_key(&key) || seenness.gone.contains(&key) {
                return Ok(ControlFlow::Continue(()));
            }
            let room = if at == 0 { limit } else { due.min(limit) };
            if now.len() + turns.len() < room {
                turns.push(key);
                return Ok(ControlFlow::Continue(()));
            }
            later = Some(at);
            Ok(ControlFlow::Break(()))
        })?;
        for key in turns {
            if let Some(subtype) = self.subtype(sweep, &key)? {
                now.insert(key, subtype);
            }
        }
        let mut oldest = None;
        if let Some(at) = later {
            is_all = false;
            is_begun |= at == 0;
            let mut note = |visit: Option<Visit>| match visit.and_then(|visit| visit.read) {
                Some(read) => oldest = Some(oldest.map_or(read, |oldest: u64| oldest.min(read))),
                None => is_begun = true,
            };
            for key in in_vain.iter().filter_map(|key| key.parse::<Key>().ok()) {
                if !now.contains_key(&key) && !seenness.gone.contains(&key) {
                    note(queue.visit(key.as_str())?);
                }
            }
            queue.each(at.max(1), |source, _| {
                let is_later =
                    source.parse::<Key>().is_ok_and(|key| !now.contains_key(&key)) && !in_vain.contains(source);
                if is_later {
                    note(queue.visit(source)?);
                }
                Ok(if is_later { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
        }
        let sources = now.into_iter().map(|(key, subtype)| Source { key, subtype }).collect();
        Ok(Due { row: sweep.row.clone(), collection: sweep.collection, sources, oldest, is_all, is_begun })
    }

    /// The subtype under which a source is swept, itself `None` where the sweep has no subtypes; `None` for a source
    /// that isn't of any of them.
    #[allow(clippy::option_option, reason = "two questions, each with its answer")]
    fn subtype(&self, sweep: &Sweep, key: &Key) -> Result<Option<Option<&'static str>>, CaptureError> {
        if sweep.kinds.is_empty() {
            return Ok(Some(None));
        }
        let seen = self.out.collections.get(sweep.collection).and_then(|seenness| seenness.kinds.get(key).copied());
        let known = match seen {
            Some(_) => None,
            None => self.progress.kind(key)?,
        };
        let kind = seen.or(known.as_deref());
        Ok(kind.and_then(|kind| sweep.kinds.iter().find(|subtype| **subtype == kind)).map(|subtype| Some(*subtype)))
    }

    /// As [`due`](Self::due), by looking at every source; the order is laid down afterwards.
    fn due_of_all(&mut self, sweep: &Sweep, budget: usize) -> Result<Due, CaptureError> {
        let all = self.candidates(sweep)?;
        self.out.update.unordered.push(sweep.row.clone());
        let visits = self.progress.visits(&sweep.row)?;
        let stale = self.progress.stale(&sweep.row)?;
        let is_recovered = self.recovered.is_whole(sweep.collection);
        let changed = self.out.collections.get(sweep.collection).map(|seenness| &seenness.sources);
        let is_urgent = |key: &Key| {
            is_recovered
                || changed.is_some_and(|changed| changed.contains(key))
                || stale.contains(key.as_str())
                || !self.out.touched.is_empty() && self.out.touched.contains(&key.decoded_id())
        };
        let turn = |key: &Key| match (is_urgent(key), visits.get(key.as_str())) {
            (true, _) => Turn::Urgent,
            (false, None | Some(Visit { at: 0, .. })) => Turn::Never,
            (false, Some(visit)) => Turn::At(visit.at),
        };
        let mut order: Vec<(Turn, usize)> =
            all.iter().enumerate().map(|(place, source)| (turn(&source.key), place)).collect();
        order.sort_unstable();
        let urgent = order.iter().take_while(|(turn, _)| *turn <= Turn::Never).count();
        let share = self.share(all.len());
        let take = match sweep.many {
            true => urgent.max(share).min(budget),
            false => urgent.max(share.min(budget)),
        };
        let (now, later) = order.split_at(take.min(order.len()));
        let last_read = |place: usize| visits.get(all[place].key.as_str()).and_then(|visit| visit.read);
        for (_, place) in order.iter().take_while(|(turn, _)| *turn == Turn::Urgent) {
            if last_read(*place).is_some() {
                self.out.update.stale.push((sweep.row.clone(), all[*place].key.clone()));
            }
        }
        let oldest = later.iter().filter_map(|(_, place)| last_read(*place)).min();
        let is_begun = later.iter().any(|(_, place)| last_read(*place).is_none());
        let mut sources: Vec<Source> = now.iter().map(|(_, place)| all[*place].clone()).collect();
        sources.sort_unstable();
        Ok(Due {
            row: sweep.row.clone(),
            collection: sweep.collection,
            sources,
            oldest,
            is_all: later.is_empty(),
            is_begun,
        })
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
        let mut code = code.map(str::to_owned);
        let mut needs = outcome.and_then(|outcome| self.needs(outcome));
        let mut oldest = due.oldest;
        // What hangs under objects was seen as far as they were.
        if let Some(of) = self.out.rows.get_mut(due.collection, Part::Objects)
            && matches!(status, Status::Complete | Status::Rolling | Status::NotDue)
        {
            let is_read = outcome.is_some_and(|outcome| outcome.requests > 0);
            status = match of.st {
                Status::Complete | Status::Rolling => status,
                Status::NotDue if is_read => {
                    oldest = oldest.or(of.oldest);
                    Status::Rolling
                }
                Status::NotDue => Status::NotDue,
                _ if is_read => Status::Partial,
                Status::Absent => Status::Absent,
                _ => Status::Carried,
            };
            if matches!(status, Status::Partial | Status::Absent | Status::Carried) {
                code = of.code.clone();
                needs = of.needs.clone();
            }
        }
        let row = self.out.rows.set(collection, part, status);
        row.how = Some("whole".to_owned());
        row.code = code;
        row.needs = needs;
        if let Some(outcome) = outcome {
            row.n = Some(outcome.items);
            rows::set_costs(row, outcome);
        }
        if matches!(status, Status::Rolling | Status::NotDue | Status::Partial) {
            row.oldest = oldest;
        }
    }
}

/// Every row that is read source by source, with the collection of its sources and the subtypes among them.
fn swept_rows() -> impl Iterator<Item = (String, &'static str, &'static [&'static str])> {
    COLLECTIONS.iter().flat_map(|recipe| {
        let name = recipe.collection;
        let unfed = recipe.relations.iter().filter(|relation| !relation.feed);
        let relations =
            unfed.map(move |relation| (rows::text(name, Part::Relation(relation.name)), name, relation.kinds));
        let under =
            recipe.parent().map(|(parent, relation)| (rows::text(parent, Part::Relation(relation)), parent, &[][..]));
        let per = match recipe.how {
            collect::How::Per { parent, kinds, .. } => Some((rows::text(name, Part::Objects), parent, kinds)),
            _ => None,
        };
        relations.chain(under).chain(per)
    })
}

/// The rows that are read object by object of a collection.
pub(super) fn rows_of(collection: &str) -> impl Iterator<Item = String> {
    swept_rows().filter(move |(_, of, _)| *of == collection).map(|(row, ..)| row)
}

/// Lays down the order of the turns of `rows`, once what they are about is committed.
pub(super) fn lay_order(progress: &Progress, view: &View, rows: &[String]) -> Result<(), CaptureError> {
    for (row, collection, kinds) in swept_rows().filter(|(row, ..)| rows.contains(row)) {
        let of_kinds = match kinds {
            [] => None,
            _ => Some(progress.kinds(collection)?),
        };
        progress.rebuild(&row, |each: &mut dyn FnMut(&str) -> Result<(), CaptureError>| {
            view.each_key::<CaptureError>(Some(collection), |key, id| {
                let is_of_kind = of_kinds
                    .as_ref()
                    .is_none_or(|known| known.get(key.as_str()).is_some_and(|kind| kinds.contains(&kind.as_str())));
                if is_of_kind && key.facet_name().is_none() {
                    let version = view.version_at(id, u64::from(u32::MAX))?;
                    if version.is_some_and(|version| version.kind != VersionKind::Removed) {
                        each(key.as_str())?;
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
        })?;
    }
    Ok(())
}
