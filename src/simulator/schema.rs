//! The properties that each collection of the simulated directory has.
//!
//! Must never know: values, requests, or who reads.
//!
//! Sources: Microsoft Graph reference pages of each resource type; which properties are returned only on `$select` is
//! in the property tables of "user resource type", "group resource type" and "device resource type". Policies and PIM
//! have no table here: their bodies are shown as they are kept.

use Shown::{Always, Listed, Selected, Single};

use super::collection::Collection;

/// When a property comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// In every read that does not select.
    Always,
    /// As `Always`; holds a list, so that it is `[]` and never null.
    Listed,
    /// Only when selected.
    Selected,
    /// Only when selected, and only when a single object is read.
    Single,
}

/// One property of a collection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Property {
    /// Its name in Graph.
    pub name: &'static str,
    /// When it comes back.
    pub shown: Shown,
    /// Whether it holds a list: `[]` where others would be null.
    pub list: bool,
}

impl Collection {
    /// Its properties, `id` first. Of collections whose bodies are shown as they are kept only those that every object
    /// has.
    pub(super) fn properties(self) -> &'static [Property] {
        match self {
            Self::User => USER,
            Self::Group => GROUP,
            Self::Application => APPLICATION,
            Self::ServicePrincipal => SERVICE_PRINCIPAL,
            Self::AppRoleAssignment => APP_ROLE_ASSIGNMENT,
            Self::Oauth2PermissionGrant => GRANT,
            Self::FederatedIdentityCredential => FEDERATED_CREDENTIAL,
            Self::RoleDefinition => ROLE_DEFINITION,
            Self::RoleAssignment => ROLE_ASSIGNMENT,
            Self::ConditionalAccessPolicy => POLICY,
            Self::NamedLocation => LOCATION,
            Self::Organization => ORGANIZATION,
            Self::Domain => DOMAIN,
            Self::AdministrativeUnit => ADMINISTRATIVE_UNIT,
            Self::Device => DEVICE,
            _ => KEPT,
        }
    }

    /// Whether the bodies of its objects are shown as they are kept, nulls and all, without a table of properties:
    /// these types differ too much among themselves, and no feed tells their changes.
    pub(super) fn is_open(self) -> bool {
        self.properties().len() == KEPT.len()
    }

    /// The place of the property called `name`, which Graph compares without regard to case in `$select`.
    pub(super) fn property(self, name: &str) -> Option<usize> {
        self.properties().iter().position(|p| p.name.eq_ignore_ascii_case(name))
    }

    /// What belongs to the objects of the collection but does not come with its lists: by name, and how it is had.
    pub(super) fn facets(self) -> &'static [(&'static str, Facet)] {
        match self {
            Self::User => &[("signInActivity", Facet::Guarded)],
            Self::ServicePrincipal => &[
                ("agentIdentityBlueprintId", Facet::Cast("agentIdentity")),
                ("createdDateTime", Facet::Cast("agentIdentity")),
            ],
            Self::Application => &[("inheritablePermissions", Facet::Navigation)],
            Self::AuthenticationMethodConfiguration => &[("includeTargets", Facet::Detail)],
            Self::RoleManagementPolicy => &[("rules", Facet::Navigation)],
            Self::CrossTenantAccessPolicyPartner => &[("identitySynchronization", Facet::Navigation)],
            _ => &[],
        }
    }
}

/// How something is had that does not come with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facet {
    /// A property of a subtype, given by lists and reads that are cast to it.
    Cast(&'static str),
    /// A property that is selected by name and needs more than the collection's own permission.
    Guarded,
    /// Read by a path of its own below the object.
    Navigation,
    /// In the read of a single object only.
    Detail,
}

/// What all objects have whose bodies are shown as they are kept.
const KEPT: &[Property] = &[p("id", Always)];

const ADMINISTRATIVE_UNIT: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("description", Always),
    p("displayName", Always),
    p("isMemberManagementRestricted", Always),
    p("membershipRule", Always),
    p("membershipRuleProcessingState", Always),
    p("membershipType", Always),
    p("visibility", Always),
];

