//! A week under the worst weather, and a group of 120,000: what the archive holds against what the tenant showed.
//!
//! The week runs with 2,000 objects; with more by
//! `TENURE_WEEK_OBJECTS=20000 cargo test --release --test weather -- --nocapture a_week`, whose result
//! `docs/benchmarks.md` quotes.

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oracle::{Oracle, State, visible};
use serde_json::json;
use tenure::archive::entry::Status;
use tenure::capture::{Options, Request};
use tenure::clock::Clock;
use tenure::simulator::{Collection, Relation, Simulator, Weather};
use world::{World, machine, sound};

/// Objects of a tenant for each of its users, about: groups, devices, applications, assignments come with them.
const OBJECTS_PER_USER: f64 = 2.4;

fn objects() -> usize {
    match std::env::var("TENURE_WEEK_OBJECTS") {
        Ok(text) => text.parse().expect("TENURE_WEEK_OBJECTS is a number"),
        Err(_) => 2_000,
    }
}

fn size(state: &State) -> usize {
    state.objects.keys().filter(|key| !key.contains('#')).count()
}

fn seen(tenant: &Simulator) -> State {
    visible(tenant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_under_the_worst_weather_is_archived_as_it_was_seen() {
    let seed = 1603;
    let users = (objects() as f64 / OBJECTS_PER_USER) as usize;
    let world = World::new(seed, users.max(40), "2026-06-29T00:00:00Z").await;
    world.tenant.set_weather(Weather::worst());
    let local = machine();
    let mut capturer = Some(world.open_all(&local).await);
    let mut oracle = Oracle::default();
    let mut statuses: BTreeMap<Status, u64> = BTreeMap::new();
    let mut codes: BTreeSet<String> = BTreeSet::new();
    let (mut requests, mut units) = (0, 0);
    for hour in 0..168u64 {
        world.hour();
        let story = format!("seed {seed}, hour {hour}");
        let before = seen(&world.tenant);
        let request = Request { reconcile: hour % 24 == 23, ..Request::default() };
        let started = world.clock.now();
        let committed = capturer.as_mut().unwrap().capture(&request).await;
        let body = match committed {
            Ok(committed) => committed.body,
            // Not even a token was to be had: nothing is committed, and the next hour makes up for it.
            Err(tenure::capture::CaptureError::Graph(error)) => {
                println!("{story}: {error}");
                continue;
            }
            Err(error) => panic!("{story}: {error:?}"),
        };
        let took = world.clock.now().duration_since(started);
        assert!(took < jiff::SignedDuration::from_mins(58), "{story}: took {took}");
        let after = seen(&world.tenant);
        oracle.check(&world.store, &body, &before, &after, &story).await;
        for row in body.cover.iter().flatten() {
            *statuses.entry(row.st).or_default() += 1;
            codes.extend(row.code.clone());
            requests += row.requests.unwrap_or(0);
            units += row.units.unwrap_or(0);
        }
        if hour == 70 {
            // The process ends and another one goes on.
            drop(capturer.take());
            capturer = Some(world.open_all(&local).await);
        }
    }
    println!(
        "seed {seed}: {} objects, {} links, {} events after the week; {} rows compared exactly, {} as far as coverage \
         admits; {statuses:?}; {requests} requests, {units} units; codes {codes:?}",
        size(&oracle.archived),
        oracle.archived.links.len(),
        oracle.archived.events.len(),
        oracle.exact,
        oracle.admitted,
    );
    assert!(oracle.exact > 168 * 25, "a test that compares nothing proves nothing");
    assert!(size(&oracle.archived) * 10 >= objects() * 9, "smaller than it says: {}", size(&oracle.archived));
    // When the weather clears, one reconciliation makes everything whole again.
    world.tenant.set_weather(Weather::calm());
    world.hour();
    let before = seen(&world.tenant);
    let request = Request { reconcile: true, ..Request::default() };
    let body = capturer.as_mut().unwrap().capture(&request).await.unwrap().body;
    oracle.check(&world.store, &body, &before, &seen(&world.tenant), "after the storm").await;
    let short: Vec<_> = body.cover.iter().flatten().filter(|row| !is_fine(row.st)).collect();
    assert!(short.is_empty(), "{short:?}");
    sound(&world.store, "after the week").await;
}

fn is_fine(status: Status) -> bool {
    matches!(status, Status::Complete | Status::NotDue | Status::Rolling)
}

/// One group fills many pages of the feed, comes again on following pages with others of its members and in another
/// order (learn, delta-query-groups): that is a continuation, never a new state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_group_of_120_000_are_all_there() {
    const MEMBERS: usize = 120_000;
    let world = World::new(77, 40, "2026-06-29T00:00:00Z").await;
    let members: Vec<String> = (0..MEMBERS).map(|n| format!("{n:08x}-0000-4000-8000-00000000cafe")).collect();
    let group = "0a0a0a0a-0000-4000-8000-00000000beef".to_owned();
    world.tenant.edit(|directory| {
        for id in &members {
            assert!(directory.create(Collection::User, json!({ "id": id })));
        }
        assert!(directory.create(Collection::Group, json!({ "id": group, "displayName": "Everybody" })));
        assert_eq!(directory.link_all(&group, Relation::Members, &members), MEMBERS);
    });
    let mut weather = Weather::worst();
    (weather.throttled_with_hint, weather.throttled_without_hint) = (0.0, 0.0);
    // A round of hundreds of pages doesn't come to its end where every hundredth loses its token.
    (weather.expired_page, weather.state_lost) = (0.0, 0.0);
    world.tenant.set_weather(weather);
    let local = machine();
    let only = ["group"];
    let off = tenure::model::COLLECTIONS.iter().map(|collection| collection.name).filter(|name| !only.contains(name));
    let options = Options { off: off.map(str::to_owned).collect(), ..Options::default() };
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let store = Arc::new(world.store.clone());
    let mut capturer = world.open_with(store, local.path(), world.reader(), clock, options).await.unwrap();
    world.quiet_hour();
    let mut body = capturer.capture(&Request::default()).await.unwrap().body;
    let mut tries = 1;
    while world::row(&body, "group", Some("members")).st != Status::Complete {
        assert!(tries < 10, "{:?}", world::row(&body, "group", Some("members")));
        world.quiet_hour();
        body = capturer.capture(&Request::default()).await.unwrap().body;
        tries += 1;
    }
    let archived = |capturer: &tenure::capture::Capturer| -> BTreeSet<String> {
        let view = capturer.index().view().unwrap();
        let id = view.id(&format!("group/{group}").parse().unwrap()).unwrap().unwrap();
        let links = view.links_from(id).unwrap().into_iter();
        let here = links.filter(|link| link.until.is_none() && link.relation == "members");
        here.map(|link| view.key(link.target).unwrap().to_string()).collect()
    };
    let expected: BTreeSet<String> = members.iter().map(|id| format!("user/{id}")).collect();
    let found = archived(&capturer);
    assert_eq!(found.len(), MEMBERS);
    assert!(found == expected);
    // Some go, some come, in the same hour.
    world.tenant.edit(|directory| {
        for id in &members[..500] {
            assert!(directory.unlink(&group, Relation::Members, id));
        }
    });
    world.quiet_hour();
    let request = Request { reconcile: true, ..Request::default() };
    world.tenant.set_weather(Weather::calm());
    let body = capturer.capture(&request).await.unwrap().body;
    assert_eq!(body.delta.as_ref().unwrap().ldel, 500);
    assert_eq!(world::row(&body, "group", Some("members")).missed, None, "the feed told, and the whole read agrees");
    assert_eq!(archived(&capturer).len(), MEMBERS - 500);
}
