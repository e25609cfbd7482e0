//! A policy as a value, read from its JSON.
//!
//! Must never know: whom it covers.
//!
//! Every member that isn't known here and says something is kept by its path, so that whoever judges the policy says so.

use serde_json::Value;

use super::controls::Controls;
use super::words;

/// Whether a policy is in force (learn.microsoft.com/entra/identity/conditional-access/concept-conditional-access-report-only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is enforced.
    Enabled,
    /// It is evaluated and logged, and enforces nothing.
    ReportOnly,
    /// It is off.
    Disabled,
    /// Something that isn't known.
    Other(String),
}

impl State {
    /// The word in rows.
    pub fn as_str(&self) -> &str {
        match self {
            State::Enabled => "enabled",
            State::ReportOnly => "report-only",
            State::Disabled => "disabled",
            State::Other(word) => word,
        }
    }
}

/// What is included and what is excluded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// What is included.
    pub include: Vec<String>,
    /// What is excluded: that counts for more.
    pub exclude: Vec<String>,
}

/// Kinds of guests and other external people, of all tenants or of some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guests {
    /// As Graph spells them: `internalGuest`, `b2bCollaborationGuest`, …
    pub kinds: Vec<String>,
    /// The tenants; `None` for all.
    pub tenants: Option<Vec<String>>,
}

/// A rule on attributes of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Whether what fits is included; else it is excluded.
    pub includes: bool,
    /// The rule.
    pub rule: String,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Whether it is in force.
    pub state: State,
    /// Users by id, or words.
    pub users: Choice,
    /// Groups by id.
    pub groups: Choice,
    /// Directory roles by the id of their template.
    pub roles: Choice,
    /// Guests that are included.
    pub guests: Option<Guests>,
    /// Guests that are excluded.
    pub excluded_guests: Option<Guests>,
    /// Service principals by id, or words.
    pub principals: Choice,
    /// Agent identities by id, or words.
    pub agents: Choice,
    /// What is said of who is covered in words that aren't known.
    pub unknown_who: Vec<String>,
    /// Applications by `appId`, or words.
    pub applications: Choice,
    /// User actions.
    pub actions: Vec<String>,
    /// Authentication contexts.
    pub contexts: Vec<String>,
    /// Kinds of client; none for all.
    pub clients: Vec<String>,
    /// Platforms.
    pub platforms: Choice,
    /// Named locations by id, or words.
    pub locations: Choice,
    /// A rule on devices.
    pub devices: Option<Filter>,
    /// By kind of risk, the levels at which the policy applies; those without any aren't here.
    pub risks: Vec<(&'static str, Vec<String>)>,
    /// Ways in which authentication is transferred; none for all.
    pub flows: Vec<String>,
    /// Conditions in words that aren't known.
    pub unknown_conditions: Vec<String>,
    /// What is asked for.
    pub controls: Controls,
}

/// The conditions that are about risk.
pub(super) const RISKS: [&str; 5] =
    ["userRiskLevels", "signInRiskLevels", "servicePrincipalRiskLevels", "insiderRiskLevels", "agentIdRiskLevels"];

