//! The survey: one walk along the whole log that keeps a leaf hash an entry, and what entries say about one another.
//!
//! Must never know: the bytes of packs.
//!
//! No body is kept: at ten years of hourly captures the bodies take gigabytes, and all that is needed of them later is
//! little. Who checks packs reads each entry once more ([`Survey::entry`]), and knows it by its leaf hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Options, Report, Severity, Stop, checkpoints, keys, tiles};
use crate::archive::entry::{Body, Entry, InvalidEntry, PackRef, entry_name, parse_time};
use crate::archive::log::{Frontier, leaf_hash};
use crate::archive::note::KeyId;
use crate::archive::walker::{Fault, KeyRing, Step, Verdict, WalkError, Walker, greatest_seq, read_entry};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// How a survey begins.
#[derive(Debug)]
pub enum Begun {
    /// With a genesis entry that holds.
    Log(Box<Survey>),
    /// The genesis entry is damaged or gone: the report says so, and there is nothing else that can be verified.
    NoGenesis(Report),
}

/// What the log comes to, as far as it was walked.
#[derive(Debug)]
pub struct Survey {
    walker: Walker,
    pub(super) genesis: Arc<Entry>,
    pub(super) leaves: Leaves,
    pub(super) runs: Vec<Run>,
    /// Numbers whose content is lost: after them the state is unknown until the next base.
    lost: BTreeSet<u64>,
    pub(super) voids: Vec<(u64, Fault)>,
    pub(super) acknowledgements: Vec<Acknowledgement>,
    /// Keys that entries name as theirs from the beginning.
    pub(super) founding_keys: BTreeSet<String>,
    pub(super) key_entries: Vec<KeyEntry>,
    /// Segments with an `expire` entry, and whether `expired` followed.
    expiry: BTreeMap<u64, bool>,
    /// Entries that open a segment.
    openings: Vec<u64>,
    /// Those of them before which nothing was: their base is their change.
    firsts: BTreeSet<u64>,
    /// The first and the last entry of each container.
    containers: BTreeMap<String, (u64, u64)>,
    /// Packs that an entry names outside of its own container, which no writer does.
    foreign: BTreeSet<String>,
    /// The last good entry, if nothing was lost since.
    last: Option<Arc<Body>>,
    /// The segment of the last good entry.
    last_segment: Option<u64>,
    report: Report,
}

/// The leaves of the log, some of which nothing tells.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    hashes: Vec<Hash>,
    unknown: BTreeSet<u64>,
}

impl Leaves {
    fn push(&mut self, leaf: Option<Hash>) {
        if leaf.is_none() {
            self.unknown.insert(self.len());
        }
        self.hashes.push(leaf.unwrap_or(Hash::ZERO));
    }

    pub fn len(&self) -> u64 {
        self.hashes.len() as u64
    }

    pub fn get(&self, seq: u64) -> Option<Hash> {
        let known = !self.unknown.contains(&seq);
        self.hashes.get(usize::try_from(seq).ok()?).copied().filter(|_| known)
    }

    /// Roots of greater and greater sizes.
    pub fn roots(&self) -> Roots<'_> {
        Roots { leaves: self, frontier: Some(Frontier::new()), size: 0 }
    }
}

/// Roots in the order of their sizes, so that none has to be kept.
pub(super) struct Roots<'a> {
    leaves: &'a Leaves,
    frontier: Option<Frontier>,
    size: u64,
}

impl Roots<'_> {
    /// The root over the first `size` leaves; `None` beyond the log, `Some(None)` where one of them is unknown. Sizes
    /// that come in order cost what lies between them.
    pub fn at(&mut self, size: u64) -> Option<Option<Hash>> {
        if size > self.leaves.len() {
            return None;
        }
        if size < self.size {
            *self = self.leaves.roots();
        }
        while self.size < size {
            let leaf = self.leaves.get(self.size);
            self.frontier = self.frontier.take().zip(leaf).map(|(mut frontier, leaf)| {
                frontier.push(leaf);
                frontier
            });
            self.size += 1;
        }
        Some(self.frontier.as_ref().map(Frontier::root))
    }
}

/// Good entries one after the other by the same key and of the same month.
#[derive(Debug)]
pub(super) struct Run {
    pub first: u64,
    pub last: u64,
    pub key: KeyId,
    pub by_recovery: bool,
    month: String,
}

