//! Which streams an access log has a line of, and which local replies a mapper changes.

use super::metadata::{MetadataPath, ValueMatch};
use super::route::HeaderMatch;

/// A test of a stream.
#[derive(Clone, Debug)]
pub enum LogFilter {
    /// `and_filter`: all of these take it.
    All(Vec<Self>),
    /// Logs every stream.
    Always,
    /// `or_filter`: one of these takes it.
    Any(Vec<Self>),
    /// `duration_filter`: how long it took, in milliseconds.
    Duration(Comparison),
    /// `grpc_status_filter`: its gRPC status is one of these, or none of these.
    GrpcStatus(Choice<u16>),
    /// `header_filter`: a header of its request.
    Header(HeaderMatch),
    /// `log_type_filter`: the occasion on which a line is written.
    LogType(Choice<LogType>),
    /// `metadata_filter`: a value in its metadata.
    Metadata {
        /// Where the value is looked for.
        path: MetadataPath,
        /// What the value must be.
        value: ValueMatch,
        /// `match_if_key_not_found`: what decides where there is none.
        missing: Box<Self>,
    },
    /// Logs no stream.
    Never,
    /// `not_health_check_filter`: it asks for something else than the health of this proxy.
    NotHealthCheck,
    /// `response_flag_filter`: it has one of these flags; with none here it has any.
    ResponseFlag(Vec<&'static str>),
    /// `runtime_filter`: a share of the streams.
    Runtime(Share),
    /// `status_code_filter`: the status of its response; 0 is none.
    StatusCode(Comparison),
}

impl LogFilter {
    /// Does it read the trailers of a response?
    #[must_use]
    pub fn reads_trailers(&self) -> bool {
        match self {
            Self::All(filters) | Self::Any(filters) => filters.iter().any(Self::reads_trailers),
            Self::GrpcStatus(_) => true,
            Self::Always
            | Self::Duration(_)
            | Self::Header(_)
            | Self::LogType(_)
            | Self::Metadata { .. }
            | Self::Never
            | Self::NotHealthCheck
            | Self::ResponseFlag(_)
            | Self::Runtime(_)
            | Self::StatusCode(_) => false,
        }
    }
}

/// A number compared with one that a runtime key may change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Comparison {
    /// The comparison with the value.
    pub operator: ComparisonOperator,
    /// The number, while the runtime has none.
    pub value: u32,
    /// `runtime_key`
    pub key: String,
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ComparisonOperator {
    /// `EQ`
    Equal,
    /// `GE`
    GreaterOrEqual,
    /// `LE`
    LessOrEqual,
    /// `NE`
    NotEqual,
}

impl ComparisonOperator {
    /// Does it hold for these?
    #[must_use]
    pub fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::GreaterOrEqual => left >= right,
            Self::LessOrEqual => left <= right,
            Self::NotEqual => left != right,
        }
    }
}

/// Some of many values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Choice<T> {
    /// `exclude`: all but these.
    AllBut(Vec<T>),
    /// Only these values.
    These(Vec<T>),
}

impl<T: PartialEq> Choice<T> {
    /// Is `value` among them?
    #[must_use]
    pub fn has(&self, value: &T) -> bool {
        match self {
            Self::AllBut(values) => !values.contains(value),
            Self::These(values) => values.contains(value),
        }
    }
}

/// A share of the streams, which a runtime key may change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// `runtime_key`
    pub key: String,
    /// So many, while the runtime has no number,
    pub numerator: u32,
    /// of so many.
    pub denominator: u32,
    /// What draws it.
    pub draw: Draw,
}

/// What decides whether a stream belongs to a share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Draw {
    /// `use_independent_randomness`: chance, for each log anew.
    Chance,
    /// The request's id, if it is a UUID, so that all logs have lines of the same requests; else chance.
    RequestId,
}

/// The occasion on which a line is written: `%ACCESS_LOG_TYPE%`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogType {
    /// The stream is over.
    DownstreamEnd,
    /// `access_log_flush_interval`: the interval has passed once more.
    DownstreamPeriodic,
    /// `flush_access_log_on_new_request`: it has begun.
    DownstreamStart,
    /// `flush_log_on_tunnel_successfully_established`: it has become a tunnel.
    DownstreamTunnelSuccessfullyEstablished,
    /// It is no line of a log.
    NotSet,
    /// A connection of a TCP proxy is over.
    TcpConnectionEnd,
    /// `flush_access_log_on_start`: it has been accepted.
    TcpConnectionStart,
    /// `access_log_flush_interval`: the interval has passed once more.
    TcpPeriodic,
    /// `flush_access_log_on_connected`: there is a connection to an endpoint.
    TcpUpstreamConnected,
}

impl LogType {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DownstreamEnd => "DownstreamEnd",
            Self::DownstreamPeriodic => "DownstreamPeriodic",
            Self::DownstreamStart => "DownstreamStart",
            Self::DownstreamTunnelSuccessfullyEstablished => "DownstreamTunnelSuccessfullyEstablished",
            Self::NotSet => "NotSet",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::TcpConnectionStart => "TcpConnectionStart",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
        }
    }
}

/// The flags that `response_flag_filter` knows.
pub const FLAGS: [&str; 30] = [
    "DC", "DF", "DI", "DO", "DPE", "DR", "DT", "FI", "IH", "LH", "LR", "NC", "NFCF", "NR", "OM", "RFCF", "RL", "RLSE",
    "SI", "UAEX", "UC", "UDO", "UF", "UH", "UMSDR", "UO", "UPE", "UR", "URX", "UT",
];
