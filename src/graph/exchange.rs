//! One request until it is answered for good: its token, its turn, its tries, and what may help after a failure.
//!
//! Must never know: what the answer means, or who asks.

use std::time::Duration;

use base64::Engine as _;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::ExposeSecret;

use super::address::{has_token, host_of, path_and_query};
use super::batch::Envelope;
use super::budget::{Charge, estimate};
use super::classify::{Asked, ErrorBody, classify, safe_code};
use super::error::{Error, Refusal};
use super::pace::{Tries, parse_date, retry_after};
use super::reader::Reader;
use super::request::{Bucket, Request};
use super::response::Response;
use super::tokens::Token;
use crate::canonical::parse;

/// The largest error body that is read; what is longer has no code.
const MAX_ERROR_BODY: usize = 1024 * 1024;

/// How often one request answers a 401 with another token: once for the token's age, once per claims challenge.
const RENEWALS: usize = 3;

/// How a try failed.
#[derive(Debug)]
pub struct Failed {
    /// What to say if nothing helps.
    pub error: Error,
    /// What may help.
    pub next: Next,
}

/// What may help.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    GiveUp,
    /// Trying again, after as long as the service asks for.
    Wait(Option<Duration>),
    /// Another token than the refused one, with the claims that the challenge asks for.
    Renew {
        /// Which token was refused.
        generation: u64,
        /// The claims, decoded.
        claims: Option<String>,
    },
}

impl Failed {
    fn finally(error: Error) -> Self {
        Failed { error, next: Next::GiveUp }
    }
}

/// The challenges that one request has answered with another token.
#[derive(Debug, Default)]
pub struct Challenges(Vec<Option<String>>);

impl Challenges {
    /// Whether another token may help against this challenge: the same answer to another token isn't about the token's
    /// age, or about claims that it lacked.
    pub fn may_answer(&self, claims: Option<&String>) -> bool {
        self.0.len() < RENEWALS && !self.0.iter().any(|answered| answered.as_ref() == claims)
    }

    /// Notes that it was answered.
    pub fn answered(&mut self, claims: Option<String>) {
        self.0.push(claims);
    }
}

impl Reader {
    /// Sends `request`, or the batch that `envelope` holds, until `take` accepts an answer or nothing helps any more.
    /// `tries` counts along, so that whoever sends several for one purpose stays within the bounds of one.
    pub(super) async fn exchange<T>(
        &self,
        request: &Request,
        envelope: Option<&Envelope>,
        tries: &mut Tries,
        mut take: impl FnMut(&Response) -> Result<T, &'static str>,
    ) -> Result<(Response, T), Error> {
        let url = self.resolve(&request.address)?;
        let shared = &*self.shared;
        let mut challenges = Challenges::default();
        let mut token = None;
        loop {
            let made = tries.begin();
            let failed = match self.try_once(request, envelope, &url, made, token.take()).await {
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
                Next::Renew { claims, .. } if !challenges.may_answer(claims.as_ref()) => return Err(failed.error),
                Next::Renew { generation, claims } => {
                    token = Some(shared.tokens.renew(generation, claims.as_deref(), self.deadline).await?);
                    challenges.answered(claims);
                }
                Next::Wait(after) => {
                    let Some(wait) = tries.next_wait(&shared.limits, after) else { return Err(failed.error) };
                    if after.is_some() && request.bucket.shares_units() {
                        shared.hold.set(shared.clock.now(), wait);
                    }
                    self.sleep(wait).await?;
                }
            }
        }
    }

