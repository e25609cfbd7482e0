//! The index: what finds things in the archive quickly. Disposable: it holds nothing that the archive doesn't say, and
//! deleting it changes no answer.
//!
//! Must never know: anything that it could not rebuild. Feed tokens and the like live elsewhere.
//!
//! It is fed from committed entries only, through the same walk along the log that verification uses, and compares the
//! state root it arrives at with the signed one. An index that disagrees is thrown away and built again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{ReadableDatabase, TableError};

use crate::archive::reader::ReadError;
use crate::archive::walker::WalkError;
use crate::canonical::InvalidKey;
use crate::store::StoreError;

mod base;
mod build;
mod ends;
mod rows;
mod tables;
mod view;

pub use build::CaughtUp;
pub use view::{CaptureRow, LinkRow, NameMatch, PackFile, Version, VersionKind, View};

/// What keeps the index from being used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database file is damaged or of another layout: throw it away and build it again.
    #[error("the index is damaged; `tenure index rebuild` makes it again from the archive")]
    Damaged {
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// Another process has the database open for writing.
    #[error("another process is using the index at {path}")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The index arrived at another state than was signed.
    #[error("the index arrives at state {found} after entry {seq}, which is signed with {expected}")]
    Mismatch {
        /// The entry.
        seq: u64,
        /// The signed root.
        expected: crate::hash::Hash,
        /// The root of the index.
        found: crate::hash::Hash,
    },
    /// The directory can't be written.
    #[error("the index at {path} cannot be written")]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The log can't be followed.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A pack can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state isn't known: an entry is lost and no later base replaces it.
    #[error("the state after entry {seq} is unknown: the entry is missing or was changed; `tenure verify` tells more")]
    Unknown {
        /// The entry.
        seq: u64,
    },
    /// A key in it isn't one.
    #[error("the index holds a damaged key")]
    Key(#[from] InvalidKey),
}

impl From<StoreError> for IndexError {
    fn from(error: StoreError) -> Self {
        IndexError::Walk(error.into())
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for IndexError {
            fn from(error: $error) -> Self {
                IndexError::Damaged { source: Box::new(error.into()) }
            }
        }
    )*};
}
from_redb!(TableError, redb::TransactionError, redb::StorageError, redb::CommitError);

/// The index of one archive. Clones share one open database, whose file no other process can open for writing: within a
/// process who captures and who asks have clones of the same.
#[derive(Debug, Clone)]
pub struct Index {
    database: Arc<redb::Database>,
    path: PathBuf,
}

impl Index {
    /// Opens the index in `directory`, or begins an empty one there.
    ///
    /// # Errors
    /// [`IndexError::Busy`] where another process writes it, [`IndexError::Damaged`] where the file is no index of this
    /// layout: then [`Index::destroy`] and open again.
    pub fn open(directory: &Path) -> Result<Index, IndexError> {
        let wrap = |path: &Path| {
            let path = path.to_owned();
            move |source| IndexError::Directory { path, source }
        };
        std::fs::create_dir_all(directory).map_err(wrap(directory))?;
        let path = directory.join(FILE);
        let database = match redb::Builder::new().set_cache_size(CACHE_BYTES).create(&path) {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(IndexError::Busy { path }),
            Err(redb::DatabaseError::Storage(redb::StorageError::Io(source))) => {
                return Err(match source.kind() {
                    std::io::ErrorKind::InvalidData => {
                        IndexError::Damaged { source: Box::new(redb::Error::Io(source)) }
                    }
                    _ => IndexError::Directory { path, source },
                });
            }
            Err(error) => return Err(IndexError::Damaged { source: Box::new(error.into()) }),
        };
        let index = Index { database: Arc::new(database), path };
        index.check_layout()?;
        Ok(index)
    }

    /// Removes the index in `directory`. Nothing is lost.
    ///
    /// # Errors
    /// [`IndexError::Directory`].
    pub fn destroy(directory: &Path) -> Result<(), IndexError> {
        let path = directory.join(FILE);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(IndexError::Directory { path, source }),
        }
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A consistent view of what is indexed now.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn view(&self) -> Result<View, IndexError> {
        View::open(self.database.begin_read()?)
    }
}

const FILE: &str = "index.redb";
/// Memory that the database keeps pages in.
const CACHE_BYTES: usize = 48 << 20;
