//! The whole way: a simulated tenant over HTTP, captured, verified, and compared with the tenant's own record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tenure::archive::Key;
use tenure::archive::appender::Appender;
use tenure::archive::entry::Body;
use tenure::archive::note::Signer;
use tenure::archive::verify::{Options as VerifyOptions, verify};
use tenure::capture::{Capturer, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::index::Index;
use tenure::simulator::{Options as TenantOptions, Record, Simulator, Weather};
use tenure::store::{MemoryStore, Store};

const START: &str = "2026-06-29T00:00:00Z";

struct World {
    clock: ManualClock,
    tenant: Simulator,
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
        let options = TenantOptions { seed, users: 120, start: clock.now(), weather, ..TenantOptions::default() };
        let tenant = Simulator::start(options, clock.clone()).await.unwrap();
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
    let options = Options { sweep_captures: 6, ..Options::default() };
    Capturer::open(store, signer(), None, index, progress, reader, clock, options).await.unwrap()
}

/// What the archive says of the present, in the words of the tenant's record.
async fn archived(world: &World) -> (BTreeMap<String, serde_json::Value>, BTreeSet<(String, String, String)>) {
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

fn recorded(record: &Record) -> (BTreeMap<String, serde_json::Value>, BTreeSet<(String, String, String)>) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_tenant_is_archived_and_verifies() {
    let mut world = World::new(7, Weather::calm()).await;
    for hour in 0..60 {
        let body = world.hour(hour % 24 == 23).await;
        if hour == 20 {
            world = world.reopen().await;
        }
        println!("hour {hour}: {:?} {:?}", body.state, body.delta.as_ref().map(|d| (d.put, d.del, d.ladd, d.ldel)));
    }
    let report = verify(&*world.store, &VerifyOptions { deep: true, ..Default::default() }, |_, _| ()).await.unwrap();
    assert_eq!(report.findings, []);
    println!("{:?}", report.checked);
}