impl Policy {
    /// Reads a policy; `None` where there is nothing that looks like one.
    pub fn read(content: &Value) -> Option<Policy> {
        let conditions = content["conditions"].as_object()?;
        let conditions = Value::Object(conditions.clone());
        let state = match content["state"].as_str().unwrap_or_default() {
            "enabled" => State::Enabled,
            "disabled" => State::Disabled,
            "enabledForReportingButNotEnforced" => State::ReportOnly,
            other => State::Other(other.to_owned()),
        };
        let (mut who, mut other) = (Vec::new(), Vec::new());
        const KNOWN: &[&str] = &[
            "users",
            "applications",
            "clientApplications",
            "clientAppTypes",
            "platforms",
            "locations",
            "devices",
            "authenticationFlows",
        ];
        unknown("", &conditions, &[KNOWN, &RISKS].concat(), &mut other);
        let users = &conditions["users"];
        let workloads = &conditions["clientApplications"];
        unknown_who(users, workloads, &mut who);
        let (resources, devices) = (&conditions["applications"], &conditions["devices"]);
        unknown("applications.", resources, RESOURCES, &mut other);
        unknown("devices.", devices, &["deviceFilter"], &mut other);
        let (platforms, locations) = (&conditions["platforms"], &conditions["locations"]);
        unknown("platforms.", platforms, &["includePlatforms", "excludePlatforms"], &mut other);
        unknown("locations.", locations, &["includeLocations", "excludeLocations"], &mut other);
        unknown("authenticationFlows.", &conditions["authenticationFlows"], &["transferMethods"], &mut other);
        if filter(&resources["applicationFilter"]).is_some() {
            other.push("applications.applicationFilter".to_owned());
        }
        let risks = RISKS.iter().map(|name| (*name, words(&conditions[*name])));
        Some(Policy {
            name: content["displayName"].as_str().unwrap_or_default().to_owned(),
            state,
            users: choice(users, "Users"),
            groups: choice(users, "Groups"),
            roles: choice(users, "Roles"),
            guests: guests(&users["includeGuestsOrExternalUsers"]),
            excluded_guests: guests(&users["excludeGuestsOrExternalUsers"]),
            principals: choice(workloads, "ServicePrincipals"),
            agents: choice(workloads, "AgentIdServicePrincipals"),
            unknown_who: who,
            applications: choice(resources, "Applications"),
            actions: words(&resources["includeUserActions"]),
            contexts: words(&resources["includeAuthenticationContextClassReferences"]),
            clients: words(&conditions["clientAppTypes"]),
            platforms: choice(platforms, "Platforms"),
            locations: choice(locations, "Locations"),
            devices: filter(&devices["deviceFilter"]),
            risks: risks.filter(|(_, levels)| !levels.is_empty()).collect(),
            flows: words(&conditions["authenticationFlows"]["transferMethods"])
                .into_iter()
                .filter(|flow| flow != "none")
                .collect(),
            unknown_conditions: other,
            controls: Controls::read(&content["grantControls"], &content["sessionControls"]),
        })
    }

    /// Whether a value stands in a list of it, by the names of [`super::Reason`].
    pub fn lists(&self, list: &str, value: &str) -> bool {
        let of = |choice: &Choice| match list.starts_with("include") {
            true => super::has(&choice.include, value),
            false => super::has(&choice.exclude, value),
        };
        let guests = |guests: &Option<Guests>| guests.as_ref().is_some_and(|own| own.kinds.join(", ") == value);
        match list.trim_start_matches("include").trim_start_matches("exclude") {
            "Users" => of(&self.users),
            "Groups" => of(&self.groups),
            "Roles" => of(&self.roles),
            "ServicePrincipals" => of(&self.principals),
            "AgentIdServicePrincipals" => of(&self.agents),
            _ if list.starts_with("include") => guests(&self.guests),
            _ => guests(&self.excluded_guests),
        }
    }

    /// Whether it is about workload identities: service principals or agents.
    pub fn is_about_workloads(&self) -> bool {
        let some = |choice: &Choice| choice.include.iter().any(|word| word != "None");
        some(&self.principals) || some(&self.agents)
    }

    /// Whether another one is for the same people, by what both say of them.
    pub fn is_for_the_same(&self, other: &Policy) -> bool {
        let who = |policy: &Policy| {
            let choices =
                [&policy.users, &policy.groups, &policy.roles, &policy.principals, &policy.agents].map(Choice::clone);
            (
                choices,
                policy.guests.clone(),
                policy.excluded_guests.clone(),
                policy.unknown_who.clone(),
                policy.clients.clone(),
            )
        };
        who(self) == who(other)
    }

