//! Faults and limits that later weather brings.

use super::*;

#[tokio::test]
async fn reports_and_key_credentials_have_limits_of_their_own() {
    let reader = Reader::start(small(1)).await;
    reader.simulator.set_weather(Weather { report_limit: true, key_credentials_limit: true, ..Weather::calm() });
    for (path, most, seconds) in
        [("auditLogs/directoryAudits?$top=1", 5, 10), ("applications?$select=id,keyCredentials&$top=1", 150, 60)]
    {
        for _ in 0..most {
            assert_eq!(reader.once(&reader.v1(path)).await.unwrap().status, 200);
        }
        let refused = reader.once(&reader.v1(path)).await.unwrap();
        assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (429, &*seconds.to_string()));
        reader.clock.advance(std::time::Duration::from_secs(seconds));
        assert_eq!(reader.once(&reader.v1(path)).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn pages_of_html_slow_bodies_and_a_wrong_clock() {
    let reader = Reader::start(small(1)).await;
    reader.token().await;
    let url = reader.v1("organization");
    reader.simulator.set_weather(Weather { html: 1.0, ..Weather::calm() });
    let mut statuses: Vec<u16> = Vec::new();
    for _ in 0..20 {
        let got = reader.once(&url).await.unwrap();
        assert_eq!(got.headers["content-type"], "text/html; charset=utf-8");
        statuses.push(got.status);
    }
    assert!(statuses.contains(&200) && statuses.contains(&503));
    reader.simulator.set_weather(Weather { slow: 1.0, ..Weather::calm() });
    let before = reader.clock.now();
    assert_eq!(reader.once(&url).await.unwrap().body["value"].as_array().unwrap().len(), 1);
    assert_eq!(reader.clock.now().duration_since(before).as_secs(), 8);
    reader.simulator.set_weather(Weather { date_skew_seconds: 3600, ..Weather::calm() });
    assert_eq!(reader.once(&url).await.unwrap().headers["date"], "Mon, 01 Jun 2026 01:00:08 GMT");
}

#[tokio::test]
async fn pages_of_a_list_repeat_and_reorder_but_lose_nothing() {
    let reader = Reader::start(small(1)).await;
    let calm: Vec<Value> = reader.list("users?$select=id&$top=10").await;
    reader.simulator.set_weather(Weather { repeated: 1.0, reordered: 1.0, ..Weather::calm() });
    let wild = reader.list("users?$select=id&$top=10").await;
    assert!(wild.len() > calm.len() + 5 && wild[..10] != calm[..10]);
    let set =
        |items: &[Value]| items.iter().map(|item| item["id"].to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(set(&wild), set(&calm));
}

#[tokio::test]
async fn young_tokens_of_the_feed_get_lost_in_three_ways() {
    let reader = Reader::start(small(1)).await;
    let link = reader.get(&reader.v1("groups/delta?$deltatoken=latest")).await.body["@odata.deltaLink"].clone();
    reader.simulator.set_weather(Weather { state_lost: 1.0, ..Weather::calm() });
    let mut seen = BTreeMap::new();
    for _ in 0..60 {
        let got = reader.get(link.as_str().unwrap()).await;
        assert!(got.body["error"]["code"].as_str().unwrap().eq_ignore_ascii_case("syncStateNotFound"));
        assert_eq!(got.status == 410, got.headers.contains_key("location"));
        *seen.entry(got.status).or_insert(0) += 1;
    }
    assert!(seen.keys().eq(&[400, 404, 410]), "{seen:?}");
}

#[tokio::test]
async fn patience_gets_through_the_worst() {
    let reader = Reader::start(Options { weather: Weather::worst(), ..small(1) }).await;
    let record = reader.simulator.record();
    for (path, collection) in [
        ("users?$top=50", Collection::User),
        ("devices?$top=5", Collection::Device),
        ("roleManagement/directory/roleAssignments?$top=5", Collection::RoleAssignment),
        ("identity/conditionalAccess/namedLocations", Collection::NamedLocation),
    ] {
        let items = reader.list(path).await;
        let ids: std::collections::BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert!(ids.into_iter().eq(record.objects[&collection].keys().map(String::as_str)), "{path}");
    }
}
