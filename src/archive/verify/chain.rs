//! The log: every entry's place and signature, the keys, every checkpoint and tile.
//!
//! Must never know: packs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Log, Options, Report, Severity};
use crate::archive::entry::{Body, Entry, checkpoint_name, entry_name};
use crate::archive::log::{Frontier, TILE_WIDTH, bundle_name, leaf_hash, root, tile_name, unbundle};
use crate::archive::note::{KeyId, SignedCheckpoint, Verifier};
use crate::archive::walker::{Fault, KeyRing, Verdict, WalkError, Walker, greatest_seq};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// Walks the whole log and reports on it.
pub(super) async fn check(store: &dyn Store, options: &Options, report: &mut Report) -> Result<Log, WalkError> {
    let (mut walker, genesis) = Walker::start(store).await?;
    check_trust(&genesis, options, report);
    let end = greatest_seq(store).await?;
    let mut leaves: Vec<Option<Hash>> = vec![Some(genesis.leaf)];
    let mut entries = BTreeMap::from([(0, Entry::clone(&genesis))]);
    let mut lost = BTreeSet::new();
    let mut voids: Vec<(u64, Fault)> = Vec::new();
    report.checked.entries = 1;
    while let Some(step) = walker.step(store, end).await? {
        report.checked.entries += 1;
        leaves.push(step.leaf);
        let name = entry_name(step.seq);
        match step.verdict {
            Verdict::Good(entry) => {
                // After a lost entry nobody knows what this one should inherit.
                let before = entries.last_key_value().filter(|(last, _)| lost.range(**last..).next().is_none());
                let before = before.map(|(_, last): (_, &Entry)| &last.body);
                let opening = before.and_then(|last| entries.get(&last.segment?)).map(|opening| &opening.body);
                check_place(before, opening, &entry.body, report);
                entries.insert(step.seq, Entry::clone(&entry));
            }
            Verdict::Void(fault) => voids.push((step.seq, fault)),
            Verdict::Changed { committed, fault } => {
                lost.insert(step.seq);
                let reason = fault.map_or_else(|| "another entry stands in its place".to_owned(), |f| f.to_string());
                let message = format!(
                    "was changed after it was committed: {reason}; the chain says it hashed to {committed}; what it committed to is unknown until the next base"
                );
                report.finding("entry-changed", &name, step.seq, message);
            }
            Verdict::Missing => {
                lost.insert(step.seq);
                let message = "is missing, later entries exist; what it committed to is unknown until the next base";
                report.finding("entry-missing", &name, step.seq, message.to_owned());
            }
            Verdict::Unverifiable(fault) => {
                lost.insert(step.seq);
                let message =
                    format!("cannot be verified: {fault}, and an earlier entry that may have added it is lost");
                report.finding("entry-unverifiable", &name, step.seq, message);
            }
        }
    }
    let revoked = revocations(&entries, walker.ring());
    report_revoked(&entries, walker.ring(), &revoked, report);
    report_voids(&voids, &entries, walker.ring(), &revoked, report);
    let log = Log { expiry: expiry(&entries), entries, lost };
    let good = check_checkpoints(store, &walker, &leaves, &revoked, report).await?;
    if !good.contains(&(leaves.len() as u64)) {
        let name = checkpoint_name(leaves.len() as u64);
        let message = "the newest entry is not signed as head yet; a crash looks so, and the next run signs it";
        report.add(Severity::Warning, "head-unsigned", &name, None, message.to_owned());
    }
    check_against(&walker, &leaves, &revoked, options, report);
    check_tiles(store, &leaves, report).await?;
    Ok(log)
}

