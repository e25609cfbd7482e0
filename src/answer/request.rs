//! What a question names, read from text: a collection, a time, the capture up to which the archive is known.
//!
//! Must never know: where the text came from.

use jiff::Timestamp;

use super::failure::{Failure, Kind};
use crate::query::Moment;

/// A time expression; nothing given is the head. Spans count back from `now`.
///
/// # Errors
/// Of kind usage.
pub fn moment(text: Option<&str>, now: Timestamp) -> Result<Moment, Failure> {
    Ok(match text {
        Some(text) => Moment::parse(text, now).map_err(|error| Failure::new(Kind::Usage, error))?,
        None => Moment::Head,
    })
}

/// A collection by name, with the nearest one in the error.
///
/// # Errors
/// Of kind usage.
pub fn collection(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    let known = || crate::model::COLLECTIONS.iter().map(|collection| collection.name);
    if known().any(|known| known == name) {
        return Ok(());
    }
    let nearest = known().max_by(|a, b| {
        let score = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
        score(a).total_cmp(&score(b))
    });
    let failure = Failure::new(Kind::Usage, format!("there is no collection {name:?}"));
    Err(failure.hint(format!("did you mean {}? Known are: {}", nearest.unwrap_or_default(), {
        known().collect::<Vec<_>>().join(", ")
    })))
}

/// The number of the capture up to which the archive is to be known; `name` is what that is called where it was written.
///
/// # Errors
/// Of kind usage.
pub fn known_at(name: &str, text: &str) -> Result<u64, Failure> {
    let number = text.trim().trim_start_matches('#').parse::<u32>();
    number.map(u64::from).map_err(|_| {
        Failure::new(Kind::Usage, format!("{name} is {text:?}, expected the number of a capture, as in #123"))
    })
}
