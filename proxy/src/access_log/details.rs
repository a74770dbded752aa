//! How a response came about, and why a connection ended: Envoy's texts in `%RESPONSE_CODE_DETAILS%` and
//! `%CONNECTION_TERMINATION_DETAILS%`, as enums. The proxy sets values and compares values; the text is made when a line is
//! written, and read where a line is explained.

use super::filter_details::{DeniedBy, HealthCheck, Unresolved, Unsendable};
use super::jwt::JwtDenied;
use crate::codec::Violation;
use crate::config::filter::StrictHeader;
pub use crate::texts::UnknownText;
use crate::texts::{Pieces, Text, text_enum};

text_enum! {
    /// `%RESPONSE_CODE_DETAILS%`: how the response came about, or why there is none.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub enum Details {
        /// The request's target is not a path: `OPTIONS *`.
        AbsolutePathRejected = "absolute_path_rejected",
        /// The credentials of a request are not those of a user.
        BasicAuthInvalidCredential = "invalid_credential_for_basic_auth",
        /// The credentials of a request are none.
        BasicAuthInvalidFormat = "invalid_format_for_basic_auth",
        /// The credentials of a request are of another scheme than `Basic`.
        BasicAuthInvalidScheme = "invalid_scheme_for_basic_auth",
        /// A request has no credentials.
        BasicAuthNoCredential = "no_credential_for_basic_auth",
        /// The route's cluster does not exist.
        ClusterNotFound = "cluster_not_found",
        /// A filter has responded to a preflight.
        CorsResponse = "cors_response",
        /// A request that changes something does not come from a page that may.
        CsrfOriginMismatch = "csrf_origin_mismatch",
        /// A cache of hosts has no room for the one that the request names.
        DnsCacheOverflow = "dns_cache_overflow",
        /// The route has a direct response.
        DirectResponse = "direct_response",
        /// A drain came to its end while the stream was under way.
        DrainEnded = "downstream_local_disconnect(drain)",
        /// The client did not answer a PING.
        PingTimeout = "downstream_local_disconnect(http2_ping_timeout)",
        /// The client closed its connection.
        DownstreamDisconnect = "downstream_remote_disconnect",
        /// A request to be forwarded to its host names none.
        EmptyHostHeader = "empty_host_header",
        /// An authorisation service has denied the request.
        ExtAuthzDenied = "ext_authz_denied",
        /// No authorisation service has allowed the request.
        ExtAuthzError = "ext_authz_error",
        /// What the service wants changed cannot be in a message.
        ExtAuthzInvalid = "ext_authz_invalid",
        /// The body of a gRPC-Web request is no base64.
        Base64Data = "grpc_base_64_decode_failed",
        /// The body of a gRPC-Web request is not made of whole groups of base64.
        Base64Size = "grpc_base_64_decode_failed_bad_size",
        /// A fault was injected: the request was refused.
        FaultFilterAbort = "fault_filter_abort",
        /// Too many requests wait for their hosts to be resolved.
        ForwardProxyPendingOverflow = "dynamic_forward_proxy_pending_request_overflow",
        /// No filter chain of the listener takes the connection.
        FilterChainNotFound = "filter_chain_not_found",
        /// The upstream's redirect was followed here.
        InternalRedirect = "internal_redirect",
        /// The path of a request for UDP names no target.
        InvalidPath = "invalid_path",
        /// There was no token left for the request.
        LocalRateLimited = "local_rate_limited",
        /// A runtime key has the cluster refuse requests.
        MaintenanceMode = "maintenance_mode",
        /// A script has responded.
        LuaResponse = "lua_response",
        /// `max_stream_duration` passed.
        MaxDurationTimeout = "max_duration_timeout",
        /// An HTTP/1.1 request without `host`.
        MissingHost = "missing_host_header",
        /// The cluster has no endpoint that may be used.
        NoHealthyUpstream = "no_healthy_upstream",
        /// The path has a fragment, or cannot be normalised.
        PathNormalizationFailed = "path_normalization_failed",
        /// A QUERY without content-type.
        QueryMissingContentType = "query_missing_content_type",
        /// A rate limit service has said nothing.
        RateLimiterError = "rate_limiter_error",
        /// The request's body could not be decompressed.
        RequestNotDecodable = "request_body_not_decodable",
        /// The response's body could not be decompressed.
        ResponseNotDecodable = "response_body_not_decodable",
        /// The request's body is larger than a filter permits.
        RequestPayloadTooLarge = "request_payload_too_large",
        /// A rate limit service has said that a limit is reached.
        RequestRateLimited = "request_rate_limited",
        /// A response's body that a filter has to keep is larger than the connection's buffer.
        ResponsePayloadTooLarge = "response_payload_too_large",
        /// `request_headers_timeout` passed.
        RequestHeaderTimeout = "request_header_timeout",
        /// `request_timeout` passed.
        RequestTimeout = "request_overall_timeout",
        /// The route's `timeout` passed.
        ResponseTimeout = "response_timeout",
        /// No virtual host or route takes the request.
        RouteNotFound = "route_not_found",
        /// `stream_idle_timeout` passed.
        StreamIdleTimeout = "stream_idle_timeout",
        /// An upgrade that is not configured.
        UpgradeFailed = "upgrade_failed",
        /// `max_stream_duration` of the cluster passed.
        UpstreamMaxStreamDuration = "upstream_max_stream_duration_reached",
        /// `per_try_idle_timeout` passed.
        PerTryIdleTimeout = "upstream_per_try_idle_timeout",
        /// `per_try_timeout` passed.
        PerTryTimeout = "upstream_per_try_timeout",
        /// The upstream's response was passed on.
        ViaUpstream = "via_upstream",
        /// The upstream did not accept the WebSocket.
        WebSocketHandshakeUnsuccessful = "websocket_handshake_unsuccessful",
        ..
        /// The client broke the rules of HTTP, or reset the stream.
        Codec(Violation),
        /// The host that a request names has no address.
        DnsResolutionFailure(Unresolved),
        /// The filter `health_check` has responded.
        HealthCheck(HealthCheck),
        /// The request's tokens do not let it through.
        JwtDenied(JwtDenied),
        /// Rules do not let the request through.
        RbacAccessDenied(DeniedBy),
        /// A filter has made the request one that cannot be sent.
        Unsendable(Unsendable),
        /// A header that is checked has an invalid value.
        StrictCheckFailed(StrictHeader),
        /// The upstream failed.
        UpstreamReset(UpstreamReset),
    }
}

