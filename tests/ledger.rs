//! The own-use log: in the chain once, whatever crashes or floods.
//!
//! No test in here starts a process: one that is just being started holds this one's locks for a moment.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::*;
use tenure::archive::appender::Appender;
use tenure::archive::copy::{Position, step};
use tenure::archive::entry::{Entry, Status};
use tenure::archive::verify::{Options, Severity, verify};
use tenure::clock::ManualClock;
use tenure::ledger::{Entered, Ledger, Outcome, RecordId, Use, Via, Who, records_of};
use tenure::store::{Fault, FaultyStore, MemoryStore, Store};

const START: &str = "2026-08-31T09:30:00Z";

fn clock() -> ManualClock {
    ManualClock::new(at(START))
}

fn used(name: &str) -> Use {
    Use {
        who: Who::System { uid: 7, name: None, login: None },
        via: Via::Cli,
        operation: "show".into(),
        parameters: json!({ "name": name }).as_object().unwrap().clone(),
        outcome: Outcome::Answered,
        answer: None,
    }
}

/// An archive with a capture, and its writer.
async fn archive(store: Arc<dyn Store>) -> Appender {
    let mut builder = ArchiveBuilder::new(store, "t", at(START)).await;
    let cover = vec![row("user", None, Status::Complete, None)];
    let changes = [(key("user/a"), put(r#"{"id":"a"}"#))].into();
    builder.capture(at("2026-08-31T10:00:00Z"), changes, cover).await;
    builder.appender
}

/// The records in the chain by entry, as somebody finds them who knows nothing but the archive.
async fn in_chain(store: &dyn Store) -> BTreeMap<u64, Vec<String>> {
    let mut found = BTreeMap::new();
    for blob in store.list("log/e/", "").await.unwrap() {
        let entry = Entry::parse(&store.get(&blob.name).await.unwrap()).unwrap();
        if entry.body.kind == "access" {
            let records = records_of(store, &entry.body).await.unwrap();
            assert_eq!(entry.body.count, Some(records.len() as u64));
            found.insert(entry.body.seq, records.iter().map(|record| record.id.to_string()).collect());
        }
    }
    found
}

fn ids(found: &BTreeMap<u64, Vec<String>>) -> Vec<String> {
    found.values().flatten().cloned().collect()
}

async fn check(store: &dyn Store) {
    let report = verify(store, &Options { deep: true, ..Options::default() }, |_, _| {}).await.unwrap();
    let bad: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Finding).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

fn spool_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(directory.join("uses")).into_iter().flatten().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "ndjson")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_is_spooled_comes_into_the_chain_once_in_the_order_of_its_times() {
    let (local, clock) = (tempfile::tempdir().unwrap(), clock());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut appender = archive(store.clone()).await;
    let open = || Ledger::open(local.path(), Arc::new(clock.clone()));
    let (one, two) = (open(), open());
    let mut expected = Vec::new();
    for number in 0..10 {
        clock.advance(Duration::from_secs(1));
        let ledger = if number % 2 == 0 { &one } else { &two };
        expected.push(ledger.record(&used(&number.to_string())).unwrap().to_string());
    }
    assert_eq!(spool_files(local.path()).len(), 2, "a file each");
    // Both still run: their files are taken in part and stay.
    let third = open();
    let entered = third.commit(&mut appender).await.unwrap();
    assert_eq!(entered, Entered { records: 10, seq: Some(2) });
    assert_eq!(in_chain(&*store).await, BTreeMap::from([(2, expected.clone())]));
    assert!(third.spooled().unwrap().is_empty());
    assert_eq!(third.commit(&mut appender).await.unwrap(), Entered::default(), "nothing spooled, no entry");
    let late = one.record(&used("late")).unwrap().to_string();
    drop((one, two));
    assert_eq!(third.commit(&mut appender).await.unwrap(), Entered { records: 1, seq: Some(3) });
    assert_eq!(in_chain(&*store).await[&3], [late]);
    assert!(spool_files(local.path()).is_empty(), "who ended leaves nothing");
    // A copy has them too.
    let copy = MemoryStore::default();
    step(&*store, &copy, &mut Position::new(), |_, _| ()).await.unwrap();
    assert_eq!(in_chain(&copy).await, in_chain(&*store).await);
    for store in [&*store, &copy] {
        check(store).await;
    }
    // Who brings records there leaves no file of its own.
    third.record(&used("own")).unwrap();
    assert_eq!(third.commit(&mut appender).await.unwrap().records, 1);
    assert!(spool_files(local.path()).is_empty());
}

/// What a process is asked within a millisecond was once told in an order by chance, that of the records' ids.
#[tokio::test]
async fn what_is_asked_within_a_millisecond_keeps_its_order() {
    let local = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut appender = archive(store.clone()).await;
    let ledger = Ledger::open(local.path(), Arc::new(clock()));
    let asked: Vec<_> = (0..20).map(|number| ledger.record(&used(&number.to_string())).unwrap().to_string()).collect();
    let spooled: Vec<_> = ledger.spooled().unwrap().iter().map(|record| record.id.to_string()).collect();
    assert_eq!(spooled, asked);
    ledger.commit(&mut appender).await.unwrap();
    assert_eq!(ids(&in_chain(&*store).await), asked);
}

#[tokio::test]
async fn before_the_first_capture_records_wait() {
    let (local, clock) = (tempfile::tempdir().unwrap(), clock());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut builder = ArchiveBuilder::new(store.clone(), "t", at(START)).await;
    let ledger = Ledger::open(local.path(), Arc::new(clock));
    let id = ledger.record(&used("early")).unwrap().to_string();
    assert_eq!(ledger.commit(&mut builder.appender).await.unwrap(), Entered::default());
    assert_eq!(ledger.spooled().unwrap().len(), 1);
    let cover = vec![row("user", None, Status::Complete, None)];
    builder.capture(at("2026-08-31T10:00:00Z"), Changes::new(), cover).await;
    ledger.commit(&mut builder.appender).await.unwrap();
    assert_eq!(ids(&in_chain(&*store).await), [id]);
}

/// What a crash leaves behind the last line end is no record; what isn't a record at all is kept for a person to see.
#[tokio::test]
async fn torn_and_foreign_lines_cost_nothing_else() {
    let (local, clock) = (tempfile::tempdir().unwrap(), clock());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut appender = archive(store.clone()).await;
    let ledger = Ledger::open(local.path(), Arc::new(clock.clone()));
    let mut expected = BTreeSet::new();
    for tail in [&b"{\"id\":\"torn"[..], b"\0\0\0\0", b"no record\n", b""] {
        let other = Ledger::open(local.path(), Arc::new(clock.clone()));
        let before: BTreeSet<_> = spool_files(local.path()).into_iter().collect();
        expected.insert(other.record(&used("kept")).unwrap().to_string());
        drop(other);
        let file = spool_files(local.path()).into_iter().find(|file| !before.contains(file)).unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.extend_from_slice(tail);
        std::fs::write(&file, bytes).unwrap();
    }
    ledger.commit(&mut appender).await.unwrap();
    assert_eq!(ids(&in_chain(&*store).await).into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(spool_files(local.path()).is_empty());
    let kept: Vec<_> = std::fs::read_dir(local.path().join("uses"))
        .unwrap()
        .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("damaged-"))
        .collect();
    assert_eq!(kept.len(), 1);
}

#[cfg(unix)]
#[test]
fn the_spool_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let local = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&local.path().join("state"), Arc::new(clock()));
    assert!(!local.path().join("state").exists(), "opening makes nothing");
    ledger.record(&used("x")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&local.path().join("state/uses")), 0o700);
    assert_eq!(mode(&spool_files(&local.path().join("state"))[0]), 0o600);
}

