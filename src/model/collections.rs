//! The table of collections: one row a kind of object that is kept.
//!
//! Must never know: the requests with which a collection is read.

/// What names an object of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The text of this property.
    Property(&'static str),
    /// There is one object in a tenant; its id is `-`.
    Singleton,
}

/// A directed relation from the objects of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// Its name, as Graph spells the navigation.
    pub name: &'static str,
    /// The collection that all targets belong to; `None` where targets are directory objects of several kinds.
    pub targets: Option<&'static str>,
    /// Whether a source has one target at most.
    pub single: bool,
}

/// Volatile properties of an object that are kept under a key of their own, so that they change without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facet {
    /// Its name, behind the `#` of its keys.
    pub name: &'static str,
    /// The properties that it holds, which the object itself never does.
    pub properties: &'static [&'static str],
}

/// A kind of object that is read and kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// Its name in keys, coverage and configuration.
    pub name: &'static str,
    /// What names its objects.
    pub identity: Identity,
    /// The `@odata.type` names that live here, without `#microsoft.graph.`; the one of most objects first.
    pub types: &'static [&'static str],
    /// The links its objects have.
    pub relations: &'static [Relation],
    /// What is kept apart from its objects.
    pub facets: &'static [Facet],
    /// Properties by whose values objects are found: ids of what they are about, text, and, as `name=value`, the one value by
    /// which few are told from many.
    pub indexed: &'static [&'static str],
    /// Whether these happen once instead of being there: they are no part of any state.
    pub events: bool,
}

const ID: Identity = Identity::Property("id");

const fn many(name: &'static str) -> Relation {
    Relation { name, targets: None, single: false }
}

const fn children(name: &'static str, collection: &'static str) -> Relation {
    Relation { name, targets: Some(collection), single: false }
}

