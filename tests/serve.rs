//! The service from outside: probes and metrics over HTTP, alarms at a receiver, the process with its signals.

#[path = "support/command.rs"]
mod command;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use command::{secret_table, tenant_table};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tenure::capture::{Stop, Stopper};
use tenure::clock::{Clock, ManualClock, SystemClock};
use tenure::daemon::{Keeper, Kind, OpenFailure, Opener, Schedule, Service, Settings, Tasks, Tenant, Webhook, code};
use tenure::ledger::{Ledger, Outcome, RecordId, Use, Via, Who, records_of};
use tenure::simulator::{Options as TenantOptions, Simulator, Weather};
use tenure::store::{FilesystemStore, MemoryStore};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use world::{World, machine};

fn schedule() -> Schedule {
    Schedule::new("0 * * * *", "30 2 * * *", "UTC").unwrap()
}

/// A service of a world's tenant, on a machine of its own.
fn service(world: &Arc<World>, tenant: &Arc<Tenant>, stop: Stop) -> Service {
    let settings =
        Settings { schedule: schedule(), delay: SignedDuration::ZERO, time_limit: Duration::from_secs(3000) };
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let (world, directory) = (world.clone(), tenant.directory.clone());
    let open: Opener = Box::new(move || {
        let (world, directory) = (world.clone(), directory.clone());
        Box::pin(async move {
            let opened = world.open_on(Arc::new(world.store.clone()), &directory).await;
            opened.map_err(|error| OpenFailure { text: format!("{error:?}"), code: code::UNWRITABLE })
        })
    });
    Service::new(tenant.clone(), settings, clock, open, stop)
}

async fn listen(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn get(url: &str) -> (u16, String, String) {
    // A client needs one before it is built, also for plain http.
    rustls::crypto::ring::default_provider().install_default().ok();
    let answer = reqwest::get(url).await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), kind, answer.text().await.unwrap())
}

/// The samples of a text of metrics, by name with labels. Checks the form as OpenMetrics 1.0 has it.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "a reader can't tell whether it is whole");
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} is declared twice");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let kind = types.get(bare).or_else(|| types.get(bare.strip_suffix("_total").unwrap_or(bare)));
            assert!(kind.is_some(), "{name} has no type");
            assert!(found.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} comes twice");
        }
    }
    found
}

