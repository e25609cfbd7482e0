//! How a read ended, in the words of coverage.
//!
//! Must never know: how a capture writes its entry.

use crate::graph;

/// The closed list of codes that say why something wasn't read, or not wholly.
pub mod code {
    /// The token lacks a permission (403).
    pub const NO_PERMISSION: &str = "no-permission";
    /// The tenant has no licence for this.
    pub const NO_LICENCE: &str = "no-licence";
    /// No token was given, or Graph won't take it (401).
    pub const NO_TOKEN: &str = "no-token";
    /// This cloud or tenant doesn't offer the address (404).
    pub const NOT_OFFERED: &str = "not-offered";
    /// Throttled for longer than the limits allow to wait.
    pub const THROTTLED: &str = "throttled";
    /// The host can't be reached, or connections keep breaking.
    pub const UNREACHABLE: &str = "unreachable";
    /// The service keeps failing (5xx).
    pub const SERVER_ERROR: &str = "server-error";
    /// Answers that can't be understood.
    pub const BAD_RESPONSE: &str = "bad-response";
    /// The service refuses the request itself (4xx).
    pub const REFUSED: &str = "refused";
    /// A body larger than the limits allow.
    pub const TOO_LARGE: &str = "too-large";
    /// The time set for the read is over.
    pub const TIME_LIMIT: &str = "time-limit";
    /// Pages without end, or that lead in a circle.
    pub const LOOP: &str = "loop";
    /// A link that leads to another origin; not followed.
    pub const FOREIGN_LINK: &str = "foreign-link";
    /// Tokens kept expiring, however often the read started over.
    pub const EXPIRED: &str = "expired";
    /// The source of a relation vanished between two requests (404).
    pub const GONE: &str = "gone";
    /// The beta variant of a collection couldn't be read; what v1.0 lists stands.
    pub const BETA_UNREAD: &str = "beta-unread";
    /// The client's options can't be used.
    pub const OPTIONS: &str = "options";
    /// The consumer went away.
    pub const STOPPED: &str = "stopped";
    /// Some of the sources haven't been read for the first time yet: their turn comes.
    pub const NOT_YET: &str = "not-yet";
    /// More time has passed since the last read than the service keeps its records.
    pub const RETENTION: &str = "retention";
    /// So much is gone at once that the removals are held back until they are confirmed.
    pub const GATE: &str = "gate";
    /// The configuration turns it off.
    pub const OFF: &str = "off";

    /// All of them.
    pub const ALL: &[&str] = &[
        NO_PERMISSION,
        NO_LICENCE,
        NO_TOKEN,
        NOT_OFFERED,
        THROTTLED,
        UNREACHABLE,
        SERVER_ERROR,
        BAD_RESPONSE,
        REFUSED,
        TOO_LARGE,
        TIME_LIMIT,
        LOOP,
        FOREIGN_LINK,
        EXPIRED,
        GONE,
        BETA_UNREAD,
        OPTIONS,
        STOPPED,
        NOT_YET,
        RETENTION,
        GATE,
        OFF,
    ];
}

