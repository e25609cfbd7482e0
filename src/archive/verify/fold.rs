//! The fold: every state recomputed from the lines, and compared with what was signed.
//!
//! Must never know: what collections mean.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::Report;
use crate::archive::entry::{Body, entry_name};
use crate::archive::line::{Line, Statement, TARGETS_PER_LINE, Targets};
use crate::archive::trie::{self, Leaf, Trie};
use crate::canonical::Key;
use crate::hash::Hash;

/// An object as the trie sees it.
#[derive(Debug, Default)]
struct Object {
    content: Hash,
    /// By relation hash, sorted: the target leaves, sorted.
    relations: Vec<(Hash, Vec<Leaf>)>,
}

impl Object {
    fn value(&self) -> Hash {
        if self.content.is_zero() && self.relations.is_empty() {
            return Hash::ZERO;
        }
        let relations = self.relations.iter().map(|(relation, targets)| (*relation, trie::Node::of(targets, 0).hash()));
        let links = trie::Node::of(&relations.collect::<Vec<_>>(), 0).hash();
        Hash::tagged(0x22, &[&self.content.0, &links.0])
    }

    fn links(&self) -> u64 {
        self.relations.iter().map(|(_, targets)| targets.len() as u64).sum()
    }

    fn add(&mut self, relation: Hash, targets: &Targets) -> u64 {
        let at = match self.relations.binary_search_by(|(other, _)| other.cmp(&relation)) {
            Ok(at) => at,
            Err(at) => {
                self.relations.insert(at, (relation, Vec::new()));
                at
            }
        };
        let existing = &mut self.relations[at].1;
        let before = existing.len();
        for (target, properties) in targets {
            let leaf = trie::link_leaf(target, properties.as_deref());
            match existing.binary_search_by(|(other, _)| other.cmp(&leaf.0)) {
                Ok(at) => existing[at] = leaf,
                Err(at) => existing.insert(at, leaf),
            }
        }
        (existing.len() - before) as u64
    }

    /// How many of `targets` were there.
    fn drop(&mut self, relation: Hash, targets: &[Key]) -> u64 {
        let Ok(at) = self.relations.binary_search_by(|(other, _)| other.cmp(&relation)) else { return 0 };
        let existing = &mut self.relations[at].1;
        let mut found = 0;
        for target in targets {
            if let Ok(at) = existing.binary_search_by(|(other, _)| other.cmp(&trie::target_hash(target))) {
                existing.remove(at);
                found += 1;
            }
        }
        if existing.is_empty() {
            self.relations.remove(at);
        }
        found
    }
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Counts {
    put: u64,
    del: u64,
    ladd: u64,
    ldel: u64,
    ev: u64,
}

/// The state after the captures folded so far, or the knowledge that it isn't known.
#[derive(Debug, Default)]
pub(super) struct Fold {
    objects: HashMap<Hash, Object>,
    trie: Trie,
    links: u64,
    /// Whether the state before the present capture is known.
    known: bool,
    body: Option<Body>,
    first: bool,
    counts: Counts,
    /// Keys touched by this capture with their value before.
    touched: HashMap<Hash, Hash>,
    events: Vec<Leaf>,
    previous: Option<Line>,
    groups: Groups,
    /// A pack of the delta, or of the base, could not be read.
    missed: (bool, bool),
    base: Option<BaseFold>,
}

/// The link lines of one key and relation: each target once, and by sign and `q` filled up in order.
#[derive(Debug, Default)]
struct Groups {
    of: Option<(Key, String)>,
    /// By sign and `q`: how many targets the last line has, and its last target.
    last: HashMap<(bool, Option<u64>), (usize, Key)>,
    seen: HashSet<Key>,
}

impl Groups {
    fn check(&mut self, line: &Line, problems: &mut Vec<String>) {
        let (relation, adds, targets): (_, _, Vec<&Key>) = match &line.statement {
            Statement::Add(relation, targets) => (relation, true, targets.keys().collect()),
            Statement::Drop(relation, targets) => (relation, false, targets.iter().collect()),
            _ => return,
        };
        if self.of.as_ref().is_none_or(|(key, other)| *key != line.key || other != relation) {
            *self = Groups { of: Some((line.key.clone(), relation.clone())), ..Groups::default() };
        }
        let (Some(first), Some(last)) = (targets.first(), targets.last()) else { return };
        if let Some((len, end)) = self.last.get(&(adds, line.q))
            && (*len < TARGETS_PER_LINE || *first <= end)
        {
            problems.push(format!("has a line for {} {relation} that isn't filled up", line.key));
        }
        self.last.insert((adds, line.q), (targets.len(), Key::clone(last)));
        let before = self.seen.len();
        self.seen.extend(targets.iter().copied().cloned());
        if self.seen.len() != before + targets.len() {
            problems.push(format!("has a target of {} {relation} twice", line.key));
        }
    }
}

/// The base as it is read, key by key.
#[derive(Debug, Default)]
struct BaseFold {
    leaves: Vec<Leaf>,
    links: u64,
    current: Option<(Key, Object)>,
    /// Objects that the state folded so far has not, or has otherwise.
    differing: HashMap<Hash, Object>,
}

impl BaseFold {
    fn finish_key(&mut self, folded: &Trie) {
        if let Some((key, object)) = self.current.take() {
            let (hash, value) = (trie::key_hash(&key), object.value());
            self.leaves.push((hash, value));
            self.links += object.links();
            if folded.get(&hash) != value {
                self.differing.insert(hash, object);
            }
        }
    }
}

impl Fold {
    /// An entry is lost: nothing is known until the next base.
    pub fn lose(&mut self) {
        *self = Fold::default();
    }

