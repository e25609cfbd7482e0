//! Feeding the index from the archive: the first base in bulk, then capture by capture.
//!
//! Must never know: questions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use redb::{ReadableTable, Table, WriteTransaction};

use super::tables::*;
use super::{Index, IndexError};
use crate::archive::appender::RememberedHead;
use crate::archive::entry::{Body, Entry, PackRef, entry_name};
use crate::archive::line::{Content, InvalidLine, Line, Statement, Targets};
use crate::archive::log::leaf_hash;
use crate::archive::reader::{Place, ReadError, read_lines, read_pack};
use crate::archive::trie::{self, BUCKET_BITS, Crown, Leaf, Node, bucket_of};
use crate::archive::walker::{Verdict, Walker, greatest_seq};
use crate::canonical::Key;
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// Captures folded in one transaction at most.
const BATCH: usize = 64;
/// Lines folded in one transaction, about.
const BATCH_LINES: usize = 200_000;

/// What catching up came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Captures that were new.
    pub captures: u64,
    /// Captures whose packs could not be read, or that lie after such a one and before the next base: nothing is known
    /// of the state then.
    pub unknown: Vec<u64>,
    /// The log is another than the one that was indexed: everything was thrown away and read again.
    pub restarted: bool,
}

impl Index {
    /// Makes an empty database an index of this layout, and refuses one of another.
    pub(super) fn check_layout(&self) -> Result<(), IndexError> {
        // Most openings are to ask: they shouldn't pay for a commit.
        if self.has_layout()? {
            return Ok(());
        }
        let txn = self.database.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            let layout = meta.get("layout")?.map(|bytes| bytes.value().to_vec());
            match layout {
                Some(bytes) if bytes == LAYOUT.to_be_bytes() => {}
                Some(_) => return Err(damaged("another layout")),
                None => {
                    meta.insert("layout", LAYOUT.to_be_bytes().as_slice())?;
                    drop(meta);
                    Tables::open(&txn)?;
                }
            }
        }
        txn.commit()?;
        Ok(())
    }

    fn has_layout(&self) -> Result<bool, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        match txn.open_table(META) {
            Ok(meta) => Ok(meta.get("layout")?.is_some_and(|layout| layout.value() == LAYOUT.to_be_bytes())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Folds everything that the log holds beyond what is indexed. `progress` hears of entries done and of the
    /// greatest there is.
    ///
    /// # Errors
    /// [`IndexError::Mismatch`] and [`IndexError::Damaged`] mean that the index is to be thrown away and built again.
    pub async fn catch_up(
        &self,
        store: &Arc<dyn Store>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<CaughtUp, IndexError> {
        let mut outcome = CaughtUp::default();
        let saved = self.position()?;
        let (mut walker, end) = match saved {
            Some(saved) if is_same_log(&**store, &saved).await? => {
                (saved.walker().ok_or_else(|| damaged("a damaged position"))?, None)
            }
            saved => {
                outcome.restarted = saved.is_some() || self.view()?.last_capture()?.is_some();
                if outcome.restarted {
                    self.clear()?;
                }
                let (walker, _) = Walker::start(&**store).await?;
                (walker, greatest_seq(&**store).await?)
            }
        };
        let mut unknown = self.is_unknown()?;
        loop {
            let more = self.fold_batch(&**store, &mut walker, end, &mut unknown, &mut outcome).await?;
            progress(walker.next_seq(), end.unwrap_or(walker.next_seq()));
            if !more {
                return Ok(outcome);
            }
        }
    }

    /// Throws everything away and reads the archive from its genesis entry: for an index that arrived at another state
    /// than was signed, or that can't be read.
    ///
    /// # Errors
    /// As [`Index::catch_up`].
    pub async fn rebuild(
        &self,
        store: &Arc<dyn Store>,
        progress: impl FnMut(u64, u64),
    ) -> Result<CaughtUp, IndexError> {
        self.clear()?;
        let outcome = self.catch_up(store, progress).await?;
        Ok(CaughtUp { restarted: true, ..outcome })
    }

    fn position(&self) -> Result<Option<RememberedHead>, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        let meta = txn.open_table(META)?;
        read_position(meta.get("position")?)
    }

    fn is_unknown(&self) -> Result<bool, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        let meta = txn.open_table(META)?;
        Ok(meta.get("unknown")?.is_some_and(|bytes| bytes.value() == [1]))
    }

    fn clear(&self) -> Result<(), IndexError> {
        let txn = self.database.begin_write()?;
        for name in txn.list_tables()?.collect::<Vec<_>>() {
            txn.delete_table(name)?;
        }
        txn.open_table(META)?.insert("layout", LAYOUT.to_be_bytes().as_slice())?;
        Tables::open(&txn)?;
        txn.commit()?;
        Ok(())
    }

    /// Folds some steps in one transaction. `false` at the head.
    async fn fold_batch(
        &self,
        store: &dyn Store,
        walker: &mut Walker,
        end: Option<u64>,
        unknown: &mut bool,
        outcome: &mut CaughtUp,
    ) -> Result<bool, IndexError> {
        let mut pending = Vec::new();
        let mut lines = 0;
        let mut more = true;
        let mut fresh = self.view()?.last_capture()?.is_none();
        let start = walker.next_seq();
        while pending.len() < BATCH && lines < BATCH_LINES {
            let Some(step) = walker.step(store, end).await? else {
                more = false;
                break;
            };
            let entry = match step.verdict {
                Verdict::Good(entry) if entry.body.is_capture() => entry,
                Verdict::Good(_) | Verdict::Void(_) => continue,
                Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => {
                    *unknown = true;
                    outcome.unknown.push(step.seq);
                    continue;
                }
            };
            let work = read_capture(store, &entry, fresh, unknown).await?;
            fresh = false;
            lines += work.lines.len();
            // A base is folded in a transaction of its own, after what came before.
            let alone = work.base.is_some();
            pending.push((entry, work));
            if alone {
                break;
            }
        }
        // An empty walk still saves its position after the genesis entry.
        if !pending.is_empty() || walker.next_seq() != start || self.position()?.is_none() {
            self.write_batch(store, walker, pending, unknown, outcome).await?;
        }
        Ok(more)
    }

    async fn write_batch(
        &self,
        store: &dyn Store,
        walker: &Walker,
        pending: Vec<(Arc<Entry>, Work)>,
        unknown: &mut bool,
        outcome: &mut CaughtUp,
    ) -> Result<(), IndexError> {
        let txn = self.database.begin_write()?;
        {
            let mut tables = Tables::open(&txn)?;
            let mut last: Option<Body> = None;
            for (entry, work) in pending {
                outcome.captures += 1;
                tables.add_capture(&entry.body, work.unknown)?;
                if work.unknown {
                    outcome.unknown.push(entry.body.seq);
                    // What was folded before is known; the trie must hold it, or the next base would be compared with
                    // leaves of keys that went meanwhile.
                    if let Some(known) = last.take() {
                        tables.settle(&known)?;
                    }
                    continue;
                }
                for (line, place, pack) in work.lines {
                    let pack = tables.pack(&pack)?;
                    tables.apply(&line, place, pack, entry.body.seq as u32)?;
                }
                match work.base {
                    Some(base) if base.bulk => load_base(store, &mut tables, &entry.body, &base.packs).await?,
                    Some(base) => resync(store, &mut tables, &entry.body, &base.packs).await?,
                    None => {}
                }
                last = Some(entry.body.clone());
            }
            if let Some(body) = last {
                tables.settle(&body)?;
            }
            let position = RememberedHead::of(walker).map(|head| serde_json::to_vec(&head).expect("plain data"));
            tables.meta.insert("position", position.unwrap_or_default().as_slice())?;
            tables.meta.insert("unknown", [u8::from(*unknown)].as_slice())?;
        }
        txn.commit()?;
        Ok(())
    }
}

