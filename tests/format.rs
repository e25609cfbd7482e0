//! The worked example of `docs/format.md`, run as written: a page that shows commands shows what they print.

use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The shell blocks of section 12, and what they say is printed.
fn example() -> (String, Vec<String>) {
    let page = std::fs::read_to_string(root().join("docs/format.md")).unwrap();
    let section = page.split("\n## 12. A worked example\n").nth(1).expect("the page has a section 12");
    let blocks: Vec<&str> = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let script: String = blocks.concat();
    let printed = script.lines().filter_map(|line| line.strip_prefix("# prints ")).map(str::to_owned).collect();
    (script, printed)
}

#[test]
fn the_worked_example_prints_what_the_page_says() {
    let (script, expected) = example();
    assert!(expected.len() >= 12, "the example was cut down to {} lines", expected.len());
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(root().join("tests/golden/example"))
        .output()
        .expect("bash is installed");
    assert!(
        run.status.success(),
        "needs zstd and jq (apt-get install zstd jq): {}",
        String::from_utf8_lossy(&run.stderr)
    );
    let printed: Vec<String> = String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn the_example_verifies() {
    let store = tenure::store::FilesystemStore::new(root().join("tests/golden/example"));
    let options = tenure::archive::verify::Options { deep: true, ..Default::default() };
    let report = tenure::archive::verify::verify(&store, &options, |_, _| ()).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.checked.roots, 2);
}
