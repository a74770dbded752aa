//! Bytes of a body that a filter keeps for a time, in order, and the end of the message behind them.

use bytes::Bytes;

use super::{End, Piece};
use crate::codec::Headers;
use crate::codec::buffer::ByteQueue;

/// What waits of one body. It holds what [`ByteQueue`] holds at most for so many bytes.
#[derive(Default)]
pub(super) struct Waiting {
    /// The bytes that are worked on; empty ones too, until [`Self::drop_front`].
    front: Option<Bytes>,
    behind: ByteQueue,
    /// The end of the message has come, with these trailers.
    end: Option<Option<Headers>>,
}

impl Waiting {
    pub(super) fn keep(&mut self, piece: Piece) {
        if !piece.data.is_empty() {
            self.behind.push(piece.data);
        }
        if let End::Complete(trailers) = piece.end {
            self.end = Some(trailers);
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.front.as_ref().map_or(0, Bytes::len) + self.behind.len()
    }

    /// Are there no bytes to be worked on?
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_none() && self.behind.is_empty()
    }

    /// May more come, if so many bytes may wait?
    pub(super) fn has_room(&self, bytes_max: usize) -> bool {
        self.end.is_none() && self.len() < bytes_max
    }

    /// The first bytes.
    pub(super) fn front(&mut self) -> Option<&mut Bytes> {
        if self.front.is_none() {
            self.front = self.behind.take();
        }
        self.front.as_mut()
    }

    /// The first bytes, whatever is left of them, are done.
    pub(super) fn drop_front(&mut self) {
        self.front = None;
    }

    /// Takes first bytes, not more than `bytes_max`.
    pub(super) fn take(&mut self, bytes_max: usize) -> Option<Bytes> {
        let front = self.front()?;
        let taken = front.split_to(front.len().min(bytes_max));
        if front.is_empty() {
            self.drop_front();
        }
        Some(taken)
    }

    /// Has the end of the message come?
    pub(super) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// The trailers of the end, once.
    pub(super) fn take_end(&mut self) -> Option<Option<Headers>> {
        self.end.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_their_order_and_small_ones_are_gathered() {
        let mut waiting = Waiting::default();
        let sent: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for byte in &sent {
            waiting.keep(Piece::data(Bytes::copy_from_slice(&[*byte])));
        }
        assert_eq!((waiting.len(), waiting.has_room(10_000), waiting.has_room(10_001)), (10_000, false, true));
        waiting.keep(Piece::end(None));
        assert!(!waiting.has_room(usize::MAX) && waiting.has_end());
        let (mut came, mut pieces) = (Vec::new(), 0);
        while let Some(bytes) = waiting.take(7_000) {
            came.extend_from_slice(&bytes);
            pieces += 1;
        }
        assert_eq!(came, sent);
        assert!(pieces <= 4, "{pieces}");
        assert!(waiting.is_empty() && waiting.take_end().is_some());
    }
}
