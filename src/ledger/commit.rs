//! From the spool into the chain: each record once, whatever crashes in between.
//!
//! Must never know: what a record says, but its id and its time.
//!
//! What holds after each step of [`Ledger::commit`]:
//!
//! 1. the lock taken: no other process of this machine brings records of this spool into the chain.
//! 2. `taken.json` says from which number on our entry may stand: a crash from here on is noticed, and the next run looks
//!    there for what it finds spooled.
//! 3. the packs, then the entry: **committed**.
//! 4. `taken.json` says how far each file was taken: nothing of that is taken again.
//! 5. files removed that nobody appends to any more. What a crash leaves of them the next run removes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::spool::{ENDING, UNFINISHED, make_directory, sync_directory};
use super::{Ledger, LedgerError, Record, RecordId, records_of};
use crate::archive::appender::{AppendError, Appender};
use crate::archive::entry::{Body, Entry, entry_name};
use crate::archive::pack::{self, Kind, Place};
use crate::archive::reader::ReadError;
use crate::store::{Store, StoreError};

/// Bytes of records that one entry takes, about: more than that goes into the next.
const ENTRY_BYTES: usize = 32 << 20;
/// Tries of an entry that other writers were quicker than.
const TRIES: usize = 8;
/// The lock of who brings records into the chain.
const LOCK: &str = "commit.lock";
/// What remembers how far that has come.
const TAKEN: &str = "taken.json";
/// How the name of a file begins that holds lines which are no records.
const DAMAGED: &str = "damaged-";

/// What was brought into the chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entered {
    /// Records.
    pub records: u64,
    /// The last entry that holds some; none where nothing was spooled.
    pub seq: Option<u64>,
}

impl Ledger {
    /// Brings everything that is spooled into the chain, whichever process recorded it. Nothing happens where another
    /// process is at it, or where the archive has no capture yet, since a pack needs a segment: then it stays spooled.
    ///
    /// # Errors
    /// What isn't in the chain stays spooled; what is, isn't brought there again.
    pub async fn commit(&self, appender: &mut Appender) -> Result<Entered, LedgerError> {
        self.settle()?;
        // What follows goes into another file, so that ours goes with what is taken.
        self.locked().end();
        let directory = self.directory();
        let wrap = |source| LedgerError::Spool { path: directory.clone(), source };
        let mut entered = Entered::default();
        if !directory.is_dir() {
            return Ok(entered);
        }
        let Some(_lock) = lock(&directory, LOCK).map_err(wrap)? else { return Ok(entered) };
        loop {
            let mut taken = Taken::read(&directory).map_err(wrap)?;
            let found = collect(&directory, &taken, ENTRY_BYTES).map_err(wrap)?;
            if found.records.is_empty() && taken.from.is_none() {
                tidy(&directory, &found).map_err(wrap)?;
                return Ok(entered);
            }
            appender.catch_up().await?;
            if appender.walker().last().segment.is_none() {
                return Ok(entered);
            }
            let mut records = found.records;
            if let Some(from) = taken.from {
                let known = ids_from(&**appender.store(), from, appender.walker().next_seq()).await?;
                records.retain(|record| !known.contains(&record.id));
            }
            if !records.is_empty() {
                taken.from.get_or_insert(appender.walker().next_seq());
                taken.write(&directory).map_err(wrap)?;
                entered.seq = Some(self.append(appender, &mut records).await?);
                entered.records += records.len() as u64;
            }
            let rest = Found { records: Vec::new(), ..found };
            taken = Taken { from: None, files: rest.files.iter().map(|file| (file.name.clone(), file.end)).collect() };
            taken.write(&directory).map_err(wrap)?;
            tidy(&directory, &rest).map_err(wrap)?;
            if rest.is_whole {
                return Ok(entered);
            }
        }
    }

    /// Commits one entry with `records`, in the order of their times; within a millisecond in that of their files, so that
    /// what one process was asked keeps its order.
    async fn append(&self, appender: &mut Appender, records: &mut [Record]) -> Result<u64, LedgerError> {
        records.sort_by_key(|record| record.at);
        let lines: Vec<u8> = records.iter().flat_map(|record| record.text.iter().copied().chain([b'\n'])).collect();
        let mut last = None;
        for _ in 0..TRIES {
            let mut body = appender.draft("access", self.clock.now())?;
            let (container, segment) = body.container.clone().zip(body.segment).expect("the caller saw a segment");
            let parts = pack::write(&Place { container, segment, seq: body.seq }, Kind::Access, &lines);
            for part in &parts {
                appender.put_pack(part).await?;
            }
            body.count = Some(records.len() as u64);
            body.packs = Some(parts.into_iter().map(|part| part.reference).collect());
            match appender.commit(&body).await {
                Ok(_) => return Ok(body.seq),
                // The packs of the number that another took are orphans.
                Err(error @ AppendError::LostRace { .. }) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
            appender.catch_up().await?;
        }
        Err(last.expect("there is at least one try, and only a lost race leads here").into())
    }
}

/// The records that an `access` entry commits to, in their order.
pub(super) async fn read_entry(store: &dyn Store, body: &Body) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    for reference in body.packs.iter().flatten() {
        crate::archive::reader::read_pack(store, reference, |line, _| records.extend(Record::parse(line))).await?;
    }
    Ok(records)
}

