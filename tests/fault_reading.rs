//! Faults of reading the tenant: answers that lack objects, feeds that miss changes, tokens that are gone, reads that
//! are refused or cut. Absence is never taken for removal without proof.

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proxy::{Body as ReplyBody, Reply, Seen, Server, json as value_of, proxy};
use serde_json::json;
use tempfile::TempDir;
use tenure::archive::entry::{Body, Status};
use tenure::capture::{Capturer, Request};
use tenure::clock::Clock;
use tenure::index::Index;
use tenure::simulator::{Collection, Weather};
use world::{World, assert_same_archive, capture, content, copy_of, lines, machine, present, reconcile, row, sound};

const START: &str = "2026-06-29T00:00:00Z";
/// Enough that half of the users is more than the gate lets pass.
const USERS: usize = 60;

/// Nothing that the state consists of was changed.
fn assert_nothing_changed(body: &Body, context: &str) {
    let delta = body.delta.as_ref().unwrap();
    assert_eq!((delta.put, delta.del, delta.ladd, delta.ldel), (0, 0, 0, 0), "{context}");
}

/// A server that leaves out every second user while it is told to, with HTTP 200 and as if that were all.
async fn forgetful(world: &World, forgets: Arc<AtomicBool>) -> Server {
    let is_user_list = |seen: &Seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        path == "/v1.0/users" || path == "/v1.0/users/delta"
    };
    proxy(
        world.tenant.url(),
        |_| (),
        move |seen, reply| {
            if !forgets.load(Ordering::SeqCst) || !is_user_list(seen) {
                return reply;
            }
            let mut page = value_of(&reply);
            if let Some(users) = page["value"].as_array_mut() {
                // By id, so that every read forgets the same ones.
                users.retain(|user| user["id"].as_str().is_some_and(|id| id.as_bytes()[0] % 2 == 0));
            }
            Reply { body: ReplyBody::Whole(page.to_string().into_bytes()), ..reply }
        },
    )
    .await
}

async fn open_through(world: &World, server: &Server, machine: &TempDir) -> Capturer {
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let reader = world.reader_by(&server.url, clock.clone());
    world.open_with(Arc::new(world.store.clone()), machine.path(), reader, clock, world::options()).await.unwrap()
}

