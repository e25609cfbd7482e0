//! A simulated tenant that speaks Microsoft Graph's HTTP on loopback, wholly decided by one seed.
//!
//! Must never know: our own Graph client, model or archive types; a mistake shared by both sides would cancel out.
//!
//! The production client runs against it unchanged, so paging, throttling, tokens and delta are exercised as they are
//! and not as a mock imagines them. What it serves follows Microsoft's reference pages; where those leave a choice, the
//! module that makes it says so. Time is the [`ManualClock`] that the caller shares with its client: tokens expire and
//! throttling ends by that clock, and the tenant lives only when [`Simulator::live_until`] is called.

mod applications;
mod delta;
mod dice;
mod directory;
mod episodes;
mod exchange;
mod founding;
mod groups;
mod life;
mod people;
mod policies;
mod reads;
mod schema;
mod server;
mod service;
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

pub use self::directory::{Directory, Relation};
pub use self::schema::Collection;
pub use self::weather::Weather;
use crate::clock::ManualClock;

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
}

/// The least privileged permissions with which everything that is served can be read.
const PERMISSIONS: [&str; 9] = [
    "AdministrativeUnit.Read.All",
    "Application.Read.All",
    "Directory.Read.All",
    "Domain.Read.All",
    "Group.Read.All",
    "Organization.Read.All",
    "Policy.Read.All",
    "RoleManagement.Read.Directory",
    "User.Read.All",
];

impl Default for Options {
    /// 1,500 users from 1 June 2026 in calm weather, with all permissions.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 1500,
            start: Timestamp::from_second(1_780_272_000).expect("the first of June 2026 is a time"),
            weather: Weather::calm(),
            port: 0,
            permissions: PERMISSIONS.iter().map(|permission| (*permission).to_owned()).collect(),
            episodes: true,
        }
    }
}

/// What kind of thing happened. The ids of each are in the order given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A new employee: user.
    Hire,
    /// A new guest: user.
    GuestInvited,
    /// An employee's account was disabled: user.
    Leave,
    /// Somebody who left was moved to the bin: user.
    UserDeleted,
    /// An employee changed department, title and manager: user.
    Transfer,
    /// A telephone, desk or password changed: user.
    UserChanged,
    /// Somebody joined a group: group, user.
    Joined,
    /// Somebody left a group: group, user.
    Left,
    /// A group was created: group.
    GroupCreated,
    /// A group was deleted, to the bin if it is a Microsoft 365 group: group.
    GroupDeleted,
    /// Something came back from the bin: object.
    Restored,
    /// Something was removed from the bin for ever: object.
    Purged,
    /// A directory role was granted: user, role definition.
    RoleGranted,
    /// A directory role was taken away: principal.
    RoleRemoved,
    /// A client secret was replaced or added: application.
    SecretRotated,
    /// An application was registered: application, service principal.
    ApplicationCreated,
    /// An application was deleted with its service principal: application.
    ApplicationDeleted,
    /// Somebody was given an application: service principal, user.
    Assigned,
    /// An assignment was taken away: service principal, principal.
    Unassigned,
    /// Somebody consented to an application: service principal, user.
    ConsentGiven,
    /// A consent was taken back: service principal.
    ConsentRemoved,
    /// A Conditional Access policy changed its state: policy.
    PolicyChanged,
    /// A named location changed its ranges: location.
    LocationChanged,
    /// A group got another owner: group, user.
    OwnerChanged,
    /// The HR system wrote one wrong department over many users: users.
    BadHrRun,
    /// The departments were put right: users.
    BadHrRunCorrected,
    /// The group of a running project was deleted: group, then its members.
    ProjectGroupDeleted,
    /// Attack, first step: a new secret: application, service principal.
    AttackSecretAdded,
    /// Attack, second step: an application permission that allows granting roles: service principal, resource.
    AttackPermissionGranted,
    /// Attack, third step: Global Administrator: service principal, role definition.
    AttackRoleGranted,
    /// Attack, fourth step: a policy only reports and leaves a group out: policy, group.
    AttackPolicyWeakened,
}

