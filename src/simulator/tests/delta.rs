//! Delta: a reader that merges what it is told must end with what a whole read shows.

use super::*;

/// A copy of one collection, kept by delta alone.
#[derive(Default)]
struct Mirror {
    objects: BTreeMap<String, serde_json::Map<String, Value>>,
    links: BTreeMap<String, BTreeMap<String, String>>,
    link: Option<String>,
}

impl Mirror {
    /// One round. A first round replaces the mirror, for absence from it means deletion.
    async fn round(&mut self, reader: &Reader, first: &str) {
        'again: loop {
            let mut url = self.link.clone().unwrap_or_else(|| reader.v1(first));
            if self.link.is_none() {
                *self = Self::default();
            }
            loop {
                let got = reader.get(&url).await;
                let code = got.body["error"]["code"].as_str().unwrap_or_default();
                if code.eq_ignore_ascii_case("syncStateNotFound") {
                    self.link = None;
                    continue 'again;
                }
                if code == "Directory_ExpiredPageToken" {
                    continue 'again;
                }
                assert_eq!(got.status, 200, "{url}: {}", got.body);
                got.body["value"].as_array().unwrap().iter().for_each(|item| self.merge(item));
                if let Some(next) = got.body["@odata.nextLink"].as_str() {
                    assert_ne!(next, url, "a link that leads to itself");
                    url = next.to_owned();
                } else {
                    self.link = Some(got.body["@odata.deltaLink"].as_str().unwrap().to_owned());
                    return;
                }
            }
        }
    }

    fn merge(&mut self, item: &Value) {
        let id = item["id"].as_str().unwrap().to_owned();
        if item["@removed"].is_object() {
            self.objects.remove(&id);
            self.links.remove(&id);
            return;
        }
        let object = self.objects.entry(id.clone()).or_default();
        let links = self.links.entry(id).or_default();
        for (name, value) in item.as_object().unwrap() {
            if !name.ends_with("@delta") {
                object.insert(name.clone(), value.clone());
                continue;
            }
            for link in value.as_array().unwrap() {
                let target = link["id"].as_str().unwrap().to_owned();
                if link["@removed"].is_object() {
                    links.remove(&target);
                } else {
                    links.insert(target, link["@odata.type"].as_str().unwrap().to_owned());
                }
            }
        }
    }

    /// Compares with the record; a property that was never set is absent here and null there.
    fn check(&self, record: &Record, collection: Collection, relation: Option<Relation>, note: &str) {
        let expected = &record.objects[&collection];
        assert!(self.objects.keys().eq(expected.keys()), "{note}: other objects");
        for (id, object) in &self.objects {
            for (name, value) in object {
                let keys = name == "keyCredentials";
                assert!(
                    keys || expected[id][name] == *value,
                    "{note}: {name} of {id} is {value}, not {}",
                    expected[id][name]
                );
            }
            let told = |property: &&schema::Property| object.contains_key(property.name);
            let whole = matches!(collection, Collection::User | Collection::Application);
            for property in collection.properties().iter().filter(|property| whole && !told(property)) {
                assert!(expected[id][property.name].is_null(), "{note}: {} of {id} is missing", property.name);
            }
        }
        let Some(relation) = relation else { return };
        let mine = self.links.iter().flat_map(|(source, links)| links.keys().map(move |target| (source, target)));
        let links = record.links.iter().filter(|link| link.from == collection && link.relation == relation);
        let mine: Vec<_> = mine.collect();
        let mut theirs: Vec<_> = links.map(|link| (&link.source, &link.target)).collect();
        theirs.sort();
        assert_eq!(mine, theirs, "{note}: other links");
    }
}

fn everything(collection: Collection, link: &str) -> String {
    let mut names: Vec<&str> = collection
        .properties()
        .iter()
        .filter(|property| property.shown != schema::Shown::Single)
        .map(|property| property.name)
        .collect();
    names.push(link);
    names.join(",").trim_end_matches(',').to_owned()
}