const DEVICE: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("accountEnabled", Always),
    p("alternativeSecurityIds", Listed),
    p("approximateLastSignInDateTime", Always),
    p("complianceExpirationDateTime", Always),
    p("deviceCategory", Always),
    p("deviceId", Always),
    p("deviceMetadata", Always),
    p("deviceOwnership", Always),
    p("deviceVersion", Always),
    p("displayName", Always),
    p("enrollmentProfileName", Always),
    p("enrollmentType", Always),
    p("extensionAttributes", Selected),
    p("isCompliant", Always),
    p("isManaged", Always),
    p("isManagementRestricted", Selected),
    p("isRooted", Always),
    p("managementType", Always),
    p("manufacturer", Always),
    p("mdmAppId", Always),
    p("model", Always),
    p("onPremisesLastSyncDateTime", Always),
    p("onPremisesSecurityIdentifier", Selected),
    p("onPremisesSyncEnabled", Always),
    p("operatingSystem", Always),
    p("operatingSystemVersion", Always),
    p("physicalIds", Listed),
    p("profileType", Always),
    p("registrationDateTime", Always),
    p("systemLabels", Listed),
    p("trustType", Always),
];

const fn p(name: &'static str, shown: Shown) -> Property {
    Property { name, shown, list: matches!(shown, Listed) }
}

/// A list that comes only on selection.
const fn ls(name: &'static str) -> Property {
    Property { name, shown: Selected, list: true }
}

const USER: &[Property] = &[
    p("id", Always),
    p("businessPhones", Listed),
    p("displayName", Always),
    p("givenName", Always),
    p("jobTitle", Always),
    p("mail", Always),
    p("mobilePhone", Always),
    p("officeLocation", Always),
    p("preferredLanguage", Always),
    p("surname", Always),
    p("userPrincipalName", Always),
    p("deletedDateTime", Selected),
    p("accountEnabled", Selected),
    p("ageGroup", Selected),
    p("authorizationInfo", Selected),
    ls("assignedLicenses"),
    ls("assignedPlans"),
    p("city", Selected),
    p("companyName", Selected),
    p("consentProvidedForMinor", Selected),
    p("country", Selected),
    p("createdDateTime", Selected),
    p("creationType", Selected),
    p("customSecurityAttributes", Selected),
    p("department", Selected),
    p("employeeHireDate", Selected),
    p("employeeId", Selected),
    p("employeeLeaveDateTime", Selected),
    p("employeeOrgData", Selected),
    p("employeeType", Selected),
    p("externalUserState", Selected),
    p("externalUserStateChangeDateTime", Selected),
    p("faxNumber", Selected),
    ls("identities"),
    p("identityParentId", Selected),
    ls("imAddresses"),
    p("isManagementRestricted", Selected),
    p("isResourceAccount", Selected),
    p("lastPasswordChangeDateTime", Selected),
    p("legalAgeGroupClassification", Selected),
    ls("licenseAssignmentStates"),
    p("mailNickname", Selected),
    p("onPremisesDistinguishedName", Selected),
    p("onPremisesDomainName", Selected),
    p("onPremisesExtensionAttributes", Selected),
    p("onPremisesImmutableId", Selected),
    p("onPremisesLastSyncDateTime", Selected),
    ls("onPremisesProvisioningErrors"),
    p("onPremisesSamAccountName", Selected),
    p("onPremisesSecurityIdentifier", Selected),
    p("onPremisesSyncEnabled", Selected),
    p("onPremisesUserPrincipalName", Selected),
    ls("otherMails"),
    p("passwordPolicies", Selected),
    p("passwordProfile", Selected),
    p("postalCode", Selected),
    p("preferredDataLocation", Selected),
    ls("provisionedPlans"),
    ls("proxyAddresses"),
    p("securityIdentifier", Selected),
    ls("serviceProvisioningErrors"),
    p("showInAddressList", Selected),
    p("signInSessionsValidFromDateTime", Selected),
    p("state", Selected),
    p("streetAddress", Selected),
    p("usageLocation", Selected),
    p("userType", Selected),
];

