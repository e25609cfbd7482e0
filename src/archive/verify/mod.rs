//! Verification: what an archive proves about itself, as a list of findings.
//!
//! Must never know: what an object is. It needs the store and nothing local: no index, no configuration.
//!
//! It proves what was recorded and that it was not changed since, not that the tenant told the truth.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::appender::RememberedHead;
use super::entry::{Entry, InvalidEntry, entry_name};
use super::note::SignedCheckpoint;
use super::walker::{Fault, WalkError, greatest_seq};
use crate::store::Store;

mod chain;
mod fold;
mod packs;

pub use chain::Revocations;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Looks like a crash that the next run repairs.
    Warning,
    /// The archive isn't what was committed.
    Finding,
}

impl Severity {
    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Finding => "finding",
        }
    }
}

/// Something that verification has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, from the list in `docs/format.md`.
    pub code: &'static str,
    /// The file it is about.
    pub name: String,
    /// The entry it is about.
    pub seq: Option<u64>,
    /// What was expected and what was found, and what it touches.
    pub message: String,
}

/// What to verify, and against what.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Recompute every state root, and check every line.
    pub deep: bool,
    /// Check packs of captures at or after this instant only. The log is always checked whole.
    pub from: Option<Timestamp>,
    /// Check packs of captures at or before this instant only.
    pub to: Option<Timestamp>,
    /// A checkpoint that was kept elsewhere.
    pub against: Option<SignedCheckpoint>,
    /// The head that this machine remembers.
    pub remembered: Option<RememberedHead>,
    /// The genesis leaf hash, or the text of a verifier key, that the caller trusts.
    pub trust: Option<String>,
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries whose place in the chain and signature were checked.
    pub entries: u64,
    /// Signed checkpoints compared with the recomputed root.
    pub checkpoints: u64,
    /// Packs whose every byte was hashed.
    pub packs: u64,
    /// Bytes of those packs.
    pub bytes: u64,
    /// State roots recomputed from lines.
    pub roots: u64,
}

/// The outcome.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How much was checked.
    pub checked: Checked,
    /// Everything there is to say, in the order it was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong. Warnings and notes don't count.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Finding)
    }

    fn add(&mut self, severity: Severity, code: &'static str, name: &str, seq: Option<u64>, message: String) {
        self.findings.push(Finding { severity, code, name: name.to_owned(), seq, message });
    }

    fn finding(&mut self, code: &'static str, name: &str, seq: u64, message: String) {
        self.add(Severity::Finding, code, name, Some(seq), message);
    }
}

/// What the log comes to: the entries that count, in order, and what is known of the rest.
struct Log {
    /// By number: the entry, or nothing where it is void, changed, missing or unverifiable.
    entries: BTreeMap<u64, Entry>,
    /// Numbers whose content is lost: after them the state is unknown until the next base.
    lost: BTreeSet<u64>,
    /// Segments with an `expire` entry, and whether `expired` followed.
    expiry: BTreeMap<u64, bool>,
}

/// Verifies everything that `options` ask for. `progress` is called with the number of entries done and of all.
///
/// # Errors
/// [`WalkError`] where there is no archive, its genesis entry can't be read, or the store fails. What is wrong with an
/// archive that can be read is no error but a finding.
pub async fn verify(
    store: &dyn Store,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, WalkError> {
    let mut report = Report::default();
    let log = match chain::check(store, options, &mut report).await {
        Ok(log) => log,
        Err(error) => return no_genesis(store, error, report).await,
    };
    let all = log.entries.len() as u64;
    let mut fold = options.deep.then(fold::Fold::default);
    let mut lost = log.lost.iter().copied().peekable();
    for (done, (seq, entry)) in log.entries.iter().enumerate() {
        progress(done as u64, all);
        if let Some(fold) = &mut fold {
            while lost.next_if(|gap| gap < seq).is_some() {
                fold.lose();
            }
        }
        if entry.body.is_capture() || entry.body.packs.is_some() {
            let wanted = is_within(entry, options);
            packs::check(store, &log, entry, wanted, fold.as_mut(), &mut report).await?;
        }
    }
    packs::report_orphans(store, &log, &mut report).await?;
    progress(all, all);
    Ok(report)
}

/// A genesis entry that is damaged or gone is a finding, the only one there can be: nothing else can be verified.
async fn no_genesis(store: &dyn Store, error: WalkError, mut report: Report) -> Result<Report, WalkError> {
    match &error {
        WalkError::Genesis(Fault::Invalid(reason))
            if matches!(**reason, InvalidEntry::Version(_) | InvalidEntry::Requires(_)) =>
        {
            return Err(error);
        }
        WalkError::Genesis(_) => {}
        WalkError::NoArchive if greatest_seq(store).await?.is_some() => {}
        _ => return Err(error),
    }
    report.finding("genesis", &entry_name(0), 0, format!("{error}; nothing else can be verified"));
    Ok(report)
}

fn is_within(entry: &Entry, options: &Options) -> bool {
    let at = entry.body.query_time();
    options.from.is_none_or(|from| at >= from) && options.to.is_none_or(|to| at <= to)
}
