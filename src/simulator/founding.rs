//! The tenant on its first day: everybody, everything, and who belongs to what.
//!
//! Must never know: requests, or what happens later.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::applications::{self, FIRST_PARTY, GRAPH_ROLES};
use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Entry, Relation};
use super::groups::{self, Sort as GroupSort};
use super::people::{self, Sort};
use super::policies;
use super::words::{PROJECTS, SYSTEM_KINDS, SYSTEMS};

/// Ids that the life of the tenant comes back to.
#[derive(Debug, Clone, Default)]
pub(super) struct Cast {
    /// Used for names; grows with every new person.
    pub people: usize,
    /// Used for names; grows with every new group or application.
    pub things: usize,
    /// Group of each department.
    pub departments: Vec<String>,
    /// The group everybody is in.
    pub everybody: String,
    /// The Microsoft 365 group of a project that is deleted one day.
    pub project: String,
    /// The group left out of policies.
    pub break_glass: String,
    /// The group with a directory role.
    pub operators: String,
    /// The policy that asks everybody for a second factor.
    pub second_factor: String,
    /// The service principal of Microsoft Graph.
    pub graph: String,
    /// Application and service principal that somebody breaks into one day.
    pub victim: (String, String),
}

/// The builder of the first day.
struct Founder<'a> {
    directory: &'a mut Directory,
    dice: &'a mut Dice,
    tenant_id: &'a str,
    start: Timestamp,
    cast: Cast,
    /// Employees by department, heads first.
    staff: Vec<Vec<String>>,
    guests: Vec<String>,
}

/// Fills `directory` with a company of `users` people.
pub(super) fn found(
    directory: &mut Directory,
    dice: &mut Dice,
    tenant_id: &str,
    users: usize,
    start: Timestamp,
) -> Cast {
    let staff = vec![Vec::new(); people::departments()];
    let mut founder = Founder { directory, dice, tenant_id, start, cast: Cast::default(), staff, guests: Vec::new() };
    founder.people(users.max(40));
    founder.managers();
    founder.groups(users.max(40));
    founder.applications(users.max(40));
    founder.policies();
    founder.leftovers();
    founder.cast
}