async fn follow_life(seed: u64, weather: Weather) {
    let reader = Reader::start(Options { weather, ..small(seed) }).await;
    let users = format!("users/delta?$select={}", everything(Collection::User, "manager"));
    let feeds = [
        (users.as_str(), Collection::User, Some(Relation::Manager)),
        ("groups/delta", Collection::Group, Some(Relation::Members)),
        ("applications/delta", Collection::Application, None),
        ("servicePrincipals/delta", Collection::ServicePrincipal, None),
        ("oauth2PermissionGrants/delta", Collection::Oauth2PermissionGrant, None),
        ("devices/delta", Collection::Device, None),
        ("directory/administrativeUnits/delta", Collection::AdministrativeUnit, Some(Relation::Members)),
    ];
    let mut mirrors: Vec<Mirror> = feeds.iter().map(|_| Mirror::default()).collect();
    let start = reader.clock.now();
    let mut dice = dice::Dice::new(seed, 99);
    let mut at = start;
    for step in 0..12 {
        for (mirror, (first, collection, relation)) in mirrors.iter_mut().zip(feeds) {
            mirror.round(&reader, first).await;
            let note = format!("seed {seed}, step {step}, {}", collection.name());
            mirror.check(&reader.simulator.record(), collection, relation, &note);
        }
        // Now and then longer than a token lives.
        at += hours(if dice.chance(0.1) { 24 * 9 } else { 1 + dice.below(120) as i64 });
        reader.clock.set(at.max(reader.clock.now()));
        reader.simulator.live_until(reader.clock.now());
    }
}

#[tokio::test]
async fn delta_follows_life_in_calm_weather() {
    for seed in 11..15 {
        println!("seed {seed}");
        follow_life(seed, Weather::calm()).await;
    }
}

#[tokio::test]
async fn delta_follows_life_in_the_worst_weather() {
    for seed in 41..43 {
        println!("seed {seed}");
        follow_life(seed, Weather::worst()).await;
    }
}

#[tokio::test]
async fn delta_follows_life_in_a_storm() {
    for seed in 21..24 {
        println!("seed {seed}");
        follow_life(seed, Weather::storm()).await;
    }
}

/// A mirror of `first` after its first round.
async fn mirrored(reader: &Reader, first: &str) -> Mirror {
    let mut mirror = Mirror::default();
    mirror.round(reader, first).await;
    mirror
}

/// The items of the next round.
async fn news(reader: &Reader, mirror: &mut Mirror) -> Vec<Value> {
    let got = reader.get(mirror.link.as_ref().unwrap()).await;
    mirror.link = Some(got.body["@odata.deltaLink"].as_str().unwrap().to_owned());
    got.body["value"].as_array().unwrap().clone()
}

fn first_id(reader: &Reader, collection: Collection) -> String {
    reader.simulator.record().objects[&collection].keys().next().unwrap().clone()
}

#[tokio::test]
async fn an_unselected_property_does_not_surface() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "users/delta?$select=displayName,faxNumber").await;
    let id = first_id(&reader, Collection::User);
    assert!(reader.simulator.edit(|directory| directory.patch(&id, json!({"city": "Elsewhere"}))));
    assert!(news(&reader, &mut mirror).await.is_empty());
    reader.simulator.edit(|directory| directory.patch(&id, json!({"faxNumber": "1"})));
    reader.simulator.edit(|directory| directory.patch(&id, json!({"faxNumber": null})));
    let name = reader.simulator.record().objects[&Collection::User][&id]["displayName"].clone();
    let items = news(&reader, &mut mirror).await;
    assert_eq!(items, [json!({"displayName": name, "faxNumber": null, "id": id})], "cleared is null, not absent");
    assert!(news(&reader, &mut mirror).await.is_empty());
}

