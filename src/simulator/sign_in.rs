//! The token endpoint and its relatives: who is let in, by which proof, and with which token.
//!
//! Must never know: what a token opens.
//!
//! Follows "Microsoft identity platform and the OAuth 2.0 client credentials flow" (secret, certificate, federated
//! credential), "Microsoft identity platform application authentication certificate credentials" (form of the
//! assertion), "How to use managed identities on Azure VMs" and "... for App Service" (the two endpoints without a
//! secret), "Claims challenges, claims requests, and client capabilities". RS256 with `x5t` is the older form.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::dice::Dice;
use super::exchange::Refusal;
use super::token;

/// Seconds that an access token is good for.
const TOKEN_SECONDS: i64 = 3600;
/// Seconds that a token of a managed identity is good for; the platform keeps it for half of that.
const MACHINE_SECONDS: i64 = 24 * 3600;
/// Seconds by which the clocks of client and service may differ.
const SKEW: i64 = 300;

/// What an answer of the token endpoint needs.
pub(super) struct Desk<'a> {
    pub base: &'a str,
    pub key: &'a [u8; 32],
    pub dice: &'a mut Dice,
    pub roles: &'a BTreeSet<String>,
    pub now: Timestamp,
    /// Whether the endpoint is out of order.
    pub storm: bool,
}

#[derive(Debug)]
struct Certificate {
    sha256: String,
    sha1: String,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Trust {
    issuer: String,
    subject: String,
    key: Vec<u8>,
}

/// Who may sign in, and what became of their tokens.
#[derive(Debug)]
pub(super) struct Door {
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: String,
    /// Claims that Graph wants of every token.
    pub demanded: Option<String>,
    certificates: Vec<Certificate>,
    trusts: Vec<Trust>,
    /// Ids of assertions that were used; one is good for one token.
    used: BTreeSet<String>,
    /// Tokens that were issued before this count are invalid.
    generation: u64,
    /// Tokens of managed identities that the platform keeps, with the time of their issue.
    machine: BTreeMap<String, (String, i64)>,
}

/// Status, error, number and text of a refused sign-in.
type Problem = (u16, &'static str, u32, &'static str);

type Fields = [(String, String)];

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
}

impl Door {
    pub fn new(tenant_id: String, client_id: String, client_secret: String) -> Self {
        Self {
            tenant_id,
            client_id,
            client_secret,
            demanded: None,
            certificates: Vec::new(),
            trusts: Vec::new(),
            used: BTreeSet::new(),
            generation: 0,
            machine: BTreeMap::new(),
        }
    }

    pub fn register_certificate(&mut self, bytes: &[u8]) -> Result<(), String> {
        let der = der_of(bytes)?;
        let key = certificate_key(&der).ok_or("not a certificate with an RSA key")?.to_vec();
        let print = |algorithm| URL_SAFE_NO_PAD.encode(digest(algorithm, &der));
        let (sha256, sha1) = (print(&SHA256), print(&SHA1_FOR_LEGACY_USE_ONLY));
        self.certificates.push(Certificate { sha256, sha1, key });
        Ok(())
    }

    pub fn trust(&mut self, issuer: &str, subject: &str, bytes: &[u8]) -> Result<(), String> {
        let der = der_of(bytes)?;
        let key = certificate_key(&der).or_else(|| public_key(&der)).ok_or("neither a certificate nor an RSA key")?;
        self.trusts.push(Trust { issuer: issuer.to_owned(), subject: subject.to_owned(), key: key.to_vec() });
        Ok(())
    }

    /// The secret of the App Service endpoint.
    pub fn identity_header(&self) -> String {
        hex::encode(digest(&SHA256, self.client_secret.as_bytes()))[..32].to_owned()
    }

    pub fn revoke_tokens(&mut self) {
        self.generation += 1;
        self.machine.clear();
    }

    /// Answers the token endpoint of `tenant`. `fields` are the decoded fields of the request's body. On failure the
    /// body of the Microsoft identity platform, which is not Graph's.
    pub fn token(&mut self, desk: &mut Desk<'_>, tenant: &str, fields: &Fields) -> (u16, Value) {
        if let Err((status, error, code, text)) = self.check(desk, tenant, fields) {
            return (status, sign_in_error(desk, error, code, text));
        }
        let token = self.issue(desk, TOKEN_SECONDS, field(fields, "claims"));
        let body = json!({
            "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "ext_expires_in": TOKEN_SECONDS, "access_token": token,
        });
        (200, body)
    }

