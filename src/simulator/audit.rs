//! The directory's audit log: who did what, and when others come to see it.
//!
//! Must never know: requests, licences, or why anybody did anything.
//!
//! Shape of a record: "directoryAudit resource type"; names of categories and activities: "Microsoft Entra audit log
//! categories and activities". A record shows up some minutes after its activity, now and then hours ("Microsoft Entra
//! ID data retention and reporting latencies"), and never changes: names are those of the time of the activity. How
//! late each one is hangs on the seed and its number alone, so that the log draws no chance from anybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::collection::Collection;
use super::directory::{Entry, Relation, Standing};

/// What was done to the directory, by the places of the objects.
#[derive(Debug)]
pub(super) enum Deed {
    Created(usize),
    /// Name, value before and value after of each property.
    Changed(usize, Vec<(String, Value, Value)>),
    Linked(usize, Relation, usize),
    LinkedMany(usize, usize),
    Unlinked(usize, Relation, usize),
    Deleted(usize),
    Restored(usize),
    Removed(usize),
}

/// Properties whose changes nobody did: clocks and counters of the service.
const UNWATCHED: [&str; 6] = [
    "approximateLastSignInDateTime",
    "onPremisesLastSyncDateTime",
    "consumedUnits",
    "directorySizeQuota",
    "modifiedDateTime",
    "lastModifiedDateTime",
];

/// An activity that was logged.
#[derive(Debug)]
struct Event {
    number: u64,
    at: Timestamp,
    /// When it can first be read.
    shown: Timestamp,
    category: &'static str,
    service: &'static str,
    operation: &'static str,
    activity: String,
    actor: Arc<Value>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    kind: &'static str,
    id: String,
    name: Value,
    principal_name: Value,
    changes: Vec<(String, Value, Value)>,
}

/// The place of a record in the order of time.
pub(super) type Mark = (Timestamp, u64);

/// Everything that was logged since the tenant's life began.
#[derive(Debug)]
pub(super) struct Log {
    seed: u64,
    on: bool,
    actor: Arc<Value>,
    number: u64,
    events: BTreeMap<Mark, Event>,
}

impl Log {
    /// A log that keeps nothing until it is told to begin.
    pub fn new(seed: u64) -> Self {
        Self { seed, on: false, actor: Arc::default(), number: 0, events: BTreeMap::new() }
    }

    /// From now on everything is logged.
    pub fn begin(&mut self) {
        self.on = true;
    }

    /// Who does what is done from now on (`initiatedBy`).
    pub fn by(&mut self, actor: Arc<Value>) {
        self.actor = actor;
    }

    /// Logs a deed, unless it is one that Entra does not log.
    pub fn write(&mut self, entries: &[Entry], at: Timestamp, deed: Deed) {
        if !self.on {
            return;
        }
        if let Some(draft) = draft(entries, deed) {
            self.push(at, draft);
        }
    }

    /// Logs a step of Microsoft's own recovery. The activity names are invented: none has been published.
    pub fn write_recovery(&mut self, at: Timestamp, activity: &str, job: &str) {
        let target = Target {
            kind: "Other",
            id: job.to_owned(),
            name: Value::Null,
            principal_name: Value::Null,
            changes: Vec::new(),
        };
        let about = ("Backup and Recovery", "Microsoft Entra Backup and Recovery", "Update");
        self.push(at, (about, activity.to_owned(), vec![target]));
    }

    fn push(&mut self, at: Timestamp, (about, activity, targets): Draft) {
        self.number += 1;
        let number = self.number;
        let shown = at + self.delay(number);
        let (category, service, operation) = about;
        let actor = self.actor.clone();
        let event = Event { number, at, shown, category, service, operation, activity, actor, targets };
        self.events.insert((at, number), event);
    }

    /// Most records are there within minutes, one in fifty takes hours.
    fn delay(&self, number: u64) -> SignedDuration {
        let chance = mix(self.seed ^ mix(number));
        let spread = (chance >> 16) as i64;
        SignedDuration::from_secs(match chance % 50 {
            0 => 7200 + spread.rem_euclid(7 * 3600),
            1..5 => 1800 + spread.rem_euclid(5400),
            5..15 => 360 + spread.rem_euclid(1440),
            _ => 90 + spread.rem_euclid(270),
        })
    }

    /// The marks of the records from `first` to `last` that can be read at `now`, oldest first.
    pub fn shown(&self, first: Timestamp, last: Timestamp, now: Timestamp) -> Vec<Mark> {
        if first > last {
            return Vec::new();
        }
        let range = self.events.range((first, 0)..=(last, u64::MAX));
        range.filter(|(_, event)| event.shown <= now).map(|(mark, _)| *mark).collect()
    }

