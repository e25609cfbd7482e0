//! The audit log: complete in the end, late and out of order on the way there.

use super::*;

async fn log(reader: &Reader, query: &str) -> Vec<Value> {
    reader.list(&format!("auditLogs/directoryAudits{query}")).await
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

fn at(event: &Value) -> jiff::Timestamp {
    event["activityDateTime"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn records_come_late_and_never_change() {
    let reader = Reader::start(small(9)).await;
    let start = reader.clock.now();
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    let (mut newest, mut late) = (start, 0);
    for hour in 1..=72 {
        reader.clock.set(start + hours(hour));
        reader.simulator.live_until(reader.clock.now());
        // As a collector does that goes back ten hours each time.
        let since = start + hours((hour - 10).max(0));
        let events = log(&reader, &format!("?$filter=activityDateTime ge {since}&$top=5")).await;
        for pair in events.windows(2) {
            assert!(at(&pair[0]) >= at(&pair[1]), "newest first");
        }
        for event in events {
            late += usize::from(!seen.contains_key(&id(&event)) && at(&event) < newest - hours(1));
            assert!(seen.get(&id(&event)).is_none_or(|before| *before == event));
            newest = newest.max(at(&event));
            seen.insert(id(&event), event);
        }
    }
    assert!(late > 0, "nothing came late");
    let shown = reader.simulator.events();
    assert_eq!(seen.len(), shown.len());
    assert!(shown.iter().all(|event| seen[&id(event)] == *event));
    let span =
        format!("?$filter=activityDateTime ge {} and activityDateTime le {}", start + hours(9), start + hours(33));
    let expected = shown.iter().filter(|event| at(event) >= start + hours(9) && at(event) <= start + hours(33));
    let mut found = log(&reader, &format!("{span}&$orderby=activityDateTime")).await;
    assert_eq!(found.len(), expected.count());
    assert!(found.windows(2).all(|pair| at(&pair[0]) <= at(&pair[1])));
    let one = found.pop().unwrap();
    let got = reader.get(&reader.v1(&format!("auditLogs/directoryAudits/{}", id(&one)))).await;
    assert_eq!(got.body["targetResources"], one["targetResources"]);
}

#[tokio::test]
async fn each_kind_of_change_has_its_record() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    let first = |collection: Collection| record.objects[&collection].keys().next().unwrap().clone();
    let (user, group, policy) =
        (first(Collection::User), first(Collection::Group), first(Collection::ConditionalAccessPolicy));
    let manager = record.links.iter().find(|link| link.relation == Relation::Manager).unwrap();
    let (boss, unit) = (manager.target.clone(), first(Collection::AdministrativeUnit));
    reader.simulator.edit(|directory| {
        directory.create(Collection::User, json!({"id": "new", "displayName": "New", "userPrincipalName": "new@x"}));
        directory.patch("new", json!({"city": "Here"}));
        directory.patch("new", json!({"accountEnabled": false}));
        directory.link(&group, Relation::Members, "new");
        directory.unlink(&group, Relation::Members, "new");
        directory.link(&unit, Relation::Members, "new");
        directory.link(&user, Relation::Owners, "new");
        directory.unlink(&manager.source, Relation::Manager, &boss);
        directory.patch(&policy, json!({"state": "disabled"}));
        directory.soft_delete("new");
        directory.restore("new");
        directory.remove("new");
    });
    reader.clock.set(reader.clock.now() + hours(12));
    let events = reader.simulator.events();
    let names: Vec<&str> = events.iter().map(|event| event["activityDisplayName"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "Add user",
            "Update user",
            "Disable account",
            "Add member to group",
            "Remove member from group",
            "Add member to administrative unit",
            "Add owner to user",
            "Update user",
            "Update conditional access policy",
            "Delete user",
            "Restore user",
            "Delete user",
        ]
    );
    let added = &events[3];
    assert_eq!((&added["category"], &added["operationType"]), (&json!("GroupManagement"), &json!("Assign")));
    assert_eq!(added["targetResources"][0]["userPrincipalName"], "new@x");
    assert_eq!(added["targetResources"][1]["id"], group);
    let change = &events[1]["targetResources"][0]["modifiedProperties"];
    assert_eq!(*change, json!([{"displayName": "city", "oldValue": null, "newValue": "[\"Here\"]"}]));
    assert!(added["initiatedBy"]["user"]["id"].is_string());
}

#[tokio::test]
async fn the_log_is_kept_as_long_as_the_licence_says() {
    let reader = Reader::start(small(1)).await;
    let start = reader.clock.now();
    reader.clock.set(start + hours(24 * 40));
    reader.simulator.live_until(reader.clock.now());
    let oldest = async || at(log(&reader, "?$orderby=activityDateTime&$top=1000").await.first().unwrap());
    assert!(oldest().await >= start + hours(24 * 10));
    assert!(oldest().await < start + hours(24 * 12));
    for licence in [Licence::P2, Licence::Governance] {
        reader.simulator.cancel(licence);
    }
    assert!(oldest().await >= start + hours(24 * 33));
    for query in
        ["?$filter=category eq 'x'", "?$filter=activityDateTime ge tomorrow", "?$top=1001", "?$orderby=category"]
    {
        assert_eq!(reader.get(&reader.v1(&format!("auditLogs/directoryAudits{query}"))).await.status, 400, "{query}");
    }
}
