//! What differs between the states of two captures.
//!
//! Must never know: how an answer is shown.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};

use super::ahead::sound_content;
use super::{Archive, Instant, QueryError, comparable, label_of};
use crate::archive::line::{InvalidLine, Line};
use crate::archive::reader::{ReadError, read_pack};
use crate::canonical::Key;
use crate::diff::{self, Change, LinkChange, Links, PropertyChange};
use crate::hash::Hash;
use crate::index::{IndexError, Turns, Version, VersionKind};

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The object.
    pub key: Key,
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

/// A key of which a capture between the two says something.
struct Touched {
    key: Key,
    /// Whether its links may differ.
    links: bool,
    /// The last line of its content between the two, with the capture that says so.
    line: Option<(u64, Vec<u8>)>,
}

/// What the packs between two captures say of a key, before it is known to be one.
#[derive(Default)]
struct Mention {
    links: bool,
    line: Option<(u64, Vec<u8>)>,
}

/// What the packs between two captures say.
#[derive(Default)]
struct Mentions {
    all: HashMap<String, Mention>,
    /// Bytes of lines that are kept.
    bytes: usize,
}

/// A key that is compared next: what the index knows of it, and its contents where they differ and could be read.
struct Next {
    key: Key,
    id: u32,
    links: bool,
    versions: [Option<Version>; 2],
    contents: [Option<Range<usize>>; 2],
}

/// Bytes of contents that are read ahead.
const AHEAD_BYTES: usize = 32 << 20;
/// Keys that are looked up ahead.
const AHEAD_KEYS: usize = 1 << 16;

/// Captures whose packs are read to learn which keys changed; over more of them every key of the index is compared.
const READ_PACKS_OF: usize = 1500;

/// What differs between two captures, one object after the other.
pub struct Differences<'a> {
    archive: &'a Archive,
    seqs: [u64; 2],
    keys: std::vec::IntoIter<Touched>,
    next: std::vec::IntoIter<Next>,
    /// Contents of what is next.
    contents: Vec<u8>,
}

impl Differences<'_> {
    /// The next object that differs, in the order of keys.
    ///
    /// # Errors
    /// The archive's.
    pub async fn next(&mut self) -> Result<Option<Difference>, QueryError> {
        loop {
            // Whoever asked may have gone away, and what is read from memory would never let anybody notice.
            tokio::task::consume_budget().await;
            let Some(next) = self.next.next() else {
                if self.keys.as_slice().is_empty() {
                    return Ok(None);
                }
                self.read_ahead().await?;
                continue;
            };
            if let Some(difference) = self.archive.compare(&next, self.seqs, &self.contents).await? {
                return Ok(Some(difference));
            }
        }
    }

    /// The next keys, with the contents of which the index knows that they differ: in key order each line lies in another pack
    /// than the one before, and its frame would be decompressed for it alone.
    async fn read_ahead(&mut self) -> Result<(), QueryError> {
        let (mut next, mut wanted, mut bytes) = (Vec::new(), Vec::new(), 0);
        self.contents.clear();
        while bytes < AHEAD_BYTES
            && next.len() < AHEAD_KEYS
            && let Some(Touched { key, links, line }) = self.keys.next()
        {
            let Some(id) = self.archive.view().id(&key)? else { continue };
            let mut found = Next::look_up(self.archive, key, id, links, self.seqs)?;
            if found.content_differs() {
                for (side, version) in found.versions.iter().enumerate() {
                    let Some(version) = version.filter(|version| version.kind != VersionKind::Removed) else {
                        continue;
                    };
                    bytes += version.place.len as usize;
                    // What lies between the two was read already.
                    let line = line.as_ref().filter(|(seq, _)| *seq == version.seq);
                    match line.and_then(|(_, line)| keep(&mut self.contents, line, &found.key, &version)) {
                        Some(content) => found.contents[side] = Some(content),
                        None => wanted.push((version, (next.len(), side))),
                    }
                }
            }
            next.push(found);
        }
        let (archive, contents) = (self.archive, &mut self.contents);
        archive
            .each_line(wanted, |version, &(at, side), line| {
                let Next { key, contents: own, .. } = &mut next[at];
                own[side] = keep(contents, line, key, version);
            })
            .await?;
        self.next = next.into_iter();
        Ok(())
    }
}

