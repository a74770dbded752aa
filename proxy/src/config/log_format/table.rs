//! Which operators there are, what stands in their parentheses, and whether their values may be cut.

use super::operator::{
    AddressPart, ByteKind, ClusterNaming, End, FingerprintKind, GrpcStatusForm, Hop, Operator, PathChoice, Query,
    StateForm, StateOwner, TimePoint, TimeUnit, TlsPart, TlsPeer, UNKNOWN, ValidityEnd, Way,
};
use super::{FormatError, Written};
use crate::config::cluster::MetadataOwner;
use crate::config::constraints::is_header_name;
use crate::config::metadata::MetadataPath;
use crate::config::problem::nearest;
use crate::config::tls::x509::NameKind;

/// Where a format is used, which decides what some operators stand for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// The value of a header.
    Header,
    /// A line of an access log, or the body of a local reply.
    Line,
}

/// What an operator stands for.
pub(super) enum Said {
    /// The same text in every line.
    Always(&'static str),
    /// A value that depends on the stream.
    Sometimes(Operator),
}

const fn address(of: End, part: AddressPart) -> Operator {
    Operator::Address { of, part }
}

const fn millis(from: TimePoint, to: TimePoint) -> Operator {
    Operator::CommonDuration { from, to, unit: TimeUnit::Milliseconds }
}

const fn wire_bytes(hop: Hop, kind: ByteKind, way: Way) -> Operator {
    Operator::WireBytes { hop, kind, way }
}

/// The bytes of a stream, which take neither an argument nor a length.
const WIRE_BYTES: &[(&str, Operator)] = &[
    (
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        wire_bytes(Hop::Downstream, ByteKind::DecompressedHeader, Way::Received),
    ),
    ("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", wire_bytes(Hop::Downstream, ByteKind::DecompressedHeader, Way::Sent)),
    ("DOWNSTREAM_HEADER_BYTES_RECEIVED", wire_bytes(Hop::Downstream, ByteKind::Header, Way::Received)),
    ("DOWNSTREAM_HEADER_BYTES_SENT", wire_bytes(Hop::Downstream, ByteKind::Header, Way::Sent)),
    ("DOWNSTREAM_WIRE_BYTES_RECEIVED", wire_bytes(Hop::Downstream, ByteKind::Wire, Way::Received)),
    ("DOWNSTREAM_WIRE_BYTES_SENT", wire_bytes(Hop::Downstream, ByteKind::Wire, Way::Sent)),
    (
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        wire_bytes(Hop::Upstream, ByteKind::DecompressedHeader, Way::Received),
    ),
    ("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", wire_bytes(Hop::Upstream, ByteKind::DecompressedHeader, Way::Sent)),
    ("UPSTREAM_HEADER_BYTES_RECEIVED", wire_bytes(Hop::Upstream, ByteKind::Header, Way::Received)),
    ("UPSTREAM_HEADER_BYTES_SENT", wire_bytes(Hop::Upstream, ByteKind::Header, Way::Sent)),
    ("UPSTREAM_WIRE_BYTES_RECEIVED", wire_bytes(Hop::Upstream, ByteKind::Wire, Way::Received)),
    ("UPSTREAM_WIRE_BYTES_SENT", wire_bytes(Hop::Upstream, ByteKind::Wire, Way::Sent)),
];

/// Operators that take neither an argument nor a length.
const PLAIN: &[(&str, Operator)] = &[
    ("ACCESS_LOG_TYPE", Operator::AccessLogType),
    ("BYTES_RECEIVED", Operator::BytesReceived),
    // QUIC alone counts them.
    ("BYTES_RETRANSMITTED", Operator::Zero),
    ("BYTES_SENT", Operator::BytesSent),
    ("CONNECTION_ID", Operator::ConnectionId),
    ("CONNECTION_TERMINATION_DETAILS", Operator::ConnectionTerminationDetails),
    ("CUSTOM_FLAGS", Operator::Empty),
    // Without the proxy protocol both addresses of our end are one.
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", address(End::DirectLocal, AddressPart::Whole)),
    ("DOWNSTREAM_DIRECT_LOCAL_PORT", address(End::DirectLocal, AddressPart::Port)),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", address(End::DirectClient, AddressPart::Whole)),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", address(End::DirectClient, AddressPart::Port)),
    ("DOWNSTREAM_LOCAL_ADDRESS", address(End::Local, AddressPart::Whole)),
    ("DOWNSTREAM_LOCAL_PORT", address(End::Local, AddressPart::Port)),
    ("DOWNSTREAM_REMOTE_ADDRESS", address(End::Client, AddressPart::Whole)),
    ("DOWNSTREAM_REMOTE_PORT", address(End::Client, AddressPart::Port)),
    ("DURATION", Operator::Duration),
    ("FILTER_CHAIN_NAME", Operator::FilterChainName),
    ("GRPC_STATUS_NUMBER", Operator::GrpcStatus(GrpcStatusForm::Number)),
    ("HOSTNAME", Operator::HostName),
    ("LISTENER_NAME", Operator::ListenerName),
    ("LOCAL_REPLY_BODY", Operator::LocalReplyBody),
    ("PACKETS_RETRANSMITTED", Operator::Zero),
    ("PROTOCOL", Operator::Protocol),
    ("REQUEST_DURATION", millis(TimePoint::RequestBegin, TimePoint::RequestEnd)),
    ("REQUEST_HEADERS_BYTES", Operator::RequestHeadersBytes),
    ("REQUEST_TX_DURATION", millis(TimePoint::RequestBegin, TimePoint::UpstreamRequestEnd)),
    ("RESPONSE_CODE", Operator::ResponseCode),
    ("RESPONSE_DURATION", millis(TimePoint::RequestBegin, TimePoint::UpstreamResponseBegin)),
    ("RESPONSE_FLAGS", Operator::ResponseFlags),
    ("RESPONSE_FLAGS_LONG", Operator::ResponseFlagsLong),
    ("RESPONSE_HEADERS_BYTES", Operator::ResponseHeadersBytes),
    ("RESPONSE_TRAILERS_BYTES", Operator::ResponseTrailersBytes),
    ("RESPONSE_TX_DURATION", millis(TimePoint::UpstreamResponseBegin, TimePoint::ResponseEnd)),
    ("ROUTE_NAME", Operator::RouteName),
    ("SPAN_ID", Operator::SpanId),
    ("STREAM_ID", Operator::StreamId),
    ("TRACE_ID", Operator::TraceId),
    ("UNIQUE_ID", Operator::UniqueId),
    ("UPSTREAM_CLUSTER", Operator::UpstreamCluster(ClusterNaming::Shown)),
    ("UPSTREAM_CLUSTER_RAW", Operator::UpstreamCluster(ClusterNaming::Own)),
    ("UPSTREAM_CONNECTION_ID", Operator::UpstreamConnectionId),
    ("UPSTREAM_CONNECTION_POOL_READY_DURATION", Operator::UpstreamPoolReadyDuration),
    ("UPSTREAM_HOST", address(End::UpstreamHost, AddressPart::Whole)),
    ("UPSTREAM_HOST_NAME", Operator::UpstreamHostName(AddressPart::Whole)),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", Operator::UpstreamHostName(AddressPart::WithoutPort)),
    ("UPSTREAM_LOCAL_ADDRESS", address(End::UpstreamLocal, AddressPart::Whole)),
    ("UPSTREAM_LOCAL_PORT", address(End::UpstreamLocal, AddressPart::Port)),
    ("UPSTREAM_PROTOCOL", Operator::UpstreamProtocol),
    ("UPSTREAM_REMOTE_ADDRESS", address(End::UpstreamRemote, AddressPart::Whole)),
    ("UPSTREAM_REMOTE_PORT", address(End::UpstreamRemote, AddressPart::Port)),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Operator::UpstreamRequestAttemptCount),
    ("DOWNSTREAM_PEER_DNS_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerDnsNames }),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerFingerprint }),
    ("DOWNSTREAM_LOCAL_DNS_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::LocalNames(NameKind::Dns) }),
    ("DOWNSTREAM_LOCAL_EMAIL_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::LocalNames(NameKind::Email) }),
    ("DOWNSTREAM_LOCAL_IP_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::LocalNames(NameKind::Ip) }),
    (
        "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
        Operator::Tls { with: TlsPeer::Client, part: TlsPart::LocalNames(NameKind::Other) },
    ),
    ("DOWNSTREAM_LOCAL_URI_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::LocalNames(NameKind::Uri) }),
    ("DOWNSTREAM_LOCAL_SUBJECT", Operator::Tls { with: TlsPeer::Client, part: TlsPart::LocalSubject }),
    ("DOWNSTREAM_PEER_CERT", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerCertificate }),
    ("DOWNSTREAM_PEER_EMAIL_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerNames(NameKind::Email) }),
    ("DOWNSTREAM_PEER_IP_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerNames(NameKind::Ip) }),
    (
        "DOWNSTREAM_PEER_OTHERNAME_SAN",
        Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerNames(NameKind::Other) },
    ),
    ("UPSTREAM_PEER_CERT", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::PeerCertificate }),
    ("UPSTREAM_PEER_IP_SAN", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::PeerNames(NameKind::Ip) }),
    ("DOWNSTREAM_PEER_ISSUER", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerIssuer }),
    ("DOWNSTREAM_PEER_SERIAL", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerSerial }),
    ("DOWNSTREAM_PEER_SUBJECT", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerSubject }),
    ("DOWNSTREAM_PEER_URI_SAN", Operator::Tls { with: TlsPeer::Client, part: TlsPart::PeerUris }),
    ("UPSTREAM_PEER_DNS_SAN", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::PeerDnsNames }),
    ("UPSTREAM_PEER_ISSUER", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::PeerIssuer }),
    ("UPSTREAM_PEER_SUBJECT", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::PeerSubject }),
    ("UPSTREAM_PEER_URI_SAN", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::PeerUris }),
    ("DOWNSTREAM_TLS_CIPHER", Operator::Tls { with: TlsPeer::Client, part: TlsPart::Cipher }),
    ("TLS_JA3_FINGERPRINT", Operator::Tls { with: TlsPeer::Client, part: TlsPart::Fingerprint(FingerprintKind::Ja3) }),
    ("TLS_JA4_FINGERPRINT", Operator::Tls { with: TlsPeer::Client, part: TlsPart::Fingerprint(FingerprintKind::Ja4) }),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", Operator::Tls { with: TlsPeer::Client, part: TlsPart::Failure }),
    ("DOWNSTREAM_TLS_VERSION", Operator::Tls { with: TlsPeer::Client, part: TlsPart::Version }),
    ("UPSTREAM_TLS_CIPHER", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::Cipher }),
    ("UPSTREAM_TLS_VERSION", Operator::Tls { with: TlsPeer::Upstream, part: TlsPart::Version }),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Operator::UpstreamTransportFailureReason),
    ("VIRTUAL_CLUSTER_NAME", Operator::VirtualClusterName),
];

