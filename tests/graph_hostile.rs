//! A server that lies, floods, drips, loops and hangs. What must hold each time: an end within bounded time and memory, the
//! error that says what happened, no token sent elsewhere, no panic.
//!
//! Waits go by a manual clock and cost nothing; where real time is the matter, limits are short.

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use scripted::{Body, Reply, Seen, Server, clock, elapsed, token};
use tenure::canonical::{NotCanonical, Rules, Value, canonicalize};
use tenure::clock::{Clock, ManualClock, SystemClock};
use tenure::graph::{Bucket, Error, Limits, Options, Reader, Request, escape};
use tenure::hash::Hash;

const EMPTY: &str = r#"{"value":[]}"#;

fn users() -> Request {
    Request::new("/v1.0/users").permission("User.Read.All")
}

fn with(server: &Server, clock: Arc<dyn Clock>, change: impl FnOnce(&mut Limits)) -> Reader {
    let mut options = server.options();
    change(&mut options.limits);
    Reader::new(options, clock).unwrap()
}

fn manual(server: &Server, change: impl FnOnce(&mut Limits)) -> (ManualClock, Reader) {
    let clock = clock();
    (clock.clone(), with(server, Arc::new(clock), change))
}

async fn walk(reader: &Reader, request: Request) -> Result<u64, Error> {
    let mut pages = reader.pages(request);
    while pages.next(|_, _| ()).await?.is_some() {}
    Ok(pages.read())
}

/// Runs `work` and requires that it ends within `seconds` of real time.
async fn in_time<T>(seconds: f64, work: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs_f64(seconds);
    tokio::time::timeout(bound, work).await.unwrap_or_else(|_| panic!("no end within {seconds} s"))
}

