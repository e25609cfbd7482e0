//! Packs: every one that an entry commits to, byte for byte, and what nobody commits to.
//!
//! Must never know: what the lines mean; `fold` does.

use std::collections::BTreeSet;

use super::fold::Fold;
use super::{Log, Report, Severity};
use crate::archive::entry::{Entry, PackRef, entry_name};
use crate::archive::line::Line;
use crate::archive::pack::{self, Kind, parse_name};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// Checks the packs of one entry, and folds them where a fold is given.
pub(super) async fn check(
    store: &dyn Store,
    log: &Log,
    entry: &Entry,
    wanted: bool,
    mut fold: Option<&mut Fold>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let body = &entry.body;
    let delta = body.delta.as_ref().map(|delta| delta.packs.as_slice()).unwrap_or_default();
    let base = body.base.as_ref().map(|base| base.packs.as_slice()).unwrap_or_default();
    let rest = body.packs.as_deref().unwrap_or_default();
    check_names(entry, &[(delta, &[Kind::Delta]), (base, &[Kind::Base]), (rest, &OTHER)], report);
    let expired = body.segment.and_then(|segment| log.expiry.get(&segment)).copied();
    if expired == Some(true) {
        if body.opens_segment() {
            let message = "committed, content expired".to_owned();
            report.add(Severity::Note, "expired", &entry_name(body.seq), Some(body.seq), message);
        }
        if let Some(fold) = fold {
            fold.lose();
        }
        return Ok(());
    }
    // The first capture's base is its change: nothing was before, so nothing can be lost.
    let before = log.entries.range(..body.seq).next_back().and_then(|(_, entry)| entry.body.segment);
    let first = body.opens_segment() && before.is_none() && log.lost.range(..body.seq).next().is_none();
    if let Some(fold) = fold.as_deref_mut() {
        fold.begin(body, first);
    }
    for (packs, role) in [(delta, Role::Delta), (rest, Role::Other), (base, Role::Base)] {
        if role == Role::Base
            && let Some(fold) = fold.as_deref_mut()
        {
            fold.end_delta(report);
        }
        for reference in packs {
            if fold.is_none() && !wanted {
                continue;
            }
            let file = match read(store, reference, body.seq, expired.is_some(), report).await? {
                Some(file) => file,
                None => {
                    if let Some(fold) = fold.as_deref_mut()
                        && role != Role::Other
                    {
                        fold.miss(role == Role::Base);
                    }
                    continue;
                }
            };
            if let Some(fold) = fold.as_deref_mut() {
                let whole = read_lines(reference, &file, role, body.seq, fold, report);
                if !whole && role != Role::Other {
                    fold.miss(role == Role::Base);
                }
            }
        }
    }
    if let Some(fold) = fold
        && body.is_capture()
    {
        fold.end(report);
    }
    Ok(())
}

const OTHER: [Kind; 4] = [Kind::Gated, Kind::Receipts, Kind::Originals, Kind::Access];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Delta,
    Base,
    Other,
}

/// Names, kinds and part numbers as the format has them.
fn check_names(entry: &Entry, groups: &[(&[PackRef], &[Kind])], report: &mut Report) {
    let body = &entry.body;
    for (packs, kinds) in groups {
        let mut parts: Vec<(Kind, usize)> = Vec::new();
        for reference in *packs {
            let fits = parse_name(&reference.n).is_some_and(|name| {
                let part = parts.iter().filter(|(kind, _)| *kind == name.kind).count();
                parts.push((name.kind, name.part));
                kinds.contains(&name.kind)
                    && name.part == part
                    && name.hash == reference.h
                    && name.place.seq == body.seq
                    && Some(name.place.segment) == body.segment
                    && Some(&name.place.container) == body.container.as_ref()
            });
            if !fits {
                let message = "is named by an entry that its name does not fit".to_owned();
                report.finding("pack-name", &reference.n, body.seq, message);
            }
        }
    }
}

