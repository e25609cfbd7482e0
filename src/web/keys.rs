//! The keys that an issuer signs tokens with: found by its discovery document, kept, and fetched again when they rotate.
//!
//! Must never know: what a token says.
//!
//! Where the keys come from is the configuration's to say and never a token's. An unknown key id makes one fetch in
//! [`PAUSE`] at most, whatever strangers send; while the issuer can't be reached the last good keys count.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Url, redirect};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::Value;

use crate::clock::Clock;

/// Keys are looked at again after this.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// Between two fetches lies at least this.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// A fetch takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A document is no longer.
const LONGEST: usize = 256 * 1024;
/// Keys of one issuer; Entra has fewer than ten.
const MOST: usize = 100;

/// An RSA key for RS256, the only thing that a signature is ever checked with: no header of a token can make it a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RsaKey {
    n: Vec<u8>,
    e: Vec<u8>,
}

impl RsaKey {
    /// Whether `signature` over `message` is this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: &self.n, e: &self.e };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

/// What keeps an issuer's keys from being used at all.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Not an address that keys may come from.
    #[error("oidc_issuer in [web] is no address that begins with https:// (or http:// for this machine)")]
    Address,
    /// No client can be made here.
    #[error("no TLS client can be built here")]
    Client(#[source] reqwest::Error),
}

/// Why keys couldn't be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the issuer can't be reached")]
    Http(#[from] reqwest::Error),
    #[error("the issuer answers with status {0}")]
    Status(u16),
    #[error("a document of the issuer is longer than {LONGEST} bytes")]
    Long,
    #[error("a document of the issuer isn't what it should be: {0}")]
    Form(&'static str),
}

#[derive(Debug, Default)]
struct Known {
    keys: BTreeMap<String, RsaKey>,
    fetched: Option<Timestamp>,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    http: reqwest::Client,
    issuer: String,
    clock: Arc<dyn Clock>,
    known: RwLock<Arc<Known>>,
    /// When it was tried last; whoever holds it fetches.
    tried: tokio::sync::Mutex<Option<Timestamp>>,
}

/// Nobody knows the keys.
pub(super) struct Unavailable;

impl Keys {
    /// The keys of `issuer`. Fetches nothing yet.
    pub fn new(issuer: &str, clock: Arc<dyn Clock>) -> Result<Keys, KeysError> {
        let url = Url::parse(issuer).ok().filter(is_trusted).ok_or(KeysError::Address)?;
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tenure/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(PATIENCE);
        if url.scheme() == "http" {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(KeysError::Client)?;
        let issuer = issuer.to_owned();
        Ok(Keys { http, issuer, clock, known: RwLock::default(), tried: tokio::sync::Mutex::default() })
    }

    /// The key of that id; `None` where the issuer has none.
    pub async fn key(&self, id: &str) -> Result<Option<RsaKey>, Unavailable> {
        let known = self.known();
        let is_fresh = known.fetched.is_some_and(|at| self.since(at) < FRESH);
        let found = known.keys.get(id).cloned();
        if found.is_some() && is_fresh {
            return Ok(found);
        }
        // Whoever has a key needn't wait for another's fetch.
        let tried = match found {
            Some(_) => self.tried.try_lock().ok(),
            None => Some(self.tried.lock().await),
        };
        if let Some(mut tried) = tried
            && tried.is_none_or(|at| self.since(at) >= PAUSE)
        {
            *tried = Some(self.clock.now());
            match self.fetch().await {
                Ok(keys) => {
                    let known = Known { keys, fetched: Some(self.clock.now()) };
                    *self.known.write().expect("no code panics while it holds the keys") = Arc::new(known);
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the keys that tokens are signed with can't be fetched; the last good ones count"
                    );
                }
            }
        }
        let known = self.known();
        match known.fetched {
            Some(_) => Ok(known.keys.get(id).cloned()),
            None => Err(Unavailable),
        }
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().expect("no code panics while it holds the keys").clone()
    }

    /// How long ago that was; a clock that was set back counts as time that has passed.
    fn since(&self, at: Timestamp) -> SignedDuration {
        self.clock.now().duration_since(at).abs()
    }

    async fn fetch(&self) -> Result<BTreeMap<String, RsaKey>, FetchError> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|_| FetchError::Form("its address"))?;
        let discovery = self.get(address).await?;
        if discovery["issuer"].as_str() != Some(&self.issuer) {
            return Err(FetchError::Form("the discovery document is another issuer's"));
        }
        let address = discovery["jwks_uri"].as_str().and_then(|text| Url::parse(text).ok()).filter(is_trusted);
        let keys = self.get(address.ok_or(FetchError::Form("jwks_uri"))?).await?;
        let rows = keys["keys"].as_array().ok_or(FetchError::Form("keys"))?;
        let keys: BTreeMap<String, RsaKey> =
            rows.iter().take(MOST).filter_map(|row| read_key(row, &self.issuer)).collect();
        if keys.is_empty() {
            return Err(FetchError::Form("no RSA key for signatures"));
        }
        Ok(keys)
    }

