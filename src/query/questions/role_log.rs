//! Who held a directory role by the audit log alone: what came and went between two captures, which no capture shows.
//!
//! Must never know: which roles are dangerous.
//!
//! An activation may last half an hour, and captures are an hour apart. Names of activities:
//! learn.microsoft.com/entra/identity/monitoring-health/reference-audit-activities.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::rows::{Row, actor, sort};
use super::{Asking, Span};
use crate::canonical::Key;
use crate::index::Part;
use crate::query::access::{Access, Form, Power};
use crate::query::{Attribution, Matter, QueryError, has_failed, role_activity};

/// A capture reads what it shows some minutes after the time for which it stands, and a service learns of it some minutes later.
const NEAR: SignedDuration = SignedDuration::from_mins(20);

/// A record about somebody and the role.
struct Told {
    principal: Key,
    form: Form,
    is_end: bool,
    attribution: Attribution,
}

/// Rows for whom the audit log shows to have held the role within what is asked about, and `found` doesn't.
pub(super) async fn rows(asking: &Asking<'_>, role: &str, found: &[Access]) -> Result<Vec<Row>, QueryError> {
    let begin = asking.begin.asked.unwrap_or(asking.begin.capture.time);
    let end = asking.end.asked.unwrap_or(asking.end.capture.time);
    // What was there at a capture the capture shows: of an instant only the time since then is left to the log.
    let from = if asking.question_span() == Span::Instant { asking.begin.capture.time } else { begin };
    if from >= end {
        return Ok(Vec::new());
    }
    asking.access.facts.rest_on("directoryAudit", None);
    let mut open: BTreeMap<(Key, Form), Told> = BTreeMap::new();
    let mut spans: Vec<(Told, Option<Timestamp>)> = Vec::new();
    for told in records(asking, role, from, end).await? {
        let name = (told.principal.clone(), told.form);
        match told.is_end {
            true => spans.extend(open.remove(&name).map(|began| (began, Some(told.attribution.time)))),
            false => drop(open.entry(name).or_insert(told)),
        }
    }
    spans.extend(open.into_values().map(|began| (began, None)));
    // Over a month of activations there are a thousand of each.
    let mut shown: BTreeMap<&Key, Vec<&Access>> = BTreeMap::new();
    for access in found {
        shown.entry(&access.subject).or_default().push(access);
    }
    let mut rows = Vec::new();
    for (began, ended) in spans {
        let time = began.attribution.time;
        let is_over = asking.question_span() == Span::Instant && ended.is_some_and(|ended| ended <= end);
        if !is_over && !is_shown(asking, &began, time, shown.get(&began.principal).map_or(&[], Vec::as_slice))? {
            rows.push(row(asking, role, &began, ended).await?);
        }
    }
    sort(&mut rows, &["since", "subject", "form"]);
    Ok(rows)
}

/// The records about the role in this time, in the order of their times.
async fn records(asking: &Asking<'_>, role: &str, from: Timestamp, end: Timestamp) -> Result<Vec<Told>, QueryError> {
    let mut all = BTreeMap::new();
    for record in asking.archive.acts(Part::Target, &role.to_lowercase(), &(from..=end)).await? {
        let told = role_activity(&record.attribution.activity).filter(|_| !has_failed(&record.value));
        let Some(activity) = told else { continue };
        let form = match activity.matter {
            Matter::Eligibility => Form::Eligible,
            Matter::Activation => Form::Activated,
            _ => Form::Assigned,
        };
        let Some(principal) = principal(asking, &record.value, role)? else { continue };
        let attribution = record.attribution.clone();
        let told = Told { principal, form, is_end: activity.is_end, attribution };
        all.insert((told.attribution.time, told.attribution.event.clone()), told);
    }
    Ok(all.into_values().collect())
}

/// Whom a record is about: the first of its targets that is somebody.
fn principal(asking: &Asking<'_>, record: &Value, role: &str) -> Result<Option<Key>, QueryError> {
    for target in record["targetResources"].as_array().into_iter().flatten() {
        let Some(id) = target["id"].as_str().filter(|id| !id.is_empty() && !id.eq_ignore_ascii_case(role)) else {
            continue;
        };
        let collection = match target["type"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "user" => "user",
            "group" => "group",
            "serviceprincipal" => "servicePrincipal",
            _ => continue,
        };
        let known = asking.access.facts.object(id, &[collection])?;
        return Ok(Some(known.map_or_else(|| Key::new(collection, id), |(_, key)| key)));
    }
    Ok(None)
}

/// Whether an access of the same principal that a capture saw is the one that began then. One that is assigned where the
/// schedules of activations aren't read may be an activation.
fn is_shown(asking: &Asking<'_>, told: &Told, time: Timestamp, shown: &[&Access]) -> Result<bool, QueryError> {
    let view = asking.archive.view();
    for access in shown {
        let Power::Role { form, .. } = access.power else { continue };
        if (form == Form::Eligible) != (told.form == Form::Eligible) {
            continue;
        }
        let missing = view.capture(access.held.missing)?.and_then(|row| row.time.checked_sub(NEAR).ok());
        let until = access.held.until.map(|until| view.capture(until)).transpose()?.flatten().map(|row| row.time);
        if missing.is_none_or(|missing| missing <= time) && until.is_none_or(|until| time <= until) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn row(asking: &Asking<'_>, role: &str, began: &Told, ended: Option<Timestamp>) -> Result<Row, QueryError> {
    let mut row = asking.who(&began.principal).await?;
    let power = Power::Role { role: role.to_owned(), scope: String::new(), form: began.form };
    asking.add_power(&mut row, &power).await?;
    let time = began.attribution.time.to_string();
    // No capture saw it, so that nobody knows what it was confined to.
    row.insert("scope".to_owned(), Value::Null);
    row.insert("path".to_owned(), "by the audit log alone".into());
    row.insert("since".to_owned(), time.as_str().into());
    row.insert("since_after".to_owned(), Value::Null);
    row.insert("until".to_owned(), ended.map(|ended| ended.to_string()).into());
    row.insert("certainty".to_owned(), "corroborated".into());
    row.insert("given_by".to_owned(), actor(&began.attribution.actor).into());
    row.insert("given_at".to_owned(), time.into());
    row.insert("record".to_owned(), began.attribution.event.as_str().into());
    Ok(row)
}
