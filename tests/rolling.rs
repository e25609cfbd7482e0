//! Verification in steps says what verification at once says, each finding once: on sound archives, on every broken one that
//! is kept, and on archives that chance breaks. It can be stopped anywhere, and believes no saved position.
//!
//! `TENURE_SEED=<seed>` breaks the archives as a failure did.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::SignedDuration;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{ArchiveBuilder, Changes, at, key, link, put, remove, row, unlink};
use tenure::archive::entry::{Coverage, Status, entry_name};
use tenure::archive::log::TILE_WIDTH;
use tenure::archive::pack::{Kind, Place, write};
use tenure::archive::verify::pace::Reach;
use tenure::archive::verify::rolling::{Position, Step, step, steps, steps_before};
use tenure::archive::verify::{Begun, Finding, Options, Report, Survey, verify};
use tenure::store::{FilesystemStore, MemoryStore, Store};

type Blobs = BTreeMap<String, Vec<u8>>;

const NEVER: &(dyn Fn() -> bool + Send + Sync) = &|| false;

/// A service may make a step on any thread.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

fn sorted(findings: &[Finding]) -> Vec<String> {
    let mut lines: Vec<String> = findings
        .iter()
        .map(|f| format!("{} {} {} {:?}: {}", f.severity.as_str(), f.code, f.name, f.seq, f.message))
        .collect();
    lines.sort();
    lines
}

async fn survey(store: &dyn Store) -> Result<Survey, Report> {
    match Survey::begin(store).await.unwrap() {
        Begun::Log(mut survey) => {
            assert!(sendable(survey.extend(store, NEVER)).await.unwrap());
            Ok(*survey)
        }
        Begun::NoGenesis(report) => Err(report),
    }
}

/// A whole pass. The position is written down and read again between two steps, and the log is walked anew before some.
async fn pass(store: &dyn Store, options: &Options) -> (Report, Vec<Step>) {
    let mut survey_now = match survey(store).await {
        Ok(survey) => survey,
        Err(report) => return (report, Vec::new()),
    };
    let mut report = sendable(survey_now.check(store, options, NEVER)).await.unwrap().unwrap();
    let (mut made, mut position): (Vec<Step>, Option<Position>) = (Vec::new(), None);
    loop {
        let number = made.len();
        assert_eq!(steps_before(&survey_now, position.as_ref()), number, "the position counts");
        let done = sendable(step(store, &survey_now, position.as_ref(), NEVER)).await.unwrap().unwrap();
        assert_eq!(done.first_seq, made.last().map_or(0, |before| before.last_seq + 1), "no entry is left out");
        report.findings.extend(done.report.findings.iter().cloned());
        report.checked.packs += done.report.checked.packs;
        report.checked.bytes += done.report.checked.bytes;
        report.checked.roots += done.report.checked.roots;
        let next = done.next.clone();
        made.push(done);
        let Some(next) = next else { break };
        position = Some(serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap());
        if number % 2 == 1 {
            survey_now = survey(store).await.expect("the genesis entry was there before");
        }
    }
    assert_eq!(made.len(), steps(&survey_now));
    assert_eq!(made.last().unwrap().last_seq + 1, survey_now.size(), "up to the head");
    (report, made)
}

/// The steps say what verification at once says, and read as much.
async fn assert_equal(store: &dyn Store, options: &Options, context: &str) -> Report {
    let whole = verify(store, options, |_, _| ()).await;
    let Ok(whole) = whole else {
        assert!(Survey::begin(store).await.is_err() || survey_fails(store).await, "{context}: {whole:?}");
        return Report::default();
    };
    let (stepwise, _) = pass(store, options).await;
    assert_eq!(sorted(&stepwise.findings), sorted(&whole.findings), "{context}");
    assert_eq!(stepwise.checked, whole.checked, "{context}");
    whole
}

async fn survey_fails(store: &dyn Store) -> bool {
    match Survey::begin(store).await.unwrap() {
        Begun::Log(mut survey) => survey.extend(store, NEVER).await.is_err(),
        Begun::NoGenesis(_) => false,
    }
}

fn deep() -> Options {
    Options { deep: true, ..Options::default() }
}

fn cover() -> Vec<Coverage> {
    vec![
        row("user", None, Status::Complete, None),
        row("group", None, Status::Complete, None),
        row("group", Some("members"), Status::Complete, None),
    ]
}

