//! Model test of effective access: random tenants and histories, random questions, against an evaluator that walks whole
//! states and is as slow as it is plain.
//!
//! A failure prints its seed; `TENURE_TEST_SEED=<seed> cargo test --test access` runs it again.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use support::*;
use tenure::archive::entry::{Coverage, Status};
use tenure::archive::line::{Change, Content, ContentChange, LinkChange};
use tenure::canonical::Key;
use tenure::query::access::{Access, Evaluator, Power};
use tenure::query::{Archive, Certainty, Moment};
use tenure::store::{MemoryStore, Store};

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

const START: &str = "2026-08-01T00:00:00Z";

fn hour(number: u64) -> Timestamp {
    at(START) + SignedDuration::from_hours(number as i64)
}

/// Something that is so or not so at a capture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Link(String, String, String),
    /// An object and what it says, apart from what nobody reads.
    Said(String, String),
}

/// What is read together: a collection, or a relation of it.
type Subject = (&'static str, Option<&'static str>);

const SUBJECTS: [Subject; 14] = [
    ("user", None),
    ("group", None),
    ("group", Some("members")),
    ("group", Some("owners")),
    ("servicePrincipal", None),
    ("servicePrincipal", Some("owners")),
    ("servicePrincipal", Some("appRoleAssignedTo")),
    ("administrativeUnit", None),
    ("administrativeUnit", Some("members")),
    ("unifiedRoleAssignment", None),
    ("unifiedRoleAssignmentScheduleInstance", None),
    ("unifiedRoleEligibilitySchedule", None),
    ("appRoleAssignment", None),
    ("oauth2PermissionGrant", None),
];

/// Relations that are read in turns, some sources at a time.
fn is_swept(subject: Subject) -> bool {
    subject.1 == Some("owners")
}

/// Subjects whose reads succeed and fail together, because one request reads both or an activation shows in both.
fn fate(subject: Subject) -> Subject {
    match subject {
        ("group", Some("members")) => ("group", None),
        ("administrativeUnit", Some("members")) => ("administrativeUnit", None),
        ("unifiedRoleAssignmentScheduleInstance", None) => ("unifiedRoleAssignment", None),
        ("servicePrincipal", Some("appRoleAssignedTo")) => ("appRoleAssignment", None),
        other => other,
    }
}

fn subject_of(fact: &Fact) -> Subject {
    let (key, relation) = match fact {
        Fact::Link(source, relation, _) => (source, Some(relation.as_str())),
        Fact::Said(key, _) => (key, None),
    };
    let collection = key.split('/').next().unwrap();
    *SUBJECTS.iter().find(|subject| subject.0 == collection && subject.1 == relation).unwrap()
}

/// The tenant as it really is.
struct Tenant {
    state: State,
    dice: Dice,
    noise: u64,
}

fn people() -> Vec<String> {
    (0..4).map(|n| format!("user/u{n}")).chain((0..2).map(|n| format!("servicePrincipal/s{n}"))).collect()
}

fn groups() -> Vec<String> {
    (0..4).map(|n| format!("group/g{n}")).collect()
}

fn id_of(key: &str) -> &str {
    key.split_once('/').unwrap().1
}

fn canonical(text: &str) -> Content {
    let json = tenure::canonical::parse(text.as_bytes()).unwrap();
    Content::Canonical(tenure::canonical::canonicalize(&json, &tenure::canonical::Rules::default()).unwrap())
}

impl Tenant {
    fn pick(&mut self, from: &[String]) -> String {
        from[self.dice.roll(from.len() as u64) as usize].clone()
    }

    fn holder(&mut self) -> String {
        let all: Vec<String> = people().into_iter().chain(groups()).collect();
        self.pick(&all)
    }

    fn put(&mut self, key: &str, json: serde_json::Value) {
        self.noise += 1;
        let mut json = json;
        json["noise"] = self.noise.into();
        self.state.entry(support::key(key)).or_default().content = Some(canonical(&json.to_string()));
    }

    fn is_there(&self, key: &str) -> bool {
        self.state.get(&support::key(key)).is_some_and(|object| object.content.is_some())
    }

    fn toggle_link(&mut self, source: &str, relation: &str, target: &str) {
        if !self.is_there(source) || source == target {
            return;
        }
        let links = self.state.get_mut(&support::key(source)).unwrap().links.entry(relation.to_owned()).or_default();
        if links.remove(&support::key(target)).is_none() {
            links.insert(support::key(target), None);
        }
        self.state.get_mut(&support::key(source)).unwrap().links.retain(|_, targets| !targets.is_empty());
    }

