//! Two values in, what changed between them out: changed properties by their path, and changed links by relation.
//!
//! Must never know: where the states came from, or what a change means for anybody's access.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::canonical::{self, Json, Key, Text, Value, canonicalize};
use crate::model;

/// A property that differs. Values are canonical JSON text; `None` where the property isn't there at all, which is
/// something else than `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyChange {
    /// Member names joined by dots; a name that holds a dot itself is written as a JSON string, unless it is an
    /// annotation (`@odata.type`). Empty where the whole content is no object on either side.
    pub path: String,
    /// The value before.
    pub before: Option<String>,
    /// The value after.
    pub after: Option<String>,
    /// For a set-valued property with an array on both sides: what came and what went.
    pub elements: Option<Elements>,
}

/// Elements that came to a set-valued property and that went from it, each as canonical JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elements {
    /// Elements that are there more often after than before.
    pub added: Vec<String>,
    /// Elements that are there more often before than after.
    pub removed: Vec<String>,
}

/// Targets of a relation with their properties (canonical JSON bytes, empty for none).
pub type Links = BTreeMap<String, BTreeMap<Key, Vec<u8>>>;

/// What changed in the links of one relation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkChange {
    /// The relation.
    pub relation: String,
    /// Targets that came, with their properties where they have any.
    pub added: Vec<(Key, Option<String>)>,
    /// Targets that went.
    pub removed: Vec<Key>,
    /// Targets that stayed and got other properties: before and after.
    pub changed: Vec<(Key, Option<String>, Option<String>)>,
}

/// Whether an object came, went or stayed and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It wasn't there before.
    Added,
    /// It isn't there after.
    Removed,
    /// It is there on both sides.
    Changed,
}

impl Change {
    /// What `before` and `after`, which tell whether the object was there, come to; `None` where it never was.
    pub fn between(before: bool, after: bool) -> Option<Change> {
        match (before, after) {
            (false, true) => Some(Change::Added),
            (true, false) => Some(Change::Removed),
            (true, true) => Some(Change::Changed),
            (false, false) => None,
        }
    }

    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        }
    }
}

/// What changed from `before` to `after`, both the JSON text of an object's content, by path and sorted by it.
///
/// Members of objects are compared one by one at every depth, arrays as a whole. Content that is no JSON object, has two
/// members of one name, or is on one side only where the other is no object, is compared as one value with an empty
/// path. Text that is no JSON is shown as a JSON string.
pub fn content<'a>(before: Option<&'a [u8]>, after: Option<&'a [u8]>) -> Vec<PropertyChange> {
    let mut changes = Vec::new();
    // Of most objects that changed one or two members did: of the others the bytes are compared and nothing is built.
    let side = |bytes: Option<&'a [u8]>| bytes.map_or(Some(Vec::new()), by_name);
    if let (Some(old), Some(new)) = (side(before), side(after)) {
        compare_bytes(&old, &new, &mut changes);
    } else if before != after {
        let shown = |bytes: Option<&[u8]>| bytes.map(text_of);
        changes.push(PropertyChange {
            path: String::new(),
            before: shown(before),
            after: shown(after),
            elements: None,
        });
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

/// What changed from `before` to `after`, by relation and target.
pub fn links(before: &Links, after: &Links) -> Vec<LinkChange> {
    let empty = BTreeMap::new();
    let mut relations: Vec<&String> = before.keys().chain(after.keys()).collect();
    relations.sort();
    relations.dedup();
    let compare = |relation: &String| {
        let old = before.get(relation).unwrap_or(&empty);
        let new = after.get(relation).unwrap_or(&empty);
        let mut change = LinkChange { relation: relation.clone(), ..LinkChange::default() };
        for (target, properties) in new {
            match old.get(target) {
                None => change.added.push((target.clone(), properties_text(properties))),
                Some(held) if held != properties => {
                    change.changed.push((target.clone(), properties_text(held), properties_text(properties)));
                }
                Some(_) => {}
            }
        }
        change.removed = old.keys().filter(|target| !new.contains_key(target)).cloned().collect();
        change
    };
    relations.into_iter().map(compare).filter(|change| !change.is_empty()).collect()
}

impl LinkChange {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

fn properties_text(properties: &[u8]) -> Option<String> {
    (!properties.is_empty()).then(|| String::from_utf8_lossy(properties).into_owned())
}

/// The members of an object whose members can be told apart by name, sorted by it; `None` for anything else.
fn by_name(bytes: &[u8]) -> Option<Vec<(Cow<'_, str>, &[u8])>> {
    let mut members = Vec::new();
    for (name, value) in canonical::members(bytes)? {
        match name {
            Text::Sound(name) => members.push((name, value)),
            Text::Broken(_) => return None,
        }
    }
    if !members.is_sorted_by(|a, b| a.0 < b.0) {
        members.sort_unstable();
    }
    members.windows(2).all(|pair| pair[0].0 != pair[1].0).then_some(members)
}

/// As [`compare_members`], for members that were told apart and not read yet.
fn compare_bytes(before: &[(Cow<'_, str>, &[u8])], after: &[(Cow<'_, str>, &[u8])], out: &mut Vec<PropertyChange>) {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        let Some((name, _)) = was.or(is) else { return };
        if was.map(|member| member.1) == is.map(|member| member.1) {
            continue;
        }
        // What isn't read here was read as a part of the whole.
        let (was, is) = (was.and_then(|member| read(member.1)), is.and_then(|member| read(member.1)));
        compare_one(name, was.as_ref(), is.as_ref(), "", out);
    }
}

fn read(bytes: &[u8]) -> Option<Json<'_>> {
    canonical::parse(bytes).ok()
}