/// How much was read. The words are those of coverage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All of it, to the last page.
    Complete,
    /// Some of it; what was sent on was seen, absence means nothing.
    Partial(&'static str),
    /// None of it: the last known state stands.
    Carried(&'static str),
    /// None of it, and not before something changes in the tenant or its grants.
    Absent(&'static str),
}

/// How a read ended.
#[derive(Debug)]
pub struct Outcome {
    /// How much was read.
    pub status: Status,
    /// Elements read, of every page.
    pub items: u64,
    /// Elements that are kept raw or, for removals without an id, only counted.
    pub odd: u64,
    /// The service's own count, where it gives one. It comes from an index that lags.
    pub count: Option<u64>,
    /// Pages read.
    pub pages: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Resource units the service says it charged.
    pub units: u64,
    /// Whether everything there is was seen, so that absence may be inferred.
    pub full: bool,
    /// What the next round of the feed starts from. Opaque; holds the delta link, its time and the `$select` it tracks.
    pub token: Option<String>,
    /// Properties, or kinds (as `microsoft.graph.<kind>`), that the tenant refused and that were left out;
    /// sorted.
    pub refused: Vec<String>,
    /// Properties that were asked for by name; empty where none are named.
    pub asked: Vec<String>,
    /// The permission that lacks, where one does.
    pub needs: Option<&'static str>,
    /// When the read began, in milliseconds after the capture did; filled in by whoever knows that.
    pub from_ms: u64,
    /// How long it took, in milliseconds; likewise.
    pub ms: u64,
    /// What ended it, where it didn't end well: for logs and hints, never archived.
    pub error: Option<graph::Error>,
}

impl Outcome {
    /// Of nothing that was to be read: complete at no cost.
    pub fn none() -> Outcome {
        Outcome {
            status: Status::Complete,
            items: 0,
            odd: 0,
            count: None,
            pages: 0,
            requests: 0,
            units: 0,
            full: false,
            token: None,
            refused: Vec::new(),
            asked: Vec::new(),
            needs: None,
            from_ms: u64::MAX,
            ms: 0,
            error: None,
        }
    }

    /// With what came of reading a part of it once more: its costs, and what it lacks.
    pub fn with_part(self, part: Outcome) -> Outcome {
        self.and(&part).lacking(part)
    }

    /// With what `part` of it lacks.
    pub fn lacking(self, part: Outcome) -> Outcome {
        let mut both = self;
        let (Status::Partial(why) | Status::Carried(why) | Status::Absent(why)) = part.status else { return both };
        if both.status == Status::Complete {
            both.status = Status::Partial(why);
            both.needs = both.needs.or(part.needs);
        }
        both
    }

    /// With the costs of `other` added: both were reads of the same thing.
    pub fn and(mut self, other: &Outcome) -> Outcome {
        self.pages += other.pages;
        self.requests += other.requests;
        self.units += other.units;
        self.from_ms = self.from_ms.min(other.from_ms);
        self.ms += other.ms;
        self
    }
}

/// The permission for lack of which a read was refused.
pub(super) fn needs_of(error: Option<&graph::Error>) -> Option<&'static str> {
    match error {
        Some(graph::Error::Forbidden { permission, .. }) => Some(permission),
        _ => None,
    }
}

/// The code of an error.
pub fn code_of(error: &graph::Error) -> &'static str {
    match error {
        graph::Error::Options { .. } => code::OPTIONS,
        graph::Error::Unreachable { .. } => code::UNREACHABLE,
        graph::Error::Unauthorized { .. } => code::NO_TOKEN,
        graph::Error::Forbidden { .. } => code::NO_PERMISSION,
        graph::Error::Licence { .. } => code::NO_LICENCE,
        graph::Error::Throttled { .. } => code::THROTTLED,
        graph::Error::Server { .. } => code::SERVER_ERROR,
        graph::Error::BadResponse { .. } => code::BAD_RESPONSE,
        graph::Error::TokenExpired { .. } => code::EXPIRED,
        graph::Error::NotFound { .. } => code::NOT_OFFERED,
        graph::Error::Refused { .. } => code::REFUSED,
        graph::Error::TooLarge { .. } => code::TOO_LARGE,
        graph::Error::ForeignLink => code::FOREIGN_LINK,
        graph::Error::Loop { .. } => code::LOOP,
        graph::Error::TimeLimit => code::TIME_LIMIT,
    }
}

/// Whether a read that ended with a code may well go better next time, without anything having changed.
pub fn is_passing(why: &str) -> bool {
    matches!(
        why,
        code::NO_TOKEN
            | code::THROTTLED
            | code::UNREACHABLE
            | code::SERVER_ERROR
            | code::TIME_LIMIT
            | code::EXPIRED
            | code::STOPPED
    )
}

/// Whether a code stands until something changes in the tenant or its grants.
pub fn is_lasting(why: &str) -> bool {
    matches!(why, code::NO_PERMISSION | code::NO_LICENCE | code::NOT_OFFERED)
}
