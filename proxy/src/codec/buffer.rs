//! Bytes that wait, in order: small pieces are gathered, so that what is held stays in proportion to what is queued.
//!
//! A [`Bytes`] keeps the whole allocation alive that it is a part of. A queue of them that counts only their lengths holds
//! without bound when a peer sends one byte of payload in each buffer that is read. Two rules close that, together:
//!
//! 1. [`owned`]: a codec hands out no piece of payload that keeps much more memory alive than its own length.
//! 2. [`ByteQueue`]: a piece too small to be worth an entry of its own is copied behind the piece before it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces up to this length are copied behind the one before. Larger ones are queued as they are: a copy would cost more
/// than the entry.
pub const GATHERED_BYTES_MAX: usize = 4 * 1024;
/// A segment of gathered pieces is closed at this length: growing by doubling, it then has at most twice that capacity.
const SEGMENT_BYTES_MAX: usize = 16 * 1024;
/// An allocation of this size is kept alive whole, however small the part that is in use: [`ByteQueue`] holds at most one
/// small piece that was not copied.
const SMALL_BLOCK_BYTES_MAX: usize = 4 * 1024;

/// `piece`, as a part of an allocation of `block_bytes`, or a copy if it would keep more than twice its length alive.
#[must_use]
pub fn owned(piece: Bytes, block_bytes: usize) -> Bytes {
    let keeps_little = block_bytes <= SMALL_BLOCK_BYTES_MAX || block_bytes / 2 <= piece.len();
    if keeps_little { piece } else { Bytes::copy_from_slice(&piece) }
}

/// Pieces of payload in order, each read once from a [`Position`] that may be set back.
///
/// Bound: whatever the lengths of the pieces, [`held_bytes`](Self::held_bytes) is at most [`held_max`]`(len())`, for pieces
/// that went through [`owned`].
#[derive(Debug, Default)]
pub struct ByteQueue {
    pieces: VecDeque<Piece>,
    len: usize,
    next: Position,
}

/// What [`ByteQueue`] holds at most for `len` bytes of payload.
#[must_use]
pub const fn held_max(len: usize) -> usize {
    // A large piece keeps at most twice its length, a segment at most twice, and the first piece may be a small one.
    2 * len + ENTRY_BYTES * (2 * len / GATHERED_BYTES_MAX + 4) + SMALL_BLOCK_BYTES_MAX
}

/// An entry of the queue, beside the bytes; the queue itself has room for twice as many as it holds.
const ENTRY_BYTES: usize = 2 * size_of::<Piece>();

#[derive(Debug)]
enum Piece {
    /// Small pieces, one behind the other.
    Gathered(BytesMut),
    /// As it came.
    Whole(Bytes),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Gathered(segment) => segment.len(),
            Self::Whole(piece) => piece.len(),
        }
    }

    /// What begins at `offset`. The end of a segment that still grows is copied.
    fn after(&self, offset: usize) -> Bytes {
        match self {
            Self::Gathered(segment) => Bytes::copy_from_slice(segment.get(offset..).unwrap_or_default()),
            Self::Whole(piece) => piece.slice(offset.min(piece.len())..),
        }
    }
}

/// Where a [`ByteQueue`] is read next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Position {
    piece: usize,
    offset: usize,
}

impl ByteQueue {
    /// Bytes in the queue, those before the next one included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing is in the queue?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has everything in the queue been read?
    #[must_use]
    pub fn is_read(&self) -> bool {
        let Position { piece, offset } = self.next;
        self.pieces.get(piece).is_none_or(|next| next.len() == offset && piece + 1 == self.pieces.len())
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, data: Bytes) {
        self.len += data.len();
        if data.len() > GATHERED_BYTES_MAX || self.pieces.is_empty() {
            return self.pieces.push_back(Piece::Whole(data));
        }
        match self.pieces.back_mut() {
            Some(Piece::Gathered(segment)) if segment.len() + data.len() <= SEGMENT_BYTES_MAX => {
                segment.extend_from_slice(&data);
            }
            Some(_) | None => self.pieces.push_back(Piece::Gathered(BytesMut::from(data.as_ref()))),
        }
    }

    /// The next piece, which stays in the queue.
    pub fn read(&mut self) -> Option<Bytes> {
        if self.is_read() {
            return None;
        }
        let at = self.next;
        if self.pieces.get(at.piece).is_some_and(|piece| piece.len() == at.offset) {
            self.next = Position { piece: at.piece + 1, offset: 0 };
        }
        let data = self.pieces.get(self.next.piece)?.after(self.next.offset);
        self.next.offset += data.len();
        Some(data)
    }

    /// A queue of what has not been read. Large pieces are shared, others are copied.
    #[must_use]
    pub fn unread(&self) -> Self {
        let Position { piece: first, offset } = self.next;
        let mut rest = Self::default();
        for (at, piece) in self.pieces.iter().enumerate().skip(first) {
            let data = piece.after(if at == first { offset } else { 0 });
            if !data.is_empty() {
                rest.push(data);
            }
        }
        rest
    }

    /// The next piece, which leaves the queue, and with it everything before it.
    pub fn take(&mut self) -> Option<Bytes> {
        self.drop_read();
        let piece = self.pieces.pop_front()?;
        self.len -= piece.len();
        Some(match piece {
            Piece::Gathered(segment) => segment.freeze(),
            Piece::Whole(piece) => piece,
        })
    }

