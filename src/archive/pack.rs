//! Packs: sorted lines in the zstd seekable format.
//!
//! Must never know: what a line says.
//!
//! Independent zstd frames of about 256 KiB of whole lines each, then the seek table in a skippable frame, as
//! `contrib/seekable_format` of zstd has it (no checksums: the entry's SHA-256 covers the file). `zstd -dc` skips the
//! table and gives the lines.

use zstd::bulk::{Compressor, Decompressor};

use super::entry::PackRef;
use crate::hash::Hash;

/// Raw bytes after which a frame ends, at the next line end.
pub const FRAME_LEN: usize = 256 * 1024;
/// Compressed bytes that a part of a base doesn't exceed, seek table apart. The format allows 64 MiB; a part is held in
/// memory by whoever writes or checks it.
pub const PART_LEN: usize = 16 << 20;
/// Most bytes a reader takes from one frame: a frame is a quarter mebibyte of lines and one line more, and a line holds
/// one body of Graph at most.
pub const MAX_FRAME_LEN: usize = 128 << 20;

const SKIPPABLE_MAGIC: u32 = 0x184D_2A5E;
const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
const FOOTER_LEN: usize = 9;
const ROW_LEN: usize = 8;

/// What a pack is for; its letter stands in the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A part of a segment's base.
    Base,
    /// Changes.
    Delta,
    /// Removals inferred from absence and held back.
    Gated,
    /// Receipts.
    Receipts,
    /// Bodies as received.
    Originals,
    /// Own-use and action records.
    Access,
}

impl Kind {
    /// The letter.
    pub fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::Delta => 'd',
            Kind::Gated => 'g',
            Kind::Receipts => 'r',
            Kind::Originals => 'o',
            Kind::Access => 'a',
        }
    }

    /// The kind of a letter.
    pub fn from_letter(letter: char) -> Option<Kind> {
        [Kind::Base, Kind::Delta, Kind::Gated, Kind::Receipts, Kind::Originals, Kind::Access]
            .into_iter()
            .find(|kind| kind.letter() == letter)
    }

    /// The zstd level that this kind is written with. Nothing depends on it when reading. Bases and changes are kept for
    /// years and written once; receipts are bulky, hardly compress better with effort, and are rarely read.
    fn level(self) -> i32 {
        match self {
            Kind::Base => 12,
            Kind::Delta | Kind::Gated => 15,
            Kind::Receipts | Kind::Originals | Kind::Access => 9,
        }
    }
}

/// The place of a pack: which segment and entry it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `yyyy-mm`.
    pub container: String,
    /// Sequence number of the segment's opening entry.
    pub segment: u64,
    /// Sequence number of the entry.
    pub seq: u64,
}

impl Place {
    /// Where every pack of the segment is.
    pub fn segment_prefix(container: &str, segment: u64) -> String {
        format!("{container}/s/{segment:010}/")
    }

    fn name(&self, kind: Kind, part: usize, hash: Hash) -> String {
        let prefix = Place::segment_prefix(&self.container, self.segment);
        format!("{prefix}{:010}-{}{part:03}-{hash}.ndz", self.seq, kind.letter())
    }
}

/// What a pack's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedName {
    /// The place.
    pub place: Place,
    /// The kind.
    pub kind: Kind,
    /// The number of the part.
    pub part: usize,
    /// The hash that the file should have.
    pub hash: Hash,
}

