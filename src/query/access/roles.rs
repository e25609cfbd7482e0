//! Directory roles: assigned, activated or eligible, directly or by a group, everywhere or within a scope.
//!
//! Must never know: which roles are dangerous.
//!
//! A role that is assigned to a group is held by its direct members: such a group can't hold groups
//! (learn.microsoft.com/entra/identity/role-based-access-control/groups-concept). An eligible role gives nothing until it is
//! activated; the list of assignments then shows it as any other, and only the schedules tell that it is an activation
//! (learn.microsoft.com/graph/api/resources/privilegedidentitymanagementv3-overview). Schedules say from when until when they
//! hold, which is more exact than the hour in which a capture saw them, and is taken at its word.

use std::collections::BTreeMap;

use jiff::{Span, Timestamp};
use serde_json::Value;

use super::held::Held;
use super::{Access, Evaluator, Power, Step, StepKind};
use crate::canonical::Key;
use crate::query::QueryError;

/// The scope of a role that is held everywhere in the directory.
pub const EVERYWHERE: &str = "/";

/// How a role is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Assigned, for good or for a term.
    Assigned,
    /// Activated by somebody who is eligible.
    Activated,
    /// Not held: it may be activated.
    Eligible,
}

impl Form {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Assigned => "assigned",
            Form::Activated => "activated",
            Form::Eligible => "eligible",
        }
    }
}

/// The collections that say who has which role.
const COLLECTIONS: [&str; 5] = [
    "unifiedRoleAssignment",
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleAssignmentScheduleInstance",
    "unifiedRoleEligibilitySchedule",
    "unifiedRoleEligibilityScheduleInstance",
];

/// From when until when, by an object's own word.
type Term = (Option<Timestamp>, Option<Timestamp>);

/// What one object says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    principal: String,
    role: String,
    scope: String,
    /// `None` where the object doesn't tell an assignment from an activation.
    form: Option<Form>,
    term: Term,
    /// Whether it is what a membership comes to, and no gift of its own.
    derived: bool,
}

/// What one or more objects say alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    form: Option<Form>,
    term: Term,
    derived: bool,
    by: Vec<Key>,
    held: Held,
}

/// Principal, role, scope.
type What = (String, String, String);

