//! Changes of power, over archives made by hand and over the life of a simulated tenant with its takeover night.

mod support;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::{ArchiveBuilder, Changes, at, key, link, put, remove, row, unlink};
use tenure::archive::entry::{Coverage, Entry, Status, entry_name};
use tenure::archive::line::{Change, ContentChange};
use tenure::archive::reader::LineReader;
use tenure::capture::Capturer;
use tenure::index::Index;
use tenure::query::power::{Kind, PowerChange, Sight, changes};
use tenure::simulator::{Happening, Kind as Happened, Options as TenantOptions};
use tenure::store::{MemoryStore, Store};
use world::World;

const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";
const USER_ADMINISTRATOR: &str = "fe930be7-5e62-47db-91af-98c3a49a38b1";
const GROUPS_ADMINISTRATOR: &str = "fdd7a751-b60b-444a-984c-02652fe8fa1c";
const ROLE_MANAGEMENT: &str = "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8";
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// A service that looks for changes may do it on any thread.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

/// An archive made by hand with its index.
struct Bench {
    store: Arc<dyn Store>,
    builder: ArchiveBuilder,
    index: Index,
    lines: LineReader,
    time: Timestamp,
    _directory: tempfile::TempDir,
}

const ROWS: &[(&str, &[&str])] = &[
    ("user", &[]),
    ("group", &["members", "owners"]),
    ("application", &["owners", "federatedIdentityCredentials"]),
    ("federatedIdentityCredential", &[]),
    ("servicePrincipal", &["owners", "appRoleAssignedTo"]),
    ("appRoleAssignment", &[]),
    ("unifiedRoleDefinition", &[]),
    ("unifiedRoleAssignment", &[]),
    ("unifiedRoleAssignmentSchedule", &[]),
    ("unifiedRoleAssignmentScheduleInstance", &[]),
    ("unifiedRoleEligibilitySchedule", &[]),
    ("unifiedRoleEligibilityScheduleInstance", &[]),
    ("conditionalAccessPolicy", &[]),
    ("namedLocation", &[]),
    ("identitySecurityDefaultsEnforcementPolicy", &[]),
];

/// Everything was read, but what `except` says.
fn cover(except: &[(&str, Status)]) -> Vec<Coverage> {
    let mut rows = Vec::new();
    for (collection, relations) in ROWS {
        let status = except.iter().find(|(name, _)| name == collection).map_or(Status::Complete, |(_, status)| *status);
        rows.push(row(collection, None, status, None));
        rows.extend(relations.iter().map(|relation| row(collection, Some(relation), status, None)));
    }
    rows
}

impl Bench {
    async fn new() -> Bench {
        let memory = MemoryStore::new();
        let store: Arc<dyn Store> = Arc::new(memory);
        let time = at("2026-01-10T00:00:00Z");
        let builder = ArchiveBuilder::new(store.clone(), "power", time).await;
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(&directory.path().join("index")).unwrap();
        let lines = LineReader::new(store.clone());
        Bench { store, builder, index, lines, time, _directory: directory }
    }

    async fn capture(&mut self, all: Vec<(&str, Change)>, cover: Vec<Coverage>) -> Vec<PowerChange> {
        self.time += SignedDuration::from_hours(1);
        let mut changes_now = Changes::new();
        for (text, change) in all {
            let merged = changes_now.entry(key(text)).or_default();
            merged.content = change.content.or(merged.content.take());
            merged.links.extend(change.links);
        }
        let seq = self.builder.capture(self.time, changes_now, cover).await;
        self.index.catch_up(&self.store, |_, _| ()).await.unwrap();
        let body = Entry::parse(&self.store.get(&entry_name(seq)).await.unwrap()).unwrap().body;
        sendable(changes(&self.index.view().unwrap(), &self.lines, &body)).await.unwrap()
    }

    async fn hour(&mut self, all: Vec<(&str, Change)>) -> Vec<String> {
        told(&self.capture(all, cover(&[])).await)
    }
}