    /// Starts a capture. `first`: the archive's first, whose base is its change.
    pub fn begin(&mut self, body: &Body, first: bool) {
        let first = first && body.is_capture();
        if first {
            self.known = true;
        }
        self.body = Some(body.clone());
        self.first = first;
        self.counts = Counts::default();
        self.touched.clear();
        self.events.clear();
        self.previous = None;
        self.groups = Groups::default();
        self.missed = (false, false);
        self.base = None;
    }

    /// Whether the state after the captures folded so far is known.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// A pack of this capture could not be read.
    pub fn miss(&mut self, base: bool) {
        match base {
            true => self.missed.1 = true,
            false => self.missed.0 = true,
        }
    }

    /// One line of the delta or base; returns what is wrong with it.
    pub fn line(&mut self, line: Line, base: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(previous) = &self.previous {
            if previous.compare(&line) != Ordering::Less {
                problems.push(format!("has {} out of order or twice", line.key));
            }
            if previous.key == line.key && matches!(previous.statement, Statement::Event(_)) {
                problems.push(format!("has other lines for the event {}", line.key));
            }
        }
        self.groups.check(&line, &mut problems);
        match base {
            true => self.base_line(&line, &mut problems),
            false => self.delta_line(&line, &mut problems),
        }
        self.previous = Some(line);
        problems
    }

    fn delta_line(&mut self, line: &Line, problems: &mut Vec<String>) {
        self.check_scope(line, problems);
        if self.first && !matches!(line.statement, Statement::Event(_)) {
            problems.push(format!("has {} in the delta of the first capture, where only events may be", line.key));
            return;
        }
        if !self.known {
            return;
        }
        let key = trie::key_hash(&line.key);
        if let Statement::Event(content) = &line.statement {
            self.counts.ev += 1;
            self.events.push((key, trie::event_value(content.hash())));
            return;
        }
        self.touched.entry(key).or_insert_with(|| self.trie.get(&key));
        let object = self.objects.entry(key).or_default();
        match &line.statement {
            Statement::Put(content) => {
                self.counts.put += 1;
                object.content = content.hash();
            }
            Statement::Remove => {
                let ended = object.links();
                self.counts.del += 1;
                self.counts.ldel += ended;
                self.links -= ended;
                *object = Object::default();
            }
            Statement::Add(relation, targets) => {
                self.counts.ladd += targets.len() as u64;
                self.links += object.add(trie::relation_hash(relation), targets);
            }
            Statement::Drop(relation, targets) => {
                self.counts.ldel += targets.len() as u64;
                let found = object.drop(trie::relation_hash(relation), targets);
                self.links -= found;
                if found != targets.len() as u64 {
                    problems.push(format!("removes links of {} that were not there", line.key));
                }
            }
            Statement::Event(_) => unreachable!("handled above"),
        }
    }

    /// Under a row that saw nothing, no change may be recorded, and `q` names an earlier capture.
    fn check_scope(&self, line: &Line, problems: &mut Vec<String>) {
        let Some(body) = &self.body else { return };
        let relation = match &line.statement {
            Statement::Add(relation, _) | Statement::Drop(relation, _) => Some(relation.as_str()),
            _ => None,
        };
        let (collection, facet) = (line.key.collection(), line.key.facet_name());
        let row = body
            .cover
            .iter()
            .flatten()
            .find(|row| row.c == collection && row.r.as_deref() == relation && row.f.as_deref() == facet);
        if !row.is_some_and(|row| row.st.permits_changes()) {
            let scope = relation.map_or(collection.to_owned(), |relation| format!("{collection} {relation}"));
            problems.push(format!("changes {} although coverage says that {scope} was not read", line.key));
        }
        if line.q.is_some_and(|q| q >= body.seq) {
            problems.push(format!("says of {} that it was last read later than it was", line.key));
        }
    }

