//! A loopback HTTP server whose answers a test writes, down to connections that break in the middle of a body.
//!
//! Must never know: what is being tested. It speaks HTTP/1.1 by hand, since a server library would not let it misbehave.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[allow(clippy::duplicate_mod, reason = "a test may have both a world and scripted servers")]
#[path = "../support/openapi.rs"]
pub mod openapi;

use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tenure::clock::ManualClock;
use tenure::collect::{Outcome, Sighting};
use tenure::graph::{Credential, Limits, Options, Reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn is_token(&self) -> bool {
        self.target.ends_with("/oauth2/v2.0/token")
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    Whole(Vec<u8>),
    /// Promises more than it sends, then closes.
    Truncated(Vec<u8>),
    /// Promises nothing and never ends.
    Endless,
    /// Says it has this many bytes.
    Huge(u64),
    /// No answer: the connection is closed.
    Reset,
    /// A beginning, and then nothing for ever.
    Stalled,
    /// Not even a beginning.
    Silent,
    /// A byte at a time, this far apart.
    Dripping(Vec<u8>, std::time::Duration),
    /// Headers without end.
    EndlessHead,
    /// These bytes and no others: no status line but what they hold.
    Raw(Vec<u8>),
}

impl Reply {
    pub fn json(status: u16, body: impl Into<String>) -> Reply {
        let headers = vec![("content-type".to_owned(), "application/json; odata.metadata=minimal".to_owned())];
        Reply { status, headers, body: Body::Whole(body.into().into_bytes()) }
    }

    pub fn error(status: u16, code: &str) -> Reply {
        Reply::json(status, format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#))
    }

    pub fn body(body: Body) -> Reply {
        Reply { body, ..Reply::json(200, "") }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A token that lives `seconds`.
pub fn token(text: &str, seconds: u64) -> Reply {
    Reply::json(200, format!(r#"{{"token_type":"Bearer","expires_in":{seconds},"access_token":"{text}"}}"#))
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// The running server. It ends with the test's runtime.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers Graph's requests by `script`, which gets the request and how many of Graph's requests came before it.
    /// Tokens are given to everybody.
    pub async fn new(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Server {
        let graph_calls = Mutex::new(0);
        Server::raw(move |seen, _| {
            if seen.is_token() {
                return token("first", 3600);
            }
            let mut calls = graph_calls.lock().unwrap();
            *calls += 1;
            script(seen, *calls - 1)
        })
        .await
    }

    /// Answers everything by `script`, token requests too.
    pub async fn raw(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Server { url, seen }
    }

    /// Every request so far, token requests too.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The addresses of Graph's requests so far.
    pub fn targets(&self) -> Vec<String> {
        self.seen().into_iter().filter(|seen| !seen.is_token()).map(|seen| seen.target).collect()
    }

    pub fn options(&self) -> Options {
        let credential =
            Credential::ClientSecret { client_id: "client".to_owned(), secret: SecretString::from("s3cret\n") };
        Options {
            graph_url: Some(self.url.clone()),
            login_url: Some(self.url.clone()),
            limits: Limits { request_timeout: std::time::Duration::from_secs(10), ..Limits::default() },
            ..Options::new("tenant.example", credential)
        }
    }

    pub fn reader(&self, clock: &ManualClock) -> Reader {
        Reader::new(self.options(), Arc::new(clock.clone())).unwrap()
    }
}

/// The tests whose servers imitate Graph, as against those that try what Graph would never be asked or never say.
const IMITATING: &[&str] = &["graph_collect", "graph_documents"];

impl Drop for Server {
    /// Holds every request against Graph's description, where the server imitates Graph.
    fn drop(&mut self) {
        if std::thread::panicking() || !IMITATING.contains(&env!("CARGO_CRATE_NAME")) {
            return;
        }
        let seen = self.seen();
        openapi::check_all(seen.iter().map(|seen| {
            let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
            (seen.method.as_str(), path, query, seen.body.as_str())
        }));
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Seen>>>) {
    let Some(seen) = read_request(&mut stream).await else { return };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    let reply = script(&seen, before);
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let (length, body) = match &reply.body {
        Body::Reset => return,
        Body::Silent => return std::future::pending().await,
        Body::EndlessHead => {
            let more = b"x-more: and more\r\n".repeat(1024);
            while stream.write_all(head.as_bytes()).await.is_ok() {
                head = String::from_utf8_lossy(&more).into_owned();
            }
            return;
        }
        Body::Raw(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            return;
        }
        Body::Dripping(body, _) => (Some(body.len() as u64), Vec::new()),
        Body::Whole(body) => (Some(body.len() as u64), body.clone()),
        Body::Truncated(body) => (Some(body.len() as u64 + 100), body.clone()),
        Body::Huge(length) => (Some(*length), b"{\"value\":[".to_vec()),
        Body::Endless => (None, b"{\"value\":[".to_vec()),
        Body::Stalled => (Some(100), b"{\"value\":[".to_vec()),
    };
    if let Some(length) = length {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    head.push_str("\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    if let Body::Dripping(body, pause) = &reply.body {
        for byte in body {
            tokio::time::sleep(*pause).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    }
    if matches!(reply.body, Body::Endless) {
        let more = b"{},".repeat(64 * 1024);
        while stream.write_all(&more).await.is_ok() {}
    }
    if matches!(reply.body, Body::Stalled) {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut start = lines.next()?.split(' ');
    let (method, target) = (start.next()?.to_owned(), start.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length.unwrap_or(0) {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => body.extend_from_slice(&chunk[..read]),
        }
    }
    Some(Seen { method, target, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A clock that starts at the first of August 2026.
pub fn clock() -> ManualClock {
    ManualClock::new("2026-08-01T00:00:00Z".parse().unwrap())
}

/// Seconds since [`clock`] started.
pub fn elapsed(clock: &ManualClock) -> f64 {
    use tenure::clock::Clock;
    let start: jiff::Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
    clock.now().duration_since(start).as_secs_f64()
}

/// Runs a read of `collect` and gathers what it reports.
pub async fn gather<F, R>(read: F) -> (Outcome, Vec<Sighting>)
where
    F: FnOnce(tokio::sync::mpsc::Sender<Vec<Sighting>>) -> R,
    R: Future<Output = Outcome>,
{
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    let drain = tokio::spawn(async move {
        let mut sightings = Vec::new();
        while let Some(page) = receiver.recv().await {
            sightings.extend(page);
        }
        sightings
    });
    let outcome = read(sender).await;
    (outcome, drain.await.unwrap())
}

/// Sightings as lines, receipts left out.
pub fn lines(sightings: &[Sighting]) -> Vec<String> {
    use tenure::collect::Content;
    let line = |sighting: &Sighting| match sighting {
        Sighting::Object { key, content: Content::Canonical(bytes), partial, .. } => {
            Some(format!("{key}{} {}", if *partial { "~" } else { "" }, String::from_utf8_lossy(bytes)))
        }
        Sighting::Object { key, content: Content::Raw(bytes), .. } => {
            Some(format!("{key} raw {}", String::from_utf8_lossy(bytes)))
        }
        Sighting::Event { key, touched, .. } => Some(format!("{key} event {touched:?}")),
        Sighting::Gone { key } => Some(format!("{key} gone")),
        Sighting::Link { source, relation, target, present } => {
            Some(format!("{source} {relation} {}{target}", if *present { '+' } else { '-' }))
        }
        Sighting::Links { source, relation, targets } => Some(format!("{source} {relation} = {targets:?}")),
        Sighting::Unread { source, relation, code } => Some(format!("{source} {relation} unread {code}")),
        Sighting::Restart => Some("restart".to_owned()),
        Sighting::Receipt(_) => None,
    };
    sightings.iter().filter_map(line).collect()
}
