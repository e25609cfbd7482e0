//! Questions 44 to 46: what the log says of the archive itself. Who looked, what is held or was ended, and whether an answer of
//! old comes out the same.
//!
//! Must never know: what the captures hold.
//!
//! Only what is in the chain by the last capture that counts is told, so that a cited answer stays: `tenure audit` also shows what
//! waits for the chain.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::rows::{Row, count_by};
use super::{Ability, Asking, Parameter, ParameterKind, Question, Span, Table, Times, ask, find};
use crate::archive::entry::Entry;
use crate::archive::reader::ReadError;
use crate::archive::walker::{Verdict, Walker};
use crate::index::IndexError;
use crate::ledger::{Record, RecordId, records_of};
use crate::query::{Archive, Moment, QueryError};

/// Who looked?
pub const LOOKED: Question = Question {
    number: 44,
    name: "who-looked",
    title: "Who looked at, exported or searched these records?",
    description: "One row for each use of the archive in the period that is in its chain: who, by which way, what was asked for as it was \
                  typed, what became of it, the hash of the answer, and the entry that proves the record. Strangers that were \
                  turned away are counted by the minute.",
    version: 1,
    span: Span::Period,
    parameters: &[
        Parameter {
            name: "who",
            kind: ParameterKind::Text,
            default: Some(""),
            description: "Only uses by whom this is a name, a number, an object id or a role of",
        },
        Parameter {
            name: "operation",
            kind: ParameterKind::Text,
            default: Some(""),
            description: "Only uses of this kind: show, search, ask, diff, dump, …, or denials",
        },
        Parameter {
            name: "about",
            kind: ParameterKind::Text,
            default: Some(""),
            description: "Only uses that asked for something with this in it: a key, an id or a name as it was typed",
        },
    ],
    needs: &[],
    ability: Ability::Answered(|asking| Box::pin(looked(asking))),
};

/// What is held, what was ended?
pub const ENDED: Question = Question {
    number: 45,
    name: "held-or-ended",
    title: "Was anything under hold deleted, or ended lawfully, and on whose order?",
    description: "One row for each hold, release, erasure, and beginning and end of expiry that the chain holds in the period: the segment, the \
                  entries it is about, and what became of the files. Whoever ordered it is in the own-use log, question 44. A segment that is \
                  held is never ended; the totals count what broke that.",
    version: 1,
    span: Span::Period,
    parameters: &[],
    needs: &[],
    ability: Ability::Answered(|asking| Box::pin(ended(asking))),
};

/// Is it the same again?
pub const RERUN: Question = Question {
    number: 46,
    name: "rerun",
    title: "Asked again, does a question of old come out the same?",
    description: "The use is taken from the chain's own-use log by its id and asked again, of the archive as it was known then. One row for \
                  each capture that may have been its newest, with the hash that comes out. Same hash, same bytes; another hash with another \
                  version of the question says that its logic changed, and with the same version that this isn't what was asked. A time that was \
                  given as a span back from now counts from the time of the record.",
    version: 1,
    span: Span::Instant,
    parameters: &[Parameter {
        name: "use",
        kind: ParameterKind::Text,
        default: None,
        description: "The id of the use, as tenure audit --json and question 44 show it",
    }],
    needs: &[],
    ability: Ability::Answered(rerun),
};

/// Captures that may have been the newest when a question was asked: an index may have been some behind.
const CANDIDATES: usize = 3;

/// What the chain holds besides captures, up to the last capture that counts.
struct Chain {
    /// Entries that aren't captures, in their order.
    entries: Vec<Arc<Entry>>,
    /// When each capture was committed.
    committed: BTreeMap<u64, Timestamp>,
    /// Entries that are missing or changed.
    lost: Vec<u64>,
}

impl Chain {
    /// Follows the log up to the horizon.
    async fn read(archive: &Archive) -> Result<Chain, QueryError> {
        let end = archive.head()?.seq;
        let (mut walker, genesis) = Walker::start(&*archive.store).await.map_err(IndexError::from)?;
        let mut chain = Chain { entries: vec![genesis], committed: BTreeMap::new(), lost: Vec::new() };
        while walker.next_seq() <= end {
            let Some(step) = walker.step(&*archive.store, Some(end)).await.map_err(IndexError::from)? else { break };
            match step.verdict {
                Verdict::Good(entry) if entry.body.kind == "capture" => {
                    chain.committed.insert(step.seq, entry.body.committed);
                }
                Verdict::Good(entry) => chain.entries.push(entry),
                Verdict::Void(_) => {}
                Verdict::Changed { .. } | Verdict::Missing | Verdict::Unverifiable(_) => chain.lost.push(step.seq),
            }
        }
        Ok(chain)
    }

