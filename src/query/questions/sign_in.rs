//! Question 24: which policies applied to a sign-in then, which didn't and why, and which depend on what isn't known of it.
//!
//! Must never know: how a policy is judged.

use serde_json::Value;

use super::exemptions::value_name;
use super::rows::{Row, count_by, sort};
use super::{Ability, AskError, Asking, Parameter, ParameterKind, Question, Span, Table};
use crate::query::conditional_access::{
    Applicability, Coverage, Device, Outcome, Place, Policy, Reason, SignIn, State, Truth, Verdict,
};
use crate::query::{Certainty, QueryError};

const fn optional(name: &'static str, kind: ParameterKind, description: &'static str) -> Parameter {
    Parameter { name, kind, default: Some(""), description }
}

const LEVELS: ParameterKind = ParameterKind::Choice(&["none", "low", "medium", "high"]);

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "user",
        kind: ParameterKind::Object(&["user", "servicePrincipal"]),
        default: None,
        description: "who signs in, by name or id; a service principal signs in as itself",
    },
    optional(
        "application",
        ParameterKind::Object(&["servicePrincipal", "application"]),
        "the application that is signed in to, by name or id",
    ),
    optional(
        "action",
        ParameterKind::Choice(&["urn:user:registersecurityinfo", "urn:user:registerdevice"]),
        "the user action, instead of an application",
    ),
    optional("context", ParameterKind::Text, "the authentication context that is asked for, such as c1"),
    optional(
        "client",
        ParameterKind::Choice(&["browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other"]),
        "the kind of client",
    ),
    optional(
        "platform",
        ParameterKind::Choice(&["android", "iOS", "windows", "windowsPhone", "macOS", "linux", "other"]),
        "the platform of the device",
    ),
    optional("address", ParameterKind::Text, "the public address, IPv4 or IPv6"),
    optional("country", ParameterKind::Text, "the country by two letters, or unknown"),
    optional("location", ParameterKind::Object(&["namedLocation"]), "a named location that it comes from"),
    optional("device", ParameterKind::Object(&["device"]), "the device by name or id"),
    optional("unregistered", ParameterKind::Flag, "true for a device that isn't registered"),
    optional("sign-in-risk", LEVELS, "the risk of the sign-in"),
    optional("user-risk", LEVELS, "the risk of the user"),
    optional(
        "flow",
        ParameterKind::Choice(&["none", "deviceCodeFlow", "authenticationTransfer"]),
        "how authentication is transferred; none where it isn't",
    ),
];

/// Which policies applied.
pub const POLICIES: Question = Question {
    number: 24,
    name: "sign-in-policies",
    title: "Which policies applied to a sign-in: a user, an application, a place, a device?",
    description: "One row for each Conditional Access policy as it was then: whether it applied to this person, with the groups and roles of \
                  then, and to this sign-in. What isn't given isn't known: a policy that turns on it depends, and `open` names the \
                  conditions. `unmet` names those that didn't hold. Only enabled policies are enforced; the others are told with their \
                  state. Of who or what wasn't there then nothing is firm. `blocked` and `asked_for` count what surely applied.",
    version: 2,
    span: Span::Instant,
    parameters: PARAMETERS,
    needs: &[
        "conditionalAccessPolicy",
        "namedLocation",
        "user",
        "group",
        "unifiedRoleAssignment",
        "unifiedRoleDefinition",
        "device",
        "servicePrincipal",
    ],
    ability: Ability::Answered(|asking| Box::pin(policies(asking))),
};

/// The sign-in as it was given, and what of it wasn't in the archive as of then.
async fn sign_in(asking: &Asking<'_>) -> Result<(SignIn, Vec<&'static str>), QueryError> {
    let (mut sign_in, mut missing) = (SignIn::default(), Vec::new());
    if let Some((key, id)) = asking.object("application") {
        let content = asking.access.variants(id, key).await?.agreed();
        sign_in.application = content.and_then(|content| content["appId"].as_str().map(str::to_owned));
        // Under the id of its object no policy names it.
        sign_in.is_application_lost = sign_in.application.is_none();
        missing.extend(sign_in.is_application_lost.then_some("application"));
    }
    let text = |name: &str| asking.text(name).map(str::to_owned);
    sign_in.action = text("action");
    sign_in.context = text("context");
    sign_in.client = text("client");
    sign_in.platform = text("platform");
    sign_in.flow = text("flow");
    let address = match asking.text("address") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| AskError::Wrong {
            name: "address",
            value: text.to_owned(),
            expected: "an address, IPv4 or IPv6".to_owned(),
        })?),
    };
    let location = asking.object("location").map(|(key, _)| key.decoded_id());
    sign_in.place = Place { address, country: text("country"), location };
    sign_in.device = match asking.object("device") {
        _ if asking.flag("unregistered") => Device::Unregistered,
        Some((key, id)) => {
            let variants = asking.access.variants(id, key).await?;
            match variants.agreed().filter(|_| variants.there == Truth::Yes) {
                Some(content) => Device::Registered(content),
                None => {
                    missing.push("device");
                    Device::Unknown
                }
            }
        }
        None => Device::Unknown,
    };
    for (name, kind) in [("sign-in-risk", "signInRiskLevels"), ("user-risk", "userRiskLevels")] {
        sign_in.risks.extend(text(name).map(|level| (kind, level)));
    }
    Ok((sign_in, missing))
}

