//! Outlier detection: an endpoint that answers badly is left out for a while.

use std::rc::Weak;
use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use tokio::time::Instant;

use super::{Cluster, Endpoint, Failure};
use crate::config::health::OutlierDetection;
use crate::stats::Ailment;

impl Cluster {
    /// Takes note of what a request to `endpoint` came to. Requests that never reached it say nothing about it.
    pub fn report(&self, endpoint: &Endpoint, answered: Result<StatusCode, &Failure>) {
        let Some(detection) = &self.shared.config.outlier_detection else { return };
        let status = match answered {
            Ok(status) => status,
            Err(Failure::NoHealthyUpstream | Failure::Overflow | Failure::PendingOverflow) => return,
            Err(failure) => failure.status(),
        };
        let health = &endpoint.counts.health;
        let stats = &self.shared.stats;
        let is_gateway_failure = (502..=504).contains(&status.as_u16());
        match is_gateway_failure {
            true => {
                let in_a_row = health.in_a_row_gateway.fetch_add(1, Relaxed) + 1;
                if in_a_row == detection.consecutive_gateway_failure {
                    health.in_a_row_gateway.store(0, Relaxed);
                    stats.ejections_detected_consecutive_gateway_failure.inc();
                    if self.eject(endpoint, detection, detection.enforcing_gateway_failure) {
                        stats.ejections_enforced_consecutive_gateway_failure.inc();
                    }
                }
            }
            false => health.in_a_row_gateway.store(0, Relaxed),
        }
        if !status.is_server_error() {
            health.in_a_row_5xx.store(0, Relaxed);
            return;
        }
        let in_a_row = health.in_a_row_5xx.fetch_add(1, Relaxed) + 1;
        if in_a_row == detection.consecutive_5xx {
            health.in_a_row_5xx.store(0, Relaxed);
            stats.ejections_detected_consecutive_5xx.inc();
            if self.eject(endpoint, detection, detection.enforcing_5xx) {
                stats.ejections_enforced_consecutive_5xx.inc();
                stats.ejections_consecutive_5xx.inc();
            }
        }
    }

    /// Ejects an endpoint, by `chance` percent, unless too many are away already.
    fn eject(&self, endpoint: &Endpoint, detection: &OutlierDetection, chance: u32) -> bool {
        let stats = &self.shared.stats;
        let health = &endpoint.counts.health;
        if self.outside.random.next_u64() % 100 >= u64::from(chance) || health.has(Ailment::Ejected) {
            return false;
        }
        let all = self.shared.endpoints.snapshot();
        let away = all.iter().filter(|(_, counts)| counts.health.has(Ailment::Ejected)).count();
        let fits = (away + 1) * 100 <= all.len() * usize::try_from(detection.ejection_percent_max).unwrap_or(100);
        let fits = fits || (detection.always_eject_one && away == 0);
        if !fits {
            stats.ejections_overflow.inc();
            return false;
        }
        health.ejections(|ejections| {
            ejections.since = Some(Instant::now());
            ejections.count = ejections.count.saturating_add(1);
        });
        health.falls_ill(Ailment::Ejected);
        stats.ejections_enforced_total.inc();
        stats.ejections_total.inc();
        self.health_changed();
        endpoint.pool.drain();
        true
    }

    /// Lets endpoints come back whose time is up.
    fn return_ejected(&self, detection: &OutlierDetection) {
        let now = Instant::now();
        for (_, counts) in self.shared.endpoints.snapshot() {
            let returns = counts.health.ejections(|ejections| {
                let Some(since) = ejections.since else {
                    ejections.count = ejections.count.saturating_sub(1); // an interval without an ejection
                    return false;
                };
                let away = detection.base_ejection_time.saturating_mul(ejections.count);
                let returns = since + away.min(detection.ejection_time_max) <= now;
                if returns {
                    ejections.since = None;
                }
                returns
            });
            if returns {
                counts.health.recovers(Ailment::Ejected);
            }
        }
        self.health_changed();
    }
}

/// Looks after the ejected for as long as the cluster exists. One worker does it for all.
pub(super) async fn look_after(cluster: Weak<Cluster>, detection: OutlierDetection) {
    loop {
        tokio::time::sleep(detection.interval).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.return_ejected(&detection);
    }
}
