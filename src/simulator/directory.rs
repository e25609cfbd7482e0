//! The directory itself: objects, links, and for each of them the number of its last change.
//!
//! Must never know: HTTP, Graph's paging or tokens, or who changes what and why.
//!
//! History costs little: an object keeps its present value, the number of the last change of each property that ever
//! changed, and of each link it ever had. That is all that a delta query needs, since it tells the present state of
//! what changed and never the states between.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::schema::Collection;

/// How one object refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// Group to member.
    Members,
    /// Group, application or service principal to owner.
    Owners,
    /// User to manager; at most one.
    Manager,
    /// Application to its federated identity credential.
    FederatedIdentityCredentials,
    /// Assignment or grant to an object without which it cannot be: principal, client or resource. Not a link that
    /// Graph shows.
    Needs,
}

impl Relation {
    /// Graph's name of the navigation property; empty for [`Relation::Needs`], which has none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Owners => "owners",
            Self::Manager => "manager",
            Self::FederatedIdentityCredentials => "federatedIdentityCredentials",
            Self::Needs => "",
        }
    }
}

/// Where an object stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the directory.
    Live,
    /// In the bin since that time; can be restored.
    Binned(Timestamp),
    /// Out of sight because an object that it needs is in the bin; comes back with it.
    Hidden,
    /// Gone for ever. Only the id is kept.
    Gone,
}

/// A link as the directory remembers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// Whether the link is there, should both ends be.
    pub present: bool,
    /// The change that last made or broke it, or showed or hid an end of it.
    pub changed: u64,
}

/// An object with what is needed to tell its changes.
#[derive(Debug)]
pub(super) struct Entry {
    /// The collection it belongs to.
    pub collection: Collection,
    /// Its id.
    pub id: String,
    /// Properties that were ever set; cleared ones hold null.
    pub value: Map<String, Value>,
    /// Where it stands.
    pub standing: Standing,
    /// The change that created or restored it.
    pub born: u64,
    /// The change that took it away last; 0 if none did.
    pub removed: u64,
    /// The last change to it or its links.
    pub touched: u64,
    /// The last change of each property, by place in the schema, that changed after creation.
    pub changed: BTreeMap<usize, u64>,
    /// Links from it, by relation and place of the target.
    pub links: BTreeMap<(Relation, usize), Link>,
    /// Links to it, by relation and place of the source.
    pub incoming: BTreeSet<(Relation, usize)>,
}

/// The objects of a tenant. The methods that change it say whether they did; changing what is not there does nothing.
#[derive(Debug)]
pub struct Directory {
    pub(super) entries: Vec<Entry>,
    by_id: HashMap<(Collection, String), usize>,
    ids: HashMap<String, usize>,
    by_collection: Vec<Vec<usize>>,
    sequence: u64,
    now: Timestamp,
    lost: usize,
}

/// How long a deleted object stays in the bin (Microsoft: "List deletedItems").
const BIN_DAYS: i64 = 30;

