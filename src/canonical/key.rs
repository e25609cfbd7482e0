//! Keys: `<collection>/<id>[#facet]`, spelled so that equal things are equal bytes.
//!
//! Must never know: which collections there are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::hash::Hash;

/// The name of an object in the archive. Ordered by bytes, as pack lines are.
///
/// A GUID is lower-cased; every other id keeps its letters, since the ids of role assignments and app role assignments
/// are case-sensitive. Bytes outside `A–Z a–z 0–9 . _ ~ -` are written `%HH`. Clones share the text: an answer about a large
/// group holds each member's key many times.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A text that is not spelled as a key.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a key: expected <collection>/<id>[#facet], a GUID in lower case, odd bytes as %HH")]
pub struct InvalidKey(pub String);

impl Key {
    /// The key of `id` in `collection`; `-` is the id of a singleton. `collection` is a name of the model's table, made
    /// of safe bytes. An empty `id` has no key: use [`Key::raw`].
    pub fn new(collection: &str, id: &str) -> Key {
        debug_assert!(is_safe(collection) && !id.is_empty());
        let mut key = String::with_capacity(collection.len() + 1 + id.len());
        key.push_str(collection);
        key.push('/');
        if is_guid(id) {
            key.extend(id.chars().map(|c| c.to_ascii_lowercase()));
        } else {
            for byte in id.bytes() {
                match is_safe_byte(byte) {
                    true => key.push(char::from(byte)),
                    false => key.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        Key(key.into())
    }

    /// The key of an element that has no usable id: named by the SHA-256 of its stored bytes.
    pub fn raw(collection: &str, bytes: &[u8]) -> Key {
        Key(format!("{collection}/!{}", crate::hash::Hash::of(bytes)).into())
    }

    /// The key of one facet of this object.
    pub fn facet(&self, facet: &str) -> Key {
        debug_assert!(is_safe(facet) && self.facet_name().is_none());
        Key(format!("{}#{facet}", self.0).into())
    }

    /// The key of the object itself, of which this may be a facet.
    pub fn object(&self) -> Key {
        match self.0.split_once('#') {
            Some((object, _)) => Key(object.into()),
            None => self.clone(),
        }
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    pub fn collection(&self) -> &str {
        self.0.split_once('/').expect("every key has a slash").0
    }

    /// The id as the key spells it, without the facet.
    pub fn id(&self) -> &str {
        let rest = self.0.split_once('/').expect("every key has a slash").1;
        rest.split_once('#').map_or(rest, |(id, _)| id)
    }

    /// The id with its `%HH` escapes decoded, as a service knows it.
    pub fn decoded_id(&self) -> String {
        let mut bytes = Vec::with_capacity(self.id().len());
        let mut rest = self.id().as_bytes();
        while let [first, tail @ ..] = rest {
            if *first == b'%' && tail.len() >= 2 {
                let mut byte = [0];
                hex::decode_to_slice(&tail[..2], &mut byte).expect("a key's escapes were checked when it was made");
                bytes.push(byte[0]);
                rest = &tail[2..];
            } else {
                bytes.push(*first);
                rest = tail;
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The facet, where this is the key of one.
    pub fn facet_name(&self) -> Option<&str> {
        self.0.split_once('#').map(|(_, facet)| facet)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Key, InvalidKey> {
        match is_key(text) {
            true => Ok(Key(text.into())),
            false => Err(InvalidKey(text.to_owned())),
        }
    }
}

fn is_safe_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}

fn is_safe(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_safe_byte)
}

/// 8-4-4-4-12 hex digits, in either case.
fn is_guid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_key(text: &str) -> bool {
    let Some((collection, rest)) = text.split_once('/') else { return false };
    let (id, facet) = match rest.split_once('#') {
        Some((id, facet)) => (id, Some(facet)),
        None => (rest, None),
    };
    is_safe(collection) && facet.is_none_or(is_safe) && is_id(id)
}

fn is_id(id: &str) -> bool {
    if let Some(digest) = id.strip_prefix('!') {
        return digest.parse::<crate::hash::Hash>().is_ok();
    }
    if is_guid(id) {
        return !id.bytes().any(|b| b.is_ascii_uppercase());
    }
    let mut rest = id.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'%' => match tail {
                [high, low, tail @ ..] => {
                    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F').then(|| char::from(b).to_digit(16));
                    match (digit(*high).flatten(), digit(*low).flatten()) {
                        (Some(high), Some(low)) if !is_safe_byte((high * 16 + low) as u8) => tail,
                        _ => return false,
                    }
                }
                _ => return false,
            },
            byte if is_safe_byte(*byte) => tail,
            _ => return false,
        };
    }
    !id.is_empty()
}

/// The hash by which the state trie knows a key.
impl From<&Key> for Hash {
    fn from(key: &Key) -> Hash {
        Hash::tagged(0x10, &[key.0.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_lowered_and_other_ids_kept() {
        let key = Key::new("user", "9F4E1F60-8B1C-4B5A-9C37-0D6E5F4A3B2C");
        assert_eq!(key.as_str(), "user/9f4e1f60-8b1c-4b5a-9c37-0d6e5f4a3b2c");
        assert_eq!(
            Key::new("roleAssignment", "lAPpYvVpN0KRkAEhdxReEJC2sEqbR_9Hr48lds9SGHI-1").id(),
            "lAPpYvVpN0KRkAEhdxReEJC2sEqbR_9Hr48lds9SGHI-1"
        );
        let odd = Key::new("x", "a/b c%é#!");
        assert_eq!(odd.as_str(), "x/a%2Fb%20c%25%C3%A9%23%21");
        assert_eq!(odd.decoded_id(), "a/b c%é#!");
        assert_eq!(odd.as_str().parse(), Ok(odd));
    }

    #[test]
    fn facets_and_raw_keys() {
        let key = Key::new("user", "a").facet("activity");
        assert_eq!(
            (key.as_str(), key.collection(), key.id(), key.facet_name()),
            ("user/a#activity", "user", "a", Some("activity"))
        );
        let raw = Key::raw("user", b"{}");
        assert_eq!(raw.as_str().parse(), Ok(raw.clone()));
        assert!(raw.id().starts_with('!'));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "user",
            "user/",
            "/a",
            "us er/a",
            "user/a b",
            "user/%2f",
            "user/%41",
            "user/%4",
            "user/!abc",
            "user/a!b",
            "user/a#",
            "user/a#b#c",
            "user/a/b",
            "user/9F4E1F60-8B1C-4B5A-9C37-0D6E5F4A3B2C",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
