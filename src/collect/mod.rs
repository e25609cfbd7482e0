//! How each collection is read from Graph, as a stream of what was seen and an outcome that says how much of it.
//!
//! Must never know: what was known before, or where anything is stored. Whether absence means removal is decided by the
//! caller, from [`Outcome`].
//!
//! Adding a collection: a row in the model's table, a [`Recipe`] in a file here, a row in [`COLLECTIONS`].

mod application;
mod conditional_access;
mod deleted_items;
mod detail;
mod device;
mod events;
mod fan_out;
mod grants;
mod group;
mod outcome;
mod policies;
mod probe;
mod recipe;
mod roles;
mod round;
mod selection;
mod service;
mod service_principal;
mod sift;
mod sighting;
mod tenant;
mod token;
mod user;

pub use fan_out::Source;
pub use outcome::{Outcome, Status, code, code_of, is_lasting, is_passing};
pub use probe::{Probe, Tried, can_write};
pub use recipe::{Detail, FacetRead, Feed, Form, How, List, Part, Recipe, RelationRead, When};
pub use sighting::{Content, Sighting, Sink};

/// How every collection of the model is read, parents before what hangs under them.
///
/// What is small and decides about power comes first: when time runs out it has been read.
pub static COLLECTIONS: &[Recipe] = &[
    service::DIRECTORY_AUDIT,
    service::RECOVERY_JOB,
    service::RECOVERY_SNAPSHOT,
    conditional_access::CONDITIONAL_ACCESS_POLICY,
    conditional_access::NAMED_LOCATION,
    conditional_access::AUTHENTICATION_CONTEXT,
    policies::AUTHENTICATION_METHODS_POLICY,
    policies::AUTHENTICATION_STRENGTH_POLICY,
    policies::AUTHORIZATION_POLICY,
    policies::SECURITY_DEFAULTS,
    policies::PERMISSION_GRANT_POLICY,
    policies::CROSS_TENANT_ACCESS_POLICY,
    policies::CROSS_TENANT_ACCESS_POLICY_DEFAULT,
    policies::CROSS_TENANT_ACCESS_POLICY_PARTNER,
    roles::UNIFIED_ROLE_DEFINITION,
    roles::UNIFIED_ROLE_ASSIGNMENT,
    roles::UNIFIED_ROLE_ASSIGNMENT_SCHEDULE,
    roles::UNIFIED_ROLE_ASSIGNMENT_SCHEDULE_INSTANCE,
    roles::UNIFIED_ROLE_ELIGIBILITY_SCHEDULE,
    roles::UNIFIED_ROLE_ELIGIBILITY_SCHEDULE_INSTANCE,
    roles::UNIFIED_ROLE_MANAGEMENT_POLICY,
    roles::UNIFIED_ROLE_MANAGEMENT_POLICY_ASSIGNMENT,
    tenant::ORGANIZATION,
    tenant::DOMAIN,
    tenant::SUBSCRIBED_SKU,
    grants::OAUTH2_PERMISSION_GRANT,
    roles::ADMINISTRATIVE_UNIT,
    application::APPLICATION,
    service_principal::SERVICE_PRINCIPAL,
    group::GROUP,
    user::USER,
    device::DEVICE,
    deleted_items::DELETED_ITEMS,
    user::USER_REGISTRATION_DETAILS,
    roles::SCOPED_ROLE_MEMBERSHIP,
    application::FEDERATED_IDENTITY_CREDENTIAL,
    application::INHERITABLE_PERMISSION,
    service_principal::APP_ROLE_ASSIGNMENT,
    user::STRONG_AUTHENTICATION_REQUIREMENTS,
];

/// How the collection called `name` is read.
pub fn find(name: &str) -> Option<&'static Recipe> {
    COLLECTIONS.iter().find(|recipe| recipe.collection == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    #[test]
    fn every_collection_of_the_model_has_one_recipe_and_every_relation_a_way_to_be_read() {
        for collection in model::COLLECTIONS {
            let recipes: Vec<_> = COLLECTIONS.iter().filter(|recipe| recipe.collection == collection.name).collect();
            assert_eq!(recipes.len(), 1, "{}", collection.name);
            for relation in collection.relations {
                let here = recipes[0].relation(relation.name).is_some();
                let under = COLLECTIONS.iter().any(|recipe| {
                    recipe.parent() == Some((collection.name, relation.name))
                        && Some(recipe.collection) == relation.targets
                });
                assert!(here != under, "{} {}", collection.name, relation.name);
            }
        }
        assert_eq!(COLLECTIONS.len(), model::COLLECTIONS.len());
    }

    #[test]
    fn relations_agree_with_the_model() {
        for recipe in COLLECTIONS {
            let collection = model::find(recipe.collection).unwrap();
            for relation in recipe.relations {
                let known = collection.relations.iter().find(|known| known.name == relation.name).unwrap();
                assert_eq!(known.single, relation.single, "{}", relation.name);
                assert!(relation.path.contains("{id}"));
            }
        }
    }

    #[test]
    fn guarded_properties_are_selected_and_none_twice() {
        let check = |select: &[&str], guarded: &[&str]| {
            assert!(guarded.iter().all(|name| select.contains(name)));
            assert!(select.iter().enumerate().all(|(index, name)| !select[index + 1..].contains(name)));
        };
        for recipe in COLLECTIONS {
            if let Some(feed) = recipe.feed_part() {
                check(feed.select, feed.guarded);
            }
            if let How::Lists { lists, .. } = &recipe.how {
                for list in lists.iter().filter(|list| !list.select.is_empty()) {
                    let select: Vec<_> = list.select.iter().chain(list.extra).copied().collect();
                    let guarded: Vec<_> = list.guarded.iter().copied().filter(|name| select.contains(name)).collect();
                    check(&select, &guarded);
                }
            }
        }
    }
}
