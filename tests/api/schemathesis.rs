//! A bounded run of schemathesis against a service: no answer that the description doesn't know, and none that is a failure.
//!
//! It is in `tests/deploy/requirements.txt`, installed into `tests/deploy/tools` (`.ci/run` does). Without it the test says so
//! and skips, unless `TENURE_NEEDS_DEPLOY_TOOLS` is set.

use std::process::Stdio;

use serde_json::{Value, json};
use tenure::web::ROOT;

use super::served::{ADELE, FIRST, Kept, LOCAL_TOKEN, SALES, SECOND, Served, Setup};

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,ignored_auth,unsupported_method";

/// The description with values that this archive knows: of random names alone nearly all would be unknown.
fn description() -> Value {
    let mut document = tenure::web::document();
    for path in document["paths"].as_object_mut().unwrap().values_mut() {
        for parameter in path["get"]["parameters"].as_array_mut().unwrap() {
            let known = match parameter["name"].as_str().unwrap() {
                "tenant" => json!([FIRST, SECOND, "nobody.example"]),
                "name" => json!([ADELE, SALES, "Adele Vance", "nobody", "\u{e9}\u{4e2d}"]),
                "question" => json!(["accounts", "10", "role-holders", "no-such"]),
                "collection" => json!(["user", "group", "device"]),
                _ => continue,
            };
            parameter["example"] = known[0].clone();
            parameter["schema"] = json!({ "type": "string", "enum": known });
        }
    }
    for (name, example) in [("at", "#1"), ("from", "#1"), ("to", "2026-08-31"), ("known_at", "2")] {
        for path in document["paths"].as_object_mut().unwrap().values_mut() {
            let parameters = path["get"]["parameters"].as_array_mut().unwrap();
            parameters.iter_mut().filter(|row| row["name"] == name).for_each(|row| row["example"] = json!(example));
        }
    }
    document
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_failure_and_no_breach() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/tools/bin/schemathesis");
    if !std::path::Path::new(program).is_file() {
        let needed = std::env::var_os("TENURE_NEEDS_DEPLOY_TOOLS").is_some();
        assert!(!needed, "schemathesis isn't installed, and TENURE_NEEDS_DEPLOY_TOOLS is set");
        eprintln!("skipped: schemathesis isn't installed");
        return;
    }
    let (first, second) = (Kept::new(FIRST, 5).await, Kept::new(SECOND, 2).await);
    let served = Served::start(&[&first, &second], Setup { at_once: 64, ..Setup::default() }).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, description().to_string()).unwrap();
    let mut command = tokio::process::Command::new(program);
    command.arg("run").arg(&file).args(["--url", &served.url, "--checks", CHECKS, "--no-color"]);
    command.args(["--header", &format!("Authorization: Bearer {LOCAL_TOKEN}")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--max-time", "60"]);
    command.args(["--generation-deterministic", "--suppress-health-check", "all"]);
    let ended = command.current_dir(directory.path()).stdin(Stdio::null()).output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    let asked = served.get("/metrics", None).await.body;
    let answered =
        asked.lines().filter(|line| line.starts_with("tenure_web_requests_total") && line.contains("\"200\""));
    assert!(answered.count() >= tenure::web::OPERATIONS.len(), "each operation was answered at least once: {asked}");
    assert!(said.contains(ROOT) || said.contains("Operations"), "{said}");
}