impl Directory {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            entries: Vec::new(),
            by_id: HashMap::new(),
            ids: HashMap::new(),
            by_collection: vec![Vec::new(); Collection::ALL.len()],
            sequence: 1,
            now,
            lost: 0,
        }
    }

    /// The time at which the next change happens.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The number of the latest change.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of a new change; 0, which no delta query ever reaches, while changes are to be lost.
    fn next(&mut self) -> u64 {
        if self.lost > 0 {
            self.lost -= 1;
            return 0;
        }
        self.sequence += 1;
        self.sequence
    }

    /// From now on the delta feed misses the next `changes` changes: they show in whole reads only. A link made or
    /// broken counts as one change, and so does a patch.
    pub fn lose_next_changes(&mut self, changes: usize) {
        self.lost = changes;
    }

    pub(super) fn place(&self, collection: Collection, id: &str) -> Option<usize> {
        self.by_id.get(&(collection, id.to_owned())).copied()
    }

    fn live_place(&self, id: &str) -> Option<usize> {
        self.ids.get(id).copied().filter(|place| self.is_live(*place))
    }

    pub(super) fn is_live(&self, place: usize) -> bool {
        self.entries[place].standing == Standing::Live
    }

    /// The places of all objects of a collection, in order of creation, whatever their standing.
    pub(super) fn places(&self, collection: Collection) -> &[usize] {
        &self.by_collection[collection.index()]
    }

    /// The ids of the live objects of `collection`, in order of creation.
    pub fn ids(&self, collection: Collection) -> Vec<String> {
        self.live(collection).map(|entry| entry.id.clone()).collect()
    }

    pub(super) fn live(&self, collection: Collection) -> impl Iterator<Item = &Entry> {
        self.places(collection).iter().map(|place| &self.entries[*place]).filter(|e| e.standing == Standing::Live)
    }

    /// The present value of a property; null if the object or the property is not there.
    pub fn property(&self, id: &str, name: &str) -> &Value {
        self.ids.get(id).and_then(|place| self.entries[*place].value.get(name)).unwrap_or(&Value::Null)
    }

    /// The ids that `id` refers to by `relation`, only live ones.
    pub fn targets(&self, id: &str, relation: Relation) -> Vec<String> {
        let Some(place) = self.live_place(id) else { return Vec::new() };
        self.linked(place, relation).map(|target| self.entries[target].id.clone()).collect()
    }

    /// The ids of live objects that refer to `id` by `relation`.
    pub fn sources(&self, id: &str, relation: Relation) -> Vec<String> {
        let Some(place) = self.live_place(id) else { return Vec::new() };
        let incoming = self.entries[place].incoming.range((relation, 0)..=(relation, usize::MAX));
        incoming
            .filter(|(_, source)| self.is_live(*source) && self.entries[*source].links[&(relation, place)].present)
            .map(|(_, source)| self.entries[*source].id.clone())
            .collect()
    }

    /// The places that `place` refers to by `relation`, only live ones.
    pub(super) fn linked(&self, place: usize, relation: Relation) -> impl Iterator<Item = usize> {
        let links = self.entries[place].links.range((relation, 0)..=(relation, usize::MAX));
        links.filter(|((_, target), link)| link.present && self.is_live(*target)).map(|((_, target), _)| *target)
    }

    /// Creates an object from `value`, an object with a string `id` that no other object has. Lists that are left out
    /// are set to `[]`; other properties that are left out count as never set. False if the id is missing or taken, or if
    /// the principal, resource or client of an assignment or grant is not there. The id of an object that is gone may
    /// be used again in the same collection.
    pub fn create(&mut self, collection: Collection, value: Value) -> bool {
        let Value::Object(mut value) = value else { return false };
        let Some(id) = value.get("id").and_then(Value::as_str).map(str::to_owned) else { return false };
        let before = self.ids.get(&id).copied();
        let reusable = |place: usize| {
            self.entries[place].collection == collection && self.entries[place].standing == Standing::Gone
        };
        if before.is_some_and(|place| !reusable(place)) {
            return false;
        }
        for property in collection.properties().iter().filter(|property| property.list) {
            value.entry(property.name).or_insert_with(|| json!([]));
        }
        value.retain(|_, value| !value.is_null());
        let Some(needs) = self.needs(&value) else { return false };
        let change = self.next();
        let entry = Entry {
            collection,
            id: id.clone(),
            value,
            standing: Standing::Live,
            born: change,
            removed: 0,
            touched: change,
            changed: BTreeMap::new(),
            links: needs.iter().map(|to| ((Relation::Needs, *to), Link { present: true, changed: 0 })).collect(),
            incoming: BTreeSet::new(),
        };
        let place = before.unwrap_or(self.entries.len());
        if before.is_some() {
            // Links that others had to the earlier object stay broken, and remembered.
            self.entries[place] = Entry { incoming: std::mem::take(&mut self.entries[place].incoming), ..entry };
        } else {
            self.entries.push(entry);
            self.by_id.insert((collection, id.clone()), place);
            self.ids.insert(id, place);
            self.by_collection[collection.index()].push(place);
        }
        for to in needs {
            self.entries[to].incoming.insert((Relation::Needs, place));
        }
        true
    }

    /// The places of the objects without which an assignment or grant cannot be; none if one of them is not live.
    fn needs(&self, value: &Map<String, Value>) -> Option<Vec<usize>> {
        let ids = ["principalId", "resourceId", "clientId"].into_iter().filter_map(|name| value.get(name)?.as_str());
        let places: Option<BTreeSet<usize>> = ids.map(|id| self.live_place(id)).collect();
        Some(places?.into_iter().collect())
    }

    /// Sets each of `properties` (an object; null clears). True if any of them differs from before. A property that
    /// the collection does not have is kept but never shown.
    pub fn patch(&mut self, id: &str, properties: Value) -> bool {
        let (Some(place), Value::Object(properties)) = (self.live_place(id), properties) else { return false };
        let entry = &self.entries[place];
        let different: Vec<(String, Value)> = properties
            .into_iter()
            .filter(|(name, value)| name != "id" && entry.value.get(name).unwrap_or(&Value::Null) != value)
            .collect();
        if different.is_empty() {
            return false;
        }
        let change = self.next();
        let entry = &mut self.entries[place];
        for (name, value) in different {
            if let Some(property) = entry.collection.property(&name) {
                entry.changed.insert(property, change);
            }
            entry.value.insert(name, value);
        }
        entry.touched = entry.touched.max(change);
        true
    }

    /// Makes a link. A second manager replaces the first. False if an end is missing or the link is there already.
    pub fn link(&mut self, source: &str, relation: Relation, target: &str) -> bool {
        let (Some(from), Some(to)) = (self.live_place(source), self.live_place(target)) else { return false };
        if self.entries[from].links.get(&(relation, to)).is_some_and(|link| link.present) {
            return false;
        }
        if relation == Relation::Manager {
            let before: Vec<usize> = self.linked(from, relation).collect();
            before.into_iter().for_each(|old| self.set_link(from, relation, old, false));
        }
        self.set_link(from, relation, to, true);
        self.entries[to].incoming.insert((relation, from));
        true
    }

    /// Breaks a link. False if it is not there.
    pub fn unlink(&mut self, source: &str, relation: Relation, target: &str) -> bool {
        let (Some(from), Some(to)) = (self.live_place(source), self.live_place(target)) else { return false };
        if !self.entries[from].links.get(&(relation, to)).is_some_and(|link| link.present) {
            return false;
        }
        self.set_link(from, relation, to, false);
        true
    }

    fn set_link(&mut self, from: usize, relation: Relation, to: usize, present: bool) {
        let changed = self.next();
        let entry = &mut self.entries[from];
        entry.links.insert((relation, to), Link { present, changed });
        entry.touched = entry.touched.max(changed);
    }

    /// Moves a live object to the bin, with the assignments and grants that need it out of sight. False if it is not
    /// live.
    pub fn soft_delete(&mut self, id: &str) -> bool {
        let Some(place) = self.live_place(id) else { return false };
        let change = self.next();
        let when = self.now;
        self.entries[place].value.insert("deletedDateTime".into(), json!(seconds(when)));
        self.take_away(place, Standing::Binned(when), change);
        true
    }

    /// Removes an object for ever, from the bin or from the directory. False if it is gone already.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(place) = self.ids.get(id).copied() else { return false };
        if self.entries[place].standing == Standing::Gone {
            return false;
        }
        let change = self.next();
        self.take_away(place, Standing::Gone, change);
        true
    }

    /// Brings an object back from the bin with its links and what needs it. False if it is not in the bin.
    pub fn restore(&mut self, id: &str) -> bool {
        let Some(place) = self.ids.get(id).copied() else { return false };
        if !matches!(self.entries[place].standing, Standing::Binned(_)) {
            return false;
        }
        let change = self.next();
        self.entries[place].value.shift_remove("deletedDateTime");
        self.bring_back(place, change);
        true
    }

    fn take_away(&mut self, place: usize, standing: Standing, change: u64) {
        let entry = &mut self.entries[place];
        let was_visible = entry.standing == Standing::Live;
        entry.standing = standing;
        entry.removed = change;
        entry.touched = entry.touched.max(change);
        if was_visible || standing == Standing::Gone {
            self.touch_incoming(place, change);
        }
        for dependent in self.dependents(place) {
            let next = if standing == Standing::Gone { Standing::Gone } else { Standing::Hidden };
            if self.entries[dependent].standing != Standing::Gone && self.entries[dependent].standing != next {
                self.take_away(dependent, next, change);
            }
        }
        if standing == Standing::Gone {
            self.forget(place);
        }
    }

    /// Drops what a tombstone does not need.
    fn forget(&mut self, place: usize) {
        let outgoing: Vec<(Relation, usize)> = self.entries[place].links.keys().copied().collect();
        for (relation, target) in outgoing {
            self.entries[target].incoming.remove(&(relation, place));
        }
        let entry = &mut self.entries[place];
        entry.links.clear();
        entry.changed.clear();
        entry.value = Map::new();
    }

    fn bring_back(&mut self, place: usize, change: u64) {
        let entry = &mut self.entries[place];
        entry.standing = Standing::Live;
        entry.born = change;
        entry.touched = entry.touched.max(change);
        self.touch_incoming(place, change);
        for dependent in self.dependents(place) {
            let hidden = self.entries[dependent].standing == Standing::Hidden;
            let needs = self.entries[dependent].links.keys().filter(|(relation, _)| *relation == Relation::Needs);
            if hidden && needs.map(|(_, target)| *target).all(|target| self.is_live(target)) {
                self.bring_back(dependent, change);
            }
        }
    }

    /// An object that appears or disappears changes every link to it.
    fn touch_incoming(&mut self, place: usize, change: u64) {
        let incoming: Vec<(Relation, usize)> = self.entries[place].incoming.iter().copied().collect();
        let gone = self.entries[place].standing == Standing::Gone;
        for (relation, source) in incoming {
            let entry = &mut self.entries[source];
            let Some(link) = entry.links.get_mut(&(relation, place)) else { continue };
            if !link.present {
                continue;
            }
            link.changed = link.changed.max(change);
            link.present = !gone || relation == Relation::Needs;
            entry.touched = entry.touched.max(change);
        }
    }

    /// Objects that cannot be without `place`: assignments and grants by their needs, credentials by their application.
    fn dependents(&self, place: usize) -> Vec<usize> {
        let entry = &self.entries[place];
        let needing = entry.incoming.range((Relation::Needs, 0)..).map(|(_, source)| *source);
        let credentials =
            (Relation::FederatedIdentityCredentials, 0)..=(Relation::FederatedIdentityCredentials, usize::MAX);
        let held = entry.links.range(credentials).filter(|(_, link)| link.present).map(|((_, target), _)| *target);
        needing.chain(held).collect()
    }

    /// The ids of what has been in the bin for 30 days and is to be removed for ever.
    pub(super) fn overdue(&self) -> Vec<String> {
        let oldest = self.now - jiff::SignedDuration::from_hours(24 * BIN_DAYS);
        let due = |entry: &&Entry| matches!(entry.standing, Standing::Binned(since) if since <= oldest);
        self.entries.iter().filter(due).map(|entry| entry.id.clone()).collect()
    }
}