/// The saved position; none where a leaf of the log is unknown, so that a walk must begin at the genesis entry.
pub(super) fn read_position(
    saved: Option<redb::AccessGuard<'_, &'static [u8]>>,
) -> Result<Option<RememberedHead>, IndexError> {
    match saved.as_ref().map(|bytes| bytes.value()) {
        None | Some([]) => Ok(None),
        Some(bytes) => serde_json::from_slice(bytes).map(Some).map_err(|_| damaged("a damaged position")),
    }
}

fn damaged(what: &str) -> IndexError {
    IndexError::Damaged { source: Box::new(redb::Error::Corrupted(format!("the index has {what}"))) }
}

async fn is_same_log(store: &dyn Store, saved: &RememberedHead) -> Result<bool, StoreError> {
    match store.get(&entry_name(saved.size.saturating_sub(1))).await {
        Ok(file) => Ok(leaf_hash(&file).to_string() == saved.leaf),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What one capture brings.
struct Work {
    lines: Vec<(Line, Place, PackRef)>,
    base: Option<BaseWork>,
    unknown: bool,
}

struct BaseWork {
    packs: Vec<PackRef>,
    /// Nothing is indexed yet: rows are made in key order. Otherwise the state is unknown, and what differs is taken
    /// over.
    bulk: bool,
}

/// Reads the changes of a capture. A pack that can't be read makes the state unknown, and no error: what the other
/// packs say must stay answerable.
async fn read_capture(store: &dyn Store, entry: &Entry, fresh: bool, unknown: &mut bool) -> Result<Work, IndexError> {
    let body = &entry.body;
    let base = |bulk| body.base.as_ref().map(|base| BaseWork { packs: base.packs.clone(), bulk });
    if fresh || *unknown {
        let base = base(fresh);
        if let Some(base) = &base {
            for pack in &base.packs {
                if !is_readable(read_pack(store, pack, |_, _| ()).await)? {
                    *unknown = true;
                    return Ok(Work { lines: Vec::new(), base: None, unknown: true });
                }
            }
        }
        *unknown = base.is_none();
        return Ok(Work { lines: Vec::new(), unknown: *unknown, base });
    }
    let mut lines = Vec::new();
    for pack in body.delta.iter().flat_map(|delta| &delta.packs) {
        let read = read_lines(store, pack, |line, place| lines.push((line, place, pack.clone()))).await;
        if !is_readable(read)? {
            *unknown = body.base.is_none();
            return Ok(Work { lines: Vec::new(), base: base(false), unknown: *unknown });
        }
    }
    Ok(Work { lines, base: None, unknown: false })
}

fn is_readable(read: Result<(), ReadError>) -> Result<bool, IndexError> {
    match read {
        Ok(()) => Ok(true),
        Err(ReadError::Store { source, .. }) if !matches!(source, StoreError::NotFound { .. }) => Err(source.into()),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a pack cannot be read; the state is unknown until the next base"
            );
            Ok(false)
        }
    }
}

