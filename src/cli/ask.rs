//! `tenure ask`: a named question, with its answer as a table, JSON or CSV.
//!
//! Must never know: how a question is answered.

use serde_json::{Value, json};

use super::failure::{Ended, Failure, Kind};
use super::render;
use super::session::Session;
use crate::answer::questions::{described, kind};
use crate::query::questions::{self, Ability, Answer, CATALOGUE, Question, Span, Times};

/// Arguments of `tenure ask`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The question, by name or number; `tenure ask --list` names them all
    #[arg(required_unless_present = "list")]
    question: Option<String>,
    /// Its parameters, as in role="Global Administrator"; objects by key, id or a name that they had then
    #[arg(value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// As of this time [default: the newest capture]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    at: Option<String>,
    /// From this time on, where the question is about a period
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until this time [default: the newest capture]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Answer as the archive knew when this capture was its newest
    #[arg(long, value_name = "#N")]
    known_at: Option<String>,
    /// Print CSV, after lines with # that say what is answered and what it rests on
    #[arg(long)]
    csv: bool,
    /// Compare with the hash of an answer that was given before: another one is a finding
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    /// List the questions
    #[arg(long)]
    list: bool,
    /// Describe the question: what the answer holds, parameters, what it rests on
    #[arg(long)]
    describe: bool,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let Some(name) = arguments.question.as_deref().filter(|_| !arguments.list) else {
        return list(session);
    };
    let question = questions::find(name).map_err(crate::query::QueryError::from)?;
    if arguments.describe {
        return describe(session, question);
    }
    let parameters = arguments.parameters.iter().map(|text| split(text)).collect::<Result<Vec<_>, _>>()?;
    let moment = |text: &Option<String>| text.as_deref().map(|text| session.moment(Some(text))).transpose();
    let times = Times { at: moment(&arguments.at)?, from: moment(&arguments.from)?, to: moment(&arguments.to)? };
    let mut asked_for: Vec<(&str, Option<&str>)> =
        parameters.iter().map(|(name, value)| (name.as_str(), Some(value.as_str()))).collect();
    asked_for.extend([
        ("question", Some(question.name)),
        ("at", arguments.at.as_deref()),
        ("from", arguments.from.as_deref()),
        ("to", arguments.to.as_deref()),
        ("known_at", arguments.known_at.as_deref()),
    ]);
    let archive = session.archive("ask", &asked_for).await?;
    let answer = questions::ask(&archive, question, &parameters, &times, session.now()).await?;
    session.gate.answer(answer.hash);
    let expected = arguments.expect.as_deref().map(|hash| hash.trim().to_lowercase());
    let differs = expected.as_ref().is_some_and(|hash| *hash != answer.hash.to_string());
    let unknown = answer.begin.capture.unknown || answer.end.capture.unknown;
    let (hash, is_incomplete) = (answer.hash, answer.is_incomplete());
    if session.globals.json {
        let mut json = answer.into_json();
        json.insert("asked".to_owned(), asked(session));
        session.console.line(Value::Object(json))?;
    } else if arguments.csv {
        print_csv(session, &answer)?;
    } else {
        print_table(session, &answer)?;
    }
    if differs {
        session.warn(&format!("the answer's hash is {hash}, expected {}", expected.unwrap_or_default()));
        return Ok(Ended::Finding);
    }
    Ok(match () {
        () if unknown => Ended::Finding,
        () if is_incomplete => Ended::Incomplete,
        () => Ended::Done,
    })
}

fn split(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::new(Kind::Usage, format!("{text:?} is no parameter, expected name=value"))
            .hint("put a value with spaces in quotes: role=\"Global Administrator\"")
    })?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Who asked, when, and with which build: beside the answer, so that its hash is the same for ever.
fn asked(session: &Session<'_>) -> Value {
    json!({"time": session.now().to_string(), "tool": format!("tenure {}", env!("CARGO_PKG_VERSION"))})
}

