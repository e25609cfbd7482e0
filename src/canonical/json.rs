//! A JSON reader that borrows from the body and keeps what stricter readers throw away: duplicate members, the
//! spelling of numbers, unpaired surrogates, and the exact source bytes of every value.
//!
//! Must never know: what canonical means.

use std::borrow::Cow;

/// Deepest nesting that is read. Graph's own bodies stay below 20; anything deeper than this is an attack or a fault.
pub const MAX_DEPTH: usize = 128;

/// A string of a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text<'a> {
    /// Decoded text.
    Sound(Cow<'a, str>),
    /// Text with an unpaired surrogate escape or bytes that are no UTF-8; holds the source between the quotes.
    Broken(&'a [u8]),
}

impl<'a> Text<'a> {
    /// The decoded text, or `None` where there is none.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Text::Sound(text) => Some(text),
            Text::Broken(_) => None,
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Sound(Cow::Borrowed(text))
    }
}

/// What a JSON value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, spelled as received.
    Number(&'a str),
    /// A string.
    String(Text<'a>),
    /// An array in the order received.
    Array(Vec<Json<'a>>),
    /// An object: members in the order received, duplicates kept.
    Object(Vec<(Text<'a>, Json<'a>)>),
}

/// A JSON value together with the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<'a> {
    /// The value's exact bytes in the document; empty for a value that was made here.
    pub source: &'a [u8],
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Json<'a> {
    /// An object that was made here, not read.
    pub fn object(members: Vec<(Text<'a>, Json<'a>)>) -> Self {
        Json { source: &[], value: Value::Object(members) }
    }

    /// The first member called `name` of an object; `None` for other values and absent members.
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.members()?.iter().find(|(n, _)| n.as_str() == Some(name)).map(|(_, value)| value)
    }

    /// The text of a member that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The members of an object.
    pub fn members(&self) -> Option<&[(Text<'a>, Json<'a>)]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn elements(&self) -> Option<&[Json<'a>]> {
        match &self.value {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Takes every member called `name` out of an object and returns the first.
    pub fn take(&mut self, name: &str) -> Option<Json<'a>> {
        let Value::Object(members) = &mut self.value else { return None };
        let mut taken = None;
        members.retain_mut(|(n, value)| {
            if n.as_str() != Some(name) {
                return true;
            }
            let value = std::mem::replace(value, Json { source: &[], value: Value::Null });
            taken.get_or_insert(value);
            false
        });
        taken
    }
}

/// Why bytes are no JSON document. Offsets are bytes from the start.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum ParseError {
    /// The bytes break the grammar of RFC 8259.
    #[error("no JSON at byte {0}")]
    Syntax(usize),
    /// The document ends inside a value.
    #[error("JSON ends too early, at byte {0}")]
    Truncated(usize),
    /// Nested more than [`MAX_DEPTH`] deep.
    #[error("JSON nests more than {MAX_DEPTH} deep at byte {0}")]
    TooDeep(usize),
}

/// Reads one JSON document. Memory is bounded by a small multiple of `bytes`, recursion by [`MAX_DEPTH`].
///
/// # Errors
/// [`ParseError`] where the bytes as a whole are no JSON. Broken strings, duplicate members and odd numbers are no
/// errors here: one bad element must not cost its page.
pub fn parse(bytes: &[u8]) -> Result<Json<'_>, ParseError> {
    let mut parser = Parser { bytes, at: 0 };
    parser.skip_space();
    let json = parser.value(0)?;
    parser.skip_space();
    if parser.at != bytes.len() {
        return Err(ParseError::Syntax(parser.at));
    }
    Ok(json)
}