    fn toggle(&mut self, key: &str, json: serde_json::Value) {
        match self.is_there(key) {
            true => drop(self.state.remove(&support::key(key))),
            false => self.put(key, json),
        }
    }

    /// One change, of any kind.
    fn change(&mut self, hours: u64) {
        let holder = self.holder();
        let group = self.pick(&groups());
        let principal = self.pick(&(0..3).map(|n| format!("servicePrincipal/s{n}")).collect::<Vec<_>>());
        match self.dice.roll(16) {
            0..=4 => self.toggle_link(&group, "members", &holder),
            5 => self.toggle_link(&group, "owners", &holder),
            6 => self.toggle_link(&principal, "owners", &holder),
            7 => self.toggle_link("administrativeUnit/a0", "members", &holder),
            8 => {
                // Deleted and, by and by, restored; a restored group has its members again.
                let victim = if self.dice.one_in(2) { group } else { self.pick(&people()[..4]) };
                self.toggle(&victim, serde_json::json!({ "id": id_of(&victim) }));
            }
            9 => {
                let scope = ["/", "/administrativeUnits/a0"][self.dice.roll(2) as usize];
                let (id, name) = (format!("unifiedRoleAssignment/{}-{}", id_of(&holder), scope.len()), id_of(&holder));
                self.toggle(
                    &id,
                    serde_json::json!({"principalId": name, "roleDefinitionId": "r0", "directoryScopeId": scope}),
                );
            }
            10 => {
                let name = id_of(&holder);
                let (start, end) = (self.dice.roll(hours), self.dice.roll(hours) + 1);
                let info = match self.dice.roll(3) {
                    0 => serde_json::json!({"startDateTime": hour(start), "expiration": {"type": "noExpiration"}}),
                    1 => serde_json::json!({"startDateTime": hour(0), "expiration": {"endDateTime": hour(end)}}),
                    _ => {
                        serde_json::json!({"startDateTime": hour(start), "expiration": {"type": "afterDuration", "duration": format!("PT{end}H")}})
                    }
                };
                self.toggle(
                    &format!("unifiedRoleEligibilitySchedule/e-{name}"),
                    serde_json::json!({"principalId": name, "roleDefinitionId": "r1", "directoryScopeId": "/", "scheduleInfo": info}),
                );
            }
            11 => {
                // An activation shows in the list of assignments and in that of instances.
                let name = id_of(&holder);
                let content = |kind: Option<&str>| serde_json::json!({"principalId": name, "roleDefinitionId": "r1", "directoryScopeId": "/", "assignmentType": kind});
                self.toggle(&format!("unifiedRoleAssignment/act-{name}"), content(None));
                self.toggle(&format!("unifiedRoleAssignmentScheduleInstance/i-{name}"), content(Some("Activated")));
            }
            12 => {
                let kind = match kind_of(id_of(&holder)) {
                    "user" => "User",
                    "group" => "Group",
                    _ => "ServicePrincipal",
                };
                let role = format!("role{}", self.dice.roll(2));
                self.toggle(
                    &format!("appRoleAssignment/{}-{}", id_of(&holder), id_of(&principal)),
                    serde_json::json!({"principalId": id_of(&holder), "principalType": kind, "resourceId": id_of(&principal), "appRoleId": role}),
                );
            }
            13 => {
                let (name, to_all) = (self.dice.roll(4), self.dice.one_in(3));
                let (kind, who) =
                    if to_all { ("AllPrincipals", None) } else { ("Principal", Some(format!("u{name}"))) };
                self.toggle(
                    &format!("oauth2PermissionGrant/{}-{}", id_of(&principal), if to_all { 9 } else { name }),
                    serde_json::json!({"clientId": id_of(&principal), "consentType": kind, "principalId": who, "resourceId": "s0", "scope": "b a"}),
                );
            }
            14 => {
                let flag = self.dice.one_in(2);
                let id = id_of(&principal).to_owned();
                self.put(&principal, serde_json::json!({ "id": id, "appRoleAssignmentRequired": flag }));
            }
            _ => {
                // Changed in something that grants nothing.
                let keys: Vec<String> = self
                    .state
                    .iter()
                    .filter(|(_, object)| object.content.is_some())
                    .map(|(key, _)| key.to_string())
                    .collect();
                let key = self.pick(&keys);
                let Some(Content::Canonical(bytes)) = self.state[&support::key(&key)].content.clone() else { return };
                self.put(&key, serde_json::from_slice(&bytes).unwrap());
            }
        }
    }
}