/// Ids of the records in the entries from `from` on, up to but not including `end`. What can't be read there counts as not
/// recorded: a record that stands in the chain twice is still one record, a lost one is lost.
async fn ids_from(store: &dyn Store, from: u64, end: u64) -> Result<BTreeSet<RecordId>, LedgerError> {
    let mut ids = BTreeSet::new();
    for seq in from..end {
        let file = match store.get(&entry_name(seq)).await {
            Ok(file) => file,
            Err(StoreError::NotFound { .. }) => continue,
            Err(error) => return Err(AppendError::from(error).into()),
        };
        let Ok(entry) = Entry::parse(&file) else { continue };
        if entry.body.kind != "access" {
            continue;
        }
        match records_of(store, &entry.body).await {
            Ok(records) => ids.extend(records.iter().map(|record| record.id)),
            Err(ReadError::Store { source, .. }) if source.is_transient() => {
                return Err(AppendError::from(source).into());
            }
            Err(error) => {
                tracing::warn!(seq, error = &error as &dyn std::error::Error, "own-use records cannot be compared");
            }
        }
    }
    Ok(ids)
}

/// How far the files of the spool were taken.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    /// While an entry is being made: the first number that it may have.
    from: Option<u64>,
    /// Bytes by name.
    files: BTreeMap<String, u64>,
}

impl Taken {
    /// A file that is damaged knows nothing: then the whole log is looked through for what is spooled.
    fn read(directory: &Path) -> io::Result<Taken> {
        let bytes = match fs::read(directory.join(TAKEN)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::default()),
            Err(error) => return Err(error),
        };
        Ok(Taken::parse(&bytes).unwrap_or(Taken { from: Some(0), files: BTreeMap::new() }))
    }

    fn parse(bytes: &[u8]) -> Option<Taken> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let from = match value.get("from")? {
            Value::Null => None,
            from => Some(from.as_u64()?),
        };
        let files = value.get("files")?.as_object()?;
        let files = files.iter().map(|(name, end)| Some((name.clone(), end.as_u64()?)));
        Some(Taken { from, files: files.collect::<Option<_>>()? })
    }

    /// Whole or not at all, and for good.
    fn write(&self, directory: &Path) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(json!({ "from": self.from, "files": self.files }).to_string().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(directory.join(TAKEN))?;
        sync_directory(directory)
    }
}

/// What is spooled and wasn't taken.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub records: Vec<Record>,
    files: Vec<FoundFile>,
    /// Whether all of it was read.
    is_whole: bool,
}

#[derive(Debug)]
struct FoundFile {
    name: String,
    /// Up to where it was read.
    end: u64,
    /// Nobody appends to it any more, and all of it was read. Its lock is kept as long as this.
    closed: Option<File>,
    is_damaged: bool,
}

/// Everything that is spooled, in the order of its times, for who looks and takes nothing.
pub(super) fn look(directory: &Path) -> io::Result<Vec<Record>> {
    let mut records = collect(directory, &Taken::read(directory)?, usize::MAX)?.records;
    // Stable: a process may be asked several times in a millisecond.
    records.sort_by_key(|record| record.at);
    Ok(records)
}

/// Reads what wasn't taken, file by file, up to about `most` bytes.
fn collect(directory: &Path, taken: &Taken, most: usize) -> io::Result<Found> {
    let mut found = Found { is_whole: true, ..Found::default() };
    let mut bytes = 0;
    for (name, path) in files(directory)?.into_iter().filter(|(name, _)| name.ends_with(ENDING)) {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // In this order: what is in a file that nobody has locked is all there will ever be in it.
        let is_closed = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        let start = taken.files.get(&name).copied().unwrap_or(0);
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        // Files are short: their writers see to that.
        file.read_to_end(&mut content)?;
        let whole = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let mut is_damaged = false;
        for line in content[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match Record::parse(line) {
                Some(record) => found.records.push(record),
                None => is_damaged = true,
            }
        }
        bytes += whole;
        let end = start + whole as u64;
        found.files.push(FoundFile { name, end, closed: is_closed.then_some(file), is_damaged });
        if bytes >= most {
            found.is_whole = false;
            break;
        }
    }
    Ok(found)
}

/// Removes what was taken and gets nothing more. A file in which something stood that is no record is kept under another
/// name, for a person to look at.
fn tidy(directory: &Path, found: &Found) -> io::Result<()> {
    let mut changed = false;
    for file in found.files.iter().filter(|file| file.closed.is_some()) {
        let path = directory.join(&file.name);
        match file.is_damaged {
            true => {
                tracing::warn!(file = file.name, "a file of own-use records holds lines that are none; it is kept");
                fs::rename(&path, directory.join(format!("{DAMAGED}{}.txt", file.name)))?;
            }
            false => fs::remove_file(&path)?,
        }
        changed = true;
    }
    for (_, path) in files(directory)?.into_iter().filter(|(name, _)| name.starts_with(UNFINISHED)) {
        // Whoever made it and is about to lock it makes another.
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
    if changed { sync_directory(directory) } else { Ok(()) }
}

fn files(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            files.push((name.to_owned(), path.clone()));
        }
    }
    files.sort();
    Ok(files)
}

/// A lock on the file `name` in `directory` for as long as the file is kept; none where another has it.
pub(super) fn lock(directory: &Path, name: &str) -> io::Result<Option<File>> {
    make_directory(directory)?;
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(directory.join(name))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
