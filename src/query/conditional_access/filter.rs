//! Rules on devices: what `device.trustType -eq "ServerAD"` says of a device.
//!
//! Must never know: which policy asks.
//!
//! "Filter for devices" (learn.microsoft.com/entra/identity/conditional-access/concept-condition-filters-for-devices): of a device that
//! isn't registered every attribute is null, so that positive operators never fit and negative ones always do; extension attributes
//! count only of devices that are managed, compliant or hybrid joined. The language is that of dynamic groups
//! (learn.microsoft.com/entra/identity/users/groups-dynamic-membership): `-not` binds more than `-and`, that more than `-or`. What can't
//! be read, and attributes that aren't archived, make the answer depend.

use serde_json::Value;

use super::Truth;

/// A device, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Device {
    /// Which one isn't known.
    #[default]
    Unknown,
    /// One that isn't registered.
    Unregistered,
    /// One that is, as it was captured.
    Registered(Value),
}

/// Rules don't nest deeper; a bound is a bound.
const DEEPEST: usize = 64;

/// Whether a device fits a rule.
pub(super) fn fits(rule: &str, device: &Device) -> Truth {
    let Some(tokens) = tokens(rule) else { return Truth::Depends };
    let mut parser = Parser { tokens: &tokens, at: 0, device };
    match parser.any(0) {
        Some(truth) if parser.at == tokens.len() => truth,
        _ => Truth::Depends,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Text(String),
    List(Vec<String>),
    /// A name, an operator (with its hyphen) or a bare value.
    Word(String),
}

fn tokens(rule: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = rule.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '(' => (found.push(Token::Open), rest = &rest[1..]).1,
            ')' => (found.push(Token::Close), rest = &rest[1..]).1,
            '"' | '\'' => {
                let (text, after) = quoted(rest)?;
                found.push(Token::Text(text));
                rest = after;
            }
            '[' => {
                let mut list = Vec::new();
                rest = rest[1..].trim_start();
                while !rest.starts_with(']') {
                    let (text, after) = quoted(rest)?;
                    list.push(text);
                    rest = after.trim_start();
                    rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
                }
                found.push(Token::List(list));
                rest = &rest[1..];
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "()[]\"',".contains(c)).unwrap_or(rest.len());
                if end == 0 {
                    return None;
                }
                found.push(Token::Word(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
        rest = rest.trim_start();
    }
    Some(found)
}

/// A text in quotes, and what follows it.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let end = rest[1..].find(quote)? + 1;
    Some((rest[1..end].to_owned(), &rest[end + 1..]))
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    device: &'a Device,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Option<Truth> {
        let mut truth = self.all(depth)?;
        while self.takes("-or") {
            truth = truth.max(self.all(depth)?);
        }
        Some(truth)
    }

    fn all(&mut self, depth: usize) -> Option<Truth> {
        let mut truth = self.one(depth)?;
        while self.takes("-and") {
            truth = truth.min(self.one(depth)?);
        }
        Some(truth)
    }

    fn one(&mut self, depth: usize) -> Option<Truth> {
        if depth > DEEPEST {
            return None;
        }
        if self.takes("-not") {
            return Some(!self.one(depth + 1)?);
        }
        if self.tokens.get(self.at) == Some(&Token::Open) {
            self.at += 1;
            let truth = self.any(depth + 1)?;
            let closed = self.tokens.get(self.at) == Some(&Token::Close);
            self.at += 1;
            return closed.then_some(truth);
        }
        let [Token::Word(name), Token::Word(operator), value, ..] = self.tokens.get(self.at..)? else { return None };
        self.at += 3;
        let values = match value {
            Token::Text(text) | Token::Word(text) => vec![text.to_lowercase()],
            Token::List(list) => list.iter().map(|text| text.to_lowercase()).collect(),
            Token::Open | Token::Close => return None,
        };
        let is_null = matches!(value, Token::Word(word) if word.eq_ignore_ascii_case("null"));
        let name = name.to_lowercase();
        let attribute = self.device.attribute(name.strip_prefix("device.")?);
        compare(&attribute, &operator.to_lowercase(), &values, is_null)
    }

    fn takes(&mut self, word: &str) -> bool {
        let bare = word.trim_start_matches('-');
        let is_it = matches!(self.tokens.get(self.at), Some(Token::Word(own))
            if own.eq_ignore_ascii_case(word) || own.eq_ignore_ascii_case(bare));
        self.at += usize::from(is_it);
        is_it
    }
}

/// What is known of an attribute.
enum Attribute {
    Unknown,
    Null,
    One(String),
    Many(Vec<String>),
}

fn compare(attribute: &Attribute, operator: &str, values: &[String], is_null: bool) -> Option<Truth> {
    let operator = operator.trim_start_matches('-');
    let (operator, is_negative) = match operator {
        "ne" | "notequals" => ("eq", true),
        "equals" => ("eq", false),
        other => match other.strip_prefix("not") {
            Some(positive) => (positive, true),
            None => (other, false),
        },
    };
    // What isn't an operator says nothing, of a device without the attribute neither.
    if !["eq", "startswith", "endswith", "contains", "in"].contains(&operator) {
        return None;
    }
    let first = values.first().map_or("", String::as_str);
    let is_so = match attribute {
        Attribute::Unknown => return Some(Truth::Depends),
        Attribute::Null => operator == "eq" && is_null,
        Attribute::Many(own) => match operator {
            "contains" | "eq" => own.iter().any(|one| one == first),
            _ => return Some(Truth::Depends),
        },
        Attribute::One(own) => match operator {
            "eq" => !is_null && own == first,
            "startswith" => own.starts_with(first),
            "endswith" => own.ends_with(first),
            "contains" => own.contains(first),
            _ => values.contains(own),
        },
    };
    Some(Truth::from(is_so != is_negative))
}

impl Device {
    /// An attribute by the name that rules have for it, in small letters.
    fn attribute(&self, name: &str) -> Attribute {
        let content = match self {
            Device::Unknown => return Attribute::Unknown,
            Device::Unregistered => return Attribute::Null,
            Device::Registered(content) => content,
        };
        let extension = name.starts_with("extensionattribute");
        if extension && !is_told(content) {
            return Attribute::Unknown;
        }
        let place = if extension { &content["extensionAttributes"] } else { content };
        let own = place.as_object().into_iter().flatten().find(|(own, _)| own.eq_ignore_ascii_case(name));
        match own.map(|(_, value)| value) {
            None => Attribute::Unknown,
            Some(Value::Null) => Attribute::Null,
            Some(Value::Array(all)) => Attribute::Many(all.iter().map(text).collect()),
            Some(value) => Attribute::One(text(value)),
        }
    }
}

/// Whether a device is one of which extension attributes count.
fn is_told(content: &Value) -> bool {
    let joined = content["trustType"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("ServerAD"));
    joined || content["isCompliant"] == true || content["isManaged"] == true
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).to_lowercase()
}
