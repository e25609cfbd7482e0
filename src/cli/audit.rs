//! `tenure audit`: the own-use log, from the chain and from what waits for it.
//!
//! Must never know: how records come there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::console::Progress;
use super::failure::{Ended, Failure};
use super::render;
use super::session::{Place, Session, bound};
use crate::answer::uses::{self, DENIALS, Wanted};
use crate::archive::reader::ReadError;
use crate::archive::walker::{Step, Verdict, Walker, greatest_seq};
use crate::ledger::{Ledger, Record, RecordId, records_of};
use crate::query::Moment;
use crate::store::Store;

/// Arguments of `tenure audit`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Uses from this time on; of a date its beginning
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Uses until this time; of a date its end
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Uses on this day
    #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
    at: Option<String>,
    /// Uses by whom this is a name, a number, an object id or a role of
    #[arg(long, value_name = "WHO")]
    who: Option<String>,
    /// Uses of this kind: show, search, dump, …; `denials` for counts of strangers
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
}

/// A record and the entry that holds it; none while it is spooled.
struct Row {
    seq: Option<u64>,
    record: Record,
}

/// What the chain holds, as far as it can be read.
#[derive(Default)]
struct Chain {
    seen: BTreeSet<RecordId>,
    /// Entries whose records can't be read, their segment, and why.
    unread: Vec<(u64, Option<u64>, ReadError)>,
    /// Segments that ended after their retention.
    ended: BTreeSet<u64>,
    /// Entries that are missing or changed.
    lost: Vec<u64>,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let parameters = [
        ("from", arguments.from.as_deref()),
        ("to", arguments.to.as_deref()),
        ("at", arguments.at.as_deref()),
        ("who", arguments.who.as_deref()),
        ("operation", arguments.operation.as_deref()),
    ];
    let Place { config, store } = session.asked_place("audit", &parameters).await?;
    let (from, to) = (arguments.from.as_deref(), arguments.to.as_deref());
    let from = bound(session, &*store, from.or(arguments.at.as_deref()), Moment::first).await?;
    let to = bound(session, &*store, to.or(arguments.at.as_deref()), Moment::last).await?;
    let wanted = Wanted { from, to, who: arguments.who, operation: arguments.operation };
    let is_wanted = |record: &Record| wanted.holds(record);
    // First what waits: what is brought into the chain meanwhile is found there, and shown once.
    let spooled = Ledger::open(&config.state_path, session.clock.clone()).spooled()?;
    let progress = Progress::new(&session.console, "reading the log");
    let mut chain = Chain::default();
    let mut shown = Vec::new();
    let (mut walker, _) = Walker::start(&*store).await?;
    let end = greatest_seq(&*store).await?;
    while let Some(step) = walker.step(&*store, end).await? {
        progress.set(step.seq, end.unwrap_or(step.seq));
        for record in chain.take(&*store, &step).await?.into_iter().filter(is_wanted) {
            let row = Row { seq: Some(step.seq), record };
            match session.globals.json {
                true => session.console.line(uses::used(row.seq, &row.record))?,
                false => shown.push(row),
            }
        }
    }
    drop(progress);
    for record in spooled.into_iter().filter(|record| !chain.seen.contains(&record.id) && is_wanted(record)) {
        let row = Row { seq: None, record };
        match session.globals.json {
            true => session.console.line(uses::used(row.seq, &row.record))?,
            false => shown.push(row),
        }
    }
    if !session.globals.json {
        print(&shown, session)?;
    }
    Ok(if chain.tell(session) { Ended::Done } else { Ended::Finding })
}

impl Chain {
    /// The records of one step that weren't met before.
    async fn take(&mut self, store: &dyn Store, step: &Step) -> Result<Vec<Record>, Failure> {
        let entry = match &step.verdict {
            Verdict::Good(entry) => entry,
            Verdict::Void(_) => return Ok(Vec::new()),
            Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => {
                self.lost.push(step.seq);
                return Ok(Vec::new());
            }
        };
        let body = &entry.body;
        if body.kind == "expired" {
            self.ended.extend(body.target);
        }
        if body.kind != "access" {
            return Ok(Vec::new());
        }
        match records_of(store, body).await {
            Ok(mut records) => {
                records.retain(|record| self.seen.insert(record.id));
                Ok(records)
            }
            Err(ReadError::Store { source, .. }) if source.is_transient() => Err(source.into()),
            Err(error) => {
                self.unread.push((body.seq, body.segment, error));
                Ok(Vec::new())
            }
        }
    }

    /// Tells what couldn't be shown. Whether it was all that there should be.
    fn tell(&self, session: &mut Session<'_>) -> bool {
        let has_ended = |segment: Option<u64>| segment.is_some_and(|segment| self.ended.contains(&segment));
        let (ended, broken): (Vec<_>, Vec<_>) = self.unread.iter().partition(|(_, segment, _)| has_ended(*segment));
        if !ended.is_empty() {
            let count = render::count(ended.len() as u64, "entry", "entries");
            session.warn(&format!("the records of {count} ended with their segments after the retention"));
        }
        for (seq, _, error) in &broken {
            session.warn(&format!("the records of entry {seq} can't be read: {error}"));
        }
        if !self.lost.is_empty() {
            let numbers: Vec<String> = self.lost.iter().map(|seq| format!("#{seq}")).collect();
            let numbers = numbers.join(", ");
            session.warn(&format!("entries are missing or changed, and records perhaps with them: {numbers}"));
        }
        broken.is_empty() && self.lost.is_empty()
    }
}

fn print(rows: &[Row], session: &mut Session<'_>) -> Result<(), Failure> {
    if rows.is_empty() {
        session.console.line("nothing is recorded of that")?;
        return Ok(());
    }
    let text = |record: &Record, name: &str| match record.members.get(name) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let cells = rows.iter().map(|Row { seq, record }| {
        let entry = seq.map_or("spooled".to_owned(), |seq| format!("#{seq}"));
        let (who, via, operation, what) = match record.denials() {
            Some(count) => {
                let to = text(record, "to");
                (record.asker(), String::new(), DENIALS.to_owned(), format!("{count} turned away until {to}"))
            }
            None => (record.asker(), text(record, "via"), text(record, "operation"), parameters(record)),
        };
        vec![render::time(record.at), who, via, operation, text(record, "outcome"), what, entry]
    });
    let header = ["time", "who", "via", "operation", "outcome", "asked for", "entry"];
    session.console.line(render::table(&header, cells.collect(), &[]))?;
    let spooled = rows.iter().filter(|row| row.seq.is_none()).count() as u64;
    if spooled > 0 {
        let line = format!("{spooled} of {} not in the chain yet", render::count(rows.len() as u64, "use", "uses"));
        let line = session.paint().dim(line);
        session.console.line(line)?;
    }
    Ok(())
}

fn parameters(record: &Record) -> String {
    let Some(Value::Object(members)) = record.members.get("parameters") else { return String::new() };
    let texts = members.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text:?}"),
        other => format!("{name}={other}"),
    });
    texts.collect::<Vec<_>>().join(" ")
}