/// Six months with a capture every few days, entries without packs and with packs of kind a between them, one void leaf
/// that is acknowledged, and a full tile.
async fn archive() -> MemoryStore {
    let memory = MemoryStore::new();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let mut time = at("2026-01-02T00:00:00Z");
    let mut builder = ArchiveBuilder::new(store.clone(), "rolling", time).await;
    for number in 0..40u64 {
        time += SignedDuration::from_hours(24 * 4 + 5);
        let mut changes = Changes::new();
        for id in [number % 7, (number * 3) % 7] {
            let gone = number % 5 == 4 && builder.state.contains_key(&key(&format!("user/{id}")));
            let content = put(&format!(r#"{{"id":"{id}","n":{number}}}"#));
            changes.insert(key(&format!("user/{id}")), if gone { remove() } else { content });
        }
        let member = format!("user/{}", number % 3);
        let group = key("group/g");
        let held = builder
            .state
            .get(&group)
            .is_some_and(|g| g.links.get("members").is_some_and(|m| m.contains_key(&key(&member))));
        changes.insert(group, if held { unlink("members", &[&member]) } else { link("members", &[&member]) });
        builder.capture(time, changes, cover()).await;
        if number % 6 == 5 {
            keep_record(&mut builder, time).await;
        }
        if number == 20 {
            // Junk under the next number: the log goes on behind it.
            let seq = builder.appender.walker().next_seq();
            memory.tamper(&entry_name(seq), Some(b"no entry".to_vec()));
            builder.appender.catch_up().await.unwrap();
            let mut body = builder.appender.draft("void", time).unwrap();
            body.voids = Some(vec![seq]);
            builder.appender.commit(&body).await.unwrap();
        }
    }
    while builder.appender.walker().next_seq() < TILE_WIDTH + 4 {
        let mut body = builder.appender.draft("void", time).unwrap();
        body.voids = Some(Vec::new());
        builder.appender.commit(&body).await.unwrap();
    }
    memory
}

/// An entry with a pack of its own that is no capture.
async fn keep_record(builder: &mut ArchiveBuilder, time: jiff::Timestamp) {
    let mut body = builder.appender.draft("access", time).unwrap();
    let (container, segment) = (body.container.clone().unwrap(), body.segment.unwrap());
    let parts = write(&Place { container, segment, seq: body.seq }, Kind::Access, b"{\"who\":\"x\"}\n");
    for part in &parts {
        builder.appender.put_pack(part).await.unwrap();
    }
    body.count = Some(1);
    body.packs = Some(parts.into_iter().map(|part| part.reference).collect());
    builder.appender.commit(&body).await.unwrap();
}

/// Entries that open a segment, by the letter of their packs.
fn openings(blobs: &Blobs) -> Vec<u64> {
    let bases = blobs.keys().filter(|name| name.contains("-b000-"));
    bases.map(|name| name.split('/').nth(3).unwrap()[..10].parse().unwrap()).collect()
}

#[tokio::test]
async fn a_sound_archive_is_read_once_in_steps_of_a_segment() {
    let store = archive().await;
    let (report, made) = pass(&store, &deep()).await;
    assert_eq!(report.findings.iter().map(|f| f.code).collect::<Vec<_>>(), ["void-leaf"]);
    assert_eq!(made.len(), 6, "six months");
    let openings = openings(&store.snapshot());
    let ends: Vec<u64> = made[..5].iter().map(|step| step.last_seq).collect();
    assert_eq!(ends, openings[1..], "each step ends with what opens the next segment");
    assert!(made[0].begins && made[1..].iter().all(|step| !step.begins));
    assert!(made.iter().all(|step| step.report.checked.packs < report.checked.packs / 2));
    assert_equal(&store, &deep(), "sound").await;
}

/// A base that is lost makes its step fold the segment before once more, and even several in a row.
#[tokio::test]
async fn a_lost_base_changes_nothing_that_is_said() {
    let store = archive().await;
    let blobs = store.snapshot();
    let bases: Vec<&String> = blobs.keys().filter(|name| name.contains("-b000-")).collect();
    for lost in [vec![0], vec![1], vec![2, 3], vec![0, 1], vec![1, 2, 3, 4, 5], vec![5]] {
        let mut broken = blobs.clone();
        lost.iter().for_each(|base| drop(broken.remove(bases[*base])));
        let report = assert_equal(&MemoryStore::with(broken), &deep(), &format!("bases {lost:?}")).await;
        let missing = report.findings.iter().filter(|finding| finding.code == "pack-missing").count();
        assert_eq!(missing, lost.len());
    }
}

#[tokio::test]
async fn lost_entries_change_nothing_that_is_said() {
    let store = archive().await;
    let blobs = store.snapshot();
    let openings = openings(&blobs);
    let mut cases: Vec<Vec<u64>> = openings.iter().map(|opening| vec![*opening]).collect();
    cases.extend([vec![3], vec![openings[2] - 1], vec![openings[2] + 1], openings[1..3].to_vec(), openings.clone()]);
    for lost in cases {
        let mut broken = blobs.clone();
        lost.iter().for_each(|seq| drop(broken.remove(&entry_name(*seq))));
        let report = assert_equal(&MemoryStore::with(broken), &deep(), &format!("entries {lost:?}")).await;
        assert!(!report.is_ok());
    }
}

#[tokio::test]
async fn an_expired_segment_is_passed_over() {
    let store = archive().await;
    let openings = openings(&store.snapshot());
    let mut appender =
        tenure::archive::appender::Appender::open(Arc::new(store.clone()), support::signer("rolling"), None)
            .await
            .unwrap();
    for target in [openings[0], openings[2]] {
        for kind in ["expire", "expired"] {
            let mut body = appender.draft(kind, at("2033-01-01T00:00:00Z")).unwrap();
            body.target = Some(target);
            appender.commit(&body).await.unwrap();
            // In the middle of it half of the packs are gone, afterwards all of them.
            let folder = format!("/s/{target:010}/");
            let names = store.snapshot().into_keys().filter(|name| name.contains(&folder));
            let share = if kind == "expire" { 2 } else { 1 };
            for name in names.step_by(share).collect::<Vec<_>>() {
                store.tamper(&name, None);
            }
            let report = assert_equal(&store, &deep(), &format!("{kind} {target}")).await;
            assert!(report.is_ok(), "{:#?}", report.findings);
            assert!(
                report.findings.iter().any(|f| f.code == if kind == "expire" { "pack-missing" } else { "expired" })
            );
        }
    }
}

fn dice() -> ChaCha8Rng {
    let given = std::env::var("TENURE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// One to four files at a time are changed, cut, removed, swapped or added.
#[tokio::test]
async fn whatever_chance_breaks_is_told_alike() {
    let blobs = archive().await.snapshot();
    let names: Vec<&String> = blobs.keys().filter(|name| **name != entry_name(0)).collect();
    let packs: Vec<&String> = names.iter().copied().filter(|name| !name.starts_with("log/")).collect();
    let mut dice = dice();
    let mut broken_at_all = 0;
    for round in 0..16 {
        let mut broken = blobs.clone();
        let mut what = Vec::new();
        for _ in 0..dice.random_range(1..=4) {
            let among = if dice.random_range(0..3) == 0 { &names } else { &packs };
            let name = among[dice.random_range(0..among.len())];
            let other = among[dice.random_range(0..among.len())];
            let bytes = blobs[name].clone();
            let action = dice.random_range(0..6);
            what.push((name.clone(), action));
            match action {
                0 => {
                    let mut bytes = bytes;
                    let place = dice.random_range(0..bytes.len());
                    bytes[place] ^= 1 << dice.random_range(0..8u8);
                    broken.insert(name.clone(), bytes);
                }
                1 => drop(broken.insert(name.clone(), bytes[..bytes.len() / 2].to_vec())),
                2 | 3 => drop(broken.remove(name)),
                4 => {
                    broken.insert(name.clone(), blobs[other].clone());
                    broken.insert(other.clone(), bytes);
                }
                _ => drop(broken.insert(format!("{name}x"), bytes)),
            }
        }
        let report = assert_equal(&MemoryStore::with(broken), &deep(), &format!("round {round}: {what:?}")).await;
        broken_at_all += usize::from(!report.is_ok());
    }
    assert!(broken_at_all > 8, "most of it is found");
}

#[derive(serde::Deserialize)]
struct Case {
    remove: Vec<String>,
    #[serde(default)]
    trust: Option<String>,
    #[serde(default)]
    against: Option<String>,
}

fn read_into(blobs: &mut Blobs, root: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => read_into(blobs, root, &entry.path()),
            false => {
                let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                blobs.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
}

/// Every code that verification knows occurs among them.
#[tokio::test]
async fn every_broken_archive_that_is_kept_is_told_alike() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut sound = Blobs::new();
    read_into(&mut sound, &golden.join("v0"), &golden.join("v0"));
    assert_equal(&FilesystemStore::new(golden.join("v0")), &deep(), "v0").await;
    let mut count = 0;
    for folder in fs::read_dir(golden.join("broken")).unwrap().map(|entry| entry.unwrap().path()) {
        let case: Case = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
        let mut blobs = sound.clone();
        case.remove.iter().for_each(|name| drop(blobs.remove(name)));
        read_into(&mut blobs, &folder, &folder);
        blobs.remove("case.json");
        let against = case.against.map(|note| note.parse().unwrap());
        let options = Options { deep: true, trust: case.trust, against, ..Options::default() };
        assert_equal(&MemoryStore::with(blobs), &options, &folder.display().to_string()).await;
        count += 1;
    }
    assert!(count > 100, "only {count} broken archives found");
}

/// A step that is stopped anywhere says nothing, and the next one says all.
#[tokio::test]
async fn a_step_can_be_stopped_between_any_two_packs() {
    let store = archive().await;
    let walked = survey(&store).await.unwrap();
    let (_, made) = pass(&store, &deep()).await;
    let position = made[1].next.clone();
    let whole = step(&store, &walked, position.as_ref(), NEVER).await.unwrap().unwrap();
    let mut stops = 0;
    for patience in 0.. {
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= patience;
        match step(&store, &walked, position.as_ref(), &stop).await.unwrap() {
            None => stops += 1,
            Some(done) => {
                assert_eq!(done.report.findings, whole.report.findings);
                assert_eq!(done.report.checked, whole.report.checked);
                break;
            }
        }
    }
    assert!(stops as u64 > whole.report.checked.packs, "{stops} stops");
    // The walk and the check of the log can be stopped too.
    let Begun::Log(mut begun) = Survey::begin(&store).await.unwrap() else { panic!("the genesis entry is there") };
    let mut calls = 0;
    loop {
        let asked = AtomicU64::new(0);
        calls += 1;
        if begun.extend(&store, &|| asked.fetch_add(1, Ordering::Relaxed) >= 50).await.unwrap() {
            break;
        }
    }
    assert!(calls > 4 && begun.size() == walked.size(), "{calls} calls");
    assert_eq!(begun.root_at(begun.size()), walked.root_at(walked.size()));
    assert!(begun.check(&store, &deep(), &|| true).await.unwrap().is_none());
}

#[tokio::test]
async fn a_position_that_does_not_fit_begins_the_pass_anew() {
    let store = archive().await;
    let walked = survey(&store).await.unwrap();
    let first = step(&store, &walked, None, NEVER).await.unwrap().unwrap();
    let good = first.next.clone().unwrap();
    let goes_on = step(&store, &walked, Some(&good), NEVER).await.unwrap().unwrap();
    assert!(!goes_on.begins && goes_on.first_seq == good.size);
    let other_root = walked.root_at(good.size - 1).unwrap().to_string();
    for bad in [
        Position { size: good.size + 1, ..good.clone() },
        Position { size: u64::MAX, ..good.clone() },
        Position { root: Some(other_root), ..good.clone() },
        Position { root: Some("nonsense".to_owned()), ..good.clone() },
        Position { root: None, ..good.clone() },
        Position { log: "another log".to_owned(), ..good.clone() },
    ] {
        let anew = step(&store, &walked, Some(&bad), NEVER).await.unwrap().unwrap();
        assert!(anew.begins && anew.first_seq == 0, "{bad:?}");
    }
}

/// Captures and a new segment come while a pass runs: it ends at the head, and what is said of its reach stays true.
#[tokio::test]
async fn the_log_grows_during_a_pass() {
    let memory = MemoryStore::new();
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    let mut time = at("2026-01-30T00:00:00Z");
    let mut builder = ArchiveBuilder::new(store.clone(), "rolling", time).await;
    let mut reach = Reach::default();
    let mut walked = survey(&*store).await.unwrap();
    let (mut position, mut passes) = (None, 0);
    for number in 0..120u64 {
        time += SignedDuration::from_hours(30);
        let changes = Changes::from([(key("user/a"), put(&format!(r#"{{"n":{number}}}"#)))]);
        builder.capture(time, changes, cover()).await;
        if number % 2 == 0 {
            continue;
        }
        let began = time;
        assert!(walked.extend(&*store, NEVER).await.unwrap());
        let done = step(&*store, &walked, position.as_ref(), NEVER).await.unwrap().unwrap();
        assert_eq!(done.report.findings, []);
        reach.record(&done, began);
        position = done.next.clone();
        if position.is_none() {
            assert_eq!(done.last_seq + 1, walked.size(), "up to the head of that time");
            passes += 1;
            walked = survey(&*store).await.unwrap();
        }
        let since = reach.since();
        assert_eq!(since.is_some(), passes > 0, "capture {number}");
        if let Some(since) = since {
            assert!(since <= began && began.duration_since(since) < SignedDuration::from_hours(24 * 60));
        }
    }
    assert!(passes > 5, "{passes} passes");
}

/// An entry that is changed after the log was walked and before its step is a finding of the step.
#[tokio::test]
async fn what_is_changed_behind_the_walk_is_found_by_the_step() {
    let store = archive().await;
    let walked = survey(&store).await.unwrap();
    let mut file = store.snapshot()[&entry_name(3)].clone();
    file[40] ^= 1;
    store.tamper(&entry_name(3), Some(file));
    let done = step(&store, &walked, None, NEVER).await.unwrap().unwrap();
    let found: Vec<_> = done.report.findings.iter().map(|f| (f.code, f.seq)).collect();
    assert!(found.contains(&("entry-changed", Some(3))), "{found:?}");
}
