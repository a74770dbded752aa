//! One connection's bytes: a read side that owns no buffer while it waits, a write side that copies only what
//! is small, and how each of them ended.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite as _;

use super::parse::{HasFields, Parsed};
use super::refusal::{HeadError, Refusal};
use super::write_queue::WriteQueue;
use crate::codec::buffer;
use crate::codec::{Counted, ExchangeError};
use crate::net::{Conn, Peek};

/// One read. The same for every connection at every time, so that a run repeats byte for byte.
const READ_BYTES_MAX: usize = 32 * 1024;
/// Input up to this size is copied into memory of its own size; a larger read keeps the buffer that was read into, of which
/// it fills at least half.
const COPIED_READ_BYTES_MAX: usize = READ_BYTES_MAX / 2;
/// Bytes that are read ahead of their use, to notice that the peer has gone. Past that the connection is
/// left alone, and the kernel's window stops the peer.
pub(super) const PIPELINE_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// What every connection of this thread reads into. Its content never outlives a read, so a connection
    /// that waits costs no buffer.
    static SCRATCH: Cell<BytesMut> = Cell::default();
}

/// A [`BufferedConn`] and those who use it: the connection and the halves of its current exchange.
pub(super) type SharedConn = Rc<RefCell<BufferedConn>>;

/// A connection with its buffers.
#[derive(Debug)]
pub(super) struct BufferedConn {
    /// `None` once it was taken away to be closed, which may be under a half that lives on.
    conn: Option<Conn>,
    /// At most a head, or a line of chunk framing, and what one read brings.
    pub(super) input: Bytes,
    /// Bytes of the allocation that `input` keeps alive.
    block_bytes: usize,
    /// How much of `input` was parsed and is known not to hold a whole head.
    parsed_bytes: usize,
    /// How much of `input` was searched for the end of a head since.
    searched_bytes: usize,
    inflow: Flow,
    pub(super) reading: Half,
    queue: WriteQueue,
    /// Bytes may be queued that no [`Outgoing`](super::Outgoing) will flush: an interim response, or the rest of a
    /// finished message. The next read flushes them.
    unattended: bool,
    outflow: Flow,
    fin: Fin,
    pub(super) writing: Half,
    rx_bytes: u64,
    tx_bytes: u64,
    /// Of the exchange under way.
    counted: Counted,
}

/// One direction of the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    Ended(ExchangeError),
    Open,
}

/// The end of what is written, before the connection itself ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fin {
    Unwanted,
    /// To be sent behind what is queued.
    Queued,
    Sent,
}

/// Where one direction stands with its current message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Half {
    /// Between messages: another may follow.
    Between,
    /// The message has no end but the connection's, or was broken off: nothing can follow.
    Spent,
    /// Within a message, which may have been abandoned there.
    Within,
}

impl Half {
    pub(super) fn begin(&mut self) {
        if *self == Self::Between {
            *self = Self::Within;
        }
    }

    pub(super) fn end(&mut self) {
        if *self == Self::Within {
            *self = Self::Between;
        }
    }
}

impl BufferedConn {
    pub(super) fn shared(conn: Conn, already_read: BytesMut) -> SharedConn {
        Rc::new(RefCell::new(Self {
            conn: Some(conn),
            rx_bytes: already_read.len() as u64,
            block_bytes: already_read.capacity(),
            input: already_read.freeze(),
            parsed_bytes: 0,
            searched_bytes: 0,
            inflow: Flow::Open,
            reading: Half::Between,
            queue: WriteQueue::default(),
            unattended: false,
            outflow: Flow::Open,
            fin: Fin::Unwanted,
            writing: Half::Between,
            tx_bytes: 0,
            counted: None,
        }))
    }

    /// What is taken and queued from here on is counted there.
    pub(super) fn count(&mut self, counted: Counted) {
        self.counted = counted;
    }

    pub(super) fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Takes the connection away, to close or abort it. What is still polled afterwards finds it closed.
    pub(super) fn take_conn(&mut self) -> Option<Conn> {
        self.conn.take()
    }

    /// Whether the other end is gone, as far as that can be known.
    pub(super) fn peer_is_gone(&self) -> bool {
        self.conn.as_ref().is_some_and(Conn::peer_is_gone)
    }

    /// What the system would let us read, whatever the event loop has reported.
    pub(super) fn peek(&self) -> Peek {
        match (self.inflow, &self.conn) {
            (Flow::Open, Some(conn)) => conn.peek(),
            (Flow::Ended(ExchangeError::ConnectionReset), _) => Peek::Reset,
            (Flow::Ended(_), _) | (Flow::Open, None) => Peek::Closed,
        }
    }

