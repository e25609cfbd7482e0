//! `tenure serve`: the service, until it is told to stop.
//!
//! Must never know: what is due and how it is done. It makes the parts from configurations and keeps them running.
//!
//! Each tenant has a thread that captures and one that looks after its archive, each with a runtime of its own: what is
//! hard work for one keeps no other waiting, nor the probes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::SignedDuration;
use sd_notify::NotifyState;
use secrecy::ExposeSecret as _;

use super::failure::{Ended, Failure, Kind};
use super::session::{Session, check_tenant};
use super::storage::{self, Purpose};
use crate::archive::entry::entry_name;
use crate::archive::walker::WalkError;
use crate::capture::{Capturer, Stop, Stopper};
use crate::clock::Clock;
use crate::config::{Config, SecretPlace};
use crate::daemon::{self, Keeper, OpenFailure, Schedule, Service, Settings, Tasks, Tenant, Webhook, code};
use crate::query::Archive;
use crate::store::StoreError;
use crate::web::{Access, Api, Entra, Identity, LocalToken, Options, Shelf, Tls};

/// Arguments of `tenure serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// A receiver that didn't take an alarm is tried again after this, and then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// After so many refusals, some ten minutes, that is an alarm of its own.
const REFUSALS: u32 = 7;

/// So long may telling the supervisor take.
const TELLING: Duration = Duration::from_secs(2);

/// How often counts of denials are written down.
const MINUTE: Duration = Duration::from_secs(60);

/// How often the supervisor is told how things are.
const WORD_EVERY: Duration = Duration::from_secs(20);

/// One tenant's part.
struct Part {
    config: Config,
    tenant: Arc<Tenant>,
    webhook: Option<Webhook>,
}

/// Runs the command.
pub async fn run(_: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let main = session.config()?;
    let configs = configurations(&main, &session.variables)?;
    let mut parts = Vec::new();
    for config in configs {
        parts.push(part(config, &session.clock).await?);
    }
    let web = &main.web;
    let tls = match &web.tls {
        Some((certificate, key)) => {
            Some(Arc::new(Tls::new(certificate, key, session.clock.clone()).map_err(|error| {
                Failure::new(Kind::Configuration, error).hint("check tls_certificate_file and tls_key_file in [web]")
            })?))
        }
        None => None,
    };
    let listener = tokio::net::TcpListener::bind(web.listen).await.map_err(|error| {
        Failure::new(Kind::Failed, format!("{} can't be listened at: {error}", web.listen))
            .hint("set listen in [web] to an address of this machine that is free; another service may be running")
    })?;
    let address = listener.local_addr()?;
    let api = api(web, &parts, session)?;
    let (stopper, stop) = Stopper::new();
    let tenants: Vec<Arc<Tenant>> = parts.iter().map(|part| part.tenant.clone()).collect();
    let mut threads = Vec::new();
    let mut couriers = tokio::task::JoinSet::new();
    for Part { config, tenant, webhook } in parts {
        if let Some(webhook) = webhook {
            couriers.spawn(courier(tenant.clone(), webhook, session.clock.clone()));
        }
        threads.push(start(config, tenant, session.clock.clone(), stop.clone())?);
    }
    couriers.spawn(settle(tenants.clone(), session.clock.clone()));
    let mut signals = Signals::new()?;
    let app = crate::web::router(tenants.clone(), api, web.is_local());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let serving = {
        let (stop, clock) = (stop.clone(), session.clock.clone());
        tokio::spawn(async move { crate::web::serve(listener, app, tls, clock, stop.requested()).await })
    };
    session.console.notice(format!("tenure serves {} at {scheme}://{address}", names(&tenants)));
    tell(Word::Ready, &*session.clock).await;
    let ended = watch(&tenants, &threads, &mut signals, &*session.clock).await;
    tell(Word::Stopping, &*session.clock).await;
    stopper.stop();
    wait_for(threads, &mut signals, &*session.clock).await;
    couriers.abort_all();
    serving.abort();
    ended.map(|()| Ended::Done)
}