/// A file that somebody removed under a running process takes no record with it that comes later.
#[cfg(unix)]
#[test]
fn a_removed_file_is_noticed() {
    let local = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(local.path(), Arc::new(clock()));
    ledger.record(&used("one")).unwrap();
    std::fs::remove_file(&spool_files(local.path())[0]).unwrap();
    let id = ledger.record(&used("two")).unwrap();
    let found: Vec<RecordId> = ledger.spooled().unwrap().iter().map(|record| record.id).collect();
    assert_eq!(found, [id]);
}

#[test]
fn a_directory_that_cannot_be_written_records_nothing_and_says_so() {
    let local = tempfile::tempdir().unwrap();
    std::fs::write(local.path().join("uses"), "in the way").unwrap();
    let ledger = Ledger::open(local.path(), Arc::new(clock()));
    let error = ledger.record(&used("Adele Vance")).unwrap_err();
    assert!(!error.to_string().contains("Adele"), "{error}");
}

#[tokio::test]
async fn a_flood_of_strangers_is_a_record_a_minute() {
    let (local, clock) = (tempfile::tempdir().unwrap(), clock());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut appender = archive(store.clone()).await;
    let ledger = Ledger::open(local.path(), Arc::new(clock.clone()));
    for _ in 0..10 * 60 {
        for _ in 0..500 {
            ledger.count_denial(Via::Http, "no-token");
        }
        clock.advance(Duration::from_secs(1));
        ledger.settle().unwrap();
    }
    ledger.count_denial(Via::Http, "expired");
    ledger.close().unwrap();
    ledger.commit(&mut appender).await.unwrap();
    let entry = Entry::parse(&store.get("log/e/0000000002").await.unwrap()).unwrap();
    let records = records_of(&*store, &entry.body).await.unwrap();
    assert_eq!(records.iter().map(|record| record.denials().unwrap()).sum::<u64>(), 10 * 60 * 500 + 1);
    assert!(records.len() <= 12, "{} records for ten minutes", records.len());
    let bytes: u64 = entry.body.packs.iter().flatten().map(|pack| pack.len).sum();
    assert!(bytes < 2000, "{bytes} bytes for 300,000 denials");
}

