//! Clusters, as written.

use serde::Deserialize;

use super::aggregate::CustomClusterType;
use super::balancing::{
    AssignmentPolicy, CommonLbConfig, HealthStatus, LbPolicy, LbSubsetConfig, LeastRequestLbConfig,
    LoadBalancingPolicy, Locality, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
};
use super::health::{HealthCheck, HealthCheckConfig, OutlierDetection};
use super::metadata::Metadata;
use super::resolver::{DnsLookupFamily, RefreshRate, TypedDnsResolver};
use super::socket_option::{SocketOption, TcpKeepalive};
use super::source::ConfigSource;
use super::tls::TransportSocket;
use super::{Address, HeaderKeyFormat, Http2ProtocolOptions, Percent, SocketAddress};
use crate::config::constraints::{AtLeastOne, LongerThan, NonEmpty, Positive};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Tree};

/// `envoy.config.cluster.v3.Cluster`
#[derive(Debug, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) metadata: Option<At<Metadata>>,
    pub(crate) name: At<String>,
    pub(crate) alt_stat_name: Option<String>,
    pub(crate) circuit_breakers: Option<CircuitBreakers>,
    pub(crate) cleanup_interval: Option<Positive>,
    pub(crate) cluster_type: Option<At<CustomClusterType>>,
    pub(crate) common_http_protocol_options: Option<At<UpstreamHttpProtocolOptions>>,
    pub(crate) common_lb_config: Option<CommonLbConfig>,
    pub(crate) connect_timeout: Option<Positive>,
    #[serde(default)]
    pub(crate) connection_pool_per_downstream_connection: bool,
    pub(crate) dns_failure_refresh_rate: Option<At<RefreshRate>>,
    pub(crate) dns_jitter: Option<Seconds>,
    pub(crate) dns_lookup_family: Option<DnsLookupFamily>,
    pub(crate) dns_refresh_rate: Option<LongerThan<1_000_000>>,
    pub(crate) eds_cluster_config: Option<At<EdsClusterConfig>>,
    #[serde(default)]
    pub(crate) health_checks: Vec<At<HealthCheck>>,
    pub(crate) http_protocol_options: Option<At<UpstreamHttp1ProtocolOptions>>,
    pub(crate) http2_protocol_options: Option<At<Http2ProtocolOptions>>,
    #[serde(default)]
    pub(crate) ignore_health_on_host_removal: bool,
    pub(crate) lb_policy: Option<At<LbPolicy>>,
    pub(crate) lb_subset_config: Option<At<LbSubsetConfig>>,
    pub(crate) least_request_lb_config: Option<At<LeastRequestLbConfig>>,
    pub(crate) load_assignment: Option<At<ClusterLoadAssignment>>,
    pub(crate) load_balancing_policy: Option<At<LoadBalancingPolicy>>,
    pub(crate) maglev_lb_config: Option<At<MaglevLbConfig>>,
    pub(crate) max_requests_per_connection: Option<At<u32>>,
    pub(crate) original_dst_lb_config: Option<At<OriginalDstLbConfig>>,
    pub(crate) outlier_detection: Option<At<OutlierDetection>>,
    pub(crate) per_connection_buffer_limit_bytes: Option<At<u32>>,
    pub(crate) preconnect_policy: Option<PreconnectPolicy>,
    pub(crate) protocol_selection: Option<ProtocolSelection>,
    pub(crate) ring_hash_lb_config: Option<At<RingHashLbConfig>>,
    pub(crate) round_robin_lb_config: Option<At<RoundRobinLbConfig>>,
    pub(crate) r#type: Option<DiscoveryType>,
    pub(crate) transport_socket: Option<At<TransportSocket>>,
    pub(crate) track_cluster_stats: Option<TrackClusterStats>,
    pub(crate) track_timeout_budgets: Option<At<bool>>,
    #[serde(default)]
    pub(crate) transport_socket_matches: Vec<At<TransportSocketMatch>>,
    pub(crate) typed_dns_resolver_config: Option<TypedDnsResolver>,
    pub(crate) typed_extension_protocol_options: Option<TypedExtensionProtocolOptions>,
    pub(crate) upstream_bind_config: Option<BindConfig>,
    pub(crate) upstream_connection_options: Option<UpstreamConnectionOptions>,
}

