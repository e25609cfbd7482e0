//! Users: everybody's properties, from a name to a licence.
//!
//! Must never know: groups, applications, or what will become of anybody.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::dice::Dice;
use super::directory::seconds;
use super::words::{COMPANY, DEPARTMENTS, DOMAIN, GIVEN, OFFICES, PARTNERS, SURNAMES};

/// SKU ids and the plans in them; the ids are invented.
pub(super) const SKUS: &[(&str, &str, &str)] = &[
    ("5d3f6a10-0b1e-4c7a-9a51-1c0de0000001", "5d3f6a10-0b1e-4c7a-9a51-1c0de0000011", "exchange"),
    ("5d3f6a10-0b1e-4c7a-9a51-1c0de0000002", "5d3f6a10-0b1e-4c7a-9a51-1c0de0000012", "SharePoint"),
    ("5d3f6a10-0b1e-4c7a-9a51-1c0de0000003", "5d3f6a10-0b1e-4c7a-9a51-1c0de0000013", "AADPremiumService"),
];

/// What a new user is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// An employee.
    Member,
    /// Somebody of a partner company.
    Guest,
    /// An account for emergencies.
    BreakGlass,
}

/// The number of departments.
pub(super) fn departments() -> usize {
    DEPARTMENTS.len()
}

/// Department and job title at `rank` (0 to 3) in department `number`.
pub(super) fn post(number: usize, rank: usize) -> (&'static str, &'static str) {
    let (department, titles) = DEPARTMENTS[number];
    (department, titles[rank.min(titles.len() - 1)])
}

/// A new user. `number` must never repeat: it keeps the names apart.
pub(super) fn user(
    dice: &mut Dice,
    sort: Sort,
    number: usize,
    department: usize,
    rank: usize,
    created: Timestamp,
) -> Value {
    match sort {
        Sort::Member => member(dice, number, department, rank, created),
        Sort::Guest => guest(dice, number, created),
        Sort::BreakGlass => break_glass(dice, number, created),
    }
}

fn member(dice: &mut Dice, number: usize, department: usize, rank: usize, created: Timestamp) -> Value {
    let id = dice.guid();
    let (given, surname) = (*dice.pick(GIVEN), *dice.pick(SURNAMES));
    let nickname = format!("{}.{}{number}", given.to_lowercase(), surname.to_lowercase());
    let mail = format!("{nickname}@{DOMAIN}");
    let (department, title) = post(department, rank);
    let office = *dice.pick(OFFICES);
    let [city, state, country, code, street, postal, language, phone] = office;
    let desk = format!("{:02}", dice.below(100));
    let synced = dice.chance(0.5);
    let mut user = json!({
        "id": id,
        "accountEnabled": true,
        "businessPhones": [format!("{phone}{desk}")],
        "displayName": format!("{given} {surname}"),
        "givenName": given,
        "surname": surname,
        "jobTitle": title,
        "department": department,
        "companyName": COMPANY,
        "mail": mail,
        "mailNickname": nickname,
        "userPrincipalName": mail,
        "userType": "Member",
        "officeLocation": format!("{}/{}", &city[..1], 100 + dice.below(300)),
        "streetAddress": format!("{street} {}", 1 + dice.below(80)),
        "city": city,
        "state": state,
        "country": country,
        "postalCode": postal,
        "usageLocation": code,
        "preferredLanguage": language,
        "employeeId": format!("{:06}", 100_000 + number),
        "employeeType": if dice.chance(0.9) { "Employee" } else { "Contractor" },
        "employeeHireDate": seconds(created),
        "employeeOrgData": {"division": format!("{COMPANY} {code}"), "costCenter": format!("{}{:03}", code, dice.below(60))},
        "createdDateTime": seconds(created),
        "identities": [{"signInType": "userPrincipalName", "issuer": DOMAIN, "issuerAssignedId": mail}],
        "proxyAddresses": [format!("SMTP:{mail}"), format!("smtp:{}{number}@{DOMAIN}", given.to_lowercase())],
        "imAddresses": [mail],
        "lastPasswordChangeDateTime": seconds(created),
        "signInSessionsValidFromDateTime": seconds(created),
        "securityIdentifier": sid(dice),
        "showInAddressList": true,
    });
    if dice.chance(0.6) {
        user["mobilePhone"] = json!(format!("{phone}{:02}{:02}", dice.below(100), dice.below(100)));
    }
    if dice.chance(0.1) {
        user["faxNumber"] = json!(format!("{phone}99"));
    }
    if dice.chance(0.05) {
        user["ageGroup"] = json!("Adult");
        user["legalAgeGroupClassification"] = json!("Adult");
    }
    if dice.chance(0.1) {
        user["passwordPolicies"] = json!("DisablePasswordExpiration");
    }
    if dice.chance(0.03) {
        let clearance = ["Confidential", "Internal", "Secret"][dice.below(3)];
        user["customSecurityAttributes"] =
            json!({"Plant": {"@odata.type": "#microsoft.graph.customSecurityAttributeValue", "Clearance": clearance}});
    }
    user["passwordProfile"] = json!({"forceChangePasswordNextSignIn": false, "forceChangePasswordNextSignInWithMfa": false, "password": null});
    license(dice, &mut user, created);
    if synced {
        sync(dice, &mut user, city, created);
    }
    user
}