#[tokio::test]
async fn probes_and_metrics_say_what_the_service_does() {
    let world = Arc::new(World::new(5, 40, "2026-06-30T21:00:00Z").await);
    let local = machine();
    let name = world.tenant.tenant_id();
    let tenant = Arc::new(Tenant::new(&name, local.path(), false, Arc::new(world.clock.clone())));
    let url = listen(tenure::web::router(vec![tenant.clone()], None, true)).await;
    let mut service = service(&world, &tenant, Stop::default());
    let (status, _, text) = get(&format!("{url}/readyz")).await;
    assert_eq!((status, text.contains("opening")), (503, true), "{text}");
    assert_eq!(get(&format!("{url}/healthz")).await.0, 200);
    for _ in 0..3 {
        world.hour();
        service.turn().await;
    }
    assert_eq!(get(&format!("{url}/readyz")).await.0, 200);
    let (status, kind, text) = get(&format!("{url}/metrics")).await;
    assert_eq!((status, kind.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let metrics = samples(&text);
    let value = |metric: &str, labels: &str| {
        let name = format!("{metric}{{tenant=\"{name}\"{labels}}}");
        *metrics.get(&name).unwrap_or_else(|| panic!("{name} isn't in\n{text}"))
    };
    assert_eq!(value("tenure_last_capture_timestamp_seconds", ""), 1_782_864_000.0);
    assert_eq!(value("tenure_next_slot_timestamp_seconds", ""), 1_782_867_600.0);
    assert_eq!(value("tenure_captures_total", ",result=\"committed\""), 3.0);
    assert_eq!(value("tenure_captures_total", ",result=\"failed\""), 0.0);
    let body = world.entries().into_values().next_back().unwrap().body;
    assert_eq!(value("tenure_objects", ""), body.state.objects as f64);
    let complete = body.cover.iter().flatten().filter(|row| row.st.as_str() == "complete").count();
    assert_eq!(value("tenure_coverage_rows", ",status=\"complete\""), complete as f64);
    assert!(value("tenure_graph_requests_total", "") > 50.0 && value("tenure_graph_units_total", "") > 0.0);
    let bytes: u64 =
        world.store.snapshot().iter().filter(|(name, _)| name.ends_with(".ndz")).map(|(_, b)| b.len() as u64).sum();
    assert_eq!(value("tenure_pack_bytes_total", ""), bytes as f64);
    assert_eq!(value("tenure_ready", ""), 1.0);
    for kind in Kind::ALL {
        assert_eq!(value("tenure_alarms", &format!(",kind=\"{}\"", kind.as_str())), 0.0);
    }
    // A service that doesn't get on any more is seen from outside.
    world.clock.advance(Duration::from_secs(4 * 3600));
    let (status, _, text) = get(&format!("{url}/healthz")).await;
    assert_eq!(status, 503, "{text}");
    service.turn().await;
    assert_eq!(get(&format!("{url}/healthz")).await.0, 200);
}

/// Somebody who takes alarms, checks who sends them, and doesn't always answer.
#[derive(Default)]
struct Receiver {
    taken: Mutex<Vec<(String, Value)>>,
    refusals: AtomicU64,
    clock: Option<ManualClock>,
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, at) = (text("webhook-id"), text("webhook-timestamp"));
    let signed = [id.as_bytes(), b".", at.as_bytes(), b".", &body].concat();
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let signature = STANDARD.decode(text("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    ring::hmac::verify(&key, &signed, &signature).expect("signed by who has the secret");
    if let Some(clock) = &receiver.clock {
        assert!((clock.now().as_second() - at.parse::<i64>().unwrap()).abs() < 300, "recent, or somebody replays it");
    }
    if receiver.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    receiver.taken.lock().unwrap().push((id, serde_json::from_slice(&body).unwrap()));
    StatusCode::NO_CONTENT
}

impl Receiver {
    fn taken(&self) -> Vec<(String, String)> {
        let taken = self.taken.lock().unwrap();
        let word = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).unwrap().to_owned();
        taken.iter().map(|(_, notice)| (word(notice, "/type"), word(notice, "/data/kind"))).collect()
    }
}

#[tokio::test]
async fn alarms_arrive_signed_and_once_each() {
    let world = Arc::new(World::new(6, 40, "2026-06-30T21:00:00Z").await);
    let receiver = Arc::new(Receiver { clock: Some(world.clock.clone()), ..Receiver::default() });
    let url = listen(Router::new().route("/", post(receive)).with_state(receiver.clone())).await;
    let local = machine();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let webhook = Webhook::new(&url, SECRET, clock.clone()).unwrap();
    let mut tenant = Arc::new(Tenant::new("t", local.path(), true, clock.clone()));
    let mut service = self::service(&world, &tenant, Stop::default());
    world.hour();
    service.turn().await;
    assert_eq!(tenant.deliver(&webhook).await, None);
    assert_eq!(receiver.taken(), [], "an hour in which all is well tells nobody anything");
    // Permissions go, and Graph with them for a while; the machine sleeps through three slots.
    world.tenant.revoke("Policy.Read.All");
    world.hour();
    service.turn().await;
    receiver.refusals.store(2, Ordering::SeqCst);
    assert_eq!(tenant.deliver(&webhook).await.as_deref(), Some("answered 503"));
    assert_eq!(tenant.deliver(&webhook).await.as_deref(), Some("answered 503"));
    // The process ends with alarms that nobody has taken.
    drop(service);
    drop(tenant);
    tenant = Arc::new(Tenant::new("t", local.path(), true, clock.clone()));
    service = self::service(&world, &tenant, Stop::default());
    assert_eq!(tenant.deliver(&webhook).await, None);
    let shrunk = receiver.taken();
    assert!(
        !shrunk.is_empty() && shrunk.iter().all(|(event, kind)| event == "alarm.raised" && kind == "coverage-shrank")
    );
    world.clock.advance(Duration::from_secs(4 * 3600 + 60));
    world.tenant.live_until(world.clock.now());
    world.tenant.set_weather(Weather { unavailable: 1.0, sign_in_unavailable: 1.0, ..Weather::calm() });
    for _ in 0..3 {
        let next = service.turn().await;
        world.clock.set(next.max(world.clock.now()));
    }
    world.tenant.set_weather(Weather::calm());
    world.tenant.grant("Policy.Read.All");
    for _ in 0..3 {
        let next = service.turn().await;
        world.clock.set(next.max(world.clock.now()));
        world.tenant.live_until(world.clock.now());
    }
    assert_eq!(tenant.deliver(&webhook).await, None);
    assert_eq!(tenant.deliver(&webhook).await, None);
    let taken = receiver.taken();
    let count = |event: &str, kind: &str| taken.iter().filter(|(e, k)| e == event && k == kind).count();
    assert_eq!(count("alarm.cleared", "coverage-shrank"), count("alarm.raised", "coverage-shrank"), "{taken:?}");
    for event in ["alarm.raised", "alarm.cleared"] {
        assert_eq!(count(event, "capture-failing"), 1, "{taken:?}");
    }
    assert!(count("alarm.event", "capture-missed") >= 1, "{taken:?}");
    let ids: BTreeSet<String> = receiver.taken.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), taken.len(), "once each");
    let health = tenant.health();
    assert!(health.alarms.is_empty(), "{:?}", health.alarms);
}

