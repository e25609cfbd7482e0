//! The later life of the tenant: devices, units, agents, PIM and settings change beside the people.
//!
//! Must never know: requests, tokens, or that anybody is watching.
//!
//! It has dice of its own and leaves alone what the people's life deals with, so that their story stays the same
//! whatever is added here.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::audit;
use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Relation, seconds};
use super::estate::{self, Estate};
use super::{Happening, Kind, applications, devices, pim, policies, settings};

/// Affairs in an hour of ordinary business.
const AFFAIRS: f64 = 0.5;
/// How many devices in a hundred sign in anew in an hour.
const SIGN_INS: f64 = 0.4;

/// Something that will be done at a certain time.
#[derive(Debug, Clone)]
enum Errand {
    /// End an activated role.
    Deactivate(String),
    /// End eligibility for a role.
    EndEligibility(String),
    /// Delete a policy, a location or a unit.
    Delete(String),
    /// Restore something from the bin.
    Restore(String),
}

/// What happens beside the people, so far and planned.
#[derive(Debug)]
pub(super) struct Affairs {
    pub dice: Dice,
    pub estate: Estate,
    pub tenant: String,
    errands: BTreeMap<(Timestamp, u64), Errand>,
    planned: u64,
}

impl Affairs {
    /// The affairs of a tenant that has been settled; eligibility that ends is remembered.
    pub fn new(directory: &Directory, dice: Dice, estate: Estate, tenant: String) -> Self {
        let mut affairs = Self { dice, estate, tenant, errands: BTreeMap::new(), planned: 0 };
        for entry in directory.live(Collection::RoleEligibilitySchedule) {
            let end = entry.value.get("scheduleInfo").map(|schedule| &schedule["expiration"]["endDateTime"]);
            let end: Option<Timestamp> = end.and_then(Value::as_str).and_then(|end| end.parse().ok());
            if let Some(end) = end {
                affairs.plan(end, Errand::EndEligibility(entry.id.clone()));
            }
        }
        affairs
    }

    fn plan(&mut self, at: Timestamp, errand: Errand) {
        self.planned += 1;
        self.errands.insert((at, self.planned), errand);
    }

    /// Plays the hour that begins at `hour`, which is `busy` or not, and writes down what happened.
    pub fn hour(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>, hour: Timestamp, busy: f64) {
        let end = hour + SignedDuration::from_hours(1);
        while let Some(((at, _), errand)) = self.errands.pop_first() {
            if at >= end {
                self.plan(at, errand);
                break;
            }
            directory.set_now(at.max(hour));
            self.run(directory, journal, errand);
        }
        self.tick(directory, hour);
        let count = self.dice.count(AFFAIRS * busy);
        let mut minutes: Vec<i64> = (0..count).map(|_| self.dice.below(60) as i64).collect();
        minutes.sort_unstable();
        for minute in minutes {
            directory.set_now(hour + SignedDuration::from_mins(minute));
            self.affair(directory, journal);
        }
    }

    /// Clocks and counters of the service: synchronisation, sign-ins of devices, licences in use.
    fn tick(&mut self, directory: &mut Directory, hour: Timestamp) {
        let at = json!(seconds(hour));
        if let Some(organization) = directory.ids(Collection::Organization).pop() {
            directory.patch(&organization, json!({"onPremisesLastSyncDateTime": at}));
        }
        let devices = directory.places(Collection::Device).len();
        for _ in 0..self.dice.count(devices as f64 * SIGN_INS / 100.0) {
            if let Some(id) = self.find(directory, Collection::Device, |_| true) {
                directory.patch(&id, json!({"approximateLastSignInDateTime": at}));
            }
        }
        if hour.as_second().rem_euclid(24 * 3600) == 0 {
            let users = directory.live(Collection::User).count();
            for (place, sku) in directory.ids(Collection::SubscribedSku).into_iter().enumerate() {
                directory.patch(&sku, json!({"consumedUnits": users / (place + 1)}));
            }
        }
    }

    fn note(&self, directory: &Directory, journal: &mut Vec<Happening>, kind: Kind, ids: &[&str]) {
        journal.push(Happening::of(directory, kind, ids));
    }

    /// Somebody who runs the directory does what follows.
    fn operator(&mut self, directory: &mut Directory) {
        if !self.estate.operators.is_empty() {
            let (id, name) = self.dice.pick(&self.estate.operators).clone();
            directory.log.by(audit::person(&id, &name));
        }
    }

