//! Questions 7 and 37: who could have made themselves administrator, and which guests there were with what access.
//!
//! Must never know: which of them did.

use std::collections::BTreeMap;

use serde_json::Value;

use super::privileged;
use super::role_holders::{NOT_CAPTURED, rows};
use super::rows::{Row, actor, count_by, count_distinct, sort};
use super::{Ability, Asking, Question, Span, Table};
use crate::canonical::Key;
use crate::query::access::{Access, Power};
use crate::query::power::{GRAPH, is_privileged_permission};
use crate::query::{Attributed, Matter, QueryError, Turn};

/// Who could become one.
pub const BECOME: Question = Question {
    number: 7,
    name: "could-become-administrator",
    title: "Who could have made themselves administrator: by owning what is privileged, by a role or a permission that gives roles?",
    description: "One row for each way: owners of groups that hold privileged roles, owners of applications and service principals that hold \
                  a privileged role or permission (`leads_to` says which), holders of Privileged Role Administrator and Privileged \
                  Authentication Administrator, and applications with a permission of Microsoft Graph that gives power over the directory. \
                  Those who hold the power already are in role-holders.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &[
        "unifiedRoleAssignment",
        "unifiedRoleEligibilitySchedule",
        "group",
        "application",
        "servicePrincipal",
        "appRoleAssignment",
    ],
    ability: Ability::Answered(|asking| Box::pin(become_one(asking))),
};

/// Guests.
pub const GUESTS: Question = Question {
    number: 37,
    name: "guests",
    title: "Which guests from which organisations were there, invited by whom, with what access?",
    description: "One row for each guest account, with the domain of its mail address, the state of its invitation, who made it by the audit \
                  log, and how many groups, roles and applications it could reach; reach tells which.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &["user", "group", "appRoleAssignment", "unifiedRoleAssignment", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(guests(asking))),
};

/// Roles that give others: template ids of Privileged Role Administrator and Privileged Authentication Administrator.
const GIVING: [&str; 2] = ["e8611ab8-c189-46e8-94e1-60213ab1f814", "7be44c8a-adaf-4e2a-84d6-ab2649e08a13"];

async fn become_one(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let privileged = privileged::holders(asking).await?;
    // What holds something privileged, and what.
    let mut holds: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    let has_owners = |access: &&Access| access.path.len() == 1 || access.subject.collection() == "servicePrincipal";
    for access in privileged.iter().filter(has_owners) {
        let words = asking.archive.power_words(&access.power, asking.end.capture.seq)?;
        holds.entry(access.subject.clone()).or_default().push(words.name.unwrap_or(words.target));
    }
    let mut permitted = Vec::new();
    for (_, graph) in asking.access.facts.with_value("servicePrincipal", "appId", GRAPH)? {
        for access in asking.access.permissions_on(&graph).await? {
            let Power::AppRole { role, .. } = &access.power else { continue };
            if is_privileged_permission(role) {
                let name = asking.app_role_name(&graph, role).await?;
                holds.entry(access.subject.clone()).or_default().push(name);
                permitted.push(access);
            }
        }
    }
    let mut all = Vec::new();
    for (held, powers) in &holds {
        let owned = asking.access.one_application(held).await?;
        for key in owned.iter().filter(|key| matches!(key.collection(), "group" | "application" | "servicePrincipal")) {
            let owners = asking.access.corroborate(asking.access.owners(key)?).await?;
            push(asking, &mut all, &owners, "owns what is privileged", powers).await?;
        }
    }
    let gives = |access: &&Access| matches!(&access.power, Power::Role { role, .. } if GIVING.contains(&role.as_str()));
    let giving: Vec<Access> = privileged.iter().filter(gives).cloned().collect();
    push(asking, &mut all, &giving, "holds a role that gives roles or resets administrators", &[]).await?;
    push(asking, &mut all, &permitted, "holds a permission over the directory", &[]).await?;
    sort(&mut all, &["why", "kind", "name", "subject", "target_name", "path"]);
    let mut totals = Row::new();
    totals.insert("subjects".to_owned(), count_distinct(&all, "subject"));
    totals.insert("rows_by_why".to_owned(), count_by(&all, "why"));
    totals.insert("rows_by_certainty".to_owned(), count_by(&all, "certainty"));
    const COLUMNS: &[&str] =
        &["name", "sign_in", "kind", "status", "why", "target_name", "form", "leads_to", "path", "since", "certainty"];
    let notes = vec![NOT_CAPTURED.to_owned()];
    Ok(Table { columns: COLUMNS, rows: all, totals, notes, ..Table::default() })
}

