//! Outlier detection: an endpoint whose responses are bad is left out for a while.

use std::rc::Weak;
use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use std::time::Duration;

use tokio::time::Instant;

use super::rates::{EXTERNAL, LOCAL};
use super::{Cluster, Endpoint, Failure};
use crate::config::health::OutlierDetection;
use crate::net::Address;
use crate::stats::{Counter, EndpointStats, HealthFlag};

/// What is counted in a row, and leads to ejection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Row {
    /// 5xx.
    FiveHundreds,
    /// 502, 503, 504.
    Gateway,
    /// Failures of our own making.
    LocalOrigin,
}

impl Cluster {
    /// Records the outcome of a request to `endpoint`. Requests that never reached it do not count.
    pub fn report(&self, endpoint: &Endpoint, outcome: Result<StatusCode, &Failure>) {
        match outcome {
            Ok(status) => self.note_status(endpoint, status),
            Err(
                Failure::LongestStream { .. }
                | Failure::Host(_)
                | Failure::NoHealthyUpstream
                | Failure::Overflow
                | Failure::PendingOverflow
                | Failure::PoolOverflow,
            ) => {}
            Err(Failure::TryIdle | Failure::TryTimeout) => self.report_timeout(endpoint),
            Err(_) => self.note_local_origin(endpoint, StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Takes note that a request got no response in time.
    pub fn report_timeout(&self, endpoint: &Endpoint) {
        endpoint.counts.rq_timeout.inc();
        self.note_local_origin(endpoint, StatusCode::GATEWAY_TIMEOUT);
    }

    /// Takes note that a try got no response in time, and goes on.
    pub fn note_timeout(&self, endpoint: &Endpoint) {
        self.note_local_origin(endpoint, StatusCode::GATEWAY_TIMEOUT);
    }

    /// Takes note that a request has got a connection: where failures of our own making are counted apart, that is a
    /// success.
    pub fn report_connected(&self, endpoint: &Endpoint) {
        endpoint.counts.health.in_a_row_local.store(0, Relaxed);
        endpoint.counts.health.rates[LOCAL].count(true);
    }

    /// A failure of our own making, which counts as `status` where it is not counted apart.
    fn note_local_origin(&self, endpoint: &Endpoint, status: StatusCode) {
        match &self.shared.config.outlier_detection {
            Some(detection) if detection.splits_local_origin => {
                endpoint.counts.health.rates[LOCAL].count(false);
                self.one_more(endpoint, detection, Row::LocalOrigin);
            }
            Some(_) | None => self.note_status(endpoint, status),
        }
    }

    fn note_status(&self, endpoint: &Endpoint, status: StatusCode) {
        let Some(detection) = &self.shared.config.outlier_detection else { return };
        let health = &endpoint.counts.health;
        health.rates[EXTERNAL].count(!status.is_server_error());
        match (502..=504).contains(&status.as_u16()) {
            true => self.one_more(endpoint, detection, Row::Gateway),
            false => health.in_a_row_gateway.store(0, Relaxed),
        }
        match status.is_server_error() {
            true => self.one_more(endpoint, detection, Row::FiveHundreds),
            false => health.in_a_row_5xx.store(0, Relaxed),
        }
    }

    /// One more in a row; if that makes enough of them, the endpoint is to be ejected.
    fn one_more(&self, endpoint: &Endpoint, detection: &OutlierDetection, row: Row) {
        let (health, stats) = (&endpoint.counts.health, &self.shared.stats);
        let (in_a_row, enough, chance, detected, enforced) = match row {
            Row::FiveHundreds => (
                &health.in_a_row_5xx,
                detection.consecutive_5xx,
                detection.enforcing_5xx,
                &stats.ejections_detected_consecutive_5xx,
                &stats.ejections_enforced_consecutive_5xx,
            ),
            Row::Gateway => (
                &health.in_a_row_gateway,
                detection.consecutive_gateway_failure,
                detection.enforcing_gateway_failure,
                &stats.ejections_detected_consecutive_gateway_failure,
                &stats.ejections_enforced_consecutive_gateway_failure,
            ),
            Row::LocalOrigin => (
                &health.in_a_row_local,
                detection.consecutive_local_origin_failure,
                detection.enforcing_local_origin_failure,
                &stats.ejections_detected_consecutive_local_origin_failure,
                &stats.ejections_enforced_consecutive_local_origin_failure,
            ),
        };
        if in_a_row.fetch_add(1, Relaxed) + 1 != enough {
            return;
        }
        in_a_row.store(0, Relaxed);
        if health.has(HealthFlag::Ejected) {
            return; // these were under way when it was ejected
        }
        detected.inc();
        if row == Row::FiveHundreds {
            stats.ejections_consecutive_5xx.inc();
        }
        if !self.may_eject(detection) {
            return stats.ejections_overflow.inc();
        }
        if row == Row::FiveHundreds {
            stats.ejections_total.inc();
        }
        self.eject_by_chance(&endpoint.address, &endpoint.counts, chance, enforced);
    }

    /// Ejects an endpoint in so many of a hundred cases.
    pub(super) fn eject_by_chance(&self, address: &Address, counts: &EndpointStats, chance: u32, enforced: &Counter) {
        if self.outside.random.next_u64() % 100 < u64::from(chance) {
            enforced.inc();
            self.eject(address, counts);
        }
    }

    /// May one more be away?
    pub(super) fn may_eject(&self, detection: &OutlierDetection) -> bool {
        let all = self.shared.endpoints.snapshot();
        let away = all.iter().filter(|(_, counts)| counts.health.has(HealthFlag::Ejected)).count();
        let fits = (away + 1) * 100 <= all.len() * usize::try_from(detection.ejection_percent_max).unwrap_or(100);
        fits || (detection.always_eject_one && away == 0)
    }

    fn eject(&self, address: &Address, counts: &EndpointStats) {
        let health = &counts.health;
        let detection = self.shared.config.outlier_detection;
        let jitter = detection.map_or(Duration::ZERO, |detection| self.outside.random.up_to(detection.ejection_jitter));
        health.ejections(|ejections| {
            ejections.since = Some(Instant::now());
            ejections.jitter = jitter;
            ejections.count = ejections.count.saturating_add(1);
        });
        health.set_flag(HealthFlag::Ejected);
        tracing::info!(cluster = &*self.names.own, endpoint = %address, "the endpoint is ejected");
        self.shared.stats.ejections_enforced_total.inc();
        self.health_changed();
        let endpoints = self.endpoints.borrow();
        endpoints.iter().filter(|endpoint| endpoint.address == *address).for_each(|endpoint| endpoint.drain());
    }

    /// An active check of the endpoint has succeeded, which may end an ejection.
    pub(super) fn check_succeeded(&self, endpoint: &Endpoint) {
        let counts = &endpoint.counts;
        let ends = self.shared.config.outlier_detection.is_some_and(|detection| detection.check_ends_ejection);
        if ends && counts.health.has(HealthFlag::Ejected) {
            counts.health.ejections(|ejections| ejections.since = None);
            self.return_one(&endpoint.address, counts);
            self.health_changed();
        }
    }

    /// Lets endpoints come back whose time is up.
    fn return_ejected(&self, detection: &OutlierDetection) {
        let now = Instant::now();
        let mut any = false;
        for (address, counts) in self.shared.endpoints.snapshot() {
            let returns = counts.health.ejections(|ejections| {
                let Some(since) = ejections.since else {
                    ejections.count = ejections.count.saturating_sub(1); // an interval without an ejection
                    return false;
                };
                let away = detection.base_ejection_time.saturating_mul(ejections.count);
                let returns = since + away.min(detection.ejection_time_max) + ejections.jitter <= now;
                if returns {
                    ejections.since = None;
                }
                returns
            });
            if returns {
                any = true;
                self.return_one(&address, &counts);
            }
        }
        if any {
            self.health_changed();
        }
    }

    fn return_one(&self, address: &Address, counts: &EndpointStats) {
        counts.health.begin_anew();
        counts.health.clear_flag(HealthFlag::Ejected);
        tracing::info!(cluster = &*self.names.own, endpoint = %address, "the endpoint is no longer ejected");
    }
}

/// Looks after the ejected for as long as the cluster exists. One worker does it for all.
pub(super) async fn look_after(cluster: Weak<Cluster>, detection: OutlierDetection) {
    loop {
        tokio::time::sleep(detection.interval).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.return_ejected(&detection);
        cluster.look_at_rates(&detection);
    }
}
