//! The half of a stream that we write.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;

use super::bounds::{QUEUE_BYTES_MAX, SMALL_PIECES_MAX};
use super::heads::headers_to_h2;
use super::pieces::{LARGE_BYTES_MIN, Pieces};
use super::{ExchangeError, Headers, ResetReason, Sending, Stream, h2_reason};

/// The half of a stream that we write. Dropped before its end has been handed to h2, it resets the stream
/// with CANCEL.
#[derive(Debug)]
pub struct Outgoing {
    pub(super) stream: Rc<Stream>,
    /// What the windows, or what h2 may hold of small pieces, did not allow yet.
    queued: Pieces,
    /// Small pieces that h2 was given since it last held nothing, as far as is known.
    small_pieces: u32,
    pub(super) ending: Ending,
    pub(super) broken: Option<ExchangeError>,
}

/// How far the end of the message has come.
#[derive(Debug)]
pub(super) enum Ending {
    Open,
    Queued(Option<Headers>),
    Sent,
}

/// What became of an attempt to give h2 what is queued.
enum Pushed {
    All,
    /// h2 holds enough for the connection.
    ConnectionFull,
    /// The windows are closed, or the buffer that h2 has for the stream is full.
    NoWindow,
    /// h2 holds small pieces enough.
    NoRoom,
}

impl Outgoing {
    pub(super) fn new(stream: Rc<Stream>, ending: Ending) -> Self {
        Self { stream, queued: Pieces::default(), small_pieces: 0, ending, broken: None }
    }

    /// Ready when the windows have left so little of what was written before that more may wait with it: less than
    /// [`QUEUE_BYTES_MAX`], or nothing where the streams of the connection have queued much.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        match self.poll_pushed(cx) {
            Poll::Pending if self.may_queue() => Poll::Ready(Ok(())),
            pushed @ (Poll::Pending | Poll::Ready(_)) => pushed,
        }
    }

    /// Queues payload. It stays here until more is written, the end is known or a flush is requested, so that the
    /// end travels with the last of it.
    pub fn write(&mut self, data: Bytes) {
        if !self.queued.is_empty() {
            self.push();
        }
        let before = self.queued.bytes();
        self.queued.push(data);
        self.note_queued(before);
    }

    fn may_queue(&self) -> bool {
        let queued = self.queued.bytes();
        queued == 0 || (queued < QUEUE_BYTES_MAX && self.stream.connection.backlog.has_queue_room())
    }

    /// The queue held so many bytes before what has just been done to it.
    fn note_queued(&self, before: usize) {
        self.stream.connection.backlog.requeue(before, self.queued.bytes());
    }

    /// Queues the end of the message.
    pub fn finish(&mut self, trailers: Option<Headers>) {
        if matches!(self.ending, Ending::Open) {
            self.ending = Ending::Queued(trailers);
            self.push();
        }
    }

    /// Ready when everything queued, the head included, has left for the socket, within the windows of the peer.
    /// From then on a reset loses nothing.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
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

    /// If the stream is reset because its response is whole and its request is not, then for this reason and not with NO_ERROR.
    pub fn set_end(&mut self, reason: ResetReason) {
        self.stream.connection.set_reset_code(self.stream.id, h2_reason(reason).into());
    }

    fn poll_pushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
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
            match self.push() {
                Pushed::All => return Poll::Ready(Ok(())),
                Pushed::NoRoom => ready!(self.stream.poll_room(cx)),
                Pushed::ConnectionFull => ready!(self.stream.poll_connection_room(cx)),
                Pushed::NoWindow => {
                    if let Err(broken) = ready!(self.stream.poll_capacity(cx)) {
                        self.broken = Some(broken);
                    }
                }
            }
        }
    }

    /// Gives h2 what it may have.
    fn push(&mut self) -> Pushed {
        let stream = Rc::clone(&self.stream);
        let mut sending = stream.sending.borrow_mut();
        let Sending::Body(body) = &mut *sending else { return Pushed::All };
        let before = self.queued.bytes();
        let pushed = self.push_to(body);
        self.note_queued(before);
        self.stream.connection.backlog.publish();
        pushed.unwrap_or_else(|error| {
            self.broken.get_or_insert(stream.broken(&error));
            Pushed::All
        })
    }

    fn push_to(&mut self, body: &mut SendStream<Bytes>) -> Result<Pushed, h2::Error> {
        while let Some(len) = self.queued.next_len() {
            if self.stream.connection.backlog.is_full() {
                return Ok(Pushed::ConnectionFull);
            }
            body.reserve_capacity(len);
            let allowed = body.capacity().min(len);
            if allowed == 0 && len > 0 {
                return Ok(Pushed::NoWindow);
            }
            if allowed < LARGE_BYTES_MIN && !self.has_room() {
                return Ok(Pushed::NoRoom);
            }
            let Some(piece) = self.queued.take(allowed) else { break };
            let is_last = self.queued.is_empty() && matches!(self.ending, Ending::Queued(None));
            self.stream.payload_submitted(piece.len());
            self.small_pieces += u32::from(piece.len() < LARGE_BYTES_MIN);
            body.send_data(piece, is_last)?;
            if is_last {
                self.ending = Ending::Sent;
            }
        }
        match std::mem::replace(&mut self.ending, Ending::Sent) {
            Ending::Open => self.ending = Ending::Open,
            Ending::Queued(None) => body.send_data(Bytes::new(), true)?,
            Ending::Queued(Some(trailers)) => {
                self.stream.head_submitted(&trailers, 0);
                body.send_trailers(headers_to_h2(&trailers))?;
            }
            Ending::Sent => {}
        }
        Ok(Pushed::All)
    }

    /// May h2 have another small piece?
    fn has_room(&mut self) -> bool {
        if self.small_pieces >= SMALL_PIECES_MAX && self.stream.has_left() {
            self.small_pieces = 0;
        }
        self.small_pieces < SMALL_PIECES_MAX
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.stream.connection.backlog.requeue(self.queued.bytes(), 0);
        self.stream.connection.backlog.publish();
        if !matches!(self.ending, Ending::Sent) && self.broken.is_none() {
            self.stream.reset(ResetReason::Cancel);
        }
    }
}
