//! The sending half of a socket: bytes the application wrote that the peer has not acknowledged.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

/// Bytes a socket holds for sending before a write blocks.
pub(super) const SEND_BUFFER_BYTES_MAX: usize = 256 * 1024; // between Linux's initial 16 KiB and its ceiling of 4 MiB
/// Ethernet's 1500 bytes without IPv4 and TCP headers.
pub(super) const MSS: usize = 1460;

/// Whether our side has finished.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fin {
    /// More may be written.
    No,
    /// It follows the queued bytes.
    Queued,
    /// It has a sequence number on the output.
    Sent,
}

/// The sending half. Sequence numbers are unwrapped.
#[derive(Debug)]
pub(super) struct SendSide {
    /// Oldest number not acknowledged.
    pub(super) una: u64,
    /// Next number to send.
    pub(super) nxt: u64,
    /// What the peer takes beyond `una`.
    pub(super) window: u64,
    /// Sequence and acknowledgement number of the segment that last set `window` (RFC 9293 3.10.7.4).
    pub(super) window_set_by: (u64, u64),
    pub(super) fin: Fin,
    /// Acknowledgements in a row that repeated `una`.
    pub(super) duplicates: u32,
    /// While something was lost: everything before this was sent before the loss was noticed.
    pub(super) recover: Option<u64>,
    /// A write found the buffer full, and its writer waits for room.
    pub(super) starved: bool,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Sequence number of the first queued byte.
    base: u64,
}

impl SendSide {
    pub(super) fn new(iss: u64) -> Self {
        Self {
            una: iss,
            nxt: iss + 1,
            window: 0,
            window_set_by: (0, 0),
            fin: Fin::No,
            duplicates: 0,
            recover: None,
            starved: false,
            queue: VecDeque::new(),
            queued: 0,
            base: iss + 1,
        }
    }

    /// Takes what fits of one write; 0 means that it would block.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let room = SEND_BUFFER_BYTES_MAX.saturating_sub(self.queued);
        let wanted = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let taken = wanted.min(room);
        self.starved = taken < wanted;
        if taken == 0 {
            return 0;
        }
        let mut chunk = BytesMut::with_capacity(taken);
        for slice in slices {
            let part = slice.get(..taken - chunk.len()).unwrap_or(slice);
            chunk.extend_from_slice(part);
            if chunk.len() == taken {
                break;
            }
        }
        self.queue.push_back(chunk.freeze());
        self.queued += taken;
        taken
    }

    /// The peer has everything before `ack`. True if a writer that waited for room has enough of it.
    pub(super) fn acknowledge(&mut self, ack: u64) -> bool {
        self.una = ack;
        while let Some(front) = self.queue.front_mut() {
            let acked = usize::try_from(ack.saturating_sub(self.base)).unwrap_or(usize::MAX).min(front.len());
            if acked == 0 {
                break;
            }
            self.base += acked as u64;
            self.queued -= acked;
            if acked == front.len() {
                self.queue.pop_front();
            } else {
                drop(front.split_to(acked));
            }
        }
        // Linux wakes a writer when a third of its buffer is free, so that it does not write in crumbs.
        let relieved = self.starved && self.queued <= SEND_BUFFER_BYTES_MAX / 3 * 2;
        if relieved {
            self.starved = false;
        }
        relieved
    }

    /// The queued bytes from sequence number `seq` on, `len` at most.
    pub(super) fn bytes_at(&self, seq: u64, len: usize) -> Bytes {
        let mut skip = usize::try_from(seq.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let mut parts = self.queue.iter().filter_map(|chunk| {
            let skipped = skip.min(chunk.len());
            skip -= skipped;
            (skipped < chunk.len()).then(|| chunk.slice(skipped..))
        });
        let Some(first) = parts.next() else { return Bytes::new() };
        if first.len() >= len {
            return first.slice(..len);
        }
        let mut gathered = BytesMut::from(first);
        for part in parts {
            let wanted = len - gathered.len();
            gathered.extend_from_slice(part.get(..wanted).unwrap_or(&part));
            if gathered.len() == len {
                break;
            }
        }
        gathered.freeze()
    }

    /// Sequence number after the last queued byte: where the FIN goes.
    pub(super) fn data_end(&self) -> u64 {
        self.base + self.queued as u64
    }

    /// Something was sent that is not acknowledged.
    pub(super) fn in_flight(&self) -> bool {
        self.nxt > self.una
    }

    /// Something waits that was never sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.nxt < self.data_end() || self.fin == Fin::Queued
    }

    /// The peer has seen our FIN.
    pub(super) fn fin_acknowledged(&self) -> bool {
        self.fin == Fin::Sent && self.una == self.nxt
    }

    pub(super) fn has_room(&self) -> bool {
        !self.starved && self.queued < SEND_BUFFER_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_again_across_writes_until_they_are_acknowledged() {
        let mut side = SendSide::new(99);
        assert_eq!(side.write(&[IoSlice::new(b"abc"), IoSlice::new(b"def")]), 6);
        assert_eq!(side.write(&[IoSlice::new(b"ghi")]), 3);
        assert_eq!(side.bytes_at(100, 100), "abcdefghi");
        assert_eq!(side.bytes_at(104, 3), "efg");
        assert_eq!(side.data_end(), 109);
        side.acknowledge(105);
        assert_eq!(side.bytes_at(105, 2), "fg");
        assert_eq!(side.bytes_at(108, 9), "i");
        side.acknowledge(109);
        assert_eq!(side.bytes_at(109, 1), "");
    }

    #[test]
    fn a_full_buffer_blocks_and_relieves_at_a_third() {
        let mut side = SendSide::new(0);
        let big = vec![7; SEND_BUFFER_BYTES_MAX + 1];
        assert_eq!(side.write(&[IoSlice::new(&big)]), SEND_BUFFER_BYTES_MAX);
        assert_eq!(side.write(&[IoSlice::new(b"x")]), 0);
        assert!(!side.acknowledge(1 + 10));
        assert!(!side.has_room());
        assert!(side.acknowledge(1 + SEND_BUFFER_BYTES_MAX as u64 / 2));
        assert!(side.has_room());
    }
}
