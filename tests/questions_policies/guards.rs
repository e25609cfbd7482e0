//! Questions 25 and 28: what forced administrators to multifactor authentication, and whether old protocols and weak methods were
//! blocked.

use super::*;

/// The policy for everybody is on until it is switched off between 01:00 and 02:00, at 01:15 by the log, and comes on again between
/// 03:00 and 04:00, of which the log says nothing. So there is a gap from 01:15 to 03:00, and until 04:00 nobody knows. A policy for
/// one application doesn't count, nor does one that covers Privileged Role Administrator alone.
#[tokio::test]
async fn administrators_without_mfa_by_captures_and_log() {
    let guard = |state: &str| policy("p", state, json!({"includeUsers": ["All"]}), json!({}), mfa());
    let narrow = json!({"applications": {"includeApplications": ["app"]}});
    let some = json!({"includeRoles": ["e8611ab8-c189-46e8-94e1-60213ab1f814"]});
    let story = Story::begin(vec![
        guard("enabled"),
        policy("narrow", "enabled", json!({"includeUsers": ["All"]}), narrow, mfa()),
        policy("some", "enabled", some, json!({}), mfa()),
        defaults(false),
    ])
    .hour(1, vec![])
    .hour(2, vec![guard("disabled"), audit("r", "2026-08-01T01:15:00Z", UPDATE, "mal", &["p"])])
    .hour(3, vec![])
    .hour(4, vec![guard("enabled")])
    .hour(5, vec![]);
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(5)).await;
    assert_eq!(
        rows(&answer, &["kind", "name", "covers", "counts", "why_not", "since", "until"]),
        [
            "gap | - | - | - | - | 2026-08-01T01:15:00Z | 2026-08-01T03:00:00Z",
            r#"policy | Policy narrow | everybody | false | ["applications"] | 2026-08-01T00:00:00Z | -"#,
            "policy | Policy p | everybody | true | [] | 2026-08-01T00:00:00Z | 2026-08-01T02:00:00Z",
            r#"policy | Policy some | 1 privileged roles | false | ["not Global Administrator"] | 2026-08-01T00:00:00Z | -"#,
            "policy | Policy p | everybody | true | [] | 2026-08-01T04:00:00Z | -",
            "unknown | - | - | - | - | 2026-08-01T03:00:00Z | 2026-08-01T04:00:00Z",
        ]
    );
    assert_eq!(["gaps", "gap_seconds", "unknown"].map(|name| total(&answer, name)), ["1", "6300", "1"]);
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(1)).await;
    assert_eq!(["gaps", "unknown"].map(|name| total(&answer, name)), ["0", "0"]);
    // A policy with a condition that nobody knows may have forced them.
    let strange = policy("s", "enabled", json!({"includeUsers": ["All"]}), json!({"moonPhase": "full"}), mfa());
    let (archive, _directory) = Story::begin(vec![strange, defaults(false)]).hour(1, vec![]).open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(1)).await;
    assert_eq!(rows(&answer, &["kind", "why_not"]), [r#"policy | ["moonPhase"]"#, "unknown | -"]);
    // With security defaults on there is no gap, and where policies weren't read nobody can say that there is one.
    let (archive, _directory) = Story::begin(vec![defaults(true)]).hour(1, vec![]).open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(1)).await;
    assert_eq!(rows(&answer, &["kind"]), ["security defaults"]);
    let unread = but("conditionalAccessPolicy", None, Status::Absent, "no-permission");
    let (archive, _directory) = Story::begin(vec![defaults(false)]).covered(1, vec![], unread).open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(1)).await;
    assert_eq!(rows(&answer, &["kind"]), ["unknown"]);
    assert!(answer.is_incomplete());
}

