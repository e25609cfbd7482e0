//! One record: who asked what, by which way, and what became of it; as a value and as a line.
//!
//! Must never know: what the operations are, or where lines are kept.
//!
//! The members of a line are defined in `docs/format.md`, section 4.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::LedgerError;
use crate::archive::entry::{parse_time, tool};
use crate::canonical::{self, Rules};
use crate::clock::format_millis;
use crate::hash::Hash;

/// The longest line there may be, in bytes: whoever asks can't make immutable storage grow by more than this.
pub const MAX_LEN: usize = 64 * 1024;

/// Names one record. Where the same one is met twice it is the same record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordId(Uuid);

impl RecordId {
    pub(super) fn new() -> RecordId {
        RecordId(Uuid::new_v4())
    }

    pub(super) fn parse(text: &str) -> Option<RecordId> {
        Uuid::try_parse(text).ok().map(RecordId)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who asked, as far as whoever let them in knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A user of the operating system.
    System {
        /// The user as which the command ran.
        uid: u32,
        /// What the system calls that user, where it says.
        name: Option<String>,
        /// The user who logged in, where the system keeps that through a change of user.
        login: Option<u32>,
    },
    /// Somebody, or an application, that Entra vouched for with a token that was checked.
    Entra {
        /// The tenant.
        tenant: String,
        /// The object id of the user or service principal.
        object: String,
        /// The application that asked, where the token says.
        app: Option<String>,
        /// The user's name, where the token is a user's.
        user: Option<String>,
        /// The roles in the token.
        roles: Vec<String>,
    },
    /// Who holds the token of the local file.
    TokenFile,
    /// Nobody knows.
    Stranger,
}

impl Who {
    fn to_json(&self) -> Value {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                members.insert(name.to_owned(), value);
            }
        };
        match self {
            Who::System { uid, name, login } => {
                put("kind", json!("system"));
                put("uid", json!(uid));
                put("name", json!(name));
                put("login", json!(login));
            }
            Who::Entra { tenant, object, app, user, roles } => {
                put("kind", json!("entra"));
                put("tenant", json!(tenant));
                put("object", json!(object));
                put("app", json!(app));
                put("user", json!(user));
                put("roles", json!(roles));
            }
            Who::TokenFile => put("kind", json!("token-file")),
            Who::Stranger => put("kind", json!("stranger")),
        }
        Value::Object(members)
    }
}

/// By which way somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The command line.
    Cli,
    /// The HTTP interface.
    Http,
}

impl Via {
    /// The word in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Cli => "cli",
            Via::Http => "http",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An answer was ready, and left, or began to leave, after the record.
    Answered,
    /// It may not be asked, or can't be: no right to, nothing of that name, a time before the first capture.
    Refused,
    /// It went wrong.
    Failed,
}

impl Outcome {
    /// The word in a record.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// One use of the archive: a question, a look, an export, or the refusal of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// Who.
    pub who: Who,
    /// By which way.
    pub via: Via,
    /// What was done, by the name of the command or of the operation: `show`, `ask`, `export`.
    pub operation: String,
    /// What was asked for, as it was asked: names as somebody typed them are personal data, and belong here.
    pub parameters: Map<String, Value>,
    /// What became of it.
    pub outcome: Outcome,
    /// The hash of the answer, where the answer has one.
    pub answer: Option<Hash>,
}

impl Use {
    pub(super) fn to_line(&self, at: Timestamp) -> Result<(RecordId, Vec<u8>), LedgerError> {
        let mut members = Map::new();
        members.insert("who".to_owned(), self.who.to_json());
        members.insert("via".to_owned(), json!(self.via.as_str()));
        members.insert("operation".to_owned(), json!(self.operation));
        members.insert("parameters".to_owned(), Value::Object(self.parameters.clone()));
        members.insert("outcome".to_owned(), json!(self.outcome.as_str()));
        if let Some(answer) = self.answer {
            members.insert("answer".to_owned(), json!(answer.to_string()));
        }
        line(at, members)
    }
}

/// A line of `members` with an id of its own, the time and the build.
pub(super) fn line(at: Timestamp, mut members: Map<String, Value>) -> Result<(RecordId, Vec<u8>), LedgerError> {
    let id = RecordId::new();
    members.insert("id".to_owned(), json!(id.to_string()));
    members.insert("at".to_owned(), json!(format_millis(at)));
    members.insert("tool".to_owned(), json!(tool()));
    let written = serde_json::to_vec(&Value::Object(members)).expect("a value with text keys serialises");
    let mut line = canonical::canonicalize(&canonical::parse(&written)?, &Rules::default())?;
    if line.len() > MAX_LEN {
        return Err(LedgerError::TooLong { found: line.len(), most: MAX_LEN });
    }
    line.push(b'\n');
    Ok((id, line))
}

