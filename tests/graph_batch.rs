//! Batches against a server that answers as scripted: each part is judged, retried and accounted for by itself.

mod scripted;

use std::sync::Arc;

use scripted::{Reply, Seen, Server, clock, elapsed, token};
use serde_json::{Value, json};
use tenure::clock::Clock;
use tenure::graph::{Bucket, Error, Limits, Options, Reader, Request, Response};
use tenure::hash::Hash;

/// The parts of a batch: id, path and headers.
fn parts(seen: &Seen) -> Vec<(String, String, Value)> {
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let parts = body["requests"].as_array().unwrap();
    assert!(parts.len() <= 20);
    let text = |part: &Value, name: &str| part[name].as_str().unwrap().to_owned();
    parts.iter().for_each(|part| assert_eq!(part["method"], "GET"));
    parts.iter().map(|part| (text(part, "id"), text(part, "url"), part["headers"].clone())).collect()
}

fn part(id: &str, status: u16, headers: Value, body: Value) -> Value {
    let mut headers = headers;
    headers["Content-Type"] = json!("application/json;odata.metadata=minimal");
    json!({"id": id, "status": status, "headers": headers, "body": body})
}

fn answers(parts: Vec<Value>) -> Reply {
    Reply::json(200, json!({"responses": parts}).to_string()).with("request-id", "outer")
}

/// Answers every part with its own path, in reverse order.
fn echo(seen: &Seen) -> Vec<Value> {
    let parts = parts(seen);
    parts.into_iter().rev().map(|(id, url, _)| part(&id, 200, json!({}), json!({"id": url}))).collect()
}

fn error(code: &str) -> Value {
    json!({"error": {"code": code, "message": "m"}})
}

fn managers(count: usize) -> Vec<Request> {
    (0..count).map(|n| Request::new(format!("/v1.0/users/{n}/manager")).permission("User.Read.All")).collect()
}

async fn ids(reader: &Reader, requests: &[Request]) -> Vec<Result<String, Error>> {
    let results = reader.batch(requests, |_, _, json| Ok(json.text("id").ok_or("no id")?.to_owned())).await;
    results.into_iter().map(|result| result.map(|(_, id)| id)).collect()
}

fn limited(server: &Server, tries: u32) -> (tenure::clock::ManualClock, Reader) {
    let clock = clock();
    let options = server.options();
    let limits = Limits { tries, ..options.limits.clone() };
    (clock.clone(), Reader::new(Options { limits, ..options }, Arc::new(clock)).unwrap())
}

#[tokio::test]
async fn twenty_go_in_one_post_and_come_back_in_the_order_asked() {
    let server = Server::new(|seen, _| match seen.method.as_str() {
        "POST" => answers(echo(seen)),
        _ => Reply::json(200, json!({"id": "alone"}).to_string()),
    })
    .await;
    let reader = server.reader(&clock());
    let found = ids(&reader, &managers(41)).await;
    for (n, id) in found.iter().enumerate().take(40) {
        assert_eq!(id.as_ref().unwrap(), &format!("/users/{n}/manager"));
    }
    assert_eq!(found[40].as_ref().unwrap(), "alone");
    assert_eq!(server.targets(), ["/v1.0/$batch", "/v1.0/$batch", "/v1.0/users/40/manager"]);
    assert_eq!((reader.meter().requests(), reader.meter().batches()), (41, 2));
    let seen = server.seen();
    let post = seen.iter().find(|seen| seen.target == "/v1.0/$batch").unwrap();
    assert_eq!(post.header("content-type"), Some("application/json"));
    assert_eq!(post.header("authorization"), Some("Bearer first"));
    assert_eq!(parts(post)[0].2, json!({"x-ms-throttle-priority": "low"}));
}

#[tokio::test]
async fn versions_have_their_own_batch_and_buckets_of_their_own_are_never_batched() {
    let server = Server::new(|seen, _| match seen.method.as_str() {
        "POST" => answers(echo(seen)),
        _ => Reply::json(200, json!({"id": "alone"}).to_string()),
    })
    .await;
    let requests = [
        Request::new("/v1.0/users/a%2Fb?$select=id"),
        Request::new("/beta/users/b").eventual(),
        Request::new("/v1.0/users/c").unknown_enum_members(true),
        Request::new("/beta/users/d"),
        Request::new("/v1.0/reports/e").bucket(Bucket::Reports),
        Request::new("/v1.0/applications/f?$select=keyCredentials").bucket(Bucket::KeyCredentials),
        Request::new("/v1.0/identity/conditionalAccess/policies").bucket(Bucket::ConditionalAccess),
        Request::new(format!("{}/v1.0/users?$skiptoken=x", server.url)),
        Request::new("/v1.0/users/../groups"),
    ];
    let found = ids(&server.reader(&clock()), &requests).await;
    let expected = ["/users/a%2Fb?$select=id", "/users/b", "/users/c", "/users/d", "alone", "alone", "alone", "alone"];
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.as_ref().unwrap(), expected);
    }
    assert!(matches!(found[8], Err(Error::ForeignLink)));
    let seen = server.seen();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.target.ends_with("/$batch")).collect();
    assert_eq!(posts.iter().map(|post| post.target.as_str()).collect::<Vec<_>>(), ["/v1.0/$batch", "/beta/$batch"]);
    assert_eq!(parts(posts[1])[0].2["consistencylevel"], "eventual");
    assert_eq!(parts(posts[0])[1].2["prefer"], "include-unknown-enum-members");
}