/// All tables of a transaction, and what is looked up again and again.
struct Tables<'txn> {
    meta: Table<'txn, &'static str, &'static [u8]>,
    captures: Table<'txn, u64, &'static [u8]>,
    times: Table<'txn, (i64, u64), ()>,
    packs: Table<'txn, u32, (u64, &'static str)>,
    keys: Table<'txn, &'static str, u32>,
    ids: Table<'txn, u32, &'static str>,
    relations: Table<'txn, &'static str, u32>,
    versions: Table<'txn, (u32, u32), &'static [u8]>,
    links: Table<'txn, (u32, u32, u32, u32), &'static [u8]>,
    backlinks: Table<'txn, (u32, u32, u32, u32), ()>,
    names: Table<'txn, (&'static str, u32), ()>,
    leaves: Table<'txn, &'static [u8; 32], &'static [u8; 32]>,
    next_key: u32,
    known_packs: HashMap<String, u32>,
    known_relations: BTreeMap<String, u32>,
    touched: BTreeSet<u32>,
}

impl<'txn> Tables<'txn> {
    fn open(txn: &'txn WriteTransaction) -> Result<Self, IndexError> {
        let ids = txn.open_table(IDS)?;
        let next_key = ids.last()?.map_or(0, |(id, _)| id.value() + 1);
        let relations = txn.open_table(RELATIONS)?;
        let known_relations = relations
            .iter()?
            .map(|row| row.map(|(name, id)| (name.value().to_owned(), id.value())))
            .collect::<Result<_, _>>()?;
        Ok(Tables {
            meta: txn.open_table(META)?,
            captures: txn.open_table(CAPTURES)?,
            times: txn.open_table(TIMES)?,
            packs: txn.open_table(PACKS)?,
            keys: txn.open_table(KEYS)?,
            ids,
            relations,
            versions: txn.open_table(VERSIONS)?,
            links: txn.open_table(LINKS)?,
            backlinks: txn.open_table(BACKLINKS)?,
            names: txn.open_table(NAMES)?,
            leaves: txn.open_table(LEAVES)?,
            next_key,
            known_packs: HashMap::new(),
            known_relations,
            touched: BTreeSet::new(),
        })
    }

