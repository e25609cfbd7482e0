//! A simulated tenant that speaks Microsoft Graph's HTTP on loopback, wholly decided by one seed.
//!
//! Must never know: our own Graph client, model or archive types; a mistake shared by both sides would cancel out.
//!
//! The production client runs against it unchanged, so paging, throttling, tokens and delta are exercised as they are
//! and not as a mock imagines them. What it serves follows Microsoft's reference pages; where those leave a choice, the
//! module that makes it says so. Time is the [`ManualClock`] that the caller shares with its client: tokens expire and
//! throttling ends by that clock, and the tenant lives only when [`Simulator::live_until`] is called.

mod affairs;
mod agents;
mod applications;
mod audit;
mod collection;
mod delta;
mod devices;
mod dice;
mod directory;
mod episodes;
mod estate;
mod events;
mod exchange;
mod founding;
mod groups;
mod journal;
mod lens;
mod life;
mod people;
mod permissions;
mod pim;
mod policies;
mod reads;
mod record;
mod recovery;
mod reports;
mod routes;
mod schema;
mod server;
mod service;
mod settings;
mod sign_in;
#[cfg(test)]
mod tests;
mod token;
mod weather;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use self::collection::Collection;
pub use self::directory::{Directory, Relation};
pub use self::journal::{Happening, Kind};
pub use self::permissions::{Licence, TenantKind};
pub use self::record::{LinkRecord, Record};
pub use self::weather::Weather;
use crate::clock::{Clock, ManualClock};

/// How a simulated tenant is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides everything that chance decides. The tenant's life depends on nothing else; faults and ids of exchanges
    /// depend on the order of the requests, too.
    pub seed: u64,
    /// Number of user accounts on the first day; at least 40.
    pub users: usize,
    /// When the tenant's life begins.
    pub start: Timestamp,
    /// How the service behaves at first.
    pub weather: Weather,
    /// Port on 127.0.0.1; 0 lets the operating system choose.
    pub port: u16,
    /// Application permissions that the client has been given.
    pub permissions: Vec<String>,
    /// Whether the scripted episodes take place: bad HR run, deleted project group, attack.
    pub episodes: bool,
    /// What has been bought; none is the free edition.
    pub licences: Vec<Licence>,
    /// What the tenant is for.
    pub kind: TenantKind,
}

impl Default for Options {
    /// A workforce tenant of 1,500 users from 1 June 2026 in calm weather, with all permissions and licences.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 1500,
            start: Timestamp::from_second(1_780_272_000).expect("the first of June 2026 is a time"),
            weather: Weather::calm(),
            port: 0,
            permissions: permissions::PERMISSIONS.iter().map(|permission| (*permission).to_owned()).collect(),
            episodes: true,
            licences: vec![Licence::P2, Licence::Governance],
            kind: TenantKind::Workforce,
        }
    }
}

/// A request that was served; the parts of a batch are listed one by one before the batch itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The simulated time.
    pub at: Timestamp,
    /// HTTP method.
    pub method: String,
    /// Path as sent.
    pub path: String,
    /// Query as sent, without the question mark.
    pub query: String,
    /// The status it was answered with, whether or not the answer got through.
    pub status: u16,
    /// Resource units charged.
    pub resource_units: u32,
}

/// Requests that the log keeps; older ones are only counted.
const LOGGED_REQUESTS: usize = 200_000;

/// Everything behind the wire.
struct State {
    directory: Directory,
    report: reports::Report,
    vault: recovery::Vault,
    life: life::Life,
    service: service::Service,
    requests: VecDeque<Request>,
    request_count: u64,
}

impl State {
    /// Lets native recovery do what is due by now.
    fn settle(&mut self, now: Timestamp) {
        self.vault.settle(&mut self.directory, now);
    }

