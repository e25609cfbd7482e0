//! The questions about Conditional Access and what guards sign-ins, asked of a tenant made by hand, with the answer worked out
//! beside it.

mod support;

#[path = "questions_policies/doubt.rs"]
mod doubt;
#[path = "questions_policies/guards.rs"]
mod guards;
#[path = "support/story.rs"]
mod story;

use serde_json::{Value, json};
use story::*;
use support::*;
use tenure::archive::entry::Status;
use tenure::archive::line::Change;

/// A policy: state, conditions on users, other conditions, grant.
fn policy(id: &str, state: &str, users: Value, conditions: Value, grant: Value) -> (String, Change) {
    let mut own = json!({"clientAppTypes": ["all"], "applications": {"includeApplications": ["All"]}, "users": users});
    own.as_object_mut().unwrap().extend(conditions.as_object().unwrap().clone());
    let content = json!({"id": id, "displayName": format!("Policy {id}"), "state": state, "conditions": own,
        "grantControls": grant, "sessionControls": null});
    object(&format!("conditionalAccessPolicy/{id}"), content)
}

fn mfa() -> Value {
    json!({"operator": "OR", "builtInControls": ["mfa"]})
}

fn block() -> Value {
    json!({"operator": "OR", "builtInControls": ["block"]})
}

const UPDATE: &str = "Update conditional access policy";

/// The policy only reports until 03:00, when Ada enables it. Another is off all the time, and isn't told.
#[tokio::test]
async fn report_only_policies_with_who_enabled_them() {
    let of = |state: &str| policy("p", state, json!({"includeUsers": ["All"]}), json!({}), mfa());
    let story = Story::begin(vec![
        of("enabledForReportingButNotEnforced"),
        policy("off", "disabled", json!({"includeUsers": ["All"]}), json!({}), mfa()),
    ])
    .hour(1, vec![])
    .hour(2, vec![])
    .hour(3, vec![of("enabled"), audit("r", "2026-08-01T02:30:00Z", UPDATE, "ada", &["p"])]);
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "report-only-policies", &[], &time(0), &time(3)).await;
    assert_eq!(
        rows(&answer, &["name", "state", "since", "until", "changed_by", "certainty"]),
        [
            "Policy p | report-only | 2026-08-01T00:00:00Z | 2026-08-01T03:00:00Z | - | observed",
            "Policy p | enabled | 2026-08-01T03:00:00Z | - | ADA (user/ada) | observed",
        ]
    );
    assert!(!answer.is_incomplete());
    // By 01:00 it only reported; nothing else had happened.
    let answer = ask_during(&archive, "report-only-policies", &[], &time(0), &time(1)).await;
    assert_eq!(rows(&answer, &["state", "until"]), ["report-only | 2026-08-01T03:00:00Z"]);
    let unread =
        Story::begin(vec![]).covered(1, vec![], but("conditionalAccessPolicy", None, Status::Carried, "throttled"));
    let (archive, _directory) = unread.open().await;
    let answer = ask_during(&archive, "report-only-policies", &[], &time(0), &time(1)).await;
    assert!(answer.table.rows.is_empty() && answer.is_incomplete(), "nobody looked, so it isn't none");
}

/// The office is trusted and gets another range at 02:00 by Bea, who takes the first away; the branch isn't trusted.
#[tokio::test]
async fn trusted_locations_with_what_was_added_and_by_whom() {
    let place = |id: &str, trusted: bool, ranges: &[&str]| {
        let ranges: Vec<Value> = ranges.iter().map(|range| json!({"cidrAddress": range})).collect();
        let content = json!({"id": id, "displayName": format!("Place {id}"), "isTrusted": trusted, "ipRanges": ranges});
        object(&format!("namedLocation/{id}"), content)
    };
    let story = Story::begin(vec![
        place("hq", true, &["192.0.2.0/24", "198.51.100.0/24"]),
        place("branch", false, &["203.0.113.0/24"]),
    ])
    .hour(
        2,
        vec![
            place("hq", true, &["198.51.100.0/24", "203.0.113.0/24"]),
            audit("r", "2026-08-01T01:30:00Z", "Update named location", "bea", &["hq"]),
        ],
    );
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "trusted-locations", &[], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["name", "ranges", "added", "removed", "until", "changed_by"]),
        [
            r#"Place hq | ["192.0.2.0/24","198.51.100.0/24"] | - | - | 2026-08-01T02:00:00Z | -"#,
            r#"Place hq | ["198.51.100.0/24","203.0.113.0/24"] | ["203.0.113.0/24"] | ["192.0.2.0/24"] | - | BEA (user/bea)"#,
        ]
    );
}

