//! What is served where.
//!
//! Must never know: who asks, what a request costs, or how the service is doing.
//!
//! Paths are those of the reference page of each type.

use serde_json::Value;

use super::collection::Collection;
use super::delta::{Feed, delta};
use super::directory::{Directory, Relation};
use super::events;
use super::exchange::{Ask, Refusal, Reply};
use super::lens::{Lens, is_a};
use super::pim;
use super::reads::{self, Desk, List, Paging};
use super::recovery::{self, Vault};
use super::reports::{self, Report};

/// Everything that can be read.
pub(super) struct World<'a> {
    pub directory: &'a Directory,
    pub report: &'a Report,
    pub vault: &'a Vault,
    /// How many days the audit log is kept.
    pub audit_days: i64,
    /// How many times all delta tokens were made to expire.
    pub epoch: u64,
}

type Answer = Result<Reply, Refusal>;

/// Answers a request that has passed authentication, weather and permissions.
pub(super) fn route(world: &World<'_>, desk: &mut Desk<'_>, ask: &Ask) -> Answer {
    let segments: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    if let Some((collection, set, rest)) = main_collection(&segments) {
        return main(world, desk, ask, (collection, set), rest);
    }
    if let Some((collection, set)) = singleton(&segments) {
        return match collection {
            Collection::AuthenticationMethodsPolicy => methods_policy(world.directory, ask, set),
            _ => reads::only(world.directory, desk, ask, collection, set),
        };
    }
    if let Some((collection, set)) = plain_collection(&segments) {
        return plain(world, desk, ask, collection, set);
    }
    if let [path @ .., id] = segments.as_slice()
        && let Some((collection, set)) = plain_collection(path)
    {
        return plain_single(world, desk, ask, (collection, set), id);
    }
    if let [path @ .., id, part] = segments.as_slice()
        && let Some((collection, set)) = plain_collection(path)
    {
        return part_of(world.directory, desk, ask, (collection, set), id, part);
    }
    match segments.as_slice() {
        ["directory", "deletedItems"] => Err(Refusal::bad("Resource type must be specified.")),
        ["directory", "deletedItems", cast] => deleted(world.directory, desk, ask, cast),
        ["identity", "conditionalAccess", "deletedItems", kind @ ("policies" | "namedLocations")] => {
            let collection =
                if *kind == "policies" { Collection::ConditionalAccessPolicy } else { Collection::NamedLocation };
            let set = format!("identity/conditionalAccess/deletedItems/{kind}");
            reads::page(world.directory, desk, ask, &reads::bin(world.directory, collection, None, &set))
        }
        ["directory", "recovery", rest @ ..] => recovery::read(world.vault, desk, ask, rest),
        ["auditLogs", "directoryAudits", rest @ ..] => events::read(world, desk, ask, rest),
        ["reports", "authenticationMethods", "userRegistrationDetails"] => {
            let set = "reports/authenticationMethods/userRegistrationDetails";
            let paging = Paging { options: &["$top", "$skiptoken"], ..Paging::USUAL };
            reads::rows(desk, ask, set, world.report.keys(), &paging, |key| world.report.row(key))
        }
        [] => Err(Refusal::unknown("")),
        [.., last] => Err(Refusal::unknown(last)),
    }
}

