//! Reading what happened since a time.
//!
//! Must never know: what was read before.

use jiff::Timestamp;

use super::outcome::{Outcome, code};
use super::recipe::{How, Recipe};
use super::round::Round;
use super::sighting::{Content, Sighting, Sink};
use crate::canonical::{Json, Key, Rules, canonicalize};
use crate::graph::Reader;
use crate::model;

/// The category under which the service records what its own recovery did (learn,
/// entrarecoveryservices-backup-recovery-overview).
const RECOVERY: &str = "Backup and Recovery";

impl Recipe {
    /// Reads every event since `from`, or all that the service still keeps. Records arrive late and in no order: whoever
    /// reads on must begin well before the last one it knows. For a collection of no events the outcome is
    /// [`Status::Absent`](super::Status::Absent).
    pub async fn events(&'static self, reader: &Reader, from: Option<Timestamp>, out: &Sink) -> Outcome {
        let mut round = Round::new(self.collection, reader, out);
        let How::Events { path, time, top } = self.how else { return round.absent(code::NOT_OFFERED) };
        // Whole seconds, cut off: a filter finer than what the service compares would lose the edge.
        let filter = from.map(|from| format!("$filter={time}%20ge%20{}&", from.strftime("%Y-%m-%dT%H:%M:%SZ")));
        let address = format!("{path}?{}$top={top}", filter.unwrap_or_default());
        let result = round.events(self, address, time).await;
        round.finish(result)
    }
}

/// What an element of a page of events says. One without a usable id is named by its bytes: it can't be recognised when
/// it comes again with other ones, but it isn't lost.
pub(super) fn sift(recipe: &Recipe, time: &str, rules: &Rules, item: &Json<'_>) -> Sighting {
    let collection = model::find(recipe.collection).expect("a test holds the recipes against the model's table");
    let content = canonicalize(item, rules).map_or_else(|_| Content::Raw(item.source.to_vec()), Content::Canonical);
    let key = model::key_of(collection, item).filter(|_| item.members().is_some());
    let key = key.unwrap_or_else(|| Key::raw(recipe.collection, item.source));
    let at = item.text(time).and_then(|at| at.parse().ok());
    let targets = item.get("targetResources").and_then(Json::elements).unwrap_or_default();
    let touched = targets.iter().filter_map(|target| target.text("id")).filter(|id| !id.is_empty());
    let is_recovery = item.text("category").is_some_and(|category| category.eq_ignore_ascii_case(RECOVERY));
    Sighting::Event { key, content, at, touched: touched.map(str::to_owned).collect(), is_recovery }
}
