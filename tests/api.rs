//! The interface over HTTP: who may ask what, what is answered, what is recorded before it leaves, and its bounds.

#[path = "api/issuer.rs"]
mod issuer;
#[path = "api/limits.rs"]
mod limits;
#[path = "api/schemathesis.rs"]
mod schemathesis;
#[path = "api/served.rs"]
mod served;
mod support;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use issuer::{Issuer, sign};
use jiff::Timestamp;
use serde_json::{Value, json};
use served::*;
use tenure::answer::objects;
use tenure::clock::ManualClock;
use tenure::query::{Moment, Scope};
use tenure::web::{Name, OPERATIONS, Operation, Place, ROOT, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A path that asks an operation of the first tenant something it can answer.
fn path_of(operation: &Operation) -> String {
    let path = operation.path.replace("{tenant}", FIRST).replace("{name}", &segment(ADELE));
    let path = path.replace("{question}", "accounts");
    let query: Vec<String> = operation
        .parameters
        .iter()
        .filter(|parameter| parameter.place == Place::Required)
        .map(|parameter| match parameter.name {
            "text" => "text=adele".to_owned(),
            "from" => "from=%231".to_owned(),
            other => panic!("{other}"),
        })
        .collect();
    format!("{ROOT}{path}?{}", query.join("&"))
}

/// Each operation, each role, and every defect that a token may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_whoever_has_the_role_is_answered_and_strangers_learn_nothing() {
    let kept = Kept::new(FIRST, 3).await;
    let issuer = Issuer::start().await;
    let served = Served::start(&[&kept], Setup { issuer: Some(&issuer), ..Setup::default() }).await;
    let refused = served.get(&format!("{ROOT}/nowhere"), None).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    let mut asked = 0;
    for operation in OPERATIONS {
        let path = path_of(operation);
        let mut callers: Vec<(String, String)> =
            vec![("no token".into(), String::new()), ("no scheme".into(), issuer.token(&["Administrator"]))];
        for (defect, token) in issuer.bad_tokens(&["Administrator"]) {
            callers.push((defect.to_owned(), format!("Bearer {token}")));
        }
        for (who, header) in &callers {
            let mut request = served.request(&path, None);
            if !header.is_empty() {
                request = request.header("authorization", header);
            }
            let answer = answer(request).await;
            assert_eq!((answer.status, &answer.body), (401, &refused.body), "{} with {who}", operation.id);
            asked += 1;
        }
        for roles in
            [&[][..], &["Root"], &["reader"], &["Reader"], &["Auditor"], &["Legal"], &["Operator"], &["Administrator"]]
        {
            let is_allowed =
                roles.iter().filter_map(|name| Role::from_value(name)).any(|role| operation.roles.contains(&role));
            let answer = served.get(&path, Some(&issuer.token(roles))).await;
            let expected = if is_allowed { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{} as {roles:?}: {}", operation.id, answer.body);
            if !is_allowed {
                assert!(!answer.body.to_lowercase().contains("adele"), "{}", answer.body);
            }
            asked += 1;
        }
    }
    assert_eq!(asked, OPERATIONS.len() * (2 + 25 + 8));
    // Whoever may not ask of a tenant that is served isn't told from whoever asks of one that isn't.
    let reader = issuer.token(&["Reader"]);
    let known = served.get(&format!("{ROOT}/tenants/{FIRST}/status"), Some(&reader)).await;
    let unknown = served.get(&format!("{ROOT}/tenants/nobody.example/status"), Some(&reader)).await;
    assert_eq!((known.status, &known.body), (unknown.status, &unknown.body));
    // Strangers are counted, those who are known are recorded with what they are called.
    let metrics = served.get("/metrics", None).await.body;
    for reason in
        ["no-token", "algorithm", "unknown-key", "signature", "expired", "audience", "issuer", "tenant", "role"]
    {
        assert!(metrics.contains(&format!("tenure_web_denied_total{{reason=\"{reason}\"}}")), "{reason}: {metrics}");
    }
    let refusals: Vec<_> = kept.uses().into_iter().filter(|record| record.members["outcome"] == "refused").collect();
    assert!(!refusals.is_empty() && refusals.len() <= 41, "{} refusals of one caller, some counted", refusals.len());
    assert_eq!(refusals[0].members["who"]["user"], "asker@contoso.example");
    kept.tenant.ledger.close().unwrap();
    let denials: u64 = kept.uses().iter().filter_map(tenure::ledger::Record::denials).sum();
    assert!(denials >= (OPERATIONS.len() * 26) as u64, "{denials}");
}

/// The table, the routes and the description name the same; what isn't in the table can't be asked.
#[tokio::test]
async fn every_route_has_a_row_and_the_description_is_the_one_that_was_read() {
    let document = tenure::web::document();
    let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let listed: BTreeSet<String> = OPERATIONS.iter().map(|operation| format!("{ROOT}{}", operation.path)).collect();
    assert_eq!(described, listed);
    assert!(OPERATIONS.iter().all(|operation| !operation.roles.is_empty()));
    let names: BTreeSet<Name> = OPERATIONS.iter().map(|operation| operation.name).collect();
    assert_eq!(names.len(), OPERATIONS.len());
    let content = [Name::Show, Name::History, Name::Search, Name::Dump, Name::Diff, Name::Ask];
    for operation in OPERATIONS.iter().filter(|operation| content.contains(&operation.name)) {
        assert!(!operation.roles.contains(&Role::Operator), "{} shows content", operation.id);
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let found = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("TENURE_WRITE_OPENAPI").is_some() {
        std::fs::write(file, &found).unwrap();
    }
    let read = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        found == read,
        "docs/openapi.json isn't what the program says; TENURE_WRITE_OPENAPI=1 writes it, then read it"
    );
    let kept = Kept::new(FIRST, 1).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    assert_eq!(served.get(&format!("{ROOT}/openapi.json"), None).await.json(), document);
    assert!(served.get("/", None).await.body.contains("/api/v1/openapi.json"));
    for path in ["/api/v1/secret", "/api/v2/tenants", "/api/v1/tenants/contoso.example/objects"] {
        assert_eq!(served.get(path, Some(LOCAL_TOKEN)).await.status, 404, "{path}");
    }
    for method in [reqwest::Method::POST, reqwest::Method::DELETE, reqwest::Method::OPTIONS] {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.request(method.clone(), format!("{}{ROOT}/tenants", served.url));
        let answer = answer(request.bearer_auth(LOCAL_TOKEN)).await;
        assert_eq!(answer.status, 405, "{method}");
    }
}

/// The keys rotate; strangers can't make the service hammer the issuer; without it the last good keys count.
#[tokio::test]
async fn keys_rotate_and_the_last_good_ones_count_while_the_issuer_is_away() {
    let kept = Kept::new(FIRST, 1).await;
    let issuer = Issuer::start().await;
    let clock = ManualClock::new(Timestamp::now());
    let setup = Setup { issuer: Some(&issuer), clock: Arc::new(clock.clone()), ..Setup::default() };
    let served = Served::start(&[&kept], setup).await;
    let path = format!("{ROOT}/tenants");
    let by = |name: &str| {
        let mut claims = issuer.claims(&["Reader"]);
        claims["exp"] = json!(Timestamp::now().as_second() + 100_000);
        sign(&json!({"alg": "RS256", "kid": name}), &claims, name)
    };
    let status = async |token: &str| served.get(&path, Some(token)).await.status;
    issuer.set_away(true);
    assert_eq!(status(&by("good")).await, 503, "nobody can tell");
    issuer.set_away(false);
    assert_eq!(status(&by("good")).await, 503, "not asked again at once");
    clock.advance(Duration::from_secs(61));
    assert_eq!(status(&by("good")).await, 200);
    let asked = issuer.asked();
    for _ in 0..20 {
        assert_eq!(status(&by("future")).await, 401);
    }
    assert_eq!(issuer.asked(), asked, "within a minute nobody makes it ask again");
    issuer.rotate(&["good", "future"]);
    clock.advance(Duration::from_secs(61));
    assert_eq!(status(&by("future")).await, 200, "a new key is found");
    issuer.rotate(&["future"]);
    clock.advance(Duration::from_secs(3601));
    assert_eq!(status(&by("future")).await, 200);
    assert_eq!(status(&by("good")).await, 401, "a key that isn't published any more is nobody's");
    issuer.set_away(true);
    clock.advance(Duration::from_secs(7200));
    assert_eq!(status(&by("future")).await, 200, "the last good keys");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_say_what_the_command_line_says() {
    let kept = Kept::new(FIRST, 5).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let archive = kept.archive().await;
    let now = Timestamp::now();
    for (at, moment) in [("", Moment::Head), ("?at=%231", Moment::Capture(1))] {
        let instant = archive.at(&moment, now).unwrap();
        for name in [ADELE, "Adele Vance", "adele@contoso.example"] {
            let answer = served.ask(&format!("/objects/{}{at}", segment(name))).await;
            let (key, id) = archive.resolve(name, &instant).await.unwrap();
            let expected = objects::object(&archive.as_of(&key, id, &instant).await.unwrap());
            assert_eq!(answer.body, expected + "\n", "{name} {at}");
        }
    }
    let history = served.ask(&format!("/objects/{}/history", segment(ADELE))).await.json();
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
    assert_eq!(history["incomplete"], false);
    let found = served.ask("/search?text=ADELE").await.json();
    assert_eq!(found["items"][0]["label"], "Adele Vance-Miller");
    let coverage = served.ask("/coverage?collection=user").await.json();
    assert_eq!(coverage["items"][0]["since"]["seq"], 1);
    let status = served.ask("/status").await.json();
    assert_eq!((&status["last_capture"]["seq"], &status["entries"]), (&json!(2), &json!(3)));
    assert_eq!(served.ask("/verification").await.json()["enabled"], false);
    let product = served.ask("/questions/accounts").await.json();
    assert_eq!(product["rows"].as_array().unwrap().len(), 6, "{product}");
    let again = served.ask("/questions/10").await.json();
    assert_eq!(product["hash"], again["hash"]);
    assert!(served.ask("/questions").await.json()["items"].as_array().unwrap().len() > 20);
    // Problems have the status of their kind, and hints.
    for (path, expected, kind) in [
        ("/objects/nobody", 404, "not-found"),
        ("/objects/Adele%20Vance?at=yesterdayish", 400, "usage"),
        ("/objects/Adele%20Vance?at=2020-01-01", 404, "not-found"),
        ("/objects/Adele%20Vance?known_at=77", 404, "not-found"),
        ("/questions/no-such", 404, "not-found"),
        ("/questions/role-holders?nonsense=1", 400, "usage"),
        ("/diff", 400, "usage"),
        ("/dump?collection=usr", 400, "usage"),
    ] {
        let answer = served.ask(path).await;
        assert_eq!((answer.status, &answer.json()["kind"]), (expected, &json!(kind)), "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.json()["hints"].is_array());
    }
}

/// Long answers are whole, say so, and say the same as the command line's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_are_streamed_whole() {
    let kept = Kept::new(FIRST, 3000).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let archive = kept.archive().await;
    let now = Timestamp::now();
    let head = archive.at(&Moment::Head, now).unwrap();
    let mut expected = Vec::new();
    let whole = archive.dump(&head, None, |lines| {
        expected.extend_from_slice(lines);
        Ok(ControlFlow::Continue(()))
    });
    whole.await.unwrap();
    let answer = served.ask("/dump").await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let (lines, end) = answer.body.trim_end().rsplit_once('\n').unwrap();
    assert!(format!("{lines}\n").as_bytes() == expected);
    let end: Value = serde_json::from_str(end).unwrap();
    assert_eq!(end["end"]["rows"], lines.lines().count());
    assert_eq!(end["end"]["incomplete"], false);
    let mut rows = Vec::new();
    let (from, to) = (archive.at(&Moment::Capture(1), now).unwrap(), head);
    let scope = Scope::default();
    let all = archive.difference(&from, &to, &scope, |difference| {
        rows.push(objects::difference(&difference));
        Ok(ControlFlow::Continue(()))
    });
    all.await.unwrap();
    let answer = served.ask("/diff?from=%231&effect=true").await;
    let found: Vec<&str> = answer.body.lines().collect();
    assert_eq!(found[..rows.len()], rows);
    assert!(found.last().unwrap().starts_with("{\"end\":"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_stay_the_same_while_the_log_grows() {
    let mut kept = Kept::new(FIRST, 25).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = served.ask(&format!("/search?text=p&limit=10{cursor}")).await.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()));
        assert_eq!(page["basis"]["seq"], 2, "each page is of the archive as the first page knew it");
        // The object that comes last by key now has another name.
        kept.change("Zoe").await;
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((pages, seen.len(), &sorted), (3, 26, &seen), "nothing twice, nothing left out");
    let oldest = served.ask("/captures?limit=2").await.json();
    let next = oldest["next"].as_str().unwrap();
    let more = served.ask(&format!("/captures?limit=2&cursor={next}")).await.json();
    let seqs =
        |page: &Value| page["items"].as_array().unwrap().iter().map(|row| row["seq"].clone()).collect::<Vec<_>>();
    assert_eq!((seqs(&oldest), seqs(&more)), (vec![json!(0), json!(1)], vec![json!(2), json!(3)]));
    let newest = served.ask("/captures?order=newest&limit=1").await.json();
    assert_eq!(seqs(&newest), [json!(2 + pages)]);
    // What is committed meanwhile comes on no page of an earlier request.
    let page = served.ask(&format!("/captures?limit={}", 2 + pages)).await.json();
    let next = page["next"].as_str().unwrap().to_owned();
    kept.change("Zelda").await;
    let last = served.ask(&format!("/captures?limit={}&cursor={next}", 2 + pages)).await.json();
    assert_eq!((seqs(&last), &last["next"]), (vec![json!(2 + pages)], &Value::Null));
    let next = oldest["next"].as_str().unwrap();
    // A cursor of another request is none.
    assert_eq!(served.ask(&format!("/captures?limit=3&cursor={next}")).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_client_has_is_not_sent_again_and_is_recorded_all_the_same() {
    let mut kept = Kept::new(FIRST, 3).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let path = format!("{ROOT}/tenants/{FIRST}/objects/{}", segment(ADELE));
    let first = served.get(&path, Some(LOCAL_TOKEN)).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("no-store"), "what is said of people is for nobody's cache");
    let again = async || answer(served.request(&path, Some(LOCAL_TOKEN)).header("if-none-match", &tag)).await;
    let same = again().await;
    assert_eq!((same.status, same.body.as_str(), same.header("etag")), (304, "", Some(&*tag)));
    assert_eq!(kept.uses().len(), 2);
    let other = served.get(&format!("{path}?at=%231"), Some(LOCAL_TOKEN)).await;
    assert_ne!(other.header("etag"), Some(&*tag));
    kept.change("Adele Miller").await;
    let changed = again().await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(&*tag));
}

/// What is asked stands in the own-use log before the first byte of the answer; where it can't stand there, there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_before_it_is_recorded() {
    let kept = Kept::new(FIRST, 3000).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let asked = format!(
        "GET {ROOT}/tenants/{FIRST}/dump HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {LOCAL_TOKEN}\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    let uses = kept.uses();
    let record = &uses[0].members;
    assert_eq!(uses.len(), 1);
    assert_eq!(
        (&record["operation"], &record["outcome"], &record["via"]),
        (&json!("dump"), &json!("answered"), &json!("http"))
    );
    assert_eq!(record["who"]["kind"], "token-file");
    drop(stream);
    served.ask("/objects/nobody%20at%20all").await;
    let last = kept.uses().pop().unwrap();
    let record = &last.members;
    assert_eq!((&record["outcome"], &record["parameters"]["name"]), (&json!("refused"), &json!("nobody at all")));
    let product = served.ask("/questions/accounts").await.json();
    assert_eq!(kept.uses().pop().unwrap().members["answer"], product["hash"]);
    let audit = served.ask("/audit?operation=show").await.json();
    assert_eq!(audit["items"][0]["record"]["parameters"]["name"], "nobody at all");
    // A place where nothing can be written.
    let other = Kept::new(SECOND, 3).await;
    std::fs::create_dir_all(other.directory.path().join("state")).unwrap();
    std::fs::write(other.directory.path().join("state/uses"), "in the way").unwrap();
    let served = Served::start(&[&other], Setup::default()).await;
    for path in [format!("objects/{}", segment(ADELE)), "dump".to_owned()] {
        let answer = served.get(&format!("{ROOT}/tenants/{SECOND}/{path}"), Some(LOCAL_TOKEN)).await;
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(!answer.body.contains("Adele"), "{}", answer.body);
    }
}

/// How many questions are being answered.
async fn under_way(served: &Served) -> f64 {
    let metrics = served.get("/metrics", None).await.body;
    let line = metrics.lines().find(|line| line.starts_with("tenure_web_questions ")).unwrap().to_owned();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_ends_the_work_and_questions_are_bounded() {
    let kept = Kept::new(FIRST, 20_000).await;
    let served = Served::start(&[&kept], Setup { at_once: 1, ..Setup::default() }).await;
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let asked = format!(
        "GET {ROOT}/tenants/{FIRST}/dump HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {LOCAL_TOKEN}\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 100]).await.unwrap();
    assert_eq!(under_way(&served).await, 1.0, "it waits for whoever reads");
    let busy = served.ask("/status").await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, Some("2")));
    drop(stream);
    let ended = async {
        while under_way(&served).await > 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("nobody reads it any more");
    assert_eq!(served.ask("/status").await.status, 200);
    // What takes longer than it may.
    let served = Served::start(&[&kept], Setup { patience: Duration::from_millis(1), ..Setup::default() }).await;
    let slow = served.ask("/search?text=p&limit=1000").await;
    assert_eq!(slow.status, 503, "{}", slow.body);
    assert_eq!(kept.uses().pop().unwrap().members["outcome"], "failed");
    // Heads and parameters.
    for path in [
        format!("/search?text={}", "a".repeat(257)),
        format!("/search?text=a&{}", "x=1&".repeat(50)),
        "/search?text=a&limit=100000".to_owned(),
    ] {
        assert_eq!(served.ask(&path).await.status, 400, "{}", &path[..20]);
    }
    let mut request = served.request("/healthz", None);
    for number in 0..70 {
        request = request.header(format!("x-{number}"), "1");
    }
    assert_eq!(answer(request).await.status, 431);
    let long = served.request("/healthz", None).header("x-long", "a".repeat(60_000));
    assert!(long.send().await.map_or(true, |answer| answer.status() == 431));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_stay_apart() {
    let (first, second) = (Kept::new(FIRST, 2).await, Kept::new(SECOND, 4).await);
    let served = Served::start(&[&first, &second], Setup::default()).await;
    let names = served.get(&format!("{ROOT}/tenants"), Some(LOCAL_TOKEN)).await.json();
    assert_eq!(names["items"], json!([{"tenant": FIRST}, {"tenant": SECOND}]));
    for (name, other, people) in [(FIRST, SECOND, 2), (SECOND, FIRST, 4)] {
        let dump = served.get(&format!("{ROOT}/tenants/{name}/dump"), Some(LOCAL_TOKEN)).await.body;
        assert_eq!(dump.matches(&format!("of {name}")).count(), people);
        assert!(!dump.contains(other));
    }
    let tag = async |name: &str| {
        let answer = served.get(&format!("{ROOT}/tenants/{name}/objects/{}", segment(ADELE)), Some(LOCAL_TOKEN)).await;
        answer.header("etag").unwrap().to_owned()
    };
    assert_ne!(tag(FIRST).await, tag(SECOND).await);
    // The list of tenants is recorded with the first of them.
    assert_eq!((first.uses().len(), second.uses().len()), (3, 2), "each is recorded where it was asked");
    assert_eq!(served.get(&format!("{ROOT}/tenants/nobody.example/dump"), Some(LOCAL_TOKEN)).await.status, 404);
}

/// A name that somebody points at this machine leads nowhere, and nothing is for a browser to keep or to run.
#[tokio::test]
async fn other_names_lead_nowhere_and_browsers_are_told_to_keep_nothing() {
    let kept = Kept::new(FIRST, 1).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    for path in ["/", "/healthz", "/api/v1/openapi.json", "/api/v1/tenants"] {
        let answer = answer(served.request(path, Some(LOCAL_TOKEN)).header("host", "evil.example")).await;
        assert_eq!(answer.status, 421, "{path}");
    }
    for token in [None, Some("wrong-token-wrong-token-wrong-token"), Some(LOCAL_TOKEN)] {
        let answer = served.get("/api/v1/tenants", token).await;
        assert_eq!(answer.status, if token == Some(LOCAL_TOKEN) { 200 } else { 401 });
        for (name, expected) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
            assert_eq!(answer.header(name), Some(expected));
        }
        assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again_once_they_change() {
    let kept = Kept::new(FIRST, 1).await;
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("web.crt"), directory.path().join("web.key"));
    let place = |name: &str| {
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/credentials");
        std::fs::copy(from.join(format!("{name}.crt")), &certificate).unwrap();
        std::fs::copy(from.join(format!("{name}.key")), &key).unwrap();
    };
    place("web");
    let clock = ManualClock::new(Timestamp::now());
    let setup = Setup { tls: Some((&certificate, &key)), clock: Arc::new(clock.clone()), ..Setup::default() };
    let served = Served::start(&[&kept], setup).await;
    let shown = async || {
        let answer = served.request("/healthz", None).send().await.unwrap();
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        info.peer_certificate().unwrap().to_vec()
    };
    let before = shown().await;
    std::fs::write(&certificate, "nothing that can be used").unwrap();
    clock.advance(Duration::from_secs(60));
    assert_eq!(shown().await, before, "the one before is kept");
    place("web2");
    clock.advance(Duration::from_secs(60));
    assert_ne!(shown().await, before);
    // Without TLS nothing is said.
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(plain.get(format!("http://{}/healthz", served.address)).send().await.is_err());
}
