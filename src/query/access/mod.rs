//! Effective access: who could reach what, by which path, since when, and how sure that is; at an instant or at any moment of
//! a period, from either end.
//!
//! Must never know: how an answer is shown, or who asks.
//!
//! What grants access, with the page of Microsoft's documentation that says so, stands at the head of each file:
//! [`groups`] memberships, [`roles`] directory roles and PIM, [`applications`] app roles, default access and delegated grants,
//! [`control`] owners. [`person`] tells who somebody is to policies of Conditional Access.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::coverage::Certainty;
use super::{Archive, Instant, QueryError};
use crate::canonical::Key;

mod applications;
mod control;
mod corroborate;
mod facts;
mod groups;
mod held;
mod person;
mod roles;
mod words;

pub use facts::{Facts, Linked, Said, Subject};
pub use held::{Held, Sureness, Window};
pub use person::{Assignments, Variants};
pub use roles::{EVERYWHERE, Form};
pub use words::Words;

/// What somebody can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// They hold a directory role, or may activate it.
    Role {
        /// The id of the role definition.
        role: String,
        /// `/`, or what it is confined to, as Graph spells it.
        scope: String,
        /// How.
        form: Form,
    },
    /// They are assigned to an app role of an application; for a service principal that is an application permission.
    AppRole {
        /// The service principal of the application.
        resource: Key,
        /// The id of the app role; all zeros for the default access.
        role: String,
    },
    /// They may use an application that asks for no assignment.
    DefaultAccess {
        /// The service principal of the application.
        resource: Key,
    },
    /// A client may act on their behalf. For the client itself: it may act on behalf of whom the grant names.
    Delegated {
        /// The service principal of the client.
        client: Key,
        /// The service principal of the interface.
        resource: Key,
        /// The scopes, sorted.
        scopes: Vec<String>,
        /// Whom it may act for; `None` for everybody.
        principal: Option<String>,
    },
    /// They are a member of a group or administrative unit.
    Member {
        /// The group.
        of: Key,
    },
    /// They own something: they could give themselves what it has.
    Owner {
        /// What they own.
        of: Key,
    },
}

/// What a step of a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepKind {
    /// The one is a member of the other.
    Member,
    /// The one owns the other.
    Owner,
    /// The one was given the other by an object that says so.
    Granted,
    /// The other asks for no assignment.
    Open,
}

impl StepKind {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            StepKind::Member => "member",
            StepKind::Owner => "owner",
            StepKind::Granted => "granted",
            StepKind::Open => "open",
        }
    }
}

/// One step of a path: somebody or something leads to the next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// What it is.
    pub kind: StepKind,
    /// Where it begins.
    pub from: Key,
    /// Where it leads; `None` for the last, which leads to the power itself.
    pub to: Option<Key>,
    /// The objects that show it, the first one first; a link shows itself.
    pub by: Vec<Key>,
    /// When it held.
    pub held: Held,
}

/// Somebody who can do something, by one path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Who.
    pub subject: Key,
    /// What.
    pub power: Power,
    /// How, step by step.
    pub path: Vec<Step>,
    /// When all steps held.
    pub held: Held,
    /// How sure it is that they did within the window.
    pub certainty: Certainty,
    /// From when until when it holds by the word of the objects that grant it, where they have one.
    pub term: (Option<Timestamp>, Option<Timestamp>),
}

/// Paths from one subject to one power that are told; where there are more, that is said.
pub const MOST_PATHS: usize = 16;

/// What access is evaluated with.
pub struct Evaluator<'a> {
    /// The facts.
    pub facts: Facts<'a>,
}

impl<'a> Evaluator<'a> {
    /// Access as of an instant.
    ///
    /// # Errors
    /// The archive's, here and below.
    pub fn at(archive: &'a Archive, instant: &Instant) -> Result<Self, QueryError> {
        Ok(Evaluator { facts: Facts::at(archive, instant)? })
    }

    /// Access at any moment between two instants.
    ///
    /// # Errors
    /// The archive's.
    pub fn during(archive: &'a Archive, begin: &Instant, end: &Instant) -> Result<Self, QueryError> {
        Ok(Evaluator { facts: Facts::during(archive, begin, end)? })
    }

