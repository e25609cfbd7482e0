//! Who somebody is to Conditional Access: the groups and roles that policies name, and what kind of account it is.
//!
//! Must never know: what follows from that.
//!
//! Whether an account belongs elsewhere is told by its name (`#EXT#`), by how it was made (`creationType`) or by its invitation
//! (`externalUserState`): learn.microsoft.com/entra/external-id/user-properties. Its tenant isn't told by anything that is captured.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde_json::Value;

use super::{Access, EVERYWHERE, Evaluator, Form, Held, Power, Said};
use crate::canonical::Key;
use crate::query::QueryError;
use crate::query::conditional_access::{External, Identity, NamedLocation, Person, Policy, Truth};
use crate::query::coverage::Certainty;

/// By the id of a group or role, and by who is in it or holds it: how.
type Holders = BTreeMap<String, BTreeMap<Key, Vec<Access>>>;

/// Who is in the groups that policies name, and who holds the roles.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    /// Members by the id of the group.
    pub groups: Holders,
    /// Holders by the id of the role: only what policies count.
    pub roles: Holders,
    /// The id of the tenant.
    tenant: Option<String>,
}

impl Assignments {
    /// How somebody comes to be in a group or to hold a role.
    pub fn of(&self, id: &str, who: &Key) -> &[Access] {
        let id = id.to_lowercase();
        let all = self.groups.get(&id).or_else(|| self.roles.get(&id));
        all.and_then(|holders| holders.get(who)).map_or(&[], Vec::as_slice)
    }

    /// Everybody in a group or with a role.
    pub fn all_of(&self, id: &str) -> impl Iterator<Item = &Key> {
        let id = id.to_lowercase();
        self.groups.get(&id).or_else(|| self.roles.get(&id)).into_iter().flat_map(BTreeMap::keys)
    }

    /// Somebody, as far as the policies ask that these were gathered for; `None` where it is neither a user nor a service principal.
    pub fn person(&self, key: &Key, content: Option<&Value>) -> Option<Person> {
        let content = content.unwrap_or(&Value::Null);
        let kind = content["@odata.type"].as_str().unwrap_or_default();
        let identity = match key.collection() {
            "user" => Identity::User { external: external(content), home: None, is_agent: kind.ends_with("agentUser") },
            "servicePrincipal" if kind.ends_with("agentIdentity") => Identity::Agent,
            "servicePrincipal" => Identity::ServicePrincipal { in_scope: self.in_scope(content) },
            _ => return None,
        };
        let held = |all: &Holders| -> BTreeMap<String, Truth> {
            let mine = all.iter().filter_map(|(id, holders)| Some((id.clone(), truth(holders.get(key)?)?)));
            mine.collect()
        };
        Some(Person { id: key.decoded_id(), identity, groups: held(&self.groups), roles: held(&self.roles) })
    }

    /// Whether policies are for a service principal: one of a single-tenant application of this tenant's own.
    fn in_scope(&self, content: &Value) -> Truth {
        let owner = content["appOwnerOrganizationId"].as_str();
        match (content["servicePrincipalType"].as_str(), owner, &self.tenant) {
            (Some("ManagedIdentity"), _, _) => Truth::No,
            (_, Some(owner), Some(tenant)) if !owner.eq_ignore_ascii_case(tenant) => Truth::No,
            (_, Some(_), Some(_)) => match content["signInAudience"].as_str() {
                Some(audience) => (audience == "AzureADMyOrg").into(),
                None => Truth::Depends,
            },
            _ => Truth::Depends,
        }
    }
}

fn truth(accesses: &[Access]) -> Option<Truth> {
    let sure = |access: &Access| matches!(access.certainty, Certainty::Observed | Certainty::Corroborated);
    accesses.iter().map(|access| if sure(access) { Truth::Yes } else { Truth::Depends }).max()
}

fn external(content: &Value) -> External {
    let is_elsewhere = content["userPrincipalName"].as_str().is_some_and(|name| name.contains("#EXT#"))
        || content["externalUserState"].is_string()
        || matches!(content["creationType"].as_str(), Some("Invitation" | "SelfServiceSignUp"));
    match (content["userType"].as_str(), is_elsewhere) {
        (Some("Guest"), true) => External::Guest,
        (Some("Guest"), false) => External::LocalGuest,
        (Some("Member"), true) => External::Member,
        (Some("Member"), false) => External::Internal,
        _ => External::Unknown,
    }
}

