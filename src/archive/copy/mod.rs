//! Copies an archive to another store, in the order in which it was committed, and keeps such a copy in step.
//!
//! Must never know: what kind of stores these are, or who asks.
//!
//! The packs of an entry come before the entry, entries in their order, checkpoint and tiles after the entry: a copy that
//! is cut off anywhere is an archive of fewer entries. Nothing is overwritten; other bytes at the destination are an error.
//!
//! What the source holds is checked on the way, and what isn't what was committed is left out and told. A damaged file
//! would take the name for good, where the destination is immutable, and the good one could never follow it, once it is
//! found elsewhere. The damaged one is still at the source, and the entry that commits to it is copied: the loss shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

use super::appender::RememberedHead;
use super::entry::{PackRef, checkpoint_name, entry_name};
use super::log::{TILE_WIDTH, bundle_name, leaf_hash, tile_name};
use super::pack::Place;
use super::register::{End, Register};
use super::walker::{Step, Verdict, WalkError, Walker};
use crate::hash::Hash;
use crate::store::{Store, StoreError, put_new};

mod compare;

pub use compare::{Comparison, Difference, Side, compare};

/// Entries whose packs are on their way at a time. A pack is in memory whole.
const WINDOW: usize = 4;

/// What keeps a copy from going on. What was copied stays, and the next call goes on after it.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source's log can't be followed.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The source can't be read.
    #[error("the archive could not be read while it was copied")]
    Source(#[source] StoreError),
    /// The destination can't be read or written.
    #[error("the copy could not be read or written")]
    Destination(#[source] StoreError),
    /// The destination holds something else under a name of this archive.
    #[error("{name} holds other bytes in the copy than in the archive: it is left as it is")]
    Differs {
        /// The name.
        name: String,
    },
    /// The destination holds more entries than the source.
    #[error("the copy holds entries up to {copy}, the archive only up to {archive}: is it the other way round?")]
    Ahead {
        /// The greatest entry of the source.
        archive: u64,
        /// The greatest entry of the destination.
        copy: u64,
    },
    /// The source isn't what was copied before.
    #[error("entry {seq} of the archive isn't the one that was copied")]
    Rewritten {
        /// The entry.
        seq: u64,
    },
}

impl CopyError {
    /// Whether source and destination can't both be what they should be.
    pub fn is_integrity(&self) -> bool {
        matches!(self, CopyError::Differs { .. } | CopyError::Rewritten { .. } | CopyError::Walk(WalkError::Genesis(_)))
    }
}

/// How far a copy has come. Kept between steps, it makes a step cost as much as what is new; lost, the next step looks
/// through everything once.
#[derive(Debug, Default)]
pub struct Position {
    walker: Option<Walker>,
    /// The last entry that was copied, which isn't the last one where that was left out.
    last: Option<(u64, Hash)>,
}

impl Position {
    /// Before everything: the next step looks at every name on both sides, and fills what is missing.
    pub fn new() -> Position {
        Position::default()
    }

    /// As [`Position::remembered`] gave it; before everything where that is damaged.
    pub fn resume(remembered: &RememberedHead) -> Position {
        let last = remembered.leaf.parse().ok().map(|leaf| (remembered.size.saturating_sub(1), leaf));
        Position { walker: remembered.walker().filter(|_| last.is_some()), last }
    }

    /// What to keep for the next process; none where a lost entry makes it necessary to look through everything.
    pub fn remembered(&self) -> Option<RememberedHead> {
        let head = RememberedHead::of(self.walker.as_ref()?)?;
        (self.last?.0 + 1 == head.size).then_some(head)
    }

    /// Entries of the archive that the copy has come past.
    pub fn size(&self) -> u64 {
        self.walker.as_ref().map_or(0, Walker::next_seq)
    }
}

/// Why a file was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It isn't there.
    Missing,
    /// It isn't what was committed.
    Damaged,
}

impl Reason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::Damaged => "damaged",
        }
    }
}

/// A file that the source should hold and doesn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// The entry that it belongs to.
    pub seq: u64,
    /// Why.
    pub reason: Reason,
}

