//! Privileged Identity Management: the schedules and instances that are made from assignments when they are read.
//!
//! Must never know: requests, or who activates what.
//!
//! Shapes: "List roleAssignmentSchedules", "List roleAssignmentScheduleInstances", "List roleEligibilitySchedules",
//! "List roleEligibilityScheduleInstances". An assignment that nobody activated has one id in all three places.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::collection::Collection;
use super::dice::Dice;
use super::directory::{Directory, Entry, seconds};

/// The collections that are made from others, with the one each is made from.
pub(super) fn source(collection: Collection) -> Option<Collection> {
    match collection {
        Collection::RoleAssignmentSchedule | Collection::RoleAssignmentScheduleInstance => {
            Some(Collection::RoleAssignment)
        }
        Collection::RoleEligibilityScheduleInstance => Some(Collection::RoleEligibilitySchedule),
        _ => None,
    }
}

/// The places from which the present objects of a collection that is made from another are made.
pub(super) fn places(directory: &Directory, collection: Collection) -> Vec<usize> {
    let Some(source) = source(collection) else { return Vec::new() };
    directory.places(source).iter().copied().filter(|place| directory.is_live(*place)).collect()
}

/// The object of `collection` that is made from `entry`.
pub(super) fn made(collection: Collection, entry: &Entry) -> Value {
    match collection {
        Collection::RoleAssignmentSchedule => assignment_schedule(entry),
        Collection::RoleAssignmentScheduleInstance => assignment_instance(entry),
        _ => eligibility_instance(entry),
    }
}

fn of(entry: &Entry, name: &str) -> Value {
    entry.value.get(name).cloned().unwrap_or_default()
}

fn assignment_schedule(entry: &Entry) -> Value {
    let activation = of(entry, "_activation");
    let activated = activation.is_object();
    let (start, end) = (activation["start"].clone(), activation["end"].clone());
    let expiration = if activated {
        json!({"type": "afterDateTime", "endDateTime": end, "duration": null})
    } else {
        json!({"type": "noExpiration", "endDateTime": null, "duration": null})
    };
    json!({
        "id": if activated { activation["id"].clone() } else { json!(entry.id) },
        "principalId": of(entry, "principalId"),
        "roleDefinitionId": of(entry, "roleDefinitionId"),
        "directoryScopeId": of(entry, "directoryScopeId"),
        "appScopeId": null,
        "createdUsing": activation["id"],
        "createdDateTime": start,
        "modifiedDateTime": null,
        "status": "Provisioned",
        "assignmentType": if activated { "Activated" } else { "Assigned" },
        "memberType": "Direct",
        "scheduleInfo": {"startDateTime": start, "recurrence": null, "expiration": expiration},
    })
}

fn assignment_instance(entry: &Entry) -> Value {
    let activation = of(entry, "_activation");
    let activated = activation.is_object();
    json!({
        "id": entry.id,
        "principalId": of(entry, "principalId"),
        "roleDefinitionId": of(entry, "roleDefinitionId"),
        "directoryScopeId": of(entry, "directoryScopeId"),
        "appScopeId": null,
        "startDateTime": activation["start"],
        "endDateTime": activation["end"],
        "assignmentType": if activated { "Activated" } else { "Assigned" },
        "memberType": "Direct",
        "roleAssignmentOriginId": entry.id,
        "roleAssignmentScheduleId": if activated { activation["id"].clone() } else { json!(entry.id) },
    })
}

fn eligibility_instance(entry: &Entry) -> Value {
    let (principal, role) = (of(entry, "principalId"), of(entry, "roleDefinitionId"));
    let bytes = [&role, &principal].map(|id| hex::decode(id.as_str().unwrap_or_default().replace('-', "")));
    let bytes: Vec<u8> = bytes.into_iter().flatten().flatten().collect();
    let schedule = of(entry, "scheduleInfo");
    json!({
        "id": format!("{}-1-e", URL_SAFE_NO_PAD.encode(bytes)),
        "principalId": principal,
        "roleDefinitionId": role,
        "directoryScopeId": of(entry, "directoryScopeId"),
        "appScopeId": null,
        "startDateTime": schedule["startDateTime"],
        "endDateTime": schedule["expiration"]["endDateTime"],
        "memberType": "Direct",
        "roleEligibilityScheduleId": entry.id,
    })
}

