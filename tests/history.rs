//! Model test: random histories against a list of whole states as the oracle.
//!
//! A failure prints its seed; `TENURE_TEST_SEED=<seed> cargo test --test history` runs it again.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use support::*;
use tenure::archive::entry::{Coverage, Status};
use tenure::archive::line::{Change, Content, ContentChange, LinkChange, Targets};
use tenure::archive::verify::{Options, verify};
use tenure::canonical::Key;
use tenure::diff;
use tenure::hash::Hash;
use tenure::query::{Archive, Certainty, Moment, QueryError, Scope};
use tenure::store::{MemoryStore, Store};

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

const KEYS: u64 = 14;

fn any_key(dice: &mut Dice) -> Key {
    match dice.roll(KEYS) {
        n if n < 6 => key(&format!("user/u{n}")),
        n if n < 8 => key(&format!("user/u{}#activity", n - 6)),
        n if n < 12 => key(&format!("group/g{}", n - 8)),
        n => key(&format!("servicePrincipal/%2F{n}")),
    }
}

fn any_content(dice: &mut Dice) -> Content {
    match dice.roll(12) {
        0 => Content::Raw(format!("{{\"n\":1e400,\"x\":{}}}", dice.roll(3)).into_bytes()),
        1 => Content::Hidden(Hash::of(&[dice.roll(3) as u8])),
        _ => {
            let (name, flag, tags) = (dice.roll(4), dice.roll(2), dice.roll(3));
            let text = format!(
                "{{\"displayName\":\"Name {name}\",\"nested\":{{\"flag\":{flag}}},\"tags\":[\"a\",\"t{tags}\"]}}"
            );
            Content::Canonical(text.into_bytes())
        }
    }
}

fn any_properties(dice: &mut Dice) -> Option<Vec<u8>> {
    dice.one_in(3).then(|| format!("{{\"p\":{}}}", dice.roll(2)).into_bytes())
}

/// What an object becomes next. A facet has content and no links.
fn next_object(dice: &mut Dice, key: &Key, old: &Object) -> Object {
    let mut new = old.clone();
    let has_links = key.facet_name().is_none();
    match dice.roll(if has_links { 6 } else { 3 }) {
        0 if old.content.is_some() => new = Object::default(),
        1 if old.content.is_some() && has_links && dice.one_in(2) => {
            // Removed, and links begun again in the same capture.
            new = Object::default();
            new.links.insert("owners".into(), [(any_key(dice), any_properties(dice))].into());
        }
        0..=2 => new.content = Some(any_content(dice)),
        _ => {
            let relation = ["members", "owners", "manager"][dice.roll(3) as usize];
            let targets = new.links.entry(relation.to_owned()).or_default();
            for _ in 0..=dice.roll(3) {
                let target = any_key(dice);
                match dice.one_in(2) {
                    true => drop(targets.remove(&target)),
                    false => drop(targets.insert(target, any_properties(dice))),
                }
            }
            new.links.retain(|_, targets| !targets.is_empty());
        }
    }
    new
}

/// The lines that lead from one object to another, some with a `q` between `read` and the capture.
fn change(dice: &mut Dice, old: &Object, new: &Object, read: u64) -> Change {
    let mut change = Change::default();
    let mut q = || dice.one_in(4).then_some(read);
    let removed = old.content.is_some() && new.content.is_none();
    if removed {
        change.content = Some((ContentChange::Remove, q()));
    } else if old.content != new.content {
        change.content = new.content.clone().map(|content| (ContentChange::Put(content), q()));
    }
    let empty = Targets::new();
    let relations: BTreeSet<&String> = old.links.keys().chain(new.links.keys()).collect();
    for relation in relations {
        let before = if removed { &empty } else { old.links.get(relation).unwrap_or(&empty) };
        let after = new.links.get(relation).unwrap_or(&empty);
        let mut link = LinkChange::default();
        for (target, properties) in after {
            if before.get(target) != Some(properties) {
                link.added.insert(target.clone(), (properties.clone(), q()));
            }
        }
        for target in before.keys().filter(|target| !after.contains_key(target)) {
            link.removed.insert(target.clone(), q());
        }
        if !link.added.is_empty() || !link.removed.is_empty() {
            change.links.insert(relation.clone(), link);
        }
    }
    change
}

