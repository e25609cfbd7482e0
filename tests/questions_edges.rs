//! Questions at the edges of what was seen and what the log tells: each test is a tenant made by hand in which a plausible answer
//! would be a wrong one.

mod support;

#[path = "support/story.rs"]
mod story;

use serde_json::{Value, json};
use story::*;
use support::*;
use tenure::archive::entry::{Coverage, Status};
use tenure::archive::line::{Change, Content, ContentChange};
use tenure::query::{Attributed, QueryError, Scope};

const HOLDERS: &[&str] = &["subject", "form", "path", "certainty"];

fn minutes(hour: u64, minute: u64) -> String {
    format!("2026-08-01T{hour:02}:{minute:02}:00Z")
}

/// Coverage in which some collections were refused.
fn without(names: &[&str]) -> Vec<Coverage> {
    let mut rows = complete();
    for one in rows.iter_mut().filter(|one| names.contains(&one.c.as_str())) {
        *one = row(&one.c.clone(), one.r.clone().as_deref(), Status::Absent, Some("no-permission"));
    }
    rows
}

fn instance(id: &str, principal: &str, more: Value) -> (String, Change) {
    let mut content = json!({"principalId": principal, "roleDefinitionId": GLOBAL, "directoryScopeId": "/", "assignmentType": "Activated"});
    content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object(&format!("unifiedRoleAssignmentScheduleInstance/{id}"), content)
}

fn people() -> Lines {
    vec![user("ada", json!({})), user("ben", json!({})), role(GLOBAL, "Global Administrator")]
}

/// Role assignments couldn't be read until 04:00, when Ada is seen to hold the role. Of 01:00 nobody can say "nobody".
#[tokio::test]
async fn what_was_never_read_then_is_not_read_later() {
    let refused = || without(&["unifiedRoleAssignment"]);
    let mut story = Story::begin(people()).covered(1, vec![], refused()).covered(2, vec![], refused());
    story.hours[0].2 = refused();
    let story = story.covered(3, vec![], refused()).hour(4, vec![assigned("a", "ada", GLOBAL, "/")]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "role-holders", &[], &time(1)).await;
    assert_eq!((rows(&answer, HOLDERS).len(), answer.is_incomplete(), answer.certainty()), (0, true, "unknown"));
    let during = ask_during(&archive, "role-holders-during", &[], &time(1), &time(4)).await;
    assert!(during.is_incomplete(), "part of it was never read");
    assert!(!ask_at(&archive, "role-holders", &[], &time(4)).await.is_incomplete());
}

/// One capture in the middle couldn't read them; the ones before and after could, and an hour more hides no more than an hour.
#[tokio::test]
async fn a_single_capture_that_could_not_read_leaves_no_doubt() {
    let story = Story::begin(people())
        .covered(1, vec![], without(&["unifiedRoleAssignment"]))
        .hour(2, vec![])
        .covered(3, vec![], without(&["unifiedRoleAssignment"]))
        .covered(4, vec![], without(&["unifiedRoleAssignment"]))
        .hour(5, vec![]);
    let (archive, _directory) = story.open().await;
    assert!(!ask_at(&archive, "role-holders", &[], &time(1)).await.is_incomplete());
    assert!(ask_at(&archive, "role-holders", &[], &time(3)).await.is_incomplete(), "three hours are more than a gap");
}

/// The role is assigned to what may be a group, which can't be read: who is in it nobody knows, and nobody is gone.
#[tokio::test]
async fn a_holder_that_cannot_be_read_is_unknown_and_not_remove() {
    let mut lines = people();
    lines.push(assigned("a", "admins", GLOBAL, "/"));
    let mut story = Story::begin(lines);
    story.hours[0].2 = without(&["group"]);
    let (archive, _directory) = story.covered(1, vec![], without(&["group"])).open().await;
    let answer = ask_at(&archive, "role-holders", &[], &time(0)).await;
    assert_eq!(rows(&answer, &["subject", "status"]), ["directoryObject/admins | unknown"]);
    assert!(answer.is_incomplete());
    let odd = ask_at(&archive, "privileged-exceptions", &[], &time(0)).await;
    assert!(rows(&odd, &["why"]).iter().all(|why| !why.contains("deleted")), "{:?}", rows(&odd, &["why"]));
}

