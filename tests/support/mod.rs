//! Archives made by hand for tests: captures from lists of changes, with the state kept beside as whole maps.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tenure::archive::appender::Appender;
use tenure::archive::entry::{Base, Body, Coverage, Delta, StateSummary, Status};
use tenure::archive::line::{Change, Content, ContentChange, Line, LinkChange, Statement, Targets};
use tenure::archive::note::Signer;
use tenure::archive::pack::{self, Kind, Part, Place};
use tenure::archive::trie;
use tenure::canonical::Key;
use tenure::hash::Hash;
use tenure::store::Store;

/// An object: content and links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    pub content: Option<Content>,
    pub links: BTreeMap<String, Targets>,
}

/// A whole state.
pub type State = BTreeMap<Key, Object>;
/// What one capture says, by key.
pub type Changes = BTreeMap<Key, Change>;

impl Object {
    pub fn is_empty(&self) -> bool {
        self.content.is_none() && self.links.is_empty()
    }

    pub fn link_count(&self) -> u64 {
        self.links.values().map(|targets| targets.len() as u64).sum()
    }

    fn value(&self) -> Hash {
        let roots: Vec<(&str, Hash)> = self
            .links
            .iter()
            .map(|(relation, targets)| {
                let leaves = targets.iter().map(|(key, properties)| trie::link_leaf(key, properties.as_deref()));
                (relation.as_str(), trie::root(leaves.collect()))
            })
            .collect();
        trie::object_value(self.content.as_ref().map_or(Hash::ZERO, Content::hash), &roots)
    }

    /// The object as lines of a base.
    pub fn lines(&self, key: &Key) -> Vec<u8> {
        let content = self.content.clone().map(|content| (ContentChange::Put(content), None));
        let mut change = Change { content, ..Change::default() };
        for (relation, targets) in &self.links {
            let added = targets.iter().map(|(target, properties)| (target.clone(), (properties.clone(), None)));
            change.links.insert(relation.clone(), LinkChange { added: added.collect(), ..LinkChange::default() });
        }
        let mut out = Vec::new();
        change.write(key, &mut out);
        out
    }
}

/// The lines of a whole state.
pub fn state_lines(state: &State) -> Vec<u8> {
    state.iter().flat_map(|(key, object)| object.lines(key)).collect()
}

pub fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The key with which [`ArchiveBuilder`] signs for `tenant`.
pub fn signer(tenant: &str) -> Signer {
    Signer::from_seed(&format!("tenure/{tenant}"), [1; 32])
}

/// A put of canonical JSON, given in any spelling.
pub fn put(content: &str) -> Change {
    let json = tenure::canonical::parse(content.as_bytes()).unwrap();
    let bytes = tenure::canonical::canonicalize(&json, &tenure::canonical::Rules::default()).unwrap();
    Change { content: Some((ContentChange::Put(Content::Canonical(bytes)), None)), ..Change::default() }
}

pub fn remove() -> Change {
    Change { content: Some((ContentChange::Remove, None)), ..Change::default() }
}

pub fn link(relation: &str, targets: &[&str]) -> Change {
    let added = targets.iter().map(|target| (key(target), (None, None))).collect();
    let links = [(relation.to_owned(), LinkChange { added, ..LinkChange::default() })].into();
    Change { content: None, links }
}

pub fn unlink(relation: &str, targets: &[&str]) -> Change {
    let removed = targets.iter().map(|target| (key(target), None)).collect();
    let links = [(relation.to_owned(), LinkChange { removed, ..LinkChange::default() })].into();
    Change { content: None, links }
}

/// A coverage row.
pub fn row(collection: &str, relation: Option<&str>, st: Status, code: Option<&str>) -> Coverage {
    Coverage { code: code.map(str::to_owned), ..Coverage::new(collection, relation, None, st) }
}

/// Commits captures and remembers the state after each.
pub struct ArchiveBuilder {
    pub appender: Appender,
    pub state: State,
    /// The state after each capture, by its number.
    pub states: BTreeMap<u64, State>,
    month: Option<String>,
}

impl ArchiveBuilder {
    /// An archive of `tenant` that begins at `time`.
    pub async fn new(store: Arc<dyn Store>, tenant: &str, time: Timestamp) -> Self {
        let recovery = Signer::from_seed(&format!("tenure/{tenant}"), [2; 32]);
        let signer = signer(tenant);
        let genesis = Body::genesis(signer.verifier(), recovery.verifier(), tenant, serde_json::json!({}), time);
        let appender = Appender::initialise(store, signer, &genesis).await.unwrap();
        ArchiveBuilder { appender, state: State::new(), states: BTreeMap::new(), month: None }
    }

