//! From changes to a committed entry: roots, packs, the body.
//!
//! Must never know: how changes came about.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::merge::Merged;
use super::progress::{Progress, Update};
use super::section::Section;
use super::{CaptureError, Committed, Spent, base};
use crate::archive::appender::Appender;
use crate::archive::entry::{Base, Body, Coverage, Delta, Entry, PackRef, StateSummary, Status, entry_name};
use crate::archive::pack::{Kind, PackWriter, Part, Place};
use crate::archive::reader::LineReader;
use crate::archive::trie::{self, Leaf};
use crate::canonical;
use crate::clock::Clock;
use crate::graph::Receipt;
use crate::index::{IndexError, View};
use crate::model;
use crate::store::{Store, StoreError};

/// When, as the entry says it.
pub(super) struct Times {
    pub t0: Timestamp,
    pub slot: Option<Timestamp>,
    pub skew_ms: i64,
}

/// The month in which an instant lies, as containers are named.
fn month(at: Timestamp) -> String {
    jiff::fmt::strtime::format("%Y-%m", at).expect("a timestamp has a year and a month")
}

/// The container in which a segment is opened at `at`: that of its month, or, where nobody made that one, the newest before
/// it that is there, the present one at the latest.
async fn container(store: &dyn Store, at: Timestamp, present: Option<&str>) -> Result<String, StoreError> {
    let mut date = at.to_zoned(TimeZone::UTC).date().first_of_month();
    let wanted = month(at);
    loop {
        let name = jiff::fmt::strtime::format("%Y-%m", date).expect("a date has a year and a month");
        // Without an older one there is nowhere to go, and the first write says what is missing.
        if present.is_none_or(|present| name.as_str() <= present) {
            return Ok(present.unwrap_or(&wanted).to_owned());
        }
        if store.is_provisioned(&name).await? {
            return Ok(name);
        }
        date = date.saturating_sub(1.month());
    }
}

/// Whether a capture at `at` opens a segment.
async fn opens_segment(last: &Body, lines: &LineReader, at: Timestamp) -> Result<bool, CaptureError> {
    let Some(segment) = last.segment else { return Ok(true) };
    let opening = Entry::parse(&lines.store().get(&entry_name(segment)).await?).ok().map(|entry| entry.body);
    // Where the opening entry can't be read any more its container still tells the month, or an earlier one.
    let opened = match opening.map(|body| body.query_time()) {
        Some(opened) => month(opened),
        None => last.container.clone().unwrap_or_default(),
    };
    Ok(month(at) > opened)
}

/// The state that the index holds where entries after it are lost.
async fn last_known_state(view: &View, lines: &LineReader) -> Result<StateSummary, CaptureError> {
    let Some(capture) = view.last_known_capture()? else { return Ok(StateSummary::default()) };
    let file = lines.store().get(&entry_name(capture.seq)).await?;
    Ok(Entry::parse(&file).map_or_else(|_| StateSummary::default(), |entry| entry.body.state))
}

/// Writes the packs and commits the entry.
pub(super) async fn commit(
    appender: &mut Appender,
    view: &View,
    lines: &LineReader,
    progress: &Progress,
    clock: &dyn Clock,
    mut merged: Merged,
    times: Times,
) -> Result<(Committed, Update), CaptureError> {
    let mut body = appender.draft("capture", times.t0)?;
    (body.slot, body.t0, body.skew_ms) = (times.slot, Some(times.t0), Some(times.skew_ms));
    // A clock that is a year ahead would open a segment that no month ever ends.
    let at = body.query_time();
    let first = body.segment.is_none();
    let next_month = opens_segment(&body, lines, at).await?;
    let is_known = view.is_state_known()?;
    let opens = next_month || !is_known;
    if opens {
        body.segment = Some(body.seq);
    }
    if next_month {
        body.container = Some(container(&**lines.store(), at, body.container.as_deref()).await?);
    }
    let place = Place {
        container: body.container.clone().expect("set when the first segment was opened"),
        segment: body.segment.expect("set when the first segment was opened"),
        seq: body.seq,
    };
    let before = if is_known { body.state.clone() } else { last_known_state(view, lines).await? };
    let changes: Vec<Leaf> = merged.leaves.iter().map(|(key, _, after)| (*key, *after)).collect();
    let state = StateSummary {
        root: view.root_with(&changes)?,
        objects: before.objects.saturating_add_signed(merged.counts.objects),
        links: before.links.saturating_add_signed(merged.counts.links),
    };
    let changed = merged.leaves.iter().map(|(key, old, new)| (*key, trie::change_value(*old, *new)));
    let delta_root = trie::root(changed.chain(merged.event_leaves.iter().copied()).collect());
    let mut events = std::mem::take(&mut merged.events);
    let (delta_packs, base_packs) = if first {
        // The first capture's base is its change, so that its lines go there; what happened is in no base.
        let base = write_sections(appender, &place, Kind::Base, &mut merged.sections).await?;
        (write_sections(appender, &place, Kind::Delta, &mut events).await?, Some(base))
    } else {
        merged.sections.append(&mut events);
        let delta = write_sections(appender, &place, Kind::Delta, &mut merged.sections).await?;
        let base = match opens {
            true => Some(write_base(appender, view, lines, &place, &mut merged, &state).await?),
            false => None,
        };
        (delta, base)
    };
    let mut packs = write_all(appender, &place, Kind::Gated, &merged.gated).await?;
    packs.extend(write_all(appender, &place, Kind::Receipts, &receipt_lines(&merged.receipts)).await?);
    let counts = merged.counts;
    body.delta = Some(Delta {
        root: delta_root,
        put: counts.put,
        del: counts.del,
        ladd: counts.ladd,
        ldel: counts.ldel,
        ev: merged.event_leaves.len() as u64,
        packs: delta_packs,
    });
    body.base = base_packs.map(|packs| Base { packs });
    body.packs = Some(packs);
    body.state = state;
    body.run = Some(uuid::Uuid::new_v4().to_string());
    body.last_slot = times.slot.or(body.last_slot);
    body.t1 = Some(clock.now());
    body.committed = clock.now();
    body.canon = Some(u64::from(model::LISTS_VERSION));
    body.facets = Some(u64::from(model::LISTS_VERSION));
    let mut update = merged.update;
    update.opens = opens;
    let mut cover = std::mem::take(&mut merged.rows).into_cover();
    for row in &mut cover {
        say_what_was_asked(row, opens, progress, &mut update)?;
    }
    body.cover = Some(cover);
    let leaf = appender.commit(&body).await?;
    // The rows were marked before the number was known.
    for (complete, whole) in update.rows.values_mut() {
        *complete = complete.map(|_| body.seq);
        *whole = whole.map(|_| body.seq);
    }
    Ok((Committed { body, leaf, troubles: merged.troubles, spent: Spent::default() }, update))
}