/// The file, if it is what the entry says.
async fn read(
    store: &dyn Store,
    reference: &PackRef,
    seq: u64,
    expiring: bool,
    report: &mut Report,
) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match store.get(&reference.n).await {
        Ok(file) => file,
        Err(StoreError::NotFound { .. } | StoreError::BadName { .. }) => {
            let (severity, message) = match expiring {
                true => (Severity::Warning, "is missing; its segment is being expired".to_owned()),
                false => (
                    Severity::Finding,
                    format!("is missing; what capture {seq} recorded in it is lost, the other packs are not touched"),
                ),
            };
            report.add(severity, "pack-missing", &reference.n, Some(seq), message);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    report.checked.packs += 1;
    report.checked.bytes += file.len() as u64;
    let found = Hash::of(&file);
    if found == reference.h && file.len() as u64 == reference.len {
        return Ok(Some(file));
    }
    let message = format!(
        "hashes to {found} with {} bytes, entry {seq} says {} with {}; {}",
        file.len(),
        reference.h,
        reference.len,
        extent(&file, reference.raw)
    );
    report.finding("pack-damaged", &reference.n, seq, message);
    Ok(None)
}

/// Which objects a damaged pack touches, as far as its sound frames tell.
fn extent(file: &[u8], raw: u64) -> String {
    let Ok(Some(frames)) = pack::read_seek_table(file, file.len() as u64) else {
        return "its seek table is gone, so all of its records are doubtful; the other packs are not touched"
            .to_owned();
    };
    let key = |line: &[u8]| Line::read(line).map(|line| line.key.to_string()).ok();
    let mut broken = Vec::new();
    let mut before = None;
    let mut open = false;
    let mut total = 0;
    for (index, frame) in frames.iter().enumerate() {
        let bytes = file.get(frame.offset as usize..frame.offset as usize + frame.len as usize).unwrap_or_default();
        match pack::read_frame(bytes, index, frame.raw) {
            Ok(lines) => {
                total += lines.len() as u64;
                let mut each = lines.split(|&b| b == b'\n').filter(|line| !line.is_empty());
                let first = each.next().and_then(key);
                if open {
                    broken.push((before.take(), first.clone()));
                    open = false;
                }
                before = each.next_back().and_then(key).or(first);
            }
            Err(_) => open = true,
        }
    }
    if open {
        broken.push((before, None));
    }
    let end = |key: &Option<String>, word: &str| key.clone().unwrap_or_else(|| word.to_owned());
    match broken.as_slice() {
        [] if total == raw => "every frame still reads, so what changed cannot be told; treat its records as doubtful; the other packs are not touched".to_owned(),
        [] => "its frames read, but hold other records than were committed; the other packs are not touched".to_owned(),
        ranges => {
            let ranges: Vec<String> = ranges.iter().map(|(from, to)| format!("{} to {}", end(from, "its start"), end(to, "its end"))).collect();
            format!("records from {} cannot be read; the other packs are not touched", ranges.join(", "))
        }
    }
}

/// Whether every line could be read; otherwise no state can be folded from them.
fn read_lines(reference: &PackRef, file: &[u8], role: Role, seq: u64, fold: &mut Fold, report: &mut Report) -> bool {
    let mut problems: Vec<String> = Vec::new();
    let mut whole = true;
    let result = pack::read_all(file, reference.raw, |_, lines| {
        for line in lines.split_inclusive(|&b| b == b'\n') {
            let line = &line[..line.len() - 1];
            match role {
                Role::Other => continue,
                Role::Delta | Role::Base => match Line::parse(line) {
                    Ok(line) => problems.extend(fold.line(line, role == Role::Base)),
                    Err(error) => {
                        whole = false;
                        problems.push(format!("has a line that is {error}"));
                    }
                },
            }
        }
    });
    if let Err(error) = result {
        whole = false;
        problems.push(error.to_string());
    }
    let more = problems.len().saturating_sub(5);
    for problem in problems.into_iter().take(5) {
        report.finding("pack-content", &reference.n, seq, problem);
    }
    if more > 0 {
        report.finding("pack-content", &reference.n, seq, format!("and {more} more problems of this kind"));
    }
    whole
}

/// Files that no entry commits to.
pub(super) async fn report_orphans(store: &dyn Store, log: &Log, report: &mut Report) -> Result<(), StoreError> {
    let mut committed: BTreeSet<&str> = BTreeSet::new();
    let mut containers: BTreeSet<&str> = BTreeSet::new();
    for entry in log.entries.values() {
        let body = &entry.body;
        let delta = body.delta.iter().flat_map(|delta| &delta.packs);
        let base = body.base.iter().flat_map(|base| &base.packs);
        committed.extend(delta.chain(base).chain(body.packs.iter().flatten()).map(|pack| pack.n.as_str()));
        containers.extend(body.container.as_deref());
    }
    for container in containers {
        let listed = match store.list(&format!("{container}/s/"), "").await {
            Ok(listed) => listed,
            Err(StoreError::BadName { .. }) => continue,
            Err(error) => return Err(error),
        };
        let orphans: Vec<&str> =
            listed.iter().map(|blob| blob.name.as_str()).filter(|name| !committed.contains(name)).collect();
        if let Some(first) = orphans.first() {
            let message =
                format!("{} files here belong to no entry; a crash before a commit leaves such files", orphans.len());
            report.add(Severity::Note, "orphan", first, None, message);
        }
    }
    Ok(())
}
