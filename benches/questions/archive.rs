//! Writes the archive of the synthetic tenant: the first capture with its base, then an hour after the other.
//!
//! Must never know: which questions are asked.
//!
//! Everything goes through the crate's own writers. What is kept besides is a leaf of the state trie for each key.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenure::archive::appender::Appender;
use tenure::archive::entry::{Base, Body, Coverage, Delta, PackRef, StateSummary, Status};
use tenure::archive::line::{Change, Content, ContentChange, LinkChange};
use tenure::archive::note::Signer;
use tenure::archive::pack::{self, Kind as PackKind, PackWriter, Part, Place};
use tenure::archive::trie::{self, Trie};
use tenure::canonical::Key;
use tenure::hash::Hash;
use tenure::model;
use tenure::store::{FilesystemStore, Store};

use super::life::{HOURS, Hour, Life, Object, Whose, time};
use super::measure::{Meter, peak_megabytes};
use super::tenant::{KINDS, Shape};

/// The tenant that the archive is of.
const TENANT: &str = "00000000-0000-4000-8000-000000000008";

/// Writes the whole archive below `root`.
pub async fn write(root: std::path::PathBuf, objects: u32) {
    let meter = Meter::start();
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(root));
    let (signer, recovery) = (Signer::from_seed("tenure/bench", [1; 32]), Signer::from_seed("tenure/bench", [2; 32]));
    let lists = serde_json::json!({});
    let before = time(0) - jiff::SignedDuration::from_hours(1);
    let genesis = Body::genesis(signer.verifier(), recovery.verifier(), TENANT, lists, before);
    let appender = Appender::initialise(store, signer, &genesis).await.expect("an empty directory");
    let mut life = Life::new(Shape::of(objects));
    let mut writer = Writer { appender, trie: Trie::new(), links: 0, container: "2026-06".to_owned() };
    writer.first(&life).await;
    eprintln!("first capture after {:.0} s, {} keys, {} links", meter.wall(), writer.trie.len(), writer.links);
    super::say("first_keys", writer.trie.len() as f64);
    super::say("first_links", writer.links as f64);
    let mut records = 0;
    for hour in 1..HOURS {
        let changes = life.live(hour);
        records += writer.hour(&life, hour, changes).await;
        if hour % 90 == 0 {
            eprintln!("hour {hour} after {:.0} s, {:.0} MB", meter.wall(), peak_megabytes());
        }
    }
    super::say("keys", writer.trie.len() as f64);
    super::say("links", writer.links as f64);
    super::say("records", records as f64 / f64::from(HOURS - 1));
    super::say("cpu", meter.cpu());
    super::say("wall", meter.wall());
    super::say("peak", peak_megabytes());
}

struct Writer {
    appender: Appender,
    trie: Trie,
    links: u64,
    container: String,
}

impl Writer {
    fn place(&self, seq: u64) -> Place {
        Place { container: self.container.clone(), segment: 1, seq }
    }

    async fn put(&self, parts: Vec<Part>, packs: &mut Vec<PackRef>) {
        for part in parts {
            self.appender.put_pack(&part).await.expect("the store takes it");
            packs.push(part.reference);
        }
    }

    /// The first capture: its base is its change.
    async fn first(&mut self, life: &Life) {
        let seq = self.appender.walker().next_seq();
        let mut writer = PackWriter::new(self.place(seq), PackKind::Base);
        let (mut packs, mut delta, mut leaves) = (Vec::new(), Delta::default(), Vec::new());
        let mut few: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
        life.few().for_each(|key| few.entry(key.collection()).or_default().push(key));
        let mut collections: Vec<&str> = few.keys().copied().chain(KINDS.map(|kind| kind.collection())).collect();
        collections.sort_unstable();
        for collection in collections {
            let many = KINDS.into_iter().filter(|kind| kind.collection() == collection);
            let many = many.flat_map(|kind| (0..life.shape.count(kind)).map(move |number| (kind, number)));
            let many = many.map(|thing| (life.shape.key(thing), Whose::Many(thing)));
            let few = few.remove(collection).unwrap_or_default().into_iter().map(|key| (key.clone(), Whose::Few));
            for (key, whose) in few.chain(many) {
                let object = life.object(&key, whose).expect("nothing is gone yet");
                let (hash, value) = (trie::key_hash(&key), value_of(&object));
                self.trie.set(hash, value);
                leaves.push((hash, trie::change_value(Hash::ZERO, value)));
                delta.put += 1;
                delta.ladd += object.links.values().map(|targets| targets.len() as u64).sum::<u64>();
                let mut lines = Vec::new();
                base_change(object).write(&key, &mut lines);
                self.put(writer.push(&lines), &mut packs).await;
            }
        }
        self.put(writer.finish(), &mut packs).await;
        self.links = delta.ladd;
        delta.root = trie::root(leaves);
        self.commit(0, delta, Some(packs)).await;
    }

