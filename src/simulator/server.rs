//! The wire: connections on loopback, headers, batches, and the faults that only a wire can have.
//!
//! Must never know: what a request means; `service` decides what to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::serve::{IncomingStream, Listener};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::dice::Dice;
use super::exchange::{Ask, Refusal, Reply};
use super::reads::http_date;
use super::routes::World;
use super::service::{Service, resource_units};
use super::sign_in::Desk;
use super::{Request, State as Tenant};
use crate::clock::{Clock, ManualClock};

/// As Graph writes it.
const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

/// What every request needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub tenant: Arc<Mutex<Tenant>>,
    pub clock: ManualClock,
    pub base: Arc<str>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Tenant> {
        // A test that failed while it held the tenant must not hide its message behind a second panic.
        self.tenant.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Serves until `stop` completes.
pub(super) async fn serve(listener: TcpListener, shared: Shared, stop: impl Future<Output = ()> + Send + 'static) {
    let service = Router::new().fallback(handle).with_state(shared).into_make_service_with_connect_info::<Cut>();
    let served = axum::serve(Lines(listener), service).with_graceful_shutdown(stop).await;
    if let Err(error) = served {
        tracing::warn!(%error, "the simulator stopped serving");
    }
}

/// A switch that cuts its connection at the next write.
#[derive(Debug, Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Connected<IncomingStream<'_, Lines>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.remote_addr().clone()
    }
}

struct Lines(TcpListener);

impl Listener for Lines {
    type Io = Line;
    type Addr = Cut;

    async fn accept(&mut self) -> (Line, Cut) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        // Small answers would otherwise wait for the other side's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let cut = Cut::default();
        (Line { stream, cut: cut.clone() }, cut)
    }

    fn local_addr(&self) -> io::Result<Cut> {
        Ok(Cut::default())
    }
}

struct Line {
    stream: TcpStream,
    cut: Cut,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if !self.cut.0.load(Ordering::SeqCst) {
            return Ok(());
        }
        // The other side sees a reset and not an orderly end.
        let _ = self.stream.set_zero_linger();
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// One answer before it is written.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    units: u32,
}

async fn handle(
    State(shared): State<Shared>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let now = shared.clock.now();
    let mut tenant = shared.lock();
    let graph = uri.path().starts_with("/v1.0") || uri.path().starts_with("/beta");
    let weather = tenant.service.weather;
    if graph && tenant.service.dice.chance(weather.cut) {
        cut.0.store(true, Ordering::SeqCst);
    }
    let truncate = graph && tenant.service.dice.chance(weather.truncated);
    let slow = graph && tenant.service.dice.chance(weather.slow);
    let html = graph && tenant.service.dice.chance(weather.html);

    let answer = if html {
        page(&mut tenant.service.dice)
    } else if graph {
        graph_answer(&shared, &mut tenant, &method, &uri, &headers, &body, now)
    } else {
        sign_in_answer(&shared, &mut tenant, (&method, &uri, &headers), &body, now)
    };
    tenant.log(Request {
        at: now,
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        status: answer.status,
        resource_units: answer.units,
    });
    drop(tenant);
    let date = now + SignedDuration::from_secs(weather.date_skew_seconds);
    write(answer, date, truncate, slow.then_some(shared.clock))
}

/// What a proxy or a portal on the way would answer.
fn page(dice: &mut Dice) -> Answer {
    let status = *dice.pick(&[200, 503]);
    let body = b"<!DOCTYPE html><html><head><title>Please wait</title></head><body>Please wait.</body></html>".to_vec();
    Answer { status, headers: vec![("Content-Type", "text/html; charset=utf-8".to_owned())], body, units: 0 }
}

/// Pieces in which a slow body comes.
const PIECES: usize = 8;

/// `body` piece by piece, a second by `clock` before each.
fn dripping(body: Vec<u8>, clock: ManualClock) -> Body {
    let size = body.len().div_ceil(PIECES).max(1);
    let pieces: std::collections::VecDeque<Bytes> =
        body.chunks(size).map(|piece| Bytes::from(piece.to_vec())).collect();
    Body::from_stream(futures_util::stream::unfold((pieces, clock), |(mut pieces, clock)| async move {
        let piece = pieces.pop_front()?;
        clock.advance(std::time::Duration::from_secs(1));
        tokio::task::yield_now().await;
        Some((Ok::<_, io::Error>(piece), (pieces, clock)))
    }))
}

