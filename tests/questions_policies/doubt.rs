//! What isn't known of who signs in, of a place, of a device, makes an answer depend: what changed in the gap, what wasn't there.

use super::*;

fn everybody() -> Value {
    json!({"includeUsers": ["All"]})
}

/// Ada is deleted at 01:00. Asked about 01:00 nothing is firm of her; between the captures nobody knows whether she still was. The
/// application comes at 02:00, and the device.
#[tokio::test]
async fn whoever_was_not_there_signs_in_to_nothing() {
    let gone = ("user/ada".to_owned(), remove());
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        policy("all", "enabled", everybody(), json!({}), block()),
        policy("pay", "enabled", everybody(), json!({"applications": {"includeApplications": ["app-pay"]}}), mfa()),
        policy(
            "saw",
            "enabled",
            everybody(),
            json!({"devices": {"deviceFilter": {"mode": "include", "rule": "device.isCompliant -eq True"}}}),
            mfa(),
        ),
    ])
    .hour(1, vec![gone])
    .hour(
        2,
        vec![
            service("pay", json!({"displayName": "Payments"})),
            object("device/saw", json!({"id": "saw", "displayName": "SAW", "isCompliant": true})),
        ],
    );
    let (archive, _directory) = story.open().await;
    let ask = async |given: &[(&str, &str)], when: &str| ask_at(&archive, "sign-in-policies", given, when).await;
    let answer = ask(&[("user", "user/ada")], &time(0)).await;
    assert_eq!(rows(&answer, &["name", "outcome"])[0], "Policy all | applies");
    for when in [time(1), "2026-08-01T00:30:00Z".to_owned()] {
        let answer = ask(&[("user", "user/ada")], &when).await;
        assert!(rows(&answer, &["outcome"]).iter().all(|outcome| outcome == "depends"), "{when}");
        assert!(answer.table.notes.iter().any(|note| note.contains("user wasn't in the archive")), "{when}");
        assert!(answer.is_incomplete() && total(&answer, "blocked") == "false", "{when}");
    }
    let given = [("user", "ben"), ("application", "servicePrincipal/pay"), ("device", "device/saw")];
    let told = |answer: &tenure::query::questions::Answer| rows(answer, &["name", "outcome", "open"]);
    let answer = ask(&given, &time(1)).await;
    assert_eq!(
        told(&answer),
        [
            r#"Policy all | depends | ["applications"]"#,
            r#"Policy pay | depends | ["applications"]"#,
            r#"Policy saw | depends | ["applications","devices"]"#,
        ]
    );
    assert!(answer.is_incomplete());
    let answer = ask(&given, &time(2)).await;
    assert_eq!(told(&answer), ["Policy all | applies | []", "Policy pay | applies | []", "Policy saw | applies | []"]);
    assert!(!answer.is_incomplete());
}

