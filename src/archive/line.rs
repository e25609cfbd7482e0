//! Pack lines: the byte-exact text of one change or one piece of a state.
//!
//! Must never know: which collections or relations there are.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::trie;
use crate::canonical::{self, Json, Key, Value};
use crate::hash::Hash;

/// Targets that one link line holds at most; lines are filled to this.
pub const TARGETS_PER_LINE: usize = 512;

/// The content of an object as the archive holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Canonical JSON bytes.
    Canonical(Vec<u8>),
    /// Bytes that have no canonical form, as received.
    Raw(Vec<u8>),
    /// Content that was erased, or that is sealed and not opened: only its hash is known.
    Hidden(Hash),
}

impl Content {
    /// `C`: what the trie knows of it.
    pub fn hash(&self) -> Hash {
        match self {
            Content::Canonical(bytes) => Hash::of(bytes),
            Content::Raw(bytes) => trie::raw_content(bytes),
            Content::Hidden(hash) => *hash,
        }
    }
}

/// Link targets of one relation with their properties (canonical JSON, `None` for none).
pub type Targets = BTreeMap<Key, Option<Vec<u8>>>;

/// What a line says about its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// The content, replacing what was there.
    Put(Content),
    /// The key is gone, with its content and outgoing links.
    Remove,
    /// Links of a relation added, or given other properties.
    Add(String, Targets),
    /// Links of a relation removed.
    Drop(String, Vec<Key>),
    /// Something happened.
    Event(Content),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub key: Key,
    /// What it says.
    pub statement: Statement,
    /// The capture at which the value was last read, where that isn't the one just before.
    pub q: Option<u64>,
}

/// A line that isn't spelled as the format has it.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum InvalidLine {
    /// Not one of the forms, or not spelled canonically.
    #[error("not a pack line")]
    Form,
    /// A key in it isn't spelled as a key.
    #[error(transparent)]
    Key(#[from] canonical::InvalidKey),
}