/// What a capture read: all of a subject, some of its sources, or nothing.
#[derive(Clone)]
enum Reading {
    All,
    Some(BTreeSet<Key>),
    Nothing(Status),
}

/// The archive of a tenant, and everything an honest evaluator needs to know of how it came about.
struct Told {
    archive: Archive,
    _directory: tempfile::TempDir,
    /// By capture.
    facts: BTreeMap<u64, BTreeSet<Fact>>,
    /// By fact and the capture that shows a change of it: the capture that last saw it as before.
    last_seen: BTreeMap<(Fact, u64), u64>,
    cover: BTreeMap<u64, Vec<Coverage>>,
}

fn facts_of(state: &State) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::new();
    for (key, object) in state {
        for (relation, targets) in &object.links {
            for target in targets.keys() {
                facts.insert(Fact::Link(key.to_string(), relation.clone(), target.to_string()));
            }
        }
        if let Some(Content::Canonical(bytes)) = &object.content {
            let mut json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            json.as_object_mut().unwrap().remove("noise");
            facts.insert(Fact::Said(key.to_string(), json.to_string()));
        }
    }
    facts
}

async fn live(seed: u64, hours: u64) -> Told {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut builder = ArchiveBuilder::new(store.clone(), "t", at(START) - SignedDuration::from_hours(1)).await;
    let mut tenant = Tenant { state: State::new(), dice: Dice(seed), noise: 0 };
    for key in
        people().into_iter().chain(groups()).chain(["servicePrincipal/s2".into(), "administrativeUnit/a0".into()])
    {
        let id = id_of(&key).to_owned();
        tenant.put(&key, serde_json::json!({ "id": id, "appRoleAssignmentRequired": true }));
    }
    for _ in 0..60 {
        tenant.change(hours);
    }
    let late: BTreeSet<Subject> =
        SUBJECTS.into_iter().filter(|subject| fate(*subject) == *subject && tenant.dice.one_in(8)).collect();
    let (mut read, mut told_facts, mut last_seen, mut cover) =
        (BTreeMap::<(Subject, Option<Key>), u64>::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut known = BTreeSet::new();
    for number in 0..hours {
        for _ in 0..tenant.dice.roll(5) {
            tenant.change(hours);
        }
        let seq = number + 1;
        let mut readings: BTreeMap<Subject, Reading> = BTreeMap::new();
        for subject in SUBJECTS {
            let reading = match readings.get(&fate(subject)) {
                Some(reading) if fate(subject) != subject => reading.clone(),
                _ if late.contains(&subject) && number < hours / 3 => Reading::Nothing(Status::Absent),
                _ if number > 0 && tenant.dice.one_in(4) => Reading::Nothing(Status::Carried),
                _ if is_swept(subject) => {
                    let sources = tenant.state.keys().filter(|key| key.collection() == subject.0).cloned();
                    let mut sources: BTreeSet<Key> = sources.collect();
                    sources.retain(|key| !read.contains_key(&(subject, Some(key.clone()))) || tenant.dice.one_in(3));
                    Reading::Some(sources)
                }
                _ => Reading::All,
            };
            readings.insert(subject, reading);
        }
        let changes = changes(&builder.state, &tenant.state, &readings, &read, seq);
        let rows = settle(&tenant.state, &readings, &mut read, seq);
        builder.capture(hour(number), changes.clone(), rows.clone()).await;
        let facts = facts_of(&builder.state);
        for fact in facts.symmetric_difference(&known) {
            last_seen.insert((fact.clone(), seq), seen_before(&changes, fact, seq));
        }
        known = facts.clone();
        told_facts.insert(seq, facts);
        cover.insert(seq, rows);
    }
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(store, directory.path(), |notice| panic!("{notice:?}"), |_, _| ()).await.unwrap();
    Told { archive, _directory: directory, facts: told_facts, last_seen, cover }
}

/// The lines of a capture: what is read and isn't as the archive has it.
fn changes(
    old: &State,
    new: &State,
    readings: &BTreeMap<Subject, Reading>,
    read: &BTreeMap<(Subject, Option<Key>), u64>,
    seq: u64,
) -> Changes {
    let q = |subject: Subject, source: Option<&Key>| {
        let last = read.get(&(subject, source.cloned())).copied();
        last.filter(|last| last + 1 != seq)
    };
    let none = Object::default();
    let mut changes = Changes::new();
    for key in old.keys().chain(new.keys()) {
        let (before, after) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
        let content = *SUBJECTS.iter().find(|subject| subject.0 == key.collection() && subject.1.is_none()).unwrap();
        let mut change = Change::default();
        let is_read = matches!(readings[&content], Reading::All);
        let gone = is_read && before.content.is_some() && after.content.is_none();
        if gone {
            change.content = Some((ContentChange::Remove, q(content, None)));
        } else if is_read && before.content != after.content {
            change.content = Some((ContentChange::Put(after.content.clone().unwrap()), q(content, None)));
        }
        for subject in SUBJECTS.iter().filter(|subject| subject.0 == key.collection()) {
            let Some(relation) = subject.1.filter(|relation| *relation != "appRoleAssignedTo") else { continue };
            let (is_read, q) = match &readings[subject] {
                Reading::All => (true, q(*subject, None)),
                Reading::Some(sources) => (sources.contains(key), q(*subject, Some(key))),
                Reading::Nothing(_) => (false, None),
            };
            let empty = Default::default();
            let held = before.links.get(relation).unwrap_or(&empty);
            let holds = after.links.get(relation).unwrap_or(&empty);
            if !is_read || gone {
                continue;
            }
            let added = holds.keys().filter(|target| !held.contains_key(*target)).map(|t| (t.clone(), (None, q)));
            let removed = held.keys().filter(|target| !holds.contains_key(*target)).map(|t| (t.clone(), q));
            let link = LinkChange { added: added.collect(), removed: removed.collect() };
            if !link.added.is_empty() || !link.removed.is_empty() {
                change.links.insert(relation.to_owned(), link);
            }
        }
        if change.content.is_some() || !change.links.is_empty() {
            changes.insert(key.clone(), change);
        }
    }
    changes
}

/// Remembers what was read, and says it as coverage.
fn settle(
    state: &State,
    readings: &BTreeMap<Subject, Reading>,
    read: &mut BTreeMap<(Subject, Option<Key>), u64>,
    seq: u64,
) -> Vec<Coverage> {
    let mut rows = Vec::new();
    for (subject, reading) in readings {
        let status = match reading {
            Reading::All => {
                read.insert((*subject, None), seq);
                Status::Complete
            }
            Reading::Some(sources) => {
                for source in sources {
                    read.insert((*subject, Some(source.clone())), seq);
                }
                Status::Rolling
            }
            Reading::Nothing(status) => *status,
        };
        let mut row = row(subject.0, subject.1, status, None);
        if status == Status::Rolling {
            let there = state.keys().filter(|key| key.collection() == subject.0);
            let all: Vec<u64> = there.filter_map(|key| read.get(&(*subject, Some(key.clone()))).copied()).collect();
            row.oldest = all.into_iter().min().or(Some(seq));
        }
        rows.push(row);
    }
    rows.sort_by(|a, b| (&a.c, &a.r).cmp(&(&b.c, &b.r)));
    rows
}

/// By the lines of a capture: which capture last saw as before what changed there.
fn seen_before(changes: &Changes, fact: &Fact, seq: u64) -> u64 {
    let q = match fact {
        Fact::Said(key, _) => changes[&key.parse().unwrap()].content.as_ref().and_then(|content| content.1),
        Fact::Link(source, relation, target) => {
            let change = &changes[&source.parse().unwrap()];
            let target: Key = target.parse().unwrap();
            match change.links.get(relation) {
                Some(link) if link.added.contains_key(&target) => link.added[&target].1,
                Some(link) if link.removed.contains_key(&target) => link.removed[&target],
                // It went with its source.
                _ => change.content.as_ref().and_then(|content| content.1),
            }
        }
    };
    q.unwrap_or(seq - 1)
}

/// How sure a fact is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Maybe,
    Unread,
    Sure,
}

