//! A synthetic tenant whose objects are computed from their numbers, so that a million of them take no memory.
//!
//! Must never know: how Tenure keeps them, or which questions are asked.
//!
//! Ids of one kind ascend with the numbers, so that whoever writes a base in key order counts.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::dice::{self, pick};

/// The role that may do everything: its id is the same in every tenant (Microsoft: "Microsoft Entra built-in roles").
pub const GLOBAL: &str = "62e90394-69f5-4237-9190-012177145e10";
/// Role definitions.
pub const ROLES: u32 = 130;
/// The most members of the group in which everybody is.
const LARGEST: u32 = 100_000;
/// A prime that divides no count of users here, so that no member comes twice.
const STEP: u64 = 7919;

const GIVEN: [&str; 8] = ["Anna", "Bilal", "Chiara", "David", "Elif", "Finn", "Greta", "Hannah"];
const SURNAMES: [&str; 8] = ["Albrecht", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Hoffmann"];
const DEPARTMENTS: [&str; 6] = ["Accounting", "Claims", "Engineering", "Legal", "Research", "Treasury"];
const TITLES: [&str; 5] = ["Analyst", "Consultant", "Director", "Engineer", "Technician"];
const CITIES: [(&str, &str); 4] = [("Zurich", "CH"), ("Hamburg", "DE"), ("Lyon", "FR"), ("Leeds", "GB")];
const SERVICES: [&str; 5] = ["exchange", "SharePoint", "MicrosoftCommunicationsOnline", "TeamspaceAPI", "To-Do"];

/// The kinds of objects there are many of, in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    AppRoleAssignment,
    Application,
    Device,
    Group,
    Grant,
    ServicePrincipal,
    User,
}

pub const KINDS: [Kind; 7] = [
    Kind::AppRoleAssignment,
    Kind::Application,
    Kind::Device,
    Kind::Group,
    Kind::Grant,
    Kind::ServicePrincipal,
    Kind::User,
];

impl Kind {
    pub fn collection(self) -> &'static str {
        match self {
            Kind::AppRoleAssignment => "appRoleAssignment",
            Kind::Application => "application",
            Kind::Device => "device",
            Kind::Group => "group",
            Kind::Grant => "oauth2PermissionGrant",
            Kind::ServicePrincipal => "servicePrincipal",
            Kind::User => "user",
        }
    }
}

/// An object by its number.
pub type Thing = (Kind, u32);

/// A mix of numbers that is as good as random.
pub fn mix(kind: Kind, number: u32, salt: u64) -> u64 {
    dice::mix(kind as u64, number, salt)
}

fn below(count: u32, dice: u64) -> u32 {
    (dice % u64::from(count.max(1))) as u32
}

/// A GUID from its first part and two numbers.
pub fn guid(first: u32, high: u64, low: u64) -> String {
    let (b, c) = (high >> 16 & 0xffff, high & 0xfff);
    format!("{first:08x}-{b:04x}-4{c:03x}-{:04x}-{:012x}", 0x8000 | low >> 48 & 0x3fff, low & 0xffff_ffff_ffff)
}

/// A second of the years before the first capture.
fn date(dice: u64) -> String {
    let (year, month, day) = (2019 + dice % 7, 1 + (dice >> 8) % 12, 1 + (dice >> 16) % 28);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", (dice >> 24) % 24, (dice >> 32) % 60, (dice >> 40) % 60)
}

/// How many of each there are, and who is related to whom at first.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub objects: u32,
    counts: [u32; KINDS.len()],
    /// Groups that may be given roles: the numbers from 1.
    pub assignable: u32,
    pub units: u32,
    /// Members of an ordinary group on average.
    members: f64,
}

