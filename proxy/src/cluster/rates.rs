//! Outlier detection by rates: once in each interval, endpoints that succeed much more seldom than the others are ejected, and those
//! that fail too often.

use super::Cluster;
use crate::config::health::{FailurePercentage, OutlierDetection, SuccessRate};
use crate::net::Address;
use crate::stats::{Counter, EndpointStats, HealthFlag};
use std::sync::Arc;

/// Of an endpoint's rates, that of its requests.
pub(super) const EXTERNAL: usize = 0;
/// And that of failures of our own making, where they are kept apart.
pub(super) const LOCAL: usize = 1;

/// What an endpoint did in an interval.
struct Outcome {
    address: Address,
    counts: Arc<EndpointStats>,
    requests: u32,
    /// Percent of them.
    successes: f64,
}

impl Cluster {
    /// Looks at what all endpoints did since the last look.
    pub(super) fn look_at_rates(&self, detection: &OutlierDetection) {
        self.look_at(detection, EXTERNAL);
        self.look_at(detection, LOCAL);
    }

    fn look_at(&self, detection: &OutlierDetection, which: usize) {
        let SuccessRate { endpoints_min, requests_min, deviation, .. } = detection.success_rate;
        let FailurePercentage { endpoints_min: failing_min, requests_min: volume, threshold, .. } =
            detection.failure_percentage;
        let all = self.shared.endpoints.snapshot();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut outcomes = Vec::new();
        for (address, counts) in all {
            let rate = &counts.health.rates[which];
            let (requests, successes) = rate.take();
            let is_judged = !counts.health.has(HealthFlag::Ejected) && requests > 0;
            let percent = 100.0 * f64::from(successes) / f64::from(requests.max(1));
            let is_shown = is_judged && requests >= requests_min.min(volume) && count >= endpoints_min.min(failing_min);
            rate.show(if is_shown { hundredths(percent) } else { -1 });
            if is_judged {
                outcomes.push(Outcome { address, counts, requests, successes: percent });
            }
        }
        let rated: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.requests >= requests_min).collect();
        if !rated.is_empty() && enough(&rated, endpoints_min) {
            let rates: Vec<f64> = rated.iter().map(|outcome| outcome.successes).collect();
            let least = least_rate(&rates, deviation);
            for outcome in rated.into_iter().filter(|outcome| outcome.successes < least) {
                self.shared.stats.ejections_success_rate.inc();
                self.reject(outcome, detection, Reason::SuccessRate, which);
            }
        }
        let counted: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.requests >= volume).collect();
        if !counted.is_empty() && enough(&counted, failing_min) {
            for outcome in counted.into_iter().filter(|outcome| 100.0 - outcome.successes >= f64::from(threshold)) {
                self.reject(outcome, detection, Reason::FailurePercentage, which);
            }
        }
    }

    fn reject(&self, outcome: &Outcome, detection: &OutlierDetection, reason: Reason, which: usize) {
        let stats = &self.shared.stats;
        let (rate, failures) = (&detection.success_rate, &detection.failure_percentage);
        let (detected, enforced, chance): (&Counter, &Counter, u32) = match (reason, which == LOCAL) {
            (Reason::SuccessRate, false) => {
                (&stats.ejections_detected_success_rate, &stats.ejections_enforced_success_rate, rate.enforcing)
            }
            (Reason::SuccessRate, true) => (
                &stats.ejections_detected_local_origin_success_rate,
                &stats.ejections_enforced_local_origin_success_rate,
                rate.enforcing_local_origin,
            ),
            (Reason::FailurePercentage, false) => (
                &stats.ejections_detected_failure_percentage,
                &stats.ejections_enforced_failure_percentage,
                failures.enforcing,
            ),
            (Reason::FailurePercentage, true) => (
                &stats.ejections_detected_local_origin_failure_percentage,
                &stats.ejections_enforced_local_origin_failure_percentage,
                failures.enforcing_local_origin,
            ),
        };
        if outcome.counts.health.has(HealthFlag::Ejected) {
            return; // for its success rate already
        }
        detected.inc();
        if !self.may_eject(detection) {
            return stats.ejections_overflow.inc();
        }
        if reason == Reason::SuccessRate {
            stats.ejections_total.inc();
        }
        self.eject_by_chance(&outcome.address, &outcome.counts, chance, enforced);
    }
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reason {
    FailurePercentage,
    SuccessRate,
}

fn enough(outcomes: &[&Outcome], least: u32) -> bool {
    u32::try_from(outcomes.len()).unwrap_or(u32::MAX) >= least
}

/// An endpoint that succeeds more seldom than this is ejected: so many thousandths of the standard deviation below the mean. Percent.
fn least_rate(rates: &[f64], deviation: u32) -> f64 {
    let count = f64::from(u32::try_from(rates.len()).unwrap_or(u32::MAX));
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - f64::from(deviation) / 1000.0 * variance.sqrt()
}

#[expect(clippy::cast_possible_truncation, reason = "a percentage has at most 10000 hundredths")]
fn hundredths(percent: f64) -> i32 {
    (percent * 100.0).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Envoy's documentation on outlier detection has four endpoints at 100 % and one at 0.
    #[test]
    fn the_least_rate_is_below_the_mean_by_the_deviation() {
        for (rates, deviation, expected) in [
            (&[100.0, 100.0, 100.0, 100.0, 0.0][..], 1900, 4.0),
            (&[50.0, 50.0], 1900, 50.0),
            (&[90.0, 70.0], 1000, 70.0),
        ] {
            let found = least_rate(rates, deviation);
            assert!((found - expected).abs() < 1e-9, "{rates:?}: {found}");
        }
    }
}