    /// Adds what the peer sent to `input`. An error stays; bytes that came before it are in `input`.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        if let Flow::Ended(why) = self.inflow {
            return Poll::Ready(Err(why));
        }
        if self.unattended
            && let Poll::Ready(flushed) = self.poll_flush(cx)
        {
            // A peer that waits for 100 Continue, or for the rest of a response, sends nothing before it has it.
            flushed?;
        }
        let Some(conn) = &mut self.conn else { return Poll::Ready(Err(ExchangeError::Closed)) };
        // Taken, not borrowed: a connection may itself be made of streams that read this way.
        let mut scratch = SCRATCH.take();
        scratch.reserve(READ_BYTES_MAX);
        let read = {
            let mut window = (&mut scratch).limit(READ_BYTES_MAX);
            pin!(conn.read_buf(&mut window)).poll(cx)
        };
        let result = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => Poll::Ready(Err(self.end_inflow(ExchangeError::Closed))),
            Poll::Ready(Ok(count)) => {
                self.rx_bytes += count as u64;
                self.keep(&mut scratch);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(self.end_inflow(ExchangeError::ConnectionReset))),
        };
        SCRATCH.set(scratch);
        result
    }

    fn end_inflow(&mut self, why: ExchangeError) -> ExchangeError {
        self.inflow = Flow::Ended(why);
        why
    }

    /// Moves what was read into `input` and leaves `scratch` empty.
    fn keep(&mut self, scratch: &mut BytesMut) {
        if self.input.is_empty() && scratch.len() > COPIED_READ_BYTES_MAX {
            self.block_bytes = scratch.capacity().max(READ_BYTES_MAX);
            self.input = scratch.split().freeze();
            return;
        }
        if self.input.is_empty() {
            self.block_bytes = scratch.len();
            self.input = Bytes::copy_from_slice(scratch);
        } else {
            let mut joined =
                mem::take(&mut self.input).try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
            joined.extend_from_slice(scratch);
            // A part of an allocation does not have its size, so that growing one is counted on top of what it was.
            self.block_bytes = joined.capacity().max(self.block_bytes);
            self.input = joined.freeze();
        }
        scratch.clear();
    }

    /// A piece of `input` that is handed out: what it keeps alive is in proportion to its length.
    pub(super) fn owned(&self, piece: Bytes) -> Bytes {
        buffer::owned(piece, self.block_bytes)
    }

    /// Drops line ends from the front of `input`; is there anything else?
    pub(super) fn skip_empty_lines(&mut self) -> bool {
        let blank = self.input.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        if blank > 0 {
            drop(self.input.split_to(blank));
            self.forget_parsing();
        }
        !self.input.is_empty()
    }

    /// `input` no longer begins where it did.
    fn forget_parsing(&mut self) {
        self.parsed_bytes = 0;
        self.searched_bytes = 0;
    }

    /// Reads until `parse` finds a whole head in at most `bytes_max` bytes. The result does not depend on how
    /// the bytes were cut.
    ///
    /// Cancel-safe: what was read stays in `input`.
    pub(super) fn poll_head<T: HasFields>(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        parse: impl Fn(&Bytes) -> Parsed<T>,
    ) -> Poll<Result<T, HeadError>> {
        loop {
            if self.may_hold_head(bytes_max) {
                let head = self.input.slice(..self.input.len().min(bytes_max));
                match parse(&head) {
                    Err(refusal) => {
                        // It is not read further than this.
                        self.counted.iter().for_each(|counted| counted.taken(head.len()));
                        return Poll::Ready(Err(HeadError::Refused(refusal)));
                    }
                    Ok(None) if head.len() == bytes_max => {
                        return Poll::Ready(Err(HeadError::Refused(Refusal::HeadersTooLarge)));
                    }
                    Ok(None) => self.parsed_bytes = self.input.len(),
                    Ok(Some((parsed, length))) => {
                        let parsed = self.parsed_alone(parsed, &head.slice(..length), parse);
                        drop(self.input.split_to(length));
                        self.forget_parsing();
                        if let Some(counted) = &self.counted {
                            counted.taken(length);
                            counted.head_taken(parsed.field_bytes());
                        }
                        return Poll::Ready(Ok(parsed));
                    }
                }
            }
            if let Err(broken) = ready!(self.poll_fill(cx))
                && self.parsed_bytes == self.input.len()
            {
                return Poll::Ready(Err(HeadError::Lost(broken)));
            }
        }
    }

    /// `parsed`, which is a part of `head`; parsed once more from a copy if that is a small part of a large read. Its values
    /// may live as long as a tunnel.
    fn parsed_alone<T>(&self, parsed: T, head: &Bytes, parse: impl Fn(&Bytes) -> Parsed<T>) -> T {
        if self.block_bytes <= COPIED_READ_BYTES_MAX || self.block_bytes / 2 <= head.len() {
            return parsed;
        }
        match parse(&Bytes::copy_from_slice(head)) {
            Ok(Some((alone, _))) => alone,
            Ok(None) | Err(_) => parsed, // the same bytes give the same head
        }
    }

    /// Is it worth parsing `input`? Always the first time; then when an empty line has come, and whenever the
    /// input has doubled, to notice garbage early. A head that trickles in is thus parsed a few times, not
    /// once per byte.
    fn may_hold_head(&mut self, bytes_max: usize) -> bool {
        if self.input.len() == self.parsed_bytes {
            return false;
        }
        let recent = self.input.get(self.searched_bytes.saturating_sub(2)..).unwrap_or_default();
        self.searched_bytes = self.input.len();
        self.input.len() >= self.parsed_bytes.saturating_mul(2)
            || self.input.len() >= bytes_max
            || self.inflow != Flow::Open
            || recent.windows(2).any(|pair| pair == b"\n\n")
            || recent.windows(3).any(|triple| triple == b"\n\r\n")
    }

    /// Has the peer closed, or the connection broken? As far as reading has shown.
    pub(super) fn has_ended(&self) -> bool {
        self.inflow != Flow::Open
    }

    /// The end of what will be written. It goes out with the next [`Self::poll_flush`].
    pub(super) fn queue(&mut self) -> &mut WriteQueue {
        &mut self.queue
    }

    /// Queues a head, which `write` writes.
    pub(super) fn queue_head<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        let out = self.queue.text();
        let begin = out.len();
        let written = write(out);
        if let Some(counted) = &self.counted {
            counted.head_queued(out.get(begin..).unwrap_or_default());
        }
        written
    }

    /// Queues the head of an interim response, which the next read flushes.
    pub(super) fn queue_interim<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        self.unattended = true;
        self.queue_head(write)
    }

    /// A message has been queued whole, and need not be waited for.
    pub(super) fn leave_unattended(&mut self) {
        self.unattended = true;
    }

    /// FIN follows what is queued; what comes from the peer goes on.
    pub(super) fn queue_fin(&mut self) {
        if self.fin == Fin::Unwanted {
            self.fin = Fin::Queued;
        }
    }

    /// Ready when less than `bytes_max` is queued.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<Result<(), ExchangeError>> {
        if let Flow::Ended(why) = self.outflow {
            return Poll::Ready(Err(why));
        }
        if self.queue.bytes() < bytes_max {
            return Poll::Ready(Ok(()));
        }
        match self.poll_flush(cx) {
            Poll::Pending if self.queue.bytes() < bytes_max => Poll::Ready(Ok(())),
            flushed @ (Poll::Pending | Poll::Ready(_)) => flushed,
        }
    }

    /// Ready when the kernel has everything that was queued.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        if let Flow::Ended(why) = self.outflow {
            return Poll::Ready(Err(why));
        }
        let Some(conn) = &mut self.conn else { return Poll::Ready(Err(ExchangeError::Closed)) };
        let mut conn = Pin::new(conn);
        while self.queue.bytes() > 0 {
            match ready!(self.queue.poll_write(conn.as_mut(), cx)) {
                Ok(count) if count > 0 => self.tx_bytes += count as u64,
                Ok(_) | Err(_) => return Poll::Ready(Err(self.end_outflow())),
            }
        }
        if ready!(conn.as_mut().poll_flush(cx)).is_err() {
            return Poll::Ready(Err(self.end_outflow()));
        }
        if self.fin == Fin::Queued {
            if ready!(conn.poll_shutdown(cx)).is_err() {
                return Poll::Ready(Err(self.end_outflow()));
            }
            self.fin = Fin::Sent;
        }
        self.unattended = false;
        Poll::Ready(Ok(()))
    }

    /// What is queued will never leave. The read side is not touched: a response may still be waiting there.
    fn end_outflow(&mut self) -> ExchangeError {
        self.outflow = Flow::Ended(ExchangeError::ConnectionReset);
        self.queue = WriteQueue::default();
        ExchangeError::ConnectionReset
    }

    pub(super) fn rx_bytes(&self) -> u64 {
        self.rx_bytes
    }

    pub(super) fn tx_bytes(&self) -> u64 {
        self.tx_bytes
    }
}
