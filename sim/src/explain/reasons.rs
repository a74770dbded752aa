//! The words in which a proxy says why, and what a person makes of them: one table for `%RESPONSE_CODE_DETAILS%`, and one
//! for `%RESPONSE_FLAGS%` where the details are none that is known here.

/// What a proxy says that found no endpoint.
pub(super) const NO_ENDPOINT: &str = "no_healthy_upstream";

/// Where a setting stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum At {
    /// In the cluster that the route leads to.
    Cluster,
    /// Among the cluster's HTTP options.
    ClusterHttp,
    /// In the connection manager.
    Manager,
    /// In the route.
    Route,
}

/// Why a proxy did what it did, and what would have changed it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reason {
    /// The word, or its beginning if it ends in a star.
    word: &'static str,
    /// Follows what was done: `because no route takes the request`.
    pub(super) why: &'static str,
    /// What to do about it.
    pub(super) change: &'static str,
    /// With which setting; none if none is about it.
    pub(super) setting: Option<(At, &'static str)>,
}

const fn reason(
    word: &'static str,
    why: &'static str,
    change: &'static str,
    setting: Option<(At, &'static str)>,
) -> Reason {
    Reason { word, why, change, setting }
}

const NEVER: &str = "no setting: such a request is not passed on, whoever sends it";

/// By details.
const DETAILS: [Reason; 32] = [
    reason(
        "absolute_path_rejected",
        "because what it asks for is not a path",
        "ask for a path: no setting permits another target",
        None,
    ),
    reason(
        "cluster_not_found",
        "because the route's cluster does not exist",
        "lead the route to a cluster that exists",
        Some((At::Route, "route.cluster")),
    ),
    reason(
        "codec_error:Too_many_PRIORITY_frames",
        "because the client sent more PRIORITY frames than it may",
        "permit more of them",
        Some((At::Manager, "http2_protocol_options.max_inbound_priority_frames_per_stream")),
    ),
    reason(
        "codec_error:Too_many_WINDOW_UPDATE_frames",
        "because the client sent more WINDOW_UPDATE frames than it may",
        "permit more of them",
        Some((At::Manager, "http2_protocol_options.max_inbound_window_update_frames_per_data_frame_sent")),
    ),
    reason(
        "codec_error:Too_many_consecutive_frames_with_an_empty_payload",
        "because the client sent more frames in a row that bring nothing than it may",
        "permit more of them",
        Some((At::Manager, "http2_protocol_options.max_consecutive_inbound_frames_with_empty_payload")),
    ),
    reason(
        "codec_error:*",
        "because the client broke the rules of HTTP/2, which ends every stream of its connection (RFC 9113 5.4.1)",
        "no setting: the client has to keep to the rules; its other requests suffer with the one that does not",
        None,
    ),
    reason(
        "direct_response",
        "because the route says so",
        "lead the route to a cluster",
        Some((At::Route, "direct_response")),
    ),
    reason(
        "downstream_local_disconnect(drain)",
        "because it drains and the connection's time was over",
        "give the drain longer (--drain-time-s), or let the client come back: no line of the configuration is about it",
        None,
    ),
    reason(
        "http1.headers_too_large",
        "because the head is larger than it may be",
        "permit larger heads",
        Some((At::Manager, "max_request_headers_kb")),
    ),
    reason(
        "http1.too_many_headers",
        "because the head has more fields than it may have",
        "permit more fields",
        Some((At::Manager, "common_http_protocol_options.max_headers_count")),
    ),
    reason(
        "http1.content_length_and_chunked_not_allowed",
        "because the request has two lengths, which two readers could read differently (RFC 9112 6.3)",
        NEVER,
        None,
    ),
    reason(
        "http1.message_cut_short",
        "because the request ended before it was complete",
        "let the client finish what it announced: no setting is about it",
        None,
    ),
    reason("http1.*", "because it is not HTTP/1.1 as RFC 9112 has it", NEVER, None),
    reason(
        "http2.header_list_size_too_large",
        "because the head is larger than it may be",
        "permit larger heads",
        Some((At::Manager, "max_request_headers_kb")),
    ),
    reason(
        "http2.too_many_headers",
        "because the head has more fields than it may have",
        "permit more fields",
        Some((At::Manager, "common_http_protocol_options.max_headers_count")),
    ),
    reason(
        "http2.inbound_empty_frames_flood",
        "because the client sent more frames in a row that bring nothing than it may",
        "permit more of them",
        Some((At::Manager, "http2_protocol_options.max_consecutive_inbound_frames_with_empty_payload")),
    ),
    reason(
        "http2.inbound_priority_frames_flood",
        "because the client sent more PRIORITY frames than it may",
        "permit more of them",
        Some((At::Manager, "http2_protocol_options.max_inbound_priority_frames_per_stream")),
    ),
    reason(
        "http2.inbound_window_update_frames_flood",
        "because the client sent more WINDOW_UPDATE frames than it may",
        "permit more of them",
        Some((At::Manager, "http2_protocol_options.max_inbound_window_update_frames_per_data_frame_sent")),
    ),
    reason(
        "http2.remote_reset",
        "because its client had reset the stream",
        "no setting: the client has to wait for its answer",
        None,
    ),
    reason(
        "downstream_remote_disconnect",
        "because its client had gone",
        "no setting: the client has to wait for its answer",
        None,
    ),
    reason("http2.*", "because it is not HTTP/2 as RFC 9113 has it", NEVER, None),
    reason(
        "low_version",
        "because it does not serve HTTP/1.0",
        "serve HTTP/1.0",
        Some((At::Manager, "http_protocol_options.accept_http_10")),
    ),
    reason(
        "missing_host_header",
        "because the request names no host (RFC 9112 3.2)",
        "no setting: a client of HTTP/1.1 has to name the host",
        None,
    ),
    reason(
        "no_healthy_upstream",
        "because the cluster has no endpoint that it may use",
        "give the cluster endpoints that work",
        Some((At::Cluster, "load_assignment.endpoints")),
    ),
    reason(
        "request_payload_too_large",
        "because the body is larger than the buffer filter permits",
        "max_request_bytes of the buffer filter, for the route or for all",
        None,
    ),
    reason(
        "query_missing_content_type",
        "because a QUERY has to say what type its content has",
        "no setting: the client has to send content-type",
        None,
    ),
    reason(
        "path_normalization_failed",
        "because the path is not one that it takes",
        "ask for another path: no setting permits this one",
        None,
    ),
    reason(
        "route_not_found",
        "because no route takes the request",
        "add a route that takes the request",
        Some((At::Manager, "route_config.virtual_hosts")),
    ),
    reason(
        "upgrade_failed",
        "because upgrades to this protocol are not configured here",
        "permit the upgrade",
        Some((At::Manager, "upgrade_configs")),
    ),
    reason(
        "upstream_reset_before_response_started{overflow}",
        "because a circuit breaker was open",
        "permit more at once",
        Some((At::Cluster, "circuit_breakers.thresholds")),
    ),
    reason(
        "websocket_handshake_unsuccessful",
        "because the next hop did not accept the WebSocket",
        "no setting: the app has to answer 101",
        None,
    ),
    reason("via_upstream", "as the next hop did", "no setting: the app answered so", None),
];

/// By flag, the most telling first: a stream may have several.
const FLAGS: [Reason; 30] = [
    reason(
        "DF",
        "because the endpoint's name has no address",
        "name a host that resolves",
        Some((At::Cluster, "load_assignment.endpoints")),
    ),
    reason(
        "DI",
        "after a delay that the fault filter put in",
        "take the delay out",
        Some((At::Manager, "http_filters")),
    ),
    reason("FI", "because the fault filter says so", "take the fault out", Some((At::Manager, "http_filters"))),
    reason(
        "LH",
        "because it fails its own health check",
        "let it pass: /healthcheck/ok, or the filter that answers",
        Some((At::Manager, "http_filters")),
    ),
    reason("RL", "because a rate limit was reached", "permit a higher rate", Some((At::Manager, "http_filters"))),
    reason(
        "RLSE",
        "because the rate limit service failed",
        "let requests pass when it fails",
        Some((At::Manager, "http_filters")),
    ),
    reason("RFCF", "from its cache", "ask the app instead", Some((At::Manager, "http_filters"))),
    reason(
        "NFCF",
        "because a filter's configuration had not come",
        "give the filter a configuration",
        Some((At::Manager, "http_filters")),
    ),
    reason("UAEX", "because authorization was refused", "authorize the request", Some((At::Manager, "http_filters"))),
    reason(
        "IH",
        "because an x-envoy header of the request has a value that means nothing",
        "send another value, or let strict_check_headers leave it unchecked",
        Some((At::Manager, "http_filters")),
    ),
    reason(
        "DO",
        "because it shed load, as its cluster's drop policy says",
        "drop less",
        Some((At::Cluster, "load_assignment.policy.drop_overloads")),
    ),
    reason(
        "UDO",
        "because it sheds all load, as its cluster's drop policy says",
        "drop less",
        Some((At::Cluster, "load_assignment.policy.drop_overloads")),
    ),
    reason(
        "OM",
        "because it was overloaded",
        "give it more memory, or permit more: overload_manager stands beside static_resources",
        None,
    ),
    reason(
        "NC",
        "because the route's cluster does not exist",
        "lead the route to a cluster that exists",
        Some((At::Route, "route.cluster")),
    ),
    reason(
        "NR",
        "because no route takes the request",
        "add a route that takes the request",
        Some((At::Manager, "route_config.virtual_hosts")),
    ),
    reason(
        "UO",
        "because a circuit breaker was open",
        "permit more at once",
        Some((At::Cluster, "circuit_breakers.thresholds")),
    ),
    reason(
        "UH",
        "because the cluster has no endpoint that it may use",
        "give the cluster endpoints that work",
        Some((At::Cluster, "load_assignment.endpoints")),
    ),
    reason(
        "UF",
        "because it could not connect to the next hop",
        "name an endpoint where somebody listens",
        Some((At::Cluster, "load_assignment.endpoints")),
    ),
    reason(
        "UC",
        "because the next hop ended the connection",
        "close idle connections before the next hop does",
        Some((At::ClusterHttp, "common_http_protocol_options.idle_timeout")),
    ),
    reason(
        "UR",
        "because the next hop reset the stream",
        "ask again, retry_on: reset",
        Some((At::Route, "route.retry_policy")),
    ),
    reason(
        "UPE",
        "because what the next hop said is not the protocol of the cluster",
        "speak the protocol that the next hop speaks",
        Some((At::ClusterHttp, "explicit_http_config")),
    ),
    reason(
        "UMSDR",
        "because the request had reached its longest life",
        "let requests live longer",
        Some((At::ClusterHttp, "common_http_protocol_options.max_stream_duration")),
    ),
    reason("UT", "because the next hop took too long", "wait longer", Some((At::Route, "route.timeout"))),
    reason(
        "DT",
        "because the client's connection had reached its longest life",
        "let connections live longer",
        Some((At::Manager, "common_http_protocol_options.max_connection_duration")),
    ),
    reason("SI", "because nothing had moved for too long", "wait longer", Some((At::Manager, "stream_idle_timeout"))),
    reason("DPE", "because what the client sent is not HTTP", NEVER, None),
    reason("LR", "because it reset the stream itself", "no setting is known for it", None),
    reason("DC", "because its client had gone", "no setting: the client has to wait for its answer", None),
    reason("DR", "because its client had reset the stream", "no setting: the client has to wait for its answer", None),
    reason("URX", "because no try was left", "ask more often", Some((At::Route, "route.retry_policy.num_retries"))),
];

/// What there is to say about a stream that ended with these details and flags.
pub(super) fn of(details: &str, flags: &[String]) -> Option<Reason> {
    let is_meant = |reason: &&Reason| match reason.word.strip_suffix('*') {
        Some(beginning) => details.starts_with(beginning),
        None => details == reason.word,
    };
    let by_flag = || FLAGS.iter().find(|reason| flags.iter().any(|flag| flag == reason.word));
    DETAILS.iter().find(is_meant).or_else(by_flag).copied()
}

/// What details mean if the client has not left: a stream that the proxy breaks off for a violation is logged as one that
/// was reset.
pub(super) fn of_own_end(details: &str) -> &str {
    if details == "http2.remote_reset" { "http2.violation.of.messaging.rule" } else { details }
}

#[cfg(test)]
mod tests {
    use finwait::access_log::ResponseFlag;

    use super::*;

    #[test]
    fn every_flag_has_a_reason_that_says_what_to_do() {
        use ResponseFlag as F;
        let all = [
            F::DC,
            F::DF,
            F::DI,
            F::DO,
            F::DPE,
            F::DR,
            F::DT,
            F::FI,
            F::IH,
            F::LH,
            F::LR,
            F::NC,
            F::NFCF,
            F::NR,
            F::OM,
            F::RFCF,
            F::RL,
            F::RLSE,
            F::SI,
            F::UAEX,
            F::UC,
            F::UDO,
            F::UF,
            F::UH,
            F::UMSDR,
            F::UO,
            F::UPE,
            F::UR,
            F::URX,
            F::UT,
        ];
        assert_eq!(all.len(), FLAGS.len());
        for flag in all {
            let reason = of("", &[flag.short().to_owned()]).unwrap_or_else(|| panic!("nothing about {}", flag.short()));
            assert!(!reason.why.is_empty() && !reason.change.is_empty(), "{}", flag.short());
        }
    }

    #[test]
    fn details_say_more_than_flags() {
        let flags = ["DPE".to_owned()];
        for (details, why) in [
            ("low_version", "because it does not serve HTTP/1.0"),
            ("http1.headers_too_large", "because the head is larger than it may be"),
            ("http1.invalid_url", "because it is not HTTP/1.1 as RFC 9112 has it"),
            ("", "because what the client sent is not HTTP"),
            ("something_else", "because what the client sent is not HTTP"),
        ] {
            assert_eq!(of(details, &flags).map(|reason| reason.why), Some(why), "{details}");
        }
        assert_eq!(of("something_else", &[]), None);
    }
}