/// Ada left the group between 03:00 and 04:00, and the group was given the role in the same hour: the log tells whether she ever
/// held it.
#[tokio::test]
async fn what_changed_in_one_hour_held_together_if_the_log_says_so() {
    for (left, given, expected) in [(20, 40, None), (40, 20, Some("corroborated"))] {
        let story = Story::begin(vec![
            user("ada", json!({})),
            role(GLOBAL, "Global Administrator"),
            object("group/g", json!({"id": "g", "displayName": "G", "isAssignableToRole": true})),
            links("group/g", "members", &["user/ada"]),
        ])
        .hour(3, vec![])
        .hour(
            4,
            vec![
                ("group/g".to_owned(), unlink("members", &["user/ada"])),
                assigned("a", "g", GLOBAL, "/"),
                audit("left", &minutes(3, left), "Remove member from group", "root", &["ada", "g"]),
                audit("given", &minutes(3, given), "Add member to role", "root", &["g", GLOBAL]),
            ],
        )
        .hour(5, vec![]);
        let (archive, _directory) = story.open().await;
        let answer = ask_during(&archive, "role-holders-during", &[], &time(3), &time(5)).await;
        let told = rows(&answer, HOLDERS);
        let ada: Vec<&String> = told.iter().filter(|row| row.starts_with("user/ada")).collect();
        match expected {
            Some(certainty) => assert_eq!(ada, [&format!("user/ada | assigned | through G | {certainty}")]),
            None => assert!(ada.is_empty(), "she had left before the group held the role: {ada:?}"),
        }
    }
}

/// Activated until 18:00 and given back at 10:15: at 10:30 it is over, whatever was planned.
#[tokio::test]
async fn the_log_knows_better_than_the_plan() {
    let term = json!({"startDateTime": minutes(9, 30), "endDateTime": minutes(18, 0)});
    let story = Story::begin(people()).hour(9, vec![]).hour(10, vec![instance("i", "ada", term)]).hour(
        11,
        vec![
            ("unifiedRoleAssignmentScheduleInstance/i".to_owned(), remove()),
            audit(
                "off",
                &minutes(10, 15),
                "Remove member from role completed (PIM deactivate)",
                "ada",
                &["ada", GLOBAL],
            ),
        ],
    );
    let (archive, _directory) = story.open().await;
    assert_eq!(rows(&ask_at(&archive, "role-holders", &[], &minutes(10, 10)).await, HOLDERS).len(), 1);
    let late = ask_at(&archive, "role-holders", &[], &minutes(10, 30)).await;
    assert_eq!(rows(&late, HOLDERS), Vec::<String>::new());
}

/// Activated at 10:05 and over at 10:35: no capture ever showed it, the log does. A request that was denied gave nothing.
#[tokio::test]
async fn half_an_hour_between_two_captures_is_told_by_the_log() {
    let pim = |id: &str, when: &str, activity: &str| {
        let content = json!({"id": id, "activityDateTime": when, "activityDisplayName": activity, "result": "success",
            "initiatedBy": {"user": {"id": "ada", "displayName": "ADA"}},
            "targetResources": [{"id": GLOBAL, "type": "Role", "displayName": "Global Administrator"},
                {"id": "ada", "type": "User"}]});
        event(&format!("directoryAudit/{id}"), &content)
    };
    let story = Story::begin(people()).hour(10, vec![]).hour(
        11,
        vec![
            pim("no", &minutes(10, 2), "Add member to role request denied (PIM activation)"),
            pim("on", &minutes(10, 5), "Add member to role completed (PIM activation)"),
            pim("off", &minutes(10, 35), "Remove member from role (PIM activation expired)"),
        ],
    );
    let (archive, _directory) = story.open().await;
    let during = ask_during(&archive, "role-holders-during", &[], &time(9), &time(11)).await;
    let columns = ["subject", "form", "path", "since", "until", "given_by", "certainty"];
    assert_eq!(
        rows(&during, &columns),
        [
            "user/ada | activated | by the audit log alone | 2026-08-01T10:05:00Z | 2026-08-01T10:35:00Z | ADA (user/ada) | corroborated"
        ]
    );
    assert_eq!((total(&during, "subjects"), total(&during, "by_the_audit_log_alone")), ("1".into(), "1".into()));
    let at = |minute| ask_at(&archive, "role-holders", &[], Box::leak(minutes(10, minute).into_boxed_str()));
    assert_eq!(rows(&at(20).await, HOLDERS).len(), 1, "while it lasted");
    assert_eq!((rows(&at(3).await, HOLDERS).len(), rows(&at(40).await, HOLDERS).len()), (0, 0));
}