async fn push(
    asking: &Asking<'_>,
    all: &mut Vec<Row>,
    found: &[Access],
    why: &str,
    powers: &[String],
) -> Result<(), QueryError> {
    let mut powers = powers.to_vec();
    powers.sort();
    powers.dedup();
    for mut row in rows(asking, found).await? {
        row.insert("why".to_owned(), why.into());
        row.insert("leads_to".to_owned(), powers.clone().into());
        all.push(row);
    }
    Ok(())
}

async fn guests(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut all = Vec::new();
    for (id, key) in facts.with_value("user", "userType", "Guest")? {
        let Some(content) = facts.content_at_end(id, &key).await?.filter(|content| content["userType"] == "Guest")
        else {
            continue;
        };
        let mut row = asking.who(&key).await?;
        let mail = content["mail"].as_str().or_else(|| content["userPrincipalName"].as_str()).unwrap_or_default();
        let domain = match mail.split_once("#EXT#") {
            // A guest's sign-in name holds the address with `_` for `@`.
            Some((address, _)) => address.rsplit_once('_').map(|(_, domain)| domain.to_owned()),
            None => mail.rsplit_once('@').map(|(_, domain)| domain.to_lowercase()),
        };
        row.insert("organisation".to_owned(), domain.into());
        row.insert("invitation".to_owned(), content["externalUserState"].clone());
        row.insert("created".to_owned(), content["createdDateTime"].clone());
        if let Some(said) = facts.said(id, &key, |_| Some(())).await?.pop() {
            asking.add_times(&mut row, &said.held)?;
            let held = said.held;
            let by = match held.is_open {
                true => Value::Null,
                false => {
                    match asking
                        .archive
                        .attribute(&[&key.decoded_id()], Matter::Existence, Turn::Began, held.missing, held.from)
                        .await?
                    {
                        Attributed::By(attribution) => actor(&attribution.actor).into(),
                        Attributed::Silent => "unattributed".into(),
                        Attributed::Unread => "unknown: the audit log wasn't read".into(),
                    }
                }
            };
            facts.rest_on("directoryAudit", None);
            row.insert("invited_by".to_owned(), by);
        }
        let reach = asking.access.reach(&key).await?;
        // By several paths it is still one.
        let powers: std::collections::BTreeSet<&Power> = reach.iter().map(|access| &access.power).collect();
        let count = |is: fn(&Power) -> bool| powers.iter().filter(|power| is(power)).count();
        row.insert(
            "groups".to_owned(),
            count(|power| matches!(power, Power::Member { of } if of.collection() == "group")).into(),
        );
        row.insert("roles".to_owned(), count(|power| matches!(power, Power::Role { .. })).into());
        row.insert("applications".to_owned(), count(|power| matches!(power, Power::AppRole { .. })).into());
        all.push(row);
    }
    sort(&mut all, &["organisation", "sign_in", "subject"]);
    let mut totals = Row::new();
    totals.insert("rows_by_organisation".to_owned(), count_by(&all, "organisation"));
    totals.insert("rows_by_invitation".to_owned(), count_by(&all, "invitation"));
    totals.insert("rows_by_status".to_owned(), count_by(&all, "status"));
    const COLUMNS: &[&str] = &[
        "name",
        "sign_in",
        "status",
        "organisation",
        "invitation",
        "created",
        "invited_by",
        "groups",
        "roles",
        "applications",
    ];
    Ok(Table { columns: COLUMNS, rows: all, totals, ..Table::default() })
}
