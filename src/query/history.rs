//! The history of one object: every capture at which it changed, with what changed and between which captures.
//!
//! Must never know: how an answer is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::attribution::{has_failed, is_about_object};
use super::{Archive, Attributed, Attribution, Matter, QueryError, Turn, comparable};
use crate::archive::entry::Status;
use crate::canonical::Key;
use crate::diff::{self, Change, LinkChange, Links, PropertyChange};
use crate::index::{CaptureRow, LinkRow, Version};

/// One change of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The capture that saw it first: it happened not after that.
    pub capture: CaptureRow,
    /// The capture that last saw everything as it was before: it happened after that. `None` for what the archive
    /// began with, and for what stands in the oldest base that is left where older content expired.
    pub not_before: Option<CaptureRow>,
    /// Whether the object came, went or changed.
    pub change: Change,
    /// Changed properties.
    pub properties: Vec<PropertyChange>,
    /// Changed links.
    pub links: Vec<LinkChange>,
    /// Records of the audit log that fit, by their times.
    pub by: Vec<Attribution>,
    /// What the log says of who did it; `None` where nobody saw it change, and of what the log never tells.
    pub attributed: Option<Attributed>,
}

/// What the rows of an object say about one capture.
#[derive(Default)]
struct Moves {
    version: Option<Version>,
    ended: Links,
    begun: Links,
    read: BTreeSet<Option<u64>>,
}

impl Archive {
    /// Every revision of `key` (number `id`), oldest first.
    ///
    /// # Errors
    /// The archive's.
    pub async fn history(&self, key: &Key, id: u32) -> Result<Vec<Revision>, QueryError> {
        self.history_after(key, id, None, usize::MAX).await
    }