    async fn try_once(
        &self,
        request: &Request,
        envelope: Option<&Envelope>,
        url: &Url,
        tries: u32,
        token: Option<Token>,
    ) -> Result<Response, Failed> {
        let shared = &*self.shared;
        let estimated = envelope.map_or_else(|| estimate(&request.address), Envelope::units);
        if request.bucket.shares_units() {
            if let Some(wait) = shared.hold.wait(shared.clock.now(), shared.limits.longest_wait) {
                self.sleep(wait).await.map_err(Failed::finally)?;
            }
            while let Some(wait) = shared.budget.spend(shared.clock.now(), estimated) {
                self.sleep(wait).await.map_err(Failed::finally)?;
            }
        }
        // The token is had before the turn is taken: asking for one may take a while.
        let token = match token {
            Some(token) => token,
            None => shared.tokens.get(self.deadline).await.map_err(Failed::finally)?,
        };
        let pace = match request.bucket {
            Bucket::Directory => None,
            Bucket::ConditionalAccess => Some(&shared.conditional_access),
            Bucket::KeyCredentials => Some(&shared.key_credentials),
            Bucket::Reports => Some(&shared.reports),
        };
        let turn = match pace {
            Some(pace) => Some(pace.turn(&*shared.clock, self.deadline).await.map_err(Failed::finally)?),
            None => None,
        };
        let permit = shared.in_flight.acquire().await.expect("nobody closes the semaphore");
        if self.deadline.is_some_and(|deadline| shared.clock.now() >= deadline) {
            return Err(Failed::finally(Error::TimeLimit));
        }
        let answer = self.send(request, envelope, url, &token).await;
        drop(permit);
        drop(turn);
        let mut response = answer?;
        response.generation = token.generation;
        if request.bucket.shares_units() {
            // The parts of a batch that was answered have prices of their own.
            let units = response.charge.units.filter(|_| envelope.is_none());
            shared.budget.learn(shared.clock.now(), estimated, Charge { units, ..response.charge });
        }
        judge(request, has_token(url), tries, response)
    }

    /// Sends one GET, or the POST of a batch of them, and reads the body, within the bounds.
    async fn send(
        &self,
        request: &Request,
        envelope: Option<&Envelope>,
        url: &Url,
        token: &Token,
    ) -> Result<Response, Failed> {
        let shared = &*self.shared;
        let unreachable = |error: reqwest::Error| Failed {
            error: Error::Unreachable { host: host_of(url), source: Some(error.without_url()) },
            next: Next::Wait(None),
        };
        let headers = headers(request, token).map_err(Failed::finally)?;
        let call = match envelope {
            None => {
                self.meter.sent();
                shared.http.get(url.clone())
            }
            Some(envelope) => {
                self.meter.sent_batch(envelope.parts());
                let call = shared.http.post(url.clone()).header("content-type", "application/json");
                call.body(envelope.text().to_owned())
            }
        };
        let sent = shared.clock.now();
        let mut received = call.headers(headers).send().await.map_err(unreachable)?;
        let mut response = Response::from_head(&received, path_and_query(url));
        response.retry_after = response
            .header_retry_after
            .as_deref()
            .and_then(|after| retry_after(after, response.date.as_deref(), shared.clock.now()));
        // What a batch costs is what its parts cost.
        if envelope.is_none() {
            self.meter.charged(response.units);
        }
        if response.status == 429 {
            self.meter.turned_away();
        }
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
}

/// Whether the answer to `request` is a success, and if not, what may help. `token`: its address holds a page or delta
/// token. The parts of a batch are judged by this too, each alone.
pub fn judge(request: &Request, token: bool, tries: u32, response: Response) -> Result<Response, Failed> {
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
        let next = Next::Renew { generation: response.generation, claims };
        return Err(Failed { error: Error::Unauthorized { refusal, check }, next });
    }
    let asked = Asked { permission: request.permission, select: &request.select, token, tries };
    let error = classify(status, &body, request_id, &asked);
    let next = match status {
        429 | 408 | 424 | 500.. if status != 501 => Next::Wait(response.retry_after),
        // Which property or licence a refusal is about stands in its body: half of one must not be acted upon.
        _ if response.cut => Next::Wait(response.retry_after),
        _ => Next::GiveUp,
    };
    tracing::debug!(status, code = %safe_code(&body.refusal(status, None).code), tries, "graph refused a request");
    Err(Failed { error, next })
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
    for (name, value) in request.headers() {
        headers.insert(name, HeaderValue::from_static(value));
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
