//! One capture: collect, compare with the head, commit.
//!
//! Must never know: the schedule, serving, and how any collection is read.
//!
//! The index at the head is what the tenant is compared with; it was itself compared with the signed state root. A
//! capture is committed whole or not at all. Losing the race for an entry throws everything that was read away: putting
//! old reads on a newer head would write stale values.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::Instrument as _;

use crate::archive::appender::{AppendError, Appender, RememberedHead};
use crate::archive::entry::{Body, Coverage, MAX_SKEW_MS};
use crate::archive::note::Signer;
use crate::archive::reader::{LineReader, ReadError};
use crate::archive::walker::WalkError;
use crate::clock::{Clock, format_millis};
use crate::graph;
use crate::hash::Hash;
use crate::index::{Index, IndexError};
use crate::store::{Store, StoreError};

mod base;
mod cadence;
mod commit;
mod gather;
mod head;
mod merge;
mod object;
mod progress;
mod recovery;
mod rows;
mod section;
mod seen;
mod spool;
mod stop;
mod sweep;
mod turns;

pub use head::{HeadError, mirrored_head, remember_head, remember_mirror, remembered_head};
pub use progress::{Progress, ProgressError};
pub use stop::{Stop, Stopper};

/// What keeps a capture from being committed.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The tenant could not be read at all.
    #[error("nothing of the tenant could be read, so nothing was committed")]
    Graph(#[source] graph::Error),
    /// The log could not be appended to.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The index could not be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The archive could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The local state could not be used.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// A temporary file could not be written or read back.
    #[error("a temporary file could not be written or read back")]
    Temporary(#[from] std::io::Error),
    /// What was read is another tenant's than what the archive holds.
    #[error("the service answered for tenant {seen}, the archive is of {known}: nothing was committed")]
    OtherTenant {
        /// The tenant in the archive.
        known: String,
        /// The tenant that answered.
        seen: String,
    },
    /// The slot was filled by another run.
    #[error("slot {slot} is filled or declared a gap already")]
    SlotTaken {
        /// The slot.
        slot: Timestamp,
    },
    /// It was asked to stop before it began to commit.
    #[error("the capture was stopped before anything of it was committed")]
    Stopped,
    /// Other writers kept winning.
    #[error("other writers committed first {tries} times in a row")]
    Contended {
        /// How often.
        tries: u32,
    },
}

impl From<StoreError> for CaptureError {
    fn from(error: StoreError) -> Self {
        CaptureError::Append(error.into())
    }
}

impl From<WalkError> for CaptureError {
    fn from(error: WalkError) -> Self {
        CaptureError::Append(error.into())
    }
}

/// Hears of every page that was read: the collection, and how many sightings it brought.
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<Hear>>);

type Hear = dyn Fn(&str, u64) + Send + Sync;

impl Watch {
    /// Calls `hear` for every page.
    pub fn new(hear: impl Fn(&str, u64) + Send + Sync + 'static) -> Watch {
        Watch(Some(Arc::new(hear)))
    }

    fn tell(&self, collection: &str, sightings: u64) {
        if let Some(hear) = &self.0 {
            hear(collection, sightings);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Watch(…)" } else { "Watch" })
    }
}

/// What a capture is asked to do.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Who hears of progress.
    pub watch: Watch,
    /// The slot that it fills; `None` by hand.
    pub slot: Option<Timestamp>,
    /// Read every collection whole and prove that the feeds missed nothing.
    pub reconcile: bool,
    /// Commit removals that the gate would hold back.
    pub accept_removals: bool,
    /// Captures only while no capture stands for this instant or a later one: of several that make up for a gap one is enough.
    pub unless_at: Option<Timestamp>,
    /// Reads nothing more from this instant on, where that comes before [`Options::time_limit`] is over.
    pub until: Option<Timestamp>,
    /// Breaks it off, unless it has begun to commit.
    pub stop: Stop,
}

