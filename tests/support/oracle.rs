//! The tenant's own record against the archive: what a capture should have seen, and what its packs say when they are
//! folded by hand, without index or query layer.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tenure::archive::entry::{Body, PackRef, Status};
use tenure::archive::line::{Content, Statement};
use tenure::archive::reader::read_lines;
use tenure::canonical::Key;
use tenure::model;
use tenure::simulator::{Collection, Record, Simulator};
use tenure::store::Store;

/// A link as source, relation and target.
pub type Link = (String, String, String);

/// What there is, in the words of the archive: values without nulls and annotations, arrays in one order.
#[derive(Debug, Default, Clone)]
pub struct State {
    pub objects: BTreeMap<String, Value>,
    pub links: BTreeSet<Link>,
    pub events: BTreeMap<String, Value>,
    /// Whether content without a canonical form may be archived: as a text then.
    pub may_be_raw: bool,
}

/// What only a GET of one group shows, or Teams keeps: no list or feed has them.
const NOT_IN_LISTS: &[&str] = &[
    "allowExternalSenders",
    "autoSubscribeNewMembers",
    "hideFromAddressLists",
    "hideFromOutlookClients",
    "isSubscribedByMail",
    "unseenCount",
];

/// Properties that only the list of a subtype gives: read with the whole, not with the feed.
const OF_SUBTYPES: &[&str] = &["identityParentId", "agentIdentityBlueprintId", "createdDateTime"];

/// Lists in an order of their own: which of them are sets is not what these tests are about.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(elements) => {
            let mut elements: Vec<_> = elements.iter().map(sorted).collect();
            elements.sort_by_cached_key(ToString::to_string);
            elements.into()
        }
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            Value::Object(members.into_iter().collect())
        }
        value => value.clone(),
    }
}

/// Top-level nulls and annotations say nothing.
fn plain(value: &Value) -> Value {
    let Value::Object(members) = value else { return sorted(value) };
    let says = |(name, value): &(&String, &Value)| {
        !value.is_null() && !name.starts_with('@') && !NOT_IN_LISTS.contains(&name.as_str())
    };
    sorted(&Value::Object(members.iter().filter(says).map(|(name, value)| (name.clone(), value.clone())).collect()))
}

fn key_of(collection: &str, id: &str) -> String {
    match model::find(collection).map(|collection| collection.identity) {
        Some(model::Identity::Singleton) => format!("{collection}/-"),
        _ => Key::new(collection, id).to_string(),
    }
}

/// What is visible in the tenant now.
pub fn visible(tenant: &Simulator) -> State {
    let record = tenant.record();
    let mut state = State::default();
    for (collection, members) in &record.objects {
        for (id, object) in members {
            put(&mut state, &record, *collection, id, object);
        }
    }
    for (id, object) in record.deleted.values().flatten() {
        state.objects.insert(key_of("deletedItems", id), plain(&without(object, STAMPS)));
    }
    for link in &record.links {
        // How a domain is federated is a part of the domain.
        if link.relation.name() != "federationConfiguration" {
            let (source, target) = (key_of(link.from.name(), &link.source), key_of(link.to.name(), &link.target));
            state.links.insert((source, link.relation.name().to_owned(), target));
        }
    }
    for event in tenant.events() {
        state.events.insert(key_of("directoryAudit", event["id"].as_str().unwrap()), plain(&event));
    }
    state
}

/// What is a facet of live objects and isn't asked for in the bin.
const STAMPS: &[&str] = &["onPremisesLastSyncDateTime", "approximateLastSignInDateTime", "signInActivity"];

