//! The life of the tenant, hour by hour: people come, move and go, and so does what they use.
//!
//! Must never know: requests, tokens, or that anybody is watching.

use std::collections::BTreeMap;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::affairs::Affairs;
use super::applications;
use super::audit;
use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Relation, seconds};
use super::founding::{self, Cast};
use super::groups::{self, Sort as GroupSort};
use super::people::{self, Sort};
use super::policies;
use super::recovery::Vault;
use super::reports::Report;
use super::words::PROJECTS;
use super::{Happening, Kind};

/// Events an hour for one object of the directory, before the hour of the day is weighed. With the weights of
/// [`Life::busy`] about one object in two thousand changes in an average hour: the order of magnitude that the archive is
/// sized for.
const EVENTS_PER_OBJECT: f64 = 0.000_5;

/// Something that will be done at a certain hour.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    /// Remove a person who left from all groups.
    Strip(String),
    /// Delete a person who left.
    Delete(String),
    /// Restore something from the bin.
    Restore(String),
    /// Put departments right after a bad HR run: ids with the right value.
    Correct(Vec<(String, Value)>),
}

/// The tenant's life so far and what is planned.
#[derive(Debug)]
pub(super) struct Life {
    pub dice: Dice,
    pub cast: Cast,
    pub tenant_id: String,
    pub start: Timestamp,
    /// The hour up to which the tenant has lived.
    pub lived: Timestamp,
    pub journal: Vec<Happening>,
    pub plans: BTreeMap<Timestamp, Vec<Plan>>,
    /// Whether the scripted episodes take place.
    pub episodes: bool,
    /// What happens beside the people.
    pub affairs: Affairs,
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// How often the registration report is made anew.
const REPORT_SECONDS: i64 = 6 * 3600;

impl Life {
    /// Plays whole hours up to `to`.
    pub fn until(&mut self, directory: &mut Directory, report: &mut Report, vault: &mut Vault, to: Timestamp) {
        while self.lived + HOUR <= to {
            directory.set_now(self.lived);
            vault.hour(directory, self.lived);
            let told = self.journal.len();
            self.hour(directory);
            directory.aside = true;
            let busy = self.busy();
            self.affairs.hour(directory, &mut self.journal, self.lived, busy);
            directory.aside = false;
            self.journal[told..].sort_by_key(|happening| happening.at);
            self.lived += HOUR;
            if self.lived.as_second().rem_euclid(REPORT_SECONDS) == 0 {
                directory.set_now(self.lived);
                report.make(directory);
            }
        }
        directory.set_now(to.max(self.lived));
    }

    fn hour(&mut self, directory: &mut Directory) {
        directory.set_now(self.lived);
        directory.log.by(audit::application("Microsoft Entra ID", None));
        for id in directory.overdue() {
            self.note(directory, Kind::Purged, &[&id]);
            directory.remove(&id);
        }
        let later = self.plans.split_off(&(self.lived + HOUR));
        for plan in std::mem::replace(&mut self.plans, later).into_values().flatten() {
            self.carry_out(directory, plan);
        }
        if self.episodes {
            self.episode(directory);
        }
        let objects = directory.ordinary(Collection::User).len() * 4 / 3;
        let events = self.dice.count(objects as f64 * EVENTS_PER_OBJECT * self.busy());
        let mut minutes: Vec<i64> = (0..events).map(|_| self.dice.below(60) as i64).collect();
        minutes.sort_unstable();
        for minute in minutes {
            directory.set_now(self.lived + SignedDuration::from_mins(minute));
            self.event(directory);
        }
    }

    /// How busy the hour is: 2 in office hours on working days, 0.4 otherwise.
    fn busy(&self) -> f64 {
        let local = self.lived.to_zoned(TimeZone::UTC);
        let weekend = matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
        if !weekend && (9..17).contains(&local.hour()) { 2.0 } else { 0.4 }
    }

