//! Limits on connections, waiting requests, requests and retries of one cluster.
//!
//! Shared by all workers, so the counts are atomics; a permit returns by being dropped, so none can leak.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::cluster::Limits;

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
    pub fn new(limits: &Limits) -> Self {
        let breaker = |limit| Arc::new(Breaker { taken: AtomicU32::new(0), limit });
        Self {
            connections: breaker(limits.connections_max),
            pending: breaker(limits.pending_max),
            requests: breaker(limits.requests_max),
            retries: breaker(limits.retries_max),
        }
    }
}

/// One limit.
#[derive(Debug)]
pub struct Breaker {
    taken: AtomicU32,
    limit: u32,
}

impl Breaker {
    /// A permit, unless all are out.
    pub fn permit(self: &Arc<Self>) -> Option<Permit> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        if before < self.limit {
            return Some(Permit(Arc::clone(self)));
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// A permit in any case: a host without a single connection is given one past the limit.
    pub fn permit_past_limit(self: &Arc<Self>) -> Permit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(self))
    }
}

/// Leave to use one of something. Returns on drop.
#[derive(Debug)]
#[must_use]
pub struct Permit(Arc<Breaker>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_comes_back_when_dropped() {
        let breaker = Breakers::new(&Limits { connections_max: 1, ..Limits::default() }).connections;
        let first = breaker.permit();
        assert!(first.is_some() && breaker.permit().is_none());
        drop(first);
        assert!(breaker.permit().is_some());
    }

    #[test]
    fn a_permit_past_the_limit_counts() {
        let breaker = Breakers::new(&Limits { connections_max: 1, ..Limits::default() }).connections;
        let held = breaker.permit_past_limit();
        assert!(breaker.permit().is_none());
        drop(held);
        assert!(breaker.permit().is_some());
    }
}