fn without(object: &Value, names: &[&str]) -> Value {
    let members = object.as_object().unwrap().iter().filter(|(name, _)| !names.contains(&name.as_str()));
    Value::Object(members.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn put(state: &mut State, record: &Record, collection: Collection, id: &str, object: &Value) {
    let Some(known) = model::find(collection.name()) else { return };
    let mut whole = object.as_object().unwrap().clone();
    for ((of, name), values) in &record.facets {
        if let (true, Some(value)) = (*of == collection, values.get(id)) {
            whole.insert((*name).to_owned(), value.clone());
        }
    }
    if let Some(permissions) = whole.remove("inheritablePermissions") {
        let all = json!({ "value": permissions });
        state.objects.insert(key_of("inheritablePermission", id), sorted(&all));
    } else if whole.get("@odata.type").is_some_and(|kind| kind == "#microsoft.graph.agentIdentityBlueprint") {
        state.objects.insert(key_of("inheritablePermission", id), json!({ "value": [] }));
    }
    if collection == Collection::AuthenticationMethodsPolicy {
        for configuration in whole["authenticationMethodConfigurations"].as_array_mut().unwrap() {
            let of = &record.facets.get(&(Collection::AuthenticationMethodConfiguration, "includeTargets"));
            let targets = of.and_then(|of| of.get(configuration["id"].as_str().unwrap()));
            if let Some(targets) = targets {
                configuration["includeTargets"] = targets.clone();
            }
        }
    }
    if collection == Collection::Domain && whole["authenticationType"] == "Federated" {
        let mine = |link: &&tenure::simulator::LinkRecord| {
            link.relation.name() == "federationConfiguration" && link.source == id
        };
        let of = record.links.iter().filter(mine).map(|link| &record.objects[&link.to][&link.target]);
        whole.insert("federationConfiguration".to_owned(), json!(of.collect::<Vec<_>>()));
    }
    let key = key_of(collection.name(), id);
    for facet in known.facets {
        let lifted: Map<String, Value> = facet
            .properties
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), whole.remove(*name).filter(|value| !value.is_null())?)))
            .collect();
        if !lifted.is_empty() {
            state.objects.insert(format!("{key}#{}", facet.name), plain(&Value::Object(lifted)));
        }
    }
    state.objects.insert(key, plain(&Value::Object(whole)));
}

impl State {
    /// Takes in what one capture committed. The first one's base is its change.
    pub async fn fold(&mut self, store: &dyn Store, body: &Body) {
        let delta = body.delta.as_ref().unwrap();
        let first = body.base.is_some() && self.objects.is_empty();
        let base: &[PackRef] = if first { &body.base.as_ref().unwrap().packs } else { &[] };
        for pack in base.iter().chain(&delta.packs) {
            read_lines(store, pack, |line, _| self.line(line)).await.unwrap();
        }
    }

    fn line(&mut self, line: tenure::archive::line::Line) {
        let key = line.key.to_string();
        let may_be_raw = self.may_be_raw;
        let read = |content: Content| match content {
            Content::Canonical(bytes) => plain(&serde_json::from_slice(&bytes).unwrap()),
            Content::Raw(bytes) if may_be_raw => String::from_utf8(bytes).expect("a line is text").into(),
            other => panic!("{key}: {other:?}"),
        };
        match line.statement {
            Statement::Put(content) => {
                let value = read(content);
                self.objects.insert(key, value);
            }
            Statement::Event(content) => {
                let value = read(content);
                assert!(self.events.insert(key.clone(), value).is_none(), "{key} is recorded twice");
            }
            Statement::Remove => {
                self.objects.remove(&key);
                self.links.retain(|(source, ..)| *source != key);
            }
            Statement::Add(relation, targets) => {
                self.links
                    .extend(targets.into_keys().map(|target| (key.clone(), relation.clone(), target.to_string())));
            }
            Statement::Drop(relation, targets) => {
                for target in targets {
                    self.links.remove(&(key.clone(), relation.clone(), target.to_string()));
                }
            }
        }
    }
}

/// Compares captures with what was visible when they were made.
#[derive(Debug, Default)]
pub struct Oracle {
    pub archived: State,
    /// Every value that each key ever had when a capture was made, and every link: nothing else may be archived.
    values: BTreeMap<String, BTreeSet<u64>>,
    links: BTreeSet<Link>,
    /// Rows that were compared exactly, and those that weren't.
    pub exact: u64,
    pub admitted: u64,
}

fn fingerprint(value: &Value) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

impl Oracle {
    /// Notes what the tenant showed, so that it may be archived, though nothing is compared now.
    pub fn note(&mut self, shown: &State) {
        for (key, value) in &shown.objects {
            self.values.entry(key.clone()).or_default().insert(fingerprint(&without(value, OF_SUBTYPES)));
        }
        self.links.extend(shown.links.iter().cloned());
    }

