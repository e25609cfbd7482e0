//! `tenure expire`: the plan of what ends, and its end once a person has confirmed that plan.
//!
//! Must never know: what may end, or how.

use std::sync::Arc;

use super::capture::signing_key;
use super::console::Progress;
use super::failure::{Ended, Failure, Kind};
use super::session::Session;
use super::storage::{self, Purpose};
use super::{json, mirror, render, state};
use crate::archive::appender::{Appender, RememberedHead};
use crate::hold::{Ended as EndedSegment, Expirer, Fate, Outcome, Plan, Row, Scope, Stop};

/// Arguments of `tenure expire`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Do what the plan with this hash says; nothing, if the plan is another one by now
    #[arg(long, value_name = "HASH")]
    confirm: Option<String>,
    /// End in the copy of [store.mirror] what the archive has told has ended
    #[arg(long)]
    mirror: bool,
}

/// Digits of the plan's hash that a person has to type at least.
const LEAST_DIGITS: usize = 12;

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let is_done = arguments.confirm.is_some();
    let purpose = if is_done && !arguments.mirror { Purpose::Write } else { Purpose::Read };
    let place = session.place(purpose).await?;
    let (config, mut store, mut scope) = (place.config, place.store, Scope::Archive);
    let mut where_ = &config.store;
    if arguments.mirror {
        let none = || {
            Failure::new(Kind::Configuration, "there is no mirror: kind in [store.mirror] is none")
                .hint("leave --mirror out for the archive itself")
        };
        where_ = config.mirror.as_ref().ok_or_else(none)?;
        let mirror = storage::mirror(&config, &session.clock, Purpose::Copy)?.ok_or_else(none)?;
        if is_done {
            // A hold that the mirror hasn't heard of yet holds there too.
            mirror::bring_in_step(&config, &*store, &*mirror).await.1?;
        }
        (store, scope) = (mirror, Scope::Copy);
    }
    let expiry = storage::expiry(&config, where_, &session.clock)?;
    let progress = Progress::new(&session.console, "reading the log");
    let opened =
        Expirer::open(store.clone(), expiry, session.clock.clone(), scope, |done, all| progress.set(done, all)).await;
    drop(progress);
    let mut expirer = opened?;
    let plan = expirer.plan(config.retention).await?;
    let Some(confirmed) = arguments.confirm else {
        match session.globals.json {
            true => session.console.line(plan_in_json(&plan))?,
            false => print_plan(&plan, &where_.to_string(), arguments.mirror, session)?,
        }
        return Ok(Ended::Done);
    };
    check_confirmed(&plan, &confirmed)?;
    let mut appender = None;
    if scope == Scope::Archive {
        let remembered = RememberedHead::of(expirer.register().walker());
        let signer = signing_key(&config.key_file)?;
        appender = Some(Appender::open(Arc::clone(&store), signer, remembered.as_ref()).await?);
    }
    let progress = Progress::new(&session.console, "ending segments, files:");
    let outcome = expirer.carry_out(&plan, appender.as_mut(), |done, all| progress.set(done, all)).await;
    drop(progress);
    if let Some(head) = appender.as_ref().and_then(Appender::remembered)
        && let Err(failure) = state::remember_head(&config.state_path, &head)
    {
        session.warn(&failure.error.to_string());
    }
    let outcome = outcome?;
    if let Some(appender) = &appender {
        let head = appender.walker().next_seq();
        mirror::follow(&config, &*store, head, session).await;
    }
    match session.globals.json {
        true => session.console.line(outcome_in_json(&plan, &outcome))?,
        false => print_outcome(&outcome, session)?,
    }
    Ok(if outcome.is_whole() { Ended::Done } else { Ended::Incomplete })
}

fn check_confirmed(plan: &Plan, confirmed: &str) -> Result<(), Failure> {
    let hash = plan.hash().to_string();
    if confirmed.len() >= LEAST_DIGITS && hash.starts_with(confirmed) {
        return Ok(());
    }
    let text = format!("the plan is {} now, not {confirmed:?}: nothing was done", plan.short());
    Err(Failure::new(Kind::Usage, text).hint("`tenure expire` shows it; confirm it if it is what you want"))
}

fn keeps(fate: &Fate) -> String {
    match fate {
        Fate::Expire => "ends".to_owned(),
        Fate::Continue => "its end was begun and goes on".to_owned(),
        Fate::Remainder => "ended; what is left of it goes".to_owned(),
        Fate::Ended => "ended".to_owned(),
        Fate::NotYet(until) => format!("kept until {}", render::time(*until)),
        Fate::Held(entries) => format!("kept: held by {}", numbers(entries)),
        Fate::HeldByStorage => "kept: the storage has a legal hold on its container".to_owned(),
        Fate::Recent => "kept: it is the open segment, or the one before".to_owned(),
        Fate::Missing => "MISSING: no file of it is there, and no entry says that it ended".to_owned(),
        Fate::NotTold => "kept: the archive's log doesn't say that it ended".to_owned(),
    }
}

fn numbers(entries: &[u64]) -> String {
    entries.iter().map(|seq| format!("#{seq}")).collect::<Vec<_>>().join(", ")
}

