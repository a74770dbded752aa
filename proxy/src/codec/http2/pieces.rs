//! Payload that waits, in memory that is about as large as the payload.
//!
//! h2 hands out slices of its read buffer, and a slice of one byte keeps the whole of it. What has to wait is therefore
//! copied together, unless it is large enough to be worth its buffer.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// From this length on a piece is kept as it is. h2's read buffer is at most two frames of 16 KiB, so such a piece holds
/// at most four times its length. Bytes.
pub(super) const LARGE_BYTES_MIN: usize = 8 * 1024;

/// A queue of payload.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    whole: VecDeque<Bytes>,
    /// Small pieces that came behind those, copied together. Shorter than [`LARGE_BYTES_MIN`]; its capacity is at most twice
    /// its length, by how it grows.
    tail: BytesMut,
    bytes: usize,
}

impl Pieces {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.tail.is_empty()
    }

    /// Queues `data`. A single piece is kept as it is: it holds one read buffer, and most go on at once.
    pub(super) fn push(&mut self, data: Bytes) {
        if self.is_empty() {
            self.bytes += data.len();
            self.whole.push_back(data);
        } else {
            self.push_copied(data);
        }
    }

    /// Queues `data`, copied if it is small.
    pub(super) fn push_copied(&mut self, data: Bytes) {
        self.bytes += data.len();
        if data.len() >= LARGE_BYTES_MIN {
            self.seal();
            self.whole.push_back(data);
            return;
        }
        self.tail.extend_from_slice(&data);
        if self.tail.len() >= LARGE_BYTES_MIN {
            self.seal();
        }
    }

    /// The length of the piece that is next.
    pub(super) fn next_len(&mut self) -> Option<usize> {
        if self.whole.is_empty() {
            self.seal();
        }
        self.whole.front().map(Bytes::len)
    }

    /// At most `len` bytes of the piece that is next.
    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        self.next_len()?;
        let first = self.whole.front_mut()?;
        let taken = first.split_to(len.min(first.len()));
        if first.is_empty() {
            self.whole.pop_front();
        }
        self.bytes -= taken.len();
        Some(taken)
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the queue holds: the capacity of what it has copied is known, and a large piece may hold four times its length.
    fn held(pieces: &Pieces) -> usize {
        let small = |piece: &Bytes| piece.len() < LARGE_BYTES_MIN;
        pieces.whole.iter().map(|piece| piece.len() * if small(piece) { 2 } else { 4 }).sum::<usize>()
            + pieces.tail.capacity()
    }

    proptest! {
        #[test]
        fn pieces_keep_their_bytes_and_small_ones_share_memory(
            steps in prop::collection::vec((any::<bool>(), 0_usize..20_000, 1_usize..9_000), 1..60),
        ) {
            let (mut pieces, mut into, mut out) = (Pieces::default(), Vec::new(), Vec::new());
            for (copied, len, taken) in steps {
                let data = Bytes::from(vec![u8::try_from(len % 251).unwrap(); len]);
                into.extend_from_slice(&data);
                if copied { pieces.push_copied(data) } else { pieces.push(data) }
                prop_assert!(held(&pieces) <= 4 * pieces.bytes() + 64);
                out.extend_from_slice(&pieces.take(taken).unwrap_or_default());
            }
            while let Some(piece) = pieces.take(usize::MAX) {
                out.extend_from_slice(&piece);
            }
            prop_assert_eq!(pieces.bytes(), 0);
            prop_assert!(pieces.is_empty());
            prop_assert_eq!(into, out);
        }
    }

    #[test]
    fn a_million_pieces_of_one_byte_hold_no_more_than_twice_their_length() {
        let buffer = Bytes::from(vec![7; 16 * 1024]);
        let mut pieces = Pieces::default();
        for at in 0..1_000_000 {
            pieces.push_copied(buffer.slice(at % 16_000..at % 16_000 + 1));
        }
        assert_eq!(pieces.bytes(), 1_000_000);
        assert!(pieces.whole.len() <= 1_000_000 / LARGE_BYTES_MIN);
    }
}
