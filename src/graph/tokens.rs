//! Access tokens: asked for at the login service, kept until shortly before they end, renewed when Graph won't take one.
//!
//! Must never know: what a token is used for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::address::host_of;
use super::classify::safe_code;
use super::error::{Error, Refusal};
use super::options::{Credential, Limits};
use super::pace::{Tries, retry_after, sleep};
use crate::canonical::{Json, Value, parse};
use crate::clock::Clock;

/// A token is renewed this long before it ends, or a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(300);

/// The largest answer of the login service that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// An access token and which of ours it is.
#[derive(Debug, Clone)]
pub struct Token {
    pub(super) secret: Arc<SecretString>,
    pub(super) generation: u64,
}

impl Token {
    /// The `roles` claim: the application permissions granted. The token is Graph's to read, not ours, so that nothing
    /// may depend on it.
    pub fn roles(&self) -> Option<Vec<String>> {
        let payload = self.secret.expose_secret().split('.').nth(1)?;
        let payload = payload.trim_end_matches('=');
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims = parse(&payload).ok()?;
        claims.members()?;
        let roles = claims.get("roles").and_then(Json::elements).unwrap_or_default();
        let mut roles: Vec<_> = roles.iter().filter_map(Json::as_str).map(safe_code).collect();
        roles.sort_unstable();
        Some(roles)
    }
}

#[derive(Debug)]
struct Held {
    token: Token,
    from: Timestamp,
    renew_at: Timestamp,
}

/// Where tokens come from. One request at a time: everybody who needs a token waits for the same one.
#[derive(Debug)]
pub struct Tokens {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    endpoint: Url,
    scope: String,
    credential: Credential,
    limits: Limits,
    held: Mutex<(u64, Option<Held>)>,
}

/// A failed try and, if another may help, how long the service asks to wait.
type Failed = (Error, Option<Option<Duration>>);

impl Tokens {
    /// Tokens of `endpoint` for `scope`.
    pub fn new(
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        endpoint: Url,
        scope: String,
        credential: Credential,
        limits: Limits,
    ) -> Self {
        Tokens { http, clock, endpoint, scope, credential, limits, held: Mutex::new((0, None)) }
    }

    /// A token that is good for a while yet.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] with what to check, or what kept the login service from answering.
    pub async fn get(&self, deadline: Option<Timestamp>) -> Result<Token, Error> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        // Before `from`: the clock was set back, and nothing is known about the token's age.
        if let Some(known) = held.1.as_ref().filter(|known| known.from <= now && now < known.renew_at) {
            return Ok(known.token.clone());
        }
        self.ask(&mut held, None, deadline).await
    }

    /// A token other than that of generation `refused`, which Graph answered with 401; `claims` is what its challenge asks
    /// for, decoded.
    ///
    /// # Errors
    /// As [`Tokens::get`].
    pub async fn renew(&self, refused: u64, claims: Option<&str>, deadline: Option<Timestamp>) -> Result<Token, Error> {
        let mut held = self.held.lock().await;
        if let Some(known) = held.1.as_ref().filter(|known| known.token.generation != refused) {
            return Ok(known.token.clone());
        }
        self.ask(&mut held, claims, deadline).await
    }

    async fn ask(
        &self,
        held: &mut (u64, Option<Held>),
        claims: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Token, Error> {
        held.1 = None;
        let mut tries = Tries::default();
        let (secret, life) = loop {
            let made = tries.begin();
            match self.try_once(claims, made).await {
                Ok(answer) => break answer,
                Err((error, None)) => return Err(error),
                Err((error, Some(after))) => match tries.next_wait(&self.limits, after) {
                    Some(wait) => sleep(&*self.clock, wait, deadline).await?,
                    None => return Err(error),
                },
            }
        };
        held.0 += 1;
        let token = Token { secret: Arc::new(secret), generation: held.0 };
        let from = self.clock.now();
        let renew_at = from.saturating_add(life - MARGIN.min(life / 10)).unwrap_or(Timestamp::MAX);
        held.1 = Some(Held { token: token.clone(), from, renew_at });
        tracing::debug!(life_s = life.as_secs(), generation = held.0, "access token obtained");
        Ok(token)
    }

    async fn try_once(&self, claims: Option<&str>, tries: u32) -> Result<(SecretString, Duration), Failed> {
        let form = self.form(claims).map_err(|error| (error, None))?;
        let unreachable = |error: reqwest::Error| {
            (Error::Unreachable { host: host_of(&self.endpoint), source: Some(error.without_url()) }, Some(None))
        };
        let sent = self.http.post(self.endpoint.clone()).form(&form).header("accept", "application/json").send().await;
        let mut response = sent.map_err(unreachable)?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let after =
            header("retry-after").and_then(|after| retry_after(&after, header("date").as_deref(), self.clock.now()));
        let request_id = header("x-ms-request-id").map(|id| safe_code(&id));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err((Error::TooLarge { limit: MAX_ANSWER }, None));
            }
            body.extend_from_slice(&chunk);
        }
        let json = parse(&body).ok();
        let refusal = Refusal { status, code: error_code(json.as_ref()), request_id };
        match status {
            200 => match json.as_ref().and_then(token_of) {
                Some(answer) => Ok(answer),
                None => Err((Error::BadResponse { status, what: "a token answer without a token" }, Some(None))),
            },
            429 => Err((Error::Throttled { refusal, tries }, Some(after))),
            408 | 500.. => Err((Error::Server { refusal, tries }, Some(after))),
            _ => {
                let check = what_to_check(&refusal.code);
                Err((Error::Unauthorized { refusal, check }, None))
            }
        }
    }

    /// The form of learn, entra/identity-platform/v2-oauth2-client-creds-grant-flow.
    fn form(&self, claims: Option<&str>) -> Result<Vec<(&'static str, String)>, Error> {
        let mut form = vec![("grant_type", "client_credentials".to_owned()), ("scope", self.scope.clone())];
        match &self.credential {
            Credential::ClientSecret { client_id, secret } => {
                form.push(("client_id", client_id.clone()));
                form.push(("client_secret", secret.expose_secret().trim().to_owned()));
            }
            Credential::AssertionFile { client_id, path } => {
                let assertion = std::fs::read_to_string(path)
                    .map_err(|_| Error::Options { option: "credential", reason: "the assertion file can't be read" })?;
                form.push(("client_id", client_id.clone()));
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", assertion.trim().to_owned()));
            }
        }
        if let Some(claims) = claims {
            form.push(("claims", claims.to_owned()));
        }
        Ok(form)
    }
}

