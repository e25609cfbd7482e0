//! What was read and parsed before: questions come back to the same contents and records again and again.
//!
//! Must never know: what is in them.
//!
//! Nothing here can be out of date: content is known by its hash, a record by the capture that brought it first.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::Attribution;
use crate::archive::recent::Recent;
use crate::canonical::Key;
use crate::hash::Hash;

/// What all questions to one archive remember together.
#[derive(Debug, Default)]
pub(super) struct Memory {
    contents: Mutex<Recent<Hash, Arc<Value>>>,
    records: Mutex<Recent<(u64, Key), Arc<Record>>>,
}

/// A record of the audit log.
#[derive(Debug)]
pub(super) struct Record {
    pub value: Value,
    /// Who did what, and when.
    pub attribution: Attribution,
    /// All of it as text in lower case, for who asks what it names.
    pub text: String,
}

/// Bytes that each of the two keeps, about.
const LIMIT: usize = 16 << 20;
/// What parsed JSON takes for each byte of its text, about.
const PARSED: usize = 6;
/// What it takes besides.
const COST: usize = 128;

impl Memory {
    /// Content by its hash.
    pub fn content(&self, hash: &Hash) -> Option<Arc<Value>> {
        lock(&self.contents).get(hash)
    }

    /// Keeps content, whose text has `len` bytes and was compared with its hash.
    pub fn keep_content(&self, hash: Hash, value: Arc<Value>, len: usize) {
        lock(&self.contents).keep(hash, value, len * PARSED + COST, LIMIT);
    }

    /// The record of this key that capture `seq` brought.
    pub fn record(&self, seq: u64, key: &Key) -> Option<Arc<Record>> {
        lock(&self.records).get(&(seq, key.clone()))
    }

    /// Keeps a record.
    pub fn keep_record(&self, seq: u64, key: Key, record: Arc<Record>) {
        let cost = record.text.len() * (PARSED + 1) + COST;
        lock(&self.records).keep((seq, key), record, cost, LIMIT);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this")
}
