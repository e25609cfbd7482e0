//! An answer as an information product: question, parameters, times, evidence, rows, totals, and a hash over all of that.
//!
//! Must never know: who asked, when, or with which build. Those stand beside it, so that the same question of the same archive
//! has the same hash for ever.

use serde_json::{Map, Value, json};

use super::evidence::Evidence;
use super::{Asking, Given, Question, Span, Table};
use crate::canonical::{write_list, write_members, write_string, write_value};
use crate::hash::Hash;
use crate::index::CaptureRow;
use crate::query::{Instant, QueryError};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The question.
    pub question: &'static Question,
    /// The parameters as they were understood: objects by their keys.
    pub parameters: Map<String, Value>,
    /// The instant, or the beginning of the period.
    pub begin: Instant,
    /// The instant, or the end of the period.
    pub end: Instant,
    /// The last capture that was known.
    pub known_at: CaptureRow,
    /// What it rests on.
    pub evidence: Evidence,
    /// Rows, totals, notes.
    pub table: Table,
    /// The hash over everything here.
    pub hash: Hash,
}

/// The tenant's own numbers may be larger than a double holds; such a one is told as text, since the hash is over RFC 8785.
fn make_exact(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let is_large = |whole: u64| whole >= 1 << 53;
            if number.as_u64().is_some_and(is_large)
                || number.as_i64().is_some_and(|whole| is_large(whole.unsigned_abs()))
            {
                *value = number.to_string().into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(make_exact),
        Value::Object(members) => members.values_mut().for_each(make_exact),
        _ => {}
    }
}

impl Answer {
    pub(super) async fn of(
        question: &'static Question,
        asking: &Asking<'_>,
        mut table: Table,
    ) -> Result<Answer, QueryError> {
        table.rows.iter_mut().flat_map(|row| row.values_mut()).chain(table.totals.values_mut()).for_each(make_exact);
        let parameters = asking.given.iter().map(|(name, given)| {
            let value = match given {
                Given::Object(key, _) => key.as_str().into(),
                Given::Text(text) => text.as_str().into(),
                Given::Number(number) => (*number).into(),
                Given::Flag(flag) => (*flag).into(),
            };
            ((*name).to_owned(), value)
        });
        let evidence = Evidence::of(asking).await?;
        let known_at = asking.archive.head()?;
        let (begin, end) = (asking.begin, asking.end);
        let mut answer = Answer {
            question,
            parameters: parameters.collect(),
            begin,
            end,
            known_at,
            evidence,
            table,
            hash: Hash::ZERO,
        };
        answer.hash = Hash::of(&answer.canonical());
        Ok(answer)
    }

    /// Whether something that matters may have been missed: then nothing follows from a row that isn't there.
    pub fn is_incomplete(&self) -> bool {
        !self.evidence.is_complete || self.table.is_incomplete
    }

    /// A name for the answer: two with the same name say the same.
    pub fn id(&self) -> String {
        format!("{}-{}", self.question.name, self.hash.short())
    }

    /// The least sure of the rows; `unknown` where nothing follows from a row that isn't there.
    pub fn certainty(&self) -> &'static str {
        let has = |word: &str| self.table.rows.iter().any(|row| row.get("certainty") == Some(&word.into()));
        match () {
            () if self.is_incomplete() || has("unknown") => "unknown",
            () if has("changed-in-gap") => "changed-in-gap",
            () => "observed",
        }
    }

    /// Everything that the hash is over, with nothing for the rows: there may be many.
    fn hashed(&self) -> Map<String, Value> {
        let instant = |instant: &Instant| {
            json!({
                "asked": instant.asked.map(|asked| asked.to_string()),
                "seq": instant.capture.seq,
                "time": instant.capture.time.to_string(),
            })
        };
        let mut map = Map::new();
        let question =
            json!({"number": self.question.number, "name": self.question.name, "version": self.question.version});
        map.insert("question".to_owned(), question);
        map.insert("parameters".to_owned(), self.parameters.clone().into());
        match self.question.span {
            Span::Instant => drop(map.insert("at".to_owned(), instant(&self.end))),
            Span::Period => {
                map.insert("from".to_owned(), instant(&self.begin));
                map.insert("to".to_owned(), instant(&self.end));
            }
        }
        map.insert("known_at".to_owned(), self.known_at.seq.into());
        map.insert("basis".to_owned(), self.evidence.to_json());
        map.insert("certainty".to_owned(), self.certainty().into());
        map.insert("columns".to_owned(), self.table.columns.to_vec().into());
        map.insert("rows".to_owned(), Value::Null);
        let mut totals = self.table.totals.clone();
        totals.insert("rows".to_owned(), self.table.rows.len().into());
        map.insert("totals".to_owned(), totals.into());
        map.insert("notes".to_owned(), self.table.notes.clone().into());
        map
    }

    /// The canonical form (RFC 8785) of what the hash is over.
    pub fn canonical(&self) -> Vec<u8> {
        // Their names are ASCII: this is the order of RFC 8785.
        let mut members: Vec<(String, Value)> = self.hashed().into_iter().collect();
        members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = Vec::new();
        let written = write_list((b'{', b'}'), members, &mut out, |(name, value), out| {
            write_string(&name, out);
            out.push(b':');
            match name.as_str() {
                // There may be many: no copy of them is made.
                "rows" => write_list((b'[', b']'), &self.table.rows, out, write_members),
                _ => write_value(&value, out),
            }
        });
        written.expect("no number here is out of reach of a double");
        out
    }

    /// The answer as JSON, with its id and hash.
    pub fn into_json(self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("id".to_owned(), self.id().into());
        map.extend(self.hashed());
        map.insert("hash".to_owned(), self.hash.to_string().into());
        // Takes the place that was left for them.
        map.insert("rows".to_owned(), self.table.rows.into_iter().map(Value::Object).collect());
        map
    }
}
