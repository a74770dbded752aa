//! Limits on connections, waiting requests, requests and retries of one cluster, for one priority.
//!
//! A runtime key may change each while the server runs. The gauges are worked out when they are looked at, so they
//! follow a new limit at once and cost requests nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::recent::RecentRequests;
use crate::config::cluster::{Limits, Priority, RetryBudget};
use crate::config::runtime::BreakerLimit;
use crate::permits::{Limit, Permit};
use crate::runtime::{Runtime, Watched};
use crate::stats::{BreakerStats, Derived};

/// The breakers of one cluster, for one priority.
#[derive(Debug)]
pub struct Breakers {
    /// Connections.
    pub connections: Arc<Limit>,
    /// Requests waiting for a connection.
    pub pending: Arc<Limit>,
    /// Requests under way.
    pub requests: Arc<Limit>,
    /// Endpoints that have a connection, for each worker and origin, as Envoy counts its pools.
    pub pools: Arc<Limit>,
    retries: Arc<Limit>,
    budget: Arc<Budget>,
    /// `track_remaining`
    tracks: Arc<AtomicBool>,
}

impl Breakers {
    /// All closed. Each has the limit of its runtime key, or else that of `limits`.
    #[must_use]
    pub fn new(cluster: &str, priority: Priority, limits: &Limits, runtime: &Runtime) -> Self {
        let watch = |limit: BreakerLimit, default| runtime.watch(limit.of(cluster, priority), default);
        let budget = limits.retry_budget.unwrap_or(RetryBudget::DEFAULT);
        let percent = BreakerLimit::BudgetPercent.of(cluster, priority);
        let breakers = Self {
            connections: Limit::new(watch(BreakerLimit::Connections, limits.connections_max)),
            pending: Limit::new(watch(BreakerLimit::Pending, limits.pending_max)),
            requests: Limit::new(watch(BreakerLimit::Requests, limits.requests_max)),
            pools: Limit::new(watch(BreakerLimit::Pools, limits.pools_max)),
            retries: Limit::new(watch(BreakerLimit::Retries, limits.retries_max)),
            budget: Arc::new(Budget {
                is_configured: AtomicBool::new(limits.retry_budget.is_some()),
                basis_points: runtime.watch_percentage(percent, budget.basis_points),
                retries_min: watch(BreakerLimit::BudgetRetriesMin, budget.retries_min),
                counts_recent: AtomicBool::new(false),
                recent: Mutex::new(None),
            }),
            tracks: Arc::new(AtomicBool::new(limits.track_remaining)),
        };
        breakers.budget.set_interval(budget.interval);
        breakers
    }

    /// Other limits, where no runtime key sets them. What is under way counts against them.
    pub fn set_limits(&self, limits: &Limits) {
        self.connections.set_default(limits.connections_max);
        self.pending.set_default(limits.pending_max);
        self.pools.set_default(limits.pools_max);
        self.requests.set_default(limits.requests_max);
        self.retries.set_default(limits.retries_max);
        let budget = limits.retry_budget.unwrap_or(RetryBudget::DEFAULT);
        self.budget.is_configured.store(limits.retry_budget.is_some(), Ordering::Relaxed);
        self.budget.basis_points.set_default(budget.basis_points);
        self.budget.retries_min.set_default(budget.retries_min);
        self.budget.set_interval(budget.interval);
        self.tracks.store(limits.track_remaining, Ordering::Relaxed);
    }

    /// Gives the gauges their names. Those of what remains are kept up to date where `limits` has `track_remaining`.
    pub fn register(&self, stats: &BreakerStats<'_>, limits: &Limits) {
        self.tracks.store(limits.track_remaining, Ordering::Relaxed);
        for (open, remaining, limit) in [
            ("cx_open", "remaining_cx", &self.connections),
            ("rq_pending_open", "remaining_pending", &self.pending),
            ("rq_open", "remaining_rq", &self.requests),
            ("cx_pool_open", "remaining_cx_pools", &self.pools),
        ] {
            stats.derive(open, limit, is_open);
            let tracks = Arc::clone(&self.tracks);
            stats.derive(remaining, limit, move |limit| left(limit, &tracks));
        }
        // Under a budget there is no number that remains.
        let (budget, by, tracks) = (Arc::clone(&self.budget), Arc::clone(&self.budget), Arc::clone(&self.tracks));
        stats.derive("rq_retry_open", &self.retries, move |limit| match budget.in_force() {
            Some(_) => Derived { value: 0, used: limit.was_used() },
            None => is_open(limit),
        });
        stats.derive("remaining_retries", &self.retries, move |limit| match by.in_force() {
            Some(_) => Derived { value: 0, used: tracks.load(Ordering::Relaxed) },
            None => left(limit, &tracks),
        });
    }