/// A record that was read back: a use, or a count of denials.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: RecordId,
    /// When, by the clock of the machine that wrote it, to the millisecond.
    pub at: Timestamp,
    /// All its members.
    pub members: Map<String, Value>,
    /// The line without its end, as it was written.
    pub text: Vec<u8>,
}

impl Record {
    /// Reads a line, without its end; `None` where it isn't one.
    pub fn parse(line: &[u8]) -> Option<Record> {
        let Ok(Value::Object(members)) = serde_json::from_slice(line) else { return None };
        let id = RecordId::parse(members.get("id")?.as_str()?)?;
        let at = parse_time(members.get("at")?.as_str()?)?;
        Some(Record { id, at, members, text: line.to_vec() })
    }

    /// What was done; `None` for a count of denials.
    pub fn operation(&self) -> Option<&str> {
        self.members.get("operation")?.as_str()
    }

    /// Whether `who` names the one who asked: a name, a number, an id or a role.
    pub fn is_by(&self, who: &str) -> bool {
        let is = |value: &Value| match value {
            Value::String(text) => text.eq_ignore_ascii_case(who),
            Value::Number(number) => number.to_string() == who,
            Value::Array(values) => {
                values.iter().any(|value| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(who)))
            }
            _ => false,
        };
        self.members.get("who").and_then(Value::as_object).is_some_and(|members| members.values().any(is))
    }

    /// Who asked, in a word: a name where there is one, else the number or id; `strangers` for a count of denials.
    pub fn asker(&self) -> String {
        let Some(who) = self.members.get("who") else { return "strangers".to_owned() };
        let told = ["name", "user", "object", "uid", "kind"].into_iter().find_map(|name| who.get(name));
        match told {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => format!("uid {number}"),
            _ => String::new(),
        }
    }

    /// How many were turned away, where this is a count.
    pub fn denials(&self) -> Option<u64> {
        self.members.get("denials")?.as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-08-01T13:00:00.250Z".parse().unwrap()
    }

    fn used() -> Use {
        Use {
            who: Who::System { uid: 1000, name: Some("anna".into()), login: None },
            via: Via::Cli,
            operation: "show".into(),
            parameters: json!({"name": "Adele Vance", "at": "2026-06-30"}).as_object().unwrap().clone(),
            outcome: Outcome::Answered,
            answer: Some(Hash::of(b"answer")),
        }
    }

    #[test]
    fn a_use_is_one_canonical_line_that_reads_back() {
        let (id, line) = used().to_line(at()).unwrap();
        let text = line.strip_suffix(b"\n").unwrap();
        assert!(canonical::is_canonical(text));
        let record = Record::parse(text).unwrap();
        assert_eq!((record.id, record.at, record.operation()), (id, at(), Some("show")));
        let expected = format!(
            "{{\"answer\":\"{}\",\"at\":\"2026-08-01T13:00:00.250Z\",\"id\":\"{id}\",\"operation\":\"show\",\"outcome\":\
             \"answered\",\"parameters\":{{\"at\":\"2026-06-30\",\"name\":\"Adele Vance\"}},\"tool\":\"{}\",\"via\":\
             \"cli\",\"who\":{{\"kind\":\"system\",\"name\":\"anna\",\"uid\":1000}}}}",
            Hash::of(b"answer"),
            tool()
        );
        assert_eq!(String::from_utf8_lossy(text), expected);
        assert_ne!(used().to_line(at()).unwrap().0, id, "each record has an id of its own");
    }

    #[test]
    fn line_ends_in_what_was_asked_stay_inside() {
        let mut used = used();
        used.parameters.insert("name".into(), json!("a\n{\"id\":1}\n"));
        let (_, line) = used.to_line(at()).unwrap();
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
    }

    #[test]
    fn what_is_too_long_or_not_exact_is_refused() {
        let mut used = used();
        used.parameters.insert("name".into(), json!("x".repeat(MAX_LEN)));
        assert!(matches!(used.to_line(at()), Err(LedgerError::TooLong { .. })));
        used.parameters.insert("name".into(), json!(u64::MAX));
        assert!(matches!(used.to_line(at()), Err(LedgerError::NotCanonical(_))));
    }

    #[test]
    fn other_lines_are_no_records() {
        for line in ["", "{", "[]", "{}", r#"{"id":"x","at":"2026-08-01T13:00:00.250Z"}"#, r#"{"id":1,"at":2}"#] {
            assert_eq!(Record::parse(line.as_bytes()), None, "{line}");
        }
    }
}
