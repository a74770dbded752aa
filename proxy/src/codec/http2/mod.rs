//! HTTP/2 in both directions, over the h2 crate.
//!
//! [`ServerConnection`] hands out requests, [`ClientConnection`] takes them; both give an [`Incoming`] to read
//! and an [`Outgoing`] to write. h2 keeps the frames, the windows and HPACK; `h2_io` watches what it does to
//! the socket, `heads` translates, and `bounds` limits what a peer may make us hold and do. Extended CONNECT (RFC 8441) is a request whose head has a `protocol`.
//!
//! Both halves of a stream must be polled by one task: h2 keeps one waker per stream and direction, and the
//! end of a stream wakes the waker of the sending direction.

mod bounds;
mod client;
mod fields;
mod flood;
mod frames;
mod h2_io;
mod heads;
mod hpack;
mod incoming;
mod message;
mod outgoing;
mod pieces;
mod server;
mod target;
#[cfg(test)]
mod tests;

pub use client::{ClientConnection, Driver, DriverEnd, RESPONSE_LIMIT, Response};
pub use h2_io::MessageErrorScope;
pub use hpack::{HeadLimit, ListLimit};
pub use incoming::Incoming;
pub use outgoing::Outgoing;
pub use server::{ConnectionError, Counting, Pinger, Responder, ServerConnection, Traffic};

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};

use super::{Counted, ExchangeError, Frame, Headers, ResetReason, Violation};
use crate::stats::Held;
use h2_io::{Amount, ConnectionState, ConnectionStatus};
use incoming::Receiving;

/// The stream of frames that belong to none (RFC 9113 5.1.1).
const CONNECTION: u32 = 0;

/// What both halves of a stream share.
#[derive(Debug)]
struct Stream {
    sending: RefCell<Sending>,
    receiving: RefCell<Receiving>,
    /// Frames that came and were not read, at least those that h2 holds.
    unread_frames: Cell<u32>,
    /// The stream is on the connection's list of those to be looked at after a turn.
    is_noted: Cell<bool>,
    connection: Rc<ConnectionState>,
    id: u32,
    /// What h2 was given to send.
    submitted: Cell<Amount>,
    /// Counts the stream as active, on a client's connection.
    _active: Option<client::Active>,
    _counted: Held,
}

/// h2's handle on the sending direction.
#[derive(Debug)]
enum Sending {
    Body(SendStream<Bytes>),
    /// A server that has not sent a response head.
    Head(SendResponse<Bytes>),
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.forget_stream(self.id);
    }
}

impl Stream {
    fn new(sending: Sending, connection: &Rc<ConnectionState>, active: Option<client::Active>) -> Rc<Self> {
        let id = match &sending {
            Sending::Body(body) => body.stream_id().as_u32(),
            Sending::Head(head) => head.stream_id().as_u32(),
        };
        let stream = Rc::new(Self {
            sending: RefCell::new(sending),
            receiving: RefCell::new(Receiving::Unclaimed),
            unread_frames: Cell::default(),
            is_noted: Cell::default(),
            connection: Rc::clone(connection),
            id,
            submitted: Cell::default(),
            _active: active,
            _counted: connection.stats.streams_active.enter(),
        });
        connection.register_stream(id, Rc::downgrade(&stream));
        stream
    }

    /// A head with these fields was given to h2, and with pseudo-headers of so many bytes.
    fn head_submitted(&self, headers: &Headers, pseudo_bytes: usize) {
        let fields = field_bytes(headers);
        let counted = u64::try_from(fields + pseudo_bytes).unwrap_or(u64::MAX);
        self.connection.note_head_submitted(self.id, held_bytes(headers, fields), counted);
        let submitted = self.submitted.get();
        self.submitted.set(Amount { heads: submitted.heads + 1, ..submitted });
    }

    /// Where its bytes are counted, if they are.
    fn counted(&self) -> Counted {
        self.connection.counted(self.id)
    }

    /// Payload was given to h2.
    fn payload_submitted(&self, len: usize) {
        self.connection.note_payload_submitted(self.id, len);
        let submitted = self.submitted.get();
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.submitted.set(Amount { payload_bytes: submitted.payload_bytes.saturating_add(len), ..submitted });
    }

    /// Has everything that was given to h2 left?
    fn has_left(&self) -> bool {
        self.connection.has_left(self.id, self.submitted.get())
    }

    fn has_begun(&self) -> bool {
        self.connection.has_begun(self.id)
    }

