//! Entry files: the signed body of one capture (or other event of the archive's life), as bytes and as a value.
//!
//! Must never know: what collections mean; a coverage row names them and that is all.
//!
//! An entry is hashed as the bytes that are stored, never by writing a value again. [`Body`] is for reading and for
//! making new ones.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::log::leaf_hash;
use super::note::{KeyId, Signer, Verifier};
use crate::canonical;
use crate::hash::Hash;

/// Longest entry file in bytes: what a length of two bytes in a tile bundle can say.
pub const MAX_LEN: usize = 65_535;
/// The format version that this build writes. 0 is the draft.
pub const VERSION: u64 = 0;
/// What stands before the body in the signed message.
const DOMAIN: &[u8] = b"tenure-entry/v0\n";

/// What is wrong with the bytes of an entry file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidEntry {
    /// Longer than [`MAX_LEN`].
    #[error("longer than 65,535 bytes")]
    TooLong,
    /// Not body, line feed, key id, space, signature, line feed.
    #[error("not framed as body and signature line")]
    Framing,
    /// The body isn't canonical JSON.
    #[error("body is not canonical JSON")]
    NotCanonical,
    /// A member that every entry has is missing or has another type.
    #[error("body lacks a required member or has one of another type")]
    Members,
    /// A format version that this build doesn't know.
    #[error("format version {0} is not known to this build")]
    Version(u64),
    /// A feature in `req` that this build doesn't know.
    #[error("requires {0:?}, which this build does not know")]
    Requires(String),
}

/// The parts of an entry file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The body as a value.
    pub body: Body,
    /// The body's bytes, as signed.
    pub text: Vec<u8>,
    /// The key that is said to have signed.
    pub key: KeyId,
    /// The signature, unchecked.
    pub signature: [u8; 64],
    /// The leaf hash of the whole file.
    pub leaf: Hash,
}

impl Entry {
    /// Reads an entry file and checks length, framing, canonical form and members. The signature is checked by
    /// [`Entry::is_signed_by`], the place in the chain by whoever knows the chain.
    ///
    /// # Errors
    /// [`InvalidEntry`], the first that applies.
    pub fn parse(file: &[u8]) -> Result<Entry, InvalidEntry> {
        if file.len() > MAX_LEN {
            return Err(InvalidEntry::TooLong);
        }
        let (text, key, signature) = unframe(file).ok_or(InvalidEntry::Framing)?;
        if !canonical::is_canonical(text) {
            return Err(InvalidEntry::NotCanonical);
        }
        let body: Body = serde_json::from_slice(text).map_err(|_| InvalidEntry::Members)?;
        if body.v != VERSION {
            return Err(InvalidEntry::Version(body.v));
        }
        if let Some(unknown) = body.req.first() {
            return Err(InvalidEntry::Requires(unknown.clone()));
        }
        if !body.has_members_of_its_kind() {
            return Err(InvalidEntry::Members);
        }
        Ok(Entry { body, text: text.to_vec(), key, signature, leaf: leaf_hash(file) })
    }

    /// Whether `verifier` signed this body.
    pub fn is_signed_by(&self, verifier: &Verifier) -> bool {
        self.key == verifier.id() && verifier.verifies(&signed_message(&self.text), &self.signature)
    }

    /// The bytes of the file that was read: the frame has one spelling only, so that nothing of it is lost.
    pub fn file(&self) -> Vec<u8> {
        frame(&self.text, self.key, &self.signature)
    }
}

/// The part of an entry that every version has, of an entry that this build must not pass over: another version, or a
/// feature in `req` that it doesn't know.
#[derive(Debug)]
pub struct Newer {
    /// What this build doesn't know.
    pub reason: InvalidEntry,
    pub(super) kind: String,
    pub(super) origin: String,
    pub(super) seq: u64,
    pub(super) prev: Hash,
    text: Vec<u8>,
    key: KeyId,
    signature: [u8; 64],
}