/// How captures of this archive are done.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Collections that are turned off.
    pub off: Vec<String>,
    /// Captures within which every source of a relation that no feed reports is read once, as far as the budget allows.
    pub sweep_captures: u64,
    /// Reads of single sources that one capture spends on such relations, beyond those of what changed.
    pub sweep_requests: u64,
    /// Hours between two reads of what isn't read in every capture, by row: `user#activity`, `userRegistrationDetails`.
    /// What isn't named has its own default.
    pub hours: std::collections::BTreeMap<String, u32>,
    /// How far before the last event known the next read of events begins, for those that arrive late; six times as far
    /// in a reconciliation.
    pub event_overlap: jiff::SignedDuration,
    /// The share of a collection's objects above which removals inferred from absence are held back.
    pub gate_share: f64,
    /// Removals that are never held back, however small the collection.
    pub gate_minimum: u64,
    /// After this long nothing more is read, and what was read is committed.
    pub time_limit: std::time::Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            off: Vec::new(),
            sweep_captures: 24,
            sweep_requests: 20_000,
            hours: std::collections::BTreeMap::new(),
            event_overlap: jiff::SignedDuration::from_hours(12),
            gate_share: 0.2,
            gate_minimum: 20,
            time_limit: std::time::Duration::from_secs(50 * 60),
        }
    }
}

impl Options {
    /// The hours between two reads of a row.
    fn hours(&self, row: &str, default: u32) -> u32 {
        self.hours.get(row).copied().unwrap_or(default)
    }
}

/// A committed capture.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The entry's body.
    pub body: Body,
    /// Its leaf hash.
    pub leaf: Hash,
    /// What ended reads that didn't end well, by collection: for hints, never archived.
    pub troubles: Vec<(String, String)>,
    /// What reading cost.
    pub spent: Spent,
}

/// What reading for a capture cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Requests, retries and parts of batches included.
    pub requests: u64,
    /// Resource units that the service charged.
    pub units: u64,
    /// Requests that the service turned away for being too many.
    pub throttled: u64,
}

impl Committed {
    /// The rows of coverage that are less than they should be.
    pub fn shortfalls(&self) -> impl Iterator<Item = &Coverage> {
        use crate::archive::entry::Status;
        let cover = self.body.cover.iter().flatten();
        cover.filter(|row| !matches!(row.st, Status::Complete | Status::Rolling | Status::NotDue))
    }
}

/// How often a lost race is answered by reading everything again.
const TRIES: u32 = 4;

/// What this machine keeps outside the archive.
#[derive(Debug)]
pub struct Local {
    /// The index.
    pub index: Index,
    /// Feed positions and the like.
    pub progress: Progress,
    /// The head as last seen, where it is remembered.
    pub remembered: Option<RememberedHead>,
}

/// Everything a capture works with. One per archive and process.
#[derive(Debug)]
pub struct Capturer {
    clock: Arc<dyn Clock>,
    reader: graph::Reader,
    options: Options,
    appender: Appender,
    index: Index,
    progress: Progress,
    lines: LineReader,
}

impl Capturer {
    /// Opens the archive for writing and brings the index to its head. An index that is damaged or disagrees with the
    /// archive is thrown away and built again.
    ///
    /// # Errors
    /// [`CaptureError`].
    #[allow(clippy::too_many_arguments, reason = "everything a capture works with, each made by the caller")]
    pub async fn open(
        store: Arc<dyn Store>,
        signer: Signer,
        local: Local,
        reader: graph::Reader,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Capturer, CaptureError> {
        let Local { index, progress, remembered } = local;
        let appender = Appender::open(store.clone(), signer, remembered.as_ref()).await?;
        catch_up(&index, &store).await?;
        let lines = LineReader::new(store);
        Ok(Capturer { clock, reader, options, appender, index, progress, lines })
    }

    /// The head to remember outside the archive.
    pub fn remembered(&self) -> Option<RememberedHead> {
        self.appender.remembered()
    }

    /// The index, at the head after each capture.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The archive's lines.
    pub fn lines(&self) -> &LineReader {
        &self.lines
    }

    /// The writer of the log.
    pub fn appender(&self) -> &Appender {
        &self.appender
    }

    /// The writer of the log, for entries that aren't captures.
    pub fn appender_mut(&mut self) -> &mut Appender {
        &mut self.appender
    }

    /// Goes to the head of the log, which others may have moved, and brings the index there.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub async fn catch_up(&mut self) -> Result<(), CaptureError> {
        self.appender.catch_up().await?;
        Ok(catch_up(&self.index, self.lines.store()).await?)
    }

