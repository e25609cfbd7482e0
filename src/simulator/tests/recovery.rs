//! Microsoft's own recovery, as an archive sees it: jobs, and changes that no feed tells.

use super::*;

async fn jobs(reader: &Reader, prefer: Option<&str>) -> Vec<Value> {
    // The tests take longer than a token lives.
    *reader.token.lock().await = None;
    let request = reader.http.get(reader.v1("directory/recovery/jobs")).bearer_auth(reader.token().await);
    let request = prefer.into_iter().fold(request, |request, prefer| request.header("Prefer", prefer));
    request.send().await.unwrap().json::<Value>().await.unwrap()["value"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_snapshot_a_day_of_which_seven_are_kept() {
    let reader = Reader::start(small(1)).await;
    for day in 0..3 {
        let snapshots = reader.list("directory/recovery/snapshots").await;
        let ids: Vec<String> = snapshots.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((ids.len(), &ids), (7, &reader.simulator.native_snapshots()));
        let newest = snapshots[0]["createdDateTime"].as_str().unwrap();
        let evening = ["2026-05-31T22:00:00Z", "2026-06-01T22:00:00Z", "2026-06-02T22:00:00Z"][day];
        assert_eq!(newest, evening);
        let got = reader.get(&reader.v1(&format!("directory/recovery/snapshots/{}", ids[0].replace('=', "%3D")))).await;
        assert_eq!(got.status, 404, "as seen on a live tenant");
        reader.clock.set(reader.clock.now() + hours(24));
        reader.simulator.live_until(reader.clock.now());
    }
}

#[tokio::test]
async fn a_recovery_writes_behind_the_feeds_back() {
    let reader = Reader::start(small(1)).await;
    let record = reader.simulator.record();
    let cloud = |user: &&Value| user["onPremisesSyncEnabled"].is_null() && user["department"].is_string();
    let users: Vec<String> = record.objects[&Collection::User]
        .values()
        .filter(cloud)
        .map(|user| user["id"].as_str().unwrap().into())
        .collect();
    let link = record.links.iter().find(|link| {
        let group = record.objects[&Collection::Group].get(&link.source);
        link.relation == Relation::Members
            && group.is_some_and(|group| group["membershipRule"].is_null() && group["onPremisesSyncEnabled"].is_null())
            && link.to == Collection::User
    });
    let (group, member) = (link.unwrap().source.clone(), link.unwrap().target.clone());
    let names = || record.objects[&Collection::User].keys();
    let others: Vec<String> = names().filter(|id| **id != member && !users[..2].contains(id)).cloned().collect();
    let gone = others[0].clone();
    reader.clock.set(reader.clock.now() + hours(1));
    reader.simulator.edit(|directory| {
        directory.patch(&users[0], json!({"department": "Nowhere", "faxNumber": "1", "assignedLicenses": []}));
        directory.soft_delete(&gone);
        directory.unlink(&group, Relation::Members, &member);
        directory.create(Collection::User, json!({"id": "new", "displayName": "New"}));
    });
    let mut feeds = Vec::new();
    for path in ["users/delta?$select=id,department,faxNumber", "groups/delta?$select=id,members"] {
        let mut url = reader.v1(path);
        while url.contains("/v1.0/") {
            let body = reader.get(&url).await.body;
            if let Some(link) = body["@odata.deltaLink"].as_str() {
                feeds.push(link.to_owned());
                break;
            }
            url = body["@odata.nextLink"].as_str().unwrap().to_owned();
        }
    }
    let snapshot = reader.simulator.native_snapshots().remove(0);
    let objects = [users[0].clone(), gone.clone(), group.clone(), "new".to_owned()];
    let job = reader.simulator.recover_natively(&snapshot, &objects).unwrap();
    assert!(reader.simulator.preview_natively(&snapshot, &objects).is_none(), "one job at a time");
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let known = jobs(&reader, Some("include-unknown-enum-members")).await.remove(0);
        let plain = jobs(&reader, None).await.remove(0);
        let hidden = matches!(known["status"].as_str().unwrap(), "calculating" | "loadingData");
        assert_eq!(plain["status"] == "unknownFutureValue", hidden);
        statuses.push(known["status"].as_str().unwrap().to_owned());
        reader.clock.advance(std::time::Duration::from_secs(600));
    }
    statuses.dedup();
    assert_eq!(statuses, ["initialized", "loadingData", "calculating", "running", "successful"]);
    let done = jobs(&reader, None).await.remove(0);
    assert_eq!(
        (&done["id"], &done["totalObjectsModified"], &done["totalLinksModified"]),
        (&json!(job), &json!(3), &json!(1))
    );
    assert_eq!(done["@odata.type"], "#microsoft.graph.entraRecoveryServices.recoveryJob");
    let ids = &done["filteringCriteria"]["filterValues"];
    assert!(
        ids.as_array().unwrap().iter().any(|value| value["entityType"] == "group" && value["entityIds"][0] == *group)
    );

    for feed in &feeds {
        assert_eq!(reader.get(feed).await.body["value"], json!([]), "the feed tells nothing");
    }
    let after = reader.simulator.record();
    let user = &after.objects[&Collection::User][&users[0]];
    assert_eq!(user["department"], record.objects[&Collection::User][&users[0]]["department"]);
    assert!(user["faxNumber"] == record.objects[&Collection::User][&users[0]]["faxNumber"]);
    assert_eq!(user["assignedLicenses"], json!([]), "licences are out of its reach");
    assert!(
        after.objects[&Collection::User].contains_key(&gone) && after.deleted[&Collection::User].contains_key("new")
    );
    assert!(after.links.iter().any(|link| link.source == group && link.target == member));
    reader.clock.set(reader.clock.now() + hours(12));
    let events = reader.simulator.events();
    assert!(events.iter().any(|event| event["category"] == "Backup and Recovery"));
    let preview = reader.simulator.preview_natively(&snapshot, &objects).unwrap();
    let both = jobs(&reader, None).await;
    assert_eq!((both.len(), &both[1]["id"]), (2, &json!(preview)));
    assert_eq!(both[1]["@odata.type"], "#microsoft.graph.entraRecoveryServices.recoveryPreviewJob");
    let path = format!("directory/recovery/jobs/{job}");
    assert_eq!(reader.get(&reader.v1(&path)).await.body["status"], "successful");
}