    /// The records of the own-use log with the entries that hold them, each once, and what couldn't be read.
    async fn records(&self, archive: &Archive) -> Result<(Vec<(u64, Record)>, Vec<String>), QueryError> {
        let mut seen = std::collections::BTreeSet::<RecordId>::new();
        let (mut all, mut notes) = (Vec::new(), self.losses());
        for entry in self.entries.iter().filter(|entry| entry.body.kind == "access") {
            match records_of(&*archive.store, &entry.body).await {
                Ok(records) => {
                    let fresh = records.into_iter().filter(|record| seen.insert(record.id));
                    all.extend(fresh.map(|record| (entry.body.seq, record)));
                }
                Err(ReadError::Store { source, .. }) if source.is_transient() => return Err(source.into()),
                Err(_) => notes.push(format!("the records of entry {} can't be read", entry.body.seq)),
            }
        }
        Ok((all, notes))
    }

    fn losses(&self) -> Vec<String> {
        let told = |seq: &u64| format!("entry {seq} is missing or changed, and what it said with it");
        self.lost.iter().map(told).collect()
    }
}

/// The times that a period means: its ends where times were given, and of captures theirs. Up to the head it has no end.
fn bounds(asking: &Asking<'_>) -> Result<(Timestamp, Option<Timestamp>), QueryError> {
    let from = asking.begin.asked.unwrap_or(asking.begin.capture.time);
    let is_head = asking.end.asked.is_none() && asking.end.capture.seq == asking.archive.head()?.seq;
    Ok((from, (!is_head).then(|| asking.end.asked.unwrap_or(asking.end.capture.time))))
}

async fn looked(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (from, to) = bounds(asking)?;
    let (records, mut notes) = Chain::read(asking.archive).await?.records(asking.archive).await?;
    let is_incomplete = !notes.is_empty();
    let mut rows = Vec::new();
    let mut turned_away = 0;
    for (seq, record) in records {
        let operation = record.operation().unwrap_or("denials").to_owned();
        let is_within = record.at >= from && to.is_none_or(|to| record.at <= to);
        let is_wanted = asking.text("who").is_none_or(|who| record.is_by(who))
            && asking.text("operation").is_none_or(|wanted| wanted == operation)
            && asking.text("about").is_none_or(|about| is_about(&record, about));
        if !is_within || !is_wanted {
            continue;
        }
        turned_away += record.denials().unwrap_or(0);
        let member = |name: &str| record.members.get(name).cloned().unwrap_or(Value::Null);
        let mut row = Row::new();
        row.insert("at".to_owned(), record.at.to_string().into());
        row.insert("who".to_owned(), record.asker().into());
        row.insert("via".to_owned(), member("via"));
        row.insert("operation".to_owned(), operation.into());
        row.insert("asked_for".to_owned(), member("parameters"));
        row.insert("outcome".to_owned(), member("outcome"));
        row.insert("answer".to_owned(), member("answer"));
        row.insert("denials".to_owned(), record.denials().into());
        row.insert("identity".to_owned(), member("who"));
        row.insert("entry".to_owned(), seq.into());
        row.insert("use".to_owned(), record.id.to_string().into());
        rows.push(row);
    }
    rows.sort_by_cached_key(|row| (row["at"].to_string(), row["use"].to_string()));
    let mut totals = Row::new();
    totals.insert("uses".to_owned(), rows.iter().filter(|row| row["denials"].is_null()).count().into());
    totals.insert("uses_by_who".to_owned(), count_by(&rows, "who"));
    totals.insert("uses_by_operation".to_owned(), count_by(&rows, "operation"));
    totals.insert("strangers_turned_away".to_owned(), turned_away.into());
    let last = asking.archive.head()?.seq;
    notes.push(format!("what came into the chain after capture #{last} isn't in here; `tenure audit` shows it"));
    const COLUMNS: &[&str] = &["at", "who", "via", "operation", "asked_for", "outcome", "entry"];
    Ok(Table { columns: COLUMNS, rows, totals, notes, is_incomplete })
}

fn is_about(record: &Record, about: &str) -> bool {
    let about = about.to_lowercase();
    let Some(Value::Object(parameters)) = record.members.get("parameters") else { return false };
    parameters.values().any(|value| match value {
        Value::String(text) => text.to_lowercase().contains(&about),
        other => other.to_string().to_lowercase().contains(&about),
    })
}

