//! HTTP/2 in both directions, over the h2 crate.
//!
//! [`ServerConnection`] hands out requests, [`ClientConnection`] takes them; both give an [`Incoming`] to read
//! and an [`Outgoing`] to write. h2 keeps the frames, the windows and HPACK; `wire` watches what it does to
//! the socket, and `heads` translates. Extended CONNECT (RFC 8441) is a request whose head has a `protocol`.
//!
//! Both halves of a stream must be polled by one task: h2 keeps one waker per stream and direction, and the
//! end of a stream is told to the waker of the sending direction.

mod client;
mod flood;
mod frames;
mod heads;
mod server;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{ClientConnection, Driver, DriverEnd, Response};
pub use server::{ConnectionError, HeadLimit, Informer, Pinger, Responder, ServerConnection, Traffic};

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::{Broken, Frame, Headers, ResetReason};
use heads::{headers_from_h2, headers_to_h2};
use wire::{Amount, Fate, Shared};

/// Envoy's details for a head that RFC 9113 8.2 forbids.
const INVALID_HEADER_FIELD: &str = "http2.invalid.header.field";
/// Envoy's details for a message that breaks another rule, content-length among them.
const MESSAGING_RULE: &str = "http2.violation.of.messaging.rule";
/// Envoy's details for a body that does not have its content-length.
const REMOTE_RESET: &str = "http2.remote_reset";
/// Envoy's details for frames that break the protocol, and for the streams beside a malformed message.
const CODEC_ERROR: &str = "codec_error:The_user_callback_function_failed";
/// What Envoy logs when a server answers with something else than HTTP/2.
const NOT_HTTP2: &str = "Remote peer returned unexpected data while we expected SETTINGS frame";

/// The stream of frames that belong to none (RFC 9113 5.1.1).
const CONNECTION: u32 = 0;

/// Payload of one stream that h2 may hold while the peer's window is open and the socket is not.
const STREAM_BUFFER_BYTES_MAX: usize = 256 * 1024; // as much as a Linux socket buffer soaks up by default

/// Payload of one stream that may wait for the peer's window before its source is held back. A response that fits is over
/// for its upstream as soon as it is here.
const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// Streams that h2 remembers after a reset, so that frames which were under way are ignored.
const RESET_STREAMS_MAX: usize = 1024;
/// For how long. h2 takes this time from the system, not from tokio: it has to be longer than a simulation runs.
const RESET_STREAM_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// The half of a stream that we read.
#[derive(Debug)]
pub struct Incoming {
    recv: RecvStream,
    state: Reading,
    /// Payload given out with the last frame, for which the peer has no credit yet.
    unreleased: usize,
    stream: Rc<Stream>,
}

#[derive(Clone, Copy, Debug)]
enum Reading {
    Data,
    Trailers,
    Complete,
    Broken(Broken),
}

impl Incoming {
    fn new(recv: RecvStream, stream: Rc<Stream>) -> Self {
        let state = if recv.is_end_stream() { Reading::Complete } else { Reading::Data };
        Self { recv, state, unreleased: 0, stream }
    }

    /// The next piece; `None` once the message is complete. The peer gets credit for a piece when the one after
    /// it is asked for, so a reader that stops stops the peer as well.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Broken>>> {
        self.release();
        loop {
            match self.state {
                Reading::Data => match ready!(self.recv.poll_data(cx)) {
                    None => self.state = Reading::Trailers,
                    Some(Err(error)) => self.state = Reading::Broken(self.stream.broken(&error)),
                    Some(Ok(data)) if data.is_empty() => {}
                    Some(Ok(data)) => {
                        self.unreleased = data.len();
                        return Poll::Ready(Some(Ok(Frame::Data(data))));
                    }
                },
                Reading::Trailers => match ready!(self.recv.poll_trailers(cx)) {
                    Err(error) => self.state = Reading::Broken(self.stream.broken(&error)),
                    Ok(None) => self.state = Reading::Complete,
                    Ok(Some(trailers)) => {
                        self.state = Reading::Complete;
                        return Poll::Ready(Some(Ok(Frame::Trailers(headers_from_h2(trailers)))));
                    }
                },
                Reading::Complete => return Poll::Ready(None),
                Reading::Broken(broken) => return Poll::Ready(Some(Err(broken))),
            }
        }
    }

    /// Ready when the stream was reset or the connection is gone, whether or not the message is complete.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        if let Reading::Broken(broken) = self.state {
            return Poll::Ready(broken);
        }
        self.stream.poll_reset(cx)
    }

    /// Has the whole message been read?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, Reading::Complete) || self.recv.is_end_stream()
    }

    fn release(&mut self) {
        let consumed = std::mem::take(&mut self.unreleased);
        if consumed > 0 {
            // Fails only once the stream is gone, and then nobody waits for credit.
            drop(self.recv.flow_control().release_capacity(consumed));
        }
    }
}

