//! The authenticated map: a compact binary hash trie whose nodes are never stored in the archive.
//!
//! Must never know: what the keys name.
//!
//! `T(S)` of `docs/format.md` section 6. A subtree with one leaf is that leaf, at whatever depth; an empty one is 32
//! zero bytes. That is why a node has to remember whether it is empty, one leaf or more: the hash alone doesn't tell.

use crate::canonical::Key;
use crate::hash::Hash;

/// A leaf: the hashed key and the value under it.
pub type Leaf = (Hash, Hash);

/// A subtree seen from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// No leaf.
    Empty,
    /// Exactly one leaf, whose hash this is.
    One(Hash),
    /// Two leaves or more.
    Many(Hash),
}

impl Node {
    /// `T` of the subtree.
    pub fn hash(&self) -> Hash {
        match self {
            Node::Empty => Hash::ZERO,
            Node::One(hash) | Node::Many(hash) => *hash,
        }
    }

    /// The parent of two siblings.
    pub fn join(left: Node, right: Node) -> Node {
        match (left, right) {
            (Node::Empty, Node::Empty) => Node::Empty,
            (Node::Empty, one @ Node::One(_)) | (one @ Node::One(_), Node::Empty) => one,
            (left, right) => Node::Many(Hash::tagged(0x21, &[&left.hash().0, &right.hash().0])),
        }
    }

    /// The subtree at `depth` that holds exactly `leaves`, which are sorted by key, unique, and share the first
    /// `depth` bits.
    pub fn of(leaves: &[Leaf], depth: usize) -> Node {
        match leaves {
            [] => Node::Empty,
            [(key, value)] => Node::One(Hash::tagged(0x20, &[&key.0, &value.0])),
            _ => {
                let middle = leaves.partition_point(|(key, _)| !key.bit(depth));
                Node::join(Node::of(&leaves[..middle], depth + 1), Node::of(&leaves[middle..], depth + 1))
            }
        }
    }
}

/// `T` of a set of leaves in any order. Keys are unique.
pub fn root(mut leaves: Vec<Leaf>) -> Hash {
    leaves.sort_unstable();
    Node::of(&leaves, 0).hash()
}

/// `K`: how the trie knows a key.
pub fn key_hash(key: &Key) -> Hash {
    Hash::from(key)
}

/// `TK`: how a relation's trie knows a target.
pub fn target_hash(target: &Key) -> Hash {
    Hash::tagged(0x11, &[target.as_str().as_bytes()])
}

/// `RK`: how an object's trie knows a relation.
pub fn relation_hash(relation: &str) -> Hash {
    Hash::tagged(0x12, &[relation.as_bytes()])
}

/// The leaf of a link: its target and the canonical bytes of its properties, if it has any.
pub fn link_leaf(target: &Key, properties: Option<&[u8]>) -> Leaf {
    (target_hash(target), properties.map_or(Hash::ZERO, Hash::of))
}

/// `objval(o)`: the content hash (zero where there are only links) and, for each relation that has targets, its name
/// and the root of its targets. Zero where there is neither: such a key isn't in the trie.
pub fn object_value(content: Hash, relations: &[(&str, Hash)]) -> Hash {
    if content.is_zero() && relations.is_empty() {
        return Hash::ZERO;
    }
    let links = root(relations.iter().map(|(relation, targets)| (relation_hash(relation), *targets)).collect());
    Hash::tagged(0x22, &[&content.0, &links.0])
}

/// The value of a key in `delta.root`: what its objval was and became (zero for absent).
pub fn change_value(old: Hash, new: Hash) -> Hash {
    Hash::tagged(0x23, &[&old.0, &new.0])
}

/// The value of an event in `delta.root`.
pub fn event_value(content: Hash) -> Hash {
    change_value(Hash::ZERO, Hash::tagged(0x26, &[&content.0]))
}

/// `C` of content that could not be canonicalised.
pub fn raw_content(bytes: &[u8]) -> Hash {
    Hash::tagged(0x24, &[bytes])
}

/// Bits of a key that choose its bucket. 4,096 buckets hold 24 leaves each at 100,000 objects and 244 at a million.
pub const BUCKET_BITS: usize = 12;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// The bucket of a hashed key.
pub fn bucket_of(key: &Hash) -> usize {
    usize::from(u16::from_be_bytes([key.0[0], key.0[1]]) >> (16 - BUCKET_BITS))
}

/// The part of a trie above its buckets, kept so that a change costs the path above it and not the whole trie.
#[derive(Debug, Clone)]
pub struct Crown {
    /// A complete binary tree: node 1 is the root, the children of `n` are `2n` and `2n + 1`.
    nodes: Vec<Node>,
}

impl Default for Crown {
    fn default() -> Self {
        Crown { nodes: vec![Node::Empty; 2 * BUCKETS] }
    }
}

impl Crown {
    /// Puts the new nodes of some buckets in place and recomputes what is above them.
    pub fn update(&mut self, buckets: impl IntoIterator<Item = (usize, Node)>) {
        let mut dirty: Vec<usize> = Vec::new();
        for (bucket, node) in buckets {
            self.nodes[BUCKETS + bucket] = node;
            dirty.push((BUCKETS + bucket) / 2);
        }
        dirty.sort_unstable();
        while dirty.first().is_some_and(|&node| node > 0) {
            dirty.dedup();
            for node in &mut dirty {
                self.nodes[*node] = Node::join(self.nodes[2 * *node], self.nodes[2 * *node + 1]);
                *node /= 2;
            }
        }
    }

