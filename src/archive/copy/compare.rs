//! Holds two archives against each other, file by file, read from both stores.
//!
//! Must never know: how one became a copy of the other.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::super::pack::Place;
use super::super::register::{End, Register};
use super::CopyError;
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// Files that are read from both sides at a time.
const AT_A_TIME: usize = 3;

/// Which side has a file that the other hasn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The archive.
    Archive,
    /// The copy.
    Copy,
    /// Both, with other bytes.
    Both,
}

/// A file in which they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Who has it.
    pub side: Side,
}

/// What the comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Files that are the same on both sides: name, length, SHA-256.
    pub files: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Files in which they differ, by name.
    pub differences: Vec<Difference>,
    /// Files at the source that no entry names. They are no part of the archive and aren't copied.
    pub orphans: u64,
}

/// Whether a name below `log` is one of what follows entries.
pub(super) fn is_derived(name: &str) -> bool {
    ["log/k/", "log/w/", "log/tile/"].iter().any(|folder| name.starts_with(folder))
}

fn is_of_log(name: &str) -> bool {
    is_derived(name) || name.strip_prefix("log/e/").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Reads every file of the archive from both stores and compares. Of a segment that has ended nothing is compared.
/// `progress` hears of files done and of all there are.
///
/// # Errors
/// The stores'.
pub async fn compare(
    from: &dyn Store,
    to: &dyn Store,
    mut progress: impl FnMut(u64, u64),
) -> Result<Comparison, CopyError> {
    let register = Register::read(from, |_, _| ()).await?;
    let mut found = Comparison::default();
    let mut sides: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for blob in from.list("log/", "").await.map_err(CopyError::Source)? {
        sides.entry(blob.name).or_default().0 = true;
    }
    for blob in to.list("log/", "").await.map_err(CopyError::Destination)? {
        sides.entry(blob.name).or_default().1 = true;
    }
    sides.retain(|name, _| is_of_log(name));
    for segment in register.segments().filter(|segment| segment.end != End::Done) {
        let prefix = Place::segment_prefix(&segment.container, segment.number);
        let committed: BTreeSet<&String> = segment.packs.iter().collect();
        for blob in from.list(&prefix, "").await.map_err(CopyError::Source)? {
            match committed.contains(&blob.name) {
                true => sides.entry(blob.name).or_default().0 = true,
                false => found.orphans += 1,
            }
        }
        for blob in to.list(&prefix, "").await.map_err(CopyError::Destination)? {
            sides.entry(blob.name).or_default().1 = true;
        }
    }
    let all = sides.len() as u64;
    let mut compared = stream::iter(sides).map(|(name, sides)| pair(from, to, name, sides)).buffered(AT_A_TIME);
    let mut done = 0;
    while let Some(pair) = compared.next().await {
        match pair? {
            Ok(len) => {
                found.files += 1;
                found.bytes += len;
            }
            Err(difference) => found.differences.push(difference),
        }
        done += 1;
        progress(done, all);
    }
    Ok(found)
}

/// The length of a file that is the same on both sides.
async fn pair(
    from: &dyn Store,
    to: &dyn Store,
    name: String,
    sides: (bool, bool),
) -> Result<Result<u64, Difference>, CopyError> {
    let side = match sides {
        (true, false) => Side::Archive,
        (false, _) => Side::Copy,
        (true, true) => {
            let theirs = digest(to, &name).await.map_err(CopyError::Destination)?;
            let ours = digest(from, &name).await.map_err(CopyError::Source)?;
            if ours == theirs {
                return Ok(Ok(ours.0));
            }
            Side::Both
        }
    };
    Ok(Err(Difference { name, side }))
}

async fn digest(store: &dyn Store, name: &str) -> Result<(u64, Hash), StoreError> {
    let file = store.get(name).await?;
    Ok((file.len() as u64, Hash::of(&file)))
}
