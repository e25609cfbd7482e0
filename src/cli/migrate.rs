//! `tenure migrate`: a copy of the archive in another store, proved equal.
//!
//! Must never know: how files are copied or compared.

use std::path::PathBuf;
use std::sync::Arc;

use super::console::Progress;
use super::failure::{Ended, Failure, Kind};
use super::session::Session;
use super::storage::{self, Purpose};
use super::{json, render, state};
use crate::archive::copy::{Comparison, CopyReport, Position, Side, compare, step};
use crate::archive::verify::{Options, Report, Severity, verify};
use crate::config::{Config, Storage};
use crate::store::{FilesystemStore, Store};

/// Arguments of `tenure migrate`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A directory to copy the archive to
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Another configuration, to whose [store] the archive is copied
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_config: Option<PathBuf>,
    /// Copy to [store.mirror], looking at every name
    #[arg(long, conflicts_with_all = ["to", "to_config"])]
    to_mirror: bool,
}

/// Differences that are shown one by one.
const SHOWN: usize = 20;

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let place = session.place(Purpose::Read).await?;
    let (to, name) = destination(&arguments, &place.config, session)?;
    let mut position = Position::new();
    let progress = Progress::new(&session.console, "copying");
    let copied = step(&*place.store, &*to, &mut position, |done, all| progress.set(done, all)).await;
    drop(progress);
    if arguments.to_mirror
        && let Some(head) = position.remembered()
    {
        state::remember_mirror(&place.config.state_path, &head)?;
    }
    let copied = copied?;
    let progress = Progress::new(&session.console, "comparing, files:");
    let compared = compare(&*place.store, &*to, |done, all| progress.set(done, all)).await;
    drop(progress);
    let compared = compared?;
    let progress = Progress::new(&session.console, "verifying the copy");
    let verified = verify(&*to, &Options::default(), |done, all| progress.set(done, all)).await;
    drop(progress);
    let proof = Proof { copied, compared, verified: verified?, name, leaf: leaf_of(&position) };
    match session.globals.json {
        true => session.console.line(proof.to_json())?,
        false => proof.print(session)?,
    }
    Ok(if proof.is_equal() { Ended::Done } else { Ended::Finding })
}

fn leaf_of(position: &Position) -> String {
    position.remembered().map_or_else(String::new, |head| head.leaf)
}

/// The other store, and how it is called.
fn destination(
    arguments: &Arguments,
    config: &Config,
    session: &Session<'_>,
) -> Result<(Arc<dyn Store>, String), Failure> {
    if let Some(directory) = &arguments.to {
        let place = Storage::Filesystem(directory.clone());
        check_other(&place, config)?;
        return Ok((Arc::new(FilesystemStore::new(directory)), place.to_string()));
    }
    if arguments.to_mirror {
        let mirror = storage::mirror(config, &session.clock, Purpose::Copy)?;
        let name = config.mirror.as_ref().map(ToString::to_string).unwrap_or_default();
        return mirror
            .map(|mirror| (mirror, name))
            .ok_or_else(|| Failure::new(Kind::Configuration, "there is no mirror: kind in [store.mirror] is none"));
    }
    let Some(file) = &arguments.to_config else {
        return Err(Failure::new(Kind::Usage, "where to? --to DIR, --to-config FILE or --to-mirror")
            .hint("for a storage account write a configuration with its [store], and name it with --to-config"));
    };
    // Variables that override options are meant for the archive that is copied; those that hold secrets serve both.
    let secrets = |(name, _): &&(String, String)| !(name.starts_with("TENURE_") && name.contains("__"));
    let variables: Vec<(String, String)> = session.variables.iter().filter(secrets).cloned().collect();
    let other = Config::load(file, &variables)?;
    check_other(&other.store, config)?;
    if other.tenant.id != config.tenant.id {
        let text =
            format!("{} is for tenant {}, the archive is of {}", file.display(), other.tenant.id, config.tenant.id);
        return Err(Failure::new(Kind::Configuration, text));
    }
    Ok((storage::open(&other, &session.clock, Purpose::Copy)?, other.store.to_string()))
}

