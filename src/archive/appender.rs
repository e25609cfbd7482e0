//! The one place that writes to `log/`: finds the head, commits an entry, signs the checkpoint, writes full tiles.
//!
//! Must never know: how a capture came to its packs.
//!
//! What holds after each step of a commit:
//!
//! 1. packs written: nothing is committed; a crash leaves orphans, which a retry with the same content reuses.
//! 2. `log/e/<seq>` created: **committed**. Whoever creates that name has won; nobody can take it back.
//! 3. `log/k/<size>` created: the head is signed. Signed after the commit, because a checkpoint signed for a lost race
//!    would be a second one of the same size, which a witness must refuse for good.
//! 4. tiles: derived from the entries.
//!
//! Steps 3 and 4 are done again by any later run that finds them missing.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::{Body, InvalidEntry, checkpoint_name, entry_name};
use super::log::{Frontier, TILE_WIDTH, bundle, bundle_name, leaf_hash, root, tile_name};
use super::note::{Checkpoint, SignedCheckpoint, Signer, Verifier};
use super::pack::Part;
use super::walker::{KeyRing, Step, WalkError, Walker, greatest_seq};
use crate::hash::Hash;
use crate::store::{Store, StoreError, put_new};

/// What can keep an entry from being appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer committed this number first. Nothing of ours is in the log; what was read from the tenant is
    /// stale now and must be read again after catching up.
    #[error("entry {seq} was committed by another writer")]
    LostRace {
        /// The number.
        seq: u64,
    },
    /// The log could not be followed to its head.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The store failed. What was committed before is untouched; whether this entry is committed the next run finds out.
    #[error("the archive's store failed")]
    Store(#[from] StoreError),
    /// The entry doesn't fit its file.
    #[error("entry {seq} cannot be written: {reason}")]
    Invalid {
        /// The number.
        seq: u64,
        /// Why.
        reason: InvalidEntry,
    },
    /// The signing key isn't one of the archive's.
    #[error("signing key {key} is not among the keys of this archive")]
    ForeignKey {
        /// The key id.
        key: String,
    },
    /// Entries that this machine saw are gone.
    #[error("the log holds fewer entries than this machine saw: entry {seq} is missing or changed")]
    Truncated {
        /// The last entry that was seen.
        seq: u64,
    },
    /// There is an archive already.
    #[error("an archive exists here already (genesis {leaf})")]
    Initialised {
        /// Its genesis leaf hash.
        leaf: Hash,
    },
}

/// The head as this machine last saw it, kept outside the archive: it makes the next start quick, and the loss of
/// newer entries together with their checkpoints visible.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RememberedHead {
    /// Entries in the log.
    pub size: u64,
    /// Leaf hash of the last one, hex.
    pub leaf: String,
    /// Roots of the complete subtrees, largest first, hex.
    pub subtrees: Vec<String>,
    /// The keys known at that point.
    pub keys: Vec<String>,
    /// The recovery key.
    pub recovery: String,
    /// The body of the last good entry.
    pub last: Body,
}

impl RememberedHead {
    /// What to remember of a walk that has come to the head; `None` where the leaves aren't all known.
    pub fn of(walker: &Walker) -> Option<RememberedHead> {
        let frontier = walker.frontier()?;
        Some(RememberedHead {
            size: frontier.size(),
            leaf: walker.last_leaf()?.to_string(),
            subtrees: frontier.subtrees().iter().map(Hash::to_string).collect(),
            keys: walker.ring().keys().iter().map(Verifier::to_string).collect(),
            recovery: walker.ring().recovery().to_string(),
            last: Body::clone(walker.last()),
        })
    }

    /// The root of the log at that size; `None` where the memory is damaged.
    pub fn root(&self) -> Option<Hash> {
        Some(self.frontier()?.root())
    }

    fn frontier(&self) -> Option<Frontier> {
        let subtrees = self.subtrees.iter().map(|hash| hash.parse().ok()).collect::<Option<_>>()?;
        Frontier::from_parts(self.size, subtrees)
    }

    /// A walk that goes on from here; `None` where the memory is damaged.
    pub fn walker(&self) -> Option<Walker> {
        let keys = self.keys.iter().map(|key| key.parse().ok()).collect::<Option<Vec<Verifier>>>()?;
        let ring = KeyRing::new(keys, self.recovery.parse().ok()?);
        Some(Walker::resume(ring, self.frontier()?, self.leaf.parse().ok()?, self.last.clone()))
    }
}

