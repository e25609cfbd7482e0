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
    units: AtomicU64,
    skew: AtomicI64,
    parent: Option<Arc<Meter>>,
}

impl Meter {
    /// A meter that starts at zero within `parent`.
    pub(super) fn within(parent: &Arc<Meter>) -> Meter {
        Meter { parent: Some(parent.clone()), ..Meter::default() }
    }

    /// Requests sent.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Resource units charged, as `x-ms-resource-unit` says.
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// The largest difference seen between a response's `Date` and our clock, in milliseconds; positive where ours is
    /// behind. `Date` has whole seconds and the answer took its time, so that up to two seconds mean nothing.
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

    pub(super) fn charged(&self, units: u64) {
        for meter in self.all() {
            meter.units.fetch_add(units, Ordering::Relaxed);
        }
    }

    /// Notes that a response says it is `date` when our clock says it is `now`.
    pub(super) fn dated(&self, date: Timestamp, now: Timestamp) {
        let skew = date.as_millisecond() - now.as_millisecond();
        let larger = |known: i64| (skew.unsigned_abs() > known.unsigned_abs()).then_some(skew);
        for meter in self.all() {
            let _ = meter.skew.fetch_update(Ordering::Relaxed, Ordering::Relaxed, larger);
        }
    }
}
