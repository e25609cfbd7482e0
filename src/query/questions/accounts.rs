//! Questions 10, 15 and 16: all accounts, a sample that can be drawn again, accounts that nobody used.
//!
//! Must never know: who reviews them.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::rows::{Row, count_by, sort};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::canonical::Key;
use crate::hash::Hash;
use crate::query::QueryError;

/// All accounts.
pub const ALL: Question = Question {
    number: 10,
    name: "accounts",
    title: "Which accounts were there, with status, type, department, manager and dates?",
    description: "One row for each user account, agents' accounts too. Dates are the service's own words. The totals count by status and \
                  type; the control figures compare with what the service counted itself, where it did.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &["user"],
    ability: Ability::Answered(|asking| Box::pin(all(asking))),
};

/// A sample.
pub const SAMPLE: Question = Question {
    number: 15,
    name: "sample",
    title: "Which are a random sample of a population, drawn so that anybody can draw it again?",
    description: "The members of the population are put in the order of SHA-256 over the seed, a line feed and their key, and the first \
                  ones are taken: the same seed on the same state draws the same sample, and another reader of the archive can check \
                  it with a few lines of code.",
    version: 1,
    span: Span::Instant,
    parameters: &[
        Parameter {
            name: "population",
            kind: ParameterKind::Choice(&[
                "user",
                "group",
                "servicePrincipal",
                "application",
                "device",
                "unifiedRoleAssignment",
                "appRoleAssignment",
                "oauth2PermissionGrant",
            ]),
            default: Some("user"),
            description: "the collection to draw from",
        },
        Parameter { name: "n", kind: ParameterKind::Number, default: Some("25"), description: "how many to draw" },
        Parameter {
            name: "seed",
            kind: ParameterKind::Text,
            default: None,
            description: "any text, to be kept with the sample",
        },
    ],
    needs: &["user", "group", "servicePrincipal", "application", "device"],
    ability: Ability::Answered(|asking| Box::pin(sample(asking))),
};

/// Accounts without activity.
pub const INACTIVE: Question = Question {
    number: 16,
    name: "inactive-accounts",
    title: "Which enabled accounts had not been used for so many days?",
    description: "One row for each enabled account whose last sign-in, interactive or not, lies longer ago than that, or that never \
                  signed in and was created longer ago. The service keeps sign-in activity for licensed tenants only; where it wasn't \
                  captured the answer says so.",
    version: 1,
    span: Span::Instant,
    parameters: &[Parameter {
        name: "days",
        kind: ParameterKind::Number,
        default: Some("90"),
        description: "days without a sign-in (PCI DSS 8.2.6 asks for 90)",
    }],
    needs: &["user", "user#activity"],
    ability: Ability::Answered(|asking| Box::pin(inactive(asking))),
};

async fn account(asking: &Asking<'_>, key: &Key, content: &Value) -> Result<Row, QueryError> {
    let mut row = asking.who(key).await?;
    let text = |name: &str| content[name].as_str().filter(|text| !text.is_empty());
    let kind = text("userType").unwrap_or("Member");
    row.insert("type".to_owned(), kind.to_lowercase().into());
    for (name, property) in [
        ("mail", "mail"),
        ("employee_id", "employeeId"),
        ("department", "department"),
        ("created", "createdDateTime"),
        ("password_changed", "lastPasswordChangeDateTime"),
    ] {
        row.insert(name.to_owned(), text(property).into());
    }
    row.insert("synchronised".to_owned(), (content["onPremisesSyncEnabled"] == true).into());
    Ok(row)
}

