//! Question 25: whether something forced administrators to multifactor authentication all the time.
//!
//! Must never know: to which sign-ins of theirs a policy applies, beyond whether it applies to all.
//!
//! Security defaults ask administrators for multifactor authentication at every sign-in
//! (learn.microsoft.com/entra/fundamentals/security-defaults). A policy is held against everybody who holds Global Administrator at
//! that time, with their groups of that time: whom a policy names by a group and whom it excludes is told from that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::policy_history::add_stretch;
use super::rows::{Row, count_by, count_distinct, sort};
use super::stretches::{Stretch, any_at, bounds, joined};
use super::{Ability, Asking, Question, Span, Table};
use crate::archive::entry::Status;
use crate::canonical::Key;
use crate::query::QueryError;
use crate::query::access::{Access, Held};
use crate::query::conditional_access::{Controls, External, Identity, Person, Policy, State, Truth, Verdict};
use crate::query::power::is_privileged_role;

/// Whether administrators were forced.
pub const ADMINISTRATORS: Question = Question {
    number: 25,
    name: "administrators-without-mfa",
    title: "Was there any time at which no enabled policy forced multifactor authentication on administrators?",
    description: "One row for each stretch in which an enabled policy, or security defaults, asked administrators for multifactor \
                  authentication or a strength that means it, and one for each time in which none of them forced any holder of Global \
                  Administrator (`gap`) or nobody can say (`unknown`: it changed between two captures and the audit log doesn't tell \
                  when, it wasn't read, or nobody has looked since). A policy counts if it covers a holder of that role, or whoever \
                  holds it, at every application and without further conditions; `why_not` says what keeps one from that, and \
                  `administrators` how many of those who held the role meanwhile it covered all the time. While others were forced, \
                  a row `exempt` names each holder whom nothing forced, and when: break-glass accounts stand there.",
    version: 2,
    span: Span::Period,
    parameters: &[],
    needs: &[
        "conditionalAccessPolicy",
        "identitySecurityDefaultsEnforcementPolicy",
        "unifiedRoleDefinition",
        "unifiedRoleAssignment",
        "unifiedRoleAssignmentSchedule",
        "unifiedRoleAssignmentScheduleInstance",
        "group",
        "user",
        "directoryAudit",
    ],
    ability: Ability::Answered(|asking| Box::pin(administrators(asking))),
};

/// The template of Global Administrator.
const GLOBAL: &str = "62e90394-69f5-4237-9190-012177145e10";

/// What a policy asks of administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Guard {
    /// Whether it forces whom it covers.
    truth: Truth,
    covers: String,
    why_not: Vec<String>,
    grant: String,
    /// Whether it is for whoever holds the role, but for exclusions.
    is_general: bool,
    /// Whom it is for; what else it says is left out, so that nothing turns on it.
    who: Policy,
}

/// One that says so for a while.
struct Guarding {
    key: Key,
    guard: Guard,
    held: Held,
    stretch: Stretch,
    /// Of the holders whom it met, whether it surely covered them all the time.
    met: BTreeMap<usize, bool>,
}

/// Somebody who held the role.
struct Holder {
    key: Key,
    stretches: Vec<Stretch>,
    /// Who they are, whatever group they are in.
    person: Person,
    groups: BTreeMap<String, Vec<Stretch>>,
    roles: BTreeMap<String, Vec<Stretch>>,
}

