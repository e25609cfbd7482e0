//! What a permission or licence that lacks costs: its own rows of coverage and nothing else. And what `doctor` says of it.

#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tenure::archive::entry::{Body, Coverage, Status};
use tenure::cli::{self, Console};
use tenure::collect::{COLLECTIONS, How};
use tenure::simulator::{Licence, Options as TenantOptions};
use world::{World, capture, machine, reconcile};

const START: &str = "2026-06-29T00:00:00Z";

/// The rows that need `permission`, by the table of collections.
fn needing(permission: &str) -> BTreeSet<String> {
    let mut subjects = BTreeSet::new();
    for recipe in COLLECTIONS {
        let name = recipe.collection;
        let model = tenure::model::find(name).unwrap();
        let is_lists = |test: &dyn Fn(&'static str) -> bool| match &recipe.how {
            How::Lists { lists, .. } => lists.iter().filter_map(|list| list.permission).any(test),
            _ => false,
        };
        if recipe.permission == permission || is_lists(&|other| other == permission) {
            subjects.insert(name.to_owned());
        }
        let parent = recipe.per().or(recipe.parent().map(|(parent, _)| parent)).and_then(tenure::collect::find);
        if parent.is_some_and(|parent| parent.permission == permission) {
            // Of objects that can't be seen nobody can say that what hangs under them was read.
            subjects.insert(name.to_owned());
        }
        if recipe.permission == permission {
            // Without the objects there is nothing to read links or lifted facets of.
            subjects.extend(model.relations.iter().map(|relation| format!("{name} {}", relation.name)));
            subjects.extend(model.facets.iter().map(|facet| format!("{name}#{}", facet.name)));
            if let Some((parent, relation)) = recipe.parent() {
                subjects.insert(format!("{parent} {relation}"));
            }
        }
        let relations = recipe.relations.iter().filter(|relation| {
            let mut of_kinds = relation.kind_permissions.iter();
            relation.permission == permission || of_kinds.any(|(_, other)| *other == permission)
        });
        subjects.extend(relations.map(|relation| format!("{name} {}", relation.name)));
        let facets = recipe.facets.iter().filter(|facet| facet.permission == permission);
        subjects.extend(facets.map(|facet| format!("{name}#{}", facet.name)));
    }
    // What hangs under objects was seen as far as they were.
    for recipe in COLLECTIONS {
        let under = recipe.parent().map(|(parent, relation)| (parent, Some(relation)));
        if let Some((parent, relation)) = under.or(recipe.per().map(|parent| (parent, None)))
            && subjects.contains(parent)
        {
            subjects.insert(recipe.collection.to_owned());
            subjects.extend(relation.map(|relation| format!("{parent} {relation}")));
        }
    }
    subjects
}

fn rows(body: &Body) -> BTreeMap<String, Coverage> {
    body.cover.iter().flatten().map(|row| (row.subject(), row.clone())).collect()
}

fn is_read(row: &Coverage) -> bool {
    matches!(row.st, Status::Complete | Status::Rolling | Status::NotDue)
}

/// Runs `tenure doctor --json` against the tenant.
fn doctor(world: &World) -> (u8, serde_json::Value, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), world.tenant.client_secret()).unwrap();
    let config = directory.path().join("tenure.toml");
    let text = format!(
        "[tenant]\nid = \"{}\"\ngraph_url = \"{url}\"\nlogin_url = \"{url}\"\n[credential]\nclient_id = \"{}\"\n\
         client_secret_file = \"secret\"\n",
        world.tenant.tenant_id(),
        world.tenant.client_id(),
        url = world.tenant.url()
    );
    std::fs::write(&config, text).unwrap();
    let run = |json: bool| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let console =
            Console { out: &mut out, err: &mut err, out_is_terminal: false, err_is_terminal: false, colour: false };
        let config = config.display().to_string();
        let mut line = vec!["tenure", "--config", &config, "doctor"];
        if json {
            line.push("--json");
        }
        let code = cli::run(line.into_iter().map(Into::into), Vec::new(), Arc::new(world.clock.clone()), console);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let (code, out, err) = std::thread::scope(|scope| scope.spawn(|| run(true)).join().unwrap());
    let json = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let (_, words, _) = std::thread::scope(|scope| scope.spawn(|| run(false)).join().unwrap());
    (code, json, words)
}

