//! Tiles: every full one that a log of this size has, on every level, against the leaves.
//!
//! Must never know: what an entry says.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::survey::Leaves;
use super::{Report, Severity, Stop};
use crate::archive::log::{TILE_WIDTH, bundle_name, leaf_hash, root, tile_name, unbundle};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// Every full tile that should exist, on every level.
pub(super) async fn check(
    store: &dyn Store,
    leaves: &Leaves,
    stop: Stop<'_>,
    report: &mut Report,
) -> Result<ControlFlow<()>, StoreError> {
    let (mut missing, mut expected_names) = (BTreeSet::new(), BTreeSet::new());
    // The level below: the leaves, then the roots of each level's tiles.
    let mut below: Option<Vec<Option<Hash>>> = None;
    for level in 0u8.. {
        let full = below.as_ref().map_or(leaves.len(), |below| below.len() as u64) / TILE_WIDTH;
        if full == 0 {
            break;
        }
        let mut upper = Vec::new();
        for number in 0..full {
            if stop() {
                return Ok(ControlFlow::Break(()));
            }
            let places = number * TILE_WIDTH..(number + 1) * TILE_WIDTH;
            let hashes: Option<Vec<Hash>> = match &below {
                Some(below) => below[places.start as usize..places.end as usize].iter().copied().collect(),
                None => places.map(|seq| leaves.get(seq)).collect(),
            };
            let name = tile_name(level, number);
            expected_names.insert(name.clone());
            if level == 0 {
                expected_names.insert(bundle_name(number));
            }
            upper.push(hashes.as_deref().map(root));
            let Some(hashes) = hashes else { continue };
            let expected: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            if is_missing(store, &name, report, |bytes| bytes == expected).await? {
                missing.insert(name);
            }
            if level == 0 {
                let leaves_of =
                    |bytes: &[u8]| unbundle(bytes).map(|entries| entries.iter().map(|e| leaf_hash(e)).collect());
                let name = bundle_name(number);
                if is_missing(store, &name, report, |bytes| leaves_of(bytes).as_ref() == Some(&hashes)).await? {
                    missing.insert(name);
                }
            }
        }
        below = Some(upper);
    }
    if let Some(first) = missing.first() {
        let message =
            format!("{} tiles are missing, this is the first; they are derived from the entries", missing.len());
        report.add(Severity::Note, "tile-missing", first, None, message);
    }
    for blob in store.list("log/tile/", "").await? {
        if !expected_names.contains(&blob.name) {
            let message = "is no full tile of a log of this size; newer entries may have been cut off".to_owned();
            report.add(Severity::Finding, "tile-wrong", &blob.name, None, message);
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Whether it isn't there; one that is there and wrong is reported.
async fn is_missing(
    store: &dyn Store,
    name: &str,
    report: &mut Report,
    is_right: impl Fn(&[u8]) -> bool,
) -> Result<bool, StoreError> {
    match store.get(name).await {
        Ok(bytes) if is_right(&bytes) => Ok(false),
        Ok(_) => {
            report.add(Severity::Finding, "tile-wrong", name, None, "differs from the entries it covers".to_owned());
            Ok(false)
        }
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
