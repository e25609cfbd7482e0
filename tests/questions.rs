//! Every question that can be answered, asked of a tenant made by hand, with the answer worked out beside it.

mod support;

#[path = "support/story.rs"]
mod story;

use serde_json::{Value, json};
use story::*;
use support::*;
use tenure::archive::entry::Status;
use tenure::hash::Hash;
use tenure::query::questions::{self, Ability, Answer, AskError, CATALOGUE, Times};
use tenure::query::{QueryError, Scope};

/// Ada holds it for good, Ben may activate it through a group, Cem holds it in one unit, Dan has activated what he is eligible
/// for. Eve is in a group within that group, which gives nothing. The group itself has a row. At 02:00 Ada's is gone.
#[tokio::test]
async fn role_holders_directly_by_group_eligible_activated_and_scoped() {
    let activated = json!({"principalId": "dan", "roleDefinitionId": GLOBAL, "directoryScopeId": "/", "assignmentType": "Activated",
        "startDateTime": "2026-07-31T23:10:00Z", "endDateTime": "2026-08-02T00:00:00Z"});
    let story = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        user("ada", json!({})),
        user("ben", json!({"accountEnabled": false})),
        user("cem", json!({})),
        user("dan", json!({})),
        user("eve", json!({})),
        group("admins"),
        group("inner"),
        links("group/admins", "members", &["user/ben", "group/inner"]),
        links("group/inner", "members", &["user/eve"]),
        object("administrativeUnit/au", json!({"id": "au", "displayName": "Vienna"})),
        assigned("a", "ada", GLOBAL, "/"),
        eligible("e", "admins", GLOBAL),
        assigned("c", "cem", GLOBAL, "/administrativeUnits/au"),
        assigned("d", "dan", GLOBAL, "/"),
        object("unifiedRoleAssignmentScheduleInstance/d", activated),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            ("unifiedRoleAssignment/a".into(), remove()),
            audit("r1", "2026-08-01T01:40:00Z", "Remove member from role", "dan", &["ada", GLOBAL]),
        ],
    );
    let (archive, _directory) = story.open().await;
    let columns = ["subject", "kind", "status", "form", "scope", "path", "certainty"];
    let answer = ask_at(&archive, "role-holders", &[], &time(1)).await;
    assert_eq!(
        rows(&answer, &columns),
        [
            "user/dan | user | enabled | activated | / | direct | observed",
            "user/ada | user | enabled | assigned | / | direct | observed",
            "user/cem | user | enabled | assigned | /administrativeUnits/au (Vienna) | direct | observed",
            "group/admins | group | enabled | eligible | / | direct | observed",
            "group/inner | group | enabled | eligible | / | through Group admins | observed",
            "user/ben | user | disabled | eligible | / | through Group admins | observed",
        ]
    );
    assert!(!answer.is_incomplete());
    assert_eq!((total(&answer, "subjects"), total(&answer, "assigned")), ("6".into(), "2".into()));

    // At 01:20 Ada held it still, at 01:50 not any more: the log tells when it went.
    for (when, holds) in [("2026-08-01T01:20:00Z", true), ("2026-08-01T01:50:00Z", false)] {
        let answer = ask_at(&archive, "role-holders", &[], when).await;
        let ada: Vec<String> = rows(&answer, &columns).into_iter().filter(|row| row.starts_with("user/ada")).collect();
        let expected = "user/ada | user | enabled | assigned | / | direct | corroborated";
        assert_eq!(ada, if holds { vec![expected.to_owned()] } else { vec![] }, "{when}");
    }
    // Within a period that has both she is one of them.
    let answer =
        ask_during(&archive, "role-holders-during", &[("role", "Global Administrator")], &time(0), &time(2)).await;
    let ada = rows(&answer, &["subject", "until", "certainty"]);
    assert!(ada.contains(&"user/ada | 2026-08-01T02:00:00Z | observed".to_owned()), "{ada:?}");
}

/// Without a read of the groups nobody can say who is in them: the members that were known are told, and nothing follows from the
/// others' absence.
#[tokio::test]
async fn what_was_not_read_is_said_and_never_reads_as_nobody() {
    let story = Story::begin(vec![role(GLOBAL, "Global Administrator"), group("g"), assigned("a", "g", GLOBAL, "/")])
        .covered(1, vec![], but("group", Some("members"), Status::Carried, "throttled"));
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "role-holders", &[], &time(1)).await;
    assert_eq!(rows(&answer, &["subject", "certainty"]), ["group/g | observed"]);
    assert!(answer.is_incomplete());
    assert_eq!(answer.certainty(), "unknown");
    let unread: Vec<String> =
        answer.evidence.seen.iter().filter(|seen| !seen.is_complete).map(|seen| seen.name()).collect();
    assert_eq!(unread, ["group members"]);
    assert!(!ask_at(&archive, "role-holders", &[], &time(0)).await.is_incomplete(), "it was read then");
}