/// Without the licence for it nobody's sign-ins are told, which isn't that nobody signed in.
#[tokio::test]
async fn sign_ins_that_are_not_told_are_no_inactivity() {
    let mut cover = complete();
    cover.retain(|row| row.f.is_none());
    let mut activity = Coverage::new("user", None, Some("activity"), Status::Absent);
    activity.code = Some("no-licence".to_owned());
    cover.push(activity);
    let mut story = Story::begin(vec![user("ada", json!({"createdDateTime": "2020-01-01T00:00:00Z"}))]);
    story.hours[0].2 = cover;
    let (archive, _directory) = story.open().await;
    assert!(ask_at(&archive, "inactive-accounts", &[], &time(0)).await.is_incomplete());
}

/// The group may activate the role from 06:00 on, by a schedule that was made at midnight. Ben left it at 03:00: he never could. Ada
/// stays, and since 06:00 she can.
#[tokio::test]
async fn what_is_set_ahead_is_held_from_its_beginning() {
    let ahead = json!({"principalId": "g", "roleDefinitionId": GLOBAL, "directoryScopeId": "/",
        "scheduleInfo": {"startDateTime": time(6), "expiration": {"type": "noExpiration"}}});
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        role(GLOBAL, "Global Administrator"),
        object("group/g", json!({"id": "g", "displayName": "G"})),
        links("group/g", "members", &["user/ada", "user/ben"]),
        object("unifiedRoleEligibilitySchedule/e", ahead),
    ])
    .hour(3, vec![("group/g".to_owned(), unlink("members", &["user/ben"]))])
    .hour(5, vec![])
    .hour(6, vec![])
    .hour(7, vec![]);
    let (archive, _directory) = story.open().await;
    let during = ask_during(&archive, "role-holders-during", &[], &time(0), &time(7)).await;
    assert_eq!(
        rows(&during, &["subject", "form", "since", "certainty"]),
        [
            "group/g | eligible | 2026-08-01T06:00:00Z | observed",
            "user/ada | eligible | 2026-08-01T06:00:00Z | observed"
        ]
    );
}

/// Groups could be read for the first time at 02:00: they weren't made then, and nobody is blamed for it.
#[tokio::test]
async fn what_is_read_for_the_first_time_did_not_come_then() {
    let grants = ["group", "unifiedRoleAssignment"];
    let mut story = Story::begin(people());
    story.hours[0].2 = without(&grants);
    let story = story
        .covered(1, vec![], without(&grants))
        .hour(2, vec![group("old"), assigned("a", "ada", GLOBAL, "/")])
        .hour(3, vec![group("new")]);
    let (archive, _directory) = story.open().await;
    let history = |name: &'static str| {
        let archive = &archive;
        async move {
            let id = archive.view().id(&key(name)).unwrap().unwrap();
            let first = archive.history(&key(name), id).await.unwrap().remove(0);
            (first.not_before.is_some(), first.attributed)
        }
    };
    assert_eq!(history("group/old").await, (false, None));
    assert_eq!(history("group/new").await, (true, Some(Attributed::Silent)));
    let instant = |hour: u64| archive.at(&moment(&time(hour)), now()).unwrap();
    let effects = archive.effects(&instant(0), &instant(2), &Scope::default()).await.unwrap();
    assert_eq!((effects.access.len(), effects.first_seen), (0, 1), "{:?}", effects.access);
}

