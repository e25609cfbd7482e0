//! What moves by itself is read at its own hours and stands still in the archive between them; what the tenant refuses is
//! left out, and asked for again when everything is read whole.

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oracle::{Oracle, State, visible};
use serde_json::{Value, json};
use tenure::archive::entry::{Body, Coverage, Status};
use tenure::capture::Options;
use tenure::simulator::Collection;
use world::{World, capture, machine, reconcile, sound};

const START: &str = "2026-06-29T00:00:00Z";

/// What has hours of its own: the row, the hours in this test, and whether the configuration names them.
const HOURS: &[(&str, u32, bool)] = &[
    ("user#activity", 6, true),
    ("user#sync", 3, true),
    ("group#sync", 24, false),
    ("device#activity", 1, true),
    ("device#sync", 24, false),
    ("organization#sync", 24, false),
    ("userRegistrationDetails", 12, true),
];

fn rows(body: &Body) -> BTreeMap<String, Coverage> {
    body.cover.iter().flatten().map(|row| (row.subject(), row.clone())).collect()
}

/// The objects of a row: those with its facet, or those of its collection.
fn of_row(state: &State, row: &str) -> BTreeMap<String, Value> {
    let (collection, facet) = row.split_once('#').unwrap_or((row, ""));
    let is_mine = |key: &str| {
        key.split('/').next() == Some(collection) && key.split_once('#').map_or("", |(_, facet)| facet) == facet
    };
    state.objects.iter().filter(|(key, _)| is_mine(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_by_itself_is_read_at_its_hours_and_stands_still_between_them() {
    let world = World::new(71, 60, START).await;
    let named = HOURS.iter().filter(|(.., is_named)| *is_named);
    let hours = named.map(|(row, hours, _)| ((*row).to_owned(), *hours)).collect();
    let options = Options { hours, ..Options::default() };
    let local = machine();
    let (store, clock) = (Arc::new(world.store.clone()), Arc::new(world.clock.clone()));
    let mut capturer = world.open_with(store, local.path(), world.reader(), clock, options).await.unwrap();
    let mut oracle = Oracle::default();
    // By row: the hour and the capture at which it was read last, and what it held then.
    let mut last: BTreeMap<&str, (u32, u64, BTreeMap<String, Value>)> = BTreeMap::new();
    let mut moved = 0;
    for hour in 0..27 {
        world.hour();
        let story = format!("hour {hour}");
        let before = visible(&world.tenant);
        let body = capture(&mut capturer).await.body;
        oracle.check(&world.store, &body, &before, &visible(&world.tenant), &story).await;
        let rows = rows(&body);
        for (name, hours, _) in HOURS {
            let row = &rows[*name];
            let is_due = last.get(name).is_none_or(|(read, ..)| hour - read >= *hours);
            if is_due {
                assert_eq!((row.st, row.oldest), (Status::Complete, None), "{story}: {row:?}");
                last.insert(name, (hour, body.seq, of_row(&before, name)));
            }
            let (_, seq, held) = &last[name];
            if !is_due {
                assert_eq!((row.st, row.oldest, row.requests), (Status::NotDue, Some(*seq), None), "{story}: {row:?}");
                moved += usize::from(*held != of_row(&before, name));
            }
            let found = of_row(&oracle.archived, name);
            // What came or went with its object meanwhile is another matter.
            for (key, value) in &found {
                assert_eq!(held.get(key), Some(value), "{story}: {key}");
            }
            let there = |key: &&String| before.objects.contains_key(key.split('#').next().unwrap());
            let lacking = held.keys().filter(there).find(|key| !found.contains_key(*key));
            assert_eq!(lacking, None, "{story}: {name}");
        }
    }
    assert!(moved > 40, "a test in which nothing moves proves nothing: {moved}");
    // A whole read asks for everything, whatever its hours.
    world.hour();
    let before = visible(&world.tenant);
    let body = reconcile(&mut capturer).await.body;
    oracle.check(&world.store, &body, &before, &visible(&world.tenant), "the whole read").await;
    for (name, ..) in HOURS {
        assert_eq!(rows(&body)[*name].st, Status::Complete, "{name}");
        assert_eq!(of_row(&oracle.archived, name), of_row(&before, name), "{name}");
    }
    sound(&world.store, "facets").await;
}

/// A facet that could not be read is asked for in every hour until it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_facet_that_was_refused_is_due_until_it_is_given() {
    let world = World::new(72, 60, START).await;
    let local = machine();
    let mut capturer = world.open_all(&local).await;
    world.tenant.revoke("AuditLog.Read.All");
    for hour in 0..3 {
        world.hour();
        let row = rows(&capture(&mut capturer).await.body)["user#activity"].clone();
        assert_eq!((row.st, row.code.as_deref()), (Status::Absent, Some("no-permission")), "hour {hour}");
        assert_eq!(row.needs.as_deref(), Some("AuditLog.Read.All"));
    }
    world.tenant.grant("AuditLog.Read.All");
    // The token at hand names the permissions of the time at which it was issued.
    world.tenant.revoke_tokens();
    world.hour();
    let shown = visible(&world.tenant);
    let mut archived = State::default();
    capture(&mut capturer).await;
    for entry in world.entries().values().filter(|entry| entry.body.kind == "capture") {
        archived.fold(&world.store, &entry.body).await;
    }
    assert_eq!(of_row(&archived, "user#activity"), of_row(&shown, "user#activity"));
    world.hour();
    assert_eq!(rows(&capture(&mut capturer).await.body)["user#activity"].st, Status::NotDue);
}

/// The paths and properties that were selected since the first `before` requests.
fn selected(world: &World, before: usize, property: &str) -> BTreeSet<String> {
    let requests = world.tenant.requests();
    let asking = requests[before..].iter().filter(|request| {
        let query = request.query.replace("%24", "$").replace("%2C", ",");
        let select = query.split('&').find_map(|option| option.strip_prefix("$select=").map(str::to_owned));
        select.is_some_and(|select| select.split(',').any(|name| name == property))
    });
    asking.map(|request| request.path.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_asked_for_again_by_a_reconciliation_and_captured_then() {
    let world = World::new(73, 60, START).await;
    let refused = [
        (Collection::User, "user", "employeeType"),
        (Collection::Group, "group", "description"),
        (Collection::Application, "application", "notes"),
    ];
    let changed: Vec<String> = refused
        .iter()
        .map(|(collection, _, property)| {
            world.tenant.refuse_property(*collection, property);
            world.tenant.edit(|directory| {
                let id = directory.ids(*collection)[3].clone();
                directory.patch(&id, json!({ *property: "Before" }));
                id
            })
        })
        .collect();
    let local = machine();
    let mut capturer = world.open_all(&local).await;
    let mut oracle = Oracle::default();
    let value = async |capturer: &tenure::capture::Capturer, number: usize| {
        let (_, name, property) = refused[number];
        let content = world::content(capturer, &format!("{name}/{}", changed[number])).await.unwrap();
        content[property].clone()
    };
    let mut bodies = Vec::new();
    for hour in 0..2 {
        world.hour();
        oracle.note(&visible(&world.tenant));
        let body = capture(&mut capturer).await.body;
        for (number, (_, name, property)) in refused.iter().enumerate() {
            let row = &rows(&body)[*name];
            assert_eq!(row.st, Status::Complete, "hour {hour}: the rest is read: {row:?}");
            assert!(row.refused.iter().any(|refused| refused == property), "hour {hour}: {row:?}");
            assert!(!row.asked.iter().any(|asked| asked == property), "hour {hour}: {row:?}");
            assert_eq!(value(&capturer, number).await, Value::Null);
        }
        bodies.push(body);
    }
    for (collection, _, property) in refused {
        world.tenant.allow_property(collection, property);
    }
    // The service would give it now; nobody asks before the next whole read.
    let before = world.tenant.requests().len();
    world.hour();
    oracle.note(&visible(&world.tenant));
    bodies.push(capture(&mut capturer).await.body);
    for (number, (_, name, property)) in refused.iter().enumerate() {
        assert!(selected(&world, before, property).is_empty(), "{name}");
        assert_eq!(value(&capturer, number).await, Value::Null);
    }
    world.hour();
    oracle.note(&visible(&world.tenant));
    let body = reconcile(&mut capturer).await.body;
    for (number, (_, name, _)) in refused.iter().enumerate() {
        assert_eq!(value(&capturer, number).await, "Before", "{name}");
        // That the feed had told nothing of it has a reason.
        assert_eq!(rows(&body)[*name].missed, None, "{name}");
    }
    bodies.push(body);
    // From here on the feed tells it.
    world.hour();
    oracle.note(&visible(&world.tenant));
    bodies.push(capture(&mut capturer).await.body);
    world.quiet_hour();
    for (number, (_, _, property)) in refused.iter().enumerate() {
        let value = json!({ *property: "After" });
        assert!(world.tenant.edit(|directory| directory.patch(&changed[number], value)));
    }
    let before = visible(&world.tenant);
    let body = capture(&mut capturer).await.body;
    for (number, (_, name, property)) in refused.iter().enumerate() {
        assert_eq!(value(&capturer, number).await, "After", "{name}");
        let row = &rows(&body)[*name];
        assert!(!row.refused.iter().any(|refused| refused == property), "{row:?}");
    }
    for body in &bodies {
        oracle.archived.fold(&world.store, body).await;
    }
    oracle.check(&world.store, &body, &before, &visible(&world.tenant), "at last").await;
}
