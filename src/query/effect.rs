//! What a difference comes to: who gained and who lost which access between two captures, and which accounts were switched on or
//! off.
//!
//! Must never know: how an answer is shown.
//!
//! A change of a grant or a membership concerns somebody; whoever is concerned is evaluated at both ends, so that what was only
//! given in another way is no change. Memberships themselves are in the difference; here is what they give: roles, app roles,
//! delegated grants, ownership, applications without assignment. Whom policies cover is [`super::policy_effect`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::access::{Access, Evaluator, Power, Words};
use super::{Archive, Instant, PolicyEffects, QueryError, Scope};
use crate::canonical::Key;
use crate::index::{Version, VersionKind};

/// What became of somebody's access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turned {
    /// They have it and hadn't.
    Gained,
    /// They had it and haven't.
    Lost,
}

impl Turned {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Turned::Gained => "gained",
            Turned::Lost => "lost",
        }
    }
}

/// Somebody gained or lost something, by the path by which they have or had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Which of both.
    pub turned: Turned,
    /// Who, what and how.
    pub access: Access,
    /// What they gained or lost, in words as of the end at which they have it.
    pub words: Words,
}

/// An account that came or went, or was switched on or off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountEffect {
    /// The account.
    pub key: Key,
    /// `created`, `deleted`, `disabled` or `enabled`.
    pub turned: &'static str,
}

/// What a difference comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Accesses, sorted: what was gained first.
    pub access: Vec<Effect>,
    /// Accounts, sorted.
    pub accounts: Vec<AccountEffect>,
    /// Whom enforced policies stopped or began to cover.
    pub policies: PolicyEffects,
    /// How many were looked at because something about them changed.
    pub concerned: usize,
    /// Accesses that rest on what was read for the first time in between: whether they were gained nobody knows.
    pub first_seen: usize,
}

/// Whether an access is that of whom a scope names, or is held by way of that.
fn concerns(access: &Access, scope: &Scope) -> bool {
    let target = match &access.power {
        Power::Role { role, .. } => Key::new("unifiedRoleDefinition", role),
        Power::AppRole { resource, .. } | Power::DefaultAccess { resource } | Power::Delegated { resource, .. } => {
            resource.clone()
        }
        Power::Member { of } | Power::Owner { of } => of.clone(),
    };
    let mut steps =
        access.path.iter().flat_map(|step| [Some(&step.from), step.to.as_ref()].into_iter().flatten().chain(&step.by));
    scope.holds(&access.subject) || scope.holds(&target) || steps.any(|key| scope.holds(key))
}

/// Whether an access rests on what nobody looked at before, up to `from`.
fn is_first_sight(access: &Access, from: &Instant) -> bool {
    access.path.iter().any(|step| step.held.is_open && step.held.from > from.capture.seq)
}

/// Where an access stands among others: directory roles, permissions of applications, tenant-wide grants, and what people have.
fn weight(access: &Access) -> u8 {
    let is_application = access.subject.collection() == "servicePrincipal";
    match &access.power {
        Power::Role { .. } => 0,
        Power::AppRole { .. } if is_application => 1,
        Power::Delegated { principal: None, .. } => 2,
        Power::Owner { .. } => 3,
        Power::Delegated { .. } => 5,
        _ => 4,
    }
}

/// Collections whose objects give somebody something.
const GRANTS: &[&str] = &[
    "unifiedRoleAssignment",
    "unifiedRoleAssignmentSchedule",
    "unifiedRoleAssignmentScheduleInstance",
    "unifiedRoleEligibilitySchedule",
    "unifiedRoleEligibilityScheduleInstance",
    "appRoleAssignment",
    "oauth2PermissionGrant",
];

/// The kinds of object that can be given something.
const HOLDERS: &[&str] = &["user", "group", "servicePrincipal", "device"];

