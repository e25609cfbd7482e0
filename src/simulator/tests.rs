//! Tests of the simulator over HTTP, with a small client of their own.
//!
//! Must never know: our Graph client. What it gets wrong must not be forgiven here.

mod credentials;
mod delta;
mod directory;
mod events;
mod paths;
mod reads;
mod recovery;
mod rights;
mod service;
mod surfaces;
mod weather;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;

/// A reader that does the least: one request at a time, trying again a while after anything transient.
struct Reader {
    http: reqwest::Client,
    clock: ManualClock,
    simulator: Simulator,
    token: tokio::sync::Mutex<Option<String>>,
}

/// What came back in the end.
struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Reader {
    async fn start(options: Options) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = ManualClock::new(options.start);
        let simulator = Simulator::start(options, clock.clone()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, clock, simulator, token: tokio::sync::Mutex::new(None) }
    }

    fn v1(&self, path: &str) -> String {
        format!("{}/v1.0/{path}", self.simulator.url())
    }

    async fn sign_in(&self, secret: &str) -> (u16, Value) {
        let url = format!("{}/{}/oauth2/v2.0/token", self.simulator.url(), self.simulator.tenant_id());
        let scope = format!("{}/.default", self.simulator.url());
        let client = self.simulator.client_id();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client),
            ("client_secret", secret),
            ("scope", &scope),
        ];
        let response = self.http.post(url).form(&form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn token(&self) -> String {
        let mut token = self.token.lock().await;
        while token.is_none() {
            let (_, body) = self.sign_in(&self.simulator.client_secret()).await;
            *token = body["access_token"].as_str().map(str::to_owned);
        }
        token.clone().unwrap()
    }

    async fn once(&self, url: &str) -> Result<Got, reqwest::Error> {
        let request = self.http.get(url).bearer_auth(self.token().await).header("ConsistencyLevel", "eventual");
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.bytes().await?;
        Ok(Got { status, headers, body: serde_json::from_slice(&text).unwrap_or(Value::Null) })
    }

    /// Tries until the answer is not a transient fault. Every wait moves the shared clock.
    async fn get(&self, url: &str) -> Got {
        for _ in 0..60 {
            match self.once(url).await {
                Ok(got) if got.status == 401 => *self.token.lock().await = None,
                Ok(got) if got.headers["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/html")) => {}
                Ok(got) if !matches!(got.status, 429 | 500 | 503 | 504) => return got,
                _ => self.clock.sleep(std::time::Duration::from_secs(2)).await,
            }
        }
        panic!("sixty tries of {url} failed")
    }

    /// All items of a list, begun again when its page token expires.
    async fn list(&self, path: &str) -> Vec<Value> {
        'again: loop {
            let (mut items, mut url) = (Vec::new(), self.v1(path));
            loop {
                let mut got = self.get(&url).await;
                if got.body["error"]["code"] == "Directory_ExpiredPageToken" {
                    continue 'again;
                }
                assert_eq!(got.status, 200, "{url}: {}", got.body);
                items.extend(got.body["value"].as_array_mut().map(std::mem::take).unwrap());
                match got.body["@odata.nextLink"].as_str() {
                    Some(next) => url = next.to_owned(),
                    None => return items,
                }
            }
        }
    }
}

fn small(seed: u64) -> Options {
    Options { seed, users: 120, ..Options::default() }
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test]
async fn the_same_seed_lives_the_same_life() {
    let live = |seed| async move {
        let reader = Reader::start(small(seed)).await;
        reader.simulator.live_until(reader.clock.now() + hours(200));
        (reader.simulator.record(), reader.simulator.journal())
    };
    let (first, second, other) = (live(7).await, live(7).await, live(8).await);
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
    assert!(first.1.len() > 5, "only {} things happened", first.1.len());
}

#[tokio::test]
async fn sixty_days_hold_the_scripted_episodes() {
    let reader = Reader::start(small(3)).await;
    let start = reader.clock.now();
    reader.simulator.live_until(start + hours(24 * 60));
    let journal = reader.simulator.journal();
    let find = |kind| journal.iter().find(|happening| happening.kind == kind).unwrap_or_else(|| panic!("no {kind:?}"));
    assert!(find(Kind::BadHrRun).ids.len() >= 5);
    assert_eq!(find(Kind::BadHrRunCorrected).at.duration_since(find(Kind::BadHrRun).at), hours(27));
    assert!(find(Kind::ProjectGroupDeleted).ids.len() > 3);
    let attack = find(Kind::AttackPolicyWeakened);
    assert_eq!(attack.at.to_string(), "2026-07-16T03:31:00Z");
    let record = reader.simulator.record();
    let policy = &record.objects[&Collection::ConditionalAccessPolicy][&attack.ids[0]];
    assert_eq!(policy["state"], "enabledForReportingButNotEnforced");
    let role = find(Kind::AttackRoleGranted);
    assert!(
        record.objects[&Collection::RoleAssignment].values().any(|assignment| assignment["principalId"] == role.ids[0])
    );
    for kind in [Kind::Hire, Kind::Leave, Kind::UserDeleted, Kind::Transfer, Kind::GroupDeleted, Kind::Joined] {
        find(kind);
    }
    for pair in journal.windows(2) {
        assert!(pair[0].at <= pair[1].at, "{pair:?} are out of order");
    }
}

#[tokio::test]
async fn people_are_described_in_full() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    let objects: usize = record.objects.values().map(BTreeMap::len).sum();
    assert!(objects >= 120 * 27 / 20, "only {objects} objects");
    let set = |user: &Value| {
        user.as_object().unwrap().values().filter(|value| !value.is_null() && **value != json!([])).count()
    };
    let most = record.objects[&Collection::User].values().map(set).max().unwrap();
    assert!(most >= 40, "nobody has more than {most} properties");
    for user in record.objects[&Collection::User].values() {
        assert!(user["userPrincipalName"].as_str().unwrap().ends_with(".example"));
    }
}

#[test]
fn nothing_of_our_crate_is_used_but_the_clock() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/simulator");
    let read = |folder: std::path::PathBuf| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = read(folder.clone()).chain(read(folder.join("tests"))).filter(|path| path.is_file());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let foreign = text.split(concat!("crate", "::")).skip(1).find(|rest| !rest.starts_with("clock"));
        // Only this check itself may hold the words apart.
        assert!(foreign.is_none(), "{} uses {}", file.display(), &foreign.unwrap()[..20]);
    }
}
