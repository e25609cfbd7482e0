//! Questions 26, 27, 29 and 30: what policies, named locations, security defaults and domains said over time, and who changed it.
//!
//! Must never know: whom a policy covers.

use serde_json::Value;

use super::rows::{Row, count_by, count_distinct, sort};
use super::settings::add_origin;
use super::{Ability, Asking, Question, Span, Table};
use crate::canonical::Key;
use crate::query::access::Held;
use crate::query::conditional_access::{NamedLocation, Policy, State};
use crate::query::{QueryError, Turn};

/// Report-only policies.
pub const REPORT_ONLY: Question = Question {
    number: 26,
    name: "report-only-policies",
    title: "Which policies were report-only rather than enabled, and when?",
    description: "Of every Conditional Access policy that only reported at some moment of the period, one row for each stretch in which it \
                  was in one state, with who put it there. A report-only policy is evaluated and logged and keeps nobody out.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["conditionalAccessPolicy", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(report_only(asking))),
};

/// Trusted locations.
pub const TRUSTED: Question = Question {
    number: 27,
    name: "trusted-locations",
    title: "What addresses were trusted, and who changed them?",
    description: "Of every named location that was marked as trusted at some moment of the period, one row for each stretch in which it said \
                  the same, with the ranges that it gained and lost and who did it.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["namedLocation", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(trusted(asking))),
};

/// Passwords.
pub const PASSWORDS: Question = Question {
    number: 29,
    name: "password-settings",
    title: "What were the settings of password expiry?",
    description: "One row for each domain, with after how many days a password of its accounts expires and how many days before people are \
                  told. A domain that says nothing has the service's default; federated domains leave passwords to their own service.",
    version: 1,
    span: Span::Instant,
    parameters: &[],
    needs: &["domain", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(passwords(asking))),
};

/// Security defaults.
pub const DEFAULTS: Question = Question {
    number: 30,
    name: "security-defaults",
    title: "Were security defaults on or off, and when?",
    description: "One row for each stretch of the period in which security defaults were on or off, with who switched them.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &["identitySecurityDefaultsEnforcementPolicy", "directoryAudit"],
    ability: Ability::Answered(|asking| Box::pin(defaults(asking))),
};

