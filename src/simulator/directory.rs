//! The directory itself: objects, links, and for each of them the number of its last change.
//!
//! Must never know: HTTP, Graph's paging or tokens, or who changes what and why.
//!
//! History costs little: an object keeps its present value, the number of the last change of each property that ever
//! changed, and of each link it ever had. That is all that a delta query needs, since it tells the present state of
//! what changed and never the states between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::audit::{Deed, Log};
use super::collection::Collection;

/// How one object refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// Group or administrative unit to member.
    Members,
    /// Group, application or service principal to owner.
    Owners,
    /// User to manager; at most one.
    Manager,
    /// Application to its federated identity credential.
    FederatedIdentityCredentials,
    /// User, agent identity or blueprint to who answers for it.
    Sponsors,
    /// Device to the user who brought it.
    RegisteredOwners,
    /// Device to a user of it.
    RegisteredUsers,
    /// Administrative unit to a role over it.
    ScopedRoleMembers,
    /// Domain to how it signs in.
    FederationConfiguration,
    /// Assignment or grant to an object without which it cannot be: principal, client or resource. Not a link that
    /// Graph shows.
    Needs,
}

impl Relation {
    /// Whether the targets are parts of the source, which cannot be without it.
    fn is_part(self) -> bool {
        matches!(self, Self::FederatedIdentityCredentials | Self::ScopedRoleMembers | Self::FederationConfiguration)
    }

    /// Graph's name of the navigation property; empty for [`Relation::Needs`], which has none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Owners => "owners",
            Self::Manager => "manager",
            Self::FederatedIdentityCredentials => "federatedIdentityCredentials",
            Self::Sponsors => "sponsors",
            Self::RegisteredOwners => "registeredOwners",
            Self::RegisteredUsers => "registeredUsers",
            Self::ScopedRoleMembers => "scopedRoleMembers",
            Self::FederationConfiguration => "federationConfiguration",
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
    /// Properties that were ever set; cleared ones hold null. Shared with the snapshots of native recovery.
    pub value: Arc<Map<String, Value>>,
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
    ordinary: Vec<Vec<usize>>,
    sequence: u64,
    now: Timestamp,
    lost: usize,
    lost_of: HashMap<usize, usize>,
    silent: bool,
    /// What was created while this is set is left alone by the ordinary life: agents, PIM, and other later comers.
    pub(super) aside: bool,
    /// Who did what.
    pub(super) log: Log,
}

/// How long a deleted object stays in the bin (Microsoft: "List deletedItems").
const BIN_DAYS: i64 = 30;

