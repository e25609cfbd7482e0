//! From what was seen to what changed: every object seen or missed, compared with the head, in key order.
//!
//! Must never know: how the tenant was read, how packs are written.

use std::collections::{BTreeMap, BTreeSet};

use super::gather::Gathered;
use super::object::{self, Known, LastRead, Scope, Verdict};
use super::progress::{Progress, Update};
use super::rows::{self, Part, Rows};
use super::section::Section;
use super::seen::{ORGANIZATION, Seenness};
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

/// Properties that Graph's change feed doesn't track: a reconciliation that finds them changed has found nothing that
/// the feed missed (learn, user-delta).
const UNTRACKED: &[(&str, &[&str])] = &[("user", &["licenseAssignmentStates"])];

/// What a capture will commit, as far as it doesn't depend on where.
pub(super) struct Merged {
    /// By collection and slash, so that they stand in key order: the lines of each key.
    pub sections: BTreeMap<String, Section>,
    /// The lines of what happened, by collection likewise: no part of the state.
    pub events: BTreeMap<String, Section>,
    /// Hashed key and value of each event.
    pub event_leaves: Vec<(Hash, Hash)>,
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

/// Holds the organization that answered against the one in the archive: a managed identity, or a changed configuration,
/// may lead to another tenant, and two tenants in one archive could never be told apart again.
pub(super) async fn check_tenant(gathered: &Gathered, view: &View, lines: &LineReader) -> Result<(), CaptureError> {
    let id = |content: &[u8]| crate::canonical::parse(content).ok()?.text("id").map(str::to_owned);
    for (key, content) in gathered.collections.get(ORGANIZATION).into_iter().flat_map(|seenness| &seenness.kept) {
        let Some(known) = view.id(key)? else { continue };
        let Some(Content::Canonical(known)) = self::known(view, lines, known).await?.content else { continue };
        if let (Some(known), Some(seen)) = (id(&known), id(content))
            && !known.eq_ignore_ascii_case(&seen)
        {
            return Err(CaptureError::OtherTenant { known, seen });
        }
    }
    Ok(())
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
    /// Objects with facets that are gone now.
    gone: BTreeSet<Key>,
    out: Merged,
}

/// An object or facet that wasn't seen, or a facet of one: what was known of it, and what would follow.
type Inferred = (Key, Known, Verdict);

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
    let Gathered { collections, rows, receipts, update, troubles, reconciled, .. } = gathered;
    let out = Merged {
        sections: BTreeMap::new(),
        events: BTreeMap::new(),
        event_leaves: Vec::new(),
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
        gone: BTreeSet::new(),
        out,
    };
    let mut collections = collections;
    for recipe in COLLECTIONS {
        if let Some(seenness) = collections.remove(recipe.collection) {
            match recipe.is_events() {
                true => merger.events(recipe.collection, seenness)?,
                false => merger.collection(recipe.collection, seenness).await?,
            }
        }
    }
    merger.close_rows();
    Ok(merger.out)
}

