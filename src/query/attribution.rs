//! Who did it: the record of the service's audit log that fits a change, with its exact time and actor.
//!
//! Must never know: how an answer is shown.
//!
//! A capture shows that something changed since the one before; the log tells when, and by whom. A record fits if it falls into
//! that time, is about the object, and says the same direction; of several the one that names most of what is concerned, of those
//! the one that says best what happened, and of those the last before the capture. Where the log was read and is silent, the change is unattributed: that is said, and is a finding of its own in
//! an investigation. Records: learn.microsoft.com/graph/api/resources/directoryaudit.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::memory::Record;
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

/// What a change is about: records of one kind don't tell of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// Somebody became or ceased to be a member.
    Membership,
    /// Somebody became or ceased to be an owner.
    Ownership,
    /// Somebody was assigned a directory role, or it was taken from them.
    Role,
    /// Somebody activated a directory role for which they were eligible, or that ended.
    Activation,
    /// Somebody was made eligible for a directory role, or ceased to be.
    Eligibility,
    /// Somebody was given an app role, or it was taken from them.
    AppRole,
    /// A delegated grant came or went.
    Grant,
    /// A password, certificate or key was added to an application, or removed.
    Credential,
    /// An object came or went.
    Existence,
    /// An object itself: it came, went, or says something else.
    Object,
}

impl Matter {
    /// Words of which the activity has one.
    fn words(self) -> &'static [&'static str] {
        match self {
            Matter::Membership => &["member"],
            Matter::Ownership => &["owner"],
            Matter::Role | Matter::Activation | Matter::Eligibility => &["role"],
            Matter::AppRole => &["app role"],
            Matter::Grant => &["consent", "delegated", "oauth2permission"],
            Matter::Credential => &["certificates and secrets", "credential"],
            Matter::Existence | Matter::Object => &[],
        }
    }
}

/// Words of activities that are about what an object was given or gave, not about the object.
const BETWEEN: [&str; 5] = ["member ", "members ", "owner ", "app role assignment", "role assignment"];