/// The same question of the same archive has the same hash, whoever asks and whenever; more knowledge is another answer, and the
/// old one is still there for who asks as it was known.
#[tokio::test]
async fn an_answer_can_be_given_again_to_the_bit() {
    let story = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        user("ada", json!({})),
        assigned("a", "ada", GLOBAL, "/"),
    ])
    .hour(1, vec![])
    .hour(2, vec![user("bea", json!({})), assigned("b", "bea", GLOBAL, "/")]);
    let (mut archive, _directory) = story.open().await;
    archive.know_at(2).unwrap();
    let cited = ask_at(&archive, "role-holders", &[], &time(1)).await;
    let again = ask_at(&archive, "role-holders", &[("role", GLOBAL)], &time(1)).await;
    assert_eq!(cited.hash, again.hash, "the parameter is what was taken anyway");
    assert_eq!(cited.hash, Hash::of(&cited.canonical()));
    // Whoever has the answer can compute the hash by themselves: all but the two members that name it, as RFC 8785 writes it.
    let mut told = cited.clone().into_json();
    assert_eq!(told.shift_remove("hash"), Some(cited.hash.to_string().into()));
    told.shift_remove("id").unwrap();
    assert_eq!(cited.canonical(), serde_json_canonicalizer::to_vec(&told).unwrap());
    archive.know_at(3).unwrap();
    let later = ask_at(&archive, "role-holders", &[], &time(1)).await;
    assert_ne!(cited.hash, later.hash, "more is known, and said to be");
    assert_eq!(rows(&cited, &["subject"]), rows(&later, &["subject"]));
    archive.know_at(2).unwrap();
    assert_eq!(ask_at(&archive, "role-holders", &[], &time(1)).await.hash, cited.hash);
}

/// Ada's has no end; Bea's ends next year; Cem may activate his.
#[tokio::test]
async fn permanent_is_what_has_no_end() {
    let schedule = json!({"principalId": "bea", "roleDefinitionId": GLOBAL, "directoryScopeId": "/", "assignmentType": "Assigned",
        "scheduleInfo": {"startDateTime": "2026-01-01T00:00:00Z", "expiration": {"type": "afterDateTime", "endDateTime": "2027-01-01T00:00:00Z"}}});
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        role("88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "Directory Readers"),
        user("ada", json!({})),
        user("bea", json!({})),
        user("cem", json!({})),
        assigned("a", "ada", GLOBAL, "/"),
        assigned("b", "bea", GLOBAL, "/"),
        object("unifiedRoleAssignmentSchedule/b", schedule),
        eligible("c", "cem", GLOBAL),
        assigned("r", "cem", "88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "/"),
    ])
    .open()
    .await;
    let answer = ask_at(&archive, "permanent-assignments", &[], &time(0)).await;
    assert_eq!(rows(&answer, &["subject", "target_name"]), ["user/ada | Global Administrator"]);
}

/// The policy asks for a justification; from 02:00 on, by Ada's doing, for approval as well.
#[tokio::test]
async fn activation_rules_with_who_changed_them() {
    let policy = |approval: bool| {
        json!({"id": "p", "rules": [
            {"@odata.type": "#microsoft.graph.unifiedRoleManagementPolicyEnablementRule", "id": "Enablement_EndUser_Assignment", "enabledRules": ["Justification"]},
            {"id": "Approval_EndUser_Assignment", "setting": {"isApprovalRequired": approval}},
        ]})
    };
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        object("unifiedRoleManagementPolicyAssignment/pa", json!({"policyId": "p", "roleDefinitionId": GLOBAL})),
        object("unifiedRoleManagementPolicy/p", policy(false)),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            object("unifiedRoleManagementPolicy/p", policy(true)),
            audit("x", "2026-08-01T01:30:00Z", "Update role setting in PIM", "ada", &["p"]),
        ],
    )
    .open()
    .await;
    let answer = ask_at(&archive, "activation-rules", &[], &time(2)).await;
    assert_eq!(
        rows(&answer, &["for", "rule", "value", "since", "changed_by"]),
        [
            r#"activation | Approval_EndUser_Assignment | {"setting":{"isApprovalRequired":true}} | 2026-08-01T02:00:00Z | ADA (user/ada)"#,
            r#"activation | Enablement_EndUser_Assignment | {"enabledRules":["Justification"]} | 2026-08-01T00:00:00Z | -"#,
        ]
    );
}

/// A guest, a synchronised account, a disabled one and an application; Ada is none of that.
#[tokio::test]
async fn privileged_exceptions_say_why() {
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        user("ada", json!({})),
        user("guest", json!({"userType": "Guest"})),
        user("synced", json!({"onPremisesSyncEnabled": true})),
        user("off", json!({"accountEnabled": false})),
        service("bot", json!({})),
        assigned("1", "ada", GLOBAL, "/"),
        assigned("2", "guest", GLOBAL, "/"),
        assigned("3", "synced", GLOBAL, "/"),
        assigned("4", "off", GLOBAL, "/"),
        assigned("5", "bot", GLOBAL, "/"),
        assigned("6", "nobody", GLOBAL, "/"),
    ])
    .open()
    .await;
    let answer = ask_at(&archive, "privileged-exceptions", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["subject", "why"]),
        [
            "servicePrincipal/bot | application",
            "user/guest | guest",
            "directoryObject/nobody | deleted",
            "user/off | disabled",
            "user/synced | synchronised",
        ]
    );
    assert_eq!(total(&answer, "privileged_rows"), "6");
}

/// Ada owns the group that holds the role, Bea the application whose service principal has a permission over roles; Cem is
/// Privileged Role Administrator; the service itself has the permission. Dan owns an application that has nothing.
#[tokio::test]
async fn who_could_become_administrator() {
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        role("e8611ab8-c189-46e8-94e1-60213ab1f814", "Privileged Role Administrator"),
        user("ada", json!({})),
        user("bea", json!({})),
        user("cem", json!({})),
        user("dan", json!({})),
        group("admins"),
        links("group/admins", "owners", &["user/ada"]),
        assigned("1", "admins", GLOBAL, "/"),
        graph(),
        service("bot", json!({})),
        object("application/bot-app", json!({"id": "bot-app", "appId": "app-bot", "displayName": "Bot"})),
        links("application/bot-app", "owners", &["user/bea"]),
        app_role("x", "bot", "ServicePrincipal", "graph", "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8"),
        assigned("2", "cem", "e8611ab8-c189-46e8-94e1-60213ab1f814", "/"),
        service("harmless", json!({})),
        links("servicePrincipal/harmless", "owners", &["user/dan"]),
    ])
    .open()
    .await;
    let answer = ask_at(&archive, "could-become-administrator", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["subject", "why", "leads_to"]),
        [
            "servicePrincipal/bot | holds a permission over the directory | []",
            "user/cem | holds a role that gives roles or resets administrators | []",
            r#"user/ada | owns what is privileged | ["Global Administrator"]"#,
            r#"user/bea | owns what is privileged | ["RoleManagement.ReadWrite.Directory"]"#,
        ]
    );
}

