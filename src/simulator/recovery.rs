//! Microsoft's own backup and recovery: daily snapshots, and jobs that write behind the feed's back.
//!
//! Must never know: who starts a job, or that an archive watches.
//!
//! Follows the pages of `microsoft.graph.entraRecoveryServices` and "Supported objects and limitations": snapshots at
//! 22:00, seven kept, ids the base64 of Unix seconds, the read of a single one 404 (both seen on a live tenant in July
//! 2026); jobs that write neither delta records nor notifications. Times of a job are invented and short.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::audit;
use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Relation, Standing, seconds};
use super::exchange::{Ask, Refusal, Reply};
use super::reads::{self, Desk, Paging};

const NAMESPACE: &str = "microsoft.graph.entraRecoveryServices";
/// Snapshots that are kept.
const KEPT: usize = 7;
/// Days that a job can be read after it is done.
const JOB_DAYS: i64 = 7;
/// Minutes after its start at which a job has loaded the snapshot, compared, written, and is done.
const LOADED: i64 = 20;
const COMPARED: i64 = 40;
const WRITTEN: i64 = 55;
const DONE: i64 = 70;

/// What a snapshot knows of one object.
#[derive(Debug)]
struct Kept {
    live: bool,
    value: Arc<Map<String, Value>>,
    /// Members of a group.
    members: Vec<usize>,
}

#[derive(Debug)]
struct Snapshot {
    at: Timestamp,
    objects: Arc<HashMap<usize, Kept>>,
}

impl Snapshot {
    fn id(&self) -> String {
        STANDARD.encode(self.at.as_second().to_string())
    }

    fn show(&self) -> Value {
        json!({"id": self.id(), "createdDateTime": seconds(self.at)})
    }
}

#[derive(Debug)]
struct Job {
    id: String,
    preview: bool,
    snapshot: String,
    target: Timestamp,
    start: Timestamp,
    objects: Vec<String>,
    filter: Value,
    source: Arc<HashMap<usize, Kept>>,
    settled: bool,
    /// Objects, links and failures.
    counts: (usize, usize, usize),
}

/// Snapshots and jobs.
#[derive(Debug)]
pub(super) struct Vault {
    dice: Dice,
    snapshots: VecDeque<Snapshot>,
    jobs: Vec<Job>,
}

