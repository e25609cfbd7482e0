//! What a service remembers between runs beside its alarms: why slots were missed, when everything was read whole, which
//! rows were seen, how far the log was watched. Losing it costs a whole read and the reasons of gaps.
//!
//! Must never know: tenant content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::file;

const FILE: &str = "service.json";

/// Reasons that are kept: a gap of more slots than this has mostly one.
const MOST_REASONS: usize = 2_000;

/// How a row of coverage has been doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Whether it was ever read.
    pub was_read: bool,
    /// Captures in a row in which it wasn't.
    pub unread: u64,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    directory: PathBuf,
    /// Slots that couldn't be filled, with the reason.
    pub reasons: BTreeMap<Timestamp, String>,
    /// The last capture that read everything whole.
    pub reconciled: Option<Timestamp>,
    /// Rows of coverage by name.
    pub rows: BTreeMap<String, Row>,
    /// The last entry that was looked at for what to tell; `None` before the first.
    pub watched: Option<u64>,
}

impl Memory {
    pub fn open(directory: &Path) -> Memory {
        let value = file::read(directory, FILE);
        let members = |name: &str| value[name].as_object().into_iter().flatten();
        let reasons = members("reasons").filter_map(|(slot, why)| Some((slot.parse().ok()?, why.as_str()?.to_owned())));
        let rows = members("rows").filter_map(|(name, row)| {
            Some((name.clone(), Row { was_read: row[0].as_bool()?, unread: row[1].as_u64()? }))
        });
        Memory {
            directory: directory.to_owned(),
            reasons: reasons.collect(),
            reconciled: value["reconciled"].as_str().and_then(|at| at.parse().ok()),
            rows: rows.collect(),
            watched: value["watched"].as_u64(),
        }
    }

    /// Remembers why a slot isn't filled yet; the last reason counts.
    pub fn blame(&mut self, slot: Timestamp, code: &str) {
        if self.reasons.insert(slot, code.to_owned()).as_deref() == Some(code) {
            return;
        }
        while self.reasons.len() > MOST_REASONS {
            self.reasons.pop_first();
        }
        self.keep();
    }

    /// Slots up to `slot` are settled.
    pub fn settle(&mut self, slot: Timestamp) {
        self.reasons.retain(|other, _| *other > slot);
    }

    pub fn keep(&self) {
        let reasons: BTreeMap<String, &String> =
            self.reasons.iter().map(|(slot, code)| (slot.to_string(), code)).collect();
        let rows: BTreeMap<&String, Value> =
            self.rows.iter().map(|(name, row)| (name, json!([row.was_read, row.unread]))).collect();
        let kept = json!({
            "reasons": reasons,
            "reconciled": self.reconciled.map(|at| at.to_string()),
            "rows": rows,
            "watched": self.watched,
        });
        file::write(&self.directory, FILE, &kept);
    }
}
