//! Every command as text: what a person and a program see, and the exit code, over one small archive and a clock that
//! stands still. The texts are in `tests/snapshots`.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::*;
use tenure::archive::appender::Appender;
use tenure::archive::entry::Status;
use tenure::cli::{self, Console};
use tenure::clock::ManualClock;
use tenure::ledger::{Ledger, Outcome as LedgerOutcome, Use, Via, Who};
use tenure::store::{FilesystemStore, Store};

const CONFIG: &str =
    "[tenant]\nid = \"contoso.com\"\n[credential]\nclient_id = \"a\"\nclient_secret_file = \"secret\"\n";
const NOW: &str = "2026-09-01T01:30:00Z";

/// A directory with a configuration.
struct Bench {
    directory: tempfile::TempDir,
}

/// What a command did.
struct Outcome {
    code: u8,
    out: String,
    err: String,
}

impl Bench {
    fn empty() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        Bench { directory }
    }

    fn configured() -> Bench {
        let bench = Bench::empty();
        std::fs::write(bench.path("tenure.toml"), CONFIG).unwrap();
        bench
    }

    /// With the archive of [`story`].
    fn told() -> Bench {
        let bench = Bench::configured();
        story(&bench.path("archive"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_at(NOW, arguments)
    }

    fn run_at(&self, now: &str, arguments: &[&str]) -> Outcome {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let console =
            Console { out: &mut out, err: &mut err, out_is_terminal: false, err_is_terminal: false, colour: false };
        let config = self.path("tenure.toml").display().to_string();
        let line = ["tenure", "--config", &config].into_iter().chain(arguments.iter().copied());
        let clock = Arc::new(ManualClock::new(at(now)));
        let code = cli::run(line.map(Into::into), Vec::new(), clock, console);
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.directory.path().display().to_string(), "DIR")
        };
        Outcome { code, out: text(out), err: text(err) }
    }

    /// The whole of what a command did, as the snapshots hold it.
    fn tell(&self, arguments: &[&str]) -> String {
        self.tell_at(NOW, arguments)
    }

    fn tell_at(&self, now: &str, arguments: &[&str]) -> String {
        let Outcome { code, out, err } = self.run_at(now, arguments);
        let shown: Vec<String> = arguments
            .iter()
            .map(
                |argument| if argument.contains([' ', '#']) { format!("{argument:?}") } else { (*argument).to_owned() },
            )
            .collect();
        let mut text = format!("$ tenure {}\n{out}", shown.join(" "));
        if !err.is_empty() {
            text.push_str(&format!("--- stderr\n{err}"));
        }
        text.push_str(&format!("--- exit {code}\n"));
        text
    }

    fn tell_all(&self, commands: &[&[&str]]) -> String {
        commands.iter().map(|arguments| self.tell(arguments)).collect::<Vec<_>>().join("\n")
    }
}

const ADELE: &str = "user/11111111-1111-4111-8111-111111111111";
const BOB: &str = "user/22222222-2222-4222-8222-222222222222";
const CAROL: &str = "user/33333333-3333-4333-8333-333333333333";
const SALES: &str = "group/44444444-4444-4444-8444-444444444444";
const SALES_TOO: &str = "group/55555555-5555-4555-8555-555555555555";

fn user(key: &str, name: &str, enabled: bool, title: &str) -> String {
    let id = key.split_once('/').unwrap().1;
    let mail = name.split(' ').next().unwrap().to_lowercase();
    format!(
        r#"{{"id":"{id}","displayName":"{name}","userPrincipalName":"{mail}@contoso.com","accountEnabled":{enabled},
            "jobTitle":{title},"proxyAddresses":["SMTP:{mail}@contoso.com"]}}"#
    )
}

fn changes(rows: Vec<(&str, tenure::archive::line::Change)>) -> Changes {
    rows.into_iter().map(|(name, change)| (key(name), change)).collect()
}

fn with_links(
    mut change: tenure::archive::line::Change,
    relation: &str,
    targets: &[&str],
) -> tenure::archive::line::Change {
    change.links = link(relation, targets).links;
    change
}