/// What a policy asks of administrators; `None` where it asks nothing of anybody who could be one.
fn guard(policy: &Policy, privileged: &BTreeSet<String>) -> Option<Guard> {
    let truth = policy.controls.requires_mfa();
    if matches!(policy.state, State::Disabled | State::ReportOnly) || truth == Truth::No {
        return None;
    }
    let roles: Vec<String> = policy.roles.include.iter().map(|id| id.to_lowercase()).collect();
    let named = roles.iter().filter(|id| privileged.contains(*id) || is_privileged_role(id, None)).count();
    let lists = [&policy.users.include, &policy.groups.include];
    let some = policy.guests.is_some() || lists.iter().any(|list| list.iter().any(|id| id != "None"));
    let has_global = roles.iter().any(|id| id == GLOBAL);
    let covers = match (policy.includes_everybody(), named) {
        (true, _) => "everybody".to_owned(),
        (_, 0) if some => "some groups or users".to_owned(),
        (_, 0) => return None,
        (_, named) => format!("{named} privileged roles"),
    };
    let mut why_not = policy.limits();
    let is_general = policy.includes_everybody() || has_global;
    if !is_general && !some {
        why_not.push("not Global Administrator".to_owned());
    }
    if policy.roles.exclude.iter().any(|id| id.eq_ignore_ascii_case(GLOBAL)) {
        why_not.push("excludes Global Administrator".to_owned());
    }
    let unknown = &policy.unknown_conditions;
    let is_strange = matches!(policy.state, State::Other(_)) || !unknown.is_empty();
    let truth = match why_not.iter().all(|limit| unknown.contains(limit)) {
        false => Truth::No,
        // Words that aren't known may leave administrators out, or sign-ins of theirs.
        true if is_strange => Truth::Depends,
        true => truth,
    };
    if let State::Other(word) = &policy.state {
        why_not.push(format!("state {word}"));
    }
    why_not.extend(policy.unknown_who.iter().cloned());
    let who = Policy { name: String::new(), controls: Controls::default(), ..policy.clone() };
    Some(Guard { truth, covers, why_not, grant: policy.controls.grant_words(), is_general, who })
}

impl Guard {
    /// Whether it forces somebody.
    fn forces(&self, person: &Person) -> Truth {
        self.truth.min(match self.who.covers(person).verdict {
            Verdict::Covered => Truth::Yes,
            Verdict::Depends => Truth::Depends,
            Verdict::Excluded | Verdict::NotTargeted => Truth::No,
        })
    }

    /// Whether it forces whoever may hold the role, where nobody is known to.
    fn forces_anybody(&self) -> Truth {
        let who = &self.who;
        let lists = [&who.users.exclude, &who.groups.exclude, &who.roles.exclude];
        let is_plain = lists.iter().all(|list| list.is_empty()) && who.excluded_guests.is_none();
        let is_sure = self.is_general && is_plain && who.unknown_who.is_empty();
        self.truth.min(if is_sure { Truth::Yes } else { Truth::Depends })
    }
}

impl Holder {
    /// Who they are at a time, if they hold the role.
    fn at(&self, from: Timestamp, to: Timestamp) -> Person {
        let now = |all: &BTreeMap<String, Vec<Stretch>>| -> BTreeMap<String, Truth> {
            let truths = all.iter().map(|(id, stretches)| (id.clone(), any_at(stretches, from, to)));
            truths.filter(|(_, truth)| *truth != Truth::No).collect()
        };
        let mut person = Person { groups: now(&self.groups), roles: now(&self.roles), ..self.person.clone() };
        person.roles.insert(GLOBAL.to_owned(), Truth::Yes);
        person
    }
}

/// What is known of a time: whether somebody was forced, and of each holder who wasn't, whether that is sure.
struct Moment {
    forced: Truth,
    /// Whether anything was there that could force somebody.
    is_guarded: bool,
    exempt: BTreeMap<usize, bool>,
}