    /// The revisions of `key` behind capture `after`, as many as `most`. Of those before it nothing is read but what the first one
    /// followed.
    ///
    /// # Errors
    /// The archive's.
    pub async fn history_after(
        &self,
        key: &Key,
        id: u32,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<Revision>, QueryError> {
        let mut moves = self.moves(id)?;
        let mut revisions = Vec::new();
        let (mut content, mut links): (Option<Vec<u8>>, usize) = (None, 0);
        if let Some(after) = after {
            let later = moves.split_off(&after.saturating_add(1));
            links = moves.values().map(|own| count(&own.begun)).sum::<usize>();
            links -= moves.values().map(|own| count(&own.ended)).sum::<usize>();
            if let Some(version) = moves.values().rev().find_map(|own| own.version.as_ref()) {
                content = self.content(key, version).await?.as_ref().map(comparable);
            }
            moves = later;
        }
        for (seq, moves) in moves {
            if revisions.len() >= most {
                break;
            }
            let was_there = content.is_some() || links > 0;
            let before = content.clone();
            if let Some(version) = &moves.version {
                content = self.content(key, version).await?.as_ref().map(comparable);
            }
            links = links + count(&moves.begun) - count(&moves.ended);
            let properties = diff::content(before.as_deref(), content.as_deref());
            let changed = diff::links(&moves.ended, &moves.begun);
            let Some(change) = Change::between(was_there, content.is_some() || links > 0) else { continue };
            if change == Change::Changed && before == content && changed.is_empty() {
                continue;
            }
            let (capture, not_before) = self.interval(seq, &moves.read, (key, change))?;
            let mut revision =
                Revision { capture, not_before, change, properties, links: changed, by: Vec::new(), attributed: None };
            self.attribute_revision(key, &mut revision).await?;
            revisions.push(revision);
        }
        Ok(revisions)
    }

    /// Finds the records that fit a revision: of its properties those that name one of them or that made or removed the object,
    /// of its links those that name both ends.
    async fn attribute_revision(&self, key: &Key, revision: &mut Revision) -> Result<(), QueryError> {
        let Some(missing) = revision.not_before else { return Ok(()) };
        if key.facet_name().is_some() {
            return Ok(());
        }
        let (id, seen) = (key.decoded_id(), revision.capture.seq);
        let mut told = None;
        for (target, matter, turn) in link_turns(&revision.links).into_iter().take(ATTRIBUTED_LINKS) {
            let target = target.decoded_id();
            let mut found = self.attribute(&[&id, &target], matter, turn, missing.seq, seen).await?;
            if !matches!(found, Attributed::By(_)) {
                found = self.attribute(&[&target, &id], matter, turn, missing.seq, seen).await?;
            }
            match found {
                Attributed::By(attribution) => revision.by.push(attribution),
                silent => told = Some(silent),
            }
        }
        if !revision.properties.is_empty() || revision.change != Change::Changed {
            for record in self.records(&id, missing.seq, seen).await? {
                if tells_of(&record.value, revision) {
                    revision.by.push(record.attribution.clone());
                }
            }
            if revision.by.is_empty() {
                told = Some(self.attribute(&[&id, NOBODY], Matter::Object, Turn::Changed, missing.seq, seen).await?);
            }
        }
        revision.by.sort();
        revision.by.dedup();
        revision.attributed = revision.by.last().cloned().map(Attributed::By).or(told);
        Ok(())
    }

    fn moves(&self, id: u32) -> Result<BTreeMap<u64, Moves>, QueryError> {
        let head = self.head()?.seq;
        let mut moves: BTreeMap<u64, Moves> = BTreeMap::new();
        for version in self.view().versions(id)?.into_iter().filter(|version| version.seq <= head) {
            let at = moves.entry(version.seq).or_default();
            at.version = Some(version);
            at.read.insert(version.q);
        }
        for row in self.view().links_from(id)? {
            let target = self.view().key(row.target)?;
            let put = |links: &mut Links, row: &LinkRow| {
                links.entry(row.relation.clone()).or_default().insert(target.clone(), row.properties.clone());
            };
            if row.from <= head {
                let at = moves.entry(row.from).or_default();
                put(&mut at.begun, &row);
                at.read.insert(row.q_from);
            }
            if let Some(until) = row.until.filter(|until| *until <= head) {
                let at = moves.entry(until).or_default();
                put(&mut at.ended, &row);
                at.read.insert(row.q_until);
            }
        }
        Ok(moves)
    }

    /// The capture itself, and the earliest of the captures that last saw a part of it as before.
    fn interval(
        &self,
        seq: u64,
        read: &BTreeSet<Option<u64>>,
        what: (&Key, Change),
    ) -> Result<(CaptureRow, Option<CaptureRow>), QueryError> {
        let capture = self.capture(seq, self.head()?.seq)?;
        let before = self.view().capture_before(seq)?;
        let oldest = read.iter().copied().flatten().min();
        let not_before = match (before, oldest) {
            (Some(before), Some(oldest)) if oldest < before.seq => self.view().capture_before(oldest + 1)?,
            _ => before,
        };
        // What is shown when its collection is first read may have been there since ever.
        let (key, change) = what;
        if let Some(before) = before.filter(|_| change == Change::Added && oldest.is_none()) {
            let (collection, facet) = (key.collection(), key.facet_name());
            let sight = self.view().sight(collection, None, facet, before.seq)?;
            let is_read = matches!(sight.status, Some(Status::Complete | Status::Rolling | Status::Partial));
            if !is_read && self.view().last_read(collection, None, facet, before.seq)?.is_none() {
                return Ok((capture, None));
            }
        }
        // What an expired capture saw nobody can tell any more.
        Ok((capture, not_before.filter(|row| !row.expired)))
    }
}

/// Links whose makers are looked up in one revision.
const ATTRIBUTED_LINKS: usize = 50;

/// An id that no record names: what is left to tell is whether the log was read.
const NOBODY: &str = "\u{0}";

fn link_turns(changes: &[LinkChange]) -> Vec<(Key, Matter, Turn)> {
    let mut turns = Vec::new();
    for change in changes {
        let matter = match change.relation.as_str() {
            "members" => Matter::Membership,
            "owners" => Matter::Ownership,
            _ => Matter::Object,
        };
        turns.extend(change.added.iter().map(|(key, _)| (key.clone(), matter, Turn::Began)));
        turns.extend(change.removed.iter().map(|key| (key.clone(), matter, Turn::Ended)));
    }
    turns
}

/// Whether a record is about the properties that changed, or about the object's coming or going, and not about what was given to
/// it or taken from it.
fn tells_of(record: &Value, revision: &Revision) -> bool {
    if has_failed(record) {
        return false;
    }
    let changed: BTreeSet<String> = revision
        .properties
        .iter()
        .map(|change| {
            change.path.split(['.', '[', '/']).find(|part| !part.is_empty()).unwrap_or_default().to_lowercase()
        })
        .collect();
    let targets = record["targetResources"].as_array();
    let named =
        targets.into_iter().flatten().flat_map(|target| target["modifiedProperties"].as_array().into_iter().flatten());
    let mut named = named.filter_map(|property| property["displayName"].as_str()).peekable();
    let names_any = named.peek().is_some();
    if named.any(|name| changed.contains(&name.to_lowercase())) {
        return true;
    }
    let activity = record["activityDisplayName"].as_str().unwrap_or_default().to_lowercase();
    let is_about_others = !is_about_object(&activity);
    match revision.change {
        Change::Changed => !names_any && !is_about_others,
        Change::Added => !is_about_others && !activity.contains("delete") && !activity.starts_with("update"),
        Change::Removed => !is_about_others && (activity.contains("delete") || activity.starts_with("remove")),
    }
}

fn count(links: &Links) -> usize {
    links.values().map(BTreeMap::len).sum()
}