/// Objects that the recovery knows: its name for them, and the properties it writes; none means all.
fn covered(collection: Collection) -> Option<(&'static str, Option<&'static [&'static str]>)> {
    Some(match collection {
        Collection::User => ("user", Some(USER)),
        Collection::Group => ("group", Some(GROUP)),
        Collection::Application => ("application", Some(APPLICATION)),
        Collection::ServicePrincipal => ("servicePrincipal", Some(SERVICE_PRINCIPAL)),
        Collection::ConditionalAccessPolicy => ("conditionalAccessPolicy", None),
        Collection::NamedLocation => ("namedLocationPolicy", None),
        Collection::AuthenticationMethodConfiguration => ("authenticationMethodPolicy", None),
        Collection::AuthorizationPolicy => ("authorizationPolicy", Some(&["blockMsolPowerShell", "guestUserRoleId"])),
        _ => return None,
    })
}

const USER: &[&str] = &[
    "accountEnabled",
    "ageGroup",
    "businessPhones",
    "city",
    "companyName",
    "consentProvidedForMinor",
    "country",
    "department",
    "displayName",
    "employeeHireDate",
    "employeeId",
    "employeeLeaveDateTime",
    "employeeOrgData",
    "employeeType",
    "faxNumber",
    "givenName",
    "jobTitle",
    "mail",
    "mailNickname",
    "mobilePhone",
    "officeLocation",
    "otherMails",
    "passwordPolicies",
    "_perUserMfaState",
    "postalCode",
    "preferredDataLocation",
    "preferredLanguage",
    "state",
    "streetAddress",
    "surname",
    "usageLocation",
    "userPrincipalName",
    "userType",
];

const GROUP: &[&str] = &[
    "classification",
    "description",
    "displayName",
    "groupTypes",
    "mail",
    "mailEnabled",
    "mailNickname",
    "preferredDataLocation",
    "preferredLanguage",
    "securityEnabled",
    "theme",
    "visibility",
];

const APPLICATION: &[&str] = &[
    "addIns",
    "createdDateTime",
    "description",
    "displayName",
    "groupMembershipClaims",
    "identifierUris",
    "info",
    "isDeviceOnlyAuthSupported",
    "isDisabled",
    "isFallbackPublicClient",
    "nativeAuthenticationApisEnabled",
    "notes",
    "optionalClaims",
    "publisherDomain",
    "requiredResourceAccess",
    "serviceManagementReference",
    "servicePrincipalLockConfiguration",
    "signInAudience",
    "tags",
];

const SERVICE_PRINCIPAL: &[&str] = &[
    "accountEnabled",
    "alternativeNames",
    "appRoleAssignmentRequired",
    "description",
    "loginUrl",
    "notes",
    "notificationEmailAddresses",
    "preferredSingleSignOnMode",
    "preferredTokenSigningKeyThumbprint",
    "samlSingleSignOnSettings",
    "servicePrincipalNames",
    "servicePrincipalType",
    "tags",
];

impl Vault {
    /// The snapshots of the week before the first day, in which nothing happened.
    pub fn founded(directory: &Directory, seed: u64) -> Self {
        let objects = Arc::new(state(directory));
        let midnight = directory.now().as_second().div_euclid(24 * 3600) * 24 * 3600;
        let evening = |ago: i64| Timestamp::from_second(midnight - ago * 24 * 3600 + 22 * 3600);
        let times = (1..=KEPT as i64).rev().filter_map(|ago| evening(ago).ok());
        let snapshots = times.map(|at| Snapshot { at, objects: objects.clone() }).collect();
        Self { dice: Dice::new(seed, 4), snapshots, jobs: Vec::new() }
    }

    /// Takes the snapshot of the day when its hour has come, and lets jobs do what is due.
    pub fn hour(&mut self, directory: &mut Directory, now: Timestamp) {
        self.settle(directory, now);
        if now.as_second().rem_euclid(24 * 3600) == 22 * 3600 {
            self.snapshots.push_back(Snapshot { at: now, objects: Arc::new(state(directory)) });
            while self.snapshots.len() > KEPT {
                self.snapshots.pop_front();
            }
            directory.log.by(audit::application("Microsoft Entra Backup and Recovery", None));
            directory.log.write_recovery(now, "Create snapshot", &STANDARD.encode(now.as_second().to_string()));
        }
    }

    pub fn snapshot_ids(&self) -> Vec<String> {
        self.snapshots.iter().rev().map(Snapshot::id).collect()
    }

    pub fn snapshots_by_id(&self) -> BTreeMap<String, Value> {
        self.snapshots.iter().map(|snapshot| (snapshot.id(), snapshot.show())).collect()
    }

    pub fn jobs_by_id(&self, now: Timestamp) -> BTreeMap<String, Value> {
        self.jobs.iter().filter(|job| job.is_kept(now)).map(|job| (job.id.clone(), job.show(now, true))).collect()
    }

    /// Starts a job at the directory's time; none if the snapshot is unknown or another job runs.
    pub fn start(
        &mut self,
        directory: &mut Directory,
        snapshot: &str,
        objects: &[String],
        preview: bool,
    ) -> Option<String> {
        let now = directory.now();
        let from = self.snapshots.iter().find(|kept| kept.id() == snapshot)?;
        if self.jobs.iter().any(|job| !job.is_done(now)) {
            return None;
        }
        let job = Job {
            id: self.dice.guid(),
            preview,
            snapshot: snapshot.to_owned(),
            target: from.at,
            start: now,
            objects: objects.to_vec(),
            filter: filter(directory, objects),
            source: from.objects.clone(),
            settled: false,
            counts: (0, 0, 0),
        };
        let id = job.id.clone();
        directory.log.by(audit::application("Microsoft Entra Backup and Recovery", None));
        let activity = if preview { "Create recovery preview job" } else { "Create recovery job" };
        directory.log.write_recovery(now, activity, &id);
        self.jobs.push(job);
        Some(id)
    }

    /// Lets jobs write what they would have written by now.
    pub fn settle(&mut self, directory: &mut Directory, now: Timestamp) {
        for job in self.jobs.iter_mut().filter(|job| !job.settled && now >= job.at(WRITTEN)) {
            job.settled = true;
            directory.log.by(audit::application("Microsoft Entra Backup and Recovery", None));
            let before = directory.now();
            directory.set_now(job.at(WRITTEN));
            for id in job.objects.clone() {
                let (objects, links, failures) = if job.preview { (1, 0, 0) } else { recover(directory, job, &id) };
                job.counts = (job.counts.0 + objects, job.counts.1 + links, job.counts.2 + failures);
            }
            directory.log.write_recovery(job.at(DONE), "Recovery job completed", &job.id);
            directory.set_now(before);
        }
    }
}

/// Everything that the recovery covers.
fn state(directory: &Directory) -> HashMap<usize, Kept> {
    let entries = directory.entries.iter().enumerate().filter(|(_, entry)| covered(entry.collection).is_some());
    let kept = entries.filter_map(|(place, entry)| {
        let live = match entry.standing {
            Standing::Live => true,
            Standing::Binned(_) => false,
            Standing::Hidden | Standing::Gone => return None,
        };
        let members = match entry.collection {
            Collection::Group => directory.linked(place, Relation::Members).collect(),
            _ => Vec::new(),
        };
        Some((place, Kept { live, value: entry.value.clone(), members }))
    });
    kept.collect()
}

/// Brings one object to what it was: objects and links written, and failures.
fn recover(directory: &mut Directory, job: &Job, id: &str) -> (usize, usize, usize) {
    let Some(place) = directory.place_of(id) else { return (0, 0, 0) };
    let entry = &directory.entries[place];
    let Some((_, properties)) = covered(entry.collection) else { return (0, 0, 1) };
    let kept = job.source.get(&place);
    let was_live = kept.is_some_and(|kept| kept.live);
    match (entry.standing, was_live) {
        // What was kept on premises when it changed is listed and never written.
        (Standing::Live, true) if entry.value.get("onPremisesSyncEnabled") == Some(&json!(true)) => (0, 0, 1),
        (Standing::Live, true) => {
            let Some(kept) = kept else { return (0, 0, 0) };
            let names: Vec<String> = match properties {
                Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
                None => kept.value.keys().chain(entry.value.keys()).cloned().collect(),
            };
            let back = names.into_iter().map(|name| {
                let value = kept.value.get(&name).cloned().unwrap_or_default();
                (name, value)
            });
            let back: Map<String, Value> = back.collect();
            let dynamic = kept.value.contains_key("membershipRule");
            let is_group = entry.collection == Collection::Group && !dynamic;
            let changed = directory.silently(|directory| directory.patch(id, Value::Object(back)));
            let links = if is_group { recover_members(directory, place, &kept.members) } else { 0 };
            (usize::from(changed), links, 0)
        }
        (Standing::Live, false) => (usize::from(directory.silently(|directory| directory.soft_delete(id))), 0, 0),
        (Standing::Binned(_), true) => (usize::from(directory.silently(|directory| directory.restore(id))), 0, 0),
        _ => (0, 0, 0),
    }
}

fn recover_members(directory: &mut Directory, group: usize, before: &[usize]) -> usize {
    let now: Vec<usize> = directory.linked(group, Relation::Members).collect();
    let name = |directory: &Directory, place: usize| directory.entries[place].id.clone();
    let id = name(directory, group);
    let mut changed = 0;
    directory.silently(|directory| {
        for place in before.iter().filter(|place| !now.contains(place)) {
            let member = name(directory, *place);
            changed += usize::from(directory.link(&id, Relation::Members, &member));
        }
        for place in now.iter().filter(|place| !before.contains(place)) {
            let member = name(directory, *place);
            changed += usize::from(directory.unlink(&id, Relation::Members, &member));
        }
    });
    changed
}

/// `filteringCriteria` for objects by their ids; null for a job over everything.
fn filter(directory: &Directory, objects: &[String]) -> Value {
    let mut by_kind: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for id in objects {
        let entry = directory.place_of(id).map(|place| &directory.entries[place]);
        if let Some((kind, _)) = entry.and_then(|entry| covered(entry.collection)) {
            by_kind.entry(kind).or_default().push(id);
        }
    }
    if by_kind.is_empty() {
        return Value::Null;
    }
    let values = by_kind.into_iter().map(|(kind, ids)| json!({"entityType": kind, "entityIds": ids}));
    json!({
        "@odata.type": format!("#{NAMESPACE}.recoveryJobEntityNameAndIdsFilter"),
        "filterValues": values.collect::<Value>(),
    })
}

impl Job {
    fn at(&self, minutes: i64) -> Timestamp {
        self.start + SignedDuration::from_mins(minutes)
    }

    fn is_done(&self, now: Timestamp) -> bool {
        now >= self.at(if self.preview { COMPARED } else { DONE })
    }

    fn is_kept(&self, now: Timestamp) -> bool {
        now < self.at(DONE) + SignedDuration::from_hours(24 * JOB_DAYS)
    }

    fn kind(&self) -> &'static str {
        if self.preview { "recoveryPreviewJob" } else { "recoveryJob" }
    }

    /// The job as it stands at `now`. Two of its states are shown only to those who ask for unknown members.
    fn show(&self, now: Timestamp, unknown_members: bool) -> Value {
        let later = |name: &'static str| if unknown_members { name } else { "unknownFutureValue" };
        let done = self.is_done(now);
        let status = match now {
            _ if done => "successful",
            _ if now < self.at(1) => "initialized",
            _ if now < self.at(LOADED) => later("loadingData"),
            _ if now < self.at(COMPARED) => later("calculating"),
            _ => "running",
        };
        let calculated = done || now >= self.at(COMPARED);
        let (objects, links, failures) = self.counts;
        let completion = done.then(|| seconds(self.at(if self.preview { COMPARED } else { DONE })));
        let mut job = json!({
            "@odata.type": format!("#{NAMESPACE}.{}", self.kind()),
            "id": self.id,
            "status": status,
            "targetStateDateTime": seconds(self.target),
            "jobStartDateTime": seconds(self.start),
            "jobCompletionDateTime": completion,
            "filteringCriteria": self.filter,
            "totalChangedObjectsCalculated": if calculated { json!(self.objects.len()) } else { Value::Null },
            "totalChangedLinksCalculated": if calculated { json!(links) } else { Value::Null },
        });
        if !self.preview {
            job["totalObjectsModified"] = if done { json!(objects) } else { Value::Null };
            job["totalLinksModified"] = if done { json!(links) } else { Value::Null };
            job["totalFailedChanges"] = if done { json!(failures) } else { Value::Null };
        }
        job
    }
}