impl Line {
    /// Appends the line with its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_head(&self.key, out);
        match &self.statement {
            Statement::Put(content) => write_content(content, b",\"c\":", out),
            Statement::Event(content) => write_content(content, b",\"e\":", out),
            Statement::Remove => out.extend_from_slice(b",\"x\":1"),
            Statement::Add(relation, targets) => {
                write_relation(relation, out);
                write_targets(b",\"+\":[", targets.keys(), out);
                write_properties(targets, out);
            }
            Statement::Drop(relation, targets) => {
                write_relation(relation, out);
                write_targets(b",\"-\":[", targets.iter(), out);
            }
        }
        if let Some(q) = self.q {
            out.extend_from_slice(format!(",\"q\":{q}").as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }

    /// Reads a line without its line feed, and accepts exactly what [`Line::write`] writes (and sealed lines).
    ///
    /// # Errors
    /// [`InvalidLine`].
    pub fn parse(bytes: &[u8]) -> Result<Line, InvalidLine> {
        let line = Line::read(bytes)?;
        let mut written = Vec::with_capacity(bytes.len() + 1);
        line.write(&mut written);
        if matches!(&line.statement, Statement::Add(_, targets) if targets.len() > TARGETS_PER_LINE)
            || matches!(&line.statement, Statement::Drop(_, targets) if targets.len() > TARGETS_PER_LINE)
        {
            return Err(InvalidLine::Form);
        }
        let canonical = match &line.statement {
            Statement::Put(Content::Canonical(c)) | Statement::Event(Content::Canonical(c)) => {
                canonical::is_canonical(c)
            }
            Statement::Put(Content::Hidden(_)) => return Ok(line),
            Statement::Drop(_, targets) => targets.is_sorted_by(|a, b| a < b),
            Statement::Add(_, targets) => targets.values().flatten().all(|p| is_properties(p)),
            _ => true,
        };
        (canonical && written.strip_suffix(b"\n") == Some(bytes)).then_some(line).ok_or(InvalidLine::Form)
    }

    /// Reads a line without checking that it is spelled canonically: for packs whose hash was checked.
    ///
    /// # Errors
    /// [`InvalidLine`].
    pub fn read(bytes: &[u8]) -> Result<Line, InvalidLine> {
        if let Some(line) = read_put(bytes) {
            return line;
        }
        let json = canonical::parse(bytes).map_err(|_| InvalidLine::Form)?;
        let key: Key = json.text("k").ok_or(InvalidLine::Form)?.parse()?;
        let statement = read_statement(&json).ok_or(InvalidLine::Form)??;
        let q = match json.get("q") {
            Some(q) => Some(read_number(q).ok_or(InvalidLine::Form)?),
            None => None,
        };
        Ok(Line { key, statement, q })
    }

    /// The key and the canonical content of a put line, and the capture at which it was last read, all within the line; `None`
    /// for every other line, and for one that isn't spelled as [`Line::write`] does.
    pub fn read_content(bytes: &[u8]) -> Option<(&str, &[u8], Option<u64>)> {
        let rest = bytes.strip_prefix(b"{\"k\":\"")?;
        let end = rest.iter().position(|&b| b == b'"')?;
        let content = rest[end + 1..].strip_prefix(b",\"c\":")?.strip_suffix(b"}")?;
        let (content, q) = split_q(content);
        Some((std::str::from_utf8(&rest[..end]).ok()?, content, q))
    }

    /// The text of a line's key, which needs no escapes: nothing after it is looked at.
    ///
    /// # Errors
    /// [`InvalidLine::Form`] where the line doesn't begin with one.
    pub fn read_key(bytes: &[u8]) -> Result<&str, InvalidLine> {
        let rest = bytes.strip_prefix(b"{\"k\":\"").ok_or(InvalidLine::Form)?;
        let end = rest.iter().position(|&b| b == b'"').ok_or(InvalidLine::Form)?;
        std::str::from_utf8(&rest[..end]).map_err(|_| InvalidLine::Form)
    }

    /// Where the line stands in a pack: by key, content before links, by relation, added before removed, first target.
    pub fn compare(&self, other: &Line) -> Ordering {
        self.rank().cmp(&other.rank())
    }

    fn rank(&self) -> (&Key, u8, &[u8], u8, Option<&Key>) {
        match &self.statement {
            Statement::Add(relation, targets) => (&self.key, 1, relation.as_bytes(), 0, targets.keys().next()),
            Statement::Drop(relation, targets) => (&self.key, 1, relation.as_bytes(), 1, targets.first()),
            _ => (&self.key, 0, b"", 0, None),
        }
    }
}

/// The key and content of a put line, found without reading the content: most bytes of an archive are such lines, and
/// a key needs no escapes.
fn read_put(bytes: &[u8]) -> Option<Result<Line, InvalidLine>> {
    let (key, content, q) = Line::read_content(bytes)?;
    Some(match key.parse() {
        Ok(key) => Ok(Line { key, statement: Statement::Put(Content::Canonical(content.to_vec())), q }),
        Err(error) => Err(InvalidLine::Key(error)),
    })
}

/// Splits a trailing `,"q":N` off. No JSON value ends with those bytes: after a number or string they could only stand
/// inside an object, which ends with a brace.
fn split_q(content: &[u8]) -> (&[u8], Option<u64>) {
    let digits = content.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (head, tail) = content.split_at(content.len() - digits);
    match (head.strip_suffix(b",\"q\":"), std::str::from_utf8(tail).ok().and_then(|tail| tail.parse().ok())) {
        (Some(content), Some(q)) => (content, Some(q)),
        _ => (content, None),
    }
}

/// Canonical and saying something: empty or null properties are none and are left out.
fn is_properties(bytes: &[u8]) -> bool {
    canonical::is_canonical(bytes) && bytes != b"null" && bytes != b"{}"
}

fn read_number(json: &Json<'_>) -> Option<u64> {
    match json.value {
        Value::Number(number) => number.parse().ok(),
        _ => None,
    }
}

fn read_statement(json: &Json<'_>) -> Option<Result<Statement, InvalidLine>> {
    let encoded = json.text("enc");
    let raw = || STANDARD.decode(json.text("b")?).ok();
    if let Some(relation) = json.get("r") {
        return Some(read_links(json, relation.as_str()?));
    }
    if json.get("x").is_some() {
        return Some(Ok(Statement::Remove));
    }
    if let Some(event) = json.get("e") {
        let content = match encoded {
            Some("raw") => Content::Raw(raw()?),
            Some(_) => return None,
            None => Content::Canonical(event.source.to_vec()),
        };
        return Some(Ok(Statement::Event(content)));
    }
    if let Some(content) = json.get("c") {
        return Some(Ok(Statement::Put(Content::Canonical(content.source.to_vec()))));
    }
    let content = match encoded {
        Some("raw") => Content::Raw(raw()?),
        // Sealed (section 9) or erased: the line itself says what the trie holds.
        Some("1") | None => Content::Hidden(json.text("v")?.parse().ok()?),
        Some(_) => return None,
    };
    Some(Ok(Statement::Put(content)))
}

fn read_links(json: &Json<'_>, relation: &str) -> Result<Statement, InvalidLine> {
    let keys = |sign: &str| -> Option<Result<Vec<Key>, InvalidLine>> {
        let elements = json.get(sign)?.elements()?;
        Some(elements.iter().map(|e| Ok(e.as_str().ok_or(InvalidLine::Form)?.parse()?)).collect())
    };
    match (keys("+"), keys("-")) {
        (Some(added), None) => {
            let mut targets: Targets = added?.into_iter().map(|target| (target, None)).collect();
            for (name, properties) in json.get("p").and_then(Json::members).unwrap_or_default() {
                let target: Key = name.as_str().ok_or(InvalidLine::Form)?.parse()?;
                *targets.get_mut(&target).ok_or(InvalidLine::Form)? = Some(properties.source.to_vec());
            }
            Ok(Statement::Add(relation.to_owned(), targets))
        }
        (None, Some(removed)) => Ok(Statement::Drop(relation.to_owned(), removed?)),
        _ => Err(InvalidLine::Form),
    }
}

fn write_head(key: &Key, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"k\":\"");
    out.extend_from_slice(key.as_str().as_bytes());
    out.push(b'"');
}

