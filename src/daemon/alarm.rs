//! What somebody should hear about: conditions that last and events that happen, each told once.
//!
//! Must never know: how anybody is told, and what people are called. Subjects are rows of coverage, containers and keys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::file;
use crate::hash::Hash;

/// The file in the directory of `[state]`.
const FILE: &str = "alarms.json";

/// Notices that wait for a receiver. When nobody takes any, the oldest are given up, and the log has them all.
const MOST_WAITING: usize = 10_000;

/// Events whose names are remembered, so that one is told once although it is found again.
const MOST_REMEMBERED: usize = 10_000;

macro_rules! kinds {
    ($($variant:ident $word:literal $severity:ident $doc:literal)*) => {
        /// What an alarm is about: a closed list, each with a runbook.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $doc] $variant,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $word,)* }
            }

            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Kind::$variant => Severity::$severity,)* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Kind::$variant => $doc,)* }
            }
        }
    };
}

kinds! {
    CaptureMissed "capture-missed" Critical "Nobody captured in a slot."
    CaptureFailing "capture-failing" Warning "Captures fail one after another."
    CoverageShrank "coverage-shrank" Warning "What was read before isn't read any more."
    MassDisappearance "mass-disappearance" Critical "So much is gone at once that its removal is held back."
    FeedMissed "feed-missed" Warning "A whole read found changes that the change feed had not told."
    ClockSkew "clock-skew" Warning "This machine's clock is more than five minutes off the service's."
    SlotsAhead "slots-ahead" Warning "The log holds slots that lie in the future."
    StorageUnprotected "storage-unprotected" Critical "The storage doesn't keep everybody from changing what was written."
    StorageUnchecked "storage-unchecked" Warning "Whether the storage protects what was written couldn't be found out."
    MonthMissing "month-missing" Warning "A container that is needed now or soon isn't there."
    VerificationFinding "verification-finding" Critical "Verification found that the archive isn't what was committed."
    VerificationLate "verification-late" Warning "Part of the archive was not verified for longer than configured."
    MirrorBehind "mirror-behind" Warning "The second copy is behind."
    WebhookFailing "webhook-failing" Warning "The receiver of alarms doesn't take them."
    RoleGranted "role-granted" Critical "Somebody was given a privileged directory role."
    RoleEligible "role-eligible" Warning "Somebody may activate a privileged directory role who could not before."
    RoleActivated "role-activated" Info "Somebody activated a privileged directory role."
    PermissionGranted "permission-granted" Critical "An application was given a privileged permission."
    CredentialAdded "credential-added" Critical "A credential was added to a privileged application."
    OwnerAdded "owner-added" Warning "Somebody became owner of a privileged application or group."
    PolicyLoosened "policy-loosened" Critical "A Conditional Access policy was deleted, disabled or loosened."
    LocationWidened "location-widened" Warning "A named location that policies trust was widened."
    SecurityDefaultsOff "security-defaults-off" Critical "The security defaults were turned off."
}

/// How much an alarm matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be looked at within days.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// A condition that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// What it is about.
    pub kind: Kind,
    /// What exactly.
    pub subject: String,
    /// Since when.
    pub since: Timestamp,
    /// What is known about it.
    pub text: String,
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its own name: a receiver that has it already can tell.
    pub id: String,
    /// `alarm.raised`, `alarm.cleared` or `alarm.event`.
    pub event: &'static str,
    /// What it is about.
    pub kind: Kind,
    /// What exactly.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// The entry that it is about.
    pub seq: Option<u64>,
    /// What is known about it.
    pub text: String,
}

const EVENTS: [&str; 3] = ["alarm.raised", "alarm.cleared", "alarm.event"];

/// The alarms of one tenant, kept between runs.
#[derive(Debug)]
pub struct Book {
    directory: Option<PathBuf>,
    tenant: String,
    active: BTreeMap<(Kind, String), Active>,
    waiting: VecDeque<Notice>,
    told: VecDeque<String>,
    counts: BTreeMap<Kind, u64>,
    has_receiver: bool,
}