impl Newer {
    /// Reads such an entry file; `None` for any other file. Whether it is an entry at all is for the caller to find
    /// out, by its signature and place: junk that claims to be newer is still junk.
    pub fn parse(file: &[u8]) -> Option<Newer> {
        #[derive(Deserialize)]
        struct Envelope {
            v: u64,
            kind: String,
            origin: String,
            seq: u64,
            #[serde(with = "hash_text")]
            prev: Hash,
            req: Vec<String>,
        }
        let (text, key, signature) = (file.len() <= MAX_LEN).then(|| unframe(file)).flatten()?;
        let envelope: Envelope = canonical::is_canonical(text).then(|| serde_json::from_slice(text).ok()).flatten()?;
        let reason = match (envelope.v, envelope.req.first()) {
            (VERSION, None) => return None,
            (VERSION, Some(unknown)) => InvalidEntry::Requires(unknown.clone()),
            (version, _) => InvalidEntry::Version(version),
        };
        let Envelope { kind, origin, seq, prev, .. } = envelope;
        Some(Newer { reason, kind, origin, seq, prev, text: text.to_vec(), key, signature })
    }

    /// Whether `verifier` signed it.
    pub fn is_signed_by(&self, verifier: &Verifier) -> bool {
        self.key == verifier.id() && verifier.verifies(&signed_message(&self.text), &self.signature)
    }
}

fn unframe(file: &[u8]) -> Option<(&[u8], KeyId, [u8; 64])> {
    let rest = file.strip_suffix(b"\n")?;
    let split = rest.iter().rposition(|&b| b == b'\n')?;
    let (text, line) = (&rest[..split], std::str::from_utf8(&rest[split + 1..]).ok()?);
    let (key, signature) = line.split_once(' ')?;
    let decoded: [u8; 64] = STANDARD.decode(signature).ok()?.try_into().ok()?;
    let framed = !text.contains(&b'\n') && STANDARD.encode(decoded) == signature;
    framed.then_some((text, key.parse().ok()?, decoded))
}

fn frame(text: &[u8], key: KeyId, signature: &[u8; 64]) -> Vec<u8> {
    let line = format!("\n{key} {}\n", STANDARD.encode(signature));
    [text, line.as_bytes()].concat()
}

fn signed_message(text: &[u8]) -> Vec<u8> {
    [DOMAIN, text].concat()
}

/// The state after an entry, in three numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct StateSummary {
    /// The root of the state trie.
    #[serde(with = "hash_text")]
    pub root: Hash,
    /// Leaves of the state trie.
    pub objects: u64,
    /// Links of all objects.
    pub links: u64,
}

/// A pack that an entry commits to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRef {
    /// Name below the archive's root.
    pub n: String,
    /// SHA-256 of the file as stored.
    #[serde(with = "hash_text")]
    pub h: Hash,
    /// Length of the file as stored, bytes.
    pub len: u64,
    /// Length of its lines, bytes.
    pub raw: u64,
}

/// What a capture changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Delta {
    /// The root over the changed keys and the events.
    #[serde(with = "hash_text")]
    pub root: Hash,
    /// Content lines other than removals.
    pub put: u64,
    /// Removal lines.
    pub del: u64,
    /// Targets added (or given other properties).
    pub ladd: u64,
    /// Targets removed, those ended by removals included.
    pub ldel: u64,
    /// Events.
    pub ev: u64,
    /// The packs of kind d.
    pub packs: Vec<PackRef>,
}

/// The packs of a segment's base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The packs of kind b.
    pub packs: Vec<PackRef>,
}

/// What a coverage row says of a collection, relation or facet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All read in this capture, or the feed closed.
    Complete,
    /// A part was read in this capture, the rest in earlier ones; `oldest` bounds how long ago.
    Rolling,
    /// Not due in this capture.
    NotDue,
    /// Changes and explicit removals are applied; nothing is inferred from absence.
    Partial,
    /// Due and not read; the state is the last known.
    Carried,
    /// Can't be read: no licence, no permission, no such thing in this tenant.
    Absent,
}