async fn policies(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (who, id) = asking.object("user").expect("the parameter has to be given");
    let (sign_in, mut missing) = sign_in(asking).await?;
    let stretches = asking.access.policies().await?;
    let all: Vec<&Policy> = stretches.iter().map(|said| &said.what).collect();
    let assignments = asking.access.assignments_of(who, &all).await?;
    let locations = asking.access.named_locations().await?;
    let variants = asking.access.variants(id, who).await?;
    let person = assignments.person(who, &variants);
    let is_there = person.is_some() && variants.there == Truth::Yes;
    if !is_there {
        missing.insert(0, "user");
    }
    let mut rows = Vec::new();
    let (mut blocked, mut asked) = (false, std::collections::BTreeSet::new());
    for said in &stretches {
        let policy = &said.what;
        let coverage = match &person {
            Some(person) => policy.covers(person),
            None => Coverage::unknown(),
        };
        let applicability = policy.applies(&sign_in, &locations);
        let outcome = if is_there { outcome(&coverage, &applicability) } else { Outcome::Depends };
        let is_sure = asking.access.sure(&said.held) == Some(Certainty::Observed);
        if outcome == Outcome::Applies && policy.state == State::Enabled && is_sure {
            blocked |= policy.controls.blocks();
            asked.insert(policy.controls.grant_words());
        }
        let who: &[String] = if is_there { &[] } else { &["user".to_owned()] };
        let mut row = Row::new();
        row.insert("policy".to_owned(), said.key.as_str().into());
        row.insert("name".to_owned(), policy.name.as_str().into());
        row.insert("state".to_owned(), policy.state.as_str().into());
        row.insert("outcome".to_owned(), outcome.as_str().into());
        row.insert("who".to_owned(), coverage.verdict.as_str().into());
        row.insert("included_by".to_owned(), told(asking, &coverage.included)?);
        row.insert("excluded_by".to_owned(), told(asking, &coverage.excluded)?);
        row.insert("unmet".to_owned(), applicability.unmet.into());
        row.insert("open".to_owned(), [who, &coverage.unknown, &applicability.open].concat().into());
        row.insert("grant".to_owned(), policy.controls.grant_words().into());
        row.insert("session".to_owned(), policy.controls.session_words().into());
        asking.add_times(&mut row, &said.held)?;
        let certainty = asking.access.sure(&said.held).map(|certainty| certainty.as_str());
        row.insert("certainty".to_owned(), certainty.into());
        rows.push(row);
    }
    sort(&mut rows, &["outcome", "state", "name", "policy", "since"]);
    let mut totals = Row::new();
    let enforced = rows.iter().filter(|row| row["state"] == "enabled").cloned().collect::<Vec<_>>();
    totals.insert("enabled_by_outcome".to_owned(), count_by(&enforced, "outcome"));
    totals.insert("rows_by_state".to_owned(), count_by(&rows, "state"));
    totals.insert("blocked".to_owned(), blocked.into());
    asked.remove("");
    totals.insert("asked_for".to_owned(), asked.into_iter().collect::<Vec<_>>().into());
    let mut notes = vec![
        "The trusted addresses of the old settings of multifactor authentication are told by no interface, and taken for none."
            .to_owned(),
    ];
    notes.extend(missing.iter().map(|name| {
        format!("The {name} wasn't in the archive as of then, or nobody can say: what turns on it depends.")
    }));
    const COLUMNS: &[&str] = &[
        "name",
        "state",
        "outcome",
        "who",
        "included_by",
        "excluded_by",
        "unmet",
        "open",
        "grant",
        "session",
        "certainty",
    ];
    Ok(Table { columns: COLUMNS, rows, totals, notes, is_incomplete: !missing.is_empty() })
}

/// Who is covered and what applies together.
fn outcome(coverage: &Coverage, applicability: &Applicability) -> Outcome {
    match (coverage.verdict, applicability.outcome) {
        (Verdict::Excluded | Verdict::NotTargeted, _) | (_, Outcome::DoesNotApply) => Outcome::DoesNotApply,
        (Verdict::Covered, Outcome::Applies) => Outcome::Applies,
        _ => Outcome::Depends,
    }
}

fn told(asking: &Asking<'_>, reasons: &[Reason]) -> Result<Value, QueryError> {
    let mut told = Vec::new();
    for reason in reasons {
        told.push(format!("{} {}", reason.list, value_name(asking, reason)?));
    }
    Ok(told.into())
}
