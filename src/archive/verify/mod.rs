//! Verification: what an archive proves about itself, as a list of findings.
//!
//! Must never know: what an object is. It needs the store and nothing local: no index, no configuration.
//!
//! It proves what was recorded and that it was not changed since, not that the tenant told the truth.

use jiff::Timestamp;

use super::appender::RememberedHead;
use super::note::SignedCheckpoint;
use super::walker::WalkError;
use crate::store::Store;
use fold::Fold;
use orphans::Orphans;
use packs::{Found, Reading};

mod checkpoints;
mod fold;
mod keys;
mod orphans;
pub mod pace;
mod packs;
pub mod rolling;
mod survey;
mod tiles;

pub use survey::{Begun, Survey};

pub use keys::Revocations;

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

/// Asked between two reads whether to break off.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Verifies everything that `options` ask for. `progress` is called with the number of entries done and of all.
///
/// The log is walked twice, first for what later entries say of earlier ones, then for the packs: so no more is kept in
/// memory than a leaf hash an entry, one pack, and for [`Options::deep`] one state.
///
/// # Errors
/// [`WalkError`] where there is no archive, its genesis entry can't be read, or the store fails. What is wrong with an
/// archive that can be read is no error but a finding.
pub async fn verify(
    store: &dyn Store,
    options: &Options,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, WalkError> {
    let never: Stop<'_> = &|| false;
    let mut survey = match Survey::begin(store).await? {
        Begun::Log(survey) => survey,
        Begun::NoGenesis(report) => return Ok(report),
    };
    survey.extend(store, never).await?;
    let mut report = survey.check(store, options, never).await?.unwrap_or_default();
    let (all, mut done) = (survey.good_entries(), 0);
    let mut fold = options.deep.then(Fold::default);
    let mut orphans = Orphans::new(&survey);
    let reading = Reading { store, survey: &survey, stop: never };
    let found = Found { fold: fold.as_mut(), orphans: &mut orphans, report: &mut report };
    let count = || {
        progress(done, all);
        done += 1;
    };
    let _ = packs::check_range(reading, 0..=survey.size() - 1, options, found, count).await?;
    orphans.report(&mut report);
    progress(all, all);
    Ok(report)
}