    /// Removes what has been read. Was there any?
    pub fn drop_read(&mut self) -> bool {
        let Position { piece, offset } = std::mem::take(&mut self.next);
        let mut dropped = offset;
        for piece in self.pieces.drain(..piece.min(self.pieces.len())) {
            dropped += piece.len();
        }
        match self.pieces.front_mut() {
            Some(Piece::Gathered(segment)) => drop(segment.split_to(offset.min(segment.len()))),
            Some(Piece::Whole(piece)) => drop(piece.split_to(offset.min(piece.len()))),
            None => {}
        }
        if self.pieces.front().is_some_and(|piece| piece.len() == 0) {
            self.pieces.pop_front();
        }
        self.len -= dropped;
        dropped > 0
    }

    /// Sets the next piece back to the first that is in the queue.
    pub fn rewind(&mut self) {
        self.next = Position::default();
    }

    /// Bytes of memory that the queue keeps alive, for pieces that went through [`owned`]: capacity, not payload.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let held = self.pieces.iter().map(|piece| match piece {
            Piece::Gathered(segment) => segment.capacity(),
            Piece::Whole(piece) => {
                (2 * piece.len()).max(if piece.len() <= GATHERED_BYTES_MAX { SMALL_BLOCK_BYTES_MAX } else { 0 })
            }
        });
        held.sum::<usize>() + self.pieces.capacity() * size_of::<Piece>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Something to do with a queue.
    #[derive(Clone, Debug)]
    enum Act {
        DropRead,
        Push(usize),
        Read,
        Rewind,
        Take,
    }

    fn act() -> impl Strategy<Value = Act> {
        let length =
            prop_oneof![4 => Just(1_usize), 1 => 1..20_usize, 1 => 4000..4200_usize, 1 => 16_000..33_000_usize];
        prop_oneof![6 => length.prop_map(Act::Push), 2 => Just(Act::Read), 1 => Just(Act::Take), 1 => Just(Act::DropRead), 1 => Just(Act::Rewind)]
    }

    proptest! {
        #[test]
        fn a_queue_gives_back_what_it_was_given_and_holds_no_more_than_its_bound(acts in vec(act(), 0..300)) {
            let mut queue = ByteQueue::default();
            // What is in the queue, and how much of it was read.
            let (mut model, mut read) = (Vec::<u8>::new(), 0);
            let mut counter = 0_u8;
            for act in acts {
                match act {
                    Act::Push(length) => {
                        let data: Vec<u8> = (0..length).map(|_| { counter = counter.wrapping_add(1); counter }).collect();
                        model.extend_from_slice(&data);
                        queue.push(data.into());
                    }
                    Act::Read => match queue.read() {
                        Some(data) => {
                            prop_assert_eq!(&data[..], &model[read..read + data.len()]);
                            read += data.len();
                        }
                        None => prop_assert_eq!(read, model.len()),
                    },
                    Act::Take => {
                        model.drain(..read);
                        read = 0;
                        match queue.take() {
                            Some(data) => prop_assert_eq!(data.to_vec(), model.drain(..data.len()).collect::<Vec<_>>()),
                            None => prop_assert!(model.is_empty()),
                        }
                    }
                    Act::DropRead => {
                        prop_assert_eq!(queue.drop_read(), read > 0);
                        model.drain(..read);
                        read = 0;
                    }
                    Act::Rewind => { queue.rewind(); read = 0; }
                }
                let mut unread = queue.unread();
                let mut at = read;
                while let Some(piece) = unread.take() {
                    prop_assert_eq!(&piece[..], &model[at..at + piece.len()]);
                    at += piece.len();
                }
                prop_assert_eq!(at, model.len());
                prop_assert_eq!((queue.len(), queue.is_empty(), queue.is_read()), (model.len(), model.is_empty(), read == model.len()));
                prop_assert!(queue.held_bytes() <= held_max(queue.len()) + PASSED_BYTES_MAX, "{} for {}", queue.held_bytes(), queue.len());
            }
        }
    }

    /// What a queue may still hold of pieces that have left it: its table of entries does not shrink, and a segment keeps
    /// its capacity while its end is in use.
    const PASSED_BYTES_MAX: usize = 300 * 2 * size_of::<Piece>() + 2 * SEGMENT_BYTES_MAX;

    #[test]
    fn single_bytes_are_held_in_proportion() {
        let mut queue = ByteQueue::default();
        (0..1024 * 1024).for_each(|_| queue.push(owned(Bytes::from(vec![0; 32 * 1024]).slice(..1), 32 * 1024)));
        assert!(queue.held_bytes() <= held_max(1024 * 1024), "{}", queue.held_bytes());
        assert!(held_max(1024 * 1024) < 3 * 1024 * 1024);
    }

    #[test]
    fn a_small_part_of_a_large_allocation_is_copied() {
        let block = Bytes::from(vec![7; 32 * 1024]);
        for (length, shared) in [(1, false), (16 * 1024 - 1, false), (16 * 1024, true), (32 * 1024, true)] {
            let part = owned(block.slice(..length), block.len());
            assert_eq!((part.len(), part.as_ptr() == block.as_ptr()), (length, shared));
        }
    }
}
