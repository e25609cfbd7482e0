//! What may end and what may not, and why: a pure function of the log, the store's creation times and the time.
//!
//! Must never know: how a file is removed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Retention;
use crate::archive::register::{End, Segment};
use crate::hash::Hash;
use crate::store::Aged;

/// Whose ends are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The archive itself: its log tells of each end.
    Archive,
    /// A copy that follows an archive: what its log, the copied one, says has ended. Nothing is added to that log.
    Copy,
}

/// What is to become of a segment, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It ends: its retention is over and nothing holds it.
    Expire,
    /// Its end was begun and goes on.
    Continue,
    /// It ended, and some of it is still here: that goes too.
    Remainder,
    /// It ended, and nothing is left of it.
    Ended,
    /// It stays: its youngest file has to be kept until then.
    NotYet(Timestamp),
    /// It stays: these entries of the log hold it.
    Held(Vec<u64>),
    /// It stays: the storage holds its container.
    HeldByStorage,
    /// It stays: it is the open segment, or the one before.
    Recent,
    /// It stays: no file of it is there, so that nobody knows how old it is, and no entry says that it ended.
    Missing,
    /// It stays: the log doesn't say that it ended, and this is a copy.
    NotTold,
}

impl Fate {
    /// Whether files go, or an entry says that they went.
    pub fn is_due(&self) -> bool {
        matches!(self, Fate::Expire | Fate::Continue | Fate::Remainder)
    }

    /// The word in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Fate::Expire => "expire",
            Fate::Continue => "continue",
            Fate::Remainder => "remainder",
            Fate::Ended => "ended",
            Fate::NotYet(_) => "not-yet",
            Fate::Held(_) => "held",
            Fate::HeldByStorage => "held-by-storage",
            Fate::Recent => "recent",
            Fate::Missing => "missing",
            Fate::NotTold => "not-told",
        }
    }
}

/// What is known of a segment beside the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// Everything in its place in the store.
    pub files: Vec<Aged>,
    /// Entries that hold it.
    pub holding: Vec<u64>,
    /// Whether the storage holds its container.
    pub is_held: bool,
}

/// A segment in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub segment: u64,
    /// Its container.
    pub container: String,
    /// Its first and last entry.
    pub range: (u64, u64),
    /// What is to become of it.
    pub fate: Fate,
    /// Packs that its entries commit to.
    pub packs: Vec<String>,
    /// Its files in the order in which they go: what no entry names first, then the youngest first. Where the storage's
    /// policy still keeps one it keeps all younger ones, so that the first refusal finds the segment whole.
    pub files: Vec<Aged>,
    /// Committed packs that aren't there.
    pub missing: u64,
}

impl Row {
    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// When its youngest file was created.
    pub fn youngest(&self) -> Option<Timestamp> {
        self.files.iter().map(|file| file.created).max()
    }

    /// The hash over the sorted names of its packs, each with LF.
    pub fn names(&self) -> Hash {
        hash_names(self.packs.iter())
    }
}

fn hash_names<'a>(names: impl Iterator<Item = &'a String>) -> Hash {
    let sorted: BTreeSet<&String> = names.collect();
    let text: String = sorted.into_iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    Hash::of(text.as_bytes())
}

/// What is to become of every segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The log.
    pub origin: String,
    /// By what it was made.
    pub retention: Retention,
    /// The segments in their order.
    pub rows: Vec<Row>,
}

