//! The scripts that people run: against a stand-in for the Azure command line, since what they do can't be undone.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::azure::days;
use crate::tools::{root, run, said, text, tool};

const SCRIPTS: [&str; 5] = [
    ".ci/run",
    "deploy/grant-permissions.sh",
    "deploy/azure/lock-policies.sh",
    "deploy/azure/provision-months.sh",
    "tests/deploy/bin/az",
];

#[test]
fn a_shell_can_read_the_scripts() {
    for script in SCRIPTS {
        let output = run(Command::new("bash").args(["-n", script]));
        assert!(output.status.success(), "{}", said(&output));
        assert!(text(script).contains("set -euo pipefail"), "{script} goes on after a failure");
    }
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let Some(shellcheck) = tool("shellcheck") else { return };
    let output = run(Command::new(shellcheck).args(SCRIPTS));
    assert!(output.status.success(), "{}", said(&output));
}

/// An account, as the stand-in keeps it.
struct Account {
    _place: tempfile::TempDir,
    file: PathBuf,
}

fn policy(days: u64, state: &str) -> Value {
    let tag = format!("\"{days}-{state}\"");
    json!({
        "immutabilityPeriodSinceCreationInDays": days,
        "state": state,
        "etag": tag,
        "allowProtectedAppendWrites": false,
    })
}

impl Account {
    fn new(containers: Value) -> Account {
        Account::of(&json!({ "containers": containers, "deployments": [] }))
    }

    fn of(state: &Value) -> Account {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("account.json");
        std::fs::write(&file, state.to_string()).unwrap();
        Account { _place: place, file }
    }

    fn now(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(&self.file).unwrap()).unwrap()
    }

    fn state_of(&self, container: &str) -> String {
        self.now()["containers"][container]["state"].as_str().unwrap().to_owned()
    }

    fn script(&self, name: &str, arguments: &[&str], typed: &str, variable: &str) -> Output {
        let arguments = [&["contosohistory", "rg-history"], arguments].concat();
        self.run(&format!("deploy/azure/{name}"), &arguments, typed, variable)
    }

    fn run(&self, script: &str, arguments: &[&str], typed: &str, variable: &str) -> Output {
        let path = std::env::var("PATH").unwrap();
        let stand_in = root().join("tests/deploy/bin");
        let mut command = Command::new(root().join(script));
        command.args(arguments).env(variable, "1");
        command.env("PATH", format!("{}:{path}", stand_in.display())).env("FAKE_AZ", &self.file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A script that doesn't ask doesn't read.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn lock(&self, arguments: &[&str], typed: &str) -> Output {
        self.script("lock-policies.sh", arguments, typed, "UNUSED")
    }

    fn provision(&self, arguments: &[&str]) -> Output {
        let arguments = [&["33333333-3333-3333-3333-333333333333"], arguments].concat();
        self.script("provision-months.sh", &arguments, "", "UNUSED")
    }
}

/// A fresh deployment of seven years: all unlocked, and the view without a policy.
fn fresh() -> Account {
    let month = policy(days(7), "Unlocked");
    Account::new(json!({ "log": policy(days(17), "Unlocked"), "view": null, "2026-11": month, "2026-12": month }))
}

#[test]
fn locking_asks_first_and_locks_all_but_the_view() {
    let account = fresh();
    let before = account.now();
    let looked = account.lock(&["--dry-run"], "contosohistory\n");
    assert!(looked.status.success(), "{}", said(&looked));
    assert!(said(&looked).contains("3 would be locked: 2026-11 2026-12 log"), "{}", said(&looked));
    assert_eq!(account.now(), before);

    for typed in ["", "yes\n", "contosohistor\n"] {
        let refused = account.lock(&[], typed);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert_eq!(account.now(), before, "locked though {typed:?} was typed");
    }

    let locked = account.lock(&[], "contosohistory\n");
    assert!(locked.status.success(), "{}", said(&locked));
    for container in ["log", "2026-11", "2026-12"] {
        assert_eq!(account.state_of(container), "Locked");
    }
    assert_eq!(account.now()["containers"]["view"], Value::Null);

    let again = account.lock(&[], "");
    assert!(again.status.success() && said(&again).contains("nothing to do"), "{}", said(&again));
}

#[test]
fn nothing_is_locked_while_anything_is_wrong() {
    let good = policy(days(7), "Unlocked");
    let appends = {
        let mut policy = good.clone();
        policy["allowProtectedAppendWrites"] = json!(true);
        policy
    };
    for (wrong, why) in [
        (policy(days(7) - 1, "Unlocked"), "2656 days, 2657 are needed"),
        (policy(days(7) - 1, "Locked"), "2656 days, 2657 are needed"),
        (policy(days(17), "Unlocked"), "longer than the 2657"),
        (appends, "takes additions"),
        (Value::Null, "has no policy"),
    ] {
        let account =
            Account::new(json!({ "log": policy(days(17), "Unlocked"), "2026-11": good.clone(), "2026-12": wrong }));
        let before = account.now();
        let output = account.lock(&[], "contosohistory\n");
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(why), "{}", said(&output));
        assert_eq!(account.now(), before);
    }
}

