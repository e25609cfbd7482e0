//! What a difference comes to: who gained and who lost which access between two captures, and which accounts were switched on or
//! off.
//!
//! Must never know: how an answer is shown.
//!
//! A change of a grant or a membership concerns somebody; whoever is concerned is evaluated at both ends, so that what was only
//! given in another way is no change. Memberships themselves are in the difference; here is what they give: roles, app roles,
//! delegated grants, ownership, applications without assignment. Whom policies cover is [`super::policy_effect`]'s.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::access::{Access, Evaluator, Held, Power, Step, Words};
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
    /// What they gained or lost, in words as of the end at which they have it: the same for all who did.
    pub words: Arc<Words>,
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
        let (low, high) = (from.capture.seq.min(to.capture.seq), from.capture.seq.max(to.capture.seq));
        let during = low..=high;
        let mut sides = [Side::new(self, &bare(from), &during)?, Side::new(self, &bare(to), &during)?];
        let mut concerned = BTreeSet::new();
        let mut effects = Effects::default();
        // A grant concerns somebody else than its own object: what changed anywhere may concern those that are asked about.
        let touched = self.touched(from, to, &Scope::default()).await?;
        effects.policies = self.policy_effects([&sides[0].evaluator, &sides[1].evaluator], &touched).await?;
        concerned.extend(self.of_groups(&touched, &mut sides, (from, to), &during).await?);
        for key in touched {
            let Some(id) = self.view().id(&key)? else { continue };
            match key.collection() {
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
        let mut concerned = concerned.into_iter().peekable();
        while concerned.peek().is_some() {
            for subject in self.read_grants_ahead(&mut concerned, &during).await? {
                let [before, after] = &mut sides;
                let (had, has) = (before.powers(&subject).await?, after.powers(&subject).await?);
                after.tell(&has, &had, Turned::Gained, &subject, (scope, from), &mut effects).await?;
                before.tell(&had, &has, Turned::Lost, &subject, (scope, from), &mut effects).await?;
            }
        }
        // What weighs most comes first: roles, then what applications are allowed, then the rest.
        effects.access.sort_by(|a, b| {
            let rank = |effect: &Effect| (effect.turned, weight(&effect.access));
            rank(a).cmp(&rank(b)).then_with(|| a.access.cmp(&b.access))
        });
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

    /// Who became or ceased to be a member of a group that gives something, or an owner.
    async fn of_groups(
        &self,
        touched: &BTreeSet<Key>,
        sides: &mut [Side<'_>; 2],
        (from, to): (&Instant, &Instant),
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<Key>, QueryError> {
        let groups: Vec<Key> = touched.iter().filter(|key| key.collection() == "group").cloned().collect();
        let mut concerned = Vec::new();
        let mut groups = groups.into_iter().peekable();
        while groups.peek().is_some() {
            for key in self.read_grants_ahead(&mut groups, during).await? {
                let Some(id) = self.view().id(&key)? else { continue };
                // Of a group that gives nothing at either end nobody gains or loses anything by a membership.
                let [before, after] = &mut *sides;
                if before.gives(id, &key).await? || after.gives(id, &key).await? {
                    concerned.extend(self.other_ends(id, "members", from, to)?);
                }
                concerned.extend(self.other_ends(id, "owners", from, to)?);
            }
        }
        Ok(concerned)
    }

    /// The next ones, after what may give them something was read in the order in which it lies.
    async fn read_grants_ahead(
        &self,
        holders: &mut impl Iterator<Item = Key>,
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<Key>, QueryError> {
        let (mut next, mut versions) = (Vec::new(), Vec::new());
        while versions.len() < GRANTS_AHEAD
            && next.len() < GRANTS_AHEAD
            && let Some(who) = holders.next()
        {
            tokio::task::consume_budget().await;
            let is_application = who.collection() == "servicePrincipal";
            let id = who.decoded_id();
            for property in ["principalId", "clientId"].iter().take(1 + usize::from(is_application)) {
                for row in self.view().with_value_during(property, &id, during)? {
                    versions.extend(self.view().versions(row.source)?);
                }
            }
            if is_application && let Some(own) = self.view().id(&who)? {
                versions.extend(self.view().versions(own)?);
            }
            next.push(who);
        }
        self.have_at_hand(versions).await?;
        Ok(next)
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

/// Contents that are read together: a third of what a reader keeps.
const GRANTS_AHEAD: usize = 8192;

/// What a group gives its direct members, and when all of it held.
struct Given {
    access: Access,
    held: Held,
}

/// How somebody comes to a power.
enum Way {
    /// By what they are given themselves: its number.
    Own(usize),
    /// By a membership, and by what that group gives: their numbers.
    Through(usize, usize),
}

/// What somebody can do at one end, by one way each.
#[derive(Default)]
struct Powers {
    own: Vec<Access>,
    memberships: Vec<(Step, Arc<Vec<Given>>)>,
    /// Every power once, in order.
    ways: BTreeMap<Power, Way>,
}

/// One end of a difference, with what was evaluated there already.
struct Side<'a> {
    evaluator: Evaluator<'a>,
    instant: Instant,
    during: RangeInclusive<u64>,
    /// What groups give their members, by their numbers. Most give nothing.
    given: HashMap<u32, Arc<Vec<Given>>>,
    words: BTreeMap<Power, Arc<Words>>,
}

impl<'a> Side<'a> {
    fn new(archive: &'a Archive, instant: &Instant, during: &RangeInclusive<u64>) -> Result<Self, QueryError> {
        let (evaluator, during) = (Evaluator::at(archive, instant)?, during.clone());
        Ok(Side { evaluator, instant: *instant, during, given: HashMap::new(), words: BTreeMap::new() })
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

    /// What somebody can do here, by one way each: by what they are given themselves or else by the first group that gives it.
    async fn powers(&mut self, subject: &Key) -> Result<Powers, QueryError> {
        let own = self.evaluator.granted(subject).await?;
        let mut powers = Powers { own, ..Powers::default() };
        for (at, access) in powers.own.iter().enumerate() {
            powers.ways.insert(access.power.clone(), Way::Own(at));
        }
        for (id, group, step) in self.evaluator.groups_of(subject)? {
            let given = self.given(id, &group).await?;
            if given.is_empty() {
                continue;
            }
            let membership = powers.memberships.len();
            for (at, one) in given.iter().enumerate() {
                if let Entry::Vacant(place) = powers.ways.entry(one.access.power.clone())
                    && self.reaches(&step, one)
                {
                    place.insert(Way::Through(membership, at));
                }
            }
            powers.memberships.push((step, given));
        }
        Ok(powers)
    }

    /// Whether [`Evaluator::through`] comes to anything here, of which most is held at both ends and never told.
    fn reaches(&self, step: &Step, given: &Given) -> bool {
        let window = &self.evaluator.facts.window;
        let held = step.held.and(given.held);
        held.is_some_and(|held| window.sureness(&held).is_some())
            && window.admits(given.access.term.0, given.access.term.1)
    }

    /// Tells what somebody has at this end and hasn't at the other.
    async fn tell(
        &mut self,
        mine: &Powers,
        other: &Powers,
        turned: Turned,
        subject: &Key,
        (scope, from): (&Scope, &Instant),
        effects: &mut Effects,
    ) -> Result<(), QueryError> {
        for (power, way) in mine.ways.iter().filter(|(power, _)| !other.ways.contains_key(*power)) {
            let access = match way {
                Way::Own(at) => mine.own[*at].clone(),
                Way::Through(membership, at) => {
                    let (step, given) = &mine.memberships[*membership];
                    let through = self.evaluator.through(subject, step, &given[*at].access)?;
                    debug_assert!(through.is_some(), "what reaches a member comes to an access");
                    let Some(access) = through else { continue };
                    access
                }
            };
            if !concerns(&access, scope) {
                continue;
            }
            if is_first_sight(&access, from) {
                effects.first_seen += 1;
                continue;
            }
            effects.access.push(Effect { turned, access, words: self.words(power).await? });
        }
        Ok(())
    }

    async fn words(&mut self, power: &Power) -> Result<Arc<Words>, QueryError> {
        if let Some(words) = self.words.get(power) {
            return Ok(words.clone());
        }
        let words = Arc::new(self.evaluator.words(power).await?);
        self.words.insert(power.clone(), words.clone());
        Ok(words)
    }

    /// Whether a group gives its members anything here: roles or app roles, which reach direct members.
    async fn gives(&mut self, id: u32, group: &Key) -> Result<bool, QueryError> {
        Ok(!self.given(id, group).await?.is_empty())
    }

    /// What a group gives its members.
    async fn given(&mut self, id: u32, group: &Key) -> Result<Arc<Vec<Given>>, QueryError> {
        if let Some(given) = self.given.get(&id) {
            return Ok(given.clone());
        }
        let mut given = Vec::new();
        // Roles and app roles name whom they are given to: to most groups nothing is.
        let named =
            self.evaluator.facts.archive.view().with_value_during("principalId", &group.decoded_id(), &self.during)?;
        if !named.is_empty() {
            let granted = self.evaluator.granted(group).await?;
            for access in granted.into_iter().filter(|access| reaches_members(&access.power)) {
                let steps = access.path.iter().map(|step| Some(step.held));
                if let Some(held) = steps.reduce(|one, other| one?.and(other?)).flatten() {
                    given.push(Given { access, held });
                }
            }
        }
        let given = Arc::new(given);
        self.given.insert(id, given.clone());
        Ok(given)
    }
}
