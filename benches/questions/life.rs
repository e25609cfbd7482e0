//! What becomes of the synthetic tenant hour by hour: what changed is kept, everything else is computed.
//!
//! Must never know: how a capture is written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tenure::archive::line::{Change, Content, ContentChange, LinkChange};
use tenure::canonical::{self, Key};
use tenure::model;

use super::tenant::{Kind, ROLES, Shape, Thing, mix};

/// When the first capture is made.
pub const START: &str = "2026-06-01T00:00:00Z";
/// Captures of the month.
pub const HOURS: u32 = 720;
/// Of a million records (objects and links) so many change in an hour.
const CHANGES: u64 = 300;
/// The hour in which a policy begins to leave one more group out.
pub const POLICY_HOUR: u32 = 700;
/// Policies of Conditional Access.
const POLICIES: u32 = 36;

/// The time of a capture by its hour.
pub fn time(hour: u32) -> Timestamp {
    let start: Timestamp = START.parse().expect("a time");
    start + SignedDuration::from_hours(i64::from(hour))
}

/// Content as the archive keeps it.
pub fn canonical(text: &str) -> Vec<u8> {
    let json = canonical::parse(text.as_bytes()).expect("this program writes JSON");
    canonical::canonicalize(&json, &model::rules()).expect("plain values")
}

/// An object: its content and links.
pub struct Object {
    pub content: Vec<u8>,
    pub links: BTreeMap<&'static str, Vec<Key>>,
}

/// Which object a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One there are many of.
    Many(Thing),
    /// One there are few of.
    Few,
    /// An event.
    Event,
}

/// What one hour brings, by key.
pub type Hour = BTreeMap<Key, (Whose, Change)>;

/// The tenant as it is now.
pub struct Life {
    pub shape: Shape,
    versions: HashMap<Thing, u32>,
    switched: HashSet<u32>,
    members: HashMap<u32, BTreeMap<Thing, bool>>,
    assigned: HashMap<u32, BTreeMap<u32, bool>>,
    gone: HashSet<Thing>,
    /// Everything there is little of: content and members.
    few: BTreeMap<Key, (Vec<u8>, Vec<Key>)>,
    /// Activations that end, by the hour.
    ends: BTreeMap<u32, Vec<(Thing, u32)>>,
    next: HashMap<Kind, u32>,
    activations: u32,
    dice: u64,
    now: u32,
    hour: Hour,
}

const ASSIGNMENT: &str = "unifiedRoleAssignment";
const ASSIGNED: &str = "unifiedRoleAssignmentSchedule";
const ASSIGNED_NOW: &str = "unifiedRoleAssignmentScheduleInstance";
const ELIGIBLE: &str = "unifiedRoleEligibilitySchedule";
const ELIGIBLE_NOW: &str = "unifiedRoleEligibilityScheduleInstance";

impl Life {
    /// The tenant at its founding.
    pub fn new(shape: Shape) -> Life {
        let mut life = Life {
            shape,
            versions: HashMap::new(),
            switched: HashSet::new(),
            members: HashMap::new(),
            assigned: HashMap::new(),
            gone: HashSet::new(),
            few: BTreeMap::new(),
            ends: BTreeMap::new(),
            next: HashMap::new(),
            activations: 0,
            dice: 0,
            now: 0,
            hour: Hour::new(),
        };
        life.found();
        life
    }

    fn found(&mut self) {
        let shape = self.shape;
        let mut put = |collection: &str, content: Value, members: Vec<Key>| {
            let key = Key::new(collection, content["id"].as_str().expect("everything has an id"));
            self.few.insert(key, (canonical(&content.to_string()), members));
        };
        put("organization", json!({"id": "-", "displayName": "Contoso"}), Vec::new());
        for number in 0..ROLES {
            put("unifiedRoleDefinition", shape.role_definition(number), Vec::new());
        }
        for number in 0..POLICIES {
            put("conditionalAccessPolicy", shape.policy(number, None), Vec::new());
        }
        for number in 0..shape.units {
            let user = |at: u32| shape.key((Kind::User, 1 + (number * 50 + at) % (shape.count(Kind::User) - 1)));
            let members: BTreeSet<Key> = (0..50).map(user).collect();
            let content = json!({"id": shape.unit(number), "displayName": format!("Unit {number}")});
            put("administrativeUnit", content, members.into_iter().collect());
        }
        for number in 0..standing(&shape) {
            let (who, role) = holder(&shape, number);
            let scope = match number % 10 {
                0 => format!("/administrativeUnits/{}", shape.unit(number / 10 % shape.units)),
                _ => "/".to_owned(),
            };
            for (collection, content) in role_objects(&shape, who, role, &scope, number, None) {
                put(collection, content, Vec::new());
            }
            let (who, role) = (eligible(&shape, number), skewed(number, 52));
            for (collection, content) in eligibility(&shape, who, role, number) {
                put(collection, content, Vec::new());
            }
        }
    }

