//! The payload of a message: one half read through [`Body`], one half written through [`Writer`].
//!
//! Both are pulled by the owner of the stream, so back-pressure needs no channel: a body that is not polled
//! is not read from the socket, and a writer that is not ready is not given more.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::copied::{CopiedBody, Piece};
use super::{ExchangeError, Frame, Headers, ResetReason, http1, http2};

/// The half of an exchange that we read.
#[derive(Debug)]
pub enum Body {
    /// A copy of a body that another exchange reads.
    Copied(CopiedBody),
    /// Nothing arrives, and no event reports that the peer closes.
    Empty,
    /// From an HTTP/1 connection.
    Http1(http1::Incoming),
    /// From an HTTP/2 stream.
    Http2(http2::Incoming),
    /// From a connection without framing; FIN is its ordinary end.
    Tcp(http1::Incoming),
}

impl Body {
    /// The next piece; `None` once the message is complete.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, ExchangeError>>> {
        match self {
            Self::Copied(copied) => copied.poll_piece(cx).map(|piece| {
                piece.map(|piece| match piece {
                    Piece::BrokenOff => Err(ExchangeError::Closed),
                    Piece::Data(data) => Ok(Frame::Data(data)),
                    Piece::Trailers(trailers) => Ok(Frame::Trailers(trailers)),
                })
            }),
            Self::Empty => Poll::Ready(None),
            Self::Http1(incoming) | Self::Tcp(incoming) => incoming.poll_frame(cx),
            Self::Http2(incoming) => incoming.poll_frame(cx),
        }
    }

    /// Ready when the peer has gone away: the connection closed or broke, or the stream was reset. Meant for
    /// the time after the message is complete. HTTP/1 notices by reading on, up to a bound: bytes of a
    /// pipelined request are kept for later.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ExchangeError> {
        match self {
            Self::Copied(_) | Self::Empty => Poll::Pending,
            Self::Http1(incoming) | Self::Tcp(incoming) => incoming.poll_gone(cx),
            Self::Http2(incoming) => incoming.poll_gone(cx),
        }
    }

    /// Of a request's body: ready when its connection has room for a response head. An HTTP/1 connection has one response
    /// at a time, and reads no request while its buffer is full.
    pub fn poll_response_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Copied(_) | Self::Empty | Self::Http1(_) | Self::Tcp(_) => Poll::Ready(()),
            Self::Http2(incoming) => incoming.poll_response_room(cx),
        }
    }

    /// Has the whole message been read?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Copied(copied) => copied.is_complete(),
            Self::Empty => true,
            Self::Http1(incoming) | Self::Tcp(incoming) => incoming.is_complete(),
            Self::Http2(incoming) => incoming.is_complete(),
        }
    }

    /// From here on the bytes have no framing: an upgrade was accepted. Before the first poll only.
    pub fn switch_to_raw(&mut self) {
        if let Self::Http1(incoming) = self {
            incoming.switch_to_raw();
        }
    }
}

/// The half of an exchange that we write.
///
/// Dropped before [`finish`](Self::finish), it breaks the exchange off: an HTTP/1 connection is not used
/// again, an HTTP/2 stream is reset with CANCEL.
#[derive(Debug)]
pub enum Writer {
    /// To an HTTP/1 connection, or one without framing.
    Http1(http1::Outgoing),
    /// To an HTTP/2 stream.
    Http2(http2::Outgoing),
}

impl Writer {
    /// Ready when [`write`](Self::write) may be called: less than the buffer limit is queued.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        match self {
            Self::Http1(outgoing) => outgoing.poll_ready(cx),
            Self::Http2(outgoing) => outgoing.poll_ready(cx),
        }
    }

    /// Queues payload. Goes out at the latest with the next [`poll_flush`](Self::poll_flush).
    pub fn write(&mut self, data: Bytes) {
        match self {
            Self::Http1(outgoing) => outgoing.write(data),
            Self::Http2(outgoing) => outgoing.write(data),
        }
    }

    /// Queues the end of the message.
    pub fn finish(&mut self, trailers: Option<Headers>) {
        match self {
            Self::Http1(outgoing) => outgoing.finish(trailers),
            Self::Http2(outgoing) => outgoing.finish(trailers),
        }
    }

    /// Ready when everything queued, the head included, has left for the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        match self {
            Self::Http1(outgoing) => outgoing.poll_flush(cx),
            Self::Http2(outgoing) => outgoing.poll_flush(cx),
        }
    }

    /// Breaks the exchange off: RST_STREAM with `reason`; HTTP/1 marks the connection as not reusable.
    pub fn reset(self, reason: ResetReason) {
        match self {
            Self::Http1(outgoing) => outgoing.reset(),
            Self::Http2(outgoing) => outgoing.reset(reason),
        }
    }
}
