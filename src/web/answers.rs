//! How each operation is answered, from the archive and from what the service knows of itself.
//!
//! Must never know: who asks, and how an answer travels.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lines::Lines;
use super::operations::Name;
use super::parameters::Parameters;
use super::problem::Problem;
use super::shelf::{Shelf, size_of};
use crate::answer::failure::Failure;
use crate::answer::json::{self as rows, Object};
use crate::answer::{log, objects, questions as described, request, uses};
use crate::canonical::Key;
use crate::daemon::Kind as Alarm;
use crate::hash::Hash;
use crate::ledger::records_of;
use crate::query::questions::{self, CATALOGUE, Times};
use crate::query::{Archive, Basis, Instant, Moment, QueryError, Scope};

/// What is answered.
pub(super) enum Answer {
    /// A JSON object.
    Whole {
        body: String,
        tag: Option<String>,
        /// Of answers that have one of their own.
        hash: Option<Hash>,
    },
    /// Nothing that the client doesn't have.
    Unmodified { tag: String },
    /// Rows, one after the other.
    Lines { lines: Box<Lines>, tag: String },
}

/// Why there is no answer.
pub(super) enum Refusal {
    Failure(Failure),
    Problem(Problem),
}

impl<E: Into<Failure>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Failure(error.into())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Problem(problem)
    }
}

/// A question on its way to an answer.
pub(super) struct Asking<'a> {
    pub operation: Name,
    pub shelf: &'a Shelf,
    pub parameters: &'a Parameters,
    pub now: Timestamp,
    /// Tags of answers that the client has.
    pub has: Vec<String>,
}

/// Entries that one page looks at, however few of them it shows.
const LOOKS: u64 = 5000;
/// Rows of an answer, which is one JSON value and is made in memory.
const ROWS: usize = 200_000;
/// Entries with own-use records that one page reads: each is two files, and a store may be far away.
const AUDIT_LOOKS: u64 = 500;
/// Clocks of those who record and of those who commit don't differ by more.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