/// The helpers' role may reset passwords from 02:00 on; Ada has it. A built-in role that changes is no custom one.
#[tokio::test]
async fn custom_roles_that_changed() {
    let custom = |actions: &[&str]| json!({"id": "help", "displayName": "Helpers", "isBuiltIn": false, "rolePermissions": [{"allowedResourceActions": actions}]});
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        object("unifiedRoleDefinition/help", custom(&["microsoft.directory/users/standard/read"])),
        user("ada", json!({})),
        assigned("a", "ada", "help", "/"),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            object(
                "unifiedRoleDefinition/help",
                custom(&["microsoft.directory/users/password/update", "microsoft.directory/users/standard/read"]),
            ),
            audit("x", "2026-08-01T01:30:00Z", "Update role definition", "bea", &["help"]),
        ],
    )
    .open()
    .await;
    let answer = ask_during(&archive, "custom-role-changes", &[], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["name", "change", "added", "removed", "since", "changed_by", "holders"]),
        [
            r#"Helpers | changed | ["microsoft.directory/users/password/update"] | [] | 2026-08-01T02:00:00Z | BEA (user/bea) | ["ADA"]"#,
        ]
    );
}

/// Two accounts with what is kept of them; the manager by name; the last of the sign-ins.
#[tokio::test]
async fn accounts_with_their_managers_and_dates() {
    let activity = json!({"signInActivity": {"lastSignInDateTime": "2026-07-01T00:00:00Z", "lastNonInteractiveSignInDateTime": "2026-07-20T00:00:00Z"}});
    let (archive, _directory) = Story::begin(vec![
        user("ada", json!({"department": "Finance", "createdDateTime": "2020-01-01T00:00:00Z"})),
        user("bea", json!({"userType": "Guest", "accountEnabled": false})),
        links("user/ada", "manager", &["user/bea"]),
        object("user/ada#activity", activity),
    ])
    .open()
    .await;
    let answer = ask_at(&archive, "accounts", &[], &time(0)).await;
    let columns = ["sign_in", "status", "type", "department", "manager", "created", "last_sign_in"];
    assert_eq!(
        rows(&answer, &columns),
        [
            "ada@home | enabled | member | Finance | BEA | 2020-01-01T00:00:00Z | 2026-07-20T00:00:00Z",
            "bea@home | disabled | guest | - | - | - | -",
        ]
    );
    assert_eq!(total(&answer, "accounts_by_status"), r#"{"disabled":1,"enabled":1}"#);
}

/// On 1 August the limit of 90 days is 3 May: Ada signed in before it, Bea after; Cem never did and is old, Dan never did and is
/// new; Eve is switched off.
#[tokio::test]
async fn inactive_accounts_by_the_last_sign_in() {
    let signed_in = |when: &str| json!({"signInActivity": {"lastSignInDateTime": when}});
    let (archive, _directory) = Story::begin(vec![
        user("ada", json!({"createdDateTime": "2020-01-01T00:00:00Z"})),
        object("user/ada#activity", signed_in("2026-05-02T00:00:00Z")),
        user("bea", json!({"createdDateTime": "2020-01-01T00:00:00Z"})),
        object("user/bea#activity", signed_in("2026-05-04T00:00:00Z")),
        user("cem", json!({"createdDateTime": "2020-01-01T00:00:00Z"})),
        user("dan", json!({"createdDateTime": "2026-07-01T00:00:00Z"})),
        user("eve", json!({"createdDateTime": "2020-01-01T00:00:00Z", "accountEnabled": false})),
    ])
    .open()
    .await;
    let answer = ask_at(&archive, "inactive-accounts", &[], &time(0)).await;
    assert_eq!(rows(&answer, &["subject", "last_sign_in"]), ["user/cem | -", "user/ada | 2026-05-02T00:00:00Z"]);
    assert_eq!((total(&answer, "enabled_accounts"), total(&answer, "never_signed_in")), ("4".into(), "1".into()));
    let short = ask_at(&archive, "inactive-accounts", &[("days", "5")], &time(0)).await;
    assert_eq!(short.table.rows.len(), 4);
}

/// The sample is the least of SHA-256 over seed, line feed and key.
#[tokio::test]
async fn a_sample_is_drawn_by_hashes() {
    let names: Vec<String> = (0..20).map(|n| format!("u{n:02}")).collect();
    let (archive, _directory) = Story::begin(names.iter().map(|name| user(name, json!({}))).collect()).open().await;
    let answer = ask_at(&archive, "sample", &[("n", "3"), ("seed", "audit 2026")], &time(0)).await;
    let mut ranked: Vec<(Hash, String)> = names
        .iter()
        .map(|name| (Hash::of(format!("audit 2026\nuser/{name}").as_bytes()), format!("user/{name}")))
        .collect();
    ranked.sort();
    let expected: Vec<String> = ranked.into_iter().take(3).map(|(_, key)| key).collect();
    assert_eq!(rows(&answer, &["key"]), expected);
    assert_eq!(total(&answer, "population"), "20");
}

/// A tenant for the questions about access to an application: Ada is assigned herself, Ben by a group; Cem is in a group within
/// it, which an assignment doesn't reach; Dan owns the application's principal. From 02:00 on Ada isn't assigned any more, Eve is,
/// and nobody has to be.
fn payroll() -> Story {
    Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        user("cem", json!({})),
        user("dan", json!({})),
        user("eve", json!({})),
        group("pay"),
        group("inner"),
        links("group/pay", "members", &["user/ben", "group/inner"]),
        links("group/inner", "members", &["user/cem"]),
        service("payroll", json!({"appRoles": [{"id": "r1", "value": "Approver"}]})),
        links("servicePrincipal/payroll", "owners", &["user/dan"]),
        app_role("1", "ada", "User", "payroll", "r1"),
        app_role("2", "pay", "Group", "payroll", "00000000-0000-0000-0000-000000000000"),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            ("appRoleAssignment/1".into(), remove()),
            app_role("3", "eve", "User", "payroll", "r1"),
            audit(
                "x",
                "2026-08-01T01:30:00Z",
                "Add app role assignment grant to user",
                "dan",
                &["payroll", "eve", "r1"],
            ),
            service(
                "payroll",
                json!({"appRoles": [{"id": "r1", "value": "Approver"}], "appRoleAssignmentRequired": false}),
            ),
        ],
    )
}