/// A process that dies after its commit has told nobody what it saw; so has a second service, or a person who captures by
/// hand. Whoever looks at the log next tells, once.
#[tokio::test]
async fn what_nobody_was_told_of_is_told_by_who_looks_next() {
    let world = Arc::new(World::new(11, 40, "2026-06-30T21:00:00Z").await);
    let (local, elsewhere) = (machine(), machine());
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let tenant = Arc::new(Tenant::new("t", local.path(), true, clock.clone()));
    world.hour();
    self::service(&world, &tenant, Stop::default()).turn().await;
    assert_eq!(tenant.book().waiting(), 0);
    world.tenant.revoke("Policy.Read.All");
    world.clock.advance(Duration::from_secs(600));
    world::capture(&mut world.open(&elsewhere).await).await;
    let mut service = self::service(&world, &tenant, Stop::default());
    service.turn().await;
    let told = tenant.health().notices;
    assert!(told.get(&Kind::CoverageShrank).is_some_and(|count| *count >= 1), "{told:?}");
    world.clock.advance(Duration::from_secs(60));
    service.turn().await;
    drop(service);
    self::service(&world, &tenant, Stop::default()).turn().await;
    assert_eq!(tenant.health().notices, told, "told once");
}

#[tokio::test]
async fn a_second_service_leaves_slots_to_the_first_and_takes_them_where_it_fails() {
    let world = Arc::new(World::new(7, 40, "2026-06-30T21:00:00Z").await);
    let (one, two) = (machine(), machine());
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let tenants = [&one, &two].map(|local| Arc::new(Tenant::new("t", local.path(), false, clock.clone())));
    let mut services = tenants.each_ref().map(|tenant| service(&world, tenant, Stop::default()));
    let slots = |world: &World| -> Vec<Option<Timestamp>> {
        let entries = world.entries().into_values();
        entries.filter(|entry| entry.body.is_capture()).map(|entry| entry.body.slot).collect()
    };
    for hour in 1..=6usize {
        world.hour();
        let [first, second] = &mut services;
        // At the same moment, in the same process: both read, one commits.
        if hour == 4 {
            second.turn().await;
        } else {
            tokio::join!(first.turn(), second.turn());
        }
        assert_eq!(slots(&world).len(), hour, "hour {hour}");
        world.clock.advance(Duration::from_secs(600));
        tokio::join!(first.turn(), second.turn());
        assert_eq!(slots(&world).len(), hour, "hour {hour}");
        world.clock.set(world.clock.now() - SignedDuration::from_secs(600));
    }
    let seen: BTreeSet<_> = slots(&world).into_iter().collect();
    assert_eq!(seen.len(), 6);
    let committed: Vec<u64> = tenants.iter().map(|tenant| tenant.health().totals.captures).collect();
    assert_eq!(committed.iter().sum::<u64>(), 6);
}