fn page(seen: &Seen, link: &str) -> Reply {
    let host = seen.header("host").unwrap();
    Reply::json(200, format!(r#"{{"value":[],"@odata.nextLink":"http://{host}/v1.0/users?$skiptoken={link}"}}"#))
}

// --- pages -------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_chain_of_pages_without_end_ends_at_the_limit_or_the_deadline() {
    let server = Server::new(|seen, before| page(seen, &before.to_string())).await;
    let (_, reader) = manual(&server, |limits| limits.pages = 50);
    assert!(matches!(walk(&reader, users()).await, Err(Error::Loop { pages: 50 })));

    let hand = clock();
    let moved = hand.clone();
    let server = Server::new(move |seen, before| {
        moved.advance(Duration::from_secs(1));
        page(seen, &before.to_string())
    })
    .await;
    let reader = with(&server, Arc::new(hand.clone()), |_| ()).until(hand.now() + jiff::SignedDuration::from_secs(20));
    assert!(matches!(walk(&reader, users()).await, Err(Error::TimeLimit)));
    assert_eq!(elapsed(&hand), 20.0);
}

#[tokio::test]
async fn pages_that_lead_back_are_read_once_more_at_most() {
    for (name, period, most) in [("to itself", 1, 3), ("A, B, A", 2, 4), ("seven round", 7, 9)] {
        let server = Server::new(move |seen, before| page(seen, &(before % period).to_string())).await;
        let (_, reader) = manual(&server, |_| ());
        let error = walk(&reader, users()).await.unwrap_err();
        assert!(matches!(error, Error::Loop { .. }), "{name}: {error}");
        assert!(server.targets().len() <= most, "{name}: {} requests", server.targets().len());
    }
    // A list whose next link is the very address that was asked for.
    let server = Server::new(|_, _| Reply::json(200, r#"{"value":[],"@odata.nextLink":"/v1.0/users"}"#)).await;
    let (_, reader) = manual(&server, |_| ());
    assert!(matches!(walk(&reader, users()).await, Err(Error::Loop { pages: 1 })));
}

#[tokio::test]
async fn a_link_of_any_length_or_spelling_is_followed_or_refused() {
    for (name, link) in [
        ("long", format!("/v1.0/users?$skiptoken={}", "a".repeat(60_000))),
        ("too long", format!("/v1.0/users?$skiptoken={}", "a".repeat(1_000_000))),
        ("unicode", "/v1.0/users?$skiptoken=\u{1f600}é".to_owned()),
        ("spaces", "/v1.0/users?$filter=id eq 'a b'&$skiptoken= x".to_owned()),
        ("controls", r"/v1.0/users?$skiptoken=a\u0000b\r\n".to_owned()),
        ("fragment", "/v1.0/users?$skiptoken=a#b".to_owned()),
        ("percent", "/v1.0/users?$skiptoken=%zz%".to_owned()),
        ("dots", "/v1.0/../../users".to_owned()),
        ("backslash", r"\\\\elsewhere.example\\v1.0".to_owned()),
    ] {
        let body = format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#);
        let server = Server::new(move |_, before| match before {
            0 => Reply::json(200, body.clone()),
            _ => Reply::json(200, EMPTY),
        })
        .await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let result = in_time(20.0, walk(&reader, users())).await;
        assert!(
            result.is_ok() || matches!(result, Err(Error::ForeignLink | Error::Unreachable { .. })),
            "{name}: {result:?}"
        );
    }
    for odd in ["1", "{}", "[]", "true", r#""""#, r#""\ud800""#] {
        let body = format!(r#"{{"value":[],"@odata.nextLink":{odd}}}"#);
        let server = Server::new(move |_, _| Reply::json(200, body.clone())).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let error = walk(&reader, users()).await.unwrap_err();
        assert!(matches!(error, Error::BadResponse { .. }), "{odd}: an end that isn't one would lose the rest");
    }
}

#[tokio::test]
async fn no_link_and_no_redirect_leads_elsewhere() {
    let other = Server::raw(|_, _| Reply::json(200, EMPTY)).await;
    let port = other.url.rsplit_once(':').unwrap().1.to_owned();
    for link in [
        format!("{}/v1.0/users", other.url),
        format!("//127.0.0.1:{port}/v1.0"),
        format!("http://localhost:{port}/v1.0"),
        format!("http://127.0.0.1:{port}@127.0.0.1/"),
        "https://graph.microsoft.com/v1.0/users".to_owned(),
        "file:///etc/passwd".to_owned(),
        "javascript:alert(1)".to_owned(),
        "data:application/json,{}".to_owned(),
    ] {
        let body = format!(r#"{{"value":[],"@odata.nextLink":"{link}"}}"#);
        let server = Server::new(move |_, _| Reply::json(200, body.clone())).await;
        let (_, reader) = manual(&server, |_| ());
        assert!(matches!(walk(&reader, users()).await, Err(Error::ForeignLink)), "{link}");

        let location = link.clone();
        let server = Server::new(move |_, _| Reply::json(307, "").with("location", location.clone())).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let error = walk(&reader, users()).await.unwrap_err();
        assert!(matches!(error, Error::BadResponse { .. } | Error::Unreachable { .. }), "{link}: {error}");
    }
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn redirects_end_after_three() {
    let server = Server::new(|_, before| Reply::json(302, "").with("location", format!("/v1.0/users?{before}"))).await;
    let (_, reader) = manual(&server, |_| ());
    let error = walk(&reader, users()).await.unwrap_err();
    assert!(matches!(error, Error::BadResponse { status: 302, .. }), "{error}");
    assert!(server.targets().len() <= 4, "{}", server.targets().len());
}

// --- bodies ------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_gigabyte_is_refused_with_and_without_a_length() {
    for body in [Body::Huge(1 << 30), Body::Huge(u64::MAX), Body::Endless] {
        for status in [200, 403, 503] {
            let (body, impossible) = (body.clone(), matches!(body, Body::Huge(u64::MAX)));
            let server = Server::new(move |_, _| Reply { status, ..Reply::body(body.clone()) }).await;
            let (_, reader) = manual(&server, |limits| {
                limits.page_bytes = 1 << 20;
                limits.tries = 2;
                limits.request_timeout = Duration::from_millis(500);
            });
            let error = in_time(20.0, walk(&reader, users())).await.unwrap_err();
            let fits = match status {
                // Lengths that no file has are no HTTP.
                _ if matches!(error, Error::Unreachable { .. }) => impossible,
                200 => matches!(error, Error::TooLarge { limit: 1_048_576 }),
                403 => matches!(error, Error::Forbidden { .. }),
                _ => matches!(error, Error::Server { .. }),
            };
            assert!(fits, "{status}: {error}");
        }
    }
}

/// Deflated spaces: `matches` times 258 of them in 13 bits each.
fn bomb(matches: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let (mut bits, mut count) = (0u64, 0);
    let mut put = |value: u64, width: u32| {
        bits |= value << count;
        count += width;
        while count >= 8 {
            bytes.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    };
    put(0b010, 3); // Not the last block; fixed codes.
    put(0b0000_1010, 8); // The literal for a space, 0x50 from its highest bit on.
    for _ in 0..matches {
        put(0b1010_0011, 8); // 258 bytes,
        put(0, 5); // from one byte back.
    }
    bytes
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_large_one_is_refused() {
    let packed = bomb(800_000);
    assert!(packed.len() < 1_400_000);
    let unpacked = packed.clone();
    let server =
        Server::new(move |_, _| Reply::body(Body::Whole(unpacked.clone())).with("content-encoding", "gzip")).await;
    let (_, reader) = manual(&server, |limits| limits.page_bytes = 1 << 20);
    let error = in_time(20.0, walk(&reader, users())).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1_048_576 }), "{error}");
    assert_eq!(server.targets().len(), 1);

    let unpacked = packed.clone();
    let server = Server::new(move |_, _| Reply {
        status: 403,
        ..Reply::body(Body::Whole(unpacked.clone())).with("content-encoding", "gzip")
    })
    .await;
    let (_, reader) = manual(&server, |_| ());
    assert!(matches!(walk(&reader, users()).await, Err(Error::Forbidden { .. })));

    let server =
        Server::raw(move |_, _| Reply::body(Body::Whole(packed.clone())).with("content-encoding", "gzip")).await;
    let (_, reader) = manual(&server, |_| ());
    assert!(matches!(walk(&reader, users()).await, Err(Error::TooLarge { .. })), "a token of any size");

    let server = Server::new(|_, _| Reply::json(200, EMPTY).with("content-encoding", "gzip")).await;
    let (_, reader) = manual(&server, |limits| limits.tries = 2);
    assert!(walk(&reader, users()).await.unwrap_err().is_transient(), "no gzip at all");
}

#[tokio::test]
async fn deep_documents_are_refused() {
    for depth in [200, 1_000_000] {
        let body = format!(r#"{{"value":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        let server = Server::new(move |_, _| Reply::json(200, body.clone())).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let error = in_time(20.0, walk(&reader, users())).await.unwrap_err();
        assert!(matches!(error, Error::BadResponse { .. }), "{error}");
    }
    // In an error's body, and in a token's.
    let body = "[".repeat(1_000_000);
    let deep = body.clone();
    let server = Server::new(move |_, _| Reply::json(400, deep.clone())).await;
    let (_, reader) = manual(&server, |_| ());
    assert!(matches!(walk(&reader, users()).await, Err(Error::Refused { .. })));
    let server = Server::raw(move |_, _| Reply::json(200, body.clone())).await;
    let (_, reader) = manual(&server, |limits| limits.tries = 2);
    assert!(walk(&reader, users()).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn what_has_no_canonical_form_arrives_as_it_was_sent() {
    let items = [
        (r#"{"id":"a","id":"b"}"#, Err(NotCanonical::Duplicate)),
        (r#"{"id":"a","n":9007199254740993}"#, Err(NotCanonical::Number)),
        (r#"{"id":"a","n":1e400}"#, Err(NotCanonical::Number)),
        (r#"{"id":"a","n":-1e-400}"#, Err(NotCanonical::Number)),
        (r#"{"id":"a","n":123456789012345678901234567890}"#, Err(NotCanonical::Number)),
        (r#"{"id":"\ud800"}"#, Err(NotCanonical::Text)),
        (r#"{"id":"a","\udfff":1}"#, Err(NotCanonical::Text)),
        (r#"{"id":"a","n":9007199254740992}"#, Ok(())),
        (r#"{"id":""}"#, Ok(())),
        (r#"null"#, Ok(())),
    ];
    let body = format!(r#"{{"value":[{}]}}"#, items.iter().map(|item| item.0).collect::<Vec<_>>().join(","));
    let hash = Hash::of(body.as_bytes());
    let server = Server::new(move |_, _| Reply::json(200, body.clone())).await;
    let (_, reader) = manual(&server, |_| ());
    let request = users();
    let read = reader.page(&request, |response, page| {
        assert_eq!(response.receipt(0, Vec::new()).sha256, hash);
        for (item, (source, canonical)) in page.items.iter().zip(&items) {
            assert_eq!(item.source, source.as_bytes());
            assert_eq!(canonicalize(item, &Rules::default()).map(drop), *canonical, "{source}");
        }
        page.items.len()
    });
    assert_eq!(read.await.unwrap().1, items.len(), "one odd element doesn't cost its page");
}

#[tokio::test]
async fn envelopes_that_contradict_themselves_are_read_the_same_way_each_time() {
    for (body, items) in [
        (r#"{"value":[1],"value":[2,3]}"#, Ok(1)),
        (r#"{"@odata.count":-1,"value":[]}"#, Ok(0)),
        (r#"{"@odata.count":1e99,"value":[]}"#, Ok(0)),
        (r#"{"value":null}"#, Err(())),
        (r#"{"value":"x"}"#, Err(())),
        (r#"[{"value":[]}]"#, Err(())),
        ("\u{feff}{\"value\":[1,2]}", Ok(2)),
        ("\u{feff}\u{feff}{\"value\":[]}", Err(())),
        (r#"{"value":[]} trailing"#, Err(())),
        ("", Err(())),
        ("null", Err(())),
    ] {
        let server = Server::new(move |_, _| Reply::json(200, body)).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 1);
        let read = reader.page(&users(), |_, page| page.items.len()).await;
        assert_eq!(read.map(|(_, count)| count).map_err(drop), items, "{body}");
    }
}

#[tokio::test]
async fn other_content_types_are_no_answer_and_odd_ones_no_panic() {
    for kind in ["text/html", "application/xml", "", ";", "text/plain; charset=utf-8", "\u{fffd}"] {
        let server = Server::new(move |_, _| Reply::json(200, EMPTY).with("content-type", kind)).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let error = walk(&reader, users()).await.unwrap_err();
        assert!(matches!(error, Error::BadResponse { .. } | Error::Unreachable { .. }), "{kind}: {error}");
        assert_eq!(server.targets().len(), 2, "asked again: a gateway's page goes away");
    }
    for kind in ["APPLICATION/JSON", "application/json;charset=utf-16", "application/problem+json"] {
        let server = Server::new(move |_, _| Reply::json(200, EMPTY).with("content-type", kind)).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 1);
        assert!(walk(&reader, users()).await.is_ok(), "{kind}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_are_tried_again_and_given_up() {
    let responses: [&[u8]; 9] = [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
        b"HTTP/1.1 999999 ?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\nffffffffffffffff1\r\n{}",
    ];
    for bytes in responses {
        let server = Server::new(move |_, _| Reply::body(Body::Raw(bytes.to_vec()))).await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let error = in_time(20.0, walk(&reader, users())).await.unwrap_err();
        assert!(error.is_transient(), "{}: {error}", String::from_utf8_lossy(bytes));
        assert_eq!(server.targets().len(), 2, "{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn headers_without_end_end() {
    let server = Server::new(|_, _| Reply::body(Body::EndlessHead)).await;
    let (_, reader) = manual(&server, |limits| limits.tries = 2);
    let error = in_time(20.0, walk(&reader, users())).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    let server = Server::new(|_, _| Reply::json(200, EMPTY).with("x-long", "a".repeat(10 << 20))).await;
    let (_, reader) = manual(&server, |limits| limits.tries = 2);
    assert!(in_time(20.0, walk(&reader, users())).await.unwrap_err().is_transient());
}

// --- time --------------------------------------------------------------------------------------------------------------

fn slow_bodies() -> [(&'static str, Body); 3] {
    let drip = Duration::from_millis(40);
    [("silent", Body::Silent), ("stalled", Body::Stalled), ("dripping", Body::Dripping(vec![b' '; 1000], drip))]
}

#[tokio::test]
async fn a_try_takes_no_longer_than_its_limit_however_the_answer_comes() {
    for (name, body) in slow_bodies() {
        let server = Server::new(move |_, _| Reply::body(body.clone())).await;
        let (_, reader) = manual(&server, |limits| {
            limits.tries = 2;
            limits.request_timeout = Duration::from_millis(200);
        });
        let started = Instant::now();
        let error = in_time(10.0, walk(&reader, users())).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{name}: {error}");
        assert_eq!(server.targets().len(), 2, "{name}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name}");
    }
}

#[tokio::test]
async fn a_deadline_ends_a_request_a_batch_and_a_token_that_hang() {
    for (name, body) in slow_bodies() {
        for tokens_hang in [false, true] {
            let body = body.clone();
            let server = Server::raw(move |seen, _| match seen.is_token() == tokens_hang {
                true => Reply::body(body.clone()),
                false => token("t", 3600),
            })
            .await;
            let clock = Arc::new(SystemClock);
            let deadline = || clock.now() + jiff::SignedDuration::from_millis(300);
            let reader = with(&server, clock.clone(), |_| ());
            let error = in_time(5.0, reader.until(deadline()).get(&users())).await.unwrap_err();
            assert!(matches!(error, Error::TimeLimit), "{name}: {error}");
            let requests = [users(), Request::new("/v1.0/groups"), Request::new("/beta/users")];
            let late = reader.until(deadline());
            let results = in_time(5.0, late.batch(&requests, |_, _, _| Ok(()))).await;
            assert!(results.iter().all(|result| matches!(result, Err(Error::TimeLimit))), "{name}: {results:?}");
            let error = in_time(5.0, reader.until(deadline()).identity()).await.map(drop);
            assert_eq!(error.is_err(), tokens_hang, "{name}");
        }
    }
}

#[tokio::test]
async fn a_deadline_ends_the_waiting_for_others() {
    // One request hangs and holds the only place, the only turn of its bucket and, at first, the token.
    for bucket in [Bucket::Directory, Bucket::ConditionalAccess, Bucket::Reports, Bucket::KeyCredentials] {
        let server = Server::new(|_, _| Reply::body(Body::Silent)).await;
        let reader = with(&server, Arc::new(SystemClock), |limits| limits.in_flight = 1);
        let request = users().bucket(bucket);
        let hanging = {
            let (reader, request) = (reader.clone(), request.clone());
            tokio::spawn(async move { reader.get(&request).await })
        };
        while server.targets().is_empty() {
            tokio::task::yield_now().await;
        }
        let deadline = SystemClock.now() + jiff::SignedDuration::from_millis(200);
        let error = in_time(5.0, reader.until(deadline).get(&request)).await.unwrap_err();
        assert!(matches!(error, Error::TimeLimit), "{bucket:?}: {error}");
        assert_eq!(server.targets().len(), 1, "{bucket:?}");
        hanging.abort();
    }
}

#[tokio::test]
async fn no_wait_goes_past_a_deadline() {
    type Script = fn(&Seen, usize) -> Reply;
    let scripts: [(&str, Script); 5] = [
        ("told to wait", |_, _| Reply::error(429, "TooManyRequests").with("retry-after", "50")),
        ("backing off", |_, _| Reply::error(503, "x")),
        ("window full", |_, _| Reply::json(200, EMPTY).with("x-ms-throttle-limit-percentage", "1.5")),
        ("expensive", |_, _| Reply::json(200, EMPTY).with("x-ms-resource-unit", "4000000000")),
        ("token", |seen, _| match seen.is_token() {
            true => Reply::error(503, "x").with("retry-after", "50"),
            false => Reply::json(200, EMPTY),
        }),
    ];
    for (name, script) in scripts {
        let server = match name {
            "token" => Server::raw(script).await,
            _ => Server::new(script).await,
        };
        for bucket in [Bucket::Directory, Bucket::ConditionalAccess, Bucket::Reports] {
            let (clock, reader) = manual(&server, |limits| limits.tries = 100);
            let deadline = clock.now() + jiff::SignedDuration::from_secs(120);
            let reader = reader.until(deadline);
            let mut last = Ok(());
            for _ in 0..500 {
                last = reader.get(&users().bucket(bucket)).await.map(drop);
                if last.is_err() {
                    break;
                }
            }
            assert!(clock.now() <= deadline, "{name} {bucket:?}: {}", clock.now());
            let bounded =
                matches!(last, Ok(()) | Err(Error::TimeLimit | Error::Throttled { .. } | Error::Server { .. }));
            assert!(bounded, "{name} {bucket:?}: {last:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_of_a_year_is_cut_and_garbage_is_no_wait() {
    for (value, at_most) in [
        ("31536000", 900.0),
        ("99999999999999999999", 900.0),
        ("Fri, 01 Aug 2036 00:00:00 GMT", 900.0),
        ("1e308", 250.0),
        ("-5", 250.0),
        ("soon", 250.0),
        ("", 250.0),
        ("NaN", 250.0),
        ("0", 250.0),
        ("0.249", 60.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 250.0),
    ] {
        let server = Server::new(move |_, _| Reply::error(429, "TooManyRequests").with("retry-after", value)).await;
        let (clock, reader) = manual(&server, |_| ());
        let error = in_time(20.0, walk(&reader, users())).await.unwrap_err();
        assert!(matches!(error, Error::Throttled { .. }), "{value}: {error}");
        // The hold and the budget may add a window each.
        assert!(elapsed(&clock) <= at_most + 20.0, "{value}: {}", elapsed(&clock));
        assert!(server.targets().len() <= 8, "{value}");
    }
}

#[tokio::test]
async fn a_lying_date_changes_no_wait_and_no_token() {
    for date in
        ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday", "Sat, 01 Aug 2026 25:61:61 GMT"]
    {
        let server = Server::raw(move |seen, _| match seen.is_token() {
            true => token("t", 3600).with("date", date),
            false => Reply::json(200, EMPTY).with("date", date),
        })
        .await;
        let (clock, reader) = manual(&server, |_| ());
        for _ in 0..3 {
            reader.get(&users()).await.unwrap();
        }
        assert_eq!(elapsed(&clock), 0.0, "{date}");
        assert_eq!(server.seen().len(), 4, "{date}: one token");
    }
}

#[tokio::test]
async fn a_token_that_ends_at_once_or_never_is_neither_a_loop_nor_kept_for_ever() {
    for (seconds, tokens) in [("0", 3), ("-1", 3), ("1e400", 1), ("\"forever\"", 0)] {
        let body = format!(r#"{{"access_token":"t","expires_in":{seconds}}}"#);
        let server = Server::raw(move |seen, _| match seen.is_token() {
            true => Reply::json(200, body.clone()),
            false => Reply::json(200, EMPTY),
        })
        .await;
        let (_, reader) = manual(&server, |limits| limits.tries = 2);
        let mut read = 0;
        for _ in 0..3 {
            read += usize::from(reader.get(&users()).await.is_ok());
        }
        let asked = server.seen().iter().filter(|seen| seen.is_token()).count();
        match tokens {
            0 => assert_eq!((read, asked), (0, 6), "{seconds}"),
            tokens => assert_eq!((read, asked), (3, tokens), "{seconds}"),
        }
    }
}

// --- what goes out -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn odd_ids_stay_one_segment_alone_and_in_a_batch() {
    let odd = ["a/b", "a#b", "a%b", "a%2Fb", "a b", "ä€😀", "a?b=c", "a\\b", "a\"b", "a\u{0}b\n", "a:b@c", ""];
    let long = "x".repeat(10_000);
    for id in odd.into_iter().chain([long.as_str()]) {
        let server = Server::new(|seen, _| match seen.method.as_str() {
            "GET" => Reply::json(200, EMPTY),
            _ => {
                let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
                let part = |n: usize| {
                    serde_json::json!({"id": n.to_string(), "status": 200, "body": {"url": body["requests"][n]["url"]}})
                };
                Reply::json(200, serde_json::json!({"responses": [part(0), part(1)]}).to_string())
            }
        })
        .await;
        let (_, reader) = manual(&server, |limits| limits.tries = 1);
        let path = format!("/users/{}/manager", escape(id));
        let request = Request::new(format!("/v1.0{path}"));
        reader.get(&request).await.unwrap();
        assert_eq!(server.targets(), [format!("/v1.0{path}")]);
        let read = |_: usize, _: &tenure::graph::Response, json: tenure::canonical::Json<'_>| {
            Ok(json.text("url").unwrap_or_default().to_owned())
        };
        for result in reader.batch(&[request.clone(), request], read).await {
            assert_eq!(result.unwrap().1, path);
        }
    }
    for id in ["..", "."] {
        let server = Server::new(|_, _| Reply::json(200, EMPTY)).await;
        let (_, reader) = manual(&server, |_| ());
        let request = Request::new(format!("/v1.0/users/{}/manager", escape(id)));
        assert!(matches!(reader.get(&request).await, Err(Error::ForeignLink)), "another object's address");
        assert!(reader.batch(&[request.clone(), request], |_, _, _| Ok(())).await.iter().all(Result::is_err));
        assert_eq!(server.targets().len(), 0);
    }
}

#[tokio::test]
async fn nothing_that_a_server_sends_shows_in_an_error() {
    let secret = "Ada.Lovelace@contoso.example";
    for status in [200, 302, 400, 401, 402, 403, 404, 409, 410, 429, 500, 501, 503, 600, 999] {
        for body in [
            format!(
                r#"{{"error":{{"code":"{secret} x","message":"{secret}","innerError":{{"request-id":"{secret} y"}}}}}}"#
            ),
            format!("<html>{secret}</html>"),
        ] {
            let server = Server::new(move |_, _| {
                let host = format!("/{secret}");
                Reply::json(status, body.clone()).with("request-id", secret).with("location", host)
            })
            .await;
            let (_, reader) = manual(&server, |limits| limits.tries = 1);
            let error = walk(&reader, Request::new("/v1.0/users?$skiptoken=verysecret")).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            // What looks like a code or an id is cut to what those are made of: no address survives that.
            assert!(!shown.contains('@') && !shown.contains("verysecret") && !shown.contains("s3cret"), "{shown}");
        }
    }
}

#[tokio::test]
async fn batches_that_lie_end() {
    type Answer = fn(&Seen) -> String;
    let answers: [(&str, Answer); 6] = [
        ("a million parts", |_| format!(r#"{{"responses":[{}{{}}]}}"#, r#"{"id":"x","status":200},"#.repeat(200_000))),
        ("deep", |_| format!(r#"{{"responses":[{{"id":"0","status":200,"body":{}"#, "[".repeat(500_000))),
        ("huge ids", |_| {
            r#"{"responses":[{"id":"99999999999999999999999","status":200},{"id":-1},{"id":1.5}]}"#.to_owned()
        }),
        ("odd statuses", |_| {
            r#"{"responses":[{"id":"0","status":99999999999},{"id":"1","status":-200},{"id":"2","status":"200"}]}"#
                .to_owned()
        }),
        ("throttled for ever", |_| {
            let part = |id| {
                format!(
                    r#"{{"id":"{id}","status":429,"headers":{{"Retry-After":"31536000","x-ms-resource-unit":"4294967295"}}}}"#
                )
            };
            format!(r#"{{"responses":[{},{},{}]}}"#, part(0), part(1), part(2))
        }),
        ("unauthorized for ever", |seen| {
            let salt = seen.header("client-request-id").unwrap_or_default();
            let claims =
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!(r#"{{"a":"{salt}"}}"#));
            let part = |id| {
                format!(r#"{{"id":"{id}","status":401,"headers":{{"WWW-Authenticate":"Bearer claims=\"{claims}\""}}}}"#)
            };
            format!(r#"{{"responses":[{},{},{}]}}"#, part(0), part(1), part(2))
        }),
    ];
    for (name, answer) in answers {
        let posts = Arc::new(AtomicUsize::new(0));
        let count = posts.clone();
        let server = Server::new(move |seen, _| {
            count.fetch_add(1, Ordering::Relaxed);
            Reply::json(200, answer(seen))
        })
        .await;
        let (clock, reader) = manual(&server, |limits| limits.tries = 4);
        let requests: Vec<_> = (0..3).map(|n| Request::new(format!("/v1.0/users/{n}"))).collect();
        let results = in_time(30.0, reader.batch(&requests, |_, _, _| Ok(()))).await;
        assert!(results.iter().all(Result::is_err), "{name}");
        assert!(posts.load(Ordering::Relaxed) <= 5, "{name}: {posts:?} posts");
        assert!(elapsed(&clock) <= 940.0, "{name}: {}", elapsed(&clock));
    }
}

#[test]
fn values_keep_their_kind() {
    // The parser that all of the above rests on says what it saw, not what it made of it.
    let json = tenure::canonical::parse(b"[1e400,-0,1.50]").unwrap();
    let spelled: Vec<_> = json.elements().unwrap().iter().map(|value| value.value.clone()).collect();
    assert_eq!(spelled, [Value::Number("1e400"), Value::Number("-0"), Value::Number("1.50")]);
}

#[test]
fn options_beyond_their_bounds_are_refused() {
    let build = |change: fn(&mut Limits)| {
        let credential = tenure::graph::Credential::ClientSecret { client_id: "c".to_owned(), secret: "s".into() };
        let mut options = Options::new("t", credential);
        change(&mut options.limits);
        Reader::new(options, Arc::new(clock())).map(drop)
    };
    let changes: [fn(&mut Limits); 7] = [
        |limits| limits.in_flight = 0,
        |limits| limits.in_flight = 1_000_000,
        |limits| limits.units_per_10s = 0,
        |limits| limits.units_per_10s = u64::MAX,
        |limits| limits.tries = 0,
        |limits| limits.pages = 0,
        |limits| limits.request_timeout = Duration::ZERO,
    ];
    assert!(build(|_| ()).is_ok());
    assert!(changes.into_iter().all(|change| matches!(build(change), Err(Error::Options { .. }))));
}