fn write(answer: Answer, date: Timestamp, truncate: bool, slow: Option<ManualClock>) -> Response<Body> {
    let mut response = Response::builder().status(answer.status).header("Date", http_date(date));
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    let body = if truncate && answer.body.len() > 1 {
        response = response.header("Content-Length", answer.body.len());
        let half = Bytes::from(answer.body[..answer.body.len() / 2].to_vec());
        Body::from_stream(futures_util::stream::unfold(Some(half), |half| async move {
            if let Some(half) = half.filter(|half| !half.is_empty()) {
                return Some((Ok(half), Some(Bytes::new())));
            }
            // Without a pause the half would never leave the buffer, and the client see no answer at all.
            tokio::task::yield_now().await;
            Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None))
        }))
    } else if let Some(clock) = slow {
        dripping(answer.body, clock)
    } else {
        Body::from(answer.body)
    };
    response.body(body).expect("headers are fixed texts, numbers, encoded links and what came in a header")
}

fn sign_in_answer(
    shared: &Shared,
    tenant: &mut Tenant,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    body: &[u8],
    now: Timestamp,
) -> Answer {
    let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A form is written as a query string is.
    let fields = |text: &str| Ask::parse("", "/v1.0", text, false, now).map(|ask| ask.options).unwrap_or_default();
    let Service { door, weather, dice, rights, key, .. } = &mut tenant.service;
    let (base, roles) = (shared.base.as_ref(), &rights.permissions);
    let storm = dice.chance(weather.sign_in_unavailable);
    let mut desk = Desk { base, key, dice, roles, now, storm };
    let query = uri.query().unwrap_or_default();
    let (status, body) = match segments.as_slice() {
        [directory, "oauth2", "v2.0", "token"] if method == Method::POST => {
            door.token(&mut desk, directory, &fields(&String::from_utf8_lossy(body)))
        }
        ["metadata", "identity", "oauth2", "token"] if method == Method::GET => {
            door.machine_token(&mut desk, &fields(query), text("Metadata"))
        }
        ["msi", "token"] if method == Method::GET => {
            door.app_service_token(&mut desk, &fields(query), text("X-IDENTITY-HEADER"))
        }
        _ => (404, json!({"error": "not_found", "error_description": "No such endpoint."})),
    };
    let headers =
        vec![("Content-Type", "application/json; charset=utf-8".to_owned()), ("Cache-Control", "no-store".into())];
    Answer { status, headers, body: body.to_string().into_bytes(), units: 0 }
}

fn graph_answer(
    shared: &Shared,
    tenant: &mut Tenant,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Answer {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = tenant.service.dice.guid();
    let client_request_id = text("client-request-id").map_or_else(|| request_id.clone(), str::to_owned);
    let ids = (request_id.as_str(), client_request_id.as_str());
    let eventual = text("ConsistencyLevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"));
    let signed_in = tenant.service.door.authenticate(&shared.base, &tenant.service.key, text("Authorization"), now);
    let ask = Ask::parse(&shared.base, uri.path(), uri.query().unwrap_or_default(), eventual, now);
    let ask = ask.map(|ask| ask.preferring(text("Prefer").unwrap_or_default()));
    tenant.settle(now);
    let outcome = match (signed_in, ask) {
        (Err(refusal), _) => (Err(refusal), 0),
        (_, None) => (Err(Refusal::new(404, "BadRequest", "Invalid version.")), 0),
        (_, Some(ask)) if ask.segments == ["$batch"] => {
            let batch =
                if method == Method::POST { batch(shared, tenant, &ask, body, ids) } else { Err(not_allowed()) };
            (batch, 0)
        }
        (_, Some(_)) if method != Method::GET => (Err(not_allowed()), 0),
        (_, Some(ask)) => serve_one(tenant, &ask),
    };
    let (result, units) = outcome;
    let (status, mut out, body) = render(result, now, ids);
    out.push(("request-id", ids.0.to_owned()));
    out.push(("client-request-id", ids.1.to_owned()));
    out.push(("x-ms-resource-unit", units.to_string()));
    if let Some(share) = tenant.service.strain() {
        out.push(("x-ms-throttle-limit-percentage", format!("{share:.2}")));
    }
    let body = match body {
        Value::String(text) => text.into_bytes(),
        body => body.to_string().into_bytes(),
    };
    Answer { status, headers: out, body, units }
}

