//! Changes of power: who gained a privileged role or permission in a capture, who came to control something that has one,
//! and which guard was loosened.
//!
//! Must never know: names. What is found here leaves the machine in alarms, so it is ids and words from closed lists, never
//! directory data.
//!
//! What a capture changed is read from its delta, and both sides of each change from the index: an hour in which nothing of
//! this kind happened costs its delta. Only what was seen before and after counts: the first capture has no changes, nor has
//! a row that was never read before; of a row that was read in part before it is said ([`Sight::First`]).
//!
//! docs/operations.md, "What counts as a change of power", is the page for people.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::archive::entry::Body;
use crate::archive::reader::LineReader;
use crate::canonical::Key;
use crate::index::View;
use crate::query::QueryError;

mod policy;
mod privilege;
mod roles;
mod sides;

pub(super) use privilege::{GRAPH, is_privileged_permission, is_privileged_role};
use roles::{Gain, Holding, Holdings};
use sides::Sides;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A privileged directory role is held for good or for a time: assigned directly, or by membership in a group that
    /// holds it.
    RoleGranted,
    /// A privileged directory role may be activated by somebody who couldn't.
    RoleEligible,
    /// Somebody activated a privileged directory role. What PIM is for, so worth less alarm.
    RoleActivated,
    /// An application was given a privileged permission of Microsoft Graph.
    PermissionGranted,
    /// Something that holds a privileged role or permission has one more credential.
    CredentialAdded,
    /// Something that holds a privileged role or permission, or may be given a role, has one more owner.
    OwnerAdded,
    /// An enforced Conditional Access policy was deleted, switched off or loosened.
    PolicyLoosened,
    /// A named location became trusted, or a trusted one got more addresses.
    LocationWidened,
    /// Security defaults were turned off.
    SecurityDefaultsOff,
}

impl Kind {
    /// The word in alarms.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::RoleGranted => "role-granted",
            Kind::RoleEligible => "role-eligible",
            Kind::RoleActivated => "role-activated",
            Kind::PermissionGranted => "permission-granted",
            Kind::CredentialAdded => "credential-added",
            Kind::OwnerAdded => "owner-added",
            Kind::PolicyLoosened => "policy-loosened",
            Kind::LocationWidened => "location-widened",
            Kind::SecurityDefaultsOff => "security-defaults-off",
        }
    }

    /// Whether it happens in every well kept tenant, day by day.
    pub fn is_routine(self) -> bool {
        self == Kind::RoleActivated
    }
}

/// How a change came to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// It happened between this capture and the one just before.
    Observed,
    /// It happened since this capture, which was the last to read that.
    Since(u64),
    /// It was seen for the first time, and the read before wasn't whole: it may have been there.
    First,
}

impl Sight {
    /// The word in alarms.
    pub fn as_str(self) -> &'static str {
        match self {
            Sight::Observed => "observed",
            Sight::Since(_) => "since",
            Sight::First => "first-seen",
        }
    }
}

/// A change of power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PowerChange {
    /// What kind it is.
    pub kind: Kind,
    /// Who gained power: a user, group or service principal. Of a credential the application or service principal that has
    /// it; of a loosened guard the guard.
    pub subject: Key,
    /// The id of the role definition, or of the app role in Microsoft Graph, that was granted; of a credential or an owner
    /// one that the thing they control already has.
    pub power: Option<String>,
    /// Where a role is held: `/`, or what it is confined to.
    pub scope: Option<String>,
    /// The `keyId` of a new credential.
    pub credential: Option<String>,
    /// What was loosened, by words of a closed list.
    pub aspects: Vec<&'static str>,
    /// By which objects: the grant and the group, or the thing that is owned and what leads from it to its power.
    pub path: Vec<Key>,
    /// The capture that shows it.
    pub seq: u64,
    /// How it came to be seen.
    pub sight: Sight,
}

/// The collections whose changes can be changes of power.
const COLLECTIONS: &[&str] = &[
    "unifiedRoleAssignment",
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleAssignmentScheduleInstance",
    "unifiedRoleEligibilitySchedule",
    "unifiedRoleEligibilityScheduleInstance",
    "appRoleAssignment",
    "application",
    "servicePrincipal",
    "group",
    "conditionalAccessPolicy",
    "namedLocation",
    "identitySecurityDefaultsEnforcementPolicy",
];