/// Reads a pack's name; `None` for any other name.
pub fn parse_name(name: &str) -> Option<ParsedName> {
    let mut segments = name.split('/');
    let (container, s, segment, file) = (segments.next()?, segments.next()?, segments.next()?, segments.next()?);
    let mut parts = file.strip_suffix(".ndz")?.splitn(3, '-');
    let (seq, part, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut letters = part.chars();
    let kind = Kind::from_letter(letters.next()?)?;
    let place = Place { container: container.to_owned(), segment: segment.parse().ok()?, seq: seq.parse().ok()? };
    let parsed = ParsedName { place, kind, part: letters.as_str().parse().ok()?, hash: hash.parse().ok()? };
    let same = parsed.place.name(kind, parsed.part, parsed.hash) == name;
    (s == "s" && segments.next().is_none() && same).then_some(parsed)
}

/// A finished part: its file and what an entry says of it.
#[derive(Debug, Clone)]
pub struct Part {
    /// The entry's row.
    pub reference: PackRef,
    /// The file.
    pub file: Vec<u8>,
}

/// Writes lines into parts. Memory is one part and one frame.
pub struct PackWriter {
    place: Place,
    kind: Kind,
    part: usize,
    part_len: usize,
    compressor: Compressor<'static>,
    lines: Vec<u8>,
    file: Vec<u8>,
    frames: Vec<(u32, u32)>,
    raw: u64,
}

impl PackWriter {
    /// A writer of packs of `kind` for the entry of `place`.
    pub fn new(place: Place, kind: Kind) -> Self {
        Self::with_part_len(place, kind, PART_LEN)
    }

    /// As [`PackWriter::new`], with parts that stay below `part_len` compressed bytes where frames allow.
    pub fn with_part_len(place: Place, kind: Kind, part_len: usize) -> Self {
        let compressor = Compressor::new(kind.level()).expect("the levels above are levels of zstd");
        let (lines, file, frames) = (Vec::new(), Vec::new(), Vec::new());
        PackWriter { place, kind, part: 0, part_len, compressor, lines, file, frames, raw: 0 }
    }

    /// Adds whole lines. Returns the parts that are full.
    pub fn push(&mut self, lines: &[u8]) -> Vec<Part> {
        let mut full = Vec::new();
        for line in lines.split_inclusive(|&b| b == b'\n') {
            self.lines.extend_from_slice(line);
            if self.lines.len() >= FRAME_LEN {
                full.extend(self.end_frame());
            }
        }
        full
    }

    /// The parts that were left; none where no line was (there are no empty packs).
    pub fn finish(mut self) -> Vec<Part> {
        let full = if self.lines.is_empty() { None } else { self.end_frame() };
        full.into_iter().chain(self.end_part()).collect()
    }

    fn end_frame(&mut self) -> Option<Part> {
        let frame = self.compressor.compress(&self.lines).expect("compressing into a fresh buffer cannot fail");
        let full = match !self.file.is_empty() && self.file.len() + frame.len() > self.part_len {
            true => self.end_part(),
            false => None,
        };
        self.frames.push((frame.len() as u32, self.lines.len() as u32));
        self.raw += self.lines.len() as u64;
        self.file.extend_from_slice(&frame);
        self.lines.clear();
        full
    }

    fn end_part(&mut self) -> Option<Part> {
        if self.frames.is_empty() {
            return None;
        }
        let mut file = std::mem::take(&mut self.file);
        write_seek_table(&std::mem::take(&mut self.frames), &mut file);
        let hash = Hash::of(&file);
        let name = self.place.name(self.kind, self.part, hash);
        self.part += 1;
        let raw = std::mem::take(&mut self.raw);
        Some(Part { reference: PackRef { n: name, h: hash, len: file.len() as u64, raw }, file })
    }
}

/// All parts of `lines` at once, for packs that fit in memory.
pub fn write(place: &Place, kind: Kind, lines: &[u8]) -> Vec<Part> {
    let mut writer = PackWriter::new(place.clone(), kind);
    let mut parts = writer.push(lines);
    parts.extend(writer.finish());
    parts
}

fn write_seek_table(frames: &[(u32, u32)], file: &mut Vec<u8>) {
    file.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    file.extend_from_slice(&((frames.len() * ROW_LEN + FOOTER_LEN) as u32).to_le_bytes());
    for (compressed, raw) in frames {
        file.extend_from_slice(&compressed.to_le_bytes());
        file.extend_from_slice(&raw.to_le_bytes());
    }
    file.extend_from_slice(&(frames.len() as u32).to_le_bytes());
    file.push(0);
    file.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
}

/// What is wrong with a pack file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidPack {
    /// The seek table is missing, or doesn't fit the file.
    #[error("no seek table that fits the file")]
    SeekTable,
    /// A frame doesn't decompress to the length that the seek table says.
    #[error("frame {0} does not decompress to the length in the seek table")]
    Frame(usize),
    /// A frame doesn't end at a line end.
    #[error("frame {0} does not end at a line end")]
    LineEnd(usize),
    /// The lines' length differs from the entry's.
    #[error("holds {found} bytes of lines, the entry says {expected}")]
    Length {
        /// What the entry says.
        expected: u64,
        /// What the frames add up to.
        found: u64,
    },
}