/// In one hour Ada made the account and Ben changed it; the creator is Ada. What is done after the capture isn't what it saw.
#[tokio::test]
async fn who_changed_it_did_not_make_it() {
    let story = Story::begin(people()).hour(1, vec![]).hour(
        2,
        vec![
            user("new", json!({})),
            audit("made", &minutes(1, 30), "Add user", "ada", &["new"]),
            audit("changed", &minutes(1, 45), "Update user", "ben", &["new"]),
            audit("later", &minutes(2, 12), "Change user license", "ben", &["new"]),
        ],
    );
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "new-accounts", &[], &time(1), &time(2)).await;
    assert_eq!(
        rows(&answer, &["subject", "created_by", "created_at"]),
        ["user/new | ADA (user/ada) | 2026-08-01T01:30:00Z"]
    );
}

/// Ada added a secret and then Ben changed a redirect address of the same application.
#[tokio::test]
async fn who_changed_the_application_did_not_add_the_secret() {
    let app = |secrets: Value| {
        object(
            "application/app",
            json!({"id": "app", "appId": "a", "displayName": "App", "passwordCredentials": secrets}),
        )
    };
    let story = Story::begin(vec![user("ada", json!({})), app(json!([]))]).hour(1, vec![]).hour(
        2,
        vec![
            app(json!([{"keyId": "k1", "displayName": "s", "endDateTime": "2027-01-01T00:00:00Z"}])),
            audit(
                "secret",
                &minutes(1, 10),
                "Update application – Certificates and secrets management ",
                "ada",
                &["app"],
            ),
            audit("address", &minutes(1, 40), "Update application", "ben", &["app"]),
        ],
    );
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "credentials", &[("application", "App")], &time(2)).await;
    assert_eq!(rows(&answer, &["id", "added_by"]), ["k1 | ADA (user/ada)"]);
}

/// Ada makes Eve eligible, and Eve activates, both in one hour: each row has its own giver.
#[tokio::test]
async fn eligible_and_activated_are_given_by_whom_they_are_given() {
    let story =
        Story::begin(vec![user("ada", json!({})), user("eve", json!({})), role(GLOBAL, "Global Administrator")])
            .hour(1, vec![])
            .hour(
                2,
                vec![
                    eligible("e", "eve", GLOBAL),
                    instance("i", "eve", json!({})),
                    audit(
                        "e",
                        &minutes(1, 5),
                        "Add eligible member to role in PIM completed (permanent)",
                        "ada",
                        &["eve", GLOBAL],
                    ),
                    audit(
                        "a",
                        &minutes(1, 30),
                        "Add member to role completed (PIM activation)",
                        "eve",
                        &["eve", GLOBAL],
                    ),
                ],
            );
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "role-holders", &[], &time(2)).await;
    assert_eq!(
        rows(&answer, &["subject", "form", "given_by"]),
        ["user/eve | activated | EVE (user/eve)", "user/eve | eligible | ADA (user/ada)"]
    );
}

/// Two users consent to one client in one hour.
#[tokio::test]
async fn each_consents_for_themselves() {
    let grant = |who: &str| {
        let content = json!({"clientId": "shop", "resourceId": "graph", "consentType": "Principal", "principalId": who, "scope": "Mail.Read"});
        object(&format!("oauth2PermissionGrant/{who}"), content)
    };
    let story = Story::begin(vec![user("ada", json!({})), user("ben", json!({})), graph(), service("shop", json!({}))])
        .hour(1, vec![])
        .hour(
            2,
            vec![
                grant("ada"),
                grant("ben"),
                audit("x", &minutes(1, 10), "Consent to application", "ada", &["shop"]),
                audit("y", &minutes(1, 40), "Consent to application", "ben", &["shop"]),
            ],
        );
    let (archive, _directory) = story.open().await;
    for (who, by) in [("user/ada", "ADA (user/ada)"), ("user/ben", "BEN (user/ben)")] {
        let answer = ask_at(&archive, "reach", &[("subject", who)], &time(2)).await;
        assert_eq!(rows(&answer, &["power", "given_by"]), [format!("delegated grant | {by}")]);
    }
}

