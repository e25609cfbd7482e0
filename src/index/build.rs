//! Feeding the index from the archive, capture by capture.
//!
//! Must never know: questions.

use std::sync::Arc;

use redb::ReadableTable;

use super::base::{load_base, resync};
use super::ends::Ends;
use super::rows::{Signed, Tables};
use super::tables::*;
use super::{Index, IndexError};
use crate::archive::appender::RememberedHead;
use crate::archive::entry::{Body, Entry, PackRef, entry_name};
use crate::archive::line::{Line, Statement};
use crate::archive::log::leaf_hash;
use crate::archive::reader::{Place, ReadError, read_lines, read_pack};
use crate::archive::walker::{Verdict, Walker, greatest_seq};
use crate::store::{Store, StoreError};

/// Captures folded in one transaction at most.
const BATCH: usize = 64;
/// Keys whose hashes may wait for later transactions.
const MOST_UNSETTLED: usize = 500_000;
/// Lines folded in one transaction, about.
const BATCH_LINES: usize = 200_000;
/// How often one catching up begins again for segments that end meanwhile. The next one sees to what is left.
const ROUNDS: usize = 3;

/// What catching up came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Captures that were new.
    pub captures: u64,
    /// Captures whose packs could not be read, or that lie after such a one and before the next base: nothing is known
    /// of the state then.
    pub unknown: Vec<u64>,
    /// Segments whose end was found while catching up: what was kept of them here is gone, and everything was read again
    /// from what remains.
    pub ended: Vec<u64>,
    /// The log is another than the one that was indexed: everything was thrown away and read again.
    pub restarted: bool,
}

