//! How an input is cut into the pieces that a socket delivers: decided by the input itself, so that an input which fails
//! fails again.

/// Inputs up to this size are also delivered byte by byte. Bytes.
const BYTEWISE_MAX: usize = 512;

/// Ways to cut `input`: at random places, and byte by byte if it is short.
pub(super) fn cuts(input: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut ways: Vec<Vec<&[u8]>> = [7, 64].into_iter().map(|mean| cut(input, mean)).collect();
    if input.len() <= BYTEWISE_MAX {
        ways.push(input.chunks(1).collect());
    }
    ways
}

/// Pieces of 1 to `2 * mean` bytes.
fn cut(input: &[u8], mean: usize) -> Vec<&[u8]> {
    let mut draws = Draws::of(input);
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let piece;
        (piece, rest) = rest.split_at(rest.len().min(1 + draws.below(2 * mean)));
        pieces.push(piece);
    }
    pieces
}

/// Random numbers that depend on nothing but an input.
pub(super) struct Draws(u64);

impl Draws {
    /// FNV-1a of `input` is the seed.
    pub(super) fn of(input: &[u8]) -> Self {
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(input.iter().fold(0xcbf2_9ce4_8422_2325, fold) | 1)
    }

    /// The next number, from 0 to `end - 1`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // xorshift64: never zero.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}