fn defaults(on: bool) -> (String, Change) {
    object("identitySecurityDefaultsEnforcementPolicy/d", json!({"id": "d", "isEnabled": on}))
}

/// On until Cem switches them off before 02:00.
#[tokio::test]
async fn security_defaults_on_and_off() {
    let story = Story::begin(vec![defaults(true)])
        .hour(1, vec![])
        .hour(2, vec![defaults(false), audit("r", "2026-08-01T01:30:00Z", "Update security defaults", "cem", &["d"])]);
    let (archive, _directory) = story.open().await;
    let answer = ask_during(&archive, "security-defaults", &[], &time(0), &time(2)).await;
    assert_eq!(
        rows(&answer, &["security_defaults", "since", "until", "changed_by"]),
        ["on | 2026-08-01T00:00:00Z | 2026-08-01T02:00:00Z | -", "off | 2026-08-01T02:00:00Z | - | CEM (user/cem)",]
    );
}

/// One domain's passwords last 90 days, another's for ever, the third says nothing.
#[tokio::test]
async fn password_settings_of_domains() {
    let domain = |id: &str, days: Value| {
        let content = json!({"id": id, "authenticationType": "Managed", "passwordValidityPeriodInDays": days,
            "passwordNotificationWindowInDays": 14});
        object(&format!("domain/{id}"), content)
    };
    let story = Story::begin(vec![
        domain("a.example", json!(90)),
        domain("b.example", json!(2_147_483_647_u64)),
        domain("c.example", json!(null)),
    ]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "password-settings", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["domain", "expires_after", "notice_days"]),
        ["a.example | 90 days | 14", "b.example | never | 14", "c.example | the service's default | 14"]
    );
    assert!(answer.table.notes.iter().any(|note| note.contains("aren't captured")));
}

