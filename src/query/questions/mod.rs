//! Named questions: what auditors ask, each as a value with its parameters, what it rests on and how it is answered.
//!
//! Must never know: how an answer is shown, or who asks.
//!
//! To add a question: a file with a [`Question`] in it, and a row in [`CATALOGUE`]. What can't be answered yet stands there too,
//! with what is missing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::access::Evaluator;
use super::{Archive, Instant, Moment, QueryError};
use crate::canonical::Key;

mod accounts;
mod answer;
mod applications;
mod catalogue;
mod evidence;
mod exemptions;
mod guards;
mod legacy;
mod lifecycle;
mod policy_history;
mod privileged;
mod reach;
mod record;
mod role_holders;
mod role_log;
mod rows;
mod settings;
mod sign_in;
mod stretches;
mod takeover;
mod uses;

pub use answer::Answer;
pub use catalogue::CATALOGUE;
pub use evidence::{EntryMark, Evidence, Seen};

/// What a question is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// An instant: the head of the archive where none is given.
    Instant,
    /// A period, whose beginning has to be given.
    Period,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// An object of one of these collections, by key, id or a name that it has then.
    Object(&'static [&'static str]),
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A parameter of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ParameterKind,
    /// What is taken where it isn't given; `None` where it has to be, an empty text where nothing is taken.
    pub default: Option<&'static str>,
    /// What it is for, in a sentence without full stop.
    pub description: &'static str,
}

/// Whether a question can be answered.
#[derive(Debug, Clone, Copy)]
pub enum Ability {
    /// By this.
    Answered(Run),
    /// Not yet: what is missing, as a sentence without full stop.
    Missing(&'static str),
}

/// Answers a question.
pub type Run = for<'a> fn(&'a Asking<'a>) -> Pin<Box<dyn Future<Output = Result<Table, QueryError>> + Send + 'a>>;

/// A named question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Its number in the catalogue.
    pub number: u8,
    /// Its name, as it is asked for.
    pub name: &'static str,
    /// The question, as people ask it.
    pub title: &'static str,
    /// What the answer holds and how to read it, for an auditor.
    pub description: &'static str,
    /// The version of its logic: another answer from the same archive needs another number.
    pub version: u32,
    /// Instant or period.
    pub span: Span,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// The collections that it rests on; which of them an answer used, its evidence says.
    pub needs: &'static [&'static str],
    /// Whether it can be answered.
    pub ability: Ability,
}

/// Rows, totals and notes: what a question comes to.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The columns that people are shown, in order. Rows may hold more.
    pub columns: &'static [&'static str],
    /// The rows, in an order that depends on nothing but the archive.
    pub rows: Vec<Map<String, Value>>,
    /// Totals and control figures.
    pub totals: Map<String, Value>,
    /// What has to be known to read the rows right.
    pub notes: Vec<String>,
    /// How sure the rows are, where they don't say it one by one.
    pub is_incomplete: bool,
}

/// What keeps a question from being asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AskError {
    /// There is none of that name.
    #[error("there is no question {name:?}")]
    NoSuchQuestion {
        /// The name.
        name: String,
        /// The one that is called nearly that.
        near: &'static str,
    },
    /// It can't be answered yet.
    #[error("{question} can't be answered yet: {missing}")]
    Unanswerable {
        /// The question.
        question: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// A parameter isn't one of the question's.
    #[error("{question} has no parameter {name:?}")]
    NoSuchParameter {
        /// The question.
        question: &'static str,
        /// The parameter.
        name: String,
        /// The parameters that it has.
        known: Vec<&'static str>,
    },
    /// A parameter has to be given.
    #[error("{question} needs {name}: {description}")]
    Missing {
        /// The question.
        question: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it is for.
        description: &'static str,
    },
    /// A parameter holds something else.
    #[error("{name} is {value:?}, expected {expected}")]
    Wrong {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A period has no beginning, ends before it begins, or was given for an instant.
    #[error("{question} is asked about {expected}")]
    Span {
        /// The question.
        question: &'static str,
        /// What would do.
        expected: &'static str,
    },
}

/// The times that a question is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Times {
    /// As of when.
    pub at: Option<Moment>,
    /// From when.
    pub from: Option<Moment>,
    /// Until when; the head where none is given.
    pub to: Option<Moment>,
}

/// A parameter as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Object(Key, u32),
    Text(String),
    Number(u64),
    Flag(bool),
}

/// A question that is being asked: the archive, the window, the parameters.
pub struct Asking<'a> {
    /// The archive.
    pub archive: &'a Archive,
    /// Access within the window, and the facts below.
    pub access: Evaluator<'a>,
    /// The instant, or the beginning of the period.
    pub begin: Instant,
    /// The instant, or the end of the period.
    pub end: Instant,
    question: &'static Question,
    given: BTreeMap<&'static str, Given>,
    told: Mutex<rows::Told>,
}

impl Asking<'_> {
    /// An object that was given as a parameter, with its number.
    pub fn object(&self, name: &str) -> Option<(&Key, u32)> {
        match self.given.get(name) {
            Some(Given::Object(key, id)) => Some((key, *id)),
            _ => None,
        }
    }

    /// What the question is asked about.
    fn question_span(&self) -> Span {
        self.question.span
    }

    /// A text or word that was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.given.get(name) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number that was given.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.given.get(name) {
            Some(Given::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Whether a flag was given as true.
    pub fn flag(&self, name: &str) -> bool {
        self.given.get(name) == Some(&Given::Flag(true))
    }
}

