//! Whom a policy covers: who is included, by what, and who is excluded.
//!
//! Must never know: to which sign-ins it applies.
//!
//! "Users, groups, and workload identities" (learn.microsoft.com/entra/identity/conditional-access/
//! concept-conditional-access-users-groups): `All` is every user in the directory with its guests; groups hold for those nested in
//! them; roles count while they are active, and only built-in ones that are held in the whole directory, none that are scoped to an
//! administrative unit or an object, and none of one's own. An exclusion overrides. Of workload identities only service principals of
//! the tenant's own single-tenant applications are covered, no managed identities (…/workload-identity). Kinds of guests:
//! learn.microsoft.com/entra/external-id/authentication-conditional-access, "Assigning Conditional Access policies to external user
//! types". Agents: …/conditional-access/agent-id, with `AllAgentIdUsers` for the accounts of all of them, which is the only scope for those.
//! A policy that names clients of ActiveSync has all users for its subjects where it is for roles or guests
//! (…/concept-conditional-access-conditions, "Exchange ActiveSync clients").

use std::collections::BTreeMap;

use super::policy::{Choice, Guests, Policy};
use super::{Truth, has, is_word};
use crate::canonical::Key;

/// Where a user belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External {
    /// Nowhere else.
    Internal,
    /// A guest whose credentials are managed here.
    LocalGuest,
    /// A guest with an account elsewhere.
    Guest,
    /// A member with an account elsewhere.
    Member,
    /// That can't be told.
    Unknown,
}

/// What kind of identity somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A user.
    User {
        /// Where they belong.
        external: External,
        /// The tenant of their account, where that is elsewhere and known.
        home: Option<String>,
        /// Whether it is the account of an agent.
        is_agent: bool,
    },
    /// A service principal.
    ServicePrincipal {
        /// Whether policies are for its kind: one of an own application for this tenant alone, no managed identity.
        in_scope: Truth,
    },
    /// An agent identity.
    Agent {
        /// The service principals of its blueprint, by id.
        blueprints: Vec<String>,
    },
}

/// Somebody, as far as policies ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The object's id.
    pub id: String,
    /// What they are.
    pub identity: Identity,
    /// The groups they are in, however deep, by id; `Depends` where nobody knows.
    pub groups: BTreeMap<String, Truth>,
    /// The built-in roles they hold in the whole directory, active, by the id of the template.
    pub roles: BTreeMap<String, Truth>,
}

/// What includes or excludes somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The list of the policy: `includeUsers`, `excludeGroups`, …
    pub list: &'static str,
    /// What stands in it: an id, a word, or kinds of guests.
    pub value: String,
    /// Whether it is so; never `No`.
    pub truth: Truth,
}

impl Reason {
    /// The user, group, role or service principal that stands in the list; `None` for a word or kinds of guests.
    pub fn key(&self) -> Option<Key> {
        let collection = match self.list.trim_start_matches("include").trim_start_matches("exclude") {
            "Users" => "user",
            "Groups" => "group",
            "Roles" => "unifiedRoleDefinition",
            "ServicePrincipals" | "AgentIdServicePrincipals" => "servicePrincipal",
            _ => return None,
        };
        (!is_word(&self.value)).then(|| Key::new(collection, &self.value))
    }
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Included and not excluded.
    Covered,
    /// Excluded.
    Excluded,
    /// Not included.
    NotTargeted,
    /// That depends on what isn't known.
    Depends,
}

impl Verdict {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Covered => "covered",
            Verdict::Excluded => "excluded",
            Verdict::NotTargeted => "not targeted",
            Verdict::Depends => "depends",
        }
    }
}

/// Whether a policy covers somebody, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// What includes them.
    pub included: Vec<Reason>,
    /// What excludes them.
    pub excluded: Vec<Reason>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What the policy says of who is covered that isn't known.
    pub unknown: Vec<String>,
}