    fn base_line(&mut self, line: &Line, problems: &mut Vec<String>) {
        let base = self.base.get_or_insert_default();
        if line.q.is_some() {
            problems.push(format!("has a q for {}, which a base never has", line.key));
        }
        if base.current.as_ref().is_none_or(|(key, _)| *key != line.key) {
            base.finish_key(&self.trie);
            base.current = Some((line.key.clone(), Object::default()));
        }
        let (_, object) = base.current.as_mut().expect("just set");
        match &line.statement {
            Statement::Put(content) => {
                object.content = content.hash();
                self.counts.put += u64::from(self.first);
            }
            Statement::Add(relation, targets) => {
                object.add(trie::relation_hash(relation), targets);
                self.counts.ladd += if self.first { targets.len() as u64 } else { 0 };
            }
            _ => {
                self.missed.1 = true;
                problems.push(format!("has a line for {} that a base never has", line.key));
            }
        }
    }

    /// The delta is read. Brings the trie up to date and compares with the entry, unless the base is the change.
    pub fn end_delta(&mut self, report: &mut Report) {
        self.previous = None;
        self.groups = Groups::default();
        if self.missed.0 {
            self.lose_state();
        }
        if !self.known || self.first {
            return;
        }
        let mut changes = std::mem::take(&mut self.events);
        for (key, before) in std::mem::take(&mut self.touched) {
            let object = self.objects.get(&key);
            let value = object.map_or(Hash::ZERO, Object::value);
            if value.is_zero() {
                self.objects.remove(&key);
            }
            self.trie.set(key, value);
            if before != value {
                changes.push((key, trie::change_value(before, value)));
            }
        }
        let Some(body) = self.body.clone() else { return };
        if body.is_capture() {
            self.compare_delta(&body, trie::root(changes), report);
            self.compare_state(&body, report);
        }
    }

    /// The base, if there is one, is read too.
    pub fn end(&mut self, report: &mut Report) {
        let Some(body) = self.body.take() else { return };
        let missed = self.missed.1;
        let Some(mut base) = self.base.take().or_else(|| body.base.is_some().then(BaseFold::default)) else { return };
        let load = !self.known || self.first;
        base.finish_key(&self.trie);
        if missed {
            if load {
                self.lose_state();
            }
            return;
        }
        let leaves = std::mem::take(&mut base.leaves);
        let (count, root) = (leaves.len() as u64, trie::root(leaves.clone()));
        report.checked.roots += 1;
        if root != body.state.root || count != body.state.objects || base.links != body.state.links {
            let message = format!(
                "its base gives root {root} of {count} objects and {} links, it says {} of {} and {}",
                base.links, body.state.root, body.state.objects, body.state.links
            );
            report.finding("base-root", &entry_name(body.seq), body.seq, message);
        }
        if load && self.first {
            let mut changes = std::mem::take(&mut self.events);
            changes.extend(leaves.iter().map(|(key, value)| (*key, trie::change_value(Hash::ZERO, *value))));
            self.compare_delta(&body, trie::root(changes), report);
        }
        // Readers begin at a base, so what it says is the state from here on, even where the deltas gave another.
        if load || root != self.trie.root() {
            let kept: HashSet<Hash> = leaves.iter().map(|(key, _)| *key).collect();
            self.objects.retain(|key, _| kept.contains(key));
            self.objects.extend(std::mem::take(&mut base.differing));
            self.trie = Trie::default();
            for (key, value) in leaves {
                self.trie.set(key, value);
            }
        }
        self.links = base.links;
        self.known = true;
    }

    fn lose_state(&mut self) {
        let body = self.body.take();
        let missed = self.missed;
        *self = Fold { body, missed, ..Fold::default() };
    }

    fn compare_delta(&mut self, body: &Body, root: Hash, report: &mut Report) {
        let Some(delta) = &body.delta else { return };
        let said = Counts { put: delta.put, del: delta.del, ladd: delta.ladd, ldel: delta.ldel, ev: delta.ev };
        if root != delta.root {
            let message = format!("its changes give root {root}, it says {}", delta.root);
            report.finding("delta-root", &entry_name(body.seq), body.seq, message);
        }
        if said != self.counts {
            let message = format!("its packs hold {:?}, it says {said:?}", self.counts);
            report.finding("delta-counts", &entry_name(body.seq), body.seq, message);
        }
    }

    fn compare_state(&mut self, body: &Body, report: &mut Report) {
        report.checked.roots += 1;
        let (root, objects) = (self.trie.root(), self.trie.len());
        if root != body.state.root || objects != body.state.objects || self.links != body.state.links {
            let message = format!(
                "the state after it has root {root} of {objects} objects and {} links, it says {} of {} and {}",
                self.links, body.state.root, body.state.objects, body.state.links
            );
            report.finding("state-root", &entry_name(body.seq), body.seq, message);
        }
    }
}
