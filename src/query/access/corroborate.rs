//! What the audit log and the granting objects add to access: who gave it, when exactly, and so on which side of a doubtful time
//! it lies.
//!
//! Must never know: how an answer is shown.

use jiff::Timestamp;

use super::{Access, Evaluator, Form, Power, Step, StepKind, Sureness};
use crate::canonical::Key;
use crate::query::coverage::Certainty;
use crate::query::{Attributed, Attribution, Matter, QueryError, Turn};

/// On which side of the window a change lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It held within.
    Within,
    /// It didn't.
    Without,
    /// Nobody knows.
    Unknown,
}

impl Evaluator<'_> {
    /// Looks up in the audit log what nobody saw: of access that began or ended in a gap in which the window lies, that which the
    /// log shows to have held stays and is corroborated, and that which it shows not to have held goes.
    ///
    /// # Errors
    /// The archive's.
    pub async fn corroborate(&self, rows: Vec<Access>) -> Result<Vec<Access>, QueryError> {
        let mut kept = Vec::with_capacity(rows.len());
        for mut access in rows {
            if access.certainty != Certainty::ChangedInGap {
                kept.push(access);
                continue;
            }
            let mut side = None;
            for step in &access.path {
                if self.facts.window.sureness(&step.held) == Some(Sureness::Maybe) {
                    side = Some(match (side, self.side(&access, step).await?) {
                        (Some(Side::Without), _) | (_, Side::Without) => Side::Without,
                        (Some(Side::Unknown), _) | (_, Side::Unknown) => Side::Unknown,
                        _ => Side::Within,
                    });
                }
            }
            // Each step held for sure, and nobody saw them hold together.
            let side = match side {
                Some(side) => side,
                None => self.overlap(&access).await?,
            };
            match side {
                Side::Without => continue,
                Side::Within => access.certainty = Certainty::Corroborated,
                Side::Unknown => {}
            }
            kept.push(access);
        }
        Ok(kept)
    }

    /// Whether a step that began or ended in a gap did so on this side of the window.
    async fn side(&self, access: &Access, step: &Step) -> Result<Side, QueryError> {
        let window = &self.facts.window;
        let (begin, end) = self.asked();
        let mut known = true;
        if step.held.from > window.end.seq {
            match self.turned(access, step, Turn::Began).await? {
                Some(time) if time > end => return Ok(Side::Without),
                Some(_) => {}
                None => known = false,
            }
        }
        if step.held.until.is_some() && step.held.sure < window.begin_after {
            match self.turned(access, step, Turn::Ended).await? {
                Some(time) if time <= begin => return Ok(Side::Without),
                Some(_) => {}
                None => known = false,
            }
        }
        Ok(if known { Side::Within } else { Side::Unknown })
    }

    /// Whether the steps of a path held together within the window, by when the last of them began and the first of them ended.
    async fn overlap(&self, access: &Access) -> Result<Side, QueryError> {
        let last = access.path.iter().max_by_key(|step| step.held.from);
        let first = access.path.iter().filter(|step| step.held.until.is_some()).min_by_key(|step| step.held.until);
        let (Some(last), Some(first)) = (last, first) else { return Ok(Side::Unknown) };
        let began = self.turned(access, last, Turn::Began).await?;
        let ended = self.turned(access, first, Turn::Ended).await?;
        let (begin, end) = self.asked();
        Ok(match (began, ended) {
            (Some(began), Some(ended)) if began < ended && began <= end && ended > begin => Side::Within,
            (Some(_), Some(_)) => Side::Without,
            _ => Side::Unknown,
        })
    }

    /// The times that are asked about.
    fn asked(&self) -> (Timestamp, Timestamp) {
        let window = &self.facts.window;
        window.asked.unwrap_or((window.begin.time, window.end.time))
    }

    /// When a step began or ended: by the log, else by the word of the object that grants it, where that lies between the captures
    /// that saw it otherwise. What was planned may have been ended before; the log knows.
    async fn turned(&self, access: &Access, step: &Step, turn: Turn) -> Result<Option<Timestamp>, QueryError> {
        if let Some(time) = self.time_of(access, step, turn).await? {
            return Ok(Some(time));
        }
        let view = self.facts.archive.view();
        let time = |seq: u64| Ok::<_, QueryError>(view.capture(seq)?.map(|row| row.time));
        let (term, after, until) = match turn {
            Turn::Ended => (access.term.1, time(step.held.sure)?, step.held.until.map(time).transpose()?.flatten()),
            _ => (access.term.0, time(step.held.missing)?, time(step.held.from)?),
        };
        let is_between =
            |term: &Timestamp| after.is_none_or(|after| *term > after) && until.is_none_or(|until| *term <= until);
        Ok(term.filter(|_| step.kind == StepKind::Granted).filter(is_between))
    }

    async fn time_of(&self, access: &Access, step: &Step, turn: Turn) -> Result<Option<Timestamp>, QueryError> {
        Ok(match self.attribute(access, step, turn).await? {
            Some(Attributed::By(Attribution { time, .. })) => Some(time),
            _ => None,
        })
    }

    /// What the log says of how a step of a path began or ended; `None` where nobody saw it change.
    ///
    /// # Errors
    /// The archive's.
    pub async fn attribute(&self, access: &Access, step: &Step, turn: Turn) -> Result<Option<Attributed>, QueryError> {
        let held = &step.held;
        let (missing, seen) = match turn {
            Turn::Ended => match held.until {
                Some(until) => (held.sure, until),
                None => return Ok(None),
            },
            _ if held.is_open => return Ok(None),
            _ => (held.missing, held.from),
        };
        self.facts.rest_on("directoryAudit", None);
        let mut told = None;
        for (matter, ids) in concerned(access, step) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let found = self.facts.archive.attribute(&ids, matter, turn, missing, seen).await?;
            if matches!(found, Attributed::By(_)) {
                return Ok(Some(found));
            }
            told.get_or_insert(found);
        }
        // Who is deleted is taken out of everything by that, and so is everybody in what is deleted.
        if turn == Turn::Ended {
            for key in [Some(&step.from), step.to.as_ref()].into_iter().flatten() {
                let id = key.decoded_id();
                let found = self.facts.archive.attribute(&[&id], Matter::Existence, turn, missing, seen).await?;
                if matches!(found, Attributed::By(_)) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(told)
    }
}

