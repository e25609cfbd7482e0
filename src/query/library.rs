//! An archive opened once for a whole process, from which each question takes a view of its own.
//!
//! Must never know: who asks, or what.
//!
//! A database file has one owner. Where a service captures and answers in one process, both go through clones of one
//! [`Index`]; a view shows what was committed when it was taken, and neither waits for the other.

use std::path::Path;
use std::sync::Arc;

use super::{Archive, Bodies, Notice, QueryError};
use crate::archive::reader::LineReader;
use crate::archive::walker::Walker;
use crate::index::{CaughtUp, Index, IndexError};
use crate::store::Store;

/// What all questions to one archive share: its store, its index, and what was read before.
#[derive(Debug, Clone)]
pub struct Library {
    store: Arc<dyn Store>,
    index: Index,
    lines: Arc<LineReader>,
    bodies: Bodies,
}

impl Library {
    /// Opens the index in `directory`, or goes on with `held`, which is already open; brings it to the head of the log, and
    /// builds it again where it can't be used. `notice` hears of that, `progress` of entries done and of the greatest there
    /// is. Whoever still has a view of a `held` index that is thrown away reads on in the old one.
    ///
    /// # Errors
    /// [`QueryError::Index`]: busy, not writable, or the archive itself can't be followed.
    pub async fn open(
        store: Arc<dyn Store>,
        directory: &Path,
        held: Option<Index>,
        mut notice: impl FnMut(Notice),
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Library, QueryError> {
        let opened = match open_index(&store, directory, held, &mut progress).await {
            Err(error) if is_disposable(&error) => {
                notice(Notice::Rebuilding { reason: error.to_string() });
                Index::destroy(directory)?;
                open_index(&store, directory, None, &mut progress).await
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
        let lines = Arc::new(LineReader::new(store.clone()));
        Ok(Library { store, index, lines, bodies: Bodies::default() })
    }

    /// The index, for who writes it.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The archive as it is indexed now: whatever is committed later is not in it.
    ///
    /// # Errors
    /// The index's, and where nothing is indexed yet the log's.
    pub async fn archive(&self) -> Result<Archive, QueryError> {
        let view = self.index.view()?;
        let keys = match view.position()? {
            Some(position) => position.keys.iter().filter_map(|key| key.parse().ok()).collect(),
            None => Walker::start(&*self.store).await.map_err(IndexError::from)?.0.ring().keys().to_vec(),
        };
        let horizon = view.last_capture()?;
        let Library { store, index, lines, bodies } = self.clone();
        Ok(Archive { store, lines, view, index, keys, horizon, bodies })
    }
}

async fn open_index(
    store: &Arc<dyn Store>,
    directory: &Path,
    held: Option<Index>,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(Index, CaughtUp), IndexError> {
    let index = match held {
        Some(index) => index,
        None => Index::open(directory)?,
    };
    let caught_up = index.catch_up(store, progress).await?;
    Ok((index, caught_up))
}

/// Whether throwing the index away may help.
fn is_disposable(error: &IndexError) -> bool {
    matches!(error, IndexError::Damaged { .. } | IndexError::Mismatch { .. } | IndexError::Key(_))
}