/// A moment: a capture, or the time between it and the next one.
#[derive(Debug, Clone, Copy)]
enum When {
    At(u64),
    After(u64),
}

/// What is known when capture `horizon` is the head, looked through from beginning to end for every question.
struct Model<'a> {
    told: &'a Told,
    horizon: u64,
    all: BTreeSet<Fact>,
    read: BTreeMap<Subject, u64>,
}

impl<'a> Model<'a> {
    fn new(told: &'a Told, horizon: u64) -> Self {
        let all = told.facts.range(..=horizon).flat_map(|(_, facts)| facts.iter().cloned()).collect();
        let read = SUBJECTS.into_iter().map(|subject| {
            let last = (1..=horizon).rev().find_map(|seq| {
                let row = told.cover[&seq].iter().find(|row| row.c == subject.0 && row.r.as_deref() == subject.1)?;
                match row.st {
                    Status::Complete => Some(seq),
                    Status::Rolling => row.oldest,
                    _ => None,
                }
            });
            (subject, last.unwrap_or(0))
        });
        Model { told, horizon, all, read: read.collect() }
    }

    fn is_there(&self, fact: &Fact, seq: u64) -> bool {
        self.told.facts.get(&seq).is_some_and(|facts| facts.contains(fact))
    }

    /// The class of a fact at a capture; `None` where it surely wasn't so.
    fn at(&self, fact: &Fact, seq: u64) -> Option<Class> {
        let there = self.is_there(fact, seq);
        let next = (seq + 1..=self.horizon).find(|next| self.is_there(fact, *next) != there);
        let begins = there && !self.is_there(fact, seq - 1);
        match next {
            Some(next) if self.told.last_seen[&(fact.clone(), next)] < seq && !begins => Some(Class::Maybe),
            None if there && !begins && seq > self.read[&subject_of(fact)] => Some(Class::Unread),
            _ => there.then_some(Class::Sure),
        }
    }

