//! Entries as messages of protobuf: `envoy.data.accesslog.v3`, and what carries them in `envoy.service.accesslog.v3`.
//!
//! Field numbers are those of Envoy 1.40. Maps are in order, so that the same content is the same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::protobuf::{Address, Any, Metadata, Number, Span, Struct, Timestamp};

/// `StreamAccessLogsMessage`. The entries are there as bytes: each was written when its stream was over.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LogsMessage {
    #[prost(message, optional, tag = "1")]
    pub(crate) identifier: Option<Identifier>,
    #[prost(message, optional, tag = "2")]
    pub(crate) http_logs: Option<Entries>,
    #[prost(message, optional, tag = "3")]
    pub(crate) tcp_logs: Option<Entries>,
}

/// `StreamAccessLogsMessage.HTTPAccessLogEntries`, and `TCPAccessLogEntries`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entries {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) log_entry: Vec<Bytes>,
}

/// `StreamAccessLogsMessage.Identifier`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Identifier {
    #[prost(message, optional, tag = "1")]
    pub(crate) node: Option<Node>,
    #[prost(string, tag = "2")]
    pub(crate) log_name: String,
}

/// `envoy.config.core.v3.Node`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) cluster: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) metadata: Option<Struct>,
    #[prost(message, optional, tag = "4")]
    pub(crate) locality: Option<Locality>,
    #[prost(string, tag = "6")]
    pub(crate) user_agent_name: String,
    #[prost(string, tag = "7")]
    pub(crate) user_agent_version: String,
}

/// `envoy.config.core.v3.Locality`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Locality {
    #[prost(string, tag = "1")]
    pub(crate) region: String,
    #[prost(string, tag = "2")]
    pub(crate) zone: String,
    #[prost(string, tag = "3")]
    pub(crate) sub_zone: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpEntry {
    #[prost(message, optional, tag = "1")]
    pub(crate) common_properties: Option<Common>,
    /// `HTTPVersion`
    #[prost(int32, tag = "2")]
    pub(crate) protocol_version: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) request: Option<Request>,
    #[prost(message, optional, tag = "4")]
    pub(crate) response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TcpEntry {
    #[prost(message, optional, tag = "1")]
    pub(crate) common_properties: Option<Common>,
    #[prost(message, optional, tag = "2")]
    pub(crate) connection_properties: Option<Connection>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Connection {
    #[prost(uint64, tag = "1")]
    pub(crate) received_bytes: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sent_bytes: u64,
}

/// `AccessLogCommon`, without `sample_rate`, which Envoy does not set either.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Common {
    #[prost(message, optional, tag = "2")]
    pub(crate) downstream_remote_address: Option<Address>,
    #[prost(message, optional, tag = "3")]
    pub(crate) downstream_local_address: Option<Address>,
    #[prost(message, optional, tag = "4")]
    pub(crate) tls_properties: Option<Tls>,
    #[prost(message, optional, tag = "5")]
    pub(crate) start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "6")]
    pub(crate) time_to_last_rx_byte: Option<Span>,
    #[prost(message, optional, tag = "7")]
    pub(crate) time_to_first_upstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "8")]
    pub(crate) time_to_last_upstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "9")]
    pub(crate) time_to_first_upstream_rx_byte: Option<Span>,
    #[prost(message, optional, tag = "10")]
    pub(crate) time_to_last_upstream_rx_byte: Option<Span>,
    #[prost(message, optional, tag = "11")]
    pub(crate) time_to_first_downstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "12")]
    pub(crate) time_to_last_downstream_tx_byte: Option<Span>,
    #[prost(message, optional, tag = "13")]
    pub(crate) upstream_remote_address: Option<Address>,
    #[prost(message, optional, tag = "14")]
    pub(crate) upstream_local_address: Option<Address>,
    #[prost(string, tag = "15")]
    pub(crate) upstream_cluster: String,
    #[prost(message, optional, tag = "16")]
    pub(crate) response_flags: Option<Flags>,
    #[prost(message, optional, tag = "17")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(string, tag = "18")]
    pub(crate) upstream_transport_failure_reason: String,
    #[prost(string, tag = "19")]
    pub(crate) route_name: String,
    #[prost(message, optional, tag = "20")]
    pub(crate) downstream_direct_remote_address: Option<Address>,
    #[prost(btree_map = "string, message", tag = "21")]
    pub(crate) filter_state_objects: BTreeMap<String, Any>,
    #[prost(btree_map = "string, string", tag = "22")]
    pub(crate) custom_tags: BTreeMap<String, String>,
    #[prost(message, optional, tag = "23")]
    pub(crate) duration: Option<Span>,
    #[prost(uint32, tag = "24")]
    pub(crate) upstream_request_attempt_count: u32,
    #[prost(string, tag = "25")]
    pub(crate) connection_termination_details: String,
    #[prost(string, tag = "26")]
    pub(crate) stream_id: String,
    #[prost(bool, tag = "27")]
    pub(crate) intermediate_log_entry: bool,
    #[prost(string, tag = "28")]
    pub(crate) downstream_transport_failure_reason: String,
    #[prost(uint64, tag = "29")]
    pub(crate) downstream_wire_bytes_sent: u64,
    #[prost(uint64, tag = "30")]
    pub(crate) downstream_wire_bytes_received: u64,
    #[prost(uint64, tag = "31")]
    pub(crate) upstream_wire_bytes_sent: u64,
    #[prost(uint64, tag = "32")]
    pub(crate) upstream_wire_bytes_received: u64,
    /// `AccessLogType`
    #[prost(int32, tag = "33")]
    pub(crate) access_log_type: i32,
}

