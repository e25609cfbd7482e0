//! What `deploy/` promises: the permissions against the table of collections, the least that read everything and none
//! that writes; unit, image, chart and templates against each other, the program's options, the tools that read them.
//!
//! The tools are in `tests/deploy/requirements.txt`, installed into `tests/deploy/tools` (`.ci/run` does). A test that
//! lacks its tool says so and skips, unless `TENURE_NEEDS_DEPLOY_TOOLS` is set.

use std::collections::{BTreeMap, BTreeSet};

use tenure::collect::{COLLECTIONS, can_write};

#[path = "deploy/azure.rs"]
mod azure;
#[path = "deploy/chart.rs"]
mod chart;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/scripts.rs"]
mod scripts;
#[path = "deploy/systemd.rs"]
mod systemd;
#[path = "deploy/tools.rs"]
mod tools;

fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/graph-permissions.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = file["permissions"].as_array().unwrap().iter();
    rows.map(|row| {
        let opens = row["opens"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        (row["name"].as_str().unwrap().to_owned(), opens.collect())
    })
    .collect()
}

#[test]
fn the_list_is_what_the_collections_need_and_nothing_more() {
    let mut needed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for recipe in COLLECTIONS {
        for permission in recipe.permissions() {
            needed.entry(permission.to_owned()).or_default().insert(recipe.collection.to_owned());
        }
    }
    let listed = listed();
    if listed != needed {
        let rows = needed.iter().map(|(name, opens)| serde_json::json!({ "name": name, "opens": opens }));
        let rows: Vec<_> = rows.collect();
        panic!("deploy/graph-permissions.json should say\n{}", serde_json::to_string_pretty(&rows).unwrap());
    }
}

#[test]
fn nothing_on_the_list_lets_its_holder_change_anything() {
    for permission in listed().keys() {
        assert!(!can_write(permission), "{permission}");
    }
}

#[test]
fn the_script_grants_what_the_list_says() {
    let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grant-permissions.sh")).unwrap();
    assert!(script.contains("graph-permissions.json"));
    assert!(!script.contains("ReadWrite"));
    let mut bash = std::process::Command::new("bash");
    bash.args(["-n", "deploy/grant-permissions.sh"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = bash.status().unwrap();
    assert!(status.success(), "bash can't read it");
}
