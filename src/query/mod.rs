//! Questions to the archive: an object or the whole state as of a time, its history, what differs between two times.
//!
//! Must never know: Graph. History never asks the live tenant, and the clock is an argument.
//!
//! Rows of the index say where to look; what is shown is read from the packs and compared with the hash that the index
//! knows it by before it is used.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};

use crate::archive::entry::{Body, Entry, InvalidEntry, entry_name};
use crate::archive::line::{Content, InvalidLine, Line, Statement};
use crate::archive::log::leaf_hash;
use crate::archive::note::Verifier;
use crate::archive::reader::{LineReader, ReadError};
use crate::archive::walker::{WalkError, Walker};
use crate::canonical::Key;
use crate::diff::Links;
use crate::hash::Hash;
use crate::index::{self, CaptureRow, CaughtUp, Index, IndexError, PackFile, Version, VersionKind, View};
use crate::store::{Store, StoreError};

pub mod access;
mod ahead;
mod as_of;
mod attribution;
pub mod conditional_access;
mod coverage;
mod difference;
mod dump;
mod effect;
mod everybody;
mod history;
mod library;
mod memory;
mod names;
mod policy_effect;
pub mod power;
pub mod questions;
mod time;
mod timeline;

pub use as_of::{Answer, Link};
pub use attribution::{Actor, Attributed, Attribution, Matter, Turn};
use attribution::{has_failed, role_activity};
pub use coverage::{Basis, Certainty, Gap};
pub use difference::{Difference, Differences, Scope};
pub use effect::{AccountEffect, Effect, Effects, Turned};
pub use history::Revision;
pub use library::Library;
use memory::Memory;
pub use names::{Candidate, Found};
pub use policy_effect::{MOST_NAMED, PolicyCount, PolicyEffect, PolicyEffects};
pub use time::{EXPECTED, InvalidMoment, Moment};
pub use timeline::{Course, Hole, Mark, Subject, Timeline};

