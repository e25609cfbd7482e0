//! Archives made by hand, served on loopback.
//!
//! Must never know: what is asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;
use tenure::archive::entry::Status;
use tenure::clock::{Clock, SystemClock};
use tenure::daemon::Tenant;
use tenure::ledger::Record;
use tenure::query::Archive;
use tenure::store::{FilesystemStore, Store};
use tenure::web::{Access, Api, Entra, Identity, Issuer as Expected, LocalToken, Options, Shelf, Tls};

use super::issuer::{AUDIENCE, Issuer, TENANT};
use super::support::{ArchiveBuilder, at, key, link, put, row};

pub const LOCAL_TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub const FIRST: &str = "contoso.example";
pub const SECOND: &str = "fabrikam.example";
pub const ADELE: &str = "user/11111111-1111-4111-8111-111111111111";
pub const SALES: &str = "group/44444444-4444-4444-8444-444444444444";

/// One tenant's archive, with as many users as are asked for.
pub struct Kept {
    pub directory: TempDir,
    pub builder: ArchiveBuilder,
    pub tenant: Arc<Tenant>,
    pub hours: i64,
}

impl Kept {
    pub async fn new(name: &str, users: usize) -> Kept {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FilesystemStore::new(directory.path().join("archive")));
        let start = at("2026-08-01T00:00:00Z");
        let builder = ArchiveBuilder::new(store, name, start).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tenant = Arc::new(Tenant::new(name, &directory.path().join("state"), false, clock));
        let mut kept = Kept { directory, builder, tenant, hours: 0 };
        let mut changes: BTreeMap<_, _> = (0..users)
            .map(|n| {
                let id = format!("{n:08x}-0000-4000-8000-000000000000");
                let text = format!(
                    r#"{{"displayName":"Person {n} of {name}","id":"{id}","userPrincipalName":"p{n}@{name}"}}"#
                );
                (key(&format!("user/{id}")), put(&text))
            })
            .collect();
        changes
            .insert(key(ADELE), put(&format!(r#"{{"displayName":"Adele Vance","userPrincipalName":"adele@{name}"}}"#)));
        let mut sales = put(r#"{"displayName":"Sales"}"#);
        sales.links = link("members", &[ADELE]).links;
        changes.insert(key(SALES), sales);
        kept.capture(changes).await;
        kept.change("Adele Vance-Miller").await;
        kept
    }

    /// An hour later Adele is called so.
    pub async fn change(&mut self, called: &str) {
        let text = format!(r#"{{"displayName":"{called}","userPrincipalName":"adele@{}"}}"#, self.tenant.name);
        self.capture([(key(ADELE), put(&text))].into()).await;
    }

    pub async fn capture(&mut self, changes: super::support::Changes) {
        self.hours += 1;
        let time = at("2026-08-01T00:00:00Z") + SignedDuration::from_hours(self.hours);
        let collections = ["user", "group", "conditionalAccessPolicy", "unifiedRoleAssignment"];
        let rows = collections.map(|name| row(name, None, Status::Complete, None)).to_vec();
        self.builder.capture(time, changes, rows).await;
        self.archive().await;
    }

    /// The archive, its index brought to the head.
    pub async fn archive(&self) -> Archive {
        Archive::open(self.store(), &self.index(), |_| (), |_, _| ()).await.unwrap()
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(FilesystemStore::new(self.directory.path().join("archive")))
    }

    pub fn index(&self) -> std::path::PathBuf {
        self.directory.path().join("index")
    }

    /// What was recorded of its use and isn't in the chain, oldest first.
    pub fn uses(&self) -> Vec<Record> {
        let mut uses = self.tenant.ledger.spooled().unwrap();
        uses.sort_by_key(|record| record.at);
        uses
    }
}

/// How a service is set up.
pub struct Setup<'a> {
    pub issuer: Option<&'a Issuer>,
    pub patience: Duration,
    pub at_once: usize,
    pub tls: Option<(&'a Path, &'a Path)>,
    pub clock: Arc<dyn Clock>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        let clock = Arc::new(SystemClock);
        Setup { issuer: None, patience: Duration::from_secs(60), at_once: 4, tls: None, clock }
    }
}

/// A service on loopback.
pub struct Served {
    pub url: String,
    pub address: SocketAddr,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Served {
    pub async fn start(kept: &[&Kept], setup: Setup<'_>) -> Served {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = setup.clock;
        let (access, identity) = match setup.issuer {
            Some(issuer) => {
                let audiences = vec![AUDIENCE.to_owned()];
                let expected = Expected { issuer: issuer.issuer.clone(), tenant: TENANT.to_owned(), audiences };
                let entra = Entra::new(expected.clone(), clock.clone()).unwrap();
                (Access::Entra(Box::new(entra)), Identity::Issuer(expected))
            }
            None => (Access::TokenFile(LocalToken::new(LOCAL_TOKEN)), Identity::TokenFile("web.token".into())),
        };
        let tls = setup.tls.map(|(certificate, key)| Arc::new(Tls::new(certificate, key, clock.clone()).unwrap()));
        let options = Options {
            listen: address,
            api: true,
            behind_proxy: false,
            tls: None,
            identity,
            at_once: setup.at_once,
            patience: setup.patience,
        };
        let shelves =
            kept.iter().map(|kept| Arc::new(Shelf::new(kept.tenant.clone(), kept.store(), &kept.index()))).collect();
        let tenants = kept.iter().map(|kept| kept.tenant.clone()).collect();
        let api = Arc::new(Api::new(shelves, access, options.clone(), clock.clone()));
        let app = tenure::web::router(tenants, Some(api), options.is_local());
        let scheme = if tls.is_some() { "https" } else { "http" };
        tokio::spawn(tenure::web::serve(listener, app, tls, clock, std::future::pending()));
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).tls_info(true);
        // A connection for each request: tests look at what happens when one ends.
        let http = http.pool_max_idle_per_host(0).build().unwrap();
        Served { url: format!("{scheme}://{address}"), address, http }
    }

    /// A request that is still to be sent.
    pub fn request(&self, path: &str, token: Option<&str>) -> reqwest::RequestBuilder {
        let request = self.http.get(format!("{}{path}", self.url));
        match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        answer(self.request(path, token)).await
    }

    /// Asked by whoever has the local token, of the first tenant.
    pub async fn ask(&self, path: &str) -> Answer {
        self.get(&format!("/api/v1/tenants/{FIRST}{path}"), Some(LOCAL_TOKEN)).await
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// A path segment.
pub fn segment(text: &str) -> String {
    text.replace('/', "%2F").replace(' ', "%20")
}
