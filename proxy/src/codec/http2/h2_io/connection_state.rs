//! The state of a connection that its streams and its owner read while h2 owns the [`H2Io`](super::H2Io).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Weak;
use std::task::{Context, Poll, Waker};

use super::StreamError;
use super::backlog::{Backlog, Unsent};
use super::early_bytes::{EarlyBytes, count_sent};
use super::read_budget::ReadBudget;
use super::stream_map::remove;
use crate::codec::http2::flood::Flood;
use crate::codec::http2::frames::{
    DATA, FrameHead, GOAWAY, HEADERS, NO_ERROR, REFUSED_STREAM, RST_STREAM, STREAM_ID_MAX, WINDOW_BYTES_INITIAL, be_u32,
};
use crate::codec::http2::message::Original;
use crate::codec::http2::target::Targets;
use crate::codec::http2::{ExchangeError, Stream};
use crate::codec::{Counted, Violation};
use crate::net::{Conn, Peek};
use crate::stats::Http2Stats;

/// Whether the connection is open, or why it ended, as seen from the socket. The first cause stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::codec::http2) enum ConnectionStatus {
    Open,
    /// The peer's frames break the framing; it got GOAWAY.
    ProtocolError,
    /// The peer sent FIN.
    ClosedByPeer,
    /// The peer sent too much of what costs nothing, the last of it on this stream.
    Flooded {
        flood: Flood,
        stream: u32,
    },
    /// The owner took the socket.
    ClosedByUs,
    /// The peer sent a message that HTTP/2 forbids, on this stream; nothing may be written any more.
    MalformedMessage(u32),
    /// The first bytes of the server are no SETTINGS frame.
    NotHttp2,
    /// Reading or writing failed: RST, most likely.
    Reset,
}

/// The second step of a drain, which h2 takes when its PING is acknowledged. We keep that PING and acknowledge
/// it ourselves, so that the time between the steps is ours to choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ShutdownPing {
    /// h2 waits for the acknowledgement, if it has sent the PING.
    Withheld,
    /// The second step is due: h2 gets the acknowledgement at its next read.
    AckRequested,
    Acknowledged,
}

/// The state of one connection, shared by its [`H2Io`](super::H2Io), its streams and its owner.
#[derive(Debug)]
pub(in crate::codec::http2) struct ConnectionState {
    pub(super) conn: RefCell<Option<Conn>>,
    rx_bytes: Cell<u64>,
    status: Cell<ConnectionStatus>,
    /// From the last GOAWAY of a server.
    pub(super) goaway_last: Cell<Option<u32>>,
    pub(super) shutdown_ping: Cell<ShutdownPing>,
    /// Streams that the application has reset, until our RST_STREAM leaves.
    pub(super) reset_by_us: RefCell<BTreeSet<u32>>,
    /// Codes of resets that are under way and that h2 has another code for.
    pub(super) reset_codes: RefCell<BTreeMap<u32, u32>>,
    /// Requests that were refused and are not handed out, until they have been accounted for: at most those of one turn, since nothing more is
    /// read before.
    pub(super) rejected_requests: RefCell<VecDeque<StreamError>>,
    /// The largest stream that was handed out.
    pub(super) last_accepted_stream: Cell<u32>,
    /// The errors for the readers of requests that are malformed behind their head, until they have been handed out: at most those of
    /// one turn, as [`Self::rejected_requests`].
    pub(super) malformed_before_accept: RefCell<BTreeMap<u32, ExchangeError>>,
    /// The violation, once a malformed message has ended the connection and it is known.
    pub(in crate::codec::http2) malformed_as: Cell<Option<Violation>>,
    /// What h2 could not hold of requests that it has not handed out: at most those of one turn, as [`Self::rejected_requests`].
    originals: RefCell<BTreeMap<u32, Original>>,
    /// The bytes of streams are counted.
    pub(in crate::codec::http2) counts: Cell<bool>,
    /// The bytes of requests that h2 has not handed out, if they count: at most those of one turn, as
    /// [`Self::rejected_requests`].
    pub(super) uncounted: RefCell<BTreeMap<u32, EarlyBytes>>,
    /// What h2 cannot carry of requests that it has yet to write.
    pub(in crate::codec::http2) targets: Targets,
    /// The largest stream that either side has opened.
    pub(super) last_stream: Cell<u32>,
    pub(super) data_sent: Cell<u64>,
    /// How many bytes of DATA the peer has let us send on the connection, beyond those that have begun to leave.
    pub(super) window: Cell<u32>,
    /// h2 has dropped the [`H2Io`](super::H2Io).
    pub(super) is_gone: Cell<bool>,
    /// Streams that wait for their frames to leave.
    pub(super) waiting: Cell<usize>,
    /// How much of each stream has left. A stream is here from its first frame until it is dropped.
    pub(super) streams: RefCell<BTreeMap<u32, StreamState>>,
    pub(super) read_budget: ReadBudget,
    /// Streams that have something unread since the last turns.
    pub(super) unread_streams: RefCell<Vec<u32>>,
    /// What came on the connection in frames that h2 has not seen, and its peer has no credit for.
    pub(super) credit: Cell<u32>,
    /// Bytes that wait for the peer, of all streams.
    pub(in crate::codec::http2) backlog: Backlog,
    pub(in crate::codec::http2) stats: Http2Stats,
}

