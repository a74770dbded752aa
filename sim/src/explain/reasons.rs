//! What a person makes of a proxy's response-code details, and of its response flags where those have more: a sentence why,
//! and what would change it. New details do not compile before it is decided here which reason they have.

use finwait::access_log::{Details, JwtDenied, ResetCause, ResponseFlag, ResponseStart, UpstreamReset};
use finwait::codec::Violation;
use finwait::codec::http1::Refusal;

use super::authorisation;
use super::filters;
use super::proposal::{Proposal, set};
use super::reason::{At, Reason, reason};

/// Of a filter that finwait refuses: no configuration of a run has it.
const NOT_HERE: Proposal = Proposal::Untried("finwait does not have the filter");

const NEVER: &str = "no setting: such a request is never forwarded";

const NOT_A_PATH: Reason =
    reason("because the request target is not a path", "send a path: no setting permits another target", None);
const NO_UDP_TARGET: Reason = reason(
    "because a request for UDP names its target in its path (RFC 9298 3), and this path is another",
    "send /.well-known/masque/udp/HOST/PORT/: no setting permits another path",
    None,
);
const UNDERSCORE: Reason = reason(
    "because the name of a header field has an underscore",
    "permit underscores in names",
    Some((At::Manager, "common_http_protocol_options.headers_with_underscores_action", set("ALLOW"))),
);
const NO_CLUSTER: Reason = reason(
    "because the route's cluster does not exist",
    "route to a cluster that exists",
    Some((At::Route, "route.cluster", Proposal::FirstCluster)),
);
const TOO_MANY_PRIORITIES: Reason = reason(
    "because the client sent more PRIORITY frames than permitted",
    "permit more of them",
    Some((At::Manager, "http2_protocol_options.max_inbound_priority_frames_per_stream", set("100000"))),
);
const TOO_MANY_WINDOW_UPDATES: Reason = reason(
    "because the client sent more WINDOW_UPDATE frames than permitted",
    "permit more of them",
    Some((At::Manager, "http2_protocol_options.max_inbound_window_update_frames_per_data_frame_sent", set("100000"))),
);
const TOO_MANY_EMPTY_FRAMES: Reason = reason(
    "because the client sent more consecutive frames with an empty payload than permitted",
    "permit more of them",
    Some((At::Manager, "http2_protocol_options.max_consecutive_inbound_frames_with_empty_payload", set("100000"))),
);
const HTTP2_PROTOCOL: Reason = reason(
    "because of an HTTP/2 connection error of the client, which ends every stream of the connection (RFC 9113 5.4.1)",
    "no setting: the client has to send valid HTTP/2; its other requests on the connection fail with this one",
    None,
);
const DIRECT_RESPONSE: Reason = reason(
    "because the route has a direct_response",
    "route to a cluster",
    Some((At::Route, "direct_response", Proposal::FirstCluster)),
);
const DRAINED: Reason = reason(
    "because it is draining and the drain time was over",
    "raise --drain-time-s, or let the client connect again: no setting of the configuration file changes it",
    None,
);
const HEAD_TOO_LARGE: Reason = reason(
    "because the request head is larger than permitted",
    "permit larger heads",
    Some((At::Manager, "max_request_headers_kb", set("8192"))),
);
const TOO_MANY_FIELDS: Reason = reason(
    "because the request has more header fields than permitted",
    "permit more header fields",
    Some((At::Manager, "common_http_protocol_options.max_headers_count", set("65535"))),
);
const TWO_LENGTHS: Reason = reason("because the request has two conflicting lengths (RFC 9112 6.3)", NEVER, None);
const CUT_SHORT: Reason = reason(
    "because the request ended before it was complete",
    "no setting: the client has to send all of the body that it announced",
    None,
);
const NOT_HTTP1: Reason = reason("because it is not valid HTTP/1.1 (RFC 9112)", NEVER, None);
const CLIENT_RESET: Reason =
    reason("because the client had reset the stream", "no setting: the client has to wait for the response", None);
