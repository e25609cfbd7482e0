//! Rows about objects in JSON: an object as of a time, its revisions, what a search found, what differs.
//!
//! Must never know: how an answer is found, and where its rows go.

use super::json;
use crate::canonical::Key;
use crate::query::{Answer, Attributed, Difference, Found, Revision};

/// An object as of an instant.
pub fn object(answer: &Answer) -> String {
    let instant = &answer.basis.instant;
    let mut row = json::Object::new().text("key", &answer.key).text("at", json::time(instant.capture.time));
    row = row.number("seq", instant.capture.seq).text("certainty", answer.certainty.as_str());
    row = row.raw("since", &json::capture(answer.since.as_ref()));
    if let Some(read) = answer.read_since() {
        row = row.number("read_since", read);
    }
    row = json::content(row, answer.content.as_ref());
    row = row.raw("links", &json::links(&answer.links, "target"));
    row.raw("incoming", &json::links(&answer.incoming, "source"))
        .raw("basis", &json::basis(&answer.basis))
        .flag("incomplete", answer.is_incomplete())
        .end()
}

/// One change of the object `key`.
pub fn revision(key: &Key, revision: &Revision) -> String {
    let row = json::Object::new().text("key", key).number("seq", revision.capture.seq);
    let row = row.text("time", json::time(revision.capture.time)).text("change", revision.change.as_str());
    let row = row.raw("after", &json::capture(revision.not_before.as_ref()));
    let row = row.raw("until", &json::capture(Some(&revision.capture)));
    let by = revision.by.iter().map(|attribution| {
        json::Object::new()
            .text("time", json::time(attribution.time))
            .optional_text("actor", attribution.actor.key.as_ref().map(Key::as_str))
            .optional_text("name", attribution.actor.name.as_deref())
            .text("activity", &attribution.activity)
            .text("event", &attribution.event)
            .end()
    });
    row.raw("properties", &json::properties(&revision.properties))
        .raw("links", &json::link_changes(&revision.links))
        .raw("by", &json::array(by))
        .optional_text("attributed", revision.attributed.as_ref().map(attributed))
        .end()
}

/// The word for what the log says.
fn attributed(attributed: &Attributed) -> &'static str {
    match attributed {
        Attributed::By(_) => "log",
        Attributed::Silent => "silent",
        Attributed::Unread => "unread",
    }
}

/// An object that a search found.
pub fn found(found: &Found) -> String {
    let row = json::Object::new().text("key", &found.key).optional_text("label", found.label.as_deref());
    let row = row.raw("matched", &json::array(found.matched.iter().map(|name| json::quoted(name))));
    row.flag("present", found.present).number("last", found.last).end()
}

/// An object that differs between two instants.
pub fn difference(difference: &Difference) -> String {
    json::Object::new()
        .text("key", &difference.key)
        .text("change", difference.change.as_str())
        .raw("properties", &json::properties(&difference.properties))
        .raw("links", &json::link_changes(&difference.links))
        .end()
}
