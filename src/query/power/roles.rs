//! Who holds which directory role where, in which form, and who holds more than before. Pure.
//!
//! Must never know: which roles are privileged.
//!
//! One grant shows in several collections: an assignment, its schedule, the instance of that; eligibility as a schedule and
//! an instance. An activation by PIM shows as an assignment, too. Shapes: learn.microsoft.com/graph/api/resources/
//! unifiedroleassignment, unifiedroleassignmentschedule, unifiedroleassignmentscheduleinstance,
//! unifiedroleeligibilityschedule and unifiedroleeligibilityscheduleinstance.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Kind;
use crate::canonical::Key;

/// The collections in which grants of roles show.
pub(super) const COLLECTIONS: &[&str] = &[
    "unifiedRoleAssignment",
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleAssignmentScheduleInstance",
    "unifiedRoleEligibilitySchedule",
    "unifiedRoleEligibilityScheduleInstance",
];

/// The scope of the whole directory.
const EVERYWHERE: &str = "/";

/// A role held by a principal at a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holding {
    /// The id of the principal.
    pub principal: String,
    /// The id of the role definition.
    pub role: String,
    /// `/`, or what it is confined to.
    pub scope: String,
}

/// How a grant shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As an assignment, whatever made it.
    Assignment,
    /// As assigned for good or for a time.
    Assigned,
    /// As activated by PIM.
    Activated,
    /// As eligible for activation.
    Eligible,
}

/// Where a holding shows, by form: the first object of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Forms {
    assignment: Option<Key>,
    assigned: Option<Key>,
    activated: Option<Key>,
    eligible: Option<Key>,
}

impl Forms {
    /// It is there without anybody having activated it. Where only the assignment shows, it counts as activated if the
    /// principal is eligible: the lists are read one after the other, and an activation between two of them shows in one.
    fn standing(&self) -> Option<&Key> {
        let alone = self.assignment.as_ref().filter(|_| self.activated.is_none() && self.eligible.is_none());
        self.assigned.as_ref().or(alone)
    }

    fn activated(&self) -> Option<&Key> {
        let read_between = self.assignment.as_ref().filter(|_| self.assigned.is_none() && self.eligible.is_some());
        self.activated.as_ref().or(read_between)
    }

    fn of(&self, kind: Kind) -> Option<&Key> {
        match kind {
            Kind::RoleGranted => self.standing(),
            Kind::RoleActivated => self.standing().or(self.activated()),
            _ => self.eligible.as_ref(),
        }
    }
}

/// All holdings of one state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holdings(BTreeMap<Holding, Forms>);

/// What somebody holds who didn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gain {
    pub holding: Holding,
    pub kind: Kind,
    /// The object in which it shows.
    pub by: Key,
}