/// Four captures in August, with a gap and a read that failed, and two in September.
fn story(path: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(path));
        let mut builder = ArchiveBuilder::new(store, "contoso.com", at("2026-08-31T09:30:00Z")).await;
        let complete = || {
            vec![
                row("user", None, Status::Complete, None),
                row("user", Some("manager"), Status::Complete, None),
                row("group", None, Status::Complete, None),
                row("group", Some("members"), Status::Complete, None),
                row("domain", None, Status::Absent, Some("no-permission")),
            ]
        };
        let group = |name: &str| put(&format!(r#"{{"displayName":"{name}","groupTypes":[],"mail":null}}"#));
        let first = changes(vec![
            (ADELE, with_links(put(&user(ADELE, "Adele Vance", true, "null")), "manager", &[BOB])),
            (BOB, put(&user(BOB, "Bob Beck", true, "\"Head of Sales\""))),
            (SALES, with_links(group("Sales"), "members", &[ADELE, BOB])),
            (SALES_TOO, group("Sales")),
        ]);
        builder.capture(at("2026-08-31T10:00:00Z"), first, complete()).await;
        let mut second = changes(vec![(ADELE, put(&user(ADELE, "Adele Vance", false, "\"Analyst\"")))]);
        second.insert(key(SALES), unlink("members", &[BOB]));
        builder.capture(at("2026-08-31T11:00:00Z"), second, complete()).await;
        let mut cover = complete();
        cover[3] = row("group", Some("members"), Status::Carried, Some("throttled"));
        cover[0] = row("user", None, Status::Partial, Some("server-error"));
        builder.capture(at("2026-08-31T12:00:00Z"), Changes::new(), cover).await;
        // Bob was last seen at #2: he may have gone at any time since.
        let mut gone = remove();
        gone.content.as_mut().unwrap().1 = Some(2);
        let fourth = changes(vec![
            (BOB, gone),
            (CAROL, put(&user(CAROL, "Carol Beck", true, "\"Head of Sales\""))),
            (ADELE, link("manager", &[CAROL])),
        ]);
        builder.capture(at("2026-08-31T17:00:00Z"), fourth, complete()).await;
        let body = builder.appender.draft("access", at("2026-08-31T17:10:00Z")).unwrap();
        builder.appender.commit(&body).await.unwrap();
        let renamed = user(ADELE, "Adele Vance", true, "\"Analyst\"").replace("[\"", "[\"smtp:av@contoso.com\",\"");
        let fifth = changes(vec![(ADELE, put(&renamed)), (SALES_TOO, group("Sales EMEA"))]);
        builder.capture(at("2026-09-01T00:00:00Z"), fifth, complete()).await;
        builder.capture(at("2026-09-01T01:00:00Z"), Changes::new(), complete()).await;
    });
}

#[test]
fn captures() {
    let bench = Bench::told();
    insta::assert_snapshot!(
        bench.tell_all(&[&["captures"], &["captures", "--from", "2026-09-01", "--last", "1", "--json"]])
    );
}

#[test]
fn show() {
    let bench = Bench::told();
    insta::assert_snapshot!(bench.tell_all(&[
        &["show", "adele@contoso.com"],
        &["show", "Adele Vance", "--at", "#1"],
        &["show", SALES, "--at", "2026-08-31T12:30:00Z"],
        &["show", "Bob Beck", "--at", "2026-08-31T14:00:00Z"],
        &["show", "Bob Beck"],
        &["show", "carol@contoso.com", "--at", "2026-08-31T11:00:00Z"],
        &["show", "Adele Vance", "--at", "2026-08-31", "--json"],
        &["show", BOB, "--known-at", "#4", "--json"],
    ]));
}

#[test]
fn history() {
    let bench = Bench::told();
    insta::assert_snapshot!(bench.tell_all(&[
        &["history", "adele@contoso.com"],
        &["history", "bob@contoso.com"],
        &["history", SALES, "--json"],
        &["history", "Adele Vance", "--known-at", "2", "--json"],
    ]));
}

#[test]
fn diff() {
    let bench = Bench::told();
    insta::assert_snapshot!(bench.tell_all(&[
        &["diff", "#1", "now"],
        &["diff", "#1", "#3", "--collection", "user"],
        &["diff", "#2", "#4", "--json"],
        &["diff", "#7", "#1", "--object", "Adele Vance", "--json"],
        &["diff", "2026-09-01", "2026-09-01"],
    ]));
}