/// Beside the captures: the copy follows, every byte is read within the span, and what was changed is told once.
#[tokio::test]
async fn a_keeper_keeps_the_copy_in_step_and_reads_every_byte() {
    let world = Arc::new(World::new(9, 40, "2026-06-30T18:00:00Z").await);
    let local = machine();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let tenant = Arc::new(Tenant::new("t", local.path(), true, clock.clone()));
    let mut service = service(&world, &tenant, Stop::default());
    let copy = MemoryStore::new();
    let tasks = || Tasks {
        store: Arc::new(world.store.clone()),
        guard: None,
        verify_within: Some(SignedDuration::from_hours(48)),
        mirror: Some(Arc::new(copy.clone())),
    };
    let mut keeper = Keeper::new(tenant.clone(), tasks(), clock.clone(), Stop::default());
    let verified = |tenant: &Tenant| tenant.health().verified.unwrap();
    for hour in 0..60 {
        world.hour();
        service.turn().await;
        keeper.turn().await;
        assert_eq!(copy.snapshot(), world.store.snapshot(), "hour {hour}");
        if hour == 30 {
            // The process ends, and another goes on where it was.
            keeper = Keeper::new(tenant.clone(), tasks(), clock.clone(), Stop::default());
        }
    }
    let health = tenant.health();
    assert_eq!(health.mirrored.unwrap().lag, 0);
    let since = verified(&tenant).since.expect("two days have gone by");
    assert!(world.clock.now().duration_since(since) <= SignedDuration::from_hours(50), "{since}");
    assert!(health.alarms.is_empty(), "{:?}", health.alarms);
    // Somebody changes a pack. The copy has the good one.
    let name = world.store.snapshot().into_keys().find(|name| name.ends_with(".ndz")).unwrap();
    let mut bytes = world.store.snapshot()[&name].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.store.tamper(&name, Some(bytes));
    for _ in 0..100 {
        world.hour();
        keeper.turn().await;
    }
    assert!(verified(&tenant).findings >= 1);
    let notices = tenant.health().notices;
    assert_eq!(notices.get(&Kind::VerificationFinding), Some(&1), "told once, however often it is found: {notices:?}");
}

/// Told to stop while it reads, it leaves nothing; while it commits, it ends what it began.
#[tokio::test]
async fn a_service_that_is_told_to_stop_leaves_a_whole_entry_or_none() {
    let world = Arc::new(World::new(8, 40, "2026-06-30T21:00:00Z").await);
    let local = machine();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let tenant = Arc::new(Tenant::new("t", local.path(), false, clock));
    let (stopper, stop) = Stopper::new();
    world.hour();
    let mut service = service(&world, &tenant, stop);
    let before = world.store.snapshot();
    let requests = world.tenant.request_count();
    tokio::join!(service.run(), async {
        // Once Graph has been asked for a few things.
        while world.tenant.request_count() < requests + 8 {
            tokio::task::yield_now().await;
        }
        stopper.stop();
    });
    let left: Vec<String> = world.store.snapshot().into_keys().filter(|name| !before.contains_key(name)).collect();
    let is_only_the_genesis_checkpoint = left.iter().all(|name| name.starts_with("log/k/"));
    assert!(is_only_the_genesis_checkpoint, "{left:?}");
    assert_eq!(tenant.health().doing.as_str(), "stopped");
    let file = local.path().join(tenure::daemon::STATUS_FILE);
    let word: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(word["doing"], "stopped");
}

