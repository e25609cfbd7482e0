//! Rows of the own-use log in JSON, and whose they are.
//!
//! Must never know: how records are found, and where rows go.

use jiff::Timestamp;

use super::json;
use crate::ledger::Record;

/// What a count of strangers is called among operations.
pub const DENIALS: &str = "denials";

/// Which records are asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Until this time.
    pub to: Option<Timestamp>,
    /// By whom this is a name, a number, an id or a role of.
    pub who: Option<String>,
    /// Of this kind.
    pub operation: Option<String>,
}

impl Wanted {
    /// Whether a record is one of them.
    pub fn holds(&self, record: &Record) -> bool {
        self.from.is_none_or(|from| record.at >= from)
            && self.to.is_none_or(|to| record.at <= to)
            && self.who.as_deref().is_none_or(|who| record.is_by(who))
            && self.operation.as_deref().is_none_or(|name| record.operation().unwrap_or(DENIALS) == name)
    }
}

/// The record as it was written, and the entry that holds it; none while it is spooled.
pub fn used(seq: Option<u64>, record: &Record) -> String {
    let seq = seq.map_or("null".to_owned(), |seq| seq.to_string());
    json::Object::new().raw("seq", &seq).raw("record", &String::from_utf8_lossy(&record.text)).end()
}