    fn add_capture(&mut self, body: &Body, unknown: bool) -> Result<(), IndexError> {
        let time = body.query_time().as_millisecond();
        let mut row = time.to_be_bytes().to_vec();
        row.push(u8::from(body.opens_segment()) | u8::from(unknown) << 1);
        self.captures.insert(body.seq, row.as_slice())?;
        self.times.insert((time, body.seq), ())?;
        Ok(())
    }

    fn pack(&mut self, reference: &PackRef) -> Result<u32, IndexError> {
        if let Some(&number) = self.known_packs.get(&reference.n) {
            return Ok(number);
        }
        let number = self.packs.last()?.map_or(0, |(number, _)| number.value() + 1);
        self.packs.insert(number, (reference.len, reference.n.as_str()))?;
        self.known_packs.insert(reference.n.clone(), number);
        Ok(number)
    }

    fn key(&mut self, key: &Key) -> Result<u32, IndexError> {
        if let Some(id) = self.keys.get(key.as_str())? {
            return Ok(id.value());
        }
        let id = self.next_key;
        self.next_key += 1;
        self.keys.insert(key.as_str(), id)?;
        self.ids.insert(id, key.as_str())?;
        Ok(id)
    }

    fn relation(&mut self, relation: &str) -> Result<u32, IndexError> {
        if let Some(&id) = self.known_relations.get(relation) {
            return Ok(id);
        }
        let id = self.known_relations.len() as u32;
        self.relations.insert(relation, id)?;
        self.known_relations.insert(relation.to_owned(), id);
        Ok(id)
    }

    fn apply(&mut self, line: &Line, place: Place, pack: u32, seq: u32) -> Result<(), IndexError> {
        if matches!(line.statement, Statement::Event(_)) {
            return Ok(());
        }
        let id = self.key(&line.key)?;
        self.touched.insert(id);
        let q = line.q.map(|q| q as u32);
        match &line.statement {
            Statement::Put(content) => self.put(id, content, pack, place, seq, q),
            Statement::Remove => {
                let row = VersionRow { kind: REMOVED, pack, place, content: Hash::ZERO, q };
                self.versions.insert((id, seq), row.to_bytes().as_slice())?;
                let open = self.open_links(id)?;
                for (relation, target, from, value) in open {
                    self.close((id, relation, target, from), value, seq, q)?;
                }
                Ok(())
            }
            Statement::Add(relation, targets) => self.add_links(id, relation, targets, seq, q),
            Statement::Drop(relation, targets) => {
                let relation = self.relation(relation)?;
                for target in targets {
                    let target = self.key(target)?;
                    if let Some((from, value)) = self.open_link(id, relation, target)? {
                        self.close((id, relation, target, from), value, seq, q)?;
                    }
                }
                Ok(())
            }
            Statement::Event(_) => Ok(()),
        }
    }

