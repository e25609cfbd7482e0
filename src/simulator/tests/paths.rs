//! What is served exists in Microsoft's own description of Graph.

use super::*;

/// Every path that is served in v1.0, with `{}` for an id.
const SERVED: &[&str] = &[
    "/$batch",
    "/users",
    "/users/delta()",
    "/users/microsoft.graph.agentUser",
    "/users/{}",
    "/users/{}/appRoleAssignments",
    "/users/{}/manager",
    "/users/{}/microsoft.graph.agentUser",
    "/users/{}/sponsors",
    "/groups",
    "/groups/delta()",
    "/groups/{}",
    "/groups/{}/appRoleAssignments",
    "/groups/{}/members",
    "/groups/{}/owners",
    "/applications",
    "/applications/delta()",
    "/applications/microsoft.graph.agentIdentityBlueprint",
    "/applications/{}",
    "/applications/{}/federatedIdentityCredentials",
    "/applications/{}/microsoft.graph.agentIdentityBlueprint",
    "/applications/{}/microsoft.graph.agentIdentityBlueprint/federatedIdentityCredentials",
    "/applications/{}/microsoft.graph.agentIdentityBlueprint/owners",
    "/applications/{}/microsoft.graph.agentIdentityBlueprint/sponsors",
    "/applications/{}/owners",
    "/servicePrincipals",
    "/servicePrincipals/delta()",
    "/servicePrincipals/microsoft.graph.agentIdentity",
    "/servicePrincipals/microsoft.graph.agentIdentityBlueprintPrincipal",
    "/servicePrincipals/{}",
    "/servicePrincipals/{}/appRoleAssignedTo",
    "/servicePrincipals/{}/appRoleAssignments",
    "/servicePrincipals/{}/microsoft.graph.agentIdentity",
    "/servicePrincipals/{}/microsoft.graph.agentIdentity/owners",
    "/servicePrincipals/{}/microsoft.graph.agentIdentity/sponsors",
    "/servicePrincipals/{}/microsoft.graph.agentIdentityBlueprintPrincipal",
    "/servicePrincipals/{}/microsoft.graph.agentIdentityBlueprintPrincipal/owners",
    "/servicePrincipals/{}/microsoft.graph.agentIdentityBlueprintPrincipal/sponsors",
    "/servicePrincipals/{}/owners",
    "/oauth2PermissionGrants",
    "/oauth2PermissionGrants/delta()",
    "/oauth2PermissionGrants/{}",
    "/devices",
    "/devices/delta()",
    "/devices/{}",
    "/devices/{}/registeredOwners",
    "/devices/{}/registeredUsers",
    "/directory/administrativeUnits",
    "/directory/administrativeUnits/delta()",
    "/directory/administrativeUnits/{}",
    "/directory/administrativeUnits/{}/members",
    "/directory/administrativeUnits/{}/scopedRoleMembers",
    "/directory/deletedItems/microsoft.graph.administrativeUnit",
    "/directory/deletedItems/microsoft.graph.application",
    "/directory/deletedItems/microsoft.graph.device",
    "/directory/deletedItems/microsoft.graph.group",
    "/directory/deletedItems/microsoft.graph.servicePrincipal",
    "/directory/deletedItems/microsoft.graph.user",
    "/directory/recovery/jobs",
    "/directory/recovery/jobs/microsoft.graph.entraRecoveryServices.recoveryJob",
    "/directory/recovery/jobs/microsoft.graph.entraRecoveryServices.recoveryPreviewJob",
    "/directory/recovery/jobs/{}",
    "/directory/recovery/snapshots",
    "/directory/recovery/snapshots/{}",
    "/directory/recovery/snapshots/{}/recoveryJobs",
    "/directory/recovery/snapshots/{}/recoveryJobs/{}",
    "/directory/recovery/snapshots/{}/recoveryPreviewJobs",
    "/directory/recovery/snapshots/{}/recoveryPreviewJobs/{}",
    "/domains",
    "/domains/{}",
    "/identity/conditionalAccess/authenticationContextClassReferences",
    "/identity/conditionalAccess/deletedItems/namedLocations",
    "/identity/conditionalAccess/deletedItems/policies",
    "/identity/conditionalAccess/namedLocations",
    "/identity/conditionalAccess/namedLocations/{}",
    "/identity/conditionalAccess/policies",
    "/identity/conditionalAccess/policies/{}",
    "/organization",
    "/policies/authenticationMethodsPolicy",
    "/policies/authenticationMethodsPolicy/authenticationMethodConfigurations",
    "/policies/authenticationMethodsPolicy/authenticationMethodConfigurations/{}",
    "/policies/authenticationStrengthPolicies",
    "/policies/authenticationStrengthPolicies/{}",
    "/policies/authenticationStrengthPolicies/{}/combinationConfigurations",
    "/policies/authorizationPolicy",
    "/policies/crossTenantAccessPolicy",
    "/policies/crossTenantAccessPolicy/default",
    "/policies/crossTenantAccessPolicy/partners",
    "/policies/crossTenantAccessPolicy/partners/{}/identitySynchronization",
    "/policies/identitySecurityDefaultsEnforcementPolicy",
    "/policies/permissionGrantPolicies",
    "/policies/roleManagementPolicies",
    "/policies/roleManagementPolicyAssignments",
    "/reports/authenticationMethods/userRegistrationDetails",
    "/roleManagement/directory/roleAssignmentScheduleInstances",
    "/roleManagement/directory/roleAssignmentScheduleInstances/{}",
    "/roleManagement/directory/roleAssignmentSchedules",
    "/roleManagement/directory/roleAssignmentSchedules/{}",
    "/roleManagement/directory/roleAssignments",
    "/roleManagement/directory/roleAssignments/{}",
    "/roleManagement/directory/roleDefinitions",
    "/roleManagement/directory/roleDefinitions/{}",
    "/roleManagement/directory/roleEligibilityScheduleInstances",
    "/roleManagement/directory/roleEligibilityScheduleInstances/{}",
    "/roleManagement/directory/roleEligibilitySchedules",
    "/roleManagement/directory/roleEligibilitySchedules/{}",
    "/subscribedSkus",
];