/// The members of a document that is an object, each value as its bytes alone; `None` where [`parse`] gives no object. Of a large
/// object of which little is looked at, the rest needn't be built.
pub fn members(bytes: &[u8]) -> Option<Vec<(Text<'_>, &[u8])>> {
    let mut parser = Parser { bytes, at: 0 };
    parser.skip_space();
    let mut members = Vec::new();
    if parser.peek().ok()? != b'{' {
        return None;
    }
    parser
        .each_member(|parser, name| {
            let start = parser.at;
            parser.skip(1)?;
            members.push((name, &bytes[start..parser.at]));
            Ok(())
        })
        .ok()?;
    parser.skip_space();
    (parser.at == bytes.len()).then_some(members)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Result<u8, ParseError> {
        self.bytes.get(self.at).copied().ok_or(ParseError::Truncated(self.at))
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::TooDeep(self.at));
        }
        let start = self.at;
        let value = match self.peek()? {
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'"' => Value::String(self.string()?),
            b't' => self.word("true", Value::Bool(true))?,
            b'f' => self.word("false", Value::Bool(false))?,
            b'n' => self.word("null", Value::Null)?,
            b'-' | b'0'..=b'9' => Value::Number(self.number()?),
            _ => return Err(ParseError::Syntax(self.at)),
        };
        Ok(Json { source: &self.bytes[start..self.at], value })
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, ParseError> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else if word.as_bytes().starts_with(rest) {
            Err(ParseError::Truncated(self.bytes.len()))
        } else {
            Err(ParseError::Syntax(self.at))
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        let mut members = Vec::new();
        self.each_member(|parser, name| {
            members.push((name, parser.value(depth + 1)?));
            Ok(())
        })?;
        Ok(Value::Object(members))
    }

    /// Reads an object; `at` stands on its brace. `value` reads the value of a member.
    fn each_member(
        &mut self,
        mut value: impl FnMut(&mut Self, Text<'a>) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.at += 1;
        self.skip_space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.peek()? != b'"' {
                return Err(ParseError::Syntax(self.at));
            }
            let name = self.string()?;
            self.skip_space();
            if self.peek()? != b':' {
                return Err(ParseError::Syntax(self.at));
            }
            self.at += 1;
            self.skip_space();
            value(self, name)?;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(ParseError::Syntax(self.at)),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        let mut elements = Vec::new();
        self.each_element(|parser| {
            elements.push(parser.value(depth + 1)?);
            Ok(())
        })?;
        Ok(Value::Array(elements))
    }

    /// Reads an array; `at` stands on its bracket. `value` reads an element.
    fn each_element(&mut self, mut value: impl FnMut(&mut Self) -> Result<(), ParseError>) -> Result<(), ParseError> {
        self.at += 1;
        self.skip_space();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_space();
            value(self)?;
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(ParseError::Syntax(self.at)),
            }
        }
    }

    /// Reads a value as [`Parser::value`] does, and builds nothing.
    fn skip(&mut self, depth: usize) -> Result<(), ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::TooDeep(self.at));
        }
        match self.peek()? {
            b'{' => self.each_member(|parser, _| parser.skip(depth + 1)),
            b'[' => self.each_element(|parser| parser.skip(depth + 1)),
            b'"' => self.string().map(drop),
            b't' => self.word("true", Value::Null).map(drop),
            b'f' => self.word("false", Value::Null).map(drop),
            b'n' => self.word("null", Value::Null).map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => Err(ParseError::Syntax(self.at)),
        }
    }

    fn number(&mut self) -> Result<&'a str, ParseError> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return Err(ParseError::Syntax(self.at)),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(std::str::from_utf8(&self.bytes[start..self.at]).expect("digits and signs are ASCII"))
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        if !self.peek()?.is_ascii_digit() {
            return Err(ParseError::Syntax(self.at));
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a string; `at` stands on its opening quote. Only strings with escapes are copied.
    fn string(&mut self) -> Result<Text<'a>, ParseError> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            match self.bytes.get(at) {
                None => return Err(ParseError::Truncated(at)),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(0..=0x1f) => return Err(ParseError::Syntax(at)),
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        let source = &self.bytes[start..at];
        let Ok(text) = std::str::from_utf8(source) else { return Ok(Text::Broken(source)) };
        if !escaped {
            return Ok(Text::Sound(Cow::Borrowed(text)));
        }
        match unescape(text) {
            Ok(text) => Ok(Text::Sound(Cow::Owned(text))),
            Err(Unescape::Surrogate) => Ok(Text::Broken(source)),
            Err(Unescape::Syntax(offset)) => Err(ParseError::Syntax(start + offset)),
        }
    }
}