impl Shape {
    /// `objects` directory objects (users, groups, devices, applications, service principals) with ten links each.
    pub fn of(objects: u32) -> Shape {
        assert!(objects >= 2000, "a tenant has at least 2,000 objects here");
        let part = |hundredths: u32| (u64::from(objects) * u64::from(hundredths) / 100) as u32;
        let counts = [part(40), part(2), part(3), part(12), part(100), part(3), part(80)];
        let units = (objects / 2000).clamp(3, 200);
        let mut shape = Shape { objects, counts, assignable: 40, units, members: 0.0 };
        let [assignments, applications, devices, groups, _, principals, users] = counts;
        let single = assignments + applications + 2 * devices + groups + principals + users;
        let members = f64::from(objects) * 10.0 - f64::from(single) - f64::from(shape.largest());
        shape.members = members / f64::from(groups);
        shape
    }

    pub fn count(&self, kind: Kind) -> u32 {
        self.counts[kind as usize]
    }

    /// Members of the group in which everybody is: as many as there are users, 100,000 at most.
    pub fn largest(&self) -> u32 {
        self.count(Kind::User).min(LARGEST)
    }

    /// The id of an object. Those of the founding ascend.
    pub fn id(&self, (kind, number): Thing) -> String {
        let (high, low) = (mix(kind, number, 1), mix(kind, number, 2));
        let count = self.count(kind);
        let first = match number < count {
            true => {
                let width = (1u64 << 32) / u64::from(count);
                (u64::from(number) * width + (high >> 32) % width) as u32
            }
            false => (high >> 32) as u32,
        };
        guid(first, high, low)
    }

    pub fn key(&self, thing: Thing) -> tenure::canonical::Key {
        tenure::canonical::Key::new(thing.0.collection(), &self.id(thing))
    }

    fn every(&self, kind: Kind, times: u32) -> u32 {
        (self.count(kind) / times).max(3)
    }

    /// Whether the user who has more than anybody is in a group besides.
    fn has_busy(&self, group: u32) -> bool {
        let every = self.every(Kind::Group, 200);
        group % every == every / 2
    }

    /// The members of a group at the founding, each once.
    pub fn first_members(&self, group: u32) -> Vec<Thing> {
        let users = self.count(Kind::User);
        let user = |number: u32| (Kind::User, number);
        if group == 0 {
            let stride = users / self.largest();
            return (0..self.largest()).map(|at| user(at * stride)).collect();
        }
        let dice = mix(Kind::Group, group, 3);
        let size = match group {
            _ if group <= self.assignable => 5 + below(15, dice),
            _ if group == self.assigned_group() => (users / 4).min(5000),
            _ => {
                let chance = (dice >> 11) as f64 / (1u64 << 53) as f64;
                ((-(1.0 - chance).ln() * self.members) as u32).min(users / 8)
            }
        };
        let start = mix(Kind::Group, group, 4) % u64::from(users);
        let steps = (0..u64::from(size)).map(|step| ((start + step * STEP) % u64::from(users)) as u32);
        let mut members: Vec<Thing> = steps.filter(|user| *user != 0).map(user).collect();
        if self.has_busy(group) {
            members.push(user(0));
        }
        members.extend(self.nested(group).into_iter().map(|nested| (Kind::Group, nested)));
        members
    }

    /// Groups in a group: of every twenty, one holds two, one of which holds two, one of which holds one. In the last
    /// twenty the innermost holds the outermost.
    fn nested(&self, group: u32) -> Vec<u32> {
        let groups = self.count(Kind::Group);
        if group <= 60 || group / 20 * 20 + 20 > groups {
            return Vec::new();
        }
        match group % 20 {
            3 => vec![group + 1, group + 2],
            4 => vec![group + 2, group + 3],
            6 => vec![group + 2],
            8 if group / 20 == groups / 20 - 1 => vec![group - 5],
            _ => Vec::new(),
        }
    }

    /// A group of some thousands that is assigned to an application.
    pub fn assigned_group(&self) -> u32 {
        self.assignable + 1
    }

