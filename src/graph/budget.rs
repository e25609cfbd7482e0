//! Resource units: what a request will cost, and how many may be spent when.
//!
//! Must never know: what is asked for, beyond what the price depends on.
//!
//! Graph meters directory reads in units per application and tenant in windows of 10 seconds: 3,500 for tenants of fewer
//! than 50 users, 5,000 up to 500, 8,000 beyond (learn, graph/throttling-limits). Usage counts while throttled, so that
//! a client which only reacts to 429 keeps itself throttled, and takes from every other use of the same application.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;

/// The windows in which Graph meters.
const WINDOW: Duration = Duration::from_secs(10);

/// The part of the budget that is always left, so that reading goes on and learns when the pressure is over.
const LEAST: f64 = 1.0 / 20.0;

/// The part of the budget that comes back with every window without complaints.
const RECOVERY: f64 = 1.0 / 20.0;

/// What is left after a 429 or at 100 % of what Graph allows.
const AFTER_REFUSAL: f64 = 0.5;

/// What is left after Graph says that 80 % or more is used up, by all clients of this application together.
const AFTER_WARNING: f64 = 0.75;

/// The most that one answer can cost: what a server says beyond is no price.
const DEAREST: u64 = 10_000;

/// Units for all requests together: so many at once, and as many again spread over each window. Cut down by complaints and
/// given back bit by bit, never beyond what was configured.
#[derive(Debug)]
pub struct Budget {
    /// Units per window, as configured.
    all: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Units per window now.
    share: f64,
    /// Units that may be spent at `at`; below zero where answers cost more than was thought.
    level: f64,
    at: Timestamp,
    /// Since when the share has been growing without a complaint.
    calm_since: Timestamp,
    /// When it was cut down last: one burst of complaints is one complaint.
    cut: Option<Timestamp>,
    /// Before this nothing is spent.
    stopped_until: Option<Timestamp>,
}

/// What an answer says of throttling.
#[derive(Debug, Clone, Copy, Default)]
pub struct Charge {
    /// Whether it is a 429.
    pub throttled: bool,
    /// `x-ms-resource-unit`.
    pub units: Option<u64>,
    /// `x-ms-throttle-limit-percentage`: 0.8 to 1.8, sent from 0.8 on.
    pub percentage: Option<f64>,
}

impl Budget {
    /// `units` per window of 10 seconds, all of them there at `now`.
    pub fn new(units: u64, now: Timestamp) -> Budget {
        let all = units as f64;
        let state = State { share: all, level: all, at: now, calm_since: now, cut: None, stopped_until: None };
        Budget { all, state: Mutex::new(state) }
    }

    /// Spends `units`, or says how long to wait before asking again.
    pub fn spend(&self, now: Timestamp, units: u64) -> Option<Duration> {
        let mut state = self.state.lock().expect("no code panics while it has the budget");
        state.pass(now, self.all);
        if let Some(until) = state.stopped_until {
            return Some(between(now, until));
        }
        // What costs more than a whole window may go when there is a whole window.
        let needed = (units as f64).min(state.share);
        if state.level >= needed {
            state.level -= units as f64;
            return None;
        }
        let seconds = (needed - state.level) / state.share * WINDOW.as_secs_f64();
        Some(Duration::from_millis((seconds * 1000.0).ceil() as u64).clamp(Duration::from_millis(1), 2 * WINDOW))
    }

    /// Takes account of an answer to what was thought to cost `estimated`.
    pub fn learn(&self, now: Timestamp, estimated: u64, charge: Charge) {
        let mut state = self.state.lock().expect("no code panics while it has the budget");
        state.pass(now, self.all);
        let cost = charge.units.map_or(estimated, |units| units.min(DEAREST));
        state.level = (state.level + estimated as f64 - cost as f64).clamp(-state.share, state.share);
        let percentage = charge.percentage.unwrap_or(0.0);
        if percentage >= 1.0 {
            state.stopped_until = now.saturating_add(WINDOW).ok();
        }
        if charge.throttled || percentage >= 1.0 {
            state.cut(now, self.all, AFTER_REFUSAL);
        } else if percentage >= 0.8 {
            state.cut(now, self.all, AFTER_WARNING);
        }
    }

