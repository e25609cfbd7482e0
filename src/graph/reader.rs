//! The reading client: one request, with its token, its tries, its waiting and its bounds.
//!
//! Must never know: what the answers mean. It has no method but GET.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Url, redirect};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;

use super::address::{has_token, host_of, is_loopback, joined, origin, path_and_query};
use super::classify::{Asked, ErrorBody, classify, safe_code};
use super::error::{Error, Refusal};
use super::meter::Meter;
use super::options::{Limits, MAX_PAGE_BYTES, Options};
use super::pace::{Hold, Pace, Tries, parse_date, retry_after};
use super::pages::Pages;
use super::request::{Bucket, Request};
use super::response::Response;
use super::tokens::{Token, Tokens};
use super::wire::{Page, without_mark};
use crate::canonical::{Json, parse};
use crate::clock::Clock;

/// The largest error body that is read; what is longer has no code.
const MAX_ERROR_BODY: usize = 1024 * 1024;

/// How often one request answers a 401 with another token: once for the token's age, once per claims challenge.
const RENEWALS: usize = 3;

/// A client of one tenant's Graph that can only read. Clones share connections, token, limits and counts.
#[derive(Debug, Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    meter: Arc<Meter>,
    deadline: Option<Timestamp>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    graph: Url,
    tokens: Tokens,
    limits: Limits,
    in_flight: Semaphore,
    conditional_access: Pace,
    key_credentials: Pace,
    reports: Pace,
    hold: Hold,
}

/// How a try failed.
struct Failed {
    error: Error,
    next: Next,
}

/// What may help.
enum Next {
    GiveUp,
    Wait(Option<Duration>),
    Renew { token: Token, claims: Option<String> },
}

impl Failed {
    fn finally(error: Error) -> Self {
        Failed { error, next: Next::GiveUp }
    }
}

impl Reader {
    /// A client for `options`. Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Options`] for addresses or limits that can't be used.
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Result<Reader, Error> {
        let limits = checked(options.limits)?;
        let graph = origin("graph_url", options.graph_url.as_deref().unwrap_or(options.cloud.graph_url()))?;
        let login = origin("login_url", options.login_url.as_deref().unwrap_or(options.cloud.login_url()))?;
        let named = options.tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        if options.tenant.is_empty() || !named {
            return Err(Error::Options { option: "tenant.id", reason: "expected a GUID or a domain" });
        }
        let endpoint = joined(&login, &format!("/{}/oauth2/v2.0/token", options.tenant))
            .ok_or(Error::Options { option: "login_url", reason: "no address can be made from it" })?;
        // A token is for one Graph, named by its host (learn, graph/deployments); a configured one is that Graph.
        let scope = format!("{}/.default", graph.as_str().trim_end_matches('/'));
        let http = http_client(&limits, &graph, &login)?;
        let tokens = Tokens::new(http.clone(), clock.clone(), endpoint, scope, options.credential, limits.clone());
        let shared = Shared {
            http,
            clock,
            graph,
            tokens,
            in_flight: Semaphore::new(limits.in_flight),
            conditional_access: Pace::new(Duration::from_secs(1), 1),
            key_credentials: Pace::new(Duration::from_millis(500), 30),
            reports: Pace::new(Duration::from_secs(2), 5),
            hold: Hold::default(),
            limits,
        };
        Ok(Reader { shared: Arc::new(shared), meter: Arc::default(), deadline: None })
    }

    /// The same client with a meter of its own, for one run or operation; ours counts along.
    pub fn metered(&self) -> Reader {
        Reader { meter: Arc::new(Meter::within(&self.meter)), ..self.clone() }
    }

    /// The same client, which sends nothing after `deadline` and then says [`Error::TimeLimit`].
    pub fn until(&self, deadline: Timestamp) -> Reader {
        Reader { deadline: Some(deadline), ..self.clone() }
    }

    /// What this client (see [`Reader::metered`]) has spent.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The clock that it waits by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// The bounds it keeps.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Whether a token for Graph can be had.
    ///
    /// # Errors
    /// Why not.
    pub async fn check_token(&self) -> Result<(), Error> {
        self.shared.tokens.get().await.map(drop)
    }

