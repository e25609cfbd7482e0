//! A simulated tenant, an archive of it and machines that capture it, each part of which a test may break on its own.
//!
//! Must never know: which fault is being tested.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[allow(clippy::duplicate_mod, reason = "a test may have both a world and scripted servers")]
#[path = "openapi.rs"]
mod openapi;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use openapi::Watched;
use secrecy::SecretString;
use tempfile::TempDir;
use tenure::archive::appender::{Appender, RememberedHead};
use tenure::archive::entry::{Body, Entry, PackRef, checkpoint_name, entry_name};
use tenure::archive::note::Signer;
use tenure::archive::verify::{Options as VerifyOptions, Report, Severity, verify};
use tenure::capture::{CaptureError, Capturer, Committed, Local, Options, Progress, Request};
use tenure::clock::{Clock, ManualClock};
use tenure::graph::{Credential, Options as GraphOptions, Reader};
use tenure::index::Index;
use tenure::simulator::{Options as TenantOptions, Simulator};
use tenure::store::{Listed, MemoryStore, Operation, Store};

/// The log's name.
pub const ORIGIN: &str = "tenure/faults";

pub fn signer() -> Signer {
    Signer::from_seed(ORIGIN, [1; 32])
}

/// The key that is kept offline.
pub fn recovery() -> Signer {
    Signer::from_seed(ORIGIN, [2; 32])
}

/// A tenant and an archive that has been started for it.
pub struct World {
    pub clock: ManualClock,
    pub tenant: Watched,
    pub store: MemoryStore,
    start: Timestamp,
}

impl World {
    /// A tenant of `users` accounts that begins at `start`, and an archive with a genesis entry.
    pub async fn new(seed: u64, users: usize, start: &str) -> World {
        let world = World::without_archive(seed, users, start).await;
        Appender::initialise(Arc::new(world.store.clone()), signer(), &world.genesis()).await.unwrap();
        world
    }

    pub async fn without_archive(seed: u64, users: usize, start: &str) -> World {
        let start: Timestamp = start.parse().unwrap();
        let options = TenantOptions { seed, users, start, episodes: false, ..TenantOptions::default() };
        World::of(options).await
    }

    /// A tenant by `options`, and an archive with a genesis entry.
    pub async fn with_archive(options: TenantOptions) -> World {
        let world = World::of(options).await;
        Appender::initialise(Arc::new(world.store.clone()), signer(), &world.genesis()).await.unwrap();
        world
    }

    async fn of(options: TenantOptions) -> World {
        let start = options.start;
        let clock = ManualClock::new(start);
        let tenant = Watched(Simulator::start(options, clock.clone()).await.unwrap());
        World { clock, tenant, store: MemoryStore::new(), start }
    }

    pub fn genesis(&self) -> Body {
        let tenant = self.tenant.tenant_id();
        Body::genesis(signer().verifier(), recovery().verifier(), &tenant, serde_json::json!({}), self.start)
    }

    /// An hour goes by; the tenant lives through it.
    pub fn hour(&self) {
        self.quiet_hour();
        self.tenant.live_until(self.clock.now());
    }

    /// An hour goes by in which nothing happens in the tenant.
    pub fn quiet_hour(&self) {
        self.clock.advance(Duration::from_secs(3600));
    }

    /// A client of the tenant.
    pub fn reader(&self) -> Reader {
        self.reader_by(&self.tenant.url(), Arc::new(self.clock.clone()))
    }

    /// A client that reaches the tenant at `url` and goes by `clock`.
    pub fn reader_by(&self, url: &str, clock: Arc<dyn Clock>) -> Reader {
        let secret = SecretString::from(self.tenant.client_secret());
        let credential = Credential::ClientSecret { client_id: self.tenant.client_id(), secret };
        let mut options = GraphOptions::new(self.tenant.tenant_id(), credential);
        options.graph_url = Some(url.to_owned());
        options.login_url = Some(url.to_owned());
        Reader::new(options, clock).unwrap()
    }

    /// A process that starts on `machine` and writes to `store`.
    pub async fn open_on(&self, store: Arc<dyn Store>, machine: &Path) -> Result<Capturer, CaptureError> {
        self.open_with(store, machine, self.reader(), Arc::new(self.clock.clone()), options()).await
    }