/// `upstream_reset_before_response_started{overflow}`: the upstream failed, when and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamReset {
    /// Whether the response had begun.
    pub response: ResponseStart,
    /// Why the upstream stream was reset.
    pub cause: ResetCause,
}

/// Whether a response had begun when something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseStart {
    /// It had begun.
    After,
    /// Nothing of it had come.
    Before,
}

text_enum! {
    /// Why an upstream has no response, or not all of it. The same words, with blanks, are in the body that the client gets.
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub enum ResetCause {
        /// RST_STREAM with CONNECT_ERROR.
        ConnectError = "remote_error_with_CONNECT_request",
        /// `connect_timeout` passed.
        ConnectTimeout = "connection_timeout",
        /// A circuit breaker is open.
        Overflow = "overflow",
        /// What the upstream sent is not HTTP.
        Protocol = "protocol_error",
        /// RST_STREAM with REFUSED_STREAM, or a GOAWAY that left the stream out.
        RefusedStream = "remote_refused_stream_reset",
        /// RST_STREAM with another code.
        Reset = "remote_reset",
        /// The connection closed.
        Terminated = "connection_termination",
        ..
        /// The connection cannot come from where it is to come from.
        Bind(BindFailure),
        /// The connect failed.
        Connect(ConnectFailure),
    }
}

/// Why a connect failed, with `_` for blanks: `delayed_connect_error:_Connection_refused`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectFailure(Box<str>);

impl ConnectFailure {
    /// From the reason as `UPSTREAM_TRANSPORT_FAILURE_REASON` words it.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self(reason.replace(char::is_whitespace, "_").into())
    }
}

impl Text for ConnectFailure {
    fn pieces(&self) -> Pieces<'_> {
        [CONNECT_FAILED, &self.0, "", ""]
    }

    fn read(text: &str) -> Option<Self> {
        text.strip_prefix(CONNECT_FAILED).map(|reason| Self(reason.into()))
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        vec![Self::new("delayed connect error: Connection refused")]
    }
}

/// Why a connection cannot come from where it is to come from, with `_` for blanks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BindFailure(Box<str>);

impl BindFailure {
    /// From the reason as `UPSTREAM_TRANSPORT_FAILURE_REASON` words it.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self(reason.replace(char::is_whitespace, "_").into())
    }
}