    /// The application permissions that the token says it has, sorted; `None` where the token can't be read. What Graph
    /// allows is Graph's word alone: this is for hints.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn granted(&self) -> Result<Option<Vec<String>>, Error> {
        Ok(self.shared.tokens.get().await?.roles())
    }

    /// Reads a JSON document. Returns once it is there whole and parses, having retried what a retry may help.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, request: &Request) -> Result<Response, Error> {
        self.document(request, |_, _| Ok(())).await.map(|(response, ())| response)
    }

    /// As [`Reader::get`], handing the parsed document to `take`, whose refusal counts as a bad response.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn document<T>(
        &self,
        request: &Request,
        mut take: impl for<'a> FnMut(&Response, Json<'a>) -> Result<T, &'static str>,
    ) -> Result<(Response, T), Error> {
        self.exchange(request, |response| {
            if !response.content_type.to_ascii_lowercase().contains("json") {
                return Err("another content type than JSON");
            }
            let json = parse(without_mark(&response.body)).map_err(|_| "a body that is no JSON, or ends too early")?;
            take(response, json)
        })
        .await
    }

    /// Reads one page of a list or feed and hands it to `take`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn page<T>(
        &self,
        request: &Request,
        mut take: impl for<'a> FnMut(&Response, Page<'a>) -> T,
    ) -> Result<(Response, T), Error> {
        self.document(request, |response, json| Page::read(json).map(|page| take(response, page))).await
    }

    /// Reads a `$count`: plain text.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn count(&self, request: &Request) -> Result<u64, Error> {
        let read = |response: &Response| {
            let text = std::str::from_utf8(without_mark(&response.body)).map_err(|_| "a count that is no text")?;
            text.trim().parse::<u64>().map_err(|_| "a count that is no number")
        };
        self.exchange(request, read).await.map(|(_, count)| count)
    }

    /// A walk over the pages that begin at `request`.
    pub fn pages(&self, request: Request) -> Pages<'_> {
        Pages { reader: self, next: Some(request), seen: HashSet::new(), pages: 0 }
    }

    async fn exchange<T>(
        &self,
        request: &Request,
        mut take: impl FnMut(&Response) -> Result<T, &'static str>,
    ) -> Result<(Response, T), Error> {
        let url = self.resolve(&request.address)?;
        let shared = &*self.shared;
        let mut tries = Tries::default();
        let mut answered: Vec<Option<String>> = Vec::new();
        let mut token = None;
        loop {
            let made = tries.begin();
            let failed = match self.try_once(request, &url, made, token.take()).await {
                Ok(response) => match take(&response) {
                    Ok(taken) => return Ok((response, taken)),
                    Err(what) => {
                        let error = Error::BadResponse { status: response.status, what };
                        Failed { error, next: Next::Wait(response.retry_after) }
                    }
                },
                Err(failed) => failed,
            };
            match failed.next {
                Next::GiveUp => return Err(failed.error),
                // The same answer to another token isn't about the token's age, or about claims that it lacked.
                Next::Renew { claims, .. } if answered.contains(&claims) || answered.len() >= RENEWALS => {
                    return Err(failed.error);
                }
                Next::Renew { token: refused, claims } => {
                    token = Some(shared.tokens.renew(&refused, claims.as_deref()).await?);
                    answered.push(claims);
                }
                Next::Wait(after) => {
                    let Some(wait) = tries.next_wait(&shared.limits, after) else { return Err(failed.error) };
                    if after.is_some() && request.bucket != Bucket::ConditionalAccess {
                        shared.hold.set(shared.clock.now(), wait);
                    }
                    self.sleep(wait).await?;
                }
            }
        }
    }

    /// Sleeps, unless the deadline comes first.
    async fn sleep(&self, wait: Duration) -> Result<(), Error> {
        let end = self.shared.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        if self.deadline.is_some_and(|deadline| end > deadline) {
            return Err(Error::TimeLimit);
        }
        self.shared.clock.sleep(wait).await;
        Ok(())
    }

    async fn try_once(
        &self,
        request: &Request,
        url: &Url,
        tries: u32,
        token: Option<Token>,
    ) -> Result<Response, Failed> {
        let shared = &*self.shared;
        if let Some(wait) = shared.hold.wait(shared.clock.now(), shared.limits.longest_wait)
            && request.bucket != Bucket::ConditionalAccess
        {
            self.sleep(wait).await.map_err(Failed::finally)?;
        }
        // The token is had before the turn is taken: asking for one may take a while.
        let token = match token {
            Some(token) => token,
            None => shared.tokens.get().await.map_err(Failed::finally)?,
        };
        let pace = match request.bucket {
            Bucket::Directory => None,
            Bucket::ConditionalAccess => Some(&shared.conditional_access),
            Bucket::KeyCredentials => Some(&shared.key_credentials),
            Bucket::Reports => Some(&shared.reports),
        };
        let turn = match pace {
            Some(pace) => Some(pace.turn(&*shared.clock).await),
            None => None,
        };
        let permit = shared.in_flight.acquire().await.expect("nobody closes the semaphore");
        if self.deadline.is_some_and(|deadline| shared.clock.now() >= deadline) {
            return Err(Failed::finally(Error::TimeLimit));
        }
        let answer = self.send(request, url, &token).await;
        drop(permit);
        if let Some(turn) = turn {
            turn.end(&*shared.clock);
        }
        self.judge(request, url, tries, token, answer?)
    }

    /// Sends one GET and reads the body, within the bounds.
    async fn send(&self, request: &Request, url: &Url, token: &Token) -> Result<Response, Failed> {
        let shared = &*self.shared;
        let unreachable = |error: reqwest::Error| Failed {
            error: Error::Unreachable { host: host_of(url), source: Some(error.without_url()) },
            next: Next::Wait(None),
        };
        let headers = headers(request, token).map_err(Failed::finally)?;
        self.meter.sent();
        let sent = shared.clock.now();
        let mut received = shared.http.get(url.clone()).headers(headers).send().await.map_err(unreachable)?;
        let mut response = Response::from_head(&received, path_and_query(url));
        response.retry_after = response
            .header_retry_after
            .as_deref()
            .and_then(|after| retry_after(after, response.date.as_deref(), shared.clock.now()));
        self.meter.charged(response.units);
        if let Some(date) = response.date.as_deref().and_then(parse_date) {
            self.meter.dated(date, sent, shared.clock.now());
        }
        let success = response.status == 200;
        let limit = if success { shared.limits.page_bytes } else { MAX_ERROR_BODY };
        if success && received.content_length().is_some_and(|length| length > limit as u64) {
            return Err(Failed::finally(Error::TooLarge { limit }));
        }
        loop {
            let chunk = match received.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(response),
                // The status of an error counts even where its body doesn't arrive.
                Err(_) if !success => {
                    response.cut = true;
                    return Ok(response);
                }
                Err(error) => return Err(unreachable(error)),
            };
            if response.body.len() + chunk.len() > limit {
                match success {
                    true => return Err(Failed::finally(Error::TooLarge { limit })),
                    false => return Ok(response),
                }
            }
            response.body.extend_from_slice(&chunk);
        }
    }

    /// Whether an answer is a success, and if not, what may help.
    fn judge(
        &self,
        request: &Request,
        url: &Url,
        tries: u32,
        token: Token,
        response: Response,
    ) -> Result<Response, Failed> {
        let status = response.status;
        if status == 200 {
            return Ok(response);
        }
        let body = ErrorBody::read(&response.body);
        let request_id = response.request_id.as_deref();
        if status == 401 {
            let refusal = body.refusal(status, request_id);
            let check = "Graph refuses the token: check that tenant and cloud belong together, and the clock";
            let claims = response.challenge.as_deref().and_then(claims_of);
            return Err(Failed { error: Error::Unauthorized { refusal, check }, next: Next::Renew { token, claims } });
        }
        let asked = Asked { permission: request.permission, select: &request.select, token: has_token(url), tries };
        let error = classify(status, &body, request_id, &asked);
        let next = match status {
            429 | 408 | 500.. if status != 501 => Next::Wait(response.retry_after),
            // Which property or licence a refusal is about stands in its body: half of one must not be acted upon.
            _ if response.cut => Next::Wait(response.retry_after),
            _ => Next::GiveUp,
        };
        tracing::debug!(status, code = %safe_code(&body.refusal(status, None).code), tries, "graph refused a request");
        Err(Failed { error, next })
    }

    /// The address of a request: ours for a path, the link's own where it stays within the configured origin.
    pub(super) fn resolve(&self, address: &str) -> Result<Url, Error> {
        let graph = &self.shared.graph;
        let url = match address.starts_with('/') && !address.starts_with("//") {
            true => joined(graph, address),
            false => Url::parse(address).ok(),
        };
        let url = url.ok_or(Error::ForeignLink)?;
        let ours = url.origin() == graph.origin() && url.username().is_empty() && url.password().is_none();
        if ours { Ok(url) } else { Err(Error::ForeignLink) }
    }
}