#[tokio::test]
async fn only_what_was_throttled_or_failed_is_sent_again_after_the_longest_wait() {
    let server = Server::new(|seen, before| {
        let mut all = echo(seen);
        if before == 0 {
            for answer in &mut all {
                let failed = match answer["body"]["id"].as_str().unwrap() {
                    "/users/3/manager" => (429, json!({"Retry-After": "7"}), "TooManyRequests"),
                    "/users/4/manager" => (429, json!({"retry-after": "40"}), "TooManyRequests"),
                    "/users/5/manager" => (503, json!({}), "ServiceUnavailable"),
                    "/users/6/manager" => (404, json!({}), "Request_ResourceNotFound"),
                    "/users/7/manager" => (403, json!({}), "Authorization_RequestDenied"),
                    "/users/8/manager" => (424, json!({}), "FailedDependency"),
                    _ => continue,
                };
                *answer = part(answer["id"].as_str().unwrap(), failed.0, failed.1, error(failed.2));
            }
        }
        answers(all)
    })
    .await;
    let clock = clock();
    let found = ids(&server.reader(&clock), &managers(10)).await;
    assert_eq!(elapsed(&clock), 40.0);
    for (n, found) in found.iter().enumerate() {
        match n {
            6 => assert!(matches!(found, Err(Error::NotFound { .. })), "{found:?}"),
            7 => assert!(matches!(found, Err(Error::Forbidden { permission: "User.Read.All", .. })), "{found:?}"),
            n => assert_eq!(found.as_ref().unwrap(), &format!("/users/{n}/manager")),
        }
    }
    let seen = server.seen();
    let second: Vec<String> = parts(seen.last().unwrap()).into_iter().map(|(_, url, _)| url).collect();
    assert_eq!(second, [3, 4, 5, 8].map(|n| format!("/users/{n}/manager")));
    assert_eq!(server.targets().len(), 2);
}

#[tokio::test]
async fn a_part_that_stays_throttled_ends_within_the_bounds_of_one_request() {
    let server = Server::new(|seen, _| {
        let mut all = echo(seen);
        let last = all.len() - 1;
        all[last] = part("0", 429, json!({"Retry-After": "31536000"}), error("TooManyRequests"));
        answers(all)
    })
    .await;
    let clock = clock();
    let found = ids(&server.reader(&clock), &managers(2)).await;
    assert!(matches!(found[0], Err(Error::Throttled { tries: 4, .. })), "{:?}", found[0]);
    assert!(found[1].is_ok());
    assert!(elapsed(&clock) <= 900.0);

    let reader = server.reader(&clock).until(clock.now() + jiff::SignedDuration::from_secs(60));
    let found = ids(&reader, &managers(2)).await;
    assert!(matches!(found[0], Err(Error::TimeLimit)), "{:?}", found[0]);
    assert!(found[1].is_ok());
}

