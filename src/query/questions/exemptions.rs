//! Questions 6 and 23: who is exempt from policies, by which exclusion, and which of them are administrators.
//!
//! Must never know: to which sign-ins a policy applies.

use std::collections::{BTreeMap, BTreeSet};

use super::privileged;
use super::rows::{Row, count_by, count_distinct, sort};
use super::settings::add_origin;
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::canonical::Key;
use crate::query::access::{Access, Assignments, Held, Power, Said};
use crate::query::conditional_access::{Coverage, Policy, Reason, State, Verdict};
use crate::query::power::is_privileged_role;
use crate::query::{Certainty, QueryError, Turn};

const NEEDS: &[&str] = &[
    "conditionalAccessPolicy",
    "user",
    "group",
    "unifiedRoleDefinition",
    "unifiedRoleAssignment",
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleEligibilitySchedule",
    "directoryAudit",
];

/// Break-glass accounts.
pub const BREAK_GLASS: Question = Question {
    number: 6,
    name: "break-glass",
    title: "Which accounts were break-glass, and what excluded them from policy?",
    description: "One row for each exclusion, by its id, a group or a role, of an account that holds a privileged role or may activate it, \
                  from an enforced policy that covers everybody or a privileged role. `excluded_from` says from how many of those policies \
                  the account is exempt. Excluded accounts without such a role are counted only.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(break_glass(asking))),
};

/// Who was exempt from one policy.
pub const EXEMPTIONS: Question = Question {
    number: 23,
    name: "policy-exemptions",
    title: "Which users were exempt from a policy, by which exclusion, and since when?",
    description: "One row for each way in which a user was excluded whom the policy includes: by id, by a group with the groups between, by \
                  a role, or as a guest. `since` is when both the exclusion and the membership held. Where it can't be told whether a \
                  user is covered the verdict is depends. The totals count all users.",
    version: 1,
    span: Span::Instant,
    parameters: &[Parameter {
        name: "policy",
        kind: ParameterKind::Object(&["conditionalAccessPolicy"]),
        default: None,
        description: "the Conditional Access policy by name or id",
    }],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(exemptions(asking))),
};

/// Rows for each of which the audit log is looked through.
const MOST_GIVERS: usize = 2000;

async fn exemptions(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (key, id) = asking.object("policy").expect("the parameter has to be given");
    let facts = &asking.access.facts;
    let stretches = facts.said(id, key, Policy::read).await?;
    let users = facts.objects("user")?;
    let mut rows = Vec::new();
    let mut totals = Row::new();
    let mut notes = Vec::new();
    for (place, said) in stretches.iter().enumerate() {
        let assignments = asking.access.assignments(&[&said.what]).await?;
        let mut counts: BTreeMap<Verdict, u64> = BTreeMap::new();
        for (id, user) in &users {
            let content = facts.content_at_end(*id, user).await?;
            let Some(person) = assignments.person(user, content.as_deref()) else { continue };
            let coverage = said.what.covers(&person);
            *counts.entry(coverage.verdict).or_default() += 1;
            if matches!(coverage.verdict, Verdict::Excluded | Verdict::Depends) {
                rows.extend(
                    reasons(asking, said, id_of(said, asking)?, user, &coverage, &assignments, rows.len()).await?,
                );
            }
        }
        // Where the policy changed in the gap, the totals are those of what it said at its beginning.
        if place == 0 {
            for (name, verdict) in [
                ("covered", Verdict::Covered),
                ("exempt", Verdict::Excluded),
                ("not_targeted", Verdict::NotTargeted),
                ("depends", Verdict::Depends),
            ] {
                totals.insert(name.to_owned(), counts.get(&verdict).copied().unwrap_or(0).into());
            }
            totals.insert("users".to_owned(), users.len().into());
            totals.insert("state".to_owned(), said.what.state.as_str().into());
        }
        if !said.what.unknown_who.is_empty() {
            notes.push(format!("Not judged, so that it depends: {}.", said.what.unknown_who.join(", ")));
        }
    }
    if stretches.len() > 1 {
        notes.push(
            "The policy changed within the gap in which the instant lies: rows are of all that it may have said."
                .to_owned(),
        );
    }
    sort(&mut rows, &["verdict", "list", "value_name", "name", "subject", "path", "since"]);
    rows.dedup();
    totals.insert("rows_by_list".to_owned(), count_by(&rows, "list"));
    const COLUMNS: &[&str] = &[
        "name",
        "sign_in",
        "kind",
        "status",
        "verdict",
        "list",
        "value_name",
        "path",
        "since",
        "exempted_by",
        "certainty",
    ];
    Ok(Table { columns: COLUMNS, rows, totals, notes, ..Table::default() })
}