async fn administrators(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let mut policies = guards(asking).await?;
    let (defaults, mut rows) = security_defaults(asking).await?;
    let holders = holders(asking, &policies).await?;
    let window = asking.access.facts.window;
    let (begin, end) = window.asked.unwrap_or((window.begin.time, window.end.time));
    // After the last capture nobody has looked.
    let seen = if window.end_after == window.end.seq { window.end.time.clamp(begin, end) } else { end };
    let stretches = policies.iter().map(|one| &one.stretch).chain(&defaults);
    let of_holders = holders.iter().flat_map(|holder| {
        let maps = holder.groups.values().chain(holder.roles.values());
        holder.stretches.iter().chain(maps.flatten())
    });
    let mut bounds = bounds(stretches.chain(of_holders), begin, end);
    bounds.insert(seen);
    let bounds: Vec<Timestamp> = bounds.into_iter().collect();
    let mut moments = Vec::with_capacity(bounds.len());
    for pair in bounds.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let moment = judge(&mut policies, any_at(&defaults, from, to), &holders, from, to);
        moments.push((moment, from, to));
        tokio::task::consume_budget().await;
    }
    let (read, people_read) = (was_read(asking)?, were_people_read(asking)?);
    let mut gaps = Vec::new();
    for (moment, from, to) in &moments {
        let is_known = read && (people_read || !moment.is_guarded) && *to <= seen;
        let truth = if is_known { moment.forced } else { moment.forced.max(Truth::Depends) };
        gaps.push((truth, *from, *to));
    }
    let mut totals = add_gaps(&mut rows, joined(gaps.into_iter()));
    for guarding in &policies {
        rows.push(policy_row(asking, guarding).await?);
    }
    for (place, holder) in holders.iter().enumerate() {
        let own = moments.iter().filter_map(|(moment, from, to)| Some((*moment.exempt.get(&place)?, *from, *to)));
        for (is_sure, from, to) in joined(own.map(|(sure, from, to)| (sure && people_read && to <= seen, from, to))) {
            let mut row = asking.who(&holder.key).await?;
            row.insert("kind".to_owned(), "exempt".into());
            add_times(&mut row, from, to, if is_sure { "observed" } else { "unknown" });
            rows.push(row);
        }
    }
    sort(&mut rows, &["kind", "since", "name", "policy", "subject"]);
    totals.insert("administrators".to_owned(), holders.len().into());
    let exempt: Vec<Row> = rows.iter().filter(|row| row["kind"] == "exempt").cloned().collect();
    totals.insert("exempt".to_owned(), count_distinct(&exempt, "subject"));
    totals.insert("rows_by_kind".to_owned(), count_by(&rows, "kind"));
    let notes = vec![
        "What was switched off and on again between two captures that show it on is in the audit log alone.".to_owned(),
        "Administrators are those who held Global Administrator in the whole directory, assigned or activated."
            .to_owned(),
    ];
    const COLUMNS: &[&str] = &[
        "kind",
        "name",
        "covers",
        "grant",
        "counts",
        "administrators",
        "why_not",
        "since",
        "until",
        "changed_by",
        "certainty",
    ];
    Ok(Table { columns: COLUMNS, rows, totals, notes, ..Table::default() })
}

/// Judges the time between two bounds, and keeps with each policy whom of the holders it met.
fn judge(policies: &mut [Guarding], defaults: Truth, holders: &[Holder], from: Timestamp, to: Timestamp) -> Moment {
    let standing: Vec<(usize, Truth)> = policies
        .iter()
        .enumerate()
        .map(|(place, one)| (place, one.stretch.at(from, to)))
        .filter(|(_, stands)| *stands != Truth::No)
        .collect();
    let anybody = guarded(policies, &standing, |guard| guard.forces_anybody()).max(defaults);
    let is_guarded =
        defaults != Truth::No || standing.iter().any(|(place, _)| policies[*place].guard.truth != Truth::No);
    let (mut forced, mut has_holder, mut unforced) = (Truth::No, false, BTreeMap::new());
    for (number, holder) in holders.iter().enumerate() {
        let holds = any_at(&holder.stretches, from, to);
        if holds == Truth::No {
            continue;
        }
        has_holder |= holds == Truth::Yes;
        let person = holder.at(from, to);
        let own = guarded(policies, &standing, |guard| guard.forces(&person)).max(defaults);
        for (place, _) in &standing {
            let is_covered = policies[*place].guard.forces(&person) == Truth::Yes;
            *policies[*place].met.entry(number).or_insert(true) &= is_covered;
        }
        forced = forced.max(own.min(holds));
        if own != Truth::Yes {
            unforced.insert(number, own == Truth::No && holds == Truth::Yes);
        }
    }
    let forced = if has_holder { forced } else { anybody };
    let exempt = if forced == Truth::Yes { unforced } else { BTreeMap::new() };
    Moment { forced, is_guarded, exempt }
}

/// Whether one of the policies that stand forces somebody. Of a policy that changed meanwhile, both that it said count.
fn guarded(policies: &[Guarding], standing: &[(usize, Truth)], forces: impl Fn(&Guard) -> Truth) -> Truth {
    let mut best = Truth::No;
    let mut rest = standing;
    while let Some(((first, stands), _)) = rest.split_first() {
        let key = &policies[*first].key;
        let count = rest.iter().take_while(|(place, _)| policies[*place].key == *key).count();
        let (own, others) = rest.split_at(count);
        rest = others;
        let values: Vec<Truth> = own.iter().map(|(place, _)| forces(&policies[*place].guard)).collect();
        let follows = |pair: &[(usize, Truth)]| policies[pair[0].0].held.until == Some(policies[pair[1].0].held.from);
        let (least, most) = (values.iter().min().copied(), values.iter().max().copied());
        let value = match (least, most) {
            // It is one of them, and they say the same.
            (Some(least), Some(most)) if least == most && count > 1 && own.windows(2).all(follows) => least,
            (_, Some(most)) if count == 1 => most.min(*stands),
            // That which surely stands counts, where the log tells when one followed the other.
            (_, Some(most)) => {
                let sure =
                    own.iter().zip(&values).filter(|((_, stands), _)| *stands == Truth::Yes).map(|(_, value)| *value);
                sure.max().unwrap_or(most.min(Truth::Depends))
            }
            _ => Truth::No,
        };
        best = best.max(value);
    }
    best
}

