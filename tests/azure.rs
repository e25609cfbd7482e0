//! The store in a storage account, against Azurite behind a front that enforces immutability: what the account enforces,
//! how that is checked, what becomes of faults on the wire, and what signs requests.

#[path = "support/command.rs"]
mod command;
#[path = "support/worm.rs"]
mod worm;

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use command::Bench;
use serde_json::{Value, json};
use tenure::clock::{Clock, ManualClock, SystemClock};
use tenure::simulator::{Options as TenantOptions, Simulator};
use tenure::store::azure::guard::{Report, Verdict};
use tenure::store::azure::{Access, Management, NoAccess, Options, Signature, Token, TokenFuture, TokenSource};
use tenure::store::{AzureStore, Store, StoreError, put_new};
use worm::{Call, Meddle, Policy, Worm};

const START: &str = "2026-08-15T00:00:00Z";
const DAY: Duration = Duration::from_secs(86_400);
/// What the months of an archive that is kept for seven years need, and its log.
const MONTH_DAYS: u64 = 7 * 365 + 2 + 100;
const LOG_DAYS: u64 = 17 * 365 + 5 + 100;

fn clock() -> ManualClock {
    ManualClock::new(START.parse().unwrap())
}

/// Everything that an error says, with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

const PUT: &[(&str, &str)] = &[("x-ms-blob-type", "BlockBlob")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_the_account_s_keys_can_neither_replace_nor_remove_what_was_written() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log"], Policy::locked(7), &clock).await else { return };
    let store = worm.store();
    let (log, blob) = (worm.container("log"), format!("{}/e/0000000000", worm.container("log")));
    store.create("log/e/0000000000", b"one").await.unwrap();
    let policy = (409, "BlobImmutableDueToPolicy".to_owned());
    assert_eq!(worm.raw("PUT", &blob, PUT, b"two").await, policy);
    assert_eq!(worm.raw("PUT", &format!("{blob}?comp=metadata"), &[("x-ms-meta-a", "b")], b"").await, policy);
    assert_eq!(worm.raw("DELETE", &blob, &[], b"").await, policy);
    let container = format!("{log}?restype=container");
    assert_eq!(worm.raw("DELETE", &container, &[], b"").await, (409, "ContainerImmutabilityPolicyLocked".into()));
    assert_eq!(store.get("log/e/0000000000").await.unwrap(), b"one");

    clock.advance(7 * DAY);
    assert_eq!(worm.raw("PUT", &blob, PUT, b"two").await, policy, "not replaced even when its interval is over");
    worm.set_policy("log", Policy { hold: true, ..Policy::locked(7) });
    assert_eq!(worm.raw("DELETE", &blob, &[], b"").await, (409, "BlobImmutableDueToLegalHold".into()));
    assert_eq!(worm.raw("DELETE", &container, &[], b"").await, (409, "ContainerHasLegalHold".into()));
    worm.set_policy("log", Policy::locked(7));
    assert_eq!(worm.raw("DELETE", &blob, &[], b"").await.0, 202, "removed when nothing keeps it any more");

    // Without what the front adds, Azurite does all of it: this test proves something.
    store.create("log/e/0000000001", b"one").await.unwrap();
    worm.stop_enforcing();
    let blob = format!("{log}/e/0000000001");
    assert_eq!(worm.raw("PUT", &blob, PUT, b"two").await.0, 201);
    assert_eq!(store.get("log/e/0000000001").await.unwrap(), b"two");
    assert_eq!(worm.raw("DELETE", &blob, &[], b"").await.0, 202);
}

