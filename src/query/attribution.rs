//! Who did it: the record of the service's audit log that fits a change, with its exact time and actor.
//!
//! Must never know: how an answer is shown.
//!
//! A capture shows that something changed since the one before; the log tells when, and by whom. A record fits if it falls into
//! that time, is about the object, and says the same direction; of several the one that names most of what is concerned, and of
//! those the last. Where the log was read and is silent, the change is unattributed: that is said, and is a finding of its own in
//! an investigation. Records: learn.microsoft.com/graph/api/resources/directoryaudit.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Archive, QueryError};
use crate::archive::entry::Status;
use crate::archive::line::{Content, Line, Statement};
use crate::canonical::Key;
use crate::index::{Act, Part};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actor {
    /// The user or service principal; `None` where the service acted by itself or only a name is told.
    pub key: Option<Key>,
    /// The name that the record tells.
    pub name: Option<String>,
}

/// A record that fits a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribution {
    /// When it happened, by the service's word.
    pub time: Timestamp,
    /// The record.
    pub event: Key,
    /// What was done: `activityDisplayName`.
    pub activity: String,
    /// Who did it.
    pub actor: Actor,
}

/// What the log says of a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attributed {
    /// This.
    By(Attribution),
    /// Nothing, although it was read.
    Silent,
    /// It wasn't read then.
    Unread,
}

/// Which way something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It came, or began to hold.
    Began,
    /// It went, or ceased to hold.
    Ended,
    /// It is another than it was.
    Changed,
}

/// A change is seen by what is read some minutes after the time for which a capture stands, and parts of the service learn of it
/// some minutes after it was done.
const BEFORE: SignedDuration = SignedDuration::from_mins(5);
const AFTER: SignedDuration = SignedDuration::from_mins(20);

impl Archive {
    /// The record that fits a change which capture `seen` shows and capture `missing` didn't: about `ids`, the first of which it
    /// has to name as a target.
    ///
    /// # Errors
    /// The archive's.
    pub async fn attribute(&self, ids: &[&str], turn: Turn, missing: u64, seen: u64) -> Result<Attributed, QueryError> {
        let mut best: Option<(usize, Attribution)> = None;
        for (record, attribution) in self.records(ids[0], missing, seen).await? {
            if !fits(&record, turn) {
                continue;
            }
            let text = record.to_string().to_lowercase();
            let named = ids.iter().filter(|id| text.contains(&id.to_lowercase())).count();
            let better = best.as_ref().is_none_or(|(most, last)| (named, attribution.time) >= (*most, last.time));
            // Two that belong together have to be named together.
            if named >= ids.len().min(2) && better {
                best = Some((named, attribution));
            }
        }
        match best {
            Some((_, attribution)) => Ok(Attributed::By(attribution)),
            None if self.was_log_read(seen)? => Ok(Attributed::Silent),
            None => Ok(Attributed::Unread),
        }
    }

