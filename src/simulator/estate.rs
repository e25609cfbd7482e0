//! What the tenant has on its first day beside people, groups and applications: devices, units, agents, PIM, settings.
//!
//! Must never know: requests, or what happens later.
//!
//! It has dice of its own, so that it can grow without changing what befalls the people.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Relation};
use super::founding::Cast;
use super::groups::{self, Sort};
use super::{agents, devices, pim, policies, settings};

/// Ids that the tenant's affairs come back to.
#[derive(Debug, Clone, Default)]
pub(super) struct Estate {
    /// Used for names; grows with every new device.
    pub devices: usize,
    /// Used for names; grows with every new agent.
    pub agents: usize,
    /// The group of all managed devices.
    pub fleet: String,
    /// App ids and object ids of the blueprints of agents.
    pub blueprints: Vec<(String, String)>,
    /// People who run the directory: id and user principal name.
    pub operators: Vec<(String, String)>,
    /// The role, by its activated id, that is given over units.
    pub unit_role: String,
}

/// The builder of the rest of the first day.
struct Settler<'a> {
    directory: &'a mut Directory,
    dice: &'a mut Dice,
    tenant: &'a str,
    start: Timestamp,
    estate: Estate,
    employees: Vec<String>,
}

/// Adds all of it to a founded tenant.
pub(super) fn settle(
    directory: &mut Directory,
    dice: &mut Dice,
    cast: &Cast,
    tenant: &str,
    start: Timestamp,
) -> Estate {
    let employed = |id: &String| directory.property(id, "employeeId").is_string();
    let employees = directory.ids(Collection::User).into_iter().filter(employed).collect();
    directory.aside = true;
    let mut settler = Settler { directory, dice, tenant, start, estate: Estate::default(), employees };
    settler.operators(cast);
    settler.settings(cast);
    settler.privileges();
    settler.devices();
    settler.units();
    settler.agents(cast);
    settler.habits();
    let estate = settler.estate;
    directory.aside = false;
    estate
}

