//! What is to be done now: which slots nobody filled, and whether to capture.
//!
//! Must never know: how anything is captured. Pure: the same log and the same time give the same answer, on whatever machine.
//!
//! A slot stands for an instant, and whoever asks for that instant is shown its capture. So a slot may be filled only by a
//! capture that begins soon after it. Later than that it is declared a gap, and a capture of its own time makes up for it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::schedule::Schedule;

/// A slot is filled by a capture that begins at most so long after it. Shorter where slots are close.
pub const GRACE: SignedDuration = SignedDuration::from_mins(15);

/// Less than this before the next slot no capture is begun out of turn. Shorter where slots are close.
const ROOM: SignedDuration = SignedDuration::from_mins(10);

/// A capture reads nothing more so long before the next slot, which leaves it time to commit. Shorter where slots are close.
const MARGIN: SignedDuration = SignedDuration::from_mins(2);

/// Gaps are told apart by reason for so many slots; what is longer has one reason.
const MOST_SLOTS: usize = 10_000;

/// Codes of `gap` entries: a closed list, explained in `docs/operations.md`.
pub mod code {
    /// The service wasn't running, or the machine was asleep.
    pub const NOT_RUNNING: &str = "not-running";
    /// The capture before took too long.
    pub const OVERRUN: &str = "overrun";
    /// Nothing of the tenant could be read.
    pub const UNREADABLE: &str = "unreadable";
    /// The archive couldn't be written.
    pub const UNWRITABLE: &str = "unwritable";
    /// Something else went wrong on this side.
    pub const FAILED: &str = "failed";
}

/// What the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The greatest slot that was filled or declared a gap.
    pub last_slot: Option<Timestamp>,
    /// The instant for which the last capture stands.
    pub last_capture: Option<Timestamp>,
}

/// What is to be captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// This slot.
    Slot(Timestamp),
    /// The tenant as it is now, for no slot.
    Unscheduled,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The first and the last of the slots that nobody filled in time.
    pub missed: Option<(Timestamp, Timestamp)>,
    /// What to capture then.
    pub wanted: Option<Wanted>,
    /// The log holds slots that lie in the future: somebody's clock was wrong.
    pub is_ahead: bool,
}

/// What is due at `now`; `None`: nothing before the next slot.
pub fn due(schedule: &Schedule, now: Timestamp, known: Known) -> Option<Due> {
    let latest = schedule.latest(now)?;
    let interval = schedule.interval(now);
    let has_room = schedule.next(now).is_none_or(|next| next.duration_since(now) >= ROOM.min(interval / 4));
    let is_behind = known.last_capture.is_none_or(|last| last < latest);
    let unscheduled = (is_behind && has_room).then_some(Wanted::Unscheduled);
    let in_time = now.duration_since(latest) <= GRACE.min(interval / 2);
    let (missed, wanted) = match known.last_slot {
        Some(last) if last >= latest => {
            // Filled, or declared a gap that is made up for already. Slots of a wrong clock can't be filled again, and
            // must not keep anybody from capturing.
            let is_ahead = last > now;
            let wanted = unscheduled.filter(|_| is_ahead || known.last_capture.is_none_or(|at| at < last));
            return (wanted.is_some()).then_some(Due { missed: None, wanted, is_ahead });
        }
        Some(last) => {
            let end = if in_time { schedule.before(latest) } else { Some(latest) };
            let first = schedule.next(last);
            (
                first.zip(end).filter(|(first, end)| first <= end),
                in_time.then_some(Wanted::Slot(latest)).or(unscheduled),
            )
        }
        // Before the first slot nothing was missed.
        None => (None, in_time.then_some(Wanted::Slot(latest)).or(unscheduled)),
    };
    (missed.is_some() || wanted.is_some()).then_some(Due { missed, wanted, is_ahead: false })
}

/// How long a capture that begins at `now` may read.
pub fn reading_time(schedule: &Schedule, now: Timestamp) -> SignedDuration {
    let Some(next) = schedule.next(now) else { return SignedDuration::from_hours(1) };
    next.duration_since(now) - MARGIN.min(schedule.interval(now) / 10)
}

/// When a slot counts as missed, if nobody has filled it by then.
pub fn overdue_at(schedule: &Schedule, slot: Timestamp) -> Timestamp {
    let grace = GRACE.min(schedule.interval(slot) / 2);
    slot.saturating_add(grace).unwrap_or(Timestamp::MAX)
}

/// A run of slots that nobody filled for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// Why, by [`code`].
    pub code: String,
}