/// What is served although the description, a slice of the whole, leaves it out; with the page that has it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("/users/$count", "Advanced query capabilities on Microsoft Entra ID objects"),
    ("/groups/$count", "Advanced query capabilities on Microsoft Entra ID objects"),
    ("/applications/$count", "Advanced query capabilities on Microsoft Entra ID objects"),
    ("/servicePrincipals/$count", "Advanced query capabilities on Microsoft Entra ID objects"),
    ("/devices/$count", "Advanced query capabilities on Microsoft Entra ID objects"),
    ("/directory/administrativeUnits/$count", "Advanced query capabilities on Microsoft Entra ID objects"),
    ("/applications/{}/microsoft.graph.agentIdentityBlueprint/inheritablePermissions", "List inheritablePermissions"),
    ("/auditLogs/directoryAudits", "List directoryAudits"),
    ("/auditLogs/directoryAudits/{}", "Get directoryAudit"),
    ("/directory/deletedItems/microsoft.graph.agentIdentity", "List deletedItems"),
    ("/directory/deletedItems/microsoft.graph.agentIdentityBlueprint", "List deletedItems"),
    ("/directory/deletedItems/microsoft.graph.agentIdentityBlueprintPrincipal", "List deletedItems"),
    ("/directory/deletedItems/microsoft.graph.agentUser", "List deletedItems"),
    ("/directory/deletedItems/microsoft.graph.certificateAuthorityDetail", "List deletedItems"),
    ("/directory/deletedItems/microsoft.graph.certificateBasedAuthPki", "List deletedItems"),
    ("/domains/{}/federationConfiguration", "List internalDomainFederations"),
    ("/identity/conditionalAccess/authenticationContextClassReferences/{}", "Get authenticationContextClassReference"),
    ("/organization/{}", "Get organization"),
    ("/policies/crossTenantAccessPolicy/partners/{}", "Get crossTenantAccessPolicyConfigurationPartner"),
    ("/policies/permissionGrantPolicies/{}", "Get permissionGrantPolicy"),
    ("/policies/permissionGrantPolicies/{}/excludes", "List excludes collection of permissionGrantPolicy"),
    ("/policies/permissionGrantPolicies/{}/includes", "List includes collection of permissionGrantPolicy"),
    ("/policies/roleManagementPolicies/{}", "Get unifiedRoleManagementPolicy"),
    ("/policies/roleManagementPolicies/{}/rules", "List rules (for a role management policy)"),
    ("/policies/roleManagementPolicyAssignments/{}", "Get unifiedRoleManagementPolicyAssignment"),
    ("/subscribedSkus/{}", "Get subscribedSku"),
];

/// The paths of the description with `{}` for every id. None where the description is not at hand.
fn described() -> Option<std::collections::BTreeSet<String>> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference");
    let text = std::fs::read_to_string(beside.join("graph-openapi-slice.v1.0.yaml")).ok()?;
    let paths = text.lines().filter_map(|line| line.strip_prefix("  /")?.strip_suffix(':'));
    let plain = |path: &str| {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
        format!("/{}", segments.collect::<Vec<_>>().join("/"))
    };
    Some(paths.map(plain).collect())
}

#[test]
fn every_path_is_one_of_graphs() {
    let Some(described) = described() else {
        println!("skipped: Microsoft's description of Graph is not at hand");
        return;
    };
    let strange: Vec<&&str> = SERVED.iter().filter(|path| !described.contains(**path)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let known: Vec<_> = ELSEWHERE.iter().filter(|(path, _)| described.contains(*path)).collect();
    assert!(known.is_empty(), "no exceptions: {known:?}");
}

#[tokio::test]
async fn every_path_is_served_and_no_other_of_the_description() {
    let reader = Reader::start(small(1)).await;
    // A path that is served either answers or misses the object, but knows its own segments.
    let is_unknown = async |path: &str| {
        let path = path.trim_start_matches('/').replace("{}", "00000000-0000-0000-0000-000000000000");
        let got = reader.get(&reader.v1(&path)).await;
        got.status == 404 && got.body["error"]["code"] == "BadRequest"
    };
    let all = SERVED.iter().copied().chain(ELSEWHERE.iter().map(|(path, _)| *path));
    for path in all.clone() {
        assert!(!is_unknown(path).await, "{path} is not served");
    }
    let served: std::collections::BTreeSet<&str> = all.collect();
    for path in described().unwrap_or_default() {
        // Objects that are not there hide what lies below them.
        let below = path.matches("{}").count() > 0 && path.split("{}").nth(1).is_some_and(|rest| !rest.is_empty());
        if !served.contains(path.as_str()) && !below && !path.ends_with("{}") && path != "/directory/deletedItems" {
            assert!(is_unknown(&path).await, "{path} is served and not listed here");
        }
    }
}
