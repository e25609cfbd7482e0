//! The own-use log: who asked the archive what, recorded durably before the answer leaves, and committed into the
//! archive's own chain.
//!
//! Must never know: directory content. What was asked for is recorded as it was asked, and what was answered only by its
//! hash.
//!
//! A record lives in two places, one after the other:
//!
//! 1. The **spool**, `uses` in the directory of the local state: files of lines, one file for each process that asks. It
//!    lies outside the index, which anybody may throw away. A record is there, for good, before its answer leaves.
//! 2. The **chain**: an `access` entry with packs of kind `a`. Who writes the log anyway brings what is spooled there
//!    ([`Ledger::commit`]); a record is taken out of the spool once it is in the chain, and is in the chain once.
//!
//! Strangers are counted and not recorded one by one: a flood of them would fill storage that nobody can empty.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::archive::appender::AppendError;
use crate::archive::entry::Body;
use crate::archive::reader::ReadError;
use crate::canonical::{NotCanonical, ParseError};
use crate::clock::Clock;
use crate::store::{Store, StoreError};

mod commit;
mod denials;
mod record;
mod spool;

pub use commit::Entered;
use denials::Denials;
pub use record::{Outcome, Record, RecordId, Use, Via, Who};
use spool::Spool;

/// What keeps a use from being recorded. Whoever answers doesn't answer then.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The spool can't be written. Nothing may be answered; what was recorded before is safe.
    #[error("the own-use log in {path} cannot be written")]
    Spool {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What was asked has no canonical form: a number that no double holds, or two members of one name.
    #[error("what was asked cannot be recorded")]
    NotCanonical(#[from] NotCanonical),
    /// What was asked is no JSON that can be read back.
    #[error("what was asked cannot be recorded")]
    NotJson(#[from] ParseError),
    /// What was asked is longer than a record may be.
    #[error("what was asked takes {found} bytes to record, at most {most} are")]
    TooLong {
        /// The record's length in bytes.
        found: usize,
        /// The longest there may be.
        most: usize,
    },
    /// The log can't be appended to. What isn't in the chain stays spooled.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        LedgerError::Append(error.into())
    }
}

/// The own-use log of one archive as one process writes it. Shared between threads; any number of processes may have the
/// same directory open.
#[derive(Debug)]
pub struct Ledger {
    clock: Arc<dyn Clock>,
    spool: Mutex<Spool>,
    denials: Mutex<Denials>,
}

impl Ledger {
    /// The own-use log in `directory`, that of the local state. Nothing is made there before something is recorded.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Ledger {
        let spool = Spool::new(directory.join(DIRECTORY));
        Ledger { clock, spool: Mutex::new(spool), denials: Mutex::default() }
    }

    /// Records a use. It is on disk when this returns, and so is the name of its file: only then may the answer leave.
    ///
    /// Blocks for as long as the disk takes; from an asynchronous task call it through `spawn_blocking`.
    ///
    /// # Errors
    /// [`LedgerError`]: the use may or may not be recorded, and the answer must not leave.
    pub fn record(&self, used: &Use) -> Result<RecordId, LedgerError> {
        let (id, line) = used.to_line(self.clock.now())?;
        self.locked().append(&line)?;
        Ok(id)
    }

    /// Counts a request of somebody unknown that was turned away. `reason` is a word from a closed list, never anything
    /// that the stranger sent. Costs a few bytes however many there are, touches no disk, and may be called from anywhere.
    ///
    /// [`Ledger::settle`] writes what was counted; a process that is killed takes what it counted since with it.
    pub fn count_denial(&self, via: Via, reason: &'static str) {
        let now = self.clock.now();
        self.denials.lock().expect("no code panics while it counts").count(via, reason, now);
    }

    /// Records what was counted in minutes that are over, as one record. To be called about once a minute, like
    /// [`Ledger::record`] where blocking is allowed. A failure loses nothing: it goes on being counted.
    ///
    /// # Errors
    /// [`LedgerError::Spool`].
    pub fn settle(&self) -> Result<(), LedgerError> {
        let now = self.clock.now();
        self.write_denials(|denials| denials.take_over(now))
    }

    /// Records all that was counted, the present minute too: for the end of a process. Dropping the ledger does it as well.
    ///
    /// # Errors
    /// [`LedgerError::Spool`].
    pub fn close(&self) -> Result<(), LedgerError> {
        self.write_denials(Denials::take)
    }

    /// What is spooled and not in the chain yet, as far as this machine knows; who wants to be sure compares ids.
    ///
    /// # Errors
    /// [`LedgerError::Spool`].
    pub fn spooled(&self) -> Result<Vec<Record>, LedgerError> {
        let path = self.directory();
        commit::look(&path).map_err(|source| LedgerError::Spool { path, source })
    }

    /// Tells everybody that this process writes the log with this local state, for as long as what is returned is kept: it
    /// brings what is spooled into the chain, and others don't get in its way. None where another process does.
    ///
    /// # Errors
    /// [`LedgerError::Spool`].
    pub fn take_charge(&self) -> Result<Option<Charge>, LedgerError> {
        let path = self.directory();
        let file = commit::lock(&path, CHARGE).map_err(|source| LedgerError::Spool { path, source })?;
        Ok(file.map(|file| Charge { _lock: file }))
    }

    fn directory(&self) -> PathBuf {
        self.locked().directory().to_owned()
    }

    fn write_denials(&self, take: impl FnOnce(&mut Denials) -> Option<Denials>) -> Result<(), LedgerError> {
        let mut counted = self.denials.lock().expect("no code panics while it counts");
        let Some(taken) = take(&mut counted) else { return Ok(()) };
        drop(counted);
        let written = taken.to_line(self.clock.now()).and_then(|(_, line)| self.locked().append(&line));
        if written.is_err() {
            self.denials.lock().expect("no code panics while it counts").add(taken);
        }
        written
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.spool.lock().expect("no code panics while it writes the spool")
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(error = &error as &dyn std::error::Error, "denials that were counted are not recorded");
        }
    }
}

/// That this process writes the log, until it is dropped.
#[derive(Debug)]
pub struct Charge {
    _lock: File,
}

/// The records that an `access` entry commits to, in their order.
///
/// # Errors
/// [`ReadError`]: nothing is told of a pack that isn't what was committed.
pub async fn records_of(store: &dyn Store, body: &Body) -> Result<Vec<Record>, ReadError> {
    commit::read_entry(store, body).await
}

/// The lock of who writes the log.
const CHARGE: &str = "charge.lock";
/// The directory of the spool in that of the local state.
const DIRECTORY: &str = "uses";
