//! One request for a token: what it says, and what its answer means.
//!
//! Must never know: what a token is used for, or how long it is kept.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use super::address::{host_of, joined, origin, token_host};
use super::certificate::Signer;
use super::classify::safe_code;
use super::credential::{Assertion, Credential, IdentityHost};
use super::error::{Error, Refusal};
use super::pace::{parse_date, retry_after};
use crate::canonical::{Json, Value, parse};
use crate::clock::Clock;

/// The largest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// The largest assertion that is read from a file.
const MAX_ASSERTION: u64 = 64 * 1024;

/// No token is kept for longer than this, whatever an answer says.
const LONGEST_LIFE: f64 = 7.0 * 86_400.0;

/// The instance metadata service is back within 70 seconds of saying 410 (learn, entra/identity/managed-identities-azure-
/// resources/how-to-use-vm-token): eight tries at this distance.
const UPDATING: Duration = Duration::from_secs(10);

/// Differences between the login service's clock and ours that an assertion's own leeway covers.
const LEEWAY: i64 = 60;

/// A failed try and, if another may help, how long the service asks to wait.
pub type Failed = (Error, Option<Option<Duration>>);

/// A token and how long it lives.
pub type Granted = (SecretString, Duration);

/// How tokens are asked for.
#[derive(Debug)]
pub struct SignIn {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    /// The login service's token endpoint.
    endpoint: Url,
    /// What the token is for, usually Graph: its origin.
    resource: String,
    credential: Credential,
    /// By how many seconds the login service's clock is ahead of ours, as last seen.
    ahead: AtomicI64,
}

/// What came back, read to its end.
struct Answer {
    status: u16,
    body: Vec<u8>,
    date: Option<Timestamp>,
    after: Option<Duration>,
    request_id: Option<String>,
}

impl SignIn {
    /// Tokens for `resource`, usually Graph, from the login service at `login` where the credential needs one.
    ///
    /// # Errors
    /// [`Error::Options`] for addresses that can't be used.
    pub fn new(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        (resource, login, tenant): (&Url, &Url, &str),
        credential: Credential,
    ) -> Result<SignIn, Error> {
        let endpoint = joined(login, &format!("/{tenant}/oauth2/v2.0/token"))
            .ok_or(Error::Options { option: "login_url", reason: "no address can be made from it" })?;
        // A token is for one Graph, named by its host (learn, graph/deployments); a configured one is that Graph.
        let resource = resource.as_str().trim_end_matches('/').to_owned();
        let sign_in = SignIn { http, clock, endpoint, resource, credential, ahead: AtomicI64::new(0) };
        match &sign_in.credential {
            Credential::ManagedIdentity { client_id, host } => drop(sign_in.local_address(host, client_id.as_deref())?),
            Credential::WorkloadIdentity { assertion: Assertion::GitHub { url, .. }, .. } => {
                drop(origin_of(url).ok_or(GITHUB_ADDRESS)?);
            }
            _ => {}
        }
        Ok(sign_in)
    }

