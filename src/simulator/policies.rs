//! Directory roles, Conditional Access policies, named locations and the organization.
//!
//! Must never know: people, beyond the ids it is handed.
//!
//! Role template ids are the same in every tenant (Microsoft: "Microsoft Entra built-in roles").

use jiff::Timestamp;
use serde_json::{Value, json};

use super::dice::Dice;
use super::directory::seconds;
use super::words::{COMPANY, DOMAIN};

/// The role that may do everything.
pub(super) const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";

/// Built-in roles: name, template id, what it is for, an action it allows.
const ROLES: &[(&str, &str, &str, &str)] = &[
    ("Global Administrator", GLOBAL_ADMINISTRATOR, "Manages everything in the directory.", "allEntities/allTasks"),
    (
        "Privileged Role Administrator",
        "e8611ab8-c189-46e8-94e1-60213ab1f814",
        "Manages role assignments.",
        "roleAssignments/allProperties/allTasks",
    ),
    ("User Administrator", "fe930be7-5e62-47db-91af-98c3a49a38b1", "Manages users and groups.", "users/basic/update"),
    (
        "Application Administrator",
        "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",
        "Manages applications.",
        "applications/allProperties/allTasks",
    ),
    (
        "Cloud Application Administrator",
        "158c047a-c907-4556-b7ef-446551a6b5f7",
        "Manages cloud applications.",
        "applications/basic/update",
    ),
    (
        "Conditional Access Administrator",
        "b1be1c3e-b65d-4f19-8427-f6fa0d97feb9",
        "Manages Conditional Access.",
        "conditionalAccessPolicies/allProperties/allTasks",
    ),
    (
        "Security Administrator",
        "194ae4cb-b126-40b2-bd5b-6091b380977d",
        "Manages security settings.",
        "identityProtection/allProperties/update",
    ),
    (
        "Security Reader",
        "5d6b6bb7-de71-4623-b4af-96380a352509",
        "Reads security settings.",
        "identityProtection/allProperties/read",
    ),
    ("Global Reader", "f2ef992c-3afb-46b9-b7cf-a126ee74c451", "Reads everything.", "allEntities/allProperties/read"),
    ("Helpdesk Administrator", "729827e3-9c14-49f7-bb1b-9608f156bbb8", "Resets passwords.", "users/password/update"),
    ("Groups Administrator", "fdd7a751-b60b-444a-984c-02652fe8fa1c", "Manages groups.", "groups/allProperties/update"),
    (
        "Exchange Administrator",
        "29232cdf-9323-42fd-ade2-1d097af3e4de",
        "Manages mailboxes.",
        "groups.unified/basic/update",
    ),
];

/// All role definitions: the built-in ones, and one of the company's own.
pub(super) fn role_definitions(dice: &mut Dice) -> Vec<Value> {
    let definition = |name: &str, id: &str, text: &str, action: &str, built_in: bool| {
        json!({
            "id": id, "description": text, "displayName": name, "isBuiltIn": built_in, "isEnabled": true,
            "resourceScopes": ["/"], "templateId": id, "version": "1",
            "rolePermissions": [{"allowedResourceActions": [format!("microsoft.directory/{action}")], "condition": null}],
        })
    };
    let mut all: Vec<Value> =
        ROLES.iter().map(|(name, id, text, action)| definition(name, id, text, action, true)).collect();
    let own = dice.guid();
    all.push(definition(
        "Secret Rotator",
        &own,
        "Rotates secrets of internal applications.",
        "applications/credentials/update",
        false,
    ));
    all
}

/// The ids of roles that people of the company are given from time to time.
pub(super) fn grantable_roles() -> impl Iterator<Item = &'static str> {
    ROLES.iter().skip(2).map(|(_, id, _, _)| *id)
}

