//! Listeners, connection managers and filters, as written.

use serde::Deserialize;

use super::access_log::{AccessLog, AccessLogFilter};
use super::filter::{HeaderValueOption, HttpFilter};
use super::filter_state::NetworkSetFilterState;
use super::format_string::SubstitutionFormatString;
use super::network_filter::{ConnectionLimit, NetworkRateLimit, NetworkRbac};
use super::proxy_protocol::ProxyProtocol;
use super::route::{RouteConfiguration, UpgradeConfig};
use super::socket_option::{SocketOption, SocketOptionsOverride, TcpKeepalive};
use super::tcp_proxy::{BELOW_A_MILLISECOND, TcpProxy};
use super::tls::TransportSocket;
use super::tracing::HcmTracing;
use super::{Address, CidrRange, DataSource, Http1ProtocolOptions, Http2ProtocolOptions};
use crate::config::constraints::{HeaderText, LongerThan, NonEmpty, Port};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.config.listener.v3.Listener`
#[derive(Debug, Deserialize)]
pub(crate) struct Listener {
    #[serde(default)]
    pub(crate) access_log: Vec<AccessLog>,
    #[serde(default)]
    pub(crate) additional_addresses: Vec<At<AdditionalAddress>>,
    pub(crate) name: Option<String>,
    pub(crate) address: Option<At<Address>>,
    pub(crate) connection_balance_config: Option<At<ConnectionBalanceConfig>>,
    pub(crate) continue_on_listener_filters_timeout: Option<bool>,
    pub(crate) default_filter_chain: Option<At<FilterChain>>,
    pub(crate) enable_reuse_port: Option<At<bool>>,
    pub(crate) freebind: Option<At<bool>>,
    #[serde(default)]
    pub(crate) filter_chains: Vec<At<FilterChain>>,
    pub(crate) ignore_global_conn_limit: Option<bool>,
    pub(crate) internal_listener: Option<At<InternalListenerConfig>>,
    #[serde(default)]
    pub(crate) listener_filters: Vec<At<ListenerFilter>>,
    pub(crate) listener_filters_timeout: Option<Seconds>,
    pub(crate) per_connection_buffer_limit_bytes: Option<At<u32>>,
    #[serde(default)]
    pub(crate) socket_options: Vec<At<SocketOption>>,
    pub(crate) stat_prefix: Option<String>,
    pub(crate) tcp_backlog_size: Option<At<u32>>,
    pub(crate) tcp_keepalive: Option<At<TcpKeepalive>>,
    pub(crate) traffic_direction: Option<TrafficDirection>,
    pub(crate) transparent: Option<At<bool>>,
}

/// `envoy.config.listener.v3.AdditionalAddress`
#[derive(Debug, Deserialize)]
pub(crate) struct AdditionalAddress {
    pub(crate) address: At<Address>,
    pub(crate) socket_options: Option<SocketOptionsOverride>,
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
}

/// `envoy.config.listener.v3.Listener.ConnectionBalanceConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ConnectionBalanceConfig {
    pub(crate) exact_balance: Option<ExactBalance>,
}

/// `envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance`
#[derive(Debug, Deserialize)]
pub(crate) struct ExactBalance {}

/// `envoy.config.listener.v3.Listener.InternalListenerConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct InternalListenerConfig {}

/// `envoy.config.listener.v3.ListenerFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct ListenerFilter {
    #[expect(dead_code, reason = "the type says which filter is meant; without a name Envoy refuses the file")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: At<ListenerFilterConfig>,
}

/// The listener filters there are.
#[derive(Debug, Deserialize)]
pub(crate) enum ListenerFilterConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")]
    HttpInspector(HttpInspector),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst")]
    OriginalDst(OriginalDst),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")]
    ProxyProtocol(ProxyProtocol),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")]
    TlsInspector(TlsInspector),
}

/// `envoy.extensions.filters.listener.http_inspector.v3.HttpInspector`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpInspector {}

/// `envoy.extensions.filters.listener.original_dst.v3.OriginalDst`
#[derive(Debug, Deserialize)]
pub(crate) struct OriginalDst {}

/// `envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector`
#[derive(Debug, Deserialize)]
pub(crate) struct TlsInspector {
    #[serde(default)]
    pub(crate) enable_ja3_fingerprinting: bool,
    #[serde(default)]
    pub(crate) enable_ja4_fingerprinting: bool,
}

/// `envoy.config.core.v3.TrafficDirection`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum TrafficDirection {
    #[serde(rename = "INBOUND")]
    Inbound,
    #[serde(rename = "OUTBOUND")]
    Outbound,
    #[serde(rename = "UNSPECIFIED")]
    Unspecified,
}

/// `envoy.config.listener.v3.FilterChain`
#[derive(Debug, Deserialize)]
pub(crate) struct FilterChain {
    pub(crate) filter_chain_match: Option<At<FilterChainMatch>>,
    #[serde(default)]
    pub(crate) filters: Vec<At<Filter>>,
    pub(crate) name: Option<String>,
    pub(crate) transport_socket: Option<At<TransportSocket>>,
    pub(crate) transport_socket_connect_timeout: Option<Seconds>,
}

