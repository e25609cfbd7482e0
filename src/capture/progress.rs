//! What this machine knows beyond the archive: feed tokens, when each source's relations were last read, removals that
//! the gate holds back, what a native recovery wrote and nobody has read yet. Losing it costs a full round of every feed and nothing else.
//!
//! Must never know: tenant content. Tokens are opaque.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::turns;
use crate::archive::Key;

/// Feed → (entry with which it was stored, token).
const FEEDS: TableDefinition<&str, (u64, &str)> = TableDefinition::new("feeds");
/// Row of coverage → (last capture at which it was complete, last capture at which it was read whole).
const ROWS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("rows");
/// (collection, key) → capture that held its removal back.
const GATED: TableDefinition<(&str, &str), u64> = TableDefinition::new("gated");

/// (collection, key) → its subtype, where it isn't of the base type.
const KINDS: TableDefinition<(&str, &str), &str> = TableDefinition::new("kinds");
/// Collection → the properties that the tenant refuses, comma-separated.
const REFUSED: TableDefinition<&str, &str> = TableDefinition::new("refused");
/// Row of coverage → the properties that were asked for last, comma-separated.
const ASKED: TableDefinition<&str, &str> = TableDefinition::new("asked");
/// (collection, key; empty for all of it): what Microsoft's own recovery wrote and wasn't read since.
const RECOVERED: TableDefinition<(&str, &str), ()> = TableDefinition::new("recovered");

/// Pages that stay in memory: what an hour needs is little, and a large tenant has a million sources in turns.
const CACHE_BYTES: usize = 16 << 20;

/// What goes wrong with the local state.
#[derive(Debug, thiserror::Error)]
#[error("the local state at {path} cannot be used; removing it is safe and costs one full read of the tenant")]
pub struct ProgressError {
    path: String,
    source: Box<redb::Error>,
}

/// The local state of one archive's capturing.
#[derive(Debug)]
pub struct Progress {
    database: redb::Database,
    path: String,
}

/// What changes with a committed capture, written at once.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub feeds: BTreeMap<String, Option<String>>,
    pub rows: BTreeMap<String, (Option<u64>, Option<u64>)>,
    pub swept: Vec<(String, Key)>,
    /// (row, source) pairs that were asked for and can't be read: their turn comes again with the others'.
    pub tried: Vec<(String, Key)>,
    /// (row, source) pairs that are known to have changed; those that aren't visited in this capture come first next time.
    pub stale: Vec<(String, Key)>,
    /// (row, source) pairs that are new.
    pub arrived: Vec<(String, Key)>,
    /// (row, source) pairs that are gone.
    pub departed: Vec<(String, Key)>,
    /// Rows whose order has to be laid down anew once this is committed.
    pub unordered: Vec<String>,
    /// By row: the removals held back now; replaces what was held back before.
    pub gated: BTreeMap<String, Vec<Key>>,
    /// Subtypes of objects that were seen.
    pub kinds: Vec<(Key, &'static str)>,
    /// By collection: what the tenant refuses.
    pub refused: BTreeMap<String, Vec<String>>,
    /// By row: what was asked for.
    pub asked: BTreeMap<String, Vec<String>>,
    /// A segment opens: what was asked for is said anew of every row.
    pub opens: bool,
    /// What a native recovery wrote that still has to be read, by collection; an empty key is all of it. `None` leaves
    /// what is noted.
    pub recovered: Option<Vec<(String, String)>>,
}

