//! The service in front of the directory: who may ask, what is served where, what it costs, and what goes wrong.
//!
//! Must never know: how bytes reach the wire, or how the tenant came to be what it is.

use jiff::Timestamp;

use super::dice::Dice;
use super::exchange::{Ask, Refusal, Reply};
use super::lens::Refused;
use super::permissions::Rights;
use super::reads::Desk;
use super::routes::{World, route};
use super::sign_in::Door;
use super::weather::Weather;

/// Who the service knows and how it is doing.
pub(super) struct Service {
    pub door: Door,
    pub rights: Rights,
    /// Properties that the service does not know, on request of a test.
    pub refused: Refused,
    pub weather: Weather,
    /// Chance of the weather and of ids, apart from the chance of the tenant's life.
    pub dice: Dice,
    pub key: [u8; 32],
    /// How many times all delta tokens were made to expire.
    pub epoch: u64,
    /// The last answered request to Conditional Access.
    conditional_access: Option<Timestamp>,
    /// Start of the present ten seconds, and resource units spent in them.
    spent: (Timestamp, u32),
    /// The same for requests to reports, and by the minute for those that select key credentials.
    reports: (Timestamp, u32),
    keys: (Timestamp, u32),
}

impl Service {
    pub fn new(seed: u64, weather: Weather, rights: Rights) -> Self {
        let mut ids = Dice::new(seed, 1);
        let door = Door::new(ids.guid(), ids.guid(), hex::encode(ids.bytes::<20>()));
        Self {
            door,
            rights,
            refused: Refused::new(),
            weather,
            key: ids.bytes(),
            dice: Dice::new(seed, 2),
            epoch: 0,
            conditional_access: None,
            spent: (Timestamp::UNIX_EPOCH, 0),
            reports: (Timestamp::UNIX_EPOCH, 0),
            keys: (Timestamp::UNIX_EPOCH, 0),
        }
    }

    /// The fault that the weather sends to a request, if any.
    pub fn weather_fault(&mut self, ask: &Ask) -> Result<(), Refusal> {
        let weather = self.weather;
        let dice = &mut self.dice;
        let throttled = || Refusal::new(429, "TooManyRequests", "Please retry again later.");
        if dice.chance(weather.throttled_with_hint) {
            return Err(throttled().with("Retry-After", (1 + dice.below(15)).to_string()));
        }
        if dice.chance(weather.throttled_without_hint) {
            return Err(throttled());
        }
        if dice.chance(weather.unavailable) {
            let (status, code) = *dice.pick(&[(503, "serviceNotAvailable"), (504, "UnknownError")]);
            let refusal = Refusal::new(status, code, "The service is temporarily unavailable.");
            return Err(if dice.chance(0.5) {
                refusal.with("Retry-After", (1 + dice.below(10)).to_string())
            } else {
                refusal
            });
        }
        if dice.chance(weather.broken) {
            return Err(Refusal::new(500, "InternalServerError", "An unexpected error occurred."));
        }
        if ask.option("$skiptoken").is_some() && dice.chance(weather.expired_page) {
            let message = "The specified page token value has expired and can no longer be included in your request.";
            return Err(Refusal::new(400, "Directory_ExpiredPageToken", message));
        }
        Ok(())
    }

    /// Charges for a request, or refuses it because too much was spent ("Microsoft Graph service-specific throttling
    /// limits").
    pub fn charge(&mut self, ask: &Ask, units: u32) -> Result<(), Refusal> {
        let throttled = || Refusal::new(429, "TooManyRequests", "Too many requests. Please retry again later.");
        if self.weather.conditional_access_limit && ask.segments.first().is_some_and(|first| first == "identity") {
            // A clock that was set back must not lock the tenant out.
            let second = jiff::SignedDuration::from_secs(1);
            let soon = |last: Timestamp| ask.now >= last && ask.now.duration_since(last) < second;
            if self.conditional_access.is_some_and(soon) {
                return Err(throttled());
            }
            self.conditional_access = Some(ask.now);
        }
        let first = ask.segments.first().map_or("", String::as_str);
        if self.weather.report_limit && matches!(first, "reports" | "auditLogs") {
            spend(&mut self.reports, 1, 5, 10, ask.now)?;
        }
        let selects = ask.option("$select").is_some_and(|names| names.contains("keyCredentials"));
        if self.weather.key_credentials_limit && selects {
            spend(&mut self.keys, 1, 150, 60, ask.now)?;
        }
        match self.weather.resource_units_per_10s {
            Some(budget) => spend(&mut self.spent, units, budget, 10, ask.now),
            None => Ok(()),
        }
    }

    /// Spent share of the budget, above 0.8 (header `x-ms-throttle-limit-percentage`).
    pub fn strain(&self) -> Option<f64> {
        let share = f64::from(self.spent.1) / f64::from(self.weather.resource_units_per_10s?);
        (share > 0.8).then_some(share)
    }

    /// Answers a request that has passed authentication and weather.
    pub fn answer(&mut self, world: &World<'_>, ask: &Ask) -> Result<Reply, Refusal> {
        self.rights.permit(ask)?;
        let mut desk = Desk { key: self.key, weather: self.weather, dice: &mut self.dice, refused: &self.refused };
        route(world, &mut desk, ask)
    }
}

/// Spends from a budget that is renewed every so many seconds, or refuses until it is.
fn spend(spent: &mut (Timestamp, u32), cost: u32, budget: u32, seconds: i64, now: Timestamp) -> Result<(), Refusal> {
    if !(0..seconds).contains(&now.duration_since(spent.0).as_secs()) {
        *spent = (now, 0);
    }
    if spent.1 + cost > budget {
        let rest = seconds - now.duration_since(spent.0).as_secs();
        let refusal = Refusal::new(429, "TooManyRequests", "Too many requests. Please retry again later.");
        return Err(refusal.with("Retry-After", rest.to_string()));
    }
    spent.1 += cost;
    Ok(())
}

/// What a request costs ("Microsoft Graph service-specific throttling limits", resource units of the identity service).
pub(super) fn resource_units(ask: &Ask) -> u32 {
    let segments: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    let base: u32 = match segments.as_slice() {
        ["groups", _, "members"] => 3,
        ["users" | "applications" | "oauth2PermissionGrants"] => 2,
        ["users" | "applications", cast] if cast.starts_with("microsoft.graph.agent") => 2,
        ["servicePrincipals", _, "appRoleAssignments"] => 2,
        ["subscribedSkus"] => 3,
        _ => 1,
    };
    let selected = u32::from(ask.option("$select").is_some());
    let base = base + u32::from(ask.option("$expand").is_some());
    let small = u32::from(ask.option("$top").and_then(|top| top.parse::<u32>().ok()).is_some_and(|top| top < 20));
    base.saturating_sub(selected + small).max(1)
}