/// `ResponseFlags`
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Flags {
    #[prost(bool, tag = "1")]
    pub(crate) failed_local_healthcheck: bool,
    #[prost(bool, tag = "2")]
    pub(crate) no_healthy_upstream: bool,
    #[prost(bool, tag = "3")]
    pub(crate) upstream_request_timeout: bool,
    #[prost(bool, tag = "4")]
    pub(crate) local_reset: bool,
    #[prost(bool, tag = "5")]
    pub(crate) upstream_remote_reset: bool,
    #[prost(bool, tag = "6")]
    pub(crate) upstream_connection_failure: bool,
    #[prost(bool, tag = "7")]
    pub(crate) upstream_connection_termination: bool,
    #[prost(bool, tag = "8")]
    pub(crate) upstream_overflow: bool,
    #[prost(bool, tag = "9")]
    pub(crate) no_route_found: bool,
    #[prost(bool, tag = "10")]
    pub(crate) delay_injected: bool,
    #[prost(bool, tag = "11")]
    pub(crate) fault_injected: bool,
    #[prost(bool, tag = "12")]
    pub(crate) rate_limited: bool,
    #[prost(message, optional, tag = "13")]
    pub(crate) unauthorized_details: Option<Unauthorized>,
    #[prost(bool, tag = "14")]
    pub(crate) rate_limit_service_error: bool,
    #[prost(bool, tag = "15")]
    pub(crate) downstream_connection_termination: bool,
    #[prost(bool, tag = "16")]
    pub(crate) upstream_retry_limit_exceeded: bool,
    #[prost(bool, tag = "17")]
    pub(crate) stream_idle_timeout: bool,
    #[prost(bool, tag = "18")]
    pub(crate) invalid_envoy_request_headers: bool,
    #[prost(bool, tag = "19")]
    pub(crate) downstream_protocol_error: bool,
    #[prost(bool, tag = "20")]
    pub(crate) upstream_max_stream_duration_reached: bool,
    #[prost(bool, tag = "21")]
    pub(crate) response_from_cache_filter: bool,
    #[prost(bool, tag = "22")]
    pub(crate) no_filter_config_found: bool,
    #[prost(bool, tag = "23")]
    pub(crate) duration_timeout: bool,
    #[prost(bool, tag = "24")]
    pub(crate) upstream_protocol_error: bool,
    #[prost(bool, tag = "25")]
    pub(crate) no_cluster_found: bool,
    #[prost(bool, tag = "26")]
    pub(crate) overload_manager: bool,
    #[prost(bool, tag = "27")]
    pub(crate) dns_resolution_failure: bool,
    #[prost(bool, tag = "28")]
    pub(crate) downstream_remote_reset: bool,
}

/// `ResponseFlags.Unauthorized`
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Unauthorized {
    /// `Reason`: 1 is `EXTERNAL_SERVICE`.
    #[prost(int32, tag = "1")]
    pub(crate) reason: i32,
}

/// `TLSProperties`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tls {
    /// `TLSVersion`
    #[prost(int32, tag = "1")]
    pub(crate) tls_version: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) tls_cipher_suite: Option<Number>,
    #[prost(string, tag = "3")]
    pub(crate) tls_sni_hostname: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) local_certificate_properties: Option<Certificate>,
    #[prost(message, optional, tag = "5")]
    pub(crate) peer_certificate_properties: Option<Certificate>,
    #[prost(string, tag = "7")]
    pub(crate) ja3_fingerprint: String,
}

/// `TLSProperties.CertificateProperties`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Certificate {
    #[prost(message, repeated, tag = "1")]
    pub(crate) subject_alt_name: Vec<AltName>,
    #[prost(string, tag = "2")]
    pub(crate) subject: String,
    #[prost(string, tag = "3")]
    pub(crate) issuer: String,
}

/// `TLSProperties.CertificateProperties.SubjectAltName`, of which Envoy sends URIs alone.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AltName {
    #[prost(string, tag = "1")]
    pub(crate) uri: String,
}

/// `HTTPRequestProperties`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    /// `envoy.config.core.v3.RequestMethod`
    #[prost(int32, tag = "1")]
    pub(crate) request_method: i32,
    #[prost(string, tag = "2")]
    pub(crate) scheme: String,
    #[prost(string, tag = "3")]
    pub(crate) authority: String,
    #[prost(string, tag = "5")]
    pub(crate) path: String,
    #[prost(string, tag = "6")]
    pub(crate) user_agent: String,
    #[prost(string, tag = "7")]
    pub(crate) referer: String,
    #[prost(string, tag = "8")]
    pub(crate) forwarded_for: String,
    #[prost(string, tag = "9")]
    pub(crate) request_id: String,
    #[prost(string, tag = "10")]
    pub(crate) original_path: String,
    #[prost(uint64, tag = "11")]
    pub(crate) request_headers_bytes: u64,
    #[prost(uint64, tag = "12")]
    pub(crate) request_body_bytes: u64,
    #[prost(btree_map = "string, string", tag = "13")]
    pub(crate) request_headers: BTreeMap<String, String>,
    #[prost(uint64, tag = "14")]
    pub(crate) upstream_header_bytes_sent: u64,
    #[prost(uint64, tag = "15")]
    pub(crate) downstream_header_bytes_received: u64,
}

/// `HTTPResponseProperties`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(crate) response_code: Option<Number>,
    #[prost(uint64, tag = "2")]
    pub(crate) response_headers_bytes: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) response_body_bytes: u64,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) response_headers: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) response_trailers: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    pub(crate) response_code_details: String,
    #[prost(uint64, tag = "7")]
    pub(crate) upstream_header_bytes_received: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) downstream_header_bytes_sent: u64,
}

/// `envoy.extensions.filters.http.grpc_stats.v3.FilterObject`
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct GrpcMessages {
    #[prost(uint64, tag = "1")]
    pub(crate) requests: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) responses: u64,
}