impl Evaluator<'_> {
    /// Every policy that was there within the window, by the stretches in which it said the same.
    ///
    /// # Errors
    /// The archive's.
    pub async fn policies(&self) -> Result<Vec<Said<Policy>>, QueryError> {
        let mut found = Vec::new();
        for (key, id) in self.ever("conditionalAccessPolicy")? {
            found.extend(self.facts.said(id, &key, Policy::read).await?);
        }
        Ok(found)
    }

    /// The named locations as of the window's end.
    ///
    /// # Errors
    /// The archive's.
    pub async fn named_locations(&self) -> Result<Vec<NamedLocation>, QueryError> {
        let mut found = Vec::new();
        for (id, key) in self.facts.objects("namedLocation")? {
            if let Some(content) = self.facts.content_at_end(id, &key).await? {
                found.push(NamedLocation::read(&key.decoded_id(), &content));
            }
        }
        Ok(found)
    }

    /// Every object of a collection that there ever was: which of them counts, their stretches say.
    ///
    /// # Errors
    /// The archive's.
    pub fn ever(&self, collection: &str) -> Result<Vec<(Key, u32)>, QueryError> {
        self.facts.rest_on(collection, None);
        let mut found = Vec::new();
        self.facts.archive.view().each_key(Some(collection), |key, id| {
            if key.facet_name().is_none() {
                found.push((key, id));
            }
            Ok::<_, QueryError>(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Who is in the groups and holds the roles that these policies name.
    ///
    /// # Errors
    /// The archive's.
    pub async fn assignments(&self, policies: &[&Policy]) -> Result<Assignments, QueryError> {
        let (mut groups, mut roles) = (BTreeSet::new(), BTreeSet::new());
        for policy in policies {
            groups.extend(policy.groups.include.iter().chain(&policy.groups.exclude).map(|id| id.to_lowercase()));
            roles.extend(policy.roles.include.iter().chain(&policy.roles.exclude).map(|id| id.to_lowercase()));
        }
        let mut found = Assignments::default();
        for id in groups {
            let members = self.corroborate(self.members(&Key::new("group", &id))?).await?;
            found.groups.insert(id, by_subject(members));
        }
        for id in roles {
            let holders = self.counted_holders(&id).await?;
            found.roles.insert(id, by_subject(holders));
        }
        if policies.iter().any(|policy| policy.is_about_workloads()) {
            found.tenant = self.facts.objects("organization")?.first().map(|(_, key)| key.decoded_id());
        }
        Ok(found)
    }

    /// Whoever holds a built-in role in the whole directory, active: roles of one's own don't count, nor do scoped ones.
    async fn counted_holders(&self, role: &str) -> Result<Vec<Access>, QueryError> {
        let definition = Key::new("unifiedRoleDefinition", role);
        if let Some(id) = self.id(&definition)?
            && self.facts.content_at_end(id, &definition).await?.is_some_and(|own| own["isBuiltIn"] == false)
        {
            return Ok(Vec::new());
        }
        let mut found = self.holders(role).await?;
        found.retain(|access| {
            matches!(&access.power, Power::Role { scope, form, .. } if scope == EVERYWHERE && *form != Form::Eligible)
        });
        self.corroborate(found).await
    }

    /// How sure it is that something held within the window; `None` where it surely didn't.
    pub fn sure(&self, held: &Held) -> Option<Certainty> {
        self.certainty(held, &[])
    }
}

fn by_subject(found: Vec<Access>) -> BTreeMap<Key, Vec<Access>> {
    let mut all: BTreeMap<Key, Vec<Access>> = BTreeMap::new();
    for access in found {
        all.entry(access.subject.clone()).or_default().push(access);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn where_an_account_belongs() {
        for (content, expected) in [
            (json!({"userType": "Member", "userPrincipalName": "a@home"}), External::Internal),
            (json!({"userType": "Guest", "userPrincipalName": "a@home"}), External::LocalGuest),
            (json!({"userType": "Guest", "userPrincipalName": "a_b.c#EXT#@home"}), External::Guest),
            (json!({"userType": "Guest", "externalUserState": "PendingAcceptance"}), External::Guest),
            (json!({"userType": "Member", "creationType": "Invitation"}), External::Member),
            (json!({"userType": "Member", "creationType": "EmailVerified"}), External::Internal),
            (json!({"userType": null}), External::Unknown),
        ] {
            assert_eq!(external(&content), expected, "{content}");
        }
    }

    #[test]
    fn which_service_principals_policies_are_for() {
        let home = Assignments { tenant: Some("home".to_owned()), ..Assignments::default() };
        for (content, expected) in [
            (json!({"appOwnerOrganizationId": "home", "signInAudience": "AzureADMyOrg"}), Truth::Yes),
            (json!({"appOwnerOrganizationId": "home", "signInAudience": "AzureADMultipleOrgs"}), Truth::No),
            (json!({"appOwnerOrganizationId": "home"}), Truth::Depends),
            (json!({"appOwnerOrganizationId": "away", "signInAudience": "AzureADMyOrg"}), Truth::No),
            (json!({"servicePrincipalType": "ManagedIdentity", "appOwnerOrganizationId": null}), Truth::No),
            (json!({"appOwnerOrganizationId": null}), Truth::Depends),
        ] {
            assert_eq!(home.in_scope(&content), expected, "{content}");
        }
        assert_eq!(Assignments::default().in_scope(&json!({"appOwnerOrganizationId": "home"})), Truth::Depends);
    }
}