    fn check(&mut self, desk: &Desk<'_>, tenant: &str, fields: &Fields) -> Result<(), Problem> {
        if desk.storm {
            Err((503, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."))
        } else if tenant != self.tenant_id {
            Err((400, "invalid_request", 90002, "The tenant was not found."))
        } else if field(fields, "grant_type") != "client_credentials" {
            Err((400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."))
        } else if field(fields, "client_id") != self.client_id {
            Err((400, "unauthorized_client", 700016, "The application was not found in the directory."))
        } else if field(fields, "scope") != format!("{}/.default", desk.base) {
            Err((400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."))
        } else if !field(fields, "client_assertion").is_empty() {
            self.check_assertion(desk, fields)
        } else if field(fields, "client_secret").is_empty() {
            Err((401, "invalid_client", 7_000_216, "'client_assertion' or 'client_secret' is required."))
        } else if field(fields, "client_secret") != self.client_secret {
            Err((401, "invalid_client", 7_000_215, "Invalid client secret provided."))
        } else {
            Ok(())
        }
    }

    fn check_assertion(&mut self, desk: &Desk<'_>, fields: &Fields) -> Result<(), Problem> {
        let bad = |code, text| Err((401, "invalid_client", code, text));
        if field(fields, "client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            return Err((400, "invalid_request", 900_144, "The 'client_assertion_type' is missing or not supported."));
        }
        let Some(jwt) = Jwt::parse(field(fields, "client_assertion")) else {
            return bad(50_027, "JWT token is invalid or malformed.");
        };
        let now = desk.now.as_second();
        let time = |name: &str| jwt.claims[name].as_i64();
        if time("exp").is_none_or(|exp| exp + SKEW <= now) || time("nbf").is_some_and(|nbf| nbf - SKEW > now) {
            return bad(700_024, "Client assertion is not within its valid time range.");
        }
        if jwt.claims["iss"] != self.client_id.as_str() {
            return self.check_outside(&jwt);
        }
        if jwt.claims["sub"] != self.client_id.as_str() {
            return bad(700_021, "Client assertion application identifier doesn't match 'client_id' parameter.");
        }
        if jwt.claims["aud"] != format!("{}/{}/oauth2/v2.0/token", desk.base, self.tenant_id) {
            return bad(700_023, "Client assertion audience claim does not match Realm issuer.");
        }
        let print = |name: &str| jwt.header[name].as_str().unwrap_or_default().trim_end_matches('=').to_owned();
        let (sha256, sha1) = (print("x5t#S256"), print("x5t"));
        let found = self.certificates.iter().find(|known| known.sha256 == sha256 || known.sha1 == sha1);
        let Some(certificate) = found else {
            return bad(
                700_027,
                "The certificate with identifier used to sign the client assertion is not registered.",
            );
        };
        if !jwt.is_signed_with(&certificate.key) {
            return bad(700_027, "Client assertion failed signature validation.");
        }
        match jwt.claims["jti"].as_str() {
            Some(id) if self.used.insert(id.to_owned()) => Ok(()),
            _ => bad(50_027, "JWT token is invalid or malformed: its id is missing or was used before."),
        }
    }

    /// A token of somebody else ("Workload identity federation").
    fn check_outside(&self, jwt: &Jwt) -> Result<(), Problem> {
        let bad = |code, text| Err((401, "invalid_client", code, text));
        let audience = &jwt.claims["aud"];
        let wanted = "api://AzureADTokenExchange";
        let meant = audience == wanted || audience.as_array().is_some_and(|all| all.iter().any(|one| *one == wanted));
        let is =
            |trust: &&Trust| jwt.claims["iss"] == trust.issuer.as_str() && jwt.claims["sub"] == trust.subject.as_str();
        match self.trusts.iter().find(is) {
            Some(trust) if meant && jwt.is_signed_with(&trust.key) => Ok(()),
            Some(_) if meant => bad(50_013, "Assertion failed signature validation."),
            _ => bad(700_213, "No matching federated identity record found for presented assertion."),
        }
    }

    fn issue(&self, desk: &mut Desk<'_>, seconds: i64, claims: &str) -> String {
        let (issued, tenant) = (desk.now.as_second(), &self.tenant_id);
        let claims = json!({
            "aud": desk.base, "iss": format!("{}/{tenant}/", desk.base), "iat": issued, "nbf": issued,
            "exp": issued + seconds, "appid": self.client_id, "idtyp": "app", "tid": tenant, "roles": desk.roles,
            "ver": "1.0", "uti": hex::encode(desk.dice.bytes::<8>()), "asked": claims, "generation": self.generation,
        });
        token::access_token(desk.key, &claims)
    }

    /// The endpoint that every virtual machine has.
    pub fn machine_token(&mut self, desk: &mut Desk<'_>, query: &Fields, metadata: Option<&str>) -> (u16, Value) {
        if !metadata.is_some_and(|metadata| metadata.eq_ignore_ascii_case("true")) {
            return (400, managed("invalid_request", "Required metadata header not specified"));
        }
        self.managed_token(desk, query, "2018-02-01", false)
    }

    /// The endpoint that App Service has.
    pub fn app_service_token(&mut self, desk: &mut Desk<'_>, query: &Fields, header: Option<&str>) -> (u16, Value) {
        if header != Some(self.identity_header().as_str()) {
            return (401, managed("unauthorized", "The identity header is missing or wrong"));
        }
        self.managed_token(desk, query, "2019-08-01", true)
    }

    fn managed_token(&mut self, desk: &mut Desk<'_>, query: &Fields, version: &str, app_service: bool) -> (u16, Value) {
        let client = field(query, "client_id");
        if desk.storm {
            return (503, managed("temporarily_unavailable", "Try again"));
        }
        if field(query, "api-version") != version {
            return (400, managed("invalid_request", "The api-version is missing or not supported"));
        }
        if field(query, "resource").trim_end_matches('/') != desk.base {
            return (400, managed("invalid_resource", "The resource was not found in the tenant"));
        }
        if !client.is_empty() && client != self.client_id {
            return (400, managed("invalid_request", "Identity not found"));
        }
        let now = desk.now.as_second();
        let kept = self.machine.get(client).filter(|(_, issued)| now - issued < MACHINE_SECONDS / 2).cloned();
        let (token, issued) = kept.unwrap_or_else(|| (self.issue(desk, MACHINE_SECONDS, ""), now));
        self.machine.insert(client.to_owned(), (token.clone(), issued));
        let expires = issued + MACHINE_SECONDS;
        let mut body = json!({
            "access_token": token, "expires_on": expires.to_string(), "resource": field(query, "resource"),
            "token_type": "Bearer", "client_id": self.client_id,
        });
        if !app_service {
            body["expires_in"] = json!((expires - now).to_string());
            body["not_before"] = json!(issued.to_string());
        }
        (200, body)
    }

    /// Refuses a request without a token of this service that is still good.
    pub fn authenticate(
        &self,
        base: &str,
        key: &[u8; 32],
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let refuse = |message: &str, challenge: &str| {
            Err(Refusal::new(401, "InvalidAuthenticationToken", message).with("WWW-Authenticate", challenge))
        };
        let invalid = "Bearer realm=\"\", error=\"invalid_token\"";
        let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
            return refuse("Access token is empty.", invalid);
        };
        let Some(claims) = token::claims(key, token) else {
            return refuse("IDX14100: JWT is not well formed.", invalid);
        };
        if claims["exp"].as_i64().is_none_or(|expires| expires <= now.as_second()) {
            return refuse("Lifetime validation failed, the token is expired.", invalid);
        }
        let evaluated = "Continuous access evaluation resulted in challenge with result: InteractionRequired";
        if claims["generation"] != self.generation {
            return refuse(&format!("{evaluated} and code: TokenIssuedBeforeRevocationTimestamp"), invalid);
        }
        let Some(demanded) = &self.demanded else { return Ok(()) };
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        if holds(&parse(claims["asked"].as_str().unwrap_or_default()), &parse(demanded)) {
            return Ok(());
        }
        let challenge = format!(
            "Bearer realm=\"\", authorization_uri=\"{base}/common/oauth2/authorize\", \
             client_id=\"00000003-0000-0000-c000-000000000000\", error=\"insufficient_claims\", claims=\"{}\"",
            STANDARD.encode(demanded)
        );
        refuse(&format!("{evaluated} and code: LocationConditionEvaluationSatisfied"), &challenge)
    }
}

/// Whether `given` has everything that `wanted` has.
fn holds(given: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(members) => members.iter().all(|(name, wanted)| holds(&given[name], wanted)),
        wanted => given == wanted,
    }
}

fn managed(error: &str, text: &str) -> Value {
    json!({"error": error, "error_description": text})
}

fn sign_in_error(desk: &mut Desk<'_>, error: &str, code: u32, text: &str) -> Value {
    let (trace, correlation) = (desk.dice.guid(), desk.dice.guid());
    let stamp = desk.now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    json!({
        "error": error,
        "error_description": format!(
            "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
        ),
        "error_codes": [code], "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
    })
}

/// A signed token as it came.
struct Jwt {
    header: Value,
    claims: Value,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Jwt {
    fn parse(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: json(header)?, claims: json(claims)?, signed: signed.as_bytes().to_vec(), signature })
    }

    fn is_signed_with(&self, key: &[u8]) -> bool {
        let algorithm = match self.header["alg"].as_str() {
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, key).verify(&self.signed, &self.signature).is_ok()
    }
}

/// The bytes within the first PEM block, or the bytes themselves.
fn der_of(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(bytes.to_vec()) };
    if !text.contains("-----BEGIN") {
        return Ok(bytes.to_vec());
    }
    let body: String = text
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .map(str::trim)
        .collect();
    STANDARD.decode(body).map_err(|error| error.to_string())
}

/// One element of DER (X.690): its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length =
            bytes.iter().try_fold(0usize, |all, byte| all.checked_mul(256)?.checked_add(usize::from(*byte)))?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const VERSION: u8 = 0xa0;

/// The RSA key of a certificate: the seventh element of what is certified, or the sixth when no version is given (RFC
/// 5280, section 4.1).
fn certificate_key(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut certified, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let versioned = certified.first() == Some(&VERSION);
    for _ in 0..(if versioned { 6 } else { 5 }) {
        certified = element(certified)?.2;
    }
    public_key(certified)
}

/// The RSA key within a SubjectPublicKeyInfo.
fn public_key(der: &[u8]) -> Option<&[u8]> {
    let (_, info, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _algorithm, rest) = element(info).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, bits, _) = element(rest).filter(|(tag, ..)| *tag == BIT_STRING)?;
    // The first byte counts unused bits.
    bits.split_first().map(|(_, key)| key)
}
