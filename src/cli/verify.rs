//! `tenure verify`: what the archive proves about itself, as findings with what they mean and what to do.
//!
//! Must never know: how anything is checked.

use std::path::PathBuf;
use std::sync::Arc;

use super::console::Progress;
use super::failure::{Ended, Failure, Kind};
use super::session::{Session, bound, check_tenant};
use super::storage::{self, Purpose};
use super::{json, render, state};
use crate::archive::note::{SignedCheckpoint, Verifier};
use crate::archive::verify::{Finding, Options, Report, Severity, verify};
use crate::hash::Hash;
use crate::query::Moment;
use crate::store::{FilesystemStore, Store};

/// Arguments of `tenure verify`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Check every line too, and compute every state root again
    #[arg(long)]
    deep: bool,
    /// Check packs of captures at or after this time only; the log is always checked whole
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Check packs of captures at or before this time only; of a date its end
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Compare with a checkpoint (a signed note) that was kept elsewhere
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The genesis leaf hash, or a verifier key, that you trust
    #[arg(long, value_name = "HASH|VKEY")]
    trust: Option<String>,
    /// An archive's directory, instead of a configuration
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let mut options = Options { deep: arguments.deep, ..Options::default() };
    options.trust = arguments.trust.as_deref().map(read_trust).transpose()?;
    options.against = arguments.against.as_ref().map(read_checkpoint).transpose()?;
    let store: Arc<dyn Store> = match &arguments.archive {
        Some(directory) => Arc::new(FilesystemStore::new(directory)),
        None => {
            let config = session.config()?;
            let store = storage::open(&config, &session.clock, Purpose::Read)?;
            check_tenant(&*store, &config).await?;
            options.remembered = state::remembered_head(&config.state_path)?;
            store
        }
    };
    options.from = bound(session, &*store, arguments.from.as_deref(), Moment::first).await?;
    options.to = bound(session, &*store, arguments.to.as_deref(), Moment::last).await?;
    let progress = Progress::new(&session.console, "verifying");
    let report = verify(&*store, &options, |done, all| progress.set(done, all)).await;
    drop(progress);
    let report = report?;
    match session.globals.json {
        true => session.console.line(to_json(&report))?,
        false => print(&report, &options, session)?,
    }
    Ok(if report.is_ok() { Ended::Done } else { Ended::Finding })
}

fn read_trust(text: &str) -> Result<String, Failure> {
    if text.parse::<Hash>().is_ok() || text.parse::<Verifier>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(Failure::new(Kind::Usage, format!("--trust is {text:?}, neither a hash of 64 digits nor a verifier key"))
        .hint("`tenure init` printed both when it began the archive"))
}

fn read_checkpoint(path: &PathBuf) -> Result<SignedCheckpoint, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Kind::Usage, format!("{} cannot be read: {error}", path.display())))?;
    text.parse().map_err(|error| {
        Failure::new(Kind::Usage, format!("{} is no checkpoint: {error}", path.display()))
            .hint("a checkpoint is a copy of a file below log/k in the archive")
    })
}

fn to_json(report: &Report) -> String {
    let checked = &report.checked;
    let counts = json::Object::new().number("entries", checked.entries).number("checkpoints", checked.checkpoints);
    let counts = counts.number("packs", checked.packs).number("bytes", checked.bytes).number("roots", checked.roots);
    let findings = json::array(report.findings.iter().map(|finding| {
        let row = json::Object::new().text("severity", finding.severity.as_str()).text("code", finding.code);
        let row = row.text("name", &finding.name);
        let row = match finding.seq {
            Some(seq) => row.number("seq", seq),
            None => row.raw("seq", "null"),
        };
        row.text("message", &finding.message).text("meaning", meaning(finding.code).0).end()
    }));
    json::Object::new().flag("ok", report.is_ok()).raw("checked", &counts.end()).raw("findings", &findings).end()
}

