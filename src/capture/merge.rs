//! From what was seen to what changed: every object seen or missed, compared with the head, in key order.
//!
//! Must never know: how the tenant was read, how packs are written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};

use tempfile::SpooledTempFile;

use super::gather::{Gathered, Seenness};
use super::object::{self, Known, LastRead, Scope, Verdict};
use super::progress::{Progress, Update};
use super::rows::{self, Rows};
use super::spool::{Phase, Record, Seen};
use super::{CaptureError, Options, Request};
use crate::archive::Key;
use crate::archive::entry::{Body, Entry, Status, entry_name};
use crate::archive::line::{Change, Content, ContentChange, Line, Statement};
use crate::archive::reader::{LineReader, ReadError};
use crate::archive::trie;
use crate::collect::COLLECTIONS;
use crate::graph::Receipt;
use crate::hash::Hash;
use crate::index::{IndexError, VersionKind, View};
use crate::model;

/// Bytes of changed lines of one collection that stay in memory.
const SECTION_BYTES: usize = 8 << 20;

/// Properties that Graph's change feed doesn't track: a reconciliation that finds them changed has found nothing that
/// the feed missed (learn, user-delta).
const UNTRACKED: &[(&str, &[&str])] = &[("user", &["licenseAssignmentStates"])];

/// What a capture will commit, as far as it doesn't depend on where.
pub(super) struct Merged {
    /// By collection and slash, so that they stand in key order: the lines of each key.
    pub sections: BTreeMap<String, Section>,
    /// Hashed key, value before, value after.
    pub leaves: Vec<(Hash, Hash, Hash)>,
    pub counts: Counts,
    pub gated: Vec<u8>,
    pub rows: Rows,
    pub receipts: Vec<Receipt>,
    pub update: Update,
    pub troubles: Vec<(String, String)>,
    pub last: Option<Body>,
}

/// Counts of an entry's delta, and what they do to the state.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub put: u64,
    pub del: u64,
    pub ladd: u64,
    pub ldel: u64,
    pub objects: i64,
    pub links: i64,
}

/// Lines of one collection, key by key.
pub(super) struct Section {
    file: SpooledTempFile,
}

impl Section {
    fn new() -> Self {
        Section { file: SpooledTempFile::new(SECTION_BYTES) }
    }

    fn push(&mut self, key: &Key, lines: &[u8]) -> io::Result<()> {
        for bytes in [key.as_str().as_bytes(), lines] {
            self.file.write_all(&(bytes.len() as u32).to_le_bytes())?;
            self.file.write_all(bytes)?;
        }
        Ok(())
    }

    /// Calls `each` with the lines of every key in order.
    pub fn read(&mut self, mut each: impl FnMut(&str, &[u8])) -> io::Result<()> {
        self.file.flush()?;
        self.file.rewind()?;
        let mut reader = io::BufReader::new(&mut self.file);
        let mut len = [0; 4];
        loop {
            match reader.read_exact(&mut len) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            let mut key = vec![0; u32::from_le_bytes(len) as usize];
            reader.read_exact(&mut key)?;
            reader.read_exact(&mut len)?;
            let mut lines = vec![0; u32::from_le_bytes(len) as usize];
            reader.read_exact(&mut lines)?;
            each(std::str::from_utf8(&key).map_err(io::Error::other)?, &lines);
        }
    }
}

/// What the head says of a key.
pub(super) async fn known(view: &View, lines: &LineReader, id: u32) -> Result<Known, CaptureError> {
    let mut known = Known::default();
    if let Some(version) = view.version_at(id, u64::from(u32::MAX))? {
        known.content = match version.kind {
            VersionKind::Removed => None,
            VersionKind::Hidden => Some(Content::Hidden(version.content)),
            VersionKind::Canonical | VersionKind::Raw => {
                let pack = view.pack(version.pack)?;
                let bytes = lines.line(&pack.name, pack.len, version.place).await?;
                let line = Line::read(&bytes).map_err(|source| ReadError::Line { name: pack.name.clone(), source })?;
                match line.statement {
                    Statement::Put(content) if content.hash() == version.content => Some(content),
                    _ => {
                        let (expected, found) = (version.content.to_string(), "another record".to_owned());
                        return Err(ReadError::Damaged { name: pack.name, expected, found }.into());
                    }
                }
            }
        };
    }
    for link in view.links_from(id)?.into_iter().filter(|link| link.until.is_none()) {
        let properties = (!link.properties.is_empty()).then_some(link.properties);
        known.links.entry(link.relation).or_default().insert(view.key(link.target)?, properties);
    }
    Ok(known)
}

