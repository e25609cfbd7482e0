//! Guards that were loosened: a Conditional Access policy, a named location, security defaults. Two values in, what was
//! loosened out. Pure.
//!
//! Must never know: who is let through by that.
//!
//! A policy guards only while it is enabled: what becomes of one that only reports is no change of power. Where it can't be
//! told whether a change loosens (a filter's rule is another), it counts as one: somebody should look.
//!
//! Shapes: learn.microsoft.com/graph/api/resources/conditionalaccesspolicy and the resources it links to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

type Words = BTreeSet<String>;

/// What was loosened from `before` to `after`; nothing where the policy wasn't enforced before. `after` is `None` where it
/// was deleted.
pub(super) fn loosened(before: &Value, after: Option<&Value>) -> Vec<&'static str> {
    if before["state"] != "enabled" {
        return Vec::new();
    }
    let Some(after) = after else { return vec!["deleted"] };
    let mut found = BTreeSet::new();
    match after["state"].as_str() {
        Some("enabled") => {}
        Some("enabledForReportingButNotEnforced") => drop(found.insert("report-only")),
        _ => drop(found.insert("disabled")),
    }
    let (old, new) = (&before["conditions"], &after["conditions"]);
    users(&old["users"], &new["users"], &mut found);
    applications(&old["applications"], &new["applications"], &mut found);
    workloads(&old["clientApplications"], &new["clientApplications"], &mut found);
    places(old, new, &mut found);
    restrictions(old, new, &mut found);
    if !implies(&after["grantControls"], &before["grantControls"]) {
        found.insert("grant-controls");
    }
    session(&before["sessionControls"], &after["sessionControls"], &mut found);
    found.into_iter().collect()
}

/// What was widened of a named location: that it became trusted, or that a trusted one got more addresses.
pub(super) fn widened(before: Option<&Value>, after: &Value) -> Vec<&'static str> {
    let trusted = |location: &Value| location["isTrusted"] == true;
    let ranges = |location: &Value| -> Words {
        let all = location["ipRanges"].as_array().into_iter().flatten();
        all.map(|range| range["cidrAddress"].as_str().map_or_else(|| range.to_string(), str::to_owned)).collect()
    };
    match before {
        _ if !trusted(after) => Vec::new(),
        Some(before) if trusted(before) => match ranges(after).is_subset(&ranges(before)) {
            true => Vec::new(),
            false => vec!["ranges"],
        },
        _ => vec!["trusted"],
    }
}

/// Whether security defaults were turned off.
pub(super) fn defaults_off(before: &Value, after: Option<&Value>) -> bool {
    before["isEnabled"] == true && after.is_none_or(|after| after["isEnabled"] != true)
}

/// The words of a list, of a text with commas, or of nothing.
fn words(value: &Value) -> Words {
    match value {
        Value::Array(all) => {
            all.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
        }
        Value::String(text) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        }
        _ => Words::new(),
    }
}

fn has(words: &Words, word: &str) -> bool {
    words.iter().any(|one| one.eq_ignore_ascii_case(word))
}

/// Whether something that was included no longer is.
fn lacks(before: &Value, after: &Value) -> bool {
    let (old, new) = (words(before), words(after));
    !has(&new, "All") && old.iter().any(|word| !word.eq_ignore_ascii_case("None") && !new.contains(word))
}

/// Whether something is excluded that wasn't.
fn gains(before: &Value, after: &Value) -> bool {
    !words(after).is_subset(&words(before))
}

fn users(old: &Value, new: &Value, found: &mut BTreeSet<&'static str>) {
    let everybody = has(&words(&new["includeUsers"]), "All");
    for (name, aspect) in
        [("includeUsers", "include-users"), ("includeGroups", "include-groups"), ("includeRoles", "include-roles")]
    {
        if !everybody && lacks(&old[name], &new[name]) {
            found.insert(aspect);
        }
    }
    for (name, aspect) in
        [("excludeUsers", "exclude-users"), ("excludeGroups", "exclude-groups"), ("excludeRoles", "exclude-roles")]
    {
        if gains(&old[name], &new[name]) {
            found.insert(aspect);
        }
    }
    let guests = |side: &Value, name: &str| Guests::of(&side[name]);
    let (name, other) = ("includeGuestsOrExternalUsers", "excludeGuestsOrExternalUsers");
    if !everybody && !guests(new, name).covers(&guests(old, name)) {
        found.insert("include-guests");
    }
    if !guests(old, other).covers(&guests(new, other)) {
        found.insert("exclude-guests");
    }
}

