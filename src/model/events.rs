//! What an event of the audit log is found by: whom it is about, who did it, what was done, when.
//!
//! Must never know: what an event proves.

use jiff::Timestamp;

use crate::canonical::Json;

/// The part that somebody or something has in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Part {
    /// It was about this object: its id, or the name of what has none.
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
    fn what_has_no_time_is_no_event() {
        for source in ["{}", r#"{"activityDateTime":"soon"}"#, "[]"] {
            assert_eq!(event(&parse(source.as_bytes()).unwrap()), None, "{source}");
        }
    }
}