/// The configurations of all tenants: this one, and those that it names.
fn configurations(main: &Config, variables: &[(String, String)]) -> Result<Vec<Config>, Failure> {
    // What overrides options means the file that was named; secrets are everybody's.
    let is_option = |name: &str| name.strip_prefix("TENURE_").is_some_and(|rest| rest.contains("__"));
    let others: Vec<(String, String)> = variables.iter().filter(|(name, _)| !is_option(name)).cloned().collect();
    let mut configs = vec![main.clone()];
    for path in &main.service.tenants {
        let config = Config::load(path, &others)?;
        if !config.service.tenants.is_empty() {
            let text = format!("{} names further tenants, as only the first configuration may", path.display());
            return Err(Failure::new(Kind::Configuration, text).hint("name all of them in tenants of [service] there"));
        }
        configs.push(config);
    }
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for config in &configs {
        let own = [
            ("the tenant", config.tenant.id.clone()),
            ("the archive", config.store.to_string()),
            ("the index", config.index_path.display().to_string()),
            ("the state", config.state_path.display().to_string()),
        ];
        for (what, value) in own {
            if let Some(other) = seen.insert(format!("{what} {value}"), config.path.clone()) {
                let text = format!("{} and {} share {what} {value}", other.display(), config.path.display());
                return Err(Failure::new(Kind::Configuration, text).hint("each tenant has its own"));
            }
        }
    }
    Ok(configs)
}

/// What can be made, and found wrong, before anything begins. That a store can't be reached is no reason not to begin.
async fn part(config: Config, clock: &Arc<dyn Clock>) -> Result<Part, Failure> {
    let store = storage::open(&config, clock, Purpose::Write)?;
    match store.get(&entry_name(0)).await {
        Err(StoreError::NotFound { .. }) => return Err(WalkError::NoArchive.into()),
        // It may come back.
        Err(error) if error.is_transient() => {}
        Err(error) => return Err(error.into()),
        Ok(_) => check_tenant(&*store, &config).await?,
    }
    config.graph()?;
    super::capture::signing_key(&config.key_file)?;
    let webhook = match &config.service.receiver {
        Some(receiver) => {
            let secret = match &receiver.secret {
                SecretPlace::Variable(name) => config.secret(name)?.expose_secret().to_owned(),
                SecretPlace::File(path) => std::fs::read_to_string(path).map_err(|error| {
                    let text = format!("the webhook's secret {} cannot be read: {error}", path.display());
                    Failure::new(Kind::Configuration, text).hint("webhook_secret_file in [alarms] says where it is")
                })?,
            };
            let webhook = Webhook::new(&receiver.url, &secret, clock.clone());
            Some(webhook.map_err(|error| Failure::new(Kind::Configuration, error).hint("check [alarms]"))?)
        }
        None => None,
    };
    let tenant = Tenant::new(&config.tenant.id, &config.state_path, webhook.is_some(), clock.clone());
    Ok(Part { config, tenant: Arc::new(tenant), webhook })
}

/// What answers for these tenants, where the configuration wants that.
fn api(web: &Options, parts: &[Part], session: &mut Session<'_>) -> Result<Option<Arc<Api>>, Failure> {
    if !web.api {
        return Ok(None);
    }
    let clock = session.clock.clone();
    let access = match &web.identity {
        Identity::Issuer(issuer) => {
            let entra = Entra::new(issuer.clone(), clock.clone());
            let entra = entra.map_err(|error| Failure::new(Kind::Configuration, error).hint("check [web]"))?;
            Access::Entra(Box::new(entra))
        }
        Identity::TokenFile(path) => {
            let token = local_token(path)?;
            session.console.notice(format!("whoever has the token in {} may ask", path.display()));
            Access::TokenFile(LocalToken::new(&token))
        }
    };
    let mut shelves = Vec::new();
    for part in parts {
        let store = storage::open(&part.config, &clock, Purpose::Read)?;
        shelves.push(Arc::new(Shelf::new(part.tenant.clone(), store, &part.config.index_path)));
    }
    Ok(Some(Arc::new(Api::new(shelves, access, web.clone(), clock))))
}