/// The smallest `q` of a change; the capture before where there is none.
fn least_q(change: &Change, before: u64) -> u64 {
    let content = change.content.iter().map(|(_, q)| *q);
    let links = change.links.values().flat_map(|link| {
        link.added.values().map(|(_, q)| *q).chain(link.removed.values().copied()).collect::<Vec<_>>()
    });
    content.chain(links).flatten().min().unwrap_or(before).min(before)
}

struct Model {
    builder: ArchiveBuilder,
    store: Arc<dyn Store>,
    /// By capture and key: the capture not before which a change happened.
    intervals: BTreeMap<(u64, Key), Option<u64>>,
    /// By key and capture: the `q` of a content line.
    content_q: BTreeMap<(Key, u64), Option<u64>>,
}

async fn build(dice: &mut Dice, index: &Path) -> Model {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut time = at("2026-07-29T20:00:00Z");
    let mut builder = ArchiveBuilder::new(store.clone(), "t", time).await;
    let (mut intervals, mut content_q) = (BTreeMap::new(), BTreeMap::new());
    let captures = 20 + dice.roll(12);
    for number in 0..captures {
        let last = builder.states.last_key_value().map(|(seq, _)| *seq);
        let read = last.map_or(0, |last| 1 + dice.roll(last));
        let mut changes = Changes::new();
        for _ in 0..=dice.roll(if number == 0 { 20 } else { 5 }) {
            let key = any_key(dice);
            let old = builder.state.get(&key).cloned().unwrap_or_default();
            let new = next_object(dice, &key, &old);
            let change = change(dice, &old, &new, read);
            if (change.content.is_some() || !change.links.is_empty()) && !changes.contains_key(&key) {
                changes.insert(key, change);
            }
        }
        if dice.one_in(4) {
            let event = Content::Canonical(b"{\"id\":\"e\"}".to_vec());
            let content = Some((ContentChange::Event(event), None));
            changes.insert(key("audit/e"), Change { content, ..Change::default() });
        }
        let cover = coverage();
        let said = changes.clone();
        let seq = builder.capture(time, changes, cover).await;
        for (key, change) in said {
            if let Some((_, q)) = &change.content {
                content_q.insert((key.clone(), seq), *q);
            }
            intervals.insert((seq, key), last.map(|last| least_q(&change, last)));
        }
        // Hours apart, sometimes half a month, so that several months open segments.
        let hours = if dice.one_in(6) { 24 * 16 } else { 1 };
        time = time.checked_add(SignedDuration::from_hours(hours)).unwrap();
        if dice.one_in(5) {
            // An entry that is no capture, so that numbers have holes; and an index that is fed in pieces.
            let body = builder.appender.draft("access", time).unwrap();
            builder.appender.commit(&body).await.unwrap();
            open(&store, index).await;
        }
    }
    Model { builder, store, intervals, content_q }
}

/// Everything was read.
fn coverage() -> Vec<Coverage> {
    let mut rows = vec![row("audit", None, Status::Complete, None)];
    for collection in ["user", "group", "servicePrincipal"] {
        rows.push(row(collection, None, Status::Complete, None));
        for relation in ["manager", "members", "owners"] {
            rows.push(row(collection, Some(relation), Status::Complete, None));
        }
    }
    rows.push(Coverage { f: Some("activity".to_owned()), ..row("user", None, Status::Complete, None) });
    rows
}