/// A policy blocks both old kinds for everybody but one group, one more blocks the one kind from some places, a third asks them for
/// several factors; text messages are on, calls are off.
#[tokio::test]
async fn legacy_and_weak_methods() {
    let method = |id: &str, state: &str| json!({"id": id, "state": state, "includeTargets": [{"id": "all_users", "targetType": "group"}]});
    let methods = json!({"id": "m", "policyMigrationState": "migrationComplete", "authenticationMethodConfigurations":
        [method("Sms", "enabled"), method("Voice", "disabled"), method("Fido2", "enabled")]});
    let old = json!({"clientAppTypes": ["exchangeActiveSync", "other"]});
    let placed = json!({"clientAppTypes": ["other"], "locations": {"includeLocations": ["hq"]}});
    let story = Story::begin(vec![
        policy("old", "enabled", json!({"includeUsers": ["All"], "excludeGroups": ["g"]}), old.clone(), block()),
        policy("placed", "enabled", json!({"includeUsers": ["All"]}), placed, block()),
        policy("asks", "enabled", json!({"includeUsers": ["All"], "excludeUsers": ["x"]}), old, mfa()),
        object("authenticationMethodsPolicy/m", methods),
        defaults(false),
    ]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "legacy-and-weak-methods", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["kind", "name", "setting", "state", "for", "excludes", "limits"]),
        [
            r#"method | Fido2 | method | enabled | ["all_users"] | [] | -"#,
            r#"method | Sms | weak method | enabled | ["all_users"] | [] | -"#,
            r#"method | Voice | weak method | disabled | ["all_users"] | [] | -"#,
            "migration | Authentication methods policy | older policies are ignored | migrationComplete | - | - | -",
            r#"policy | Policy asks | can't be satisfied by exchangeActiveSync, other: mfa | enabled | everybody | ["excludeUsers x"] | []"#,
            r#"policy | Policy old | blocks exchangeActiveSync, other | enabled | everybody | ["excludeGroups g"] | []"#,
            r#"policy | Policy placed | blocks other | enabled | everybody | [] | ["locations"]"#,
            "security defaults | Security defaults | blocks exchangeActiveSync, other | disabled | everybody | - | -",
        ]
    );
    assert_eq!(total(&answer, "weak_methods_enabled"), r#"["Sms"]"#);
    // Three policies leave out somebody each, and not the same: together they may leave out nobody.
    assert_eq!(total(&answer, "other_blocked_for_everybody"), "null");
    assert_eq!(total(&answer, "limited_policies"), "3");
    assert!(!answer.is_incomplete());
}

/// The policy is for everybody and excludes Global Administrator: no administrator was forced by it.
#[tokio::test]
async fn a_policy_that_excludes_the_role_forces_no_administrator() {
    let users = json!({"includeUsers": ["All"], "excludeRoles": [GLOBAL]});
    let first = vec![policy("p", "enabled", users, json!({}), mfa()), defaults(false)];
    let (archive, _directory) = Story::begin(first).hour(1, vec![]).open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(1)).await;
    assert_eq!(
        rows(&answer, &["kind", "counts", "why_not", "certainty"]),
        ["gap | - | - | observed", r#"policy | false | ["excludes Global Administrator"] | observed"#]
    );
}

/// Ada, Ben and Cem hold Global Administrator, Dan may activate it. One policy is for the group that Ada is in and Ben until 02:00; the
/// other is for everybody and excludes Ben, and Cem by a group, until it is switched off at 03:00. So Cem is exempt all the time and
/// Ben from 02:00 on by nothing he is in; after 03:00 Ada alone is forced, which is no gap.
#[tokio::test]
async fn administrators_are_held_against_policies_with_their_groups_of_the_time() {
    let wide = |state: &str| {
        let users = json!({"includeUsers": ["All"], "excludeUsers": ["ben"], "excludeGroups": ["glass"]});
        policy("wide", state, users, json!({}), mfa())
    };
    let mut first: Vec<(String, tenure::archive::line::Change)> =
        ["ada", "ben", "cem", "dan"].iter().map(|name| user(name, json!({}))).collect();
    first.extend([
        role(GLOBAL, "Global Administrator"),
        assigned("a", "ada", GLOBAL, "/"),
        assigned("b", "ben", GLOBAL, "/"),
        assigned("c", "cem", GLOBAL, "/"),
        eligible("d", "dan", GLOBAL),
        group("admins"),
        group("glass"),
        links("group/admins", "members", &["user/ada", "user/ben"]),
        links("group/glass", "members", &["user/cem"]),
        policy("admins", "enabled", json!({"includeGroups": ["admins"]}), json!({}), mfa()),
        wide("enabled"),
        defaults(false),
    ]);
    let story = Story::begin(first)
        .hour(1, vec![])
        .hour(2, vec![("group/admins".to_owned(), unlink("members", &["user/ben"]))])
        .hour(3, vec![wide("disabled")])
        .hour(4, vec![]);
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(4)).await;
    assert_eq!(
        rows(&answer, &["kind", "name", "covers", "counts", "administrators", "since", "until", "certainty"]),
        [
            "exempt | CEM | - | - | - | 2026-08-01T00:00:00Z | 2026-08-01T04:00:00Z | observed",
            "exempt | BEN | - | - | - | 2026-08-01T01:00:00Z | 2026-08-01T02:00:00Z | unknown",
            "exempt | BEN | - | - | - | 2026-08-01T02:00:00Z | 2026-08-01T04:00:00Z | observed",
            "policy | Policy admins | some groups or users | true | 1 of 3 | 2026-08-01T00:00:00Z | - | observed",
            "policy | Policy wide | everybody | true | 1 of 3 | 2026-08-01T00:00:00Z | 2026-08-01T03:00:00Z | observed",
        ]
    );
    assert_eq!(["gaps", "unknown", "administrators", "exempt"].map(|name| total(&answer, name)), ["0", "0", "3", "2"]);
}

