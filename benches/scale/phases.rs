//! What is measured, each in a process of its own: a figure is printed as `name value`.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tenure::archive::entry::{Body, PackRef};
use tenure::archive::note::Signer;
use tenure::archive::pack::{self, Kind, PackWriter, Place};
use tenure::archive::reader::read_pack;
use tenure::archive::verify;
use tenure::archive::{Key, appender::Appender};
use tenure::capture::{Capturer, Local, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::collect::{COLLECTIONS, Sighting};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::hash::Hash;
use tenure::index::Index;
use tenure::query::{Archive, Moment, Scope};
use tenure::store::{FilesystemStore, Store};
use tenure::{canonical, model};

use super::measure::{Meter, cpu_seconds, median, peak_megabytes, size_of};
use super::tenant;

const TENANT: &str = "00000000-0000-4000-8000-000000000007";
/// Object changes in a million objects: 0.1 %.
const CHANGES: u64 = 1000;

/// Where everything is.
pub struct World {
    pub directory: PathBuf,
    pub url: String,
    pub now: Timestamp,
    pub objects: u32,
}

/// Prints one figure.
fn say(name: &str, figure: f64) {
    println!("{name} {figure}");
}

fn signer() -> Signer {
    Signer::from_seed("tenure/bench", [1; 32])
}

impl World {
    fn archive(&self) -> PathBuf {
        self.directory.join("archive")
    }

    fn index(&self) -> PathBuf {
        self.directory.join("index")
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(FilesystemStore::new(self.archive()))
    }

    fn reader(&self, clock: &Arc<dyn Clock>) -> Reader {
        let secret = SecretString::from("secret".to_owned());
        let mut options = GraphOptions::new(TENANT, Credential::ClientSecret { client_id: "bench".to_owned(), secret });
        options.graph_url = Some(self.url.clone());
        options.login_url = Some(self.url.clone());
        Reader::new(options, clock.clone()).expect("loopback is a good address")
    }

    async fn capturer(&self, clock: &ManualClock) -> Capturer {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let index = Index::open(&self.index()).expect("the index opens");
        let progress = Progress::open(&self.directory.join("state")).expect("the state opens");
        let reader = self.reader(&clock);
        let options = Options::default();
        let opened =
            Capturer::open(self.store(), signer(), Local { index, progress, remembered: None }, reader, clock, options)
                .await;
        opened.expect("the archive opens")
    }

    pub async fn initialise(&self) {
        let recovery = Signer::from_seed("tenure/bench", [2; 32]);
        let lists = serde_json::json!({});
        let genesis = Body::genesis(signer().verifier(), recovery.verifier(), TENANT, lists, self.now);
        Appender::initialise(self.store(), signer(), &genesis).await.expect("a new directory");
    }

    /// Asks the tenant to change.
    fn change(&self) {
        let host = self.url.trim_start_matches("http://");
        let mut stream = std::net::TcpStream::connect(host).expect("the tenant serves");
        let path = format!("/control/change?$permillion={CHANGES}");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("a request");
        stream.read_to_end(&mut Vec::new()).expect("an answer");
    }

    /// Some captures, one a day; prints the middle of each figure.
    pub async fn capture(&self, times: u32, change: bool, reconcile: bool) {
        let clock = ManualClock::new(self.now);
        let mut capturer = self.capturer(&clock).await;
        let mut figures: Vec<[f64; 7]> = Vec::new();
        for _ in 0..times {
            if change {
                self.change();
            }
            let before = size_of(&self.archive());
            let meter = Meter::start();
            let request = Request { slot: Some(clock.now()), reconcile, ..Request::default() };
            let body = capturer.capture(&request).await.expect("a capture").body;
            let (cpu, wall) = (meter.cpu(), meter.wall());
            let after = size_of(&self.archive());
            let delta = body.delta.expect("a capture has one");
            let records = (delta.put + delta.del + delta.ladd + delta.ldel) as f64;
            let received = body.cover.iter().flatten().filter_map(|row| row.n).sum::<u64>() as f64;
            let (bytes, files) = ((after.0 - before.0) as f64, (after.1 - before.1) as f64);
            figures.push([cpu, wall, bytes, files, records, received, f64::from(body.state.objects as u32)]);
            clock.advance(Duration::from_secs(86_400));
        }
        let names = ["cpu", "wall", "bytes", "files", "records", "received", "objects"];
        for (at, name) in names.iter().enumerate() {
            say(name, median(figures.iter().map(|figures| figures[at]).collect()));
        }
        say("peak", peak_megabytes());
    }

    /// Reads what a capture reads, and drops it: what HTTP, parsing and canonicalising cost by themselves.
    pub async fn collect(&self, reconcile: bool) {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(self.now));
        let reader = self.reader(&clock);
        let meter = Meter::start();
        for recipe in COLLECTIONS.iter().filter(|recipe| recipe.parent().is_none()) {
            // A reconciliation's rounds of the feed are short; its lists are what it reads.
            let by_feed = recipe.has_feed() && !reconcile;
            let keys = drain(async |out| {
                match by_feed {
                    true => recipe.feed(&reader, None, &out).await,
                    false => recipe.whole(&reader, &[], &out).await,
                };
            });
            let keys = keys.await;
            for relation in recipe.relations.iter().filter(|r| !r.feed || reconcile && !r.single) {
                let sources = keys.clone();
                drain(async |out| {
                    drop(recipe.links(relation, &reader, sources.into_iter().map(Into::into).collect(), &out).await)
                })
                .await;
            }
            for child in COLLECTIONS.iter().filter(|child| child.parent().is_some_and(|(p, _)| p == recipe.collection))
            {
                let sources = keys.clone();
                drain(async |out| drop(child.children(&reader, sources, &out).await)).await;
            }
        }
        say("cpu", meter.cpu());
        say("wall", meter.wall());
        say("peak", peak_megabytes());
    }

    /// A question answered from nothing: index and archive opened, one object with its links as of a capture.
    pub async fn show(&self, key: &str, seq: u64) {
        let archive = Archive::open(self.store(), &self.index(), |_| (), |_, _| ()).await.expect("the archive opens");
        ask(&archive, key, seq).await;
        say("cpu", cpu_seconds());
    }

    /// The same inside a process that stays, each question about another object.
    pub async fn ask_many(&self, seq: u64) {
        let archive = Archive::open(self.store(), &self.index(), |_| (), |_, _| ()).await.expect("the archive opens");
        let users = self.objects / 100 * 80;
        let keys: Vec<String> =
            (0..2000).map(|n| format!("user/{}", tenant::id(tenant::Kind::User, n * 7919 % users))).collect();
        let mut times = Vec::new();
        for key in &keys {
            let meter = std::time::Instant::now();
            ask(&archive, key, seq).await;
            times.push(meter.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        say("median", times[times.len() / 2]);
        say("late", times[times.len() * 99 / 100]);
        let again = Meter::start();
        for _ in 0..1000 {
            ask(&archive, &keys[0], seq).await;
        }
        say("warm", again.cpu() / 1000.0);
        say("peak", peak_megabytes());
    }

    /// What differs between two captures.
    pub async fn diff(&self, from: u64, to: u64) {
        let archive = Archive::open(self.store(), &self.index(), |_| (), |_, _| ()).await.expect("the archive opens");
        let meter = Meter::start();
        let instant = |seq| archive.at(&Moment::Capture(seq), self.now).expect("a capture");
        let mut found = 0;
        let each = |_| {
            found += 1;
            Ok(ControlFlow::Continue(()))
        };
        archive.difference(&instant(from), &instant(to), &Scope::default(), each).await.expect("an answer");
        say("cpu", meter.cpu());
        say("wall", meter.wall());
        say("found", f64::from(found));
        say("peak", peak_megabytes());
    }

    pub async fn verify(&self, deep: bool) {
        let options = verify::Options { deep, ..verify::Options::default() };
        let meter = Meter::start();
        let report = verify::verify(&*self.store(), &options, |_, _| ()).await.expect("an archive");
        say("cpu", meter.cpu());
        say("wall", meter.wall());
        say("peak", peak_megabytes());
        say("bytes", report.checked.bytes as f64);
        say("entries", report.checked.entries as f64);
        say("roots", report.checked.roots as f64);
        assert!(report.is_ok(), "{:?}", report.findings);
    }

    /// Builds an index beside the one there is.
    pub async fn rebuild(&self) {
        let directory = tempfile::tempdir_in(&self.directory).expect("a directory");
        let meter = Meter::start();
        let index = Index::open(directory.path()).expect("an empty index");
        index.catch_up(&self.store(), |_, _| ()).await.expect("a sound archive");
        say("cpu", meter.cpu());
        say("wall", meter.wall());
        let (keys, versions, links) = index.view().and_then(|view| view.counts()).expect("counts");
        say("records", (versions + links) as f64);
        // Keys both ways, versions, links both ways, leaves: every row of a table that grows with the tenant.
        say("rows", (2 * keys + versions + 2 * links + keys) as f64);
        say("bytes", size_of(directory.path()).0 as f64);
        say("peak", peak_megabytes());
    }

    /// Packs against zstd on the same lines, and what becomes of JSON on its way into a pack.
    pub async fn packs(&self) {
        let store = self.store();
        let (mut deltas, mut bases) = (Vec::new(), Vec::new());
        for blob in store.list("log/e/", "").await.expect("a listing") {
            let file = store.get(&blob.name).await.expect("an entry");
            let body = tenure::archive::entry::Entry::parse(&file).expect("a sound entry").body;
            deltas.extend(body.delta.into_iter().filter(|_| body.base.is_none()).map(|delta| delta.packs));
            bases.extend(body.base.map(|base| base.packs));
        }
        let mut figures = Vec::new();
        for packs in deltas.iter().filter(|packs| !packs.is_empty()) {
            let lines = lines_of(&*store, packs).await;
            let floor = zstd::bulk::compress(&lines, 19).expect("memory").len() as f64;
            let ours = packs.iter().map(|pack| pack.len).sum::<u64>() as f64;
            figures.push((ours / floor, ours, floor));
        }
        say("delta_ratio", median(figures.iter().map(|(ratio, ..)| *ratio).collect()));
        say("delta_bytes", median(figures.iter().map(|(_, ours, _)| *ours).collect()));
        say("delta_floor", median(figures.iter().map(|(.., floor)| *floor).collect()));
        let base = bases.first().expect("a first capture");
        let lines = lines_of(&*store, base).await;
        let ours = base.iter().map(|pack| pack.len).sum::<u64>() as f64;
        let meter = Meter::start();
        let floor = zstd::bulk::compress(&lines, 9).expect("memory").len() as f64;
        say("base_floor_cpu", meter.cpu());
        say("base_ratio", ours / floor);
        say("base_bytes", ours);
        say("base_raw", lines.len() as f64);
        let place = Place { container: "2026-06".to_owned(), segment: 1, seq: 1 };
        let meter = Meter::start();
        let written = pack::write(&place, Kind::Base, &lines).iter().map(|part| part.file.len()).sum::<usize>();
        say("base_cpu", meter.cpu());
        assert!(written > 0);
    }

    /// The way of JSON from a body to a pack without HTTP, in CPU seconds a step.
    pub fn throughput(&self) {
        let tenant = tenant::Tenant::new(self.objects.min(50_000));
        let pages: Vec<String> =
            (0..20).map(|page| tenant.list_page(tenant::Kind::User, page * 999, "http://127.0.0.1")).collect();
        let megabytes = pages.iter().map(String::len).sum::<usize>() as f64 / 1e6;
        let meter = Meter::start();
        let parsed: Vec<_> =
            pages.iter().map(|page| canonical::parse(page.as_bytes()).expect("the tenant writes JSON")).collect();
        say("parse", megabytes / meter.cpu());
        let rules = model::rules();
        let meter = Meter::start();
        let mut written = Vec::new();
        for item in parsed.iter().flat_map(|page| page.get("value").and_then(|v| v.elements()).unwrap_or_default()) {
            written.push(canonical::canonicalize(item, &rules).expect("plain values"));
        }
        say("canonicalise", megabytes / meter.cpu());
        let meter = Meter::start();
        let zero = written.iter().filter(|bytes| Hash::of(bytes).is_zero()).count();
        assert_eq!(zero, 0);
        say("hash", megabytes / meter.cpu());
        let meter = Meter::start();
        let place = Place { container: "2026-06".to_owned(), segment: 1, seq: 1 };
        let mut writer = PackWriter::new(place, Kind::Base);
        let mut parts = Vec::new();
        for (number, content) in written.into_iter().enumerate() {
            let key = Key::new("user", &tenant::id(tenant::Kind::User, number as u32));
            let mut line = format!("{{\"k\":\"{key}\",\"c\":").into_bytes();
            line.extend_from_slice(&content);
            line.extend_from_slice(b"}\n");
            parts.extend(writer.push(&line));
        }
        parts.extend(writer.finish());
        say("pack", megabytes / meter.cpu());
        assert!(!parts.is_empty());
    }

    /// Bytes of everything that was committed, and of the index.
    pub fn sizes(&self) {
        let (bytes, files) = size_of(&self.archive());
        say("archive", bytes as f64);
        say("files", files as f64);
        say("index", size_of(&self.index()).0 as f64);
    }
}

/// Lets a reader run into a sink that keeps the keys of objects and drops everything.
async fn drain(read: impl AsyncFnOnce(tenure::collect::Sink)) -> Vec<Key> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Vec<Sighting>>(4);
    let take = async {
        let mut keys = Vec::new();
        while let Some(page) = receiver.recv().await {
            keys.extend(page.into_iter().filter_map(|sighting| match sighting {
                Sighting::Object { key, .. } if key.collection() != "user" => Some(key),
                _ => None,
            }));
        }
        keys
    };
    tokio::join!(read(sender), take).1
}

async fn ask(archive: &Archive, key: &str, seq: u64) {
    let at = archive.at(&Moment::Capture(seq), Timestamp::MAX).expect("a capture");
    let key: Key = key.parse().expect("a key");
    let id = archive.view().id(&key).expect("an index").expect("a key of the tenant");
    let answer = archive.as_of(&key, id, &at).await.expect("an answer");
    assert!(answer.is_present());
}

async fn lines_of(store: &dyn Store, packs: &[PackRef]) -> Vec<u8> {
    let mut lines = Vec::new();
    for pack in packs {
        let read = read_pack(store, pack, |line, _| {
            lines.extend_from_slice(line);
            lines.push(b'\n');
        });
        read.await.expect("a sound pack");
    }
    lines
}

/// Whether `directory` lies on a disk that this can be measured on.
pub fn prepare(directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory to work in");
}