/// The store fails at each of its operations in turn and from there on, once before and once after doing what it was asked
/// for. Afterwards every record stands in the chain exactly once.
#[tokio::test]
async fn a_store_that_fails_anywhere_neither_loses_nor_doubles_a_record() {
    let mut disturbed = 0;
    for fault in [Fault::NotDone, Fault::DoneButFailed] {
        for failing in 0.. {
            let story = format!("operation {failing}, {fault:?}");
            let (local, clock) = (tempfile::tempdir().unwrap(), clock());
            let memory: Arc<dyn Store> = Arc::new(MemoryStore::default());
            drop(archive(memory.clone()).await);
            let ledger = Ledger::open(local.path(), Arc::new(clock.clone()));
            let mut expected: Vec<String> =
                (0..3).map(|number| ledger.record(&used(&number.to_string())).unwrap().to_string()).collect();
            let counting = FaultyStore::counting(memory.clone());
            drop(Appender::open(Arc::new(counting.clone()), signer("t"), None).await.unwrap());
            let store = FaultyStore::failing(memory.clone(), counting.operations() + failing, fault);
            let mut appender = Appender::open(Arc::new(store), signer("t"), None).await.unwrap();
            let failed = ledger.commit(&mut appender).await.is_err();
            // The process ends here; another goes on later, with one record more.
            drop((appender, ledger));
            let ledger = Ledger::open(local.path(), Arc::new(clock.clone()));
            clock.advance(Duration::from_secs(1));
            expected.push(ledger.record(&used("later")).unwrap().to_string());
            let mut appender = Appender::open(memory.clone(), signer("t"), None).await.unwrap();
            ledger.commit(&mut appender).await.unwrap();
            let mut found = ids(&in_chain(&*memory).await);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{story}");
            check(&*memory).await;
            disturbed += u64::from(failed);
            // The checkpoint, and what follows it, fails without failing the commit.
            if failing > 12 {
                break;
            }
        }
    }
    assert!(disturbed >= 6, "{disturbed} runs failed");
}
