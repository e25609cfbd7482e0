//! What can go wrong between us and Graph, by what the caller can do about it.
//!
//! Must never know: which collection was being read. Never holds a message, a body, a token or a name of the tenant's.

use std::fmt;

/// What the service said when it refused: safe to log and to archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Graph's `error.code`, cut to the bytes that codes are made of; empty where there was none.
    pub code: String,
    /// The `request-id` of the response: Microsoft's support can find the request by it.
    pub request_id: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = if self.code.is_empty() { "no code" } else { &self.code };
        write!(f, "status {}, {code}", self.status)?;
        match &self.request_id {
            Some(id) => write!(f, ", request-id {id}"),
            None => Ok(()),
        }
    }
}

/// Why a read failed, after every retry that makes sense.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options can't be used; nothing was sent.
    #[error("{option}: {reason}")]
    Options {
        /// The option at fault.
        option: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The host can't be reached, or connections to it keep breaking.
    #[error("{host} can't be reached")]
    Unreachable {
        /// The host that was called.
        host: String,
        /// What the connection died of; its URL is taken out, since that may hold a token.
        source: Option<reqwest::Error>,
    },
    /// No token, or one that Graph won't take.
    #[error("not authorized ({refusal}): {check}")]
    Unauthorized {
        /// What the login service or Graph said.
        refusal: Refusal,
        /// What the operator should check.
        check: &'static str,
    },
    /// The token is good and lacks a permission.
    #[error("forbidden ({refusal}), needs {permission}")]
    Forbidden {
        /// The permission that this read needs at least.
        permission: &'static str,
        /// What Graph said.
        refusal: Refusal,
    },
    /// The tenant has no licence for this.
    #[error("the tenant has no licence for this ({refusal})")]
    Licence {
        /// What Graph said.
        refusal: Refusal,
    },
    /// Still throttled after all waiting that the limits allow.
    #[error("throttled ({refusal}) after {tries} tries")]
    Throttled {
        /// What Graph said last.
        refusal: Refusal,
        /// How often it was tried.
        tries: u32,
    },
    /// The service keeps failing.
    #[error("the service fails ({refusal}) after {tries} tries")]
    Server {
        /// What it said last.
        refusal: Refusal,
        /// How often it was tried.
        tries: u32,
    },
    /// A success that can't be understood: no JSON, another content type, a list without `value`.
    #[error("bad response (status {status}): {what}")]
    BadResponse {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A page or delta token that the service no longer knows: start over without it.
    #[error("the token in the link is no longer known ({refusal})")]
    TokenExpired {
        /// What Graph said.
        refusal: Refusal,
    },
    /// There is nothing at this address.
    #[error("not found ({refusal})")]
    NotFound {
        /// What Graph said.
        refusal: Refusal,
    },
    /// Any other 4xx: the request itself is at fault.
    #[error("refused ({refusal})")]
    Refused {
        /// What Graph said.
        refusal: Refusal,
        /// Those properties of the request's own `$select` that the service's answer names.
        properties: Vec<&'static str>,
    },
    /// A body larger than the limits allow.
    #[error("a body of more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A link that leads to another origin than the configured one, or a path that leads elsewhere than it says; it was
    /// not followed, since our token would leak.
    #[error("a link leads away from the configured origin")]
    ForeignLink,
    /// Pages that lead back to one that was read, or more of them than the limits allow.
    #[error("pages without end: stopped after {pages}")]
    Loop {
        /// How many pages were read.
        pages: u64,
    },
    /// The time set for the whole read is over.
    #[error("the time set for this read is over")]
    TimeLimit,
}

impl Error {
    /// The same said of another request that failed with this one; without the cause, which exists once.
    pub(super) fn again(&self) -> Error {
        match self {
            Error::Options { option, reason } => Error::Options { option, reason },
            Error::Unreachable { host, .. } => Error::Unreachable { host: host.clone(), source: None },
            Error::Unauthorized { refusal, check } => Error::Unauthorized { refusal: refusal.clone(), check },
            Error::Forbidden { permission, refusal } => Error::Forbidden { permission, refusal: refusal.clone() },
            Error::Licence { refusal } => Error::Licence { refusal: refusal.clone() },
            Error::Throttled { refusal, tries } => Error::Throttled { refusal: refusal.clone(), tries: *tries },
            Error::Server { refusal, tries } => Error::Server { refusal: refusal.clone(), tries: *tries },
            Error::BadResponse { status, what } => Error::BadResponse { status: *status, what },
            Error::TokenExpired { refusal } => Error::TokenExpired { refusal: refusal.clone() },
            Error::NotFound { refusal } => Error::NotFound { refusal: refusal.clone() },
            Error::Refused { refusal, properties } => {
                Error::Refused { refusal: refusal.clone(), properties: properties.clone() }
            }
            Error::TooLarge { limit } => Error::TooLarge { limit: *limit },
            Error::ForeignLink => Error::ForeignLink,
            Error::Loop { pages } => Error::Loop { pages: *pages },
            Error::TimeLimit => Error::TimeLimit,
        }
    }

    /// Whether the same read may succeed later with nothing changed on our side.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Unreachable { .. }
            | Error::Throttled { .. }
            | Error::Server { .. }
            | Error::BadResponse { .. }
            | Error::TimeLimit => true,
            Error::Options { .. }
            | Error::Unauthorized { .. }
            | Error::Forbidden { .. }
            | Error::Licence { .. }
            | Error::TokenExpired { .. }
            | Error::NotFound { .. }
            | Error::Refused { .. }
            | Error::TooLarge { .. }
            | Error::ForeignLink
            | Error::Loop { .. } => false,
        }
    }
}