fn list(session: &mut Session<'_>) -> Result<Ended, Failure> {
    if session.globals.json {
        for question in CATALOGUE {
            session.console.line(Value::Object(described(question)))?;
        }
        return Ok(Ended::Done);
    }
    let rows = CATALOGUE.iter().map(|question| {
        let ability = match question.ability {
            Ability::Answered(_) => span(question.span),
            Ability::Missing(_) => "not yet",
        };
        vec![question.number.to_string(), question.name.to_owned(), ability.to_owned(), question.title.to_owned()]
    });
    let table = render::table(&["no", "name", "about", "question"], rows.collect(), &[0]);
    session.console.line(table)?;
    session.console.line("")?;
    session.console.line(
        session
            .paint()
            .dim("`tenure ask NAME --describe` tells parameters, and what is missing of what can't be answered yet"),
    )?;
    Ok(Ended::Done)
}

fn span(span: Span) -> &'static str {
    match span {
        Span::Instant => "a time",
        Span::Period => "a period",
    }
}

fn describe(session: &mut Session<'_>, question: &'static Question) -> Result<Ended, Failure> {
    if session.globals.json {
        session.console.line(Value::Object(described(question)))?;
        return Ok(Ended::Done);
    }
    let mut lines = vec![
        format!("{}. {}  {}", question.number, session.paint().bold(question.name), question.title),
        String::new(),
        question.description.to_owned(),
        String::new(),
        match question.span {
            Span::Instant => "asked about a time: --at".to_owned(),
            Span::Period => "asked about a period: --from and --to".to_owned(),
        },
    ];
    for parameter in question.parameters {
        let default = match parameter.default {
            None => " (has to be given)".to_owned(),
            Some("") => String::new(),
            Some(default) => format!(" [default: {default}]"),
        };
        let kind = kind(parameter.kind);
        lines.push(format!("  {}=…  {}{default}\n      {kind}", parameter.name, parameter.description));
    }
    lines.push(format!("rests on: {}", question.needs.join(", ")));
    if let Ability::Missing(missing) = question.ability {
        lines.push(session.paint().yellow(format!("can't be answered yet: {missing}")));
    }
    session.console.line(lines.join("\n"))?;
    Ok(Ended::Done)
}

fn print_table(session: &mut Session<'_>, answer: &Answer) -> Result<(), Failure> {
    let paint = session.paint();
    session.console.line(paint.bold(answer.question.title))?;
    session.console.line("")?;
    let columns = answer.table.columns;
    if answer.table.rows.is_empty() {
        let text = match answer.is_incomplete() {
            true => "no row; not everything that matters was seen, so that nothing follows from that",
            false => "nobody and nothing",
        };
        session.console.line(text)?;
    } else {
        let rows = answer.table.rows.iter().map(|row| {
            let cells = columns.iter().map(|column| match *column {
                // Nobody looked before.
                "since" if row.get("since_after") == Some(&Value::Null) => format!("≤ {}", cell(row.get("since"))),
                column => cell(row.get(column)),
            });
            cells.collect()
        });
        let header: Vec<String> = columns.iter().map(|column| column.replace('_', " ")).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let table = render::table(&header, rows.collect(), &[]);
        session.console.line(table)?;
    }
    session.console.line("")?;
    for (name, value) in answer.table.totals.iter().filter(|(_, value)| !cell(Some(value)).is_empty()) {
        session.console.line(format!("{}: {}", name.replace('_', " "), cell(Some(value))))?;
    }
    for note in &answer.table.notes {
        session.console.line(format!("note: {note}"))?;
    }
    session.console.line(paint.dim(basis(answer)))?;
    session.console.line(paint.dim(format!("answer {}; hash {}", answer.id(), answer.hash)))?;
    Ok(())
}

