//! `tenure demo`: two months of a simulated tenant through the real pipeline, then a guided tour with real answers.
//!
//! Must never know: how anything is read, committed or answered. It calls the same commands that a person would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::capture;
use super::console::Progress;
use super::failure::{Ended, Failure, Kind};
use super::session::Session;
use super::storage::{self, Purpose};
use super::{run_within, state};
use crate::capture::{Capturer, Request};
use crate::clock::{Clock, ManualClock};
use crate::config::{Config, TEMPLATE};
use crate::simulator::{self, Happening, Simulator};

/// Arguments of `tenure demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A new directory for the archive, its index and its configuration
    #[arg(long, value_name = "DIR", default_value = "tenure-demo")]
    dir: PathBuf,
    /// Days to live through, an hour at a time
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=366))]
    days: u64,
    /// People in the tenant
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(40..=100_000))]
    users: u64,
    /// The seed from which the tenant and its life are made
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Stop before the web page (which comes with a later version: there is nothing to stop before yet)
    #[arg(long)]
    no_serve: bool,
}

/// Hours between two reconciliations of the demo: a week. A service would do one a night; this keeps the demo short.
const RECONCILE_HOURS: u64 = 7 * 24;

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    if session.globals.json {
        return Err(Failure::new(Kind::Usage, "the demo has no JSON form").hint("the commands that it shows have"));
    }
    prepare(&arguments.dir)?;
    let config = arguments.dir.join("tenure.toml");
    let config_text = config.display().to_string();
    let clock = ManualClock::new(simulator::Options::default().start);
    let tenant = Tenant::start(&arguments, clock.clone()).await?;
    write_configuration(&arguments.dir, &config, &tenant.simulator)?;
    session.console.line(session.paint().bold("A tenant is simulated; everything else is the real thing"))?;
    let people = arguments.users;
    let url = tenant.simulator.url();
    session.console.line(format!("{people} people and what belongs to them, speaking Graph at {url}\n"))?;

    let clock_of_session = std::mem::replace(&mut session.clock, Arc::new(clock.clone()));
    let begun = init(&config_text, session).await;
    let lived = match begun {
        Ok(()) => live(&arguments, &config, &clock, &tenant.simulator, session).await,
        Err(error) => Err(error),
    };
    let toured = match lived {
        Ok(()) => tour(&arguments, &config_text, &tenant.simulator, session).await,
        Err(error) => Err(error),
    };
    session.clock = clock_of_session;
    toured?;
    farewell(&arguments, &config_text, session)?;
    Ok(Ended::Done)
}

/// The tenant, which lives on a thread of its own as a service would on another machine.
struct Tenant {
    simulator: Simulator,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Tenant {
    async fn start(arguments: &Arguments, clock: ManualClock) -> Result<Tenant, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let options = simulator::Options {
            seed: arguments.seed,
            users: arguments.users as usize,
            ..simulator::Options::default()
        };
        let started = runtime.spawn(Simulator::start(options, clock));
        let simulator = started.await.map_err(|error| Failure::new(Kind::Failed, error))??;
        Ok(Tenant { simulator, runtime: Some(runtime) })
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        // A runtime may not be waited for on another's thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A new directory: the demo writes over nothing.
fn prepare(directory: &Path) -> Result<(), Failure> {
    let is_empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error.into()),
    };
    if !is_empty {
        let text = format!("{} exists already and isn't empty", directory.display());
        return Err(Failure::new(Kind::Usage, text).hint("remove it, or name another directory with --dir"));
    }
    std::fs::create_dir_all(directory)
        .map_err(|error| Failure::new(Kind::Failed, format!("{} cannot be made: {error}", directory.display())))
}

