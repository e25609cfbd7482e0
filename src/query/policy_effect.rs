//! Which enforced policies of Conditional Access stopped or began to cover whom between two captures.
//!
//! Must never know: how an answer is shown, or to which sign-ins a policy applies.
//!
//! Coverage can differ where a policy changed, where the members of a group that it names did, in however deep a group within it,
//! where the holders of a role did, and where an account became or ceased to be a guest. Only those are looked at, and of them only
//! accounts that are there at both ends: one that came or went is told as that. Where it can't be told whether somebody is covered,
//! at either end, they are counted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::access::{Assignments, Evaluator, Power};
use super::conditional_access::{Identity, Person, Policy, Reason, State, Verdict};
use super::everybody::{Everybody, Known};
use super::{Archive, QueryError};
use crate::canonical::Key;

/// People who are named for each policy; all are counted.
pub const MOST_NAMED: usize = 200;

/// A policy stopped or began to cover somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyEffect {
    /// The policy.
    pub policy: Key,
    /// Whether it covers them now, and didn't; else the other way round.
    pub began: bool,
    /// Who.
    pub subject: Key,
    /// What they are to it now: `covered`, `excluded`, `not targeted`; or what became of it: `report-only`, `disabled`, `deleted`.
    pub after: String,
    /// The users, groups and roles by which they are included or excluded now.
    pub by: Vec<Key>,
}

/// How many a policy stopped or began to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCount {
    /// The policy.
    pub policy: Key,
    /// How many it covers now and didn't.
    pub began: usize,
    /// How many it covered and doesn't.
    pub stopped: usize,
    /// Of how many it can't be told whether it covered them or does, and that may differ.
    pub unclear: usize,
}

/// What became of whom policies cover.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyEffects {
    /// By policy, at most [`MOST_NAMED`] of each.
    pub named: Vec<PolicyEffect>,
    /// Policies of which somebody's coverage changed.
    pub counts: Vec<PolicyCount>,
}

/// One end.
struct End<'e, 'a> {
    evaluator: &'e Evaluator<'a>,
    policies: BTreeMap<Key, Policy>,
}

impl<'e, 'a> End<'e, 'a> {
    async fn new(evaluator: &'e Evaluator<'a>) -> Result<Self, QueryError> {
        // A difference is one between the states of two captures: what a policy said later isn't what it said then.
        let seq = evaluator.facts.window.end.seq;
        let said = evaluator.policies().await?.into_iter().filter(|said| {
            let held = said.held;
            held.from <= seq && held.until.is_none_or(|until| until > seq)
        });
        let policies = said.map(|said| (said.key, said.what)).collect();
        Ok(End { evaluator, policies })
    }

    fn enforced(&self, key: &Key) -> Option<&Policy> {
        self.policies.get(key).filter(|policy| policy.state == State::Enabled)
    }

    async fn assignments(&self, policy: Option<&Policy>) -> Result<Assignments, QueryError> {
        self.evaluator.assignments(policy.as_slice()).await
    }

    /// What somebody is to a policy; `None` where they aren't there.
    async fn verdict(
        &self,
        policy: Option<&Policy>,
        assignments: &Assignments,
        who: &Key,
    ) -> Result<Option<Judged>, QueryError> {
        let Some(id) = self.evaluator.facts.archive.view().id(who)? else { return Ok(None) };
        let Some(_) = self.evaluator.facts.content_at_end(id, who).await? else { return Ok(None) };
        let variants = self.evaluator.variants(id, who).await?;
        Ok(assignments.person(who, &variants).map(|person| judge(policy, &person)))
    }
}

/// What somebody is to a policy, and why.
type Judged = (Verdict, Arc<Vec<Reason>>);

fn judge(policy: Option<&Policy>, person: &Person) -> Judged {
    let Some(policy) = policy else { return (Verdict::NotTargeted, Arc::default()) };
    let coverage = policy.covers(person);
    let reasons = if coverage.verdict == Verdict::Excluded { coverage.excluded } else { coverage.included };
    (coverage.verdict, Arc::new(reasons))
}

