//! A store in memory, for tests and soaks.
//!
//! Must never know: anything that outlives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};

use super::{Aged, Expiry, Listed, Operation, Removal, Store, StoreError, check_name};
use crate::clock::Clock;

/// Blobs in memory. Clones share them. [`MemoryStore::tamper`] is the hand of an attacker or of decay, for tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    blobs: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    ages: Arc<Mutex<Ages>>,
}

/// What matters when blobs are to end.
#[derive(Debug, Default)]
struct Ages {
    clock: Option<Arc<dyn Clock>>,
    created: BTreeMap<String, Timestamp>,
    /// What a retention policy would keep each blob for.
    interval: Option<SignedDuration>,
    held: BTreeSet<String>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that starts with `blobs` and shares nothing.
    pub fn with(blobs: BTreeMap<String, Vec<u8>>) -> Self {
        Self { blobs: Arc::new(Mutex::new(blobs)), ages: Arc::default() }
    }

    /// From now on, notes by `clock` when each blob is created.
    pub fn timed(self, clock: Arc<dyn Clock>) -> Self {
        self.ages().clock = Some(clock);
        self
    }

    /// Says that the blobs there are now were created as `times` say.
    pub fn set_created(&self, times: BTreeMap<String, Timestamp>) {
        self.ages().created = times;
    }

    /// When each blob was created.
    pub fn created(&self) -> BTreeMap<String, Timestamp> {
        self.ages().created.clone()
    }

    /// Keeps each blob for `interval` from its creation, as a retention policy does.
    pub fn keep_for(&self, interval: SignedDuration) {
        self.ages().interval = Some(interval);
    }

    /// Puts a container under a legal hold, or ends it.
    pub fn hold(&self, container: &str, held: bool) {
        match held {
            true => self.ages().held.insert(container.to_owned()),
            false => self.ages().held.remove(container),
        };
    }

    /// What can end blobs of this store.
    pub fn expiry(&self) -> MemoryExpiry {
        MemoryExpiry(self.clone())
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

    fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().expect("no code panics while it holds the ages")
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
            let mut ages = self.ages();
            if let Some(now) = ages.clock.as_ref().map(|clock| clock.now()) {
                ages.created.insert(name.to_owned(), now);
            }
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

/// What can end blobs of a [`MemoryStore`].
#[derive(Debug, Clone)]
pub struct MemoryExpiry(MemoryStore);

fn container_of(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

impl Expiry for MemoryExpiry {
    fn aged<'a>(&'a self, prefix: &'a str) -> Operation<'a, Vec<Aged>> {
        Box::pin(async move {
            let (blobs, ages) = (self.0.blobs(), self.0.ages());
            let below = blobs.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
            below
                .map(|(name, bytes)| {
                    let created = ages.created.get(name).copied().ok_or_else(|| StoreError::Unavailable {
                        name: name.clone(),
                        source: std::io::Error::other("nobody noted when it was created"),
                    })?;
                    Ok(Aged { name: name.clone(), len: bytes.len() as u64, created, version: String::new() })
                })
                .collect()
        })
    }

    fn is_held<'a>(&'a self, container: &'a str) -> Operation<'a, bool> {
        Box::pin(async move { Ok(self.0.ages().held.contains(container)) })
    }

    fn delete<'a>(&'a self, blob: &'a Aged) -> Operation<'a, Removal> {
        Box::pin(async move {
            check_name(&blob.name)?;
            let (mut blobs, mut ages) = (self.0.blobs(), self.0.ages());
            if !blobs.contains_key(&blob.name) {
                return Ok(Removal::Absent);
            }
            if ages.held.contains(container_of(&blob.name)) {
                return Ok(Removal::Hold);
            }
            let now = ages.clock.as_ref().map(|clock| clock.now());
            let created = ages.created.get(&blob.name).copied();
            let runs = |interval| Some(now? < created?.saturating_add(interval).ok()?);
            if ages.interval.is_some_and(|interval: SignedDuration| runs(interval) != Some(false)) {
                return Ok(Removal::Policy);
            }
            if created != Some(blob.created) {
                return Ok(Removal::Changed);
            }
            blobs.remove(&blob.name);
            ages.created.remove(&blob.name);
            Ok(Removal::Deleted)
        })
    }

    fn delete_container<'a>(&'a self, container: &'a str) -> Operation<'a, Removal> {
        Box::pin(async move {
            let left = self.0.blobs().keys().any(|name| container_of(name) == container);
            Ok(if left { Removal::NotEmpty } else { Removal::Absent })
        })
    }
}
