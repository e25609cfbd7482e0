//! Conditional Access: whom a policy covers and to which sign-ins it applies, from what the policy says. Pure.
//!
//! Must never know: where policies, people and places come from, or when any of it was so.
//!
//! Answers have three values. What a policy says in words that aren't known here, and what isn't known of a sign-in, makes an answer
//! depend on that, and is named: nothing is left out silently. Sources stand at the head of each file; the shapes are
//! learn.microsoft.com/graph/api/resources/conditionalaccesspolicy and the resources that it links to.

use serde_json::Value;

mod controls;
mod cover;
mod filter;
mod place;
mod policy;
mod sign_in;
#[cfg(test)]
mod tests;

pub use controls::{Controls, is_mfa_strength};
pub use cover::{Coverage, External, Identity, Person, Reason, Verdict};
pub use filter::Device;
pub use place::{LocationVariants, NamedLocation, Place};
pub use policy::{Choice, Policy, State};
pub use sign_in::{Applicability, Outcome, SignIn};

/// Whether something is so; the order is that of Kleene's logic, `and` the least of both and `or` the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Truth {
    /// It isn't.
    #[default]
    No,
    /// That depends on what isn't known.
    Depends,
    /// It is.
    Yes,
}

impl std::ops::Not for Truth {
    type Output = Truth;

    fn not(self) -> Truth {
        match self {
            Truth::No => Truth::Yes,
            Truth::Depends => Truth::Depends,
            Truth::Yes => Truth::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(is_so: bool) -> Self {
        if is_so { Truth::Yes } else { Truth::No }
    }
}

/// The words of a list, of a text with commas (how Graph spells flags), or of nothing.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => {
            all.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
        }
        Value::String(text) => {
            text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        }
        _ => Vec::new(),
    }
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|one| one.eq_ignore_ascii_case(word))
}

/// Whether a value in a list of ids is a word of the service: those begin with a capital letter, and ids are GUIDs. One that isn't
/// known means something that can't be judged.
fn is_word(value: &str) -> bool {
    let is_guid =
        value.len() == 36 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') && value.contains('-');
    !is_guid && value.starts_with(|first: char| first.is_ascii_uppercase())
}