/// Follows a log to its head.
///
/// With `remembered`, starts there if a good checkpoint in the store says the same; otherwise at the genesis entry.
///
/// # Errors
/// [`AppendError::Truncated`] where the store no longer has what is remembered.
pub async fn follow(
    store: &dyn Store,
    remembered: Option<&RememberedHead>,
) -> Result<(Walker, Vec<Step>), AppendError> {
    if let Some(remembered) = remembered {
        let last = remembered.size.saturating_sub(1);
        match store.get(&entry_name(last)).await {
            Ok(file) if leaf_hash(&file).to_string() == remembered.leaf => {}
            Ok(_) | Err(StoreError::NotFound { .. }) => return Err(AppendError::Truncated { seq: last }),
            Err(error) => return Err(error.into()),
        }
        if let Some(mut walker) = remembered.walker()
            && is_signed(store, &walker).await?
        {
            let steps = walk(store, &mut walker, None).await?;
            return Ok((walker, steps));
        }
    }
    let (mut walker, _) = Walker::start(store).await?;
    let end = greatest_seq(store).await?;
    let steps = walk(store, &mut walker, end).await?;
    Ok((walker, steps))
}

async fn walk(store: &dyn Store, walker: &mut Walker, end: Option<u64>) -> Result<Vec<Step>, WalkError> {
    let mut steps = Vec::new();
    while let Some(step) = walker.step(store, end).await? {
        steps.push(step);
    }
    Ok(steps)
}

