//! Questions 18 to 22: leavers, new accounts, movers, deleted accounts, and who is the same person again.
//!
//! Must never know: the personnel department. Dates of leaving are parameters.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::rows::{Row, actor, count_by, sort};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::canonical::Key;
use crate::diff::Change;
use crate::index::VersionKind;
use crate::query::access::{Evaluator, Power};
use crate::query::{Attributed, Instant, Matter, QueryError, Revision, Scope, Turn};

const USER: Parameter = Parameter {
    name: "user",
    kind: ParameterKind::Object(&["user"]),
    default: None,
    description: "the account, by sign-in name, name, id or key; one that is gone too",
};

const NEEDS: &[&str] = &["user", "group", "unifiedRoleAssignment", "appRoleAssignment", "directoryAudit"];

/// What became of a leaver's access.
pub const LEAVER: Question = Question {
    number: 18,
    name: "leaver",
    title: "When was somebody who left disabled, signed out, taken out of groups, roles and licences, deleted; how long after?",
    description: "One row for each change of the account within the period that takes something away, with the hours after the time of \
                  leaving, and one for each access that is still there at the end. Sessions revoked show as a new \
                  signInSessionsValidFromDateTime.",
    version: 1,
    span: Span::Period,
    parameters: &[
        USER,
        Parameter {
            name: "left",
            kind: ParameterKind::Text,
            default: Some(""),
            description: "when they left (RFC 3339); the beginning of the period if it isn't given",
        },
    ],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(leaver(asking))),
};

/// Who came.
pub const NEW: Question = Question {
    number: 19,
    name: "new-accounts",
    title: "Which accounts came within a period, and who created each?",
    description: "One row for each account that is first seen in the period, also where it is gone again at its end. Approvals and tickets \
                  aren't part of the archive.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["user", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(new(asking))),
};

/// Who moved and kept what they had.
pub const MOVERS: Question = Question {
    number: 20,
    name: "movers",
    title: "Who changed department, position or manager within a period and kept the old access?",
    description: "One row for each account that differs in department, job title, company or manager between both ends of the period, with what \
                  it could reach at both ends: groups, roles, applications. That somebody kept something is no breach; it is what \
                  a reviewer has to look at.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(movers(asking))),
};

/// Who was deleted.
pub const DELETED: Question = Question {
    number: 21,
    name: "deleted-accounts",
    title: "Which accounts were deleted within a period, and what did they hold just before?",
    description: "One row for each account that went and is gone at the end of the period, with who deleted it and what it could reach at the \
                  last capture that saw it.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(deleted(asking))),
};

/// Who is the same person.
pub const SAME: Question = Question {
    number: 22,
    name: "same-person",
    title: "Which other accounts, before or after, were the same person's: re-created, restored, or a second one?",
    description: "One row for each other account that ever had the same employee id, on-premises immutable id or sign-in name as this account \
                  ever had. What is the same says why; a sign-in name can be given to somebody else later.",
    version: 1,
    span: Span::Instant,
    parameters: &[USER],
    needs: &["user"],
    ability: Ability::Answered(|asking| Box::pin(same(asking))),
};

/// Revisions that a capture of the window shows, but not the first one.
fn is_within(asking: &Asking<'_>, revision: &Revision) -> bool {
    revision.capture.seq > asking.begin.capture.seq && revision.capture.seq <= asking.end.capture.seq
}

fn by(attributed: Option<&Attributed>) -> Value {
    match attributed {
        Some(Attributed::By(attribution)) => actor(&attribution.actor).into(),
        Some(Attributed::Silent) => "unattributed".into(),
        Some(Attributed::Unread) => "unknown: the audit log wasn't read".into(),
        None => Value::Null,
    }
}

fn exact(attributed: Option<&Attributed>) -> Option<Timestamp> {
    match attributed {
        Some(Attributed::By(attribution)) => Some(attribution.time),
        _ => None,
    }
}

