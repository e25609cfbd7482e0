//! The end of segments: what the capability that removes promises on every store, what a plan that is carried out leaves,
//! what stops it, and what a crash at any point leaves for the next run.

mod support;
#[path = "support/world.rs"]
mod world;
#[path = "support/worm.rs"]
mod worm;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use support::{ArchiveBuilder, Changes, at, key, link, put, remove, row, signer};
use tenure::archive::appender::Appender;
use tenure::archive::entry::{Coverage, Revocation, Status, checkpoint_name};
use tenure::archive::note::Signer;
use tenure::archive::register::{End, Register};
use tenure::archive::verify::{Options as VerifyOptions, Severity, verify};
use tenure::clock::{Clock, ManualClock};
use tenure::hold::{Expirer, Fate, Outcome, Plan, Retention, Scope, Stop};
use tenure::index::Index;
use tenure::query::{Archive, Moment, QueryError};
use tenure::store::{
    Aged, Expiry, Fault, FaultyStore, FilesystemExpiry, FilesystemStore, MemoryStore, Removal, Store, StoreError,
};
use world::Hooked;
use worm::{Policy, Worm};

const TENANT: &str = "contoso.example";
const YEARS: u32 = 1;
const DAY: Duration = Duration::from_secs(86_400);

fn clock_at(text: &str) -> ManualClock {
    ManualClock::new(at(text))
}

// ---- the capability

async fn aged(expiry: &dyn Expiry, prefix: &str) -> Vec<Aged> {
    expiry.aged(prefix).await.unwrap()
}

