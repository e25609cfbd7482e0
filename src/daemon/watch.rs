//! What an entry of the log gives reason to tell somebody.
//!
//! Must never know: who is told.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::alarm::{Book, Kind};
use super::memory::{Memory, Row};
use crate::archive::entry::{Body, Coverage, MAX_SKEW_MS, Status};
use crate::collect::code;

/// A row that isn't read for once is told of when that happens again: much of it passes by itself.
const PATIENCE: u64 = 2;

/// Looks at a gap that was declared.
pub(super) fn look_at_gap(body: &Body, book: &mut Book, now: Timestamp) {
    let slots: Vec<&str> = body.slots.iter().flatten().map(String::as_str).collect();
    let text = format!("a gap was recorded ({})", body.code.as_deref().unwrap_or("failed"));
    book.happened(Kind::CaptureMissed, &slots.join(" to "), Some(body.seq), now, text);
}

/// Looks at a capture.
pub(super) fn look(body: &Body, memory: &mut Memory, book: &mut Book, now: Timestamp) {
    let (mut shrunk, mut gated, mut skewed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut rows = BTreeMap::new();
    for row in body.cover.iter().flatten() {
        let name = row.subject();
        let next = follow(memory.rows.get(&name).copied().unwrap_or_default(), row);
        if next.was_read && (next.unread >= PATIENCE || next.unread > 0 && row.st == Status::Absent) {
            let code = row.code.as_deref().unwrap_or("unknown");
            shrunk.insert(name.clone(), format!("{} ({code}) since capture #{}", row.st.as_str(), body.seq));
        }
        if row.code.as_deref() == Some(code::GATE) {
            gated.insert(
                name.clone(),
                "removals are held back until a second whole read, or a person, confirms them".to_owned(),
            );
        }
        if let Some(missed) = row.missed.filter(|missed| *missed > 0) {
            book.happened(Kind::FeedMissed, &name, Some(body.seq), now, format!("{missed} changes"));
        }
        rows.insert(name, next);
    }
    let skew = body.skew_ms.unwrap_or(0);
    if skew.abs() > MAX_SKEW_MS {
        skewed.insert(String::new(), format!("{} seconds; slots and times go by the service's", skew / 1000));
    }
    book.set_all(Kind::CoverageShrank, &shrunk, now);
    book.set_all(Kind::MassDisappearance, &gated, now);
    book.set_all(Kind::ClockSkew, &skewed, now);
    if body.opens_segment() {
        let month = crate::clock::format_millis(body.query_time())[..7].to_owned();
        let container = body.container.clone().unwrap_or_default();
        if container != month {
            let text = format!("the month's segment was opened in {container}");
            book.happened(Kind::MonthMissing, &month, Some(body.seq), now, text);
        }
    }
    memory.rows = rows;
}

/// How a row is doing after one more capture.
fn follow(before: Row, row: &Coverage) -> Row {
    let is_read = matches!(row.st, Status::Complete | Status::Rolling | Status::NotDue);
    // Turned off on purpose; or in the middle of the first round.
    let is_meant = matches!(row.code.as_deref(), Some(code::OFF | code::NOT_YET | code::GATE));
    match is_read || is_meant {
        true => Row { was_read: (before.was_read || is_read) && row.code.as_deref() != Some(code::OFF), unread: 0 },
        false => Row { unread: before.unread + 1, ..before },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Status, code: Option<&str>) -> Coverage {
        Coverage { code: code.map(str::to_owned), ..Coverage::new("user", None, None, status) }
    }

    /// Captures of one row → after which of them the alarm stands.
    fn check(captures: &[(Status, Option<&str>)], expected: &[bool]) {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(directory.path());
        let mut book = Book::open(directory.path(), "t", true);
        let mut body: Body = serde_json::from_value(serde_json::json!({
            "v": 0, "kind": "capture", "origin": "o", "seq": 3, "prev": "0".repeat(64), "committed": "2026-11-02T13:00:00.000Z",
            "last_slot": null, "state": {"root": "0".repeat(64), "objects": 0, "links": 0}, "req": [], "tool": "t",
        }))
        .unwrap();
        let mut found = Vec::new();
        for (status, code) in captures {
            body.cover = Some(vec![row(*status, *code)]);
            look(&body, &mut memory, &mut book, Timestamp::UNIX_EPOCH);
            memory.keep();
            memory = Memory::open(directory.path());
            found.push(book.active().any(|active| active.kind == Kind::CoverageShrank));
        }
        assert_eq!(found, expected, "{captures:?}");
    }

    #[test]
    fn what_was_read_and_is_not_any_more_is_told() {
        use Status::{Absent, Carried, Complete, NotDue, Partial};
        let lost = (Absent, Some(code::NO_PERMISSION));
        let late = (Carried, Some("throttled"));
        check(&[(Complete, None), lost, lost, (Complete, None)], &[false, true, true, false]);
        check(&[(Complete, None), late, (Complete, None), late, late], &[false, false, false, false, true]);
        check(&[(NotDue, None), late, late, (NotDue, None)], &[false, false, true, false]);
        // What never was there can't shrink, and what was turned off on purpose doesn't.
        check(&[lost, lost, lost], &[false, false, false]);
        check(&[(Complete, None), (Absent, Some(code::OFF)), lost], &[false, false, false]);
        check(&[(Partial, Some(code::NOT_YET)), (Complete, None)], &[false, false]);
    }
}
