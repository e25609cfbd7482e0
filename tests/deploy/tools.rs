//! The files of `deploy/`, and the tools that judge them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The user and group of the image and of the chart.
pub const USER: &str = "18470";

/// Where the service listens.
pub const PORT: &str = "8470";

/// Where things are, in every way of running the service.
pub const CONFIGURATION: &str = "/etc/tenure/tenure.toml";
pub const STATE: &str = "/var/lib/tenure";
pub const CACHE: &str = "/var/cache/tenure";
pub const PROGRAM: &str = "/usr/local/bin/tenure";

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its path in the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A tool, from `tests/deploy/tools` or as the machine has it. Where it lacks the test that asks says so, and skips.
pub fn tool(name: &str) -> Option<PathBuf> {
    let installed = root().join("tests/deploy/tools/bin").join(name);
    let places = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(installed)
        .chain(std::env::split_paths(&places).map(|place| place.join(name)))
        .find(|path| path.is_file());
    lacking(found, name)
}

/// The interpreter that has the libraries of `tests/deploy/requirements.txt`.
pub fn python() -> Option<PathBuf> {
    let path = root().join("tests/deploy/tools/bin/python");
    lacking(path.is_file().then_some(path), "the interpreter with tests/deploy/requirements.txt")
}

fn lacking(found: Option<PathBuf>, name: &str) -> Option<PathBuf> {
    if found.is_none() {
        let needed = std::env::var_os("TENURE_NEEDS_DEPLOY_TOOLS").is_some();
        assert!(!needed, "{name} isn't installed, and TENURE_NEEDS_DEPLOY_TOOLS is set");
        eprintln!("skipped: {name} isn't installed");
    }
    found
}

/// What a command said, which has to succeed.
pub fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    said(&output)
}

/// What a command came to, in the root of the repository.
pub fn run(command: &mut Command) -> Output {
    command.current_dir(root()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Everything it wrote.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn lines_are_short_enough_to_be_read() {
    let mut pending = vec![root().join("deploy"), root().join("tests/deploy")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            pending.extend(entries.filter(|path| !path.ends_with("tests/deploy/tools")));
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let is_list = path.ends_with("graph-permissions.json");
            assert!(is_list || line.chars().count() <= 120, "{}, line {number}", path.display());
        }
    }
}

/// What the README shows first is what docs/operations.md shows in full, and was tried.
#[test]
fn the_readme_gives_the_commands_of_the_manual() {
    let (readme, manual) = (text("README.md"), text("docs/operations.md"));
    let section = readme.split("\n## As a service\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<&str> = section.split("```").skip(1).step_by(2).flat_map(|block| block.lines().skip(1)).collect();
    assert!((10..=25).contains(&commands.len()), "{}", commands.len());
    for command in commands {
        assert!(manual.lines().any(|line| line == command), "{command}");
    }
}
