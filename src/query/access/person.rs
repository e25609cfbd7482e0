//! Who somebody is to Conditional Access: the groups and roles that policies name, and what kind of account it is.
//!
//! Must never know: what follows from that.
//!
//! Whether an account belongs elsewhere is told by its name (`#EXT#`), by how it was made (`creationType`) or by its invitation
//! (`externalUserState`): learn.microsoft.com/entra/external-id/user-properties. Its tenant isn't told by anything that is captured.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::Value;

use super::{Access, EVERYWHERE, Evaluator, Form, Held, Power, Said};
use crate::canonical::Key;
use crate::query::QueryError;
use crate::query::conditional_access::{
    Choice, External, Identity, LocationVariants, NamedLocation, Person, Policy, Truth,
};
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
    /// Blueprints of agents that policies name, by the ids of their service principals and applications.
    blueprints: Vec<(String, String)>,
}

/// What an object may have said within a window.
#[derive(Debug, Clone, Default)]
pub struct Variants {
    /// Every content that it may have had, the earliest first; none where it wasn't there.
    pub all: Vec<Arc<Value>>,
    /// Whether it was there.
    pub there: Truth,
}

impl Variants {
    /// The members that every content has alike. What isn't here isn't known.
    pub fn agreed(&self) -> Option<Value> {
        let (first, others) = self.all.split_first()?;
        let mut agreed = Value::clone(first);
        if let Some(members) = agreed.as_object_mut() {
            members.retain(|name, value| others.iter().all(|other| other.get(name) == Some(&*value)));
        }
        Some(agreed)
    }
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

    /// Somebody, as far as the policies ask that these were gathered for; `None` where it is neither a user nor a service
    /// principal, or wasn't there.
    pub fn person(&self, key: &Key, variants: &Variants) -> Option<Person> {
        let mut all = variants.all.iter().map(|content| self.identity(key, content));
        let first = all.next()??;
        let identity = all.flatten().fold(first, either);
        let held = |all: &Holders| -> BTreeMap<String, Truth> {
            let mine = all.iter().filter_map(|(id, holders)| Some((id.clone(), truth(holders.get(key)?)?)));
            mine.collect()
        };
        Some(Person { id: key.decoded_id(), identity, groups: held(&self.groups), roles: held(&self.roles) })
    }

