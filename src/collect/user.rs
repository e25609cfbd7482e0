//! How users are read, agent users among them.
//!
//! Must never know: how another collection is read.

use super::recipe::{FacetRead, Feed, How, List, Part, Recipe, RelationRead};
use crate::graph::Bucket;

/// Every property of a user that the directory itself keeps. Most come only when selected (learn, resources/user).
///
/// Left out: what SharePoint, Exchange, Intune or Universal Print keep, which no list or feed gives (aboutMe, birthday,
/// hireDate, interests, mySite, pastProjects, preferredName, responsibilities, schools, skills, mailboxSettings,
/// deviceEnrollmentLimit, print), and signInActivity, which changes all day and has its own, stricter limits.
pub(super) const SELECT: &[&str] = &[
    "id",
    "accountEnabled",
    "ageGroup",
    "assignedLicenses",
    "assignedPlans",
    "authorizationInfo",
    "businessPhones",
    "city",
    "companyName",
    "consentProvidedForMinor",
    "country",
    "createdDateTime",
    "creationType",
    "customSecurityAttributes",
    "deletedDateTime",
    "department",
    "displayName",
    "employeeHireDate",
    "employeeId",
    "employeeLeaveDateTime",
    "employeeOrgData",
    "employeeType",
    "externalUserState",
    "externalUserStateChangeDateTime",
    "faxNumber",
    "givenName",
    "identities",
    "identityParentId",
    "imAddresses",
    "isManagementRestricted",
    "isResourceAccount",
    "jobTitle",
    "lastPasswordChangeDateTime",
    "legalAgeGroupClassification",
    "licenseAssignmentStates",
    "mail",
    "mailNickname",
    "mobilePhone",
    "officeLocation",
    "onPremisesDistinguishedName",
    "onPremisesDomainName",
    "onPremisesExtensionAttributes",
    "onPremisesImmutableId",
    "onPremisesProvisioningErrors",
    "onPremisesSamAccountName",
    "onPremisesSecurityIdentifier",
    "onPremisesSyncEnabled",
    "onPremisesUserPrincipalName",
    "otherMails",
    "passwordPolicies",
    "passwordProfile",
    "postalCode",
    "preferredDataLocation",
    "preferredLanguage",
    "provisionedPlans",
    "proxyAddresses",
    "securityIdentifier",
    "serviceProvisioningErrors",
    "showInAddressList",
    "signInSessionsValidFromDateTime",
    "state",
    "streetAddress",
    "surname",
    "usageLocation",
    "userPrincipalName",
    "userType",
];

/// customSecurityAttributes needs CustomSecAttributeAssignment.Read.All, employeeLeaveDateTime
/// User-LifeCycleInfo.Read.All (learn, resources/user).
pub(super) const GUARDED: &[&str] = &["customSecurityAttributes", "employeeLeaveDateTime"];

/// Users. The feed tracks the manager when it is selected; `$top`, `$expand` and `$orderby` aren't supported there
/// (learn, graph/delta-query-overview). Sign-in activity is a facet: with it in `$select` a page holds 500 at most
/// (user: list), and it moves without anything having been changed. identityParentId is a property of user in the
/// metadata and of agentUser on its page: where the plain list refuses it, the agents' own list gives it.
pub(super) const USER: Recipe = Recipe {
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/users/delta", select: SELECT, guarded: GUARDED }),
        lists: &[
            List { top: Some(999), select: SELECT, guarded: GUARDED, ..List::plain("/v1.0/users") },
            List {
                part: Part::Subtype("agentUser"),
                top: Some(999),
                select: SELECT,
                guarded: GUARDED,
                ..List::plain("/v1.0/users/microsoft.graph.agentUser")
            },
        ],
        count: Some("/v1.0/users/$count"),
    },
    relations: &[
        RelationRead {
            feed: true,
            single: true,
            ..RelationRead::unfed("manager", "/v1.0/users/{id}/manager?$select=id", "User.Read.All")
        },
        RelationRead {
            many: true,
            ..RelationRead::unfed("sponsors", "/v1.0/users/{id}/sponsors?$select=id", "User.Read.All")
        },
    ],
    facets: &[
        FacetRead { name: "activity", path: "/v1.0/users", top: Some(500), permission: "AuditLog.Read.All" },
        FacetRead { name: "sync", path: "/v1.0/users", top: Some(999), permission: "User.Read.All" },
    ],
    ..Recipe::listed("user", &[], "User.Read.All")
};

/// The state of per-user multifactor authentication. Beta only, no list over the tenant (learn,
/// authentication-get, beta): one request a user, so that it is read in turns.
pub(super) const STRONG_AUTHENTICATION_REQUIREMENTS: Recipe = Recipe {
    how: How::Per { parent: "user", path: "/beta/users/{id}/authentication/requirements", kinds: &[], many: true },
    ..Recipe::listed("strongAuthenticationRequirements", &[], "Policy.Read.All")
};

/// Which methods each user has registered: a report, lagging by itself, so that once a day is enough. The page of it names
/// `$filter` and `$orderby` only, the metadata `$top` too: with five requests in ten seconds for all reports, pages of 100
/// would take a day's read of half a million people beyond the hour.
pub(super) const USER_REGISTRATION_DETAILS: Recipe = Recipe {
    bucket: Bucket::Reports,
    hours: 24,
    ..Recipe::listed(
        "userRegistrationDetails",
        &[List { top: Some(999), ..List::plain("/v1.0/reports/authenticationMethods/userRegistrationDetails") }],
        "AuditLog.Read.All",
    )
};