    /// Everything there is little of, in key order.
    pub fn few(&self) -> impl Iterator<Item = &Key> {
        self.few.keys()
    }

    /// The object as it is now.
    pub fn object(&self, key: &Key, whose: Whose) -> Option<Object> {
        match whose {
            Whose::Event => None,
            Whose::Few => {
                let (content, members) = self.few.get(key)?;
                let links = if members.is_empty() { BTreeMap::new() } else { [("members", members.clone())].into() };
                Some(Object { content: content.clone(), links })
            }
            Whose::Many(thing) if self.gone.contains(&thing) => None,
            Whose::Many(thing) => Some(self.one_of_many(thing)),
        }
    }

    fn one_of_many(&self, thing: Thing) -> Object {
        let shape = &self.shape;
        let keys = |things: Vec<Thing>| things.into_iter().map(|thing| shape.key(thing)).collect::<Vec<Key>>();
        let mut links: BTreeMap<&'static str, Vec<Key>> =
            shape.links(thing).into_iter().map(|(relation, targets)| (relation, keys(targets))).collect();
        match thing.0 {
            Kind::Group => drop(links.insert("members", keys(self.members_of(thing.1)))),
            Kind::ServicePrincipal => {
                let all = self.assigned_to(thing.1).into_iter().map(|number| (Kind::AppRoleAssignment, number));
                links.insert("appRoleAssignedTo", keys(all.collect()));
            }
            _ => {}
        }
        links.retain(|_, targets| !targets.is_empty());
        Object { content: canonical(&self.content(thing)), links }
    }

    fn content(&self, thing: Thing) -> String {
        let version = self.versions.get(&thing).copied().unwrap_or(0);
        let enabled = mix(thing.0, thing.1, 12).is_multiple_of(33) == self.switched.contains(&thing.1);
        self.shape.content(thing, version, enabled)
    }

    fn members_of(&self, group: u32) -> Vec<Thing> {
        let first = self.shape.first_members(group);
        let Some(moved) = self.members.get(&group) else { return first };
        let mut members: BTreeSet<Thing> = first.into_iter().collect();
        for (member, present) in moved {
            match present {
                true => members.insert(*member),
                false => members.remove(member),
            };
        }
        members.into_iter().collect()
    }

    fn assigned_to(&self, principal: u32) -> Vec<u32> {
        let mut all: BTreeSet<u32> = self.shape.assigned(principal).collect();
        for (number, present) in self.assigned.get(&principal).into_iter().flatten() {
            match present {
                true => all.insert(*number),
                false => all.remove(number),
            };
        }
        all.into_iter().collect()
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.dice += 1;
        (mix(Kind::User, 0, self.dice << 8 | 0xff) % u64::from(sides.max(1))) as u32
    }

    /// Lives through an hour: what it brings.
    pub fn live(&mut self, hour: u32) -> Hour {
        self.now = hour;
        let changes = (u64::from(self.shape.objects) * 11 * CHANGES).div_ceil(1_000_000);
        for _ in 0..changes {
            match self.roll(1000) {
                0..600 => self.membership(),
                600..820 => self.revise(Kind::User),
                820..850 => self.revise(Kind::Group),
                850..880 => self.app_role(),
                880..940 => self.grant(),
                940..945 => self.revise(Kind::ServicePrincipal),
                945..955 => self.switch(),
                955..960 => self.hire(),
                960..965 => self.discard(),
                _ => self.revise(Kind::Device),
            }
        }
        for _ in 0..(self.shape.objects / 50_000).max(1) {
            self.activate();
        }
        for (who, number) in self.ends.remove(&hour).unwrap_or_default() {
            self.lapse(who, number);
        }
        if hour % 6 == 5 {
            for _ in 0..(self.shape.objects / 100_000).max(1) {
                self.appoint();
            }
        }
        if hour == POLICY_HOUR {
            let policy = self.shape.policy(1, Some(self.shape.assigned_group()));
            self.put_few("conditionalAccessPolicy", policy);
        }
        std::mem::take(&mut self.hour)
    }

