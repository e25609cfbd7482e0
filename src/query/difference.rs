//! What differs between the states of two captures.
//!
//! Must never know: how an answer is shown.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::{Archive, Instant, QueryError, checked, comparable, label_of};
use crate::archive::line::{Content, InvalidLine};
use crate::archive::reader::{ReadError, read_pack};
use crate::canonical::Key;
use crate::diff::{self, Change, LinkChange, Links, PropertyChange};
use crate::hash::Hash;
use crate::index::{IndexError, Version, VersionKind};

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The object.
    pub key: Key,
    /// How it is shown to a person, by its later content.
    pub label: Option<String>,
    /// Whether it came, went or changed.
    pub change: Change,
    /// Changed properties.
    pub properties: Vec<PropertyChange>,
    /// Changed links.
    pub links: Vec<LinkChange>,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Objects of this collection only.
    pub collection: Option<String>,
    /// This object only.
    pub object: Option<Key>,
}

impl Scope {
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.collection.as_deref().is_none_or(|collection| key.collection() == collection)
            && self.object.as_ref().is_none_or(|object| object == key)
    }
}

/// Lines of content that are needed next, by key and capture.
type Ahead = HashMap<(u32, u64), Vec<u8>>;

/// Bytes of lines that are read ahead.
const AHEAD_BYTES: usize = 32 << 20;

/// Captures whose packs are read to learn which keys changed; over more of them every key of the index is compared.
const READ_PACKS_OF: usize = 1500;