#[tokio::test]
async fn the_bin_the_way_back_and_the_end() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "groups/delta?$select=id,members").await;
    let record = reader.simulator.record();
    // A group that is in no other group, which would be told to have lost a member.
    let nested = |id: &String| record.links.iter().any(|link| link.target == *id);
    let link = record.links.iter().find(|link| link.relation == Relation::Members && !nested(&link.source)).unwrap();
    let (group, user) = (link.source.clone(), link.target.clone());
    let removed = |reason: &str| json!({"id": group, "@removed": {"reason": reason}});

    reader.simulator.edit(|directory| directory.soft_delete(&group));
    assert_eq!(news(&reader, &mut mirror).await, [removed("changed")]);
    reader.simulator.edit(|directory| directory.restore(&group));
    let back = news(&reader, &mut mirror).await;
    let members = record.links.iter().filter(|link| link.relation == Relation::Members && link.source == group).count();
    assert_eq!(back[0]["members@delta"].as_array().unwrap().len(), members, "a restored group is told as a new one");

    reader.simulator.edit(|directory| directory.unlink(&group, Relation::Members, &user));
    let gone = json!([{"@odata.type": "#microsoft.graph.user", "id": user, "@removed": {"reason": "deleted"}}]);
    assert_eq!(news(&reader, &mut mirror).await, [json!({"id": group, "members@delta": gone})]);

    reader.simulator.edit(|directory| directory.soft_delete(&group));
    news(&reader, &mut mirror).await;
    reader.simulator.edit(|directory| directory.remove(&group));
    assert_eq!(news(&reader, &mut mirror).await, [removed("deleted")]);
}

#[tokio::test]
async fn a_new_manager_comes_with_the_end_of_the_old_one() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "users/delta?$select=id,manager").await;
    let record = reader.simulator.record();
    let link = record.links.iter().find(|link| link.relation == Relation::Manager).unwrap();
    let other = record.objects[&Collection::User].keys().find(|id| **id != link.target && **id != link.source).unwrap();
    reader.simulator.edit(|directory| directory.link(&link.source, Relation::Manager, other));
    let items = news(&reader, &mut mirror).await;
    let links = items[0]["manager@delta"].as_array().unwrap();
    let (old, new): (Vec<&Value>, Vec<&Value>) = links.iter().partition(|link| link["@removed"].is_object());
    assert_eq!((items.len(), &old[0]["id"], &new[0]["id"]), (1, &json!(link.target), &json!(other)));
}

#[tokio::test]
async fn owners_and_assignments_do_not_show() {
    let reader = Reader::start(small(1)).await;
    let mut groups = mirrored(&reader, "groups/delta").await;
    let (group, user) = (first_id(&reader, Collection::Group), first_id(&reader, Collection::User));
    assert!(reader.simulator.edit(|directory| directory.link(&group, Relation::Owners, &user)));
    assert!(news(&reader, &mut groups).await.is_empty());
}

#[tokio::test]
async fn lost_changes_show_only_in_whole_reads() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "users/delta").await;
    let id = first_id(&reader, Collection::User);
    reader.simulator.edit(|directory| {
        directory.lose_next_changes(1);
        directory.patch(&id, json!({"jobTitle": "Ghost"}));
    });
    assert!(news(&reader, &mut mirror).await.is_empty());
    assert_eq!(reader.get(&reader.v1(&format!("users/{id}"))).await.body["jobTitle"], "Ghost");
}

#[tokio::test]
async fn changes_of_one_object_can_be_lost_while_others_are_told() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "users/delta?$select=id,faxNumber").await;
    let ids = reader.simulator.edit(|directory| directory.ids(Collection::User));
    reader.simulator.edit(|directory| {
        assert!(directory.lose_next_changes_of(&ids[0], 1) && !directory.lose_next_changes_of("nobody", 1));
        directory.patch(&ids[1], json!({"faxNumber": "told"}));
        directory.patch(&ids[0], json!({"faxNumber": "never told"}));
    });
    let told: Vec<Value> = news(&reader, &mut mirror).await;
    assert_eq!(told, [json!({"id": ids[1], "faxNumber": "told"})]);
    reader.simulator.edit(|directory| directory.patch(&ids[0], json!({"faxNumber": "told again"})));
    assert_eq!(news(&reader, &mut mirror).await.len(), 1);
}

