//! What a person calls an object: by key, id, or a name it has or had; and finding objects by part of a name.
//!
//! Must never know: which properties are names; the model says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{Archive, Instant, QueryError};
use crate::archive::line::Content;
use crate::canonical::Key;
use crate::index::{IndexError, VersionKind};
use crate::model;

/// An object that a name may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The object.
    pub key: Key,
    /// How it is shown.
    pub label: Option<String>,
    /// Whether it is there at the instant that was asked about.
    pub present: bool,
}

/// An object that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The object.
    pub key: Key,
    /// How it is shown, by its content at the instant or its last one.
    pub label: Option<String>,
    /// The names that contain the text, in lower case.
    pub matched: Vec<String>,
    /// Whether it is there at the instant, or at the head where none was asked.
    pub present: bool,
    /// The capture of its last change up to then.
    pub last: u64,
}

/// Names that are offered instead of one that nothing has.
const OFFERED: usize = 5;
/// How alike (0 to 1) a name must be to be offered.
const ALIKE: f64 = 0.85;

impl Archive {
    /// The object that `name` means as of `at`: a key, an id in any collection, or a name; an object that has the name
    /// then goes before those that had it or will.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] with what is called nearly that, [`QueryError::Ambiguous`] with the candidates.
    pub async fn resolve(&self, name: &str, at: &Instant) -> Result<(Key, u32), QueryError> {
        let name = name.trim();
        if let Ok(key) = name.parse::<Key>()
            && let Some(id) = self.view().id(&key)?
            && self.is_known(id)?
        {
            return Ok((key, id));
        }
        let by_id = if name.is_empty() { Vec::new() } else { self.view().keys_with_id(name)? };
        let mut found = Vec::new();
        for (key, id) in by_id {
            if self.is_known(id)? {
                found.push((key, id));
            }
        }
        if found.is_empty() {
            found = self.named(name, at).await?;
        }
        // An object and what the bin shows of it have the same id; the object is what has a history.
        let own: Vec<String> =
            found.iter().filter(|(key, _)| !is_binned(key)).map(|(key, _)| key.id().to_owned()).collect();
        found.retain(|(key, _)| !is_binned(key) || !own.iter().any(|id| id == key.id()));
        match found.len() {
            0 => Err(QueryError::NotFound { name: name.to_owned(), near: self.near(name, at).await? }),
            1 => Ok(found.remove(0)),
            _ => {
                let mut candidates = Vec::new();
                for (key, id) in found {
                    candidates.push(self.candidate(key, id, at.capture.seq).await?);
                }
                candidates.sort_by(|a, b| (b.present, &a.key).cmp(&(a.present, &b.key)));
                Err(QueryError::Ambiguous { name: name.to_owned(), candidates })
            }
        }
    }

