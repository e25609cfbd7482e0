//! Time as an argument: the system's clock, or one that a test or the demo moves by hand.
//!
//! Must never know: what anybody wants the time for. Nothing else in the crate asks the operating system for the time.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

/// A future that a [`Clock`] returns from [`Clock::sleep`].
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Where the time comes from. Times are claims by a clock, never an order: order comes from sequence numbers.
pub trait Clock: Send + Sync + Debug {
    /// The present instant (UTC), to the clock's own resolution. May jump in either direction between two calls.
    fn now(&self) -> Timestamp;

    /// Completes once `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Sleep<'_>;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is moved. Clones share the same time.
///
/// A sleep moves the time forward to its end at once, so that code which waits (for `Retry-After`, say) runs through
/// in no real time and the server that shares the clock agrees that the wait took place.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<Mutex<Timestamp>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(start)) }
    }

    /// Sets the time, backwards too: clocks do that.
    pub fn set(&self, to: Timestamp) {
        *self.now.lock().expect("no code panics while it holds the time") = to;
    }

    /// Moves the time forward by `duration`.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.now.lock().expect("no code panics while it holds the time");
        *now = now.saturating_add(duration).expect("a duration from std fits a saturating addition");
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().expect("no code panics while it holds the time")
    }

    fn sleep(&self, duration: Duration) -> Sleep<'_> {
        let target = self.now().saturating_add(duration).expect("a duration from std fits a saturating addition");
        Box::pin(async move {
            {
                let mut now = self.now.lock().expect("no code panics while it holds the time");
                *now = (*now).max(target);
            }
            tokio::task::yield_now().await;
        })
    }
}

/// `at` as `YYYY-MM-DDTHH:MM:SS.sssZ`, the one form in which the archive writes times. Truncates to milliseconds.
pub fn format_millis(at: Timestamp) -> String {
    jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%S.%3fZ", at).expect("a timestamp has every field of this format")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millis_are_always_written() {
        let at: Timestamp = "2026-08-01T13:00:00Z".parse().unwrap();
        assert_eq!(format_millis(at), "2026-08-01T13:00:00.000Z");
        let at: Timestamp = "2026-08-01T13:00:00.123987Z".parse().unwrap();
        assert_eq!(format_millis(at), "2026-08-01T13:00:00.123Z");
    }

    #[tokio::test]
    async fn a_sleep_moves_a_manual_clock_and_clones_share_it() {
        let clock = ManualClock::new("2026-08-01T00:00:00Z".parse().unwrap());
        let other = clock.clone();
        clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(other.now().to_string(), "2026-08-01T00:00:10Z");
        other.set("2026-07-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.now().to_string(), "2026-07-01T00:00:00Z");
    }
}