    fn put(
        &mut self,
        id: u32,
        content: &Content,
        pack: u32,
        place: Place,
        seq: u32,
        q: Option<u32>,
    ) -> Result<(), IndexError> {
        let row = VersionRow { kind: kind_of(content), pack, place, content: content.hash(), q };
        self.versions.insert((id, seq), row.to_bytes().as_slice())?;
        for name in names_in(content) {
            self.names.insert((name.as_str(), id), ())?;
        }
        Ok(())
    }

    fn add_links(
        &mut self,
        id: u32,
        relation: &str,
        targets: &Targets,
        seq: u32,
        q: Option<u32>,
    ) -> Result<(), IndexError> {
        let relation = self.relation(relation)?;
        for (target, properties) in targets {
            let target = self.key(target)?;
            let properties = properties.clone().unwrap_or_default();
            if let Some((from, value)) = self.open_link(id, relation, target)? {
                if value.properties == properties {
                    continue;
                }
                self.close((id, relation, target, from), value, seq, q)?;
            }
            let value = LinkValue { until: STILL, q_from: q, q_until: None, properties };
            self.links.insert((id, relation, target, seq), value.to_bytes().as_slice())?;
            self.backlinks.insert((target, relation, id, seq), ())?;
        }
        Ok(())
    }

    fn open_link(&self, id: u32, relation: u32, target: u32) -> Result<Option<(u32, LinkValue)>, IndexError> {
        let mut range = self.links.range((id, relation, target, 0)..=(id, relation, target, u32::MAX))?;
        let Some(row) = range.next_back() else { return Ok(None) };
        let (key, value) = row?;
        let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
        Ok((value.until == STILL).then_some((key.value().3, value)))
    }

    fn open_links(&self, id: u32) -> Result<Vec<(u32, u32, u32, LinkValue)>, IndexError> {
        let mut open = Vec::new();
        for row in self.links.range((id, 0, 0, 0)..=(id, u32::MAX, u32::MAX, u32::MAX))? {
            let (key, value) = row?;
            let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
            if value.until == STILL {
                let (_, relation, target, from) = key.value();
                open.push((relation, target, from, value));
            }
        }
        Ok(open)
    }

    fn close(
        &mut self,
        key: (u32, u32, u32, u32),
        mut value: LinkValue,
        seq: u32,
        q: Option<u32>,
    ) -> Result<(), IndexError> {
        if key.3 == seq {
            // Added and ended in the same capture: it never was.
            self.links.remove(key)?;
            self.backlinks.remove((key.2, key.1, key.0, key.3))?;
            return Ok(());
        }
        value.until = seq;
        value.q_until = q;
        self.links.insert(key, value.to_bytes().as_slice())?;
        Ok(())
    }

    fn current(&self, id: u32) -> Result<Option<VersionRow>, IndexError> {
        let Some(row) = self.versions.range((id, 0)..=(id, u32::MAX))?.next_back() else { return Ok(None) };
        VersionRow::from_bytes(row?.1.value()).map(Some).ok_or_else(|| damaged("a damaged version"))
    }

