//! Policies, people and sign-ins in tables: what each condition says, and what isn't known of it.

use serde_json::{Value, json};

use super::*;

fn policy(changes: &[(&str, Value)]) -> Policy {
    let mut content = json!({
        "displayName": "A", "state": "enabled",
        "conditions": {
            "clientAppTypes": ["all"], "platforms": null, "locations": null, "devices": null, "authenticationFlows": null,
            "userRiskLevels": [], "signInRiskLevels": [], "clientApplications": null, "insiderRiskLevels": null,
            "applications": {"includeApplications": ["All"], "excludeApplications": [], "includeUserActions": []},
            "users": {"includeUsers": [], "excludeUsers": [], "includeGroups": [], "excludeGroups": [],
                "includeRoles": [], "excludeRoles": [], "includeGuestsOrExternalUsers": null}
        },
        "grantControls": {"operator": "OR", "builtInControls": ["mfa"]}, "sessionControls": null
    });
    for (path, value) in changes {
        let mut place = &mut content;
        for step in path.split('/') {
            place = &mut place[step];
        }
        *place = value.clone();
    }
    Policy::read(&content).unwrap()
}

/// Conditions on users by the names of their lists.
fn who(lists: &[(&str, Value)]) -> Policy {
    let paths: Vec<String> = lists.iter().map(|(name, _)| format!("conditions/users/{name}")).collect();
    let changes: Vec<(&str, Value)> =
        paths.iter().zip(lists).map(|(path, (_, value))| (path.as_str(), value.clone())).collect();
    policy(&changes)
}

fn user(external: External) -> Person {
    Person {
        id: "u".to_owned(),
        identity: Identity::User { external, home: None, is_agent: false },
        groups: [("g".to_owned(), Truth::Yes), ("maybe".to_owned(), Truth::Depends)].into(),
        roles: [("admin".to_owned(), Truth::Yes)].into(),
    }
}

fn told(coverage: &Coverage) -> String {
    let reasons = coverage.included.iter().chain(&coverage.excluded);
    let reasons: Vec<String> = reasons.map(|reason| format!("{} {}", reason.list, reason.value)).collect();
    format!("{}: {}", coverage.verdict.as_str(), reasons.join("; "))
}

#[test]
fn who_is_covered_by_users_groups_and_roles_and_exclusion_wins() {
    for (lists, expected) in [
        (vec![("includeUsers", json!(["All"]))], "covered: includeUsers All"),
        (vec![("includeUsers", json!(["None"]))], "not targeted: "),
        (vec![("includeUsers", json!(["U", "v"]))], "covered: includeUsers U"),
        (vec![("includeUsers", json!(["v"]))], "not targeted: "),
        (vec![("includeGroups", json!(["G", "h"]))], "covered: includeGroups G"),
        (vec![("includeGroups", json!(["maybe"]))], "depends: includeGroups maybe"),
        (vec![("includeRoles", json!(["admin", "other"]))], "covered: includeRoles admin"),
        (
            vec![("includeUsers", json!(["All"])), ("excludeGroups", json!(["g"]))],
            "excluded: includeUsers All; excludeGroups g",
        ),
        (
            vec![("includeUsers", json!(["All"])), ("excludeGroups", json!(["maybe"]))],
            "depends: includeUsers All; excludeGroups maybe",
        ),
        (
            vec![("includeUsers", json!(["u"])), ("excludeUsers", json!(["u"]))],
            "excluded: includeUsers u; excludeUsers u",
        ),
        (
            vec![("includeGroups", json!(["maybe"])), ("excludeRoles", json!(["admin"]))],
            "excluded: includeGroups maybe; excludeRoles admin",
        ),
        (vec![("excludeRoles", json!(["admin"]))], "not targeted: excludeRoles admin"),
        (vec![("includeUsers", json!(["AllSomething"]))], "depends: includeUsers AllSomething"),
        (vec![("includeUsers", json!(["All"])), ("excludeDwarfs", json!(["x"]))], "depends: includeUsers All"),
        (vec![("includeUsers", json!(["All"])), ("includeDwarfs", json!(["x"]))], "covered: includeUsers All"),
        (vec![("includeDwarfs", json!(["x"]))], "depends: "),
        (vec![("includeGroups", json!(["AllSomething"]))], "depends: includeGroups AllSomething"),
        (
            vec![("includeUsers", json!(["All"])), ("excludeRoles", json!(["AllOfThem"]))],
            "depends: includeUsers All; excludeRoles AllOfThem",
        ),
        (vec![("includeUsers", json!(["AllAgentIdUsers"]))], "not targeted: "),
        (
            vec![("includeUsers", json!(["All"])), ("excludeUsers", json!(["AllAgentIdUsers"]))],
            "covered: includeUsers All",
        ),
        (vec![("includeUsers", json!(["All"])), ("dwarfs", json!({"a": 1}))], "depends: includeUsers All"),
        (vec![("includeUsers", json!(["All"])), ("dwarfs", json!([]))], "covered: includeUsers All"),
    ] {
        assert_eq!(told(&who(&lists).covers(&user(External::Internal))), expected, "{lists:?}");
    }
}