    /// Takes a committed capture in and compares: exactly where its row is complete; elsewhere what is archived must be
    /// what the tenant showed at this or an earlier capture.
    ///
    /// Time goes on while a capture waits, and some things change by it alone (an activation ends, a record arrives): what
    /// was read is what was visible when the capture began (`before`) or when it ended (`after`).
    pub async fn check(&mut self, store: &dyn Store, body: &Body, before: &State, after: &State, story: &str) {
        self.archived.fold(store, body).await;
        let cover = body.cover.as_ref().unwrap();
        let status = |collection: &str, relation: Option<&str>, facet: Option<&str>| {
            let row = cover
                .iter()
                .find(|row| row.c == collection && row.r.as_deref() == relation && row.f.as_deref() == facet);
            row.unwrap_or_else(|| panic!("{story}: no row for {collection} {relation:?} {facet:?}")).st
        };
        for row in cover {
            match row.st {
                Status::Complete => self.exact += 1,
                _ => self.admitted += 1,
            }
        }
        self.note(before);
        self.note(after);
        let is_complete = |key: &str| {
            let key: Key = key.parse().unwrap();
            status(key.collection(), None, key.facet_name()) == Status::Complete
        };
        for key in before.objects.keys().filter(|key| after.objects.contains_key(*key) && is_complete(key)) {
            assert!(self.archived.objects.contains_key(key), "{story}: {key} is there and not archived");
        }
        for (key, found) in &self.archived.objects {
            match (is_complete(key), after.objects.get(key).or(before.objects.get(key))) {
                (true, Some(_)) if before.objects.get(key) == Some(found) => {}
                (true, Some(expected)) => same(key, found, expected, story),
                (true, None) => panic!("{story}: {key} is archived and not there"),
                (false, _) => {
                    let known = self
                        .values
                        .get(key)
                        .is_some_and(|values| values.contains(&fingerprint(&without(found, OF_SUBTYPES))));
                    assert!(known, "{story}: {key} never was as it is archived: {found}");
                }
            }
        }
        let facets = self.archived.objects.keys().filter_map(|key| Some((key, key.split_once('#')?.0)));
        // Where the objects weren't all seen, a facet's own list may show one that isn't known yet.
        let facets = facets.filter(|(_, object)| is_complete(object));
        let left: Vec<_> = facets.filter(|(_, object)| !self.archived.objects.contains_key(*object)).take(3).collect();
        assert!(left.is_empty(), "{story}: facets of what is gone: {left:?}");
        // The links to what hangs under an object are ours: the tenant has them as properties of the children.
        let is_exact = |(source, relation, _): &&Link| {
            relation != "appRoleAssignedTo"
                && status(source.split('/').next().unwrap(), Some(relation), None) == Status::Complete
        };
        let found: BTreeSet<&Link> = self.archived.links.iter().filter(is_exact).collect();
        let common = before.links.iter().filter(|link| after.links.contains(*link));
        let common: BTreeSet<&Link> = common.filter(is_exact).collect();
        let any: BTreeSet<&Link> = before.links.iter().chain(&after.links).collect();
        let difference: Vec<_> = found.difference(&any).chain(common.difference(&found)).take(5).collect();
        assert!(difference.is_empty(), "{story}: links differ: {difference:?}");
        for link in self.archived.links.iter().filter(|link| link.1 != "appRoleAssignedTo") {
            assert!(self.links.contains(link), "{story}: {link:?} never was");
        }
        for (key, found) in &self.archived.events {
            let expected = after.events.get(key);
            assert!(expected.is_none_or(|expected| expected == found), "{story}: {key} isn't what was recorded");
        }
        if status("directoryAudit", None, None) == Status::Complete {
            let lacking = before.events.keys().find(|key| !self.archived.events.contains_key(*key));
            assert_eq!(lacking, None, "{story}: an event is missing");
        }
    }
}

fn same(key: &str, found: &Value, expected: &Value, story: &str) {
    if found == expected {
        return;
    }
    let (found, expected) = (found.as_object().unwrap(), expected.as_object().unwrap());
    for name in found.keys().chain(expected.keys()) {
        let binned = key.starts_with("deletedItems/") && !expected.contains_key(name);
        let lacks = OF_SUBTYPES.contains(&name.as_str()) && (!found.contains_key(name) || binned);
        let ok = lacks || name == "employeeLeaveDateTime" || found.get(name) == expected.get(name);
        assert!(ok, "{story}: {key} {name}: archived {:?}, there {:?}", found.get(name), expected.get(name));
    }
}
