//! Whose turn it is in a rolling sweep: for every row that is read source by source, when each source was last read, and
//! the order in which they are visited again. What an hour costs follows from what it visits, not from how many there are.
//!
//! Must never know: how anything is read, or what a source is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::progress::{Progress, ProgressError, Update};
use crate::archive::Key;

/// (row, source) → (capture at which it was last read, capture at which it was last visited); 0 is never.
const VISITS: TableDefinition<(&str, &str), (u64, u64)> = TableDefinition::new("visits");
/// (row, capture of the last visit, source): the order of the turns.
const ORDER: TableDefinition<(&str, u64, &str), ()> = TableDefinition::new("order");
/// (row, source): sources that couldn't be read when they were last visited.
const VAIN: TableDefinition<(&str, &str), ()> = TableDefinition::new("vain");
/// (row, source): sources that are known to have changed since they were read.
const STALE: TableDefinition<(&str, &str), ()> = TableDefinition::new("stale");
/// Row → number of its sources. A row that isn't here has no order yet.
const QUEUES: TableDefinition<&str, u64> = TableDefinition::new("queues");

/// When a source was last read and last visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    /// The capture at which it was read; `None` where it never was.
    pub read: Option<u64>,
    /// The capture at which it was visited, in vain or not; 0 is never.
    pub at: u64,
}

impl Visit {
    fn of((read, at): (u64, u64)) -> Visit {
        Visit { read: Some(read).filter(|&read| read > 0), at }
    }
}

/// The queue of one row, as it is at the head.
pub(super) struct Queue<'p> {
    progress: &'p Progress,
    row: String,
    visits: ReadOnlyTable<(&'static str, &'static str), (u64, u64)>,
    order: ReadOnlyTable<(&'static str, u64, &'static str), ()>,
    /// The number of sources.
    pub len: u64,
}

