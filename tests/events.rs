//! What happened, from a log that shows its records late, in no order and only for some days, to the archive: each record
//! once, and none left out without a word.
//!
//! The log is a script, so that a test decides when a record can first be read. Nothing else of the tenant is read.

#[path = "support/oracle.rs"]
mod oracle;
mod scripted;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use oracle::State;
use scripted::{Reply, Seen, Server};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use tenure::archive::entry::{Coverage, Status};
use tenure::capture::{CaptureError, Capturer, Options, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Limits, Options as GraphOptions, Reader};
use tenure::index::Index;
use world::{World, machine, sound};

const START: &str = "2026-06-29T00:00:00Z";

/// A record of the service's log.
#[derive(Debug, Clone)]
struct Entry {
    id: String,
    /// What it says of its time.
    at: String,
    /// When it can first be read.
    shown: Timestamp,
}

/// The service's log.
#[derive(Debug)]
struct Log {
    entries: Vec<Entry>,
    page: usize,
    /// Days after its time at which a record is thrown away.
    days: i64,
    /// The number of the page that fails, counted from 0.
    fails: Option<usize>,
    /// Each page tells the last record of the page before once more.
    repeats: bool,
}

impl Log {
    fn answer(&self, seen: &Seen, now: Timestamp) -> Reply {
        let url = reqwest::Url::parse(&format!("http://h{}", seen.target)).unwrap();
        let option =
            |name: &str| url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        let from = option("$filter").map(|filter| {
            let time =
                filter.strip_prefix("activityDateTime ge ").expect("the only filter that is documented for this");
            time.parse::<Timestamp>().unwrap()
        });
        let oldest = now - SignedDuration::from_hours(24 * self.days);
        let is_told = |entry: &&Entry| {
            let at: Option<Timestamp> = entry.at.parse().ok();
            entry.shown <= now && at.is_none_or(|at| at >= oldest && from.is_none_or(|from| at >= from))
        };
        let mut told: Vec<&Entry> = self.entries.iter().filter(is_told).collect();
        // Newest first, as the service does.
        told.sort_by(|a, b| b.at.cmp(&a.at));
        let number: usize = option("$skiptoken").map_or(0, |token| token.parse().unwrap());
        if self.fails == Some(number) {
            return Reply::error(500, "UnknownError");
        }
        let first = (number * self.page).saturating_sub(usize::from(self.repeats));
        let last = ((number + 1) * self.page).min(told.len());
        let value = told[first.min(last)..last]
            .iter()
            .map(|entry| json!({"id": entry.id, "activityDateTime": entry.at, "targetResources": [{"id": "someone"}]}));
        let mut body = json!({ "value": value.collect::<Vec<_>>() });
        if last < told.len() {
            let filter = option("$filter").map(|filter| format!("$filter={}&", filter.replace(' ', "%20")));
            let (filter, host) = (filter.unwrap_or_default(), seen.header("host").unwrap());
            let path = "v1.0/auditLogs/directoryAudits";
            body["@odata.nextLink"] = format!("http://{host}/{path}?{filter}$skiptoken={}", number + 1).into();
        }
        Reply::json(200, body.to_string())
    }
}

/// An archive of a tenant of which only the log is read.
struct Records {
    world: World,
    log: Arc<Mutex<Log>>,
    server: Server,
    options: Options,
    capturer: Option<Capturer>,
    local: TempDir,
    archived: State,
}

impl Records {
    async fn new(overlap: SignedDuration) -> Records {
        let world = World::new(1, 40, START).await;
        let entries = Vec::new();
        let log = Arc::new(Mutex::new(Log { entries, page: 5, days: 30, fails: None, repeats: false }));
        let (script, clock) = (log.clone(), world.clock.clone());
        let server = Server::new(move |seen, _| script.lock().unwrap().answer(seen, clock.now())).await;
        let off = tenure::model::COLLECTIONS.iter().map(|collection| collection.name.to_owned());
        // One more, so that something can be read where records can't.
        let off = off.filter(|name| !matches!(name.as_str(), "directoryAudit" | "subscribedSku")).collect();
        let options = Options { off, event_overlap: overlap, ..Options::default() };
        let local = machine();
        let mut records = Records { world, log, server, options, capturer: None, local, archived: State::default() };
        records.open().await;
        records
    }

