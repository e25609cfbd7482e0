//! The own-use log as processes write it: many at once, and killed at any moment.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use support::*;
use tenure::archive::entry::Status;
use tenure::archive::verify::{Options, Severity, verify};
use tenure::store::{FilesystemStore, Store};

const START: &str = "2026-08-31T09:30:00Z";

async fn check(store: &dyn Store) {
    let report = verify(store, &Options { deep: true, ..Options::default() }, |_, _| {}).await.unwrap();
    let bad: Vec<_> = report.findings.iter().filter(|finding| finding.severity == Severity::Finding).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

/// A directory with an archive, its key and a configuration for the built program.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    async fn new(users: usize) -> Machine {
        let root = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(root.path().join("archive")));
        let mut builder = ArchiveBuilder::new(store, "t", at(START)).await;
        let cover = vec![row("user", None, Status::Complete, None)];
        let names = (0..users).map(|number| format!("user/u{number:06}"));
        let content = |name: &str| format!(r#"{{"displayName":"{name}","id":"{name}","more":"{}"}}"#, "x".repeat(200));
        let changes = names.map(|name| (key(&name), put(&content(&name)))).collect();
        builder.capture(at("2026-08-31T10:00:00Z"), changes, cover).await;
        let text = "[tenant]\nid = \"t\"\n[credential]\nclient_id = \"a\"\nclient_secret_file = \"secret\"\n";
        std::fs::write(root.path().join("tenure.toml"), text).unwrap();
        std::fs::write(root.path().join("tenure.key"), signer("t").to_secret_text()).unwrap();
        Machine { root }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.arg("--config").arg(self.root.path().join("tenure.toml")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// What was recorded, in the chain or waiting for it, as `tenure audit` tells.
    fn asked(&self) -> Vec<serde_json::Value> {
        let output = self.run(&["audit", "--json"]);
        let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

/// Everybody asks at once, and everybody brings what is spooled into the chain who comes to it.
#[tokio::test]
async fn processes_that_ask_at_once_are_each_recorded_once() {
    let machine = Machine::new(3).await;
    machine.run(&["show", "user/u000001"]);
    let mut expected = BTreeSet::new();
    for round in 0..4 {
        let mut running = Vec::new();
        for number in 0..8 {
            let name = format!("nobody-{round}-{number}");
            running.push(machine.command(&["search", &name, "--json"]).spawn().unwrap());
            expected.insert(name);
        }
        for child in running {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    // Who comes last finds nobody at work.
    machine.run(&["search", "last", "--json"]);
    let mut found = BTreeMap::<String, u64>::new();
    for row in machine.asked() {
        if let Some(text) = row["record"]["parameters"]["text"].as_str() {
            *found.entry(text.to_owned()).or_default() += 1;
            assert!(row["seq"].is_u64(), "{text} is not in the chain");
        }
    }
    assert_eq!(found.remove("last"), Some(1));
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(found.values().all(|&count| count == 1), "{found:?}");
    check(&FilesystemStore::new(machine.root.path().join("archive"))).await;
}

/// Processes are killed at any moment. Whoever got a byte of an answer is recorded; nothing is recorded twice; the next
/// process brings it all into the chain.
#[tokio::test]
async fn who_saw_a_byte_of_an_answer_is_recorded_whenever_the_process_is_killed() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, runs) = (number("TENURE_LEDGER_SEED", 3), number("TENURE_LEDGER_RUNS", 60));
    println!("seed {seed}, {runs} runs");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    // More than a pipe holds, so that many are killed in the middle of their answer.
    let machine = Machine::new(2000).await;
    machine.run(&["search", "warm", "--json"]);
    let began = std::time::Instant::now();
    machine.run(&["dump", "--known-at", "#1"]);
    let whole = began.elapsed();
    let (mut answered, mut silent) = (BTreeSet::new(), 0);
    for run in 0..runs {
        // Answered with everything; by the zeros before the number its record tells which run it was.
        let mut child = machine.command(&["search", "u00", "--at", "#1", "--json", "--collection", "user"]);
        child.env("TENURE_LOG", "off");
        child.args(["--known-at", &format!("{:0>width$}", 1, width = run as usize + 1)]);
        let mut child = child.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut bytes = Vec::new();
        match run % 4 {
            // With the first byte, at once, and whenever.
            0 => {
                bytes.push(0);
                std::io::Read::read_exact(&mut out, &mut bytes).unwrap();
            }
            1 => {}
            _ => tokio::time::sleep(whole.mul_f64(dice.random_range(0.0..1.5))).await,
        }
        child.kill().unwrap();
        child.wait().unwrap();
        std::io::Read::read_to_end(&mut out, &mut bytes).unwrap();
        match bytes.is_empty() {
            true => silent += 1,
            false => drop(answered.insert(run + 1)),
        }
    }
    machine.run(&["search", "after", "--json"]);
    let mut found = BTreeMap::<u64, u64>::new();
    for row in machine.asked() {
        if let Some(text) = row["record"]["parameters"]["known_at"].as_str().filter(|text| text.starts_with(['0', '1']))
        {
            *found.entry(text.len() as u64).or_default() += 1;
            assert!(row["seq"].is_u64(), "run {} is not in the chain", text.len());
        }
    }
    println!("{} answered, {silent} silent, {} recorded", answered.len(), found.len());
    for run in &answered {
        assert_eq!(found.get(run), Some(&1), "seed {seed}, run {run}: bytes of an answer left");
    }
    assert!(found.values().all(|&count| count == 1), "{found:?}");
    assert!(answered.len() as u64 >= runs / 4 && silent > 0, "nobody was killed at a moment that matters");
    check(&FilesystemStore::new(machine.root.path().join("archive"))).await;
}

/// A record that can't be written keeps the answer back, every byte of it.
#[tokio::test]
async fn no_record_no_answer() {
    let machine = Machine::new(3).await;
    std::fs::create_dir(machine.root.path().join("state")).unwrap();
    std::fs::write(machine.root.path().join("state/uses"), "in the way").unwrap();
    for arguments in
        [&["show", "user/u000001"][..], &["dump"], &["search", "u0", "--json"], &["show", "u00000"], &["audit"]]
    {
        let output = machine.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(told.contains("own-use log") && !told.contains("user/u0"), "{arguments:?}: {told}");
    }
    // What shows nothing of the directory isn't recorded, and doesn't need to be.
    machine.run(&["captures"]);
    machine.run(&["verify"]);
}