/// Judges people by one policy at one end. Of whom it names neither themselves nor a group or role that they have, it can only tell
/// the kind of account: those are judged once for each kind.
struct Judge<'j, 'e, 'a> {
    end: &'j End<'e, 'a>,
    policy: Option<&'j Policy>,
    assignments: &'j Assignments,
    /// Members of its groups, and holders of its roles.
    held: HashSet<&'j Key>,
    /// Whom it names by id, in lower case.
    named: HashSet<String>,
    kinds: Vec<(Identity, Judged)>,
}

impl<'j, 'e, 'a> Judge<'j, 'e, 'a> {
    fn new(end: &'j End<'e, 'a>, policy: Option<&'j Policy>, assignments: &'j Assignments) -> Self {
        let holders = assignments.groups.values().chain(assignments.roles.values());
        let users = policy.into_iter().flat_map(|policy| policy.users.include.iter().chain(&policy.users.exclude));
        Judge {
            end,
            policy,
            assignments,
            held: holders.flat_map(BTreeMap::keys).collect(),
            named: users.map(|id| id.to_ascii_lowercase()).collect(),
            kinds: Vec::new(),
        }
    }

    async fn verdict(&mut self, who: &Key, known: Known<'_>) -> Result<Option<Judged>, QueryError> {
        let identity = match known {
            Known::Absent => return Ok(None),
            Known::As(identity) if !self.held.contains(who) && !self.is_named(who) => identity,
            _ => return self.end.verdict(self.policy, self.assignments, who).await,
        };
        if let Some((_, judged)) = self.kinds.iter().find(|(kind, _)| kind == identity) {
            return Ok(Some(judged.clone()));
        }
        let (groups, roles) = (BTreeMap::new(), BTreeMap::new());
        let person = Person { id: who.decoded_id(), identity: identity.clone(), groups, roles };
        let judged = judge(self.policy, &person);
        self.kinds.push((identity.clone(), judged.clone()));
        Ok(Some(judged))
    }

    fn is_named(&self, who: &Key) -> bool {
        !self.named.is_empty() && self.named.contains(&who.decoded_id().to_ascii_lowercase())
    }
}

/// What changed that coverage may turn on.
struct Touched {
    groups: BTreeSet<String>,
    roles: bool,
    users: Vec<Key>,
}