async fn ended(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let (from, to) = bounds(asking)?;
    let chain = Chain::read(asking.archive).await?;
    let (mut rows, mut in_force) = (Vec::new(), BTreeMap::<u64, Option<(u64, u64)>>::new());
    // Of each segment the last entry, as far as the log has come.
    let mut breaches = 0_u64;
    for entry in &chain.entries {
        let body = &entry.body;
        let range = body.range.as_deref().and_then(|range| Some((*range.first()?, *range.get(1)?)));
        match body.kind.as_str() {
            "hold" => drop(in_force.insert(body.seq, range)),
            "release" => drop(body.target.and_then(|target| in_force.remove(&target))),
            // Signed by hand or by another tool: the program itself refuses.
            "expire" => {
                let touches = |held: &Option<(u64, u64)>| match (held, range) {
                    (Some((first, last)), Some((begin, end))) => first <= &end && &begin <= last,
                    _ => true,
                };
                breaches += u64::from(in_force.values().any(touches));
            }
            "erase" | "expired" => {}
            _ => continue,
        }
        if body.committed < from || to.is_some_and(|to| body.committed > to) {
            continue;
        }
        let mut row = Row::new();
        row.insert("at".to_owned(), body.committed.to_string().into());
        row.insert("entry".to_owned(), body.seq.into());
        row.insert("what".to_owned(), body.kind.as_str().into());
        row.insert("about".to_owned(), body.target.into());
        row.insert("container".to_owned(), body.container.clone().into());
        row.insert("entries".to_owned(), range.map(|(first, last)| format!("{first} to {last}")).into());
        row.insert("files".to_owned(), body.count.into());
        row.insert("answers".to_owned(), json!(body.answers));
        row.insert("signed_by".to_owned(), entry.key.to_string().into());
        rows.push(row);
    }
    let mut totals = Row::new();
    totals.insert("rows_by_what".to_owned(), count_by(&rows, "what"));
    totals.insert("holds_in_force".to_owned(), in_force.keys().copied().collect::<Vec<_>>().into());
    totals.insert("ended_although_held".to_owned(), breaches.into());
    let notes = chain.losses();
    let is_incomplete = !notes.is_empty();
    const COLUMNS: &[&str] = &["at", "entry", "what", "about", "container", "entries", "files", "answers", "signed_by"];
    Ok(Table { columns: COLUMNS, rows, totals, notes, is_incomplete })
}

/// Asks within an answer, and so names its own type: what is asked may be any question.
fn rerun<'a>(asking: &'a Asking<'a>) -> Pin<Box<dyn Future<Output = Result<Table, QueryError>> + Send + 'a>> {
    Box::pin(again(asking))
}

async fn again(asking: &Asking<'_>) -> Result<Table, QueryError> {
    let wanted = asking.text("use").unwrap_or_default().trim().to_lowercase();
    let chain = Chain::read(asking.archive).await?;
    let (records, mut notes) = chain.records(asking.archive).await?;
    let Some((entry, record)) = records.into_iter().find(|(_, record)| record.id.to_string() == wanted) else {
        let value = asking.text("use").unwrap_or_default().to_owned();
        let expected = "the id of a use that is in the chain".to_owned();
        return Err(super::AskError::Wrong { name: "use", value, expected }.into());
    };
    let nothing = Map::new();
    let parameters = record.members.get("parameters").and_then(Value::as_object).unwrap_or(&nothing);
    let text = |name: &str| parameters.get(name).and_then(Value::as_str);
    let question = text("question").map(find).transpose()?.filter(|question| question.name != RERUN.name);
    let answered = record.members.get("answer").and_then(Value::as_str);
    let (Some(question), Some(answered)) = (question, answered) else {
        let expected = "the id of a named question that was answered".to_owned();
        return Err(super::AskError::Wrong { name: "use", value: wanted, expected }.into());
    };
    let moment = |name: &str| text(name).map(|text| Moment::parse(text, record.at)).transpose();
    let times = Times { at: moment("at")?, from: moment("from")?, to: moment("to")? };
    let own = question.parameters.iter().filter_map(|one| Some((one.name.to_owned(), text(one.name)?.to_owned())));
    let own: Vec<(String, String)> = own.collect();
    let known = text("known_at").and_then(|text| text.trim_start_matches('#').parse::<u64>().ok());
    let candidates: Vec<u64> = match known {
        Some(seq) => vec![seq],
        None => {
            let before = chain.committed.iter().rev().filter(|(_, committed)| **committed <= record.at);
            before.map(|(seq, _)| *seq).take(CANDIDATES).collect()
        }
    };
    let mut rows = Vec::new();
    for seq in candidates {
        let answer = ask(&asking.archive.again(seq)?, question, &own, &times, record.at).await;
        let mut row = Row::new();
        row.insert("known_at".to_owned(), seq.into());
        match answer {
            Ok(answer) => {
                row.insert("hash".to_owned(), answer.hash.to_string().into());
                row.insert("same".to_owned(), (answer.hash.to_string() == answered).into());
            }
            Err(error) => drop(row.insert("error".to_owned(), error.to_string().into())),
        }
        let is_same = row.get("same") == Some(&Value::Bool(true));
        rows.push(row);
        if is_same {
            break;
        }
    }
    let is_same = rows.iter().any(|row| row.get("same") == Some(&Value::Bool(true)));
    let mut totals = Row::new();
    totals.insert("question".to_owned(), question.name.into());
    totals.insert("version".to_owned(), question.version.into());
    totals.insert("asked_at".to_owned(), record.at.to_string().into());
    totals.insert("asked_by".to_owned(), record.asker().into());
    totals.insert("asked_for".to_owned(), Value::Object(parameters.clone()));
    totals.insert("entry".to_owned(), entry.into());
    totals.insert("recorded_hash".to_owned(), answered.into());
    totals.insert("same".to_owned(), is_same.into());
    if !is_same {
        notes.push("no archive as it may have been known then gives the recorded hash".to_owned());
    }
    let is_incomplete = !is_same;
    Ok(Table { columns: &["known_at", "hash", "same", "error"], rows, totals, notes, is_incomplete })
}
