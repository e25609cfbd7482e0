//! The spool: files of records that wait for the chain, one for each process that asks.
//!
//! Must never know: what a record says.
//!
//! A process makes its file with the first record, and holds a lock on it for as long as it may write more. What ends
//! without a line end is what a crash left of a record whose answer never left: it doesn't count.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::LedgerError;

/// A file that is longer gets no more records: it goes once they are in the chain, where the file of a process that runs
/// for months would grow.
const LONGEST: u64 = 256 * 1024;
/// Tries of making a file that somebody tidied away between its making and its locking.
const TRIES: usize = 8;
/// What a file is called while it isn't in use yet.
pub(super) const UNFINISHED: &str = "new-";
/// How the names of files of records end.
pub(super) const ENDING: &str = ".ndjson";

/// The directory, and the file in it that this process appends to.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    len: u64,
}

impl Spool {
    pub fn new(directory: PathBuf) -> Spool {
        Spool { directory, open: None }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends the present file.
    pub fn end(&mut self) {
        self.open = None;
    }

    /// Appends a line. When this returns the line is on disk, and so is the name of its file.
    pub fn append(&mut self, line: &[u8]) -> Result<(), LedgerError> {
        let path = self.directory.clone();
        self.try_append(line).map_err(|source| LedgerError::Spool { path, source })
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        // Whatever fails below leaves the file as it is and to whoever commits: after a half-written line nothing may
        // follow in it.
        if let Some(mut open) = self.open.take()
            && open.len < LONGEST
        {
            open.file.write_all(line)?;
            open.file.sync_data()?;
            // Somebody may have removed the file; what is in it then is in no file at all.
            if is_linked(&open.file)? {
                open.len += line.len() as u64;
                self.open = Some(open);
                return Ok(());
            }
        }
        self.open = Some(begin(&self.directory, line)?);
        Ok(())
    }
}

/// A new file that begins with `line`, under a name that nobody else has, locked.
fn begin(directory: &Path, line: &[u8]) -> io::Result<Open> {
    make_directory(directory)?;
    let mut last = None;
    for _ in 0..TRIES {
        let name = Uuid::new_v4();
        let unfinished = directory.join(format!("{UNFINISHED}{name}"));
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        match file.try_lock() {
            Ok(()) => {}
            // Who tidies up was quicker.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.write_all(line)?;
        file.sync_all()?;
        // It gets the name that others look for only now, whole and locked.
        match fs::rename(&unfinished, directory.join(format!("{name}{ENDING}"))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                last = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        sync_directory(directory)?;
        return Ok(Open { file, len: line.len() as u64 });
    }
    Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::ResourceBusy)))
}

/// The directory, for the eyes of its owner only, and durable as far up as anything had to be made.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let first = directory.ancestors().find(|above| above.is_dir()).map(Path::to_owned);
    builder.create(directory)?;
    for above in directory.ancestors().skip(1) {
        // The parent of a relative path is where we are.
        sync_directory(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
        if first.as_deref() == Some(above) {
            break;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

fn is_linked(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 0);
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(true)
    }
}
