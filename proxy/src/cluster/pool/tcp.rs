//! Connections for bytes that are passed on as they come: each is opened for one client, and ends with it.
//!
//! They count against the same circuit breakers as the connections of the pool and are part of the same stats, but never wait
//! in it: nothing tells where one use of such a connection ends and another might begin.

use super::Pool;
use super::budget::{ActiveRequest, ClosedBy, ConnectionRecord, Pending};
use crate::cluster::Failure;
use crate::net::Conn;
use crate::permits::Permit;
use crate::stats::Counter;

/// A connection of its own. Dropped, it is closed.
pub struct TcpConnection {
    /// The connection.
    pub conn: Conn,
    record: ConnectionRecord,
    _request: ActiveRequest,
}

impl TcpConnection {
    /// The endpoint has ended the connection: it is not we who close it.
    pub fn ended_by_peer(&mut self) {
        self.record.closed_by = ClosedBy::Peer;
    }
}

/// Held by who waits for a connection.
struct Waits {
    pending: Option<Pending>,
    cancelled: Counter,
}

impl Drop for Waits {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.cancelled.inc();
        }
    }
}

impl Pool {
    /// Opens a connection.
    ///
    /// # Cancellation
    /// Dropped, it gives the attempt up.
    ///
    /// # Errors
    /// The connect failed, or too many wait for connections.
    pub async fn connect_tcp(&self, permit: Permit) -> Result<TcpConnection, Failure> {
        let stats = &self.budget.shared.stats;
        let mut waits = Waits { pending: Some(self.budget.pending()?), cancelled: stats.upstream_rq_cancelled.clone() };
        let connected = self.budget.connect(self.budget.begin_connect(permit)).await;
        waits.pending = None;
        match connected {
            Ok((conn, mut record)) => {
                record.requests().set(1);
                record.has_request = true;
                Ok(TcpConnection { conn, record, _request: self.budget.uncontested_request() })
            }
            Err((failure, record)) => {
                stats.upstream_rq_pending_failure_eject.inc();
                drop(record);
                self.settle();
                Err(failure)
            }
        }
    }
}