fn checked(limits: Limits) -> Result<Limits, Error> {
    let wrong = |option, reason| Err(Error::Options { option, reason });
    if limits.page_bytes == 0 || limits.page_bytes > MAX_PAGE_BYTES {
        return wrong("limits.page_bytes", "expected 1 to 67108864");
    }
    if limits.in_flight == 0 || limits.in_flight > 256 {
        return wrong("limits.in_flight", "expected 1 to 256");
    }
    if limits.tries == 0 || limits.pages == 0 || limits.request_timeout.is_zero() {
        return wrong("limits", "tries, pages and request_timeout must be at least 1");
    }
    Ok(limits)
}

fn http_client(limits: &Limits, graph: &Url, login: &Url) -> Result<reqwest::Client, Error> {
    // Whoever came first has installed one already; all of ours are the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let same_origin = redirect::Policy::custom(|attempt| {
        let from = attempt.previous().first().map(Url::origin);
        match from == Some(attempt.url().origin()) && attempt.previous().len() <= 3 {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    });
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
        .redirect(same_origin)
        .referer(false)
        .timeout(limits.request_timeout)
        .connect_timeout(limits.request_timeout.min(Duration::from_secs(30)))
        .https_only(graph.scheme() == "https" && login.scheme() == "https");
    if is_loopback(graph) && is_loopback(login) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|_| Error::Options { option: "graph_url", reason: "no TLS client can be built here" })
}

