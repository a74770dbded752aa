//! Access logs, their filters and formats, as written.

use serde::Deserialize;

use super::FractionalPercent;
use super::entry_log::{HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig};
use super::format_string::SubstitutionFormatString;
use super::matchers::{HeaderMatcher, MetadataMatcher};
use crate::config::constraints::NonEmpty;
use crate::config::yaml::{At, Tree};

/// `envoy.config.accesslog.v3.AccessLog`
#[derive(Debug, Deserialize)]
pub(crate) struct AccessLog {
    pub(crate) filter: Option<At<AccessLogFilter>>,
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: Option<String>,
    pub(crate) typed_config: AccessLogConfig,
}

/// The access loggers there are.
#[derive(Debug, Deserialize)]
pub(crate) enum AccessLogConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog")]
    File(Box<FileAccessLog>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig")]
    HttpGrpc(Box<HttpGrpcAccessLogConfig>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog")]
    Stderr(StreamAccessLog),
    #[serde(rename = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog")]
    Stdout(StreamAccessLog),
    #[serde(rename = "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig")]
    TcpGrpc(Box<TcpGrpcAccessLogConfig>),
}

/// `envoy.extensions.access_loggers.file.v3.FileAccessLog`
#[derive(Debug, Deserialize)]
pub(crate) struct FileAccessLog {
    pub(crate) path: At<String>,
    pub(crate) format: Option<At<String>>,
    pub(crate) json_format: Option<At<Tree>>,
    pub(crate) log_format: Option<At<SubstitutionFormatString>>,
    pub(crate) typed_json_format: Option<At<Tree>>,
}

/// `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`, and the same for standard error
#[derive(Debug, Deserialize)]
pub(crate) struct StreamAccessLog {
    pub(crate) log_format: Option<At<SubstitutionFormatString>>,
}

/// `envoy.config.accesslog.v3.AccessLogFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct AccessLogFilter {
    pub(crate) and_filter: Option<At<FilterList>>,
    pub(crate) duration_filter: Option<ComparisonFilterHolder>,
    pub(crate) grpc_status_filter: Option<GrpcStatusFilter>,
    pub(crate) header_filter: Option<HeaderFilter>,
    pub(crate) log_type_filter: Option<LogTypeFilter>,
    pub(crate) metadata_filter: Option<MetadataFilter>,
    pub(crate) not_health_check_filter: Option<Unconditional>,
    pub(crate) or_filter: Option<At<FilterList>>,
    pub(crate) response_flag_filter: Option<ResponseFlagFilter>,
    pub(crate) runtime_filter: Option<RuntimeFilter>,
    pub(crate) status_code_filter: Option<ComparisonFilterHolder>,
    pub(crate) traceable_filter: Option<At<Unconditional>>,
}

/// `AndFilter` and `OrFilter` of `envoy.config.accesslog.v3`
#[derive(Debug, Deserialize)]
pub(crate) struct FilterList {
    #[serde(default)]
    pub(crate) filters: Vec<At<AccessLogFilter>>,
}

/// `NotHealthCheckFilter` and `TraceableFilter` of `envoy.config.accesslog.v3`, which have no fields
#[derive(Debug, Deserialize)]
pub(crate) struct Unconditional {}

/// `StatusCodeFilter` and `DurationFilter` of `envoy.config.accesslog.v3`
#[derive(Debug, Deserialize)]
pub(crate) struct ComparisonFilterHolder {
    pub(crate) comparison: ComparisonFilter,
}

/// `envoy.config.accesslog.v3.ComparisonFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct ComparisonFilter {
    pub(crate) op: Option<ComparisonOp>,
    pub(crate) value: RuntimeUInt32,
}

/// `envoy.config.accesslog.v3.ComparisonFilter.Op`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ComparisonOp {
    #[serde(rename = "EQ")]
    Eq,
    #[serde(rename = "GE")]
    Ge,
    #[serde(rename = "LE")]
    Le,
    #[serde(rename = "NE")]
    Ne,
}

/// `envoy.config.core.v3.RuntimeUInt32`
#[derive(Debug, Deserialize)]
pub(crate) struct RuntimeUInt32 {
    #[serde(default)]
    pub(crate) default_value: u32,
    #[serde(default)]
    pub(crate) runtime_key: String,
}