const CLIENT_CLOSED: Reason =
    reason("because the client had disconnected", "no setting: the client has to wait for the response", None);
const NOT_HTTP2: Reason = reason("because it is not valid HTTP/2 (RFC 9113)", NEVER, None);
const LOW_VERSION: Reason = reason(
    "because it does not serve HTTP/1.0",
    "serve HTTP/1.0",
    Some((At::Manager, "http_protocol_options.accept_http_10", set("true"))),
);
const NO_HOST: Reason = reason(
    "because the request has no host (RFC 9112 3.2)",
    "no setting: an HTTP/1.1 client has to send the host header",
    None,
);
const MAINTENANCE: Reason = reason(
    "because a runtime key has the cluster refuse this share of its requests",
    "set upstream.maintenance_mode and the cluster's name to 0 in the runtime",
    None,
);
const NO_ENDPOINT: Reason = reason(
    "because the cluster has no usable endpoint",
    "give the cluster endpoints that work",
    Some((At::Cluster, "load_assignment.endpoints", Proposal::AnotherApp)),
);
const LONGEST_ATTEMPT: Reason = reason(
    "because the attempt had reached max_stream_duration of its cluster, or what the request sets in its place",
    "permit longer attempts",
    Some((At::ClusterHttp, "common_http_protocol_options.max_stream_duration", set("3600s"))),
);
const QUERY_WITHOUT_TYPE: Reason = reason(
    "because a QUERY request has to have a content-type",
    "no setting: the client has to send content-type",
    None,
);
const BAD_PATH: Reason = reason("because the path is invalid", "send another path: no setting permits this one", None);
const NO_ROUTE: Reason = reason(
    "because no route matches the request",
    "add a route that matches the request",
    Some((At::Manager, "route_config.virtual_hosts", Proposal::FirstCluster)),
);
const NO_UPGRADE: Reason = reason(
    "because upgrades to this protocol are not configured here",
    "permit the upgrade",
    Some((At::Manager, "upgrade_configs", Proposal::Upgrade)),
);
const OVERFLOW: Reason = reason(
    "because a circuit breaker was open",
    "permit more concurrent ones",
    Some((At::Cluster, "circuit_breakers.thresholds", Proposal::Unlimited)),
);
const NO_SOURCE: Reason = reason(
    "because its host does not have the address that its connections are to come from",
    "name an address of that host",
    Some((At::Cluster, "upstream_bind_config.source_address", Proposal::Remove)),
);
const WEBSOCKET_REFUSED: Reason =
    reason("because the next hop did not accept the WebSocket", "no setting: the app has to respond 101", None);
const AS_NEXT_HOP: Reason = reason("as the next hop did", "no setting: it is the response of the app", None);

