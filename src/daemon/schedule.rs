//! Crontab lines as instants: which slots there are, and which capture is to read everything whole.
//!
//! Must never know: what was captured, and the present time.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A schedule that can't be kept.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSchedule {
    /// Not a crontab line, or one that never comes.
    #[error("{line:?} is no crontab line that ever comes")]
    Line {
        /// The line.
        line: String,
    },
    /// No such time zone.
    #[error("{zone:?} is no time zone")]
    Zone {
        /// The name.
        zone: String,
    },
}

/// When a tenant is captured. The slots are the instants of the capture line, in the time zone's own reckoning: a line with a
/// fixed hour comes once on the days when the clocks change, one that runs every hour comes every hour that passes.
#[derive(Debug, Clone)]
pub struct Schedule {
    capture: Cron,
    reconcile: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// A schedule of crontab lines of five fields in the time zone of that IANA name.
    ///
    /// # Errors
    /// [`InvalidSchedule`].
    pub fn new(capture: &str, reconcile: &str, zone: &str) -> Result<Schedule, InvalidSchedule> {
        let time_zone = TimeZone::get(zone).map_err(|_| InvalidSchedule::Zone { zone: zone.to_owned() })?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let read = |line: &str| {
            let wrong = || InvalidSchedule::Line { line: line.to_owned() };
            let cron = parser.parse(line).map_err(|_| wrong())?;
            // The thirtieth of February.
            let start = Timestamp::UNIX_EPOCH.to_zoned(time_zone.clone());
            cron.find_next_occurrence(&start, false).map_err(|_| wrong())?;
            Ok(cron)
        };
        Ok(Schedule { capture: read(capture)?, reconcile: read(reconcile)?, zone: time_zone })
    }

    /// The last slot at or before `at`.
    pub fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        self.previous(&self.capture, at, true)
    }

    /// The last slot before `at`.
    pub fn before(&self, at: Timestamp) -> Option<Timestamp> {
        self.previous(&self.capture, at, false)
    }

    /// The first slot after `at`.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        let found = self.capture.find_next_occurrence(&at.to_zoned(self.zone.clone()), false).ok()?;
        Some(found.timestamp()).filter(|found| *found > at)
    }

    /// How long it is from the last slot before `at` to the next one.
    pub fn interval(&self, at: Timestamp) -> SignedDuration {
        let (before, next) = (self.latest(at), self.next(at));
        before.zip(next).map_or(SignedDuration::from_hours(1), |(before, next)| next.duration_since(before))
    }

    /// Whether a capture at `at` is to read everything whole, after one that did so at `last`.
    pub fn reconciles(&self, last: Option<Timestamp>, at: Timestamp) -> bool {
        let due = self.previous(&self.reconcile, at, true);
        due.is_some_and(|due| last.is_none_or(|last| last < due))
    }

    fn previous(&self, cron: &Cron, at: Timestamp, inclusive: bool) -> Option<Timestamp> {
        let found = cron.find_previous_occurrence(&at.to_zoned(self.zone.clone()), inclusive).ok()?.timestamp();
        let fits = if inclusive { found <= at } else { found < at };
        fits.then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn slots(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
        let (mut now, to) = (at(from), at(to));
        let mut found = Vec::new();
        while let Some(next) = schedule.next(now).filter(|next| *next <= to) {
            // Forward and backward agree, or a slot would be filled twice or never.
            assert_eq!(schedule.latest(next), Some(next), "{next}");
            assert_eq!(schedule.before(next).filter(|before| *before > at(from)), found.last().copied(), "{next}");
            found.push(next);
            now = next;
        }
        found.iter().map(Timestamp::to_string).collect()
    }

    #[test]
    fn every_hour_comes_every_hour_that_passes_also_when_clocks_change() {
        for zone in ["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"] {
            let schedule = Schedule::new("0 * * * *", "30 2 * * *", zone).unwrap();
            for (from, to) in [
                ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"),
                ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
                ("2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z"),
                ("2026-11-01T00:00:00Z", "2026-11-02T12:00:00Z"),
            ] {
                let found = slots(&schedule, from, to);
                let hours = at(to).duration_since(at(from)).as_hours() as usize;
                // Lord Howe moves by half an hour, which half an hour's slot more or less may come of.
                assert!(found.len().abs_diff(hours) <= 1, "{zone} {from}: {found:?}");
                if zone != "Australia/Lord_Howe" && zone != "Asia/Kolkata" {
                    assert_eq!(found.len(), hours, "{zone} {from}");
                }
            }
        }
    }

    #[test]
    fn a_fixed_hour_comes_once_a_day_also_when_clocks_change() {
        let schedule = Schedule::new("30 2 * * *", "30 2 * * *", "Europe/Vienna").unwrap();
        let spring = slots(&schedule, "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(spring.len(), 3, "{spring:?}");
        let autumn = slots(&schedule, "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(autumn.len(), 3, "{autumn:?}");
    }

    #[test]
    fn whole_reads_come_due_once_and_are_caught_up() {
        let schedule = Schedule::new("0 * * * *", "30 2 * * *", "UTC").unwrap();
        let due = |last: &str, now: &str| schedule.reconciles(Some(at(last)), at(now));
        assert!(!due("2026-11-02T03:00:00Z", "2026-11-03T02:00:00Z"));
        assert!(due("2026-11-02T03:00:00Z", "2026-11-03T03:00:00Z"));
        assert!(due("2026-11-02T03:00:00Z", "2026-11-05T17:00:00Z"));
        assert!(!due("2026-11-05T17:00:00Z", "2026-11-05T18:00:00Z"));
        assert!(schedule.reconciles(None, at("2026-11-05T18:00:00Z")));
    }

    #[test]
    fn lines_that_never_come_and_unknown_zones_are_refused() {
        assert!(Schedule::new("0 0 30 2 *", "0 0 * * *", "UTC").is_err());
        assert!(Schedule::new("0 * * * *", "0 0 * *", "UTC").is_err());
        assert!(Schedule::new("0 * * * *", "0 0 * * *", "Mars/Olympus").is_err());
    }
}
