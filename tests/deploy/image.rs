//! The image of the service.

use std::process::Command;

use crate::tools::{CACHE, CONFIGURATION, PORT, PROGRAM, STATE, USER, run, said, text, tool};

#[test]
fn the_image_is_nothing_but_the_program_and_runs_as_nobody_in_particular() {
    let file = text("deploy/Containerfile");
    let last = file.rsplit_once("\nFROM ").unwrap().1;
    assert!(last.starts_with("scratch\n"));
    assert!(!last.contains("\nRUN ") && !last.contains("\nADD "), "{last}");
    for line in [
        format!("USER {USER}:{USER}"),
        format!("EXPOSE {PORT}"),
        format!("VOLUME [\"{STATE}\", \"{CACHE}\"]"),
        format!("ENTRYPOINT [\"{PROGRAM}\"]"),
        format!("CMD [\"--config\", \"{CONFIGURATION}\", \"serve\"]"),
    ] {
        assert!(last.lines().any(|found| found == line), "{line} is not in\n{last}");
    }
    for place in [STATE, CACHE] {
        let (above, name) = place.rsplit_once('/').unwrap();
        assert!(file.contains(&format!("install -d -m 0700 /own/{name}\n")));
        let copy = format!("COPY --from=build --chown={USER}:{USER} /own/ {above}/");
        assert!(last.lines().any(|found| found == copy), "{copy}");
    }
    // Certificates are those of the system, which an image from nothing doesn't have; so are time zones.
    let variable = last.lines().find_map(|line| line.strip_prefix("ENV SSL_CERT_FILE=")).unwrap();
    assert!(file.contains(&format!("/image{variable}")));
    assert!(file.contains("/image/usr/share/zoneinfo"));
}

#[test]
fn bases_are_pinned_and_builds_follow_the_lock() {
    let file = text("deploy/Containerfile");
    let base = file.lines().find_map(|line| line.strip_prefix("ARG BASE=")).unwrap();
    let version = base.rsplit(':').next().unwrap();
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{base}");
    // Not older than the package needs.
    let package = text("Cargo.toml");
    let needed = package.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let parts = |text: &str| -> Vec<u32> {
        text.split(|c: char| !c.is_ascii_digit()).take(2).map(|part| part.parse().unwrap()).collect()
    };
    assert!(parts(version) >= parts(needed), "{version} is older than {needed}");
    assert!(file.contains("cargo build --release --locked"));
}

/// The context that is sent to a builder holds what the file copies, and no build of one's own.
#[test]
fn what_the_image_is_built_from_is_what_it_copies() {
    let file = text("deploy/Containerfile");
    let copied = file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"));
    let mut copied: Vec<&str> =
        copied.flat_map(|line| line.split_whitespace().rev().skip(1)).filter(|name| *name != "./").collect();
    let ignored = text("deploy/Containerfile.dockerignore");
    let mut sent: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    copied.sort_unstable();
    sent.sort_unstable();
    assert_eq!(copied, sent);
    assert!(ignored.lines().any(|line| line == "*"));
}

#[test]
fn hadolint_has_nothing_to_say() {
    let Some(hadolint) = tool("hadolint") else { return };
    let output = run(Command::new(hadolint).arg("deploy/Containerfile"));
    assert!(output.status.success(), "{}", said(&output));
}
