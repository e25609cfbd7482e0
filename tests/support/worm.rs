//! Azurite, and in front of it what Azurite lacks: retention policies and legal holds of containers, and faults on the wire.
//!
//! Must never know: what is being tested.
//!
//! Azurite takes immutability headers and drops them; overwriting and deleting then succeed. The front refuses both as Azure
//! documents it (learn, azure/storage/blobs/immutable-container-level-worm-policies): while a blob's interval runs it can
//! be neither overwritten nor deleted, afterwards it can be deleted and still not overwritten, under a hold neither.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use tenure::clock::{Clock, ManualClock};
use tenure::store::azure::{Access, Options, Signature};
use tenure::store::{AzureExpiry, AzureStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The account that every Azurite has, and its key, which its documentation tells everybody.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The address of this process's Azurite, started once; `None`, said aloud, where it can't be had. It ends with the process.
fn azurite() -> Option<&'static str> {
    static RUNNING: OnceLock<Option<String>> = OnceLock::new();
    RUNNING.get_or_init(start).as_deref()
}

fn start() -> Option<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/azurite");
    let lacking = |what: &str| {
        assert!(std::env::var_os("TENURE_NEEDS_AZURITE").is_none(), "{what}, and TENURE_NEEDS_AZURITE is set");
        eprintln!("SKIPPED: {what}. For the Azure tests: cd tests/azurite && npm ci");
        None
    };
    if !directory.join("node_modules/azurite").is_dir() {
        return lacking("Azurite isn't installed in tests/azurite");
    }
    let flags = ["--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence", "--silent"];
    let started = Command::new("node")
        .arg("start.js")
        .args(flags)
        .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut process) = started else { return lacking("node can't be started") };
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| line.unwrap().split_once("listens on ").map(|(_, url)| url.trim().to_owned()));
    // Azurite writes hardly anything, but a full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    // Its standard input stays open as long as this process lives.
    std::mem::forget(process);
    Some(url.expect("Azurite says where it listens"))
}

/// A signature with which everything may be done in the account until the year 2099 (learn, rest/api/storageservices/
/// create-account-sas).
pub fn signature() -> String {
    signature_with("rwdlac")
}

/// The same with other rights.
pub fn signature_with(rights: &str) -> String {
    let (expiry, version) = ("2099-01-01T00:00:00Z", "2022-11-02");
    let text = format!("{ACCOUNT}\n{rights}\nb\nsco\n\n{expiry}\n\nhttps,http\n{version}\n\n");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
    let sig = STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()));
    let sig = sig.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={version}&ss=b&srt=sco&sp={rights}&se={expiry}&spr=https,http&sig={sig}")
}

/// A request as the front sees it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    /// The container; empty where the request is about the account.
    pub container: String,
    /// The blob; empty where it is about the container.
    pub blob: String,
    /// The query, signature included.
    pub query: String,
    pub headers: BTreeMap<String, String>,
    target: String,
    body: Vec<u8>,
}

impl Call {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, v)| v)
    }

    /// Whether it puts a whole blob.
    pub fn creates(&self) -> bool {
        self.method == "PUT" && !self.blob.is_empty() && self.parameter("comp").is_none()
    }
}

/// What the front does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meddle {
    Pass,
    /// The connection breaks before anything is done.
    Reset,
    /// It is done, and the connection breaks before the answer.
    LoseAnswer,
    /// The answer breaks off in the middle of its body.
    Truncate,
    /// A byte of the body is another.
    Damage,
    /// Another answer, with a code and headers, and nothing is done.
    Answer(u16, &'static str, &'static [(&'static str, &'static str)]),
}

/// A container's policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// Days that a blob is kept from its creation.
    pub days: Option<u64>,
    pub locked: bool,
    pub hold: bool,
}

impl Policy {
    pub fn locked(days: u64) -> Policy {
        Policy { days: Some(days), locked: true, hold: false }
    }
}

type Script = dyn Fn(&Call) -> Meddle + Send + Sync;

struct State {
    upstream: String,
    http: reqwest::Client,
    clock: ManualClock,
    policies: Mutex<BTreeMap<String, Policy>>,
    created: Mutex<BTreeMap<(String, String), Timestamp>>,
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Call>>,
    page: AtomicU32,
    enforces: AtomicBool,
    taken_first: AtomicBool,
    tokens: Mutex<BTreeSet<String>>,
    rights: Mutex<serde_json::Value>,
}