    /// Units per window at present.
    #[cfg(test)]
    fn share(&self) -> f64 {
        self.state.lock().unwrap().share
    }
}

impl State {
    /// Lets time pass. A clock that was set back gives nothing and takes nothing.
    fn pass(&mut self, now: Timestamp, all: f64) {
        let passed = between(self.at, now).as_secs_f64() / WINDOW.as_secs_f64();
        let calm = between(self.calm_since, now).as_secs() / WINDOW.as_secs();
        if calm > 0 {
            self.share = (self.share + all * RECOVERY * calm as f64).min(all);
            self.calm_since = now;
        }
        self.level = (self.level + self.share * passed).min(self.share);
        self.at = now;
        self.calm_since = self.calm_since.min(now);
        self.cut = self.cut.filter(|cut| *cut <= now);
        self.stopped_until = self.stopped_until.filter(|until| *until > now && between(now, *until) <= WINDOW);
    }

    fn cut(&mut self, now: Timestamp, all: f64, part: f64) {
        self.calm_since = now;
        if self.cut.is_some_and(|cut| between(cut, now) < WINDOW) {
            return;
        }
        self.cut = Some(now);
        self.share = (self.share * part).max(all * LEAST);
        self.level = self.level.min(0.0);
        tracing::debug!(units_per_10s = self.share as u64, "reading slows down");
    }
}

