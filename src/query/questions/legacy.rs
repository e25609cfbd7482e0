//! Question 28: whether legacy authentication and weak methods were blocked.
//!
//! Must never know: whom a policy covers one by one.
//!
//! Security defaults block legacy protocols (learn.microsoft.com/entra/fundamentals/security-defaults). A policy does so by blocking
//! their clients, or by asking for what those can't do: several factors, or the state of a device
//! (learn.microsoft.com/entra/identity/conditional-access/concept-conditional-access-conditions, "Client apps"). Until the migration of
//! the authentication methods policy is complete, what older policies of multifactor authentication and password reset allow is
//! allowed as well (learn.microsoft.com/graph/api/resources/authenticationmethodspolicy, `policyMigrationState`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::policy_history::add_stretch;
use super::rows::{Row, count_by, sort};
use super::{Ability, Asking, Question, Span, Table};
use crate::canonical::Key;
use crate::query::access::{Held, Said};
use crate::query::conditional_access::{Policy, State, Truth};
use crate::query::{Certainty, QueryError};

/// Legacy authentication and weak methods.
pub const LEGACY: Question = Question {
    number: 28,
    name: "legacy-and-weak-methods",
    title: "Were legacy authentication and weak methods blocked?",
    description: "One row for each enabled policy that keeps out clients of the old protocols (`exchangeActiveSync`, `other`), by blocking them \
                  or by asking for what they can't do, with whom it names and what limits it, one for security defaults, one for each \
                  method of the authentication methods policy with its state and whom it is for, and one for the state of its \
                  migration from older policies. In the totals a kind is blocked for everybody if one policy or security defaults \
                  surely do that without exclusions; null where nobody can say. Calls and text messages are the methods that are \
                  called weak here.",
    version: 2,
    span: Span::Instant,
    parameters: &[],
    needs: &[
        "conditionalAccessPolicy",
        "authenticationMethodsPolicy",
        "identitySecurityDefaultsEnforcementPolicy",
        "directoryAudit",
    ],
    ability: Ability::Answered(|asking| Box::pin(legacy(asking))),
};

/// The kinds of client that speak old protocols.
const OLD: [&str; 2] = ["exchangeActiveSync", "other"];

/// Methods that can be taken over with a telephone number
/// (learn.microsoft.com/entra/identity/authentication/concept-authentication-phone-options advises against them).
const WEAK: [&str; 2] = ["sms", "voice"];