impl Status {
    /// The word in the entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Complete => "complete",
            Status::Rolling => "rolling",
            Status::NotDue => "notdue",
            Status::Partial => "partial",
            Status::Carried => "carried",
            Status::Absent => "absent",
        }
    }

    /// Whether delta lines of the row's scope may exist under it.
    pub fn permits_changes(self) -> bool {
        matches!(self, Status::Complete | Status::Rolling | Status::Partial)
    }
}

/// A row of coverage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The collection.
    pub c: String,
    /// The relation, where the row is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r: Option<String>,
    /// The facet, where the row is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f: Option<String>,
    /// What was seen of it.
    pub st: Status,
    /// How it was read: `feed` or `whole`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// Items read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// The service's own count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The oldest capture at which any part was last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// Why it isn't complete, from a closed list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Changes that the feed missed and a reconciliation found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Properties that the tenant refused to give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The properties that were asked for by name, where they aren't those that the row said last in this segment; empty
    /// also where none are named, since then the service shows what it has; `*` where none are named any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
    /// The permission that lacks, or would do if the code says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// Pages read to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Requests sent, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Resource units that the service charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// When the read began, in milliseconds after `t0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<u64>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

impl Coverage {
    /// A row that says no more than its status.
    pub fn new(collection: &str, relation: Option<&str>, facet: Option<&str>, status: Status) -> Coverage {
        Coverage {
            c: collection.to_owned(),
            r: relation.map(str::to_owned),
            f: facet.map(str::to_owned),
            st: status,
            how: None,
            n: None,
            count: None,
            oldest: None,
            code: None,
            missed: None,
            refused: Vec::new(),
            asked: Vec::new(),
            needs: None,
            pages: None,
            requests: None,
            units: None,
            from_ms: None,
            ms: None,
        }
    }

    /// What the row is about: `user`, `group members` or `user#activity`.
    pub fn subject(&self) -> String {
        match (&self.r, &self.f) {
            (Some(relation), _) => format!("{} {relation}", self.c),
            (None, Some(facet)) => format!("{}#{facet}", self.c),
            (None, None) => self.c.clone(),
        }
    }
}

/// A revoked key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The key id.
    pub id: String,
    /// The first sequence number at which its signatures count no more.
    pub from: u64,
}

/// The body of an entry. `docs/format.md` has the table of members per kind; members that this build doesn't know are
/// left alone, since bytes are never made from a value that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are defined in docs/format.md, section 6, under these names")]
pub struct Body {
    pub v: u64,
    pub kind: String,
    pub origin: String,
    pub seq: u64,
    #[serde(with = "hash_text")]
    pub prev: Hash,
    #[serde(with = "time_text")]
    pub committed: Timestamp,
    #[serde(with = "optional_time_text")]
    pub last_slot: Option<Timestamp>,
    pub state: StateSummary,
    pub req: Vec<String>,
    pub tool: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,

    // capture
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time_text")]
    pub slot: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time_text")]
    pub t0: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_time_text")]
    pub t1: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<Vec<PackRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover: Option<Vec<Coverage>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canon: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facets: Option<u64>,

    // genesis
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,

    // gap, key, void
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Vec<Revocation>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voids: Option<Vec<u64>>,

    // access, hold, release, apply, erase, expire, expired
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,

    // expired
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<BTreeMap<String, u64>>,
}

impl Body {
    /// A body of `kind` that follows `previous` and inherits everything that the kind doesn't change. `leaf` is the leaf
    /// hash of the entry before, which is not `previous` itself where void leaves lie between.
    pub fn following(previous: &Body, seq: u64, leaf: Hash, kind: &str, committed: Timestamp) -> Body {
        Body {
            v: VERSION,
            kind: kind.to_owned(),
            origin: previous.origin.clone(),
            seq,
            prev: leaf,
            committed,
            last_slot: previous.last_slot,
            state: previous.state.clone(),
            req: Vec::new(),
            tool: tool(),
            segment: previous.segment,
            container: previous.container.clone(),
            ..Body::empty()
        }
    }