#[tokio::test]
async fn who_could_reach_an_application() {
    let (archive, _directory) = payroll().open().await;
    let columns = ["subject", "power", "scope", "form", "path", "given_by"];
    let answer = ask_at(&archive, "who-could-reach", &[("target", "Service payroll")], &time(1)).await;
    assert_eq!(
        rows(&answer, &columns),
        [
            "group/inner | app role | default access | assigned | through Group pay | -",
            "group/pay | app role | default access | assigned | direct | -",
            "user/ada | app role | Approver | assigned | direct | -",
            "user/ben | app role | default access | assigned | through Group pay | -",
            "user/dan | ownership | - | owner | direct | -",
        ]
    );
    let answer = ask_at(&archive, "who-could-reach", &[("target", "servicePrincipal/payroll")], &time(2)).await;
    let later = rows(&answer, &columns);
    assert!(
        later.contains(&"user/eve | app role | Approver | assigned | direct | DAN (user/dan)".to_owned()),
        "{later:?}"
    );
    assert!(
        later.contains(
            &"servicePrincipal/payroll | default access | - | open to everybody | direct | unattributed".to_owned()
        ),
        "{later:?}"
    );
    assert!(!later.iter().any(|row| row.starts_with("user/ada")));
}

#[tokio::test]
async fn access_that_differs_between_two_reviews() {
    let (archive, _directory) = payroll().open().await;
    let answer =
        ask_during(&archive, "access-changes", &[("target", "servicePrincipal/payroll")], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["change", "subject", "power", "scope"]),
        [
            "gained | user/eve | app role | Approver",
            "gained | servicePrincipal/payroll | default access | -",
            "lost | user/ada | app role | Approver",
        ]
    );
    assert_eq!((total(&answer, "before"), total(&answer, "after")), ("5".into(), "6".into()));
}

/// Ben is in the inner group's parent only; what Cem reaches is membership of both, and nothing of the application.
#[tokio::test]
async fn what_somebody_could_reach() {
    let (archive, _directory) = payroll().open().await;
    let columns = ["power", "target", "path"];
    let answer = ask_at(&archive, "reach", &[("subject", "ben@home")], &time(1)).await;
    assert_eq!(
        rows(&answer, &columns),
        ["app role | servicePrincipal/payroll | through Group pay", "membership | group/pay | direct",]
    );
    let answer = ask_at(&archive, "reach", &[("subject", "user/cem"), ("open", "true")], &time(2)).await;
    assert_eq!(
        rows(&answer, &columns),
        [
            "default access | servicePrincipal/payroll | direct",
            "membership | group/inner | direct",
            "membership | group/pay | through Group inner",
        ]
    );
    assert_eq!(total(&answer, "open_to_everybody"), "1");
}

/// Ada had one until 02:00 and the other from 02:00 on: never both. Ben had both from 01:00 to 03:00.
#[tokio::test]
async fn two_things_held_at_once() {
    let (archive, _directory) = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        group("pay"),
        group("check"),
        links("group/pay", "members", &["user/ada", "user/ben"]),
    ])
    .hour(1, vec![links("group/check", "members", &["user/ben"])])
    .hour(2, vec![("group/pay".into(), unlink("members", &["user/ada"]))])
    .hour(
        3,
        vec![("group/pay".into(), unlink("members", &["user/ben"])), links("group/check", "members", &["user/ada"])],
    )
    .hour(4, vec![])
    .open()
    .await;
    let parameters = [("one", "Group pay"), ("other", "Group check")];
    let answer = ask_during(&archive, "held-together", &parameters, &time(0), &time(4)).await;
    assert_eq!(
        rows(&answer, &["subject", "one_name", "other_name", "since", "until", "certainty"]),
        ["user/ben | Group pay | Group check | 2026-08-01T01:00:00Z | 2026-08-01T03:00:00Z | observed",]
    );
    assert_eq!((total(&answer, "held_one"), total(&answer, "held_other")), ("2".into(), "2".into()));
}