/// The holding that an object of one of [`COLLECTIONS`] stands for.
pub(super) fn holding_of(collection: &str, content: &Value) -> Option<(Holding, Form)> {
    let text = |name: &str| content[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    // Keys hold GUIDs in lower case, and principals are compared with keys.
    let id = |name: &str| text(name).map(|id| id.to_ascii_lowercase());
    let form = match collection {
        "unifiedRoleAssignment" => Form::Assignment,
        "unifiedRoleAssignmentSchedule" | "unifiedRoleAssignmentScheduleInstance" => {
            let activated =
                content["assignmentType"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("Activated"));
            if activated { Form::Activated } else { Form::Assigned }
        }
        "unifiedRoleEligibilitySchedule" | "unifiedRoleEligibilityScheduleInstance" => Form::Eligible,
        _ => return None,
    };
    let scope = text("directoryScopeId").or_else(|| text("appScopeId")).unwrap_or_else(|| EVERYWHERE.to_owned());
    let holding = Holding { principal: id("principalId")?, role: id("roleDefinitionId")?, scope };
    Some((holding, form))
}

impl Holdings {
    /// Takes in one object.
    pub fn add(&mut self, key: &Key, content: &Value) {
        let Some((holding, form)) = holding_of(key.collection(), content) else { return };
        let forms = self.0.entry(holding).or_default();
        let place = match form {
            Form::Assignment => &mut forms.assignment,
            Form::Assigned => &mut forms.assigned,
            Form::Activated => &mut forms.activated,
            Form::Eligible => &mut forms.eligible,
        };
        place.get_or_insert_with(|| key.clone());
    }

    /// The roles of a principal with the strongest form of each and the object in which it shows.
    pub fn of(&self, principal: &str) -> Vec<Gain> {
        let mine = self.0.iter().filter(|(holding, _)| holding.principal == principal);
        let strongest = |forms: &Forms| {
            let kinds = [Kind::RoleGranted, Kind::RoleActivated, Kind::RoleEligible];
            kinds.into_iter().find_map(|kind| Some((kind, forms.of(kind)?.clone())))
        };
        mine.filter_map(|(holding, forms)| {
            let (kind, by) = strongest(forms)?;
            Some(Gain { holding: holding.clone(), kind, by })
        })
        .collect()
    }

    /// Whether `holding` is held in the form of `kind`, there or everywhere.
    pub fn covers(&self, holding: &Holding, kind: Kind) -> bool {
        let everywhere = Holding { scope: EVERYWHERE.to_owned(), ..holding.clone() };
        [holding, &everywhere].into_iter().any(|one| self.0.get(one).is_some_and(|forms| forms.of(kind).is_some()))
    }

    /// What is held in `after` and wasn't here: for good, by activation, or as eligibility.
    pub fn gained(&self, after: &Holdings) -> Vec<Gain> {
        let mut gains = Vec::new();
        for (holding, forms) in &after.0 {
            let standing = forms.standing().filter(|_| !self.covers(holding, Kind::RoleGranted));
            let activated =
                forms.activated().filter(|_| forms.standing().is_none() && !self.covers(holding, Kind::RoleActivated));
            let eligible = forms.eligible.as_ref().filter(|_| !self.covers(holding, Kind::RoleEligible));
            for (kind, by) in
                [(Kind::RoleGranted, standing), (Kind::RoleActivated, activated), (Kind::RoleEligible, eligible)]
            {
                gains.extend(by.map(|by| Gain { holding: holding.clone(), kind, by: by.clone() }));
            }
        }
        gains
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holdings(rows: &[(&str, &str, &str, &str)]) -> Holdings {
        let mut all = Holdings::default();
        for (key, role, scope, kind) in rows {
            let content = json!({
                "principalId": "p", "roleDefinitionId": role, "directoryScopeId": scope, "assignmentType": kind
            });
            all.add(&key.parse().unwrap(), &content);
        }
        all
    }

    const ASSIGNMENT: &str = "unifiedRoleAssignment/a";
    const OTHER: &str = "unifiedRoleAssignment/b";
    const SCHEDULE: &str = "unifiedRoleAssignmentSchedule/a";
    const INSTANCE: &str = "unifiedRoleAssignmentScheduleInstance/a";
    const ELIGIBLE: &str = "unifiedRoleEligibilitySchedule/a";

    #[test]
    fn what_is_held_more_than_before() {
        let a = (ASSIGNMENT, "r", "/", "");
        let assigned = (SCHEDULE, "r", "/", "Assigned");
        let activated = (INSTANCE, "r", "/", "Activated");
        let eligible = (ELIGIBLE, "r", "/", "");
        let unit = (OTHER, "r", "/administrativeUnits/u", "");
        type Rows<'a> = &'a [(&'a str, &'a str, &'a str, &'a str)];
        let cases: &[(Rows<'_>, Rows<'_>, &[Kind])] = &[
            (&[], &[a], &[Kind::RoleGranted]),
            (&[], &[a, assigned], &[Kind::RoleGranted]),
            (&[a], &[a, assigned], &[]),
            // Made again under another id.
            (&[a], &[(OTHER, "r", "/", "")], &[]),
            (&[a], &[], &[]),
            (&[a], &[(OTHER, "s", "/", "")], &[Kind::RoleGranted]),
            // Less than was held already; more than was held.
            (&[a], &[a, unit], &[]),
            (&[unit], &[a, unit], &[Kind::RoleGranted]),
            (&[], &[eligible], &[Kind::RoleEligible]),
            (&[eligible], &[eligible, a, activated], &[Kind::RoleActivated]),
            (&[], &[a, activated], &[Kind::RoleActivated]),
            // Read between two lists, in either order.
            (&[eligible], &[eligible, a], &[Kind::RoleActivated]),
            (&[eligible, a], &[eligible, a, activated], &[]),
            (&[eligible, activated], &[eligible, a, activated], &[]),
            // Who may activate it is given it for good.
            (&[eligible], &[eligible, a, assigned], &[Kind::RoleGranted]),
            (&[eligible, a, activated], &[eligible, a, assigned], &[Kind::RoleGranted]),
            (&[eligible, a, activated], &[eligible], &[]),
            (&[a], &[a, eligible], &[Kind::RoleEligible]),
        ];
        for (before, after, expected) in cases {
            let gained = holdings(before).gained(&holdings(after));
            let kinds: Vec<Kind> = gained.iter().map(|gain| gain.kind).collect();
            assert_eq!(kinds, *expected, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn an_object_without_principal_or_role_grants_nothing() {
        assert_eq!(holding_of("unifiedRoleAssignment", &json!({"principalId": "p"})), None);
        assert_eq!(holding_of("unifiedRoleAssignment", &json!({"principalId": "", "roleDefinitionId": "r"})), None);
        assert_eq!(holding_of("user", &json!({"principalId": "p", "roleDefinitionId": "r"})), None);
        let app = json!({"principalId": "P", "roleDefinitionId": "R", "directoryScopeId": null, "appScopeId": "/App"});
        let (holding, _) = holding_of("unifiedRoleAssignment", &app).unwrap();
        assert_eq!((holding.principal.as_str(), holding.role.as_str(), holding.scope.as_str()), ("p", "r", "/App"));
    }
}