enum Unescape {
    Surrogate,
    Syntax(usize),
}

fn unescape(text: &str) -> Result<String, Unescape> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut plain = 0;
    let mut at = 0;
    let mut lone = false;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        out.push_str(&text[plain..at]);
        let simple = match bytes.get(at + 1) {
            Some(b'"') => Some('"'),
            Some(b'\\') => Some('\\'),
            Some(b'/') => Some('/'),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            Some(b'u') => None,
            _ => return Err(Unescape::Syntax(at)),
        };
        if let Some(simple) = simple {
            out.push(simple);
            at += 2;
        } else {
            let unit = hex_unit(bytes, at + 2).ok_or(Unescape::Syntax(at))?;
            at += 6;
            match unit {
                0xd800..=0xdbff => {
                    let low = if bytes[at..].starts_with(b"\\u") {
                        Some(hex_unit(bytes, at + 2).ok_or(Unescape::Syntax(at))?)
                    } else {
                        None
                    };
                    match low {
                        Some(low @ 0xdc00..=0xdfff) => {
                            let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                            out.push(char::from_u32(code).expect("a surrogate pair denotes a scalar value"));
                            at += 6;
                        }
                        _ => lone = true,
                    }
                }
                0xdc00..=0xdfff => lone = true,
                _ => out.push(char::from_u32(unit).expect("not a surrogate")),
            }
        }
        plain = at;
    }
    if lone {
        return Err(Unescape::Surrogate);
    }
    out.push_str(&text[plain..]);
    Ok(out)
}

fn hex_unit(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |unit, &b| Some(unit * 16 + char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> Option<String> {
        parse(source.as_bytes()).unwrap().as_str().map(str::to_owned)
    }

    #[test]
    fn strings_are_decoded_and_broken_ones_kept() {
        assert_eq!(text(r#""a\u00e9\n\/\ud83d\ude00""#).unwrap(), "aé\n/😀");
        assert_eq!(text(r#""\ud83d""#), None);
        assert_eq!(text(r#""\ude00\ud83d""#), None);
        assert_eq!(text(r#""\ud83dA""#), None);
        assert_eq!(parse(b"\"\xff\"").unwrap().value, Value::String(Text::Broken(b"\xff")));
        assert_eq!(parse(br#""\x""#), Err(ParseError::Syntax(1)));
        assert_eq!(parse(br#""\u12""#), Err(ParseError::Syntax(1)));
        assert_eq!(parse(br#""\"#), Err(ParseError::Truncated(3)));
        assert_eq!(parse(b"\"a\nb\""), Err(ParseError::Syntax(2)));
    }

    #[test]
    fn every_value_knows_its_source_and_duplicates_are_kept() {
        let body = br#" {"value": [ {"id":"a" , "id":"b"}, 1.50 ] } "#;
        let json = parse(body).unwrap();
        let elements = json.get("value").unwrap().elements().unwrap();
        assert_eq!(elements[0].source, br#"{"id":"a" , "id":"b"}"#);
        assert_eq!(elements[0].members().unwrap().len(), 2);
        assert_eq!(elements[1].value, Value::Number("1.50"));
    }

    #[test]
    fn bad_documents_are_refused() {
        for (source, error) in [
            ("", ParseError::Truncated(0)),
            ("{", ParseError::Truncated(1)),
            ("{\"a\":1", ParseError::Truncated(6)),
            ("tru", ParseError::Truncated(3)),
            ("trux", ParseError::Syntax(0)),
            ("[1,]", ParseError::Syntax(3)),
            ("01", ParseError::Syntax(1)),
            ("1 2", ParseError::Syntax(2)),
            ("-", ParseError::Truncated(1)),
            ("1.", ParseError::Truncated(2)),
            ("{a:1}", ParseError::Syntax(1)),
        ] {
            assert_eq!(parse(source.as_bytes()), Err(error), "{source}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err(ParseError::TooDeep(_))));
    }

    #[test]
    fn take_removes_every_member_of_that_name() {
        let mut json = parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(json.take("a").unwrap().value, Value::Number("1"));
        assert!(json.get("a").is_none() && json.get("b").is_some());
    }
}
