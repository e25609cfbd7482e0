//! What kind of account every user is at two ends, all read at once.
//!
//! Must never know: what anybody is asked about them for.
//!
//! One after the other they would be looked up, read and parsed at each end, although most said the same at both, and there are a
//! dozen kinds.

use std::sync::Arc;

use super::access::{Assignments, Evaluator, Variants};
use super::ahead::sound_content;
use super::conditional_access::{Identity, Truth};
use super::{Archive, QueryError};
use crate::canonical::Key;
use crate::index::{Version, VersionKind};

/// What is known of somebody at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'e> {
    /// They aren't there.
    Absent,
    /// They are there, and are this.
    As(&'e Identity),
    /// They have to be looked at.
    Unclear,
}

/// Where [`Known`] stands in a row: any other number is that of a kind, counted from behind these.
const ABSENT: u8 = 0;
const UNCLEAR: u8 = 1;
const KINDS_FROM: u8 = 2;

/// Everybody who is there at the second of two ends, in the order of their keys.
#[derive(Default)]
pub(super) struct Everybody {
    people: Vec<(Key, [u8; 2])>,
    kinds: Vec<Identity>,
}

impl Everybody {
    /// Reads all users at two ends.
    ///
    /// # Errors
    /// The archive's.
    pub async fn read(archive: &Archive, sides: [&Evaluator<'_>; 2]) -> Result<Everybody, QueryError> {
        let mut all = Everybody::default();
        let mut wanted = Vec::new();
        for (id, key) in sides[1].facts.objects("user")? {
            let versions = archive.view().versions(id)?;
            let mut known = [UNCLEAR; 2];
            let own = sides.map(|side| side.facts.window.undoubted(&versions));
            for (known, own) in known.iter_mut().zip(own) {
                if own.is_some_and(|version| matches!(version.kind, VersionKind::Removed | VersionKind::Hidden)) {
                    *known = ABSENT;
                }
            }
            let at = all.people.len();
            match own {
                [Some(one), Some(other)] if one.seq == other.seq => wanted.push((*one, (at, [true, true]))),
                own => {
                    let sides = own.into_iter().zip([[true, false], [false, true]]);
                    wanted.extend(sides.filter_map(|(version, ends)| Some((*version?, (at, ends)))));
                }
            }
            all.people.push((key, known));
        }
        wanted.retain(|(version, _)| version.kind == VersionKind::Canonical);
        archive.each_line(wanted, |version, (at, ends), line| all.learn(*at, *ends, version, line)).await?;
        Ok(all)
    }

    /// Everybody, with what is known of them at both ends.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, [Known<'_>; 2])> {
        self.people.iter().map(|(key, known)| {
            let known = known.map(|number| match number {
                ABSENT => Known::Absent,
                UNCLEAR => Known::Unclear,
                kind => Known::As(&self.kinds[usize::from(kind - KINDS_FROM)]),
            });
            (key, known)
        })
    }

    fn learn(&mut self, at: usize, ends: [bool; 2], version: &Version, line: &[u8]) {
        let key = &self.people[at].0;
        let Some(content) = sound_content(line, key, version) else { return };
        let kind = match serde_json::from_slice(content) {
            // As everywhere, what is no JSON says nothing.
            Err(_) => Some(ABSENT),
            Ok(content) => {
                let variants = Variants { all: vec![Arc::new(content)], there: Truth::Yes };
                let person = Assignments::default().person(key, &variants);
                person.and_then(|person| kind_of(&mut self.kinds, person.identity))
            }
        };
        for (known, _) in self.people[at].1.iter_mut().zip(ends).filter(|(_, is_here)| *is_here) {
            *known = kind.unwrap_or(UNCLEAR);
        }
    }
}

/// The number of a kind, new or not; `None` where there are too many.
fn kind_of(kinds: &mut Vec<Identity>, identity: Identity) -> Option<u8> {
    let at = kinds.iter().position(|kind| *kind == identity).unwrap_or_else(|| {
        kinds.push(identity);
        kinds.len() - 1
    });
    u8::try_from(at).ok()?.checked_add(KINDS_FROM)
}
