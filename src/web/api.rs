//! One request from its arrival to its answer: who asks, whether they may, what they ask, the record of it, the answer.
//!
//! Must never know: how an operation is answered.
//!
//! Each step holds before the next begins: whoever isn't known learns nothing; whoever may not is told only that, and it is
//! recorded; an answer is made, then recorded durably, and only then does its first byte leave. A question runs on a thread
//! of its own, so that hard work keeps nobody else waiting, and ends when whoever asked goes away.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::access::{Access, Caller, Denial};
use super::answers::{Answer, Asking, Refusal};
use super::lines::{Cut, Lines, Outlet};
use super::operations::{Form, Name, Operation};
use super::options::Options;
use super::parameters::Parameters;
use super::problem::Problem;
use super::shelf::Shelf;
use crate::clock::Clock;
use crate::ledger::{LedgerError, Outcome, Use, Via};

/// Refusals of one caller that are recorded in a minute; more are counted. Anybody in a tenant can get a token without
/// roles, and storage that nobody can empty isn't theirs to fill.
const RECORDED_REFUSALS: u64 = 20;
/// Callers whose refusals are told apart.
const REMEMBERED: usize = 10_000;
/// Pieces of a long answer that wait for whoever takes them.
const PIECES: usize = 4;
/// Long answers may take so many times as long.
const LONG: u32 = 60;

