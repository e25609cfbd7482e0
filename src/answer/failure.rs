//! Why something could not be answered, of which kind that is, and what to do next; the same for commands and over HTTP.
//!
//! Must never know: exit codes and statuses. Who answers maps kinds to them, in one function each.

use std::error::Error;
use std::io;

use crate::archive::appender::AppendError;
use crate::archive::walker::WalkError;
use crate::index::IndexError;
use crate::ledger::LedgerError;
use crate::query::questions::AskError;
use crate::query::{Candidate, QueryError};
use crate::store::StoreError;

/// How what was answered ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is well.
    Done,
    /// Answered, but something that was asked about wasn't seen.
    Incomplete,
    /// The archive isn't what was committed.
    Finding,
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something outside went wrong: disk, network, another process.
    Failed,
    /// The command line can't be followed.
    Usage,
    /// The configuration can't be followed.
    Configuration,
    /// The archive isn't what was committed.
    Integrity,
    /// Nobody reads what is written any more. No failure of ours.
    PipeClosed,
}

impl Kind {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::Configuration => "configuration",
            Kind::Integrity => "integrity",
            Kind::PipeClosed => "pipe-closed",
        }
    }
}

/// Why there is no answer, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code, or the status.
    pub kind: Kind,
    /// What happened; its sources say why.
    pub error: Box<dyn Error + Send + Sync>,
    /// What to do next, one sentence each.
    pub hints: Vec<String>,
}

/// What helps where the archive isn't what was committed.
pub const VERIFY: &str = "`tenure verify --deep` lists everything that is damaged and what it touches";

impl Failure {
    /// A failure without hints.
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { kind, error: error.into(), hints: Vec::new() }
    }

    /// With one hint more.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// What happened and why, from the outermost to the innermost.
    pub fn chain(&self) -> Vec<String> {
        let mut chain = vec![self.error.to_string()];
        let mut source = self.error.source();
        while let Some(error) = source {
            let text = error.to_string();
            if chain.last() != Some(&text) {
                chain.push(text);
            }
            source = error.source();
        }
        chain
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        // What stands before an answer and fails comes through the stream that the answer would have taken.
        let error = match error.downcast::<LedgerError>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::PipeClosed } else { Kind::Failed };
        Failure::new(kind, error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match &error {
            StoreError::Denied { .. } => Failure::new(Kind::Failed, error).hint(
                "check who owns the directory of the archive, and as whom this command runs; in a storage account, \
                 credential in [store] and the roles of that identity",
            ),
            StoreError::NoContainer { .. } => Failure::new(Kind::Failed, error)
                .hint("nothing was written; docs/operations.md, \"An archive in Azure\", says how containers are made"),
            _ => Failure::new(Kind::Failed, error),
        }
    }
}