    /// The record at `mark` as the service shows it.
    pub fn record(&self, mark: &Mark) -> Value {
        self.events.get(mark).map_or(Value::Null, |event| self.render(event))
    }

    /// All records that could be read at some time up to `now`, oldest first.
    pub fn ever_shown(&self, now: Timestamp) -> Vec<Value> {
        self.events.values().filter(|event| event.shown <= now).map(|event| self.render(event)).collect()
    }

    fn render(&self, event: &Event) -> Value {
        let (high, low) = (mix(self.seed ^ event.number), mix(self.seed.wrapping_add(event.number)));
        let correlation = uuid::Uuid::from_u64_pair(high, low);
        json!({
            "id": format!("Directory_{correlation}_{:05X}_{}", high & 0xf_ffff, event.number),
            "category": event.category,
            "correlationId": correlation.to_string(),
            "result": "success",
            "resultReason": "",
            "activityDisplayName": event.activity,
            "activityDateTime": event.at.strftime("%Y-%m-%dT%H:%M:%S.%6f0Z").to_string(),
            "loggedByService": event.service,
            "operationType": event.operation,
            "initiatedBy": *event.actor,
            "targetResources": event.targets.iter().map(show_target).collect::<Value>(),
            "additionalDetails": [],
        })
    }
}

fn show_target(target: &Target) -> Value {
    // Values are texts that hold JSON, as the service writes them.
    let text = |value: &Value| if value.is_null() { Value::Null } else { json!(json!([value]).to_string()) };
    let changes = target
        .changes
        .iter()
        .map(|(name, before, after)| json!({"displayName": name, "oldValue": text(before), "newValue": text(after)}));
    json!({
        "id": target.id,
        "displayName": target.name,
        "type": target.kind,
        "userPrincipalName": target.principal_name,
        "groupType": if target.kind == "Group" { json!("azureAD") } else { Value::Null },
        "modifiedProperties": changes.collect::<Value>(),
    })
}

