//! Connections for bytes that are passed on as they come: each is opened for one client, and ends with it.
//!
//! They count against the same circuit breakers as the connections of the pool and are part of the same stats, but never wait
//! in it: nothing marks where one use of such a connection ends and another might begin.

use std::rc::Rc;

use bytes::Bytes;

use super::budget::{ActiveRequest, ClosedBy, ConnectionRecord, Pending};
use super::{Lease, Pool};
use crate::cluster::Failure;
use crate::codec::ExchangeError;
use crate::codec::http1::{Incoming, Outgoing, RawConnection};
use crate::config::tls::Carries;
use crate::net::Conn;
use crate::permits::Permit;
use crate::stats::Counter;

/// A connection of its own. Dropped, it is closed.
pub struct TcpConnection {
    /// The established connection.
    pub conn: Conn,
    record: ConnectionRecord,
    _request: ActiveRequest,
}

impl TcpConnection {
    /// The endpoint, not the proxy, has ended the connection.
    pub fn ended_by_peer(&mut self) {
        self.record.closed_by = ClosedBy::Peer;
    }
}

/// A connection of its own for one request, whose payload it carries without framing. Dropped, it is closed, and last of all
/// the request ends.
pub struct Tunnel {
    connection: RawConnection,
    record: ConnectionRecord,
    pool: Rc<Pool>,
    request: ActiveRequest,
}

impl Tunnel {
    /// The established connection.
    #[must_use]
    pub fn connection(&self) -> &RawConnection {
        &self.connection
    }

    /// Its two halves, to be called once; `first` is written before the payload.
    #[must_use]
    pub fn halves(&self, first: Bytes) -> (Outgoing, Incoming) {
        self.connection.halves(first, self.record.shared.config.buffer_bytes_max)
    }

    /// Both directions have ended.
    pub(super) fn release(mut self) {
        self.record.closed_by = ClosedBy::Peer;
        self.record.has_request = false;
        self.close();
    }

    /// The endpoint broke the connection off.
    pub(super) fn close_broken(mut self, by: ExchangeError) {
        if matches!(by, ExchangeError::Closed | ExchangeError::ConnectionReset) || self.connection.peer_has_ended() {
            self.record.closed_by = ClosedBy::Peer;
        }
        self.close();
    }

    fn close(self) {
        let Self { connection, record, pool, request } = self;
        drop(request);
        drop(connection);
        drop(record);
        pool.settle();
    }
}

/// Held while a connection is waited for.
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
    /// Opens a connection that carries the payload of one request without framing. As in Envoy, a request that finds as many
    /// open as may be waits for the end of one.
    ///
    /// # Cancellation
    /// Dropped, it gives the attempt up.
    ///
    /// # Errors
    /// The connect failed, or too many wait for connections.
    pub async fn open_tunnel(&self) -> Result<Lease, Failure> {
        let waits = self.wait()?;
        let permit = match self.budget.needed_connection_permit() {
            Some(permit) => permit,
            None => {
                self.budget.shared.stats.upstream_cx_overflow.inc();
                self.budget.permit_once_free().await
            }
        };
        let TcpConnection { conn, record, _request: request } = self.connect_while(waits, permit).await?;
        // The pool is alive: a method of it is running.
        let Some(pool) = self.this.upgrade() else { return Err(Failure::Terminated) };
        Ok(Lease::Tcp(Box::new(Tunnel { connection: RawConnection::new(conn), record, pool, request })))
    }

    /// Opens a connection.
    ///
    /// # Cancellation
    /// Dropped, it gives the attempt up.
    ///
    /// # Errors
    /// The connect failed, or too many wait for connections.
    pub async fn connect_tcp(&self, permit: Permit) -> Result<TcpConnection, Failure> {
        let waits = self.wait()?;
        self.connect_while(waits, permit).await
    }

    fn wait(&self) -> Result<Waits, Failure> {
        let cancelled = self.budget.shared.stats.upstream_rq_cancelled.clone();
        Ok(Waits { pending: Some(self.budget.pending()?), cancelled })
    }

    async fn connect_while(&self, mut waits: Waits, permit: Permit) -> Result<TcpConnection, Failure> {
        let stats = &self.budget.shared.stats;
        let connected = self.budget.connect(self.budget.begin_connect(permit), Carries::Other).await;
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
