//! The client of Graph against a server that answers as scripted: tokens, retries, bounds, and links that lead astray.

mod scripted;

use std::sync::Arc;
use std::time::Duration;

use scripted::{Body, Reply, Server, clock, elapsed, token};
use secrecy::SecretString;
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Bucket, Credential, Error, Limits, Options, Reader, Request};

const EMPTY: &str = r#"{"value":[]}"#;

fn users() -> Request {
    Request::new("/v1.0/users").permission("User.Read.All")
}

fn limited(server: &Server, clock: &ManualClock, limits: Limits) -> Reader {
    let limits = Limits { request_timeout: Duration::from_secs(10), ..limits };
    Reader::new(Options { limits, ..server.options() }, Arc::new(clock.clone())).unwrap()
}

async fn walk(reader: &Reader, request: Request) -> Result<u64, Error> {
    let mut pages = reader.pages(request);
    while pages.next(|_, _| ()).await?.is_some() {}
    Ok(pages.read())
}

#[tokio::test]
async fn a_token_is_asked_for_once_as_documented_and_sent_with_every_request() {
    let server = Server::new(|_, _| Reply::json(200, EMPTY).with("x-ms-resource-unit", "2")).await;
    let reader = server.reader(&clock());
    for _ in 0..3 {
        reader.get(&users()).await.unwrap();
    }
    let seen = server.seen();
    let (tokens, calls): (Vec<_>, Vec<_>) = seen.iter().partition(|seen| seen.is_token());
    assert_eq!(tokens.len(), 1);
    assert_eq!((tokens[0].method.as_str(), tokens[0].target.as_str()), ("POST", "/tenant.example/oauth2/v2.0/token"));
    assert_eq!(tokens[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    let mut form: Vec<_> = tokens[0].body.split('&').collect();
    form.sort_unstable();
    assert_eq!(
        form,
        [
            "client_id=client",
            "client_secret=s3cret",
            "grant_type=client_credentials",
            &format!("scope={}%2F.default", server.url.replace(':', "%3A").replace('/', "%2F")),
        ]
    );
    for call in calls {
        assert_eq!(call.method, "GET");
        assert_eq!(call.header("authorization"), Some("Bearer first"));
        assert_eq!(call.header("x-ms-throttle-priority"), Some("low"));
        assert_eq!(call.header("client-request-id").map(str::len), Some(36));
        assert_eq!(call.header("prefer"), None);
        assert_eq!(call.header("consistencylevel"), None);
    }
    assert_eq!((reader.meter().requests(), reader.meter().units()), (3, 6));
    let run = reader.metered();
    run.metered().get(&users()).await.unwrap();
    assert_eq!((run.meter().requests(), run.meter().units(), reader.meter().requests()), (1, 2, 4));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_when_graph_refuses_it() {
    let server = Server::raw(|seen, before| match seen.is_token() {
        true => token(&format!("t{before}"), 3600),
        false if seen.header("authorization") == Some("Bearer t0") && before == 3 => Reply::error(401, "InvalidToken"),
        false => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    let reader = server.reader(&clock);
    reader.get(&users()).await.unwrap();
    reader.get(&users()).await.unwrap();
    reader.get(&users()).await.unwrap();
    let bearers = |server: &Server| -> Vec<String> {
        server.seen().iter().filter_map(|seen| seen.header("authorization").map(str::to_owned)).collect()
    };
    assert_eq!(bearers(&server), ["Bearer t0", "Bearer t0", "Bearer t0", "Bearer t4"]);
    clock.advance(Duration::from_secs(3250));
    reader.get(&users()).await.unwrap();
    assert_eq!(bearers(&server).last().unwrap(), "Bearer t4", "more than five minutes left");
    clock.advance(Duration::from_secs(60));
    reader.get(&users()).await.unwrap();
    assert_ne!(bearers(&server).last().unwrap(), "Bearer t4", "less than five minutes left");
}

#[tokio::test]
async fn a_claims_challenge_is_answered_once() {
    let server = Server::raw(|seen, _| match seen.is_token() {
        true => token("t", 3600),
        false => Reply::error(401, "InvalidAuthenticationToken").with(
            "www-authenticate",
            r#"Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7InZhbHVlIjoiMSJ9fX0=""#,
        ),
    })
    .await;
    let error = server.reader(&clock()).get(&users()).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized { refusal, .. } if refusal.status == 401), "{error}");
    let with_claims: Vec<_> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.is_token() && seen.body.contains("claims=%7B%22access_token"))
        .collect();
    assert_eq!(with_claims.len(), 1);
}

#[tokio::test]
async fn a_refused_token_ends_after_one_renewal_and_says_what_to_check() {
    let server = Server::new(|_, _| Reply::error(401, "InvalidAuthenticationToken")).await;
    let error = server.reader(&clock()).get(&users()).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }) && !error.is_transient());
    assert_eq!(server.targets().len(), 2);

    let server = Server::raw(|_, _| {
        Reply::json(
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000222: secret of someone","error_codes":[7000222]}"#,
        )
    })
    .await;
    let error = server.reader(&clock()).get(&users()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("AADSTS7000222") && text.contains("expired") && !text.contains("someone"), "{text}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_login_service_is_retried_too() {
    let server = Server::raw(|seen, before| match (seen.is_token(), before) {
        (true, 0) => Reply::error(503, "x").with("retry-after", "9"),
        (true, 1) => Reply::body(Body::Reset),
        (true, _) => token("t", 3600),
        (false, _) => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    server.reader(&clock).get(&users()).await.unwrap();
    assert!((9.0..13.0).contains(&elapsed(&clock)), "{}", elapsed(&clock));
}

#[tokio::test]
async fn retry_after_is_honoured_to_the_second() {
    for (value, expected) in [("17", 17.0), ("Sat, 01 Aug 2026 10:00:42 GMT", 42.0)] {
        let server = Server::new(move |_, before| match before {
            0 => Reply::error(429, "TooManyRequests")
                .with("retry-after", value)
                .with("date", "Sat, 01 Aug 2026 10:00:00 GMT"),
            _ => Reply::json(200, EMPTY),
        })
        .await;
        let clock = clock();
        server.reader(&clock).get(&users()).await.unwrap();
        assert_eq!(elapsed(&clock), expected, "{value}");
        assert_eq!(server.targets().len(), 2);
    }
}

#[tokio::test]
async fn whoever_is_told_to_wait_makes_the_others_wait() {
    let server = Server::new(|seen, before| match before {
        0 => Reply::error(429, "TooManyRequests").with("retry-after", "30"),
        _ => Reply::json(200, format!(r#"{{"value":[],"at":"{}"}}"#, seen.target.len())),
    })
    .await;
    let clock = clock();
    let reader = limited(&server, &clock, Limits { tries: 2, ..Limits::default() });
    reader.get(&users()).await.unwrap();
    reader.get(&users()).await.unwrap();
    assert_eq!(elapsed(&clock), 30.0);
}

#[tokio::test]
async fn waiting_and_tries_are_bounded() {
    let server = Server::new(|_, _| Reply::error(429, "TooManyRequests").with("retry-after", "86400")).await;
    let clock = clock();
    let error = server.reader(&clock).get(&users()).await.unwrap_err();
    assert!(matches!(error, Error::Throttled { .. }) && error.is_transient(), "{error}");
    assert!(elapsed(&clock) <= 900.0);
    assert_eq!(server.targets().len(), 4, "five minutes each, fifteen in all");

    let server = Server::new(|_, _| Reply::error(503, "ServiceUnavailable").with("request-id", "abc")).await;
    let clock = scripted::clock();
    let error = server.reader(&clock).get(&users()).await.unwrap_err();
    assert!(matches!(&error, Error::Server { refusal, tries: 8 } if refusal.request_id.as_deref() == Some("abc")));
    assert!(elapsed(&clock) < 240.0);
    assert_eq!(server.targets().len(), 8);
}

#[tokio::test]
async fn a_deadline_ends_the_waiting() {
    let server = Server::new(|_, _| Reply::error(429, "TooManyRequests").with("retry-after", "60")).await;
    let clock = clock();
    let reader = server.reader(&clock).until(clock.now() + jiff::SignedDuration::from_secs(90));
    assert!(matches!(reader.get(&users()).await.unwrap_err(), Error::TimeLimit));
    assert_eq!(elapsed(&clock), 60.0);
}

#[tokio::test]
async fn broken_answers_are_tried_again() {
    let whole = r#"{"value":[{"id":"a"}]}"#;
    for (name, broken) in [
        ("reset", Reply::body(Body::Reset)),
        ("truncated", Reply::body(Body::Truncated(b"{\"value\":[".to_vec()))),
        ("cut and closed", Reply::json(200, r#"{"value":[{"id":"#)),
        ("html", Reply::json(200, "<html>").with("content-type", "text/html")),
        ("no type", Reply { headers: vec![], ..Reply::json(200, whole) }),
        ("no list", Reply::json(200, "[]")),
        ("no value", Reply::json(200, r#"{"error":{"code":"x"}}"#)),
        ("server error", Reply::error(500, "InternalServerError")),
        ("gateway", Reply::json(502, "<html>").with("content-type", "text/html")),
    ] {
        let first = broken.clone();
        let server =
            Server::new(move |_, before| if before < 2 { first.clone() } else { Reply::json(200, whole) }).await;
        let clock = clock();
        assert_eq!(walk(&server.reader(&clock), users()).await.unwrap(), 1, "{name}");
        assert!((1.0..4.0).contains(&elapsed(&clock)), "{name}: {}", elapsed(&clock));

        let server = Server::new(move |_, _| broken.clone()).await;
        let reader = limited(&server, &scripted::clock(), Limits { tries: 3, ..Limits::default() });
        let error = walk(&reader, users()).await.unwrap_err();
        assert!(error.is_transient(), "{name}: {error}");
        assert_eq!(server.targets().len(), 3, "{name}");
    }
}

/// A refusal whose body broke off names no property; it was taken for a refusal of everything that needs a permission
/// of its own, and custom security attributes went missing from every user until the next full round.
#[tokio::test]
async fn a_refusal_that_breaks_off_is_asked_for_again() {
    let server = Server::new(|_, before| match before {
        0 => Reply { status: 400, ..Reply::body(Body::Truncated(b"{\"error\":{\"code\":\"Bad".to_vec())) },
        _ => Reply::error(400, "BadRequest"),
    })
    .await;
    let error = server.reader(&clock()).get(&users()).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { refusal, .. } if refusal.code == "BadRequest"), "{error:?}");
    assert_eq!(server.targets().len(), 2);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let server = Server::new(|_, _| Reply::json(200, EMPTY)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = Options { graph_url: Some(gone), ..server.options() };
    let options = Options { limits: Limits { tries: 2, ..options.limits.clone() }, ..options };
    let reader = Reader::new(options, Arc::new(clock())).unwrap();
    let error = reader.get(&Request::new("/v1.0/users/delta?$deltatoken=verysecret")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }));
    assert!(!format!("{error:?}").contains("verysecret"), "{error:?}");
}

#[tokio::test]
async fn a_body_is_never_larger_than_allowed() {
    for (body, tries) in [(Body::Endless, 1), (Body::Huge(1 << 30), 1)] {
        let server = Server::new(move |_, _| Reply::body(body.clone())).await;
        let reader = limited(&server, &clock(), Limits { page_bytes: 1 << 20, ..Limits::default() });
        let error = walk(&reader, users()).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 1_048_576 }), "{error}");
        assert_eq!(server.targets().len(), tries, "asking again would give the same");
    }
    // An error is judged by its status, however much comes with it.
    let server = Server::new(|_, _| Reply { status: 403, ..Reply::body(Body::Endless) }).await;
    let error = server.reader(&clock()).get(&users()).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { permission: "User.Read.All", .. }), "{error}");
}