/// Whether an activity tells of the object itself.
pub(super) fn is_about_object(activity: &str) -> bool {
    !BETWEEN.iter().any(|word| activity.contains(word))
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
    pub async fn attribute(
        &self,
        ids: &[&str],
        matter: Matter,
        turn: Turn,
        missing: u64,
        seen: u64,
    ) -> Result<Attributed, QueryError> {
        let mut best: Option<((usize, u8, bool, Timestamp), Attribution)> = None;
        let read = self.view().capture(seen)?.and_then(|row| row.time.checked_add(BEFORE).ok());
        for record in self.records(ids[0], missing, seen).await? {
            let attribution = &record.attribution;
            let Some(fit) = fit(&record.value, matter, turn) else { continue };
            let named = ids.iter().filter(|id| record.text.contains(&id.to_lowercase())).count();
            // What was done after the capture is hardly what the capture saw, unless there is nothing else.
            let was_seen = read.is_none_or(|read| attribution.time <= read);
            let worth = (named, fit, was_seen, attribution.time);
            // Two that belong together have to be named together.
            if named >= ids.len().min(2) && best.as_ref().is_none_or(|(most, _)| worth >= *most) {
                best = Some((worth, attribution.clone()));
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
    pub(super) async fn records(&self, id: &str, missing: u64, seen: u64) -> Result<Vec<Arc<Record>>, QueryError> {
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
    pub(super) async fn acts(
        &self,
        part: Part,
        value: &str,
        during: &std::ops::RangeInclusive<Timestamp>,
    ) -> Result<Vec<Arc<Record>>, QueryError> {
        let mut found = Vec::new();
        for act in self.view().acts(part, value, during)? {
            if let Some(record) = self.record(&act).await? {
                found.push(record);
            }
        }
        Ok(found)
    }

    /// A record, if it was known by the last capture that counts.
    async fn record(&self, act: &Act) -> Result<Option<Arc<Record>>, QueryError> {
        let Some((seq, pack, place)) = self.view().event_line(&act.key)? else { return Ok(None) };
        if seq > self.head()?.seq {
            return Ok(None);
        }
        if let Some(known) = self.memory.record(seq, &act.key) {
            tokio::task::consume_budget().await;
            return Ok(Some(known));
        }
        let pack = self.view().pack(pack)?;
        let bytes = self.lines.line(&pack.name, pack.len, place).await?;
        let key = act.key.clone();
        let wrong = |source| QueryError::Line { pack: pack.name.clone(), seq, key: key.clone(), source };
        let line = Line::read(&bytes).map_err(|source| wrong(Some(source)))?;
        let content = match line.statement {
            Statement::Event(content) if line.key == act.key => content,
            _ => return Err(wrong(None)),
        };
        let (Content::Canonical(bytes) | Content::Raw(bytes)) = content else { return Ok(None) };
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return Ok(None) };
        let attribution = Attribution {
            time: act.time,
            event: act.key.clone(),
            activity: value["activityDisplayName"].as_str().unwrap_or_default().trim().to_owned(),
            actor: actor(&value["initiatedBy"]),
        };
        let record = Arc::new(Record { text: value.to_string().to_lowercase(), value, attribution });
        self.memory.keep_record(seq, act.key.clone(), record.clone());
        Ok(Some(record))
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

/// Whether the service says that it wasn't done.
pub(super) fn has_failed(record: &Value) -> bool {
    record["result"].as_str().is_some_and(|result| result.eq_ignore_ascii_case("failure"))
}

/// Words of activities about roles that tell of a wish and not of a deed
/// (learn.microsoft.com/entra/identity/monitoring-health/reference-audit-activities).
const WISHES: [&str; 5] = ["request", "denied", "canceled", "cancelled", "failed"];

/// What an activity tells of a directory role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RoleActivity {
    /// Which of [`Matter::Role`], [`Matter::Activation`] and [`Matter::Eligibility`].
    pub matter: Matter,
    /// Whether it ended.
    pub is_end: bool,
}

/// What an activity tells of who has a directory role; `None` where it is about something else, or nothing came of it.
pub(super) fn role_activity(activity: &str) -> Option<RoleActivity> {
    let activity = activity.trim().to_lowercase();
    let is_of_role = activity.contains("member") && activity.contains("role") && !activity.contains("app role");
    if !is_of_role || WISHES.iter().any(|word| activity.contains(word)) {
        return None;
    }
    let matter = match () {
        () if activity.contains("eligible") => Matter::Eligibility,
        () if activity.contains("activ") => Matter::Activation,
        () => Matter::Role,
    };
    Some(RoleActivity { matter, is_end: is_end(&activity) })
}

fn is_end(activity: &str) -> bool {
    let ends = ["remove", "delete", "hard delete", "unassign", "revoke", "deactivate"];
    ends.iter().any(|word| activity.starts_with(word)) || activity.contains("expired")
}

/// How well a record says that something of this kind changed this way, and that it was done; `None` where it doesn't.
fn fit(record: &Value, matter: Matter, turn: Turn) -> Option<u8> {
    if has_failed(record) {
        return None;
    }
    let activity = record["activityDisplayName"].as_str().unwrap_or_default().trim().to_lowercase();
    let rank = match matter {
        Matter::Object | Matter::Existence => u8::from(is_about_object(&activity)),
        Matter::Role | Matter::Activation | Matter::Eligibility => match role_activity(&activity) {
            Some(told) if told.matter == matter => 2,
            // Where the schedules of PIM aren't read an activation looks like an assignment, and a list that is read later like either.
            Some(told) if told.matter != Matter::Eligibility && matter != Matter::Eligibility => 1,
            _ => 0,
        },
        _ => u8::from(matter.words().iter().any(|word| activity.contains(word))),
    };
    let begins = |verbs: &[&str]| verbs.iter().any(|verb| activity.starts_with(verb));
    let is_end = is_end(&activity);
    let turns = match (matter, turn) {
        (Matter::Existence, Turn::Began) => begins(&["add", "create", "invite", "restore", "provision", "register"]),
        (Matter::Existence, Turn::Ended) => begins(&["delete", "hard delete", "remove", "purge"]),
        (_, Turn::Began) => !is_end,
        (_, Turn::Ended) => is_end || begins(&["update", "disable"]),
        (_, Turn::Changed) => true,
    };
    (turns && rank > 0).then_some(rank)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_fits_what_changed_and_the_way_it_did() {
        use Matter::{Activation, AppRole, Credential, Eligibility, Existence, Grant, Membership, Object, Role};
        for (activity, matter, began, ended) in [
            ("Add member to group", Membership, true, false),
            ("Remove member from group", Membership, false, true),
            ("Add member to group", Object, false, false),
            ("Add app role assignment grant to user", AppRole, true, false),
            ("Add app role assignment grant to user", Object, false, false),
            ("Delete user", Object, false, true),
            ("Hard Delete user", Object, false, true),
            ("Add member to role completed (PIM activation)", Role, true, false),
            ("Remove member from role (PIM activation expired)", Role, false, true),
            ("Update user", Object, true, true),
            ("Update user", Membership, false, false),
            ("Update user", Existence, false, false),
            ("Change user license", Existence, false, false),
            ("Add user", Existence, true, false),
            ("Invite external user", Existence, true, false),
            ("Delete user", Existence, false, true),
            ("Add eligible member to role in PIM completed (permanent)", Role, false, false),
            ("Add eligible member to role in PIM completed (permanent)", Activation, false, false),
            ("Add eligible member to role in PIM completed (permanent)", Eligibility, true, false),
            ("Add member to role completed (PIM activation)", Activation, true, false),
            ("Add member to role completed (PIM activation)", Eligibility, false, false),
            ("Add member to role request denied (PIM activation)", Activation, false, false),
            ("Add member to role requested (PIM activation)", Role, false, false),
            ("Remove member from role completed (PIM deactivate)", Activation, false, true),
            ("Update application – Certificates and secrets management ", Credential, true, true),
            ("Update application", Credential, false, false),
            ("Restore user", Object, true, false),
            ("Consent to application", Grant, true, false),
            ("Update service principal", Grant, false, false),
        ] {
            let record = json!({"activityDisplayName": activity, "result": "success"});
            let fits = |record: &Value, turn| fit(record, matter, turn).is_some();
            assert_eq!(
                (fits(&record, Turn::Began), fits(&record, Turn::Ended)),
                (began, ended),
                "{activity} as {matter:?}"
            );
            let failed = json!({"activityDisplayName": activity, "result": "failure"});
            assert!(!fits(&failed, Turn::Changed), "{activity}");
        }
        // What was activated is told best by an activation, and by an assignment where nothing else is told.
        for (activity, matter, expected) in [
            ("Add member to role completed (PIM activation)", Activation, 2),
            ("Add member to role completed (PIM activation)", Role, 1),
            ("Add member to role", Activation, 1),
            ("Add member to role", Role, 2),
        ] {
            let record = json!({"activityDisplayName": activity});
            assert_eq!(fit(&record, matter, Turn::Began), Some(expected), "{activity} as {matter:?}");
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