/// The policy includes everybody. Ada is excluded by id, since 01:00 by Dan; Ben through the inner group, since 02:00 by Eve; Gus as a
/// guest; Hal through the role, which he holds; Ida's is eligible and Jon's scoped, so that they are covered, as is Kim. Lea is
/// excluded by a group and not in the policy at 00:00.
#[tokio::test]
async fn policy_exemptions_by_id_nested_group_role_and_guest() {
    let lists = |users: &[&str]| {
        json!({"includeUsers": ["All"], "excludeUsers": users, "excludeGroups": ["outer"], "excludeRoles": [GLOBAL],
            "excludeGuestsOrExternalUsers": {"guestOrExternalUserTypes": "b2bCollaborationGuest",
                "externalTenants": {"membershipKind": "all"}}})
    };
    let names = ["ada", "ben", "hal", "ida", "jon", "kim"];
    let mut first: Vec<(String, Change)> = names.iter().map(|name| user(name, json!({}))).collect();
    first.extend([
        user("gus", json!({"userType": "Guest", "externalUserState": "Accepted"})),
        group("outer"),
        group("inner"),
        links("group/outer", "members", &["group/inner"]),
        role(GLOBAL, "Global Administrator"),
        assigned("h", "hal", GLOBAL, "/"),
        eligible("i", "ida", GLOBAL),
        assigned("j", "jon", GLOBAL, "/administrativeUnits/au"),
        policy("p", "enabled", lists(&[]), json!({}), mfa()),
    ]);
    let story = Story::begin(first)
        .hour(
            1,
            vec![
                policy("p", "enabled", lists(&["ada"]), json!({}), mfa()),
                audit("r1", "2026-08-01T00:30:00Z", UPDATE, "dan", &["p"]),
            ],
        )
        .hour(
            2,
            vec![
                links("group/inner", "members", &["user/ben"]),
                audit("r2", "2026-08-01T01:30:00Z", "Add member to group", "eve", &["ben", "inner"]),
            ],
        )
        .hour(3, vec![]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "policy-exemptions", &[("policy", "Policy p")], &time(2)).await;
    assert_eq!(
        rows(&answer, &["name", "kind", "verdict", "list", "value_name", "path", "since", "exempted_by", "certainty"]),
        [
            "BEN | user | excluded | excludeGroups | Group outer | through Group inner, Group outer | 2026-08-01T02:00:00Z | EVE (user/eve) | observed",
            "GUS | guest | excluded | excludeGuestsOrExternalUsers | b2bCollaborationGuest | as a guest | 2026-08-01T00:00:00Z | - | observed",
            "HAL | user | excluded | excludeRoles | Global Administrator | through Global Administrator | 2026-08-01T00:00:00Z | - | observed",
            "ADA | user | excluded | excludeUsers | ADA | direct | 2026-08-01T01:00:00Z | DAN (user/dan) | observed",
        ]
    );
    let totals = ["users", "covered", "exempt", "not_targeted", "depends"].map(|name| total(&answer, name));
    assert_eq!(totals, ["7", "3", "4", "0", "0"]);
    assert!(!answer.is_incomplete());
    // At 01:30 nobody can say by the captures alone whether Ben was in already: the log says it was then.
    let answer = ask_at(&archive, "policy-exemptions", &[("policy", "p")], "2026-08-01T01:20:00Z").await;
    assert!(!rows(&answer, &["name"]).contains(&"BEN".to_owned()), "it happened at 01:30");
    let answer = ask_at(&archive, "policy-exemptions", &[("policy", "p")], "2026-08-01T01:40:00Z").await;
    assert!(rows(&answer, &["name", "certainty"]).contains(&"BEN | corroborated".to_owned()));
    assert_eq!(total(&answer, "exempt"), "4");
}

/// Ada may become Global Administrator and is excluded by id from both policies for administrators or everybody; Ben is one and is
/// excluded from the first by a group; Cem is in that group and has no role. The third only reports, the fourth is about one group.
#[tokio::test]
async fn break_glass_accounts_by_their_exclusions() {
    let everybody = json!({"includeUsers": ["All"], "excludeUsers": ["ada"], "excludeGroups": ["g"]});
    let admins = json!({"includeRoles": [GLOBAL], "includeUsers": ["ada"], "excludeUsers": ["ada"]});
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        user("cem", json!({})),
        group("g"),
        links("group/g", "members", &["user/ben", "user/cem"]),
        role(GLOBAL, "Global Administrator"),
        eligible("a", "ada", GLOBAL),
        assigned("b", "ben", GLOBAL, "/"),
        policy("one", "enabled", everybody.clone(), json!({}), mfa()),
        policy("two", "enabled", admins, json!({}), block()),
        policy("three", "enabledForReportingButNotEnforced", everybody.clone(), json!({}), mfa()),
        policy("four", "enabled", json!({"includeGroups": ["g"], "excludeUsers": ["ben"]}), json!({}), mfa()),
    ]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "break-glass", &[], &time(0)).await;
    assert_eq!(
        rows(&answer, &["name", "roles", "policy_name", "list", "path", "excluded_from"]),
        [
            r#"ADA | ["Global Administrator (eligible)"] | Policy one | excludeUsers | direct | 2 of 2"#,
            r#"ADA | ["Global Administrator (eligible)"] | Policy two | excludeUsers | direct | 2 of 2"#,
            r#"BEN | ["Global Administrator (assigned)"] | Policy one | excludeGroups | through Group g | 1 of 2"#,
        ]
    );
    assert_eq!(total(&answer, "excluded_without_role"), "1");
    assert_eq!(total(&answer, "excluded_from_all"), "1");
}

