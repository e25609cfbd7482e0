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

/// A kind of object that is read and kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    /// Its name in keys, coverage and configuration.
    pub name: &'static str,
    /// What names its objects.
    pub identity: Identity,
    /// The `@odata.type` names that live here, without `#microsoft.graph.`.
    pub types: &'static [&'static str],
    /// The links its objects have.
    pub relations: &'static [Relation],
}

const ID: Identity = Identity::Property("id");

const fn many(name: &'static str) -> Relation {
    Relation { name, targets: None, single: false }
}

const fn children(name: &'static str, collection: &'static str) -> Relation {
    Relation { name, targets: Some(collection), single: false }
}

/// Every collection of this stage, by the names of the export table. The Agent ID kinds derive from user, application
/// and service principal in Graph's metadata and live in those collections, told apart by their `@odata.type`.
pub const COLLECTIONS: &[Collection] = &[
    Collection {
        name: "user",
        identity: ID,
        types: &["user", "agentUser"],
        relations: &[Relation { name: "manager", targets: None, single: true }],
    },
    Collection { name: "group", identity: ID, types: &["group"], relations: &[many("members"), many("owners")] },
    Collection {
        name: "application",
        identity: ID,
        types: &["application", "agentIdentityBlueprint"],
        relations: &[many("owners"), children("federatedIdentityCredentials", "federatedIdentityCredential")],
    },
    Collection {
        name: "servicePrincipal",
        identity: ID,
        types: &["servicePrincipal", "agentIdentity", "agentIdentityBlueprintPrincipal"],
        relations: &[many("owners"), children("appRoleAssignedTo", "appRoleAssignment")],
    },
    Collection {
        name: "federatedIdentityCredential",
        identity: ID,
        types: &["federatedIdentityCredential"],
        relations: &[],
    },
    Collection { name: "appRoleAssignment", identity: ID, types: &["appRoleAssignment"], relations: &[] },
    Collection {
        name: "oauth2PermissionGrant",
        identity: ID,
        types: &["oAuth2PermissionGrant", "oauth2PermissionGrant"],
        relations: &[],
    },
    Collection { name: "unifiedRoleDefinition", identity: ID, types: &["unifiedRoleDefinition"], relations: &[] },
    Collection { name: "unifiedRoleAssignment", identity: ID, types: &["unifiedRoleAssignment"], relations: &[] },
    Collection { name: "conditionalAccessPolicy", identity: ID, types: &["conditionalAccessPolicy"], relations: &[] },
    Collection {
        name: "namedLocation",
        identity: ID,
        types: &["namedLocation", "ipNamedLocation", "countryNamedLocation"],
        relations: &[],
    },
    Collection { name: "organization", identity: Identity::Singleton, types: &["organization"], relations: &[] },
    Collection { name: "domain", identity: ID, types: &["domain"], relations: &[] },
    Collection { name: "deletedItems", identity: ID, types: &[], relations: &[] },
];

/// Kinds that are met as targets of links although nothing reads them yet.
const TARGETS_ONLY: &[&str] = &["device", "administrativeUnit", "directoryRole"];

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
