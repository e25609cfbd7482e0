//! `tenure capture`: one capture now.
//!
//! Must never know: how anything is read or committed.

use std::path::Path;
use std::sync::Arc;

use super::console::Spinner;
use super::failure::{Ended, Failure, Kind};
use super::session::{Place, Session};
use super::storage::Purpose;
use super::{mirror, state};
use crate::archive::entry::{Coverage, Entry, entry_name};
use crate::archive::note::Signer;
use crate::capture::{CaptureError, Capturer, Committed, Local, Progress, Request, Watch};
use crate::clock::Clock;
use crate::collect::code;
use crate::config::Config;
use crate::graph::Reader;
use crate::index::Index;
use crate::ledger::Ledger;

/// Arguments of `tenure capture`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Read every collection whole, and prove that the change feeds missed nothing
    #[arg(long)]
    reconcile: bool,
    /// Commit removals that were held back because so many objects were missing at once
    #[arg(long)]
    accept_removals: bool,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let place = session.place(Purpose::Write).await?;
    // Opening for questions repairs an index that is stale or damaged, and says so.
    session.repair_index().await?;
    let Place { config, store } = place;
    let ledger = Ledger::open(&config.state_path, session.clock.clone());
    // Commands beside this one leave the log to it, so that none of them makes it lose the race for an entry.
    let charge = ledger.take_charge()?;
    let mut capturer = open(&config, store.clone(), session.clock.clone()).await?;
    let spinner = Arc::new(Spinner::new(&session.console));
    let watch = Watch::new({
        let spinner = spinner.clone();
        move |collection, seen| spinner.tell(collection, seen)
    });
    let Arguments { reconcile, accept_removals } = arguments;
    let request = Request { watch, reconcile, accept_removals, ..Request::default() };
    let committed = capturer.capture(&request).await;
    spinner.clear();
    let committed = committed?;
    if let Err(error) = ledger.commit(capturer.appender_mut()).await {
        session.warn(&format!("the capture is committed, and what was asked meanwhile isn't yet: {error}"));
    }
    drop(charge);
    if let Some(head) = capturer.remembered()
        && let Err(failure) = state::remember_head(&config.state_path, &head)
    {
        // The capture is committed; only the next look at a cut-off log knows less.
        session.warn(&failure.error.to_string());
    }
    // Nothing of this is part of the capture, which is committed.
    let head = capturer.appender().walker().next_seq();
    mirror::follow(&config, &*store, head, session).await;
    if session.globals.json {
        let file = store.get(&entry_name(committed.body.seq)).await?;
        let text = Entry::parse(&file).map(|entry| entry.text).unwrap_or_default();
        session.console.line(String::from_utf8_lossy(&text))?;
    } else {
        print(&committed, session)?;
    }
    Ok(Ended::Done)
}

/// A capturer as the configuration has it.
pub(super) async fn open(
    config: &Config,
    store: Arc<dyn crate::store::Store>,
    clock: Arc<dyn Clock>,
) -> Result<Capturer, Failure> {
    let signer = signing_key(&config.key_file)?;
    let reader = Reader::new(config.graph()?, clock.clone())
        .map_err(|error| Failure::new(Kind::Configuration, error).hint("check [tenant] and [limits]"))?;
    let index = Index::open(&config.index_path).map_err(CaptureError::from)?;
    let progress = Progress::open(&config.state_path).map_err(CaptureError::from)?;
    let remembered = state::remembered_head(&config.state_path)?;
    let options = config.capture.clone();
    let capturer = Capturer::open(store, signer, Local { index, progress, remembered }, reader, clock, options);
    Ok(capturer.await?)
}