/// The ids that a record of a step's beginning names: the one by which it is found first, then what it has to name too. Records
/// of roles are about who gets them, those of permissions about the application or the grant.
fn concerned(access: &Access, step: &Step) -> Vec<(Matter, Vec<String>)> {
    let id = |key: &Key| key.decoded_id();
    match (step.kind, &step.to, &access.power) {
        (StepKind::Member, Some(to), _) => {
            let (one, other) = (id(&step.from), id(to));
            vec![(Matter::Membership, vec![one.clone(), other.clone()]), (Matter::Membership, vec![other, one])]
        }
        (StepKind::Owner, Some(to), _) => {
            let (one, other) = (id(&step.from), id(to));
            vec![(Matter::Ownership, vec![other.clone(), one.clone()]), (Matter::Ownership, vec![one, other])]
        }
        (_, _, Power::Role { role, form, .. }) => {
            let matter = match form {
                Form::Assigned => Matter::Role,
                Form::Activated => Matter::Activation,
                Form::Eligible => Matter::Eligibility,
            };
            vec![(matter, vec![id(&step.from), role.clone()])]
        }
        (_, _, Power::AppRole { resource, role }) => vec![
            // Fewer records are about who gets it than about the application.
            (Matter::AppRole, vec![id(&step.from), id(resource), role.clone()]),
            (Matter::AppRole, vec![id(resource), id(&step.from), role.clone()]),
        ],
        (_, _, Power::Delegated { client, resource, principal, .. }) => {
            let grants = step.by.iter().map(|key| (Matter::Grant, vec![id(key)]));
            // Another's consent to the same client in the same hour isn't this one's.
            let consent = [id(client)].into_iter().chain(principal.clone()).collect();
            grants.chain([(Matter::Grant, consent), (Matter::Grant, vec![id(resource), id(client)])]).collect()
        }
        _ => step.by.iter().map(|key| (Matter::Object, vec![id(key)])).collect(),
    }
}
