//! How groups are read.
//!
//! Must never know: how another collection is read.

use super::recipe::{FacetRead, Feed, How, List, Recipe, RelationRead};

/// Every property of a group that the directory keeps and lists give.
///
/// Left out: what Exchange keeps and only a GET of one group shows (allowExternalSenders, autoSubscribeNewMembers,
/// hideFromAddressLists, hideFromOutlookClients, isSubscribedByMail, unseenCount), what Teams keeps (isArchived), what
/// is no more than a filter (hasMembersWithLicenseErrors), and members of the metadata that no page of the
/// documentation has (accessType, infoCatalogs, isFavorite, organizationId, unseenConversationsCount,
/// unseenMessagesCount, welcomeMessageEnabled, onPremisesExtensionAttributes).
pub(super) const SELECT: &[&str] = &[
    "id",
    "assignedLabels",
    "assignedLicenses",
    "classification",
    "createdDateTime",
    "deletedDateTime",
    "description",
    "displayName",
    "expirationDateTime",
    "groupTypes",
    "isAssignableToRole",
    "isManagementRestricted",
    "licenseProcessingState",
    "mail",
    "mailEnabled",
    "mailNickname",
    "membershipRule",
    "membershipRuleProcessingState",
    "onPremisesDomainName",
    "onPremisesNetBiosName",
    "onPremisesProvisioningErrors",
    "onPremisesSamAccountName",
    "onPremisesSecurityIdentifier",
    "onPremisesSyncEnabled",
    "preferredDataLocation",
    "preferredLanguage",
    "proxyAddresses",
    "renewedDateTime",
    "resourceBehaviorOptions",
    "resourceProvisioningOptions",
    "securityEnabled",
    "securityIdentifier",
    "serviceProvisioningErrors",
    "theme",
    "uniqueName",
    "visibility",
];

/// Groups. With `$select` the feed tracks members only if they are selected; owners have no documented tracking, so
/// that they are read whole. `$expand` stops at 20 without saying so and is never used (learn, graph/query-parameters).
pub(super) const GROUP: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/groups/delta", select: SELECT, guarded: &[] }),
        lists: &[List { top: Some(999), select: SELECT, ..List::plain("/v1.0/groups") }],
        count: Some("/v1.0/groups/$count"),
    },
    relations: &[
        RelationRead {
            feed: true,
            ..RelationRead::unfed("members", "/v1.0/groups/{id}/members?$select=id&$top=999", "GroupMember.Read.All")
        },
        RelationRead::unfed("owners", "/v1.0/groups/{id}/owners?$select=id", "GroupMember.Read.All"),
    ],
    facets: &[FacetRead { name: "sync", path: "/v1.0/groups", top: Some(999), permission: "Group.Read.All" }],
    ..Recipe::listed("group", &[], "Group.Read.All")
};
