//! Who may read, what a read costs, and what goes wrong on purpose.

use super::*;

#[tokio::test]
async fn a_wrong_secret_gives_no_token() {
    let reader = Reader::start(small(1)).await;
    let (status, body) = reader.sign_in("guess").await;
    assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    assert!(body["error_description"].as_str().unwrap().starts_with("AADSTS7000215: "));
    let (status, body) = reader.sign_in(&reader.simulator.client_secret()).await;
    assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")));
}

#[tokio::test]
async fn a_token_expires_after_an_hour_of_simulated_time() {
    let reader = Reader::start(small(1)).await;
    assert_eq!(reader.once(&reader.v1("organization")).await.unwrap().status, 200);
    reader.clock.set(reader.clock.now() + hours(1));
    let got = reader.once(&reader.v1("organization")).await.unwrap();
    assert_eq!((got.status, &got.body["error"]["code"]), (401, &json!("InvalidAuthenticationToken")));
    assert!(got.headers.contains_key("www-authenticate"));
    assert_eq!(reader.get(&reader.v1("organization")).await.status, 200);
}

#[tokio::test]
async fn a_revoked_permission_denies_what_needs_it() {
    let reader = Reader::start(small(1)).await;
    let paths = [
        ("User.Read.All", "users/delta"),
        ("Group.Read.All", "groups"),
        ("Application.Read.All", "applications"),
        ("Directory.Read.All", "oauth2PermissionGrants"),
        ("Policy.Read.All", "identity/conditionalAccess/policies"),
        ("RoleManagement.Read.Directory", "roleManagement/directory/roleAssignments"),
        ("Organization.Read.All", "organization"),
    ];
    for (permission, path) in paths {
        reader.simulator.revoke(permission);
        let got = reader.get(&reader.v1(path)).await;
        assert_eq!((got.status, &got.body["error"]["code"]), (403, &json!("Authorization_RequestDenied")), "{path}");
        reader.simulator.grant(permission);
        assert_eq!(reader.get(&reader.v1(path)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_of_graph() {
    let reader = Reader::start(small(1)).await;
    let got = reader.get(&reader.v1("users?$top=5")).await;
    assert_eq!(got.headers["date"], "Mon, 01 Jun 2026 00:00:00 GMT");
    assert_eq!(got.headers["x-ms-resource-unit"], "1");
    assert_eq!(got.headers["odata-version"], "4.0");
    assert!(got.headers["content-type"].to_str().unwrap().starts_with("application/json;odata.metadata=minimal"));
    assert!(got.headers.contains_key("request-id"));
    let logged = reader.simulator.requests();
    let last = logged.last().unwrap();
    assert_eq!((last.path.as_str(), last.query.as_str(), last.status), ("/v1.0/users", "$top=5", 200));
    assert_eq!(reader.simulator.request_count(), logged.len() as u64);
}

#[tokio::test]
async fn conditional_access_answers_once_a_second_without_a_hint() {
    let reader = Reader::start(small(1)).await;
    reader.simulator.set_weather(Weather { conditional_access_limit: true, ..Weather::calm() });
    let url = reader.v1("identity/conditionalAccess/namedLocations");
    assert_eq!(reader.once(&url).await.unwrap().status, 200);
    let refused = reader.once(&reader.v1("identity/conditionalAccess/policies")).await.unwrap();
    assert_eq!(refused.status, 429);
    assert!(!refused.headers.contains_key("retry-after"));
    reader.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(reader.once(&url).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_spent_budget_throttles_until_its_ten_seconds_end() {
    let reader = Reader::start(small(1)).await;
    reader.simulator.set_weather(Weather { resource_units_per_10s: Some(5), ..Weather::calm() });
    let url = reader.v1("users");
    assert_eq!(reader.once(&url).await.unwrap().status, 200);
    assert_eq!(reader.once(&url).await.unwrap().status, 200);
    let refused = reader.once(&url).await.unwrap();
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (429, "10"));
    reader.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(reader.once(&url).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_batch_answers_each_part_by_itself() {
    let reader = Reader::start(small(1)).await;
    reader.simulator.revoke("Policy.Read.All");
    let mut parts: Vec<Value> =
        (0..18).map(|n| json!({"id": n.to_string(), "method": "GET", "url": "/users?$top=1&$select=id"})).collect();
    parts.push(json!({"id": "policies", "method": "GET", "url": "identity/conditionalAccess/policies"}));
    parts.push(
        json!({"id": "count", "method": "GET", "url": "/users/$count", "headers": {"ConsistencyLevel": "eventual"}}),
    );
    let post = async |parts: &Vec<Value>| {
        let request = reader.http.post(reader.v1("$batch")).bearer_auth(reader.token().await);
        let response = request.json(&json!({"requests": parts})).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, body) = post(&parts).await;
    let answers = body["responses"].as_array().unwrap();
    assert_eq!((status, answers.len()), (200, 20));
    let order: Vec<&str> = answers.iter().map(|answer| answer["id"].as_str().unwrap()).collect();
    assert_ne!(order[..3], ["0", "1", "2"]);
    for answer in answers {
        let expected = if answer["id"] == "policies" { 403 } else { 200 };
        assert_eq!(answer["status"], expected, "{answer}");
    }
    parts.push(parts[0].clone());
    assert_eq!(post(&parts).await.0, 400);
}

#[tokio::test]
async fn what_depends_on_a_part_that_failed_fails_with_it_in_whatever_order_they_stand() {
    let reader = Reader::start(small(1)).await;
    let part =
        |id: &str, url: &str, on: &[&str]| json!({"id": id, "method": "GET", "url": url, "dependsOn": on.to_vec()});
    let post = async |parts: Vec<Value>| {
        let request = reader.http.post(reader.v1("$batch")).bearer_auth(reader.token().await);
        let response = request.json(&json!({"requests": parts})).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let users = "/users?$top=1&$select=id";
    let (status, body) = post(vec![
        part("4", users, &["3"]),
        part("3", users, &["1", "2"]),
        part("1", users, &[]),
        part("2", "/users/nobody", &["1"]),
        part("5", users, &["1"]),
    ])
    .await;
    let answers = body["responses"].as_array().unwrap().iter();
    let statuses: BTreeMap<&str, u64> =
        answers.map(|answer| (answer["id"].as_str().unwrap(), answer["status"].as_u64().unwrap())).collect();
    assert_eq!(status, 200);
    assert_eq!(statuses, BTreeMap::from([("1", 200), ("2", 404), ("3", 424), ("4", 424), ("5", 200)]));
    let asked = reader.simulator.requests().into_iter().filter(|request| request.path.contains("/users")).count();
    assert_eq!(asked, 3, "what isn't tried isn't served");
    for on in ["1", "nobody"] {
        assert_eq!(post(vec![part("1", users, &[on])]).await.0, 400, "{on}");
    }
}

#[tokio::test]
async fn a_storm_shows_every_fault_and_patience_gets_through() {
    let reader = Reader::start(Options { weather: Weather::storm(), ..small(1) }).await;
    let (mut cut, mut statuses) = (0, BTreeMap::new());
    for _ in 0..400 {
        match reader.once(&reader.v1("groups?$top=50")).await {
            Ok(got) => *statuses.entry(got.status).or_insert(0) += 1,
            Err(_) => cut += 1,
        }
        reader.clock.advance(std::time::Duration::from_secs(2));
    }
    assert!(cut > 2, "{cut} answers were cut or cut short");
    for status in [200, 429, 500, 503, 504] {
        assert!(statuses.contains_key(&status), "no {status} in {statuses:?}");
    }
    let groups = reader.list("groups?$top=9").await.len();
    assert_eq!(groups, reader.simulator.record().objects[&Collection::Group].len());
}

#[tokio::test]
async fn it_stops_when_dropped() {
    let Reader { http, simulator, .. } = Reader::start(small(1)).await;
    let url = format!("{}/v1.0/organization", simulator.url());
    assert_eq!(http.get(&url).send().await.unwrap().status(), 401);
    drop(simulator);
    tokio::task::yield_now().await;
    for _ in 0..1000 {
        if http.get(&url).send().await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it still answers");
}

#[tokio::test]
async fn a_cut_connection_gives_nothing_and_a_truncated_body_less_than_promised() {
    let reader = Reader::start(small(1)).await;
    reader.token().await;
    let request = || reader.http.get(reader.v1("users")).bearer_auth("none").send();
    reader.simulator.set_weather(Weather { cut: 1.0, ..Weather::calm() });
    assert!(request().await.is_err());
    reader.simulator.set_weather(Weather { truncated: 1.0, ..Weather::calm() });
    let response = request().await.unwrap();
    let promised = response.content_length().unwrap();
    assert!(promised > 0 && response.bytes().await.is_err());
}