    /// May an endpoint without a connection have one?
    #[must_use]
    pub fn permit_pool(&self) -> bool {
        self.pools.remaining() > 0
    }

    /// Leave for a request or a retry to have a connection, unless too many have.
    #[must_use]
    pub fn request_permit(&self) -> Option<Permit> {
        let permit = self.requests.permit()?;
        self.budget.note_request();
        Some(permit)
    }

    /// Leave to retry once, unless too many do.
    #[must_use]
    pub fn retry_permit(&self) -> Option<Permit> {
        let Some((basis_points, retries_min)) = self.budget.in_force() else { return self.retries.permit() };
        let active = || u64::from(self.requests.count()) + u64::from(self.pending.count());
        let requests = self.budget.recent_requests().unwrap_or_else(active);
        let share = requests.saturating_mul(basis_points.into()) / 10_000;
        let limit = u32::try_from(share).unwrap_or(u32::MAX).max(retries_min);
        self.retries.permit_below(limit)
    }
}

/// 1 while as many permits are out as may be.
fn is_open(limit: &Limit) -> Derived {
    Derived { value: u64::from(limit.is_reached()), used: limit.was_used() }
}

fn left(limit: &Limit, tracks: &AtomicBool) -> Derived {
    let tracks = tracks.load(Ordering::Relaxed);
    Derived { value: if tracks { limit.remaining().into() } else { 0 }, used: tracks }
}

/// Retries as a share of requests, in place of a number. Either runtime key switches it on.
#[derive(Debug)]
struct Budget {
    is_configured: AtomicBool,
    basis_points: Watched,
    retries_min: Watched,
    /// There is a `budget_interval`, so that requests are noted.
    counts_recent: AtomicBool,
    /// Those of the last interval.
    recent: Mutex<Option<RecentRequests>>,
}

impl Budget {
    fn recent(&self) -> MutexGuard<'_, Option<RecentRequests>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on requests count for so long. What was counted over another interval is not known of this one.
    fn set_interval(&self, interval: Option<Duration>) {
        let mut recent = self.recent();
        if recent.as_ref().map(RecentRequests::interval) != interval {
            *recent = interval.map(|interval| RecentRequests::within(interval, Instant::now()));
        }
        self.counts_recent.store(interval.is_some(), Ordering::Relaxed);
    }

    fn note_request(&self) {
        if self.counts_recent.load(Ordering::Relaxed)
            && let Some(recent) = &mut *self.recent()
        {
            recent.note(Instant::now());
        }
    }

    fn recent_requests(&self) -> Option<u64> {
        if !self.counts_recent.load(Ordering::Relaxed) {
            return None;
        }
        self.recent().as_mut().map(|recent| recent.count(Instant::now()))
    }