/// By flag, the most specific first: a stream may have several.
const FLAGS: [(ResponseFlag, Reason); 30] = [
    (
        ResponseFlag::DF,
        reason(
            "because the endpoint's name has no address",
            "name a host that resolves",
            Some((At::Cluster, "load_assignment.endpoints", Proposal::AnotherApp)),
        ),
    ),
    (
        ResponseFlag::DI,
        reason(
            "after a delay by the fault filter",
            "remove the delay",
            Some((At::Manager, "http_filters", Proposal::WithoutFilter("fault.v3.HTTPFault"))),
        ),
    ),
    (ResponseFlag::FI, filters::FAULT),
    (
        ResponseFlag::LH,
        reason(
            "because the health_check filter found this proxy, or a cluster that the filter names, not healthy",
            "change what the filter depends on",
            Some((At::Manager, "http_filters", Proposal::WithoutFilter("health_check.v3.HealthCheck"))),
        ),
    ),
    (
        ResponseFlag::RL,
        reason(
            "because a rate limit was reached",
            "permit a higher rate",
            Some((At::Manager, "http_filters", Proposal::WithoutFilter("local_ratelimit.v3.LocalRateLimit"))),
        ),
    ),
    (
        ResponseFlag::RLSE,
        reason(
            "because the rate limit service failed",
            "let requests pass when it fails",
            Some((At::Manager, "http_filters", NOT_HERE)),
        ),
    ),
    (
        ResponseFlag::RFCF,
        reason("from its cache", "disable the cache filter", Some((At::Manager, "http_filters", NOT_HERE))),
    ),
    (
        ResponseFlag::NFCF,
        reason(
            "because a filter's configuration had not been received",
            "give the filter a configuration",
            Some((At::Manager, "http_filters", NOT_HERE)),
        ),
    ),
    (
        ResponseFlag::UAEX,
        reason(
            "because authorization was refused",
            "authorize the request",
            Some((At::Manager, "http_filters", Proposal::WithoutFilter("ext_authz.v3.ExtAuthz"))),
        ),
    ),
    (
        ResponseFlag::IH,
        reason(
            "because an x-envoy- header of the request has an invalid value",
            "send a valid value, or remove the header from strict_check_headers",
            Some((At::Filter("router.v3.Router"), "strict_check_headers", Proposal::Remove)),
        ),
    ),
    (
        ResponseFlag::DO,
        reason(
            "because it shed load, by its cluster's drop policy",
            "drop less",
            Some((At::Cluster, "load_assignment.policy.drop_overloads", Proposal::Remove)),
        ),
    ),
    (
        ResponseFlag::UDO,
        reason(
            "because it sheds all load, by its cluster's drop policy",
            "drop less",
            Some((At::Cluster, "load_assignment.policy.drop_overloads", Proposal::Remove)),
        ),
    ),
    (
        ResponseFlag::OM,
        reason("because it was overloaded", "give it more memory, or raise the limits of overload_manager", None),
    ),
    (ResponseFlag::NC, NO_CLUSTER),
    (ResponseFlag::NR, NO_ROUTE),
    (ResponseFlag::UO, OVERFLOW),
    (ResponseFlag::UH, NO_ENDPOINT),
    (
        ResponseFlag::UF,
        reason(
            "because it could not connect to the next hop",
            "name an endpoint that has a listener",
            Some((At::Cluster, "load_assignment.endpoints", Proposal::AnotherApp)),
        ),
    ),
    (
        ResponseFlag::UC,
        reason(
            "because the next hop ended the connection",
            "close idle connections before the next hop does",
            Some((At::ClusterHttp, "common_http_protocol_options.idle_timeout", set("1s"))),
        ),
    ),
    (
        ResponseFlag::UR,
        reason(
            "because the next hop reset the stream",
            "retry, retry_on: reset",
            Some((At::Route, "route.retry_policy", set("{ retry_on: reset }"))),
        ),
    ),
    (
        ResponseFlag::UPE,
        reason(
            "because the response is not in the protocol of the cluster",
            "use the protocol of the next hop",
            Some((At::ClusterHttp, "explicit_http_config", set("{ http2_protocol_options: {} }"))),
        ),
    ),
    (
        ResponseFlag::UMSDR,
        reason(
            "because the request had reached max_stream_duration",
            "permit longer requests",
            Some((At::ClusterHttp, "common_http_protocol_options.max_stream_duration", set("3600s"))),
        ),
    ),
    (
        ResponseFlag::UT,
        reason(
            "because the next hop took too long",
            "wait longer",
            Some((At::Route, "route.timeout", Proposal::Longer(None))),
        ),
    ),
    (
        ResponseFlag::DT,
        reason(
            "because the client's connection had reached max_connection_duration",
            "permit longer connections",
            Some((At::Manager, "common_http_protocol_options.max_connection_duration", Proposal::Remove)),
        ),
    ),
    (
        ResponseFlag::SI,
        reason(
            "because no bytes had moved for too long",
            "wait longer",
            Some((At::Manager, "stream_idle_timeout", Proposal::Longer(None))),
        ),
    ),
    (ResponseFlag::DPE, reason("because the request is not valid HTTP", NEVER, None)),
    (ResponseFlag::LR, reason("because it reset the stream itself", "no setting is known to change it", None)),
    (ResponseFlag::DC, CLIENT_CLOSED),
    (ResponseFlag::DR, CLIENT_RESET),
    (
        ResponseFlag::URX,
        reason(
            "because no retry was left",
            "retry more often",
            Some((At::Route, "route.retry_policy.num_retries", set("10"))),
        ),
    ),
];