struct Merger<'a> {
    view: &'a View,
    lines: &'a LineReader,
    progress: &'a Progress,
    options: &'a Options,
    request: &'a Request,
    last_seq: Option<u64>,
    first_seq: Option<u64>,
    /// The capture whose state the index holds, where that isn't the last one.
    known_until: Option<u64>,
    reconciled: BTreeSet<&'static str>,
    /// By collection: children whose parent no longer has them, with the `q` of that.
    lapsed: BTreeMap<&'static str, BTreeMap<Key, Option<u64>>>,
    /// Children under a parent that was last read long ago.
    child_q: BTreeMap<Key, u64>,
    swept: BTreeMap<String, BTreeMap<String, u64>>,
    out: Merged,
}

/// Compares what was gathered with the head.
pub(super) async fn merge(
    gathered: Gathered,
    view: &View,
    lines: &LineReader,
    progress: &Progress,
    options: &Options,
    request: &Request,
) -> Result<Merged, CaptureError> {
    let last_seq = view.last_capture()?.map(|capture| capture.seq);
    let last = match last_seq {
        Some(seq) => {
            let file = lines.store().get(&entry_name(seq)).await?;
            Entry::parse(&file).ok().map(|entry| entry.body)
        }
        None => None,
    };
    let Gathered { collections, rows, receipts, feeds, swept, troubles, reconciled, .. } = gathered;
    let update = Update { feeds, swept, ..Update::default() };
    let out = Merged {
        sections: BTreeMap::new(),
        leaves: Vec::new(),
        counts: Counts::default(),
        gated: Vec::new(),
        rows,
        receipts,
        update,
        troubles,
        last,
    };
    let mut merger = Merger {
        view,
        lines,
        progress,
        options,
        request,
        last_seq,
        first_seq: view.capture_after(0)?.map(|capture| capture.seq),
        known_until: match view.is_state_known()? {
            true => None,
            false => Some(view.last_known_capture()?.map_or(0, |capture| capture.seq)),
        },
        reconciled,
        lapsed: BTreeMap::new(),
        child_q: BTreeMap::new(),
        swept: BTreeMap::new(),
        out,
    };
    let mut collections = collections;
    for recipe in COLLECTIONS {
        if let Some(seenness) = collections.remove(recipe.collection) {
            merger.collection(recipe.collection, seenness).await?;
        }
    }
    merger.close_rows();
    Ok(merger.out)
}

