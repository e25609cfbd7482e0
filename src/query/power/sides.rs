//! A capture and the one before it: what changed between them, what was seen of it, and objects on either side.
//!
//! Must never know: which changes matter.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;

use super::Sight;
use crate::archive::entry::{Body, Coverage, Entry, Status, entry_name};
use crate::archive::line::{Content, Line, Statement};
use crate::archive::note::Verifier;
use crate::archive::reader::{LineReader, ReadError, read_pack};
use crate::canonical::Key;
use crate::index::{IndexError, LinkRow, VersionKind, View};
use crate::query::{QueryError, content_line};
use crate::store::StoreError;

/// Links of one relation that a capture adds or gives other properties: target and `q`.
type Added = BTreeMap<Key, Option<u64>>;

/// What the delta of a capture says of the collections that were asked for.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Keys whose content was put or removed, with the `q` of that.
    pub contents: BTreeMap<Key, Option<u64>>,
    /// By source and relation.
    pub added: BTreeMap<(Key, String), Added>,
}

/// The state before a capture and the one after it.
pub(super) struct Sides<'a> {
    view: &'a View,
    lines: &'a LineReader,
    pub before: u64,
    pub after: u64,
    /// What the capture before saw.
    cover: Vec<Coverage>,
    pub touched: Touched,
}

