//! The versioned lists by which content is made canonical: what is dropped and what is sorted.
//!
//! Must never know: which request a body came from.

use crate::canonical::Rules;

/// The number of [`ANNOTATIONS`], [`SETS`] and the facets of the table as they stand here. A change to any of them is a
/// new number, since it changes archived bytes. Number 1 had no facets, and fewer sets.
pub const LISTS_VERSION: u32 = 2;

/// Transport annotations, number 2: they describe the response, not the object. An entry matches the whole name of a
/// member or the part from its `@`, at every depth.
///
/// `@odata.id` and the other links are addresses of the object at the service, `@microsoft.graph.tips` is advice to the
/// caller. `@odata.type` always stays: it is all that tells an agent from a person.
pub const ANNOTATIONS: &[&str] = &[
    "@odata.context",
    "@odata.nextLink",
    "@odata.deltaLink",
    "@odata.count",
    "@odata.etag",
    "@odata.id",
    "@odata.editLink",
    "@odata.readLink",
    "@odata.navigationLink",
    "@odata.associationLink",
    "@odata.mediaReadLink",
    "@odata.mediaEditLink",
    "@odata.mediaEtag",
    "@odata.mediaContentType",
    "@odata.metadataEtag",
    "@microsoft.graph.tips",
];

/// Set-valued properties, number 2: the service promises no order for them, so that theirs must not look like a change.
///
/// Left out on purpose: `replyUrls` and `redirectUris`, whose first entry is the default of a SAML application;
/// `businessPhones` and `otherMails`, whose first entry people use as the main one.
pub const SETS: &[&str] = &[
    // user, group
    "assignedLabels",
    "assignedLicenses",
    "assignedPlans",
    "creationOptions",
    "disabledPlans",
    "groupTypes",
    "identities",
    "imAddresses",
    "licenseAssignmentStates",
    "onPremisesProvisioningErrors",
    "provisionedPlans",
    "proxyAddresses",
    "resourceBehaviorOptions",
    "resourceProvisioningOptions",
    "serviceProvisioningErrors",
    // application, servicePrincipal
    "addIns",
    "allowedMemberTypes",
    "alternativeNames",
    "appRoles",
    "delegatedPermissionIds",
    "identifierUris",
    "keyCredentials",
    "knownClientApplications",
    "managerApplications",
    "notificationEmailAddresses",
    "oauth2PermissionScopes",
    "passwordCredentials",
    "permissionIds",
    "preAuthorizedApplications",
    "requiredResourceAccess",
    "resourceAccess",
    "resourceSpecificApplicationPermissions",
    "servicePrincipalNames",
    "tags",
    // federatedIdentityCredential
    "audiences",
    // unifiedRoleDefinition
    "allowedResourceActions",
    "excludedResourceActions",
    "resourceScopes",
    "rolePermissions",
    // conditionalAccessPolicy, namedLocation
    "builtInControls",
    "clientAppTypes",
    "countriesAndRegions",
    "customAuthenticationFactors",
    "excludeApplications",
    "excludeGroups",
    "excludeLocations",
    "excludePlatforms",
    "excludeRoles",
    "excludeServicePrincipals",
    "excludeUsers",
    "includeApplications",
    "includeAuthenticationContextClassReferences",
    "includeGroups",
    "includeLocations",
    "includePlatforms",
    "includeRoles",
    "includeServicePrincipals",
    "includeUserActions",
    "includeUsers",
    "insiderRiskLevels",
    "ipRanges",
    "servicePrincipalRiskLevels",
    "signInRiskLevels",
    "termsOfUse",
    "userRiskLevels",
    // organization, domain
    "marketingNotificationEmails",
    "securityComplianceNotificationMails",
    "securityComplianceNotificationPhones",
    "supportedServices",
    "technicalNotificationMails",
    "verifiedDomains",
    "federationConfiguration",
    // device, subscribedSku, userRegistrationDetails
    "alternativeSecurityIds",
    "hostnames",
    "physicalIds",
    "servicePlans",
    "subscriptionIds",
    "systemLabels",
    "methodsRegistered",
    "systemPreferredAuthenticationMethods",
    // authenticationMethodsPolicy, authenticationStrengthPolicy, authorizationPolicy
    "aaGuids",
    "allowedAAGUIDs",
    "allowedCombinations",
    "appliesToCombinations",
    "authenticationMethodConfigurations",
    "combinationConfigurations",
    "excludeTargets",
    "includeTargets",
    "permissionGrantPoliciesAssigned",
    // permissionGrantPolicy
    "clientApplicationIds",
    "clientApplicationPublisherIds",
    "clientApplicationTenantIds",
    "excludes",
    "includes",
    // crossTenantAccessPolicy and its partners
    "allowedCloudEndpoints",
    "targets",
    // unifiedRoleManagementPolicy
    "enabledRules",
    "enforcedSettings",
    "inheritableSettings",
    "notificationRecipients",
    "operations",
    "rules",
    // recoveryJob
    "entityIds",
    "entityTypes",
    "filterValues",
];

/// The lists as the canonical writer takes them.
pub fn rules() -> Rules {
    Rules {
        annotations: ANNOTATIONS.iter().map(|&entry| entry.to_owned()).collect(),
        sets: SETS.iter().map(|&entry| entry.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{canonicalize, parse};

    #[test]
    fn transport_goes_and_the_type_stays() {
        let source = br##"{"@odata.type":"#microsoft.graph.user","@odata.id":"x","@odata.etag":"y","id":"1",
            "groupTypes":["b","a"],"replyUrls":["b","a"],"owners@odata.navigationLink":"z","n":{"@odata.context":"c"}}"##;
        let written = canonicalize(&parse(source).unwrap(), &rules()).unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            r##"{"@odata.type":"#microsoft.graph.user","groupTypes":["a","b"],"id":"1","n":{},"replyUrls":["b","a"]}"##
        );
    }

    #[test]
    fn the_lists_name_nothing_twice_and_never_the_type() {
        for list in [ANNOTATIONS, SETS] {
            for (index, entry) in list.iter().enumerate() {
                assert!(!list[index + 1..].contains(entry), "{entry}");
            }
        }
        assert!(!ANNOTATIONS.contains(&"@odata.type"));
    }
}