fn id_of(said: &Said<Policy>, asking: &Asking<'_>) -> Result<u32, QueryError> {
    Ok(asking.archive.view().id(&said.key)?.expect("what said something has a number"))
}

/// A row for each reason for which somebody is exempt, or may be.
async fn reasons(
    asking: &Asking<'_>,
    said: &Said<Policy>,
    id: u32,
    who: &Key,
    coverage: &Coverage,
    assignments: &Assignments,
    told: usize,
) -> Result<Vec<Row>, QueryError> {
    let mut rows = Vec::new();
    let included = coverage.included.iter().filter(|_| coverage.verdict == Verdict::Depends);
    for reason in coverage.excluded.iter().chain(included) {
        let listed = listing(asking, &said.key, id, reason).await?;
        let ways = assignments.of(&reason.value, who);
        for held in &listed {
            let mut base = asking.who(who).await?;
            base.insert("policy".to_owned(), said.key.as_str().into());
            base.insert("policy_name".to_owned(), said.what.name.as_str().into());
            base.insert("verdict".to_owned(), coverage.verdict.as_str().into());
            base.insert("list".to_owned(), reason.list.into());
            base.insert("value".to_owned(), reason.value.as_str().into());
            base.insert("value_name".to_owned(), value_name(asking, reason)?.into());
            if ways.is_empty() {
                base.insert("path".to_owned(), "direct".into());
                let certainty = asking.access.sure(held).map(|certainty| certainty.as_str());
                base.insert("certainty".to_owned(), certainty.into());
                add_origin(asking, &mut base, &said.key, held, Turn::Changed).await?;
                let by = base.remove("changed_by");
                base.insert("exempted_by".to_owned(), by.unwrap_or_default());
                rows.push(base);
                continue;
            }
            for access in ways {
                let both = held.and(access.held).and_then(|both| asking.access.narrowed(access, both));
                let Some(mut both) = both else { continue };
                if asking.access.sure(held) == Some(Certainty::Observed) {
                    // What the log tells of the membership stays told.
                    both.certainty = access.certainty;
                }
                let mut row = base.clone();
                asking.add_path(&mut row, &both)?;
                add_through(asking, &mut row, access, told + rows.len()).await?;
                if held.from > access.held.from {
                    // The policy came to exclude the group after the account came into it.
                    let mut origin = Row::new();
                    add_origin(asking, &mut origin, &said.key, held, Turn::Changed).await?;
                    row.insert("exempted_by".to_owned(), origin.remove("changed_by").unwrap_or_default());
                }
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// The whole path with the group at its end, and who made the membership.
async fn add_through(asking: &Asking<'_>, row: &mut Row, access: &Access, told: usize) -> Result<(), QueryError> {
    let mut names = Vec::new();
    for key in access.path.iter().filter_map(|step| step.to.as_ref()) {
        names.push(asking.label(key)?.unwrap_or_else(|| key.to_string()));
    }
    if let Some(name) = row.get("value_name").and_then(|name| name.as_str())
        && matches!(access.power, Power::Role { .. })
    {
        names.push(name.to_owned());
    }
    row.insert("path".to_owned(), format!("through {}", names.join(", ")).into());
    if told < MOST_GIVERS {
        asking.add_givers(row, access).await?;
        let by = row.get("given_by").cloned().unwrap_or_default();
        row.insert("exempted_by".to_owned(), by);
    }
    Ok(())
}

/// When a value stood in a list of a policy.
async fn listing(asking: &Asking<'_>, key: &Key, id: u32, reason: &Reason) -> Result<Vec<Held>, QueryError> {
    let stands = |content: &serde_json::Value| {
        Policy::read(content).filter(|own| own.lists(reason.list, &reason.value)).map(|_| ())
    };
    let said = asking.access.facts.said(id, key, stands).await?;
    Ok(said.into_iter().map(|said| said.held).collect())
}

/// How what stands in a list is called.
pub(super) fn value_name(asking: &Asking<'_>, reason: &Reason) -> Result<String, QueryError> {
    let name = reason.key().map(|key| asking.label(&key)).transpose()?.flatten();
    Ok(name.unwrap_or_else(|| reason.value.clone()))
}

/// Whether a policy covers everybody, or some privileged role.
pub(super) async fn guards_administrators(asking: &Asking<'_>, policy: &Policy) -> Result<bool, QueryError> {
    if policy.includes_everybody() {
        return Ok(true);
    }
    for id in &policy.roles.include {
        let definition = asking.content(&Key::new("unifiedRoleDefinition", id)).await?;
        if is_privileged_role(id, definition.as_deref()) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn break_glass(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let mut guards = Vec::new();
    for said in asking.access.policies().await? {
        if said.what.state == State::Enabled && guards_administrators(asking, &said.what).await? {
            guards.push(said);
        }
    }
    let powers = powers(asking).await?;
    let mut rows = Vec::new();
    let mut without_role = BTreeSet::new();
    let mut exempt: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    for said in &guards {
        let assignments = asking.access.assignments(&[&said.what]).await?;
        for user in candidates(asking, &said.what, &assignments)? {
            let content = asking.content(&user).await?;
            let Some(person) = content.as_deref().and_then(|own| assignments.person(&user, Some(own))) else {
                continue;
            };
            let coverage = said.what.covers(&person);
            if !matches!(coverage.verdict, Verdict::Excluded | Verdict::Depends) || coverage.excluded.is_empty() {
                continue;
            }
            let Some(roles) = powers.get(&user) else {
                without_role.insert(user);
                continue;
            };
            exempt.entry(user.clone()).or_default().insert(said.key.clone());
            let found = reasons(asking, said, id_of(said, asking)?, &user, &coverage, &assignments, rows.len()).await?;
            for mut row in found {
                row.insert("roles".to_owned(), roles.iter().cloned().collect::<Vec<_>>().into());
                rows.push(row);
            }
        }
    }
    let policies: BTreeSet<&Key> = guards.iter().map(|said| &said.key).collect();
    for row in &mut rows {
        let subject: Option<Key> = row["subject"].as_str().and_then(|key| key.parse().ok());
        let count = subject.and_then(|key| exempt.get(&key)).map_or(0, BTreeSet::len);
        row.insert("excluded_from".to_owned(), format!("{count} of {}", policies.len()).into());
    }
    rows.retain(|row| row["list"].as_str().is_some_and(|list| list.starts_with("exclude")));
    sort(&mut rows, &["name", "subject", "policy_name", "policy", "list", "value_name", "path", "since"]);
    rows.dedup();
    let mut totals = Row::new();
    totals.insert("accounts".to_owned(), count_distinct(&rows, "subject"));
    totals.insert("policies".to_owned(), policies.len().into());
    totals.insert("excluded_without_role".to_owned(), without_role.len().into());
    let everywhere = exempt.values().filter(|own| own.len() == policies.len()).count();
    totals.insert("excluded_from_all".to_owned(), everywhere.into());
    const COLUMNS: &[&str] = &[
        "name",
        "sign_in",
        "status",
        "roles",
        "policy_name",
        "list",
        "value_name",
        "path",
        "since",
        "exempted_by",
        "excluded_from",
        "certainty",
    ];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}

/// The privileged roles of everybody who holds one or may activate it, in words.
async fn powers(asking: &Asking<'_>) -> Result<BTreeMap<Key, BTreeSet<String>>, QueryError> {
    let mut powers: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for access in privileged::holders(asking).await? {
        let Power::Role { form, .. } = &access.power else { continue };
        let words = asking.archive.power_words(&access.power, asking.end.capture.seq)?;
        let name = format!("{} ({})", words.name.unwrap_or(words.target), form.as_str());
        powers.entry(access.subject.clone()).or_default().insert(name);
    }
    Ok(powers)
}

/// Users whom a policy names in an exclusion, by id, group or role.
fn candidates(asking: &Asking<'_>, policy: &Policy, assignments: &Assignments) -> Result<BTreeSet<Key>, QueryError> {
    let mut found = BTreeSet::new();
    for id in &policy.users.exclude {
        found.extend(asking.access.facts.object(id, &["user"])?.map(|(_, key)| key));
    }
    asking.access.facts.rest_on("user", None);
    for id in policy.groups.exclude.iter().chain(&policy.roles.exclude) {
        found.extend(assignments.all_of(id).filter(|key| key.collection() == "user").cloned());
    }
    Ok(found)
}
