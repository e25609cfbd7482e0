//! The parameters of a request: read by the table of operations, bounded, and nothing else taken.
//!
//! Must never know: how an operation is answered.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value};

use super::operations::{Kind, Operation, Place};
use super::problem::Problem;
use crate::answer::failure::Failure;
use crate::answer::request;
use crate::hash::Hash;
use crate::query::Moment;

/// Parameters of one request at most, and characters in one whose row says nothing else.
const MOST: usize = 32;
const LONGEST: usize = 512;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters {
    given: BTreeMap<String, String>,
    /// Those of an open operation that its row doesn't list.
    open: Vec<(String, String)>,
}

impl Parameters {
    /// Reads what stands in the path and in the query.
    pub fn read(
        operation: &Operation,
        path: impl Iterator<Item = (String, String)>,
        query: Option<&str>,
    ) -> Result<Parameters, Problem> {
        let mut parameters =
            Parameters { given: path.filter(|(name, _)| name != "tenant").collect(), open: Vec::new() };
        let mut url = Url::parse("http://h/").expect("that is an address");
        url.set_query(query.filter(|query| !query.is_empty()));
        for (count, (name, value)) in url.query_pairs().enumerate() {
            let (name, value) = (name.into_owned(), value.into_owned());
            if count >= MOST || name.len() > 64 || value.chars().count() > LONGEST {
                return Err(Problem::invalid("more parameters, or longer ones, than are taken"));
            }
            let is_known = operation.parameters.iter().any(|known| known.name == name && known.place != Place::Path);
            let is_twice =
                parameters.given.contains_key(&name) || parameters.open.iter().any(|(other, _)| *other == name);
            match (is_known, operation.is_open) {
                _ if is_twice => return Err(Problem::invalid(format!("{name:?} is given twice"))),
                (true, _) => {
                    let kind = operation.parameters.iter().find(|known| known.name == name).map(|known| known.kind);
                    let value = if kind == Some(Kind::Time) { with_plus(value) } else { value };
                    parameters.given.insert(name, value);
                }
                (false, true) => parameters.open.push((name, value)),
                (false, false) => {
                    let known: Vec<&str> = operation.parameters.iter().map(|known| known.name).collect();
                    let problem = Problem::invalid(format!("there is no parameter {name:?}"));
                    return Err(problem.hint(match known.is_empty() {
                        true => "this operation has none".to_owned(),
                        false => format!("this operation has {}", known.join(", ")),
                    }));
                }
            }
        }
        for row in operation.parameters {
            match parameters.given.get(row.name) {
                Some(value) => check(row.name, row.kind, value)?,
                None if row.place == Place::Optional => {}
                None => return Err(Problem::invalid(format!("{} is missing", row.name)).hint(row.description)),
            }
        }
        Ok(parameters)
    }

