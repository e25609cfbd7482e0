//! What rows of answers are made of: who somebody is, by which path, since when.
//!
//! Must never know: which question.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Asking;
use crate::canonical::Key;
use crate::query::QueryError;
use crate::query::access::{Access, Held, Power, Step};

/// A row.
pub(super) type Row = Map<String, Value>;

impl Asking<'_> {
    /// How a key is called as of the window's end, or was last.
    pub(super) fn label(&self, key: &Key) -> Result<Option<String>, QueryError> {
        let Some(id) = self.archive.view().id(key)? else { return Ok(None) };
        Ok(self.archive.view().label_at(id, self.end.capture.seq)?)
    }

    /// The content of an object as of the window's end; `None` where it isn't there.
    pub(super) async fn content(&self, key: &Key) -> Result<Option<Arc<Value>>, QueryError> {
        match self.archive.view().id(key)? {
            Some(id) => self.access.facts.content_at_end(id, key).await,
            None => Ok(None),
        }
    }

    /// Who somebody is: `subject`, `name`, `kind`, `status` and, of a user, `sign_in`.
    pub(super) async fn who(&self, key: &Key) -> Result<Row, QueryError> {
        let mut row = Row::new();
        row.insert("subject".to_owned(), key.as_str().into());
        row.insert("name".to_owned(), self.label(key)?.into());
        let content = self.content(key).await?;
        row.insert("kind".to_owned(), kind(key, content.as_deref()).into());
        row.insert("status".to_owned(), status(content.as_deref()).into());
        let sign_in = content.as_deref().and_then(|content| content["userPrincipalName"].as_str().map(str::to_owned));
        row.insert("sign_in".to_owned(), sign_in.into());
        Ok(row)
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
        Ok(self.archive.view().capture(seq)?.map_or(Value::Null, |row| row.time.to_string().into()))
    }

    fn step(&self, step: &Step) -> Result<Value, QueryError> {
        let mut row = Row::new();
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

    /// The name of a role definition, by its id.
    pub(super) fn role_name(&self, role: &str) -> Result<String, QueryError> {
        Ok(self.label(&Key::new("unifiedRoleDefinition", role))?.unwrap_or_else(|| role.to_owned()))
    }

    /// The name of an app role of a service principal, as of the window's end; its id where nothing names it.
    pub(super) async fn app_role_name(&self, resource: &Key, role: &str) -> Result<String, QueryError> {
        if role.chars().all(|c| c == '0' || c == '-') {
            return Ok("default access".to_owned());
        }
        let content = self.content(resource).await?;
        let roles = content.as_deref().and_then(|content| content["appRoles"].as_array());
        let named =
            roles.into_iter().flatten().find(|one| one["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(role)));
        let name = named.and_then(|one| one["value"].as_str().or_else(|| one["displayName"].as_str()));
        Ok(name.unwrap_or(role).to_owned())
    }

    /// What a power is, in columns: `power`, `target`, `target_name`, `scope`, `form`.
    pub(super) async fn add_power(&self, row: &mut Row, power: &Power) -> Result<(), QueryError> {
        let mut put = |name: &str, value: Value| drop(row.insert(name.to_owned(), value));
        match power {
            Power::Role { role, scope, form } => {
                put("power", "directory role".into());
                put("target", Key::new("unifiedRoleDefinition", role).as_str().into());
                put("target_name", self.role_name(role)?.into());
                put("scope", self.scope_name(scope)?.into());
                put("form", form.as_str().into());
            }
            Power::AppRole { resource, role } => {
                put("power", "app role".into());
                put("target", resource.as_str().into());
                put("target_name", self.label(resource)?.into());
                put("scope", self.app_role_name(resource, role).await?.into());
                put("form", "assigned".into());
            }
            Power::DefaultAccess { resource } => {
                put("power", "default access".into());
                put("target", resource.as_str().into());
                put("target_name", self.label(resource)?.into());
                put("scope", Value::Null);
                put("form", "open to everybody".into());
            }
            Power::Delegated { client, resource, scopes, principal } => {
                put("power", "delegated grant".into());
                put("target", resource.as_str().into());
                put("target_name", self.label(resource)?.into());
                put("scope", scopes.join(" ").into());
                let client = self.label(client)?.unwrap_or_else(|| client.to_string());
                let whom = if principal.is_some() { "for one user" } else { "for everybody" };
                put("form", format!("by {client}, {whom}").into());
            }
            Power::Member { of } => {
                put("power", "membership".into());
                put("target", of.as_str().into());
                put("target_name", self.label(of)?.into());
                put("scope", Value::Null);
                put("form", "member".into());
            }
            Power::Owner { of } => {
                put("power", "ownership".into());
                put("target", of.as_str().into());
                put("target_name", self.label(of)?.into());
                put("scope", Value::Null);
                put("form", "owner".into());
            }
        }
        Ok(())
    }

    /// `/`, or the name of what a role is confined to.
    pub(super) fn scope_name(&self, scope: &str) -> Result<String, QueryError> {
        let unit = scope.strip_prefix("/administrativeUnits/").map(|id| Key::new("administrativeUnit", id));
        let other = || {
            let id = scope.strip_prefix('/').filter(|id| !id.is_empty())?;
            let collections = ["application", "servicePrincipal", "group", "user"];
            let known = |key: &Key| self.archive.view().id(key).ok().flatten().is_some();
            collections.into_iter().map(|collection| Key::new(collection, id)).find(known)
        };
        match unit.or_else(other) {
            Some(key) => Ok(self.label(&key)?.map_or_else(|| scope.to_owned(), |name| format!("{scope} ({name})"))),
            None => Ok(scope.to_owned()),
        }
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

/// Sorts rows by these columns.
pub(super) fn sort(rows: &mut [Row], columns: &[&str]) {
    rows.sort_by_cached_key(|row| {
        let text = |name: &&str| {
            row.get(*name).map_or(String::new(), |value| match value {
                Value::String(text) => text.to_lowercase(),
                other => other.to_string(),
            })
        };
        (columns.iter().map(text).collect::<Vec<_>>(), Value::Object(row.clone()).to_string())
    });
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
