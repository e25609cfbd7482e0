//! Packs: every one that an entry commits to, byte for byte.
//!
//! Must never know: what the lines mean; `fold` does.

use std::ops::{ControlFlow, RangeInclusive};

use super::fold::Fold;
use super::orphans::Orphans;
use super::survey::Survey;
use super::{Options, Report, Severity, Stop};
use crate::archive::entry::{Entry, PackRef, entry_name};
use crate::archive::line::Line;
use crate::archive::pack::{self, Kind, parse_name};
use crate::hash::Hash;
use crate::store::{Store, StoreError};

/// What is read from, and who may break it off.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub store: &'a dyn Store,
    pub survey: &'a Survey,
    pub stop: Stop<'a>,
}

/// Where what is found goes.
pub(super) struct Found<'a> {
    pub fold: Option<&'a mut Fold>,
    pub orphans: &'a mut Orphans,
    pub report: &'a mut Report,
}

/// Checks the packs of every good entry in `range`, one at a time. `options` say of which entries the packs are read if
/// they aren't folded; `progress` hears of every entry.
pub(super) async fn check_range(
    reading: Reading<'_>,
    range: RangeInclusive<u64>,
    options: &Options,
    found: Found<'_>,
    mut progress: impl FnMut(),
) -> Result<ControlFlow<()>, StoreError> {
    let Found { mut fold, orphans, report } = found;
    for seq in range {
        if (reading.stop)() {
            return Ok(ControlFlow::Break(()));
        }
        if reading.survey.is_lost(seq)
            && let Some(fold) = fold.as_deref_mut()
        {
            fold.lose();
        }
        if reading.survey.is_good(seq) {
            progress();
            match reading.survey.entry(reading.store, seq).await? {
                Some(entry) => {
                    orphans.commit(&entry.body);
                    let wanted = is_within(&entry, options);
                    if check(reading, &entry, wanted, fold.as_deref_mut(), report).await?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                None => {
                    let message = "was changed or removed after the log was walked; what it committed to is unknown \
                                   until the next base";
                    report.finding("entry-changed", &entry_name(seq), seq, message.to_owned());
                    if let Some(fold) = fold.as_deref_mut() {
                        fold.lose();
                    }
                }
            }
        }
        orphans.close(reading, seq).await?;
    }
    Ok(ControlFlow::Continue(()))
}

fn is_within(entry: &Entry, options: &Options) -> bool {
    let at = entry.body.query_time();
    options.from.is_none_or(|from| at >= from) && options.to.is_none_or(|to| at <= to)
}

/// Checks the packs of one entry, and folds them where a fold is given.
async fn check(
    reading: Reading<'_>,
    entry: &Entry,
    wanted: bool,
    mut fold: Option<&mut Fold>,
    report: &mut Report,
) -> Result<ControlFlow<()>, StoreError> {
    let body = &entry.body;
    if !body.is_capture() && body.packs.is_none() {
        return Ok(ControlFlow::Continue(()));
    }
    let delta = body.delta.as_ref().map(|delta| delta.packs.as_slice()).unwrap_or_default();
    let base = body.base.as_ref().map(|base| base.packs.as_slice()).unwrap_or_default();
    let rest = body.packs.as_deref().unwrap_or_default();
    check_names(entry, &[(delta, &[Kind::Delta]), (base, &[Kind::Base]), (rest, &OTHER)], report);
    let expired = reading.survey.expiry(body);
    if expired == Some(true) {
        if body.opens_segment() {
            let message = "committed, content expired".to_owned();
            report.add(Severity::Note, "expired", &entry_name(body.seq), Some(body.seq), message);
        }
        if let Some(fold) = fold {
            fold.lose();
        }
        return Ok(ControlFlow::Continue(()));
    }
    if let Some(fold) = fold.as_deref_mut() {
        // The first capture's base is its change: nothing was before, so nothing can be lost.
        fold.begin(body, reading.survey.is_first(body.seq));
    }
    let reads = fold.is_some() || wanted;
    for (packs, role) in [(delta, Role::Delta), (rest, Role::Other), (base, Role::Base)] {
        if role == Role::Base
            && let Some(fold) = fold.as_deref_mut()
        {
            fold.end_delta(report);
        }
        for reference in packs.iter().filter(|_| reads) {
            if (reading.stop)() {
                return Ok(ControlFlow::Break(()));
            }
            check_pack(reading, reference, role, body.seq, expired.is_some(), fold.as_deref_mut(), report).await?;
        }
    }
    if let Some(fold) = fold
        && body.is_capture()
    {
        fold.end(report);
    }
    Ok(ControlFlow::Continue(()))
}

async fn check_pack(
    reading: Reading<'_>,
    reference: &PackRef,
    role: Role,
    seq: u64,
    expiring: bool,
    fold: Option<&mut Fold>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let file = read(reading.store, reference, seq, expiring, report).await?;
    let Some(fold) = fold else { return Ok(()) };
    let whole = file.is_some_and(|file| read_lines(reference, &file, role, seq, fold, report));
    if !whole && role != Role::Other {
        fold.miss(role == Role::Base);
    }
    Ok(())
}

/// The state after the capture at `seq`, which opens a segment, from its base alone; it isn't known where the base can't
/// be read. Nothing is reported: who checks the entry does that.
pub(super) async fn load_base(reading: Reading<'_>, seq: u64) -> Result<ControlFlow<(), Fold>, StoreError> {
    let (mut fold, mut unheard) = (Fold::default(), Report::default());
    let entry = reading.survey.entry(reading.store, seq).await?;
    let Some(entry) = entry.filter(|entry| reading.survey.expiry(&entry.body) != Some(true)) else {
        return Ok(ControlFlow::Continue(fold));
    };
    fold.begin(&entry.body, false);
    for reference in entry.body.base.iter().flat_map(|base| &base.packs) {
        if (reading.stop)() {
            return Ok(ControlFlow::Break(()));
        }
        check_pack(reading, reference, Role::Base, seq, false, Some(&mut fold), &mut unheard).await?;
    }
    fold.end(&mut unheard);
    Ok(ControlFlow::Continue(fold))
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
    let mut reader = pack::FrameReader::default();
    for (index, frame) in frames.iter().enumerate() {
        let bytes = file.get(frame.offset as usize..frame.offset as usize + frame.len as usize).unwrap_or_default();
        match reader.read(bytes, index, frame.raw) {
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