/// Answers what lies below `/directory/recovery`.
pub(super) fn read(vault: &Vault, desk: &mut Desk<'_>, ask: &Ask, rest: &[&str]) -> Result<Reply, Refusal> {
    const PAGING: Paging =
        Paging { options: &["$select", "$top", "$filter", "$orderby", "$skiptoken"], ..Paging::USUAL };
    let set = format!("directory/recovery/{}", rest.join("/"));
    let jobs = |fit: &dyn Fn(&Job) -> bool| -> Vec<Value> {
        let kept = vault.jobs.iter().filter(|job| job.is_kept(ask.now) && fit(job));
        kept.map(|job| job.show(ask.now, ask.unknown_members)).collect()
    };
    let kind_of = |part: &str| match part {
        "recoveryJobs" => Some("recoveryJob"),
        "recoveryPreviewJobs" => Some("recoveryPreviewJob"),
        _ => None,
    };
    let items: Vec<Value> = match rest {
        ["snapshots"] => vault.snapshots.iter().rev().map(Snapshot::show).collect(),
        ["snapshots", id] => return Err(Refusal::missing(id)),
        ["jobs"] => jobs(&|_| true),
        ["jobs", cast] if cast.starts_with(NAMESPACE) => jobs(&|job| cast.rsplit('.').next() == Some(job.kind())),
        ["snapshots", of, part] if kind_of(part).is_some() => {
            jobs(&|job| job.snapshot == *of && kind_of(part) == Some(job.kind()))
        }
        ["jobs", id] | ["snapshots", _, "recoveryJobs" | "recoveryPreviewJobs", id] => {
            let found = jobs(&|job| job.id == *id).pop().ok_or_else(|| Refusal::missing(id))?;
            return reads::document(ask, &format!("{set}/$entity"), found);
        }
        [.., last] => return Err(Refusal::unknown(last)),
        [] => return Err(Refusal::unknown("recovery")),
    };
    let keys: Vec<usize> = (0..items.len()).collect();
    reads::rows(desk, ask, &set, &keys, &PAGING, |key| items[key].clone())
}
