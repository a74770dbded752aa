//! The part of a request's body that was read and not yet written, and what is kept of it for another try.

use bytes::Bytes;

use crate::codec::buffer::ByteQueue;
use crate::config::route::KeptBody;

/// A request body's payload between the client and the try under way.
pub(super) struct Replay {
    /// What it has given out was written to the try under way. At most `bytes_max` and one read of payload, and the memory
    /// that [`held_max`](crate::codec::buffer::held_max) allows for it.
    queue: ByteQueue,
    bytes_max: usize,
    /// How much is kept for another try.
    kept_max: usize,
    keeping: Keeping,
    start: Start,
}

/// What becomes of payload that was written to a try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeping {
    /// It is dropped.
    Nothing,
    /// It is dropped, because the body exceeds `kept_max`.
    TooMuch,
    /// It is kept for another try.
    Whole,
}

/// Whether the body's first byte is still there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Start {
    /// Something that was written is dropped: another try would get a part of the body.
    Dropped,
    Kept,
}

impl Replay {
    /// `bytes_max`: how much of the body may wait here before the client is no longer read.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            queue: ByteQueue::default(),
            bytes_max,
            kept_max: bytes_max,
            keeping: Keeping::Nothing,
            start: Start::Kept,
        }
    }

    /// Lets `bytes` of the body wait, and one more, which distinguishes a larger body.
    pub(super) fn make_room(&mut self, bytes: usize) {
        self.bytes_max = self.bytes_max.max(bytes.saturating_add(1));
    }

    /// Keeps the body for another try, up to `bytes_max` or `limit`.
    pub(super) fn keep_whole(&mut self, limit: Option<KeptBody>) {
        self.keeping = Keeping::Whole;
        self.kept_max = match limit {
            None => self.bytes_max,
            Some(KeptBody::AtMost(bytes)) => bytes.min(self.bytes_max),
            Some(KeptBody::UpTo(bytes)) => bytes,
        };
        if self.queue.len() > self.kept_max {
            self.drop_written(Keeping::TooMuch);
        }
    }

    /// There will be no other try.
    pub(super) fn keep_nothing(&mut self) {
        self.drop_written(Keeping::Nothing);
    }

    fn drop_written(&mut self, keeping: Keeping) {
        self.keeping = keeping;
        if self.queue.drop_read() {
            self.start = Start::Dropped;
        }
    }

    /// Adds payload that has come.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.queue.push(chunk);
        if self.keeping == Keeping::Whole && self.queue.len() > self.kept_max {
            self.drop_written(Keeping::TooMuch);
        }
    }

    /// The next payload for the try under way.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.keeping == Keeping::Whole {
            return self.queue.read();
        }
        self.start = Start::Dropped;
        self.queue.take()
    }

    /// What has come so far. Before the first try.
    pub(super) fn pieces(&mut self) -> Vec<Bytes> {
        let pieces = std::iter::from_fn(|| self.queue.read()).collect();
        self.queue.rewind();
        pieces
    }

    /// What the try under way has not got yet, which stays here.
    pub(super) fn unread(&self) -> ByteQueue {
        self.queue.unread()
    }

    /// Nothing is left but `queue`, and there will be no other try.
    pub(super) fn replace(&mut self, queue: ByteQueue) {
        self.queue = queue;
        self.start = Start::Dropped;
        self.keeping = Keeping::Nothing;
    }

    /// The request begins anew with what is kept of its body, which is all.
    pub(super) fn begin_again(&mut self) {
        self.queue.rewind();
        self.keeping = Keeping::Nothing;
    }

    /// Takes out what has come, before the first try.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Bytes> {
        std::iter::from_fn(|| self.queue.take())
    }

    /// The next try begins at the body's first byte.
    pub(super) fn rewind(&mut self) {
        self.queue.rewind();
    }

    /// May more be read? A body that is kept and fills the buffer may be complete: one more read decides.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < self.bytes_max || self.keeping == Keeping::Whole
    }

    /// Was the body larger than what may be kept?
    pub(super) fn was_too_much(&self) -> bool {
        self.keeping == Keeping::TooMuch
    }

    /// Can another try get the whole body?
    pub(super) fn is_whole(&self) -> bool {
        self.start == Start::Kept
    }

    /// Has everything that has come been given out?
    pub(super) fn is_read(&self) -> bool {
        self.queue.is_read()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_may_keep_less_or_more_than_its_connection_buffers() {
        for (limit, length, whole) in [
            (KeptBody::AtMost(2), 2, true),
            (KeptBody::AtMost(2), 3, false),
            (KeptBody::AtMost(9), 5, false),
            (KeptBody::UpTo(9), 9, true),
            (KeptBody::UpTo(9), 10, false),
            (KeptBody::UpTo(0), 1, false),
        ] {
            let mut replay = Replay::new(4);
            replay.keep_whole(Some(limit));
            for _ in 0..length {
                replay.push(Bytes::from_static(b"x"));
                assert!(replay.next().is_some());
            }
            assert_eq!((replay.is_whole(), replay.was_too_much()), (whole, !whole), "{limit:?} {length}");
        }
    }

    #[test]
    fn a_kept_body_is_given_out_again_and_one_above_the_limit_is_not() {
        for (length, keeps, whole, too_much) in
            [(4, true, true, false), (5, true, false, true), (4, false, false, false), (5, false, false, false)]
        {
            let mut replay = Replay::new(4);
            if keeps {
                replay.keep_whole(None);
            }
            for _ in 0..length {
                replay.push(Bytes::from_static(b"x"));
                assert!(replay.next().is_some());
            }
            replay.rewind();
            assert_eq!((replay.is_whole(), replay.was_too_much()), (whole, too_much), "{length} {keeps}");
            assert_eq!(replay.next().is_some(), whole, "{length} {keeps}");
        }
    }
}