/// Ada leaves at 00:30. She is disabled at 01:15 by Ben, out of the group by 03:00 with nobody named, and keeps the role.
#[tokio::test]
async fn what_became_of_a_leaver() {
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        user("ada", json!({})),
        group("pay"),
        links("group/pay", "members", &["user/ada"]),
        assigned("a", "ada", GLOBAL, "/"),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            user("ada", json!({"accountEnabled": false})),
            audit("x", "2026-08-01T01:15:00Z", "Disable account", "ben", &["ada"]),
        ],
    )
    .hour(3, vec![("group/pay".into(), unlink("members", &["user/ada"]))])
    .hour(4, vec![])
    .open()
    .await;
    let parameters = [("user", "ADA"), ("left", "2026-08-01T00:30:00Z")];
    let answer = ask_during(&archive, "leaver", &parameters, &time(0), &time(4)).await;
    assert_eq!(
        rows(&answer, &["what", "name", "seen", "at", "hours_after", "by"]),
        [
            "directory role still there | Global Administrator | - | - | - | -",
            "account disabled | - | 2026-08-01T02:00:00Z | 2026-08-01T01:15:00Z | 0.75 | BEN (user/ben)",
            "membership ended | Group pay | 2026-08-01T03:00:00Z | - | 2.5 | unattributed",
        ]
    );
    assert_eq!(
        (total(&answer, "still_there"), total(&answer, "account_at_the_end")),
        ("1".into(), "\"disabled\"".into())
    );
}

/// Bea came at 01:00 by Ada, Cem at 02:00 by nobody knows whom, and is gone at 03:00. Ada was there when the archive began.
#[tokio::test]
async fn accounts_that_came_and_who_made_them() {
    let (archive, _directory) = Story::begin(vec![user("ada", json!({}))])
        .hour(1, vec![user("bea", json!({})), audit("x", "2026-08-01T00:30:00Z", "Add user", "ada", &["bea"])])
        .hour(2, vec![user("cem", json!({}))])
        .hour(3, vec![("user/cem".into(), remove())])
        .open()
        .await;
    let answer = ask_during(&archive, "new-accounts", &[], &time(0), &time(3)).await;
    assert_eq!(
        rows(&answer, &["subject", "status", "since", "created_by", "created_at"]),
        [
            "user/bea | enabled | 2026-08-01T01:00:00Z | ADA (user/ada) | 2026-08-01T00:30:00Z",
            "user/cem | gone | 2026-08-01T02:00:00Z | unattributed | -",
        ]
    );
    assert_eq!(total(&answer, "unattributed"), "1");
}

/// Ada moved to Sales, keeps the group of Finance and got that of Sales. Ben only got another telephone.
#[tokio::test]
async fn movers_and_what_they_kept() {
    let (archive, _directory) = Story::begin(vec![
        user("ada", json!({"department": "Finance"})),
        user("ben", json!({"department": "Finance"})),
        group("finance"),
        group("sales"),
        links("group/finance", "members", &["user/ada", "user/ben"]),
    ])
    .hour(
        1,
        vec![
            user("ada", json!({"department": "Sales"})),
            user("ben", json!({"department": "Finance", "mobilePhone": "1"})),
            links("group/sales", "members", &["user/ada"]),
        ],
    )
    .open()
    .await;
    let answer = ask_during(&archive, "movers", &[], &time(0), &time(1)).await;
    assert_eq!(
        rows(&answer, &["subject", "moved", "kept", "lost", "gained"]),
        [
            r#"user/ada | department "Finance" to "Sales" | ["membership: Group finance"] | [] | ["membership: Group sales"]"#,
        ]
    );
}

/// Ada was deleted by Ben after 01:00 and held a role until then. Cem came and is there.
#[tokio::test]
async fn deleted_accounts_and_what_they_held() {
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        user("ada", json!({})),
        assigned("a", "ada", GLOBAL, "/"),
    ])
    .hour(1, vec![user("cem", json!({}))])
    .hour(
        2,
        vec![
            ("user/ada".into(), remove()),
            ("unifiedRoleAssignment/a".into(), remove()),
            audit("x", "2026-08-01T01:20:00Z", "Delete user", "ben", &["ada"]),
        ],
    )
    .open()
    .await;
    let answer = ask_during(&archive, "deleted-accounts", &[], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["name", "last_seen", "seen_gone", "deleted_at", "deleted_by", "held"]),
        [
            r#"ADA | 2026-08-01T01:00:00Z | 2026-08-01T02:00:00Z | 2026-08-01T01:20:00Z | BEN (user/ben) | ["directory role: Global Administrator"]"#,
        ]
    );
}

/// The account was made again under another id: the same employee id tells. Somebody else got the old sign-in name.
#[tokio::test]
async fn the_same_person_under_another_id() {
    let (archive, _directory) =
        Story::begin(vec![user("old", json!({"employeeId": "E7", "userPrincipalName": "ada@home"}))])
            .hour(1, vec![("user/old".into(), remove())])
            .hour(
                2,
                vec![
                    user("new", json!({"employeeId": "e7", "userPrincipalName": "ada.new@home"})),
                    user("other", json!({"employeeId": "E8", "userPrincipalName": "ADA@home"})),
                ],
            )
            .open()
            .await;
    let answer = ask_at(&archive, "same-person", &[("user", "user/old")], &time(2)).await;
    assert_eq!(
        rows(&answer, &["subject", "same", "first_seen", "gone_at"]),
        [
            r#"user/new | ["employeeId e7"] | 2026-08-01T02:00:00Z | -"#,
            r#"user/other | ["userPrincipalName ada@home"] | 2026-08-01T02:00:00Z | -"#,
        ]
    );
    let back = ask_at(&archive, "same-person", &[("user", "user/new")], &time(2)).await;
    assert_eq!(rows(&back, &["subject", "gone_at"]), ["user/old | 2026-08-01T01:00:00Z"]);
}