#[test]
fn guests_by_kind_and_tenant() {
    use External::{Guest, Internal, LocalGuest, Member, Unknown};
    let of = |kinds: &str, tenants: Value| {
        who(&[("includeGuestsOrExternalUsers", json!({"guestOrExternalUserTypes": kinds, "externalTenants": tenants}))])
    };
    let all = json!({"membershipKind": "all"});
    let some = json!({"membershipKind": "enumerated", "members": ["t1", "t2"]});
    for (kinds, tenants, external, home, expected) in [
        ("b2bCollaborationGuest,internalGuest", &all, Internal, None, "not targeted"),
        ("b2bCollaborationGuest,internalGuest", &all, Guest, None, "covered"),
        ("b2bCollaborationGuest,internalGuest", &all, LocalGuest, None, "covered"),
        ("b2bCollaborationGuest", &all, LocalGuest, None, "not targeted"),
        ("b2bCollaborationGuest", &all, Member, None, "not targeted"),
        ("b2bCollaborationMember", &all, Member, None, "covered"),
        ("b2bCollaborationGuest", &all, Unknown, None, "depends"),
        ("serviceProvider,otherExternalUser", &all, Guest, None, "not targeted"),
        ("b2bDirectConnectUser", &all, Guest, None, "depends"),
        ("b2bDirectConnectUser", &all, LocalGuest, None, "not targeted"),
        ("someNewKind", &all, Guest, None, "depends"),
        ("someNewKind", &all, Internal, None, "not targeted"),
        ("none", &all, Guest, None, "not targeted"),
        ("b2bCollaborationGuest", &some, Guest, Some("T2"), "covered"),
        ("b2bCollaborationGuest", &some, Guest, Some("t3"), "not targeted"),
        ("b2bCollaborationGuest", &some, Guest, None, "depends"),
    ] {
        let mut person = user(external);
        person.identity = Identity::User { external, home: home.map(str::to_owned), is_agent: false };
        let coverage = of(kinds, tenants.clone()).covers(&person);
        assert_eq!(coverage.verdict.as_str(), expected, "{kinds} {tenants} {external:?} {home:?}");
    }
    let old = who(&[("includeUsers", json!(["All"])), ("excludeUsers", json!(["GuestsOrExternalUsers"]))]);
    for (external, expected) in [
        (Internal, "covered"),
        (Guest, "excluded"),
        (Member, "excluded"),
        (LocalGuest, "excluded"),
        (Unknown, "depends"),
    ] {
        assert_eq!(old.covers(&user(external)).verdict.as_str(), expected, "{external:?}");
    }
    let agent =
        Person { identity: Identity::User { external: Internal, home: None, is_agent: true }, ..user(Internal) };
    assert_eq!(who(&[("includeUsers", json!(["All"]))]).covers(&agent).verdict, Verdict::Depends);
    assert_eq!(who(&[("includeUsers", json!(["u"]))]).covers(&agent).verdict, Verdict::Covered);
    // All accounts of agents are one scope; a group of them is none.
    assert_eq!(who(&[("includeUsers", json!(["AllAgentIdUsers"]))]).covers(&agent).verdict, Verdict::Covered);
    assert_eq!(who(&[("includeGroups", json!(["g"]))]).covers(&agent).verdict, Verdict::Depends);
}