    fn identity(&self, key: &Key, content: &Value) -> Option<Identity> {
        let kind = content["@odata.type"].as_str().unwrap_or_default();
        Some(match key.collection() {
            "user" => Identity::User { external: external(content), home: None, is_agent: kind.ends_with("agentUser") },
            "servicePrincipal" if kind.ends_with("agentIdentity") => {
                let blueprint = content["agentIdentityBlueprintId"].as_str();
                let is_its = |own: &str| blueprint.is_some_and(|id| id.eq_ignore_ascii_case(own));
                let all = self.blueprints.iter().filter(|(id, app)| is_its(id) || is_its(app));
                Identity::Agent { blueprints: all.map(|(id, _)| id.clone()).collect() }
            }
            "servicePrincipal" => Identity::ServicePrincipal { in_scope: self.in_scope(content) },
            _ => return None,
        })
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

/// What somebody is who may be either.
fn either(one: Identity, other: Identity) -> Identity {
    match (one, other) {
        (one, other) if one == other => one,
        (Identity::User { is_agent, .. }, Identity::User { .. }) => {
            Identity::User { external: External::Unknown, home: None, is_agent }
        }
        (Identity::ServicePrincipal { .. }, Identity::ServicePrincipal { .. }) => {
            Identity::ServicePrincipal { in_scope: Truth::Depends }
        }
        (one, _) => one,
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

    /// The named locations: of each all that it may have been within the window.
    ///
    /// # Errors
    /// The archive's.
    pub async fn named_locations(&self) -> Result<Vec<LocationVariants>, QueryError> {
        let mut found = Vec::new();
        for (key, id) in self.ever("namedLocation")? {
            let variants = self.variants(id, &key).await?;
            let read = |content: &Arc<Value>| Some(NamedLocation::read(&key.decoded_id(), content));
            let mut all: LocationVariants = variants.all.iter().map(read).collect();
            if !all.is_empty() {
                all.extend((variants.there != Truth::Yes).then_some(None));
                all.dedup();
                found.push(all);
            }
        }
        Ok(found)
    }

    /// What an object may have said within the window: where it changed in the gap in which an instant lies, both.
    ///
    /// # Errors
    /// The archive's.
    pub async fn variants(&self, id: u32, key: &Key) -> Result<Variants, QueryError> {
        let (facts, window) = (&self.facts, &self.facts.window);
        let versions = facts.archive.view().versions(id)?;
        if let Some(version) = window.undoubted(&versions) {
            facts.rest_on(key.collection(), None);
            let content = facts.content(key, version).await?;
            return Ok(Variants { there: content.is_some().into(), all: content.into_iter().collect() });
        }
        let said = facts.said(id, key, |content| Some(content.clone())).await?;
        let is_sure = |held: &Held| matches!(self.sure(held), Some(Certainty::Observed | Certainty::Unknown));
        let mut whole = said.first().map(|said| said.held);
        for next in said.iter().skip(1) {
            whole = whole.and_then(|held| held.or(next.held)).or(whole);
        }
        let there = match whole {
            None => Truth::No,
            Some(whole) if is_sure(&whole) => Truth::Yes,
            Some(_) => Truth::Depends,
        };
        Ok(Variants { all: said.into_iter().map(|said| Arc::new(said.what)).collect(), there })
    }

    /// When an account belonged elsewhere, or was a guest, in any way; and when that can't be told.
    ///
    /// # Errors
    /// The archive's.
    pub async fn times_as_guest(&self, id: u32, key: &Key) -> Result<Vec<Held>, QueryError> {
        let is_guest = |content: &Value| (external(content) != External::Internal).then_some(());
        Ok(self.facts.said(id, key, is_guest).await?.into_iter().map(|said| said.held).collect())
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
        self.add_workloads(policies, &mut found).await?;
        Ok(found)
    }

    /// The same for one person alone, by what they are in and hold: of everybody else nothing is looked up.
    ///
    /// # Errors
    /// The archive's.
    pub async fn assignments_of(&self, who: &Key, policies: &[&Policy]) -> Result<Assignments, QueryError> {
        let mut found = Assignments::default();
        let named = |of: fn(&Policy) -> &Choice| -> BTreeSet<String> {
            let all = policies.iter().map(|policy| of(policy));
            all.flat_map(|choice| choice.include.iter().chain(&choice.exclude)).map(|id| id.to_lowercase()).collect()
        };
        let (groups, roles) = (named(|policy| &policy.groups), named(|policy| &policy.roles));
        let add = |all: &mut Holders, id: String, access: Access| {
            all.entry(id).or_default().entry(who.clone()).or_default().push(access);
        };
        if !groups.is_empty() {
            let mut memberships = self.memberships(who)?;
            memberships.retain(|access| matches!(&access.power, Power::Member { of } if groups.contains(&of.decoded_id().to_lowercase())));
            for access in self.corroborate(memberships).await? {
                let Power::Member { of } = &access.power else { continue };
                add(&mut found.groups, of.decoded_id().to_lowercase(), access);
            }
        }
        if !roles.is_empty() {
            let mut held = self.roles_of(who).await?;
            held.retain(|access| role_that_counts(access).is_some_and(|role| roles.contains(&role)));
            for access in self.corroborate(held).await? {
                let Some(role) = role_that_counts(&access) else { continue };
                if self.is_counted(&role).await? {
                    add(&mut found.roles, role, access);
                }
            }
        }
        self.add_workloads(policies, &mut found).await?;
        Ok(found)
    }

    /// What has to be known of service principals and agents.
    async fn add_workloads(&self, policies: &[&Policy], found: &mut Assignments) -> Result<(), QueryError> {
        if !policies.iter().any(|policy| policy.is_about_workloads()) {
            return Ok(());
        }
        found.tenant = self.facts.objects("organization")?.first().map(|(_, key)| key.decoded_id());
        let named: BTreeSet<&String> =
            policies.iter().flat_map(|policy| policy.agents.include.iter().chain(&policy.agents.exclude)).collect();
        for id in named {
            let Some((number, key)) = self.facts.object(id, &["servicePrincipal"])? else { continue };
            let Some(content) = self.facts.content_at_end(number, &key).await? else { continue };
            let kind = content["@odata.type"].as_str().unwrap_or_default();
            if kind.ends_with("agentIdentityBlueprintPrincipal") {
                let application = content["appId"].as_str().unwrap_or_default().to_owned();
                found.blueprints.push((id.clone(), application));
            }
        }
        Ok(())
    }

    /// Whoever holds a built-in role in the whole directory, active: roles of one's own don't count, nor do scoped ones.
    ///
    /// # Errors
    /// The archive's.
    pub async fn counted_holders(&self, role: &str) -> Result<Vec<Access>, QueryError> {
        if !self.is_counted(role).await? {
            return Ok(Vec::new());
        }
        let mut found = self.holders(role).await?;
        found.retain(|access| role_that_counts(access).is_some());
        self.corroborate(found).await
    }

    /// Whether a role isn't one of the tenant's own.
    async fn is_counted(&self, role: &str) -> Result<bool, QueryError> {
        let definition = Key::new("unifiedRoleDefinition", role);
        let Some(id) = self.id(&definition)? else { return Ok(true) };
        Ok(!self.facts.content_at_end(id, &definition).await?.is_some_and(|own| own["isBuiltIn"] == false))
    }

    /// How sure it is that something held within the window; `None` where it surely didn't.
    pub fn sure(&self, held: &Held) -> Option<Certainty> {
        self.certainty(held, &[])
    }
}

/// The role of an access that policies count: held in the whole directory, not only open to activation.
fn role_that_counts(access: &Access) -> Option<String> {
    match &access.power {
        Power::Role { role, scope, form } if scope == EVERYWHERE && *form != Form::Eligible => {
            Some(role.to_lowercase())
        }
        _ => None,
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

    /// Two captures show different things, and the instant lies between: what they agree on is known.
    #[test]
    fn what_two_contents_say_alike_is_known() {
        let variants = Variants {
            all: vec![
                Arc::new(json!({"id": "d", "isCompliant": true, "model": null})),
                Arc::new(json!({"id": "d", "isCompliant": false, "model": null, "trustType": "AzureAd"})),
            ],
            there: Truth::Yes,
        };
        assert_eq!(variants.agreed(), Some(json!({"id": "d", "model": null})));
        assert_eq!(Variants::default().agreed(), None);
        let user = |kind: &str| Arc::new(json!({"userType": kind, "externalUserState": "Accepted"}));
        let person = |kinds: &[&str]| {
            let variants = Variants { all: kinds.iter().map(|kind| user(kind)).collect(), there: Truth::Yes };
            Assignments::default().person(&Key::new("user", "u"), &variants).map(|person| person.identity)
        };
        let of = |external| Some(Identity::User { external, home: None, is_agent: false });
        assert_eq!(person(&["Guest", "Guest"]), of(External::Guest));
        assert_eq!(person(&["Guest", "Member"]), of(External::Unknown));
        assert_eq!(person(&[]), None);
    }

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