    fn event(&mut self, directory: &mut Directory) {
        let choice = self.dice.below(100);
        self.actor(directory, choice);
        match choice {
            0..8 => self.hire(directory),
            8..15 => self.leave(directory),
            15..27 => self.transfer(directory),
            27..40 => self.details(directory),
            40..54 => self.join(directory),
            54..64 => self.quit(directory),
            64..68 => self.new_group(directory),
            68..71 => self.delete_group(directory),
            71..74 => self.role(directory),
            74..80 => self.rotate(directory),
            80..83 => self.new_application(directory),
            83 => self.delete_application(directory),
            84..89 => self.assign(directory),
            89..92 => self.unassign(directory),
            92..95 => self.consent(directory),
            95 => self.policy(directory),
            96..98 => self.location(directory),
            _ => self.owner(directory),
        }
    }

    /// The HR system does what concerns people, somebody who runs the directory the rest. Draws no chance.
    fn actor(&self, directory: &mut Directory, choice: usize) {
        let operators = &self.affairs.estate.operators;
        if choice < 40 || operators.is_empty() {
            return directory.log.by(audit::application("HR Provisioning", None));
        }
        let (id, name) = &operators[(audit::mix(directory.now().as_second() as u64) % operators.len() as u64) as usize];
        directory.log.by(audit::person(id, name));
    }

    pub fn note(&mut self, directory: &Directory, kind: Kind, ids: &[&str]) {
        self.journal.push(Happening::of(directory, kind, ids));
    }

    pub fn plan(&mut self, at: Timestamp, plan: Plan) {
        self.plans.entry(at).or_default().push(plan);
    }

    /// A random live object that is `fit`; none if fifty tries find none.
    pub fn find(&mut self, directory: &Directory, of: Collection, fit: impl Fn(&str) -> bool) -> Option<String> {
        let places = directory.ordinary(of);
        (0..50).filter(|_| !places.is_empty()).find_map(|_| {
            let place = *self.dice.pick(places);
            let id = &directory.entries[place].id;
            (directory.is_live(place) && fit(id)).then(|| id.clone())
        })
    }

    fn employee(&mut self, directory: &Directory) -> Option<String> {
        self.find(directory, Collection::User, |id| {
            directory.property(id, "accountEnabled") == true && directory.property(id, "employeeId").is_string()
        })
    }

    fn department_of(directory: &Directory, user: &str) -> Option<usize> {
        let name = directory.property(user, "department").as_str()?;
        (0..people::departments()).find(|number| people::post(*number, 0).0 == name)
    }

    fn hire(&mut self, directory: &mut Directory) {
        let at = directory.now();
        let guest = self.dice.chance(0.15);
        let sort = if guest { Sort::Guest } else { Sort::Member };
        let department = self.dice.below(people::departments());
        let user = people::user(&mut self.dice, sort, self.cast.people, department, 0, at);
        self.cast.people += 1;
        let id = user["id"].as_str().unwrap_or_default().to_owned();
        directory.create(Collection::User, user);
        if guest {
            return self.note(directory, Kind::GuestInvited, &[&id]);
        }
        if let Some(manager) = self.colleague(directory, department, &id) {
            directory.link(&id, Relation::Manager, &manager);
        }
        directory.link(&self.cast.everybody, Relation::Members, &id);
        directory.link(&self.cast.departments[department], Relation::Members, &id);
        self.note(directory, Kind::Hire, &[&id]);
    }

    /// Somebody else of a department who does not report to `user`, however indirectly.
    fn colleague(&mut self, directory: &Directory, department: usize, user: &str) -> Option<String> {
        let (name, _) = people::post(department, 0);
        self.find(directory, Collection::User, |id| {
            let fits = id != user && directory.property(id, "department") == name;
            fits && directory.property(id, "accountEnabled") == true && !reports_to(directory, id, user)
        })
    }

    fn leave(&mut self, directory: &mut Directory) {
        let Some(id) = self.employee(directory) else { return };
        let at = directory.now();
        let left = seconds(at);
        let change =
            json!({"accountEnabled": false, "employeeLeaveDateTime": left, "signInSessionsValidFromDateTime": left});
        directory.patch(&id, change);
        let days = |days: usize| SignedDuration::from_hours(24 * days as i64);
        let (strip, delete) = (1 + self.dice.below(5), 10 + self.dice.below(12));
        self.plan(at + days(strip), Plan::Strip(id.clone()));
        self.plan(at + days(delete), Plan::Delete(id.clone()));
        self.note(directory, Kind::Leave, &[&id]);
    }

