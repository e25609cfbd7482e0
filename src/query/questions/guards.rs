//! Questions 25 and 28: whether something forced administrators to multifactor authentication all the time, and whether legacy
//! authentication and weak methods were blocked.
//!
//! Must never know: whom a policy covers one by one.
//!
//! Security defaults ask administrators for multifactor authentication at every sign-in and block legacy protocols
//! (learn.microsoft.com/entra/fundamentals/security-defaults).

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::policy_history::add_stretch;
use super::rows::{Row, count_by, sort};
use super::settings::add_origin;
use super::{Ability, Asking, Question, Span, Table};
use crate::archive::entry::Status;
use crate::canonical::Key;
use crate::query::access::Held;
use crate::query::conditional_access::{Policy, State, Truth};
use crate::query::power::is_privileged_role;
use crate::query::{QueryError, Turn};

/// Whether administrators were forced.
pub const ADMINISTRATORS: Question = Question {
    number: 25,
    name: "administrators-without-mfa",
    title: "Was there any time at which no enabled policy forced multifactor authentication on administrators?",
    description: "One row for each stretch in which an enabled policy, or security defaults, asked administrators for multifactor \
                  authentication or a strength that means it, and one for each time in which none did (`gap`) or nobody can say \
                  (`unknown`: it changed between two captures and the audit log doesn't tell when). A policy counts if it covers everybody \
                  or Global Administrator, at every application and without further conditions; `why_not` says what keeps one from that. \
                  Whom it excludes is asked for by break-glass.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &[
        "conditionalAccessPolicy",
        "identitySecurityDefaultsEnforcementPolicy",
        "unifiedRoleDefinition",
        "directoryAudit",
    ],
    ability: Ability::Answered(|asking| Box::pin(administrators(asking))),
};

/// Legacy authentication and weak methods.
pub const LEGACY: Question = Question {
    number: 28,
    name: "legacy-and-weak-methods",
    title: "Were legacy authentication and weak methods blocked?",
    description: "One row for each enabled policy that blocks clients of the old protocols (`exchangeActiveSync`, `other`), with whom it names \
                  and what limits it, one for security defaults, and one for each method of the authentication methods policy with its \
                  state and whom it is for. Calls and text messages are the methods that are called weak here.",
    version: 1,
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

/// The template of Global Administrator.
const GLOBAL: &str = "62e90394-69f5-4237-9190-012177145e10";

/// When something surely held, and within which times it may have.
struct Stretch {
    outer: (Timestamp, Timestamp),
    inner: Option<(Timestamp, Timestamp)>,
}

/// What an enabled policy asks of administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Guard {
    /// Whether it forces them.
    truth: Truth,
    covers: String,
    why_not: Vec<String>,
    grant: String,
}

fn guard(policy: &Policy, privileged: &BTreeSet<String>) -> Option<Guard> {
    let truth = policy.controls.requires_mfa();
    if policy.state != State::Enabled || truth == Truth::No {
        return None;
    }
    let roles: Vec<String> = policy.roles.include.iter().map(|id| id.to_lowercase()).collect();
    let named = roles.iter().filter(|id| privileged.contains(*id) || is_privileged_role(id, None)).count();
    let (covers, is_enough) = match (policy.includes_everybody(), named) {
        (true, _) => ("everybody".to_owned(), true),
        (_, 0) => return None,
        (_, named) => (format!("{named} privileged roles"), roles.iter().any(|id| id == GLOBAL)),
    };
    let mut why_not = policy.limits();
    if !is_enough {
        why_not.push("not Global Administrator".to_owned());
    }
    let unknown = &policy.unknown_conditions;
    let truth = match why_not.iter().all(|limit| unknown.contains(limit)) {
        false => Truth::No,
        // Words that aren't known may leave administrators out, or sign-ins of theirs.
        true if !unknown.is_empty() || !policy.unknown_who.is_empty() => Truth::Depends,
        true => truth,
    };
    why_not.extend(policy.unknown_who.iter().cloned());
    Some(Guard { truth, covers, why_not, grant: policy.controls.grant_words() })
}