#[tokio::test]
async fn a_group_of_120_000_members_spans_many_pages() {
    let reader = Reader::start(small(1)).await;
    let members: Vec<String> = (0..120_000).map(|number| format!("{number:08}-0000-4000-8000-000000000000")).collect();
    let made = reader.simulator.edit(|directory| {
        for id in &members {
            directory.create(Collection::User, json!({"id": id, "displayName": id}));
        }
        directory.create(Collection::Group, json!({"id": "large", "displayName": "Large"}));
        directory.link_all("large", Relation::Members, &members)
    });
    assert_eq!((made, reader.simulator.record().objects[&Collection::User].len() > 120_000), (120_000, true));
    let (mut url, mut pages, mut found) = (reader.v1("groups/delta?$select=id,members"), 0, 0);
    while !url.contains("deltatoken") {
        let body = reader.get(&url).await.body;
        for group in body["value"].as_array().unwrap().iter().filter(|group| group["id"] == "large") {
            pages += 1;
            found += group["members@delta"].as_array().unwrap().len();
        }
        let next = body["@odata.nextLink"].as_str().or(body["@odata.deltaLink"].as_str());
        url = next.unwrap().to_owned();
    }
    assert_eq!((pages >= 600, found), (true, 120_000));
    assert_eq!(reader.list("groups/large/members?$select=id&$top=999").await.len(), 120_000);
}

#[tokio::test]
async fn old_and_expired_tokens_send_the_reader_back_to_the_start() {
    let reader = Reader::start(small(1)).await;
    let mirror = mirrored(&reader, "users/delta?$select=id").await;
    let link = mirror.link.unwrap();
    reader.clock.set(reader.clock.now() + hours(24 * 7));
    assert_eq!(reader.get(&link).await.status, 200);
    reader.clock.set(reader.clock.now() + hours(1));
    let mut gone = 0;
    for _ in 0..20 {
        let got = reader.get(&link).await;
        assert!(got.body["error"]["code"].as_str().unwrap().eq_ignore_ascii_case("syncStateNotFound"));
        if got.status == 410 {
            assert_eq!(got.headers["location"].to_str().unwrap(), reader.v1("users/delta?$deltatoken="));
            gone += 1;
        }
    }
    assert!(gone > 0 && gone < 20);
    let fresh = mirrored(&reader, "groups/delta?$deltatoken=latest").await;
    assert!(fresh.objects.is_empty());
    reader.simulator.expire_tokens();
    assert!(matches!(reader.get(&fresh.link.unwrap()).await.status, 400 | 404 | 410));
}