/// The half of a stream that we write. Dropped before its end has been handed to h2, it resets the stream
/// with CANCEL.
#[derive(Debug)]
pub struct Outgoing {
    stream: Rc<Stream>,
    /// What the windows did not allow yet.
    queued: VecDeque<Bytes>,
    queued_bytes: usize,
    ending: Ending,
    broken: Option<Broken>,
}

/// How far the end of the message has come.
#[derive(Debug)]
enum Ending {
    Open,
    Asked(Option<HeaderMap>),
    Sent,
}

impl Outgoing {
    fn new(stream: Rc<Stream>, ending: Ending) -> Self {
        Self { stream, queued: VecDeque::new(), queued_bytes: 0, ending, broken: None }
    }

    /// Ready when the windows have left less than [`QUEUE_BYTES_MAX`] of what was written before.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.poll_pushed(cx) {
            Poll::Pending if self.queued_bytes < QUEUE_BYTES_MAX => Poll::Ready(Ok(())),
            pushed @ (Poll::Pending | Poll::Ready(_)) => pushed,
        }
    }

    /// Queues payload. It stays here until more is written, the end is known or a flush is asked for, so that the
    /// end travels with the last of it.
    pub fn write(&mut self, data: Bytes) {
        if !self.queued.is_empty() {
            self.push();
        }
        self.queued_bytes += data.len();
        self.queued.push_back(data);
    }

    /// Queues the end of the message.
    pub fn finish(&mut self, trailers: Option<Headers>) {
        if matches!(self.ending, Ending::Open) {
            self.ending = Ending::Asked(trailers.map(|trailers| headers_to_h2(&trailers)));
            self.push();
        }
    }

    /// Ready when everything queued, the head included, has left for the socket, within the windows of the peer.
    /// From then on a reset loses nothing.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_pushed(cx))?;
        if self.stream.poll_sent(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        // Of a stream that the peer has reset, nothing more leaves.
        let broken = ready!(self.stream.poll_reset(cx));
        self.broken = Some(broken);
        Poll::Ready(Err(broken))
    }

    /// RST_STREAM with `reason`. What is queued is lost.
    pub fn reset(mut self, reason: ResetReason) {
        self.stream.reset(reason);
        self.ending = Ending::Sent;
    }

    fn poll_pushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if let Some(broken) = self.broken {
                return Poll::Ready(Err(broken));
            }
            if matches!(self.ending, Ending::Sent) {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(broken) = self.stream.poll_reset(cx) {
                self.broken = Some(broken);
                continue;
            }
            if self.push() {
                return Poll::Ready(Ok(()));
            }
            if let Err(broken) = ready!(self.stream.poll_capacity(cx)) {
                self.broken = Some(broken);
            }
        }
    }

    /// Gives h2 what the windows allow; true when nothing is left.
    fn push(&mut self) -> bool {
        let mut sending = self.stream.sending.borrow_mut();
        let Sending::Body(body) = &mut *sending else { return true };
        let mut handed = self.stream.handed.get();
        let before = handed.payload_bytes;
        let pushed = push(body, &mut self.queued, &mut self.ending, &mut handed);
        let left = usize::try_from(handed.payload_bytes - before).unwrap_or(usize::MAX);
        self.queued_bytes = self.queued_bytes.saturating_sub(left);
        self.stream.handed.set(handed);
        pushed.unwrap_or_else(|error| {
            self.broken.get_or_insert(self.stream.broken(&error));
            true
        })
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !matches!(self.ending, Ending::Sent) && self.broken.is_none() {
            self.stream.reset(ResetReason::Cancel);
        }
    }
}

fn push(
    body: &mut SendStream<Bytes>,
    queued: &mut VecDeque<Bytes>,
    ending: &mut Ending,
    handed: &mut Amount,
) -> Result<bool, h2::Error> {
    while let Some(first) = queued.front_mut() {
        body.reserve_capacity(first.len());
        let allowed = body.capacity().min(first.len());
        if allowed == 0 && !first.is_empty() {
            return Ok(false);
        }
        let piece = first.split_to(allowed);
        if first.is_empty() {
            queued.pop_front();
        }
        let is_last = queued.is_empty() && matches!(ending, Ending::Asked(None));
        handed.payload_bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        body.send_data(piece, is_last)?;
        if is_last {
            *ending = Ending::Sent;
        }
    }
    match std::mem::replace(ending, Ending::Sent) {
        Ending::Open => *ending = Ending::Open,
        Ending::Asked(None) => body.send_data(Bytes::new(), true)?,
        Ending::Asked(Some(trailers)) => {
            handed.heads += 1;
            body.send_trailers(trailers)?;
        }
        Ending::Sent => {}
    }
    Ok(true)
}