    /// The body of entry 0. `lists` are the annotations, sets and facets by number.
    pub fn genesis(
        signer: &Verifier,
        recovery: &Verifier,
        tenant: &str,
        lists: serde_json::Value,
        committed: Timestamp,
    ) -> Body {
        Body {
            kind: "genesis".to_owned(),
            origin: signer.name().to_owned(),
            committed,
            keys: Some(vec![signer.to_string()]),
            recovery: Some(recovery.to_string()),
            lists: Some(lists),
            tenant: Some(tenant.to_owned()),
            features: Some(Vec::new()),
            tool: tool(),
            ..Body::empty()
        }
    }

    fn empty() -> Body {
        Body {
            v: VERSION,
            kind: String::new(),
            origin: String::new(),
            seq: 0,
            prev: Hash::ZERO,
            committed: Timestamp::UNIX_EPOCH,
            last_slot: None,
            state: StateSummary::default(),
            req: Vec::new(),
            tool: String::new(),
            segment: None,
            container: None,
            run: None,
            slot: None,
            t0: None,
            t1: None,
            skew_ms: None,
            delta: None,
            base: None,
            packs: None,
            cover: None,
            canon: None,
            facets: None,
            keys: None,
            recovery: None,
            lists: None,
            tenant: None,
            features: None,
            slots: None,
            code: None,
            add: None,
            revoke: None,
            voids: None,
            count: None,
            target: None,
            range: None,
            names: None,
            answers: None,
        }
    }

    /// Whether this is a capture.
    pub fn is_capture(&self) -> bool {
        self.kind == "capture"
    }

    /// Every pack that the entry commits to, in the order of its places: changes, base, the rest.
    pub fn all_packs(&self) -> impl Iterator<Item = &PackRef> {
        let delta = self.delta.iter().flat_map(|delta| &delta.packs);
        let base = self.base.iter().flat_map(|base| &base.packs);
        delta.chain(base).chain(self.packs.iter().flatten())
    }

    /// Whether this capture opens a segment.
    pub fn opens_segment(&self) -> bool {
        self.base.is_some()
    }

    /// The instant at which this capture's state is said to hold, for questions by time: its slot, since that is what
    /// it stands for, else when it began. Where the local clock was off by more than five minutes, Graph's clock
    /// corrects it.
    pub fn query_time(&self) -> Timestamp {
        let local = self.slot.or(self.t0).unwrap_or(self.committed);
        match self.skew_ms {
            Some(skew) if self.slot.is_none() && skew.abs() > MAX_SKEW_MS => {
                local.saturating_add(jiff::SignedDuration::from_millis(skew)).unwrap_or(local)
            }
            _ => local,
        }
    }

    fn has_members_of_its_kind(&self) -> bool {
        let placed = self.segment.is_some() && self.container.is_some();
        match self.kind.as_str() {
            "genesis" => {
                self.keys.is_some() && self.recovery.is_some() && self.lists.is_some() && self.tenant.is_some()
            }
            "capture" => {
                let timed = self.run.is_some() && self.t0.is_some() && self.t1.is_some();
                timed && placed && self.delta.is_some() && self.packs.is_some() && self.cover.is_some()
            }
            "gap" => self.slots.as_ref().is_some_and(|slots| slots.len() == 2) && self.code.is_some(),
            "void" => self.voids.is_some(),
            _ => true,
        }
    }

    /// Canonical bytes.
    fn to_text(&self) -> Vec<u8> {
        let mut value = serde_json::to_value(self).expect("a body has only text keys and finite numbers");
        let members = value.as_object_mut().expect("a struct serialises as an object");
        if self.is_capture() {
            members.entry("base").or_insert(serde_json::Value::Null);
        }
        let written = serde_json::to_vec(&value).expect("a value serialises");
        let json = canonical::parse(&written).expect("what serde_json writes is JSON");
        canonical::canonicalize(&json, &canonical::Rules::default()).expect("a body's numbers are below 2^53")
    }

    /// The signed entry file.
    ///
    /// # Errors
    /// [`InvalidEntry::TooLong`].
    pub fn sign(&self, signer: &Signer) -> Result<Vec<u8>, InvalidEntry> {
        let text = self.to_text();
        let file = frame(&text, signer.verifier().id(), &signer.sign(&signed_message(&text)));
        if file.len() > MAX_LEN { Err(InvalidEntry::TooLong) } else { Ok(file) }
    }
}