async fn open(store: &Arc<dyn Store>, index: &Path) -> Archive {
    Archive::open(store.clone(), index, |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap()
}

fn now() -> Timestamp {
    at("2030-01-01T00:00:00Z")
}

fn links_of(object: &Object) -> diff::Links {
    let bytes = |targets: &Targets| {
        targets.iter().map(|(key, properties)| (key.clone(), properties.clone().unwrap_or_default())).collect()
    };
    object.links.iter().map(|(relation, targets)| (relation.clone(), bytes(targets))).collect()
}

fn comparable(object: &Object) -> Option<Vec<u8>> {
    object.content.as_ref().map(|content| match content {
        Content::Canonical(bytes) | Content::Raw(bytes) => bytes.clone(),
        Content::Hidden(hash) => format!("\"hidden {hash}\"").into_bytes(),
    })
}

async fn check_state(archive: &Archive, model: &Model, seq: u64, head: u64) {
    let state = &model.builder.states[&seq];
    let at = archive.at(&Moment::Capture(seq), now()).unwrap();
    let mut dump = Vec::new();
    archive
        .dump(&at, None, |lines| {
            dump.extend_from_slice(lines);
            Ok(ControlFlow::Continue(()))
        })
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&dump), String::from_utf8_lossy(&state_lines(state)), "dump at {seq}");
    let known: Vec<u64> = model.builder.states.keys().copied().filter(|known| *known <= seq).collect();
    for key in (0..KEYS).map(|n| any_key(&mut Fixed(n).into())) {
        let Some(id) = archive.view().id(&key).unwrap() else { continue };
        let answer = archive.as_of(&key, id, &at).await.unwrap();
        let object = state.get(&key).cloned().unwrap_or_default();
        assert_eq!(answer.content, object.content, "{key} at {seq}");
        // A change that was last read before this capture may have happened before it too.
        let later = model.content_q.range((key.clone(), seq + 1)..(key.clone(), head.max(seq) + 1)).next();
        let in_gap = later.is_some_and(|(_, q)| q.is_some_and(|q| q < seq));
        let certainty = if in_gap { Certainty::ChangedInGap } else { Certainty::Observed };
        assert_eq!(answer.certainty, certainty, "{key} at {seq}");
        let mut links = diff::Links::new();
        for link in &answer.links {
            let properties = link.properties.clone().unwrap_or_default();
            links.entry(link.relation.clone()).or_default().insert(link.other.clone(), properties);
        }
        assert_eq!(links, links_of(&object), "links of {key} at {seq}");
        let incoming: BTreeSet<(String, Key)> =
            answer.incoming.iter().map(|link| (link.relation.clone(), link.other.clone())).collect();
        let expected = state.iter().flat_map(|(source, object)| {
            let leads = object.links.iter().filter(|(_, targets)| targets.contains_key(&key));
            leads.map(|(relation, _)| (relation.clone(), source.clone())).collect::<Vec<_>>()
        });
        assert_eq!(incoming, expected.collect(), "links to {key} at {seq}");
        // Since when: the last capture after which the content was another.
        let content = |seq: &u64| model.builder.states[seq].get(&key).and_then(|object| object.content.clone());
        let changed =
            known.iter().rev().zip(known.iter().rev().skip(1)).find(|(at, before)| content(at) != content(before));
        let first = known[0];
        let since = changed.map(|(at, _)| *at).or(content(&first).is_some().then_some(first));
        assert_eq!(answer.since.map(|row| row.seq), since, "since of {key} at {seq}");
    }
}

/// Dice that fall on one number.
struct Fixed(u64);

impl From<Fixed> for Dice {
    fn from(fixed: Fixed) -> Dice {
        (0..).map(Dice).find(|dice| Dice(dice.0).roll(KEYS) == fixed.0).unwrap()
    }
}

async fn check_difference(archive: &Archive, model: &Model, from: u64, to: u64) {
    let instant = |seq| archive.at(&Moment::Capture(seq), now()).unwrap();
    let mut found = BTreeMap::new();
    let mut order = Vec::new();
    archive
        .difference(&instant(from), &instant(to), &Scope::default(), |difference| {
            order.push(difference.key.clone());
            found.insert(difference.key.clone(), difference);
            Ok(ControlFlow::Continue(()))
        })
        .await
        .unwrap();
    assert!(order.is_sorted());
    let (before, after) = (&model.builder.states[&from], &model.builder.states[&to]);
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let differing: Vec<&Key> = keys.into_iter().filter(|key| before.get(key) != after.get(key)).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), differing, "{from} to {to}");
    for key in differing {
        let (old, new) = (before.get(key).cloned().unwrap_or_default(), after.get(key).cloned().unwrap_or_default());
        let difference = &found[key];
        assert_eq!(Some(difference.change), diff::Change::between(!old.is_empty(), !new.is_empty()), "{key}");
        assert_eq!(difference.properties, diff::content(comparable(&old).as_deref(), comparable(&new).as_deref()));
        assert_eq!(difference.links, diff::links(&links_of(&old), &links_of(&new)), "{key} {from} to {to}");
    }
}