const fn plain(name: &'static str, types: &'static [&'static str]) -> Collection {
    Collection { name, identity: ID, types, relations: &[], facets: &[], indexed: &[], events: false }
}

const fn singleton(name: &'static str, types: &'static [&'static str]) -> Collection {
    Collection { identity: Identity::Singleton, ..plain(name, types) }
}

/// A kind of object that says who has which role.
const fn role_grant(name: &'static str, types: &'static [&'static str]) -> Collection {
    Collection { indexed: &["principalId", "roleDefinitionId", "directoryScopeId"], ..plain(name, types) }
}

/// When an object was last synchronised from on premises: it moves with every run of the synchronisation.
const SYNC: Facet = Facet { name: "sync", properties: &["onPremisesLastSyncDateTime"] };

/// Every collection, by the names of the export table. The Agent ID kinds derive from user, application and service
/// principal in Graph's metadata and live in those collections, told apart by their `@odata.type`.
pub const COLLECTIONS: &[Collection] = &[
    Collection {
        relations: &[Relation { name: "manager", targets: None, single: true }, many("sponsors")],
        facets: &[Facet { name: "activity", properties: &["signInActivity"] }, SYNC],
        indexed: &["identityParentId", "employeeId", "onPremisesImmutableId", "accountEnabled=false", "userType=guest"],
        ..plain("user", &["user", "agentUser"])
    },
    Collection { relations: &[many("members"), many("owners")], facets: &[SYNC], ..plain("group", &["group"]) },
    Collection {
        relations: &[
            many("owners"),
            many("sponsors"),
            children("federatedIdentityCredentials", "federatedIdentityCredential"),
        ],
        indexed: &["appId"],
        ..plain("application", &["application", "agentIdentityBlueprint"])
    },
    Collection {
        relations: &[many("owners"), many("sponsors"), children("appRoleAssignedTo", "appRoleAssignment")],
        indexed: &["appId", "agentIdentityBlueprintId", "appRoleAssignmentRequired=false"],
        ..plain("servicePrincipal", &["servicePrincipal", "agentIdentity", "agentIdentityBlueprintPrincipal"])
    },
    plain("federatedIdentityCredential", &["federatedIdentityCredential"]),
    plain("inheritablePermission", &["inheritablePermission"]),
    Collection { indexed: &["principalId", "resourceId"], ..plain("appRoleAssignment", &["appRoleAssignment"]) },
    Collection {
        indexed: &["clientId", "principalId", "resourceId", "consentType"],
        ..plain("oauth2PermissionGrant", &["oAuth2PermissionGrant", "oauth2PermissionGrant"])
    },
    plain("unifiedRoleDefinition", &["unifiedRoleDefinition"]),
    role_grant("unifiedRoleAssignment", &["unifiedRoleAssignment"]),
    role_grant("unifiedRoleAssignmentSchedule", &["unifiedRoleAssignmentSchedule"]),
    role_grant("unifiedRoleAssignmentScheduleInstance", &["unifiedRoleAssignmentScheduleInstance"]),
    role_grant("unifiedRoleEligibilitySchedule", &["unifiedRoleEligibilitySchedule"]),
    role_grant("unifiedRoleEligibilityScheduleInstance", &["unifiedRoleEligibilityScheduleInstance"]),
    plain("unifiedRoleManagementPolicy", &["unifiedRoleManagementPolicy"]),
    Collection {
        indexed: &["roleDefinitionId", "policyId"],
        ..plain("unifiedRoleManagementPolicyAssignment", &["unifiedRoleManagementPolicyAssignment"])
    },
    Collection {
        relations: &[many("members"), children("scopedRoleMembers", "scopedRoleMembership")],
        ..plain("administrativeUnit", &["administrativeUnit"])
    },
    plain("scopedRoleMembership", &["scopedRoleMembership"]),
    plain("conditionalAccessPolicy", &["conditionalAccessPolicy"]),
    plain("namedLocation", &["namedLocation", "ipNamedLocation", "countryNamedLocation"]),
    plain("authenticationContextClassReference", &["authenticationContextClassReference"]),
    singleton("authenticationMethodsPolicy", &["authenticationMethodsPolicy"]),
    plain("authenticationStrengthPolicy", &["authenticationStrengthPolicy"]),
    singleton("authorizationPolicy", &["authorizationPolicy"]),
    singleton("identitySecurityDefaultsEnforcementPolicy", &["identitySecurityDefaultsEnforcementPolicy"]),
    plain("permissionGrantPolicy", &["permissionGrantPolicy"]),
    singleton("crossTenantAccessPolicy", &["crossTenantAccessPolicy"]),
    singleton("crossTenantAccessPolicyDefault", &["crossTenantAccessPolicyConfigurationDefault"]),
    Collection {
        identity: Identity::Property("tenantId"),
        ..plain("crossTenantAccessPolicyPartner", &["crossTenantAccessPolicyConfigurationPartner"])
    },
    Collection {
        facets: &[Facet {
            name: "sync",
            properties: &["onPremisesLastSyncDateTime", "onPremisesLastPasswordSyncDateTime"],
        }],
        ..singleton("organization", &["organization"])
    },
    plain("domain", &["domain"]),
    plain("subscribedSku", &["subscribedSku"]),
    Collection {
        relations: &[many("registeredOwners"), many("registeredUsers")],
        facets: &[Facet { name: "activity", properties: &["approximateLastSignInDateTime"] }, SYNC],
        ..plain("device", &["device"])
    },
    plain("deletedItems", &[]),
    plain("userRegistrationDetails", &["userRegistrationDetails"]),
    plain("strongAuthenticationRequirements", &["strongAuthenticationRequirements"]),
    Collection { events: true, ..plain("directoryAudit", &["directoryAudit"]) },
    plain("recoverySnapshot", &["entraRecoveryServices.snapshot"]),
    plain(
        "recoveryJob",
        &[
            "entraRecoveryServices.recoveryJob",
            "entraRecoveryServices.recoveryPreviewJob",
            "entraRecoveryServices.recoveryJobBase",
        ],
    ),
];

/// Kinds that are met as targets of links although nothing reads them.
const TARGETS_ONLY: &[&str] = &["directoryRole"];

/// The collection called `name`.
pub fn find(name: &str) -> Option<&'static Collection> {
    COLLECTIONS.iter().find(|collection| collection.name == name)
}

/// The collection in which an object of this `@odata.type` lives; `directoryObject` for an absent or unknown type, the
/// base type of everything in the directory.
///
/// The leading `#` and the namespace may be absent: Graph writes both, bodies of older documentation do not.
pub fn base_collection(odata_type: Option<&str>) -> &'static str {
    let Some(name) = odata_type else { return "directoryObject" };
    let name = name.strip_prefix('#').unwrap_or(name);
    let name = name.strip_prefix("microsoft.graph.").unwrap_or(name);
    let read = COLLECTIONS.iter().find(|collection| collection.types.contains(&name)).map(|found| found.name);
    read.or_else(|| TARGETS_ONLY.iter().copied().find(|target| *target == name)).unwrap_or("directoryObject")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_base_collection() {
        for (odata_type, expected) in [
            (Some("#microsoft.graph.user"), "user"),
            (Some("microsoft.graph.agentUser"), "user"),
            (Some("#microsoft.graph.agentIdentity"), "servicePrincipal"),
            (Some("#microsoft.graph.agentIdentityBlueprintPrincipal"), "servicePrincipal"),
            (Some("#microsoft.graph.agentIdentityBlueprint"), "application"),
            (Some("#microsoft.graph.device"), "device"),
            (Some("#microsoft.graph.orgContact"), "directoryObject"),
            (Some(""), "directoryObject"),
            (None, "directoryObject"),
        ] {
            assert_eq!(base_collection(odata_type), expected, "{odata_type:?}");
        }
    }

    #[test]
    fn names_and_types_are_unique() {
        for (index, one) in COLLECTIONS.iter().enumerate() {
            for other in &COLLECTIONS[index + 1..] {
                assert_ne!(one.name, other.name);
                assert!(one.types.iter().all(|kind| !other.types.contains(kind)), "{} and {}", one.name, other.name);
            }
            for target in one.relations.iter().filter_map(|relation| relation.targets) {
                assert!(find(target).is_some(), "{target}");
            }
        }
    }
}
