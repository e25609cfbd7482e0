//! What the audit log and the granting objects add to access: who gave it, when exactly, and so on which side of a doubtful time
//! it lies.
//!
//! Must never know: how an answer is shown.

use jiff::Timestamp;

use super::{Access, Evaluator, Power, Step, StepKind, Sureness};
use crate::canonical::Key;
use crate::query::coverage::Certainty;
use crate::query::{Attributed, Attribution, QueryError, Turn};

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
            let mut side = Side::Within;
            for step in &access.path {
                if self.facts.window.sureness(&step.held) == Some(Sureness::Maybe) {
                    match self.side(&access, step).await? {
                        Side::Within => {}
                        other if side == Side::Within => side = other,
                        Side::Without => side = Side::Without,
                        Side::Unknown => {}
                    }
                }
            }
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
        let (begin, end) = window.asked.unwrap_or((window.begin.time, window.end.time));
        let own = |time: Option<Timestamp>| time.filter(|_| step.kind == StepKind::Granted);
        let mut known = true;
        if step.held.from > window.end.seq {
            match own(access.term.0).or(self.time_of(access, step, Turn::Began).await?) {
                Some(time) if time > end => return Ok(Side::Without),
                Some(_) => {}
                None => known = false,
            }
        }
        if step.held.until.is_some() && step.held.sure < window.begin_after {
            match own(access.term.1).or(self.time_of(access, step, Turn::Ended).await?) {
                Some(time) if time <= begin => return Ok(Side::Without),
                Some(_) => {}
                None => known = false,
            }
        }
        Ok(if known { Side::Within } else { Side::Unknown })
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
        for ids in concerned(access, step) {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let found = self.facts.archive.attribute(&ids, turn, missing, seen).await?;
            if matches!(found, Attributed::By(_)) {
                return Ok(Some(found));
            }
            told.get_or_insert(found);
        }
        Ok(told)
    }
}

/// The ids that a record of a step's beginning names: the one by which it is found first, then what it has to name too. Records
/// of roles are about who gets them, those of permissions about the application or the grant.
fn concerned(access: &Access, step: &Step) -> Vec<Vec<String>> {
    let id = |key: &Key| key.decoded_id();
    match (step.kind, &step.to, &access.power) {
        (StepKind::Member, Some(to), _) => vec![vec![id(&step.from), id(to)], vec![id(to), id(&step.from)]],
        (StepKind::Owner, Some(to), _) => vec![vec![id(to), id(&step.from)]],
        (_, _, Power::Role { role, .. }) => vec![vec![id(&step.from), role.clone()]],
        (_, _, Power::AppRole { resource, role }) => {
            vec![vec![id(resource), id(&step.from), role.clone()], vec![id(&step.from), id(resource)]]
        }
        (_, _, Power::Delegated { client, .. }) => {
            let grants = step.by.iter().map(|key| vec![id(key)]);
            grants.chain([vec![id(client)]]).collect()
        }
        _ => step.by.iter().map(|key| vec![id(key)]).collect(),
    }
}