    /// A parameter as it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// One that has to be there.
    pub fn needed(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// Whether a flag was given as true.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// A time; the head if none was given.
    pub fn moment(&self, name: &str, now: Timestamp) -> Result<Moment, Failure> {
        request::moment(self.text(name), now)
    }

    /// Rows of a page.
    pub fn limit(&self) -> usize {
        self.text("limit").and_then(|text| text.parse().ok()).unwrap_or(100)
    }

    /// What an open operation was given besides.
    pub fn open(&self) -> &[(String, String)] {
        &self.open
    }

    /// Everything that was given, whether it is taken or not, for the own-use log: what is longer or more than may be, cut off.
    pub fn as_given(path: &[(String, String)], query: Option<&str>) -> Map<String, Value> {
        let cut = |text: &str| text.chars().take(LONGEST).collect::<String>();
        let mut url = Url::parse("http://h/").expect("that is an address");
        url.set_query(query.filter(|query| !query.is_empty()));
        let query = url.query_pairs().take(MOST).map(|(name, value)| (cut(&name), cut(&value).into()));
        let path = path.iter().map(|(name, value)| (cut(name), cut(value).into()));
        query.chain(path).collect()
    }

    /// Everything as it was asked, for the own-use log.
    pub fn as_asked(&self) -> Map<String, Value> {
        let open = self.open.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        self.given.iter().map(|(name, value)| (name.clone(), value.clone().into())).chain(open).collect()
    }

    /// What tells this request from another: everything but where its page begins.
    pub fn print(&self) -> Hash {
        let mut text = String::new();
        let given = self.given.iter().filter(|(name, _)| *name != "cursor");
        let open = self.open.iter().map(|(name, value)| (name, value));
        for (name, value) in given.chain(open) {
            text.push_str(&format!("{}:{name}={}:{value};", name.len(), value.len()));
        }
        Hash::of(text.as_bytes())
    }

    /// Where the page begins: the capture up to which the archive counts for all pages, and the place.
    pub fn cursor(&self) -> Result<Option<(u64, String)>, Problem> {
        let Some(text) = self.text("cursor") else { return Ok(None) };
        let wrong = || Problem::invalid("the cursor isn't one that a page of this request gave");
        let mut parts = text.splitn(4, '.');
        let (Some("c1"), Some(known), Some(print), Some(place)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let known = known.parse::<u32>().map_err(|_| wrong())?;
        let place = URL_SAFE_NO_PAD.decode(place).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match place.filter(|_| print == &self.print().to_string()[..16]) {
            Some(place) => Ok(Some((known.into(), place))),
            None => Err(wrong()),
        }
    }

    /// What leads to the page that begins at `place`, of the archive as known at `known`.
    pub fn next(&self, known: u64, place: &str) -> String {
        format!("c1.{known}.{}.{}", &self.print().to_string()[..16], URL_SAFE_NO_PAD.encode(place))
    }
}

/// A time in which the sign of an offset was meant: in a query that is written as it is, a plus is read as a blank.
fn with_plus(value: String) -> String {
    let Some((time, offset)) = value.rsplit_once(' ') else { return value };
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_offset = offset.split_once(':').is_some_and(|(hours, minutes)| digits(hours) && digits(minutes));
    let is_time = time.contains(['T', 't']) && time.ends_with(|last: char| last.is_ascii_digit());
    if is_offset && is_time { format!("{time}+{offset}") } else { value }
}

fn check(name: &str, kind: Kind, value: &str) -> Result<(), Problem> {
    let is_good = match kind {
        Kind::Text(most) => !value.trim().is_empty() && value.chars().count() <= most,
        Kind::Number(least, most, _) => value.parse().is_ok_and(|number: u64| (least..=most).contains(&number)),
        Kind::Flag => ["true", "false"].contains(&value),
        Kind::Word(words) => words.contains(&value),
        Kind::Collection => return request::collection(Some(value)).map_err(|failure| Problem::of(&failure)),
        Kind::Capture => return request::known_at(name, value).map(drop).map_err(|failure| Problem::of(&failure)),
        // The clock decides about times, and whoever gave a cursor about cursors.
        Kind::Time | Kind::Cursor => !value.is_empty(),
    };
    let expected = match kind {
        Kind::Text(most) => format!("text of up to {most} characters"),
        Kind::Number(least, most, _) => format!("a whole number from {least} to {most}"),
        Kind::Flag => "true or false".to_owned(),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        _ => "something".to_owned(),
    };
    match is_good {
        true => Ok(()),
        false => Err(Problem::invalid(format!("{name} is {value:?}, expected {expected}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::operations::{Name, OPERATIONS};

    fn read(name: Name, query: &str) -> Result<Parameters, String> {
        let operation = OPERATIONS.iter().find(|operation| operation.name == name).unwrap();
        Parameters::read(operation, std::iter::empty(), Some(query)).map_err(|problem| problem.detail)
    }

    #[test]
    fn only_what_the_table_lists_is_taken() {
        assert!(read(Name::Search, "text=a%20b&limit=3&collection=user").is_ok());
        for (query, expected) in [
            ("", "text is missing"),
            ("text=", "text is \"\", expected text of up to 256 characters"),
            ("text=a&text=b", "\"text\" is given twice"),
            ("text=a&x=1", "there is no parameter \"x\""),
            ("text=a&limit=0", "limit is \"0\", expected a whole number from 1 to 1000"),
            ("text=a&limit=1001", "limit is \"1001\", expected a whole number from 1 to 1000"),
            ("text=a&known_at=x", "known_at is \"x\", expected the number of a capture, as in #123"),
            ("text=a&collection=usr", "there is no collection \"usr\""),
        ] {
            assert_eq!(read(Name::Search, query).map(drop).unwrap_err(), expected, "{query}");
        }
        let many: String = (0..40).map(|n| format!("p{n}=1&")).collect();
        assert!(read(Name::Ask, &format!("{many}z=1")).is_err());
    }

    #[test]
    fn a_plus_that_became_a_blank_is_an_offset() {
        for (query, expected) in [
            ("at=2026-08-01T10:00:00+02:00", "2026-08-01T10:00:00+02:00"),
            ("at=2026-08-01T10:00:00%2B02:00", "2026-08-01T10:00:00+02:00"),
            ("at=2026-08-01+10:00", "2026-08-01 10:00"),
            ("at=3+days+ago", "3 days ago"),
        ] {
            assert_eq!(read(Name::Dump, query).unwrap().text("at"), Some(expected), "{query}");
        }
    }

    #[test]
    fn what_is_refused_is_kept_as_it_was_given() {
        let path = [("tenant".to_owned(), "t".to_owned()), ("name".to_owned(), "Adele".to_owned())];
        let given = Parameters::as_given(&path, Some(&format!("at=nonsense&x=1&y={}", "z".repeat(2000))));
        assert_eq!((&given["name"], &given["at"], &given["x"]), (&"Adele".into(), &"nonsense".into(), &"1".into()));
        assert_eq!(given["y"].as_str().unwrap().len(), LONGEST);
    }

    #[test]
    fn a_cursor_belongs_to_its_request() {
        let asked = read(Name::Search, "text=a&limit=2").unwrap();
        let next = asked.next(7, "user/1");
        let again = |query: &str| read(Name::Search, &format!("{query}&cursor={next}")).unwrap().cursor();
        assert_eq!(again("text=a&limit=2").ok(), Some(Some((7, "user/1".to_owned()))));
        assert!(again("text=b&limit=2").is_err());
        for other in ["x", "c1.7.00", "c1.x.00.AA", "c2.7.0000000000000000.AA"] {
            assert!(read(Name::Search, &format!("text=a&cursor={other}")).unwrap().cursor().is_err(), "{other}");
        }
    }
}
