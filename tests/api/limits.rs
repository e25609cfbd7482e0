//! What is found in a long own-use log, what is recorded of requests that are turned away, and how much one address may take.

use serde_json::{Value, json};
use tenure::ledger::{Outcome, Use, Via, Who};
use tenure::web::ROOT;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::served::*;
use super::support::{key, put};

fn used(operation: &str) -> Use {
    Use {
        who: Who::TokenFile,
        via: Via::Http,
        operation: operation.to_owned(),
        parameters: serde_json::Map::new(),
        outcome: Outcome::Answered,
        answer: None,
    }
}

async fn commit(kept: &mut Kept, operation: &str) -> u64 {
    kept.tenant.ledger.record(&used(operation)).unwrap();
    kept.tenant.ledger.commit(&mut kept.builder.appender).await.unwrap().seq.unwrap()
}

/// Years of own-use records, none of which is what is asked for: a page ends all the same, says where to go on, and the last one ends the
/// search. Asked from a time on, nothing that was committed long before is read at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_is_searched_a_page_at_a_time() {
    let mut kept = Kept::new(FIRST, 1).await;
    let first = commit(&mut kept, "show").await;
    for _ in 0..510 {
        commit(&mut kept, "show").await;
    }
    kept.archive().await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let page = served.ask("/audit?operation=export").await.json();
    assert_eq!(page["items"], json!([]));
    let next = page["next"].as_str().expect("it looked at as many as a page may").to_owned();
    let rest = served.ask(&format!("/audit?operation=export&cursor={next}")).await.json();
    assert_eq!((&rest["items"], &rest["next"], &rest["unread"]), (&json!([]), &Value::Null, &json!([])));
    let page = served.ask("/audit?operation=show&limit=2").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["seq"]), (2, &json!(first)));
    let next = page["next"].as_str().unwrap();
    let page = served.ask(&format!("/audit?operation=show&limit=2&cursor={next}")).await.json();
    assert_eq!(page["items"][0]["seq"], json!(first + 2));
    let later = served.ask("/audit?from=2999-01-01").await.json();
    assert_eq!((&later["items"], &later["next"]), (&json!([]), &Value::Null), "one page, however long the log is");
}

/// A record has left the spool and its entry is in the log, but the index doesn't know that yet: it is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_between_spool_and_index_is_found() {
    let mut kept = Kept::new(FIRST, 1).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    served.ask("/status").await;
    let seq = commit(&mut kept, "export").await;
    assert!(kept.uses().is_empty(), "nothing waits any more");
    let page = served.ask("/audit?operation=export").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["seq"]), (1, &json!(seq)));
}

/// Whoever is known and asks for what isn't there, in another way, or for too much, leaves a record of that, with the name that they asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_turned_away_is_recorded() {
    let kept = Kept::new(FIRST, 1).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let last = |kept: &Kept| {
        let members = kept.uses().pop().unwrap().members;
        (members["operation"].clone(), members["outcome"].clone(), members["parameters"].clone())
    };
    let tenant = format!("{ROOT}/tenants/{FIRST}");
    for (path, status, operation, name) in [
        (format!("{tenant}/objects/Adele?at=%231&nonsense=1"), 400, "show", Some("Adele")),
        (format!("{ROOT}/tenants/nobody.example/objects/Adele"), 404, "show", Some("Adele")),
        (format!("{ROOT}/nowhere"), 404, "none", None),
    ] {
        let before = kept.uses().len();
        assert_eq!(served.get(&path, Some(LOCAL_TOKEN)).await.status, status, "{path}");
        assert_eq!(kept.uses().len(), before + 1, "{path}");
        let (found, outcome, parameters) = last(&kept);
        assert_eq!((&found, &outcome), (&json!(operation), &json!("refused")), "{path}");
        assert_eq!(parameters.get("name").and_then(Value::as_str), name, "{path}");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.post(format!("{}{tenant}/objects/Adele", served.url)).bearer_auth(LOCAL_TOKEN);
    assert_eq!(answer(request).await.status, 405);
    assert_eq!(last(&kept).1, "refused");
    assert_eq!(served.get(&format!("{ROOT}/tenants"), Some(LOCAL_TOKEN)).await.status, 200);
    assert_eq!((last(&kept).0, last(&kept).1), (json!("tenants"), json!("answered")));
    // A flood of them fills no storage.
    for _ in 0..60 {
        served.get(&format!("{ROOT}/nowhere"), Some(LOCAL_TOKEN)).await;
    }
    assert!(kept.uses().len() <= 2 * 20 + 1, "{}", kept.uses().len());
}

/// A question that whoever asked didn't wait for was asked all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_question_is_recorded() {
    let kept = Kept::new(FIRST, 20_000).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let asked = format!(
        "GET {ROOT}/tenants/{FIRST}/search?text=nobody-is-called-so&limit=1000 HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {LOCAL_TOKEN}\r\n\r\n"
    );
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let recorded = async {
        while kept.uses().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), recorded).await.expect("it leaves a record");
    let record = &kept.uses()[0].members;
    assert_eq!(record["parameters"]["text"], "nobody-is-called-so");
    assert!(["failed", "answered"].contains(&record["outcome"].as_str().unwrap()), "it may have been quick");
}