/// `envoy.config.cluster.v3.Cluster.EdsClusterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct EdsClusterConfig {
    pub(crate) eds_config: Option<At<ConfigSource>>,
    #[serde(default)]
    pub(crate) service_name: String,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`, as a file of endpoints has it
#[derive(Debug, Deserialize)]
pub(crate) struct AssignmentResponse {
    #[serde(default)]
    pub(crate) resources: Vec<At<AssignmentResource>>,
    #[serde(default)]
    pub(crate) version_info: String,
}

/// The resources that such a file may hold.
#[derive(Debug, Deserialize)]
pub(crate) enum AssignmentResource {
    #[serde(rename = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment")]
    Assignment(Box<ClusterLoadAssignment>),
}

/// `envoy.config.cluster.v3.Cluster.OriginalDstLbConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct OriginalDstLbConfig {
    pub(crate) http_header_name: Option<At<String>>,
    pub(crate) upstream_port_override: Option<u16>,
    #[serde(default)]
    pub(crate) use_http_header: bool,
}

/// `envoy.config.cluster.v3.TrackClusterStats`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct TrackClusterStats {
    #[serde(default)]
    pub(crate) per_endpoint_stats: bool,
    #[serde(default)]
    pub(crate) request_response_sizes: bool,
    #[serde(default)]
    pub(crate) timeout_budgets: bool,
}

/// `envoy.config.cluster.v3.Cluster.TransportSocketMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct TransportSocketMatch {
    pub(crate) r#match: Option<At<Tree>>,
    pub(crate) name: NonEmpty,
    pub(crate) transport_socket: At<TransportSocket>,
}

/// `envoy.config.core.v3.BindConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct BindConfig {
    pub(crate) freebind: Option<bool>,
    #[serde(default)]
    pub(crate) socket_options: Vec<At<SocketOption>>,
    pub(crate) source_address: Option<SocketAddress>,
}

/// `envoy.config.cluster.v3.Cluster.PreconnectPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct PreconnectPolicy {
    pub(crate) per_upstream_preconnect_ratio: Option<At<f64>>,
    pub(crate) predictive_preconnect_ratio: Option<At<f64>>,
}

/// `envoy.config.cluster.v3.UpstreamConnectionOptions`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct UpstreamConnectionOptions {
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
}

/// `envoy.config.cluster.v3.Cluster.DiscoveryType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum DiscoveryType {
    #[serde(rename = "STATIC")]
    Static,
    #[serde(rename = "STRICT_DNS")]
    StrictDns,
    #[serde(rename = "LOGICAL_DNS")]
    LogicalDns,
    #[serde(rename = "EDS")]
    Eds,
    #[serde(rename = "ORIGINAL_DST")]
    OriginalDst,
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`
#[derive(Debug, Deserialize)]
pub(crate) struct ClusterLoadAssignment {
    pub(crate) cluster_name: NonEmpty,
    #[serde(default)]
    pub(crate) endpoints: Vec<LocalityLbEndpoints>,
    pub(crate) policy: Option<AssignmentPolicy>,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`
#[derive(Debug, Deserialize)]
pub(crate) struct LocalityLbEndpoints {
    #[serde(default)]
    pub(crate) lb_endpoints: Vec<LbEndpoint>,
    pub(crate) load_balancing_weight: Option<AtLeastOne>,
    pub(crate) locality: Option<Locality>,
    pub(crate) metadata: Option<At<Metadata>>,
    pub(crate) priority: Option<At<u32>>,
}

/// `envoy.config.endpoint.v3.LbEndpoint`
#[derive(Debug, Deserialize)]
pub(crate) struct LbEndpoint {
    pub(crate) endpoint: Endpoint,
    pub(crate) health_status: Option<HealthStatus>,
    pub(crate) load_balancing_weight: Option<AtLeastOne>,
    pub(crate) metadata: Option<At<Metadata>>,
}

/// `envoy.config.endpoint.v3.Endpoint`
#[derive(Debug, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) address: At<Address>,
    pub(crate) health_check_config: Option<HealthCheckConfig>,
    pub(crate) hostname: Option<At<String>>,
}