async fn administrators(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (mut rows, stretches) = guards(asking).await?;
    let window = asking.access.facts.window;
    let (begin, end) = window.asked.unwrap_or((window.begin.time, window.end.time));
    let times = timeline(&stretches, begin, end);
    let read = was_read(asking)?;
    let (mut gaps, mut unknown, mut seconds) = (0_u64, 0_u64, 0_i64);
    for (truth, from, to) in times.into_iter().filter(|(truth, _, _)| *truth != Truth::Yes) {
        let is_gap = read && truth == Truth::No;
        (gaps, unknown) = (gaps + u64::from(is_gap), unknown + u64::from(!is_gap));
        seconds += if is_gap { to.duration_since(from).as_secs() } else { 0 };
        let mut row = Row::new();
        row.insert("kind".to_owned(), if is_gap { "gap" } else { "unknown" }.into());
        row.insert("since".to_owned(), from.to_string().into());
        row.insert("until".to_owned(), to.to_string().into());
        row.insert("certainty".to_owned(), if is_gap { "observed" } else { "unknown" }.into());
        rows.push(row);
    }
    let mut totals = Row::new();
    totals.insert("gaps".to_owned(), gaps.into());
    totals.insert("gap_seconds".to_owned(), seconds.into());
    totals.insert("unknown".to_owned(), unknown.into());
    totals.insert("rows_by_kind".to_owned(), count_by(&rows, "kind"));
    sort(&mut rows, &["kind", "since", "name", "policy"]);
    let notes = vec![
        "What was switched off and on again between two captures that show it on is in the audit log alone.".to_owned(),
    ];
    const COLUMNS: &[&str] =
        &["kind", "name", "covers", "grant", "counts", "why_not", "since", "until", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, notes, ..Table::default() })
}

