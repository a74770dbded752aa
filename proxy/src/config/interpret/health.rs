//! What health checks and outlier detection mean.

use std::time::Duration;

use super::{probe, tls};
use crate::config::bootstrap::health::{HealthCheck as Written, OutlierDetection as WrittenOutlier};
use crate::config::cluster::{ClusterProtocol, UpstreamProtocol};
use crate::config::constraints::{Positive, WholePercent};
use crate::config::health::{FailurePercentage, HealthCheck, OutlierDetection, SuccessRate};
use crate::config::problem::Problem;
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `OutlierDetection.max_ejection_time`, unless `base_ejection_time` is longer
const EJECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// `HealthCheck.no_traffic_interval`
const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);

/// The checks of `cluster`. Where there are several, each needs a name of its own, as in Envoy.
pub(super) fn checks(
    written: &[At<Written>],
    cluster: &str,
    protocol: &ClusterProtocol,
) -> Result<Vec<HealthCheck>, Problem> {
    let http2 = matches!(protocol.of(None), UpstreamProtocol::Http2(_));
    let name = |at: &At<Written>| at.value.name.clone().unwrap_or_default();
    for (index, at) in written.iter().enumerate().filter(|_| written.len() > 1) {
        let name_here = name(at);
        if name_here.is_empty() {
            return Err(at.invalid_but(
                "a cluster has several health checks, and this one has no name",
                "write a name that no other health check of the cluster has",
            ));
        }
        if written.iter().take(index).any(|earlier| name(earlier) == name_here) {
            return Err(at.invalid(format!("duplicate health check '{name_here}'")));
        }
    }
    written.iter().map(|at| check(at, cluster, http2)).collect()
}

fn check(at: &At<Written>, cluster: &str, http2: bool) -> Result<HealthCheck, Problem> {
    let written = &at.value;
    let probe = probe::probe(at, cluster, http2)?;
    let or = |written: Option<Positive>, default| written.map_or(default, |duration| duration.0);
    let jitter = |written: Option<Seconds>| written.map_or(Duration::ZERO, |duration| duration.0);
    let interval = written.interval.0;
    let unhealthy_interval = or(written.unhealthy_interval, interval);
    let no_traffic_interval = or(written.no_traffic_interval, NO_TRAFFIC_INTERVAL);
    Ok(HealthCheck {
        timeout: written.timeout.0,
        initial_jitter: jitter(written.initial_jitter),
        interval,
        healthy_edge_interval: or(written.healthy_edge_interval, interval),
        unhealthy_interval,
        unhealthy_edge_interval: or(written.unhealthy_edge_interval, unhealthy_interval),
        no_traffic_healthy_interval: or(written.no_traffic_healthy_interval, no_traffic_interval),
        no_traffic_interval,
        interval_jitter: jitter(written.interval_jitter),
        interval_jitter_percent: written.interval_jitter_percent.unwrap_or(0),
        reuse_connection: written.reuse_connection.unwrap_or(true),
        unhealthy_threshold: written.unhealthy_threshold,
        healthy_threshold: written.healthy_threshold,
        alpn: alpn(written)?,
        socket: None,
        probe,
    })
}

fn alpn(written: &Written) -> Result<Vec<Vec<u8>>, Problem> {
    let protocols = written.tls_options.iter().flat_map(|options| &options.alpn_protocols);
    protocols.map(|entry| tls::protocol(entry, &entry.value)).collect()
}

pub(super) fn outlier(at: &At<WrittenOutlier>) -> Result<OutlierDetection, Problem> {
    let written = at.value;
    let or = |duration: Option<Positive>, seconds| duration.map_or(Duration::from_secs(seconds), |duration| duration.0);
    let percent = |written: Option<WholePercent>, default| written.map_or(default, |percent| percent.0);
    let base_ejection_time = or(written.base_ejection_time, 30);
    let ejection_time_max = match written.max_ejection_time {
        Some(max) if max.0 < base_ejection_time => {
            let what = format!(
                "max_ejection_time ({:?}) must not be shorter than base_ejection_time ({base_ejection_time:?})",
                max.0
            );
            return Err(at.invalid_but(what, "write both; base_ejection_time is 30s where it is not written"));
        }
        Some(max) => max.0,
        None => base_ejection_time.max(EJECTION_TIME_MAX),
    };
    Ok(OutlierDetection {
        consecutive_5xx: written.consecutive_5xx.unwrap_or(5),
        consecutive_gateway_failure: written.consecutive_gateway_failure.unwrap_or(5),
        consecutive_local_origin_failure: written.consecutive_local_origin_failure.unwrap_or(5),
        splits_local_origin: written.split_external_local_origin_errors.unwrap_or(false),
        enforcing_5xx: percent(written.enforcing_consecutive_5xx, 100),
        enforcing_gateway_failure: percent(written.enforcing_consecutive_gateway_failure, 0),
        enforcing_local_origin_failure: percent(written.enforcing_consecutive_local_origin_failure, 100),
        success_rate: SuccessRate {
            endpoints_min: written.success_rate_minimum_hosts.unwrap_or(5),
            requests_min: written.success_rate_request_volume.unwrap_or(100),
            deviation: written.success_rate_stdev_factor.unwrap_or(1900),
            enforcing: percent(written.enforcing_success_rate, 100),
            enforcing_local_origin: percent(written.enforcing_local_origin_success_rate, 100),
        },
        failure_percentage: FailurePercentage {
            endpoints_min: written.failure_percentage_minimum_hosts.unwrap_or(5),
            requests_min: written.failure_percentage_request_volume.unwrap_or(50),
            threshold: percent(written.failure_percentage_threshold, 85),
            enforcing: percent(written.enforcing_failure_percentage, 0),
            enforcing_local_origin: percent(written.enforcing_failure_percentage_local_origin, 0),
        },
        check_ends_ejection: written.successful_active_health_check_uneject_host.unwrap_or(true),
        interval: or(written.interval, 10).max(Duration::from_millis(1)),
        base_ejection_time,
        ejection_time_max,
        ejection_jitter: written.max_ejection_time_jitter.map_or(Duration::ZERO, |jitter| jitter.0),
        ejection_percent_max: percent(written.max_ejection_percent, 10),
        always_eject_one: written.always_eject_one_host.unwrap_or(false),
    })
}