    /// The credential's kind.
    pub fn kind(&self) -> &'static str {
        self.credential.kind()
    }

    /// Whether a claims challenge can be passed on: nobody answers them for a managed identity.
    pub fn answers_claims(&self) -> bool {
        !matches!(self.credential, Credential::ManagedIdentity { .. })
    }

    /// Asks once. `tries` is how often that makes.
    pub async fn try_once(&self, claims: Option<&str>, tries: u32) -> Result<Granted, Failed> {
        match &self.credential {
            Credential::ManagedIdentity { client_id, host } => self.ask_host(host, client_id.as_deref(), tries).await,
            _ => self.ask_login(claims, tries).await,
        }
    }

    async fn ask_login(&self, claims: Option<&str>, tries: u32) -> Result<Granted, Failed> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let now = self.clock.now().saturating_add(SignedDuration::from_secs(ahead)).unwrap_or(Timestamp::MAX);
        let form = self.form(claims, now).await?;
        let call = self.http.post(self.endpoint.clone()).form(&form);
        let answer = self.read(call, &self.endpoint).await?;
        let (refusal, granted) = answer.judged(self.clock.now());
        let learned = answer.date.map_or(ahead, |date| date.duration_since(self.clock.now()).as_secs());
        self.ahead.store(learned, Ordering::Relaxed);
        match answer.status {
            200 => granted.ok_or((NO_TOKEN, Some(None))),
            429 => Err((Error::Throttled { refusal, tries }, Some(answer.after))),
            408 | 500.. => Err((Error::Server { refusal, tries }, Some(answer.after))),
            _ => {
                // An assertion that was made for another time than the login service's deserves another try.
                let timed = matches!(self.credential, Credential::ClientCertificate { .. });
                let again = (timed && learned.abs_diff(ahead) > LEEWAY.unsigned_abs()).then_some(None);
                let check = what_to_check(self.kind(), &refusal.code);
                Err((Error::Unauthorized { refusal, check }, again))
            }
        }
    }

    /// Asks the machine or the platform. IMDS says 404, 410, 429 and 5xx while it is being updated or busy.
    async fn ask_host(&self, host: &IdentityHost, client_id: Option<&str>, tries: u32) -> Result<Granted, Failed> {
        let url = self.local_address(host, client_id).map_err(|error| (error, None))?;
        let call = self.http.get(url.clone());
        let call = match host {
            IdentityHost::Machine { .. } => call.header("metadata", "true"),
            IdentityHost::AppService { secret, .. } => call.header("x-identity-header", secret.expose_secret()),
        };
        let answer = self.read(call, &url).await?;
        let (refusal, granted) = answer.judged(self.clock.now());
        match answer.status {
            200 => granted.ok_or((NO_TOKEN, Some(None))),
            429 => Err((Error::Throttled { refusal, tries }, Some(answer.after))),
            410 => Err((Error::Server { refusal, tries }, Some(answer.after.or(Some(UPDATING))))),
            404 | 408 | 500.. => Err((Error::Server { refusal, tries }, Some(answer.after))),
            _ => {
                let check =
                    "there is no such managed identity here: assign one to this machine or app, or check client_id";
                Err((Error::Unauthorized { refusal, check }, None))
            }
        }
    }

    fn local_address(&self, host: &IdentityHost, client_id: Option<&str>) -> Result<Url, Error> {
        let wrong = Error::Options {
            option: "credential.identity_url",
            reason: "expected https, or http to this machine or a link-local address",
        };
        let (base, version) = match host {
            IdentityHost::Machine { url } => {
                let base = url.as_deref().unwrap_or(IdentityHost::METADATA_URL).trim_end_matches('/');
                (format!("{base}/metadata/identity/oauth2/token"), "2018-02-01")
            }
            IdentityHost::AppService { url, .. } => (url.clone(), "2019-08-01"),
        };
        let Some(mut url) = token_host(&base) else { return Err(wrong) };
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", &self.resource);
        if let Some(client_id) = client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        Ok(url)
    }

    async fn read(&self, call: RequestBuilder, url: &Url) -> Result<Answer, Failed> {
        let unreachable = |error: reqwest::Error| {
            (Error::Unreachable { host: host_of(url), source: Some(error.without_url()) }, Some(None))
        };
        let mut response = call.header("accept", "application/json").send().await.map_err(unreachable)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let date = header("date");
        let after = header("retry-after").and_then(|after| retry_after(&after, date.as_deref(), self.clock.now()));
        let request_id = header("x-ms-request-id").map(|id| safe_code(&id));
        let (status, date) = (response.status().as_u16(), date.as_deref().and_then(parse_date));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err((Error::TooLarge { limit: MAX_ANSWER }, None));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body, date, after, request_id })
    }

    /// The form of learn, entra/identity-platform/v2-oauth2-client-creds-grant-flow. `now` is by the login service's clock.
    async fn form(&self, claims: Option<&str>, now: Timestamp) -> Result<Vec<(&'static str, String)>, Failed> {
        let finally = |error| (error, None);
        let scope = format!("{}/.default", self.resource);
        let mut form = vec![("grant_type", "client_credentials".to_owned()), ("scope", scope)];
        let (client_id, assertion) = match &self.credential {
            Credential::ClientSecret { client_id, secret } => {
                form.push(("client_secret", secret.expose_secret().trim().to_owned()));
                (client_id, None)
            }
            Credential::ClientCertificate { client_id, certificate, key } => {
                let signer = Signer::load(certificate, key.as_deref(), now).map_err(finally)?;
                let assertion = signer.assertion(self.endpoint.as_str(), client_id, now).map_err(finally)?;
                (client_id, Some(assertion))
            }
            Credential::WorkloadIdentity { client_id, assertion } => {
                let assertion = match assertion {
                    Assertion::File(path) => read_assertion(path).map_err(finally)?,
                    Assertion::GitHub { url, token } => self.ask_github(url, token).await?,
                };
                (client_id, Some(assertion))
            }
            Credential::ManagedIdentity { .. } => unreachable!("a managed identity asks no login service"),
        };
        form.push(("client_id", client_id.clone()));
        if let Some(assertion) = assertion {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            form.push(("client_assertion_type", kind.to_owned()));
            form.push(("client_assertion", assertion));
        }
        if let Some(claims) = claims {
            form.push(("claims", claims.to_owned()));
        }
        Ok(form)
    }

    async fn ask_github(&self, url: &str, token: &SecretString) -> Result<String, Failed> {
        let mut url = origin_of(url).ok_or((GITHUB_ADDRESS, None))?;
        url.query_pairs_mut().append_pair("audience", "api://AzureADTokenExchange");
        let answer = self.read(self.http.get(url.clone()).bearer_auth(token.expose_secret()), &url).await?;
        let (refusal, _) = answer.judged(self.clock.now());
        match answer.status {
            200 => {
                let json = parse(&answer.body).ok();
                let value = json.as_ref().and_then(|json| json.text("value"));
                value.map(str::to_owned).ok_or((NO_TOKEN, Some(None)))
            }
            429 | 408 | 500.. => Err((Error::Server { refusal, tries: 1 }, Some(answer.after))),
            _ => {
                let check = "GitHub gives no assertion: does the job have the permission id-token: write?";
                Err((Error::Unauthorized { refusal, check }, None))
            }
        }
    }
}