/// How much of a stream's payload and how many of its heads (trailers count) have left for the socket, or are
/// to leave.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::codec::http2) struct Amount {
    pub(in crate::codec::http2) heads: u32,
    pub(in crate::codec::http2) payload_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct StreamState {
    amount: Amount,
    /// The error for the reader, if h2 has reset the stream for what its peer sent.
    pub(super) malformed: Option<ExchangeError>,
    waiting: Option<Waker>,
    /// Waits for h2 to hold less of the stream.
    room: Option<Waker>,
    /// The peer has ended its direction.
    pub(super) has_ended: bool,
    /// A content-length of the response does not describe its content.
    ignores_length: bool,
    /// As of the connection, [`ConnectionState::credit`].
    pub(super) credit: u32,
    unsent: Unsent,
    pub(super) counted: Counted,
    pub(super) stream: Weak<Stream>,
}

impl ConnectionState {
    /// Of a connection from which so many bytes have been read already.
    pub(super) fn new(conn: Conn, already_read: usize, stats: &Http2Stats) -> Self {
        Self {
            conn: RefCell::new(Some(conn)),
            rx_bytes: Cell::new(u64::try_from(already_read).unwrap_or(u64::MAX)),
            status: Cell::new(ConnectionStatus::Open),
            goaway_last: Cell::new(None),
            shutdown_ping: Cell::new(ShutdownPing::Withheld),
            reset_by_us: RefCell::default(),
            reset_codes: RefCell::default(),
            rejected_requests: RefCell::default(),
            last_accepted_stream: Cell::new(0),
            malformed_before_accept: RefCell::default(),
            malformed_as: Cell::new(None),
            originals: RefCell::default(),
            counts: Cell::new(false),
            uncounted: RefCell::default(),
            targets: Targets::default(),
            last_stream: Cell::new(0),
            data_sent: Cell::new(0),
            window: Cell::new(WINDOW_BYTES_INITIAL),
            is_gone: Cell::new(false),
            waiting: Cell::new(0),
            streams: RefCell::default(),
            read_budget: ReadBudget::default(),
            unread_streams: RefCell::default(),
            credit: Cell::new(0),
            backlog: Backlog::new(&stats.pending_send_bytes),
            stats: stats.clone(),
        }
    }

