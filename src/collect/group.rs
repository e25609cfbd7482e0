//! How groups are read.
//!
//! Must never know: how another collection is read.

use super::recipe::{Feed, How, List, Part, Recipe, RelationRead};
use crate::graph::Bucket;

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
    "onPremisesLastSyncDateTime",
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
    collection: "group",
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/groups/delta", select: SELECT, guarded: &[] }),
        lists: &[List {
            path: "/v1.0/groups",
            part: Part::All,
            top: Some(999),
            select: SELECT,
            extra: &[],
            guarded: &[],
            permission: None,
        }],
        count: Some("/v1.0/groups/$count"),
    },
    permission: "Group.Read.All",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[
        RelationRead {
            name: "members",
            feed: true,
            path: "/v1.0/groups/{id}/members?$select=id&$top=999",
            single: false,
            permission: "GroupMember.Read.All",
        },
        RelationRead {
            name: "owners",
            feed: false,
            path: "/v1.0/groups/{id}/owners?$select=id",
            single: false,
            permission: "GroupMember.Read.All",
        },
    ],
};