impl Queue<'_> {
    /// The last visit of a source; `None` for one that isn't in the queue.
    pub fn visit(&self, source: &str) -> Result<Option<Visit>, ProgressError> {
        self.progress.run(|| Ok(self.visits.get((self.row.as_str(), source))?.map(|visit| Visit::of(visit.value()))))
    }

    /// Calls `each` with the sources last visited in capture `from` or later, the longest unvisited first.
    pub fn each(
        &self,
        from: u64,
        mut each: impl FnMut(&str, u64) -> Result<ControlFlow<()>, ProgressError>,
    ) -> Result<(), ProgressError> {
        let end = format!("{}\0", self.row);
        let range =
            self.progress.run(|| Ok(self.order.range((self.row.as_str(), from, "")..(end.as_str(), 0, ""))?))?;
        for entry in range {
            let (name, _) = self.progress.run(|| Ok(entry?))?;
            let (_, at, source) = name.value();
            if each(source, at)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Progress {
    /// The queue of a row; `None` where its order isn't known and all sources have to be looked at.
    pub(super) fn queue(&self, row: &str) -> Result<Option<Queue<'_>>, ProgressError> {
        self.run(|| {
            let txn = self.database().begin_read()?;
            let Some(len) = txn.open_table(QUEUES)?.get(row)?.map(|len| len.value()) else { return Ok(None) };
            let (visits, order) = (txn.open_table(VISITS)?, txn.open_table(ORDER)?);
            Ok(Some(Queue { progress: self, row: row.to_owned(), visits, order, len }))
        })
    }

    /// The last visits of every source of a row.
    pub(super) fn visits(&self, row: &str) -> Result<BTreeMap<String, Visit>, ProgressError> {
        self.run(|| {
            let table = self.database().begin_read()?.open_table(VISITS)?;
            let end = format!("{row}\0");
            let range = table.range((row, "")..(end.as_str(), ""))?;
            let visits = range.map(|entry| entry.map(|(key, at)| (key.value().1.to_owned(), Visit::of(at.value()))));
            visits.map(|visit| Ok(visit?)).collect()
        })
    }

    /// The capture at which a source was last read under a row.
    pub(super) fn read_at(&self, row: &str, source: &Key) -> Result<Option<u64>, ProgressError> {
        self.run(|| {
            let table = self.database().begin_read()?.open_table(VISITS)?;
            Ok(table.get((row, source.as_str()))?.and_then(|visit| Visit::of(visit.value()).read))
        })
    }

    /// The sources of a row that changed since they were read.
    pub(super) fn stale(&self, row: &str) -> Result<BTreeSet<String>, ProgressError> {
        self.marked(STALE, row)
    }

    /// The sources of a row that couldn't be read when they were last visited.
    pub(super) fn in_vain(&self, row: &str) -> Result<BTreeSet<String>, ProgressError> {
        self.marked(VAIN, row)
    }

    fn marked(&self, table: TableDefinition<(&str, &str), ()>, row: &str) -> Result<BTreeSet<String>, ProgressError> {
        self.run(|| {
            let table = self.database().begin_read()?.open_table(table)?;
            let end = format!("{row}\0");
            let range = table.range((row, "")..(end.as_str(), ""))?;
            range.map(|entry| entry.map(|(key, _)| key.value().1.to_owned())).map(|key| Ok(key?)).collect()
        })
    }

    /// Lays down the order of a row anew. `sources` calls its argument with every source there is, in the order of keys.
    pub(super) fn rebuild<E: From<ProgressError>>(
        &self,
        row: &str,
        sources: impl FnOnce(&mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E>,
    ) -> Result<(), E> {
        let visits = self.visits(row)?;
        let txn = self.run(|| Ok(self.database().begin_write()?))?;
        {
            let (mut table, mut order) = self.run(|| Ok((txn.open_table(VISITS)?, txn.open_table(ORDER)?)))?;
            let end = format!("{row}\0");
            self.run(|| Ok(order.retain_in((row, 0, "")..(end.as_str(), 0, ""), |_, ()| false)?))?;
            let mut left: BTreeSet<&str> = visits.keys().map(String::as_str).collect();
            let mut len = 0;
            sources(&mut |source| {
                left.remove(source);
                len += 1;
                let visit = visits.get(source);
                self.run(|| {
                    if visit.is_none() {
                        table.insert((row, source), (0, 0))?;
                    }
                    order.insert((row, visit.map_or(0, |visit| visit.at), source), ())?;
                    Ok(())
                })
                .map_err(E::from)
            })?;
            self.run(|| {
                for source in left {
                    table.remove((row, source))?;
                }
                txn.open_table(QUEUES)?.insert(row, len)?;
                Ok(())
            })?;
        }
        self.run(|| Ok(txn.commit()?)).map_err(E::from)
    }
}

/// Makes the tables, so that reading finds them.
pub(super) fn prepare(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(VISITS)?;
    txn.open_table(ORDER)?;
    txn.open_table(VAIN)?;
    txn.open_table(STALE)?;
    txn.open_table(QUEUES)?;
    Ok(())
}

/// Takes over what capture `seq` visited, what came and what went.
pub(super) fn write(txn: &WriteTransaction, seq: u64, update: &Update) -> Result<(), redb::Error> {
    let (mut visits, mut order) = (txn.open_table(VISITS)?, txn.open_table(ORDER)?);
    let (mut vain, mut stale) = (txn.open_table(VAIN)?, txn.open_table(STALE)?);
    let mut queues = txn.open_table(QUEUES)?;
    for row in &update.unordered {
        queues.remove(row.as_str())?;
    }
    for (row, key) in &update.stale {
        stale.insert((row.as_str(), key.as_str()), ())?;
    }
    let visited = update.swept.iter().map(|visit| (visit, true));
    for ((row, key), was_read) in visited.chain(update.tried.iter().map(|visit| (visit, false))) {
        let name = (row.as_str(), key.as_str());
        let before = visits.get(name)?.map(|visit| visit.value());
        let read = if was_read { seq } else { before.map_or(0, |(read, _)| read) };
        visits.insert(name, (read, seq))?;
        match was_read {
            true => vain.remove(name)?,
            false => vain.insert(name, ())?,
        };
        stale.remove(name)?;
        // A source that isn't in the order gets there with what came, or when the order is laid down.
        if let Some((_, at)) = before
            && order.remove((row.as_str(), at, key.as_str()))?.is_some()
        {
            order.insert((row.as_str(), seq, key.as_str()), ())?;
        }
    }
    for (row, key) in &update.arrived {
        let name = (row.as_str(), key.as_str());
        let at = visits.get(name)?.map(|visit| visit.value().1);
        if at.is_none() {
            visits.insert(name, (0, 0))?;
        }
        let is_new = order.insert((row.as_str(), at.unwrap_or(0), key.as_str()), ())?.is_none();
        count(&mut queues, row, i64::from(is_new))?;
    }
    for (row, key) in &update.departed {
        let name = (row.as_str(), key.as_str());
        vain.remove(name)?;
        stale.remove(name)?;
        let at = visits.remove(name)?.map(|visit| visit.value().1);
        if let Some(at) = at
            && order.remove((row.as_str(), at, key.as_str()))?.is_some()
        {
            count(&mut queues, row, -1)?;
        }
    }
    Ok(())
}

fn count(queues: &mut redb::Table<'_, &'static str, u64>, row: &str, more: i64) -> Result<(), redb::Error> {
    let len = queues.get(row)?.map(|len| len.value());
    if let Some(len) = len {
        queues.insert(row, len.saturating_add_signed(more))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "group owners";

    fn key(id: &str) -> Key {
        Key::new("group", id)
    }

    fn turns(progress: &Progress) -> Vec<(String, u64)> {
        let queue = progress.queue(ROW).unwrap().expect("an order");
        let mut turns = Vec::new();
        queue
            .each(0, |source, at| {
                turns.push((source.strip_prefix("group/").unwrap().to_owned(), at));
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(turns.len() as u64, queue.len);
        turns
    }

    fn named(ids: &[&str]) -> Vec<(String, Key)> {
        ids.iter().map(|id| (ROW.to_owned(), key(id))).collect()
    }

    fn told(turns: &[(&str, u64)]) -> Vec<(String, u64)> {
        turns.iter().map(|(id, at)| ((*id).to_owned(), *at)).collect()
    }

    #[test]
    fn turns_follow_visits_arrivals_and_departures() {
        let directory = tempfile::tempdir().unwrap();
        let progress = Progress::open(directory.path()).unwrap();
        assert!(progress.queue(ROW).unwrap().is_none(), "before the first capture nobody knows the order");
        let first = Update { swept: named(&["a", "b"]), unordered: vec![ROW.to_owned()], ..Update::default() };
        progress.write(3, &first).unwrap();
        let all = |each: &mut dyn FnMut(&str) -> Result<(), ProgressError>| {
            ["group/a", "group/b", "group/c"].into_iter().try_for_each(each)
        };
        progress.rebuild(ROW, all).unwrap();
        assert_eq!(turns(&progress), told(&[("c", 0), ("a", 3), ("b", 3)]));
        let second = Update {
            swept: named(&["a"]),
            tried: named(&["c"]),
            stale: named(&["b", "a"]),
            arrived: named(&["d"]),
            ..Update::default()
        };
        progress.write(4, &second).unwrap();
        assert_eq!(turns(&progress), told(&[("d", 0), ("b", 3), ("a", 4), ("c", 4)]));
        assert_eq!(progress.stale(ROW).unwrap(), ["group/b".to_owned()].into(), "what was read is no longer stale");
        assert_eq!(progress.in_vain(ROW).unwrap(), ["group/c".to_owned()].into());
        assert_eq!(progress.read_at(ROW, &key("c")).unwrap(), None);
        let third = Update {
            swept: named(&["c", "d", "e"]),
            arrived: named(&["e"]),
            departed: named(&["b", "x"]),
            ..Update::default()
        };
        progress.write(5, &third).unwrap();
        assert_eq!(turns(&progress), told(&[("a", 4), ("c", 5), ("d", 5), ("e", 5)]));
        assert!(progress.stale(ROW).unwrap().is_empty() && progress.in_vain(ROW).unwrap().is_empty());
        let all = |each: &mut dyn FnMut(&str) -> Result<(), ProgressError>| ["group/d"].into_iter().try_for_each(each);
        progress.rebuild(ROW, all).unwrap();
        assert_eq!(turns(&progress), told(&[("d", 5)]));
        assert_eq!(progress.read_at(ROW, &key("a")).unwrap(), None, "what isn't there any more is forgotten");
    }
}