/// Who asked what: in the chain, waiting for it, refused, counted.
#[test]
fn audit() {
    let bench = Bench::told();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let clock = ManualClock::new(at("2026-08-31T10:20:00Z"));
        let ledger = Ledger::open(&bench.path("state"), Arc::new(clock.clone()));
        let entra = Who::Entra {
            tenant: "contoso.com".into(),
            object: ADELE.split_once('/').unwrap().1.into(),
            app: None,
            user: Some("adele@contoso.com".into()),
            roles: vec!["Auditor".into()],
        };
        let parameters = serde_json::json!({ "question": "role-holders", "at": "2026-06-30" });
        let used = Use {
            who: entra,
            via: Via::Http,
            operation: "ask".into(),
            parameters: parameters.as_object().unwrap().clone(),
            outcome: LedgerOutcome::Answered,
            answer: Some(tenure::hash::Hash::of(b"rows")),
        };
        ledger.record(&used).unwrap();
        for _ in 0..1200 {
            ledger.count_denial(Via::Http, "no-token");
        }
        clock.set(at("2026-08-31T10:21:00Z"));
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(bench.path("archive")));
        let mut appender = Appender::open(store, signer("contoso.com"), None).await.unwrap();
        ledger.commit(&mut appender).await.unwrap();
    });
    // Each a second after the one before, since a record stands where its time is.
    let mut second = 0;
    let mut tell = |arguments: &[&str]| {
        second += 1;
        bench.tell_at(&format!("2026-09-01T01:30:{second:02}Z"), arguments)
    };
    for asked in [&["show", ADELE, "--at", "#1"][..], &["show", "Sales", "--at", "#1"], &["captures"]] {
        tell(asked);
    }
    let commands: [&[&str]; 8] = [
        &["audit", "--json"],
        &["audit", "--operation", "ask"],
        &["audit", "--who", "auditor", "--from", "2026-08-31", "--to", "2026-08-31"],
        &["audit", "--operation", "denials"],
        &["audit", "--operation", "denials", "--at", "2026-09-01"],
        &["audit", "--operation", "audit", "--at", "2026-09-01", "--json"],
        &["audit", "--at", "2026-09-01", "--to", "2026-09-02"],
        &["audit", "--from", "yesterday-ish"],
    ];
    let text = commands.map(tell).join("\n");
    insta::assert_snapshot!(without_chance(&text));
}

/// With `put` in the place of what stands between `start` and `end`.
fn cut(text: &str, start: &str, end: char, put: &str) -> String {
    let mut parts = text.split(start);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |out, part| format!("{out}{start}{put}{}", &part[part.find(end).unwrap()..]))
}

/// Ids of records are made by chance, and who runs the tests is whoever does: both go.
fn without_chance(text: &str) -> String {
    let text = cut(text, "\"id\":\"", '"', "ID");
    cut(&text, "\"who\":{\"kind\":\"system\"", '}', "")
}

#[test]
fn dump_and_search() {
    let bench = Bench::told();
    insta::assert_snapshot!(bench.tell_all(&[
        &["dump", "--at", "#4"],
        &["dump", "--collection", "group", "--json"],
        &["search", "beck"],
        &["search", "SALES", "--at", "#1"],
        &["search", "sales", "--collection", "group", "--json"],
        &["search", "nobody", "--collection", "user"],
    ]));
}

#[test]
fn verify() {
    let bench = Bench::told();
    let archive = bench.path("archive").display().to_string();
    insta::assert_snapshot!(bench.tell_all(&[
        &["verify"],
        &["verify", "--deep", "--json"],
        &["verify", "--from", "#7"],
        &["verify", "--trust", "me"],
    ]));
    assert_eq!(bench.run(&["verify", "--archive", &archive]).code, 0);
    let vkey = signer("contoso.com").verifier().to_string();
    assert_eq!(bench.run(&["verify", "--trust", &vkey]).code, 0);
    assert_eq!(bench.run(&["verify", "--trust", &"0".repeat(64)]).code, 3);
}

/// Without a service, beside one that runs, and after one that fell silent.
#[test]
fn status() {
    let bench = Bench::told();
    let mut text = bench.tell(&["status"]);
    text += &bench.tell(&["status", "--check", "--json"]);
    let word = |written: &str| {
        format!(
            r#"{{"doing":"waiting","since":"2026-09-01T01:00:03Z","next_slot":"2026-09-01T02:00:00Z","trouble":null,
            "storage":{{"at":"2026-08-31T12:00:00Z","sound":false,"detail":{{"containers":[
              {{"container":"contoso-log","verdict":"enforced","reasons":[]}},
              {{"container":"contoso-2026-08","verdict":"not-enforced","reasons":["no-policy","delete-allowed"]}}],
              "missing":["contoso-2026-10"]}}}},
            "verification":{{"every_byte_since":"2026-08-20T00:00:00Z"}},"mirror":{{"in_step_at":null,"entries_behind":7}},
            "alarms":[{{"kind":"storage-unprotected","severity":"critical","subject":"contoso-2026-08",
              "since":"2026-08-31T12:00:00Z","text":"no-policy, delete-allowed"}}],"written":"{written}"}}"#
        )
    };
    std::fs::create_dir_all(bench.path("state")).unwrap();
    std::fs::write(bench.path("state/status.json"), word("2026-09-01T01:25:00Z")).unwrap();
    text += &bench.tell(&["status"]);
    std::fs::write(bench.path("state/status.json"), word("2026-08-31T20:00:00Z")).unwrap();
    text += &bench.tell(&["status"]);
    insta::assert_snapshot!(text);
}

