//! FNV-1a, a hash that is the same on every machine and in every version. No defence against who wants two inputs to look the
//! same.

/// The hash of these bytes. Its upper half is the one that is well mixed.
pub(crate) fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}
