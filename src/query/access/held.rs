//! Stretches of captures in which something held, with what is known of their ends, and the window that a question is about.
//!
//! Must never know: what held.
//!
//! A fact that capture 7 shows and capture 6 doesn't began somewhere between the two. Where its collection wasn't read at 6 but
//! last at 4, it began between 4 and 7. So a stretch has an inner part, in which it surely held, and an outer one, in which it may
//! have; a path holds where all its steps do.

use std::cmp::Ordering;

use jiff::Timestamp;

use crate::index::{CaptureRow, Version};

/// When a fact held, by the numbers of captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// The last capture before that surely saw it missing, or wouldn't have shown it.
    pub missing: u64,
    /// The first capture that saw it.
    pub from: u64,
    /// The last capture by which it is sure that it still held.
    pub sure: u64,
    /// The first capture that saw it missing; `None` where none did.
    pub until: Option<u64>,
    /// Whether nobody looked before `from`: it may have held since ever.
    pub is_open: bool,
}

/// How surely something held within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sureness {
    /// It was seen within, or before and after.
    Sure,
    /// It changed within a time in which part of the window lies, and nobody saw on which side.
    Maybe,
    /// It was there when last seen, and nobody looked since.
    Unread,
}

impl Held {
    /// When both hold; `None` where they can't have held together.
    pub fn and(self, other: Held) -> Option<Held> {
        let until = match (self.until, other.until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let both = Held {
            missing: self.missing.max(other.missing),
            from: self.from.max(other.from),
            sure: self.sure.min(other.sure),
            until,
            is_open: match self.from.cmp(&other.from) {
                Ordering::Less => other.is_open,
                Ordering::Equal => self.is_open && other.is_open,
                Ordering::Greater => self.is_open,
            },
        };
        until.is_none_or(|until| both.missing < until).then_some(both)
    }

    /// Whether this held, and surely held, whenever the other did.
    pub fn covers(&self, other: &Held) -> bool {
        let lasts = self.until.is_none_or(|until| other.until.is_some_and(|other| other <= until));
        self.missing <= other.missing && self.from <= other.from && self.sure >= other.sure && lasts
    }

    /// Both as one, where they surely overlap or follow without a capture between: two objects that say the same.
    pub fn or(self, other: Held) -> Option<Held> {
        let (one, other) = if self.from <= other.from { (self, other) } else { (other, self) };
        let joins = other.from <= one.sure || one.until == Some(other.from);
        joins.then(|| Held {
            missing: one.missing.min(other.missing),
            from: one.from,
            sure: one.sure.max(other.sure),
            until: match (one.until, other.until) {
                (Some(one), Some(other)) => Some(one.max(other)),
                _ => None,
            },
            is_open: one.is_open,
        })
    }
}

/// What a question is about, by captures: an instant, or a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The capture whose state is the last known at the beginning.
    pub begin: CaptureRow,
    /// The capture whose state is the last known at the end.
    pub end: CaptureRow,
    /// The first capture at or after the beginning; that at the beginning where no later one is known.
    pub begin_after: u64,
    /// The first capture at or after the end.
    pub end_after: u64,
    /// The times that were asked for, where they were times.
    pub asked: Option<(Timestamp, Timestamp)>,
    /// The last capture that counts.
    pub horizon: u64,
}

impl Window {
    /// Whether something that held so held within the window; `None` where it surely didn't.
    pub fn sureness(&self, held: &Held) -> Option<Sureness> {
        let possible = held.missing < self.end_after && held.until.is_none_or(|until| until > self.begin.seq);
        if !possible {
            return None;
        }
        let seen = held.from <= self.end.seq;
        if seen && held.from <= held.sure && held.sure >= self.begin_after {
            return Some(Sureness::Sure);
        }
        Some(if seen && held.until.is_none() { Sureness::Unread } else { Sureness::Maybe })
    }