/// A domain has no id in the log: it is named.
#[tokio::test]
async fn who_federated_a_domain_is_found_by_its_name() {
    let domain =
        |kind: &str| object("domain/contoso.example", json!({"id": "contoso.example", "authenticationType": kind}));
    let record = json!({"id": "d", "activityDateTime": minutes(1, 20), "activityDisplayName": "Set domain authentication",
        "result": "success", "initiatedBy": {"user": {"id": "ada", "displayName": "ADA"}},
        "targetResources": [{"id": null, "displayName": "contoso.example", "type": "Other"}]});
    let story = Story::begin(vec![user("ada", json!({})), domain("Managed")])
        .hour(1, vec![])
        .hour(2, vec![domain("Federated"), event("directoryAudit/d", &record)]);
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "federation", &[], &time(0), &time(2)).await;
    assert_eq!(rows(&answer, &["authentication", "changed_by"]), ["Managed | -", "Federated | ADA (user/ada)"]);
}

/// A leaver is deleted: every membership ended by that, and is told so.
#[tokio::test]
async fn who_deleted_an_account_ended_its_memberships() {
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("leo", json!({})),
        group("g"),
        links("group/g", "members", &["user/leo"]),
    ])
    .hour(1, vec![])
    .hour(
        2,
        vec![
            ("user/leo".to_owned(), remove()),
            ("group/g".to_owned(), unlink("members", &["user/leo"])),
            audit("d", &minutes(1, 20), "Delete user", "ada", &["leo"]),
        ],
    );
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "leaver", &[("user", "user/leo")], &time(0), &time(2)).await;
    let told = rows(&answer, &["what", "by"]);
    assert!(told.contains(&"membership ended | ADA (user/ada)".to_owned()), "{told:?}");
}

fn shop() -> Lines {
    vec![
        user("ada", json!({})),
        user("ben", json!({})),
        object("application/obj", json!({"id": "obj", "appId": "app-shop", "displayName": "Service shop"})),
        service("shop", json!({})),
        app_role("p", "ada", "User", "shop", "r"),
        links("application/obj", "owners", &["user/ben"]),
    ]
}

/// An application and its service principal are one to whoever asks about it, by whichever of its names.
#[tokio::test]
async fn an_application_is_one_by_all_its_names() {
    let (archive, _directory) = Story::begin(shop()).open().await;
    for name in ["Service shop", "app-shop", "application/obj", "servicePrincipal/shop"] {
        let answer = ask_at(&archive, "who-could-reach", &[("target", name)], &time(0)).await;
        let told = rows(&answer, &["subject", "power"]);
        assert_eq!(told, ["user/ada | app role", "user/ben | ownership"], "{name}");
    }
}

/// An application that holds Global Administrator through a group has owners too, and an agent identity has its blueprint's.
#[tokio::test]
async fn owners_of_what_holds_power_by_another_way() {
    let mut lines = shop();
    lines.extend([
        role(GLOBAL, "Global Administrator"),
        object("group/g", json!({"id": "g", "displayName": "G", "isAssignableToRole": true})),
        links("group/g", "members", &["servicePrincipal/shop"]),
        assigned("a", "g", GLOBAL, "/"),
        user("cem", json!({})),
        object("application/print", json!({"id": "print", "appId": "app-print", "displayName": "Print"})),
        links("application/print", "owners", &["user/cem"]),
        object(
            "servicePrincipal/agent",
            json!({"@odata.type": "#microsoft.graph.agentIdentity", "id": "agent", "displayName": "Agent", "agentIdentityBlueprintId": "app-print"}),
        ),
        assigned("b", "agent", GLOBAL, "/"),
    ]);
    let (archive, _directory) = Story::begin(lines).open().await;
    let answer = ask_at(&archive, "could-become-administrator", &[], &time(0)).await;
    let told = rows(&answer, &["subject", "why"]);
    for owner in ["user/ben", "user/cem"] {
        assert!(told.contains(&format!("{owner} | owns what is privileged")), "{owner}: {told:?}");
    }
    let writers = ask_at(&archive, "who-could-add-credentials", &[("application", "Agent")], &time(0)).await;
    assert!(rows(&writers, &["subject"]).contains(&"user/cem".to_owned()));
}