impl Coverage {
    /// Of somebody of whom nothing is known.
    pub fn unknown() -> Coverage {
        Coverage { included: Vec::new(), excluded: Vec::new(), verdict: Verdict::Depends, unknown: Vec::new() }
    }
}

impl Policy {
    /// Whether this covers somebody, if it is in force.
    pub fn covers(&self, person: &Person) -> Coverage {
        let (mut included, mut excluded) = (Vec::new(), Vec::new());
        match &person.identity {
            Identity::User { is_agent, .. } => {
                users(person, &self.users.include, "includeUsers", &mut included);
                users(person, &self.users.exclude, "excludeUsers", &mut excluded);
                // Choosing accounts of agents by their groups is none of the scopes that are supported.
                let groups = (&person.groups, if *is_agent { Truth::Depends } else { Truth::Yes });
                let roles = (&person.roles, Truth::Yes);
                held(groups, &self.groups, ("includeGroups", "excludeGroups"), &mut included, &mut excluded);
                held(roles, &self.roles, ("includeRoles", "excludeRoles"), &mut included, &mut excluded);
                guests(person, self.guests.as_ref(), "includeGuestsOrExternalUsers", &mut included);
                guests(person, self.excluded_guests.as_ref(), "excludeGuestsOrExternalUsers", &mut excluded);
            }
            Identity::ServicePrincipal { in_scope } => {
                let lists = ("includeServicePrincipals", "excludeServicePrincipals");
                principals((person, &[]), &self.principals, lists, *in_scope, &mut included, &mut excluded);
            }
            Identity::Agent { blueprints } => {
                let lists = ("includeAgentIdServicePrincipals", "excludeAgentIdServicePrincipals");
                principals((person, blueprints), &self.agents, lists, Truth::Yes, &mut included, &mut excluded);
            }
        }
        let workload = !matches!(person.identity, Identity::User { .. });
        let about = if workload { "clientApplications." } else { "users." };
        let mut unknown: Vec<String> =
            self.unknown_who.iter().filter(|path| path.starts_with(about)).cloned().collect();
        let says = |word: &str| unknown.iter().any(|path| path.contains(word) || path.contains("ilter"));
        let truth = |reasons: &[Reason], word: &str| {
            let known = reasons.iter().map(|reason| reason.truth).max().unwrap_or(Truth::No);
            // A member that includes or excludes may do so here; one that is named otherwise may do both.
            let other = unknown.iter().any(|path| !path.contains("include") && !path.contains("exclude"));
            if says(word) || other { known.max(Truth::Depends) } else { known }
        };
        let (mut is_included, is_excluded) = (truth(&included, "include"), truth(&excluded, "exclude"));
        if !workload && is_included == Truth::No && self.spreads_by_sync() {
            is_included = Truth::Depends;
            unknown.push("clientAppTypes.exchangeActiveSync".to_owned());
        }
        let verdict = match (is_included, is_excluded) {
            (Truth::No, _) => Verdict::NotTargeted,
            (_, Truth::Yes) => Verdict::Excluded,
            (Truth::Yes, Truth::No) => Verdict::Covered,
            _ => Verdict::Depends,
        };
        Coverage { included, excluded, verdict, unknown }
    }

    /// Whether clients of ActiveSync make all users its subjects.
    fn spreads_by_sync(&self) -> bool {
        let is_sync = ["exchangeActiveSync", "easSupported"].iter().any(|kind| has(&self.clients, kind));
        let is_wide = self.guests.is_some() || has(&self.users.include, "GuestsOrExternalUsers");
        is_sync && (is_wide || !self.roles.include.is_empty())
    }
}

fn push(reasons: &mut Vec<Reason>, list: &'static str, value: &str, truth: Truth) {
    if truth != Truth::No {
        reasons.push(Reason { list, value: value.to_owned(), truth });
    }
}