/// What a step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Entries that were written.
    pub entries: u64,
    /// Packs that were written.
    pub packs: u64,
    /// Checkpoints, tiles and what witnesses gave that were written.
    pub derived: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Entries that the copy has come past.
    pub size: u64,
    /// Entries of the archive after that: nobody knows yet whether they are entries at all.
    pub lag: u64,
    /// What the source should hold and doesn't.
    pub left_out: Vec<LeftOut>,
}

/// Brings `to` in step with `from`. `progress` hears of entries done and of all there are.
///
/// A step that finds nothing new makes three requests; otherwise what is new costs about two for each file. At most
/// [`WINDOW`] packs are in memory.
///
/// # Errors
/// [`CopyError`]. `position` is what has been copied until then.
pub async fn step(
    from: &dyn Store,
    to: &dyn Store,
    position: &mut Position,
    mut progress: impl FnMut(u64, u64),
) -> Result<CopyReport, CopyError> {
    let whole = match is_in_place(from, to, position).await? {
        true => None,
        false => Some(Whole::look(from, to).await?),
    };
    let mut copy = Copy { from, to, whole, report: CopyReport::default(), voids: Vec::new() };
    if copy.whole.is_some() {
        *position = Position::new();
        let (walker, genesis) = Walker::start(from).await?;
        let file = genesis.file();
        copy.put_entry(0, &file).await?;
        copy.put_derived(1).await?;
        *position = Position { walker: Some(walker), last: Some((0, leaf_hash(&file))) };
    }
    let result = copy.run(position, &mut progress).await;
    let Copy { mut report, .. } = copy;
    report.size = position.size();
    result.map(|ahead| CopyReport { lag: ahead.saturating_sub(report.size), ..report })
}

/// Whether both sides still hold the last entry that was copied. A copy that lost it is looked through as a whole.
async fn is_in_place(from: &dyn Store, to: &dyn Store, position: &Position) -> Result<bool, CopyError> {
    let (Some(_), Some((seq, leaf))) = (&position.walker, position.last) else { return Ok(false) };
    let name = entry_name(seq);
    match from.get(&name).await {
        Ok(file) if leaf_hash(&file) == leaf => {}
        Ok(_) | Err(StoreError::NotFound { .. }) => return Err(CopyError::Rewritten { seq }),
        Err(error) => return Err(CopyError::Source(error)),
    }
    match to.get(&name).await {
        Ok(file) if leaf_hash(&file) == leaf => Ok(true),
        Ok(_) => Err(CopyError::Differs { name }),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(CopyError::Destination(error)),
    }
}

/// What a look at everything found.
struct Whole {
    register: Register,
    /// Names below `log` but not entries, at the source.
    derived: BTreeSet<String>,
    /// Names below `log` at the destination.
    present: BTreeSet<String>,
    /// The greatest entry.
    end: u64,
}

impl Whole {
    async fn look(from: &dyn Store, to: &dyn Store) -> Result<Whole, CopyError> {
        let register = Register::read(from, |_, _| ()).await?;
        let present: BTreeSet<String> =
            to.list("log/", "").await.map_err(CopyError::Destination)?.into_iter().map(|blob| blob.name).collect();
        let end = register.walker().next_seq() - 1;
        let numbers = present.iter().filter_map(|name| name.strip_prefix("log/e/")?.parse::<u64>().ok());
        match numbers.max() {
            Some(copy) if copy > end => return Err(CopyError::Ahead { archive: end, copy }),
            _ => {}
        }
        let listed = from.list("log/", "").await.map_err(CopyError::Source)?.into_iter().map(|blob| blob.name);
        let derived = listed.filter(|name| compare::is_derived(name)).collect();
        Ok(Whole { register, derived, present, end })
    }

    fn has_ended(&self, segment: Option<u64>, least: End) -> bool {
        let segment = segment.and_then(|segment| self.register.segment(segment));
        segment.is_some_and(|segment| segment.end == End::Done || segment.end == least)
    }
}

/// The packs of a segment that the destination holds, with their lengths.
type Packs = Arc<BTreeMap<String, u64>>;

/// An entry whose packs are in place.
struct Prepared {
    step: Step,
    /// The position after it.
    walker: Walker,
    packs: u64,
    bytes: u64,
    left_out: Vec<LeftOut>,
}