impl Archive {
    pub(super) async fn policy_effects(
        &self,
        sides: [&Evaluator<'_>; 2],
        touched: &BTreeSet<Key>,
    ) -> Result<PolicyEffects, QueryError> {
        let ends = [End::new(sides[0]).await?, End::new(sides[1]).await?];
        let what = what(&sides, touched)?;
        let keys: BTreeSet<&Key> = ends.iter().flat_map(|end| end.policies.keys()).collect();
        let mut effects = PolicyEffects::default();
        let mut everybody: Option<Everybody> = None;
        for key in keys {
            let policies = [ends[0].enforced(key), ends[1].enforced(key)];
            let Candidates { some, all, assignments } =
                candidates(&ends, policies, touched.contains(key), &what).await?;
            if some.is_empty() && !all {
                continue;
            }
            let assignments = match assignments {
                Some(assignments) => assignments,
                None => [ends[0].assignments(policies[0]).await?, ends[1].assignments(policies[1]).await?],
            };
            if all && everybody.is_none() {
                everybody = Some(Everybody::read(self, sides).await?);
            }
            let users = everybody.as_ref().filter(|_| all);
            let people =
                some.iter().map(|who| (who, [Known::Unclear; 2])).chain(users.into_iter().flat_map(Everybody::iter));
            // Who is looked at only because something else of the policy changed depends on the same as before.
            let is_renamed = match policies {
                [Some(before), Some(after)] => before != after && before.is_for_the_same(after),
                _ => false,
            };
            let mut judges = [0, 1].map(|at| Judge::new(&ends[at], policies[at], &assignments[at]));
            let mut count = PolicyCount { policy: key.clone(), began: 0, stopped: 0, unclear: 0 };
            for (who, known) in people {
                tokio::task::consume_budget().await;
                let before = judges[0].verdict(who, known[0]).await?;
                let after = judges[1].verdict(who, known[1]).await?;
                let (Some((before, _)), Some((after, reasons))) = (before, after) else { continue };
                if before == Verdict::Depends || after == Verdict::Depends {
                    count.unclear += usize::from(before != after || !is_renamed);
                    continue;
                }
                let (was, is) = (before == Verdict::Covered, after == Verdict::Covered);
                if was == is {
                    continue;
                }
                let told = match policies[1] {
                    Some(_) => after.as_str(),
                    None => ends[1].policies.get(key).map_or("deleted", |policy| policy.state.as_str()),
                };
                if count.began + count.stopped < MOST_NAMED {
                    let by = reasons.iter().filter_map(Reason::key).collect();
                    let (subject, after) = (who.clone(), told.to_owned());
                    effects.named.push(PolicyEffect { policy: key.clone(), began: is, subject, after, by });
                }
                *if is { &mut count.began } else { &mut count.stopped } += 1;
            }
            if count.began + count.stopped + count.unclear > 0 {
                effects.counts.push(count);
            }
        }
        effects.named.sort();
        Ok(effects)
    }
}

fn what(sides: &[&Evaluator<'_>; 2], touched: &BTreeSet<Key>) -> Result<Touched, QueryError> {
    let (mut groups, mut users, mut roles) = (BTreeSet::new(), Vec::new(), false);
    for key in touched {
        match key.collection() {
            "group" => {
                groups.insert(key.decoded_id().to_lowercase());
                for side in sides {
                    for access in side.memberships(key)? {
                        let Power::Member { of } = &access.power else { continue };
                        groups.insert(of.decoded_id().to_lowercase());
                    }
                }
            }
            "user" => users.push(key.clone()),
            collection => roles |= collection.starts_with("unifiedRole"),
        }
    }
    roles |= !groups.is_empty();
    Ok(Touched { groups, roles, users })
}

/// Whose coverage by a policy may differ.
#[derive(Default)]
struct Candidates {
    some: BTreeSet<Key>,
    /// Whether every user is one.
    all: bool,
    /// Who is in the groups of the policy and holds its roles at both ends, where that was looked up.
    assignments: Option<[Assignments; 2]>,
}

async fn candidates(
    ends: &[End<'_, '_>; 2],
    policies: [Option<&Policy>; 2],
    is_touched: bool,
    what: &Touched,
) -> Result<Candidates, QueryError> {
    let mut found = Candidates::default();
    let some: Vec<&Policy> = policies.iter().flatten().copied().collect();
    let Some(policy) = some.last() else { return Ok(found) };
    if is_touched && policies[0] != policies[1] {
        found.all = true;
        if some.iter().any(|policy| policy.is_about_workloads()) {
            let principals = ends[1].evaluator.facts.objects("servicePrincipal")?;
            found.some.extend(principals.into_iter().map(|(_, key)| key));
        }
        return Ok(found);
    }
    let named = |ids: &[&Vec<String>]| -> Vec<String> {
        ids.iter().flat_map(|ids| ids.iter()).map(|id| id.to_lowercase()).collect()
    };
    let groups = named(&[&policy.groups.include, &policy.groups.exclude]);
    let concerned: Vec<&String> = groups.iter().filter(|id| what.groups.contains(*id)).collect();
    let roles = named(&[&policy.roles.include, &policy.roles.exclude]);
    if !concerned.is_empty() || what.roles && !roles.is_empty() {
        let assignments = [ends[0].assignments(policies[0]).await?, ends[1].assignments(policies[1]).await?];
        for id in concerned.into_iter().chain(&roles) {
            let [before, after] = [&assignments[0], &assignments[1]].map(|own| own.all_of(id).collect::<BTreeSet<_>>());
            found.some.extend(before.symmetric_difference(&after).map(|key| (*key).clone()));
        }
        found.assignments = Some(assignments);
    }
    if policy.guests.is_some() || policy.excluded_guests.is_some() || policy.names_guests() {
        found.some.extend(what.users.iter().cloned());
    }
    Ok(found)
}