fn print_plan(plan: &Plan, place: &str, is_mirror: bool, session: &mut Session<'_>) -> Result<(), Failure> {
    let rows = plan.rows.iter().map(|row| {
        let mut what = keeps(&row.fate);
        if row.missing > 0 && row.fate == Fate::Expire {
            what.push_str(&format!("; {} of its packs are missing already", row.missing));
        }
        let youngest = row.youngest().map_or(String::new(), render::time);
        vec![
            format!("#{}", row.segment),
            format!("to #{}", row.range.1),
            row.container.clone(),
            if row.files.is_empty() { String::new() } else { row.files.len().to_string() },
            if row.files.is_empty() { String::new() } else { row.bytes().to_string() },
            youngest,
            what,
        ]
    });
    let header = ["segment", "", "container", "files", "bytes", "youngest file", "what becomes of it"];
    let table = render::table(&header, rows.collect(), &[0, 3, 4]);
    session.console.line(format!("{place}, kept for {} from the youngest file of each segment", plan.retention))?;
    session.console.line(table)?;
    session.console.line("")?;
    let due: Vec<&Row> = plan.due().collect();
    if due.is_empty() {
        session.console.line("nothing ends")?;
        return Ok(());
    }
    let files = due.iter().map(|row| row.files.len() as u64).sum();
    let bytes: u64 = due.iter().map(|row| row.bytes()).sum();
    let segments = render::count(due.len() as u64, "segment", "segments");
    let paint = session.paint();
    let summary =
        format!("plan {}: {segments}, {}, {bytes} bytes", plan.short(), render::count(files, "file", "files"));
    session.console.line(paint.bold(summary))?;
    let mirror = if is_mirror { " --mirror" } else { "" };
    session.console.line("nothing was done; what is ended can't be brought back. To do exactly this:")?;
    session.console.line(format!("  tenure expire{mirror} --confirm {}", plan.short()))?;
    Ok(())
}

fn stopped(stop: &Stop) -> String {
    match stop {
        Stop::Held(entries) => format!("a hold followed ({}): nothing more of it goes", numbers(entries)),
        Stop::HeldByStorage => "the storage has a legal hold on its container".to_owned(),
        Stop::Kept(removal) => match removal.as_str() {
            "policy" => "the storage's retention policy still runs; run it again when that is over".to_owned(),
            "hold" => "the storage has a legal hold on it".to_owned(),
            other => format!("the storage kept a file ({other})"),
        },
        Stop::New(count) => {
            format!("{} more than when the plan was made", render::count(*count, "file is there", "files are there"))
        }
        Stop::Overtaken => "another run was quicker; look at the plan again".to_owned(),
    }
}

fn counts(ended: &EndedSegment) -> String {
    ended.answers.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

fn print_outcome(outcome: &Outcome, session: &mut Session<'_>) -> Result<(), Failure> {
    let paint = session.paint();
    if outcome.segments.is_empty() {
        session.console.line("nothing ends")?;
    }
    for ended in &outcome.segments {
        let name = paint.bold(format!("segment #{} of {}", ended.segment, ended.container));
        let counts = counts(ended);
        let line = match &ended.stop {
            None => format!("{name} ended: {counts}"),
            Some(stop) => {
                let counts = if counts.is_empty() { String::new() } else { format!(" ({counts})") };
                format!("{} {name} did not end: {}{counts}", paint.yellow("!"), stopped(stop))
            }
        };
        session.console.line(line)?;
    }
    Ok(())
}

fn plan_in_json(plan: &Plan) -> String {
    let rows = plan.rows.iter().map(|row| {
        let range = format!("[{},{}]", row.range.0, row.range.1);
        let object = json::Object::new().number("segment", row.segment).text("container", &row.container);
        let object = object.raw("range", &range).text("fate", row.fate.as_str()).flag("due", row.fate.is_due());
        let object = object.number("files", row.files.len() as u64).number("bytes", row.bytes());
        let object = object.number("missing", row.missing).text("names", row.names());
        let object = object.optional_text("youngest", row.youngest().map(json::time).as_deref());
        match &row.fate {
            Fate::NotYet(until) => object.text("until", json::time(*until)).end(),
            Fate::Held(entries) => object.raw("holds", &json::array(entries.iter().map(u64::to_string))).end(),
            _ => object.end(),
        }
    });
    let rows = json::array(rows);
    let object = json::Object::new().text("plan", plan.hash()).number("months", u64::from(plan.retention.months()));
    object.number("due", plan.due().count() as u64).raw("segments", &rows).end()
}

fn outcome_in_json(plan: &Plan, outcome: &Outcome) -> String {
    let rows = outcome.segments.iter().map(|ended| {
        let answers = ended.answers.iter().fold(json::Object::new(), |row, (word, count)| row.number(word, *count));
        let row = json::Object::new().number("segment", ended.segment).text("container", &ended.container);
        let row = row.flag("ended", ended.stop.is_none()).raw("answers", &answers.end());
        match &ended.stop {
            None => row.end(),
            Some(stop) => row.text("stop", stopped(stop)).end(),
        }
    });
    let rows = json::array(rows);
    json::Object::new().text("plan", plan.hash()).flag("whole", outcome.is_whole()).raw("segments", &rows).end()
}