/// Roles confined to an application that only read give nobody its credentials; a built-in role that allows it does.
#[tokio::test]
async fn only_roles_that_allow_it_add_credentials() {
    let defined = |id: &str, built_in: bool, action: &str| {
        let permissions = json!([{"allowedResourceActions": [action]}]);
        object(
            &format!("unifiedRoleDefinition/{id}"),
            json!({"id": id, "displayName": id, "isBuiltIn": built_in, "rolePermissions": permissions}),
        )
    };
    let mut lines = shop();
    lines.extend([
        defined("reader", false, "microsoft.directory/applications/standard/read"),
        defined("partner", true, "microsoft.directory/applications/credentials/update"),
        defined("owner", false, "microsoft.directory/applications/owners/update"),
        assigned("1", "ada", "reader", "/obj"),
        assigned("2", "ada", "partner", "/"),
        user("cem", json!({})),
        assigned("3", "cem", "owner", "/obj"),
    ]);
    let (archive, _directory) = Story::begin(lines).open().await;
    let answer = ask_at(&archive, "who-could-add-credentials", &[("application", "application/obj")], &time(0)).await;
    let mut told = rows(&answer, &["subject", "power", "target_name"]);
    told.sort();
    let expected = [
        "user/ada | directory role | partner",
        "user/ben | ownership | Service shop",
        "user/cem | directory role | owner",
    ];
    assert_eq!(told, expected);
}

/// Owning a group isn't being in it, and two terms that never meet aren't held together.
#[tokio::test]
async fn together_means_at_the_same_time_and_by_oneself() {
    let other = "other-role";
    let active = |id: &str, role: &str, from: &str, until: &str| {
        let content = json!({"principalId": "ada", "roleDefinitionId": role, "directoryScopeId": "/", "assignmentType": "Activated",
            "startDateTime": from, "endDateTime": until});
        object(&format!("unifiedRoleAssignmentScheduleInstance/{id}"), content)
    };
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        role(GLOBAL, "Global Administrator"),
        role(other, "Other"),
        group("g"),
        links("group/g", "owners", &["user/ben"]),
        assigned("b", "ben", GLOBAL, "/"),
        active("1", GLOBAL, &minutes(0, 0), &minutes(0, 30)),
        active("2", other, &minutes(0, 40), &minutes(0, 55)),
    ])
    .hour(1, vec![]);
    let (archive, _directory) = story.open().await;
    let ask = |one: &'static str, other: &'static str| {
        let archive = &archive;
        async move {
            rows(
                &ask_during(archive, "held-together", &[("one", one), ("other", other)], &time(0), &time(1)).await,
                &["subject"],
            )
        }
    };
    assert_eq!(ask("Global Administrator", "Other").await, Vec::<String>::new());
    assert_eq!(ask("Global Administrator", "group/g").await, Vec::<String>::new());
}