impl Archive {
    /// Hands out what differs between `from` and `to`, sorted by key, until `each` breaks.
    ///
    /// # Errors
    /// The archive's, and those of `each`.
    pub async fn difference(
        &self,
        from: &Instant,
        to: &Instant,
        scope: &Scope,
        mut each: impl FnMut(Difference) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<(), QueryError> {
        let mut keys = self.touched(from, to, scope).await?.into_iter().peekable();
        while keys.peek().is_some() {
            let (next, ahead) = self.read_ahead(&mut keys, from.capture.seq, to.capture.seq).await?;
            for (key, id) in next {
                if let Some(difference) = self.compare(&key, id, from.capture.seq, to.capture.seq, &ahead).await?
                    && each(difference)?.is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The next keys, with the lines of their contents: in key order each line lies in another pack than the one before, and its
    /// frame would be decompressed for it alone.
    async fn read_ahead(
        &self,
        keys: &mut impl Iterator<Item = Key>,
        from: u64,
        to: u64,
    ) -> Result<(Vec<(Key, u32)>, Ahead), QueryError> {
        let (mut next, mut wanted, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < AHEAD_BYTES
            && let Some(key) = keys.next()
        {
            let Some(id) = self.view().id(&key)? else { continue };
            let (old, new) = (self.view().version_at(id, from)?, self.view().version_at(id, to)?);
            let is_same = old.map(|old| old.content) == new.map(|new| new.content);
            for version in new.into_iter().chain(old.filter(|_| !is_same)) {
                if version.kind != VersionKind::Removed {
                    bytes += version.place.len as usize;
                    wanted.push((version.pack, version.place.frame, version.place.offset, id, version));
                }
            }
            next.push((key, id));
        }
        wanted.sort_unstable_by_key(|(pack, frame, offset, ..)| (*pack, *frame, *offset));
        let mut ahead = Ahead::with_capacity(wanted.len());
        for (pack, .., id, version) in wanted {
            let pack = self.view().pack(pack)?;
            // What can't be read is found again, and told, where it is needed.
            if let Ok(line) = self.lines.line(&pack.name, pack.len, version.place).await {
                ahead.insert((id, version.seq), line);
            }
        }
        Ok((next, ahead))
    }

    /// What differs in one of the keys that [`Archive::touched`] gave.
    ///
    /// # Errors
    /// The archive's.
    pub async fn difference_of(
        &self,
        key: &Key,
        from: &Instant,
        to: &Instant,
    ) -> Result<Option<Difference>, QueryError> {
        // Whoever asked may have gone away, and what is read from memory would never let anybody notice.
        tokio::task::consume_budget().await;
        match self.view().id(key)? {
            Some(id) => self.compare(key, id, from.capture.seq, to.capture.seq, &Ahead::default()).await,
            None => Ok(None),
        }
    }

    /// Keys that may differ: those that a capture between the two says something of.
    ///
    /// # Errors
    /// The archive's.
    pub async fn touched(&self, from: &Instant, to: &Instant, scope: &Scope) -> Result<BTreeSet<Key>, QueryError> {
        if let Some(object) = &scope.object {
            return Ok([object.clone()].into_iter().filter(|key| scope.holds(key)).collect());
        }
        let (low, high) = (from.capture.seq.min(to.capture.seq), from.capture.seq.max(to.capture.seq));
        let mut between = Vec::new();
        let mut readable = !from.capture.unknown && !to.capture.unknown;
        let mut next = self.view().capture_after(low)?;
        while let Some(capture) = next.filter(|capture| capture.seq <= high && readable) {
            readable = !capture.unknown && between.len() < READ_PACKS_OF;
            between.push(capture.seq);
            next = self.view().capture_after(capture.seq)?;
        }
        let mut keys = BTreeSet::new();
        for seq in between {
            if readable {
                readable = match self.keys_changed_at(seq, scope, &mut keys).await {
                    // Which keys changed the index knows too, only slower; content from that pack still fails.
                    Err(QueryError::Read(error)) if !is_transient(&error) => false,
                    other => other.map(|()| true)?,
                };
            }
        }
        if !readable {
            self.view().each_key(scope.collection.as_deref(), |key, _| {
                keys.insert(key);
                Ok::<_, IndexError>(ControlFlow::Continue(()))
            })?;
        }
        Ok(keys)
    }

    async fn keys_changed_at(&self, seq: u64, scope: &Scope, keys: &mut BTreeSet<Key>) -> Result<(), QueryError> {
        let body = self.body(seq).await?;
        let mut damaged = None;
        for pack in body.delta.iter().flat_map(|delta| &delta.packs) {
            read_pack(&*self.store, pack, |line, _| match key_of(line) {
                Some(key) if !scope.holds(&key) || keys.contains(&key) => {}
                Some(key) => {
                    keys.insert(key);
                }
                None => damaged = Some(pack.n.clone()),
            })
            .await?;
        }
        match damaged {
            Some(name) => {
                let source = InvalidLine::Form;
                Err(ReadError::Line { name, source }.into())
            }
            None => Ok(()),
        }
    }

    /// What differs in one key; content is read only where the index knows that it differs.
    async fn compare(
        &self,
        key: &Key,
        id: u32,
        from: u64,
        to: u64,
        ahead: &Ahead,
    ) -> Result<Option<Difference>, QueryError> {
        let (old, new) = (self.view().version_at(id, from)?, self.view().version_at(id, to)?);
        let hash = |version: Option<Version>| {
            version.filter(|version| version.kind != VersionKind::Removed).map_or(Hash::ZERO, |version| version.content)
        };
        // A row is one stretch of time with the same properties: what holds at both instants doesn't differ, and most
        // links of a group that changed didn't.
        let (mut old_links, mut new_links) = (Links::new(), Links::new());
        let (mut had_links, mut has_links) = (false, false);
        for row in self.view().links_from_during(id, None, &(from.min(to)..=from.max(to)))? {
            let (held, holds) = (row.holds_at(from), row.holds_at(to));
            had_links |= held;
            has_links |= holds;
            if held != holds {
                let links = if held { &mut old_links } else { &mut new_links };
                links.entry(row.relation).or_default().insert(self.view().key(row.target)?, row.properties);
            }
        }
        let links = diff::links(&old_links, &new_links);
        let same_content = hash(old) == hash(new);
        if same_content && links.is_empty() {
            return Ok(None);
        }
        let new_content = self.read((key, id), new, ahead).await?;
        let mut label = new_content.as_ref().and_then(label_of);
        let mut properties = Vec::new();
        if !same_content {
            let old_content = self.read((key, id), old, ahead).await?;
            label = label.or_else(|| old_content.as_ref().and_then(label_of));
            let (before, after) = (old_content.as_ref().map(comparable), new_content.as_ref().map(comparable));
            properties = diff::content(before.as_deref(), after.as_deref());
        }
        let was = !hash(old).is_zero() || had_links;
        let is = !hash(new).is_zero() || has_links;
        let change = Change::between(was, is);
        Ok(change.map(|change| Difference { key: key.clone(), label, change, properties, links }))
    }

    async fn read(
        &self,
        (key, id): (&Key, u32),
        version: Option<Version>,
        ahead: &Ahead,
    ) -> Result<Option<Content>, QueryError> {
        let Some(version) = version else { return Ok(None) };
        match ahead.get(&(id, version.seq)) {
            Some(line) => checked(self.view().pack(version.pack)?, key, &version, line).map(Some),
            None => self.content(key, &version).await,
        }
    }
}

/// Whether reading again may help.
fn is_transient(error: &ReadError) -> bool {
    matches!(error, ReadError::Store { source, .. } if source.is_transient())
}

/// The key of a line; keys need no escapes, so it ends at the next quote.
fn key_of(line: &[u8]) -> Option<Key> {
    let rest = line.strip_prefix(b"{\"k\":\"")?;
    let end = rest.iter().position(|&b| b == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}
