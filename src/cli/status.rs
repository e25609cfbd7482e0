//! `tenure status`: the archive's head, how the service is doing, and what the storage enforces.
//!
//! Must never know: how any of it is found out.
//!
//! It needs no running service and no index: the head is read from the log, and what the service last said of itself from the
//! file that it leaves.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::failure::{Ended, Failure, Kind};
use super::session::{Place, Session};
use super::storage::{self, Purpose};
use super::{render, state};
use crate::answer::log;
use crate::archive::appender::follow;
use crate::archive::entry::{Body, Entry, entry_name};
use crate::daemon::{MONTHS_AHEAD, STATUS_FILE};

/// Arguments of `tenure status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Try the storage's protection now, as the service does once a day
    #[arg(long)]
    check: bool,
}

/// A service that has said nothing for so long has stopped, or hangs.
const SILENCE: SignedDuration = SignedDuration::from_mins(15);

/// What is shown.
struct Status {
    entries: u64,
    last: Body,
    capture: Option<Body>,
    service: Value,
    storage: Value,
    now: Timestamp,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let Place { config, store } = session.place(Purpose::Read).await?;
    let remembered = state::remembered_head(&config.state_path)?;
    let (walker, _) = follow(&*store, remembered.as_ref()).await?;
    let now = session.now();
    // Most entries are captures; what isn't is passed over, down to the first.
    let mut capture = None;
    for seq in (0..walker.next_seq()).rev().take(1000) {
        let entry = Entry::parse(&store.get(&entry_name(seq)).await?);
        if let Some(entry) = entry.ok().filter(|entry| entry.body.is_capture()) {
            capture = Some(entry.body);
            break;
        }
    }
    let service = read(&config.state_path.join(STATUS_FILE))?;
    let storage = match (arguments.check, storage::guard(&config, &session.clock)?) {
        (true, Some(guard)) => {
            let report = guard.check(now, MONTHS_AHEAD).await;
            json!({ "at": now.to_string(), "sound": report.is_sound(), "detail": report.to_json() })
        }
        (true, None) => {
            let text = "there is nothing to check: a directory keeps nobody who may write there from changing it";
            session.warn(text);
            service["storage"].clone()
        }
        (false, _) => service["storage"].clone(),
    };
    let status =
        Status { entries: walker.next_seq(), last: Body::clone(walker.last()), capture, service, storage, now };
    match session.globals.json {
        true => session.console.line(status.in_json())?,
        false => print(&status, session)?,
    }
    Ok(Ended::Done)
}

/// What the service last said; `Null` where none has run here.
fn read(path: &Path) -> Result<Value, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(Failure::new(Kind::Failed, format!("{} cannot be read: {error}", path.display()))),
    }
}

impl Status {
    fn written(&self) -> Option<Timestamp> {
        self.service["written"].as_str()?.parse().ok()
    }

    /// Whether the service has said something lately.
    fn is_running(&self) -> bool {
        let is_fresh = self.written().is_some_and(|written| self.now.duration_since(written) <= SILENCE);
        is_fresh && self.service["doing"] != "stopped"
    }

    fn in_json(&self) -> String {
        let capture = self.capture.as_ref();
        let running = self.is_running();
        log::status(self.entries, &self.last, capture, running, &self.service, &self.storage).to_string()
    }
}

fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        ..0 => "in the future".to_owned(),
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn ago_text(now: Timestamp, value: &Value) -> String {
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(then) => format!("{then} ({})", ago(now, then)),
        None => "never".to_owned(),
    }
}

fn print(status: &Status, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    let now = status.now;
    let mut rows: Vec<(&str, String)> = vec![("entries", status.entries.to_string())];
    rows.push(match &status.capture {
        Some(body) => {
            let time = body.query_time();
            let state = format!("{} objects, {} links", body.state.objects, body.state.links);
            ("last capture", format!("#{} at {time} ({}), {state}", body.seq, ago(now, time)))
        }
        None => ("last capture", "none yet".to_owned()),
    });
    let service = &status.service;
    rows.push((
        "service",
        match (status.is_running(), status.written()) {
            (true, _) => {
                format!("{} since {}", service["doing"].as_str().unwrap_or("?"), ago_text(now, &service["since"]))
            }
            (false, Some(written)) if service["doing"] == "stopped" => format!("stopped at {written}"),
            (false, Some(written)) => paint.red(format!("nothing heard since {written} ({})", ago(now, written))),
            (false, None) => "none has run here: `tenure serve` captures on schedule".to_owned(),
        },
    ));
    if let Some(trouble) = service["trouble"].as_str() {
        rows.push(("trouble", paint.red(trouble)));
    }
    if status.is_running() {
        rows.push(("next slot", service["next_slot"].as_str().unwrap_or("?").to_owned()));
    }
    rows.push(("storage", storage_words(&status.storage, now)));
    let verification = &service["verification"];
    if verification.is_object() {
        let since = ago_text(now, &verification["every_byte_since"]);
        rows.push(("verified", format!("every byte since {since}")));
    }
    let mirror = &service["mirror"];
    if mirror.is_object() {
        let behind = mirror["entries_behind"].as_u64().unwrap_or(0);
        let entries = render::count(behind, "entry", "entries");
        rows.push((
            "second copy",
            match behind {
                0 => format!("in step, last seen {}", ago_text(now, &mirror["in_step_at"])),
                _ => paint.yellow(format!("{entries} behind; in step: {}", ago_text(now, &mirror["in_step_at"]))),
            },
        ));
    }
    for (name, text) in rows {
        session.console.line(format!("{} {text}", paint.dim(format!("{name:<13}"))))?;
    }
    for one in status.storage["detail"]["containers"].as_array().into_iter().flatten() {
        let reasons: Vec<&str> = one["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let name = one["container"].as_str().unwrap_or("?");
        let verdict = one["verdict"].as_str().unwrap_or("?");
        if !reasons.is_empty() || verdict != "enforced" {
            session.console.line(format!("  {} {name}: {verdict} {}", paint.yellow("!"), reasons.join(", ")))?;
        }
    }
    for one in status.storage["detail"]["missing"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        session.console.line(format!("  {} {one}: doesn't exist, and is needed now or soon", paint.yellow("!")))?;
    }
    print_alarms(service, session)
}

fn storage_words(storage: &Value, now: Timestamp) -> String {
    match (storage["sound"].as_bool(), storage["detail"]["text"].as_str()) {
        (Some(true), _) => format!("protected, as tried at {}", ago_text(now, &storage["at"])),
        (Some(false), _) => format!("not proven to be protected, as tried at {}", ago_text(now, &storage["at"])),
        (None, Some(text)) => text.to_owned(),
        (None, None) => "not tried yet: --check tries it now".to_owned(),
    }
}

fn print_alarms(service: &Value, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    let alarms = service["alarms"].as_array().cloned().unwrap_or_default();
    if alarms.is_empty() {
        return Ok(session.console.line("no alarms")?);
    }
    for alarm in alarms {
        let text = |name: &str| alarm[name].as_str().unwrap_or_default().to_owned();
        let severity = match text("severity").as_str() {
            "critical" => paint.red("critical"),
            other => paint.yellow(other),
        };
        let line = format!(
            "{severity}: {} {} since {}: {}",
            paint.bold(text("kind")),
            text("subject"),
            text("since"),
            text("text")
        );
        session.console.line(line)?;
    }
    Ok(())
}
