//! What rows of answers are made of: who somebody is, by which path, since when.
//!
//! Must never know: which question.

use std::sync::{Arc, MutexGuard};

use serde_json::{Map, Value, json};

use super::Asking;
use crate::archive::recent::Recent;
use crate::canonical::Key;
use crate::query::access::{Access, EVERYWHERE, Held, Power, Step};
use crate::query::{Actor, Attributed, QueryError, Turn};

/// A row.
pub(super) type Row = Map<String, Value>;

/// What rows have told already: many of them are about the same subject, and begin at the same captures.
#[derive(Debug, Default)]
pub(super) struct Told {
    subjects: Recent<Key, Arc<Row>>,
    times: Recent<u64, Value>,
}

/// Members that most rows have, and most steps.
const MEMBERS: usize = 20;
const STEP_MEMBERS: usize = 10;
/// Subjects and times that are kept, of each.
const KEPT: usize = 4096;

impl Asking<'_> {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no code panics while it holds what was told")
    }

    /// How a key is called as of the window's end, or was last.
    pub(super) fn label(&self, key: &Key) -> Result<Option<String>, QueryError> {
        self.archive.label_of_key(key, self.end.capture.seq)
    }

    /// The content of an object as of the window's end; `None` where it isn't there.
    pub(super) async fn content(&self, key: &Key) -> Result<Option<Arc<Value>>, QueryError> {
        match self.archive.view().id(key)? {
            Some(id) => self.access.facts.content_at_end(id, key).await,
            None => Ok(None),
        }
    }

    /// Who somebody is: `subject`, `name`, `kind`, `status` and, of a user, `sign_in`. The status of an id that was never seen is
    /// unknown: its object may be one that can't be read.
    pub(super) async fn who(&self, key: &Key) -> Result<Row, QueryError> {
        let known = self.told().subjects.get(key);
        let who = match known {
            Some(who) => who,
            None => {
                let who = Arc::new(self.who_anew(key).await?);
                self.told().subjects.keep(key.clone(), who.clone(), 1, KEPT);
                who
            }
        };
        // More is added to it than it holds.
        let mut row = Row::with_capacity(MEMBERS);
        row.extend(who.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(row)
    }

    async fn who_anew(&self, key: &Key) -> Result<Row, QueryError> {
        let mut row = Row::new();
        row.insert("subject".to_owned(), key.as_str().into());
        row.insert("name".to_owned(), self.label(key)?.into());
        let content = self.content(key).await?;
        row.insert("kind".to_owned(), kind(key, content.as_deref()).into());
        let status = match key.collection() {
            "directoryObject" if !self.were_all_read()? => "unknown",
            _ => status(content.as_deref()),
        };
        row.insert("status".to_owned(), status.into());
        let sign_in = content.as_deref().and_then(|content| content["userPrincipalName"].as_str().map(str::to_owned));
        row.insert("sign_in".to_owned(), sign_in.into());
        Ok(row)
    }

    /// Whether everything that can hold a role was ever read: what is none of it is gone then.
    fn were_all_read(&self) -> Result<bool, QueryError> {
        let (view, head) = (self.archive.view(), self.archive.head()?.seq);
        for collection in ["user", "group", "servicePrincipal"] {
            if view.last_read(collection, None, None, head)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds to a row how an access is held: `path`, `steps`, `since` and its kin, `certainty`.
    pub(super) fn add_path(&self, row: &mut Row, access: &Access) -> Result<(), QueryError> {
        row.insert("path".to_owned(), self.path(access)?.into());
        self.add_times(row, &access.held)?;
        if let (start, end) = access.term
            && (start.is_some() || end.is_some())
        {
            let text = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
            row.insert("term".to_owned(), json!([text(start), text(end)]));
        }
        row.insert("certainty".to_owned(), access.certainty.as_str().into());
        let steps: Result<Vec<Value>, QueryError> = access.path.iter().map(|step| self.step(step)).collect();
        row.insert("steps".to_owned(), steps?.into());
        Ok(())
    }

    /// Adds who gave the access, by the audit log: `given_by` and `given_at` of the step that began last, and of each step.
    pub(super) async fn add_givers(&self, row: &mut Row, access: &Access) -> Result<(), QueryError> {
        let last = access.path.iter().max_by_key(|step| step.held.from);
        for (place, step) in access.path.iter().enumerate() {
            let told = self.access.attribute(access, step, Turn::Began).await?;
            let (name, time) = match &told {
                Some(Attributed::By(attribution)) => {
                    (Value::from(actor(&attribution.actor)), Value::from(attribution.time.to_string()))
                }
                Some(Attributed::Silent) => ("unattributed".into(), Value::Null),
                Some(Attributed::Unread) => ("unknown: the audit log wasn't read".into(), Value::Null),
                None => (Value::Null, Value::Null),
            };
            if last == Some(step) {
                row.insert("given_by".to_owned(), name.clone());
                row.insert("given_at".to_owned(), time.clone());
            }
            let own = row.get_mut("steps").and_then(|steps| steps.get_mut(place)).and_then(Value::as_object_mut);
            if let Some(own) = own {
                own.insert("given_by".to_owned(), name);
                own.insert("given_at".to_owned(), time);
                if let Some(Attributed::By(attribution)) = &told {
                    own.insert("record".to_owned(), attribution.event.as_str().into());
                }
            }
        }
        Ok(())
    }

    /// Adds since when something holds: `since` is the capture that saw it first, `since_after` the one that last saw it
    /// missing (`null` where nobody looked before), `until` the first without it.
    pub(super) fn add_times(&self, row: &mut Row, held: &Held) -> Result<(), QueryError> {
        row.insert("since".to_owned(), self.time(held.from)?);
        let after = if held.is_open { Value::Null } else { self.time(held.missing)? };
        row.insert("since_after".to_owned(), after);
        row.insert("until".to_owned(), held.until.map_or(Ok(Value::Null), |until| self.time(until))?);
        Ok(())
    }

    /// The time of a capture.
    pub(super) fn time(&self, seq: u64) -> Result<Value, QueryError> {
        if let Some(time) = self.told().times.get(&seq) {
            return Ok(time);
        }
        let time = self.archive.view().capture(seq)?.map_or(Value::Null, |row| Value::from(row.time.to_string()));
        self.told().times.keep(seq, time.clone(), 1, KEPT);
        Ok(time)
    }

    fn step(&self, step: &Step) -> Result<Value, QueryError> {
        let mut row = Row::with_capacity(STEP_MEMBERS);
        row.insert("kind".to_owned(), step.kind.as_str().into());
        row.insert("from".to_owned(), step.from.as_str().into());
        row.insert("to".to_owned(), step.to.as_ref().map(Key::as_str).into());
        row.insert("by".to_owned(), step.by.iter().map(Key::as_str).collect::<Vec<_>>().into());
        self.add_times(&mut row, &step.held)?;
        Ok(row.into())
    }

    /// `direct`, or the names of what lies between.
    fn path(&self, access: &Access) -> Result<String, QueryError> {
        let mut names = Vec::new();
        for step in &access.path[..access.path.len().saturating_sub(1)] {
            if let Some(to) = &step.to {
                names.push(self.label(to)?.unwrap_or_else(|| to.to_string()));
            }
        }
        Ok(if names.is_empty() { "direct".to_owned() } else { format!("through {}", names.join(", ")) })
    }

    /// The name of an app role of a service principal, as of the window's end; its id where nothing names it.
    pub(super) async fn app_role_name(&self, resource: &Key, role: &str) -> Result<String, QueryError> {
        self.access.facts.rest_on("servicePrincipal", None);
        self.access.app_role_name(resource, role).await
    }

    /// What a power is, in columns: `power`, `target`, `target_name`, `scope`, `form`.
    pub(super) async fn add_power(&self, row: &mut Row, power: &Power) -> Result<(), QueryError> {
        let mut words = self.access.words(power).await?;
        if let Power::Role { scope, .. } = power
            && scope == EVERYWHERE
        {
            words.scope = Some(scope.clone());
        }
        row.insert("power".to_owned(), words.kind.into());
        row.insert("target".to_owned(), words.target.into());
        row.insert("target_name".to_owned(), words.name.into());
        row.insert("scope".to_owned(), words.scope.into());
        row.insert("form".to_owned(), words.form.into());
        Ok(())
    }
}

/// How an actor is shown.
pub(super) fn actor(actor: &Actor) -> String {
    match (&actor.name, &actor.key) {
        (Some(name), Some(key)) => format!("{name} ({key})"),
        (Some(name), None) => name.clone(),
        (None, Some(key)) => key.to_string(),
        (None, None) => "the service".to_owned(),
    }
}

/// What somebody is: `user`, `guest`, `group`, `application`, `agent`, …
pub(super) fn kind(key: &Key, content: Option<&Value>) -> &'static str {
    let odata = content.and_then(|content| content["@odata.type"].as_str()).unwrap_or_default();
    let is_guest = || content.is_some_and(|content| content["userType"] == "Guest");
    match key.collection() {
        _ if odata.contains("agent") => "agent",
        "user" if is_guest() => "guest",
        "user" => "user",
        "group" => "group",
        "servicePrincipal" => "application",
        "device" => "device",
        _ => "object",
    }
}

/// `enabled`, `disabled`, or `gone` where there is no such object then.
pub(super) fn status(content: Option<&Value>) -> &'static str {
    match content.map(|content| &content["accountEnabled"]) {
        None => "gone",
        Some(Value::Bool(false)) => "disabled",
        Some(_) => "enabled",
    }
}