/// A tenant for the questions about applications.
fn robots() -> Story {
    let bot = |credentials: Value| json!({"id": "bot-app", "appId": "app-bot", "displayName": "Bot", "passwordCredentials": credentials});
    let old = json!({"keyId": "k1", "displayName": "old", "startDateTime": "2025-01-01T00:00:00Z", "endDateTime": "2026-01-01T00:00:00Z"});
    let new = json!({"keyId": "k2", "displayName": "new", "startDateTime": "2026-08-01T01:00:00Z", "endDateTime": "2028-08-01T01:00:00Z", "hint": "abc"});
    Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        role("9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "Application Administrator"),
        user("ada", json!({})),
        user("ben", json!({})),
        user("cem", json!({})),
        graph(),
        service("bot", json!({})),
        service("other", json!({})),
        object("application/bot-app", bot(json!([old]))),
        links("application/bot-app", "owners", &["user/ada"]),
        links("application/bot-app", "federatedIdentityCredentials", &["federatedIdentityCredential/f"]),
        object("federatedIdentityCredential/f", json!({"id": "f", "name": "ci", "issuer": "https://ci", "subject": "repo"})),
        app_role("1", "bot", "ServicePrincipal", "graph", "mail"),
        app_role("2", "other", "ServicePrincipal", "graph", "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9"),
        object("oauth2PermissionGrant/g", json!({"clientId": "bot", "consentType": "AllPrincipals", "resourceId": "graph", "scope": " User.Read Files.ReadWrite.All "})),
        eligible("e", "ben", "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"),
        assigned("s", "cem", "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "/bot-app"),
    ])
    .hour(1, vec![])
    .hour(2, vec![
        object("application/bot-app", bot(json!([old, new]))),
        audit("x", "2026-08-01T01:00:00Z", "Update application – Certificates and secrets management ", "ada", &["bot-app"]),
        service("visitor", json!({"appOwnerOrganizationId": "elsewhere", "publisherName": "Shop", "verifiedPublisher": {"displayName": "Shop Ltd"}})),
        audit("y", "2026-08-01T01:10:00Z", "Add service principal", "ben", &["visitor"]),
        service("own", json!({})),
    ])
}

#[tokio::test]
async fn what_an_application_could_do() {
    let (archive, _directory) = robots().open().await;
    let answer = ask_at(&archive, "application-power", &[("application", "application/bot-app")], &time(1)).await;
    assert_eq!(
        rows(&answer, &["power", "target_name", "scope", "form"]),
        [
            "app role | Microsoft Graph | Mail.Read | assigned",
            "delegated grant | Microsoft Graph | Files.ReadWrite.All User.Read | by Service bot, for everybody",
        ]
    );
}

/// Bot may write everybody's files, for everybody; the other application every application. Reading mail is no writing.
#[tokio::test]
async fn applications_that_write_everywhere() {
    let (archive, _directory) = robots().open().await;
    let answer = ask_at(&archive, "tenant-wide-writers", &[], &time(1)).await;
    assert_eq!(
        rows(&answer, &["subject", "reach", "permission", "given_as"]),
        [
            "servicePrincipal/other | directory | Application.ReadWrite.All | application permission",
            "servicePrincipal/bot | files | Files.ReadWrite.All | delegated, for everybody",
        ]
    );
}

/// At 02:00 the old password is over since January, the new one valid for two years, by Ada; the federated one has no end.
#[tokio::test]
async fn credentials_of_an_application() {
    let (archive, _directory) = robots().open().await;
    let answer = ask_at(&archive, "credentials", &[("application", "servicePrincipal/bot")], &time(2)).await;
    assert_eq!(
        rows(&answer, &["kind", "name", "id", "days", "valid", "since", "added_by"]),
        [
            "federated | ci | f | - | true | 2026-08-01T00:00:00Z | -",
            "password | old | k1 | 365 | false | 2026-08-01T00:00:00Z | -",
            "password | new | k2 | 731 | true | 2026-08-01T02:00:00Z | ADA (user/ada)",
        ]
    );
}

/// Ada owns it, Ben may become Application Administrator, Cem is it for this application alone, and the other application may
/// write every application. No Global Administrator is there.
#[tokio::test]
async fn who_could_add_credentials() {
    let (archive, _directory) = robots().open().await;
    let answer = ask_at(&archive, "who-could-add-credentials", &[("application", "Bot")], &time(1)).await;
    assert_eq!(
        rows(&answer, &["subject", "power", "form", "scope"]),
        [
            "user/cem | directory role | assigned | /bot-app (Bot)",
            "user/ben | directory role | eligible | /",
            "user/ada | ownership | owner of the application | -",
            "servicePrincipal/other | app role | assigned | Application.ReadWrite.All",
        ]
    );
}

/// Two service principals came; one is of another organisation.
#[tokio::test]
async fn applications_that_came_from_elsewhere() {
    let (archive, _directory) = robots().open().await;
    let answer = ask_during(&archive, "new-applications", &[], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["subject", "organisation", "publisher", "verified_publisher", "since", "added_by"]),
        ["servicePrincipal/visitor | elsewhere | Shop | Shop Ltd | 2026-08-01T02:00:00Z | BEN (user/ben)",]
    );
    assert_eq!(total(&answer, "of_the_tenant_itself"), "1");
}

