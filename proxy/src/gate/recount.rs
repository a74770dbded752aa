//! A transport whose reads are judged one by one (`enforcement_type: CONTINUOUS`).
//!
//! Rules of connections are about what does not change, so what follows does not change either: each read is counted, no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Judged;
use crate::net::{Io, Peek};
use crate::stats::RbacStats;

/// What is counted with each further read of a connection.
pub struct Recount(pub(super) Vec<(RbacStats, Judged)>);

/// Does the end of what a client sends count?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CountsFin {
    /// For a TCP proxy it does, which passes it on.
    Yes,
    /// For HTTP it does not: it ends the connection before any filter sees it.
    No,
}

impl Recount {
    /// Counts the reads of a connection from here on.
    #[must_use]
    pub fn over(self, io: Box<dyn Io + Send>, fin: CountsFin) -> Box<dyn Io + Send> {
        if self.0.is_empty() { io } else { Box::new(Recounted { io, recount: self, fin }) }
    }
}

struct Recounted {
    io: Box<dyn Io + Send>,
    recount: Recount,
    fin: CountsFin,
}

impl Io for Recounted {
    fn abort_on_drop(&mut self) {
        self.io.abort_on_drop();
    }

    fn peek(&self) -> Peek {
        self.io.peek()
    }

    fn peer_is_gone(&self) -> bool {
        self.io.peer_is_gone()
    }
}

impl AsyncRead for Recounted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, recount, fin } = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(io).poll_read(cx, buf))?;
        if buf.filled().len() > before || *fin == CountsFin::Yes {
            recount.0.iter().for_each(|(stats, judged)| judged.count(stats));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recounted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