/// Changes as lines.
fn told(changes: &[PowerChange]) -> Vec<String> {
    let line = |change: &PowerChange| {
        let mut words = vec![change.kind.as_str().to_owned(), change.subject.to_string()];
        let roles = [(GLOBAL_ADMINISTRATOR, "GA"), (USER_ADMINISTRATOR, "UA"), (ROLE_MANAGEMENT, "RoleManagement")];
        words.extend(
            change.power.as_ref().map(|id| {
                roles.iter().find(|(known, _)| known == id).map_or(id.clone(), |(_, name)| (*name).to_owned())
            }),
        );
        words.extend(change.scope.clone());
        words.extend(change.credential.as_ref().map(|id| format!("key={id}")));
        words.extend(change.aspects.iter().map(|aspect| format!("+{aspect}")));
        words.extend(
            (!change.path.is_empty())
                .then(|| format!("by {}", change.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))),
        );
        match change.sight {
            Sight::Observed => {}
            Sight::Since(seq) => words.push(format!("since #{seq}")),
            Sight::First => words.push("first-seen".to_owned()),
        }
        words.join(" ")
    };
    changes.iter().map(line).collect()
}

fn object(value: Value) -> Change {
    put(&value.to_string())
}

fn assignment(principal: &str, role: &str) -> Change {
    object(json!({"principalId": principal, "roleDefinitionId": role, "directoryScopeId": "/"}))
}

fn schedule(principal: &str, role: &str, kind: &str) -> Change {
    object(json!({"principalId": principal, "roleDefinitionId": role, "directoryScopeId": "/", "assignmentType": kind}))
}

fn permission(principal: &str, role: &str) -> Change {
    object(json!({
        "principalId": principal, "principalType": "ServicePrincipal", "resourceId": "graph", "appRoleId": role
    }))
}

fn app(name: &str, secrets: &[&str]) -> Change {
    let secrets: Vec<Value> = secrets.iter().map(|id| json!({"keyId": id})).collect();
    object(json!({"appId": "app-1", "displayName": name, "passwordCredentials": secrets, "keyCredentials": []}))
}

fn policy(name: &str, except: &[&str], state: &str) -> Change {
    object(json!({
        "displayName": name, "state": state,
        "conditions": {"users": {"includeUsers": ["All"], "excludeGroups": except}, "clientAppTypes": ["all"]},
        "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
    }))
}

fn group(name: &str, assignable: bool) -> Change {
    object(json!({"displayName": name, "isAssignableToRole": assignable}))
}

fn with_links(change: Change, more: &[Change]) -> Change {
    more.iter().fold(change, |mut change, one| {
        change.links.extend(one.links.clone());
        change
    })
}

/// A small tenant: the group `g` holds Global Administrator, the application `a` nothing.
fn founding() -> Vec<(&'static str, Change)> {
    let user = |name: &str| object(json!({"displayName": name}));
    vec![
        ("user/u1", user("One")),
        ("user/u2", user("Two")),
        ("user/u3", user("Three")),
        ("group/g", with_links(group("G", true), &[link("members", &["user/u1"]), link("owners", &["user/u1"])])),
        ("group/plain", group("P", false)),
        ("unifiedRoleAssignment/1", assignment("g", GLOBAL_ADMINISTRATOR)),
        ("application/a", with_links(app("A", &["s1"]), &[link("owners", &["user/u1"])])),
        ("servicePrincipal/a", object(json!({"appId": "app-1", "displayName": "A"}))),
        ("servicePrincipal/graph", object(json!({"appId": GRAPH, "displayName": "Microsoft Graph"}))),
        ("conditionalAccessPolicy/p", policy("P", &["x", "y"], "enabled")),
        ("namedLocation/l", object(json!({"isTrusted": true, "ipRanges": [{"cidrAddress": "192.0.2.0/24"}]}))),
        ("identitySecurityDefaultsEnforcementPolicy/-", object(json!({"isEnabled": true}))),
    ]
}

async fn founded() -> Bench {
    let mut bench = Bench::new().await;
    assert_eq!(bench.hour(founding()).await, [""; 0], "a first capture has no changes");
    bench
}