/// The policies at the founding. `except` is the group of break-glass accounts, `trusted` a named location, `pilot` a
/// group. The first is the one that asks everybody for a second factor; the last uses a condition only beta knows.
pub(super) fn conditional_access(
    dice: &mut Dice,
    except: &str,
    trusted: &str,
    pilot: &str,
    at: Timestamp,
) -> Vec<Value> {
    let mfa = json!({"operator": "OR", "builtInControls": ["mfa"], "customAuthenticationFactors": [], "termsOfUse": [], "authenticationStrength": null});
    let block = json!({"operator": "OR", "builtInControls": ["block"], "customAuthenticationFactors": [], "termsOfUse": [], "authenticationStrength": null});
    let device = json!({"operator": "OR", "builtInControls": ["compliantDevice", "domainJoinedDevice"], "customAuthenticationFactors": [], "termsOfUse": [], "authenticationStrength": null});
    let roles: Vec<&str> = ROLES.iter().take(6).map(|(_, id, _, _)| *id).collect();
    let mut policy = |name: &str, state: &str, controls: &Value, change: &dyn Fn(&mut Value)| {
        let mut policy = json!({
            "id": dice.guid(), "templateId": null, "displayName": name,
            "createdDateTime": seconds(at), "modifiedDateTime": null, "state": state,
            "conditions": {
                "userRiskLevels": [], "signInRiskLevels": [], "servicePrincipalRiskLevels": [], "clientAppTypes": ["all"],
                "insiderRiskLevels": null, "platforms": null, "locations": null, "devices": null,
                "clientApplications": null, "authenticationFlows": null,
                "applications": {
                    "includeApplications": ["All"], "excludeApplications": [], "includeUserActions": [],
                    "includeAuthenticationContextClassReferences": [], "applicationFilter": null
                },
                "users": {
                    "includeUsers": ["All"], "excludeUsers": [], "includeGroups": [], "excludeGroups": [except],
                    "includeRoles": [], "excludeRoles": [], "includeGuestsOrExternalUsers": null,
                    "excludeGuestsOrExternalUsers": null
                }
            },
            "grantControls": controls, "sessionControls": null,
        });
        change(&mut policy);
        policy
    };
    vec![
        policy("CA01 Second factor for everybody", "enabled", &mfa, &|_| {}),
        policy("CA02 Block old protocols", "enabled", &block, &|p| {
            p["conditions"]["clientAppTypes"] = json!(["exchangeActiveSync", "other"])
        }),
        policy("CA03 Second factor for administrators", "enabled", &mfa, &|p| {
            p["conditions"]["users"]["includeUsers"] = json!([]);
            p["conditions"]["users"]["includeRoles"] = json!(roles);
        }),
        policy("CA04 Managed devices outside the offices", "enabledForReportingButNotEnforced", &device, &|p| {
            p["conditions"]["locations"] = json!({"includeLocations": ["All"], "excludeLocations": [trusted]});
        }),
        policy("CA05 Block risky sign-ins", "enabled", &block, &|p| {
            p["conditions"]["signInRiskLevels"] = json!(["high"])
        }),
        policy("CA06 Guests sign in daily", "enabled", &mfa, &|p| {
            p["conditions"]["users"]["includeUsers"] = json!(["GuestsOrExternalUsers"]);
            p["sessionControls"] = json!({"signInFrequency": {
                "value": 1, "type": "days", "isEnabled": true, "authenticationType": "primaryAndSecondaryAuthentication",
                "frequencyInterval": "timeBased"
            }});
        }),
        policy("CA07 Pilot of token protection", "disabled", &mfa, &|p| {
            p["conditions"]["users"]["includeUsers"] = json!([]);
            p["conditions"]["users"]["includeGroups"] = json!([pilot]);
        }),
        policy("CA08 Risky agents", "enabledForReportingButNotEnforced", &block, &|p| {
            p["conditions"]["agentIdRiskLevels"] = json!("high")
        }),
    ]
}

/// A policy that holds for a while and for a few.
pub(super) fn campaign(dice: &mut Dice, name: &str, group: &str, at: Timestamp) -> Value {
    let mut policies = conditional_access(dice, group, "AllTrusted", group, at);
    let mut policy = policies.swap_remove(6);
    policy["displayName"] = json!(name);
    policy
}