/// A policy for a group in which nobody is known to be an administrator, or in a state that nobody knows, may have forced somebody.
#[tokio::test]
async fn what_may_force_administrators_is_no_gap() {
    for own in [
        policy("p", "enabled", json!({"includeGroups": ["admins"]}), json!({}), mfa()),
        policy("p", "simulated", json!({"includeUsers": ["All"]}), json!({}), mfa()),
        policy("p", "enabled", json!({"includeUsers": ["All"], "excludeUsers": ["x"]}), json!({}), mfa()),
    ] {
        let (archive, _directory) = Story::begin(vec![own, defaults(false)]).hour(1, vec![]).open().await;
        let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(1)).await;
        assert_eq!(rows(&answer, &["kind", "counts"]), ["policy | false", "unknown | -"]);
    }
}

/// The last capture is that of 01:00 and the period lasts until 03:00: of the two hours after it nobody can say.
#[tokio::test]
async fn after_the_last_capture_there_is_no_gap_that_anybody_saw() {
    let (archive, _directory) = Story::begin(vec![defaults(false)]).hour(1, vec![]).open().await;
    let answer = ask_during(&archive, "administrators-without-mfa", &[], &time(0), &time(3)).await;
    assert_eq!(
        rows(&answer, &["kind", "since", "until"]),
        ["gap | 2026-08-01T00:00:00Z | 2026-08-01T01:00:00Z", "unknown | 2026-08-01T01:00:00Z | 2026-08-01T03:00:00Z"]
    );
    assert_eq!(total(&answer, "gap_seconds"), "3600");
}

/// One policy asks all clients of everybody for several factors, which old ones can't do: they are blocked. With an exclusion they aren't for
/// everybody; where the policy came between two captures nobody can say.
#[tokio::test]
async fn old_clients_are_blocked_by_what_they_cannot_do() {
    let methods =
        json!({"id": "m", "policyMigrationState": "migrationInProgress", "authenticationMethodConfigurations": []});
    let guests = json!({"guestOrExternalUserTypes": "b2bCollaborationGuest"});
    let of = |users: Value, grant: Value| policy("p", "enabled", users, json!({}), grant);
    let either = json!({"operator": "OR", "builtInControls": ["mfa", "compliantDevice"]});
    let lenient = json!({"operator": "OR", "builtInControls": ["mfa", "approvedApplication"]});
    let all = || json!({"includeUsers": ["All"]});
    for (own, expected) in [
        (of(all(), mfa()), "true"),
        (of(all(), either), "true"),
        (of(all(), lenient), "false"),
        (of(json!({"includeUsers": ["All"], "excludeUsers": ["ada"]}), mfa()), "false"),
        (of(json!({"includeUsers": ["All"], "excludeGuestsOrExternalUsers": guests}), block()), "false"),
        (of(json!({"includeUsers": ["All"], "excludeDwarfs": ["x"]}), block()), "null"),
    ] {
        let told = own.1.clone();
        let story = Story::begin(vec![own, defaults(false), object("authenticationMethodsPolicy/m", methods.clone())]);
        let (archive, _directory) = story.open().await;
        let answer = ask_at(&archive, "legacy-and-weak-methods", &[], &time(0)).await;
        let totals =
            ["exchangeActiveSync", "other"].map(|kind| total(&answer, &format!("{kind}_blocked_for_everybody")));
        assert_eq!(totals, [expected, expected], "{told:?}");
        // What older policies allow is told by nothing.
        assert_eq!(total(&answer, "migration"), r#"["migrationInProgress"]"#);
        assert!(answer.is_incomplete() && answer.table.notes[0].contains("migration"));
    }
    let story = Story::begin(vec![defaults(false)]).hour(1, vec![of(all(), block()), defaults(true)]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "legacy-and-weak-methods", &[], "2026-08-01T00:30:00Z").await;
    assert_eq!(total(&answer, "other_blocked_for_everybody"), "null");
    let answer = ask_at(&archive, "legacy-and-weak-methods", &[], &time(1)).await;
    assert_eq!(total(&answer, "other_blocked_for_everybody"), "true");
}
