//! Seeded chance: every choice the simulator makes comes out of one of these.
//!
//! Must never know: the time, the operating system's entropy, or what the choices are for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of choices fixed by a seed and the name of the stream, so that one stream's use never shifts another's.
#[derive(Debug, Clone)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream called `stream` of the simulation `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number from 0 to `bound` - 1; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.0.next_u64() % bound as u64) as usize }
    }

    /// A number in 0.0..1.0.
    pub fn fraction(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in `rate` of all cases. Draws nothing when the rate is zero, so that calm weather costs no chance.
    pub fn chance(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.fraction() < rate
    }

    /// One of `from`, which must not be empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A whole number whose mean is `rate`: its floor, or one more.
    pub fn count(&mut self, rate: f64) -> usize {
        rate.floor() as usize + usize::from(self.chance(rate.fract()))
    }

    /// Raw bits, for nonces.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random GUID in lower case with hyphens.
    pub fn guid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().to_string()
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