impl Evaluator<'_> {
    /// The roles of a user, group or service principal: its own, and those of the groups it is a member of.
    pub(super) async fn roles_of(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = Vec::new();
        for (what, holding) in self.holdings("principalId", &subject.decoded_id()).await? {
            found.extend(self.role_access(subject, None, &what, &holding)?);
        }
        for (_, group, step) in self.groups_of(subject)? {
            for (what, holding) in self.holdings("principalId", &group.decoded_id()).await? {
                found.extend(self.role_access(subject, Some(&step), &what, &holding)?);
            }
        }
        drop_derived(&mut found);
        Ok(found.into_iter().map(|(access, _)| access).collect())
    }

    /// The roles that somebody or a group was given itself.
    pub(super) async fn own_roles(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = Vec::new();
        for (what, holding) in self.holdings("principalId", &subject.decoded_id()).await? {
            found.extend(self.role_access(subject, None, &what, &holding)?.map(|(access, _)| access));
        }
        Ok(found)
    }

    /// Whoever holds the role with this id, or may activate it: groups too, and their members.
    ///
    /// # Errors
    /// The archive's.
    pub async fn holders(&self, role: &str) -> Result<Vec<Access>, QueryError> {
        self.held_where("roleDefinitionId", role).await
    }

    /// Whoever holds a role that is confined to `target`: an administrative unit, an application or another object.
    pub(super) async fn scoped_to(&self, target: &Key) -> Result<Vec<Access>, QueryError> {
        let scope = match target.collection() {
            "administrativeUnit" => format!("/administrativeUnits/{}", target.decoded_id()),
            _ => format!("/{}", target.decoded_id()),
        };
        self.held_where("directoryScopeId", &scope).await
    }

    async fn held_where(&self, property: &str, value: &str) -> Result<Vec<Access>, QueryError> {
        let mut found = Vec::new();
        let mut members: BTreeMap<Key, Vec<Step>> = BTreeMap::new();
        for (what, holding) in self.holdings(property, value).await? {
            let principal = self.facts.object(&what.0, &["user", "group", "servicePrincipal"])?;
            let subject =
                principal.as_ref().map_or_else(|| Key::new("directoryObject", &what.0), |(_, key)| key.clone());
            found.extend(self.role_access(&subject, None, &what, &holding)?);
            let Some((id, group)) = principal.filter(|(_, key)| key.collection() == "group") else { continue };
            if !members.contains_key(&group) {
                members.insert(group.clone(), self.direct_members(id, &group)?);
            }
            for step in &members[&group] {
                found.extend(self.role_access(&step.from, Some(step), &what, &holding)?);
            }
        }
        drop_derived(&mut found);
        Ok(found.into_iter().map(|(access, _)| access).collect())
    }

    /// The access, and whether it is derived; `None` where its steps and its term don't hold together within the window.
    fn role_access(
        &self,
        subject: &Key,
        member: Option<&Step>,
        what: &What,
        holding: &Holding,
    ) -> Result<Option<(Access, bool)>, QueryError> {
        let holder = member.and_then(|step| step.to.clone()).unwrap_or_else(|| subject.clone());
        let grant =
            Step { kind: StepKind::Granted, from: holder, to: None, by: holding.by.clone(), held: holding.held };
        let power =
            Power::Role { role: what.1.clone(), scope: what.2.clone(), form: holding.form.unwrap_or(Form::Assigned) };
        let path = member.cloned().into_iter().chain([grant]).collect();
        let access = self.access_for(subject, power, path, holding.term)?;
        Ok(access.map(|access| (access, holding.derived && member.is_none())))
    }

    /// What the objects with this value say, objects that say the same taken as one.
    async fn holdings(&self, property: &str, value: &str) -> Result<Vec<(What, Holding)>, QueryError> {
        let mut all: BTreeMap<What, Vec<Holding>> = BTreeMap::new();
        for (id, key) in self.facts.with_value_of(&COLLECTIONS, property, value)? {
            for said in self.facts.said(id, &key, |content| grant(key.collection(), content)).await? {
                let grant = said.what;
                let Grant { form, term, derived, .. } = grant;
                let holding = Holding { form, term, derived, by: vec![said.key], held: said.held };
                all.entry((grant.principal, grant.role, grant.scope)).or_default().push(holding);
            }
        }
        let mut merged = Vec::new();
        for (what, holdings) in all {
            for holding in self.merge(holdings)? {
                merged.push((what.clone(), holding));
            }
        }
        Ok(merged)
    }

    /// Takes objects together that say the same of one principal, role and scope. An assignment that comes and goes with an
    /// activation is that activation.
    fn merge(&self, holdings: Vec<Holding>) -> Result<Vec<Holding>, QueryError> {
        let (plain, told): (Vec<Holding>, Vec<Holding>) = holdings.into_iter().partition(|one| one.form.is_none());
        let mut merged = join(told);
        for assignment in plain {
            let mut explained = false;
            for one in &mut merged {
                let fits = match one.form {
                    Some(Form::Assigned) => one.held.or(assignment.held).is_some(),
                    Some(Form::Activated) => self.comes_with(&assignment.held, &one.held)?,
                    _ => false,
                };
                if fits && !explained {
                    explained = true;
                    one.held = one.held.or(assignment.held).unwrap_or(one.held);
                    one.by.splice(0..0, assignment.by.iter().cloned());
                }
            }
            if !explained {
                merged.push(Holding { form: Some(Form::Assigned), ..assignment });
            }
        }
        Ok(join(merged))
    }

    /// Whether an assignment was there while an activation was: the two lists are read one after the other, so that each may show
    /// a change one capture before the other.
    fn comes_with(&self, assignment: &Held, activation: &Held) -> Result<bool, QueryError> {
        let view = self.facts.archive.view();
        if assignment.or(*activation).is_none() {
            return Ok(false);
        }
        let earliest = view.capture_before(activation.from)?.map_or(0, |row| row.seq).min(activation.missing + 1);
        let latest = match activation.until {
            None => return Ok(assignment.from >= earliest),
            Some(until) => view.capture_after(until)?.map_or(until, |row| row.seq),
        };
        let ends = match assignment.until {
            Some(until) => until <= latest,
            None => latest >= self.facts.window.horizon,
        };
        Ok(assignment.from >= earliest && ends)
    }
}

/// Leaves out what only repeats a membership: instances tell it of each member, beside what the group was given (`memberType`).
/// Where the group isn't known it stays.
fn drop_derived(found: &mut Vec<(Access, bool)>) {
    let through: Vec<(Key, Power)> = found
        .iter()
        .filter(|(access, _)| access.path.len() > 1)
        .map(|(access, _)| (access.subject.clone(), access.power.clone()))
        .collect();
    let is_told =
        |access: &Access| through.iter().any(|(subject, power)| *subject == access.subject && *power == access.power);
    found.retain(|(access, is_derived)| !is_derived || !is_told(access));
}

/// What a schedule may say of itself without being in force: `status` of
/// learn.microsoft.com/graph/api/resources/unifiedroleschedulebase.
const NOT_IN_FORCE: [&str; 9] = [
    "Canceled",
    "Denied",
    "AdminDenied",
    "Failed",
    "Revoked",
    "PendingApproval",
    "PendingApprovalProvisioning",
    "PendingAdminDecision",
    "TimedOut",
];