const GROUP: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("classification", Always),
    p("createdDateTime", Always),
    p("description", Always),
    p("displayName", Always),
    p("expirationDateTime", Always),
    p("groupTypes", Listed),
    p("isAssignableToRole", Always),
    p("mail", Always),
    p("mailEnabled", Always),
    p("mailNickname", Always),
    p("membershipRule", Always),
    p("membershipRuleProcessingState", Always),
    p("onPremisesDomainName", Always),
    p("onPremisesLastSyncDateTime", Always),
    p("onPremisesNetBiosName", Always),
    p("onPremisesProvisioningErrors", Listed),
    p("onPremisesSamAccountName", Always),
    p("onPremisesSecurityIdentifier", Always),
    p("onPremisesSyncEnabled", Always),
    p("preferredDataLocation", Always),
    p("preferredLanguage", Always),
    p("proxyAddresses", Listed),
    p("renewedDateTime", Always),
    p("resourceBehaviorOptions", Listed),
    p("resourceProvisioningOptions", Listed),
    p("securityEnabled", Always),
    p("securityIdentifier", Always),
    p("serviceProvisioningErrors", Listed),
    p("theme", Always),
    p("uniqueName", Always),
    p("visibility", Always),
    ls("assignedLabels"),
    ls("assignedLicenses"),
    p("isManagementRestricted", Selected),
    p("licenseProcessingState", Selected),
    p("allowExternalSenders", Single),
    p("autoSubscribeNewMembers", Single),
    p("hideFromAddressLists", Single),
    p("hideFromOutlookClients", Single),
    p("isSubscribedByMail", Single),
    p("unseenCount", Single),
];

const APPLICATION: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("appId", Always),
    p("applicationTemplateId", Always),
    p("disabledByMicrosoftStatus", Always),
    p("createdByAppId", Always),
    p("createdDateTime", Always),
    p("displayName", Always),
    p("description", Always),
    p("groupMembershipClaims", Always),
    p("identifierUris", Listed),
    p("isDeviceOnlyAuthSupported", Always),
    p("isDisabled", Always),
    p("isFallbackPublicClient", Always),
    p("nativeAuthenticationApisEnabled", Always),
    p("notes", Always),
    p("publisherDomain", Always),
    p("samlMetadataUrl", Always),
    p("serviceManagementReference", Always),
    p("signInAudience", Always),
    p("tags", Listed),
    p("tokenEncryptionKeyId", Always),
    p("uniqueName", Always),
    p("defaultRedirectUri", Always),
    p("certification", Always),
    p("optionalClaims", Always),
    p("servicePrincipalLockConfiguration", Always),
    p("requestSignatureVerification", Always),
    p("addIns", Listed),
    p("api", Always),
    p("appRoles", Listed),
    p("info", Always),
    p("keyCredentials", Listed),
    p("parentalControlSettings", Always),
    p("passwordCredentials", Listed),
    p("publicClient", Always),
    p("requiredResourceAccess", Listed),
    p("verifiedPublisher", Always),
    p("web", Always),
    p("spa", Always),
    p("authenticationBehaviors", Selected),
    p("managerApplications", Selected),
];

const SERVICE_PRINCIPAL: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("accountEnabled", Always),
    p("alternativeNames", Listed),
    p("appDisplayName", Always),
    p("appDescription", Always),
    p("appId", Always),
    p("applicationTemplateId", Always),
    p("appOwnerOrganizationId", Always),
    p("appRoleAssignmentRequired", Always),
    p("createdByAppId", Always),
    p("description", Always),
    p("disabledByMicrosoftStatus", Always),
    p("displayName", Always),
    p("homepage", Always),
    p("isDisabled", Always),
    p("loginUrl", Always),
    p("logoutUrl", Always),
    p("notes", Always),
    p("notificationEmailAddresses", Listed),
    p("preferredSingleSignOnMode", Always),
    p("preferredTokenSigningKeyThumbprint", Always),
    p("replyUrls", Listed),
    p("servicePrincipalNames", Listed),
    p("servicePrincipalType", Always),
    p("signInAudience", Always),
    p("tags", Listed),
    p("tokenEncryptionKeyId", Always),
    p("samlSingleSignOnSettings", Always),
    p("addIns", Listed),
    p("appRoles", Listed),
    p("info", Always),
    p("keyCredentials", Listed),
    p("oauth2PermissionScopes", Listed),
    p("passwordCredentials", Listed),
    p("resourceSpecificApplicationPermissions", Listed),
    p("verifiedPublisher", Always),
    p("customSecurityAttributes", Selected),
];

