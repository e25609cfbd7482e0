//! How applications are read, agent identity blueprints among them, and the federated credentials under each.
//!
//! Must never know: how another collection is read.

use super::recipe::{Feed, How, List, Recipe, RelationRead};
use crate::graph::Bucket;

/// Every property of an application but `logo`, a stream with an address of its own. Without keyCredentials in it, keys
/// come back null (learn, application-list).
pub(super) const SELECT: &[&str] = &[
    "id",
    "addIns",
    "api",
    "appId",
    "applicationTemplateId",
    "appRoles",
    "authenticationBehaviors",
    "certification",
    "createdByAppId",
    "createdDateTime",
    "defaultRedirectUri",
    "deletedDateTime",
    "description",
    "disabledByMicrosoftStatus",
    "displayName",
    "groupMembershipClaims",
    "identifierUris",
    "info",
    "isDeviceOnlyAuthSupported",
    "isDisabled",
    "isFallbackPublicClient",
    "keyCredentials",
    "managerApplications",
    "nativeAuthenticationApisEnabled",
    "notes",
    "oauth2RequirePostResponse",
    "optionalClaims",
    "parentalControlSettings",
    "passwordCredentials",
    "publicClient",
    "publisherDomain",
    "requestSignatureVerification",
    "requiredResourceAccess",
    "samlMetadataUrl",
    "serviceManagementReference",
    "servicePrincipalLockConfiguration",
    "signInAudience",
    "spa",
    "tags",
    "tokenEncryptionKeyId",
    "uniqueName",
    "verifiedPublisher",
    "web",
];

/// Applications. The blueprint's page is 100 at most and adds no property of its own (learn, agentidentityblueprint-list):
/// its list is not read, since the plain list and the feed show blueprints too.
pub(super) const APPLICATION: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/applications/delta", select: SELECT, guarded: &[] }),
        lists: &[List { top: Some(999), select: SELECT, ..List::plain("/v1.0/applications") }],
        count: Some("/v1.0/applications/$count"),
    },
    bucket: Bucket::KeyCredentials,
    relations: &[
        RelationRead::unfed("owners", "/v1.0/applications/{id}/owners?$select=id", "Application.Read.All"),
        RelationRead {
            kinds: &["agentIdentityBlueprint"],
            ..RelationRead::unfed(
                "sponsors",
                "/v1.0/applications/{id}/microsoft.graph.{kind}/sponsors?$select=id",
                "AgentIdentityBlueprint.Read.All",
            )
        },
    ],
    ..Recipe::listed("application", &[], "Application.Read.All")
};

/// What the agents of a blueprint inherit from it (agentidentityblueprint-list-inheritablepermissions): one object for each
/// blueprint, with all of it.
pub(super) const INHERITABLE_PERMISSION: Recipe = Recipe {
    how: How::Per {
        parent: "application",
        path: "/v1.0/applications/{id}/microsoft.graph.agentIdentityBlueprint/inheritablePermissions",
        kinds: &["agentIdentityBlueprint"],
        many: false,
    },
    ..Recipe::listed("inheritablePermission", &[], "AgentIdentityBlueprint.Read.All")
};

/// Federated credentials: no list over the tenant, no feed (learn, application-list-federatedidentitycredentials).
pub(super) const FEDERATED_IDENTITY_CREDENTIAL: Recipe = Recipe {
    how: How::Under {
        parent: "application",
        relation: "federatedIdentityCredentials",
        path: "/v1.0/applications/{id}/federatedIdentityCredentials",
    },
    ..Recipe::listed("federatedIdentityCredential", &[], "Application.Read.All")
};
