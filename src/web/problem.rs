//! What went wrong, as RFC 9457 has it, and with which status.
//!
//! Must never know: what was asked.
//!
//! Whoever isn't allowed to ask learns nothing from one: the same bytes for whatever was asked. Causes inside the service
//! are for its log.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::answer::failure::{Failure, Kind};
use crate::index::IndexError;
use crate::query::QueryError;
use crate::query::questions::AskError;
use crate::store::StoreError;

/// What is answered instead of an answer.
#[derive(Debug)]
pub(super) struct Problem {
    pub status: StatusCode,
    /// A word from a closed list, for programs.
    pub kind: &'static str,
    /// For people.
    pub detail: String,
    pub hints: Vec<String>,
}

/// What the media type of a problem is called.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, kind, detail: detail.into(), hints: Vec::new() }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hints.push(hint.into());
        self
    }

    /// To whoever isn't known.
    pub fn unauthenticated() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "a valid token is needed")
            .hint("docs/api.md, \"Who may ask\", says how to get one")
    }

    /// To whoever is known and may not.
    pub fn forbidden() -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "your roles don't allow that")
            .hint("whoever looks after the app registration assigns roles")
    }

    pub fn not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here")
            .hint("/api/v1/openapi.json describes every operation")
    }

    /// To whoever asks in another way.
    pub fn method() -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "usage", "this is asked with GET")
    }

    /// To whoever reached this machine by a name that isn't its own.
    pub fn misdirected() -> Problem {
        let detail = "this address answers to this machine's own names only";
        Problem::new(StatusCode::MISDIRECTED_REQUEST, "usage", detail)
    }

    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "usage", detail)
    }

    pub fn busy() -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too many questions at once")
            .hint("ask again after the seconds in Retry-After")
    }

    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Of a failure. Its causes go to the log and no further, where they are ours.
    pub fn of(failure: &Failure) -> Problem {
        let (status, kind) = status(failure);
        if status.is_server_error() {
            let chain = failure.chain().join(": ");
            tracing::warn!(kind, "a question could not be answered: {chain}");
            let detail = match failure.kind {
                Kind::Integrity => "a part of the archive that this rests on is missing or was changed",
                _ => "the archive can't be read at present",
            };
            let hints = if failure.kind == Kind::Integrity { failure.hints.clone() } else { Vec::new() };
            return Problem { status, kind, detail: detail.to_owned(), hints };
        }
        Problem { status, kind, detail: failure.error.to_string(), hints: failure.hints.clone() }
    }

    pub fn into_response(self) -> Response<Body> {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "kind": self.kind,
            "detail": self.detail,
            "hints": self.hints,
        });
        let mut response = Response::new(Body::from(body.to_string() + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("2"))),
            StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("30"))),
            StatusCode::METHOD_NOT_ALLOWED => drop(headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"))),
            _ => {}
        }
        response
    }
}

/// The status of a failure and the word for it, the only place that maps one to the other.
fn status(failure: &Failure) -> (StatusCode, &'static str) {
    if let Some(error) = failure.error.downcast_ref::<QueryError>() {
        match error {
            QueryError::NotFound { .. }
            | QueryError::BeforeFirst { .. }
            | QueryError::NoSuchCapture { .. }
            | QueryError::NotYetKnown { .. }
            | QueryError::NoCaptures
            | QueryError::Ask(AskError::NoSuchQuestion { .. }) => return (StatusCode::NOT_FOUND, "not-found"),
            QueryError::Ambiguous { .. } => return (StatusCode::CONFLICT, "ambiguous"),
            QueryError::Expired { .. } => return (StatusCode::GONE, "expired"),
            QueryError::Index(IndexError::Busy { .. } | IndexError::Damaged { .. }) => {
                return (StatusCode::SERVICE_UNAVAILABLE, "unavailable");
            }
            _ => {}
        }
    }
    let mut causes =
        std::iter::successors(Some(&*failure.error as &(dyn std::error::Error + 'static)), |error| error.source());
    match failure.kind {
        Kind::Usage => (StatusCode::BAD_REQUEST, "usage"),
        Kind::Integrity => (StatusCode::INTERNAL_SERVER_ERROR, "integrity"),
        _ if causes.any(|cause| cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_transient)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_decides_the_status_and_causes_stay_inside() {
        let of = |failure: Failure| {
            let problem = Problem::of(&failure);
            (problem.status.as_u16(), problem.kind)
        };
        assert_eq!(of(Failure::new(Kind::Usage, "x")), (400, "usage"));
        assert_eq!(of(Failure::new(Kind::Failed, "x")), (500, "failed"));
        assert_eq!(of(Failure::new(Kind::Integrity, "x")), (500, "integrity"));
        assert_eq!(of(QueryError::NoCaptures.into()), (404, "not-found"));
        let ambiguous = QueryError::Ambiguous { name: "Sales".to_owned(), candidates: Vec::new() };
        assert_eq!(of(ambiguous.into()), (409, "ambiguous"));
        let problem = Problem::of(&Failure::new(Kind::Failed, "/srv/secret/path is gone"));
        assert!(!problem.detail.contains("secret"), "{}", problem.detail);
    }
}
