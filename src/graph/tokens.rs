//! Access tokens: asked for at the login service, kept until shortly before they end, renewed when Graph won't take one.
//!
//! Must never know: what a token is used for.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::classify::safe_code;
use super::error::{Error, Refusal};
use super::options::Limits;
use super::pace::{Tries, sleep};
use super::sign_in::SignIn;
use crate::canonical::{Json, parse};
use crate::clock::Clock;

/// A token is renewed this long before it ends, or a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(300);

/// An access token and which of ours it is.
#[derive(Debug, Clone)]
pub struct Token {
    pub(super) secret: Arc<SecretString>,
    pub(super) generation: u64,
    /// When it ends, by our clock.
    expires: Timestamp,
}

/// Who a token says we are. The token is Graph's to read, not ours, so that nothing may depend on this: it is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The kind of credential that it was had for, by its name in the configuration.
    pub credential: &'static str,
    /// The application's id (`appid` or `azp`); `None` where the token can't be read, as the three below.
    pub application: Option<String>,
    /// The tenant's id (`tid`).
    pub tenant: Option<String>,
    /// When the token ends, by our clock.
    pub expires: Timestamp,
    /// The application permissions granted (`roles`), sorted.
    pub roles: Option<Vec<String>>,
}

impl Token {
    fn payload(&self) -> Option<Vec<u8>> {
        let payload = self.secret.expose_secret().split('.').nth(1)?;
        URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()
    }

    /// The `roles` claim: the application permissions granted.
    pub fn roles(&self) -> Option<Vec<String>> {
        let payload = self.payload()?;
        let claims = parse(&payload).ok()?;
        claims.members()?;
        let roles = claims.get("roles").and_then(Json::elements).unwrap_or_default();
        let mut roles: Vec<_> = roles.iter().filter_map(Json::as_str).map(safe_code).collect();
        roles.sort_unstable();
        Some(roles)
    }

    /// What it says about us, had for a credential of `kind`.
    pub fn identity(&self, kind: &'static str) -> Identity {
        let payload = self.payload().unwrap_or_default();
        let claims = parse(&payload).ok();
        let claim = |name| claims.as_ref().and_then(|claims| claims.text(name)).map(safe_code);
        let application = claim("appid").or_else(|| claim("azp"));
        Identity { credential: kind, application, tenant: claim("tid"), expires: self.expires, roles: self.roles() }
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
    sign_in: SignIn,
    clock: Arc<dyn Clock>,
    limits: Limits,
    held: Mutex<(u64, Option<Held>)>,
}

impl Tokens {
    /// Tokens that `sign_in` asks for.
    pub fn new(sign_in: SignIn, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Tokens { sign_in, clock, limits, held: Mutex::new((0, None)) }
    }

    /// The kind of credential that they are had for.
    pub fn kind(&self) -> &'static str {
        self.sign_in.kind()
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
        if claims.is_some() && !self.sign_in.answers_claims() {
            let refusal = Refusal { status: 401, ..Refusal::default() };
            let check = "a managed identity can't answer the claims challenge of a policy: use another credential";
            return Err(Error::Unauthorized { refusal, check });
        }
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
            match self.sign_in.try_once(claims, made).await {
                Ok(answer) => break answer,
                Err((error, None)) => return Err(error),
                Err((error, Some(after))) => match tries.next_wait(&self.limits, after) {
                    Some(wait) => sleep(&*self.clock, wait, deadline).await?,
                    None => return Err(error),
                },
            }
        };
        held.0 += 1;
        let from = self.clock.now();
        let expires = from.saturating_add(life).unwrap_or(Timestamp::MAX);
        let token = Token { secret: Arc::new(secret), generation: held.0, expires };
        let renew_at = from.saturating_add(life - MARGIN.min(life / 10)).unwrap_or(Timestamp::MAX);
        held.1 = Some(Held { token: token.clone(), from, renew_at });
        tracing::debug!(life_s = life.as_secs(), generation = held.0, "access token obtained");
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token { secret: Arc::new(SecretString::from(text)), generation: 1, expires: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn the_permissions_of_a_token_are_shown_where_it_can_be_read() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"roles":["User.Read.All","A.Read"]}"#);
        let roles = |text: &str| token(text).roles();
        assert_eq!(roles(&format!("h.{payload}.s")), Some(vec!["A.Read".to_owned(), "User.Read.All".to_owned()]));
        assert_eq!(roles("h.e30.s"), Some(vec![]));
        for opaque in ["opaque", "a.!.b", "a.W10.b"] {
            assert_eq!(roles(opaque), None, "{opaque}");
        }
    }

    #[test]
    fn who_a_token_is_for_is_shown_and_nothing_that_isn_t_an_id() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"appid":"app-1","tid":"t-1 someone@example.com","name":"n"}"#);
        let identity = token(&format!("h.{payload}.s")).identity("client_secret");
        assert_eq!(identity.application.as_deref(), Some("app-1"));
        assert_eq!(identity.tenant.as_deref(), Some("t-1"));
        let payload = URL_SAFE_NO_PAD.encode(r#"{"azp":"app-2"}"#);
        assert_eq!(token(&format!("h.{payload}.s")).identity("x").application.as_deref(), Some("app-2"));
        let opaque = token("opaque").identity("managed_identity");
        assert_eq!((opaque.credential, opaque.application, opaque.roles), ("managed_identity", None, None));
    }
}