/// Graph takes connections and says nothing, and the service asks it what time it is: it stops all the same, at once.
#[tokio::test]
async fn a_service_that_waits_for_graph_stops_when_told() {
    let world = Arc::new(World::new(10, 40, "2026-06-30T21:00:00Z").await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let local = machine();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tenant = Arc::new(Tenant::new("t", local.path(), false, clock.clone()));
    let settings =
        Settings { schedule: schedule(), delay: SignedDuration::ZERO, time_limit: Duration::from_secs(3000) };
    let open: Opener = {
        let (world, directory, clock) = (world.clone(), local.path().to_owned(), clock.clone());
        Box::new(move || {
            let reader = world.reader_by(&url, clock.clone());
            let (world, directory, clock) = (world.clone(), directory.clone(), clock.clone());
            Box::pin(async move {
                let store = Arc::new(world.store.clone());
                let opened = world.open_with(store, &directory, reader, clock, world::options()).await;
                opened.map_err(|error| OpenFailure { text: format!("{error:?}"), code: code::UNWRITABLE })
            })
        })
    };
    let (stopper, stop) = Stopper::new();
    let mut service = Service::new(tenant.clone(), settings, clock, open, stop);
    let asked = async {
        let connection = listener.accept().await.unwrap();
        stopper.stop();
        connection
    };
    let both = async { tokio::join!(service.run(), asked) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("it doesn't wait for an answer");
    assert_eq!((tenant.health().doing.as_str(), tenant.health().trouble), ("stopped", None));
}

/// A directory with the configuration of a tenant, and its archive begun.
async fn place(root: &Path, name: &str, tenant: &Simulator, more: &str) -> std::path::PathBuf {
    let directory = root.join(name);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("secret"), tenant.client_secret()).unwrap();
    let config = directory.join("tenure.toml");
    let text = format!(
        "{}{}[schedule]\ncapture = \"* * * * *\"\n[web]\nlisten = \"127.0.0.1:0\"\n{more}",
        tenant_table(tenant),
        secret_table(tenant)
    );
    std::fs::write(&config, text).unwrap();
    let ended = command(&config).arg("init").output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    config
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.arg("--config").arg(config).kill_on_drop(true).stdin(Stdio::null());
    command.env("TENURE_LOG_FORMAT", "json").env_remove("TENURE_LOG");
    command
}

/// Reads the log until `wanted` holds of so many lines.
async fn wait_for(
    lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    wanted: impl Fn(&str) -> bool,
    count: usize,
) -> Vec<String> {
    let mut found = Vec::new();
    let reading = async {
        while found.len() < count {
            let line = lines.next_line().await.unwrap().expect("the service runs on");
            if wanted(&line) {
                found.push(line);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reading).await.expect("within two minutes");
    found
}

fn terminate(child: &Child) {
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_serves_two_tenants_tells_its_supervisor_and_stops_when_told() {
    let clock = ManualClock::new(Timestamp::now());
    let mut simulated = Vec::new();
    for seed in [11, 12] {
        let options =
            TenantOptions { seed, users: 40, start: clock.now(), episodes: false, ..TenantOptions::default() };
        simulated.push(Simulator::start(options, clock.clone()).await.unwrap());
    }
    let root = tempfile::tempdir().unwrap();
    let other = place(root.path(), "fabrikam", &simulated[1], "").await;
    let more = format!("[service]\ntenants = \"{}\"\n", other.display());
    let config = place(root.path(), "contoso", &simulated[0], &more).await;
    let socket = root.path().join("notify");
    let notified = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let told = Arc::new(Mutex::new(BTreeSet::new()));
    tokio::spawn({
        let told = told.clone();
        async move {
            let mut word = [0; 4096];
            while let Ok(length) = notified.recv(&mut word).await {
                told.lock().unwrap().extend(String::from_utf8_lossy(&word[..length]).lines().map(str::to_owned));
            }
        }
    });
    let mut child = command(&config)
        .arg("serve")
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "3000000")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let served = wait_for(&mut lines, |line| line.starts_with("tenure serves "), 1).await;
    let url = served[0].rsplit(' ').next().unwrap().to_owned();
    let captured = wait_for(&mut lines, |line| line.contains("\"captured\""), 2).await;
    for line in &captured {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        assert_eq!(line["level"], "INFO", "{line}");
    }
    for path in ["healthz", "readyz"] {
        let (status, _, text) = get(&format!("{url}/{path}")).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["tenants"].as_array().unwrap().len(), 2);
    }
    // The interface, beside the captures of the same process: whoever has the token that the service made may ask it.
    let file = config.parent().unwrap().join("state/web.token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    let ask = async |path: String, token: &str| {
        let request = reqwest::Client::new().get(format!("{url}/api/v1{path}")).bearer_auth(token.trim());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/tenants".to_owned(), &"0".repeat(64)).await.0, 401);
    for tenant in &simulated {
        let (status, text) = ask(format!("/tenants/{}/dump?collection=user", tenant.tenant_id()), &token).await;
        assert!(status == 200 && text.lines().count() > 20, "{status} {text}");
        let (status, text) = ask(format!("/tenants/{}/status", tenant.tenant_id()), &token).await;
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &found["service"]["tenant"]), (200, &json!(tenant.tenant_id())), "{text}");
    }
    let metrics = samples(&get(&format!("{url}/metrics")).await.2);
    for tenant in &simulated {
        let name = format!("tenure_captures_total{{tenant=\"{}\",result=\"committed\"}}", tenant.tenant_id());
        assert!(metrics[&name] >= 1.0, "{metrics:?}");
    }
    let hears = |wanted: &'static str| {
        let told = told.clone();
        async move {
            let hearing = async {
                while !told.lock().unwrap().contains(wanted) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), hearing)
                .await
                .unwrap_or_else(|_| panic!("never told {wanted}"));
        }
    };
    for wanted in ["READY=1", "WATCHDOG=1"] {
        hears(wanted).await;
    }
    // What `status` says beside a service that runs.
    let status = command(&config).args(["status", "--json"]).output().await.unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["running"], &status["service"]["tenant"]), (&json!(true), &json!(simulated[0].tenant_id())));
    assert!(status["last_capture"]["seq"].as_u64().unwrap() >= 1);
    // Questions are answered beside a service that has the index open for writing.
    for word in ["zzz-one", "zzz-two", "zzz-three"] {
        let asked = command(&config).args(["search", word, "--json"]).output().await.unwrap();
        assert!(matches!(asked.status.code(), Some(0 | 4)), "{}", String::from_utf8_lossy(&asked.stderr));
    }
    terminate(&child);
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await.expect("it stops when told").unwrap();
    assert!(ended.success(), "{ended:?}");
    hears("STOPPING=1").await;
    for place in [&config, &other] {
        let store = FilesystemStore::new(place.parent().unwrap().join("archive"));
        let report = tenure::archive::verify::verify(&store, &Default::default(), |_, _| {}).await.unwrap();
        assert!(report.is_ok() && report.checked.packs > 0, "{:?}", report.findings);
        let status = command(place).args(["status"]).output().await.unwrap();
        let text = String::from_utf8(status.stdout).unwrap();
        assert!(text.contains("stopped at"), "{text}");
    }
    let told = command(&config).args(["audit", "--operation", "search", "--json"]).output().await.unwrap();
    let told: Vec<Value> =
        String::from_utf8(told.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<&Value> = told.iter().map(|row| &row["record"]["parameters"]["text"]).collect();
    assert_eq!(words, ["zzz-one", "zzz-two", "zzz-three"]);
    assert!(told.iter().all(|row| row["seq"].is_u64()), "the service left none of them behind: {told:?}");
}