fn print(report: &Report, options: &Options, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    for finding in &report.findings {
        let severity = match finding.severity {
            Severity::Finding => paint.red("finding"),
            Severity::Warning => paint.yellow("warning"),
            Severity::Note => paint.dim("note"),
        };
        let Finding { code, name, seq, message, .. } = finding;
        let at = seq.map_or(String::new(), |seq| format!(" at #{seq}"));
        session.console.line(format!("{severity}: {}{at}: {message}", paint.bold(code)))?;
        session.console.line(format!("  {}", paint.dim(name)))?;
    }
    explain(report, session)?;
    let checked = &report.checked;
    let mut counts = vec![
        render::count(checked.entries, "entry", "entries"),
        render::count(checked.checkpoints, "checkpoint", "checkpoints"),
        format!("{} ({} bytes)", render::count(checked.packs, "pack", "packs"), checked.bytes),
    ];
    if options.deep {
        counts.push(render::count(checked.roots, "state root", "state roots"));
    }
    let summary = format!("checked {}", counts.join(", "));
    session.console.line(summary)?;
    let count = report.findings.iter().filter(|finding| finding.severity == Severity::Finding).count();
    let verdict = match count {
        0 => paint.green("the archive verifies: no findings"),
        1 => paint.red("the archive does NOT verify: 1 finding"),
        count => paint.red(format!("the archive does NOT verify: {count} findings")),
    };
    session.console.line(verdict)?;
    if count == 0 && options.trust.is_none() {
        let note = "signed by the archive's own keys; --trust with what `tenure init` printed proves whose they are";
        session.console.line(paint.dim(note))?;
    }
    Ok(())
}

/// What each code that occurs means and asks for, once.
fn explain(report: &Report, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut codes: Vec<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Note)
        .map(|finding| finding.code)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    if codes.is_empty() {
        return Ok(());
    }
    let paint = session.paint();
    session.console.line("")?;
    for code in codes {
        let (means, action) = meaning(code);
        session.console.line(format!("{} means: {means}", paint.bold(code)))?;
        session.console.line(format!("  what to do: {action}"))?;
    }
    session.console.line("")?;
    Ok(())
}

/// What a code means, and what to do about it.
fn meaning(code: &str) -> (&'static str, &'static str) {
    const COPY: &str = "restore the file from a copy of the archive; if there is none, keep the archive as it is: what \
                        is left stays readable, and the loss stays visible";
    const WRITER: &str = "keep the archive as it is and report it: a writer that follows the format can't do this";
    match code {
        "genesis" => (
            "the archive doesn't begin with the entry or key that you trust",
            "make sure that this is the right archive, and that --trust was copied whole",
        ),
        "entry-missing" => ("an entry of the log is gone; later ones still name its hash", COPY),
        "entry-changed" => ("an entry isn't what was signed and chained when it was written", COPY),
        "entry-unverifiable" => (
            "an entry is signed by a key that nothing introduces, after an entry that is lost",
            "restore the lost entry, which may have introduced the key",
        ),
        "void-leaf" => (
            "a file in the log is no entry of this archive; it changes nothing",
            "find out who wrote it; a `void` entry acknowledges it",
        ),
        "entry-revoked" => ("an entry was signed by a key that had been revoked", "find out who used the key"),
        "entry-inconsistent" => ("an entry contradicts the one before it in slots, state or segment", WRITER),
        "checkpoint-bad" => (
            "a checkpoint doesn't fit the log",
            "compare with a checkpoint kept elsewhere (--against): either it or the log was changed",
        ),
        "head-unsigned" => (
            "the newest entry has no checkpoint, as after a crash",
            "the next `tenure capture` signs it; until then the newest entry stands on its own signature",
        ),
        "log-truncated" => (
            "entries that existed are gone: a checkpoint, or this machine's memory, covers more than is there",
            "restore the missing entries and packs from a copy; don't capture into this archive before",
        ),
        "log-forked" => (
            "the checkpoint kept elsewhere belongs to another history of the same log",
            "one of the two was rewritten: keep both, and find out who has the signing key",
        ),
        "log-incomparable" => (
            "an entry is lost, so the log can't be compared with what was given",
            "restore the lost entry, then verify again",
        ),
        "checkpoint-foreign" => ("the checkpoint given is of another log", "give one of this archive"),
        "tile-wrong" => ("a tile differs from the entries it is derived from", COPY),
        "pack-name" => ("an entry names a pack that can't be its own", WRITER),
        "pack-missing" => ("a pack that an entry commits to is gone: what was captured there is lost", COPY),
        "pack-damaged" => ("a pack isn't what was committed: nothing in it can be trusted", COPY),
        "pack-content" => ("a pack is as committed, but its lines break the format", WRITER),
        "delta-root" | "delta-counts" | "state-root" | "base-root" => {
            ("the lines don't add up to what was signed", WRITER)
        }
        "tile-missing" | "checkpoint-missing" => ("a derived file is missing, as after a crash", "nothing"),
        "expired" => ("the content was ended after its retention", "nothing"),
        "orphan" => ("a file that no entry names, as a crash leaves it", "nothing"),
        _ => ("see docs/format.md, section 10", "see docs/format.md, section 10"),
    }
}