/// The properties that were asked for are said where they are others than before, and in the first row of a segment: a
/// hundred names in every entry would be most of the log. `*` says that none are named any more.
fn say_what_was_asked(
    row: &mut Coverage,
    opens: bool,
    progress: &Progress,
    update: &mut Update,
) -> Result<(), CaptureError> {
    let name = row.subject();
    let before = progress.asked(&name)?;
    if row.asked.is_empty() {
        if row.st != Status::Complete || row.r.is_some() || before.is_empty() || before == ["*"] {
            return Ok(());
        }
        row.asked.push("*".to_owned());
    }
    if !opens && before == row.asked {
        row.asked.clear();
    } else {
        update.asked.insert(name, row.asked.clone());
    }
    Ok(())
}

async fn put(appender: &Appender, parts: Vec<Part>, packs: &mut Vec<PackRef>) -> Result<(), CaptureError> {
    for part in parts {
        appender.put_pack(&part).await?;
        packs.push(part.reference);
    }
    Ok(())
}

async fn write_sections(
    appender: &Appender,
    place: &Place,
    kind: Kind,
    sections: &mut BTreeMap<String, Section>,
) -> Result<Vec<PackRef>, CaptureError> {
    let mut writer = PackWriter::new(place.clone(), kind);
    let mut packs = Vec::new();
    for section in sections.values_mut() {
        let mut parts = Vec::new();
        section.read(|_, lines| parts.extend(writer.push(lines)))?;
        put(appender, parts, &mut packs).await?;
    }
    put(appender, writer.finish(), &mut packs).await?;
    Ok(packs)
}

async fn write_all(appender: &Appender, place: &Place, kind: Kind, lines: &[u8]) -> Result<Vec<PackRef>, CaptureError> {
    let mut packs = Vec::new();
    put(appender, crate::archive::pack::write(place, kind, lines), &mut packs).await?;
    Ok(packs)
}

/// Writes the base and checks that it is the state: what is about to be signed for a month is computed twice.
async fn write_base(
    appender: &Appender,
    view: &View,
    lines: &LineReader,
    place: &Place,
    merged: &mut Merged,
    state: &StateSummary,
) -> Result<Vec<PackRef>, CaptureError> {
    let mut writer = PackWriter::new(place.clone(), Kind::Base);
    let mut packs = Vec::new();
    let mut sections = std::mem::take(&mut merged.sections);
    let mut leaves = Vec::new();
    base::write(view, lines, &mut sections, async |lines, leaf| {
        leaves.push(leaf);
        put(appender, writer.push(lines), &mut packs).await
    })
    .await?;
    put(appender, writer.finish(), &mut packs).await?;
    let found = trie::root(leaves);
    if found != state.root {
        return Err(IndexError::Mismatch { seq: place.seq, expected: state.root, found }.into());
    }
    Ok(packs)
}

/// The lines of the receipts pack.
fn receipt_lines(receipts: &[Receipt]) -> Vec<u8> {
    let mut lines = Vec::new();
    for receipt in receipts {
        let mut value: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
        value.insert("method", receipt.method.into());
        value.insert("path", receipt.path_and_query.clone().into());
        value.insert("status", receipt.status.into());
        value.insert("items", receipt.items.into());
        value.insert("len", receipt.len.into());
        value.insert("sha256", receipt.sha256.to_string().into());
        if let Some(id) = &receipt.request_id {
            value.insert("request_id", id.clone().into());
        }
        if let Some(date) = &receipt.date {
            value.insert("date", date.clone().into());
        }
        if !receipt.keys.is_empty() {
            value.insert("keys", receipt.keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().into());
        }
        let written = serde_json::to_vec(&value).expect("plain values serialise");
        let json = canonical::parse(&written).expect("what serde_json writes is JSON");
        let text = canonical::canonicalize(&json, &canonical::Rules::default()).expect("small numbers and sound text");
        lines.extend_from_slice(&text);
        lines.push(b'\n');
    }
    lines
}