/// The collections that have links and mostly a feed: collection, canonical name, and what follows it in the path.
fn main_collection<'a, 'b>(path: &'a [&'b str]) -> Option<(Collection, &'static str, &'a [&'b str])> {
    let (collection, set, rest) = match path {
        ["users", rest @ ..] => (Collection::User, "users", rest),
        ["groups", rest @ ..] => (Collection::Group, "groups", rest),
        ["applications", rest @ ..] => (Collection::Application, "applications", rest),
        ["servicePrincipals", rest @ ..] => (Collection::ServicePrincipal, "servicePrincipals", rest),
        ["oauth2PermissionGrants", rest @ ..] => (Collection::Oauth2PermissionGrant, "oauth2PermissionGrants", rest),
        ["devices", rest @ ..] => (Collection::Device, "devices", rest),
        ["directory", "administrativeUnits", rest @ ..] => {
            (Collection::AdministrativeUnit, "directory/administrativeUnits", rest)
        }
        _ => return None,
    };
    Some((collection, set, rest))
}

fn main(world: &World<'_>, desk: &mut Desk<'_>, ask: &Ask, of: (Collection, &'static str), rest: &[&str]) -> Answer {
    let (directory, (collection, set)) = (world.directory, of);
    match rest {
        [] => reads::page(directory, desk, ask, &reads::all(directory, collection, set)),
        ["$count"] if collection != Collection::Oauth2PermissionGrant => reads::count(directory, ask, collection),
        ["delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"] => {
            delta(&mut Feed { directory, desk, epoch: world.epoch }, ask, collection, set)
        }
        [cast] if subtype(collection, cast).is_some() => {
            let cast = subtype(collection, cast).expect("the guard has seen it");
            reads::page(directory, desk, ask, &reads::all_of(directory, collection, cast, set))
        }
        [id] => reads::single(directory, desk, ask, (collection, None, set), id),
        [id, cast] if subtype(collection, cast).is_some() => {
            reads::single(directory, desk, ask, (collection, subtype(collection, cast), set), id)
        }
        [id, cast, link] if subtype(collection, cast).is_some() => {
            let cast = subtype(collection, cast).expect("the guard has seen it");
            let place = reads::live(directory, collection, id)?;
            if !is_a(&directory.entries[place], cast) {
                return Err(Refusal::missing(id));
            }
            related(directory, desk, ask, of, id, link, Some(cast))
        }
        [id, "authentication", "requirements"] if collection == Collection::User && ask.version == "beta" => {
            let place = reads::live(directory, collection, id)?;
            let set = format!("users('{id}')/authentication/requirements");
            reads::document(ask, &set, reports::requirements(&directory.entries[place]))
        }
        [id, link] => related(directory, desk, ask, of, id, link, None),
        [_, _, segment, ..] => Err(Refusal::unknown(segment)),
    }
}

/// The subtype that a path is cast to, if the collection has it.
fn subtype(collection: Collection, segment: &str) -> Option<&'static str> {
    let kinds: &[&'static str] = match collection {
        Collection::User => &["agentUser"],
        Collection::Application => &["agentIdentityBlueprint"],
        Collection::ServicePrincipal => &["agentIdentity", "agentIdentityBlueprintPrincipal"],
        _ => &[],
    };
    let name = segment.strip_prefix("microsoft.graph.")?;
    kinds.iter().copied().find(|kind| *kind == name)
}

/// Links and dependents of one object.
fn related(
    directory: &Directory,
    desk: &mut Desk<'_>,
    ask: &Ask,
    of: (Collection, &str),
    id: &str,
    link: &str,
    cast: Option<&str>,
) -> Answer {
    use Collection as C;
    let (collection, set) = of;
    let place = reads::live(directory, collection, id)?;
    let below = || format!("{set}('{id}')/{link}");
    let assignments = |end: &str| reads::with_property(directory, C::AppRoleAssignment, below(), end, place);
    let linked = |relation| reads::linked(directory, desk, ask, place, relation);
    let list = match (collection, link, cast) {
        (C::User, "manager", _) => return reads::manager(directory, desk, ask, id),
        (C::Group | C::AdministrativeUnit, "members", _) => linked(Relation::Members),
        (C::Group | C::Application | C::ServicePrincipal, "owners", _) => linked(Relation::Owners),
        // Sponsors are of users and of the Agent ID kinds, which derive from types that have none.
        (C::User, "sponsors", _) | (C::Application | C::ServicePrincipal, "sponsors", Some(_)) => {
            linked(Relation::Sponsors)
        }
        (C::Device, "registeredOwners", _) => linked(Relation::RegisteredOwners),
        (C::Device, "registeredUsers", _) => linked(Relation::RegisteredUsers),
        (C::AdministrativeUnit, "scopedRoleMembers", _) => {
            reads::parts(directory, place, Relation::ScopedRoleMembers, C::ScopedRoleMembership, below())
        }
        (C::Application, "federatedIdentityCredentials", _) => {
            let relation = Relation::FederatedIdentityCredentials;
            reads::parts(directory, place, relation, C::FederatedIdentityCredential, below())
        }
        (C::Application, "inheritablePermissions", Some(_)) => {
            let kept = directory.entries[place].value.get("inheritablePermissions").cloned().unwrap_or_default();
            return values(desk, ask, &below(), &kept);
        }
        (C::User | C::Group | C::ServicePrincipal, "appRoleAssignments", _) => assignments("principalId"),
        (C::ServicePrincipal, "appRoleAssignedTo", _) => assignments("resourceId"),
        _ => return Err(Refusal::unknown(link)),
    };
    reads::page(directory, desk, ask, &list)
}

/// A list that is kept as a value of one object.
fn values(desk: &mut Desk<'_>, ask: &Ask, set: &str, kept: &Value) -> Answer {
    let kept = kept.as_array().cloned().unwrap_or_default();
    let keys: Vec<usize> = (0..kept.len()).collect();
    reads::rows(desk, ask, set, &keys, &Paging::USUAL, |key| kept[key].clone())
}

/// The policies of which there is one, by path, with the name that their context has.
fn singleton(path: &[&str]) -> Option<(Collection, &'static str)> {
    let ["policies", rest @ ..] = path else { return None };
    Some(match rest {
        ["authenticationMethodsPolicy"] => (Collection::AuthenticationMethodsPolicy, "authenticationMethodsPolicy"),
        ["authorizationPolicy"] => (Collection::AuthorizationPolicy, "policies/authorizationPolicy"),
        ["identitySecurityDefaultsEnforcementPolicy"] => {
            (Collection::SecurityDefaults, "policies/identitySecurityDefaultsEnforcementPolicy")
        }
        ["crossTenantAccessPolicy"] => (Collection::CrossTenantAccessPolicy, "policies/crossTenantAccessPolicy"),
        ["crossTenantAccessPolicy", "default"] => {
            (Collection::CrossTenantAccessPolicyDefault, "policies/crossTenantAccessPolicy/default")
        }
        _ => return None,
    })
}

/// The collections without a feed, by path, with the name that their context has.
fn plain_collection(path: &[&str]) -> Option<(Collection, &'static str)> {
    use Collection as C;
    Some(match path {
        ["roleManagement", "directory", set] => match *set {
            "roleDefinitions" => (C::RoleDefinition, "roleManagement/directory/roleDefinitions"),
            "roleAssignments" => (C::RoleAssignment, "roleManagement/directory/roleAssignments"),
            "roleAssignmentSchedules" => {
                (C::RoleAssignmentSchedule, "roleManagement/directory/roleAssignmentSchedules")
            }
            "roleAssignmentScheduleInstances" => {
                (C::RoleAssignmentScheduleInstance, "roleManagement/directory/roleAssignmentScheduleInstances")
            }
            "roleEligibilitySchedules" => {
                (C::RoleEligibilitySchedule, "roleManagement/directory/roleEligibilitySchedules")
            }
            "roleEligibilityScheduleInstances" => {
                (C::RoleEligibilityScheduleInstance, "roleManagement/directory/roleEligibilityScheduleInstances")
            }
            _ => return None,
        },
        ["identity", "conditionalAccess", set] => match *set {
            "policies" => (C::ConditionalAccessPolicy, "identity/conditionalAccess/policies"),
            "namedLocations" => (C::NamedLocation, "identity/conditionalAccess/namedLocations"),
            "authenticationContextClassReferences" => (
                C::AuthenticationContextClassReference,
                "identity/conditionalAccess/authenticationContextClassReferences",
            ),
            _ => return None,
        },
        ["policies", "authenticationMethodsPolicy", "authenticationMethodConfigurations"] => {
            (C::AuthenticationMethodConfiguration, "authenticationMethodConfigurations")
        }
        ["policies", "authenticationStrengthPolicies"] => {
            (C::AuthenticationStrengthPolicy, "policies/authenticationStrengthPolicies")
        }
        ["policies", "permissionGrantPolicies"] => (C::PermissionGrantPolicy, "policies/permissionGrantPolicies"),
        ["policies", "crossTenantAccessPolicy", "partners"] => {
            (C::CrossTenantAccessPolicyPartner, "policies/crossTenantAccessPolicy/partners")
        }
        ["policies", "roleManagementPolicies"] => (C::RoleManagementPolicy, "policies/roleManagementPolicies"),
        ["policies", "roleManagementPolicyAssignments"] => {
            (C::RoleManagementPolicyAssignment, "policies/roleManagementPolicyAssignments")
        }
        ["organization"] => (C::Organization, "organization"),
        ["domains"] => (C::Domain, "domains"),
        ["subscribedSkus"] => (C::SubscribedSku, "subscribedSkus"),
        _ => return None,
    })
}

fn plain(world: &World<'_>, desk: &mut Desk<'_>, ask: &Ask, collection: Collection, set: &'static str) -> Answer {
    let directory = world.directory;
    match collection {
        Collection::ConditionalAccessPolicy => {
            let mut list = reads::all(directory, collection, set);
            // v1.0 leaves out policies that use a condition known only to beta (reported by users of export tools).
            list.places.retain(|place| !is_beta_only(directory, &ask.version, *place));
            reads::page(directory, desk, ask, &list)
        }
        Collection::RoleManagementPolicy | Collection::RoleManagementPolicyAssignment => {
            settings(directory, desk, ask, &reads::all(directory, collection, set))
        }
        _ if pim::source(collection).is_some() => {
            let places = pim::places(directory, collection);
            reads::rows(desk, ask, set, &places, &SELECTING, |place| {
                narrowed(pim::made(collection, &directory.entries[place]), ask)
            })
        }
        _ => reads::page(directory, desk, ask, &reads::all(directory, collection, set)),
    }
}

const SELECTING: Paging = Paging { options: &["$select", "$top", "$count", "$skiptoken", "$filter"], ..Paging::USUAL };

/// What `$select` leaves of a body that is made when it is read.
fn narrowed(mut body: Value, ask: &Ask) -> Value {
    if let (Some(text), Some(body)) = (ask.option("$select"), body.as_object_mut()) {
        body.retain(|name, _| text.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(name)));
    }
    body
}

