//! The operators of a format: what stands between two percent signs.

use crate::config::cluster::MetadataOwner;
use crate::config::metadata::MetadataPath;
use crate::config::tls::x509::NameKind;

/// What a process does not know of itself, as in Envoy also in JSON.
pub const UNKNOWN: &str = "-";

/// A `%...%` operator. Unset values print `-` in a line of text, `null` in one of JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operator {
    /// `%ACCESS_LOG_TYPE%`
    AccessLogType,
    /// `%UPSTREAM_HOST%` and whatever else is an address.
    Address {
        /// Of this end of a connection.
        of: End,
        /// This of it.
        part: AddressPart,
    },
    /// `%BYTES_RECEIVED%`: body bytes.
    BytesReceived,
    /// `%BYTES_SENT%`: body bytes.
    BytesSent,
    /// `%COMMON_DURATION(FROM:TO:UNIT)%` and those durations that are the same with fixed moments.
    CommonDuration {
        /// The first point in time.
        from: TimePoint,
        /// The second point in time.
        to: TimePoint,
        /// Counted in this.
        unit: TimeUnit,
    },
    /// `%CONNECTION_ID%`
    ConnectionId,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    ConnectionTerminationDetails,
    /// `%CUSTOM_FLAGS%` and whatever else is an empty text in every line.
    Empty,
    /// `%DURATION%`: milliseconds from the head's first byte to the last byte out.
    Duration,
    /// `%DYNAMIC_METADATA(NAMESPACE:KEY:KEY)%`
    DynamicMetadata(MetadataPath),
    /// `%CLUSTER_METADATA(NAMESPACE:KEY:KEY)%` and `%UPSTREAM_METADATA(NAMESPACE:KEY:KEY)%`
    ConfiguredMetadata {
        /// Whose it is.
        of: MetadataOwner,
        /// Where it stands.
        path: MetadataPath,
    },
    /// A tag of an entry: what stands there in the metadata of the route.
    RouteMetadata(MetadataPath),
    /// `%EMIT_TIME%`, when the line is written, with an optional strftime format.
    EmitTime(Option<String>),
    /// `%EMIT_TIME_LOCAL%`, the same in the time of the place.
    EmitTimeLocal(Option<String>),
    /// `%ENVIRONMENT(NAME)%`, until the environment is known.
    Environment {
        /// Of the variable.
        name: String,
        /// What it is if it is not set.
        or: &'static str,
    },
    /// `%FILTER_STATE(KEY:FORM)%` and `%UPSTREAM_FILTER_STATE(KEY:FORM)%`: an object that a filter has left.
    FilterState {
        /// For whom.
        of: StateOwner,
        /// Under this key.
        key: String,
        /// Written so.
        form: StateForm,
    },
    /// `%FILTER_CHAIN_NAME%`, until the name is known.
    FilterChainName,
    /// `%GRPC_STATUS%`
    GrpcStatus(GrpcStatusForm),
    /// `%HOSTNAME%`, until the host is known.
    HostName,
    /// `%LISTENER_NAME%`, until the name is known.
    ListenerName,
    /// `%LOCAL_REPLY_BODY%`: empty but in `local_reply_config`.
    LocalReplyBody,
    /// Something that is not there in any line, such as what TLS or a filter's metadata would tell.
    Never,
    /// `%PATH%`
    Path {
        /// With its query.
        query: Query,
        /// Which path, where it was rewritten.
        of: PathChoice,
    },
    /// `%PROTOCOL%`
    Protocol,
    /// `%QUERY_PARAM(NAME)%`: the first of that name, with its escapes.
    QueryParameter(String),
    /// `%QUERY_PARAMS%`: the query as it came.
    QueryParameters,
    /// `%REQ(NAME?ALTERNATIVE)%`; names in lower case.
    RequestHeader {
        /// The header whose value is logged.
        name: String,
        /// The header that is logged where the first is absent.
        or: Option<String>,
    },
    /// `%REQUEST_HEADERS_BYTES%`: names and values.
    RequestHeadersBytes,
    /// `%RESP(NAME?ALTERNATIVE)%`; names in lower case.
    ResponseHeader {
        /// The header whose value is logged.
        name: String,
        /// The header that is logged where the first is absent.
        or: Option<String>,
    },
    /// `%RESPONSE_HEADERS_BYTES%`: names and values.
    ResponseHeadersBytes,
    /// `%TRAILER(NAME?ALTERNATIVE)%`; names in lower case.
    ResponseTrailer {
        /// The header whose value is logged.
        name: String,
        /// The header that is logged where the first is absent.
        or: Option<String>,
    },
    /// `%RESPONSE_TRAILERS_BYTES%`: names and values.
    ResponseTrailersBytes,
    /// `%RESPONSE_CODE%`
    ResponseCode,
    /// `%RESPONSE_CODE_DETAILS%`
    ResponseCodeDetails,
    /// `%RESPONSE_FLAGS%`
    ResponseFlags,
    /// `%RESPONSE_FLAGS_LONG%`
    ResponseFlagsLong,
    /// `%ROUTE_NAME%`
    RouteName,
    /// `%START_TIME%`, with an optional strftime format.
    StartTime(Option<String>),
    /// `%START_TIME_LOCAL%`, the same in the time of the place.
    StartTimeLocal(Option<String>),
    /// `%STREAM_ID%`: the request's id.
    StreamId,
    /// `%SPAN_ID%`
    SpanId,
    /// `%TRACE_ID%`
    TraceId,
    /// `%UNIQUE_ID%`: a UUID of its own for each place and line.
    UniqueId,
    /// `%UPSTREAM_CLUSTER%` and `%UPSTREAM_CLUSTER_RAW%`
    UpstreamCluster(ClusterNaming),
    /// `%UPSTREAM_CONNECTION_ID%`: the number of the connection among the worker's.
    UpstreamConnectionId,
    /// `%UPSTREAM_CONNECTION_POOL_READY_DURATION%`: milliseconds that the last try waited for a connection.
    UpstreamPoolReadyDuration,
    /// `%UPSTREAM_HOST_NAME%`: the endpoint's name, or its address if it has none.
    UpstreamHostName(AddressPart),
    /// `%UPSTREAM_PROTOCOL%`
    UpstreamProtocol,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`
    UpstreamRequestAttemptCount,
    /// `%REQUESTED_SERVER_NAME%`: of the ClientHello, where `tls_inspector` has read it.
    RequestedServerName,
    /// `%DOWNSTREAM_PEER_CERT_V_START%` and its like, with an optional strftime format.
    PeerValidity {
        /// Whose certificate, and which end of its time.
        of: (TlsPeer, ValidityEnd),
        /// How it is written.
        format: Option<String>,
    },
    /// `%DOWNSTREAM_TLS_VERSION%` and its like.
    Tls {
        /// Of the connection of the client or that of the upstream.
        with: TlsPeer,
        /// This of it.
        part: TlsPart,
    },
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`
    UpstreamTransportFailureReason,
    /// `%VIRTUAL_CLUSTER_NAME%`
    VirtualClusterName,
    /// `%DOWNSTREAM_WIRE_BYTES_RECEIVED%` and its like.
    WireBytes {
        /// On this connection.
        hop: Hop,
        /// These.
        kind: ByteKind,
        /// In this direction.
        way: Way,
    },
    /// `%BYTES_RETRANSMITTED%` and whatever else is 0 in every line.
    Zero,
}

