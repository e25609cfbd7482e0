//! Memberships: direct, and through groups in groups.
//!
//! Must never know: what a group is given.
//!
//! A member of a group that is a member of another is a member of that too, however deep; groups may contain each other in a
//! circle ("List group transitive memberOf", learn.microsoft.com/graph/api/group-list-transitivememberof). A dynamic group's members
//! are what the service made of its rule, and are read as any others. Administrative units have direct members only: members of a
//! group in a unit aren't in it (learn.microsoft.com/entra/identity/role-based-access-control/administrative-units).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use super::facts::Linked;
use super::held::Held;
use super::{Access, Evaluator, MOST_PATHS, Power, Step, StepKind};
use crate::canonical::Key;
use crate::query::QueryError;

/// Groups within groups are followed so deep. Nobody nests deeper; a bound is a bound.
const DEEPEST: usize = 32;

/// Steps of a walk: where each leads, and when.
type Path = Vec<(u32, Held)>;

/// Which way a walk along memberships goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From members to what they are in.
    Up,
    /// From a group to what is in it.
    Down,
}

impl Evaluator<'_> {
    /// What a key is a member of: groups, through groups, and administrative units.
    pub(in crate::query) fn memberships(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let Some(id) = self.id(subject)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        self.walk(Way::Up, id, &mut |steps| {
            let of = steps.last().and_then(|step| step.to.clone()).expect("a walk has at least one step");
            found.extend(self.access(subject, Power::Member { of }, steps));
        })?;
        for unit in self.facts.links_to(id, "administrativeUnit", "members")? {
            let of = self.key(unit.other)?;
            let path = vec![self.member_step(subject.clone(), of.clone(), unit.held)];
            found.extend(self.access(subject, Power::Member { of }, path));
        }
        Ok(found)
    }

    /// Whoever is a member of a group, through groups too, or of an administrative unit.
    ///
    /// # Errors
    /// The archive's.
    pub fn members(&self, of: &Key) -> Result<Vec<Access>, QueryError> {
        let Some(id) = self.id(of)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        if of.collection() != "group" {
            for member in self.facts.links_from(id, of.collection(), "members")? {
                let subject = self.key(member.other)?;
                let path = vec![self.member_step(subject.clone(), of.clone(), member.held)];
                found.extend(self.access(&subject, Power::Member { of: of.clone() }, path));
            }
            return Ok(found);
        }
        self.walk(Way::Down, id, &mut |mut steps| {
            // A walk down finds the last step first.
            steps.reverse();
            let subject = steps.first().map(|step| step.from.clone()).expect("a walk has at least one step");
            found.extend(self.access(&subject, Power::Member { of: of.clone() }, steps));
        })?;
        Ok(found)
    }

    /// The groups that a key is a direct member of, with the step that leads there.
    pub(in crate::query) fn groups_of(&self, subject: &Key) -> Result<Vec<(u32, Key, Step)>, QueryError> {
        let Some(id) = self.id(subject)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for group in self.facts.links_to(id, "group", "members")? {
            let key = self.key(group.other)?;
            let step = self.member_step(subject.clone(), key.clone(), group.held);
            found.push((group.other, key, step));
        }
        Ok(found)
    }

    /// Hands out the direct members of a group, with the step that leads from each, until `each` breaks.
    pub(in crate::query) fn each_direct_member(
        &self,
        group: u32,
        key: &Key,
        mut each: impl FnMut(Step) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        for step in self.direct_members(group, key)? {
            if each(step).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The direct members of a group, with the step that leads from each.
    pub(super) fn direct_members(&self, group: u32, key: &Key) -> Result<Vec<Step>, QueryError> {
        let links = self.facts.links_from(group, "group", "members")?;
        links.into_iter().map(|link| Ok(self.member_step(self.key(link.other)?, key.clone(), link.held))).collect()
    }

    fn member_step(&self, from: Key, to: Key, held: Held) -> Step {
        Step { kind: StepKind::Member, from, to: Some(to), by: Vec::new(), held }
    }

    /// Hands out paths from a key along memberships of groups whose steps may have held together, shortest first. No path passes a
    /// group twice. Behind the first [`MOST_PATHS`] to an end those are left out that held at no time at which one before them
    /// didn't: nobody and no time is missed by that, wherever the path goes on.
    fn walk(&self, way: Way, start: u32, each: &mut dyn FnMut(Vec<Step>)) -> Result<(), QueryError> {
        let mut told: BTreeMap<u32, Vec<Held>> = BTreeMap::new();
        let mut known: BTreeMap<u32, Vec<Linked>> = BTreeMap::new();
        let mut paths: Vec<Path> = vec![Path::new()];
        for _ in 0..DEEPEST {
            let mut longer = Vec::new();
            for path in &paths {
                let end = path.last().map_or(start, |(id, _)| *id);
                let near = match known.entry(end) {
                    Entry::Occupied(near) => near.into_mut(),
                    Entry::Vacant(place) => place.insert(self.neighbours(way, end)?),
                };
                for next in &*near {
                    let passed = next.other == start || path.iter().any(|(id, _)| *id == next.other);
                    let held = path.iter().try_fold(next.held, |held, (_, step)| held.and(*step));
                    let Some(held) = held.filter(|held| !passed && self.facts.window.sureness(held).is_some()) else {
                        continue;
                    };
                    let others = told.entry(next.other).or_default();
                    if others.len() >= MOST_PATHS && others.iter().any(|other| other.covers(&held)) {
                        continue;
                    }
                    others.push(held);
                    let mut path = path.clone();
                    path.push((next.other, next.held));
                    longer.push(path);
                }
            }
            for path in &longer {
                each(self.steps(way, start, path)?);
            }
            paths = match way {
                Way::Up => longer,
                // Nobody is in a member that is no group, and of a large group nearly all are people.
                Way::Down => self.of_groups(longer)?,
            };
            if paths.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Those that end at a group.
    fn of_groups(&self, paths: Vec<Path>) -> Result<Vec<Path>, QueryError> {
        let mut kept = Vec::new();
        for path in paths {
            if let Some((end, _)) = path.last()
                && self.key(*end)?.collection() == "group"
            {
                kept.push(path);
            }
        }
        Ok(kept)
    }

    fn neighbours(&self, way: Way, id: u32) -> Result<Vec<Linked>, QueryError> {
        match way {
            Way::Up => self.facts.links_to(id, "group", "members"),
            Way::Down if self.key(id)?.collection() == "group" => self.facts.links_from(id, "group", "members"),
            Way::Down => Ok(Vec::new()),
        }
    }

    fn steps(&self, way: Way, start: u32, path: &[(u32, Held)]) -> Result<Vec<Step>, QueryError> {
        let mut steps = Vec::with_capacity(path.len());
        let mut last = self.key(start)?;
        for (id, held) in path {
            let next = self.key(*id)?;
            let (from, to) = match way {
                Way::Up => (last, next.clone()),
                Way::Down => (next.clone(), last),
            };
            steps.push(self.member_step(from, to, *held));
            last = next;
        }
        Ok(steps)
    }
}
