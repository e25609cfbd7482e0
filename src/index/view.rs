//! What can be asked of the index: rows as of a capture, nothing interpreted.
//!
//! Must never know: what an answer is for.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::IndexError;
use super::build::damaged;
use super::ends::Ends;
use super::rows::bucket_leaves;
use super::tables::*;
use crate::archive::appender::RememberedHead;
use crate::archive::reader::Place;
use crate::archive::recent::Recent;
use crate::archive::trie::{BUCKET_BITS, Crown, Leaf, Node, bucket_of};
use crate::canonical::Key;
use crate::hash::Hash;

/// A capture as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureRow {
    /// Its number.
    pub seq: u64,
    /// The instant for which it stands.
    pub time: Timestamp,
    /// Whether it opens a segment.
    pub opens_segment: bool,
    /// Whether the state after it is unknown, because packs or entries are lost, or have expired.
    pub unknown: bool,
    /// Whether its content was ended after its retention.
    pub expired: bool,
}

/// What a version row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    /// The content went away.
    Removed,
    /// Canonical JSON.
    Canonical,
    /// Bytes without canonical form.
    Raw,
    /// Erased or sealed.
    Hidden,
}

/// What became of an object's content at a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The capture.
    pub seq: u64,
    /// What it became.
    pub kind: VersionKind,
    /// `C`, zero where it was removed.
    pub content: Hash,
    /// The capture at which it was last read before, where that isn't the one just before.
    pub q: Option<u64>,
    /// The number of the pack that holds the line.
    pub pack: u32,
    /// Where in the pack.
    pub place: Place,
}

/// A key found by one of its names, present or past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameMatch {
    /// The name in lower case.
    pub name: String,
    /// Number of the key.
    pub id: u32,
}

