//! The collectors against a server that answers as scripted: rounds of a feed that close, break and start over, lists,
//! fan-outs, and what the outcome says about each.

mod scripted;

use scripted::{Body, Reply, Server, clock, elapsed, gather, lines};
use tenure::canonical::Key;
use tenure::collect::{self, Outcome, Recipe, Sighting, Source, Status, code};

fn recipe(name: &str) -> &'static Recipe {
    collect::find(name).unwrap()
}

fn page(items: &str, link: Option<(&str, &str)>, host: &str) -> Reply {
    let link = link.map(|(kind, to)| format!(r#","@odata.{kind}":"http://{host}{to}""#)).unwrap_or_default();
    Reply::json(200, format!(r#"{{"@odata.context":"c","value":[{items}]{link}}}"#)).with("x-ms-resource-unit", "1")
}

async fn feed(server: &Server, name: &str, token: Option<&str>) -> (Outcome, Vec<Sighting>) {
    let reader = server.reader(&clock());
    gather(|out| async move { recipe(name).feed(&reader, token, &out).await }).await
}

async fn whole(server: &Server, name: &str) -> (Outcome, Vec<Sighting>) {
    let reader = server.reader(&clock());
    gather(|out| async move { recipe(name).whole(&reader, &[], &out).await }).await
}

const LAST: Option<(&str, &str)> = Some(("deltaLink", "/v1.0/groups/delta?$deltatoken=D1"));

#[tokio::test]
async fn a_round_is_followed_to_its_end_and_the_next_starts_there() {
    let server = Server::new(|seen, _| {
        let host = seen.header("host").unwrap();
        match seen.target.split_once('?').unwrap().1 {
            "$skiptoken=1" => page("", Some(("nextLink", "/v1.0/groups/delta?$skiptoken=2")), host),
            "$skiptoken=2" => {
                page(r##"{"id":"g","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"v"}]}"##, LAST, host)
            }
            "$deltatoken=D1" => page(
                r#"{"id":"g","@removed":{"reason":"changed"}}"#,
                Some(("deltaLink", "/v1.0/groups/delta?$deltatoken=D2")),
                host,
            ),
            _ => page(
                r##"{"id":"g","displayName":"G","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"u"}]}"##,
                Some(("nextLink", "/v1.0/groups/delta?$skiptoken=1")),
                host,
            ),
        }
    })
    .await;
    let (first, seen) = feed(&server, "group", None).await;
    assert_eq!((first.status, first.full, first.items, first.pages), (Status::Complete, true, 2, 3));
    assert_eq!((first.requests, first.units), (3, 3));
    assert_eq!(
        lines(&seen),
        [
            r#"group/g~ {"displayName":"G","id":"g"}"#,
            "group/g members +user/u",
            r#"group/g~ {"id":"g"}"#,
            "group/g members +user/v"
        ]
    );
    let receipts: Vec<_> = seen
        .iter()
        .filter_map(|sighting| match sighting {
            Sighting::Receipt(receipt) => Some((receipt.path_and_query.as_str(), receipt.items, receipt.keys.len())),
            _ => None,
        })
        .collect();
    assert_eq!(receipts.len(), 3);
    assert_eq!(receipts[1], ("/v1.0/groups/delta?$skiptoken=(cut)", 0, 0));
    assert_eq!((receipts[2].1, receipts[2].2), (1, 1));
    let start = &server.targets()[0];
    assert!(start.starts_with("/v1.0/groups/delta?$select=id,") && start.ends_with(",members"), "{start}");
    assert!(!start.contains("$top") && !start.contains("$expand"));

    let (second, seen) = feed(&server, "group", first.token.as_deref()).await;
    assert_eq!((second.status, second.full), (Status::Complete, false));
    assert_eq!(lines(&seen), ["group/g gone"]);
    assert_eq!(server.targets().last().unwrap(), "/v1.0/groups/delta?$deltatoken=D1");
    assert!(second.token.unwrap().ends_with("$deltatoken=D2"));
}

#[tokio::test]
async fn a_reset_of_any_shape_starts_a_full_round() {
    for (name, reset) in [
        ("410", Reply::error(410, "syncStateNotFound").with("location", "/v1.0/groups/delta?$deltatoken=")),
        ("410 without a body", Reply::json(410, "")),
        ("400", Reply::error(400, "SyncStateNotFound")),
        ("404", Reply::error(404, "RESYNCREQUIRED")),
        ("404 unknown", Reply::error(404, "UnknownError")),
        ("400 expired", Reply::error(400, "Directory_ExpiredPageToken")),
        ("400 malformed", Reply::error(400, "Request_BadRequest")),
    ] {
        let server = Server::new(move |seen, _| match seen.target.contains("$deltatoken=D1") {
            true => reset.clone(),
            false => page(r#"{"id":"g"}"#, LAST, seen.header("host").unwrap()),
        })
        .await;
        let (first, _) = feed(&server, "group", None).await;
        let (second, seen) = feed(&server, "group", first.token.as_deref()).await;
        assert_eq!(
            (second.status, second.full, second.items),
            (Status::Complete, true, 1),
            "{name}: {:?}",
            second.error
        );
        assert_eq!(lines(&seen), [r#"group/g~ {"id":"g"}"#], "{name}");
        assert_eq!(server.targets().len(), 3, "{name}");
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_says_that_it_starts_over() {
    let server = Server::new(|seen, before| match before {
        0 => page(r#"{"id":"a"}"#, Some(("nextLink", "/v1.0/groups/delta?$skiptoken=1")), seen.header("host").unwrap()),
        1 => Reply::error(400, "Directory_ExpiredPageToken"),
        _ => page(r#"{"id":"b"}"#, LAST, seen.header("host").unwrap()),
    })
    .await;
    let (outcome, seen) = feed(&server, "group", None).await;
    assert_eq!((outcome.status, outcome.full, outcome.items), (Status::Complete, true, 1));
    assert_eq!(lines(&seen), [r#"group/a~ {"id":"a"}"#, "restart", r#"group/b~ {"id":"b"}"#]);

    let server = Server::new(|_, _| Reply::error(410, "syncStateNotFound")).await;
    let (outcome, _) = feed(&server, "group", None).await;
    assert_eq!(outcome.status, Status::Carried(code::EXPIRED));
    assert_eq!(server.targets().len(), 4, "three restarts");
}

#[tokio::test]
async fn an_old_token_and_a_strange_one_are_not_even_tried() {
    let server = Server::new(|seen, _| page("", LAST, seen.header("host").unwrap())).await;
    let (first, _) = feed(&server, "group", None).await;
    let token = first.token.unwrap();
    let old = token.replace("2026-08-01", "2026-07-24");
    let parts: Vec<_> = token.splitn(4, ' ').collect();
    let other_select = format!("1 {} 000000000000 {}", parts[1], parts[3]);
    let elsewhere = token.replace(&server.url, "https://graph.microsoft.com");
    for token in [old.as_str(), &other_select, &elsewhere, "x"] {
        let (outcome, _) = feed(&server, "group", Some(token)).await;
        assert_eq!((outcome.status, outcome.full), (Status::Complete, true), "{token}");
    }
    assert!(server.targets().iter().all(|target| target.contains("$select")));
}

#[tokio::test]
async fn a_round_that_breaks_is_partial_and_has_no_token() {
    let next = Some(("nextLink", "/v1.0/groups/delta?$skiptoken=1"));
    for (name, last, why) in [
        ("no delta link", Reply::json(200, r#"{"value":[]}"#), code::BAD_RESPONSE),
        ("forbidden", Reply::error(403, "Authorization_RequestDenied"), code::NO_PERMISSION),
        ("throttled", Reply::error(429, "TooManyRequests"), code::THROTTLED),
        ("server", Reply::error(500, "x"), code::SERVER_ERROR),
        ("reset", Reply::body(Body::Reset), code::UNREACHABLE),
        (
            "loop",
            Reply::json(200, r#"{"value":[],"@odata.nextLink":"/v1.0/groups/delta?$skiptoken=same"}"#),
            code::LOOP,
        ),
        ("foreign", Reply::json(200, r#"{"value":[],"@odata.nextLink":"http://evil.example/x"}"#), code::FOREIGN_LINK),
    ] {
        let server = Server::new(move |seen, before| match before {
            0 => page(r#"{"id":"a"}"#, next, seen.header("host").unwrap()),
            _ => last.clone(),
        })
        .await;
        let (outcome, _) = feed(&server, "group", None).await;
        assert_eq!(outcome.status, Status::Partial(why), "{name}");
        assert!(!outcome.full && outcome.token.is_none(), "{name}");
    }
    for (status, code, expected) in [
        (403, "Authorization_RequestDenied", Status::Absent(code::NO_PERMISSION)),
        (403, "TenantNotLicensed", Status::Absent(code::NO_LICENCE)),
        (404, "ResourceNotFound", Status::Absent(code::NOT_OFFERED)),
        (503, "x", Status::Carried(code::SERVER_ERROR)),
    ] {
        let server = Server::new(move |_, _| Reply::error(status, code)).await;
        let (outcome, seen) = feed(&server, "group", None).await;
        assert_eq!((outcome.status, seen.len()), (expected, 0));
    }
}

#[tokio::test]
async fn what_the_tenant_refuses_to_select_is_left_out_and_said() {
    let message = "Invalid request for delta query: for this entity set, $expand/$select is not supported for the \
                   following properties: licenseAssignmentStates";
    let refusal = format!(r#"{{"error":{{"code":"BadRequest","message":"{message}"}}}}"#);
    let server = Server::new(move |seen, _| match seen.target.as_str() {
        target if target.contains("licenseAssignmentStates") => Reply::json(400, refusal.clone()),
        target if target.contains("customSecurityAttributes") => Reply::error(403, "Authorization_RequestDenied"),
        _ => {
            page(r#"{"id":"u"}"#, Some(("deltaLink", "/v1.0/users/delta?$deltatoken=D1")), seen.header("host").unwrap())
        }
    })
    .await;
    let (first, _) = feed(&server, "user", None).await;
    let refused = ["customSecurityAttributes", "employeeLeaveDateTime", "licenseAssignmentStates"];
    assert_eq!((first.status, first.full), (Status::Complete, true), "{:?}", first.error);
    assert_eq!(first.refused, refused);
    assert_eq!(server.targets().len(), 3);
    let (second, _) = feed(&server, "user", first.token.as_deref()).await;
    assert_eq!((second.status, second.full), (Status::Complete, false));
    assert_eq!(second.refused, refused, "the link still doesn't track them");

    let (outcome, _) = whole(&server, "user").await;
    assert_eq!((outcome.status, outcome.refused.len()), (Status::Complete, 3));
}

#[tokio::test]
async fn a_list_whose_page_token_expires_starts_over() {
    let server = Server::new(|seen, before| match before {
        _ if seen.target.ends_with("/$count") => Reply::json(200, "2").with("content-type", "text/plain"),
        0 => page(
            r#"{"id":"a"},{"id":"b"}"#,
            Some(("nextLink", "/v1.0/groups?$skiptoken=1")),
            seen.header("host").unwrap(),
        ),
        1 => Reply::error(400, "Directory_ExpiredPageToken"),
        _ => page(r#"{"id":"a"},{"id":"c"}"#, None, ""),
    })
    .await;
    let (outcome, seen) = whole(&server, "group").await;
    assert_eq!((outcome.status, outcome.full, outcome.items, outcome.count), (Status::Complete, true, 2, Some(2)));
    let seen = lines(&seen);
    assert_eq!(seen[2..], ["restart", r#"group/a {"id":"a"}"#, r#"group/c {"id":"c"}"#]);
    let targets = server.targets();
    assert!(targets[0].ends_with("&$top=999") && targets[0] == targets[2], "{targets:?}");
    let count = server.seen().into_iter().find(|seen| seen.target == "/v1.0/groups/$count").unwrap();
    assert_eq!(count.header("consistencylevel"), Some("eventual"));
}

#[tokio::test]
async fn agents_get_their_own_properties_from_their_own_list() {
    let server = Server::new(|seen, _| match seen.target.as_str() {
        target if target.contains("agentIdentity?") => {
            assert!(target.contains("agentIdentityBlueprintId") && target.ends_with("$top=100"), "{target}");
            page(r#"{"id":"s","agentIdentityBlueprintId":"b"}"#, None, "")
        }
        target if target.contains("$count") => Reply::error(404, "x"),
        target => {
            assert!(!target.contains("agentIdentityBlueprintId"), "{target}");
            page(r##"{"@odata.type":"#microsoft.graph.agentIdentity","id":"s"},{"id":"t"}"##, None, "")
        }
    })
    .await;
    let (outcome, seen) = whole(&server, "servicePrincipal").await;
    assert_eq!((outcome.status, outcome.count), (Status::Complete, None));
    assert_eq!(
        lines(&seen),
        [
            r##"servicePrincipal/s~ {"@odata.type":"#microsoft.graph.agentIdentity","id":"s"}"##,
            r#"servicePrincipal/t {"id":"t"}"#,
            r##"servicePrincipal/s {"@odata.type":"#microsoft.graph.agentIdentity","agentIdentityBlueprintId":"b","id":"s"}"##,
        ]
    );

    let server = Server::new(|seen, _| match seen.target.contains("microsoft.graph.agentIdentity") {
        true => Reply::error(403, "Authorization_RequestDenied"),
        false => page(r#"{"id":"t"}"#, None, ""),
    })
    .await;
    let (outcome, _) = whole(&server, "servicePrincipal").await;
    assert_eq!((outcome.status, outcome.full), (Status::Complete, true));
    assert_eq!(outcome.refused, ["microsoft.graph.agentIdentity"]);
}

#[tokio::test]
async fn beta_adds_the_policies_that_v1_leaves_out() {
    let script = |beta: Reply| {
        Server::new(move |seen, _| {
            assert_eq!(seen.header("prefer"), Some("include-unknown-enum-members"));
            match seen.target.as_str() {
                "/beta/identity/conditionalAccess/policies" => beta.clone(),
                "/v1.0/identity/conditionalAccess/policies" => page(r#"{"id":"a","state":"enabled"}"#, None, ""),
                other => panic!("{other}"),
            }
        })
    };
    let server = script(page(r#"{"id":"a","state":"x"},{"id":"b"}"#, None, "")).await;
    let (outcome, seen) = whole(&server, "conditionalAccessPolicy").await;
    assert_eq!((outcome.status, outcome.full), (Status::Complete, true));
    assert_eq!(
        lines(&seen),
        [r#"conditionalAccessPolicy/a {"id":"a","state":"enabled"}"#, r#"conditionalAccessPolicy/b {"id":"b"}"#]
    );

    let server = script(Reply::error(500, "x")).await;
    let (outcome, seen) = whole(&server, "conditionalAccessPolicy").await;
    assert_eq!((outcome.status, outcome.full), (Status::Partial(code::BETA_UNREAD), false));
    assert_eq!(lines(&seen).len(), 1, "v1.0 stands");

    let server = script(Reply::error(404, "x")).await;
    let (outcome, _) = whole(&server, "conditionalAccessPolicy").await;
    assert_eq!((outcome.status, outcome.refused), (Status::Complete, vec!["beta".to_owned()]));
}

#[tokio::test]
async fn the_bin_is_read_kind_by_kind() {
    let server = Server::new(|seen, _| match seen.target.split('?').next().unwrap().rsplit('.').next().unwrap() {
        "user" => page(r#"{"id":"u","deletedDateTime":"2026-07-01T00:00:00Z"}"#, None, ""),
        "agentIdentity" => Reply::error(400, "BadRequest"),
        _ => page("", None, ""),
    })
    .await;
    let (outcome, seen) = whole(&server, "deletedItems").await;
    assert_eq!((outcome.status, outcome.full), (Status::Complete, true), "{:?}", outcome.error);
    assert_eq!(outcome.refused, ["microsoft.graph.agentIdentity"]);
    assert_eq!(
        lines(&seen),
        [
            r##"deletedItems/u {"@odata.type":"#microsoft.graph.user","deletedDateTime":"2026-07-01T00:00:00Z","id":"u"}"##
        ]
    );

    let server = Server::new(|seen, _| match seen.target.contains("microsoft.graph.group?") {
        true => Reply::error(403, "Authorization_RequestDenied"),
        false => page("", None, ""),
    })
    .await;
    let (outcome, _) = whole(&server, "deletedItems").await;
    assert_eq!((outcome.status, outcome.full), (Status::Partial(code::NO_PERMISSION), false));
    let server = Server::new(|_, _| Reply::error(403, "Authorization_RequestDenied")).await;
    let (outcome, _) = whole(&server, "deletedItems").await;
    assert_eq!(outcome.status, Status::Absent(code::NO_PERMISSION));
}

#[tokio::test]
async fn owners_are_read_object_by_object() {
    let server = Server::new(|seen, _| match seen.target.split('/').nth(3).unwrap_or_default() {
        "" => Reply::error(404, "ResourceNotFound"),
        "a" if seen.target.contains("skiptoken") => page(r##"{"@odata.type":"#microsoft.graph.user","id":"t"}"##, None, ""),
        "a" => page(
            r##"{"@odata.type":"#microsoft.graph.user","id":"u"},{"@odata.type":"#microsoft.graph.user","id":"u"},{"id":"x"}"##,
            Some(("nextLink", "/v1.0/groups/a/owners?$skiptoken=1")),
            seen.header("host").unwrap(),
        ),
        "b" => Reply::error(404, "Request_ResourceNotFound"),
        "c" => Reply::error(403, "Authorization_RequestDenied"),
        _ => page("", None, ""),
    })
    .await;
    let reader = server.reader(&clock());
    let group = recipe("group");
    let sources = |ids: &[&str]| -> Vec<Source> { ids.iter().map(|id| Key::new("group", id).into()).collect() };
    let owners = group.relation("owners").unwrap();
    let read = |ids: &'static [&'static str]| {
        let reader = &reader;
        gather(move |out| async move { group.links(owners, reader, sources(ids), &out).await })
    };
    let (outcome, seen) = read(&["a", "b", "d/e"]).await;
    assert_eq!((outcome.status, outcome.full), (Status::Complete, true));
    let mut seen = lines(&seen);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "group/a owners = [directoryObject/x, user/t, user/u]",
            "group/b owners unread gone",
            "group/d%2Fe owners = []"
        ]
    );
    assert!(server.targets().contains(&"/v1.0/groups/d%2Fe/owners?$select=id".to_owned()));
    let (outcome, _) = read(&["a", "c"]).await;
    assert_eq!((outcome.status, outcome.full), (Status::Partial(code::NO_PERMISSION), false));
    let before = server.targets().len();
    let (outcome, seen) = read(&["c"; 100]).await;
    assert_eq!(outcome.status, Status::Absent(code::NO_PERMISSION));
    assert_eq!(lines(&seen).len(), 100, "every source is accounted for");
    assert!(server.targets().len() - before < 30, "it gives up");
}

#[tokio::test]
async fn a_user_without_a_manager_has_none() {
    let server = Server::new(|seen, _| match seen.target.contains("/a/") {
        true => Reply::json(200, r##"{"@odata.context":"c","@odata.type":"#microsoft.graph.user","id":"m"}"##),
        false => Reply::error(404, "Request_ResourceNotFound"),
    })
    .await;
    let reader = server.reader(&clock());
    let user = recipe("user");
    let sources = [Key::new("user", "a"), Key::new("user", "b"), Key::raw("user", b"{}")].map(Source::from).to_vec();
    let (outcome, seen) =
        gather(|out| async move { user.links(user.relation("manager").unwrap(), &reader, sources, &out).await }).await;
    assert_eq!(outcome.status, Status::Partial(code::BAD_RESPONSE), "an object without an id can't be asked for");
    let mut seen = lines(&seen);
    seen.retain(|line| !line.contains('!'));
    seen.sort_unstable();
    assert_eq!(seen, ["user/a manager = [user/m]", "user/b manager = []"]);
}

#[tokio::test]
async fn children_come_with_the_list_of_their_parent() {
    let server = Server::new(|seen, before| match (seen.target.split('/').nth(3).unwrap(), before) {
        ("a", 0) => page(
            r#"{"id":"R1","appRoleId":"x"}"#,
            Some(("nextLink", "/v1.0/servicePrincipals/a/appRoleAssignedTo?$skiptoken=1")),
            seen.header("host").unwrap(),
        ),
        ("a", 1) => Reply::error(400, "Directory_ExpiredPageToken"),
        ("a", _) => page(r#"{"id":"R2","appRoleId":"y"},{"noId":1}"#, None, ""),
        _ => Reply::error(404, "x"),
    })
    .await;
    let reader = server.reader(&clock());
    let parents = vec![Key::new("servicePrincipal", "a")];
    let (outcome, seen) =
        gather(|out| async move { recipe("appRoleAssignment").children(&reader, parents, &out).await }).await;
    assert_eq!((outcome.status, outcome.items, outcome.odd), (Status::Complete, 2, 1));
    let seen = lines(&seen);
    assert_eq!(seen[0], r#"appRoleAssignment/R2 {"appRoleId":"y","id":"R2"}"#);
    assert!(seen[1].starts_with("appRoleAssignment/!") && seen[1].ends_with(r#" raw {"noId":1}"#));
    assert_eq!(seen[2..], ["servicePrincipal/a appRoleAssignedTo = [appRoleAssignment/R2]"]);
}

#[tokio::test]
async fn the_organization_is_one_object() {
    let server =
        Server::new(|_, _| page(r#"{"id":"84841066-274d-4ec0-a5c1-276be684bdd3","displayName":"C"}"#, None, "")).await;
    let (outcome, seen) = whole(&server, "organization").await;
    assert_eq!(outcome.status, Status::Complete);
    assert_eq!(lines(&seen), [r#"organization/- {"displayName":"C","id":"84841066-274d-4ec0-a5c1-276be684bdd3"}"#]);
}

#[tokio::test]
async fn one_bad_element_does_not_cost_its_page() {
    let server = Server::new(|_, _| {
        page(
            r#"{"id":"a","n":9007199254740993},{"id":"b"},7,{"id":"c","x":"\ud800"},null,{"id":"d","id":"e"}"#,
            None,
            "",
        )
    })
    .await;
    let (outcome, seen) = whole(&server, "unifiedRoleDefinition").await;
    assert_eq!((outcome.status, outcome.items, outcome.odd), (Status::Complete, 6, 3));
    let seen = lines(&seen);
    assert_eq!(seen[0], r#"unifiedRoleDefinition/a raw {"id":"a","n":9007199254740993}"#);
    assert_eq!(seen[1], r#"unifiedRoleDefinition/b {"id":"b"}"#);
    assert_eq!(seen[3], r#"unifiedRoleDefinition/c raw {"id":"c","x":"\ud800"}"#);
}

#[tokio::test]
async fn a_consumer_that_goes_away_stops_the_reading() {
    let server = Server::new(|seen, before| {
        let next = format!("/v1.0/domains?$skiptoken={before}");
        page(r#"{"id":"d"}"#, Some(("nextLink", &next)), seen.header("host").unwrap())
    })
    .await;
    let (out, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    let outcome = recipe("domain").whole(&server.reader(&clock()), &[], &out).await;
    assert_eq!(outcome.status, Status::Partial(code::STOPPED));
    assert_eq!(server.targets().len(), 1);
}

#[tokio::test]
async fn selecting_keys_keeps_to_its_own_limit() {
    let server = Server::new(|seen, before| {
        let next = format!("/v1.0/applications?$skiptoken={before}");
        match before {
            0..150 => page("", Some(("nextLink", &next)), seen.header("host").unwrap()),
            _ => page("", None, ""),
        }
    })
    .await;
    let clock = clock();
    let reader = server.reader(&clock);
    let (outcome, _) = gather(|out| async move { recipe("application").whole(&reader, &[], &out).await }).await;
    assert_eq!(outcome.pages, 151);
    assert!(elapsed(&clock) >= 60.0, "150 requests a minute, not {} s for 151", elapsed(&clock));
}

#[tokio::test]
async fn a_parent_with_very_many_children_is_sent_on_page_by_page() {
    let server = Server::new(|seen, before| {
        let items: Vec<_> = (0..999).map(|index| format!(r#"{{"id":"{before}-{index}"}}"#)).collect();
        let next = format!("/v1.0/servicePrincipals/a/appRoleAssignedTo?$skiptoken={before}");
        let next = (before < 9).then_some(("nextLink", next.as_str()));
        page(&items.join(","), next, seen.header("host").unwrap())
    })
    .await;
    let reader = server.reader(&clock());
    let (out, mut receiver) = tokio::sync::mpsc::channel(1);
    let parents = vec![Key::new("servicePrincipal", "a")];
    let read = tokio::spawn(async move { recipe("appRoleAssignment").children(&reader, parents, &out).await });
    let (mut largest, mut last) = (0, None);
    while let Some(page) = receiver.recv().await {
        largest = largest.max(page.len());
        last = page.into_iter().next_back();
    }
    assert!(largest <= 3100, "{largest} at once");
    assert!(matches!(last, Some(Sighting::Links { targets, .. }) if targets.len() == 9990));
    assert_eq!(read.await.unwrap().items, 9990);
}