/// Every stretch in which a policy asked something of somebody who could be an administrator.
async fn guards(asking: &Asking<'_>) -> Result<Vec<Guarding>, QueryError> {
    let facts = &asking.access.facts;
    let mut privileged = BTreeSet::new();
    for (id, key) in facts.objects("unifiedRoleDefinition")? {
        let content = facts.content_at_end(id, &key).await?;
        if is_privileged_role(&key.decoded_id(), content.as_deref()) {
            privileged.insert(key.decoded_id().to_lowercase());
        }
    }
    let mut found = Vec::new();
    for (key, id) in asking.access.ever("conditionalAccessPolicy")? {
        let read = |content: &Value| guard(&Policy::read(content)?, &privileged);
        for said in facts.said(id, &key, read).await? {
            let stretch = Stretch::said(asking, &key, &said.held).await?;
            found.push(Guarding { key: key.clone(), guard: said.what, held: said.held, stretch, met: BTreeMap::new() });
        }
    }
    Ok(found)
}

async fn policy_row(asking: &Asking<'_>, guarding: &Guarding) -> Result<Row, QueryError> {
    let Guarding { key, guard, held, met, .. } = guarding;
    let covered = met.values().filter(|is_covered| **is_covered).count();
    let counts = match met.is_empty() {
        true => guard.forces_anybody() == Truth::Yes,
        false => covered > 0,
    };
    let mut why_not = guard.why_not.clone();
    if !counts && guard.truth == Truth::Yes {
        why_not.push(match met.is_empty() {
            true => "nobody is known to hold Global Administrator".to_owned(),
            false => "surely covers no holder of Global Administrator all the time".to_owned(),
        });
    }
    let mut row = Row::new();
    row.insert("kind".to_owned(), "policy".into());
    row.insert("policy".to_owned(), key.as_str().into());
    row.insert("name".to_owned(), asking.label(key)?.into());
    row.insert("covers".to_owned(), guard.covers.as_str().into());
    row.insert("grant".to_owned(), guard.grant.as_str().into());
    row.insert("counts".to_owned(), counts.into());
    if !met.is_empty() && guard.truth != Truth::No {
        row.insert("administrators".to_owned(), format!("{covered} of {}", met.len()).into());
    }
    row.insert("why_not".to_owned(), why_not.into());
    add_stretch(asking, &mut row, key, held).await?;
    Ok(row)
}

/// When security defaults were on, and a row for each such time.
async fn security_defaults(asking: &Asking<'_>) -> Result<(Vec<Stretch>, Vec<Row>), QueryError> {
    let (mut stretches, mut rows) = (Vec::new(), Vec::new());
    for (key, id) in asking.access.ever("identitySecurityDefaultsEnforcementPolicy")? {
        let on = |content: &Value| (content["isEnabled"] == true).then_some(());
        for said in asking.access.facts.said(id, &key, on).await? {
            let mut row = Row::new();
            row.insert("kind".to_owned(), "security defaults".into());
            row.insert("name".to_owned(), "Security defaults".into());
            row.insert("covers".to_owned(), "administrators".into());
            row.insert("counts".to_owned(), true.into());
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
            stretches.push(Stretch::said(asking, &key, &said.held).await?);
        }
    }
    Ok((stretches, rows))
}