/// A pack file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFile {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A consistent view of the index; what is committed later doesn't show.
pub struct View {
    meta: ReadOnlyTable<&'static str, &'static [u8]>,
    captures: ReadOnlyTable<u64, &'static [u8]>,
    times: ReadOnlyTable<(i64, u64), ()>,
    packs: ReadOnlyTable<u32, (u64, &'static str)>,
    keys: ReadOnlyTable<&'static str, u32>,
    ids: ReadOnlyTable<u32, &'static str>,
    pub(super) relations: BTreeMap<u32, String>,
    versions: ReadOnlyTable<(u32, u32), &'static [u8]>,
    pub(super) links: ReadOnlyTable<(u32, u32, u32), &'static [u8]>,
    pub(super) backlinks: ReadOnlyTable<(u32, u32, u32), (u32, u32)>,
    pub(super) ended: ReadOnlyTable<EndedKey, &'static [u8]>,
    pub(super) ended_back: ReadOnlyTable<EndedKey, (u32, u32, u32)>,
    pub(super) values: ReadOnlyTable<&'static str, u32>,
    labels: ReadOnlyTable<(u32, u32), &'static str>,
    pub(super) subjects: ReadOnlyTable<&'static str, u32>,
    pub(super) cover: ReadOnlyTable<(u32, u32), (u8, u32, &'static str)>,
    pub(super) acts: ReadOnlyTable<(u32, u8, i64, &'static str), ()>,
    names: ReadOnlyTable<(&'static str, u32), ()>,
    pub(super) events: ReadOnlyTable<&'static str, (u32, u32, u32, u32, u32)>,
    leaves: ReadOnlyTable<&'static [u8; 32], &'static [u8; 32]>,
    /// The last capture.
    pub(super) newest: u32,
    called: Arc<Names>,
    rows: Mutex<Recent<u64, CaptureRow>>,
}

/// How something is called, where anything names it.
type Label = Option<Arc<str>>;

/// Keys, numbers and labels that were looked up: whatever grants something to many is asked for once for each. They stay what they
/// are for as long as keys keep their numbers, whatever is indexed later.
#[derive(Debug, Default)]
pub(super) struct Names {
    keys: Mutex<Recent<u32, Key>>,
    numbers: Mutex<Recent<Key, u32>>,
    /// By number and capture.
    labels: Mutex<Recent<(u32, u64), Label>>,
}

/// Keys that a [`View`] keeps.
const KNOWN_KEYS: usize = 100_000;
/// Numbers, labels and captures that it keeps, of each.
const KNOWN_ROWS: usize = 20_000;

/// What is kept under `key`, or what `look` finds: that is kept then, if it is anything.
fn remembered<K: Eq + std::hash::Hash, V: Clone>(
    kept: &Mutex<Recent<K, V>>,
    most: usize,
    key: K,
    look: impl FnOnce() -> Result<Option<V>, IndexError>,
) -> Result<Option<V>, IndexError> {
    let known = lock(kept).get(&key);
    if known.is_some() {
        return Ok(known);
    }
    let found = look()?;
    if let Some(found) = &found {
        lock(kept).keep(key, found.clone(), 1, most);
    }
    Ok(found)
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().expect("no code panics while it holds what is kept")
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl View {
    /// What the index held when the transaction began, with names that were looked up in the same generation of it.
    pub(super) fn open(txn: ReadTransaction, called: Arc<Names>) -> Result<View, IndexError> {
        let relations = txn.open_table(RELATIONS)?;
        let relations = relations
            .iter()?
            .map(|row| row.map(|(name, id)| (id.value(), name.value().to_owned())))
            .collect::<Result<_, _>>()?;
        let captures = txn.open_table(CAPTURES)?;
        let newest = captures.last()?.map_or(0, |(seq, _)| seq.value() as u32);
        Ok(View {
            newest,
            meta: txn.open_table(META)?,
            captures,
            times: txn.open_table(TIMES)?,
            packs: txn.open_table(PACKS)?,
            keys: txn.open_table(KEYS)?,
            ids: txn.open_table(IDS)?,
            relations,
            versions: txn.open_table(VERSIONS)?,
            links: txn.open_table(LINKS)?,
            backlinks: txn.open_table(BACKLINKS)?,
            ended: txn.open_table(ENDED)?,
            ended_back: txn.open_table(ENDED_BACK)?,
            values: txn.open_table(VALUES)?,
            labels: txn.open_table(LABELS)?,
            subjects: txn.open_table(SUBJECTS)?,
            cover: txn.open_table(COVER)?,
            acts: txn.open_table(ACTS)?,
            names: txn.open_table(NAMES)?,
            events: txn.open_table(EVENTS)?,
            leaves: txn.open_table(LEAVES)?,
            called,
            rows: Mutex::default(),
        })
    }

    /// The position in the log up to which entries are indexed.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], here and below.
    pub fn position(&self) -> Result<Option<RememberedHead>, IndexError> {
        super::build::read_position(self.meta.get("position")?)
    }

    /// Which segments have ended.
    pub(super) fn ends(&self) -> Result<Ends, IndexError> {
        Ends::from_bytes(self.meta.get(ENDS)?.as_ref().map(|bytes| bytes.value()))
    }

    /// The oldest capture whose content hasn't expired.
    pub fn oldest_kept(&self) -> Result<Option<CaptureRow>, IndexError> {
        for row in self.captures.iter()? {
            let (seq, row) = row?;
            let row = read_capture_row(seq.value(), row.value())?;
            if !row.expired {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Whether this is the state at the head: not so after an entry or pack that is lost, until the next base.
    pub fn is_state_known(&self) -> Result<bool, IndexError> {
        Ok(self.meta.get("unknown")?.is_none_or(|bytes| bytes.value() != [1]))
    }

    /// The last capture whose state is known. Where it isn't the last one, its state is what this index holds.
    pub fn last_known_capture(&self) -> Result<Option<CaptureRow>, IndexError> {
        for row in self.captures.iter()?.rev() {
            let (seq, row) = row?;
            let row = read_capture_row(seq.value(), row.value())?;
            if !row.unknown {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The capture with number `seq`.
    pub fn capture(&self, seq: u64) -> Result<Option<CaptureRow>, IndexError> {
        remembered(&self.rows, KNOWN_ROWS, seq, || {
            let Some(row) = self.captures.get(seq)? else { return Ok(None) };
            read_capture_row(seq, row.value()).map(Some)
        })
    }

    /// The last capture.
    pub fn last_capture(&self) -> Result<Option<CaptureRow>, IndexError> {
        let Some((seq, row)) = self.captures.last()? else { return Ok(None) };
        read_capture_row(seq.value(), row.value()).map(Some)
    }

    /// The last capture before `seq`.
    pub fn capture_before(&self, seq: u64) -> Result<Option<CaptureRow>, IndexError> {
        let Some(row) = self.captures.range(..seq)?.next_back() else { return Ok(None) };
        let (seq, row) = row?;
        read_capture_row(seq.value(), row.value()).map(Some)
    }

    /// The first capture after `seq`.
    pub fn capture_after(&self, seq: u64) -> Result<Option<CaptureRow>, IndexError> {
        let Some(row) = self.captures.range(seq + 1..)?.next() else { return Ok(None) };
        let (seq, row) = row?;
        read_capture_row(seq.value(), row.value()).map(Some)
    }

    /// The capture whose state is the last known at `time`, and was committed as `known_at` or before.
    pub fn capture_at(&self, time: Timestamp, known_at: Option<u64>) -> Result<Option<CaptureRow>, IndexError> {
        for row in self.times.range(..=(time.as_millisecond(), u64::MAX))?.rev() {
            let (_, seq) = row?.0.value();
            if known_at.is_none_or(|known| seq <= known) {
                return self.capture(seq);
            }
        }
        Ok(None)
    }

    /// All captures in order.
    pub fn captures(&self) -> Result<Vec<CaptureRow>, IndexError> {
        self.captures
            .iter()?
            .map(|row| {
                let (seq, row) = row?;
                read_capture_row(seq.value(), row.value())
            })
            .collect()
    }

    /// The number of a key.
    pub fn id(&self, key: &Key) -> Result<Option<u32>, IndexError> {
        remembered(&self.called.numbers, KNOWN_ROWS, key.clone(), || {
            Ok(self.keys.get(key.as_str())?.map(|id| id.value()))
        })
    }

    /// The key of a number.
    pub fn key(&self, id: u32) -> Result<Key, IndexError> {
        let key = remembered(&self.called.keys, KNOWN_KEYS, id, || match self.ids.get(id)? {
            Some(text) => Ok(Some(text.value().parse()?)),
            None => Ok(None),
        })?;
        key.ok_or_else(|| damaged("a key number without a key"))
    }

    /// Calls `each` for every key of `collection` (of all collections where `None`) in order, until it breaks.
    pub fn each_key<E: From<IndexError>>(
        &self,
        collection: Option<&str>,
        each: impl FnMut(Key, u32) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        self.each_key_after(collection, None, each)
    }

    /// As [`View::each_key`], for the keys behind `after` only: who can't read all at once goes on there.
    pub fn each_key_after<E: From<IndexError>>(
        &self,
        collection: Option<&str>,
        after: Option<&Key>,
        mut each: impl FnMut(Key, u32) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let (mut low, high) = match collection {
            // '0' is the byte after '/'.
            Some(collection) => (format!("{collection}/"), format!("{collection}0")),
            None => (String::new(), "\u{7f}".to_owned()),
        };
        if let Some(after) = after {
            // No key holds a NUL: this is the least text behind it.
            low = low.max(format!("{after}\0"));
        }
        for row in self.keys.range(low.as_str()..high.as_str()).map_err(IndexError::from)? {
            let (key, id) = row.map_err(IndexError::from)?;
            let key = key.value().parse().map_err(IndexError::from)?;
            if each(key, id.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Up to `limit` keys that are not less than `start`, in order.
    pub fn keys_after(&self, start: Option<&str>, limit: usize) -> Result<Vec<(Key, u32)>, IndexError> {
        let rows = self.keys.range(start.unwrap_or("")..)?.take(limit);
        rows.map(|row| {
            let (key, id) = row?;
            Ok((key.value().parse()?, id.value()))
        })
        .collect()
    }

    /// Every key, of any collection, whose id is `id`.
    pub fn keys_with_id(&self, id: &str) -> Result<Vec<(Key, u32)>, IndexError> {
        let mut collections = Vec::new();
        let mut low = String::new();
        while let Some(row) = self.keys.range(low.as_str()..)?.next() {
            let key: Key = row?.0.value().parse()?;
            low = format!("{}0", key.collection());
            collections.push(key.collection().to_owned());
        }
        let mut found = Vec::new();
        for collection in collections {
            let key = Key::new(&collection, id);
            if let Some(number) = self.id(&key)? {
                found.push((key, number));
            }
        }
        Ok(found)
    }

    /// What became of a key's content, oldest first.
    pub fn versions(&self, id: u32) -> Result<Vec<Version>, IndexError> {
        self.versions
            .range((id, 0)..=(id, u32::MAX))?
            .map(|row| {
                let (key, row) = row?;
                read_version(key.value().1, row.value())
            })
            .collect()
    }

    /// The last thing that became of a key's content up to capture `seq`.
    pub fn version_at(&self, id: u32, seq: u64) -> Result<Option<Version>, IndexError> {
        let Some(row) = self.versions.range((id, 0)..=(id, seq as u32))?.next_back() else { return Ok(None) };
        let (key, row) = row?;
        read_version(key.value().1, row.value()).map(Some)
    }

    /// [`View::version_at`] of two captures at once.
    pub fn versions_at(&self, id: u32, captures: [u64; 2]) -> Result<[Option<Version>; 2], IndexError> {
        let high = captures[0].max(captures[1]);
        let mut found = [None; 2];
        for row in self.versions.range((id, 0)..=(id, high as u32))?.rev() {
            let (key, row) = row?;
            let seq = u64::from(key.value().1);
            let version = read_version(key.value().1, row.value())?;
            for (found, capture) in found.iter_mut().zip(captures) {
                if found.is_none() && seq <= capture {
                    *found = Some(version);
                }
            }
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        Ok(found)
    }

    /// Keys that have or had exactly this name (display name, user principal name and the like), letter case apart.
    pub fn named(&self, name: &str) -> Result<Vec<u32>, IndexError> {
        let name = name.to_lowercase();
        let range = self.names.range((name.as_str(), 0)..=(name.as_str(), u32::MAX))?;
        range.map(|row| Ok(row?.0.value().1)).collect()
    }

    /// How a key is shown as of capture `seq`, or by its last content before; `None` where nothing names it.
    pub fn label_at(&self, id: u32, seq: u64) -> Result<Option<String>, IndexError> {
        let label = remembered(&self.called.labels, KNOWN_ROWS, (id, seq), || {
            let last = self.labels.range((id, 0)..=(id, seq as u32))?.next_back();
            Ok(Some(last.transpose()?.map(|(_, label)| Arc::from(label.value()))))
        })?;
        Ok(label.flatten().map(|label: Arc<str>| label.to_string()))
    }

    /// Calls `each` for every name that contains `text`, letter case apart, until it breaks.
    pub fn each_name_with<E: From<IndexError>>(
        &self,
        text: &str,
        mut each: impl FnMut(NameMatch) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let text = text.to_lowercase();
        for row in self.names.iter().map_err(IndexError::from)? {
            let row = row.map_err(IndexError::from)?.0;
            let (name, id) = row.value();
            if name.contains(&text) && each(NameMatch { name: name.to_owned(), id })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The capture that recorded the event called `key`.
    pub fn event(&self, key: &Key) -> Result<Option<u64>, IndexError> {
        Ok(self.events.get(key.as_str())?.map(|row| u64::from(row.value().0)))
    }

    /// Calls `each` for every event in key order, with the capture that recorded it and where its line is.
    pub fn each_event<E: From<IndexError>>(
        &self,
        mut each: impl FnMut(Key, u64, PackFile, Place) -> Result<(), E>,
    ) -> Result<(), E> {
        for row in self.events.iter().map_err(IndexError::from)? {
            let (key, row) = row.map_err(IndexError::from)?;
            let (seq, pack, frame, offset, len) = row.value();
            let key = key.value().parse().map_err(IndexError::from)?;
            each(key, u64::from(seq), self.pack(pack)?, Place { frame, offset, len })?;
        }
        Ok(())
    }

    /// The file that holds a version's line.
    pub fn pack(&self, number: u32) -> Result<PackFile, IndexError> {
        let row = self.packs.get(number)?.ok_or_else(|| damaged("a version without a pack"))?;
        let (len, name) = row.value();
        Ok(PackFile { name: name.to_owned(), len })
    }

    /// The value of a key in the state trie at the head, zero for none.
    pub fn leaf(&self, key: &Hash) -> Result<Hash, IndexError> {
        Ok(self.leaves.get(&key.0)?.map_or(Hash::ZERO, |value| Hash(*value.value())))
    }

    /// The root that the state trie would have with `changes` (hashed key and new value, zero for gone; each key once)
    /// made to the head.
    pub fn root_with(&self, changes: &[Leaf]) -> Result<Hash, IndexError> {
        if self.meta.get(UNSETTLED)?.is_some() {
            return Err(damaged("a trie that isn't at the head: catching up broke off"));
        }
        let mut crown = match self.meta.get("crown")? {
            Some(bytes) => Crown::from_bytes(bytes.value()).ok_or_else(|| damaged("a damaged trie"))?,
            None => Crown::default(),
        };
        let mut buckets: BTreeMap<usize, Vec<Leaf>> = BTreeMap::new();
        for change in changes {
            buckets.entry(bucket_of(&change.0)).or_default().push(*change);
        }
        let mut nodes = Vec::with_capacity(buckets.len());
        for (bucket, changes) in buckets {
            let mut leaves: BTreeMap<Hash, Hash> = bucket_leaves(&self.leaves, bucket)?.into_iter().collect();
            leaves.extend(changes);
            let leaves: Vec<Leaf> = leaves.into_iter().filter(|(_, value)| !value.is_zero()).collect();
            nodes.push((bucket, Node::of(&leaves, BUCKET_BITS)));
        }
        crown.update(nodes);
        Ok(crown.root())
    }

    /// Keys, versions and links in the index, ended ones too.
    pub fn counts(&self) -> Result<(u64, u64, u64), IndexError> {
        use redb::ReadableTableMetadata;
        // Indexed values are kept as if they were links.
        let values = self.backlinks.range((VALUE, 0, 0)..)?.count() as u64;
        let ended_values = self.ended_back.range((VALUE, 0, 0, 0, 0, 0, 0)..)?.count() as u64;
        let ended = (self.ended_back.len()? - ended_values) / 2;
        Ok((self.keys.len()?, self.versions.len()?, self.backlinks.len()? - values + ended))
    }
}

fn read_capture_row(seq: u64, row: &[u8]) -> Result<CaptureRow, IndexError> {
    let bad = || damaged("a damaged capture");
    let time = i64::from_be_bytes(row.get(..8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?);
    let flags = *row.get(8).ok_or_else(bad)?;
    let time = Timestamp::from_millisecond(time).map_err(|_| bad())?;
    let has = |flag| flags & flag != 0;
    Ok(CaptureRow { seq, time, opens_segment: has(OPENS), unknown: has(UNKNOWN), expired: has(EXPIRED) })
}

fn read_version(seq: u32, row: &[u8]) -> Result<Version, IndexError> {
    let row = VersionRow::from_bytes(row).ok_or_else(|| damaged("a damaged version"))?;
    let kind = match row.kind {
        REMOVED => VersionKind::Removed,
        CANONICAL => VersionKind::Canonical,
        RAW => VersionKind::Raw,
        _ => VersionKind::Hidden,
    };
    let (seq, q) = (u64::from(seq), row.q.map(u64::from));
    Ok(Version { seq, kind, content: row.content, q, pack: row.pack, place: row.place })
}