impl Book {
    /// The book of a tenant in `directory`, where one was kept. Without a receiver nothing is kept for one.
    pub fn open(directory: &Path, tenant: &str, has_receiver: bool) -> Book {
        let value = file::read(directory, FILE);
        let mut book = Book {
            directory: Some(directory.to_owned()),
            tenant: tenant.to_owned(),
            active: BTreeMap::new(),
            waiting: VecDeque::new(),
            told: VecDeque::new(),
            counts: BTreeMap::new(),
            has_receiver,
        };
        for row in rows(&value["active"]) {
            if let Some(active) = read_active(row) {
                book.active.insert((active.kind, active.subject.clone()), active);
            }
        }
        if has_receiver {
            book.waiting.extend(rows(&value["waiting"]).filter_map(read_notice));
        }
        book.told.extend(rows(&value["told"]).filter_map(|id| id.as_str().map(str::to_owned)));
        book
    }

    /// Says whether a condition holds. Told when it begins and when it ends.
    pub fn set(&mut self, kind: Kind, subject: &str, holds: bool, now: Timestamp, text: impl Into<String>) {
        let key = (kind, subject.to_owned());
        match (self.active.get(&key), holds) {
            (None, true) => {
                let text = text.into();
                let active = Active { kind, subject: subject.to_owned(), since: now, text: text.clone() };
                self.active.insert(key, active);
                self.tell("alarm.raised", kind, subject, now, None, text);
            }
            (Some(_), false) => {
                self.active.remove(&key);
                self.tell("alarm.cleared", kind, subject, now, None, String::new());
            }
            _ => {}
        }
    }

    /// Says of a kind which conditions hold, all others of that kind being over: subject and text.
    pub fn set_all(&mut self, kind: Kind, holding: &BTreeMap<String, String>, now: Timestamp) {
        let known: BTreeSet<String> =
            self.active.keys().filter(|(other, _)| *other == kind).map(|(_, subject)| subject.clone()).collect();
        for subject in known.iter().filter(|subject| !holding.contains_key(*subject)) {
            self.set(kind, subject, false, now, "");
        }
        for (subject, text) in holding {
            self.set(kind, subject, true, now, text.clone());
        }
    }

    /// Says that something happened in an entry. Told once, however often it is said.
    pub fn happened(&mut self, kind: Kind, subject: &str, seq: Option<u64>, now: Timestamp, text: impl Into<String>) {
        let name = name(&[&self.tenant, kind.as_str(), subject, &seq.map_or(String::new(), |seq| seq.to_string())]);
        if self.told.contains(&name) {
            return;
        }
        self.told.push_back(name);
        if self.told.len() > MOST_REMEMBERED {
            self.told.pop_front();
        }
        self.tell("alarm.event", kind, subject, now, seq, text.into());
    }

    fn tell(&mut self, event: &'static str, kind: Kind, subject: &str, at: Timestamp, seq: Option<u64>, text: String) {
        *self.counts.entry(kind).or_default() += 1;
        let (word, severity) = (kind.as_str(), kind.severity().as_str());
        tracing::warn!(target: "tenure::alarm", event, kind = word, severity, subject, seq, "{text}");
        if self.has_receiver {
            // What an entry says several services tell, and a receiver knows by the id that it is the same.
            let when = seq.map_or_else(|| at.to_string(), |seq| seq.to_string());
            let id = name(&[&self.tenant, event, word, subject, &when]);
            let subject = subject.to_owned();
            self.waiting.push_back(Notice { id, event, kind, subject, at, seq, text });
            if self.waiting.len() > MOST_WAITING {
                self.waiting.pop_front();
                tracing::warn!("nobody takes the alarms; the oldest that waits is given up");
            }
        }
        self.keep();
    }

    /// The conditions that hold.
    pub fn active(&self) -> impl Iterator<Item = &Active> {
        self.active.values()
    }

    /// How many notices there were since the service began, by kind.
    pub fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// The notice that has waited longest.
    pub fn first_waiting(&self) -> Option<&Notice> {
        self.waiting.front()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A notice has arrived.
    pub fn delivered(&mut self, id: &str) {
        self.waiting.retain(|notice| notice.id != id);
        self.keep();
    }

    fn keep(&self) {
        let Some(directory) = &self.directory else { return };
        let active: Vec<Value> = self.active.values().map(write_active).collect();
        let waiting: Vec<Value> = self.waiting.iter().map(Notice::to_json).collect();
        file::write(directory, FILE, &json!({ "active": active, "waiting": waiting, "told": self.told }));
    }
}

impl Notice {
    /// The stable form for programs: members are added, never renamed.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "event": self.event,
            "kind": self.kind.as_str(),
            "severity": self.kind.severity().as_str(),
            "subject": self.subject,
            "at": self.at.to_string(),
            "seq": self.seq,
            "text": self.text,
        })
    }
}