/// Keeps the canonical content of a line, if the line is that of `key` and its content has the hash that the index knows.
fn keep(contents: &mut Vec<u8>, line: &[u8], key: &Key, version: &Version) -> Option<Range<usize>> {
    let content = sound_content(line, key, version)?;
    let start = contents.len();
    contents.extend_from_slice(content);
    Some(start..contents.len())
}

impl Next {
    fn look_up(archive: &Archive, key: Key, id: u32, links: bool, seqs: [u64; 2]) -> Result<Next, QueryError> {
        let versions = archive.view().versions_at(id, seqs)?;
        Ok(Next { key, id, links, versions, contents: [None, None] })
    }

    /// `C` at one of the ends; zero where there is no content.
    fn hash(&self, side: usize) -> Hash {
        let there = self.versions[side].filter(|version| version.kind != VersionKind::Removed);
        there.map_or(Hash::ZERO, |version| version.content)
    }

    fn content_differs(&self) -> bool {
        self.hash(0) != self.hash(1)
    }
}

impl Mentions {
    /// Takes a line in; `None` where it is none. Events are no state and differ from nothing.
    fn add(&mut self, line: &[u8], seq: u64, scope: &Scope) -> Option<()> {
        let key = Line::read_key(line).ok()?;
        let rest = line.get(KEY_AT + key.len() + 1..)?;
        if rest.starts_with(b",\"e\":") {
            return Some(());
        }
        if !self.all.contains_key(key) {
            let parsed: Key = key.parse().ok()?;
            if !scope.holds(&parsed) {
                return Some(());
            }
            self.all.insert(key.to_owned(), Mention::default());
        }
        let mention = self.all.get_mut(key).expect("it was just made sure of");
        if !rest.starts_with(b",\"c\":") {
            // Links, or a removal, which ends them. Other forms of content are rare.
            mention.links = true;
            return Some(());
        }
        self.bytes -= mention.line.take().map_or(0, |(_, line)| line.len());
        if self.bytes < AHEAD_BYTES {
            self.bytes += line.len();
            mention.line = Some((seq, line.to_vec()));
        }
        Some(())
    }

    fn into_touched(self) -> Result<Vec<Touched>, QueryError> {
        let mut touched = Vec::with_capacity(self.all.len());
        for (key, Mention { links, line }) in self.all {
            touched.push(Touched { key: key.parse().map_err(IndexError::from)?, links, line });
        }
        touched.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(touched)
    }
}

