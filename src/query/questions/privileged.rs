//! Questions 3 and 5: privileged roles that are held for good, and privileged roles of those who shouldn't have any.
//!
//! Must never know: how a role is found out to be privileged.

use serde_json::Value;

use super::role_holders::{COLUMNS, NEEDS, NOT_CAPTURED, rows, totals};
use super::rows::{Row, count_by};
use super::{Ability, Asking, Question, Span, Table};
use crate::query::QueryError;
use crate::query::access::{Access, Form, Power};
use crate::query::power::is_privileged_role;

/// What is assigned without an end.
pub const PERMANENT: Question = Question {
    number: 3,
    name: "permanent-assignments",
    title: "Which privileged roles were held permanently rather than by activation?",
    description: "One row for each privileged role that somebody held by an assignment without an end, directly or through a group. \
                  Privileged is what the service says is, else the roles that Microsoft's page of built-in roles labels so, else \
                  roles of one's own with actions as strong.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(permanent(asking))),
};

/// Who holds one and is no ordinary enabled member account.
pub const EXCEPTIONS: Question = Question {
    number: 5,
    name: "privileged-exceptions",
    title: "Which guests, synchronised accounts, disabled accounts or applications held privileged roles?",
    description: "One row for each privileged role held, or open to activation, by a guest, an account synchronised from on \
                  premises, a disabled or deleted account, or an application; `why` says which.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(exceptions(asking))),
};

/// Everybody who holds a privileged role or may activate it.
pub(super) async fn holders(asking: &Asking<'_>) -> Result<Vec<Access>, QueryError> {
    let mut found = Vec::new();
    for (id, key) in asking.access.facts.objects("unifiedRoleDefinition")? {
        let content = asking.access.facts.content_at_end(id, &key).await?;
        if is_privileged_role(&key.decoded_id(), content.as_deref()) {
            let holders = asking.access.holders(&key.decoded_id()).await?;
            found.extend(asking.access.corroborate(holders).await?);
        }
    }
    Ok(found)
}

async fn permanent(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let mut found = holders(asking).await?;
    found.retain(|access| {
        let is_assigned = matches!(access.power, Power::Role { form: Form::Assigned, .. });
        is_assigned && access.term.1.is_none()
    });
    let rows = rows(asking, &found).await?;
    let mut totals = totals(&rows, &found);
    totals.insert("rows_by_role".to_owned(), count_by(&rows, "target_name"));
    Ok(Table { columns: COLUMNS, totals, rows, notes: vec![NOT_CAPTURED.to_owned()], ..Table::default() })
}

async fn exceptions(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let found = holders(asking).await?;
    let mut rows = rows(asking, &found).await?;
    let mut kept: Vec<Row> = Vec::new();
    for mut row in rows.drain(..) {
        let subject: Option<crate::canonical::Key> = row["subject"].as_str().and_then(|key| key.parse().ok());
        let Some(subject) = subject else { continue };
        let content = asking.content(&subject).await?;
        let why = why(&row, content.as_deref());
        if !why.is_empty() {
            row.insert("why".to_owned(), why.join(", ").into());
            kept.push(row);
        }
    }
    let mut totals = totals(&kept, &[]);
    totals.retain(|name, _| name == "subjects" || name.starts_with("rows_by"));
    totals.insert("rows_by_reason".to_owned(), count_by(&kept, "why"));
    totals.insert("privileged_rows".to_owned(), found.len().into());
    const WITH_WHY: &[&str] =
        &["name", "sign_in", "kind", "status", "why", "target_name", "form", "scope", "path", "since", "certainty"];
    Ok(Table { columns: WITH_WHY, totals, rows: kept, notes: vec![NOT_CAPTURED.to_owned()], ..Table::default() })
}

fn why(row: &Row, content: Option<&Value>) -> Vec<&'static str> {
    let mut why = Vec::new();
    match row["kind"].as_str() {
        Some("guest") => why.push("guest"),
        Some("application") => why.push("application"),
        Some("agent") => why.push("agent"),
        _ => {}
    }
    match row["status"].as_str() {
        Some("disabled") => why.push("disabled"),
        Some("gone") => why.push("deleted"),
        _ => {}
    }
    if content.is_some_and(|content| content["onPremisesSyncEnabled"] == true) {
        why.push("synchronised");
    }
    why
}