async fn collect(State(taken): State<Arc<Mutex<Vec<u8>>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    taken.lock().unwrap().extend_from_slice(&body);
    StatusCode::OK
}

/// What a capture did goes to a collector, if one is named, and nothing of what it read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_go_where_they_are_asked_for() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let url = listen(Router::new().route("/v1/traces", post(collect)).with_state(taken.clone())).await;
    let clock = ManualClock::new(Timestamp::now());
    let options = TenantOptions { seed: 4, users: 40, start: clock.now(), episodes: false, ..TenantOptions::default() };
    let tenant = Simulator::start(options, clock).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let config = place(root.path(), "one", &tenant, "").await;
    let ended = command(&config).arg("capture").env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let bytes = taken.lock().unwrap().clone();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for span in ["capture", "read", "collection", "conditionalAccessPolicy", "merge", "commit", "service.name"] {
        assert!(has(span), "no {span} in {} bytes", bytes.len());
    }
    let record = tenant.record();
    let names = record.whole_objects().into_values().flat_map(BTreeMap::into_values);
    for name in
        names.filter_map(|object| object["displayName"].as_str().map(str::to_owned)).filter(|name| name.len() > 12)
    {
        assert!(!has(&name), "{name} is somebody's");
    }
    // A collector that isn't there costs nothing but its traces.
    let ended = command(&config).arg("capture").env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").output().await;
    assert!(ended.unwrap().status.success());
}

