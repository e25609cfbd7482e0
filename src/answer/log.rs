//! Rows about the log in JSON, and which entries lie in a period.
//!
//! Must never know: how entries are found, and where rows go.

use jiff::Timestamp;

use serde_json::{Value, json as value};

use super::json;
use crate::archive::entry::{Body, Status};
use crate::query::{Course, Hole, Mark, Moment, Subject};

/// Whether an entry lies in a period.
pub fn is_within(body: &Body, from: &Moment, to: &Moment) -> bool {
    let at = time_of(body);
    let begun = match from {
        Moment::Capture(seq) => body.seq >= *seq,
        from => from.first().is_none_or(|from| at >= from),
    };
    let ended = match to {
        Moment::Capture(seq) => body.seq <= *seq,
        to => to.last().is_none_or(|to| at <= to),
    };
    begun && ended
}

/// The time for which an entry stands.
pub fn time_of(body: &Body) -> Timestamp {
    if body.is_capture() { body.query_time() } else { body.committed }
}

fn mark_in_json(mark: Option<Mark>) -> String {
    let row = |mark: Mark| json::Object::new().number("seq", mark.seq).text("time", json::time(mark.time)).end();
    mark.map_or("null".to_owned(), row)
}

fn hole_in_json(hole: &Hole) -> String {
    let status = hole.status.map(Status::as_str);
    let row = json::Object::new().raw("from", &mark_in_json(Some(hole.from))).raw("to", &mark_in_json(Some(hole.to)));
    row.optional_text("status", status).optional_text("code", hole.code.as_deref()).end()
}

/// What the log says of one thing that is captured.
pub fn course(subject: &Subject, course: &Course) -> String {
    let row = json::Object::new().text("collection", &subject.0).optional_text("relation", subject.1.as_deref());
    let row = row.optional_text("facet", subject.2.as_deref()).optional_text("property", subject.3.as_deref());
    let row = row.raw("since", &mark_in_json(course.since)).raw("last", &mark_in_json(course.last));
    let row = row.text("status", course.status.as_str()).optional_text("code", course.code.as_deref());
    let row = row.optional_text("needs", course.needs.as_deref());
    row.raw("holes", &json::array(course.holes.iter().map(hole_in_json))).end()
}

/// A time without any capture.
pub fn outage(outage: &Hole) -> String {
    json::Object::new().raw("outage", &hole_in_json(outage)).end()
}

/// The log's head, what the service says of itself, and what is known of the storage.
pub fn status(
    entries: u64,
    last: &Body,
    capture: Option<&Body>,
    is_running: bool,
    service: &Value,
    storage: &Value,
) -> Value {
    value!({
        "entries": entries,
        "last_entry": { "seq": last.seq, "kind": last.kind, "committed": last.committed.to_string() },
        "last_capture": capture.map(|body| value!({
            "seq": body.seq,
            "time": body.query_time().to_string(),
            "slot": body.slot.map(|slot| slot.to_string()),
            "objects": body.state.objects,
            "links": body.state.links,
        })),
        "running": is_running,
        "service": service,
        "storage": storage,
    })
}