/// The reason for a stream that ended with these details and flags.
pub(super) fn of(details: Option<&Details>, flags: &[ResponseFlag]) -> Option<Reason> {
    let by_flag = || FLAGS.iter().find(|(flag, _)| flags.contains(flag)).map(|(_, reason)| reason.clone());
    details.and_then(of_details).or_else(by_flag)
}

/// By details; `None` where the flags have as much.
fn of_details(details: &Details) -> Option<Reason> {
    Some(match details {
        Details::AbsolutePathRejected => NOT_A_PATH,
        Details::BasicAuthInvalidCredential
        | Details::BasicAuthInvalidFormat
        | Details::BasicAuthInvalidScheme
        | Details::BasicAuthNoCredential => authorisation::of_password(details),
        Details::Base64Data | Details::Base64Size => filters::BAD_BASE64,
        Details::ClusterNotFound => NO_CLUSTER,
        Details::Codec(violation) => return of_violation(*violation),
        Details::CorsResponse => filters::PREFLIGHT,
        Details::CsrfOriginMismatch => filters::OTHER_ORIGIN,
        Details::DirectResponse => DIRECT_RESPONSE,
        Details::DnsCacheOverflow
        | Details::DnsResolutionFailure(_)
        | Details::EmptyHostHeader
        | Details::ForwardProxyPendingOverflow => return filters::of_host(details),
        Details::DownstreamDisconnect => CLIENT_CLOSED,
        Details::DrainEnded => DRAINED,
        Details::ExtAuthzDenied | Details::ExtAuthzError | Details::ExtAuthzInvalid => {
            authorisation::of_service(details)
        }
        Details::FaultFilterAbort => filters::FAULT,
        Details::HealthCheck(responded) => filters::of_check(*responded),
        Details::InvalidPath => NO_UDP_TARGET,
        Details::JwtDenied(JwtDenied(failure)) => authorisation::of_token(*failure),
        Details::LuaResponse => filters::SCRIPT,
        Details::MaintenanceMode => MAINTENANCE,
        Details::MissingHost => NO_HOST,
        Details::NoHealthyUpstream => NO_ENDPOINT,
        Details::PathNormalizationFailed => BAD_PATH,
        Details::RbacAccessDenied(_) => filters::FORBIDDEN,
        Details::RequestNotDecodable | Details::ResponseNotDecodable => filters::NOT_DECODABLE,
        Details::RequestPayloadTooLarge => filters::PAYLOAD_TOO_LARGE,
        Details::QueryMissingContentType => QUERY_WITHOUT_TYPE,
        Details::RateLimiterError => authorisation::NOT_COUNTED,
        Details::RequestRateLimited => authorisation::OVER_LIMIT,
        Details::ResponsePayloadTooLarge => filters::RESPONSE_TOO_LARGE,
        Details::RouteNotFound => NO_ROUTE,
        Details::Unsendable(_) => filters::UNSENDABLE,
        Details::UpgradeFailed => NO_UPGRADE,
        Details::UpstreamReset(reset) => return of_reset(reset),
        Details::UpstreamMaxStreamDuration => LONGEST_ATTEMPT,
        Details::ViaUpstream => AS_NEXT_HOP,
        Details::WebSocketHandshakeUnsuccessful => WEBSOCKET_REFUSED,
        // Of a connection, in the log of its listener.
        Details::FilterChainNotFound
        | Details::InternalRedirect
        | Details::LocalRateLimited
        | Details::MaxDurationTimeout
        | Details::PerTryIdleTimeout
        | Details::PerTryTimeout
        | Details::PingTimeout
        | Details::RequestHeaderTimeout
        | Details::RequestTimeout
        | Details::ResponseTimeout
        | Details::StreamIdleTimeout
        | Details::StrictCheckFailed(_) => return None,
    })
}

