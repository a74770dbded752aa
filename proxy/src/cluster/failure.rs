//! How a try can fail before it has a response, already judged.

use http::StatusCode;

use crate::access_log::details::{BindFailure, ConnectFailure};
use crate::access_log::{Details, ResetCause, ResponseFlag, ResponseStart, UpstreamReset};
use crate::codec::{ExchangeError, ResetReason};
use crate::dns_cache::HostFailure;

/// Why there is no response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The connection cannot come from where it is to come from; the text is Envoy's, which ends in the system's reason.
    Bind(String),
    /// The connection was refused or failed; the text is Envoy's, which ends in the system's reason.
    Connect(String),
    /// `connect_timeout` passed.
    ConnectTimeout,
    /// `max_stream_duration` of the cluster passed, or what the request set in its place.
    LongestStream {
        /// If not, the client kept the upstream waiting.
        request_complete: bool,
    },
    /// A circuit breaker is open.
    Overflow,
    /// The host that the request names, which would be the endpoint, is none.
    Host(HostFailure),
    /// No endpoint may be chosen.
    NoHealthyUpstream,
    /// The circuit breaker of waiting requests is open.
    PendingOverflow,
    /// The circuit breaker of pools is open, and the endpoint has no connection.
    PoolOverflow,
    /// What came back is not HTTP.
    Protocol,
    /// RST_STREAM with REFUSED_STREAM, or a GOAWAY that left our stream out: not processed.
    Refused,
    /// RST_STREAM with another code.
    Reset,
    /// RST_STREAM with CONNECT_ERROR: a hop further on lost its tunnel.
    ResetByConnect,
    /// The connection closed or broke.
    Terminated,
    /// `per_try_idle_timeout` passed.
    TryIdle,
    /// `per_try_timeout` passed.
    TryTimeout,
}

impl Failure {
    /// Envoy's words for it, as clients read them.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Bind(_) => "local connection failure",
            Self::Connect(_) => "remote connection failure",
            Self::ConnectTimeout => "connection timeout",
            Self::Overflow | Self::PendingOverflow => "overflow",
            Self::LongestStream { .. } => "upstream max stream duration reached",
            Self::Host(_) | Self::NoHealthyUpstream | Self::PoolOverflow => "no healthy upstream",
            Self::Protocol => "protocol error",
            Self::Refused => "remote refused stream reset",
            Self::Reset => "remote reset",
            Self::ResetByConnect => "remote error with CONNECT request",
            Self::Terminated => "connection termination",
            Self::TryIdle | Self::TryTimeout => "upstream request timeout",
        }
    }

    /// The status a client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Protocol => StatusCode::BAD_GATEWAY,
            Self::LongestStream { request_complete: false } => StatusCode::REQUEST_TIMEOUT,
            Self::LongestStream { request_complete: true } | Self::TryIdle | Self::TryTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::Bind(_)
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Overflow
            | Self::PendingOverflow
            | Self::PoolOverflow
            | Self::Host(_)
            | Self::NoHealthyUpstream
            | Self::Refused
            | Self::Reset
            | Self::ResetByConnect
            | Self::Terminated => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The flag operators read.
    #[must_use]
    pub fn flag(&self) -> ResponseFlag {
        match self {
            Self::Bind(_) | Self::Connect(_) | Self::ConnectTimeout => ResponseFlag::UF,
            Self::Overflow | Self::PendingOverflow => ResponseFlag::UO,
            Self::LongestStream { .. } => ResponseFlag::UMSDR,
            Self::Host(_) | Self::NoHealthyUpstream | Self::PoolOverflow => ResponseFlag::UH,
            Self::Protocol => ResponseFlag::UPE,
            Self::Refused | Self::Reset | Self::ResetByConnect => ResponseFlag::UR,
            Self::Terminated => ResponseFlag::UC,
            Self::TryIdle | Self::TryTimeout => ResponseFlag::UT,
        }
    }

    /// Response-code details, of a response that had begun or not.
    #[must_use]
    pub fn details(&self, response: ResponseStart) -> Details {
        let cause = match self {
            Self::Bind(reason) => ResetCause::Bind(BindFailure::new(reason)),
            Self::Connect(reason) => ResetCause::Connect(ConnectFailure::new(reason)),
            Self::ConnectTimeout => ResetCause::ConnectTimeout,
            Self::LongestStream { .. } => return Details::UpstreamMaxStreamDuration,
            Self::Host(failure) => return failure.details(),
            Self::NoHealthyUpstream | Self::PoolOverflow => return Details::NoHealthyUpstream,
            Self::Overflow | Self::PendingOverflow => ResetCause::Overflow,
            Self::Protocol => ResetCause::Protocol,
            Self::Refused => ResetCause::RefusedStream,
            Self::Reset => ResetCause::Reset,
            Self::ResetByConnect => ResetCause::ConnectError,
            Self::Terminated => ResetCause::Terminated,
            Self::TryIdle => return Details::PerTryIdleTimeout,
            Self::TryTimeout => return Details::PerTryTimeout,
        };
        Details::UpstreamReset(UpstreamReset { response, cause })
    }
}

impl From<ExchangeError> for Failure {
    fn from(broken: ExchangeError) -> Self {
        match broken {
            ExchangeError::Closed | ExchangeError::ConnectionReset => Self::Terminated,
            ExchangeError::Malformed(_) | ExchangeError::StreamReset(ResetReason::ProtocolError) => Self::Protocol,
            ExchangeError::StreamReset(ResetReason::RefusedStream) => Self::Refused,
            ExchangeError::StreamReset(ResetReason::ConnectError) => Self::ResetByConnect,
            // To Envoy, the upstream has reset it.
            ExchangeError::OverLimit(_)
            | ExchangeError::StreamReset(
                ResetReason::Cancel | ResetReason::InternalError | ResetReason::NoError | ResetReason::Other(_),
            ) => Self::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_have_the_text_that_clients_receive() {
        let failures = [
            Failure::Connect("delayed connect error: Connection refused".into()),
            Failure::ConnectTimeout,
            Failure::Overflow,
            Failure::Protocol,
            Failure::Refused,
            Failure::Reset,
            Failure::ResetByConnect,
            Failure::Terminated,
        ];
        for failure in failures {
            let begins = format!("upstream_reset_after_response_started{{{}", failure.reason().replace(' ', "_"));
            let details = failure.details(ResponseStart::After).to_string();
            assert!(details.starts_with(&begins), "{details}");
        }
    }
}