/// The changes of power in the capture `body`, sorted. The index must hold the capture; it may hold later ones.
///
/// Taken together: a grant that was made again under another id, a new name, another order are no changes, nor is power at
/// a narrower scope than was held. Membership in a role-assignable group counts one level deep, since such a group can't
/// hold groups (learn.microsoft.com/entra/identity/role-based-access-control/groups-concept).
///
/// # Errors
/// The archive's: what can't be read or isn't what was committed. [`QueryError::NoSuchCapture`] where the index doesn't
/// hold the capture.
pub async fn changes(view: &View, lines: &LineReader, body: &Body) -> Result<Vec<PowerChange>, QueryError> {
    if !body.is_capture() {
        return Ok(Vec::new());
    }
    let Some(sides) = Sides::open(view, lines, body, COLLECTIONS).await? else { return Ok(Vec::new()) };
    let mut search = Search { sides, privileged: BTreeMap::new(), grants: None, found: Vec::new() };
    search.guards().await?;
    search.permissions().await?;
    let memberships = search.memberships().await?;
    let controls = search.controls().await?;
    let touches_roles = search.sides.touched.contents.keys().any(|key| roles::COLLECTIONS.contains(&key.collection()));
    if touches_roles || !memberships.is_empty() || !controls.is_empty() {
        let (before, after) = search.holdings().await?;
        search.roles(&before, &after).await?;
        search.members(memberships, &before, &after).await?;
        search.controlled(controls, &after).await?;
    }
    let mut found = search.found;
    found.sort();
    found.dedup_by(|a, b| {
        (a.kind, &a.subject, &a.power, &a.scope, &a.credential)
            == (b.kind, &b.subject, &b.power, &b.scope, &b.credential)
            && (a.kind != Kind::OwnerAdded || a.path.first() == b.path.first())
    });
    Ok(found)
}

/// A link that is new: its source, its target, and when it was last seen missing.
struct NewLink {
    source: Key,
    target: Key,
    q: Option<u64>,
}

/// Somebody or something that came to control an object.
struct Control {
    kind: Kind,
    /// The application, service principal or group.
    object: Key,
    subject: Key,
    credential: Option<String>,
    by: Option<Key>,
    sight: Sight,
}

/// The privileged permissions of Microsoft Graph by the id of the service principal that has them.
type Grants = BTreeMap<String, (String, Key)>;

struct Search<'a> {
    sides: Sides<'a>,
    /// By role definition, as far as it was asked.
    privileged: BTreeMap<String, bool>,
    grants: Option<Grants>,
    found: Vec<PowerChange>,
}