    /// Writes to the socket and notes how it went.
    pub(super) fn poll_write(
        &self,
        write: impl FnOnce(Pin<&mut Conn>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut conn = self.conn.borrow_mut();
        let Some(conn) = conn.as_mut() else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let Poll::Ready(written) = write(Pin::new(conn)) else {
            conn.note_waiting(self.backlog.submitted_bytes());
            return Poll::Pending;
        };
        if written.is_err() {
            self.fail(ConnectionStatus::Reset);
        }
        Poll::Ready(written)
    }

    /// So many bytes have come.
    pub(super) fn note_read(&self, bytes: usize) {
        self.rx_bytes.set(self.rx_bytes.get().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    /// Ready when `amount` of `stream` has left, or will never leave. Until then a reset would throw it away:
    /// h2 drops what a stream has queued when the stream is reset.
    pub(in crate::codec::http2) fn poll_sent(&self, stream: u32, amount: Amount, cx: &mut Context<'_>) -> Poll<()> {
        let mut sent = self.streams.borrow_mut();
        let sent = sent.entry(stream).or_default();
        let has_left = sent.amount.heads >= amount.heads && sent.amount.payload_bytes >= amount.payload_bytes;
        if has_left || self.is_gone.get() || self.status.get() != ConnectionStatus::Open {
            return Poll::Ready(());
        }
        if sent.waiting.replace(cx.waker().clone()).is_none() {
            self.waiting.set(self.waiting.get() + 1);
        }
        Poll::Pending
    }

    /// Ready when `amount` of `stream` has left, or will never leave; woken when more of it has.
    pub(in crate::codec::http2) fn poll_room(&self, stream: u32, amount: Amount, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_left(stream, amount) || self.is_gone.get() || self.status.get() != ConnectionStatus::Open {
            return Poll::Ready(());
        }
        if let Some(sent) = self.streams.borrow_mut().get_mut(&stream) {
            sent.room = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(in crate::codec::http2) fn has_left(&self, stream: u32, amount: Amount) -> bool {
        self.streams.borrow().get(&stream).is_none_or(|sent| sent.amount.payload_bytes >= amount.payload_bytes)
    }

    /// The stream is over: its count is of no more use.
    pub(in crate::codec::http2) fn forget_stream(&self, stream: u32) {
        let removed = remove(&mut self.streams.borrow_mut(), stream);
        let Some(StreamState { waiting, unsent, .. }) = removed else { return };
        if waiting.is_some() {
            self.waiting.set(self.waiting.get().saturating_sub(1));
        }
        self.backlog.release(unsent.bytes());
    }

    /// h2 was given a head of `stream` that takes so much memory, and whose fields have so many bytes.
    pub(in crate::codec::http2) fn note_head_submitted(&self, stream: u32, bytes: usize, fields: u64) {
        if let Some(sent) = self.streams.borrow_mut().get_mut(&stream) {
            sent.unsent.add_head(bytes);
            self.backlog.submit(bytes);
            if let Some(counted) = &sent.counted {
                counted.fields_sent(fields);
            }
        }
    }

    /// h2 was given payload of `stream`.
    pub(in crate::codec::http2) fn note_payload_submitted(&self, stream: u32, bytes: usize) {
        if let Some(sent) = self.streams.borrow_mut().get_mut(&stream) {
            sent.unsent.add_payload(bytes);
            self.backlog.submit(bytes);
        }
    }

    /// Has the stream been handed out?
    pub(super) fn is_accepted(&self, stream: u32) -> bool {
        self.streams.borrow().contains_key(&stream)
    }

    /// A frame of h2's begins to leave.
    pub(super) fn note_sent(&self, frame: FrameHead, payload: &[u8]) {
        match frame.kind {
            GOAWAY if is_counted(payload) => self.stats.goaway_sent.inc(),
            RST_STREAM => {
                self.reset_by_us.borrow_mut().remove(&frame.stream);
                self.stats.tx_reset.inc();
                self.reset_codes.borrow_mut().remove(&frame.stream);
                if be_u32(payload) == Some(REFUSED_STREAM) {
                    self.stats.stream_refused_errors.inc();
                }
            }
            HEADERS => {
                self.note_stream(frame.stream);
                self.targets.note_sent(frame.stream);
            }
            DATA => {
                self.data_sent.set(self.data_sent.get().saturating_add(1));
                let len = u32::try_from(frame.len).unwrap_or(u32::MAX);
                self.window.set(self.window.get().saturating_sub(len));
            }
            _ => {}
        }
        let mut streams = self.streams.borrow_mut();
        let Some(sent) = streams.get_mut(&frame.stream) else { return };
        if let Some(counted) = &sent.counted {
            count_sent(counted, frame);
        }
        let released = match frame.kind {
            HEADERS => {
                sent.amount.heads += 1;
                sent.unsent.head_written()
            }
            DATA => {
                sent.amount.payload_bytes += u64::try_from(frame.len).unwrap_or(u64::MAX);
                sent.unsent.payload_written(frame.len)
            }
            _ => return,
        };
        self.backlog.release(released);
        if let Some(room) = sent.room.take() {
            room.wake();
        }
        self.wake(sent);
    }

    pub(super) fn note_stream(&self, stream: u32) {
        self.last_stream.set(self.last_stream.get().max(stream));
    }

    fn wake(&self, sent: &mut StreamState) {
        if let Some(waiting) = sent.waiting.take() {
            self.waiting.set(self.waiting.get().saturating_sub(1));
            waiting.wake();
        }
    }

    /// Counts what leaves of `stream`, from now on.
    pub(in crate::codec::http2) fn register_stream(&self, id: u32, stream: Weak<Stream>) {
        self.last_accepted_stream.set(self.last_accepted_stream.get().max(id));
        let malformed = self.malformed_before_accept.borrow_mut().remove(&id);
        let counted = self.counted_from_head(id);
        self.streams.borrow_mut().insert(id, StreamState { stream, malformed, counted, ..StreamState::default() });
    }

    /// The response on this stream is to HEAD or CONNECT: a content-length does not describe its content.
    pub(in crate::codec::http2) fn ignore_length(&self, stream: u32) {
        if let Some(sent) = self.streams.borrow_mut().get_mut(&stream) {
            sent.ignores_length = true;
        }
    }

    pub(super) fn ignores_length(&self, stream: u32) -> bool {
        self.streams.borrow().get(&stream).is_some_and(|sent| sent.ignores_length)
    }

    /// Keeps what h2 could not hold of a request, until [`Self::take_original`].
    pub(super) fn keep_original(&self, stream: u32, original: Original) {
        if original.authority.is_some() || original.path.is_some() {
            self.originals.borrow_mut().insert(stream, original);
        }
    }

    /// Of a request that h2 hands out. A stream that has been reset meanwhile is handed out all the same; those before it will not be any
    /// more (RFC 9113 5.1.1).
    pub(in crate::codec::http2) fn take_original(&self, stream: u32) -> Option<Original> {
        let mut originals = self.originals.borrow_mut();
        if originals.is_empty() {
            return None;
        }
        *originals = originals.split_off(&stream);
        originals.remove(&stream)
    }

    /// Has a head of `stream` begun to leave?
    pub(in crate::codec::http2) fn has_begun(&self, stream: u32) -> bool {
        self.streams.borrow().get(&stream).is_some_and(|sent| sent.amount.heads > 0)
    }

    /// Lets h2 take the second step of the drain at its next poll.
    pub(in crate::codec::http2) fn acknowledge_shutdown_ping(&self) {
        if self.shutdown_ping.get() == ShutdownPing::Withheld {
            self.shutdown_ping.set(ShutdownPing::AckRequested);
        }
    }

    /// Takes the socket away; h2 sees the end of the stream from here on.
    pub(in crate::codec::http2) fn take_conn(&self) -> Option<Conn> {
        self.fail(ConnectionStatus::ClosedByUs);
        self.conn.take()
    }

    /// What the system would let us read, whatever the event loop has reported.
    pub(in crate::codec::http2) fn peek(&self) -> Peek {
        self.conn.borrow().as_ref().map_or(Peek::Closed, Conn::peek)
    }

    pub(in crate::codec::http2) fn rx_bytes(&self) -> u64 {
        self.rx_bytes.get()
    }

    pub(in crate::codec::http2) fn status(&self) -> ConnectionStatus {
        self.status.get()
    }

    /// Has the connection been given up for what the peer sent?
    pub(in crate::codec::http2) fn is_failed_by_peer(&self) -> bool {
        match self.status.get() {
            ConnectionStatus::ProtocolError
            | ConnectionStatus::Flooded { .. }
            | ConnectionStatus::MalformedMessage(_) => true,
            ConnectionStatus::Open
            | ConnectionStatus::ClosedByPeer
            | ConnectionStatus::ClosedByUs
            | ConnectionStatus::NotHttp2
            | ConnectionStatus::Reset => false,
        }
    }

    pub(in crate::codec::http2) fn goaway_received(&self) -> bool {
        self.goaway_last.get().is_some()
    }

    /// Has the server's GOAWAY excluded this stream?
    pub(in crate::codec::http2) fn is_refused(&self, stream: u32) -> bool {
        self.goaway_last.get().is_some_and(|last| stream > last)
    }

    /// Notes why the connection ends. Only the first reason is kept: what follows is its consequence.
    pub(super) fn fail(&self, status: ConnectionStatus) {
        if self.status.get() == ConnectionStatus::Open {
            self.status.set(status);
        }
        self.wake_all();
    }

    /// Nothing more leaves: wakes the streams that wait for it.
    pub(super) fn wake_all(&self) {
        self.backlog.wake_all();
        for sent in self.streams.borrow_mut().values_mut() {
            if let Some(room) = sent.room.take() {
                room.wake();
            }
            self.wake(sent);
        }
    }
}

/// Is a GOAWAY of h2's with this payload one that Envoy counts? The first step of a drain is a notice, and one with an
/// error code comes from its codec.
fn is_counted(payload: &[u8]) -> bool {
    let code = payload.get(4..).and_then(be_u32);
    be_u32(payload) != Some(STREAM_ID_MAX) && code.is_none_or(|code| code == NO_ERROR)
}
