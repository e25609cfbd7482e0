//! A server that lies, floods, drips, loops and hangs, met by a whole capture. What must hold each time: the capture
//! ends, is committed, says what lacks, costs no other row anything, and the next one under a calm sky brings the archive
//! to what the tenant holds.
//!
//! `graph_hostile.rs` tries the same on the client alone. Waits go by a manual clock and cost nothing; where real time is
//! the matter, limits are short.

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/world.rs"]
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oracle::{Oracle, visible};
use proxy::{Body as Sent, Reply, Seen, Server, proxy};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::archive::entry::{Body, Coverage, Status};
use tenure::canonical::Key;
use tenure::capture::{Capturer, Options, Request};
use tenure::clock::Clock;
use tenure::graph::{Credential, Limits, Options as GraphOptions, Reader};
use world::{World, machine, sound};

const START: &str = "2026-06-29T00:00:00Z";

/// What one capture may take of real time, though a loaded machine be slow.
const BOUND: Duration = Duration::from_secs(60);

/// What is attacked: a collection and the address of its list or feed.
#[derive(Debug, Clone, Copy)]
struct Target {
    collection: &'static str,
    path: &'static str,
    /// An object of it in the service's own form, without its id.
    form: &'static str,
}

const USERS: Target = Target { collection: "user", path: "/v1.0/users/delta", form: r#""displayName":"Odd""# };
const GROUPS: Target = Target { collection: "group", path: "/v1.0/groups/delta", form: r#""displayName":"Odd""# };
const APPLICATIONS: Target =
    Target { collection: "application", path: "/v1.0/applications/delta", form: r#""displayName":"Odd""# };
const POLICIES: Target = Target {
    collection: "conditionalAccessPolicy",
    path: "/v1.0/identity/conditionalAccess/policies",
    form: r#""state":"enabled""#,
};
const DOMAINS: Target =
    Target { collection: "domain", path: "/v1.0/domains", form: r#""authenticationType":"Managed""# };
const ROLES: Target = Target {
    collection: "unifiedRoleAssignment",
    path: "/v1.0/roleManagement/directory/roleAssignments",
    form: r#""directoryScopeId":"/""#,
};
const AUDITS: Target = Target {
    collection: "directoryAudit",
    path: "/v1.0/auditLogs/directoryAudits",
    form: r#""activityDateTime":"2026-06-29T00:00:00Z""#,
};
const AUTHORIZATION: Target =
    Target { collection: "authorizationPolicy", path: "/v1.0/policies/authorizationPolicy", form: "" };

/// Changes the tenant's answer to the request with this number, counted from 0, of those to the address under attack.
type Meddle = dyn Fn(&Seen, Reply, usize) -> Reply + Send + Sync;

/// What goes on at present.
type Ongoing = Arc<Mutex<Option<(Target, Arc<Meddle>)>>>;

/// An attack.
struct Attack {
    name: &'static str,
    meddle: Arc<Meddle>,
    /// The codes that may stand in the row; none where all was read.
    codes: &'static [&'static str],
}

fn attack(
    name: &'static str,
    codes: &'static [&'static str],
    meddle: impl Fn(&Seen, Reply, usize) -> Reply + Send + Sync + 'static,
) -> Attack {
    Attack { name, meddle: Arc::new(meddle), codes }
}

/// A tenant behind a server that meddles on demand, and an archive of it.
struct Siege {
    world: World,
    url: String,
    _server: Server,
    attacked: Ongoing,
    met: Arc<AtomicUsize>,
    capturer: Capturer,
    oracle: Oracle,
    /// The collection some of whose objects have names that can't be asked for, until a whole read has found them gone.
    nameless: &'static str,
    _local: TempDir,
}

fn limits() -> Limits {
    Limits { tries: 3, page_bytes: 4 << 20, pages: 40, request_timeout: Duration::from_secs(30), ..Limits::default() }
}

/// A client that reaches the tenant at `url`.
fn reader(world: &World, url: &str, limits: Limits) -> Reader {
    let secret = SecretString::from(world.tenant.client_secret());
    let credential = Credential::ClientSecret { client_id: world.tenant.client_id(), secret };
    let (graph_url, login_url) = (Some(url.to_owned()), Some(url.to_owned()));
    let options = GraphOptions::new(world.tenant.tenant_id(), credential);
    Reader::new(GraphOptions { graph_url, login_url, limits, ..options }, Arc::new(world.clock.clone())).unwrap()
}

impl Siege {
    /// Before the first capture.
    async fn begin(seed: u64, time_limit: Duration) -> Siege {
        let world = World::new(seed, 40, START).await;
        let attacked: Ongoing = Arc::default();
        let met = Arc::new(AtomicUsize::new(0));
        let (hook, count) = (attacked.clone(), met.clone());
        let meddle = move |seen: &Seen, reply: Reply| {
            let attacked = hook.lock().unwrap().clone();
            match attacked.filter(|(target, _)| seen.target.split('?').next() == Some(target.path)) {
                Some((_, meddle)) => meddle(seen, reply, count.fetch_add(1, Ordering::SeqCst)),
                None => reply,
            }
        };
        let server = proxy(world.tenant.url(), |_| (), meddle).await;
        let local = machine();
        // The odd objects of these tests go all at once: what the gate does is not what they are about.
        let options = Options { sweep_captures: 6, time_limit, gate_minimum: 100, ..Options::default() };
        let (store, clock) = (Arc::new(world.store.clone()), Arc::new(world.clock.clone()));
        let reader = reader(&world, &server.url, limits());
        let capturer = world.open_with(store, local.path(), reader, clock, options).await.unwrap();
        let (url, _server) = (server.url.clone(), server);
        Siege { world, url, _server, attacked, met, capturer, oracle: Oracle::default(), nameless: "", _local: local }
    }

    async fn new(seed: u64) -> Siege {
        let mut siege = Siege::begin(seed, Duration::from_secs(50 * 60)).await;
        siege.world.hour();
        siege.calm(false, "at first").await;
        siege
    }

    /// One capture, which must end in time, be committed, and leave a sound archive.
    async fn capture(&mut self, reconcile: bool, story: &str) -> Body {
        let (began, clock) = (Instant::now(), self.world.clock.now());
        let request = Request { reconcile, ..Request::default() };
        let committed = tokio::time::timeout(BOUND, self.capturer.capture(&request)).await;
        let committed = committed.unwrap_or_else(|_| panic!("{story}: no end within {BOUND:?}"));
        let body = committed.unwrap_or_else(|error| panic!("{story}: {error:?}")).body;
        let took = self.world.clock.now().duration_since(clock);
        assert!(took < jiff::SignedDuration::from_mins(55), "{story}: took {took}");
        assert!(began.elapsed() < BOUND, "{story}");
        sound(&self.world.store, story).await;
        body
    }

    /// One capture in which nobody meddles: every row is read, and the archive is what the tenant shows.
    async fn calm(&mut self, reconcile: bool, story: &str) -> Body {
        *self.attacked.lock().unwrap() = None;
        let before = visible(&self.world.tenant);
        let body = self.capture(reconcile, story).await;
        for row in body.cover.iter().flatten() {
            assert!(is_fine(row) || is_nameless(row, self.nameless), "{story}: {row:?}");
        }
        self.oracle.check(&self.world.store, &body, &before, &visible(&self.world.tenant), story).await;
        body
    }

    /// One capture while `attack` goes on against `target`.
    async fn attacked(&mut self, target: Target, attack: &Attack, reconcile: bool, story: &str) -> Body {
        self.met.store(0, Ordering::SeqCst);
        *self.attacked.lock().unwrap() = Some((target, attack.meddle.clone()));
        let body = self.capture(reconcile, story).await;
        assert!(self.met.load(Ordering::SeqCst) > 0, "{story}: nobody asked for {}", target.path);
        for row in body.cover.iter().flatten().filter(|row| row.c != target.collection) {
            // What hangs under objects that weren't all seen may lack the same.
            let shares = hangs_under(&row.c, target.collection)
                && row.code.as_deref().is_some_and(|code| attack.codes.contains(&code));
            let is_fine = is_fine(row) || shares || attack.codes.is_empty() && is_nameless(row, target.collection);
            assert!(is_fine, "{story}: it cost {row:?}");
        }
        let row = world::row(&body, target.collection, None);
        match attack.codes {
            [] => assert_eq!(row.st, Status::Complete, "{story}: {row:?}"),
            codes => {
                assert!(matches!(row.st, Status::Partial | Status::Carried), "{story}: {row:?}");
                assert!(codes.contains(&row.code.as_deref().unwrap_or_default()), "{story}: {row:?}");
            }
        }
        body
    }

    /// An attack that keeps something from being read, and the calm after it.
    async fn survives(&mut self, target: Target, attack: &Attack) {
        let story = format!("{}, {}", target.collection, attack.name);
        self.world.hour();
        let before = visible(&self.world.tenant);
        let body = self.attacked(target, attack, false, &story).await;
        self.oracle.check(&self.world.store, &body, &before, &visible(&self.world.tenant), &story).await;
        self.world.hour();
        self.calm(false, &format!("after {story}")).await;
    }
}

/// Whether objects of `collection` are read under those of `parent`.
fn hangs_under(collection: &str, parent: &str) -> bool {
    let recipe = tenure::collect::find(collection);
    recipe.is_some_and(|recipe| recipe.per() == Some(parent) || recipe.parent().is_some_and(|(of, _)| of == parent))
}

/// A row of what is read under objects of `parent`, some of which have names that can't be asked for.
fn is_nameless(row: &Coverage, parent: &str) -> bool {
    (row.c == parent || hangs_under(&row.c, parent))
        && matches!(row.code.as_deref(), Some("bad-response" | "foreign-link"))
}

/// Nothing lacks but what waits for its first turn.
fn is_fine(row: &Coverage) -> bool {
    is_read(row) || row.code.as_deref() == Some("not-yet")
}

fn is_read(row: &Coverage) -> bool {
    matches!(row.st, Status::Complete | Status::Rolling | Status::NotDue)
}

// --- answers -----------------------------------------------------------------------------------------------------------

/// The same answer with another JSON body.
fn with_json(reply: Reply, body: &Value) -> Reply {
    Reply { body: Sent::Whole(body.to_string().into_bytes()), ..reply }
}

fn bytes(reply: &Reply) -> Vec<u8> {
    match &reply.body {
        Sent::Whole(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

/// A link of the server's own to the address that was asked for.
fn link(seen: &Seen, token: &str) -> String {
    let path = seen.target.split('?').next().unwrap();
    format!("http://{}{path}?$skiptoken={token}", seen.header("host").unwrap())
}

fn is_continued(seen: &Seen) -> bool {
    seen.target.contains("$skiptoken=again")
}

/// A page that says that there is another one, at `token`. The first holds what the tenant shows.
fn and_on(seen: &Seen, reply: Reply, token: &str) -> Reply {
    let value = if is_continued(seen) { json!([]) } else { proxy::json(&reply)["value"].clone() };
    let body = json!({"value": value, "@odata.nextLink": link(seen, &format!("again{token}"))});
    with_json(Reply { status: 200, ..reply }, &body)
}

/// The first half of a page, and then what `second` answers.
fn half(seen: &Seen, reply: Reply, second: fn() -> Reply) -> Reply {
    if is_continued(seen) {
        return second();
    }
    if reply.status != 200 {
        return reply;
    }
    let mut value = proxy::json(&reply)["value"].as_array().cloned().unwrap_or_default();
    value.truncate(value.len().div_ceil(2));
    with_json(reply, &json!({"value": value, "@odata.nextLink": link(seen, "again")}))
}

/// gzip with one stored block that promises all of `body` and holds half of it.
fn half_packed(body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(60_000)];
    let length = u16::try_from(body.len()).expect("cut above");
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(&body[..body.len() / 2]);
    packed
}

fn html() -> Reply {
    let page = "<!DOCTYPE html><html><body>Please wait.</body></html>";
    Reply::json(200, page).with("content-type", "text/html; charset=utf-8")
}

// --- attacks -----------------------------------------------------------------------------------------------------------

fn without_end() -> Vec<Attack> {
    vec![
        attack("pages without end", &["loop"], |seen, reply, met| and_on(seen, reply, &met.to_string())),
        attack("pages in a circle", &["loop"], |seen, reply, met| and_on(seen, reply, &(met % 3).to_string())),
        attack("a body without end", &["too-large"], |_, _, _| Reply::body(Sent::Endless)),
        attack("a body of a gigabyte", &["too-large"], |_, _, _| Reply::body(Sent::Huge(1 << 30))),
        attack("a second page of a gigabyte", &["too-large"], |seen, reply, _| {
            half(seen, reply, || Reply::body(Sent::Endless))
        }),
    ]
}

fn no_answers() -> Vec<Attack> {
    vec![
        attack("nesting that is too deep", &["bad-response"], |_, _, _| {
            Reply::json(200, format!(r#"{{"value":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)))
        }),
        attack("another content type", &["bad-response"], |_, reply, _| reply.with("content-type", "text/plain")),
        attack("a page of HTML", &["bad-response"], |_, _, _| html()),
        attack("an error that came as a success", &["bad-response"], |_, _, _| {
            Reply::error(200, "InternalServerError")
        }),
        attack("an empty body", &["bad-response"], |_, _, _| Reply::json(200, "")),
        attack("no content", &["bad-response"], |_, _, _| Reply::json(204, "")),
        attack("bytes that are no UTF-8", &["bad-response"], |_, reply, _| {
            let body = [&bytes(&reply)[..20], b"\xff\xfe\x80"].concat();
            Reply { body: Sent::Whole(body), ..reply }
        }),
    ]
}

fn broken() -> Vec<Attack> {
    vec![
        attack("a body that is cut short", &["unreachable"], |_, reply, _| {
            let body = bytes(&reply);
            Reply { body: Sent::Truncated(body[..body.len() / 2].to_vec()), ..reply }
        }),
        attack("packed bytes that are cut short", &["unreachable"], |_, reply, _| {
            let body = half_packed(&bytes(&reply));
            Reply { body: Sent::Whole(body), ..reply }.with("content-encoding", "gzip")
        }),
        attack("a connection that is reset", &["unreachable"], |_, _, _| Reply::body(Sent::Reset)),
        attack("a second page that is reset", &["unreachable"], |seen, reply, _| {
            half(seen, reply, || Reply::body(Sent::Reset))
        }),
        attack("a second page that fails", &["server-error"], |seen, reply, _| {
            half(seen, reply, || Reply::error(500, "InternalServerError"))
        }),
        attack("a second page whose token expires each time", &["expired"], |seen, reply, _| {
            half(seen, reply, || Reply::error(400, "Directory_ExpiredPageToken"))
        }),
        attack("a link that leads elsewhere", &["foreign-link"], |_, reply, _| {
            let link = "https://graph.microsoft.com/v1.0/users?$skiptoken=x";
            let body = json!({"value": proxy::json(&reply)["value"], "@odata.nextLink": link});
            with_json(reply, &body)
        }),
    ]
}

/// What only a feed can do.
fn of_feeds() -> Vec<Attack> {
    let with_link = |link: Value| {
        move |_: &Seen, reply: Reply, _: usize| {
            let mut body = proxy::json(&reply);
            if body["@odata.deltaLink"].is_string() {
                body["@odata.deltaLink"] = link.clone();
            }
            with_json(reply, &body)
        }
    };
    vec![
        attack("a round without a link", &["bad-response"], with_link(Value::Null)),
        attack("a link that is a number", &["bad-response"], with_link(json!(1))),
        attack("a link to another host", &[], with_link(json!("https://elsewhere.example/v1.0/users/delta"))),
        attack("a link that the service doesn't know", &[], with_link(json!("/v1.0/groups/delta?$deltatoken=x"))),
    ]
}

// --- tests -------------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_end_ends() {
    let mut siege = Siege::new(101).await;
    let targets = [USERS, POLICIES, GROUPS, AUDITS, DOMAINS];
    for (number, attack) in without_end().iter().enumerate() {
        siege.survives(targets[number % targets.len()], attack).await;
        siege.survives(targets[(number + 2) % targets.len()], attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_is_nothing_that_was_seen() {
    let mut siege = Siege::new(102).await;
    let targets = [USERS, AUTHORIZATION, ROLES, AUDITS, GROUPS];
    for (number, attack) in no_answers().iter().enumerate() {
        siege.survives(targets[number % targets.len()], attack).await;
        siege.survives(targets[(number + 3) % targets.len()], attack).await;
    }
    // There is no `value` whose lack would show, where there is only one object.
    let error = attack("an error that came as a success", &["bad-response"], |_, _, _| {
        Reply::error(200, "InternalServerError")
    });
    siege.survives(AUTHORIZATION, &error).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_in_the_middle_makes_no_hole() {
    let mut siege = Siege::new(103).await;
    let targets = [APPLICATIONS, AUDITS, USERS, DOMAINS, GROUPS];
    for (number, attack) in broken().iter().enumerate() {
        siege.survives(targets[number % targets.len()], attack).await;
        siege.survives(targets[(number + 2) % targets.len()], attack).await;
    }
    for (number, attack) in of_feeds().iter().enumerate() {
        siege.survives([USERS, GROUPS][number % 2], attack).await;
    }
}

/// The tenant's answer with these elements besides its own.
fn with_elements(reply: Reply, elements: &[String]) -> Reply {
    let text = String::from_utf8(bytes(&reply)).unwrap();
    let Some((before, after)) = text.split_once(r#""value":["#) else { return reply };
    let comma = if after.starts_with(']') || elements.is_empty() { "" } else { "," };
    let text = format!(r#"{before}"value":[{}{comma}{after}"#, elements.join(","));
    Reply { body: Sent::Whole(text.into_bytes()), ..reply }
}

/// Ids as no service should have them, spelled as JSON, with the key of each; none for one that names nothing.
fn odd_ids(collection: &str) -> Vec<(String, Option<String>)> {
    let ids = [
        "a/b/../c".to_owned(),
        "..".to_owned(),
        "#facet#".to_owned(),
        "100%".to_owned(),
        "%2F".to_owned(),
        "a\0b".to_owned(),
        "\r\n\t\u{7f}".to_owned(),
        "\u{1f600}\u{e9}e\u{301}".to_owned(),
        "!0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
        "-".to_owned(),
        "a b?c=d&e".to_owned(),
        "'; drop table".to_owned(),
        "x".repeat(4_000),
    ];
    let mut ids: Vec<(String, Option<String>)> =
        ids.into_iter().map(|id| (json!(id).to_string(), Some(Key::new(collection, &id).to_string()))).collect();
    ids.extend([r#""""#, "7", "null", r#""\ud800""#, "[]"].map(|id| (id.to_owned(), None)));
    ids
}

/// Elements that RFC 8785 has no form for, behind a sound id each.
const UNCANONICAL: &[&str] = &[
    r#""n":1,"n":2"#,
    r#""n":9007199254740993"#,
    r#""n":123456789012345678901234567890"#,
    r#""n":1e400"#,
    r#""t":"\ud800""#,
    r#""\udfff":1"#,
    r#""deep":{"n":[{"a":1,"a":1}]}"#,
];

/// Elements that aren't even objects with an id.
const SHAPELESS: &[&str] = &["null", "7", r#""text""#, "[]", "{}", r#"{"id":"a","id":"b"}"#, "[1e400]"];

/// The archive's line of what `key` is now.
async fn line(capturer: &Capturer, key: &str) -> Option<Value> {
    let view = capturer.index().view().unwrap();
    let id = view.id(&key.parse().unwrap()).unwrap()?;
    let version = view.version_at(id, u64::from(u32::MAX)).unwrap()?;
    if version.kind == tenure::index::VersionKind::Removed {
        return None;
    }
    let pack = view.pack(version.pack).unwrap();
    let line = capturer.lines().line(&pack.name, pack.len, version.place).await.unwrap();
    Some(serde_json::from_slice(&line).unwrap())
}

/// What was sent comes to the archive as it was sent, whatever it is: canonical, or raw under its id, or raw under its
/// hash (docs/format.md, "Canonical form"). When the service doesn't show it any more, it goes like anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_odd_is_kept_as_it_came_and_goes_when_it_is_gone() {
    let mut siege = Siege::new(104).await;
    for target in [USERS, GROUPS, APPLICATIONS, ROLES, POLICIES] {
        let Target { collection, form, .. } = target;
        let mut elements = Vec::new();
        let mut expected: Vec<(String, Value)> = Vec::new();
        let raw = |text: &str| (Key::raw(collection, text.as_bytes()).to_string(), json!(text));
        for (id, key) in odd_ids(collection) {
            let element = format!(r#"{{{form},"id":{id}}}"#);
            expected.push(match key {
                Some(key) => (key, serde_json::from_str(&element).unwrap()),
                None => raw(&element),
            });
            elements.push(element);
        }
        for (number, member) in UNCANONICAL.iter().enumerate() {
            let element = format!(r#"{{"id" : "uncanonical-{number}",  {member}}}"#);
            expected.push((format!("{collection}/uncanonical-{number}"), json!(element)));
            elements.push(element);
        }
        for element in SHAPELESS {
            expected.push(raw(element));
            elements.push((*element).to_owned());
        }
        let odd = attack("odd elements", &[], move |_, reply, _| with_elements(reply, &elements));
        let story = format!("{collection}, {}", odd.name);
        siege.oracle.archived.may_be_raw = true;
        siege.world.hour();
        let before = visible(&siege.world.tenant);
        let body = siege.attacked(target, &odd, false, &story).await;
        siege.oracle.note(&before);
        siege.oracle.note(&visible(&siege.world.tenant));
        siege.oracle.archived.fold(&siege.world.store, &body).await;
        for (key, sent) in &expected {
            let line = line(&siege.capturer, key).await.unwrap_or_else(|| panic!("{story}: {key} isn't archived"));
            let raw = line["b"].as_str().map(|text| STANDARD.decode(text).unwrap());
            let kept = match raw {
                Some(bytes) => String::from_utf8(bytes).unwrap().into(),
                None => line["c"].clone(),
            };
            assert_eq!(kept, *sent, "{story}: {key}");
        }
        // A feed doesn't tell that what it told never was: only a whole read does.
        siege.world.hour();
        siege.nameless = collection;
        let body = siege.calm(true, &format!("after {story}")).await;
        siege.nameless = "";
        assert!(body.delta.unwrap().del >= expected.len() as u64, "{story}");
        for (key, _) in &expected {
            assert_eq!(line(&siege.capturer, key).await, None, "{story}: {key}");
        }
        siege.world.hour();
        siege.calm(false, &format!("long after {story}")).await;
    }
}

/// Records of what happened stay for ever, however odd they are, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_events_are_recorded_once_and_stay() {
    let mut siege = Siege::new(105).await;
    let mut elements: Vec<String> =
        odd_ids("directoryAudit").into_iter().map(|(id, _)| format!(r#"{{{},"id":{id}}}"#, AUDITS.form)).collect();
    elements.extend(UNCANONICAL.iter().enumerate().map(|(n, member)| format!(r#"{{"id":"odd-{n}",{member}}}"#)));
    elements.extend(SHAPELESS.iter().map(|element| (*element).to_owned()));
    let count = elements.len();
    let odd = attack("odd elements", &[], move |_, reply, _| with_elements(reply, &elements));
    siege.oracle.archived.may_be_raw = true;
    for story in ["odd events", "odd events again"] {
        siege.world.hour();
        let before = visible(&siege.world.tenant);
        let body = siege.attacked(AUDITS, &odd, false, story).await;
        // The oracle refuses a record that comes twice.
        siege.oracle.check(&siege.world.store, &body, &before, &visible(&siege.world.tenant), story).await;
        let shown = visible(&siege.world.tenant).events;
        let odd = siege.oracle.archived.events.keys().filter(|key| !shown.contains_key(*key)).count();
        assert_eq!(odd, count, "{story}");
    }
    siege.world.hour();
    siege.calm(false, "after odd events").await;
}

/// A body that drips or stalls costs its request the time that one may take, not the capture its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_or_stalls_costs_its_own_row() {
    let mut siege = Siege::new(106).await;
    let drip = Duration::from_millis(100);
    let slow = [
        attack("a body that drips", &["unreachable"], move |_, reply, _| {
            Reply::body(Sent::Dripping(bytes(&reply).into_iter().chain([b' '; 600]).collect(), drip))
        }),
        attack("a body that stalls", &["unreachable"], |_, _, _| Reply::body(Sent::Stalled)),
        attack("no answer", &["unreachable"], |_, _, _| Reply::body(Sent::Silent)),
    ];
    let hasty = Limits { tries: 2, request_timeout: Duration::from_secs(2), ..limits() };
    for (attack, target) in slow.iter().zip([USERS, POLICIES, AUTHORIZATION]) {
        siege.capturer.set_reader(reader(&siege.world, &siege.url, hasty.clone()));
        siege.survives(target, attack).await;
    }
}

/// When the time set for a capture is over, what was read is committed, and the rest says why it wasn't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_time_is_over_what_was_read_is_committed() {
    let mut siege = Siege::begin(107, Duration::from_secs(600)).await;
    siege.world.hour();
    siege.calm(false, "at first").await;
    let clock = siege.world.clock.clone();
    // Each page takes a minute by the clock of the service.
    let slow = attack("slow pages without end", &["time-limit"], move |seen, reply, met| {
        clock.advance(Duration::from_secs(60));
        and_on(seen, reply, &met.to_string())
    });
    *siege.attacked.lock().unwrap() = Some((GROUPS, slow.meddle.clone()));
    siege.world.hour();
    let before = visible(&siege.world.tenant);
    let body = siege.capture(false, slow.name).await;
    let row = world::row(&body, "group", None);
    assert_eq!((row.st, row.code.as_deref()), (Status::Partial, Some("time-limit")));
    let over = body.cover.iter().flatten().filter(|row| !is_read(row));
    let late: Vec<&Coverage> = over.filter(|row| row.code.as_deref() != Some("not-yet")).collect();
    assert!(late.iter().all(|row| row.code.as_deref() == Some("time-limit")), "{late:?}");
    // What decides about power comes first, and was read.
    for collection in ["conditionalAccessPolicy", "unifiedRoleAssignment"] {
        assert_eq!(world::row(&body, collection, None).st, Status::Complete);
    }
    siege.oracle.check(&siege.world.store, &body, &before, &visible(&siege.world.tenant), slow.name).await;
    siege.world.hour();
    siege.calm(false, "afterwards").await;
}

/// Changes the answers to those parts of a batch whose address ends as `ending` does.
fn meddling_parts(
    ending: &'static str,
    change: fn(&mut Value, &str),
) -> impl Fn(&Seen, Reply, usize) -> Reply + Send + Sync + 'static {
    move |seen, reply, _| {
        let asked: Value = serde_json::from_str(&seen.body).unwrap_or_default();
        let mut body = proxy::json(&reply);
        for part in asked["requests"].as_array().into_iter().flatten() {
            let url = part["url"].as_str().unwrap();
            let answers = body["responses"].as_array_mut().into_iter().flatten();
            let mut mine = answers.filter(|answer| answer["id"] == part["id"]);
            if let (true, Some(answer)) = (url.split('?').next().unwrap().ends_with(ending), mine.next()) {
                change(answer, url);
            }
        }
        with_json(reply, &body)
    }
}

/// What is read under each object comes in batches; their parts lie as whole answers do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_batch_that_lie_cost_their_own_relation() {
    type Change = fn(&mut Value, &str);
    let changes: [(&str, &str, Change); 7] = [
        ("an error that came as a success", "bad-response", |answer, _| {
            answer["body"] = json!({"error": {"code": "InternalServerError", "message": ""}});
        }),
        ("a page of HTML", "bad-response", |answer, _| {
            answer["headers"] = json!({"Content-Type": "text/html"});
            answer["body"] = json!("PGh0bWw+");
        }),
        ("no body", "bad-response", |answer, _| answer["body"] = Value::Null),
        ("another number", "bad-response", |answer, _| answer["id"] = json!("99")),
        ("no status", "bad-response", |answer, _| answer["status"] = json!("good")),
        ("a link that leads elsewhere", "foreign-link", |answer, _| {
            answer["body"]["@odata.nextLink"] = json!("https://elsewhere.example/v1.0/groups");
        }),
        ("a link back to itself", "loop", |answer, url| {
            answer["body"]["@odata.nextLink"] = json!(format!("/v1.0{url}"));
        }),
    ];
    let batches = Target { collection: "group", path: "/v1.0/$batch", form: "" };
    let mut siege = Siege::new(108).await;
    for (name, code, change) in changes {
        let attack = attack(name, &[], meddling_parts("/owners", change));
        let story = format!("owners, {name}");
        siege.world.hour();
        *siege.attacked.lock().unwrap() = Some((batches, attack.meddle.clone()));
        let before = visible(&siege.world.tenant);
        let body = siege.capture(true, &story).await;
        for collection in ["group", "application", "servicePrincipal"] {
            let row = world::row(&body, collection, Some("owners"));
            assert!(matches!(row.st, Status::Partial | Status::Carried), "{story}: {row:?}");
            assert_eq!(row.code.as_deref(), Some(code), "{story}: {row:?}");
        }
        for row in body.cover.iter().flatten().filter(|row| row.r.as_deref() != Some("owners")) {
            assert!(is_fine(row), "{story}: it cost {row:?}");
        }
        siege.oracle.check(&siege.world.store, &body, &before, &visible(&siege.world.tenant), &story).await;
        siege.world.hour();
        siege.calm(true, &format!("after {story}")).await;
    }
}

/// A first capture that meets all of it has no earlier state to fall back on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_capture_under_attack_is_completed_by_the_next() {
    let attacks = [without_end(), no_answers(), broken()].into_iter().flat_map(|attacks| attacks.into_iter().take(2));
    for (number, attack) in attacks.enumerate() {
        let mut siege = Siege::begin(109 + number as u64, Duration::from_secs(50 * 60)).await;
        siege.survives([ROLES, POLICIES, DOMAINS][number % 3], &attack).await;
    }
}

/// A relation is complete where that of every object was read. Where it isn't known which objects there are, nobody can
/// say that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relation_of_objects_that_were_not_all_seen_is_not_complete() {
    let first_only = attack("pages in a circle", &["loop"], |seen, reply, met| {
        let mut page = proxy::json(&reply);
        if let Some(value) = page["value"].as_array_mut() {
            value.truncate(1);
        }
        and_on(seen, with_json(reply, &page), &(met % 3).to_string())
    });
    let nobody = attack("a connection that is reset", &["unreachable"], |_, _, _| Reply::body(Sent::Reset));
    let own = [(GROUPS, "group", Some("owners")), (USERS, "strongAuthenticationRequirements", None)];
    for (target, collection, relation) in own {
        for attack in [&first_only, &nobody] {
            let mut siege = Siege::begin(119, Duration::from_secs(50 * 60)).await;
            siege.world.hour();
            *siege.attacked.lock().unwrap() = Some((target, attack.meddle.clone()));
            let before = visible(&siege.world.tenant);
            let body = siege.capture(false, attack.name).await;
            let row = world::row(&body, collection, relation);
            assert!(matches!(row.st, Status::Partial | Status::Carried), "{}: {row:?}", attack.name);
            siege.oracle.check(&siege.world.store, &body, &before, &visible(&siege.world.tenant), attack.name).await;
            siege.world.hour();
            siege.calm(false, "afterwards").await;
        }
    }
}

/// A server that breaks everything but the login leaves nothing to commit, and the log as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_can_be_read_nothing_is_committed() {
    let mut siege = Siege::new(120).await;
    let server = proxy(
        siege.world.tenant.url(),
        |_| (),
        |seen, reply| if seen.is_token() { reply } else { Reply::body(Sent::Reset) },
    )
    .await;
    siege.capturer.set_reader(reader(&siege.world, &server.url, limits()));
    siege.world.hour();
    let before = siege.world.store.snapshot();
    let error = siege.capturer.capture(&Request::default()).await.unwrap_err();
    assert!(matches!(error, tenure::capture::CaptureError::Graph(_)), "{error:?}");
    assert!(siege.world.store.snapshot() == before, "not even a pack");
    siege.capturer.set_reader(reader(&siege.world, &siege.url, limits()));
    siege.world.hour();
    siege.calm(false, "afterwards").await;
}
