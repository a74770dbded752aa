//! `MURMUR_HASH_2`: the 64-bit MurmurHash2 of `std::hash` in GNU's C++ library, with its seed.

const SEED: u64 = 0xc70f_6907;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;

/// The hash of `bytes`.
pub(super) fn murmur2(bytes: &[u8]) -> u64 {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut hash = SEED ^ length.wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mixed = mix(u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
        hash = (hash ^ mixed).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    mix(mix(hash).wrapping_mul(MULTIPLIER))
}

fn mix(hash: u64) -> u64 {
    hash ^ (hash >> 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `std::hash<std::string>` gives on x86-64.
    #[test]
    fn hashes_are_those_of_the_c_plus_plus_library() {
        for (text, expected) in [
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("bar", 0x9f3e_11fb_306a_76b3),
            ("12345678", 0x8c5b_90a3_3a04_dca5),
            ("127.0.0.1:80_17", 0x260c_77a9_1e47_235e),
        ] {
            assert_eq!(murmur2(text.as_bytes()), expected, "{text}");
        }
    }
}
