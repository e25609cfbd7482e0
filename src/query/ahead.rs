//! Many contents read in the order in which they lie in packs.
//!
//! Must never know: what they are read for.
//!
//! In the order of keys each line lies in another frame than the one before, and the frame would be decompressed for it alone.

use super::{Archive, QueryError};
use crate::archive::line::Line;
use crate::archive::reader::Place;
use crate::canonical::Key;
use crate::hash::Hash;
use crate::index::{Version, VersionKind};

/// Where a version lies among others.
fn rank(version: &Version) -> (u32, u32, u32) {
    let Place { frame, offset, .. } = version.place;
    (version.pack, frame, offset)
}

impl Archive {
    /// Hands out the lines of versions that are no removals, each with what it is wanted for. Nothing is compared with its hash
    /// yet. What can't be read isn't handed out: it is found again, and told, where it is needed.
    pub(super) async fn each_line<T>(
        &self,
        mut wanted: Vec<(Version, T)>,
        mut each: impl FnMut(&Version, &T, &[u8]),
    ) -> Result<(), QueryError> {
        wanted.sort_unstable_by_key(|(version, _)| rank(version));
        let frame = |version: &Version| (version.pack, version.place.frame);
        for all in wanted.chunk_by(|(a, _), (b, _)| frame(a) == frame(b)) {
            tokio::task::consume_budget().await;
            let (pack, number) = frame(&all[0].0);
            let file = self.view().pack(pack)?;
            let Ok(lines) = self.lines.lines_of(&file.name, file.len, number).await else { continue };
            for (version, what) in all {
                if let Some(line) = lines.line(version.place) {
                    each(version, what, line);
                }
            }
        }
        Ok(())
    }

    /// Reads the lines of versions so that they are at hand: no more than a [`crate::archive::reader::LineReader`] keeps.
    pub(super) async fn have_at_hand(&self, mut versions: Vec<Version>) -> Result<(), QueryError> {
        versions.retain(|version| version.kind != VersionKind::Removed);
        versions.sort_unstable_by_key(rank);
        versions.dedup_by_key(|version| rank(version));
        for version in versions {
            tokio::task::consume_budget().await;
            let file = self.view().pack(version.pack)?;
            // Told where it is needed.
            let _ = self.lines.line(&file.name, file.len, version.place).await;
        }
        Ok(())
    }
}

/// The canonical content in a line, if the line is that of `key` and its content has the hash that the index knows. Whatever else
/// the line may be, [`super::checked`] tells.
pub(super) fn sound_content<'a>(line: &'a [u8], key: &Key, version: &Version) -> Option<&'a [u8]> {
    let (own, content, _) = Line::read_content(line)?;
    (own == key.as_str() && Hash::of(content) == version.content).then_some(content)
}
