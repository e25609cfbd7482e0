//! How users are read, agent users among them.
//!
//! Must never know: how another collection is read.

use super::recipe::{Feed, How, List, Part, Recipe, RelationRead};
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
    "onPremisesLastSyncDateTime",
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
/// (learn, graph/delta-query-overview).
pub(super) const USER: Recipe = Recipe {
    collection: "user",
    how: How::Lists {
        feed: Some(Feed { path: "/v1.0/users/delta", select: SELECT, guarded: GUARDED }),
        lists: &[List {
            path: "/v1.0/users",
            part: Part::All,
            top: Some(999),
            select: SELECT,
            extra: &[],
            guarded: GUARDED,
            permission: None,
        }],
        count: Some("/v1.0/users/$count"),
    },
    permission: "User.Read.All",
    bucket: Bucket::Directory,
    unknown_enum_members: false,
    relations: &[RelationRead {
        name: "manager",
        feed: true,
        path: "/v1.0/users/{id}/manager?$select=id",
        single: true,
        permission: "User.Read.All",
    }],
};
