//! App registrations, service principals, and what is granted to them.
//!
//! Must never know: which of them exist already.
//!
//! App ids of first-party services and permission ids of Microsoft Graph are public and the same in every tenant
//! (Microsoft: "Verify first-party Microsoft applications in sign-in reports", "Microsoft Graph permissions reference").

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::dice::Dice;
use super::directory::seconds;
use super::words::DOMAIN;

/// The app id of Microsoft Graph in every tenant.
pub(super) const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";

/// Name and app id of first-party services that the tenant has, Microsoft Graph first.
pub(super) const FIRST_PARTY: &[(&str, &str)] = &[
    ("Microsoft Graph", GRAPH_APP_ID),
    ("Office 365 Exchange Online", "00000002-0000-0ff1-ce00-000000000000"),
    ("Office 365 SharePoint Online", "00000003-0000-0ff1-ce00-000000000000"),
    ("Windows Azure Service Management API", "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
    ("Azure Portal", "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"),
];

/// Application permissions of Microsoft Graph: value and app role id.
pub(super) const GRAPH_ROLES: &[(&str, &str)] = &[
    ("User.Read.All", "df021288-bdef-4463-88db-98f22de89214"),
    ("Group.Read.All", "5b567255-7703-4780-807c-7be8301ae99b"),
    ("Directory.Read.All", "7ab1d382-f21e-4acd-a863-ba3e13f7da61"),
    ("Application.Read.All", "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"),
    ("Mail.Send", "b633e1c5-b582-4048-a93e-9f11b44c7e96"),
    (ESCALATION.0, ESCALATION.1),
];

/// The permission that lets its holder grant itself any directory role.
pub(super) const ESCALATION: (&str, &str) =
    ("RoleManagement.ReadWrite.Directory", "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8");

/// A new app registration called `name`.
pub(super) fn application(dice: &mut Dice, name: &str, created: Timestamp) -> Value {
    let app_id = dice.guid();
    let host = name.to_lowercase().replace(' ', "-");
    let web = dice.chance(0.6);
    let redirects = if web { vec![format!("https://{host}.{DOMAIN}/signin-oidc")] } else { Vec::new() };
    let spa = if dice.chance(0.3) { vec![format!("https://{host}.{DOMAIN}/app")] } else { Vec::new() };
    let secrets: Vec<Value> = (0..dice.below(3)).map(|n| secret(dice, &format!("secret {}", n + 1), created)).collect();
    let keys: Vec<Value> = (0..usize::from(dice.chance(0.3))).map(|_| certificate(dice, name, created)).collect();
    let roles: Vec<Value> =
        if dice.chance(0.5) { vec![app_role(dice, "Reader"), app_role(dice, "Writer")] } else { Vec::new() };
    let scopes: Vec<Value> = if dice.chance(0.3) { vec![scope(dice, "access_as_user", name)] } else { Vec::new() };
    let wanted = (0..1 + dice.below(2)).map(|_| dice.pick(GRAPH_ROLES).1).collect::<std::collections::BTreeSet<_>>();
    let access: Vec<Value> = wanted.into_iter().map(|id| json!({"id": id, "type": "Role"})).collect();
    json!({
        "id": dice.guid(),
        "appId": app_id,
        "displayName": name,
        "createdDateTime": seconds(created),
        "publisherDomain": DOMAIN,
        "signInAudience": if dice.chance(0.9) { "AzureADMyOrg" } else { "AzureADMultipleOrgs" },
        "identifierUris": if scopes.is_empty() { json!([]) } else { json!([format!("api://{app_id}")]) },
        "notes": if dice.chance(0.2) { json!(format!("Kept by the team of {name}.")) } else { Value::Null },
        "tags": if dice.chance(0.3) { json!(["internal"]) } else { json!([]) },
        "api": {
            "acceptMappedClaims": null, "knownClientApplications": [], "requestedAccessTokenVersion": 2,
            "oauth2PermissionScopes": scopes, "preAuthorizedApplications": []
        },
        "appRoles": roles,
        "info": {
            "logoUrl": null, "marketingUrl": null, "privacyStatementUrl": null, "supportUrl": null, "termsOfServiceUrl": null
        },
        "keyCredentials": keys,
        "parentalControlSettings": {"countriesBlockedForMinors": [], "legalAgeGroupRule": "Allow"},
        "passwordCredentials": secrets,
        "publicClient": {"redirectUris": []},
        "requiredResourceAccess": [{"resourceAppId": GRAPH_APP_ID, "resourceAccess": access}],
        "verifiedPublisher": {"displayName": null, "verifiedPublisherId": null, "addedDateTime": null},
        "web": {
            "homePageUrl": null, "logoutUrl": null, "redirectUris": redirects,
            "implicitGrantSettings": {"enableAccessTokenIssuance": false, "enableIdTokenIssuance": web},
            "redirectUriSettings": []
        },
        "spa": {"redirectUris": spa},
        "servicePrincipalLockConfiguration": {
            "isEnabled": true, "allProperties": true, "credentialsWithUsageVerify": true,
            "credentialsWithUsageSign": true, "identifierUris": false, "tokenEncryptionKeyId": true
        },
    })
}

/// Metadata of a client secret that is good for half a year. Graph never tells the secret again after its creation.
pub(super) fn secret(dice: &mut Dice, name: &str, from: Timestamp) -> Value {
    json!({
        "customKeyIdentifier": null,
        "displayName": name,
        "endDateTime": seconds(from + SignedDuration::from_hours(24 * 180)),
        "hint": hex::encode(dice.bytes::<2>())[..3],
        "keyId": dice.guid(),
        "secretText": null,
        "startDateTime": seconds(from),
    })
}

fn certificate(dice: &mut Dice, name: &str, from: Timestamp) -> Value {
    json!({
        "customKeyIdentifier": hex::encode_upper(dice.bytes::<20>()),
        "displayName": format!("CN={}", name.replace(' ', "")),
        "endDateTime": seconds(from + SignedDuration::from_hours(24 * 365)),
        "key": STANDARD.encode(dice.bytes::<96>()),
        "keyId": dice.guid(),
        "startDateTime": seconds(from),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    })
}

fn app_role(dice: &mut Dice, value: &str) -> Value {
    json!({
        "allowedMemberTypes": ["User", "Application"], "description": format!("{value} of the application"),
        "displayName": value, "id": dice.guid(), "isEnabled": true, "origin": "Application", "value": value,
    })
}

fn scope(dice: &mut Dice, value: &str, name: &str) -> Value {
    let text = format!("Use {name} on your behalf");
    json!({
        "adminConsentDescription": text, "adminConsentDisplayName": text, "id": dice.guid(), "isEnabled": true,
        "type": "User", "userConsentDescription": null, "userConsentDisplayName": null, "value": value,
    })
}

/// The service principal of `application` in the tenant called `tenant_id`.
pub(super) fn principal(dice: &mut Dice, application: &Value, tenant_id: &str) -> Value {
    let app_id = &application["appId"];
    let replies: Vec<Value> = [&application["web"]["redirectUris"], &application["spa"]["redirectUris"]]
        .into_iter()
        .flat_map(|uris| uris.as_array().cloned().unwrap_or_default())
        .collect();
    json!({
        "id": dice.guid(),
        "accountEnabled": true,
        "appDisplayName": application["displayName"],
        "appId": app_id,
        "appOwnerOrganizationId": tenant_id,
        "appRoleAssignmentRequired": dice.chance(0.4),
        "displayName": application["displayName"],
        "notificationEmailAddresses": [],
        "replyUrls": replies,
        "servicePrincipalNames": [app_id],
        "servicePrincipalType": "Application",
        "signInAudience": application["signInAudience"],
        "tags": ["WindowsAzureActiveDirectoryIntegratedApp"],
        "appRoles": application["appRoles"],
        "oauth2PermissionScopes": application["api"]["oauth2PermissionScopes"],
        "info": application["info"],
        "verifiedPublisher": application["verifiedPublisher"],
    })
}

/// A service principal of Microsoft's own, number `index` of [`FIRST_PARTY`].
pub(super) fn first_party(dice: &mut Dice, index: usize) -> Value {
    let (name, app_id) = FIRST_PARTY[index];
    let graph = app_id == GRAPH_APP_ID;
    let roles: Vec<Value> = GRAPH_ROLES
        .iter()
        .map(|(value, id)| {
            json!({
                "allowedMemberTypes": ["Application"], "description": format!("Application permission {value}"),
                "displayName": value, "id": id, "isEnabled": true, "origin": "Application", "value": value,
            })
        })
        .collect();
    let scopes = if graph { vec![scope(dice, "User.Read", name), scope(dice, "Files.Read", name)] } else { Vec::new() };
    json!({
        "id": dice.guid(),
        "accountEnabled": true,
        "appDisplayName": name,
        "appId": app_id,
        // The tenant in which Microsoft keeps its own applications.
        "appOwnerOrganizationId": "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
        "appRoleAssignmentRequired": false,
        "displayName": name,
        "servicePrincipalNames": [app_id],
        "servicePrincipalType": "Application",
        "signInAudience": "AzureADMultipleOrgs",
        "appRoles": if graph { roles } else { Vec::new() },
        "oauth2PermissionScopes": scopes,
    })
}

/// An app role assignment. `principal` and `resource` are objects with `id` and `displayName`. Ids look as Graph's:
/// 43 characters of base64 for URLs, beginning with the principal's GUID, and case decides.
pub(super) fn assignment(
    dice: &mut Dice,
    principal: (&str, &str, &str),
    resource: (&str, &str),
    role: &str,
    at: Timestamp,
) -> Value {
    let (principal_id, principal_name, principal_type) = principal;
    let mut bytes = guid_bytes(principal_id);
    bytes.extend(dice.bytes::<16>());
    json!({
        "id": URL_SAFE_NO_PAD.encode(bytes),
        "appRoleId": role,
        "createdDateTime": at.strftime("%Y-%m-%dT%H:%M:%S.%6f0Z").to_string(),
        "principalDisplayName": principal_name,
        "principalId": principal_id,
        "principalType": principal_type,
        "resourceDisplayName": resource.1,
        "resourceId": resource.0,
    })
}

/// A delegated grant; for all users when there is no `principal`.
pub(super) fn grant(client: &str, resource: &str, principal: Option<&str>, scope: &str) -> Value {
    let bytes: Vec<u8> = [Some(client), Some(resource), principal].into_iter().flatten().flat_map(guid_bytes).collect();
    json!({
        "id": URL_SAFE_NO_PAD.encode(bytes),
        "clientId": client,
        "consentType": if principal.is_some() { "Principal" } else { "AllPrincipals" },
        "principalId": principal,
        "resourceId": resource,
        "scope": scope,
    })
}

/// A role assignment at the scope of the whole directory. The same role and principal always give the same id.
pub(super) fn role_assignment(role: &str, principal: &str) -> Value {
    let mut bytes = guid_bytes(role);
    bytes.extend(guid_bytes(principal));
    json!({
        "id": format!("{}-1", URL_SAFE_NO_PAD.encode(bytes)),
        "principalId": principal,
        "directoryScopeId": "/",
        "roleDefinitionId": role,
    })
}

/// A federated credential that trusts a workload of the company's own cluster.
pub(super) fn federated_credential(dice: &mut Dice, name: &str) -> Value {
    let host = name.to_lowercase().replace(' ', "-");
    json!({
        "id": dice.guid(),
        "name": format!("{host}-cluster"),
        "issuer": format!("https://oidc.{DOMAIN}/cluster"),
        "subject": format!("system:serviceaccount:{host}:runner"),
        "description": format!("Workload of {name}"),
        "audiences": ["api://AzureADTokenExchange"],
    })
}

fn guid_bytes(guid: &str) -> Vec<u8> {
    hex::decode(guid.replace('-', "")).unwrap_or_default()
}
