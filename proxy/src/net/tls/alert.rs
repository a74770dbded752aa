//! The alerts for a client without a certificate, and for one that cannot have ours.
//!
//! rustls sends certificate_required in every version. That alert is one of TLS 1.3 (RFC 8446 6.2); older clients do not accept
//! it, and expect handshake_failure (RFC 5246 7.4.6). In 1.2 the alert is in clear text, since no key has been agreed upon when it is
//! sent, so it can be recognised among all that is written. Where no certificate may be shown, rustls sends access_denied, in clear
//! text as well, and Envoy handshake_failure.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::{Io, Peek};

/// A record of TLS 1.2 with the fatal alert certificate_required.
const CERTIFICATE_REQUIRED: [u8; 7] = [21, 3, 3, 0, 2, 2, 116];
/// The same with access_denied.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// The same with handshake_failure.
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

/// Puts handshake_failure in place of the others.
pub(super) fn of_version(io: Box<dyn Io + Send>) -> Box<dyn Io + Send> {
    Box::new(OfVersion(io))
}

struct OfVersion(Box<dyn Io + Send>);

impl Io for OfVersion {
    fn abort_on_drop(&mut self) {
        self.0.abort_on_drop();
    }

    fn peek(&self) -> Peek {
        self.0.peek()
    }
}

impl AsyncRead for OfVersion {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for OfVersion {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let is_replaced = bytes == CERTIFICATE_REQUIRED || bytes == ACCESS_DENIED;
        let bytes = if is_replaced { &HANDSHAKE_FAILURE } else { bytes };
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
