//! What was seen, sorted by key: in memory while it is little, in sorted runs on disk where it is much.
//!
//! Must never know: what the sightings mean together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use crate::archive::Key;
use crate::archive::line::Content;

/// Bytes of sightings that are kept in memory before a run is written.
const RUN_BYTES: usize = 12 << 20;

/// Bytes of sightings that stay in memory once a collection was read.
const SETTLED_BYTES: usize = 1 << 20;

/// All runs are read back at once, each through a window of its own: a small one.
const WINDOW_LOG: u32 = 17;

/// The part of a capture in which something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The change feed, or the only list there is.
    First,
    /// The whole read of a reconciliation.
    Whole,
    /// The change feed again, after the whole read.
    Again,
    /// Single objects anew.
    Reread,
    /// Relations that no feed reports.
    Links,
}

const PHASES: [Phase; 5] = [Phase::First, Phase::Whole, Phase::Again, Phase::Reread, Phase::Links];

/// One thing seen of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its content; `partial` content is laid over what is known.
    Content { content: Content, partial: bool },
    /// The service says it is gone.
    Gone,
    /// One link is there, or isn't.
    Link { relation: String, target: Key, present: bool },
    /// The targets of a relation, all of them.
    Links { relation: String, targets: Vec<Key> },
    /// It is an event.
    Event { content: Content },
}

/// A sighting with its place in the capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub key: Key,
    pub phase: Phase,
    /// Counts the restarts of the phase: only the last generation counts.
    pub generation: u32,
    pub seen: Seen,
}

/// Collects records in any order and gives them back by key, in the order of arrival for each key.
#[derive(Debug, Default)]
pub(super) struct Spool {
    pending: BTreeMap<Key, Vec<u8>>,
    bytes: usize,
    runs: Vec<std::fs::File>,
}

impl Spool {
    /// Adds a record.
    ///
    /// # Errors
    /// Where a run can't be written to the temporary directory.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        let mut encoded = Vec::new();
        encode(record, &mut encoded);
        self.bytes += encoded.len() + record.key.as_str().len() + 64;
        let held = self.pending.entry(record.key.clone()).or_default();
        write_bytes(&encoded, held);
        if self.bytes > RUN_BYTES {
            self.write_run()?;
        }
        Ok(())
    }

    /// Writes what is in memory to disk, unless it is little.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.bytes > SETTLED_BYTES { self.write_run() } else { Ok(()) }
    }

    fn write_run(&mut self) -> io::Result<()> {
        let mut file = tempfile::tempfile()?;
        let mut encoder = zstd::Encoder::new(BufWriter::new(&mut file), 1)?;
        encoder.window_log(WINDOW_LOG)?;
        for (key, records) in std::mem::take(&mut self.pending) {
            let mut frame = Vec::with_capacity(records.len() + 64);
            write_bytes(key.as_str().as_bytes(), &mut frame);
            write_bytes(&records, &mut frame);
            encoder.write_all(&frame)?;
        }
        encoder.finish()?.flush()?;
        file.rewind()?;
        self.runs.push(file);
        self.bytes = 0;
        Ok(())
    }

    /// Everything, key by key in order.
    ///
    /// # Errors
    /// Where a run can't be read back.
    pub fn drain(mut self) -> io::Result<Drain> {
        let memory = std::mem::take(&mut self.pending);
        let mut drain = Drain { memory: memory.into_iter(), runs: Vec::new(), heads: BinaryHeap::new() };
        for file in self.runs {
            drain.runs.push(zstd::Decoder::new(file)?);
        }
        for run in 0..=drain.runs.len() {
            drain.refill(run)?;
        }
        Ok(drain)
    }
}

/// The records of a spool in key order.
pub(super) struct Drain {
    memory: std::collections::btree_map::IntoIter<Key, Vec<u8>>,
    runs: Vec<zstd::Decoder<'static, BufReader<std::fs::File>>>,
    /// The next key of each run; runs in order of time, memory last.
    heads: BinaryHeap<Reverse<(Key, usize, Vec<u8>)>>,
}

impl Drain {
    fn refill(&mut self, run: usize) -> io::Result<()> {
        let head = match self.runs.get_mut(run) {
            None => self.memory.next(),
            Some(reader) => match read_bytes(reader)? {
                None => None,
                Some(key) => {
                    let key = String::from_utf8(key).ok().and_then(|key| key.parse().ok()).ok_or_else(broken)?;
                    Some((key, read_bytes(reader)?.ok_or_else(broken)?))
                }
            },
        };
        if let Some((key, records)) = head {
            self.heads.push(Reverse((key, run, records)));
        }
        Ok(())
    }