    fn class(&self, fact: &Fact, when: When) -> Option<Class> {
        let (first, second) = match when {
            When::At(seq) => return self.at(fact, seq),
            When::After(seq) => (seq, (seq + 1).min(self.horizon)),
        };
        let both = (self.at(fact, first), self.at(fact, second));
        let there = self.is_there(fact, first);
        let goes_on = there && (first..=self.horizon).all(|seq| self.is_there(fact, seq));
        match both {
            (None, None) => None,
            (Some(Class::Sure), Some(Class::Sure)) if there && self.is_there(fact, second) => Some(Class::Sure),
            _ if goes_on => Some(Class::Unread),
            _ => Some(Class::Maybe),
        }
    }

    /// Whether the archive ever saw a key.
    fn knows(&self, key: &str) -> bool {
        self.all.iter().any(|fact| match fact {
            Fact::Link(source, _, target) => source == key || target == key,
            Fact::Said(said, _) => said == key,
        })
    }

    /// All rows at a moment: who, what, by which way.
    fn rows(&self, when: When, from: Timestamp, until: Timestamp) -> BTreeMap<Row, Class> {
        // The times of the moment that are asked about: what holds for a term has to meet it then.
        let (first, last) = match when {
            When::At(seq) => (hour(seq - 1), hour(seq - 1)),
            When::After(seq) => (hour(seq - 1), hour(seq)),
        };
        let moment = (first.max(from), last.min(until).max(first.max(from)));
        let classes: BTreeMap<&Fact, Class> =
            self.all.iter().filter_map(|fact| Some((fact, self.class(fact, when)?))).collect();
        let mut rows: BTreeMap<Row, Class> = BTreeMap::new();
        let mut tell = |subject: &str, power: String, way: Vec<String>, class: Class| {
            let best = rows.entry((subject.to_owned(), power, way)).or_insert(class);
            *best = (*best).max(class);
        };
        let members: Vec<(&String, &String, Class)> = classes
            .iter()
            .filter_map(|(fact, class)| match fact {
                Fact::Link(group, relation, member) if relation == "members" => Some((member, group, *class)),
                _ => None,
            })
            .collect();
        let worse = |a: Class, b: Class| match (a, b) {
            (Class::Sure, Class::Sure) => Class::Sure,
            (a, b) if a == Class::Unread || b == Class::Unread => Class::Unread,
            _ => Class::Maybe,
        };
        // Memberships, however deep, no group twice.
        let mut pending: Vec<(String, Vec<String>, Class)> =
            members.iter().map(|(m, ..)| ((*m).clone(), vec![(*m).clone()], Class::Sure)).collect();
        pending.sort();
        pending.dedup();
        while let Some((start, way, class)) = pending.pop() {
            for (_, group, step) in members.iter().filter(|(member, ..)| *member == way.last().unwrap()) {
                if way.contains(group) || group.starts_with("administrativeUnit") && way.len() > 1 {
                    continue;
                }
                let mut longer = way.clone();
                longer.push((*group).clone());
                let class = worse(class, *step);
                tell(&start, format!("member {group}"), longer[..longer.len() - 1].to_vec(), class);
                if group.starts_with("group") {
                    pending.push((start.clone(), longer, class));
                }
            }
        }
        let grants: Vec<(String, String, Class)> = classes
            .iter()
            .filter_map(|(fact, class)| match fact {
                Fact::Said(key, said) => {
                    let (who, power) = self.grant(key, said, &classes, moment.0, moment.1)?;
                    Some((who, power, *class))
                }
                Fact::Link(..) => None,
            })
            .collect();
        for (who, power, class) in &grants {
            let holders = people().into_iter().chain(groups()).filter(|key| id_of(key) == who);
            let mut holders: Vec<String> = holders.filter(|key| self.knows(key)).collect();
            if holders.is_empty() && !who.is_empty() {
                // Of an application's users the assignment says what they are.
                let kind = if power.starts_with("app role") { kind_of(who) } else { "directoryObject" };
                holders.push(format!("{kind}/{who}"));
            }
            for holder in holders {
                tell(&holder, power.clone(), vec![holder.clone()], *class);
                let of_group = members.iter().filter(|(_, group, _)| **group == holder);
                for (member, group, step) in of_group.filter(|_| !power.starts_with("delegated")) {
                    tell(member, power.clone(), vec![(*member).clone(), (*group).clone()], worse(*class, *step));
                }
            }
            if who.is_empty() {
                // Everybody's: each person has it.
                for person in people().iter().filter(|person| person.starts_with("user")) {
                    tell(person, power.clone(), vec![person.clone()], *class);
                }
            }
        }
        for (fact, class) in &classes {
            match fact {
                Fact::Link(owned, relation, owner) if relation == "owners" => {
                    tell(owner, format!("owner {owned}"), vec![owner.clone()], *class);
                }
                Fact::Said(key, said)
                    if key.starts_with("servicePrincipal") && said.contains("\"appRoleAssignmentRequired\":false") =>
                {
                    tell(key, format!("open {key}"), vec![key.clone()], *class);
                }
                Fact::Said(key, said) if key.starts_with("oauth2PermissionGrant") => {
                    let json: serde_json::Value = serde_json::from_str(said).unwrap();
                    let client = format!("servicePrincipal/{}", json["clientId"].as_str().unwrap());
                    let power = delegated(&json);
                    tell(&client, power, vec![client.clone()], *class);
                }
                _ => {}
            }
        }
        rows
    }