impl Merger<'_> {
    async fn collection(&mut self, name: &'static str, seenness: Seenness) -> Result<(), CaptureError> {
        let recipe = crate::collect::find(name).expect("only collections of the table are gathered");
        let scope = Scope {
            first_full: seenness.first_full,
            whole: seenness.whole,
            generations: seenness.generations,
            refused: seenness.refused.into_iter().collect(),
            feed_relations: recipe.relations.iter().filter(|r| r.feed).map(|r| r.name).collect(),
            untracked: UNTRACKED.iter().find(|(collection, _)| *collection == name).map_or(&[], |(_, names)| names),
            nulls_may_lack: recipe.has_feed(),
        };
        for relation in model::find(name).expect("in the table").relations {
            let row = rows::text(&(name.to_owned(), Some(relation.name.to_owned())));
            let swept = self.progress.swept(&row)?;
            self.swept.insert(row, swept);
        }
        let lapsed = self.lapsed.remove(name).unwrap_or_default();
        let mut present = 0u64;
        let mut unseen = BTreeMap::new();
        if scope.first_full || scope.whole == Some(true) {
            self.view.each_key::<IndexError>(Some(name), |key, id| {
                unseen.insert(key, id);
                Ok(std::ops::ControlFlow::Continue(()))
            })?;
        }
        let mut drain = seenness.spool.drain()?;
        let mut next = drain.next()?;
        let mut extra: BTreeSet<Key> = unseen.into_keys().chain(lapsed.keys().cloned()).collect();
        let mut section = Section::new();
        let mut inferred = Vec::new();
        loop {
            let (key, records) = match (next.take(), extra.first()) {
                (None, None) => break,
                (Some((key, records)), other) if other.is_none_or(|other| key <= *other) => {
                    extra.remove(&key);
                    next = drain.next()?;
                    (key, records)
                }
                (held, _) => {
                    next = held;
                    (extra.pop_first().expect("the other case has handled an empty set"), Vec::new())
                }
            };
            let id = self.view.id(&key)?;
            let prior = match id {
                Some(id) => known(self.view, self.lines, id).await?,
                None => Known::default(),
            };
            present += u64::from(prior.content.is_some());
            let lapsed = lapsed.get(&key).filter(|_| !records.iter().any(|r| matches!(r.seen, Seen::Content { .. })));
            let verdict = match lapsed {
                Some(_) => Verdict::default(),
                None => object::judge(&prior, &records, &scope),
            };
            if verdict.inferred_gone && lapsed.is_none() {
                inferred.push((key, prior, verdict));
                continue;
            }
            let q = lapsed.copied();
            self.object(name, &key, &prior, verdict, q, &records, &mut section)?;
        }
        let looked = scope.first_full || scope.whole == Some(true);
        let section = self.removals(name, inferred, present, section, looked, scope.first_full)?;
        self.out.sections.insert(format!("{name}/"), section);
        Ok(())
    }

    /// Writes what became of one object.
    #[allow(clippy::too_many_arguments, reason = "one call site; a struct of these would only rename them")]
    fn object(
        &mut self,
        name: &'static str,
        key: &Key,
        prior: &Known,
        verdict: Verdict,
        lapsed: Option<Option<u64>>,
        records: &[Record],
        section: &mut Section,
    ) -> Result<(), CaptureError> {
        self.children(name, key, prior, &verdict, records);
        if verdict.known == *prior {
            return Ok(());
        }
        let read = self.last_read(name, key, prior, &verdict, lapsed);
        let Some(change) = object::change(prior, &verdict.known, &read) else { return Ok(()) };
        if verdict.missed_content {
            self.missed(name, None);
        }
        for relation in &verdict.missed_links {
            self.missed(name, Some(relation));
        }
        self.write(key, prior, &verdict.known, &change, section)
    }

    fn missed(&mut self, collection: &str, relation: Option<&str>) {
        if let Some(row) = self.out.rows.get_mut(collection, relation) {
            *row.missed.get_or_insert(0) += 1;
        }
    }

    fn write(
        &mut self,
        key: &Key,
        prior: &Known,
        after: &Known,
        change: &Change,
        section: &mut Section,
    ) -> Result<(), CaptureError> {
        let counts = &mut self.out.counts;
        match &change.content {
            Some((ContentChange::Put(_), _)) => counts.put += 1,
            Some((ContentChange::Remove, _)) => {
                counts.del += 1;
                counts.ldel += prior.link_count();
            }
            _ => {}
        }
        for link in change.links.values() {
            counts.ladd += link.added.len() as u64;
            counts.ldel += link.removed.len() as u64;
        }
        counts.links += after.link_count() as i64 - prior.link_count() as i64;
        let hash = trie::key_hash(key);
        // The index at the head was compared with the signed root: what it says needs no second hashing.
        let (before, value) = (self.view.leaf(&hash)?, after.value());
        counts.objects += i64::from(!value.is_zero()) - i64::from(!before.is_zero());
        if before != value {
            self.out.leaves.push((hash, before, value));
        }
        let mut lines = Vec::new();
        change.write(key, &mut lines);
        section.push(key, &lines)?;
        Ok(())
    }

    /// What becomes of the objects that hang under this one: gone with it, or no longer listed under it.
    fn children(&mut self, name: &str, key: &Key, prior: &Known, verdict: &Verdict, records: &[Record]) {
        for relation in model::find(name).expect("in the table").relations {
            let Some(child) = relation.targets else { continue };
            let was_read = records.iter().any(|record| {
                matches!(&record.seen, Seen::Links { relation: read, .. } if record.phase == Phase::Links && read == relation.name)
            });
            let gone = verdict.known.content.is_none() && prior.content.is_some();
            if !was_read && !gone {
                continue;
            }
            let q = if gone { self.row_q(name, None) } else { self.source_q(name, relation.name, key, prior) };
            let none = BTreeMap::new();
            let now = verdict.known.links.get(relation.name).unwrap_or(&none);
            for target in prior.links.get(relation.name).unwrap_or(&none).keys() {
                if !now.contains_key(target) {
                    self.lapsed.entry(child).or_default().insert(target.clone(), q);
                }
            }
            if let Some(q) = q {
                self.child_q.extend(now.keys().map(|target| (target.clone(), q)));
            }
            if gone {
                // A removal that follows from the parent's was seen, though the row was not read.
                for (collection, relation) in [(child, None), (name, Some(relation.name))] {
                    if let Some(row) = self.out.rows.get_mut(collection, relation) {
                        row.st = match row.st {
                            Status::NotDue => Status::Rolling,
                            Status::Carried | Status::Absent => Status::Partial,
                            other => other,
                        };
                    }
                }
            }
        }
    }

    fn last_read(
        &self,
        name: &'static str,
        key: &Key,
        prior: &Known,
        verdict: &Verdict,
        lapsed: Option<Option<u64>>,
    ) -> LastRead {
        let whole = |relation: Option<&str>| {
            let row = rows::text(&(name.to_owned(), relation.map(str::to_owned)));
            let last = self.progress.row(&row).ok().and_then(|(_, whole)| whole).or(self.first_seq);
            last.filter(|seq| Some(*seq) != self.last_seq)
        };
        let mut read = LastRead { content: self.row_q(name, None), links: BTreeMap::new() };
        if let Some(q) = lapsed {
            read.content = q;
        } else if verdict.missed_content || verdict.untracked_content {
            read.content = whole(None);
        } else if let Some(q) = self.child_q.get(key) {
            read.content = Some(*q);
        }
        for relation in verdict.known.links.keys().chain(prior.links.keys()) {
            let recipe = crate::collect::find(name).expect("in the table");
            let by_feed = recipe.relation(relation).is_some_and(|relation| relation.feed);
            let q = match (verdict.missed_links.contains(relation), by_feed) {
                (true, _) => whole(Some(relation)),
                (false, true) => self.row_q(name, Some(relation)),
                (false, false) => self.source_q(name, relation, key, prior),
            };
            read.links.insert(relation.clone(), q);
        }
        // What was read after that is lost with the entries that said so.
        if let Some(known) = self.known_until {
            let earlier = |q: &mut Option<u64>| *q = Some(q.map_or(known, |q| q.min(known)));
            earlier(&mut read.content);
            read.links.values_mut().for_each(earlier);
        }
        read
    }

    /// When a row that is read at once was last complete, if that wasn't at the capture just before.
    fn row_q(&self, collection: &str, relation: Option<&str>) -> Option<u64> {
        let last = self.out.last.as_ref()?;
        if rows::was_complete(last, collection, relation) {
            return None;
        }
        let row = rows::text(&(collection.to_owned(), relation.map(str::to_owned)));
        let complete = self.progress.row(&row).ok().and_then(|(complete, _)| complete);
        complete.or(self.first_seq).filter(|seq| Some(*seq) != self.last_seq)
    }

    /// When this source's relation was last read, if that wasn't at the capture just before.
    fn source_q(&self, collection: &str, relation: &str, source: &Key, prior: &Known) -> Option<u64> {
        if prior.content.is_none() {
            return self.row_q(collection, None);
        }
        let row = rows::text(&(collection.to_owned(), Some(relation.to_owned())));
        let swept = self.swept.get(&row).and_then(|swept| swept.get(source.as_str())).copied();
        swept.or(self.first_seq).filter(|seq| Some(*seq) != self.last_seq)
    }

    /// Commits or holds back what is gone only because it wasn't seen, and puts it in order with the rest.
    fn removals(
        &mut self,
        name: &'static str,
        inferred: Vec<(Key, Known, Verdict)>,
        present: u64,
        mut section: Section,
        looked: bool,
        first_full: bool,
    ) -> Result<Section, CaptureError> {
        if !looked {
            // An hour in which only the feed was read says nothing of absence: what is held back stays held back.
            return Ok(section);
        }
        let count = inferred.len() as u64;
        let held_before = self.progress.gated(name)?;
        let many = count > self.options.gate_minimum && count as f64 > present as f64 * self.options.gate_share;
        let is_held = |key: &Key| many && !self.request.accept_removals && !held_before.contains(key.as_str());
        let mut held = Vec::new();
        let mut removed = Section::new();
        for (key, prior, verdict) in inferred {
            if is_held(&key) {
                Line { key: key.clone(), statement: Statement::Remove, q: None }.write(&mut self.out.gated);
                held.push(key);
            } else {
                self.object(name, &key, &prior, verdict, None, &[], &mut removed)?;
            }
        }
        if !held.is_empty() {
            for relation in std::iter::once(None)
                .chain(model::find(name).expect("in the table").relations.iter().map(|r| Some(r.name)))
            {
                if let Some(row) = self.out.rows.get_mut(name, relation)
                    && row.st == Status::Complete
                {
                    row.st = Status::Partial;
                    row.code = Some("gate".to_owned());
                }
            }
            if first_full {
                // The next round must begin from nothing, or these absences would never be looked at again.
                self.out.update.feeds.insert(name.to_owned(), None);
            }
        }
        if !held.is_empty() || !held_before.is_empty() {
            self.out.update.gated.insert(name.to_owned(), held);
        }
        if count == 0 {
            return Ok(section);
        }
        let mut sorted: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        removed.read(|key, lines| {
            sorted.insert(key.to_owned(), lines.to_vec());
        })?;
        let mut both = Section::new();
        let mut failed = Ok(());
        let mut push = |key: &str, lines: &[u8]| {
            if failed.is_ok() {
                failed =
                    both.push(&key.parse().map_err(io::Error::other).expect("a key that was written above"), lines);
            }
        };
        section.read(|key, lines| {
            while let Some(first) = sorted.first_entry().filter(|first| first.key().as_str() < key) {
                let (key, lines) = first.remove_entry();
                push(&key, &lines);
            }
            push(key, lines);
        })?;
        for (key, lines) in &sorted {
            push(key, lines);
        }
        failed?;
        Ok(both)
    }

    /// What the local state remembers of the rows once this is committed; the number comes with the commit.
    fn close_rows(&mut self) {
        for (name, row) in &self.out.rows.0 {
            if row.st != Status::Complete {
                continue;
            }
            let by_list = row.how.as_deref() == Some("whole");
            // A relation with one target at most is not read whole, not even then.
            let single = name.1.as_deref().is_some_and(|relation| {
                let recipe = crate::collect::find(&name.0);
                recipe.and_then(|recipe| recipe.relation(relation)).is_some_and(|relation| relation.single)
            });
            let reconciled = self.reconciled.contains(name.0.as_str()) && !single;
            let is_first = self.out.last.is_none();
            let whole = by_list || reconciled || is_first;
            self.out.update.rows.insert(rows::text(name), (Some(1), whole.then_some(1)));
        }
    }
}
