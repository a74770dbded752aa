//! Access-log format strings, parsed once.

/// A parsed format: literals and operators in turn.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Format(pub Vec<Piece>);

/// One piece of a format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Text as it stands.
    Literal(String),
    /// A value, cut to at most so many bytes.
    Operator(Operator, Option<usize>),
}

/// A `%...%` operator. Unset values print `-`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operator {
    /// `%BYTES_RECEIVED%`: body bytes.
    BytesReceived,
    /// `%BYTES_SENT%`: body bytes.
    BytesSent,
    /// `%CONNECTION_ID%`
    ConnectionId,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    ConnectionTerminationDetails,
    /// `%DOWNSTREAM_LOCAL_ADDRESS%`
    DownstreamLocalAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS%`
    DownstreamRemoteAddress,
    /// `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`
    DownstreamRemoteAddressWithoutPort,
    /// `%DURATION%`: milliseconds from the head's first byte to the last byte out.
    Duration,
    /// `%PROTOCOL%`
    Protocol,
    /// `%REQ(NAME?ALTERNATIVE)%`; names in lower case.
    RequestHeader {
        /// First choice.
        name: String,
        /// Second choice.
        or: Option<String>,
    },
    /// `%RESP(NAME?ALTERNATIVE)%`; names in lower case.
    ResponseHeader {
        /// First choice.
        name: String,
        /// Second choice.
        or: Option<String>,
    },
    /// `%RESPONSE_CODE%`
    ResponseCode,
    /// `%RESPONSE_CODE_DETAILS%`
    ResponseCodeDetails,
    /// `%RESPONSE_FLAGS%`
    ResponseFlags,
    /// `%ROUTE_NAME%`
    RouteName,
    /// `%START_TIME%`, with an optional strftime format.
    StartTime(Option<String>),
    /// `%UPSTREAM_CLUSTER%`
    UpstreamCluster,
    /// `%UPSTREAM_HOST%`
    UpstreamHost,
    /// `%UPSTREAM_LOCAL_ADDRESS%`
    UpstreamLocalAddress,
    /// `%UPSTREAM_REQUEST_ATTEMPT_COUNT%`
    UpstreamRequestAttemptCount,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`
    UpstreamTransportFailureReason,
}