    /// As [`Archive::resolve`], of objects of these collections alone.
    ///
    /// # Errors
    /// As [`Archive::resolve`].
    pub async fn resolve_in(&self, name: &str, at: &Instant, collections: &[&str]) -> Result<(Key, u32), QueryError> {
        let fits = |key: &Key| collections.contains(&key.collection());
        match self.resolve(name, at).await {
            Ok((key, id)) if fits(&key) => Ok((key, id)),
            Ok((key, _)) => {
                let mut near = self.near(name, at).await?;
                near.retain(|candidate| fits(&candidate.key) && candidate.key != key);
                Err(QueryError::NotFound { name: name.to_owned(), near })
            }
            Err(QueryError::Ambiguous { name, mut candidates }) => {
                candidates.retain(|candidate| fits(&candidate.key));
                let present = candidates.iter().filter(|candidate| candidate.present).count();
                if present == 1 {
                    candidates.retain(|candidate| candidate.present);
                }
                self.keep_one_of_application(&mut candidates, collections, at).await?;
                match candidates.len() {
                    0 => Err(QueryError::NotFound { name, near: Vec::new() }),
                    1 => {
                        let key = candidates.remove(0).key;
                        let id = self.view().id(&key)?.ok_or(QueryError::NotFound { name, near: Vec::new() })?;
                        Ok((key, id))
                    }
                    _ => Err(QueryError::Ambiguous { name, candidates }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// An application and its service principal have one name and one `appId`: of candidates that are one application the first in the
    /// order of `collections` is meant.
    async fn keep_one_of_application(
        &self,
        candidates: &mut Vec<Candidate>,
        collections: &[&str],
        at: &Instant,
    ) -> Result<(), QueryError> {
        let mut ids = std::collections::BTreeSet::new();
        for candidate in candidates.iter() {
            let is_one = matches!(candidate.key.collection(), "application" | "servicePrincipal");
            let Some(id) = self.view().id(&candidate.key)?.filter(|_| is_one) else { return Ok(()) };
            let content = self.content_at(&candidate.key, id, at.capture.seq).await?;
            let Some((_, Content::Canonical(bytes))) = content else { return Ok(()) };
            let Ok(json) = crate::canonical::parse(&bytes) else { return Ok(()) };
            ids.insert(json.text("appId").map(str::to_lowercase));
        }
        if ids.len() == 1 && !ids.contains(&None) {
            candidates.sort_by_key(|one| collections.iter().position(|name| *name == one.key.collection()));
            candidates.truncate(1);
        }
        Ok(())
    }

    /// Objects with exactly this name: those that have it at the instant, else those that had it at any time known.
    async fn named(&self, name: &str, at: &Instant) -> Result<Vec<(Key, u32)>, QueryError> {
        let wanted = name.to_lowercase();
        let (mut present, mut ever) = (Vec::new(), Vec::new());
        for id in self.view().named(name)? {
            let key = self.view().key(id)?;
            let has = |names: &[String]| names.contains(&wanted);
            if has(&self.names_at(&key, id, at.capture.seq).await?) {
                present.push((key, id));
            } else if has(&self.names_ever(&key, id).await?) {
                ever.push((key, id));
            }
        }
        if present.iter().all(|(key, _)| is_binned(key)) {
            // Only the bin shows the name now: the object that it was counts too. Without either, whoever ever had it.
            let binned: Vec<String> = present.iter().map(|(key, _)| key.id().to_owned()).collect();
            ever.retain(|(key, _)| binned.is_empty() || binned.iter().any(|id| id == key.id()));
            present.extend(ever);
        }
        Ok(present)
    }

    /// Objects whose name contains `text`, letter case apart, sorted by key: names at `at`, or at any time known.
    /// An id or key finds its object too.
    ///
    /// # Errors
    /// The archive's.
    pub async fn search(
        &self,
        text: &str,
        at: Option<&Instant>,
        collection: Option<&str>,
    ) -> Result<Vec<Found>, QueryError> {
        self.search_after(text, at, collection, None, usize::MAX).await
    }

    /// As [`Archive::search`], the first `limit` of those with a key after `after`.
    ///
    /// # Errors
    /// The archive's.
    pub async fn search_after(
        &self,
        text: &str,
        at: Option<&Instant>,
        collection: Option<&str>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Found>, QueryError> {
        let mut hits: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        self.view().each_name_with(text, |hit| {
            hits.entry(hit.id).or_default().push(hit.name);
            Ok::<_, IndexError>(ControlFlow::Continue(()))
        })?;
        if !text.trim().is_empty() {
            for (key, id) in self.view().keys_with_id(text.trim())? {
                hits.entry(id).or_default().push(key.id().to_owned());
            }
        }
        let mut keys = BTreeMap::new();
        for (id, names) in hits {
            let key = self.view().key(id)?;
            let is_wanted = collection.is_none_or(|collection| key.collection() == collection);
            if is_wanted && after.is_none_or(|after| key > *after) {
                keys.insert(key, (id, names));
            }
        }
        let seq = at.map_or(self.head()?.seq, |at| at.capture.seq);
        let mut found = Vec::new();
        for (key, (id, names)) in keys {
            if found.len() >= limit {
                break;
            }
            tokio::task::consume_budget().await;
            let held = match at {
                Some(_) => self.names_at(&key, id, seq).await?,
                None => self.names_ever(&key, id).await?,
            };
            let is_id = |name: &String| name == key.id() && (at.is_none() || !held.is_empty());
            let matched: Vec<String> = names.into_iter().filter(|name| held.contains(name) || is_id(name)).collect();
            let version = self.view().version_at(id, seq)?;
            if matched.is_empty() || version.is_none() {
                continue;
            }
            let last = version.map_or(0, |version| version.seq);
            let Candidate { key, label, present } = self.candidate(key, id, seq).await?;
            found.push(Found { key, label, matched, present, last });
        }
        Ok(found)
    }

    async fn candidate(&self, key: Key, id: u32, seq: u64) -> Result<Candidate, QueryError> {
        let present = match self.view().version_at(id, seq)? {
            Some(version) => version.kind != VersionKind::Removed,
            None => !self.links_at(id, seq)?.is_empty(),
        };
        let label = match self.label(&key, seq).await? {
            Some(label) => Some(label),
            None => self.label(&key, self.head()?.seq).await?,
        };
        Ok(Candidate { key, label, present })
    }

    /// Whether anything is said of the key up to the last capture that counts.
    pub(super) fn is_known(&self, id: u32) -> Result<bool, QueryError> {
        let head = self.head()?.seq;
        Ok(self.view().version_at(id, head)?.is_some()
            || self.view().links_from(id)?.iter().any(|row| row.from <= head)
            || self.view().links_to(id)?.iter().any(|row| row.from <= head))
    }

    async fn names_at(&self, key: &Key, id: u32, seq: u64) -> Result<Vec<String>, QueryError> {
        let content = self.content_at(key, id, seq).await?;
        Ok(content.map(|(_, content)| names_in(&content)).unwrap_or_default())
    }

    async fn names_ever(&self, key: &Key, id: u32) -> Result<Vec<String>, QueryError> {
        let head = self.head()?.seq;
        let mut names = Vec::new();
        for version in self.view().versions(id)?.into_iter().filter(|version| version.seq <= head) {
            if let Some(content) = self.content(key, &version).await? {
                names.extend(names_in(&content));
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// What is called nearly `name`: names that contain it, then those that are spelled alike.
    async fn near(&self, name: &str, at: &Instant) -> Result<Vec<Candidate>, QueryError> {
        let wanted = name.to_lowercase();
        let mut alike: Vec<(f64, u32)> = Vec::new();
        self.view().each_name_with("", |hit| {
            let likeness = if !wanted.is_empty() && hit.name.contains(&wanted) {
                1.0
            } else {
                strsim::jaro_winkler(&wanted, &hit.name)
            };
            if likeness >= ALIKE {
                alike.push((likeness, hit.id));
            }
            Ok::<_, IndexError>(ControlFlow::Continue(()))
        })?;
        alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut near: Vec<Candidate> = Vec::new();
        for (_, id) in alike {
            let key = self.view().key(id)?;
            if near.len() == OFFERED {
                break;
            }
            if self.is_known(id)? && !near.iter().any(|candidate| candidate.key == key) {
                near.push(self.candidate(key, id, at.capture.seq).await?);
            }
        }
        Ok(near)
    }
}

/// The names of content, in lower case.
/// Whether this is what the recycle bin shows of an object, which has the object's own id.
fn is_binned(key: &Key) -> bool {
    key.collection() == "deletedItems"
}

fn names_in(content: &Content) -> Vec<String> {
    let Content::Canonical(bytes) = content else { return Vec::new() };
    let Ok(json) = crate::canonical::parse(bytes) else { return Vec::new() };
    model::names(&json).map(str::to_lowercase).collect()
}