/// What answers requests.
#[derive(Debug)]
pub struct Api {
    pub(super) shelves: Vec<Arc<Shelf>>,
    access: Access,
    options: Options,
    clock: Arc<dyn Clock>,
    places: Arc<Semaphore>,
    shares: Shares,
    refusals: Mutex<(i64, HashMap<String, u64>)>,
    /// Requests by operation and status, and denials by reason.
    pub(super) counts: Mutex<HashMap<(&'static str, String), u64>>,
    pub(super) under_way: Arc<AtomicU64>,
}

/// A question that waits for its answer: dropped, it ends the work.
struct Alive {
    _cancel: oneshot::Sender<()>,
}

/// How work on a question ended.
enum Ended {
    Done,
    /// It took too long.
    Late,
    /// Whoever asked went away.
    Abandoned,
}

/// The head of an answer.
enum Head {
    Whole { body: String, tag: Option<String> },
    Unmodified { tag: String },
    Lines { tag: String, pieces: mpsc::Receiver<io::Result<Bytes>> },
    Problem(Problem),
}

/// What whoever is known may ask.
enum Admitted {
    /// Which tenants there are.
    Tenants,
    /// A question to one of them.
    Question { operation: &'static Operation, shelf: Arc<Shelf>, parameters: Parameters, place: Taken },
}

/// By caller, how many of the places are theirs.
type Shares = Arc<Mutex<HashMap<String, usize>>>;

/// A place that a question takes, until this is dropped.
struct Taken {
    _place: OwnedSemaphorePermit,
    shares: Shares,
    name: String,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut shares = self.shares.lock().expect("no code panics while it counts");
        if let Some(share) = shares.get_mut(&self.name) {
            *share -= 1;
            if *share == 0 {
                shares.remove(&self.name);
            }
        }
    }
}

/// A question that is counted as under way, until this is dropped, whatever ends it.
struct UnderWay(Arc<AtomicU64>);

impl UnderWay {
    fn begin(count: &Arc<AtomicU64>) -> UnderWay {
        count.fetch_add(1, Ordering::Relaxed);
        UnderWay(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A question, apart from the request that brought it.
struct Question {
    operation: &'static Operation,
    shelf: Arc<Shelf>,
    parameters: Parameters,
    caller: Caller,
    has: Vec<String>,
}

impl Api {
    /// Answers for these tenants.
    pub fn new(shelves: Vec<Arc<Shelf>>, access: Access, options: Options, clock: Arc<dyn Clock>) -> Api {
        let places = Arc::new(Semaphore::new(options.at_once));
        Api {
            shelves,
            access,
            options,
            clock,
            places,
            shares: Shares::default(),
            refusals: Mutex::default(),
            counts: Mutex::default(),
            under_way: Arc::default(),
        }
    }

    /// Answers a request to `operation`; none where the path leads to none.
    pub(super) async fn respond(
        self: Arc<Self>,
        operation: Option<&'static Operation>,
        path: Vec<(String, String)>,
        request: Request,
    ) -> Response<Body> {
        let id = operation.map_or("none", |operation| operation.id);
        let response = match self.handle(operation, path, request).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
        self.count(id, response.status().as_str().to_owned());
        response
    }

    async fn handle(
        &self,
        operation: Option<&'static Operation>,
        path: Vec<(String, String)>,
        request: Request,
    ) -> Result<Response<Body>, Problem> {
        let (parts, _body) = request.into_parts();
        let named = path.iter().find(|(name, _)| name == "tenant").map(|(_, value)| value.to_ascii_lowercase());
        let shelf = self.shelves.iter().find(|shelf| named.as_deref() == Some(shelf.tenant.name.as_str()));
        let caller = match self.access.caller(&parts.headers).await {
            Ok(caller) => caller,
            Err(Denial::Stranger(reason)) => {
                self.deny(shelf, reason);
                return Err(Problem::unauthenticated());
            }
            Err(Denial::Unavailable) => {
                self.deny(shelf, "keys-unavailable");
                return Err(Problem::unavailable("tokens can't be checked at present"));
            }
        };
        let given = Parameters::as_given(&path, parts.uri.query());
        match self.admit(operation, shelf, &caller, &path, &parts) {
            Ok(Admitted::Tenants) => {
                let used = used("tenants", &caller, given, Outcome::Answered);
                if let Some(shelf) = self.shelves.first() {
                    record(shelf, used).await?;
                }
                Ok(json_response(self.tenants(), None))
            }
            Ok(Admitted::Question { operation, shelf, parameters, place }) => {
                let question = Question { operation, shelf, parameters, caller, has: tags(&parts.headers) };
                Ok(self.ask(question, place).await)
            }
            Err(problem) => {
                self.refuse(operation, shelf, &caller, given, problem.status).await?;
                Err(problem)
            }
        }
    }

    /// Whether whoever is known may ask this now, and what it is.
    fn admit(
        &self,
        operation: Option<&'static Operation>,
        shelf: Option<&Arc<Shelf>>,
        caller: &Caller,
        path: &[(String, String)],
        parts: &Parts,
    ) -> Result<Admitted, Problem> {
        let Some(operation) = operation else { return Err(Problem::not_found()) };
        if !caller.may(operation.roles) {
            return Err(Problem::forbidden());
        }
        // What can be read can be asked about without its body (RFC 9110, 9.1).
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(Problem::method());
        }
        let parameters = Parameters::read(operation, path.iter().cloned(), parts.uri.query())?;
        if operation.name == Name::Tenants {
            return Ok(Admitted::Tenants);
        }
        let shelf = shelf.cloned().ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "not-found", "no such tenant is served here")
                .hint("/api/v1/tenants names those that are")
        })?;
        let place = self.place(caller)?;
        Ok(Admitted::Question { operation, shelf, parameters, place })
    }