/// Compressed: `{"value":[{"id":"a"}]}`, and a list of twenty thousand spaces.
const GZIP: [&str; 2] = [
    "H4sIAAAAAAACA6tWKkvMKU1VsoquVspMUbJSSlSqja0FAChY9lEWAAAA",
    "H4sIAAAAAAACA+3BsREAEBAAsFXcj2EVp1DovqVxdreGIsmJPXLNqK0AAAAAAAAAAAAAAAAAAAAAAAAA8IV+H9GpE0YsTgAA",
];

#[tokio::test]
async fn limits_and_hashes_are_those_of_the_body_behind_its_compression() {
    use base64::Engine as _;
    for (index, text) in GZIP.into_iter().enumerate() {
        let body = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let server = Server::new(move |seen, _| {
            assert!(seen.header("accept-encoding").unwrap().contains("gzip"));
            Reply::body(Body::Whole(body.clone())).with("content-encoding", "gzip")
        })
        .await;
        let reader = limited(&server, &clock(), Limits { page_bytes: 10_000, ..Limits::default() });
        match reader.get(&users()).await {
            Ok(response) => {
                let receipt = response.receipt(1, Vec::new());
                let plain = br#"{"value":[{"id":"a"}]}"#;
                assert_eq!((index, receipt.len), (0, plain.len() as u64));
                assert_eq!(receipt.sha256, tenure::hash::Hash::of(plain));
            }
            Err(error) => {
                assert_eq!(index, 1, "{error}");
                assert!(matches!(error, Error::TooLarge { limit: 10_000 }), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let server = Server::new(|_, _| Reply::body(Body::Stalled)).await;
    let limits = Limits { tries: 2, request_timeout: Duration::from_millis(200), ..Limits::default() };
    let reader = Reader::new(Options { limits, ..server.options() }, Arc::new(clock())).unwrap();
    let error = reader.get(&users()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(server.targets().len(), 2);
}

#[tokio::test]
async fn pages_are_followed_verbatim_and_loops_end() {
    let server = Server::new(|seen, before| {
        let host = seen.header("host").unwrap();
        match before {
            0 => Reply::json(
                200,
                format!(r#"{{"value":[],"@odata.nextLink":"http://{host}/v1.0/users?$skiptoken=A_b-%3D&x=1"}}"#),
            ),
            _ => Reply::json(200, EMPTY),
        }
    })
    .await;
    assert_eq!(walk(&server.reader(&clock()), users()).await.unwrap(), 2);
    assert_eq!(server.targets(), ["/v1.0/users", "/v1.0/users?$skiptoken=A_b-%3D&x=1"]);

    let server = Server::new(|seen, before| {
        let host = seen.header("host").unwrap();
        Reply::json(
            200,
            format!(r#"{{"value":[],"@odata.nextLink":"http://{host}/v1.0/users?$skiptoken={}"}}"#, before % 3),
        )
    })
    .await;
    let error = walk(&server.reader(&clock()), users()).await.unwrap_err();
    assert!(matches!(error, Error::Loop { pages: 4 }), "{error}");

    let server = Server::new(|seen, before| {
        let host = seen.header("host").unwrap();
        Reply::json(200, format!(r#"{{"value":[],"@odata.nextLink":"http://{host}/v1.0/users?$skiptoken={before}"}}"#))
    })
    .await;
    let reader = limited(&server, &clock(), Limits { pages: 20, ..Limits::default() });
    let error = walk(&reader, users()).await.unwrap_err();
    assert!(matches!(error, Error::Loop { pages: 20 }), "{error}");
}

#[tokio::test]
async fn no_link_and_no_redirect_takes_the_token_elsewhere() {
    let other = Arc::new(Server::raw(|_, _| Reply::json(200, EMPTY)).await);
    let port = other.url.rsplit_once(':').unwrap().1.to_owned();
    for link in [
        other.url.clone() + "/v1.0/users?$skiptoken=a",
        "https://graph.microsoft.com.example/v1.0/users".to_owned(),
        format!("//127.0.0.1:{port}/v1.0/users"),
        format!("http://user@127.0.0.1:{port}/v1.0/users"),
        "ftp://127.0.0.1/v1.0".to_owned(),
        "next".to_owned(),
    ] {
        let body = format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#);
        let server = Server::new(move |_, _| Reply::json(200, body.clone())).await;
        let error = walk(&server.reader(&clock()), users()).await.unwrap_err();
        assert!(matches!(error, Error::ForeignLink), "{link}: {error}");
        assert_eq!(server.targets().len(), 1);
    }
    let location = other.url.clone() + "/v1.0/users";
    let server = Server::new(move |_, _| Reply::json(302, "").with("location", location.clone())).await;
    let error = server.reader(&clock()).get(&users()).await.unwrap_err();
    assert!(matches!(error, Error::BadResponse { status: 302, .. }), "{error}");
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (status, code, expected) in [
        (403, "Authorization_RequestDenied", "forbidden"),
        (403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "licence"),
        (400, "AadPremiumLicenseRequired", "licence"),
        (404, "Request_ResourceNotFound", "not found"),
        (400, "Request_BadRequest", "refused"),
        (410, "syncStateNotFound", "token in the link"),
    ] {
        let server = Server::new(move |_, _| Reply::error(status, code)).await;
        let error = server.reader(&clock()).get(&users()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(code), "{text}");
        assert!(!error.is_transient());
        assert_eq!(server.targets().len(), 1, "{code} isn't tried again");
    }
}

#[tokio::test]
async fn conditional_access_is_asked_once_a_second() {
    let server = Server::new(|_, before| match before {
        1 => Reply::error(429, "TooManyRequests"),
        _ => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    let reader = server.reader(&clock);
    let request = Request::new("/v1.0/identity/conditionalAccess/policies")
        .bucket(Bucket::ConditionalAccess)
        .unknown_enum_members(true);
    let asks = futures_util::future::join_all((0..4).map(|_| reader.get(&request)));
    assert!(asks.await.iter().all(Result::is_ok));
    assert!(elapsed(&clock) >= 4.0, "five requests in {} s", elapsed(&clock));
    assert!(
        server
            .seen()
            .iter()
            .filter(|seen| !seen.is_token())
            .all(|seen| { seen.header("prefer") == Some("include-unknown-enum-members") })
    );
}

#[tokio::test]
async fn reports_are_asked_five_times_in_ten_seconds_and_hold_nobody_up() {
    let server = Server::new(|_, before| match before {
        0 => Reply::error(429, "TooManyRequests").with("retry-after", "30"),
        _ => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    let reader = server.reader(&clock);
    let request = Request::new("/v1.0/reports/authenticationMethods/userRegistrationDetails").bucket(Bucket::Reports);
    for _ in 0..6 {
        reader.get(&request).await.unwrap();
    }
    assert_eq!(elapsed(&clock), 30.0 + 2.0 * 5.0);

    let server = Server::new(|seen, before| match (seen.target.contains("reports"), before) {
        (true, _) => Reply::error(429, "TooManyRequests").with("retry-after", "30"),
        (false, _) => Reply::json(200, EMPTY),
    })
    .await;
    let clock = scripted::clock();
    let reader = limited(&server, &clock, Limits { tries: 1, ..Limits::default() });
    reader.get(&request).await.unwrap_err();
    reader.get(&users()).await.unwrap();
    assert_eq!(elapsed(&clock), 0.0);
}

#[tokio::test]
async fn units_are_spent_evenly_as_graph_counts_them() {
    let server = Server::new(|_, _| Reply::json(200, EMPTY).with("x-ms-resource-unit", "5")).await;
    let clock = clock();
    let reader = limited(&server, &clock, Limits { units_per_10s: 100, ..Limits::default() });
    for _ in 0..20 {
        reader.get(&users()).await.unwrap();
    }
    assert_eq!(elapsed(&clock), 0.0, "a whole window at once");
    for _ in 0..200 {
        reader.get(&users()).await.unwrap();
    }
    assert!((97.0..103.0).contains(&elapsed(&clock)), "{}", elapsed(&clock));
    let deadline = clock.now() + jiff::SignedDuration::from_secs(3);
    let late = reader.until(deadline);
    let mut read = Vec::new();
    for _ in 0..20 {
        read.push(late.get(&users()).await);
    }
    assert!(read[0].is_ok());
    assert!(matches!(read[19], Err(Error::TimeLimit)));
    assert!(clock.now() <= deadline);
}

#[tokio::test]
async fn who_is_told_that_the_window_is_full_stops_until_it_is_over() {
    let server = Server::new(|_, before| match before {
        0 => Reply::json(200, EMPTY).with("x-ms-throttle-limit-percentage", "1.2"),
        _ => Reply::json(200, EMPTY),
    })
    .await;
    let clock = clock();
    let reader = server.reader(&clock);
    reader.get(&users()).await.unwrap();
    // Another limit, which has nothing to do with units.
    reader.get(&Request::new("/v1.0/identity").bucket(Bucket::ConditionalAccess)).await.unwrap();
    assert_eq!(elapsed(&clock), 0.0);
    reader.get(&users()).await.unwrap();
    assert_eq!(elapsed(&clock), 10.0);
}

#[tokio::test]
async fn the_largest_skew_is_remembered_with_its_sign() {
    let server = Server::new(|_, before| {
        let date = ["Sat, 01 Aug 2026 00:00:01 GMT", "Fri, 31 Jul 2026 23:50:00 GMT", "Sat, 01 Aug 2026 00:05:00 GMT"];
        Reply::json(200, EMPTY).with("date", date[before])
    })
    .await;
    let reader = server.reader(&clock());
    for expected in [1_000, -600_000, -600_000] {
        reader.get(&users()).await.unwrap();
        assert_eq!(reader.meter().skew_ms(), expected);
    }
}

#[tokio::test]
async fn a_receipt_names_the_response_and_cuts_the_token() {
    let body = r#"{"value":[{"id":"a"}]}"#;
    let server = Server::new(move |_, _| {
        Reply::json(200, body).with("request-id", "r-1").with("date", "Sat, 01 Aug 2026 00:00:01 GMT")
    })
    .await;
    let reader = server.reader(&clock());
    let response = reader.get(&Request::new("/v1.0/users?$select=id&$skiptoken=secret")).await.unwrap();
    let receipt = response.receipt(1, Vec::new());
    assert_eq!(receipt.path_and_query, "/v1.0/users?$select=id&$skiptoken=(cut)");
    assert_eq!((receipt.method, receipt.status, receipt.len), ("GET", 200, body.len() as u64));
    assert_eq!(receipt.sha256, tenure::hash::Hash::of(body.as_bytes()));
    assert_eq!(receipt.request_id.as_deref(), Some("r-1"));
    assert_eq!(receipt.date.as_deref(), Some("Sat, 01 Aug 2026 00:00:01 GMT"));
}

#[test]
fn plain_http_is_for_loopback_hosts_and_secrets_are_not_shown() {
    let credential = || Credential::ClientSecret { client_id: "c".to_owned(), secret: SecretString::from("hunter2") };
    let build = |url: &str| {
        let options = Options { graph_url: Some(url.to_owned()), ..Options::new("t", credential()) };
        Reader::new(options, Arc::new(clock())).map(drop)
    };
    for url in [
        "http://graph.microsoft.com",
        "http://10.0.0.1",
        "graph.microsoft.com",
        "https://u:p@h",
        "ftp://h",
        "https://h?x",
    ] {
        assert!(matches!(build(url), Err(Error::Options { option: "graph_url", .. })), "{url}");
    }
    for url in ["https://graph.microsoft.us/", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"] {
        assert!(build(url).is_ok(), "{url}");
    }
    assert!(!format!("{:?}", Options::new("t", credential())).contains("hunter2"));
    let options = Options::new("t/../x", credential());
    assert!(matches!(Reader::new(options, Arc::new(clock())), Err(Error::Options { option: "tenant.id", .. })));
    let mut options = Options::new("t", credential());
    options.limits.page_bytes = usize::MAX;
    assert!(Reader::new(options, Arc::new(clock())).is_err());
}