#[tokio::test]
async fn large_groups_and_refused_options() {
    let reader = Reader::start(Options { users: 500, ..small(1) }).await;
    let (mut pages, mut url) = (BTreeMap::new(), reader.v1("groups/delta"));
    loop {
        let got = reader.get(&url).await;
        let mut links = 0;
        for group in got.body["value"].as_array().unwrap() {
            *pages.entry(group["id"].to_string()).or_insert(0) += 1;
            links += group["members@delta"].as_array().map_or(0, Vec::len);
        }
        assert!(links <= 200);
        let Some(next) = got.body["@odata.nextLink"].as_str() else { break };
        let both = reader.get(&format!("{next}&$select=id")).await;
        assert_eq!(both.status, 400, "$select may not be repeated");
        url = next.to_owned();
    }
    assert!(pages.values().any(|pages| *pages > 1), "no group was told on several pages");
    for path in
        ["users/delta?$top=5", "groups/delta?$expand=members", "users/delta?$orderby=id", "groups/delta?$select=owners"]
    {
        assert_eq!(reader.get(&reader.v1(path)).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn what_changes_while_a_round_is_read_comes_with_the_next() {
    for seed in [31, 32, 33] {
        println!("seed {seed}");
        let reader = Reader::start(Options { users: 450, ..small(seed) }).await;
        let mut mirror = Mirror::default();
        let mut url = reader.v1("groups/delta");
        let mut pages = 0;
        while mirror.link.is_none() {
            let got = reader.get(&url).await;
            got.body["value"].as_array().unwrap().iter().for_each(|item| mirror.merge(item));
            mirror.link = got.body["@odata.deltaLink"].as_str().map(str::to_owned);
            url = got.body["@odata.nextLink"].as_str().unwrap_or_default().to_owned();
            pages += 1;
            reader.clock.set(reader.clock.now() + hours(12));
            reader.simulator.live_until(reader.clock.now());
        }
        assert!(pages > 3);
        mirror.round(&reader, "groups/delta").await;
        let note = format!("seed {seed}");
        mirror.check(&reader.simulator.record(), Collection::Group, Some(Relation::Members), &note);
    }
}

#[tokio::test]
async fn a_member_in_the_bin_leaves_its_groups_and_comes_back_to_them() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "groups/delta").await;
    let record = reader.simulator.record();
    let user = &record.links.iter().find(|link| link.relation == Relation::Manager).unwrap().source;
    let holds = |link: &&LinkRecord| link.from == Collection::Group && link.target == *user;
    let groups = record.links.iter().filter(holds).filter(|link| link.relation == Relation::Members).count();
    reader.simulator.edit(|directory| directory.soft_delete(user));
    assert_eq!(news(&reader, &mut mirror).await.len(), groups);
    mirror.round(&reader, "").await;
    reader.simulator.edit(|directory| directory.restore(user));
    let back = news(&reader, &mut mirror).await;
    assert_eq!(back.len(), groups);
    assert_eq!(back[0]["members@delta"], json!([{"@odata.type": "#microsoft.graph.user", "id": user}]));
}

#[tokio::test]
async fn grants_vanish_with_their_client_and_return_with_it() {
    let reader = Reader::start(small(1)).await;
    let mut mirror = mirrored(&reader, "oauth2PermissionGrants/delta").await;
    let grants = reader.simulator.record().objects[&Collection::Oauth2PermissionGrant].clone();
    let (id, grant) = grants.iter().next().unwrap();
    let client = grant["clientId"].as_str().unwrap();
    let count = grants.values().filter(|grant| grant["clientId"] == client).count();
    reader.simulator.edit(|directory| directory.soft_delete(client));
    let gone = news(&reader, &mut mirror).await;
    assert_eq!(gone.len(), count);
    assert!(gone.contains(&json!({"id": id, "@removed": {"reason": "deleted"}})));
    reader.simulator.edit(|directory| directory.restore(client));
    assert_eq!(news(&reader, &mut mirror).await.len(), count);
    assert_eq!(reader.simulator.record().objects[&Collection::Oauth2PermissionGrant], grants);
}

#[tokio::test]
async fn delta_repeats_itself_when_the_weather_says_so() {
    let reader = Reader::start(small(1)).await;
    let rates = Weather { replayed: 1.0, duplicated: 1.0, empty_page: 1.0, ..Weather::calm() };
    reader.simulator.set_weather(rates);
    let mut mirror = mirrored(&reader, "users/delta?$select=id,faxNumber").await;
    assert!(mirror.objects.keys().eq(reader.simulator.record().objects[&Collection::User].keys()));
    let id = first_id(&reader, Collection::User);
    reader.simulator.edit(|directory| directory.patch(&id, json!({"faxNumber": "1"})));
    mirror.round(&reader, "").await;
    // The change was told; with nothing new it is told again with others before it, one of them twice.
    let empty = reader.get(mirror.link.as_ref().unwrap()).await;
    assert_eq!(empty.body["value"], json!([]));
    let full = reader.get(empty.body["@odata.nextLink"].as_str().unwrap()).await;
    let mut ids: Vec<String> =
        full.body["value"].as_array().unwrap().iter().map(|user| user["id"].to_string()).collect();
    let items = ids.len();
    ids.sort();
    ids.dedup();
    assert!(ids.contains(&json!(id).to_string()) && items == ids.len() + 1);
}
