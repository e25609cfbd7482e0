//! JSON rows written member by member, so that archived values go out with exactly their bytes.
//!
//! Must never know: which rows there are, and where they go.

use crate::archive::line::Content;
use crate::diff::{LinkChange, PropertyChange};
use crate::index::CaptureRow;
use crate::query::{Basis, Gap, Link};

/// An object under construction.
#[derive(Debug, Default)]
pub struct Object(String);

impl Object {
    /// An object without members.
    pub fn new() -> Object {
        Object::default()
    }

    /// A member whose value is JSON already.
    pub fn raw(mut self, name: &str, json: &str) -> Object {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// A text.
    pub fn text(self, name: &str, text: impl std::fmt::Display) -> Object {
        let json = quoted(&text.to_string());
        self.raw(name, &json)
    }

    /// A text or `null`.
    pub fn optional_text(self, name: &str, text: Option<&str>) -> Object {
        let json = text.map_or_else(|| "null".to_owned(), quoted);
        self.raw(name, &json)
    }

    /// A whole number.
    pub fn number(self, name: &str, number: u64) -> Object {
        self.raw(name, &number.to_string())
    }

    /// True or false.
    pub fn flag(self, name: &str, flag: bool) -> Object {
        self.raw(name, if flag { "true" } else { "false" })
    }

    /// The text of the whole.
    pub fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON array of values that are JSON already.
pub fn array(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// A time of a capture in the archive's own form.
pub fn time(at: jiff::Timestamp) -> String {
    crate::clock::format_millis(at)
}

/// `{"seq","time"}` of a capture, or `null`.
pub fn capture(row: Option<&CaptureRow>) -> String {
    row.map_or("null".to_owned(), |row| Object::new().number("seq", row.seq).text("time", time(row.time)).end())
}

/// Members for content: `content` with its bytes, and `raw` or `hidden` where it isn't canonical JSON.
pub fn content(object: Object, content: Option<&Content>) -> Object {
    use base64::Engine;
    match content {
        Some(Content::Canonical(bytes)) => object.raw("content", &String::from_utf8_lossy(bytes)),
        Some(Content::Raw(bytes)) => {
            object.raw("content", "null").text("raw", base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        Some(Content::Hidden(hash)) => object.raw("content", "null").text("hidden", hash),
        None => object.raw("content", "null"),
    }
}

/// Changed properties; a set-valued one also has the elements that came and went.
pub fn properties(changes: &[PropertyChange]) -> String {
    array(changes.iter().map(|change| {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let mut row = Object::new().text("path", &change.path);
        row = row.raw("before", &value(&change.before)).raw("after", &value(&change.after));
        if let Some(elements) = &change.elements {
            row = row.raw("added", &array(elements.added.clone())).raw("removed", &array(elements.removed.clone()));
        }
        row.end()
    }))
}

/// Changed links by relation. `p` holds the properties of added targets that have any.
pub fn link_changes(changes: &[LinkChange]) -> String {
    array(changes.iter().map(|change| {
        let mut row = Object::new().text("rel", &change.relation);
        row = row.raw("added", &array(change.added.iter().map(|(key, _)| quoted(key.as_str()))));
        row = row.raw("removed", &array(change.removed.iter().map(|key| quoted(key.as_str()))));
        if change.added.iter().any(|(_, properties)| properties.is_some()) {
            let with = change.added.iter().filter_map(|(key, properties)| Some((key, properties.as_ref()?)));
            row = row.raw("p", &with.fold(Object::new(), |p, (key, json)| p.raw(key.as_str(), json)).end());
        }
        if !change.changed.is_empty() {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
            let changed = change.changed.iter().map(|(key, before, after)| {
                let row = Object::new().text("target", key);
                row.raw("before", &value(before)).raw("after", &value(after)).end()
            });
            row = row.raw("changed", &array(changed));
        }
        row.end()
    }))
}

/// Links as of an instant; `end` names the member that holds the other end.
pub fn links(links: &[Link], end: &str) -> String {
    array(links.iter().map(|link| {
        let row = Object::new().text("rel", &link.relation).text(end, &link.other).number("since", link.since);
        match &link.properties {
            Some(properties) => row.raw("p", &String::from_utf8_lossy(properties)).end(),
            None => row.end(),
        }
    }))
}

/// What an answer rests on.
pub fn basis(basis: &Basis) -> String {
    let row = Object::new().number("seq", basis.instant.capture.seq).text("time", time(basis.instant.capture.time));
    let asked = basis.instant.asked.map(time);
    let row = row.optional_text("asked", asked.as_deref()).flag("complete", !basis.is_incomplete());
    row.raw("gaps", &array(basis.gaps.iter().map(gap))).end()
}

fn gap(gap: &Gap) -> String {
    let mut row = Object::new().text("c", &gap.collection);
    for (name, value) in [("r", &gap.relation), ("f", &gap.facet)] {
        if let Some(value) = value {
            row = row.text(name, value);
        }
    }
    row = row.optional_text("st", gap.status.map(|status| status.as_str()));
    if let Some(code) = &gap.code {
        row = row.text("code", code);
    }
    if let Some(oldest) = gap.oldest {
        row = row.number("oldest", oldest);
    }
    row.end()
}
