//! Owners: who could give themselves what something has.
//!
//! Must never know: what that is worth.
//!
//! The owner of a group can make themselves a member, the owner of an application or service principal can add a credential to
//! it and act as it (learn.microsoft.com/entra/identity/enterprise-apps/overview-assign-app-owners). An owner of the
//! application object controls every service principal of it in the tenant.

use super::{Access, Evaluator, Power, Step, StepKind};
use crate::canonical::Key;
use crate::query::QueryError;

/// What has owners.
const OWNED: [&str; 3] = ["group", "application", "servicePrincipal"];

impl Evaluator<'_> {
    /// What a key owns.
    pub(super) fn owned_by(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let Some(id) = self.id(subject)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for collection in OWNED {
            for owned in self.facts.links_to(id, collection, "owners")? {
                let of = self.key(owned.other)?;
                found.extend(self.owner(subject, &of, owned.held));
            }
        }
        Ok(found)
    }

    /// The objects of one application: `key` itself and, where it is an application or a service principal, those with its
    /// `appId`; of an agent identity those of its blueprint, whose credentials are its own
    /// (learn.microsoft.com/graph/api/resources/agentidentityblueprint).
    ///
    /// # Errors
    /// The archive's.
    pub async fn one_application(&self, key: &Key) -> Result<Vec<Key>, QueryError> {
        let mut keys = vec![key.clone()];
        if !matches!(key.collection(), "application" | "servicePrincipal") {
            return Ok(keys);
        }
        let content = match self.id(key)? {
            Some(id) => self.facts.content_at_end(id, key).await?,
            None => None,
        };
        let ids = ["appId", "agentIdentityBlueprintId"]
            .map(|name| content.as_deref().and_then(|content| content[name].as_str()).filter(|id| !id.is_empty()));
        for id in ids.into_iter().flatten() {
            let found = self.facts.with_value_of(&["application", "servicePrincipal"], "appId", id)?;
            keys.extend(found.into_iter().map(|(_, key)| key));
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Whoever owns something; the other objects of an application have owners of their own.
    ///
    /// # Errors
    /// The archive's.
    pub fn owners(&self, of: &Key) -> Result<Vec<Access>, QueryError> {
        let Some(id) = self.id(of)?.filter(|_| OWNED.contains(&of.collection())) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for owner in self.facts.links_from(id, of.collection(), "owners")? {
            found.extend(self.owner(&self.key(owner.other)?, of, owner.held));
        }
        Ok(found)
    }

    fn owner(&self, subject: &Key, of: &Key, held: super::Held) -> Option<Access> {
        let step = Step { kind: StepKind::Owner, from: subject.clone(), to: Some(of.clone()), by: Vec::new(), held };
        self.access(subject, Power::Owner { of: of.clone() }, vec![step])
    }
}