/// An object whose members can be told apart by name.
fn is_comparable(json: &Json<'_>) -> bool {
    let Some(members) = json.members() else { return false };
    let mut names: Vec<Option<&str>> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.iter().all(Option::is_some) && names.windows(2).all(|pair| pair[0] != pair[1])
}

fn compare_members(before: Option<&Json<'_>>, after: Option<&Json<'_>>, prefix: &str, out: &mut Vec<PropertyChange>) {
    let members = |json: Option<&Json<'_>>| json.and_then(|json| json.members().map(<[_]>::len)).unwrap_or(0);
    let mut names: Vec<&str> = Vec::with_capacity(members(before) + members(after));
    for json in [before, after].into_iter().flatten() {
        names.extend(json.members().unwrap_or_default().iter().filter_map(|(name, _)| name.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (old, new) = (before.and_then(|json| json.get(name)), after.and_then(|json| json.get(name)));
        compare_one(name, old, new, prefix, out);
    }
}

/// Compares the values of one member.
fn compare_one(
    name: &str,
    old: Option<&Json<'_>>,
    new: Option<&Json<'_>>,
    prefix: &str,
    out: &mut Vec<PropertyChange>,
) {
    let path = || if prefix.is_empty() { step(name) } else { format!("{prefix}.{}", step(name)) };
    match (old, new) {
        (Some(old), Some(new)) if old.source == new.source => {}
        (Some(old), Some(new)) if is_comparable(old) && is_comparable(new) => {
            compare_members(Some(old), Some(new), &path(), out);
        }
        _ => {
            let elements = match (old.and_then(Json::elements), new.and_then(Json::elements)) {
                (Some(old), Some(new)) if model::SETS.contains(&name) => Some(compare_sets(old, new)),
                _ => None,
            };
            let (before, after) = (old.map(value_text), new.map(value_text));
            out.push(PropertyChange { path: path(), before, after, elements });
        }
    }
}

fn compare_sets(before: &[Json<'_>], after: &[Json<'_>]) -> Elements {
    let mut counts: BTreeMap<&[u8], i64> = BTreeMap::new();
    for element in before {
        *counts.entry(element.source).or_default() -= 1;
    }
    for element in after {
        *counts.entry(element.source).or_default() += 1;
    }
    let mut elements = Elements::default();
    for (source, count) in counts {
        let text = String::from_utf8_lossy(source).into_owned();
        let side = if count > 0 { &mut elements.added } else { &mut elements.removed };
        side.extend(std::iter::repeat_n(text, count.unsigned_abs() as usize));
    }
    elements
}

fn step(name: &str) -> String {
    let plain = name.contains('@') || !name.contains(['.', '"']) && !name.is_empty();
    if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

/// The canonical text of a value, or its source where it has none.
fn value_text(json: &Json<'_>) -> String {
    let written = canonicalize(json, &canonical::Rules::default()).unwrap_or_else(|_| json.source.to_vec());
    String::from_utf8_lossy(&written).into_owned()
}

fn text_of(bytes: &[u8]) -> String {
    match canonical::parse(bytes) {
        Ok(Json { value: Value::Object(_) | Value::Array(_), .. }) => String::from_utf8_lossy(bytes).into_owned(),
        Ok(json) => value_text(&json),
        Err(_) => serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &[(&str, &str, &str)]) {
        let side = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        let (before, after) = (side(before), side(after));
        let changes = content(before.as_deref(), after.as_deref());
        let found: Vec<(&str, &str, &str)> = changes
            .iter()
            .map(|c| (c.path.as_str(), c.before.as_deref().unwrap_or("-"), c.after.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn members_are_compared_by_path_and_arrays_as_a_whole() {
        check(r#"{"a":1,"b":{"c":1,"d":2}}"#, r#"{"a":1,"b":{"c":2,"d":2}}"#, &[("b.c", "1", "2")]);
        check(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, &[("a", "[1,2]", "[2,1]")]);
        check(r#"{"a":null}"#, r#"{}"#, &[("a", "null", "-")]);
        check(r#"{"a":null}"#, r#"{"a":{"b":1}}"#, &[("a", "null", r#"{"b":1}"#)]);
        check(r#"{"a":1}"#, r#"{"a":1}"#, &[]);
        check(r#"{"@odata.type":"x","a.b":1}"#, "{}", &[("\"a.b\"", "1", "-"), ("@odata.type", "\"x\"", "-")]);
    }

    /// The members of an object are told apart without reading their values. On random objects, mutated and not, that comes to what
    /// comparing them as values does.
    #[test]
    fn bytes_tell_what_values_do() {
        let seed = std::env::var("TENURE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4711);
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let mut differing = 0;
        for _ in 0..20_000 {
            let mut sides = [dice.object(0), String::new()];
            sides[1] = if dice.below(4) == 0 { dice.object(0) } else { dice.mutated(&sides[0]) };
            if dice.below(8) == 0 {
                sides[0] = dice.mutated(&sides[0]);
            }
            let [before, after] = sides.each_ref().map(|side| side.as_bytes());
            let found = content(Some(before), Some(after));
            assert_eq!(found, by_value(before, after), "{sides:?}");
            differing += usize::from(!found.is_empty());
            for side in [before, after] {
                let (all, told) = (canonical::parse(side).ok(), canonical::members(side));
                let all = all.as_ref().and_then(Json::members);
                let all = all.map(|all| all.iter().map(|(name, json)| (name.clone(), json.source)).collect::<Vec<_>>());
                assert_eq!(all, told, "{sides:?}");
            }
        }
        assert!(differing > 5_000, "{differing}");
    }

    /// [`content`] on values that are built whole.
    fn by_value(before: &[u8], after: &[u8]) -> Vec<PropertyChange> {
        let mut changes = Vec::new();
        match (canonical::parse(before).ok(), canonical::parse(after).ok()) {
            (Some(old), Some(new)) if is_comparable(&old) && is_comparable(&new) => {
                compare_members(Some(&old), Some(&new), "", &mut changes);
            }
            _ if before != after => {
                let (before, after) = (Some(text_of(before)), Some(text_of(after)));
                changes.push(PropertyChange { path: String::new(), before, after, elements: None });
            }
            _ => {}
        }
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }

    /// Makes JSON, most of it sound (xorshift64).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }

        fn object(&mut self, depth: usize) -> String {
            const NAMES: [&str; 12] = [
                "a",
                "b",
                "c.d",
                "displayName",
                "é",
                "\u{1F600}",
                "\u{FFFF}",
                "\\u0061",
                "@odata.type",
                "groupTypes",
                "x\\n",
                "",
            ];
            let members = (0..self.below(6)).map(|_| {
                let name = NAMES[self.below(NAMES.len())];
                format!("\"{name}\":{}", self.value(depth + 1))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }

        fn value(&mut self, depth: usize) -> String {
            match self.below(if depth > 3 { 6 } else { 9 }) {
                0 => "null".to_owned(),
                1 => "true".to_owned(),
                2 => ["0", "-1.5e3", "10", "1e400", "9007199254740993"][self.below(5)].to_owned(),
                3 => "\"text\"".to_owned(),
                4 => "\"\\ud800\"".to_owned(),
                5 => "\"\\\"é\\u00e9{[\"".to_owned(),
                6 => format!("[{}]", (0..self.below(3)).map(|_| self.value(depth + 1)).collect::<Vec<_>>().join(", ")),
                _ => self.object(depth),
            }
        }

        /// One character gone, doubled or another.
        fn mutated(&mut self, text: &str) -> String {
            let mut all: Vec<char> = text.chars().collect();
            for _ in 0..self.below(3) {
                let at = self.below(all.len());
                match self.below(3) {
                    0 if all.len() > 1 => drop(all.remove(at)),
                    1 => all.insert(at, all[at]),
                    _ => all[at] = ['0', '1', '"', '{', 't', 'x', ','][self.below(7)],
                }
            }
            all.into_iter().collect()
        }
    }

    #[test]
    fn what_is_no_object_is_one_value() {
        check("", r#"{"a":1,"b":"x"}"#, &[("a", "-", "1"), ("b", "-", "\"x\"")]);
        check(r#"{"a":1}"#, "", &[("a", "1", "-")]);
        check(r#"{"a":1}"#, "7", &[("", r#"{"a":1}"#, "7")]);
        check(r#"{"a":1,"a":2}"#, r#"{"a":1}"#, &[("", r#"{"a":1,"a":2}"#, r#"{"a":1}"#)]);
        check("{", "{}", &[("", "\"{\"", "{}")]);
        check("{", "{", &[]);
    }

    #[test]
    fn sets_tell_their_elements() {
        let changes = content(Some(br#"{"tags":["a","b","b"]}"#), Some(br#"{"tags":["b","c"]}"#));
        let elements = changes[0].elements.clone().unwrap();
        assert_eq!((elements.added, elements.removed), (vec![r#""c""#.into()], vec![r#""a""#.into(), r#""b""#.into()]));
        assert_eq!(content(Some(br#"{"x":["a"]}"#), Some(br#"{"x":["b"]}"#))[0].elements, None);
    }

    #[test]
    fn links_come_go_and_change() {
        let links_of = |rows: &[(&str, &str)]| -> Links {
            let targets = rows.iter().map(|(k, p)| (k.parse().unwrap(), p.as_bytes().to_vec())).collect();
            [("members".to_owned(), targets)].into()
        };
        let before = links_of(&[("user/a", ""), ("user/b", "{\"x\":1}")]);
        let after = links_of(&[("user/b", "{\"x\":2}"), ("user/c", "")]);
        let change = links(&before, &after).remove(0);
        assert_eq!(change.added, [("user/c".parse().unwrap(), None)]);
        assert_eq!(change.removed, ["user/a".parse().unwrap()]);
        assert_eq!(change.changed, [("user/b".parse().unwrap(), Some("{\"x\":1}".into()), Some("{\"x\":2}".into()))]);
        assert!(links(&before, &before).is_empty());
    }
}