fn users(person: &Person, list: &[String], name: &'static str, reasons: &mut Vec<Reason>) {
    let Identity::User { external, is_agent, .. } = &person.identity else { return };
    for value in list {
        let truth = match value.as_str() {
            "None" => Truth::No,
            // What agents are as users is a scope of its own; no page says whether this is another.
            "All" if *is_agent => Truth::Depends,
            "AllAgentIdUsers" => (*is_agent).into(),
            "All" => Truth::Yes,
            "GuestsOrExternalUsers" => match external {
                External::Internal => Truth::No,
                External::Unknown => Truth::Depends,
                _ => Truth::Yes,
            },
            id if id.eq_ignore_ascii_case(&person.id) => Truth::Yes,
            word if is_word(word) => Truth::Depends,
            _ => Truth::No,
        };
        push(reasons, name, value, truth);
    }
}

/// Groups or roles, of which each counts for `most` at most.
fn held(
    (of, most): (&BTreeMap<String, Truth>, Truth),
    choice: &Choice,
    names: (&'static str, &'static str),
    included: &mut Vec<Reason>,
    excluded: &mut Vec<Reason>,
) {
    for (list, name, reasons) in [(&choice.include, names.0, included), (&choice.exclude, names.1, excluded)] {
        for id in list {
            let truth = match id.as_str() {
                "All" | "None" => Truth::from(id == "All" && !of.is_empty()),
                id => match of.get(&id.to_lowercase()) {
                    Some(truth) => (*truth).min(most),
                    None if is_word(id) => Truth::Depends,
                    None => Truth::No,
                },
            };
            push(reasons, name, id, truth);
        }
    }
}

fn guests(person: &Person, guests: Option<&Guests>, name: &'static str, reasons: &mut Vec<Reason>) {
    let (Some(guests), Identity::User { external, home, .. }) = (guests, &person.identity) else { return };
    let kind = match external {
        External::Internal => return,
        External::LocalGuest => Some("internalGuest"),
        External::Guest => Some("b2bCollaborationGuest"),
        External::Member => Some("b2bCollaborationMember"),
        External::Unknown => None,
    };
    const KNOWN: [&str; 6] = [
        "internalGuest",
        "b2bCollaborationGuest",
        "b2bCollaborationMember",
        "b2bDirectConnectUser",
        "otherExternalUser",
        "serviceProvider",
    ];
    let is_strange = guests.kinds.iter().any(|kind| !has(&KNOWN.map(str::to_owned), kind));
    // A policy for direct connect also holds for collaboration users in Teams and SharePoint who may connect directly.
    let connects = has(&guests.kinds, "b2bDirectConnectUser") && matches!(external, External::Guest | External::Member);
    let of_kind = match kind {
        Some(kind) if has(&guests.kinds, kind) => Truth::Yes,
        Some(_) if is_strange || connects => Truth::Depends,
        Some(_) => Truth::No,
        None => Truth::Depends,
    };
    let of_tenant = match (&guests.tenants, home) {
        (None, _) => Truth::Yes,
        (Some(tenants), Some(home)) if !tenants.is_empty() => has(tenants, home).into(),
        _ => Truth::Depends,
    };
    push(reasons, name, &guests.kinds.join(", "), of_kind.min(of_tenant));
}

fn principals(
    (person, blueprints): (&Person, &[String]),
    choice: &Choice,
    names: (&'static str, &'static str),
    in_scope: Truth,
    included: &mut Vec<Reason>,
    excluded: &mut Vec<Reason>,
) {
    for (list, name, reasons) in [(&choice.include, names.0, included), (&choice.exclude, names.1, excluded)] {
        for value in list {
            let truth = match value.as_str() {
                "None" => Truth::No,
                "All" | "ServicePrincipalsInMyTenant" => in_scope,
                id if id.eq_ignore_ascii_case(&person.id) => in_scope,
                // Whether a blueprint stands for the agents made from it, no page says.
                id if has(blueprints, id) => Truth::Depends,
                word if is_word(word) => Truth::Depends,
                _ => Truth::No,
            };
            push(reasons, name, value, truth);
        }
    }
}