    /// `T` of the whole trie.
    pub fn root(&self) -> Hash {
        self.nodes[1].hash()
    }

    /// The buckets' nodes as bytes, 33 each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BUCKETS * 33);
        for node in &self.nodes[BUCKETS..] {
            bytes.push(match node {
                Node::Empty => 0,
                Node::One(_) => 1,
                Node::Many(_) => 2,
            });
            bytes.extend_from_slice(&node.hash().0);
        }
        bytes
    }

    /// What [`Crown::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Crown> {
        if bytes.len() != BUCKETS * 33 {
            return None;
        }
        let mut crown = Crown::default();
        let mut used = Vec::new();
        for (bucket, bytes) in bytes.chunks_exact(33).enumerate() {
            let hash = Hash(bytes[1..].try_into().expect("33 bytes less one"));
            match bytes[0] {
                0 => continue,
                1 => used.push((bucket, Node::One(hash))),
                2 => used.push((bucket, Node::Many(hash))),
                _ => return None,
            }
        }
        crown.update(used);
        Some(crown)
    }
}

/// A trie in memory that is updated leaf by leaf and gives its root after each batch.
#[derive(Debug, Clone)]
pub struct Trie {
    buckets: Vec<Vec<Leaf>>,
    dirty: Vec<usize>,
    crown: Crown,
    leaves: u64,
}

impl Default for Trie {
    fn default() -> Self {
        Trie { buckets: vec![Vec::new(); BUCKETS], dirty: Vec::new(), crown: Crown::default(), leaves: 0 }
    }
}

impl Trie {
    /// An empty trie.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a key; zero takes the key out. Returns the value before, zero for none.
    pub fn set(&mut self, key: Hash, value: Hash) -> Hash {
        let number = bucket_of(&key);
        let bucket = &mut self.buckets[number];
        let before = match bucket.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) if value.is_zero() => {
                self.leaves -= 1;
                bucket.remove(at).1
            }
            Ok(at) => std::mem::replace(&mut bucket[at].1, value),
            Err(_) if value.is_zero() => return Hash::ZERO,
            Err(at) => {
                self.leaves += 1;
                bucket.insert(at, (key, value));
                Hash::ZERO
            }
        };
        if before != value {
            self.dirty.push(number);
        }
        before
    }

    /// The value of a key, zero for none.
    pub fn get(&self, key: &Hash) -> Hash {
        let bucket = &self.buckets[bucket_of(key)];
        bucket.binary_search_by(|(other, _)| other.cmp(key)).map_or(Hash::ZERO, |at| bucket[at].1)
    }

    /// How many keys there are.
    pub fn len(&self) -> u64 {
        self.leaves
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// `T` of all leaves.
    pub fn root(&mut self) -> Hash {
        self.dirty.sort_unstable();
        self.dirty.dedup();
        let buckets = &self.buckets;
        let changed: Vec<_> =
            self.dirty.drain(..).map(|bucket| (bucket, Node::of(&buckets[bucket], BUCKET_BITS))).collect();
        self.crown.update(changed);
        self.crown.root()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn vectors_of_the_format() {
        let a = (key_hash(&key("user/a")), object_value(Hash::of(br#"{"id":"a"}"#), &[]));
        assert_eq!(a.0.to_string(), "d501c125f759863d882341955aa22db0ac46f9fc5278b7d1dd0a1da53f2d1bbc");
        assert_eq!(root(vec![a]).to_string(), "c6d77aa62db6013c9bddc6562231d850cad3774245e4131eac728dcdfcd31e7f");
        let members = root(vec![link_leaf(&key("user/a"), None)]);
        let value = object_value(Hash::of(br#"{"id":"b"}"#), &[("members", members)]);
        let b = (key_hash(&key("user/b")), value);
        assert_eq!(root(vec![a, b]).to_string(), "b18d4fc4241748b19dcc49d4e9f1294c528084d1454de19d153e9de18ac5be72");
        let delta = root(vec![(b.0, change_value(Hash::ZERO, b.1))]);
        assert_eq!(delta.to_string(), "6b7348ca1fad77378c599b3bfa31377b02b61ebe7a2a56dd1dc050395a61d26e");
    }

    #[test]
    fn nothing_is_zero() {
        assert_eq!(root(vec![]), Hash::ZERO);
        assert_eq!(object_value(Hash::ZERO, &[]), Hash::ZERO);
        assert_eq!(Trie::new().root(), Hash::ZERO);
    }

    proptest! {
        /// Keys that share long prefixes, sets, changes and removals: the updated trie equals the one built at once.
        #[test]
        fn updating_equals_building(steps in prop::collection::vec((0u8..40, 0u8..4, any::<bool>()), 1..120)) {
            let mut trie = Trie::new();
            let mut model = std::collections::BTreeMap::new();
            for (name, value, near) in steps {
                let mut hash = Hash::of(&[name]);
                if near {
                    hash.0[..8].fill(0xab);
                }
                let value = if value == 0 { Hash::ZERO } else { Hash::of(&[value]) };
                let before = if value.is_zero() { model.remove(&hash) } else { model.insert(hash, value) };
                prop_assert_eq!(trie.set(hash, value), before.unwrap_or(Hash::ZERO));
                prop_assert_eq!(trie.get(&hash), value);
            }
            prop_assert_eq!(trie.len(), model.len() as u64);
            prop_assert_eq!(trie.root(), root(model.into_iter().collect()));
            let crown = Crown::from_bytes(&trie.crown.to_bytes()).unwrap();
            prop_assert_eq!(crown.root(), trie.root());
        }
    }
}