/// A value for people: times without `T` and fractions, maps as `name value`.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(time) if text.ends_with('Z') => render::time(time).trim_end_matches(" UTC").to_owned(),
            _ => text.clone(),
        },
        Some(Value::Object(map)) => {
            let parts: Vec<String> = map.iter().map(|(name, value)| format!("{name} {}", cell(Some(value)))).collect();
            parts.join(", ")
        }
        Some(Value::Array(values)) => values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

fn basis(answer: &Answer) -> String {
    let (begin, end) = (&answer.begin, &answer.end);
    let mut parts = vec![match answer.question.span {
        Span::Instant => format!("basis: capture {}", render::capture(&end.capture)),
        Span::Period => {
            format!("basis: captures {} to {}", render::capture(&begin.capture), render::capture(&end.capture))
        }
    }];
    if let Some(asked) = end.asked {
        let from = begin
            .asked
            .filter(|from| *from != asked)
            .map_or(String::new(), |from| format!("{} to ", render::time(from)));
        parts.push(format!("asked for {from}{}", render::time(asked)));
    }
    parts.push(format!("known at #{}", answer.known_at.seq));
    let missing: Vec<String> = answer
        .evidence
        .seen
        .iter()
        .filter(|seen| !seen.is_complete)
        .map(|seen| {
            let status = seen.sights.last().and_then(|sight| Some((sight.status?.as_str(), sight.code.clone())));
            let word = match status {
                Some((word, Some(code))) => format!("{word} ({code})"),
                Some((word, None)) => word.to_owned(),
                None => "never read".to_owned(),
            };
            format!("{} {word}", seen.name())
        })
        .collect();
    for (from, to) in &answer.evidence.outages {
        parts.push(format!("nothing was captured between {} and {}", render::time(*from), render::time(*to)));
    }
    if answer.end.is_late() {
        parts.push("nothing was captured since".to_owned());
    }
    match missing.is_empty() {
        true if answer.evidence.is_complete => parts.push("coverage complete".to_owned()),
        true => parts.push("not complete".to_owned()),
        false => parts.push(format!("not complete: {}", missing.join(", "))),
    }
    parts.join("; ")
}

fn print_csv(session: &mut Session<'_>, answer: &Answer) -> Result<(), Failure> {
    let mut header = vec![
        format!("question: {} ({}), version {}", answer.question.name, answer.question.title, answer.question.version),
        format!("parameters: {}", Value::Object(answer.parameters.clone())),
        basis(answer),
    ];
    for (name, value) in &answer.table.totals {
        header.push(format!("{name}: {}", cell(Some(value))));
    }
    header.extend(answer.table.notes.iter().map(|note| format!("note: {note}")));
    header.push(format!("certainty: {}; rows: {}", answer.certainty(), answer.table.rows.len()));
    header.push(format!("answer: {}; hash: {}", answer.id(), answer.hash));
    header.push(format!("asked: {}", asked(session)));
    for line in header {
        session.console.line(format!("# {}", line.replace(['\r', '\n'], " ")))?;
    }
    let mut columns: Vec<String> = answer.table.columns.iter().map(|column| (*column).to_owned()).collect();
    for row in &answer.table.rows {
        for name in row.keys() {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
    }
    session.console.line(columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(","))?;
    for row in &answer.table.rows {
        let cells = columns.iter().map(|column| match row.get(column) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => quoted(text),
            Some(other) => quoted(&other.to_string()),
        });
        session.console.line(cells.collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// A field as RFC 4180 has it. What a spreadsheet would take for a formula gets an apostrophe before it: names in a directory
/// are anybody's to choose.
fn quoted(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\n', '\r']) || text != text.trim() {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_csv_are_quoted_and_are_no_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            (" edge", "\" edge\""),
            ("=cmd()", "'=cmd()"),
            ("@x,y", "\"'@x,y\""),
            ("", ""),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_parameter_is_a_name_and_a_value() {
        assert_eq!(split("role = A=B ").unwrap(), ("role".to_owned(), "A=B".to_owned()));
        assert_eq!(split("role").unwrap_err().kind, Kind::Usage);
    }
}
