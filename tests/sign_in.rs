//! Every kind of credential from the configuration to a committed capture, against a login service that checks them; and
//! what is said where one is wrong: clearly, with the right exit code, and without the secret.

#[path = "support/command.rs"]
mod command;
mod scripted;
#[path = "support/world.rs"]
mod world;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use command::{Bench, Outcome, secret_table, tenant_table};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use scripted::{Reply, Server};
use serde_json::json;
use tenure::clock::Clock;
use world::World;

const START: &str = "2026-06-29T00:00:00Z";
const ISSUER: &str = "https://cluster.example/oidc";
const SUBJECT: &str = "system:serviceaccount:tenure:tenure";

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/credentials").join(name).display().to_string()
}

/// A token of another issuer, signed with `good.key`.
fn assertion(world: &World, subject: &str, audience: &str) -> String {
    let now = world.clock.now().as_second();
    let claims =
        json!({"iss": ISSUER, "sub": subject, "aud": audience, "iat": now, "nbf": now, "exp": now + 24 * 3600});
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(json!({"alg": "RS256", "typ": "JWT", "kid": "1"})), part(claims));
    let key = PrivatePkcs8KeyDer::from_pem_file(file("good.key")).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A way to sign in: its table, and what stands in the environment.
struct Way {
    name: &'static str,
    table: String,
    variables: Vec<(&'static str, String)>,
    /// What must not be shown.
    secrets: Vec<String>,
}

impl Way {
    fn run(&self, world: &World, bench: &Bench, arguments: &[&str]) -> Outcome {
        bench.configure(&(tenant_table(&world.tenant) + &self.table));
        let variables: Vec<(&str, &str)> = self.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let outcome = bench.run(arguments, &variables);
        let shown = outcome.all();
        for secret in self.secrets.iter().chain([&world.tenant.client_secret()]) {
            assert!(!shown.contains(secret.as_str()), "{}: a secret is shown: {shown}", self.name);
        }
        outcome
    }
}

fn way(name: &'static str, table: String) -> Way {
    Way { name, table, variables: Vec::new(), secrets: Vec::new() }
}

fn certificate(client: &str, certificate: &str, key: Option<&str>) -> String {
    let key = key.map(|key| format!("certificate_key_file = {:?}\n", file(key))).unwrap_or_default();
    format!(
        "[credential]\nkind = \"client_certificate\"\nclient_id = \"{client}\"\ncertificate_file = {:?}\n{key}",
        file(certificate)
    )
}

fn workload(client: &str, file: Option<&str>) -> String {
    let file = file.map(|file| format!("assertion_file = \"{file}\"\n")).unwrap_or_default();
    format!("[credential]\nkind = \"workload_identity\"\nclient_id = \"{client}\"\n{file}")
}

fn managed(lines: &str) -> String {
    format!("[credential]\nkind = \"managed_identity\"\n{lines}")
}

fn assert_committed(bench: &Bench, outcome: &Outcome, name: &str) {
    assert_eq!(outcome.code, 0, "{name}: {}", outcome.all());
    let entry: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(entry["kind"], "capture", "{name}");
    let cover = entry["cover"].as_array().unwrap();
    let is_short = |row: &&serde_json::Value| {
        matches!(row["st"].as_str(), Some("partial" | "carried" | "absent")) && row["code"] != "not-yet"
    };
    let short: Vec<_> = cover.iter().filter(is_short).collect();
    assert!(short.is_empty(), "{name}: {short:?}");
    assert_eq!(bench.run(&["verify"], &[]).code, 0, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_credential_brings_a_capture_about() {
    let world = World::without_archive(51, 40, START).await;
    let good = std::fs::read(file("good.crt")).unwrap();
    world.tenant.register_certificate(&good).unwrap();
    world.tenant.trust(ISSUER, SUBJECT, &good).unwrap();
    let (url, client, secret) = (world.tenant.url(), world.tenant.client_id(), world.tenant.client_secret());
    let outer = assertion(&world, SUBJECT, AUDIENCE);
    let bench = Bench::new(&world.tenant, &world.clock, "");
    std::fs::write(bench.path("assertion"), format!("{outer}\n")).unwrap();
    let answer = json!({"count": 1, "value": outer}).to_string();
    let github = Server::raw(move |seen, _| {
        assert_eq!(seen.header("authorization"), Some("Bearer runner-token"));
        Reply::json(200, answer.clone())
    })
    .await;
    let kinds = vec![
        way("a secret in a file", secret_table(&world.tenant)),
        Way {
            variables: vec![("MY_SECRET", secret.clone())],
            ..way(
                "a secret in a variable",
                format!("[credential]\nclient_id = \"{client}\"\nclient_secret_env = \"MY_SECRET\"\n"),
            )
        },
        way("a certificate with its key", certificate(&client, "good.pem", None)),
        way("a certificate and a key", certificate(&client, "good.crt", Some("good.key"))),
        Way { secrets: vec![outer.clone()], ..way("an assertion in a file", workload(&client, Some("assertion"))) },
        Way {
            variables: vec![("AZURE_FEDERATED_TOKEN_FILE", bench.path("assertion").display().to_string())],
            secrets: vec![outer.clone()],
            ..way("an assertion that the platform names", workload(&client, None))
        },
        Way {
            variables: vec![
                ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/token?api-version=2.0", github.url)),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-token".to_owned()),
            ],
            secrets: vec![outer.clone(), "runner-token".to_owned()],
            ..way("an assertion of GitHub's", workload(&client, None))
        },
        way("the identity of a machine", managed(&format!("identity_url = \"{url}\"\n"))),
        way(
            "one of the identities of a machine",
            managed(&format!("identity_url = \"{url}\"\nclient_id = \"{client}\"\n")),
        ),
        Way {
            variables: vec![
                ("IDENTITY_ENDPOINT", world.tenant.identity_endpoint()),
                ("IDENTITY_HEADER", world.tenant.identity_header()),
            ],
            secrets: vec![world.tenant.identity_header()],
            ..way("the identity of an app", managed(""))
        },
    ];
    assert_eq!(kinds[0].run(&world, &bench, &["init"]).code, 0);
    for way in &kinds {
        world.hour();
        let outcome = way.run(&world, &bench, &["capture", "--json"]);
        assert_committed(&bench, &outcome, way.name);
        // What the login service said before no longer counts.
        world.tenant.revoke_tokens();
    }
    assert!(!github.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_credential_is_named_and_nothing_is_committed() {
    let world = World::without_archive(52, 40, START).await;
    let good = std::fs::read(file("good.crt")).unwrap();
    world.tenant.trust(ISSUER, SUBJECT, &good).unwrap();
    let (url, client) = (world.tenant.url(), world.tenant.client_id());
    let bench = Bench::new(&world.tenant, &world.clock, "");
    let others = assertion(&world, "system:serviceaccount:other:other", AUDIENCE);
    let elsewhere = assertion(&world, SUBJECT, "api://elsewhere");
    std::fs::write(bench.path("others"), &others).unwrap();
    std::fs::write(bench.path("elsewhere"), &elsewhere).unwrap();
    std::fs::write(bench.path("wrong"), "hunter2-hunter2").unwrap();
    let secret =
        |client: &str, file: &str| format!("[credential]\nclient_id = \"{client}\"\nclient_secret_file = \"{file}\"\n");
    let login = [("IDENTITY_ENDPOINT", world.tenant.identity_endpoint()), ("IDENTITY_HEADER", "hunter2".to_owned())];
    // Each with its exit code (1: refused outside; 2: the configuration) and a word that says what it is about.
    let wrong: Vec<(Way, u8, &str)> = vec![
        (
            Way { secrets: vec!["hunter2".to_owned()], ..way("a wrong secret", secret(&client, "wrong")) },
            1,
            "AADSTS7000215",
        ),
        (way("a wrong client", secret("00000000-0000-4000-8000-000000000000", "secret")), 1, "AADSTS700016"),
        (way("no secret file", secret(&client, "nowhere")), 2, "nowhere"),
        (way("a certificate that nobody registered", certificate(&client, "good.pem", None)), 1, "AADSTS700027"),
        (way("no certificate", certificate(&client, "nowhere.pem", None)), 2, "certificate_file"),
        (
            way("a certificate that has expired", certificate(&client, "expired.crt", Some("expired.key"))),
            2,
            "has expired",
        ),
        (way("another certificate's key", certificate(&client, "other.crt", Some("good.key"))), 2, "isn't that of"),
        (
            Way { secrets: vec![others.clone()], ..way("another subject", workload(&client, Some("others"))) },
            1,
            "AADSTS700213",
        ),
        (
            Way { secrets: vec![elsewhere.clone()], ..way("another audience", workload(&client, Some("elsewhere"))) },
            1,
            "AADSTS700213",
        ),
        (way("no assertion", workload(&client, Some("nowhere"))), 2, "assertion_file"),
        (way("no platform", workload(&client, None)), 2, "AZURE_FEDERATED_TOKEN_FILE"),
        (
            way(
                "another identity of the machine",
                managed(&format!("identity_url = \"{url}\"\nclient_id = \"00000000-0000-4000-8000-000000000000\"\n")),
            ),
            1,
            "no such managed identity",
        ),
        (
            Way {
                variables: login.to_vec(),
                secrets: vec!["hunter2".to_owned()],
                ..way("another app's header", managed(""))
            },
            1,
            "unauthorized",
        ),
        (way("an unknown kind", "[credential]\nkind = \"password\"\nclient_id = \"a\"\n".to_owned()), 2, "password"),
    ];
    let right = way("the right secret", secret_table(&world.tenant));
    assert_eq!(right.run(&world, &bench, &["init"]).code, 0);
    world.hour();
    for (way, code, word) in &wrong {
        for arguments in [&["capture"][..], &["capture", "--json"], &["doctor"]] {
            let outcome = way.run(&world, &bench, arguments);
            let all = outcome.all();
            assert_eq!(outcome.code, *code, "{} {arguments:?}: {all}", way.name);
            assert!(all.contains(word), "{} {arguments:?}: {all}", way.name);
        }
    }
    let captures = right.run(&world, &bench, &["captures", "--json"]).out;
    assert!(!captures.contains("\"kind\":\"capture\""), "{captures}");
    let outcome = right.run(&world, &bench, &["capture", "--json"]);
    assert_committed(&bench, &outcome, "at last");
}

/// Each cloud by its name, with its hosts overridden by those of the simulator; and two that don't belong together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clouds_are_named_in_the_configuration_and_their_tokens_are_not_mixed() {
    let world = World::without_archive(53, 40, START).await;
    let other = World::without_archive(54, 40, START).await;
    let bench = Bench::new(&world.tenant, &world.clock, &(tenant_table(&world.tenant) + &secret_table(&world.tenant)));
    assert_eq!(bench.run(&["init"], &[]).code, 0);
    for cloud in ["global", "us-gov", "us-dod", "china"] {
        world.hour();
        let tenant = tenant_table(&world.tenant);
        bench.configure(&format!("{tenant}cloud = \"{cloud}\"\n{}", secret_table(&world.tenant)));
        assert_committed(&bench, &bench.run(&["capture", "--json"], &[]), cloud);
    }
    let tenant = tenant_table(&world.tenant);
    bench.configure(&format!("{tenant}cloud = \"germany\"\n{}", secret_table(&world.tenant)));
    let outcome = bench.run(&["capture"], &[]);
    assert_eq!(outcome.code, 2, "{}", outcome.all());
    assert!(outcome.err.contains("germany") && outcome.err.contains("us-gov"), "{}", outcome.err);
    // A token of one cloud's login service for another's Graph.
    let (login, graph) = (world.tenant.url(), other.tenant.url());
    let mixed = format!(
        "[tenant]\nid = \"{}\"\nlogin_url = \"{login}\"\ngraph_url = \"{graph}\"\n{}",
        world.tenant.tenant_id(),
        secret_table(&world.tenant)
    );
    bench.configure(&mixed);
    let outcome = bench.run(&["capture"], &[]);
    assert_eq!(outcome.code, 1, "{}", outcome.all());
    assert!(outcome.err.contains("AADSTS70011"), "{}", outcome.err);
    // Plain HTTP is for this machine only.
    bench.configure(&mixed.replace(&graph, "http://graph.example"));
    let outcome = bench.run(&["capture"], &[]);
    assert_eq!(outcome.code, 2, "{}", outcome.all());
    assert!(outcome.err.contains("graph_url"), "{}", outcome.err);
}