    /// The object's value in the trie at the head.
    fn value(&self, id: u32) -> Result<Hash, IndexError> {
        let content = self.current(id)?.map_or(Hash::ZERO, |row| row.content);
        let mut relations: BTreeMap<u32, Vec<Leaf>> = BTreeMap::new();
        for (relation, target, _, value) in self.open_links(id)? {
            let key = self.text(target)?;
            let properties = (!value.properties.is_empty()).then_some(value.properties.as_slice());
            relations.entry(relation).or_default().push(trie::link_leaf(&key, properties));
        }
        let names: HashMap<u32, &str> = self.known_relations.iter().map(|(name, id)| (*id, name.as_str())).collect();
        let relations: Vec<(&str, Hash)> =
            relations.into_iter().map(|(relation, leaves)| (names[&relation], trie::root(leaves))).collect();
        Ok(trie::object_value(content, &relations))
    }

    fn text(&self, id: u32) -> Result<Key, IndexError> {
        let text = self.ids.get(id)?.ok_or_else(|| damaged("a key number without a key"))?;
        Ok(text.value().parse()?)
    }

    /// Brings the trie to the head and compares it with the signed root.
    fn settle(&mut self, body: &Body) -> Result<(), IndexError> {
        let mut dirty = BTreeSet::new();
        for id in std::mem::take(&mut self.touched) {
            let (hash, value) = (trie::key_hash(&self.text(id)?), self.value(id)?);
            match value.is_zero() {
                true => self.leaves.remove(&hash.0)?,
                false => self.leaves.insert(&hash.0, &value.0)?,
            };
            dirty.insert(bucket_of(&hash));
        }
        let mut crown = match self.meta.get("crown")? {
            Some(bytes) => Crown::from_bytes(bytes.value()).ok_or_else(|| damaged("a damaged trie"))?,
            None => Crown::default(),
        };
        let mut changed = Vec::with_capacity(dirty.len());
        for bucket in dirty {
            changed.push((bucket, Node::of(&bucket_leaves(&self.leaves, bucket)?, BUCKET_BITS)));
        }
        crown.update(changed);
        self.finish_trie(&crown, body)
    }

    fn finish_trie(&mut self, crown: &Crown, body: &Body) -> Result<(), IndexError> {
        let (expected, found) = (body.state.root, crown.root());
        if expected != found {
            return Err(IndexError::Mismatch { seq: body.seq, expected, found });
        }
        self.meta.insert("crown", crown.to_bytes().as_slice())?;
        Ok(())
    }
}

/// The leaves of one bucket, sorted.
pub(super) fn bucket_leaves(
    leaves: &impl ReadableTable<&'static [u8; 32], &'static [u8; 32]>,
    bucket: usize,
) -> Result<Vec<Leaf>, IndexError> {
    let first = ((bucket << (16 - BUCKET_BITS)) as u16).to_be_bytes();
    let last = ((((bucket + 1) << (16 - BUCKET_BITS)) - 1) as u16).to_be_bytes();
    let (mut low, mut high) = ([0; 32], [0xff; 32]);
    low[..2].copy_from_slice(&first);
    high[..2].copy_from_slice(&last);
    let mut found = Vec::new();
    for row in leaves.range::<&[u8; 32]>(&low..=&high)? {
        let (key, value) = row?;
        found.push((Hash(*key.value()), Hash(*value.value())));
    }
    Ok(found)
}

fn kind_of(content: &Content) -> u8 {
    match content {
        Content::Canonical(_) => CANONICAL,
        Content::Raw(_) => RAW,
        Content::Hidden(_) => HIDDEN,
    }
}

/// The names by which content can be looked up, in lower case.
fn names_in(content: &Content) -> BTreeSet<String> {
    let Content::Canonical(bytes) = content else { return BTreeSet::new() };
    let Ok(json) = crate::canonical::parse(bytes) else { return BTreeSet::new() };
    crate::model::names(&json).map(str::to_lowercase).filter(|name| name.len() <= 512).collect()
}

/// One key of a base with everything that is said of it.
struct BaseObject {
    key: Key,
    content: Option<(Content, Place, u32)>,
    links: Vec<(String, Targets)>,
}