/// At 00:00 the trusted place has one range, at 01:00 two; the device becomes compliant and Ada a guest meanwhile. At 00:30 nobody knows
/// which it was, but the range that both have counts.
#[tokio::test]
async fn what_changed_in_the_gap_depends_where_it_makes_a_difference() {
    let place = |ranges: &[&str]| {
        let ranges: Vec<Value> = ranges.iter().map(|range| json!({"cidrAddress": range})).collect();
        object("namedLocation/hq", json!({"id": "hq", "displayName": "HQ", "isTrusted": true, "ipRanges": ranges}))
    };
    let device = |compliant: bool| {
        object(
            "device/d",
            json!({"id": "d", "displayName": "D", "isCompliant": compliant, "operatingSystem": "Windows"}),
        )
    };
    let rule = |rule: &str| json!({"devices": {"deviceFilter": {"mode": "include", "rule": rule}}});
    let story = Story::begin(vec![
        user("ada", json!({})),
        place(&["192.0.2.0/24"]),
        device(false),
        policy("guests", "enabled", json!({"includeUsers": ["GuestsOrExternalUsers"]}), json!({}), mfa()),
        policy("compliant", "enabled", everybody(), rule("device.isCompliant -eq True"), mfa()),
        policy("windows", "enabled", everybody(), rule(r#"device.operatingSystem -eq "Windows""#), mfa()),
        policy("trusted", "enabled", everybody(), json!({"locations": {"includeLocations": ["AllTrusted"]}}), mfa()),
        policy("hq", "enabled", everybody(), json!({"locations": {"includeLocations": ["hq"]}}), mfa()),
    ])
    .hour(
        1,
        vec![
            user("ada", json!({"userType": "Guest", "externalUserState": "Accepted"})),
            place(&["192.0.2.0/24", "203.0.113.0/24"]),
            device(true),
        ],
    )
    .hour(2, vec![]);
    let (archive, _directory) = story.open().await;
    let told = async |address: &str, when: &str| {
        let given = [("user", "ada"), ("device", "D"), ("address", address)];
        let answer = ask_at(&archive, "sign-in-policies", &given, when).await;
        let mut told = rows(&answer, &["name", "outcome"]);
        told.sort();
        told.iter().map(|row| row.split_once(" | ").unwrap().1.to_owned()).collect::<Vec<_>>().join(", ")
    };
    // In the order of the names: compliant, guests, hq, trusted, windows.
    let half = "2026-08-01T00:30:00Z";
    assert_eq!(told("203.0.113.5", half).await, "depends, depends, depends, depends, applies");
    assert_eq!(told("192.0.2.5", half).await, "depends, depends, applies, applies, applies");
    assert_eq!(
        told("203.0.113.5", &time(0)).await,
        "does not apply, does not apply, does not apply, does not apply, applies"
    );
    assert_eq!(told("203.0.113.5", &time(1)).await, "applies, applies, applies, applies, applies");
}

/// The policy excludes guests since ever; Gus becomes one at 02:00, by Hal, and is exempt since then and not before. Asked about a time
/// before the policy was made, it says so.
#[tokio::test]
async fn a_guest_is_exempt_since_both_were_so() {
    let lists = json!({"includeUsers": ["All"], "excludeUsers": ["GuestsOrExternalUsers"]});
    let story = Story::begin(vec![user("gus", json!({})), user("ivy", json!({"userType": "Guest"}))])
        .hour(1, vec![policy("p", "enabled", lists, json!({}), mfa())])
        .hour(
            2,
            vec![
                user("gus", json!({"userType": "Guest"})),
                audit("r", "2026-08-01T01:30:00Z", "Update user", "hal", &["gus"]),
            ],
        )
        .hour(3, vec![]);
    let (archive, _directory) = story.open().await;
    let answer = ask_at(&archive, "policy-exemptions", &[("policy", "p")], &time(3)).await;
    assert_eq!(
        rows(&answer, &["name", "path", "since", "exempted_by"]),
        [
            "GUS | as a guest | 2026-08-01T02:00:00Z | HAL (user/hal)",
            "IVY | as a guest | 2026-08-01T01:00:00Z | unattributed",
        ]
    );
    let answer = ask_at(&archive, "policy-exemptions", &[("policy", "p")], &time(0)).await;
    assert!(answer.table.rows.is_empty());
    assert_eq!((total(&answer, "state"), total(&answer, "users")), (r#""not there""#.into(), "2".into()));
    assert!(answer.table.notes[0].contains("no such policy"));
}

/// A policy is for everybody but whom a word excludes that nobody knows. When it is enabled at 01:00 nobody can say whom it began to
/// cover, and that is told; that another such policy gets a new name changes nothing.
#[tokio::test]
async fn effect_counts_whom_nobody_can_judge() {
    let of = |id: &str, name: &str, state: &str| {
        let users = json!({"includeUsers": ["All"], "excludeDwarfs": ["x"]});
        let conditions =
            json!({"clientAppTypes": ["all"], "applications": {"includeApplications": ["All"]}, "users": users});
        let content =
            json!({"id": id, "displayName": name, "state": state, "conditions": conditions, "grantControls": mfa()});
        object(&format!("conditionalAccessPolicy/{id}"), content)
    };
    let story = Story::begin(vec![
        user("ada", json!({})),
        user("ben", json!({})),
        of("one", "One", "disabled"),
        of("two", "Two", "enabled"),
    ])
    .hour(1, vec![of("one", "One", "enabled"), of("two", "Another two", "enabled")]);
    let (archive, _directory) = story.open().await;
    let (from, to) = (archive.at(&moment(&time(0)), now()).unwrap(), archive.at(&moment(&time(1)), now()).unwrap());
    let effects = archive.effects(&from, &to, &tenure::query::Scope::default()).await.unwrap();
    let counts: Vec<_> =
        effects.policies.counts.iter().map(|count| (count.policy.as_str(), count.began, count.unclear)).collect();
    assert_eq!(counts, [("conditionalAccessPolicy/one", 0, 2)]);
    assert!(effects.policies.named.is_empty());
    let lines: Result<Vec<String>, _> = tenure::answer::effects::rows(&archive, &to, &effects).collect();
    let lines = lines.unwrap();
    assert!(lines.iter().any(|line| line.contains(r#""unclear":2"#)), "{lines:?}");
}