/// Something that happened in the tenant's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// The objects concerned.
    pub ids: Vec<String>,
    /// Their display names at that time; empty for objects without one.
    pub names: Vec<String>,
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

/// The simulator's own record of what whole reads of the directory would show now. Tests compare with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Live objects by collection and id, with every property that can be selected, never-set ones as null.
    pub objects: BTreeMap<Collection, BTreeMap<String, Value>>,
    /// What is in the bin, likewise.
    pub deleted: BTreeMap<Collection, BTreeMap<String, Value>>,
    /// Links whose two ends are live, sorted.
    pub links: Vec<LinkRecord>,
}

/// A link between two live objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkRecord {
    /// Collection of the source.
    pub from: Collection,
    /// Id of the source.
    pub source: String,
    /// Navigation property.
    pub relation: Relation,
    /// Collection of the target.
    pub to: Collection,
    /// Id of the target.
    pub target: String,
}

/// Requests that the log keeps; older ones are only counted.
const LOGGED_REQUESTS: usize = 200_000;

/// Everything behind the wire.
struct State {
    directory: Directory,
    life: life::Life,
    service: service::Service,
    requests: VecDeque<Request>,
    request_count: u64,
}

impl State {
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
        let permissions = options.permissions.iter().cloned().collect();
        let service = service::Service::new(options.seed, options.weather, permissions);
        let mut directory = Directory::new(options.start);
        let mut dice = dice::Dice::new(options.seed, 0);
        let cast = founding::found(&mut directory, &mut dice, &service.tenant_id, options.users, options.start);
        let (tenant_id, client_id, client_secret) =
            (service.tenant_id.clone(), service.client_id.clone(), service.client_secret.clone());
        let life = life::Life {
            dice,
            cast,
            tenant_id: tenant_id.clone(),
            start: options.start,
            lived: options.start,
            journal: Vec::new(),
            plans: BTreeMap::new(),
            episodes: options.episodes,
        };
        let state = State { directory, life, service, requests: VecDeque::new(), request_count: 0 };
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

    /// Plays the tenant's life up to `to`, in whole hours since the start. Does not move the clock.
    pub fn live_until(&self, to: Timestamp) {
        let state = &mut *self.shared.lock();
        state.life.until(&mut state.directory, to);
    }

    /// What whole reads would show now.
    pub fn record(&self) -> Record {
        record(&self.shared.lock().directory)
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
        use crate::clock::Clock;
        let now = self.shared.clock.now();
        let state = &mut *self.shared.lock();
        state.directory.set_now(now);
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
        self.shared.lock().service.permissions.remove(permission);
    }

    /// Gives an application permission.
    pub fn grant(&self, permission: &str) {
        self.shared.lock().service.permissions.insert(permission.to_owned());
    }
}

fn record(directory: &Directory) -> Record {
    let mut record = Record::default();
    for entry in &directory.entries {
        let shelf = match entry.standing {
            directory::Standing::Live => &mut record.objects,
            directory::Standing::Binned(_) => &mut record.deleted,
            directory::Standing::Hidden | directory::Standing::Gone => continue,
        };
        let names: Vec<&'static str> = entry.collection.properties().iter().map(|property| property.name).collect();
        let value = Value::Object(reads::whole(entry, Some(&names)));
        shelf.entry(entry.collection).or_default().insert(entry.id.clone(), value);
    }
    for (place, entry) in directory.entries.iter().enumerate().filter(|(place, _)| directory.is_live(*place)) {
        for relation in [Relation::Members, Relation::Owners, Relation::Manager, Relation::FederatedIdentityCredentials]
        {
            record.links.extend(directory.linked(place, relation).map(|target| LinkRecord {
                from: entry.collection,
                source: entry.id.clone(),
                relation,
                to: directory.entries[target].collection,
                target: directory.entries[target].id.clone(),
            }));
        }
    }
    record.links.sort();
    record
}
