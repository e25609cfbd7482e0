//! What an answer of the account that isn't success means for a store.
//!
//! Must never know: secrets. Its texts hold a status, a code of the service and a request id, and no address.

use std::io;

use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::HeaderName;

use super::access::NoAccess;
use crate::store::StoreError;

/// A refusal as the service put it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub code: String,
    pub request_id: String,
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the storage account answered {}", self.status)?;
        for (before, part, after) in [(" ", &self.code, ""), (" (request ", &self.request_id, ")")] {
            if !part.is_empty() {
                write!(f, "{before}{part}{after}")?;
            }
        }
        Ok(())
    }
}

impl Refusal {
    /// The refusal that an error of the client library is, where the account answered at all.
    pub fn of(error: &Error) -> Option<Refusal> {
        let ErrorKind::HttpResponse { status, error_code, raw_response } = error.kind() else { return None };
        let header = |name| raw_response.as_ref()?.headers().get_optional_string(&HeaderName::from_static(name));
        // The library puts a phrase for the status where there is no code; a code is one word.
        let code = header("x-ms-error-code").or_else(|| error_code.clone()).unwrap_or_default();
        let request_id = header("x-ms-request-id").unwrap_or_default();
        Some(Refusal { status: u16::from(*status), code: word(&code), request_id: word(&request_id) })
    }

    /// Whether the blob is there already, or may not be replaced, which is the same to whoever creates.
    pub fn is_taken(&self) -> bool {
        self.status == 412 || self.status == 409 && (self.code == "BlobAlreadyExists" || self.is_immutable())
    }

    /// Whether a policy or a hold was the reason.
    pub fn is_immutable(&self) -> bool {
        self.status == 409 && matches!(self.code.as_str(), "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold")
    }

    /// Whether there is no such container, or soon none.
    pub fn is_without_container(&self) -> bool {
        matches!((self.status, self.code.as_str()), (404, "ContainerNotFound") | (409, "ContainerBeingDeleted"))
    }

    /// Whether the range begins behind the end of the blob.
    pub fn is_behind_the_end(&self) -> bool {
        self.status == 416
    }
}

/// At most 64 characters of an identifier: what a hostile or broken answer puts there is shown to people.
fn word(text: &str) -> String {
    match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        true => text.chars().take(64).collect(),
        false => String::new(),
    }
}

/// What a failed operation on `name` in `container` comes to. Whatever leaves the outcome of a write open is
/// [`StoreError::Unavailable`], so that [`crate::store::put_new`] looks what is there.
pub(super) fn failure(name: &str, container: &str, error: Error) -> StoreError {
    let name = name.to_owned();
    let Some(refusal) = Refusal::of(&error) else {
        return match is_passing(&error) {
            Some(false) => StoreError::Denied { name, source: io::Error::other(error) },
            _ => StoreError::Unavailable { name, source: io::Error::other(error) },
        };
    };
    match refusal.status {
        _ if refusal.is_taken() => StoreError::Exists { name },
        _ if refusal.is_without_container() => StoreError::NoContainer { name, container: container.to_owned() },
        404 => StoreError::NotFound { name },
        401 | 403 => StoreError::Denied { name, source: io::Error::other(refusal) },
        _ => StoreError::Unavailable { name, source: io::Error::other(refusal) },
    }
}

/// Whether a lack of access passes by itself; `None` where the failure is another one.
fn is_passing(error: &Error) -> Option<bool> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(lack) = error.downcast_ref::<NoAccess>() {
            return Some(lack.is_transient);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, code: &str) -> Error {
        let kind =
            ErrorKind::HttpResponse { status: status.into(), error_code: Some(code.to_owned()), raw_response: None };
        Error::with_message(kind, "https://account.example/?sig=secret")
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let check = |status, code: &str, expected: &str| {
            let failure = failure("log/e/1", "log", error(status, code));
            let said = format!("{failure:?}");
            assert!(said.starts_with(expected), "{status} {code}: {said}");
            assert!(!said.contains("sig="), "{said}");
        };
        for code in ["BlobAlreadyExists", "BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold"] {
            check(409, code, "Exists");
        }
        check(412, "ConditionNotMet", "Exists");
        check(409, "BlobBeingRehydrated", "Unavailable");
        check(404, "BlobNotFound", "NotFound");
        check(404, "ContainerNotFound", "NoContainer");
        check(409, "ContainerBeingDeleted", "NoContainer");
        check(403, "AuthorizationFailure", "Denied");
        check(401, "InvalidAuthenticationInfo", "Denied");
        for status in [400, 408, 429, 500, 503] {
            check(status, "ServerBusy", "Unavailable");
        }
        let refusal = Refusal { status: 503, code: "ServerBusy".into(), request_id: "a-1".into() };
        assert_eq!(refusal.to_string(), "the storage account answered 503 ServerBusy (request a-1)");
        assert_eq!(word("<html> not a code"), "");
    }

    #[test]
    fn who_has_nothing_to_sign_in_with_is_denied_unless_it_passes() {
        for (is_transient, expected) in [(false, "Denied"), (true, "Unavailable")] {
            let error = Error::new(ErrorKind::Credential, NoAccess { source: "reason".into(), is_transient });
            let failure = failure("a", "log", error.with_context("told by the library"));
            assert!(format!("{failure:?}").starts_with(expected), "{failure:?}");
        }
    }
}
