//! An issuer of tokens on loopback, whose keys rotate, and tokens of it with every defect that there may be.
//!
//! Must never know: what the service answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use ring::{hmac, rand};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

pub const TENANT: &str = "9f4e1d52-8c55-4a1c-9d5e-0c7b7a6f1e10";
pub const AUDIENCE: &str = "4d1f8a0e-2f5c-4b58-9a38-7a5a6f3f2b11";

/// A key by the name of its file in `tests/credentials`.
fn key(name: &str) -> RsaKeyPair {
    let path = format!("{}/tests/credentials/{name}.key", env!("CARGO_MANIFEST_DIR"));
    match PrivateKeyDer::from_pem_file(path).unwrap() {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn public(name: &str) -> Value {
    let key = key(name);
    let parts = PublicKeyComponents::<Vec<u8>>::from(key.public());
    json!({"kty": "RSA", "use": "sig", "kid": name, "n": encode(parts.n), "e": encode(parts.e)})
}

#[derive(Default)]
struct Published {
    keys: Vec<String>,
    is_away: bool,
    asked: usize,
}

/// The issuer.
#[derive(Clone)]
pub struct Issuer {
    pub issuer: String,
    published: Arc<Mutex<Published>>,
}

impl Issuer {
    pub async fn start() -> Issuer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/{TENANT}/v2.0", listener.local_addr().unwrap());
        let published = Published { keys: vec!["good".to_owned()], ..Published::default() };
        let this = Issuer { issuer, published: Arc::new(Mutex::new(published)) };
        let app = Router::new()
            .route(&format!("/{TENANT}/v2.0/.well-known/openid-configuration"), get(discovery))
            .route("/keys", get(keys))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        this
    }

    /// These keys are published from now on.
    pub fn rotate(&self, keys: &[&str]) {
        self.published.lock().unwrap().keys = keys.iter().map(|&name| name.to_owned()).collect();
    }

    /// It answers no more, or again.
    pub fn set_away(&self, is_away: bool) {
        self.published.lock().unwrap().is_away = is_away;
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.published.lock().unwrap().asked
    }

    /// What a token of a caller with `roles` says.
    pub fn claims(&self, roles: &[&str]) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.issuer, "aud": AUDIENCE, "tid": TENANT, "exp": now + 3600, "nbf": now - 5, "iat": now - 5, "ver": "2.0",
            "azp": "0a1b2c3d-0000-4000-8000-000000000001", "oid": "0a1b2c3d-0000-4000-8000-000000000002",
            "scp": "use", "preferred_username": "asker@contoso.example", "roles": roles,
        })
    }

    /// A good token.
    pub fn token(&self, roles: &[&str]) -> String {
        sign(&json!({"typ": "JWT", "alg": "RS256", "kid": "good"}), &self.claims(roles), "good")
    }

    /// Tokens that nobody may take, each with its defect, for a caller who would have `roles`.
    pub fn bad_tokens(&self, roles: &[&str]) -> Vec<(&'static str, String)> {
        let header = || json!({"typ": "JWT", "alg": "RS256", "kid": "good"});
        let now = Timestamp::now().as_second();
        let with = |name: &str, value: Value| {
            let mut claims = self.claims(roles);
            claims[name] = value;
            sign(&header(), &claims, "good")
        };
        let headed = |name: &str, value: Value, by: &str| {
            let mut header = header();
            header[name] = value;
            sign(&header, &self.claims(roles), by)
        };
        let good = self.token(roles);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let unsigned = |alg: &str, signature: &str| {
            let head = encode(json!({"typ": "JWT", "alg": alg, "kid": "good"}).to_string());
            format!("{head}.{}.{signature}", encode(self.claims(roles).to_string()))
        };
        let mut more = self.claims(roles);
        more["oid"] = json!("0a1b2c3d-0000-4000-8000-000000000003");
        let swapped = format!("{}.{}.{signature}", signed.split('.').next().unwrap(), encode(more.to_string()));
        vec![
            ("garbage", "garbage".to_owned()),
            ("dots", "..".to_owned()),
            ("expired", with("exp", json!(now - 120))),
            ("not yet valid", with("nbf", json!(now + 120))),
            ("expiry as text", with("exp", json!((now + 3600).to_string()))),
            ("wrong audience", with("aud", json!("00000003-0000-0000-c000-000000000000"))),
            ("audience as list", with("aud", json!([AUDIENCE]))),
            ("wrong issuer", with("iss", json!(self.issuer.replace(TENANT, "11111111-1111-4111-8111-111111111111")))),
            ("wrong tenant", with("tid", json!("11111111-1111-4111-8111-111111111111"))),
            ("identity token", with("nonce", json!("n"))),
            ("alg none", unsigned("none", "")),
            ("alg None", unsigned("None", signature)),
            ("HS256 by the public key", self.confused(roles, "HS256")),
            ("RS256 with an HMAC by the public key", self.confused(roles, "RS256")),
            ("RS384", headed("alg", json!("RS384"), "good")),
            ("unknown key", headed("kid", json!("nobody"), "good")),
            ("no key id", headed("kid", Value::Null, "good")),
            ("key id of another key", headed("kid", json!("good"), "future")),
            ("embedded key", headed("jwk", public("future"), "future")),
            ("address of another key", headed("jku", json!("http://127.0.0.1:1/keys"), "future")),
            ("critical extension", headed("crit", json!(["exp"]), "good")),
            ("truncated", good[..good.len() - 4].to_owned()),
            ("truncated before the signature", format!("{signed}.")),
            ("other claims under the signature", swapped),
            ("two tokens", format!("{good} {good}")),
        ]
    }

    /// Signed with what everybody knows, as if it were a secret.
    fn confused(&self, roles: &[&str], alg: &str) -> String {
        let signed = [json!({"typ": "JWT", "alg": alg, "kid": "good"}), self.claims(roles)];
        let signed = format!("{}.{}", encode(signed[0].to_string()), encode(signed[1].to_string()));
        let secret = URL_SAFE_NO_PAD.decode(public("good")["n"].as_str().unwrap()).unwrap();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    }
}

/// A token signed by the key of that name.
pub fn sign(header: &Value, claims: &Value, by: &str) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let key = key(by);
    let mut signature = vec![0; key.public().modulus_len()];
    let random: &dyn rand::SecureRandom = &SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, random, signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", encode(signature))
}

async fn discovery(State(issuer): State<Issuer>) -> Result<String, axum::http::StatusCode> {
    let mut published = issuer.published.lock().unwrap();
    published.asked += 1;
    if published.is_away {
        return Err(axum::http::StatusCode::SERVICE_UNAVAILABLE);
    }
    let origin = issuer.issuer.split(TENANT).next().unwrap();
    Ok(json!({"issuer": issuer.issuer, "jwks_uri": format!("{origin}keys")}).to_string())
}

async fn keys(State(issuer): State<Issuer>) -> String {
    let published = issuer.published.lock().unwrap();
    let rows: Vec<Value> = published.keys.iter().map(|name| public(name)).collect();
    json!({ "keys": rows }).to_string()
}
