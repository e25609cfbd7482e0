//! The head of the log as this machine last saw it, and how far a copy has come, in files outside the archive.
//!
//! Must never know: what the head is compared with.

use std::path::Path;

use super::failure::{Failure, Kind};
use crate::archive::appender::RememberedHead;
use crate::capture::HeadError;

/// How far the mirror had come; from the beginning where nobody knows: then everything is looked through once.
pub fn mirrored_head(directory: &Path) -> Option<RememberedHead> {
    crate::capture::mirrored_head(directory)
}

/// Remembers how far the mirror has come.
///
/// # Errors
/// Where it can't be written.
pub fn remember_mirror(directory: &Path, head: &RememberedHead) -> Result<(), Failure> {
    Ok(crate::capture::remember_mirror(directory, head)?)
}

/// The head that was remembered in `directory`; `None` where none was.
///
/// # Errors
/// Where the file is there and can't be read: what it protects from must not be lost silently.
pub fn remembered_head(directory: &Path) -> Result<Option<RememberedHead>, Failure> {
    Ok(crate::capture::remembered_head(directory)?)
}

/// Remembers `head` in `directory`, whole or not at all.
///
/// # Errors
/// Where it can't be written.
pub fn remember_head(directory: &Path, head: &RememberedHead) -> Result<(), Failure> {
    Ok(crate::capture::remember_head(directory, head)?)
}

impl From<HeadError> for Failure {
    fn from(error: HeadError) -> Failure {
        let is_damaged = matches!(error, HeadError::Damaged { .. });
        let failure = Failure::new(Kind::Failed, error);
        match is_damaged {
            true => failure.hint(
                "it only remembers the head of the log: after `tenure verify` has found the archive sound, remove the \
                 file",
            ),
            false => failure,
        }
    }
}