    /// Entries in the log, as far as it was followed.
    pub fn head(&self) -> u64 {
        self.appender.walker().next_seq()
    }

    /// The greatest slot that was filled or declared a gap.
    pub fn last_slot(&self) -> Option<Timestamp> {
        self.appender.walker().last().last_slot
    }

    /// The instant for which the last capture stands.
    ///
    /// # Errors
    /// The index's.
    pub fn last_capture(&self) -> Result<Option<Timestamp>, CaptureError> {
        Ok(self.index.view()?.last_capture()?.map(|capture| capture.time))
    }

    /// How far the service's clock is from ours, in milliseconds, positive where ours is behind; asks it for something
    /// small.
    ///
    /// # Errors
    /// [`CaptureError::Graph`] where it can't be reached.
    pub async fn skew_ms(&self, until: Timestamp) -> Result<i64, CaptureError> {
        let reader = self.reader.until(until).metered();
        match reader.get(&graph::Request::new("/v1.0/organization?$select=id")).await {
            // An answer is an answer: what it refuses is for the capture to find out.
            Ok(_) | Err(graph::Error::Forbidden { .. } | graph::Error::Unauthorized { .. }) => {
                Ok(reader.meter().skew_ms())
            }
            Err(error) => Err(CaptureError::Graph(error)),
        }
    }

    /// Commits that nobody captured in the slots from `first` to `last`, and why: a word of `docs/format.md`. Both must
    /// be later than every slot so far.
    ///
    /// # Errors
    /// [`CaptureError::SlotTaken`] where another writer has filled or declared one of them; [`CaptureError`].
    pub async fn declare_gap(&mut self, first: Timestamp, last: Timestamp, code: &str) -> Result<Body, CaptureError> {
        self.catch_up().await?;
        let last_slot = self.appender.walker().last().last_slot;
        if last_slot.is_some_and(|taken| taken >= first) || first > last {
            return Err(CaptureError::SlotTaken { slot: first });
        }
        let mut body = self.appender.draft("gap", self.clock.now())?;
        body.slots = Some(vec![format_millis(first), format_millis(last)]);
        (body.last_slot, body.code) = (Some(last), Some(code.to_owned()));
        match self.appender.commit(&body).await {
            Ok(_) => {}
            Err(AppendError::LostRace { .. }) => return Err(CaptureError::SlotTaken { slot: first }),
            Err(error) => return Err(error.into()),
        }
        self.catch_up().await?;
        Ok(body)
    }

    /// Replaces the client, when credentials change.
    pub fn set_reader(&mut self, reader: graph::Reader) {
        self.reader = reader;
    }

    /// Makes one capture.
    ///
    /// # Errors
    /// [`CaptureError`]: nothing was committed, except after a store's error of unknown outcome, which the next run
    /// settles.
    pub async fn capture(&mut self, request: &Request) -> Result<Committed, CaptureError> {
        for _ in 0..TRIES {
            self.appender.catch_up().await?;
            catch_up(&self.index, self.lines.store()).await?;
            let last_slot = self.appender.walker().last().last_slot;
            if let Some(slot) = request.slot
                && last_slot.is_some_and(|last| last >= slot)
            {
                return Err(CaptureError::SlotTaken { slot });
            }
            if let Some(slot) = request.unless_at
                && self.last_capture()?.is_some_and(|last| last >= slot)
            {
                return Err(CaptureError::SlotTaken { slot });
            }
            let span = tracing::info_span!("capture", slot = request.slot.map(tracing::field::display));
            match self.attempt(request).instrument(span).await {
                Err(CaptureError::Append(AppendError::LostRace { seq })) => {
                    tracing::info!(seq, "another writer was first; reading again");
                }
                other => return other,
            }
        }
        Err(CaptureError::Contended { tries: TRIES })
    }

