//! A connection whose bytes have no framing: both ways they are payload, and FIN is the end of one way.

use bytes::{Bytes, BytesMut};

use super::body::{Incoming, Outgoing, Sender};
use super::buffered_conn::{BufferedConn, SharedConn};
use super::framing::{Decoder, Encoder};
use crate::codec::Counted;
use crate::config::header_names::{NameCase, TrailerRule};
use crate::net::{Conn, ConnInfo};

/// A connection to a server without HTTP on it.
#[derive(Debug)]
pub struct RawConnection {
    conn: SharedConn,
    /// Its facts for logs.
    pub info: ConnInfo,
}

impl RawConnection {
    /// Passes bytes over `conn`.
    #[must_use]
    pub fn new(conn: Conn) -> Self {
        let info = conn.info();
        Self { conn: BufferedConn::shared(conn, BytesMut::new()), info }
    }

    /// What passes from here on is counted there.
    pub fn count(&self, counted: Counted) {
        self.conn.borrow_mut().count(counted);
    }

    /// Its two halves, to be called once. `first` is written before all else, and at most `buffer_bytes_max` wait for the server.
    pub fn halves(&self, first: Bytes, buffer_bytes_max: usize) -> (Outgoing, Incoming) {
        const NO_TRAILERS: (TrailerRule, NameCase) = (TrailerRule::Dropped, NameCase::Lower);
        self.conn.borrow_mut().reading.begin();
        let mut outgoing = Outgoing::new(&self.conn, Encoder::UntilFin, buffer_bytes_max, NO_TRAILERS);
        outgoing.write(first);
        (outgoing, Incoming::new(&self.conn, Decoder::UntilFin, Sender::Upstream, NO_TRAILERS))
    }

    /// Has the server closed or reset the connection, as far as reading has shown?
    #[must_use]
    pub fn peer_has_ended(&self) -> bool {
        self.conn.borrow().has_ended()
    }

    /// Bytes that the connection has sent since it was opened.
    #[must_use]
    pub fn tx_bytes(&self) -> u64 {
        self.conn.borrow().tx_bytes()
    }
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        // A half that lives on must not keep the socket open.
        drop(self.conn.borrow_mut().take_conn());
    }
}