fn write_content(content: &Content, member: &[u8], out: &mut Vec<u8>) {
    let is_event = member == b",\"e\":";
    match content {
        Content::Canonical(bytes) => {
            out.extend_from_slice(member);
            out.extend_from_slice(bytes);
        }
        Content::Raw(bytes) => {
            if is_event {
                out.extend_from_slice(b",\"e\":1");
            }
            out.extend_from_slice(b",\"enc\":\"raw\",\"b\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
        Content::Hidden(hash) => {
            out.extend_from_slice(format!(",\"v\":\"{hash}\"").as_bytes());
        }
    }
}

fn write_relation(relation: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"r\":");
    canonical::write_string(relation, out);
}

fn write_targets<'a>(start: &[u8], targets: impl Iterator<Item = &'a Key>, out: &mut Vec<u8>) {
    out.extend_from_slice(start);
    for (index, target) in targets.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(target.as_str().as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

fn write_properties(targets: &Targets, out: &mut Vec<u8>) {
    let mut first = true;
    for (target, properties) in targets {
        let Some(properties) = properties else { continue };
        out.extend_from_slice(if first { b",\"p\":{\"" } else { b",\"" });
        first = false;
        out.extend_from_slice(target.as_str().as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(properties);
    }
    if !first {
        out.push(b'}');
    }
}

/// Everything that one capture says about one key, from which its lines are written in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The content line, with its `q`.
    pub content: Option<(ContentChange, Option<u64>)>,
    /// By relation: targets added or given other properties, and removed, each with its `q`.
    pub links: BTreeMap<String, LinkChange>,
}

/// What happens to the content of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentChange {
    /// Replaced.
    Put(Content),
    /// Gone with all links.
    Remove,
    /// Not content but an event.
    Event(Content),
}

/// What happens to the links of one relation of one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkChange {
    /// Targets added, with properties and `q`.
    pub added: BTreeMap<Key, (Option<Vec<u8>>, Option<u64>)>,
    /// Targets removed, with `q`.
    pub removed: BTreeMap<Key, Option<u64>>,
}

impl Change {
    /// Appends the lines of this change to `key`, in the format's order, link lines filled to [`TARGETS_PER_LINE`].
    pub fn write(&self, key: &Key, out: &mut Vec<u8>) {
        if let Some((content, q)) = &self.content {
            let statement = match content {
                ContentChange::Put(content) => Statement::Put(content.clone()),
                ContentChange::Remove => Statement::Remove,
                ContentChange::Event(content) => Statement::Event(content.clone()),
            };
            Line { key: key.clone(), statement, q: *q }.write(out);
        }
        for (relation, change) in &self.links {
            for (targets, q) in grouped(change.added.iter().map(|(key, (properties, q))| ((key, properties), *q))) {
                let targets = targets.into_iter().map(|(key, properties)| (key.clone(), properties.clone())).collect();
                Line { key: key.clone(), statement: Statement::Add(relation.clone(), targets), q }.write(out);
            }
            for (targets, q) in grouped(change.removed.iter().map(|(key, q)| (key, *q))) {
                let targets = targets.into_iter().cloned().collect();
                Line { key: key.clone(), statement: Statement::Drop(relation.clone(), targets), q }.write(out);
            }
        }
    }
}

