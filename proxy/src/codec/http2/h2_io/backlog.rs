//! What waits in memory for the peer of one connection, of all its streams together.
//!
//! Bounds for a stream are not enough: a peer chooses how many streams there are. Two numbers, each with its bound:
//! [`CONNECTION_BUFFER_BYTES_MAX`] for what h2 was given and the socket has yet to take, [`CONNECTION_QUEUE_BYTES_MAX`] for
//! payload that waits with the streams for a window.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use crate::codec::http2::bounds::{CONNECTION_BUFFER_BYTES_MAX, CONNECTION_QUEUE_BYTES_MAX};
use crate::stats::{Gauge, Held};

/// Bytes that wait for one peer.
#[derive(Debug)]
pub(in crate::codec::http2) struct Backlog {
    /// Given to h2, heads and payload. All of it is within the peer's windows, so it leaves as the socket takes it; only a
    /// peer that makes its windows smaller afterwards can keep a part here.
    submitted_bytes: Cell<usize>,
    /// Held by the streams.
    queued_bytes: Cell<usize>,
    /// The same, for all to see.
    pending: RefCell<Held>,
    /// Streams that wait for h2 to hold less.
    waiting: RefCell<Vec<Waker>>,
}

impl Backlog {
    /// Nothing waits. `pending` is the gauge of what is held by streams.
    pub(super) fn new(pending: &Gauge) -> Self {
        Self {
            submitted_bytes: Cell::new(0),
            queued_bytes: Cell::new(0),
            pending: RefCell::new(pending.hold(0)),
            waiting: RefCell::default(),
        }
    }

    /// Does h2 hold so much that it is to get nothing more?
    pub(in crate::codec::http2) fn is_full(&self) -> bool {
        self.submitted_bytes.get() >= CONNECTION_BUFFER_BYTES_MAX
    }

    /// Ready when h2 may be given something. Each waiting stream is woken when half of the room is free.
    pub(in crate::codec::http2) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// What h2 was given and has not written.
    pub(super) fn submitted_bytes(&self) -> usize {
        self.submitted_bytes.get()
    }

    pub(super) fn submit(&self, bytes: usize) {
        self.submitted_bytes.set(self.submitted_bytes.get().saturating_add(bytes));
    }

    /// The socket has taken so much, or h2 has thrown it away.
    pub(super) fn release(&self, bytes: usize) {
        let left = self.submitted_bytes.get().saturating_sub(bytes);
        self.submitted_bytes.set(left);
        if left <= CONNECTION_BUFFER_BYTES_MAX / 2 {
            self.wake_all();
        }
    }

    /// Nothing more leaves: wakes the streams that wait.
    pub(super) fn wake_all(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// A stream held `before` and holds `after` now.
    pub(in crate::codec::http2) fn requeue(&self, before: usize, after: usize) {
        self.queued_bytes.set(self.queued_bytes.get().saturating_sub(before).saturating_add(after));
    }

    /// Shows in the stats what the streams hold. Where that is nothing before and after, it costs nothing.
    pub(in crate::codec::http2) fn publish(&self) {
        self.pending.borrow_mut().resize(u64::try_from(self.queued_bytes.get()).unwrap_or(u64::MAX));
    }

    /// May a stream that holds some payload already take more?
    pub(in crate::codec::http2) fn has_queue_room(&self) -> bool {
        self.queued_bytes.get() < CONNECTION_QUEUE_BYTES_MAX
    }
}

/// What a stream has given to h2 and the socket has not taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unsent {
    heads: u32,
    /// Of all those heads: the last one to leave releases them.
    head_bytes: usize,
    payload_bytes: usize,
}

impl Unsent {
    pub(super) fn add_head(&mut self, bytes: usize) {
        self.heads = self.heads.saturating_add(1);
        self.head_bytes = self.head_bytes.saturating_add(bytes);
    }

    pub(super) fn add_payload(&mut self, bytes: usize) {
        self.payload_bytes = self.payload_bytes.saturating_add(bytes);
    }

    /// A head has begun to leave. What that releases.
    pub(super) fn head_written(&mut self) -> usize {
        self.heads = self.heads.saturating_sub(1);
        if self.heads == 0 { std::mem::take(&mut self.head_bytes) } else { 0 }
    }

    /// So much payload has begun to leave. What that releases.
    pub(super) fn payload_written(&mut self, bytes: usize) -> usize {
        let released = bytes.min(self.payload_bytes);
        self.payload_bytes -= released;
        released
    }

    /// All of it.
    pub(super) fn bytes(self) -> usize {
        self.head_bytes.saturating_add(self.payload_bytes)
    }
}