    fn log(&mut self, request: Request) {
        self.request_count += 1;
        if self.requests.len() == LOGGED_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}

/// A running tenant. It stops serving when this is dropped.
pub struct Simulator {
    shared: server::Shared,
    tenant_id: String,
    client_id: String,
    client_secret: String,
    _stop: oneshot::Sender<()>,
}

impl Simulator {
    /// Founds a tenant and serves it on 127.0.0.1. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn start(options: Options, clock: ManualClock) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
        let base: Arc<str> = format!("http://{}", listener.local_addr()?).into();
        let rights = permissions::Rights {
            permissions: options.permissions.iter().cloned().collect(),
            licences: options.licences.iter().copied().collect(),
            kind: options.kind,
        };
        let service = service::Service::new(options.seed, options.weather, rights);
        let mut directory = Directory::new(options.seed, options.start);
        let (mut dice, mut other) = (dice::Dice::new(options.seed, 0), dice::Dice::new(options.seed, 3));
        let cast = founding::found(&mut directory, &mut dice, &service.door.tenant_id, options.users, options.start);
        let estate = estate::settle(&mut directory, &mut other, &cast, &service.door.tenant_id, options.start);
        let mut report = reports::Report::default();
        report.make(&directory);
        let vault = recovery::Vault::founded(&directory, options.seed);
        directory.log.begin();
        let (tenant_id, client_id, client_secret) =
            (service.door.tenant_id.clone(), service.door.client_id.clone(), service.door.client_secret.clone());
        let life = life::Life {
            dice,
            cast,
            tenant_id: tenant_id.clone(),
            start: options.start,
            lived: options.start,
            journal: Vec::new(),
            plans: BTreeMap::new(),
            episodes: options.episodes,
            affairs: affairs::Affairs::new(&directory, other, estate, tenant_id.clone()),
        };
        let state = State { directory, report, vault, life, service, requests: VecDeque::new(), request_count: 0 };
        let shared = server::Shared { tenant: Arc::new(Mutex::new(state)), clock, base };
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server::serve(listener, shared.clone(), async {
            // An error means that the sender was dropped, which is the signal.
            let _ = stopped.await;
        }));
        Ok(Self { shared, tenant_id, client_id, client_secret, _stop: stop })
    }

    /// `http://127.0.0.1:PORT`: Graph is at `/v1.0` and `/beta` below it, the token endpoint at
    /// `/{tenant}/oauth2/v2.0/token`, and the scope to ask for is this URL followed by `/.default`.
    pub fn url(&self) -> String {
        self.shared.base.to_string()
    }

    /// The tenant's id.
    pub fn tenant_id(&self) -> String {
        self.tenant_id.clone()
    }

    /// The only client that the token endpoint knows.
    pub fn client_id(&self) -> String {
        self.client_id.clone()
    }

    /// That client's secret.
    pub fn client_secret(&self) -> String {
        self.client_secret.clone()
    }

    /// Registers a certificate with the client, PEM or DER, so that it may sign assertions with its key.
    ///
    /// # Errors
    /// It is not a certificate with an RSA key.
    pub fn register_certificate(&self, certificate: &[u8]) -> Result<(), String> {
        self.shared.lock().service.door.register_certificate(certificate)
    }

    /// Trusts tokens of another issuer about this subject, for the audience `api://AzureADTokenExchange`, that are
    /// signed with the RSA key of `key`: a certificate or public key, PEM or DER.
    ///
    /// # Errors
    /// It is neither.
    pub fn trust(&self, issuer: &str, subject: &str, key: &[u8]) -> Result<(), String> {
        self.shared.lock().service.door.trust(issuer, subject, key)
    }

    /// Where App Service would say that managed identity is served (`IDENTITY_ENDPOINT`). The endpoint of virtual
    /// machines is at `/metadata/identity/oauth2/token` below [`Simulator::url`].
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.shared.base)
    }

    /// What App Service would say to send there (`IDENTITY_HEADER`).
    pub fn identity_header(&self) -> String {
        self.shared.lock().service.door.identity_header()
    }

    /// From now on Graph wants these claims (JSON) of every access token and challenges for them; none ends it. A token
    /// has them that was asked for with a `claims` parameter that holds them.
    pub fn demand_claims(&self, claims: Option<&str>) {
        self.shared.lock().service.door.demanded = claims.map(str::to_owned);
    }

    /// Makes every access token issued so far invalid.
    pub fn revoke_tokens(&self) {
        self.shared.lock().service.door.revoke_tokens();
    }

    /// Plays the tenant's life up to `to`, in whole hours since the start. Does not move the clock.
    pub fn live_until(&self, to: Timestamp) {
        let state = &mut *self.shared.lock();
        state.life.until(&mut state.directory, &mut state.report, &mut state.vault, to);
    }

    /// What whole reads would show now.
    pub fn record(&self) -> Record {
        let now = self.now();
        let state = &mut *self.shared.lock();
        state.settle(now);
        record::record(&state.directory, &state.report, &state.vault, now)
    }

    /// The audit records that could be read at some time up to now, oldest first. Later ones may still come of earlier
    /// activities.
    pub fn events(&self) -> Vec<Value> {
        let now = self.now();
        let state = &mut *self.shared.lock();
        state.settle(now);
        state.directory.log.ever_shown(now)
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// The ids of the snapshots of Microsoft's own recovery, newest first.
    pub fn native_snapshots(&self) -> Vec<String> {
        self.shared.lock().vault.snapshot_ids()
    }

    /// Starts a job of Microsoft's own recovery that brings `objects` back to what they were in a snapshot, as far as
    /// that recovery goes: its id. What it writes about an hour later shows in no delta query. None if the snapshot is
    /// unknown or another job runs.
    pub fn recover_natively(&self, snapshot: &str, objects: &[String]) -> Option<String> {
        self.native_job(snapshot, objects, false)
    }

    /// Starts a preview of the same, which writes nothing.
    pub fn preview_natively(&self, snapshot: &str, objects: &[String]) -> Option<String> {
        self.native_job(snapshot, objects, true)
    }

    fn native_job(&self, snapshot: &str, objects: &[String], preview: bool) -> Option<String> {
        let now = self.now();
        let state = &mut *self.shared.lock();
        state.settle(now);
        state.directory.set_now(now);
        state.vault.start(&mut state.directory, snapshot, objects, preview)
    }

    /// What happened since the start, in order.
    pub fn journal(&self) -> Vec<Happening> {
        self.shared.lock().life.journal.clone()
    }

    /// The requests served, in order; the latest 200,000 of them.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.iter().cloned().collect()
    }

    /// How many requests were served.
    pub fn request_count(&self) -> u64 {
        self.shared.lock().request_count
    }

    /// Changes the directory by hand, all in one moment by the shared clock.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        let now = self.now();
        let state = &mut *self.shared.lock();
        state.settle(now);
        state.directory.set_now(now);
        let editor = state.life.affairs.estate.operators.first();
        let (id, name) = editor.map_or(("", ""), |(id, name)| (id.as_str(), name.as_str()));
        state.directory.log.by(audit::person(id, name));
        change(&mut state.directory)
    }

    /// Changes how the service behaves from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.lock().service.weather = weather;
    }

    /// From now on every delta link and page token of delta issued so far is answered with 410, by chance with 400.
    pub fn expire_tokens(&self) {
        self.shared.lock().service.epoch += 1;
    }

    /// Takes an application permission away, from access tokens already issued, too: what needs it answers 403.
    pub fn revoke(&self, permission: &str) {
        self.shared.lock().service.rights.permissions.remove(permission);
    }

    /// Gives an application permission.
    pub fn grant(&self, permission: &str) {
        self.shared.lock().service.rights.permissions.insert(permission.to_owned());
    }

    /// Buys a licence.
    pub fn buy(&self, licence: Licence) {
        self.shared.lock().service.rights.licences.insert(licence);
    }

    /// Takes a licence away: what needs it is refused from now on, with access tokens already issued, too.
    pub fn cancel(&self, licence: Licence) {
        self.shared.lock().service.rights.licences.remove(&licence);
    }

    /// From now on `$select` of this property of a collection, in lists, feeds and single reads, is refused with the 400
    /// for a property that does not exist.
    pub fn refuse_property(&self, collection: Collection, property: &str) {
        self.shared.lock().service.refused.insert((collection, property.to_owned()));
    }

    /// Takes [`Simulator::refuse_property`] back.
    pub fn allow_property(&self, collection: Collection, property: &str) {
        self.shared.lock().service.refused.remove(&(collection, property.to_owned()));
    }
}
