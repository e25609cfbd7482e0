//! One suite that every store passes.

#[path = "support/worm.rs"]
mod worm;

use std::sync::Arc;

use tenure::clock::ManualClock;
use tenure::store::{Fault, FaultyStore, FilesystemStore, MemoryStore, Store, StoreError, put_new};
use worm::{Policy, Worm};

async fn contract(store: Arc<dyn Store>) {
    assert!(matches!(store.get("log/b").await, Err(StoreError::NotFound { .. })));
    assert!(store.list("log/", "").await.unwrap().is_empty());
    store.create("log/b", b"one").await.unwrap();
    assert_eq!(store.get("log/b").await.unwrap(), b"one");
    assert!(matches!(store.create("log/b", b"two").await, Err(StoreError::Exists { .. })), "never overwritten");
    assert!(matches!(store.create("log/b", b"one").await, Err(StoreError::Exists { .. })), "not even by equal bytes");
    put_new(&*store, "log/b", b"one").await.expect("equal bytes are success");
    assert!(matches!(put_new(&*store, "log/b", b"two").await, Err(StoreError::Exists { .. })));
    assert_eq!(store.get("log/b").await.unwrap(), b"one");

    store.create("log/empty", b"").await.unwrap();
    assert_eq!(store.get("log/empty").await.unwrap(), b"");
    assert_eq!(store.get_range("log/b", 1..2).await.unwrap(), b"n");
    assert_eq!(store.get_range("log/b", 2..99).await.unwrap(), b"e");
    assert_eq!(store.get_range("log/b", 9..12).await.unwrap(), b"");
    assert!(matches!(store.get_range("log/none", 0..1).await, Err(StoreError::NotFound { .. })));

    for name in ["log/c/d", "log/c/e", "view/x", "2026-08/x"] {
        store.create(name, b"x").await.unwrap();
    }
    let names = async |prefix: &str, after: &str| -> Vec<String> {
        store.list(prefix, after).await.unwrap().into_iter().map(|listed| listed.name).collect()
    };
    assert_eq!(names("", "").await, ["2026-08/x", "log/b", "log/c/d", "log/c/e", "log/empty", "view/x"]);
    assert_eq!(names("log/", "").await, ["log/b", "log/c/d", "log/c/e", "log/empty"]);
    assert_eq!(names("log/c", "").await, ["log/c/d", "log/c/e"]);
    assert_eq!(names("log/", "log/c/d").await, ["log/c/e", "log/empty"]);
    assert_eq!(names("log/", "m").await, Vec::<String>::new());
    assert_eq!(names("lo", "").await, ["log/b", "log/c/d", "log/c/e", "log/empty"]);
    assert_eq!(names("2026-", "2026-08").await, ["2026-08/x"]);
    assert_eq!(names("2027-01/s/", "").await, Vec::<String>::new());
    assert_eq!(names("none/", "").await, Vec::<String>::new());
    assert_eq!(store.list("log/b", "").await.unwrap()[0].len, 3);

    for name in ["", "/a", "a/", "a//b", "../a", "a/../b", ".tmp/a", "a b", "a\\b", "a\0b"] {
        assert!(matches!(store.create(name, b"x").await, Err(StoreError::BadName { .. })), "{name:?}");
        assert!(matches!(store.get(name).await, Err(StoreError::BadName { .. })), "{name:?}");
    }

    let racers = (0..16).map(|racer| {
        let store = store.clone();
        tokio::spawn(async move { store.create("log/race", format!("{racer}").as_bytes()).await.is_ok() })
    });
    let mut won = 0;
    for racer in racers.collect::<Vec<_>>() {
        won += u32::from(racer.await.unwrap());
    }
    assert_eq!(won, 1, "of racing creates one succeeds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    contract(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filesystem() {
    let directory = tempfile::tempdir().unwrap();
    let store = FilesystemStore::new(directory.path().join("deep/archive"));
    contract(Arc::new(store)).await;
    let left = std::fs::read_dir(directory.path().join("deep/archive/.tmp")).unwrap().count();
    assert_eq!(left, 0, "scratch files are gone");
}

/// Within the interval of a policy, as in service. Whether a name is said to be taken or to be immutable is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure() {
    for taken_first in [false, true] {
        let clock = ManualClock::new("2026-08-01T00:00:00Z".parse().unwrap());
        let Some(worm) = Worm::start(&["log", "view", "2026-08"], Policy::locked(7), &clock).await else { return };
        worm.say_taken_first(taken_first);
        worm.page(2);
        contract(Arc::new(worm.store())).await;
    }
}

#[tokio::test]
async fn a_doubtful_answer_is_settled_by_reading_back() {
    for fault in [Fault::NotDone, Fault::DoneButFailed] {
        let inner = Arc::new(MemoryStore::new());
        let store = FaultyStore::hiccup(inner.clone(), 0, fault);
        put_new(&store, "a", b"one").await.unwrap();
        assert_eq!(inner.get("a").await.unwrap(), b"one", "{fault:?}");
    }
    // Where reading back fails too, the outcome stays unknown and the error says so.
    for fault in [Fault::NotDone, Fault::DoneButFailed] {
        let inner = Arc::new(MemoryStore::new());
        let store = FaultyStore::failing(inner, 0, fault);
        assert!(put_new(&store, "a", b"one").await.unwrap_err().is_transient(), "{fault:?}");
    }
}
