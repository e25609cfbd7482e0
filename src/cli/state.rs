//! The head of the log as this machine last saw it, and how far a copy has come, in files outside the archive.
//!
//! Must never know: what the head is compared with.

use std::io::Write;
use std::path::Path;

use super::failure::{Failure, Kind};
use crate::archive::appender::RememberedHead;

/// The file in the directory of `[state]`.
const HEAD: &str = "head.json";

/// The file that holds how far the mirror has come.
const MIRROR: &str = "mirror.json";

/// How far the mirror had come; from the beginning where nobody knows: then everything is looked through once.
pub fn mirrored_head(directory: &Path) -> Option<RememberedHead> {
    serde_json::from_slice(&std::fs::read(directory.join(MIRROR)).ok()?).ok()
}

/// Remembers how far the mirror has come.
///
/// # Errors
/// Where it can't be written.
pub fn remember_mirror(directory: &Path, head: &RememberedHead) -> Result<(), Failure> {
    remember(directory, MIRROR, head)
}

/// The head that was remembered in `directory`; `None` where none was.
///
/// # Errors
/// Where the file is there and can't be read: what it protects from must not be lost silently.
pub fn remembered_head(directory: &Path) -> Result<Option<RememberedHead>, Failure> {
    let path = directory.join(HEAD);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("{} cannot be read: {error}", path.display());
            return Err(Failure::new(Kind::Failed, text));
        }
    };
    match serde_json::from_slice(&bytes) {
        Ok(head) => Ok(Some(head)),
        Err(_) => Err(Failure::new(Kind::Failed, format!("{} is damaged", path.display())).hint(
            "it only remembers the head of the log: after `tenure verify` has found the archive sound, remove the file",
        )),
    }
}

/// Remembers `head` in `directory`, whole or not at all.
///
/// # Errors
/// Where it can't be written.
pub fn remember_head(directory: &Path, head: &RememberedHead) -> Result<(), Failure> {
    remember(directory, HEAD, head)
}

fn remember(directory: &Path, name: &str, head: &RememberedHead) -> Result<(), Failure> {
    let write = || {
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(head)?)?;
        file.as_file().sync_all()?;
        file.persist(directory.join(name))?;
        Ok::<_, std::io::Error>(())
    };
    write().map_err(|error| {
        let text = format!("the head of the log cannot be remembered in {}: {error}", directory.display());
        Failure::new(Kind::Failed, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_head_is_none_and_a_damaged_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        assert!(remembered_head(directory.path()).unwrap().is_none());
        std::fs::write(directory.path().join(HEAD), "{").unwrap();
        assert!(remembered_head(directory.path()).unwrap_err().error.to_string().ends_with("is damaged"));
    }
}