    pub async fn open_with(
        &self,
        store: Arc<dyn Store>,
        machine: &Path,
        reader: Reader,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Capturer, CaptureError> {
        let index = Index::open(&machine.join("index"))?;
        let progress = Progress::open(&machine.join("state"))?;
        Capturer::open(store, signer(), Local { index, progress, remembered: None }, reader, clock, options).await
    }

    /// The usual case: the archive of this world.
    pub async fn open(&self, machine: &TempDir) -> Capturer {
        self.open_on(Arc::new(self.store.clone()), machine.path()).await.unwrap()
    }

    /// As [`World::open`], with everything that can be captured.
    pub async fn open_all(&self, machine: &TempDir) -> Capturer {
        let options = Options { sweep_captures: 6, ..Options::default() };
        let (store, clock) = (Arc::new(self.store.clone()), Arc::new(self.clock.clone()));
        self.open_with(store, machine.path(), self.reader(), clock, options).await.unwrap()
    }

    /// The archive's own signer, outside of any capture.
    pub async fn appender(&self) -> Appender {
        Appender::open(Arc::new(self.store.clone()), signer(), None).await.unwrap()
    }

    /// The entries of the archive, junk left out.
    pub fn entries(&self) -> BTreeMap<u64, Entry> {
        entries(&self.store.snapshot())
    }
}

/// What changes by itself, so that there would be no hours in which nothing happens.
const RESTLESS: &[&str] = &[
    "user#activity",
    "user#sync",
    "group#sync",
    "device#activity",
    "device#sync",
    "organization#sync",
    "userRegistrationDetails",
    "directoryAudit",
    "recoverySnapshot",
    // One for each user: what these tests count is users.
    "strongAuthenticationRequirements",
];

/// As captures of these tests are done: without what changes by itself.
pub fn options() -> Options {
    let off = RESTLESS.iter().map(|row| (*row).to_owned()).collect();
    Options { sweep_captures: 6, off, ..Options::default() }
}

/// A capture that reads the feeds.
pub async fn capture(capturer: &mut Capturer) -> Committed {
    capturer.capture(&Request::default()).await.unwrap()
}

/// A capture that reads everything whole besides.
pub async fn reconcile(capturer: &mut Capturer) -> Committed {
    capturer.capture(&Request { reconcile: true, ..Request::default() }).await.unwrap()
}

pub fn machine() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Another machine with the same local state.
pub fn copy_of(machine: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(machine, copy.path());
    copy
}

fn copy_directory(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_directory(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

/// The entries among `blobs`, junk left out.
pub fn entries(blobs: &BTreeMap<String, Vec<u8>>) -> BTreeMap<u64, Entry> {
    let files = blobs.iter().filter_map(|(name, file)| Some((name.strip_prefix("log/e/")?.parse().ok()?, file)));
    files.filter_map(|(seq, file)| Some((seq, Entry::parse(file).ok()?))).collect()
}

/// Every pack that an entry commits to.
pub fn packs(body: &Body) -> Vec<PackRef> {
    let delta = body.delta.iter().flat_map(|delta| &delta.packs);
    let base = body.base.iter().flat_map(|base| &base.packs);
    delta.chain(base).chain(body.packs.iter().flatten()).cloned().collect()
}

/// The letter of a pack's kind.
pub fn kind_of(name: &str) -> char {
    name.rsplit('/').next().and_then(|file| file.split('-').nth(1)?.chars().next()).expect("the name of a pack")
}

/// The lines of every pack of `kind` that `body` commits to.
pub fn lines(blobs: &BTreeMap<String, Vec<u8>>, body: &Body, kind: char) -> Vec<String> {
    let mut found = Vec::new();
    for pack in packs(body).iter().filter(|pack| kind_of(&pack.n) == kind) {
        let text = zstd::decode_all(blobs[&pack.n].as_slice()).unwrap();
        found.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
    }
    found
}

pub async fn verified(store: &dyn Store) -> Report {
    verify(store, &VerifyOptions { deep: true, ..VerifyOptions::default() }, |_, _| ()).await.unwrap()
}

/// Verifies deeply, and requires that nothing is wrong; returns the codes of notes and warnings.
pub async fn sound(store: &dyn Store, context: &str) -> BTreeSet<&'static str> {
    let report = verified(store).await;
    assert!(report.is_ok(), "{context}: {:#?}", report.findings);
    report.findings.iter().map(|finding| finding.code).collect()
}

/// What a report says at one severity: code and file.
pub fn said(report: &Report, severity: Severity) -> BTreeSet<(&'static str, String)> {
    let findings = report.findings.iter().filter(|finding| finding.severity == severity);
    findings.map(|finding| (finding.code, finding.name.clone())).collect()
}

pub fn findings(report: &Report) -> BTreeSet<(&'static str, String)> {
    said(report, Severity::Finding)
}

/// What is required of the same archive written twice: the same entries as far as they speak of the tenant, the same
/// packs byte by byte, a signed head. Times, runs and receipts may differ.
pub fn assert_same_archive(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, context: &str) {
    let speaking = |blobs: &BTreeMap<String, Vec<u8>>| -> Vec<_> {
        entries(blobs)
            .into_values()
            .map(|entry| {
                let body = entry.body;
                let delta = body.delta.as_ref().map(|d| (d.root, d.put, d.del, d.ladd, d.ldel));
                let names: Vec<String> =
                    packs(&body).into_iter().map(|p| p.n).filter(|name| kind_of(name) != 'r').collect();
                (body.seq, body.kind, body.state, delta, body.slot, body.last_slot, body.segment, names)
            })
            .collect()
    };
    let of_kind = |blobs: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        let kept = |name: &str| !name.starts_with("log/") && kind_of(name) != 'r';
        blobs.iter().filter(|(name, _)| kept(name)).map(|(name, file)| (name.clone(), file.clone())).collect()
    };
    assert_eq!(speaking(found), speaking(expected), "{context}");
    assert!(of_kind(found) == of_kind(expected), "{context}: other packs");
    let size = entries(found).len() as u64;
    assert!(found.contains_key(&checkpoint_name(size)), "{context}: the head is not signed");
    assert!(!found.contains_key(&entry_name(size)), "{context}: a hole");
}

/// What the archive says of a property of the object with `key` now, by its index.
pub async fn content(capturer: &Capturer, key: &str) -> Option<serde_json::Value> {
    let view = capturer.index().view().unwrap();
    let id = view.id(&key.parse().unwrap()).unwrap()?;
    let version = view.version_at(id, u64::from(u32::MAX)).unwrap()?;
    if version.kind == tenure::index::VersionKind::Removed {
        return None;
    }
    let pack = view.pack(version.pack).unwrap();
    let line = capturer.lines().line(&pack.name, pack.len, version.place).await.unwrap();
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    Some(line["c"].clone())
}

/// Keys of a collection that the archive holds as present now.
pub fn present(capturer: &Capturer, collection: &str) -> BTreeSet<String> {
    let view = capturer.index().view().unwrap();
    let all = view.keys_after(None, usize::MAX).unwrap();
    let of_it = all.into_iter().filter(|(key, _)| key.collection() == collection);
    of_it
        .filter(|(_, id)| {
            let version = view.version_at(*id, u64::from(u32::MAX)).unwrap();
            version.is_some_and(|version| version.kind != tenure::index::VersionKind::Removed)
        })
        .map(|(key, _)| key.to_string())
        .collect()
}

/// The row of coverage of a collection or relation.
pub fn row(body: &Body, collection: &str, relation: Option<&str>) -> tenure::archive::entry::Coverage {
    let mut rows = body.cover.iter().flatten();
    rows.find(|row| row.c == collection && row.r.as_deref() == relation).expect("a row of it").clone()
}

/// Everything that a store holds.
pub async fn blobs(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let mut blobs = BTreeMap::new();
    for listed in store.list("", "").await.unwrap() {
        blobs.insert(listed.name.clone(), store.get(&listed.name).await.unwrap());
    }
    blobs
}

/// The head that a machine remembers after having read `store` to its end.
pub async fn head_of(store: &dyn Store) -> RememberedHead {
    let (walker, _) = tenure::archive::appender::follow(store, None).await.unwrap();
    RememberedHead::of(&walker).unwrap()
}

/// What a [`Hooked`] store does before an operation: its word and the blob's name.
pub type Hook = dyn Fn(&'static str, &str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A store that lets a test act just before an operation takes place.
pub struct Hooked {
    inner: Arc<dyn Store>,
    before: Box<Hook>,
}

impl Hooked {
    pub fn new(
        inner: Arc<dyn Store>,
        before: impl Fn(&'static str, &str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static,
    ) -> Hooked {
        Hooked { inner, before: Box::new(before) }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Store for Hooked {
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> Operation<'a, ()> {
        Box::pin(async move {
            (self.before)("create", name).await;
            self.inner.create(name, bytes).await
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Operation<'a, Vec<u8>> {
        Box::pin(async move {
            (self.before)("get", name).await;
            self.inner.get(name).await
        })
    }

    fn get_range<'a>(&'a self, name: &'a str, range: Range<u64>) -> Operation<'a, Vec<u8>> {
        Box::pin(async move {
            (self.before)("get_range", name).await;
            self.inner.get_range(name, range).await
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: &'a str) -> Operation<'a, Vec<Listed>> {
        Box::pin(async move {
            (self.before)("list", prefix).await;
            self.inner.list(prefix, after).await
        })
    }

    fn is_provisioned<'a>(&'a self, root: &'a str) -> Operation<'a, bool> {
        Box::pin(async move {
            (self.before)("is_provisioned", root).await;
            self.inner.is_provisioned(root).await
        })
    }
}
