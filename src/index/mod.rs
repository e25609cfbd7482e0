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

mod acts;
mod base;
mod build;
mod cover;
mod ends;
mod intervals;
mod links;
mod reading;
mod rows;
mod tables;
mod turns;
mod view;

pub use acts::{Act, Part};
pub use build::CaughtUp;
pub use cover::Sight;
pub use links::LinkRow;
pub use reading::Reader;
pub use turns::Turns;
pub use view::{CaptureRow, NameMatch, PackFile, Version, VersionKind, View};

/// What keeps the index from being used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database file is damaged or of another layout: throw it away and build it again.
    #[error(
        "the index is damaged or was made by another version; `tenure index rebuild` makes it again from the archive"
    )]
    Damaged {
        /// What the database said.
        source: Box<redb::Error>,
    },
    /// Another process has the database open for writing, and this one would have to write: what is indexed doesn't
    /// reach the head of the log.
    #[error("another process is writing the index at {path}, which doesn't reach the head of the log yet")]
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

/// The index of one archive.
#[derive(Debug)]
pub struct Index {
    database: redb::Database,
    path: PathBuf,
}

impl Index {
    /// Opens the index in `directory` for writing, or begins an empty one there.
    ///
    /// # Errors
    /// [`IndexError::Busy`] where another process writes it: [`Reader::open`] reads it all the same.
    /// [`IndexError::Damaged`] where the file is no index of this layout: then [`Index::destroy`] and open again.
    pub fn open(directory: &Path) -> Result<Index, IndexError> {
        let wrap = |path: &Path| {
            let path = path.to_owned();
            move |source| IndexError::Directory { path, source }
        };
        std::fs::create_dir_all(directory).map_err(wrap(directory))?;
        let path = directory.join(FILE);
        let mut builder = redb::Builder::new();
        // Others may read beside whoever writes, each a commit that is whole.
        builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
        let database = match builder.create(&path) {
            Ok(database) => database,
            Err(error) => return Err(of_opening(error, path)),
        };
        let index = Index { database, path };
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
        View::open(self.database.begin_read()?, Arc::default())
    }
}

/// What keeps a database file from being opened.
fn of_opening(error: redb::DatabaseError, path: PathBuf) -> IndexError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
            IndexError::Busy { path }
        }
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => match source.kind() {
            std::io::ErrorKind::InvalidData => IndexError::Damaged { source: Box::new(redb::Error::Io(source)) },
            _ => IndexError::Directory { path, source },
        },
        error => IndexError::Damaged { source: Box::new(error.into()) },
    }
}

const FILE: &str = "index.redb";
/// Memory that the database keeps pages in.
const CACHE_BYTES: usize = 48 << 20;