/// An entry that changes the keys.
#[derive(Debug)]
pub(super) struct KeyEntry {
    pub seq: u64,
    pub key: KeyId,
    pub by_recovery: bool,
    pub add: Vec<String>,
    pub revoke: Vec<(KeyId, u64)>,
}

impl KeyEntry {
    pub fn of(entry: &Entry, ring: &KeyRing) -> KeyEntry {
        let body = &entry.body;
        let revoke = body.revoke.iter().flatten().filter_map(|row| Some((row.id.parse().ok()?, row.from)));
        KeyEntry {
            seq: body.seq,
            key: entry.key,
            by_recovery: entry.is_signed_by(ring.recovery()),
            add: body.add.clone().unwrap_or_default(),
            revoke: revoke.collect(),
        }
    }
}

/// An entry that says which leaves are void.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    pub seq: u64,
    pub key: KeyId,
    pub voids: Vec<u64>,
}

impl Survey {
    /// Reads the genesis entry.
    ///
    /// # Errors
    /// [`WalkError`] where there is no archive, it needs a newer reader, or the store fails.
    pub async fn begin(store: &dyn Store) -> Result<Begun, WalkError> {
        let (walker, genesis) = match Walker::start(store).await {
            Ok(started) => started,
            Err(error) => return no_genesis(store, error).await.map(Begun::NoGenesis),
        };
        let mut survey = Survey {
            walker,
            genesis: genesis.clone(),
            leaves: Leaves::default(),
            runs: Vec::new(),
            lost: BTreeSet::new(),
            voids: Vec::new(),
            acknowledgements: Vec::new(),
            founding_keys: BTreeSet::new(),
            key_entries: Vec::new(),
            expiry: BTreeMap::new(),
            openings: Vec::new(),
            firsts: BTreeSet::new(),
            containers: BTreeMap::new(),
            foreign: BTreeSet::new(),
            last: None,
            last_segment: None,
            report: Report::default(),
        };
        survey.report.checked.entries = 1;
        survey.leaves.push(Some(genesis.leaf));
        survey.gather(0, &genesis);
        Ok(Begun::Log(Box::new(survey)))
    }

    /// Walks on to the head. Whether it got there: otherwise `stop` said so, and the next call goes on.
    ///
    /// # Errors
    /// The store's, and [`WalkError::Newer`].
    pub async fn extend(&mut self, store: &dyn Store, stop: Stop<'_>) -> Result<bool, WalkError> {
        let end = greatest_seq(store).await?;
        while !stop() {
            match self.walker.step(store, end).await? {
                Some(step) => self.take(step),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// What is wrong with the log itself: places, signatures, voids, every checkpoint, every tile, and what `options`
    /// have to compare with. `None` where `stop` ended it.
    ///
    /// # Errors
    /// The store's.
    pub async fn check(
        &self,
        store: &dyn Store,
        options: &Options,
        stop: Stop<'_>,
    ) -> Result<Option<Report>, StoreError> {
        let mut report = Report::default();
        checkpoints::check_trust(&self.genesis, options, &mut report);
        report.checked.entries = self.report.checked.entries;
        report.findings.extend(self.report.findings.iter().cloned());
        let revoked = keys::revocations(&self.founding_keys, &self.key_entries);
        keys::report_revoked(self, &revoked, &mut report);
        keys::report_voids(self, &revoked, &mut report);
        if checkpoints::check(store, self, &revoked, stop, &mut report).await?.is_break() {
            return Ok(None);
        }
        checkpoints::check_against(self, &revoked, options, &mut report);
        if tiles::check(store, &self.leaves, stop, &mut report).await?.is_break() {
            return Ok(None);
        }
        Ok(Some(report))
    }

    /// Entries in the log.
    pub fn size(&self) -> u64 {
        self.leaves.len()
    }

    /// The root over the first `size` entries; `None` where it isn't known or there aren't so many.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.leaves.roots().at(size).flatten()
    }

    /// The genesis leaf: what tells this log from another.
    pub fn genesis_leaf(&self) -> Hash {
        self.genesis.leaf
    }

    pub(super) fn origin(&self) -> &str {
        self.walker.origin()
    }

    pub(super) fn ring(&self) -> &KeyRing {
        self.walker.ring()
    }

    pub(super) fn openings(&self) -> &[u64] {
        &self.openings
    }

    pub(super) fn containers(&self) -> &BTreeMap<String, (u64, u64)> {
        &self.containers
    }

    pub(super) fn is_foreign(&self, pack: &str) -> bool {
        self.foreign.contains(pack)
    }

    pub(super) fn is_lost(&self, seq: u64) -> bool {
        self.lost.contains(&seq)
    }

    /// Whether nothing was before the segment that `seq` opens.
    pub(super) fn is_first(&self, seq: u64) -> bool {
        self.firsts.contains(&seq)
    }

    /// `None` unless the segment of an entry is being expired; whether it is done.
    pub(super) fn expiry(&self, body: &Body) -> Option<bool> {
        self.expiry.get(&body.segment?).copied()
    }

    /// Whether the segment that `seq` opens is ended.
    pub(super) fn is_expired(&self, seq: u64) -> bool {
        self.expiry.get(&seq) == Some(&true)
    }

    /// Whether there is a good entry at `seq`.
    pub(super) fn is_good(&self, seq: u64) -> bool {
        self.run(seq).is_some()
    }

    /// How many good entries there are.
    pub(super) fn good_entries(&self) -> u64 {
        self.runs.iter().map(|run| run.last - run.first + 1).sum()
    }

    fn run(&self, seq: u64) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.first <= seq);
        self.runs.get(after.checked_sub(1)?).filter(|run| seq <= run.last)
    }

