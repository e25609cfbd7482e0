//! Answers as text for people: times, tables, properties line by line, the basis.
//!
//! Must never know: where an answer comes from.

use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;

use super::console::Paint;
use crate::diff::{Change, LinkChange, PropertyChange};
use crate::index::CaptureRow;
use crate::query::{Basis, Certainty, Gap};

/// `2026-08-01 13:00:00 UTC`.
pub fn time(at: Timestamp) -> String {
    jiff::fmt::strtime::format("%Y-%m-%d %H:%M:%S UTC", at).unwrap_or_else(|_| at.to_string())
}

/// `#12 (2026-08-01 13:00:00 UTC)`.
pub fn capture(row: &CaptureRow) -> String {
    format!("#{} ({})", row.seq, time(row.time))
}

/// A table without lines whose columns named in `right` are aligned to the right.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `1 entry`, `2 entries`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What a certainty means.
pub fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Corroborated => "corroborated (the audit log tells when it changed)",
        Certainty::Observed => "observed",
        Certainty::ChangedInGap => "changed-in-gap (it changed around that time, and nobody saw on which side of it)",
        Certainty::Unknown => "unknown (nobody looked then, nor since)",
    }
}

/// The sign and the key of an object that differs, with its label.
pub fn heading(paint: Paint, change: Change, key: &str, label: Option<&str>) -> String {
    let label = label.map_or(String::new(), |label| format!("  {label:?}"));
    let text = match change {
        Change::Added => paint.green(format!("+ {key}{label}")),
        Change::Removed => paint.red(format!("- {key}{label}")),
        Change::Changed => format!("~ {}{label}", paint.bold(key)),
    };
    text.to_string()
}

/// Changed properties, `- path  before` and `+ path  after`. Of an object that came or went as a whole what is null or
/// empty is left out.
pub fn properties(paint: Paint, changes: &[PropertyChange], change: Change) -> Vec<String> {
    let whole = change != Change::Changed;
    let says = |value: &Option<String>| !whole || !matches!(value.as_deref(), Some("null" | "[]" | "{}" | "\"\""));
    let width = changes.iter().map(|change| change.path.len()).max().unwrap_or(0).min(40);
    let mut lines = Vec::new();
    for change in changes {
        let path = if change.path.is_empty() { "(content)" } else { &change.path };
        let (before, after) = match &change.elements {
            Some(elements) => (elements.removed.clone(), elements.added.clone()),
            None => {
                let side = |value: &Option<String>| value.clone().filter(|_| says(value)).into_iter().collect();
                (side(&change.before), side(&change.after))
            }
        };
        lines.extend(before.iter().map(|value| paint.red(format!("  - {path:width$}  {value}"))));
        lines.extend(after.iter().map(|value| paint.green(format!("  + {path:width$}  {value}"))));
        if before.is_empty() && after.is_empty() && !whole {
            lines.push(format!("  ~ {path:width$}  (same elements in another order)"));
        }
    }
    lines
}

/// Changed links, one a line; `label` names a target.
pub fn links(paint: Paint, changes: &[LinkChange], label: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let named = |key: &str| label(key).map_or(key.to_owned(), |label| format!("{key}  {label:?}"));
    let with = |properties: &Option<String>| properties.as_ref().map_or(String::new(), |json| format!("  {json}"));
    let mut lines = Vec::new();
    for change in changes {
        let relation = &change.relation;
        for key in &change.removed {
            lines.push(paint.red(format!("  - {relation} → {}", named(key.as_str()))));
        }
        for (key, properties) in &change.added {
            lines.push(paint.green(format!("  + {relation} → {}{}", named(key.as_str()), with(properties))));
        }
        for (key, before, after) in &change.changed {
            lines.push(paint.red(format!("  - {relation} → {}{}", named(key.as_str()), with(before))));
            lines.push(paint.green(format!("  + {relation} → {}{}", named(key.as_str()), with(after))));
        }
    }
    lines
}

/// The last line: what an answer rests on.
pub fn basis(bases: &[&Basis]) -> String {
    let captures: Vec<String> = bases.iter().map(|basis| capture(&basis.instant.capture)).collect();
    let mut parts = vec![format!("basis: capture {}", captures.join(" to "))];
    let asked: Vec<String> = bases.iter().filter_map(|basis| basis.instant.asked.map(time)).collect();
    if !asked.is_empty() {
        parts.push(format!("asked for {}", asked.join(" to ")));
    }
    for basis in bases {
        if basis.is_late() {
            parts.push("nothing was captured since".to_owned());
        }
        if basis.instant.capture.unknown {
            let seq = basis.instant.capture.seq;
            parts.push(format!("the state at #{seq} is unknown, packs or entries are lost: shown is the last known"));
        }
    }
    let mut gaps: Vec<&Gap> = Vec::new();
    for gap in bases.iter().flat_map(|basis| &basis.gaps) {
        if !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }
    match gaps.is_empty() {
        true => parts.push("coverage complete".to_owned()),
        false => {
            let gaps: Vec<String> = gaps.iter().map(|gap| format!("{} {}", gap.subject(), gap.reason())).collect();
            parts.push(format!("not complete: {}", gaps.join(", ")));
        }
    }
    parts.join("; ")
}