const NO_TOKEN: Error = Error::BadResponse { status: 200, what: "a token answer without a token" };

const GITHUB_ADDRESS: Error =
    Error::Options { option: "ACTIONS_ID_TOKEN_REQUEST_URL", reason: "expected an address that begins with https://" };

/// An address with path and query whose origin may be called.
fn origin_of(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    origin("url", &url.origin().ascii_serialization()).is_ok().then_some(url)
}

fn read_assertion(path: &Path) -> Result<String, Error> {
    let wrong = |reason| Error::Options { option: "credential.assertion_file", reason };
    let length = std::fs::metadata(path).map_err(|_| wrong("the file can't be read"))?.len();
    if length > MAX_ASSERTION {
        return Err(wrong("the file is too large for an assertion"));
    }
    let text = std::fs::read_to_string(path).map_err(|_| wrong("the file can't be read"))?;
    match text.trim() {
        "" => Err(wrong("the file is empty")),
        text => Ok(text.to_owned()),
    }
}

impl Answer {
    /// The refusal that it is, and the token that it has.
    fn judged(&self, now: Timestamp) -> (Refusal, Option<Granted>) {
        let json = parse(&self.body).ok();
        let (code, request_id) = (error_code(json.as_ref()), self.request_id.clone());
        let granted = json.as_ref().and_then(|json| token_of(json, self.date.unwrap_or(now)));
        (Refusal { status: self.status, code, request_id }, granted)
    }
}

/// The token of an answer and how long it lives. `expires_in` is a number, from some endpoints a text; App Service says
/// `expires_on` alone, in seconds since 1970, which is read against `now` by the clock of whoever says it.
fn token_of(json: &Json<'_>, now: Timestamp) -> Option<Granted> {
    let token = json.text("access_token").filter(|token| !token.is_empty())?;
    // A token that can't be a header's value would make every request fail for a reason that is hard to see.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let seconds = |name| match &json.get(name)?.value {
        Value::Number(number) => number.parse::<f64>().ok(),
        Value::String(text) => text.as_str()?.trim().parse::<f64>().ok(),
        _ => None,
    };
    let life = seconds("expires_in").or_else(|| Some(seconds("expires_on")? - now.as_second() as f64))?;
    if life.is_nan() {
        return None;
    }
    let life = Duration::try_from_secs_f64(life.clamp(0.0, LONGEST_LIFE)).ok()?;
    Some((SecretString::from(token.to_owned()), life))
}