/// Kinds of guests, of all tenants or of some.
struct Guests {
    kinds: Words,
    tenants: Option<Words>,
}

impl Guests {
    fn of(value: &Value) -> Guests {
        let external = &value["externalTenants"];
        let tenants = (external["membershipKind"] == "enumerated").then(|| words(&external["members"]));
        Guests { kinds: words(&value["guestOrExternalUserTypes"]), tenants }
    }

    fn covers(&self, other: &Guests) -> bool {
        let tenants = match (&self.tenants, &other.tenants) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs.is_subset(mine),
        };
        other.kinds.is_empty() || other.kinds.is_subset(&self.kinds) && tenants
    }
}

fn applications(old: &Value, new: &Value, found: &mut BTreeSet<&'static str>) {
    for name in ["includeApplications", "includeUserActions", "includeAuthenticationContextClassReferences"] {
        if lacks(&old[name], &new[name]) {
            found.insert("include-applications");
        }
    }
    if gains(&old["excludeApplications"], &new["excludeApplications"]) {
        found.insert("exclude-applications");
    }
    if filter_loosens(&old["applicationFilter"], &new["applicationFilter"]) {
        found.insert("application-filter");
    }
}

fn workloads(old: &Value, new: &Value, found: &mut BTreeSet<&'static str>) {
    if lacks(&old["includeServicePrincipals"], &new["includeServicePrincipals"])
        || gains(&old["excludeServicePrincipals"], &new["excludeServicePrincipals"])
        || filter_loosens(&old["servicePrincipalFilter"], &new["servicePrincipalFilter"])
    {
        found.insert("workload-identities");
    }
}

/// A filter that includes adds to what a policy is about, one that excludes takes away.
fn filter_loosens(old: &Value, new: &Value) -> bool {
    let same = old["mode"] == new["mode"] && old["rule"] == new["rule"];
    match (old.is_null(), new.is_null()) {
        (true, true) => false,
        (true, false) => new["mode"] != "include",
        (false, true) => old["mode"] != "exclude",
        (false, false) => !same,
    }
}

fn places(old: &Value, new: &Value, found: &mut BTreeSet<&'static str>) {
    for (part, include, exclude, any, aspect) in [
        ("locations", "includeLocations", "excludeLocations", "All", "locations"),
        ("platforms", "includePlatforms", "excludePlatforms", "all", "platforms"),
    ] {
        let (before, after) = (&old[part], &new[part]);
        if narrows(&before[include], &after[include], any) || gains(&before[exclude], &after[exclude]) {
            found.insert(aspect);
        }
    }
    let (before, after) = (&old["devices"]["deviceFilter"], &new["devices"]["deviceFilter"]);
    if !after.is_null() && (before["mode"] != after["mode"] || before["rule"] != after["rule"]) {
        found.insert("device-filter");
    }
}

/// Whether a condition that holds for a list of values, for all where the list is empty or says so, holds for fewer.
fn narrows(before: &Value, after: &Value, any: &str) -> bool {
    let is_any = |words: &Words| words.is_empty() || has(words, any);
    let (old, new) = (words(before), words(after));
    !is_any(&new) && (is_any(&old) || !old.is_subset(&new))
}

/// Conditions that are looked at one by one above.
const KNOWN: &[&str] = &["users", "applications", "clientApplications", "locations", "platforms", "devices"];

/// All other conditions: a list that was empty held for everything.
fn restrictions(old: &Value, new: &Value, found: &mut BTreeSet<&'static str>) {
    let members = |side: &Value| side.as_object().cloned().unwrap_or_default();
    let (old, new) = (members(old), members(new));
    let names: BTreeSet<&String> =
        old.keys().chain(new.keys()).filter(|name| !KNOWN.contains(&name.as_str())).collect();
    for name in names {
        let (before, after) = (old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null));
        let aspect = match name.as_str() {
            "clientAppTypes" => "client-app-types",
            name if name.ends_with("RiskLevels") => "risk-levels",
            "authenticationFlows" => "authentication-flows",
            _ => "conditions",
        };
        let loosened = match (before, after) {
            (before, Value::Object(_)) if name != "authenticationFlows" => before != after,
            (before, Value::Object(flows)) => {
                let after = flows.get("transferMethods").unwrap_or(&Value::Null);
                narrows(&before["transferMethods"], after, "all")
            }
            _ => narrows(before, after, "all"),
        };
        if loosened {
            found.insert(aspect);
        }
    }
}