#[test]
fn a_lock_that_did_not_take_is_told() {
    let account = fresh();
    let output = account.script("lock-policies.sh", &[], "contosohistory\n", "FAKE_AZ_IDLE");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("and is not"), "{}", said(&output));
}

#[test]
fn other_archives_of_the_account_are_left_alone() {
    let (log, month) = (policy(days(17), "Unlocked"), policy(days(7), "Unlocked"));
    let account = Account::new(json!({ "a-log": log, "a-2026-11": month, "b-log": log, "b-2026-11": month,
        "a-b-log": log, "a-reports": month }));
    let output = account.lock(&["--prefix", "a"], "contosohistory\n");
    assert!(output.status.success(), "{}", said(&output));
    for (container, state) in [
        ("a-log", "Locked"),
        ("a-2026-11", "Locked"),
        ("b-log", "Unlocked"),
        ("b-2026-11", "Unlocked"),
        ("a-b-log", "Unlocked"),
        ("a-reports", "Unlocked"),
    ] {
        assert_eq!(account.state_of(container), state, "{container}");
    }
    let output = account.lock(&["--prefix", "c"], "contosohistory\n");
    assert!(said(&output).contains("no container c-log"), "{}", said(&output));
}

/// A locked policy takes nothing but a longer interval: a deployment that names its container fails as a whole.
#[test]
fn months_are_added_without_touching_what_has_a_policy() {
    let account = fresh();
    assert!(account.lock(&[], "contosohistory\n").status.success());
    let before = account.now();
    let arguments = ["--from", "2026-11", "--months", "4"];
    let looked = account.provision(&[&arguments[..], &["--dry-run"]].concat());
    assert!(looked.status.success(), "{}", said(&looked));
    assert!(said(&looked).contains("2 would be made, for 2657 days: 2027-01 2027-02"), "{}", said(&looked));
    assert_eq!(account.now(), before);

    let made = account.provision(&arguments);
    assert!(made.status.success(), "{}", said(&made));
    let now = account.now();
    assert_eq!(now["containers"]["2027-02"]["immutabilityPeriodSinceCreationInDays"], days(7));
    assert_eq!(now["containers"]["2026-12"], before["containers"]["2026-12"]);
    let parameters = &now["deployments"][0];
    assert_eq!(parameters["names"], "[\"2027-01\",\"2027-02\"]");
    // Exactly what the template takes.
    let template = text("deploy/bicep/worm.bicep");
    let names = template.lines().filter_map(|line| line.strip_prefix("param ")?.split_whitespace().next());
    let mut names: Vec<&str> = names.collect();
    let mut given: Vec<&str> = parameters.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    given.sort_unstable();
    assert_eq!(given, names);

    let again = account.provision(&arguments);
    assert!(again.status.success() && said(&again).contains("nothing to do"), "{}", said(&again));
}

#[test]
fn arguments_that_make_no_sense_change_nothing() {
    let account = fresh();
    let before = account.now();
    for arguments in
        [&["--years", "seven"][..], &["--years", "0"], &["--from", "2026-13"], &["--months", "0"], &["--lock"]]
    {
        let output = account.provision(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
    }
    for arguments in [&["--years", "0"][..], &["--yes"]] {
        let output = account.lock(arguments, "contosohistory\n");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(account.now(), before);
}

/// For an application and for a managed identity alike: both have a service principal with the client id.
#[test]
fn permissions_are_granted_once_and_only_those_on_the_list() {
    let list: Value = serde_json::from_str(&text("deploy/graph-permissions.json")).unwrap();
    let names = list["permissions"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    // This cloud lacks the last one, and has more than is asked for. What people may do is another kind of role.
    let known = names[..names.len() - 1].iter().copied().chain(["Directory.ReadWrite.All"]);
    let mut roles: Vec<Value> = known
        .map(|name| json!({ "value": name, "id": format!("role-{name}"), "allowedMemberTypes": ["Application"] }))
        .collect();
    roles.push(json!({ "value": names[0], "id": "for-people", "allowedMemberTypes": ["User"] }));
    let first = json!({ "resourceId": "graph", "appRoleId": format!("role-{}", names[0]) });
    let account = Account::of(&json!({ "roles": roles, "granted": [first] }));

    let script = "deploy/grant-permissions.sh";
    let before = account.now();
    let looked = account.run(script, &["client", "--dry-run"], "", "UNUSED");
    assert!(looked.status.success(), "{}", said(&looked));
    assert_eq!(account.now(), before);

    let done = account.run(script, &["client"], "", "UNUSED");
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains(&format!("{}: this cloud doesn't have it", names[names.len() - 1])));
    let now = account.now();
    let granted: Vec<&str> =
        now["granted"].as_array().unwrap().iter().map(|grant| grant["appRoleId"].as_str().unwrap()).collect();
    let expected: Vec<String> = names[..names.len() - 1].iter().map(|name| format!("role-{name}")).collect();
    assert_eq!(granted, expected);

    assert!(account.run(script, &["client"], "", "UNUSED").status.success());
    assert_eq!(account.now(), now);
}
