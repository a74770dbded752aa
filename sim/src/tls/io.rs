//! An encrypted connection of a client or an app.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use finwait::net::{Conn, Io, Peek};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::scenario::TlsClosing;

/// Clear text over TLS.
pub(super) struct Encrypted {
    stream: TlsStream<Conn>,
    closing: Closing,
}

/// What its end sends before FIN.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Closing {
    /// Nothing: by a FIN alone, or by RST.
    Silent,
    /// close_notify.
    Notify,
    /// close_notify, and no FIN before the connection is dropped.
    NotifyOnly(Half),
}

/// Whether our half of the TLS connection is still there.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Half {
    Ended,
    Open,
}

impl Encrypted {
    pub(super) fn conn(stream: TlsStream<Conn>, closing: TlsClosing) -> Conn {
        let conn = stream.get_ref().0;
        let (local, peer) = (conn.local.clone(), conn.peer.clone());
        let closing = match closing {
            TlsClosing::CloseNotify => Closing::Notify,
            TlsClosing::CloseNotifyOnly => Closing::NotifyOnly(Half::Open),
            TlsClosing::Fin => Closing::Silent,
        };
        Conn::new(Box::new(Self { stream, closing }), local, peer)
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        if self.closing != Closing::Silent {
            // What the socket does not take at once is lost: the peer sees a FIN alone.
            drop(Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop())));
        }
    }
}

impl Io for Encrypted {
    fn abort_on_drop(&mut self) {
        self.closing = Closing::Silent;
        self.stream.get_mut().0.abort_on_drop();
    }

    fn peek(&self) -> Peek {
        self.stream.get_ref().0.peek()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)) {
            // FIN without close_notify: the end of the connection all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, closing } = self.get_mut();
        if *closing == Closing::NotifyOnly(Half::Ended) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // One write at most waits in rustls for the socket: a kernel sends by itself, without a flush.
        ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(written)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|some| some.iter().copied()).collect();
        self.poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true // what is written at once is one record
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, closing } = self.get_mut();
        match closing {
            Closing::Notify => Pin::new(stream).poll_shutdown(cx),
            Closing::NotifyOnly(half) => {
                *half = Half::Ended;
                stream.get_mut().1.send_close_notify(); // once, however often it is called
                Pin::new(stream).poll_flush(cx)
            }
            Closing::Silent => Pin::new(stream.get_mut().0).poll_shutdown(cx),
        }
    }
}
