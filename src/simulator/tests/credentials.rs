//! Every way to sign in, and what makes a token worthless.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};

use super::*;

const CERTIFICATE: &str = include_str!("certificate.pem");
const KEY: &str = include_str!("key.pem");

fn der(pem: &str) -> Vec<u8> {
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

fn jwt(algorithm: &str, print: (&str, String), claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": algorithm, "typ": "JWT", print.0: print.1})), part(claims));
    let padding: &'static dyn RsaEncoding = if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
    let key = RsaKeyPair::from_pkcs8(&der(KEY)).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sha256() -> (&'static str, String) {
    ("x5t#S256", URL_SAFE_NO_PAD.encode(digest(&SHA256, &der(CERTIFICATE))))
}

fn sha1() -> (&'static str, String) {
    ("x5t", URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der(CERTIFICATE))))
}

async fn present(reader: &Reader, assertion: &str) -> (u16, Value) {
    let url = format!("{}/{}/oauth2/v2.0/token", reader.simulator.url(), reader.simulator.tenant_id());
    let (scope, client) = (format!("{}/.default", reader.simulator.url()), reader.simulator.client_id());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &client),
        ("scope", &scope),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ];
    let response = reader.http.post(url).form(&form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn claims(reader: &Reader, id: &str) -> Value {
    let (client, now) = (reader.simulator.client_id(), reader.clock.now().as_second());
    let audience = format!("{}/{}/oauth2/v2.0/token", reader.simulator.url(), reader.simulator.tenant_id());
    json!({"aud": audience, "iss": client, "sub": client, "jti": id, "nbf": now, "exp": now + 300})
}

#[tokio::test]
async fn a_certificate_signs_in_once_for_each_assertion() {
    let reader = Reader::start(small(1)).await;
    let good = jwt("PS256", sha256(), &claims(&reader, "1"));
    let (status, body) = present(&reader, &good).await;
    assert_eq!((status, &body["error_codes"][0]), (401, &json!(700_027)), "nobody has registered the certificate");
    reader.simulator.register_certificate(CERTIFICATE.as_bytes()).unwrap();
    assert_eq!(present(&reader, &good).await.0, 200);
    assert_eq!(present(&reader, &good).await.0, 401, "its id was used");
    assert_eq!(present(&reader, &jwt("RS256", sha1(), &claims(&reader, "2"))).await.0, 200);

    let change = |name: &str, value: Value| {
        let mut claims = claims(&reader, &format!("changed {name}"));
        claims[name] = value;
        jwt("PS256", sha256(), &claims)
    };
    let now = reader.clock.now().as_second();
    for (assertion, code) in [
        (change("exp", json!(now - 301)), 700_024),
        (change("nbf", json!(now + 301)), 700_024),
        (change("aud", json!("https://elsewhere.example")), 700_023),
        (change("sub", json!("somebody")), 700_021),
        (change("jti", Value::Null), 50_027),
        (format!("{}x", jwt("RS256", sha256(), &claims(&reader, "3"))), 50_027),
        (good.replacen('.', "A.", 1), 50_027),
        ("nonsense".into(), 50_027),
    ] {
        let (status, body) = present(&reader, &assertion).await;
        assert_eq!((status, &body["error_codes"][0]), (401, &json!(code)), "{body}");
    }
    assert!(reader.simulator.register_certificate(b"rubbish").is_err());
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_will_do() {
    let reader = Reader::start(small(1)).await;
    let now = reader.clock.now().as_second();
    let claims = |issuer: &str, subject: &str, audience: &str| json!({"iss": issuer, "sub": subject, "aud": audience, "exp": now + 60});
    let audience = "api://AzureADTokenExchange";
    let key = ("kid", "k".to_owned());
    let good = jwt("RS256", key.clone(), &claims("https://oidc.example", "runner", audience));
    assert_eq!(present(&reader, &good).await.0, 401);
    reader.simulator.trust("https://oidc.example", "runner", &der(CERTIFICATE)).unwrap();
    assert_eq!(present(&reader, &good).await.0, 200);
    for wrong in [
        claims("https://other.example", "runner", audience),
        claims("https://oidc.example", "walker", audience),
        claims("https://oidc.example", "runner", "api://other"),
    ] {
        assert_eq!(present(&reader, &jwt("RS256", key.clone(), &wrong)).await.1["error_codes"][0], 700_213);
    }
}

#[tokio::test]
async fn managed_identities_need_their_headers_and_keep_their_tokens() {
    let reader = Reader::start(small(1)).await;
    let base = reader.simulator.url();
    let get = async |url: String, header: Option<(&str, String)>| {
        let request = reader.http.get(url);
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let metadata = || Some(("Metadata", "true".to_owned()));
    let machine = format!("{base}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={base}");
    let (status, first) = get(machine.clone(), metadata()).await;
    assert_eq!((status, &first["expires_in"]), (200, &json!("86400")));
    let used = reader.http.get(reader.v1("organization")).bearer_auth(first["access_token"].as_str().unwrap());
    assert_eq!(used.send().await.unwrap().status(), 200);
    reader.clock.set(reader.clock.now() + hours(5));
    let own = format!("{machine}&client_id={}", reader.simulator.client_id());
    assert_eq!(get(machine.clone(), metadata()).await.1["access_token"], first["access_token"]);
    reader.clock.set(reader.clock.now() + hours(8));
    assert_ne!(get(machine.clone(), metadata()).await.1["access_token"], first["access_token"]);
    assert_eq!(get(own, metadata()).await.0, 200);
    assert_eq!(get(machine.clone(), None).await.0, 400);
    assert_eq!(get(format!("{machine}&client_id=other"), metadata()).await.0, 400);

    let service = format!("{}?api-version=2019-08-01&resource={base}", reader.simulator.identity_endpoint());
    let header = || Some(("X-IDENTITY-HEADER", reader.simulator.identity_header()));
    assert_eq!(get(service.clone(), header()).await.0, 200);
    assert_eq!(get(service.replace("2019-08-01", "2018-02-01"), header()).await.0, 400);
    assert_eq!(get(service, None).await.0, 401);
}

#[tokio::test]
async fn a_challenge_is_met_only_by_a_token_with_the_claims() {
    let reader = Reader::start(small(1)).await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1780272000"}}}"#;
    reader.simulator.demand_claims(Some(claims));
    let refused = reader.once(&reader.v1("organization")).await.unwrap();
    let challenge = refused.headers["www-authenticate"].to_str().unwrap();
    let encoded = challenge.split("claims=\"").nth(1).unwrap().trim_end_matches('"');
    assert!(challenge.contains("error=\"insufficient_claims\""));
    assert_eq!((refused.status, STANDARD.decode(encoded).unwrap()), (401, claims.as_bytes().to_vec()));

    let url = format!("{}/{}/oauth2/v2.0/token", reader.simulator.url(), reader.simulator.tenant_id());
    let merged = r#"{"access_token":{"nbf":{"essential":true,"value":"1780272000"},"xms_cc":{"values":["cp1"]}}}"#;
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", reader.simulator.client_id()),
        ("client_secret", reader.simulator.client_secret()),
        ("scope", format!("{}/.default", reader.simulator.url())),
        ("claims", merged.to_owned()),
    ];
    let body: Value = reader.http.post(url).form(&form).send().await.unwrap().json().await.unwrap();
    *reader.token.lock().await = body["access_token"].as_str().map(str::to_owned);
    assert_eq!(reader.once(&reader.v1("organization")).await.unwrap().status, 200);

    reader.simulator.revoke_tokens();
    assert_eq!(reader.once(&reader.v1("organization")).await.unwrap().status, 401);
    reader.simulator.demand_claims(None);
    assert_eq!(reader.get(&reader.v1("organization")).await.status, 200);
}