impl Search<'_> {
    /// Keys of a collection whose content was touched, with both sides and the `q`.
    async fn touched(
        &self,
        collection: &str,
    ) -> Result<Vec<(Key, Option<Value>, Option<Value>, Option<u64>)>, QueryError> {
        let mut all = Vec::new();
        for (key, q) in self.sides.touched.contents.iter().filter(|(key, _)| key.collection() == collection) {
            let before = self.sides.content(key, self.sides.before).await?;
            all.push((key.clone(), before, self.sides.content(key, self.sides.after).await?, *q));
        }
        Ok(all)
    }

    fn change(&self, kind: Kind, subject: Key, sight: Sight) -> PowerChange {
        PowerChange {
            kind,
            subject,
            power: None,
            scope: None,
            credential: None,
            aspects: Vec::new(),
            path: Vec::new(),
            seq: self.sides.after,
            sight,
        }
    }

    /// Conditional Access, named locations, security defaults.
    async fn guards(&mut self) -> Result<(), QueryError> {
        let policies = self.touched("conditionalAccessPolicy").await?;
        let new: Vec<&Value> = policies.iter().filter(|row| row.1.is_none()).filter_map(|row| row.2.as_ref()).collect();
        let mut loosened = Vec::new();
        for (key, before, after, q) in &policies {
            let Some(before) = before else { continue };
            let aspects = policy::loosened(before, after.as_ref());
            // One that was made again under another id guards as before.
            let again = after.is_none() && new.iter().any(|new| policy::loosened(before, Some(new)).is_empty());
            if !aspects.is_empty() && !again {
                loosened.push((Kind::PolicyLoosened, key.clone(), aspects, *q));
            }
        }
        for (key, before, after, q) in self.touched("namedLocation").await? {
            let aspects = after.map(|after| policy::widened(before.as_ref(), &after)).unwrap_or_default();
            if !aspects.is_empty() {
                loosened.push((Kind::LocationWidened, key, aspects, q));
            }
        }
        for (key, before, after, q) in self.touched("identitySecurityDefaultsEnforcementPolicy").await? {
            if before.is_some_and(|before| policy::defaults_off(&before, after.as_ref())) {
                loosened.push((Kind::SecurityDefaultsOff, key, Vec::new(), q));
            }
        }
        for (kind, key, aspects, q) in loosened {
            if let Some(sight) = self.sides.sight(key.collection(), None, q)? {
                self.found.push(PowerChange { aspects, ..self.change(kind, key, sight) });
            }
        }
        Ok(())
    }

    async fn permissions(&mut self) -> Result<(), QueryError> {
        let rows = self.touched("appRoleAssignment").await?;
        let grant = |content: &Value| {
            let text = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
            (text("principalId"), text("resourceId"), text("appRoleId"))
        };
        let held: BTreeSet<_> = rows.iter().filter_map(|row| row.1.as_ref()).map(grant).collect();
        for (key, _, after, q) in &rows {
            let Some(after) = after.as_ref().filter(|after| after["principalType"] == "ServicePrincipal") else {
                continue;
            };
            let (principal, resource, role) = grant(after);
            let gained = !held.contains(&grant(after)) && !principal.is_empty() && !resource.is_empty();
            if !gained || !privilege::is_privileged_permission(&role) {
                continue;
            }
            if let Some(sight) = self.sides.sight("appRoleAssignment", None, *q)? {
                let subject = Key::new("servicePrincipal", &principal);
                let path = vec![key.clone(), Key::new("servicePrincipal", &resource)];
                let change = self.change(Kind::PermissionGranted, subject, sight);
                self.found.push(PowerChange { power: Some(role), path, ..change });
            }
        }
        Ok(())
    }

    /// Whether a group may be given roles.
    async fn is_role_assignable(&self, group: &Key) -> Result<bool, QueryError> {
        let content = self.sides.content(group, self.sides.after).await?;
        Ok(content.is_some_and(|content| content["isAssignableToRole"] == true))
    }

    /// The links of `relation` that are new, of one source.
    fn new_links(&self, source: &Key, relation: &str) -> Result<Vec<NewLink>, QueryError> {
        let touched = &self.sides.touched.added;
        let Some(added) = touched.get(&(source.clone(), relation.to_owned())) else { return Ok(Vec::new()) };
        let new = self.sides.new_links(source, relation, added)?;
        Ok(new.into_iter().map(|(target, q)| NewLink { source: source.clone(), target, q }).collect())
    }

    /// Sources of a collection with new links of `relation`.
    fn sources(&self, collection: &str, relation: &str) -> Vec<Key> {
        let touched = self.sides.touched.added.keys();
        let fitting = touched.filter(|(source, name)| source.collection() == collection && name == relation);
        fitting.map(|(source, _)| source.clone()).collect()
    }

    /// New members of groups that may be given roles.
    async fn memberships(&self) -> Result<Vec<NewLink>, QueryError> {
        let mut all = Vec::new();
        for group in self.sources("group", "members") {
            if self.is_role_assignable(&group).await? {
                all.extend(self.new_links(&group, "members")?);
            }
        }
        Ok(all)
    }

    /// New credentials and new owners, whatever they are of.
    async fn controls(&self) -> Result<Vec<Control>, QueryError> {
        let mut all = Vec::new();
        for collection in ["application", "servicePrincipal"] {
            for (key, before, after, q) in self.touched(collection).await? {
                let (before, after) = (credentials(before.as_ref()), credentials(after.as_ref()));
                let Some(sight) = self.sides.sight(collection, None, q)? else { continue };
                all.extend(after.difference(&before).map(|id| Control {
                    kind: Kind::CredentialAdded,
                    object: key.clone(),
                    subject: key.clone(),
                    credential: Some(id.clone()),
                    by: None,
                    sight,
                }));
            }
        }
        for (collection, relation) in [
            ("application", "federatedIdentityCredentials"),
            ("application", "owners"),
            ("servicePrincipal", "owners"),
            ("group", "owners"),
        ] {
            for source in self.sources(collection, relation) {
                for link in self.new_links(&source, relation)? {
                    let Some(sight) = self.sides.sight(collection, Some(relation), link.q)? else { continue };
                    all.push(match relation {
                        "owners" => Control {
                            kind: Kind::OwnerAdded,
                            object: link.source,
                            subject: link.target,
                            credential: None,
                            by: None,
                            sight,
                        },
                        _ => Control {
                            kind: Kind::CredentialAdded,
                            object: link.source.clone(),
                            subject: link.source,
                            credential: Some(link.target.decoded_id()),
                            by: Some(link.target),
                            sight,
                        },
                    });
                }
            }
        }
        Ok(all)
    }

    /// Everybody's roles before and after. Grants can't be looked up by what they say, so that all are read; there are few.
    async fn holdings(&self) -> Result<(Holdings, Holdings), QueryError> {
        let (mut before, mut after) = (Holdings::default(), Holdings::default());
        for collection in roles::COLLECTIONS {
            for key in self.sides.keys(collection)? {
                let old = self.sides.content(&key, self.sides.before).await?;
                let new = match self.sides.touched.contents.contains_key(&key) {
                    true => self.sides.content(&key, self.sides.after).await?,
                    false => old.clone(),
                };
                old.iter().for_each(|old| before.add(&key, old));
                new.iter().for_each(|new| after.add(&key, new));
            }
        }
        Ok((before, after))
    }

    async fn is_privileged(&mut self, role: &str) -> Result<bool, QueryError> {
        if let Some(known) = self.privileged.get(role) {
            return Ok(*known);
        }
        let definition = self.sides.content(&Key::new("unifiedRoleDefinition", role), self.sides.after).await?;
        let privileged = privilege::is_privileged_role(role, definition.as_ref());
        self.privileged.insert(role.to_owned(), privileged);
        Ok(privileged)
    }

    async fn roles(&mut self, before: &Holdings, after: &Holdings) -> Result<(), QueryError> {
        for Gain { holding, kind, by } in before.gained(after) {
            if !self.is_privileged(&holding.role).await? {
                continue;
            }
            let q = self.sides.touched.contents.get(&by).copied().flatten();
            let Some(sight) = self.sides.sight(by.collection(), None, q)? else { continue };
            let subject = self.sides.principal(&holding.principal)?;
            self.push_role(kind, subject, holding, vec![by], sight);
        }
        Ok(())
    }

    /// New members of groups that hold a privileged role.
    async fn members(&mut self, links: Vec<NewLink>, before: &Holdings, after: &Holdings) -> Result<(), QueryError> {
        for NewLink { source, target, q } in links {
            let Some(sight) = self.sides.sight("group", Some("members"), q)? else { continue };
            for Gain { holding, kind, by } in after.of(&source.decoded_id()) {
                let own = Holding { principal: target.decoded_id(), ..holding };
                if self.is_privileged(&own.role).await? && !before.covers(&own, kind) {
                    self.push_role(kind, target.clone(), own, vec![by, source.clone()], sight);
                }
            }
        }
        Ok(())
    }

    fn push_role(&mut self, kind: Kind, subject: Key, holding: Holding, path: Vec<Key>, sight: Sight) {
        let change = self.change(kind, subject, sight);
        self.found.push(PowerChange { power: Some(holding.role), scope: Some(holding.scope), path, ..change });
    }

    /// Of new credentials and owners those of something that has power.
    async fn controlled(&mut self, controls: Vec<Control>, after: &Holdings) -> Result<(), QueryError> {
        for control in controls {
            let Some((power, path)) = self.power_of(&control.object, after).await? else { continue };
            let path = control.by.into_iter().chain(path).collect();
            let change = self.change(control.kind, control.subject, control.sight);
            self.found.push(PowerChange { power, credential: control.credential, path, ..change });
        }
        Ok(())
    }

    /// The power that an application, service principal or group has, and what leads to it; `None` where it has none.
    async fn power_of(
        &mut self,
        object: &Key,
        after: &Holdings,
    ) -> Result<Option<(Option<String>, Vec<Key>)>, QueryError> {
        let mut path = vec![object.clone()];
        let principals = match object.collection() {
            "group" => {
                if !self.is_role_assignable(object).await? {
                    return Ok(None);
                }
                let power = self.role_of(object, after).await?;
                return Ok(Some(match power {
                    Some((role, by)) => (Some(role), [path, by].concat()),
                    None => (None, path),
                }));
            }
            "application" => self.principals_of(object).await?,
            _ => vec![object.clone()],
        };
        for principal in principals {
            let power = match self.role_of(&principal, after).await? {
                Some(power) => Some(power),
                None => {
                    self.grants().await?.get(&principal.decoded_id()).map(|(id, by)| (id.clone(), vec![by.clone()]))
                }
            };
            if let Some((power, by)) = power {
                path.extend((principal != *object).then_some(principal));
                return Ok(Some((Some(power), [path, by].concat())));
            }
        }
        Ok(None)
    }

    /// A privileged role that a principal holds or may activate, itself or by a group, and what leads to it.
    async fn role_of(&mut self, principal: &Key, after: &Holdings) -> Result<Option<(String, Vec<Key>)>, QueryError> {
        let groups = match principal.collection() {
            "group" => Vec::new(),
            _ => self.sides.links_to(principal, "members")?,
        };
        for holder in std::iter::once(principal).chain(&groups) {
            for gain in after.of(&holder.decoded_id()) {
                if self.is_privileged(&gain.holding.role).await? {
                    let group = (holder != principal).then(|| holder.clone());
                    return Ok(Some((gain.holding.role, group.into_iter().chain([gain.by]).collect())));
                }
            }
        }
        Ok(None)
    }

    /// The service principals of an application in this tenant.
    async fn principals_of(&self, application: &Key) -> Result<Vec<Key>, QueryError> {
        let content = self.sides.content(application, self.sides.after).await?;
        let Some(id) = content.as_ref().and_then(|content| content["appId"].as_str()) else { return Ok(Vec::new()) };
        self.principals_called(id).await
    }

    async fn principals_called(&self, app_id: &str) -> Result<Vec<Key>, QueryError> {
        let mut principals = Vec::new();
        for key in self.sides.named("servicePrincipal", app_id)? {
            let content = self.sides.content(&key, self.sides.after).await?;
            if content.is_some_and(|content| content["appId"] == app_id) {
                principals.push(key);
            }
        }
        Ok(principals)
    }

    /// The privileged permissions of Microsoft Graph that are held now.
    async fn grants(&mut self) -> Result<&Grants, QueryError> {
        if self.grants.is_none() {
            let mut grants = Grants::new();
            for graph in self.principals_called(privilege::GRAPH).await? {
                for assignment in self.sides.links_from(&graph, "appRoleAssignedTo")? {
                    let content = self.sides.content(&assignment, self.sides.after).await?.unwrap_or_default();
                    let (principal, role) = (content["principalId"].as_str(), content["appRoleId"].as_str());
                    if let (Some(principal), Some(role)) = (principal, role)
                        && privilege::is_privileged_permission(role)
                    {
                        grants.insert(principal.to_ascii_lowercase(), (role.to_owned(), assignment));
                    }
                }
            }
            self.grants = Some(grants);
        }
        Ok(self.grants.get_or_insert_default())
    }
}

/// The ids of an object's secrets and certificates.
fn credentials(content: Option<&Value>) -> BTreeSet<String> {
    let lists = ["passwordCredentials", "keyCredentials"].into_iter();
    let all = lists.filter_map(|name| content?[name].as_array()).flatten();
    all.filter_map(|credential| credential["keyId"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_known_by_their_ids_in_any_order() {
        let app = |passwords: &[&str], keys: &[&str]| {
            let of = |ids: &[&str]| ids.iter().map(|id| json!({"keyId": id})).collect::<Vec<_>>();
            json!({"passwordCredentials": of(passwords), "keyCredentials": of(keys)})
        };
        assert_eq!(credentials(Some(&app(&["a", "b"], &["c"]))), credentials(Some(&app(&["b"], &["c", "a"]))));
        assert_eq!(
            credentials(Some(&json!({"passwordCredentials": [{}, 1], "keyCredentials": null}))),
            BTreeSet::new()
        );
        assert_eq!(credentials(None), BTreeSet::new());
    }

    #[test]
    fn only_activation_is_routine() {
        assert!(
            Kind::RoleActivated.is_routine() && !Kind::RoleGranted.is_routine() && !Kind::RoleEligible.is_routine()
        );
    }
}