impl Archive {
    /// What the difference between two captures comes to, for whom `scope` concerns.
    ///
    /// # Errors
    /// The archive's.
    pub async fn effects(&self, from: &Instant, to: &Instant, scope: &Scope) -> Result<Effects, QueryError> {
        let bare = |instant: &Instant| Instant { asked: None, ..*instant };
        let mut sides = [Side::new(self, &bare(from))?, Side::new(self, &bare(to))?];
        let mut concerned = BTreeSet::new();
        let mut effects = Effects::default();
        // A grant concerns somebody else than its own object: what changed anywhere may concern those that are asked about.
        let touched = self.touched(from, to, &Scope::default()).await?;
        effects.policies = self.policy_effects([&sides[0].evaluator, &sides[1].evaluator], &touched).await?;
        for key in touched {
            let Some(id) = self.view().id(&key)? else { continue };
            match key.collection() {
                "group" => {
                    // Of a group that gives nothing at either end nobody gains or loses anything by a membership.
                    let [before, after] = &mut sides;
                    if before.gives(&key).await? || after.gives(&key).await? {
                        concerned.extend(self.other_ends(id, "members", from, to)?);
                    }
                    concerned.extend(self.other_ends(id, "owners", from, to)?);
                }
                "application" => concerned.extend(self.other_ends(id, "owners", from, to)?),
                "servicePrincipal" => {
                    concerned.extend(self.other_ends(id, "owners", from, to)?);
                    concerned.insert(key);
                }
                "user" => effects.accounts.extend(self.account(&key, id, from, to)?),
                collection if GRANTS.contains(&collection) => {
                    for side in &sides {
                        concerned.extend(side.principal(&key, id).await?);
                    }
                }
                _ => {}
            }
        }
        effects.accounts.extend(self.switched(from, to, scope)?);
        effects.accounts.retain(|account| scope.holds(&account.key));
        // What a group is given its members have.
        let groups: Vec<Key> = concerned.iter().filter(|key| key.collection() == "group").cloned().collect();
        for group in groups {
            for side in &sides {
                concerned.extend(side.members(&group)?);
            }
        }
        if scope.object.as_ref().is_some_and(|object| matches!(object.collection(), "user" | "device")) {
            concerned.retain(|key| scope.holds(key));
        }
        effects.concerned = concerned.len();
        for subject in concerned {
            let [before, after] = &mut sides;
            let (had, has) = (before.powers(&subject).await?, after.powers(&subject).await?);
            let gained = has.iter().filter(|(power, _)| !had.contains_key(*power)).map(|row| (Turned::Gained, row));
            let lost = had.iter().filter(|(power, _)| !has.contains_key(*power)).map(|row| (Turned::Lost, row));
            for (turned, (power, access)) in gained.chain(lost) {
                if !concerns(access, scope) {
                    continue;
                }
                if is_first_sight(access, from) {
                    effects.first_seen += 1;
                    continue;
                }
                let end = if turned == Turned::Lost { &before.evaluator } else { &after.evaluator };
                effects.access.push(Effect { turned, access: access.clone(), words: end.words(power).await? });
            }
        }
        // What weighs most comes first: roles, then what applications are allowed, then the rest.
        effects.access.sort_by_cached_key(|effect| (effect.turned, weight(&effect.access), effect.access.clone()));
        effects.accounts.sort();
        effects.accounts.dedup();
        Ok(effects)
    }

    /// The other ends of links that hold at one of the instants and not at the other.
    fn other_ends(&self, id: u32, relation: &str, from: &Instant, to: &Instant) -> Result<Vec<Key>, QueryError> {
        let (one, other) = (from.capture.seq, to.capture.seq);
        let mut turns: BTreeMap<u32, i32> = BTreeMap::new();
        for row in self.view().links_from_during(id, Some(relation), &(one.min(other)..=one.max(other)))? {
            *turns.entry(row.target).or_default() += i32::from(row.holds_at(other)) - i32::from(row.holds_at(one));
        }
        let turned = turns.into_iter().filter(|(_, turn)| *turn != 0);
        turned.map(|(target, _)| Ok(self.view().key(target)?)).collect()
    }

    fn account(&self, key: &Key, id: u32, from: &Instant, to: &Instant) -> Result<Option<AccountEffect>, QueryError> {
        if key.facet_name().is_some() {
            return Ok(None);
        }
        let is_there = |version: Option<Version>| version.is_some_and(|version| version.kind != VersionKind::Removed);
        let was = is_there(self.view().version_at(id, from.capture.seq)?);
        let is = is_there(self.view().version_at(id, to.capture.seq)?);
        let turned = match (was, is) {
            (false, true) => "created",
            (true, false) => "deleted",
            _ => return Ok(None),
        };
        Ok(Some(AccountEffect { key: key.clone(), turned }))
    }

