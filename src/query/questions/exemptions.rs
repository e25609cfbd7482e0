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
    version: 2,
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
                  user is covered the verdict is depends. The totals count all users; `state` is `not there` where there was no such \
                  policy then.",
    version: 2,
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
        let mut reasons = Reasons::new(asking, said, id, &assignments);
        let mut counts: BTreeMap<Verdict, u64> = BTreeMap::new();
        for (id, user) in &users {
            let variants = asking.access.variants(*id, user).await?;
            let Some(person) = assignments.person(user, &variants) else { continue };
            let coverage = said.what.covers(&person);
            *counts.entry(coverage.verdict).or_default() += 1;
            if matches!(coverage.verdict, Verdict::Excluded | Verdict::Depends) {
                rows.extend(reasons.rows(*id, user, &coverage, rows.len()).await?);
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
    if stretches.is_empty() {
        totals.insert("users".to_owned(), users.len().into());
        totals.insert("state".to_owned(), "not there".into());
        notes.push("There was no such policy then: nobody was covered by it, and nobody exempt.".to_owned());
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

/// Rows for those who are exempt from one policy, or may be. What is the same for all of them is looked up once.
struct Reasons<'a> {
    asking: &'a Asking<'a>,
    said: &'a Said<Policy>,
    id: u32,
    assignments: &'a Assignments,
    /// By list and value: when it stood there, and what rows say of that.
    listings: BTreeMap<(&'static str, String), Vec<(Held, Row)>>,
}

impl<'a> Reasons<'a> {
    fn new(asking: &'a Asking<'a>, said: &'a Said<Policy>, id: u32, assignments: &'a Assignments) -> Self {
        Reasons { asking, said, id, assignments, listings: BTreeMap::new() }
    }

    /// A row for each reason for which somebody is exempt, or may be. `told` rows were made before.
    async fn rows(&mut self, id: u32, who: &Key, coverage: &Coverage, told: usize) -> Result<Vec<Row>, QueryError> {
        let asking = self.asking;
        let mut rows = Vec::new();
        let included = coverage.included.iter().filter(|_| coverage.verdict == Verdict::Depends);
        for reason in coverage.excluded.iter().chain(included) {
            let mut base = asking.who(who).await?;
            base.insert("policy".to_owned(), self.said.key.as_str().into());
            base.insert("policy_name".to_owned(), self.said.what.name.as_str().into());
            base.insert("verdict".to_owned(), coverage.verdict.as_str().into());
            base.insert("list".to_owned(), reason.list.into());
            base.insert("value".to_owned(), reason.value.as_str().into());
            base.insert("value_name".to_owned(), value_name(asking, reason)?.into());
            let ways = self.assignments.of(&reason.value, who);
            let is_guest = reason.list.contains("Guests") || reason.value == "GuestsOrExternalUsers";
            for (held, origin) in self.listing(reason).await? {
                if is_guest {
                    rows.extend(as_guest(asking, &base, (id, who), held, origin).await?);
                } else if ways.is_empty() {
                    let mut row = base.clone();
                    row.insert("path".to_owned(), "direct".into());
                    let certainty = asking.access.sure(held).map(|certainty| certainty.as_str());
                    row.insert("certainty".to_owned(), certainty.into());
                    add_listing(&mut row, origin);
                    rows.push(row);
                }
                for access in ways {
                    rows.extend(through(asking, &base, access, (held, origin), told + rows.len()).await?);
                }
            }
        }
        Ok(rows)
    }

    /// When a value stood in a list of the policy, and who put it there.
    async fn listing(&mut self, reason: &Reason) -> Result<&[(Held, Row)], QueryError> {
        let place = (reason.list, reason.value.clone());
        if !self.listings.contains_key(&place) {
            let stands = |content: &serde_json::Value| {
                Policy::read(content).filter(|own| own.lists(reason.list, &reason.value)).map(|_| ())
            };
            let mut found = Vec::new();
            for said in self.asking.access.facts.said(self.id, &self.said.key, stands).await? {
                let mut origin = Row::new();
                add_origin(self.asking, &mut origin, &self.said.key, &said.held, Turn::Changed).await?;
                found.push((said.held, origin));
            }
            self.listings.insert(place.clone(), found);
        }
        Ok(&self.listings[&place])
    }
}

/// Since when a value stood in the list, and who put it there.
fn add_listing(row: &mut Row, origin: &Row) {
    for name in ["since", "since_after", "until"] {
        row.insert(name.to_owned(), origin.get(name).cloned().unwrap_or_default());
    }
    row.insert("exempted_by".to_owned(), origin.get("changed_by").cloned().unwrap_or_default());
}

/// A row for each stretch in which guests were exempt and somebody was one.
async fn as_guest(
    asking: &Asking<'_>,
    base: &Row,
    (id, who): (u32, &Key),
    listed: &Held,
    origin: &Row,
) -> Result<Vec<Row>, QueryError> {
    let mut rows = Vec::new();
    for was in asking.access.times_as_guest(id, who).await? {
        let Some(both) = listed.and(was) else { continue };
        let Some(certainty) = asking.access.sure(&both) else { continue };
        let mut row = base.clone();
        row.insert("path".to_owned(), "as a guest".into());
        row.insert("certainty".to_owned(), certainty.as_str().into());
        if listed.from > was.from || both.is_open {
            add_listing(&mut row, origin);
        } else {
            // They became one after the policy came to exclude guests.
            let mut became = Row::new();
            add_origin(asking, &mut became, who, &was, Turn::Changed).await?;
            add_listing(&mut row, &became);
        }
        asking.add_times(&mut row, &both)?;
        rows.push(row);
    }
    Ok(rows)
}

/// A row for a membership or role by which somebody was exempt, as long as it stood in the list.
async fn through(
    asking: &Asking<'_>,
    base: &Row,
    access: &Access,
    (held, origin): (&Held, &Row),
    told: usize,
) -> Result<Option<Row>, QueryError> {
    let both = held.and(access.held).and_then(|both| asking.access.narrowed(access, both));
    let Some(mut both) = both else { return Ok(None) };
    if asking.access.sure(held) == Some(Certainty::Observed) {
        // What the log tells of the membership stays told.
        both.certainty = access.certainty;
    }
    let mut row = base.clone();
    asking.add_path(&mut row, &both)?;
    add_through(asking, &mut row, access, told).await?;
    if held.from > access.held.from {
        // The policy came to exclude the group after the account came into it.
        row.insert("exempted_by".to_owned(), origin.get("changed_by").cloned().unwrap_or_default());
    }
    Ok(Some(row))
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
    let named: Vec<&Policy> = guards.iter().map(|said| &said.what).collect();
    let assignments = asking.access.assignments(&named).await?;
    for said in &guards {
        let Some(id) = asking.archive.view().id(&said.key)? else { continue };
        let mut reasons = Reasons::new(asking, said, id, &assignments);
        for user in candidates(asking, &said.what, &assignments)? {
            let Some(number) = asking.archive.view().id(&user)? else { continue };
            let variants = asking.access.variants(number, &user).await?;
            let Some(person) = assignments.person(&user, &variants) else { continue };
            let coverage = said.what.covers(&person);
            if !matches!(coverage.verdict, Verdict::Excluded | Verdict::Depends) || coverage.excluded.is_empty() {
                continue;
            }
            let Some(roles) = powers.get(&user) else {
                without_role.insert(user);
                continue;
            };
            exempt.entry(user.clone()).or_default().insert(said.key.clone());
            let found = reasons.rows(number, &user, &coverage, rows.len()).await?;
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
