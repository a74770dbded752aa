//! Envoy's configuration, message for message and field for field, as far as finwait acts on it.
//!
//! A struct has the name of Envoy's message, because [`unsupported`](super::unsupported) knows it by that name; its
//! fields have Envoy's names and no defaults of their own. Fields that are not here are looked up there, and refused if
//! they are unknown there too. What is written here is given a meaning by [`interpret`](super::interpret).

pub(crate) mod access_log;
pub(crate) mod aggregate;
pub(crate) mod balancing;
pub(crate) mod cluster;
pub(crate) mod compression;
pub(crate) mod entry_log;
pub(crate) mod ext_authz;
pub(crate) mod fault;
pub(crate) mod filter;
pub(crate) mod filter_state;
pub(crate) mod format_string;
pub(crate) mod forward_proxy;
pub(crate) mod grpc_service;
pub(crate) mod header_to_metadata;
pub(crate) mod health;
pub(crate) mod jwt_authn;
pub(crate) mod listener;
pub(crate) mod lua;
pub(crate) mod matchers;
pub(crate) mod metadata;
pub(crate) mod network_filter;
pub(crate) mod policies;
pub(crate) mod proxy_protocol;
pub(crate) mod rate_limit;
pub(crate) mod resolver;
pub(crate) mod route;
pub(crate) mod route_match;
pub(crate) mod rule_tree;
pub(crate) mod secret;
pub(crate) mod socket_option;
pub(crate) mod source;
pub(crate) mod stats;
pub(crate) mod tcp_proxy;
pub(crate) mod tls;
pub(crate) mod tracing;

use serde::Deserialize;

use balancing::Locality;

use super::constraints::{HeaderName, NonEmpty, OneLine, PercentValue};
use super::units::Seconds;
use super::yaml::{At, Tree};

/// `envoy.config.bootstrap.v3.Bootstrap`
#[derive(Debug, Deserialize)]
pub(crate) struct Bootstrap {
    pub(crate) admin: Option<Admin>,
    #[serde(default)]
    pub(crate) bootstrap_extensions: Vec<At<BootstrapExtension>>,
    pub(crate) cluster_manager: Option<ClusterManager>,
    #[expect(dead_code, reason = "values of any shape: `interpret` reads them from the tree")]
    pub(crate) layered_runtime: Option<serde::de::IgnoredAny>,
    pub(crate) node: Option<Node>,
    pub(crate) overload_manager: Option<OverloadManager>,
    pub(crate) static_resources: Option<StaticResources>,
    pub(crate) stats_config: Option<stats::StatsConfig>,
    pub(crate) tracing: Option<tracing::Tracing>,
    pub(crate) typed_dns_resolver_config: Option<resolver::TypedDnsResolver>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of the process
#[derive(Debug, Deserialize)]
pub(crate) struct BootstrapExtension {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: BootstrapExtensionConfig,
}

/// The bootstrap extensions there are.
#[derive(Debug, Deserialize)]
pub(crate) enum BootstrapExtensionConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener")]
    InternalListener(InternalListener),
}

/// `envoy.extensions.bootstrap.internal_listener.v3.InternalListener`
#[derive(Debug, Deserialize)]
pub(crate) struct InternalListener {
    pub(crate) buffer_size_kb: Option<At<u32>>,
}

/// `envoy.config.bootstrap.v3.ClusterManager`
#[derive(Debug, Deserialize)]
pub(crate) struct ClusterManager {
    pub(crate) local_cluster_name: Option<At<String>>,
}

/// `envoy.config.core.v3.Node`
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) cluster: Option<At<String>>,
    pub(crate) id: Option<At<String>>,
    pub(crate) locality: Option<Locality>,
    pub(crate) metadata: Option<At<Tree>>,
}

/// `envoy.config.overload.v3.OverloadManager`
#[derive(Debug, Deserialize)]
pub(crate) struct OverloadManager {
    pub(crate) resource_monitors: Vec<At<ResourceMonitor>>,
}

/// `envoy.config.overload.v3.ResourceMonitor`
#[derive(Debug, Deserialize)]
pub(crate) struct ResourceMonitor {
    pub(crate) name: At<String>,
    pub(crate) typed_config: ResourceMonitorConfig,
}

/// The resource monitors there are.
#[derive(Debug, Deserialize)]
pub(crate) enum ResourceMonitorConfig {
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    )]
    DownstreamConnections(DownstreamConnectionsConfig),
}

/// `envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct DownstreamConnectionsConfig {
    pub(crate) max_active_downstream_connections: At<i64>,
}

/// `envoy.config.bootstrap.v3.Admin`
#[derive(Debug, Deserialize)]
pub(crate) struct Admin {
    pub(crate) address: Option<At<Address>>,
}

/// `envoy.config.bootstrap.v3.Bootstrap.StaticResources`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StaticResources {
    #[serde(default)]
    pub(crate) listeners: Vec<At<listener::Listener>>,
    #[serde(default)]
    pub(crate) clusters: Vec<At<cluster::Cluster>>,
    #[serde(default)]
    pub(crate) secrets: Vec<At<secret::Secret>>,
}

/// `envoy.config.core.v3.Address`
#[derive(Debug, Deserialize)]
pub(crate) struct Address {
    pub(crate) envoy_internal_address: Option<At<EnvoyInternalAddress>>,
    pub(crate) pipe: Option<Pipe>,
    pub(crate) socket_address: Option<SocketAddress>,
}

/// `envoy.config.core.v3.EnvoyInternalAddress`
#[derive(Debug, Deserialize)]
pub(crate) struct EnvoyInternalAddress {
    #[serde(default)]
    pub(crate) endpoint_id: String,
    pub(crate) server_listener_name: String,
}