    fn entry(&mut self, key: Key, whose: Whose) -> &mut Change {
        &mut self.hour.entry(key).or_insert_with(|| (whose, Change::default())).1
    }

    fn put(&mut self, thing: Thing) {
        let content = ContentChange::Put(Content::Canonical(canonical(&self.content(thing))));
        let key = self.shape.key(thing);
        self.entry(key, Whose::Many(thing)).content = Some((content, None));
    }

    fn put_few(&mut self, collection: &str, content: Value) -> Key {
        let key = Key::new(collection, content["id"].as_str().expect("everything has an id"));
        let bytes = canonical(&content.to_string());
        self.entry(key.clone(), Whose::Few).content =
            Some((ContentChange::Put(Content::Canonical(bytes.clone())), None));
        self.few.insert(key.clone(), (bytes, Vec::new()));
        key
    }

    fn remove(&mut self, key: Key, whose: Whose) {
        self.few.remove(&key);
        if let Whose::Many(thing) = whose {
            self.gone.insert(thing);
        }
        *self.entry(key, whose) = Change { content: Some((ContentChange::Remove, None)), ..Change::default() };
    }

    /// Whether this hour said something of a key already: one thing an hour is enough.
    fn is_told(&self, thing: Thing) -> bool {
        self.hour.contains_key(&self.shape.key(thing)) || self.gone.contains(&thing)
    }

    /// A link comes or goes; `false` where this hour said so already.
    fn link(&mut self, source: Thing, relation: &str, target: Thing, present: bool) -> bool {
        let (source_key, target) = (self.shape.key(source), self.shape.key(target));
        let change = self.entry(source_key, Whose::Many(source)).links.entry(relation.to_owned()).or_default();
        let LinkChange { added, removed } = change;
        if added.contains_key(&target) || removed.contains_key(&target) {
            return false;
        }
        match present {
            true => drop(added.insert(target, (None, None))),
            false => drop(removed.insert(target, None)),
        }
        true
    }

    /// A record of the audit log about `targets`, at some minute of the hour before the capture.
    fn tell(&mut self, activity: &str, targets: &[(&str, String)]) {
        let (minute, actor) = (self.roll(59), self.roll(500));
        self.dice += 1;
        let id = format!("Directory_{:08}_{:016x}", self.now, mix(Kind::Group, self.now, self.dice));
        let at = time(self.now) - SignedDuration::from_mins(i64::from(minute) + 1);
        let actor = (Kind::User, actor % self.shape.count(Kind::User));
        let resources: Vec<Value> = targets
            .iter()
            .map(|(kind, id)| json!({"id": id, "type": kind, "displayName": null, "modifiedProperties": []}))
            .collect();
        let record = json!({"id": id, "activityDateTime": at.to_string(), "activityDisplayName": activity, "category": "GroupManagement",
            "correlationId": format!("{:016x}", mix(Kind::User, minute, self.dice)), "result": "success", "resultReason": "",
            "loggedByService": "Core Directory", "operationType": "Assign", "targetResources": resources, "additionalDetails": [],
            "initiatedBy": {"app": null, "user": {"id": self.shape.id(actor), "userPrincipalName": format!("admin{}@contoso.example", actor.1)}}});
        let content = ContentChange::Event(Content::Canonical(canonical(&record.to_string())));
        self.entry(Key::new("directoryAudit", &id), Whose::Event).content = Some((content, None));
    }

    fn membership(&mut self) {
        let groups = self.shape.count(Kind::Group);
        let group = if self.roll(50) == 0 { 0 } else { self.roll(groups) };
        let (gain, whom) = (self.roll(2) == 0, self.roll(self.shape.count(Kind::User)));
        let members = self.members_of(group);
        let (member, present) = match gain || members.is_empty() {
            true => ((Kind::User, whom), true),
            false => (members[self.roll(members.len() as u32) as usize], false),
        };
        if member.0 != Kind::User || present && members.contains(&member) {
            return;
        }
        if self.gone.contains(&(Kind::Group, group)) || !self.link((Kind::Group, group), "members", member, present) {
            return;
        }
        self.members.entry(group).or_default().insert(member, present);
        let activity = if present { "Add member to group" } else { "Remove member from group" };
        let targets = [("User", self.shape.id(member)), ("Group", self.shape.id((Kind::Group, group)))];
        self.tell(activity, &targets);
    }