/// Ada signs in. The first policy covers everybody and is for all places but trusted ones; the second blocks legacy clients; the third
/// excludes her group; the fourth turns on the risk of the sign-in; the fifth only reports; the sixth has a condition nobody knows.
#[tokio::test]
async fn sign_in_policies_apply_do_not_or_depend() {
    let all = || json!({"includeUsers": ["All"]});
    let story = Story::begin(vec![
        user("ada", json!({})),
        group("g"),
        links("group/g", "members", &["user/ada"]),
        service("pay", json!({"displayName": "Payments"})),
        object(
            "namedLocation/hq",
            json!({"id": "hq", "displayName": "HQ", "isTrusted": true, "ipRanges": [{"cidrAddress": "192.0.2.0/24"}]}),
        ),
        object("device/saw", json!({"id": "saw", "displayName": "SAW", "trustType": "ServerAd", "isCompliant": true})),
        policy(
            "a",
            "enabled",
            all(),
            json!({"locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}}),
            mfa(),
        ),
        policy("b", "enabled", all(), json!({"clientAppTypes": ["exchangeActiveSync", "other"]}), block()),
        policy("c", "enabled", json!({"includeUsers": ["All"], "excludeGroups": ["g"]}), json!({}), block()),
        policy("d", "enabled", all(), json!({"signInRiskLevels": ["high"]}), block()),
        policy("e", "enabledForReportingButNotEnforced", all(), json!({}), block()),
        policy("f", "enabled", all(), json!({"moonPhase": "full"}), block()),
        policy(
            "g",
            "enabled",
            all(),
            json!({"devices": {"deviceFilter": {"mode": "exclude", "rule": "device.isCompliant -eq True"}}}),
            block(),
        ),
        policy("h", "disabled", all(), json!({"applications": {"includeApplications": ["app-pay"]}}), block()),
    ])
    .hour(1, vec![("group/g".to_owned(), unlink("members", &["user/ada"]))]);
    let (archive, _directory) = story.open().await;
    let given = [
        ("user", "ADA"),
        ("application", "Payments"),
        ("client", "browser"),
        ("address", "203.0.113.5"),
        ("device", "SAW"),
    ];
    let columns = ["name", "state", "outcome", "who", "excluded_by", "unmet", "open"];
    let answer = ask_at(&archive, "sign-in-policies", &given, &time(0)).await;
    assert_eq!(
        rows(&answer, &columns),
        [
            r#"Policy h | disabled | applies | covered | [] | [] | []"#,
            r#"Policy a | enabled | applies | covered | [] | [] | []"#,
            r#"Policy e | report-only | applies | covered | [] | [] | []"#,
            r#"Policy d | enabled | depends | covered | [] | [] | ["signInRiskLevels"]"#,
            r#"Policy f | enabled | depends | covered | [] | [] | ["moonPhase"]"#,
            r#"Policy b | enabled | does not apply | covered | [] | ["clientAppTypes"] | []"#,
            r#"Policy c | enabled | does not apply | excluded | ["excludeGroups Group g"] | [] | []"#,
            r#"Policy g | enabled | does not apply | covered | [] | ["devices"] | []"#,
        ]
    );
    assert_eq!((total(&answer, "blocked"), total(&answer, "asked_for")), ("false".into(), r#"["mfa"]"#.into()));
    // From the trusted place the first doesn't apply; at 01:00 she isn't in the group any more and is blocked.
    let inside = [("user", "ada"), ("address", "192.0.2.5"), ("sign-in-risk", "low"), ("unregistered", "true")];
    let answer = ask_at(&archive, "sign-in-policies", &inside, &time(1)).await;
    let told = rows(&answer, &["name", "outcome"]);
    for expected in [
        "Policy a | does not apply",
        "Policy c | applies",
        "Policy d | does not apply",
        "Policy g | applies",
        "Policy h | depends",
        "Policy b | depends",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
    assert_eq!(total(&answer, "blocked"), "true");
    // Between both captures nobody knows whether she still was: the policy depends on that.
    let answer = ask_at(&archive, "sign-in-policies", &inside, "2026-08-01T00:30:00Z").await;
    assert!(rows(&answer, &["name", "outcome", "who"]).contains(&"Policy c | depends | depends".to_owned()));
    let wrong = [("user", "ada"), ("address", "nowhere")];
    let times = tenure::query::questions::Times { at: Some(moment(&time(0))), ..Default::default() };
    assert!(try_ask(&archive, "sign-in-policies", &wrong, times).await.is_err());
}

/// At 01:00 Ben comes into the group within the excluded group, Ada becomes Global Administrator, whom one policy covers, and the
/// third policy only reports instead of being enforced. Cem comes at 01:00 and is told as that. Guests of the fourth: Gus is one now.
#[tokio::test]
async fn effect_tells_whom_policies_stopped_or_began_to_cover() {
    let everybody = || json!({"includeUsers": ["All"]});
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        user("gus", json!({})),
        group("outer"),
        group("inner"),
        links("group/outer", "members", &["group/inner"]),
        role(GLOBAL, "Global Administrator"),
        policy("one", "enabled", json!({"includeUsers": ["All"], "excludeGroups": ["outer"]}), json!({}), mfa()),
        policy("two", "enabled", json!({"includeRoles": [GLOBAL]}), json!({}), mfa()),
        policy("three", "enabled", json!({"includeGroups": ["inner"], "includeUsers": ["ada"]}), json!({}), mfa()),
        policy("four", "enabled", json!({"includeUsers": ["GuestsOrExternalUsers"]}), json!({}), mfa()),
        policy("five", "enabled", everybody(), json!({}), mfa()),
        policy("off", "disabled", everybody(), json!({}), mfa()),
    ])
    .hour(
        1,
        vec![
            user("cem", json!({})),
            user("gus", json!({"userType": "Guest"})),
            links("group/inner", "members", &["user/ben"]),
            assigned("a", "ada", GLOBAL, "/"),
            policy(
                "three",
                "enabledForReportingButNotEnforced",
                json!({"includeGroups": ["inner"], "includeUsers": ["ada"]}),
                json!({}),
                mfa(),
            ),
        ],
    );
    let (archive, _directory) = story.open().await;
    let (from, to) = (archive.at(&moment(&time(0)), now()).unwrap(), archive.at(&moment(&time(1)), now()).unwrap());
    let effects = archive.effects(&from, &to, &tenure::query::Scope::default()).await.unwrap();
    let told = |effects: &tenure::query::Effects| -> Vec<String> {
        let named = effects.policies.named.iter().map(|effect| {
            let by: Vec<&str> = effect.by.iter().map(|key| key.as_str()).collect();
            format!("{} {} {} {} {}", effect.policy, effect.subject, effect.began, effect.after, by.join(", "))
        });
        named.collect()
    };
    assert_eq!(
        told(&effects),
        [
            "conditionalAccessPolicy/four user/gus true covered ",
            "conditionalAccessPolicy/one user/ben false excluded group/outer",
            "conditionalAccessPolicy/three user/ada false report-only ",
            format!("conditionalAccessPolicy/two user/ada true covered unifiedRoleDefinition/{GLOBAL}").as_str(),
        ]
    );
    let counts: Vec<(usize, usize)> =
        effects.policies.counts.iter().map(|count| (count.began, count.stopped)).collect();
    assert_eq!(counts, [(1, 0), (0, 1), (0, 1), (1, 0)]);
    // The other way round it is the opposite.
    let back = archive.effects(&to, &from, &tenure::query::Scope::default()).await.unwrap();
    let counts: Vec<(usize, usize)> = back.policies.counts.iter().map(|count| (count.began, count.stopped)).collect();
    assert_eq!(counts, [(0, 1), (1, 0), (1, 0), (0, 1)]);
    assert_eq!(archive.effects(&to, &to, &tenure::query::Scope::default()).await.unwrap().policies, Default::default());
}
