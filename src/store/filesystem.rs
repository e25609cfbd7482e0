//! A store in a directory of a local file system, and what can end files of it.
//!
//! Must never know: what the files are for.
//!
//! It keeps what is written from accidents, not from an administrator of the machine: files are made read-only and
//! nothing here replaces or removes one, but the owner of the disk can. `verify` finds that; only immutable storage
//! prevents it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::{Aged, Expiry, Listed, Operation, Removal, Store, StoreError, check_name};

/// Where files are written before they get their name; listings and readers never look here.
const TEMPORARY: &str = ".tmp";

/// Files below one directory. Calls block the thread for the length of the system call, as local files do.
#[derive(Debug)]
pub struct FilesystemStore {
    root: PathBuf,
    counter: AtomicU64,
}

impl FilesystemStore {
    /// A store in `root`, which is made if it doesn't exist when something is first written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), counter: AtomicU64::new(0) }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        check_name(name)?;
        Ok(self.root.join(name))
    }

    /// The order is the guarantee: the bytes are durable before the name exists, the name is made by `link`, which
    /// fails if it is taken, and the directory is durable before the caller hears of success.
    fn create_file(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let directory = path.parent().expect("a name lies below the root");
        let temporary = self.root.join(TEMPORARY);
        make_directory(&temporary).and_then(|()| make_directory(directory)).map_err(|e| unless_missing(name, e))?;
        let scratch = temporary.join(format!(
            "{}-{}-{}",
            std::process::id(),
            self.counter.fetch_add(1, Ordering::Relaxed),
            hex::encode(getrandom::u64().map_err(|e| unless_missing(name, io::Error::other(e)))?.to_be_bytes())
        ));
        let result = write_durably(&scratch, bytes).and_then(|()| fs::hard_link(&scratch, &path));
        // The scratch name has done its work in every case; one that a crash leaves behind is seen by nobody.
        let _ = fs::remove_file(&scratch);
        match result {
            Ok(()) => sync_directory(directory).map_err(|e| unless_missing(name, e)),
            Err(error) => Err(unless_missing(name, error)),
        }
    }

    fn list_files(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        let (folder, _) = prefix.rsplit_once('/').unwrap_or(("", ""));
        let start = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let mut found = Vec::new();
        let mut pending = vec![(start, folder.to_owned())];
        while let Some((directory, folder)) = pending.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io(&folder, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| StoreError::io(&folder, e))?;
                let Some(base) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let name = if folder.is_empty() { base.clone() } else { format!("{folder}/{base}") };
                if base.starts_with('.') || !(name.starts_with(prefix) || prefix.starts_with(&format!("{name}/"))) {
                    continue;
                }
                let metadata = entry.metadata().map_err(|e| StoreError::io(&name, e))?;
                if metadata.is_dir() {
                    pending.push((entry.path(), name));
                } else if name.as_str() > after && name.starts_with(prefix) {
                    found.push(Listed { name, len: metadata.len() });
                }
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

/// A missing directory during a write is a failure of the store, not an absent blob.
fn unless_missing(name: &str, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Unavailable { name: name.to_owned(), source: error },
        _ => StoreError::io(name, error),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o440);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes `directory` and what is missing above it, each durable in its parent.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    sync_directory(parent.unwrap_or(Path::new(".")))
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory can't be opened as a file; the file's own sync is all there is.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Store for FilesystemStore {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(async move { self.create_file(name, bytes) })
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        Box::pin(async move { fs::read(self.path(name)?).map_err(|e| StoreError::io(name, e)) })
    }

    fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>> {
        Box::pin(async move {
            let read = || {
                let mut file = File::open(self.path(name)?).map_err(|e| StoreError::io(name, e))?;
                file.seek(SeekFrom::Start(range.start)).map_err(|e| StoreError::io(name, e))?;
                let wanted = range.end.saturating_sub(range.start);
                let mut bytes = Vec::new();
                file.take(wanted).read_to_end(&mut bytes).map_err(|e| StoreError::io(name, e))?;
                Ok(bytes)
            };
            read()
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        Box::pin(async move { self.list_files(prefix, after) })
    }
}

/// What can end files of a [`FilesystemStore`]. A file system enforces no hold and no policy: whoever calls does.
#[derive(Debug)]
pub struct FilesystemExpiry(FilesystemStore);

impl FilesystemExpiry {
    /// For the store in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(FilesystemStore::new(root))
    }

    fn aged_file(&self, listed: Listed) -> Result<Aged, StoreError> {
        let failed = |error| StoreError::io(&listed.name, error);
        let metadata = fs::metadata(self.0.path(&listed.name)?).map_err(failed)?;
        let created = born(&metadata).map_err(failed)?;
        Ok(Aged { name: listed.name, len: listed.len, created, version: String::new() })
    }

    fn remove(&self, blob: &Aged) -> Result<Removal, StoreError> {
        let path = self.0.path(&blob.name)?;
        let failed = |error| StoreError::io(&blob.name, error);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removal::Absent),
            Err(error) => return Err(failed(error)),
        };
        if metadata.len() != blob.len || born(&metadata).map_err(failed)? != blob.created {
            return Ok(Removal::Changed);
        }
        let directory = path.parent().expect("a name lies below the root");
        match fs::remove_file(&path).and_then(|()| sync_directory(directory)) {
            Ok(()) => Ok(Removal::Deleted),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::Absent),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes the empty directories of `container`, from the inside out. None that holds a file goes.
    fn remove_directories(&self, container: &str) -> Result<Removal, StoreError> {
        let root = self.0.path(container)?;
        if !root.is_dir() {
            return Ok(Removal::Absent);
        }
        if !self.0.list_files(&format!("{container}/"), "")?.is_empty() {
            return Ok(Removal::NotEmpty);
        }
        let failed = |error| StoreError::io(container, error);
        let (mut found, mut next) = (vec![root], 0);
        while let Some(directory) = found.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // A hidden file is none of the archive's and keeps its directory.
                if entry.file_type().map_err(failed)?.is_dir() {
                    found.push(entry.path());
                }
            }
        }
        for directory in found.iter().rev() {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(Removal::NotEmpty),
                Err(error) => return Err(failed(error)),
            }
        }
        sync_directory(self.0.root()).map_err(failed)?;
        Ok(Removal::Deleted)
    }
}

/// When a file came to be here: its birth, where the file system keeps that, and its last modification otherwise. A copy
/// that kept the time of modification still counts from when it was made; the later of the two keeps longer.
fn born(metadata: &fs::Metadata) -> io::Result<Timestamp> {
    let modified = metadata.modified()?;
    let latest = metadata.created().map_or(modified, |created| created.max(modified));
    Timestamp::try_from(latest).map_err(io::Error::other)
}

impl Expiry for FilesystemExpiry {
    fn aged<'a>(&'a self, prefix: &'a str) -> Operation<'a, Vec<Aged>> {
        Box::pin(async move { self.0.list_files(prefix, "")?.into_iter().map(|file| self.aged_file(file)).collect() })
    }

    fn is_held<'a>(&'a self, _: &'a str) -> Operation<'a, bool> {
        Box::pin(async move { Ok(false) })
    }

    fn delete<'a>(&'a self, blob: &'a Aged) -> Operation<'a, Removal> {
        Box::pin(async move { self.remove(blob) })
    }

    fn delete_container<'a>(&'a self, container: &'a str) -> Operation<'a, Removal> {
        Box::pin(async move { self.remove_directories(container) })
    }
}
