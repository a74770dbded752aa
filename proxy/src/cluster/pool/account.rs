//! What connections and requests hold while they exist, and what their ends record.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::time::Instant;

use super::Pool;
use super::idle::Name;
use crate::cluster::Shared;
use crate::cluster::breaker::Permit;
use crate::stats::Held;

/// What a connection holds for as long as it exists; records its end.
pub(super) struct Account {
    pub(super) pool: Weak<Pool>,
    pub(super) shared: Arc<Shared>,
    pub(super) opened: Instant,
    /// The pool's at that time.
    pub(super) drains: u32,
    /// Requests it was given so far.
    pub(super) requests: u32,
    /// The peer closed it.
    pub(super) by_peer: bool,
    /// A request was under way.
    pub(super) busy: bool,
    /// From its first time in the pool on.
    pub(super) name: Option<Name>,
    /// Until the end.
    pub(super) permit: Option<Permit>,
    pub(super) _held: [Held; 2],
}

impl Account {
    /// Must the connection end with the request it has? Counts the reason.
    pub(super) fn is_retired(&self) -> bool {
        let (config, stats) = (&self.shared.config, &self.shared.stats);
        if self.pool.upgrade().is_some_and(|pool| pool.drains.get() != self.drains) {
            return true;
        }
        if config.requests_per_connection_max.is_some_and(|max| self.requests >= max.get()) {
            stats.upstream_cx_max_requests.inc();
            return true;
        }
        let too_old = config.connection_duration_max.is_some_and(|max| self.opened.elapsed() >= max);
        if too_old {
            stats.upstream_cx_max_duration_reached.inc();
        }
        too_old
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let stats = &self.shared.stats;
        stats.upstream_cx_destroy.inc();
        let (by, by_busy) = match self.by_peer {
            true => (&stats.upstream_cx_destroy_remote, &stats.upstream_cx_destroy_remote_with_active_rq),
            false => (&stats.upstream_cx_destroy_local, &stats.upstream_cx_destroy_local_with_active_rq),
        };
        by.inc();
        if self.busy {
            stats.upstream_cx_destroy_with_active_rq.inc();
            by_busy.inc();
        }
        stats.upstream_cx_length_ms.record_ms(self.opened.elapsed());
        if let Some(pool) = self.pool.upgrade() {
            pool.open.set(pool.open.get().saturating_sub(1));
            if pool.open.get() == 0 {
                pool.counted.take();
            }
            drop(self.permit.take());
            pool.connect_for_the_line(); // where it stood there may be room for one that somebody waits for
        }
    }
}

/// What a request holds while it has a connection.
pub(super) struct Request {
    pub(super) pool: Rc<Pool>,
    pub(super) _permit: Permit,
    pub(super) _held: [Held; 2],
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get().saturating_sub(1));
    }
}