    /// A good entry, read once more; `None` where it isn't what the walk saw.
    pub(super) async fn entry(&self, store: &dyn Store, seq: u64) -> Result<Option<Entry>, StoreError> {
        let Some(file) = read_entry(store, seq).await? else { return Ok(None) };
        let same = self.leaves.get(seq) == Some(leaf_hash(&file));
        Ok(Entry::parse(&file).ok().filter(|_| same))
    }

    fn take(&mut self, step: Step) {
        self.report.checked.entries += 1;
        self.leaves.push(step.leaf);
        let seq = step.seq;
        let (code, message) = match step.verdict {
            Verdict::Good(entry) => {
                let last = self.last.take();
                let month = last.as_ref().and_then(|last| self.run(last.segment?)).map(|run| run.month.clone());
                check_place(last.as_deref(), month, &entry.body, &mut self.report);
                return self.gather(seq, &entry);
            }
            Verdict::Void(fault) => return self.voids.push((seq, fault)),
            Verdict::Changed { committed, fault } => {
                let reason = fault.map_or_else(|| "another entry stands in its place".to_owned(), |f| f.to_string());
                let message = format!(
                    "was changed after it was committed: {reason}; the chain says it hashed to {committed}; what it committed to is unknown until the next base"
                );
                ("entry-changed", message)
            }
            Verdict::Missing => {
                let message = "is missing, later entries exist; what it committed to is unknown until the next base";
                ("entry-missing", message.to_owned())
            }
            Verdict::Unverifiable(fault) => {
                let message =
                    format!("cannot be verified: {fault}, and an earlier entry that may have added it is lost");
                ("entry-unverifiable", message)
            }
        };
        self.lost.insert(seq);
        // After a lost entry nobody knows what the next one should inherit.
        self.last = None;
        self.report.finding(code, &entry_name(seq), seq, message);
    }

    /// Takes down what matters later of a good entry.
    fn gather(&mut self, seq: u64, entry: &Entry) {
        let body = &entry.body;
        self.gather_run(seq, entry);
        self.founding_keys.extend(body.keys.iter().flatten().cloned());
        match body.kind.as_str() {
            "key" => {
                self.key_entries.push(KeyEntry::of(entry, self.walker.ring()));
            }
            "void" => {
                let voids: Vec<u64> = body.voids.iter().flatten().copied().filter(|void| *void < seq).collect();
                if !voids.is_empty() {
                    self.acknowledgements.push(Acknowledgement { seq, key: entry.key, voids });
                }
            }
            kind @ ("expire" | "expired") => {
                if let Some(target) = body.target {
                    self.expiry.insert(target, kind == "expired");
                }
            }
            _ => {}
        }
        if body.opens_segment() {
            self.openings.push(seq);
            if self.last_segment.is_none() && self.lost.is_empty() {
                self.firsts.insert(seq);
            }
        }
        self.last_segment = body.segment;
        if let Some(container) = &body.container {
            self.containers.entry(container.clone()).or_insert((seq, seq)).1 = seq;
        }
        let own = body.container.as_ref().map(|container| format!("{container}/"));
        let is_foreign = |name: &str| own.as_ref().is_none_or(|own| !name.starts_with(own));
        self.foreign.extend(packs_of(body).filter(|pack| is_foreign(&pack.n)).map(|pack| pack.n.clone()));
        self.last = Some(Arc::new(body.clone()));
    }

