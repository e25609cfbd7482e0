//! One object: what was known of it, what was seen of it, and the change that follows. Pure.
//!
//! Must never know: storage, time, other objects.

use std::collections::{BTreeMap, BTreeSet};

use super::spool::{Phase, Record, Seen};
use crate::archive::Key;
use crate::archive::line::{Change, Content, ContentChange, LinkChange, Targets};
use crate::archive::trie;
use crate::canonical::{self, Rules, Value};
use crate::hash::Hash;

/// What is known of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub content: Option<Content>,
    pub links: BTreeMap<String, Targets>,
}

impl Known {
    /// Its value in the state trie.
    pub fn value(&self) -> Hash {
        let relations: Vec<(&str, Hash)> = self
            .links
            .iter()
            .filter(|(_, targets)| !targets.is_empty())
            .map(|(relation, targets)| {
                let leaves = targets.iter().map(|(target, p)| trie::link_leaf(target, p.as_deref())).collect();
                (relation.as_str(), trie::root(leaves))
            })
            .collect();
        trie::object_value(self.content.as_ref().map_or(Hash::ZERO, Content::hash), &relations)
    }

    pub fn link_count(&self) -> u64 {
        self.links.values().map(|targets| targets.len() as u64).sum()
    }

    fn is_nothing(&self) -> bool {
        self.content.is_none() && self.links.values().all(BTreeMap::is_empty)
    }
}

/// How a collection was read in this capture, as far as its objects need to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// The first read saw everything there is, so that what it doesn't show is gone.
    pub first_full: bool,
    /// The whole read of a reconciliation took place, and whether it saw everything.
    pub whole: Option<bool>,
    /// The last generation of each phase.
    pub generations: BTreeMap<Phase, u32>,
    /// Properties that the service refused to give in this capture, in whichever of its reads.
    pub refused: Vec<String>,
    /// Relations that the feed reports.
    pub feed_relations: Vec<&'static str>,
    /// Properties that a reconciliation may find changed without the feed having missed anything.
    pub untracked: Vec<String>,
    /// The collection is read by a feed as well as whole, which spell "never set" differently: absent and null.
    pub nulls_may_lack: bool,
    /// What a whole read finds changed has a reason that is known: the feed missed nothing.
    pub is_explained: bool,
}

/// What follows for one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is known now.
    pub known: Known,
    /// It is gone, and only because it wasn't seen: subject to the gate.
    pub inferred_gone: bool,
    /// The feed had missed its content.
    pub missed_content: bool,
    /// The content differs by what the feed doesn't track.
    pub untracked_content: bool,
    /// Relations of which the feed had missed something.
    pub missed_links: BTreeSet<String>,
    /// That isn't the feed's fault.
    pub is_explained: bool,
}

/// Applies what was seen to what was known.
pub(super) fn judge(prior: &Known, records: &[Record], scope: &Scope) -> Verdict {
    let current = |phase: Phase| {
        let generation = scope.generations.get(&phase).copied().unwrap_or(0);
        records.iter().filter(move |record| record.phase == phase && record.generation == generation)
    };
    let mut verdict = Verdict { known: prior.clone(), ..Verdict::default() };
    let first: Vec<&Record> = current(Phase::First).collect();
    if scope.first_full {
        if !first.iter().any(|record| matches!(record.seen, Seen::Content { .. } | Seen::Gone)) {
            verdict.inferred_gone = !prior.is_nothing();
            verdict.known = Known::default();
        } else {
            for relation in &scope.feed_relations {
                verdict.known.links.remove(*relation);
            }
        }
    }
    apply(&mut verdict.known, &first, scope);
    // An object of the second round moved while the whole read went on: the feed knows better than a page of unknown
    // age.
    let again: Vec<&Record> = current(Phase::Again).collect();
    match scope.whole {
        Some(is_full) if again.is_empty() => {
            apply_whole(&mut verdict, &current(Phase::Whole).collect::<Vec<_>>(), is_full, scope);
        }
        _ => apply(&mut verdict.known, &again, scope),
    }
    apply_reread(&mut verdict, prior, &current(Phase::Reread).collect::<Vec<_>>(), scope);
    let links: Vec<&Record> = current(Phase::Links).collect();
    if verdict.known.content.is_some() {
        apply(&mut verdict.known, &links, scope);
    }
    verdict.known.links.retain(|_, targets| !targets.is_empty());
    verdict
}