/// The users who held the role at some time of the period, with what policies ask of them.
async fn holders(asking: &Asking<'_>, policies: &[Guarding]) -> Result<Vec<Holder>, QueryError> {
    let named: Vec<&Policy> = policies.iter().map(|one| &one.guard.who).collect();
    let mut by_user: BTreeMap<Key, Vec<Stretch>> = BTreeMap::new();
    for access in asking.access.counted_holders(GLOBAL).await? {
        if access.subject.collection() == "user" {
            by_user.entry(access.subject.clone()).or_default().push(Stretch::held(asking, &access)?);
        }
    }
    let mut holders = Vec::new();
    for (key, stretches) in by_user {
        let assignments = asking.access.assignments_of(&key, &named).await?;
        let variants = match asking.archive.view().id(&key)? {
            Some(id) => asking.access.variants(id, &key).await?,
            None => Default::default(),
        };
        let identity = Identity::User { external: External::Unknown, home: None, is_agent: false };
        let unknown = || Person { id: key.decoded_id(), identity, groups: BTreeMap::new(), roles: BTreeMap::new() };
        let person = assignments.person(&key, &variants).unwrap_or_else(unknown);
        let of = |all: &BTreeMap<String, BTreeMap<Key, Vec<Access>>>| -> Result<_, QueryError> {
            let mut own = BTreeMap::new();
            for (id, holders) in all {
                let accesses = holders.get(&key).into_iter().flatten();
                own.insert(id.clone(), accesses.map(|access| Stretch::held(asking, access)).collect::<Result<_, _>>()?);
            }
            Ok(own)
        };
        let (groups, roles) = (of(&assignments.groups)?, of(&assignments.roles)?);
        holders.push(Holder { key, stretches, person, groups, roles });
    }
    Ok(holders)
}

/// Rows for the times in which none was forced, or nobody can say; and how many there are.
fn add_gaps(rows: &mut Vec<Row>, times: Vec<(Truth, Timestamp, Timestamp)>) -> Row {
    let (mut gaps, mut unknown, mut seconds) = (0_u64, 0_u64, 0_i64);
    for (truth, from, to) in times.into_iter().filter(|(truth, _, _)| *truth != Truth::Yes) {
        let is_gap = truth == Truth::No;
        (gaps, unknown) = (gaps + u64::from(is_gap), unknown + u64::from(!is_gap));
        seconds += if is_gap { to.duration_since(from).as_secs() } else { 0 };
        let mut row = Row::new();
        row.insert("kind".to_owned(), if is_gap { "gap" } else { "unknown" }.into());
        add_times(&mut row, from, to, if is_gap { "observed" } else { "unknown" });
        rows.push(row);
    }
    let mut totals = Row::new();
    totals.insert("gaps".to_owned(), gaps.into());
    totals.insert("gap_seconds".to_owned(), seconds.into());
    totals.insert("unknown".to_owned(), unknown.into());
    totals
}

fn add_times(row: &mut Row, from: Timestamp, to: Timestamp, certainty: &str) {
    row.insert("since".to_owned(), from.to_string().into());
    row.insert("until".to_owned(), to.to_string().into());
    row.insert("certainty".to_owned(), certainty.into());
}

/// Whether policies and security defaults were read by every capture of the period: else what isn't there may have been.
fn was_read(asking: &Asking<'_>) -> Result<bool, QueryError> {
    let is_complete = |status: Option<Status>| status == Some(Status::Complete);
    Ok(!asking.access.facts.window.begin.unknown
        && every_sight(asking, "conditionalAccessPolicy", None, is_complete)?
        && every_sight(asking, "identitySecurityDefaultsEnforcementPolicy", None, is_complete)?)
}

/// Whether who held roles and who was in groups was read: else somebody may have been an administrator, or exempt.
fn were_people_read(asking: &Asking<'_>) -> Result<bool, QueryError> {
    let is_read = |status: Option<Status>| matches!(status, Some(Status::Complete | Status::Rolling | Status::NotDue));
    Ok(every_sight(asking, "unifiedRoleAssignment", None, is_read)?
        && every_sight(asking, "group", Some("members"), is_read)?)
}

fn every_sight(
    asking: &Asking<'_>,
    collection: &str,
    relation: Option<&str>,
    is_good: impl Fn(Option<Status>) -> bool,
) -> Result<bool, QueryError> {
    let window = asking.access.facts.window;
    let during = window.begin.seq..=window.end.seq;
    let sights = asking.archive.view().sights_during(collection, relation, None, &during)?;
    Ok(!sights.is_empty() && sights.iter().all(|sight| is_good(sight.status)))
}
