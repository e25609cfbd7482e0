//! The archive: the format on the blobs, and nothing about directories.
//!
//! Must never know: which kinds of object there are. Verifying, copying and proving work for kinds that this binary
//! lacks. `docs/format.md` is the specification; the modules here follow its sections.

pub mod appender;
pub mod copy;
pub mod entry;
pub mod line;
pub mod log;
pub mod note;
pub mod pack;
pub mod reader;
pub mod recent;
pub mod register;
pub mod trie;
pub mod verify;
pub mod walker;

pub use crate::canonical::Key;
