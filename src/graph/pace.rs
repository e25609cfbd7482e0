//! Waiting: between the tries of one request, and between the requests of a bucket that Graph limits by itself.
//!
//! Must never know: what is asked for.

use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use super::error::Error;
use super::options::Limits;
use crate::clock::Clock;

/// The first wait where the service names none. Doubles with every try.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait where the service names none.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// The tries of one request: bounded in number and in the time spent waiting.
#[derive(Debug, Default)]
pub struct Tries {
    made: u32,
    waited: Duration,
}

impl Tries {
    /// Counts one more try and returns how many that makes.
    pub fn begin(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// How many there were.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// How long to wait before the next try; `None` where the limits allow no more.
    ///
    /// `retry_after` is honoured up to the longest wait allowed: usage keeps counting while throttled, so coming back
    /// early only makes it worse (learn, graph/throttling). Without it: exponential with jitter.
    pub fn next_wait(&mut self, limits: &Limits, retry_after: Option<Duration>) -> Option<Duration> {
        if self.made >= limits.tries {
            return None;
        }
        let wait = match retry_after {
            Some(wait) if !wait.is_zero() => wait,
            _ => backoff(self.made, jitter()),
        };
        let wait = wait.min(limits.longest_wait);
        self.waited += wait;
        (self.waited <= limits.total_wait).then_some(wait)
    }
}

/// The wait after try `made` (1 is the first): between half and all of a span that doubles. `jitter` is in 0..=255.
fn backoff(made: u32, jitter: u8) -> Duration {
    let span = BACKOFF.saturating_mul(1 << made.saturating_sub(1).min(16)).min(LONGEST_BACKOFF);
    span / 2 + span / 2 * u32::from(jitter) / 255
}

/// Without randomness from the system, no jitter: nothing depends on it but politeness.
fn jitter() -> u8 {
    let mut byte = [128];
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

/// How long `retry_after` asks to wait: seconds, or an HTTP date, which is read against the response's own `Date`
/// (else `now`), so that a clock that is wrong doesn't matter.
pub fn retry_after(value: &str, date: Option<&str>, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds.ceil()).ok()).flatten();
    }
    let until = Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()?;
    let from = date.and_then(parse_date).unwrap_or(now);
    Some(Duration::try_from(until.duration_since(from)).unwrap_or(Duration::ZERO))
}

/// The instant of an HTTP date.
pub fn parse_date(value: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()
}

/// One request at a time, with `interval` between the end of one and the beginning of the next once `burst` requests
/// have used up what was saved.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    burst: u32,
    /// When the next request would be due, had every one of them kept the interval.
    due: AsyncMutex<Option<Timestamp>>,
}

/// Leave to send one request; the next is due an interval after this is dropped, when it has been answered, has failed
/// or was given up.
#[derive(Debug)]
pub struct Turn<'a> {
    pace: &'a Pace,
    clock: &'a dyn Clock,
    due: MutexGuard<'a, Option<Timestamp>>,
}

impl Pace {
    /// At most `burst` requests at once and one an `interval` after that.
    pub fn new(interval: Duration, burst: u32) -> Self {
        Pace { interval, burst, due: AsyncMutex::new(None) }
    }

    /// Waits for the next turn. Turns exclude one another.
    ///
    /// # Errors
    /// [`Error::TimeLimit`] where the turn would come after `deadline`.
    pub async fn turn<'a>(&'a self, clock: &'a dyn Clock, deadline: Option<Timestamp>) -> Result<Turn<'a>, Error> {
        let due = self.due.lock().await;
        if let Some(due) = *due {
            let saved = self.interval * self.burst.saturating_sub(1);
            let ahead = Duration::try_from(due.duration_since(clock.now())).unwrap_or(Duration::ZERO);
            // Never longer than one interval: a clock that was set back must not stop the reading.
            let wait = ahead.saturating_sub(saved).min(self.interval);
            if !wait.is_zero() {
                sleep(clock, wait, deadline).await?;
            }
        }
        Ok(Turn { pace: self, clock, due })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = self.clock.now();
        let all = SignedDuration::try_from(self.pace.interval * self.pace.burst).unwrap_or(SignedDuration::MAX);
        let from = self.due.filter(|due| *due > now && due.duration_since(now) <= all).unwrap_or(now);
        *self.due = from.saturating_add(self.pace.interval).ok();
    }
}

/// Sleeps, unless the deadline comes first.
///
/// # Errors
/// [`Error::TimeLimit`], at once, where it does: there is nothing to wait for.
pub async fn sleep(clock: &dyn Clock, wait: Duration, deadline: Option<Timestamp>) -> Result<(), Error> {
    let end = clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    if deadline.is_some_and(|deadline| end > deadline) {
        return Err(Error::TimeLimit);
    }
    clock.sleep(wait).await;
    Ok(())
}