/// A row for each stretch of a guard, and the stretches in which one forced administrators, or may have.
async fn guards(asking: &Asking<'_>) -> Result<(Vec<Row>, Vec<Stretch>), QueryError> {
    let facts = &asking.access.facts;
    let mut privileged = BTreeSet::new();
    for (id, key) in facts.objects("unifiedRoleDefinition")? {
        let content = facts.content_at_end(id, &key).await?;
        if is_privileged_role(&key.decoded_id(), content.as_deref()) {
            privileged.insert(key.decoded_id().to_lowercase());
        }
    }
    let (mut rows, mut stretches) = (Vec::new(), Vec::new());
    for (key, id) in asking.access.ever("conditionalAccessPolicy")? {
        let read = |content: &Value| guard(&Policy::read(content)?, &privileged);
        for said in facts.said(id, &key, read).await? {
            let mut row = Row::new();
            row.insert("kind".to_owned(), "policy".into());
            row.insert("policy".to_owned(), key.as_str().into());
            row.insert("name".to_owned(), asking.label(&key)?.into());
            row.insert("covers".to_owned(), said.what.covers.as_str().into());
            row.insert("grant".to_owned(), said.what.grant.as_str().into());
            row.insert("counts".to_owned(), (said.what.truth == Truth::Yes).into());
            row.insert("why_not".to_owned(), said.what.why_not.clone().into());
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
        // Whatever else changed of it: it forced them or it didn't.
        let forces = |content: &Value| read(content).map(|guard| guard.truth).filter(|truth| *truth != Truth::No);
        for said in facts.said(id, &key, forces).await? {
            let mut stretch = stretch(asking, &key, &said.held).await?;
            stretch.inner = stretch.inner.filter(|_| said.what == Truth::Yes);
            stretches.push(stretch);
        }
    }
    for (key, id) in asking.access.ever("identitySecurityDefaultsEnforcementPolicy")? {
        for said in facts.said(id, &key, |content| (content["isEnabled"] == true).then_some(())).await? {
            let mut row = Row::new();
            row.insert("kind".to_owned(), "security defaults".into());
            row.insert("name".to_owned(), "Security defaults".into());
            row.insert("covers".to_owned(), "administrators".into());
            row.insert("counts".to_owned(), true.into());
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
            stretches.push(stretch(asking, &key, &said.held).await?);
        }
    }
    Ok((rows, stretches))
}

/// Whether policies and security defaults were read by every capture of the period: else what isn't there may have been.
fn was_read(asking: &Asking<'_>) -> Result<bool, QueryError> {
    let window = asking.access.facts.window;
    let mut read = !window.begin.unknown;
    for collection in ["conditionalAccessPolicy", "identitySecurityDefaultsEnforcementPolicy"] {
        let sights =
            asking.archive.view().sights_during(collection, None, None, &(window.begin.seq..=window.end.seq))?;
        read &= !sights.is_empty() && sights.iter().all(|sight| sight.status == Some(Status::Complete));
    }
    Ok(read)
}

/// A stretch of captures as times; where one record of the audit log tells when it began or ended, exactly.
async fn stretch(asking: &Asking<'_>, key: &Key, held: &Held) -> Result<Stretch, QueryError> {
    asking.access.facts.rest_on("directoryAudit", None);
    let begin = match held.is_open {
        true => (Timestamp::MIN, time(asking, held.from)?),
        false => change(asking, key, held.missing, held.from).await?,
    };
    let end = match held.until {
        Some(until) => change(asking, key, held.sure, until).await?,
        None => (time(asking, held.sure)?, Timestamp::MAX),
    };
    Ok(Stretch { outer: (begin.0, end.1), inner: (begin.1 <= end.0).then_some((begin.1, end.0)) })
}

fn time(asking: &Asking<'_>, seq: u64) -> Result<Timestamp, QueryError> {
    Ok(asking.archive.view().capture(seq)?.map_or(Timestamp::MIN, |row| row.time))
}

/// Within which times something changed.
async fn change(asking: &Asking<'_>, key: &Key, missing: u64, seen: u64) -> Result<(Timestamp, Timestamp), QueryError> {
    let mut records = asking.archive.records(&key.decoded_id(), missing, seen).await?;
    records.retain(|(record, _)| !record["result"].as_str().is_some_and(|own| own.eq_ignore_ascii_case("failure")));
    match records.as_slice() {
        [(_, only)] => Ok((only.time, only.time)),
        _ => Ok((time(asking, missing)?, time(asking, seen)?)),
    }
}

/// The times between `begin` and `end`: whether a stretch surely holds, may hold, or none does.
fn timeline(stretches: &[Stretch], begin: Timestamp, end: Timestamp) -> Vec<(Truth, Timestamp, Timestamp)> {
    let mut bounds = BTreeSet::from([begin, end]);
    for stretch in stretches {
        let inner = stretch.inner.into_iter().flat_map(|(from, to)| [from, to]);
        bounds.extend(inner.chain([stretch.outer.0, stretch.outer.1]).filter(|time| begin < *time && *time < end));
    }
    let bounds: Vec<Timestamp> = bounds.into_iter().collect();
    let mut times: Vec<(Truth, Timestamp, Timestamp)> = Vec::new();
    for (from, to) in bounds.iter().zip(bounds.iter().skip(1)) {
        let holds = |(first, last): (Timestamp, Timestamp)| first <= *from && *to <= last;
        let of = |stretch: &Stretch| match (stretch.inner.is_some_and(holds), holds(stretch.outer)) {
            (true, _) => Truth::Yes,
            (false, true) => Truth::Depends,
            (false, false) => Truth::No,
        };
        let truth = stretches.iter().map(of).max().unwrap_or(Truth::No);
        match times.last_mut().filter(|last| last.0 == truth) {
            Some(last) => last.2 = *to,
            None => times.push((truth, *from, *to)),
        }
    }
    times
}

/// Methods that can be taken over with a telephone number
/// (learn.microsoft.com/entra/identity/authentication/concept-authentication-phone-options advises against them).
const WEAK: [&str; 2] = ["sms", "voice"];

async fn legacy(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut rows = Vec::new();
    let (mut blocked, mut partly) = (BTreeMap::from([("exchangeActiveSync", false), ("other", false)]), 0_u64);
    for said in asking.access.policies().await? {
        let policy = &said.what;
        let old: Vec<&str> =
            blocked.keys().filter(|kind| policy.clients.iter().any(|own| own == **kind)).copied().collect();
        if policy.state != State::Enabled || !policy.controls.blocks() || old.is_empty() {
            continue;
        }
        let mut limits = policy.limits();
        limits.retain(|limit| limit != "clientAppTypes");
        limits.extend(policy.unknown_who.iter().cloned());
        let lists = [
            ("excludeUsers", &policy.users.exclude),
            ("excludeGroups", &policy.groups.exclude),
            ("excludeRoles", &policy.roles.exclude),
        ];
        let excludes: Vec<String> =
            lists.iter().flat_map(|(list, ids)| ids.iter().map(move |id| format!("{list} {id}"))).collect();
        let is_whole = policy.includes_everybody() && limits.is_empty();
        partly += u64::from(!is_whole);
        for kind in &old {
            *blocked.entry(kind).or_default() |= is_whole;
        }
        let mut row = Row::new();
        row.insert("kind".to_owned(), "policy".into());
        row.insert("name".to_owned(), policy.name.as_str().into());
        row.insert("setting".to_owned(), format!("blocks {}", old.join(", ")).into());
        row.insert("state".to_owned(), policy.state.as_str().into());
        let covers = if policy.includes_everybody() { "everybody" } else { "some" };
        row.insert("for".to_owned(), covers.into());
        row.insert("excludes".to_owned(), excludes.into());
        row.insert("limits".to_owned(), limits.into());
        add_stretch(asking, &mut row, &said.key, &said.held).await?;
        rows.push(row);
    }
    let mut defaults = false;
    for (id, key) in facts.objects("identitySecurityDefaultsEnforcementPolicy")? {
        for said in facts.said(id, &key, |content| content["isEnabled"].as_bool()).await? {
            defaults |= said.what;
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
    let weak = methods(asking, &mut rows).await?;
    sort(&mut rows, &["kind", "name", "since"]);
    let mut totals = Row::new();
    for (kind, is_blocked) in blocked {
        totals.insert(format!("{kind}_blocked_for_everybody"), (is_blocked || defaults).into());
    }
    totals.insert("limited_policies".to_owned(), partly.into());
    totals.insert("weak_methods_enabled".to_owned(), weak.into());
    totals.insert("rows_by_kind".to_owned(), count_by(&rows, "kind"));
    const COLUMNS: &[&str] =
        &["kind", "name", "setting", "state", "for", "excludes", "limits", "since", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}

/// A row for each method; the weak ones that are enabled.
async fn methods(asking: &Asking<'_>, rows: &mut Vec<Row>) -> Result<Vec<String>, QueryError> {
    let facts = &asking.access.facts;
    let mut weak = Vec::new();
    for (id, key) in facts.objects("authenticationMethodsPolicy")? {
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        for method in content["authenticationMethodConfigurations"].as_array().into_iter().flatten() {
            let name = method["id"].as_str().unwrap_or_default();
            let same = |content: &Value| {
                let all = content["authenticationMethodConfigurations"].as_array()?;
                all.iter().find(|own| own["id"] == name).filter(|own| *own == method).map(|_| ())
            };
            let targets = |list: &str| -> Vec<String> {
                let all = method[list].as_array().into_iter().flatten();
                all.filter_map(|target| target["id"].as_str().map(str::to_owned)).collect()
            };
            let mut row = Row::new();
            row.insert("kind".to_owned(), "method".into());
            row.insert("name".to_owned(), name.into());
            let is_weak = WEAK.contains(&name.to_lowercase().as_str());
            row.insert("setting".to_owned(), if is_weak { "weak method" } else { "method" }.into());
            row.insert("state".to_owned(), method["state"].clone());
            row.insert("for".to_owned(), targets("includeTargets").into());
            row.insert("excludes".to_owned(), targets("excludeTargets").into());
            if is_weak && method["state"] == "enabled" {
                weak.push(name.to_owned());
            }
            if let Some(said) = facts.said(id, &key, same).await?.pop() {
                add_origin(asking, &mut row, &key, &said.held, Turn::Changed).await?;
                let certainty = asking.access.sure(&said.held).map(|certainty| certainty.as_str());
                row.insert("certainty".to_owned(), certainty.into());
            }
            rows.push(row);
        }
    }
    weak.sort();
    Ok(weak)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(stretches: &[(i64, i64, i64, i64)]) -> String {
        let stretches: Vec<Stretch> = stretches
            .iter()
            .map(|(from, sure, until, end)| Stretch {
                outer: (at(*from), at(*end)),
                inner: (sure <= until).then_some((at(*sure), at(*until))),
            })
            .collect();
        let times = timeline(&stretches, at(0), at(100));
        let times: Vec<String> = times
            .iter()
            .map(|(truth, from, to)| format!("{truth:?} {}-{}", from.as_second(), to.as_second()))
            .collect();
        times.join(", ")
    }

    #[test]
    fn a_time_is_covered_if_one_stretch_surely_holds_and_a_gap_if_none_may() {
        assert_eq!(told(&[]), "No 0-100");
        assert_eq!(told(&[(-5, 0, 100, 105)]), "Yes 0-100");
        assert_eq!(told(&[(-5, 0, 40, 50)]), "Yes 0-40, Depends 40-50, No 50-100");
        assert_eq!(
            told(&[(-5, 0, 40, 50), (60, 70, 100, 100)]),
            "Yes 0-40, Depends 40-50, No 50-60, Depends 60-70, Yes 70-100"
        );
        assert_eq!(told(&[(-5, 0, 40, 50), (30, 40, 100, 100)]), "Yes 0-100", "one follows the other");
        assert_eq!(told(&[(-5, 0, 50, 50), (50, 50, 100, 100)]), "Yes 0-100", "the log tells when");
        assert_eq!(told(&[(20, 30, 25, 40)]), "No 0-20, Depends 20-40, No 40-100", "it may never have held");
    }
}