impl Plan {
    /// The plan for `segments` (all of the log, in order) with what was found of each, at `now`.
    pub(super) fn new(
        origin: &str,
        segments: &[&Segment],
        findings: &mut BTreeMap<u64, Findings>,
        retention: Retention,
        scope: Scope,
        now: Timestamp,
    ) -> Plan {
        let recent: Vec<u64> = segments.iter().rev().take(2).map(|segment| segment.number).collect();
        let rows = segments.iter().map(|segment| {
            let found = findings.remove(&segment.number).unwrap_or_default();
            let fate = match recent.contains(&segment.number) {
                true => Fate::Recent,
                false => fate(segment, &found, retention, scope, now),
            };
            let committed: BTreeSet<&String> = segment.packs.iter().collect();
            let mut files = found.files;
            let present = files.iter().filter(|file| committed.contains(&file.name)).count();
            let missing = (committed.len() - present) as u64;
            files.sort_by(|a, b| {
                let key = |file: &Aged| (committed.contains(&file.name), std::cmp::Reverse(file.created));
                key(a).cmp(&key(b)).then_with(|| b.name.cmp(&a.name))
            });
            Row {
                segment: segment.number,
                container: segment.container.clone(),
                range: (segment.number, segment.last),
                missing: if fate == Fate::Recent { 0 } else { missing },
                fate,
                packs: segment.packs.clone(),
                files,
            }
        });
        Plan { origin: origin.to_owned(), retention, rows: rows.collect() }
    }

    /// The rows of which files go.
    pub fn due(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.fate.is_due())
    }

    /// What a person confirms: the hash over everything that is going to be done. Time isn't in it, nor what stays, so
    /// that captures in the meantime don't change it; another file, hold or segment does.
    pub fn hash(&self) -> Hash {
        let mut text = format!("tenure-expire/v0\n{}\n", self.origin);
        for row in self.due() {
            let files = hash_names(row.files.iter().map(|file| &file.name));
            let (word, bytes) = (row.fate.as_str(), row.bytes());
            text.push_str(&format!("{} {} {word} {} {files} {bytes}\n", row.segment, row.container, row.names()));
        }
        Hash::of(text.as_bytes())
    }

    /// The part of the hash that a person types.
    pub fn short(&self) -> String {
        self.hash().short()
    }
}