impl From<WalkError> for Failure {
    fn from(error: WalkError) -> Failure {
        match error {
            WalkError::NoArchive => Failure::new(Kind::Failed, error)
                .hint("`tenure init` begins one; or check path in [store], or --archive"),
            WalkError::Newer { .. } => Failure::new(Kind::Failed, error)
                .hint("this archive was written by a newer version: use that one, nothing was changed"),
            WalkError::Genesis(_) => Failure::new(Kind::Integrity, error)
                .hint("nothing of this archive can be trusted as it is: compare entry 0 with a copy kept elsewhere"),
            WalkError::Store(error) => error.into(),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Failure {
        if error.is_integrity() {
            return Failure::new(Kind::Integrity, error).hint(VERIFY);
        }
        let mut hints = Vec::new();
        let kind = match &error {
            QueryError::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => Kind::PipeClosed,
            QueryError::Index(IndexError::Walk(WalkError::NoArchive)) => {
                return Failure::from(WalkError::NoArchive);
            }
            QueryError::Index(IndexError::Busy { .. }) => {
                hints.push("wait until the other command has ended, and run this one again".to_owned());
                Kind::Failed
            }
            QueryError::NoCaptures => {
                hints.push("`tenure capture` makes the first".to_owned());
                Kind::Failed
            }
            QueryError::BeforeFirst { first, .. } => {
                hints.push(format!("#{first} names the first capture"));
                Kind::Usage
            }
            QueryError::Expired { .. } => {
                hints.push("nothing is damaged: `tenure captures` shows the entries, which are kept longer".to_owned());
                Kind::Usage
            }
            QueryError::NoSuchCapture { .. } => {
                hints.push("`tenure captures` lists them".to_owned());
                Kind::Usage
            }
            QueryError::NotFound { near, .. } => {
                hints.extend(near.iter().map(|near| format!("near: {}", describe(near))));
                hints.push("`tenure search TEXT` finds objects by a part of their name, present or past".to_owned());
                Kind::Usage
            }
            QueryError::Ambiguous { candidates, .. } => {
                hints.extend(candidates.iter().map(describe));
                hints.push("name one of them by its key".to_owned());
                Kind::Usage
            }
            QueryError::Ask(asked) => {
                hints.extend(hint_of(asked));
                Kind::Usage
            }
            QueryError::Moment(_) | QueryError::NotYetKnown { .. } => Kind::Usage,
            _ => Kind::Failed,
        };
        Failure { kind, error: error.into(), hints }
    }
}

/// What to do about a question that isn't asked right.
fn hint_of(error: &AskError) -> Option<String> {
    match error {
        AskError::NoSuchQuestion { near, .. } => {
            Some(format!("did you mean {near}? `tenure ask --list` names all questions"))
        }
        AskError::Unanswerable { .. } => Some("`tenure ask --list` tells which can be".to_owned()),
        AskError::NoSuchParameter { known, .. } if known.is_empty() => Some("it has none".to_owned()),
        AskError::NoSuchParameter { known, .. } => Some(format!("it has {}", known.join(", "))),
        AskError::Missing { name, .. } => Some(format!("add {name}=…")),
        AskError::Wrong { .. } | AskError::Span { .. } => None,
    }
}

/// `user/1… "Adele Vance" (not there then)`.
fn describe(candidate: &Candidate) -> String {
    let label = candidate.label.as_ref().map_or(String::new(), |label| format!(" {label:?}"));
    let absent = if candidate.present { "" } else { " (not there at that time)" };
    format!("{}{label}{absent}", candidate.key)
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Failure {
        match error {
            AppendError::Walk(error) => error.into(),
            AppendError::Store(error) => error.into(),
            AppendError::LostRace { .. } => Failure::new(Kind::Failed, error)
                .hint("run the command again: it goes on from what the other writer committed"),
            AppendError::ForeignKey { .. } => Failure::new(Kind::Configuration, error)
                .hint("key_file in [signing] has to be the key that `tenure init` made for this archive"),
            AppendError::Truncated { .. } => Failure::new(Kind::Integrity, error).hint(
                "was the archive restored from an older copy, or is it another one? `tenure verify` tells what is left; \
                 if the loss is explained, remove head.json in the directory of [state]",
            ),
            AppendError::Initialised { leaf } => Failure::new(Kind::Failed, AppendError::Initialised { leaf })
                .hint(format!("it is left as it is; `tenure verify --trust {leaf}` checks it"))
                .hint("to begin another archive choose another path in [store]"),
            AppendError::Invalid { .. } => Failure::new(Kind::Failed, error),
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Failure {
        match error {
            LedgerError::Append(error) => error.into(),
            LedgerError::Spool { .. } => Failure::new(Kind::Failed, error).hint(
                "nothing is answered that can't be recorded: whoever asks must be able to write in the directory of \
                 [state]; free some space if the disk is full",
            ),
            _ => Failure::new(Kind::Usage, error).hint("nothing is answered that can't be recorded"),
        }
    }
}
