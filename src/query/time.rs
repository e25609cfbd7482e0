//! Time expressions: RFC 3339, a date, a span back from now, a capture by number, `now`.
//!
//! Must never know: which captures there are.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// What a person means by a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The newest capture.
    Head,
    /// The capture of that number.
    Capture(u64),
    /// An instant.
    At(Timestamp),
    /// A whole day: its first instant, and the last millisecond of it.
    Day(Timestamp, Timestamp),
}

/// A text that is no time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no time: {reason}")]
pub struct InvalidMoment {
    /// The text.
    pub text: String,
    /// What is wrong, or what was expected.
    pub reason: String,
}

/// What is accepted, for error messages and help.
pub const EXPECTED: &str = "expected RFC 3339 (2026-08-01T13:00:00Z), a date (2026-08-01, UTC, or \
                            2026-08-01[Europe/Vienna]), a span back from now (\"3 days ago\"), a capture (#123) or now";

impl Moment {
    /// Reads `text`; spans count back from `now`.
    ///
    /// # Errors
    /// [`InvalidMoment`] names what was expected.
    pub fn parse(text: &str, now: Timestamp) -> Result<Moment, InvalidMoment> {
        let trimmed = text.trim();
        let invalid = |reason: String| InvalidMoment { text: text.to_owned(), reason };
        if trimmed.eq_ignore_ascii_case("now") || trimmed.eq_ignore_ascii_case("head") {
            return Ok(Moment::Head);
        }
        if let Some(number) = trimmed.strip_prefix('#') {
            let number = number.parse::<u32>();
            return number
                .map(|number| Moment::Capture(u64::from(number)))
                .map_err(|_| invalid("expected the number of a capture after #".to_owned()));
        }
        if let Some(moment) = parse_point(trimmed).or_else(|| parse_day(trimmed)) {
            return Ok(moment);
        }
        match parse_span(trimmed, now) {
            Some(Ok(at)) => Ok(Moment::At(at)),
            Some(Err(reason)) => Err(invalid(reason)),
            None => Err(invalid(EXPECTED.to_owned())),
        }
    }

    /// The last instant that is meant: for questions as of a time. `None` for the head and for a capture.
    pub fn last(&self) -> Option<Timestamp> {
        match self {
            Moment::At(at) | Moment::Day(_, at) => Some(*at),
            Moment::Head | Moment::Capture(_) => None,
        }
    }

    /// The first instant that is meant: for the beginning of a period.
    pub fn first(&self) -> Option<Timestamp> {
        match self {
            Moment::At(at) | Moment::Day(at, _) => Some(*at),
            Moment::Head | Moment::Capture(_) => None,
        }
    }
}

/// An instant, with a zone or in UTC.
fn parse_point(text: &str) -> Option<Moment> {
    if let Ok(zoned) = text.parse::<Zoned>()
        && has_time(text)
    {
        return Some(Moment::At(zoned.timestamp()));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Moment::At(at));
    }
    let civil: DateTime = text.parse().ok().filter(|_| has_time(text))?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| Moment::At(zoned.timestamp()))
}

fn has_time(text: &str) -> bool {
    text.split('[').next().is_some_and(|text| text.contains(':'))
}

/// A date, in UTC unless a zone or an offset follows.
fn parse_day(text: &str) -> Option<Moment> {
    let (date, zone) = text.split_at_checked(10)?;
    let date: Date = date.parse().ok()?;
    let zone = match zone {
        "" | "Z" | "z" => TimeZone::UTC,
        zone => match zone.strip_prefix('[').and_then(|zone| zone.strip_suffix(']')) {
            Some(name) => TimeZone::get(name).ok()?,
            // An offset reads only behind a time.
            None if zone.starts_with(['+', '-']) => {
                let first: Timestamp = format!("{date}T00:00:00{zone}").parse().ok()?;
                return whole_day(first, first.saturating_add(jiff::SignedDuration::from_hours(24)).ok()?);
            }
            None => TimeZone::get(zone.trim()).ok()?,
        },
    };
    let start = |date: Date| date.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    whole_day(start(date)?, start(date.tomorrow().ok()?)?)
}

fn whole_day(first: Timestamp, next: Timestamp) -> Option<Moment> {
    let last = next.checked_sub(jiff::SignedDuration::from_millis(1)).ok()?;
    Some(Moment::Day(first, last))
}

fn parse_span(text: &str, now: Timestamp) -> Option<Result<Timestamp, String>> {
    let span: Span = text.parse().ok()?;
    if span.is_positive() {
        return Some(Err(format!("a span counts back from now, as in {:?}", format!("{text} ago"))));
    }
    let back = now.to_zoned(TimeZone::UTC).checked_add(span);
    Some(back.map(|zoned| zoned.timestamp()).map_err(|_| "that is before time began".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-08-10T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn instants_dates_spans_and_captures() {
        let check = |text: &str, first: &str, last: &str| {
            let moment = Moment::parse(text, now()).unwrap_or_else(|e| panic!("{e}"));
            let found = (moment.first().map(|t| t.to_string()), moment.last().map(|t| t.to_string()));
            assert_eq!(found, (Some(first.to_owned()), Some(last.to_owned())), "{text}");
        };
        for text in ["2026-08-01T13:00:00Z", "2026-08-01T15:00:00+02:00", "2026-08-01T13:00", "2026-08-01 13:00:00"] {
            check(text, "2026-08-01T13:00:00Z", "2026-08-01T13:00:00Z");
        }
        check("2026-08-01T15:00[Europe/Vienna]", "2026-08-01T13:00:00Z", "2026-08-01T13:00:00Z");
        for text in ["2026-08-01", " 2026-08-01Z "] {
            check(text, "2026-08-01T00:00:00Z", "2026-08-01T23:59:59.999Z");
        }
        for text in ["2026-08-01[Europe/Vienna]", "2026-08-01 Europe/Vienna", "2026-08-01+02:00"] {
            check(text, "2026-07-31T22:00:00Z", "2026-08-01T21:59:59.999Z");
        }
        // The day on which the clocks go back has 25 hours.
        check("2026-10-25[Europe/Vienna]", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999Z");
        check("3 days ago", "2026-08-07T12:00:00Z", "2026-08-07T12:00:00Z");
        check("2 hours ago", "2026-08-10T10:00:00Z", "2026-08-10T10:00:00Z");
        check("1 month ago", "2026-07-10T12:00:00Z", "2026-07-10T12:00:00Z");
        assert_eq!(Moment::parse("#12", now()), Ok(Moment::Capture(12)));
        assert_eq!(Moment::parse("now", now()), Ok(Moment::Head));
    }

    #[test]
    fn other_texts_say_what_was_expected() {
        for text in ["", "yesterday-ish", "2026-13-01", "#", "#x", "12:00", "2026-08-01[Nowhere/At-All]"] {
            let error = Moment::parse(text, now()).unwrap_err();
            assert!(error.to_string().contains("expected"), "{error}");
        }
        let error = Moment::parse("3 days", now()).unwrap_err();
        assert!(error.to_string().contains("3 days ago"), "{error}");
    }
}