impl Settler<'_> {
    fn create(&mut self, collection: Collection, value: Value) -> String {
        let id = value["id"].as_str().unwrap_or_default().to_owned();
        self.directory.create(collection, value);
        id
    }

    /// Some time in the two years before the start, in whole seconds.
    fn earlier(&mut self) -> Timestamp {
        self.start - SignedDuration::from_secs(self.dice.below(2 * 365 * 24 * 3600) as i64)
    }

    fn employee(&mut self) -> String {
        self.dice.pick(&self.employees).clone()
    }

    fn operators(&mut self, cast: &Cast) {
        let ids = self.directory.targets(&cast.operators, Relation::Members);
        let name =
            |id: &String| self.directory.property(id, "userPrincipalName").as_str().unwrap_or_default().to_owned();
        self.estate.operators = ids.iter().map(|id| (id.clone(), name(id))).collect();
    }

    fn settings(&mut self, cast: &Cast) {
        let at = self.start - SignedDuration::from_hours(24 * 300);
        for (collection, value) in settings::first_day(self.dice, self.tenant, &cast.operators, at) {
            self.create(collection, value);
        }
        let (domain, federation) = settings::federated_domain(self.dice);
        let domain = self.create(Collection::Domain, domain);
        let federation = self.create(Collection::DomainFederation, federation);
        self.directory.link(&domain, Relation::FederationConfiguration, &federation);
        for role in self.directory.ids(Collection::RoleDefinition) {
            let (policy, assignment) = pim::settings(self.dice, self.tenant, &role);
            self.create(Collection::RoleManagementPolicy, policy);
            self.create(Collection::RoleManagementPolicyAssignment, assignment);
        }
        // The bin of Conditional Access is never empty.
        let policy = policies::campaign(self.dice, "CA90 Campaign of last spring", &cast.operators, at);
        let location = policies::fair(self.dice, "Trade fair of last spring", at);
        let binned = [
            self.create(Collection::ConditionalAccessPolicy, policy),
            self.create(Collection::NamedLocation, location),
        ];
        self.directory.set_now(self.start - SignedDuration::from_hours(24 * 6));
        for id in binned {
            self.directory.soft_delete(&id);
        }
        self.directory.set_now(self.start);
    }

    /// Eligibility for roles: some for ever, some for half a year.
    fn privileges(&mut self) {
        let mut roles: Vec<&str> = vec![policies::GLOBAL_ADMINISTRATOR];
        roles.extend(policies::grantable_roles());
        for (number, role) in roles.iter().enumerate() {
            let principal = self.employee();
            let at = self.earlier();
            let end = (number % 2 == 1).then(|| self.start + SignedDuration::from_hours(24 * (20 + 9 * number as i64)));
            let eligibility = pim::eligibility(self.dice, role, &principal, at, end);
            self.create(Collection::RoleEligibilitySchedule, eligibility);
        }
    }

    fn devices(&mut self) {
        let at = self.earlier();
        let fleet = groups::group(self.dice, Sort::Dynamic, "Managed devices", "(device.isManaged -eq true)", at);
        self.estate.fleet = self.create(Collection::Group, fleet);
        for owner in self.employees.clone() {
            if !self.dice.chance(0.25) {
                continue;
            }
            let at = self.earlier();
            let device = devices::device(self.dice, self.estate.devices, at);
            self.estate.devices += 1;
            let id = self.create(Collection::Device, device);
            self.directory.link(&id, Relation::RegisteredOwners, &owner);
            self.directory.link(&id, Relation::RegisteredUsers, &owner);
            let fleet = self.estate.fleet.clone();
            self.directory.link(&fleet, Relation::Members, &id);
        }
    }

    /// A unit for each country, one with groups and devices, one whose members are hidden, one that follows a rule.
    fn units(&mut self) {
        self.estate.unit_role = self.dice.guid();
        let mut countries: Vec<String> = Vec::new();
        for id in &self.employees {
            let country = self.directory.property(id, "country").as_str().unwrap_or_default().to_owned();
            if !countries.contains(&country) {
                countries.push(country);
            }
        }
        for country in countries.iter().take(4) {
            let unit = devices::unit(self.dice, country, None);
            let unit = self.create(Collection::AdministrativeUnit, unit);
            for id in self.employees.clone() {
                if self.directory.property(&id, "country") == country.as_str() {
                    self.directory.link(&unit, Relation::Members, &id);
                }
            }
            let holder = self.employee();
            self.scoped_role(&unit, &holder);
        }
        let plants = devices::unit(self.dice, "Plants", None);
        let plants = self.create(Collection::AdministrativeUnit, plants);
        let (groups, fleet) = (self.directory.ids(Collection::Group), self.directory.ids(Collection::Device));
        for id in groups.iter().take(3).chain(fleet.iter().take(20)) {
            self.directory.link(&plants, Relation::Members, id);
        }
        let mut board = devices::unit(self.dice, "Board", None);
        board["visibility"] = json!("HiddenMembership");
        board["isMemberManagementRestricted"] = json!(true);
        let board = self.create(Collection::AdministrativeUnit, board);
        for id in self.employees.iter().take(3) {
            self.directory.link(&board, Relation::Members, id);
        }
        let guests = devices::unit(self.dice, "Guests", Some("(user.userType -eq \"Guest\")"));
        let guests = self.create(Collection::AdministrativeUnit, guests);
        for id in self.directory.ids(Collection::User) {
            if self.directory.property(&id, "userType") == "Guest" {
                self.directory.link(&guests, Relation::Members, &id);
            }
        }
    }

    fn scoped_role(&mut self, unit: &str, holder: &str) {
        let role = self.estate.unit_role.clone();
        give_scoped_role(self.directory, self.dice, unit, &role, holder);
    }

    fn agents(&mut self, cast: &Cast) {
        for name in ["Quotation Helper", "Calibration Planner"] {
            let at = self.earlier();
            let (blueprint, principal) = agents::blueprint(self.dice, name, self.tenant, at);
            let app_id = blueprint["appId"].as_str().unwrap_or_default().to_owned();
            let blueprint = self.create(Collection::Application, blueprint);
            let principal = self.create(Collection::ServicePrincipal, principal);
            let (sponsor, owner) = (self.employee(), self.employee());
            for id in [&blueprint, &principal] {
                self.directory.link(id, Relation::Sponsors, &sponsor);
                self.directory.link(id, Relation::Owners, &owner);
            }
            super::founding::trust_workload(self.directory, self.dice, &blueprint, name);
            self.estate.blueprints.push((app_id, blueprint));
        }
        for number in 0..4 {
            let (at, sponsor) = (self.earlier(), self.employee());
            let blueprint = self.estate.blueprints[number % 2].0.clone();
            let made = (number < 3, sponsor.as_str(), at);
            new_agent(self.directory, self.dice, &mut self.estate, (&blueprint, self.tenant), made);
        }
        if let Some(agent) = self.directory.ids(Collection::User).pop() {
            let group = cast.departments.last().cloned().unwrap_or_default();
            self.directory.link(&group, Relation::Members, &agent);
        }
    }

    /// What everybody has registered to sign in with, who answers for guests, and who still has a second factor of their
    /// own.
    fn habits(&mut self) {
        for id in self.directory.ids(Collection::User) {
            if self.dice.chance(0.85) {
                let methods = methods(self.dice);
                self.directory.patch(&id, json!({"_registration": methods}));
            }
            if self.dice.chance(0.04) {
                let state = *self.dice.pick(&["enabled", "enforced"]);
                self.directory.patch(&id, json!({"_perUserMfaState": state}));
            }
            if self.directory.property(&id, "userType") == "Guest" && self.dice.chance(0.7) {
                let sponsor = self.employee();
                self.directory.link(&id, Relation::Sponsors, &sponsor);
            }
        }
    }
}

