//! The settings of the tenant: policies of which there is one or a few, licences, federation.
//!
//! Must never know: people, beyond the ids it is handed.
//!
//! Shapes are those of the reference page of each type; ids that are the same in every tenant are Microsoft's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::collection::Collection;
use super::dice::Dice;
use super::directory::seconds;
use super::people::SKUS;
use super::words::{DOMAIN, PARTNERS};

/// Everything there is on the first day, in the order in which it is created.
pub(super) fn first_day(dice: &mut Dice, tenant: &str, pilot: &str, at: Timestamp) -> Vec<(Collection, Value)> {
    use Collection as C;
    let mut all = vec![
        (C::AuthorizationPolicy, authorization()),
        (C::SecurityDefaults, security_defaults()),
        (C::AuthenticationMethodsPolicy, methods_policy(at)),
        (
            C::CrossTenantAccessPolicy,
            json!({
                "id": dice.guid(), "deletedDateTime": null, "displayName": "CrossTenantAccessPolicy", "description": null,
                "allowedCloudEndpoints": [],
            }),
        ),
        (C::CrossTenantAccessPolicyDefault, cross_tenant_default()),
    ];
    let mut add = |collection: Collection, values: Vec<Value>| {
        all.extend(values.into_iter().map(|value| (collection, value)));
    };
    add(C::AuthenticationMethodConfiguration, methods(pilot));
    add(C::AuthenticationStrengthPolicy, strengths(dice, at));
    add(C::PermissionGrantPolicy, grant_policies(dice));
    add(C::AuthenticationContextClassReference, contexts());
    add(C::SubscribedSku, skus(tenant));
    let partners: Vec<Value> = (0..PARTNERS.len()).map(|place| partner(dice, place)).collect();
    add(C::CrossTenantAccessPolicyPartner, partners);
    all
}

fn authorization() -> Value {
    json!({
        "id": "authorizationPolicy", "deletedDateTime": null, "displayName": "Authorization Policy",
        "description": "Used to manage authorization related settings across the company.",
        "allowInvitesFrom": "adminsAndGuestInviters", "allowedToSignUpEmailBasedSubscriptions": true,
        "allowedToUseSSPR": true, "allowEmailVerifiedUsersToJoinOrganization": false,
        "allowUserConsentForRiskyApps": null, "blockMsolPowerShell": false,
        "guestUserRoleId": "10dae51f-b6af-4016-8d66-8c2a99b929b3",
        "defaultUserRolePermissions": {
            "allowedToCreateApps": false, "allowedToCreateSecurityGroups": true, "allowedToCreateTenants": false,
            "allowedToReadBitlockerKeysForOwnedDevice": true, "allowedToReadOtherUsers": true,
            "permissionGrantPoliciesAssigned": ["ManagePermissionGrantsForSelf.microsoft-user-default-low"],
        },
    })
}

fn security_defaults() -> Value {
    json!({
        "id": "00000000-0000-0000-0000-000000000005", "deletedDateTime": null, "displayName": "Security Defaults",
        "description": "Basic protection for tenants without policies of their own.", "isEnabled": false,
    })
}

fn methods_policy(at: Timestamp) -> Value {
    json!({
        "id": "authenticationMethodsPolicy", "displayName": "Authentication Methods Policy",
        "description": "Which methods may be used, registered and asked for in this tenant.",
        "lastModifiedDateTime": seconds(at), "policyVersion": "1.5", "policyMigrationState": "migrationComplete",
        "reconfirmationInDays": 180,
        "registrationEnforcement": {"authenticationMethodsRegistrationCampaign": {
            "snoozeDurationInDays": 1, "enforceRegistrationAfterAllowedSnoozes": true, "state": "default",
            "excludeTargets": [],
            "includeTargets": [
                {"id": "all_users", "targetType": "group", "targetedAuthenticationMethod": "microsoftAuthenticator"}
            ],
        }},
    })
}