/// A policy for a role or for guests that names clients of ActiveSync has everybody for its subjects.
#[test]
fn clients_of_active_sync_widen_roles_and_guests() {
    for (lists, clients, expected) in [
        (json!({"includeRoles": ["other"]}), json!(["exchangeActiveSync"]), "depends: "),
        (json!({"includeUsers": ["GuestsOrExternalUsers"]}), json!(["easSupported"]), "depends: "),
        (
            json!({"includeRoles": ["other"], "excludeUsers": ["u"]}),
            json!(["exchangeActiveSync"]),
            "excluded: excludeUsers u",
        ),
        (json!({"includeRoles": ["other"]}), json!(["browser"]), "not targeted: "),
        (json!({"includeRoles": ["other"]}), json!(["all"]), "not targeted: "),
        (json!({"includeGroups": ["h"]}), json!(["exchangeActiveSync"]), "not targeted: "),
    ] {
        let policy = policy(&[("conditions/users", lists.clone()), ("conditions/clientAppTypes", clients.clone())]);
        assert_eq!(told(&policy.covers(&user(External::Internal))), expected, "{lists} {clients}");
    }
}

#[test]
fn workload_identities_have_lists_of_their_own() {
    let of = |lists: Value| policy(&[("conditions/clientApplications", lists)]);
    let principal = |in_scope| Person { identity: Identity::ServicePrincipal { in_scope }, ..user(External::Internal) };
    for (lists, in_scope, expected) in [
        (json!({"includeServicePrincipals": ["u"]}), Truth::Yes, "covered"),
        (json!({"includeServicePrincipals": ["u"]}), Truth::No, "not targeted"),
        (json!({"includeServicePrincipals": ["ServicePrincipalsInMyTenant"]}), Truth::Yes, "covered"),
        (json!({"includeServicePrincipals": ["ServicePrincipalsInMyTenant"]}), Truth::Depends, "depends"),
        (
            json!({"includeServicePrincipals": ["ServicePrincipalsInMyTenant"], "excludeServicePrincipals": ["u"]}),
            Truth::Yes,
            "excluded",
        ),
        (
            json!({"includeServicePrincipals": ["v"], "servicePrincipalFilter": {"mode": "include", "rule": "x"}}),
            Truth::Yes,
            "depends",
        ),
        (json!(null), Truth::Yes, "not targeted"),
    ] {
        assert_eq!(of(lists.clone()).covers(&principal(in_scope)).verdict.as_str(), expected, "{lists}");
    }
    let users = who(&[("includeUsers", json!(["All"]))]);
    assert_eq!(users.covers(&principal(Truth::Yes)).verdict, Verdict::NotTargeted, "a service principal is no user");
    let agent = Person { identity: Identity::Agent { blueprints: vec!["b".to_owned()] }, ..user(External::Internal) };
    let agents = of(json!({"includeAgentIdServicePrincipals": ["All"], "excludeAgentIdServicePrincipals": ["u"]}));
    assert_eq!(agents.covers(&agent).verdict, Verdict::Excluded);
    assert!(agents.is_about_workloads() && !users.is_about_workloads());
    let blueprint = of(json!({"includeAgentIdServicePrincipals": ["b"]}));
    assert_eq!(
        blueprint.covers(&agent).verdict,
        Verdict::Depends,
        "whether those made from it are meant, no page says"
    );
}

fn check(changes: &[(&str, Value)], sign_in: &SignIn, expected: &str) {
    let paths: Vec<String> = changes.iter().map(|(path, _)| format!("conditions/{path}")).collect();
    let changes: Vec<(&str, Value)> =
        paths.iter().zip(changes).map(|(path, (_, value))| (path.as_str(), value.clone())).collect();
    let office = json!({"id": "hq", "isTrusted": true, "ipRanges": [{"cidrAddress": "192.0.2.0/24"}]});
    let branch = json!({"ipRanges": [{"cidrAddress": "2001:db8:1:2::3/48"}, {"cidrAddress": "nonsense"}]});
    let north = json!({"countriesAndRegions": ["NO", "FI"], "includeUnknownCountriesAndRegions": true});
    let places = [("hq", office), ("branch", branch), ("north", north)];
    let places = places.map(|(id, content)| vec![Some(NamedLocation::read(id, &content))]);
    let found = policy(&changes).applies(sign_in, &places);
    let told = format!("{}: {}", found.outcome.as_str(), [found.unmet, found.open].concat().join(", "));
    assert_eq!(told.trim_end_matches([' ', ':']), expected, "{changes:?} {sign_in:?}");
}