    /// Groups that policies leave out, small ones and one with groups in it.
    fn excluded(&self, policy: u32) -> [u32; 2] {
        let nested = (self.count(Kind::Group) / 20 - 2) * 20 + 3;
        [self.assignable + 2 + policy % 18, if policy % 12 == 5 { nested } else { 1 + policy % self.assignable }]
    }

    /// The owner of a group, application or service principal.
    fn owner(&self, thing: Thing) -> Thing {
        let every = self.every(thing.0, 50);
        match thing.1 % every == every / 3 {
            true => (Kind::User, 0),
            false => (Kind::User, below(self.count(Kind::User), mix(thing.0, thing.1, 5))),
        }
    }

    /// The links of an object at the founding, members and assignments apart.
    pub fn links(&self, thing: Thing) -> Vec<(&'static str, Vec<Thing>)> {
        let user = |salt| (Kind::User, below(self.count(Kind::User), mix(thing.0, thing.1, salt)));
        match thing.0 {
            Kind::User if thing.1 > 0 => vec![("manager", vec![(Kind::User, thing.1 / 8)])],
            Kind::Group | Kind::Application | Kind::ServicePrincipal => vec![("owners", vec![self.owner(thing)])],
            Kind::Device => vec![("registeredOwners", vec![user(6)]), ("registeredUsers", vec![user(6)])],
            _ => Vec::new(),
        }
    }

    /// The service principal for which an app role assignment is.
    pub fn resource(&self, assignment: u32) -> u32 {
        assignment % self.count(Kind::ServicePrincipal)
    }

    /// The app role assignments of a service principal at the founding.
    pub fn assigned(&self, principal: u32) -> impl Iterator<Item = u32> + use<> {
        let (count, every) = (self.count(Kind::AppRoleAssignment), self.count(Kind::ServicePrincipal));
        (principal..count).step_by(every as usize)
    }

    /// To whom an app role assignment gives something. The first is that of everybody's group, the second that of a group of
    /// some thousands.
    pub fn assignee(&self, assignment: u32) -> Thing {
        let every = self.every(Kind::AppRoleAssignment, 100);
        let dice = mix(Kind::AppRoleAssignment, assignment, 7);
        match (assignment, dice % 10) {
            (0, _) => (Kind::Group, 0),
            (1, _) => (Kind::Group, self.assigned_group()),
            _ if assignment % every == every / 2 => (Kind::User, 0),
            (_, 0) => (Kind::ServicePrincipal, below(self.count(Kind::ServicePrincipal), dice >> 8)),
            (_, 1 | 2) => (Kind::Group, 1 + below(self.count(Kind::Group) - 1, dice >> 8)),
            _ => (Kind::User, below(self.count(Kind::User), dice >> 8)),
        }
    }

    /// Grants for everybody: one in so many.
    fn tenant_wide(&self) -> u32 {
        self.count(Kind::Grant) / (self.objects / 1000).clamp(5, 500)
    }

