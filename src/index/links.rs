//! Links and indexed values: what was there in which stretch of captures, found from either end.
//!
//! Must never know: what a link means.
//!
//! What is there at the head lies in tables of its own, one row each; what ended is filed by the stretch in which it may have
//! been there ([`super::intervals`]). So a look at a time costs what is there at the head and what was there then, however
//! much came and went between.
//!
//! An indexed value is kept as if it were a link: the relation is the property, the target the value.

use std::ops::RangeInclusive;

use redb::ReadableTable as _;

use super::IndexError;
use super::build::damaged;
use super::intervals;
use super::rows::Tables;
use super::tables::*;
use super::view::View;
use crate::archive::line::Targets;

/// A link and the time it was there: from capture `from` until before capture `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// Number of the source.
    pub source: u32,
    /// The relation.
    pub relation: String,
    /// Number of the target.
    pub target: u32,
    /// The first capture with it.
    pub from: u64,
    /// The first capture without it; `None` while it is there.
    pub until: Option<u64>,
    /// The capture at which it was last seen missing, where that isn't the one just before `from`.
    pub q_from: Option<u64>,
    /// The capture at which it was last seen present, where that isn't the one just before `until`.
    pub q_until: Option<u64>,
    /// Canonical JSON of its properties, empty for none.
    pub properties: Vec<u8>,
}

impl LinkRow {
    /// Whether it was there at capture `seq`, as the archive has it.
    pub fn holds_at(&self, seq: u64) -> bool {
        self.from <= seq && self.until.is_none_or(|until| seq < until)
    }
}

/// Source, relation, target.
type Triple = (u32, u32, u32);

/// All captures that a row may be about.
const EVER: RangeInclusive<u32> = 1..=STILL - 1;

