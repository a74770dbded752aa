//! What responses to health checks depend on, and what is kept from one to the next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use crate::drain::ListenerDrain;
use crate::stats::{Counter, HealthCheckStats};

/// How many endpoints a cluster has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Membership {
    /// All.
    pub(crate) total: u64,
    /// Those that are healthy.
    pub(crate) healthy: u64,
}

/// Looks a cluster up by its name.
pub(crate) type MembershipOf = Box<dyn Fn(&str) -> Option<Membership>>;

/// What a connection manager's responses to health checks depend on, on one worker.
pub(crate) struct HealthSources {
    /// `node.cluster`
    pub(crate) own_cluster: HeaderValue,
    /// Knows what an operator wants.
    pub(crate) drain: ListenerDrain,
    /// Of the cluster with this name, if there is one.
    pub(crate) membership: MembershipOf,
}

/// The stats of health checks.
pub(super) struct CheckStats {
    pub(super) own: HealthCheckStats,
    pub(super) checks: Counter,
}

/// The last statuses of upstreams for health checks, by the places of their filters: as many as the configuration has.
#[derive(Default)]
pub(super) struct KeptStatuses(RefCell<BTreeMap<String, Kept>>);

/// A status, and until when it is the response.
struct Kept {
    status: StatusCode,
    until: Instant,
}

impl KeptStatuses {
    pub(super) fn get(&self, place: &str) -> Option<StatusCode> {
        let kept = self.0.borrow();
        kept.get(place).filter(|kept| Instant::now() < kept.until).map(|kept| kept.status)
    }

    pub(super) fn keep(&self, place: &str, status: StatusCode, time: Duration) {
        // Past the end of time the next check goes to the upstream again.
        let until = Instant::now().checked_add(time).unwrap_or_else(Instant::now);
        self.0.borrow_mut().insert(place.to_owned(), Kept { status, until });
    }
}
