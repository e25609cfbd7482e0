//! The simulator's own record of what there is, for tests to compare with.
//!
//! Must never know: requests, permissions, or faults.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::collection::Collection;
use super::directory::{Directory, Relation, Standing};
use super::lens::{Lens, facet_value};
use super::recovery::Vault;
use super::reports::{self, Report};
use super::{pim, routes};

/// The simulator's own record of what whole reads of the directory would show now. Tests compare with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Live objects by collection and id, with every property that can be selected, never-set ones as null.
    pub objects: BTreeMap<Collection, BTreeMap<String, Value>>,
    /// What is in the bin, likewise.
    pub deleted: BTreeMap<Collection, BTreeMap<String, Value>>,
    /// Links whose two ends are live, sorted.
    pub links: Vec<LinkRecord>,
    /// What belongs to live objects but does not come with the lists of their collection, by collection and name, then
    /// by id; only where there is any: `signInActivity` of users; what cast lists give (`agentIdentityBlueprintId` and
    /// `createdDateTime` of service principals); what has a path of its own (`rules`, `inheritablePermissions`,
    /// `identitySynchronization`); `includeTargets`, which come with the read of a single configuration.
    pub facets: BTreeMap<(Collection, &'static str), BTreeMap<String, Value>>,
}

impl Record {
    /// The live objects with everything that can be read of them by any path, as a property of the name that the path
    /// ends with: cast properties, rules, targets, federation. Left out is `signInActivity`, which never stands still.
    pub fn whole_objects(&self) -> BTreeMap<Collection, BTreeMap<String, Value>> {
        let mut objects = self.objects.clone();
        for ((collection, name), values) in self.facets.iter().filter(|((_, name), _)| *name != "signInActivity") {
            let Some(members) = objects.get_mut(collection) else { continue };
            for (id, value) in values {
                members.entry(id.clone()).and_modify(|object| object[*name] = value.clone());
            }
        }
        let methods = objects.get(&Collection::AuthenticationMethodConfiguration).cloned().unwrap_or_default();
        let policies = objects.get_mut(&Collection::AuthenticationMethodsPolicy);
        for policy in policies.into_iter().flat_map(BTreeMap::values_mut) {
            for inline in policy["authenticationMethodConfigurations"].as_array_mut().into_iter().flatten() {
                if let Some(method) = inline["id"].as_str().and_then(|id| methods.get(id)) {
                    *inline = method.clone();
                }
            }
        }
        for link in self.links.iter().filter(|link| link.relation == Relation::FederationConfiguration) {
            let federation = self.objects[&Collection::DomainFederation][&link.target].clone();
            let domains = objects.get_mut(&Collection::Domain);
            if let Some(domain) = domains.and_then(|domains| domains.get_mut(&link.source)) {
                domain["federationConfiguration"] = json!([federation]);
            }
        }
        objects
    }
}

/// A link between two live objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkRecord {
    /// Collection of the source.
    pub from: Collection,
    /// Id of the source.
    pub source: String,
    /// Navigation property.
    pub relation: Relation,
    /// Collection of the target.
    pub to: Collection,
    /// Id of the target.
    pub target: String,
}

/// The record of everything now.
pub(super) fn record(directory: &Directory, report: &Report, vault: &Vault, now: Timestamp) -> Record {
    let mut record = Record::default();
    for entry in &directory.entries {
        let shelf = match entry.standing {
            Standing::Live => &mut record.objects,
            Standing::Binned(_) => &mut record.deleted,
            Standing::Hidden | Standing::Gone => continue,
        };
        let value = Value::Object(Lens::everything(entry));
        shelf.entry(entry.collection).or_default().insert(entry.id.clone(), value);
    }
    for entry in directory.entries.iter().filter(|entry| entry.standing == Standing::Live) {
        for (name, _) in entry.collection.facets() {
            let value = facet_value(entry, name, directory.now());
            if !value.is_null() {
                record.facets.entry((entry.collection, name)).or_default().insert(entry.id.clone(), value);
            }
        }
        for ((relation, target), link) in &entry.links {
            if link.present && *relation != Relation::Needs && directory.is_live(*target) {
                record.links.push(LinkRecord {
                    from: entry.collection,
                    source: entry.id.clone(),
                    relation: *relation,
                    to: directory.entries[*target].collection,
                    target: directory.entries[*target].id.clone(),
                });
            }
        }
    }
    record.links.sort();
    made_up(directory, report, &mut record);
    record.objects.insert(Collection::RecoverySnapshot, vault.snapshots_by_id());
    record.objects.insert(Collection::RecoveryJob, vault.jobs_by_id(now));
    record
}

/// What is made when it is read.
fn made_up(directory: &Directory, report: &Report, record: &mut Record) {
    let objects = &mut record.objects;
    for collection in Collection::ALL.into_iter().filter(|collection| pim::source(*collection).is_some()) {
        let places = pim::places(directory, collection).into_iter();
        let made = places.map(|place| pim::made(collection, &directory.entries[place]));
        objects
            .insert(collection, made.map(|body| (body["id"].as_str().unwrap_or_default().to_owned(), body)).collect());
    }
    objects.insert(Collection::UserRegistrationDetails, report.by_id());
    let requirements = directory.live(Collection::User).map(|user| (user.id.clone(), reports::requirements(user)));
    objects.insert(Collection::StrongAuthenticationRequirements, requirements.collect());
    for policy in objects.get_mut(&Collection::AuthenticationMethodsPolicy).into_iter().flat_map(BTreeMap::values_mut) {
        policy["authenticationMethodConfigurations"] = json!(routes::method_configurations(directory));
    }
}