    fn revise(&mut self, kind: Kind) {
        let thing = (kind, self.roll(self.shape.count(kind)));
        if !self.is_told(thing) {
            *self.versions.entry(thing).or_default() += 1;
            self.put(thing);
        }
    }

    fn switch(&mut self) {
        let thing = (Kind::User, self.roll(self.shape.count(Kind::User)));
        if self.is_told(thing) {
            return;
        }
        if !self.switched.remove(&thing.1) {
            self.switched.insert(thing.1);
        }
        self.put(thing);
        let id = self.shape.id(thing);
        self.tell("Update user", &[("User", id)]);
    }

    fn fresh(&mut self, kind: Kind) -> Thing {
        let next = self.next.entry(kind).or_insert(self.shape.count(kind));
        *next += 1;
        (kind, *next - 1)
    }

    fn hire(&mut self) {
        let thing = self.fresh(Kind::User);
        self.put(thing);
        self.link(thing, "manager", (Kind::User, thing.1 / 8), true);
        let id = self.shape.id(thing);
        self.tell("Add user", &[("User", id)]);
    }

    fn discard(&mut self) {
        let thing = (Kind::Device, self.roll(self.shape.count(Kind::Device)));
        if !self.is_told(thing) {
            self.remove(self.shape.key(thing), Whose::Many(thing));
        }
    }

    fn app_role(&mut self) {
        let goes = self.roll(2) == 0;
        let thing = match goes {
            true => (Kind::AppRoleAssignment, 2 + self.roll(self.shape.count(Kind::AppRoleAssignment) - 2)),
            false => self.fresh(Kind::AppRoleAssignment),
        };
        let principal = (Kind::ServicePrincipal, self.shape.resource(thing.1));
        if self.is_told(thing) || !self.link(principal, "appRoleAssignedTo", thing, !goes) {
            return;
        }
        self.assigned.entry(principal.1).or_default().insert(thing.1, !goes);
        match goes {
            true => self.remove(self.shape.key(thing), Whose::Many(thing)),
            false => self.put(thing),
        }
        let activity =
            if goes { "Remove app role assignment from user" } else { "Add app role assignment grant to user" };
        let targets =
            [("ServicePrincipal", self.shape.id(principal)), ("User", self.shape.id(self.shape.assignee(thing.1)))];
        self.tell(activity, &targets);
    }

    fn grant(&mut self) {
        match self.roll(3) {
            0 => {
                let thing = self.fresh(Kind::Grant);
                self.put(thing);
            }
            1 => self.revise(Kind::Grant),
            _ => {
                let thing = (Kind::Grant, self.roll(self.shape.count(Kind::Grant)));
                if !self.is_told(thing) {
                    self.remove(self.shape.key(thing), Whose::Many(thing));
                }
            }
        }
    }

    /// Somebody eligible activates a role for some hours.
    fn activate(&mut self) {
        let number = self.roll(standing(&self.shape));
        let (who, role) = (eligible(&self.shape, number), skewed(number, 52));
        self.activations += 1;
        let serial = 1_000_000 + self.activations;
        let hours = 1 + self.roll(8);
        let end = time(self.now + hours) - SignedDuration::from_mins(20);
        for (collection, content) in role_objects(&self.shape, who, role, "/", serial, Some((time(self.now), end))) {
            self.put_few(collection, content);
        }
        self.ends.entry(self.now + hours).or_default().push((who, serial));
        let targets = [("User", self.shape.id(who)), ("Role", self.shape.role(role))];
        self.tell("Add member to role completed (PIM activation)", &targets);
    }

    fn lapse(&mut self, who: Thing, serial: u32) {
        for (collection, id) in role_names(serial) {
            self.remove(Key::new(collection, &id), Whose::Few);
        }
        let id = self.shape.id(who);
        self.tell("Remove member from role (PIM activation expired)", &[("User", id)]);
    }