    fn carry_out(&mut self, directory: &mut Directory, plan: Plan) {
        match plan {
            Plan::Strip(id) => {
                for group in directory.sources(&id, Relation::Members) {
                    directory.unlink(&group, Relation::Members, &id);
                }
                directory.patch(&id, json!({"assignedLicenses": [], "officeLocation": null, "mobilePhone": null}));
            }
            Plan::Delete(id) => {
                if directory.soft_delete(&id) {
                    self.note(directory, Kind::UserDeleted, &[&id]);
                    if self.dice.chance(0.08) {
                        self.plan(directory.now() + SignedDuration::from_hours(30), Plan::Restore(id));
                    }
                }
            }
            Plan::Restore(id) => {
                if directory.restore(&id) {
                    self.note(directory, Kind::Restored, &[&id]);
                }
            }
            Plan::Correct(departments) => self.correct(directory, departments),
        }
    }

    fn transfer(&mut self, directory: &mut Directory) {
        let Some(id) = self.employee(directory) else { return };
        let Some(from) = Self::department_of(directory, &id) else { return };
        let to = self.dice.below(people::departments());
        let rank = self.dice.below(3);
        let (department, title) = people::post(to, rank);
        directory.patch(&id, json!({"department": department, "jobTitle": title}));
        synchronised(directory, &id);
        if let Some(manager) = self.colleague(directory, to, &id) {
            directory.link(&id, Relation::Manager, &manager);
        }
        if from != to {
            directory.unlink(&self.cast.departments[from], Relation::Members, &id);
            directory.link(&self.cast.departments[to], Relation::Members, &id);
        }
        self.note(directory, Kind::Transfer, &[&id]);
    }

    /// A small change to one person: a desk, a telephone, a password.
    fn details(&mut self, directory: &mut Directory) {
        let Some(id) = self.employee(directory) else { return };
        let at = seconds(directory.now());
        let number = self.dice.below(900);
        let change = match self.dice.below(6) {
            0 => json!({"officeLocation": format!("H/{}", 100 + number)}),
            1 => json!({"mobilePhone": format!("+47 9{number:03} 55 0")}),
            2 => json!({"mobilePhone": null}),
            3 => json!({"lastPasswordChangeDateTime": at, "signInSessionsValidFromDateTime": at}),
            4 => {
                json!({"employeeOrgData": {"division": format!("Division {}", number % 9), "costCenter": format!("C{number}")}})
            }
            _ => json!({"streetAddress": format!("Ring Road {number}"), "postalCode": format!("{:04}", 1000 + number)}),
        };
        if directory.patch(&id, change) {
            synchronised(directory, &id);
            self.note(directory, Kind::UserChanged, &[&id]);
        }
    }

    /// A group that people join and leave by hand.
    fn team(&mut self, directory: &Directory) -> Option<String> {
        self.find(directory, Collection::Group, |id| {
            directory.property(id, "displayName").as_str().is_some_and(|name| name.starts_with("Project"))
        })
    }

    fn join(&mut self, directory: &mut Directory) {
        let (Some(user), Some(group)) = (self.employee(directory), self.team(directory)) else { return };
        if directory.link(&group, Relation::Members, &user) {
            self.note(directory, Kind::Joined, &[&group, &user]);
        }
    }

    fn quit(&mut self, directory: &mut Directory) {
        let Some(group) = self.team(directory) else { return };
        let members = directory.targets(&group, Relation::Members);
        if members.len() < 2 || group == self.cast.project {
            return;
        }
        let user = self.dice.pick(&members).clone();
        directory.unlink(&group, Relation::Members, &user);
        self.note(directory, Kind::Left, &[&group, &user]);
    }

    fn new_group(&mut self, directory: &mut Directory) {
        let Some(owner) = self.employee(directory) else { return };
        let name = format!("Project {} {}", self.dice.pick(PROJECTS), self.cast.things);
        self.cast.things += 1;
        let sort = if self.dice.chance(0.5) { GroupSort::Unified } else { GroupSort::Security };
        let group = groups::group(&mut self.dice, sort, &name, &format!("Team of {name}"), directory.now());
        let id = group["id"].as_str().unwrap_or_default().to_owned();
        directory.create(Collection::Group, group);
        directory.link(&id, Relation::Owners, &owner);
        for _ in 0..2 + self.dice.below(6) {
            if let Some(member) = self.employee(directory) {
                directory.link(&id, Relation::Members, &member);
            }
        }
        self.note(directory, Kind::GroupCreated, &[&id]);
    }

