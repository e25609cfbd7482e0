//! How service principals are read, agent identities among them, and the app role assignments to each.
//!
//! Must never know: how another collection is read.

use super::recipe::{Feed, How, List, Part, Recipe, RelationRead};
use crate::graph::Bucket;

/// Every property of a service principal.
pub(super) const SELECT: &[&str] = &[
    "id",
    "accountEnabled",
    "addIns",
    "alternativeNames",
    "appDescription",
    "appDisplayName",
    "appId",
    "applicationTemplateId",
    "appOwnerOrganizationId",
    "appRoleAssignmentRequired",
    "appRoles",
    "createdByAppId",
    "customSecurityAttributes",
    "deletedDateTime",
    "description",
    "disabledByMicrosoftStatus",
    "displayName",
    "homepage",
    "info",
    "isDisabled",
    "keyCredentials",
    "loginUrl",
    "logoutUrl",
    "notes",
    "notificationEmailAddresses",
    "oauth2PermissionScopes",
    "passwordCredentials",
    "preferredSingleSignOnMode",
    "preferredTokenSigningKeyThumbprint",
    "replyUrls",
    "resourceSpecificApplicationPermissions",
    "samlSingleSignOnSettings",
    "servicePrincipalNames",
    "servicePrincipalType",
    "signInAudience",
    "tags",
    "tokenEncryptionKeyId",
    "verifiedPublisher",
];

/// Needs CustomSecAttributeAssignment.Read.All (learn, resources/serviceprincipal).
pub(super) const GUARDED: &[&str] = &["customSecurityAttributes"];

/// What an agent identity has beyond a service principal (learn, resources/agentidentity).
pub(super) const AGENT_IDENTITY: &[&str] = &["agentIdentityBlueprintId", "createdDateTime"];

/// Service principals. The plain list and the feed show agents too, but can't select what only agents have; their own
/// list does, 100 a page at most (learn, agentidentity-list). The blueprint's principal adds nothing.
pub(super) const SERVICE_PRINCIPAL: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/servicePrincipals/delta", select: SELECT, guarded: GUARDED }),
        lists: &[
            List { top: Some(999), select: SELECT, guarded: GUARDED, ..List::plain("/v1.0/servicePrincipals") },
            List {
                part: Part::Subtype("agentIdentity"),
                top: Some(100),
                select: SELECT,
                extra: AGENT_IDENTITY,
                guarded: GUARDED,
                permission: Some("AgentIdentity.Read.All"),
                ..List::plain("/v1.0/servicePrincipals/microsoft.graph.agentIdentity")
            },
        ],
        count: Some("/v1.0/servicePrincipals/$count"),
    },
    bucket: Bucket::KeyCredentials,
    relations: &[
        RelationRead::unfed("owners", "/v1.0/servicePrincipals/{id}/owners?$select=id", "Application.Read.All"),
        RelationRead {
            kinds: &["agentIdentity", "agentIdentityBlueprintPrincipal"],
            kind_permissions: &[("agentIdentityBlueprintPrincipal", "AgentIdentityBlueprintPrincipal.Read.All")],
            ..RelationRead::unfed(
                "sponsors",
                "/v1.0/servicePrincipals/{id}/microsoft.graph.{kind}/sponsors?$select=id",
                "AgentIdentity.Read.All",
            )
        },
    ],
    ..Recipe::listed("servicePrincipal", &[], "Application.Read.All")
};

/// App role assignments: read under the resource, which gives every assignment to users, groups and service principals
/// once. 999 a page is what AzureHound sends; the page itself says nothing.
pub(super) const APP_ROLE_ASSIGNMENT: Recipe = Recipe {
    how: How::Under {
        parent: "servicePrincipal",
        relation: "appRoleAssignedTo",
        path: "/v1.0/servicePrincipals/{id}/appRoleAssignedTo?$top=999",
    },
    ..Recipe::listed("appRoleAssignment", &[], "Application.Read.All")
};
