//! Copies: cut off anywhere they are archives, they go on where they stopped, nothing in them is overwritten, and what
//! they are proved by sees a changed byte.

mod support;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use support::{ArchiveBuilder, Changes, at, key, link, put, row, signer};
use tenure::archive::appender::Appender;
use tenure::archive::copy::{CopyError, CopyReport, Difference, LeftOut, Position, Reason, Side, compare, step};
use tenure::archive::entry::{Coverage, Status, entry_name};
use tenure::archive::verify::{Options as VerifyOptions, verify};
use tenure::clock::{Clock, ManualClock};
use tenure::store::{Fault, FaultyStore, MemoryStore, Store};
use world::Hooked;

const TENANT: &str = "contoso.example";

type Blobs = BTreeMap<String, Vec<u8>>;

fn cover() -> Vec<Coverage> {
    let rows = [("user", None), ("group", None), ("group", Some("members"))];
    rows.map(|(collection, relation)| row(collection, relation, Status::Complete, None)).into()
}

/// Three months with changes, entries of other kinds, a file that is no entry, and an orphan.
async fn archive() -> Blobs {
    let store = MemoryStore::new();
    let mut builder = ArchiveBuilder::new(Arc::new(store.clone()), TENANT, at("2026-05-10T00:00:00Z")).await;
    let mut number = 0;
    for month in 5..8 {
        for day in [10, 11] {
            number += 1;
            let name = format!("user/{number}");
            let mut changes = Changes::from([(key(&name), put(&format!("{{\"displayName\":\"User {number}\"}}")))]);
            changes.insert(key("group/g"), link("members", &[&name]));
            builder.capture(at(&format!("2026-{month:02}-{day}T01:00:00Z")), changes, cover()).await;
        }
        let body = builder.appender.draft("access", at("2026-08-01T00:00:00Z")).unwrap();
        builder.appender.commit(&body).await.unwrap();
    }
    store.create("2026-05/s/0000000001/0000000009-d000-orphan.ndz", b"left by a crash").await.unwrap();
    store.create("log/w/0000000003/c-00", b"what a witness gave").await.unwrap();
    let junk = entry_name(builder.appender.walker().next_seq());
    store.create(&junk, b"no entry").await.unwrap();
    let mut appender = open(&store).await;
    let mut body = appender.draft("void", at("2026-08-01T00:00:00Z")).unwrap();
    body.voids = Some(vec![body.seq - 1]);
    appender.commit(&body).await.unwrap();
    store.snapshot()
}

async fn open(store: &MemoryStore) -> Appender {
    Appender::open(Arc::new(store.clone()), signer(TENANT), None).await.unwrap()
}

async fn bring(from: &dyn Store, to: &dyn Store, position: &mut Position) -> Result<CopyReport, CopyError> {
    step(from, to, position, |_, _| ()).await
}

/// What a whole copy holds: everything but the orphan.
fn expected(blobs: &Blobs) -> Blobs {
    blobs
        .iter()
        .filter(|(name, _)| !name.contains("orphan"))
        .map(|(name, bytes)| (name.clone(), bytes.clone()))
        .collect()
}