    /// Microsoft 365 groups go to the bin, security groups are gone at once.
    fn delete_group(&mut self, directory: &mut Directory) {
        let Some(id) = self.team(directory).filter(|id| *id != self.cast.project) else { return };
        self.note(directory, Kind::GroupDeleted, &[&id]);
        if directory.property(&id, "groupTypes")[0] != "Unified" {
            directory.remove(&id);
            return;
        }
        directory.soft_delete(&id);
        if self.dice.chance(0.3) {
            let hours = 20 + self.dice.below(60) as i64;
            self.plan(directory.now() + SignedDuration::from_hours(hours), Plan::Restore(id));
        }
    }

    fn role(&mut self, directory: &mut Directory) {
        let custom = |id: &str| directory.property(id, "principalId").as_str().map(str::to_owned);
        let held = self.find(directory, Collection::RoleAssignment, |id| {
            directory.property(id, "roleDefinitionId") != policies::GLOBAL_ADMINISTRATOR
                && custom(id).is_some_and(|principal| directory.property(&principal, "userType").is_string())
        });
        let roles: Vec<&str> = policies::grantable_roles().collect();
        if directory.ordinary(Collection::RoleAssignment).len() > 12 && self.dice.chance(0.45) {
            let Some(id) = held else { return };
            let Some(principal) = custom(&id) else { return };
            directory.remove(&id);
            return self.note(directory, Kind::RoleRemoved, &[&principal]);
        }
        let Some(user) = self.employee(directory) else { return };
        let role = *self.dice.pick(&roles);
        if founding::give_role(directory, role, &user).is_some() {
            self.note(directory, Kind::RoleGranted, &[&user, role]);
        }
    }

    fn rotate(&mut self, directory: &mut Directory) {
        let victim = self.cast.victim.0.clone();
        let Some(id) = self.find(directory, Collection::Application, |id| *id != victim) else { return };
        let fresh = applications::secret(&mut self.dice, "rotated", directory.now());
        let mut secrets = directory.property(&id, "passwordCredentials").as_array().cloned().unwrap_or_default();
        if secrets.len() >= 2 {
            secrets.remove(0);
        }
        secrets.push(fresh);
        directory.patch(&id, json!({"passwordCredentials": secrets}));
        self.note(directory, Kind::SecretRotated, &[&id]);
    }

    fn new_application(&mut self, directory: &mut Directory) {
        let Some(owner) = self.employee(directory) else { return };
        let name = founding::system_name(self.cast.things);
        self.cast.things += 1;
        let at = directory.now();
        let (application, principal) = founding::register(directory, &mut self.dice, &self.tenant_id, &name, at);
        directory.link(&application, Relation::Owners, &owner);
        if self.dice.chance(0.3) {
            founding::trust_workload(directory, &mut self.dice, &application, &name);
        }
        self.note(directory, Kind::ApplicationCreated, &[&application, &principal]);
    }

    /// With the registration goes its service principal.
    fn delete_application(&mut self, directory: &mut Directory) {
        let victim = self.cast.victim.0.clone();
        let Some(id) = self.find(directory, Collection::Application, |id| *id != victim) else { return };
        let app_id = directory.property(&id, "appId").clone();
        let principal = directory.live(Collection::ServicePrincipal).find(|sp| sp.value.get("appId") == Some(&app_id));
        let principal = principal.map(|entry| entry.id.clone());
        self.note(directory, Kind::ApplicationDeleted, &[&id]);
        directory.soft_delete(&id);
        if let Some(principal) = principal {
            directory.soft_delete(&principal);
        }
    }

    /// A service principal of the company's own.
    fn internal(&mut self, directory: &Directory) -> Option<String> {
        let tenant = self.tenant_id.clone();
        self.find(directory, Collection::ServicePrincipal, |id| {
            directory.property(id, "appOwnerOrganizationId") == &tenant
        })
    }