/// Category, service and operation; activity; targets.
type Draft = ((&'static str, &'static str, &'static str), String, Vec<Target>);

fn draft(entries: &[Entry], deed: Deed) -> Option<Draft> {
    let plain = |place: usize, operation: &'static str, verb: &str| {
        let entry = &entries[place];
        let (noun, category, service) = trade(entry.collection)?;
        Some(((category, service, operation), format!("{verb} {noun}"), vec![target(entry, Vec::new())]))
    };
    match deed {
        Deed::Created(place) => created(entries, place),
        Deed::Changed(place, changes) => changed(&entries[place], changes),
        Deed::Linked(from, relation, to) => linked(entries, (from, relation, to), true),
        Deed::Unlinked(from, relation, to) => linked(entries, (from, relation, to), false),
        Deed::LinkedMany(from, count) => {
            let count = vec![("MemberCount".to_owned(), Value::Null, json!(count))];
            let about = ("GroupManagement", "Core Directory", "Add");
            Some((about, "Bulk import group members - finished (bulk)".into(), vec![target(&entries[from], count)]))
        }
        Deed::Deleted(place) => plain(place, "Delete", "Delete"),
        Deed::Restored(place) => plain(place, "Update", "Restore"),
        Deed::Removed(place) if entries[place].standing == Standing::Live => removed(entries, place),
        Deed::Removed(place) => plain(place, "Delete", "Hard delete"),
    }
}

/// What a collection is called in the log: noun, category, service.
fn trade(collection: Collection) -> Option<(&'static str, &'static str, &'static str)> {
    use Collection as C;
    let core = "Core Directory";
    Some(match collection {
        C::User => ("user", "UserManagement", core),
        C::Group => ("group", "GroupManagement", core),
        C::Application => ("application", "ApplicationManagement", core),
        C::ServicePrincipal => ("service principal", "ApplicationManagement", core),
        C::Oauth2PermissionGrant => ("delegated permission grant", "ApplicationManagement", core),
        C::FederatedIdentityCredential => ("federated identity credential", "ApplicationManagement", core),
        C::Device => ("device", "Device", core),
        C::AdministrativeUnit => ("administrative unit", "AdministrativeUnit", core),
        C::RoleDefinition => ("role definition", "RoleManagement", core),
        C::Organization => ("company information", "DirectoryManagement", core),
        C::Domain | C::DomainFederation => ("domain federation settings", "DirectoryManagement", core),
        C::ConditionalAccessPolicy => ("conditional access policy", "Policy", "Conditional Access"),
        C::NamedLocation => ("named location", "Policy", "Conditional Access"),
        C::AuthenticationContextClassReference => ("authentication context", "Policy", "Conditional Access"),
        C::AuthenticationMethodsPolicy | C::AuthenticationMethodConfiguration => {
            ("authentication methods policy", "Policy", "Authentication Methods")
        }
        C::AuthenticationStrengthPolicy => ("authentication strength policy", "Policy", "Authentication Methods"),
        C::AuthorizationPolicy => ("authorization policy", "AuthorizationPolicy", core),
        C::CrossTenantAccessPolicy | C::CrossTenantAccessPolicyDefault => {
            ("cross-tenant access settings", "CrossTenantAccessSettings", core)
        }
        C::CrossTenantAccessPolicyPartner => ("partner cross-tenant access setting", "CrossTenantAccessSettings", core),
        C::SecurityDefaults => ("security defaults", "Policy", core),
        C::PermissionGrantPolicy => ("permission grant policy", "PermissionGrantPolicy", core),
        C::RoleManagementPolicy => ("role setting in PIM", "RoleManagement", "PIM"),
        _ => return None,
    })
}

fn target(entry: &Entry, changes: Vec<(String, Value, Value)>) -> Target {
    let of = |name: &str| entry.value.get(name).cloned().unwrap_or_default();
    let kind = match entry.collection {
        Collection::User => "User",
        Collection::Group => "Group",
        Collection::Application => "Application",
        Collection::ServicePrincipal => "ServicePrincipal",
        Collection::Device => "Device",
        Collection::RoleDefinition => "Role",
        Collection::ConditionalAccessPolicy | Collection::NamedLocation => "Policy",
        Collection::Organization | Collection::Domain => "Directory",
        _ => "Other",
    };
    Target { kind, id: entry.id.clone(), name: of("displayName"), principal_name: of("userPrincipalName"), changes }
}

/// Properties of a new object that its record tells.
const TELLING: [&str; 5] = ["displayName", "userPrincipalName", "appId", "accountEnabled", "userType"];

fn created(entries: &[Entry], place: usize) -> Option<Draft> {
    let entry = &entries[place];
    if let Some(grant) = granted(entries, entry, true) {
        return Some(grant);
    }
    let (noun, category, service) = trade(entry.collection)?;
    let told = TELLING
        .iter()
        .filter_map(|name| entry.value.get(*name).map(|value| ((*name).to_owned(), Value::Null, value.clone())));
    Some(((category, service, "Add"), format!("Add {noun}"), vec![target(entry, told.collect())]))
}

fn removed(entries: &[Entry], place: usize) -> Option<Draft> {
    let entry = &entries[place];
    if let Some(grant) = granted(entries, entry, false) {
        return Some(grant);
    }
    let (noun, category, service) = trade(entry.collection)?;
    let verb = if entry.collection == Collection::Oauth2PermissionGrant { "Remove" } else { "Delete" };
    Some(((category, service, "Delete"), format!("{verb} {noun}"), vec![target(entry, Vec::new())]))
}

/// Assignments of roles and permissions are told of the principal who gets them, with what they are in second place.
fn granted(entries: &[Entry], entry: &Entry, given: bool) -> Option<Draft> {
    let end = |name: &str| {
        let id = entry.value.get(name).and_then(Value::as_str)?;
        let places = entry.links.keys().filter(|(relation, _)| *relation == Relation::Needs);
        places.map(|(_, place)| &entries[*place]).find(|end| end.id == id)
    };
    let (operation, verb) = if given { ("Assign", "Add") } else { ("Unassign", "Remove") };
    let role = |name: &str| {
        let id = entry.value.get(name).cloned().unwrap_or_default();
        let change = |value| if given { (Value::Null, value) } else { (value, Value::Null) };
        let (before, after) = change(id);
        vec![("Role.TemplateId".to_owned(), before, after)]
    };
    let preposition = if given { "to" } else { "from" };
    Some(match entry.collection {
        Collection::RoleAssignment => {
            let activated = entry.value.contains_key("_activation");
            let (activity, service) = match (activated, given) {
                (true, true) => ("Add member to role completed (PIM activation)".to_owned(), "PIM"),
                (true, false) => ("Remove member from role (PIM activation expired)".to_owned(), "PIM"),
                (false, _) => (format!("{verb} member {preposition} role"), "Core Directory"),
            };
            let principal = target(end("principalId")?, role("roleDefinitionId"));
            (("RoleManagement", service, operation), activity, vec![principal])
        }
        Collection::RoleEligibilitySchedule => {
            let principal = target(end("principalId")?, role("roleDefinitionId"));
            let activity = format!("{verb} eligible member {preposition} role in PIM completed (permanent)");
            (("RoleManagement", "PIM", operation), activity, vec![principal])
        }
        Collection::ScopedRoleMembership => {
            let unit = end("administrativeUnitId")?;
            let places = entry.links.keys().map(|(_, place)| &entries[*place]);
            let holder = places.into_iter().find(|other| other.id != unit.id)?;
            let activity = format!("{verb} scoped member {preposition} role");
            let targets = vec![target(holder, role("roleId")), target(unit, Vec::new())];
            (("RoleManagement", "Core Directory", operation), activity, targets)
        }
        Collection::AppRoleAssignment => {
            let (principal, resource) = (end("principalId")?, end("resourceId")?);
            let (category, whom) = match principal.collection {
                Collection::User => ("UserManagement", "grant to user"),
                Collection::Group => ("GroupManagement", "to group"),
                _ => ("ApplicationManagement", "to service principal"),
            };
            let whom = if given { whom.to_owned() } else { whom.replace("to ", "from ") };
            let activity = format!("{verb} app role assignment {whom}");
            let id = entry.value.get("appRoleId").cloned().unwrap_or_default();
            let change = if given { (Value::Null, id) } else { (id, Value::Null) };
            let changes = vec![("AppRole.Id".to_owned(), change.0, change.1)];
            let targets = vec![target(resource, changes), target(principal, Vec::new())];
            ((category, "Core Directory", operation), activity, targets)
        }
        _ => return None,
    })
}

fn changed(entry: &Entry, changes: Vec<(String, Value, Value)>) -> Option<Draft> {
    if changes.iter().any(|(name, ..)| name == "_registration") {
        let about = ("UserManagement", "Authentication Methods", "Update");
        return Some((about, "User registered security info".into(), vec![target(entry, Vec::new())]));
    }
    let is_watched = |name: &str| !UNWATCHED.contains(&name) && !name.starts_with('_');
    let changes: Vec<_> = changes
        .into_iter()
        .map(|(name, before, after)| match name.as_str() {
            "_perUserMfaState" => ("StrongAuthenticationRequirement".to_owned(), before, after),
            _ => (name, before, after),
        })
        .filter(|(name, ..)| is_watched(name))
        .collect();
    if changes.is_empty() {
        return None;
    }
    let (noun, category, service) = trade(entry.collection)?;
    let secrets = changes.iter().any(|(name, ..)| matches!(name.as_str(), "passwordCredentials" | "keyCredentials"));
    let disabled = changes.iter().any(|(name, _, after)| name == "accountEnabled" && *after == false);
    let activity = match entry.collection {
        Collection::Application if secrets => "Update application – Certificates and secrets management ".to_owned(),
        Collection::User if disabled => "Disable account".to_owned(),
        _ => format!("Update {noun}"),
    };
    Some(((category, service, "Update"), activity, vec![target(entry, changes)]))
}

fn linked(entries: &[Entry], link: (usize, Relation, usize), made: bool) -> Option<Draft> {
    let (from, relation, to) = link;
    let (source, other) = (&entries[from], &entries[to]);
    let (noun, category, service) = trade(source.collection)?;
    let what = match relation {
        Relation::Members => "member",
        Relation::Owners => "owner",
        Relation::Sponsors => "sponsor",
        Relation::RegisteredOwners => "registered owner",
        Relation::RegisteredUsers => "registered user",
        Relation::Manager => {
            let id = json!(other.id);
            let (before, after) = if made { (Value::Null, id) } else { (id, Value::Null) };
            let changes = vec![("Manager".to_owned(), before, after)];
            return Some((("UserManagement", service, "Update"), "Update user".into(), vec![target(source, changes)]));
        }
        // The part itself was told when it was created.
        _ => return None,
    };
    let (operation, verb, preposition) = if made { ("Assign", "Add", "to") } else { ("Unassign", "Remove", "from") };
    let change = |value: Value| if made { (Value::Null, value) } else { (value, Value::Null) };
    let name = source.value.get("displayName").cloned().unwrap_or_default();
    let told = [("ObjectID", json!(source.id)), ("DisplayName", name)].map(|(part, value)| {
        let (before, after) = change(value);
        (format!("{}.{part}", capital(noun)), before, after)
    });
    let targets = vec![target(other, told.into()), target(source, Vec::new())];
    Some(((category, service, operation), format!("{verb} {what} {preposition} {noun}"), targets))
}

fn capital(noun: &str) -> String {
    noun.split(' ').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// Bits that depend on every bit of `number` (the finaliser of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// `initiatedBy` for an application.
pub(super) fn application(name: &str, principal: Option<&str>) -> Arc<Value> {
    Arc::new(json!({
        "user": null,
        "app": {"appId": null, "displayName": name, "servicePrincipalId": principal, "servicePrincipalName": null},
    }))
}

/// `initiatedBy` for a person.
pub(super) fn person(id: &str, principal_name: &str) -> Arc<Value> {
    Arc::new(json!({
        "app": null,
        "user": {
            "id": id, "displayName": null, "userPrincipalName": principal_name, "ipAddress": "192.0.2.17",
            "userType": "Member", "homeTenantId": null, "homeTenantName": null,
        },
    }))
}