/// What was read anew because no feed would tell of it.
fn apply_reread(verdict: &mut Verdict, prior: &Known, records: &[&Record], scope: &Scope) {
    if records.is_empty() {
        return;
    }
    let before = verdict.known.clone();
    apply(&mut verdict.known, records, scope);
    verdict.is_explained = true;
    // What the feed told of in this capture keeps its date, though it couldn't tell all of it.
    let told = before.content != prior.content;
    let only_more = differs_only_in(before.content.as_ref(), verdict.known.content.as_ref(), &scope.untracked);
    verdict.untracked_content |= verdict.known.content != before.content && !(told && only_more);
    note_links(verdict, &before, scope);
}

fn note_links(verdict: &mut Verdict, before: &Known, scope: &Scope) {
    let some = |known: &Known, relation: &str| known.links.get(relation).filter(|t| !t.is_empty()).cloned();
    for relation in &scope.feed_relations {
        if some(&verdict.known, relation) != some(before, relation) {
            verdict.missed_links.insert((*relation).to_owned());
        }
    }
}

fn apply_whole(verdict: &mut Verdict, records: &[&Record], is_full: bool, scope: &Scope) {
    let before = verdict.known.clone();
    let seen = records.iter().any(|record| matches!(record.seen, Seen::Content { .. }));
    if !seen && is_full && !before.is_nothing() {
        verdict.known = Known::default();
        verdict.inferred_gone = true;
        verdict.missed_content = !scope.is_explained;
        verdict.untracked_content = scope.is_explained;
        return;
    }
    apply(&mut verdict.known, records, scope);
    if verdict.known.content != before.content {
        let (old, new) = (before.content.as_ref(), verdict.known.content.as_ref());
        match scope.is_explained || differs_only_in(old, new, &scope.untracked) {
            true => verdict.untracked_content = true,
            false => verdict.missed_content = true,
        }
    }
    verdict.is_explained |= scope.is_explained;
    note_links(verdict, &before, scope);
}

fn apply(known: &mut Known, records: &[&Record], scope: &Scope) {
    for record in records {
        match &record.seen {
            Seen::Content { content, partial } => {
                let next = laid_over(known.content.as_ref(), content, *partial, &scope.refused);
                let same = scope.nulls_may_lack
                    && known.content.as_ref().is_some_and(|before| same_apart_from_nulls(before, &next));
                if !same {
                    known.content = Some(next);
                }
            }
            Seen::Gone => *known = Known::default(),
            // Events have no state.
            Seen::Event { .. } => {}
            Seen::Link { relation, target, present } => {
                let targets = known.links.entry(relation.clone()).or_default();
                let target = resolve(targets, target);
                match present {
                    true => {
                        targets.entry(target).or_default();
                    }
                    false => {
                        targets.remove(&target);
                    }
                }
            }
            Seen::Links { relation, targets } => {
                let before = known.links.remove(relation).unwrap_or_default();
                let now = targets.iter().map(|target| {
                    let target = resolve(&before, target);
                    let properties = before.get(&target).cloned().flatten();
                    (target, properties)
                });
                known.links.insert(relation.clone(), now.collect());
            }
        }
    }
}

/// A target whose kind the service didn't tell is the one with its id that is linked already.
fn resolve(targets: &Targets, target: &Key) -> Key {
    if target.collection() != "directoryObject" {
        return target.clone();
    }
    targets.keys().find(|known| known.id() == target.id()).unwrap_or(target).clone()
}

/// `content` over what was known: all of it under a partial one, under a whole one what the tenant refused to show.
fn laid_over(before: Option<&Content>, content: &Content, partial: bool, refused: &[String]) -> Content {
    let (Some(Content::Canonical(before)), Content::Canonical(now)) = (before, content) else {
        return content.clone();
    };
    if !partial && refused.is_empty() {
        return content.clone();
    }
    let (Ok(mut before), Ok(now)) = (canonical::parse(before), canonical::parse(now)) else { return content.clone() };
    if let (false, Value::Object(members)) = (partial, &mut before.value) {
        members.retain(|(name, _)| name.as_str().is_some_and(|name| refused.iter().any(|refused| refused == name)));
    }
    match canonical::canonicalize(&canonical::overlay(before, now), &Rules::default()) {
        Ok(bytes) => Content::Canonical(bytes),
        Err(_) => content.clone(),
    }
}