/// The connections of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hop {
    /// The client's.
    Downstream,
    /// Those of all tries.
    Upstream,
}

/// Which bytes of a stream are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ByteKind {
    /// Those of heads and trailers, before they are compressed.
    DecompressedHeader,
    /// Those of heads and trailers.
    Header,
    /// All.
    Wire,
}

/// A direction, as seen from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The client, as a trusted header or else the socket says.
    Client,
    /// The other end of the client's socket, whatever a header says.
    DirectClient,
    /// Our end of the client's socket, whatever a header says.
    DirectLocal,
    /// Our end of the client's connection.
    Local,
    /// The endpoint chosen last.
    UpstreamHost,
    /// Our end of the connection to it.
    UpstreamLocal,
    /// The endpoint, where there was a connection to it.
    UpstreamRemote,
}

/// What is written of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddressPart {
    /// All of it.
    Whole,
    /// The port alone.
    Port,
    /// Without the port.
    WithoutPort,
}

/// A moment in the life of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimePoint {
    /// `DS_RX_BEG`: the first byte of the request.
    RequestBegin,
    /// `DS_RX_END`: its last.
    RequestEnd,
    /// `US_TX_BEG`: the first byte to the upstream.
    UpstreamRequestBegin,
    /// `US_TX_END`: the last.
    UpstreamRequestEnd,
    /// `US_RX_BEG`: the first byte of the upstream's response.
    UpstreamResponseBegin,
    /// `US_RX_END`: its last.
    UpstreamResponseEnd,
    /// `DS_TX_BEG`: the first byte of the response.
    ResponseBegin,
    /// `DS_TX_END`: its last.
    ResponseEnd,
    /// Any other name: of a moment that does not come.
    Never,
}