/// `envoy.config.listener.v3.FilterChainMatch`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct FilterChainMatch {
    pub(crate) destination_port: Option<Port>,
    #[serde(default)]
    pub(crate) application_protocols: Vec<String>,
    #[serde(default)]
    pub(crate) direct_source_prefix_ranges: Vec<At<CidrRange>>,
    #[serde(default)]
    pub(crate) prefix_ranges: Vec<At<CidrRange>>,
    #[serde(default)]
    pub(crate) server_names: Vec<At<String>>,
    #[serde(default)]
    pub(crate) source_ports: Vec<Port>,
    #[serde(default)]
    pub(crate) source_prefix_ranges: Vec<At<CidrRange>>,
    pub(crate) source_type: Option<ConnectionSourceType>,
    pub(crate) transport_protocol: Option<At<String>>,
}

/// `FilterChainMatch.ConnectionSourceType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ConnectionSourceType {
    #[serde(rename = "ANY")]
    Any,
    #[serde(rename = "SAME_IP_OR_LOOPBACK")]
    SameIpOrLoopback,
    #[serde(rename = "EXTERNAL")]
    External,
}

/// `envoy.config.listener.v3.Filter`
#[derive(Debug, Deserialize)]
pub(crate) struct Filter {
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: At<NetworkFilter>,
}

/// The network filters there are.
#[derive(Debug, Deserialize)]
pub(crate) enum NetworkFilter {
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )]
    HttpConnectionManager(Box<HttpConnectionManager>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit")]
    ConnectionLimit(ConnectionLimit),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit")]
    RateLimit(NetworkRateLimit),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC")]
    Rbac(NetworkRbac),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config")]
    SetFilterState(NetworkSetFilterState),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")]
    TcpProxy(Box<TcpProxy>),
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpConnectionManager {
    #[serde(default)]
    pub(crate) access_log: Vec<AccessLog>,
    pub(crate) access_log_flush_interval: Option<At<LongerThan<BELOW_A_MILLISECOND>>>,
    pub(crate) access_log_options: Option<HcmAccessLogOptions>,
    pub(crate) add_user_agent: Option<bool>,
    pub(crate) always_set_request_id_in_response: Option<bool>,
    #[serde(default)]
    pub(crate) append_x_forwarded_port: bool,
    pub(crate) codec_type: Option<CodecType>,
    pub(crate) common_http_protocol_options: Option<DownstreamHttpProtocolOptions>,
    pub(crate) delayed_close_timeout: Option<Seconds>,
    pub(crate) drain_timeout: Option<Seconds>,
    pub(crate) flush_access_log_on_new_request: Option<At<bool>>,
    pub(crate) forward_client_cert_details: Option<ForwardClientCertDetails>,
    pub(crate) generate_request_id: Option<bool>,
    #[serde(default)]
    pub(crate) http_filters: Vec<At<HttpFilter>>,
    pub(crate) http1_safe_max_connection_duration: Option<bool>,
    pub(crate) http_protocol_options: Option<Http1ProtocolOptions>,
    pub(crate) http2_protocol_options: Option<Http2ProtocolOptions>,
    pub(crate) internal_address_config: Option<InternalAddressConfig>,
    pub(crate) local_reply_config: Option<LocalReplyConfig>,
    pub(crate) max_request_headers_kb: Option<At<u32>>,
    #[serde(default)]
    pub(crate) merge_slashes: bool,
    #[serde(default)]
    pub(crate) normalize_path: bool,
    pub(crate) path_with_escaped_slashes_action: Option<PathWithEscapedSlashesAction>,
    pub(crate) preserve_external_request_id: Option<bool>,
    pub(crate) proxy_100_continue: Option<bool>,
    pub(crate) request_headers_timeout: Option<Seconds>,
    pub(crate) request_timeout: Option<Seconds>,
    pub(crate) route_config: At<RouteConfiguration>,
    pub(crate) scheme_header_transformation: Option<SchemeHeaderTransformation>,
    pub(crate) server_header_transformation: Option<ServerHeaderTransformation>,
    pub(crate) server_name: Option<HeaderText>,
    pub(crate) set_current_client_cert_details: Option<SetCurrentClientCertDetails>,
    pub(crate) skip_xff_append: Option<bool>,
    pub(crate) stat_prefix: NonEmpty,
    pub(crate) stream_flush_timeout: Option<Seconds>,
    pub(crate) stream_idle_timeout: Option<Seconds>,
    #[serde(default)]
    pub(crate) strip_any_host_port: bool,
    pub(crate) strip_matching_host_port: Option<At<bool>>,
    #[serde(default)]
    pub(crate) strip_trailing_host_dot: bool,
    pub(crate) tracing: Option<HcmTracing>,
    #[serde(default)]
    pub(crate) upgrade_configs: Vec<At<UpgradeConfig>>,
    pub(crate) use_remote_address: Option<bool>,
    pub(crate) via: Option<HeaderText>,
    pub(crate) xff_num_trusted_hops: Option<u32>,
}

/// `envoy.config.core.v3.SchemeHeaderTransformation`
#[derive(Debug, Deserialize)]
pub(crate) struct SchemeHeaderTransformation {
    #[serde(default)]
    pub(crate) match_upstream: bool,
    pub(crate) scheme_to_overwrite: Option<At<String>>,
}

/// `HttpConnectionManager.PathWithEscapedSlashesAction`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum PathWithEscapedSlashesAction {
    #[serde(rename = "IMPLEMENTATION_SPECIFIC_DEFAULT")]
    ImplementationSpecificDefault,
    #[serde(rename = "KEEP_UNCHANGED")]
    KeepUnchanged,
    #[serde(rename = "REJECT_REQUEST")]
    RejectRequest,
    #[serde(rename = "UNESCAPE_AND_REDIRECT")]
    UnescapeAndRedirect,
    #[serde(rename = "UNESCAPE_AND_FORWARD")]
    UnescapeAndForward,
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct LocalReplyConfig {
    pub(crate) body_format: Option<At<SubstitutionFormatString>>,
    #[serde(default)]
    pub(crate) mappers: Vec<At<ResponseMapper>>,
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper`
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseMapper {
    pub(crate) body: Option<At<DataSource>>,
    pub(crate) body_format_override: Option<At<SubstitutionFormatString>>,
    pub(crate) filter: At<AccessLogFilter>,
    #[serde(default)]
    pub(crate) headers_to_add: Vec<At<HeaderValueOption>>,
    pub(crate) status_code: Option<At<u32>>,
}

/// `HttpConnectionManager.HcmAccessLogOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct HcmAccessLogOptions {
    pub(crate) access_log_flush_interval: Option<LongerThan<BELOW_A_MILLISECOND>>,
    #[serde(default)]
    pub(crate) flush_access_log_on_new_request: bool,
    #[serde(default)]
    pub(crate) flush_log_on_tunnel_successfully_established: bool,
}

/// `HttpConnectionManager.ForwardClientCertDetails`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ForwardClientCertDetails {
    #[serde(rename = "SANITIZE")]
    Sanitize,
    #[serde(rename = "FORWARD_ONLY")]
    ForwardOnly,
    #[serde(rename = "APPEND_FORWARD")]
    AppendForward,
    #[serde(rename = "SANITIZE_SET")]
    SanitizeSet,
    #[serde(rename = "ALWAYS_FORWARD_ONLY")]
    AlwaysForwardOnly,
}

/// `HttpConnectionManager.SetCurrentClientCertDetails`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct SetCurrentClientCertDetails {
    pub(crate) cert: Option<bool>,
    pub(crate) chain: Option<bool>,
    pub(crate) dns: Option<bool>,
    pub(crate) subject: Option<bool>,
    pub(crate) uri: Option<bool>,
}

