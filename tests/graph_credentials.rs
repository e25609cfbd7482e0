//! Every kind of credential against a login service, a metadata service and an app platform that answer as scripted.
//!
//! The keys in `tests/credentials` were made for these tests by openssl and are used nowhere else.

mod scripted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::signature::{RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use scripted::{Body, Reply, Seen, Server, clock, elapsed, token};
use secrecy::SecretString;
use serde_json::Value;
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Assertion, Cloud, Credential, Error, IdentityHost, Limits, Options, Reader, Request};

const EMPTY: &str = r#"{"value":[]}"#;

/// SHA-256 of `good.crt`, as `openssl x509 -fingerprint -sha256` says.
const FINGERPRINT: &str = "7af279fe7c19c403e9078d108fa79e22b51b0d2a3c7817d7fc7237ec651683f5";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/credentials").join(name)
}

fn certificate(certificate: &str, key: Option<&str>) -> Credential {
    Credential::ClientCertificate { client_id: "client".to_owned(), certificate: file(certificate), key: key.map(file) }
}

fn reader(server: &Server, clock: &ManualClock, credential: Credential) -> Reader {
    let options = Options { credential, ..server.options() };
    Reader::new(options, Arc::new(clock.clone())).unwrap()
}

fn machine(server: &Server, client_id: Option<&str>) -> Credential {
    let host = IdentityHost::Machine { url: Some(server.url.clone()) };
    Credential::ManagedIdentity { client_id: client_id.map(str::to_owned), host }
}