/// The slots from `first` to `last` by reason. `reasons` has what is known; the rest has `otherwise`.
pub fn gaps(
    schedule: &Schedule,
    (first, last): (Timestamp, Timestamp),
    reasons: &BTreeMap<Timestamp, String>,
    otherwise: impl Fn(Timestamp) -> &'static str,
) -> Vec<Gap> {
    let mut found: Vec<Gap> = Vec::new();
    let mut slots = std::iter::successors(Some(first), |slot| schedule.next(*slot)).take_while(|slot| *slot <= last);
    for slot in slots.by_ref().take(MOST_SLOTS) {
        let code = reasons.get(&slot).cloned().unwrap_or_else(|| otherwise(slot).to_owned());
        match found.last_mut() {
            Some(gap) if gap.code == code => gap.last = slot,
            _ => found.push(Gap { first: slot, last: slot, code }),
        }
    }
    if let Some(rest) = slots.next() {
        found.push(Gap { first: rest, last, code: code::NOT_RUNNING.to_owned() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-02T{text}Z").parse().unwrap()
    }

    fn hourly() -> Schedule {
        Schedule::new("0 * * * *", "30 2 * * *", "UTC").unwrap()
    }

    fn check(
        now: &str,
        last_slot: Option<&str>,
        last_capture: Option<&str>,
        expected: Option<(Option<(&str, &str)>, &str)>,
    ) {
        let known = Known { last_slot: last_slot.map(at), last_capture: last_capture.map(at) };
        let found = due(&hourly(), at(now), known);
        let expected = expected.map(|(missed, wanted)| {
            let wanted = match wanted {
                "" => None,
                "now" => Some(Wanted::Unscheduled),
                slot => Some(Wanted::Slot(at(slot))),
            };
            (missed.map(|(first, last)| (at(first), at(last))), wanted)
        });
        assert_eq!(found.map(|due| (due.missed, due.wanted)), expected, "{now} {last_slot:?} {last_capture:?}");
    }

    #[test]
    fn a_slot_is_filled_in_time_or_declared_a_gap() {
        let filled = Some("12:00:00");
        check("12:59:59.999", filled, filled, None);
        check("13:00:00", filled, filled, Some((None, "13:00:00")));
        check("13:15:00", filled, filled, Some((None, "13:00:00")));
        check("13:15:00.001", filled, filled, Some((Some(("13:00:00", "13:00:00")), "now")));
        check("13:50:00", filled, filled, Some((Some(("13:00:00", "13:00:00")), "now")));
        // Too near the next slot to begin: that one is the catching up.
        check("13:50:00.001", filled, filled, Some((Some(("13:00:00", "13:00:00")), "")));
        check("15:00:00", filled, filled, Some((Some(("13:00:00", "14:00:00")), "15:00:00")));
        check("18:40:00", filled, filled, Some((Some(("13:00:00", "18:00:00")), "now")));
    }

    #[test]
    fn what_is_made_up_for_is_not_made_up_for_again() {
        // Declared, and captured since.
        check("13:45:00", Some("13:00:00"), Some("13:40:00"), None);
        // Declared, and the capture that was to follow was cut off.
        check("13:45:00", Some("13:00:00"), Some("12:00:00"), Some((None, "now")));
        // Somebody captured by hand meanwhile: the slot is a gap all the same, and nothing is behind.
        check("13:45:00", Some("12:00:00"), Some("13:20:00"), Some((Some(("13:00:00", "13:00:00")), "")));
    }

    #[test]
    fn a_new_archive_is_filled_at_once_and_misses_nothing() {
        check("13:40:00", None, None, Some((None, "now")));
        check("13:05:00", None, None, Some((None, "13:00:00")));
        check("13:40:00", None, Some("13:39:00"), None);
        check("14:00:00", None, Some("13:39:00"), Some((None, "14:00:00")));
    }

    #[test]
    fn slots_of_a_wrong_clock_keep_nobody_from_capturing() {
        let known = Known { last_slot: Some(at("22:00:00")), last_capture: Some(at("12:00:00")) };
        let found = due(&hourly(), at("13:05:00"), known).unwrap();
        assert_eq!((found.missed, found.wanted, found.is_ahead), (None, Some(Wanted::Unscheduled), true));
        let known = Known { last_capture: Some(at("13:05:00")), ..known };
        assert_eq!(due(&hourly(), at("13:20:00"), known), None);
        assert!(due(&hourly(), at("14:00:00"), known).is_some());
    }

    #[test]
    fn close_slots_have_less_grace() {
        let schedule = Schedule::new("*/5 * * * *", "0 0 * * *", "UTC").unwrap();
        let known = Known { last_slot: Some(at("12:55:00")), last_capture: Some(at("12:55:00")) };
        assert_eq!(due(&schedule, at("13:02:30"), known).unwrap().wanted, Some(Wanted::Slot(at("13:00:00"))));
        let late = due(&schedule, at("13:02:31"), known).unwrap();
        assert_eq!((late.missed, late.wanted), (Some((at("13:00:00"), at("13:00:00"))), Some(Wanted::Unscheduled)));
        assert_eq!(reading_time(&schedule, at("13:00:00")), SignedDuration::from_secs(270));
        assert_eq!(reading_time(&hourly(), at("13:00:00")), SignedDuration::from_mins(58));
    }

    #[test]
    fn gaps_are_told_apart_by_reason() {
        let reasons = BTreeMap::from([
            (at("14:00:00"), code::UNREADABLE.to_owned()),
            (at("15:00:00"), code::UNREADABLE.to_owned()),
        ]);
        let found = gaps(&hourly(), (at("13:00:00"), at("17:00:00")), &reasons, |_| code::NOT_RUNNING);
        let found: Vec<_> = found.iter().map(|gap| (gap.first, gap.last, gap.code.as_str())).collect();
        let expected = [
            (at("13:00:00"), at("13:00:00"), code::NOT_RUNNING),
            (at("14:00:00"), at("15:00:00"), code::UNREADABLE),
            (at("16:00:00"), at("17:00:00"), code::NOT_RUNNING),
        ];
        assert_eq!(found, expected);
        // Ten years: one run, and no waiting for it.
        let long = gaps(&hourly(), (at("13:00:00"), "2036-11-02T13:00:00Z".parse().unwrap()), &BTreeMap::new(), |_| {
            code::NOT_RUNNING
        });
        assert_eq!(long.len(), 2);
        assert_eq!(long[1].last.to_string(), "2036-11-02T13:00:00Z");
    }
}
