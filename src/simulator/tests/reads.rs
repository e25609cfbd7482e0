//! Whole reads: pages, properties, links, counts and errors.

use super::*;

#[tokio::test]
async fn pages_add_up_without_holes_or_doubles() {
    let reader = Reader::start(small(2)).await;
    let record = reader.simulator.record();
    let sets = [
        ("users", Collection::User),
        ("groups", Collection::Group),
        ("applications", Collection::Application),
        ("servicePrincipals", Collection::ServicePrincipal),
        ("oauth2PermissionGrants", Collection::Oauth2PermissionGrant),
        ("roleManagement/directory/roleAssignments", Collection::RoleAssignment),
        ("roleManagement/directory/roleDefinitions", Collection::RoleDefinition),
        ("identity/conditionalAccess/namedLocations", Collection::NamedLocation),
        ("organization", Collection::Organization),
    ];
    for (set, collection) in sets {
        let one = record.objects[&collection].keys().next().unwrap();
        assert_eq!(reader.get(&reader.v1(&format!("{set}/{one}"))).await.body["id"], *one, "{set}");
        for query in ["", "?$top=7", "?$top=999"] {
            let items = reader.list(&format!("{set}{query}")).await;
            let mut ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
            ids.sort_unstable();
            let expected: Vec<&str> = record.objects[&collection].keys().map(String::as_str).collect();
            assert_eq!(ids, expected, "{set}{query}");
        }
    }
}

/// Pages of links are made from what is around them alone: nothing may fall between two, whatever is repeated, came or
/// went.
#[tokio::test]
async fn the_pages_of_a_large_group_add_up_without_holes() {
    let reader = Reader::start(small(2)).await;
    let group = reader.simulator.edit(|directory| directory.ids(Collection::Group)[0].clone());
    let ids: Vec<String> = (0..2500).map(|n| format!("{n:08x}-0000-4000-8000-00000000cafe")).collect();
    reader.simulator.edit(|directory| {
        for member in directory.targets(&group, Relation::Members) {
            directory.unlink(&group, Relation::Members, &member);
        }
        for id in &ids {
            assert!(directory.create(Collection::User, json!({ "id": id })));
        }
        assert_eq!(directory.link_all(&group, Relation::Members, &ids), ids.len());
        for id in ids.iter().skip(95).take(400) {
            assert!(directory.unlink(&group, Relation::Members, id));
        }
    });
    let expected: std::collections::BTreeSet<&str> =
        ids.iter().enumerate().filter(|(n, _)| !(95..495).contains(n)).map(|(_, id)| id.as_str()).collect();
    let repeating = Weather { repeated: 0.5, ..Weather::calm() };
    for (weather, query) in [(Weather::calm(), ""), (Weather::calm(), "?$top=999"), (repeating, "?$top=7")] {
        reader.simulator.set_weather(weather);
        let items = reader.list(&format!("groups/{group}/members{query}")).await;
        let found: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        let distinct: std::collections::BTreeSet<&str> = found.iter().copied().collect();
        assert_eq!(distinct, expected, "{query}");
        assert_eq!(found.len() > expected.len(), weather.repeated > 0.0, "{query}");
    }
    let counted = reader.get(&reader.v1(&format!("groups/{group}/members?$count=true"))).await;
    assert_eq!(counted.body["@odata.count"], expected.len());
}

#[tokio::test]
async fn only_default_properties_come_unasked() {
    let reader = Reader::start(small(2)).await;
    let defaults = reader.list("users?$top=3").await;
    assert!(defaults[0].as_object().unwrap().len() == 11 && defaults[0].get("department").is_none());

    let all: Vec<&str> = Collection::User.properties().iter().map(|property| property.name).collect();
    let record = reader.simulator.record();
    for user in reader.list(&format!("users?$select={}", all.join(","))).await {
        assert_eq!(user, record.objects[&Collection::User][user["id"].as_str().unwrap()]);
    }
    for (path, code) in [
        ("users?$select=id,shoeSize", "Request_BadRequest"),
        ("users?$top=1000", "Request_BadRequest"),
        ("users?$top=0", "Request_BadRequest"),
        ("users?$expand=manager", "Request_UnsupportedQuery"),
        ("users?$skip=5", "Request_UnsupportedQuery"),
        ("groups?$select=unseenCount", "Request_BadRequest"),
        ("directory/deletedItems", "Request_BadRequest"),
    ] {
        let got = reader.get(&reader.v1(path)).await;
        assert_eq!((got.status, got.body["error"]["code"].as_str()), (400, Some(code)), "{path}");
    }
    assert_eq!(reader.get(&reader.v1("users/nobody")).await.status, 404);
    assert_eq!(reader.get(&reader.v1("sofas")).await.status, 404);
}

#[tokio::test]
async fn key_material_comes_only_when_selected() {
    let reader = Reader::start(small(2)).await;
    let key = |applications: Vec<Value>| {
        let first = applications.into_iter().find(|application| application["keyCredentials"][0].is_object()).unwrap();
        first["keyCredentials"][0]["key"].clone()
    };
    assert!(key(reader.list("applications").await).is_null());
    assert!(key(reader.list("applications?$select=id,keyCredentials").await).is_string());
}

