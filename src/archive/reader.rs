//! Reading lines back: whole packs one after another, or single lines by their place.
//!
//! Must never know: what was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::entry::PackRef;
use super::line::{InvalidLine, Line};
use super::pack::{self, Frame, FrameReader, InvalidPack};
use super::recent::Recent;
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// What keeps a line from being read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed, or the pack is gone.
    #[error("pack {name} could not be read; `tenure verify` tells what is damaged, the other packs are not touched")]
    Store {
        /// The pack.
        name: String,
        /// What the store said.
        source: StoreError,
    },
    /// The file isn't what the entry committed to.
    #[error("pack {name} is damaged: expected {expected}, found {found}; `tenure verify` tells what it touches")]
    Damaged {
        /// The pack.
        name: String,
        /// Hash or length that was committed to.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The file's frames can't be read.
    #[error("pack {name} is damaged; `tenure verify` tells what it touches")]
    Pack {
        /// The pack.
        name: String,
        /// What is wrong.
        source: InvalidPack,
    },
    /// A line isn't one.
    #[error("pack {name} holds what is no line; `tenure verify --deep` tells more")]
    Line {
        /// The pack.
        name: String,
        /// What is wrong.
        source: InvalidLine,
    },
}

/// Where a line lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The frame in its pack.
    pub frame: u32,
    /// Bytes before it in the frame.
    pub offset: u32,
    /// Its length without the line feed.
    pub len: u32,
}

/// Reads a whole pack, checks length and hash against `reference`, and hands out its lines in order with their places.
///
/// # Errors
/// [`ReadError`]; nothing is handed out from a file whose hash is wrong.
pub async fn read_pack(
    store: &dyn Store,
    reference: &PackRef,
    mut each: impl FnMut(&[u8], Place),
) -> Result<(), ReadError> {
    let name = &reference.n;
    let file = store.get(name).await.map_err(|source| ReadError::Store { name: name.clone(), source })?;
    let found = Hash::of(&file);
    if found != reference.h {
        let (expected, found) = (reference.h.to_string(), found.to_string());
        return Err(ReadError::Damaged { name: name.clone(), expected, found });
    }
    pack::read_all(&file, reference.raw, |frame, lines| {
        let mut offset = 0;
        for line in lines.split_inclusive(|&b| b == b'\n') {
            let len = line.len() as u32 - 1;
            each(&line[..line.len() - 1], Place { frame: frame as u32, offset, len });
            offset += len + 1;
        }
    })
    .map_err(|source| ReadError::Pack { name: name.clone(), source })
}

/// Reads a whole pack as parsed lines.
///
/// # Errors
/// [`ReadError`].
pub async fn read_lines(
    store: &dyn Store,
    reference: &PackRef,
    mut each: impl FnMut(Line, Place),
) -> Result<(), ReadError> {
    let mut bad = None;
    read_pack(store, reference, |bytes, place| match Line::read(bytes) {
        Ok(line) => each(line, place),
        Err(source) => {
            bad.get_or_insert(source);
        }
    })
    .await?;
    match bad {
        Some(source) => Err(ReadError::Line { name: reference.n.clone(), source }),
        None => Ok(()),
    }
}

/// Single lines by their place, with the last lines, frames and seek tables kept: a pack never changes, so that nothing kept
/// can be out of date.
///
/// A frame is not hashed on its own: callers compare what they get with the hash they know it by.
#[derive(Debug)]
pub struct LineReader {
    store: Arc<dyn Store>,
    cache: Mutex<Cache>,
    /// Decompressors that nobody uses now.
    idle: Mutex<Vec<FrameReader>>,
}

/// The lines of one frame.
#[derive(Debug, Clone)]
pub struct FrameLines(Arc<Vec<u8>>);

impl FrameLines {
    /// The line at `place` in this frame, without its line feed; `None` where none ends there.
    pub fn line(&self, place: Place) -> Option<&[u8]> {
        let (start, end) = (place.offset as usize, place.offset as usize + place.len as usize);
        self.0.get(start..end).filter(|_| self.0.get(end) == Some(&b'\n'))
    }
}

#[derive(Debug)]
struct Cache {
    tables: HashMap<String, Arc<Vec<Frame>>>,
    /// Numbers of packs here, by their names.
    packs: HashMap<String, u32>,
    /// By pack and frame.
    frames: Recent<(u32, u32), Arc<Vec<u8>>>,
    /// By pack, frame and offset. Questions come back to the same lines again and again (what is granted to everybody, what an
    /// application calls its roles), and these lie in more frames than can be kept.
    lines: Recent<(u32, u32, u32), Arc<Vec<u8>>>,
}

