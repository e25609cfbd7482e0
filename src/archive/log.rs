//! The RFC 6962 log over the entry files: leaf and node hashes, the root of any size, and C2SP tiles.
//!
//! Must never know: what an entry says.

use crate::hash::Hash;

/// Entries that a full tile covers.
pub const TILE_WIDTH: u64 = 256;

/// The leaf hash of an entry file: SHA-256 of a zero byte and the file (RFC 6962 section 2.1). Of a file longer than an
/// entry may be, only the first 65,535 bytes count.
pub fn leaf_hash(file: &[u8]) -> Hash {
    Hash::tagged(0x00, &[&file[..file.len().min(super::entry::MAX_LEN)]])
}

/// The hash of an inner node.
pub fn node_hash(left: Hash, right: Hash) -> Hash {
    Hash::tagged(0x01, &[&left.0, &right.0])
}

/// A log's leaves folded into the roots of its complete subtrees, largest first: all that is needed to append and to
/// know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier that was saved; `None` where the count of subtrees doesn't fit the size. Whether the hashes are
    /// right only a signed checkpoint can tell.
    pub fn from_parts(size: u64, subtrees: Vec<Hash>) -> Option<Self> {
        (subtrees.len() == size.count_ones() as usize).then_some(Self { size, subtrees })
    }

    /// Entries in the log.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.subtrees.pop().expect("every set bit of the size has a subtree");
            hash = node_hash(left, hash);
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The root of the log (RFC 6962 section 2.1), SHA-256 of nothing for an empty one.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        let Some(&last) = subtrees.next() else { return Hash::of(b"") };
        subtrees.fold(last, |right, &left| node_hash(left, right))
    }
}

/// The root over `leaves`.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|&leaf| frontier.push(leaf));
    frontier.root()
}

/// The name of full tile `number` of `level`: `log/tile/<L>/<N>`, N in the path form of C2SP tlog-tiles (groups of
/// three digits, all but the last marked with an x).
pub fn tile_name(level: u8, number: u64) -> String {
    format!("log/tile/{level}/{}", path_form(number))
}

/// The name of full entry bundle `number`.
pub fn bundle_name(number: u64) -> String {
    format!("log/tile/entries/{}", path_form(number))
}

fn path_form(mut number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    while number >= 1000 {
        number /= 1000;
        path = format!("x{:03}/{path}", number % 1000);
    }
    path
}

/// An entry bundle: each entry with its length as two big-endian bytes before it (C2SP tlog-tiles).
pub fn bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for entry in entries {
        let entry = &entry[..entry.len().min(super::entry::MAX_LEN)];
        let len = u16::try_from(entry.len()).expect("an entry has at most 65,535 bytes");
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    bundle
}

/// The entries of a bundle; `None` where the framing is broken.
pub fn unbundle(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (len, rest) = bundle.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// RFC 6962 section 2.1, word for word.
    fn defined_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(b""),
            [leaf] => *leaf,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(defined_root(&leaves[..split]), defined_root(&leaves[split..]))
            }
        }
    }

    #[test]
    fn the_frontier_gives_the_defined_root_at_every_size() {
        let leaves = leaves(70);
        let mut frontier = Frontier::new();
        for size in 0..=leaves.len() {
            assert_eq!(frontier.root(), defined_root(&leaves[..size]), "size {size}");
            assert_eq!(Frontier::from_parts(frontier.size(), frontier.subtrees().to_vec()), Some(frontier.clone()));
            if let Some(&leaf) = leaves.get(size) {
                frontier.push(leaf);
            }
        }
        assert_eq!(Frontier::from_parts(3, vec![Hash::ZERO]), None);
    }

    #[test]
    fn tile_paths_have_the_published_form() {
        assert_eq!(tile_name(0, 0), "log/tile/0/000");
        assert_eq!(tile_name(1, 67), "log/tile/1/067");
        assert_eq!(tile_name(0, 1_234_067), "log/tile/0/x001/x234/067");
        assert_eq!(bundle_name(1000), "log/tile/entries/x001/000");
    }

    #[test]
    fn bundles_round_trip_and_broken_ones_are_refused() {
        let entries: [&[u8]; 3] = [b"one", b"", b"three"];
        let bytes = bundle(entries);
        assert_eq!(unbundle(&bytes).unwrap(), entries);
        assert_eq!(unbundle(&bytes[..bytes.len() - 1]), None);
    }
}
