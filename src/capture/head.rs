//! The head of the log as this machine last saw it, and how far a copy has come, in files outside the archive.
//!
//! Must never know: what the head is compared with.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::archive::appender::RememberedHead;

/// The file in the directory of `[state]`.
const HEAD: &str = "head.json";

/// The file that holds how far the mirror has come.
const MIRROR: &str = "mirror.json";

/// What goes wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It is there and can't be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It can't be written.
    #[error("the head of the log cannot be remembered in {path}")]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The head that was remembered in `directory`; `None` where none was.
///
/// # Errors
/// Where the file is there and can't be read: what it protects from must not be lost silently.
pub fn remembered_head(directory: &Path) -> Result<Option<RememberedHead>, HeadError> {
    let path = directory.join(HEAD);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(HeadError::Unreadable { path, source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| HeadError::Damaged { path })
}

/// Remembers `head` in `directory`, whole or not at all.
///
/// # Errors
/// [`HeadError::Unwritable`].
pub fn remember_head(directory: &Path, head: &RememberedHead) -> Result<(), HeadError> {
    remember(directory, HEAD, head)
}

/// How far the mirror had come; from the beginning where nobody knows: then everything is looked through once.
pub fn mirrored_head(directory: &Path) -> Option<RememberedHead> {
    serde_json::from_slice(&std::fs::read(directory.join(MIRROR)).ok()?).ok()
}

/// Remembers how far the mirror has come.
///
/// # Errors
/// [`HeadError::Unwritable`].
pub fn remember_mirror(directory: &Path, head: &RememberedHead) -> Result<(), HeadError> {
    remember(directory, MIRROR, head)
}

fn remember(directory: &Path, name: &str, head: &RememberedHead) -> Result<(), HeadError> {
    let write = || {
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(head)?)?;
        file.as_file().sync_all()?;
        file.persist(directory.join(name))?;
        Ok::<_, std::io::Error>(())
    };
    write().map_err(|source| HeadError::Unwritable { path: directory.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_head_is_none_and_a_damaged_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert!(remembered_head(directory.path()).unwrap().is_none());
        std::fs::write(directory.path().join(HEAD), "{").unwrap();
        assert!(matches!(remembered_head(directory.path()), Err(HeadError::Damaged { .. })));
    }
}
