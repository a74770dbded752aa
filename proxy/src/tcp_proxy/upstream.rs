//! Where the bytes of a client go: a connection to an endpoint, or the payload of a request to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tunnel::Tunnel;
use crate::cluster::TcpConnection;
use crate::codec::Headers;
use crate::net::ConnInfo;

/// Where the bytes of a client go. Dropped, it is closed or broken off.
pub(super) enum Upstream {
    /// To an endpoint, as they are.
    Tcp(Box<TcpConnection>),
    /// A stream of HTTP that carries the bytes (`tunneling_config`).
    Tunnel(Box<Tunnel>),
}

impl Upstream {
    /// The facts of its connection, for logs.
    pub(super) fn info(&self) -> Option<ConnInfo> {
        match self {
            Self::Tcp(tcp) => Some(tcp.conn.info()),
            Self::Tunnel(tunnel) => tunnel.info(),
        }
    }

    /// The endpoint has ended it: it is not we who close it.
    pub(super) fn ended_by_peer(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.ended_by_peer(),
            Self::Tunnel(_) => {} // notes it itself
        }
    }

    /// The client has reset its connection.
    pub(super) fn abort_on_drop(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.conn.abort_on_drop(),
            Self::Tunnel(_) => {} // is broken off
        }
    }

    /// Does a reset of the endpoint's reach the client as one? Envoy ends the client of a tunnel with FIN.
    pub(super) fn passes_resets(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Does the end of one half end the other?
    pub(super) fn ends_as_a_whole(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tunnel(tunnel) => tunnel.ends_as_a_whole(),
        }
    }

    /// The trailers of a tunnel that were wanted and have come, once.
    pub(super) fn take_trailers(&mut self) -> Option<Headers> {
        match self {
            Self::Tcp(_) => None,
            Self::Tunnel(tunnel) => tunnel.take_trailers(),
        }
    }

    /// Sends on what was written and has not left. What fails here fails with the next write.
    pub(super) fn push(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Tcp(_) => {}
            Self::Tunnel(tunnel) => {
                let _flushed = Pin::new(&mut **tunnel).poll_flush(cx);
            }
        }
    }
}

impl AsyncRead for Upstream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(&mut tcp.conn).poll_read(cx, buf),
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(&mut tcp.conn).poll_write(cx, buf),
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(&mut tcp.conn).poll_flush(cx),
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(&mut tcp.conn).poll_shutdown(cx),
            Self::Tunnel(tunnel) => Pin::new(&mut **tunnel).poll_shutdown(cx),
        }
    }
}