impl Directory {
    pub(super) fn new(seed: u64, now: Timestamp) -> Self {
        Self {
            entries: Vec::new(),
            by_id: HashMap::new(),
            ids: HashMap::new(),
            by_collection: vec![Vec::new(); Collection::ALL.len()],
            ordinary: vec![Vec::new(); Collection::ALL.len()],
            sequence: 1,
            now,
            lost: 0,
            lost_of: HashMap::new(),
            silent: false,
            aside: false,
            log: Log::new(seed),
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

    /// The number of a new change to `place`; 0, which no delta query ever reaches, while changes are to be lost.
    fn next(&mut self, place: Option<usize>) -> u64 {
        if self.silent {
            return 0;
        }
        let left = place.and_then(|place| self.lost_of.get_mut(&place)).filter(|left| **left > 0);
        let left = left.or((self.lost > 0).then_some(&mut self.lost));
        if let Some(left) = left {
            *left -= 1;
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

    /// From now on the delta feed misses the next `changes` changes of one object and of its links to others. False if
    /// it is not there.
    pub fn lose_next_changes_of(&mut self, id: &str, changes: usize) -> bool {
        let Some(place) = self.ids.get(id).copied() else { return false };
        self.lost_of.insert(place, changes);
        true
    }

    /// What `change` does is told by no delta query.
    pub(super) fn silently<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        self.silent = true;
        let done = change(self);
        self.silent = false;
        done
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

    /// The places of those objects of a collection that the ordinary life deals with.
    pub(super) fn ordinary(&self, collection: Collection) -> &[usize] {
        &self.ordinary[collection.index()]
    }

    /// The place of an object, whatever its standing.
    pub(super) fn place_of(&self, id: &str) -> Option<usize> {
        self.ids.get(id).copied()
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

    /// The live assignments and grants that need two objects, found under the one that fewer need: thousands of
    /// assignments name a large group, and as many the resource that everybody uses.
    pub(super) fn needing_both(&self, one: &str, other: &str) -> impl Iterator<Item = &Entry> {
        let ends = self.live_place(one).zip(self.live_place(other)).map(|(one, other)| {
            let swap = self.entries[other].incoming.len() < self.entries[one].incoming.len();
            if swap { (other, one) } else { (one, other) }
        });
        ends.into_iter().flat_map(|(from, to)| {
            let needing = self.entries[from].incoming.range((Relation::Needs, 0)..=(Relation::Needs, usize::MAX));
            let needing = needing.map(|(_, place)| &self.entries[*place]);
            needing.filter(move |entry| {
                entry.standing == Standing::Live && entry.links.contains_key(&(Relation::Needs, to))
            })
        })
    }

    /// The places that `place` refers to by `relation`, only live ones.
    pub(super) fn linked(&self, place: usize, relation: Relation) -> impl Iterator<Item = usize> {
        let links = self.entries[place].links.range((relation, 0)..=(relation, usize::MAX));
        links.filter(|((_, target), link)| link.present && self.is_live(*target)).map(|((_, target), _)| *target)
    }

    /// As [`Directory::linked`], those around `after` only: at most `back` of those up to it and `ahead` of those that
    /// follow, so that a page of a long list costs no more than one of a short one.
    pub(super) fn linked_around(
        &self,
        place: usize,
        relation: Relation,
        after: Option<usize>,
        (back, ahead): (usize, usize),
    ) -> Vec<usize> {
        let links = &self.entries[place].links;
        let is_told = |target: &usize, present: bool| present && self.is_live(*target);
        let first = after.map_or(0, |after| after.saturating_add(1));
        let before = links.range((relation, 0)..(relation, first)).rev();
        let before = before.filter(|((_, target), link)| is_told(target, link.present)).take(back);
        let mut places: Vec<usize> = before.map(|((_, target), _)| *target).collect();
        places.reverse();
        let following = links.range((relation, first)..=(relation, usize::MAX));
        let following = following.filter(|((_, target), link)| is_told(target, link.present)).take(ahead);
        places.extend(following.map(|((_, target), _)| *target));
        places
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
        if !collection.is_open() {
            value.retain(|_, value| !value.is_null());
        }
        let value = compact(value);
        let Some(needs) = self.needs(&value) else { return false };
        let change = self.next(before);
        let entry = Entry {
            collection,
            id: id.clone(),
            value: Arc::new(value),
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
            if !self.aside {
                self.ordinary[collection.index()].push(place);
            }
        }
        for to in needs {
            self.entries[to].incoming.insert((Relation::Needs, place));
        }
        self.tell(Deed::Created(place));
        true
    }

    /// The places of the objects without which an assignment or grant cannot be; none if one of them is not live.
    fn needs(&self, value: &Map<String, Value>) -> Option<Vec<usize>> {
        let names = ["principalId", "resourceId", "clientId", "administrativeUnitId"];
        let ids = names.into_iter().filter_map(|name| value.get(name)?.as_str());
        let holder = value.get("roleMemberInfo").and_then(|holder| holder["id"].as_str());
        let ids = ids.chain(holder);
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
        let change = self.next(Some(place));
        let entry = &mut self.entries[place];
        let kept = Arc::make_mut(&mut entry.value);
        let count = kept.len();
        let mut changes = Vec::with_capacity(different.len());
        for (name, value) in different {
            if let Some(property) = entry.collection.property(&name) {
                let told = entry.changed.entry(property).or_insert(0);
                *told = change.max(*told);
            }
            let before = kept.insert(name.clone(), value.clone()).unwrap_or(Value::Null);
            changes.push((name, before, value));
        }
        if kept.len() > count {
            *kept = compact(std::mem::take(kept));
        }
        entry.touched = entry.touched.max(change);
        self.tell(Deed::Changed(place, changes));
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
        self.tell(Deed::Linked(from, relation, to));
        true
    }

    /// Makes many links at once, as a bulk import does: one entry in the audit log for all. How many were made.
    pub fn link_all(&mut self, source: &str, relation: Relation, targets: &[String]) -> usize {
        let Some(from) = self.live_place(source) else { return 0 };
        let mut made = 0;
        for target in targets {
            let Some(to) = self.live_place(target) else { continue };
            if !self.entries[from].links.get(&(relation, to)).is_some_and(|link| link.present) {
                self.set_link(from, relation, to, true);
                self.entries[to].incoming.insert((relation, from));
                made += 1;
            }
        }
        self.tell(Deed::LinkedMany(from, made));
        made
    }

    /// Breaks a link. False if it is not there.
    pub fn unlink(&mut self, source: &str, relation: Relation, target: &str) -> bool {
        let (Some(from), Some(to)) = (self.live_place(source), self.live_place(target)) else { return false };
        if !self.entries[from].links.get(&(relation, to)).is_some_and(|link| link.present) {
            return false;
        }
        self.set_link(from, relation, to, false);
        self.tell(Deed::Unlinked(from, relation, to));
        true
    }

    fn tell(&mut self, deed: Deed) {
        let Self { log, entries, now, .. } = self;
        log.write(entries, *now, deed);
    }

    fn set_link(&mut self, from: usize, relation: Relation, to: usize, present: bool) {
        let changed = self.next(Some(from));
        let entry = &mut self.entries[from];
        entry.links.insert((relation, to), Link { present, changed });
        entry.touched = entry.touched.max(changed);
    }

    /// Moves a live object to the bin, with the assignments and grants that need it out of sight. False if it is not
    /// live.
    pub fn soft_delete(&mut self, id: &str) -> bool {
        let Some(place) = self.live_place(id) else { return false };
        self.tell(Deed::Deleted(place));
        let change = self.next(Some(place));
        let when = self.now;
        self.set_value(place, "deletedDateTime", json!(seconds(when)));
        self.take_away(place, Standing::Binned(when), change);
        true
    }

    /// Removes an object for ever, from the bin or from the directory. False if it is gone already.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(place) = self.ids.get(id).copied() else { return false };
        if self.entries[place].standing == Standing::Gone {
            return false;
        }
        self.tell(Deed::Removed(place));
        let change = self.next(Some(place));
        self.take_away(place, Standing::Gone, change);
        true
    }

    fn set_value(&mut self, place: usize, name: &str, value: Value) {
        Arc::make_mut(&mut self.entries[place].value).insert(name.to_owned(), value);
    }

    /// Brings an object back from the bin with its links and what needs it. False if it is not in the bin.
    pub fn restore(&mut self, id: &str) -> bool {
        let Some(place) = self.ids.get(id).copied() else { return false };
        if !matches!(self.entries[place].standing, Standing::Binned(_)) {
            return false;
        }
        let change = self.next(Some(place));
        // Open bodies keep the property for life, as null.
        if self.entries[place].collection.is_open() {
            self.set_value(place, "deletedDateTime", Value::Null);
        } else {
            Arc::make_mut(&mut self.entries[place].value).shift_remove("deletedDateTime");
        }
        self.bring_back(place, change);
        self.tell(Deed::Restored(place));
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
        entry.value = Arc::default();
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

    /// Objects that cannot be without `place`: assignments and grants by their needs, and its parts.
    fn dependents(&self, place: usize) -> Vec<usize> {
        let entry = &self.entries[place];
        let needing = entry.incoming.range((Relation::Needs, 0)..).map(|(_, source)| *source);
        let parts = entry.links.iter().filter(|((relation, _), link)| relation.is_part() && link.present);
        needing.chain(parts.map(|((_, target), _)| *target)).collect()
    }

    /// The ids of what has been in the bin for 30 days and is to be removed for ever.
    pub(super) fn overdue(&self) -> Vec<String> {
        let oldest = self.now - jiff::SignedDuration::from_hours(24 * BIN_DAYS);
        let due = |entry: &&Entry| matches!(entry.standing, Standing::Binned(since) if since <= oldest);
        self.entries.iter().filter(due).map(|entry| entry.id.clone()).collect()
    }
}

/// The same in no more memory than it needs: what a map has to spare while it grows is a quarter of a large tenant.
fn compact(value: Map<String, Value>) -> Map<String, Value> {
    value.into_iter().collect()
}

/// `at` in whole seconds, as Graph writes most times.
pub(super) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