/// The members of a canonical object that say something, name and value as spelled there, in their order; `None` for
/// anything but an object. Values are measured and not read: a reconciliation does this with every object.
fn said(canonical: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rest = canonical.strip_prefix(b"{")?;
    let mut said = Vec::new();
    while rest.first() == Some(&b'"') {
        let (name, after) = rest.split_at(string_len(rest)?);
        let after = after.strip_prefix(b":")?;
        let (value, after) = after.split_at(value_len(after)?);
        if value != b"null" {
            said.push((&name[1..name.len() - 1], value));
        }
        rest = after.strip_prefix(b",").unwrap_or(after);
    }
    (rest == b"}").then_some(said)
}

/// Bytes of the string that begins here, its quotes included.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Bytes of the value that begins here.
fn value_len(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    loop {
        match bytes.get(at)? {
            b',' | b'}' | b']' if depth == 0 => return Some(at),
            b'"' => at += string_len(&bytes[at..])? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// A property that was never set is absent from a feed and null in a list (learn, user-delta: "a property that has
/// never been set isn't included"): for an object's top-level properties null and absent say the same.
fn same_apart_from_nulls(a: &Content, b: &Content) -> bool {
    differs_only_in(Some(a), Some(b), &[])
}

fn differs_only_in(a: Option<&Content>, b: Option<&Content>, names: &[String]) -> bool {
    let (Some(Content::Canonical(a)), Some(Content::Canonical(b))) = (a, b) else { return a == b };
    if a == b {
        return true;
    }
    let (Some(mut a), Some(mut b)) = (said(a), said(b)) else { return false };
    for members in [&mut a, &mut b] {
        members.retain(|(name, _)| !names.iter().any(|untracked| untracked.as_bytes() == *name));
    }
    a == b
}

/// The `q` of a change's parts.
#[derive(Debug, Clone, Default)]
pub(super) struct LastRead {
    pub content: Option<u64>,
    pub links: BTreeMap<String, Option<u64>>,
}

/// The change from `before` to `after`; `None` where nothing changed.
pub(super) fn change(before: &Known, after: &Known, read: &LastRead) -> Option<Change> {
    let mut change = Change::default();
    let removed = before.content.is_some() && after.content.is_none();
    let hash = |known: &Known| known.content.as_ref().map(Content::hash);
    let differs = || before.content != after.content && hash(before) != hash(after);
    if removed || (after.is_nothing() && !before.is_nothing()) {
        change.content = Some((ContentChange::Remove, read.content));
    } else if let Some(content) = &after.content
        && differs()
    {
        change.content = Some((ContentChange::Put(content.clone()), read.content));
    }
    let none = Targets::new();
    let emptied = removed || matches!(change.content, Some((ContentChange::Remove, _)));
    for relation in before.links.keys().chain(after.links.keys()).collect::<BTreeSet<_>>() {
        let old = if emptied { &none } else { before.links.get(relation).unwrap_or(&none) };
        let new = after.links.get(relation).unwrap_or(&none);
        let q = read.links.get(relation).copied().flatten();
        let mut link = LinkChange::default();
        for (target, properties) in new {
            if old.get(target) != Some(properties) {
                link.added.insert(target.clone(), (properties.clone(), q));
            }
        }
        for target in old.keys().filter(|target| !new.contains_key(*target)) {
            link.removed.insert(target.clone(), q);
        }
        if !link.added.is_empty() || !link.removed.is_empty() {
            change.links.insert(relation.clone(), link);
        }
    }
    (change.content.is_some() || !change.links.is_empty()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn content(text: &str) -> Content {
        Content::Canonical(text.as_bytes().to_vec())
    }

    fn known(text: &str, members: &[&str]) -> Known {
        let targets: Targets = members.iter().map(|member| (key(member), None)).collect();
        let links =
            if members.is_empty() { BTreeMap::new() } else { BTreeMap::from([("members".to_owned(), targets)]) };
        Known { content: (!text.is_empty()).then(|| content(text)), links }
    }

    fn record(phase: Phase, seen: Seen) -> Record {
        Record { key: key("group/g"), phase, generation: 0, seen }
    }

    fn object(text: &str, partial: bool) -> Seen {
        Seen::Content { content: content(text), partial }
    }

    fn link(target: &str, present: bool) -> Seen {
        Seen::Link { relation: "members".into(), target: key(target), present }
    }

    fn scope() -> Scope {
        Scope { feed_relations: vec!["members"], nulls_may_lack: true, ..Scope::default() }
    }

    #[test]
    fn what_an_object_says_is_found_without_reading_it() {
        let parts = |text: &str| -> Option<Vec<String>> {
            let show = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
            Some(
                said(text.as_bytes())?
                    .into_iter()
                    .map(|(name, value)| format!("{}={}", show(name), show(value)))
                    .collect(),
            )
        };
        let text = r#"{"a":1,"b":null,"c":{"d":[null,"}"]},"e\\":"\",","f":[],"g":null}"#;
        assert_eq!(parts(text).unwrap(), ["a=1", r#"c={"d":[null,"}"]}"#, r#"e\\="\",""#, "f=[]"]);
        assert_eq!(parts("{}").unwrap(), [""; 0]);
        for text in ["", "7", "[]", "{", r#"{"a"}"#, r#"{"a":1"#, r#"{"a":"#, r#"{"a":1}x"#] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn a_feed_item_is_laid_over_what_is_known() {
        let prior = known(r#"{"a":1,"id":"g"}"#, &["user/a"]);
        let records = [record(Phase::First, object(r#"{"b":null,"id":"g"}"#, true))];
        let verdict = judge(&prior, &records, &scope());
        assert_eq!(verdict.known, prior, "null says no more than absent");
        let records =
            [record(Phase::First, object(r#"{"a":null,"id":"g"}"#, true)), record(Phase::First, link("user/b", true))];
        let verdict = judge(&prior, &records, &scope());
        assert_eq!(verdict.known, known(r#"{"a":null,"id":"g"}"#, &["user/a", "user/b"]));
    }

    #[test]
    fn absence_means_gone_only_after_a_full_read() {
        let prior = known(r#"{"id":"g"}"#, &["user/a"]);
        assert_eq!(judge(&prior, &[], &scope()).known, prior);
        let full = Scope { first_full: true, ..scope() };
        let verdict = judge(&prior, &[], &full);
        assert!(verdict.inferred_gone && verdict.known == Known::default());
        let records = [record(Phase::First, object(r#"{"id":"g"}"#, true)), record(Phase::First, link("user/b", true))];
        assert_eq!(judge(&prior, &records, &full).known, known(r#"{"id":"g"}"#, &["user/b"]), "links too");
        let gone = judge(&prior, &[record(Phase::First, Seen::Gone)], &full);
        assert!(!gone.inferred_gone && gone.known == Known::default(), "explicit removals are not inferred");
    }

    #[test]
    fn what_an_abandoned_round_saw_does_not_count() {
        let prior = known(r#"{"id":"g"}"#, &[]);
        let mut old = record(Phase::First, object(r#"{"a":2,"id":"g"}"#, false));
        let restarted = Scope { first_full: true, generations: BTreeMap::from([(Phase::First, 1)]), ..scope() };
        assert!(judge(&prior, std::slice::from_ref(&old), &restarted).inferred_gone);
        old.generation = 1;
        assert_eq!(judge(&prior, &[old], &restarted).known, known(r#"{"a":2,"id":"g"}"#, &[]));
    }

    #[test]
    fn a_reconciliation_tells_missed_from_moved() {
        let prior = known(r#"{"a":1,"id":"g"}"#, &["user/a"]);
        let whole = Scope { whole: Some(true), untracked: vec!["u".to_owned()], ..scope() };
        let links = |targets: &[&str]| Seen::Links {
            relation: "members".into(),
            targets: targets.iter().map(|t| key(t)).collect(),
        };
        let read = |text: &str, targets: &[&str]| {
            [record(Phase::Whole, object(text, false)), record(Phase::Whole, links(targets))]
        };
        let verdict = judge(&prior, &read(r#"{"a":1,"b":null,"id":"g"}"#, &["user/a"]), &whole);
        assert_eq!(verdict, Verdict { known: prior.clone(), ..Verdict::default() });
        let verdict = judge(&prior, &read(r#"{"a":2,"id":"g"}"#, &["user/b"]), &whole);
        assert!(verdict.missed_content && verdict.missed_links.contains("members"));
        let verdict = judge(&prior, &read(r#"{"a":1,"id":"g","u":5}"#, &["user/a"]), &whole);
        assert!(!verdict.missed_content && verdict.untracked_content);
        let mut moved = read(r#"{"a":2,"id":"g"}"#, &["user/a"]).to_vec();
        moved.push(record(Phase::Again, object(r#"{"a":3,"id":"g"}"#, true)));
        let verdict = judge(&prior, &moved, &whole);
        assert!(!verdict.missed_content && verdict.known == known(r#"{"a":3,"id":"g"}"#, &["user/a"]));
        let verdict = judge(&prior, &[], &whole);
        assert!(verdict.missed_content && verdict.inferred_gone);
        let partial = Scope { whole: Some(false), ..scope() };
        assert_eq!(judge(&prior, &[], &partial).known, prior);
    }

    /// A permission taken away must not read as values taken away.
    #[test]
    fn what_the_tenant_refuses_to_show_stays_as_it_was_known() {
        let prior = known(r#"{"a":1,"c":1,"id":"g"}"#, &[]);
        let records = [record(Phase::First, object(r#"{"b":2,"id":"g"}"#, false))];
        assert_eq!(judge(&prior, &records, &scope()).known, known(r#"{"b":2,"id":"g"}"#, &[]));
        let refused = Scope { refused: vec!["a".into()], ..scope() };
        assert_eq!(judge(&prior, &records, &refused).known, known(r#"{"a":1,"b":2,"id":"g"}"#, &[]));
    }

    #[test]
    fn a_property_that_was_refused_keeps_its_value() {
        let prior = known(r#"{"a":1,"id":"g","secret":{"b":2}}"#, &[]);
        let records = [record(Phase::First, object(r#"{"a":3,"id":"g"}"#, false))];
        let refused = Scope { refused: vec!["secret".to_owned()], ..Scope::default() };
        assert_eq!(judge(&prior, &records, &refused).known, known(r#"{"a":3,"id":"g","secret":{"b":2}}"#, &[]));
        assert_eq!(judge(&prior, &records, &Scope::default()).known, known(r#"{"a":3,"id":"g"}"#, &[]));
        let given = [record(Phase::First, object(r#"{"a":1,"id":"g","secret":null}"#, false))];
        let expected = known(r#"{"a":1,"id":"g","secret":null}"#, &[]);
        assert_eq!(judge(&prior, &given, &refused).known, expected, "another read gave it after all");
    }

    #[test]
    fn a_removed_link_of_unknown_kind_is_found_by_its_id() {
        let prior = known(r#"{"id":"g"}"#, &["user/a", "device/b"]);
        let verdict = judge(&prior, &[record(Phase::First, link("directoryObject/b", false))], &scope());
        assert_eq!(verdict.known, known(r#"{"id":"g"}"#, &["user/a"]));
    }

    #[test]
    fn changes_say_what_became_of_content_and_links() {
        let before = known(r#"{"id":"g"}"#, &["user/a", "user/b"]);
        assert_eq!(change(&before, &before, &LastRead::default()), None);
        let after = known(r#"{"id":"g"}"#, &["user/b", "user/c"]);
        let read = LastRead { content: Some(3), links: BTreeMap::from([("members".to_owned(), Some(5))]) };
        let made = change(&before, &after, &read).unwrap();
        assert_eq!(made.content, None);
        assert_eq!(made.links["members"].added[&key("user/c")], (None, Some(5)));
        assert_eq!(made.links["members"].removed, BTreeMap::from([(key("user/a"), Some(5))]));
        let made = change(&before, &Known::default(), &read).unwrap();
        assert_eq!(made.content, Some((ContentChange::Remove, Some(3))));
        assert!(made.links.is_empty(), "x ends links by itself");
    }
}