/// PIM settings, which must be asked for by scope ("List roleManagementPolicies"), with their rules on request.
fn settings(directory: &Directory, desk: &mut Desk<'_>, ask: &Ask, list: &List) -> Answer {
    const PAGING: Paging =
        Paging { options: &["$filter", "$expand", "$select", "$top", "$skiptoken"], ..Paging::USUAL };
    let filter = ask.option("$filter").unwrap_or_default();
    let clauses: Vec<&str> = filter.split(" and ").map(str::trim).collect();
    let scoped = clauses.contains(&"scopeId eq '/'");
    let typed = ["scopeType eq 'DirectoryRole'", "scopeType eq 'Directory'"].iter().any(|it| clauses.contains(it));
    if !scoped || !typed {
        return Err(Refusal::new(400, "MissingProvider", "The provider is missing. Filter by scopeId and scopeType."));
    }
    let expand = ask.option("$expand");
    let rules = list.collection == Some(Collection::RoleManagementPolicy) && expand == Some("rules");
    if expand.is_some() && !rules {
        return Err(Refusal::unsupported("The query option '$expand' is not supported with this value."));
    }
    let lens = Lens::new(list.collection, None, None, false, directory.now());
    reads::rows(desk, ask, &list.set, &list.places, &PAGING, |place| {
        let entry = &directory.entries[place];
        let mut shown = lens.show(entry);
        if rules {
            shown.insert("rules".into(), entry.value.get("rules").cloned().unwrap_or_default());
        }
        narrowed(Value::Object(shown), ask)
    })
}