impl Text for BindFailure {
    fn pieces(&self) -> Pieces<'_> {
        [BIND_FAILED, &self.0, "", ""]
    }

    fn read(text: &str) -> Option<Self> {
        text.strip_prefix(BIND_FAILED).map(|reason| Self(reason.into()))
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        vec![Self::new("failed to bind to 10.0.0.9:0: Cannot assign requested address")]
    }
}

const BIND_FAILED: &str = "local_connection_failure|";
const CONNECT_FAILED: &str = "remote_connection_failure|";

impl Text for UpstreamReset {
    fn pieces(&self) -> Pieces<'_> {
        // A cause has two pieces at most.
        let [cause, reason, ..] = self.cause.pieces();
        [self.response.reset(), cause, reason, "}"]
    }

    fn read(text: &str) -> Option<Self> {
        [ResponseStart::After, ResponseStart::Before].into_iter().find_map(|response| {
            let cause = text.strip_prefix(response.reset())?.strip_suffix('}')?;
            Some(Self { response, cause: ResetCause::read(cause)? })
        })
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        let causes = || ResetCause::examples().into_iter();
        let before = causes().map(|cause| Self { response: ResponseStart::Before, cause });
        before.chain(causes().map(|cause| Self { response: ResponseStart::After, cause })).collect()
    }
}

impl ResponseStart {
    /// What stands before the cause.
    fn reset(self) -> &'static str {
        match self {
            Self::After => "upstream_reset_after_response_started{",
            Self::Before => "upstream_reset_before_response_started{",
        }
    }
}

const STRICT_CHECK_FAILED: &str = "request_headers_failed_strict_check{";

impl Text for StrictHeader {
    fn pieces(&self) -> Pieces<'_> {
        [STRICT_CHECK_FAILED, self.name(), "}", ""]
    }

    fn read(text: &str) -> Option<Self> {
        let name = text.strip_prefix(STRICT_CHECK_FAILED)?.strip_suffix('}')?;
        Self::ALL.into_iter().find(|header| header.name() == name)
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        Self::ALL.into()
    }
}

impl Details {
    /// How the upstream failed, if these are the details of that.
    #[must_use]
    pub fn upstream_reset(&self) -> Option<&UpstreamReset> {
        if let Self::UpstreamReset(reset) = self { Some(reset) } else { None }
    }
}

impl From<Violation> for Details {
    fn from(violation: Violation) -> Self {
        Self::Codec(violation)
    }
}

text_enum! {
    /// `%CONNECTION_TERMINATION_DETAILS%`: why a connection ended. As in Envoy, a head that is none is no such reason: the
    /// details of its response say it.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum ConnectionTermination {
        /// The handshake of TLS took too long.
        SlowHandshake = "transport_socket_timeout_was_reached",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::texts::assert_texts_are_read_back;

    #[test]
    fn details_are_read_back_from_their_text() {
        assert_texts_are_read_back::<Details>();
        assert_texts_are_read_back::<ConnectionTermination>();
    }

    #[test]
    fn details_without_a_value_are_unknown() {
        for text in ["", "-", "via_upstream ", "upstream_reset_before_response_started{}", "http1.codec"] {
            assert_eq!(text.parse::<Details>().unwrap_err().to_string(), format!("unknown: {text}"));
        }
    }

    #[test]
    fn a_text_with_parts_is_written_in_order() {
        let cause = ResetCause::Connect(ConnectFailure::new("delayed connect error: Connection reset by peer"));
        let details = Details::UpstreamReset(UpstreamReset { response: ResponseStart::Before, cause });
        let text = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_reset_by_peer}";
        assert_eq!(details.to_string(), text);
        let strict = Details::StrictCheckFailed(StrictHeader::RetryOn);
        assert_eq!(strict.to_string(), "request_headers_failed_strict_check{x-envoy-retry-on}");
    }

    proptest! {
        #[test]
        fn details_of_any_connect_failure_are_read_back(reason in any::<String>(), has_begun in any::<bool>()) {
            let response = if has_begun { ResponseStart::After } else { ResponseStart::Before };
            let cause = ResetCause::Connect(ConnectFailure::new(&reason));
            let details = Details::UpstreamReset(UpstreamReset { response, cause });
            let text = details.to_string();
            prop_assert!(!text.contains(char::is_whitespace));
            prop_assert_eq!(text.parse(), Ok(details));
        }

        #[test]
        fn a_text_that_is_read_is_written_the_same(text in "(upstream_reset_(before|after)_response_started\\{[ -~]{0,60}\\}|[ -~]{0,60})") {
            if let Ok(details) = text.parse::<Details>() {
                prop_assert_eq!(details.to_string(), text);
            }
        }
    }
}
