//! What reading costs, and how far our clock is off.
//!
//! Must never know: what was read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;

/// What was spent, retries included. Whatever one meter counts, the meter it was made from counts too.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    batches: AtomicU64,
    units: AtomicU64,
    throttled: AtomicU64,
    skew: AtomicI64,
    parent: Option<Arc<Meter>>,
}

impl Meter {
    /// A meter that starts at zero within `parent`.
    pub(super) fn within(parent: &Arc<Meter>) -> Meter {
        Meter { parent: Some(parent.clone()), ..Meter::default() }
    }

    /// Requests sent. A part of a batch counts as one, since Graph bills and throttles it as one (learn,
    /// graph/throttling); the batch around it doesn't.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Batches sent.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Resource units charged, as `x-ms-resource-unit` says; for a part of a batch that doesn't say, an estimate.
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Answers, parts of batches included, that turned a request away for being one too many (429).
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    /// The largest difference seen between a response's `Date` and our clock that its way here doesn't explain, in
    /// milliseconds; positive where our clock is behind. Zero where `Date`, which has whole seconds, lies between our
    /// sending and our receiving.
    pub fn skew_ms(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    fn all(&self) -> impl Iterator<Item = &Meter> {
        std::iter::successors(Some(self), |meter| meter.parent.as_deref())
    }

    pub(super) fn sent(&self) {
        for meter in self.all() {
            meter.requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn sent_batch(&self, parts: u64) {
        for meter in self.all() {
            meter.requests.fetch_add(parts, Ordering::Relaxed);
            meter.batches.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn charged(&self, units: u64) {
        for meter in self.all() {
            meter.units.fetch_add(units, Ordering::Relaxed);
        }
    }

    pub(super) fn turned_away(&self) {
        for meter in self.all() {
            meter.throttled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that the response to what was sent at `sent` and received at `received` says it is `date`.
    pub(super) fn dated(&self, date: Timestamp, sent: Timestamp, received: Timestamp) {
        let (date, sent, received) = (date.as_millisecond(), sent.as_millisecond(), received.as_millisecond());
        let skew = match () {
            () if date > received => date - received,
            () if date + 1_000 <= sent => date - sent,
            () => return,
        };
        let larger = |known: i64| (skew.unsigned_abs() > known.unsigned_abs()).then_some(skew);
        for meter in self.all() {
            let _ = meter.skew.fetch_update(Ordering::Relaxed, Ordering::Relaxed, larger);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_here_is_no_skew() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        for (date, sent, received, expected) in [
            (5_000, 5_400, 5_900, 0),
            (5_000, 5_999, 40_000, 0),
            (7_000, 5_000, 60_000, 0),
            (61_000, 5_000, 60_000, 1_000),
            (5_000, 6_000, 6_100, -1_000),
            (-600_000, 0, 10_000, -600_000),
        ] {
            let root = Arc::new(Meter::default());
            Meter::within(&root).dated(at(date), at(sent), at(received));
            assert_eq!(root.skew_ms(), expected, "{date} {sent} {received}");
        }
    }
}