impl Founder<'_> {
    /// Some time in the five years before the start, in whole seconds.
    fn earlier(&mut self) -> Timestamp {
        self.start - SignedDuration::from_secs(self.dice.below(5 * 365 * 24 * 3600) as i64)
    }

    fn create(&mut self, collection: Collection, value: Value) -> String {
        let id = value["id"].as_str().unwrap_or_default().to_owned();
        self.directory.create(collection, value);
        id
    }

    fn people(&mut self, users: usize) {
        for number in 0..users {
            let created = self.earlier();
            let department = number % people::departments();
            let sort = match number {
                _ if number + 3 >= users => Sort::BreakGlass,
                _ if self.dice.chance(0.05) => Sort::Guest,
                _ => Sort::Member,
            };
            let rank =
                if self.staff[department].is_empty() { 3 } else { (self.dice.fraction().powi(2) * 3.0) as usize };
            let user = people::user(self.dice, sort, number, department, rank, created);
            let id = self.create(Collection::User, user);
            match sort {
                Sort::Member => self.staff[department].push(id),
                Sort::Guest => self.guests.push(id),
                Sort::BreakGlass => {}
            }
        }
        self.cast.people = users;
    }

    /// Heads report to the first head; of the others each reports to somebody before them in the department.
    fn managers(&mut self) {
        let top = self.staff[0][0].clone();
        for department in self.staff.clone() {
            for (place, id) in department.iter().enumerate() {
                let manager = if place == 0 { &top } else { &department[self.dice.below(place.div_ceil(6))] };
                if id != manager {
                    self.directory.link(id, Relation::Manager, manager);
                }
            }
        }
    }

    fn group(&mut self, sort: GroupSort, name: &str, text: &str, members: &[String], owners: &[String]) -> String {
        let created = self.earlier();
        let group = groups::group(self.dice, sort, name, text, created);
        let id = self.create(Collection::Group, group);
        self.cast.things += 1;
        members.iter().for_each(|member| {
            self.directory.link(&id, Relation::Members, member);
        });
        owners.iter().for_each(|owner| {
            self.directory.link(&id, Relation::Owners, owner);
        });
        id
    }

    fn groups(&mut self, users: usize) {
        let staff = self.staff.clone();
        let all: Vec<String> = staff.iter().flatten().cloned().collect();
        for (number, members) in staff.iter().enumerate() {
            let (name, _) = people::post(number, 0);
            let heads = &members[..members.len().min(1)];
            let id = self.group(
                GroupSort::Security,
                &format!("Department {name}"),
                &format!("Everybody in {name}"),
                members,
                heads,
            );
            self.cast.departments.push(id);
        }
        let rule = "(user.userType -eq \"Member\") and (user.accountEnabled -eq true)";
        self.cast.everybody = self.group(GroupSort::Dynamic, "Everybody", rule, &all, &[]);
        let guests = self.guests.clone();
        self.group(GroupSort::Dynamic, "Guests", "(user.userType -eq \"Guest\")", &guests, &[]);
        let licensed = all.len() * 3 / 4;
        self.group(GroupSort::Licence, "Licence Office", "Gives an office licence", &all[..licensed], &[]);
        let nested = self.cast.departments.clone();
        self.group(GroupSort::Security, "All departments", "Groups of all departments", &nested, &[]);

        let break_glass = self.break_glass();
        self.cast.break_glass =
            self.group(GroupSort::RoleAssignable, "Emergency accounts", "Left out of policies", &break_glass, &[]);
        let it = people::departments() - 2;
        let operators: Vec<String> = staff[it].iter().take(6).cloned().collect();
        self.cast.operators = self.group(
            GroupSort::RoleAssignable,
            "Directory operators",
            "Keep users and groups",
            &operators,
            &operators[..operators.len().min(1)],
        );

        let count = (users * 19 / 100).max(6);
        for number in 0..count {
            let name = format!("Project {} {}", PROJECTS[number % PROJECTS.len()], 1 + number / PROJECTS.len());
            let sort = if number % 2 == 0 { GroupSort::Unified } else { GroupSort::Security };
            let size = if number == 0 { 12 } else { 3 + self.dice.below(15) };
            let members: Vec<String> = (0..size).map(|_| self.dice.pick(&all).clone()).collect();
            let id = self.group(sort, &name, &format!("Team of {name}"), &members, &members[..1]);
            if number == 0 {
                self.cast.project = id;
            }
        }
    }

    fn break_glass(&self) -> Vec<String> {
        let name = |user: &&super::directory::Entry| {
            user.value.get("displayName").and_then(Value::as_str).is_some_and(|name| name.starts_with("Break Glass"))
        };
        self.directory.live(Collection::User).filter(name).map(|user| user.id.clone()).collect()
    }

    fn applications(&mut self, users: usize) {
        for index in 0..FIRST_PARTY.len() {
            let principal = applications::first_party(self.dice, index);
            let id = self.create(Collection::ServicePrincipal, principal);
            if index == 0 {
                self.cast.graph = id;
            }
        }
        let all: Vec<String> = self.staff.iter().flatten().cloned().collect();
        let count = (users * 7 / 100).max(4);
        for number in 0..count {
            let name = system_name(number);
            let created = self.earlier();
            let ids = register(self.directory, self.dice, self.tenant_id, &name, created);
            let owner = self.dice.pick(&all).clone();
            self.directory.link(&ids.0, Relation::Owners, &owner);
            self.directory.link(&ids.1, Relation::Owners, &owner);
            self.access(&ids.1, &all, created);
            if self.dice.chance(0.3) {
                trust_workload(self.directory, self.dice, &ids.0, &name);
            }
            if number == count / 2 {
                self.cast.victim = ids;
            }
        }
        self.cast.things += count;
    }

    /// Who may use an application, and what it may do with Microsoft Graph.
    fn access(&mut self, principal: &str, all: &[String], at: Timestamp) {
        for _ in 0..2 + self.dice.below(6) {
            let user = self.dice.pick(all).clone();
            assign(self.directory, self.dice, &user, principal, at);
        }
        let department = self.dice.below(self.cast.departments.len());
        let department = self.cast.departments[department].clone();
        assign(self.directory, self.dice, &department, principal, at);
        let graph = self.cast.graph.clone();
        // The last of the roles is the dangerous one: nobody has it on the first day.
        let (_, role) = GRAPH_ROLES[self.dice.below(GRAPH_ROLES.len() - 1)];
        assign_role(self.directory, self.dice, principal, &graph, role, at);
        if self.dice.chance(0.7) {
            consent(self.directory, principal, &graph, None, "openid profile User.Read");
        }
        if self.dice.chance(0.3) {
            let user = self.dice.pick(all).clone();
            consent(self.directory, principal, &graph, Some(&user), "User.Read Files.Read");
        }
    }

    fn policies(&mut self) {
        for definition in policies::role_definitions(self.dice) {
            self.create(Collection::RoleDefinition, definition);
        }
        let start = self.start - SignedDuration::from_hours(24 * 400);
        let organization = policies::organization(self.tenant_id, self.directory.entries.len(), start);
        self.create(Collection::Organization, organization);
        for domain in policies::domains() {
            self.create(Collection::Domain, domain);
        }
        let locations = policies::named_locations(self.dice, start);
        let ids: Vec<String> =
            locations.into_iter().map(|place| self.create(Collection::NamedLocation, place)).collect();
        let (except, pilot) = (self.cast.break_glass.clone(), self.cast.operators.clone());
        for policy in policies::conditional_access(self.dice, &except, &ids[0], &pilot, start) {
            let id = self.create(Collection::ConditionalAccessPolicy, policy);
            if self.cast.second_factor.is_empty() {
                self.cast.second_factor = id;
            }
        }
        let mut holders: Vec<(String, &str)> =
            self.break_glass().into_iter().map(|id| (id, policies::GLOBAL_ADMINISTRATOR)).collect();
        let roles: Vec<&str> = policies::grantable_roles().collect();
        holders.push((self.cast.operators.clone(), roles[0]));
        let security = self.staff[people::departments() - 1].clone();
        for role in roles.iter().skip(1) {
            holders.push((self.dice.pick(&security).clone(), role));
        }
        let backup = self.directory.ids(Collection::ServicePrincipal).pop();
        holders.extend(backup.map(|id| (id, roles[6])));
        for (principal, role) in holders {
            give_role(self.directory, role, &principal);
        }
    }

    /// People who left before the start and lie in the bin, so that it is never empty.
    fn leftovers(&mut self) {
        let leavers = 2 + self.cast.people / 250;
        for number in 0..leavers {
            let created = self.earlier();
            let department = self.dice.below(people::departments());
            let mut user = people::user(self.dice, Sort::Member, self.cast.people, department, 0, created);
            self.cast.people += 1;
            user["accountEnabled"] = json!(false);
            let id = self.create(Collection::User, user);
            let ago = SignedDuration::from_hours(24 * 29 * (number as i64 + 1) / leavers as i64);
            self.directory.set_now(self.start - ago);
            self.directory.soft_delete(&id);
        }
        self.directory.set_now(self.start);
    }
}