/// Runs `work`, for no longer than there is until `deadline`. Where the clock is a manual one its time and the real one
/// are both bounds.
///
/// # Errors
/// [`Error::TimeLimit`]; `work` is dropped wherever it is.
pub async fn within<T>(
    clock: &dyn Clock,
    deadline: Option<Timestamp>,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    let left = Duration::try_from(deadline.duration_since(clock.now())).unwrap_or(Duration::ZERO);
    tokio::time::timeout(left, work).await.map_err(|_| Error::TimeLimit)
}

/// An instant before which nothing is to be sent, set by whoever was told to wait.
#[derive(Debug, Default)]
pub struct Hold(Mutex<Option<Timestamp>>);

impl Hold {
    /// Holds everybody for `wait` from `now`.
    pub fn set(&self, now: Timestamp, wait: Duration) {
        let until = now.saturating_add(wait).ok();
        let mut hold = self.0.lock().expect("no code panics while it has the hold");
        *hold = (*hold).max(until);
    }

    /// How long to wait at `now`, at most `longest`. A hold that is over, or further off than `longest` since the clock
    /// was set back, is dropped.
    pub fn wait(&self, now: Timestamp, longest: Duration) -> Option<Duration> {
        let mut hold = self.0.lock().expect("no code panics while it has the hold");
        let wait = Duration::try_from((*hold)?.duration_since(now)).ok().filter(|wait| !wait.is_zero());
        match wait {
            Some(wait) if wait <= longest => Some(wait),
            _ => {
                *hold = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_on_the_service_s_own_clock() {
        let now = at("2026-08-01T00:00:00Z");
        let date = Some("Sat, 01 Aug 2026 10:00:00 GMT");
        for (value, expected) in [
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("1.5", Some(2)),
            ("0", Some(0)),
            ("-1", None),
            ("soon", None),
            ("1e300", None),
            ("NaN", None),
            ("Sat, 01 Aug 2026 10:00:30 GMT", Some(30)),
            ("Sat, 01 Aug 2026 09:00:00 GMT", Some(0)),
        ] {
            assert_eq!(retry_after(value, date, now), expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after("Sat, 01 Aug 2026 00:00:07 GMT", None, now), Some(Duration::from_secs(7)));
    }

    #[test]
    fn tries_and_waiting_are_bounded() {
        let limits = Limits { tries: 4, total_wait: Duration::from_secs(1000), ..Limits::default() };
        let mut tries = Tries::default();
        for _ in 0..3 {
            tries.begin();
            assert!(tries.next_wait(&limits, None).is_some());
        }
        tries.begin();
        assert_eq!(tries.next_wait(&limits, None), None);

        let mut tries = Tries::default();
        tries.begin();
        assert_eq!(tries.next_wait(&limits, Some(Duration::from_secs(86_400))), Some(limits.longest_wait));
        let limits = Limits { total_wait: Duration::from_secs(10), ..limits };
        assert_eq!(tries.next_wait(&limits, Some(Duration::from_secs(11))), None);
    }

    #[test]
    fn backoff_doubles_up_to_a_minute_within_its_jitter() {
        assert_eq!(backoff(1, 0), Duration::from_millis(500));
        assert_eq!(backoff(1, 255), Duration::from_secs(1));
        assert_eq!(backoff(4, 255), Duration::from_secs(8));
        assert_eq!(backoff(40, 255), Duration::from_secs(60));
        assert_eq!(backoff(40, 0), Duration::from_secs(30));
    }

    #[tokio::test]
    async fn turns_keep_their_interval_and_a_burst_is_saved_up() {
        let clock = ManualClock::new(at("2026-08-01T00:00:00Z"));
        let pace = Pace::new(Duration::from_secs(1), 1);
        for _ in 0..3 {
            drop(pace.turn(&clock, None).await.unwrap());
        }
        assert_eq!(clock.now(), at("2026-08-01T00:00:02Z"));
        clock.set(at("2026-07-01T00:00:00Z"));
        drop(pace.turn(&clock, None).await.unwrap());
        assert_eq!(clock.now(), at("2026-07-01T00:00:01Z"), "a clock set back costs one interval");

        let clock = ManualClock::new(at("2026-08-01T00:00:00Z"));
        let pace = Pace::new(Duration::from_millis(500), 30);
        for _ in 0..150 {
            drop(pace.turn(&clock, None).await.unwrap());
        }
        assert_eq!(clock.now(), at("2026-08-01T00:01:00Z"));
    }

    #[test]
    fn a_hold_ends_and_does_not_outlive_a_clock_that_jumps_back() {
        let hold = Hold::default();
        let now = at("2026-08-01T00:00:00Z");
        let longest = Duration::from_secs(300);
        hold.set(now, Duration::from_secs(10));
        hold.set(now, Duration::from_secs(5));
        assert_eq!(hold.wait(now, longest), Some(Duration::from_secs(10)));
        assert_eq!(hold.wait(at("2026-07-01T00:00:00Z"), longest), None);
        hold.set(now, Duration::from_secs(10));
        assert_eq!(hold.wait(at("2026-08-01T00:00:10Z"), longest), None);
    }
}