/// Reads a base and hands out its objects in key order.
async fn read_base(
    store: &dyn Store,
    packs: &[PackRef],
    mut each: impl FnMut(BaseObject, &PackRef) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let mut object: Option<BaseObject> = None;
    let mut failed = None;
    let mut last = None;
    for (part, pack) in packs.iter().enumerate() {
        read_lines(store, pack, |line, place| {
            if failed.is_some() {
                return;
            }
            if object.as_ref().is_none_or(|object| object.key != line.key) {
                let next = BaseObject { key: line.key.clone(), content: None, links: Vec::new() };
                if let Some(done) = object.replace(next) {
                    failed = each(done, pack).err();
                }
            }
            let object = object.as_mut().expect("just set");
            match line.statement {
                Statement::Put(content) => object.content = Some((content, place, part as u32)),
                Statement::Add(relation, targets) => object.links.push((relation, targets)),
                _ => {}
            }
        })
        .await?;
        if let Some(error) = failed.take() {
            return Err(error);
        }
        last = Some(pack);
    }
    match (object, last) {
        (Some(object), Some(pack)) => each(object, pack),
        _ => Ok(()),
    }
}

/// The keys of a base in order, found without reading what is said of them.
async fn read_keys(store: &dyn Store, packs: &[PackRef]) -> Result<Vec<Key>, IndexError> {
    let mut keys: Vec<Key> = Vec::new();
    for pack in packs {
        let mut bad = None;
        read_pack(store, pack, |line, _| match Line::read_key(line) {
            Ok(text) if keys.last().is_some_and(|last| last.as_str() == text) => {}
            Ok(text) => match text.parse() {
                Ok(key) => keys.push(key),
                Err(error) => bad = Some(InvalidLine::Key(error)),
            },
            Err(error) => bad = Some(error),
        })
        .await?;
        if let Some(source) = bad {
            return Err(ReadError::Line { name: pack.n.clone(), source }.into());
        }
    }
    Ok(keys)
}

/// Takes the first base in: rows are made in the order of their tables, so that no page is written twice.
async fn load_base(
    store: &dyn Store,
    tables: &mut Tables<'_>,
    body: &Body,
    packs: &[PackRef],
) -> Result<(), IndexError> {
    let seq = body.seq as u32;
    let numbers: Vec<u32> = packs.iter().map(|pack| tables.pack(pack)).collect::<Result<_, _>>()?;
    let mut ids: HashMap<Key, u32> = HashMap::with_capacity(body.state.objects as usize);
    for key in read_keys(store, packs).await? {
        let id = tables.key(&key)?;
        ids.insert(key, id);
    }
    let mut backlinks: Vec<(u32, u32, u32)> = Vec::with_capacity(body.state.links as usize);
    let mut names: Vec<(String, u32)> = Vec::new();
    let mut leaves: Vec<Leaf> = Vec::with_capacity(body.state.objects as usize);
    read_base(store, packs, |object, _| {
        let id = ids[&object.key];
        let mut content_hash = Hash::ZERO;
        if let Some((content, place, part)) = &object.content {
            content_hash = content.hash();
            let pack = numbers[*part as usize];
            let row = VersionRow { kind: kind_of(content), pack, place: *place, content: content_hash, q: None };
            tables.versions.insert((id, seq), row.to_bytes().as_slice())?;
            names.extend(names_in(content).into_iter().map(|name| (name, id)));
        }
        let mut relations: BTreeMap<String, Vec<Leaf>> = BTreeMap::new();
        let mut rows: Vec<(u32, u32, Vec<u8>)> = Vec::new();
        for (relation, targets) in object.links {
            let number = tables.relation(&relation)?;
            let hashed = relations.entry(relation).or_default();
            for (target, properties) in targets {
                hashed.push(trie::link_leaf(&target, properties.as_deref()));
                let target = match ids.get(&target) {
                    Some(&target) => target,
                    None => {
                        let number = tables.key(&target)?;
                        ids.insert(target, number);
                        number
                    }
                };
                rows.push((number, target, properties.unwrap_or_default()));
            }
        }
        rows.sort_unstable();
        for (relation, target, properties) in rows {
            let value = LinkValue { until: STILL, q_from: None, q_until: None, properties };
            tables.links.insert((id, relation, target, seq), value.to_bytes().as_slice())?;
            backlinks.push((target, relation, id));
        }
        let roots: Vec<(String, Hash)> =
            relations.into_iter().map(|(relation, leaves)| (relation, trie::root(leaves))).collect();
        let roots: Vec<(&str, Hash)> = roots.iter().map(|(relation, root)| (relation.as_str(), *root)).collect();
        leaves.push((trie::key_hash(&object.key), trie::object_value(content_hash, &roots)));
        Ok(())
    })
    .await?;
    backlinks.sort_unstable();
    for (target, relation, source) in backlinks {
        tables.backlinks.insert((target, relation, source, seq), ())?;
    }
    names.sort_unstable();
    for (name, id) in names {
        tables.names.insert((name.as_str(), id), ())?;
    }
    leaves.sort_unstable();
    let mut buckets: BTreeMap<usize, Vec<Leaf>> = BTreeMap::new();
    for (hash, value) in leaves {
        tables.leaves.insert(&hash.0, &value.0)?;
        buckets.entry(bucket_of(&hash)).or_default().push((hash, value));
    }
    let mut crown = Crown::default();
    crown.update(buckets.into_iter().map(|(bucket, leaves)| (bucket, Node::of(&leaves, BUCKET_BITS))));
    tables.finish_trie(&crown, body)
}

