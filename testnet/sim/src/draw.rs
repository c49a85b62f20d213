//! The one source of chance.

use std::{ops::RangeInclusive, time::Duration};

use aether_core::Domain;
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

const SEED: Domain = Domain::new("aether 2026-11 simulator seed v1");

/// Everything drawn in one run: a ChaCha12 stream keyed by the seed.
///
/// The same calls in the same order give the same answers on every machine. Ranges are inclusive,
/// and their bias is below one part in 2^32 for ranges below 2^32.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha12Rng);

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::from_seed(*SEED.hash(&seed.to_be_bytes()).as_bytes()))
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("usize has at most 64 bits");
        assert!(bound > 0, "there is no number below zero");
        usize::try_from(self.scaled(bound)).expect("below a usize")
    }

    /// A number of `range`. Its start, without drawing, if there is no other number in it.
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        match high.saturating_sub(low) {
            0 => low,
            u64::MAX => self.0.next_u64(),
            width => low + self.scaled(width + 1),
        }
    }

    /// A duration of `range` in whole microseconds, as [`number`](Self::number) draws it.
    pub fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let (low, high) = range.into_inner();
        Duration::from_micros(self.number(micros(low)..=micros(high)))
    }

    /// A fraction at or above 0 and below 1.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let numerator = (self.0.next_u64() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// Whether something of this probability happens. A probability of 0 or less, or of 1 or more,
    /// is decided without drawing.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability >= 1.0 || (probability > 0.0 && self.fraction() < probability)
    }

    /// One of the items, or `None` if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }

    /// Puts the items in a drawn order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// 32 bytes, to seed a generator or a key.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `width`, which isn't zero, by multiplication instead of division.
    fn scaled(&mut self, width: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(width);
        u64::try_from(wide >> 64).expect("the upper half of 128 bits")
    }
}

/// A duration in whole microseconds, or the largest number of them.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_stream() {
        let mut a = Draw::new(7);
        let mut b = Draw::new(7);
        assert_eq!(a.seed(), b.seed());
        assert_ne!(Draw::new(8).seed(), Draw::new(7).seed());
    }

    #[test]
    fn ranges_reach_both_ends_and_no_further() {
        let mut draw = Draw::new(1);
        let mut seen = [0u32; 4];
        for _ in 0..1000 {
            let number = draw.number(3..=6);
            seen[usize::try_from(number - 3).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (180..320).contains(count)), "{seen:?}");
        assert_eq!(draw.number(9..=9), 9);
        #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
        let empty = 9..=3;
        assert_eq!(draw.number(empty), 9);
        draw.number(0..=u64::MAX);
    }

    #[test]
    fn chances_match_their_probability() {
        let mut draw = Draw::new(2);
        let hits = (0..10_000).filter(|_| draw.chance(0.2)).count();
        assert!((1_850..2_150).contains(&hits), "{hits}");
        assert!(!draw.chance(0.0));
        assert!(draw.chance(1.0));
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Draw::new(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        assert_eq!(Draw::new(3).pick::<u32>(&[]), None);
    }
}
