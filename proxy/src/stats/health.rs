//! What is known of one endpoint's health, by all workers together.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// A reason not to choose an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ailment {
    /// The last check failed because no answer came in time. Goes with [`Ailment::FailedCheck`].
    CheckTimedOut,
    /// It answered badly too often in a row.
    Ejected,
    /// It said so itself, in a response. Goes with [`Ailment::FailedCheck`].
    Excluded,
    /// Active checks fail, or none has succeeded yet.
    FailedCheck,
}

/// The ailments in the order in which the admin interface lists them, with its words.
const WORDS: [(Ailment, &str); 4] = [
    (Ailment::FailedCheck, "/failed_active_hc"),
    (Ailment::Ejected, "/failed_outlier_check"),
    (Ailment::Excluded, "/excluded_via_immediate_hc_fail"),
    (Ailment::CheckTimedOut, "/active_hc_timeout"),
];

/// The health of one endpoint.
#[derive(Debug, Default)]
pub struct Health {
    ailments: AtomicU8,
    /// Answers of 5xx in a row, requests without an answer among them.
    pub in_a_row_5xx: AtomicU32,
    /// Answers of 502, 503 and 504 in a row, requests without an answer among them.
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
    /// Notes an ailment; says whether that is new.
    pub fn falls_ill(&self, with: Ailment) -> bool {
        self.ailments.fetch_or(bit(with), Relaxed) & bit(with) == 0
    }

    /// Forgets an ailment; says whether there was one.
    pub fn recovers(&self, from: Ailment) -> bool {
        self.ailments.fetch_and(!bit(from), Relaxed) & bit(from) != 0
    }

    /// Does it have this ailment?
    #[must_use]
    pub fn has(&self, ailment: Ailment) -> bool {
        self.ailments.load(Relaxed) & bit(ailment) != 0
    }

    /// May the endpoint be chosen?
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.ailments.load(Relaxed) == 0
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
        let words: String = WORDS.iter().filter(|(ailment, _)| self.has(*ailment)).map(|(_, words)| *words).collect();
        if words.is_empty() { "healthy".to_owned() } else { words }
    }
}

fn bit(ailment: Ailment) -> u8 {
    1 << ailment as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_well_when_nothing_ails_it() {
        let health = Health::default();
        assert!(health.is_good());
        assert!(health.falls_ill(Ailment::Ejected) && !health.falls_ill(Ailment::Ejected));
        health.falls_ill(Ailment::FailedCheck);
        assert_eq!(health.in_words(), "/failed_active_hc/failed_outlier_check");
        assert!(health.recovers(Ailment::Ejected) && !health.is_good());
        assert!(health.recovers(Ailment::FailedCheck) && health.is_good());
        assert_eq!(health.in_words(), "healthy");
    }
}