impl Progress {
    /// Opens or begins the state in `directory`.
    ///
    /// # Errors
    /// [`ProgressError`].
    pub fn open(directory: &Path) -> Result<Progress, ProgressError> {
        let file = directory.join("progress.redb");
        let path = file.display().to_string();
        let wrap = |error: redb::Error| ProgressError { path: path.clone(), source: Box::new(error) };
        std::fs::create_dir_all(directory).map_err(|e| wrap(redb::Error::Io(e)))?;
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&file).map_err(|e| wrap(e.into()))?;
        let progress = Progress { database, path: path.clone() };
        progress.run(|| {
            let txn = progress.database.begin_write()?;
            turns::prepare(&txn)?;
            Ok(txn.commit()?)
        })?;
        progress.write(0, &Update::default())?;
        Ok(progress)
    }

    pub(super) fn database(&self) -> &redb::Database {
        &self.database
    }

    pub(super) fn run<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, ProgressError> {
        work().map_err(|source| ProgressError { path: self.path.clone(), source: Box::new(source) })
    }

    /// The token of a feed, unless it was stored with an entry beyond `head`: a token may be older than the head, never
    /// newer.
    pub(super) fn token(&self, feed: &str, head: u64) -> Result<Option<String>, ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(FEEDS)?;
            let row = table.get(feed)?;
            Ok(row.filter(|row| row.value().0 <= head).map(|row| row.value().1.to_owned()))
        })
    }

    /// When a row was last complete, and last read whole.
    pub(super) fn row(&self, row: &str) -> Result<(Option<u64>, Option<u64>), ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(ROWS)?;
            let found = table.get(row)?.map(|row| row.value()).unwrap_or_default();
            Ok((Some(found.0).filter(|&seq| seq > 0), Some(found.1).filter(|&seq| seq > 0)))
        })
    }

    /// What a native recovery wrote that still has to be read: collection and key, the key empty for all of it.
    pub(super) fn recovered(&self) -> Result<Vec<(String, String)>, ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(RECOVERED)?;
            let rows = table.iter()?.map(|row| row.map(|(key, _)| own(key.value())));
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// The subtypes of a collection's objects, by key.
    pub(super) fn kinds(&self, collection: &str) -> Result<BTreeMap<String, String>, ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(KINDS)?;
            let end = format!("{collection}\0");
            let range = table.range((collection, "")..(end.as_str(), ""))?;
            let rows = range.map(|row| row.map(|(key, kind)| (key.value().1.to_owned(), kind.value().to_owned())));
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// The subtype of one object.
    pub(super) fn kind(&self, key: &Key) -> Result<Option<String>, ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(KINDS)?;
            Ok(table.get((key.collection(), key.as_str()))?.map(|kind| kind.value().to_owned()))
        })
    }

    /// What the tenant refused of a collection.
    pub(super) fn refused(&self, collection: &str) -> Result<Vec<String>, ProgressError> {
        self.names(REFUSED, collection)
    }

    /// What was asked for last under a row of coverage.
    pub(super) fn asked(&self, row: &str) -> Result<Vec<String>, ProgressError> {
        self.names(ASKED, row)
    }

    fn names(&self, table: TableDefinition<&str, &str>, key: &str) -> Result<Vec<String>, ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(table)?;
            let row = table.get(key)?;
            Ok(row.map(|row| split(row.value())).unwrap_or_default())
        })
    }

    /// The removals of a collection that the gate held back.
    pub(super) fn gated(&self, collection: &str) -> Result<BTreeSet<String>, ProgressError> {
        self.run(|| {
            let table = self.database.begin_read()?.open_table(GATED)?;
            let end = format!("{collection}\0");
            let range = table.range((collection, "")..(end.as_str(), ""))?;
            range.map(|entry| entry.map(|(key, _)| key.value().1.to_owned())).map(|r| Ok(r?)).collect()
        })
    }

    /// Takes over what capture `seq` came to, all or nothing. Called after the commit and only then.
    pub(super) fn write(&self, seq: u64, update: &Update) -> Result<(), ProgressError> {
        self.run(|| {
            let txn = self.database.begin_write()?;
            {
                let mut feeds = txn.open_table(FEEDS)?;
                for (feed, token) in &update.feeds {
                    match token {
                        Some(token) => feeds.insert(feed.as_str(), (seq, token.as_str()))?,
                        None => feeds.remove(feed.as_str())?,
                    };
                }
                let mut rows = txn.open_table(ROWS)?;
                for (row, (complete, whole)) in &update.rows {
                    let before = rows.get(row.as_str())?.map(|row| row.value()).unwrap_or_default();
                    rows.insert(row.as_str(), (complete.unwrap_or(before.0), whole.unwrap_or(before.1)))?;
                }
                turns::write(&txn, seq, update)?;
                let mut recovered = txn.open_table(RECOVERED)?;
                if let Some(left) = &update.recovered {
                    recovered.retain(|_, ()| false)?;
                    for (collection, key) in left {
                        recovered.insert((collection.as_str(), key.as_str()), ())?;
                    }
                }
                if update.opens {
                    txn.open_table(ASKED)?.retain(|_, _| false)?;
                }
                let mut kinds = txn.open_table(KINDS)?;
                for (key, kind) in &update.kinds {
                    kinds.insert((key.collection(), key.as_str()), *kind)?;
                }
                for (table, lists) in [(REFUSED, &update.refused), (ASKED, &update.asked)] {
                    let mut table = txn.open_table(table)?;
                    for (name, list) in lists {
                        table.insert(name.as_str(), list.join(",").as_str())?;
                    }
                }
                let mut gated = txn.open_table(GATED)?;
                for (collection, keys) in &update.gated {
                    let end = format!("{collection}\0");
                    let old: Vec<String> = gated
                        .range((collection.as_str(), "")..(end.as_str(), ""))?
                        .map(|entry| entry.map(|(key, _)| key.value().1.to_owned()))
                        .collect::<Result<_, _>>()?;
                    for key in old {
                        gated.remove((collection.as_str(), key.as_str()))?;
                    }
                    for key in keys {
                        gated.insert((collection.as_str(), key.as_str()), seq)?;
                    }
                }
            }
            txn.commit()?;
            Ok(())
        })
    }
}

fn own((collection, key): (&str, &str)) -> (String, String) {
    (collection.to_owned(), key.to_owned())
}

fn split(names: &str) -> Vec<String> {
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
