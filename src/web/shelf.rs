//! The archive of a tenant as it is read for answers: opened once, read beside whoever writes it.
//!
//! Must never know: where an archive lies, and what is asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::answer::failure::Failure;
use crate::archive::entry::Entry;
use crate::daemon::Tenant;
use crate::query::{Archive, Library, QueryError, Timeline};
use crate::store::Store;

/// A tenant that is served, and its archive.
#[derive(Debug)]
pub struct Shelf {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    store: Arc<dyn Store>,
    index: PathBuf,
    library: Mutex<Option<Library>>,
    log: tokio::sync::Mutex<Log>,
}

/// What was read of the log, entry after entry: it goes on where it was, also where whoever asked didn't wait.
#[derive(Debug, Default)]
pub(super) struct Log {
    next: u64,
    /// Since when what has been captured.
    pub timeline: Timeline,
    /// Entries that hold own-use records, with when they were committed.
    pub uses: Vec<(u64, Timestamp)>,
    /// Entries that can't be read as what they should be.
    pub damaged: Vec<u64>,
}

impl Shelf {
    /// The tenant's archive in `store`, with the index in the directory `index`. Opens nothing yet.
    pub fn new(tenant: Arc<Tenant>, store: Arc<dyn Store>, index: &Path) -> Shelf {
        Shelf { tenant, store, index: index.to_owned(), library: Mutex::default(), log: tokio::sync::Mutex::default() }
    }

    /// The archive at the head as of now; `None` where there is no index to read yet.
    pub(super) fn archive(&self) -> Result<Option<Archive>, Failure> {
        let mut library = self.library.lock().expect("no code panics while it holds the library");
        if !library.as_ref().is_some_and(Library::is_current) {
            *library = None;
            *library = Library::open(self.store.clone(), &self.index)?;
        }
        library.as_ref().map(Library::archive).transpose().map_err(|error| {
            *library = None;
            error.into()
        })
    }

    /// The store, for what stands in the log alone.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// What the log says up to the head of `archive`.
    pub(super) async fn log(&self, archive: &Archive) -> Result<tokio::sync::MutexGuard<'_, Log>, Failure> {
        let size = size_of(archive)?;
        let mut log = self.log.lock().await;
        if log.next > size {
            // Another log than the one that was read.
            *log = Log::default();
        }
        while log.next < size {
            let seq = log.next;
            match archive.entry(seq).await {
                Ok(entry) => log.take(&entry),
                Err(QueryError::Entry { .. }) => log.damaged.push(seq),
                Err(error) => return Err(error.into()),
            }
            log.next = seq + 1;
            tokio::task::consume_budget().await;
        }
        Ok(log)
    }
    /// Entries that hold own-use records, in the log as it is now: whoever writes it commits an entry before the index knows it.
    pub(super) async fn uses(&self, archive: &Archive) -> Result<Vec<(u64, Timestamp)>, Failure> {
        let (mut uses, mut next) = {
            let log = self.log(archive).await?;
            (log.uses.clone(), log.next)
        };
        while let Some(entry) = archive.entry(next).await.map(Some).or_else(missing)? {
            uses.extend((entry.body.kind == "access").then_some((next, entry.body.committed)));
            next += 1;
            tokio::task::consume_budget().await;
        }
        Ok(uses)
    }
}

/// Beyond the index what isn't an entry ends the log; what it is, the index says once it gets there.
fn missing(error: QueryError) -> Result<Option<Entry>, QueryError> {
    match error {
        QueryError::Entry { .. } => Ok(None),
        error => Err(error),
    }
}

impl Log {
    fn take(&mut self, entry: &Entry) {
        self.timeline.add(&entry.body);
        if entry.body.kind == "access" {
            self.uses.push((entry.body.seq, entry.body.committed));
        }
    }
}

/// Entries in the log, as far as they are indexed.
pub(super) fn size_of(archive: &Archive) -> Result<u64, Failure> {
    let position = archive.view().position().map_err(QueryError::from)?;
    Ok(position.map_or(0, |position| position.size))
}
