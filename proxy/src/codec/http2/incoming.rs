//! The half of a stream that we read.

use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::RecvStream;

use super::bounds::{TURN_FRAMES_MAX, UNCLAIMED_FRAMES_MAX};
use super::frames::ENHANCE_YOUR_CALM;
use super::heads::trailers_from_h2;
use super::pieces::{LARGE_BYTES_MIN, Pieces};
use super::{ExchangeError, Frame, ResetReason, Stream};

/// The half of a stream that we read.
#[derive(Debug)]
pub struct Incoming {
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
    ExchangeError(ExchangeError),
}

/// h2's handle on the receiving direction.
#[derive(Debug)]
pub(super) enum Receiving {
    /// The response's head has not been fetched.
    Unclaimed,
    Open(Unread),
    /// No reader: h2 discards what arrives.
    Abandoned,
}

/// What lies unread.
#[derive(Debug)]
pub(super) struct Unread {
    recv: RecvStream,
    /// Taken from h2 before the reader polled for it. The peer has no credit for it yet.
    pieces: Pieces,
    /// The reader has found nothing and was promised to be woken.
    reader: Option<Waker>,
    /// As above, or it has yet to come for the first time.
    is_awaited: bool,
}

impl Incoming {
    pub(super) fn new(recv: RecvStream, stream: Rc<Stream>) -> Self {
        let state = if recv.is_end_stream() { Reading::Complete } else { Reading::Data };
        let unread = Unread { recv, pieces: Pieces::default(), reader: None, is_awaited: true };
        stream.receiving.replace(Receiving::Open(unread));
        Self { state, unreleased: 0, stream }
    }

    /// The next piece; `None` once the message is complete. The peer gets credit for a piece when the one after
    /// it is polled for, so a reader that stops stops the peer as well.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ExchangeError>>> {
        self.release();
        loop {
            match self.state {
                Reading::Data => match ready!(self.stream.poll_data(cx)) {
                    None => self.state = Reading::Trailers,
                    Some(Err(error)) => self.state = Reading::ExchangeError(self.stream.broken(&error)),
                    Some(Ok(data)) if data.is_empty() => {}
                    Some(Ok(data)) => {
                        self.unreleased = data.len();
                        return Poll::Ready(Some(Ok(Frame::Data(data))));
                    }
                },
                Reading::Trailers => match ready!(self.stream.poll_trailers(cx)) {
                    Err(error) => self.state = Reading::ExchangeError(self.stream.broken(&error)),
                    Ok(None) => self.state = Reading::Complete,
                    Ok(Some(trailers)) => {
                        self.state = Reading::Complete;
                        return Poll::Ready(Some(Ok(Frame::Trailers(trailers_from_h2(trailers)))));
                    }
                },
                Reading::Complete => return Poll::Ready(None),
                Reading::ExchangeError(broken) => return Poll::Ready(Some(Err(broken))),
            }
        }
    }

    /// Ready when the stream was reset or the connection is gone, whether or not the message is complete.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ExchangeError> {
        if let Reading::ExchangeError(broken) = self.state {
            return Poll::Ready(broken);
        }
        self.stream.poll_reset(cx)
    }

    /// Ready when the connection has room for the response to this request.
    pub fn poll_response_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_connection_room(cx)
    }

    /// Has the whole message been read?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(self.state, Reading::Complete) || self.stream.is_read()
    }

    fn release(&mut self) {
        let consumed = std::mem::take(&mut self.unreleased);
        if consumed > 0 {
            self.stream.release(consumed);
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // h2 gives credit for what it still holds, not for the rest.
        self.release();
        self.stream.abandon();
    }
}

impl Stream {
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let Receiving::Open(unread) = &mut *self.receiving.borrow_mut() else { return Poll::Ready(None) };
        if let Some(piece) = unread.pieces.take(usize::MAX) {
            unread.is_awaited = false;
            return Poll::Ready(Some(Ok(piece)));
        }
        let polled = unread.recv.poll_data(cx);
        unread.is_awaited = polled.is_pending();
        match polled {
            Poll::Pending => {
                self.unread_frames.set(0);
                match &mut unread.reader {
                    Some(reader) => reader.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(data))) => {
                self.unread_frames.set(self.unread_frames.get().saturating_sub(1));
                // A piece that others follow goes into queues beside them, and must not take its read buffer along.
                let is_copied = data.len() < LARGE_BYTES_MIN && !unread.recv.is_end_stream();
                Poll::Ready(Some(Ok(if is_copied { Bytes::copy_from_slice(&data) } else { data })))
            }
            ended @ Poll::Ready(_) => ended,
        }
    }

    fn poll_trailers(&self, cx: &mut Context<'_>) -> Poll<Result<Option<http::HeaderMap>, h2::Error>> {
        match &mut *self.receiving.borrow_mut() {
            Receiving::Open(unread) => unread.recv.poll_trailers(cx),
            Receiving::Unclaimed | Receiving::Abandoned => Poll::Ready(Ok(None)),
        }
    }

    fn is_read(&self) -> bool {
        match &*self.receiving.borrow() {
            Receiving::Open(unread) => unread.pieces.is_empty() && unread.recv.is_end_stream(),
            Receiving::Unclaimed | Receiving::Abandoned => false,
        }
    }

    fn release(&self, consumed: usize) {
        if let Receiving::Open(unread) = &mut *self.receiving.borrow_mut() {
            // Fails only once the stream is gone, and then nothing waits for credit.
            drop(unread.recv.flow_control().release_capacity(consumed));
        }
    }

    fn abandon(&self) {
        if let Receiving::Open(mut unread) = self.receiving.replace(Receiving::Abandoned) {
            let taken = unread.pieces.bytes();
            if taken > 0 {
                drop(unread.recv.flow_control().release_capacity(taken));
            }
        }
    }

    /// A frame of the peer's has come that h2 keeps until it is read. Is it the first since [`Self::gather`]?
    pub(super) fn note_unread(&self) -> bool {
        self.unread_frames.set(self.unread_frames.get().saturating_add(1));
        !self.is_noted.replace(true)
    }

    /// At the end of a turn: takes from h2 what its reader has not come for. Is the stream to be looked at after the next
    /// turn too?
    pub(super) fn gather(&self) -> bool {
        let frames = self.unread_frames.get();
        let is_again = match &mut *self.receiving.borrow_mut() {
            Receiving::Abandoned => false,
            Receiving::Unclaimed if frames > UNCLAIMED_FRAMES_MAX => {
                self.reset(ResetReason::Other(ENHANCE_YOUR_CALM));
                false
            }
            Receiving::Unclaimed => frames > 0,
            // Its reader has been woken, and has yet to run.
            Receiving::Open(unread) if unread.is_awaited && frames <= TURN_FRAMES_MAX => frames > 0,
            Receiving::Open(unread) => {
                unread.gather();
                self.unread_frames.set(0);
                false
            }
        };
        self.is_noted.set(is_again);
        is_again
    }
}

impl Unread {
    fn gather(&mut self) {
        // The reader's, if it waits: h2 keeps the last waker it was given.
        let waker = self.reader.as_ref().unwrap_or(Waker::noop());
        while let Poll::Ready(Some(Ok(data))) = self.recv.poll_data(&mut Context::from_waker(waker)) {
            self.pieces.push_copied(data);
        }
    }
}