/// What keeps a question from being answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The index can't be used and couldn't be built again.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A pack can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error("the archive could not be read")]
    Store(#[from] StoreError),
    /// The time isn't one.
    #[error(transparent)]
    Moment(#[from] InvalidMoment),
    /// There is an archive and nothing was captured yet.
    #[error("the archive holds no capture yet")]
    NoCaptures,
    /// The time lies before the first capture.
    #[error("nothing is known of {asked}: the first capture is #{first} at {time}")]
    BeforeFirst {
        /// The time that was asked for.
        asked: Timestamp,
        /// The first capture.
        first: u64,
        /// Its time.
        time: Timestamp,
    },
    /// The content of that time was ended after its retention.
    #[error("capture #{seq} at {time} was committed, its content expired{}", kept(*oldest))]
    Expired {
        /// The capture whose state is asked for.
        seq: u64,
        /// Its time.
        time: Timestamp,
        /// The oldest capture that can be answered about, and its time.
        oldest: Option<(u64, Timestamp)>,
    },
    /// No capture has that number.
    #[error("there is no capture #{seq}{}", nearest(*before))]
    NoSuchCapture {
        /// The number.
        seq: u64,
        /// The nearest capture before it.
        before: Option<u64>,
    },
    /// A capture after the one up to which the archive is to be read.
    #[error("capture #{seq} was not known at #{known}")]
    NotYetKnown {
        /// The number.
        seq: u64,
        /// The last capture that counts.
        known: u64,
    },
    /// An entry that was followed before isn't what it was, or isn't signed by a key of this archive.
    #[error("entry {seq} was changed since it was indexed, or is missing")]
    Entry {
        /// The entry.
        seq: u64,
        /// What is wrong with its bytes, where something is.
        source: Option<InvalidEntry>,
    },
    /// The content isn't what the index knows it by.
    #[error("pack {pack}, capture #{seq}: the content of {key} hashes to {found}, expected {expected}")]
    Content {
        /// The pack.
        pack: String,
        /// The capture.
        seq: u64,
        /// The key.
        key: Key,
        /// The hash that the index knows.
        expected: Hash,
        /// What the line holds.
        found: Hash,
    },
    /// The bytes at the place that the index names are no line of that key.
    #[error("pack {pack}, capture #{seq}: expected the content of {key} and found something else")]
    Line {
        /// The pack.
        pack: String,
        /// The capture.
        seq: u64,
        /// The key.
        key: Key,
        /// What is wrong with the line, where it is none.
        source: Option<InvalidLine>,
    },
    /// Nothing is called that.
    #[error("nothing in the archive is called {name:?}")]
    NotFound {
        /// The name.
        name: String,
        /// What is called nearly that.
        near: Vec<Candidate>,
    },
    /// Several objects are called that.
    #[error("{name:?} names {} objects", candidates.len())]
    Ambiguous {
        /// The name.
        name: String,
        /// The objects.
        candidates: Vec<Candidate>,
    },
    /// The question isn't asked right.
    #[error(transparent)]
    Ask(#[from] questions::AskError),
    /// Whoever takes the answer failed; nothing is wrong with the archive.
    #[error("the answer could not be written")]
    Output(#[from] std::io::Error),
}

fn kept(oldest: Option<(u64, Timestamp)>) -> String {
    oldest.map_or(String::new(), |(seq, time)| format!("; the oldest that is kept is #{seq} at {time}"))
}

fn nearest(before: Option<u64>) -> String {
    before.map_or(String::new(), |before| format!("; the one before is #{before}"))
}

impl QueryError {
    /// Whether the archive isn't what was committed.
    pub fn is_integrity(&self) -> bool {
        let read = |error: &ReadError| match error {
            ReadError::Store { source, .. } => matches!(source, StoreError::NotFound { .. }),
            _ => true,
        };
        match self {
            QueryError::Entry { .. } | QueryError::Content { .. } | QueryError::Line { .. } => true,
            QueryError::Read(error) | QueryError::Index(IndexError::Read(error)) => read(error),
            QueryError::Index(IndexError::Mismatch { .. } | IndexError::Unknown { .. }) => true,
            QueryError::Index(IndexError::Walk(WalkError::Genesis(_))) => true,
            _ => false,
        }
    }
}

/// What opening has to tell a person although it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The index was damaged, of another layout or arrived at another state: it is built again.
    Rebuilding {
        /// Why.
        reason: String,
    },
    /// The index belonged to another log: it was built again.
    OtherLog,
    /// Captures at which the state is unknown, because entries or packs are lost.
    Unknown {
        /// Their numbers.
        captures: Vec<u64>,
    },
}

/// An instant to which an answer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant {
    /// The capture whose state is the last known then.
    pub capture: CaptureRow,
    /// The time that was asked for, where it was a time; never later than the clock.
    pub asked: Option<Timestamp>,
    /// The capture that follows in the log, as far as it is known.
    pub next: Option<CaptureRow>,
}

/// Captures further apart than this leave a gap: a slot is an hour, and clocks differ a little.
pub const EXPECTED_DISTANCE: SignedDuration = SignedDuration::from_mins(65);

/// Entry bodies that are kept after reading.
const KEPT_BODIES: usize = 1024;

/// An archive opened for questions: store, index and lines together, at one consistent point of the log.
#[derive(Debug)]
pub struct Archive {
    store: Arc<dyn Store>,
    lines: Arc<LineReader>,
    view: View,
    /// A view reads no longer than its database is open.
    index: Arc<index::Reader>,
    keys: Vec<Verifier>,
    horizon: Option<CaptureRow>,
    bodies: Bodies,
    memory: Arc<Memory>,
}

/// Entry bodies by number, as far as they are kept.
type Bodies = Arc<Mutex<HashMap<u64, Arc<Body>>>>;

impl Archive {
    /// Opens the index in `directory`. What is indexed up to the head of the log is read beside whoever writes; otherwise
    /// the index is brought to the head first, or built again where it can't be used: `notice` hears of that, `progress` of
    /// entries done and of the greatest there is.
    ///
    /// # Errors
    /// [`QueryError::Index`]: not at the head while another process writes it (then it soon will be), not writable, or the
    /// archive itself can't be followed.
    pub async fn open(
        store: Arc<dyn Store>,
        directory: &Path,
        mut notice: impl FnMut(Notice),
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Archive, QueryError> {
        if let Some(archive) = Archive::open_as_it_is(&store, directory).await? {
            return Ok(archive);
        }
        let opened = match open_index(&store, directory, &mut progress).await {
            Err(error) if is_disposable(&error) => {
                notice(Notice::Rebuilding { reason: error.to_string() });
                Index::destroy(directory)?;
                open_index(&store, directory, &mut progress).await
            }
            other => other,
        };
        let (index, caught_up) = opened?;
        if caught_up.restarted {
            notice(Notice::OtherLog);
        }
        if !caught_up.unknown.is_empty() {
            notice(Notice::Unknown { captures: caught_up.unknown });
        }
        let index = index.into_reader(directory)?;
        let view = index.view()?;
        let keys = match view.position()? {
            Some(position) => position.keys.iter().filter_map(|key| key.parse().ok()).collect(),
            None => Walker::start(&*store).await.map_err(IndexError::from)?.0.ring().keys().to_vec(),
        };
        Archive::of(store, index, view, keys)
    }

    /// The archive as it is indexed, if that is up to the head of the log.
    async fn open_as_it_is(store: &Arc<dyn Store>, directory: &Path) -> Result<Option<Archive>, QueryError> {
        // What is wrong with the index is found again, and told, by who opens it for writing.
        let Ok(Some(index)) = index::Reader::open(directory) else { return Ok(None) };
        let Ok(view) = index.view() else { return Ok(None) };
        let walker = match view.follow(&**store).await {
            Ok(Some(walker)) => walker,
            Ok(None) => return Ok(None),
            Err(error) if is_disposable(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Archive::of(store.clone(), index, view, walker.ring().keys().to_vec()).map(Some)
    }

    fn of(store: Arc<dyn Store>, index: index::Reader, view: View, keys: Vec<Verifier>) -> Result<Archive, QueryError> {
        let horizon = view.last_capture()?;
        let (lines, index) = (Arc::new(LineReader::new(store.clone())), Arc::new(index));
        let (bodies, memory) = (Bodies::default(), Arc::default());
        Ok(Archive { store, lines, view, index, keys, horizon, bodies, memory })
    }

    /// Answers from here on as the archive knew when entry `seq` was its head: nothing committed later is looked at.
    ///
    /// # Errors
    /// [`QueryError::NoSuchCapture`] where nothing was captured by then, or the log isn't that long.
    pub fn know_at(&mut self, seq: u64) -> Result<(), QueryError> {
        let head = self.view.last_capture()?.ok_or(QueryError::NoCaptures)?;
        if seq > head.seq {
            return Err(QueryError::NoSuchCapture { seq, before: Some(head.seq) });
        }
        let row = self.view.capture_before(seq + 1)?;
        self.horizon = Some(row.ok_or(QueryError::NoSuchCapture { seq, before: None })?);
        Ok(())
    }

    /// This archive once more, as it was known when entry `seq` was its head.
    ///
    /// # Errors
    /// As [`Archive::know_at`].
    pub fn again(&self, seq: u64) -> Result<Archive, QueryError> {
        let mut again = Archive {
            store: self.store.clone(),
            lines: self.lines.clone(),
            view: self.index.view()?,
            index: self.index.clone(),
            keys: self.keys.clone(),
            horizon: self.horizon,
            bodies: self.bodies.clone(),
            memory: self.memory.clone(),
        };
        again.know_at(seq)?;
        Ok(again)
    }

    /// The last capture that counts.
    ///
    /// # Errors
    /// [`QueryError::NoCaptures`].
    pub fn head(&self) -> Result<CaptureRow, QueryError> {
        self.horizon.ok_or(QueryError::NoCaptures)
    }

    /// The index's rows.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The instant as of which `moment` asks: of a day its end, and nothing later than `now`.
    ///
    /// # Errors
    /// [`QueryError::BeforeFirst`], [`QueryError::NoSuchCapture`], [`QueryError::NotYetKnown`].
    pub fn at(&self, moment: &Moment, now: Timestamp) -> Result<Instant, QueryError> {
        self.instant(moment, moment.last().map(|at| at.min(now)))
    }

    /// The instant at which a period that begins with `moment` begins: of a day its beginning.
    ///
    /// # Errors
    /// As [`Archive::at`].
    pub fn at_beginning(&self, moment: &Moment) -> Result<Instant, QueryError> {
        self.instant(moment, moment.first())
    }

    fn instant(&self, moment: &Moment, asked: Option<Timestamp>) -> Result<Instant, QueryError> {
        let head = self.head()?;
        let capture = match (moment, asked) {
            (Moment::Capture(seq), _) => self.capture(*seq, head.seq)?,
            (_, Some(asked)) => match self.view.capture_at(asked, Some(head.seq))? {
                Some(capture) => capture,
                None => {
                    let first = self.view.capture_after(0)?.ok_or(QueryError::NoCaptures)?;
                    return Err(QueryError::BeforeFirst { asked, first: first.seq, time: first.time });
                }
            },
            _ => head,
        };
        if capture.expired {
            let oldest = self.view.oldest_kept()?.map(|row| (row.seq, row.time));
            return Err(QueryError::Expired { seq: capture.seq, time: capture.time, oldest });
        }
        let next = self.view.capture_after(capture.seq)?.filter(|next| next.seq <= head.seq);
        Ok(Instant { capture, asked, next })
    }

    fn capture(&self, seq: u64, known: u64) -> Result<CaptureRow, QueryError> {
        if seq > known && self.view.capture(seq)?.is_some() {
            return Err(QueryError::NotYetKnown { seq, known });
        }
        match self.view.capture(seq)? {
            Some(capture) => Ok(capture),
            None => {
                let before = self.view.capture_before(seq)?.map(|row| row.seq.min(known));
                Err(QueryError::NoSuchCapture { seq, before })
            }
        }
    }

    /// The body of entry `seq`, its signature checked against the keys of the archive.
    ///
    /// # Errors
    /// [`QueryError::Entry`] where it isn't the entry that was indexed.
    pub async fn body(&self, seq: u64) -> Result<Arc<Body>, QueryError> {
        if let Some(body) = self.kept().get(&seq) {
            return Ok(body.clone());
        }
        let body = Arc::new(self.entry(seq).await?.body);
        let mut kept = self.kept();
        if kept.len() >= KEPT_BODIES {
            kept.clear();
        }
        kept.insert(seq, body.clone());
        Ok(body)
    }

    /// The hash of entry `seq` as a leaf of the log, and the root of the state after it.
    ///
    /// # Errors
    /// As [`Archive::body`].
    pub async fn entry_hashes(&self, seq: u64) -> Result<(Hash, Hash), QueryError> {
        let state = self.body(seq).await?.state.root;
        match self.store.get(&entry_name(seq)).await {
            Ok(file) => Ok((leaf_hash(&file), state)),
            Err(StoreError::NotFound { .. }) => Err(QueryError::Entry { seq, source: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// Entry `seq` as it was committed, its signature checked against the keys of the archive.
    ///
    /// # Errors
    /// [`QueryError::Entry`] where it isn't one.
    pub async fn entry(&self, seq: u64) -> Result<Entry, QueryError> {
        let file = match self.store.get(&entry_name(seq)).await {
            Ok(file) => file,
            Err(StoreError::NotFound { .. }) => return Err(QueryError::Entry { seq, source: None }),
            Err(error) => return Err(error.into()),
        };
        let entry = Entry::parse(&file).map_err(|source| QueryError::Entry { seq, source: Some(source) })?;
        if entry.body.seq != seq || !self.keys.iter().any(|key| entry.is_signed_by(key)) {
            return Err(QueryError::Entry { seq, source: None });
        }
        Ok(entry)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Body>>> {
        self.bodies.lock().expect("no code panics while it holds the bodies")
    }

    /// The content of a key as of capture `seq`, checked; `None` where it has none.
    async fn content_at(&self, key: &Key, id: u32, seq: u64) -> Result<Option<(Version, Content)>, QueryError> {
        match self.view.version_at(id, seq)? {
            Some(version) => Ok(self.content(key, &version).await?.map(|content| (version, content))),
            None => Ok(None),
        }
    }

    /// The content that a version row stands for, read and compared with its hash; `None` for a removal.
    async fn content(&self, key: &Key, version: &Version) -> Result<Option<Content>, QueryError> {
        if version.kind == VersionKind::Removed {
            return Ok(None);
        }
        let (content, _) = self.content_line(key, version).await?;
        Ok(Some(content))
    }

    /// The content of a version as JSON; `None` where it has none, or that isn't JSON.
    async fn json(&self, key: &Key, version: &Version) -> Result<Option<Arc<serde_json::Value>>, QueryError> {
        if matches!(version.kind, VersionKind::Removed | VersionKind::Hidden) {
            return Ok(None);
        }
        if let Some(known) = self.memory.content(&version.content) {
            // What is read from memory alone would never let anybody end it who no longer waits.
            tokio::task::consume_budget().await;
            return Ok(Some(known));
        }
        let Some(Content::Canonical(bytes) | Content::Raw(bytes)) = self.content(key, version).await? else {
            return Ok(None);
        };
        let Ok(value) = serde_json::from_slice(&bytes) else { return Ok(None) };
        let value: Arc<serde_json::Value> = Arc::new(value);
        self.memory.keep_content(version.content, value.clone(), bytes.len());
        Ok(Some(value))
    }

    /// The content of a version that is no removal, with the bytes of its line.
    async fn content_line(&self, key: &Key, version: &Version) -> Result<(Content, Vec<u8>), QueryError> {
        content_line(&self.view, &self.lines, key, version).await
    }

    /// The links that start at a key as of capture `seq`.
    fn links_at(&self, id: u32, seq: u64) -> Result<Links, QueryError> {
        let mut links = Links::new();
        for row in self.view.links_from_during(id, None, &(seq..=seq))?.into_iter().filter(|row| row.holds_at(seq)) {
            links.entry(row.relation).or_default().insert(self.view.key(row.target)?, row.properties);
        }
        Ok(links)
    }

    /// How a key is shown to a person as of capture `seq`, or by its last content before; `None` where nothing names it.
    ///
    /// # Errors
    /// The archive's, where the content can't be read.
    pub async fn label(&self, key: &Key, seq: u64) -> Result<Option<String>, QueryError> {
        let Some(id) = self.view.id(key)? else { return Ok(None) };
        let mut version = self.view.version_at(id, seq)?;
        if version.is_some_and(|version| version.kind == VersionKind::Removed) {
            let before = version.map_or(0, |version| version.seq).saturating_sub(1);
            version = self.view.version_at(id, before)?;
        }
        let content = match version {
            Some(version) => self.content(key, &version).await?,
            None => None,
        };
        Ok(content.as_ref().and_then(label_of))
    }
}

/// The content of a version that is no removal, with the bytes of its line: read, and compared with the hash that the
/// index knows it by.
async fn content_line(
    view: &View,
    lines: &LineReader,
    key: &Key,
    version: &Version,
) -> Result<(Content, Vec<u8>), QueryError> {
    // What is read from memory alone would never let anybody end it who no longer waits.
    tokio::task::consume_budget().await;
    let pack = view.pack(version.pack)?;
    let bytes = lines.line(&pack.name, pack.len, version.place).await?;
    Ok((checked(pack, key, version, &bytes)?, bytes))
}

/// The content in a line, compared with the hash that the index knows it by.
fn checked(pack: PackFile, key: &Key, version: &Version, bytes: &[u8]) -> Result<Content, QueryError> {
    let seq = version.seq;
    let wrong = |source| QueryError::Line { pack: pack.name.clone(), seq, key: key.clone(), source };
    let line = Line::read(bytes).map_err(|source| wrong(Some(source)))?;
    let content = match line.statement {
        Statement::Put(content) if line.key == *key => content,
        _ => return Err(wrong(None)),
    };
    let (expected, found) = (version.content, content.hash());
    if expected != found {
        return Err(QueryError::Content { pack: pack.name, seq, key: key.clone(), expected, found });
    }
    Ok(content)
}

/// The name by which content is shown.
pub fn label_of(content: &Content) -> Option<String> {
    let (Content::Canonical(bytes) | Content::Raw(bytes)) = content else { return None };
    let json = crate::canonical::parse(bytes).ok()?;
    crate::model::label(&json).map(str::to_owned)
}

/// Content as JSON text that can be compared: what is hidden shows by its hash.
fn comparable(content: &Content) -> Vec<u8> {
    match content {
        Content::Canonical(bytes) | Content::Raw(bytes) => bytes.clone(),
        Content::Hidden(hash) => format!("\"hidden {hash}\"").into_bytes(),
    }
}

async fn open_index(
    store: &Arc<dyn Store>,
    directory: &Path,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(Index, CaughtUp), IndexError> {
    let index = Index::open(directory)?;
    let caught_up = index.catch_up(store, progress).await?;
    Ok((index, caught_up))
}

/// Whether throwing the index away may help.
fn is_disposable(error: &IndexError) -> bool {
    matches!(error, IndexError::Damaged { .. } | IndexError::Mismatch { .. } | IndexError::Key(_))
}