fn plain_single(world: &World<'_>, desk: &mut Desk<'_>, ask: &Ask, of: (Collection, &'static str), id: &str) -> Answer {
    let (directory, (collection, set)) = (world.directory, of);
    if collection == Collection::ConditionalAccessPolicy
        && directory.place(collection, id).is_some_and(|place| is_beta_only(directory, &ask.version, place))
    {
        return Err(Refusal::missing(id));
    }
    if pim::source(collection).is_none() {
        return reads::single(directory, desk, ask, (collection, None, set), id);
    }
    ask.allow_only(&["$select"])?;
    let places = pim::places(directory, collection).into_iter();
    let found = places.map(|place| pim::made(collection, &directory.entries[place])).find(|body| body["id"] == id);
    let found = narrowed(found.ok_or_else(|| Refusal::missing(id))?, ask);
    reads::document(ask, &format!("{set}/$entity"), found)
}

/// What lies below an object of a collection without a feed.
fn part_of(
    directory: &Directory,
    desk: &mut Desk<'_>,
    ask: &Ask,
    of: (Collection, &'static str),
    id: &str,
    part: &str,
) -> Answer {
    let (collection, set) = of;
    let place = reads::live(directory, collection, id)?;
    let kept = || directory.entries[place].value.get(part).cloned().unwrap_or_default();
    let below = format!("{set}('{id}')/{part}");
    match (collection, part) {
        (Collection::AuthenticationStrengthPolicy, "combinationConfigurations")
        | (Collection::PermissionGrantPolicy, "includes" | "excludes")
        | (Collection::RoleManagementPolicy, "rules") => values(desk, ask, &below, &kept()),
        (Collection::Domain, "federationConfiguration") => {
            let relation = Relation::FederationConfiguration;
            let list = reads::parts(directory, place, relation, Collection::DomainFederation, below);
            // A managed domain has none, and asking is an error ("List internalDomainFederations").
            if list.places.is_empty() {
                return Err(Refusal::missing(id));
            }
            reads::page(directory, desk, ask, &list)
        }
        (Collection::CrossTenantAccessPolicyPartner, "identitySynchronization") => match kept() {
            synchronization @ Value::Object(_) => reads::document(ask, &below, synchronization),
            _ => Err(Refusal::missing(part)),
        },
        _ => Err(Refusal::unknown(part)),
    }
}

/// The authentication methods policy with its configurations, which hold no targets here ("Get
/// authenticationMethodsPolicy"; targets come with the read of each configuration).
fn methods_policy(directory: &Directory, ask: &Ask, set: &str) -> Answer {
    ask.allow_only(&[])?;
    let policy = directory.live(Collection::AuthenticationMethodsPolicy).next().ok_or_else(|| Refusal::missing(set))?;
    let mut body = Lens::everything(policy);
    body.insert("authenticationMethodConfigurations".into(), method_configurations(directory));
    reads::document(ask, set, Value::Object(body))
}

/// The configurations as the policy holds them.
pub(super) fn method_configurations(directory: &Directory) -> Value {
    let configurations = directory.live(Collection::AuthenticationMethodConfiguration);
    configurations.map(|entry| Value::Object(Lens::everything(entry))).collect()
}

/// The bins of the directory, by type ("List deletedItems"). A security group is not kept there by this tenant's life,
/// and of the public key infrastructure there is nothing.
fn deleted(directory: &Directory, desk: &mut Desk<'_>, ask: &Ask, cast: &str) -> Answer {
    use Collection as C;
    let unknown = || Refusal::bad(format!("Resource type '{cast}' is not supported in deletedItems."));
    let kind = cast.strip_prefix("microsoft.graph.").ok_or_else(unknown)?;
    let (collection, subtype, set) = match kind {
        "user" => (C::User, None, "users"),
        "group" => (C::Group, None, "groups"),
        "application" => (C::Application, None, "applications"),
        "servicePrincipal" => (C::ServicePrincipal, None, "servicePrincipals"),
        "administrativeUnit" => (C::AdministrativeUnit, None, "administrativeUnits"),
        "device" => (C::Device, None, "devices"),
        "agentUser" => (C::User, Some("agentUser"), "users"),
        "agentIdentityBlueprint" => (C::Application, Some("agentIdentityBlueprint"), "applications"),
        "agentIdentity" => (C::ServicePrincipal, Some("agentIdentity"), "servicePrincipals"),
        "agentIdentityBlueprintPrincipal" => {
            (C::ServicePrincipal, Some("agentIdentityBlueprintPrincipal"), "servicePrincipals")
        }
        "certificateBasedAuthPki" | "certificateAuthorityDetail" => {
            return reads::rows(desk, ask, "directoryObjects", &[], &Paging::USUAL, |_| Value::Null);
        }
        _ => return Err(unknown()),
    };
    reads::page(directory, desk, ask, &reads::bin(directory, collection, subtype, set))
}

/// Whether a policy cannot be seen by a request to `version`.
fn is_beta_only(directory: &Directory, version: &str, place: usize) -> bool {
    // Conditions that no type of v1.0 has.
    let conditions = directory.entries[place].value.get("conditions");
    let beta = ["agentIdRiskLevels", "globalSecureAccess"];
    version == "v1.0" && conditions.is_some_and(|has| beta.iter().any(|condition| !has[condition].is_null()))
}