    /// What an object says, `version` changes after the founding.
    pub fn content(&self, thing: Thing, version: u32, enabled: bool) -> String {
        let (id, dice) = (self.id(thing), mix(thing.0, thing.1, 8));
        match thing.0 {
            Kind::User => self.user(thing.1, &id, version, enabled),
            Kind::Group => format!(
                r#"{{"id":"{id}","displayName":"Group {n}","description":"Revision {version}","createdDateTime":"{}","groupTypes":[{}],"isAssignableToRole":{},"mailEnabled":false,"mailNickname":"g{n}","securityEnabled":true,"visibility":"Private"}}"#,
                date(dice),
                if dice.is_multiple_of(9) { "\"DynamicMembership\"" } else { "" },
                (1..=self.assignable).contains(&thing.1),
                n = thing.1,
            ),
            Kind::Device => format!(
                r#"{{"id":"{id}","displayName":"DEV-{n}","accountEnabled":true,"deviceId":"{}","operatingSystem":"Windows","operatingSystemVersion":"10.0.{version}","trustType":"AzureAd","isCompliant":true,"isManaged":true}}"#,
                guid(dice as u32, dice, dice >> 3),
                n = thing.1,
            ),
            Kind::Application | Kind::ServicePrincipal => format!(
                r#"{{"id":"{id}","appId":"{}","displayName":"Application {n}","createdDateTime":"{}","signInAudience":"AzureADMyOrg","appRoleAssignmentRequired":{},"accountEnabled":true,"servicePrincipalType":"Application","appRoles":[{{"allowedMemberTypes":["User"],"displayName":"Reader","id":"{role}","isEnabled":true,"value":"Reader"}}],"tags":["WindowsAzureActiveDirectoryIntegratedApp"],"revision":{version}}}"#,
                guid(dice as u32, thing.1.into(), 5),
                date(dice),
                !thing.1.is_multiple_of(50) || thing.1 == 0,
                role = self.app_role(thing.1),
                n = thing.1,
            ),
            Kind::AppRoleAssignment => {
                let (who, resource) = (self.assignee(thing.1), self.resource(thing.1));
                let kind = match who.0 {
                    Kind::User => "User",
                    Kind::Group => "Group",
                    _ => "ServicePrincipal",
                };
                format!(
                    r#"{{"id":"{id}","appRoleId":"{}","createdDateTime":"{}","principalDisplayName":"{kind} {}","principalId":"{}","principalType":"{kind}","resourceDisplayName":"Application {resource}","resourceId":"{}"}}"#,
                    self.app_role(resource),
                    date(dice),
                    who.1,
                    self.id(who),
                    self.id((Kind::ServicePrincipal, resource)),
                )
            }
            Kind::Grant => self.grant(thing.1, &id, version),
        }
    }

    fn app_role(&self, principal: u32) -> String {
        let dice = mix(Kind::ServicePrincipal, principal, 9);
        guid(dice as u32, dice, dice >> 5)
    }

    fn grant(&self, number: u32, id: &str, version: u32) -> String {
        let dice = mix(Kind::Grant, number, 10);
        let principals = self.count(Kind::ServicePrincipal);
        let client = self.id((Kind::ServicePrincipal, below(principals, dice)));
        let resource =
            self.id((Kind::ServicePrincipal, if dice >> 32 & 3 > 0 { 2 } else { below(principals, dice >> 34) }));
        let busy = self.every(Kind::Grant, 300);
        let who = match number % busy == busy / 2 {
            true => 0,
            false => below(self.count(Kind::User), mix(Kind::Grant, number, 11)),
        };
        let (consent, principal) = match number % self.tenant_wide() == 1 {
            true => ("AllPrincipals", "null".to_owned()),
            false => ("Principal", format!("\"{}\"", self.id((Kind::User, who)))),
        };
        let more = if version.is_multiple_of(2) { "" } else { " Files.Read" };
        format!(
            r#"{{"id":"{id}","clientId":"{client}","consentType":"{consent}","principalId":{principal},"resourceId":"{resource}","scope":"openid profile User.Read{more}"}}"#
        )
    }