/// Eligibility of a principal for a role, for ever or until `end`.
pub(super) fn eligibility(
    dice: &mut Dice,
    role: &str,
    principal: &str,
    at: Timestamp,
    end: Option<Timestamp>,
) -> Value {
    let id = dice.guid();
    let end = end.map(seconds);
    json!({
        "id": id,
        "principalId": principal,
        "roleDefinitionId": role,
        "directoryScopeId": "/",
        "appScopeId": null,
        "createdUsing": id,
        "createdDateTime": seconds(at),
        "modifiedDateTime": "0001-01-01T08:00:00Z",
        "status": "Provisioned",
        "memberType": "Direct",
        "scheduleInfo": {
            "startDateTime": seconds(at), "recurrence": null,
            "expiration": {
                "type": if end.is_some() { "afterDateTime" } else { "noExpiration" }, "endDateTime": end,
                "duration": null,
            },
        },
    })
}

/// The PIM settings of a role: the policy with its rules, and its assignment to the role.
pub(super) fn settings(dice: &mut Dice, tenant: &str, role: &str) -> (Value, Value) {
    let id = format!("DirectoryRole_{tenant}_{}", dice.guid());
    let hours = *dice.pick(&["PT1H", "PT4H", "PT8H"]);
    let target = |caller: &str, level: &str| {
        json!({
            "caller": caller, "operations": ["all"], "level": level, "inheritableSettings": [], "enforcedSettings": [],
        })
    };
    let rule = |kind: &str, id: &str, caller: &str, level: &str, more: Value| {
        let mut rule =
            json!({"@odata.type": format!("#microsoft.graph.unifiedRoleManagementPolicy{kind}Rule"), "id": id});
        if let (Some(rule), Value::Object(more)) = (rule.as_object_mut(), more) {
            rule.extend(more);
            rule.insert("target".into(), target(caller, level));
        }
        rule
    };
    let expires = |required: bool, longest: &str| json!({"isExpirationRequired": required, "maximumDuration": longest});
    let enabled = |rules: Value| json!({"enabledRules": rules});
    let mail = json!({
        "notificationType": "Email", "recipientType": "Admin", "notificationLevel": "All",
        "isDefaultRecipientsEnabled": true, "notificationRecipients": [],
    });
    let approval = json!({"setting": {
        "isApprovalRequired": dice.chance(0.2), "isApprovalRequiredForExtension": false,
        "isRequestorJustificationRequired": true, "approvalMode": "SingleStage", "approvalStages": [],
    }});
    let context = json!({"isEnabled": false, "claimValue": ""});
    let rules = json!([
        rule("Expiration", "Expiration_Admin_Eligibility", "Admin", "Eligibility", expires(false, "P365D")),
        rule("Enablement", "Enablement_Admin_Eligibility", "Admin", "Eligibility", enabled(json!([]))),
        rule("Notification", "Notification_Admin_Admin_Eligibility", "Admin", "Eligibility", mail),
        rule("Expiration", "Expiration_Admin_Assignment", "Admin", "Assignment", expires(false, "P180D")),
        rule("Enablement", "Enablement_Admin_Assignment", "Admin", "Assignment", enabled(json!(["Justification"]))),
        rule("Expiration", "Expiration_EndUser_Assignment", "EndUser", "Assignment", expires(true, hours)),
        rule(
            "Enablement",
            "Enablement_EndUser_Assignment",
            "EndUser",
            "Assignment",
            enabled(json!(["MultiFactorAuthentication", "Justification"]))
        ),
        rule("Approval", "Approval_EndUser_Assignment", "EndUser", "Assignment", approval),
        rule("AuthenticationContext", "AuthenticationContext_EndUser_Assignment", "EndUser", "Assignment", context),
    ]);
    let policy = json!({
        "id": id, "displayName": "DirectoryRole", "description": "DirectoryRole", "isOrganizationDefault": false,
        "scopeId": "/", "scopeType": "DirectoryRole", "lastModifiedDateTime": null,
        "lastModifiedBy": {"displayName": null, "id": null}, "rules": rules,
    });
    let assignment = json!({
        "id": format!("{id}_{role}"), "policyId": id, "scopeId": "/", "scopeType": "DirectoryRole",
        "roleDefinitionId": role,
    });
    (policy, assignment)
}