    /// Whom an object gives what; nobody by name where it is everybody.
    fn grant(
        &self,
        key: &str,
        said: &str,
        classes: &BTreeMap<&Fact, Class>,
        from: Timestamp,
        until: Timestamp,
    ) -> Option<(String, String)> {
        let json: serde_json::Value = serde_json::from_str(said).unwrap();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let (who, role, scope) = (text("principalId"), text("roleDefinitionId"), text("directoryScopeId"));
        match key.split('/').next().unwrap() {
            "unifiedRoleAssignment" => {
                // The other half of an activation says so.
                let is_activation = key.contains("/act-");
                let other = classes.keys().any(|fact| matches!(fact, Fact::Said(key, _) if *key == format!("unifiedRoleAssignmentScheduleInstance/i-{who}")));
                let form = if is_activation && other { "activated" } else { "assigned" };
                Some((who, format!("{form} {role} {scope}")))
            }
            "unifiedRoleAssignmentScheduleInstance" => Some((who, format!("activated {role} {scope}"))),
            "unifiedRoleEligibilitySchedule" => {
                let info = &json["scheduleInfo"];
                let start: Timestamp = info["startDateTime"].as_str().unwrap().parse().unwrap();
                let expiration = &info["expiration"];
                let end = match (expiration["endDateTime"].as_str(), expiration["duration"].as_str()) {
                    (Some(end), _) => Some(end.parse().unwrap()),
                    (_, Some(duration)) => {
                        let hours: i64 = duration[2..duration.len() - 1].parse().unwrap();
                        Some(start + SignedDuration::from_hours(hours))
                    }
                    _ => None,
                };
                let admitted = start <= until && end.is_none_or(|end: Timestamp| end > from);
                admitted.then(|| (who, format!("eligible {role} {scope}")))
            }
            "appRoleAssignment" => Some((who, format!("app role {} {}", text("appRoleId"), text("resourceId")))),
            "oauth2PermissionGrant" => Some((who, delegated(&json))),
            _ => None,
        }
    }
}

