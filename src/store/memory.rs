//! A store in memory, for tests and soaks.
//!
//! Must never know: anything that outlives the process.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Listed, Operation, Store, StoreError, check_name};

/// Blobs in memory. Clones share them. [`MemoryStore::tamper`] is the hand of an attacker or of decay, for tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    blobs: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that starts with `blobs` and shares nothing.
    pub fn with(blobs: BTreeMap<String, Vec<u8>>) -> Self {
        Self { blobs: Arc::new(Mutex::new(blobs)) }
    }

    /// A copy of everything that is stored.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        self.blobs().clone()
    }

    /// Replaces (`Some`) or removes (`None`) a blob behind the format's back.
    pub fn tamper(&self, name: &str, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.blobs().insert(name.to_owned(), bytes),
            None => self.blobs().remove(name),
        };
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.blobs.lock().expect("no code panics while it holds the blobs")
    }

    fn read<T>(&self, name: &str, take: impl FnOnce(&Vec<u8>) -> T) -> Result<T, StoreError> {
        check_name(name)?;
        self.blobs().get(name).map(take).ok_or_else(|| StoreError::NotFound { name: name.to_owned() })
    }
}

impl Store for MemoryStore {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(async move {
            check_name(name)?;
            let mut blobs = self.blobs();
            if blobs.contains_key(name) {
                return Err(StoreError::Exists { name: name.to_owned() });
            }
            blobs.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        Box::pin(async move { self.read(name, Vec::clone) })
    }

    fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>> {
        Box::pin(async move {
            self.read(name, |bytes| {
                let end = range.end.min(bytes.len() as u64) as usize;
                let start = (range.start as usize).min(end);
                bytes[start..end].to_vec()
            })
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        Box::pin(async move {
            let blobs = self.blobs();
            let start = prefix.max(after).to_owned();
            let found = blobs.range(start..).take_while(|(name, _)| name.starts_with(prefix) || name.as_str() < prefix);
            Ok(found
                .filter(|(name, _)| name.as_str() > after && name.starts_with(prefix))
                .map(|(name, bytes)| Listed { name: name.clone(), len: bytes.len() as u64 })
                .collect())
        })
    }
}
