//! The service in front of the directory: who may ask, what is served where, what it costs, and what goes wrong.
//!
//! Must never know: how bytes reach the wire, or how the tenant came to be what it is.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::delta::{Feed, delta};
use super::dice::Dice;
use super::directory::{Directory, Relation};
use super::exchange::{Ask, Refusal, Reply};
use super::reads::{self, List};
use super::schema::Collection;
use super::token;
use super::weather::Weather;

/// Seconds that an access token is good for.
const TOKEN_SECONDS: i64 = 3600;

/// Who the service knows and how it is doing.
pub(super) struct Service {
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: String,
    /// Application permissions that have been consented to.
    pub permissions: BTreeSet<String>,
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
    pub fn new(seed: u64, weather: Weather, permissions: BTreeSet<String>) -> Self {
        let mut ids = Dice::new(seed, 1);
        Self {
            tenant_id: ids.guid(),
            client_id: ids.guid(),
            client_secret: hex::encode(ids.bytes::<20>()),
            permissions,
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
            "roles": self.permissions, "ver": "1.0", "uti": hex::encode(self.dice.bytes::<8>()),
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
    pub fn route(&mut self, directory: &Directory, ask: &Ask) -> Result<Reply, Refusal> {
        use Collection as C;
        let segments: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
        self.permit(&segments)?;
        let key = self.key;
        let page = |list: List| reads::page(directory, &key, ask, &list);
        match segments.as_slice() {
            [set, rest @ ..] if main_collection(set).is_some() => {
                let (collection, set) = main_collection(set).expect("the guard has seen it");
                match rest {
                    [] => page(reads::all(directory, collection, set)),
                    ["$count"] if collection != C::Oauth2PermissionGrant => reads::count(directory, ask, collection),
                    ["delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"] => {
                        let (weather, epoch) = (self.weather, self.epoch);
                        let mut feed = Feed { directory, weather, dice: &mut self.dice, key, epoch };
                        delta(&mut feed, ask, collection, set)
                    }
                    [id] => reads::single(directory, ask, collection, set, id),
                    [id, link] => self.related(directory, ask, (collection, set), id, link),
                    [_, _, segment, ..] => Err(Refusal::unknown(segment)),
                }
            }
            ["identity", "conditionalAccess", "policies"] => page(policies(directory, &ask.version)),
            path if plain_collection(path).is_some() => {
                let (collection, set) = plain_collection(path).expect("the guard has seen it");
                page(reads::all(directory, collection, set))
            }
            [path @ .., id] if plain_collection(path).is_some() => {
                let (collection, set) = plain_collection(path).expect("the guard has seen it");
                if collection == C::ConditionalAccessPolicy && is_beta_only(directory, &ask.version, id) {
                    return Err(Refusal::missing(id));
                }
                reads::single(directory, ask, collection, set, id)
            }
            ["directory", "deletedItems"] => Err(Refusal::bad("Resource type must be specified.")),
            ["directory", "deletedItems", cast] => match deleted_collection(cast) {
                Some((Some(collection), set)) => page(reads::bin(directory, collection, set)),
                Some((None, set)) => page(List { set: set.into(), collection: None, places: Vec::new() }),
                None => Err(Refusal::bad(format!("Resource type '{cast}' is not supported in deletedItems."))),
            },
            [] => Err(Refusal::unknown("")),
            [.., last] => Err(Refusal::unknown(last)),
        }
    }

    /// Links and dependents of one object.
    fn related(
        &self,
        directory: &Directory,
        ask: &Ask,
        of: (Collection, &str),
        id: &str,
        link: &str,
    ) -> Result<Reply, Refusal> {
        use Collection as C;
        let (collection, set) = of;
        let place = reads::live(directory, collection, id)?;
        let list = match (collection, link) {
            (C::User, "manager") => return reads::manager(directory, ask, id),
            (C::Group, "members") => reads::linked(directory, place, Relation::Members),
            (C::Group | C::Application | C::ServicePrincipal, "owners") => {
                reads::linked(directory, place, Relation::Owners)
            }
            (C::Application, "federatedIdentityCredentials") => List {
                set: format!("{set}('{id}')/federatedIdentityCredentials"),
                collection: Some(C::FederatedIdentityCredential),
                places: directory.linked(place, Relation::FederatedIdentityCredentials).collect(),
            },
            (C::User | C::Group | C::ServicePrincipal, "appRoleAssignments") => {
                let set = format!("{set}('{id}')/appRoleAssignments");
                reads::with_property(directory, C::AppRoleAssignment, set, "principalId", place)
            }
            (C::ServicePrincipal, "appRoleAssignedTo") => {
                let set = format!("{set}('{id}')/appRoleAssignedTo");
                reads::with_property(directory, C::AppRoleAssignment, set, "resourceId", place)
            }
            _ => return Err(Refusal::unknown(link)),
        };
        reads::page(directory, &self.key, ask, &list)
    }

    /// Refuses what none of the consented permissions allows. The least privileged application permission of each page
    /// is asked for by name: broader ones that would do in Entra do not count here, so that a collector has to name
    /// what it needs.
    fn permit(&self, segments: &[&str]) -> Result<(), Refusal> {
        let needed: &[&str] = match segments {
            ["users" | "groups", _, "appRoleAssignments"] | ["oauth2PermissionGrants", ..] => &["Directory.Read.All"],
            ["users", ..] => &["User.Read.All"],
            ["groups", ..] => &["Group.Read.All", "GroupMember.Read.All"],
            ["applications" | "servicePrincipals", ..] => &["Application.Read.All"],
            ["roleManagement", ..] => &["RoleManagement.Read.Directory"],
            ["identity", ..] => &["Policy.Read.All"],
            ["organization", ..] => &["Organization.Read.All"],
            ["domains", ..] => &["Domain.Read.All"],
            ["directory", "deletedItems", cast] => match cast.trim_start_matches("microsoft.graph.") {
                "user" => &["User.Read.All"],
                "group" => &["Group.Read.All"],
                "administrativeUnit" => &["AdministrativeUnit.Read.All"],
                _ => &["Application.Read.All"],
            },
            _ => return Ok(()),
        };
        if needed.iter().any(|permission| self.permissions.contains(*permission)) {
            return Ok(());
        }
        Err(Refusal::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."))
    }
}

/// The collections at the root of Graph, with their canonical name.
fn main_collection(set: &str) -> Option<(Collection, &'static str)> {
    Some(match set {
        "users" => (Collection::User, "users"),
        "groups" => (Collection::Group, "groups"),
        "applications" => (Collection::Application, "applications"),
        "servicePrincipals" => (Collection::ServicePrincipal, "servicePrincipals"),
        "oauth2PermissionGrants" => (Collection::Oauth2PermissionGrant, "oauth2PermissionGrants"),
        _ => return None,
    })
}

/// The collections without delta and links, by path, with the name that their context has.
fn plain_collection(path: &[&str]) -> Option<(Collection, &'static str)> {
    Some(match path {
        ["roleManagement", "directory", "roleDefinitions"] => {
            (Collection::RoleDefinition, "roleManagement/directory/roleDefinitions")
        }
        ["roleManagement", "directory", "roleAssignments"] => {
            (Collection::RoleAssignment, "roleManagement/directory/roleAssignments")
        }
        ["identity", "conditionalAccess", "policies"] => {
            (Collection::ConditionalAccessPolicy, "identity/conditionalAccess/policies")
        }
        ["identity", "conditionalAccess", "namedLocations"] => {
            (Collection::NamedLocation, "identity/conditionalAccess/namedLocations")
        }
        ["organization"] => (Collection::Organization, "organization"),
        ["domains"] => (Collection::Domain, "domains"),
        _ => return None,
    })
}

/// The type cast of deletedItems. Administrative units can be asked for, but this tenant has none.
fn deleted_collection(cast: &str) -> Option<(Option<Collection>, &'static str)> {
    Some(match cast.strip_prefix("microsoft.graph.")? {
        "user" => (Some(Collection::User), "users"),
        "group" => (Some(Collection::Group), "groups"),
        "application" => (Some(Collection::Application), "applications"),
        "servicePrincipal" => (Some(Collection::ServicePrincipal), "servicePrincipals"),
        "administrativeUnit" => (None, "administrativeUnits"),
        _ => return None,
    })
}

/// v1.0 leaves out policies that use a condition known only to beta (reported by users of export tools).
fn policies(directory: &Directory, version: &str) -> List {
    let mut list = reads::all(directory, Collection::ConditionalAccessPolicy, "identity/conditionalAccess/policies");
    if version == "v1.0" {
        list.places.retain(|place| !uses_beta_condition(&directory.entries[*place].value["conditions"]));
    }
    list
}

/// Whether a policy cannot be seen by a request to `version`.
fn is_beta_only(directory: &Directory, version: &str, id: &str) -> bool {
    version == "v1.0" && uses_beta_condition(directory.property(id, "conditions"))
}

/// Conditions that no type of v1.0 has.
fn uses_beta_condition(conditions: &Value) -> bool {
    !conditions["agentIdRiskLevels"].is_null() || !conditions["globalSecureAccess"].is_null()
}

/// What a request costs ("Microsoft Graph service-specific throttling limits", resource units of the identity service).
pub(super) fn resource_units(ask: &Ask) -> u32 {
    let segments: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    let base: u32 = match segments.as_slice() {
        ["groups", _, "members"] => 3,
        ["users" | "applications" | "oauth2PermissionGrants"] => 2,
        ["servicePrincipals", _, "appRoleAssignments"] => 2,
        _ => 1,
    };
    let selected = u32::from(ask.option("$select").is_some());
    let small = u32::from(ask.option("$top").and_then(|top| top.parse::<u32>().ok()).is_some_and(|top| top < 20));
    base.saturating_sub(selected + small).max(1)
}