struct Copy<'a> {
    from: &'a dyn Store,
    to: &'a dyn Store,
    whole: Option<Whole>,
    report: CopyReport,
    /// Files that are no entries, until a later entry shows that they are part of the log.
    voids: Vec<Prepared>,
}

impl Copy<'_> {
    /// Goes to the head. Returns how many entries the archive has.
    async fn run(&mut self, position: &mut Position, progress: &mut impl FnMut(u64, u64)) -> Result<u64, CopyError> {
        let Some(mut walker) = position.walker.clone() else { return Ok(0) };
        let end = self.whole.as_ref().map(|whole| whole.end);
        let (from, to) = (self.from, self.to);
        let mut window = FuturesOrdered::new();
        let mut segment: Option<(u64, Packs)> = None;
        let mut is_done = false;
        loop {
            while !is_done && window.len() < WINDOW {
                let Some(step) = walker.step(from, end).await? else {
                    is_done = true;
                    break;
                };
                let present = self.present(&step, &mut segment).await?;
                let skip = match &step.verdict {
                    Verdict::Good(entry) => {
                        self.whole.as_ref().is_some_and(|whole| whole.has_ended(entry.body.segment, End::Done))
                    }
                    _ => true,
                };
                window.push_back(prepare(from, to, step, walker.clone(), present, skip));
            }
            let Some(prepared) = window.next().await else { break };
            self.take(prepared?, position).await?;
            progress(position.size(), end.map_or(position.size(), |end| end + 1));
        }
        Ok(walker.next_seq())
    }

    /// What the destination holds of the segment of `step`; nothing is known of it in a step that goes on.
    async fn present(&self, step: &Step, segment: &mut Option<(u64, Packs)>) -> Result<Option<Packs>, CopyError> {
        let (Some(_), Verdict::Good(entry)) = (&self.whole, &step.verdict) else { return Ok(None) };
        let (Some(number), Some(container)) = (entry.body.segment, &entry.body.container) else { return Ok(None) };
        if let Some((known, packs)) = segment
            && *known == number
        {
            return Ok(Some(packs.clone()));
        }
        let listed = self.to.list(&Place::segment_prefix(container, number), "").await;
        let listed = listed.map_err(CopyError::Destination)?.into_iter().map(|blob| (blob.name, blob.len));
        let packs: Packs = Arc::new(listed.collect());
        *segment = Some((number, packs.clone()));
        Ok(Some(packs))
    }

    /// Commits an entry to the copy, in its turn.
    async fn take(&mut self, prepared: Prepared, position: &mut Position) -> Result<(), CopyError> {
        match &prepared.step.verdict {
            Verdict::Void(_) => {
                self.voids.push(prepared);
                return Ok(());
            }
            Verdict::Good(_) => {
                for void in std::mem::take(&mut self.voids) {
                    let file = self.from.get(&entry_name(void.step.seq)).await.map_err(CopyError::Source)?;
                    self.finish(void, Some(file), position).await?;
                }
            }
            Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => {}
        }
        let file = match &prepared.step.verdict {
            Verdict::Good(entry) => Some(entry.file()),
            _ => None,
        };
        self.finish(prepared, file, position).await
    }

    async fn finish(
        &mut self,
        prepared: Prepared,
        file: Option<Vec<u8>>,
        position: &mut Position,
    ) -> Result<(), CopyError> {
        let seq = prepared.step.seq;
        match &file {
            Some(file) => {
                self.put_entry(seq, file).await?;
                position.last = Some((seq, leaf_hash(file)));
            }
            None => {
                let is_missing = matches!(prepared.step.verdict, Verdict::Missing);
                let reason = if is_missing { Reason::Missing } else { Reason::Damaged };
                self.report.left_out.push(LeftOut { name: entry_name(seq), seq, reason });
            }
        }
        self.report.packs += prepared.packs;
        self.report.bytes += prepared.bytes;
        let segment = match &prepared.step.verdict {
            Verdict::Good(entry) => entry.body.segment,
            _ => None,
        };
        // Packs of a segment that is being ended may be gone.
        if !self.whole.as_ref().is_some_and(|whole| whole.has_ended(segment, End::Begun)) {
            self.report.left_out.extend(prepared.left_out);
        }
        self.put_derived(seq + 1).await?;
        position.walker = Some(prepared.walker);
        Ok(())
    }

    /// The entry, by create; one that is there is compared.
    async fn put_entry(&mut self, seq: u64, file: &[u8]) -> Result<(), CopyError> {
        let name = entry_name(seq);
        if self.whole.as_ref().is_some_and(|whole| whole.present.contains(&name)) {
            let held = self.to.get(&name).await.map_err(CopyError::Destination)?;
            return if held == file { Ok(()) } else { Err(CopyError::Differs { name }) };
        }
        put(self.to, &name, file).await?;
        self.report.entries += 1;
        self.report.bytes += file.len() as u64;
        Ok(())
    }

    /// What belongs to a log of `size` entries: checkpoint, what witnesses gave, tiles that end here.
    async fn put_derived(&mut self, size: u64) -> Result<(), CopyError> {
        let witnesses = format!("log/w/{size:010}/");
        let mut names = vec![checkpoint_name(size)];
        match &self.whole {
            Some(whole) => {
                let after = whole.derived.range(witnesses.clone()..);
                names.extend(after.take_while(|name| name.starts_with(&witnesses)).cloned());
            }
            None => {
                let listed = self.from.list(&witnesses, "").await.map_err(CopyError::Source)?;
                names.extend(listed.into_iter().map(|blob| blob.name));
            }
        }
        let (mut level, mut count) = (0, size);
        while count > 0 && count.is_multiple_of(TILE_WIDTH) {
            count /= TILE_WIDTH;
            names.extend((level == 0).then(|| bundle_name(count - 1)));
            names.push(tile_name(level, count - 1));
            level += 1;
        }
        for name in names {
            if let Some(whole) = &self.whole
                && (!whole.derived.contains(&name) || whole.present.contains(&name))
            {
                continue;
            }
            let file = match self.from.get(&name).await {
                Ok(file) => file,
                // Derived: not there yet, or lost; the source's next writer may make it.
                Err(StoreError::NotFound { .. }) => continue,
                Err(error) => return Err(CopyError::Source(error)),
            };
            put(self.to, &name, &file).await?;
            self.report.derived += 1;
            self.report.bytes += file.len() as u64;
        }
        Ok(())
    }
}