#[tokio::test]
async fn roles_are_granted_activated_and_made_eligible_directly_and_by_groups() {
    let mut bench = founded().await;
    let found = bench
        .hour(vec![
            ("unifiedRoleAssignment/2", assignment("u2", USER_ADMINISTRATOR)),
            ("unifiedRoleAssignment/3", assignment("u2", GROUPS_ADMINISTRATOR)),
            ("unifiedRoleEligibilitySchedule/1", schedule("u3", GLOBAL_ADMINISTRATOR, "")),
            ("unifiedRoleEligibilityScheduleInstance/1", schedule("u3", GLOBAL_ADMINISTRATOR, "")),
            ("group/g", link("members", &["user/u2"])),
            ("group/plain", link("members", &["user/u3"])),
        ])
        .await;
    assert_eq!(
        found,
        [
            "role-granted user/u2 GA / by unifiedRoleAssignment/1 group/g",
            "role-granted user/u2 UA / by unifiedRoleAssignment/2",
            "role-eligible user/u3 GA / by unifiedRoleEligibilitySchedule/1",
        ]
    );
    let found = bench
        .hour(vec![
            ("unifiedRoleAssignment/4", assignment("u3", GLOBAL_ADMINISTRATOR)),
            ("unifiedRoleAssignmentSchedule/4", schedule("u3", GLOBAL_ADMINISTRATOR, "Activated")),
            ("unifiedRoleAssignmentScheduleInstance/4", schedule("u3", GLOBAL_ADMINISTRATOR, "Activated")),
        ])
        .await;
    assert_eq!(found, ["role-activated user/u3 GA / by unifiedRoleAssignmentSchedule/4"]);
    // It ends, and somebody leaves the group: less power.
    let found = bench
        .hour(vec![
            ("unifiedRoleAssignment/4", remove()),
            ("unifiedRoleAssignmentSchedule/4", remove()),
            ("unifiedRoleAssignmentScheduleInstance/4", remove()),
            ("group/g", unlink("members", &["user/u2"])),
        ])
        .await;
    assert_eq!(found, [""; 0]);
    // A role of the tenant's own, and one that the service itself calls privileged.
    let own = json!({"isBuiltIn": false, "rolePermissions": [{"allowedResourceActions":
        ["microsoft.directory/applications/credentials/update"]}]});
    let found = bench
        .hour(vec![
            ("unifiedRoleDefinition/own", object(own)),
            ("unifiedRoleDefinition/said", object(json!({"isPrivileged": true}))),
            ("unifiedRoleDefinition/weak", object(json!({"isBuiltIn": false}))),
            ("unifiedRoleAssignment/5", assignment("u2", "own")),
            ("unifiedRoleAssignment/6", assignment("u2", "said")),
            ("unifiedRoleAssignment/7", assignment("u2", "weak")),
        ])
        .await;
    assert_eq!(
        found,
        [
            "role-granted user/u2 own / by unifiedRoleAssignment/5",
            "role-granted user/u2 said / by unifiedRoleAssignment/6"
        ]
    );
}

