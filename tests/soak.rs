//! A year of hourly slots, kept up by two services that crash, oversleep and lose their clocks, their storage and Graph.
//!
//! Time is simulated: the year takes a minute or two. With 50 objects; larger, or longer, by
//! `TENURE_SOAK_USERS=400 TENURE_SOAK_HOURS=87600 cargo test --release --test soak -- --nocapture`.
//! `TENURE_SOAK_SEED` goes through one year again.

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tenure::archive::entry::Body;
use tenure::archive::verify::{Options as VerifyOptions, Severity, verify};
use tenure::capture::{Capturer, Local, Options, Progress, Stop, remembered_head};
use tenure::clock::{Clock, ManualClock, Sleep};
use tenure::daemon::{OpenFailure, Opener, Schedule, Service, Settings, Tenant, code};
use tenure::index::Index;
use tenure::model;
use tenure::simulator::{Options as TenantOptions, Weather};
use tenure::store::{Listed, MemoryStore, Operation, Store, StoreError};
use world::World;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The truth, as a machine's clock shows it: off by so many seconds.
#[derive(Debug, Clone)]
struct Wrong {
    truth: ManualClock,
    seconds: Arc<AtomicI64>,
}

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        self.truth.now() + SignedDuration::from_secs(self.seconds.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        self.truth.sleep(duration)
    }
}

/// A storage account that can be away, that loses answers, and at which the process that writes may die.
#[derive(Debug)]
struct Storage {
    inner: MemoryStore,
    away: Arc<AtomicBool>,
    /// Operations until the process dies, and whether that one is still carried out.
    fuse: Mutex<Option<(u64, bool)>>,
    died: tokio::sync::Notify,
    operations: AtomicU64,
    lost: Mutex<ChaCha8Rng>,
}

impl Storage {
    async fn run<T>(&self, name: &str, operation: Operation<'_, T>) -> Result<T, StoreError> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        let blown = {
            let mut fuse = self.fuse.lock().unwrap();
            match &mut *fuse {
                Some((0, is_done)) => Some(*is_done),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some(is_done) = blown {
            if is_done {
                let _ = operation.await;
            }
            *self.fuse.lock().unwrap() = None;
            self.died.notify_one();
            std::future::pending::<()>().await;
            unreachable!("nobody wakes it");
        }
        let unavailable = || StoreError::Unavailable { name: name.to_owned(), source: std::io::Error::other("away") };
        if self.away.load(Ordering::SeqCst) {
            return Err(unavailable());
        }
        let is_lost = self.lost.lock().unwrap().random_bool(0.002);
        let result = operation.await;
        if is_lost { Err(unavailable()) } else { result }
    }
}

impl Store for Storage {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(self.run(name, self.inner.create(name, bytes)))
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        Box::pin(self.run(name, self.inner.get(name)))
    }