fn check_other(place: &Storage, config: &Config) -> Result<(), Failure> {
    match place.to_string() == config.store.to_string() {
        true => Err(Failure::new(Kind::Usage, format!("{place} is where the archive lies"))),
        false => Ok(()),
    }
}

/// What shows that the copy is the archive.
struct Proof {
    copied: CopyReport,
    compared: Comparison,
    verified: Report,
    name: String,
    leaf: String,
}

impl Proof {
    fn is_equal(&self) -> bool {
        self.copied.left_out.is_empty()
            && self.copied.lag == 0
            && self.compared.differences.is_empty()
            && self.verified.is_ok()
    }

    fn print(&self, session: &mut Session<'_>) -> Result<(), Failure> {
        let Proof { copied, compared, verified, name, .. } = self;
        let paint = session.paint();
        let written = [
            render::count(copied.entries, "entry", "entries"),
            render::count(copied.packs, "pack", "packs"),
            render::count(copied.derived, "checkpoint or tile", "checkpoints and tiles"),
        ];
        session.console.line(format!("wrote to {name}: {} ({} bytes)", written.join(", "), copied.bytes))?;
        for left in copied.left_out.iter().take(SHOWN) {
            let (file, word, seq) = (&left.name, left.reason.as_str(), left.seq);
            let line = format!("{} left out: {file} of #{seq} is {word} in the archive", paint.red("finding:"));
            session.console.line(line)?;
        }
        for difference in compared.differences.iter().take(SHOWN) {
            let what = match difference.side {
                Side::Archive => "is in the archive and not in the copy",
                Side::Copy => "is in the copy and not in the archive",
                Side::Both => "differs",
            };
            session.console.line(format!("{} {} {what}", paint.red("finding:"), difference.name))?;
        }
        let more = (copied.left_out.len() + compared.differences.len()).saturating_sub(2 * SHOWN);
        if more > 0 {
            session.console.line(format!("and {more} more"))?;
        }
        if copied.lag > 0 {
            session
                .console
                .line(format!("{} after them are no entries yet", render::count(copied.lag, "file", "files")))?;
        }
        if compared.orphans > 0 {
            let orphans = render::count(compared.orphans, "file", "files");
            session.console.line(format!("{orphans} that no entry names were left where they are"))?;
        }
        let same = render::count(compared.files, "file is", "files are");
        session.console.line(format!("read back: {same} the same on both sides, {} bytes", compared.bytes))?;
        let findings = verified.findings.iter().filter(|finding| finding.severity == Severity::Finding).count() as u64;
        let findings = render::count(findings, "finding", "findings");
        session.console.line(format!("verified the copy: {findings}"))?;
        session.console.line(format!("head  {} entries, leaf {}", copied.size, paint.bold(&self.leaf)))?;
        session.console.line(match self.is_equal() {
            true => paint.green("the copy equals the archive"),
            false => paint.red("the copy does NOT equal the archive"),
        })?;
        Ok(())
    }

    fn to_json(&self) -> String {
        let Proof { copied, compared, verified, name, leaf } = self;
        let left = copied.left_out.iter().map(|left| {
            let row = json::Object::new().text("name", &left.name).number("seq", left.seq);
            row.text("reason", left.reason.as_str()).end()
        });
        let differences = compared.differences.iter().map(|difference| {
            let side = match difference.side {
                Side::Archive => "archive",
                Side::Copy => "copy",
                Side::Both => "both",
            };
            json::Object::new().text("name", &difference.name).text("side", side).end()
        });
        let written = json::Object::new().number("entries", copied.entries).number("packs", copied.packs);
        let written = written.number("derived", copied.derived).number("bytes", copied.bytes).end();
        let row = json::Object::new().flag("equal", self.is_equal()).text("to", name).raw("written", &written);
        let row = row.number("files", compared.files).number("bytes", compared.bytes);
        let row = row.raw("left_out", &json::array(left)).raw("differences", &json::array(differences));
        let row = row.flag("verifies", verified.is_ok()).number("orphans", compared.orphans);
        row.number("entries", copied.size).text("leaf", leaf).end()
    }
}
