//! One bit, one removal, one swap at a time: verification names the file, for every file that an entry or a later file
//! commits to.

#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tenure::archive::appender::Appender;
use tenure::archive::entry::{checkpoint_name, entry_name};
use tenure::archive::log::{TILE_WIDTH, bundle_name, tile_name};
use tenure::archive::pack::{Kind, Place, write};
use tenure::archive::verify::{Options, Report, Severity, verify};
use tenure::archive::walker::WalkError;
use tenure::clock::Clock;
use tenure::simulator::Collection;
use tenure::store::MemoryStore;
use world::{World, capture, entries, findings, head_of, kind_of, machine, packs, said, signer};

type Blobs = BTreeMap<String, Vec<u8>>;

/// Entries in the archive: a full tile and some more.
const ENTRIES: u64 = 264;

/// Two segments with bases, changes and receipts, a pack of removals that the gate held back, and cheap entries until a
/// tile is full.
async fn archive() -> Blobs {
    let world = World::new(71, 40, "2026-06-30T18:00:00Z").await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    for number in 0..6usize {
        (0..3).for_each(|_| world.hour());
        let title = serde_json::json!({ "jobTitle": format!("Title {number}") });
        assert!(
            world.tenant.edit(|directory| directory.patch(&directory.ids(Collection::User)[number].clone(), title))
        );
        capture(&mut capturer).await;
    }
    drop(capturer);
    let store: Arc<dyn tenure::store::Store> = Arc::new(world.store.clone());
    let mut appender = Appender::open(store, signer(), None).await.unwrap();
    // A record of kind a with a pack of its own, and a pack g in the form that the gate writes.
    for (kind, letter) in [(Kind::Access, "access"), (Kind::Gated, "hold")] {
        let mut body = appender.draft(letter, world.clock.now()).unwrap();
        let (container, segment) = (body.container.clone().unwrap(), body.segment.unwrap());
        let place = Place { container, segment, seq: body.seq };
        let line = format!("{{\"k\":\"user/{letter}\",\"x\":1}}\n");
        let parts = write(&place, kind, line.as_bytes());
        for part in &parts {
            appender.put_pack(part).await.unwrap();
        }
        body.count = Some(1);
        body.packs = Some(parts.into_iter().map(|part| part.reference).collect());
        appender.commit(&body).await.unwrap();
    }
    while appender.walker().next_seq() < ENTRIES {
        let mut body = appender.draft("void", world.clock.now()).unwrap();
        body.voids = Some(Vec::new());
        appender.commit(&body).await.unwrap();
    }
    world.store.snapshot()
}

async fn plain(blobs: Blobs) -> Result<Report, WalkError> {
    verify(&MemoryStore::with(blobs), &Options::default(), |_, _| ()).await
}

/// Verification of `blobs` with some files replaced must name each of them in a finding.
async fn assert_named(blobs: &Blobs, replaced: Vec<(String, Option<Vec<u8>>)>, what: &str) {
    let mut blobs = blobs.clone();
    let names: BTreeSet<String> = replaced.iter().map(|(name, _)| name.clone()).collect();
    for (name, bytes) in replaced {
        match bytes {
            Some(bytes) => blobs.insert(name, bytes),
            None => blobs.remove(&name),
        };
    }
    let report = plain(blobs).await.unwrap();
    let named: BTreeSet<String> = findings(&report).into_iter().map(|(_, name)| name).collect();
    let unnamed: Vec<_> = names.difference(&named).collect();
    assert!(unnamed.is_empty(), "{what}: no finding names {unnamed:?}; found {:#?}", report.findings);
}

fn flipped(bytes: &[u8], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = dice.random_range(0..bytes.len());
    bytes[place] ^= 1 << dice.random_range(0..8u8);
    bytes
}

