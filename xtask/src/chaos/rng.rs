//! Chance that can be had again: every decision of a run follows from one number.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to choose faults by.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of its own for somebody, whatever others draw in the meantime.
    pub(super) fn of(seed: u64, who: u64) -> Self {
        let mut mixed = Self(seed ^ who.wrapping_mul(0xA24B_AED4_963E_E407));
        Self(mixed.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }

    /// An index into something of this length.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True this often in a thousand.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// So many milliseconds, from `least` up to, not including, `end`.
    pub(super) fn millis(&mut self, least: u64, end: u64) -> Duration {
        Duration::from_millis(least + self.below(end.saturating_sub(least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_everybody_their_own() {
        let draw = |mut rng: Rng| (0..8).map(|_| rng.next()).collect::<Vec<_>>();
        assert_eq!(draw(Rng::of(7, 1)), draw(Rng::of(7, 1)));
        assert_ne!(draw(Rng::of(7, 1)), draw(Rng::of(7, 2)));
        assert_ne!(draw(Rng::of(7, 1)), draw(Rng::of(8, 1)));
    }

    #[test]
    fn chances_come_about_as_often_as_they_say() {
        let mut rng = Rng::new(42);
        let hits = (0..10_000).filter(|_| rng.chance(200)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| rng.chance(0)));
        assert!((0..1000).all(|_| rng.chance(1000)));
        let span = rng.millis(20, 30);
        assert!((20..30).contains(&span.as_millis()), "{span:?}");
        assert_eq!(rng.below(0), 0);
    }
}