fn texts(value: &serde_json::Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_away_one_permission_changes_the_coverage_of_what_needs_it_and_nothing_else() {
    let world = World::new(61, 60, START).await;
    let granted = TenantOptions::default().permissions;
    // The two kinds of certificates in the bin may also be read with Directory.Read.All; theirs is this one.
    world.tenant.grant("PublicKeyInfrastructure.Read.All");
    let local = machine();
    let mut capturer = world.open_all(&local).await;
    world.hour();
    let all = rows(&capture(&mut capturer).await.body);
    let unread: Vec<_> = all.values().filter(|row| !is_read(row)).collect();
    assert!(unread.is_empty(), "with every permission everything is read: {unread:?}");
    let mut told = 0;
    for permission in &granted {
        world.tenant.revoke(permission);
        world.hour();
        // A token holds the permissions of the time at which it was issued.
        world.clock.advance(std::time::Duration::from_secs(3600));
        let fresh = machine();
        drop(std::mem::replace(&mut capturer, world.open_all(&fresh).await));
        let committed = reconcile(&mut capturer).await;
        let needing = needing(permission);
        let before = told;
        for (subject, row) in rows(&committed.body) {
            if !needing.contains(&subject) {
                assert!(is_read(&row), "without {permission}: {row:?}");
            } else if !is_read(&row) {
                let why = row.code.as_deref();
                assert!(matches!(why, Some("no-permission")), "without {permission}: {row:?}");
                assert!(matches!(row.st, Status::Absent | Status::Partial), "without {permission}: {row:?}");
                told += 1;
            }
        }
        let (code, json, words) = doctor(&world);
        let missing = texts(&json["missing"]);
        // Some lists open to any of two permissions: taking one away closes nothing.
        if told > before {
            assert!(missing.contains(permission.as_str()), "without {permission}: {missing:?}");
            assert!(words.contains(&format!("MISSING  {permission}")), "{words}");
            assert_eq!(code, 4, "without {permission}");
        }
        assert!(missing.iter().all(|other| other == permission), "without {permission}: {missing:?}");
        world.tenant.grant(permission);
        world.clock.advance(std::time::Duration::from_secs(3600));
    }
    assert!(told > 20, "{told}");
    let (code, json, words) = doctor(&world);
    assert_eq!(
        (code, texts(&json["missing"]), texts(&json["writing"])),
        (0, BTreeSet::new(), BTreeSet::new()),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_licence_what_needs_it_is_absent_and_the_rest_is_read() {
    let world = World::new(62, 60, START).await;
    let local = machine();
    let mut capturer = world.open_all(&local).await;
    world.hour();
    capture(&mut capturer).await;
    for licence in [Licence::P2, Licence::Governance, Licence::P1] {
        world.tenant.cancel(licence);
    }
    world.hour();
    let body = reconcile(&mut capturer).await.body;
    let absent: BTreeSet<String> =
        rows(&body).into_iter().filter(|(_, row)| !is_read(row)).map(|(subject, _)| subject).collect();
    assert!(absent.contains("unifiedRoleEligibilitySchedule") && absent.contains("user#activity"), "{absent:?}");
    // Whether the answer to somebody without a licence is that, or a lack of permission, isn't documented for recovery.
    for subject in absent.iter().filter(|subject| !subject.starts_with("recovery")) {
        let row = &rows(&body)[subject];
        assert_eq!((row.st, row.code.as_deref()), (Status::Absent, Some("no-licence")), "{row:?}");
    }
    assert!(absent.len() < 12, "{absent:?}");
    let (_, json, words) = doctor(&world);
    assert!(words.contains("LICENCE"), "{words}");
    let missing = texts(&json["missing"]);
    assert!(missing.iter().all(|permission| permission == "EntraBackup.Read.All"), "{missing:?}");
    for licence in [Licence::P1, Licence::P2, Licence::Governance] {
        world.tenant.buy(licence);
    }
    world.hour();
    let body = reconcile(&mut capturer).await.body;
    assert!(rows(&body).values().all(is_read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_to_write_is_warned_of() {
    let world = World::new(63, 40, START).await;
    world.tenant.grant("User.ReadWrite.All");
    let (code, json, words) = doctor(&world);
    assert_eq!(code, 0);
    assert_eq!(texts(&json["writing"]), BTreeSet::from(["User.ReadWrite.All".to_owned()]));
    assert!(words.contains("WARNING  User.ReadWrite.All"), "{words}");
}