/// The genesis entry against what the caller knows from elsewhere.
fn check_trust(genesis: &Entry, options: &Options, report: &mut Report) {
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

/// What an entry says of slots, segment and state against the good entry before, and the one that opened the segment.
fn check_place(previous: Option<&Body>, opening: Option<&Body>, body: &Body, report: &mut Report) {
    let Some(previous) = previous else { return };
    let name = entry_name(body.seq);
    let mut bad = |message: String| report.finding("entry-inconsistent", &name, body.seq, message);
    let filled = match body.kind.as_str() {
        "gap" => body.slots.as_ref().and_then(|slots| {
            let first = crate::archive::entry::parse_time(slots.first()?)?;
            Some((first, crate::archive::entry::parse_time(slots.get(1)?)?))
        }),
        "capture" => body.slot.map(|slot| (slot, slot)),
        _ => None,
    };
    match filled {
        Some((first, _)) if previous.last_slot.is_some_and(|last| first <= last) => {
            bad(format!("fills slot {first}, but {} was filled before", previous.last_slot.expect("just matched")));
        }
        Some((first, last)) if first > last || body.last_slot != Some(last) => {
            bad(format!("fills slots {first} to {last} and says otherwise in last_slot"));
        }
        None if body.last_slot != previous.last_slot => bad("fills no slot, but changes last_slot".to_owned()),
        _ => {}
    }
    if !body.is_capture() && body.state != previous.state {
        bad("is no capture, but changes the state".to_owned());
    }
    if !body.is_capture() && body.opens_segment() {
        bad("is no capture, but opens a segment".to_owned());
    }
    let opens = body.opens_segment();
    if opens != (body.segment == Some(body.seq)) {
        bad("has a base and names another segment than its own, or the other way round".to_owned());
    }
    if !opens && (body.segment != previous.segment || body.container != previous.container) {
        bad("changes the segment or container without opening one".to_owned());
    }
    if body.is_capture() {
        let month = month_of(body);
        let opened = opening.map(month_of).or_else(|| previous.container.clone());
        if opened.is_none_or(|opened| month > opened) && !opens {
            bad("should open a segment, being the first capture or of a later month, and has no base".to_owned());
        }
        // Earlier than due is no fault: a writer that doesn't know the state before begins anew. The container may be
        // an older one, where the month's own was not provided, and never goes back.
        if opens && !(previous.container.clone()..=Some(month.clone())).contains(&body.container) {
            bad(format!("opens a segment of {month} in a container that is none of its past ones"));
        }
    }
}

/// The month (UTC) that decides about segments.
fn month_of(body: &Body) -> String {
    crate::clock::format_millis(body.query_time())[..7].to_owned()
}

/// Every revocation that counts: key id and the first number at which the key's signatures count no more.
///
/// A revocation by a key that is itself revoked by then is void, and a key that such an entry added counts as revoked.
/// Since a later revocation may reach back, the set is recomputed until it no longer changes. Where it would go round for
/// ever (a key that revokes itself from before, two keys that revoke each other) all of them count.
fn revocations(entries: &BTreeMap<u64, Entry>, ring: &KeyRing) -> HashMap<KeyId, u64> {
    let mut rounds: Vec<HashMap<KeyId, u64>> = vec![HashMap::new()];
    loop {
        let revoked = rounds.last().expect("the first is there");
        let mut next: HashMap<KeyId, u64> = HashMap::new();
        let mut known: BTreeSet<String> =
            entries.values().flat_map(|e| e.body.keys.iter().flatten().cloned()).collect();
        for (seq, entry) in entries.iter().filter(|(_, entry)| entry.body.kind == "key") {
            let by_recovery = entry.is_signed_by(ring.recovery());
            let counts = by_recovery || !is_revoked(revoked, signer(entry, ring), *seq);
            // A key that was known before isn't tainted by a thief who adds it again.
            let added: Vec<&String> =
                entry.body.add.iter().flatten().filter(|key| known.insert(String::clone(key))).collect();
            if counts {
                for row in entry.body.revoke.iter().flatten() {
                    let Ok(id) = row.id.parse() else { continue };
                    let from = next.entry(id).or_insert(row.from);
                    *from = row.from.min(*from);
                }
            } else {
                for key in added.iter().filter_map(|key| key.parse::<Verifier>().ok()) {
                    next.entry(key.id()).or_insert(*seq);
                }
            }
        }
        if let Some(seen) = rounds.iter().position(|round| *round == next) {
            let mut all: HashMap<KeyId, u64> = HashMap::new();
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
pub struct Revocations(HashMap<KeyId, u64>);

impl Revocations {
    /// As the `genesis` and `key` entries among `entries` say; others say nothing of it.
    pub fn of(entries: &BTreeMap<u64, Entry>, ring: &KeyRing) -> Revocations {
        Revocations(revocations(entries, ring))
    }

    /// Whether the signature of `entry` counts.
    pub fn accept(&self, entry: &Entry, ring: &KeyRing) -> bool {
        entry.is_signed_by(ring.recovery()) || !is_revoked(&self.0, signer(entry, ring), entry.body.seq)
    }
}

fn signer(entry: &Entry, ring: &KeyRing) -> Option<KeyId> {
    ring.signer_of(entry).map(Verifier::id)
}

fn is_revoked(revoked: &HashMap<KeyId, u64>, key: Option<KeyId>, seq: u64) -> bool {
    key.and_then(|key| revoked.get(&key)).is_some_and(|from| seq >= *from)
}

fn report_revoked(entries: &BTreeMap<u64, Entry>, ring: &KeyRing, revoked: &HashMap<KeyId, u64>, report: &mut Report) {
    for (seq, entry) in entries {
        if !entry.is_signed_by(ring.recovery()) && is_revoked(revoked, signer(entry, ring), *seq) {
            let message =
                format!("is signed by key {}, which is revoked from entry {}", entry.key, revoked[&entry.key]);
            report.finding("entry-revoked", &entry_name(*seq), *seq, message);
        }
    }
}

fn report_voids(
    voids: &[(u64, Fault)],
    entries: &BTreeMap<u64, Entry>,
    ring: &KeyRing,
    revoked: &HashMap<KeyId, u64>,
    report: &mut Report,
) {
    let acknowledged: BTreeSet<u64> = entries
        .iter()
        .filter(|(seq, entry)| entry.body.kind == "void" && !is_revoked(revoked, signer(entry, ring), **seq))
        .flat_map(|(seq, entry)| entry.body.voids.iter().flatten().copied().filter(move |void| void < seq))
        .collect();
    for (seq, fault) in voids {
        let (severity, what) = match acknowledged.contains(seq) {
            true => (Severity::Note, "an acknowledged void leaf"),
            false => (Severity::Finding, "no entry of this log: a void leaf that changes nothing"),
        };
        report.add(severity, "void-leaf", &entry_name(*seq), Some(*seq), format!("{what} ({fault})"));
    }
}

fn expiry(entries: &BTreeMap<u64, Entry>) -> BTreeMap<u64, bool> {
    let mut expiry = BTreeMap::new();
    for entry in entries.values() {
        let done = match entry.body.kind.as_str() {
            "expire" => false,
            "expired" => true,
            _ => continue,
        };
        if let Some(target) = entry.body.target {
            expiry.insert(target, done);
        }
    }
    expiry
}

/// Compares every checkpoint with the root of the leaves. Returns the sizes that have one with nothing against it.
async fn check_checkpoints(
    store: &dyn Store,
    walker: &Walker,
    leaves: &[Option<Hash>],
    revoked: &HashMap<KeyId, u64>,
    report: &mut Report,
) -> Result<BTreeSet<u64>, StoreError> {
    let listed = store.list("log/k/", "").await?;
    let roots = roots(leaves);
    let size = leaves.len() as u64;
    let (mut good, mut bad, mut unknown) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    let present: BTreeSet<String> = listed.iter().map(|blob| blob.name.clone()).collect();
    for blob in listed {
        report.checked.checkpoints += 1;
        let note = store.get(&blob.name).await?;
        match judge_checkpoint(&blob.name, &note, walker, &roots, revoked) {
            Ok(size) => {
                good.insert(size);
            }
            Err(Bad::Unknown(number)) => drop(unknown.insert(number)),
            Err(Bad::Beyond(beyond)) => {
                let message = format!("signs {beyond} entries, the log has {size}: the newest entries were cut off");
                report.add(Severity::Finding, "log-truncated", &blob.name, None, message);
            }
            Err(Bad::Other(number, message)) => bad.push((blob.name, number, message)),
        }
    }
    let greatest = good.last().copied().unwrap_or(0);
    for (name, number, message) in bad {
        let severity = if greatest > number { Severity::Note } else { Severity::Finding };
        report.add(severity, "checkpoint-bad", &name, None, message);
    }
    let missing: Vec<String> = (1..=size).map(checkpoint_name).filter(|name| !present.contains(name)).collect();
    if let Some(first) = missing.first() {
        let message = format!("{} checkpoints are missing, this is the first", missing.len());
        report.add(Severity::Note, "checkpoint-missing", first, None, message);
    }
    if let Some(first) = unknown.first() {
        let message = format!("{} checkpoints cannot be compared: a leaf below them is lost", unknown.len());
        report.add(Severity::Warning, "log-incomparable", &checkpoint_name(*first), None, message);
    }
    good.extend(unknown);
    Ok(good)
}

enum Bad {
    Beyond(u64),
    /// Signed by a key of this log, over a leaf that is lost.
    Unknown(u64),
    Other(u64, String),
}

/// By size: the root, where every leaf below is known.
fn roots(leaves: &[Option<Hash>]) -> Vec<Option<Hash>> {
    let mut frontier = Some(Frontier::new());
    let mut roots = vec![Some(Frontier::new().root())];
    for leaf in leaves {
        frontier = frontier.zip(*leaf).map(|(mut frontier, leaf)| {
            frontier.push(leaf);
            frontier
        });
        roots.push(frontier.as_ref().map(Frontier::root));
    }
    roots
}

fn judge_checkpoint(
    name: &str,
    note: &[u8],
    walker: &Walker,
    roots: &[Option<Hash>],
    revoked: &HashMap<KeyId, u64>,
) -> Result<u64, Bad> {
    let number: u64 = name.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
    let bad = |message: &str| Bad::Other(number, message.to_owned());
    let signed: SignedCheckpoint = match std::str::from_utf8(note).ok().and_then(|note| note.parse().ok()) {
        Some(signed) => signed,
        None => return Err(bad("is no signed checkpoint")),
    };
    let checkpoint = &signed.checkpoint;
    if checkpoint.origin != walker.origin() || checkpoint.size != number || name != checkpoint_name(number) {
        return Err(bad("is the checkpoint of another log or size"));
    }
    let signers = walker.ring().signers_of_checkpoint(&signed);
    if signers.is_empty() {
        return Err(bad("is signed by no key of this log"));
    }
    if signers.iter().all(|key| is_revoked(revoked, Some(key.id()), number.saturating_sub(1))) {
        return Err(bad("is signed by revoked keys only"));
    }
    match roots.get(number as usize) {
        None => Err(Bad::Beyond(number)),
        Some(None) => Err(Bad::Unknown(number)),
        Some(Some(root)) if *root == checkpoint.root => Ok(number),
        Some(Some(root)) => {
            let message = format!("signs root {}, the entries give {root}", checkpoint.root);
            Err(Bad::Other(number, message))
        }
    }
}

/// Against a checkpoint kept elsewhere, and against the head that this machine remembers.
fn check_against(
    walker: &Walker,
    leaves: &[Option<Hash>],
    revoked: &HashMap<KeyId, u64>,
    options: &Options,
    report: &mut Report,
) {
    let roots = roots(leaves);
    let mut compare = |name: &str, whose: &str, size: u64, expected: Hash| match roots.get(size as usize) {
        None => {
            let message =
                format!("{whose} covers {size} entries, the log has {}: the newest entries were cut off", leaves.len());
            report.add(Severity::Finding, "log-truncated", name, None, message);
        }
        Some(Some(root)) if *root == expected => {}
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
    let signed =
        walker.ring().signers_of_checkpoint(against).iter().any(|key| !is_revoked(revoked, Some(key.id()), seq));
    if checkpoint.origin != walker.origin() || !signed {
        let message = "the given checkpoint is not signed by a key of this log".to_owned();
        report.add(Severity::Finding, "checkpoint-foreign", "given checkpoint", None, message);
        return;
    }
    compare("given checkpoint", "the given checkpoint", checkpoint.size, checkpoint.root);
}

/// Every full tile that should exist, on every level.
async fn check_tiles(store: &dyn Store, leaves: &[Option<Hash>], report: &mut Report) -> Result<(), StoreError> {
    let mut level_hashes = leaves.to_vec();
    let (mut missing, mut expected_names) = (BTreeSet::new(), BTreeSet::new());
    for level in 0u8.. {
        let full = level_hashes.len() as u64 / TILE_WIDTH;
        if full == 0 {
            break;
        }
        let mut upper = Vec::new();
        for number in 0..full {
            let start = (number * TILE_WIDTH) as usize;
            expected_names.insert(tile_name(level, number));
            if level == 0 {
                expected_names.insert(bundle_name(number));
            }
            let hashes: Option<Vec<Hash>> = level_hashes[start..start + TILE_WIDTH as usize].iter().copied().collect();
            upper.push(hashes.as_deref().map(root));
            let Some(hashes) = hashes else { continue };
            let expected: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            let name = tile_name(level, number);
            if check_tile(store, &name, report, |bytes| bytes == expected).await? {
                missing.insert(name);
            }
            if level == 0 {
                let leaves_of =
                    |bytes: &[u8]| unbundle(bytes).map(|entries| entries.iter().map(|e| leaf_hash(e)).collect());
                let name = bundle_name(number);
                if check_tile(store, &name, report, |bytes| leaves_of(bytes) == Some(hashes.clone())).await? {
                    missing.insert(name);
                }
            }
        }
        level_hashes = upper;
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
    Ok(())
}

/// Whether it is missing.
async fn check_tile(
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