impl Tables<'_> {
    /// Makes a link that begins at capture `seq`. `q` is the capture at which it was last seen missing.
    pub fn begin(&mut self, link: Triple, seq: u32, q: Option<u32>, properties: Vec<u8>) -> Result<(), IndexError> {
        let (source, relation, target) = link;
        let detailed = if properties.is_empty() { 0 } else { DETAILED };
        let value = LinkValue::open(seq, q, properties);
        self.links.insert(link, value.to_bytes().as_slice())?;
        self.backlinks.insert((target, relation, source), (seq | detailed, q.unwrap_or(STILL)))?;
        Ok(())
    }

    /// Ends a link at capture `seq`. `q` is the capture at which it was last seen.
    pub fn close(&mut self, link: Triple, mut value: LinkValue, seq: u32, q: Option<u32>) -> Result<(), IndexError> {
        let (source, relation, target) = link;
        self.links.remove(link)?;
        self.backlinks.remove((target, relation, source))?;
        let from = value.stretch.from;
        if from == seq {
            // Added and ended in the same capture: it never was.
            return Ok(());
        }
        (value.stretch.until, value.stretch.q_until) = (seq, q);
        let bytes = value.to_bytes();
        let detailed = if value.properties.is_empty() { 0 } else { DETAILED };
        let back = (seq | detailed, value.stretch.q_from.unwrap_or(STILL), q.unwrap_or(STILL));
        let first = value.stretch.first();
        let node = intervals::node(first, seq - 1);
        for (side, bound) in [(BY_END, seq), (BY_BEGINNING, first)] {
            self.ended.insert((source, relation, side, node, bound, target, from), bytes.as_slice())?;
            self.ended_back.insert((target, relation, side, node, bound, source, from), back)?;
        }
        Ok(())
    }

    /// Adds links of one relation, or gives them other properties.
    pub fn add_links(
        &mut self,
        id: u32,
        relation: &str,
        targets: &Targets,
        seq: u32,
        q: Option<u32>,
    ) -> Result<(), IndexError> {
        let relation = self.relation(relation)?;
        for (target, properties) in targets {
            let link = (id, relation, self.key(target)?);
            let properties = properties.clone().unwrap_or_default();
            if let Some(value) = self.open_link(link)? {
                if value.properties == properties {
                    continue;
                }
                self.close(link, value, seq, q)?;
            }
            self.begin(link, seq, q, properties)?;
        }
        Ok(())
    }

    /// Makes the indexed values of an object those in `values`, pairs of property and value.
    pub fn set_values(
        &mut self,
        id: u32,
        values: &[(&'static str, String)],
        seq: u32,
        q: Option<u32>,
    ) -> Result<(), IndexError> {
        let mut wanted = Vec::with_capacity(values.len());
        for (property, value) in values {
            wanted.push((self.relation(property)?, self.value_id(value)?));
        }
        for (relation, target, value) in self.open_rows(id)?.into_iter().filter(|row| row.1 & VALUE != 0) {
            match wanted.iter().position(|pair| *pair == (relation, target)) {
                Some(place) => drop(wanted.swap_remove(place)),
                None => self.close((id, relation, target), value, seq, q)?,
            }
        }
        for (relation, target) in wanted {
            self.begin((id, relation, target), seq, q, Vec::new())?;
        }
        Ok(())
    }

    /// The number of an indexed value.
    pub fn value_id(&mut self, value: &str) -> Result<u32, IndexError> {
        if let Some(number) = self.values.get(value)? {
            return Ok(number.value());
        }
        let number = self.next_value;
        self.next_value += 1;
        self.values.insert(value, number)?;
        Ok(number)
    }

    /// The link as it is at the head.
    pub fn open_link(&self, link: Triple) -> Result<Option<LinkValue>, IndexError> {
        let Some(row) = self.links.get(link)? else { return Ok(None) };
        LinkValue::from_bytes(row.value()).map(Some).ok_or_else(|| damaged("a damaged link"))
    }

    /// The links of an object at the head, by relation and target, indexed values among them.
    pub fn open_rows(&self, id: u32) -> Result<Vec<(u32, u32, LinkValue)>, IndexError> {
        let mut open = Vec::new();
        for row in self.links.range((id, 0, 0)..=(id, u32::MAX, u32::MAX))? {
            let (key, value) = row?;
            let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
            open.push((key.value().1, key.value().2, value));
        }
        Ok(open)
    }
}

/// Rows of what ended that are read one after the other instead of being looked for: as many as cost what the looks do.
const FEW: usize = 48;

/// What `read` makes of rows, if there are no more than [`FEW`].
fn few<V: redb::Value + 'static>(
    rows: redb::Range<'_, EndedKey, V>,
    read: impl Fn(EndedKey, V::SelfType<'_>) -> Result<Option<LinkRow>, IndexError>,
) -> Result<Option<Vec<LinkRow>>, IndexError> {
    let mut found = Vec::new();
    for (count, row) in rows.enumerate() {
        let (key, value) = row?;
        if count == FEW {
            return Ok(None);
        }
        found.extend(read(key.value(), value.value())?);
    }
    Ok(Some(found))
}

/// Captures as rows number them.
fn bounded(during: &RangeInclusive<u64>) -> RangeInclusive<u32> {
    let bounded = |seq: u64| u32::try_from(seq).unwrap_or(*EVER.end()).clamp(*EVER.start(), *EVER.end());
    bounded(*during.start())..=bounded(*during.end())
}

/// The stretch in a row of [`ENDED_BACK`], and whether the link has properties.
fn ended_stretch(from: u32, (until, q_from, q_until): (u32, u32, u32)) -> (Stretch, bool) {
    let (q_from, q_until) = (known(q_from), known(q_until));
    (Stretch { from, until: until & !DETAILED, q_from, q_until }, until & DETAILED != 0)
}

/// Which way a look goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

impl View {
    /// All links that ever started at a key, by relation, target and time.
    pub fn links_from(&self, id: u32) -> Result<Vec<LinkRow>, IndexError> {
        let mut found = self.links_from_during(id, None, &(1..=u64::MAX))?;
        found.sort_unstable_by(|a, b| (&a.relation, a.target, a.from).cmp(&(&b.relation, b.target, b.from)));
        Ok(found)
    }

    /// All links that ever led to a key.
    pub fn links_to(&self, id: u32) -> Result<Vec<LinkRow>, IndexError> {
        let mut found = self.look(Way::In, id, None, &EVER)?;
        found.sort_unstable_by(|a, b| (&a.relation, a.source, a.from).cmp(&(&b.relation, b.source, b.from)));
        Ok(found)
    }

    /// Links of `relation` (of all where `None`) that start at a key and may have been there at one of the captures `first..=last`: a link that was
    /// seen late may have been there since it was last seen missing. In no order.
    pub fn links_from_during(
        &self,
        id: u32,
        relation: Option<&str>,
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<LinkRow>, IndexError> {
        let mut found = self.named_look(Way::Out, id, relation, during)?;
        found.retain(|row| row.target & VALUE == 0);
        Ok(found)
    }

    /// As [`View::links_from_during`], for links that lead to a key.
    pub fn links_to_during(
        &self,
        id: u32,
        relation: Option<&str>,
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<LinkRow>, IndexError> {
        self.named_look(Way::In, id, relation, during)
    }

    /// Objects whose indexed `property` may have had `value` (letter case apart) at one of the captures: they are the sources.
    pub fn with_value_during(
        &self,
        property: &str,
        value: &str,
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<LinkRow>, IndexError> {
        let Some(number) = self.value_number(value)? else { return Ok(Vec::new()) };
        self.named_look(Way::In, number, Some(property), during)
    }

    /// The number of an indexed value, if any object or event ever had it.
    pub(super) fn value_number(&self, value: &str) -> Result<Option<u32>, IndexError> {
        Ok(self.values.get(value.to_lowercase().as_str())?.map(|number| number.value()))
    }

    fn named_look(
        &self,
        way: Way,
        id: u32,
        relation: Option<&str>,
        during: &RangeInclusive<u64>,
    ) -> Result<Vec<LinkRow>, IndexError> {
        let during = bounded(during);
        let Some(relation) = relation else { return self.look(way, id, None, &during) };
        let Some((number, _)) = self.relations.iter().find(|(_, name)| *name == relation) else {
            return Ok(Vec::new());
        };
        self.look(way, id, Some(*number), &during)
    }

    fn look(
        &self,
        way: Way,
        id: u32,
        relation: Option<u32>,
        during: &RangeInclusive<u32>,
    ) -> Result<Vec<LinkRow>, IndexError> {
        let mut found = Vec::new();
        self.look_open(way, id, relation, during, &mut found)?;
        self.look_gone(way, id, relation, during, &mut found)?;
        Ok(found)
    }

    /// Links from a key that ended and may have been there at one of the captures.
    pub(super) fn ended_from(&self, id: u32, first: u64, last: u64) -> Result<Vec<LinkRow>, IndexError> {
        let mut found = Vec::new();
        self.look_gone(Way::Out, id, None, &bounded(&(first..=last)), &mut found)?;
        found.retain(|row| row.target & VALUE == 0);
        Ok(found)
    }

    fn look_gone(
        &self,
        way: Way,
        id: u32,
        relation: Option<u32>,
        during: &RangeInclusive<u32>,
        found: &mut Vec<LinkRow>,
    ) -> Result<(), IndexError> {
        if self.look_few(way, id, relation, during, found)? {
            return Ok(());
        }
        if let Some(relation) = relation {
            return self.look_ended(way, id, relation, during, found);
        }
        let mut next = self.ended_relation(way, id, 0)?;
        while let Some(relation) = next {
            self.look_ended(way, id, relation, during, found)?;
            next = self.ended_relation(way, id, relation + 1)?;
        }
        Ok(())
    }

    /// What isn't there any more, where that is so little that reading all of it costs less than looking for what was there then.
    /// Says whether that was so; nothing is found otherwise.
    fn look_few(
        &self,
        way: Way,
        id: u32,
        relation: Option<u32>,
        during: &RangeInclusive<u32>,
        found: &mut Vec<LinkRow>,
    ) -> Result<bool, IndexError> {
        let (low, high) = (relation.unwrap_or(0), relation.unwrap_or(u32::MAX));
        let range = (id, low, 0, 0, 0, 0, 0)..=(id, high, u8::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX);
        let touches = |stretch: &Stretch| stretch.first() <= *during.end() && stretch.until > *during.start();
        // Each is there twice.
        let few = match way {
            Way::Out => few(self.ended.range(range)?, |key, value| {
                let (source, relation, side, _, _, target, _) = key;
                if side != BY_END {
                    return Ok(None);
                }
                let value = LinkValue::from_bytes(value).ok_or_else(|| damaged("a damaged link"))?;
                touches(&value.stretch).then(|| self.link_row((source, relation, target), value)).transpose()
            })?,
            Way::In => few(self.ended_back.range(range)?, |key, value| {
                let (target, relation, side, _, _, source, from) = key;
                let (stretch, detailed) = ended_stretch(from, value);
                let is_told = side == BY_END && touches(&stretch);
                is_told.then(|| self.ended_row((source, relation, target), stretch, detailed)).transpose()
            })?,
        };
        let is_few = few.is_some();
        found.extend(few.into_iter().flatten());
        Ok(is_few)
    }

    /// The first relation from `low` on of which something ended at a key: few have any, and there are two dozen relations.
    fn ended_relation(&self, way: Way, id: u32, low: u32) -> Result<Option<u32>, IndexError> {
        let range = (id, low, 0, 0, 0, 0, 0)..=(id, u32::MAX, u8::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX);
        let first = match way {
            Way::Out => self.ended.range(range)?.next().transpose()?.map(|row| row.0.value()),
            Way::In => self.ended_back.range(range)?.next().transpose()?.map(|row| row.0.value()),
        };
        Ok(first.map(|key| key.1))
    }

    /// What is there at the head, where it began early enough.
    fn look_open(
        &self,
        way: Way,
        id: u32,
        relation: Option<u32>,
        during: &RangeInclusive<u32>,
        found: &mut Vec<LinkRow>,
    ) -> Result<(), IndexError> {
        let (low, high) = (relation.unwrap_or(0), relation.unwrap_or(u32::MAX));
        let range = (id, low, 0)..=(id, high, u32::MAX);
        let begins = |stretch: &Stretch| stretch.first() <= *during.end();
        match way {
            Way::Out => {
                for row in self.links.range(range)? {
                    let (key, value) = row?;
                    let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
                    if begins(&value.stretch) {
                        found.push(self.link_row(key.value(), value)?);
                    }
                }
            }
            Way::In => {
                for row in self.backlinks.range(range)? {
                    let (key, value) = row?;
                    let ((target, relation, source), (from, q)) = (key.value(), value.value());
                    let value = LinkValue::open(from & !DETAILED, known(q), Vec::new());
                    if !begins(&value.stretch) {
                        continue;
                    }
                    let link = (source, relation, target);
                    let value = if from & DETAILED == 0 { value } else { self.open_detail(link)? };
                    found.push(self.link_row(link, value)?);
                }
            }
        }
        Ok(())
    }

    fn open_detail(&self, link: Triple) -> Result<LinkValue, IndexError> {
        let row = self.links.get(link)?.ok_or_else(|| damaged("half a link"))?;
        LinkValue::from_bytes(row.value()).ok_or_else(|| damaged("a damaged link"))
    }

    /// What isn't there any more and may have been there then.
    fn look_ended(
        &self,
        way: Way,
        id: u32,
        relation: u32,
        during: &RangeInclusive<u32>,
        found: &mut Vec<LinkRow>,
    ) -> Result<(), IndexError> {
        let (first, last) = (*during.start(), *during.end());
        let at = |side, node, bound| (id, relation, side, node, bound, 0, 0);
        let to = |side, node, bound| (id, relation, side, node, bound, u32::MAX, u32::MAX);
        // Most keys have nothing that ended.
        let whole = at(BY_END, 0, 0)..=to(BY_BEGINNING, u32::MAX, u32::MAX);
        let any = match way {
            Way::Out => self.ended.range(whole)?.next().is_some(),
            Way::In => self.ended_back.range(whole)?.next().is_some(),
        };
        if !any {
            return Ok(());
        }
        self.look_range(way, at(BY_END, first, 0)..=to(BY_END, last, u32::MAX), found)?;
        for node in intervals::below(first) {
            self.look_range(way, at(BY_END, node, first.saturating_add(1))..=to(BY_END, node, u32::MAX), found)?;
        }
        // Nothing is filed at a capture that isn't there yet.
        for node in intervals::above(last).filter(|node| *node <= self.newest) {
            self.look_range(way, at(BY_BEGINNING, node, 0)..=to(BY_BEGINNING, node, last), found)?;
        }
        Ok(())
    }

    fn look_range(
        &self,
        way: Way,
        range: RangeInclusive<EndedKey>,
        found: &mut Vec<LinkRow>,
    ) -> Result<(), IndexError> {
        match way {
            Way::Out => {
                for row in self.ended.range(range)? {
                    let (key, value) = row?;
                    let (source, relation, _, _, _, target, _) = key.value();
                    let value = LinkValue::from_bytes(value.value()).ok_or_else(|| damaged("a damaged link"))?;
                    found.push(self.link_row((source, relation, target), value)?);
                }
            }
            Way::In => {
                for row in self.ended_back.range(range)? {
                    let (key, value) = row?;
                    let (target, relation, _, _, _, source, from) = key.value();
                    let (stretch, detailed) = ended_stretch(from, value.value());
                    found.push(self.ended_row((source, relation, target), stretch, detailed)?);
                }
            }
        }
        Ok(())
    }

    fn ended_row(&self, link: Triple, stretch: Stretch, detailed: bool) -> Result<LinkRow, IndexError> {
        let value = match detailed {
            false => LinkValue { stretch, properties: Vec::new() },
            true => self.ended_detail(link, &stretch)?,
        };
        self.link_row(link, value)
    }

    fn ended_detail(&self, link: Triple, stretch: &Stretch) -> Result<LinkValue, IndexError> {
        let node = intervals::node(stretch.first(), stretch.until - 1);
        let key = (link.0, link.1, BY_END, node, stretch.until, link.2, stretch.from);
        let row = self.ended.get(key)?.ok_or_else(|| damaged("half a link"))?;
        LinkValue::from_bytes(row.value()).ok_or_else(|| damaged("a damaged link"))
    }

    pub(super) fn link_row(&self, link: Triple, value: LinkValue) -> Result<LinkRow, IndexError> {
        let (source, relation, target) = link;
        let relation = self.relations.get(&relation).ok_or_else(|| damaged("a relation without a name"))?.clone();
        let Stretch { from, until, q_from, q_until } = value.stretch;
        Ok(LinkRow {
            source,
            relation,
            target,
            from: u64::from(from),
            until: known(until).map(u64::from),
            q_from: q_from.map(u64::from),
            q_until: q_until.map(u64::from),
            properties: value.properties,
        })
    }
}