/// Operators that end in this take a length of a prefix in Envoy, which leaves the rest of the address out.
const ADDRESSES: &[(&str, Operator)] = &[
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", address(End::DirectLocal, AddressPart::WithoutPort)),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", address(End::DirectClient, AddressPart::WithoutPort)),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", address(End::Local, AddressPart::WithoutPort)),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", address(End::Client, AddressPart::WithoutPort)),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", address(End::UpstreamLocal, AddressPart::WithoutPort)),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", address(End::UpstreamRemote, AddressPart::WithoutPort)),
];

/// Operators whose value would come from TLS, from tracing, or from a clock that only QUIC has: it is never there. They take
/// neither an argument nor a length.
const NEVER: &[&str] = &[
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_TLS_SESSION_ID",
    "ROUNDTRIP_DURATION",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_SERVER_NAME",
    "UPSTREAM_TLS_SESSION_ID",
];

/// Operators that Envoy has and that could have a value here, but have none, and what to write instead.
const REFUSED: &[(&str, &str)] = &[
    ("CEL", "there are no expressions; write the operator for the value"),
    ("COALESCE", "write one operator; REQ, RESP and TRAILER take an alternative behind a ?"),
    ("DOWNSTREAM_DETECTED_CLOSE_TYPE", CLOSE),
    ("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "addresses have no endpoint ids"),
    ("DOWNSTREAM_LOCAL_CLOSE_REASON", CLOSE),
    ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", CONNECTIONS),
    ("UPSTREAM_DETECTED_CLOSE_TYPE", CLOSE),
    ("UPSTREAM_HOSTS_ATTEMPTED", ATTEMPTED),
    ("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", ATTEMPTED),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED", ATTEMPTED),
    ("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", ATTEMPTED),
    ("UPSTREAM_LOCAL_CLOSE_REASON", CLOSE),
    ("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "addresses have no endpoint ids"),
];

// Reasons that several lines share.
const ATTEMPTED: &str = "write UPSTREAM_HOST, the last of them";
const CLOSE: &str = "write RESPONSE_CODE_DETAILS, which says why a stream ended";
const CONNECTIONS: &str = "write UPSTREAM_CONNECTION_ID, the last of them";

/// Operators with an argument of their own kind, for the search of the nearest name.
const SPECIAL: &[&str] = &[
    "CLUSTER_METADATA",
    "COMMON_DURATION",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DYNAMIC_METADATA",
    "EMIT_TIME",
    "EMIT_TIME_LOCAL",
    "ENVIRONMENT",
    "FILTER_STATE",
    "GRPC_STATUS",
    "PATH",
    "QUERY_PARAM",
    "QUERY_PARAMS",
    "REQ",
    "REQUESTED_SERVER_NAME",
    "RESP",
    "RESPONSE_CODE_DETAILS",
    "START_TIME",
    "START_TIME_LOCAL",
    "TRAILER",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_METADATA",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
];

/// Operators that have one value in all lines of a log, which the format alone does not say, and none elsewhere.
const OF_LOGS: &[&str] = &["FILTER_CHAIN_NAME", "LISTENER_NAME"];

/// What `written`, which begins at character `at` of its format, stands for.
///
/// # Errors
/// It is no operator, is not supported, or has not the argument or length that it takes.
pub(super) fn look_up(written: Written<'_>, at: usize, purpose: Purpose) -> Result<Said, FormatError> {
    if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| *name == written.name) {
        return Err(FormatError::Unsupported { operator: written.name.to_owned(), at, reason });
    }
    if purpose == Purpose::Header && OF_LOGS.contains(&written.name) {
        return Err(written.misused("is for access logs; write the text itself in a header"));
    }
    if purpose == Purpose::Header && written.name == "UNIQUE_ID" {
        return Err(written.misused("makes a line unique; write %REQ(X-REQUEST-ID)% in a header"));
    }
    let Some(operator) = known(written)? else { return Err(unknown(written, at)) };
    Ok(match (purpose, operator) {
        (Purpose::Header, Operator::AccessLogType) => Said::Always("NotSet"),
        (Purpose::Header, Operator::Empty | Operator::LocalReplyBody | Operator::Never) => Said::Always(""),
        (Purpose::Header, Operator::EmitTimeLocal(_) | Operator::StartTimeLocal(_)) => {
            return Err(written.misused("is for access logs; headers have times in UTC: write START_TIME or EMIT_TIME"));
        }
        (Purpose::Header, Operator::WireBytes { .. }) => {
            return Err(written.misused("is for access logs: the bytes of a stream are known when it is over"));
        }
        (Purpose::Header, Operator::Zero) => Said::Always("0"),
        (_, operator) => Said::Sometimes(operator),
    })
}

fn known(written: Written<'_>) -> Result<Option<Operator>, FormatError> {
    if let Some((_, operator)) = PLAIN.iter().find(|(name, _)| *name == written.name) {
        written.without_argument()?.without_length()?;
        return Ok(Some(operator.clone()));
    }
    if let Some((_, operator)) = ADDRESSES.iter().chain(WIRE_BYTES).find(|(name, _)| *name == written.name) {
        written.without_argument()?.without_length()?;
        return Ok(Some(operator.clone()));
    }
    if NEVER.contains(&written.name) {
        written.without_argument()?.without_length()?;
        return Ok(Some(Operator::Never));
    }
    special(written)
}

fn special(written: Written<'_>) -> Result<Option<Operator>, FormatError> {
    let argument = written.argument.filter(|argument| !argument.is_empty());
    let operator = match written.name {
        "REQ" | "RESP" | "TRAILER" => return headers(written).map(Some),
        "QUERY_PARAM" => {
            return Ok(Some(Operator::QueryParameter(written.needed("the name of a parameter")?.to_owned())));
        }
        "FILTER_STATE" => return filter_state(written, StateOwner::Downstream).map(Some),
        "UPSTREAM_FILTER_STATE" => return filter_state(written, StateOwner::Upstream).map(Some),
        "DYNAMIC_METADATA" => return metadata(written).map(Operator::DynamicMetadata).map(Some),
        "METADATA" => return metadata_of(written).map(Some),
        "CLUSTER_METADATA" => configured(written, MetadataOwner::Cluster)?,
        "UPSTREAM_METADATA" => configured(written, MetadataOwner::Host)?,
        "ENVIRONMENT" => {
            return Ok(Some(Operator::Environment {
                name: written.needed("the name of a variable")?.to_owned(),
                or: UNKNOWN,
            }));
        }
        "PATH" => return path(written).map(Some),
        "QUERY_PARAMS" => match argument {
            None | Some("ORIG") => return Ok(Some(Operator::QueryParameters)),
            Some(_) => return Err(written.misused("takes ORIG: the query is written as it came")),
        },
        "DOWNSTREAM_PEER_CERT_V_START" => validity(TlsPeer::Client, ValidityEnd::Start, argument),
        "DOWNSTREAM_PEER_CERT_V_END" => validity(TlsPeer::Client, ValidityEnd::End, argument),
        "UPSTREAM_PEER_CERT_V_START" => validity(TlsPeer::Upstream, ValidityEnd::Start, argument),
        "UPSTREAM_PEER_CERT_V_END" => validity(TlsPeer::Upstream, ValidityEnd::End, argument),
        "START_TIME" => Operator::StartTime(argument.map(str::to_owned)),
        "EMIT_TIME" => Operator::EmitTime(argument.map(str::to_owned)),
        "START_TIME_LOCAL" => Operator::StartTimeLocal(argument.map(str::to_owned)),
        "EMIT_TIME_LOCAL" => Operator::EmitTimeLocal(argument.map(str::to_owned)),
        "RESPONSE_CODE_DETAILS" => Operator::ResponseCodeDetails,
        "REQUESTED_SERVER_NAME" => match argument {
            None | Some("SNI_ONLY") => Operator::RequestedServerName,
            Some(_) => {
                return Err(written.misused("takes SNI_ONLY; for the host of the request write %REQ(:AUTHORITY)%"));
            }
        },
        "GRPC_STATUS" => Operator::GrpcStatus(match argument {
            None | Some("CAMEL_STRING") => GrpcStatusForm::Camel,
            Some("SNAKE_STRING") => GrpcStatusForm::Snake,
            Some("NUMBER") => GrpcStatusForm::Number,
            Some(_) => return Err(written.misused("takes CAMEL_STRING, SNAKE_STRING or NUMBER")),
        }),
        "COMMON_DURATION" => common_duration(written)?,
        _ => return Ok(None),
    };
    written.without_length()?;
    Ok(Some(operator))
}

/// `name` or `name?alternative`. Header names are compared ignoring case.
fn headers(written: Written<'_>) -> Result<Operator, FormatError> {
    let argument = written.argument.ok_or_else(|| written.misused("needs the name of a header"))?;
    let (name, or) = argument.split_once('?').map_or((argument, None), |(name, or)| (name, Some(or)));
    if name.is_empty() || or.is_some_and(|or| or.is_empty() || or.contains('?')) {
        return Err(written.misused("takes one name, or two with a ? between them"));
    }
    if !is_header_name(name) || or.is_some_and(|or| !is_header_name(or)) {
        return Err(written.misused("takes the name of a header, which is a token such as x-name"));
    }
    let (name, or) = (name.to_ascii_lowercase(), or.map(str::to_ascii_lowercase));
    Ok(match written.name {
        "REQ" => Operator::RequestHeader { name, or },
        "RESP" => Operator::ResponseHeader { name, or },
        _ => Operator::ResponseTrailer { name, or },
    })
}

/// `NAMESPACE`, or `NAMESPACE:KEY` with as many keys as there are messages within each other.
fn metadata(written: Written<'_>) -> Result<MetadataPath, FormatError> {
    Ok(metadata_path(written.needed("a namespace and keys, as in name.space:key")?))
}

fn metadata_path(text: &str) -> MetadataPath {
    let mut names = text.split(':').map(str::to_owned);
    let namespace = names.next().unwrap_or_default();
    MetadataPath { namespace, keys: names.collect() }
}

/// `OWNER:NAMESPACE:KEY`, with keys as above.
fn metadata_of(written: Written<'_>) -> Result<Operator, FormatError> {
    let argument = written.needed("an owner, a namespace and keys, as in ROUTE:name.space:key")?;
    let (owner, path) = argument.split_once(':').unwrap_or((argument, ""));
    let path = metadata_path(path);
    Ok(match owner {
        "CLUSTER" => Operator::ConfiguredMetadata { of: MetadataOwner::Cluster, path },
        "DYNAMIC" => Operator::DynamicMetadata(path),
        "ROUTE" => Operator::RouteMetadata(path),
        "UPSTREAM_HOST" => Operator::ConfiguredMetadata { of: MetadataOwner::Host, path },
        _ => return Err(written.misused("takes CLUSTER, DYNAMIC, ROUTE or UPSTREAM_HOST before the first colon")),
    })
}

/// `KEY`, `KEY:PLAIN`, `KEY:TYPED` or `KEY:FIELD:NAME`.
fn filter_state(written: Written<'_>, of: StateOwner) -> Result<Operator, FormatError> {
    let argument = written.needed("a key, as in the.key:PLAIN")?;
    let (key, form) = argument.split_once(':').unwrap_or((argument, "TYPED"));
    let form = match form.split_once(':').unwrap_or((form, "")) {
        ("PLAIN", _) => StateForm::Plain,
        ("TYPED", _) => StateForm::Typed,
        ("FIELD", name) if !name.is_empty() => StateForm::Field(name.to_owned()),
        ("FIELD", _) => return Err(written.misused("needs the name of a field, as in the.key:FIELD:name")),
        _ => return Err(written.misused("takes PLAIN, TYPED or FIELD behind the key")),
    };
    Ok(Operator::FilterState { of, key: key.to_owned(), form })
}

fn validity(with: TlsPeer, end: ValidityEnd, format: Option<&str>) -> Operator {
    Operator::PeerValidity { of: (with, end), format: format.map(str::to_owned) }
}

fn configured(written: Written<'_>, of: MetadataOwner) -> Result<Operator, FormatError> {
    Ok(Operator::ConfiguredMetadata { of, path: metadata(written)? })
}

fn path(written: Written<'_>) -> Result<Operator, FormatError> {
    const TAKES: &str = "takes WQ or NQ, and behind a colon ORIG, PATH or ORIG_OR_PATH";
    let argument = written.argument.unwrap_or_default();
    let (query, of) = argument.split_once(':').unwrap_or((argument, ""));
    let query = match query {
        "" | "WQ" => Query::With,
        "NQ" => Query::Without,
        _ => return Err(written.misused(TAKES)),
    };
    let of = match of {
        "" | "ORIG_OR_PATH" => PathChoice::First,
        "ORIG" => PathChoice::Original,
        "PATH" => PathChoice::Current,
        _ => return Err(written.misused(TAKES)),
    };
    Ok(Operator::Path { query, of })
}

/// `FROM:TO` or `FROM:TO:UNIT`.
fn common_duration(written: Written<'_>) -> Result<Operator, FormatError> {
    let argument = written.needed("two moments and a unit, as in DS_RX_BEG:US_RX_BEG:ms")?;
    let parts: Vec<&str> = argument.split(':').collect();
    let (from, to, unit) = match parts.as_slice() {
        [from, to] => (from, to, "ms"),
        [from, to, unit] => (from, to, *unit),
        _ => return Err(written.misused("takes two moments and a unit, as in DS_RX_BEG:US_RX_BEG:ms")),
    };
    let unit = match unit {
        "ms" => TimeUnit::Milliseconds,
        "us" => TimeUnit::Microseconds,
        "ns" => TimeUnit::Nanoseconds,
        _ => return Err(written.misused("counts in ms, us or ns")),
    };
    if [from, to].iter().any(|point| point.starts_with("US_CX_")) {
        return Err(written.misused("knows no US_CX_BEG and US_CX_END: connections are older than their requests"));
    }
    Ok(Operator::CommonDuration { from: time_point(from), to: time_point(to), unit })
}

fn time_point(name: &str) -> TimePoint {
    match name {
        "DS_RX_BEG" => TimePoint::RequestBegin,
        "DS_RX_END" => TimePoint::RequestEnd,
        "US_TX_BEG" => TimePoint::UpstreamRequestBegin,
        "US_TX_END" => TimePoint::UpstreamRequestEnd,
        "US_RX_BEG" => TimePoint::UpstreamResponseBegin,
        "US_RX_END" => TimePoint::UpstreamResponseEnd,
        "DS_TX_BEG" => TimePoint::ResponseBegin,
        "DS_TX_END" => TimePoint::ResponseEnd,
        _ => TimePoint::Never,
    }
}

fn unknown(written: Written<'_>, at: usize) -> FormatError {
    let tables = PLAIN.iter().chain(ADDRESSES).chain(WIRE_BYTES).map(|(name, _)| *name);
    let known: Vec<&'static str> = tables.chain(SPECIAL.iter().copied()).collect();
    FormatError::Unknown { operator: written.name.to_owned(), at, nearest: nearest(written.name, &known) }
}