#[test]
fn names_and_times_that_cannot_be_followed() {
    let bench = Bench::told();
    insta::assert_snapshot!(bench.tell_all(&[
        &["show", "Sales", "--at", "#1"],
        &["show", "Adele Vanse"],
        &["show", "Zzzzz"],
        &["show", "Sales", "--at", "#1", "--json"],
        &["show", ADELE, "--at", "last tuesday"],
        &["show", ADELE, "--at", "3 days"],
        &["show", ADELE, "--at", "2026-08-01"],
        &["show", ADELE, "--at", "#5"],
        &["show", ADELE, "--at", "#6", "--known-at", "#4"],
        &["show", ADELE, "--known-at", "#99"],
        &["dump", "--collection", "users"],
    ]));
}

fn hidden(bench: &Bench, directory: &str, part: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut pending = vec![bench.path(directory)];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                false if path.display().to_string().contains(part) => found.push(path),
                false => {}
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Replaces a file that the store made read-only.
fn rewrite(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_pack() {
    let bench = Bench::told();
    assert_eq!(bench.run(&["show", ADELE]).code, 0);
    rewrite(&hidden(&bench, "archive", "0000000006-d000"), |bytes| bytes[20] ^= 1);
    insta::assert_snapshot!(bench.tell_all(&[
        &["verify"],
        &["show", ADELE, "--at", "#6"],
        &["show", ADELE, "--at", "#1", "--json"],
        &["index", "rebuild"],
        &["show", ADELE, "--at", "#6"],
    ]));
}

#[test]
fn rewritten_entry_and_missing_checkpoint() {
    let bench = Bench::told();
    assert_eq!(bench.run(&["show", ADELE]).code, 0);
    std::fs::remove_file(hidden(&bench, "archive", "log/k/0000000008")).unwrap();
    rewrite(&bench.path("archive/log/e/0000000002"), |bytes| {
        let at = bytes.windows(9).position(|bytes| bytes == b"\"ladd\":0,").unwrap();
        bytes[at + 7] = b'1';
    });
    insta::assert_snapshot!(bench.tell_all(&[
        &["verify"],
        &["show", ADELE, "--at", "#2"],
        &["captures", "--to", "#3"],
    ]));
}

#[test]
fn truncated_log_and_foreign_archive() {
    let bench = Bench::configured();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    story(&bench.path("archive"));
    let head = runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(bench.path("archive")));
        tenure::archive::appender::Appender::open(store, signer("contoso.com"), None)
            .await
            .unwrap()
            .remembered()
            .unwrap()
    });
    cli::remember_head(&bench.path("state"), &head).unwrap();
    assert_eq!(bench.run(&["show", ADELE]).code, 0);
    for name in ["e/0000000007", "k/0000000008"] {
        std::fs::remove_file(bench.path("archive/log").join(name)).unwrap();
    }
    let truncated = bench.tell_all(&[&["show", ADELE], &["verify"]]);
    std::fs::write(bench.path("tenure.toml"), CONFIG.replace("contoso.com", "fabrikam.com")).unwrap();
    insta::assert_snapshot!(truncated + "\n" + &bench.tell_all(&[&["show", ADELE], &["show", ADELE, "--json"]]));
}