fn app() -> SignIn {
    SignIn { application: Some("app".to_owned()), ..SignIn::default() }
}

#[test]
fn applications_actions_and_contexts() {
    let apps = "applications";
    let action = SignIn { action: Some("urn:user:registersecurityinfo".to_owned()), ..SignIn::default() };
    let context = SignIn { context: Some("c1".to_owned()), ..app() };
    for (lists, sign_in, expected) in [
        (json!({"includeApplications": ["All"]}), app(), "applies"),
        (json!({"includeApplications": ["All"]}), SignIn::default(), "applies"),
        (
            json!({"includeApplications": ["All"], "excludeApplications": ["APP"]}),
            app(),
            "does not apply: applications",
        ),
        (
            json!({"includeApplications": ["All"], "excludeApplications": ["x"]}),
            SignIn::default(),
            "depends: applications",
        ),
        (json!({"includeApplications": ["None"]}), app(), "does not apply: applications"),
        (json!({"includeApplications": ["app", "x"]}), app(), "applies"),
        (json!({"includeApplications": ["x"]}), app(), "does not apply: applications"),
        (json!({"includeApplications": ["Office365"]}), app(), "depends: applications"),
        (json!({"includeApplications": ["Office365", "app"]}), app(), "applies"),
        (json!({"includeApplications": ["All"], "excludeApplications": ["Office365"]}), app(), "depends: applications"),
        (
            json!({"includeApplications": ["All"], "applicationFilter": {"mode": "exclude", "rule": "x"}}),
            app(),
            "depends: applications.applicationFilter",
        ),
        (json!({"includeUserActions": ["urn:user:registersecurityinfo"]}), action.clone(), "applies"),
        (json!({"includeUserActions": ["urn:user:registerdevice"]}), action.clone(), "does not apply: applications"),
        (json!({"includeUserActions": ["urn:user:registerdevice"]}), app(), "does not apply: applications"),
        (json!({"includeUserActions": ["urn:user:registerdevice"]}), SignIn::default(), "depends: applications"),
        (json!({"includeApplications": ["All"]}), action, "depends: applications"),
        (json!({"includeAuthenticationContextClassReferences": ["c1"]}), context.clone(), "applies"),
        (json!({"includeAuthenticationContextClassReferences": ["c2"]}), context, "does not apply: applications"),
        (json!({"includeAuthenticationContextClassReferences": ["c1"]}), app(), "depends: applications"),
        (json!({"includeApplications": ["All"], "includeGlobes": ["x"]}), app(), "depends: applications.includeGlobes"),
    ] {
        check(&[(apps, lists)], &sign_in, expected);
    }
}

