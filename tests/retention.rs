//! The whole program: a mirror that follows captures, copies that are proved, and the end of months in a directory and in
//! a storage account.

#[path = "support/command.rs"]
mod command;
#[path = "support/worm.rs"]
mod worm;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use command::{Bench, Outcome};
use serde_json::Value;
use tenure::archive::appender::Appender;
use tenure::archive::note::Signer;
use tenure::clock::{Clock, ManualClock};
use tenure::simulator::{Options as TenantOptions, Simulator};
use tenure::store::{FilesystemStore, Store};
use worm::{Policy, Worm};

const START: &str = "2026-08-15T00:00:00Z";

/// Every file below a directory, but hidden ones.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            match path.is_dir() {
                true => pending.push(path),
                false => {
                    let name = path.strip_prefix(root).unwrap().display().to_string();
                    found.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

async fn tenant(clock: &ManualClock) -> Simulator {
    let options = TenantOptions { seed: 5, users: 30, start: clock.now(), episodes: false, ..TenantOptions::default() };
    Simulator::start(options, clock.clone()).await.unwrap()
}

fn run_with(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let ended = tokio::task::block_in_place(|| bench.run(arguments, variables));
    assert!(!ended.all().contains("sig="), "{}", ended.all());
    ended
}

fn done(ended: Outcome) -> Outcome {
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended
}

fn rewrite(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[10] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_follows_captures_and_never_fails_them() {
    let clock = ManualClock::new(START.parse().unwrap());
    let tenant = tenant(&clock).await;
    let config = |more: &str| format!("{}{}{more}", command::tenant_table(&tenant), command::secret_table(&tenant));
    let mirrored = config("[store.mirror]\nkind = \"filesystem\"\npath = \"mirror\"\n");
    let bench = Bench::new(&tenant, &clock, &mirrored);
    let run = |arguments: &[&str]| run_with(&bench, arguments, &[]);
    let capture = || {
        clock.advance(Duration::from_secs(3600));
        tenant.live_until(clock.now());
        done(run(&["capture"]))
    };
    let equal = |copy: &str| files(&bench.path("archive")) == files(&bench.path(copy));
    done(run(&["init"]));
    assert_eq!(capture().err, "");
    assert!(equal("mirror"));
    assert!(
        done(run(&["verify", "--archive", &bench.path("mirror").display().to_string()])).out.contains("no findings")
    );

    // The mirror goes away: captures go on, and say by how much it lags.
    std::fs::write(bench.path("blocked"), "no directory").unwrap();
    bench.configure(&mirrored.replace("\"mirror\"", "\"blocked\""));
    for lag in ["lags by 1 entry", "lags by 2 entries"] {
        let captured = capture();
        assert!(captured.err.contains(lag) && captured.err.contains("the archive itself has them"), "{}", captured.err);
    }
    clock.advance(Duration::from_secs(3600));
    let captured = done(run(&["capture", "--json"]));
    let told: Value = serde_json::from_str(captured.err.lines().last().unwrap()).unwrap();
    assert!(told["warning"].as_str().unwrap().contains("lags by 3 entries"), "{told}");
    assert_eq!(serde_json::from_str::<Value>(&captured.out).unwrap()["seq"], 4);
    bench.configure(&mirrored);
    assert_eq!(capture().err, "");
    assert!(equal("mirror"));

    // A mirror that is somebody else's isn't touched.
    let changed = bench.path("mirror/log/e/0000000005");
    rewrite(&changed);
    let bytes = std::fs::read(&changed).unwrap();
    let captured = capture();
    assert!(captured.err.contains("log/e/0000000005 holds other bytes"), "{}", captured.err);
    assert_eq!(std::fs::read(&changed).unwrap(), bytes);

    // Copies by hand, to a directory, to another configuration, and to the mirror.
    let copy = bench.path("copy").display().to_string();
    let proved = done(run(&["migrate", "--to", &copy]));
    assert!(proved.out.contains("the copy equals the archive"), "{}", proved.out);
    assert!(equal("copy"));
    let again: Value = serde_json::from_str(&done(run(&["migrate", "--to", &copy, "--json"])).out).unwrap();
    assert_eq!((&again["equal"], &again["written"]["entries"]), (&Value::Bool(true), &Value::from(0)));
    std::fs::write(bench.path("other.toml"), config("[store]\npath = \"third\"\n")).unwrap();
    let other = bench.path("other.toml").display().to_string();
    // A variable that overrides the place of the archive isn't meant for the other configuration.
    let variables = [("TENURE_STORE__PATH", bench.path("archive").display().to_string())];
    let variables = [(variables[0].0, variables[0].1.as_str())];
    done(run_with(&bench, &["migrate", "--to-config", &other], &variables));
    assert!(equal("third"));
    let refused = run(&["migrate", "--to-mirror"]);
    assert_eq!(refused.code, 3, "{}", refused.all());
    std::fs::remove_dir_all(bench.path("mirror")).unwrap();
    done(run(&["migrate", "--to-mirror"]));
    assert!(equal("mirror"));
    assert_eq!(capture().err, "");
    assert!(equal("mirror"));

    // The proof sees a changed byte in a pack that was copied before.
    let pack = files(&bench.path("copy")).into_keys().find(|name| name.contains("-b000-")).unwrap();
    rewrite(&bench.path("copy").join(&pack));
    let differs = run(&["migrate", "--to", &copy]);
    assert_eq!(differs.code, 3, "{}", differs.all());
    assert!(
        differs.out.contains(&format!("{pack} differs")) && differs.out.contains("does NOT equal"),
        "{}",
        differs.out
    );
    for wrong in [&["migrate"][..], &["migrate", "--to", &bench.path("archive").display().to_string()]] {
        assert_eq!(run(wrong).code, 2);
    }
}

/// The mirror hears of ends and keeps what ended, until it is told to let it go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_ends_what_its_archive_ended_when_it_is_told_to() {
    let clock = ManualClock::new(START.parse().unwrap());
    let tenant = tenant(&clock).await;
    let config = format!(
        "{}{}[store.mirror]\nkind = \"filesystem\"\npath = \"mirror\"\n",
        command::tenant_table(&tenant),
        command::secret_table(&tenant)
    );
    let bench = Bench::new(&tenant, &clock, &config);
    let run = |arguments: &[&str]| run_with(&bench, arguments, &[]);
    done(run(&["init"]));
    for time in ["2026-08-15T01:00:00Z", "2026-09-01T01:00:00Z", "2026-10-01T01:00:00Z"] {
        clock.set(time.parse().unwrap());
        done(run(&["capture"]));
    }
    // Files are as old as this test; the clock is far ahead of them.
    clock.set("2060-01-01T00:00:00Z".parse().unwrap());
    let plan = |arguments: &[&str]| -> (String, u64) {
        let plan: Value = serde_json::from_str(&done(run(arguments)).out).unwrap();
        (plan["plan"].as_str().unwrap()[..12].to_owned(), plan["due"].as_u64().unwrap())
    };
    assert_eq!(plan(&["expire", "--mirror", "--json"]).1, 0, "the archive tells nothing yet");
    let (hash, due) = plan(&["expire", "--json"]);
    assert_eq!(due, 1);
    assert_eq!(done(run(&["expire", "--confirm", &hash])).err, "");
    let left = |place: &str| files(&bench.path(place)).into_keys().filter(|name| name.starts_with("2026-08/")).count();
    assert!(left("archive") == 0 && left("mirror") > 0);
    let (hash, due) = plan(&["expire", "--mirror", "--json"]);
    assert_eq!(due, 1);
    // A hold that the mirror hasn't heard of: what has ended in the archive can still be held here.
    let key = std::fs::read_to_string(bench.path("tenure.key")).unwrap();
    let signer = Signer::from_secret_text(&key).unwrap();
    let archive = || Arc::new(FilesystemStore::new(bench.path("archive")));
    let commit = async |kind: &str, target: Option<u64>| {
        let mut appender = Appender::open(archive(), signer.clone(), None).await.unwrap();
        let mut body = appender.draft(kind, clock.now()).unwrap();
        body.target = target;
        appender.commit(&body).await.unwrap();
        body.seq
    };
    let hold = commit("hold", None).await;
    let refused = run(&["expire", "--mirror", "--confirm", &hash]);
    assert!(refused.code == 2 && left("mirror") > 0, "{}", refused.all());
    commit("release", Some(hold)).await;
    let log = files(&bench.path("archive/log"));
    let ended = done(run(&["expire", "--mirror", "--confirm", &hash]));
    assert!(ended.out.contains("ended"), "{}", ended.out);
    assert_eq!(files(&bench.path("archive/log")), log, "nothing is added to the log");
    assert_eq!(files(&bench.path("mirror")), files(&bench.path("archive")));
    assert!(done(run(&["captures"])).out.contains("content expired"));
    // Where the archive is lost, the mirror takes its place.
    std::fs::remove_dir_all(bench.path("archive")).unwrap();
    std::fs::remove_dir_all(bench.path("index")).unwrap();
    let mirror = bench.path("mirror").display().to_string();
    let from_mirror = [("TENURE_STORE__PATH", mirror.as_str()), ("TENURE_STORE_MIRROR__KIND", "none")];
    let new = bench.path("archive").display().to_string();
    let restored = done(run_with(&bench, &["migrate", "--to", &new], &from_mirror));
    assert!(restored.out.contains("the copy equals the archive"), "{}", restored.out);
    done(run(&["verify", "--deep"]));
    let dumped = run(&["dump", "--at", "#3"]);
    assert!(dumped.code == 4 && dumped.out.lines().count() > 30, "{}", dumped.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn months_end_in_a_storage_account_by_somebody_who_may() {
    let clock = ManualClock::new(START.parse().unwrap());
    let months = ["log", "2026-08", "2026-09", "2026-10", "2026-11"];
    // A year and a hundred days, as docs/operations.md has it.
    let Some(worm) = Worm::start(&months, Policy::locked(465), &clock).await else { return };
    let tenant = tenant(&clock).await;
    let config = format!(
        "{}{}[store]\nkind = \"azure\"\naccount_url = \"{}\"\nprefix = \"{}\"\ncredential = \"sas\"\n\
         sas_env = \"STORE_SAS\"\n[retention]\npreset = \"pci-dss\"\n",
        command::tenant_table(&tenant),
        command::secret_table(&tenant),
        worm.url(),
        worm.prefix
    );
    let bench = Bench::new(&tenant, &clock, &config);
    // What the service signs with can't delete.
    let (may, may_not) = (worm::signature(), worm::signature_with("rwlac"));
    let who = [("TENURE_EXPIRY__CREDENTIAL", "sas"), ("TENURE_EXPIRY__SAS_ENV", "EXPIRY_SAS")];
    let run = |arguments: &[&str], is_named: bool| {
        let mut variables = vec![("STORE_SAS", may_not.as_str()), ("EXPIRY_SAS", may.as_str())];
        variables.extend(is_named.then_some(who).into_iter().flatten());
        run_with(&bench, arguments, &variables)
    };
    done(run(&["init"], false));
    for time in ["2026-08-15T01:00:00Z", "2026-09-01T01:00:00Z", "2026-10-01T01:00:00Z", "2026-11-01T01:00:00Z"] {
        clock.set(time.parse().unwrap());
        done(run(&["capture"], false));
    }
    let refused = run(&["expire"], false);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.err.contains("[expiry] is empty") && refused.err.contains("blobs/delete"), "{}", refused.err);

    let plan = |expected: &[&str]| -> String {
        let plan: Value = serde_json::from_str(&done(run(&["expire", "--json"], true)).out).unwrap();
        let fates: Vec<&str> =
            plan["segments"].as_array().unwrap().iter().map(|s| s["fate"].as_str().unwrap()).collect();
        assert_eq!(fates, expected);
        plan["plan"].as_str().unwrap()[..12].to_owned()
    };
    plan(&["not-yet", "not-yet", "recent", "recent"]);
    // The retention is over, and the policy still runs: an answer, and the month is whole.
    clock.set("2027-08-16T00:00:00Z".parse().unwrap());
    let hash = plan(&["expire", "not-yet", "recent", "recent"]);
    let kept = run(&["expire", "--confirm", &hash], true);
    assert_eq!(kept.code, 4, "{}", kept.all());
    assert!(kept.out.contains("the storage's retention policy still runs"), "{}", kept.out);
    assert!(done(run(&["verify", "--deep"], false)).out.contains("no findings"));
    // A legal hold in the storage.
    clock.set("2027-11-25T00:00:00Z".parse().unwrap());
    worm.set_policy("2026-08", Policy { hold: true, ..Policy::locked(465) });
    plan(&["held-by-storage", "expire", "recent", "recent"]);
    worm.set_policy("2026-08", Policy::locked(465));
    // Both, and the second is still kept by its policy.
    let hash = plan(&["continue", "expire", "recent", "recent"]);
    let refused = run(&["expire", "--confirm", "0123456789ab"], true);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.err.contains("nothing was done"), "{}", refused.err);
    let ended = run(&["expire", "--confirm", &hash], true);
    assert_eq!(ended.code, 4, "{}", ended.all());
    assert!(ended.out.contains("1 container-deleted") && ended.out.contains("did not end"), "{}", ended.out);
    plan(&["ended", "continue", "recent", "recent"]);
    assert!(worm.store().list("2026-08/", "").await.unwrap().is_empty());
    assert_eq!(worm.raw("GET", &format!("{}?restype=container", worm.container("2026-08")), &[], b"").await.0, 404);
    let verified = done(run(&["verify", "--deep"], false));
    assert!(verified.out.contains("no findings") && verified.out.contains("content expired"), "{}", verified.out);
    // Questions and captures go on.
    let gone = run(&["dump", "--at", "2026-08-20"], false);
    assert_eq!(gone.code, 2, "{}", gone.all());
    assert!(gone.err.contains("its content expired; the oldest that is kept is #2"), "{}", gone.err);
    assert!(run(&["dump", "--at", "#2"], false).out.lines().count() > 30);
    worm.provision("2027-11", Policy::locked(465)).await;
    done(run(&["capture"], false));
    // Whoever has no right to is told so, and by which name.
    clock.set("2028-06-01T00:00:00Z".parse().unwrap());
    let hash = plan(&["ended", "continue", "expire", "recent", "recent"]);
    let variables = [who[0], who[1], ("STORE_SAS", &may_not), ("EXPIRY_SAS", &may_not)];
    let denied = run_with(&bench, &["expire", "--confirm", &hash], &variables);
    assert_eq!(denied.code, 1, "{}", denied.all());
    assert!(denied.err.contains("denies access") && denied.err.contains("[expiry]"), "{}", denied.err);
    done(run(&["expire", "--confirm", &hash], true));
    plan(&["ended", "ended", "ended", "recent", "recent"]);
    assert!(done(run(&["verify", "--deep"], false)).out.contains("no findings"));
}