fn kind_of(id: &str) -> &'static str {
    match id.as_bytes()[0] {
        b'u' => "user",
        b'g' => "group",
        _ => "servicePrincipal",
    }
}

fn delegated(json: &serde_json::Value) -> String {
    let text = |name: &str| json[name].as_str().unwrap_or("-").to_owned();
    format!("delegated {} {} {}", text("clientId"), text("resourceId"), text("principalId"))
}

/// Who, what, and by which keys.
type Row = (String, String, Vec<String>);

fn told_row(access: &Access) -> (Row, Class) {
    let power = match &access.power {
        Power::Role { role, scope, form } => format!("{} {role} {scope}", form.as_str()),
        Power::AppRole { resource, role } => format!("app role {role} {}", resource.id()),
        Power::DefaultAccess { resource } => format!("open {resource}"),
        Power::Delegated { client, resource, scopes, principal } => {
            assert_eq!(scopes, &["a", "b"]);
            format!("delegated {} {} {}", client.id(), resource.id(), principal.as_deref().unwrap_or("-"))
        }
        Power::Member { of } => format!("member {of}"),
        Power::Owner { of } => format!("owner {of}"),
    };
    let way = access.path.iter().map(|step| step.from.to_string());
    let way = match &access.power {
        // The step is the client's; the row is about whom it may act for.
        Power::Delegated { .. } => vec![access.subject.to_string()],
        _ => way.collect(),
    };
    let class = match access.certainty {
        Certainty::Observed | Certainty::Corroborated => Class::Sure,
        Certainty::ChangedInGap => Class::Maybe,
        Certainty::Unknown => Class::Unread,
    };
    ((access.subject.to_string(), power, way), class)
}

fn told_rows(rows: &[Access]) -> BTreeMap<Row, Class> {
    let mut told = BTreeMap::new();
    for (row, class) in rows.iter().map(told_row) {
        let best = told.entry(row).or_insert(class);
        *best = (*best).max(class);
    }
    told
}

fn subjects() -> Vec<String> {
    people().into_iter().chain(groups()).chain(["servicePrincipal/s2".to_owned()]).collect()
}

/// Asks from both ends and compares.
async fn compare(
    evaluator: &Evaluator<'_>,
    model: &Model<'_>,
    expected: &BTreeMap<Row, Class>,
    what: &str,
    sureness: bool,
) {
    let only = |keep: &dyn Fn(&Row) -> bool| -> BTreeMap<Row, Class> {
        expected.iter().filter(|(row, _)| keep(row)).map(|(row, class)| (row.clone(), *class)).collect()
    };
    let check = |found: Vec<Access>, expected: BTreeMap<Row, Class>, question: &str| {
        let (mut found, mut expected) = (told_rows(&found), expected);
        if !sureness {
            found
                .values_mut()
                .chain(expected.values_mut())
                .filter(|class| **class != Class::Sure)
                .for_each(|class| *class = Class::Maybe);
        }
        for (row, class) in &found {
            assert_eq!(Some(class), expected.get(row), "{what}, {question}: told {row:?}");
        }
        for (row, class) in &expected {
            assert_eq!(Some(class), found.get(row), "{what}, {question}: not told {row:?}");
        }
    };
    for subject in subjects().into_iter().filter(|subject| model.knows(subject)) {
        let found = evaluator.reach(&support::key(&subject)).await.unwrap();
        check(found, only(&|row| row.0 == subject && !row.1.starts_with("open")), &format!("reach of {subject}"));
    }
    let open = evaluator.open_applications().await.unwrap();
    check(open.clone(), only(&|row| row.1.starts_with("open")), "open applications");
    assert_eq!(evaluator.count_open_applications().unwrap(), open.len(), "{what}: counted without reading them");
    for role in ["r0", "r1", "r9"] {
        let found = evaluator.holders(role).await.unwrap();
        let is_of = |row: &Row| row.1.split(' ').nth(1) == Some(role);
        check(found, only(&is_of), &format!("holders of {role}"));
    }
    for group in groups().into_iter().chain(["administrativeUnit/a0".to_owned()]) {
        let found = evaluator.reachers(&support::key(&group)).await.unwrap();
        let scoped = |row: &Row| group.starts_with("admin") && row.1.ends_with(" /administrativeUnits/a0");
        let is_of = |row: &Row| row.1 == format!("member {group}") || row.1 == format!("owner {group}") || scoped(row);
        check(found, only(&is_of), &format!("reachers of {group}"));
    }
    for resource in ["s0", "s1", "s2"] {
        let key = format!("servicePrincipal/{resource}");
        let found = evaluator.reachers(&support::key(&key)).await.unwrap();
        let is_of = |row: &Row| {
            row.1.starts_with("app role") && row.1.ends_with(resource)
                || row.1 == format!("owner {key}")
                || row.1 == format!("open {key}")
        };
        check(found, only(&is_of), &format!("reachers of {key}"));
    }
}

