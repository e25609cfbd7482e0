//! The tables of the index and the bytes of their rows.
//!
//! Must never know: how rows come about.

use redb::TableDefinition;

use crate::archive::reader::Place;
use crate::hash::Hash;

/// The number of the tables as they stand here.
const LAYOUT: u64 = 5;

/// What the rows of an index depend on besides the archive: the tables, and what the model wants to be looked up. An index of
/// another layout is thrown away.
pub(super) fn layout() -> Vec<u8> {
    let indexed = crate::model::COLLECTIONS.iter().map(|collection| (collection.name, collection.indexed));
    let mut layout = LAYOUT.to_be_bytes().to_vec();
    layout.extend(Hash::of(format!("{:?}", indexed.collect::<Vec<_>>()).as_bytes()).0);
    layout
}
/// The sequence number that stands for "still".
pub(super) const STILL: u32 = u32::MAX;

/// Name → bytes: layout, position in the log, crown of the state trie, ends of segments.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The row of [`META`] that names the keys that changed since the trie was brought up to date: the capture whose root it is to
/// arrive at, that root, and the keys' numbers. It is there between the transactions of a long catching up alone.
pub(super) const UNSETTLED: &str = "unsettled";
/// The row of [`META`] that counts how often the index was emptied: keys get other numbers then. None where it never was.
pub(super) const GENERATION: &str = "generation";
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
/// (source, relation, target) of a link that is there at the head → since when, and details. The target is a key or, where
/// [`VALUE`] is set, an indexed value of the source's content: the relation is the property then.
pub(super) const LINKS: TableDefinition<(u32, u32, u32), &[u8]> = TableDefinition::new("links");
/// (target, relation, source) of a link that is there at the head → since when, with [`DETAILED`] where it has properties,
/// and `q`. There are millions of these.
pub(super) const BACKLINKS: TableDefinition<(u32, u32, u32), (u32, u32)> = TableDefinition::new("backlinks");
/// Links that ended: (source, relation, side, node, bound, target, capture from which) → until when, and details. Each is here
/// twice, at its node by the end of the stretch in which it may have been there ([`BY_END`]) and by the beginning.
pub(super) const ENDED: TableDefinition<EndedKey, &[u8]> = TableDefinition::new("ended");
/// The same the other way: (target, relation, side, node, bound, source, capture from which) → until when, with
/// [`DETAILED`] where it has properties, and both `q`.
pub(super) const ENDED_BACK: TableDefinition<EndedKey, (u32, u32, u32)> = TableDefinition::new("ended-back");
/// A key of [`ENDED`].
pub(super) type EndedKey = (u32, u32, u8, u32, u32, u32, u32);
/// The side of [`ENDED`] that is sorted by the first capture without the link.
pub(super) const BY_END: u8 = 0;
/// The side that is sorted by the first capture at which it may have been there.
pub(super) const BY_BEGINNING: u8 = 1;
/// The bit beside a capture that says that the link has properties.
pub(super) const DETAILED: u32 = 1 << 31;
/// Indexed value → its number, which has [`VALUE`] set.
pub(super) const VALUES: TableDefinition<&str, u32> = TableDefinition::new("values");
/// The bit that tells the number of a value from that of a key.
pub(super) const VALUE: u32 = 1 << 31;
/// (key, capture) → how it is shown from there on; only where that changes.
pub(super) const LABELS: TableDefinition<(u32, u32), &str> = TableDefinition::new("labels");
/// What a row of coverage is about, as text → its number.
pub(super) const SUBJECTS: TableDefinition<&str, u32> = TableDefinition::new("subjects");
/// (subject, capture) → status, `oldest`, code; only where that changes.
pub(super) const COVER: TableDefinition<(u32, u32), (u8, u32, &str)> = TableDefinition::new("cover");
/// (value, part that it has in the event, time in milliseconds, key of the event).
pub(super) const ACTS: TableDefinition<(u32, u8, i64, &str), ()> = TableDefinition::new("acts");
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

/// The stretch of captures in which a link was there, and what is known of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first capture with it.
    pub from: u32,
    /// The first capture without it; [`STILL`] while it is there.
    pub until: u32,
    pub q_from: Option<u32>,
    pub q_until: Option<u32>,
}

impl Stretch {
    /// The first capture at which it may have been there.
    pub fn first(&self) -> u32 {
        self.q_from.map_or(self.from, |q| q + 1)
    }
}

/// A row of [`LINKS`] or [`ENDED`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkValue {
    pub stretch: Stretch,
    pub properties: Vec<u8>,
}

impl LinkValue {
    /// A link that is there since capture `from`.
    pub fn open(from: u32, q_from: Option<u32>, properties: Vec<u8>) -> Self {
        LinkValue { stretch: Stretch { from, until: STILL, q_from, q_until: None }, properties }
    }

    /// Most links are there and have nothing but a beginning: those take four bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Stretch { from, until, q_from, q_until } = self.stretch;
        let plain = until == STILL && q_from.is_none() && self.properties.is_empty();
        let mut bytes = Vec::with_capacity(if plain { 4 } else { 16 + self.properties.len() });
        bytes.extend_from_slice(&from.to_be_bytes());
        if plain {
            return bytes;
        }
        for number in [until, q_from.unwrap_or(STILL), q_until.unwrap_or(STILL)] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.properties);
        bytes
    }

    /// The first capture with the link, of its bytes.
    pub fn first_capture(bytes: &[u8]) -> Option<u32> {
        bytes.first_chunk().map(|first| u32::from_be_bytes(*first))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if bytes.len() == 4 {
            return Some(LinkValue::open(number(0)?, None, Vec::new()));
        }
        let (from, until) = (number(0)?, number(4)?);
        let stretch = Stretch { from, until, q_from: known(number(8)?), q_until: known(number(12)?) };
        Some(LinkValue { stretch, properties: bytes.get(16..)?.to_vec() })
    }
}

/// A capture number that may be missing.
pub(super) fn known(q: u32) -> Option<u32> {
    Some(q).filter(|&q| q != STILL)
}
