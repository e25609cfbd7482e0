//! How badly the service behaves: the rates of every fault that the simulated Graph can show.
//!
//! Must never know: what is asked for; faults fall on requests blindly.

/// Rates are probabilities for one request (0.0 to 1.0). Faults that stop a request are drawn in the order of the
/// fields; the first that hits decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// 429 with `Retry-After` in seconds (Microsoft: "Microsoft Graph throttling guidance").
    pub throttled_with_hint: f64,
    /// 429 without `Retry-After`.
    pub throttled_without_hint: f64,
    /// 503 or 504, half of them with `Retry-After`.
    pub unavailable: f64,
    /// 500 with an error body.
    pub broken: f64,
    /// The connection is cut before any answer.
    pub cut: f64,
    /// The body ends before its declared length.
    pub truncated: f64,
    /// A page token in the request has expired: `400 Directory_ExpiredPageToken`. Hits only requests with one.
    pub expired_page: f64,
    /// The token endpoint answers 503 with `temporarily_unavailable`.
    pub sign_in_unavailable: f64,
    /// A delta round tells earlier changes again, or shows removed objects in a first round.
    pub replayed: f64,
    /// A delta page shows one of its objects twice.
    pub duplicated: f64,
    /// A delta page is empty although more follow.
    pub empty_page: f64,
    /// The objects of a page come in another order.
    pub reordered: f64,
    /// A page of a list shows objects of the page before again.
    pub repeated: f64,
    /// The answer is a page of HTML from some device on the way, with 200 or 503.
    pub html: f64,
    /// The body comes in pieces, a second of simulated time apart.
    pub slow: f64,
    /// A delta link is refused although it is young: 410 with `Location`, or 400 or 404 with `syncStateNotFound`.
    pub state_lost: f64,
    /// Conditional Access answers one request a second for the whole tenant and 429 without `Retry-After` beyond that
    /// (Microsoft: "Microsoft Graph service-specific throttling limits").
    pub conditional_access_limit: bool,
    /// Reports and audit logs answer five requests in ten seconds and 429 with `Retry-After` beyond that.
    pub report_limit: bool,
    /// 150 requests a minute may select `keyCredentials` ("List applications"); beyond that 429 with `Retry-After`.
    pub key_credentials_limit: bool,
    /// Seconds by which the `Date` header is off.
    pub date_skew_seconds: i64,
    /// Resource units that may be spent in 10 seconds; beyond that 429 with `Retry-After`. None means without limit.
    pub resource_units_per_10s: Option<u32>,
}

impl Weather {
    /// No faults, no limits.
    pub const fn calm() -> Self {
        Self {
            throttled_with_hint: 0.0,
            throttled_without_hint: 0.0,
            unavailable: 0.0,
            broken: 0.0,
            cut: 0.0,
            truncated: 0.0,
            expired_page: 0.0,
            sign_in_unavailable: 0.0,
            replayed: 0.0,
            duplicated: 0.0,
            empty_page: 0.0,
            reordered: 0.0,
            repeated: 0.0,
            html: 0.0,
            slow: 0.0,
            state_lost: 0.0,
            conditional_access_limit: false,
            report_limit: false,
            key_credentials_limit: false,
            date_skew_seconds: 0,
            resource_units_per_10s: None,
        }
    }

    /// An ordinary week: about one request in a hundred fails, delta repeats itself now and then.
    pub const fn breezy() -> Self {
        Self {
            throttled_with_hint: 0.004,
            throttled_without_hint: 0.001,
            unavailable: 0.003,
            broken: 0.001,
            cut: 0.001,
            truncated: 0.001,
            expired_page: 0.001,
            sign_in_unavailable: 0.002,
            replayed: 0.05,
            duplicated: 0.05,
            empty_page: 0.02,
            reordered: 0.0,
            repeated: 0.0,
            html: 0.0,
            slow: 0.0,
            state_lost: 0.0,
            conditional_access_limit: true,
            report_limit: true,
            key_credentials_limit: true,
            date_skew_seconds: 0,
            resource_units_per_10s: None,
        }
    }

    /// A bad day: about one request in seven fails, and the budget of a large tenant is enforced.
    pub const fn storm() -> Self {
        Self {
            throttled_with_hint: 0.03,
            throttled_without_hint: 0.02,
            unavailable: 0.03,
            broken: 0.02,
            cut: 0.02,
            truncated: 0.02,
            expired_page: 0.01,
            sign_in_unavailable: 0.05,
            replayed: 0.3,
            duplicated: 0.3,
            empty_page: 0.2,
            reordered: 0.0,
            repeated: 0.0,
            html: 0.0,
            slow: 0.0,
            state_lost: 0.0,
            conditional_access_limit: true,
            report_limit: true,
            key_credentials_limit: true,
            date_skew_seconds: 0,
            resource_units_per_10s: Some(8000),
        }
    }

    /// Everything at once: one request in five fails in one way or another, pages repeat and reorder what they show,
    /// tokens of the feed get lost, all limits are enforced and the service's clock is off.
    pub const fn worst() -> Self {
        Self {
            throttled_with_hint: 0.03,
            throttled_without_hint: 0.02,
            unavailable: 0.03,
            broken: 0.02,
            cut: 0.02,
            truncated: 0.02,
            expired_page: 0.02,
            sign_in_unavailable: 0.1,
            replayed: 0.4,
            duplicated: 0.4,
            empty_page: 0.3,
            reordered: 0.5,
            repeated: 0.3,
            html: 0.03,
            slow: 0.02,
            state_lost: 0.05,
            conditional_access_limit: true,
            report_limit: true,
            key_credentials_limit: true,
            date_skew_seconds: -97,
            resource_units_per_10s: Some(3500),
        }
    }
}

impl Default for Weather {
    fn default() -> Self {
        Self::calm()
    }
}
