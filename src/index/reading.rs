//! The index opened for reading alone, beside whoever writes it.
//!
//! Must never know: questions.
//!
//! Any number of processes may read while one writes. Each view is one commit of the writer's, whole: the writer publishes a
//! commit only after everything in it is on disk, and gives back the space of an older one only when nobody reads it any
//! more. That is redb's single-writer mode; its design says that after a crash of the writer the last published commit stays
//! readable (docs/design.md of redb 4.6, "Multi-process concurrency" and "Crashes").

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::ReadableDatabase as _;

use super::build::{damaged, generation, is_same_log};
use super::tables::{META, layout};
use super::view::Names;
use super::{CACHE_BYTES, FILE, Index, IndexError, View};
use crate::archive::walker::{Verdict, Walker};
use crate::store::Store;

/// Entries beyond what is indexed that a reader looks at. None of them may change an answer; where there are more, somebody
/// should write how far the index has come.
const LOOK_AHEAD: u64 = 64;

/// The index of one archive, for questions only.
pub struct Reader {
    database: redb::ReadOnlyDatabase,
    path: PathBuf,
    /// Tells the file from another of its name.
    file: Option<u64>,
    /// Names that earlier views looked up, and the generation of the index to which they belong.
    called: Mutex<(u64, Arc<Names>)>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens the index in `directory`; `None` where there is none. Changes nothing, also not a damaged one.
    ///
    /// # Errors
    /// [`IndexError::Busy`] where a process of another version has it for itself, [`IndexError::Damaged`] where the file is
    /// no index of this layout.
    pub fn open(directory: &Path) -> Result<Option<Reader>, IndexError> {
        let path = directory.join(FILE);
        let file = number_of(&path);
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
        let database = match builder.open_read_only(&path) {
            Ok(database) => database,
            Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                return Ok(None);
            }
            Err(error) => return Err(super::of_opening(error, path)),
        };
        let reader = Reader { database, path, file, called: Mutex::default() };
        match reader.has_layout()? {
            true => Ok(Some(reader)),
            false => Err(damaged("another layout")),
        }
    }

    /// Whether this still is the file of that name: an index that was thrown away is never written again.
    pub fn is_current(&self) -> bool {
        self.file.is_some() && self.file == number_of(&self.path)
    }

    fn has_layout(&self) -> Result<bool, IndexError> {
        match self.database.begin_read()?.open_table(META) {
            Ok(meta) => {
                let found = redb::ReadableTable::get(&meta, "layout")?;
                Ok(found.is_some_and(|found| found.value() == layout()))
            }
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A consistent view of what is indexed now: the writer's last commit.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn view(&self) -> Result<View, IndexError> {
        let txn = self.database.begin_read()?;
        let generation = generation(&txn.open_table(META)?)?;
        let mut called = self.called.lock().expect("no code panics while it holds the names");
        if called.0 != generation {
            *called = (generation, Arc::default());
        }
        View::open(txn, called.1.clone())
    }
}

/// What the file system calls the file, where it says.
#[cfg(unix)]
fn number_of(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map(|metadata| metadata.ino()).ok()
}

#[cfg(not(unix))]
fn number_of(_: &Path) -> Option<u64> {
    None
}

impl View {
    /// Goes from what is indexed to the head of the log. Returns the position there if nothing between changes an answer,
    /// so that this view is as good as one of the head; `None` where somebody has to index first.
    ///
    /// # Errors
    /// The store's, and what the log can't be followed for.
    pub async fn follow(&self, store: &dyn Store) -> Result<Option<Walker>, IndexError> {
        let Some(saved) = self.position()? else { return Ok(None) };
        if !is_same_log(store, &saved).await? {
            return Ok(None);
        }
        let mut walker = saved.walker().ok_or_else(|| damaged("a damaged position"))?;
        for _ in 0..LOOK_AHEAD {
            let Some(step) = walker.step(store, None).await? else {
                let ends = self.ends()?;
                let is_settled = ends.settled(store).await? == ends.ended;
                return Ok(is_settled.then_some(walker));
            };
            // Whatever else there is in the log, the state after these is the one before.
            let changes_nothing = match &step.verdict {
                Verdict::Good(entry) => {
                    matches!(entry.body.kind.as_str(), "access" | "gap" | "hold" | "release" | "key")
                }
                _ => false,
            };
            if !changes_nothing {
                return Ok(None);
            }
        }
        Ok(None)
    }
}

impl Index {
    /// Leaves writing to others and goes on reading.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn into_reader(self, directory: &Path) -> Result<Reader, IndexError> {
        drop(self);
        Reader::open(directory)?.ok_or_else(|| damaged("vanished"))
    }
}
