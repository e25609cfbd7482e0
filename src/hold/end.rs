//! Carries a plan out, segment by segment, in the order that makes a crash at any point harmless.
//!
//! Must never know: how a store removes, or who confirmed the plan.
//!
//! What holds after each step:
//!
//! 1. `expire` committed: anybody sees what is going to go, and by which names. Nothing has gone.
//! 2. The log read again, and the storage's holds: a hold that followed stops here, and the segment is whole.
//! 3. Files gone, the youngest first. Missing ones are a warning to whoever verifies. A run after a crash goes on here.
//! 4. The container gone, if it was the last segment's in it.
//! 5. `expired` committed, only once nothing is left: the content counts as expired for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::plan::Findings;
use super::{Fate, Plan, Retention, Row, Scope};
use crate::archive::appender::{AppendError, Appender};
use crate::archive::pack::Place;
use crate::archive::register::{End, Register};
use crate::archive::walker::WalkError;
use crate::clock::Clock;
use crate::store::{Expiry, Removal, Store, StoreError};

/// Files removed between two looks at the log.
const LOOK_EVERY: usize = 32;
/// Tries of an entry that other writers were quicker than.
const TRIES: usize = 5;

/// What keeps expiry from being planned or carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExpireError {
    /// The log can't be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// An entry can't be added. What went so far went; the next run goes on.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The store failed. What went so far went; the next run goes on.
    #[error("the archive's store failed while segments were looked at or ended")]
    Store(#[from] StoreError),
    /// An entry is lost, and with it perhaps a hold.
    #[error(
        "entry {seq} is missing or changed: nothing expires as long as nobody knows whether it was a hold, or which \
         segment it opened"
    )]
    Lost {
        /// The first of them.
        seq: u64,
    },
}

/// Why a segment didn't end although the plan said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// A hold followed: these entries.
    Held(Vec<u64>),
    /// The storage holds its container.
    HeldByStorage,
    /// The storage kept a file, for this reason.
    Kept(Removal),
    /// So many files that weren't there when the plan was made.
    New(u64),
    /// Another run was quicker.
    Overtaken,
}

/// What became of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its number.
    pub segment: u64,
    /// Its container.
    pub container: String,
    /// How many files, and the container, answered what: as in the `expired` entry.
    pub answers: BTreeMap<String, u64>,
    /// Why it didn't end.
    pub stop: Option<Stop>,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By segment, in order.
    pub segments: Vec<Ended>,
}

impl Outcome {
    /// Whether everything that was planned has ended.
    pub fn is_whole(&self) -> bool {
        self.segments.iter().all(|segment| segment.stop.is_none())
    }
}

/// An archive, or a copy of one, with what can end files of it.
#[derive(Debug)]
pub struct Expirer {
    store: Arc<dyn Store>,
    expiry: Arc<dyn Expiry>,
    clock: Arc<dyn Clock>,
    scope: Scope,
    register: Register,
}

impl Expirer {
    /// Reads the log. `progress` hears of entries done and of the greatest there is.
    ///
    /// # Errors
    /// [`ExpireError::Lost`] where the log isn't whole: a hold may have been in what is lost.
    pub async fn open(
        store: Arc<dyn Store>,
        expiry: Arc<dyn Expiry>,
        clock: Arc<dyn Clock>,
        scope: Scope,
        progress: impl FnMut(u64, u64),
    ) -> Result<Expirer, ExpireError> {
        let register = Register::read(&*store, progress).await?;
        let expirer = Expirer { store, expiry, clock, scope, register };
        expirer.check_whole()?;
        Ok(expirer)
    }

    /// What the log says.
    pub fn register(&self) -> &Register {
        &self.register
    }

