//! How each collection is read from Graph, as a stream of what was seen and an outcome that says how much of it.
//!
//! Must never know: what was known before, or where anything is stored. Whether absence means removal is decided by the
//! caller, from [`Outcome`].

mod outcome;
mod sighting;

pub use outcome::{Outcome, Status, code};
pub use sighting::{Content, Sighting, Sink};
