//! What was seen of one collection while it was read, and how a sighting gets there.
//!
//! Must never know: how anything is read, or what was known before.

use std::collections::{BTreeMap, BTreeSet};

use super::CaptureError;
use super::gather::{Aim, Gathered};
use super::recovery;
use super::rows::{self, Part};
use super::spool::{Phase, Record, Seen, Spool};
use crate::archive::Key;
use crate::archive::line::Content;
use crate::collect::{self, COLLECTIONS, Sighting};
use crate::index::View;

/// The collection of the tenant itself.
pub(super) const ORGANIZATION: &str = "organization";

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
    /// Subtypes of what was seen.
    pub kinds: BTreeMap<Key, &'static str>,
    /// Properties that any of the reads was refused.
    pub refused: BTreeSet<String>,
    /// Properties that the feed was refused: what a whole read shows of them isn't what the feed missed.
    pub untracked: BTreeSet<String>,
    /// Differences that a whole read finds have a known reason.
    pub is_explained: bool,
    pub facets: BTreeMap<&'static str, FacetSeen>,
    /// The contents of what decides about the rest of the capture: recovery jobs, the organization.
    pub kept: Vec<(Key, Vec<u8>)>,
}

/// What was seen of one facet of a collection.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct FacetSeen {
    /// It comes with the objects themselves.
    pub is_lifted: bool,
    pub is_full: bool,
    pub generation: u32,
}

impl Gathered {
    /// Takes one sighting in.
    pub(super) fn take(
        &mut self,
        view: &View,
        collection: &'static str,
        aim: Aim,
        sighting: Sighting,
    ) -> Result<(), CaptureError> {
        let (key, seen) = match sighting {
            Sighting::Receipt(receipt) => {
                self.receipts.push(receipt);
                return Ok(());
            }
            Sighting::Restart => {
                self.restart(collection, aim);
                return Ok(());
            }
            Sighting::Unread { source, relation, code } => {
                if code != collect::code::GONE {
                    tracing::debug!(source = %source, relation, code, "a relation could not be read");
                    self.unread.push((source, code));
                }
                return Ok(());
            }
            Sighting::Event { key, content, at, touched, is_recovery } => {
                return self.take_event(view, collection, key, content, at, touched, is_recovery);
            }
            Sighting::Object { key, content, partial, subtype } => {
                if let Some(subtype) = subtype {
                    let seenness = self.collections.entry(collection).or_default();
                    seenness.kinds.insert(key.clone(), subtype);
                    self.update.kinds.push((key.clone(), subtype));
                }
                (key, Seen::Content { content: archived(content), partial })
            }
            Sighting::Gone { key } => (key, Seen::Gone),
            Sighting::Link { source, relation, target, present } => {
                (source, Seen::Link { relation: relation.to_owned(), target, present })
            }
            Sighting::Links { source, relation, targets } => {
                if matches!(aim, Aim::Under(_) | Aim::Phase(Phase::Links)) {
                    self.update.swept.push((rows::text(source.collection(), Part::Relation(relation)), source.clone()));
                }
                (source, Seen::Links { relation: relation.to_owned(), targets })
            }
        };
        self.push(collection, aim, key, seen)
    }

    /// Something was read: what was seen needn't be held in memory while other things are read.
    pub(super) fn settle(&mut self) -> Result<(), CaptureError> {
        self.collections.values_mut().try_for_each(|seenness| Ok(seenness.spool.settle()?))
    }

    fn push(&mut self, collection: &'static str, aim: Aim, key: Key, seen: Seen) -> Result<(), CaptureError> {
        if let Some(facet) = key.facet_name() {
            return self.push_facet(collection, aim, facet.to_owned(), key, seen);
        }
        // Under a parent the links are the parent's and the objects the child's.
        let (owner, phase) = match (aim, &seen) {
            (Aim::Under(parent), Seen::Links { .. }) => (parent, Phase::Links),
            (Aim::Phase(phase), _) => (collection, phase),
            _ => (collection, Phase::First),
        };
        if let Aim::Per(parent) = aim {
            let source = Key::new(parent, &key.decoded_id());
            self.update.swept.push((rows::text(collection, Part::Objects), source));
        }
        let seenness = self.collections.entry(owner).or_default();
        if phase == Phase::First || phase == Phase::Again {
            match &seen {
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
        if let Seen::Content { content: Content::Canonical(bytes), .. } = &seen
            && matches!(collection, recovery::JOBS | ORGANIZATION)
        {
            seenness.kept.push((key.clone(), bytes.clone()));
        }
        let generation = seenness.generations.get(&phase).copied().unwrap_or(0);
        seenness.spool.push(&Record { key, phase, generation, seen })?;
        Ok(())
    }

    /// A facet counts when its own list was read, or when it is due and comes with the objects.
    fn push_facet(
        &mut self,
        collection: &'static str,
        aim: Aim,
        facet: String,
        key: Key,
        seen: Seen,
    ) -> Result<(), CaptureError> {
        let seenness = self.collections.entry(collection).or_default();
        let Some(state) = seenness.facets.get(facet.as_str()) else { return Ok(()) };
        let counts = match aim {
            Aim::Facet(name) => name == facet,
            _ => state.is_lifted,
        };
        if counts {
            let generation = state.generation;
            seenness.spool.push(&Record { key, phase: Phase::First, generation, seen })?;
        }
        Ok(())
    }

    fn restart(&mut self, collection: &'static str, aim: Aim) {
        let seenness = self.collections.entry(collection).or_default();
        match aim {
            Aim::Facet(name) => {
                if let Some(facet) = seenness.facets.get_mut(name) {
                    facet.generation += 1;
                }
            }
            Aim::Phase(phase) => {
                *seenness.generations.entry(phase).or_insert(0) += 1;
                seenness.facets.values_mut().filter(|facet| facet.is_lifted).for_each(|facet| facet.generation += 1);
            }
            // Each source begins anew by itself.
            Aim::Under(_) | Aim::Per(_) => {}
        }
    }

    /// An event that is known already is nothing new, however often the service tells it.
    #[allow(clippy::too_many_arguments, reason = "the parts of one sighting")]
    fn take_event(
        &mut self,
        view: &View,
        collection: &'static str,
        key: Key,
        content: collect::Content,
        at: Option<jiff::Timestamp>,
        touched: Vec<String>,
        is_recovery: bool,
    ) -> Result<(), CaptureError> {
        self.latest_event = self.latest_event.into_iter().chain(at).max();
        self.earliest_event = self.earliest_event.into_iter().chain(at).min();
        if view.event(&key)?.is_some() {
            return Ok(());
        }
        self.touched.extend(touched);
        self.has_recovered |= is_recovery;
        let seenness = self.collections.entry(collection).or_default();
        let seen = Seen::Event { content: archived(content) };
        seenness.spool.push(&Record { key, phase: Phase::First, generation: 0, seen })?;
        Ok(())
    }
}

fn archived(content: collect::Content) -> Content {
    match content {
        collect::Content::Canonical(bytes) => Content::Canonical(bytes),
        collect::Content::Raw(bytes) => Content::Raw(bytes),
    }
}

fn has_fan_outs(collection: &str) -> bool {
    COLLECTIONS.iter().any(|recipe| {
        recipe.parent().is_some_and(|(parent, _)| parent == collection)
            || recipe.per() == Some(collection)
            || (recipe.collection == collection && recipe.relations.iter().any(|relation| !relation.feed))
    })
}