/// Bytes of decompressed frames that a [`LineReader`] keeps.
const CACHE_BYTES: usize = 16 << 20;
/// Bytes of single lines that it keeps besides.
const CACHE_LINES: usize = 8 << 20;
/// What it takes to keep a line, its bytes apart.
const LINE_COST: usize = 96;
/// Seek tables that a [`LineReader`] keeps.
const CACHE_TABLES: usize = 4096;

impl LineReader {
    /// A reader over `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, cache: Mutex::default(), idle: Mutex::default() }
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The bytes of one line of the pack `name`, whose file has `len` bytes.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn line(&self, name: &str, len: u64, place: Place) -> Result<Vec<u8>, ReadError> {
        let pack = {
            let mut cache = self.lock();
            let pack = cache.pack(name);
            match cache.lines.get(&(pack, place.frame, place.offset)) {
                Some(line) if line.len() == place.len as usize => return Ok(line.to_vec()),
                _ => pack,
            }
        };
        let frame = FrameLines(self.frame((pack, name), len, place.frame).await?);
        match frame.line(place) {
            Some(line) => {
                let kept = Arc::new(line.to_vec());
                self.lock().lines.keep((pack, place.frame, place.offset), kept, line.len() + LINE_COST, CACHE_LINES);
                Ok(line.to_vec())
            }
            None => Err(ReadError::Pack { name: name.to_owned(), source: InvalidPack::LineEnd(place.frame as usize) }),
        }
    }

    /// The lines of a whole frame, for whoever needs many of them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn lines_of(&self, name: &str, len: u64, frame: u32) -> Result<FrameLines, ReadError> {
        let pack = self.lock().pack(name);
        self.frame((pack, name), len, frame).await.map(FrameLines)
    }

    async fn frame(&self, (pack, name): (u32, &str), len: u64, index: u32) -> Result<Arc<Vec<u8>>, ReadError> {
        if let Some(frame) = self.lock().frames.get(&(pack, index)) {
            return Ok(frame);
        }
        let bad = |source| ReadError::Pack { name: name.to_owned(), source };
        let frames = self.table(name, len).await?;
        let frame = frames.get(index as usize).copied().ok_or_else(|| bad(InvalidPack::SeekTable))?;
        let bytes = self.range(name, frame.offset, frame.offset + u64::from(frame.len)).await?;
        let mut reader = self.idle().pop().unwrap_or_default();
        let lines = reader.read(&bytes, index as usize, frame.raw);
        self.idle().push(reader);
        let lines = Arc::new(lines.map_err(bad)?);
        self.lock().frames.keep((pack, index), lines.clone(), lines.len(), CACHE_BYTES);
        Ok(lines)
    }

    async fn table(&self, name: &str, len: u64) -> Result<Arc<Vec<Frame>>, ReadError> {
        if let Some(table) = self.lock().tables.get(name) {
            return Ok(table.clone());
        }
        let bad = |source| ReadError::Pack { name: name.to_owned(), source };
        let tail = self.range(name, len - pack::tail_len(len), len).await?;
        let table = match pack::read_seek_table(&tail, len).map_err(bad)? {
            Some(table) => table,
            None => {
                let whole = self.range(name, 0, len).await?;
                pack::read_seek_table(&whole, len).map_err(bad)?.ok_or(InvalidPack::SeekTable).map_err(bad)?
            }
        };
        let table = Arc::new(table);
        let mut cache = self.lock();
        if cache.tables.len() >= CACHE_TABLES {
            cache.tables.clear();
        }
        cache.tables.insert(name.to_owned(), table.clone());
        Ok(table)
    }

    async fn range(&self, name: &str, start: u64, end: u64) -> Result<Vec<u8>, ReadError> {
        self.store
            .get_range(name, start..end)
            .await
            .map_err(|source| ReadError::Store { name: name.to_owned(), source })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().expect("no code panics while it holds the cache")
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<FrameReader>> {
        self.idle.lock().expect("no code panics while it holds the decompressors")
    }
}

impl Default for Cache {
    fn default() -> Self {
        let (tables, packs) = (HashMap::new(), HashMap::new());
        Cache { tables, packs, frames: Recent::default(), lines: Recent::default() }
    }
}

impl Cache {
    /// The number of a pack here. There are as many as packs that were read from, a hundred bytes each.
    fn pack(&mut self, name: &str) -> u32 {
        if let Some(number) = self.packs.get(name) {
            return *number;
        }
        let number = self.packs.len() as u32;
        self.packs.insert(name.to_owned(), number);
        number
    }
}