fn write_configuration(directory: &Path, config: &Path, tenant: &Simulator) -> Result<(), Failure> {
    let placeholder = "00000000-0000-0000-0000-000000000000";
    let text = TEMPLATE
        .replacen(placeholder, &tenant.tenant_id(), 1)
        .replacen(placeholder, &tenant.client_id(), 1)
        .replacen("# graph_url = \"https://graph.microsoft.com\"", &format!("graph_url = \"{}\"", tenant.url()), 1)
        .replacen(
            "# login_url = \"https://login.microsoftonline.com\"",
            &format!("login_url = \"{}\"", tenant.url()),
            1,
        );
    std::fs::write(config, text)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(directory.join("secret"))?.write_all(tenant.client_secret().as_bytes())?;
    Ok(())
}

async fn init(config: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    heading("tenure init", session)?;
    run_within(&["--config", config, "init"], session).await?;
    Ok(())
}

/// Every hour of the demo: the tenant lives, the archive captures.
async fn live(
    arguments: &Arguments,
    path: &Path,
    clock: &ManualClock,
    tenant: &Simulator,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let hours = arguments.days * 24;
    heading(&format!("tenure capture   ({hours} times, an hour apart)"), session)?;
    let config = Config::load(path, &session.variables)?;
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let store = storage::open(&config, &shared, Purpose::Write)?;
    let mut capturer: Capturer = capture::open(&config, store, shared).await?;
    let progress = Progress::new(&session.console, "capturing");
    let begun = Instant::now();
    let start = clock.now();
    let (mut changes, mut bytes) = (0, 0);
    for hour in 1..=hours {
        let slot = start + SignedDuration::from_hours(hour as i64);
        // Waiting for a throttled answer may have moved the clock beyond the hour.
        clock.set(slot.max(clock.now()));
        tenant.live_until(slot);
        let request = Request { slot: Some(slot), reconcile: hour % RECONCILE_HOURS == 0, ..Request::default() };
        let committed = capturer.capture(&request).await?;
        let delta = committed.body.delta.unwrap_or_default();
        if hour > 1 {
            changes += delta.put + delta.del + delta.ladd + delta.ldel;
        }
        let base = committed.body.base.into_iter().flat_map(|base| base.packs);
        let packs = delta.packs.into_iter().chain(base).chain(committed.body.packs.unwrap_or_default());
        bytes += packs.map(|pack| pack.len).sum::<u64>();
        progress.set(hour, hours);
        if hour == hours {
            let state = &committed.body.state;
            drop(progress);
            let seconds = begun.elapsed().as_secs_f64();
            session.console.line(format!(
                "{hours} captures of {} objects and {} links, {changes} changes between them,",
                state.objects, state.links
            ))?;
            session.console.line(format!(
                "{} requests answered, {:.1} MB of packs, {seconds:.0} s",
                tenant.request_count(),
                bytes as f64 / 1e6
            ))?;
            break;
        }
    }
    if let Some(head) = capturer.remembered() {
        state::remember_head(&config.state_path, &head)?;
    }
    drop(capturer);
    Ok(())
}

