//! A TLS stream as the transport of a connection.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::{TlsSession, failure};
use crate::net::{Io, Peek};

/// What [`TlsIo::peek`] decrypts at most: the records of TLS that are no payload (session tickets, alerts) are shorter. Bytes.
const PEEK_BYTES_MAX: usize = 1024;

/// Payload in clear text over an encrypted connection. To look at what has come means to decrypt it, so what was decrypted
/// by a look waits here for the next read.
pub(super) struct TlsIo(RefCell<State>);

struct State {
    stream: TlsStream<Box<dyn Io + Send>>,
    /// Where it is noted why the connection broke.
    session: Arc<TlsSession>,
    /// Decrypted by a look. At most [`PEEK_BYTES_MAX`].
    early: BytesMut,
    /// The task that waits for something to read.
    reader: Waker,
    end: Option<End>,
    closing: Closing,
}

/// How our half ends when the stream is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Closing {
    /// With close_notify, as long as the socket takes it.
    Notify,
    /// By RST, without close_notify.
    Abort,
}

/// How the peer's half has ended, once a look has found out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Closed,
    Failed(io::ErrorKind),
}

impl TlsIo {
    pub(super) fn new(stream: TlsStream<Box<dyn Io + Send>>, session: Arc<TlsSession>) -> Self {
        Self(RefCell::new(State {
            stream,
            session,
            early: BytesMut::new(),
            reader: Waker::noop().clone(),
            end: None,
            closing: Closing::Notify,
        }))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.closing == Closing::Notify {
            // What does not fit into the socket's buffer now is lost, and the peer sees a FIN alone.
            drop(Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop())));
        }
    }
}

impl State {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            // FIN without close_notify. The framing of HTTP shows whether a message is whole, and Envoy takes it for the end too.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            Err(error) => {
                self.session.note_failure(failure::of_stream(&error));
                Poll::Ready(Err(error))
            }
            read => Poll::Ready(read),
        }
    }

    fn look(&mut self) -> Peek {
        if !self.early.is_empty() {
            return Peek::Bytes;
        }
        match self.end {
            Some(End::Closed) => return Peek::Closed,
            Some(End::Failed(_)) => return Peek::Reset,
            None => {}
        }
        let transport = self.stream.get_ref().0.peek();
        if matches!(transport, Peek::Open | Peek::Reset) {
            return transport;
        }
        let mut bytes = [0; PEEK_BYTES_MAX];
        let mut buf = ReadBuf::new(&mut bytes);
        let reader = self.reader.clone();
        // The task that waits is the one that is woken, as if this look had not been.
        match self.poll_read(&mut Context::from_waker(&reader), &mut buf) {
            Poll::Pending => Peek::Open,
            Poll::Ready(Ok(())) if buf.filled().is_empty() => {
                self.end = Some(End::Closed);
                Peek::Closed
            }
            Poll::Ready(Ok(())) => {
                self.early.extend_from_slice(buf.filled());
                Peek::Bytes
            }
            Poll::Ready(Err(error)) => {
                self.end = Some(End::Failed(error.kind()));
                Peek::Reset
            }
        }
    }
}

impl Io for TlsIo {
    fn abort_on_drop(&mut self) {
        let state = self.0.get_mut();
        state.closing = Closing::Abort;
        state.stream.get_mut().0.abort_on_drop();
    }

    fn peek(&self) -> Peek {
        self.0.borrow_mut().look()
    }
}

impl AsyncRead for TlsIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let state = self.get_mut().0.get_mut();
        if !state.early.is_empty() {
            let taken = state.early.len().min(buf.remaining());
            buf.put_slice(state.early.get(..taken).unwrap_or_default());
            state.early.advance(taken);
            return Poll::Ready(Ok(()));
        }
        match state.end {
            Some(End::Closed) => return Poll::Ready(Ok(())),
            Some(End::Failed(kind)) => return Poll::Ready(Err(kind.into())),
            None => {}
        }
        // What the socket did not take of a write goes out whenever the connection is polled: TCP needs no flush, and callers
        // do none.
        if state.stream.get_ref().1.wants_write()
            && let Poll::Ready(Err(error)) = Pin::new(&mut state.stream).poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        if !state.reader.will_wake(cx.waker()) {
            state.reader.clone_from(cx.waker());
        }
        state.poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().0.get_mut().stream;
        // One write at most waits in rustls for the socket.
        ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
        if let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.get_mut().stream).poll_shutdown(cx)
    }
}