    /// Ready when h2 holds nothing of what it was given, else when more of it has left.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_room(self.id, self.submitted.get(), cx)
    }

    /// Ready when h2 may be given more on this connection, whichever stream it is of.
    fn poll_connection_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_alive = self.connection.status() == ConnectionStatus::Open;
        if is_alive { self.connection.backlog.poll_room(cx) } else { Poll::Ready(()) }
    }

    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_sent(self.id, self.submitted.get(), cx)
    }

    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<ExchangeError> {
        let reason = match &mut *self.sending.borrow_mut() {
            Sending::Body(body) => ready!(body.poll_reset(cx)),
            Sending::Head(head) => ready!(head.poll_reset(cx)),
        };
        Poll::Ready(match reason {
            Err(error) => self.broken(&error),
            // h2 gives the code of a GOAWAY, its own or the peer's, as if the stream had been reset.
            Ok(_) if self.connection.is_failed_by_peer() => self.lost(),
            Ok(_) if let Some(broken) = self.connection.malformed(self.id) => broken,
            Ok(_) if self.connection.is_refused(self.id) => ExchangeError::StreamReset(ResetReason::RefusedStream),
            Ok(reason) => ExchangeError::StreamReset(reset_reason(reason)),
        })
    }

    /// Ready when the windows allow more than before.
    fn poll_capacity(&self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        let Sending::Body(body) = &mut *self.sending.borrow_mut() else { return Poll::Ready(Ok(())) };
        Poll::Ready(match ready!(body.poll_capacity(cx)) {
            None => Err(self.lost()),
            Some(Err(error)) => Err(self.broken(&error)),
            Some(Ok(_)) => Ok(()),
        })
    }

    fn reset(&self, reason: ResetReason) {
        self.connection.expect_reset(self.id);
        match &mut *self.sending.borrow_mut() {
            Sending::Body(body) => body.send_reset(h2_reason(reason)),
            Sending::Head(head) => head.send_reset(h2_reason(reason)),
        }
    }

    fn broken(&self, error: &h2::Error) -> ExchangeError {
        broken(error, &self.connection, self.id)
    }

    fn lost(&self) -> ExchangeError {
        lost(&self.connection, self.id)
    }
}

/// Names and values.
fn field_bytes(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// The memory that a head with so many bytes of fields takes while h2 holds it: a value may keep twice its length alive, and a
/// field has an entry.
fn held_bytes(headers: &Headers, fields: usize) -> usize {
    const ENTRY_BYTES: usize = 128;
    ENTRY_BYTES * headers.len() + 2 * fields
}

/// What an error of h2 on a stream means; the connection itself is stream 0.
fn broken(error: &h2::Error, connection: &ConnectionState, stream: u32) -> ExchangeError {
    match error.reason() {
        _ if connection.is_failed_by_peer() => lost(connection, stream),
        Some(reason) if error.is_reset() && !error.is_library() => ExchangeError::StreamReset(reset_reason(reason)),
        Some(_) if error.is_reset() => {
            connection.malformed(stream).unwrap_or(ExchangeError::Malformed(Violation::RemoteReset))
        }
        // Only the streams that the peer has not processed are ended by its GOAWAY (RFC 9113 6.8).
        Some(_) if error.is_remote() => ExchangeError::StreamReset(ResetReason::RefusedStream),
        Some(_) if error.is_library() && connection.status() == ConnectionStatus::Open => {
            ExchangeError::Malformed(Violation::Protocol)
        }
        _ => lost(connection, stream),
    }
}

/// What the end of the connection means for a stream.
fn lost(connection: &ConnectionState, stream: u32) -> ExchangeError {
    match connection.status() {
        ConnectionStatus::Open | ConnectionStatus::ClosedByPeer | ConnectionStatus::ClosedByUs => ExchangeError::Closed,
        ConnectionStatus::ProtocolError => {
            connection.malformed(stream).unwrap_or(ExchangeError::Malformed(Violation::Protocol))
        }
        ConnectionStatus::Flooded { flood, stream: culprit } if culprit == stream => {
            ExchangeError::Malformed(flood.violation_of_culprit())
        }
        ConnectionStatus::Flooded { flood, .. } => ExchangeError::Malformed(flood.violation()),
        // Its head was good, so it was the trailers.
        ConnectionStatus::MalformedMessage(culprit) if culprit == stream => {
            ExchangeError::Malformed(connection.malformed_as.get().unwrap_or(Violation::MessagingRule))
        }
        ConnectionStatus::MalformedMessage(_) => ExchangeError::Malformed(Violation::Protocol),
        ConnectionStatus::NotHttp2 => ExchangeError::Malformed(Violation::NotHttp2),
        ConnectionStatus::Reset => ExchangeError::ConnectionReset,
    }
}

fn reset_reason(reason: Reason) -> ResetReason {
    match reason {
        Reason::CANCEL => ResetReason::Cancel,
        Reason::CONNECT_ERROR => ResetReason::ConnectError,
        Reason::INTERNAL_ERROR => ResetReason::InternalError,
        Reason::NO_ERROR => ResetReason::NoError,
        Reason::PROTOCOL_ERROR => ResetReason::ProtocolError,
        Reason::REFUSED_STREAM => ResetReason::RefusedStream,
        other => ResetReason::Other(other.into()),
    }
}

fn h2_reason(reason: ResetReason) -> Reason {
    match reason {
        ResetReason::Cancel => Reason::CANCEL,
        ResetReason::ConnectError => Reason::CONNECT_ERROR,
        ResetReason::InternalError => Reason::INTERNAL_ERROR,
        ResetReason::NoError => Reason::NO_ERROR,
        ResetReason::Other(code) => Reason::from(code),
        ResetReason::ProtocolError => Reason::PROTOCOL_ERROR,
        ResetReason::RefusedStream => Reason::REFUSED_STREAM,
    }
}