    fn find(&mut self, directory: &Directory, of: Collection, fit: impl Fn(&str) -> bool) -> Option<String> {
        let places = directory.places(of);
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

    fn affair(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        self.operator(directory);
        match self.dice.below(100) {
            0..22 => self.activate(directory, journal),
            22..26 => self.make_eligible(directory, journal),
            26..38 => self.new_device(directory, journal),
            38..52 => self.change_device(directory, journal),
            52..56 => self.retire_device(directory, journal),
            56..64 => self.unit(directory, journal),
            64..66 => self.scope(directory, journal),
            66..71 => self.agent(directory, journal),
            71..74 => self.sponsor(directory, journal),
            74..86 => self.registration(directory, journal),
            86..88 => self.second_factor(directory, journal),
            88..90 => self.campaign(directory, journal),
            _ => self.setting(directory, journal),
        }
    }

    fn run(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>, errand: Errand) {
        match errand {
            Errand::Deactivate(id) => {
                directory.log.by(audit::application("MS-PIM", None));
                let principal = directory.property(&id, "principalId").as_str().unwrap_or_default().to_owned();
                let activated = directory.property(&id, "_activation").is_object();
                if activated && directory.remove(&id) {
                    self.note(directory, journal, Kind::RoleActivationEnded, &[&principal]);
                }
            }
            Errand::EndEligibility(id) => {
                directory.log.by(audit::application("MS-PIM", None));
                let principal = directory.property(&id, "principalId").as_str().unwrap_or_default().to_owned();
                if directory.remove(&id) {
                    self.note(directory, journal, Kind::EligibilityEnded, &[&principal]);
                }
            }
            Errand::Delete(id) => {
                self.operator(directory);
                self.note(directory, journal, Kind::SettingRemoved, &[&id]);
                if directory.soft_delete(&id) && self.dice.chance(0.4) {
                    self.plan(directory.now() + SignedDuration::from_hours(20), Errand::Restore(id));
                }
            }
            Errand::Restore(id) => {
                self.operator(directory);
                if directory.restore(&id) {
                    self.note(directory, journal, Kind::Restored, &[&id]);
                }
            }
        }
    }

    /// Somebody eligible takes a role for some hours.
    fn activate(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(schedule) = self.find(directory, Collection::RoleEligibilitySchedule, |_| true) else { return };
        let text = |name: &str| directory.property(&schedule, name).as_str().unwrap_or_default().to_owned();
        let (principal, role) = (text("principalId"), text("roleDefinitionId"));
        let (at, hours) = (directory.now(), 1 + self.dice.below(8) as i64);
        let end = at + SignedDuration::from_hours(hours);
        let mut assignment = applications::role_assignment(&role, &principal);
        assignment["_activation"] =
            json!({"id": self.dice.guid(), "start": seconds(at), "end": seconds(end), "eligibility": schedule});
        let id = assignment["id"].as_str().unwrap_or_default().to_owned();
        let name = directory.property(&principal, "userPrincipalName").as_str().unwrap_or_default().to_owned();
        directory.log.by(audit::person(&principal, &name));
        // Who has the role anyway cannot activate it.
        if directory.create(Collection::RoleAssignment, assignment) {
            self.plan(end, Errand::Deactivate(id));
            self.note(directory, journal, Kind::RoleActivated, &[&principal, &role]);
        }
    }

    fn make_eligible(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(principal) = self.employee(directory) else { return };
        let roles: Vec<&str> = policies::grantable_roles().collect();
        let role = *self.dice.pick(&roles);
        let at = directory.now();
        let end = at + SignedDuration::from_hours(24 * (7 + self.dice.below(90) as i64));
        let schedule = pim::eligibility(&mut self.dice, role, &principal, at, Some(end));
        let id = schedule["id"].as_str().unwrap_or_default().to_owned();
        directory.create(Collection::RoleEligibilitySchedule, schedule);
        self.plan(end, Errand::EndEligibility(id));
        self.note(directory, journal, Kind::EligibilityGranted, &[&principal, role]);
    }

    fn new_device(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(owner) = self.employee(directory) else { return };
        let device = devices::device(&mut self.dice, self.estate.devices, directory.now());
        self.estate.devices += 1;
        let id = device["id"].as_str().unwrap_or_default().to_owned();
        directory.log.by(audit::application("Device Registration Service", None));
        directory.create(Collection::Device, device);
        directory.link(&id, Relation::RegisteredOwners, &owner);
        directory.link(&id, Relation::RegisteredUsers, &owner);
        directory.link(&self.estate.fleet, Relation::Members, &id);
        self.note(directory, journal, Kind::DeviceRegistered, &[&id, &owner]);
    }

    fn change_device(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(id) = self.find(directory, Collection::Device, |_| true) else { return };
        directory.log.by(audit::application("Microsoft Intune", None));
        let text = |name: &str| directory.property(&id, name).as_str().unwrap_or_default();
        let newer = devices::newer_version(text("operatingSystem"), text("operatingSystemVersion"));
        let change = match newer {
            Some(version) => json!({"operatingSystemVersion": version}),
            None => json!({"isCompliant": directory.property(&id, "isCompliant") != true}),
        };
        directory.patch(&id, change);
        self.note(directory, journal, Kind::DeviceChanged, &[&id]);
    }

    /// Devices have no bin here: one that is retired is gone.
    fn retire_device(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(id) = self.find(directory, Collection::Device, |_| true) else { return };
        self.note(directory, journal, Kind::DeviceRemoved, &[&id]);
        directory.remove(&id);
    }

    /// Somebody comes to a unit or leaves it; now and then a unit is made that is deleted again.
    fn unit(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        if self.dice.chance(0.1) {
            let unit = devices::unit(&mut self.dice, &format!("Site {}", self.planned), None);
            let id = unit["id"].as_str().unwrap_or_default().to_owned();
            directory.create(Collection::AdministrativeUnit, unit);
            let days = 2 + self.dice.below(20) as i64;
            self.plan(directory.now() + SignedDuration::from_hours(24 * days), Errand::Delete(id.clone()));
            return self.note(directory, journal, Kind::SettingChanged, &[&id]);
        }
        let by_hand = |id: &str| directory.property(id, "membershipType") != "Dynamic";
        let unit = self.find(directory, Collection::AdministrativeUnit, by_hand);
        let (Some(unit), Some(user)) = (unit, self.employee(directory)) else { return };
        if directory.link(&unit, Relation::Members, &user) {
            self.note(directory, journal, Kind::UnitJoined, &[&unit, &user]);
        } else if directory.unlink(&unit, Relation::Members, &user) {
            self.note(directory, journal, Kind::UnitLeft, &[&unit, &user]);
        }
    }

    fn scope(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(unit) = self.find(directory, Collection::AdministrativeUnit, |_| true) else { return };
        let held = directory.targets(&unit, Relation::ScopedRoleMembers);
        if held.len() > 1 {
            directory.remove(&held[0]);
        } else if let Some(holder) = self.employee(directory) {
            let role = self.estate.unit_role.clone();
            estate::give_scoped_role(directory, &mut self.dice, &unit, &role, &holder);
        }
        self.note(directory, journal, Kind::SettingChanged, &[&unit]);
    }

    /// An agent is made, renamed or sent to the bin with its user.
    fn agent(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let is_agent = |id: &str| directory.property(id, "@odata.type") == "#microsoft.graph.agentIdentity";
        let agents = directory.ids(Collection::ServicePrincipal).into_iter().filter(|id| is_agent(id));
        let agents: Vec<String> = agents.collect();
        if agents.len() > 3 && self.dice.chance(0.4) {
            let id = self.dice.pick(&agents).clone();
            let user =
                directory.live(Collection::User).find(|user| user.value.get("identityParentId") == Some(&json!(id)));
            let user = user.map(|user| user.id.clone());
            self.note(directory, journal, Kind::AgentDeleted, &[&id]);
            directory.soft_delete(&id);
            if let Some(user) = user {
                directory.soft_delete(&user);
            }
            return;
        }
        let Some(sponsor) = self.employee(directory) else { return };
        let blueprint = self.dice.pick(&self.estate.blueprints).0.clone();
        let made = (self.dice.chance(0.6), sponsor.as_str(), directory.now());
        let tenant = self.tenant.clone();
        let id = estate::new_agent(directory, &mut self.dice, &mut self.estate, (&blueprint, &tenant), made);
        self.note(directory, journal, Kind::AgentCreated, &[&id]);
    }

    fn sponsor(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let guest = self.find(directory, Collection::User, |id| directory.property(id, "userType") == "Guest");
        let (Some(guest), Some(sponsor)) = (guest, self.employee(directory)) else { return };
        for before in directory.targets(&guest, Relation::Sponsors) {
            directory.unlink(&guest, Relation::Sponsors, &before);
        }
        directory.link(&guest, Relation::Sponsors, &sponsor);
        self.note(directory, journal, Kind::SponsorChanged, &[&guest, &sponsor]);
    }

    fn registration(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(user) = self.employee(directory) else { return };
        let methods = estate::methods(&mut self.dice);
        let name = directory.property(&user, "userPrincipalName").as_str().unwrap_or_default().to_owned();
        directory.log.by(audit::person(&user, &name));
        if directory.patch(&user, json!({"_registration": methods})) {
            self.note(directory, journal, Kind::MethodRegistered, &[&user]);
        }
    }

    fn second_factor(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let Some(user) = self.employee(directory) else { return };
        let state = *self.dice.pick(&["disabled", "enabled", "enforced"]);
        if directory.patch(&user, json!({"_perUserMfaState": state})) {
            self.note(directory, journal, Kind::MethodRegistered, &[&user]);
        }
    }

    /// A policy and a location for a while; afterwards they lie in the bin of Conditional Access.
    fn campaign(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        let at = directory.now();
        let name = format!("CA9{} Campaign {}", self.planned % 10, self.planned);
        let group = self.estate.fleet.clone();
        let policy = policies::campaign(&mut self.dice, &name, &group, at);
        let location = policies::fair(&mut self.dice, &format!("Trade fair {}", self.planned), at);
        for (collection, value) in
            [(Collection::ConditionalAccessPolicy, policy), (Collection::NamedLocation, location)]
        {
            let id = value["id"].as_str().unwrap_or_default().to_owned();
            directory.create(collection, value);
            let hours = 10 + self.dice.below(200) as i64;
            self.plan(at + SignedDuration::from_hours(hours), Errand::Delete(id.clone()));
            self.note(directory, journal, Kind::SettingChanged, &[&id]);
        }
    }

    /// One of the tenant's settings is changed.
    fn setting(&mut self, directory: &mut Directory, journal: &mut Vec<Happening>) {
        use Collection as C;
        let kinds = [
            C::AuthenticationMethodConfiguration,
            C::AuthenticationStrengthPolicy,
            C::AuthorizationPolicy,
            C::AuthenticationContextClassReference,
            C::CrossTenantAccessPolicyPartner,
            C::CrossTenantAccessPolicyDefault,
            C::PermissionGrantPolicy,
            C::RoleManagementPolicy,
            C::DomainFederation,
        ];
        let kind = *self.dice.pick(&kinds);
        // What is built in cannot be changed.
        let own = |id: &str| directory.property(id, "policyType") != "builtIn";
        let Some(id) = self.find(directory, kind, own) else { return };
        let at = seconds(directory.now());
        let number = self.dice.below(1000);
        let was = |name: &str| directory.property(&id, name).clone();
        let change = match kind {
            C::AuthenticationMethodConfiguration => {
                let state = if was("state") == "enabled" { "disabled" } else { "enabled" };
                json!({"state": state})
            }
            C::AuthenticationStrengthPolicy => {
                json!({"description": format!("Keys of round {number}"), "modifiedDateTime": at})
            }
            C::AuthorizationPolicy => {
                let invites = ["everyone", "adminsAndGuestInviters", "none"][number % 3];
                json!({"allowInvitesFrom": invites})
            }
            C::AuthenticationContextClassReference => json!({"description": format!("Wording {number}")}),
            C::CrossTenantAccessPolicyPartner | C::CrossTenantAccessPolicyDefault => {
                let mut trust = was("inboundTrust");
                trust["isMfaAccepted"] = json!(trust["isMfaAccepted"] != true);
                json!({"inboundTrust": trust})
            }
            C::PermissionGrantPolicy => json!({"description": format!("Wording {number}")}),
            C::RoleManagementPolicy => {
                let mut rules = was("rules");
                rules[5]["maximumDuration"] = json!(format!("PT{}H", 1 + number % 10));
                json!({"rules": rules, "lastModifiedDateTime": at})
            }
            _ => json!({"nextSigningCertificate": settings::certificate(&mut self.dice)}),
        };
        if directory.patch(&id, change) {
            if kind == C::AuthenticationMethodConfiguration {
                directory.patch("authenticationMethodsPolicy", json!({"lastModifiedDateTime": at}));
            }
            self.note(directory, journal, Kind::SettingChanged, &[&id]);
        }
    }
}