#[tokio::test]
async fn a_service_that_cannot_be_meant_is_refused_at_once() {
    let clock = ManualClock::new(Timestamp::now());
    let options = TenantOptions { seed: 3, users: 40, start: clock.now(), episodes: false, ..TenantOptions::default() };
    let tenant = Simulator::start(options, clock).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let config = place(root.path(), "one", &tenant, "").await;
    let base = std::fs::read_to_string(&config).unwrap();
    for (more, expected) in [
        ("[service]\ntenants = \"nowhere.toml\"\n", "nowhere.toml"),
        ("[service]\ntenants = \"tenure.toml\"\n", "further tenants"),
        ("[alarms]\nwebhook_url = \"https://a.example/\"\n", "webhook_secret_file"),
        ("[alarms]\nwebhook_url = \"http://a.example/\"\nwebhook_secret_env = \"HOOK\"\n", "https://"),
        ("[alarms]\nwebhook_url = \"https://a.example/\"\nwebhook_secret_env = \"NOHOOK\"\n", "NOHOOK"),
        ("[verification]\ndays = 5000\n", "verification.days"),
    ] {
        std::fs::write(&config, format!("{base}{more}")).unwrap();
        let ended = command(&config).arg("serve").env("HOOK", SECRET).output().await.unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{more}: {text}");
        assert!(text.contains(expected), "{more}: {text}");
    }
    let never = base.replace("capture = \"* * * * *\"", "capture = \"0 0 31 2 *\"");
    std::fs::write(&config, never).unwrap();
    let ended = command(&config).arg("serve").output().await.unwrap();
    assert_eq!(ended.status.code(), Some(2), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// What is asked beside a service comes into the chain with its next capture, in one entry, and nothing comes there where
/// nothing was asked; what is asked last comes there when it stops.
#[tokio::test]
async fn what_is_asked_beside_a_service_is_in_the_chain_after_its_next_slot() {
    let world = Arc::new(World::new(6, 40, "2026-06-30T21:00:00Z").await);
    let local = machine();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let tenant = Arc::new(Tenant::new(&world.tenant.tenant_id(), local.path(), false, clock.clone()));
    let (stopper, stop) = Stopper::new();
    let mut service = service(&world, &tenant, stop);
    let kinds = |world: &World| -> Vec<String> { world.entries().into_values().map(|entry| entry.body.kind).collect() };
    for _ in 0..3 {
        world.hour();
        service.turn().await;
    }
    assert_eq!(kinds(&world), ["genesis", "capture", "capture", "capture"]);
    // Another process on this machine, while the service runs.
    let beside = Ledger::open(local.path(), clock.clone());
    assert!(beside.take_charge().unwrap().is_none(), "the service has the charge");
    let mut ids: Vec<RecordId> = (0..5).map(|_| beside.record(&used()).unwrap()).collect();
    tenant.ledger.count_denial(Via::Http, "no-token");
    world.hour();
    service.turn().await;
    service.turn().await;
    world.hour();
    service.turn().await;
    assert_eq!(
        kinds(&world)[4..],
        ["access", "capture", "capture"],
        "one entry for the hour, none where nothing was asked"
    );
    ids.push(beside.record(&used()).unwrap());
    tenant.ledger.count_denial(Via::Http, "expired");
    stopper.stop();
    service.run().await;
    assert_eq!(kinds(&world)[7..], ["access"]);
    drop(service);
    // A process that another test is just starting holds the locks of this one for a moment.
    let mut tries = 0;
    while beside.take_charge().unwrap().is_none() {
        tries += 1;
        assert!(tries < 500, "it has left the charge to others");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (mut found, mut denials) = (Vec::new(), 0);
    for entry in world.entries().into_values().filter(|entry| entry.body.kind == "access") {
        for record in records_of(&world.store, &entry.body).await.unwrap() {
            match record.denials() {
                Some(count) => denials += count,
                None => found.push(record.id),
            }
        }
    }
    found.sort();
    ids.sort();
    assert_eq!((found, denials), (ids, 2));
}

fn used() -> Use {
    Use {
        who: Who::TokenFile,
        via: Via::Http,
        operation: "show".to_owned(),
        parameters: serde_json::Map::new(),
        outcome: Outcome::Answered,
        answer: None,
    }
}
