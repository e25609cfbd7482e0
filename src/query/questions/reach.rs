//! Questions 11, 12, 13 and 17: who had access to an application or group, what somebody could reach, what differs between two
//! reviews, and who held two things at once.
//!
//! Must never know: which access is dangerous.

use std::collections::BTreeMap;

use serde_json::Value;

use super::role_holders::{NOT_CAPTURED, rows, rows_by, told};
use super::rows::{Row, count_by, count_distinct, sort};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::canonical::Key;
use crate::query::QueryError;
use crate::query::access::{Access, Evaluator, Power};

const TARGET: Parameter = Parameter {
    name: "target",
    kind: ParameterKind::Object(&["servicePrincipal", "group", "administrativeUnit", "application"]),
    default: None,
    description: "the application, group or administrative unit, by name, id or key",
};

const SUBJECT: Parameter = Parameter {
    name: "subject",
    kind: ParameterKind::Object(&["user", "servicePrincipal", "group", "device"]),
    default: None,
    description: "the user, application or group, by name, id or key",
};

const NEEDS: &[&str] = &[
    "user",
    "group",
    "servicePrincipal",
    "application",
    "appRoleAssignment",
    "oauth2PermissionGrant",
    "unifiedRoleAssignment",
    "unifiedRoleEligibilitySchedule",
    "administrativeUnit",
];

const COLUMNS: &[&str] =
    &["name", "sign_in", "kind", "status", "power", "scope", "form", "path", "since", "until", "given_by", "certainty"];

/// Who could reach it.
pub const REACHERS: Question = Question {
    number: 11,
    name: "who-could-reach",
    title: "Who had access to an application, group or administrative unit: directly, by a group, by default, as owner?",
    description: "One row for each way in which somebody had access. An app role that is given to a group reaches its direct members, \
                  not groups in it. Where an application asks for no assignment one row says that everybody has access. Owners have \
                  rows: they could give themselves access. Holders of roles confined to it have rows too.",
    version: 1,
    span: Span::Instant,
    parameters: &[TARGET],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(reachers(asking))),
};

/// What somebody could reach.
pub const REACH: Question = Question {
    number: 12,
    name: "reach",
    title: "What could somebody reach: groups, roles, applications, delegated grants, ownership?",
    description: "One row for each way to each thing. Applications that ask for no assignment are open to every user: they are counted, \
                  and listed with open=true. Azure subscriptions aren't part of the archive.",
    version: 1,
    span: Span::Instant,
    parameters: &[
        SUBJECT,
        Parameter {
            name: "open",
            kind: ParameterKind::Flag,
            default: Some("false"),
            description: "whether applications that are open to everybody are listed",
        },
    ],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(reach(asking))),
};

/// What differs between two reviews.
pub const CHANGES: Question = Question {
    number: 13,
    name: "access-changes",
    title: "Who gained and who lost access to an application or group between two dates?",
    description: "One row for each way of access that was there at one end of the period and not at the other. What came and went in \
                  between has no row; who-could-reach asked of a time in between has. Tickets aren't part of the archive.",
    version: 1,
    span: Span::Period,
    parameters: &[TARGET],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(changes(asking))),
};

/// Who held two things at once.
pub const TOGETHER: Question = Question {
    number: 17,
    name: "held-together",
    title: "Who held two roles, applications or groups at once within a period (segregation of duties)?",
    description: "One row for each pair of ways in which somebody had both at the same time. Eligible roles count, since who may activate \
                  both can have both.",
    version: 1,
    span: Span::Period,
    parameters: &[
        Parameter {
            name: "one",
            kind: ParameterKind::Object(BOTH),
            default: None,
            description: "a role, application or group",
        },
        Parameter { name: "other", kind: ParameterKind::Object(BOTH), default: None, description: "another one" },
    ],
    needs: NEEDS,
    ability: Ability::Answered(|asking| Box::pin(together(asking))),
};

const BOTH: &[&str] = &["unifiedRoleDefinition", "servicePrincipal", "group"];

async fn found_at(access: &Evaluator<'_>, target: &Key) -> Result<Vec<Access>, QueryError> {
    match target.collection() {
        "unifiedRoleDefinition" => access.holders(&target.decoded_id()).await,
        _ => access.reachers(target).await,
    }
}

async fn reachers(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (target, _) = asking.object("target").expect("it has to be given");
    let found = asking.access.corroborate(found_at(&asking.access, target).await?).await?;
    let rows = rows(asking, &found).await?;
    let notes = vec![NOT_CAPTURED.to_owned()];
    Ok(Table { columns: COLUMNS, totals: totals(&rows), rows, notes, ..Table::default() })
}

async fn reach(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (subject, _) = asking.object("subject").expect("it has to be given");
    let mut found = asking.access.corroborate(asking.access.reach(subject).await?).await?;
    let count = match (subject.collection(), asking.flag("open")) {
        ("user", true) => {
            let open = asking.access.open_applications().await?;
            let count = open.len();
            found.extend(open.into_iter().map(|access| Access { subject: subject.clone(), ..access }));
            count
        }
        ("user", false) => asking.access.count_open_applications()?,
        _ => 0,
    };
    const ORDER: &[&str] = &["power", "target_name", "target", "scope", "form", "path", "since"];
    let mut rows = rows_by(asking, &found, ORDER).await?;
    // What they have for themselves comes before what everybody has.
    rows.sort_by_key(|row| row["form"].as_str().is_some_and(|form| form.ends_with("for everybody")));
    let mut totals = totals(&rows);
    totals.insert("open_to_everybody".to_owned(), count.into());
    const OWN: &[&str] = &["power", "target_name", "scope", "form", "path", "since", "until", "certainty"];
    let notes = vec![NOT_CAPTURED.to_owned()];
    Ok(Table { columns: OWN, rows, totals, notes, ..Table::default() })
}

