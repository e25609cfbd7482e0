//! An object as of an instant: content, links out and in, since when, how certain.
//!
//! Must never know: how an answer is shown.

use super::{Archive, Basis, Certainty, Gap, Instant, QueryError};
use crate::archive::entry::Status;
use crate::archive::line::Content;
use crate::canonical::Key;
use crate::index::{CaptureRow, LinkRow};

/// A link as it is shown: the other end, and since which capture it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The relation.
    pub relation: String,
    /// The other end: the target of a link out, the source of a link in.
    pub other: Key,
    /// Canonical JSON of its properties; `None` for none.
    pub properties: Option<Vec<u8>>,
    /// The capture that first saw it so.
    pub since: u64,
}

/// An object as of an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The object.
    pub key: Key,
    /// Its content; `None` where it isn't there, or only links are.
    pub content: Option<Content>,
    /// The capture since which the content is this (or is absent); `None` where it never had any until then.
    pub since: Option<CaptureRow>,
    /// How certain the content, or its absence, is.
    pub certainty: Certainty,
    /// Links that start here, by relation and target.
    pub links: Vec<Link>,
    /// Links that lead here, by relation and source. They belong to other objects, and so to their coverage.
    pub incoming: Vec<Link>,
    /// What the answer rests on.
    pub basis: Basis,
}

impl Answer {
    /// Whether the object is there: with content, or at least with links of its own.
    pub fn is_present(&self) -> bool {
        self.content.is_some() || !self.links.is_empty()
    }

    /// Where the collection is read in turns and it isn't certain that this object was read at the capture: the capture
    /// at or after which it was. A change that happened since may not have been seen yet.
    pub fn read_since(&self) -> Option<u64> {
        let mine = |gap: &&Gap| gap.relation.is_none() && gap.facet.as_deref() == self.key.facet_name();
        let gap = self.basis.gaps.iter().find(mine)?;
        let oldest = gap.oldest.filter(|_| gap.status == Some(Status::Rolling))?;
        let changed = self.since.map_or(0, |since| since.seq);
        (self.certainty == Certainty::Unknown && !self.basis.is_late()).then_some(oldest.max(changed))
    }

    /// Whether something that was asked about wasn't seen. Content that was read later without a change is certain,
    /// whatever the capture itself saw; what is read in turns is as it should be.
    pub fn is_incomplete(&self) -> bool {
        let content = self.certainty == Certainty::Unknown && self.read_since().is_none();
        let relations = self.basis.gaps.iter().any(|gap| gap.relation.is_some() && gap.is_incomplete());
        content || relations || self.basis.instant.capture.unknown
    }
}

impl Archive {
    /// The object `key` (number `id`) as of `at`.
    ///
    /// # Errors
    /// The archive's: what can't be read or isn't what was committed.
    pub async fn as_of(&self, key: &Key, id: u32, at: &Instant) -> Result<Answer, QueryError> {
        let seq = at.capture.seq;
        let version = self.view().version_at(id, seq)?;
        let content = match &version {
            Some(version) => self.content(key, version).await?,
            None => None,
        };
        let since = match version {
            Some(version) => self.view().capture(version.seq)?,
            None => None,
        };
        let links = self.shown(self.view().links_from_during(id, None, &(seq..=seq))?, seq, |row| row.target)?;
        let incoming = self.shown(self.view().links_to_during(id, None, &(seq..=seq))?, seq, |row| row.source)?;
        let certainty = self.certainty(key, id, at).await?;
        let basis = self.basis(at, Some(key.collection())).await?;
        Ok(Answer { key: key.clone(), content, since, certainty, links, incoming, basis })
    }

    fn shown(&self, rows: Vec<LinkRow>, seq: u64, other: fn(&LinkRow) -> u32) -> Result<Vec<Link>, QueryError> {
        let mut links = Vec::new();
        for row in rows.into_iter().filter(|row| row.holds_at(seq)) {
            let other = self.view().key(other(&row))?;
            let properties = (!row.properties.is_empty()).then_some(row.properties);
            links.push(Link { relation: row.relation, other, properties, since: row.from });
        }
        links.sort_by(|a, b| (&a.relation, &a.other).cmp(&(&b.relation, &b.other)));
        Ok(links)
    }
}
