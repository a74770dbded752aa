//! Limits on connections, waiting requests, requests and retries of one cluster.
//!
//! Shared by all workers, so the counts are atomics; a permit returns by being dropped, so none can leak.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::cluster::Limits;
use crate::stats::{ClusterStats, Gauge};

/// The breakers of one cluster.
#[derive(Debug)]
pub struct Breakers {
    /// Connections.
    pub connections: Arc<Breaker>,
    /// Requests waiting for a connection.
    pub pending: Arc<Breaker>,
    /// Requests under way.
    pub requests: Arc<Breaker>,
    /// Retries under way.
    pub retries: Arc<Breaker>,
}

impl Breakers {
    /// All closed.
    #[must_use]
    pub fn new(limits: &Limits, stats: &ClusterStats) -> Self {
        let breaker = |limit, is_open: &Gauge| {
            is_open.set(u64::from(limit == 0));
            Arc::new(Breaker { taken: AtomicU32::new(0), limit, is_open: is_open.clone() })
        };
        Self {
            connections: breaker(limits.connections_max, &stats.cx_open),
            pending: breaker(limits.pending_max, &stats.rq_pending_open),
            requests: breaker(limits.requests_max, &stats.rq_open),
            retries: breaker(limits.retries_max, &stats.rq_retry_open),
        }
    }
}

/// One limit.
#[derive(Debug)]
pub struct Breaker {
    taken: AtomicU32,
    limit: u32,
    /// 1 while all permits are out.
    is_open: Gauge,
}

impl Breaker {
    /// A permit, unless all are out.
    pub fn permit(self: &Arc<Self>) -> Option<Permit> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        if before >= self.limit {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if before + 1 == self.limit {
            self.is_open.set(1);
        }
        Some(Permit(Arc::clone(self)))
    }

    /// A permit in any case: a host without a single connection is given one past the limit.
    pub fn permit_past_limit(self: &Arc<Self>) -> Permit {
        if self.taken.fetch_add(1, Ordering::Relaxed) + 1 >= self.limit {
            self.is_open.set(1);
        }
        Permit(Arc::clone(self))
    }
}

/// Leave to use one of something. Returns on drop.
#[derive(Debug)]
#[must_use]
pub struct Permit(Arc<Breaker>);

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.0.taken.fetch_sub(1, Ordering::Relaxed);
        if before == self.0.limit {
            self.0.is_open.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Registry;

    #[test]
    fn a_permit_comes_back_when_dropped() {
        let (breaker, is_open) = one_connection();
        let first = breaker.permit();
        assert!(first.is_some() && breaker.permit().is_none());
        assert_eq!(is_open.value(), 1);
        drop(first);
        assert_eq!(is_open.value(), 0);
        assert!(breaker.permit().is_some());
    }

    #[test]
    fn a_permit_past_the_limit_counts() {
        let (breaker, _) = one_connection();
        let held = breaker.permit_past_limit();
        assert!(breaker.permit().is_none());
        drop(held);
        assert!(breaker.permit().is_some());
    }

    fn one_connection() -> (Arc<Breaker>, Gauge) {
        let stats = ClusterStats::new(&Registry::new(), "c");
        let limits = Limits { connections_max: 1, ..Limits::default() };
        (Breakers::new(&limits, &stats).connections, stats.cx_open)
    }
}