fn methods(pilot: &str) -> Vec<Value> {
    let everybody = || json!([{"targetType": "group", "id": "all_users", "isRegistrationRequired": false}]);
    let method = |id: &str, enabled: bool, more: Value| {
        let kind = id[..1].to_lowercase() + &id[1..];
        let state = if enabled { "enabled" } else { "disabled" };
        let mut value = json!({
            "@odata.type": format!("#microsoft.graph.{kind}AuthenticationMethodConfiguration"), "id": id,
            "state": state, "excludeTargets": [],
        });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
            value.entry("includeTargets").or_insert_with(everybody);
        }
        value
    };
    vec![
        method(
            "Fido2",
            true,
            json!({
                "isSelfServiceRegistrationAllowed": true, "isAttestationEnforced": true,
                "keyRestrictions": {"isEnforced": false, "enforcementType": "block", "aaGuids": []},
                "includeTargets": [{"targetType": "group", "id": pilot, "isRegistrationRequired": false}],
            }),
        ),
        method(
            "MicrosoftAuthenticator",
            true,
            json!({
                "isSoftwareOathEnabled": false,
                "featureSettings": {"displayAppInformationRequiredState": {
                    "state": "enabled", "includeTarget": {"targetType": "group", "id": "all_users"},
                    "excludeTarget": {"targetType": "group", "id": "00000000-0000-0000-0000-000000000000"},
                }},
            }),
        ),
        method("Sms", false, json!({})),
        method(
            "TemporaryAccessPass",
            true,
            json!({
                "defaultLifetimeInMinutes": 60, "defaultLength": 8, "minimumLifetimeInMinutes": 60,
                "maximumLifetimeInMinutes": 480, "isUsableOnce": true,
            }),
        ),
        method("SoftwareOath", true, json!({})),
        method("Voice", false, json!({"isOfficePhoneAllowed": false})),
        method("Email", true, json!({"allowExternalIdToUseEmailOtp": "default"})),
        method(
            "X509Certificate",
            false,
            json!({
                "certificateUserBindings": [
                    {"x509CertificateField": "PrincipalName", "userProperty": "onPremisesUserPrincipalName", "priority": 1}
                ],
                "authenticationModeConfiguration": {
                    "x509CertificateAuthenticationDefaultMode": "x509CertificateSingleFactor", "rules": []
                },
            }),
        ),
    ]
}

fn strengths(dice: &mut Dice, at: Timestamp) -> Vec<Value> {
    let born = "2021-12-01T00:00:00Z";
    let mut strength = |id: Option<u8>, name: &str, text: &str, allowed: Value, combinations: Value| {
        let built_in = id.map(|id| format!("00000000-0000-0000-0000-00000000000{id}"));
        let kind = if built_in.is_some() { "builtIn" } else { "custom" };
        let time = if built_in.is_some() { born.to_owned() } else { seconds(at) };
        json!({
            "id": built_in.unwrap_or_else(|| dice.guid()), "createdDateTime": time, "modifiedDateTime": time,
            "displayName": name, "description": text, "policyType": kind, "requirementsSatisfied": "mfa",
            "allowedCombinations": allowed, "combinationConfigurations": combinations,
        })
    };
    let passwordless = json!(["windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor", "deviceBasedPush"]);
    let resistant = json!(["windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"]);
    let any = json!([
        "windowsHelloForBusiness",
        "fido2",
        "x509CertificateMultiFactor",
        "deviceBasedPush",
        "temporaryAccessPassOneTime",
        "password,microsoftAuthenticatorPush",
        "password,softwareOath",
        "password,sms",
    ]);
    let keys = json!([{
        "@odata.type": "#microsoft.graph.fido2CombinationConfiguration", "id": "5f3c2b1a-7d44-4c1e-9a86-2f0de0000001",
        "appliesToCombinations": ["fido2"], "allowedAAGUIDs": ["2fc0579f-8113-47ea-b116-bb5a8db9202a"],
    }]);
    vec![
        strength(Some(2), "Multifactor authentication", "Any two factors.", any, json!([])),
        strength(Some(3), "Passwordless MFA", "Two factors without a password.", passwordless, json!([])),
        strength(Some(4), "Phishing-resistant MFA", "Two factors that no page can steal.", resistant, json!([])),
        strength(None, "Keys of the plants", "Only the keys handed out in the plants.", json!(["fido2"]), keys),
    ]
}

fn grant_policies(dice: &mut Dice) -> Vec<Value> {
    let mut conditions = |kind: &str, class: &str, verified: bool| {
        json!({
            "id": dice.guid(), "permissionClassification": class, "permissionType": kind, "resourceApplication": "any",
            "permissions": ["all"], "clientApplicationIds": ["all"], "clientApplicationTenantIds": ["all"],
            "clientApplicationPublisherIds": ["all"], "clientApplicationsFromVerifiedPublisherOnly": verified,
        })
    };
    let all = [conditions("application", "all", false), conditions("delegated", "all", false)];
    let low = conditions("delegated", "low", true);
    let desk = conditions("delegated", "low", false);
    let policy = |id: &str, name: &str, text: &str, includes: Value| {
        json!({
            "id": id, "deletedDateTime": null, "displayName": name, "description": text, "includes": includes,
            "excludes": [],
        })
    };
    vec![
        policy("microsoft-company-admin", "Company Admin Policy", "What administrators may consent to.", json!(all)),
        policy("microsoft-user-default-low", "Default User Low Risk Policy", "Low risk, verified.", json!([low])),
        policy("service-desk", "Service desk", "What the service desk may consent to.", json!([desk])),
    ]
}