    async fn attempt(&mut self, request: &Request) -> Result<Committed, CaptureError> {
        let t0 = self.clock.now();
        let deadline = t0.saturating_add(self.options.time_limit).unwrap_or(Timestamp::MAX);
        let deadline = request.until.map_or(deadline, |until| until.min(deadline));
        let reader = self.reader.until(deadline).metered();
        let view = self.index.view()?;
        let reading = async {
            reader.check_token().await.map_err(CaptureError::Graph)?;
            let gathering = gather::gather(&reader, &view, &self.progress, &self.options, request, t0);
            let mut gathered = gathering.instrument(tracing::info_span!("read")).await?;
            if let Some(error) = gathered.nothing_read() {
                return Err(CaptureError::Graph(error));
            }
            merge::check_tenant(&gathered, &view, &self.lines).await?;
            let merging = merge::merge(gathered, &view, &self.lines, &self.progress, &self.options, request);
            merging.instrument(tracing::info_span!("merge")).await
        };
        // Up to here nothing is written, so that it can be broken off anywhere; from here on it is seen through.
        let merged = tokio::select! {
            biased;
            () = request.stop.requested() => return Err(CaptureError::Stopped),
            merged = reading => merged?,
        };
        let times = commit::Times { t0, slot: request.slot, skew_ms: reader.meter().skew_ms() };
        let committing =
            commit::commit(&mut self.appender, &view, &self.lines, &self.progress, &*self.clock, merged, times);
        let committed = committing.instrument(tracing::info_span!("commit")).await?;
        drop(view);
        let (mut committed, update) = committed;
        let meter = reader.meter();
        committed.spent = Spent { requests: meter.requests(), units: meter.units(), throttled: meter.throttled() };
        alarm(&committed.body);
        // Committed. What fails from here on costs the next run some work and must not look like a failed capture.
        if let Err(error) = self.progress.write(committed.body.seq, &update) {
            committed.troubles.push(("local state".to_owned(), error.to_string()));
        }
        if let Err(error) = catch_up(&self.index, self.lines.store()).await {
            committed.troubles.push(("index".to_owned(), error.to_string()));
        } else if let Err(error) = sweep::lay_order(&self.progress, &self.index.view()?, &update.unordered) {
            committed.troubles.push(("local state".to_owned(), error.to_string()));
        }
        Ok(committed)
    }
}

/// Tells the log what somebody should look at: that the feeds lost something, or that so much is gone at once.
fn alarm(body: &Body) {
    for row in body.cover.iter().flatten() {
        if let Some(missed) = row.missed {
            tracing::warn!(seq = body.seq, row = row.subject(), missed, "the change feed had missed changes");
        }
        if row.code.as_deref() == Some(crate::collect::code::GATE) {
            tracing::warn!(seq = body.seq, row = row.subject(), "many objects are missing at once and held back");
        }
    }
    if body.skew_ms.is_some_and(|skew| skew.abs() > MAX_SKEW_MS) {
        tracing::warn!(seq = body.seq, skew_ms = body.skew_ms, "this machine's clock is off the service's");
    }
}

/// Brings the index to the head; one that can't get there is built again.
async fn catch_up(index: &Index, store: &Arc<dyn Store>) -> Result<(), IndexError> {
    match index.catch_up(store, |_, _| ()).await {
        Err(error @ (IndexError::Mismatch { .. } | IndexError::Damaged { .. } | IndexError::Key(_))) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index is built again");
            index.rebuild(store, |_, _| ()).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}