/// A short name that the same things always have.
fn name(parts: &[&str]) -> String {
    let hash = Hash::of(parts.join("\n").as_bytes()).to_string();
    format!("alm_{}", &hash[..32])
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn kind_of(value: &Value) -> Option<Kind> {
    let word = value.as_str()?;
    Kind::ALL.iter().copied().find(|kind| kind.as_str() == word)
}

fn write_active(active: &Active) -> Value {
    let since = active.since.to_string();
    json!({ "kind": active.kind.as_str(), "subject": active.subject, "since": since, "text": active.text })
}

fn read_active(row: &Value) -> Option<Active> {
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    let since = text("since")?.parse().ok()?;
    Some(Active { kind: kind_of(&row["kind"])?, subject: text("subject")?, since, text: text("text")? })
}

fn read_notice(row: &Value) -> Option<Notice> {
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    Some(Notice {
        id: text("id")?,
        event: EVENTS.into_iter().find(|event| row["event"] == **event)?,
        kind: kind_of(&row["kind"])?,
        subject: text("subject")?,
        at: text("at")?.parse().ok()?,
        seq: row["seq"].as_u64(),
        text: text("text")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn told(book: &Book) -> Vec<(&'static str, &'static str, String)> {
        book.waiting.iter().map(|n| (n.event, n.kind.as_str(), n.subject.clone())).collect()
    }

    #[test]
    fn a_condition_is_told_when_it_begins_and_when_it_ends_also_across_runs() {
        let directory = tempfile::tempdir().unwrap();
        let mut book = Book::open(directory.path(), "t", true);
        for minute in 0..3 {
            book.set(Kind::ClockSkew, "", true, at(minute), "400 s");
        }
        let mut book = Book::open(directory.path(), "t", true);
        book.set(Kind::ClockSkew, "", true, at(9), "400 s");
        assert_eq!(told(&book), [("alarm.raised", "clock-skew", String::new())]);
        assert_eq!(book.active().next().unwrap().since, at(0));
        book.set(Kind::ClockSkew, "", false, at(10), "");
        book.set(Kind::ClockSkew, "", false, at(11), "");
        assert_eq!(told(&book).len(), 2);
        let first = book.first_waiting().unwrap().id.clone();
        book.delivered(&first);
        let book = Book::open(directory.path(), "t", true);
        assert_eq!(told(&book), [("alarm.cleared", "clock-skew", String::new())]);
    }

    #[test]
    fn an_event_is_told_once_however_often_it_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let mut book = Book::open(directory.path(), "t", true);
        book.happened(Kind::RoleGranted, "user/a", Some(7), at(0), "");
        book.happened(Kind::RoleGranted, "user/a", Some(7), at(5), "");
        let mut book = Book::open(directory.path(), "t", true);
        book.happened(Kind::RoleGranted, "user/a", Some(7), at(6), "");
        book.happened(Kind::RoleGranted, "user/a", Some(9), at(7), "");
        assert_eq!(book.waiting(), 2);
        let ids: BTreeSet<String> = book.waiting.iter().map(|notice| notice.id.clone()).collect();
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn what_is_not_said_any_more_of_a_kind_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut book = Book::open(directory.path(), "t", true);
        let rows = |names: &[&str]| names.iter().map(|name| (name.to_string(), String::new())).collect();
        book.set_all(Kind::CoverageShrank, &rows(&["user", "group"]), at(0));
        book.set_all(Kind::CoverageShrank, &rows(&["group", "device"]), at(1));
        let active: Vec<&str> = book.active().map(|active| active.subject.as_str()).collect();
        assert_eq!(active, ["device", "group"]);
        assert_eq!(told(&book).len(), 4);
    }

    #[test]
    fn without_a_receiver_nothing_waits_and_a_damaged_file_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        let mut book = Book::open(directory.path(), "t", false);
        book.set(Kind::MirrorBehind, "", true, at(0), "");
        assert_eq!((book.waiting(), book.active().count()), (0, 1));
    }

    #[test]
    fn words_are_told_apart() {
        let words: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
    }
}
