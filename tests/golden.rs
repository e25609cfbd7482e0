//! The golden archives, read by both readers: Tenure's own and `docs/verify.py`, which was written from the format page
//! alone. Both must say exactly what `case.json` expects, which was written by hand from the same page.
//!
//! Needs `python3` and `zstd`. Nothing here regenerates an archive: `tests/golden/make.py` made them once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tenure::archive::verify::{Options, verify};
use tenure::store::FilesystemStore;
use tokio::task::JoinSet;

/// Severity, code and the file, the last absent where it is about something outside the archive.
type Said = BTreeSet<(String, String, Option<String>)>;

#[derive(serde::Deserialize)]
struct Case {
    deep: bool,
    exit: i32,
    expect: Vec<(String, String, Option<String>)>,
    remove: Vec<String>,
    #[serde(default)]
    trust: Option<String>,
    #[serde(default)]
    against: Option<String>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Exit code as a command would have it, and what was said.
async fn read_by_tenure(archive: &Path, case: &Case) -> (i32, Said) {
    let options = Options {
        deep: case.deep,
        against: case.against.as_ref().map(|note| note.parse().expect("the case's checkpoint parses")),
        trust: case.trust.clone(),
        ..Options::default()
    };
    match verify(&FilesystemStore::new(archive), &options, |_, _| ()).await {
        Err(_) => (1, Said::new()),
        Ok(report) => {
            let said = report.findings.iter().map(|finding| {
                // What is about the caller's checkpoint, or about no file, has a name for people only.
                let name = finding.name.contains('/').then(|| finding.name.clone());
                (finding.severity.as_str().to_owned(), finding.code.to_owned(), name)
            });
            (if report.is_ok() { 0 } else { 3 }, said.collect())
        }
    }
}

fn read_by_python(archive: &Path, case: &Case) -> (i32, Said) {
    let mut command = Command::new("python3");
    command.arg("-B").arg(golden().join("../../docs/verify.py")).arg(archive).arg("--json");
    if case.deep {
        command.arg("--deep");
    }
    if let Some(trust) = &case.trust {
        command.args(["--trust", trust]);
    }
    if let Some(note) = &case.against {
        let file = archive.with_extension("checkpoint");
        fs::write(&file, note).unwrap();
        command.arg("--against").arg(file);
    }
    let output = command.output().expect("python3 runs");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("verify.py: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &serde_json::Value, member: &str| finding[member].as_str().map(str::to_owned);
    let findings = value["findings"].as_array().cloned().unwrap_or_default();
    let said = findings.iter().map(|f| (text(f, "severity").unwrap(), text(f, "code").unwrap(), text(f, "name")));
    (output.status.code().expect("verify.py ends by itself"), said.collect())
}

/// What differs between the case and one reader, in words.
fn differences(case: &str, reader: &str, expected: &(i32, Said), found: &(i32, Said)) -> String {
    let mut text = String::new();
    if expected.0 != found.0 {
        text += &format!("{case}: {reader} exits with {}, expected {}\n", found.0, expected.0);
    }
    for said in found.1.difference(&expected.1) {
        text += &format!("{case}: {reader} says besides {said:?}\n");
    }
    for said in expected.1.difference(&found.1) {
        text += &format!("{case}: {reader} doesn't say {said:?}\n");
    }
    text
}

async fn check(name: &str, archive: &Path, case: &Case) -> String {
    let expected = (case.exit, case.expect.iter().cloned().collect());
    let tenure = read_by_tenure(archive, case).await;
    let python = read_by_python(archive, case);
    differences(name, "tenure", &expected, &tenure) + &differences(name, "verify.py", &expected, &python)
}

fn require_programs() {
    for program in ["python3", "zstd"] {
        let found = Command::new(program).arg("--version").output();
        assert!(found.is_ok_and(|output| output.status.success()), "{program} is needed for this test and not found");
    }
}

#[tokio::test]
async fn the_sound_archive_verifies_with_both_readers() {
    require_programs();
    let expect = [("note", "void-leaf", Some("log/e/0000000006"))];
    for deep in [false, true] {
        let expect = expect.map(|(s, c, n)| (s.to_owned(), c.to_owned(), n.map(str::to_owned))).to_vec();
        let case = Case { deep, exit: 0, expect, remove: Vec::new(), trust: None, against: None };
        assert_eq!(check("v0", &golden().join("v0"), &case).await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn both_readers_say_what_is_wrong_with_each_broken_archive() {
    require_programs();
    let mut names: Vec<PathBuf> = fs::read_dir(golden().join("broken")).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    assert!(names.len() > 100, "only {} broken archives found", names.len());
    let mut running: JoinSet<String> = names.into_iter().map(check_broken).collect();
    let mut wrong = Vec::new();
    while let Some(differences) = running.join_next().await {
        wrong.push(differences.unwrap());
    }
    wrong.sort();
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "\n{wrong}");
}

async fn check_broken(folder: PathBuf) -> String {
    let case: Case = serde_json::from_slice(&fs::read(folder.join("case.json")).unwrap()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("archive");
    copy(&golden().join("v0"), &archive);
    for name in &case.remove {
        fs::remove_file(archive.join(name)).unwrap();
    }
    copy(&folder, &archive);
    fs::remove_file(archive.join("case.json")).unwrap();
    check(&folder.file_name().unwrap().to_string_lossy(), &archive, &case).await
}

/// Every code of the page's table is expected by some case (or by the tiles below).
#[test]
fn every_code_of_the_format_page_has_a_case() {
    let page = fs::read_to_string(golden().join("../../docs/format.md")).unwrap();
    let table = page.split("| code | severity | meaning |").nth(1).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let codes: BTreeSet<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|code| code.trim().trim_matches('`'))
        .collect();
    let mut expected = BTreeSet::from(["tile-missing".to_owned()]);
    for folder in fs::read_dir(golden().join("broken")).unwrap() {
        let case: Case = serde_json::from_slice(&fs::read(folder.unwrap().path().join("case.json")).unwrap()).unwrap();
        expected.extend(case.expect.into_iter().map(|(_, code, _)| code));
    }
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(expected, codes);
}

#[tokio::test]
async fn tiles_are_held_against_the_entries() {
    require_programs();
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("archive");
    let made = Command::new("python3").arg(golden().join("make.py")).arg("--tiles").arg(&archive).status().unwrap();
    assert!(made.success());
    let case = |exit, expect: &[(&str, &str, &str)]| Case {
        deep: false,
        exit,
        expect: expect.iter().map(|(s, c, n)| (s.to_string(), c.to_string(), Some(n.to_string()))).collect(),
        remove: Vec::new(),
        trust: None,
        against: None,
    };
    assert_eq!(check("tiles", &archive, &case(0, &[])).await, "");
    for (tile, at) in [("log/tile/0/000", 40), ("log/tile/entries/001", 400)] {
        let sound = fs::read(archive.join(tile)).unwrap();
        let mut wrong = sound.clone();
        wrong[at] ^= 1;
        fs::write(archive.join(tile), &wrong).unwrap();
        assert_eq!(check("tile changed", &archive, &case(3, &[("finding", "tile-wrong", tile)])).await, "");
        fs::write(archive.join(tile), &sound[..sound.len() - 1]).unwrap();
        assert_eq!(check("tile cut", &archive, &case(3, &[("finding", "tile-wrong", tile)])).await, "");
        fs::remove_file(archive.join(tile)).unwrap();
        assert_eq!(check("tile missing", &archive, &case(0, &[("note", "tile-missing", tile)])).await, "");
        fs::write(archive.join(tile), &sound).unwrap();
    }
    // A lost entry whose leaf its successor names changes nothing for the tiles.
    fs::remove_file(archive.join("log/e/0000000100")).unwrap();
    let lost = case(3, &[("finding", "entry-missing", "log/e/0000000100")]);
    assert_eq!(check("entry missing", &archive, &lost).await, "");
}
