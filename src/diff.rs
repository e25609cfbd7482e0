//! Two values in, what changed between them out: changed properties by their path, and changed links by relation.
//!
//! Must never know: where the states came from, or what a change means for anybody's access.

use std::collections::BTreeMap;

use crate::canonical::{self, Json, Key, Value, canonicalize};
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
pub fn content(before: Option<&[u8]>, after: Option<&[u8]>) -> Vec<PropertyChange> {
    let mut changes = Vec::new();
    let (old, new) = (before.map(read), after.map(read));
    let is_object = |side: &Option<Option<Json<'_>>>| match side {
        Some(Some(json)) => is_comparable(json),
        Some(None) => false,
        None => true,
    };
    if is_object(&old) && is_object(&new) {
        compare_members(old.flatten().as_ref(), new.flatten().as_ref(), "", &mut changes);
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
        let path = if prefix.is_empty() { step(name) } else { format!("{prefix}.{}", step(name)) };
        match (old, new) {
            (Some(old), Some(new)) if old.source == new.source => {}
            (Some(old), Some(new)) if is_comparable(old) && is_comparable(new) => {
                compare_members(Some(old), Some(new), &path, out);
            }
            _ => {
                let elements = match (old.and_then(Json::elements), new.and_then(Json::elements)) {
                    (Some(old), Some(new)) if model::SETS.contains(&name) => Some(compare_sets(old, new)),
                    _ => None,
                };
                out.push(PropertyChange { path, before: old.map(value_text), after: new.map(value_text), elements });
            }
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
