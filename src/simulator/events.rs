//! Reading the audit log.
//!
//! Must never know: how records come into being.
//!
//! Follows "List directoryAudits": filter and order by `activityDateTime`, pages of up to 1,000, newest first. Tokens
//! name the last record told, so that late records neither shift a page nor come twice.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::audit::Mark;
use super::exchange::{Ask, Refusal, Reply};
use super::reads::{Desk, Paging, document, page_size};
use super::routes::World;
use super::token::Continuation;

const PAGING: Paging =
    Paging { default: 1000, max: 1000, options: &["$filter", "$top", "$orderby", "$skiptoken", "$count"] };

/// Answers `/auditLogs/directoryAudits` and what is below it.
pub(super) fn read(world: &World<'_>, desk: &mut Desk<'_>, ask: &Ask, rest: &[&str]) -> Result<Reply, Refusal> {
    let log = &world.directory.log;
    let oldest = ask.now - SignedDuration::from_hours(24 * world.audit_days);
    match rest {
        [] => list(world, desk, ask, oldest),
        [id] => {
            ask.allow_only(&[])?;
            let marks = log.shown(oldest, ask.now, ask.now);
            let found = marks.iter().map(|mark| log.record(mark)).find(|record| record["id"] == *id);
            document(ask, "auditLogs/directoryAudits/$entity", found.ok_or_else(|| Refusal::missing(id))?)
        }
        [_, segment, ..] => Err(Refusal::unknown(segment)),
    }
}

fn list(world: &World<'_>, desk: &mut Desk<'_>, ask: &Ask, oldest: Timestamp) -> Result<Reply, Refusal> {
    ask.allow_only(PAGING.options)?;
    let size = page_size(ask, &PAGING)?;
    let span = Span::of(ask.option("$filter"))?;
    let oldest_first = match ask.option("$orderby").map(str::trim) {
        None | Some("activityDateTime desc") => false,
        Some("activityDateTime" | "activityDateTime asc") => true,
        Some(_) => return Err(Refusal::bad("Only activityDateTime can be ordered by.")),
    };
    let log = &world.directory.log;
    let mut marks = log.shown(span.first.max(oldest), span.last.min(ask.now), ask.now);
    if !oldest_first {
        marks.reverse();
    }
    if let Some(token) = ask.option("$skiptoken") {
        let told = told(token, &desk.key).ok_or_else(|| Refusal::bad("Skip token is invalid."))?;
        marks.retain(|mark| if oldest_first { *mark > told } else { *mark < told });
    }
    let more = marks.len() > size;
    marks.truncate(size);
    let mut items: Vec<Value> = marks.iter().map(|mark| log.record(mark)).collect();
    if desk.dice.chance(desk.weather.repeated) && !items.is_empty() {
        items.push(desk.dice.pick(&items).clone());
    }
    let mut body = Map::new();
    body.insert("@odata.context".into(), json!(ask.context("auditLogs/directoryAudits")));
    if more && let Some(last) = marks.last() {
        body.insert("@odata.nextLink".into(), json!(next_link(ask, &desk.key, last)));
    }
    body.insert("value".into(), Value::Array(items));
    Ok(Reply::Json(Value::Object(body)))
}

/// The time between which records are wanted, ends included.
struct Span {
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    /// Of `activityDateTime ge X and activityDateTime le Y`, both or one or none of them.
    fn of(filter: Option<&str>) -> Result<Self, Refusal> {
        let mut span = Self { first: Timestamp::MIN, last: Timestamp::MAX };
        let bad = || Refusal::bad("Invalid filter clause.");
        for clause in filter.into_iter().flat_map(|filter| filter.split(" and ")) {
            let words: Vec<&str> = clause.split_whitespace().collect();
            let [name, operator, time] = words.as_slice() else { return Err(bad()) };
            let time: Timestamp = time.parse().map_err(|_| bad())?;
            let instant = SignedDuration::from_micros(1);
            if !name.eq_ignore_ascii_case("activityDateTime") {
                return Err(bad());
            }
            match *operator {
                "ge" => span.first = time,
                "gt" => span.first = time + instant,
                "le" => span.last = time,
                "lt" => span.last = time - instant,
                _ => return Err(bad()),
            }
        }
        Ok(span)
    }
}

fn told(token: &str, key: &[u8; 32]) -> Option<Mark> {
    let place = Continuation::open(token, key).filter(|place| place.subject == "directoryAudits")?;
    Some((Timestamp::from_microsecond(place.issued).ok()?, place.until))
}

fn next_link(ask: &Ask, key: &[u8; 32], last: &Mark) -> String {
    let place = Continuation {
        subject: "directoryAudits".into(),
        select: None,
        since: None,
        until: last.1,
        issued: last.0.as_microsecond(),
        nonce: 0,
        after: None,
        link_after: None,
        replay: false,
        turn: 0,
        epoch: 0,
    };
    let token = place.seal(key);
    let kept = ask.options.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"));
    let mut options: Vec<(&str, &str)> = kept.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    options.push(("$skiptoken", &token));
    ask.link(&options)
}