/// What an access is, whenever it is held.
fn name_of(access: &Access) -> (Key, Power, Vec<(Key, Vec<Key>)>) {
    let path = access.path.iter().map(|step| (step.from.clone(), step.by.clone())).collect();
    (access.subject.clone(), access.power.clone(), path)
}

async fn changes(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (target, _) = asking.object("target").expect("it has to be given");
    let mut sides = Vec::new();
    for instant in [&asking.begin, &asking.end] {
        let access = Evaluator::at(asking.archive, instant)?;
        let found = access.corroborate(found_at(&access, target).await?).await?;
        asking.access.facts.rest_on_all(access.facts.used());
        sides.push(found.into_iter().map(|access| (name_of(&access), access)).collect::<BTreeMap<_, _>>());
    }
    let (after, before) = (sides.pop().unwrap_or_default(), sides.pop().unwrap_or_default());
    let lost = before.iter().filter(|(name, _)| !after.contains_key(name)).map(|(_, access)| (access.clone(), "lost"));
    let gained =
        after.iter().filter(|(name, _)| !before.contains_key(name)).map(|(_, access)| (access.clone(), "gained"));
    let mut all = Vec::new();
    for (mut row, change) in told(asking, lost.chain(gained).collect()).await? {
        row.insert("change".to_owned(), change.into());
        all.push(row);
    }
    sort(&mut all, &["change", "name", "subject", "power", "path"]);
    let mut totals = totals(&all);
    totals.insert("rows_by_change".to_owned(), count_by(&all, "change"));
    totals.insert("before".to_owned(), before.len().into());
    totals.insert("after".to_owned(), after.len().into());
    const CHANGED: &[&str] =
        &["change", "name", "sign_in", "kind", "power", "scope", "form", "path", "since", "until", "certainty"];
    Ok(Table { columns: CHANGED, rows: all, totals, ..Table::default() })
}

/// Whoever held it itself: owners and holders of roles over it don't yet.
async fn held(asking: &Asking<'_>, target: &Key) -> Result<Vec<Access>, QueryError> {
    let mut found = found_at(&asking.access, target).await?;
    let is_role = target.collection() == "unifiedRoleDefinition";
    found.retain(|access| match access.power {
        Power::Owner { .. } => false,
        Power::Role { .. } => is_role,
        _ => true,
    });
    Ok(found)
}

async fn together(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (one, _) = asking.object("one").expect("it has to be given");
    let (other, _) = asking.object("other").expect("it has to be given");
    let (ones, others) = (held(asking, one).await?, held(asking, other).await?);
    let mut by_subject: BTreeMap<&Key, Vec<&Access>> = BTreeMap::new();
    for access in &others {
        by_subject.entry(&access.subject).or_default().push(access);
    }
    let mut all = Vec::new();
    for first in ones.iter().filter(|access| access.subject.collection() != "group") {
        for second in by_subject.get(&first.subject).into_iter().flatten() {
            let Some(both) = asking.access.both(first, second) else { continue };
            let Some(both) = asking.access.corroborate(vec![both]).await?.pop() else { continue };
            let mut row = asking.who(&first.subject).await?;
            for (side, access) in [("one", first), ("other", *second)] {
                let mut own = Row::new();
                asking.add_power(&mut own, &access.power).await?;
                asking.add_path(&mut own, access)?;
                row.insert(format!("{side}_name"), own["target_name"].clone());
                row.insert(format!("{side}_form"), own["form"].clone());
                row.insert(format!("{side}_path"), own["path"].clone());
            }
            asking.add_path(&mut row, &both)?;
            row.shift_remove("path");
            all.push(row);
        }
    }
    sort(&mut all, &["name", "subject", "since", "one_path", "other_path"]);
    let mut totals = totals(&all);
    let mut notes = Vec::new();
    for (side, found) in [(one, &ones), (other, &others)] {
        if found.iter().any(|access| matches!(access.power, Power::DefaultAccess { .. })) {
            let name = asking.label(side)?.unwrap_or_else(|| side.to_string());
            notes.push(format!("{name} asked for no assignment: everybody who held the other one could use it, too"));
        }
    }
    totals.insert("held_one".to_owned(), crate::query::access::subjects(&ones).len().into());
    totals.insert("held_other".to_owned(), crate::query::access::subjects(&others).len().into());
    const BOTH_COLUMNS: &[&str] = &[
        "name",
        "sign_in",
        "kind",
        "one_name",
        "one_form",
        "one_path",
        "other_name",
        "other_form",
        "other_path",
        "since",
        "until",
        "certainty",
    ];
    Ok(Table { columns: BOTH_COLUMNS, rows: all, totals, notes, ..Table::default() })
}

fn totals(rows: &[Row]) -> Row {
    let mut totals = Row::new();
    totals.insert("subjects".to_owned(), count_distinct(rows, "subject"));
    for (name, column) in [("rows_by_power", "power"), ("rows_by_kind", "kind"), ("rows_by_certainty", "certainty")] {
        let counts = count_by(rows, column);
        if counts != Value::Object(Row::new()) {
            totals.insert(name.to_owned(), counts);
        }
    }
    totals
}