    /// An hour; how many records it changed.
    async fn hour(&mut self, life: &Life, hour: u32, changes: Hour) -> u64 {
        let (mut lines, mut delta, mut leaves) = (Vec::new(), Delta::default(), Vec::new());
        for (key, (whose, change)) in changes {
            change.write(&key, &mut lines);
            if let Some((ContentChange::Event(content), _)) = &change.content {
                leaves.push((trie::key_hash(&key), trie::event_value(content.hash())));
                delta.ev += 1;
                continue;
            }
            let object = life.object(&key, whose);
            match &change.content {
                Some((ContentChange::Remove, _)) => {
                    delta.del += 1;
                    delta.ldel += removed_links(life, whose);
                }
                Some(_) => delta.put += 1,
                None => {}
            }
            for link in change.links.values() {
                delta.ladd += link.added.len() as u64;
                delta.ldel += link.removed.len() as u64;
            }
            let (hash, value) = (trie::key_hash(&key), object.as_ref().map_or(Hash::ZERO, value_of));
            let before = self.trie.set(hash, value);
            if before != value {
                leaves.push((hash, trie::change_value(before, value)));
            }
        }
        self.links = self.links + delta.ladd - delta.ldel;
        delta.root = trie::root(leaves);
        let records = delta.put + delta.del + delta.ladd + delta.ldel;
        let seq = self.appender.walker().next_seq();
        let parts = pack::write(&self.place(seq), PackKind::Delta, &lines);
        self.put(parts, &mut delta.packs).await;
        self.commit(hour, delta, None).await;
        records
    }

    async fn commit(&mut self, hour: u32, delta: Delta, base: Option<Vec<PackRef>>) {
        let at = time(hour);
        let mut body = self.appender.draft("capture", at).expect("the chain is whole");
        (body.segment, body.container) = (Some(1), Some(self.container.clone()));
        body.run = Some("00000000-0000-4000-8000-000000000000".to_owned());
        (body.slot, body.t0, body.t1, body.last_slot) = (Some(at), Some(at), Some(at), Some(at));
        body.state = StateSummary { root: self.trie.root(), objects: self.trie.len(), links: self.links };
        (body.delta, body.base, body.packs) = (Some(delta), base.map(|packs| Base { packs }), Some(Vec::new()));
        body.cover = Some(cover());
        (body.canon, body.facets) = (Some(u64::from(model::LISTS_VERSION)), Some(u64::from(model::LISTS_VERSION)));
        self.appender.commit(&body).await.expect("nobody else writes here");
    }
}

/// Links that go with an object: only devices with links are removed here.
fn removed_links(life: &Life, whose: Whose) -> u64 {
    match whose {
        Whose::Many(thing) => life.shape.links(thing).iter().map(|(_, targets)| targets.len() as u64).sum(),
        _ => 0,
    }
}

/// What every capture says: that it saw everything.
fn cover() -> Vec<Coverage> {
    let row = |collection: &str, relation| Coverage::new(collection, relation, None, Status::Complete);
    let mut rows = Vec::new();
    for collection in model::COLLECTIONS {
        rows.push(row(collection.name, None));
        rows.extend(collection.relations.iter().map(|relation| row(collection.name, Some(relation.name))));
    }
    rows.sort_by(|a, b| (&a.c, &a.r).cmp(&(&b.c, &b.r)));
    rows
}

fn value_of(object: &Object) -> Hash {
    let root = |targets: &Vec<Key>| trie::root(targets.iter().map(|key| trie::link_leaf(key, None)).collect());
    let roots: Vec<(&str, Hash)> = object.links.iter().map(|(relation, keys)| (*relation, root(keys))).collect();
    trie::object_value(Hash::of(&object.content), &roots)
}

fn base_change(object: Object) -> Change {
    let content = Some((ContentChange::Put(Content::Canonical(object.content)), None));
    let links = object.links.into_iter().map(|(relation, targets)| {
        let added = targets.into_iter().map(|target| (target, (None, None))).collect();
        (relation.to_owned(), LinkChange { added, ..LinkChange::default() })
    });
    Change { content, links: links.collect() }
}