fn not_allowed() -> Refusal {
    Refusal::new(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
}

/// One GET with its price, which a refused request does not pay.
fn serve_one(tenant: &mut Tenant, ask: &Ask) -> (Result<Reply, Refusal>, u32) {
    let units = resource_units(ask);
    let result = tenant.service.weather_fault(ask).and_then(|()| tenant.service.charge(ask, units)).and_then(|()| {
        let world = World {
            directory: &tenant.directory,
            report: &tenant.report,
            vault: &tenant.vault,
            audit_days: tenant.service.rights.audit_days(),
            epoch: tenant.service.epoch,
        };
        tenant.service.answer(&world, ask)
    });
    let units = if result.is_ok() { units } else { 0 };
    (result, units)
}

type Rendered = (u16, Vec<(&'static str, String)>, Value);

/// Status, headers and body; plain text is a string.
fn render(result: Result<Reply, Refusal>, now: Timestamp, ids: (&str, &str)) -> Rendered {
    let json = |mut headers: Vec<(&'static str, String)>| {
        headers.push(("Content-Type", JSON.to_owned()));
        headers.push(("OData-Version", "4.0".to_owned()));
        headers.push(("Cache-Control", "no-cache".to_owned()));
        headers
    };
    match result {
        Ok(Reply::Json(body)) => (200, json(Vec::new()), body),
        Ok(Reply::Text(text)) => (200, vec![("Content-Type", "text/plain".to_owned())], Value::String(text)),
        Err(refusal) => {
            let body = refusal.body(now, ids.0, ids.1);
            (refusal.status, json(refusal.headers), body)
        }
    }
}

/// Up to 20 GETs in one; each is judged and charged alone and the answers come in any order (Microsoft: "Combine
/// multiple HTTP requests using JSON batching").
fn batch(shared: &Shared, tenant: &mut Tenant, outer: &Ask, body: &[u8], ids: (&str, &str)) -> Result<Reply, Refusal> {
    let request: Value =
        serde_json::from_slice(body).map_err(|_| Refusal::bad("Unable to read JSON request payload."))?;
    let parts = request["requests"].as_array().ok_or_else(|| Refusal::bad("Invalid batch payload format."))?;
    if parts.is_empty() || parts.len() > 20 {
        let message = format!(
            "Number of batch request steps exceeds the maximum value. Expected 1 to 20, found {}.",
            parts.len()
        );
        return Err(Refusal::new(400, "MaximumValueExceeded", message));
    }
    let mut answered: BTreeMap<&str, bool> = BTreeMap::new();
    let mut answers = Vec::new();
    for part in in_order(parts)? {
        let id = id_of(part)?;
        let is_stopped = dependencies(part).any(|on| answered.get(on) == Some(&false));
        let answer = match is_stopped {
            // "If an individual request fails, any request that depends on it fails with 424" (json-batching).
            true => {
                let message = "The request depends on another one that failed.";
                part_answer(id, render(Err(Refusal::new(424, "FailedDependency", message)), outer.now, ids), 0)
            }
            false => answer_part(shared, tenant, outer, part, id, ids),
        };
        answered.insert(id, answer["status"].as_u64().is_some_and(|status| status < 400));
        answers.push(answer);
    }
    tenant.service.dice.shuffle(&mut answers);
    Ok(Reply::Json(json!({"responses": answers})))
}

fn id_of(part: &Value) -> Result<&str, Refusal> {
    part["id"].as_str().ok_or_else(|| Refusal::bad("Request Id has to be specified in a batch."))
}

fn dependencies(part: &Value) -> impl Iterator<Item = &str> {
    part["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The parts in an order in which each comes after those that it depends on. What Graph says of one that depends on
/// itself or on none of the batch isn't documented; that it refuses the batch is assumed.
fn in_order(parts: &[Value]) -> Result<Vec<&Value>, Refusal> {
    let mut waiting: Vec<&Value> = parts.iter().collect();
    let mut ordered: Vec<&Value> = Vec::new();
    while !waiting.is_empty() {
        let done: BTreeSet<String> = ordered.iter().filter_map(|part| part["id"].as_str()).map(str::to_owned).collect();
        let (ready, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|part| dependencies(part).all(|on| done.contains(on)));
        if ready.is_empty() {
            return Err(Refusal::bad(
                "Invalid dependsOn: no request of the batch has this id, or it depends on itself.",
            ));
        }
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}

fn answer_part(shared: &Shared, tenant: &mut Tenant, outer: &Ask, part: &Value, id: &str, ids: (&str, &str)) -> Value {
    let url = part["url"].as_str().unwrap_or_default().trim_start_matches('/');
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let header = |wanted: &str| {
        let mut headers = part["headers"].as_object().into_iter().flatten();
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).and_then(|(_, value)| value.as_str())
    };
    let eventual = header("ConsistencyLevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"));
    let path = format!("/{}/{path}", outer.version);
    let ask = Ask::parse(&shared.base, &path, query, eventual, outer.now).filter(|ask| ask.segments != ["$batch"]);
    let ask = ask.map(|ask| ask.preferring(header("Prefer").unwrap_or_default()));
    let (result, units) = match ask {
        Some(ask) if part["method"].as_str() == Some("GET") => serve_one(tenant, &ask),
        _ => (Err(not_allowed()), 0),
    };
    let rendered = render(result, outer.now, ids);
    tenant.log(Request {
        at: outer.now,
        method: "GET".into(),
        path,
        query: query.to_owned(),
        status: rendered.0,
        resource_units: units,
    });
    part_answer(id, rendered, units)
}

fn part_answer(id: &str, (status, headers, body): Rendered, units: u32) -> Value {
    let mut named = serde_json::Map::new();
    named.extend(headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
    named.insert("x-ms-resource-unit".into(), json!(units.to_string()));
    json!({"id": id, "status": status, "headers": named, "body": body})
}
