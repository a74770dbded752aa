//! The two halves of an exchange: the body that is read and the body that is written.

use std::fmt::Write as _;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::buffered_conn::{BufferedConn, Half, PIPELINE_BYTES_MAX, SharedConn};
use super::framing::{Decoded, Decoder, Encoder};
use super::trailers;
use crate::codec::{ExchangeError, Frame, Headers, Violation};
use crate::config::header_names::{NameCase, TrailerRule};

/// A message that was cut short by the upstream's FIN or RST: no longer a connection that ended, but an
/// response that is wrong.
pub(super) const CUT_SHORT: ExchangeError = ExchangeError::Malformed(Violation::Http1CutShort);

/// Who sends what an [`Incoming`] reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sender {
    /// The client: when it goes away, that is a disconnect.
    Downstream,
    /// A server: when it goes away within a message, the message is malformed.
    Upstream,
}

/// The body of a message that is being read.
///
/// Dropped before it is complete, it leaves the connection unusable for another message. Trailers are checked, and dropped
/// unless they are to be passed on.
#[derive(Debug)]
pub struct Incoming {
    conn: SharedConn,
    decoder: Decoder,
    sender: Sender,
    trailers: TrailerRule,
    case: NameCase,
}

impl Incoming {
    pub(super) fn new(
        conn: &SharedConn,
        decoder: Decoder,
        sender: Sender,
        (trailers, case): (TrailerRule, NameCase),
    ) -> Self {
        let incoming = Self { conn: Rc::clone(conn), decoder, sender, trailers, case };
        incoming.note_progress();
        incoming
    }

    /// The next piece; `None` once the message is complete. A body that lasts until the connection closes
    /// is complete with the peer's FIN.
    ///
    /// Errors: [`ExchangeError::Malformed`] for bad framing and for a response cut short; [`ExchangeError::Closed`] or
    /// [`ExchangeError::ConnectionReset`] when the client goes away; [`ExchangeError::ConnectionReset`] within a body that
    /// lasts until the connection closes.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ExchangeError>>> {
        loop {
            let decoded = self.decode();
            match decoded {
                Ok(Decoded::Data(data)) => {
                    let data = self.conn.borrow().owned(data);
                    self.note_progress();
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(Decoded::End) => {
                    self.note_progress();
                    return Poll::Ready(None);
                }
                Ok(Decoded::Trailers(section)) => {
                    self.note_progress();
                    if self.trailers == TrailerRule::Passed {
                        return Poll::Ready(Some(trailers::read(&section, self.case).map(Frame::Trailers)));
                    }
                    return Poll::Ready(None);
                }
                Ok(Decoded::More) => {}
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
            let filled = ready!(self.conn.borrow_mut().poll_fill(cx));
            if let Err(broken) = filled {
                return Poll::Ready(self.end_early(broken).map(Err));
            }
        }
    }

    /// What stands next in the input; it is counted as it is taken.
    fn decode(&mut self) -> Result<Decoded, ExchangeError> {
        let conn = &mut *self.conn.borrow_mut();
        let before = conn.input.len();
        let decoded = self.decoder.decode(&mut conn.input);
        if let Some(counted) = conn.counted() {
            counted.taken(before - conn.input.len());
            if let Ok(Decoded::Trailers(section)) = &decoded
                && self.trailers == TrailerRule::Passed
            {
                counted.trailers_taken(trailers::field_bytes(section));
            }
        }
        decoded
    }

    /// The connection has ended where the message had not: `None` if that is how it ends.
    fn end_early(&mut self, broken: ExchangeError) -> Option<ExchangeError> {
        match (self.decoder, self.sender) {
            (Decoder::UntilClose, _) if broken == ExchangeError::Closed => {
                self.decoder = Decoder::Done;
                None
            }
            (Decoder::UntilFin, _) if broken == ExchangeError::Closed && !self.conn.borrow().peer_is_gone() => {
                self.decoder = Decoder::Done;
                None
            }
            (Decoder::UntilClose | Decoder::UntilFin, _) | (_, Sender::Downstream) => Some(broken),
            (_, Sender::Upstream) => Some(CUT_SHORT),
        }
    }

    /// Notes on the connection whether another message may follow.
    fn note_progress(&self) {
        let reading = &mut self.conn.borrow_mut().reading;
        match self.decoder {
            Decoder::Chunked(_) | Decoder::Length(_) => reading.begin(),
            Decoder::Done => reading.end(),
            Decoder::UntilClose | Decoder::UntilFin => *reading = Half::Spent,
        }
    }

    /// Ready when the peer has gone away. Reads ahead to notice, up to 16 KiB and what one read brings; when the
    /// peer has sent that much more, this stays pending for good.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ExchangeError> {
        let mut conn = self.conn.borrow_mut();
        loop {
            if conn.input.len() >= PIPELINE_BYTES_MAX {
                return Poll::Pending;
            }
            if let Err(broken) = ready!(conn.poll_fill(cx)) {
                return Poll::Ready(broken);
            }
        }
    }