/// Where a frame lies in its file, and how many bytes of lines it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Offset in the file.
    pub offset: u64,
    /// Compressed length.
    pub len: u32,
    /// Decompressed length.
    pub raw: u32,
}

/// How many bytes at the end of a file of `len` bytes hold the seek table of any pack with so many frames that reading
/// them at once is cheaper than asking twice.
pub fn tail_len(len: u64) -> u64 {
    len.min(64 * 1024)
}

/// Reads the seek table from the last bytes of a file of `len` bytes. `Ok(None)`: `tail` is too short to hold it.
///
/// # Errors
/// [`InvalidPack::SeekTable`].
pub fn read_seek_table(tail: &[u8], len: u64) -> Result<Option<Vec<Frame>>, InvalidPack> {
    let bad = InvalidPack::SeekTable;
    let footer = tail.last_chunk::<FOOTER_LEN>().ok_or(InvalidPack::SeekTable)?;
    let number = |at: usize, bytes: &[u8]| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if number(5, footer) != SEEKABLE_MAGIC || footer[4] != 0 {
        return Err(bad);
    }
    let count = number(0, footer) as usize;
    let table_len = count * ROW_LEN + FOOTER_LEN;
    if (table_len + 8) as u64 > len {
        return Err(bad);
    }
    let Some(start) = tail.len().checked_sub(table_len + 8) else { return Ok(None) };
    let table = &tail[start..];
    if number(0, table) != SKIPPABLE_MAGIC || number(4, table) as usize != table_len {
        return Err(bad);
    }
    let mut offset = 0;
    let mut frames = Vec::with_capacity(count);
    for row in table[8..8 + count * ROW_LEN].chunks_exact(ROW_LEN) {
        let frame = Frame { offset, len: number(0, row), raw: number(4, row) };
        offset += u64::from(frame.len);
        frames.push(frame);
    }
    if offset + (table_len + 8) as u64 != len || count == 0 {
        return Err(InvalidPack::SeekTable);
    }
    Ok(Some(frames))
}

/// Decompresses frames, one after the other: making what that takes costs as much as a small frame.
pub struct FrameReader(Decompressor<'static>);

impl Default for FrameReader {
    fn default() -> Self {
        FrameReader(Decompressor::new().expect("a decompressor needs nothing but memory"))
    }
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader").finish_non_exhaustive()
    }
}

impl FrameReader {
    /// Decompresses frame `index`, at most as many bytes as the seek table promises.
    ///
    /// # Errors
    /// [`InvalidPack::Frame`], [`InvalidPack::LineEnd`].
    pub fn read(&mut self, bytes: &[u8], index: usize, raw: u32) -> Result<Vec<u8>, InvalidPack> {
        let bad = || InvalidPack::Frame(index);
        if raw as usize > MAX_FRAME_LEN {
            return Err(bad());
        }
        // One frame and nothing behind it: a decompressor would go on.
        let len = zstd::zstd_safe::find_frame_compressed_size(bytes).map_err(|_| bad())?;
        let frame = bytes.get(..len).ok_or_else(bad)?;
        let lines = self.0.decompress(frame, raw as usize).map_err(|_| bad())?;
        if lines.len() != raw as usize {
            return Err(bad());
        }
        if lines.last() != Some(&b'\n') {
            return Err(InvalidPack::LineEnd(index));
        }
        Ok(lines)
    }
}

