//! What to ask for: an address with what the headers and the classification of its failures need.
//!
//! Must never know: how it is sent.

/// Which of Graph's own limits a request counts against, beyond the resource units that all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bucket {
    /// Resource units only.
    #[default]
    Directory,
    /// Conditional Access and named locations: one request a second per tenant, all applications together, and a 429
    /// has no `Retry-After` (learn, graph/throttling-limits).
    ConditionalAccess,
    /// Reads that select `keyCredentials`: 150 requests a minute per tenant (application: list, servicePrincipal: list).
    KeyCredentials,
    /// Usage reports and registration details: 5 requests per 10 seconds per application and tenant (learn,
    /// graph/throttling-limits).
    Reports,
}

impl Bucket {
    /// Whether it draws on the tenant's resource units, so that one request's 429 concerns the others too.
    pub(super) fn shares_units(self) -> bool {
        match self {
            Bucket::Directory | Bucket::KeyCredentials => true,
            Bucket::ConditionalAccess | Bucket::Reports => false,
        }
    }
}

/// A GET that is yet to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) address: String,
    pub(super) permission: &'static str,
    pub(super) bucket: Bucket,
    pub(super) unknown_enum_members: bool,
    pub(super) eventual: bool,
    pub(super) select: Vec<&'static str>,
}

impl Request {
    /// Asks for `path_and_query`, which starts with the version: `/v1.0/users?$top=999`. Reserved bytes in ids must be
    /// escaped already ([`escape`]).
    pub fn new(path_and_query: impl Into<String>) -> Self {
        Request {
            address: path_and_query.into(),
            permission: "a permission that is not known here",
            bucket: Bucket::Directory,
            unknown_enum_members: false,
            eventual: false,
            select: Vec::new(),
        }
    }

    /// The least permission that this needs, to be named when it is missing.
    pub fn permission(mut self, permission: &'static str) -> Self {
        self.permission = permission;
        self
    }

    /// The limit that this counts against.
    pub fn bucket(mut self, bucket: Bucket) -> Self {
        self.bucket = bucket;
        self
    }

    /// Asks for enum members that were added after the enum was published, instead of `unknownFutureValue`
    /// (`Prefer: include-unknown-enum-members`).
    pub fn unknown_enum_members(mut self, wanted: bool) -> Self {
        self.unknown_enum_members = wanted;
        self
    }

    /// Reads from the advanced-query index, which lags (`ConsistencyLevel: eventual`).
    pub fn eventual(mut self) -> Self {
        self.eventual = true;
        self
    }

    /// The properties that the query selects, so that a refusal can say which of them it is about.
    pub fn select(mut self, select: Vec<&'static str>) -> Self {
        self.select = select;
        self
    }

    /// The same request for a link that an answer gave, followed verbatim.
    pub fn at(&self, link: &str) -> Self {
        Request { address: link.to_owned(), ..self.clone() }
    }

    /// The headers that go with it besides the token, in a batch too, where each part has its own (learn,
    /// graph/json-batching).
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        // Gives way to every other application of the tenant (learn, graph/throttling-limits): a backup can wait.
        let priority = Some(("x-ms-throttle-priority", "low"));
        let prefer = self.unknown_enum_members.then_some(("prefer", "include-unknown-enum-members"));
        let consistency = self.eventual.then_some(("consistencylevel", "eventual"));
        [priority, prefer, consistency].into_iter().flatten()
    }

    /// The address as given: path and query, or a link.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// `segment` as one segment of a path: every byte that isn't unreserved (RFC 3986) as `%HH`.
pub fn escape(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-') {
            true => escaped.push(char::from(byte)),
            false => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(escape("a-B_9.~"), "a-B_9.~");
        assert_eq!(escape("../x?y#z é"), "..%2Fx%3Fy%23z%20%C3%A9");
    }
}
