//! Chance: balancing, jitter, request ids.

use std::time::Duration;

/// A source of chance. Not for secrets.
pub trait Random {
    /// 64 uniformly distributed bits.
    fn next_u64(&self) -> u64;
}

/// The 32 hexadecimal digits of a number's halves, all digits of a half at once: each request may get such a number.
fn hex(halves: [u64; 2]) -> [u8; 32] {
    let spread = |half: u64| {
        // Each half byte into a byte of its own.
        let mut wide = u128::from(half);
        wide = (wide | wide << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
        wide = (wide | wide << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
        wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
        (wide | wide << 4) & 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f
    };
    let mut text = [0; 32];
    for (half, text) in halves.into_iter().zip(text.chunks_exact_mut(16)) {
        let digits = spread(half);
        // One in each byte whose digit is a letter.
        let letters =
            ((digits + 0x0606_0606_0606_0606_0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101_0101_0101_0101_0101;
        let ascii = digits + 0x3030_3030_3030_3030_3030_3030_3030_3030 + letters * u128::from(b'a' - b'9' - 1);
        text.copy_from_slice(&ascii.to_be_bytes());
    }
    text
}

impl dyn Random + '_ {
    /// A UUID of version 4 (RFC 9562 5.4), as text.
    pub(crate) fn uuid(&self) -> [u8; 36] {
        let [high, low] = [self.next_u64(), self.next_u64()];
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        let digits = hex([high, low]);
        let mut text = [b'-'; 36];
        for (to, from) in [(0..8, 0..8), (9..13, 8..12), (14..18, 12..16), (19..23, 16..20), (24..36, 20..32)] {
            if let (Some(to), Some(from)) = (text.get_mut(to), digits.get(from)) {
                to.copy_from_slice(from);
            }
        }
        text
    }

    /// A uniformly distributed part of `limit`, so that what happens at many places does not happen in step. Zero takes no
    /// chance.
    pub fn up_to(&self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.next_u64() % nanos) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_standard_library(high in any::<u64>(), low in any::<u64>()) {
            let expected = format!("{high:016x}{low:016x}");
            let digits = hex([high, low]);
            prop_assert_eq!(std::str::from_utf8(&digits), Ok(&*expected));
        }
    }
}
