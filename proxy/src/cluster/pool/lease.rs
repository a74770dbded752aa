//! Leave to send one request.

use std::rc::Rc;

use super::Pool;
use super::account::{Account, Request};
use super::multiplexed::Multiplexed;
use crate::codec::{Broken, ResetReason, http1, http2};
use crate::net::Address;

/// Leave to send one request. Dropped without [`give_back`](Self::give_back), it closes what it can: an
/// HTTP/1 connection altogether; on HTTP/2 the stream has been reset by dropping its halves.
pub enum Lease {
    /// A whole connection.
    Http1(Box<Exclusive>),
    /// A stream of one.
    Http2(Stream),
}

/// An HTTP/1 connection lent out.
pub struct Exclusive {
    /// `None` only between `give_back` and drop.
    pub(super) connection: Option<(http1::ClientConnection, Account)>,
    pub(super) pool: Rc<Pool>,
    pub(super) _request: Request,
}

/// A stream of an HTTP/2 connection.
pub struct Stream {
    pub(super) multiplexed: Rc<Multiplexed>,
    pub(super) pool: Rc<Pool>,
    pub(super) is_reused: bool,
    pub(super) _request: Request,
}

impl Exclusive {
    /// The connection. `None` cannot be seen from outside: only `give_back` and drop take it.
    pub fn connection(&mut self) -> Option<&mut http1::ClientConnection> {
        self.connection.as_mut().map(|(connection, _)| connection)
    }

    /// Has the connection carried a request before this one? Then its server may have closed it in the meantime.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.connection.as_ref().is_some_and(|(_, account)| account.requests > 1)
    }

    fn broken(mut self, by: Broken) {
        let Some((connection, account)) = &mut self.connection else { return };
        // A message may be malformed for having been cut short.
        account.by_peer = matches!(by, Broken::Closed | Broken::ConnectionReset) || connection.peer_has_ended();
        if matches!(by, Broken::Malformed(_)) {
            account.shared.stats.upstream_cx_protocol_error.inc();
        }
    }

    fn give_back(mut self) {
        let Some((connection, mut account)) = self.connection.take() else { return };
        if connection.is_reusable() && !account.is_retired() {
            let pool = Rc::clone(&self.pool);
            drop(self); // the request ends before the next one may have the connection
            return pool.serve_or_park(connection, account);
        }
        account.by_peer = connection.peer_has_ended(); // which may be how a response ends
        if connection.peer_wants_close() {
            account.shared.stats.upstream_cx_close_notify.inc();
        }
        account.busy = !connection.is_reusable() && !account.by_peer && !connection.peer_wants_close();
        drop((connection, account)); // the socket first: the account's end may open another
    }
}

impl Stream {
    /// The connection's handle.
    #[must_use]
    pub fn connection(&self) -> std::cell::RefMut<'_, http2::ClientConnection> {
        self.multiplexed.connection.borrow_mut()
    }

    fn broken(self, by: Broken) {
        let stats = &self.pool.shared.stats;
        match by {
            // Whoever loses its connection is counted with those that wait for one, as in Envoy.
            Broken::Closed | Broken::ConnectionReset => stats.upstream_rq_pending_failure_eject.inc(),
            Broken::StreamReset(ResetReason::ConnectError | ResetReason::RefusedStream) => {}
            // Envoy resets such a stream itself.
            Broken::Malformed(_) | Broken::StreamReset(ResetReason::ProtocolError) => stats.upstream_rq_tx_reset.inc(),
            Broken::StreamReset(
                ResetReason::Cancel | ResetReason::InternalError | ResetReason::NoError | ResetReason::Other(_),
            ) => stats.upstream_rq_rx_reset.inc(),
        }
    }

    /// Has the connection carried a stream before this one?
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.pool.stream_ended(&self.multiplexed);
    }
}

impl Lease {
    /// The request is over: the connection may serve the next one, if it can.
    pub fn give_back(self) {
        match self {
            Self::Http1(exclusive) => exclusive.give_back(),
            Self::Http2(stream) => drop(stream),
        }
    }

    /// We break the request off: an HTTP/2 stream is reset.
    pub fn count_reset(&self) {
        if let Self::Http2(stream) = self {
            stream.pool.shared.stats.upstream_rq_tx_reset.inc();
        }
    }

    /// The request failed because the peer ended the connection, or for another reason of the peer's.
    pub fn broken(self, by: Broken) {
        match self {
            Self::Http1(exclusive) => exclusive.broken(by),
            Self::Http2(stream) => stream.broken(by),
        }
    }

    /// Our end of the connection.
    #[must_use]
    pub fn local(&self) -> Option<Address> {
        match self {
            Self::Http1(exclusive) => exclusive.connection.as_ref().map(|(connection, _)| connection.local().clone()),
            Self::Http2(shared) => Some(shared.connection().local().clone()),
        }
    }
}