#[tokio::test]
async fn applications_get_permissions_credentials_and_owners() {
    let mut bench = founded().await;
    // Without power nobody cares.
    let found = bench
        .hour(vec![
            ("application/a", with_links(app("A", &["s1", "s2"]), &[link("owners", &["user/u2"])])),
            ("servicePrincipal/graph", link("appRoleAssignedTo", &["appRoleAssignment/weak"])),
            ("appRoleAssignment/weak", permission("a", "df021288-bdef-4463-88db-98f22de89214")),
        ])
        .await;
    assert_eq!(found, [""; 0]);
    // All in one hour: what it gained counts for its credentials already.
    let found = bench
        .hour(vec![
            ("application/a", app("A", &["s2", "s3"])),
            ("servicePrincipal/graph", link("appRoleAssignedTo", &["appRoleAssignment/r"])),
            ("appRoleAssignment/r", permission("a", ROLE_MANAGEMENT)),
        ])
        .await;
    let way = "application/a servicePrincipal/a appRoleAssignment/r";
    assert_eq!(
        found,
        [
            "permission-granted servicePrincipal/a RoleManagement by appRoleAssignment/r servicePrincipal/graph"
                .to_owned(),
            format!("credential-added application/a RoleManagement key=s3 by {way}"),
        ]
    );
    let found = bench
        .hour(vec![
            (
                "application/a",
                with_links(
                    link("owners", &["user/u3"]),
                    &[link("federatedIdentityCredentials", &["federatedIdentityCredential/f"])],
                ),
            ),
            ("federatedIdentityCredential/f", object(json!({"issuer": "https://x"}))),
            (
                "servicePrincipal/a",
                with_links(
                    object(json!({"appId": "app-1", "displayName": "A", "keyCredentials": [{"keyId": "k"}]})),
                    &[link("owners", &["user/u2"])],
                ),
            ),
            ("group/g", link("owners", &["user/u2"])),
            ("group/plain", link("owners", &["user/u2"])),
        ])
        .await;
    let direct = "servicePrincipal/a appRoleAssignment/r";
    let mut expected = vec![
        format!("credential-added application/a RoleManagement key=f by federatedIdentityCredential/f {way}"),
        format!("credential-added servicePrincipal/a RoleManagement key=k by {direct}"),
        "owner-added user/u2 GA by group/g unifiedRoleAssignment/1".to_owned(),
        format!("owner-added user/u2 RoleManagement by {direct}"),
        format!("owner-added user/u3 RoleManagement by {way}"),
    ];
    let mut found = found;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn guards_are_loosened() {
    let mut bench = founded().await;
    let found = bench
        .hour(vec![
            ("conditionalAccessPolicy/p", policy("P", &["x", "y", "z"], "enabledForReportingButNotEnforced")),
            ("namedLocation/l", object(json!({"isTrusted": true, "ipRanges": [{"cidrAddress": "0.0.0.0/0"}]}))),
            ("identitySecurityDefaultsEnforcementPolicy/-", object(json!({"isEnabled": false}))),
        ])
        .await;
    assert_eq!(
        found,
        [
            "policy-loosened conditionalAccessPolicy/p +exclude-groups +report-only",
            "location-widened namedLocation/l +ranges",
            "security-defaults-off identitySecurityDefaultsEnforcementPolicy/-",
        ]
    );
    // It only reports now: whatever becomes of it guards nobody less.
    assert_eq!(bench.hour(vec![("conditionalAccessPolicy/p", remove())]).await, [""; 0]);
    assert_eq!(bench.hour(vec![("conditionalAccessPolicy/q", policy("Q", &[], "enabled"))]).await, [""; 0]);
    let found = bench.hour(vec![("conditionalAccessPolicy/q", remove())]).await;
    assert_eq!(found, ["policy-loosened conditionalAccessPolicy/q +deleted"]);
}

#[tokio::test]
async fn new_names_other_orders_and_new_ids_change_no_power() {
    let mut bench = founded().await;
    let found = bench
        .hour(vec![
            ("group/g", group("Renamed", true)),
            ("application/a", app("Renamed", &["s1"])),
            ("conditionalAccessPolicy/p", policy("Renamed", &["y", "x"], "enabled")),
            // Other properties of a link that was there.
            ("user/u1", object(json!({"displayName": "Renamed"}))),
        ])
        .await;
    assert_eq!(found, [""; 0]);
    let found = bench
        .hour(vec![
            ("unifiedRoleAssignment/1", remove()),
            ("unifiedRoleAssignment/9", assignment("g", GLOBAL_ADMINISTRATOR)),
            ("conditionalAccessPolicy/p", remove()),
            ("conditionalAccessPolicy/p2", policy("Again", &["x"], "enabled")),
        ])
        .await;
    assert_eq!(found, [""; 0]);
    bench.hour(vec![("appRoleAssignment/r", permission("a", ROLE_MANAGEMENT))]).await;
    let found = bench
        .hour(vec![
            ("appRoleAssignment/r", remove()),
            ("appRoleAssignment/s", permission("a", ROLE_MANAGEMENT)),
            ("group/g", link("members", &["user/u1"])),
        ])
        .await;
    assert_eq!(found, [""; 0], "a link that was there is written again");
}

#[tokio::test]
async fn only_what_was_seen_before_and_after_is_observed() {
    let eligible = |number: usize| schedule(&format!("u{number}"), GLOBAL_ADMINISTRATOR, "");
    let absent = cover(&[("unifiedRoleEligibilitySchedule", Status::Absent)]);
    // Never read before: everything in it is new to the archive and nothing to the tenant.
    let mut bench = Bench::new().await;
    bench.capture(founding(), absent.clone()).await;
    let names: Vec<String> = (1..4).map(|n| format!("unifiedRoleEligibilitySchedule/{n}")).collect();
    let all = names.iter().enumerate().map(|(n, name)| (name.as_str(), eligible(n + 1))).collect();
    assert_eq!(bench.hour(all).await, [""; 0]);
    // Read before, and found empty: the first one ever is news.
    let mut bench = founded().await;
    let found = bench.hour(vec![("unifiedRoleEligibilitySchedule/1", eligible(2))]).await;
    assert_eq!(found, ["role-eligible user/u2 GA / by unifiedRoleEligibilitySchedule/1"]);
    // Read before, then out of sight for a while.
    bench.capture(vec![], absent).await;
    let since = |mut change: Change| {
        if let Some((ContentChange::Put(_), q)) = &mut change.content {
            *q = Some(2);
        }
        change
    };
    let found = bench.hour(vec![("unifiedRoleEligibilitySchedule/2", since(eligible(3)))]).await;
    assert_eq!(found, ["role-eligible user/u3 GA / by unifiedRoleEligibilitySchedule/2 since #2"]);
    // Read in part before.
    bench.capture(vec![], cover(&[("unifiedRoleAssignment", Status::Partial)])).await;
    let found = bench.hour(vec![("unifiedRoleAssignment/5", assignment("u2", USER_ADMINISTRATOR))]).await;
    assert_eq!(found, ["role-granted user/u2 UA / by unifiedRoleAssignment/5 first-seen"]);
}

/// The capture that opens a segment carries its changes like any other.
#[tokio::test]
async fn a_new_month_hides_nothing() {
    let mut bench = founded().await;
    bench.time = at("2026-01-31T23:00:00Z");
    let found = bench.hour(vec![("unifiedRoleAssignment/2", assignment("u2", USER_ADMINISTRATOR))]).await;
    assert_eq!(found, ["role-granted user/u2 UA / by unifiedRoleAssignment/2"]);
}

/// A capture: its number, and the changes of power in it.
async fn powers(capturer: &mut Capturer) -> (u64, Vec<PowerChange>) {
    let committed = world::capture(capturer).await;
    let view = capturer.index().view().unwrap();
    let found = changes(&view, capturer.lines(), &committed.body).await.unwrap();
    (committed.body.seq, found)
}

/// Whether something that happened in the tenant accounts for a change.
fn accounts_for(happening: &Happening, change: &PowerChange) -> bool {
    let subject = change.subject.decoded_id();
    let kinds: &[Happened] = match change.kind {
        Kind::RoleGranted if change.path.len() > 1 => &[Happened::Joined],
        Kind::RoleGranted => &[Happened::RoleGranted, Happened::AttackRoleGranted],
        Kind::RoleEligible => &[Happened::EligibilityGranted],
        Kind::RoleActivated => &[Happened::RoleActivated],
        Kind::PermissionGranted => &[Happened::AttackPermissionGranted],
        Kind::CredentialAdded => &[Happened::AttackSecretAdded, Happened::SecretRotated],
        Kind::OwnerAdded => &[Happened::OwnerChanged],
        Kind::PolicyLoosened => &[Happened::PolicyChanged, Happened::AttackPolicyWeakened, Happened::SettingRemoved],
        Kind::LocationWidened => &[Happened::LocationChanged],
        Kind::SecurityDefaultsOff => &[],
    };
    let power = change.power.as_ref().is_none_or(|power| {
        !matches!(change.kind, Kind::RoleGranted | Kind::RoleEligible | Kind::RoleActivated)
            || happening.ids.contains(power)
            || change.path.len() > 1
    });
    kinds.contains(&happening.kind) && happening.ids.contains(&subject) && power
}

/// Two tenants, each through the night of its takeover and the days after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_takeover_night_is_told_and_nothing_that_did_not_happen() {
    for seed in 1..=2 {
        println!("seed {seed}");
        live_through_the_takeover(seed).await;
    }
}

