//! When the next step of a rolling verification is due, and since when every byte has been read. Pure: time is an argument.
//!
//! Must never know: how anything is read.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::rolling::Step;

/// The longest time between two steps.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// How long to wait until the next step, so that a pass of `steps` ends within `span` of when it began and at least one
/// step is made a day.
///
/// `pass_began` is `None` between two passes, `done` are the steps of the running one. What is missing is spread evenly
/// over what is left of the span, with one share left for the last step itself; a pass that is late does one step after
/// the other. A clock that was set back lets nobody wait longer than such a share.
pub fn due(
    now: Timestamp,
    last_step: Option<Timestamp>,
    pass_began: Option<Timestamp>,
    done: usize,
    steps: usize,
    span: SignedDuration,
) -> SignedDuration {
    let Some(last_step) = last_step else { return SignedDuration::ZERO };
    let share = |left: SignedDuration, shares: usize| {
        let shares = i32::try_from(shares).unwrap_or(i32::MAX).max(1);
        (left.max(SignedDuration::ZERO) / shares).min(DAY)
    };
    let every = match pass_began {
        Some(began) => {
            let end = began.saturating_add(span).unwrap_or(Timestamp::MAX);
            share(end.duration_since(last_step), steps.saturating_sub(done) + 1)
        }
        None => share(span, steps),
    };
    (every - now.duration_since(last_step)).clamp(SignedDuration::ZERO, every)
}

/// A stretch of the log whose entries and packs were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    first: u64,
    last: u64,
    at: Timestamp,
}

/// Which stretches of which log were read when: what is needed to say since when every byte has been read.
///
/// Something to keep outside the archive. It claims nothing about the archive, only about what this machine did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reach {
    log: String,
    stretches: Vec<Stretch>,
    /// When the head was last reached: all that isn't in a stretch is newer than that.
    head_at: Option<Timestamp>,
}

impl Reach {
    /// Takes down a step. `at` is when the survey that it was made with was brought to the head: not later, since what was
    /// written after that wasn't read.
    pub fn record(&mut self, step: &Step, at: Timestamp) {
        if self.log != step.log {
            *self = Reach { log: step.log.clone(), ..Reach::default() };
        }
        let (first, last) = (step.first_seq, step.last_seq);
        let mut stretches = Vec::with_capacity(self.stretches.len() + 1);
        for old in self.stretches.drain(..) {
            if old.first < first {
                stretches.push(Stretch { last: old.last.min(first.saturating_sub(1)), ..old });
            }
            if old.last > last {
                stretches.push(Stretch { first: old.first.max(last + 1), ..old });
            }
        }
        stretches.push(Stretch { first, last, at });
        stretches.sort_unstable_by_key(|stretch| stretch.first);
        self.stretches = stretches;
        if step.next.is_none() {
            self.head_at = Some(at);
        }
    }

    /// The instant since which every byte that was there then has been read; `None` before the first pass is complete.
    pub fn since(&self) -> Option<Timestamp> {
        let head_at = self.head_at?;
        let mut next = 0;
        for stretch in &self.stretches {
            if stretch.first > next {
                return None;
            }
            next = stretch.last + 1;
        }
        self.stretches.iter().map(|stretch| stretch.at).min().map(|oldest| oldest.min(head_at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::super::rolling::Position;
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3600).unwrap()
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    #[test]
    fn steps_are_spread_over_the_span_and_never_more_than_a_day_apart() {
        let month = hours(720);
        for (now, last, began, done, steps, expected) in [
            // Nothing was ever read.
            (0, None, None, 0, 120, 0),
            // 120 segments in 30 days: every six hours.
            (0, Some(0), Some(0), 1, 120, 6),
            (5, Some(0), Some(0), 1, 120, 1),
            (6, Some(0), Some(0), 1, 120, 0),
            (60, Some(0), Some(0), 1, 120, 0),
            // A few segments: once a day all the same.
            (0, Some(0), Some(0), 1, 1, 24),
            (1, Some(0), Some(0), 1, 3, 23),
            // Between two passes.
            (0, Some(0), None, 0, 120, 6),
            (30, Some(0), None, 0, 2, 0),
            // Ten days of standing still: 119 steps in what is left.
            (240, Some(240), Some(0), 1, 120, 4),
            // Late: no waiting any more.
            (800, Some(800), Some(0), 60, 120, 0),
            // The clock was set back by a year.
            (-8760, Some(0), Some(0), 1, 120, 6),
            // All is done, or more than was thought.
            (0, Some(0), Some(0), 120, 120, 24),
            (0, Some(0), Some(0), 121, 120, 24),
        ] {
            let wait = due(at(now), last.map(at), began.map(at), done, steps, month);
            let shown = format!("{now} {last:?} {began:?} {done}/{steps}: {wait:?}");
            // The share of the last step itself makes the numbers a little smaller than a plain division.
            assert!(wait <= hours(expected) && wait > hours(expected - 1), "{shown}");
        }
    }

    /// Whatever the number of segments: who waits as told ends the pass in time.
    #[test]
    fn a_pass_ends_within_its_span() {
        for steps in [1, 2, 7, 29, 30, 31, 120, 1000] {
            let (began, span) = (at(0), hours(720));
            let mut last = began;
            for done in 1..steps {
                last = last + due(last, Some(last), Some(began), done, steps, span);
            }
            assert!(last < began + span, "{steps} steps end at {last}");
        }
    }

    fn step(first_seq: u64, last_seq: u64, is_last: bool) -> Step {
        let position = Position { log: "l".to_owned(), size: last_seq + 1, root: None };
        let next = (!is_last).then_some(position);
        let begins = first_seq == 0;
        Step { report: Report::default(), next, first_seq, last_seq, begins, log: "l".to_owned() }
    }

    #[test]
    fn every_byte_has_been_read_since_the_oldest_stretch() {
        let mut reach = Reach::default();
        assert_eq!(reach.since(), None);
        reach.record(&step(0, 9, false), at(1));
        assert_eq!(reach.since(), None, "the first pass isn't complete");
        reach.record(&step(10, 19, false), at(2));
        reach.record(&step(20, 25, true), at(3));
        assert_eq!(reach.since(), Some(at(1)));
        // The second pass refines it step by step, while the log grows by a segment.
        reach.record(&step(0, 9, false), at(11));
        assert_eq!(reach.since(), Some(at(2)));
        reach.record(&step(10, 19, false), at(12));
        assert_eq!(reach.since(), Some(at(3)), "what came after the end of the first pass is newer than that");
        reach.record(&step(20, 40, false), at(13));
        assert_eq!(reach.since(), Some(at(3)), "the head was last reached then");
        reach.record(&step(41, 50, true), at(14));
        assert_eq!(reach.since(), Some(at(11)));
        // A pass that begins anew, with the stretches cut otherwise.
        reach.record(&step(0, 14, false), at(20));
        assert_eq!(reach.since(), Some(at(12)));
        let text = serde_json::to_string(&reach).unwrap();
        assert_eq!(serde_json::from_str::<Reach>(&text).unwrap(), reach);
    }

    #[test]
    fn another_log_begins_anew() {
        let mut reach = Reach::default();
        reach.record(&step(0, 9, true), at(1));
        assert_eq!(reach.since(), Some(at(1)));
        reach.record(&Step { log: "other".to_owned(), ..step(0, 4, false) }, at(2));
        assert_eq!(reach.since(), None);
    }
}
