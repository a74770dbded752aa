//! Chance: every random decision of a run comes from one seed through this generator.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Steele, Lea and Flood's SplitMix64. Each user (host, network, scheduler) owns one, so that a decision
/// added in one place does not shift the draws of another.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of decisions that belongs to `purpose` under `seed`.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a: any mixing of the name will do, as long as it never changes.
        let name = purpose
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        let mut chance = Self(seed ^ name);
        chance.0 = chance.next_u64(); // neighbouring seeds must not give shifted copies of one stream
        chance
    }

    /// 64 uniformly distributed bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of the remainder is far below what a run can show.
    pub fn below(&mut self, bound: u64) -> u64 {
        match bound {
            0 | 1 => 0, // no draw: a choice of one is no choice, and must not shift the stream
            _ => self.next_u64() % bound,
        }
    }

    /// A place in a collection of `len` elements; 0 when it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        let bound = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// A duration within `range`, to the nanosecond.
    pub fn duration(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let width = range.end().saturating_sub(*range.start());
        let nanos = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
        *range.start() + Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    /// True with `probability` (0 to 1).
    pub fn happens(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        // 53 bits: what an f64 holds exactly.
        let bits = u32::try_from(self.next_u64() >> 32).unwrap_or(u32::MAX);
        f64::from(bits) < probability * f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_per_purpose() {
        let draw = |seed, purpose| {
            let mut chance = Chance::new(seed, purpose);
            [chance.next_u64(), chance.next_u64()]
        };
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut chance = Chance::new(1, "bounds");
        let range = Duration::from_micros(3)..=Duration::from_micros(5);
        for _ in 0..1000 {
            assert!(chance.below(3) < 3);
            assert!(range.contains(&chance.duration(&range)));
            assert!(!chance.happens(0.0));
            assert!(chance.happens(1.1));
        }
        assert_eq!(chance.duration(&(Duration::ZERO..=Duration::ZERO)), Duration::ZERO);
    }
}
