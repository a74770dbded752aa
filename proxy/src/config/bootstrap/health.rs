//! Health checks and outlier detection, as written.

use serde::Deserialize;

use super::filter::HeaderValueOption;
use super::proxy_protocol::ProxyProtocolVersion;
use super::{Address, StringMatcher};
use crate::config::constraints::{HeaderName, NonEmpty, Positive, WholePercent};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Tree};

/// `envoy.config.core.v3.HealthCheck`
#[derive(Debug, Deserialize)]
pub(crate) struct HealthCheck {
    pub(crate) grpc_health_check: Option<At<GrpcHealthCheck>>,
    pub(crate) healthy_edge_interval: Option<Positive>,
    pub(crate) healthy_threshold: u32,
    pub(crate) http_health_check: Option<HttpHealthCheck>,
    pub(crate) initial_jitter: Option<Seconds>,
    pub(crate) interval: Positive,
    pub(crate) interval_jitter: Option<Seconds>,
    pub(crate) interval_jitter_percent: Option<u32>,
    pub(crate) name: Option<String>,
    pub(crate) no_traffic_healthy_interval: Option<Positive>,
    pub(crate) no_traffic_interval: Option<Positive>,
    pub(crate) reuse_connection: Option<bool>,
    pub(crate) tcp_health_check: Option<TcpHealthCheck>,
    pub(crate) timeout: Positive,
    pub(crate) tls_options: Option<CheckTlsOptions>,
    pub(crate) transport_socket_match_criteria: Option<At<Tree>>,
    pub(crate) unhealthy_edge_interval: Option<Positive>,
    pub(crate) unhealthy_interval: Option<Positive>,
    pub(crate) unhealthy_threshold: u32,
}

/// `envoy.config.core.v3.HealthCheck.TlsOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct CheckTlsOptions {
    #[serde(default)]
    pub(crate) alpn_protocols: Vec<At<String>>,
}

/// `envoy.config.core.v3.HealthCheck.HttpHealthCheck`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpHealthCheck {
    pub(crate) codec_client_type: Option<CheckCodec>,
    #[serde(default)]
    pub(crate) expected_statuses: Vec<At<Int64Range>>,
    pub(crate) host: Option<At<String>>,
    pub(crate) method: Option<At<RequestMethod>>,
    pub(crate) path: At<String>,
    #[serde(default)]
    pub(crate) receive: Vec<HealthCheckPayload>,
    #[serde(default)]
    pub(crate) request_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) request_headers_to_remove: Vec<At<HeaderName>>,
    pub(crate) response_buffer_size: Option<u64>,
    #[serde(default)]
    pub(crate) retriable_statuses: Vec<At<Int64Range>>,
    pub(crate) send: Option<At<HealthCheckPayload>>,
    pub(crate) service_name_matcher: Option<At<StringMatcher>>,
}

/// `envoy.config.core.v3.HealthCheck.GrpcHealthCheck`
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcHealthCheck {
    pub(crate) authority: Option<At<String>>,
    #[serde(default)]
    pub(crate) initial_metadata: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) service_name: String,
}

/// `envoy.config.core.v3.RequestMethod`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum RequestMethod {
    #[serde(rename = "METHOD_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "HEAD")]
    Head,
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "DELETE")]
    Delete,
    #[serde(rename = "CONNECT")]
    Connect,
    #[serde(rename = "OPTIONS")]
    Options,
    #[serde(rename = "TRACE")]
    Trace,
    #[serde(rename = "PATCH")]
    Patch,
}

/// `envoy.type.v3.CodecClientType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum CheckCodec {
    #[serde(rename = "HTTP1")]
    Http1,
    #[serde(rename = "HTTP2")]
    Http2,
}

/// `envoy.type.v3.Int64Range`: the end is not in it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Int64Range {
    #[serde(default)]
    pub(crate) end: u16,
    #[serde(default)]
    pub(crate) start: u16,
}

/// `envoy.config.core.v3.HealthCheck.TcpHealthCheck`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpHealthCheck {
    pub(crate) proxy_protocol_config: Option<CheckProxyProtocol>,
    #[serde(default)]
    pub(crate) receive: Vec<HealthCheckPayload>,
    pub(crate) send: Option<HealthCheckPayload>,
}

/// `envoy.config.core.v3.HealthCheck.Payload`
#[derive(Debug, Deserialize)]
pub(crate) struct HealthCheckPayload {
    pub(crate) binary: Option<At<String>>,
    pub(crate) text: Option<At<NonEmpty>>,
}

/// `envoy.config.core.v3.ProxyProtocolConfig`, of a check
#[derive(Debug, Deserialize)]
pub(crate) struct CheckProxyProtocol {
    pub(crate) version: Option<ProxyProtocolVersion>,
}

/// `envoy.config.cluster.v3.OutlierDetection`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct OutlierDetection {
    pub(crate) always_eject_one_host: Option<bool>,
    pub(crate) base_ejection_time: Option<Positive>,
    pub(crate) consecutive_5xx: Option<u32>,
    pub(crate) consecutive_gateway_failure: Option<u32>,
    pub(crate) consecutive_local_origin_failure: Option<u32>,
    pub(crate) enforcing_consecutive_5xx: Option<WholePercent>,
    pub(crate) enforcing_consecutive_gateway_failure: Option<WholePercent>,
    pub(crate) enforcing_consecutive_local_origin_failure: Option<WholePercent>,
    pub(crate) enforcing_failure_percentage: Option<WholePercent>,
    pub(crate) enforcing_failure_percentage_local_origin: Option<WholePercent>,
    pub(crate) enforcing_local_origin_success_rate: Option<WholePercent>,
    pub(crate) enforcing_success_rate: Option<WholePercent>,
    pub(crate) failure_percentage_minimum_hosts: Option<u32>,
    pub(crate) failure_percentage_request_volume: Option<u32>,
    pub(crate) failure_percentage_threshold: Option<WholePercent>,
    pub(crate) interval: Option<Positive>,
    pub(crate) max_ejection_percent: Option<WholePercent>,
    pub(crate) max_ejection_time: Option<Positive>,
    pub(crate) max_ejection_time_jitter: Option<Seconds>,
    pub(crate) split_external_local_origin_errors: Option<bool>,
    pub(crate) success_rate_minimum_hosts: Option<u32>,
    pub(crate) success_rate_request_volume: Option<u32>,
    pub(crate) success_rate_stdev_factor: Option<u32>,
    pub(crate) successful_active_health_check_uneject_host: Option<bool>,
}

/// `envoy.config.endpoint.v3.Endpoint.HealthCheckConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct HealthCheckConfig {
    pub(crate) address: Option<At<Address>>,
    #[serde(default)]
    pub(crate) disable_active_health_check: bool,
    pub(crate) hostname: Option<At<String>>,
    pub(crate) port_value: Option<At<u32>>,
}
