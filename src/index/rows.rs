//! The rows that lines become, within one transaction, and the state trie at the head.
//!
//! Must never know: where the lines come from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use super::IndexError;
use super::build::damaged;
use super::cover::Subjects;
use super::tables::*;
use crate::archive::entry::{Body, PackRef};
use crate::archive::line::{Content, Line, Statement};
use crate::archive::reader::Place;
use crate::archive::trie::{self, BUCKET_BITS, Crown, Leaf, Node, bucket_of};
use crate::canonical::Key;
use crate::hash::Hash;
use crate::model;

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
    pub links: Table<'txn, (u32, u32, u32), &'static [u8]>,
    pub backlinks: Table<'txn, (u32, u32, u32), (u32, u32)>,
    pub ended: Table<'txn, EndedKey, &'static [u8]>,
    pub ended_back: Table<'txn, EndedKey, (u32, u32, u32)>,
    pub values: Table<'txn, &'static str, u32>,
    pub labels: Table<'txn, (u32, u32), &'static str>,
    pub subjects: Table<'txn, &'static str, u32>,
    pub cover: Table<'txn, (u32, u32), (u8, u32, &'static str)>,
    pub acts: Table<'txn, (u32, u8, i64, &'static str), ()>,
    pub names: Table<'txn, (&'static str, u32), ()>,
    pub events: Table<'txn, &'static str, (u32, u32, u32, u32, u32)>,
    pub leaves: Table<'txn, &'static [u8; 32], &'static [u8; 32]>,
    pub next_key: u32,
    pub next_value: u32,
    pub known_packs: HashMap<String, u32>,
    pub known_relations: BTreeMap<String, u32>,
    /// What was last said of each subject of coverage, once it was asked.
    pub known_subjects: Option<Subjects>,
    pub touched: BTreeSet<u32>,
}

impl<'txn> Tables<'txn> {
    pub fn open(txn: &'txn WriteTransaction) -> Result<Self, IndexError> {
        let ids = txn.open_table(IDS)?;
        let next_key = ids.last()?.map_or(0, |(id, _)| id.value() + 1);
        let values = txn.open_table(VALUES)?;
        let next_value = VALUE + values.len()? as u32;
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
            ended: txn.open_table(ENDED)?,
            ended_back: txn.open_table(ENDED_BACK)?,
            values,
            labels: txn.open_table(LABELS)?,
            subjects: txn.open_table(SUBJECTS)?,
            cover: txn.open_table(COVER)?,
            acts: txn.open_table(ACTS)?,
            names: txn.open_table(NAMES)?,
            events: txn.open_table(EVENTS)?,
            leaves: txn.open_table(LEAVES)?,
            next_key,
            next_value,
            known_subjects: None,
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
        self.add_cover(body)
    }

    /// The last capture before `seq` whose state is known.
    pub fn last_known_before(&self, seq: u64) -> Result<Option<u32>, IndexError> {
        for row in self.captures.range(..seq)?.rev() {
            let (seq, row) = row?;
            let flags = *row.value().last().ok_or_else(|| damaged("a damaged capture"))?;
            if flags & UNKNOWN == 0 {
                return Ok(Some(seq.value() as u32));
            }
        }
        Ok(None)
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
        if let Statement::Event(content) = &line.statement {
            // Recorded once in a segment, and where it is recorded again the first time stands.
            if self.events.get(line.key.as_str())?.is_none() {
                self.events.insert(line.key.as_str(), (seq, pack, place.frame, place.offset, place.len))?;
                self.add_acts(&line.key, content)?;
            }
            return Ok(());
        }
        let id = self.key(&line.key)?;
        self.touched.insert(id);
        let q = line.q.map(|q| q as u32);
        match &line.statement {
            Statement::Put(content) => self.put(&line.key, id, content, VersionPlace { pack, place, seq, q }),
            Statement::Remove => {
                let row = VersionRow { kind: REMOVED, pack, place, content: Hash::ZERO, q };
                self.versions.insert((id, seq), row.to_bytes().as_slice())?;
                for (relation, target, value) in self.open_rows(id)? {
                    self.close((id, relation, target), value, seq, q)?;
                }
                Ok(())
            }
            Statement::Add(relation, targets) => self.add_links(id, relation, targets, seq, q),
            Statement::Drop(relation, targets) => {
                let relation = self.relation(relation)?;
                for target in targets {
                    let link = (id, relation, self.key(target)?);
                    if let Some(value) = self.open_link(link)? {
                        self.close(link, value, seq, q)?;
                    }
                }
                Ok(())
            }
            Statement::Event(_) => Ok(()),
        }
    }

