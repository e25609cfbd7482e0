//! Crashes at every operation of the store: what was committed stays, what wasn't leaves nothing but orphans, and the
//! next run ends with the archive that an undisturbed run would have written.

#[path = "support/world.rs"]
mod world;
#[path = "support/worm.rs"]
mod worm;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tenure::archive::appender::{AppendError, Appender};
use tenure::archive::verify::{Options as VerifyOptions, verify};
use tenure::archive::walker::WalkError;
use tenure::capture::{CaptureError, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::index::Index;
use tenure::store::{Fault, FaultyStore, MemoryStore, Store};
use world::{Hooked, World, assert_same_archive, blobs, copy_of, machine, signer, sound};
use worm::{Policy, Worm};

const USERS: usize = 40;

/// How the store fails: for good from one operation on, or once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    MachineLost,
    AnswerLost,
}

fn faulty(inner: Arc<dyn Store>, how: How, at: u64, fault: Fault) -> FaultyStore {
    match how {
        How::MachineLost => FaultyStore::failing(inner, at, fault),
        How::AnswerLost => FaultyStore::hiccup(inner, at, fault),
    }
}

/// Where the archives of a sweep lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    /// A storage account whose policies are in force.
    Azure,
}

impl Place {
    /// A store that holds `blobs`; `None`, said aloud, where Azurite isn't there.
    async fn holding(self, blobs: &BTreeMap<String, Vec<u8>>) -> Option<Arc<dyn Store>> {
        if self == Place::Memory {
            return Some(Arc::new(MemoryStore::with(blobs.clone())));
        }
        let clock = ManualClock::new("2026-07-01T00:00:00Z".parse().unwrap());
        let store = Worm::start(&["log", "2026-06", "2026-07"], Policy::locked(7), &clock).await?.store();
        for (name, bytes) in blobs {
            store.create(name, bytes).await.unwrap();
        }
        Some(Arc::new(store))
    }

    /// Whether a fault at this operation is worth its time: over the wire not every read is.
    fn tries(self, at: usize, is_write: bool) -> bool {
        self == Place::Memory || is_write || at.is_multiple_of(6)
    }
}

/// A process starts on `machine`, captures `slot` and ends.
async fn run(world: &World, store: Arc<dyn Store>, machine: &Path, slot: Timestamp) -> Result<(), CaptureError> {
    let mut capturer = world.open_on(store, machine).await?;
    capturer.capture(&Request { slot: Some(slot), ..Request::default() }).await.map(|_| ())
}

/// The operations of an undisturbed run of `slot`: by number, whether it writes.
async fn count(
    world: &World,
    before: &BTreeMap<String, Vec<u8>>,
    machine: &Path,
    slot: Timestamp,
) -> (Vec<bool>, BTreeMap<String, Vec<u8>>) {
    let store = MemoryStore::with(before.clone());
    let writes = Arc::new(Mutex::new(Vec::new()));
    let seen = writes.clone();
    let hooked = Hooked::new(Arc::new(store.clone()), move |operation, _| {
        seen.lock().unwrap().push(operation == "create");
        Box::pin(std::future::ready(()))
    });
    let counting = FaultyStore::counting(Arc::new(hooked));
    run(world, Arc::new(counting.clone()), copy_of(machine).path(), slot).await.unwrap();
    let writes = writes.lock().unwrap().clone();
    assert_eq!(writes.len() as u64, counting.operations());
    (writes, store.snapshot())
}

