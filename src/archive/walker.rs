//! The walk along the log: which files under `log/e` are entries of this log, which are void, changed or missing.
//!
//! Must never know: packs, coverage and everything else inside an entry that the chain doesn't need.
//!
//! Appending, indexing and verifying all go through here, so that they can't disagree about what was committed.

use std::sync::Arc;

use super::entry::{Body, Entry, InvalidEntry, MAX_LEN, Newer, checkpoint_name, entry_name};
use super::log::{Frontier, leaf_hash};
use super::note::{KeyId, SignedCheckpoint, Verifier};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// Why a file under `log/e` isn't an entry that the chain accepts.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum Fault {
    /// The file itself is bad.
    #[error("{0}")]
    Invalid(Arc<InvalidEntry>),
    /// It says another number than its name.
    #[error("says seq {0}")]
    Sequence(u64),
    /// It says another log.
    #[error("belongs to log {0:?}")]
    Origin(String),
    /// It doesn't follow the entry before.
    #[error("prev is {found}, the entry before hashes to {expected}")]
    Previous {
        /// The leaf hash of the entry before.
        expected: Hash,
        /// What the entry says.
        found: Hash,
    },
    /// No key known so far made its signature.
    #[error("no key known so far made its signature (key id {0})")]
    Signature(KeyId),
}

/// The keys that may sign, as the chain tells so far.
#[derive(Debug, Clone)]
pub struct KeyRing {
    keys: Vec<Verifier>,
    recovery: Verifier,
}

impl KeyRing {
    /// Keys saved from an earlier walk.
    pub fn new(keys: Vec<Verifier>, recovery: Verifier) -> Self {
        KeyRing { keys, recovery }
    }

    /// Every key that was ever added, the recovery key apart.
    pub fn keys(&self) -> &[Verifier] {
        &self.keys
    }

    /// The recovery key, which signs `key` entries only.
    pub fn recovery(&self) -> &Verifier {
        &self.recovery
    }

    /// The key that made an entry's signature. The id is a hint of four bytes; the signature decides.
    pub fn signer_of(&self, entry: &Entry) -> Option<&Verifier> {
        let ordinary = self.keys.iter().find(|key| entry.is_signed_by(key));
        ordinary.or_else(|| (entry.body.kind == "key" && entry.is_signed_by(&self.recovery)).then_some(&self.recovery))
    }

    /// The ordinary keys that signed the checkpoint; none where a signature in a known key's name is false.
    pub fn signers_of_checkpoint(&self, checkpoint: &SignedCheckpoint) -> Vec<&Verifier> {
        match self.keys.iter().any(|key| checkpoint.is_forged_for(key)) {
            true => Vec::new(),
            false => self.keys.iter().filter(|key| checkpoint.is_signed_by(key)).collect(),
        }
    }

    /// Whether any ordinary key signed the checkpoint; returns its id.
    pub fn signer_of_checkpoint(&self, checkpoint: &SignedCheckpoint) -> Option<KeyId> {
        self.signers_of_checkpoint(checkpoint).first().map(|key| key.id())
    }

    fn learn(&mut self, body: &Body) {
        for text in body.add.iter().flatten() {
            if let Ok(verifier) = text.parse::<Verifier>()
                && !self.keys.contains(&verifier)
            {
                self.keys.push(verifier);
            }
        }
    }
}

/// What the chain makes of one number.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// An entry of this log.
    Good(Arc<Entry>),
    /// Junk that the next entry (or a checkpoint) pins: it changes nothing.
    Void(Fault),
    /// The file isn't what was committed: the next entry names another leaf.
    Changed {
        /// What the chain says the file hashed to.
        committed: Hash,
        /// What is wrong with the file itself, if anything.
        fault: Option<Fault>,
    },
    /// There is no file, though later ones exist.
    Missing,
    /// A file by an unknown key, after an entry that could have introduced that key was lost.
    Unverifiable(Fault),
}

/// One step of the walk.
#[derive(Debug, Clone)]
pub struct Step {
    /// The number.
    pub seq: u64,
    /// What was found.
    pub verdict: Verdict,
    /// The leaf that the log holds at this number; `None` where nothing tells.
    pub leaf: Option<Hash>,
}

/// What the walk could not get past.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// There is no genesis entry: nothing was initialised here, or this isn't the archive.
    #[error("no archive here: log/e/0000000000 does not exist")]
    NoArchive,
    /// Entry 0 can't be trusted, and with it nothing that follows.
    #[error("the genesis entry is damaged: {0}")]
    Genesis(Fault),
    /// A signed entry asks for a reader that knows more. Nothing may be said about this archive or added to it.
    #[error("entry {seq}: {reason}")]
    Newer {
        /// The entry.
        seq: u64,
        /// What this build doesn't know.
        reason: InvalidEntry,
    },
    /// The store failed.
    #[error("the archive could not be read")]
    Store(#[from] StoreError),
}

