//! The canonical writer: RFC 8785 with the guard, dropped annotations and sorted sets.
//!
//! Must never know: what the value is for.

use std::cmp::Ordering;

use super::json::{Json, Text, Value, parse};
use super::number::write_number;

/// What is dropped and what is sorted while writing; a version of it is recorded in the archive's genesis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Transport annotations: a member is dropped, at every depth, when an entry equals its whole name or the part of
    /// its name from the `@`.
    pub annotations: Vec<String>,
    /// Names of members, at every depth, whose arrays are sets: their elements are sorted by the bytes of their
    /// canonical form, duplicates kept.
    pub sets: Vec<String>,
}

impl Rules {
    fn drops(&self, name: &str) -> bool {
        let annotation = name.find('@').map_or(name, |at| &name[at..]);
        self.annotations.iter().any(|entry| entry == name || entry == annotation)
    }
}

/// Why a value has no canonical form and is archived raw instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum NotCanonical {
    /// The canonical form of a number would denote another decimal value.
    #[error("a number has no exact canonical form")]
    Number,
    /// An object has two members of the same name.
    #[error("an object has two members of the same name")]
    Duplicate,
    /// A string or name has an unpaired surrogate or bytes that are no UTF-8.
    #[error("a string is no sound Unicode text")]
    Text,
}

/// The canonical bytes of `json` under `rules`.
///
/// # Errors
/// [`NotCanonical`] where the guard refuses the value.
pub fn canonicalize(json: &Json<'_>, rules: &Rules) -> Result<Vec<u8>, NotCanonical> {
    let mut out = Vec::with_capacity(json.source.len());
    write(json, rules, &mut out)?;
    Ok(out)
}

/// Whether `bytes` are exactly the canonical form of what they say.
pub fn is_canonical(bytes: &[u8]) -> bool {
    let Ok(json) = parse(bytes) else { return false };
    canonicalize(&json, &Rules::default()).is_ok_and(|written| written == bytes)
}

/// `prior` with every member of `newer` put over it: what is known of an object after a feed sent only some of its
/// properties. Where either is no object, `newer`.
pub fn overlay<'a>(prior: Json<'a>, newer: Json<'a>) -> Json<'a> {
    match (prior.value, newer.value) {
        (Value::Object(prior), Value::Object(newer)) => {
            let mut members: Vec<_> =
                prior.into_iter().filter(|(name, _)| !newer.iter().any(|(other, _)| other == name)).collect();
            members.extend(newer);
            Json::object(members)
        }
        (_, value) => Json { source: newer.source, value },
    }
}

/// Appends the canonical form of a value that this program made itself, without a way through text.
///
/// # Errors
/// [`NotCanonical::Number`] where a number has no exact canonical form; part of the value may have been appended then.
pub fn write_value(value: &serde_json::Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    use serde_json::Value;

    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            if !write_number(&number.to_string(), out) {
                return Err(NotCanonical::Number);
            }
        }
        Value::String(text) => write_string(text, out),
        Value::Array(elements) => write_list((b'[', b']'), elements, out, write_value)?,
        Value::Object(members) => write_members(members, out)?,
    }
    Ok(())
}

/// As [`write_value`], of an object.
///
/// # Errors
/// As there.
pub fn write_members(
    members: &serde_json::Map<String, serde_json::Value>,
    out: &mut Vec<u8>,
) -> Result<(), NotCanonical> {
    let mut sorted: Vec<(&String, &serde_json::Value)> = members.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| compare_names(a, b));
    write_list((b'{', b'}'), sorted, out, |(name, value), out| {
        write_string(name, out);
        out.push(b':');
        write_value(value, out)
    })
}

/// Appends what `each` appends for each of `items`, with commas between and `bounds` around.
pub(crate) fn write_list<T>(
    bounds: (u8, u8),
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut each: impl FnMut(T, &mut Vec<u8>) -> Result<(), NotCanonical>,
) -> Result<(), NotCanonical> {
    out.push(bounds.0);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(item, out)?;
    }
    out.push(bounds.1);
    Ok(())
}

fn write(json: &Json<'_>, rules: &Rules, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match &json.value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(source) => {
            if !write_number(source, out) {
                return Err(NotCanonical::Number);
            }
        }
        Value::String(text) => write_string(text.as_str().ok_or(NotCanonical::Text)?, out),
        Value::Array(elements) => write_list((b'[', b']'), elements, out, |element, out| write(element, rules, out))?,
        Value::Object(members) => write_object(members, rules, out)?,
    }
    Ok(())
}