#[test]
fn clients_platforms_risks_and_flows() {
    let with = |set: fn(&mut SignIn)| {
        let mut sign_in = app();
        set(&mut sign_in);
        sign_in
    };
    let browser = with(|own| own.client = Some("browser".to_owned()));
    let sync = with(|own| (own.client, own.platform) = (Some("exchangeActiveSync".to_owned()), Some("iOS".to_owned())));
    let linux = with(|own| own.platform = Some("linux".to_owned()));
    let risky = with(|own| own.risks = vec![("signInRiskLevels", "high".to_owned())]);
    let code = with(|own| own.flow = Some("deviceCodeFlow".to_owned()));
    let plain = with(|own| own.flow = Some("none".to_owned()));
    for (path, value, sign_in, expected) in [
        ("clientAppTypes", json!(["all"]), app(), "applies"),
        ("clientAppTypes", json!([]), app(), "applies"),
        ("clientAppTypes", json!(["browser"]), browser.clone(), "applies"),
        ("clientAppTypes", json!(["other"]), browser.clone(), "does not apply: clientAppTypes"),
        ("clientAppTypes", json!(["other", "unknownFutureValue"]), browser, "depends: clientAppTypes"),
        ("clientAppTypes", json!(["other"]), app(), "depends: clientAppTypes"),
        ("clientAppTypes", json!(["easSupported"]), sync.clone(), "applies"),
        ("clientAppTypes", json!(["exchangeActiveSync"]), sync, "applies"),
        ("platforms", json!({"includePlatforms": ["all"]}), app(), "applies"),
        ("platforms", json!({"includePlatforms": ["all"], "excludePlatforms": ["iOS"]}), app(), "depends: platforms"),
        (
            "platforms",
            json!({"includePlatforms": ["all"], "excludePlatforms": ["linux"]}),
            linux.clone(),
            "does not apply: platforms",
        ),
        ("platforms", json!({"includePlatforms": ["all"], "excludePlatforms": ["iOS"]}), linux.clone(), "applies"),
        ("platforms", json!({"includePlatforms": ["windows", "Linux"]}), linux, "applies"),
        ("signInRiskLevels", json!(["high", "medium"]), risky.clone(), "applies"),
        ("signInRiskLevels", json!(["low"]), risky.clone(), "does not apply: signInRiskLevels"),
        ("userRiskLevels", json!(["low"]), risky.clone(), "depends: userRiskLevels"),
        ("insiderRiskLevels", json!("minor,elevated"), risky, "depends: insiderRiskLevels"),
        ("authenticationFlows", json!({"transferMethods": "deviceCodeFlow,authenticationTransfer"}), code, "applies"),
        (
            "authenticationFlows",
            json!({"transferMethods": "deviceCodeFlow"}),
            plain,
            "does not apply: authenticationFlows",
        ),
        ("authenticationFlows", json!({"transferMethods": "deviceCodeFlow"}), app(), "depends: authenticationFlows"),
        ("authenticationFlows", json!({"transferMethods": "none"}), app(), "applies"),
        ("moonPhase", json!("full"), app(), "depends: moonPhase"),
        ("moonPhase", json!(null), app(), "applies"),
    ] {
        check(&[(path, value)], &sign_in, expected);
    }
}

#[test]
fn places_by_address_country_and_name() {
    let from = |address: &str| SignIn {
        place: Place { address: Some(address.parse().unwrap()), ..Place::default() },
        ..app()
    };
    let country = |code: &str| SignIn { place: Place { country: Some(code.to_owned()), ..Place::default() }, ..app() };
    let named = |id: &str| SignIn { place: Place { location: Some(id.to_owned()), ..Place::default() }, ..app() };
    let only = |include: &[&str], exclude: &[&str]| json!({"includeLocations": include, "excludeLocations": exclude});
    const NO: &str = "does not apply: locations";
    const OPEN: &str = "depends: locations";
    for (lists, sign_in, expected) in [
        (only(&["All"], &[]), app(), "applies"),
        (only(&["All"], &["AllTrusted"]), from("192.0.2.7"), NO),
        (only(&["All"], &["AllTrusted"]), from("192.0.3.7"), "applies"),
        (only(&["All"], &["AllTrusted"]), app(), OPEN),
        (only(&["AllTrusted"], &[]), from("192.0.2.7"), "applies"),
        (only(&["AllTrusted"], &[]), from("::ffff:192.0.2.7"), "applies"),
        (only(&["All"], &["AllTrusted"]), named("hq"), NO),
        (only(&["All"], &["AllTrusted"]), named("branch"), OPEN),
        (only(&["branch"], &[]), from("2001:db8:1:ffff::1"), "applies"),
        (only(&["branch"], &[]), from("2001:db8:2::1"), OPEN),
        (only(&["hq"], &[]), from("2001:db8:2::1"), NO),
        (only(&["north"], &[]), country("fi"), "applies"),
        (only(&["north"], &[]), country("SE"), NO),
        (only(&["north"], &[]), country("unknown"), "applies"),
        (only(&["north"], &[]), from("192.0.2.7"), OPEN),
        (only(&["All"], &["00000000-0000-0000-0000-000000000000"]), from("192.0.2.7"), OPEN),
    ] {
        check(&[("locations", lists)], &sign_in, expected);
    }
}