    fn clock(&self) -> &ManualClock {
        &self.world.clock
    }

    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Another process on the same machine.
    async fn open(&mut self) {
        self.capturer = None;
        let credential =
            Credential::ClientSecret { client_id: "client".to_owned(), secret: SecretString::from("secret") };
        let url = Some(self.server.url.clone());
        let limits = Limits { tries: 2, ..Limits::default() };
        let options = GraphOptions::new("tenant.example", credential);
        let options = GraphOptions { graph_url: url.clone(), login_url: url, limits, ..options };
        let reader = Reader::new(options, Arc::new(self.world.clock.clone())).unwrap();
        let (store, clock) = (Arc::new(self.world.store.clone()), Arc::new(self.world.clock.clone()));
        let capturer = self.world.open_with(store, self.local.path(), reader, clock, self.options.clone()).await;
        self.capturer = Some(capturer.unwrap());
    }

    /// Something happens `ago` before now and can be read `later` from now.
    fn happens(&self, id: &str, ago: SignedDuration, later: SignedDuration) {
        let (at, shown) = ((self.now() - ago).to_string(), self.now() + later);
        self.log.lock().unwrap().entries.push(Entry { id: id.to_owned(), at, shown });
    }

    async fn try_capture(&mut self, reconcile: bool) -> Result<Coverage, CaptureError> {
        let request = Request { reconcile, ..Request::default() };
        let body = self.capturer.as_mut().unwrap().capture(&request).await?.body;
        // A record that comes twice doesn't get through this.
        self.archived.fold(&self.world.store, &body).await;
        Ok(world::row(&body, "directoryAudit", None))
    }

    async fn capture(&mut self, reconcile: bool) -> Coverage {
        self.try_capture(reconcile).await.unwrap()
    }

    async fn complete(&mut self) {
        let row = self.capture(false).await;
        assert_eq!((row.st, row.code.as_deref()), (Status::Complete, None), "{row:?}");
    }

    fn hours(&self, hours: u64) {
        self.clock().advance(Duration::from_secs(3600 * hours));
    }

    fn ids(&self) -> BTreeSet<String> {
        let keys = self.archived.events.keys();
        keys.map(|key| key.strip_prefix("directoryAudit/").unwrap().to_owned()).collect()
    }

    fn happened(&self) -> BTreeSet<String> {
        self.log.lock().unwrap().entries.iter().map(|entry| entry.id.clone()).collect()
    }
}

const NOW: SignedDuration = SignedDuration::ZERO;
const OVERLAP: SignedDuration = SignedDuration::from_hours(12);

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