/// Joins what is of one form and overlaps.
fn join(mut holdings: Vec<Holding>) -> Vec<Holding> {
    holdings.sort_by_key(|one| (one.form, one.held.from, one.held.missing));
    let mut joined: Vec<Holding> = Vec::new();
    for one in holdings {
        let last = joined.last_mut().filter(|last| last.form == one.form && is_same_term(last.term, one.term));
        match last.and_then(|last| Some((last.held.or(one.held)?, last))) {
            Some((held, last)) => {
                last.held = held;
                last.term = (last.term.0.or(one.term.0), last.term.1.or(one.term.1));
                last.by.extend(one.by);
                last.derived &= one.derived;
            }
            None => joined.push(one),
        }
    }
    joined
}

/// Whether two objects may speak of the same term: a schedule and its instance say the same, an assignment says nothing.
fn is_same_term(one: Term, other: Term) -> bool {
    one == other || one == (None, None) || other == (None, None)
}

/// What an object of one of [`COLLECTIONS`] says; `None` where it names no principal or no role, or isn't in force yet.
fn grant(collection: &str, content: &Value) -> Option<Grant> {
    let text = |name: &str| content[name].as_str().filter(|text| !text.is_empty());
    let form = match collection {
        "unifiedRoleAssignment" => None,
        "unifiedRoleEligibilitySchedule" | "unifiedRoleEligibilityScheduleInstance" => Some(Form::Eligible),
        _ if text("assignmentType").is_some_and(|kind| kind.eq_ignore_ascii_case("Activated")) => Some(Form::Activated),
        _ => Some(Form::Assigned),
    };
    let is_void = |status: &str| NOT_IN_FORCE.iter().any(|one| one.eq_ignore_ascii_case(status));
    if text("status").is_some_and(is_void) {
        return None;
    }
    let scope = text("directoryScopeId").or_else(|| text("appScopeId")).unwrap_or(EVERYWHERE);
    Some(Grant {
        principal: text("principalId")?.to_lowercase(),
        role: text("roleDefinitionId")?.to_lowercase(),
        scope: scope.to_owned(),
        form,
        term: term(content),
        derived: text("memberType").is_some_and(|kind| kind.eq_ignore_ascii_case("Group")),
    })
}

/// `startDateTime` and `endDateTime` of an instance; of a schedule what its `scheduleInfo` comes to.
fn term(content: &Value) -> Term {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let info = &content["scheduleInfo"];
    if info.is_null() {
        return (time(&content["startDateTime"]), time(&content["endDateTime"]));
    }
    let start = time(&info["startDateTime"]);
    let expiration = &info["expiration"];
    let end = time(&expiration["endDateTime"]).or_else(|| {
        let span: Span = expiration["duration"].as_str()?.parse().ok()?;
        let start = start?.to_zoned(jiff::tz::TimeZone::UTC);
        Some(start.checked_add(span).ok()?.timestamp())
    });
    (start, end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_schedule_holds_from_its_start_to_its_expiration() {
        let start = "2026-08-01T09:00:00Z";
        for (content, expected) in [
            (json!({"startDateTime": start, "endDateTime": null}), (at(start), None)),
            (
                json!({"startDateTime": start, "endDateTime": "2026-08-01T10:00:00Z"}),
                (at(start), at("2026-08-01T10:00:00Z")),
            ),
            (
                json!({"scheduleInfo": {"startDateTime": start, "expiration": {"type": "noExpiration"}}}),
                (at(start), None),
            ),
            (
                json!({"scheduleInfo": {"startDateTime": start, "expiration": {"type": "afterDuration", "duration": "PT8H"}}}),
                (at(start), at("2026-08-01T17:00:00Z")),
            ),
            (
                json!({"scheduleInfo": {"startDateTime": start, "expiration": {"endDateTime": "2027-08-01T09:00:00Z"}}}),
                (at(start), at("2027-08-01T09:00:00Z")),
            ),
            (json!({}), (None, None)),
        ] {
            assert_eq!(term(&content), expected, "{content}");
        }
    }

    #[test]
    fn an_object_without_principal_or_role_grants_nothing() {
        assert_eq!(grant("unifiedRoleAssignment", &json!({"principalId": "p"})), None);
        assert_eq!(grant("unifiedRoleAssignment", &json!({"principalId": "", "roleDefinitionId": "r"})), None);
        let app = json!({"principalId": "P", "roleDefinitionId": "R", "directoryScopeId": null, "appScopeId": "/App"});
        let found = grant("unifiedRoleAssignment", &app).unwrap();
        assert_eq!((found.principal.as_str(), found.role.as_str(), found.scope.as_str()), ("p", "r", "/App"));
        assert_eq!(found.form, None);
        let activated = json!({"principalId": "p", "roleDefinitionId": "r", "assignmentType": "Activated"});
        assert_eq!(grant("unifiedRoleAssignmentScheduleInstance", &activated).unwrap().form, Some(Form::Activated));
        assert_eq!(
            grant("unifiedRoleAssignmentSchedule", &json!({"principalId": "p", "roleDefinitionId": "r"})).unwrap().form,
            Some(Form::Assigned)
        );
    }
}
