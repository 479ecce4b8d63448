//! Randomness that is the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mintgate_domain::ports::Entropy;

/// A deterministic [`Entropy`] (SplitMix64; Steele, Lea, Flood 2014). Anybody can predict it: for
/// tests alone.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// Makes a source from a seed; equal seeds give equal numbers.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// One of many independent sequences of a seed, by its number.
    pub fn sequence(seed: u64, number: u64) -> Self {
        Self::new(Self::new(seed ^ number.wrapping_mul(0xa24b_aed4_963e_e407)).next_u64())
    }

    /// The next number of the sequence.
    pub fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// An index into a sequence of this length; 0 if it is empty.
    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.index(choices.len())].clone()
    }

    /// True once in `n` times on average.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// True `per_mille` times in a thousand on average.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A duration from `least` milliseconds up to, not including, `end` milliseconds.
    pub fn millis(&self, least: u64, end: u64) -> Duration {
        Duration::from_millis(least + self.below(end.saturating_sub(least)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_and_each_sequence_its_own() {
        let draw = |seed, number| {
            let entropy = SeededEntropy::sequence(seed, number);
            (0..8).map(|_| entropy.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn chances_come_about_as_often_as_they_say() {
        let entropy = SeededEntropy::new(42);
        let hits = (0..10_000).filter(|_| entropy.chance(200)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| entropy.chance(0)));
        assert!((0..1000).all(|_| entropy.chance(1000)));
        let span = entropy.millis(20, 30);
        assert!((20..30).contains(&span.as_millis()), "{span:?}");
        assert_eq!(entropy.below(0), 0);
    }
}