    /// Takes new content of a key in.
    pub fn put(&mut self, key: &Key, id: u32, content: &Content, at: VersionPlace) -> Result<(), IndexError> {
        let VersionPlace { pack, place, seq, q } = at;
        let row = VersionRow { kind: kind_of(content), pack, place, content: content.hash(), q };
        self.versions.insert((id, seq), row.to_bytes().as_slice())?;
        let words = Words::of(key, content);
        for name in &words.names {
            self.names.insert((name.as_str(), id), ())?;
        }
        if let Some(label) = &words.label {
            let last = self.labels.range((id, 0)..=(id, seq))?.next_back().transpose()?;
            if last.is_none_or(|(_, last)| last.value() != label) {
                self.labels.insert((id, seq), label.as_str())?;
            }
        }
        match key.facet_name() {
            None => self.set_values(id, &words.values, seq, q),
            Some(_) => Ok(()),
        }
    }

    pub fn current(&self, id: u32) -> Result<Option<VersionRow>, IndexError> {
        let Some(row) = self.versions.range((id, 0)..=(id, u32::MAX))?.next_back() else { return Ok(None) };
        VersionRow::from_bytes(row?.1.value()).map(Some).ok_or_else(|| damaged("a damaged version"))
    }

    /// The object's value in the trie at the head.
    pub fn value(&self, id: u32) -> Result<Hash, IndexError> {
        let content = self.current(id)?.map_or(Hash::ZERO, |row| row.content);
        let mut relations: BTreeMap<u32, Vec<Leaf>> = BTreeMap::new();
        for (relation, target, value) in self.open_rows(id)?.into_iter().filter(|row| row.1 & VALUE == 0) {
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

    /// Takes up again what [`Tables::leave_unsettled`] left: the state that the trie has yet to arrive at.
    pub fn take_unsettled(&mut self) -> Result<Option<Signed>, IndexError> {
        let Some(bytes) = self.meta.remove(UNSETTLED)?.map(|bytes| bytes.value().to_vec()) else { return Ok(None) };
        let (signed, numbers) = Signed::read(&bytes).ok_or_else(|| damaged("damaged unsettled keys"))?;
        self.touched.extend(numbers);
        Ok(Some(signed))
    }

    /// Leaves the trie as it is: a key that changes again and again, a large group say, is hashed once.
    pub fn leave_unsettled(&mut self, signed: &Signed) -> Result<(), IndexError> {
        let mut bytes = [&signed.seq.to_be_bytes()[..], &signed.root.0].concat();
        bytes.extend(std::mem::take(&mut self.touched).into_iter().flat_map(u32::to_be_bytes));
        self.meta.insert(UNSETTLED, bytes.as_slice())?;
        Ok(())
    }

    /// Brings the trie to the state that was signed, and compares it.
    pub fn settle(&mut self, signed: &Signed) -> Result<(), IndexError> {
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
        self.finish_trie(&crown, signed)
    }

    pub fn finish_trie(&mut self, crown: &Crown, signed: &Signed) -> Result<(), IndexError> {
        let (expected, found) = (signed.root, crown.root());
        if expected != found {
            return Err(IndexError::Mismatch { seq: signed.seq, expected, found });
        }
        self.meta.insert("crown", crown.to_bytes().as_slice())?;
        Ok(())
    }
}

/// A state as it was signed: the capture, and the root of the trie after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signed {
    pub seq: u64,
    pub root: Hash,
}

impl Signed {
    pub fn of(body: &Body) -> Signed {
        Signed { seq: body.seq, root: body.state.root }
    }

    /// What [`Tables::leave_unsettled`] wrote: the state, and numbers of keys.
    fn read(bytes: &[u8]) -> Option<(Signed, Vec<u32>)> {
        let (seq, rest) = bytes.split_first_chunk()?;
        let (root, rest) = rest.split_first_chunk()?;
        let (numbers, []) = rest.as_chunks() else { return None };
        let numbers = numbers.iter().map(|number| u32::from_be_bytes(*number)).collect();
        Some((Signed { seq: u64::from_be_bytes(*seq), root: Hash(*root) }, numbers))
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

/// Where the content of a version is, and when it was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct VersionPlace {
    pub pack: u32,
    pub place: Place,
    pub seq: u32,
    pub q: Option<u32>,
}

/// What content is found and shown by.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Names by which it can be looked up, in lower case.
    pub names: BTreeSet<String>,
    /// How it is shown.
    pub label: Option<String>,
    /// Indexed properties and their values, in lower case.
    pub values: Vec<(&'static str, String)>,
}

impl Words {
    pub fn of(key: &Key, content: &Content) -> Words {
        let (Content::Canonical(bytes) | Content::Raw(bytes)) = content else { return Words::default() };
        let Ok(json) = crate::canonical::parse(bytes) else { return Words::default() };
        let label = model::label(&json).map(str::to_owned);
        let mut words = Words { label, values: model::indexed_values(key.collection(), &json), ..Words::default() };
        if matches!(content, Content::Canonical(_)) {
            let names = model::names(&json).map(str::to_lowercase);
            words.names = names.filter(|name| name.len() <= LONGEST_NAME).collect();
        }
        words
    }
}

/// The longest name, in bytes, that can be looked up.
const LONGEST_NAME: usize = 512;