#[tokio::test]
async fn links_carry_their_types_and_match_the_record() {
    let reader = Reader::start(small(4)).await;
    let record = reader.simulator.record();
    let mut seen = 0;
    for group in record.objects[&Collection::Group].keys() {
        for (relation, name) in [(Relation::Members, "members"), (Relation::Owners, "owners")] {
            let mut found: Vec<(String, String)> = Vec::new();
            for item in reader.list(&format!("groups/{group}/{name}?$select=id&$top=5")).await {
                assert_eq!(item.as_object().unwrap().len(), 2, "{item}");
                found.push((item["id"].as_str().unwrap().into(), item["@odata.type"].as_str().unwrap().into()));
            }
            found.sort();
            let links = record.links.iter().filter(|link| link.source == *group && link.relation == relation);
            let kind = |link: &LinkRecord| match &record.objects[&link.to][&link.target]["@odata.type"] {
                Value::String(own) => own.clone(),
                _ => format!("#microsoft.graph.{}", link.to.name()),
            };
            let mut expected: Vec<(String, String)> = links.map(|link| (link.target.clone(), kind(link))).collect();
            expected.sort();
            assert_eq!(found, expected);
            seen += found.len();
        }
    }
    assert!(seen > 100);
    let manager = record.links.iter().find(|link| link.relation == Relation::Manager).unwrap();
    let got = reader.get(&reader.v1(&format!("users/{}/manager?$select=id", manager.source))).await;
    assert_eq!(got.body["id"], manager.target);
}

#[tokio::test]
async fn assignments_are_found_from_both_ends() {
    let reader = Reader::start(small(4)).await;
    let record = reader.simulator.record();
    let (mut to, mut of) = (Vec::new(), Vec::new());
    for principal in record.objects[&Collection::ServicePrincipal].keys() {
        to.extend(reader.list(&format!("servicePrincipals/{principal}/appRoleAssignedTo?$top=3")).await);
        of.extend(reader.list(&format!("servicePrincipals/{principal}/appRoleAssignments")).await);
    }
    let all: Vec<&Value> = record.objects[&Collection::AppRoleAssignment].values().collect();
    to.sort_by_key(|assignment| assignment["id"].to_string());
    let mut expected: Vec<Value> = all.iter().map(|assignment| (*assignment).clone()).collect();
    expected.sort_by_key(|assignment| assignment["id"].to_string());
    assert_eq!(to, expected);
    assert_eq!(of.len(), all.iter().filter(|assignment| assignment["principalType"] == "ServicePrincipal").count());
    assert!(!of.is_empty() && of[0]["id"].as_str().unwrap().len() == 43);

    let applications: Vec<&String> = record.objects[&Collection::Application].keys().collect();
    let mut credentials = 0;
    for application in applications {
        credentials += reader.list(&format!("applications/{application}/federatedIdentityCredentials")).await.len();
    }
    assert_eq!(credentials, record.objects[&Collection::FederatedIdentityCredential].len());
}

#[tokio::test]
async fn beta_shows_policies_that_v1_leaves_out() {
    let reader = Reader::start(small(4)).await;
    let stable = reader.list("identity/conditionalAccess/policies").await.len();
    let url = format!("{}/beta/identity/conditionalAccess/policies", reader.simulator.url());
    let beta = reader.get(&url).await.body["value"].as_array().unwrap().clone();
    assert_eq!((stable, beta.len()), (7, 8));
    let hidden = beta.iter().find(|policy| !policy["conditions"]["agentIdRiskLevels"].is_null()).unwrap();
    let path = format!("identity/conditionalAccess/policies/{}", hidden["id"].as_str().unwrap());
    assert_eq!(reader.get(&reader.v1(&path)).await.status, 404);
}

#[tokio::test]
async fn counts_need_their_header() {
    let reader = Reader::start(small(4)).await;
    let record = reader.simulator.record();
    let got = reader.get(&reader.v1("groups/$count")).await;
    assert_eq!(got.body, json!(record.objects[&Collection::Group].len()));
    assert_eq!(got.headers["content-type"], "text/plain");
    let bare = reader.http.get(reader.v1("groups/$count")).bearer_auth(reader.token().await).send().await.unwrap();
    assert_eq!(bare.status(), 400);
    let counted = reader.get(&reader.v1("users?$count=true&$top=5")).await;
    assert_eq!(counted.body["@odata.count"], record.objects[&Collection::User].len());
}

#[tokio::test]
async fn the_bin_is_read_by_type() {
    let reader = Reader::start(small(4)).await;
    let group = reader.simulator.record().objects[&Collection::Group].keys().next().unwrap().clone();
    reader.simulator.edit(|directory| directory.soft_delete(&group));
    let binned = reader.list("directory/deletedItems/microsoft.graph.group?$select=id,deletedDateTime").await;
    assert_eq!(binned, [json!({"id": group, "deletedDateTime": "2026-06-01T00:00:00Z"})]);
    assert!(reader.list("directory/deletedItems/microsoft.graph.administrativeUnit").await.is_empty());
    assert!(!reader.list("directory/deletedItems/microsoft.graph.user").await.is_empty());
}

#[tokio::test]
async fn a_user_is_found_by_id_or_name_in_any_case() {
    let reader = Reader::start(small(4)).await;
    let record = reader.simulator.record();
    let (id, user) = record.objects[&Collection::User].iter().next().unwrap();
    let name = user["userPrincipalName"].as_str().unwrap().replace('#', "%23");
    for key in [id.to_uppercase(), name.to_uppercase(), id.clone()] {
        assert_eq!(reader.get(&reader.v1(&format!("users/{key}"))).await.body["id"], *id, "{key}");
    }
    let (grant, _) = record.objects[&Collection::Oauth2PermissionGrant].iter().next().unwrap();
    assert_eq!(reader.get(&reader.v1(&format!("oauth2PermissionGrants/{grant}"))).await.status, 200);
    let other = reader.get(&reader.v1(&format!("oauth2PermissionGrants/{}", grant.to_lowercase()))).await;
    assert_eq!(other.status, 404, "the ids of grants distinguish case");
}