    /// Every record about the object called `id` in the time in which a change that capture `seen` shows can have happened, in the
    /// order of their times.
    ///
    /// # Errors
    /// The archive's.
    pub async fn records(&self, id: &str, missing: u64, seen: u64) -> Result<Vec<(Value, Attribution)>, QueryError> {
        let time = |seq: u64| Ok::<_, QueryError>(self.view().capture(seq)?.map(|row| row.time));
        let Some(last) = time(seen)? else { return Ok(Vec::new()) };
        let first = time(missing)?.unwrap_or(Timestamp::MIN);
        let during =
            first.checked_sub(BEFORE).unwrap_or(Timestamp::MIN)..=last.checked_add(AFTER).unwrap_or(Timestamp::MAX);
        let mut found = Vec::new();
        for act in self.view().acts(Part::Target, id, &during)? {
            if let Some(record) = self.record(&act).await? {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// Events in which something has a part, by their times, as far as they were known.
    ///
    /// # Errors
    /// The archive's.
    pub async fn acts(
        &self,
        part: Part,
        value: &str,
        during: &std::ops::RangeInclusive<Timestamp>,
    ) -> Result<Vec<(Value, Attribution)>, QueryError> {
        let mut found = Vec::new();
        for act in self.view().acts(part, value, during)? {
            if let Some(record) = self.record(&act).await? {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// A record, if it was known by the last capture that counts.
    async fn record(&self, act: &Act) -> Result<Option<(Value, Attribution)>, QueryError> {
        let Some((seq, pack, place)) = self.view().event_line(&act.key)? else { return Ok(None) };
        if seq > self.head()?.seq {
            return Ok(None);
        }
        let bytes = self.lines.line(&pack.name, pack.len, place).await?;
        let key = act.key.clone();
        let wrong = |source| QueryError::Line { pack: pack.name.clone(), seq, key: key.clone(), source };
        let line = Line::read(&bytes).map_err(|source| wrong(Some(source)))?;
        let content = match line.statement {
            Statement::Event(content) if line.key == act.key => content,
            _ => return Err(wrong(None)),
        };
        let (Content::Canonical(bytes) | Content::Raw(bytes)) = content else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<Value>(&bytes) else { return Ok(None) };
        let attribution = Attribution {
            time: act.time,
            event: act.key.clone(),
            activity: record["activityDisplayName"].as_str().unwrap_or_default().trim().to_owned(),
            actor: actor(&record["initiatedBy"]),
        };
        Ok(Some((record, attribution)))
    }

    /// Whether the log was read to its end at capture `seq` or the one behind it: records come late.
    fn was_log_read(&self, seq: u64) -> Result<bool, QueryError> {
        let last = self.view().capture_after(seq)?.map_or(seq, |next| next.seq).min(self.head()?.seq);
        let sights = self.view().sights_during("directoryAudit", None, None, &(seq..=last))?;
        Ok(sights.iter().any(|sight| sight.status == Some(Status::Complete)))
    }
}

fn actor(by: &Value) -> Actor {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (user, app) = (&by["user"], &by["app"]);
    if let Some(id) = text(&user["id"]) {
        let name = text(&user["displayName"]).or_else(|| text(&user["userPrincipalName"]));
        return Actor { key: Some(Key::new("user", &id)), name };
    }
    let key = text(&app["servicePrincipalId"]).map(|id| Key::new("servicePrincipal", &id));
    Actor { key, name: text(&app["displayName"]).or_else(|| text(&user["displayName"])) }
}

/// Whether a record says that something changed this way, and that it was done.
fn fits(record: &Value, turn: Turn) -> bool {
    if record["result"].as_str().is_some_and(|result| result.eq_ignore_ascii_case("failure")) {
        return false;
    }
    let activity = record["activityDisplayName"].as_str().unwrap_or_default().trim().to_lowercase();
    let ends = ["remove", "delete", "hard delete", "unassign", "revoke", "deactivate"];
    let is_end = ends.iter().any(|word| activity.starts_with(word)) || activity.contains("expired");
    match turn {
        Turn::Began => !is_end,
        Turn::Ended => is_end || activity.starts_with("update") || activity.starts_with("disable"),
        Turn::Changed => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_fits_the_way_something_changed() {
        for (activity, began, ended) in [
            ("Add member to group", true, false),
            ("Remove member from group", false, true),
            ("Delete user", false, true),
            ("Hard Delete user", false, true),
            ("Add member to role completed (PIM activation)", true, false),
            ("Remove member from role (PIM activation expired)", false, true),
            ("Update user", true, true),
            ("Restore user", true, false),
            ("Consent to application", true, false),
        ] {
            let record = json!({"activityDisplayName": activity, "result": "success"});
            assert_eq!((fits(&record, Turn::Began), fits(&record, Turn::Ended)), (began, ended), "{activity}");
            assert!(fits(&record, Turn::Changed));
            let failed = json!({"activityDisplayName": activity, "result": "failure"});
            assert!(!fits(&failed, Turn::Changed), "{activity}");
        }
    }

    #[test]
    fn an_actor_is_a_user_an_application_or_the_service() {
        let name = |by: Value| {
            let actor = actor(&by);
            format!("{} {}", actor.key.map_or("-".to_owned(), |key| key.to_string()), actor.name.unwrap_or_default())
        };
        assert_eq!(name(json!({"user": {"id": "U", "userPrincipalName": "a@x"}, "app": null})), "user/U a@x");
        assert_eq!(name(json!({"app": {"servicePrincipalId": "S", "displayName": "Sync"}})), "servicePrincipal/S Sync");
        assert_eq!(name(json!({"app": {"displayName": "Azure AD PIM"}})), "- Azure AD PIM");
        assert_eq!(name(json!(null)), "- ");
    }
}