#[tokio::test]
async fn a_copy_is_the_archive_and_is_proved_to_be() {
    let blobs = archive().await;
    let (from, to) = (MemoryStore::with(blobs.clone()), MemoryStore::new());
    let mut position = Position::new();
    let report = bring(&from, &to, &mut position).await.unwrap();
    assert_eq!(to.snapshot(), expected(&blobs));
    assert_eq!((report.entries, report.size, report.lag, report.left_out.len()), (12, 12, 0, 0));
    let found = compare(&from, &to, |_, _| ()).await.unwrap();
    assert_eq!((found.differences.len(), found.files as usize, found.orphans), (0, to.snapshot().len(), 1));
    assert_eq!(found.bytes as usize, to.snapshot().values().map(Vec::len).sum::<usize>());

    // One bit in any file, a file too few, a file too many: each is seen.
    for (name, bytes) in to.snapshot() {
        let mut changed = bytes.clone();
        changed[0] ^= 1;
        for (bytes, side) in [(Some(changed), Side::Both), (None, Side::Archive)] {
            let other = MemoryStore::with(to.snapshot());
            other.tamper(&name, bytes);
            let found = compare(&from, &other, |_, _| ()).await.unwrap().differences;
            assert_eq!(found, [Difference { name: name.clone(), side }]);
        }
    }
    let more = MemoryStore::with(to.snapshot());
    more.create("log/k/0000000099", b"x").await.unwrap();
    let found = compare(&from, &more, |_, _| ()).await.unwrap().differences;
    assert_eq!(found, [Difference { name: "log/k/0000000099".into(), side: Side::Copy }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_cut_off_at_any_operation_is_an_archive_and_goes_on() {
    let blobs = archive().await;
    let from: Arc<dyn Store> = Arc::new(MemoryStore::with(blobs.clone()));
    let counting = FaultyStore::counting(Arc::new(MemoryStore::new()));
    bring(&*from, &counting, &mut Position::new()).await.unwrap();
    println!("{} operations on the copy", counting.operations());
    for operation in 0..counting.operations() {
        for fault in [Fault::NotDone, Fault::DoneButFailed] {
            let context = format!("operation {operation}, {fault:?}");
            let to = MemoryStore::new();
            let mut position = Position::new();
            let failing = FaultyStore::failing(Arc::new(to.clone()), operation, fault);
            assert!(bring(&*from, &failing, &mut position).await.is_err(), "{context}");
            if to.snapshot().keys().any(|name| name.starts_with("log/e/")) {
                let options = VerifyOptions { deep: true, ..VerifyOptions::default() };
                let report = verify(&to, &options, |_, _| ()).await.unwrap();
                let wrong: Vec<_> = report.findings.iter().filter(|finding| finding.code != "void-leaf").collect();
                let allowed = ["head-unsigned", "checkpoint-missing", "orphan"];
                assert!(wrong.iter().all(|finding| allowed.contains(&finding.code)), "{context}: {wrong:#?}");
            }
            // In the same process, and in another that remembers nothing or what was saved.
            let cut = to.snapshot();
            let saved = position.remembered();
            let other = saved.as_ref().map_or_else(Position::new, Position::resume);
            for mut position in [position, Position::new(), other] {
                let to = MemoryStore::with(cut.clone());
                let report = bring(&*from, &to, &mut position).await.unwrap();
                assert_eq!((report.size, report.lag), (12, 0), "{context}");
                assert_eq!(to.snapshot(), expected(&blobs), "{context}");
            }
        }
    }
    // A source that fails ends the step, and nothing is left out for it.
    let counting = FaultyStore::counting(from.clone());
    bring(&counting, &MemoryStore::new(), &mut Position::new()).await.unwrap();
    for operation in 0..counting.operations() {
        let (to, mut position) = (MemoryStore::new(), Position::new());
        let failing = FaultyStore::failing(from.clone(), operation, Fault::NotDone);
        assert!(bring(&failing, &to, &mut position).await.is_err(), "operation {operation}");
        let report = bring(&*from, &to, &mut position).await.unwrap();
        assert_eq!((report.left_out.len(), to.snapshot() == expected(&blobs)), (0, true), "operation {operation}");
    }
}

#[tokio::test]
async fn other_bytes_at_the_destination_are_an_error_and_stay() {
    let blobs = archive().await;
    let from = MemoryStore::with(blobs.clone());
    for name in expected(&blobs).keys().filter(|name| !name.contains("/w/")) {
        let to = MemoryStore::new();
        to.create(name, b"other bytes").await.unwrap();
        let refused = bring(&from, &to, &mut Position::new()).await;
        // A name alone is believed for what is derived from entries; the proof at the end sees it.
        let derived = ["log/k/", "log/w/", "log/tile/"].iter().any(|folder| name.starts_with(folder));
        match refused {
            Err(CopyError::Differs { name: found }) => assert_eq!(found, *name),
            Ok(_) if derived => assert_eq!(compare(&from, &to, |_, _| ()).await.unwrap().differences.len(), 1),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(to.get(name).await.unwrap(), b"other bytes");
    }
    // The archive of somebody else, and a copy that is ahead.
    let other = MemoryStore::new();
    ArchiveBuilder::new(Arc::new(other.clone()), "other.example", at("2026-05-10T00:00:00Z")).await;
    let refused = bring(&from, &other, &mut Position::new()).await.unwrap_err();
    assert!(matches!(refused, CopyError::Differs { .. }) && refused.is_integrity());
    let refused = bring(&other, &from, &mut Position::new()).await.unwrap_err();
    assert!(matches!(refused, CopyError::Ahead { archive: 0, copy: 11 }), "{refused}");
}

#[tokio::test]
async fn what_is_damaged_is_left_out_and_follows_once_it_is_restored() {
    let blobs = archive().await;
    let packs: Vec<String> =
        blobs.keys().filter(|name| name.contains("/s/") && !name.contains("orphan")).cloned().collect();
    for (name, reason) in packs.iter().flat_map(|name| [(name, Reason::Damaged), (name, Reason::Missing)]) {
        let from = MemoryStore::with(blobs.clone());
        let damage = (reason == Reason::Damaged).then(|| {
            let mut bytes = blobs[name].clone();
            bytes[5] ^= 1;
            bytes
        });
        from.tamper(name, damage);
        let to = MemoryStore::new();
        let report = bring(&from, &to, &mut Position::new()).await.unwrap();
        let [LeftOut { name: left, reason: why, .. }] = report.left_out.as_slice() else { panic!("{report:?}") };
        assert_eq!((left, *why), (name, reason));
        let mut without = expected(&blobs);
        without.remove(name);
        assert_eq!(to.snapshot(), without, "every entry is there, the damaged pack is not");
        from.tamper(name, Some(blobs[name].clone()));
        assert_eq!(bring(&from, &to, &mut Position::new()).await.unwrap().left_out, []);
        assert_eq!(to.snapshot(), expected(&blobs));
    }
    // An entry that isn't what was signed: left out, what follows is copied, and it is filled in later.
    let from = MemoryStore::with(blobs.clone());
    from.tamper(&entry_name(3), Some(b"changed".to_vec()));
    let to = MemoryStore::new();
    let mut position = Position::new();
    let report = bring(&from, &to, &mut position).await.unwrap();
    let left: BTreeSet<&str> = report.left_out.iter().map(|left| left.name.as_str()).collect();
    assert!(left.contains(entry_name(3).as_str()), "{left:?}");
    assert!(to.get(&entry_name(4)).await.is_ok());
    from.tamper(&entry_name(3), Some(blobs[&entry_name(3)].clone()));
    assert_eq!(bring(&from, &to, &mut Position::new()).await.unwrap().left_out, []);
    assert_eq!(to.snapshot(), expected(&blobs));
}

/// Counts the requests on both sides.
fn counted(store: &MemoryStore, count: &Arc<AtomicU64>) -> Hooked {
    let count = count.clone();
    Hooked::new(Arc::new(store.clone()), move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    })
}

#[tokio::test]
async fn a_mirror_in_step_costs_little_lags_when_it_is_away_and_catches_up() {
    let clock = ManualClock::new(at("2026-05-10T00:00:00Z"));
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    let mut builder = ArchiveBuilder::new(Arc::new(from.clone()), TENANT, clock.now()).await;
    let count = Arc::new(AtomicU64::new(0));
    let (source, mirror) = (counted(&from, &count), counted(&to, &count));
    let mut position = Position::new();
    let mut number = 0;
    let mut capture = async || {
        number += 1;
        clock.advance(std::time::Duration::from_secs(3600));
        let changes = [(key(&format!("user/{number}")), put("{}"))].into();
        builder.capture(clock.now(), changes, cover()).await;
    };
    for _ in 0..5 {
        capture().await;
        bring(&source, &mirror, &mut position).await.unwrap();
        assert_eq!(to.snapshot(), from.snapshot());
    }
    let requests = |count: &Arc<AtomicU64>| count.swap(0, Ordering::SeqCst);
    requests(&count);
    let report = bring(&source, &mirror, &mut position).await.unwrap();
    assert_eq!((report.entries, report.size, requests(&count)), (0, 6, 3), "nothing new");
    capture().await;
    bring(&source, &mirror, &mut position).await.unwrap();
    let once = requests(&count);
    assert_eq!(once, 11, "requests for an hour with one pack");

    // Away for three captures.
    for hours in 1..4 {
        capture().await;
        let away = FaultyStore::failing(Arc::new(to.clone()), 0, Fault::NotDone);
        assert!(matches!(bring(&source, &away, &mut position).await, Err(CopyError::Destination(_))));
        assert_eq!(6 + hours + 1 - position.size(), hours);
    }
    // Another process goes on from what was remembered.
    let mut position = Position::resume(&position.remembered().unwrap());
    requests(&count);
    let report = bring(&source, &mirror, &mut position).await.unwrap();
    assert_eq!((report.entries, report.lag, to.snapshot() == from.snapshot()), (3, 0, true));
    let catching_up = requests(&count);
    assert!(catching_up <= 3 * once, "{catching_up} requests");
    // A mirror that lost everything is made again from the beginning; one of an archive that was rewritten is refused.
    let empty = MemoryStore::new();
    bring(&from, &empty, &mut position).await.unwrap();
    assert_eq!(empty.snapshot(), from.snapshot());
    from.tamper(&entry_name(9), Some(b"rewritten".to_vec()));
    assert!(matches!(bring(&from, &empty, &mut position).await, Err(CopyError::Rewritten { seq: 9 })));
}

#[tokio::test]
async fn an_archive_with_ended_segments_is_copied_without_them() {
    let blobs = archive().await;
    let (from, to) = (MemoryStore::with(blobs), MemoryStore::new());
    let mut appender = open(&from).await;
    for kind in ["expire", "expired"] {
        let mut body = appender.draft(kind, at("2040-01-01T00:00:00Z")).unwrap();
        (body.target, body.range, body.count) = (Some(1), Some(vec![1, 3]), Some(0));
        appender.commit(&body).await.unwrap();
        if kind == "expire" {
            // Some of it is gone, some isn't yet.
            let first = from.snapshot().into_keys().find(|name| name.starts_with("2026-05/")).unwrap();
            from.tamper(&first, None);
            let half = MemoryStore::new();
            assert_eq!(bring(&from, &half, &mut Position::new()).await.unwrap().left_out, []);
        }
    }
    // What is left of it isn't brought to life in another place.
    let report = bring(&from, &to, &mut Position::new()).await.unwrap();
    assert_eq!(report.left_out, []);
    assert!(to.snapshot().keys().all(|name| !name.starts_with("2026-05/")));
    assert_eq!(compare(&from, &to, |_, _| ()).await.unwrap().differences, []);
    assert!(verify(&to, &VerifyOptions::default(), |_, _| ()).await.unwrap().is_ok());
}

/// What nobody knows yet to be an entry waits until the log goes on after it.
#[tokio::test]
async fn a_file_after_the_head_is_not_copied_before_its_time() {
    let store = MemoryStore::new();
    let mut builder = ArchiveBuilder::new(Arc::new(store.clone()), TENANT, at("2026-05-10T00:00:00Z")).await;
    builder.capture(at("2026-05-10T01:00:00Z"), Changes::new(), cover()).await;
    store.create(&entry_name(2), b"junk").await.unwrap();
    let (to, mut position) = (MemoryStore::new(), Position::new());
    let report = bring(&store, &to, &mut position).await.unwrap();
    assert_eq!((report.size, report.lag, to.get(&entry_name(2)).await.is_err()), (2, 1, true));
    let mut appender = open(&store).await;
    let body = appender.draft("access", at("2026-05-10T02:00:00Z")).unwrap();
    appender.commit(&body).await.unwrap();
    let report = bring(&store, &to, &mut position).await.unwrap();
    assert_eq!((report.size, report.lag, to.snapshot() == store.snapshot()), (4, 0, true));
}