    /// Everything that `subject` could reach.
    ///
    /// # Errors
    /// The archive's.
    pub async fn reach(&self, subject: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = self.memberships(subject)?;
        found.extend(self.roles_of(subject).await?);
        found.extend(self.app_roles_of(subject).await?);
        found.extend(self.delegated_of(subject).await?);
        found.extend(self.owned_by(subject)?);
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Whoever could reach `target`: a group, an application or its service principal, an administrative unit. Roles are asked
    /// for by [`Evaluator::holders`].
    ///
    /// # Errors
    /// The archive's.
    pub async fn reachers(&self, target: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = match target.collection() {
            "group" | "administrativeUnit" => self.members(target)?,
            _ => Vec::new(),
        };
        // An application is used by its service principal, and who has the one has the other.
        for target in self.one_application(target).await? {
            if target.collection() == "servicePrincipal" {
                found.extend(self.users_of(&target).await?);
            }
            found.extend(self.scoped_to(&target).await?);
            found.extend(self.owners(&target)?);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Whoever holds a role that is confined to `target`.
    ///
    /// # Errors
    /// The archive's.
    pub async fn confined_to(&self, target: &Key) -> Result<Vec<Access>, QueryError> {
        self.scoped_to(target).await
    }

    /// What is given to somebody itself, by no group: roles, app roles, delegated grants, what they own, and of a service
    /// principal that it is open to everybody.
    pub(super) async fn granted(&self, holder: &Key) -> Result<Vec<Access>, QueryError> {
        let mut found = self.own_roles(holder).await?;
        found.extend(self.own_app_roles(holder).await?);
        found.extend(self.own_delegated(holder).await?);
        found.extend(self.owned_by(holder)?);
        if holder.collection() == "servicePrincipal" {
            found.extend(self.open_to_all(holder).await?);
        }
        Ok(found)
    }

    /// What a group is given, as a member has it by `step`; `None` where both didn't hold together.
    pub(super) fn through(&self, subject: &Key, step: &Step, granted: &Access) -> Result<Option<Access>, QueryError> {
        let path = std::iter::once(step.clone()).chain(granted.path.iter().cloned()).collect();
        self.access_for(subject, granted.power.clone(), path, granted.term)
    }

    /// The captures within a term: what holds by its own word from one time until another. `None` where no capture can show any of
    /// it, since it begins after the last that is known.
    fn within(&self, term: (Option<Timestamp>, Option<Timestamp>)) -> Result<Option<Held>, QueryError> {
        let (view, horizon) = (self.facts.archive.view(), self.facts.window.horizon);
        // The first capture at or after a time, and the one before it.
        let turn = |time: Timestamp| -> Result<(u64, Option<u64>), QueryError> {
            Ok(match view.capture_at(time, Some(horizon))? {
                Some(row) if row.time == time => {
                    (view.capture_before(row.seq)?.map_or(0, |row| row.seq), Some(row.seq))
                }
                Some(row) => {
                    let next = view.capture_after(row.seq)?.filter(|next| next.seq <= horizon);
                    (row.seq, next.map(|next| next.seq))
                }
                None => (0, view.capture_after(0)?.map(|row| row.seq)),
            })
        };
        let mut held = Held { missing: 0, from: 0, sure: horizon, until: None, is_open: true };
        if let Some(start) = term.0 {
            // What a capture reads it reads some minutes after the time for which it stands.
            let start = start.checked_sub(READING).unwrap_or(start);
            let (before, after) = turn(start)?;
            let Some(after) = after else { return Ok(None) };
            held = Held { missing: before, from: after, is_open: before == 0, ..held };
        }
        if let Some(end) = term.1 {
            let (before, after) = turn(end)?;
            held = Held { sure: after.map_or(horizon, |_| before), until: after, ..held };
        }
        Ok(Some(held))
    }

    /// An access by these steps; `None` where they didn't hold together within the window.
    fn access(&self, subject: &Key, power: Power, path: Vec<Step>) -> Option<Access> {
        let held = together(&path)?;
        let certainty = self.certainty(&held, &path)?;
        Some(Access { subject: subject.clone(), power, path, held, certainty, term: (None, None) })
    }

    /// An access by these steps, the last of which holds for a term; `None` where they didn't hold together within the window.
    fn access_for(
        &self,
        subject: &Key,
        power: Power,
        path: Vec<Step>,
        term: (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Option<Access>, QueryError> {
        let window = &self.facts.window;
        let Some(access) = self.access(subject, power, path).filter(|_| window.admits(term.0, term.1)) else {
            return Ok(None);
        };
        if term == (None, None) {
            return Ok(Some(access));
        }
        // What was set ahead, and outlives its term, holds only within it.
        let held = self.within(term)?.and_then(|within| access.held.and(within));
        let held = match held {
            Some(held) => held,
            None if window.is_instant() => access.held,
            None => return Ok(None),
        };
        let certainty = match access.certainty {
            Certainty::Observed if !self.is_surely_within(&access.path, term)? => Certainty::ChangedInGap,
            certainty => certainty,
        };
        Ok(Some(Access { held, certainty, term, ..access }))
    }

    /// Whether all steps surely held together at some time of the term that lies within the window.
    fn is_surely_within(
        &self,
        path: &[Step],
        term: (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<bool, QueryError> {
        let window = &self.facts.window;
        let Some(all) = together(path).filter(|_| !window.is_instant()) else { return Ok(true) };
        let (begin, end) = window.asked.unwrap_or((window.begin.time, window.end.time));
        let time = |seq: u64| Ok::<_, QueryError>(self.facts.archive.view().capture(seq)?.map(|row| row.time));
        let starts = [Some(begin), time(all.from)?, term.0].into_iter().flatten().max();
        let ends = [Some(end), time(all.sure)?].into_iter().flatten().min();
        // At its end a term is over.
        Ok(starts <= ends && term.1.is_none_or(|over| starts < Some(over)))
    }

    /// An access within a shorter stretch; `None` where it surely didn't hold within the window.
    pub fn narrowed(&self, access: &Access, held: Held) -> Option<Access> {
        let certainty = self.certainty(&held, &access.path)?;
        Some(Access { held, certainty, ..access.clone() })
    }

    /// Two accesses of one subject taken together, by the steps of both; `None` where they weren't held at once.
    pub fn both(&self, first: &Access, second: &Access) -> Option<Access> {
        let held = first.held.and(second.held)?;
        let path: Vec<Step> = first.path.iter().chain(&second.path).cloned().collect();
        let later = first.term.0.into_iter().chain(second.term.0).max();
        let sooner = first.term.1.into_iter().chain(second.term.1).min();
        let meets = later.zip(sooner).is_none_or(|(later, sooner)| later < sooner);
        let certainty = self.certainty(&held, &path).filter(|_| meets && self.facts.window.admits(later, sooner))?;
        Some(Access { path, held, certainty, term: (later, sooner), ..first.clone() })
    }

    /// How sure it is that a path held within the window; `None` where it surely didn't.
    fn certainty(&self, held: &Held, path: &[Step]) -> Option<Certainty> {
        let window = &self.facts.window;
        let sureness = window.sureness(held)?;
        // Nobody knows what was there where the state itself is lost, or so long after the last capture.
        let blind = window.is_instant() && (window.begin.unknown || self.is_late());
        let unread = || path.iter().any(|step| window.sureness(&step.held) == Some(Sureness::Unread));
        Some(match sureness {
            _ if blind => Certainty::Unknown,
            Sureness::Sure => Certainty::Observed,
            Sureness::Unread => Certainty::Unknown,
            Sureness::Maybe if unread() => Certainty::Unknown,
            Sureness::Maybe => Certainty::ChangedInGap,
        })
    }

    fn is_late(&self) -> bool {
        let window = &self.facts.window;
        let distance = window.asked.map(|(_, until)| until.duration_since(window.end.time));
        window.end_after == window.end.seq && distance.is_some_and(|distance| distance > super::EXPECTED_DISTANCE)
    }

    /// The number of a key that the archive knows.
    fn id(&self, key: &Key) -> Result<Option<u32>, QueryError> {
        Ok(self.facts.archive.view().id(key)?)
    }

    fn key(&self, id: u32) -> Result<Key, QueryError> {
        Ok(self.facts.archive.view().key(id)?)
    }
}

/// When all steps held; `None` for none, and where they can't have held together.
fn together(steps: &[Step]) -> Option<Held> {
    let mut steps = steps.iter().map(|step| step.held);
    let first = steps.next()?;
    steps.try_fold(first, Held::and)
}

/// How long after the time for which a capture stands it may read what it shows.
const READING: SignedDuration = SignedDuration::from_mins(10);

/// Who holds something, told apart from how: the subjects of rows, each once.
pub fn subjects(rows: &[Access]) -> BTreeSet<&Key> {
    rows.iter().map(|row| &row.subject).collect()
}