    /// A place among the questions that are answered at a time. Of several who ask none takes all of them.
    fn place(&self, caller: &Caller) -> Result<Taken, Problem> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Problem::busy())?;
        let name = caller.name().to_owned();
        let all = self.options.at_once;
        let most = if name.is_empty() { all } else { (all - all / 4).max(1) };
        let mut shares = self.shares.lock().expect("no code panics while it counts");
        let share = shares.entry(name.clone()).or_default();
        if *share >= most {
            return Err(Problem::busy());
        }
        *share += 1;
        drop(shares);
        Ok(Taken { _place: place, shares: self.shares.clone(), name })
    }

    fn tenants(&self) -> String {
        let names: Vec<_> = self.shelves.iter().map(|shelf| serde_json::json!({"tenant": shelf.tenant.name})).collect();
        serde_json::json!({ "items": names, "next": null }).to_string()
    }

    /// Has a question answered on a thread of its own.
    async fn ask(&self, question: Question, place: Taken) -> Response<Body> {
        let (cancel, mut cancelled) = oneshot::channel::<()>();
        let alive = Alive { _cancel: cancel };
        let (head, answered) = oneshot::channel();
        let (now, runtime) = (self.clock.now(), tokio::runtime::Handle::current());
        let patience = match question.operation.form {
            Form::Lines(_) => self.options.patience * LONG,
            _ => self.options.patience,
        };
        let under_way = UnderWay::begin(&self.under_way);
        let (shelf, failed) = (question.shelf.clone(), question.used(Outcome::Failed));
        let work = tokio::task::spawn_blocking(move || {
            let _until_the_end = (place, under_way);
            let recorded = AtomicBool::new(false);
            let ended = runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = &mut cancelled => Ended::Abandoned,
                    done = tokio::time::timeout(patience, question.work(head, now, &recorded)) => match done {
                        Ok(()) => Ended::Done,
                        Err(_) => Ended::Late,
                    },
                }
            });
            // Of what somebody gave up before it was answered nothing else would tell.
            let is_told = match ended {
                Ended::Done => true,
                Ended::Abandoned => recorded.load(Ordering::Relaxed),
                Ended::Late => false,
            };
            if !is_told && let Err(error) = question.shelf.tenant.ledger.record(&question.used(Outcome::Failed)) {
                return Err(unrecorded(&error));
            }
            match ended {
                Ended::Late => Err(Problem::unavailable("the question takes longer than it may")
                    .hint("ask about less: one collection, a shorter period, a smaller page")),
                _ => Ok(()),
            }
        });
        let answer = answered.await;
        match answer {
            Ok(Head::Whole { body, tag }) => json_response(body, tag.as_deref()),
            Ok(Head::Unmodified { tag }) => unmodified(&tag),
            Ok(Head::Problem(problem)) => problem.into_response(),
            Ok(Head::Lines { tag, mut pieces }) => {
                // Kept with the stream: whoever goes away ends the work.
                let stream = futures_util::stream::poll_fn(move |context| {
                    let _ = &alive;
                    pieces.poll_recv(context)
                });
                lines_response(Body::from_stream(stream), &tag)
            }
            Err(_) => match work.await {
                Ok(Err(problem)) => problem.into_response(),
                _ => {
                    let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the question failed");
                    record(&shelf, failed).await.err().unwrap_or(problem).into_response()
                }
            },
        }
    }

    /// Counts a stranger.
    fn deny(&self, shelf: Option<&Arc<Shelf>>, reason: &'static str) {
        self.count("denied", reason.to_owned());
        if let Some(shelf) = shelf.or(self.shelves.first()) {
            shelf.tenant.ledger.count_denial(Via::Http, reason);
        }
    }

    /// Records that somebody known was turned away before anything was looked up.
    async fn refuse(
        &self,
        operation: Option<&'static Operation>,
        shelf: Option<&Arc<Shelf>>,
        caller: &Caller,
        given: Map<String, Value>,
        status: StatusCode,
    ) -> Result<(), Problem> {
        let Some(shelf) = shelf.or(self.shelves.first()).cloned() else { return Ok(()) };
        if !self.is_refusal_recorded(caller) {
            self.deny(Some(&shelf), "refused-again");
            return Ok(());
        }
        if status == StatusCode::FORBIDDEN {
            self.count("denied", "role".to_owned());
        }
        let id = operation.map_or("none", |operation| operation.id);
        record(&shelf, used(id, caller, given, Outcome::Refused)).await
    }

    fn is_refusal_recorded(&self, caller: &Caller) -> bool {
        let minute = self.clock.now().as_second() / 60;
        let mut refusals = self.refusals.lock().expect("no code panics while it counts");
        if refusals.0 != minute {
            *refusals = (minute, HashMap::new());
        }
        let is_known = refusals.1.contains_key(caller.name());
        if !is_known && refusals.1.len() >= REMEMBERED {
            return false;
        }
        let count = refusals.1.entry(caller.name().to_owned()).or_default();
        *count += 1;
        *count <= RECORDED_REFUSALS
    }

    fn count(&self, name: &'static str, what: String) {
        *self.counts.lock().expect("no code panics while it counts").entry((name, what)).or_default() += 1;
    }
}