/// From `earlier` to `later`; nothing where that is backwards.
fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// What a GET of `address` costs in resource units, by learn, graph/throttling-limits: a base price by path, one
/// less with `$select`, one less with `$top` below 20, one more with `$expand`, never less than one. The price of feeds
/// isn't published; they are taken for lists.
///
/// A link costs what its path costs.
pub fn estimate(address: &str) -> u64 {
    let path_and_query = match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => address,
    };
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = path.strip_prefix("/v1.0").or_else(|| path.strip_prefix("/beta")).unwrap_or(path);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let base: i64 = match segments.as_slice() {
        [.., "transitiveMembers"] => 5,
        ["groups", _, "members"] => 3,
        ["domains", _, "domainNameReferences"] => 4,
        ["subscribedSkus", ..] => 3,
        ["servicePrincipals", _, "appRoleAssignments"] => 2,
        ["users" | "applications" | "oauth2PermissionGrants", ..] => 2,
        _ => 1,
    };
    let options = || query.split('&').filter_map(|option| option.split_once('='));
    let option = |wanted: &str| {
        let mut all = options();
        all.find(|(name, _)| name.trim_start_matches("%24").trim_start_matches('$') == wanted).map(|(_, value)| value)
    };
    let select = i64::from(option("select").is_some());
    let expand = i64::from(option("expand").is_some());
    let few = i64::from(option("top").and_then(|top| top.parse::<u32>().ok()).is_some_and(|top| top < 20));
    u64::try_from(base - select + expand - few).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: f64) -> Timestamp {
        let start: Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
        start + SignedDuration::try_from_secs_f64(seconds).unwrap()
    }

    /// Spends units in steps of `step` for `seconds`, waiting as told, and returns how many.
    fn spend_for(budget: &Budget, from: f64, seconds: f64, step: u64) -> u64 {
        let (mut now, mut spent) = (from, 0);
        while now < from + seconds {
            match budget.spend(at(now), step) {
                None => spent += step,
                Some(wait) => now += wait.as_secs_f64(),
            }
        }
        spent
    }

    fn percentage(percentage: f64) -> Charge {
        Charge { percentage: Some(percentage), ..Charge::default() }
    }

    #[test]
    fn no_window_sees_more_than_twice_the_budget_and_a_long_time_sees_the_budget() {
        for step in [1, 2, 60, 100, 300] {
            let budget = Budget::new(100, at(0.0));
            let first = spend_for(&budget, 0.0, 10.0, step);
            assert!(first <= 200.max(step * 2), "{step}: {first}");
            let spent = spend_for(&budget, 10.0, 1000.0, step);
            assert!((9_500..=10_600).contains(&spent), "{step}: {spent}");
        }
    }

    #[test]
    fn answers_correct_the_estimate_and_a_lie_stops_for_two_windows_at_most() {
        let budget = Budget::new(100, at(0.0));
        assert_eq!(budget.spend(at(0.0), 10), None);
        budget.learn(at(0.0), 10, Charge { units: Some(100), ..Charge::default() });
        assert_eq!(budget.spend(at(0.0), 10), Some(Duration::from_secs(1)));
        assert_eq!(budget.spend(at(1.0), 10), None);
        budget.learn(at(1.0), 10, Charge { units: Some(0), ..Charge::default() });
        assert_eq!(budget.spend(at(1.0), 10), None);
        budget.learn(at(1.0), 1, Charge { units: Some(u64::MAX), ..Charge::default() });
        assert!(budget.spend(at(1.0), 100).unwrap() <= 2 * WINDOW);
        assert_eq!(budget.spend(at(21.0), 100), None);
    }

    #[test]
    fn a_warning_slows_down_and_a_full_window_stops() {
        let budget = Budget::new(100, at(0.0));
        budget.learn(at(0.0), 0, percentage(0.79));
        assert_eq!(budget.share(), 100.0);
        budget.learn(at(0.0), 0, percentage(0.8));
        budget.learn(at(1.0), 0, percentage(0.9));
        assert_eq!(budget.share(), 75.0, "one complaint");
        budget.learn(at(2.0), 0, percentage(1.1));
        assert_eq!(budget.spend(at(2.0), 1), Some(WINDOW));
        assert_eq!(budget.spend(at(7.0), 1), Some(Duration::from_secs(5)));
        assert_eq!(budget.spend(at(12.0), 1), None);
        for odd in [f64::NAN, f64::NEG_INFINITY, -1.0] {
            budget.learn(at(12.0), 0, percentage(odd));
            assert_eq!(budget.spend(at(12.0), 1), None);
        }
        budget.learn(at(12.0), 0, percentage(f64::INFINITY));
        assert_eq!(budget.spend(at(12.0), 1), Some(WINDOW));
    }

    #[test]
    fn refusals_halve_it_down_to_a_twentieth_and_calm_gives_it_back() {
        let budget = Budget::new(1000, at(0.0));
        let throttled = Charge { throttled: true, ..Charge::default() };
        let mut shares = Vec::new();
        for window in 0..8 {
            for burst in 0..5 {
                budget.learn(at(f64::from(window) * 10.0 + f64::from(burst) * 0.1), 1, throttled);
            }
            shares.push(budget.share());
        }
        assert_eq!(shares, [500.0, 250.0, 125.0, 62.5, 50.0, 50.0, 50.0, 50.0]);
        assert!(budget.spend(at(70.5), 10).is_some(), "nothing saved up");
        assert_eq!(budget.spend(at(100.5), 1), None);
        assert_eq!(budget.share(), 200.0);
        budget.spend(at(1000.0), 1);
        assert_eq!(budget.share(), 1000.0);
    }

    #[test]
    fn a_clock_set_back_stops_nothing() {
        let budget = Budget::new(100, at(1e6));
        budget.learn(at(1e6), 0, percentage(1.8));
        assert_eq!(budget.spend(at(0.0), 1).filter(|wait| *wait > WINDOW), None);
        assert!(spend_for(&budget, 1.0, 1000.0, 1) >= 9_000);
    }

    #[test]
    fn prices_are_those_of_the_table() {
        for (path, price) in [
            ("/v1.0/users", 2),
            ("/v1.0/users?$select=id", 1),
            ("/v1.0/users?$select=id&$top=10", 1),
            ("/v1.0/users?$expand=manager", 3),
            ("/groups/a/members", 3),
            ("/beta/groups/a/members?%24select=id&$top=999", 2),
            ("/v1.0/groups/a/transitiveMembers", 5),
            ("/v1.0/servicePrincipals/a/appRoleAssignments", 2),
            ("/v1.0/servicePrincipals/a/appRoleAssignedTo", 1),
            ("/v1.0/domains/a/domainNameReferences", 4),
            ("/v1.0/subscribedSkus", 3),
            ("/v1.0/groups", 1),
            ("https://graph.microsoft.com/v1.0/groups/a/members?$skiptoken=x", 3),
            ("https://graph.microsoft.com", 1),
            ("", 1),
        ] {
            assert_eq!(estimate(path), price, "{path}");
        }
    }
}