/// The question called `name`, or of that number.
///
/// # Errors
/// [`AskError::NoSuchQuestion`].
pub fn find(name: &str) -> Result<&'static Question, AskError> {
    let number = name.trim_start_matches(['q', 'Q']).parse::<u8>().ok();
    let found = CATALOGUE.iter().find(|question| question.name == name || Some(question.number) == number);
    found.ok_or_else(|| {
        let score = |question: &&Question| strsim::jaro_winkler(&name.to_lowercase(), question.name);
        let near = CATALOGUE.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        AskError::NoSuchQuestion { name: name.to_owned(), near: near.map_or("", |question| question.name) }
    })
}

/// Asks a question of an archive.
///
/// # Errors
/// [`QueryError::Ask`] where it isn't asked right; the archive's.
pub async fn ask(
    archive: &Archive,
    question: &'static Question,
    parameters: &[(String, String)],
    times: &Times,
    now: Timestamp,
) -> Result<Answer, QueryError> {
    let run = match question.ability {
        Ability::Answered(run) => run,
        Ability::Missing(missing) => return Err(AskError::Unanswerable { question: question.name, missing }.into()),
    };
    let (begin, end) = span(archive, question, times, now)?;
    let given = given(archive, question, parameters, &end).await?;
    let access = match question.span {
        Span::Instant => Evaluator::at(archive, &end)?,
        Span::Period => Evaluator::during(archive, &begin, &end)?,
    };
    let asking = Asking { archive, access, begin, end, question, given, told: Mutex::default() };
    let table = run(&asking).await?;
    Answer::of(question, &asking, table).await
}

/// The greatest number that may be given: beyond it JSON numbers aren't exact (RFC 7493).
const MOST: u64 = (1 << 53) - 1;

fn span(
    archive: &Archive,
    question: &'static Question,
    times: &Times,
    now: Timestamp,
) -> Result<(Instant, Instant), QueryError> {
    let wrong = |expected| AskError::Span { question: question.name, expected };
    match (question.span, times) {
        (Span::Instant, Times { at, from: None, to: None }) => {
            let at = archive.at(at.as_ref().unwrap_or(&Moment::Head), now)?;
            Ok((at, at))
        }
        (Span::Instant, _) => Err(wrong("an instant: give --at and no period").into()),
        (Span::Period, Times { at: None, from: Some(from), to }) => {
            let begin = archive.at_beginning(from)?;
            let end = archive.at(to.as_ref().unwrap_or(&Moment::Head), now)?;
            let asked = |instant: &Instant| instant.asked.unwrap_or(instant.capture.time);
            if end.capture.seq < begin.capture.seq || asked(&end) < asked(&begin) {
                return Err(wrong("a period that ends after it begins").into());
            }
            Ok((begin, end))
        }
        (Span::Period, _) => Err(wrong("a period: give --from, and --to if it doesn't last until now").into()),
    }
}

async fn given(
    archive: &Archive,
    question: &'static Question,
    parameters: &[(String, String)],
    at: &Instant,
) -> Result<BTreeMap<&'static str, Given>, QueryError> {
    for (name, _) in parameters {
        if !question.parameters.iter().any(|parameter| parameter.name == name) {
            let known = question.parameters.iter().map(|parameter| parameter.name).collect();
            return Err(AskError::NoSuchParameter { question: question.name, name: name.clone(), known }.into());
        }
    }
    let mut given = BTreeMap::new();
    for parameter in question.parameters {
        let text = parameters.iter().rev().find(|(name, _)| name == parameter.name).map(|(_, value)| value.as_str());
        // What is given as nothing isn't given.
        let Some(text) = text.filter(|text| !text.trim().is_empty()).or(parameter.default) else {
            let (name, description) = (parameter.name, parameter.description);
            return Err(AskError::Missing { question: question.name, name, description }.into());
        };
        if !text.is_empty() {
            given.insert(parameter.name, read(archive, parameter, text, at).await?);
        }
    }
    Ok(given)
}

async fn read(archive: &Archive, parameter: &Parameter, text: &str, at: &Instant) -> Result<Given, QueryError> {
    let wrong = |expected: String| AskError::Wrong { name: parameter.name, value: text.to_owned(), expected };
    Ok(match parameter.kind {
        ParameterKind::Object(collections) => {
            let (key, id) = archive.resolve_in(text, at, collections).await?;
            Given::Object(key, id)
        }
        ParameterKind::Text => Given::Text(text.to_owned()),
        ParameterKind::Number => match text.parse() {
            Ok(number) if number <= MOST => Given::Number(number),
            _ => return Err(wrong(format!("a whole number, at most {MOST}")).into()),
        },
        ParameterKind::Flag => Given::Flag(text.parse().map_err(|_| wrong("true or false".to_owned()))?),
        ParameterKind::Choice(words) => match words.contains(&text) {
            true => Given::Text(text.to_owned()),
            false => return Err(wrong(format!("one of {}", words.join(", "))).into()),
        },
    })
}