    /// Commits a capture for the slot `time`.
    pub async fn capture(&mut self, time: Timestamp, changes: Changes, cover: Vec<Coverage>) -> u64 {
        let mut body = self.appender.draft("capture", time).unwrap();
        let month = jiff::fmt::strtime::format("%Y-%m", time).unwrap();
        let opens = self.month.as_ref().is_none_or(|open| month > *open);
        let first = self.month.is_none();
        if opens {
            self.month = Some(month.clone());
            (body.segment, body.container) = (Some(body.seq), Some(month));
        }
        let (lines, mut delta) = self.apply(&changes, first);
        let place = Place { container: body.container.clone().unwrap(), segment: body.segment.unwrap(), seq: body.seq };
        delta.packs = self.write(&place, Kind::Delta, &lines).await;
        if opens {
            let packs = self.write(&place, Kind::Base, &state_lines(&self.state)).await;
            body.base = Some(Base { packs });
        }
        body.run = Some("00000000-0000-4000-8000-000000000000".to_owned());
        (body.slot, body.t0, body.t1) = (Some(time), Some(time), Some(time));
        body.last_slot = Some(time);
        (body.delta, body.packs, body.cover) = (Some(delta), Some(Vec::new()), Some(cover));
        (body.canon, body.facets) = (Some(1), Some(1));
        let leaves = self.state.iter().map(|(key, object)| (trie::key_hash(key), object.value())).collect();
        body.state = StateSummary {
            root: trie::root(leaves),
            objects: self.state.len() as u64,
            links: self.state.values().map(Object::link_count).sum(),
        };
        self.appender.commit(&body).await.unwrap();
        self.states.insert(body.seq, self.state.clone());
        body.seq
    }

    async fn write(&self, place: &Place, kind: Kind, lines: &[u8]) -> Vec<tenure::archive::entry::PackRef> {
        let parts: Vec<Part> = pack::write(place, kind, lines);
        for part in &parts {
            self.appender.put_pack(part).await.unwrap();
        }
        parts.into_iter().map(|part| part.reference).collect()
    }

    /// Makes the changes to the state. Returns the delta lines (events alone for the first capture) and the counts.
    fn apply(&mut self, changes: &Changes, first: bool) -> (Vec<u8>, Delta) {
        let (mut lines, mut delta) = (Vec::new(), Delta::default());
        let mut leaves = Vec::new();
        for (key, change) in changes {
            if let Some((ContentChange::Event(content), _)) = &change.content {
                change.write(key, &mut lines);
                leaves.push((trie::key_hash(key), trie::event_value(content.hash())));
                delta.ev += 1;
                continue;
            }
            let mut object = self.state.remove(key).unwrap_or_default();
            let old = object.value();
            apply_change(&mut object, change, &mut delta);
            let new = object.value();
            if !object.is_empty() {
                self.state.insert(key.clone(), object);
            }
            if old != new {
                leaves.push((trie::key_hash(key), trie::change_value(old, new)));
            }
            if !first {
                change.write(key, &mut lines);
            }
        }
        delta.root = trie::root(leaves);
        (lines, delta)
    }
}

/// Makes one change, counting what it did.
pub fn apply_change(object: &mut Object, change: &Change, delta: &mut Delta) {
    match &change.content {
        Some((ContentChange::Put(content), _)) => {
            object.content = Some(content.clone());
            delta.put += 1;
        }
        Some((ContentChange::Remove, _)) => {
            delta.del += 1;
            delta.ldel += object.link_count();
            *object = Object::default();
        }
        _ => {}
    }
    for (relation, link) in &change.links {
        let targets = object.links.entry(relation.clone()).or_default();
        for (target, (properties, _)) in &link.added {
            targets.insert(target.clone(), properties.clone());
            delta.ladd += 1;
        }
        for target in link.removed.keys() {
            targets.remove(target);
            delta.ldel += 1;
        }
    }
    object.links.retain(|_, targets| !targets.is_empty());
}

/// The objects that base lines say.
pub fn parse_state(lines: &[u8]) -> State {
    let mut state = State::new();
    for line in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let line = Line::parse(line).unwrap();
        let object = state.entry(line.key).or_default();
        match line.statement {
            Statement::Put(content) => object.content = Some(content),
            Statement::Add(relation, targets) => object.links.entry(relation).or_default().extend(targets),
            other => panic!("{other:?} in a base"),
        }
    }
    state
}
