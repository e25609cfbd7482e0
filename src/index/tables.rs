//! The tables of the index and the bytes of their rows.
//!
//! Must never know: how rows come about.

use redb::TableDefinition;

use crate::archive::reader::Place;
use crate::hash::Hash;

/// A layout number: an index with another is thrown away.
pub(super) const LAYOUT: u64 = 2;
/// The sequence number that stands for "still".
pub(super) const STILL: u32 = u32::MAX;

/// Name → bytes: layout, position in the log, crown of the state trie, ends of segments.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The row of [`META`] that holds the ends of segments.
pub(super) const ENDS: &str = "ends";
/// Sequence number of a capture → its row.
pub(super) const CAPTURES: TableDefinition<u64, &[u8]> = TableDefinition::new("captures");
/// (time in milliseconds, sequence number) of each capture.
pub(super) const TIMES: TableDefinition<(i64, u64), ()> = TableDefinition::new("times");
/// Number of a pack → its length and name.
pub(super) const PACKS: TableDefinition<u32, (u64, &str)> = TableDefinition::new("packs");
/// Key → its number.
pub(super) const KEYS: TableDefinition<&str, u32> = TableDefinition::new("keys");
/// Number of a key → the key.
pub(super) const IDS: TableDefinition<u32, &str> = TableDefinition::new("ids");
/// Relation → its number.
pub(super) const RELATIONS: TableDefinition<&str, u32> = TableDefinition::new("relations");
/// (key, capture) → what became of its content there.
pub(super) const VERSIONS: TableDefinition<(u32, u32), &[u8]> = TableDefinition::new("versions");
/// (source, relation, target, capture from which) → until when, and details.
pub(super) const LINKS: TableDefinition<(u32, u32, u32, u32), &[u8]> = TableDefinition::new("links");
/// (target, relation, source, capture from which).
pub(super) const BACKLINKS: TableDefinition<(u32, u32, u32, u32), ()> = TableDefinition::new("backlinks");
/// (name in lower case, key).
pub(super) const NAMES: TableDefinition<(&str, u32), ()> = TableDefinition::new("names");
/// Key of an event → the capture that recorded it, pack, frame, offset and length of its line.
pub(super) const EVENTS: TableDefinition<&str, (u32, u32, u32, u32, u32)> = TableDefinition::new("events");
/// Hashed key → objval at the head.
pub(super) const LEAVES: TableDefinition<&[u8; 32], &[u8; 32]> = TableDefinition::new("leaves");

/// Flags in a row of [`CAPTURES`], after the time: it opens a segment.
pub(super) const OPENS: u8 = 1;
/// The state after it is unknown.
pub(super) const UNKNOWN: u8 = 2;
/// Its content was ended after its retention.
pub(super) const EXPIRED: u8 = 4;

/// A row of [`VERSIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VersionRow {
    pub kind: u8,
    pub pack: u32,
    pub place: Place,
    pub content: Hash,
    pub q: Option<u32>,
}

pub(super) const REMOVED: u8 = 0;
pub(super) const CANONICAL: u8 = 1;
pub(super) const RAW: u8 = 2;
pub(super) const HIDDEN: u8 = 3;

impl VersionRow {
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        for number in [self.pack, self.place.frame, self.place.offset, self.place.len] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.content.0);
        bytes.extend_from_slice(&self.q.unwrap_or(STILL).to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(VersionRow {
            kind: *bytes.first()?,
            pack: number(1)?,
            place: Place { frame: number(5)?, offset: number(9)?, len: number(13)? },
            content: Hash(bytes.get(17..49)?.try_into().ok()?),
            q: Some(number(49)?).filter(|&q| q != STILL),
        })
    }
}

/// A row of [`LINKS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkValue {
    pub until: u32,
    pub q_from: Option<u32>,
    pub q_until: Option<u32>,
    pub properties: Vec<u8>,
}

impl LinkValue {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(12 + self.properties.len());
        for number in [self.until, self.q_from.unwrap_or(STILL), self.q_until.unwrap_or(STILL)] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.properties);
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let optional = |at: usize| Some(Some(number(at)?).filter(|&q| q != STILL));
        Some(LinkValue {
            until: number(0)?,
            q_from: optional(4)?,
            q_until: optional(8)?,
            properties: bytes.get(12..)?.to_vec(),
        })
    }
}
