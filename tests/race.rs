//! Two writers of one archive: one entry per number, and never a stale value.

#[path = "support/world.rs"]
mod world;
#[path = "support/worm.rs"]
mod worm;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;
use tenure::archive::entry::entry_name;
use tenure::capture::{CaptureError, Request};
use tenure::clock::ManualClock;
use tenure::simulator::Collection;
use tenure::store::{FilesystemStore, MemoryStore, Store};
use tokio::sync::mpsc;
use world::{Hooked, World, blobs, capture, content, entries, lines, machine, signer, sound};
use worm::{Policy, Worm};

const START: &str = "2026-06-29T00:00:00Z";

async fn archive_in(store: Arc<dyn Store>, seed: u64) -> World {
    let world = World::without_archive(seed, 40, START).await;
    tenure::archive::appender::Appender::initialise(store, signer(), &world.genesis()).await.unwrap();
    world
}

/// The loser has read `department: Stale` when the winner commits `Winner`; before the loser's own entry is refused,
/// the tenant says `Fresh`. A loser that put its reads on the new head would write a value that was over.
async fn the_loser_reads_again(store: Arc<dyn Store>) {
    let world = archive_in(store.clone(), 21).await;
    let (first, second) = (machine(), machine());
    let (reached, mut at_commit) = mpsc::unbounded_channel();
    let armed = Arc::new(AtomicBool::new(false));
    let (go, hook_armed) = (Arc::new(tokio::sync::Notify::new()), armed.clone());
    let hook_go = go.clone();
    let hooked = Hooked::new(store.clone(), move |operation, name| {
        let stop = operation == "create" && name.starts_with("log/e/") && hook_armed.swap(false, Ordering::SeqCst);
        let (reached, go, name) = (reached.clone(), hook_go.clone(), name.to_owned());
        Box::pin(async move {
            if stop {
                reached.send(name).unwrap();
                go.notified().await;
            }
        })
    });
    let mut loser = world.open_on(Arc::new(hooked), first.path()).await.unwrap();
    world.hour();
    capture(&mut loser).await;
    let mut winner = world.open_on(store.clone(), second.path()).await.unwrap();
    let user = world.tenant.edit(|directory| directory.ids(Collection::User)[5].clone());
    let key = format!("user/{user}");
    let say = |department: &str| {
        assert!(world.tenant.edit(|directory| directory.patch(&user, json!({ "department": department }))));
    };
    world.quiet_hour();
    say("Stale");
    armed.store(true, Ordering::SeqCst);
    let driver = async {
        let name = at_commit.recv().await.expect("the loser comes to its commit");
        assert_eq!(name, entry_name(2));
        say("Winner");
        let won = capture(&mut winner).await;
        say("Fresh");
        go.notify_one();
        won.body
    };
    let (lost, won) = tokio::join!(capture(&mut loser), driver);
    assert_eq!((won.seq, lost.body.seq), (2, 3));
    assert_eq!(content(&loser, &key).await.unwrap()["department"], "Fresh");
    let blobs = blobs(&*store).await;
    let said = |seq: u64| {
        let body = &entries(&blobs)[&seq].body;
        let lines = lines(&blobs, body, 'd');
        lines.into_iter().filter(|line| line.contains(&user)).collect::<Vec<_>>().join("\n")
    };
    assert!(said(2).contains("Winner") && !said(2).contains("Stale"));
    assert!(said(3).contains("Fresh") && !said(3).contains("Stale"));
    let codes = sound(&*store, "after the race").await;
    assert_eq!(codes, BTreeSet::from(["orphan"]), "what the loser had written for entry 2 is all that it leaves");
    // Both go on from one head.
    for department in ["Third", "Fourth"] {
        say(department);
        capture(&mut winner).await;
        assert_eq!(content(&winner, &key).await.unwrap()["department"], department);
        std::mem::swap(&mut winner, &mut loser);
    }
    sound(&*store, "after both went on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loser_of_a_race_in_memory_writes_no_stale_value() {
    the_loser_reads_again(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loser_of_a_race_on_a_file_system_writes_no_stale_value() {
    let directory = tempfile::tempdir().unwrap();
    the_loser_reads_again(Arc::new(FilesystemStore::new(directory.path()))).await;
}

/// A storage account with policies in force; `None`, said aloud, where Azurite isn't there.
async fn account() -> Option<Arc<dyn Store>> {
    let clock = ManualClock::new(START.parse().unwrap());
    let worm = Worm::start(&["log", "2026-06", "2026-07"], Policy::locked(7), &clock).await?;
    Some(Arc::new(worm.store()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loser_of_a_race_in_a_storage_account_writes_no_stale_value() {
    let Some(store) = account().await else { return };
    the_loser_reads_again(store).await;
}

/// Both writers run at once for some hours. Which one wins is left to chance, that one wins each number is not.
async fn both_write(store: Arc<dyn Store>) {
    let world = archive_in(store.clone(), 22).await;
    let (first, second) = (machine(), machine());
    let refused = Arc::new(AtomicU32::new(0));
    // Every create of an entry is counted by number: more creates than entries means that races took place.
    let creates = |store: Arc<dyn Store>| {
        let count = refused.clone();
        Arc::new(Hooked::new(store, move |operation, name| {
            if operation == "create" && name.starts_with("log/e/") {
                count.fetch_add(1, Ordering::SeqCst);
            }
            Box::pin(std::future::ready(()))
        }))
    };
    let mut one = world.open_on(creates(store.clone()), first.path()).await.unwrap();
    let mut two = world.open_on(creates(store.clone()), second.path()).await.unwrap();
    let mut numbers = BTreeSet::new();
    for _ in 0..6 {
        world.hour();
        let (a, b) = tokio::join!(capture(&mut one), capture(&mut two));
        for committed in [a, b] {
            assert!(numbers.insert(committed.body.seq), "one entry per number");
            let file = store.get(&entry_name(committed.body.seq)).await.unwrap();
            assert_eq!(
                tenure::archive::log::leaf_hash(&file),
                committed.leaf,
                "what was said to be committed is there"
            );
        }
    }
    assert_eq!(numbers, (1..=12).collect());
    assert!(refused.load(Ordering::SeqCst) > 12, "nobody ever lost");
    sound(&*store, "after six races").await;
    let (a, b) = (world::head_of(&*store).await, two.remembered().unwrap());
    assert!(a.size == 13 && b.size <= 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_at_once_in_memory_both_append_and_share_no_number() {
    both_write(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_at_once_on_a_file_system_both_append_and_share_no_number() {
    let directory = tempfile::tempdir().unwrap();
    both_write(Arc::new(FilesystemStore::new(directory.path()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_at_once_in_a_storage_account_both_append_and_share_no_number() {
    let Some(store) = account().await else { return };
    both_write(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_two_writers_race_for_is_captured_by_one_of_them() {
    let world = World::new(23, 40, START).await;
    let (first, second) = (machine(), machine());
    let (mut one, mut two) = (world.open(&first).await, world.open(&second).await);
    for hour in 1..=3u64 {
        world.hour();
        let slot = tenure::clock::Clock::now(&world.clock);
        let request = Request { slot: Some(slot), ..Request::default() };
        let (a, b) = tokio::join!(one.capture(&request), two.capture(&request));
        let (committed, refused) = if a.is_ok() { (a, b) } else { (b, a) };
        assert_eq!(committed.unwrap().body.slot, Some(slot));
        assert!(matches!(refused, Err(CaptureError::SlotTaken { slot: taken }) if taken == slot), "{refused:?}");
        assert_eq!(world.entries().len() as u64, hour + 1);
    }
    sound(&world.store, "after three slots").await;
}
