//! The whole state as of an instant, as lines of a base pack.
//!
//! Must never know: where the lines go.

use std::ops::ControlFlow;

use super::{Archive, Instant, QueryError};
use crate::archive::line::{Change, Content, ContentChange, LinkChange};
use crate::canonical::Key;
use crate::index::{IndexError, VersionKind};

/// Keys that are taken from the index at a time.
const CHUNK: usize = 4096;

impl Archive {
    /// Hands out the state as of `at` (of one collection, or all of it) key by key in order, each time with the whole
    /// lines of one key in the form of a base pack (`docs/format.md`, section 4), until `each` breaks.
    ///
    /// # Errors
    /// The archive's, and those of `each`.
    pub async fn dump(
        &self,
        at: &Instant,
        collection: Option<&str>,
        mut each: impl FnMut(&[u8]) -> Result<ControlFlow<()>, QueryError>,
    ) -> Result<(), QueryError> {
        let seq = at.capture.seq;
        let mut last: Option<Key> = None;
        let mut lines = Vec::new();
        loop {
            let keys = self.keys_after(collection, last.as_ref())?;
            for (key, id) in &keys {
                lines.clear();
                self.write_lines(key, *id, seq, &mut lines).await?;
                if !lines.is_empty() && each(&lines)?.is_break() {
                    return Ok(());
                }
            }
            if keys.len() < CHUNK {
                return Ok(());
            }
            last = keys.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// Goes on with a dump as of `at` after the key `after`: appends whole lines of keys in order to `out` until it holds
    /// `enough` bytes or there are no more keys. Returns the last key, and none at the end.
    ///
    /// # Errors
    /// The archive's.
    pub async fn dump_after(
        &self,
        at: &Instant,
        collection: Option<&str>,
        after: Option<&Key>,
        enough: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Key>, QueryError> {
        let keys = self.keys_after(collection, after)?;
        for (key, id) in &keys {
            // Whoever asked may have gone away, and what is read from memory would never let anybody notice.
            tokio::task::consume_budget().await;
            self.write_lines(key, *id, at.capture.seq, out).await?;
            if out.len() >= enough {
                return Ok(Some(key.clone()));
            }
        }
        let is_end = keys.len() < CHUNK;
        Ok(keys.into_iter().next_back().map(|(key, _)| key).filter(|_| !is_end))
    }

    fn keys_after(&self, collection: Option<&str>, after: Option<&Key>) -> Result<Vec<(Key, u32)>, QueryError> {
        let mut keys = Vec::with_capacity(CHUNK);
        self.view().each_key_after(collection, after, |key, id| {
            keys.push((key, id));
            Ok::<_, IndexError>(if keys.len() == CHUNK { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(keys)
    }

    async fn write_lines(&self, key: &Key, id: u32, seq: u64, out: &mut Vec<u8>) -> Result<(), QueryError> {
        let mut change = Change::default();
        if let Some(version) = self.view().version_at(id, seq)?.filter(|v| v.kind != VersionKind::Removed) {
            let (content, line) = self.content_line(key, &version).await?;
            match content {
                // What a sealed line holds besides its hash is known to the line alone.
                Content::Hidden(_) if version.q.is_none() => {
                    out.extend_from_slice(&line);
                    out.push(b'\n');
                }
                content => change.content = Some((ContentChange::Put(content), None)),
            }
        }
        for (relation, targets) in self.links_at(id, seq)? {
            let added = targets
                .into_iter()
                .map(|(target, properties)| (target, ((!properties.is_empty()).then_some(properties), None)));
            change.links.insert(relation, LinkChange { added: added.collect(), ..LinkChange::default() });
        }
        change.write(key, out);
        Ok(())
    }
}