    fn user(&self, number: u32, id: &str, version: u32, enabled: bool) -> String {
        let dice = mix(Kind::User, number, 8);
        let (given, surname) = (pick(&GIVEN, dice), pick(&SURNAMES, dice >> 4));
        let (city, country) = pick(&CITIES, dice >> 12);
        let (guest, name) = (dice.is_multiple_of(50), format!("{}.{}{number}", given, surname).to_lowercase());
        let upn = if guest { format!("{name}_partner.example#EXT#") } else { name.clone() };
        let mut plans = String::new();
        for (at, service) in SERVICES.iter().enumerate() {
            let plan = mix(Kind::User, at as u32, 20);
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(
                plans,
                r#"{comma}{{"assignedDateTime":"{}","capabilityStatus":"Enabled","service":"{service}","servicePlanId":"{}"}}"#,
                date(dice.rotate_left(at as u32)),
                guid(plan as u32, plan, 7),
            );
        }
        format!(
            r#"{{"id":"{id}","accountEnabled":{enabled},"assignedLicenses":[{{"disabledPlans":[],"skuId":"{}"}}],"assignedPlans":[{plans}],"businessPhones":["+41 44 {:07}"],"city":"{city}","companyName":"Contoso","country":"{country}","createdDateTime":"{}","department":"{}","displayName":"{given} {surname} {number}","employeeId":"E{number:07}","givenName":"{given}","jobTitle":"{}","mail":"{name}@contoso.example","onPremisesImmutableId":"{:016x}","onPremisesSyncEnabled":true,"proxyAddresses":["SMTP:{name}@contoso.example"],"surname":"{surname}","usageLocation":"{country}","userPrincipalName":"{upn}@contoso.example","userType":"{}"}}"#,
            guid(7, dice % 4, 9),
            dice % 10_000_000,
            date(dice >> 3),
            pick(&DEPARTMENTS, dice.wrapping_add(u64::from(version))),
            pick(&TITLES, (dice >> 20).wrapping_add(u64::from(version / 6))),
            dice,
            if guest { "Guest" } else { "Member" },
        )
    }

    /// The id of a role definition; the first is the one that may do everything.
    pub fn role(&self, number: u32) -> String {
        let dice = mix(Kind::User, number, 30);
        if number == 0 { GLOBAL.to_owned() } else { guid((dice >> 32) as u32, dice, dice >> 7) }
    }

    pub fn unit(&self, number: u32) -> String {
        let dice = mix(Kind::Group, number, 31);
        guid((dice >> 32) as u32, dice, dice >> 7)
    }

    pub fn role_definition(&self, number: u32) -> Value {
        let id = self.role(number);
        let name = if number == 0 { "Global Administrator".to_owned() } else { format!("Role {number}") };
        json!({"id": id, "displayName": name, "description": "What it allows.", "isBuiltIn": true, "isEnabled": true,
            "resourceScopes": ["/"], "templateId": id, "version": "1",
            "rolePermissions": [{"allowedResourceActions": [format!("microsoft.directory/things{number}/update")], "condition": null}]})
    }

    /// A policy of Conditional Access; `also` is a group that it leaves out besides.
    pub fn policy(&self, number: u32, also: Option<u32>) -> Value {
        let group = |number: u32| self.id((Kind::Group, number));
        let excluded: Vec<String> = self.excluded(number).into_iter().chain(also).map(group).collect();
        let roles: Vec<String> = (0..6).map(|role| self.role(role)).collect();
        let (users, roles, groups) = match number % 6 {
            0..=3 => (vec!["All"], Vec::new(), Vec::new()),
            4 => (Vec::new(), roles, Vec::new()),
            _ => (Vec::new(), Vec::new(), vec![group(self.assigned_group())]),
        };
        let state = match number % 6 {
            2 => "enabledForReportingButNotEnforced",
            3 if number.is_multiple_of(2) => "disabled",
            _ => "enabled",
        };
        let dice = mix(Kind::Group, number, 40);
        json!({"id": guid((dice >> 32) as u32, dice, dice >> 9), "displayName": format!("Policy {number}"), "state": state,
            "conditions": {
                "clientAppTypes": ["all"], "userRiskLevels": [], "signInRiskLevels": [],
                "applications": {"includeApplications": ["All"], "excludeApplications": [], "includeUserActions": []},
                "users": {"includeUsers": users, "excludeUsers": [], "includeGroups": groups, "excludeGroups": excluded,
                    "includeRoles": roles, "excludeRoles": []}},
            "grantControls": {"operator": "OR", "builtInControls": ["mfa"], "customAuthenticationFactors": [], "termsOfUse": []},
            "sessionControls": null})
    }
}