/// Everything that keeps a segment, before anything that ends it. Retention and holds are looked at again where an end was
/// begun, or told long ago: a longer retention, a younger copy or a new hold counts from when it is there.
fn fate(segment: &Segment, found: &Findings, retention: Retention, scope: Scope, now: Timestamp) -> Fate {
    if scope == Scope::Copy && segment.end != End::Done {
        return Fate::NotTold;
    }
    // Where an end was begun and nothing is left there is nothing to hold, and the end has to be told.
    if !found.holding.is_empty() && (segment.end == End::Open || !found.files.is_empty()) {
        return Fate::Held(found.holding.clone());
    }
    let Some(youngest) = found.files.iter().map(|file| file.created).max() else {
        return match segment.end {
            End::Done => Fate::Ended,
            End::Begun => Fate::Continue,
            End::Open => Fate::Missing,
        };
    };
    let until = retention.end(youngest);
    match segment.end {
        _ if found.is_held => Fate::HeldByStorage,
        _ if now < until => Fate::NotYet(until),
        End::Open => Fate::Expire,
        End::Begun => Fate::Continue,
        End::Done => Fate::Remainder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, end: End) -> Segment {
        let packs = vec![format!("2026-08/s/{number}/b"), format!("2026-08/s/{number}/d")];
        Segment { number, container: "2026-08".to_owned(), last: number + 9, packs, end }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn file(name: String, created: &str) -> Aged {
        Aged { name, len: 5, created: at(created), version: String::new() }
    }

    /// A segment whose base is a month older than its last change.
    fn aged(number: u64) -> Findings {
        let files = vec![
            file(format!("2026-08/s/{number}/b"), "2026-08-01T00:00:00Z"),
            file(format!("2026-08/s/{number}/d"), "2026-09-01T00:00:00.500Z"),
        ];
        Findings { files, ..Findings::default() }
    }

    fn plan(segments: &[Segment], findings: Vec<(u64, Findings)>, scope: Scope, now: &str) -> Plan {
        let segments: Vec<&Segment> = segments.iter().collect();
        let retention = Retention::of_months(84);
        Plan::new("log", &segments, &mut findings.into_iter().collect(), retention, scope, at(now))
    }

    fn three(end: End) -> Vec<Segment> {
        vec![segment(1, end), segment(20, End::Open), segment(40, End::Open)]
    }

    #[test]
    fn the_youngest_file_decides_to_the_millisecond() {
        let fate = |now| plan(&three(End::Open), vec![(1, aged(1))], Scope::Archive, now).rows[0].fate.clone();
        assert_eq!(fate("2033-09-01T00:00:00.499Z"), Fate::NotYet(at("2033-09-01T00:00:00.500Z")));
        assert_eq!(fate("2033-09-01T00:00:00.500Z"), Fate::Expire);
        assert_eq!(fate("2033-09-01T00:00:00.501Z"), Fate::Expire);
    }

    #[test]
    fn the_open_segment_and_the_one_before_never_end() {
        let rows = |count: usize| {
            let all = three(End::Open);
            let findings = vec![(1, aged(1)), (20, aged(20)), (40, aged(40))];
            let plan = plan(&all[..count], findings, Scope::Archive, "2100-01-01T00:00:00Z");
            plan.rows.into_iter().map(|row| row.fate).collect::<Vec<_>>()
        };
        assert_eq!(rows(1), [Fate::Recent]);
        assert_eq!(rows(2), [Fate::Recent, Fate::Recent]);
        assert_eq!(rows(3), [Fate::Expire, Fate::Recent, Fate::Recent]);
    }

    #[test]
    fn what_keeps_a_segment_comes_before_what_ends_it() {
        let late = "2100-01-01T00:00:00Z";
        let fate = |end, found: Findings, scope| plan(&three(end), vec![(1, found)], scope, late).rows[0].fate.clone();
        for end in [End::Open, End::Begun, End::Done] {
            let held = Findings { holding: vec![7], ..aged(1) };
            assert_eq!(fate(end, held, Scope::Archive), Fate::Held(vec![7]));
            let held = Findings { is_held: true, ..aged(1) };
            assert_eq!(fate(end, held, Scope::Archive), Fate::HeldByStorage);
        }
        assert_eq!(fate(End::Begun, aged(1), Scope::Archive), Fate::Continue);
        assert_eq!(fate(End::Done, aged(1), Scope::Archive), Fate::Remainder);
        assert_eq!(fate(End::Open, Findings::default(), Scope::Archive), Fate::Missing);
        assert_eq!(fate(End::Begun, Findings::default(), Scope::Archive), Fate::Continue);
        assert_eq!(fate(End::Done, Findings::default(), Scope::Archive), Fate::Ended);
        assert_eq!(fate(End::Open, aged(1), Scope::Copy), Fate::NotTold);
        assert_eq!(fate(End::Begun, aged(1), Scope::Copy), Fate::NotTold);
        assert_eq!(fate(End::Done, aged(1), Scope::Copy), Fate::Remainder);
    }

    #[test]
    fn leftovers_go_first_then_the_youngest_and_the_hash_knows_every_name() {
        let mut found = aged(1);
        found.files.push(file("2026-08/s/1/orphan".to_owned(), "2026-08-02T00:00:00Z"));
        let late = "2100-01-01T00:00:00Z";
        let with = plan(&three(End::Open), vec![(1, found)], Scope::Archive, late);
        let names: Vec<&str> = with.rows[0].files.iter().map(|file| file.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["orphan", "d", "b"]);
        let without = plan(&three(End::Open), vec![(1, aged(1))], Scope::Archive, late);
        assert_ne!(with.hash(), without.hash());
        assert_eq!(
            without.hash(),
            plan(&three(End::Open), vec![(1, aged(1))], Scope::Archive, "2101-01-01T00:00:00Z").hash()
        );
        assert_ne!(without.hash(), plan(&three(End::Begun), vec![(1, aged(1))], Scope::Archive, late).hash());
        assert_eq!((without.rows[0].missing, without.short().len()), (0, 12));
    }
}
