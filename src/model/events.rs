//! What an event of the audit log is found by: whom it is about, who did it, what was done, when.
//!
//! Must never know: what an event proves.

use jiff::Timestamp;

use crate::canonical::Json;

/// The part that somebody or something has in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Part {
    /// It was about this object: its id, or the name of what has none. Of a directory role that somebody got or lost, too.
    Target = 1,
    /// This user or service principal did it.
    Actor = 2,
    /// This is what was done.
    Activity = 3,
}

/// An event, as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened: `activityDateTime`.
    pub time: Timestamp,
    /// Who and what had a part in it: ids and the name of the activity, in lower case, each once.
    pub parts: Vec<(Part, String)>,
}

/// Reads a `directoryAudit` record (learn.microsoft.com/graph/api/resources/directoryaudit); `None` where it has no time.
pub fn event(content: &Json<'_>) -> Option<Event> {
    let time = content.text("activityDateTime")?.parse().ok()?;
    let mut parts = Vec::new();
    let mut push = |part: Part, text: Option<&str>| {
        if let Some(text) = text.filter(|text| !text.is_empty() && text.len() <= LONGEST) {
            parts.push((part, text.to_lowercase()));
        }
    };
    for target in content.get("targetResources").and_then(Json::elements).into_iter().flatten() {
        // What has no id, such as a domain, is named.
        let id = target.text("id").filter(|id| !id.is_empty());
        push(Part::Target, id.or_else(|| target.text("displayName")));
        // Records of directory roles are about who gets one; which one stands among what changed.
        for property in target.get("modifiedProperties").and_then(Json::elements).into_iter().flatten() {
            if property.text("displayName").is_some_and(|name| ROLE_PROPERTIES.contains(&name)) {
                for value in ["newValue", "oldValue"] {
                    push(Part::Target, property.text(value).map(|text| text.trim_matches('"')));
                }
            }
        }
    }
    for detail in content.get("additionalDetails").and_then(Json::elements).into_iter().flatten() {
        if detail.text("key").is_some_and(|key| ROLE_DETAILS.contains(&key)) {
            push(Part::Target, detail.text("value"));
        }
    }
    let by = content.get("initiatedBy");
    if let Some(user) = by.and_then(|by| by.get("user")) {
        push(Part::Actor, user.text("id"));
    }
    if let Some(app) = by.and_then(|by| by.get("app")) {
        push(Part::Actor, app.text("servicePrincipalId"));
        push(Part::Actor, app.text("appId"));
    }
    push(Part::Activity, content.text("activityDisplayName"));
    parts.sort_unstable();
    parts.dedup();
    Some(Event { time, parts })
}

/// Changed properties that name a directory role by the id of its definition.
const ROLE_PROPERTIES: [&str; 2] = ["Role.TemplateId", "Role.ObjectID"];

/// Details by which Privileged Identity Management names it.
const ROLE_DETAILS: [&str; 2] = ["RoleDefinitionOriginId", "TemplateId"];

/// Longer texts aren't looked up.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::parse;

    #[test]
    fn an_event_is_found_by_its_targets_its_actor_and_its_activity() {
        let source = br#"{"activityDateTime":"2026-08-01T10:00:00.5Z","activityDisplayName":"Add member to group",
            "initiatedBy":{"user":{"id":"ACTOR"},"app":null},
            "targetResources":[{"id":"u1"},{"id":"g1"},{"id":"u1"},{"id":null},{"id":"","displayName":"Contoso.example"},{}]}"#;
        let event = event(&parse(source).unwrap()).unwrap();
        assert_eq!(event.time.to_string(), "2026-08-01T10:00:00.5Z");
        let text: Vec<String> = event.parts.iter().map(|(part, value)| format!("{part:?} {value}")).collect();
        assert_eq!(
            text,
            ["Target contoso.example", "Target g1", "Target u1", "Actor actor", "Activity add member to group"]
        );
    }

    #[test]
    fn a_role_is_found_wherever_the_record_names_it() {
        let source = br#"{"activityDateTime":"2026-08-01T10:00:00Z","activityDisplayName":"Add member to role",
            "targetResources":[{"id":"u1","modifiedProperties":[{"displayName":"Role.TemplateId","oldValue":null,"newValue":"\"R1\""},
                {"displayName":"Role.DisplayName","newValue":"\"Reader\""}]}],
            "additionalDetails":[{"key":"RoleDefinitionOriginId","value":"R2"},{"key":"RoleDefinitionOriginType","value":"BuiltInRole"}]}"#;
        let event = event(&parse(source).unwrap()).unwrap();
        let targets = event.parts.iter().filter(|(part, _)| *part == Part::Target);
        assert_eq!(targets.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["r1", "r2", "u1"]);
    }

    #[test]
    fn what_has_no_time_is_no_event() {
        for source in ["{}", r#"{"activityDateTime":"soon"}"#, "[]"] {
            assert_eq!(event(&parse(source.as_bytes()).unwrap()), None, "{source}");
        }
    }
}
