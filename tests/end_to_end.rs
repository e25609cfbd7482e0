//! The whole way: a simulated tenant over HTTP, captured, verified, and compared with the tenant's own record.

#[path = "support/openapi.rs"]
mod openapi;
#[path = "support/oracle.rs"]
mod oracle;

use std::sync::Arc;
use std::time::Duration;

use openapi::Watched;
use oracle::{Oracle, visible};
use secrecy::SecretString;
use tenure::archive::appender::Appender;
use tenure::archive::entry::{Body, Coverage, Status};
use tenure::archive::note::Signer;
use tenure::archive::verify::{Options as VerifyOptions, verify};
use tenure::capture::{Capturer, Local, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::index::Index;
use tenure::simulator::{Collection, Options as TenantOptions, Simulator, Weather};
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
        self.live();
        self.capture(reconcile).await
    }

    fn live(&self) {
        self.clock.advance(Duration::from_secs(3600));
        self.tenant.live_until(self.clock.now());
    }

    async fn capture(&mut self, reconcile: bool) -> Body {
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

fn is_as_it_should_be(row: &Coverage) -> bool {
    // A facet goes with its object, whether it is due or not.
    let moves = row.st == Status::Rolling && row.f.is_some();
    matches!(row.st, Status::Complete | Status::NotDue) || moves || row.c.starts_with("recovery")
}

async fn live_and_compare(seed: u64, weather: Weather, hours: u64, exact: bool) {
    let mut world = World::new(seed, weather).await;
    let mut oracle = Oracle::default();
    let mut changed = 0;
    for hour in 0..hours {
        world.live();
        let before = visible(&world.tenant);
        let body = world.capture(hour % 24 == 23).await;
        let after = visible(&world.tenant);
        let delta = body.delta.as_ref().unwrap();
        changed += u64::from(hour > 0) * (delta.put + delta.del + delta.ladd + delta.ldel);
        oracle.check(&*world.store, &body, &before, &after, &format!("seed {seed}, hour {hour}")).await;
        let short: Vec<_> = body.cover.iter().flatten().filter(|row| !is_as_it_should_be(row)).collect();
        assert!(!exact || short.is_empty(), "seed {seed}, hour {hour}: {short:?}");
        if hour == 20 {
            world = world.reopen().await;
        }
    }
    println!("seed {seed}: {} complete rows compared in {hours} hours with {changed} changes", oracle.exact);
    assert!(oracle.exact > hours * 20 && changed > 10, "a test that compares nothing proves nothing");
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
