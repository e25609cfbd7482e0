//! From a failed response to an [`Error`]: by status and `error.code`, never by message (learn, graph/errors).
//!
//! Must never know: what the caller will do about it.

use super::error::{Error, Refusal};
use crate::canonical::{Json, parse};

/// What an error body says. The message stays in here.
#[derive(Debug, Default)]
pub struct ErrorBody {
    code: String,
    inner_code: String,
    message: String,
    request_id: Option<String>,
}

impl ErrorBody {
    /// Reads `{"error":{"code","message","innerError":{…}}}`; whatever is missing or no JSON is left empty.
    pub fn read(body: &[u8]) -> ErrorBody {
        let Ok(json) = parse(body) else { return ErrorBody::default() };
        let Some(error) = json.get("error") else { return ErrorBody::default() };
        // The casing of the inner error varies.
        let inner = error.get("innerError").or_else(|| error.get("innererror"));
        let code = |from: Option<&Json<'_>>| from.and_then(|json| json.text("code")).map(safe_code).unwrap_or_default();
        ErrorBody {
            code: code(Some(error)),
            inner_code: code(inner),
            message: error.text("message").unwrap_or_default().to_owned(),
            request_id: inner.and_then(|inner| inner.text("request-id")).map(safe_code).filter(|id| !id.is_empty()),
        }
    }

    /// What may be shown of it.
    pub fn refusal(&self, status: u16, request_id: Option<&str>) -> Refusal {
        let request_id = request_id.map(safe_code).filter(|id| !id.is_empty()).or_else(|| self.request_id.clone());
        Refusal { status, code: self.code.clone(), request_id }
    }
}

/// The leading part of `text` that looks like a code or an id: codes are put into logs, whatever a server sends isn't.
pub fn safe_code(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':')).take(80).collect()
}

/// What a request was about, as far as its failure depends on it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The least permission it needs.
    pub permission: &'static str,
    /// The properties it selects.
    pub select: &'a [&'static str],
    /// Whether its address holds a page or delta token.
    pub token: bool,
    /// Tries so far.
    pub tries: u32,
}

/// The error for a response that is no success. 401 is the caller's business: it has a token to renew.
pub fn classify(status: u16, body: &ErrorBody, request_id: Option<&str>, asked: &Asked<'_>) -> Error {
    let refusal = body.refusal(status, request_id);
    let is =
        |test: fn(&str) -> bool| test(&body.code.to_ascii_lowercase()) || test(&body.inner_code.to_ascii_lowercase());
    match status {
        429 => Error::Throttled { refusal, tries: asked.tries },
        // 424: a part of a batch, because of another part that was throttled (microsoft-graph-docs-contrib#8883).
        408 | 424 | 500.. => Error::Server { refusal, tries: asked.tries },
        400 | 402 | 403 if is(names_licence) => Error::Licence { refusal },
        403 => Error::Forbidden { permission: asked.permission, refusal },
        410 => Error::TokenExpired { refusal },
        400 | 404 if is(names_expiry) => Error::TokenExpired { refusal },
        // Seen with the code UnknownError and an empty message: microsoft-graph-docs#1000.
        404 if asked.token => Error::TokenExpired { refusal },
        404 => Error::NotFound { refusal },
        300..400 => Error::BadResponse { status, what: "a redirect that is not followed" },
        400..500 => Error::Refused { refusal, properties: named_properties(&body.message, asked.select) },
        _ => Error::BadResponse { status, what: "neither a success nor an error" },
    }
}

/// `Authentication_RequestFromNonPremiumTenantOrB2CTenant`, `AadPremiumLicenseRequired`, `TenantNotLicensed` and their
/// like.
fn names_licence(code: &str) -> bool {
    ["premium", "licens"].iter().any(|part| code.contains(part))
}

/// `syncStateNotFound`, `resyncRequired`, `Directory_ExpiredPageToken` and their like; the casing varies
/// (microsoft-graph-docs#2877).
fn names_expiry(code: &str) -> bool {
    code.starts_with("syncstate") || code.contains("resync") || code.contains("expired") && code.contains("token")
}