/// What a policy asks for before it lets somebody in: all of the controls, or one of them.
struct Controls {
    all: bool,
    /// By control: what it stands for besides itself.
    atoms: BTreeMap<String, Words>,
}

/// The built-in authentication strengths, the weakest first; each stands for those before it
/// (learn.microsoft.com/entra/identity/authentication/concept-authentication-strengths).
const STRENGTHS: &[&str] = &[
    "00000000-0000-0000-0000-000000000002",
    "00000000-0000-0000-0000-000000000003",
    "00000000-0000-0000-0000-000000000004",
];

impl Controls {
    fn of(value: &Value) -> Controls {
        let mut atoms = BTreeMap::new();
        for list in ["builtInControls", "customAuthenticationFactors", "termsOfUse"] {
            atoms.extend(words(&value[list]).into_iter().map(|word| (word, Words::new())));
        }
        let strength = &value["authenticationStrength"];
        if let Some(id) = strength["id"].as_str() {
            let rank = STRENGTHS.iter().position(|known| *known == id);
            let mut stands: Words = STRENGTHS[..rank.unwrap_or(0)].iter().map(|id| format!("strength {id}")).collect();
            if rank.is_some() || strength["requirementsSatisfied"] == "mfa" {
                stands.insert("mfa".to_owned());
            }
            atoms.insert(format!("strength {id}"), stands);
        }
        Controls { all: value["operator"] == "AND", atoms }
    }

    /// The least that satisfies them: sets of controls, each of which is enough. No set where nothing is.
    fn ways(&self) -> Vec<Words> {
        let with = |(atom, stands): (&String, &Words)| -> Words { stands.iter().chain([atom]).cloned().collect() };
        match self.all || self.atoms.is_empty() {
            _ if self.atoms.contains_key("block") => Vec::new(),
            true => vec![self.atoms.iter().flat_map(with).collect()],
            false => self.atoms.iter().map(with).collect(),
        }
    }

    fn is_satisfied_by(&self, way: &Words) -> bool {
        let mut atoms = self.atoms.keys();
        match self.all {
            _ if self.atoms.contains_key("block") => false,
            true => atoms.all(|atom| way.contains(atom)),
            false => self.atoms.is_empty() || atoms.any(|atom| way.contains(atom)),
        }
    }
}

/// Whether everybody who satisfies `after` would have satisfied `before`.
fn implies(after: &Value, before: &Value) -> bool {
    let (after, before) = (Controls::of(after), Controls::of(before));
    after.ways().iter().all(|way| before.is_satisfied_by(way))
}

fn session(before: &Value, after: &Value, found: &mut BTreeSet<&'static str>) {
    let is_on = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        value => value["isEnabled"] != false,
    };
    for (name, old) in before.as_object().into_iter().flatten().filter(|(_, old)| is_on(old)) {
        let new = &after[name.as_str()];
        let longer = name == "signInFrequency" && hours(new) > hours(old);
        let keeps = name == "persistentBrowser" && old["mode"] == "never" && new["mode"] != "never";
        if !is_on(new) || longer || keeps {
            found.insert("session-controls");
        }
    }
}