/// Takes over what a base says where the state before it is unknown: only differences become rows.
async fn resync(store: &dyn Store, tables: &mut Tables<'_>, body: &Body, packs: &[PackRef]) -> Result<(), IndexError> {
    let seq = body.seq as u32;
    let numbers: Vec<u32> = packs.iter().map(|pack| tables.pack(pack)).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    read_base(store, packs, |object, _| {
        let id = tables.key(&object.key)?;
        seen.insert(id);
        tables.touched.insert(id);
        let held = tables.current(id)?.map_or(Hash::ZERO, |row| row.content);
        match &object.content {
            Some((content, place, part)) if content.hash() != held => {
                tables.put(id, content, numbers[*part as usize], *place, seq, None)?;
            }
            None if !held.is_zero() => remove_content(tables, id, seq)?,
            _ => {}
        }
        let mut wanted = BTreeSet::new();
        for (relation, targets) in &object.links {
            tables.add_links(id, relation, targets, seq, None)?;
            let relation = tables.relation(relation)?;
            for target in targets.keys() {
                wanted.insert((relation, tables.key(target)?));
            }
        }
        for (relation, target, from, value) in tables.open_links(id)? {
            if !wanted.contains(&(relation, target)) {
                tables.close((id, relation, target, from), value, seq, None)?;
            }
        }
        Ok(())
    })
    .await?;
    for id in 0..tables.next_key {
        if seen.contains(&id) {
            continue;
        }
        let open = tables.open_links(id)?;
        let held = tables.current(id)?.is_some_and(|row| row.kind != REMOVED);
        if held || !open.is_empty() {
            tables.touched.insert(id);
            remove_content(tables, id, seq)?;
            for (relation, target, from, value) in open {
                tables.close((id, relation, target, from), value, seq, None)?;
            }
        }
    }
    Ok(())
}

fn remove_content(tables: &mut Tables<'_>, id: u32, seq: u32) -> Result<(), IndexError> {
    let place = Place { frame: 0, offset: 0, len: 0 };
    let row = VersionRow { kind: REMOVED, pack: STILL, place, content: Hash::ZERO, q: None };
    tables.versions.insert((id, seq), row.to_bytes().as_slice())?;
    Ok(())
}