fn dice(seed: u64) -> ChaCha8Rng {
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// A seed that differs from run to run, so that in time every bit is tried; a failure prints it.
fn any_seed() -> u64 {
    std::env::var("TENURE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| getrandom::u64().unwrap())
}

fn pack_names(blobs: &Blobs) -> Vec<String> {
    entries(blobs).values().flat_map(|entry| packs(&entry.body)).map(|pack| pack.n).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pack_of_every_kind_that_is_changed_removed_or_swapped_is_named() {
    let blobs = archive().await;
    let report = plain(blobs.clone()).await.unwrap();
    assert_eq!(report.findings, [], "the archive is sound to begin with");
    let names = pack_names(&blobs);
    let kinds: BTreeSet<char> = names.iter().map(|name| kind_of(name)).collect();
    assert_eq!(kinds, BTreeSet::from(['a', 'b', 'd', 'g', 'r']));
    let bases = names.iter().filter(|name| kind_of(name) == 'b').count();
    assert_eq!(bases, 2, "two segments");
    let mut dice = dice(any_seed());
    for (number, name) in names.iter().enumerate() {
        for _ in 0..3 {
            let bytes = flipped(&blobs[name], &mut dice);
            assert_named(&blobs, vec![(name.clone(), Some(bytes))], "one bit flipped").await;
        }
        let short = blobs[name][..blobs[name].len() - 1].to_vec();
        assert_named(&blobs, vec![(name.clone(), Some(short))], "cut short").await;
        assert_named(&blobs, vec![(name.clone(), None)], "removed").await;
        let others = names.iter().skip(number + 1).chain(names.iter().take(number));
        let same_kind = others.clone().find(|other| kind_of(other) == kind_of(name));
        let other = same_kind.or_else(|| others.clone().next()).unwrap();
        let swap = vec![(name.clone(), Some(blobs[other].clone())), (other.clone(), Some(blobs[name].clone()))];
        assert_named(&blobs, swap, "swapped").await;
    }
}

/// Every entry, some at a time: damage to one hides no damage to another as long as the entry after it is sound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_that_is_changed_removed_or_swapped_is_named() {
    let blobs = archive().await;
    let mut dice = dice(any_seed());
    const APART: u64 = 8;
    for first in 1..=APART {
        let some: Vec<String> = (first..ENTRIES).step_by(APART as usize).map(entry_name).collect();
        for _ in 0..3 {
            let bits = some.iter().map(|name| (name.clone(), Some(flipped(&blobs[name], &mut dice)))).collect();
            assert_named(&blobs, bits, "one bit flipped").await;
        }
        // The newest entry's absence shows at its checkpoint; see below.
        let removed = some.iter().filter(|name| **name != entry_name(ENTRIES - 1));
        assert_named(&blobs, removed.map(|name| (name.clone(), None)).collect(), "removed").await;
        let swapped = some.chunks_exact(2).flat_map(|pair| {
            [(pair[0].clone(), Some(blobs[&pair[1]].clone())), (pair[1].clone(), Some(blobs[&pair[0]].clone()))]
        });
        assert_named(&blobs, swapped.collect(), "swapped").await;
    }
    // And one by one, so that nothing depends on the company.
    for seq in [1, 2, 7, 100, 255, 256, ENTRIES - 2, ENTRIES - 1] {
        let name = entry_name(seq);
        for _ in 0..2 {
            assert_named(&blobs, vec![(name.clone(), Some(flipped(&blobs[&name], &mut dice)))], "flipped").await;
        }
    }
}

/// Two neighbours that change places still point at each other's leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_that_change_places_are_found() {
    let blobs = archive().await;
    for seq in [1, 5, 8, 255, ENTRIES - 2] {
        let (one, two) = (entry_name(seq), entry_name(seq + 1));
        let mut swapped = blobs.clone();
        swapped.insert(one.clone(), blobs[&two].clone());
        swapped.insert(two.clone(), blobs[&one].clone());
        let report = plain(swapped).await.unwrap();
        let named: BTreeSet<String> = findings(&report).into_iter().map(|(_, name)| name).collect();
        assert!(named.contains(&one) && named.contains(&two), "{seq}: {:#?}", report.findings);
    }
}

/// Entry 0 names the keys. Where it can't be trusted there is nothing else to report on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_genesis_entry_that_was_touched_ends_verification() {
    let blobs = archive().await;
    let mut dice = dice(any_seed());
    let name = entry_name(0);
    for _ in 0..20 {
        let mut touched = blobs.clone();
        touched.insert(name.clone(), flipped(&blobs[&name], &mut dice));
        assert_eq!(findings(&plain(touched).await.unwrap()), BTreeSet::from([("genesis", name.clone())]));
    }
    let mut swapped = blobs.clone();
    swapped.insert(name.clone(), blobs[&entry_name(1)].clone());
    assert_eq!(findings(&plain(swapped).await.unwrap()), BTreeSet::from([("genesis", name.clone())]));
    let mut removed = blobs.clone();
    removed.remove(&name);
    assert_eq!(findings(&plain(removed).await.unwrap()), BTreeSet::from([("genesis", name)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tile_and_checkpoint_that_is_changed_or_swapped_is_named_and_a_missing_one_is_a_note() {
    let blobs = archive().await;
    let tiles: Vec<&String> = blobs.keys().filter(|name| name.starts_with("log/tile/")).collect();
    assert_eq!(tiles, ["log/tile/0/000", "log/tile/entries/000"]);
    let mut dice = dice(any_seed());
    for name in &tiles {
        for _ in 0..6 {
            let bytes = flipped(&blobs[*name], &mut dice);
            assert_named(&blobs, vec![((*name).clone(), Some(bytes))], "one bit flipped").await;
        }
        let mut without = blobs.clone();
        without.remove(*name);
        let report = plain(without).await.unwrap();
        assert!(report.is_ok() && said(&report, Severity::Note).iter().any(|(code, _)| *code == "tile-missing"));
    }
    let swap =
        vec![(tiles[0].clone(), Some(blobs[tiles[1]].clone())), (tiles[1].clone(), Some(blobs[tiles[0]].clone()))];
    assert_named(&blobs, swap, "swapped").await;
    for size in [1, 100, 256, ENTRIES] {
        let name = checkpoint_name(size);
        for change in ["flipped", "swapped", "removed"] {
            let mut touched = blobs.clone();
            match change {
                "flipped" => drop(touched.insert(name.clone(), flipped(&blobs[&name], &mut dice))),
                "swapped" => drop(touched.insert(name.clone(), blobs[&checkpoint_name(50)].clone())),
                _ => drop(touched.remove(&name)),
            }
            let report = plain(touched).await.unwrap();
            let is_head = size == ENTRIES;
            match (change, is_head) {
                ("removed", false) => {
                    let expected = BTreeSet::from([("checkpoint-missing", name.clone())]);
                    assert!(report.is_ok() && said(&report, Severity::Note) == expected, "{:#?}", report.findings);
                }
                ("removed", true) => {
                    let expected = BTreeSet::from([("head-unsigned", name.clone())]);
                    assert!(report.is_ok() && said(&report, Severity::Warning) == expected, "{:#?}", report.findings);
                }
                (_, false) => {
                    assert!(
                        report.is_ok() && said(&report, Severity::Note).contains(&("checkpoint-bad", name.clone()))
                    );
                }
                (_, true) => {
                    assert_eq!(findings(&report), BTreeSet::from([("checkpoint-bad", name.clone())]), "{change}")
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_cut_off_is_found_by_a_checkpoint_left_behind_given_or_remembered() {
    let blobs = archive().await;
    let remembered = head_of(&MemoryStore::with(blobs.clone())).await;
    let kept = String::from_utf8(blobs[&checkpoint_name(ENTRIES)].clone()).unwrap();
    for cut in [1, 2, 20] {
        let mut shorter = blobs.clone();
        (ENTRIES - cut..ENTRIES).for_each(|seq| drop(shorter.remove(&entry_name(seq))));
        let report = plain(shorter.clone()).await.unwrap();
        let expected = (ENTRIES - cut + 1..=ENTRIES).map(|size| ("log-truncated", checkpoint_name(size)));
        let mut expected: BTreeSet<_> = expected.collect();
        // A full tile that reaches beyond the end gives the cut away too.
        let tiles = [tile_name(0, 0), bundle_name(0)];
        if ENTRIES - cut < TILE_WIDTH {
            expected.extend(tiles.iter().map(|tile| ("tile-wrong", tile.clone())));
            tiles.iter().for_each(|tile| drop(shorter.remove(tile)));
        }
        assert_eq!(findings(&report), expected, "the checkpoints are left");
        (ENTRIES - cut + 1..=ENTRIES).for_each(|size| drop(shorter.remove(&checkpoint_name(size))));
        assert!(plain(shorter.clone()).await.unwrap().is_ok(), "without them the archive alone can't tell");
        let store = MemoryStore::with(shorter);
        for options in [
            Options { against: Some(kept.parse().unwrap()), ..Options::default() },
            Options { remembered: Some(remembered.clone()), ..Options::default() },
        ] {
            let report = verify(&store, &options, |_, _| ()).await.unwrap();
            let codes: Vec<_> = findings(&report).into_iter().map(|(code, _)| code).collect();
            assert_eq!(codes, ["log-truncated"], "{cut} entries cut off");
        }
    }
}