const APP_ROLE_ASSIGNMENT: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("appRoleId", Always),
    p("createdDateTime", Always),
    p("principalDisplayName", Always),
    p("principalId", Always),
    p("principalType", Always),
    p("resourceDisplayName", Always),
    p("resourceId", Always),
];

const GRANT: &[Property] = &[
    p("id", Always),
    p("clientId", Always),
    p("consentType", Always),
    p("principalId", Always),
    p("resourceId", Always),
    p("scope", Always),
];

const FEDERATED_CREDENTIAL: &[Property] = &[
    p("id", Always),
    p("name", Always),
    p("issuer", Always),
    p("subject", Always),
    p("description", Always),
    p("audiences", Listed),
];

const ROLE_DEFINITION: &[Property] = &[
    p("id", Always),
    p("description", Always),
    p("displayName", Always),
    p("isBuiltIn", Always),
    p("isEnabled", Always),
    p("resourceScopes", Listed),
    p("templateId", Always),
    p("version", Always),
    p("rolePermissions", Listed),
];

const ROLE_ASSIGNMENT: &[Property] =
    &[p("id", Always), p("principalId", Always), p("directoryScopeId", Always), p("roleDefinitionId", Always)];

const POLICY: &[Property] = &[
    p("id", Always),
    p("templateId", Always),
    p("displayName", Always),
    p("createdDateTime", Always),
    p("modifiedDateTime", Always),
    p("deletedDateTime", Always),
    p("state", Always),
    p("conditions", Always),
    p("grantControls", Always),
    p("sessionControls", Always),
];

const LOCATION: &[Property] = &[
    p("id", Always),
    p("displayName", Always),
    p("modifiedDateTime", Always),
    p("createdDateTime", Always),
    p("deletedDateTime", Always),
    p("isTrusted", Always),
    p("ipRanges", Always),
    p("countriesAndRegions", Always),
    p("includeUnknownCountriesAndRegions", Always),
    p("countryLookupMethod", Always),
];

const DOMAIN: &[Property] = &[
    p("id", Always),
    p("authenticationType", Always),
    p("availabilityStatus", Always),
    p("isAdminManaged", Always),
    p("isDefault", Always),
    p("isInitial", Always),
    p("isRoot", Always),
    p("isVerified", Always),
    p("manufacturer", Always),
    p("model", Always),
    p("passwordNotificationWindowInDays", Always),
    p("passwordValidityPeriodInDays", Always),
    p("state", Always),
    p("supportedServices", Listed),
];

const ORGANIZATION: &[Property] = &[
    p("id", Always),
    p("deletedDateTime", Always),
    p("businessPhones", Listed),
    p("city", Always),
    p("country", Always),
    p("countryLetterCode", Always),
    p("createdDateTime", Always),
    p("defaultUsageLocation", Always),
    p("displayName", Always),
    p("isMultipleDataLocationsForServicesEnabled", Always),
    p("marketingNotificationEmails", Listed),
    p("onPremisesLastSyncDateTime", Always),
    p("onPremisesSyncEnabled", Always),
    p("partnerTenantType", Always),
    p("postalCode", Always),
    p("preferredLanguage", Always),
    p("securityComplianceNotificationMails", Listed),
    p("securityComplianceNotificationPhones", Listed),
    p("state", Always),
    p("street", Always),
    p("technicalNotificationMails", Listed),
    p("tenantType", Always),
    p("directorySizeQuota", Always),
    p("privacyProfile", Always),
    p("assignedPlans", Listed),
    p("provisionedPlans", Listed),
    p("verifiedDomains", Listed),
];