/// A named location that is used for a while.
pub(super) fn fair(dice: &mut Dice, name: &str, at: Timestamp) -> Value {
    let mut location = named_locations(dice, at).swap_remove(2);
    location["displayName"] = json!(name);
    location
}

/// Named locations at the founding, the trusted offices first.
pub(super) fn named_locations(dice: &mut Dice, at: Timestamp) -> Vec<Value> {
    let mut ip = |name: &str, trusted: bool, ranges: Value| {
        json!({
            "@odata.type": "#microsoft.graph.ipNamedLocation", "id": dice.guid(), "displayName": name,
            "modifiedDateTime": seconds(at), "createdDateTime": seconds(at), "isTrusted": trusted, "ipRanges": ranges,
        })
    };
    let mut all = vec![
        ip("Offices", true, json!([range("192.0.2.0/26"), range("192.0.2.64/27"), range("2001:db8:10::/48")])),
        ip("Plants", true, json!([range("198.51.100.0/25")])),
        ip("Remote access", false, json!([range("203.0.113.0/28")])),
    ];
    let mut country = |name: &str, codes: &[&str], unknown: bool| {
        json!({
            "@odata.type": "#microsoft.graph.countryNamedLocation", "id": dice.guid(), "displayName": name,
            "modifiedDateTime": seconds(at), "createdDateTime": seconds(at), "countriesAndRegions": codes,
            "includeUnknownCountriesAndRegions": unknown, "countryLookupMethod": "clientIpAddress",
        })
    };
    all.push(country("Where we have offices", &["NO", "DE", "GB", "FR", "ES", "US"], false));
    all.push(country("Nowhere we go", &["AQ"], true));
    all
}

/// A range of addresses as named locations hold it. Addresses are those set apart for documentation.
pub(super) fn range(cidr: &str) -> Value {
    let version = if cidr.contains(':') { "iPv6CidrRange" } else { "iPv4CidrRange" };
    json!({"@odata.type": format!("#microsoft.graph.{version}"), "cidrAddress": cidr})
}

/// The names that the tenant may use: its own, and the one it was born with.
pub(super) fn domains() -> Vec<Value> {
    let domain = |name: String, is_initial: bool| {
        json!({
            "id": name, "authenticationType": "Managed", "isAdminManaged": true, "isDefault": !is_initial,
            "isInitial": is_initial, "isRoot": !is_initial, "isVerified": true, "passwordNotificationWindowInDays": 14,
            "passwordValidityPeriodInDays": 2_147_483_647, "supportedServices": ["Email", "OfficeCommunicationsOnline"],
        })
    };
    vec![domain(DOMAIN.to_owned(), false), domain(format!("initial.{DOMAIN}"), true)]
}

/// The tenant's own object.
pub(super) fn organization(tenant_id: &str, size: usize, at: Timestamp) -> Value {
    json!({
        "id": tenant_id, "displayName": COMPANY, "businessPhones": ["+47 77 5500"], "city": "Tromsdal", "country": "Norway",
        "countryLetterCode": "NO", "createdDateTime": seconds(at), "defaultUsageLocation": "NO", "postalCode": "9020",
        "preferredLanguage": "en", "street": "Fjordgata 1", "tenantType": "AAD", "onPremisesSyncEnabled": true,
        "technicalNotificationMails": [format!("it@{DOMAIN}")],
        "directorySizeQuota": {"used": size, "total": 300_000},
        "privacyProfile": {"contactEmail": format!("privacy@{DOMAIN}"), "statementUrl": format!("https://www.{DOMAIN}/privacy")},
        "verifiedDomains": [
            {"capabilities": "Email, OfficeCommunicationsOnline", "isDefault": true, "isInitial": false, "name": DOMAIN, "type": "Managed"},
            {"capabilities": "Email, OfficeCommunicationsOnline", "isDefault": false, "isInitial": true, "name": format!("initial.{DOMAIN}"), "type": "Managed"},
        ],
    })
}