/// Those of `select` that `message` complains about.
///
/// The one place where a message is read, since no code says which property it is. Seen: "for this entity set,
/// $expand/$select is not supported for the following properties: birthday" (microsoft-graph-docs#14141) and "Could not
/// find a property named 'x' on type …" (#3608).
fn named_properties(message: &str, select: &[&'static str]) -> Vec<&'static str> {
    let lower = message.to_ascii_lowercase();
    let Some(about) = lower.rfind("propert").or_else(|| lower.rfind("select")) else { return Vec::new() };
    let quoted = |name: &str| ['\'', '"', '`'].iter().any(|quote| message.contains(&format!("{quote}{name}{quote}")));
    let droppable = || select.iter().copied().filter(|name| *name != "id");
    let found: Vec<_> = droppable().filter(|name| quoted(name)).collect();
    if !found.is_empty() {
        return found;
    }
    let tail = &message[about..];
    let words: Vec<_> = tail.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    droppable().filter(|name| words.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str, token: bool) -> String {
        let asked = Asked { permission: "User.Read.All", select: &["id", "birthday", "mail"], token, tries: 1 };
        let error = classify(status, &ErrorBody::read(body.as_bytes()), None, &asked);
        format!("{error:?}").split([' ', '{']).next().unwrap().to_owned()
    }

    #[test]
    fn status_and_code_decide() {
        let code = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        let inner = |code: &str| format!(r#"{{"error":{{"code":"BadRequest","innererror":{{"code":"{code}"}}}}}}"#);
        for (status, body, token, expected) in [
            (403, code("Authorization_RequestDenied"), false, "Forbidden"),
            (403, code("AccessDenied"), false, "Forbidden"),
            (403, String::new(), false, "Forbidden"),
            (403, code("Authentication_RequestFromNonPremiumTenantOrB2CTenant"), false, "Licence"),
            (400, code("AadPremiumLicenseRequired"), false, "Licence"),
            (403, code("TenantNotLicensed"), false, "Licence"),
            (403, inner("TenantNotLicensed"), false, "Licence"),
            (400, code("Directory_ExpiredPageToken"), true, "TokenExpired"),
            (404, code("SYNCSTATENOTFOUND"), false, "TokenExpired"),
            (400, code("resyncRequired"), true, "TokenExpired"),
            (400, inner("ExpiredPageToken"), true, "TokenExpired"),
            (410, String::new(), false, "TokenExpired"),
            (404, code("UnknownError"), true, "TokenExpired"),
            (404, code("Request_ResourceNotFound"), false, "NotFound"),
            (400, code("BadRequest"), true, "Refused"),
            (429, code("TooManyRequests"), false, "Throttled"),
            (503, "<html>".to_owned(), false, "Server"),
            (424, code("FailedDependency"), false, "Server"),
            (302, String::new(), false, "BadResponse"),
        ] {
            assert_eq!(kind(status, &body, token), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_names_only_properties_that_were_asked_for() {
        let select = ["id", "birthday", "mail", "state", "authorizationInfo"];
        let check =
            |message: &str, expected: &[&str]| assert_eq!(named_properties(message, &select), expected, "{message}");
        check(
            "Invalid request for delta query: for this entity set, $expand/$select is not supported for the following \
             properties: birthday, mail",
            &["birthday", "mail"],
        );
        check(
            "Could not find a property named 'authorizationInfo' on type 'microsoft.graph.user'.",
            &["authorizationInfo"],
        );
        check("The sync state generation is not found.", &[]);
        check("Property 'secret' of a person", &[]);
        check("The expression \"id in ('x')\" is not a valid select", &[]);
    }

    #[test]
    fn codes_are_cut_to_what_codes_are_made_of() {
        assert_eq!(safe_code("Authorization_RequestDenied"), "Authorization_RequestDenied");
        assert_eq!(safe_code("-1, Microsoft.SharePoint someone@contoso.com"), "-1");
        assert_eq!(safe_code(&"a".repeat(1000)).len(), 80);
    }
}
