//! Bytes that were read too early, given back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Conn, Io, Peek};

/// A transport some of whose bytes were read too early.
pub(super) struct Rewound {
    pub(super) bytes: Bytes,
    pub(super) io: Box<dyn Io + Send>,
}

impl Conn {
    /// Gives bytes back that were read too early.
    pub(crate) fn with_unread(mut self, bytes: Bytes) -> Self {
        if !bytes.is_empty() {
            self.io = Box::new(Rewound { bytes, io: self.io });
        }
        self
    }

    /// Puts another transport around its own.
    pub(crate) fn over(self, wrap: impl FnOnce(Box<dyn Io + Send>) -> Box<dyn Io + Send>) -> Self {
        Self { io: wrap(self.io), ..self }
    }
}

impl Io for Rewound {
    fn abort_on_drop(&mut self) {
        self.io.abort_on_drop();
    }

    fn peer_is_gone(&self) -> bool {
        self.io.peer_is_gone()
    }

    fn peek(&self) -> Peek {
        if self.bytes.is_empty() { self.io.peek() } else { Peek::Bytes }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { bytes, io } = self.get_mut();
        if bytes.is_empty() {
            return Pin::new(io).poll_read(cx, buf);
        }
        buf.put_slice(&bytes.split_to(bytes.len().min(buf.remaining())));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
