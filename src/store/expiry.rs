//! The one capability that removes: what was created when, and its end.
//!
//! Must never know: what the blobs are for, or whether they may go. It is handed to nobody but the command that expires,
//! and is no part of [`Store`]: who reads and writes an archive holds nothing that could delete.

use std::fmt::Debug;

use jiff::Timestamp;

use super::Operation;
#[cfg(doc)]
use super::Store;

/// A stored blob with what its end depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// The whole name.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// When the store says that it was created. Never taken from a name or from content.
    pub created: Timestamp,
    /// What the store knows this content of the name by; empty where it has no such thing.
    pub version: String,
}

/// What became of removing something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// It was there and is gone.
    Deleted,
    /// It wasn't there.
    Absent,
    /// The storage keeps it: its retention policy still runs.
    Policy,
    /// The storage keeps it: it is under a legal hold.
    Hold,
    /// It isn't what was listed any more.
    Changed,
    /// A container that isn't empty.
    NotEmpty,
}

impl Removal {
    /// The word for it in entries and JSON, from a closed list.
    pub fn as_str(self) -> &'static str {
        match self {
            Removal::Deleted => "deleted",
            Removal::Absent => "absent",
            Removal::Policy => "policy",
            Removal::Hold => "hold",
            Removal::Changed => "changed",
            Removal::NotEmpty => "not-empty",
        }
    }

    /// Whether nothing is there any more.
    pub fn is_gone(self) -> bool {
        matches!(self, Removal::Deleted | Removal::Absent)
    }
}

/// What can end blobs of a store.
///
/// An error of [`Expiry::delete`] or [`Expiry::delete_container`] leaves open whether it took effect; both may be called
/// again. What the storage refuses because it keeps something is no error but an answer.
pub trait Expiry: Send + Sync + Debug {
    /// Every blob whose name starts with `prefix`, which names a container and a `/` at least, sorted by name. No such
    /// container: none.
    fn aged<'a>(&'a self, prefix: &'a str) -> Operation<'a, Vec<Aged>>;

    /// Whether the storage itself holds everything in `container`, whatever anybody asks. `false` where the storage has
    /// no such thing.
    fn is_held<'a>(&'a self, container: &'a str) -> Operation<'a, bool>;

    /// Removes a blob, if it is still what was listed.
    fn delete<'a>(&'a self, blob: &'a Aged) -> Operation<'a, Removal>;

    /// Removes `container` if nothing of the archive is left in it.
    fn delete_container<'a>(&'a self, container: &'a str) -> Operation<'a, Removal>;
}
