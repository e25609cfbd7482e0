//! Verification in small steps, each of which checks one segment deeply: for a service that reads its whole archive again
//! and again, and may be stopped at any time.
//!
//! Must never know: when a step is due; `pace` says that.
//!
//! A pass is: [`Survey::begin`] and [`Survey::extend`], [`Survey::check`] once for what is wrong with the log itself, then
//! [`step`] until there is no next. What its reports say together is what [`super::verify`] says of the same archive with
//! [`Options::deep`](super::Options), each finding once.
//!
//! A step covers what lies behind the entry that opens its segment, up to and including the entry that opens the next one:
//! that one's delta is folded on the state of this segment and compared with its base, so that no seam goes unchecked. The
//! state that a step begins with is that of its segment's own base, which the step before has checked. Where that base
//! can't be read, the segments before are folded once more, back to one that can: an archive that is damaged costs more
//! time, and is told of in the same words.

use std::ops::{ControlFlow, RangeInclusive};

use serde::{Deserialize, Serialize};

use super::fold::Fold;
use super::orphans::Orphans;
use super::packs::{Found, Reading, check_range, load_base};
use super::survey::Survey;
use super::{Options, Report, Stop};
use crate::store::{Store, StoreError};

/// Where the next step begins: something to keep outside the archive between two steps.
///
/// It is never believed. A position counts only if the log that was walked has the same genesis and the same root at that
/// size, and a segment begins there; otherwise the pass begins anew. (A saved walk with its keys would spare the walk after
/// a restart, and make a local file something that verification rests on.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The genesis leaf of the log, hex.
    pub log: String,
    /// Entries before the first one of the next step.
    pub size: u64,
    /// The root of the log of that size, hex; `None` where an entry below is lost, so that there is none.
    pub root: Option<String>,
}

/// What a step did.
#[derive(Debug, Clone)]
pub struct Step {
    /// What was checked, and what is wrong.
    pub report: Report,
    /// Where the next step begins; `None` at the end of a pass.
    pub next: Option<Position>,
    /// The first entry that was checked.
    pub first_seq: u64,
    /// The last entry that was checked.
    pub last_seq: u64,
    /// Whether this is the first step of a pass, with or without having been asked for a later one.
    pub begins: bool,
    /// The genesis leaf of the log, hex.
    pub log: String,
}

/// How many steps a pass over the log takes, as far as it was walked.
pub fn steps(survey: &Survey) -> usize {
    starts(survey).count()
}

/// How many steps of a pass lie before `position`; none for a position that doesn't count.
pub fn steps_before(survey: &Survey, position: Option<&Position>) -> usize {
    position.and_then(|position| number_of(survey, position)).unwrap_or(0)
}

/// Checks what lies at `position`, or at the beginning of the log without one that counts. `None` where `stop` ended it:
/// then nothing is known, and the same step is to be made again.
///
/// At most one pack and one state are in memory.
///
/// # Errors
/// The store's. What is wrong with the archive is no error but a finding.
pub async fn step(
    store: &dyn Store,
    survey: &Survey,
    position: Option<&Position>,
    stop: Stop<'_>,
) -> Result<Option<Step>, StoreError> {
    let reading = Reading { store, survey, stop };
    let number = steps_before(survey, position);
    let range = range_of(survey, number);
    let ControlFlow::Continue(mut fold) = settle(reading, number).await? else { return Ok(None) };
    let ControlFlow::Continue(mut orphans) = begun_containers(reading, &range).await? else { return Ok(None) };
    let mut report = Report::default();
    let found = Found { fold: Some(&mut fold), orphans: &mut orphans, report: &mut report };
    if check_range(reading, range.clone(), &Options::default(), found, || ()).await?.is_break() {
        return Ok(None);
    }
    orphans.report(&mut report);
    let next = starts(survey).nth(number + 1).map(|first| position_at(survey, first));
    report.checked.entries = range.end() - range.start() + 1;
    let log = survey.genesis_leaf().to_string();
    Ok(Some(Step { report, next, first_seq: *range.start(), last_seq: *range.end(), begins: number == 0, log }))
}

/// The first entries of the steps of a pass.
fn starts(survey: &Survey) -> impl Iterator<Item = u64> {
    let later = survey.openings().iter().skip(1).map(|opening| opening + 1);
    std::iter::once(0).chain(later.filter(|first| *first < survey.size()))
}

fn range_of(survey: &Survey, number: usize) -> RangeInclusive<u64> {
    let mut starts = starts(survey).skip(number);
    let first = starts.next().unwrap_or(0);
    first..=starts.next().unwrap_or(survey.size()) - 1
}

fn position_at(survey: &Survey, size: u64) -> Position {
    let root = survey.root_at(size).map(|root| root.to_string());
    Position { log: survey.genesis_leaf().to_string(), size, root }
}

fn number_of(survey: &Survey, position: &Position) -> Option<usize> {
    let number = starts(survey).position(|first| first == position.size)?;
    (position_at(survey, position.size) == *position).then_some(number)
}

/// The state with which step `number` begins: that after the entry just before it.
async fn settle(reading: Reading<'_>, number: usize) -> Result<ControlFlow<(), Fold>, StoreError> {
    let openings = reading.survey.openings();
    if number == 0 {
        return Ok(ControlFlow::Continue(Fold::default()));
    }
    for from in (0..=number).rev() {
        let ControlFlow::Continue(mut fold) = load_base(reading, openings[from]).await? else {
            return Ok(ControlFlow::Break(()));
        };
        let settled = fold.is_known() || reading.survey.is_expired(openings[from]) || from == 0;
        if !settled {
            continue;
        }
        let (mut nobody, mut unheard) = (Orphans::default(), Report::default());
        let found = Found { fold: Some(&mut fold), orphans: &mut nobody, report: &mut unheard };
        let between = openings[from] + 1..=openings[number];
        let read = check_range(reading, between, &Options::default(), found, || ()).await?;
        return Ok(match read {
            ControlFlow::Continue(()) => ControlFlow::Continue(fold),
            ControlFlow::Break(()) => ControlFlow::Break(()),
        });
    }
    Ok(ControlFlow::Continue(Fold::default()))
}

/// What entries before `range` commit to in the containers that end in it.
async fn begun_containers(
    reading: Reading<'_>,
    range: &RangeInclusive<u64>,
) -> Result<ControlFlow<(), Orphans>, StoreError> {
    let mut orphans = Orphans::new(reading.survey);
    let ending = reading.survey.containers().values().filter(|(_, last)| range.contains(last));
    let first = ending.map(|(first, _)| *first).min().unwrap_or(*range.start());
    for seq in first..*range.start() {
        if (reading.stop)() {
            return Ok(ControlFlow::Break(()));
        }
        if reading.survey.is_good(seq)
            && let Some(entry) = reading.survey.entry(reading.store, seq).await?
        {
            orphans.commit(&entry.body);
        }
    }
    Ok(ControlFlow::Continue(orphans))
}