    /// What may end now, and why the rest stays. Changes nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn plan(&self, retention: Retention) -> Result<Plan, ExpireError> {
        let segments: Vec<_> = self.register.segments().collect();
        let mut findings = BTreeMap::new();
        // The open segment and the one before stay whatever there is to find.
        for segment in segments.iter().rev().skip(2) {
            if self.scope == Scope::Copy && segment.end != End::Done {
                continue;
            }
            let files = self.expiry.aged(&Place::segment_prefix(&segment.container, segment.number)).await?;
            let is_held = !files.is_empty() && self.expiry.is_held(&segment.container).await?;
            let holding = self.register.holding(segment);
            findings.insert(segment.number, Findings { files, holding, is_held });
        }
        let origin = self.register.walker().origin();
        Ok(Plan::new(origin, &segments, &mut findings, retention, self.scope, self.now()))
    }

    /// Carries `plan` out. `appender` signs what the log is told; a copy needs none. `progress` hears of files done and of
    /// all there are.
    ///
    /// # Errors
    /// [`ExpireError`]; running again with a new plan completes what was begun.
    pub async fn carry_out(
        &mut self,
        plan: &Plan,
        mut appender: Option<&mut Appender>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Outcome, ExpireError> {
        let all = plan.due().map(|row| row.files.len() as u64).sum();
        let mut outcome = Outcome::default();
        let mut done = 0;
        for row in plan.due() {
            let before = done;
            let mut step = |count: u64| progress(before + count, all);
            let mut answers = BTreeMap::new();
            let appender = appender.as_deref_mut().filter(|_| self.scope == Scope::Archive);
            let stop = self.end(row, appender, &mut answers, &mut step).await?;
            done += row.files.len() as u64;
            outcome.segments.push(Ended { segment: row.segment, container: row.container.clone(), answers, stop });
        }
        Ok(outcome)
    }

    async fn end(
        &mut self,
        row: &Row,
        mut appender: Option<&mut Appender>,
        answers: &mut BTreeMap<String, u64>,
        step: &mut impl FnMut(u64),
    ) -> Result<Option<Stop>, ExpireError> {
        if row.fate == Fate::Expire
            && let Some(appender) = appender.as_deref_mut()
            && let Some(stop) = self.append(appender, "expire", row, None).await?
        {
            return Ok(Some(stop));
        }
        if let Some(stop) = self.look_again(row, !row.files.is_empty()).await? {
            return Ok(Some(stop));
        }
        for (index, file) in row.files.iter().enumerate() {
            if index > 0
                && index % LOOK_EVERY == 0
                && let Some(stop) = self.look_again(row, true).await?
            {
                return Ok(Some(stop));
            }
            let removal = self.expiry.delete(file).await?;
            count(answers, removal.as_str(), 1);
            if !removal.is_gone() {
                return Ok(Some(Stop::Kept(removal)));
            }
            step(index as u64 + 1);
        }
        let left = self.expiry.aged(&Place::segment_prefix(&row.container, row.segment)).await?;
        if !left.is_empty() {
            return Ok(Some(Stop::New(left.len() as u64)));
        }
        count(answers, Removal::Absent.as_str(), row.missing);
        let container = self.end_container(row).await?;
        count(answers, &format!("container-{container}"), 1);
        match appender {
            Some(appender) if row.fate != Fate::Remainder => {
                self.append(appender, "expired", row, Some(&*answers)).await
            }
            _ => Ok(None),
        }
    }

    /// The word for what became of the container: it stays as long as any other segment that hasn't ended is in it.
    async fn end_container(&self, row: &Row) -> Result<&'static str, ExpireError> {
        let others = self.register.segments().filter(|other| other.number != row.segment);
        if others.into_iter().any(|other| other.container == row.container && other.end != End::Done) {
            return Ok("in-use");
        }
        Ok(self.expiry.delete_container(&row.container).await?.as_str())
    }

    /// Whether something keeps the segment now that didn't when the plan was made. Where nothing is left there is nothing
    /// to hold, and that it went has to be told all the same.
    async fn look_again(&mut self, row: &Row, is_left: bool) -> Result<Option<Stop>, ExpireError> {
        self.register.catch_up(&*self.store).await?;
        self.check_whole()?;
        let Some(segment) = self.register.segment(row.segment) else { return Ok(Some(Stop::Overtaken)) };
        let holding = self.register.holding(segment);
        if is_left && !holding.is_empty() {
            return Ok(Some(Stop::Held(holding)));
        }
        // Another run told the end while this one removed; what it left is for the next plan.
        if row.fate != Fate::Remainder && segment.end == End::Done {
            return Ok(Some(Stop::Overtaken));
        }
        match is_left && self.expiry.is_held(&row.container).await? {
            true => Ok(Some(Stop::HeldByStorage)),
            false => Ok(None),
        }
    }

    /// Commits an `expire` or `expired` entry for `row`. Where another writer is quicker, what it committed is looked at
    /// before the next try.
    async fn append(
        &mut self,
        appender: &mut Appender,
        kind: &str,
        row: &Row,
        answers: Option<&BTreeMap<String, u64>>,
    ) -> Result<Option<Stop>, ExpireError> {
        let mut last = None;
        for _ in 0..TRIES {
            // Everything up to the head that the entry is going to follow was looked at.
            appender.catch_up().await?;
            if let Some(stop) = self.look_again(row, kind == "expire").await? {
                return Ok(Some(stop));
            }
            if kind == "expire" && self.register.segment(row.segment).is_some_and(|segment| segment.end == End::Begun) {
                return Ok(None);
            }
            if self.register.walker().next_seq() != appender.walker().next_seq() {
                continue;
            }
            let mut body = appender.draft(kind, self.now())?;
            body.target = Some(row.segment);
            body.range = Some(vec![row.range.0, row.range.1]);
            body.count = Some(row.packs.len() as u64);
            body.names = Some(row.names().to_string());
            body.answers = answers.cloned();
            match appender.commit(&body).await {
                Ok(_) => return Ok(None),
                Err(error @ AppendError::LostRace { .. }) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        match last {
            Some(error) => Err(error.into()),
            None => Ok(Some(Stop::Overtaken)),
        }
    }

    fn check_whole(&self) -> Result<(), ExpireError> {
        match self.register.lost().first() {
            Some(&seq) => Err(ExpireError::Lost { seq }),
            None => Ok(()),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Zero is left out.
fn count(answers: &mut BTreeMap<String, u64>, word: &str, number: u64) {
    if number > 0 {
        *answers.entry(word.to_owned()).or_default() += number;
    }
}
