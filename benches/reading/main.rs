//! What an hour of reading costs at Graph: requests and resource units of the change feeds, the lists, and the sweeps, and
//! the span that the sweeps achieve, against the simulated tenant.
//!
//! `cargo bench --bench reading -- --users 4200` (about 10,000 objects). Counts, not times: they don't depend on the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tenure::archive::appender::Appender;
use tenure::archive::entry::{Body, Status};
use tenure::archive::note::Signer;
use tenure::capture::{Capturer, Local, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::index::Index;
use tenure::simulator::{Options as TenantOptions, Simulator, Weather};
use tenure::store::MemoryStore;

/// Hours that are averaged, after the first capture and one more.
const HOURS: u64 = 6;

fn users() -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--users").skip(1);
    arguments.next().map_or(4_200, |text| text.parse().expect("--users is followed by a number"))
}

#[tokio::main]
async fn main() {
    let start = "2026-06-29T00:00:00Z".parse().expect("a time");
    let clock = ManualClock::new(start);
    let options =
        TenantOptions { users: users(), start, episodes: false, weather: Weather::calm(), ..Default::default() };
    let tenant = Simulator::start(options, clock.clone()).await.expect("loopback is there");
    let store = Arc::new(MemoryStore::new());
    let signer = || Signer::from_seed("tenure/reading", [1; 32]);
    let genesis = Body::genesis(signer().verifier(), signer().verifier(), "bench", serde_json::json!({}), start);
    Appender::initialise(store.clone(), signer(), &genesis).await.expect("an empty store");
    let credential =
        Credential::ClientSecret { client_id: tenant.client_id(), secret: SecretString::from(tenant.client_secret()) };
    let mut options = GraphOptions::new(tenant.tenant_id(), credential);
    (options.graph_url, options.login_url) = (Some(tenant.url()), Some(tenant.url()));
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let reader = Reader::new(options, shared.clone()).expect("sound options");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let local = Local {
        index: Index::open(&directory.path().join("index")).expect("a new index"),
        progress: Progress::open(&directory.path().join("state")).expect("a new state"),
        remembered: None,
    };
    let mut capturer =
        Capturer::open(store, signer(), local, reader, shared, Options::default()).await.expect("an archive");
    let mut totals: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for hour in 0..HOURS + 2 {
        clock.advance(Duration::from_secs(3600));
        tenant.live_until(clock.now());
        let body = capturer.capture(&Request::default()).await.expect("calm weather").body;
        let cost = by_kind(&body);
        if hour == 0 {
            println!("first capture: {} objects, {} links, {cost:?}", body.state.objects, body.state.links);
        }
        if hour > 1 {
            for (kind, (requests, units)) in cost {
                let total = totals.entry(kind).or_default();
                *total = (total.0 + requests, total.1 + units);
            }
        }
        if hour == HOURS + 1 {
            for row in body.cover.iter().flatten().filter(|row| row.st != Status::Complete) {
                println!("  {} {} oldest {:?} {:?}", row.subject(), row.st.as_str(), row.oldest, row.code);
            }
        }
    }
    for (kind, (requests, units)) in totals {
        println!("{kind}: {:.0} requests, {:.0} units an hour", per_hour(requests), per_hour(units));
    }
}

fn per_hour(total: u64) -> f64 {
    total as f64 / HOURS as f64
}

/// Requests and units of feeds, of lists, and of what is read source by source. A collection under a parent shares its
/// parent's read and isn't counted twice.
fn by_kind(body: &Body) -> BTreeMap<&'static str, (u64, u64)> {
    let mut costs: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for row in body.cover.iter().flatten() {
        let recipe = tenure::collect::find(&row.c).expect("a row of the table");
        let kind = match (row.how.as_deref(), &row.r) {
            (Some("feed"), _) => "feeds and audit records",
            (_, Some(_)) => "sweeps",
            (_, None) if recipe.per().is_some() => "sweeps",
            (_, None) if recipe.parent().is_some() => continue,
            _ => "lists and facets",
        };
        let cost = costs.entry(kind).or_default();
        *cost = (cost.0 + row.requests.unwrap_or(0), cost.1 + row.units.unwrap_or(0));
    }
    costs
}