/// Skew between the local clock and Graph's beyond which Graph's is used, milliseconds.
pub const MAX_SKEW_MS: i64 = 300_000;

/// What entries name as their writer.
pub fn tool() -> String {
    concat!("tenure/", env!("CARGO_PKG_VERSION")).to_owned()
}

/// The name of entry `seq`.
pub fn entry_name(seq: u64) -> String {
    format!("log/e/{seq:010}")
}

/// The name of the checkpoint of `size` entries.
pub fn checkpoint_name(size: u64) -> String {
    format!("log/k/{size:010}")
}

/// A time exactly as [`crate::clock::format_millis`] writes it.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    (crate::clock::format_millis(time) == text).then_some(time)
}

mod hash_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::hash::Hash;

    pub fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(hash)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod time_text {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::clock::format_millis(*time))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_time(&text).ok_or_else(|| D::Error::custom("not a time in milliseconds"))
    }
}

mod optional_time_text {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time_text::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        super::parse_time(&text).map(Some).ok_or_else(|| D::Error::custom("not a time in milliseconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("tenure/test", [1; 32])
    }

    fn genesis() -> Body {
        let recovery = Signer::from_seed("tenure/test-recovery", [2; 32]);
        let at = "2026-08-01T00:00:00.000Z".parse().unwrap();
        Body::genesis(signer().verifier(), recovery.verifier(), "t", serde_json::json!({}), at)
    }

    #[test]
    fn a_body_round_trips_through_its_file() {
        let body = genesis();
        let file = body.sign(&signer()).unwrap();
        let entry = Entry::parse(&file).unwrap();
        assert_eq!(entry.body, body);
        assert_eq!(entry.file(), file);
        assert!(entry.is_signed_by(signer().verifier()));
        assert!(!entry.is_signed_by(Signer::from_seed("tenure/test", [3; 32]).verifier()));
        assert!(file.starts_with(br#"{"committed":"2026-08-01T00:00:00.000Z","features":[],"keys":["#));
        assert!(String::from_utf8_lossy(&file).contains(r#""last_slot":null"#));
    }

    #[test]
    fn every_flipped_bit_is_refused_or_breaks_the_signature() {
        let file = genesis().sign(&signer()).unwrap();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                let accepted = Entry::parse(&changed).is_ok_and(|entry| entry.is_signed_by(signer().verifier()));
                assert!(!accepted, "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn other_frames_are_refused() {
        let file = genesis().sign(&signer()).unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        for (changed, error) in [
            (text.trim_end().to_owned(), InvalidEntry::Framing),
            (format!("{text}\n"), InvalidEntry::Framing),
            (text.replacen('{', "{ ", 1), InvalidEntry::NotCanonical),
            (text.replacen(r#""v":0"#, r#""v":7"#, 1), InvalidEntry::Version(7)),
            (text.replacen(r#""req":[]"#, r#""req":["x"]"#, 1), InvalidEntry::Requires("x".into())),
            (text.replacen(r#""seq":0"#, r#""seq":"0""#, 1), InvalidEntry::Members),
            (text.replacen("00.000Z", "00Z", 1), InvalidEntry::Members),
            (format!("{}{text}", " ".repeat(MAX_LEN)), InvalidEntry::TooLong),
        ] {
            assert_eq!(Entry::parse(changed.as_bytes()).unwrap_err(), error, "{changed:.80}");
        }
    }

    #[test]
    fn a_skewed_clock_is_corrected_by_the_services() {
        let mut body = genesis();
        body.t0 = Some("2026-08-01T00:00:00Z".parse().unwrap());
        body.skew_ms = Some(-3_600_000);
        assert_eq!(body.query_time().to_string(), "2026-07-31T23:00:00Z");
        body.skew_ms = Some(1_000);
        assert_eq!(body.query_time().to_string(), "2026-08-01T00:00:00Z");
        body.slot = Some("2026-08-01T05:00:00Z".parse().unwrap());
        assert_eq!(body.query_time().to_string(), "2026-08-01T05:00:00Z");
    }
}
