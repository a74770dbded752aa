//! What is known of one endpoint's health, by all workers together.

use std::sync::atomic::{AtomicI32, AtomicU16, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A reason not to choose an endpoint: Envoy's `health_flags`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HealthFlag {
    /// An active check said that it is degraded.
    CheckDegraded,
    /// The last check failed because no response came in time. Goes with [`HealthFlag::FailedCheck`].
    CheckTimedOut,
    /// Its responses were bad too often in a row.
    Ejected,
    /// It said so itself, in a response. Goes with [`HealthFlag::FailedCheck`].
    Excluded,
    /// Active checks fail, or none has succeeded yet.
    FailedCheck,
    /// Names or files do not have it any more: it stays until a check fails.
    Leaving,
    /// The file says that it is degraded.
    ReportedDegraded,
    /// The file says that it drains.
    ReportedDraining,
    /// The file says that it is unhealthy.
    ReportedUnhealthy,
}

/// The flags in the order in which the admin interface lists them, with its words.
const WORDS: [(HealthFlag, &str); 9] = [
    (HealthFlag::FailedCheck, "/failed_active_hc"),
    (HealthFlag::Ejected, "/failed_outlier_check"),
    (HealthFlag::ReportedUnhealthy, "/failed_eds_health"),
    (HealthFlag::CheckDegraded, "/degraded_active_hc"),
    (HealthFlag::ReportedDegraded, "/degraded_eds_health"),
    (HealthFlag::Leaving, "/pending_dynamic_removal"),
    (HealthFlag::Excluded, "/excluded_via_immediate_hc_fail"),
    (HealthFlag::CheckTimedOut, "/active_hc_timeout"),
    (HealthFlag::ReportedDraining, "/eds_status_draining"),
];

/// The health of one endpoint.
#[derive(Debug, Default)]
pub struct Health {
    flags: AtomicU16,
    /// Responses of 5xx in a row, requests without a response among them.
    pub in_a_row_5xx: AtomicU32,
    /// Responses of 502, 503 and 504 in a row, requests without a response among them.
    pub in_a_row_gateway: AtomicU32,
    /// Failures in a row of our own making.
    pub in_a_row_local: AtomicU32,
    /// Outcomes since the last look at success rates: of requests, and of failures of our own making where they are kept apart.
    pub rates: [Rate; 2],
    ejections: Mutex<Ejections>,
    /// Since when it may be chosen, as far as checks and the file say.
    healthy_since: Mutex<Option<Instant>>,
}

/// How often requests succeeded.
#[derive(Debug)]
pub struct Rate {
    all: AtomicU32,
    successes: AtomicU32,
    /// The share of the last interval, in hundredths of a percent; -1 if there were not enough requests.
    shown: AtomicI32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { all: AtomicU32::new(0), successes: AtomicU32::new(0), shown: AtomicI32::new(-1) }
    }
}

impl Rate {
    /// One more outcome.
    pub fn count(&self, is_success: bool) {
        self.all.fetch_add(1, Relaxed);
        self.successes.fetch_add(u32::from(is_success), Relaxed);
    }

    /// All outcomes and the successes among them; counting begins anew.
    pub fn take(&self) -> (u32, u32) {
        (self.all.swap(0, Relaxed), self.successes.swap(0, Relaxed))
    }

    /// Shows a share, in hundredths of a percent; -1 is none.
    pub fn show(&self, share: i32) {
        self.shown.store(share, Relaxed);
    }

    /// The share that is shown.
    #[must_use]
    pub fn shown(&self) -> i32 {
        self.shown.load(Relaxed)
    }
}

/// When and how often an endpoint was ejected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ejections {
    /// Since when it is away, if it is.
    pub since: Option<Instant>,
    /// It stays away so much longer than is configured.
    pub jitter: Duration,
    /// How often so far; becomes less with every interval that goes well.
    pub count: u32,
}

impl Health {
    /// Sets a flag; says whether that is new.
    pub fn set_flag(&self, flag: HealthFlag) -> bool {
        self.flags.fetch_or(bit(flag), Relaxed) & bit(flag) == 0
    }

    /// Clears a flag; says whether it was set.
    pub fn clear_flag(&self, flag: HealthFlag) -> bool {
        self.flags.fetch_and(!bit(flag), Relaxed) & bit(flag) != 0
    }

    /// Is this flag set?
    #[must_use]
    pub fn has(&self, flag: HealthFlag) -> bool {
        self.flags.load(Relaxed) & bit(flag) != 0
    }

    /// May the endpoint be chosen, if only where healthy ones do not suffice?
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.flags.load(Relaxed) & !(DEGRADED | LEAVING) == 0
    }

    /// May the endpoint be chosen without reserve?
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.flags.load(Relaxed) & !LEAVING == 0
    }

    /// Does it not count, not even as unhealthy?
    #[must_use]
    pub fn is_excluded(&self) -> bool {
        self.has(HealthFlag::Excluded) || self.has(HealthFlag::ReportedDraining)
    }

    /// Do checks find it healthy?
    #[must_use]
    pub fn passes_checks(&self) -> bool {
        !self.has(HealthFlag::FailedCheck) && !self.has(HealthFlag::Excluded)
    }

    /// Was it there for its checks alone, which fail now?
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.has(HealthFlag::Leaving) && !self.passes_checks()
    }

    /// It may be chosen from this moment on.
    pub fn became_healthy(&self, now: Instant) {
        *self.healthy_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Since when it may be chosen.
    #[must_use]
    pub fn healthy_since(&self) -> Option<Instant> {
        *self.healthy_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing in a row any more.
    pub fn begin_anew(&self) {
        for in_a_row in [&self.in_a_row_5xx, &self.in_a_row_gateway, &self.in_a_row_local] {
            in_a_row.store(0, Relaxed);
        }
    }

    /// Works on the history of ejections.
    pub fn ejections<T>(&self, work: impl FnOnce(&mut Ejections) -> T) -> T {
        // Each change is one assignment, so a panic elsewhere leaves it whole.
        work(&mut self.ejections.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// In the admin interface's words.
    #[must_use]
    pub fn in_words(&self) -> String {
        let words: String = WORDS.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, words)| *words).collect();
        if words.is_empty() { "healthy".to_owned() } else { words }
    }
}

/// The flags of an endpoint that is degraded, and not unhealthy.
const DEGRADED: u16 = bit(HealthFlag::CheckDegraded) | bit(HealthFlag::ReportedDegraded);

const LEAVING: u16 = bit(HealthFlag::Leaving);

const fn bit(flag: HealthFlag) -> u16 {
    1 << flag as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_healthy_while_no_flag_is_set() {
        let health = Health::default();
        assert!(health.is_good());
        assert!(health.set_flag(HealthFlag::Ejected) && !health.set_flag(HealthFlag::Ejected));
        health.set_flag(HealthFlag::FailedCheck);
        assert_eq!(health.in_words(), "/failed_active_hc/failed_outlier_check");
        assert!(health.clear_flag(HealthFlag::Ejected) && !health.is_good());
        assert!(health.clear_flag(HealthFlag::FailedCheck) && health.is_good());
        assert_eq!(health.in_words(), "healthy");
    }
}