/// Sorted targets cut into lines: filled per `q`, the lines ordered by their first target.
fn grouped<T>(targets: impl Iterator<Item = (T, Option<u64>)>) -> Vec<(Vec<T>, Option<u64>)> {
    let mut lines: Vec<(usize, Vec<T>, Option<u64>)> = Vec::new();
    let mut open: BTreeMap<Option<u64>, usize> = BTreeMap::new();
    for (position, (target, q)) in targets.enumerate() {
        match open.get(&q) {
            Some(&line) if lines[line].1.len() < TARGETS_PER_LINE => lines[line].1.push(target),
            _ => {
                open.insert(q, lines.len());
                lines.push((position, vec![target], q));
            }
        }
    }
    lines.sort_by_key(|(position, ..)| *position);
    lines.into_iter().map(|(_, targets, q)| (targets, q)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_round_trips_and_is_told_from_its_neighbours() {
        let v = "ab".repeat(32);
        for text in [
            r#"{"k":"user/a","c":{"id":"a"}}"#.to_owned(),
            r#"{"k":"user/a","c":{"id":"a"},"q":12}"#.to_owned(),
            r#"{"k":"user/a","c":{"q":12}}"#.to_owned(),
            r#"{"k":"user/a","c":{"a":1,"q":12}}"#.to_owned(),
            r#"{"k":"user/a","c":12}"#.to_owned(),
            r#"{"k":"user/a","enc":"raw","b":"e30="}"#.to_owned(),
            format!(r#"{{"k":"user/a","v":"{v}"}}"#),
            format!(r#"{{"k":"user/a","enc":"1","v":"{v}","kid":"x","n":"x","ct":"x"}}"#),
            r#"{"k":"user/a","x":1}"#.to_owned(),
            r#"{"k":"user/a","x":1,"q":3}"#.to_owned(),
            r#"{"k":"group/g","r":"members","+":["user/a","user/b"],"p":{"user/b":{"x":1}},"q":3}"#.to_owned(),
            r#"{"k":"group/g","r":"a \"b\"","-":["user/a"]}"#.to_owned(),
            r#"{"k":"audit/a","e":{"id":"a"}}"#.to_owned(),
            r#"{"k":"audit/a","e":1,"enc":"raw","b":"e30="}"#.to_owned(),
        ] {
            let line = Line::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
            let mut out = Vec::new();
            line.write(&mut out);
            if !text.contains("\"ct\"") {
                assert_eq!(String::from_utf8(out).unwrap(), format!("{text}\n"));
            }
        }
        let line = Line::parse(br#"{"k":"user/a","c":{"id":"a"},"q":12}"#).unwrap();
        assert_eq!(line.statement, Statement::Put(Content::Canonical(br#"{"id":"a"}"#.to_vec())));
        assert_eq!(line.q, Some(12));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            r#"{"k":"user/a"}"#,
            r#"{"k":"user/A B","c":1}"#,
            r#"{"k":"user/a","c":{"b":1,"a":2}}"#,
            r#"{"k":"user/a", "c":1}"#,
            r#"{"c":1,"k":"user/a"}"#,
            r#"{"k":"user/a","c":1,"q":01}"#,
            r#"{"k":"user/a","c":1,"z":1}"#,
            r#"{"k":"user/a","x":2}"#,
            r#"{"k":"group/g","r":"m","+":["user/b","user/a"]}"#,
            r#"{"k":"group/g","r":"m","+":["user/a","user/a"]}"#,
            r#"{"k":"group/g","r":"m","+":["user/a"],"p":{"user/b":1}}"#,
            r#"{"k":"group/g","r":"m","+":["user/a"],"p":{"user/a":{}}}"#,
            r#"{"k":"group/g","r":"m","-":["user/b","user/a"]}"#,
            r#"{"k":"group/g","r":"m"}"#,
            r#"{"k":"user/a","enc":"raw","b":"e30"}"#,
            "",
        ] {
            assert!(Line::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_are_filled_per_q_and_ordered_by_first_target() {
        let mut change = Change::default();
        let link = change.links.entry("members".to_owned()).or_default();
        for i in 0..1100 {
            link.added.insert(key(&format!("user/{i:04}")), (None, (i % 2 == 1).then_some(7)));
        }
        link.removed.insert(key("user/x"), None);
        let mut out = Vec::new();
        change.write(&key("group/g"), &mut out);
        let lines: Vec<Line> =
            out.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(|l| Line::parse(l).unwrap()).collect();
        let counts: Vec<_> = lines
            .iter()
            .map(|line| match &line.statement {
                Statement::Add(_, targets) => (targets.len(), line.q),
                Statement::Drop(_, targets) => (targets.len(), line.q),
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(counts, [(512, None), (512, Some(7)), (38, None), (38, Some(7)), (1, None)]);
        assert!(lines.windows(2).all(|pair| pair[0].compare(&pair[1]) == Ordering::Less));
    }
}
