//! What has a cadence of its own: facets, which hold what moves without being changed, and collections that aren't read
//! every hour.
//!
//! Must never know: what is done with what was seen.

use jiff::SignedDuration;

use super::CaptureError;
use super::gather::{Aim, Gatherer};
use super::rows::{self, Part};
use super::seen::FacetSeen;
use crate::archive::entry::Status;
use crate::collect::{self, Recipe};
use crate::model;

/// A read that was due an hour ago must not wait another day because a capture began some minutes earlier than usual.
const SLACK: SignedDuration = SignedDuration::from_mins(30);

/// Hours between two reads of a facet, where the configuration says nothing.
const FACET_HOURS: u32 = 24;

impl Gatherer<'_> {
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