/// The token of an answer and how long it lives; `expires_in` is a number, from older endpoints a text.
fn token_of(json: &Json<'_>) -> Option<(SecretString, Duration)> {
    let token = json.text("access_token").filter(|token| !token.is_empty())?;
    // A token that can't be a header's value would make every request fail for a reason that is hard to see.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let seconds = match &json.get("expires_in")?.value {
        Value::Number(number) => number.parse::<f64>().ok()?,
        Value::String(text) => text.as_str()?.parse().ok()?,
        _ => return None,
    };
    let life = Duration::try_from_secs_f64(seconds.clamp(0.0, 7.0 * 86_400.0)).ok()?;
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
fn what_to_check(code: &str) -> &'static str {
    match code {
        "AADSTS7000215" | "invalid_client" => "the client secret is wrong: is it the secret's value, not its id?",
        "AADSTS7000222" => "the client secret has expired: make a new one",
        "AADSTS700016" | "unauthorized_client" => {
            "this tenant doesn't know the client id: check tenant, cloud and client id"
        }
        "AADSTS90002" | "AADSTS900023" => "there is no such tenant in this cloud: check tenant and cloud",
        "AADSTS70011" | "AADSTS500011" | "invalid_scope" | "invalid_resource" => {
            "the scope is refused: check that cloud and tenant belong together"
        }
        "AADSTS700024" | "AADSTS700021" | "AADSTS70021" | "AADSTS700213" => {
            "the outside token doesn't match: check issuer, subject and audience of the federated credential, and the clock"
        }
        "AADSTS53003" => "a Conditional Access policy for workload identities blocks this client",
        _ => "check tenant, client id, secret and cloud",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_usable_token() {
        let token = |source: &str| token_of(&parse(source.as_bytes()).unwrap()).map(|(_, life)| life.as_secs());
        assert_eq!(token(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"ey.x.y"}"#), Some(3599));
        assert_eq!(token(r#"{"expires_in":"3599","access_token":"e"}"#), Some(3599));
        assert_eq!(token(r#"{"expires_in":1e99,"access_token":"e"}"#), Some(7 * 86_400));
        assert_eq!(token(r#"{"expires_in":-5,"access_token":"e"}"#), Some(0));
        for source in
            ["{}", r#"{"expires_in":1}"#, r#"{"access_token":"a\nb","expires_in":1}"#, r#"{"access_token":"a"}"#]
        {
            assert_eq!(token(source), None, "{source}");
        }
    }

    #[test]
    fn the_permissions_of_a_token_are_shown_where_it_can_be_read() {
        let roles = |text: &str| Token { secret: Arc::new(SecretString::from(text)), generation: 1 }.roles();
        let payload =
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"roles":["User.Read.All","A.Read"]}"#);
        assert_eq!(roles(&format!("h.{payload}.s")), Some(vec!["A.Read".to_owned(), "User.Read.All".to_owned()]));
        assert_eq!(roles("h.e30.s"), Some(vec![]));
        for opaque in ["opaque", "a.!.b", "a.W10.b"] {
            assert_eq!(roles(opaque), None, "{opaque}");
        }
    }

    #[test]
    fn the_login_service_s_number_is_the_code() {
        let code = |source: &str| error_code(parse(source.as_bytes()).ok().as_ref());
        assert_eq!(code(r#"{"error":"invalid_client","error_codes":[7000215]}"#), "AADSTS7000215");
        assert_eq!(code(r#"{"error":"invalid_client"}"#), "invalid_client");
        assert_eq!(code("<html>"), "");
        assert!(what_to_check("AADSTS7000222").contains("expired"));
    }
}