async fn report_only(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut rows = Vec::new();
    for (key, id) in asking.access.ever("conditionalAccessPolicy")? {
        let state = |content: &Value| Policy::read(content).map(|own| own.state);
        let stretches = facts.said(id, &key, state).await?;
        if !stretches.iter().any(|said| said.what == State::ReportOnly) {
            continue;
        }
        for said in stretches {
            let mut row = Row::new();
            row.insert("policy".to_owned(), key.as_str().into());
            row.insert("name".to_owned(), asking.label(&key)?.into());
            row.insert("state".to_owned(), said.what.as_str().into());
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
    }
    sort(&mut rows, &["name", "policy", "since"]);
    let mut totals = Row::new();
    totals.insert("policies".to_owned(), count_distinct(&rows, "policy"));
    totals.insert("rows_by_state".to_owned(), count_by(&rows, "state"));
    const COLUMNS: &[&str] = &["name", "state", "since", "until", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}

/// Since when something was so, who made it so, and how sure it is that this reaches into the window.
pub(super) async fn add_stretch(asking: &Asking<'_>, row: &mut Row, key: &Key, held: &Held) -> Result<(), QueryError> {
    add_origin(asking, row, key, held, Turn::Changed).await?;
    let certainty = asking.access.sure(held).map(|certainty| certainty.as_str());
    row.insert("certainty".to_owned(), certainty.into());
    Ok(())
}

async fn trusted(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut rows = Vec::new();
    for (key, id) in asking.access.ever("namedLocation")? {
        let read = |content: &Value| Some(NamedLocation::read(&key.decoded_id(), content));
        let stretches = facts.said(id, &key, read).await?;
        if !stretches.iter().any(|said| said.what.is_trusted) {
            continue;
        }
        let mut before: Option<&NamedLocation> = None;
        for said in &stretches {
            let mut row = Row::new();
            row.insert("location".to_owned(), key.as_str().into());
            row.insert("name".to_owned(), said.what.name.as_str().into());
            row.insert("trusted".to_owned(), said.what.is_trusted.into());
            row.insert("ranges".to_owned(), said.what.ranges().to_vec().into());
            if let Some(before) = before {
                let only = |one: &NamedLocation, other: &NamedLocation| -> Value {
                    let own = one.ranges().iter().filter(|range| !other.ranges().contains(range));
                    own.cloned().collect::<Vec<_>>().into()
                };
                row.insert("added".to_owned(), only(&said.what, before));
                row.insert("removed".to_owned(), only(before, &said.what));
            }
            before = Some(&said.what);
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
    }
    sort(&mut rows, &["name", "location", "since"]);
    let mut totals = Row::new();
    totals.insert("locations".to_owned(), count_distinct(&rows, "location"));
    let notes = vec![
        "The trusted addresses of the old settings of multifactor authentication are told by no interface and aren't here."
            .to_owned(),
    ];
    const COLUMNS: &[&str] =
        &["name", "trusted", "ranges", "added", "removed", "since", "until", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, notes, ..Table::default() })
}

/// What the service writes for passwords that don't expire (learn.microsoft.com/graph/api/resources/domain says what the default is
/// where nothing is written; the largest number is what its administration writes for never).
const NEVER: u64 = 2_147_483_647;

async fn passwords(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut rows = Vec::new();
    for (id, key) in facts.objects("domain")? {
        let settings = |content: &Value| {
            let named = ["authenticationType", "passwordValidityPeriodInDays", "passwordNotificationWindowInDays"];
            Some(named.map(|name| content[name].clone()))
        };
        for said in facts.said(id, &key, settings).await? {
            let [authentication, days, notice] = said.what;
            let mut row = Row::new();
            row.insert("domain".to_owned(), key.decoded_id().into());
            row.insert("authentication".to_owned(), authentication);
            let expiry = match days.as_u64() {
                Some(NEVER) => "never".to_owned(),
                Some(days) => format!("{days} days"),
                None => "the service's default".to_owned(),
            };
            row.insert("expires_after".to_owned(), expiry.into());
            row.insert("password_days".to_owned(), days);
            row.insert("notice_days".to_owned(), notice);
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
    }
    sort(&mut rows, &["domain", "since"]);
    let mut totals = Row::new();
    totals.insert("rows_by_expiry".to_owned(), count_by(&rows, "expires_after"));
    let notes = vec![
        "Lockout and banned passwords are in directory settings, which aren't captured.".to_owned(),
        "An account with passwordPolicies DisablePasswordExpiration keeps its password whatever its domain says."
            .to_owned(),
    ];
    const COLUMNS: &[&str] =
        &["domain", "authentication", "expires_after", "notice_days", "since", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, notes, ..Table::default() })
}

async fn defaults(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let facts = &asking.access.facts;
    let mut rows = Vec::new();
    for (key, id) in asking.access.ever("identitySecurityDefaultsEnforcementPolicy")? {
        for said in facts.said(id, &key, |content| content["isEnabled"].as_bool()).await? {
            let mut row = Row::new();
            row.insert("security_defaults".to_owned(), if said.what { "on" } else { "off" }.into());
            add_stretch(asking, &mut row, &key, &said.held).await?;
            rows.push(row);
        }
    }
    sort(&mut rows, &["since"]);
    let mut totals = Row::new();
    totals.insert("rows_by_state".to_owned(), count_by(&rows, "security_defaults"));
    const COLUMNS: &[&str] = &["security_defaults", "since", "since_after", "until", "changed_by", "certainty"];
    Ok(Table { columns: COLUMNS, rows, totals, ..Table::default() })
}