async fn all(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut rows = Vec::new();
    for (id, key) in facts.objects("user")? {
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        let mut row = account(asking, &key, &content).await?;
        let managers = facts.links_from(id, "user", "manager")?;
        let manager = managers.first().map(|manager| asking.archive.view().key(manager.other)).transpose()?;
        let name = manager.as_ref().map(|key| asking.label(key)).transpose()?.flatten();
        row.insert("manager".to_owned(), name.or(manager.map(|key| key.to_string())).into());
        row.insert("last_sign_in".to_owned(), last_sign_in(asking, &key).await?.map(|at| at.to_string()).into());
        rows.push(row);
    }
    sort(&mut rows, &["sign_in", "subject"]);
    let mut totals = Row::new();
    totals.insert("accounts_by_status".to_owned(), count_by(&rows, "status"));
    totals.insert("accounts_by_type".to_owned(), count_by(&rows, "type"));
    totals.insert("accounts_by_kind".to_owned(), count_by(&rows, "kind"));
    let row = asking.archive.body(asking.end.capture.seq).await?;
    let cover = row.cover.iter().flatten().find(|row| row.c == "user" && row.r.is_none() && row.f.is_none());
    totals.insert("counted_by_the_service".to_owned(), cover.and_then(|row| row.count).into());
    const COLUMNS: &[&str] =
        &["name", "sign_in", "status", "type", "department", "manager", "created", "password_changed", "last_sign_in"];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}

/// The last sign-in that the service knows of, interactive or not.
async fn last_sign_in(asking: &Asking<'_>, key: &Key) -> Result<Option<Timestamp>, QueryError> {
    let facet = key.facet("activity");
    let facts = &asking.access.facts;
    facts.rest_on_facet("user", "activity");
    let Some(id) = asking.archive.view().id(&facet)? else { return Ok(None) };
    let Some(version) = asking.archive.view().version_at(id, asking.end.capture.seq)? else { return Ok(None) };
    let Some(content) = facts.content(&facet, &version).await? else { return Ok(None) };
    let activity = &content["signInActivity"];
    let times = ["lastSignInDateTime", "lastNonInteractiveSignInDateTime", "lastSuccessfulSignInDateTime"];
    Ok(times.iter().filter_map(|name| activity[*name].as_str()?.parse::<Timestamp>().ok()).max())
}

async fn sample(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (population, seed) = (asking.text("population").unwrap_or("user"), asking.text("seed").unwrap_or_default());
    let objects = asking.access.facts.objects(population)?;
    let count = objects.len();
    let mut drawn: Vec<(Hash, Key)> =
        objects.into_iter().map(|(_, key)| (Hash::of(format!("{seed}\n{key}").as_bytes()), key)).collect();
    drawn.sort();
    drawn.truncate(usize::try_from(asking.number("n").unwrap_or(0)).unwrap_or(usize::MAX));
    let mut rows = Vec::with_capacity(drawn.len());
    for (place, (rank, key)) in drawn.into_iter().enumerate() {
        let mut row = Row::new();
        row.insert("place".to_owned(), (place + 1).into());
        row.insert("key".to_owned(), key.as_str().into());
        row.insert("name".to_owned(), asking.label(&key)?.into());
        row.insert("rank".to_owned(), rank.to_string().into());
        rows.push(row);
    }
    let mut totals = Row::new();
    totals.insert("population".to_owned(), count.into());
    Ok(Table { columns: &["place", "key", "name"], rows, totals, ..Table::default() })
}

async fn inactive(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let days = i64::try_from(asking.number("days").unwrap_or(90)).unwrap_or(i64::MAX).min(36_500);
    let at = asking.end.asked.unwrap_or(asking.end.capture.time);
    let limit = at - SignedDuration::from_hours(24 * days);
    let (mut rows, mut enabled) = (Vec::new(), 0_u64);
    for (id, key) in facts.objects("user")? {
        let Some(content) = facts.content_at_end(id, &key).await? else { continue };
        if content["accountEnabled"] == false {
            continue;
        }
        enabled += 1;
        let last = last_sign_in(asking, &key).await?;
        let created = content["createdDateTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        if last.or(created).is_some_and(|time| time > limit) {
            continue;
        }
        let mut row = account(asking, &key, &content).await?;
        row.insert("last_sign_in".to_owned(), last.map(|at| at.to_string()).into());
        rows.push(row);
    }
    sort(&mut rows, &["last_sign_in", "sign_in", "subject"]);
    let mut totals = Row::new();
    totals.insert("enabled_accounts".to_owned(), enabled.into());
    totals.insert("never_signed_in".to_owned(), rows.iter().filter(|row| row["last_sign_in"].is_null()).count().into());
    totals.insert("limit".to_owned(), limit.to_string().into());
    const COLUMNS: &[&str] = &["name", "sign_in", "type", "department", "created", "last_sign_in"];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}
