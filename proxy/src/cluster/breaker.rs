//! Limits on connections, waiting requests, requests and retries of one cluster, for one priority.
//!
//! Shared by all workers, so the counts are atomics; a permit returns by being dropped, so none can leak.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::cluster::{Limits, RetryBudget};
use crate::stats::{BreakerStats, State};

/// The breakers of one cluster, for one priority.
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
    /// Endpoints that have a connection, for each worker. Not limited, but counted as Envoy counts its pools.
    pub pools: Arc<Breaker>,
    retry_budget: Option<RetryBudget>,
}

impl Breakers {
    /// All closed.
    #[must_use]
    pub fn new(limits: &Limits, stats: &BreakerStats) -> Self {
        let breaker = |limit, is_open: &State, remaining: &State| {
            let remaining = limits.track_remaining.then(|| remaining.clone());
            let breaker = Breaker { taken: AtomicU32::new(0), limit, is_open: is_open.clone(), remaining };
            breaker.tell_remaining(0);
            Arc::new(breaker)
        };
        // Under a budget there is no number that remains.
        let retries_max = if limits.retry_budget.is_some() { u32::MAX } else { limits.retries_max };
        let breakers = Self {
            connections: breaker(limits.connections_max, &stats.cx_open, &stats.remaining_cx),
            pending: breaker(limits.pending_max, &stats.rq_pending_open, &stats.remaining_pending),
            requests: breaker(limits.requests_max, &stats.rq_open, &stats.remaining_rq),
            retries: breaker(retries_max, &stats.rq_retry_open, &stats.remaining_retries),
            pools: breaker(u32::MAX, &stats.cx_pool_open, &stats.remaining_cx_pools),
            retry_budget: limits.retry_budget,
        };
        if limits.retry_budget.is_some() {
            stats.remaining_retries.set(0);
        }
        breakers
    }

    /// Leave to retry once, unless too many do.
    #[must_use]
    pub fn retry_permit(&self) -> Option<Permit> {
        let Some(budget) = self.retry_budget else { return self.retries.permit() };
        let requests = u64::from(self.requests.taken()) + u64::from(self.pending.taken());
        let share = requests * u64::from(budget.basis_points) / 10_000;
        let limit = u32::try_from(share).unwrap_or(u32::MAX).max(budget.retries_min);
        self.retries.permit_below(limit)
    }
}

/// One limit.
#[derive(Debug)]
pub struct Breaker {
    taken: AtomicU32,
    limit: u32,
    /// 1 while all permits are out.
    is_open: State,
    /// Permits left, if somebody wants to know.
    remaining: Option<State>,
}

impl Breaker {
    /// A permit, unless all are out.
    pub fn permit(self: &Arc<Self>) -> Option<Permit> {
        self.permit_below(self.limit)
    }

    /// A permit, unless `limit` or more are out.
    fn permit_below(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        if before >= limit {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if before + 1 == self.limit {
            self.is_open.set(1);
        }
        self.tell_remaining(before + 1);
        Some(Permit(Arc::clone(self)))
    }

    /// Permits that are out.
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    fn tell_remaining(&self, taken: u32) {
        if let Some(remaining) = &self.remaining {
            remaining.set(u64::from(self.limit.saturating_sub(taken)));
        }
    }

    /// A permit in any case: a host without a single connection is given one past the limit.
    pub fn permit_past_limit(self: &Arc<Self>) -> Permit {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        if taken >= self.limit {
            self.is_open.set(1);
        }
        self.tell_remaining(taken);
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
        self.0.tell_remaining(before.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cluster::Priority;
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

    #[test]
    fn a_budget_grows_with_the_requests() {
        let stats = BreakerStats::new(&Registry::new(), "c", Priority::Default);
        let retry_budget = Some(RetryBudget { basis_points: 2000, retries_min: 1 });
        let limits = Limits { retry_budget, retries_max: 0, ..Limits::default() };
        let breakers = Breakers::new(&limits, &stats);
        let first = breakers.retry_permit();
        assert!(first.is_some() && breakers.retry_permit().is_none(), "one in any case");
        let requests: Vec<_> = (0..10).map(|_| breakers.requests.permit()).collect();
        assert!(breakers.retry_permit().is_some(), "two of ten");
        drop(requests);
        assert!(breakers.retry_permit().is_none());
    }

    fn one_connection() -> (Arc<Breaker>, State) {
        let stats = BreakerStats::new(&Registry::new(), "c", Priority::Default);
        let limits = Limits { connections_max: 1, ..Limits::default() };
        (Breakers::new(&limits, &stats).connections, State::clone(&stats.cx_open))
    }
}
