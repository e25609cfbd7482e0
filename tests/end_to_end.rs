//! The whole way: a simulated tenant over HTTP, captured, verified, and compared with the tenant's own record.

#[path = "support/openapi.rs"]
mod openapi;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openapi::Watched;
use secrecy::SecretString;
use tenure::archive::Key;
use tenure::archive::appender::Appender;
use tenure::archive::entry::{Body, Status};
use tenure::archive::note::Signer;
use tenure::archive::verify::{Options as VerifyOptions, verify};
use tenure::capture::{Capturer, Local, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::index::Index;
use tenure::simulator::{Collection, Options as TenantOptions, Record, Simulator, Weather};
use tenure::store::{MemoryStore, Store};

const START: &str = "2026-06-29T00:00:00Z";

struct World {
    clock: ManualClock,
    tenant: Watched,
    store: Arc<MemoryStore>,
    directory: tempfile::TempDir,
    capturer: Capturer,
}

fn signer() -> Signer {
    Signer::from_seed("tenure/test", [1; 32])
}

impl World {
    async fn new(seed: u64, weather: Weather) -> World {
        let clock = ManualClock::new(START.parse().unwrap());
        let options = TenantOptions { seed, users: 400, start: clock.now(), weather, ..TenantOptions::default() };
        let tenant = Watched(Simulator::start(options, clock.clone()).await.unwrap());
        let store = Arc::new(MemoryStore::new());
        let recovery = Signer::from_seed("tenure/test", [2; 32]);
        let lists = serde_json::json!({});
        let genesis = Body::genesis(signer().verifier(), recovery.verifier(), &tenant.tenant_id(), lists, clock.now());
        Appender::initialise(store.clone(), signer(), &genesis).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let capturer = open(&clock, &tenant, store.clone(), directory.path()).await;
        World { clock, tenant, store, directory, capturer }
    }

    async fn hour(&mut self, reconcile: bool) -> Body {
        self.clock.advance(Duration::from_secs(3600));
        self.tenant.live_until(self.clock.now());
        let request = Request { reconcile, ..Request::default() };
        self.capturer.capture(&request).await.unwrap().body
    }

    async fn reopen(self) -> World {
        let World { clock, tenant, store, directory, capturer } = self;
        drop(capturer);
        let capturer = open(&clock, &tenant, store.clone(), directory.path()).await;
        World { clock, tenant, store, directory, capturer }
    }
}

async fn open(clock: &ManualClock, tenant: &Simulator, store: Arc<dyn Store>, directory: &std::path::Path) -> Capturer {
    let secret = SecretString::from(tenant.client_secret());
    let credential = Credential::ClientSecret { client_id: tenant.client_id(), secret };
    let mut options = GraphOptions::new(tenant.tenant_id(), credential);
    options.graph_url = Some(tenant.url());
    options.login_url = Some(tenant.url());
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let reader = Reader::new(options, clock.clone()).unwrap();
    let index = Index::open(&directory.join("index")).unwrap();
    let progress = Progress::open(&directory.join("state")).unwrap();
    let options = Options { sweep_captures: 1, ..Options::default() };
    Capturer::open(store, signer(), Local { index, progress, remembered: None }, reader, clock, options).await.unwrap()
}

/// Objects by key, and links as source, relation and target.
type State = (BTreeMap<String, serde_json::Value>, BTreeSet<(String, String, String)>);

/// What the archive says of the present, in the words of the tenant's record.
async fn archived(world: &World) -> State {
    let view = world.capturer.index().view().unwrap();
    let (mut objects, mut links) = (BTreeMap::new(), BTreeSet::new());
    for (key, id) in view.keys_after(None, usize::MAX).unwrap() {
        if let Some(version) = view.version_at(id, u64::from(u32::MAX)).unwrap()
            && version.kind == tenure::index::VersionKind::Canonical
        {
            let pack = view.pack(version.pack).unwrap();
            let line = world.capturer.lines().line(&pack.name, pack.len, version.place).await.unwrap();
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            objects.insert(key.to_string(), line["c"].clone());
        }
        for link in view.links_from(id).unwrap() {
            if link.until.is_none() {
                links.insert((key.to_string(), link.relation, view.key(link.target).unwrap().to_string()));
            }
        }
    }
    (objects, links)
}

fn recorded(record: &Record) -> State {
    let mut objects = BTreeMap::new();
    for (collection, members) in &record.objects {
        for (id, object) in members {
            objects.insert(key(collection.name(), id), object.clone());
        }
    }
    let mut links = BTreeSet::new();
    for link in &record.links {
        let source = key(link.from.name(), &link.source);
        let target = key(link.to.name(), &link.target);
        links.insert((source, link.relation.name().to_owned(), target));
    }
    (objects, links)
}

fn key(collection: &str, id: &str) -> String {
    if collection == "organization" { "organization/-".to_owned() } else { Key::new(collection, id).to_string() }
}

/// What only a GET of one group shows, or Teams keeps: no list or feed has them.
const NOT_IN_LISTS: &[&str] = &[
    "allowExternalSenders",
    "autoSubscribeNewMembers",
    "hideFromAddressLists",
    "hideFromOutlookClients",
    "isSubscribedByMail",
    "unseenCount",
];

/// The archive's present against the tenant's own record: object by object, property by property, link by link. Null
/// and absent say the same.
async fn compare(world: &World, body: &Body, story: &str) {
    let complete = |collection: &str, relation: Option<&str>| {
        let mut rows = body.cover.iter().flatten();
        rows.any(|row| row.c == collection && row.r.as_deref() == relation && row.st == Status::Complete)
    };
    let (objects, links) = archived(world).await;
    let (expected, expected_links) = recorded(&world.tenant.record());
    let shown = |key: &&String| {
        let collection = key.split('/').next().unwrap();
        complete(collection, None) && collection != "deletedItems"
    };
    let found: BTreeSet<&String> = objects.keys().filter(shown).collect();
    let wanted: BTreeSet<&String> = expected.keys().filter(shown).collect();
    assert_eq!(found.difference(&wanted).collect::<Vec<_>>(), Vec::<&&String>::new(), "{story}: archived, not there");
    assert_eq!(wanted.difference(&found).collect::<Vec<_>>(), Vec::<&&String>::new(), "{story}: there, not archived");
    for (key, expected) in expected.iter().filter(|(key, _)| shown(key)) {
        let found = &objects[key];
        for (name, value) in expected.as_object().unwrap() {
            if value.is_null() || NOT_IN_LISTS.contains(&name.as_str()) {
                assert!(
                    found.get(name).is_none_or(serde_json::Value::is_null) || !value.is_null(),
                    "{story}: {key} {name}"
                );
                continue;
            }
            assert_eq!(sorted(found.get(name)), sorted(Some(value)), "{story}: {key} {name}");
        }
        for (name, value) in found.as_object().unwrap() {
            let known = expected.get(name).is_some() || name.starts_with('@') || value.is_null();
            assert!(known, "{story}: {key} has {name}, which the tenant doesn't");
        }
    }
    let seen = |(source, relation, _): &(String, String, String)| {
        complete(source.split('/').next().unwrap(), Some(relation)) && relation != "appRoleAssignedTo"
    };
    let links: BTreeSet<_> = links.into_iter().filter(seen).collect();
    let expected_links: BTreeSet<_> = expected_links.into_iter().filter(seen).collect();
    assert_eq!(
        links.difference(&expected_links).collect::<Vec<_>>(),
        Vec::<&_>::new(),
        "{story}: archived links, not there"
    );
    assert_eq!(
        expected_links.difference(&links).collect::<Vec<_>>(),
        Vec::<&_>::new(),
        "{story}: links there, not archived"
    );
}

/// Lists in an order of their own: which of them are sets is not what this test is about.
fn sorted(value: Option<&serde_json::Value>) -> serde_json::Value {
    match value {
        Some(serde_json::Value::Array(elements)) => {
            let mut elements: Vec<_> = elements.iter().map(|element| sorted(Some(element))).collect();
            elements.sort_by_key(ToString::to_string);
            elements.into()
        }
        Some(serde_json::Value::Object(members)) => {
            let members = members.iter().map(|(name, value)| (name.clone(), sorted(Some(value))));
            serde_json::Value::Object(members.collect::<BTreeMap<_, _>>().into_iter().collect())
        }
        Some(value) => value.clone(),
        None => serde_json::Value::Null,
    }
}

async fn live_and_compare(seed: u64, weather: Weather, hours: u64, exact: bool) {
    let mut world = World::new(seed, weather).await;
    let (mut rows, mut changed) = (0, 0);
    for hour in 0..hours {
        let body = world.hour(hour % 24 == 23).await;
        let delta = body.delta.as_ref().unwrap();
        changed += u64::from(hour > 0) * (delta.put + delta.del + delta.ladd + delta.ldel);
        let complete = body.cover.iter().flatten().all(|row| row.st == Status::Complete || row.c == "domain");
        compare(&world, &body, &format!("seed {seed}, hour {hour}")).await;
        rows += body.cover.iter().flatten().filter(|row| row.st == Status::Complete).count();
        assert!(!exact || complete, "seed {seed}, hour {hour}: {:?}", body.cover);
        if hour == 20 {
            world = world.reopen().await;
        }
    }
    println!("seed {seed}: {rows} complete rows compared in {hours} hours with {changed} changes");
    assert!(rows as u64 > hours * 5 && changed > 10, "a test that compares nothing proves nothing");
    let report = verify(&*world.store, &VerifyOptions { deep: true, ..Default::default() }, |_, _| ()).await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.checked.roots, hours + 1, "a root an hour and one for the base of the second month");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hour_of_a_calm_tenant_is_archived_exactly() {
    for seed in [7, 8] {
        live_and_compare(seed, Weather::calm(), 60, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_storm_lets_through_is_archived_exactly() {
    for seed in [9, 10] {
        live_and_compare(seed, Weather::storm(), 50, false).await;
    }
}

/// An index built again over a lost pack kept leaves of objects that had gone just before it: it never agreed with a
/// signed root again, and nothing could be asked any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_pack_costs_the_hours_up_to_the_next_base_and_no_more() {
    let mut world = World::new(11, Weather::calm()).await;
    let mut lost = None;
    for hour in 0..60 {
        if hour == 20 {
            // Something goes for good in the hour before the pack that is lost.
            let id = world.tenant.record().objects[&Collection::Group].keys().next().unwrap().clone();
            assert!(world.tenant.edit(|directory| directory.remove(&id)));
        }
        if hour == 21 {
            let id = world.tenant.record().objects[&Collection::User].keys().next().unwrap().clone();
            let patch = serde_json::json!({"city": "Elsewhere"});
            assert!(world.tenant.edit(|directory| directory.patch(&id, patch)));
        }
        let body = world.hour(false).await;
        if hour == 21 {
            lost = body.delta.unwrap().packs.first().map(|pack| pack.n.clone());
        }
    }
    world.store.tamper(&lost.expect("the hour changed something"), None);
    let fresh = tempfile::tempdir().unwrap();
    let index = Index::open(fresh.path()).unwrap();
    let store: Arc<dyn Store> = world.store.clone();
    let outcome = index.catch_up(&store, |_, _| ()).await.unwrap();
    assert_eq!(outcome.unknown.first(), Some(&22));
    let view = index.view().unwrap();
    assert!(!view.last_capture().unwrap().unwrap().unknown, "the base of the next month tells the state again");
    let expected = world.capturer.index().view().unwrap().root_with(&[]).unwrap();
    assert_eq!(view.root_with(&[]).unwrap(), expected);
}
