//! What health checks and outlier detection mean.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::bootstrap::cluster::{
    HealthCheck as Written, HealthCheckPayload, HttpHealthCheck, Int64Range, OutlierDetection as WrittenOutlier,
};
use crate::config::health::{HealthCheck, OutlierDetection, Probe};
use crate::config::problem::Problem;
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `HealthCheck.no_traffic_interval`
const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn check(at: &At<Written>) -> Result<HealthCheck, Problem> {
    let written = &at.value;
    for duration in [&written.timeout, &written.interval] {
        if duration.value.0.is_zero() {
            return Err(duration.invalid("must be greater than 0s"));
        }
    }
    let probe = match (&written.http_health_check, &written.tcp_health_check) {
        (Some(http), None) => http_probe(http)?,
        (None, Some(tcp)) => Probe::Tcp {
            send: tcp.send.as_ref().map(bytes).transpose()?.unwrap_or_default(),
            receive: tcp.receive.iter().map(bytes).collect::<Result<_, _>>()?,
        },
        (None, None) | (Some(_), Some(_)) => {
            return Err(at.invalid("a health check is one of http_health_check and tcp_health_check"));
        }
    };
    let or = |written: Option<Seconds>, default| written.map_or(default, |duration| duration.0);
    let interval = written.interval.value.0;
    let unhealthy_interval = or(written.unhealthy_interval, interval);
    let no_traffic_interval = or(written.no_traffic_interval, NO_TRAFFIC_INTERVAL);
    Ok(HealthCheck {
        timeout: written.timeout.value.0,
        initial_jitter: or(written.initial_jitter, Duration::ZERO),
        interval,
        healthy_edge_interval: or(written.healthy_edge_interval, interval),
        unhealthy_interval,
        unhealthy_edge_interval: or(written.unhealthy_edge_interval, unhealthy_interval),
        no_traffic_healthy_interval: or(written.no_traffic_healthy_interval, no_traffic_interval),
        no_traffic_interval,
        interval_jitter: or(written.interval_jitter, Duration::ZERO),
        interval_jitter_percent: written.interval_jitter_percent.unwrap_or(0),
        reuse_connection: written.reuse_connection.unwrap_or(true),
        unhealthy_threshold: written.unhealthy_threshold,
        healthy_threshold: written.healthy_threshold,
        probe,
    })
}

fn http_probe(written: &HttpHealthCheck) -> Result<Probe, Problem> {
    let is_value = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    for text in written.host.iter().chain([&written.path]) {
        if text.value.is_empty() || !is_value(&text.value) {
            return Err(text.invalid("must be visible ASCII characters"));
        }
    }
    let expected = ranges(&written.expected_statuses);
    Ok(Probe::Http {
        host: written.host.as_ref().map(|host| host.value.clone()),
        path: written.path.value.clone(),
        expected: if expected.is_empty() { vec![200..=200] } else { expected },
        retriable: ranges(&written.retriable_statuses),
    })
}

/// Envoy's ranges end before their end; one that ends where it begins is empty.
fn ranges(written: &[Int64Range]) -> Vec<RangeInclusive<u16>> {
    let last = |range: &Int64Range| range.end.checked_sub(1).filter(|last| *last >= range.start);
    written.iter().filter_map(|range| Some(range.start..=last(range)?)).collect()
}

/// Pairs of hexadecimal digits.
fn bytes(written: &HealthCheckPayload) -> Result<Vec<u8>, Problem> {
    let digits: Option<Vec<u32>> = written.text.value.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
    let Some(digits) = digits else { return Err(written.text.invalid("must be pairs of hexadecimal digits")) };
    let pair = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte * 16 + digit);
    Ok(digits.chunks(2).filter_map(|digits| u8::try_from(pair(digits)).ok()).collect())
}

pub(super) fn outlier(written: WrittenOutlier) -> OutlierDetection {
    let or = |duration: Option<Seconds>, seconds| duration.map_or(Duration::from_secs(seconds), |duration| duration.0);
    let base_ejection_time = or(written.base_ejection_time, 30);
    OutlierDetection {
        consecutive_5xx: written.consecutive_5xx.unwrap_or(5),
        consecutive_gateway_failure: written.consecutive_gateway_failure.unwrap_or(5),
        consecutive_local_origin_failure: written.consecutive_local_origin_failure.unwrap_or(5),
        splits_local_origin: written.split_external_local_origin_errors.unwrap_or(false),
        enforcing_5xx: written.enforcing_consecutive_5xx.unwrap_or(100),
        enforcing_gateway_failure: written.enforcing_consecutive_gateway_failure.unwrap_or(0),
        enforcing_local_origin_failure: written.enforcing_consecutive_local_origin_failure.unwrap_or(100),
        check_ends_ejection: written.successful_active_health_check_uneject_host.unwrap_or(true),
        interval: or(written.interval, 10).max(Duration::from_millis(1)),
        base_ejection_time,
        ejection_time_max: or(written.max_ejection_time, 300).max(base_ejection_time),
        ejection_percent_max: written.max_ejection_percent.unwrap_or(10),
        always_eject_one: written.always_eject_one_host.unwrap_or(false),
    }
}