/// Copies the packs of an entry. `skip`: there are none to copy.
async fn prepare(
    from: &dyn Store,
    to: &dyn Store,
    step: Step,
    walker: Walker,
    present: Option<Packs>,
    skip: bool,
) -> Result<Prepared, CopyError> {
    let mut prepared = Prepared { step, walker, packs: 0, bytes: 0, left_out: Vec::new() };
    let entry = match &prepared.step.verdict {
        Verdict::Good(entry) if !skip => entry.clone(),
        _ => return Ok(prepared),
    };
    for pack in entry.body.all_packs() {
        if present.as_ref().is_some_and(|present| present.get(&pack.n) == Some(&pack.len)) {
            continue;
        }
        match read(from, pack).await? {
            Ok(file) => {
                put(to, &pack.n, &file).await?;
                prepared.packs += 1;
                prepared.bytes += file.len() as u64;
            }
            Err(reason) => prepared.left_out.push(LeftOut { name: pack.n.clone(), seq: entry.body.seq, reason }),
        }
    }
    Ok(prepared)
}

/// A pack that is what the entry commits to.
async fn read(from: &dyn Store, pack: &PackRef) -> Result<Result<Vec<u8>, Reason>, CopyError> {
    match from.get(&pack.n).await {
        Ok(file) if file.len() as u64 == pack.len && Hash::of(&file) == pack.h => Ok(Ok(file)),
        Ok(_) => Ok(Err(Reason::Damaged)),
        Err(StoreError::NotFound { .. } | StoreError::BadName { .. }) => Ok(Err(Reason::Missing)),
        Err(error) => Err(CopyError::Source(error)),
    }
}

async fn put(to: &dyn Store, name: &str, bytes: &[u8]) -> Result<(), CopyError> {
    match put_new(to, name, bytes).await {
        Ok(()) => Ok(()),
        Err(StoreError::Exists { name }) => Err(CopyError::Differs { name }),
        Err(error) => Err(CopyError::Destination(error)),
    }
}