#[test]
fn stale_and_corrupt_index() {
    let bench = Bench::told();
    assert_eq!(bench.run(&["show", ADELE]).code, 0);
    std::fs::write(bench.path("index/index.redb"), "not an index").unwrap();
    let corrupt = bench.tell(&["show", SALES_TOO]);
    assert_eq!(bench.run(&["show", SALES_TOO]).err, "");
    // The index of another archive of the same tenant.
    let other = Bench::told();
    std::fs::remove_dir_all(bench.path("archive")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(bench.path("archive")));
        let mut builder = ArchiveBuilder::new(store, "contoso.com", at("2026-08-30T09:30:00Z")).await;
        let only = changes(vec![(SALES_TOO, put(r#"{"displayName":"Other"}"#))]);
        builder.capture(at("2026-09-01T01:00:00Z"), only, vec![row("group", None, Status::Complete, None)]).await;
    });
    drop(other);
    insta::assert_snapshot!(corrupt + "\n" + &bench.tell_all(&[&["show", SALES_TOO], &["index", "rebuild"]]));
}

#[test]
fn configuration_errors() {
    let bench = Bench::empty();
    let none = bench.tell_all(&[&["show", ADELE], &["init"], &["frobnicate"], &["show", "--json"]]);
    std::fs::write(bench.path("tenure.toml"), format!("{CONFIG}[store]\npaht = \"x\"\n")).unwrap();
    let unknown = bench.tell_all(&[&["show", ADELE], &["verify", "--json"]]);
    std::fs::write(bench.path("tenure.toml"), CONFIG).unwrap();
    let no_archive = bench.tell_all(&[&["show", ADELE], &["captures"]]);
    insta::assert_snapshot!([none, unknown, no_archive].join("\n"));
}

#[test]
fn init() {
    let bench = Bench::empty();
    let text = bench.tell_all(&[
        &["init", "--tenant", "Contoso.com", "--client-id", "abc"],
        &["init", "--json"],
        &["init", "--tenant", "fabrikam.com"],
        &["verify"],
        &["show", "anybody"],
    ]);
    let keys = ["tenure.key", "tenure.recovery.key"].map(|name| std::fs::read_to_string(bench.path(name)).unwrap());
    let mut masked = text;
    for (key, mask) in keys.iter().zip(["KEY", "RECOVERY"]) {
        let signer = tenure::archive::note::Signer::from_secret_text(key).unwrap();
        masked = masked.replace(&signer.verifier().to_string(), mask);
    }
    let genesis = std::fs::read(bench.path("archive/log/e/0000000000")).unwrap();
    masked = masked.replace(&tenure::archive::log::leaf_hash(&genesis).to_string(), "GENESIS");
    insta::assert_snapshot!(masked);
    #[cfg(unix)]
    for name in ["tenure.key", "tenure.recovery.key"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let config = std::fs::read_to_string(bench.path("tenure.toml")).unwrap();
    assert!(config.contains("id = \"Contoso.com\"") && config.contains("client_id = \"abc\""));
    assert!(std::fs::exists(bench.path("state/head.json")).unwrap());
}

/// When the files of a test are all past their retention: they are as old as the test is.
const LATE: &str = "2050-01-01T00:00:00Z";

/// Times at which files were created, in what a command says, with an X for each digit.
fn without_file_times(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_date = |at: usize| {
        let form = b"0000-00-00?00:00:00";
        bytes.len() >= at + form.len()
            && bytes[at..at + form.len()].iter().zip(form).all(|(found, form)| match form {
                b'0' => found.is_ascii_digit(),
                b'?' => true,
                form => found == form,
            })
    };
    let mut masked = bytes.to_vec();
    for at in (0..bytes.len()).filter(|at| is_date(*at)) {
        let end = bytes[at..].iter().position(|b| b"\"Z\n;".contains(b)).map_or(bytes.len(), |len| at + len);
        masked[at..end].iter_mut().filter(|b| b.is_ascii_digit()).for_each(|b| *b = b'X');
    }
    String::from_utf8(masked).unwrap()
}

#[test]
fn expire() {
    let bench = Bench::told();
    std::fs::write(bench.path("tenure.key"), signer("contoso.com").to_secret_text()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        // Two months more, so that there is something to end.
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(bench.path("archive")));
        let mut appender =
            tenure::archive::appender::Appender::open(store.clone(), signer("contoso.com"), None).await.unwrap();
        let place = tenure::archive::pack::Place { container: "2026-10".into(), segment: 8, seq: 8 };
        let archive = tenure::query::Archive::open(store, &bench.path("index"), |_| (), |_, _| ()).await.unwrap();
        let head = archive.at(&tenure::query::Moment::Head, at(NOW)).unwrap();
        let mut lines = Vec::new();
        let each = |text: &[u8]| {
            lines.extend_from_slice(text);
            Ok(std::ops::ControlFlow::Continue(()))
        };
        archive.dump(&head, None, each).await.unwrap();
        let parts = tenure::archive::pack::write(&place, tenure::archive::pack::Kind::Base, &lines);
        let mut body = tenure::archive::entry::Body::clone(&archive.body(7).await.unwrap());
        for part in &parts {
            appender.put_pack(part).await.unwrap();
        }
        let draft = appender.draft("capture", at("2026-10-01T00:00:00Z")).unwrap();
        (body.seq, body.prev, body.committed, body.container, body.segment) =
            (draft.seq, draft.prev, draft.committed, Some("2026-10".into()), Some(8));
        let time = at("2026-10-01T00:00:00Z");
        (body.slot, body.last_slot, body.t0, body.t1) = (Some(time), Some(time), Some(time), Some(time));
        let packs = parts.into_iter().map(|part| part.reference).collect();
        body.base = Some(tenure::archive::entry::Base { packs });
        appender.commit(&body).await.unwrap();
    });
    let tell = |arguments: &[&str]| match arguments[0] {
        "expire" => without_file_times(&bench.tell_at(LATE, arguments)),
        // How long a record is depends on who runs the tests.
        "verify" => cut(&bench.tell_at(LATE, arguments), " packs (", ' ', "N"),
        _ => bench.tell_at(LATE, arguments),
    };
    let json = bench.run_at(LATE, &["expire", "--json"]).out;
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    let hash = plan["plan"].as_str().unwrap()[..12].to_owned();
    let commands: [&[&str]; 12] = [
        &["expire"],
        &["expire", "--json"],
        &["expire", "--confirm", "000000000000"],
        &["expire", "--mirror"],
        &["expire", "--confirm", &hash],
        &["expire"],
        &["expire", "--confirm", &hash],
        &["show", "Adele Vance", "--at", "#2"],
        &["show", "Adele Vance", "--at", "#6"],
        &["verify", "--deep"],
        &["history", "Adele Vance"],
        &["captures"],
    ];
    insta::assert_snapshot!(commands.map(tell).join("\n"));
}

#[test]
fn migrate() {
    let bench = Bench::told();
    let copy = bench.path("copy").display().to_string();
    let first = bench.tell_all(&[&["migrate"], &["migrate", "--to", &copy], &["migrate", "--to", &copy, "--json"]]);
    rewrite(&hidden(&bench, "copy", "0000000006-d000"), |bytes| bytes[20] ^= 1);
    let changed = bench.tell(&["migrate", "--to", &copy]);
    rewrite(&bench.path("copy/log/e/0000000002"), |bytes| bytes[20] ^= 1);
    let other = bench.tell(&["migrate", "--to", &copy]);
    let masked = [first, changed, other].join("\n").replace(&bench.path("").display().to_string(), "DIR/");
    insta::assert_snapshot!(masked);
}

#[test]
fn colours_are_for_people() {
    let bench = Bench::told();
    let coloured = bench.run(&["diff", "#1", "now", "--color", "always"]).out;
    assert!(coloured.contains("\u{1b}["));
    assert!(!bench.run(&["diff", "#1", "now"]).out.contains('\u{1b}'));
}

/// A reader that goes away (`tenure dump | head`) is no failure.
#[test]
fn a_closed_pipe_is_quiet() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bench = Bench::told();
    let config = bench.path("tenure.toml").display().to_string();
    for command in [&["dump"][..], &["captures"], &["show", ADELE], &["diff", "#1", "#4", "--json"], &["--help"]] {
        let mut err = Vec::new();
        let console =
            Console { out: &mut Closed, err: &mut err, out_is_terminal: false, err_is_terminal: false, colour: false };
        let line = ["tenure", "--config", &config].into_iter().chain(command.iter().copied());
        let code = cli::run(line.map(Into::into), Vec::new(), Arc::new(ManualClock::new(at(NOW))), console);
        assert_eq!((code, String::from_utf8(err).unwrap().as_str()), (0, ""), "{command:?}");
    }
}

#[test]
fn help() {
    let bench = Bench::empty();
    let commands: [&[&str]; 12] = [
        &["--help"],
        &["init", "--help"],
        &["captures", "--help"],
        &["verify", "--help"],
        &["show", "--help"],
        &["history", "--help"],
        &["search", "--help"],
        &["dump", "--help"],
        &["diff", "--help"],
        &["expire", "--help"],
        &["migrate", "--help"],
        &["index", "--help"],
    ];
    insta::assert_snapshot!(bench.tell_all(&commands));
}