#[tokio::test]
async fn a_part_that_is_missing_doubled_or_odd_is_asked_for_again() {
    type Meddle = fn(&mut Vec<Value>);
    let cases: [(&str, Meddle); 8] = [
        ("missing", |all| drop(all.pop())),
        ("twice", |all| all.push(all.last().unwrap().clone())),
        ("no status", |all| all.last_mut().unwrap()["status"] = Value::Null),
        ("no body", |all| all.last_mut().unwrap()["body"] = Value::Null),
        ("html", |all| {
            let last = all.last_mut().unwrap();
            last["headers"]["Content-Type"] = json!("text/html");
            last["body"] = json!("PGh0bWw+");
        }),
        ("without id", |all| all.last_mut().unwrap()["body"] = json!([])),
        ("no object", |all| *all.last_mut().unwrap() = json!("x")),
        ("server error", |all| all.last_mut().unwrap()["status"] = json!(500)),
    ];
    for (name, meddle) in cases {
        let server = Server::new(move |seen, before| {
            let mut all = echo(seen);
            all.insert(0, part("99", 200, json!({}), json!({"id": "nobody's"})));
            all.insert(0, json!({"id": {}, "status": 1}));
            if before == 0 {
                meddle(&mut all);
            }
            answers(all)
        })
        .await;
        let found = ids(&server.reader(&clock()), &managers(3)).await;
        assert!(found.iter().all(Result::is_ok), "{name}: {found:?}");
        assert_eq!(parts(server.seen().last().unwrap()).len(), 1, "{name}");

        let server = Server::new(move |seen, _| {
            let mut all = echo(seen);
            if seen.body.contains("/users/0/") {
                meddle(&mut all);
            }
            answers(all)
        })
        .await;
        let (_, reader) = limited(&server, 3);
        let found = ids(&reader, &managers(3)).await;
        assert!(found[0].as_ref().is_err_and(Error::is_transient), "{name}: {found:?}");
        assert!(found[1].is_ok() && found[2].is_ok(), "{name}");
        assert_eq!(server.targets().len(), 3, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_asked_for_again_as_a_whole() {
    for (name, broken) in [
        ("reset", Reply::body(scripted::Body::Reset)),
        ("no json", Reply::json(200, "{")),
        ("no responses", Reply::json(200, "{}")),
        ("throttled", Reply::error(429, "TooManyRequests").with("retry-after", "1")),
        ("gateway", Reply::json(502, "<html>").with("content-type", "text/html")),
    ] {
        let first = broken.clone();
        let server = Server::new(move |seen, before| if before == 0 { first.clone() } else { answers(echo(seen)) });
        let server = server.await;
        let found = ids(&server.reader(&clock()), &managers(3)).await;
        assert!(found.iter().all(Result::is_ok), "{name}");

        let server = Server::new(move |_, _| broken.clone()).await;
        let (_, reader) = limited(&server, 3);
        let found = ids(&reader, &managers(3)).await;
        assert!(found.iter().all(|found| found.as_ref().is_err_and(Error::is_transient)), "{name}");
        assert_eq!(server.targets().len(), 3, "{name}");
    }
}

/// One odd address makes the service refuse the whole batch; the other nineteen objects must not go missing for it.
#[tokio::test]
async fn a_batch_that_is_refused_as_a_whole_is_asked_for_one_by_one() {
    let server = Server::new(|seen, _| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", _) => Reply::error(400, "BadRequest"),
        (_, "/v1.0/users/1/manager") => Reply::error(400, "BadRequest"),
        _ => Reply::json(200, json!({"id": seen.target}).to_string()),
    })
    .await;
    let found = ids(&server.reader(&clock()), &managers(3)).await;
    assert!(found[0].is_ok() && found[2].is_ok());
    assert!(matches!(found[1], Err(Error::Refused { .. })));
    assert_eq!(server.targets().len(), 4);

    let server = Server::new(|seen, _| match seen.method.as_str() {
        "POST" => answers(vec![part("0", 200, json!({}), json!({"id": "x".repeat(100_000)}))]),
        _ => Reply::json(200, json!({"id": seen.target}).to_string()),
    })
    .await;
    let options = server.options();
    let limits = Limits { page_bytes: 70_000, ..options.limits.clone() };
    let reader = Reader::new(Options { limits, ..options }, Arc::new(clock())).unwrap();
    assert!(ids(&reader, &managers(3)).await.iter().all(Result::is_ok), "too large together");
}

#[tokio::test]
async fn a_part_that_refuses_the_token_gets_another_one() {
    let server = Server::raw(|seen, before| match seen.is_token() {
        true => token(&format!("t{before}"), 3600),
        false if seen.header("authorization") == Some("Bearer t0") => {
            let mut all = echo(seen);
            let challenge = r#"Bearer error="insufficient_claims", claims="eyJhIjoxfQ==""#;
            all[0] = part("2", 401, json!({"WWW-Authenticate": challenge}), error("InvalidAuthenticationToken"));
            answers(all)
        }
        false => answers(echo(seen)),
    })
    .await;
    let found = ids(&server.reader(&clock()), &managers(3)).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    let seen = server.seen();
    let tokens: Vec<_> = seen.iter().filter(|seen| seen.is_token()).collect();
    assert_eq!(tokens.len(), 2);
    assert!(tokens[1].body.contains("claims=%7B%22a%22%3A1%7D"), "{}", tokens[1].body);
    assert_eq!(parts(seen.last().unwrap()).len(), 1);

    let server = Server::new(|seen, _| {
        let mut all = echo(seen);
        all[0]["status"] = json!(401);
        answers(all)
    })
    .await;
    let found = ids(&server.reader(&clock()), &managers(2)).await;
    assert!(found[0].is_ok() && matches!(found[1], Err(Error::Unauthorized { .. })), "{found:?}");
    assert_eq!(server.targets().len(), 2);
}

#[tokio::test]
async fn a_part_has_its_own_receipt_over_its_own_bytes_and_counts_with_its_units() {
    let own = r#"{ "id" : "a\u0041" , "n":1.50 }"#;
    let error = r#"{"error":{"code":"Request_ResourceNotFound"}}"#;
    let server = Server::new(move |_, _| {
        let body = format!(
            r#"{{"responses":[{{"id":"1","status":200,"headers":{{"request-id":"inner","date":"D","x-ms-resource-unit":"5"}},"body":{own}}},
            {{"id":0,"status":200,"body":{own}}},{{"id":"2","status":404,"body":{error}}}]}}"#
        );
        Reply::json(200, body).with("request-id", "outer").with("date", "Sat, 01 Aug 2026 00:00:01 GMT")
    })
    .await;
    let reader = server.reader(&clock());
    let requests = [
        Request::new("/v1.0/groups/a/members?$skiptoken=secret"),
        Request::new("/v1.0/groups/b"),
        Request::new("/v1.0/groups/c"),
    ];
    let results = reader.batch(&requests, |_, _, _| Ok(())).await;
    let receipt = |response: &Response| response.receipt(1, Vec::new());
    let first = receipt(&results[0].as_ref().unwrap().0);
    assert_eq!(first.path_and_query, "/v1.0/groups/a/members?$skiptoken=(cut)");
    assert_eq!((first.method, first.status, first.len), ("GET", 200, own.len() as u64));
    assert_eq!(first.sha256, Hash::of(own.as_bytes()));
    assert_eq!(first.request_id.as_deref(), Some("outer"));
    assert_eq!(first.date.as_deref(), Some("Sat, 01 Aug 2026 00:00:01 GMT"));
    let second = receipt(&results[1].as_ref().unwrap().0);
    assert_eq!((second.request_id.as_deref(), second.date.as_deref()), (Some("inner"), Some("D")));
    assert_eq!((reader.meter().requests(), reader.meter().units()), (3, 3 + 5), "an estimate, the header, a refusal");
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_in_a_batch_ended() {
    let server = Server::new(|seen, _| {
        let host = seen.header("host").unwrap().to_owned();
        if seen.method == "GET" {
            return Reply::json(200, r#"{"value":[{"id":"last"}]}"#);
        }
        let list = |id: &str, link: String| {
            part(id, 200, json!({}), json!({"value": [{"id": "first"}], "@odata.nextLink": link}))
        };
        answers(vec![
            list("0", format!("http://{host}/v1.0/groups/0/members?$skiptoken=a")),
            part("1", 200, json!({}), json!({"value": []})),
            list("2", "https://elsewhere.example/v1.0".to_owned()),
            list("3", "/v1.0/groups/3/members".to_owned()),
        ])
    })
    .await;
    let reader = server.reader(&clock());
    let requests: Vec<_> = (0..4).map(|n| Request::new(format!("/v1.0/groups/{n}/members"))).collect();
    let mut lists = reader.first_pages(&requests, |place, _, page| (place, page.items.len())).await;
    assert!(matches!(lists.pop(), Some(Err(Error::Loop { pages: 1 }))));
    assert!(matches!(lists.pop(), Some(Err(Error::ForeignLink))));
    let mut totals = Vec::new();
    for list in lists {
        let ((place, mut total), mut pages) = list.unwrap();
        while let Some(items) = pages.next(|_, page| page.items.len()).await.unwrap() {
            total += items;
        }
        totals.push((place, total, pages.read()));
    }
    assert_eq!(totals, [(0, 2, 2), (1, 0, 1)]);
    assert_eq!(server.targets()[1], "/v1.0/groups/0/members?$skiptoken=a");
}

#[tokio::test]
async fn batches_run_side_by_side_as_tasks() {
    let server = Server::new(|seen, _| answers(echo(seen))).await;
    let reader = server.reader(&clock());
    let tasks = (0..3).map(|_| {
        let reader = reader.clone();
        tokio::spawn(async move {
            let lists = reader.first_pages(&managers(2), |_, _, page| page.items.len()).await;
            let read = reader.batch(&managers(20), |_, _, json| Ok(json.members().is_some())).await;
            (lists.len(), read.into_iter().filter(Result::is_ok).count())
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        assert_eq!(task.unwrap(), (2, 20));
    }
}