fn row(container: &str, days_wanted: u64) -> Value {
    json!({
        "container": container, "verdict": "enforced", "reasons": [], "policy": true, "hold": false, "versions": null,
        "overwrite": "refused", "delete": "refused", "locked": null, "days": null, "days_wanted": days_wanted,
        "excess": null,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_finds_an_account_that_enforces_and_touches_nothing_but_canaries() {
    let clock = clock();
    let roots = ["log", "view", "2026-07", "2026-08", "2026-09"];
    let Some(worm) = Worm::start(&roots, Policy::locked(7), &clock).await else { return };
    let store = worm.store();
    store.create("2026-07/s/a", b"an old month").await.unwrap();
    worm.seen();
    let guard = store.guard(None, 7);
    for _ in 0..2 {
        let report = guard.check(clock.now(), 1).await;
        let mut rows = vec![row(&worm.container("log"), LOG_DAYS)];
        rows.extend(roots[2..].iter().map(|month| row(&worm.container(month), MONTH_DAYS)));
        // What Azurite says of versions is not what is being tested.
        let mut found = report.to_json();
        found["containers"].as_array_mut().unwrap().iter_mut().for_each(|row| row["versions"] = Value::Null);
        let expected = json!({
            "sound": true, "containers": rows, "missing": [], "whole": true, "management": false,
        });
        assert_eq!(found, expected);
        assert!(report.is_sound());
    }
    let writes = worm.seen().into_iter().filter(|call| call.method != "GET").collect::<Vec<_>>();
    assert!(!writes.is_empty() && writes.iter().all(|call| call.blob == "canary"), "{writes:?}");
    assert!(writes.iter().all(|call| !call.container.ends_with("view")), "the view has to stay replaceable");
    let listed: Vec<String> = store.list("", "").await.unwrap().into_iter().map(|listed| listed.name).collect();
    assert_eq!(listed, ["2026-07/s/a"], "a canary is no part of the archive");
    assert!(matches!(store.create("log/canary", b"x").await, Err(StoreError::BadName { .. })));
    assert!(matches!(store.get("log/canary").await, Err(StoreError::BadName { .. })));

    // A canary whose own time is over may be deleted; a new one shows that the policy is still there.
    clock.advance(8 * DAY);
    assert!(guard.check(clock.now(), 1).await.is_sound());
}

/// What the guard says of the log: verdict and reasons.
async fn log_of(worm: &Worm) -> (Verdict, Vec<&'static str>) {
    let report = worm.store().guard(None, 7).check(START.parse().unwrap(), 0).await;
    assert!(!report.is_sound() || report.containers[0].verdict == Verdict::Enforced);
    let log = &report.containers[0];
    assert!(log.container.ends_with("-log"));
    (log.verdict, log.reasons.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guard_says_what_isn_t_enforced_and_what_it_can_t_tell() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log", "2026-08"], Policy::default(), &clock).await else { return };
    worm.seen();
    assert_eq!(log_of(&worm).await, (Verdict::NotEnforced, vec!["no-policy"]));
    assert!(worm.seen().iter().all(|call| call.method == "GET"), "nothing is tried where nothing is promised");
    worm.set_policy("log", Policy { hold: true, ..Policy::default() });
    assert_eq!(log_of(&worm).await, (Verdict::Enforced, vec![]), "a hold does it too");

    worm.set_policy("log", Policy::locked(7));
    let attempts =
        |call: &Call| call.method == "DELETE" || call.method == "PUT" && !call.headers.contains_key("if-none-match");
    let denied = Meddle::Answer(403, "AuthorizationPermissionMismatch", &[]);
    type Which = fn(&Call) -> bool;
    let cases: [(Which, Meddle, &str); 6] = [
        (attempts, denied.clone(), "attempt-denied"),
        (attempts, Meddle::Answer(500, "InternalError", &[]), "attempt-unknown"),
        (|call| call.method == "PUT", denied.clone(), "canary-denied"),
        (|call| call.method == "PUT", Meddle::Reset, "canary-unavailable"),
        (|call| call.parameter("restype") == Some("container"), denied.clone(), "denied"),
        (|call| call.parameter("restype") == Some("container"), Meddle::Reset, "unavailable"),
    ];
    for (which, meddle, reason) in cases {
        worm.meddle(move |call| if which(call) { meddle.clone() } else { Meddle::Pass });
        assert_eq!(log_of(&worm).await, (Verdict::Unchecked, vec![reason]));
    }
    worm.meddle(move |call| match call.parameter("comp") {
        Some("list") => denied.clone(),
        _ => Meddle::Pass,
    });
    let report = worm.store().guard(None, 7).check(clock.now(), 2).await;
    assert!(!report.is_whole && !report.is_sound());
    assert_eq!(report.missing, [worm.container("2026-09"), worm.container("2026-10")]);

    // An account that says it has a policy and does nothing, as Azurite by itself.
    worm.meddle(|_| Meddle::Pass);
    worm.stop_enforcing();
    assert_eq!(log_of(&worm).await, (Verdict::NotEnforced, vec!["overwrite-allowed", "delete-allowed"]));
}

/// Tokens `t1`, `t2` and so on, each kept until it is refused.
#[derive(Debug, Default)]
struct Counting(AtomicU32);

impl TokenSource for Counting {
    fn token(&self, refused: Option<u64>) -> TokenFuture<'_> {
        if refused.is_some() || self.0.load(Ordering::SeqCst) == 0 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        let generation = u64::from(self.0.load(Ordering::SeqCst));
        let token = Token { secret: format!("t{generation}").into(), generation };
        Box::pin(std::future::ready(Ok(token)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_resource_manager_tells_whether_policies_are_locked_and_long_enough() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log", "2026-08"], Policy::locked(LOG_DAYS), &clock).await else { return };
    worm.accept(&["t1"]);
    let id = "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a";
    let management = || {
        let tokens = Box::new(Counting::default());
        Management::new(worm.origin(), id, tokens, Arc::new(clock.clone())).unwrap()
    };
    let check = async || -> Report { worm.store().guard(Some(management()), 7).check(clock.now(), 0).await };
    let report = check().await;
    assert!(report.is_sound() && report.has_management, "{report:?}");
    assert_eq!((report.containers[0].is_locked, report.containers[0].days), (Some(true), Some(LOG_DAYS)));

    worm.set_policy("log", Policy { locked: false, ..Policy::locked(LOG_DAYS - 1) });
    let report = check().await;
    assert_eq!(report.containers[0].verdict, Verdict::Enforced, "in force until somebody takes it away");
    assert_eq!(report.containers[0].reasons, ["policy-unlocked", "interval-short"]);
    assert!(!report.is_sound());
    assert_eq!(report.to_json()["containers"][0]["locked"], false);

    worm.set_policy("log", Policy::locked(LOG_DAYS));
    assert_eq!(check().await.containers[0].excess, Some(Vec::new()));
    worm.set_rights(
        json!({ "value": [{ "actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": [] }] }),
    );
    let report = check().await;
    assert_eq!(report.containers[0].reasons, ["rights-too-large"]);
    assert!(report.containers[0].excess.as_ref().unwrap().len() > 5 && !report.is_sound());
    worm.set_rights(json!({ "value": [] }));
    worm.set_policy("log", Policy { locked: false, ..Policy::locked(LOG_DAYS - 1) });

    worm.accept(&[]);
    let report = check().await;
    assert_eq!((report.containers[0].is_locked, report.containers[0].days), (None, None), "no right to ask");
    assert_eq!(report.containers[0].verdict, Verdict::Enforced);

    for wrong in
        ["", "/subscriptions/s", &id.replace("Storage", "Compute"), &id.replace("/g/", "/../"), &format!("{id}/x")]
    {
        let tokens = Box::new(Counting::default());
        let error = Management::new(worm.origin(), wrong, tokens, Arc::new(clock.clone())).unwrap_err();
        assert_eq!(error.option, "store.resource_id", "{wrong}");
    }
}

/// Meddles with the first `count` requests that create a blob.
fn first_creates(worm: &Worm, count: u32, meddle: Meddle) {
    let left = Mutex::new(count);
    worm.meddle(move |call| {
        let mut left = left.lock().unwrap();
        if !call.creates() || *left == 0 {
            return Meddle::Pass;
        }
        *left -= 1;
        meddle.clone()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_answer_is_lost_is_settled_by_what_is_there() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log"], Policy::locked(7), &clock).await else { return };
    let store = worm.store();
    let mut number = 0;
    let mut put = async |count, meddle, expected: Option<&str>| {
        number += 1;
        let name = format!("log/e/{number:010}");
        first_creates(&worm, count, meddle);
        let result = put_new(&store, &name, b"one").await;
        worm.meddle(|_| Meddle::Pass);
        match expected {
            None => {
                result.unwrap();
                assert_eq!(store.get(&name).await.unwrap(), b"one");
            }
            Some(expected) => assert!(format!("{result:?}").starts_with(expected), "{result:?}"),
        }
    };
    // One answer, all answers of one create, and of every create that is tried.
    for count in [1, 3, 100] {
        put(count, Meddle::LoseAnswer, None).await;
    }
    put(1, Meddle::Reset, None).await;
    put(3, Meddle::Reset, None).await;
    put(100, Meddle::Reset, Some("Err(Unavailable")).await;
    put(100, Meddle::Answer(500, "InternalError", &[]), Some("Err(Unavailable")).await;
    put(100, Meddle::Answer(403, "AuthorizationFailure", &[]), Some("Err(Denied")).await;
    // The service says that something is there, and what is there is ours.
    put(1, Meddle::Answer(500, "OperationTimedOut", &[]), None).await;

    // Another writer was first.
    store.create("log/e/1000000000", b"theirs").await.unwrap();
    for meddle in [Meddle::LoseAnswer, Meddle::Answer(412, "ConditionNotMet", &[]), Meddle::Pass] {
        first_creates(&worm, 100, meddle);
        let lost = put_new(&store, "log/e/1000000000", b"ours").await;
        assert!(matches!(lost, Err(StoreError::Exists { .. })), "{lost:?}");
    }
    assert_eq!(store.get("log/e/1000000000").await.unwrap(), b"theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_account_is_waited_for_but_not_for_ever() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log"], Policy::locked(7), &clock).await else { return };
    let store = worm.store();
    let mut number = 0;
    let mut waited = async |count, meddle| {
        number += 1;
        let before = clock.now();
        first_creates(&worm, count, meddle);
        worm.seen();
        let result = store.create(&format!("log/e/{number:010}"), b"one").await;
        (result.is_ok(), clock.now().duration_since(before).as_millis(), worm.seen().len())
    };
    let busy = |after| Meddle::Answer(503, "ServerBusy", after);
    assert_eq!(waited(1, busy(&[("retry-after", "7")])).await, (true, 7_000, 2));
    assert_eq!(waited(1, busy(&[])).await, (true, 500, 2));
    assert_eq!(waited(2, Meddle::Answer(429, "TooManyRequests", &[])).await, (true, 2_500, 3));
    assert_eq!(waited(100, busy(&[("retry-after", "86400")])).await, (false, 60_000, 3), "bounded in time and number");
    assert_eq!(waited(100, Meddle::Answer(400, "InvalidHeaderValue", &[])).await, (false, 0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_short_or_changed_is_never_taken_for_the_blob() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log", "2026-08"], Policy::locked(7), &clock).await else { return };
    let store = worm.store();
    // Larger than one part, so that it is put together from three.
    let large: Vec<u8> = (0..20 * 1024 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    store.create("2026-08/large", &large).await.unwrap();
    assert_eq!(worm.seen().iter().filter(|call| call.method == "PUT").count(), 1 + 2, "one request for one blob");
    assert!(store.get("2026-08/large").await.unwrap() == large);
    assert!(worm.seen().iter().filter(|call| call.method == "GET").count() > 1);
    let middle = store.get_range("2026-08/large", 9_000_000..19_000_000).await.unwrap();
    assert!(middle == large[9_000_000..19_000_000]);
    store.create("log/e/0000000000", b"0123456789").await.unwrap();

    for meddle in [Meddle::Truncate, Meddle::Damage] {
        let always = meddle.clone();
        worm.meddle(move |call| if call.method == "GET" { always.clone() } else { Meddle::Pass });
        for result in [
            store.get("log/e/0000000000").await,
            store.get_range("log/e/0000000000", 3..6).await,
            store.get("2026-08/large").await,
        ] {
            assert!(matches!(&result, Err(error) if error.is_transient()), "{meddle:?}: {result:?}");
        }
    }
    // Once is no harm.
    let first = Mutex::new(true);
    worm.meddle(move |call| match call.method == "GET" && std::mem::take(&mut *first.lock().unwrap()) {
        true => Meddle::Truncate,
        false => Meddle::Pass,
    });
    assert_eq!(store.get("log/e/0000000000").await.unwrap(), b"0123456789");
    assert_eq!(store.get_range("log/e/0000000000", 3..3).await.unwrap(), b"");

    // What is damaged on its way to the account is refused there: every blob goes with its checksum.
    worm.meddle(|_| Meddle::Pass);
    worm.seen();
    store.create("log/e/0000000001", b"x").await.unwrap();
    assert_eq!(worm.seen()[0].headers["content-md5"], "ndTkYSaMgDT1yFZOFVxnpg==");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_isn_t_there_is_named_and_nothing_is_made() {
    let clock = clock();
    let Some(worm) = Worm::start(&["2026-08"], Policy::locked(7), &clock).await else { return };
    let store = worm.store();
    for (name, root) in [("2026-09/s/a", "2026-09"), ("log/e/0000000000", "log")] {
        let error = put_new(&store, name, b"x").await.unwrap_err();
        assert!(matches!(&error, StoreError::NoContainer { container, .. } if *container == worm.container(root)));
        assert!(error.to_string().contains(&worm.container(root)) && !error.is_transient(), "{error}");
    }
    // A month may not be there yet, or be over; without its log there is no archive.
    assert!(matches!(store.get("2026-09/s/a").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.get_range("2026-09/s/a", 0..1).await, Err(StoreError::NotFound { .. })));
    assert!(store.list("2026-09/s/", "").await.unwrap().is_empty());
    assert!(matches!(store.get("log/e/0000000000").await, Err(StoreError::NoContainer { .. })));
    assert!(matches!(store.list("log/e/", "").await, Err(StoreError::NoContainer { .. })));
    assert!(
        worm.seen().iter().skip(1).all(|call| call.parameter("restype") != Some("container") || call.method == "GET")
    );
}

/// Nothing to sign in with.
#[derive(Debug)]
struct Nothing(bool);

impl TokenSource for Nothing {
    fn token(&self, _: Option<u64>) -> TokenFuture<'_> {
        Box::pin(std::future::ready(Err(NoAccess { source: "the reason".into(), is_transient: self.0 })))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_renewed_once_when_refused_and_never_shown() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log"], Policy::locked(7), &clock).await else { return };
    let store = worm.store_with(Access::Tokens(Box::new(Counting::default())));
    worm.accept(&["t2"]);
    worm.seen();
    store.create("log/e/0000000000", b"one").await.unwrap();
    assert_eq!(store.get("log/e/0000000000").await.unwrap(), b"one");
    let said: Vec<String> = worm.seen().into_iter().map(|call| call.headers["authorization"].clone()).collect();
    assert_eq!(said, ["Bearer t1", "Bearer t2", "Bearer t2"]);
    worm.accept(&[]);
    let error = store.get("log/e/0000000000").await.unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    assert_eq!(worm.seen().len(), 2);
    assert!(!chain(&error).contains("t4"), "{}", chain(&error));

    for (is_transient, expected) in [(true, "Unavailable"), (false, "Denied")] {
        let store = worm.store_with(Access::Tokens(Box::new(Nothing(is_transient))));
        let error = store.create("log/e/0000000001", b"one").await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected) && chain(&error).contains("the reason"), "{error:?}");
    }
    assert!(worm.seen().is_empty(), "nothing is sent unsigned");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_in_a_file_can_be_renewed_and_is_never_shown() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log"], Policy::locked(7), &clock).await else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sas");
    let store = worm.store_with(Access::Signature(Signature::File(file.clone())));
    let failing = async |expected: &str| {
        let error = store.create("log/e/0000000000", b"one").await.unwrap_err();
        let said = chain(&error);
        assert!(format!("{error:?}").starts_with(expected) && !said.contains("sig="), "{said}");
    };
    failing("Denied").await;
    std::fs::write(&file, worm::signature().replace("rwdlac", "rwdl")).unwrap();
    failing("Denied").await;
    std::fs::write(&file, format!("?{}\n", worm::signature())).unwrap();
    worm.meddle(|_| Meddle::Reset);
    failing("Unavailable").await;
    worm.meddle(|_| Meddle::Pass);
    store.create("log/e/0000000000", b"one").await.unwrap();

    // Nobody there at all.
    let access = Access::Signature(Signature::Held(worm::signature().into()));
    let options = Options { account_url: "http://127.0.0.1:9/a".into(), prefix: String::new(), access };
    let store = AzureStore::new(options, Arc::new(clock)).unwrap();
    let error = store.get("log/e/0000000000").await.unwrap_err();
    assert!(error.is_transient() && !chain(&error).contains("sig="), "{}", chain(&error));
    assert!(!format!("{store:?}").contains("sig="));
}

/// The whole program over a storage account, where every first answer to a create is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_commands_work_on_a_storage_account() {
    let clock = clock();
    let Some(worm) = Worm::start(&["log", "2026-08"], Policy::locked(7), &clock).await else { return };
    let options = TenantOptions { seed: 5, users: 30, start: clock.now(), episodes: false, ..TenantOptions::default() };
    let tenant = Simulator::start(options, clock.clone()).await.unwrap();
    let config = |store: &str| {
        format!(
            "{}{}[store]\nkind = \"azure\"\naccount_url = \"{}\"\nprefix = \"{}\"\n{store}",
            command::tenant_table(&tenant),
            command::secret_table(&tenant),
            worm.url(),
            worm.prefix
        )
    };
    let bench = Bench::new(&tenant, &clock, &config("credential = \"sas\"\nsas_env = \"STORE_SAS\"\n"));
    let signature = worm::signature();
    let run = |arguments: &[&str]| {
        let ended = tokio::task::block_in_place(|| bench.run(arguments, &[("STORE_SAS", &signature)]));
        assert!(!ended.all().contains("sig="), "{}", ended.all());
        ended
    };
    let names = Mutex::new(std::collections::BTreeSet::new());
    worm.meddle(move |call| match call.creates() && names.lock().unwrap().insert(call.blob.clone()) {
        true => Meddle::LoseAnswer,
        false => Meddle::Pass,
    });
    let begun = run(&["init"]);
    assert_eq!(begun.code, 0, "{}", begun.all());
    assert!(begun.all().contains(&format!("({}-*)", worm.prefix)), "{}", begun.all());
    for _ in 0..2 {
        clock.advance(Duration::from_secs(3600));
        tenant.live_until(clock.now());
        let captured = run(&["capture"]);
        assert_eq!(captured.code, 0, "{}", captured.all());
    }
    let verified = run(&["verify", "--deep"]);
    assert!(verified.code == 0 && verified.out.contains("the archive verifies: no findings"), "{}", verified.all());
    assert_eq!(run(&["captures"]).code, 0);

    // The next month was never provisioned: its segment is opened in the newest that is.
    clock.set("2026-09-01T00:00:00Z".parse().unwrap());
    let captured = run(&["capture"]);
    assert!(captured.code == 0 && captured.out.contains("began a segment in 2026-08"), "{}", captured.all());
    let verified = run(&["verify", "--deep"]);
    assert!(verified.code == 0 && verified.out.contains("the archive verifies: no findings"), "{}", verified.all());

    // A person's own sign-in reads and never writes.
    bench.configure(&config("credential = \"azure_cli\"\n"));
    let refused = run(&["capture"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.err.contains("azure_cli"), "{}", refused.err);
}

/// Against a real account; docs/operations.md says how. What it writes stays until the policy lets it go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a storage account of one's own"]
async fn a_real_account_enforces_what_the_front_pretends() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let access = Access::Signature(Signature::Held(variable("TENURE_TEST_AZURE_SAS").into()));
    let (account_url, prefix) = (variable("TENURE_TEST_AZURE_URL"), variable("TENURE_TEST_AZURE_PREFIX"));
    let store = AzureStore::new(Options { account_url, prefix, access }, Arc::new(SystemClock)).unwrap();
    let name = format!("log/test/{}", uuid::Uuid::new_v4());
    assert!(matches!(store.get(&name).await, Err(StoreError::NotFound { .. })));
    store.create(&name, b"one").await.unwrap();
    assert!(matches!(store.create(&name, b"two").await, Err(StoreError::Exists { .. })));
    put_new(&store, &name, b"one").await.unwrap();
    assert_eq!(store.get(&name).await.unwrap(), b"one");
    assert_eq!(store.get_range(&name, 1..9).await.unwrap(), b"ne");
    assert_eq!(store.get_range(&name, 9..10).await.unwrap(), b"");
    assert_eq!(store.list(&name, "").await.unwrap().len(), 1);
    let empty = format!("{name}-empty");
    store.create(&empty, b"").await.unwrap();
    assert_eq!(store.get(&empty).await.unwrap(), b"");
    let report = store.guard(None, 7).check(SystemClock.now(), 0).await;
    println!("{:#}", report.to_json());
    assert_eq!(report.containers[0].verdict, Verdict::Enforced, "{report:#?}");
}