    async fn get(&self, address: Url) -> Result<Value, FetchError> {
        let mut response = self.http.get(address).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST {
                return Err(FetchError::Long);
            }
        }
        serde_json::from_slice(&bytes).map_err(|_| FetchError::Form("JSON"))
    }
}

/// By TLS, or from this machine.
fn is_trusted(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "https" && !host.is_empty() || url.scheme() == "http" && is_local
}

/// An RSA signing key of a key set. Entra's keys name the issuer that they are for, with a place for the tenant's id
/// (learn.microsoft.com/entra/identity-platform/access-tokens, "Validate the signing key issuer"): one for another issuer
/// isn't taken.
fn read_key(row: &Value, issuer: &str) -> Option<(String, RsaKey)> {
    let is_for = |name: &str, wanted: &str| row.get(name).is_none_or(|value| value.as_str() == Some(wanted));
    if row["kty"].as_str() != Some("RSA") || !is_for("use", "sig") || !is_for("alg", "RS256") {
        return None;
    }
    if let Some(theirs) = row.get("issuer").and_then(Value::as_str) {
        let tenant = super::bearer::tenant_of(issuer).unwrap_or_default();
        if theirs.replace("{tenantid}", tenant) != issuer {
            return None;
        }
    }
    let number = |name: &str| URL_SAFE_NO_PAD.decode(row[name].as_str()?).ok();
    Some((row["kid"].as_str()?.to_owned(), RsaKey { n: number("n")?, e: number("e")? }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://login.microsoftonline.com/11111111-1111-4111-8111-111111111111/v2.0";

    #[test]
    fn only_rsa_keys_for_signatures_of_this_issuer_are_taken() {
        let key = |change: &[(&str, Value)]| {
            let mut row = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": "AQAB", "e": "AQAB"});
            for (name, value) in change {
                row[*name] = value.clone();
            }
            read_key(&row, ISSUER).is_some()
        };
        assert!(key(&[]));
        assert!(key(&[("issuer", json!("https://login.microsoftonline.com/{tenantid}/v2.0"))]));
        for change in [
            ("kty", json!("EC")),
            ("kty", json!("oct")),
            ("use", json!("enc")),
            ("alg", json!("HS256")),
            ("kid", json!(7)),
            ("n", json!("not base64!")),
            ("issuer", json!("https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0")),
        ] {
            assert!(!key(std::slice::from_ref(&change)), "{change:?}");
        }
    }

    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        for (url, expected) in [
            ("https://login.microsoftonline.com/x", true),
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]:1/x", true),
            ("http://login.microsoftonline.com/x", false),
            ("http://127.0.0.1.evil.example/x", false),
            ("ftp://127.0.0.1/x", false),
        ] {
            assert_eq!(is_trusted(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