impl Merger<'_> {
    /// Events are recorded as they came, each once.
    fn events(&mut self, name: &'static str, seenness: Seenness) -> Result<(), CaptureError> {
        let mut drain = seenness.spool.drain()?;
        let mut section = Section::new();
        while let Some((key, records)) = drain.next()? {
            let Some(content) = records.into_iter().find_map(|record| match record.seen {
                Seen::Event { content } => Some(content),
                _ => None,
            }) else {
                continue;
            };
            self.out.event_leaves.push((trie::key_hash(&key), trie::event_value(content.hash())));
            let mut lines = Vec::new();
            Line { key: key.clone(), statement: Statement::Event(content), q: None }.write(&mut lines);
            section.push(&key, &lines)?;
        }
        self.out.events.insert(format!("{name}/"), section);
        Ok(())
    }

    async fn collection(&mut self, name: &'static str, seenness: Seenness) -> Result<(), CaptureError> {
        let recipe = crate::collect::find(name).expect("only collections of the table are gathered");
        let looked_whole = seenness.first_full || seenness.whole == Some(true);
        let facets = seenness.facets.clone();
        let is_looked = |facet: Option<&str>| match facet {
            None => looked_whole,
            Some(facet) => facets.get(facet).is_some_and(|facet| facet.is_full),
        };
        let (scope, spool) = scope_of(recipe, seenness);
        let hidden = hidden_kinds(recipe, &scope.refused);
        let lapsed = self.lapsed.remove(name).unwrap_or_default();
        let mut unseen = BTreeSet::new();
        if looked_whole || facets.values().any(|facet| facet.is_full) {
            self.view.each_key::<IndexError>(Some(name), |key, _| {
                if is_looked(key.facet_name()) {
                    unseen.insert(key);
                }
                Ok(std::ops::ControlFlow::Continue(()))
            })?;
        }
        let mut present: BTreeMap<Option<String>, u64> = BTreeMap::new();
        let mut drain = spool.drain()?;
        let mut next = drain.next()?;
        let mut extra: BTreeSet<Key> = unseen.into_iter().chain(lapsed.keys().cloned()).collect();
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
            let prior = match self.view.id(&key)? {
                Some(id) => known(self.view, self.lines, id).await?,
                None => Known::default(),
            };
            let facet = key.facet_name();
            if records.is_empty() && facet.is_none() && is_hidden(&prior, &hidden) {
                continue;
            }
            *present.entry(facet.map(str::to_owned)).or_default() += u64::from(prior.content.is_some());
            let lapsed = lapsed.get(&key).filter(|_| !records.iter().any(|r| matches!(r.seen, Seen::Content { .. })));
            let verdict = match (lapsed, facet) {
                (Some(_), _) => Verdict::default(),
                // What is gone has no facets, whatever a list that lags still shows.
                (None, Some(_)) if self.gone.contains(&key.object()) => Verdict::default(),
                (None, None) => object::judge(&prior, &records, &scope),
                (None, Some(facet)) => {
                    let seen = facets.get(facet).copied().unwrap_or_default();
                    let generations = BTreeMap::from([(Phase::First, seen.generation)]);
                    object::judge(
                        &prior,
                        &records,
                        &Scope { first_full: seen.is_full, generations, ..Scope::default() },
                    )
                }
            };
            // What becomes of the facets of an object that may be gone is decided with it.
            let object = inferred.iter().rev().map(|(key, ..): &Inferred| key).find(|key| key.facet_name().is_none());
            let is_of_inferred = facet.is_some() && object.is_some_and(|object| *object == key.object());
            if lapsed.is_none() && (verdict.inferred_gone || is_of_inferred) {
                if facet.is_none() {
                    extra.extend(self.facets_of(name, &key)?);
                }
                inferred.push((key, prior, verdict));
                continue;
            }
            let is_of_gone = facet.is_some() && self.gone.contains(&key.object());
            let q = lapsed.copied().or_else(|| is_of_gone.then(|| self.row_q(name, Part::Objects)));
            if let Some(facet) = facet.filter(|_| is_of_gone) {
                self.open_row(name, Part::Facet(facet));
            }
            self.object(name, &key, &prior, verdict, q, &records, &mut section)?;
            if self.gone.contains(&key) {
                extra.extend(self.facets_of(name, &key)?);
            }
        }
        let mut removed = BTreeMap::new();
        let facets_of_all = model::find(name).expect("in the table").facets.iter().map(|facet| Some(facet.name));
        for facet in std::iter::once(None).chain(facets_of_all) {
            let present = present.get(&facet.map(str::to_owned)).copied().unwrap_or(0);
            let (mine, others) = inferred.into_iter().partition(|(key, ..)| key.facet_name() == facet);
            inferred = others;
            let mine = self.decided_with_object(name, mine, &mut removed)?;
            if is_looked(facet) {
                self.removals(name, facet, mine, present, scope.first_full, &mut removed)?;
            }
        }
        let section = if removed.is_empty() { section } else { section.merged(&removed)? };
        self.out.sections.insert(format!("{name}/"), section);
        Ok(())
    }

    /// The facets that are known of an object.
    fn facets_of(&self, name: &str, key: &Key) -> Result<Vec<Key>, CaptureError> {
        let mut known = Vec::new();
        for facet in model::find(name).expect("in the table").facets {
            let facet = key.facet(facet.name);
            if !self.view.leaf(&trie::key_hash(&facet))?.is_zero() {
                known.push(facet);
            }
        }
        Ok(known)
    }

    /// Of the facets of objects that were missing: writes what follows from what became of the object, or was seen, and
    /// returns those that are missing themselves. Objects are returned as they are.
    fn decided_with_object(
        &mut self,
        name: &'static str,
        inferred: Vec<Inferred>,
        removed: &mut BTreeMap<String, Vec<u8>>,
    ) -> Result<Vec<Inferred>, CaptureError> {
        let mut left = Vec::new();
        let mut decided = Section::new();
        for (key, prior, verdict) in inferred {
            let Some(facet) = key.facet_name() else {
                left.push((key, prior, verdict));
                continue;
            };
            if self.gone.contains(&key.object()) {
                let q = self.row_q(name, Part::Objects);
                self.open_row(name, Part::Facet(facet));
                self.object(name, &key, &prior, Verdict::default(), Some(q), &[], &mut decided)?;
            } else if verdict.inferred_gone {
                left.push((key, prior, verdict));
            } else {
                self.object(name, &key, &prior, verdict, None, &[], &mut decided)?;
            }
        }
        take_lines(decided, removed)?;
        Ok(left)
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
            self.missed(name, Part::Objects);
        }
        if !verdict.is_explained {
            for relation in &verdict.missed_links {
                self.missed(name, Part::Relation(relation));
            }
        }
        self.write(key, prior, &verdict.known, &change, section)
    }

    fn missed(&mut self, collection: &str, part: Part<'_>) {
        if let Some(row) = self.out.rows.get_mut(collection, part) {
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
        let gone = verdict.known.content.is_none() && prior.content.is_some();
        if gone && key.facet_name().is_none() {
            let rows = super::sweep::rows_of(name);
            self.out.update.departed.extend(rows.map(|row| (row, key.clone())));
            self.own_gone(name, key);
            if !model::find(name).expect("in the table").facets.is_empty() {
                self.gone.insert(key.clone());
            }
        }
        for relation in model::find(name).expect("in the table").relations {
            let Some(child) = relation.targets else { continue };
            let was_read = records.iter().any(|record| {
                matches!(&record.seen, Seen::Links { relation: read, .. } if record.phase == Phase::Links && read == relation.name)
            });
            if !was_read && !gone {
                continue;
            }
            let q = if gone { self.row_q(name, Part::Objects) } else { self.source_q(name, relation.name, key, prior) };
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
                self.open_row(child, Part::Objects);
                self.open_row(name, Part::Relation(relation.name));
            }
        }
    }

    /// What there is one of for each object goes with it.
    fn own_gone(&mut self, name: &str, key: &Key) {
        for recipe in COLLECTIONS.iter().filter(|recipe| recipe.per() == Some(name)) {
            let own = Key::new(recipe.collection, &key.decoded_id());
            if self.view.id(&own).ok().flatten().is_some() {
                let q = self.row_q(name, Part::Objects);
                self.lapsed.entry(recipe.collection).or_default().insert(own, q);
                self.open_row(recipe.collection, Part::Objects);
            }
        }
    }

    /// Makes room for a change under a row that wasn't read.
    fn open_row(&mut self, collection: &str, part: Part<'_>) {
        if let Some(row) = self.out.rows.get_mut(collection, part) {
            row.st = match row.st {
                Status::NotDue => Status::Rolling,
                Status::Carried | Status::Absent => Status::Partial,
                other => other,
            };
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
        let whole = |part: Part<'_>| {
            let last = self.progress.row(&rows::text(name, part)).ok().and_then(|(_, whole)| whole).or(self.first_seq);
            last.filter(|seq| Some(*seq) != self.last_seq)
        };
        let recipe = crate::collect::find(name).expect("in the table");
        let objects = Part::of_facet(key.facet_name());
        let mut read = LastRead { content: self.row_q(name, objects), links: BTreeMap::new() };
        if let Some(q) = lapsed {
            read.content = q;
        } else if let Some(parent) = recipe.per() {
            read.content = self.own_q(name, parent, key);
        } else if verdict.missed_content || verdict.untracked_content {
            read.content = whole(objects);
        } else if let Some(q) = self.child_q.get(key) {
            read.content = Some(*q);
        }
        for relation in verdict.known.links.keys().chain(prior.links.keys()) {
            let by_feed = recipe.relation(relation).is_some_and(|relation| relation.feed);
            let q = match (verdict.missed_links.contains(relation), by_feed) {
                (true, _) => whole(Part::Relation(relation)),
                (false, true) => self.row_q(name, Part::Relation(relation)),
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
    fn row_q(&self, collection: &str, part: Part<'_>) -> Option<u64> {
        let last = self.out.last.as_ref()?;
        if rows::was_complete(last, collection, part) {
            return None;
        }
        let complete = self.progress.row(&rows::text(collection, part)).ok().and_then(|(complete, _)| complete);
        complete.or(self.first_seq).filter(|seq| Some(*seq) != self.last_seq)
    }

    /// When this source's relation was last read, if that wasn't at the capture just before.
    fn source_q(&self, collection: &str, relation: &str, source: &Key, prior: &Known) -> Option<u64> {
        if prior.content.is_none() {
            return self.row_q(collection, Part::Objects);
        }
        let row = rows::text(collection, Part::Relation(relation));
        let read = self.progress.read_at(&row, source).ok().flatten();
        read.or(self.first_seq).filter(|seq| Some(*seq) != self.last_seq)
    }

    /// When the one object that belongs to another was last read; before the first time, when that other was.
    fn own_q(&self, collection: &str, parent: &str, key: &Key) -> Option<u64> {
        let source = Key::new(parent, &key.decoded_id());
        match self.progress.read_at(&rows::text(collection, Part::Objects), &source).ok().flatten() {
            Some(seq) => Some(seq).filter(|seq| Some(*seq) != self.last_seq),
            None if self.view.id(&source).ok().flatten().is_some() => {
                self.first_seq.filter(|seq| Some(*seq) != self.last_seq)
            }
            None => self.row_q(parent, Part::Objects),
        }
    }

    /// Commits or holds back what is gone only because it wasn't seen. An hour in which only the feed was read says
    /// nothing of absence: what is held back then stays held back.
    fn removals(
        &mut self,
        name: &'static str,
        facet: Option<&str>,
        inferred: Vec<(Key, Known, Verdict)>,
        present: u64,
        first_full: bool,
        removed: &mut BTreeMap<String, Vec<u8>>,
    ) -> Result<(), CaptureError> {
        let objects = Part::of_facet(facet);
        let row = rows::text(name, objects);
        let count = inferred.len() as u64;
        let held_before = self.progress.gated(&row)?;
        let many = count > self.options.gate_minimum && count as f64 > present as f64 * self.options.gate_share;
        let is_held = |key: &Key| many && !self.request.accept_removals && !held_before.contains(key.as_str());
        let mut held = Vec::new();
        let mut gone = Section::new();
        for (key, prior, verdict) in inferred {
            if is_held(&key) {
                Line { key: key.clone(), statement: Statement::Remove, q: None }.write(&mut self.out.gated);
                held.push(key);
            } else {
                self.object(name, &key, &prior, verdict, None, &[], &mut gone)?;
            }
        }
        if !held.is_empty() {
            let relations = model::find(name).expect("in the table").relations.iter();
            let relations = relations.map(|relation| Part::Relation(relation.name)).filter(|_| facet.is_none());
            for part in std::iter::once(objects).chain(relations) {
                if let Some(row) = self.out.rows.get_mut(name, part)
                    && row.st == Status::Complete
                {
                    row.st = Status::Partial;
                    row.code = Some(crate::collect::code::GATE.to_owned());
                }
            }
            if first_full && facet.is_none() {
                // The next round must begin from nothing, or these absences would never be looked at again.
                self.out.update.feeds.insert(name.to_owned(), None);
            }
        }
        if !held.is_empty() || !held_before.is_empty() {
            self.out.update.gated.insert(row, held);
        }
        take_lines(gone, removed)
    }

    /// What the local state remembers of the rows once this is committed; the number comes with the commit.
    fn close_rows(&mut self) {
        let rows: Vec<_> = self.out.rows.iter().cloned().collect();
        for row in rows {
            if row.st != Status::Complete {
                continue;
            }
            let by_list = row.how.as_deref() == Some("whole");
            // A relation with one target at most is not read whole, not even then.
            let single = row.r.as_deref().is_some_and(|relation| {
                let recipe = crate::collect::find(&row.c);
                recipe.and_then(|recipe| recipe.relation(relation)).is_some_and(|relation| relation.single)
            });
            let reconciled = self.reconciled.contains(row.c.as_str()) && !single;
            let is_first = self.out.last.is_none();
            let whole = by_list || reconciled || is_first;
            self.out.update.rows.insert(row.subject(), (Some(1), whole.then_some(1)));
        }
    }
}

fn take_lines(mut section: Section, lines: &mut BTreeMap<String, Vec<u8>>) -> Result<(), CaptureError> {
    section.read(|key, line| {
        lines.insert(key.to_owned(), line.to_vec());
    })?;
    Ok(())
}

/// The kinds of object that the tenant refused to list and that no other list of the collection shows.
fn hidden_kinds(recipe: &crate::collect::Recipe, refused: &[String]) -> Vec<String> {
    let crate::collect::How::Lists { lists, .. } = &recipe.how else { return Vec::new() };
    let kinds = lists.iter().filter_map(|list| match list.part {
        crate::collect::Part::Kind(kind) => Some(format!("microsoft.graph.{kind}")),
        _ => None,
    });
    kinds.filter(|kind| refused.contains(kind)).collect()
}

/// Whether an object is of one of these kinds: that it wasn't seen means nothing.
fn is_hidden(known: &Known, kinds: &[String]) -> bool {
    let Some(Content::Canonical(content)) = known.content.as_ref().filter(|_| !kinds.is_empty()) else { return false };
    let Ok(content) = crate::canonical::parse(content) else { return false };
    let kind = content.text("@odata.type").map(|kind| kind.trim_start_matches('#').to_owned());
    kind.is_some_and(|kind| kinds.contains(&kind))
}

/// How a collection was read, as far as its objects need to know, and what was seen of it.
fn scope_of(recipe: &'static crate::collect::Recipe, seenness: Seenness) -> (Scope, super::spool::Spool) {
    let name = recipe.collection;
    let untracked = UNTRACKED.iter().find(|(collection, _)| *collection == name).map_or(&[][..], |(_, names)| names);
    // What only the list of a subtype gives is in no feed.
    let of_subtypes = recipe.of_subtypes().into_iter().map(str::to_owned);
    let refused = seenness.untracked.into_iter();
    let scope = Scope {
        first_full: seenness.first_full,
        whole: seenness.whole,
        generations: seenness.generations,
        refused: seenness.refused.into_iter().collect(),
        feed_relations: recipe.relations.iter().filter(|r| r.feed).map(|r| r.name).collect(),
        untracked: untracked.iter().map(|name| (*name).to_owned()).chain(of_subtypes).chain(refused).collect(),
        nulls_may_lack: recipe.has_feed(),
        is_explained: seenness.is_explained,
    };
    (scope, seenness.spool)
}