fn texts(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn what_arrives_late_is_recorded_once_when_it_arrives() {
    let mut records = Records::new(OVERLAP).await;
    records.happens("prompt", minutes(5), NOW);
    records.happens("late", minutes(10), hours(9));
    records.complete().await;
    assert_eq!(records.ids(), texts(&["prompt"]));
    for hour in 0..10 {
        records.hours(1);
        records.happens(&format!("hourly-{hour}"), minutes(1), NOW);
        records.complete().await;
        assert_eq!(records.ids().contains("late"), hour >= 8, "hour {hour}");
    }
    assert_eq!(records.ids(), records.happened());
}

/// What comes later than every hour allows for is found by the next whole read, which looks six times as far back.
#[tokio::test]
async fn what_arrives_too_late_for_an_hour_is_found_by_a_reconciliation() {
    let mut records = Records::new(OVERLAP).await;
    records.happens("prompt", minutes(5), NOW);
    records.happens("very late", minutes(10), hours(30));
    records.complete().await;
    for hour in 0..31 {
        records.hours(1);
        records.happens(&format!("hourly-{hour}"), minutes(1), NOW);
        records.complete().await;
    }
    assert!(!records.ids().contains("very%20late"), "no hour looks so far back");
    records.hours(1);
    assert_eq!(records.capture(true).await.st, Status::Complete);
    assert!(records.ids().contains("very%20late"));
    records.complete().await;
}

/// Records of the same instant as the last one known, and of earlier ones, come after it. Without any overlap only the
/// former can be told from what was read.
#[tokio::test]
async fn a_record_of_the_very_instant_of_the_last_one_is_not_passed_over() {
    for overlap in [NOW, OVERLAP] {
        let mut records = Records::new(overlap).await;
        records.happens("first", minutes(5), NOW);
        records.happens("same-instant", minutes(5), minutes(30));
        if overlap == OVERLAP {
            records.happens("earlier", minutes(90), minutes(30));
        }
        records.complete().await;
        assert_eq!(records.ids(), texts(&["first"]));
        records.hours(1);
        records.complete().await;
        assert_eq!(records.ids(), records.happened());
    }
}

#[tokio::test]
async fn a_page_that_fails_makes_no_hole() {
    let mut records = Records::new(NOW).await;
    records.happens("first", minutes(5), NOW);
    records.complete().await;
    records.hours(1);
    for number in 0..23 {
        records.happens(&format!("burst-{number}"), minutes(number + 1), NOW);
    }
    for page in 1..4 {
        records.log.lock().unwrap().fails = Some(page);
        let row = records.capture(false).await;
        assert_eq!((row.st, row.code.as_deref()), (Status::Partial, Some("server-error")), "page {page}");
        assert_eq!(records.ids().len(), 1 + page * 5, "the newest were read and are kept");
        records.hours(1);
        records.happens(&format!("meanwhile-{page}"), minutes(1), NOW);
        // They would push what was read onto the page that fails next.
        records.log.lock().unwrap().entries.pop();
    }
    records.log.lock().unwrap().fails = None;
    records.complete().await;
    assert_eq!(records.ids(), records.happened());
}

/// The service throws records away after a while. Where nobody looked for longer, nobody knows what is missing.
#[tokio::test]
async fn an_outage_longer_than_records_are_kept_is_told() {
    for (days, outage, expected) in
        [(7, 6 * 24, None), (7, 8 * 24, Some("retention")), (30, 8 * 24, None), (30, 31 * 24, Some("retention"))]
    {
        let mut records = Records::new(OVERLAP).await;
        records.log.lock().unwrap().days = days;
        records.happens("before", minutes(5), NOW);
        records.complete().await;
        for hour in 0..outage {
            records.hours(1);
            records.happens(&format!("during-{hour}"), minutes(5), NOW);
        }
        let row = records.capture(false).await;
        let status = if expected.is_some() { Status::Partial } else { Status::Complete };
        assert_eq!((row.st, row.code.as_deref()), (status, expected), "{days} days kept, {outage} hours of outage");
        assert_eq!(records.ids() == records.happened(), expected.is_none(), "{days} days kept, {outage} hours");
        // What is lost is told once, by the capture whose time it is about.
        records.hours(1);
        records.complete().await;
    }
}

/// Where nothing happens there is no record from before either: that is no outage.
#[tokio::test]
async fn a_quiet_month_with_hourly_captures_lacks_nothing() {
    let mut records = Records::new(OVERLAP).await;
    records.log.lock().unwrap().days = 7;
    records.happens("before", minutes(5), NOW);
    records.complete().await;
    for _ in 0..10 {
        records.hours(24);
        records.complete().await;
    }
}

/// A record from the future, by a clock that was wrong, must not make what follows look old.
#[tokio::test]
async fn a_record_dated_in_the_future_hides_nothing_that_follows() {
    let mut records = Records::new(NOW).await;
    records.happens("now", minutes(5), NOW);
    records.happens("next year", hours(-24 * 365), NOW);
    let now = records.now();
    records.log.lock().unwrap().entries.push(Entry { id: "never".to_owned(), at: "soon".to_owned(), shown: now });
    records.complete().await;
    for hour in 0..5 {
        records.hours(1);
        records.happens(&format!("hourly-{hour}"), minutes(30), NOW);
        records.complete().await;
    }
    let ids: BTreeSet<String> = records.happened().iter().map(|id| id.replace(' ', "%20")).collect();
    assert_eq!(records.ids(), ids);
}

/// Neither the index nor the local state holds anything that keeps a record from being recorded twice but what they were
/// made from: the archive.
#[tokio::test]
async fn nothing_is_recorded_twice_where_index_or_state_are_lost() {
    let mut records = Records::new(OVERLAP).await;
    for number in 0..12 {
        records.happens(&format!("first-{number}"), minutes(number), NOW);
    }
    records.complete().await;
    for lost in ["index", "state"] {
        records.hours(1);
        records.happens(&format!("before-{lost}"), minutes(5), NOW);
        records.complete().await;
        records.capturer = None;
        match lost {
            "index" => Index::destroy(&records.local.path().join("index")).unwrap(),
            _ => std::fs::remove_dir_all(records.local.path().join("state")).unwrap(),
        }
        records.hours(1);
        records.happens(&format!("after-{lost}"), minutes(5), NOW);
        records.open().await;
        records.complete().await;
        assert_eq!(records.ids(), records.happened(), "{lost}");
    }
    sound(&records.world.store, "events").await;
}

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// Eight days of records that come late, with equal times, on pages that repeat and fail, to captures of which some
/// don't take place.
async fn eight_days(seed: u64) {
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let mut records = Records::new(OVERLAP).await;
    let mut number = 0;
    for hour in 0..8 * 24 {
        records.hours(1);
        for _ in 0..dice.roll(6) {
            // Whole minutes, so that many have the same.
            let ago = minutes(dice.roll(20) as i64);
            let later = if dice.roll(4) == 0 { minutes(dice.roll(11 * 60) as i64) } else { NOW };
            records.happens(&format!("record-{number}"), ago, later);
            number += 1;
        }
        {
            let mut log = records.log.lock().unwrap();
            log.page = 3 + dice.roll(8) as usize;
            log.repeats = dice.roll(2) == 0;
            log.fails = (dice.roll(4) == 0).then(|| dice.roll(4) as usize);
        }
        match dice.roll(12) {
            0 => continue,
            1 => records.open().await,
            _ => {}
        }
        // Where not even the first page is to be had nothing at all was read, and nothing need be committed.
        let row = match records.try_capture(dice.roll(24) == 0).await {
            Ok(row) => row,
            Err(CaptureError::Graph(_)) => continue,
            Err(error) => panic!("seed {seed}, hour {hour}: {error:?}"),
        };
        let is_fine = match row.st {
            Status::Complete => row.code.is_none(),
            Status::Partial | Status::Carried => row.code.as_deref() == Some("server-error"),
            _ => false,
        };
        assert!(is_fine, "seed {seed}, hour {hour}: {row:?}");
    }
    records.log.lock().unwrap().fails = None;
    records.hours(12);
    records.complete().await;
    let (found, expected) = (records.ids(), records.happened());
    let lacking: Vec<_> = expected.difference(&found).collect();
    assert!(lacking.is_empty() && found.len() == expected.len(), "seed {seed}: {lacking:?} are missing");
}

#[tokio::test]
async fn eight_days_of_late_records_are_recorded_whole_and_once() {
    if let Some(seed) = std::env::var("TENURE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return eight_days(seed).await;
    }
    eight_days(1).await;
    eight_days(getrandom::u64().unwrap()).await;
}
