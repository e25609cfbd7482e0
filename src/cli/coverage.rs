//! `tenure coverage`: since when each collection, relation, facet and property has been captured, and where there are
//! holes.
//!
//! Must never know: the index; the log itself is read.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::{Ended, Failure};
use super::render;
use super::session::Session;
use super::storage::Purpose;
use crate::answer::log;
use crate::archive::walker::{Step, Verdict, Walker, greatest_seq};
use crate::query::{Course, Hole, Mark, Subject, Timeline};
use crate::store::{FilesystemStore, Store};

/// Arguments of `tenure coverage`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// This collection only
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Every property that was asked for by name, too
    #[arg(long)]
    properties: bool,
    /// An archive's directory, instead of a configuration
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let store: Arc<dyn Store> = match &arguments.archive {
        Some(directory) => Arc::new(FilesystemStore::new(directory)),
        None => session.place(Purpose::Read).await?.store,
    };
    let (mut walker, genesis) = Walker::start(&*store).await?;
    let end = greatest_seq(&*store).await?;
    let mut timeline = Timeline::default();
    let mut is_sound = true;
    let mut next = Some(Step { seq: 0, leaf: Some(genesis.leaf), verdict: Verdict::Good(genesis) });
    while let Some(step) = next {
        match &step.verdict {
            Verdict::Good(entry) => timeline.add(&entry.body),
            _ => is_sound = false,
        }
        next = walker.step(&*store, end).await?;
    }
    let wanted = |subject: &Subject| {
        arguments.collection.as_ref().is_none_or(|collection| *collection == subject.0)
            && (arguments.properties || session.globals.json || subject.3.is_none())
    };
    let rows: Vec<(&Subject, &Course)> = timeline.courses().filter(|(subject, _)| wanted(subject)).collect();
    if rows.is_empty() && arguments.collection.is_some() {
        let known: std::collections::BTreeSet<&str> =
            timeline.courses().map(|(subject, _)| subject.0.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let text = "no capture of this archive knows that collection";
        return Err(Failure::new(super::Kind::Usage, text).hint(format!("it knows {known}")));
    }
    let lines: Vec<String> = match session.globals.json {
        true => {
            let courses = rows.iter().map(|(subject, course)| log::course(subject, course));
            courses.chain(timeline.outages().iter().map(log::outage)).collect()
        }
        false => vec![table(&rows, timeline.outages())],
    };
    for line in lines {
        session.console.line(line)?;
    }
    if !is_sound {
        session.warn("entries are missing, changed or void; `tenure verify` tells more");
    }
    Ok(if is_sound { Ended::Done } else { Ended::Finding })
}

fn name(subject: &Subject) -> String {
    let facet = subject.2.as_ref().map_or(String::new(), |facet| format!("#{facet}"));
    let more = subject.1.as_ref().map_or(String::new(), |more| format!(" {more}"));
    let property = subject.3.as_ref().map_or(String::new(), |property| format!(".{property}"));
    format!("{}{facet}{more}{property}", subject.0)
}

fn table(rows: &[(&Subject, &Course)], outages: &[Hole]) -> String {
    let mark = |mark: Option<Mark>| mark.map_or("never".to_owned(), |mark| render::time(mark.time));
    let cells = rows.iter().map(|(subject, course)| {
        let code = course.code.as_ref().map_or(String::new(), |code| format!(" ({code})"));
        let needs = course.needs.as_ref().map_or(String::new(), |needs| format!(", needs {needs}"));
        vec![
            name(subject),
            mark(course.since),
            mark(course.last),
            format!("{}{code}{needs}", course.status.as_str()),
            holes(&course.holes),
        ]
    });
    let mut text = render::table(&["what", "since", "last read", "now", "holes since then"], cells.collect(), &[]);
    for outage in outages {
        let (from, to) = (render::time(outage.from.time), render::time(outage.to.time));
        text.push_str(&format!("\nno capture between {from} and {to}"));
    }
    text
}

/// The holes in a word each, the last three of them.
fn holes(holes: &[Hole]) -> String {
    let shown = holes.iter().rev().take(3).map(|hole| {
        let captures = match hole.from.seq == hole.to.seq {
            true => format!("#{}", hole.from.seq),
            false => format!("#{} to #{}", hole.from.seq, hole.to.seq),
        };
        let status = hole.status.map_or("unread", crate::archive::entry::Status::as_str);
        let code = hole.code.as_ref().map_or(String::new(), |code| format!(" {code}"));
        format!("{captures} {status}{code}")
    });
    let shown: Vec<String> = shown.collect();
    let more = holes.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(", and {more} before") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
