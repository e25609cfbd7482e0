//! Checkpoints: every one in the archive, one kept elsewhere, the head that a machine remembers, and the trusted genesis.
//!
//! Must never know: tiles and packs.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::keys::{Revoked, is_revoked};
use super::survey::{Roots, Survey};
use super::{Options, Report, Severity, Stop};
use crate::archive::entry::{Entry, checkpoint_name, entry_name};
use crate::archive::note::{SignedCheckpoint, Verifier};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// The genesis entry against what the caller knows from elsewhere.
pub(super) fn check_trust(genesis: &Entry, options: &Options, report: &mut Report) {
    let Some(trusted) = options.trust.as_deref() else { return };
    let keys = genesis.body.keys.iter().flatten();
    let signed = keys
        .filter_map(|key| key.parse::<Verifier>().ok())
        .any(|key| key.to_string() == trusted && genesis.is_signed_by(&key));
    if !signed && genesis.leaf.to_string() != trusted {
        let message = format!(
            "genesis hashes to {}, which is neither the trusted hash nor signed by the trusted key",
            genesis.leaf
        );
        report.finding("genesis", &entry_name(0), 0, message);
    }
}

/// Compares every checkpoint with the root of the leaves.
pub(super) async fn check(
    store: &dyn Store,
    survey: &Survey,
    revoked: &Revoked,
    stop: Stop<'_>,
    report: &mut Report,
) -> Result<ControlFlow<()>, StoreError> {
    let size = survey.size();
    let mut roots = survey.leaves.roots();
    let (mut present, mut bad, mut unknown) = (HashSet::new(), Vec::new(), Vec::new());
    let (mut greatest, mut head) = (0, false);
    // The listing is in the order of names, which is that of sizes.
    for blob in store.list("log/k/", "").await? {
        if stop() {
            return Ok(ControlFlow::Break(()));
        }
        report.checked.checkpoints += 1;
        let number = number_of(&blob.name);
        if blob.name == checkpoint_name(number) {
            present.insert(number);
        }
        let note = store.get(&blob.name).await?;
        match judge(&blob.name, &note, survey, &mut roots, revoked) {
            Ok(good) => (greatest, head) = (good.max(greatest), head || good == size),
            Err(Bad::Unknown(number)) => {
                unknown.push(number);
                head |= number == size;
            }
            Err(Bad::Beyond(beyond)) => {
                let message = format!("signs {beyond} entries, the log has {size}: the newest entries were cut off");
                report.add(Severity::Finding, "log-truncated", &blob.name, None, message);
            }
            Err(Bad::Other(number, message)) => bad.push((blob.name, number, message)),
        }
    }
    for (name, number, message) in bad {
        let severity = if greatest > number { Severity::Note } else { Severity::Finding };
        report.add(severity, "checkpoint-bad", &name, None, message);
    }
    let mut missing = (1..=size).filter(|number| !present.contains(number));
    if let Some(first) = missing.next() {
        let message = format!("{} checkpoints are missing, this is the first", missing.count() + 1);
        report.add(Severity::Note, "checkpoint-missing", &checkpoint_name(first), None, message);
    }
    if let Some(first) = unknown.first() {
        let message = format!("{} checkpoints cannot be compared: a leaf below them is lost", unknown.len());
        report.add(Severity::Warning, "log-incomparable", &checkpoint_name(*first), None, message);
    }
    if !head {
        let message = "the newest entry is not signed as head yet; a crash looks so, and the next run signs it";
        report.add(Severity::Warning, "head-unsigned", &checkpoint_name(size), None, message.to_owned());
    }
    Ok(ControlFlow::Continue(()))
}

enum Bad {
    Beyond(u64),
    /// Signed by a key of this log, over a leaf that is lost.
    Unknown(u64),
    Other(u64, String),
}

fn number_of(name: &str) -> u64 {
    name.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}

fn judge(name: &str, note: &[u8], survey: &Survey, roots: &mut Roots<'_>, revoked: &Revoked) -> Result<u64, Bad> {
    let number = number_of(name);
    let bad = |message: &str| Bad::Other(number, message.to_owned());
    let signed: SignedCheckpoint = match std::str::from_utf8(note).ok().and_then(|note| note.parse().ok()) {
        Some(signed) => signed,
        None => return Err(bad("is no signed checkpoint")),
    };
    let checkpoint = &signed.checkpoint;
    if checkpoint.origin != survey.origin() || checkpoint.size != number || name != checkpoint_name(number) {
        return Err(bad("is the checkpoint of another log or size"));
    }
    let signers = survey.ring().signers_of_checkpoint(&signed);
    if signers.is_empty() {
        return Err(bad("is signed by no key of this log"));
    }
    if signers.iter().all(|key| is_revoked(revoked, key.id(), number.saturating_sub(1))) {
        return Err(bad("is signed by revoked keys only"));
    }
    match roots.at(number) {
        None => Err(Bad::Beyond(number)),
        Some(None) => Err(Bad::Unknown(number)),
        Some(Some(root)) if root == checkpoint.root => Ok(number),
        Some(Some(root)) => {
            let message = format!("signs root {}, the entries give {root}", checkpoint.root);
            Err(Bad::Other(number, message))
        }
    }
}

/// Against a checkpoint kept elsewhere, and against the head that this machine remembers.
pub(super) fn check_against(survey: &Survey, revoked: &Revoked, options: &Options, report: &mut Report) {
    let mut compare = |name: &str, whose: &str, size: u64, expected: Hash| match survey.leaves.roots().at(size) {
        None => {
            let message = format!(
                "{whose} covers {size} entries, the log has {}: the newest entries were cut off",
                survey.size()
            );
            report.add(Severity::Finding, "log-truncated", name, None, message);
        }
        Some(Some(root)) if root == expected => {}
        Some(Some(root)) => {
            let message =
                format!("{whose} has root {expected} for {size} entries, the log gives {root}: it was rewritten");
            report.add(Severity::Finding, "log-forked", name, None, message);
        }
        Some(None) => {
            let message = format!("{whose} cannot be compared: a leaf below {size} is lost");
            report.add(Severity::Warning, "log-incomparable", name, None, message);
        }
    };
    if let Some(remembered) = &options.remembered
        && let Some(root) = remembered.root()
    {
        compare(
            &entry_name(remembered.size.saturating_sub(1)),
            "the head remembered on this machine",
            remembered.size,
            root,
        );
    }
    let Some(against) = &options.against else { return };
    let checkpoint = &against.checkpoint;
    let seq = checkpoint.size.saturating_sub(1);
    let signers = survey.ring().signers_of_checkpoint(against);
    let signed = signers.iter().any(|key| !is_revoked(revoked, key.id(), seq));
    if checkpoint.origin != survey.origin() || !signed {
        let message = "the given checkpoint is not signed by a key of this log".to_owned();
        report.add(Severity::Finding, "checkpoint-foreign", "given checkpoint", None, message);
        return;
    }
    compare("given checkpoint", "the given checkpoint", checkpoint.size, checkpoint.root);
}
