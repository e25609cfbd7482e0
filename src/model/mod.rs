//! Directory objects as the archive keeps them: which collections there are, what names an object, which links it has,
//! and what is dropped or sorted before it is kept.
//!
//! Must never know: how an object travels over the wire, or where it is stored.

mod collections;
mod events;
mod lists;

pub use collections::{COLLECTIONS, Collection, Facet, Identity, Relation, base_collection, find};
pub use events::{Event, Part, event};
pub use lists::{ANNOTATIONS, LISTS_VERSION, SETS, rules};

use crate::canonical::{Json, Key, Value};

/// The properties by which people name an object, the best one first.
pub const NAMES: &[&str] =
    &["displayName", "userPrincipalName", "name", "appDisplayName", "principalDisplayName", "appId", "id"];

/// How an object is shown to a person: the first of [`NAMES`] that it has as non-empty text.
pub fn label<'a>(content: &'a Json<'_>) -> Option<&'a str> {
    NAMES.iter().filter_map(|name| content.text(name)).find(|text| !text.is_empty())
}

/// The properties whose values find an object when a person names it.
const LOOKED_UP: &[&str] = &["displayName", "userPrincipalName", "mail", "appId", "name"];

/// Every name by which an object can be looked up.
pub fn names<'a>(content: &'a Json<'_>) -> impl Iterator<Item = &'a str> {
    LOOKED_UP.iter().filter_map(|name| content.text(name)).filter(|text| !text.is_empty())
}

/// The values by which an object of `collection` is found, by property: text in lower case, `true` or `false`. Longer texts
/// aren't looked up.
pub fn indexed_values(collection: &str, content: &Json<'_>) -> Vec<(&'static str, String)> {
    let indexed = find(collection).map_or(&[][..], |collection| collection.indexed);
    let value = |property: &str| match &content.get(property)?.value {
        Value::Bool(flag) => Some(flag.to_string()),
        _ => {
            content.text(property).filter(|text| !text.is_empty() && text.len() <= LONGEST_VALUE).map(str::to_lowercase)
        }
    };
    let entry = |entry: &'static str| {
        let (property, only) = entry.split_once('=').map_or((entry, None), |(property, only)| (property, Some(only)));
        Some((property, value(property).filter(|value| only.is_none_or(|only| only == value))?))
    };
    indexed.iter().filter_map(|property| entry(property)).collect()
}

/// The longest indexed value, in bytes.
const LONGEST_VALUE: usize = 256;

/// The key of `content` in the collection called `collection`.
///
/// `None` where the object has no usable name: no id, one that is no text or empty, or more than one.
pub fn key_of(collection: &'static Collection, content: &Json<'_>) -> Option<Key> {
    match collection.identity {
        Identity::Singleton => Some(Key::new(collection.name, "-")),
        Identity::Property(property) => usable_id(content, property).map(|id| Key::new(collection.name, id)),
    }
}

/// The text of the one member called `property`; `None` where it is absent, empty, no text, or there are several.
pub fn usable_id<'a>(content: &'a Json<'_>, property: &str) -> Option<&'a str> {
    let mut found = content.members()?.iter().filter(|(name, _)| name.as_str() == Some(property));
    let (_, id) = found.next()?;
    match found.next() {
        Some(_) => None,
        None => id.as_str().filter(|id| !id.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::parse;

    #[test]
    fn a_label_is_the_first_name_that_says_something() {
        let check = |source: &str, expected: Option<&str>| {
            assert_eq!(label(&parse(source.as_bytes()).unwrap()), expected, "{source}");
        };
        check(r#"{"displayName":"Adele","userPrincipalName":"a@x"}"#, Some("Adele"));
        check(r#"{"displayName":null,"userPrincipalName":"a@x"}"#, Some("a@x"));
        check(r#"{"displayName":"","id":"1"}"#, Some("1"));
        check(r#"{"other":"x"}"#, None);
        check("[]", None);
    }

    #[test]
    fn a_key_needs_one_usable_id_and_a_singleton_none() {
        let check = |collection: &str, source: &str, expected: Option<&str>| {
            let key = key_of(find(collection).unwrap(), &parse(source.as_bytes()).unwrap());
            assert_eq!(key.as_ref().map(Key::as_str), expected, "{source}");
        };
        check("user", r#"{"id":"A"}"#, Some("user/A"));
        check("user", r#"{"id":"a","id":"b"}"#, None);
        check("user", r#"{"id":""}"#, None);
        check("user", r#"{"id":1}"#, None);
        check("user", "1", None);
        check("organization", r#"{"id":"x"}"#, Some("organization/-"));
        check("domain", r#"{"id":"contoso.com"}"#, Some("domain/contoso.com"));
    }
}