async fn leaver(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (user, id) = asking.object("user").expect("it has to be given");
    let begin = asking.begin.asked.unwrap_or(asking.begin.capture.time);
    let left = match asking.text("left") {
        Some(text) => text.parse::<Timestamp>().map_err(|_| super::AskError::Wrong {
            name: "left",
            value: text.to_owned(),
            expected: "a time as in 2026-08-31T17:00:00Z".to_owned(),
        })?,
        None => begin,
    };
    let hours = |time: Timestamp| (time.duration_since(left).as_secs_f64() / 36.0).round() / 100.0;
    let mut all = Vec::new();
    let mut push = |what: &str, name: Value, seen: Timestamp, told: Option<&Attributed>| {
        let mut row = Row::new();
        row.insert("what".to_owned(), what.into());
        row.insert("name".to_owned(), name);
        row.insert("seen".to_owned(), seen.to_string().into());
        row.insert("at".to_owned(), exact(told).map(|time| time.to_string()).into());
        row.insert("hours_after".to_owned(), json!(hours(exact(told).unwrap_or(seen))));
        row.insert("by".to_owned(), by(told));
        all.push(row);
    };
    asking.access.facts.rest_on("user", None);
    asking.access.facts.rest_on("directoryAudit", None);
    for revision in asking.archive.history(user, id).await?.iter().filter(|revision| is_within(asking, revision)) {
        let (seen, told) = (revision.capture.time, revision.attributed.as_ref());
        if revision.change == Change::Removed {
            push("account deleted", Value::Null, seen, told);
        }
        for change in &revision.properties {
            match change.path.trim_start_matches('/') {
                "accountEnabled" if change.after.as_deref() == Some("false") => {
                    push("account disabled", Value::Null, seen, told)
                }
                // What goes with the account is told by its going.
                _ if revision.change == Change::Removed => {}
                "signInSessionsValidFromDateTime" => push("sessions revoked", change.after.clone().into(), seen, told),
                path if path.starts_with("assignedLicenses") => {
                    push("licences changed", change.after.clone().into(), seen, told)
                }
                _ => {}
            }
        }
    }
    for (access, ended) in ended(asking, user).await? {
        let words = asking.archive.power_words(&access.power, asking.end.capture.seq)?;
        let name = words.name.unwrap_or(words.target);
        let last = access.path.iter().filter(|step| step.held.until.is_some()).min_by_key(|step| step.held.until);
        let told = match last {
            Some(step) => asking.access.attribute(&access, step, Turn::Ended).await?,
            None => None,
        };
        push(&format!("{} ended", words.kind), name.into(), ended, told.as_ref());
    }
    let now = Evaluator::at(asking.archive, &asking.end)?;
    let remaining = now.reach(user).await?;
    asking.access.facts.rest_on_all(now.facts.used());
    let left_over: Vec<_> = remaining.iter().filter(|access| is_own(&access.power)).collect();
    for access in &left_over {
        let words = asking.archive.power_words(&access.power, asking.end.capture.seq)?;
        let mut row = Row::new();
        row.insert("what".to_owned(), format!("{} still there", words.kind).into());
        row.insert("name".to_owned(), words.name.unwrap_or(words.target).into());
        row.insert("certainty".to_owned(), access.certainty.as_str().into());
        all.push(row);
    }
    sort(&mut all, &["seen", "what", "name"]);
    let mut totals = Row::new();
    totals.insert("left".to_owned(), left.to_string().into());
    totals.insert("still_there".to_owned(), left_over.len().into());
    totals.insert("rows_by_what".to_owned(), count_by(&all, "what"));
    let status = super::rows::status(asking.content(user).await?.as_deref());
    totals.insert("account_at_the_end".to_owned(), status.into());
    const COLUMNS: &[&str] = &["what", "name", "seen", "at", "hours_after", "by", "certainty"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

/// What somebody has for themselves: what everybody has isn't taken from a leaver.
fn is_own(power: &Power) -> bool {
    !matches!(power, Power::Delegated { principal: None, .. } | Power::DefaultAccess { .. })
}

/// Access that ended within the window, with the time of the capture that shows it.
async fn ended(asking: &Asking<'_>, user: &Key) -> Result<Vec<(crate::query::access::Access, Timestamp)>, QueryError> {
    let mut found = Vec::new();
    for access in asking.access.reach(user).await? {
        let within = access.held.until.filter(|until| *until <= asking.end.capture.seq && is_own(&access.power));
        if let Some(row) = within.map(|until| asking.archive.view().capture(until)).transpose()?.flatten() {
            found.push((access, row.time));
        }
    }
    Ok(found)
}

async fn new(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    facts.rest_on("user", None);
    facts.rest_on("directoryAudit", None);
    let mut keys = Vec::new();
    let (begin, end) = (asking.begin.capture.seq, asking.end.capture.seq);
    asking.archive.view().each_key(Some("user"), |key, id| {
        let first = asking.archive.view().versions(id)?.first().map(|version| version.seq);
        if key.facet_name().is_none() && first.is_some_and(|first| first > begin && first <= end) {
            keys.push((key, id));
        }
        Ok::<_, QueryError>(ControlFlow::Continue(()))
    })?;
    let mut all = Vec::new();
    for (key, id) in keys {
        let Some(said) = facts.said(id, &key, |content| Some(content.clone())).await?.into_iter().next() else {
            continue;
        };
        if said.held.is_open {
            continue;
        }
        let mut row = asking.who(&key).await?;
        let first = &said.what;
        if row["name"].is_null() {
            row.insert("name".to_owned(), first["displayName"].clone());
        }
        row.insert("first_sign_in_name".to_owned(), first["userPrincipalName"].clone());
        row.insert("type".to_owned(), first["userType"].clone());
        row.insert("created".to_owned(), first["createdDateTime"].clone());
        asking.add_times(&mut row, &said.held)?;
        let told = asking
            .archive
            .attribute(&[&key.decoded_id()], Matter::Existence, Turn::Began, said.held.missing, said.held.from)
            .await?;
        row.insert("created_by".to_owned(), by(Some(&told)));
        row.insert("created_at".to_owned(), exact(Some(&told)).map(|time| time.to_string()).into());
        all.push(row);
    }
    sort(&mut all, &["since", "first_sign_in_name", "subject"]);
    let mut totals = Row::new();
    totals.insert("rows_by_status".to_owned(), count_by(&all, "status"));
    totals
        .insert("unattributed".to_owned(), all.iter().filter(|row| row["created_by"] == "unattributed").count().into());
    const COLUMNS: &[&str] = &["name", "first_sign_in_name", "type", "status", "created", "since", "created_by"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

/// Properties that say where somebody works.
const PLACE: [&str; 4] = ["department", "jobTitle", "companyName", "employeeOrgData"];

async fn movers(asking: &Asking<'_>) -> Result<Table, QueryError> {
    asking.access.facts.rest_on("user", None);
    asking.access.facts.rest_on("user", Some("manager"));
    let scope = Scope { collection: Some("user".to_owned()), object: None };
    let mut moved = Vec::new();
    asking
        .archive
        .difference(&asking.begin, &asking.end, &scope, |difference| {
            if difference.change != Change::Changed || difference.key.facet_name().is_some() {
                return Ok(ControlFlow::Continue(()));
            }
            let mut what: Vec<String> = Vec::new();
            for change in &difference.properties {
                let name = change.path.split(['.', '/', '[']).find(|part| !part.is_empty()).unwrap_or_default();
                if PLACE.contains(&name) {
                    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                    what.push(format!("{} {} to {}", change.path, side(&change.before), side(&change.after)));
                }
            }
            if difference.links.iter().any(|change| change.relation == "manager") {
                what.push("manager".to_owned());
            }
            if !what.is_empty() {
                moved.push((difference.key, what));
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    let sides = [Evaluator::at(asking.archive, &asking.begin)?, Evaluator::at(asking.archive, &asking.end)?];
    let mut all = Vec::new();
    for (key, what) in moved {
        let mut held = Vec::new();
        for side in &sides {
            let reach = side.reach(&key).await?;
            held.push(reach.into_iter().map(|access| access.power).filter(is_own).collect::<BTreeSet<Power>>());
        }
        let named = |powers: Vec<&Power>| -> Result<Value, QueryError> {
            let mut names = Vec::new();
            for power in powers {
                let words = asking.archive.power_words(power, asking.end.capture.seq)?;
                names.push(format!("{}: {}", words.kind, words.name.unwrap_or(words.target)));
            }
            names.sort();
            Ok(names.into())
        };
        let mut row = asking.who(&key).await?;
        row.insert("moved".to_owned(), what.join("; ").into());
        row.insert("kept".to_owned(), named(held[0].intersection(&held[1]).collect())?);
        row.insert("lost".to_owned(), named(held[0].difference(&held[1]).collect())?);
        row.insert("gained".to_owned(), named(held[1].difference(&held[0]).collect())?);
        all.push(row);
    }
    for side in &sides {
        asking.access.facts.rest_on_all(side.facts.used());
    }
    sort(&mut all, &["sign_in", "subject"]);
    let mut totals = Row::new();
    let kept = all.iter().filter(|row| row["kept"].as_array().is_some_and(|kept| !kept.is_empty())).count();
    totals.insert("kept_something".to_owned(), kept.into());
    const COLUMNS: &[&str] = &["name", "sign_in", "moved", "kept", "lost", "gained"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}

async fn deleted(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    facts.rest_on("user", None);
    facts.rest_on("directoryAudit", None);
    let (begin, end) = (asking.begin.capture.seq, asking.end.capture.seq);
    let view = asking.archive.view();
    let mut gone = Vec::new();
    view.each_key(Some("user"), |key, id| {
        let last = view.version_at(id, end)?;
        if let Some(version) = last.filter(|version| version.kind == VersionKind::Removed && version.seq > begin)
            && key.facet_name().is_none()
        {
            gone.push((key, version));
        }
        Ok::<_, QueryError>(ControlFlow::Continue(()))
    })?;
    let mut all = Vec::new();
    for (key, version) in gone {
        let before = version.q.map_or(Ok(None), |q| view.capture(q))?;
        let before = before.or(view.capture_before(version.seq)?);
        let (Some(before), Some(seen)) = (before, view.capture(version.seq)?) else { continue };
        let instant = Instant { capture: before, asked: None, next: None };
        let side = Evaluator::at(asking.archive, &instant)?;
        let held = side.reach(&key).await?;
        facts.rest_on_all(side.facts.used());
        let mut names: Vec<String> = Vec::new();
        for access in held.iter().filter(|access| is_own(&access.power)) {
            let words = asking.archive.power_words(&access.power, before.seq)?;
            names.push(format!("{}: {}", words.kind, words.name.unwrap_or(words.target)));
        }
        names.sort();
        names.dedup();
        let told = asking
            .archive
            .attribute(&[&key.decoded_id()], Matter::Existence, Turn::Ended, before.seq, version.seq)
            .await?;
        let mut row = Row::new();
        row.insert("subject".to_owned(), key.as_str().into());
        row.insert("name".to_owned(), asking.archive.label_of_key(&key, before.seq)?.into());
        row.insert("last_seen".to_owned(), before.time.to_string().into());
        row.insert("seen_gone".to_owned(), seen.time.to_string().into());
        row.insert("deleted_at".to_owned(), exact(Some(&told)).map(|time| time.to_string()).into());
        row.insert("deleted_by".to_owned(), by(Some(&told)));
        row.insert("held".to_owned(), names.into());
        all.push(row);
    }
    sort(&mut all, &["seen_gone", "name", "subject"]);
    const COLUMNS: &[&str] = &["name", "subject", "last_seen", "seen_gone", "deleted_by", "held"];
    Ok(Table { columns: COLUMNS, rows: all, ..Table::default() })
}

/// Properties that name a person rather than an account.
const PERSONAL: [&str; 2] = ["employeeId", "onPremisesImmutableId"];

/// The users that ever had this sign-in name, as far as it was known.
async fn called(asking: &Asking<'_>, name: &str, head: u64) -> Result<Vec<u32>, QueryError> {
    let (view, facts) = (asking.archive.view(), &asking.access.facts);
    let mut found = Vec::new();
    for id in view.named(name)? {
        let key = view.key(id)?;
        if key.collection() != "user" || key.facet_name().is_some() {
            continue;
        }
        for version in view.versions(id)?.iter().filter(|version| version.seq <= head) {
            let content = facts.content(&key, version).await?;
            let own = content.as_deref().and_then(|content| content["userPrincipalName"].as_str());
            if own.is_some_and(|own| own.to_lowercase() == name) {
                found.push(id);
                break;
            }
        }
    }
    Ok(found)
}

async fn same(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (user, id) = asking.object("user").expect("it has to be given");
    let facts = &asking.access.facts;
    facts.rest_on("user", None);
    let view = asking.archive.view();
    let head = asking.archive.head()?.seq;
    let mut values: BTreeSet<(&str, String)> = BTreeSet::new();
    for version in view.versions(id)?.iter().filter(|version| version.seq <= head) {
        let Some(content) = facts.content(user, version).await? else { continue };
        for property in PERSONAL.iter().chain(&["userPrincipalName"]) {
            values.extend(
                content[*property]
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .map(|text| (*property, text.to_lowercase())),
            );
        }
    }
    let mut others: std::collections::BTreeMap<u32, BTreeSet<String>> = std::collections::BTreeMap::new();
    for (property, value) in &values {
        let sources: Vec<u32> = match PERSONAL.contains(property) {
            true => view.with_value_during(property, value, &(1..=head))?.into_iter().map(|row| row.source).collect(),
            false => called(asking, value, head).await?,
        };
        for source in sources.into_iter().filter(|source| *source != id) {
            others.entry(source).or_default().insert(format!("{property} {value}"));
        }
    }
    let mut all = Vec::new();
    for (other, why) in others {
        let key = view.key(other)?;
        if key.collection() != "user" || key.facet_name().is_some() {
            continue;
        }
        let versions = view.versions(other)?;
        let versions: Vec<_> = versions.into_iter().filter(|version| version.seq <= head).collect();
        let (Some(first), Some(last)) = (versions.first(), versions.last()) else { continue };
        let mut row = asking.who(&key).await?;
        row.insert("same".to_owned(), why.into_iter().collect::<Vec<_>>().into());
        row.insert("first_seen".to_owned(), asking.time(first.seq)?);
        let gone = last.kind == VersionKind::Removed;
        row.insert("gone_at".to_owned(), if gone { asking.time(last.seq)? } else { Value::Null });
        all.push(row);
    }
    sort(&mut all, &["first_seen", "subject"]);
    let mut totals = Row::new();
    totals.insert(
        "known_by".to_owned(),
        values.iter().map(|(property, value)| format!("{property} {value}")).collect::<Vec<_>>().into(),
    );
    const COLUMNS: &[&str] = &["subject", "name", "sign_in", "status", "same", "first_seen", "gone_at"];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}
