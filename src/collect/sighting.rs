//! What a read reports, one value a thing seen.
//!
//! Must never know: requests, pages, tokens.

use jiff::Timestamp;

use crate::canonical::Key;
use crate::graph::Receipt;

/// The content of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Canonical bytes.
    Canonical(Vec<u8>),
    /// The exact source bytes of the element, where the guard refuses it.
    Raw(Vec<u8>),
}

/// One thing seen. Applying the same one twice must change nothing: services replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// An object as read.
    Object {
        /// Its name; [`Key::raw`] where it has no usable id.
        key: Key,
        /// What was read.
        content: Content,
        /// Whether properties may be left out that were never set or didn't change (a feed's item) or can't be selected
        /// here (a subtype in the list of its base type): to be laid over what is known.
        partial: bool,
        /// Which of the collection's subtypes it is, where it isn't of the base type.
        subtype: Option<&'static str>,
    },
    /// Something that happened.
    Event {
        /// Its name.
        key: Key,
        /// What was read.
        content: Content,
        /// When it happened, as the service says.
        at: Option<Timestamp>,
        /// The ids of what it was done to.
        touched: Vec<String>,
        /// The service's own recovery did something.
        is_recovery: bool,
    },
    /// The service says that it is gone.
    Gone {
        /// Its name.
        key: Key,
    },
    /// One link reported by a feed.
    Link {
        /// Where it starts.
        source: Key,
        /// The relation.
        relation: &'static str,
        /// Where it leads. Its collection is `directoryObject` where the service doesn't say its type, as happens for
        /// removals: the id decides then.
        target: Key,
        /// Whether it is there now.
        present: bool,
    },
    /// All targets of a source's relation: nothing else is linked now.
    Links {
        /// Where they start.
        source: Key,
        /// The relation.
        relation: &'static str,
        /// Where they lead, sorted, each once.
        targets: Vec<Key>,
    },
    /// This source's relation couldn't be read.
    Unread {
        /// The source.
        source: Key,
        /// The relation.
        relation: &'static str,
        /// Why, of [`code`](super::code); `gone` where the source vanished meanwhile.
        code: &'static str,
    },
    /// The read started over (an expired token). What was seen since its beginning was true when it was seen, but only
    /// what follows counts for absence.
    Restart,
    /// The account of one response.
    Receipt(Receipt),
}

/// Where sightings go, a page at a time. Bounded, so that a slow consumer slows the reading and memory stays bounded.
pub type Sink = tokio::sync::mpsc::Sender<Vec<Sighting>>;