/// Where the key of a line begins.
const KEY_AT: usize = "{\"k\":\"".len();

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
        let mut differences = self.differences(from, to, scope).await?;
        while let Some(difference) = differences.next().await? {
            if each(difference)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What differs between `from` and `to`, sorted by key.
    ///
    /// # Errors
    /// The archive's.
    pub async fn differences(
        &self,
        from: &Instant,
        to: &Instant,
        scope: &Scope,
    ) -> Result<Differences<'_>, QueryError> {
        let keys = self.mentioned(from, to, scope).await?.into_iter();
        let (next, contents) = (Vec::new().into_iter(), Vec::new());
        Ok(Differences { archive: self, seqs: [from.capture.seq, to.capture.seq], keys, next, contents })
    }

    /// How an object that differs is shown to a person: by its later content or, where that names it by nothing, by the earlier.
    ///
    /// # Errors
    /// The archive's.
    pub async fn label_of_difference(
        &self,
        key: &Key,
        from: &Instant,
        to: &Instant,
    ) -> Result<Option<String>, QueryError> {
        let Some(id) = self.view().id(key)? else { return Ok(None) };
        let next = Next::look_up(self, key.clone(), id, false, [from.capture.seq, to.capture.seq])?;
        let sides: &[usize] = if next.content_differs() { &[1, 0] } else { &[1] };
        for side in sides {
            let Some(version) = &next.versions[*side] else { continue };
            if let Some(label) = self.content(key, version).await?.as_ref().and_then(label_of) {
                return Ok(Some(label));
            }
        }
        Ok(None)
    }

    /// Keys that may differ: those that a capture between the two says something of.
    ///
    /// # Errors
    /// The archive's.
    pub(super) async fn touched(
        &self,
        from: &Instant,
        to: &Instant,
        scope: &Scope,
    ) -> Result<BTreeSet<Key>, QueryError> {
        Ok(self.mentioned(from, to, scope).await?.into_iter().map(|touched| touched.key).collect())
    }

    async fn mentioned(&self, from: &Instant, to: &Instant, scope: &Scope) -> Result<Vec<Touched>, QueryError> {
        let whole = |key| Touched { key, links: true, line: None };
        if let Some(object) = &scope.object {
            return Ok([object.clone()].into_iter().filter(|key| scope.holds(key)).map(whole).collect());
        }
        let (low, high) = (from.capture.seq.min(to.capture.seq), from.capture.seq.max(to.capture.seq));
        let mut between = Vec::new();
        let mut readable = !from.capture.unknown && !to.capture.unknown;
        let mut next = self.view().capture_after(low)?;
        while let Some(capture) = next.filter(|capture| capture.seq <= high && readable) {
            readable = !capture.unknown && between.len() < READ_PACKS_OF;
            if capture.opens_segment && readable {
                readable = self.are_readable(between.last().copied().unwrap_or(low), capture.seq).await?;
            }
            between.push(capture.seq);
            next = self.view().capture_after(capture.seq)?;
        }
        let mut mentions = Mentions::default();
        for seq in between {
            if readable {
                readable = match self.mentioned_at(seq, scope, &mut mentions).await {
                    // Which keys changed the index knows too, only slower; content from that pack still fails.
                    Err(QueryError::Read(error)) if !is_transient(&error) => false,
                    other => other.map(|()| true)?,
                };
            }
        }
        if readable {
            return mentions.into_touched();
        }
        let mut all = Vec::new();
        self.view().each_key(scope.collection.as_deref(), |key, _| {
            all.push(whole(key));
            Ok::<_, IndexError>(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    /// Whether every entry between two is there. A capture behind one that is lost says what changed since a state that nobody
    /// knows; where it opens a segment, the state after it is known all the same.
    async fn are_readable(&self, before: u64, after: u64) -> Result<bool, QueryError> {
        for seq in before + 1..after {
            match self.entry(seq).await {
                Ok(_) => {}
                Err(QueryError::Entry { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn mentioned_at(&self, seq: u64, scope: &Scope, mentions: &mut Mentions) -> Result<(), QueryError> {
        let body = self.body(seq).await?;
        let mut damaged = None;
        for pack in body.delta.iter().flat_map(|delta| &delta.packs) {
            read_pack(&*self.store, pack, |line, _| {
                if mentions.add(line, seq, scope).is_none() {
                    damaged = Some(pack.n.clone());
                }
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
    async fn compare(&self, next: &Next, seqs: [u64; 2], contents: &[u8]) -> Result<Option<Difference>, QueryError> {
        let [from, to] = seqs;
        let key = &next.key;
        let [was_there, is_there] = [0, 1].map(|side| !next.hash(side).is_zero());
        // Where no line says anything of its links they didn't turn; whether there are any matters where there is no content.
        let turns = match next.links || !was_there || !is_there {
            true => self.view().turns(next.id, from, to)?,
            false => Turns::default(),
        };
        let (mut old_links, mut new_links) = (Links::new(), Links::new());
        for row in turns.rows {
            let links = if row.holds_at(from) { &mut old_links } else { &mut new_links };
            links.entry(row.relation).or_default().insert(self.view().key(row.target)?, row.properties);
        }
        let links = diff::links(&old_links, &new_links);
        let mut properties = Vec::new();
        if next.content_differs() {
            let mut read = [None, None];
            for (side, read) in read.iter_mut().enumerate() {
                *read = match (&next.contents[side], &next.versions[side]) {
                    (Some(content), _) => Some(Cow::Borrowed(&contents[content.clone()])),
                    (None, Some(version)) => self.content(key, version).await?.as_ref().map(comparable).map(Cow::Owned),
                    (None, None) => None,
                };
            }
            let [before, after] = read;
            properties = diff::content(before.as_deref(), after.as_deref());
        } else if links.is_empty() {
            return Ok(None);
        }
        let change = Change::between(was_there || turns.had, is_there || turns.has);
        Ok(change.map(|change| Difference { key: key.clone(), change, properties, links }))
    }
}

/// Whether reading again may help.
fn is_transient(error: &ReadError) -> bool {
    matches!(error, ReadError::Store { source, .. } if source.is_transient())
}