fn write_set(elements: &[Json<'_>], rules: &Rules, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    let mut written = elements.iter().map(|element| canonicalize(element, rules)).collect::<Result<Vec<_>, _>>()?;
    written.sort_unstable();
    out.push(b'[');
    out.extend_from_slice(&written.join(&b','));
    out.push(b']');
    Ok(())
}

fn write_object(members: &[(Text<'_>, Json<'_>)], rules: &Rules, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    let mut kept: Vec<(&str, &Json<'_>)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        let name = name.as_str().ok_or(NotCanonical::Text)?;
        if !rules.drops(name) {
            kept.push((name, value));
        }
    }
    kept.sort_unstable_by(|(a, _), (b, _)| compare_names(a, b));
    if kept.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(NotCanonical::Duplicate);
    }
    write_list((b'{', b'}'), kept, out, |(name, value), out| {
        write_string(name, out);
        out.push(b':');
        match &value.value {
            Value::Array(elements) if rules.sets.iter().any(|set| set == name) => write_set(elements, rules, out),
            _ => write(value, rules, out),
        }
    })
}

/// RFC 8785 section 3.2.3: by UTF-16 code units, which for text beyond ASCII is not the order of the UTF-8 bytes.
fn compare_names(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// Appends a JCS string: quotes, the short escapes, `\u00xx` for other controls, everything else as it is.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(source: &str, rules: &Rules) -> Result<String, NotCanonical> {
        canonicalize(&parse(source.as_bytes()).unwrap(), rules).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn members_are_sorted_by_utf16_code_units() {
        // U+FB33 sorts after U+1F600 in UTF-16 (0xfb33 > 0xd83d) and before it in UTF-8.
        let sorted = canonical("{\"\u{fb33}\":1,\"\u{1f600}\":2,\"a\":3,\"\":4}", &Rules::default()).unwrap();
        assert_eq!(sorted, "{\"\":4,\"a\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    #[test]
    fn annotations_go_at_every_depth_and_odata_type_stays() {
        let rules = Rules { annotations: vec!["@odata.context".into(), "@odata.etag".into()], sets: vec![] };
        let source = r##"{"@odata.type":"#t","@odata.etag":"W/1","a":{"members@odata.context":"x","b@odata.type":"y"},"c@odata.etagged":1}"##;
        assert_eq!(
            canonical(source, &rules).unwrap(),
            r##"{"@odata.type":"#t","a":{"b@odata.type":"y"},"c@odata.etagged":1}"##
        );
    }

    #[test]
    fn sets_are_sorted_by_canonical_bytes_and_keep_duplicates() {
        let rules = Rules { annotations: vec![], sets: vec!["tags".into()] };
        let source = r#"{"tags":["b",{"y":1,"x":2},"a","b",1.0],"list":["b","a"]}"#;
        assert_eq!(canonical(source, &rules).unwrap(), r#"{"list":["b","a"],"tags":["a","b","b",1,{"x":2,"y":1}]}"#);
    }

    #[test]
    fn the_guard_refuses_what_would_change() {
        let none = Rules::default();
        assert_eq!(canonical(r#"{"n":9007199254740993}"#, &none), Err(NotCanonical::Number));
        assert_eq!(canonical(r#"{"a":1,"\u0061":1}"#, &none), Err(NotCanonical::Duplicate));
        assert_eq!(canonical(r#"{"a":"\ud800"}"#, &none), Err(NotCanonical::Text));
        assert_eq!(canonical(r#"{"\ud800":1}"#, &none), Err(NotCanonical::Text));
    }

    #[test]
    fn an_overlay_keeps_what_was_not_sent() {
        let merged = overlay(parse(br#"{"a":1,"b":2}"#).unwrap(), parse(br#"{"b":null,"c":3}"#).unwrap());
        assert_eq!(canonicalize(&merged, &Rules::default()).unwrap(), br#"{"a":1,"b":null,"c":3}"#);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i32>().prop_map(serde_json::Value::from),
            (-1e300f64..1e300).prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_another_implementation_and_is_its_own_fixed_point(value in any_json()) {
            let source = serde_json::to_vec(&value).unwrap();
            let written = canonicalize(&parse(&source).unwrap(), &Rules::default()).unwrap();
            prop_assert_eq!(&written, &serde_json_canonicalizer::to_vec(&value).unwrap());
            prop_assert!(is_canonical(&written));
            let mut made = Vec::new();
            write_value(&value, &mut made).unwrap();
            prop_assert_eq!(&written, &made);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(json) = parse(&bytes) {
                let _ = canonicalize(&json, &Rules::default());
            }
        }
    }
}