/// The running front. It ends with the test's runtime.
#[derive(Clone)]
pub struct Worm {
    origin: String,
    state: Arc<State>,
    /// What the containers of this test begin with.
    pub prefix: String,
}

impl Worm {
    /// A front with the containers `roots` under `policy`; `None`, said aloud, where Azurite isn't there.
    pub async fn start(roots: &[&str], policy: Policy, clock: &ManualClock) -> Option<Worm> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let upstream = azurite()?;
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            http: reqwest::Client::builder().no_gzip().no_proxy().build().unwrap(),
            clock: clock.clone(),
            policies: Mutex::default(),
            created: Mutex::default(),
            script: Mutex::new(Arc::new(|_: &Call| Meddle::Pass)),
            seen: Mutex::default(),
            page: AtomicU32::new(0),
            enforces: AtomicBool::new(true),
            taken_first: AtomicBool::new(false),
            tokens: Mutex::default(),
            rights: Mutex::new(serde_json::json!({ "value": [] })),
        });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        let prefix = format!("t{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let worm = Worm { origin, state, prefix };
        for root in roots {
            worm.provision(root, policy).await;
        }
        Some(worm)
    }

    /// Does what the deployment does: makes a container, with its policy.
    pub async fn provision(&self, root: &str, policy: Policy) {
        let container = self.container(root);
        let answer = self.raw("PUT", &format!("{container}?restype=container"), &[], b"").await;
        assert_eq!(answer.0, 201, "{}", answer.1);
        self.set_policy(root, policy);
    }

    pub fn set_policy(&self, root: &str, policy: Policy) {
        self.state.policies.lock().unwrap().insert(self.container(root), policy);
    }

    pub fn container(&self, root: &str) -> String {
        format!("{}-{root}", self.prefix)
    }

    /// The address of the account.
    pub fn url(&self) -> String {
        format!("{}/{ACCOUNT}", self.origin)
    }

    /// The address of the resource manager, which the front plays too.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// From now on, says to every request what becomes of it.
    pub fn meddle(&self, script: impl Fn(&Call) -> Meddle + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// Policies are told of and not enforced: what Azurite does by itself.
    pub fn stop_enforcing(&self) {
        self.state.enforces.store(false, Ordering::SeqCst);
    }

    /// Whether a name that is taken and immutable is said to be taken.
    pub fn say_taken_first(&self, first: bool) {
        self.state.taken_first.store(first, Ordering::SeqCst);
    }

    /// Listings come in pages of this size.
    pub fn page(&self, size: u32) {
        self.state.page.store(size, Ordering::SeqCst);
    }

    /// Which bearer tokens are taken.
    pub fn accept(&self, tokens: &[&str]) {
        *self.state.tokens.lock().unwrap() = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// What the resource manager says of the caller's rights, for every container.
    pub fn set_rights(&self, rights: serde_json::Value) {
        *self.state.rights.lock().unwrap() = rights;
    }

    /// What came in since last asked.
    pub fn seen(&self) -> Vec<Call> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }

    /// The store with this test's containers.
    pub fn store(&self) -> AzureStore {
        self.store_with(Access::Signature(Signature::Held(signature().into())))
    }

    pub fn store_with(&self, access: Access) -> AzureStore {
        let options = Options { account_url: self.url(), prefix: self.prefix.clone(), access };
        AzureStore::new(options, Arc::new(self.state.clock.clone())).unwrap()
    }

    /// What can end blobs of this test's containers.
    pub fn expiry(&self) -> AzureExpiry {
        let access = Access::Signature(Signature::Held(signature().into()));
        let options = Options { account_url: self.url(), prefix: self.prefix.clone(), access };
        AzureExpiry::new(options, Arc::new(self.state.clock.clone())).unwrap()
    }

    /// A request by somebody who holds the keys of the account: status and code.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let join = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/{path}{join}{}", self.url(), signature());
        let mut call = self.state.http.request(method.parse().unwrap(), url).header("x-ms-version", "2022-11-02");
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        let answer = call.body(body.to_vec()).send().await.unwrap();
        let code = answer.headers().get("x-ms-error-code").map(|code| code.to_str().unwrap().to_owned());
        (answer.status().as_u16(), code.unwrap_or_default())
    }
}