#[test]
fn devices_by_rules() {
    let saw = json!({"trustType": "ServerAd", "isCompliant": false, "displayName": "SAW-1", "physicalIds": ["[ZTDId]:1"],
        "operatingSystem": "Windows", "model": null, "extensionAttributes": {"extensionAttribute1": "SAW"}});
    let loose =
        json!({"trustType": "Workplace", "isCompliant": false, "extensionAttributes": {"extensionAttribute1": "SAW"}});
    let (saw, loose) = (Device::Registered(saw), Device::Registered(loose));
    use Truth::{Depends, No, Yes};
    for (rule, device, expected) in [
        (r#"device.extensionAttribute1 -eq "SAW""#, &saw, Yes),
        (r#"device.extensionAttribute1 -ne "SAW""#, &saw, No),
        (r#"device.extensionAttribute1 -eq "SAW""#, &loose, Depends),
        (r#"device.extensionAttribute1 -eq "SAW""#, &Device::Unregistered, No),
        (r#"device.extensionAttribute1 -ne "SAW""#, &Device::Unregistered, Yes),
        (r#"device.extensionAttribute1 -notIn ["SAW"]"#, &Device::Unregistered, Yes),
        (r#"device.isCompliant -eq True"#, &Device::Unknown, Depends),
        (r#"device.isCompliant -eq True -or device.trustType -eq "ServerAD""#, &saw, Yes),
        (r#"device.isCompliant -eq True -and device.trustType -eq "ServerAD""#, &saw, No),
        (r#"device.isCompliant -eq True -and device.nothing -eq "x""#, &saw, No),
        (r#"device.isCompliant -eq False -and device.nothing -eq "x""#, &saw, Depends),
        (r#"-not (device.isCompliant -eq "True") -and (device.displayName -startsWith "saw")"#, &saw, Yes),
        (r#"(device.model -contains "x") -or (device.physicalIds -contains "[ZTDId]:1")"#, &saw, Yes),
        (r#"device.physicalIds -contains "ZTDId""#, &saw, No),
        (r#"device.model -eq null"#, &saw, Yes),
        (r#"device.operatingSystem -in ["iOS", "Windows"]"#, &saw, Yes),
        (r#"device.displayName -endsWith "-1" -and device.displayName -notContains "x""#, &saw, Yes),
        // -and binds more than -or.
        (r#"device.displayName -eq "x" -and device.displayName -eq "y" -or device.displayName -eq "saw-1""#, &saw, Yes),
        (r#"device.displayName -resembles "x""#, &saw, Depends),
        (r#"device.displayName -resembles "x""#, &Device::Unregistered, Depends),
        (r#"device.displayName -eq "x"#, &saw, Depends),
        (r#"(device.displayName -eq "SAW-1""#, &saw, Depends),
        (r#"user.name -eq "x""#, &saw, Depends),
        ("", &saw, Depends),
    ] {
        assert_eq!(filter::fits(rule, device), expected, "{rule} {device:?}");
    }
    assert_eq!(filter::fits(&"(".repeat(3000), &saw), Depends, "and no stack is lost");
    let filter = |mode: &str| json!({"deviceFilter": {"mode": mode, "rule": r#"device.displayName -eq "SAW-1""#}});
    let on = |device: &Device| SignIn { device: device.clone(), ..app() };
    check(&[("devices", filter("include"))], &on(&saw), "applies");
    check(&[("devices", filter("exclude"))], &on(&saw), "does not apply: devices");
    check(&[("devices", filter("exclude"))], &on(&Device::Unregistered), "applies");
    check(&[("devices", filter("include"))], &on(&Device::Unknown), "depends: devices");
}

/// One condition that surely doesn't hold settles it, whatever else isn't known.
#[test]
fn what_is_unmet_counts_for_more_than_what_is_open() {
    let changes =
        [("clientAppTypes", json!(["browser"])), ("moonPhase", json!("full")), ("userRiskLevels", json!(["high"]))];
    let sign_in = SignIn { client: Some("other".to_owned()), ..app() };
    check(&changes, &sign_in, "does not apply: clientAppTypes, userRiskLevels, moonPhase");
}

#[test]
fn controls_that_force_several_factors() {
    let strength =
        |id: &str, satisfied: Value| json!({"id": id, "displayName": "S", "requirementsSatisfied": satisfied});
    let phishing = "00000000-0000-0000-0000-000000000004";
    use Truth::{Depends, No, Yes};
    for (grant, expected, words) in [
        (json!({"operator": "OR", "builtInControls": ["mfa"]}), Yes, "mfa"),
        (json!({"operator": "OR", "builtInControls": ["mfa", "compliantDevice"]}), No, "mfa or compliantDevice"),
        (json!({"operator": "AND", "builtInControls": ["mfa", "compliantDevice"]}), Yes, "mfa and compliantDevice"),
        (json!({"operator": "OR", "builtInControls": ["block"]}), No, "block"),
        (
            json!({"operator": "OR", "builtInControls": [], "authenticationStrength": strength(phishing, json!(null))}),
            Yes,
            "strength S",
        ),
        (json!({"operator": "OR", "authenticationStrength": strength("own", json!("mfa"))}), Yes, "strength S"),
        (json!({"operator": "OR", "authenticationStrength": strength("own", json!("none"))}), No, "strength S"),
        (json!({"operator": "OR", "authenticationStrength": strength("own", json!(null))}), Depends, "strength S"),
        (json!({"operator": "OR", "builtInControls": ["mfa"], "termsOfUse": ["t"]}), No, "mfa or terms of use t"),
        (json!(null), No, ""),
    ] {
        let policy = policy(&[("grantControls", grant.clone())]);
        assert_eq!(
            (policy.controls.requires_mfa(), policy.controls.grant_words().as_str()),
            (expected, words),
            "{grant}"
        );
    }
    let sessions = json!({"signInFrequency": {"isEnabled": true, "value": 4}, "persistentBrowser": null,
        "cloudAppSecurity": {"isEnabled": false}, "disableResilienceDefaults": true});
    assert_eq!(
        policy(&[("sessionControls", sessions)]).controls.session_words(),
        "signInFrequency, disableResilienceDefaults"
    );
}

#[test]
fn controls_that_old_clients_cannot_satisfy() {
    use Truth::{No, Yes};
    for (operator, controls, terms, expected) in [
        ("OR", json!(["block"]), json!([]), Yes),
        ("OR", json!(["mfa"]), json!([]), Yes),
        ("OR", json!(["mfa", "compliantDevice", "domainJoinedDevice"]), json!(["t"]), Yes),
        ("OR", json!(["mfa", "approvedApplication"]), json!([]), No),
        ("AND", json!(["mfa", "approvedApplication"]), json!([]), Yes),
        ("OR", json!(["passwordChange"]), json!([]), No),
        ("OR", json!([]), json!([]), No),
    ] {
        let grant = json!({"operator": operator, "builtInControls": controls, "termsOfUse": terms});
        assert_eq!(policy(&[("grantControls", grant.clone())]).controls.stops_old_clients(), expected, "{grant}");
    }
}

#[test]
fn limits_name_the_conditions_that_keep_a_policy_from_some_sign_ins() {
    let limits = |path: &str, value: Value| policy(&[(&format!("conditions/{path}"), value)]).limits().join(", ");
    assert_eq!(limits("clientAppTypes", json!(["all"])), "");
    assert_eq!(limits("clientAppTypes", json!(["browser", "mobileAppsAndDesktopClients"])), "");
    assert_eq!(limits("clientAppTypes", json!(["browser"])), "clientAppTypes");
    assert_eq!(limits("locations", json!({"includeLocations": ["All"], "excludeLocations": []})), "");
    assert_eq!(limits("locations", json!({"includeLocations": ["All"], "excludeLocations": ["hq"]})), "locations");
    assert_eq!(limits("applications/excludeApplications", json!(["x"])), "applications");
    assert_eq!(limits("userRiskLevels", json!(["high"])), "userRiskLevels");
    assert_eq!(limits("moonPhase", json!("full")), "moonPhase");
}

#[test]
fn states_and_what_is_no_policy() {
    for (state, expected) in [
        ("enabled", State::Enabled),
        ("disabled", State::Disabled),
        ("enabledForReportingButNotEnforced", State::ReportOnly),
        ("new", State::Other("new".to_owned())),
    ] {
        assert_eq!(policy(&[("state", json!(state))]).state, expected);
    }
    assert!(Policy::read(&json!({"id": "p"})).is_none());
}
