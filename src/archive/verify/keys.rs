//! Keys: which revocations count, which entries they spoil, and which void leaves were acknowledged.
//!
//! Must never know: checkpoints, tiles and packs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::survey::{KeyEntry, Survey};
use super::{Report, Severity};
use crate::archive::entry::{Entry, entry_name};
use crate::archive::note::{KeyId, Verifier};
use crate::archive::walker::KeyRing;

/// Key id and the first number at which the key's signatures count no more.
pub(super) type Revoked = HashMap<KeyId, u64>;

/// Every revocation that counts.
///
/// A revocation by a key that is itself revoked by then is void, and a key that such an entry added counts as revoked.
/// Since a later revocation may reach back, the set is recomputed until it no longer changes. Where it would go round for
/// ever (a key that revokes itself from before, two keys that revoke each other) all of them count.
pub(super) fn revocations(founding: &BTreeSet<String>, key_entries: &[KeyEntry]) -> Revoked {
    let mut rounds: Vec<Revoked> = vec![Revoked::new()];
    loop {
        let revoked = rounds.last().expect("the first is there");
        let mut next = Revoked::new();
        let mut known: BTreeSet<&str> = founding.iter().map(String::as_str).collect();
        for entry in key_entries {
            let counts = entry.by_recovery || !is_revoked(revoked, entry.key, entry.seq);
            // A key that was known before isn't tainted by a thief who adds it again.
            let added: Vec<&String> = entry.add.iter().filter(|key| known.insert(key.as_str())).collect();
            if counts {
                for (id, first) in &entry.revoke {
                    let from = next.entry(*id).or_insert(*first);
                    *from = (*first).min(*from);
                }
            } else {
                for key in added.iter().filter_map(|key| key.parse::<Verifier>().ok()) {
                    next.entry(key.id()).or_insert(entry.seq);
                }
            }
        }
        if let Some(seen) = rounds.iter().position(|round| *round == next) {
            let mut all = Revoked::new();
            for (id, from) in rounds[seen..].iter().flatten() {
                let least = all.entry(*id).or_insert(*from);
                *least = (*least).min(*from);
            }
            return all;
        }
        rounds.push(next);
    }
}

/// Which keys' signatures count no more, from which number on.
#[derive(Debug, Clone, Default)]
pub struct Revocations(Revoked);

impl Revocations {
    /// As the `genesis` and `key` entries among `entries` say; others say nothing of it.
    pub fn of(entries: &BTreeMap<u64, Entry>, ring: &KeyRing) -> Revocations {
        let founding = entries.values().flat_map(|entry| entry.body.keys.iter().flatten().cloned()).collect();
        let keys = entries.values().filter(|entry| entry.body.kind == "key");
        let keys: Vec<KeyEntry> = keys.map(|entry| KeyEntry::of(entry, ring)).collect();
        Revocations(revocations(&founding, &keys))
    }

    /// Whether the signature of `entry` counts.
    pub fn accept(&self, entry: &Entry, ring: &KeyRing) -> bool {
        entry.is_signed_by(ring.recovery()) || !is_revoked(&self.0, entry.key, entry.body.seq)
    }
}

/// Whether what `key` signed at `seq` counts no more.
pub(super) fn is_revoked(revoked: &Revoked, key: KeyId, seq: u64) -> bool {
    revoked.get(&key).is_some_and(|from| seq >= *from)
}

pub(super) fn report_revoked(survey: &Survey, revoked: &Revoked, report: &mut Report) {
    for run in survey.runs.iter().filter(|run| !run.by_recovery) {
        let Some(from) = revoked.get(&run.key) else { continue };
        for seq in run.first.max(*from)..=run.last {
            let message = format!("is signed by key {}, which is revoked from entry {from}", run.key);
            report.finding("entry-revoked", &entry_name(seq), seq, message);
        }
    }
}

pub(super) fn report_voids(survey: &Survey, revoked: &Revoked, report: &mut Report) {
    let counting = survey.acknowledgements.iter().filter(|entry| !is_revoked(revoked, entry.key, entry.seq));
    let acknowledged: BTreeSet<u64> = counting.flat_map(|entry| entry.voids.iter().copied()).collect();
    for (seq, fault) in &survey.voids {
        let (severity, what) = match acknowledged.contains(seq) {
            true => (Severity::Note, "an acknowledged void leaf"),
            false => (Severity::Finding, "no entry of this log: a void leaf that changes nothing"),
        };
        report.add(severity, "void-leaf", &entry_name(*seq), Some(*seq), format!("{what} ({fault})"));
    }
}