fn headers(request: &Request, token: &Token) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.secret.expose_secret())).map_err(|_| {
        let refusal = Refusal::default();
        Error::Unauthorized { refusal, check: "the login service gave a token that can't be sent" }
    })?;
    bearer.set_sensitive(true);
    headers.insert("authorization", bearer);
    headers.insert("accept", HeaderValue::from_static("application/json"));
    let id = uuid::Uuid::new_v4().to_string();
    headers.insert("client-request-id", HeaderValue::try_from(id).expect("a UUID is visible ASCII"));
    // Gives way to every other application of the tenant (learn, graph/throttling-limits): a backup can wait.
    headers.insert(HeaderName::from_static("x-ms-throttle-priority"), HeaderValue::from_static("low"));
    if request.unknown_enum_members {
        headers.insert("prefer", HeaderValue::from_static("include-unknown-enum-members"));
    }
    if request.eventual {
        headers.insert("consistencylevel", HeaderValue::from_static("eventual"));
    }
    Ok(headers)
}

/// The claims of a challenge, `claims="<base64 of JSON>"`, decoded. An undecodable challenge is none.
fn claims_of(challenge: &str) -> Option<String> {
    let (_, rest) = challenge.split_once("claims=\"")?;
    let (encoded, _) = rest.split_once('"')?;
    let encoded = encoded.trim_end_matches('=');
    let engines = [base64::engine::general_purpose::STANDARD_NO_PAD, base64::engine::general_purpose::URL_SAFE_NO_PAD];
    let decoded = engines.iter().find_map(|engine| engine.decode(encoded).ok())?;
    let text = String::from_utf8(decoded).ok()?;
    parse(text.as_bytes()).is_ok().then_some(text)
}
