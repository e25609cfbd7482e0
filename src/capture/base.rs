//! The base of a new segment: the whole state after a capture, from the index at the head and the capture's changes.
//!
//! Must never know: how changes came about.

use std::collections::BTreeMap;

use super::CaptureError;
use super::merge::known;
use super::object::Known;
use super::section::Section;
use crate::archive::Key;
use crate::archive::line::{Change, ContentChange, Line, LinkChange, Statement};
use crate::archive::reader::{LineReader, ReadError};
use crate::archive::trie::{self, Leaf};
use crate::index::{IndexError, View};

/// Writes the lines of one object as a base has them.
fn write_object(key: &Key, object: Known, out: &mut Vec<u8>) {
    let mut change = Change { content: object.content.map(|c| (ContentChange::Put(c), None)), ..Change::default() };
    for (relation, targets) in object.links {
        let added = targets.into_iter().map(|(target, properties)| (target, (properties, None))).collect();
        change.links.insert(relation, LinkChange { added, removed: BTreeMap::new() });
    }
    change.write(key, out);
}

fn apply(object: &mut Known, lines: &[u8], name: &str) -> Result<(), ReadError> {
    for line in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        let line = Line::read(line).map_err(|source| ReadError::Line { name: name.to_owned(), source })?;
        match line.statement {
            Statement::Put(content) => object.content = Some(content),
            Statement::Remove => *object = Known::default(),
            Statement::Add(relation, targets) => object.links.entry(relation).or_default().extend(targets),
            Statement::Drop(relation, targets) => {
                let held = object.links.entry(relation).or_default();
                targets.iter().for_each(|target| {
                    held.remove(target);
                });
            }
            Statement::Event(_) => {}
        }
    }
    object.links.retain(|_, targets| !targets.is_empty());
    Ok(())
}

/// Calls `each` with the base lines of every object of the new state, in key order, and with its leaf in the state trie.
pub(super) async fn write(
    view: &View,
    lines: &LineReader,
    sections: &mut BTreeMap<String, Section>,
    mut each: impl AsyncFnMut(&[u8], Leaf) -> Result<(), CaptureError>,
) -> Result<(), CaptureError> {
    let mut names: Vec<String> = sections.keys().cloned().collect();
    let mut after = None;
    // Collections that the index holds and this build doesn't read stay in the state.
    while let Some(key) = view.keys_after(after.as_deref(), 1)?.into_iter().next() {
        names.push(format!("{}/", key.0.collection()));
        after = Some(format!("{}0", key.0.collection()));
    }
    names.sort();
    names.dedup();
    for name in names {
        let mut changes: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        if let Some(section) = sections.get_mut(&name) {
            section.read(|key, lines| {
                changes.insert(key.parse().expect("a key that was written by the merge"), lines.to_vec());
            })?;
        }
        let mut keys: BTreeMap<Key, Option<u32>> = changes.keys().map(|key| (key.clone(), None)).collect();
        view.each_key::<IndexError>(Some(name.trim_end_matches('/')), |key, id| {
            keys.insert(key, Some(id));
            Ok(std::ops::ControlFlow::Continue(()))
        })?;
        for (key, id) in keys {
            let mut object = match id {
                Some(id) => known(view, lines, id).await?,
                None => Known::default(),
            };
            if let Some(lines) = changes.get(&key) {
                apply(&mut object, lines, "of this capture")?;
            }
            let leaf = (trie::key_hash(&key), object.value());
            let mut written = Vec::new();
            write_object(&key, object, &mut written);
            if !written.is_empty() {
                each(&written, leaf).await?;
            }
        }
    }
    Ok(())
}
