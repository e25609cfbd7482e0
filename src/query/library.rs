//! An archive opened once for a whole process, from which each question takes a view of its own.
//!
//! Must never know: who asks, or what.
//!
//! It reads the index beside whoever writes it, in this process or another, and writes nothing. A view shows what was
//! indexed when it was taken; neither waits for the other.

use std::path::Path;
use std::sync::Arc;

use super::memory::Memory;
use super::{Archive, Bodies, QueryError};
use crate::archive::reader::LineReader;
use crate::index::Reader;
use crate::store::Store;

/// What all questions to one archive share: its store, its index, and what was read before.
#[derive(Debug, Clone)]
pub struct Library {
    store: Arc<dyn Store>,
    index: Arc<Reader>,
    lines: Arc<LineReader>,
    bodies: Bodies,
    memory: Arc<Memory>,
}

impl Library {
    /// Opens the index in `directory` for reading; `None` where nobody has made one yet.
    ///
    /// # Errors
    /// [`QueryError::Index`].
    pub fn open(store: Arc<dyn Store>, directory: &Path) -> Result<Option<Library>, QueryError> {
        let Some(index) = Reader::open(directory)? else { return Ok(None) };
        let lines = Arc::new(LineReader::new(store.clone()));
        let (index, bodies, memory) = (Arc::new(index), Bodies::default(), Arc::default());
        Ok(Some(Library { store, index, lines, bodies, memory }))
    }

    /// Whether the index still is the one that others write.
    pub fn is_current(&self) -> bool {
        self.index.is_current()
    }

    /// The archive as it is indexed now: whatever is committed later is not in it.
    ///
    /// # Errors
    /// The index's.
    pub fn archive(&self) -> Result<Archive, QueryError> {
        let view = self.index.view()?;
        let keys = view.position()?.into_iter().flat_map(|position| position.keys);
        let keys = keys.filter_map(|key| key.parse().ok()).collect();
        let horizon = view.last_capture()?;
        let Library { store, index, lines, bodies, memory } = self.clone();
        Ok(Archive { store, lines, view, index, keys, horizon, bodies, memory })
    }
}