/// The token that lets its holder ask, made where there is none yet; readable by the service's user alone.
fn local_token(path: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| {
        let text = format!("the token file {} can't be used: {error}", path.display());
        Failure::new(Kind::Configuration, text).hint("token_file in [web] says where it is, or where to make it")
    };
    match std::fs::read_to_string(path) {
        Ok(_) if is_open(path).map_err(wrong)? => {
            let text = format!("the token file {} can be read by others than the service's user", path.display());
            let hint = format!(
                "chmod 600 {}; if somebody may have read it, remove it, and the service makes another",
                path.display()
            );
            Err(Failure::new(Kind::Configuration, text).hint(hint))
        }
        Ok(token) if token.trim().len() >= 32 => Ok(token),
        Ok(_) => {
            let text = format!("the token file {} holds fewer than 32 characters", path.display());
            Err(Failure::new(Kind::Configuration, text).hint("remove it, and the service makes another"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
            let token = hex::encode(bytes) + "\n";
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory).map_err(wrong)?;
            }
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path).map_err(wrong)?;
            std::io::Write::write_all(&mut file, token.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
            Ok(token)
        }
        Err(error) => Err(wrong(error)),
    }
}

/// Whether others than its owner may read or write a file.
fn is_open(path: &Path) -> std::io::Result<bool> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path)?) & 0o077 != 0);
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(false)
    }
}

/// Begins to capture a tenant and to look after its archive.
fn start(
    config: Config,
    tenant: Arc<Tenant>,
    clock: Arc<dyn Clock>,
    stop: Stop,
) -> Result<[JoinHandle<()>; 2], Failure> {
    let schedule = &config.schedule;
    let schedule = Schedule::new(&schedule.capture, &schedule.reconcile, &schedule.time_zone)
        .map_err(|error| Failure::new(Kind::Configuration, error).hint("check [schedule]"))?;
    let settings = Settings { schedule, delay: config.service.delay, time_limit: config.capture.time_limit };
    let days = config.service.verification_days;
    let tasks = Tasks {
        store: storage::open(&config, &clock, Purpose::Write)?,
        guard: storage::guard(&config, &clock)?,
        verify_within: (days > 0).then(|| SignedDuration::from_hours(24 * days.cast_signed())),
        mirror: storage::mirror(&config, &clock, Purpose::Write)?,
    };
    let captures = {
        let (tenant, clock, stop) = (tenant.clone(), clock.clone(), stop.clone());
        thread(format!("capture {}", tenant.name), move || async move {
            let open = opener(config, tenant.clone(), clock.clone());
            Service::new(tenant, settings, clock, open, stop).run().await;
        })?
    };
    let keeping = thread(format!("keep {}", tenant.name), move || async move {
        Keeper::new(tenant, tasks, clock, stop).run().await;
    })?;
    Ok([captures, keeping])
}

/// A thread with a runtime of its own.
fn thread<F: Future<Output = ()>>(
    name: String,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<()>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(std::thread::Builder::new().name(name).spawn(move || runtime.block_on(work()))?)
}

/// Opens a tenant's archive and client as the configuration has them, and as the files of secrets are by now.
fn opener(config: Config, tenant: Arc<Tenant>, clock: Arc<dyn Clock>) -> daemon::Opener {
    Box::new(move || {
        let (config, tenant, clock) = (config.clone(), tenant.clone(), clock.clone());
        Box::pin(async move {
            open(&config, &tenant, clock).await.map_err(|failure| OpenFailure {
                code: if failure.kind == Kind::Failed { code::UNWRITABLE } else { code::FAILED },
                text: failure.chain().into_iter().chain(failure.hints).collect::<Vec<_>>().join(": "),
            })
        })
    })
}

async fn open(config: &Config, tenant: &Tenant, clock: Arc<dyn Clock>) -> Result<Capturer, Failure> {
    let store = storage::open(config, &clock, Purpose::Write)?;
    check_tenant(&*store, config).await?;
    // Opening for questions repairs an index that is stale or damaged; of a large archive that takes a while.
    let index = &config.index_path;
    drop(Archive::open(store.clone(), index, |_| {}, |_, _| tenant.beat()).await?);
    super::capture::open(config, store, clock).await
}

/// Writes down, once a minute, how many strangers were turned away.
async fn settle(tenants: Vec<Arc<Tenant>>, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(MINUTE).await;
        let tenants = tenants.clone();
        let settling = tokio::task::spawn_blocking(move || {
            for tenant in &tenants {
                if let Err(error) = tenant.ledger.settle() {
                    tracing::warn!(error = &error as &dyn std::error::Error, "denials are counted and not written yet");
                }
            }
        });
        if let Err(error) = settling.await {
            tracing::error!(error = &error as &dyn std::error::Error, "denials were not written");
        }
    }
}

