//! What lags behind the directory or never stands still: registration report, sign-in activity, per-user second factor.
//!
//! Must never know: requests, licences, or the feed.
//!
//! Sources: "userRegistrationDetails resource type", "signInActivity resource type", "strongAuthenticationRequirements
//! resource type" (beta).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::audit::mix;
use super::collection::Collection;
use super::directory::{Directory, Entry, seconds};

/// The report of what everybody has registered, as it was when it was last made.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The places of the users, ascending: every page of the report begins with a look at them.
    keys: Vec<usize>,
    rows: BTreeMap<usize, Row>,
}

/// A row as JSON text with its time apart: as a value it would take eight times the memory, and there is one for every
/// user.
#[derive(Debug)]
struct Row {
    text: Box<str>,
    told: Box<str>,
}

impl Row {
    fn show(&self) -> Value {
        let mut row: Value = serde_json::from_str(&self.text).expect("written by this module");
        row["lastUpdatedDateTime"] = json!(self.told);
        row
    }
}

impl Report {
    /// Makes the report anew. A row that says the same as before keeps its time.
    pub fn make(&mut self, directory: &Directory) {
        let at = seconds(directory.now());
        let users = directory.places(Collection::User).iter().filter(|place| directory.is_live(**place));
        let mut rows = BTreeMap::new();
        for place in users {
            let text = row(&directory.entries[*place]).to_string().into_boxed_str();
            let before = self.rows.remove(place).filter(|before| before.text == text);
            rows.insert(*place, before.unwrap_or_else(|| Row { text, told: at.as_str().into() }));
        }
        self.keys = rows.keys().copied().collect();
        self.rows = rows;
    }

    /// The keys of the rows, ascending.
    pub fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// The row with that key.
    pub fn row(&self, key: usize) -> Value {
        self.rows.get(&key).map(Row::show).unwrap_or_default()
    }

    /// All rows by the id of their user.
    pub fn by_id(&self) -> BTreeMap<String, Value> {
        let rows = self.rows.values().map(Row::show);
        rows.map(|row| (row["id"].as_str().unwrap_or_default().to_owned(), row)).collect()
    }
}

fn row(user: &Entry) -> Value {
    let of = |name: &str| user.value.get(name).cloned().unwrap_or_default();
    let registration = of("_registration");
    let methods = registration.as_array().cloned().unwrap_or_default();
    let strong = methods.iter().any(|method| *method != "email");
    let passwordless = methods.iter().any(|method| *method == "passKeyDeviceBound");
    let preferred: Vec<&str> = if strong { vec!["push"] } else { Vec::new() };
    json!({
        "id": user.id,
        "userPrincipalName": of("userPrincipalName"),
        "userDisplayName": of("displayName"),
        "userType": if of("userType") == "Guest" { "guest" } else { "member" },
        "isAdmin": of("_isAdmin") == true,
        "isSsprRegistered": methods.len() > 1,
        "isSsprEnabled": true,
        "isSsprCapable": methods.len() > 1,
        "isMfaRegistered": strong,
        "isMfaCapable": strong,
        "isPasswordlessCapable": passwordless,
        "methodsRegistered": methods,
        "isSystemPreferredAuthenticationMethodEnabled": true,
        "systemPreferredAuthenticationMethods": preferred,
        "userPreferredMethodForSecondaryAuthentication": if strong { "push" } else { "none" },
        "lastUpdatedDateTime": null,
    })
}

/// When somebody last signed in, as far as the service knows: with the hour of the directory's time, so that it is the
/// same for everybody who asks within the hour. Nobody keeps it; it follows from the id and the time.
pub(super) fn sign_in_activity(user: &Entry, now: Timestamp) -> Value {
    let enabled = user.value.get("accountEnabled").is_some_and(|enabled| *enabled == true);
    let digits: String = user.id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    let chance = mix(u64::from_str_radix(&digits, 16).unwrap_or_default());
    if !enabled || chance.is_multiple_of(23) {
        return Value::Null;
    }
    let hours = now.as_second().div_euclid(3600);
    let last = |every: i64, shift: u64| {
        let every = every.max(1);
        let phase = (mix(chance ^ shift) % every as u64) as i64;
        let hour = (hours - phase).div_euclid(every) * every + phase;
        let minutes = (mix(chance ^ shift ^ hour as u64) % 60) as i64;
        let at = Timestamp::from_second(hour * 3600).unwrap_or(now) + SignedDuration::from_mins(minutes);
        let request = uuid::Uuid::from_u64_pair(mix(chance ^ hour as u64), mix(chance.wrapping_add(shift)));
        (json!(seconds(at.min(now))), json!(request.to_string()))
    };
    let (interactive, quiet) = (last(4 + (chance % 60) as i64, 1), last(1 + (chance % 5) as i64, 2));
    json!({
        "lastSignInDateTime": interactive.0,
        "lastSignInRequestId": interactive.1,
        "lastNonInteractiveSignInDateTime": quiet.0,
        "lastNonInteractiveSignInRequestId": quiet.1,
        "lastSuccessfulSignInDateTime": interactive.0,
        "lastSuccessfulSignInRequestId": interactive.1,
    })
}

/// Per-user second factor of a user.
pub(super) fn requirements(user: &Entry) -> Value {
    let state = user.value.get("_perUserMfaState").cloned().filter(|state| !state.is_null());
    json!({"perUserMfaState": state.unwrap_or_else(|| json!("disabled"))})
}