/// An answer: status, headers, body.
type Answer = (u16, Vec<(String, String)>, Vec<u8>);

fn refusal(status: u16, code: &str) -> Answer {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
    let headers = [("x-ms-error-code", code), ("content-type", "application/xml"), ("x-ms-request-id", "front-1")];
    (status, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), body.into_bytes())
}

impl State {
    async fn answer(&self, call: &Call) -> Answer {
        if call.target.starts_with("/subscriptions/") {
            return self.manage(call);
        }
        if let Some(authorization) = call.headers.get("authorization") {
            let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
            if !self.tokens.lock().unwrap().contains(token) {
                return refusal(401, "InvalidAuthenticationInfo");
            }
        }
        if let Some((status, code)) = self.refused(call) {
            return refusal(status, code);
        }
        let mut answer = self.forward(call).await;
        self.remember(call, answer.0);
        if call.parameter("comp") == Some("list") && !call.container.is_empty() && answer.0 == 200 {
            answer.2 = self.retime(&call.container, answer.2);
        }
        if call.parameter("restype") == Some("container") && call.parameter("comp").is_none() && answer.0 == 200 {
            let policy = self.policies.lock().unwrap().get(&call.container).copied().unwrap_or_default();
            answer.1.retain(|(name, _)| !name.starts_with("x-ms-has-"));
            for (name, is_set) in
                [("x-ms-has-immutability-policy", policy.days.is_some()), ("x-ms-has-legal-hold", policy.hold)]
            {
                answer.1.push((name.to_owned(), is_set.to_string()));
            }
        }
        answer
    }

    /// Whether policy or hold forbid it.
    fn refused(&self, call: &Call) -> Option<(u16, &'static str)> {
        let policy = self.policies.lock().unwrap().get(&call.container).copied()?;
        if !self.enforces.load(Ordering::SeqCst) {
            return None;
        }
        let created = self.created.lock().unwrap();
        if call.blob.is_empty() {
            let holds_blobs = created.keys().any(|(container, _)| *container == call.container);
            let deletes = call.method == "DELETE" && call.parameter("restype") == Some("container");
            return match deletes && holds_blobs {
                true if policy.hold => Some((409, "ContainerHasLegalHold")),
                true if policy.days.is_some() => Some((409, "ContainerImmutabilityPolicyLocked")),
                _ => None,
            };
        }
        let since = *created.get(&(call.container.clone(), call.blob.clone()))?;
        let runs = |days| self.clock.now() < since + SignedDuration::from_hours(24 * days as i64);
        let changes = match call.method.as_str() {
            "DELETE" => policy.days.is_some_and(runs),
            "PUT" => {
                let harmless = ["lease", "tags", "tier", "snapshot", "block"];
                let changes = !call.parameter("comp").is_some_and(|comp| harmless.contains(&comp));
                let only_new = call.headers.contains_key("if-none-match") && self.taken_first.load(Ordering::SeqCst);
                changes && !only_new
            }
            _ => false,
        };
        match (call.method.as_str(), changes) {
            ("DELETE", _) | (_, true) if policy.hold => Some((409, "BlobImmutableDueToLegalHold")),
            (_, true) if policy.days.is_some() => Some((409, "BlobImmutableDueToPolicy")),
            _ => None,
        }
    }