/// `envoy.config.core.v3.CidrRange`
#[derive(Debug, Deserialize)]
pub(crate) struct CidrRange {
    pub(crate) address_prefix: String,
    pub(crate) prefix_len: Option<u32>,
}

/// `envoy.config.core.v3.Pipe`
#[derive(Debug, Deserialize)]
pub(crate) struct Pipe {
    pub(crate) mode: Option<At<u32>>,
    pub(crate) path: At<NonEmpty>,
}

/// `envoy.config.core.v3.SocketAddress`
#[derive(Debug, Deserialize)]
pub(crate) struct SocketAddress {
    pub(crate) address: At<String>,
    /// Of a socket that listens; as in Envoy it has no effect on others.
    pub(crate) ipv4_compat: Option<At<bool>>,
    pub(crate) port_value: u16,
    #[expect(dead_code, reason = "TCP is the only value there is; having read it is the check")]
    pub(crate) protocol: Option<Protocol>,
}

/// `envoy.config.core.v3.SocketAddress.Protocol`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum Protocol {
    #[serde(rename = "TCP")]
    Tcp,
}

/// `envoy.config.core.v3.Http1ProtocolOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct Http1ProtocolOptions {
    #[serde(default)]
    pub(crate) accept_http_10: bool,
    #[serde(default)]
    pub(crate) allow_custom_methods: bool,
    pub(crate) default_host_for_http_10: Option<At<String>>,
    #[serde(default)]
    pub(crate) enable_trailers: bool,
    pub(crate) header_key_format: Option<At<HeaderKeyFormat>>,
    #[serde(default)]
    pub(crate) ignore_http_11_upgrade: Vec<At<StringMatcher>>,
}

/// `envoy.config.core.v3.DataSource`
#[derive(Debug, Deserialize)]
pub(crate) struct DataSource {
    pub(crate) environment_variable: Option<At<NonEmpty>>,
    pub(crate) filename: Option<At<NonEmpty>>,
    pub(crate) inline_bytes: Option<At<String>>,
    pub(crate) inline_string: Option<At<String>>,
}

/// `envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderKeyFormat {
    pub(crate) proper_case_words: Option<ProperCaseWords>,
    pub(crate) stateful_formatter: Option<StatefulFormatter>,
}

/// `envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords`
#[derive(Debug, Deserialize)]
pub(crate) struct ProperCaseWords {}

/// `envoy.config.core.v3.TypedExtensionConfig` of a formatter of header names
#[derive(Debug, Deserialize)]
pub(crate) struct StatefulFormatter {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    #[expect(dead_code, reason = "there is one formatter; having read it is the check")]
    pub(crate) typed_config: HeaderFormatter,
}

/// The formatters of header names there are.
#[derive(Debug, Deserialize)]
pub(crate) enum HeaderFormatter {
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
    )]
    PreserveCase(PreserveCaseFormatterConfig),
}

/// `envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct PreserveCaseFormatterConfig {}

/// `envoy.type.matcher.v3.StringMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct StringMatcher {
    pub(crate) contains: Option<At<NonEmpty>>,
    pub(crate) exact: Option<At<String>>,
    pub(crate) ignore_case: Option<bool>,
    pub(crate) prefix: Option<At<NonEmpty>>,
    pub(crate) safe_regex: Option<matchers::RegexMatcher>,
    pub(crate) suffix: Option<At<NonEmpty>>,
}

/// `envoy.config.core.v3.HeaderValue`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderValue {
    pub(crate) key: At<HeaderName>,
    pub(crate) value: Option<At<OneLine>>,
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`
#[derive(Debug, Deserialize)]
pub(crate) struct RuntimeFractionalPercent {
    pub(crate) default_value: FractionalPercent,
    #[serde(default)]
    pub(crate) runtime_key: String,
}

/// `envoy.type.v3.Percent`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Percent {
    #[serde(default)]
    pub(crate) value: PercentValue,
}

/// `envoy.type.v3.FractionalPercent`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct FractionalPercent {
    #[serde(default)]
    pub(crate) numerator: u32,
    pub(crate) denominator: Option<DenominatorType>,
}

/// `envoy.type.v3.FractionalPercent.DenominatorType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum DenominatorType {
    #[serde(rename = "HUNDRED")]
    Hundred,
    #[serde(rename = "TEN_THOUSAND")]
    TenThousand,
    #[serde(rename = "MILLION")]
    Million,
}

/// `envoy.config.core.v3.Http2ProtocolOptions`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Http2ProtocolOptions {
    pub(crate) allow_connect: Option<At<bool>>,
    pub(crate) connection_keepalive: Option<At<KeepaliveSettings>>,
    pub(crate) hpack_table_size: Option<u32>,
    pub(crate) initial_connection_window_size: Option<At<u32>>,
    pub(crate) initial_stream_window_size: Option<At<u32>>,
    pub(crate) max_concurrent_streams: Option<At<u32>>,
    pub(crate) max_consecutive_inbound_frames_with_empty_payload: Option<u32>,
    pub(crate) max_inbound_priority_frames_per_stream: Option<u32>,
    pub(crate) max_inbound_window_update_frames_per_data_frame_sent: Option<At<u32>>,
}

/// `envoy.config.core.v3.KeepaliveSettings`
#[derive(Debug, Deserialize)]
pub(crate) struct KeepaliveSettings {
    pub(crate) connection_idle_interval: Option<At<Seconds>>,
    pub(crate) interval: Option<At<Seconds>>,
    pub(crate) interval_jitter: Option<Percent>,
    pub(crate) timeout: At<Seconds>,
}