/// Hour by hour: the takeover is told whole, nothing is told that didn't happen since the last capture that read it, and
/// hours in which nothing happens have nothing to tell, although sign-ins and clocks move in them.
async fn live_through_the_takeover(seed: u64) {
    let world = World::with_archive(TenantOptions { seed, users: 60, ..TenantOptions::default() }).await;
    let now = || tenure::clock::Clock::now(&world.clock);
    let machine = world::machine();
    let mut capturer = world.open_all(&machine).await;
    let (first, found) = powers(&mut capturer).await;
    assert_eq!(found, [], "a first capture has no changes");
    let mut times = BTreeMap::from([(first, now())]);
    world.clock.advance(Duration::from_secs(45 * 24 * 3600));
    world.tenant.live_until(now());
    let (second, _) = powers(&mut capturer).await;
    times.insert(second, now());
    let (mut attack, mut count) = (BTreeSet::new(), 0);
    for hour in 0..48 {
        let before = now();
        world.hour();
        let journal = world.tenant.journal();
        let (seq, found) = powers(&mut capturer).await;
        times.insert(seq, now());
        count += found.len();
        for change in &found {
            let since = match change.sight {
                Sight::Observed => before,
                Sight::Since(seq) => times[&seq],
                Sight::First => panic!("hour {hour}: every row was read before: {change:?}"),
            };
            let happened = journal.iter().any(|h| h.at >= since && accounts_for(h, change));
            assert!(happened, "hour {hour}: {:?}", told(&found));
        }
        let of_this_hour: Vec<&Happening> = journal.iter().filter(|h| h.at >= before).collect();
        for happening in &of_this_hour {
            use Happened::{AttackPermissionGranted, AttackPolicyWeakened, AttackRoleGranted, AttackSecretAdded};
            let attacks = [AttackSecretAdded, AttackPermissionGranted, AttackRoleGranted, AttackPolicyWeakened];
            if attacks.contains(&happening.kind) {
                let told: Vec<&PowerChange> = found.iter().filter(|change| accounts_for(happening, change)).collect();
                assert_eq!(told.len(), 1, "{happening:?}: {found:#?}");
                attack.insert((told[0].kind, told[0].power.clone(), told[0].aspects.clone()));
            }
        }
        // What was given and is held at the end of the hour is told, if its role is privileged.
        for happening in of_this_hour.iter().filter(|h| h.kind == Happened::RoleGranted) {
            let weak =
                [GROUPS_ADMINISTRATOR, "29232cdf-9323-42fd-ade2-1d097af3e4de"].contains(&happening.ids[1].as_str());
            let told = found.iter().any(|change| accounts_for(happening, change));
            assert!(told != weak, "hour {hour}: {happening:?}: {found:#?}");
        }
    }
    let power = |id: &str| Some(id.to_owned());
    let expected = BTreeSet::from([
        (Kind::CredentialAdded, power(GLOBAL_ADMINISTRATOR), vec![]),
        (Kind::PermissionGranted, power(ROLE_MANAGEMENT), vec![]),
        (Kind::RoleGranted, power(GLOBAL_ADMINISTRATOR), vec![]),
        (Kind::PolicyLoosened, None, vec!["exclude-groups", "report-only"]),
    ]);
    assert_eq!(attack, expected);
    println!("{count} changes of power in 48 hours");
    for _ in 0..10 {
        world.quiet_hour();
        assert_eq!(powers(&mut capturer).await.1, []);
    }
}