/// Every frame's lines of a whole file in order, stopping after `raw` bytes.
///
/// # Errors
/// [`InvalidPack`], the first that applies.
pub fn read_all(file: &[u8], raw: u64, mut each: impl FnMut(usize, &[u8])) -> Result<(), InvalidPack> {
    let frames = read_seek_table(file, file.len() as u64)?.ok_or(InvalidPack::SeekTable)?;
    let found = frames.iter().map(|frame| u64::from(frame.raw)).sum();
    if found != raw {
        return Err(InvalidPack::Length { expected: raw, found });
    }
    let mut reader = FrameReader::default();
    for (index, frame) in frames.iter().enumerate() {
        let bytes = &file[frame.offset as usize..][..frame.len as usize];
        each(index, &reader.read(bytes, index, frame.raw)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { container: "2026-08".into(), segment: 1, seq: 12 }
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|i| format!("{{\"k\":\"user/{i:06}\",\"c\":{{\"n\":{i}}}}}\n").into_bytes()).collect()
    }

    #[test]
    fn packs_round_trip_in_frames_that_end_at_lines() {
        let lines = lines(20_000);
        let parts = write(&place(), Kind::Delta, &lines);
        assert_eq!(parts.len(), 1);
        let part = &parts[0];
        let frames = read_seek_table(&part.file, part.file.len() as u64).unwrap().unwrap();
        assert!(frames.len() > 2);
        let mut read = Vec::new();
        read_all(&part.file, part.reference.raw, |_, frame| read.extend_from_slice(frame)).unwrap();
        assert!(read == lines);
        assert_eq!(zstd::stream::decode_all(part.file.as_slice()).unwrap(), lines, "stock decoders read it");
        let name = parse_name(&part.reference.n).unwrap();
        assert_eq!((name.place, name.kind, name.part, name.hash), (place(), Kind::Delta, 0, part.reference.h));
        assert_eq!(write(&place(), Kind::Delta, &lines)[0].file, part.file, "the same lines give the same file");
    }

    #[test]
    fn parts_are_cut_at_frames_and_concatenate() {
        let lines = lines(60_000);
        let mut writer = PackWriter::with_part_len(place(), Kind::Base, 15_000);
        let mut parts = Vec::new();
        for chunk in lines.split_inclusive(|&b| b == b'\n') {
            parts.extend(writer.push(chunk));
        }
        parts.extend(writer.finish());
        assert!(parts.len() > 2);
        let mut read = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            assert_eq!(parse_name(&part.reference.n).unwrap().part, number);
            read_all(&part.file, part.reference.raw, |_, frame| read.extend_from_slice(frame)).unwrap();
        }
        assert!(read == lines);
    }

    #[test]
    fn nothing_gives_no_pack() {
        assert!(write(&place(), Kind::Delta, b"").is_empty());
    }

    #[test]
    fn damaged_files_are_refused_without_reading_more_than_they_promise() {
        let part = write(&place(), Kind::Delta, &lines(20_000)).remove(0);
        for at in (0..part.file.len()).step_by(part.file.len() / 97) {
            let mut file = part.file.clone();
            file[at] ^= 0x55;
            let mut read = Vec::new();
            let result = read_all(&file, part.reference.raw, |_, frame| read.extend_from_slice(frame));
            assert!(result.is_err() || read.len() as u64 == part.reference.raw);
        }
        for len in [0, 5, 20, part.file.len() - 1] {
            assert!(read_all(&part.file[..len], part.reference.raw, |_, _| ()).is_err());
        }
        let wrong = InvalidPack::Length { expected: 1, found: part.reference.raw };
        assert_eq!(read_all(&part.file, 1, |_, _| ()), Err(wrong));
    }

    #[test]
    fn other_names_are_no_packs() {
        for name in ["log/e/0000000000", "2026-08/s/1/12-d000-00.ndz", "2026-08/s/0000000001/x"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