/// Users may consent by one policy, which includes what it includes; guests are invited by everybody since 02:00, by Ada.
#[tokio::test]
async fn what_users_may_consent_to() {
    let policy = |invites: &str| {
        json!({"id": "authorizationPolicy", "allowInvitesFrom": invites,
            "defaultUserRolePermissions": {"allowedToCreateApps": false, "permissionGrantPoliciesAssigned": ["ManagePermissionGrantsForSelf.low"]}})
    };
    let (archive, _directory) = Story::begin(vec![
        object("authorizationPolicy/-", policy("adminsAndGuestInviters")),
        object(
            "permissionGrantPolicy/low",
            json!({"id": "low", "includes": [{"id": "1", "permissionType": "delegated"}], "excludes": []}),
        ),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            object("authorizationPolicy/-", policy("everyone")),
            audit("x", "2026-08-01T01:30:00Z", "Update authorization policy", "ada", &["authorizationPolicy"]),
        ],
    )
    .open()
    .await;
    let answer = ask_at(&archive, "user-consent-policy", &[], &time(2)).await;
    assert_eq!(
        rows(&answer, &["setting", "value", "since", "changed_by"]),
        [
            "allowInvitesFrom | everyone | 2026-08-01T02:00:00Z | ADA (user/ada)",
            "defaultUserRolePermissions.allowedToCreateApps | false | 2026-08-01T00:00:00Z | -",
            r#"defaultUserRolePermissions.permissionGrantPoliciesAssigned | ["ManagePermissionGrantsForSelf.low"] | 2026-08-01T00:00:00Z | -"#,
            r#"low includes | {"permissionType":"delegated"} | - | -"#,
        ]
    );
}

/// Guests by the domain they come from, and what they could reach; members aren't guests.
#[tokio::test]
async fn guests_and_who_invited_them() {
    let (archive, _directory) = Story::begin(vec![user("ada", json!({})), group("g")])
        .hour(1, vec![
            user("gus", json!({"userType": "Guest", "userPrincipalName": "gus_partner.example#EXT#@home", "externalUserState": "PendingAcceptance"})),
            links("group/g", "members", &["user/gus"]),
            audit("x", "2026-08-01T00:30:00Z", "Invite external user", "ada", &["gus"]),
        ])
        .open()
        .await;
    let answer = ask_at(&archive, "guests", &[], &time(1)).await;
    assert_eq!(
        rows(&answer, &["subject", "organisation", "invitation", "invited_by", "groups", "roles", "applications"]),
        ["user/gus | partner.example | PendingAcceptance | ADA (user/ada) | 1 | 0 | 0",]
    );
    assert!(ask_at(&archive, "guests", &[], &time(0)).await.table.rows.is_empty());
}

/// The domain was managed and is federated since 02:00, by Ada.
#[tokio::test]
async fn domains_that_became_federated() {
    let federated = json!({"id": "home", "authenticationType": "Federated", "isVerified": true, "isDefault": true,
        "federationConfiguration": [{"issuerUri": "urn:evil", "signingCertificate": "MIIC0123456789abcdefXYZ"}]});
    let (archive, _directory) = Story::begin(vec![object(
        "domain/home",
        json!({"id": "home", "authenticationType": "Managed", "isVerified": true, "isDefault": true}),
    )])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            object("domain/home", federated),
            audit("x", "2026-08-01T01:05:00Z", "Set domain authentication", "ada", &["home"]),
        ],
    )
    .open()
    .await;
    let answer = ask_during(&archive, "federation", &[], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["domain", "authentication", "issuer", "certificate", "since", "until", "changed_by"]),
        [
            "home | Managed | - | - | 2026-08-01T00:00:00Z | 2026-08-01T02:00:00Z | -",
            "home | Federated | urn:evil | 6789abcdefXYZ | 2026-08-01T02:00:00Z | - | ADA (user/ada)",
        ]
        .map(|row| row.replace("6789abcdefXYZ", "3456789abcdefXYZ"))
    );
    assert_eq!(total(&answer, "changed"), "1");
}

#[tokio::test]
async fn tenants_that_are_trusted() {
    let default = json!({"inboundTrust": {"isMfaAccepted": false, "isCompliantDeviceAccepted": false, "isHybridAzureADJoinedDeviceAccepted": false},
        "b2bCollaborationInbound": {"usersAndGroups": {"accessType": "allowed"}}});
    let partner = json!({"tenantId": "t2", "inboundTrust": {"isMfaAccepted": true}});
    let (archive, _directory) = Story::begin(vec![
        object("crossTenantAccessPolicyDefault/-", default),
        object("crossTenantAccessPolicyPartner/t2", partner),
    ])
    .open()
    .await;
    let answer = ask_at(&archive, "cross-tenant-trust", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["tenant", "trusts_mfa", "trusts_compliant_devices", "collaboration_in"]),
        ["defaults | false | false | allowed", "t2 | true | - | -",]
    );
}

#[tokio::test]
async fn a_capture_says_what_it_could_not_read() {
    let mut cover = but("domain", None, Status::Absent, "no-permission");
    for row in cover.iter_mut().filter(|row| row.c == "user" && row.r.is_none() && row.f.is_none()) {
        (row.how, row.n, row.count) = (Some("whole".into()), Some(9), Some(10));
    }
    let (archive, _directory) = Story { hours: vec![(0, vec![user("ada", json!({}))], cover)] }.open().await;
    let answer = ask_at(&archive, "completeness", &[], &time(0)).await;
    let told = rows(&answer, &["collection", "part", "status", "read", "counted", "difference", "reason"]);
    assert!(told.contains(&"user | objects | complete | 9 | 10 | -1 | -".to_owned()), "{told:?}");
    assert!(told.contains(&"domain | objects | absent | - | - | - | no-permission".to_owned()), "{told:?}");
    assert!(answer.is_incomplete());
}