/// What every expiry promises. `is_timed`: creation times go by `clock`.
async fn contract(store: Arc<dyn Store>, expiry: Arc<dyn Expiry>, clock: &ManualClock, is_timed: bool) {
    let name = |n: u32| format!("2026-08/s/0000000001/{n}");
    for n in 0..3 {
        store.create(&name(n), format!("blob {n}").as_bytes()).await.unwrap();
        clock.advance(DAY);
    }
    store.create("2026-08/s/0000000002/x", b"another segment").await.unwrap();
    store.create("log/e/0000000000", b"an entry").await.unwrap();
    let found = aged(&*expiry, "2026-08/s/0000000001/").await;
    assert_eq!(found.iter().map(|aged| aged.name.clone()).collect::<Vec<_>>(), [name(0), name(1), name(2)]);
    assert!(found.iter().all(|aged| aged.len == 6));
    if is_timed {
        let start = clock.now() - SignedDuration::from_hours(72);
        let times: Vec<Timestamp> = found.iter().map(|aged| aged.created).collect();
        assert_eq!(times, [0, 24, 48].map(|hours| start + SignedDuration::from_hours(hours)));
    }
    assert_eq!(aged(&*expiry, "2027-01/s/").await, []);
    assert!(!expiry.is_held("2026-08").await.unwrap());
    assert!(!expiry.is_held("2027-01").await.unwrap());

    let mut other = found[0].clone();
    other.created += SignedDuration::from_secs(1);
    other.version = "\"0x8DA\"".to_owned();
    assert_eq!(expiry.delete(&other).await.unwrap(), Removal::Changed, "what isn't what was listed stays");
    assert_eq!(expiry.delete(&found[0]).await.unwrap(), Removal::Deleted);
    assert_eq!(expiry.delete(&found[0]).await.unwrap(), Removal::Absent);
    assert!(matches!(store.get(&name(0)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.get(&name(1)).await.unwrap(), b"blob 1");

    assert_eq!(expiry.delete_container("2026-08").await.unwrap(), Removal::NotEmpty);
    for blob in aged(&*expiry, "2026-08/").await {
        assert_eq!(expiry.delete(&blob).await.unwrap(), Removal::Deleted);
    }
    assert!(expiry.delete_container("2026-08").await.unwrap().is_gone());
    assert_eq!(expiry.delete_container("2026-08").await.unwrap(), Removal::Absent);
    assert_eq!(aged(&*expiry, "2026-08/").await, []);
    assert_eq!(store.list("", "").await.unwrap().len(), 1, "the log is untouched");
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let clock = clock_at("2026-08-01T00:00:00Z");
    let store = MemoryStore::new().timed(Arc::new(clock.clone()));
    contract(Arc::new(store.clone()), Arc::new(store.expiry()), &clock, true).await;
}

#[tokio::test]
async fn files_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("archive");
    let (store, expiry) = (FilesystemStore::new(&root), FilesystemExpiry::new(&root));
    contract(Arc::new(store), Arc::new(expiry), &clock_at("2026-08-01T00:00:00Z"), false).await;
    assert!(!root.join("2026-08").exists() && root.join("log").exists());
}

/// A copy that kept the old times of its files is as young as it is.
#[tokio::test]
async fn a_file_is_as_young_as_the_later_of_its_times() {
    let directory = tempfile::tempdir().unwrap();
    let store = FilesystemStore::new(directory.path());
    store.create("2026-08/s/1/a", b"a").await.unwrap();
    let path = directory.path().join("2026-08/s/1/a");
    let expiry = FilesystemExpiry::new(directory.path());
    let before = aged(&expiry, "2026-08/").await[0].created;
    let set = |time: std::time::SystemTime| {
        let times = std::fs::FileTimes::new().set_modified(time);
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a test's own file")]
        permissions.set_readonly(false);
        std::fs::set_permissions(&path, permissions).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    };
    let now = std::time::SystemTime::from(before);
    if std::fs::metadata(&path).unwrap().created().is_ok() {
        set(now - 400 * DAY);
        assert_eq!(aged(&expiry, "2026-08/").await[0].created, before, "born when it was");
    }
    set(now + 400 * DAY);
    assert_eq!(aged(&expiry, "2026-08/").await[0].created, before + SignedDuration::from_hours(400 * 24));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_account_keeps_the_contract_and_refuses_what_it_keeps() {
    let clock = clock_at("2026-08-01T00:00:00Z");
    let Some(worm) = Worm::start(&["log", "2026-08"], Policy::default(), &clock).await else { return };
    worm.page(2);
    contract(Arc::new(worm.store()), Arc::new(worm.expiry()), &clock, true).await;

    let policy = Policy::locked(7);
    worm.provision("2026-09", policy).await;
    let (store, expiry) = (worm.store(), worm.expiry());
    store.create("2026-09/s/1/a", b"a").await.unwrap();
    store.create("2026-09/canary", b"").await.unwrap_err();
    assert!(store.guard(None, 1).check(clock.now(), 0).await.containers.len() > 1, "its canaries are there");
    let blob = aged(&expiry, "2026-09/").await.remove(0);
    assert_eq!(expiry.delete(&blob).await.unwrap(), Removal::Policy);
    assert_eq!(expiry.delete_container("2026-09").await.unwrap(), Removal::NotEmpty);
    clock.advance(8 * DAY);
    worm.set_policy("2026-09", Policy { hold: true, ..policy });
    assert!(expiry.is_held("2026-09").await.unwrap());
    assert_eq!(expiry.delete(&blob).await.unwrap(), Removal::Hold);
    worm.set_policy("2026-09", policy);
    assert_eq!(expiry.delete(&blob).await.unwrap(), Removal::Deleted);
    assert!(expiry.delete_container("2026-09").await.unwrap().is_gone(), "the canary goes with its container");

    for name in ["log/e/0000000000", "view/x"] {
        let blob = Aged { name: name.into(), len: 8, created: clock.now(), version: "\"x\"".into() };
        assert!(matches!(expiry.delete(&blob).await, Err(StoreError::BadName { .. })), "{name} never ends");
        let root = name.split('/').next().unwrap();
        assert!(matches!(expiry.delete_container(root).await, Err(StoreError::BadName { .. })));
    }
}

// ---- archives

/// An archive of five months: objects that stay, change and go, and an orphan.
struct Story {
    clock: ManualClock,
    store: MemoryStore,
}

const ALICE: &str = "user/a";
const BOB: &str = "user/b";
const TEAM: &str = "group/t";

fn cover() -> Vec<Coverage> {
    let rows = [("user", None), ("group", None), ("group", Some("members"))];
    rows.map(|(collection, relation)| row(collection, relation, Status::Complete, None)).into()
}

impl Story {
    async fn tell() -> Story {
        let clock = clock_at("2026-05-10T00:00:00Z");
        let store = MemoryStore::new().timed(Arc::new(clock.clone()));
        let mut builder = ArchiveBuilder::new(Arc::new(store.clone()), TENANT, clock.now()).await;
        let mut capture = async |time: &str, changes: Changes| {
            clock.set(at(time));
            builder.capture(at(time), changes, cover()).await
        };
        let mut first = Changes::from([(key(ALICE), put(r#"{"displayName":"Alice"}"#)), (key(TEAM), put("{}"))]);
        first.insert(key(BOB), put(r#"{"displayName":"Bob"}"#));
        capture("2026-05-10T01:00:00Z", first).await;
        capture("2026-05-11T01:00:00Z", [(key(TEAM), link("members", &[ALICE, BOB]))].into()).await;
        capture("2026-06-10T01:00:00Z", [(key(BOB), put(r#"{"displayName":"Robert"}"#))].into()).await;
        capture("2026-06-20T01:00:00Z", [(key(BOB), remove())].into()).await;
        capture("2026-07-10T01:00:00Z", Changes::new()).await;
        capture("2026-07-11T01:00:00Z", [(key("user/c"), put(r#"{"displayName":"Carol"}"#))].into()).await;
        capture("2026-08-10T01:00:00Z", Changes::new()).await;
        capture("2026-09-10T01:00:00Z", [(key("user/d"), put(r#"{"displayName":"Dave"}"#))].into()).await;
        clock.set(at("2026-05-12T00:00:00Z"));
        store.create("2026-05/s/0000000001/0000000009-d000-orphan.ndz", b"left by a crash").await.unwrap();
        clock.set(at("2026-10-01T00:00:00Z"));
        Story { clock, store }
    }

    /// The same at `time`, in a store of its own.
    fn copy(&self, time: &str) -> Story {
        let clock = clock_at(time);
        let store = MemoryStore::with(self.store.snapshot()).timed(Arc::new(clock.clone()));
        store.set_created(self.store.created());
        Story { clock, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn expirer(&self) -> Expirer {
        self.expirer_of(self.store(), Arc::new(self.store.expiry()), Scope::Archive).await.unwrap()
    }

    async fn expirer_of(
        &self,
        store: Arc<dyn Store>,
        expiry: Arc<dyn Expiry>,
        scope: Scope,
    ) -> Result<Expirer, tenure::hold::ExpireError> {
        Expirer::open(store, expiry, Arc::new(self.clock.clone()), scope, |_, _| ()).await
    }

    async fn plan(&self) -> Plan {
        self.expirer().await.plan(retention()).await.unwrap()
    }

    async fn appender(&self) -> Appender {
        Appender::open(self.store(), signer(TENANT), None).await.unwrap()
    }

    /// Plans and carries out.
    async fn expire(&self) -> Outcome {
        let mut expirer = self.expirer().await;
        let plan = expirer.plan(retention()).await.unwrap();
        expirer.carry_out(&plan, Some(&mut self.appender().await), |_, _| ()).await.unwrap()
    }

    /// Commits an entry of another kind.
    async fn commit(&self, kind: &str, target: Option<u64>, range: Option<[u64; 2]>) -> u64 {
        let mut appender = self.appender().await;
        let mut body = appender.draft(kind, self.clock.now()).unwrap();
        (body.target, body.range, body.count) = (target, range.map(Vec::from), Some(0));
        appender.commit(&body).await.unwrap();
        body.seq
    }

    fn left(&self, container: &str) -> usize {
        self.store.snapshot().keys().filter(|name| name.starts_with(&format!("{container}/"))).count()
    }
}

fn retention() -> Retention {
    Retention::of_months(12 * YEARS)
}

fn fates(plan: &Plan) -> Vec<&'static str> {
    plan.rows.iter().map(|row| row.fate.as_str()).collect()
}

/// Verifies deeply with Tenure, and with `docs/verify.py`; the codes of what Tenure said.
async fn sound(store: &dyn Store, context: &str) -> Vec<&'static str> {
    let report = verify(store, &VerifyOptions { deep: true, ..VerifyOptions::default() }, |_, _| ()).await.unwrap();
    assert!(report.is_ok(), "{context}: {:#?}", report.findings);
    report.findings.iter().map(|finding| finding.code).collect()
}

async fn accepted_by_the_other_reader(store: &dyn Store) {
    let directory = tempfile::tempdir().unwrap();
    let files = FilesystemStore::new(directory.path());
    for (name, bytes) in world::blobs(store).await {
        files.create(&name, &bytes).await.unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.py");
    let output = Command::new("python3").arg("-B").arg(script).arg(directory.path()).arg("--deep").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn what_is_past_its_retention_ends_and_everything_else_still_verifies() {
    let story = Story::tell().await;
    assert_eq!(fates(&story.plan().await), ["not-yet", "not-yet", "not-yet", "recent", "recent"]);
    // The youngest file of a segment decides, to the millisecond. The orphan is younger than the last commit.
    let story = story.copy("2027-05-11T23:59:59.999Z");
    assert_eq!(fates(&story.plan().await)[0], "not-yet");
    let story = story.copy("2027-05-12T00:00:00Z");
    let plan = story.plan().await;
    assert_eq!(fates(&plan), ["expire", "not-yet", "not-yet", "recent", "recent"]);
    assert_eq!(plan.rows[1].fate, Fate::NotYet(at("2027-06-20T01:00:00Z")));
    let packs = plan.rows[0].packs.len();
    assert_eq!((plan.rows[0].files.len(), plan.rows[0].missing), (packs + 1, 0));

    let before = story.store.snapshot();
    let outcome = story.expire().await;
    assert!(outcome.is_whole());
    let answers = BTreeMap::from([("deleted".to_owned(), packs as u64 + 1), ("container-absent".to_owned(), 1)]);
    assert_eq!(outcome.segments[0].answers, answers);
    assert_eq!((story.left("2026-05"), story.left("2026-06") > 0), (0, true));
    let after = story.store.snapshot();
    assert!(before.iter().all(|(name, bytes)| name.starts_with("2026-05/") || after.get(name) == Some(bytes)));
    assert_eq!(sound(&story.store, "after").await, ["expired"]);
    accepted_by_the_other_reader(&story.store).await;

    let entries: Vec<_> = world::entries(&after).into_values().rev().take(2).map(|entry| entry.body).collect();
    let (expired, expire) = (&entries[0], &entries[1]);
    assert_eq!((expire.kind.as_str(), expired.kind.as_str()), ("expire", "expired"));
    assert_eq!((expire.target, expired.target), (Some(1), Some(1)));
    assert_eq!((expire.range.clone(), expire.count), (Some(vec![1, 2]), Some(packs as u64)));
    assert_eq!((&expire.names, &expire.answers), (&expired.names, &None));
    assert_eq!(expired.answers, Some(answers));
    let mut names = plan.rows[0].packs.clone();
    names.sort();
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    assert_eq!(expire.names, Some(tenure::hash::Hash::of(text.as_bytes()).to_string()));

    assert_eq!(fates(&story.plan().await), ["ended", "not-yet", "not-yet", "recent", "recent"]);
    assert_eq!(story.expire().await, Outcome::default(), "nothing more to do");
    // Years later everything but the newest two goes, and the log stays.
    let story = story.copy("2040-01-01T00:00:00Z");
    assert_eq!(story.expire().await.segments.len(), 2);
    assert_eq!(fates(&story.plan().await), ["ended", "ended", "ended", "recent", "recent"]);
    sound(&story.store, "years later").await;
    accepted_by_the_other_reader(&story.store).await;
}

#[tokio::test]
async fn a_plan_is_known_by_what_it_does() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let hash = story.plan().await.hash();
    story.clock.advance(Duration::from_secs(60));
    story.commit("access", None, None).await;
    assert_eq!(story.plan().await.hash(), hash, "neither time nor what is committed meanwhile changes it");
    story.store.create("2026-05/s/0000000001/new", b"x").await.unwrap();
    assert_ne!(story.plan().await.hash(), hash);
    assert_eq!(story.copy("2028-07-01T00:00:00Z").plan().await.due().count(), 3);
}

/// What can be asked: the whole state as of every capture, or why not; and one history.
async fn answers(store: &Arc<dyn Store>, index: &Path) -> Vec<String> {
    let archive = Archive::open(store.clone(), index, |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap();
    let now = at("2045-01-01T00:00:00Z");
    let mut told = Vec::new();
    for row in archive.view().captures().unwrap() {
        told.push(match archive.at(&Moment::Capture(row.seq), now) {
            Ok(at) => {
                let mut text = format!("#{} ", row.seq);
                archive
                    .dump(&at, None, |lines| {
                        text.push_str(&String::from_utf8_lossy(lines));
                        Ok(ControlFlow::Continue(()))
                    })
                    .await
                    .unwrap();
                text
            }
            Err(error) => {
                assert!(!error.is_integrity(), "{error}");
                format!("#{} {error}", row.seq)
            }
        });
    }
    for name in [ALICE, BOB, TEAM] {
        let Some(id) = archive.view().id(&key(name)).unwrap() else { continue };
        told.push(format!("{:?}", archive.history(&key(name), id).await.unwrap()));
    }
    told
}

#[tokio::test]
async fn questions_go_on_after_an_end_and_the_index_can_still_be_deleted() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let store = story.store();
    let (kept, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = answers(&store, kept.path()).await;
    assert!(before.iter().all(|text| !text.contains("content expired")));
    assert!(story.expire().await.is_whole());
    // The index that was there before, and one that is made now, say the same.
    let after = answers(&store, kept.path()).await;
    assert_eq!(after, answers(&store, fresh.path()).await);
    let expected = "#1 capture #1 at 2026-05-10T01:00:00Z was committed, its content expired; the oldest that is kept is \
                    #3 at 2026-06-10T01:00:00Z";
    assert_eq!(after[0], expected);
    assert_eq!(before[2..8], after[2..8], "what remains is told as before");
    // Alice didn't change since the content that expired: that she was added with the oldest base isn't claimed.
    assert!(after[8].contains("not_before: None"), "{}", after[8]);
    let archive = Archive::open(store.clone(), kept.path(), |_| (), |_, _| ()).await.unwrap();
    let gone =
        archive.at(&Moment::parse("2026-05-20", at("2026-10-01T00:00:00Z")).unwrap(), at("2026-10-01T00:00:00Z"));
    assert!(matches!(gone, Err(QueryError::Expired { seq: 2, oldest: Some((3, _)), .. })), "{gone:?}");
    drop(archive);

    // While files go, the log says that they may; a crash there must not look like damage either.
    let crashed = story.copy("2027-07-01T00:00:00Z");
    let plan = crashed.plan().await;
    let half = plan.rows[1].files[0].clone();
    let mut appender = crashed.appender().await;
    let mut body = appender.draft("expire", crashed.clock.now()).unwrap();
    (body.target, body.count) = (Some(3), Some(plan.rows[1].packs.len() as u64));
    appender.commit(&body).await.unwrap();
    let (kept, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let whole = answers(&crashed.store(), kept.path()).await;
    assert!(!whole[2].contains("content expired"), "as long as all is there it is told");
    crashed.store.expiry().delete(&half).await.unwrap();
    let partly = answers(&crashed.store(), kept.path()).await;
    assert!(partly[2].contains("content expired"), "{}", partly[2]);
    assert_eq!(partly, answers(&crashed.store(), fresh.path()).await);
}

/// The oldest segment is held, the one after it ends: what stays is told on both sides of the hole.
#[tokio::test]
async fn a_segment_that_ends_between_others_leaves_a_hole_and_no_more() {
    let story = Story::tell().await.copy("2028-01-01T00:00:00Z");
    story.commit("hold", None, Some([1, 2])).await;
    assert_eq!(fates(&story.plan().await), ["held", "expire", "expire", "recent", "recent"]);
    let kept = tempfile::tempdir().unwrap();
    let before = answers(&story.store(), kept.path()).await;
    assert!(story.expire().await.is_whole());
    let (after, fresh) = (answers(&story.store(), kept.path()).await, tempfile::tempdir().unwrap());
    assert_eq!(after, answers(&story.store(), fresh.path()).await);
    assert_eq!((&after[..2], &after[6..8]), (&before[..2], &before[6..8]));
    assert!(after[2..6].iter().all(|text| text.contains("its content expired")), "{after:#?}");
    sound(&story.store, "with a hole").await;
    accepted_by_the_other_reader(&story.store).await;
}

#[tokio::test]
async fn a_capture_goes_on_after_everything_it_was_made_from_has_ended() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let local = tempfile::tempdir().unwrap();
    let index = Index::open(local.path()).unwrap();
    let store = story.store();
    index.catch_up(&store, |_, _| ()).await.unwrap();
    assert!(story.expire().await.is_whole());
    let caught_up = index.catch_up(&store, |_, _| ()).await.unwrap();
    assert_eq!((caught_up.ended, caught_up.unknown, caught_up.restarted), (vec![1], vec![], false));
    let view = index.view().unwrap();
    assert!(view.is_state_known().unwrap());
    // Alice's line was in a pack that is gone; now it is read from the oldest base.
    let version = view.version_at(view.id(&key(ALICE)).unwrap().unwrap(), u64::from(u32::MAX)).unwrap().unwrap();
    assert!(view.pack(version.pack).unwrap().name.starts_with("2026-06/"));
}

// ---- what stops an end

#[tokio::test]
async fn a_hold_that_does_not_say_what_it_holds_holds_everything_until_it_is_released() {
    let story = Story::tell().await.copy("2028-01-01T00:00:00Z");
    let hold = story.commit("hold", None, None).await;
    assert_eq!(fates(&story.plan().await), ["held", "held", "held", "recent", "recent"]);
    assert_eq!(story.plan().await.rows[0].fate, Fate::Held(vec![hold]));
    assert_eq!(story.expire().await, Outcome::default());
    story.commit("release", None, None).await;
    story.commit("release", Some(hold + 100), None).await;
    assert_eq!(fates(&story.plan().await)[0], "held", "a release that names no hold, or a later one, ends none");
    story.commit("hold", None, Some([4, 5])).await;
    story.commit("release", Some(hold), None).await;
    assert_eq!(fates(&story.plan().await), ["expire", "held", "held", "recent", "recent"]);
}

/// A thief of a key can release what he likes, until the key is revoked.
#[tokio::test]
async fn a_release_by_a_revoked_key_releases_nothing() {
    let story = Story::tell().await.copy("2028-01-01T00:00:00Z");
    let hold = story.commit("hold", None, None).await;
    let thief = Signer::from_seed(&format!("tenure/{TENANT}"), [9; 32]);
    let mut appender = story.appender().await;
    let mut body = appender.draft("key", story.clock.now()).unwrap();
    body.add = Some(vec![thief.verifier().to_string()]);
    appender.commit(&body).await.unwrap();
    let mut stolen = Appender::open(story.store(), thief.clone(), None).await.unwrap();
    let mut release = stolen.draft("release", story.clock.now()).unwrap();
    release.target = Some(hold);
    stolen.commit(&release).await.unwrap();
    assert_eq!(fates(&story.plan().await)[0], "expire");
    let mut appender = story.appender().await;
    let mut body = appender.draft("key", story.clock.now()).unwrap();
    body.revoke = Some(vec![Revocation { id: thief.verifier().id().to_string(), from: release.seq }]);
    appender.commit(&body).await.unwrap();
    assert_eq!(fates(&story.plan().await)[0], "held");
}

#[tokio::test]
async fn a_hold_that_arrives_between_plan_and_delete_stops_it() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let before = story.left("2026-05");
    let head = Register::read(&story.store, |_, _| ()).await.unwrap().walker().next_seq();
    // Just after `expire` is committed somebody else commits a hold.
    let (inner, clock, placed) = (story.store(), story.clock.clone(), Arc::new(Mutex::new(None)));
    let (told, store) = (placed.clone(), inner.clone());
    let hooked = Hooked::new(inner, move |operation, name| {
        let is_first = operation == "create" && name == checkpoint_name(head + 1) && told.lock().unwrap().is_none();
        let (store, clock, told) = (store.clone(), clock.clone(), told.clone());
        Box::pin(async move {
            if is_first {
                *told.lock().unwrap() = Some(0);
                let mut appender = Appender::open(store, signer(TENANT), None).await.unwrap();
                let body = appender.draft("hold", clock.now()).unwrap();
                appender.commit(&body).await.unwrap();
                *told.lock().unwrap() = Some(body.seq);
            }
        })
    });
    let hooked: Arc<dyn Store> = Arc::new(hooked);
    let mut expirer = story.expirer_of(hooked.clone(), Arc::new(story.store.expiry()), Scope::Archive).await.unwrap();
    let plan = expirer.plan(retention()).await.unwrap();
    let mut appender = Appender::open(hooked, signer(TENANT), None).await.unwrap();
    let outcome = expirer.carry_out(&plan, Some(&mut appender), |_, _| ()).await.unwrap();
    let hold = placed.lock().unwrap().unwrap();
    assert_eq!(hold, head + 1);
    assert_eq!(outcome.segments[0].stop, Some(Stop::Held(vec![hold])));
    assert_eq!(story.left("2026-05"), before, "nothing went");
    assert_eq!(Register::read(&story.store, |_, _| ()).await.unwrap().segment(1).unwrap().end, End::Begun);
    let left = BTreeMap::from([("orphan", 1)]);
    let codes = sound(&story.store, "held").await;
    assert_eq!(
        codes.iter().fold(BTreeMap::new(), |mut all, code| {
            *all.entry(*code).or_insert(0) += 1;
            all
        }),
        left
    );
    assert_eq!(story.expire().await, Outcome::default());
    story.commit("release", Some(hold), None).await;
    assert_eq!(fates(&story.plan().await)[0], "continue");
    assert!(story.expire().await.is_whole());
    assert_eq!(story.left("2026-05"), 0);
}

/// A capture may be committed at any moment: the entry goes after it, once what it says was looked at.
#[tokio::test]
async fn other_writers_don_t_stop_an_end() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let (inner, clock, done) = (story.store(), story.clock.clone(), Arc::new(Mutex::new(0)));
    let (store, count) = (inner.clone(), done.clone());
    let hooked: Arc<dyn Store> = Arc::new(Hooked::new(inner, move |operation, name| {
        let is_entry = operation == "create" && name.starts_with("log/e/");
        let (store, clock, count) = (store.clone(), clock.clone(), count.clone());
        Box::pin(async move {
            // Before `expire` twice, before `expired` once.
            if is_entry && *count.lock().unwrap() < 3 {
                *count.lock().unwrap() += 1;
                let mut appender = Appender::open(store, signer(TENANT), None).await.unwrap();
                let body = appender.draft("access", clock.now()).unwrap();
                appender.commit(&body).await.unwrap();
            }
        })
    }));
    let expiry = Arc::new(story.store.expiry());
    let mut expirer = story.expirer_of(hooked.clone(), expiry, Scope::Archive).await.unwrap();
    let plan = expirer.plan(retention()).await.unwrap();
    let mut appender = Appender::open(hooked, signer(TENANT), None).await.unwrap();
    assert!(expirer.carry_out(&plan, Some(&mut appender), |_, _| ()).await.unwrap().is_whole());
    assert_eq!(*done.lock().unwrap(), 3);
    let entries = world::entries(&story.store.snapshot()).into_values().rev().take(5);
    let kinds: Vec<String> = entries.map(|entry| entry.body.kind).collect();
    assert_eq!(kinds, ["expired", "expire", "access", "access", "access"]);
    sound(&story.store, "with other writers").await;
}

#[tokio::test]
async fn the_storage_s_own_holds_and_policies_are_answers() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    story.store.hold("2026-05", true);
    assert_eq!(fates(&story.plan().await)[0], "held-by-storage");
    story.store.hold("2026-05", false);
    // A policy of a hundred days more than the retention: the youngest file is asked about first, and nothing went.
    story.store.keep_for(SignedDuration::from_hours(24 * 465));
    let before = story.left("2026-05");
    let mut expirer = story.expirer().await;
    let plan = expirer.plan(retention()).await.unwrap();
    let outcome = expirer.carry_out(&plan, Some(&mut story.appender().await), |_, _| ()).await.unwrap();
    assert_eq!(outcome.segments[0].stop, Some(Stop::Kept(Removal::Policy)));
    assert!(!outcome.is_whole());
    assert_eq!((story.left("2026-05"), fates(&story.plan().await)[0]), (before, "continue"));
    story.clock.set(at("2027-08-25T00:00:00Z"));
    let stops: Vec<Option<Stop>> = story.expire().await.segments.into_iter().map(|ended| ended.stop).collect();
    let policy = || Some(Stop::Kept(Removal::Policy));
    assert_eq!(stops, [None, policy(), policy()]);
    assert_eq!(story.left("2026-05"), 0);
    sound(&story.store, "two begun, nothing gone").await;
}

#[tokio::test]
async fn a_log_with_a_lost_entry_ends_nothing() {
    let story = Story::tell().await.copy("2028-01-01T00:00:00Z");
    let hold = story.commit("hold", None, None).await;
    story.commit("access", None, None).await;
    story.store.tamper(&tenure::archive::entry::entry_name(hold), None);
    let refused = story.expirer_of(story.store(), Arc::new(story.store.expiry()), Scope::Archive).await;
    assert!(matches!(refused, Err(tenure::hold::ExpireError::Lost { seq }) if seq == hold));
}

/// A copy ends what its log tells, by its own creation times, and adds nothing to that log.
#[tokio::test]
async fn a_copy_follows_the_ends_of_its_archive() {
    let story = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let copy = story.copy("2027-06-01T00:00:00Z");
    let plan = async |copy: &Story| {
        let expiry = Arc::new(copy.store.expiry());
        let expirer = copy.expirer_of(copy.store(), expiry, Scope::Copy).await.unwrap();
        let plan = expirer.plan(retention()).await.unwrap();
        (expirer, plan)
    };
    assert_eq!(fates(&plan(&copy).await.1), ["not-told", "not-told", "not-told", "recent", "recent"]);
    assert!(story.expire().await.is_whole());
    for (name, bytes) in story.store.snapshot() {
        if name.starts_with("log/") {
            let _ = copy.store.create(&name, &bytes).await;
        }
    }
    let (mut expirer, due) = plan(&copy).await;
    assert_eq!(fates(&due), ["remainder", "not-told", "not-told", "recent", "recent"]);
    let log = |story: &Story| story.store.snapshot().into_iter().filter(|(name, _)| name.starts_with("log/")).count();
    let before = log(&copy);
    assert!(expirer.carry_out(&due, None, |_, _| ()).await.unwrap().is_whole());
    assert_eq!((copy.left("2026-05"), log(&copy)), (0, before));
    assert_eq!(world::blobs(&copy.store).await, world::blobs(&story.store).await);
}

// ---- crashes

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_survives_a_crash_at_every_operation() {
    let told = Story::tell().await.copy("2027-06-01T00:00:00Z");
    let run = async |story: &Story, faults: &FaultyStore| {
        let store: Arc<dyn Store> = Arc::new(faults.clone());
        let expiry = Arc::new(faults.expiry(Arc::new(story.store.expiry())));
        let mut expirer = story.expirer_of(store.clone(), expiry, Scope::Archive).await?;
        let plan = expirer.plan(retention()).await?;
        let mut appender = Appender::open(store, signer(TENANT), None).await?;
        expirer.carry_out(&plan, Some(&mut appender), |_, _| ()).await
    };
    let undisturbed = told.copy("2027-06-01T00:00:00Z");
    let counting = FaultyStore::counting(undisturbed.store());
    assert!(run(&undisturbed, &counting).await.unwrap().is_whole());
    let expected = undisturbed.store.snapshot();
    println!("{} operations", counting.operations());
    // What an `expired` entry tells of the answers depends on what went before the crash; all else is the same.
    let speaking = |blobs: &BTreeMap<String, Vec<u8>>| -> Vec<_> {
        let entries = world::entries(blobs).into_values().map(|entry| entry.body);
        entries.map(|body| (body.seq, body.kind, body.target, body.range, body.count, body.names)).collect()
    };
    let packs = |blobs: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
        blobs.keys().filter(|name| !name.starts_with("log/")).cloned().collect()
    };
    for at in 0..counting.operations() {
        for fault in [Fault::NotDone, Fault::DoneButFailed] {
            for hiccup in [false, true] {
                let context = format!("operation {at}, {fault:?}, once: {hiccup}");
                let story = told.copy("2027-06-01T00:00:00Z");
                let faults = match hiccup {
                    true => FaultyStore::hiccup(story.store(), at, fault),
                    false => FaultyStore::failing(story.store(), at, fault),
                };
                let _ = run(&story, &faults).await;
                let options = VerifyOptions { deep: true, ..VerifyOptions::default() };
                let report = verify(&story.store, &options, |_, _| ()).await.unwrap();
                let broken: Vec<_> = report.findings.iter().filter(|f| f.severity == Severity::Finding).collect();
                assert!(broken.is_empty(), "{context}: {broken:#?}");
                let again = run(&story, &FaultyStore::counting(story.store())).await;
                assert!(again.unwrap().is_whole(), "{context}");
                let found = story.store.snapshot();
                assert_eq!(speaking(&found), speaking(&expected), "{context}");
                assert_eq!(packs(&found), packs(&expected), "{context}");
                let codes = sound(&story.store, &context).await;
                assert!(
                    codes.iter().all(|code| ["expired", "checkpoint-missing"].contains(code)),
                    "{context}: {codes:?}"
                );
            }
        }
    }
    accepted_by_the_other_reader(&undisturbed.store).await;
}