    /// The next key and all its records.
    ///
    /// # Errors
    /// Where a run can't be read back.
    pub fn next(&mut self) -> io::Result<Option<(Key, Vec<Record>)>> {
        let Some(Reverse((key, run, bytes))) = self.heads.pop() else { return Ok(None) };
        let mut records = decode_all(&key, &bytes)?;
        self.refill(run)?;
        while self.heads.peek().is_some_and(|Reverse((other, ..))| *other == key) {
            let Reverse((_, run, bytes)) = self.heads.pop().expect("just peeked");
            records.extend(decode_all(&key, &bytes)?);
            self.refill(run)?;
        }
        Ok(Some((key, records)))
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file was changed while it was in use")
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn read_bytes(reader: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    if let Err(error) = reader.read_exact(&mut len) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
    reader.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Stands where content says whether it is partial.
const EVENT: u8 = 2;

fn encode(record: &Record, out: &mut Vec<u8>) {
    out.push(PHASES.iter().position(|phase| *phase == record.phase).expect("every phase is listed") as u8);
    out.extend_from_slice(&record.generation.to_le_bytes());
    match &record.seen {
        Seen::Content { content, .. } | Seen::Event { content } => {
            let (tag, bytes) = match content {
                Content::Canonical(bytes) => (0, bytes.as_slice()),
                Content::Raw(bytes) => (1, bytes.as_slice()),
                Content::Hidden(hash) => (2, hash.0.as_slice()),
            };
            let form = match &record.seen {
                Seen::Event { .. } => EVENT,
                Seen::Content { partial, .. } => u8::from(*partial),
                _ => unreachable!("one of the two"),
            };
            out.extend_from_slice(&[tag, form]);
            out.extend_from_slice(bytes);
        }
        Seen::Gone => out.push(3),
        Seen::Link { relation, target, present } => {
            out.extend_from_slice(&[4, u8::from(*present)]);
            write_bytes(relation.as_bytes(), out);
            out.extend_from_slice(target.as_str().as_bytes());
        }
        Seen::Links { relation, targets } => {
            out.push(5);
            write_bytes(relation.as_bytes(), out);
            for target in targets {
                out.extend_from_slice(target.as_str().as_bytes());
                out.push(b'\n');
            }
        }
    }
}

fn decode_all(key: &Key, mut bytes: &[u8]) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(broken)?;
        records.push(decode(key, record).ok_or_else(broken)?);
        bytes = rest;
    }
    Ok(records)
}

fn decode(key: &Key, bytes: &[u8]) -> Option<Record> {
    let phase = *PHASES.get(usize::from(*bytes.first()?))?;
    let generation = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
    let (tag, rest) = bytes.get(5..)?.split_first()?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let split = |bytes: &[u8]| -> Option<(String, Vec<u8>)> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (relation, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some((text(relation)?, rest.to_vec()))
    };
    let seen = match tag {
        0..=2 => {
            let (form, bytes) = rest.split_first()?;
            let content = match tag {
                0 => Content::Canonical(bytes.to_vec()),
                1 => Content::Raw(bytes.to_vec()),
                _ => Content::Hidden(crate::hash::Hash(bytes.try_into().ok()?)),
            };
            match *form {
                EVENT => Seen::Event { content },
                form => Seen::Content { content, partial: form == 1 },
            }
        }
        3 => Seen::Gone,
        4 => {
            let (present, rest) = rest.split_first()?;
            let (relation, target) = split(rest)?;
            Seen::Link { relation, target: text(&target)?.parse().ok()?, present: *present == 1 }
        }
        5 => {
            let (relation, targets) = split(rest)?;
            let targets = text(&targets)?.lines().map(|target| target.parse().ok()).collect::<Option<_>>()?;
            Seen::Links { relation, targets }
        }
        _ => return None,
    };
    Some(Record { key: key.clone(), phase, generation, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, number: u32, seen: Seen) -> Record {
        Record { key: key.parse().unwrap(), phase: PHASES[number as usize % 5], generation: number, seen }
    }

    #[test]
    fn records_come_back_by_key_in_order_of_arrival_across_runs() {
        let mut spool = Spool::default();
        let mut expected: BTreeMap<Key, Vec<Record>> = BTreeMap::new();
        for number in 0..300u32 {
            let target: Key = format!("user/{number}").parse().unwrap();
            let relation = "members".to_owned();
            let seen = match number % 6 {
                5 => Seen::Event { content: Content::Canonical(b"{}".to_vec()) },
                0 => Seen::Content { content: Content::Canonical(b"{}".to_vec()), partial: number % 2 == 0 },
                1 => Seen::Content { content: Content::Raw(vec![0, 255]), partial: false },
                2 => Seen::Gone,
                3 => Seen::Link { relation, target, present: number % 2 == 0 },
                _ => Seen::Links { relation, targets: vec![target] },
            };
            let record = record(&format!("user/{}", number * 7 % 20), number, seen);
            spool.push(&record).unwrap();
            expected.entry(record.key.clone()).or_default().push(record);
            if number % 90 == 89 {
                spool.write_run().unwrap();
            }
        }
        let mut drain = spool.drain().unwrap();
        let mut found = Vec::new();
        while let Some(next) = drain.next().unwrap() {
            found.push(next);
        }
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}
