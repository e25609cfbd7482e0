//! The service in front of the directory: who may ask, what is served where, what it costs, and what goes wrong.
//!
//! Must never know: how bytes reach the wire, or how the tenant came to be what it is.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::dice::Dice;
use super::exchange::{Ask, Refusal, Reply};
use super::lens::Refused;
use super::permissions::Rights;
use super::reads::Desk;
use super::routes::{World, route};
use super::token;
use super::weather::Weather;

/// Seconds that an access token is good for.
const TOKEN_SECONDS: i64 = 3600;

/// Who the service knows and how it is doing.
pub(super) struct Service {
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: String,
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
}

impl Service {
    pub fn new(seed: u64, weather: Weather, rights: Rights) -> Self {
        let mut ids = Dice::new(seed, 1);
        Self {
            tenant_id: ids.guid(),
            client_id: ids.guid(),
            client_secret: hex::encode(ids.bytes::<20>()),
            rights,
            refused: Refused::new(),
            weather,
            key: ids.bytes(),
            dice: Dice::new(seed, 2),
            epoch: 0,
            conditional_access: None,
            spent: (Timestamp::UNIX_EPOCH, 0),
        }
    }

    /// Answers the token endpoint. `form` holds the decoded fields of the request's body. On failure the body of the
    /// Microsoft identity platform ("OAuth 2.0 client credentials flow"), which is not Graph's.
    pub fn sign_in(&mut self, base: &str, tenant: &str, form: &[(String, String)], now: Timestamp) -> (u16, Value) {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let storm = self.dice.chance(self.weather.sign_in_unavailable);
        let problem = if storm {
            Some((503, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."))
        } else if tenant != self.tenant_id {
            Some((400, "invalid_request", 90002, "The tenant was not found."))
        } else if field("grant_type") != "client_credentials" {
            Some((400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."))
        } else if field("client_id") != self.client_id {
            Some((400, "unauthorized_client", 700016, "The application was not found in the directory."))
        } else if field("client_secret") != self.client_secret {
            Some((401, "invalid_client", 7000215, "Invalid client secret provided."))
        } else if field("scope") != format!("{base}/.default") {
            Some((400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."))
        } else {
            None
        };
        if let Some((status, error, code, text)) = problem {
            return (status, self.sign_in_error(error, code, text, now));
        }
        let issued = now.as_second();
        let claims = json!({
            "aud": base, "iss": format!("{base}/{tenant}/"), "iat": issued, "nbf": issued,
            "exp": issued + TOKEN_SECONDS, "appid": self.client_id, "idtyp": "app", "tid": self.tenant_id,
            "roles": self.rights.permissions, "ver": "1.0", "uti": hex::encode(self.dice.bytes::<8>()),
        });
        let token = token::access_token(&self.key, &claims);
        let body = json!({
            "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "ext_expires_in": TOKEN_SECONDS, "access_token": token,
        });
        (200, body)
    }

    fn sign_in_error(&mut self, error: &str, code: u32, text: &str, now: Timestamp) -> Value {
        let (trace, correlation) = (self.dice.guid(), self.dice.guid());
        let stamp = now.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
            ),
            "error_codes": [code], "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
        })
    }

    /// Refuses a request without a token of this service that is still good.
    pub fn authenticate(&self, authorization: Option<&str>, now: Timestamp) -> Result<(), Refusal> {
        let refuse = |message: &str| {
            Err(Refusal::new(401, "InvalidAuthenticationToken", message)
                .with("WWW-Authenticate", "Bearer realm=\"\", error=\"invalid_token\""))
        };
        let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
            return refuse("Access token is empty.");
        };
        let Some(claims) = token::claims(&self.key, token) else {
            return refuse("IDX14100: JWT is not well formed.");
        };
        if claims["exp"].as_i64().is_none_or(|expires| expires <= now.as_second()) {
            return refuse("Lifetime validation failed, the token is expired.");
        }
        Ok(())
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

    /// Charges for a request, or refuses it because too much was spent.
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
        let Some(budget) = self.weather.resource_units_per_10s else { return Ok(()) };
        let since = ask.now.duration_since(self.spent.0).as_secs();
        if !(0..10).contains(&since) {
            self.spent = (ask.now, 0);
        }
        if self.spent.1 + units > budget {
            let rest = 10 - ask.now.duration_since(self.spent.0).as_secs();
            return Err(throttled().with("Retry-After", rest.to_string()));
        }
        self.spent.1 += units;
        Ok(())
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