fn of_reset(reset: &UpstreamReset) -> Option<Reason> {
    match reset {
        UpstreamReset { response: ResponseStart::Before, cause: ResetCause::Overflow } => Some(OVERFLOW),
        UpstreamReset { cause: ResetCause::Bind(_), .. } => Some(NO_SOURCE),
        UpstreamReset { .. } => None,
    }
}

fn of_violation(violation: Violation) -> Option<Reason> {
    Some(match violation {
        Violation::EmptyFramesFlood | Violation::TooManyEmptyFrames => TOO_MANY_EMPTY_FRAMES,
        Violation::HeaderListTooLarge | Violation::Http1(Refusal::HeadersTooLarge) => HEAD_TOO_LARGE,
        Violation::TooManyHeaders | Violation::Http1(Refusal::TooManyHeaders) => TOO_MANY_FIELDS,
        Violation::Http1(Refusal::InvalidAuthority) => return None,
        Violation::Http1(Refusal::LengthAndChunked) => TWO_LENGTHS,
        Violation::Http1(Refusal::LowVersion) => LOW_VERSION,
        Violation::Http1(
            Refusal::BodyDisallowed
            | Refusal::Codec
            | Refusal::ConnectionHeader
            | Refusal::InvalidCharacters
            | Refusal::InvalidScheme
            | Refusal::InvalidUrl
            | Refusal::TransferEncoding,
        ) => NOT_HTTP1,
        Violation::Http1(Refusal::Underscore) | Violation::Underscore => UNDERSCORE,
        Violation::Http1CutShort => CUT_SHORT,
        Violation::InvalidHeaderField | Violation::MessagingRule => NOT_HTTP2,
        Violation::Protocol | Violation::TooManyContinuations | Violation::Unknown => HTTP2_PROTOCOL,
        Violation::RemoteReset => CLIENT_RESET,
        Violation::TooManyPriorities => TOO_MANY_PRIORITIES,
        Violation::TooManyWindowUpdates => TOO_MANY_WINDOW_UPDATES,
        // Of an upstream alone, and of a client that the proxy no longer serves: the flags have it.
        Violation::NotHttp2 | Violation::TooManyResets => return None,
    })
}

/// What details mean if the client has not closed or reset anything: a stream that the proxy breaks off for a violation is
/// logged as one that was reset.
pub(super) fn of_own_end(details: Option<&Details>) -> Option<Details> {
    let details = details?.clone();
    let is_reset = details == Details::Codec(Violation::RemoteReset);
    Some(if is_reset { Violation::MessagingRule.into() } else { details })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_reason_and_a_remedy() {
        assert_eq!(FLAGS.len(), ResponseFlag::ALL.len());
        for flag in ResponseFlag::ALL {
            let reason = of(None, &[flag]).unwrap_or_else(|| panic!("nothing about {}", flag.short()));
            assert!(!reason.why.is_empty() && !reason.change.is_empty(), "{}", flag.short());
        }
    }

    #[test]
    fn details_have_more_than_flags() {
        let flags = [ResponseFlag::DPE];
        for (details, why) in [
            ("low_version", "because it does not serve HTTP/1.0"),
            ("http1.headers_too_large", "because the request head is larger than permitted"),
            ("http1.invalid_url", "because it is not valid HTTP/1.1 (RFC 9112)"),
            ("http.invalid_authority", "because the request is not valid HTTP"),
        ] {
            let details = details.parse().expect("the proxy has such details");
            assert_eq!(of(Some(&details), &flags).map(|reason| reason.why), Some(why), "{details}");
        }
        assert_eq!(of(None, &flags).map(|reason| reason.why), Some("because the request is not valid HTTP"));
        assert_eq!(of(Some(&Details::ResponseTimeout), &[]), None);
    }
}
