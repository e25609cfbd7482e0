//! A store that fails on command, for crash tests.
//!
//! Must never know: which operation it is that fails.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Aged, Expiry, Listed, Operation, Removal, Store, StoreError};

/// How the chosen operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It doesn't take effect, and fails.
    NotDone,
    /// It takes effect, and is reported as failed.
    DoneButFailed,
}

/// Counts the operations on another store, and from a chosen one on fails as a machine does that loses its storage:
/// that operation in the chosen form, all later ones without effect.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    count: Arc<AtomicU64>,
    fail_at: Option<(u64, Fault)>,
    once: bool,
}

impl FaultyStore {
    /// A store that only counts.
    pub fn counting(inner: Arc<dyn Store>) -> Self {
        Self { inner, count: Arc::default(), fail_at: None, once: false }
    }

    /// A store that fails at operation `at` (the first is 0) in the form `fault`, and at every later one.
    pub fn failing(inner: Arc<dyn Store>, at: u64, fault: Fault) -> Self {
        Self { inner, count: Arc::default(), fail_at: Some((at, fault)), once: false }
    }

    /// A store that fails at operation `at` only: the answer was lost, the store is well.
    pub fn hiccup(inner: Arc<dyn Store>, at: u64, fault: Fault) -> Self {
        Self { inner, count: Arc::default(), fail_at: Some((at, fault)), once: true }
    }

    /// An expiry over `inner` that fails together with this store: both count as one.
    pub fn expiry(&self, inner: Arc<dyn Expiry>) -> FaultyExpiry {
        FaultyExpiry { inner, faults: self.clone() }
    }

    /// How many operations were called so far.
    pub fn operations(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    async fn run<T>(&self, name: &str, operation: Operation<'_, T>) -> Result<T, StoreError> {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let Some((at, fault)) = self.fail_at else { return operation.await };
        let failure = || StoreError::Unavailable { name: name.to_owned(), source: io::Error::other("injected fault") };
        if number == at {
            if fault == Fault::DoneButFailed {
                operation.await?;
            }
            return Err(failure());
        }
        if number > at && !self.once {
            return Err(failure());
        }
        operation.await
    }
}

impl Store for FaultyStore {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(self.run(name, self.inner.create(name, bytes)))
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        Box::pin(self.run(name, self.inner.get(name)))
    }

    fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>> {
        Box::pin(self.run(name, self.inner.get_range(name, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        Box::pin(self.run(prefix, self.inner.list(prefix, after)))
    }

    fn is_provisioned<'a>(&'a self, root: &'a str) -> Operation<'a, bool> {
        Box::pin(self.run(root, self.inner.is_provisioned(root)))
    }
}

/// What [`FaultyStore::expiry`] gives.
#[derive(Debug, Clone)]
pub struct FaultyExpiry {
    inner: Arc<dyn Expiry>,
    faults: FaultyStore,
}

impl Expiry for FaultyExpiry {
    fn aged<'a>(&'a self, prefix: &'a str) -> Operation<'a, Vec<Aged>> {
        Box::pin(self.faults.run(prefix, self.inner.aged(prefix)))
    }

    fn is_held<'a>(&'a self, container: &'a str) -> Operation<'a, bool> {
        Box::pin(self.faults.run(container, self.inner.is_held(container)))
    }

    fn delete<'a>(&'a self, blob: &'a Aged) -> Operation<'a, Removal> {
        Box::pin(self.faults.run(&blob.name, self.inner.delete(blob)))
    }

    fn delete_container<'a>(&'a self, container: &'a str) -> Operation<'a, Removal> {
        Box::pin(self.faults.run(container, self.inner.delete_container(container)))
    }
}
