//! Processes that are killed at random moments, a hundred times, on real files: nothing that was committed is ever lost,
//! and the log never forks.
//!
//! The moments come from a seed, what they hit doesn't: `TENURE_KILL_SEED` and `TENURE_KILL_RUNS` make other hundreds.

#[path = "support/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use command::{secret_table, tenant_table};
use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tenure::archive::entry::Entry;
use tenure::archive::verify::{Options as VerifyOptions, Severity, verify};
use tenure::clock::ManualClock;
use tenure::model;
use tenure::simulator::{Options as TenantOptions, Simulator};
use tenure::store::FilesystemStore;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Little enough to be captured in a moment, and of every way of reading something.
const ON: [&str; 5] = ["user", "group", "conditionalAccessPolicy", "unifiedRoleAssignment", "directoryAudit"];

/// A machine's configuration: state and index of its own, the archive shared.
fn configure(root: &Path, machine: &str, tenant: &Simulator) -> PathBuf {
    let directory = root.join(machine);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("secret"), tenant.client_secret()).unwrap();
    let off: String = model::COLLECTIONS
        .iter()
        .filter(|collection| !ON.contains(&collection.name))
        .map(|collection| format!("{} = false\n", collection.name))
        .collect();
    let text = format!(
        "{}{}[store]\npath = \"../archive\"\n[signing]\nkey_file = \"../tenure.key\"\n[schedule]\ncapture = \"* * * * *\"\n\
         [web]\nlisten = \"127.0.0.1:0\"\n[collections]\n{off}",
        tenant_table(tenant),
        secret_table(tenant),
    );
    let file = directory.join("tenure.toml");
    std::fs::write(&file, text).unwrap();
    file
}

fn start(config: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.arg("--config").arg(config).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

/// Lets a process run for at most `time`, kills it with SIGKILL, and returns what it had said.
async fn run(mut child: Child, time: Duration) -> (bool, String) {
    let mut out = child.stdout.take().unwrap();
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        let _ = out.read_to_string(&mut text).await;
        text
    });
    let is_killed = match tokio::time::timeout(time, child.wait()).await {
        Ok(ended) => {
            assert!(ended.unwrap().success(), "a process that isn't killed does its work");
            false
        }
        Err(_) => {
            child.kill().await.unwrap();
            true
        }
    };
    (is_killed, reading.await.unwrap())
}

fn entries(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let directory = root.join("archive/log/e");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    // What is being written has a name that no reader takes.
    let files = files.filter(|file| file.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    files.map(|file| (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).unwrap())).collect()
}

async fn check_archive(root: &Path, deep: bool, story: &str) {
    let store = FilesystemStore::new(root.join("archive"));
    let report = verify(&store, &VerifyOptions { deep, ..VerifyOptions::default() }, |_, _| {}).await.unwrap();
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Finding).collect();
    assert!(found.is_empty(), "{story}: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_processes_that_are_killed_lose_nothing_and_fork_nothing() {
    let seed = number("TENURE_KILL_SEED", 9);
    let runs = number("TENURE_KILL_RUNS", 100);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let clock = ManualClock::new(Timestamp::now());
    let options =
        TenantOptions { seed, users: 40, start: Timestamp::now(), episodes: false, ..TenantOptions::default() };
    let tenant = Simulator::start(options, clock.clone()).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let machines = ["one", "two"].map(|machine| configure(root, machine, &tenant));
    let (is_killed, _) = run(start(&machines[0], &["init"]), Duration::from_secs(60)).await;
    assert!(!is_killed);
    let began = std::time::Instant::now();
    let (is_killed, _) = run(start(&machines[0], &["capture"]), Duration::from_secs(60)).await;
    assert!(!is_killed);
    // What a whole run takes here, by which moments in it are chosen.
    let whole = began.elapsed();
    let (mut killed, mut said, mut known) = (0, 0, entries(root));
    for number in 0..runs {
        let story = format!("seed {seed}, run {number}");
        clock.set(Timestamp::now());
        tenant.live_until(Timestamp::now() + jiff::SignedDuration::from_mins(20 * number as i64));
        // Every tenth is the service, every seventh two processes at once.
        let work: &[&str] = if number % 10 == 9 { &["serve"] } else { &["capture", "--json"] };
        let both = number % 7 == 3;
        let mut running = Vec::new();
        for machine in &machines[..if both { 2 } else { 1 }] {
            let time = whole.mul_f64(dice.random_range(0.05..1.3));
            running.push(tokio::spawn(run(start(machine, work), time)));
        }
        for one in running {
            let (is_killed, out) = one.await.unwrap();
            killed += u64::from(is_killed);
            if let Some(line) = out.strip_suffix('\n').filter(|line| line.starts_with('{')) {
                // What it said is committed is committed.
                let body: serde_json::Value = serde_json::from_str(line).unwrap();
                let file = entries(root).remove(&format!("{:010}", body["seq"].as_u64().unwrap())).expect(&story);
                let entry = Entry::parse(&file).unwrap();
                assert_eq!(serde_json::from_slice::<serde_json::Value>(&entry.text).unwrap(), body, "{story}");
                said += 1;
            }
        }
        let now = entries(root);
        for (name, bytes) in &known {
            assert_eq!(now.get(name), Some(bytes), "{story}: entry {name} was there before");
        }
        known = now;
        if number % 20 == 19 {
            check_archive(root, false, &story).await;
        }
    }
    // One that is left alone finds everything in order, also with what the killed ones left in index and state.
    for machine in &machines {
        let (is_killed, out) = run(start(machine, &["capture", "--json"]), Duration::from_secs(60)).await;
        assert!(!is_killed && out.starts_with('{'), "{out}");
    }
    check_archive(root, true, "at the end").await;
    println!("seed {seed}: {killed} killed, {said} told of what they had committed, {} entries", entries(root).len());
    assert!(killed * 3 > runs, "only {killed} were killed");
    assert!(said * 20 > runs && entries(root).len() as u64 * 5 > runs, "hardly anything was committed in between");
}
