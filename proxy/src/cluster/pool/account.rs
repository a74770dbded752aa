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
    /// Requests it was given so far.
    pub(super) requests: u32,
    /// The peer closed it.
    pub(super) by_peer: bool,
    /// A request was under way.
    pub(super) busy: bool,
    /// From its first time in the pool on.
    pub(super) name: Option<Name>,
    pub(super) _permit: Permit,
    pub(super) _held: [Held; 2],
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