    /// What an object surely said throughout the window, of all its versions: the last one before, where every other surely came
    /// after. Most objects changed at no time near it.
    pub fn undoubted<'v>(&self, versions: &'v [Version]) -> Option<&'v Version> {
        let (before, later): (Vec<&Version>, Vec<&Version>) =
            versions.iter().partition(|version| version.seq <= self.begin.seq);
        let is_later =
            |version: &&Version| version.seq > self.end_after && version.q.is_none_or(|last| last >= self.end_after);
        before.last().copied().filter(|_| later.iter().all(is_later))
    }

    /// The captures in whose states anything may stand that matters.
    pub fn captures(&self) -> std::ops::RangeInclusive<u64> {
        self.begin.seq..=self.end_after.max(self.end.seq)
    }

    /// Whether it is an instant.
    pub fn is_instant(&self) -> bool {
        self.begin.seq == self.end.seq && self.asked.is_none_or(|(from, to)| from == to)
    }

    /// Whether what holds by its own word from `from` until before `until` holds within the window.
    pub fn admits(&self, from: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        let (begin, end) = self.asked.unwrap_or((self.begin.time, self.end.time));
        from.is_none_or(|from| from <= end) && until.is_none_or(|until| until > begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u64) -> CaptureRow {
        let time = Timestamp::from_second(seq as i64 * 3600).unwrap();
        CaptureRow { seq, time, opens_segment: false, unknown: false, expired: false }
    }

    /// A window between captures; `strict` where times lie a little after the captures.
    fn window(begin: u64, end: u64, strict: bool) -> Window {
        let after = u64::from(strict);
        Window {
            begin: row(begin),
            end: row(end),
            begin_after: begin + after,
            end_after: end + after,
            asked: None,
            horizon: 20,
        }
    }

    fn held(missing: u64, from: u64, sure: u64, until: Option<u64>) -> Held {
        Held { missing, from, sure, until, is_open: false }
    }

    #[test]
    fn an_instant_between_two_captures_knows_no_more_than_both() {
        use Sureness::{Maybe, Sure, Unread};
        let check = |held: Held, at: Option<Sureness>, after: Option<Sureness>| {
            assert_eq!(window(5, 5, false).sureness(&held), at, "{held:?} at 5");
            assert_eq!(window(5, 5, true).sureness(&held), after, "{held:?} after 5");
        };
        // Seen at 3, still there at the head.
        check(held(2, 3, 20, None), Some(Sure), Some(Sure));
        // Seen at 5 for the first time, seen at 6 for the first time, at 7.
        check(held(4, 5, 20, None), Some(Sure), Some(Sure));
        check(held(5, 6, 20, None), None, Some(Maybe));
        check(held(6, 7, 20, None), None, None);
        // Missing at 5, at 6, at 7 for the first time.
        check(held(2, 3, 4, Some(5)), None, None);
        check(held(2, 3, 5, Some(6)), Some(Sure), Some(Maybe));
        check(held(2, 3, 6, Some(7)), Some(Sure), Some(Sure));
        // Seen at 8, the read before was at 4, at 5, at 6.
        check(held(4, 8, 20, None), Some(Maybe), Some(Maybe));
        check(held(5, 8, 20, None), None, Some(Maybe));
        check(held(6, 8, 20, None), None, None);
        // Gone at 8, last seen at 4, at 5, at 6.
        check(held(2, 3, 4, Some(8)), Some(Maybe), Some(Maybe));
        check(held(2, 3, 5, Some(8)), Some(Sure), Some(Maybe));
        check(held(2, 3, 6, Some(8)), Some(Sure), Some(Sure));
        // Nobody looked since 4, since 5.
        check(held(2, 3, 4, None), Some(Unread), Some(Unread));
        check(held(2, 3, 5, None), Some(Sure), Some(Unread));
    }

    #[test]
    fn a_period_has_what_held_at_any_moment_of_it() {
        use Sureness::{Maybe, Sure};
        let check = |held: Held, exact: Option<Sureness>, strict: Option<Sureness>| {
            assert_eq!(window(5, 9, false).sureness(&held), exact, "{held:?} in 5 to 9");
            assert_eq!(window(5, 9, true).sureness(&held), strict, "{held:?} from after 5 to after 9");
        };
        check(held(0, 1, 20, None), Some(Sure), Some(Sure));
        check(held(6, 7, 7, Some(8)), Some(Sure), Some(Sure));
        check(held(0, 1, 4, Some(5)), None, None);
        check(held(0, 1, 5, Some(6)), Some(Sure), Some(Maybe));
        check(held(0, 1, 6, Some(7)), Some(Sure), Some(Sure));
        check(held(8, 9, 20, None), Some(Sure), Some(Sure));
        check(held(9, 10, 20, None), None, Some(Maybe));
        check(held(10, 11, 20, None), None, None);
    }

    #[test]
    fn a_path_holds_while_all_its_steps_do() {
        let one = held(1, 3, 7, Some(9));
        assert_eq!(one.and(held(4, 6, 20, None)), Some(held(4, 6, 7, Some(9))));
        assert_eq!(one.and(held(7, 9, 20, None)), Some(held(7, 9, 7, Some(9))), "maybe, never surely");
        assert_eq!(
            one.and(held(8, 9, 20, None)),
            Some(held(8, 9, 7, Some(9))),
            "one ended and the other began between 8 and 9"
        );
        assert_eq!(one.and(held(9, 10, 20, None)), None);
        assert_eq!(held(0, 1, 20, None).and(held(0, 1, 20, None)), Some(held(0, 1, 20, None)));
    }

    #[test]
    fn two_that_say_the_same_are_one_where_nothing_lies_between() {
        assert_eq!(held(0, 2, 4, Some(5)).or(held(4, 5, 8, None)), Some(held(0, 2, 8, None)));
        assert_eq!(held(0, 2, 4, Some(5)).or(held(3, 4, 8, Some(9))), Some(held(0, 2, 8, Some(9))));
        assert_eq!(held(5, 6, 8, None).or(held(0, 2, 4, Some(5))), None);
    }
}