/// By kind of client, what is known of its being blocked for everybody, and how many policies block it for some.
#[derive(Default)]
struct Blocked(BTreeMap<&'static str, (Truth, u64)>);

impl Blocked {
    fn add(&mut self, kind: &'static str, is_whole: Truth) {
        let (truth, partly) = self.0.entry(kind).or_default();
        *truth = (*truth).max(is_whole);
        *partly += u64::from(is_whole == Truth::No);
    }

    /// `true`, `false`, or null. Several policies that each block it for some may block it for everybody.
    fn total(&self, kind: &str) -> Value {
        match self.0.get(kind) {
            Some((Truth::Yes, _)) => true.into(),
            Some((Truth::Depends, _)) => Value::Null,
            Some((Truth::No, partly)) if *partly > 1 => Value::Null,
            _ => false.into(),
        }
    }
}

async fn legacy(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let mut blocked = Blocked::default();
    let (mut rows, mut partly) = (Vec::new(), BTreeSet::new());
    for said in asking.access.policies().await? {
        let Some((row, is_whole)) = policy_row(asking, &said, &mut blocked).await? else { continue };
        rows.push(row);
        if is_whole != Truth::Yes {
            partly.insert(said.key);
        }
    }
    for (key, id) in asking.access.ever("identitySecurityDefaultsEnforcementPolicy")? {
        for said in asking.access.facts.said(id, &key, |content| content["isEnabled"].as_bool()).await? {
            if said.what {
                let is_whole = if is_sure(asking, &said.held) { Truth::Yes } else { Truth::Depends };
                OLD.iter().for_each(|kind| blocked.add(kind, is_whole));
            }
            let mut row = Row::new();
            row.insert("kind".to_owned(), "security defaults".into());
            row.insert("name".to_owned(), "Security defaults".into());
            row.insert("setting".to_owned(), "blocks exchangeActiveSync, other".into());
            row.insert("state".to_owned(), if said.what { "enabled" } else { "disabled" }.into());
            row.insert("for".to_owned(), "everybody".into());
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
    }
    let mut notes = Vec::new();
    let weak = methods(asking, &mut rows).await?;
    let migration = migration(asking, &mut rows).await?;
    let is_migrated = migration.iter().all(|state| state == "migrationComplete") && !migration.is_empty();
    if !is_migrated {
        notes.push(
            "The migration of the authentication methods policy isn't complete, or nobody can say: methods that older policies of \
             multifactor authentication and password reset allow may be used too, and those policies are told by no interface."
                .to_owned(),
        );
    }
    sort(&mut rows, &["kind", "name", "since"]);
    let mut totals = Row::new();
    for kind in OLD {
        totals.insert(format!("{kind}_blocked_for_everybody"), blocked.total(kind));
    }
    totals.insert("limited_policies".to_owned(), partly.len().into());
    totals.insert("weak_methods_enabled".to_owned(), weak.into_iter().collect::<Vec<_>>().into());
    totals.insert("migration".to_owned(), migration.into_iter().collect::<Vec<_>>().into());
    totals.insert("rows_by_kind".to_owned(), count_by(&rows, "kind"));
    const COLUMNS: &[&str] =
        &["kind", "name", "setting", "state", "for", "excludes", "limits", "since", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, notes, is_incomplete: !is_migrated })
}

/// Whether something surely held at the instant; what changed in the gap may not have.
fn is_sure(asking: &Asking<'_>, held: &Held) -> bool {
    asking.access.sure(held) == Some(Certainty::Observed)
}

/// A row for a policy that keeps old clients out, and whether it surely does that for everybody; `None` for another.
async fn policy_row(
    asking: &Asking<'_>,
    said: &Said<Policy>,
    blocked: &mut Blocked,
) -> Result<Option<(Row, Truth)>, QueryError> {
    let policy = &said.what;
    let stops = policy.controls.stops_old_clients();
    let is_all = policy.clients.is_empty() || names(&policy.clients, "all");
    let old: Vec<&'static str> = OLD.into_iter().filter(|kind| is_all || names(&policy.clients, kind)).collect();
    let is_off = matches!(policy.state, State::Disabled | State::ReportOnly);
    if is_off || stops == Truth::No || old.is_empty() {
        return Ok(None);
    }
    let mut limits = policy.limits();
    limits.retain(|limit| limit != "clientAppTypes");
    let is_strange = limits.iter().all(|limit| policy.unknown_conditions.contains(limit)) && !limits.is_empty();
    let is_limited = !limits.is_empty() && !is_strange;
    limits.extend(policy.unknown_who.iter().cloned());
    let lists = [
        ("excludeUsers", &policy.users.exclude),
        ("excludeGroups", &policy.groups.exclude),
        ("excludeRoles", &policy.roles.exclude),
    ];
    let ids = lists.iter().flat_map(|(list, ids)| ids.iter().map(move |id| format!("{list} {id}")));
    let guests = policy.excluded_guests.iter();
    let guests = guests.map(|guests| format!("excludeGuestsOrExternalUsers {}", guests.kinds.join(", ")));
    let excludes: Vec<String> = ids.chain(guests).collect();
    let is_known = is_sure(asking, &said.held) && policy.state == State::Enabled && policy.unknown_who.is_empty();
    let is_whole = match policy.includes_everybody() && excludes.is_empty() && !is_limited {
        false => Truth::No,
        true if !is_known || is_strange => Truth::Depends,
        true => stops,
    };
    old.iter().for_each(|kind| blocked.add(kind, is_whole));
    let kinds = old.join(", ");
    let setting = match policy.controls.blocks() {
        true => format!("blocks {kinds}"),
        false => format!("can't be satisfied by {kinds}: {}", policy.controls.grant_words()),
    };
    let mut row = Row::new();
    row.insert("kind".to_owned(), "policy".into());
    row.insert("name".to_owned(), policy.name.as_str().into());
    row.insert("setting".to_owned(), setting.into());
    row.insert("state".to_owned(), policy.state.as_str().into());
    row.insert("for".to_owned(), if policy.includes_everybody() { "everybody" } else { "some" }.into());
    row.insert("excludes".to_owned(), excludes.into());
    row.insert("limits".to_owned(), limits.into());
    add_stretch(asking, &mut row, &said.key, &said.held).await?;
    Ok(Some((row, is_whole)))
}

fn names(list: &[String], word: &str) -> bool {
    list.iter().any(|own| own.eq_ignore_ascii_case(word))
}

/// The methods policy, with its number; there is one.
fn methods_policy(asking: &Asking<'_>) -> Result<Option<(Key, u32)>, QueryError> {
    Ok(asking.access.ever("authenticationMethodsPolicy")?.into_iter().next())
}

/// A row for each method as it was, or may have been; the weak ones that were enabled.
async fn methods(asking: &Asking<'_>, rows: &mut Vec<Row>) -> Result<BTreeSet<String>, QueryError> {
    let facts = &asking.access.facts;
    let mut weak = BTreeSet::new();
    let Some((key, id)) = methods_policy(asking)? else { return Ok(weak) };
    let named = |content: &Value| -> BTreeSet<String> {
        let all = content["authenticationMethodConfigurations"].as_array().into_iter().flatten();
        all.filter_map(|method| method["id"].as_str().map(str::to_owned)).collect()
    };
    let all = facts.said(id, &key, |content| Some(named(content))).await?;
    let all: BTreeSet<String> = all.into_iter().flat_map(|said| said.what).collect();
    for name in &all {
        let own = |content: &Value| {
            let all = content["authenticationMethodConfigurations"].as_array()?;
            all.iter().find(|method| method["id"] == name.as_str()).cloned()
        };
        for said in facts.said(id, &key, own).await? {
            let method = &said.what;
            let targets = |list: &str| -> Vec<String> {
                let all = method[list].as_array().into_iter().flatten();
                all.filter_map(|target| target["id"].as_str().map(str::to_owned)).collect()
            };
            let mut row = Row::new();
            row.insert("kind".to_owned(), "method".into());
            row.insert("name".to_owned(), name.as_str().into());
            let is_weak = WEAK.contains(&name.to_lowercase().as_str());
            row.insert("setting".to_owned(), if is_weak { "weak method" } else { "method" }.into());
            row.insert("state".to_owned(), method["state"].clone());
            row.insert("for".to_owned(), targets("includeTargets").into());
            row.insert("excludes".to_owned(), targets("excludeTargets").into());
            if is_weak && method["state"] == "enabled" {
                weak.insert(name.clone());
            }
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
    }
    Ok(weak)
}

/// A row for the state of the migration from older policies, and the states there may have been.
async fn migration(asking: &Asking<'_>, rows: &mut Vec<Row>) -> Result<BTreeSet<String>, QueryError> {
    let mut states = BTreeSet::new();
    let Some((key, id)) = methods_policy(asking)? else { return Ok(states) };
    let state = |content: &Value| Some(content["policyMigrationState"].as_str().map(str::to_owned));
    for said in asking.access.facts.said(id, &key, state).await? {
        let mut row = Row::new();
        row.insert("kind".to_owned(), "migration".into());
        row.insert("name".to_owned(), "Authentication methods policy".into());
        let respects = match said.what.as_deref() {
            Some("migrationComplete") => "older policies are ignored",
            Some("preMigration" | "premigration" | "migrationInProgress") => "older policies are respected",
            _ => "whether older policies are respected isn't told",
        };
        row.insert("setting".to_owned(), respects.into());
        row.insert("state".to_owned(), said.what.clone().into());
        add_stretch(asking, &mut row, &key, &said.held).await?;
        rows.push(row);
        states.insert(said.what.unwrap_or_else(|| "not told".to_owned()));
    }
    Ok(states)
}
