//! Chance: balancing, jitter, request ids.

use std::time::Duration;

/// A source of chance. Not for secrets.
pub trait Random {
    /// 64 uniformly distributed bits.
    fn next_u64(&self) -> u64;
}

impl dyn Random + '_ {
    /// A UUID of version 4 (RFC 9562 5.4), as text.
    pub(crate) fn uuid(&self) -> [u8; 36] {
        let [high, low] = [self.next_u64(), self.next_u64()];
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        let digits = u128::from(high) << 64 | u128::from(low);
        let mut text = [b'-'; 36];
        let mut nibble = 32;
        for (at, byte) in text.iter_mut().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                continue;
            }
            nibble -= 1;
            let value = (digits >> (nibble * 4)) & 0xf;
            *byte = b"0123456789abcdef".get(value as usize & 0xf).copied().unwrap_or(b'0');
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