/// How long a sign-in lasts.
fn hours(frequency: &Value) -> u64 {
    let value = frequency["value"].as_u64().unwrap_or(0);
    match (frequency["frequencyInterval"].as_str(), frequency["type"].as_str()) {
        (Some("everyTime"), _) => 0,
        (_, Some("days")) => value.saturating_mul(24),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> Value {
        json!({
            "id": "p", "displayName": "A", "state": "enabled", "modifiedDateTime": null,
            "conditions": {
                "userRiskLevels": [], "signInRiskLevels": [], "clientAppTypes": ["all"], "platforms": null,
                "locations": null, "devices": null, "clientApplications": null, "insiderRiskLevels": null,
                "applications": {
                    "includeApplications": ["All"], "excludeApplications": [], "includeUserActions": [],
                    "applicationFilter": null
                },
                "users": {
                    "includeUsers": ["All"], "excludeUsers": [], "includeGroups": [], "excludeGroups": ["b"],
                    "includeRoles": [], "excludeRoles": [], "includeGuestsOrExternalUsers": null,
                    "excludeGuestsOrExternalUsers": null
                }
            },
            "grantControls": {"operator": "OR", "builtInControls": ["mfa"], "authenticationStrength": null},
            "sessionControls": null
        })
    }

    /// Puts values at paths (`a/b`) of the policy.
    fn with(changes: &[(&str, Value)]) -> Value {
        let mut policy = policy();
        for (path, value) in changes {
            let mut place = &mut policy;
            for step in path.split('/') {
                place = &mut place[step];
            }
            *place = value.clone();
        }
        policy
    }

    fn check(before: &[(&str, Value)], after: &[(&str, Value)], expected: &[&str]) {
        let (old, new) = (with(before), with(after));
        assert_eq!(loosened(&old, Some(&new)), expected, "{before:?} to {after:?}");
        assert!(loosened(&old, Some(&old)).is_empty() && loosened(&new, Some(&new)).is_empty());
        let off = with(&[before, &[("state", json!("enabledForReportingButNotEnforced"))]].concat());
        assert!(loosened(&off, Some(&new)).is_empty(), "it guarded nothing");
    }

    #[test]
    fn the_state_of_a_policy() {
        check(&[], &[("state", json!("disabled"))], &["disabled"]);
        check(&[], &[("state", json!("enabledForReportingButNotEnforced"))], &["report-only"]);
        check(&[], &[("displayName", json!("B")), ("modifiedDateTime", json!("2026"))], &[]);
        assert_eq!(loosened(&policy(), None), ["deleted"]);
        let off = with(&[("state", json!("disabled"))]);
        assert!(loosened(&off, None).is_empty() && loosened(&off, Some(&policy())).is_empty());
    }

    #[test]
    fn people_and_applications() {
        let (u, a) = ("conditions/users", "conditions/applications");
        let at = |part: &str, name: &str| format!("{part}/{name}");
        let one = |path: &str, value: Value| vec![(path.to_owned(), value)];
        for (before, after, expected) in [
            (vec![], one(&at(u, "excludeUsers"), json!(["x"])), vec!["exclude-users"]),
            (vec![], one(&at(u, "excludeGroups"), json!(["c", "b"])), vec!["exclude-groups"]),
            (vec![], one(&at(u, "excludeGroups"), json!([])), vec![]),
            (vec![], one(&at(u, "excludeRoles"), json!(["r"])), vec!["exclude-roles"]),
            (vec![], one(&at(u, "includeUsers"), json!(["x"])), vec!["include-users"]),
            (one(&at(u, "includeUsers"), json!(["x", "y"])), one(&at(u, "includeUsers"), json!(["y", "x"])), vec![]),
            (one(&at(u, "includeUsers"), json!(["x"])), vec![], vec![]),
            (one(&at(u, "includeUsers"), json!(["None"])), one(&at(u, "includeUsers"), json!([])), vec![]),
            (one(&at(u, "includeGroups"), json!(["g"])), vec![], vec![]),
            (vec![], one(&at(a, "includeApplications"), json!(["x"])), vec!["include-applications"]),
            (vec![], one(&at(a, "excludeApplications"), json!(["x"])), vec!["exclude-applications"]),
            (one(&at(a, "includeUserActions"), json!(["urn:x"])), vec![], vec!["include-applications"]),
            (
                vec![],
                one(&at(a, "applicationFilter"), json!({"mode": "exclude", "rule": "r"})),
                vec!["application-filter"],
            ),
            (vec![], one(&at(a, "applicationFilter"), json!({"mode": "include", "rule": "r"})), vec![]),
        ] {
            let short = |all: &[(String, Value)]| all.to_vec();
            let (before, after) = (short(&before), short(&after));
            let (before, after): (Vec<_>, Vec<_>) = (
                before.iter().map(|(path, value)| (path.as_str(), value.clone())).collect(),
                after.iter().map(|(path, value)| (path.as_str(), value.clone())).collect(),
            );
            check(&before, &after, &expected);
        }
        let nobody = ("conditions/users/includeUsers", json!([]));
        let some = |groups: Value| vec![nobody.clone(), ("conditions/users/includeGroups", groups)];
        check(&some(json!(["g", "h"])), &some(json!(["g"])), &["include-groups"]);
        check(&some(json!(["g"])), &some(json!(["g", "h"])), &[]);
    }

    #[test]
    fn guests_of_all_tenants_or_of_some() {
        let guests =
            |kinds: &str, tenants: Value| json!({"guestOrExternalUserTypes": kinds, "externalTenants": tenants});
        let (all, some) =
            (json!({"membershipKind": "all"}), |t: &[&str]| json!({"membershipKind": "enumerated", "members": t}));
        let (include, exclude) =
            ("conditions/users/includeGuestsOrExternalUsers", "conditions/users/excludeGuestsOrExternalUsers");
        let only = |value: Value| vec![("conditions/users/includeUsers", json!([])), (include, value)];
        check(
            &only(guests("internalGuest,b2bDirectConnectUser", all.clone())),
            &only(guests("internalGuest", all.clone())),
            &["include-guests"],
        );
        check(
            &only(guests("internalGuest", all.clone())),
            &only(guests("internalGuest", some(&["t"]))),
            &["include-guests"],
        );
        check(&only(guests("internalGuest", some(&["t"]))), &only(guests("internalGuest", some(&["t", "u"]))), &[]);
        check(&only(guests("internalGuest", all.clone())), &only(Value::Null), &["include-guests"]);
        check(&[], &[(exclude, guests("internalGuest", some(&["t"])))], &["exclude-guests"]);
        check(
            &[(exclude, guests("internalGuest", some(&["t"])))],
            &[(exclude, guests("internalGuest", all))],
            &["exclude-guests"],
        );
        check(&[(exclude, guests("internalGuest", some(&["t"])))], &[], &[]);
    }

    #[test]
    fn conditions_that_hold_for_less() {
        let c = |name: &str| format!("conditions/{name}");
        for (name, before, after, expected) in [
            ("clientAppTypes", json!(["all"]), json!(["browser"]), vec!["client-app-types"]),
            ("clientAppTypes", json!(["exchangeActiveSync", "other"]), json!(["other"]), vec!["client-app-types"]),
            ("clientAppTypes", json!(["other"]), json!(["all"]), vec![]),
            ("signInRiskLevels", json!(["high"]), json!(["high", "medium"]), vec![]),
            ("signInRiskLevels", json!(["high", "medium"]), json!(["high"]), vec!["risk-levels"]),
            ("userRiskLevels", json!([]), json!(["high"]), vec!["risk-levels"]),
            ("insiderRiskLevels", json!("elevated,moderate"), json!("elevated"), vec!["risk-levels"]),
            (
                "locations",
                Value::Null,
                json!({"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}),
                vec!["locations"],
            ),
            ("locations", Value::Null, json!({"includeLocations": ["All"], "excludeLocations": []}), vec![]),
            ("locations", Value::Null, json!({"includeLocations": ["x"], "excludeLocations": []}), vec!["locations"]),
            (
                "platforms",
                json!({"includePlatforms": ["all"]}),
                json!({"includePlatforms": ["iOS"]}),
                vec!["platforms"],
            ),
            ("platforms", json!({"includePlatforms": ["iOS"]}), Value::Null, vec![]),
            ("devices", Value::Null, json!({"deviceFilter": {"mode": "exclude", "rule": "r"}}), vec!["device-filter"]),
            ("devices", json!({"deviceFilter": {"mode": "exclude", "rule": "r"}}), Value::Null, vec![]),
            (
                "authenticationFlows",
                Value::Null,
                json!({"transferMethods": "deviceCodeFlow"}),
                vec!["authentication-flows"],
            ),
            ("somethingNew", Value::Null, json!(["x"]), vec!["conditions"]),
            ("somethingNew", json!({"a": 1}), json!({"a": 2}), vec!["conditions"]),
            ("somethingNew", json!(["x"]), Value::Null, vec![]),
            (
                "clientApplications",
                json!({"includeServicePrincipals": ["s", "t"]}),
                json!({"includeServicePrincipals": ["s"]}),
                vec!["workload-identities"],
            ),
        ] {
            check(&[(&c(name), before)], &[(&c(name), after)], &expected);
        }
    }

    #[test]
    fn what_is_asked_for() {
        let grant = |operator: &str, controls: &[&str], strength: Option<&str>| {
            let strength = strength.map(|id| json!({"id": id, "requirementsSatisfied": "mfa"}));
            vec![(
                "grantControls",
                json!({"operator": operator, "builtInControls": controls, "authenticationStrength": strength}),
            )]
        };
        let (weak, strong) = (Some(STRENGTHS[0]), Some(STRENGTHS[2]));
        let none = vec![("grantControls", Value::Null)];
        for (before, after, loosened) in [
            (grant("OR", &["mfa"], None), none.clone(), true),
            (grant("OR", &["mfa"], None), grant("OR", &[], None), true),
            (grant("OR", &["mfa"], None), grant("OR", &["mfa", "compliantDevice"], None), true),
            (grant("OR", &["mfa", "compliantDevice"], None), grant("OR", &["mfa"], None), false),
            (grant("AND", &["mfa", "compliantDevice"], None), grant("OR", &["mfa", "compliantDevice"], None), true),
            (grant("AND", &["mfa", "compliantDevice"], None), grant("AND", &["mfa"], None), true),
            (grant("AND", &["mfa"], None), grant("OR", &["mfa"], None), false),
            (grant("OR", &["mfa"], None), grant("AND", &["mfa", "compliantDevice"], None), false),
            (grant("OR", &["block"], None), grant("OR", &["mfa"], None), true),
            (grant("OR", &["mfa"], None), grant("OR", &["block"], None), false),
            (none.clone(), grant("OR", &["mfa"], None), false),
            // A strength that asks for a second factor is more than a second factor; its removal is less.
            (grant("OR", &["mfa"], None), grant("OR", &[], strong), false),
            (grant("OR", &[], strong), grant("OR", &["mfa"], None), true),
            (grant("OR", &[], weak), grant("OR", &[], strong), false),
            (grant("OR", &[], strong), grant("OR", &[], weak), true),
            (grant("OR", &[], strong), grant("OR", &[], Some("own")), true),
        ] {
            check(&before, &after, if loosened { &["grant-controls"] } else { &[] });
        }
    }

    #[test]
    fn sessions_that_last_longer() {
        let every =
            |value: u64, unit: &str| json!({"signInFrequency": {"value": value, "type": unit, "isEnabled": true}});
        let off = json!({"signInFrequency": {"value": 4, "type": "hours", "isEnabled": false}});
        for (before, after, loosened) in [
            (every(4, "hours"), every(1, "days"), true),
            (every(1, "days"), every(4, "hours"), false),
            (every(4, "hours"), Value::Null, true),
            (every(4, "hours"), off.clone(), true),
            (off, Value::Null, false),
            (
                json!({"persistentBrowser": {"mode": "never", "isEnabled": true}}),
                json!({"persistentBrowser": {"mode": "always", "isEnabled": true}}),
                true,
            ),
            (json!({"disableResilienceDefaults": true}), json!({"disableResilienceDefaults": false}), true),
        ] {
            check(
                &[("sessionControls", before)],
                &[("sessionControls", after)],
                if loosened { &["session-controls"] } else { &[] },
            );
        }
    }

    #[test]
    fn locations_and_security_defaults() {
        let place = |trusted: bool, ranges: &[&str]| {
            let ranges: Vec<Value> = ranges.iter().map(|range| json!({"cidrAddress": range})).collect();
            json!({"isTrusted": trusted, "ipRanges": ranges})
        };
        for (before, after, expected) in [
            (Some(place(false, &["a"])), place(true, &["a"]), vec!["trusted"]),
            (None, place(true, &["a"]), vec!["trusted"]),
            (Some(place(true, &["a"])), place(true, &["b", "a"]), vec!["ranges"]),
            (Some(place(true, &["a", "b"])), place(true, &["b"]), vec![]),
            (Some(place(false, &["a"])), place(false, &["a", "b"]), vec![]),
            (Some(place(true, &["a"])), place(false, &["a", "b"]), vec![]),
        ] {
            assert_eq!(widened(before.as_ref(), &after), expected);
        }
        let defaults = |on: bool| json!({"isEnabled": on});
        assert!(defaults_off(&defaults(true), Some(&defaults(false))) && defaults_off(&defaults(true), None));
        assert!(!defaults_off(&defaults(false), Some(&defaults(true))) && !defaults_off(&defaults(false), None));
    }
}
