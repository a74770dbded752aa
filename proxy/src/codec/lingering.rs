//! The delayed close: a connection that has sent everything and waits for its peer to close.
//!
//! No FIN is sent during the wait, and nothing beyond the first byte is read: a response that is still in the
//! peer's buffer would be erased by the RST that a close with unread data provokes. The caller sets the limit by
//! dropping the future.

use std::future::pending;

use tokio::io::AsyncReadExt;

use crate::net::Conn;

/// A connection that waits for its peer to close; dropped, it closes.
pub(super) struct Lingering {
    conn: Conn,
    end: End,
}

/// How a [`Lingering`] connection closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Nothing came so far.
    Fin,
    /// Bytes came that will not be read.
    Rst,
}

impl Lingering {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn, end: End::Fin }
    }

    /// Returns when the peer has closed, and never if it sends more instead.
    ///
    /// # Cancellation
    /// Dropping the future closes the connection: with FIN, or with RST if the peer sent more.
    pub(super) async fn peer_closed(mut self) {
        // Only a read finds the FIN. One byte is enough to know that data came first; the rest
        // stays with the kernel.
        if let Ok(1..) = self.conn.read(&mut [0]).await {
            self.end = End::Rst;
            pending::<()>().await;
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        match self.end {
            End::Rst => self.conn.abort_on_drop(),
            End::Fin => {}
        }
    }
}