    /// Accounts that were switched on or off and are there at both ends.
    fn switched(&self, from: &Instant, to: &Instant, scope: &Scope) -> Result<Vec<AccountEffect>, QueryError> {
        let (one, other) = (from.capture.seq, to.capture.seq);
        let during = one.min(other)..=one.max(other);
        let mut turns: BTreeMap<u32, i32> = BTreeMap::new();
        for row in self.view().with_value_during("accountEnabled", "false", &during)? {
            *turns.entry(row.source).or_default() += i32::from(row.holds_at(other)) - i32::from(row.holds_at(one));
        }
        let mut found = Vec::new();
        for (id, turn) in turns.into_iter().filter(|(_, turn)| *turn != 0) {
            let key = self.view().key(id)?;
            if scope.holds(&key) && self.account(&key, id, from, to)?.is_none() {
                found.push(AccountEffect { key, turned: if turn > 0 { "disabled" } else { "enabled" } });
            }
        }
        Ok(found)
    }
}

/// Whether members of a group have what it is given.
fn reaches_members(power: &Power) -> bool {
    matches!(power, Power::Role { .. } | Power::AppRole { .. })
}

/// One end of a difference, with what was evaluated there already.
struct Side<'a> {
    evaluator: Evaluator<'a>,
    instant: Instant,
    granted: BTreeMap<Key, Vec<Access>>,
}

impl<'a> Side<'a> {
    fn new(archive: &'a Archive, instant: &Instant) -> Result<Self, QueryError> {
        Ok(Side { evaluator: Evaluator::at(archive, instant)?, instant: *instant, granted: BTreeMap::new() })
    }

    /// To whom a grant is given here.
    async fn principal(&self, key: &Key, id: u32) -> Result<Option<Key>, QueryError> {
        let facts = &self.evaluator.facts;
        let Some(version) = facts.archive.view().version_at(id, self.instant.capture.seq)? else { return Ok(None) };
        let Some(content) = facts.content(key, &version).await? else { return Ok(None) };
        let client = content["clientId"].as_str().map(|id| Key::new("servicePrincipal", id));
        let Some(principal) = content["principalId"].as_str().filter(|id| !id.is_empty()) else { return Ok(client) };
        Ok(facts.object(principal, HOLDERS)?.map(|(_, key)| key).or(client))
    }

    fn members(&self, group: &Key) -> Result<Vec<Key>, QueryError> {
        let mut members = Vec::new();
        let Some(id) = self.evaluator.facts.archive.view().id(group)? else { return Ok(members) };
        self.evaluator.each_direct_member(id, group, |step| {
            members.push(step.from);
            ControlFlow::Continue(())
        })?;
        Ok(members)
    }

    /// What somebody can do here, by one path each.
    async fn powers(&mut self, subject: &Key) -> Result<BTreeMap<Power, Access>, QueryError> {
        let mut powers = BTreeMap::new();
        for access in self.granted(subject).await?.clone() {
            powers.insert(access.power.clone(), access);
        }
        for (_, group, step) in self.evaluator.groups_of(subject)? {
            for granted in self.granted(&group).await?.clone() {
                if reaches_members(&granted.power)
                    && !powers.contains_key(&granted.power)
                    && let Some(access) = self.evaluator.through(subject, &step, &granted)?
                {
                    powers.insert(access.power.clone(), access);
                }
            }
        }
        Ok(powers)
    }

    /// Whether a group gives its members anything here: roles or app roles, which reach direct members.
    async fn gives(&mut self, group: &Key) -> Result<bool, QueryError> {
        Ok(self.granted(group).await?.iter().any(|access| reaches_members(&access.power)))
    }

    /// What is given to somebody or a group itself.
    async fn granted(&mut self, holder: &Key) -> Result<&Vec<Access>, QueryError> {
        if !self.granted.contains_key(holder) {
            let found = self.evaluator.granted(holder).await?;
            self.granted.insert(holder.clone(), found);
        }
        Ok(&self.granted[holder])
    }
}
