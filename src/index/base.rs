//! Taking a whole base in: the first one in bulk, a later one where the state before it is unknown.
//!
//! Must never know: the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::IndexError;
use super::build::damaged;
use super::rows::{Signed, Tables, VersionPlace, Words, kind_of};
use super::tables::*;
use crate::archive::entry::{Body, PackRef};
use crate::archive::line::{Content, InvalidLine, Line, Statement, Targets};
use crate::archive::reader::{Place, ReadError, read_lines, read_pack};
use crate::archive::trie::{self, BUCKET_BITS, Crown, Leaf, Node, bucket_of};
use crate::canonical::Key;
use crate::hash::Hash;
use crate::store::Store;

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

/// Hands out the keys of a base in order, found without reading what is said of them.
async fn read_keys(
    store: &dyn Store,
    packs: &[PackRef],
    mut each: impl FnMut(Key) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let mut last = String::new();
    for pack in packs {
        let mut failed = None;
        let invalid = |source| ReadError::Line { name: pack.n.clone(), source }.into();
        read_pack(store, pack, |line, _| {
            if failed.is_some() {
                return;
            }
            failed = match Line::read_key(line) {
                Ok(text) if last == text => None,
                Ok(text) => {
                    text.clone_into(&mut last);
                    text.parse().map_err(|error| invalid(InvalidLine::Key(error))).and_then(&mut each).err()
                }
                Err(error) => Some(invalid(error)),
            };
        })
        .await?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

/// Numbers of keys, found by half of the hash that the trie knows them by: with the keys themselves it would take three
/// times the memory, and a large tenant has millions.
struct Numbers(HashMap<[u8; 16], u32>);

impl Numbers {
    fn name(key: &Key) -> [u8; 16] {
        let hash = trie::key_hash(key);
        *hash.0.first_chunk().expect("a hash has 32 bytes")
    }

    fn insert(&mut self, key: &Key, number: u32) {
        self.0.insert(Self::name(key), number);
    }

    fn get(&self, key: &Key) -> Option<u32> {
        self.0.get(&Self::name(key)).copied()
    }
}

/// Names with the numbers of their keys, one text after the other: each in a string of its own would take twice as much.
#[derive(Default)]
struct Names {
    text: String,
    /// Where each begins, its length in bytes, and the number.
    rows: Vec<(u64, u16, u32)>,
}

impl Names {
    fn push(&mut self, name: &str, number: u32) {
        let len = u16::try_from(name.len()).expect("longer names aren't looked up");
        self.rows.push((self.text.len() as u64, len, number));
        self.text.push_str(name);
    }

    /// Calls `each` in the order of the table.
    fn sorted(mut self, mut each: impl FnMut(&str, u32) -> Result<(), IndexError>) -> Result<(), IndexError> {
        let text = self.text.as_str();
        let of = |row: &(u64, u16, u32)| &text[row.0 as usize..row.0 as usize + usize::from(row.1)];
        self.rows.sort_unstable_by(|a, b| (of(a), a.2).cmp(&(of(b), b.2)));
        self.rows.iter().try_for_each(|row| each(of(row), row.2))
    }
}

/// Takes the first base in: rows are made in the order of their tables, so that no page is written twice.
pub(super) async fn load_base(
    store: &dyn Store,
    tables: &mut Tables<'_>,
    body: &Body,
    packs: &[PackRef],
) -> Result<(), IndexError> {
    let seq = body.seq as u32;
    let numbers: Vec<u32> = packs.iter().map(|pack| tables.pack(pack)).collect::<Result<_, _>>()?;
    let mut ids = Numbers(HashMap::with_capacity(body.state.objects as usize));
    read_keys(store, packs, |key| {
        ids.insert(&key, tables.key(&key)?);
        Ok(())
    })
    .await?;
    let mut backlinks: Vec<(u32, u32, u32)> = Vec::with_capacity(body.state.links as usize);
    let mut names = Names::default();
    let mut leaves: Vec<Leaf> = Vec::with_capacity(body.state.objects as usize);
    read_base(store, packs, |object, _| {
        let id = ids.get(&object.key).ok_or_else(|| damaged("a base that changed while it was read"))?;
        let mut content_hash = Hash::ZERO;
        let mut rows: Vec<(u32, u32, Vec<u8>)> = Vec::new();
        if let Some((content, place, part)) = &object.content {
            content_hash = content.hash();
            let pack = numbers[*part as usize];
            let row = VersionRow { kind: kind_of(content), pack, place: *place, content: content_hash, q: None };
            tables.versions.insert((id, seq), row.to_bytes().as_slice())?;
            let words = Words::of(&object.key, content);
            words.names.iter().for_each(|name| names.push(name, id));
            if let Some(label) = &words.label {
                tables.labels.insert((id, seq), label.as_str())?;
            }
            if object.key.facet_name().is_none() {
                for (property, value) in &words.values {
                    rows.push((tables.relation(property)?, tables.value_id(value)?, Vec::new()));
                }
            }
        }
        let mut relations: BTreeMap<String, Vec<Leaf>> = BTreeMap::new();
        for (relation, targets) in object.links {
            let number = tables.relation(&relation)?;
            let hashed = relations.entry(relation).or_default();
            for (target, properties) in targets {
                hashed.push(trie::link_leaf(&target, properties.as_deref()));
                let target = match ids.get(&target) {
                    Some(target) => target,
                    None => {
                        let number = tables.key(&target)?;
                        ids.insert(&target, number);
                        number
                    }
                };
                rows.push((number, target, properties.unwrap_or_default()));
            }
        }
        rows.sort_unstable();
        for (relation, target, properties) in rows {
            let detailed = if properties.is_empty() { 0 } else { DETAILED };
            let value = LinkValue::open(seq, None, properties);
            tables.links.insert((id, relation, target), value.to_bytes().as_slice())?;
            backlinks.push((target, relation | detailed, id));
        }
        let roots: Vec<(String, Hash)> =
            relations.into_iter().map(|(relation, leaves)| (relation, trie::root(leaves))).collect();
        let roots: Vec<(&str, Hash)> = roots.iter().map(|(relation, root)| (relation.as_str(), *root)).collect();
        leaves.push((trie::key_hash(&object.key), trie::object_value(content_hash, &roots)));
        Ok(())
    })
    .await?;
    // What isn't needed any more goes before what comes next is sorted.
    drop(ids);
    backlinks.sort_unstable_by_key(|(target, relation, source)| (*target, relation & !DETAILED, *source));
    for (target, relation, source) in backlinks {
        let detailed = relation & DETAILED;
        tables.backlinks.insert((target, relation & !DETAILED, source), (seq | detailed, STILL))?;
    }
    names.sorted(|name, id| {
        tables.names.insert((name, id), ())?;
        Ok(())
    })?;
    leaves.sort_unstable();
    for (hash, value) in &leaves {
        tables.leaves.insert(&hash.0, &value.0)?;
    }
    let buckets = leaves.chunk_by(|(a, _), (b, _)| bucket_of(a) == bucket_of(b));
    let mut crown = Crown::default();
    crown.update(buckets.map(|leaves| (bucket_of(&leaves[0].0), Node::of(leaves, BUCKET_BITS))));
    tables.finish_trie(&crown, &Signed::of(body))
}

/// Takes over what a base says where the state before it is unknown: only differences become rows.
pub(super) async fn resync(
    store: &dyn Store,
    tables: &mut Tables<'_>,
    body: &Body,
    packs: &[PackRef],
) -> Result<(), IndexError> {
    let seq = body.seq as u32;
    // Nobody knows what was there since.
    let q = tables.last_known_before(body.seq)?;
    let numbers: Vec<u32> = packs.iter().map(|pack| tables.pack(pack)).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    read_base(store, packs, |object, _| {
        let id = tables.key(&object.key)?;
        seen.insert(id);
        tables.touched.insert(id);
        let held = tables.current(id)?.map_or(Hash::ZERO, |row| row.content);
        match &object.content {
            Some((content, place, part)) if content.hash() != held => {
                let at = VersionPlace { pack: numbers[*part as usize], place: *place, seq, q };
                tables.put(&object.key, id, content, at)?;
            }
            None if !held.is_zero() => {
                remove_content(tables, id, seq, q)?;
                tables.set_values(id, &[], seq, q)?;
            }
            _ => {}
        }
        let mut wanted = BTreeSet::new();
        for (relation, targets) in &object.links {
            tables.add_links(id, relation, targets, seq, q)?;
            let relation = tables.relation(relation)?;
            for target in targets.keys() {
                wanted.insert((relation, tables.key(target)?));
            }
        }
        for (relation, target, value) in tables.open_rows(id)? {
            if target & VALUE == 0 && !wanted.contains(&(relation, target)) {
                tables.close((id, relation, target), value, seq, q)?;
            }
        }
        Ok(())
    })
    .await?;
    for id in 0..tables.next_key {
        if seen.contains(&id) {
            continue;
        }
        let open = tables.open_rows(id)?;
        let held = tables.current(id)?.is_some_and(|row| row.kind != REMOVED);
        if held || !open.is_empty() {
            tables.touched.insert(id);
            remove_content(tables, id, seq, q)?;
            for (relation, target, value) in open {
                tables.close((id, relation, target), value, seq, q)?;
            }
        }
    }
    Ok(())
}

fn remove_content(tables: &mut Tables<'_>, id: u32, seq: u32, q: Option<u32>) -> Result<(), IndexError> {
    let place = Place { frame: 0, offset: 0, len: 0 };
    let row = VersionRow { kind: REMOVED, pack: STILL, place, content: Hash::ZERO, q };
    tables.versions.insert((id, seq), row.to_bytes().as_slice())?;
    Ok(())
}
