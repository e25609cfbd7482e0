//! `tenure captures`: the entries of the log, with coverage and gaps.
//!
//! Must never know: the index; the log itself is read.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::failure::{Ended, Failure};
use super::render;
use super::session::Session;
use super::storage::Purpose;
use crate::answer::log;
use crate::archive::entry::{Body, Coverage, Status};
use crate::archive::walker::{Step, Verdict, Walker, greatest_seq};
use crate::query::EXPECTED_DISTANCE;
use crate::store::{FilesystemStore, Store};

/// Arguments of `tenure captures`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Entries at or after this time only
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Entries at or before this time only; of a date its end
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The newest N entries of those only
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Under each capture, what it saw of every collection, relation and facet
    #[arg(long)]
    rows: bool,
    /// An archive's directory, instead of a configuration
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let from = session.moment(arguments.from.as_deref())?;
    let to = session.moment(arguments.to.as_deref())?;
    let store: Arc<dyn Store> = match &arguments.archive {
        Some(directory) => Arc::new(FilesystemStore::new(directory)),
        None => session.place(Purpose::Read).await?.store,
    };
    let (mut walker, genesis) = Walker::start(&*store).await?;
    let end = greatest_seq(&*store).await?;
    let first = Step { seq: 0, leaf: Some(genesis.leaf), verdict: Verdict::Good(genesis) };
    let (mut steps, mut next) = (Vec::new(), Some(first));
    let mut ended = BTreeSet::new();
    while let Some(step) = next {
        if let Verdict::Good(entry) = &step.verdict
            && entry.body.kind == "expired"
        {
            ended.extend(entry.body.target);
        }
        // Damaged entries are always shown: nobody knows their time.
        let is_wanted = match &step.verdict {
            Verdict::Good(entry) => log::is_within(&entry.body, &from, &to),
            _ => true,
        };
        if is_wanted {
            steps.push(step);
        }
        next = walker.step(&*store, end).await?;
    }
    let skipped = arguments.last.map_or(0, |last| steps.len().saturating_sub(last));
    let steps = &steps[skipped..];
    if session.globals.json {
        for step in steps {
            if let Verdict::Good(entry) = &step.verdict {
                session.console.line(String::from_utf8_lossy(&entry.text))?;
            }
        }
    } else {
        print(steps, &ended, session)?;
        if arguments.rows {
            for step in steps {
                print_rows(step, session)?;
            }
        }
    }
    let sound = steps.iter().all(|step| matches!(step.verdict, Verdict::Good(_)));
    if !sound && session.globals.json {
        session.warn("entries are missing, changed or void; `tenure verify` tells more");
    }
    Ok(if sound { Ended::Done } else { Ended::Finding })
}

fn print(steps: &[Step], ended: &BTreeSet<u64>, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut rows = Vec::with_capacity(steps.len());
    let mut last_capture: Option<Timestamp> = None;
    for step in steps {
        let Verdict::Good(entry) = &step.verdict else {
            rows.push(damaged_row(step));
            last_capture = None;
            continue;
        };
        let body = &entry.body;
        let at = log::time_of(body);
        let mut notes = Vec::new();
        if body.is_capture() {
            let distance = last_capture.map(|last| at.duration_since(last));
            if let Some(distance) = distance.filter(|distance| *distance > EXPECTED_DISTANCE) {
                let minutes = distance.as_mins();
                notes.push(format!("after {} h {:02} min without a capture", minutes / 60, minutes % 60));
            }
            last_capture = Some(at);
        }
        notes.extend(notes_of(body));
        if body.segment.is_some_and(|segment| ended.contains(&segment)) {
            notes.push("content expired".to_owned());
        }
        let number = |number: fn(&crate::archive::entry::Delta) -> u64| {
            body.delta.as_ref().map_or(String::new(), |delta| number(delta).to_string())
        };
        rows.push(vec![
            format!("#{}", step.seq),
            render::time(at),
            if body.opens_segment() { "capture, base".to_owned() } else { body.kind.clone() },
            number(|delta| delta.put),
            number(|delta| delta.del),
            number(|delta| delta.ladd),
            number(|delta| delta.ldel),
            body.state.objects.to_string(),
            notes.join("; "),
        ]);
    }
    let header = ["#", "time", "kind", "put", "del", "+links", "-links", "objects", "coverage"];
    session.console.line(render::table(&header, rows, &[0, 3, 4, 5, 6, 7]))?;
    Ok(())
}

/// One capture's coverage, row by row.
fn print_rows(step: &Step, session: &mut Session<'_>) -> Result<(), Failure> {
    let Verdict::Good(entry) = &step.verdict else { return Ok(()) };
    let Some(cover) = &entry.body.cover else { return Ok(()) };
    let number = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
    let rows = cover.iter().map(|row| {
        let mut notes = Vec::new();
        notes.extend(row.code.clone());
        notes.extend(row.needs.as_ref().map(|needs| format!("needs {needs}")));
        notes.extend(row.oldest.map(|oldest| format!("oldest read #{oldest}")));
        notes.extend(row.missed.map(|missed| format!("the feed missed {missed}")));
        if !row.refused.is_empty() {
            notes.push(format!("refused {}", row.refused.join(" ")));
        }
        let seconds = row.ms.map_or(String::new(), |ms| format!("{:.1} s", ms as f64 / 1e3));
        vec![
            row.subject(),
            row.st.as_str().to_owned(),
            row.how.clone().unwrap_or_default(),
            number(row.n),
            number(row.count),
            number(row.pages),
            number(row.requests),
            number(row.units),
            seconds,
            notes.join("; "),
        ]
    });
    let header = ["what", "coverage", "how", "read", "count", "pages", "requests", "units", "took", ""];
    session.console.line(format!("\n#{}", step.seq))?;
    session.console.line(render::table(&header, rows.collect(), &[3, 4, 5, 6, 7, 8]))?;
    Ok(())
}

fn damaged_row(step: &Step) -> Vec<String> {
    let kind = match &step.verdict {
        Verdict::Missing => "MISSING",
        Verdict::Changed { .. } => "CHANGED",
        Verdict::Void(_) => "void",
        _ => "UNVERIFIABLE",
    };
    let mut row = vec![String::new(); 9];
    row[0] = format!("#{}", step.seq);
    row[2] = kind.to_owned();
    row[8] = "`tenure verify` tells more".to_owned();
    row
}

fn notes_of(body: &Body) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(slots) = &body.slots {
        notes.push(format!("no capture from {} to {}", slots[0], slots[slots.len() - 1]));
        notes.extend(body.code.clone());
    }
    if matches!(body.kind.as_str(), "expire" | "expired") {
        notes.extend(body.target.map(|segment| format!("segment #{segment}")));
    }
    if body.kind == "access" {
        notes.extend(body.count.map(|count| render::count(count, "own-use record", "own-use records")));
    }
    let Some(rows) = &body.cover else { return notes };
    let incomplete: Vec<&Coverage> =
        rows.iter().filter(|row| matches!(row.st, Status::Partial | Status::Carried | Status::Absent)).collect();
    if incomplete.is_empty() {
        notes.push("complete".to_owned());
        return notes;
    }
    let named = incomplete.iter().take(3).map(|row| {
        let code = row.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
        format!("{} {}{code}", row.subject(), row.st.as_str())
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = incomplete.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    notes.push(format!("{} of {}: {named}{more}", rows.len() - incomplete.len(), rows.len()));
    notes
}