impl Index {
    /// Makes an empty database an index of this layout, and refuses one of another.
    pub(super) fn check_layout(&self) -> Result<(), IndexError> {
        // Most openings are to ask: they shouldn't pay for a commit.
        if self.has_layout()? {
            return Ok(());
        }
        let txn = self.database.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            let found = meta.get("layout")?.map(|bytes| bytes.value().to_vec());
            match found {
                Some(bytes) if bytes == layout() => {}
                Some(_) => return Err(damaged("another layout")),
                None => {
                    meta.insert("layout", layout().as_slice())?;
                    drop(meta);
                    Tables::open(&txn)?;
                }
            }
        }
        txn.commit()?;
        Ok(())
    }

    fn has_layout(&self) -> Result<bool, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        match txn.open_table(META) {
            Ok(meta) => Ok(meta.get("layout")?.is_some_and(|found| found.value() == layout())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Folds everything that the log holds beyond what is indexed. `progress` hears of entries done and of the
    /// greatest there is.
    ///
    /// # Errors
    /// [`IndexError::Mismatch`] and [`IndexError::Damaged`] mean that the index is to be thrown away and built again.
    pub async fn catch_up(
        &self,
        store: &Arc<dyn Store>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<CaughtUp, IndexError> {
        let mut outcome = self.follow(store, &mut progress).await?;
        // Rows lead into packs that are gone once a segment has ended; what remains is found again from the oldest base
        // that is left. Ends are rare, and so the index is as good as one that is built today.
        for _ in 0..ROUNDS {
            let ends = self.view()?.ends()?;
            let ended = ends.settled(&**store).await?;
            if ended == ends.ended {
                return Ok(outcome);
            }
            let new = ended.difference(&ends.ended).copied().collect();
            self.clear(&Ends { ended, ..Ends::default() })?;
            let again = self.follow(store, &mut progress).await?;
            outcome = CaughtUp { ended: new, restarted: outcome.restarted, ..again };
        }
        Ok(outcome)
    }

    async fn follow(
        &self,
        store: &Arc<dyn Store>,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<CaughtUp, IndexError> {
        let mut outcome = CaughtUp::default();
        let saved = self.position()?;
        let (mut walker, end) = match saved {
            Some(saved) if is_same_log(&**store, &saved).await? => {
                (saved.walker().ok_or_else(|| damaged("a damaged position"))?, None)
            }
            saved => {
                outcome.restarted = saved.is_some() || self.view()?.last_capture()?.is_some();
                if outcome.restarted {
                    self.clear(&Ends::default())?;
                }
                let (walker, _) = Walker::start(&**store).await?;
                (walker, greatest_seq(&**store).await?)
            }
        };
        let mut unknown = self.is_unknown()?;
        loop {
            let more = self.fold_batch(&**store, &mut walker, end, &mut unknown, &mut outcome).await?;
            progress(walker.next_seq(), end.unwrap_or(walker.next_seq()));
            if !more {
                return Ok(outcome);
            }
        }
    }

    /// Throws everything away and reads the archive from its genesis entry: for an index that arrived at another state
    /// than was signed, or that can't be read.
    ///
    /// # Errors
    /// As [`Index::catch_up`].
    pub async fn rebuild(
        &self,
        store: &Arc<dyn Store>,
        progress: impl FnMut(u64, u64),
    ) -> Result<CaughtUp, IndexError> {
        self.clear(&Ends::default())?;
        let outcome = self.catch_up(store, progress).await?;
        Ok(CaughtUp { restarted: true, ..outcome })
    }

    fn position(&self) -> Result<Option<RememberedHead>, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        let meta = txn.open_table(META)?;
        read_position(meta.get("position")?)
    }

    /// Whether a catching up broke off before its end.
    fn is_unsettled(&self) -> Result<bool, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        let meta = txn.open_table(META)?;
        Ok(meta.get(UNSETTLED)?.is_some())
    }

    fn is_unknown(&self) -> Result<bool, IndexError> {
        let txn = redb::ReadableDatabase::begin_read(&self.database)?;
        let meta = txn.open_table(META)?;
        Ok(meta.get("unknown")?.is_some_and(|bytes| bytes.value() == [1]))
    }

    /// Empties the index. `ends` is what the next walk knows from the start.
    fn clear(&self, ends: &Ends) -> Result<(), IndexError> {
        let txn = self.database.begin_write()?;
        let generation = generation(&txn.open_table(META)?)?.wrapping_add(1);
        for name in txn.list_tables()?.collect::<Vec<_>>() {
            txn.delete_table(name)?;
        }
        {
            let mut meta = txn.open_table(META)?;
            meta.insert("layout", layout().as_slice())?;
            meta.insert(GENERATION, generation.to_be_bytes().as_slice())?;
            meta.insert(ENDS, ends.to_bytes().as_slice())?;
        }
        Tables::open(&txn)?;
        txn.commit()?;
        Ok(())
    }

    /// Folds some steps in one transaction. `false` at the head.
    async fn fold_batch(
        &self,
        store: &dyn Store,
        walker: &mut Walker,
        end: Option<u64>,
        unknown: &mut bool,
        outcome: &mut CaughtUp,
    ) -> Result<bool, IndexError> {
        let mut pending = Vec::new();
        let mut lines = 0;
        let mut more = true;
        let mut fresh = self.view()?.last_known_capture()?.is_none();
        let mut ends = self.view()?.ends()?;
        let mut said = Vec::new();
        let start = walker.next_seq();
        while pending.len() < BATCH && lines < BATCH_LINES {
            let Some(step) = walker.step(store, end).await? else {
                more = false;
                break;
            };
            let entry = match step.verdict {
                Verdict::Good(entry) if entry.body.is_capture() => entry,
                Verdict::Good(entry) => {
                    if matches!(entry.body.kind.as_str(), "expire" | "expired") {
                        said.push(entry);
                    }
                    continue;
                }
                Verdict::Void(_) => continue,
                Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => {
                    *unknown = true;
                    outcome.unknown.push(step.seq);
                    continue;
                }
            };
            let work = match ends.has(&entry.body) {
                true => {
                    *unknown = true;
                    Work { lines: Vec::new(), base: None, unknown: true, expired: true }
                }
                false => read_capture(store, &entry, fresh, unknown).await?,
            };
            fresh = fresh && work.unknown;
            lines += work.lines.len();
            // A base is folded in a transaction of its own, after what came before.
            let alone = work.base.is_some();
            pending.push((entry, work));
            if alone {
                break;
            }
        }
        // An empty walk still saves its position after the genesis entry.
        let unsaved = !pending.is_empty() || walker.next_seq() != start || self.position()?.is_none();
        if unsaved || (!more && self.is_unsettled()?) {
            for entry in &said {
                ends.learn(store, &entry.body).await?;
            }
            let batch = Batch { pending, is_last: !more };
            self.write_batch(store, walker, batch, &mut ends, unknown, outcome).await?;
        }
        Ok(more)
    }

    async fn write_batch(
        &self,
        store: &dyn Store,
        walker: &Walker,
        batch: Batch,
        ends: &mut Ends,
        unknown: &mut bool,
        outcome: &mut CaughtUp,
    ) -> Result<(), IndexError> {
        let txn = self.database.begin_write()?;
        {
            let mut tables = Tables::open(&txn)?;
            let mut last = tables.take_unsettled()?;
            for (entry, work) in batch.pending {
                outcome.captures += 1;
                tables.add_capture(&entry.body, work.unknown, work.expired)?;
                if work.unknown {
                    if !work.expired {
                        outcome.unknown.push(entry.body.seq);
                    }
                    // What was folded before is known; the trie must hold it, or the next base would be compared with
                    // leaves of keys that went meanwhile.
                    if let Some(known) = last.take() {
                        tables.settle(&known)?;
                    }
                    continue;
                }
                for (line, place, pack) in work.lines {
                    let pack = tables.pack(&pack)?;
                    tables.apply(&line, place, pack, entry.body.seq as u32)?;
                }
                match work.base {
                    Some(base) if base.bulk => load_base(store, &mut tables, &entry.body, &base.packs).await?,
                    Some(base) => resync(store, &mut tables, &entry.body, &base.packs).await?,
                    None => {}
                }
                last = Some(Signed::of(&entry.body));
            }
            match last {
                Some(signed) if batch.is_last || tables.touched.len() > MOST_UNSETTLED => tables.settle(&signed)?,
                Some(signed) => tables.leave_unsettled(&signed)?,
                None => {}
            }
            // Where nothing could be read of a segment that the log says has ended, nothing has to be read again either.
            for segment in ends.done.difference(&ends.ended.clone()) {
                if let Some(captures) = tables.expire(*segment)? {
                    outcome.unknown.retain(|seq| !captures.contains(seq));
                    ends.ended.insert(*segment);
                }
            }
            tables.meta.insert(ENDS, ends.to_bytes().as_slice())?;
            let position = RememberedHead::of(walker).map(|head| serde_json::to_vec(&head).expect("plain data"));
            tables.meta.insert("position", position.unwrap_or_default().as_slice())?;
            tables.meta.insert("unknown", [u8::from(*unknown)].as_slice())?;
        }
        txn.commit()?;
        Ok(())
    }
}

/// How often the index was emptied.
pub(super) fn generation(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<u64, IndexError> {
    let Some(bytes) = meta.get(GENERATION)? else { return Ok(0) };
    bytes.value().try_into().map(u64::from_be_bytes).map_err(|_| damaged("a damaged generation"))
}

/// The saved position; none where a leaf of the log is unknown, so that a walk must begin at the genesis entry.
pub(super) fn read_position(
    saved: Option<redb::AccessGuard<'_, &'static [u8]>>,
) -> Result<Option<RememberedHead>, IndexError> {
    match saved.as_ref().map(|bytes| bytes.value()) {
        None | Some([]) => Ok(None),
        Some(bytes) => serde_json::from_slice(bytes).map(Some).map_err(|_| damaged("a damaged position")),
    }
}

pub(super) fn damaged(what: &str) -> IndexError {
    IndexError::Damaged { source: Box::new(redb::Error::Corrupted(format!("the index has {what}"))) }
}

pub(super) async fn is_same_log(store: &dyn Store, saved: &RememberedHead) -> Result<bool, StoreError> {
    match store.get(&entry_name(saved.size.saturating_sub(1))).await {
        Ok(file) => Ok(leaf_hash(&file).to_string() == saved.leaf),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What one transaction folds.
struct Batch {
    pending: Vec<(Arc<Entry>, Work)>,
    /// Nothing comes after it for now.
    is_last: bool,
}

/// What one capture brings.
struct Work {
    lines: Vec<(Line, Place, PackRef)>,
    base: Option<BaseWork>,
    unknown: bool,
    /// The content was ended after its retention.
    expired: bool,
}

struct BaseWork {
    packs: Vec<PackRef>,
    /// Nothing is indexed yet: rows are made in key order. Otherwise the state is unknown, and what differs is taken
    /// over.
    bulk: bool,
}

/// Reads the changes of a capture. A pack that can't be read makes the state unknown, and no error: what the other
/// packs say must stay answerable.
async fn read_capture(store: &dyn Store, entry: &Entry, fresh: bool, unknown: &mut bool) -> Result<Work, IndexError> {
    let body = &entry.body;
    let base = |bulk| body.base.as_ref().map(|base| BaseWork { packs: base.packs.clone(), bulk });
    if !fresh && !*unknown {
        let (mut lines, mut readable) = (Vec::new(), true);
        for pack in body.delta.iter().flat_map(|delta| &delta.packs) {
            let read = read_lines(store, pack, |line, place| lines.push((line, place, pack.clone()))).await;
            readable = readable && is_readable(read)?;
        }
        if readable {
            return Ok(Work { lines, base: None, unknown: false, expired: false });
        }
    }
    let base = base(fresh);
    *unknown = base.is_none();
    for pack in base.iter().flat_map(|base| &base.packs) {
        *unknown = *unknown || !is_readable(read_pack(store, pack, |_, _| ()).await)?;
    }
    if *unknown {
        return Ok(Work { lines: Vec::new(), base: None, unknown: true, expired: false });
    }
    Ok(Work { lines: read_events(store, body).await?, base, unknown: false, expired: false })
}

/// The events of a capture whose state comes from its base.
async fn read_events(store: &dyn Store, body: &Body) -> Result<Vec<(Line, Place, PackRef)>, IndexError> {
    let mut lines = Vec::new();
    for pack in body.delta.iter().flat_map(|delta| &delta.packs) {
        let read = read_lines(store, pack, |line, place| {
            if matches!(line.statement, Statement::Event(_)) {
                lines.push((line, place, pack.clone()));
            }
        });
        is_readable(read.await)?;
    }
    Ok(lines)
}

fn is_readable(read: Result<(), ReadError>) -> Result<bool, IndexError> {
    match read {
        Ok(()) => Ok(true),
        Err(ReadError::Store { source, .. }) if !matches!(source, StoreError::NotFound { .. }) => Err(source.into()),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a pack cannot be read; the state is unknown until the next base"
            );
            Ok(false)
        }
    }
}
