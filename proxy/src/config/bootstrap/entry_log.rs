//! Access logs whose entries a service gets over gRPC, as written.

use serde::Deserialize;

use super::ext_authz::ApiVersion;
use super::grpc_service::CoreGrpcService;
use super::policies::CoreRetryPolicy;
use super::rate_limit::RateLimitMetadataKey;
use super::tracing::{TagEnvironment, TagHeader, TagLiteral};
use crate::config::constraints::{HeaderName, NonEmpty, Positive};
use crate::config::yaml::At;

/// `envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpGrpcAccessLogConfig {
    #[serde(default)]
    pub(crate) additional_request_headers_to_log: Vec<HeaderName>,
    #[serde(default)]
    pub(crate) additional_response_headers_to_log: Vec<HeaderName>,
    #[serde(default)]
    pub(crate) additional_response_trailers_to_log: Vec<HeaderName>,
    pub(crate) common_config: CommonGrpcAccessLogConfig,
}

/// `envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpGrpcAccessLogConfig {
    pub(crate) common_config: CommonGrpcAccessLogConfig,
}

/// `envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct CommonGrpcAccessLogConfig {
    pub(crate) buffer_flush_interval: Option<Positive>,
    pub(crate) buffer_size_bytes: Option<u32>,
    #[serde(default)]
    pub(crate) custom_tags: Vec<At<EntryTag>>,
    #[serde(default)]
    pub(crate) filter_state_objects_to_log: Vec<String>,
    pub(crate) grpc_service: At<CoreGrpcService>,
    pub(crate) grpc_stream_retry_policy: Option<At<CoreRetryPolicy>>,
    pub(crate) log_name: NonEmpty,
    #[expect(dead_code, reason = "there is one version")]
    pub(crate) transport_api_version: Option<ApiVersion>,
}

/// `envoy.type.tracing.v3.CustomTag`, of an entry
#[derive(Debug, Deserialize)]
pub(crate) struct EntryTag {
    pub(crate) environment: Option<TagEnvironment>,
    pub(crate) literal: Option<TagLiteral>,
    pub(crate) metadata: Option<TagMetadata>,
    pub(crate) request_header: Option<TagHeader>,
    pub(crate) tag: NonEmpty,
    pub(crate) value: Option<At<String>>,
}

/// `envoy.type.tracing.v3.CustomTag.Metadata`
#[derive(Debug, Deserialize)]
pub(crate) struct TagMetadata {
    #[serde(default)]
    pub(crate) default_value: String,
    pub(crate) kind: At<TagMetadataKind>,
    pub(crate) metadata_key: RateLimitMetadataKey,
}

/// `envoy.type.metadata.v3.MetadataKind`
#[derive(Debug, Deserialize)]
pub(crate) struct TagMetadataKind {
    pub(crate) cluster: Option<OfCluster>,
    pub(crate) host: Option<OfHost>,
    pub(crate) request: Option<OfRequest>,
    pub(crate) route: Option<OfRoute>,
}

/// `envoy.type.metadata.v3.MetadataKind.Cluster`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct OfCluster {}

/// `envoy.type.metadata.v3.MetadataKind.Host`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct OfHost {}

/// `envoy.type.metadata.v3.MetadataKind.Request`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct OfRequest {}

/// `envoy.type.metadata.v3.MetadataKind.Route`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct OfRoute {}