/// Delivers one tenant's alarms as they come.
async fn courier(tenant: Arc<Tenant>, webhook: Webhook, clock: Arc<dyn Clock>) {
    let (mut wait, mut refusals) = (FIRST_WAIT, 0);
    loop {
        match tenant.deliver(&webhook).await {
            None => {
                (wait, refusals) = (FIRST_WAIT, 0);
                tenant.noticed.notified().await;
            }
            Some(why) => {
                refusals += 1;
                tracing::warn!(tenant = tenant.name, again_in = wait.as_secs(), "the receiver of alarms {why}");
                if refusals == REFUSALS {
                    tenant.not_taken(&why);
                }
                clock.sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Tells the supervisor how things are until somebody says stop. Fails where a part ended by itself.
async fn watch(
    tenants: &[Arc<Tenant>],
    threads: &[[JoinHandle<()>; 2]],
    signals: &mut Signals,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let pause = sd_notify::watchdog_enabled().map_or(WORD_EVERY, |limit| (limit / 3).min(WORD_EVERY));
    loop {
        if tenants.iter().all(|tenant| tenant.is_alive()) {
            tell(Word::Alive, clock).await;
        } else {
            tracing::warn!("a tenant's service doesn't get on; the supervisor isn't told otherwise");
        }
        tell(Word::Status(words(tenants)), clock).await;
        if let Some(thread) = threads.iter().flatten().find(|thread| thread.is_finished()) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            return Err(Failure::new(Kind::Failed, format!("the part {name:?} of the service ended by itself"))
                .hint("this is a fault of Tenure: report it with the log; a supervisor starts the service again"));
        }
        tokio::select! {
            () = clock.sleep(pause) => {}
            () = signals.stop() => return Ok(()),
        }
    }
}

/// Waits until every part has ended, telling the supervisor that it takes as long as it takes; a second signal ends it.
async fn wait_for(threads: Vec<[JoinHandle<()>; 2]>, signals: &mut Signals, clock: &dyn Clock) {
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads.into_iter().flatten() {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(part = name, "ended in a panic");
            }
        }
    });
    tell(Word::Patience, clock).await;
    tokio::select! {
        _ = joined => {}
        () = signals.stop() => tracing::warn!("told to stop twice: what is being committed is left to the next run"),
    }
}

/// What the supervisor shows.
fn words(tenants: &[Arc<Tenant>]) -> String {
    let word = |tenant: &Arc<Tenant>| {
        let health = tenant.health();
        let last = health.last.map_or("no capture yet".to_owned(), |last| format!("#{} at {}", last.seq, last.time));
        let alarms = match health.alarms.len() {
            0 => String::new(),
            count => format!(", {}", super::render::count(count as u64, "alarm", "alarms")),
        };
        format!("{}: {}, {last}{alarms}", health.tenant, health.doing.as_str())
    };
    tenants.iter().map(word).collect::<Vec<_>>().join("; ")
}

fn names(tenants: &[Arc<Tenant>]) -> String {
    tenants.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What the supervisor is told.
enum Word {
    Ready,
    Alive,
    Status(String),
    Stopping,
    /// What is being committed takes its time.
    Patience,
}

/// Without a supervisor this does nothing; one that can't be reached, or doesn't listen, is no reason to stop or to wait.
async fn tell(word: Word, clock: &dyn Clock) {
    let telling = tokio::task::spawn_blocking(move || {
        sd_notify::notify(&[match &word {
            Word::Ready => NotifyState::Ready,
            Word::Alive => NotifyState::Watchdog,
            Word::Status(text) => NotifyState::Status(text),
            Word::Stopping => NotifyState::Stopping,
            Word::Patience => NotifyState::ExtendTimeoutUsec(300_000_000),
        }])
    });
    tokio::select! {
        told = telling => {
            if let Ok(Err(error)) = told {
                tracing::debug!(error = &error as &dyn std::error::Error, "the supervisor can't be told");
            }
        }
        () = clock.sleep(TELLING) => tracing::warn!("the supervisor doesn't listen"),
    }
}

/// What tells the service to stop.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        #[cfg(unix)]
        return Ok(Signals { terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())? });
        #[cfg(not(unix))]
        Ok(Signals {})
    }

    async fn stop(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