    /// Has the whole message been read?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.decoder == Decoder::Done
    }

    /// From here on all bytes until the peer closes are payload. Before the first poll only.
    pub fn switch_to_raw(&mut self) {
        self.decoder = Decoder::UntilClose;
        self.note_progress();
    }
}

/// The body of a message that is being written.
///
/// Dropped before [`finish`](Self::finish), it leaves the connection unusable for another message. Trailers
/// are dropped unless they are to be passed on.
#[derive(Debug)]
pub struct Outgoing {
    conn: SharedConn,
    encoder: Encoder,
    buffer_bytes_max: usize,
    trailers: TrailerRule,
    case: NameCase,
}

impl Outgoing {
    /// The head is in the queue already.
    pub(super) fn new(
        conn: &SharedConn,
        encoder: Encoder,
        buffer_bytes_max: usize,
        (trailers, case): (TrailerRule, NameCase),
    ) -> Self {
        conn.borrow_mut().writing.begin();
        Self { conn: Rc::clone(conn), encoder, buffer_bytes_max, trailers, case }
    }

    /// Ready when [`write`](Self::write) may be called: less than the buffer limit is queued.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        self.conn.borrow_mut().poll_ready(cx, self.buffer_bytes_max)
    }

    /// Queues payload. What exceeds the content-length of the head is dropped, and the connection is not used
    /// again: sent on, it would be read as the next message.
    pub fn write(&mut self, mut data: Bytes) {
        if data.is_empty() {
            return; // an empty chunk would end the body
        }
        let mut conn = self.conn.borrow_mut();
        let queue = conn.queue();
        let before = queue.bytes();
        match &mut self.encoder {
            Encoder::Chunked => {
                write!(queue.text(), "{:x}\r\n", data.len()).expect("a BytesMut grows as needed");
                queue.push(data);
                queue.text().extend_from_slice(b"\r\n");
            }
            Encoder::Length(left) => {
                let owed = usize::try_from(*left).unwrap_or(usize::MAX);
                if data.len() > owed {
                    data.truncate(owed);
                    conn.writing = Half::Spent;
                }
                *left -= data.len() as u64;
                conn.queue().push(data);
            }
            Encoder::Nothing => {}
            Encoder::UntilClose | Encoder::UntilFin => queue.push(data),
        }
        count_queued(&mut conn, before);
    }

    /// Queues the end of the message; only a chunked one has trailers. What is queued then is written also if no task waits for
    /// [`poll_flush`](Self::poll_flush). A message that has no other end than the connection's ends when the caller
    /// closes that; one that owes bytes leaves the connection unusable.
    pub fn finish(&mut self, trailers: Option<Headers>) {
        let mut conn = self.conn.borrow_mut();
        let before = conn.queue().bytes();
        match self.encoder {
            Encoder::Chunked => {
                let text = conn.queue().text();
                text.extend_from_slice(b"0\r\n");
                let begin = text.len();
                if let Some(trailers) = trailers.filter(|_| self.trailers == TrailerRule::Passed) {
                    trailers::write(text, &trailers, self.case);
                }
                let fields = text.len() - begin;
                text.extend_from_slice(b"\r\n");
                if let Some(counted) = conn.counted() {
                    counted.fields_queued(fields);
                }
            }
            Encoder::Length(0) | Encoder::Nothing => {}
            Encoder::UntilFin => conn.queue_fin(),
            Encoder::Length(_) | Encoder::UntilClose => return,
        }
        count_queued(&mut conn, before);
        self.encoder = Encoder::Nothing; // a second call must not add a second end
        conn.writing.end();
        conn.leave_unattended();
    }

    /// Ready when everything queued, the head included, has left for the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        self.conn.borrow_mut().poll_flush(cx)
    }

    /// Breaks the message off: the connection will not be used again. What is queued may still go out.
    pub fn reset(self) {
        self.conn.borrow_mut().writing = Half::Spent;
    }
}

/// Counts what has been queued since the queue had `before` bytes.
fn count_queued(conn: &mut BufferedConn, before: usize) {
    let queued = conn.queue().bytes().saturating_sub(before);
    if let Some(counted) = conn.counted() {
        counted.queued(queued);
    }
}
