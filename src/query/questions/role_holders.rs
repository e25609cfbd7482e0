//! Questions 1 and 2: who held a directory role, at an instant or at any moment of a period.
//!
//! Must never know: which roles are dangerous.

use super::rows::{Row, count_by, count_distinct, sort};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table, role_log};
use crate::query::QueryError;
use crate::query::access::{Access, Form, Power};

const ROLE: Parameter = Parameter {
    name: "role",
    kind: ParameterKind::Object(&["unifiedRoleDefinition"]),
    default: Some("62e90394-69f5-4237-9190-012177145e10"),
    description: "the role by name or id; Global Administrator if it isn't given",
};

pub(super) const NEEDS: &[&str] = &[
    "unifiedRoleDefinition",
    "unifiedRoleAssignment",
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleAssignmentScheduleInstance",
    "unifiedRoleEligibilitySchedule",
    "unifiedRoleEligibilityScheduleInstance",
    "group",
    "user",
    "servicePrincipal",
    "administrativeUnit",
];

pub(super) const COLUMNS: &[&str] = &[
    "name",
    "sign_in",
    "kind",
    "status",
    "target_name",
    "form",
    "scope",
    "path",
    "since",
    "until",
    "given_by",
    "certainty",
];

/// Who held it then.
pub const AT: Question = Question {
    number: 1,
    name: "role-holders",
    title: "Who held a directory role: directly, through a group, eligible or activated, at which scope, and since when?",
    description: "One row for each way in which somebody held the role or could activate it. A group that holds it has a row of \
                  its own beside its direct members; groups that hold roles can't contain groups. Eligible means that it could be \
                  activated, and gives nothing before. `since` is the capture that saw it first, `since_after` the last one that \
                  saw it missing. What the audit log shows to have begun since the capture has a row of its own.",
    version: 2,
    span: Span::Instant,
    parameters: &[ROLE],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(run(asking))),
};

/// Who held it at any moment.
pub const DURING: Question = Question {
    number: 2,
    name: "role-holders-during",
    title: "Who held a directory role at any moment of a period, even for an hour?",
    description: "As role-holders, for everybody who held the role or could activate it at some moment of the period. What came and \
                  went between two captures shows where the schedules of PIM or the audit log say so: the log's alone have a path that says it.",
    version: 2,
    span: Span::Period,
    parameters: &[ROLE],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(run(asking))),
};

async fn run(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (role, _) = asking.object("role").expect("the parameter has a default");
    let found = asking.access.holders(&role.decoded_id()).await?;
    let found = asking.access.corroborate(found).await?;
    let mut rows = rows(asking, &found).await?;
    let by_log = role_log::rows(asking, &role.decoded_id(), &found).await?;
    let mut totals = totals(&rows, &found);
    if !by_log.is_empty() {
        rows.extend(by_log.iter().cloned());
        totals.insert("subjects".to_owned(), count_distinct(&rows, "subject"));
        totals.insert("rows_by_certainty".to_owned(), count_by(&rows, "certainty"));
    }
    totals.insert("by_the_audit_log_alone".to_owned(), by_log.len().into());
    let notes = vec![NOT_CAPTURED.to_owned()];
    Ok(Table { columns: COLUMNS, totals, rows, notes, ..Table::default() })
}

/// What could give somebody access and isn't part of the archive.
pub(super) const NOT_CAPTURED: &str =
    "memberships for which somebody was eligible by PIM for groups are not captured, nor are Azure role assignments";

/// Rows for each of which the audit log is looked through. Of a longer list that would take minutes; each of its rows can be asked
/// about by itself.
const MOST_GIVERS: usize = 2000;

/// A row for each access, sorted by what is held and by whom.
pub(super) async fn rows(asking: &Asking<'_>, found: &[Access]) -> Result<Vec<Row>, QueryError> {
    rows_by(asking, found, &["target_name", "form", "kind", "name", "subject", "scope", "since"]).await
}

/// A row for each access, sorted by these columns.
pub(super) async fn rows_by(asking: &Asking<'_>, found: &[Access], columns: &[&str]) -> Result<Vec<Row>, QueryError> {
    let found = found.iter().map(|access| (access.clone(), ())).collect();
    let mut rows: Vec<Row> = told(asking, found).await?.into_iter().map(|(row, ())| row).collect();
    sort(&mut rows, columns);
    Ok(rows)
}

/// A row for each access, beside what else is known of it.
pub(super) async fn told<T>(asking: &Asking<'_>, found: Vec<(Access, T)>) -> Result<Vec<(Row, T)>, QueryError> {
    let mut rows = Vec::with_capacity(found.len());
    let tells_givers = found.len() <= MOST_GIVERS;
    for (access, what) in found {
        let mut row = asking.who(&access.subject).await?;
        asking.add_power(&mut row, &access.power).await?;
        asking.add_path(&mut row, &access)?;
        if tells_givers {
            asking.add_givers(&mut row, &access).await?;
        }
        rows.push((row, what));
    }
    Ok(rows)
}

/// Holders by form and kind, each counted once.
pub(super) fn totals(rows: &[Row], found: &[Access]) -> Row {
    let mut totals = Row::new();
    totals.insert("subjects".to_owned(), count_distinct(rows, "subject"));
    for form in [Form::Assigned, Form::Activated, Form::Eligible] {
        let of_form =
            found.iter().filter(|access| matches!(&access.power, Power::Role { form: own, .. } if *own == form));
        let subjects: std::collections::BTreeSet<_> = of_form.map(|access| &access.subject).collect();
        totals.insert(form.as_str().to_owned(), subjects.len().into());
    }
    totals.insert("rows_by_kind".to_owned(), count_by(rows, "kind"));
    totals.insert("rows_by_certainty".to_owned(), count_by(rows, "certainty"));
    totals
}