    /// The share of the requests, in hundredths of a percent, and how many may retry in any case.
    fn in_force(&self) -> Option<(u32, u32)> {
        let by_key = self.basis_points.of_layers().is_some() || self.retries_min.of_layers().is_some();
        (self.is_configured.load(Ordering::Relaxed) || by_key)
            .then(|| (self.basis_points.get(), self.retries_min.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Differences;
    use crate::config::runtime::{LayerValues, RuntimeLayer};
    use crate::stats::Registry;

    fn runtime() -> Runtime {
        let admin = RuntimeLayer { name: "admin".into(), values: LayerValues::Admin };
        Runtime::new(vec![admin], Differences::NONE)
    }

    fn set(runtime: &Runtime, last: &str, value: &str) {
        let key = format!("circuit_breakers.c.default.{last}");
        runtime.modify([(key.as_str(), value)].into_iter()).unwrap();
    }

    #[test]
    fn a_budget_grows_with_the_requests() {
        let retry_budget = Some(RetryBudget { retries_min: 1, ..RetryBudget::DEFAULT });
        let limits = Limits { retry_budget, retries_max: 0, ..Limits::default() };
        let breakers = Breakers::new("c", Priority::Default, &limits, &runtime());
        let first = breakers.retry_permit();
        assert!(first.is_some() && breakers.retry_permit().is_none(), "one in any case");
        let requests: Vec<_> = (0..10).map(|_| breakers.requests.permit()).collect();
        assert!(breakers.retry_permit().is_some(), "two of ten");
        drop(requests);
        assert!(breakers.retry_permit().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_with_an_interval_counts_the_requests_that_began_in_it() {
        let interval = Some(Duration::from_secs(2));
        let retry_budget = Some(RetryBudget { retries_min: 0, interval, ..RetryBudget::DEFAULT });
        let limits = Limits { retry_budget, ..Limits::default() };
        let breakers = Breakers::new("c", Priority::Default, &limits, &runtime());
        let request = || drop(breakers.request_permit().unwrap());
        (0..4).for_each(|_| request());
        assert!(breakers.retry_permit().is_none(), "less than one of four");
        request();
        let first = breakers.retry_permit();
        assert!(first.is_some() && breakers.retry_permit().is_none(), "one of five, though all are over");
        drop(first);
        tokio::time::advance(Duration::from_secs(3)).await;
        request();
        assert!(breakers.retry_permit().is_none(), "one of late");
        breakers.set_limits(&Limits { retry_budget: Some(RetryBudget::DEFAULT), ..limits });
        assert!(breakers.retry_permit().is_some(), "without an interval");
    }

    #[test]
    fn a_runtime_key_switches_a_budget_on_and_off() {
        let (runtime, limits) = (runtime(), Limits { retries_max: 1, ..Limits::default() });
        let breakers = Breakers::new("c", Priority::Default, &limits, &runtime);
        let first = breakers.retry_permit();
        assert!(first.is_some() && breakers.retry_permit().is_none(), "one by the file");
        set(&runtime, "retry_budget.min_retry_concurrency", "2");
        let second = breakers.retry_permit();
        assert!(second.is_some() && breakers.retry_permit().is_none(), "two by the key");
        set(&runtime, "retry_budget.min_retry_concurrency", "");
        drop(second);
        assert!(breakers.retry_permit().is_none());
    }

    #[test]
    fn gauges_and_permits_follow_a_limit_that_changes() {
        let (runtime, registry) = (runtime(), Registry::new());
        let limits = Limits { requests_max: 2, track_remaining: true, ..Limits::default() };
        let breakers = Breakers::new("c", Priority::Default, &limits, &runtime);
        breakers.register(&BreakerStats::new(&registry, "c", Priority::Default), &limits);
        let gauges = || {
            let numbers = registry.snapshot().numbers;
            let value = |last: &str| {
                let name = format!("cluster.c.circuit_breakers.default.{last}");
                numbers.iter().find(|number| number.name == name).map(|number| number.value)
            };
            (value("rq_open"), value("remaining_rq"))
        };
        assert_eq!(gauges(), (Some(0), Some(2)));
        let one = breakers.requests.permit();
        assert_eq!(gauges(), (Some(0), Some(1)));
        set(&runtime, "max_requests", "1");
        assert_eq!(gauges(), (Some(1), Some(0)));
        assert!(breakers.requests.permit().is_none());
        set(&runtime, "max_requests", "7");
        assert_eq!(gauges(), (Some(0), Some(6)));
        set(&runtime, "max_requests", "0");
        assert_eq!(gauges(), (Some(1), Some(0)));
        drop(one);
        assert_eq!(gauges(), (Some(0), Some(0)), "nothing is under way");
        drop(breakers);
        assert_eq!(gauges(), (None, None), "the gauges end with what they are about");
    }
}