    /// Whether it includes every user.
    pub fn includes_everybody(&self) -> bool {
        super::has(&self.users.include, "All")
    }

    /// Whether it names guests in the way of old: by a word among the users.
    pub fn names_guests(&self) -> bool {
        let names = |list: &[String]| super::has(list, "GuestsOrExternalUsers");
        names(&self.users.include) || names(&self.users.exclude)
    }

    /// The conditions that keep it from applying to every sign-in of whom it covers, by name. Clients of the old protocols are left
    /// out by many policies that ask for what those can't do.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        let mut limit = |name: &str| limits.push(name.to_owned());
        if !super::has(&self.applications.include, "All") || !self.applications.exclude.is_empty() {
            limit("applications");
        }
        let modern = ["browser", "mobileAppsAndDesktopClients"].iter().all(|kind| super::has(&self.clients, kind));
        if !(self.clients.is_empty() || super::has(&self.clients, "all") || modern) {
            limit("clientAppTypes");
        }
        let is_any = |choice: &Choice| {
            choice.exclude.is_empty() && (choice.include.is_empty() || super::has(&choice.include, "all"))
        };
        for (name, choice) in [("platforms", &self.platforms), ("locations", &self.locations)] {
            if !is_any(choice) {
                limit(name);
            }
        }
        if self.devices.is_some() {
            limit("devices");
        }
        if !self.flows.is_empty() {
            limit("authenticationFlows");
        }
        self.risks.iter().for_each(|(name, _)| limit(name));
        limits.extend(self.unknown_conditions.iter().cloned());
        limits
    }
}

const RESOURCES: &[&str] = &[
    "includeApplications",
    "excludeApplications",
    "includeUserActions",
    "includeAuthenticationContextClassReferences",
    "applicationFilter",
];

fn unknown_who(users: &Value, workloads: &Value, out: &mut Vec<String>) {
    const USERS: &[&str] = &[
        "includeUsers",
        "excludeUsers",
        "includeGroups",
        "excludeGroups",
        "includeRoles",
        "excludeRoles",
        "includeGuestsOrExternalUsers",
        "excludeGuestsOrExternalUsers",
    ];
    // Filters on custom security attributes stay unknown: those attributes are captured only where the permission is given.
    const WORKLOADS: &[&str] = &[
        "includeServicePrincipals",
        "excludeServicePrincipals",
        "includeAgentIdServicePrincipals",
        "excludeAgentIdServicePrincipals",
    ];
    unknown("users.", users, USERS, out);
    unknown("clientApplications.", workloads, WORKLOADS, out);
}

fn choice(value: &Value, of: &str) -> Choice {
    let list = |side: &str| words(&value[format!("{side}{of}")]);
    Choice { include: list("include"), exclude: list("exclude") }
}

fn guests(value: &Value) -> Option<Guests> {
    let kinds: Vec<String> =
        words(&value["guestOrExternalUserTypes"]).into_iter().filter(|kind| kind != "none").collect();
    let external = &value["externalTenants"];
    let tenants = match external["membershipKind"].as_str() {
        Some("enumerated") => Some(words(&external["members"])),
        Some("all") | None => None,
        // Of no tenant that could be named: whoever is asked about, it depends.
        Some(_) => Some(Vec::new()),
    };
    (!kinds.is_empty()).then_some(Guests { kinds, tenants })
}

fn filter(value: &Value) -> Option<Filter> {
    let rule = value["rule"].as_str().filter(|rule| !rule.is_empty())?.to_owned();
    Some(Filter { includes: value["mode"] == "include", rule })
}

/// Members that say something and aren't known, by their paths.
fn unknown(path: &str, value: &Value, known: &[&str], out: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let says_nothing = match value {
            Value::Null => true,
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            Value::String(text) => text.is_empty() || text == "none",
            _ => false,
        };
        if !says_nothing && !known.contains(&name.as_str()) && !name.contains('@') {
            out.push(format!("{path}{name}"));
        }
    }
}
