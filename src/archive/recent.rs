//! What was used last, up to so much.
//!
//! Must never know: what it keeps.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Things by key, those used last, as long as together they cost no more than a limit. What it hands out is a clone: keep what is
/// cheap to clone.
#[derive(Debug)]
pub struct Recent<K, V> {
    kept: HashMap<K, Kept<V>>,
    cost: usize,
    clock: u64,
}

/// Something that is kept, what it takes, and when it was last used.
#[derive(Debug)]
struct Kept<V> {
    used: u64,
    cost: usize,
    value: V,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Recent { kept: HashMap::new(), cost: 0, clock: 0 }
    }
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// What is kept under `key`; it counts as used now.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.clock += 1;
        let kept = self.kept.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.value.clone())
    }

    /// Keeps something; when all together cost more than `limit`, the older half goes.
    pub fn keep(&mut self, key: K, value: V, cost: usize, limit: usize) {
        self.cost += cost;
        let kept = Kept { used: self.clock, cost, value };
        self.cost -= self.kept.insert(key, kept).map_or(0, |before| before.cost);
        if self.cost > limit {
            let mut ages: Vec<u64> = self.kept.values().map(|kept| kept.used).collect();
            let middle = ages.len() / 2;
            let oldest = *ages.select_nth_unstable(middle).1;
            self.kept.retain(|_, kept| kept.used >= oldest);
            self.cost = self.kept.values().map(|kept| kept.cost).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_half_goes_and_what_is_used_stays() {
        let mut recent = Recent::default();
        for number in 0..10 {
            recent.get(&0);
            recent.keep(number, number * 2, 10, 100);
        }
        assert_eq!((0..10).filter_map(|number| recent.get(&number)).count(), 10);
        recent.get(&0);
        recent.keep(10, 20, 10, 100);
        assert_eq!(recent.get(&0), Some(0), "used a moment ago");
        assert_eq!(recent.get(&10), Some(20));
        assert_eq!(recent.get(&1), None);
        assert!(recent.cost <= 60, "{}", recent.cost);
        recent.keep(10, 21, 5, 100);
        assert_eq!(recent.get(&10), Some(21));
        assert_eq!(recent.cost, recent.kept.values().map(|kept| kept.cost).sum::<usize>());
    }
}
