//! Stretches of captures as times: when something surely held, within which times it may have, and what that comes to over a period.
//!
//! Must never know: what held.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Asking;
use crate::canonical::Key;
use crate::query::access::{Access, Held};
use crate::query::conditional_access::Truth;
use crate::query::{QueryError, has_failed};

/// When something surely held, and within which times it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub outer: (Timestamp, Timestamp),
    pub inner: Option<(Timestamp, Timestamp)>,
}

impl Stretch {
    /// What `key` said in these captures; where one record of the audit log tells when that began or ended, exactly.
    pub async fn said(asking: &Asking<'_>, key: &Key, held: &Held) -> Result<Stretch, QueryError> {
        asking.access.facts.rest_on("directoryAudit", None);
        let begin = match held.is_open {
            true => (Timestamp::MIN, time(asking, held.from)?),
            false => change(asking, key, held.missing, held.from).await?,
        };
        let end = match held.until {
            Some(until) => change(asking, key, held.sure, until).await?,
            None => (time(asking, held.sure)?, Timestamp::MAX),
        };
        Ok(Stretch::of((begin.0, end.1), (begin.1, end.0)))
    }

    /// When an access was held: by captures, and by the word of what grants it.
    pub fn held(asking: &Asking<'_>, access: &Access) -> Result<Stretch, QueryError> {
        let held = &access.held;
        let missing = if held.is_open { Timestamp::MIN } else { time(asking, held.missing)? };
        let until = held.until.map_or(Ok(Timestamp::MAX), |until| time(asking, until))?;
        let (start, end) = (access.term.0.unwrap_or(Timestamp::MIN), access.term.1.unwrap_or(Timestamp::MAX));
        let inner = (time(asking, held.from)?.max(start), time(asking, held.sure)?.min(end));
        Ok(Stretch::of((missing.max(start), until.min(end)), inner))
    }

    fn of(outer: (Timestamp, Timestamp), inner: (Timestamp, Timestamp)) -> Stretch {
        Stretch { outer, inner: (inner.0 <= inner.1).then_some(inner) }
    }

    /// Whether it holds all the time between two bounds, of which none lies within the other's.
    pub fn at(&self, from: Timestamp, to: Timestamp) -> Truth {
        let holds = |(first, last): (Timestamp, Timestamp)| first <= from && to <= last;
        match (self.inner.is_some_and(holds), holds(self.outer)) {
            (true, _) => Truth::Yes,
            (false, true) => Truth::Depends,
            (false, false) => Truth::No,
        }
    }
}

/// Whether one of these holds.
pub(super) fn any_at(stretches: &[Stretch], from: Timestamp, to: Timestamp) -> Truth {
    stretches.iter().map(|stretch| stretch.at(from, to)).max().unwrap_or(Truth::No)
}

/// The times between `begin` and `end` at which anything of these may change, with both ends.
pub(super) fn bounds<'a>(
    stretches: impl Iterator<Item = &'a Stretch>,
    begin: Timestamp,
    end: Timestamp,
) -> BTreeSet<Timestamp> {
    let mut bounds = BTreeSet::from([begin, end]);
    for stretch in stretches {
        let inner = stretch.inner.into_iter().flat_map(|(from, to)| [from, to]);
        bounds.extend(inner.chain([stretch.outer.0, stretch.outer.1]).filter(|time| begin < *time && *time < end));
    }
    bounds
}

/// What follows one another and is the same, as one.
pub(super) fn joined<T: PartialEq>(
    times: impl Iterator<Item = (T, Timestamp, Timestamp)>,
) -> Vec<(T, Timestamp, Timestamp)> {
    let mut all: Vec<(T, Timestamp, Timestamp)> = Vec::new();
    for (what, from, to) in times {
        match all.last_mut().filter(|last| last.0 == what && last.2 == from) {
            Some(last) => last.2 = to,
            None => all.push((what, from, to)),
        }
    }
    all
}

fn time(asking: &Asking<'_>, seq: u64) -> Result<Timestamp, QueryError> {
    Ok(asking.archive.view().capture(seq)?.map_or(Timestamp::MIN, |row| row.time))
}

/// Within which times something changed.
async fn change(asking: &Asking<'_>, key: &Key, missing: u64, seen: u64) -> Result<(Timestamp, Timestamp), QueryError> {
    let mut records = asking.archive.records(&key.decoded_id(), missing, seen).await?;
    records.retain(|record| !has_failed(&record.value));
    match records.as_slice() {
        [only] => Ok((only.attribution.time, only.attribution.time)),
        _ => Ok((time(asking, missing)?, time(asking, seen)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn told(stretches: &[(i64, i64, i64, i64)]) -> String {
        let stretches: Vec<Stretch> = stretches
            .iter()
            .map(|(from, sure, until, end)| Stretch::of((at(*from), at(*end)), (at(*sure), at(*until))))
            .collect();
        let bounds: Vec<Timestamp> = bounds(stretches.iter(), at(0), at(100)).into_iter().collect();
        let times = bounds.windows(2).map(|pair| (any_at(&stretches, pair[0], pair[1]), pair[0], pair[1]));
        let times: Vec<String> = joined(times)
            .iter()
            .map(|(truth, from, to)| format!("{truth:?} {}-{}", from.as_second(), to.as_second()))
            .collect();
        times.join(", ")
    }

    #[test]
    fn a_time_is_covered_if_one_stretch_surely_holds_and_a_gap_if_none_may() {
        assert_eq!(told(&[]), "No 0-100");
        assert_eq!(told(&[(-5, 0, 100, 105)]), "Yes 0-100");
        assert_eq!(told(&[(-5, 0, 40, 50)]), "Yes 0-40, Depends 40-50, No 50-100");
        assert_eq!(
            told(&[(-5, 0, 40, 50), (60, 70, 100, 100)]),
            "Yes 0-40, Depends 40-50, No 50-60, Depends 60-70, Yes 70-100"
        );
        assert_eq!(told(&[(-5, 0, 40, 50), (30, 40, 100, 100)]), "Yes 0-100", "one follows the other");
        assert_eq!(told(&[(-5, 0, 50, 50), (50, 50, 100, 100)]), "Yes 0-100", "the log tells when");
        assert_eq!(told(&[(20, 30, 25, 40)]), "No 0-20, Depends 20-40, No 40-100", "it may never have held");
    }
}