/// A field of a token request's form.
fn field(seen: &Seen, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://h/?{}", seen.body)).unwrap();
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

fn users() -> Request {
    Request::new("/v1.0/users")
}

fn decoded(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// Checks the assertion's signature and returns header and claims.
fn opened(assertion: &str) -> (Value, Value) {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_file(file("good.key")).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public().as_ref());
    public.verify(signed.as_bytes(), &decoded(signature)).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    (serde_json::from_slice(&decoded(header)).unwrap(), serde_json::from_slice(&decoded(claims)).unwrap())
}

#[tokio::test]
async fn a_certificate_signs_an_assertion_as_documented() {
    let kinds = [("good.pem", None), ("good.crt", Some("good.key")), ("chain.crt", Some("good.pkcs1.key"))];
    let mut ids = Vec::new();
    for (certificate_file, key) in kinds {
        let server = Server::new(|_, _| Reply::json(200, EMPTY)).await;
        let clock = clock();
        reader(&server, &clock, certificate(certificate_file, key)).get(&users()).await.unwrap();
        let seen = server.seen().into_iter().find(Seen::is_token).unwrap();
        assert_eq!(field(&seen, "client_id").as_deref(), Some("client"));
        assert_eq!(field(&seen, "grant_type").as_deref(), Some("client_credentials"));
        assert_eq!(field(&seen, "scope"), Some(format!("{}/.default", server.url)));
        assert_eq!(field(&seen, "client_secret"), None);
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(field(&seen, "client_assertion_type").as_deref(), Some(kind));
        let (header, claims) = opened(&field(&seen, "client_assertion").unwrap());
        assert_eq!((&header["alg"], &header["typ"]), (&Value::from("PS256"), &Value::from("JWT")));
        assert_eq!(hex::encode(decoded(header["x5t#S256"].as_str().unwrap())), FINGERPRINT);
        assert_eq!(claims["aud"], format!("{}/tenant.example/oauth2/v2.0/token", server.url));
        assert_eq!((&claims["iss"], &claims["sub"]), (&Value::from("client"), &Value::from("client")));
        let now = clock.now().as_second();
        assert_eq!((claims["nbf"].as_i64().unwrap(), claims["exp"].as_i64().unwrap()), (now - 120, now + 480));
        ids.push(claims["jti"].as_str().unwrap().to_owned());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_and_nothing_is_sent() {
    for (certificate_file, key, option, reason) in [
        ("nowhere.pem", None, "credential.certificate_file", "can't be read"),
        ("good.crt", None, "credential.certificate_file", "no private key"),
        ("good.key", None, "credential.certificate_file", "no certificate in PEM form"),
        ("good.der", Some("good.key"), "credential.certificate_file", "no certificate in PEM form"),
        ("good.crt", Some("nowhere.key"), "credential.certificate_key_file", "can't be read"),
        ("good.crt", Some("good.crt"), "credential.certificate_key_file", "no private key"),
        ("good.crt", Some("encrypted.key"), "credential.certificate_key_file", "encrypted"),
        ("good.crt", Some("encrypted.pkcs1.key"), "credential.certificate_key_file", "encrypted"),
        ("good.crt", Some("elliptic.key"), "credential.certificate_key_file", "isn't RSA"),
        ("other.crt", Some("good.key"), "credential.certificate_key_file", "isn't that of the certificate"),
        ("expired.crt", Some("expired.key"), "credential.certificate_file", "has expired"),
        ("future.crt", Some("future.key"), "credential.certificate_file", "isn't valid yet"),
    ] {
        let server = Server::new(|_, _| Reply::json(200, EMPTY)).await;
        let error = reader(&server, &clock(), certificate(certificate_file, key)).get(&users()).await.unwrap_err();
        let Error::Options { option: found, reason: why } = &error else { panic!("{error}") };
        assert_eq!((*found, why.contains(reason)), (option, true), "{certificate_file} {key:?}: {error}");
        assert_eq!(server.seen().len(), 0);
    }
}

#[tokio::test]
async fn a_new_certificate_or_assertion_needs_no_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credential");
    let assertion = Assertion::File(path.clone());
    let workload = Credential::WorkloadIdentity { client_id: "client".to_owned(), assertion };
    let certificate =
        Credential::ClientCertificate { client_id: "client".to_owned(), certificate: path.clone(), key: None };
    let texts = [("first\n", "second"), ("good", "second")];
    for (credential, (first, second)) in [workload, certificate].into_iter().zip(texts) {
        let is_workload = matches!(credential, Credential::WorkloadIdentity { .. });
        let server = Server::new(|_, _| Reply::json(200, EMPTY)).await;
        let clock = clock();
        let reader = reader(&server, &clock, credential);
        std::fs::remove_file(&path).ok();
        let error = reader.get(&users()).await.unwrap_err();
        assert!(matches!(error, Error::Options { reason: "the file can't be read", .. }), "{error}");
        let write = |text: &str| match is_workload {
            true => std::fs::write(&path, text).unwrap(),
            false if text == "good" => drop(std::fs::copy(file("good.pem"), &path).unwrap()),
            false => {
                let parts = ["expired.crt", "expired.key"].map(|name| std::fs::read_to_string(file(name)).unwrap());
                std::fs::write(&path, parts.concat()).unwrap();
            }
        };
        write(first);
        reader.get(&users()).await.unwrap();
        write(second);
        reader.get(&users()).await.unwrap();
        clock.advance(Duration::from_secs(3600));
        let read = reader.get(&users()).await;
        let tokens: Vec<_> = server.seen().into_iter().filter(Seen::is_token).collect();
        if is_workload {
            let sent: Vec<_> = tokens.iter().map(|seen| field(seen, "client_assertion").unwrap()).collect();
            assert_eq!(sent, ["first", "second"]);
        } else {
            assert!(read.unwrap_err().to_string().contains("expired"));
            assert_eq!(tokens.len(), 1);
        }
    }
}

#[tokio::test]
async fn an_assertion_keeps_to_the_clock_of_the_login_service() {
    let server = Server::raw(|seen, before| match (seen.is_token(), before) {
        (true, 0) => Reply::json(401, r#"{"error":"invalid_client","error_codes":[700024]}"#)
            .with("date", "Sat, 01 Aug 2026 01:00:00 GMT"),
        (true, _) => token("t", 3600).with("date", "Sat, 01 Aug 2026 01:00:01 GMT"),
        (false, _) => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    let reader = reader(&server, &clock, certificate("good.pem", None));
    reader.get(&users()).await.unwrap();
    let tokens: Vec<_> = server.seen().into_iter().filter(Seen::is_token).collect();
    let from = |seen: &Seen| opened(&field(seen, "client_assertion").unwrap()).1["nbf"].as_i64().unwrap();
    assert!((3595..=3605).contains(&(from(&tokens[1]) - from(&tokens[0]))), "an hour ahead");

    // A refusal that isn't about the time is none of the clock's.
    let server = Server::raw(|_, _| {
        Reply::json(401, r#"{"error":"invalid_client","error_codes":[700027]}"#)
            .with("date", "Sat, 01 Aug 2026 00:00:10 GMT")
    })
    .await;
    let error = self::reader(&server, &scripted::clock(), certificate("good.pem", None)).get(&users()).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("AADSTS700027") && text.contains("upload"), "{text}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_lying_date_costs_one_more_try_at_most() {
    let server = Server::raw(|_, before| {
        let year = 2000 + before;
        Reply::json(401, r#"{"error":"invalid_client"}"#).with("date", format!("Thu, 01 Jan {year} 00:00:00 GMT"))
    })
    .await;
    let clock = clock();
    let error = reader(&server, &clock, certificate("good.pem", None)).get(&users()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. } | Error::Options { .. }), "{error}");
    assert!(server.seen().len() <= 8 && elapsed(&clock) <= 900.0);
}

#[tokio::test]
async fn claims_challenges_are_answered_with_an_assertion_too() {
    let challenge = r#"Bearer error="insufficient_claims", claims="eyJhIjoxfQ==""#;
    let script =
        move |seen: &Seen, _: usize| match (seen.is_token() || seen.target.starts_with("/metadata"), &seen.body) {
            (true, body) if body.contains("claims=") => token("with", 3600),
            (true, _) => token("without", 3600),
            (false, _) if seen.header("authorization") == Some("Bearer with") => Reply::json(200, EMPTY),
            (false, _) => Reply::error(401, "InvalidAuthenticationToken").with("www-authenticate", challenge),
        };
    let server = Server::raw(script).await;
    reader(&server, &clock(), certificate("good.pem", None)).get(&users()).await.unwrap();
    let tokens: Vec<_> = server.seen().into_iter().filter(Seen::is_token).collect();
    assert_eq!(field(&tokens[1], "claims").as_deref(), Some(r#"{"a":1}"#));
    assert!(field(&tokens[1], "client_assertion").is_some());

    let server = Server::raw(script).await;
    let error = reader(&server, &clock(), machine(&server, None)).get(&users()).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized { check, .. } if check.contains("managed identity")), "{error}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn github_is_asked_for_an_assertion() {
    let server = Server::raw(|seen, before| match seen.target.as_str() {
        _ if seen.is_token() => token("t", 3600),
        "/v1.0/users" => Reply::json(200, EMPTY),
        _ if before == 0 => Reply::error(503, "x"),
        _ => Reply::json(200, r#"{"count":1,"value":"outer.assertion"}"#),
    })
    .await;
    let github = |url: String, token: &str| {
        let assertion = Assertion::GitHub { url, token: SecretString::from(token) };
        Credential::WorkloadIdentity { client_id: "client".to_owned(), assertion }
    };
    let credential = github(format!("{}/request?api-version=2.0", server.url), "runner");
    reader(&server, &clock(), credential).get(&users()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[1].target, "/request?api-version=2.0&audience=api%3A%2F%2FAzureADTokenExchange");
    assert_eq!((seen[1].method.as_str(), seen[1].header("authorization")), ("GET", Some("Bearer runner")));
    let sent = seen.iter().find(|seen| seen.is_token()).unwrap();
    assert_eq!(field(sent, "client_assertion").as_deref(), Some("outer.assertion"));

    let server = Server::raw(|_, _| Reply::error(403, "x")).await;
    let credential = github(format!("{}/request?a=1", server.url), "runner");
    let error = reader(&server, &clock(), credential).get(&users()).await.unwrap_err();
    assert!(error.to_string().contains("id-token: write") && !error.to_string().contains("runner"), "{error}");

    let options = Options { credential: github("http://github.example/x".to_owned(), "t"), ..server.options() };
    assert!(matches!(Reader::new(options, Arc::new(clock())), Err(Error::Options { .. })));
}

#[tokio::test]
async fn a_machine_asks_its_metadata_service() {
    let expires_on = clock().now().as_second() + 3600;
    for (answer, client_id) in [
        (r#"{"access_token":"m","expires_in":"3599","token_type":"Bearer"}"#.to_owned(), None),
        (format!(r#"{{"access_token":"m","expires_on":"{expires_on}"}}"#), Some("user-assigned")),
        (format!(r#"{{"access_token":"m","expires_on":{expires_on}}}"#), None),
    ] {
        let server = Server::raw(move |seen, _| match seen.target.starts_with("/metadata") {
            true => Reply::json(200, answer.clone()),
            false => Reply::json(200, EMPTY),
        })
        .await;
        let clock = clock();
        let reader = reader(&server, &clock, machine(&server, client_id));
        reader.get(&users()).await.unwrap();
        clock.advance(Duration::from_secs(3240));
        reader.get(&users()).await.unwrap();
        let resource = server.url.replace(':', "%3A").replace('/', "%2F");
        let client = client_id.map(|id| format!("&client_id={id}")).unwrap_or_default();
        let expected = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}{client}");
        let seen = server.seen();
        assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", expected.as_str()));
        assert_eq!(seen[0].header("metadata"), Some("true"));
        assert_eq!(seen[1].header("authorization"), Some("Bearer m"));
        assert_eq!(seen.len(), 3, "one token for an hour");
        clock.advance(Duration::from_secs(120));
        reader.get(&users()).await.unwrap();
        assert_eq!(server.seen().len(), 5, "renewed before it ends");
    }
}

#[tokio::test]
async fn a_metadata_service_that_is_busy_or_being_updated_is_asked_again() {
    let answers = [404, 410, 429, 500];
    let server = Server::raw(move |seen, before| match (seen.target.starts_with("/metadata"), answers.get(before)) {
        (true, Some(410)) => Reply::error(410, "updating"),
        (true, Some(status)) => Reply::error(*status, "busy"),
        (true, None) => token("m", 3600),
        (false, _) => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    reader(&server, &clock, machine(&server, None)).get(&users()).await.unwrap();
    assert!((12.0..30.0).contains(&elapsed(&clock)), "{}", elapsed(&clock));

    // It may take 70 seconds.
    let clock = scripted::clock();
    let (hand, start) = (clock.clone(), clock.now());
    let server = Server::raw(move |seen, _| match seen.target.starts_with("/metadata") {
        true if hand.now().duration_since(start).as_secs() < 65 => Reply::error(410, "updating"),
        true => token("m", 3600),
        false => Reply::json(200, EMPTY),
    })
    .await;
    reader(&server, &clock, machine(&server, None)).get(&users()).await.unwrap();

    let server = Server::raw(|_, _| Reply::json(400, r#"{"error":"invalid_request","error_description":"x y"}"#)).await;
    let error = reader(&server, &scripted::clock(), machine(&server, None)).get(&users()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no such managed identity") && text.contains("invalid_request") && !text.contains("x y"));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn app_service_is_asked_with_its_header() {
    let server = Server::raw(|seen, _| match seen.target.starts_with("/msi") {
        true => Reply::json(200, r#"{"access_token":"a","expires_on":"1785546000","resource":"r"}"#),
        false => Reply::json(200, EMPTY),
    })
    .await;
    let host =
        IdentityHost::AppService { url: format!("{}/msi/token", server.url), secret: SecretString::from("known") };
    let credential = Credential::ManagedIdentity { client_id: Some("u".to_owned()), host };
    assert!(!format!("{credential:?}").contains("known"));
    let reader = reader(&server, &clock(), credential);
    reader.get(&users()).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].target.starts_with("/msi/token?api-version=2019-08-01&resource="), "{}", seen[0].target);
    assert!(seen[0].target.ends_with("&client_id=u"), "{}", seen[0].target);
    assert_eq!(seen[0].header("x-identity-header"), Some("known"));
    let identity = reader.identity().await.unwrap();
    assert_eq!(identity.credential, "managed_identity");
    assert_eq!(identity.expires, Timestamp::from_second(1_785_546_000).unwrap());
}

#[test]
fn tokens_of_a_machine_come_from_nearby_only() {
    for (url, fits) in [
        ("http://169.254.169.254", true),
        ("http://169.254.131.2:8081", true),
        ("http://localhost:42356", true),
        ("https://identity.example", true),
        ("http://identity.example", false),
        ("http://10.0.0.1", false),
        ("ftp://127.0.0.1", false),
        ("http://u@127.0.0.1", false),
        ("nowhere", false),
    ] {
        let host = IdentityHost::Machine { url: Some(url.to_owned()) };
        let credential = Credential::ManagedIdentity { client_id: None, host };
        let built = Reader::new(Options::new("t", credential), Arc::new(clock()));
        assert_eq!(built.is_ok(), fits, "{url}");
    }
}

#[tokio::test]
async fn who_the_token_says_we_are_is_told_without_the_token() {
    let claims = r#"{"appid":"app-id","tid":"tenant-id","roles":["User.Read.All","Group.Read.All"],"exp":1}"#;
    let text = format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
    let server = Server::raw(move |_, _| token(&text, 3600)).await;
    let clock = clock();
    let identity = server.reader(&clock).identity().await.unwrap();
    assert_eq!(identity.credential, "client_secret");
    assert_eq!(identity.application.as_deref(), Some("app-id"));
    assert_eq!(identity.tenant.as_deref(), Some("tenant-id"));
    assert_eq!(identity.expires, clock.now() + jiff::SignedDuration::from_secs(3600));
    assert_eq!(identity.roles.unwrap(), ["Group.Read.All", "User.Read.All"]);
}

#[test]
fn clouds_have_their_own_hosts() {
    for (cloud, graph, login) in [
        (Cloud::Global, "https://graph.microsoft.com", "https://login.microsoftonline.com"),
        (Cloud::UsGov, "https://graph.microsoft.us", "https://login.microsoftonline.us"),
        (Cloud::UsDod, "https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
        (Cloud::China, "https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    ] {
        assert_eq!((cloud.graph_url(), cloud.login_url()), (graph, login));
    }
}

#[tokio::test]
async fn a_login_service_that_hangs_breaks_or_floods_ends_in_time() {
    for (name, reply, limit) in [
        ("reset", Reply::body(Body::Reset), None),
        ("stalled", Reply::body(Body::Stalled), None),
        ("endless", Reply::body(Body::Endless), Some("bytes")),
        ("no json", Reply::json(200, "<html>"), None),
        ("no token", Reply::json(200, r#"{"expires_in":1}"#), None),
    ] {
        let server = Server::raw(move |_, _| reply.clone()).await;
        let limits = Limits { tries: 2, request_timeout: Duration::from_millis(200), ..Limits::default() };
        let reader = Reader::new(Options { limits, ..server.options() }, Arc::new(clock())).unwrap();
        let error = tokio::time::timeout(Duration::from_secs(20), reader.get(&users())).await.unwrap().unwrap_err();
        match limit {
            Some(word) => assert!(error.to_string().contains(word), "{name}: {error}"),
            None => assert!(error.is_transient(), "{name}: {error}"),
        }
        assert!(server.seen().len() <= 2, "{name}");
    }
}
