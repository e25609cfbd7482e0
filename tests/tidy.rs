//! Properties of the source: the directions between modules, and a few habits that reviews would otherwise repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use. `docs/architecture.md` says why; `cli` may use everything.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("hash", &[]),
    ("clock", &[]),
    ("simulator", &["clock"]),
    ("canonical", &["hash"]),
    ("store", &["clock", "hash"]),
    ("archive", &["canonical", "clock", "hash", "store"]),
    ("model", &["canonical", "hash"]),
    ("graph", &["canonical", "clock", "hash"]),
    ("collect", &["canonical", "clock", "graph", "hash", "model"]),
    ("ledger", &["archive", "canonical", "clock", "hash", "store"]),
    ("index", &["archive", "canonical", "hash", "model", "store"]),
    ("capture", &["archive", "canonical", "clock", "collect", "graph", "hash", "index", "model", "store"]),
    ("diff", &["canonical", "hash", "model"]),
    ("query", &["archive", "canonical", "diff", "hash", "index", "ledger", "model", "store"]),
    ("hold", &["archive", "clock", "hash", "store"]),
    ("daemon", &["archive", "capture", "clock", "collect", "hash", "index", "ledger", "query", "store"]),
    ("answer", &["archive", "canonical", "clock", "diff", "index", "ledger", "model", "query", "store"]),
    (
        "web",
        &["answer", "archive", "canonical", "clock", "daemon", "hash", "index", "ledger", "model", "query", "store"],
    ),
    ("config", &["capture", "daemon", "graph", "hold", "model", "web"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    files(&root().join("src"), "rs")
}

fn module_of(path: &Path) -> String {
    let inner = path.strip_prefix(root().join("src")).unwrap();
    let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a file names by a `crate::` path, wherever it stands.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let group = &group[..group.find('}').unwrap_or(group.len())];
            found.extend(group.split(',').map(|name| word(name.trim())));
        } else {
            found.insert(word(part));
        }
    }
    found.remove("");
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let modules: BTreeSet<String> = sources().iter().map(|(path, _)| module_of(path)).collect();
    let mut breaches = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if matches!(module.as_str(), "lib" | "main" | "cli") {
            continue;
        }
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == module) else {
            breaches.push(format!("module {module} has no row in DIRECTIONS"));
            continue;
        };
        for other in used(&text).iter().filter(|other| modules.contains(*other) && **other != module) {
            if !allowed.contains(&other.as_str()) {
                breaches.push(format!("{} uses {other}", path.display()));
            }
        }
    }
    assert_eq!(breaches, Vec::<String>::new());
}

/// The page once said less than was allowed, for two modules, and knew nothing of a third.
#[test]
fn the_page_shows_the_directions_as_they_are() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for (module, allowed) in DIRECTIONS.iter().filter(|(_, allowed)| !allowed.is_empty()) {
        let allowed: Vec<String> = allowed.iter().map(|name| format!("`{name}`")).collect();
        let row = format!("| `{module}` | {} |", allowed.join(", "));
        assert!(page.lines().any(|line| line == row), "docs/architecture.md lacks: {row}");
    }
}

#[test]
fn the_directions_have_no_circle() {
    let rows: BTreeMap<&str, &[&str]> = DIRECTIONS.iter().copied().collect();
    fn reaches(rows: &BTreeMap<&str, &[&str]>, from: &str, to: &str) -> bool {
        rows.get(from).is_some_and(|below| below.iter().any(|next| *next == to || reaches(rows, next, to)))
    }
    for (module, _) in DIRECTIONS {
        assert!(!reaches(&rows, module, module), "{module} uses itself by a detour");
    }
}

#[test]
fn every_file_says_what_it_does_and_what_it_must_never_know() {
    for (path, text) in sources() {
        let is_test = path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
        if is_test {
            continue;
        }
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        assert!(!head.is_empty(), "{} has no head", path.display());
        let is_exempt = matches!(module_of(&path).as_str(), "lib" | "main");
        assert!(
            is_exempt || head.iter().any(|line| line.contains("ever know")),
            "{} doesn't say what it must never know",
            path.display()
        );
    }
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 800, "{} has {lines} lines", path.display());
    }
}

/// Time comes from a clock that is handed in; only `clock` asks the operating system, and the demo tells how long it
/// took in real seconds.
#[test]
fn nobody_asks_for_the_time_behind_the_clocks_back() {
    for (path, text) in sources() {
        for asking in
            ["Timestamp::now()", "SystemTime::now()", "Instant::now()", "thread::sleep", "tokio::time::sleep("]
        {
            let allowed = module_of(&path) == "clock" || path.ends_with("cli/demo.rs");
            assert!(allowed || !text.contains(asking), "{} calls {asking}", path.display());
        }
    }
}

#[test]
fn no_module_is_named_for_nothing() {
    for (path, _) in sources() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            !["util", "utils", "common", "helper", "helpers", "types", "prelude", "manager"].contains(&name.as_str())
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in sources() {
        for mark in ["todo!(", "unimplemented!(", "FIXME", "XXX", "dbg!("] {
            assert!(!text.contains(mark), "{} has {mark}", path.display());
        }
    }
}

/// Serialised types live in three places: archived records, wire types, JSON for people's programs. Elsewhere a derive
/// would make a stored form out of a working one.
#[test]
fn serde_is_derived_only_where_bytes_are_defined() {
    for (path, text) in sources() {
        let derives = text.contains("Serialize") || text.contains("Deserialize");
        let allowed = ["archive", "simulator"].contains(&module_of(&path).as_str());
        assert!(allowed || !derives, "{} derives serde", path.display());
    }
}

/// What a stranger clones has none of these.
#[test]
fn no_page_sends_a_reader_where_nothing_is() {
    for (path, text) in files(&root().join("docs"), "md")
        .into_iter()
        .chain([(root().join("README.md"), fs::read_to_string(root().join("README.md")).unwrap())])
    {
        assert!(!text.contains("../shared"), "{} points outside the repository", path.display());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = path.parent().unwrap().join(target);
            assert!(file.exists(), "{} links to {target}, which isn't there", path.display());
        }
    }
}