/// A position in the log: everything up to it was judged.
#[derive(Debug, Clone)]
pub struct Walker {
    origin: String,
    ring: KeyRing,
    frontier: Option<Frontier>,
    last_leaf: Option<Hash>,
    last: Arc<Body>,
    next: u64,
    damaged: bool,
    ahead: Option<(u64, Option<Vec<u8>>)>,
}

impl Walker {
    /// Starts at the genesis entry and accepts it if one of the keys in it signed it. Whether those keys are the right
    /// ones is for the caller to know: by [`Walker::genesis_leaf`] or by a verifier key.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn start(store: &dyn Store) -> Result<(Walker, Arc<Entry>), WalkError> {
        let file = read_entry(store, 0).await?.ok_or(WalkError::NoArchive)?;
        let entry = Entry::parse(&file).map_err(|e| WalkError::Genesis(Fault::Invalid(Arc::new(e))))?;
        let body = &entry.body;
        let keys: Vec<Verifier> = body.keys.iter().flatten().filter_map(|key| key.parse().ok()).collect();
        let recovery = body.recovery.as_deref().and_then(|key| key.parse().ok());
        let (Some(recovery), "genesis", 0) = (recovery, body.kind.as_str(), body.seq) else {
            return Err(WalkError::Genesis(Fault::Invalid(Arc::new(InvalidEntry::Members))));
        };
        if !keys.iter().any(|key| entry.is_signed_by(key)) {
            return Err(WalkError::Genesis(Fault::Signature(entry.key)));
        }
        let mut frontier = Frontier::new();
        frontier.push(entry.leaf);
        let walker = Walker {
            origin: body.origin.clone(),
            ring: KeyRing::new(keys, recovery),
            frontier: Some(frontier),
            last_leaf: Some(entry.leaf),
            last: Arc::new(body.clone()),
            next: 1,
            damaged: false,
            ahead: None,
        };
        Ok((walker, Arc::new(entry)))
    }

    /// Goes on where an earlier walk ended. Nothing here is trusted further than the caller trusts what it saved: the
    /// root of `frontier` must equal a checkpoint that was verified.
    pub fn resume(ring: KeyRing, frontier: Frontier, last_leaf: Hash, last: Body) -> Walker {
        Walker {
            origin: last.origin.clone(),
            ring,
            next: frontier.size(),
            frontier: Some(frontier),
            last_leaf: Some(last_leaf),
            last: Arc::new(last),
            damaged: false,
            ahead: None,
        }
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The keys known so far.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The leaves so far; `None` after a number whose leaf nothing tells.
    pub fn frontier(&self) -> Option<&Frontier> {
        self.frontier.as_ref()
    }

    /// The leaf before [`Walker::next_seq`].
    pub fn last_leaf(&self) -> Option<Hash> {
        self.last_leaf
    }

    /// The body of the last good entry: what a new one inherits from.
    pub fn last(&self) -> &Arc<Body> {
        &self.last
    }

    /// The number that comes next.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// Judges the next number. `end` is the greatest number that a listing showed; without it the first missing file
    /// ends the walk. `Ok(None)`: nothing there, and nothing after.
    ///
    /// # Errors
    /// The store's, and [`WalkError::Newer`].
    pub async fn step(&mut self, store: &dyn Store, end: Option<u64>) -> Result<Option<Step>, WalkError> {
        let seq = self.next;
        let file = self.file(store, seq).await?;
        let last = end.map_or(file.is_none(), |end| seq > end);
        if last && file.is_none() {
            return Ok(None);
        }
        if let Some(newer) = file.as_deref().and_then(Newer::parse).filter(|newer| self.accepts_newer(newer)) {
            return Err(WalkError::Newer { seq, reason: newer.reason });
        }
        let judged = file.as_deref().map(|file| (leaf_hash(file), self.judge(file, seq, self.last_leaf)));
        // What the next entry says about this one. It is believed for its signature, whatever its place.
        let next_file = self.file(store, seq + 1).await?;
        let said = next_file.as_deref().and_then(|file| self.previous_named_by(file, seq + 1, judged.as_ref()));
        let step = match judged {
            None => Step { seq, verdict: Verdict::Missing, leaf: said },
            Some((leaf, Ok(entry))) => match said {
                Some(committed) if committed != leaf && self.is_confirmed(store, committed).await? => {
                    Step { seq, verdict: Verdict::Changed { committed, fault: None }, leaf: Some(committed) }
                }
                _ => Step { seq, verdict: Verdict::Good(entry), leaf: Some(leaf) },
            },
            Some((leaf, Err(fault))) => match said {
                Some(committed) if committed != leaf => {
                    Step { seq, verdict: Verdict::Changed { committed, fault: Some(fault) }, leaf: Some(committed) }
                }
                _ if self.damaged && matches!(fault, Fault::Signature(_)) => {
                    Step { seq, verdict: Verdict::Unverifiable(fault), leaf: Some(leaf) }
                }
                _ => Step { seq, verdict: Verdict::Void(fault), leaf: Some(leaf) },
            },
        };
        self.advance(&step);
        Ok(Some(step))
    }

    fn advance(&mut self, step: &Step) {
        match (&mut self.frontier, step.leaf) {
            (Some(frontier), Some(leaf)) => frontier.push(leaf),
            (frontier, _) => *frontier = None,
        }
        match &step.verdict {
            Verdict::Good(entry) => {
                self.ring.learn(&entry.body);
                self.last = Arc::new(entry.body.clone());
            }
            Verdict::Void(_) => {}
            Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => self.damaged = true,
        }
        self.last_leaf = step.leaf;
        self.next += 1;
        if self.ahead.as_ref().is_some_and(|(seq, _)| *seq < self.next) {
            self.ahead = None;
        }
    }

    async fn file(&mut self, store: &dyn Store, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some((ahead, file)) = &self.ahead
            && *ahead == seq
            && file.is_some()
        {
            return Ok(file.clone());
        }
        let file = read_entry(store, seq).await?;
        if seq > self.next {
            self.ahead = Some((seq, file.clone()));
        }
        Ok(file)
    }

    /// An entry's own checks.
    fn judge(&self, file: &[u8], seq: u64, previous: Option<Hash>) -> Result<Arc<Entry>, Fault> {
        let entry = self.judge_alone(file, seq)?;
        match previous {
            Some(expected) if expected != entry.body.prev => Err(Fault::Previous { expected, found: entry.body.prev }),
            _ => Ok(Arc::new(entry)),
        }
    }

    /// Whether an entry that this build can't read stands in its place with a signature that counts.
    fn accepts_newer(&self, newer: &Newer) -> bool {
        let placed = newer.seq == self.next
            && newer.origin == self.origin
            && self.last_leaf.is_none_or(|leaf| leaf == newer.prev);
        let recovery = (newer.kind == "key").then_some(&self.ring.recovery);
        placed && self.ring.keys.iter().chain(recovery).any(|key| newer.is_signed_by(key))
    }

    /// The checks that don't need the entry before.
    fn judge_alone(&self, file: &[u8], seq: u64) -> Result<Entry, Fault> {
        let entry = Entry::parse(file).map_err(|e| Fault::Invalid(Arc::new(e)))?;
        if entry.body.seq != seq {
            return Err(Fault::Sequence(entry.body.seq));
        }
        if entry.body.origin != self.origin {
            return Err(Fault::Origin(entry.body.origin));
        }
        if self.ring.signer_of(&entry).is_none() {
            return Err(Fault::Signature(entry.key));
        }
        Ok(entry)
    }

    /// The `prev` of the next file, if its signature, number and origin verify. The entry before it may be the one that
    /// introduces its key.
    fn previous_named_by(
        &self,
        file: &[u8],
        seq: u64,
        before: Option<&(Hash, Result<Arc<Entry>, Fault>)>,
    ) -> Option<Hash> {
        if let Ok(entry) = self.judge_alone(file, seq) {
            return Some(entry.body.prev);
        }
        let Some((_, Ok(introducing))) = before else { return None };
        if introducing.body.kind != "key" {
            return None;
        }
        let mut informed = self.clone();
        informed.ring.learn(&introducing.body);
        informed.judge_alone(file, seq).ok().map(|entry| entry.body.prev)
    }

    /// Whether a good checkpoint says that the next leaf is `leaf`.
    async fn is_confirmed(&self, store: &dyn Store, leaf: Hash) -> Result<bool, StoreError> {
        let Some(mut frontier) = self.frontier.clone() else { return Ok(false) };
        frontier.push(leaf);
        let note = match store.get(&checkpoint_name(frontier.size())).await {
            Ok(note) => note,
            Err(StoreError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(signed) = std::str::from_utf8(&note).ok().and_then(|note| note.parse::<SignedCheckpoint>().ok())
        else {
            return Ok(false);
        };
        let checkpoint = &signed.checkpoint;
        let same = checkpoint.root == frontier.root()
            && checkpoint.size == frontier.size()
            && checkpoint.origin == self.origin;
        Ok(same && self.ring.signer_of_checkpoint(&signed).is_some())
    }
}

/// The bytes of an entry file, one more than an entry may have at most; `None` where there is no file.
pub(super) async fn read_entry(store: &dyn Store, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match store.get_range(&entry_name(seq), 0..MAX_LEN as u64 + 1).await {
        Ok(file) => Ok(Some(file)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The greatest number under `log/e`, by a listing.
///
/// # Errors
/// The store's.
pub async fn greatest_seq(store: &dyn Store) -> Result<Option<u64>, StoreError> {
    let listed = store.list("log/e/", "").await?;
    Ok(listed.iter().rev().find_map(|blob| blob.name.strip_prefix("log/e/")?.parse().ok()))
}