/// `HttpConnectionManager.InternalAddressConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct InternalAddressConfig {
    #[serde(default)]
    pub(crate) cidr_ranges: Vec<At<CidrRange>>,
    #[expect(dead_code, reason = "no listener is a Unix socket, so no connection comes from one")]
    pub(crate) unix_sockets: Option<bool>,
}

/// `envoy.config.core.v3.HttpProtocolOptions`, towards clients
#[derive(Debug, Deserialize)]
pub(crate) struct DownstreamHttpProtocolOptions {
    pub(crate) headers_with_underscores_action: Option<HeadersWithUnderscoresAction>,
    pub(crate) idle_timeout: Option<Seconds>,
    pub(crate) max_connection_duration: Option<Seconds>,
    pub(crate) max_headers_count: Option<At<u32>>,
    pub(crate) max_requests_per_connection: Option<u32>,
    pub(crate) max_stream_duration: Option<Seconds>,
}

/// `envoy.config.core.v3.HttpProtocolOptions.HeadersWithUnderscoresAction`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum HeadersWithUnderscoresAction {
    #[serde(rename = "ALLOW")]
    Allow,
    #[serde(rename = "REJECT_REQUEST")]
    RejectRequest,
    #[serde(rename = "DROP_HEADER")]
    DropHeader,
}

/// `HttpConnectionManager.CodecType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum CodecType {
    #[serde(rename = "AUTO")]
    Auto,
    #[serde(rename = "HTTP1")]
    Http1,
    #[serde(rename = "HTTP2")]
    Http2,
}

/// `HttpConnectionManager.ServerHeaderTransformation`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ServerHeaderTransformation {
    #[serde(rename = "OVERWRITE")]
    Overwrite,
    #[serde(rename = "APPEND_IF_ABSENT")]
    AppendIfAbsent,
    #[serde(rename = "PASS_THROUGH")]
    PassThrough,
}