/// The name of internal application `number`.
pub(super) fn system_name(number: usize) -> String {
    let kind = SYSTEM_KINDS[(number / SYSTEMS.len()) % SYSTEM_KINDS.len()];
    let round = number / (SYSTEMS.len() * SYSTEM_KINDS.len());
    let suffix = if round == 0 { String::new() } else { format!(" {}", round + 1) };
    format!("{} {kind}{suffix}", SYSTEMS[number % SYSTEMS.len()])
}

/// Registers an application with its service principal; their ids in this order.
pub(super) fn register(
    directory: &mut Directory,
    dice: &mut Dice,
    tenant: &str,
    name: &str,
    at: Timestamp,
) -> (String, String) {
    let application = applications::application(dice, name, at);
    let principal = applications::principal(dice, &application, tenant);
    let id = |value: &Value| value["id"].as_str().unwrap_or_default().to_owned();
    let ids = (id(&application), id(&principal));
    directory.create(Collection::Application, application);
    directory.create(Collection::ServicePrincipal, principal);
    ids
}

/// Gives a user, group or service principal the first role of a resource, or its default access.
pub(super) fn assign(
    directory: &mut Directory,
    dice: &mut Dice,
    principal: &str,
    resource: &str,
    at: Timestamp,
) -> Option<String> {
    let role = directory.property(resource, "appRoles")[0]["id"].as_str();
    let role = role.unwrap_or("00000000-0000-0000-0000-000000000000").to_owned();
    assign_role(directory, dice, principal, resource, &role, at)
}

/// Gives a principal one role of a resource, unless it has it; the id of the assignment.
pub(super) fn assign_role(
    directory: &mut Directory,
    dice: &mut Dice,
    principal: &str,
    resource: &str,
    role: &str,
    at: Timestamp,
) -> Option<String> {
    let same = |entry: &Entry| {
        let has = |name: &str, wanted: &str| entry.value.get(name).is_some_and(|value| value == wanted);
        has("principalId", principal) && has("resourceId", resource) && has("appRoleId", role)
    };
    if directory.needing_both(principal, resource).any(same) {
        return None;
    }
    let collection = [Collection::User, Collection::Group, Collection::ServicePrincipal]
        .into_iter()
        .find(|collection| directory.place(*collection, principal).is_some())?;
    let kind = match collection {
        Collection::User => "User",
        Collection::Group => "Group",
        _ => "ServicePrincipal",
    };
    let name = |id: &str| directory.property(id, "displayName").as_str().unwrap_or_default().to_owned();
    let (principal_name, resource_name) = (name(principal), name(resource));
    let assignment =
        applications::assignment(dice, (principal, &principal_name, kind), (resource, &resource_name), role, at);
    create(directory, Collection::AppRoleAssignment, assignment)
}

/// Grants a client delegated permissions; the id of the grant, none if there is one already.
pub(super) fn consent(
    directory: &mut Directory,
    client: &str,
    resource: &str,
    user: Option<&str>,
    scope: &str,
) -> Option<String> {
    let grant = applications::grant(client, resource, user, scope);
    create(directory, Collection::Oauth2PermissionGrant, grant)
}

/// Gives a principal a directory role; the id of the assignment, none if it has the role already.
pub(super) fn give_role(directory: &mut Directory, role: &str, principal: &str) -> Option<String> {
    create(directory, Collection::RoleAssignment, applications::role_assignment(role, principal))
}

/// Lets a workload of the cluster sign in as an application.
pub(super) fn trust_workload(directory: &mut Directory, dice: &mut Dice, application: &str, name: &str) {
    let credential = applications::federated_credential(dice, name);
    let id = credential["id"].as_str().unwrap_or_default().to_owned();
    directory.create(Collection::FederatedIdentityCredential, credential);
    directory.link(application, Relation::FederatedIdentityCredentials, &id);
}

fn create(directory: &mut Directory, collection: Collection, value: Value) -> Option<String> {
    let id = value["id"].as_str()?.to_owned();
    directory.create(collection, value).then_some(id)
}