impl Asking<'_> {
    /// Answers.
    pub async fn answer(&self) -> Result<Answer, Refusal> {
        match self.operation {
            Name::Tenants => Err(Problem::not_found().into()),
            Name::Status => self.status().await,
            Name::Verification => Ok(self.verification()),
            Name::Captures => self.captures().await,
            Name::Coverage => self.coverage().await,
            Name::Show => self.show().await,
            Name::History => self.history().await,
            Name::Search => self.search().await,
            Name::Dump => self.dump().await,
            Name::Diff => self.diff().await,
            Name::Questions => Ok(questions_page()),
            Name::Ask => self.ask().await,
            Name::Audit => self.audit().await,
        }
    }

    /// The archive, as it was known when the parameters say, or when the first page was made.
    fn archive(&self) -> Result<Archive, Refusal> {
        let opening = "the archive isn't open yet: the service may be building its index";
        let mut archive = self.shelf.archive()?.ok_or_else(|| Problem::unavailable(opening))?;
        if let Some(text) = self.parameters.text("known_at") {
            archive.know_at(request::known_at("known_at", text)?)?;
        }
        if let Some((known, _)) = self.parameters.cursor()?
            && known > 0
        {
            archive.know_at(known)?;
        }
        Ok(archive)
    }

    /// The tag of the answer: another one for another request, another head, another instant that the request means, or
    /// another build. What a time expression means by now counts, not how it is spelled.
    async fn tag(&self, archive: &Archive, instants: &[&Instant]) -> Result<String, Refusal> {
        let (leaf, _) = archive.entry_hashes(archive.head()?.seq).await?;
        let cursor = self.parameters.text("cursor").unwrap_or_default();
        let mut text = format!(
            "{} {:?} {} {leaf} {} {cursor}",
            env!("CARGO_PKG_VERSION"),
            self.operation,
            self.shelf.tenant.name,
            self.parameters.print()
        );
        for instant in instants {
            let asked = instant.asked.map_or(String::new(), |asked| asked.to_string());
            text.push_str(&format!(" {} {asked}", instant.capture.seq));
        }
        Ok(format!("\"{}\"", &Hash::of(text.as_bytes()).to_string()[..32]))
    }

    fn is_known(&self, tag: &str) -> bool {
        self.has.iter().any(|has| has == tag.trim_start_matches("W/") || has == "*")
    }

    async fn show(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let at = archive.at(&self.parameters.moment("at", self.now)?, self.now)?;
        let tag = self.tag(&archive, &[&at]).await?;
        let (key, id) = archive.resolve(self.parameters.needed("name"), &at).await?;
        if self.is_known(&tag) {
            return Ok(Answer::Unmodified { tag });
        }
        let answer = archive.as_of(&key, id, &at).await?;
        Ok(Answer::Whole { body: objects::object(&answer), tag: Some(tag), hash: None })
    }

    async fn history(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let head = archive.at(&Moment::Head, self.now)?;
        let tag = self.tag(&archive, &[]).await?;
        let (key, id) = archive.resolve(self.parameters.needed("name"), &head).await?;
        if self.is_known(&tag) {
            return Ok(Answer::Unmodified { tag });
        }
        let (after, limit) = (self.number_of_cursor()?, self.parameters.limit());
        let revisions = archive.history_after(&key, id, after, limit + 1).await?;
        let shown = &revisions[..revisions.len().min(limit)];
        let next = shown.last().filter(|_| revisions.len() > limit).map(|last| last.capture.seq.to_string());
        let basis = archive.basis(&head, Some(key.collection())).await?;
        let rows = shown.iter().map(|revision| objects::revision(&key, revision)).collect();
        self.page(rows, next, &archive, &basis, tag)
    }

    async fn search(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let head = archive.at(&Moment::Head, self.now)?;
        let at = match self.parameters.text("at") {
            Some(_) => Some(archive.at(&self.parameters.moment("at", self.now)?, self.now)?),
            None => None,
        };
        let tag = self.tag(&archive, &[at.as_ref().unwrap_or(&head)]).await?;
        if self.is_known(&tag) {
            return Ok(Answer::Unmodified { tag });
        }
        let after = match self.parameters.cursor()? {
            Some((_, place)) => Some(place.parse::<Key>().map_err(|_| Problem::invalid("the cursor names no key"))?),
            None => None,
        };
        let (limit, collection) = (self.parameters.limit(), self.parameters.text("collection"));
        let text = self.parameters.needed("text");
        let mut found = archive.search_after(text, at.as_ref(), collection, after.as_ref(), limit + 1).await?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|last| last.key.to_string());
        let basis = archive.basis(at.as_ref().unwrap_or(&head), collection).await?;
        self.page(found.iter().map(objects::found).collect(), next, &archive, &basis, tag)
    }

    async fn dump(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let at = archive.at(&self.parameters.moment("at", self.now)?, self.now)?;
        let tag = self.tag(&archive, &[&at]).await?;
        if self.is_known(&tag) {
            return Ok(Answer::Unmodified { tag });
        }
        let collection = self.parameters.text("collection").map(str::to_owned);
        let basis = archive.basis(&at, collection.as_deref()).await?;
        let lines = Lines::Dump { archive, at, collection, basis };
        Ok(Answer::Lines { lines: Box::new(lines), tag })
    }

    async fn diff(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let from = archive.at_beginning(&self.parameters.moment("from", self.now)?)?;
        let to = archive.at(&self.parameters.moment("to", self.now)?, self.now)?;
        let tag = self.tag(&archive, &[&from, &to]).await?;
        let object = match self.parameters.text("object") {
            Some(name) => Some(archive.resolve(name, &to).await?.0),
            None => None,
        };
        if self.is_known(&tag) {
            return Ok(Answer::Unmodified { tag });
        }
        let scope = Scope { collection: self.parameters.text("collection").map(str::to_owned), object };
        let asked = scope.collection.as_deref().or(scope.object.as_ref().map(|key| key.collection()));
        let bases = [archive.basis(&from, asked).await?, archive.basis(&to, asked).await?];
        let lines = Lines::Diff { archive, scope, bases, with_effect: self.parameters.flag("effect") };
        Ok(Answer::Lines { lines: Box::new(lines), tag })
    }

    async fn ask(&self) -> Result<Answer, Refusal> {
        let question = questions::find(self.parameters.needed("question")).map_err(QueryError::from)?;
        let archive = self.archive()?;
        let moment = |name| self.parameters.text(name).map(|text| request::moment(Some(text), self.now)).transpose();
        let times = Times { at: moment("at")?, from: moment("from")?, to: moment("to")? };
        let answer = questions::ask(&archive, question, self.parameters.open(), &times, self.now).await?;
        // The hash is over all that the archive says: who has it has the answer. Who asked and when stands beside it, and makes
        // the tag a weak one.
        let (hash, rows) = (answer.hash, answer.table.rows.len());
        let tag = format!("W/\"{hash}\"");
        if self.is_known(&tag) {
            return Ok(Answer::Unmodified { tag });
        }
        if rows > ROWS {
            let detail = format!("the answer has {rows} rows, and {ROWS} at most are sent over HTTP");
            return Err(Problem::invalid(detail)
                .hint("ask about less, or ask with `tenure ask` on the machine itself")
                .into());
        }
        let is_incomplete = answer.is_incomplete();
        let mut body = answer.into_json();
        body.insert("incomplete".to_owned(), is_incomplete.into());
        let asked = json!({"time": self.now.to_string(), "tool": format!("tenure {}", env!("CARGO_PKG_VERSION"))});
        body.insert("asked".to_owned(), asked);
        Ok(Answer::Whole { body: Value::Object(body).to_string(), tag: Some(tag), hash: Some(hash) })
    }

    async fn captures(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let (from, to) = (self.parameters.moment("from", self.now)?, self.parameters.moment("to", self.now)?);
        let is_newest_first = self.parameters.text("order") == Some("newest");
        let mut size = size_of(&archive)?;
        let mut known = archive.view().last_capture().map_err(QueryError::from)?.map_or(0, |row| row.seq);
        let mut seq = match (self.parameters.cursor()?, is_newest_first) {
            (Some((first, place)), _) => {
                // As long as the log was for the first page it is for the others.
                known = first;
                let [seq, entries] = numbers(&place).ok_or_else(|| Problem::invalid("the cursor names no entry"))?;
                size = size.min(entries);
                Some(seq)
            }
            (None, true) => size.checked_sub(1),
            (None, false) => Some(first_entry(&archive, &from)?),
        };
        let (mut items, mut damaged, mut looks) = (Vec::new(), Vec::new(), 0);
        let limit = self.parameters.limit();
        while let Some(number) = seq.filter(|number| *number < size && items.len() < limit && looks < LOOKS) {
            looks += 1;
            let mut committed = None;
            match archive.entry(number).await {
                Ok(entry) => {
                    committed = Some(entry.body.committed);
                    if log::is_within(&entry.body, &from, &to) {
                        items.push(String::from_utf8_lossy(&entry.text).into_owned());
                    }
                }
                Err(QueryError::Entry { seq, .. }) => damaged.push(seq.to_string()),
                Err(error) => return Err(error.into()),
            }
            tokio::task::consume_budget().await;
            let is_before = match &from {
                Moment::Capture(first) => number <= *first,
                from => from
                    .first()
                    .and_then(|first| first.checked_sub(SLACK).ok())
                    .is_some_and(|first| committed < Some(first)),
            };
            seq = match is_newest_first {
                // Whatever comes next is older still.
                true if is_before => None,
                true => number.checked_sub(1),
                false => Some(number + 1),
            };
        }
        let next = seq.filter(|number| *number < size);
        let next = next.map(|number| self.parameters.next(known, &format!("{number}.{size}")));
        let body = Object::new().raw("items", &rows::array(items)).raw("damaged", &rows::array(damaged.clone()));
        let body = body.optional_text("next", next.as_deref()).flag("incomplete", !damaged.is_empty());
        Ok(Answer::Whole { body: body.end(), tag: None, hash: None })
    }

    async fn coverage(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let known = archive.head()?.seq;
        let log = self.shelf.log(&archive).await?;
        let collection = self.parameters.text("collection");
        let courses = log.timeline.courses().filter(|(subject, _)| collection.is_none_or(|name| subject.0 == name));
        let all = courses.map(|(subject, course)| log::course(subject, course));
        let all = all.chain(log.timeline.outages().iter().map(log::outage));
        let first = self.number_of_cursor()?.unwrap_or(0) as usize;
        let limit = self.parameters.limit();
        let mut left = all.skip(first);
        let items: Vec<String> = left.by_ref().take(limit).collect();
        let next = left.next().map(|_| self.parameters.next(known, &(first + limit).to_string()));
        let body = Object::new().raw("items", &rows::array(items)).number("seq", known);
        let body = body.optional_text("next", next.as_deref()).flag("incomplete", !log.damaged.is_empty());
        Ok(Answer::Whole { body: body.end(), tag: None, hash: None })
    }

    async fn audit(&self) -> Result<Answer, Refusal> {
        // First what waits: what is brought into the chain meanwhile is found there.
        let mut spooled = self.shelf.tenant.ledger.spooled()?;
        let archive = self.archive()?;
        let bound = |name, side: fn(&Moment) -> Option<Timestamp>| -> Result<Option<Timestamp>, Refusal> {
            let Some(text) = self.parameters.text(name) else { return Ok(None) };
            let moment = request::moment(Some(text), self.now)?;
            match moment {
                Moment::Capture(_) => Ok(Some(archive.at(&moment, self.now)?.capture.time)),
                moment => Ok(side(&moment)),
            }
        };
        let wanted = uses::Wanted {
            from: bound("from", Moment::first)?,
            to: bound("to", Moment::last)?,
            who: self.parameters.text("who").map(str::to_owned),
            operation: self.parameters.text("operation").map(str::to_owned),
        };
        // What was used is committed later: before a time lies nothing that was committed long before it.
        let earliest = wanted.from.and_then(|from| from.checked_sub(SLACK).ok());
        let mut entries = self.shelf.uses(&archive).await?;
        entries.retain(|(_, committed)| earliest.is_none_or(|earliest| *committed >= earliest));
        // Pages follow the log as it grows: what waited for the first one may be in it by the last.
        let [first, skip] = match self.parameters.cursor()? {
            Some((_, place)) => numbers(&place).ok_or_else(|| Problem::invalid("the cursor names no record"))?,
            None => [0, 0],
        };
        let (mut items, mut unread, mut next) = (Vec::new(), Vec::new(), None);
        let (limit, mut looks) = (self.parameters.limit(), 0);
        let mut seen = std::collections::BTreeSet::new();
        'entries: for seq in entries.into_iter().map(|(seq, _)| seq).filter(|seq| *seq >= first) {
            if looks >= AUDIT_LOOKS || items.len() >= limit {
                next = Some(format!("{seq}.0"));
                break;
            }
            looks += 1;
            let body = archive.body(seq).await?;
            let records = match records_of(self.shelf.store(), &body).await {
                Ok(records) => records,
                // Its segment ended, or it is damaged: `verify` tells which.
                Err(_) => {
                    unread.push(seq.to_string());
                    continue;
                }
            };
            for (index, record) in records.into_iter().enumerate() {
                seen.insert(record.id);
                if (seq == first && (index as u64) < skip) || !wanted.holds(&record) {
                    continue;
                }
                if items.len() >= limit {
                    next = Some(format!("{seq}.{index}"));
                    break 'entries;
                }
                items.push(uses::used(Some(seq), &record));
            }
        }
        if next.is_none() {
            spooled.retain(|record| !seen.contains(&record.id) && wanted.holds(record));
            items.extend(spooled.iter().map(|record| uses::used(None, record)));
        }
        let known = archive.view().last_capture().map_err(QueryError::from)?.map_or(0, |row| row.seq);
        let next = next.map(|place| self.parameters.next(known, &place));
        let body = Object::new().raw("items", &rows::array(items)).raw("unread", &rows::array(unread.clone()));
        let body = body.optional_text("next", next.as_deref()).flag("incomplete", !unread.is_empty());
        Ok(Answer::Whole { body: body.end(), tag: None, hash: None })
    }

    async fn status(&self) -> Result<Answer, Refusal> {
        let archive = self.archive()?;
        let size = size_of(&archive)?;
        let last = archive.body(size.saturating_sub(1)).await?;
        let capture = match archive.view().last_capture().map_err(QueryError::from)? {
            Some(row) => Some(archive.body(row.seq).await?),
            None => None,
        };
        let health = self.shelf.tenant.health().to_json();
        let storage = health["storage"].clone();
        let body = log::status(size, &last, capture.as_deref(), true, &health, &storage).to_string();
        Ok(Answer::Whole { body, tag: None, hash: None })
    }

    fn verification(&self) -> Answer {
        let health = self.shelf.tenant.health();
        let is_about = |alarm: &Alarm| matches!(alarm, Alarm::VerificationFinding | Alarm::VerificationLate);
        let alarms = health.alarms.iter().filter(|alarm| is_about(&alarm.kind)).map(|alarm| {
            json!({"kind": alarm.kind.as_str(), "subject": alarm.subject, "since": alarm.since.to_string(), "text": alarm.text})
        });
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let body = json!({
            "enabled": health.verified.is_some(),
            "every_byte_since": health.verified.and_then(|verified| time(verified.since)),
            "step_at": health.verified.and_then(|verified| time(verified.step_at)),
            "findings": health.verified.map(|verified| verified.findings),
            "findings_ever": health.notices.get(&Alarm::VerificationFinding).copied().unwrap_or(0),
            "alarms": alarms.collect::<Vec<_>>(),
        });
        Answer::Whole { body: body.to_string(), tag: None, hash: None }
    }

    fn number_of_cursor(&self) -> Result<Option<u64>, Refusal> {
        let Some((_, place)) = self.parameters.cursor()? else { return Ok(None) };
        Ok(Some(place.parse().map_err(|_| Problem::invalid("the cursor names no place"))?))
    }

    fn page(
        &self,
        items: Vec<String>,
        next: Option<String>,
        archive: &Archive,
        basis: &Basis,
        tag: String,
    ) -> Result<Answer, Refusal> {
        let known = archive.head()?.seq;
        let next = next.map(|place| self.parameters.next(known, &place));
        let body = Object::new().raw("items", &rows::array(items)).raw("basis", &rows::basis(basis));
        let body = body.flag("incomplete", basis.is_incomplete()).optional_text("next", next.as_deref());
        Ok(Answer::Whole { body: body.end(), tag: Some(tag), hash: None })
    }
}

/// The numbers of a place in a cursor.
fn numbers<const N: usize>(place: &str) -> Option<[u64; N]> {
    let parts: Option<Vec<u64>> = place.split('.').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

fn questions_page() -> Answer {
    let rows: Vec<Value> = CATALOGUE.iter().map(|question| Value::Object(described::described(question))).collect();
    let body = json!({"items": rows, "next": null, "incomplete": false});
    Answer::Whole { body: body.to_string(), tag: None, hash: None }
}

/// The entry with which a period begins: the last capture before it, since what isn't a capture may lie between.
fn first_entry(archive: &Archive, from: &Moment) -> Result<u64, Refusal> {
    if let Moment::Capture(seq) = from {
        return Ok(*seq);
    }
    let Some(first) = from.first() else { return Ok(0) };
    let before = archive.view().capture_at(first, None).map_err(QueryError::from)?;
    Ok(before.map_or(0, |row| row.seq))
}
