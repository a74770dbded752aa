//! What is known of one endpoint's health, by all workers together.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// A reason not to choose an endpoint: Envoy's `health_flags`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HealthFlag {
    /// The last check failed because no response came in time. Goes with [`HealthFlag::FailedCheck`].
    CheckTimedOut,
    /// Its responses were bad too often in a row.
    Ejected,
    /// It said so itself, in a response. Goes with [`HealthFlag::FailedCheck`].
    Excluded,
    /// Active checks fail, or none has succeeded yet.
    FailedCheck,
}

/// The flags in the order in which the admin interface lists them, with its words.
const WORDS: [(HealthFlag, &str); 4] = [
    (HealthFlag::FailedCheck, "/failed_active_hc"),
    (HealthFlag::Ejected, "/failed_outlier_check"),
    (HealthFlag::Excluded, "/excluded_via_immediate_hc_fail"),
    (HealthFlag::CheckTimedOut, "/active_hc_timeout"),
];

/// The health of one endpoint.
#[derive(Debug, Default)]
pub struct Health {
    flags: AtomicU8,
    /// Responses of 5xx in a row, requests without a response among them.
    pub in_a_row_5xx: AtomicU32,
    /// Responses of 502, 503 and 504 in a row, requests without a response among them.
    pub in_a_row_gateway: AtomicU32,
    /// Failures in a row of our own making.
    pub in_a_row_local: AtomicU32,
    ejections: Mutex<Ejections>,
}

/// When and how often an endpoint was ejected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ejections {
    /// Since when it is away, if it is.
    pub since: Option<Instant>,
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

    /// May the endpoint be chosen?
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.flags.load(Relaxed) == 0
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

fn bit(flag: HealthFlag) -> u8 {
    1 << flag as u8
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
