//! Counts of requests that were turned away from strangers: a handful of numbers, whatever a flood does.
//!
//! Must never know: what the strangers sent.

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};
use serde_json::{Map, json};

use super::LedgerError;
use super::record::{RecordId, Via, line};
use crate::clock::format_millis;

/// Reasons that are told apart; those beyond count together, so that no mistake of a caller makes this grow.
const REASONS: usize = 32;

/// What was counted and isn't recorded yet.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// The first and the last minute in which somebody was turned away.
    minutes: Option<(Timestamp, Timestamp)>,
    counts: BTreeMap<(Via, &'static str), u64>,
}

impl Denials {
    pub fn count(&mut self, via: Via, reason: &'static str, now: Timestamp) {
        let minute = minute_of(now);
        let (from, to) = self.minutes.unwrap_or((minute, minute));
        self.minutes = Some((from.min(minute), to.max(minute)));
        self.raise(via, reason, 1);
    }

    fn raise(&mut self, via: Via, reason: &'static str, by: u64) {
        let is_known = self.counts.contains_key(&(via, reason));
        let reason = if is_known || self.counts.len() < REASONS { reason } else { "other" };
        let count = self.counts.entry((via, reason)).or_default();
        *count = count.saturating_add(by);
    }

    /// Takes what was counted, if its minute is over, or lies ahead because the clock was set back.
    pub fn take_over(&mut self, now: Timestamp) -> Option<Denials> {
        let (_, to) = self.minutes?;
        if to == minute_of(now) { None } else { self.take() }
    }

    /// Takes what was counted.
    pub fn take(&mut self) -> Option<Denials> {
        self.minutes?;
        Some(std::mem::take(self))
    }

    /// Counts again what could not be recorded.
    pub fn add(&mut self, other: Denials) {
        let Some((from, to)) = other.minutes else { return };
        self.minutes = Some(self.minutes.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        for ((via, reason), count) in other.counts {
            self.raise(via, reason, count);
        }
    }

    pub fn to_line(&self, at: Timestamp) -> Result<(RecordId, Vec<u8>), LedgerError> {
        let (from, to) = self.minutes.unwrap_or((at, at));
        let mut ways: Map<String, serde_json::Value> = Map::new();
        for ((via, reason), count) in &self.counts {
            let reasons = ways.entry(via.as_str()).or_insert_with(|| json!({}));
            reasons[*reason] = json!(exact(*count));
        }
        let all = self.counts.values().fold(0_u64, |all, count| all.saturating_add(*count));
        let mut members = Map::new();
        members.insert("denials".to_owned(), json!(exact(all)));
        members.insert("from".to_owned(), json!(format_millis(from)));
        members.insert("to".to_owned(), json!(format_millis(to)));
        members.insert("reasons".to_owned(), ways.into());
        line(at, members)
    }
}

/// The greatest number that the format writes exactly stands for all beyond.
fn exact(count: u64) -> u64 {
    count.min((1 << 53) - 1)
}

fn minute_of(at: Timestamp) -> Timestamp {
    at.round(jiff::TimestampRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Trunc)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Record;

    fn at(text: &str) -> Timestamp {
        format!("2026-08-01T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_flood_is_one_record_a_minute() {
        let mut denials = Denials::default();
        assert!(denials.take_over(at("13:00:00")).is_none(), "nothing was counted");
        for second in 0..60 {
            for _ in 0..1000 {
                denials.count(Via::Http, "no-token", at(&format!("13:00:{second:02}")));
            }
        }
        denials.count(Via::Http, "expired", at("13:00:59.999"));
        assert!(denials.take_over(at("13:00:59.999")).is_none(), "the minute isn't over");
        let taken = denials.take_over(at("13:01:00")).unwrap();
        assert!(denials.take().is_none(), "it was taken");
        let (_, line) = taken.to_line(at("13:01:00")).unwrap();
        let record = Record::parse(line.trim_ascii_end()).unwrap();
        assert_eq!(record.denials(), Some(60_001));
        assert_eq!(record.members["from"], "2026-08-01T13:00:00.000Z");
        assert_eq!(record.members["to"], "2026-08-01T13:00:00.000Z");
        assert_eq!(record.members["reasons"], json!({"http": {"no-token": 60_000, "expired": 1}}));
    }

    #[test]
    fn what_nobody_settled_spans_minutes_and_what_could_not_be_written_counts_on() {
        let mut denials = Denials::default();
        denials.count(Via::Http, "no-token", at("13:00:10"));
        denials.count(Via::Http, "no-token", at("13:05:10"));
        let taken = denials.take().unwrap();
        denials.count(Via::Http, "no-token", at("13:06:10"));
        denials.add(taken);
        let (_, line) = denials.take().unwrap().to_line(at("13:07:00")).unwrap();
        let record = Record::parse(line.trim_ascii_end()).unwrap();
        assert_eq!(record.denials(), Some(3));
        assert_eq!(
            (&record.members["from"], &record.members["to"]),
            (&json!("2026-08-01T13:00:00.000Z"), &json!("2026-08-01T13:06:00.000Z"))
        );
    }

    #[test]
    fn it_stays_small_whatever_is_counted() {
        let mut denials = Denials::default();
        for number in 0..1000 {
            let reason: &'static str = Box::leak(format!("reason-{number}").into_boxed_str());
            denials.count(Via::Http, reason, at("13:00:00"));
        }
        assert!(denials.counts.len() <= REASONS + 1);
        let (_, line) = denials.take().unwrap().to_line(at("13:01:00")).unwrap();
        assert_eq!(Record::parse(line.trim_ascii_end()).unwrap().denials(), Some(1000));
    }
}