/// What a duration is counted in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TimeUnit {
    /// `ms`
    Milliseconds,
    /// `us`
    Microseconds,
    /// `ns`
    Nanoseconds,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrpcStatusForm {
    /// `NotFound`
    Camel,
    /// `5`
    Number,
    /// `NOT_FOUND`
    Snake,
}

/// Whether a path is written with its query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Query {
    /// `NQ`
    Without,
    /// `WQ`
    With,
}

/// Which path is written of a request whose path was rewritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathChoice {
    /// `PATH`: the one it has.
    Current,
    /// `ORIG`: the one it had; nothing if it was not rewritten.
    Original,
    /// `ORIG_OR_PATH`: the one it had before all rewrites.
    First,
}

/// Whose connection TLS encrypts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsPeer {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
}

/// How a ClientHello becomes a fingerprint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FingerprintKind {
    /// JA3.
    Ja3,
    /// JA4.
    Ja4,
}

/// What is told of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsPart {
    /// Why the handshake failed, or the connection broke.
    Failure,
    /// The cipher suite.
    Cipher,
    /// Of the ClientHello, where `tls_inspector` makes one.
    Fingerprint(FingerprintKind),
    /// Names of our own certificate.
    LocalNames(NameKind),
    /// Whose our own certificate is.
    LocalSubject,
    /// The peer's certificate, in PEM, with its special characters as in a URL.
    PeerCertificate,
    /// Names of the peer's certificate that are no DNS names and no URIs.
    PeerNames(NameKind),
    /// DNS names of the peer's certificate.
    PeerDnsNames,
    /// SHA-256 of the peer's certificate.
    PeerFingerprint,
    /// Who has signed the peer's certificate.
    PeerIssuer,
    /// The serial number of the peer's certificate.
    PeerSerial,
    /// Whose certificate the peer has shown.
    PeerSubject,
    /// URIs of the peer's certificate.
    PeerUris,
    /// The TLS version: `TLSv1.3`.
    Version,
}

/// Which end of the time for which a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ValidityEnd {
    /// `notBefore`
    Start,
    /// `notAfter`
    End,
}

/// Whose filter state it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StateOwner {
    /// That of the stream and of the client's connection.
    Downstream,
    /// What was shared with the connection to the upstream.
    Upstream,
}

/// How an object of the filter state is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StateForm {
    /// `FIELD:NAME`: a field of it.
    Field(String),
    /// `PLAIN`: its text.
    Plain,
    /// `TYPED`: as JSON.
    Typed,
}

impl Operator {
    /// Is its value a number where values have types?
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Address { part: AddressPart::Port, .. }
                | Self::BytesReceived
                | Self::BytesSent
                | Self::CommonDuration { .. }
                | Self::ConnectionId
                | Self::Duration
                | Self::GrpcStatus(GrpcStatusForm::Number)
                | Self::RequestHeadersBytes
                | Self::ResponseCode
                | Self::ResponseHeadersBytes
                | Self::ResponseTrailersBytes
                | Self::UpstreamConnectionId
                | Self::UpstreamPoolReadyDuration
                | Self::UpstreamRequestAttemptCount
                | Self::WireBytes { .. }
                | Self::Zero
        )
    }

    /// The variable of the environment that it requests, and what it is if that is not set.
    #[must_use]
    pub fn variable(&self) -> Option<(&str, &'static str)> {
        if let Self::Environment { name, or } = self { Some((name, or)) } else { None }
    }

    /// Does it show the name of an endpoint?
    #[must_use]
    pub fn is_upstream_name(&self) -> bool {
        matches!(self, Self::UpstreamHostName(_))
    }

    /// Does it show the time of the place?
    #[must_use]
    pub fn is_local_time(&self) -> bool {
        matches!(self, Self::EmitTimeLocal(_) | Self::StartTimeLocal(_))
    }

    /// Does it show bytes of the stream on the wire?
    #[must_use]
    pub fn is_wire_bytes(&self) -> bool {
        matches!(self, Self::WireBytes { .. })
    }

    /// Does it show the id of the stream?
    #[must_use]
    pub fn is_stream_id(&self) -> bool {
        matches!(self, Self::StreamId)
    }

    /// Does it read the trailers of a response?
    #[must_use]
    pub fn reads_trailers(&self) -> bool {
        matches!(self, Self::GrpcStatus(_) | Self::ResponseTrailer { .. } | Self::ResponseTrailersBytes)
    }
}

/// Which of its names a cluster is shown with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterNaming {
    /// That of routes.
    Own,
    /// That of stats.
    Shown,
}