/// Methods that somebody registers.
pub(super) fn methods(dice: &mut Dice) -> Value {
    let all = ["microsoftAuthenticatorPush", "softwareOneTimePasscode", "mobilePhone", "email", "passKeyDeviceBound"];
    json!(all[..1 + dice.below(all.len())])
}

/// Gives `holder` the role over a unit that units have here; the id of the membership.
pub(super) fn give_scoped_role(
    directory: &mut Directory,
    dice: &mut Dice,
    unit: &str,
    role: &str,
    holder: &str,
) -> bool {
    let name = directory.property(holder, "displayName").as_str().unwrap_or_default().to_owned();
    let membership = devices::scoped_role(dice, unit, role, (holder, &name));
    let id = membership["id"].as_str().unwrap_or_default().to_owned();
    directory.create(Collection::ScopedRoleMembership, membership)
        && directory.link(unit, Relation::ScopedRoleMembers, &id)
}

/// Makes an agent of a blueprint in a tenant; with a user of its own or not, its sponsor, and when. Its id.
pub(super) fn new_agent(
    directory: &mut Directory,
    dice: &mut Dice,
    estate: &mut Estate,
    of: (&str, &str),
    made: (bool, &str, Timestamp),
) -> String {
    let ((blueprint, tenant), (with_user, sponsor, at)) = (of, made);
    estate.agents += 1;
    let name = format!("Agent {:03}", estate.agents);
    let identity = agents::identity(dice, &name, blueprint, tenant, at);
    let id = identity["id"].as_str().unwrap_or_default().to_owned();
    directory.create(Collection::ServicePrincipal, identity);
    directory.link(&id, Relation::Sponsors, sponsor);
    if with_user {
        let user = agents::user(dice, &name, &id, at);
        let user_id = user["id"].as_str().unwrap_or_default().to_owned();
        directory.create(Collection::User, user);
        directory.link(&user_id, Relation::Sponsors, sponsor);
        directory.link(&user_id, Relation::Manager, sponsor);
    }
    id
}
