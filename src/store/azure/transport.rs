//! One request to the account until it is answered: signed, bounded in time and size, tried again a few times.
//!
//! Must never know: what is asked, or what the answer means beyond whether another try may help.
//!
//! The client library gets this in place of its own HTTP client, so that tokens and signatures never pass through it and
//! can stand in none of its errors and logs, every wait goes by our clock, and TLS is the one that the rest of the crate
//! uses. Bodies are read whole here: one that breaks off is a failed try, not a short blob.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, Request, Url};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use secrecy::ExposeSecret;

use super::access::{Access, Token};
use crate::clock::Clock;

/// Tries of one request, the first included. Callers try again above us: see [`crate::store::put_new`].
const TRIES: u32 = 3;

/// The first wait between two tries; later ones are four times as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait between two tries, whatever the account asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Real time of one try, from connecting to the last byte; a second more for each of [`SLOWEST`] bytes sent.
const TRY_TIME: Duration = Duration::from_secs(60);

/// Bytes a second below which a connection counts as broken.
const SLOWEST: u64 = 512 * 1024;

/// The largest answer. A part of a blob is at most [`super::PART`], a page of a listing some megabytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Sends requests to one origin, as one identity.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    access: Access,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HashMap<HeaderName, HeaderValue>,
    body: Bytes,
    after: Option<Duration>,
}

impl Transport {
    /// For the account at `origin`, which decides whether anything but https is spoken.
    pub fn new(origin: &Url, access: Access, clock: Arc<dyn Clock>) -> Result<Transport, Error> {
        // Whoever came first has installed one already; all of ours are the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_gzip()
            .connect_timeout(Duration::from_secs(10))
            .https_only(origin.scheme() == "https");
        if is_loopback(origin) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|_| Error::with_message(ErrorKind::Other, "no TLS client can be built"))?;
        Ok(Transport { http, clock, access })
    }

    async fn try_once(&self, request: &Request, token: Option<&Token>) -> Result<Answer, Error> {
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            Body::SeekableStream(_) => return Err(Error::with_message(ErrorKind::Other, "only bytes are ever sent")),
        };
        let mut url = request.url().clone();
        if let Access::Signature(signature) = &self.access {
            let signature = signature.query().map_err(no_access)?;
            let query = match url.query() {
                Some(query) if !query.is_empty() => format!("{query}&{}", signature.expose_secret()),
                _ => signature.expose_secret().to_owned(),
            };
            url.set_query(Some(&query));
        }
        let allowed = TRY_TIME + Duration::from_secs(body.len() as u64 / SLOWEST);
        let mut call = self.http.request(method(request.method())?, url).timeout(allowed);
        for (name, value) in request.headers().iter() {
            call = call.header(name.as_str(), value.as_str());
        }
        if let Some(token) = token {
            call = call.bearer_auth(token.secret.expose_secret());
        }
        // The client library sends no checksum with a blob; with this one the account refuses what was damaged on the way.
        if request.headers().get_optional_str(&HeaderName::from_static("x-ms-blob-type")).is_some() {
            call = call.header("content-md5", STANDARD.encode(Md5::digest(&body)));
        }
        let mut response = call.body(body).send().await.map_err(broken)?;
        let status = response.status().as_u16();
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let after = text("retry-after").and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let headers: HashMap<HeaderName, HeaderValue> = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned().into(), value.to_str().ok()?.to_owned().into())))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Error::with_message(
                    ErrorKind::Other,
                    "the answer is larger than anything that was asked for",
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.into(), after })
    }

    /// A token, where that is how requests are signed.
    async fn token(&self, refused: Option<u64>) -> Result<Option<Token>, Error> {
        match &self.access {
            Access::Tokens(source) => source.token(refused).await.map(Some).map_err(no_access),
            Access::Signature(_) => Ok(None),
        }
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut token = self.token(None).await?;
        let (mut made, mut renewed) = (0, false);
        loop {
            made += 1;
            let tried = self.try_once(request, token.as_ref()).await;
            let after = match &tried {
                Ok(answer) if answer.status == 401 && token.is_some() && !renewed => {
                    // A token may end before its time: revoked, or by a clock that is wrong.
                    (renewed, made) = (true, made - 1);
                    token = self.token(token.map(|token| token.generation)).await?;
                    continue;
                }
                Ok(answer) if matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504) => answer.after,
                Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection) => None,
                _ => {
                    made = TRIES;
                    None
                }
            };
            if made >= TRIES {
                let Answer { status, headers, body, .. } = tried?;
                return Ok(AsyncRawResponse::from_bytes(status.into(), Headers::from(headers), body));
            }
            let wait = after.unwrap_or(FIRST_WAIT * 4u32.pow(made - 1)).min(LONGEST_WAIT);
            tracing::debug!(made, wait_s = wait.as_secs_f32(), "the storage account is asked again");
            self.clock.sleep(wait).await;
        }
    }
}

/// The methods that are ever sent.
fn method(method: Method) -> Result<reqwest::Method, Error> {
    match method {
        Method::Delete => Ok(reqwest::Method::DELETE),
        Method::Get => Ok(reqwest::Method::GET),
        Method::Head => Ok(reqwest::Method::HEAD),
        Method::Put => Ok(reqwest::Method::PUT),
        _ => Err(Error::with_message(ErrorKind::Other, "a store neither posts nor patches")),
    }
}

/// An address may hold a signature, so it is cut out.
fn broken(error: reqwest::Error) -> Error {
    let kind = if error.is_connect() { ErrorKind::Connection } else { ErrorKind::Io };
    Error::with_error(kind, error.without_url(), "the request broke off")
}

fn no_access(error: super::access::NoAccess) -> Error {
    Error::new(ErrorKind::Credential, error)
}

/// Whether the host is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
