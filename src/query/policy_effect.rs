//! Which enforced policies of Conditional Access stopped or began to cover whom between two captures.
//!
//! Must never know: how an answer is shown, or to which sign-ins a policy applies.
//!
//! Coverage can differ where a policy changed, where the members of a group that it names did, in however deep a group within it,
//! where the holders of a role did, and where an account became or ceased to be a guest. Only those are looked at, and of them only
//! accounts that are there at both ends: one that came or went is told as that. Where it can't be told whether somebody is covered,
//! at either end, they are counted.

use std::collections::{BTreeMap, BTreeSet};

use super::access::{Assignments, Evaluator, Power};
use super::conditional_access::{Policy, Reason, State, Verdict};
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
    ) -> Result<Option<(Verdict, Vec<Reason>)>, QueryError> {
        let Some(id) = self.evaluator.facts.archive.view().id(who)? else { return Ok(None) };
        let Some(_) = self.evaluator.facts.content_at_end(id, who).await? else { return Ok(None) };
        let variants = self.evaluator.variants(id, who).await?;
        let Some(person) = assignments.person(who, &variants) else { return Ok(None) };
        let Some(policy) = policy else { return Ok(Some((Verdict::NotTargeted, Vec::new()))) };
        let coverage = policy.covers(&person);
        let reasons = if coverage.verdict == Verdict::Excluded { coverage.excluded } else { coverage.included };
        Ok(Some((coverage.verdict, reasons)))
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
        for key in keys {
            let policies = [ends[0].enforced(key), ends[1].enforced(key)];
            let candidates = candidates(&ends, policies, touched.contains(key), &what).await?;
            if candidates.is_empty() {
                continue;
            }
            let assignments = [ends[0].assignments(policies[0]).await?, ends[1].assignments(policies[1]).await?];
            // Who is looked at only because something else of the policy changed depends on the same as before.
            let is_renamed = match policies {
                [Some(before), Some(after)] => before != after && before.is_for_the_same(after),
                _ => false,
            };
            let mut count = PolicyCount { policy: key.clone(), began: 0, stopped: 0, unclear: 0 };
            for who in candidates {
                let before = ends[0].verdict(policies[0], &assignments[0], &who).await?;
                let after = ends[1].verdict(policies[1], &assignments[1], &who).await?;
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
                    let after = told.to_owned();
                    effects.named.push(PolicyEffect { policy: key.clone(), began: is, subject: who, after, by });
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
async fn candidates(
    ends: &[End<'_, '_>; 2],
    policies: [Option<&Policy>; 2],
    is_touched: bool,
    what: &Touched,
) -> Result<BTreeSet<Key>, QueryError> {
    let mut found = BTreeSet::new();
    let some: Vec<&Policy> = policies.iter().flatten().copied().collect();
    let Some(policy) = some.last() else { return Ok(found) };
    if is_touched && policies[0] != policies[1] {
        let workloads = some.iter().any(|policy| policy.is_about_workloads());
        for collection in ["user", "servicePrincipal"].iter().take(1 + usize::from(workloads)) {
            found.extend(ends[1].evaluator.facts.objects(collection)?.into_iter().map(|(_, key)| key));
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
            found.extend(before.symmetric_difference(&after).map(|key| (*key).clone()));
        }
    }
    if policy.guests.is_some() || policy.excluded_guests.is_some() || policy.names_guests() {
        found.extend(what.users.iter().cloned());
    }
    Ok(found)
}