/// A few questions, each with the command that answers it.
async fn tour(
    arguments: &Arguments,
    config: &str,
    tenant: &Simulator,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    heading("tenure verify --deep", session)?;
    let ended = run_within(&["--config", config, "verify", "--deep"], session).await?;
    if ended != Ended::Done {
        return Err(Failure::new(Kind::Integrity, "the archive that was just made does not verify"));
    }
    let journal = tenant.journal();
    let find = |kind: fn(&simulator::Kind) -> bool| journal.iter().find(|happening| kind(&happening.kind));
    if let Some(attack) = find(|kind| matches!(kind, simulator::Kind::AttackRoleGranted)) {
        let (from, to) = around(attack.at);
        say("Somebody broke in at night. What changed in that hour, and what does it come to?", session)?;
        show(&["diff", &from, &to, "--effect"], config, session).await?;
        say("Who held Global Administrator at any moment of those days, how, and by whose doing?", session)?;
        let day = SignedDuration::from_hours(24);
        let (from, to) = ((attack.at - day).to_string(), (attack.at + day).to_string());
        show(&["ask", "role-holders-during", "--from", &from, "--to", &to], config, session).await?;
    }
    if let Some(weakened) = find(|kind| matches!(kind, simulator::Kind::AttackPolicyWeakened)) {
        say("One of the policies was weakened. Its whole story:", session)?;
        let key = key("conditionalAccessPolicy", weakened);
        show(&["history", &key], config, session).await?;
    }
    if let Some(deleted) = find(|kind| matches!(kind, simulator::Kind::ProjectGroupDeleted)) {
        let name = deleted.names.first().cloned().unwrap_or_default();
        say(&format!("The group {name:?} was deleted. Who was in it the day before?"), session)?;
        let at = (deleted.at - SignedDuration::from_hours(24)).to_string();
        show(&["show", &key("group", deleted), "--at", &at], config, session).await?;
    }
    let moved = journal.iter().find(|happening| {
        matches!(happening.kind, simulator::Kind::Transfer) && day(happening.at, tenant_start()) >= 10
    });
    if let Some(moved) = moved {
        let name = moved.names.first().cloned().unwrap_or_default();
        say(
            &format!("{name} has another job since. Which groups was that person in {} days ago?", arguments.days),
            session,
        )?;
        let at = (tenant_start() + SignedDuration::from_hours(24)).to_string();
        show(&["show", &key("user", moved), "--at", &at], config, session).await?;
        say("And what did they let that person reach?", session)?;
        let subject = format!("subject={}", key("user", moved));
        show(&["ask", "reach", &subject, "--at", &at], config, session).await?;
    }
    Ok(())
}

fn tenant_start() -> Timestamp {
    simulator::Options::default().start
}

fn day(at: Timestamp, start: Timestamp) -> i64 {
    at.duration_since(start).as_hours() / 24
}

/// The captures before and after something that happened: slots are whole hours.
fn around(at: Timestamp) -> (String, String) {
    let hour = Duration::from_secs(3600);
    let second = at.as_second();
    let before = Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(at);
    let before = if before == at { before - hour } else { before };
    (before.to_string(), (before + hour).to_string())
}

fn key(collection: &str, happening: &Happening) -> String {
    format!("{collection}/{}", happening.ids.first().cloned().unwrap_or_default())
}

fn heading(command: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let line = session.paint().bold(format!("$ {command}"));
    session.console.line(line)?;
    Ok(())
}

fn say(text: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let line = format!("\n{}", session.paint().green(text));
    session.console.line(line)?;
    Ok(())
}

/// Shows a command and its answer. Incomplete coverage is an answer too.
async fn show(arguments: &[&str], config: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let shown: Vec<String> = arguments
        .iter()
        .map(|argument| if argument.contains([' ', '#']) { format!("'{argument}'") } else { (*argument).to_owned() })
        .collect();
    heading(&format!("tenure --config {config} {}", shown.join(" ")), session)?;
    let line: Vec<&str> = ["--config", config].into_iter().chain(arguments.iter().copied()).collect();
    run_within(&line, session).await?;
    Ok(())
}

fn farewell(arguments: &Arguments, config: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    let lines = [
        String::new(),
        paint.bold("Go on by yourself"),
        format!("  tenure --config {config} captures --last 24        what each hour saw"),
        format!("  tenure --config {config} ask --list                every question that has a name"),
        format!("  tenure --config {config} search admin              find objects, present or past"),
        format!("  tenure --config {config} dump --at 2026-06-15      the whole state as of that day"),
        format!("  tenure --config {config} index rebuild             throw the index away: no answer changes"),
        format!(
            "  python3 docs/verify.py {}/archive --deep          the same verification, in Python",
            arguments.dir.display()
        ),
        String::new(),
        "The simulated tenant ends with this command, so `tenure capture` has nothing to read any more.".to_owned(),
    ];
    for line in lines {
        session.console.line(line)?;
    }
    Ok(())
}