/// Whether the store holds a good checkpoint of exactly this position.
async fn is_signed(store: &dyn Store, walker: &Walker) -> Result<bool, StoreError> {
    let Some(frontier) = walker.frontier() else { return Ok(false) };
    let note = match store.get(&checkpoint_name(frontier.size())).await {
        Ok(note) => note,
        Err(StoreError::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(signed) = std::str::from_utf8(&note).ok().and_then(|note| note.parse::<SignedCheckpoint>().ok()) else {
        return Ok(false);
    };
    let expected = Checkpoint { origin: walker.origin().to_owned(), size: frontier.size(), root: frontier.root() };
    Ok(signed.checkpoint == expected && walker.ring().signer_of_checkpoint(&signed).is_some())
}

/// The writer of one log. One per process.
#[derive(Debug)]
pub struct Appender {
    store: Arc<dyn Store>,
    signer: Signer,
    walker: Walker,
}

impl Appender {
    /// Starts an archive: writes the genesis entry and its checkpoint. Run again after a crash with the same keys and
    /// time it completes what is missing.
    ///
    /// # Errors
    /// [`AppendError::Initialised`] where another genesis entry is there.
    pub async fn initialise(store: Arc<dyn Store>, signer: Signer, genesis: &Body) -> Result<Appender, AppendError> {
        let file = genesis.sign(&signer).map_err(|reason| AppendError::Invalid { seq: 0, reason })?;
        match put_new(&*store, &entry_name(0), &file).await {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) => {
                let leaf = leaf_hash(&store.get(&entry_name(0)).await?);
                return Err(AppendError::Initialised { leaf });
            }
            Err(error) => return Err(error.into()),
        }
        Appender::open(store, signer, None).await
    }

    /// Opens the log, goes to its head and signs the head if nobody has.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn open(
        store: Arc<dyn Store>,
        signer: Signer,
        remembered: Option<&RememberedHead>,
    ) -> Result<Appender, AppendError> {
        let (walker, _) = follow(&*store, remembered).await?;
        if !walker.ring().keys().contains(signer.verifier()) {
            return Err(AppendError::ForeignKey { key: signer.verifier().id().to_string() });
        }
        let appender = Appender { store, signer, walker };
        appender.sign_head().await?;
        Ok(appender)
    }

    /// The position at the head.
    pub fn walker(&self) -> &Walker {
        &self.walker
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What to remember of the head.
    pub fn remembered(&self) -> Option<RememberedHead> {
        RememberedHead::of(&self.walker)
    }

    /// Follows what other writers committed since. Returns what was new.
    ///
    /// # Errors
    /// The store's.
    pub async fn catch_up(&mut self) -> Result<Vec<Step>, AppendError> {
        let steps = walk(&*self.store, &mut self.walker, None).await?;
        if !steps.is_empty() {
            self.sign_head().await?;
        }
        Ok(steps)
    }

    /// A body for the next number, which inherits from the head. The number is taken only by [`Appender::commit`].
    ///
    /// # Errors
    /// [`AppendError::Truncated`] where the leaf before is lost, so that nothing can be chained to it.
    pub fn draft(&self, kind: &str, committed: Timestamp) -> Result<Body, AppendError> {
        let seq = self.walker.next_seq();
        let leaf = self.walker.last_leaf().ok_or(AppendError::Truncated { seq: seq - 1 })?;
        Ok(Body::following(self.walker.last(), seq, leaf, kind, committed))
    }

    /// Writes a pack, durably. Nothing refers to it until an entry does.
    ///
    /// # Errors
    /// The store's. [`StoreError::Exists`] would mean that a file holds other bytes than the hash in its name.
    pub async fn put_pack(&self, part: &Part) -> Result<(), StoreError> {
        put_new(&*self.store, &part.reference.n, &part.file).await
    }

    /// Commits an entry that [`Appender::draft`] began. On `Ok` it is in the log for good.
    ///
    /// # Errors
    /// [`AppendError::LostRace`]: it isn't and never will be. A store error: unknown; the next run finds out.
    pub async fn commit(&mut self, body: &Body) -> Result<Hash, AppendError> {
        let seq = body.seq;
        let file = body.sign(&self.signer).map_err(|reason| AppendError::Invalid { seq, reason })?;
        match put_new(&*self.store, &entry_name(seq), &file).await {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) => return Err(AppendError::LostRace { seq }),
            Err(error) => return Err(error.into()),
        }
        // Committed. What fails from here on is repaired by the next run, so it must not look like a failed commit.
        let leaf = leaf_hash(&file);
        if let Err(error) = self.finish().await {
            tracing::warn!(
                seq,
                error = &error as &dyn std::error::Error,
                "committed, but its checkpoint is not written yet"
            );
        }
        Ok(leaf)
    }

    async fn finish(&mut self) -> Result<(), AppendError> {
        walk(&*self.store, &mut self.walker, None).await?;
        self.sign_head().await
    }

    /// Steps 3 and 4 for the head, where they are missing.
    async fn sign_head(&self) -> Result<(), AppendError> {
        let Some(frontier) = self.walker.frontier() else { return Ok(()) };
        let size = frontier.size();
        if !is_signed(&*self.store, &self.walker).await? {
            let origin = self.walker.origin().to_owned();
            let note = Checkpoint { origin, size, root: frontier.root() }.sign(&self.signer);
            match put_new(&*self.store, &checkpoint_name(size), note.as_bytes()).await {
                // Junk under that name: the next greater checkpoint makes up for it, and verify reports it.
                Ok(()) | Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.write_tiles(size).await
    }

    /// The full tiles that end at the last multiple of 256 entries, on every level.
    async fn write_tiles(&self, size: u64) -> Result<(), AppendError> {
        let tiles = size / TILE_WIDTH;
        if tiles == 0 || self.exists(&tile_name(0, tiles - 1)).await? {
            return Ok(());
        }
        let mut files = Vec::new();
        for seq in (tiles - 1) * TILE_WIDTH..tiles * TILE_WIDTH {
            files.push(self.store.get(&entry_name(seq)).await?);
        }
        let mut tile: Vec<u8> = files.iter().flat_map(|file| leaf_hash(file).0).collect();
        let mut derived = vec![(bundle_name(tiles - 1), bundle(files.iter().map(Vec::as_slice)))];
        let (mut level, mut number) = (0, tiles - 1);
        loop {
            let full = (number + 1).is_multiple_of(TILE_WIDTH);
            let mut upper = Vec::new();
            if full {
                for child in number + 1 - TILE_WIDTH..number {
                    upper.extend(tile_root(&self.store.get(&tile_name(level, child)).await?).0);
                }
                upper.extend(tile_root(&tile).0);
            }
            derived.push((tile_name(level, number), tile));
            if !full {
                break;
            }
            (level, number, tile) = (level + 1, number / TILE_WIDTH, upper);
        }
        // Level 0 goes last of the tiles: where it exists, everything that ends with it does.
        derived.rotate_left(1);
        for (name, bytes) in derived.iter().rev() {
            self.put_derived(name, bytes).await?;
        }
        Ok(())
    }

    async fn exists(&self, name: &str) -> Result<bool, StoreError> {
        match self.store.get_range(name, 0..1).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put_derived(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match put_new(&*self.store, name, bytes).await {
            Err(StoreError::Exists { .. }) => Ok(()),
            other => other,
        }
    }
}

fn tile_root(tile: &[u8]) -> Hash {
    let leaves: Vec<Hash> =
        tile.chunks_exact(32).map(|hash| Hash(hash.try_into().expect("chunks of 32 bytes"))).collect();
    root(&leaves)
}
