//! The account of one response, from which the archive traces objects to what Microsoft sent.
//!
//! Must never know: where receipts are kept.

use crate::canonical::Key;
use crate::hash::Hash;

/// What stands in a receipt instead of a token.
pub const CUT: &str = "(cut)";

/// What was asked and what came back. It proves nothing by itself; `request_id` is its anchor outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Always `GET` here.
    pub method: &'static str,
    /// From the leading slash on, as sent, but with the values of page and delta tokens replaced by `(cut)`.
    pub path_and_query: String,
    /// The HTTP status.
    pub status: u16,
    /// The response's `request-id`.
    pub request_id: Option<String>,
    /// The response's `Date`, as spelled there.
    pub date: Option<String>,
    /// Elements of `value`; 1 for a single object.
    pub items: u64,
    /// Bytes of the body after transport decoding.
    pub len: u64,
    /// SHA-256 of those bytes.
    pub sha256: Hash,
    /// For a feed the keys of its items in the order received, of which one may repeat; otherwise empty.
    pub keys: Vec<Key>,
}

/// `path_and_query` with the value of every `$skiptoken`, `$deltatoken` and `$token` parameter replaced by `(cut)`:
/// tokens are bearer references into a tenant's changes, and differ from run to run.
pub fn cut_tokens(path_and_query: &str) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else { return path_and_query.to_owned() };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, value)) if is_token_name(name) && !value.is_empty() => format!("{name}={CUT}"),
        _ => parameter.to_owned(),
    });
    format!("{path}?{}", parameters.collect::<Vec<_>>().join("&"))
}

/// Whether a query parameter of this name holds a token. Graph writes `$skiptoken` and `$skipToken`, escaped or not.
pub(super) fn is_token_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix('$').or_else(|| name.strip_prefix("%24")).unwrap_or(&name);
    matches!(name, "skiptoken" | "deltatoken" | "token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cut_and_nothing_else() {
        for (given, expected) in [
            ("/v1.0/users", "/v1.0/users"),
            ("/v1.0/users?$top=999&$select=id", "/v1.0/users?$top=999&$select=id"),
            ("/v1.0/users/delta?$deltatoken=abc", "/v1.0/users/delta?$deltatoken=(cut)"),
            ("/v1.0/users?$select=id&%24skipToken=a%3Db&$top=1", "/v1.0/users?$select=id&%24skipToken=(cut)&$top=1"),
            ("/v1.0/users/delta?$deltatoken=", "/v1.0/users/delta?$deltatoken="),
        ] {
            assert_eq!(cut_tokens(given), expected);
        }
    }
}
