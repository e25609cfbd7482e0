//! Canonical JSON: a lenient reader of received bytes, RFC 8785 (JCS) behind a guard, and the spelling of keys.
//!
//! Must never know: which collections or properties exist; the lists of annotations and set-valued properties are
//! handed in as [`Rules`].
//!
//! The guard exists because the usual route through `f64` and a map changes integers above 2^53 and lets the last of
//! two equal keys win. Here a number passes only if its canonical form denotes exactly the decimal value received,
//! and duplicate keys and unpaired surrogates are refused. What is refused is archived raw, so nothing is lost.

mod json;
mod key;
mod number;
mod write;

pub use json::{Json, MAX_DEPTH, ParseError, Text, Value, members, parse};
pub use key::{InvalidKey, Key};
pub(crate) use write::write_list;
pub use write::{NotCanonical, Rules, canonicalize, is_canonical, overlay, write_members, write_string, write_value};
