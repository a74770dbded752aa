//! What health checks and outlier detection mean.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::tls;
use crate::config::bootstrap::cluster::{
    CheckCodec, GrpcHealthCheck, HealthCheck as Written, HealthCheckPayload, HttpHealthCheck, Int64Range,
    OutlierDetection as WrittenOutlier,
};
use crate::config::cluster::{ClusterProtocol, UpstreamProtocol};
use crate::config::constraints::{Positive, WholePercent};
use crate::config::health::{CheckVersion, FailurePercentage, HealthCheck, OutlierDetection, Probe, SuccessRate};
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
    let probe = match (&written.http_health_check, &written.tcp_health_check, &written.grpc_health_check) {
        (None, None, Some(grpc)) => grpc_probe(grpc, at, cluster, http2)?,
        (Some(http), None, None) => http_probe(http, at, cluster)?,
        (None, Some(tcp), None) => Probe::Tcp {
            send: tcp.send.as_ref().map(bytes).transpose()?.unwrap_or_default(),
            receive: tcp.receive.iter().map(bytes).collect::<Result<_, _>>()?,
        },
        _ => {
            return Err(
                at.invalid("a health check is one of http_health_check, tcp_health_check and grpc_health_check")
            );
        }
    };
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

fn grpc_probe(
    written: &At<GrpcHealthCheck>,
    check: &At<Written>,
    cluster: &str,
    http2: bool,
) -> Result<Probe, Problem> {
    let host = written.value.authority.as_ref().filter(|host| !host.value.is_empty());
    let is_visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(host) = host.filter(|host| !is_visible(&host.value)) {
        return Err(host.invalid("must be visible ASCII characters"));
    }
    if host.is_none() && !is_visible(cluster) {
        return Err(check.invalid_but(
            format!("the name of the cluster, {cluster:?}, would be the host of its health checks, and cannot be one"),
            "write grpc_health_check.authority",
        ));
    }
    if !http2 {
        return Err(written.invalid_but(
            format!("{cluster} cluster must support HTTP/2 for gRPC healthchecking"),
            "write explicit_http_config: {http2_protocol_options: {}} for the cluster",
        ));
    }
    Ok(Probe::Grpc { host: host.map(|host| host.value.clone()), service: written.value.service_name.clone() })
}

fn http_probe(written: &HttpHealthCheck, check: &At<Written>, cluster: &str) -> Result<Probe, Problem> {
    let is_visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let host = written.host.as_ref().filter(|host| !host.value.is_empty());
    for text in host.into_iter().chain([&written.path]) {
        if !is_visible(&text.value) {
            return Err(text.invalid("must be visible ASCII characters"));
        }
    }
    if host.is_none() && !is_visible(cluster) {
        return Err(check.invalid_but(
            format!("the name of the cluster, {cluster:?}, would be the host of its health checks, and cannot be one"),
            "write http_health_check.host",
        ));
    }
    let expected = ranges(&written.expected_statuses, "expected")?;
    Ok(Probe::Http {
        version: match written.codec_client_type {
            None | Some(CheckCodec::Http1) => CheckVersion::Http1,
            Some(CheckCodec::Http2) => CheckVersion::Http2,
        },
        host: host.map(|host| host.value.clone()),
        path: written.path.value.clone(),
        expected: if expected.is_empty() { vec![200..=200] } else { expected },
        retriable: ranges(&written.retriable_statuses, "retriable")?,
    })
}

/// Ranges of statuses; `kind` is Envoy's word for them. They end before their end.
fn ranges(written: &[At<Int64Range>], kind: &str) -> Result<Vec<RangeInclusive<u16>>, Problem> {
    let range = |at: &At<Int64Range>| {
        let Int64Range { start, end } = at.value;
        let broken = match (start, end) {
            (start, end) if start >= end => "start < end",
            (..100, _) => "start >= 100",
            (_, 601..) => "end <= 600",
            (_, _) => return Ok(start..=end - 1),
        };
        Err(at.invalid_but(
            format!("invalid http {kind} status range: expecting {broken}, but found start={start} and end={end}"),
            "the end is not part of the range: a single status, 200, is { start: 200, end: 201 }",
        ))
    };
    written.iter().map(range).collect()
}

/// Pairs of hexadecimal digits.
fn bytes(written: &HealthCheckPayload) -> Result<Vec<u8>, Problem> {
    let digits: Option<Vec<u32>> = written.text.value.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
    let Some(digits) = digits else { return Err(written.text.invalid("must be pairs of hexadecimal digits")) };
    let pair = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte * 16 + digit);
    Ok(digits.chunks(2).filter_map(|digits| u8::try_from(pair(digits)).ok()).collect())
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
        ejection_percent_max: percent(written.max_ejection_percent, 10),
        always_eject_one: written.always_eject_one_host.unwrap_or(false),
    })
}