impl Question {
    fn used(&self, outcome: Outcome) -> Use {
        used(self.operation.id, &self.caller, self.parameters.as_asked(), outcome)
    }

    /// Answers, records, and hands out the head; then, of a long answer, the rest.
    async fn work(&self, head: oneshot::Sender<Head>, now: Timestamp, recorded: &AtomicBool) {
        let asking = Asking {
            operation: self.operation.name,
            shelf: &self.shelf,
            parameters: &self.parameters,
            now,
            has: self.has.clone(),
        };
        let answer = asking.answer().await;
        let (outcome, hash) = match &answer {
            Ok(Answer::Whole { hash, .. }) => (Outcome::Answered, *hash),
            Ok(_) => (Outcome::Answered, None),
            Err(Refusal::Problem(problem)) if !problem.status.is_server_error() => (Outcome::Refused, None),
            Err(Refusal::Failure(failure)) if !Problem::of(failure).status.is_server_error() => {
                (Outcome::Refused, None)
            }
            Err(_) => (Outcome::Failed, None),
        };
        let mut used = self.used(outcome);
        used.answer = hash;
        // This thread is the question's own and may wait for the disk.
        recorded.store(true, Ordering::Relaxed);
        if let Err(error) = self.shelf.tenant.ledger.record(&used) {
            let _ = head.send(Head::Problem(unrecorded(&error)));
            return;
        }
        let sent = match answer {
            Ok(Answer::Whole { body, tag, .. }) => Head::Whole { body, tag },
            Ok(Answer::Unmodified { tag }) => Head::Unmodified { tag },
            Ok(Answer::Lines { lines, tag }) => {
                let (sender, pieces) = mpsc::channel(PIECES);
                if head.send(Head::Lines { tag, pieces }).is_ok() {
                    stream(&lines, Outlet::new(sender)).await;
                }
                return;
            }
            Err(Refusal::Problem(problem)) => Head::Problem(problem),
            Err(Refusal::Failure(failure)) => Head::Problem(Problem::of(&failure)),
        };
        let _ = head.send(sent);
    }
}

async fn stream(lines: &Lines, mut outlet: Outlet) {
    match lines.send(&mut outlet).await {
        Ok(()) | Err(Cut::Gone) => {}
        Err(Cut::Failed(failure)) => {
            // Its reasons go to the log; the connection breaks, and the account of the whole is missing.
            drop(Problem::of(&failure));
            let _ = outlet.sender.send(Err(io::Error::other("the answer ended before its end"))).await;
        }
    }
}

fn used(operation: &str, caller: &Caller, parameters: Map<String, Value>, outcome: Outcome) -> Use {
    Use { who: caller.who.clone(), via: Via::Http, operation: operation.to_owned(), parameters, outcome, answer: None }
}

async fn record(shelf: &Arc<Shelf>, used: Use) -> Result<(), Problem> {
    let shelf = shelf.clone();
    let recorded = tokio::task::spawn_blocking(move || shelf.tenant.ledger.record(&used)).await;
    match recorded {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(unrecorded(&error)),
        Err(_) => Err(Problem::unavailable("nothing is answered that can't be recorded")),
    }
}

fn unrecorded(error: &LedgerError) -> Problem {
    tracing::error!(error = error as &dyn std::error::Error, "a use could not be recorded, and nothing was answered");
    Problem::unavailable("nothing is answered that can't be recorded")
}

/// The tags of `If-None-Match`, without the mark of weak ones: that they are compared weakly is the rule there (RFC 9110, 13.1.2).
fn tags(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/").to_owned());
    tags.take(16).collect()
}

fn with_tag(mut response: Response<Body>, tag: Option<&str>) -> Response<Body> {
    if let Some(value) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

fn json_response(body: String, tag: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::from(body + "\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    with_tag(response, tag)
}

fn lines_response(body: Body, tag: &str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    with_tag(response, Some(tag))
}

fn unmodified(tag: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    with_tag(response, Some(tag))
}

/// The parameters in a path, decoded; a path that isn't text leads nowhere.
pub(super) fn path_of(parameters: &RawPathParams) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
