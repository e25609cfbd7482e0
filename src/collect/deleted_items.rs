//! How the directory's recycle bin is read: one list a kind, since Graph has no list of all of it.
//!
//! Must never know: how another collection is read, but for what is selected of the kinds in the bin.

use super::recipe::{How, List, Part, Recipe};
use super::{application, group, service_principal, user};
use crate::graph::Bucket;

const fn kind(path: &'static str, kind: &'static str, permission: &'static str) -> List {
    List { part: Part::Kind(kind), top: Some(999), permission: Some(permission), ..List::plain(path) }
}

const fn policies(path: &'static str, kind: &'static str) -> List {
    let bucket = Some(Bucket::ConditionalAccess);
    List { part: Part::Kind(kind), permission: Some("Policy.Read.All"), bucket, ..List::plain(path) }
}

const USERS: List = List {
    select: user::SELECT,
    guarded: user::GUARDED,
    ..kind("/v1.0/directory/deletedItems/microsoft.graph.user", "user", "User.Read.All")
};

const GROUPS: List = List {
    select: group::SELECT,
    ..kind("/v1.0/directory/deletedItems/microsoft.graph.group", "group", "Group.Read.All")
};

const APPLICATIONS: List = List {
    select: application::SELECT,
    ..kind("/v1.0/directory/deletedItems/microsoft.graph.application", "application", "Application.Read.All")
};

const SERVICE_PRINCIPALS: List = List {
    select: service_principal::SELECT,
    guarded: service_principal::GUARDED,
    ..kind("/v1.0/directory/deletedItems/microsoft.graph.servicePrincipal", "servicePrincipal", "Application.Read.All")
};

const fn agents(
    path: &'static str,
    kind: &'static str,
    select: &'static [&'static str],
    extra: &'static [&'static str],
    permission: &'static str,
) -> List {
    let (part, permission) = (Part::Subtype(kind), Some(permission));
    let guarded = service_principal::GUARDED;
    List { part, top: Some(100), select, extra, guarded, permission, ..List::plain(path) }
}

/// Deleted objects, kept 30 days by the service (learn, directory-deleteditems-list, 2026). A kind that the tenant or
/// cloud doesn't know has nothing in the bin; a kind that may not be read makes the whole partial. The agents derive
/// from the kinds above, whose lists hold them too: theirs only add properties. Conditional Access has a bin of its own.
pub(super) const DELETED_ITEMS: Recipe = Recipe {
    how: How::Lists {
        feed: None,
        lists: &[
            USERS,
            GROUPS,
            APPLICATIONS,
            SERVICE_PRINCIPALS,
            agents(
                "/v1.0/directory/deletedItems/microsoft.graph.agentUser",
                "agentUser",
                user::SELECT,
                &[],
                "User.Read.All",
            ),
            agents(
                "/v1.0/directory/deletedItems/microsoft.graph.agentIdentityBlueprint",
                "agentIdentityBlueprint",
                application::SELECT,
                &[],
                "AgentIdentityBlueprint.Read.All",
            ),
            agents(
                "/v1.0/directory/deletedItems/microsoft.graph.agentIdentity",
                "agentIdentity",
                service_principal::SELECT,
                service_principal::AGENT_IDENTITY,
                "AgentIdentity.Read.All",
            ),
            agents(
                "/v1.0/directory/deletedItems/microsoft.graph.agentIdentityBlueprintPrincipal",
                "agentIdentityBlueprintPrincipal",
                service_principal::SELECT,
                &[],
                "AgentIdentityBlueprintPrincipal.Read.All",
            ),
            kind(
                "/v1.0/directory/deletedItems/microsoft.graph.administrativeUnit",
                "administrativeUnit",
                "AdministrativeUnit.Read.All",
            ),
            kind(
                "/v1.0/directory/deletedItems/microsoft.graph.certificateBasedAuthPki",
                "certificateBasedAuthPki",
                "PublicKeyInfrastructure.Read.All",
            ),
            kind(
                "/v1.0/directory/deletedItems/microsoft.graph.certificateAuthorityDetail",
                "certificateAuthorityDetail",
                "PublicKeyInfrastructure.Read.All",
            ),
            policies("/v1.0/identity/conditionalAccess/deletedItems/policies", "conditionalAccessPolicy"),
            policies("/v1.0/identity/conditionalAccess/deletedItems/namedLocations", "namedLocation"),
        ],
        count: None,
    },
    bucket: Bucket::KeyCredentials,
    unknown_enum_members: true,
    ..Recipe::listed("deletedItems", &[], "User.Read.All")
};
