//! The rows that lines become, within one transaction, and the state trie at the head.
//!
//! Must never know: where the lines come from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redb::{ReadableTable, Table, WriteTransaction};

use super::IndexError;
use super::build::damaged;
use super::tables::*;
use crate::archive::entry::{Body, PackRef};
use crate::archive::line::{Content, Line, Statement, Targets};
use crate::archive::reader::Place;
use crate::archive::trie::{self, BUCKET_BITS, Crown, Leaf, Node, bucket_of};
use crate::canonical::Key;
use crate::hash::Hash;

/// All tables of a transaction, and what is looked up again and again.
pub(super) struct Tables<'txn> {
    pub meta: Table<'txn, &'static str, &'static [u8]>,
    pub captures: Table<'txn, u64, &'static [u8]>,
    pub times: Table<'txn, (i64, u64), ()>,
    pub packs: Table<'txn, u32, (u64, &'static str)>,
    pub keys: Table<'txn, &'static str, u32>,
    pub ids: Table<'txn, u32, &'static str>,
    pub relations: Table<'txn, &'static str, u32>,
    pub versions: Table<'txn, (u32, u32), &'static [u8]>,
    pub links: Table<'txn, (u32, u32, u32, u32), &'static [u8]>,
    pub backlinks: Table<'txn, (u32, u32, u32, u32), ()>,
    pub names: Table<'txn, (&'static str, u32), ()>,
    pub events: Table<'txn, &'static str, (u32, u32, u32, u32, u32)>,
    pub leaves: Table<'txn, &'static [u8; 32], &'static [u8; 32]>,
    pub next_key: u32,
    pub known_packs: HashMap<String, u32>,
    pub known_relations: BTreeMap<String, u32>,
    pub touched: BTreeSet<u32>,
}

impl<'txn> Tables<'txn> {
    pub fn open(txn: &'txn WriteTransaction) -> Result<Self, IndexError> {
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
            events: txn.open_table(EVENTS)?,
            leaves: txn.open_table(LEAVES)?,
            next_key,
            known_packs: HashMap::new(),
            known_relations,
            touched: BTreeSet::new(),
        })
    }

    pub fn add_capture(&mut self, body: &Body, unknown: bool, expired: bool) -> Result<(), IndexError> {
        let time = body.query_time().as_millisecond();
        let mut row = time.to_be_bytes().to_vec();
        let flags = [(body.opens_segment(), OPENS), (unknown, UNKNOWN), (expired, EXPIRED)];
        row.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        self.captures.insert(body.seq, row.as_slice())?;
        self.times.insert((time, body.seq), ())?;
        Ok(())
    }

    /// Marks the captures of a segment as expired, if nothing is known of any of them; returns their numbers then.
    pub fn expire(&mut self, segment: u64) -> Result<Option<BTreeSet<u64>>, IndexError> {
        let mut rows = Vec::new();
        for row in self.captures.range(segment..)? {
            let (seq, row) = row?;
            let (seq, row) = (seq.value(), row.value().to_vec());
            let flags = *row.last().ok_or_else(|| damaged("a damaged capture"))?;
            if seq != segment && flags & OPENS != 0 {
                break;
            }
            if flags & UNKNOWN == 0 {
                return Ok(None);
            }
            rows.push((seq, row));
        }
        for (seq, row) in &mut rows {
            *row.last_mut().expect("just read") |= EXPIRED;
            self.captures.insert(*seq, row.as_slice())?;
        }
        Ok(Some(rows.into_iter().map(|(seq, _)| seq).collect()))
    }

    pub fn pack(&mut self, reference: &PackRef) -> Result<u32, IndexError> {
        if let Some(&number) = self.known_packs.get(&reference.n) {
            return Ok(number);
        }
        let number = self.packs.last()?.map_or(0, |(number, _)| number.value() + 1);
        self.packs.insert(number, (reference.len, reference.n.as_str()))?;
        self.known_packs.insert(reference.n.clone(), number);
        Ok(number)
    }

    pub fn key(&mut self, key: &Key) -> Result<u32, IndexError> {
        if let Some(id) = self.keys.get(key.as_str())? {
            return Ok(id.value());
        }
        let id = self.next_key;
        self.next_key += 1;
        self.keys.insert(key.as_str(), id)?;
        self.ids.insert(id, key.as_str())?;
        Ok(id)
    }

    pub fn relation(&mut self, relation: &str) -> Result<u32, IndexError> {
        if let Some(&id) = self.known_relations.get(relation) {
            return Ok(id);
        }
        let id = self.known_relations.len() as u32;
        self.relations.insert(relation, id)?;
        self.known_relations.insert(relation.to_owned(), id);
        Ok(id)
    }

    pub fn apply(&mut self, line: &Line, place: Place, pack: u32, seq: u32) -> Result<(), IndexError> {
        if matches!(line.statement, Statement::Event(_)) {
            // Recorded once in a segment, and where it is recorded again the first time stands.
            if self.events.get(line.key.as_str())?.is_none() {
                self.events.insert(line.key.as_str(), (seq, pack, place.frame, place.offset, place.len))?;
            }
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

    pub fn put(
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

    pub fn add_links(
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

    pub fn open_link(&self, id: u32, relation: u32, target: u32) -> Result<Option<(u32, LinkValue)>, IndexError> {
        let mut range = self.links.range((id, relation, target, 0)..=(id, relation, target, u32::MAX))?;
        let Some(row) = range.next_back() else { return Ok(None) };
        let (key, value) = row?;
        let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
        Ok((value.until == STILL).then_some((key.value().3, value)))
    }

    pub fn open_links(&self, id: u32) -> Result<Vec<(u32, u32, u32, LinkValue)>, IndexError> {
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

    pub fn close(
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

    pub fn current(&self, id: u32) -> Result<Option<VersionRow>, IndexError> {
        let Some(row) = self.versions.range((id, 0)..=(id, u32::MAX))?.next_back() else { return Ok(None) };
        VersionRow::from_bytes(row?.1.value()).map(Some).ok_or_else(|| damaged("a damaged version"))
    }

    /// The object's value in the trie at the head.
    pub fn value(&self, id: u32) -> Result<Hash, IndexError> {
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

    pub fn text(&self, id: u32) -> Result<Key, IndexError> {
        let text = self.ids.get(id)?.ok_or_else(|| damaged("a key number without a key"))?;
        Ok(text.value().parse()?)
    }

    /// Brings the trie to the head and compares it with the signed root.
    pub fn settle(&mut self, body: &Body) -> Result<(), IndexError> {
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

    pub fn finish_trie(&mut self, crown: &Crown, body: &Body) -> Result<(), IndexError> {
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

pub(super) fn kind_of(content: &Content) -> u8 {
    match content {
        Content::Canonical(_) => CANONICAL,
        Content::Raw(_) => RAW,
        Content::Hidden(_) => HIDDEN,
    }
}

/// The names by which content can be looked up, in lower case.
pub(super) fn names_in(content: &Content) -> BTreeSet<String> {
    let Content::Canonical(bytes) = content else { return BTreeSet::new() };
    let Ok(json) = crate::canonical::parse(bytes) else { return BTreeSet::new() };
    crate::model::names(&json).map(str::to_lowercase).filter(|name| name.len() <= 512).collect()
}
