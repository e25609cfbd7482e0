//! Captures in a process of their own, each told on standard output in a line of JSON.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tenure::archive::appender::Appender;
use tenure::archive::entry::{Body, Coverage, Status};
use tenure::archive::note::Signer;
use tenure::capture::{Capturer, Local, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::index::{Index, IndexError};
use tenure::store::{FilesystemStore, Store};

use super::measure::{Meter, peak_megabytes};
use super::tenant::Address;

/// What a part of a capture is: read again and again for other reasons, and so counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    Feeds,
    Lists,
    /// Lists and facets that aren't due every hour.
    Daily,
    Sweeps,
}

/// Requests and resource units.
pub type Cost = (u64, u64);

/// One capture.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    pub cpu: f64,
    pub wall: f64,
    /// The most memory so far.
    pub peak: f64,
    /// The most memory of the tenant's own process so far.
    pub tenant_peak: f64,
    /// Records changed, links among them.
    pub changed: u64,
    pub objects: u64,
    pub links: u64,
    pub costs: BTreeMap<Part, Cost>,
    /// By row: requests of sweeps.
    pub sweeps: BTreeMap<String, u64>,
    /// Rows with sources that have never been read.
    pub not_yet: Vec<String>,
    /// Rows that are less than they should be for another reason.
    pub short: Vec<String>,
}

/// What is known only at the end: how many sources each sweep has.
pub type Sources = BTreeMap<String, u64>;

fn signer() -> Signer {
    Signer::from_seed("tenure/reading", [1; 32])
}

/// A new archive in `directory`.
pub async fn initialise(directory: &Path, start: Timestamp) {
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(directory.join("archive")));
    let genesis = Body::genesis(signer().verifier(), signer().verifier(), "bench", serde_json::json!({}), start);
    Appender::initialise(store, signer(), &genesis).await.expect("an empty store");
}

/// What a process is asked to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The hour before the first capture of this process.
    pub from: Timestamp,
    pub hours: u32,
    /// Whether the tenant lives meanwhile.
    pub lives: bool,
    pub reconcile: bool,
    /// Sources that a capture may read in turns.
    pub sweep_requests: Option<u64>,
    /// A collection that is left out.
    pub off: Option<String>,
    /// No other capture begins after so long.
    pub limit: Duration,
}

/// Captures hour by hour; the last line is of the sources.
pub async fn run(directory: &Path, tenant: &Address, run: &Run) {
    let clock = ManualClock::new(run.from);
    let mut options = Options::default();
    options.sweep_requests = run.sweep_requests.unwrap_or(options.sweep_requests);
    options.off.extend(run.off.clone());
    let mut capturer = open(directory, tenant, &clock, options).await;
    let began = Instant::now();
    let mut time = run.from;
    for _ in 0..run.hours {
        if began.elapsed() > run.limit {
            break;
        }
        time += Duration::from_secs(3600);
        // What a capture waited, as it would in a real hour, is no part of the next.
        clock.set(time);
        let tenant_peak = if run.lives { tenant.live(time) } else { tenant.pass(time) };
        let meter = Meter::start();
        let request = Request { reconcile: run.reconcile, ..Request::default() };
        let body = capturer.capture(&request).await.expect("calm weather").body;
        let told = told(&body, &meter, tenant_peak);
        println!("{}", serde_json::to_string(&told).expect("text and numbers"));
    }
    println!("{}", serde_json::to_string(&sources(&capturer)).expect("text and numbers"));
}

async fn open(directory: &Path, tenant: &Address, clock: &ManualClock, how: Options) -> Capturer {
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let secret = SecretString::from(tenant.secret.clone());
    let credential = Credential::ClientSecret { client_id: tenant.client_id.clone(), secret };
    let mut options = GraphOptions::new(tenant.tenant_id.clone(), credential);
    (options.graph_url, options.login_url) = (Some(tenant.url.clone()), Some(tenant.url.clone()));
    let reader = Reader::new(options, shared.clone()).expect("sound options");
    let local = Local {
        index: Index::open(&directory.join("index")).expect("an index"),
        progress: Progress::open(&directory.join("state")).expect("a state"),
        remembered: None,
    };
    let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(directory.join("archive")));
    Capturer::open(store, signer(), local, reader, shared, how).await.expect("an archive")
}

fn told(body: &Body, meter: &Meter, tenant_peak: f64) -> Told {
    let (cpu, wall) = (meter.cpu(), meter.wall());
    let delta = body.delta.as_ref().expect("a capture has one");
    let mut told = Told {
        cpu,
        wall,
        peak: peak_megabytes(),
        tenant_peak,
        changed: delta.put + delta.del + delta.ladd + delta.ldel,
        objects: body.state.objects,
        links: body.state.links,
        costs: BTreeMap::new(),
        sweeps: BTreeMap::new(),
        not_yet: Vec::new(),
        short: Vec::new(),
    };
    for row in body.cover.iter().flatten() {
        match (row.st, row.code.as_deref()) {
            (_, Some("not-yet")) => told.not_yet.push(row.subject()),
            (Status::Complete | Status::Rolling | Status::NotDue, _) => {}
            (status, code) => told.short.push(format!("{} {} {code:?}", row.subject(), status.as_str())),
        }
        let Some(part) = part_of(row) else { continue };
        let (requests, units) = (row.requests.unwrap_or(0), row.units.unwrap_or(0));
        let cost = told.costs.entry(part).or_default();
        *cost = (cost.0 + requests, cost.1 + units);
        if part == Part::Sweeps {
            told.sweeps.insert(row.subject(), requests);
        }
    }
    told
}

/// A collection under a parent shares its parent's read and isn't counted twice.
fn part_of(row: &Coverage) -> Option<Part> {
    let recipe = tenure::collect::find(&row.c).expect("a row of the table");
    let by_feed = row.how.as_deref() == Some("feed");
    match &row.r {
        _ if by_feed => Some(Part::Feeds),
        Some(_) => Some(Part::Sweeps),
        None if recipe.per().is_some() => Some(Part::Sweeps),
        None if recipe.parent().is_some() => None,
        None if row.f.is_some() || recipe.hours > 0 => Some(Part::Daily),
        None => Some(Part::Lists),
    }
}

/// By row of what is swept: how many objects it is read for, where those are all of one collection.
fn sources(capturer: &Capturer) -> Sources {
    let view = capturer.index().view().expect("an index");
    let mut keys: BTreeMap<&str, u64> = BTreeMap::new();
    let mut count = |collection: &'static str| {
        *keys.entry(collection).or_insert_with(|| {
            let mut found = 0;
            let each = |key: tenure::canonical::Key, _| {
                found += u64::from(key.facet_name().is_none());
                Ok::<_, IndexError>(ControlFlow::Continue(()))
            };
            view.each_key(Some(collection), each).expect("a sound index");
            found
        })
    };
    let mut sources = Sources::new();
    for recipe in tenure::collect::COLLECTIONS {
        let all = |relation: &&tenure::collect::RelationRead| !relation.feed && relation.kinds.is_empty();
        for relation in recipe.relations.iter().filter(all) {
            sources.insert(format!("{} {}", recipe.collection, relation.name), count(recipe.collection));
        }
        if let Some((parent, relation)) = recipe.parent() {
            sources.insert(format!("{parent} {relation}"), count(parent));
        }
        if let tenure::collect::How::Per { parent, kinds: [], .. } = recipe.how {
            sources.insert(recipe.collection.to_owned(), count(parent));
        }
    }
    sources
}
