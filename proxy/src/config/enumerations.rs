//! The numbers of Envoy's enumerations: protobuf's JSON form takes a value by its number as well as by its name.

/// Each enumeration of [`bootstrap`](super::bootstrap) that is no choice of types, with the values that Envoy gives it.
#[rustfmt::skip]
const ENUMERATIONS: &[(&str, &[(&str, i128)])] = &[
    ("AccessLogType", &[
        ("NotSet", 0), ("TcpUpstreamConnected", 1), ("TcpPeriodic", 2), ("TcpConnectionEnd", 3), ("DownstreamStart", 4),
        ("DownstreamPeriodic", 5), ("DownstreamEnd", 6), ("UpstreamPoolReady", 7), ("UpstreamPeriodic", 8), ("UpstreamEnd", 9),
        ("DownstreamTunnelSuccessfullyEstablished", 10), ("UdpTunnelUpstreamConnected", 11), ("UdpPeriodic", 12),
        ("UdpSessionEnd", 13), ("TcpConnectionStart", 14),
    ]),
    ("AppendAction", &[
        ("APPEND_IF_EXISTS_OR_ADD", 0), ("ADD_IF_ABSENT", 1), ("OVERWRITE_IF_EXISTS_OR_ADD", 2), ("OVERWRITE_IF_EXISTS", 3),
    ]),
    ("CheckCodec", &[("HTTP1", 0), ("HTTP2", 1), ("HTTP3", 2)]),
    ("ClusterNotFoundResponseCode", &[("SERVICE_UNAVAILABLE", 0), ("NOT_FOUND", 1), ("INTERNAL_SERVER_ERROR", 2)]),
    ("CodecType", &[("AUTO", 0), ("HTTP1", 1), ("HTTP2", 2), ("HTTP3", 3)]),
    ("CollectorEndpointVersion", &[
        ("DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE", 0), ("HTTP_JSON", 1), ("HTTP_PROTO", 2), ("GRPC", 3),
    ]),
    ("ComparisonOp", &[("EQ", 0), ("GE", 1), ("LE", 2), ("NE", 3)]),
    ("CompressionLevel", &[
        ("DEFAULT_COMPRESSION", 0), ("BEST_SPEED", 1), ("COMPRESSION_LEVEL_2", 2), ("COMPRESSION_LEVEL_3", 3),
        ("COMPRESSION_LEVEL_4", 4), ("COMPRESSION_LEVEL_5", 5), ("COMPRESSION_LEVEL_6", 6), ("COMPRESSION_LEVEL_7", 7),
        ("COMPRESSION_LEVEL_8", 8), ("COMPRESSION_LEVEL_9", 9),
    ]),
    ("ConnectionSourceType", &[("ANY", 0), ("SAME_IP_OR_LOOPBACK", 1), ("EXTERNAL", 2)]),
    ("DenominatorType", &[("HUNDRED", 0), ("TEN_THOUSAND", 1), ("MILLION", 2)]),
    ("DiscoveryType", &[("STATIC", 0), ("STRICT_DNS", 1), ("LOGICAL_DNS", 2), ("EDS", 3), ("ORIGINAL_DST", 4)]),
    ("DnsLookupFamily", &[("AUTO", 0), ("V4_ONLY", 1), ("V6_ONLY", 2), ("V4_PREFERRED", 3), ("ALL", 4)]),
    ("EnforcementType", &[("ONE_TIME_ON_FIRST_BYTE", 0), ("CONTINUOUS", 1)]),
    ("FallbackPolicy", &[("NO_FALLBACK", 0), ("ANY_ENDPOINT", 1), ("DEFAULT_SUBSET", 2)]),
    ("ForwardClientCertDetails", &[
        ("SANITIZE", 0), ("FORWARD_ONLY", 1), ("APPEND_FORWARD", 2), ("SANITIZE_SET", 3), ("ALWAYS_FORWARD_ONLY", 4),
    ]),
    ("GrpcStatus", &[
        ("OK", 0), ("CANCELED", 1), ("UNKNOWN", 2), ("INVALID_ARGUMENT", 3), ("DEADLINE_EXCEEDED", 4), ("NOT_FOUND", 5),
        ("ALREADY_EXISTS", 6), ("PERMISSION_DENIED", 7), ("RESOURCE_EXHAUSTED", 8), ("FAILED_PRECONDITION", 9), ("ABORTED", 10),
        ("OUT_OF_RANGE", 11), ("UNIMPLEMENTED", 12), ("INTERNAL", 13), ("UNAVAILABLE", 14), ("DATA_LOSS", 15),
        ("UNAUTHENTICATED", 16),
    ]),
    ("HashFunction", &[("DEFAULT_HASH", 0), ("XX_HASH", 1), ("MURMUR_HASH_2", 2)]),
    ("HeadersWithUnderscoresAction", &[("ALLOW", 0), ("REJECT_REQUEST", 1), ("DROP_HEADER", 2)]),
    ("HealthStatus", &[
        ("UNKNOWN", 0), ("HEALTHY", 1), ("UNHEALTHY", 2), ("DRAINING", 3), ("TIMEOUT", 4), ("DEGRADED", 5),
    ]),
    ("LbPolicy", &[
        ("ROUND_ROBIN", 0), ("LEAST_REQUEST", 1), ("RING_HASH", 2), ("RANDOM", 3), ("MAGLEV", 5), ("CLUSTER_PROVIDED", 6),
        ("LOAD_BALANCING_POLICY_CONFIG", 7),
    ]),
    ("MetadataFallbackPolicy", &[("METADATA_NO_FALLBACK", 0), ("FALLBACK_LIST", 1)]),
    ("MetadataSource", &[("DYNAMIC", 0), ("ROUTE", 1)]),
    ("OcspStaplePolicy", &[("LENIENT_STAPLING", 0), ("STRICT_STAPLING", 1), ("MUST_STAPLE", 2)]),
    ("PassTlvsMatchType", &[("INCLUDE_ALL", 0), ("INCLUDE", 1)]),
    ("PathWithEscapedSlashesAction", &[
        ("IMPLEMENTATION_SPECIFIC_DEFAULT", 0), ("KEEP_UNCHANGED", 1), ("REJECT_REQUEST", 2), ("UNESCAPE_AND_REDIRECT", 3),
        ("UNESCAPE_AND_FORWARD", 4),
    ]),
    ("Protocol", &[("TCP", 0), ("UDP", 1)]),
    ("ProtocolSelection", &[("USE_CONFIGURED_PROTOCOL", 0), ("USE_DOWNSTREAM_PROTOCOL", 1)]),
    ("ProxyProtocolVersion", &[("V1", 0), ("V2", 1)]),
    ("RateLimitMetadataSource", &[("DYNAMIC", 0), ("ROUTE_ENTRY", 1), ("CLUSTER_ENTRY", 2), ("CLUSTER_LOCALITY_ENTRY", 3)]),
    ("RateLimitOverrideOption", &[("DEFAULT", 0), ("OVERRIDE_POLICY", 1), ("INCLUDE_POLICY", 2), ("IGNORE_POLICY", 3)]),
    ("RateLimitUnit", &[
        ("UNKNOWN", 0), ("SECOND", 1), ("MINUTE", 2), ("HOUR", 3), ("DAY", 4), ("MONTH", 5), ("YEAR", 6), ("WEEK", 7),
    ]),
    ("RbacAction", &[("ALLOW", 0), ("DENY", 1), ("LOG", 2)]),
    ("RedirectResponseCode", &[
        ("MOVED_PERMANENTLY", 0), ("FOUND", 1), ("SEE_OTHER", 2), ("TEMPORARY_REDIRECT", 3), ("PERMANENT_REDIRECT", 4),
    ]),
    ("RequestMethod", &[
        ("METHOD_UNSPECIFIED", 0), ("GET", 1), ("HEAD", 2), ("POST", 3), ("PUT", 4), ("DELETE", 5), ("CONNECT", 6),
        ("OPTIONS", 7), ("TRACE", 8), ("PATCH", 9),
    ]),
    ("ResetHeaderFormat", &[("SECONDS", 0), ("UNIX_TIMESTAMP", 1)]),
    ("RoutingPriority", &[("DEFAULT", 0), ("HIGH", 1)]),
    ("SanType", &[("EMAIL", 1), ("DNS", 2), ("URI", 3), ("IP_ADDRESS", 4), ("OTHER_NAME", 5)]),
    ("SelectionMethod", &[("N_CHOICES", 0), ("FULL_SCAN", 1)]),
    ("SelectorFallbackPolicy", &[
        ("NOT_DEFINED", 0), ("NO_FALLBACK", 1), ("ANY_ENDPOINT", 2), ("DEFAULT_SUBSET", 3), ("KEYS_SUBSET", 4),
    ]),
    ("ServerHeaderTransformation", &[("OVERWRITE", 0), ("APPEND_IF_ABSENT", 1), ("PASS_THROUGH", 2)]),
    ("SharedWithUpstream", &[("NONE", 0), ("ONCE", 1), ("TRANSITIVE", 2)]),
    ("SocketState", &[("STATE_PREBIND", 0), ("STATE_BOUND", 1), ("STATE_LISTENING", 2)]),
    ("StatusCode", &[
        ("Continue", 100), ("OK", 200), ("Created", 201), ("Accepted", 202), ("NonAuthoritativeInformation", 203),
        ("NoContent", 204), ("ResetContent", 205), ("PartialContent", 206), ("MultiStatus", 207),
        ("AlreadyReported", 208), ("IMUsed", 226), ("MultipleChoices", 300), ("MovedPermanently", 301), ("Found", 302),
        ("SeeOther", 303), ("NotModified", 304), ("UseProxy", 305), ("TemporaryRedirect", 307),
        ("PermanentRedirect", 308), ("BadRequest", 400), ("Unauthorized", 401), ("PaymentRequired", 402),
        ("Forbidden", 403), ("NotFound", 404), ("MethodNotAllowed", 405), ("NotAcceptable", 406),
        ("ProxyAuthenticationRequired", 407), ("RequestTimeout", 408), ("Conflict", 409), ("Gone", 410),
        ("LengthRequired", 411), ("PreconditionFailed", 412), ("PayloadTooLarge", 413), ("URITooLong", 414),
        ("UnsupportedMediaType", 415), ("RangeNotSatisfiable", 416), ("ExpectationFailed", 417),
        ("MisdirectedRequest", 421), ("UnprocessableEntity", 422), ("Locked", 423), ("FailedDependency", 424),
        ("UpgradeRequired", 426), ("PreconditionRequired", 428), ("TooManyRequests", 429),
        ("RequestHeaderFieldsTooLarge", 431), ("InternalServerError", 500), ("NotImplemented", 501),
        ("BadGateway", 502), ("ServiceUnavailable", 503), ("GatewayTimeout", 504), ("HTTPVersionNotSupported", 505),
        ("VariantAlsoNegotiates", 506), ("InsufficientStorage", 507), ("LoopDetected", 508), ("NotExtended", 510),
        ("NetworkAuthenticationRequired", 511),
    ]),
    ("TlsProtocol", &[("TLS_AUTO", 0), ("TLSv1_0", 1), ("TLSv1_1", 2), ("TLSv1_2", 3), ("TLSv1_3", 4)]),
    ("TlsRequirementType", &[("NONE", 0), ("EXTERNAL_ONLY", 1), ("ALL", 2)]),
    ("TlvLocation", &[("DYNAMIC_METADATA", 0), ("FILTER_STATE", 1)]),
    ("TlvMergePolicy", &[("ADD_IF_ABSENT", 0), ("OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD", 1), ("APPEND_IF_EXISTS_OR_ADD", 2)]),
    ("TrafficDirection", &[("UNSPECIFIED", 0), ("INBOUND", 1), ("OUTBOUND", 2)]),
    ("TrustChainVerification", &[("VERIFY_TRUST_CHAIN", 0), ("ACCEPT_UNTRUSTED", 1)]),
    ("ValueEncode", &[("NONE", 0), ("BASE64", 1)]),
    ("ValueType", &[("STRING", 0), ("NUMBER", 1), ("PROTOBUF_VALUE", 2)]),
    ("VhRateLimitsOptions", &[("OVERRIDE", 0), ("INCLUDE", 1), ("IGNORE", 2)]),
    ("XRateLimitHeadersRfcVersion", &[("OFF", 0), ("DRAFT_VERSION_03", 1)]),
    ("XRateLimitOption", &[("UNSPECIFIED", 0), ("OFF", 1), ("DRAFT_VERSION_03", 2)]),
];