/// What both halves of a stream share.
#[derive(Debug)]
struct Stream {
    sending: RefCell<Sending>,
    connection: Rc<Shared>,
    id: u32,
    /// What h2 was given to send.
    handed: Cell<Amount>,
    /// Counts the stream as active, on a client's connection.
    _active: Option<client::Active>,
}

/// h2's handle on the sending direction.
#[derive(Debug)]
enum Sending {
    Body(SendStream<Bytes>),
    /// A server that has not answered.
    Head(SendResponse<Bytes>),
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.forget_stream(self.id);
    }
}

impl Stream {
    fn new(sending: Sending, connection: &Rc<Shared>, active: Option<client::Active>) -> Rc<Self> {
        let id = match &sending {
            Sending::Body(body) => body.stream_id().as_u32(),
            Sending::Head(head) => head.stream_id().as_u32(),
        };
        connection.watch_stream(id);
        let handed = Cell::default();
        Rc::new(Self { sending: RefCell::new(sending), connection: Rc::clone(connection), id, handed, _active: active })
    }

    /// A head was given to h2.
    fn head_handed(&self) {
        let handed = self.handed.get();
        self.handed.set(Amount { heads: handed.heads + 1, ..handed });
    }

    fn has_begun(&self) -> bool {
        self.connection.has_begun(self.id)
    }

    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_sent(self.id, self.handed.get(), cx)
    }

    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<Broken> {
        let reason = match &mut *self.sending.borrow_mut() {
            Sending::Body(body) => ready!(body.poll_reset(cx)),
            Sending::Head(head) => ready!(head.poll_reset(cx)),
        };
        Poll::Ready(match reason {
            Err(error) => self.broken(&error),
            // h2 gives the code of a GOAWAY, its own or the peer's, as if the stream had been reset.
            Ok(_) if self.connection.is_condemned() => self.lost(),
            Ok(_) if self.connection.is_malformed(self.id) => Broken::Malformed(REMOTE_RESET),
            Ok(_) if self.connection.is_refused(self.id) => Broken::StreamReset(ResetReason::RefusedStream),
            Ok(reason) => Broken::StreamReset(reset_reason(reason)),
        })
    }

    /// Ready when the windows allow more than before.
    fn poll_capacity(&self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
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

    fn broken(&self, error: &h2::Error) -> Broken {
        broken(error, &self.connection, self.id)
    }

    fn lost(&self) -> Broken {
        lost(&self.connection, self.id)
    }
}

/// What an error of h2 on a stream means; the connection itself is stream 0.
fn broken(error: &h2::Error, connection: &Shared, stream: u32) -> Broken {
    match error.reason() {
        _ if connection.is_condemned() => lost(connection, stream),
        Some(reason) if error.is_reset() && !error.is_library() => Broken::StreamReset(reset_reason(reason)),
        Some(_) if error.is_reset() => Broken::Malformed(REMOTE_RESET),
        // Only the streams that the peer has not processed hear of its GOAWAY (RFC 9113 6.8).
        Some(_) if error.is_remote() => Broken::StreamReset(ResetReason::RefusedStream),
        Some(_) if error.is_library() && connection.fate() == Fate::Alive => Broken::Malformed(CODEC_ERROR),
        _ => lost(connection, stream),
    }
}

/// What the end of the connection means for a stream.
fn lost(connection: &Shared, stream: u32) -> Broken {
    match connection.fate() {
        Fate::Alive | Fate::Closed | Fate::Dropped => Broken::Closed,
        Fate::BrokenProtocol => Broken::Malformed(CODEC_ERROR),
        Fate::Flooded { flood, stream: culprit } if culprit == stream => Broken::Malformed(flood.details_of_culprit()),
        Fate::Flooded { flood, .. } => Broken::Malformed(flood.details()),
        // Its head was good, so it was the trailers.
        Fate::InvalidMessage(Some(culprit)) if culprit == stream => Broken::Malformed(MESSAGING_RULE),
        Fate::InvalidMessage(_) => Broken::Malformed(CODEC_ERROR),
        Fate::NotHttp2 => Broken::Malformed(NOT_HTTP2),
        Fate::Reset => Broken::ConnectionReset,
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