/// Sorts rows by these columns; what has no value comes first.
pub(super) fn sort(rows: &mut [Row], columns: &[&str]) {
    let texts = |row: &Row| -> Vec<String> {
        let text = |name: &&str| {
            row.get(*name).map_or(String::new(), |value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.to_lowercase(),
                other => other.to_string(),
            })
        };
        columns.iter().map(text).collect()
    };
    let mut keyed: Vec<(Vec<String>, Row)> = rows.iter_mut().map(|row| (texts(row), std::mem::take(row))).collect();
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    // Few are alike in all of the columns, and the text of a whole row is a kilobyte.
    for alike in keyed.chunk_by_mut(|(one, _), (other, _)| one == other).filter(|alike| alike.len() > 1) {
        alike.sort_by_cached_key(|(_, row)| Value::Object(row.clone()).to_string());
    }
    for (place, (_, row)) in rows.iter_mut().zip(keyed) {
        *place = row;
    }
}

/// Counts rows by the text of a column.
pub(super) fn count_by(rows: &[Row], column: &str) -> Value {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for row in rows {
        if let Some(text) = row.get(column).and_then(Value::as_str) {
            *counts.entry(text.to_owned()).or_default() += 1;
        }
    }
    json!(counts)
}

/// How many different values a column has.
pub(super) fn count_distinct(rows: &[Row], column: &str) -> Value {
    let values: std::collections::BTreeSet<String> =
        rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null()).map(Value::to_string).collect();
    values.len().into()
}