/// `envoy.config.cluster.v3.CircuitBreakers`
#[derive(Debug, Deserialize)]
pub(crate) struct CircuitBreakers {
    #[serde(default)]
    pub(crate) per_host_thresholds: Vec<At<PerHostThresholds>>,
    #[serde(default)]
    pub(crate) thresholds: Vec<Thresholds>,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`, of single endpoints: Envoy takes no other fields there
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct PerHostThresholds {
    pub(crate) max_connections: Option<u32>,
    pub(crate) priority: Option<RoutingPriority>,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Thresholds {
    pub(crate) max_connection_pools: Option<u32>,
    pub(crate) max_connections: Option<u32>,
    pub(crate) max_pending_requests: Option<u32>,
    pub(crate) max_requests: Option<u32>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) retry_budget: Option<RetryBudget>,
    pub(crate) track_remaining: Option<bool>,
    pub(crate) priority: Option<RoutingPriority>,
}

/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct RetryBudget {
    pub(crate) budget_interval: Option<Seconds>,
    pub(crate) budget_percent: Option<Percent>,
    pub(crate) min_retry_concurrency: Option<u32>,
}

/// `envoy.config.core.v3.RoutingPriority`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum RoutingPriority {
    #[serde(rename = "DEFAULT")]
    Default,
    #[serde(rename = "HIGH")]
    High,
}

/// The extensions that take options of a cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct TypedExtensionProtocolOptions {
    #[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions")]
    pub(crate) http: Option<TypedHttpProtocolOptions>,
}

/// What may stand under the name of the HTTP options.
#[derive(Debug, Deserialize)]
pub(crate) enum TypedHttpProtocolOptions {
    #[serde(rename = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions")]
    Http(At<HttpProtocolOptions>),
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpProtocolOptions {
    pub(crate) auto_config: Option<At<AutoHttpConfig>>,
    pub(crate) common_http_protocol_options: Option<UpstreamHttpProtocolOptions>,
    pub(crate) explicit_http_config: Option<At<ExplicitHttpConfig>>,
    pub(crate) upstream_http_protocol_options: Option<UpstreamNameOptions>,
    pub(crate) use_downstream_protocol_config: Option<At<UseDownstreamHttpConfig>>,
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct UseDownstreamHttpConfig {
    pub(crate) http_protocol_options: Option<UpstreamHttp1ProtocolOptions>,
    pub(crate) http2_protocol_options: Option<Http2ProtocolOptions>,
}

/// `envoy.config.cluster.v3.Cluster.ClusterProtocolSelection`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum ProtocolSelection {
    #[serde(rename = "USE_CONFIGURED_PROTOCOL")]
    Configured,
    #[serde(rename = "USE_DOWNSTREAM_PROTOCOL")]
    OfClient,
}

/// `envoy.config.core.v3.UpstreamHttpProtocolOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct UpstreamNameOptions {
    #[serde(default)]
    pub(crate) auto_san_validation: bool,
    #[serde(default)]
    pub(crate) auto_sni: bool,
    pub(crate) override_auto_sni_header: Option<At<String>>,
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct AutoHttpConfig {
    pub(crate) http_protocol_options: Option<UpstreamHttp1ProtocolOptions>,
    pub(crate) http2_protocol_options: Option<Http2ProtocolOptions>,
}

/// `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ExplicitHttpConfig {
    pub(crate) http_protocol_options: Option<UpstreamHttp1ProtocolOptions>,
    pub(crate) http2_protocol_options: Option<Http2ProtocolOptions>,
}

/// `envoy.config.core.v3.Http1ProtocolOptions`, towards a cluster
#[derive(Debug, Deserialize)]
pub(crate) struct UpstreamHttp1ProtocolOptions {
    #[serde(default)]
    pub(crate) enable_trailers: bool,
    pub(crate) header_key_format: Option<At<HeaderKeyFormat>>,
}

/// `envoy.config.core.v3.HttpProtocolOptions`, towards a cluster
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct UpstreamHttpProtocolOptions {
    pub(crate) idle_timeout: Option<Seconds>,
    pub(crate) max_connection_duration: Option<Seconds>,
    pub(crate) max_requests_per_connection: Option<u32>,
    pub(crate) max_stream_duration: Option<Seconds>,
}