/// `envoy.config.accesslog.v3.GrpcStatusFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcStatusFilter {
    #[serde(default)]
    pub(crate) exclude: bool,
    #[serde(default)]
    pub(crate) statuses: Vec<GrpcStatus>,
}

/// `envoy.config.accesslog.v3.GrpcStatusFilter.Status`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum GrpcStatus {
    #[serde(rename = "OK")]
    Ok,
    #[serde(rename = "CANCELED")]
    Canceled,
    #[serde(rename = "UNKNOWN")]
    Unknown,
    #[serde(rename = "INVALID_ARGUMENT")]
    InvalidArgument,
    #[serde(rename = "DEADLINE_EXCEEDED")]
    DeadlineExceeded,
    #[serde(rename = "NOT_FOUND")]
    NotFound,
    #[serde(rename = "ALREADY_EXISTS")]
    AlreadyExists,
    #[serde(rename = "PERMISSION_DENIED")]
    PermissionDenied,
    #[serde(rename = "RESOURCE_EXHAUSTED")]
    ResourceExhausted,
    #[serde(rename = "FAILED_PRECONDITION")]
    FailedPrecondition,
    #[serde(rename = "ABORTED")]
    Aborted,
    #[serde(rename = "OUT_OF_RANGE")]
    OutOfRange,
    #[serde(rename = "UNIMPLEMENTED")]
    Unimplemented,
    #[serde(rename = "INTERNAL")]
    Internal,
    #[serde(rename = "UNAVAILABLE")]
    Unavailable,
    #[serde(rename = "DATA_LOSS")]
    DataLoss,
    #[serde(rename = "UNAUTHENTICATED")]
    Unauthenticated,
}

/// `envoy.config.accesslog.v3.HeaderFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderFilter {
    pub(crate) header: At<HeaderMatcher>,
}

/// `envoy.config.accesslog.v3.LogTypeFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct LogTypeFilter {
    #[serde(default)]
    pub(crate) exclude: bool,
    #[serde(default)]
    pub(crate) types: Vec<AccessLogType>,
}

/// `envoy.data.accesslog.v3.AccessLogType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum AccessLogType {
    #[serde(rename = "NotSet")]
    NotSet,
    #[serde(rename = "TcpUpstreamConnected")]
    TcpUpstreamConnected,
    #[serde(rename = "TcpPeriodic")]
    TcpPeriodic,
    #[serde(rename = "TcpConnectionEnd")]
    TcpConnectionEnd,
    #[serde(rename = "DownstreamStart")]
    DownstreamStart,
    #[serde(rename = "DownstreamPeriodic")]
    DownstreamPeriodic,
    #[serde(rename = "DownstreamEnd")]
    DownstreamEnd,
    #[serde(rename = "UpstreamPoolReady")]
    UpstreamPoolReady,
    #[serde(rename = "UpstreamPeriodic")]
    UpstreamPeriodic,
    #[serde(rename = "UpstreamEnd")]
    UpstreamEnd,
    #[serde(rename = "DownstreamTunnelSuccessfullyEstablished")]
    DownstreamTunnelSuccessfullyEstablished,
    #[serde(rename = "UdpTunnelUpstreamConnected")]
    UdpTunnelUpstreamConnected,
    #[serde(rename = "UdpPeriodic")]
    UdpPeriodic,
    #[serde(rename = "UdpSessionEnd")]
    UdpSessionEnd,
    #[serde(rename = "TcpConnectionStart")]
    TcpConnectionStart,
}

/// `envoy.config.accesslog.v3.MetadataFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataFilter {
    pub(crate) match_if_key_not_found: Option<bool>,
    pub(crate) matcher: Option<At<MetadataMatcher>>,
}

/// `envoy.config.accesslog.v3.ResponseFlagFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseFlagFilter {
    #[serde(default)]
    pub(crate) flags: Vec<At<String>>,
}

/// `envoy.config.accesslog.v3.RuntimeFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct RuntimeFilter {
    pub(crate) percent_sampled: Option<FractionalPercent>,
    pub(crate) runtime_key: NonEmpty,
    #[serde(default)]
    pub(crate) use_independent_randomness: bool,
}
