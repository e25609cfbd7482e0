//! What a power is called.
//!
//! Must never know: who has it.

use serde_json::Value;

use super::{EVERYWHERE, Evaluator, Power};
use crate::canonical::Key;
use crate::query::{Archive, QueryError};

/// A power in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// `directory role`, `app role`, `default access`, `delegated grant`, `membership` or `ownership`.
    pub kind: &'static str,
    /// What it is about, by key.
    pub target: String,
    /// How that is called.
    pub name: Option<String>,
    /// What it is confined to, or which of several: the scope of a role, the app role, the scopes of a grant.
    pub scope: Option<String>,
    /// How it is held.
    pub form: String,
}

impl Evaluator<'_> {
    /// A power in words, as of the window's end, with the name of an app role as its application has it.
    ///
    /// # Errors
    /// The archive's.
    pub async fn words(&self, power: &Power) -> Result<Words, QueryError> {
        let mut words = self.facts.archive.power_words(power, self.facts.window.end.seq)?;
        if let Power::AppRole { resource, role } = power {
            words.scope = Some(self.app_role_name(resource, role).await?);
        }
        Ok(words)
    }

    /// The name of an app role of a service principal, as of the window's end; its id where nothing names it. All zeros is the
    /// default access (learn.microsoft.com/graph/api/resources/approleassignment).
    ///
    /// # Errors
    /// The archive's.
    pub async fn app_role_name(&self, resource: &Key, role: &str) -> Result<String, QueryError> {
        if role.chars().all(|c| c == '0' || c == '-') {
            return Ok("default access".to_owned());
        }
        let content = match self.facts.archive.view().id(resource)? {
            Some(id) => self.facts.content_at_end(id, resource).await?,
            None => None,
        };
        let roles = content.as_deref().and_then(|content| content["appRoles"].as_array());
        let is_it = |one: &&Value| one["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(role));
        let named = roles.into_iter().flatten().find(is_it);
        let name = named.and_then(|one| one["value"].as_str().or_else(|| one["displayName"].as_str()));
        Ok(name.unwrap_or(role).to_owned())
    }
}

impl Archive {
    /// How a key is called as of capture `seq`, or was last, as the index knows it.
    ///
    /// # Errors
    /// The archive's.
    pub fn label_of_key(&self, key: &Key, seq: u64) -> Result<Option<String>, QueryError> {
        let Some(id) = self.view().id(key)? else { return Ok(None) };
        Ok(self.view().label_at(id, seq)?)
    }

    /// A power in words, as of capture `seq`.
    ///
    /// # Errors
    /// The archive's.
    pub fn power_words(&self, power: &Power, seq: u64) -> Result<Words, QueryError> {
        let words = |kind, target: &Key, scope: Option<String>, form: String| {
            let name = self.label_of_key(target, seq)?;
            Ok(Words { kind, target: target.to_string(), name, scope, form })
        };
        match power {
            Power::Role { role, scope, form } => {
                let scope = Some(self.scope_words(scope, seq)?).filter(|scope| scope != EVERYWHERE);
                words("directory role", &Key::new("unifiedRoleDefinition", role), scope, form.as_str().to_owned())
            }
            Power::AppRole { resource, role } => words("app role", resource, Some(role.clone()), "assigned".to_owned()),
            Power::DefaultAccess { resource } => {
                words("default access", resource, None, "open to everybody".to_owned())
            }
            Power::Delegated { client, resource, scopes, principal } => {
                let client = self.label_of_key(client, seq)?.unwrap_or_else(|| client.to_string());
                let whom = if principal.is_some() { "for one user" } else { "for everybody" };
                words("delegated grant", resource, Some(scopes.join(" ")), format!("by {client}, {whom}"))
            }
            Power::Member { of } => words("membership", of, None, "member".to_owned()),
            Power::Owner { of } if of.collection() == "application" => {
                words("ownership", of, None, "owner of the application".to_owned())
            }
            Power::Owner { of } => words("ownership", of, None, "owner".to_owned()),
        }
    }

    /// `/`, or what a role is confined to with its name.
    ///
    /// # Errors
    /// The archive's.
    pub fn scope_words(&self, scope: &str, seq: u64) -> Result<String, QueryError> {
        let unit = scope.strip_prefix("/administrativeUnits/").map(|id| Key::new("administrativeUnit", id));
        let id = scope.strip_prefix('/').filter(|id| !id.is_empty());
        let collections = ["application", "servicePrincipal", "group", "user"];
        let others = id.into_iter().flat_map(|id| collections.map(|collection| Key::new(collection, id)));
        for key in unit.into_iter().chain(others) {
            if let Some(name) = self.label_of_key(&key, seq)? {
                return Ok(format!("{scope} ({name})"));
            }
        }
        Ok(scope.to_owned())
    }
}