    fn get_range<'a>(&'a self, name: &'a str, range: std::ops::Range<u64>) -> Operation<'a, Vec<u8>> {
        Box::pin(self.run(name, self.inner.get_range(name, range)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        Box::pin(self.run(prefix, self.inner.list(prefix, after)))
    }
}

/// What is captured: enough for feeds, links, events and whole reads, and little enough for a year.
const ON: [&str; 4] = ["user", "group", "conditionalAccessPolicy", "unifiedRoleAssignment"];

fn options() -> Options {
    let collections = model::COLLECTIONS.iter().map(|collection| collection.name.to_owned());
    let facets = ["user#activity", "user#sync", "group#sync"].map(str::to_owned);
    Options {
        off: collections.filter(|name| !ON.contains(&name.as_str())).chain(facets).collect(),
        ..Options::default()
    }
}

/// A machine with a service on it.
struct Instance {
    name: &'static str,
    clock: Wrong,
    directory: TempDir,
    storage: Arc<Storage>,
    service: Option<Service>,
    tenant: Option<Arc<Tenant>>,
    asleep_until: u64,
    /// The look of the hour at which it wakes up.
    wakes_at: usize,
    wrong_until: u64,
}

impl Instance {
    fn new(name: &'static str, world: &World, away: &Arc<AtomicBool>, seed: u64) -> Instance {
        let clock = Wrong { truth: world.clock.clone(), seconds: Arc::default() };
        let storage = Storage {
            inner: world.store.clone(),
            away: away.clone(),
            fuse: Mutex::default(),
            died: tokio::sync::Notify::new(),
            operations: AtomicU64::new(0),
            lost: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        };
        let storage = Arc::new(storage);
        // In memory where there is such a place: nothing of this test is about what a disk keeps.
        let shared = Path::new("/dev/shm");
        let directory = match shared.is_dir() {
            true => tempfile::tempdir_in(shared).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        Instance {
            name,
            clock,
            directory,
            storage,
            service: None,
            tenant: None,
            asleep_until: 0,
            wakes_at: 0,
            wrong_until: 0,
        }
    }

    /// Begins the process.
    fn begin(&mut self, world: &Arc<World>, delay: i64) {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let tenant = Arc::new(Tenant::new(self.name, &self.directory.path().join("state"), true, clock.clone()));
        self.tenant = Some(tenant.clone());
        let settings = Settings {
            schedule: schedule(),
            delay: SignedDuration::from_secs(delay),
            time_limit: options().time_limit,
        };
        let open = opener(world.clone(), self.storage.clone(), self.directory.path(), clock.clone());
        self.service = Some(Service::new(tenant, settings, clock, open, Stop::default()));
    }

    /// One turn; the process may die in it. Returns whether it lives. What went wrong is counted.
    async fn turn(&mut self, troubles: &mut BTreeMap<String, u64>) -> bool {
        let storage = self.storage.clone();
        let service = self.service.as_mut().expect("begun");
        let died = tokio::select! {
            biased;
            () = storage.died.notified() => true,
            _ = service.turn() => false,
        };
        if died {
            self.service = None;
        }
        if let Some(text) = self.tenant.as_ref().and_then(|tenant| tenant.health().trouble) {
            *troubles.entry(text.chars().filter(|c| !c.is_ascii_digit()).take(90).collect()).or_default() += 1;
        }
        !died
    }
}

fn opener(world: Arc<World>, storage: Arc<Storage>, directory: &Path, clock: Arc<dyn Clock>) -> Opener {
    let directory = directory.to_owned();
    Box::new(move || {
        let (world, storage, directory, clock) = (world.clone(), storage.clone(), directory.clone(), clock.clone());
        Box::pin(async move {
            let reader = world.reader_by(&world.tenant.url(), clock.clone());
            let state = directory.join("state");
            let local = Local {
                index: Index::open(&directory.join("index")).unwrap(),
                progress: Progress::open(&state).unwrap(),
                remembered: remembered_head(&state).unwrap(),
            };
            let opened = Capturer::open(storage, world::signer(), local, reader, clock, options()).await;
            opened.map_err(|error| OpenFailure { text: format!("{error:?}"), code: code::UNWRITABLE })
        })
    })
}

fn schedule() -> Schedule {
    Schedule::new("0 * * * *", "30 2 * * *", "Europe/Vienna").unwrap()
}

/// What befell the services.
#[derive(Debug, Default)]
struct Story {
    crashes: u64,
    sleeps: u64,
    jumps_forward: u64,
    jumps_back: u64,
    outages: u64,
    storms: u64,
}

/// Troubles begin.
fn befall(hour: u64, dice: &mut ChaCha8Rng, one: &mut Instance, story: &mut Story) {
    if hour >= one.wrong_until {
        one.clock.seconds.store(0, Ordering::SeqCst);
        if dice.random_bool(0.01) {
            let seconds = match dice.random_range(0..3) {
                0 => dice.random_range(400..4 * 3600),
                1 => dice.random_range(4 * 3600..400 * 86_400),
                _ => 200,
            };
            let forward = dice.random_bool(0.5);
            *(if forward { &mut story.jumps_forward } else { &mut story.jumps_back }) += 1;
            one.clock.seconds.store(if forward { seconds } else { -seconds }, Ordering::SeqCst);
            one.wrong_until = hour + dice.random_range(1..8);
        }
    }
    if hour >= one.asleep_until && dice.random_bool(0.006) {
        one.asleep_until = hour + dice.random_range(1..60);
        one.wakes_at = dice.random_range(0..4);
        story.sleeps += 1;
    }
    if dice.random_bool(0.04) {
        *one.storage.fuse.lock().unwrap() = Some((dice.random_range(0..40), dice.random_bool(0.5)));
    }
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

#[tokio::test]
async fn a_year_ends_with_every_slot_filled_once_or_told_to_be_a_gap() {
    let seed = number("TENURE_SOAK_SEED", 20_260_101);
    let hours = number("TENURE_SOAK_HOURS", 8760);
    println!("seed {seed}, {hours} hours");
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let users = number("TENURE_SOAK_USERS", 40) as usize;
    let tenant = TenantOptions { seed, users, start, episodes: false, ..TenantOptions::default() };
    let world = Arc::new(World::with_archive(tenant).await);
    let away = Arc::new(AtomicBool::new(false));
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut instances = [Instance::new("one", &world, &away, seed + 1), Instance::new("two", &world, &away, seed + 2)];
    let (mut story, mut storm_until, mut away_until) = (Story::default(), 0, 0);
    let (mut memory, mut troubles) = (Vec::new(), BTreeMap::new());
    for hour in 1..=hours {
        let slot = start + SignedDuration::from_hours(hour as i64);
        world.clock.set(slot.max(world.clock.now()));
        world.tenant.live_until(world.clock.now());
        let is_last = hour + 2 > hours;
        if hour >= storm_until {
            world.tenant.set_weather(Weather::calm());
            if dice.random_bool(0.01) && !is_last {
                storm_until = hour + dice.random_range(1..4);
                story.storms += 1;
                let down = Weather { cut: 0.7, unavailable: 0.9, sign_in_unavailable: 0.9, ..Weather::worst() };
                world.tenant.set_weather(if dice.random_bool(0.5) { down } else { Weather::worst() });
            }
        }
        if hour >= away_until {
            away.store(false, Ordering::SeqCst);
            if dice.random_bool(0.005) && !is_last {
                away_until = hour + dice.random_range(1..6);
                story.outages += 1;
                away.store(true, Ordering::SeqCst);
            }
        }
        for one in &mut instances {
            match is_last {
                true => {
                    (one.asleep_until, one.wakes_at, one.wrong_until) = (0, 0, 0);
                    one.clock.seconds.store(0, Ordering::SeqCst);
                    *one.storage.fuse.lock().unwrap() = None;
                    storm_until = 0;
                }
                false => befall(hour, &mut dice, one, &mut story),
            }
        }
        // Both are awake a few times an hour, in whatever order.
        for look in 0..4 {
            let first = usize::from(dice.random_bool(0.5));
            for index in [first, 1 - first] {
                let one = &mut instances[index];
                if hour < one.asleep_until || hour == one.asleep_until && look < one.wakes_at {
                    continue;
                }
                if one.service.is_none() {
                    one.begin(&world, 0);
                }
                if !one.turn(&mut troubles).await {
                    story.crashes += 1;
                }
            }
            let later = [0, 40, 16 * 60, 0][look];
            world.clock.advance(Duration::from_secs(later));
        }
        if hour % 730 == 0 {
            memory.push((hour, resident(), world.store.snapshot().values().map(|blob| blob.len() as u64).sum::<u64>()));
        }
    }
    drop(instances);
    println!("{story:?}");
    println!("turns that ended in trouble: {troubles:#?}");
    println!("hour, bytes in memory, bytes of the archive: {memory:?}");
    let bodies: Vec<Body> = world.entries().into_values().map(|entry| entry.body).collect();
    check_slots(&bodies, start, hours);
    let report =
        verify(&world.store, &VerifyOptions { deep: true, ..VerifyOptions::default() }, |_, _| {}).await.unwrap();
    let wrong: Vec<_> = report.findings.iter().filter(|finding| finding.severity != Severity::Note).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    if hours >= 8760 {
        let told = [story.crashes, story.sleeps, story.jumps_forward, story.jumps_back, story.outages, story.storms];
        assert!(told.iter().all(|count| *count > 5), "a year without troubles proves nothing: {story:?}");
    }
    check_memory(&memory);
}

/// Every slot of the year is in the log exactly once.
fn check_slots(bodies: &[Body], start: Timestamp, hours: u64) {
    let schedule = schedule();
    let (mut filled, mut codes, mut unscheduled): (BTreeMap<Timestamp, u64>, BTreeMap<String, u64>, u64) =
        Default::default();
    for body in bodies {
        match (body.kind.as_str(), body.slot) {
            ("capture", Some(slot)) => *filled.entry(slot).or_default() += 1,
            ("capture", None) => unscheduled += 1,
            ("gap", _) => {
                let ends: Vec<Timestamp> = body.slots.iter().flatten().map(|slot| slot.parse().unwrap()).collect();
                let mut slot = Some(ends[0]);
                let mut count = 0;
                while let Some(at) = slot.filter(|at| *at <= ends[1]) {
                    *filled.entry(at).or_default() += 1;
                    count += 1;
                    slot = schedule.next(at);
                }
                *codes.entry(body.code.clone().unwrap()).or_default() += count;
            }
            _ => {}
        }
    }
    println!("{} entries, {unscheduled} captures out of turn, slots of gaps by reason {codes:?}", bodies.len());
    let first = *filled.keys().next().unwrap();
    assert!(first <= start + SignedDuration::from_hours(60), "the first slot is {first}");
    let end = start + SignedDuration::from_hours(hours as i64);
    let mut expected = Some(first);
    for (slot, count) in &filled {
        assert_eq!(Some(*slot), expected, "no slot is passed over, and none is told that never was");
        assert_eq!(*count, 1, "{slot}");
        expected = schedule.next(*slot);
    }
    assert!(filled.contains_key(&end), "the last slot {end} is filled");
    let gaps: u64 = codes.values().sum();
    assert!(gaps * 4 < filled.len() as u64, "mostly gaps: {codes:?}");
    if hours >= 8760 {
        assert!(unscheduled > 0, "nobody ever woke up in the middle of an hour");
        for code in [code::NOT_RUNNING, code::UNREADABLE, code::UNWRITABLE] {
            assert!(codes.contains_key(code), "{code} never came: {codes:?}");
        }
    }
}

/// What the process holds doesn't grow with what it has done: the archive, which this test keeps in memory, and the
/// simulated tenant's own records apart.
fn check_memory(memory: &[(u64, Option<u64>, u64)]) {
    let [.., (_, Some(last), archive_last)] = memory else { return };
    let Some((_, Some(first), archive_first)) = memory.get(1) else { return };
    let grown = last.saturating_sub(*first).saturating_sub((archive_last - archive_first) * 2);
    println!("grown by {} MB beyond the archive", grown >> 20);
    assert!(grown < 96 << 20, "grown by {grown} bytes");
}