/// A difference that is asked about one person tells what they gained by whatever object says so.
#[tokio::test]
async fn effects_on_one_person_come_from_anywhere() {
    let story =
        Story::begin(people()).hour(1, vec![assigned("a", "ada", GLOBAL, "/"), assigned("b", "ben", GLOBAL, "/")]);
    let (archive, _directory) = story.open().await;
    let instant = |hour: u64| archive.at(&moment(&time(hour)), now()).unwrap();
    let told = |scope: Scope| {
        let (archive, from, to) = (&archive, instant(0), instant(1));
        async move {
            let effects = archive.effects(&from, &to, &scope).await.unwrap();
            effects.access.iter().map(|effect| effect.access.subject.to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(told(Scope { object: Some(key("user/ada")), ..Scope::default() }).await, ["user/ada"]);
    assert_eq!(told(Scope { collection: Some("user".to_owned()), ..Scope::default() }).await, ["user/ada", "user/ben"]);
    assert_eq!(told(Scope { object: Some(key("unifiedRoleAssignment/b")), ..Scope::default() }).await, ["user/ben"]);
    assert_eq!(told(Scope { collection: Some("device".to_owned()), ..Scope::default() }).await, Vec::<String>::new());
}

/// What was denied is no grant, and what only repeats a membership isn't told twice.
#[tokio::test]
async fn schedules_that_are_not_in_force_or_repeat_a_group() {
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        role(GLOBAL, "Global Administrator"),
        object("group/g", json!({"id": "g", "displayName": "G", "isAssignableToRole": true})),
        links("group/g", "members", &["user/ada"]),
        instance("1", "g", json!({"assignmentType": "Assigned", "memberType": "Direct"})),
        instance("2", "ada", json!({"assignmentType": "Assigned", "memberType": "Group"})),
        instance("3", "ben", json!({"status": "Denied"})),
    ]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "role-holders", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["subject", "form", "path"]),
        ["group/g | assigned | direct", "user/ada | assigned | through G"]
    );
}

/// Parameters that are given as nothing, or as too much, and numbers that JSON can't hold exactly.
#[tokio::test]
async fn odd_parameters_and_large_numbers_break_nothing() {
    let mut lines = people();
    lines.push(assigned("a", "ada", GLOBAL, "/"));
    // What isn't exact as a double is kept as it came.
    let odd = br#"{"allowInvitesFrom":9007199254740993,"id":"authorizationPolicy"}"#;
    let content = ContentChange::Put(Content::Raw(odd.to_vec()));
    let change = Change { content: Some((content, None)), ..Change::default() };
    lines.push(("authorizationPolicy/-".to_owned(), change));
    let (archive, _directory) = Story::begin(lines).open().await;
    assert_eq!(ask_at(&archive, "role-holders", &[("role", "")], &time(0)).await.table.rows.len(), 1, "the default");
    let refused = |name: &'static str, parameters: &'static [(&'static str, &'static str)]| {
        let archive = &archive;
        async move { try_ask(archive, name, parameters, Default::default()).await.unwrap_err() }
    };
    assert!(matches!(refused("reach", &[("subject", " ")]).await, QueryError::Ask(_)));
    let large = refused("sample", &[("seed", "x"), ("n", "18446744073709551615")]).await;
    assert!(large.to_string().contains("at most 9007199254740991"), "{large}");
    let policy = ask_at(&archive, "user-consent-policy", &[], &time(0)).await;
    assert_eq!(rows(&policy, &["setting", "value"])[0], "allowInvitesFrom | 9007199254740993");
    ask_at(&archive, "sample", &[("seed", "x"), ("n", "5")], &time(0)).await;
}

/// Ben gets Ada's old sign-in name after the capture up to which the archive is read: then the answer doesn't know of it.
#[tokio::test]
async fn the_same_person_is_not_known_by_what_comes_later() {
    let named = |id: &str, name: &str| user(id, json!({"userPrincipalName": name}));
    let story = Story::begin(vec![
        named("ada", "ada@home"),
        named("ben", "ben@home"),
        user("eve", json!({"mail": "ada@home"})),
    ])
    .hour(1, vec![named("ben", "ada@home")]);
    let (mut archive, _directory) = story.open().await;
    let ask = ask_at(&archive, "same-person", &[("user", "user/ada")], &time(0)).await;
    assert_eq!(rows(&ask, &["subject"]), ["user/ben"], "Eve only has the address");
    archive.know_at(1).unwrap();
    let then = ask_at(&archive, "same-person", &[("user", "user/ada")], &time(0)).await;
    assert_eq!(rows(&then, &["subject"]), Vec::<String>::new());
}