/// Between 01:00 and 04:00 nothing was captured, and at 05:00 groups weren't read.
#[tokio::test]
async fn what_may_have_gone_unseen() {
    let (archive, _directory) = Story::begin(vec![user("ada", json!({}))])
        .hour(1, vec![])
        .hour(4, vec![])
        .covered(5, vec![], but("group", Some("members"), Status::Carried, "throttled"))
        .hour(6, vec![])
        .open()
        .await;
    let answer = ask_during(&archive, "unseen", &[], &time(0), &time(6)).await;
    assert_eq!(
        rows(&answer, &["what", "from", "to", "reason"]),
        [
            "everything | 2026-08-01T01:00:00Z | 2026-08-01T04:00:00Z | no capture",
            "group members | 2026-08-01T05:00:00Z | 2026-08-01T06:00:00Z | carried (throttled)",
        ]
    );
    assert_eq!(total(&answer, "longest_minutes_between_captures"), "180");
    assert!(answer.is_incomplete());
    assert!(!ask_during(&archive, "unseen", &[], &time(0), &time(1)).await.is_incomplete());
}

/// From 00:00 to 02:00: Ben comes into the group that holds a role and is switched off; Cem loses the same role, and gets it by the
/// group, which is no loss; the group gets an application, which all its members gain; Dan comes into a group that gives nothing.
#[tokio::test]
async fn what_a_difference_comes_to() {
    let (archive, _directory) = Story::begin(vec![
        role(GLOBAL, "Global Administrator"),
        user("ada", json!({})),
        user("ben", json!({})),
        user("cem", json!({})),
        user("dan", json!({})),
        group("admins"),
        group("idle"),
        links("group/admins", "members", &["user/ada"]),
        assigned("g", "admins", GLOBAL, "/"),
        assigned("c", "cem", GLOBAL, "/"),
        service("payroll", json!({})),
    ])
    .hour(1, vec![links("group/admins", "members", &["user/ben"]), links("group/idle", "members", &["user/dan"])])
    .hour(
        2,
        vec![
            links("group/admins", "members", &["user/cem"]),
            ("unifiedRoleAssignment/c".into(), remove()),
            app_role("p", "admins", "Group", "payroll", "r1"),
            user("ben", json!({"accountEnabled": false})),
        ],
    )
    .open()
    .await;
    let instant = |hour: u64| archive.at(&moment(&time(hour)), now()).unwrap();
    let effects = archive.effects(&instant(0), &instant(2), &Scope::default()).await.unwrap();
    let told = effects.access.iter().map(|effect| {
        let through = if effect.access.path.len() > 1 { " through the group" } else { "" };
        format!(
            "{} {} {}{through}",
            effect.turned.as_str(),
            effect.access.subject,
            effect.words.name.as_deref().unwrap()
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "gained user/ben Global Administrator through the group",
            "gained group/admins Service payroll",
            "gained user/ada Service payroll through the group",
            "gained user/ben Service payroll through the group",
            "gained user/cem Service payroll through the group",
        ]
    );
    let accounts: Vec<String> = effects.accounts.iter().map(|one| format!("{} {}", one.key, one.turned)).collect();
    assert_eq!(accounts, ["user/ben disabled"]);
    let back = archive.effects(&instant(2), &instant(0), &Scope::default()).await.unwrap();
    assert!(back.access.iter().all(|effect| effect.turned.as_str() == "lost"), "{:?}", back.access);
    assert_eq!((back.access.len(), back.accounts[0].turned), (5, "enabled"));
}

#[tokio::test]
async fn a_question_that_is_not_asked_right_says_so() {
    let (archive, _directory) =
        Story::begin(vec![role(GLOBAL, "Global Administrator"), user("ada", json!({}))]).open().await;
    let times = Times::default;
    let error = |found: Result<Answer, QueryError>| found.unwrap_err().to_string();
    assert_eq!(
        error(try_ask(&archive, "role-holders", &[("roll", "x")], times()).await),
        "role-holders has no parameter \"roll\""
    );
    assert_eq!(
        error(try_ask(&archive, "reach", &[], times()).await),
        "reach needs subject: the user, application or group, by name, id or key"
    );
    assert_eq!(
        error(try_ask(&archive, "reach", &[("subject", "user/ada"), ("open", "yes")], times()).await),
        "open is \"yes\", expected true or false"
    );
    assert_eq!(
        error(try_ask(&archive, "role-holders-during", &[], times()).await),
        "role-holders-during is asked about a period: give --from, and --to if it doesn't last until now"
    );
    let missing = try_ask(&archive, "azure-roles", &[], times()).await;
    assert!(matches!(missing, Err(QueryError::Ask(AskError::Unanswerable { .. }))));
    assert!(matches!(
        try_ask(&archive, "role-holders", &[("role", "ADA")], times()).await,
        Err(QueryError::NotFound { .. })
    ));
    assert!(matches!(questions::find("role-holder"), Err(AskError::NoSuchQuestion { near: "role-holders", .. })));
    assert_eq!(questions::find("q12").unwrap().name, "reach");
}

/// A question without a test here would be one that nobody ever saw answered.
#[test]
fn every_question_that_can_be_answered_is_asked_here() {
    let own = [
        include_str!("questions.rs"),
        include_str!("questions_policies.rs"),
        include_str!("questions_policies/guards.rs"),
        include_str!("questions_uses.rs"),
    ]
    .concat();
    for question in CATALOGUE.iter().filter(|question| matches!(question.ability, Ability::Answered(_))) {
        assert!(own.contains(&format!("\"{}\"", question.name)), "{} is asked by no test", question.name);
    }
}
