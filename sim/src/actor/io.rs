//! A [`Conn`] as hyper wants to see it, which also remembers how the peer ended it.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use finwait::net::Conn;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::scenario::{Ending, Rate};

/// One read's worth.
const READ_BYTES_MAX: usize = 16 * 1024;

pub(super) struct HyperIo {
    pub(super) conn: Conn,
    peer_ended: Rc<Cell<Option<Ending>>>,
    rate: Rc<Cell<Option<Rate>>>,
    /// A slow reader reads nothing before this has passed.
    pause: Option<Pin<Box<Sleep>>>,
}

impl HyperIo {
    /// Wraps a connection; the cell is filled when the peer ends it.
    pub(super) fn new(conn: Conn) -> (Self, Rc<Cell<Option<Ending>>>) {
        let peer_ended = Rc::new(Cell::new(None));
        (Self { conn, peer_ended: Rc::clone(&peer_ended), rate: Rc::default(), pause: None }, peer_ended)
    }

    /// How fast it is read, which may be changed at any time; as fast as it comes if empty.
    pub(super) fn rate(&self) -> Rc<Cell<Option<Rate>>> {
        Rc::clone(&self.rate)
    }
}

impl Read for HyperIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let mut space = [0; READ_BYTES_MAX];
        let wanted = into.remaining().min(READ_BYTES_MAX);
        let mut buffer = ReadBuf::new(space.get_mut(..wanted).unwrap_or_default());
        let result = ready!(Pin::new(&mut this.conn).poll_read(cx, &mut buffer));
        match &result {
            Ok(()) if buffer.filled().is_empty() && wanted > 0 => this.peer_ended.set(Some(Ending::Fin)),
            Ok(()) => {
                into.put_slice(buffer.filled());
                this.pause = this.rate.get().map(|rate| Box::pin(sleep(rate.time_for(buffer.filled().len()))));
            }
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

/// The step in which a slow sender sends.
const SEND_BYTES_MAX: usize = 1024;

/// A body that is there as a whole, and may be sent slowly.
pub(super) struct Sending {
    rest: Bytes,
    rate: Option<Rate>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Sending {
    pub(super) fn new(body: Vec<u8>, rate: Option<Rate>) -> Self {
        Self { rest: body.into(), rate, pause: None }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let Some(rate) = this.rate else { return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest))))) };
        let piece = this.rest.split_to(this.rest.len().min(SEND_BYTES_MAX));
        this.pause = Some(Box::pin(sleep(rate.time_for(piece.len()))));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