/// The key that signs what is captured.
pub(super) fn signing_key(path: &Path) -> Result<Signer, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let text = format!("the signing key {} cannot be read: {error}", path.display());
        Failure::new(Kind::Configuration, text).hint("`tenure init` made it; key_file in [signing] says where it is")
    })?;
    Signer::from_secret_text(&text).map_err(|error| {
        Failure::new(Kind::Configuration, format!("{}: {error}", path.display()))
            .hint("restore the file that `tenure init` made from a copy")
    })
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Failure {
        use crate::graph::Error;
        match error {
            CaptureError::Append(error) => error.into(),
            CaptureError::Index(error) => crate::query::QueryError::from(error).into(),
            CaptureError::Read(error) => crate::query::QueryError::from(error).into(),
            CaptureError::Graph(error) => {
                if matches!(error, Error::Options { .. }) {
                    return Failure::new(Kind::Configuration, CaptureError::Graph(error))
                        .hint("check [credential] and the files that it names");
                }
                let hint = match &error {
                    Error::Unauthorized { .. } => {
                        "check id in [tenant], client_id and the rest of [credential]; secrets and certificates expire"
                            .to_owned()
                    }
                    Error::Forbidden { permission, .. } => format!(
                        "grant the application permission {permission} to the app registration, with admin consent"
                    ),
                    Error::Unreachable { .. } => {
                        "check the network and proxy, and cloud in [tenant]; the next run reads what this one missed"
                            .to_owned()
                    }
                    _ => "run it again; the next capture reads what this one missed".to_owned(),
                };
                Failure::new(Kind::Failed, CaptureError::Graph(error)).hint(hint)
            }
            CaptureError::OtherTenant { .. } => Failure::new(Kind::Configuration, error)
                .hint("check [tenant] and [credential]; another tenant needs an archive of its own"),
            CaptureError::Temporary(error) => Failure::new(Kind::Failed, CaptureError::Temporary(error))
                .hint("free space in the temporary directory (TMPDIR) and run it again; nothing was committed"),
            CaptureError::SlotTaken { .. } | CaptureError::Stopped | CaptureError::Progress(_) => {
                Failure::new(Kind::Failed, error)
            }
            CaptureError::Contended { .. } => {
                Failure::new(Kind::Failed, error).hint("another writer is capturing this tenant; it does the work")
            }
        }
    }
}

fn print(committed: &Committed, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    let body = &committed.body;
    let delta = body.delta.clone().unwrap_or_default();
    let seconds = body.t0.zip(body.t1).map_or(0.0, |(t0, t1)| (t1.as_millisecond() - t0.as_millisecond()) as f64 / 1e3);
    let what = match (delta.put + delta.del, delta.ladd + delta.ldel) {
        (0, 0) if delta.ev == 0 => "nothing changed".to_owned(),
        _ => format!(
            "{} objects new or changed, {} removed, {} links added, {} ended, {} audit records",
            delta.put, delta.del, delta.ladd, delta.ldel, delta.ev
        ),
    };
    let title = format!("captured #{}", body.seq);
    session.console.line(format!("{}  {what}", paint.bold(title)))?;
    let state = &body.state;
    session.console.line(format!("the tenant now  {} objects, {} links", state.objects, state.links))?;
    if body.opens_segment() {
        session.console.line(format!("began a segment in {}", body.container.as_deref().unwrap_or_default()))?;
    }
    let is_wanted = |row: &&Coverage| row.code.as_deref() != Some(code::OFF);
    for row in committed.shortfalls().filter(is_wanted) {
        let name = row.subject();
        let code = row.code.as_deref().unwrap_or("unknown");
        session.console.line(format!("{} {name}: {} ({code}){}", paint.yellow("!"), row.st.as_str(), advice(row)))?;
    }
    for row in body.cover.iter().flatten() {
        if let Some(missed) = row.missed.filter(|&missed| missed > 0) {
            let text = format!(
                "{}: the change feed had missed {missed}; found and dated by the last whole read",
                row.subject()
            );
            session.console.line(format!("{} {text}", paint.yellow("!")))?;
        }
    }
    for (collection, trouble) in &committed.troubles {
        session.console.line(paint.dim(format!("  {collection}: {trouble}")))?;
    }
    let leaf = paint.dim(format!("leaf {}, committed in {seconds:.1} s", committed.leaf));
    session.console.line(leaf)?;
    Ok(())
}

/// What helps against a shortfall.
fn advice(row: &Coverage) -> String {
    if let Some(permission) = &row.needs {
        return format!("; grant the application permission {permission}");
    }
    let text = match row.code.as_deref() {
        Some(code::GATE) => "; many objects were missing at once and are held back: read again, or --accept-removals",
        Some(code::NO_PERMISSION) => "; the permission is granted, and the service refuses all the same",
        Some(code::NO_LICENCE) => "; the tenant has no licence for it",
        Some(code::NOT_OFFERED) => "; this tenant or cloud doesn't have it",
        Some(code::NOT_YET) => "; it is read in turns, and some haven't had their first",
        Some(code::RETENTION) => "; the service may have thrown older records away since the last capture",
        _ => "",
    };
    text.to_owned()
}