    /// A listing with creation times by the clock of the test, by which policies go too.
    fn retime(&self, container: &str, listing: Vec<u8>) -> Vec<u8> {
        let created = self.created.lock().unwrap();
        let text = String::from_utf8(listing).unwrap();
        let mut parts = text.split("<Blob>");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let between = |open: &str, close: &str| part.split_once(open)?.1.split_once(close).map(|(text, _)| text);
            let name = between("<Name>", "</Name>").unwrap_or_default();
            let at = created.get(&(container.to_owned(), name.to_owned()));
            let told = at.map(|at| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(at).unwrap());
            let part = match (between("<Creation-Time>", "<"), told) {
                (Some(old), Some(new)) => part.replacen(old, &new, 1),
                _ => part.to_owned(),
            };
            out.push_str("<Blob>");
            out.push_str(&part);
        }
        out.into_bytes()
    }

    fn remember(&self, call: &Call, status: u16) {
        let key = (call.container.clone(), call.blob.clone());
        match status {
            201 if call.creates() => drop(self.created.lock().unwrap().insert(key, self.clock.now())),
            202 if call.method == "DELETE" => drop(self.created.lock().unwrap().remove(&key)),
            _ => {}
        }
    }

    /// The resource manager: what it says of a container (learn, rest/api/storagerp/blob-containers/get).
    fn manage(&self, call: &Call) -> Answer {
        let path = call.target.split('?').next().unwrap();
        let authorized = call.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if !authorized.is_some_and(|token| self.tokens.lock().unwrap().contains(token)) {
            return refusal(403, "AuthorizationFailed");
        }
        if path.ends_with("/providers/Microsoft.Authorization/permissions") {
            let body = self.rights.lock().unwrap().to_string();
            return (200, vec![("content-type".into(), "application/json".into())], body.into_bytes());
        }
        let container = path.rsplit('/').next().unwrap();
        let Some(policy) = self.policies.lock().unwrap().get(container).copied() else {
            return refusal(404, "ContainerNotFound");
        };
        let state = if policy.locked { "Locked" } else { "Unlocked" };
        let immutability = policy.days.map(
            |days| serde_json::json!({"properties": {"immutabilityPeriodSinceCreationInDays": days, "state": state}}),
        );
        let body = serde_json::json!({"properties": {"immutabilityPolicy": immutability, "hasLegalHold": policy.hold}});
        (200, vec![("content-type".into(), "application/json".into())], body.to_string().into_bytes())
    }

    async fn forward(&self, call: &Call) -> Answer {
        let mut target = call.target.clone();
        let mut more = Vec::new();
        let page = self.page.load(Ordering::SeqCst);
        if call.parameter("comp") == Some("list") && page > 0 {
            more.push(format!("maxresults={page}"));
        }
        if call.headers.contains_key("authorization") {
            // Azurite takes no tokens over plain http; ours was judged already.
            more.push(signature());
        }
        if !more.is_empty() {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&more.join("&"));
        }
        let mut request = self.http.request(call.method.parse().unwrap(), format!("{}{target}", self.upstream));
        for (name, value) in &call.headers {
            if !["host", "connection", "authorization", "accept-encoding"].contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        let answer = request.body(call.body.clone()).send().await.unwrap();
        let dropped = ["connection", "keep-alive", "transfer-encoding", "content-length"];
        let headers = answer.headers().iter().filter(|(name, _)| !dropped.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        (answer.status().as_u16(), headers, answer.bytes().await.unwrap().to_vec())
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(call) = read_call(&mut stream, &mut buffer).await {
        let script = state.script.lock().unwrap().clone();
        state.seen.lock().unwrap().push(call.clone());
        let meddle = script(&call);
        let mut answer = match &meddle {
            Meddle::Reset => return,
            Meddle::Answer(status, code, headers) => {
                let mut answer = refusal(*status, code);
                answer.1.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
                answer
            }
            _ => state.answer(&call).await,
        };
        if meddle == Meddle::Damage && !answer.2.is_empty() {
            answer.2[0] ^= 1;
        }
        let (status, headers, body) = answer;
        let mut head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let sent = match meddle {
            Meddle::LoseAnswer => return,
            Meddle::Truncate => &body[..body.len() / 2],
            _ => &body[..],
        };
        if stream.write_all(&[head.as_bytes(), sent].concat()).await.is_err() || meddle == Meddle::Truncate {
            return;
        }
    }
}

async fn read_call(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        read_more(stream, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        read_more(stream, buffer).await?;
    }
    let body = buffer.drain(..length).collect();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = path.replace("%2F", "/");
    let inner = path.strip_prefix(&format!("/{ACCOUNT}")).unwrap_or_default().trim_start_matches('/');
    let (container, blob) = inner.split_once('/').unwrap_or((inner, ""));
    let (container, blob, query) = (container.to_owned(), blob.to_owned(), query.to_owned());
    Some(Call { method, container, blob, query, headers, target, body })
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut part = [0; 16 * 1024];
    match stream.read(&mut part).await {
        Ok(count) if count > 0 => {
            buffer.extend_from_slice(&part[..count]);
            Some(())
        }
        _ => None,
    }
}
