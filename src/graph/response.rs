//! An answer of Graph, read to its end.
//!
//! Must never know: what its body means.

use std::time::Duration;

use super::budget::Charge;
use super::receipt::{Receipt, cut_tokens};
use crate::canonical::Key;
use crate::hash::Hash;

/// A response with its body. `Debug` shows no body.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Path and query as sent.
    pub path_and_query: String,
    /// The body after transport decoding.
    pub body: Vec<u8>,
    /// `request-id`.
    pub request_id: Option<String>,
    /// `Date`, as spelled.
    pub date: Option<String>,
    /// `Content-Type`; empty where there is none.
    pub content_type: String,
    /// Resource units charged.
    pub units: u64,
    /// How long the service asks to wait.
    pub retry_after: Option<Duration>,
    pub(super) header_retry_after: Option<String>,
    pub(super) charge: Charge,
    pub(super) challenge: Option<String>,
    /// The body of an error broke off: what it would have said isn't known.
    pub(super) cut: bool,
    /// Which of our tokens it answers.
    pub(super) generation: u64,
}

impl Response {
    pub(super) fn from_head(received: &reqwest::Response, path_and_query: String) -> Response {
        let header = |name| received.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // One challenge a header line; the one with claims is what matters.
        let challenges = received.headers().get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
        let status = received.status().as_u16();
        let charge = charge(status, header("x-ms-resource-unit"), header("x-ms-throttle-limit-percentage"));
        Response {
            status,
            path_and_query,
            body: Vec::new(),
            request_id: header("request-id"),
            date: header("date"),
            content_type: header("content-type").unwrap_or_default(),
            units: charge.units.unwrap_or(0),
            charge,
            retry_after: None,
            header_retry_after: header("retry-after"),
            challenge: challenges.filter(|challenge| challenge.contains("claims=")).map(str::to_owned).next(),
            cut: false,
            generation: 0,
        }
    }

    /// The head of a part of the batch answer `outer`. `headers` have lower-case names. Real parts have no request-id and
    /// no date of their own (learn, graph/json-batching): Microsoft finds them by those of the answer that they came in.
    pub(super) fn of_part(status: u16, headers: &[(String, String)], outer: &Response) -> Response {
        let header = |name| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let charge = charge(status, header("x-ms-resource-unit"), header("x-ms-throttle-limit-percentage"));
        Response {
            status,
            path_and_query: String::new(),
            body: Vec::new(),
            request_id: header("request-id").or_else(|| outer.request_id.clone()),
            date: header("date").or_else(|| outer.date.clone()),
            content_type: header("content-type").unwrap_or_default(),
            units: charge.units.unwrap_or(0),
            charge,
            retry_after: None,
            header_retry_after: header("retry-after"),
            challenge: header("www-authenticate").filter(|challenge| challenge.contains("claims=")),
            cut: false,
            generation: outer.generation,
        }
    }

    /// The account of this response with `items` elements, which for a feed are those of `keys`.
    pub fn receipt(&self, items: u64, keys: Vec<Key>) -> Receipt {
        Receipt {
            method: "GET",
            path_and_query: cut_tokens(&self.path_and_query),
            status: self.status,
            request_id: self.request_id.clone(),
            date: self.date.clone(),
            items,
            len: self.body.len() as u64,
            sha256: Hash::of(&self.body),
            keys,
        }
    }
}

/// What the headers say of throttling, as far as it makes sense: sums of units must not overflow.
fn charge(status: u16, units: Option<String>, percentage: Option<String>) -> Charge {
    Charge {
        throttled: status == 429,
        units: units.and_then(|units| units.trim().parse::<u32>().ok()).map(u64::from),
        percentage: percentage.and_then(|percentage| percentage.trim().parse().ok()),
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Response");
        shown.field("status", &self.status).field("request_id", &self.request_id).field("len", &self.body.len());
        shown.finish_non_exhaustive()
    }
}
