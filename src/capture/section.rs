//! The lines of one collection that a capture will write, key by key, in memory while they are few.
//!
//! Must never know: what the lines say.

use std::io::{self, Read, Seek, Write};

use tempfile::SpooledTempFile;

use crate::archive::Key;

/// Bytes of changed lines of one collection that stay in memory.
const SECTION_BYTES: usize = 8 << 20;

/// Lines of one collection, key by key.
pub(super) struct Section {
    file: SpooledTempFile,
}

impl Section {
    pub fn new() -> Self {
        Section { file: SpooledTempFile::new(SECTION_BYTES) }
    }

    /// Adds the lines of a key that follows those before.
    pub fn push(&mut self, key: &Key, lines: &[u8]) -> io::Result<()> {
        self.push_text(key.as_str(), lines)
    }

    fn push_text(&mut self, key: &str, lines: &[u8]) -> io::Result<()> {
        for bytes in [key.as_bytes(), lines] {
            self.file.write_all(&(bytes.len() as u32).to_le_bytes())?;
            self.file.write_all(bytes)?;
        }
        Ok(())
    }

    /// Calls `each` with the lines of every key in order.
    pub fn read(&mut self, mut each: impl FnMut(&str, &[u8])) -> io::Result<()> {
        self.file.flush()?;
        self.file.rewind()?;
        let mut reader = io::BufReader::new(&mut self.file);
        let mut len = [0; 4];
        loop {
            match reader.read_exact(&mut len) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            let mut key = vec![0; u32::from_le_bytes(len) as usize];
            reader.read_exact(&mut key)?;
            reader.read_exact(&mut len)?;
            let mut lines = vec![0; u32::from_le_bytes(len) as usize];
            reader.read_exact(&mut lines)?;
            each(std::str::from_utf8(&key).map_err(io::Error::other)?, &lines);
        }
    }
}

impl Section {
    /// Both sections in one, in key order; no key is in both.
    pub fn merged(mut self, others: &std::collections::BTreeMap<String, Vec<u8>>) -> io::Result<Section> {
        let mut both = Section::new();
        let mut rest = others.iter().peekable();
        let mut failed = Ok(());
        let mut push = |key: &str, lines: &[u8]| {
            if failed.is_ok() {
                failed = both.push_text(key, lines);
            }
        };
        self.read(|key, lines| {
            while let Some((other, lines)) = rest.next_if(|(other, _)| other.as_str() < key) {
                push(other, lines);
            }
            push(key, lines);
        })?;
        rest.for_each(|(key, lines)| push(key, lines));
        failed?;
        Ok(both)
    }
}