/// What a capture that met the forgetful server must look like: nobody is gone, and whom it missed is written down.
fn assert_held_back(world: &World, capturer: &Capturer, body: &Body, before: &BTreeSet<String>) -> BTreeSet<String> {
    assert_eq!(&present(capturer, "user"), before, "held back, not removed");
    let users = row(body, "user", None);
    assert_eq!((users.st, users.code.as_deref()), (Status::Partial, Some("gate")));
    let held = lines(&world.store.snapshot(), body, 'g');
    assert!(held.len() > 20, "{}", held.len());
    assert!(held.iter().all(|line| line.starts_with(r#"{"k":"user/"#) && line.ends_with(r#""x":1}"#)), "{held:?}");
    let key =
        |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["k"].as_str().unwrap().to_owned();
    held.iter().map(key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reconciliation_that_lost_half_of_the_users_waits_for_a_second_one() {
    let world = World::new(51, USERS, START).await;
    let forgets = Arc::new(AtomicBool::new(false));
    let server = forgetful(&world, forgets.clone()).await;
    let local = machine();
    let mut capturer = open_through(&world, &server, &local).await;
    world.hour();
    capture(&mut capturer).await;
    let before = present(&capturer, "user");
    world.quiet_hour();
    forgets.store(true, Ordering::SeqCst);
    let body = reconcile(&mut capturer).await.body;
    let held = assert_held_back(&world, &capturer, &body, &before);
    // Hours that only ask the feed prove nothing, neither way.
    for _ in 0..2 {
        world.quiet_hour();
        let body = capture(&mut capturer).await.body;
        assert_nothing_changed(&body, "between the whole reads");
        assert_eq!(present(&capturer, "user"), before);
    }
    world.quiet_hour();
    let body = reconcile(&mut capturer).await.body;
    assert_eq!(body.delta.as_ref().unwrap().del, held.len() as u64, "the second whole read commits them");
    assert_eq!(lines(&world.store.snapshot(), &body, 'g'), Vec::<String>::new());
    let removed = lines(&world.store.snapshot(), &body, 'd').into_iter().filter(|line| line.contains(r#""x":1"#));
    assert!(removed.clone().count() == held.len() && removed.clone().all(|line| line.contains(r#","q":"#)));
    assert_eq!(present(&capturer, "user"), before.difference(&held).cloned().collect());
    // They were there all the time: the next honest read brings them back.
    forgets.store(false, Ordering::SeqCst);
    world.quiet_hour();
    reconcile(&mut capturer).await;
    assert_eq!(present(&capturer, "user"), before);
    sound(&world.store, "after the gate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_gate_held_back_and_a_whole_read_shows_again_is_forgotten() {
    let world = World::new(52, USERS, START).await;
    let forgets = Arc::new(AtomicBool::new(false));
    let server = forgetful(&world, forgets.clone()).await;
    let local = machine();
    let mut capturer = open_through(&world, &server, &local).await;
    world.hour();
    capture(&mut capturer).await;
    let before = present(&capturer, "user");
    for lost in [true, false, true] {
        world.quiet_hour();
        forgets.store(lost, Ordering::SeqCst);
        let body = reconcile(&mut capturer).await.body;
        assert_nothing_changed(&body, "each loss stands alone");
        match lost {
            true => drop(assert_held_back(&world, &capturer, &body, &before)),
            false => assert_eq!(row(&body, "user", None).st, Status::Complete),
        }
    }
    sound(&world.store, "after two losses").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_person_can_let_through_what_the_gate_would_hold_back() {
    let world = World::new(53, USERS, START).await;
    let forgets = Arc::new(AtomicBool::new(false));
    let server = forgetful(&world, forgets.clone()).await;
    let local = machine();
    let mut capturer = open_through(&world, &server, &local).await;
    world.hour();
    capture(&mut capturer).await;
    let before = present(&capturer, "user").len();
    forgets.store(true, Ordering::SeqCst);
    let request = Request { reconcile: true, accept_removals: true, ..Request::default() };
    let body = capturer.capture(&request).await.unwrap().body;
    assert_eq!(row(&body, "user", None).st, Status::Complete);
    assert_eq!(present(&capturer, "user").len() as u64, before as u64 - body.delta.unwrap().del);
    assert!(present(&capturer, "user").len() < before * 3 / 4);
    sound(&world.store, "after the acceptance").await;
}

/// The first round of a feed is a whole read, too: a lost token and an answer that lacks half must not add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_round_of_the_feed_that_lost_half_of_the_users_is_held_back_and_repeated() {
    let world = World::new(54, USERS, START).await;
    let forgets = Arc::new(AtomicBool::new(false));
    let server = forgetful(&world, forgets.clone()).await;
    let local = machine();
    let mut capturer = open_through(&world, &server, &local).await;
    world.hour();
    capture(&mut capturer).await;
    let before = present(&capturer, "user");
    for honest_at_last in [true, false] {
        forgets.store(true, Ordering::SeqCst);
        world.tenant.expire_tokens();
        world.quiet_hour();
        let body = capture(&mut capturer).await.body;
        let held = assert_held_back(&world, &capturer, &body, &before);
        world.quiet_hour();
        forgets.store(!honest_at_last, Ordering::SeqCst);
        let body = capture(&mut capturer).await.body;
        let expected = if honest_at_last { before.clone() } else { before.difference(&held).cloned().collect() };
        assert_eq!(row(&body, "user", None).st, Status::Complete);
        assert_eq!(present(&capturer, "user"), expected, "the next round is a full one again");
    }
    sound(&world.store, "after the full rounds").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_that_the_feed_tells_are_never_held_back_however_many() {
    let world = World::new(55, USERS, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    world.hour();
    capture(&mut capturer).await;
    let before = present(&capturer, "user");
    world.quiet_hour();
    let gone = world.tenant.edit(|directory| {
        let gone: Vec<String> = directory.ids(Collection::User).into_iter().take(40).collect();
        assert!(gone.iter().enumerate().all(|(i, id)| if i % 2 == 0 {
            directory.remove(id)
        } else {
            directory.soft_delete(id)
        }));
        gone
    });
    let body = capture(&mut capturer).await.body;
    assert_eq!(row(&body, "user", None).st, Status::Complete);
    assert_eq!(lines(&world.store.snapshot(), &body, 'g'), Vec::<String>::new());
    let gone: BTreeSet<String> = gone.into_iter().map(|id| format!("user/{id}")).collect();
    assert_eq!(present(&capturer, "user"), before.difference(&gone).cloned().collect());
    sound(&world.store, "after the exodus").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciliation_finds_and_counts_what_the_feed_missed() {
    let world = World::new(56, USERS, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    world.hour();
    let first = capture(&mut capturer).await.body.seq;
    world.quiet_hour();
    capture(&mut capturer).await;
    let (changed, removed) = world.tenant.edit(|directory| {
        let users = directory.ids(Collection::User);
        directory.lose_next_changes(1);
        assert!(directory.patch(&users[4], json!({ "jobTitle": "Nobody was told" })));
        (users[4].clone(), users[9].clone())
    });
    for _ in 0..2 {
        world.quiet_hour();
        let body = capture(&mut capturer).await.body;
        assert_nothing_changed(&body, "the feed doesn't tell");
        assert_eq!(row(&body, "user", None).missed, None);
    }
    world.quiet_hour();
    let body = reconcile(&mut capturer).await.body;
    assert_eq!(content(&capturer, &format!("user/{changed}")).await.unwrap()["jobTitle"], "Nobody was told");
    assert_eq!(row(&body, "user", None).missed, Some(1));
    let said: Vec<String> =
        lines(&world.store.snapshot(), &body, 'd').into_iter().filter(|line| line.contains(&changed)).collect();
    assert!(
        said.len() == 1 && said[0].ends_with(&format!(r#","q":{first}}}"#)),
        "last read whole at {first}: {said:?}"
    );
    // What the feed told is not counted, though it came in the same capture.
    world.quiet_hour();
    assert!(world.tenant.edit(|directory| directory.soft_delete(&removed)));
    let body = reconcile(&mut capturer).await.body;
    assert!(!present(&capturer, "user").contains(&format!("user/{removed}")));
    assert_eq!(row(&body, "user", None).missed, None);
    sound(&world.store, "after the reconciliations").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_membership_is_found_too() {
    let world = World::new(57, USERS, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    world.hour();
    capture(&mut capturer).await;
    world.quiet_hour();
    capture(&mut capturer).await;
    world.tenant.edit(|directory| {
        let group = directory.ids(Collection::Group)[0].clone();
        let members = directory.targets(&group, tenure::simulator::Relation::Members);
        let users = directory.ids(Collection::User);
        let outsider = users.iter().find(|user| !members.contains(user)).unwrap();
        directory.lose_next_changes(1);
        assert!(directory.link(&group, tenure::simulator::Relation::Members, outsider));
    });
    world.quiet_hour();
    assert_nothing_changed(&capture(&mut capturer).await.body, "the feed doesn't tell");
    world.quiet_hour();
    let body = reconcile(&mut capturer).await.body;
    assert_eq!(row(&body, "group", Some("members")).missed, Some(1));
    assert_eq!(body.delta.unwrap().ladd, 1);
    sound(&world.store, "after the reconciliation").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_quiet_tenant_a_reconciliation_changes_nothing() {
    let world = World::new(58, USERS, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    for hour in 0..30 {
        world.hour();
        if hour % 10 == 0 {
            capture(&mut capturer).await;
        }
    }
    let before = reconcile(&mut capturer).await.body.state;
    world.quiet_hour();
    let body = reconcile(&mut capturer).await.body;
    assert_nothing_changed(&body, "nothing happened");
    assert_eq!(body.state, before);
    assert!(body.cover.unwrap().iter().all(|row| row.missed.is_none()));
}

/// Between the first round of a feed and its second somebody is hired, changed and dismissed, and a member comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_made_while_a_reconciliation_reads_are_no_false_alarm() {
    let world = Arc::new(World::new(59, USERS, START).await);
    let (armed, edits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (meddler, hook_armed, hook_edits) = (world.clone(), armed.clone(), edits.clone());
    let server = proxy(
        world.tenant.url(),
        move |seen| {
            let path = seen.target.split('?').next().unwrap_or_default();
            let is_whole_read = ["/v1.0/users", "/v1.0/groups", "/v1.0/applications"].contains(&path);
            if !hook_armed.load(Ordering::SeqCst) || !is_whole_read {
                return;
            }
            let number = hook_edits.fetch_add(1, Ordering::SeqCst);
            meddler.tenant.edit(|directory| {
                let users = directory.ids(Collection::User);
                directory.patch(&users[10 + number], json!({ "department": format!("Meanwhile {number}") }));
                directory.soft_delete(&users[20 + number]);
                let id = format!("00000000-0000-4000-8000-{number:012}");
                let name = format!("meanwhile{number}@example.org");
                directory.create(Collection::User, json!({"id": id, "displayName": name, "userPrincipalName": name}));
                let group = directory.ids(Collection::Group)[number].clone();
                directory.link(&group, tenure::simulator::Relation::Members, &id);
                directory.patch(&group, json!({ "description": format!("Meanwhile {number}") }));
            });
        },
        |_, reply| reply,
    )
    .await;
    let local = machine();
    let mut capturer = open_through(&world, &server, &local).await;
    world.hour();
    capture(&mut capturer).await;
    world.quiet_hour();
    armed.store(true, Ordering::SeqCst);
    let body = reconcile(&mut capturer).await.body;
    armed.store(false, Ordering::SeqCst);
    assert!(edits.load(Ordering::SeqCst) >= 3, "every whole read was disturbed");
    let missed: Vec<_> = body.cover.iter().flatten().filter(|row| row.missed.is_some()).collect();
    assert_eq!(missed, Vec::<&tenure::archive::entry::Coverage>::new());
    world.quiet_hour();
    capture(&mut capturer).await;
    world.quiet_hour();
    let body = reconcile(&mut capturer).await.body;
    assert_nothing_changed(&body, "everything was told by the feeds");
    sound(&world.store, "after the meddling").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_expired_feed_tokens_cost_a_full_round_and_remove_nobody() {
    let world = World::new(60, USERS, START).await;
    let mut local = machine();
    let mut capturer = world.open(&local).await;
    world.hour();
    capture(&mut capturer).await;
    let before = present(&capturer, "user");
    for (what, loses) in [("expired", false), ("lost", true), ("expired again", false)] {
        world.quiet_hour();
        let hired = format!("user/00000000-0000-4000-9000-{:012}", world.entries().len());
        world.tenant.edit(|directory| {
            let id = hired.trim_start_matches("user/");
            assert!(directory.create(Collection::User, json!({"id": id, "displayName": "Hired meanwhile"})));
        });
        drop(capturer);
        if loses {
            let fresh = machine();
            std::fs::create_dir(fresh.path().join("index")).unwrap();
            std::fs::copy(local.path().join("index/index.redb"), fresh.path().join("index/index.redb")).unwrap();
            local = fresh;
        } else {
            world.tenant.expire_tokens();
        }
        capturer = world.open(&local).await;
        let requests = world.tenant.request_count();
        let body = capture(&mut capturer).await.body;
        let delta = body.delta.as_ref().unwrap();
        assert_eq!((delta.put, delta.del, delta.ldel), (1, 0, 0), "{what}");
        assert!(row(&body, "user", None).n.unwrap() as usize >= before.len(), "{what}: a full round");
        assert!(
            present(&capturer, "user").is_superset(&before) && present(&capturer, "user").contains(&hired),
            "{what}"
        );
        world.quiet_hour();
        let body = capture(&mut capturer).await.body;
        assert_nothing_changed(&body, what);
        assert_eq!(row(&body, "user", None).n, Some(0), "{what}: the round after it has a token again");
        assert!(world.tenant.request_count() > requests);
    }
    sound(&world.store, "after the tokens").await;
}

/// Somebody who was deleted while the token was lost is gone all the same: the full round doesn't show him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_during_the_loss_of_a_token_is_inferred_from_the_full_round() {
    let world = World::new(61, USERS, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    world.hour();
    capture(&mut capturer).await;
    world.quiet_hour();
    let gone = world.tenant.edit(|directory| {
        let id = directory.ids(Collection::User)[8].clone();
        assert!(directory.remove(&id));
        id
    });
    world.tenant.expire_tokens();
    let body = capture(&mut capturer).await.body;
    assert_eq!(body.delta.unwrap().del, 1);
    assert_eq!(content(&capturer, &format!("user/{gone}")).await, None);
    sound(&world.store, "after the removal").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_forbidden_removes_nothing_and_is_taken_up_again_later() {
    const PERMISSIONS: [&str; 6] = [
        "AdministrativeUnit.Read.All",
        "Application.Read.All",
        "Directory.Read.All",
        "Group.Read.All",
        "Policy.Read.All",
        "RoleManagement.Read.Directory",
    ];
    let world = World::new(62, USERS, START).await;
    let local = machine();
    let mut capturer = world.open(&local).await;
    world.hour();
    let before = capture(&mut capturer).await.body.state;
    for how in [false, true] {
        PERMISSIONS.iter().for_each(|permission| world.tenant.revoke(permission));
        if how {
            world.tenant.expire_tokens();
        }
        for reconcile in [false, true] {
            world.quiet_hour();
            let request = Request { reconcile, ..Request::default() };
            let body = capturer.capture(&request).await.unwrap().body;
            assert_nothing_changed(&body, "what can't be read isn't gone");
            assert_eq!(body.state, before);
            let groups = row(&body, "group", None);
            assert!(matches!(groups.st, Status::Absent | Status::Carried), "{groups:?}");
        }
        PERMISSIONS.iter().for_each(|permission| world.tenant.grant(permission));
        world.quiet_hour();
        let body = capture(&mut capturer).await.body;
        assert_nothing_changed(&body, "it can be read again");
        assert_eq!(row(&body, "group", None).st, Status::Complete);
    }
    sound(&world.store, "after the refusals").await;
}

/// Storm over a tenant in which nothing happens: whatever fails, is cut, repeated or answered with a tombstone, nothing
/// changes in the archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_weather_makes_a_change_where_there_was_none() {
    for seed in [63, 64, 65] {
        println!("seed {seed}");
        let world = World::new(seed, USERS, START).await;
        let local = machine();
        let mut capturer = world.open(&local).await;
        // Some history, so that the feeds have tombstones to show.
        for hour in 0..24 {
            world.hour();
            if hour % 8 == 7 {
                capture(&mut capturer).await;
            }
        }
        let before = reconcile(&mut capturer).await.body.state;
        world.tenant.set_weather(Weather { broken: 0.15, cut: 0.1, truncated: 0.1, ..Weather::storm() });
        let mut committed = 0;
        for hour in 0..14 {
            world.quiet_hour();
            if hour % 5 == 4 {
                world.tenant.expire_tokens();
            }
            let request = Request { reconcile: hour % 3 == 2, ..Request::default() };
            // A capture that can't read a thing commits nothing.
            if let Ok(done) = capturer.capture(&request).await {
                committed += 1;
                let said = lines(&world.store.snapshot(), &done.body, 'd');
                assert_nothing_changed(&done.body, &format!("seed {seed}, hour {hour}: {said:?}"));
                assert_eq!(done.body.state, before);
            }
        }
        assert!(committed > 4, "seed {seed}: only {committed} captures");
        world.tenant.set_weather(Weather::calm());
        world.quiet_hour();
        assert_nothing_changed(&reconcile(&mut capturer).await.body, "after the storm");
        sound(&world.store, "after the storm").await;
    }
}

/// The same life captured twice: once undisturbed, once with an index that is deleted, cut short, overwritten or
/// another archive's before every capture.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_lost_damaged_or_another_s_changes_nothing() {
    const SEED: u64 = 66;
    let lived = async |breaks: bool| {
        let world = World::new(SEED, USERS, "2026-06-29T12:00:00Z").await;
        let local = machine();
        let foreign = match breaks {
            false => None,
            true => {
                let other = World::new(SEED + 1, USERS, START).await;
                let place = machine();
                for _ in 0..2 {
                    other.hour();
                    capture(&mut other.open(&place).await).await;
                }
                Some(copy_of(place.path()))
            }
        };
        for hour in 0..48 {
            world.hour();
            if hour % 5 != 4 {
                continue;
            }
            let file = local.path().join("index/index.redb");
            if let (Some(foreign), true) = (&foreign, file.exists()) {
                match (hour / 5) % 4 {
                    0 => std::fs::remove_file(&file).unwrap(),
                    1 => std::fs::write(&file, b"junk").unwrap(),
                    2 => std::fs::File::options().write(true).open(&file).unwrap().set_len(4096).unwrap(),
                    _ => drop(std::fs::copy(foreign.path().join("index/index.redb"), &file).unwrap()),
                }
                if let Err(error) = Index::open(&local.path().join("index")) {
                    assert!(matches!(error, tenure::index::IndexError::Damaged { .. }), "hour {hour}: {error}");
                    Index::destroy(&local.path().join("index")).unwrap();
                }
            }
            capture(&mut world.open(&local).await).await;
        }
        sound(&world.store, "at the end").await;
        world.store.snapshot()
    };
    let (undisturbed, disturbed) = (lived(false).await, lived(true).await);
    assert!(world::entries(&undisturbed).values().filter(|entry| entry.body.opens_segment()).count() == 2);
    assert_same_archive(&disturbed, &undisturbed, "with indexes that break");
}

/// Tokens of another archive's machine, or of a head that is no more, are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_token_newer_than_the_head_is_not_used() {
    let world = World::new(68, USERS, START).await;
    let local = machine();
    world.hour();
    capture(&mut world.open(&local).await).await;
    let rolled_back = world.store.snapshot();
    let user = world.tenant.edit(|directory| directory.ids(Collection::User)[2].clone());
    world.quiet_hour();
    world.tenant.edit(|directory| assert!(directory.patch(&user, json!({ "jobTitle": "Told once" }))));
    capture(&mut world.open(&local).await).await;
    // The store comes back without its newest entry; the local state is of the time after it.
    let store = tenure::store::MemoryStore::with(rolled_back);
    let mut capturer = world.open_on(Arc::new(store.clone()), local.path()).await.unwrap();
    capture(&mut capturer).await;
    assert_eq!(content(&capturer, &format!("user/{user}")).await.unwrap()["jobTitle"], "Told once");
    sound(&store, "after the return").await;
}