/// `at` in whole seconds, as Graph writes most times.
pub(super) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_users() -> Directory {
        let mut directory = Directory::new(Timestamp::UNIX_EPOCH);
        for id in ["a", "b"] {
            assert!(directory.create(Collection::User, json!({"id": id, "displayName": id})));
        }
        directory
    }

    #[test]
    fn only_what_makes_a_difference_counts_as_a_change() {
        let mut directory = two_users();
        let before = directory.sequence();
        assert!(!directory.create(Collection::Group, json!({"id": "a"})), "ids are unique over all collections");
        assert!(!directory.patch("a", json!({"displayName": "a", "city": null})));
        assert!(!directory.unlink("a", Relation::Manager, "b"));
        assert!(!directory.link("a", Relation::Manager, "nobody"));
        assert!(!directory.restore("a") && !directory.patch("nobody", json!({"city": "x"})));
        assert_eq!(directory.sequence(), before);
        assert!(directory.patch("a", json!({"city": "x"})) && directory.link("a", Relation::Manager, "b"));
        assert_eq!(directory.sequence(), before + 2);
    }

    #[test]
    fn the_bin_keeps_thirty_days_and_links_end_with_it() {
        let mut directory = two_users();
        directory.link("a", Relation::Manager, "b");
        directory.soft_delete("b");
        assert!(directory.targets("a", Relation::Manager).is_empty());
        directory.set_now(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(30 * 24 - 1));
        assert!(directory.overdue().is_empty() && directory.restore("b"));
        assert_eq!(directory.targets("a", Relation::Manager), ["b"]);
        directory.soft_delete("b");
        directory.set_now(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(60 * 24));
        assert_eq!(directory.overdue(), ["b"]);
        assert!(directory.remove("b") && !directory.restore("b") && directory.overdue().is_empty());
        assert!(directory.create(Collection::User, json!({"id": "b"})), "the id of what is gone may be used again");
        assert!(directory.targets("a", Relation::Manager).is_empty(), "but its links are not");
    }

    #[test]
    fn assignments_need_their_ends() {
        let mut directory = two_users();
        let role = json!({"id": "r", "principalId": "a", "roleDefinitionId": "x"});
        assert!(!directory.create(Collection::RoleAssignment, json!({"id": "q", "principalId": "nobody"})));
        assert!(directory.create(Collection::RoleAssignment, role.clone()));
        directory.soft_delete("a");
        assert!(directory.ids(Collection::RoleAssignment).is_empty());
        directory.restore("a");
        assert_eq!(directory.ids(Collection::RoleAssignment), ["r"]);
        directory.remove("a");
        assert!(directory.ids(Collection::RoleAssignment).is_empty());
        assert!(!directory.create(Collection::RoleAssignment, role));
    }
}
