//! The fault table of the archive: crashes between the steps of a commit, doubtful answers, junk and damage in the log,
//! wrong clocks, stolen keys. Faults of reading the tenant are in `fault_reading.rs`.

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tenure::archive::appender::{AppendError, Appender};
use tenure::archive::entry::{Body, Revocation, checkpoint_name, entry_name};
use tenure::archive::note::{Checkpoint, Signer};
use tenure::archive::verify::Severity;
use tenure::capture::{CaptureError, Capturer, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::simulator::Collection;
use tenure::store::{Fault, FaultyStore, Listed, MemoryStore, Operation, Store, StoreError};
use world::{
    Hooked, ORIGIN, World, capture, content, copy_of, findings, head_of, kind_of, machine, packs, reconcile, recovery,
    said, signer, sound, verified,
};

const START: &str = "2026-06-29T00:00:00Z";

/// A world with `captures` captures, and the machine that made them.
async fn lived(seed: u64, captures: usize) -> (World, TempDir) {
    let world = World::new(seed, 40, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    for _ in 0..captures {
        (0..6).for_each(|_| world.hour());
        capture(&mut capturer).await;
    }
    (world, local)
}

/// Makes the next capture fail for good where it first creates a file whose name begins with `prefix`.
async fn crash_at(world: &World, local: &TempDir, prefix: &str) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let rehearsal = Hooked::new(Arc::new(MemoryStore::with(world.store.snapshot())), move |operation, name| {
        seen.lock().unwrap().push((operation, name.to_owned()));
        Box::pin(std::future::ready(()))
    });
    let copy = copy_of(local.path());
    capture(&mut world.open_on(Arc::new(rehearsal), copy.path()).await.unwrap()).await;
    let at = log.lock().unwrap().iter().position(|(word, name)| *word == "create" && name.starts_with(prefix)).unwrap();
    let failing = FaultyStore::failing(Arc::new(world.store.clone()), at as u64, Fault::NotDone);
    let mut capturer = world.open_on(Arc::new(failing), local.path()).await.unwrap();
    // Once the entry is committed, what fails is told beside the capture and is no failure of it.
    let captured = capturer.capture(&Request::default()).await;
    assert_eq!(captured.is_ok(), prefix == "log/k/", "{captured:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_commit_leaves_orphans_that_the_retry_makes_its_own() {
    let (world, local) = lived(31, 2).await;
    world.quiet_hour();
    assert!(world.tenant.edit(|directory| directory.soft_delete(&directory.ids(Collection::User)[7].clone())));
    crash_at(&world, &local, "log/e/").await;
    assert_eq!(world.entries().len(), 3, "nothing was committed");
    let report = verified(&world.store).await;
    let orphans = said(&report, Severity::Note);
    assert_eq!(orphans.len(), 1);
    let (code, first) = orphans.first().unwrap();
    assert!(report.is_ok() && *code == "orphan" && kind_of(first) == 'd', "{orphans:?}");
    let left: BTreeSet<String> =
        world.store.snapshot().into_keys().filter(|name| name.contains("/0000000003-d")).collect();
    let retried = capture(&mut world.open(&local).await).await.body;
    let committed: BTreeSet<String> = packs(&retried).into_iter().map(|p| p.n).filter(|n| kind_of(n) == 'd').collect();
    assert_eq!(left, committed, "the retry reuses what the crash left");
    sound(&world.store, "after the retry").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_commit_and_checkpoint_is_a_warning_until_the_next_run_signs_that_size() {
    let (world, local) = lived(32, 2).await;
    world.hour();
    crash_at(&world, &local, "log/k/").await;
    assert_eq!(world.entries().len(), 4, "it was committed");
    let report = verified(&world.store).await;
    assert_eq!(said(&report, Severity::Warning), BTreeSet::from([("head-unsigned", checkpoint_name(4))]));
    assert!(report.is_ok());
    let capturer = world.open(&local).await;
    assert!(world.store.snapshot().contains_key(&checkpoint_name(4)));
    assert_eq!(world.entries().len(), 4);
    drop(capturer);
    assert_eq!(sound(&world.store, "after the next run").await, BTreeSet::new());
}

/// An entry of no consequence.
fn small(appender: &Appender, world: &World) -> Body {
    let mut body = appender.draft("void", world.clock.now()).unwrap();
    body.voids = Some(Vec::new());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubtful_answer_to_the_commit_is_settled_by_reading_it_back() {
    let world = World::new(33, 40, START).await;
    // The first operation of `commit` is the create.
    for (fault, seq) in [(Fault::DoneButFailed, 1), (Fault::NotDone, 2)] {
        let opening = FaultyStore::counting(Arc::new(world.store.clone()));
        Appender::open(Arc::new(opening.clone()), signer(), None).await.unwrap();
        let hiccup = FaultyStore::hiccup(Arc::new(world.store.clone()), opening.operations(), fault);
        let mut appender = Appender::open(Arc::new(hiccup), signer(), None).await.unwrap();
        let body = small(&appender, &world);
        appender.commit(&body).await.unwrap();
        assert_eq!(world.entries().len(), seq + 1, "{fault:?}: equal bytes are success, absent is a retry");
    }
    // Another writer's entry is there when the answer that was lost is settled.
    let opening = FaultyStore::counting(Arc::new(world.store.clone()));
    Appender::open(Arc::new(opening.clone()), signer(), None).await.unwrap();
    let hiccup = FaultyStore::hiccup(Arc::new(world.store.clone()), opening.operations(), Fault::NotDone);
    let mut loser = Appender::open(Arc::new(hiccup), signer(), None).await.unwrap();
    let ours = small(&loser, &world);
    let mut winner = world.appender().await;
    let mut theirs = small(&winner, &world);
    theirs.tool = "another writer".to_owned();
    winner.commit(&theirs).await.unwrap();
    assert!(matches!(loser.commit(&ours).await, Err(AppendError::LostRace { seq: 3 })));
    assert_eq!(world.entries()[&3].body.tool, "another writer");
    loser.catch_up().await.unwrap();
    let next = small(&loser, &world);
    loser.commit(&next).await.unwrap();
    assert_eq!(sound(&world.store, "after the race").await, BTreeSet::new());
}

/// Files that are no entries, each in its own way.
fn junk(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    let head = world.entries().into_values().last().unwrap();
    let seq = head.body.seq + 1;
    let following = |signer: &Signer| {
        let body = Body::following(&head.body, seq, head.leaf, "gap", world.clock.now());
        Body { slots: Some(vec![START.to_owned(), START.to_owned()]), code: Some("x".to_owned()), ..body }
            .sign(signer)
            .unwrap()
    };
    let stranger = Signer::from_seed(ORIGIN, [9; 32]);
    let elsewhere = Signer::from_seed("tenure/elsewhere", [1; 32]);
    vec![
        ("nothing", Vec::new()),
        ("noise", b"\0\xff not an entry".to_vec()),
        ("longer than an entry", vec![b'x'; 100_000]),
        ("signed by a stranger", following(&stranger)),
        ("signed by the recovery key, which signs keys only", following(&recovery())),
        ("signed under another name", following(&elsewhere)),
        ("the entry before once more", world.store.snapshot()[&entry_name(seq - 1)].clone()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_in_the_place_of_the_next_entry_changes_nothing_and_is_a_finding_until_it_is_acknowledged() {
    let (world, local) = lived(34, 2).await;
    let head = 2;
    for (what, bytes) in junk(&world) {
        for count in [1u64, 2] {
            let context = format!("{what}, {count} in a row");
            let store = MemoryStore::with(world.store.snapshot());
            let world = &world;
            for seq in head + 1..=head + count {
                store.tamper(&entry_name(seq), Some(bytes.clone()));
            }
            let copy = copy_of(local.path());
            let shared: Arc<dyn Store> = Arc::new(store.clone());
            let mut capturer = world.open_on(shared.clone(), copy.path()).await.unwrap();
            for after in 1..=2 {
                let captured = capture(&mut capturer).await.body;
                assert_eq!(captured.seq, head + count + after, "{context}");
            }
            let voids: BTreeSet<_> = (head + 1..=head + count).map(|seq| ("void-leaf", entry_name(seq))).collect();
            let report = verified(&store).await;
            assert_eq!(findings(&report), voids, "{context}: {:#?}", report.findings);
            let mut appender = Appender::open(shared.clone(), signer(), None).await.unwrap();
            let mut body = appender.draft("void", world.clock.now()).unwrap();
            body.voids = Some((head + 1..=head + count).collect());
            appender.commit(&body).await.unwrap();
            let report = verified(&store).await;
            assert_eq!(findings(&report), BTreeSet::new(), "{context}");
            assert!(said(&report, Severity::Note).is_superset(&voids), "{context}");
            capture(&mut capturer).await;
            sound(&store, &context).await;
        }
    }
}

/// Acknowledging one of two leaves the other a finding; acknowledging what isn't void yet acknowledges nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_is_for_the_numbers_it_names_and_for_the_past() {
    let (world, _) = lived(35, 1).await;
    for seq in [2, 3] {
        world.store.tamper(&entry_name(seq), Some(b"junk".to_vec()));
    }
    let mut appender = world.appender().await;
    let mut body = appender.draft("void", world.clock.now()).unwrap();
    body.voids = Some(vec![2, 5]);
    appender.commit(&body).await.unwrap();
    world.store.tamper(&entry_name(5), Some(b"junk".to_vec()));
    appender.catch_up().await.unwrap();
    let body = small(&appender, &world);
    appender.commit(&body).await.unwrap();
    let expected = BTreeSet::from([("void-leaf", entry_name(3)), ("void-leaf", entry_name(5))]);
    assert_eq!(findings(&verified(&world.store).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_in_the_place_of_a_checkpoint_is_a_finding_until_a_greater_good_one_exists() {
    let (world, local) = lived(36, 1).await;
    let mut capturer = world.open(&local).await;
    let forged = Checkpoint { origin: ORIGIN.to_owned(), size: 4, root: tenure::hash::Hash::ZERO };
    let mut bad = BTreeSet::new();
    for (size, bytes) in [(3, b"junk".to_vec()), (4, forged.sign(&Signer::from_seed(ORIGIN, [9; 32])).into_bytes())] {
        world.store.tamper(&checkpoint_name(size), Some(bytes));
        world.hour();
        capture(&mut capturer).await;
        let report = verified(&world.store).await;
        bad.insert(("checkpoint-bad", checkpoint_name(size)));
        assert_eq!(findings(&report), bad);
        assert!(said(&report, Severity::Warning).contains(&("head-unsigned", checkpoint_name(size))));
    }
    capture(&mut capturer).await;
    let report = verified(&world.store).await;
    assert!(report.is_ok() && said(&report, Severity::Warning).is_empty(), "{:#?}", report.findings);
    let notes = said(&report, Severity::Note);
    assert!(notes.is_superset(&bad), "{notes:?}");
}

/// Flips one bit in the middle of a stored file.
fn damage(store: &MemoryStore, name: &str) {
    let mut bytes = store.snapshot()[name].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.tamper(name, Some(bytes));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_damaged_later_is_named_and_everything_after_it_still_verifies() {
    for (what, seq) in [("changed", 3), ("missing", 3)] {
        let (world, local) = lived(37, 5).await;
        match what {
            "changed" => damage(&world.store, &entry_name(seq)),
            _ => world.store.tamper(&entry_name(seq), None),
        }
        let code = if what == "changed" { "entry-changed" } else { "entry-missing" };
        let expected = BTreeSet::from([(code, entry_name(seq))]);
        assert_eq!(findings(&verified(&world.store).await), expected);
        // The machine that has folded that entry while it was sound goes on.
        let mut capturer = world.open(&local).await;
        world.hour();
        capture(&mut capturer).await;
        // In a new month there is a base, from which anybody knows the state again.
        (0..48).for_each(|_| world.hour());
        let opening = capture(&mut capturer).await.body;
        assert!(opening.opens_segment());
        assert_eq!(findings(&verified(&world.store).await), expected, "{what}");
        let stranger = machine();
        let fresh = world.open(&stranger).await;
        assert_eq!(fresh.index().view().unwrap().root_with(&[]).unwrap(), opening.state.root, "{what}");
        // And what happens after the base is checked again: a state root that is wrong would be found.
        let pack = packs(&opening).into_iter().find(|pack| kind_of(&pack.n) == 'b').unwrap();
        damage(&world.store, &pack.n);
        assert!(findings(&verified(&world.store).await).contains(&("pack-damaged", pack.n)));
    }
}

/// A machine that starts after the damage can't know the state between the lost entry and the next base. What it
/// captures must be the truth all the same, and no more than the truth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_never_saw_the_lost_entry_captures_the_truth() {
    let (world, local) = lived(38, 5).await;
    damage(&world.store, &entry_name(3));
    let healthy = MemoryStore::with(world.store.snapshot());
    // The tokens of the old machine, without its index: the feeds alone wouldn't tell what was lost.
    let keeps_tokens = copy_of(local.path());
    tenure::index::Index::destroy(&keeps_tokens.path().join("index")).unwrap();
    let knows = reconcile(&mut world.open_on(Arc::new(healthy), local.path()).await.unwrap()).await.body;
    for (what, place) in [("with the old tokens", keeps_tokens), ("without anything", machine())] {
        let store = MemoryStore::with(world.store.snapshot());
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut capturer = world.open_on(shared, place.path()).await.unwrap();
        let found = capture(&mut capturer).await.body;
        assert_eq!(found.state, knows.state, "{what}");
        world.quiet_hour();
        capture(&mut capturer).await;
        let report = verified(&store).await;
        assert_eq!(findings(&report), BTreeSet::from([("entry-changed", entry_name(3))]), "{what}");
        let third = machine();
        let fresh = world.open_on(Arc::new(store), third.path()).await.unwrap();
        assert_eq!(fresh.index().view().unwrap().root_with(&[]).unwrap(), knows.state.root, "{what}");
    }
}

/// Where two entries in a row are gone nothing names the leaf of the first: no root can be computed over it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_lost_two_entries_in_a_row_is_captured_into_all_the_same() {
    let (world, local) = lived(43, 5).await;
    for seq in [2, 3] {
        world.store.tamper(&entry_name(seq), None);
    }
    let expected = BTreeSet::from([2, 3].map(|seq| ("entry-missing", entry_name(seq))));
    for place in [local, machine()] {
        for _ in 0..2 {
            let mut capturer = world.open(&place).await;
            world.hour();
            let body = capture(&mut capturer).await.body;
            assert_eq!(capturer.index().view().unwrap().root_with(&[]).unwrap(), body.state.root);
        }
        let report = verified(&world.store).await;
        assert_eq!(findings(&report), expected, "{:#?}", report.findings);
    }
}

/// A process whose own clock differs from the tenant's.
async fn open_by(world: &World, local: &TempDir, clock: &ManualClock) -> Capturer {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let reader = world.reader_by(&world.tenant.url(), clock.clone());
    world.open_with(Arc::new(world.store.clone()), local.path(), reader, clock, world::options()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_keeps_no_capture_from_happening_and_decides_no_order() {
    let (world, local) = lived(39, 1).await;
    let wrong = ManualClock::new(world.clock.now());
    let mut capturer = open_by(&world, &local, &wrong).await;
    let user = world.tenant.edit(|directory| directory.ids(Collection::User)[3].clone());
    let minutes = [0i64, -90, 0, 4, 7, -6, 60 * 24 * 40, -60 * 24 * 40, 0];
    let mut last = 1;
    for (number, minutes) in minutes.into_iter().enumerate() {
        world.quiet_hour();
        let graph = world.clock.now();
        wrong.set(graph + jiff::SignedDuration::from_mins(minutes));
        let title = format!("Title {number}");
        world.tenant.edit(|directory| directory.patch(&user, serde_json::json!({ "jobTitle": title })));
        let body = capture(&mut capturer).await.body;
        assert_eq!(body.seq, last + 1);
        last = body.seq;
        assert_eq!(content(&capturer, &format!("user/{user}")).await.unwrap()["jobTitle"], *title);
        let skew = body.skew_ms.unwrap();
        // A client that waits moves its own clock by the wait.
        assert!((skew + minutes * 60_000).abs() <= 10_000, "{minutes} minutes off: {skew}");
        let off = body.query_time().duration_since(graph).abs();
        let allowed = if minutes.abs() > 5 { Duration::from_secs(10) } else { Duration::from_secs(300) };
        assert!(off.unsigned_abs() <= allowed, "{minutes} minutes off: answers to questions by time are {off} off");
        assert_eq!(body.container.as_deref(), Some("2026-06"), "a clock that is off opens no month");
    }
    assert_eq!(sound(&world.store, "after the jumps").await, BTreeSet::new());
    // The right month opens its segment however wrong the clock is.
    (0..48).for_each(|_| world.quiet_hour());
    wrong.set(START.parse().unwrap());
    let body = capture(&mut capturer).await.body;
    assert_eq!((body.container.as_deref(), body.opens_segment()), (Some("2026-07"), true));
    sound(&world.store, "after the month").await;
}

/// Signs an entry by hand, as somebody does who isn't an [`Appender`], and puts it at the head with its checkpoint.
async fn append_by_hand(world: &World, key: &Signer, kind: &str, fill: impl FnOnce(&mut Body)) -> u64 {
    let head = head_of(&world.store).await;
    let mut body = Body::following(&head.last, head.size, head.leaf.parse().unwrap(), kind, world.clock.now());
    fill(&mut body);
    world.store.create(&entry_name(head.size), &body.sign(key).unwrap()).await.unwrap();
    head.size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stolen_key_appended_is_found_once_the_recovery_key_says_from_where() {
    let (world, local) = lived(40, 2).await;
    drop(world.open(&local).await);
    let (thief, successor) = (Signer::from_seed(ORIGIN, [66; 32]), Signer::from_seed(ORIGIN, [3; 32]));
    let before = head_of(&world.store).await;
    // The thief fills a gap, adds a key of its own, goes on with it, and revokes the rightful successor in advance.
    let stolen = append_by_hand(&world, &signer(), "gap", |body| {
        let slot = "2026-06-29T13:00:00.000Z";
        (body.slots, body.code) = (Some(vec![slot.to_owned(), slot.to_owned()]), Some("stolen".to_owned()));
        body.last_slot = Some(slot.parse().unwrap());
    })
    .await;
    let added =
        append_by_hand(&world, &signer(), "key", |body| body.add = Some(vec![thief.verifier().to_string()])).await;
    let used = append_by_hand(&world, &thief, "void", |body| body.voids = Some(Vec::new())).await;
    let spiteful = append_by_hand(&world, &thief, "key", |body| {
        body.revoke = Some(vec![Revocation { id: successor.verifier().id().to_string(), from: 0 }]);
    })
    .await;
    world.store.tamper(&entry_name(spiteful + 1), Some(b"junk of the thief".to_vec()));
    let acknowledged = append_by_hand(&world, &thief, "void", |body| body.voids = Some(vec![spiteful + 1])).await;
    assert!(verified(&world.store).await.is_ok(), "nobody knows of the theft yet");
    // The recovery key revokes from the first entry that isn't ours, and names a new key.
    append_by_hand(&world, &recovery(), "key", |body| {
        body.revoke = Some(vec![Revocation { id: signer().verifier().id().to_string(), from: stolen }]);
        body.add = Some(vec![successor.verifier().to_string()]);
    })
    .await;
    let mut appender = Appender::open(Arc::new(world.store.clone()), successor.clone(), None).await.unwrap();
    let body = small(&appender, &world);
    appender.commit(&body).await.unwrap();
    let revoked = [stolen, added, used, spiteful, acknowledged].map(|seq| ("entry-revoked", entry_name(seq)));
    let mut expected = BTreeSet::from(revoked);
    expected.insert(("void-leaf", entry_name(spiteful + 1)));
    let report = verified(&world.store).await;
    assert_eq!(findings(&report), expected, "{:#?}", report.findings);
    // They are folded all the same: the slot that the thief declared a gap stays one, and the chain is whole.
    let head = head_of(&world.store).await;
    assert_eq!(head.last.last_slot, Some("2026-06-29T13:00:00Z".parse().unwrap()));
    assert_eq!(head.last.state, before.last.state);
    // Old checkpoints still hold, and the thief can't have touched what they cover.
    let options = tenure::archive::verify::Options { remembered: Some(before), ..Default::default() };
    let report = tenure::archive::verify::verify(&world.store, &options, |_, _| ()).await.unwrap();
    assert_eq!(findings(&report), expected);
}

/// A key entry by the recovery key counts even if a thief has revoked everybody; other entries by it are void.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recovery_key_signs_keys_and_nothing_else_and_cannot_be_revoked() {
    let (world, _) = lived(41, 1).await;
    append_by_hand(&world, &signer(), "key", |body| {
        let id = recovery().verifier().id().to_string();
        body.revoke = Some(vec![Revocation { id, from: 0 }]);
    })
    .await;
    append_by_hand(&world, &recovery(), "key", |body| body.add = Some(Vec::new())).await;
    let report = verified(&world.store).await;
    assert!(report.is_ok(), "{:#?}", report.findings);
    let void = append_by_hand(&world, &recovery(), "void", |body| body.voids = Some(Vec::new())).await;
    assert_eq!(findings(&verified(&world.store).await), BTreeSet::from([("void-leaf", entry_name(void))]));
}

/// A thief that rewrites instead of appending: another chain of the same length under the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_tail_is_a_fork_to_whoever_kept_a_checkpoint_or_remembers_the_head() {
    let (world, _) = lived(42, 2).await;
    let kept = String::from_utf8(world.store.snapshot()[&checkpoint_name(3)].clone()).unwrap();
    let remembered = head_of(&world.store).await;
    for name in [entry_name(2), checkpoint_name(3)] {
        world.store.tamper(&name, None);
    }
    let mut appender = world.appender().await;
    let body = small(&appender, &world);
    appender.commit(&body).await.unwrap();
    assert!(verified(&world.store).await.is_ok(), "the archive alone can't tell");
    let base = tenure::archive::verify::Options::default();
    for options in [
        tenure::archive::verify::Options { against: Some(kept.parse().unwrap()), ..base.clone() },
        tenure::archive::verify::Options { remembered: Some(remembered.clone()), ..base },
    ] {
        let report = tenure::archive::verify::verify(&world.store, &options, |_, _| ()).await.unwrap();
        assert_eq!(findings(&report).into_iter().map(|(code, _)| code).collect::<Vec<_>>(), ["log-forked"]);
    }
    let opened = Appender::open(Arc::new(world.store.clone()), signer(), Some(&remembered)).await;
    assert!(matches!(opened, Err(AppendError::Truncated { seq: 2 })), "the writer that remembers doesn't go on");
}

/// A disk that takes `left` more files and then is full.
#[derive(Debug)]
struct FullDisk {
    inner: MemoryStore,
    left: AtomicU64,
}

impl Store for FullDisk {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        let is_full = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err();
        match is_full {
            true => Box::pin(async move {
                let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Err(StoreError::Full { name: name.to_owned(), source })
            }),
            false => self.inner.create(name, bytes),
        }
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        self.inner.get(name)
    }

    fn get_range<'a>(&'a self, name: &'a str, range: std::ops::Range<u64>) -> Operation<'a, Vec<u8>> {
        self.inner.get_range(name, range)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        self.inner.list(prefix, after)
    }
}

/// Whenever the disk fills up, nothing is half committed, nothing committed is lost, the error says both and is not
/// tried again in vain; with room again the same capture goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_commits_nothing_and_loses_nothing() {
    let (world, local) = lived(47, 2).await;
    world.hour();
    let before = world.entries().len();
    for left in 0..2 {
        let disk = FullDisk { inner: world.store.clone(), left: AtomicU64::new(left) };
        let mut capturer = world.open_on(Arc::new(disk), local.path()).await.unwrap();
        let error = capturer.capture(&Request::default()).await.unwrap_err();
        let full = matches!(&error, CaptureError::Append(AppendError::Store(StoreError::Full { .. })));
        assert!(full, "{left}: {error:?}");
        drop(capturer);
        assert_eq!(world.entries().len(), before, "{left}");
        sound(&world.store, "a full disk").await;
    }
    capture(&mut world.open(&local).await).await;
    assert_eq!(world.entries().len(), before + 1);
    sound(&world.store, "room again").await;
}