fn contexts() -> Vec<Value> {
    let context = |number: usize, name: &str, text: &str| json!({"id": format!("c{number}"), "displayName": name, "description": text, "isAvailable": true});
    vec![
        context(1, "Payments", "Approving payments"),
        context(2, "Drawings", "Opening drawings of unreleased instruments"),
        context(3, "Administration", "Activating roles"),
    ]
}

fn skus(tenant: &str) -> Vec<Value> {
    let names = ["LARK_MAIL", "LARK_OFFICE", "AAD_PREMIUM_P2"];
    let sku = |((sku, plan, service), name): (&(&str, &str, &str), &str)| {
        json!({
            "id": format!("{tenant}_{sku}"), "accountId": tenant, "accountName": DOMAIN, "appliesTo": "User",
            "capabilityStatus": "Enabled", "consumedUnits": 0, "skuId": sku, "skuPartNumber": name,
            "subscriptionIds": [plan.replace("5d3f6a10", "7e210b44")],
            "prepaidUnits": {"enabled": 100_000, "suspended": 0, "warning": 0, "lockedOut": 0},
            "servicePlans": [{
                "servicePlanId": plan, "servicePlanName": service.to_uppercase(), "provisioningStatus": "Success",
                "appliesTo": "User",
            }],
        })
    };
    SKUS.iter().zip(names).map(sku).collect()
}

fn access(kind: &str, target: &str, sort: &str) -> Value {
    json!({"accessType": kind, "targets": [{"target": target, "targetType": sort}]})
}

fn side(kind: &str) -> Value {
    json!({
        "usersAndGroups": access(kind, "AllUsers", "user"),
        "applications": access(kind, "AllApplications", "application"),
    })
}

fn cross_tenant_default() -> Value {
    json!({
        "id": "crossTenantAccessPolicyDefault", "isServiceDefault": false,
        "inboundTrust": {
            "isMfaAccepted": false, "isCompliantDeviceAccepted": false, "isHybridAzureADJoinedDeviceAccepted": false,
        },
        "b2bCollaborationOutbound": side("allowed"), "b2bCollaborationInbound": side("allowed"),
        "b2bDirectConnectOutbound": side("blocked"), "b2bDirectConnectInbound": side("blocked"),
        "automaticUserConsentSettings": {"inboundAllowed": false, "outboundAllowed": false},
        "tenantRestrictions": null,
    })
}

/// Cross-tenant access with the partner at `place` of the list of partners; users of the first are synchronised.
pub(super) fn partner(dice: &mut Dice, place: usize) -> Value {
    let id = dice.guid();
    let synchronised = place == 0;
    let name = PARTNERS.get(place).copied().unwrap_or("partner.example");
    let synchronization =
        synchronised.then(|| json!({"tenantId": id, "displayName": name, "userSyncInbound": {"isSyncAllowed": true}}));
    json!({
        "id": id, "tenantId": id, "isServiceProvider": false, "isInMultiTenantOrganization": synchronised,
        "inboundTrust": {
            "isMfaAccepted": true, "isCompliantDeviceAccepted": synchronised,
            "isHybridAzureADJoinedDeviceAccepted": false,
        },
        "b2bCollaborationInbound": side("allowed"), "b2bCollaborationOutbound": null,
        "b2bDirectConnectInbound": null, "b2bDirectConnectOutbound": null,
        "automaticUserConsentSettings": {"inboundAllowed": synchronised, "outboundAllowed": null},
        "tenantRestrictions": null, "identitySynchronization": synchronization,
    })
}

/// A domain whose users sign in elsewhere, and how they do.
pub(super) fn federated_domain(dice: &mut Dice) -> (Value, Value) {
    let name = format!("plants.{DOMAIN}");
    let domain = json!({
        "id": name, "authenticationType": "Federated", "isAdminManaged": true, "isDefault": false, "isInitial": false,
        "isRoot": false, "isVerified": true, "supportedServices": ["Email"],
    });
    let federation = json!({
        "id": dice.guid(), "displayName": "Sign-in of the plants", "issuerUri": format!("http://sts.{name}/adfs/services/trust"),
        "metadataExchangeUri": format!("https://sts.{name}/adfs/services/trust/mex"),
        "signingCertificate": certificate(dice), "nextSigningCertificate": null,
        "passiveSignInUri": format!("https://sts.{name}/adfs/ls"), "preferredAuthenticationProtocol": "wsFed",
        "activeSignInUri": format!("https://sts.{name}/adfs/services/trust/2005/usernamemixed"),
        "signOutUri": format!("https://sts.{name}/adfs/ls"), "promptLoginBehavior": "nativeSupport",
        "isSignedAuthenticationRequestRequired": false, "federatedIdpMfaBehavior": "rejectMfaByFederatedIdp",
        "passwordResetUri": null,
    });
    (domain, federation)
}

/// Bytes that stand for a certificate.
pub(super) fn certificate(dice: &mut Dice) -> String {
    STANDARD.encode(dice.bytes::<96>())
}