async fn check_history(archive: &Archive, model: &Model, head: u64) {
    for key in (0..KEYS).map(|n| any_key(&mut Fixed(n).into())) {
        let Some(id) = archive.view().id(&key).unwrap() else { continue };
        let revisions = archive.history(&key, id).await.unwrap();
        // A page at a time it is the same.
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = archive.history_after(&key, id, after, 2).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.capture.seq);
            paged.extend(page);
        }
        assert_eq!(paged, revisions, "{key}");
        let mut expected = Vec::new();
        let mut old = Object::default();
        for (seq, state) in model.builder.states.range(..=head) {
            let new = state.get(&key).cloned().unwrap_or_default();
            if new != old {
                let change = diff::Change::between(!old.is_empty(), !new.is_empty()).unwrap();
                let properties = diff::content(comparable(&old).as_deref(), comparable(&new).as_deref());
                let links = diff::links(&links_of(&old), &links_of(&new));
                expected.push((*seq, model.intervals[&(*seq, key.clone())], change, properties, links));
            }
            old = new;
        }
        let found: Vec<_> = revisions
            .into_iter()
            .map(|r| (r.capture.seq, r.not_before.map(|row| row.seq), r.change, r.properties, r.links))
            .collect();
        let captures: Vec<u64> = model.builder.states.keys().copied().collect();
        let on_capture = |q: u64| captures.iter().copied().rfind(|seq| *seq <= q);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(seq, not_before, change, properties, links)| {
                (seq, not_before.and_then(on_capture), change, properties, links)
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{key} up to {head}: {found:#?}\n{expected:#?}");
        for (found, expected) in found.iter().zip(&expected) {
            // A removal that carries links on in the same capture has a q of its own for each.
            assert_eq!((found.0, found.2), (expected.0, expected.2), "{key}");
            assert_eq!((&found.3, &found.4), (&expected.3, &expected.4), "{key} at {}", found.0);
            assert!(found.1 <= Some(found.0) && found.1 >= expected.1, "{key}: {:?} {:?}", found.1, expected.1);
        }
    }
}

async fn check_all(archive: &Archive, model: &Model, dice: &mut Dice, head: u64) {
    let captures: Vec<u64> = model.builder.states.range(..=head).map(|(seq, _)| *seq).collect();
    for seq in &captures {
        check_state(archive, model, *seq, head).await;
    }
    for _ in 0..12 {
        let mut pick = || captures[dice.roll(captures.len() as u64) as usize];
        let (from, to) = (pick(), pick());
        check_difference(archive, model, from, to).await;
    }
    check_history(archive, model, head).await;
}

async fn run(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let directory = tempfile::tempdir().unwrap();
    let model = build(&mut dice, directory.path()).await;
    let options = Options { deep: true, ..Options::default() };
    let report = verify(&*model.store, &options, |_, _| ()).await.unwrap();
    let wrong: Vec<_> = report.findings.iter().filter(|finding| finding.code != "checkpoint-missing").collect();
    assert!(wrong.is_empty(), "the archive that the test made isn't sound: {wrong:#?}");

    let captures: Vec<u64> = model.builder.states.keys().copied().collect();
    let head = captures[captures.len() - 1];
    let archive = open(&model.store, directory.path()).await;
    check_all(&archive, &model, &mut dice, head).await;
    // Deleting the index changes no answer.
    drop(archive);
    tenure::index::Index::destroy(directory.path()).unwrap();
    let mut archive = open(&model.store, directory.path()).await;
    check_all(&archive, &model, &mut dice, head).await;
    // What is committed later changes no answer as of then.
    let known = captures[dice.roll(captures.len() as u64) as usize];
    archive.know_at(known).unwrap();
    assert_eq!(archive.at(&Moment::Head, now()).unwrap().capture.seq, known);
    if let Some(later) = captures.iter().find(|seq| **seq > known) {
        let refused = archive.at(&Moment::Capture(*later), now());
        assert!(matches!(refused, Err(QueryError::NotYetKnown { .. })), "{refused:?}");
    }
    check_all(&archive, &model, &mut dice, known).await;
}

#[tokio::test]
async fn random_histories_agree_with_whole_states() {
    if let Some(seed) = std::env::var("TENURE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed).await;
    }
    // The last seed: where the delta ended and the base began with links of one relation of the same group, verification
    // took the two for one list and found every target twice.
    for seed in (0..6).chain([5_501_682_782_654_092_832]) {
        run(seed).await;
    }
    run(getrandom::u64().unwrap()).await;
}
