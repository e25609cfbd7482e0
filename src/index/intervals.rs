//! Where a stretch of captures is filed so that those that touch a given stretch are found without reading any other.
//!
//! Must never know: what lasts so long.
//!
//! It is the virtual backbone of a relational interval tree (Kriegel, Pötke, Seidl, "Managing Intervals Efficiently in
//! Object-Relational Databases", VLDB 2000): numbers are the nodes of a binary tree that nobody stores, and a stretch is
//! filed at the topmost node that lies in it. What touches `first..=last` is filed at a node between the two, or at one of
//! the nodes above them, of which there are no more than a number has bits.

/// The node at which the stretch `first..=last` is filed.
pub(super) fn node(first: u32, last: u32) -> u32 {
    debug_assert!(first <= last, "a stretch ends after it begins");
    match (first ^ last).checked_ilog2() {
        // The greatest power of two divides it of all numbers in the stretch.
        Some(bit) => (last >> bit) << bit,
        None => first,
    }
}

/// The nodes above `number` that are less than it: a stretch that is filed there reaches `number` if it ends late enough.
pub(super) fn below(number: u32) -> impl Iterator<Item = u32> {
    above_all(number).filter(move |node| *node < number)
}

/// The nodes above `number` that are greater: a stretch that is filed there reaches `number` if it begins early enough.
pub(super) fn above(number: u32) -> impl Iterator<Item = u32> {
    above_all(number).filter(move |node| *node > number)
}

fn above_all(number: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS).map(move |bit| (number >> bit | 1) << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every stretch of the numbers 1 to 40 against every other: filed where a search looks, and nowhere twice.
    #[test]
    fn what_touches_a_stretch_is_filed_where_its_search_looks() {
        for first in 1..40_u32 {
            for last in first..40 {
                let at = node(first, last);
                assert!((first..=last).contains(&at), "{first}..={last} at {at}");
                for low in 1..40_u32 {
                    for high in low..40 {
                        let touches = first <= high && last >= low;
                        let between = (low..=high).contains(&at);
                        let left = below(low).any(|node| node == at) && last >= low;
                        let right = above(high).any(|node| node == at) && first <= high;
                        let ways = [between, left, right].into_iter().filter(|found| *found).count();
                        assert_eq!(ways, usize::from(touches), "{first}..={last} by {low}..={high}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_more_nodes_than_bits() {
        for number in [1, 2, 3, 43_800, u32::MAX - 1] {
            let nodes: std::collections::BTreeSet<u32> = below(number).chain(above(number)).collect();
            assert!(nodes.len() <= 32, "{number}");
        }
    }
}