/// Fails one capture of `slot` at every operation in every form, and requires that a second run leads to the archive
/// of an undisturbed one. `machine` is the local state before.
async fn sweep(world: &World, place: Place, machine: &Path, slot: Timestamp) {
    let before = world.store.snapshot();
    let (operations, expected) = count(world, &before, machine, slot).await;
    println!("{} operations, {} of them writes", operations.len(), operations.iter().filter(|write| **write).count());
    let mut committed_by_the_first = 0;
    let mut cases = 0u32;
    for (at, is_write) in operations.iter().enumerate().filter(|(at, is_write)| place.tries(*at, **is_write)) {
        // A read that isn't done and one whose answer is lost are the same to the reader.
        let faults: &[Fault] = if *is_write { &[Fault::NotDone, Fault::DoneButFailed] } else { &[Fault::NotDone] };
        for (how, fault) in
            [How::MachineLost, How::AnswerLost].into_iter().flat_map(|how| faults.iter().map(move |f| (how, *f)))
        {
            cases += 1;
            let context = format!("operation {at} of {}, {fault:?}, {how:?}", operations.len());
            let Some(store) = place.holding(&before).await else { return };
            let local = copy_of(machine);
            let first = run(world, Arc::new(faulty(store.clone(), how, at as u64, fault)), local.path(), slot).await;
            let codes = sound(&*store, &format!("{context}, after the failure")).await;
            assert!(
                codes.iter().all(|code| ["orphan", "head-unsigned", "checkpoint-missing"].contains(code)),
                "{context}: {codes:?}"
            );
            if cases.is_multiple_of(3) {
                Index::destroy(&local.path().join("index")).unwrap();
            }
            let second = run(world, store.clone(), local.path(), slot).await;
            match (&first, &second) {
                (Err(_), Ok(())) => {}
                (_, Err(CaptureError::SlotTaken { .. })) => committed_by_the_first += 1,
                other => panic!("{context}: {other:?}"),
            }
            let codes = sound(&*store, &format!("{context}, after the second run")).await;
            assert!(codes.iter().all(|code| ["orphan", "checkpoint-missing"].contains(code)), "{context}: {codes:?}");
            assert_same_archive(&blobs(&*store).await, &expected, &context);
        }
    }
    assert!(committed_by_the_first > 0, "the sweep never came to the commit");
    println!("{cases} cases, {committed_by_the_first} of them committed by the run that failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_capture_with_its_base_survives_a_crash_at_every_operation() {
    let world = World::new(11, USERS, "2026-06-29T00:00:00Z").await;
    world.hour();
    sweep(&world, Place::Memory, machine().path(), world.clock.now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_with_changes_survives_a_crash_at_every_operation() {
    let world = World::new(12, USERS, "2026-06-29T00:00:00Z").await;
    let local = machine();
    for _ in 0..2 {
        world.hour();
        run(&world, Arc::new(world.store.clone()), local.path(), world.clock.now()).await.unwrap();
    }
    (0..8).for_each(|_| world.hour());
    sweep(&world, Place::Memory, local.path(), world.clock.now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_month_s_base_with_changes_survives_a_crash_at_every_operation() {
    let world = World::new(13, USERS, "2026-06-30T12:00:00Z").await;
    let local = machine();
    for _ in 0..2 {
        world.hour();
        run(&world, Arc::new(world.store.clone()), local.path(), world.clock.now()).await.unwrap();
    }
    (0..24).for_each(|_| world.hour());
    sweep(&world, Place::Memory, local.path(), world.clock.now()).await;
    let entry = |blobs| world::entries(&blobs).into_values().last().unwrap().body;
    run(&world, Arc::new(world.store.clone()), local.path(), world.clock.now()).await.unwrap();
    let opening = entry(world.store.snapshot());
    assert_eq!(opening.container.as_deref(), Some("2026-07"));
    assert!(opening.opens_segment() && opening.delta.unwrap().put > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_with_changes_in_a_storage_account_survives_a_crash() {
    let world = World::new(16, USERS, "2026-06-29T00:00:00Z").await;
    let local = machine();
    world.hour();
    run(&world, Arc::new(world.store.clone()), local.path(), world.clock.now()).await.unwrap();
    (0..8).for_each(|_| world.hour());
    sweep(&world, Place::Azure, local.path(), world.clock.now()).await;
}

/// The local state is what it was before the crash although the entry is in the log: feed tokens older than the head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_the_commit_and_the_local_state_costs_nothing() {
    let world = World::new(14, USERS, "2026-06-29T00:00:00Z").await;
    let local = machine();
    let store: Arc<dyn Store> = Arc::new(world.store.clone());
    world.hour();
    run(&world, store.clone(), local.path(), world.clock.now()).await.unwrap();
    let old = copy_of(local.path());
    (0..10).for_each(|_| world.hour());
    run(&world, store.clone(), local.path(), world.clock.now()).await.unwrap();
    world.quiet_hour();
    let mut capturer = world.open_on(store, old.path()).await.unwrap();
    let again = world::capture(&mut capturer).await.body.delta.unwrap();
    assert_eq!((again.put, again.del, again.ladd, again.ldel), (0, 0, 0, 0), "old tokens tell known changes again");
    sound(&world.store, "after the old tokens").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_genesis_entry_survives_a_crash_at_every_operation() {
    let world = World::without_archive(15, USERS, "2026-06-29T00:00:00Z").await;
    let genesis = world.genesis();
    let reference = MemoryStore::new();
    let counting = FaultyStore::counting(Arc::new(reference.clone()));
    Appender::initialise(Arc::new(counting.clone()), signer(), &genesis).await.unwrap();
    for at in 0..counting.operations() {
        for how in [How::MachineLost, How::AnswerLost] {
            for fault in [Fault::NotDone, Fault::DoneButFailed] {
                let context = format!("operation {at}, {fault:?}, {how:?}");
                let store = MemoryStore::new();
                let failing = faulty(Arc::new(store.clone()), how, at, fault);
                let first = Appender::initialise(Arc::new(failing), signer(), &genesis).await;
                match verify(&store, &VerifyOptions::default(), |_, _| ()).await {
                    Ok(report) => assert!(report.is_ok(), "{context}: {:?}", report.findings),
                    Err(WalkError::NoArchive) => assert!(first.is_err() && store.snapshot().is_empty(), "{context}"),
                    Err(error) => panic!("{context}: {error}"),
                }
                Appender::initialise(Arc::new(store.clone()), signer(), &genesis).await.unwrap();
                assert_eq!(store.snapshot(), reference.snapshot(), "{context}");
            }
        }
    }
    // Another start over what is there must be refused, whatever the first one came to.
    let mut other = world.genesis();
    other.committed = world.clock.now() + jiff::SignedDuration::from_secs(1);
    let refused = Appender::initialise(Arc::new(reference.clone()), signer(), &other).await;
    assert!(matches!(refused, Err(AppendError::Initialised { .. })));
}