    /// Somebody is given a role, or loses one.
    fn appoint(&mut self) {
        let number = self.roll(standing(&self.shape));
        let (names, is_there) = {
            let names = role_names(number).map(|(collection, id)| Key::new(collection, &id));
            let is_there = self.few.contains_key(&names[0]);
            (names, is_there)
        };
        if names.iter().any(|key| self.hour.contains_key(key)) {
            return;
        }
        let (who, role) = holder(&self.shape, number);
        match is_there {
            true => names.into_iter().for_each(|key| self.remove(key, Whose::Few)),
            false => {
                for (collection, content) in role_objects(&self.shape, who, role, "/", number, None) {
                    self.put_few(collection, content);
                }
            }
        }
        let activity = if is_there { "Remove member from role" } else { "Add member to role" };
        let targets = [("User", self.shape.id(who)), ("Role", self.shape.role(role))];
        self.tell(activity, &targets);
    }
}

/// Roles that are assigned for good, and as many that may be activated.
fn standing(shape: &Shape) -> u32 {
    (shape.objects / 500).clamp(60, 2000)
}

/// A role, the first ones more often: Global Administrator one time in twenty.
fn skewed(number: u32, salt: u64) -> u32 {
    let dice = mix(Kind::Group, number, salt);
    let (one, other) = (dice % u64::from(ROLES), (dice >> 32) % u64::from(ROLES));
    (one * other / u64::from(ROLES)) as u32
}

/// Who has a standing role, and which. The user who has more than anybody has one in twenty.
fn holder(shape: &Shape, number: u32) -> (Thing, u32) {
    let dice = mix(Kind::Group, number, 50);
    let who = match dice % 20 {
        0..3 => (Kind::Group, 1 + (dice >> 8) as u32 % shape.assignable),
        3..5 => (Kind::ServicePrincipal, (dice >> 8) as u32 % shape.count(Kind::ServicePrincipal)),
        5 if number < 200 => (Kind::User, 0),
        _ => (Kind::User, (dice >> 8) as u32 % shape.count(Kind::User)),
    };
    (who, skewed(number, 51))
}

fn eligible(shape: &Shape, number: u32) -> Thing {
    (Kind::User, mix(Kind::Group, number, 53) as u32 % shape.count(Kind::User))
}

/// The objects that show one assignment: the assignment, its schedule and its instance.
fn role_names(number: u32) -> [(&'static str, String); 3] {
    [(ASSIGNMENT, format!("ra-{number}")), (ASSIGNED, format!("rs-{number}")), (ASSIGNED_NOW, format!("ri-{number}"))]
}

fn role_objects(
    shape: &Shape,
    who: Thing,
    role: u32,
    scope: &str,
    number: u32,
    term: Option<(Timestamp, Timestamp)>,
) -> [(&'static str, Value); 3] {
    let kind = if term.is_some() { "Activated" } else { "Assigned" };
    let expiration = match term {
        Some((_, end)) => json!({"type": "afterDateTime", "endDateTime": end.to_string(), "duration": null}),
        None => json!({"type": "noExpiration", "endDateTime": null, "duration": null}),
    };
    let start = term.map_or_else(|| "2025-11-03T08:00:00Z".to_owned(), |(start, _)| start.to_string());
    role_names(number).map(|(collection, id)| {
        let mut content = json!({"id": id, "principalId": shape.id(who), "roleDefinitionId": shape.role(role), "directoryScopeId": scope, "appScopeId": null});
        match collection {
            ASSIGNED => {
                content["assignmentType"] = kind.into();
                content["scheduleInfo"] = json!({"startDateTime": start, "recurrence": null, "expiration": expiration});
            }
            ASSIGNED_NOW => {
                content["assignmentType"] = kind.into();
                content["startDateTime"] = start.clone().into();
                content["endDateTime"] = term.map(|(_, end)| end.to_string()).into();
            }
            _ => {}
        }
        (collection, content)
    })
}

fn eligibility(shape: &Shape, who: Thing, role: u32, number: u32) -> [(&'static str, Value); 2] {
    let of = |id: String| json!({"id": id, "principalId": shape.id(who), "roleDefinitionId": shape.role(role), "directoryScopeId": "/", "appScopeId": null});
    let start = "2025-12-01T08:00:00Z";
    let (mut schedule, mut instance) = (of(format!("es-{number}")), of(format!("ei-{number}")));
    schedule["scheduleInfo"] = json!({"startDateTime": start, "recurrence": null, "expiration": {"type": "noExpiration", "endDateTime": null, "duration": null}});
    (instance["startDateTime"], instance["endDateTime"]) = (start.into(), Value::Null);
    [(ELIGIBLE, schedule), (ELIGIBLE_NOW, instance)]
}
