//! A socket of tests that decides what a read finds, and takes whatever is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Io, Peek};

/// What a read finds.
pub(crate) trait Reads: Unpin {
    /// As [`AsyncRead::poll_read`].
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;

    /// What the system would find.
    fn peek(&self) -> Peek {
        Peek::Open
    }
}

/// A socket whose writes go nowhere, at once.
pub(crate) struct TakesAll<R>(pub(crate) R);

impl<R: Reads> Io for TakesAll<R> {
    fn abort_on_drop(&mut self) {}

    fn peek(&self) -> Peek {
        self.0.peek()
    }
}

impl<R: Reads> AsyncRead for TakesAll<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.poll_read(cx, buf)
    }
}

impl<R: Reads> AsyncWrite for TakesAll<R> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