/// The name of the value `number` of the enumeration `of`.
pub(super) fn name(of: &str, number: i128) -> Option<&'static str> {
    let (_, values) = ENUMERATIONS.iter().find(|(name, _)| *name == of)?;
    values.iter().find(|(_, value)| *value == number).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enumeration_has_its_numbers() {
        let messages = [
            include_str!("bootstrap/mod.rs"),
            include_str!("bootstrap/access_log.rs"),
            include_str!("bootstrap/balancing.rs"),
            include_str!("bootstrap/cluster.rs"),
            include_str!("bootstrap/compression.rs"),
            include_str!("bootstrap/filter.rs"),
            include_str!("bootstrap/filter_state.rs"),
            include_str!("bootstrap/header_to_metadata.rs"),
            include_str!("bootstrap/health.rs"),
            include_str!("bootstrap/listener.rs"),
            include_str!("bootstrap/network_filter.rs"),
            include_str!("bootstrap/rule_tree.rs"),
            include_str!("bootstrap/proxy_protocol.rs"),
            include_str!("bootstrap/policies.rs"),
            include_str!("bootstrap/rate_limit.rs"),
            include_str!("bootstrap/resolver.rs"),
            include_str!("bootstrap/route.rs"),
            include_str!("bootstrap/socket_option.rs"),
            include_str!("bootstrap/tcp_proxy.rs"),
            include_str!("bootstrap/tls.rs"),
            include_str!("bootstrap/tracing.rs"),
        ];
        let mut found = Vec::new();
        for (name, body) in messages.iter().flat_map(|text| text.split("pub(crate) enum ").skip(1)).filter_map(|text| {
            let (name, rest) = text.split_once(" {")?;
            Some((name, rest.split_once("\n}")?.0))
        }) {
            let names: Vec<&str> = body
                .split("rename = \"")
                .skip(1)
                .filter_map(|rest| rest.split_once('"'))
                .map(|(name, _)| name)
                .filter(|name| !name.is_empty() && !name.starts_with("type.googleapis.com/"))
                .collect();
            if names.is_empty() {
                continue;
            }
            let (_, values) = ENUMERATIONS.iter().find(|(of, _)| *of == name).unwrap_or_else(|| panic!("{name}"));
            for written in names {
                assert!(values.iter().any(|(known, _)| *known == written), "{name} has no number for {written}");
            }
            found.push(name);
        }
        found.sort_unstable();
        assert_eq!(found, ENUMERATIONS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
