//! The envelope of a list: its elements, and the links to what follows.
//!
//! Must never know: what an element is.

use crate::canonical::{Json, Value};

/// One page of a list or feed.
#[derive(Debug)]
pub struct Page<'a> {
    /// The elements of `value`, with their exact source bytes.
    pub items: Vec<Json<'a>>,
    /// `@odata.nextLink`: there is more.
    pub next: Option<String>,
    /// `@odata.deltaLink`: the round is closed; the next one starts here.
    pub delta: Option<String>,
    /// `@odata.count`, where it was asked for.
    pub count: Option<u64>,
}

impl<'a> Page<'a> {
    /// Reads the envelope.
    ///
    /// # Errors
    /// What is wrong with it: no object, no `value` array, a link that is no text. Judged after the status, never instead
    /// of it: `/groups/delta` once answered 400 with a good body (microsoft-graph-docs-contrib#7414).
    pub fn read(mut json: Json<'a>) -> Result<Page<'a>, &'static str> {
        if json.members().is_none() {
            return Err("a list that is no object");
        }
        let items = match json.take("value").map(|value| value.value) {
            Some(Value::Array(items)) => items,
            _ => return Err("a list without value"),
        };
        let link = |name| match json.get(name) {
            None => Ok(None),
            Some(link) if link.is_null() => Ok(None),
            Some(link) => match link.as_str() {
                Some(link) if !link.is_empty() => Ok(Some(link.to_owned())),
                _ => Err("a link that is no text"),
            },
        };
        let count = json.get("@odata.count").and_then(|count| match count.value {
            Value::Number(number) => number.parse().ok(),
            _ => None,
        });
        Ok(Page { next: link("@odata.nextLink")?, delta: link("@odata.deltaLink")?, items, count })
    }
}

/// What is wrong with a success that [`is_error`].
pub const AN_ERROR: &str = "an error that came as a success";

/// Whether a document that came as a success is an error all the same. A gateway that answers so must not have its words
/// archived as what the tenant holds: a single object has no `value` that would lack.
pub fn is_error(json: &Json<'_>) -> bool {
    let code = json.get("error").and_then(|error| error.text("code"));
    code.is_some_and(|code| !code.is_empty()) && json.get("id").is_none()
}

/// `body` without a leading UTF-8 byte order mark, which some gateways put there.
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::parse;

    #[test]
    fn an_error_is_one_under_any_status() {
        for (source, expected) in [
            (r#"{"error":{"code":"UnknownError","message":""}}"#, true),
            (r#"{"@odata.context":"c","error":{"code":"x"},"value":[]}"#, true),
            (r#"{"error":{"code":""}}"#, false),
            (r#"{"error":"invalid_grant"}"#, false),
            (r#"{"id":"a","error":{"code":"x"}}"#, false),
            (r#"{"id":"a"}"#, false),
            (r#"[{"error":{"code":"x"}}]"#, false),
        ] {
            assert_eq!(is_error(&parse(source.as_bytes()).unwrap()), expected, "{source}");
        }
    }

    #[test]
    fn envelopes() {
        let page = parse(br#"{"@odata.nextLink":"n","@odata.count":7,"value":[1,{}]}"#).unwrap();
        let page = Page::read(page).unwrap();
        assert_eq!((page.items.len(), page.next.as_deref(), page.delta, page.count), (2, Some("n"), None, Some(7)));
        for source in ["[]", "{}", r#"{"value":{}}"#, r#"{"value":[],"@odata.nextLink":1}"#, r#"{"value":null}"#] {
            assert!(Page::read(parse(source.as_bytes()).unwrap()).is_err(), "{source}");
        }
    }
}