/// A security identifier such as cloud objects have.
pub(super) fn sid(dice: &mut Dice) -> String {
    let mut part = || dice.bits() as u32;
    format!("S-1-12-1-{}-{}-{}-{}", part(), part(), part(), part())
}

fn license(dice: &mut Dice, user: &mut Value, at: Timestamp) {
    let count = 1 + dice.below(SKUS.len());
    let skus = &SKUS[..count];
    let list = |each: &dyn Fn(&(&str, &str, &str)) -> Value| Value::Array(skus.iter().map(each).collect());
    user["assignedLicenses"] = list(&|(sku, _, _)| json!({"disabledPlans": [], "skuId": sku}));
    user["assignedPlans"] = list(
        &|(_, plan, service)| json!({"assignedDateTime": seconds(at), "capabilityStatus": "Enabled", "service": service, "servicePlanId": plan}),
    );
    user["provisionedPlans"] = list(
        &|(_, _, service)| json!({"capabilityStatus": "Enabled", "provisioningStatus": "Success", "service": service}),
    );
}

/// What a user brings along from a directory on premises.
fn sync(dice: &mut Dice, user: &mut Value, city: &str, at: Timestamp) {
    let upn = user["userPrincipalName"].clone();
    let name = user["displayName"].as_str().unwrap_or_default().to_owned();
    let account = user["mailNickname"].as_str().unwrap_or_default().replace('.', "");
    let immutable = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, dice.bytes::<16>());
    user["onPremisesSyncEnabled"] = json!(true);
    user["onPremisesDistinguishedName"] = json!(format!("CN={name},OU={city},OU=Staff,DC=larkmoor,DC=example"));
    user["onPremisesDomainName"] = json!(DOMAIN);
    user["onPremisesImmutableId"] = json!(immutable);
    user["onPremisesLastSyncDateTime"] = json!(seconds(at));
    user["onPremisesSamAccountName"] = json!(account);
    user["onPremisesSecurityIdentifier"] =
        json!(format!("S-1-5-21-{}-{}-{}-{}", 1_204_417, 88_213, 553_190, 1000 + dice.below(900_000)));
    user["onPremisesUserPrincipalName"] = upn;
    let attributes: serde_json::Map<String, Value> = (1..=15)
        .map(|number| {
            let set = number <= 2;
            (
                format!("extensionAttribute{number}"),
                if set { json!(format!("L{}", dice.below(40))) } else { Value::Null },
            )
        })
        .collect();
    user["onPremisesExtensionAttributes"] = Value::Object(attributes);
}

fn guest(dice: &mut Dice, number: usize, created: Timestamp) -> Value {
    let (given, surname) = (*dice.pick(GIVEN), *dice.pick(SURNAMES));
    let partner = *dice.pick(PARTNERS);
    let local = format!("{}.{}{number}", given.to_lowercase(), surname.to_lowercase());
    let mail = format!("{local}@{partner}");
    let upn = format!("{local}_{partner}#EXT#@{DOMAIN}");
    let accepted = dice.chance(0.8);
    json!({
        "id": dice.guid(),
        "accountEnabled": true,
        "displayName": format!("{given} {surname} (guest)"),
        "mail": mail,
        "mailNickname": format!("{local}_{partner}#EXT#"),
        "userPrincipalName": upn,
        "userType": "Guest",
        "creationType": "Invitation",
        "externalUserState": if accepted { "Accepted" } else { "PendingAcceptance" },
        "externalUserStateChangeDateTime": seconds(created + SignedDuration::from_hours(5)),
        "createdDateTime": seconds(created),
        "otherMails": [mail],
        "proxyAddresses": [format!("SMTP:{mail}")],
        "identities": [{"signInType": "userPrincipalName", "issuer": DOMAIN, "issuerAssignedId": upn}],
        "signInSessionsValidFromDateTime": seconds(created),
        "securityIdentifier": sid(dice),
    })
}

fn break_glass(dice: &mut Dice, number: usize, created: Timestamp) -> Value {
    let upn = format!("break.glass{number}@{DOMAIN}");
    json!({
        "id": dice.guid(),
        "accountEnabled": true,
        "displayName": format!("Break Glass {number}"),
        "mailNickname": format!("break.glass{number}"),
        "userPrincipalName": upn,
        "userType": "Member",
        "passwordPolicies": "DisablePasswordExpiration",
        "createdDateTime": seconds(created),
        "identities": [{"signInType": "userPrincipalName", "issuer": DOMAIN, "issuerAssignedId": upn}],
        "lastPasswordChangeDateTime": seconds(created),
        "signInSessionsValidFromDateTime": seconds(created),
        "securityIdentifier": sid(dice),
        "showInAddressList": false,
    })
}