/// One address holds as many connections as it may: the next is closed at once, and taken again when one of them ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_a_share_of_the_connections() {
    let kept = Kept::new(FIRST, 1).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let open = async || {
        let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.ok();
        let mut byte = [0];
        (stream.read(&mut byte).await.unwrap_or(0) == 1).then_some(stream)
    };
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(open().await.expect("there is a place"));
    }
    assert!(open().await.is_none());
    held.clear();
    let again = async {
        while open().await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), again).await.expect("places become free");
}

/// Every row of a difference with its effect, those about policies among them, is of exactly one kind that the description knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_effects_are_as_described() {
    let mut kept = Kept::new(FIRST, 2).await;
    kept.enforce().await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let body = served.ask("/diff?from=%231&effect=true").await.body;
    let document = tenure::web::document();
    let kinds = document["components"]["schemas"]["Difference"]["oneOf"].as_array().unwrap();
    let fits = |row: &Value, kind: &Value| {
        let required = kind["required"].as_array().unwrap();
        let properties = kind["properties"].as_object().unwrap();
        let is_value = |schema: &Value, value: &Value| {
            let words = schema["enum"].as_array().is_none_or(|words| words.contains(value));
            let types = match &schema["type"] {
                Value::String(only) => vec![only.as_str()],
                Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                _ => return words,
            };
            let own = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            words && types.contains(&own)
        };
        required.iter().all(|name| row.get(name.as_str().unwrap()).is_some())
            && properties.iter().all(|(name, schema)| row.get(name).is_none_or(|value| is_value(schema, value)))
    };
    let mut effects = std::collections::BTreeSet::new();
    let rows: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in rows.iter().filter(|row| row.get("end").is_none()) {
        let count = kinds.iter().filter(|kind| fits(row, kind)).count();
        assert_eq!(count, 1, "{row}");
        effects.extend(row["effect"].as_str().map(str::to_owned));
    }
    for expected in ["coverage", "covered", "gained", "created"] {
        assert!(effects.contains(expected), "{expected}: {effects:?}");
    }
}

/// What can be read can be asked about without its body; other methods, and other names, are told so in the form of any problem.
#[tokio::test]
async fn heads_methods_and_other_names() {
    let kept = Kept::new(FIRST, 1).await;
    let served = Served::start(&[&kept], Setup::default()).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let path = format!("{}{ROOT}/tenants/{FIRST}/objects/{}", served.url, segment(ADELE));
    let head = answer(http.head(&path).bearer_auth(LOCAL_TOKEN)).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.header("etag").is_some());
    assert_eq!(kept.uses().len(), 1, "and is recorded as any other");
    let posted = answer(http.post(format!("{}{ROOT}/openapi.json", served.url))).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(posted.header("content-type"), Some("application/problem+json"));
    let misled = answer(served.request("/api/v1/tenants", Some(LOCAL_TOKEN)).header("host", "evil.example")).await;
    assert_eq!((misled.status, misled.header("content-type")), (421, Some("application/problem+json")));
}

/// The newest entries first, from a time on: the page that reaches that time is the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newest_first_ends_where_the_period_begins() {
    let mut kept = Kept::new(FIRST, 1).await;
    for name in ["One", "Two", "Three"] {
        kept.change(name).await;
    }
    let served = Served::start(&[&kept], Setup::default()).await;
    let page = served.ask("/captures?order=newest&from=%234&limit=10").await.json();
    let seqs: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|row| &row["seq"]).collect();
    assert_eq!((seqs, &page["next"]), (vec![&json!(5), &json!(4)], &Value::Null));
    // A page that is full at the first entry of the period has none after it.
    let page = served.ask("/captures?order=newest&from=%234&limit=2").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (2, &Value::Null));
    let product = served.ask("/questions/accounts").await;
    assert!(product.header("etag").unwrap().starts_with("W/\""), "who asked and when differs");
    let tag = product.header("etag").unwrap().to_owned();
    let again = served.request(&format!("{ROOT}/tenants/{FIRST}/questions/accounts"), Some(LOCAL_TOKEN));
    assert_eq!(answer(again.header("if-none-match", tag)).await.status, 304);
}

impl Kept {
    /// An hour later Adele has a role, another account is made, and a policy covers everybody.
    pub async fn enforce(&mut self) {
        let policy = json!({"id": "p", "displayName": "All", "state": "enabled", "conditions": {
            "clientAppTypes": ["all"], "applications": {"includeApplications": ["All"]}, "users": {"includeUsers": ["All"]}},
            "grantControls": {"operator": "OR", "builtInControls": ["mfa"]}});
        let principal = ADELE.split_once('/').unwrap().1;
        let grant = json!({"principalId": principal, "roleDefinitionId": "62e90394-69f5-4237-9190-012177145e10",
            "directoryScopeId": "/"});
        let account = json!({"id": "new", "displayName": "New", "userPrincipalName": "new@contoso.example", "userType": "Member"});
        let changes = [
            (key("conditionalAccessPolicy/p"), put(&policy.to_string())),
            (key("unifiedRoleAssignment/a"), put(&grant.to_string())),
            (key("user/new"), put(&account.to_string())),
        ];
        self.capture(changes.into()).await;
    }
}
