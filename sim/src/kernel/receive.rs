//! The receiving half of a socket: bytes put back in order, waiting to be read.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes};

use super::send::MSS;

/// Bytes a socket keeps for its reader; what is left of it is the window.
pub(super) const RECEIVE_BUFFER_BYTES_MAX: u64 = 128 * 1024; // Linux's initial tcp_rmem

/// The receiving half. Sequence numbers are unwrapped.
#[derive(Debug, Default)]
pub(super) struct ReceiveSide {
    /// Next number expected.
    pub(super) nxt: u64,
    /// The peer's FIN has been reached: no data follows.
    pub(super) finished: bool,
    /// An acknowledgement is owed and has not left with anything else.
    pub(super) ack_due: bool,
    unread: VecDeque<Bytes>,
    unread_bytes: u64,
    /// Segments that arrived before their turn, all within the window.
    early: BTreeMap<u64, Bytes>,
    /// Where the peer's FIN stands, once seen.
    fin_at: Option<u64>,
    /// Right edge of the window as last advertised; it never moves left.
    edge: u64,
}

/// What a segment's payload and FIN changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arrival {
    /// There is more to read, or the end was reached.
    Advanced,
    /// It came before its turn and is kept.
    Early,
    /// Nothing that was not known.
    Stale,
}

impl ReceiveSide {
    pub(super) fn new(nxt: u64) -> Self {
        Self { nxt, edge: nxt + RECEIVE_BUFFER_BYTES_MAX, ..Self::default() }
    }

    /// Takes payload that begins at `seq`, and the FIN that follows it if `fin`.
    pub(super) fn accept(&mut self, seq: u64, payload: &Bytes, fin: bool) -> Arrival {
        let end = seq + payload.len() as u64;
        if fin && end <= self.edge {
            self.fin_at = Some(end);
        }
        let before = self.nxt;
        let fits = usize::try_from(self.edge.saturating_sub(seq)).unwrap_or(usize::MAX);
        let payload = payload.slice(..fits.min(payload.len()));
        if seq > self.nxt && !payload.is_empty() {
            let kept = self.early.entry(seq).or_default();
            if kept.len() < payload.len() {
                *kept = payload;
            }
            return Arrival::Early;
        }
        self.append(seq, payload);
        while let Some(first) = self.early.first_entry()
            && *first.key() <= self.nxt
        {
            let (seq, payload) = first.remove_entry();
            self.append(seq, payload);
        }
        if self.fin_at == Some(self.nxt) && !self.finished {
            self.nxt += 1;
            self.finished = true;
        }
        match self.nxt > before {
            true => Arrival::Advanced,
            false if fin && seq > self.nxt => Arrival::Early,
            false => Arrival::Stale,
        }
    }

    fn append(&mut self, seq: u64, mut payload: Bytes) {
        let known = usize::try_from(self.nxt.saturating_sub(seq)).unwrap_or(usize::MAX);
        if known >= payload.len() || self.finished {
            return;
        }
        payload.advance(known);
        self.nxt += payload.len() as u64;
        self.unread_bytes += payload.len() as u64;
        self.unread.push_back(payload);
    }

    /// The next unread bytes, `len` at most; none when nothing waits.
    pub(super) fn read(&mut self, len: usize) -> Option<Bytes> {
        let front = self.unread.front_mut()?;
        let taken = front.split_to(len.min(front.len()));
        if front.is_empty() {
            self.unread.pop_front();
        }
        self.unread_bytes -= taken.len() as u64;
        Some(taken)
    }

    pub(super) fn has_unread(&self) -> bool {
        self.unread_bytes > 0
    }

    /// The window to put into a segment that leaves at this moment.
    pub(super) fn advertise(&mut self) -> u32 {
        if self.opens() {
            self.edge = self.nxt + self.free();
        }
        u32::try_from(self.window()).unwrap_or(u32::MAX)
    }

    /// What the peer may still send, as last advertised.
    pub(super) fn window(&self) -> u64 {
        self.edge.saturating_sub(self.nxt)
    }

    /// Whether reading has made enough room to be worth announcing: at least two segments or half the buffer, so
    /// that a slow reader does not cause a stream of crumbs (RFC 9293 3.8.6.2.2).
    pub(super) fn opens(&self) -> bool {
        let step = (2 * MSS as u64).min(RECEIVE_BUFFER_BYTES_MAX / 2);
        self.nxt + self.free() >= self.edge + step
    }

    fn free(&self) -> u64 {
        RECEIVE_BUFFER_BYTES_MAX.saturating_sub(self.unread_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn segments_are_put_in_order_and_overlaps_count_once() {
        let mut side = ReceiveSide::new(10);
        assert_eq!(side.accept(13, &bytes("def"), true), Arrival::Early);
        assert_eq!(side.read(9), None);
        assert_eq!(side.accept(10, &bytes("abcd"), false), Arrival::Advanced);
        assert!(side.finished);
        assert_eq!(side.accept(10, &bytes("abcd"), false), Arrival::Stale);
        let mut all = Vec::new();
        while let Some(part) = side.read(2) {
            all.extend_from_slice(&part);
        }
        assert_eq!(all, b"abcdef");
        assert_eq!(side.nxt, 17);
    }

    #[test]
    fn the_window_closes_without_reads_and_opens_in_steps() {
        let mut side = ReceiveSide::new(0);
        let full = Bytes::from(vec![1; usize::try_from(RECEIVE_BUFFER_BYTES_MAX).unwrap() + 5]);
        side.accept(0, &full, false);
        assert_eq!(side.nxt, RECEIVE_BUFFER_BYTES_MAX, "what is beyond the window is not taken");
        assert_eq!(side.advertise(), 0);
        side.read(100);
        assert!(!side.opens());
        side.read(2 * MSS);
        assert!(side.opens());
        assert_eq!(u64::from(side.advertise()), 100 + 2 * MSS as u64);
    }
}