const HOURS: u64 = 24;

/// How often each kind of row came up, by how sure it was: a test that compares nothing proves nothing.
#[derive(Default)]
struct Tally(BTreeMap<(String, Class), usize>);

impl Tally {
    fn count(&mut self, rows: &BTreeMap<Row, Class>) {
        for ((_, power, way), class) in rows {
            let kind = power.split(' ').next().unwrap();
            let way = if way.len() > 1 { "through groups" } else { "direct" };
            *self.0.entry((format!("{kind}, {way}"), *class)).or_default() += 1;
        }
    }

    fn check(&self) {
        let direct = ["activated", "app", "assigned", "delegated", "eligible", "member", "open", "owner"];
        let through = ["activated", "app", "assigned", "eligible", "member"];
        let kinds = direct.iter().map(|kind| format!("{kind}, direct"));
        for kind in kinds.chain(through.iter().map(|kind| format!("{kind}, through groups"))) {
            for class in [Class::Maybe, Class::Unread, Class::Sure] {
                let seen = self.0.get(&(kind.clone(), class)).copied().unwrap_or(0);
                assert!(seen > 0, "nothing of kind {kind} was {class:?}: {:?}", self.0);
            }
        }
    }
}

async fn one_history(seed: u64, tally: &mut Tally) {
    let mut told = live(seed, HOURS).await;
    let mut dice = Dice(seed ^ 0xACCE55);
    for _ in 0..12 {
        let horizon = if dice.one_in(2) { HOURS } else { 1 + dice.roll(HOURS) };
        told.archive.know_at(horizon).unwrap();
        let model = Model::new(&told, horizon);
        let now = hour(horizon - 1) + SignedDuration::from_mins(30);
        let first = 1 + dice.roll(horizon);
        let last = first + dice.roll(horizon - first + 1);
        // Captures stand on the hour; numbers begin with 1.
        let instant = |seq: u64, after: bool| {
            let time = hour(seq - 1) + SignedDuration::from_mins(if after { 20 } else { 0 });
            (told.archive.at(&Moment::At(time), now).unwrap(), time)
        };
        let after = dice.one_in(2);
        let (at, time) = instant(first, after);
        let when = if after { When::After(first) } else { When::At(first) };
        let evaluator = Evaluator::at(&told.archive, &at).unwrap();
        let what = format!("seed {seed}, {when:?} as known at {horizon}");
        let expected = model.rows(when, time, time);
        tally.count(&expected);
        compare(&evaluator, &model, &expected, &what, true).await;

        let ends = dice.one_in(2);
        let ((begin, from), (end, until)) = (instant(first, after), instant(last, ends));
        if (first, after) > (last, ends) || from == until {
            continue;
        }
        let moments = (first..=last).flat_map(|seq| [When::At(seq), When::After(seq)]);
        let inside = moments.filter(|when| match when {
            When::At(seq) => *seq > first || !after,
            When::After(seq) => *seq < last || ends,
        });
        let mut expected: BTreeMap<Row, Class> = BTreeMap::new();
        for when in inside {
            for (row, class) in model.rows(when, from, until) {
                let best = expected.entry(row).or_insert(class);
                *best = (*best).max(class);
            }
        }
        let evaluator = Evaluator::during(&told.archive, &begin, &end).unwrap();
        let what = format!("seed {seed}, {first} {after} to {last} {ends} as known at {horizon}");
        compare(&evaluator, &model, &expected, &what, false).await;
    }
}

#[tokio::test]
async fn access_is_what_whole_states_say() {
    let seeds: Vec<u64> = match std::env::var("TENURE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=24).chain([rand::random::<u32>().into()]).collect(),
    };
    let mut tally = Tally::default();
    for seed in &seeds {
        println!("seed {seed}");
        one_history(*seed, &mut tally).await;
    }
    if seeds.len() > 1 {
        tally.check();
    }
}
