//! A request as the simulator understands it, and the two things that can come of it: a reply or a refusal.
//!
//! Must never know: the directory, or how bytes reach the wire.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A GET within the Graph namespace, alone or as a part of a batch.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// `v1.0` or `beta`.
    pub version: String,
    /// Path segments after the version, percent-decoded.
    pub segments: Vec<String>,
    /// Query options in order, percent-decoded.
    pub options: Vec<(String, String)>,
    /// Whether `ConsistencyLevel: eventual` was sent.
    pub eventual: bool,
    /// Whether `Prefer: include-unknown-enum-members` was sent.
    pub unknown_members: bool,
    /// The simulated time of the request.
    pub now: Timestamp,
}

/// What a request is answered with when nothing is wrong.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// A JSON body.
    Json(Value),
    /// A plain number, as `/$count` gives.
    Text(String),
}

/// An error answer in Graph's form (Microsoft: "Microsoft Graph error responses and resource types").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: &'static str,
    /// `error.message`.
    pub message: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal without further headers.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 400 for a request that Graph does not understand.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    /// 400 for a query that the collection does not support.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }

    /// 404 for an object that is not there.
    pub fn missing(id: &str) -> Self {
        let message =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Self::new(404, "Request_ResourceNotFound", message)
    }

    /// 404 for a path that is not served.
    pub fn unknown(segment: &str) -> Self {
        Self::new(404, "BadRequest", format!("Resource not found for the segment '{segment}'."))
    }

    /// The body, stamped with the ids of the exchange.
    pub fn body(&self, now: Timestamp, request_id: &str, client_request_id: &str) -> Value {
        json!({"error": {
            "code": self.code,
            "message": self.message,
            "innerError": {
                "date": now.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                "request-id": request_id,
                "client-request-id": client_request_id,
            }
        }})
    }
}

impl Ask {
    /// Takes a path such as `/v1.0/users?$top=5` apart. None if it does not start with a version.
    pub fn parse(base: &str, path: &str, query: &str, eventual: bool, now: Timestamp) -> Option<Self> {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty()).map(decode);
        let version = segments.next().filter(|version| version == "v1.0" || version == "beta")?;
        let options = query
            .split('&')
            .filter(|option| !option.is_empty())
            .map(|option| option.split_once('=').unwrap_or((option, "")))
            .map(|(name, value)| (decode(name), decode(&value.replace('+', "%20"))))
            .collect();
        Some(Self {
            base: base.to_owned(),
            version,
            segments: segments.collect(),
            options,
            eventual,
            unknown_members: false,
            now,
        })
    }

    /// The same with what the `Prefer` header asks for.
    pub fn preferring(mut self, prefer: &str) -> Self {
        let mut wishes = prefer.split([',', ';']).map(str::trim);
        self.unknown_members = wishes.any(|wish| wish.eq_ignore_ascii_case("include-unknown-enum-members"));
        self
    }

    /// The value of a query option. Names of system options are compared without regard to case.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The path after the version, decoded.
    pub fn path(&self) -> String {
        self.segments.join("/")
    }

    /// An absolute link to the same path with these options.
    pub fn link(&self, options: &[(&str, &str)]) -> String {
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let path: Vec<String> = self.segments.iter().map(|segment| encode(segment)).collect();
        format!("{}/{}/{}?{}", self.base, self.version, path.join("/"), options.join("&"))
    }

    /// `@odata.context` for a set called `name`.
    pub fn context(&self, name: &str) -> String {
        format!("{}/{}/$metadata#{name}", self.base, self.version)
    }

    /// Refuses all options but these.
    pub fn allow_only(&self, allowed: &[&str]) -> Result<(), Refusal> {
        let known = |name: &str| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        match self.options.iter().find(|(name, _)| name.starts_with('$') && !known(name)) {
            Some((name, _)) => {
                Err(Refusal::unsupported(format!("The query option '{name}' is not supported on '{}'.", self.path())))
            }
            None => Ok(()),
        }
    }
}

/// Percent-decoding; malformed escapes stay as they are.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = if bytes[at] == b'%' { bytes.get(at + 1..at + 3) } else { None };
        match escape.and_then(|digits| hex::decode(digits).ok()) {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Percent-encoding of what may not stand in a query value.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~,$/():'".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_decoded_and_links_encoded() {
        let ask = Ask::parse(
            "http://h",
            "/v1.0/users/a%20b",
            "%24select=id,city&$top=5&x=a+b%2Bc",
            false,
            Timestamp::UNIX_EPOCH,
        );
        let ask = ask.unwrap();
        assert_eq!(ask.segments, ["users", "a b"]);
        assert_eq!(ask.option("$Select"), Some("id,city"));
        assert_eq!(ask.option("x"), Some("a b+c"));
        assert_eq!(ask.link(&[("$skiptoken", "a+b")]), "http://h/v1.0/users/a%20b?$skiptoken=a%2Bb");
        assert!(Ask::parse("http://h", "/v2.0/users", "", false, Timestamp::UNIX_EPOCH).is_none());
    }
}
