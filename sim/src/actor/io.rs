//! A [`Conn`] as hyper wants to see it, which also remembers how the peer ended it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use finwait::net::Conn;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scenario::Ending;

/// One read's worth.
const READ_BYTES_MAX: usize = 16 * 1024;

pub(super) struct HyperIo {
    pub(super) conn: Conn,
    peer_ended: Rc<Cell<Option<Ending>>>,
}

impl HyperIo {
    /// Wraps a connection; the cell is filled when the peer ends it.
    pub(super) fn new(conn: Conn) -> (Self, Rc<Cell<Option<Ending>>>) {
        let peer_ended = Rc::new(Cell::new(None));
        (Self { conn, peer_ended: Rc::clone(&peer_ended) }, peer_ended)
    }
}

impl Read for HyperIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut space = [0; READ_BYTES_MAX];
        let wanted = into.remaining().min(READ_BYTES_MAX);
        let mut buffer = ReadBuf::new(space.get_mut(..wanted).unwrap_or_default());
        let result = ready!(Pin::new(&mut this.conn).poll_read(cx, &mut buffer));
        match &result {
            Ok(()) if buffer.filled().is_empty() && wanted > 0 => this.peer_ended.set(Some(Ending::Fin)),
            Ok(()) => into.put_slice(buffer.filled()),
            Err(_) => this.peer_ended.set(Some(Ending::Rst)),
        }
        Poll::Ready(result)
    }
}

impl Write for HyperIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().conn).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_shutdown(cx)
    }
}