impl<'a> Sides<'a> {
    /// Reads the delta of the capture `body`, of `collections` alone. `None` where there is nothing to compare: no capture
    /// before it, nothing touched, or a state that isn't known because files are lost.
    pub async fn open(
        view: &'a View,
        lines: &'a LineReader,
        body: &Body,
        collections: &[&str],
    ) -> Result<Option<Sides<'a>>, QueryError> {
        let after = body.seq;
        let before = view.capture_before(after)?;
        let Some(this) = view.capture(after)? else {
            return Err(QueryError::NoSuchCapture { seq: after, before: before.map(|row| row.seq) });
        };
        let Some(before) = before.filter(|before| !before.unknown && !this.unknown) else { return Ok(None) };
        let touched = read_delta(lines, body, collections).await?;
        if touched.contents.is_empty() && touched.added.is_empty() {
            return Ok(None);
        }
        let cover = body_of(view, lines, before.seq).await?.cover.unwrap_or_default();
        Ok(Some(Sides { view, lines, before: before.seq, after, cover, touched }))
    }

    /// How a change of a row came to be seen; `None` where the row was never read before, so that everything in it is new
    /// to the archive and nothing to the tenant.
    pub fn sight(&self, collection: &str, relation: Option<&str>, q: Option<u64>) -> Result<Option<Sight>, QueryError> {
        let row = self.cover.iter().find(|row| row.c == collection && row.r.as_deref() == relation && row.f.is_none());
        let since = |otherwise: Sight| q.map_or(otherwise, Sight::Since);
        Ok(match row.map(|row| (row.st, row.code.as_deref())) {
            // What the gate holds back was read.
            Some((Status::Complete | Status::Rolling, _)) | Some((Status::Partial, Some("gate"))) => {
                Some(since(Sight::Observed))
            }
            Some((Status::Partial, _)) => Some(Sight::First),
            _ => self.was_seen(collection, relation)?.then(|| since(Sight::First)),
        })
    }

    /// Whether the archive held anything of a row before this capture.
    fn was_seen(&self, collection: &str, relation: Option<&str>) -> Result<bool, QueryError> {
        let mut seen = false;
        self.view.each_key(Some(collection), |_, id| {
            seen = match relation {
                None => self.view.version_at(id, self.before)?.is_some(),
                Some(relation) => {
                    let links = self.view.links_from(id)?;
                    links.iter().any(|row| row.relation == relation && row.from <= self.before)
                }
            };
            Ok::<_, IndexError>(if seen { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(seen)
    }

    /// The content of an object as of capture `seq`; `None` where it has none that can be read as JSON.
    pub async fn content(&self, key: &Key, seq: u64) -> Result<Option<Value>, QueryError> {
        let Some(id) = self.view.id(key)? else { return Ok(None) };
        let Some(version) = self.view.version_at(id, seq)? else { return Ok(None) };
        if matches!(version.kind, VersionKind::Removed | VersionKind::Hidden) {
            return Ok(None);
        }
        let (content, _) = content_line(self.view, self.lines, key, &version).await?;
        let (Content::Canonical(bytes) | Content::Raw(bytes)) = content else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Keys of a collection that the archive ever held.
    pub fn keys(&self, collection: &str) -> Result<Vec<Key>, QueryError> {
        let mut keys = Vec::new();
        self.view.each_key(Some(collection), |key, _| {
            keys.push(key);
            Ok::<_, IndexError>(ControlFlow::Continue(()))
        })?;
        Ok(keys)
    }

    /// Links that start at an object now.
    pub fn links_from(&self, key: &Key, relation: &str) -> Result<Vec<Key>, QueryError> {
        let Some(id) = self.view.id(key)? else { return Ok(Vec::new()) };
        self.ends(self.view.links_from(id)?, relation, |row| row.target)
    }

    /// Links that lead to an object now.
    pub fn links_to(&self, key: &Key, relation: &str) -> Result<Vec<Key>, QueryError> {
        let Some(id) = self.view.id(key)? else { return Ok(Vec::new()) };
        self.ends(self.view.links_to(id)?, relation, |row| row.source)
    }

    fn ends(&self, rows: Vec<LinkRow>, relation: &str, end: fn(&LinkRow) -> u32) -> Result<Vec<Key>, QueryError> {
        let held = rows.into_iter().filter(|row| row.relation == relation && row.holds_at(self.after));
        held.map(|row| Ok(self.view.key(end(&row))?)).collect()
    }

    /// Of the links that this capture adds, those that weren't there before: a `+` line may give other properties.
    pub fn new_links(
        &self,
        source: &Key,
        relation: &str,
        added: &Added,
    ) -> Result<Vec<(Key, Option<u64>)>, QueryError> {
        let Some(id) = self.view.id(source)? else { return Ok(Vec::new()) };
        let mut new = added.clone();
        for row in self.view.links_from(id)?.iter().filter(|row| row.relation == relation) {
            if row.holds_at(self.before) {
                new.remove(&self.view.key(row.target)?);
            }
        }
        Ok(new.into_iter().collect())
    }

    /// Objects of a collection that are, or were, looked up by this name.
    pub fn named(&self, collection: &str, name: &str) -> Result<Vec<Key>, QueryError> {
        let keys = self.view.named(name)?.into_iter().map(|id| self.view.key(id)).collect::<Result<Vec<_>, _>>()?;
        Ok(keys.into_iter().filter(|key| key.collection() == collection).collect())
    }

    /// The key of a principal, of which grants hold only the id.
    pub fn principal(&self, id: &str) -> Result<Key, QueryError> {
        for collection in ["user", "servicePrincipal", "group"] {
            let key = Key::new(collection, id);
            if self.view.id(&key)?.is_some() {
                return Ok(key);
            }
        }
        Ok(Key::new("directoryObject", id))
    }
}

async fn read_delta(lines: &LineReader, body: &Body, collections: &[&str]) -> Result<Touched, QueryError> {
    let mut touched = Touched::default();
    for pack in body.delta.iter().flat_map(|delta| &delta.packs) {
        let mut bad = None;
        read_pack(&**lines.store(), pack, |bytes, _| {
            let collection = Line::read_key(bytes).map(|key| key.split('/').next().unwrap_or_default());
            if collection.as_ref().is_ok_and(|name| !collections.contains(name)) {
                return;
            }
            match Line::read(bytes) {
                Ok(line) => take(line, &mut touched),
                Err(source) => bad = Some(source),
            }
        })
        .await?;
        if let Some(source) = bad {
            return Err(ReadError::Line { name: pack.n.clone(), source }.into());
        }
    }
    Ok(touched)
}

fn take(line: Line, touched: &mut Touched) {
    if line.key.facet_name().is_some() {
        return;
    }
    match line.statement {
        Statement::Put(_) | Statement::Remove => drop(touched.contents.insert(line.key, line.q)),
        Statement::Add(relation, targets) => {
            let added = touched.added.entry((line.key, relation)).or_default();
            added.extend(targets.into_keys().map(|target| (target, line.q)));
        }
        Statement::Drop(..) | Statement::Event(_) => {}
    }
}

/// The body of an entry that was indexed, its signature checked against the keys of the archive.
async fn body_of(view: &View, lines: &LineReader, seq: u64) -> Result<Body, QueryError> {
    let file = match lines.store().get(&entry_name(seq)).await {
        Ok(file) => file,
        Err(StoreError::NotFound { .. }) => return Err(QueryError::Entry { seq, source: None }),
        Err(error) => return Err(error.into()),
    };
    let entry = Entry::parse(&file).map_err(|source| QueryError::Entry { seq, source: Some(source) })?;
    let position = view.position()?;
    let keys = position.iter().flat_map(|position| &position.keys).filter_map(|key| key.parse::<Verifier>().ok());
    let signed = position.is_none() || keys.into_iter().any(|key| entry.is_signed_by(&key));
    match signed && entry.body.seq == seq {
        true => Ok(entry.body),
        false => Err(QueryError::Entry { seq, source: None }),
    }
}