    fn gather_run(&mut self, seq: u64, entry: &Entry) {
        let (key, month) = (entry.key, month_of(&entry.body));
        let by_recovery = entry.is_signed_by(self.walker.ring().recovery());
        match self.runs.last_mut() {
            Some(run)
                if run.last + 1 == seq && run.key == key && run.by_recovery == by_recovery && run.month == month =>
            {
                run.last = seq;
            }
            _ => self.runs.push(Run { first: seq, last: seq, key, by_recovery, month }),
        }
    }
}

/// Every pack that an entry commits to.
pub(super) fn packs_of(body: &Body) -> impl Iterator<Item = &PackRef> {
    let delta = body.delta.iter().flat_map(|delta| &delta.packs);
    let base = body.base.iter().flat_map(|base| &base.packs);
    delta.chain(base).chain(body.packs.iter().flatten())
}

/// A genesis entry that is damaged or gone is a finding, the only one there can be: nothing else can be verified.
async fn no_genesis(store: &dyn Store, error: WalkError) -> Result<Report, WalkError> {
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
    let mut report = Report::default();
    let message = format!("{error}; nothing else can be verified");
    report.add(Severity::Finding, "genesis", &entry_name(0), Some(0), message);
    Ok(report)
}

/// What an entry says of slots, segment and state against the good entry before, and the month of the one that opened the
/// segment.
fn check_place(previous: Option<&Body>, opened: Option<String>, body: &Body, report: &mut Report) {
    let Some(previous) = previous else { return };
    let name = entry_name(body.seq);
    let mut bad = |message: String| report.finding("entry-inconsistent", &name, body.seq, message);
    let filled = match body.kind.as_str() {
        "gap" => body.slots.as_ref().and_then(|slots| {
            let first = parse_time(slots.first()?)?;
            Some((first, parse_time(slots.get(1)?)?))
        }),
        "capture" => body.slot.map(|slot| (slot, slot)),
        _ => None,
    };
    match filled {
        Some((first, _)) if previous.last_slot.is_some_and(|last| first <= last) => {
            bad(format!("fills slot {first}, but {} was filled before", previous.last_slot.expect("just matched")));
        }
        Some((first, last)) if first > last || body.last_slot != Some(last) => {
            bad(format!("fills slots {first} to {last} and says otherwise in last_slot"));
        }
        None if body.last_slot != previous.last_slot => bad("fills no slot, but changes last_slot".to_owned()),
        _ => {}
    }
    if !body.is_capture() && body.state != previous.state {
        bad("is no capture, but changes the state".to_owned());
    }
    if !body.is_capture() && body.opens_segment() {
        bad("is no capture, but opens a segment".to_owned());
    }
    let opens = body.opens_segment();
    if opens != (body.segment == Some(body.seq)) {
        bad("has a base and names another segment than its own, or the other way round".to_owned());
    }
    if !opens && (body.segment != previous.segment || body.container != previous.container) {
        bad("changes the segment or container without opening one".to_owned());
    }
    if body.is_capture() {
        let month = month_of(body);
        let opened = opened.or_else(|| previous.container.clone());
        if opened.is_none_or(|opened| month > opened) && !opens {
            bad("should open a segment, being the first capture or of a later month, and has no base".to_owned());
        }
        // Earlier than due is no fault: a writer that doesn't know the state before begins anew. The container may be
        // an older one, where the month's own was not provided, and never goes back.
        if opens && !(previous.container.clone()..=Some(month.clone())).contains(&body.container) {
            bad(format!("opens a segment of {month} in a container that is none of its past ones"));
        }
    }
}

/// The month (UTC) that decides about segments.
fn month_of(body: &Body) -> String {
    crate::clock::format_millis(body.query_time())[..7].to_owned()
}