/// `AADSTS<number>` where the login service gives one, since that says most; else its `error`.
fn error_code(json: Option<&Json<'_>>) -> String {
    let Some(json) = json else { return String::new() };
    let number = json.get("error_codes").and_then(Json::elements).and_then(|codes| codes.first());
    match number.map(|number| &number.value) {
        Some(Value::Number(number)) => safe_code(&format!("AADSTS{number}")),
        _ => json.text("error").map(safe_code).unwrap_or_default(),
    }
}

/// Numbers: learn, entra/identity-platform/reference-error-codes. They are for people; nothing is decided by them.
fn what_to_check(kind: &str, code: &str) -> &'static str {
    match (code, kind) {
        ("AADSTS7000215", _) | ("invalid_client", "client_secret") => {
            "the client secret is wrong: is it the secret's value, not its id?"
        }
        ("AADSTS7000222", "client_certificate") => "the certificate has expired: upload a new one",
        ("AADSTS7000222", _) => "the client secret has expired: make a new one",
        ("AADSTS700027" | "invalid_client", "client_certificate") => {
            "the app registration doesn't know this certificate: upload its public half there"
        }
        ("AADSTS700016" | "unauthorized_client", _) => {
            "this tenant doesn't know the client id: check tenant, cloud and client id"
        }
        ("AADSTS90002" | "AADSTS900023", _) => "there is no such tenant in this cloud: check tenant and cloud",
        ("AADSTS70011" | "AADSTS500011" | "invalid_scope" | "invalid_resource", _) => {
            "the scope is refused: check that cloud and tenant belong together"
        }
        ("AADSTS700024" | "AADSTS700021", "client_certificate") => "the assertion is out of its time: check the clock",
        ("AADSTS700024" | "AADSTS700021" | "AADSTS70021" | "AADSTS700213" | "AADSTS700211" | "AADSTS700212", _) => {
            "the outside token doesn't match: check issuer, subject and audience of the federated credential, and the clock"
        }
        ("AADSTS53003", _) => "a Conditional Access policy for workload identities blocks this client",
        _ => "check tenant, client id, credential and cloud",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_usable_token() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let token = |source: &str| token_of(&parse(source.as_bytes()).unwrap(), now).map(|(_, life)| life.as_secs());
        assert_eq!(token(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"ey.x.y"}"#), Some(3599));
        assert_eq!(token(r#"{"expires_in":"3599","access_token":"e"}"#), Some(3599));
        assert_eq!(token(r#"{"expires_in":1e99,"access_token":"e"}"#), Some(7 * 86_400));
        assert_eq!(token(r#"{"expires_in":-5,"access_token":"e"}"#), Some(0));
        assert_eq!(token(r#"{"expires_on":1800000060,"access_token":"e"}"#), Some(60));
        assert_eq!(token(r#"{"expires_on":"1800000060","access_token":"e"}"#), Some(60));
        assert_eq!(token(r#"{"expires_in":"7","expires_on":"1800000060","access_token":"e"}"#), Some(7));
        for source in [
            "{}",
            r#"{"expires_in":1}"#,
            r#"{"access_token":"a\nb","expires_in":1}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","expires_in":"NaN"}"#,
        ] {
            assert_eq!(token(source), None, "{source}");
        }
    }

    #[test]
    fn the_login_service_s_number_is_the_code() {
        let code = |source: &str| error_code(parse(source.as_bytes()).ok().as_ref());
        assert_eq!(code(r#"{"error":"invalid_client","error_codes":[7000215]}"#), "AADSTS7000215");
        assert_eq!(code(r#"{"error":"invalid_client"}"#), "invalid_client");
        assert_eq!(code("<html>"), "");
        assert!(what_to_check("client_secret", "AADSTS7000222").contains("secret has expired"));
        assert!(what_to_check("client_certificate", "AADSTS700027").contains("upload"));
    }
}