    fn assign(&mut self, directory: &mut Directory) {
        let (Some(user), Some(resource)) = (self.employee(directory), self.internal(directory)) else { return };
        let at = directory.now();
        if founding::assign(directory, &mut self.dice, &user, &resource, at).is_some() {
            self.note(directory, Kind::Assigned, &[&resource, &user]);
        }
    }

    fn unassign(&mut self, directory: &mut Directory) {
        // What the attacker takes, the attacker keeps.
        let victim = self.cast.victim.1.clone();
        let others = |id: &str| directory.property(id, "principalId") != &victim;
        let Some(id) = self.find(directory, Collection::AppRoleAssignment, others) else { return };
        let end = |name: &str| directory.property(&id, name).as_str().unwrap_or_default().to_owned();
        let (resource, principal) = (end("resourceId"), end("principalId"));
        directory.remove(&id);
        self.note(directory, Kind::Unassigned, &[&resource, &principal]);
    }

    fn consent(&mut self, directory: &mut Directory) {
        if self.dice.chance(0.4) {
            let Some(id) = self.find(directory, Collection::Oauth2PermissionGrant, |_| true) else { return };
            let client = directory.property(&id, "clientId").as_str().unwrap_or_default().to_owned();
            directory.remove(&id);
            return self.note(directory, Kind::ConsentRemoved, &[&client]);
        }
        let (Some(user), Some(client)) = (self.employee(directory), self.internal(directory)) else { return };
        let graph = self.cast.graph.clone();
        if founding::consent(directory, &client, &graph, Some(&user), "User.Read").is_some() {
            self.note(directory, Kind::ConsentGiven, &[&client, &user]);
        }
    }

    fn policy(&mut self, directory: &mut Directory) {
        let own = self.cast.second_factor.clone();
        let Some(id) = self.find(directory, Collection::ConditionalAccessPolicy, |id| id != own) else { return };
        let pilot = directory.property(&id, "state") == "enabledForReportingButNotEnforced";
        let state = if pilot { "enabled" } else { "enabledForReportingButNotEnforced" };
        let at = seconds(directory.now());
        directory.patch(&id, json!({"state": state, "modifiedDateTime": at}));
        self.note(directory, Kind::PolicyChanged, &[&id]);
    }

    fn location(&mut self, directory: &mut Directory) {
        let Some(id) =
            self.find(directory, Collection::NamedLocation, |id| directory.property(id, "ipRanges").is_array())
        else {
            return;
        };
        let mut ranges = directory.property(&id, "ipRanges").as_array().cloned().unwrap_or_default();
        if ranges.len() > 3 {
            ranges.remove(0);
        }
        ranges.push(policies::range(&format!("203.0.113.{}/30", 16 + 4 * self.dice.below(60))));
        let at = seconds(directory.now());
        directory.patch(&id, json!({"ipRanges": ranges, "modifiedDateTime": at}));
        self.note(directory, Kind::LocationChanged, &[&id]);
    }

    fn owner(&mut self, directory: &mut Directory) {
        let (Some(user), Some(group)) = (self.employee(directory), self.team(directory)) else { return };
        let owners = directory.targets(&group, Relation::Owners);
        directory.link(&group, Relation::Owners, &user);
        if owners.len() > 1 {
            directory.unlink(&group, Relation::Owners, &owners[0]);
        }
        self.note(directory, Kind::OwnerChanged, &[&group, &user]);
    }
}

/// A user who is kept on premises carries the time of each synchronisation that changed them.
fn synchronised(directory: &mut Directory, user: &str) {
    if directory.property(user, "onPremisesSyncEnabled") == true {
        let at = seconds(directory.now());
        directory.patch(user, json!({"onPremisesLastSyncDateTime": at}));
    }
}

/// Whether `user` reports to `boss`, directly or through others.
fn reports_to(directory: &Directory, user: &str, boss: &str) -> bool {
    let mut at = user.to_owned();
    for _ in 0..100 {
        match directory.targets(&at, Relation::Manager).pop() {
            Some(manager) if manager == boss => return true,
            Some(manager) => at = manager,
            None => return false,
        }
    }
    false
}
