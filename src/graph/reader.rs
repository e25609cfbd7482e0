//! The reading client: what is shared by all requests, and what can be asked.
//!
//! Must never know: what the answers mean. It sends nothing but GET, alone or as the parts of a batch.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Url, redirect};
use tokio::sync::Semaphore;

use super::address::{has_dots, is_loopback, joined, origin};
use super::budget::Budget;
use super::credential::Credential;
use super::error::Error;
use super::meter::Meter;
use super::options::{Limits, MAX_PAGE_BYTES, Options};
use super::pace::{self, Hold, Pace, Tries};
use super::pages::Pages;
use super::request::Request;
use super::response::Response;
use super::sign_in::SignIn;
use super::tokens::{Identity, Tokens};
use super::wire::{AN_ERROR, Page, is_error, without_mark};
use crate::canonical::{Json, parse};
use crate::clock::Clock;

/// A client of one tenant's Graph that can only read. Clones share connections, token, limits and counts.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) meter: Arc<Meter>,
    pub(super) deadline: Option<Timestamp>,
}

/// What clones of a [`Reader`] share.
#[derive(Debug)]
pub struct Shared {
    pub(super) http: reqwest::Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) graph: Url,
    pub(super) tokens: Tokens,
    pub(super) limits: Limits,
    pub(super) in_flight: Semaphore,
    pub(super) budget: Budget,
    pub(super) conditional_access: Pace,
    pub(super) key_credentials: Pace,
    pub(super) reports: Pace,
    pub(super) hold: Hold,
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
        let http = http_client(&limits, &graph, &login)?;
        let local = matches!(options.credential, Credential::ManagedIdentity { .. });
        let login_http = if local { local_client(&limits)? } else { http.clone() };
        let hosts = (&graph, &login, options.tenant.as_str());
        let sign_in = SignIn::new(login_http, clock.clone(), hosts, options.credential)?;
        let tokens = Tokens::new(sign_in, clock.clone(), limits.clone());
        let shared = Shared {
            http,
            budget: Budget::new(limits.units_per_10s, clock.now()),
            clock,
            graph,
            tokens,
            in_flight: Semaphore::new(limits.in_flight),
            conditional_access: Pace::new(Duration::from_secs(1), 1),
            key_credentials: Pace::new(Duration::from_millis(500), 30),
            reports: Pace::new(Duration::from_secs(2), 1),
            hold: Hold::default(),
            limits,
        };
        Ok(Reader { shared: Arc::new(shared), meter: Arc::default(), deadline: None })
    }

    /// The same client with a meter of its own, for one run or operation; ours counts along.
    pub fn metered(&self) -> Reader {
        Reader { meter: Arc::new(Meter::within(&self.meter)), ..self.clone() }
    }

    /// The same client, which gives up at `deadline` and then says [`Error::TimeLimit`], whatever it is doing: waiting to
    /// be let in, for a token, between tries, or for the rest of a body. A wait that would end after it isn't begun.
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
        self.within(self.shared.tokens.get(self.deadline)).await?.map(drop)
    }

    /// The application permissions that the token says it has, sorted; `None` where the token can't be read. What Graph
    /// allows is Graph's word alone: this is for hints.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn granted(&self) -> Result<Option<Vec<String>>, Error> {
        Ok(self.within(self.shared.tokens.get(self.deadline)).await??.roles())
    }

    /// Who the token says we are.
    ///
    /// # Errors
    /// Why there is no token.
    pub async fn identity(&self) -> Result<Identity, Error> {
        let tokens = &self.shared.tokens;
        Ok(self.within(tokens.get(self.deadline)).await??.identity(tokens.kind()))
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
        self.ask(request, |response| {
            if !response.content_type.to_ascii_lowercase().contains("json") {
                return Err("another content type than JSON");
            }
            let json = parse(without_mark(&response.body)).map_err(|_| "a body that is no JSON, or ends too early")?;
            match is_error(&json) {
                true => Err(AN_ERROR),
                false => take(response, json),
            }
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
        self.ask(request, read).await.map(|(_, count)| count)
    }

    /// A walk over the pages that begin at `request`.
    pub fn pages(&self, request: Request) -> Pages<'_> {
        Pages::from(self, request)
    }

    /// Sends one GET until it is answered for good, or the deadline comes.
    async fn ask<T>(
        &self,
        request: &Request,
        take: impl FnMut(&Response) -> Result<T, &'static str>,
    ) -> Result<(Response, T), Error> {
        self.within(self.exchange(request, None, &mut Tries::default(), take)).await?
    }

    /// Runs `work` until the deadline.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        pace::within(&*self.shared.clock, self.deadline, work).await
    }

    /// Sleeps, unless the deadline comes first.
    pub(super) async fn sleep(&self, wait: Duration) -> Result<(), Error> {
        pace::sleep(&*self.shared.clock, wait, self.deadline).await
    }

    /// The address of a request: ours for a path, the link's own where it stays within the configured origin. A path with
    /// an id of dots (`..`, which no escaping helps) would be another path.
    pub(super) fn resolve(&self, address: &str) -> Result<Url, Error> {
        let graph = &self.shared.graph;
        let url = match address.starts_with('/') && !address.starts_with("//") {
            true if has_dots(address) => None,
            true => joined(graph, address),
            false => Url::parse(address).ok(),
        };
        let url = url.ok_or(Error::ForeignLink)?;
        let ours = url.origin() == graph.origin() && url.username().is_empty() && url.password().is_none();
        if ours { Ok(url) } else { Err(Error::ForeignLink) }
    }
}

pub(super) fn checked(limits: Limits) -> Result<Limits, Error> {
    let wrong = |option, reason| Err(Error::Options { option, reason });
    if limits.page_bytes == 0 || limits.page_bytes > MAX_PAGE_BYTES {
        return wrong("limits.page_bytes", "expected 1 to 67108864");
    }
    if limits.in_flight == 0 || limits.in_flight > 256 {
        return wrong("limits.in_flight", "expected 1 to 256");
    }
    if !(20..=1_000_000).contains(&limits.units_per_10s) {
        return wrong("limits.units_per_10s", "expected 20 to 1000000");
    }
    if limits.tries == 0 || limits.pages == 0 || limits.request_timeout.is_zero() {
        return wrong("limits", "tries, pages and request_timeout must be at least 1");
    }
    Ok(limits)
}

pub(super) fn http_client(limits: &Limits, graph: &Url, login: &Url) -> Result<reqwest::Client, Error> {
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

/// The client that asks for the tokens of a managed identity: nearby, by no proxy, and by no redirect.
pub(super) fn local_client(limits: &Limits) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(limits.request_timeout)
        .connect_timeout(limits.request_timeout.min(Duration::from_secs(5)))
        .no_proxy();
    builder.build().map_err(|_| Error::Options { option: "credential", reason: "no client can be built here" })
}
