//! The value of each operator.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::Version;
use http::header::HeaderValue;

use super::Source;
use super::tls::{self, peer_valid};
use crate::access_log::grpc_status::GrpcStatus;
use crate::access_log::time::{self, Second};
use crate::access_log::{ConnectionTermination, StreamInfo, Times};
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::config::filter_state::{FieldNames, Object};
use crate::config::json_text::json_text;
use crate::config::log_format::{
    AddressPart, ByteKind, ClusterNaming, End, Hop, Operator, PathChoice, Query, StateForm, StateOwner, TimePoint,
    TimeUnit, UNKNOWN, Way,
};
use crate::config::metadata::{Found, Value};
use crate::net::Address;
use crate::texts::Text;
use crate::trace::Propagation;

/// Appends the value of `operator`; `None`, with nothing appended, if it is not known.
pub(super) fn value(operator: &Operator, source: &Source<'_>, second: &mut Second, out: &mut Vec<u8>) -> Option<()> {
    let Source { heads, info, body, log_type, random } = source;
    match operator {
        Operator::AccessLogType => text(log_type.name(), out),
        Operator::Address { of, part } => part_of_address(end(*of, info)?, *part, out),
        Operator::BytesReceived => number(info.bytes_received, out),
        Operator::BytesSent => number(info.bytes_sent, out),
        Operator::CommonDuration { from, to, unit } => common_duration(&info.times, *from, *to, *unit, out),
        Operator::ConnectionId => number(info.downstream.connection_id, out),
        Operator::ConnectionTerminationDetails => termination(info, out),
        Operator::Duration => number(millis(info.times.duration()), out),
        Operator::ConfiguredMetadata { .. } | Operator::DynamicMetadata(_) | Operator::RouteMetadata(_) => {
            metadata(found(operator, info)?, out)
        }
        Operator::EmitTime(format) => point_in_time(format.as_deref(), emitted(info), second, out),
        Operator::EmitTimeLocal(format) => local_time(format.as_deref(), emitted(info), second, out),
        Operator::Empty => Some(()),
        Operator::GrpcStatus(form) => GrpcStatus::of_grpc(heads.request, heads.response, info)?.write(*form, out),
        Operator::LocalReplyBody => bytes(body, out),
        Operator::Environment { .. } | Operator::HostName => process(operator, info, out),
        Operator::ListenerName | Operator::Never => None, // in logs it has been resolved before
        Operator::FilterState { of, key, form } => state(object(*of, key, info)?, form, out),
        // That of an HTTP filter's log has been resolved, that of a listener's log has not.
        Operator::FilterChainName => text(info.downstream.filter_chain.as_deref()?, out),
        Operator::Path { query, of } => path(heads.request?, *query, *of, out),
        Operator::Protocol => text(protocol(info.protocol?)?, out),
        Operator::QueryParameter(name) => query_parameter(heads.request?, name, out),
        Operator::QueryParameters => bytes(query(heads.request?)?, out),
        Operator::RequestHeader { name, or } => either(name, or, |name| request_header(heads.request?, name, out)),
        Operator::RequestHeadersBytes => number(heads.request.map_or(0, request_bytes), out),
        Operator::ResponseHeader { name, or } => either(name, or, |name| response_header(heads.response?, name, out)),
        Operator::ResponseHeadersBytes => number(heads.response.map_or(0, response_bytes), out),
        Operator::ResponseTrailer { name, or } => either(name, or, |name| header(info.trailers.as_ref()?, name, out)),
        Operator::ResponseTrailersBytes => number(info.trailers.as_ref().map_or(0, fields_bytes), out),
        Operator::ResponseCode => number(info.response_code.unwrap_or(0).into(), out),
        Operator::ResponseCodeDetails => pieces(info.details.as_ref()?, out),
        Operator::ResponseFlags => list(info.flags.iter().map(|flag| flag.short().as_bytes()), out),
        Operator::ResponseFlagsLong => list(info.flags.iter().map(|flag| flag.long().as_bytes()), out),
        Operator::RouteName => text(info.route_name.as_deref().filter(|name| !name.is_empty())?, out),
        Operator::StartTime(format) => point_in_time(format.as_deref(), info.started, second, out),
        Operator::StartTimeLocal(format) => local_time(format.as_deref(), info.started, second, out),
        Operator::StreamId => stream_id(source, out),
        Operator::SpanId => text(&span_id(info)?, out),
        Operator::TraceId => text(&info.trace.as_ref()?.context?.trace_id(), out),
        Operator::UniqueId => bytes(&random.as_ref()?.uuid(), out),
        Operator::UpstreamCluster(_)
        | Operator::UpstreamConnectionId
        | Operator::UpstreamHostName(_)
        | Operator::UpstreamPoolReadyDuration
        | Operator::UpstreamProtocol
        | Operator::UpstreamRequestAttemptCount
        | Operator::UpstreamTransportFailureReason => of_upstream(operator, info, out),
        Operator::RequestedServerName => text(info.downstream.requested_server_name.as_deref()?, out),
        Operator::PeerValidity { of, format } => point_in_time(format.as_deref(), peer_valid(*of, info)?, second, out),
        Operator::Tls { with, part } => text(&tls::part(*with, *part, info)?, out),
        Operator::VirtualClusterName => text(info.virtual_cluster.as_deref()?, out),
        Operator::WireBytes { hop, kind, way } => number(wire_bytes(*hop, *kind, *way, info), out),
        Operator::Zero => number(0, out),
    }
}

/// The id of a request, or the one that a connection was given.
/// What the process knows of itself. In logs it has been resolved before.
fn process(operator: &Operator, info: &StreamInfo, out: &mut Vec<u8>) -> Option<()> {
    let (known, or) = match operator.variable() {
        Some((name, or)) => (info.process.environment(name), or),
        None => (info.process.host_name(), UNKNOWN),
    };
    text(known.as_deref().unwrap_or(or), out)
}

fn stream_id(source: &Source<'_>, out: &mut Vec<u8>) -> Option<()> {
    match &source.info.stream_id {
        Some(id) => text(id, out),
        None => header(&source.heads.request?.headers, names::X_REQUEST_ID.as_str(), out),
    }
}

/// Why the connection ended.
fn termination(info: &StreamInfo, out: &mut Vec<u8>) -> Option<()> {
    match &info.denied_by {
        Some(denial) => text(&format!("rbac_access_denied_matched_policy[{}]", denial.policy), out),
        // With blanks, as in Envoy.
        None => match info.connection_termination? {
            ConnectionTermination::SlowHandshake => text("transport socket timeout was reached", out),
        },
    }
}

/// Bytes of the stream on the wire. Of a connection that is not HTTP, that is its payload.
pub(in crate::access_log) fn wire_bytes(hop: Hop, kind: ByteKind, way: Way, info: &StreamInfo) -> u64 {
    let Some(wire) = &info.wire else {
        return match (kind, (hop, way)) {
            (ByteKind::Wire, (Hop::Downstream, Way::Received) | (Hop::Upstream, Way::Sent)) => info.bytes_received,
            (ByteKind::Wire, (Hop::Downstream, Way::Sent) | (Hop::Upstream, Way::Received)) => info.bytes_sent,
            (ByteKind::DecompressedHeader | ByteKind::Header, _) => 0,
        };
    };
    let stream = match hop {
        Hop::Downstream => &wire.downstream,
        Hop::Upstream => &wire.upstream,
    };
    let count = match way {
        Way::Received => &stream.received,
        Way::Sent => &stream.sent,
    };
    match kind {
        ByteKind::DecompressedHeader => count.decompressed.get(),
        ByteKind::Header => count.header.get(),
        ByteKind::Wire => count.wire.get(),
    }
}

/// The same for what is known of the upstream.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are looked for above")]
fn of_upstream(operator: &Operator, info: &StreamInfo, out: &mut Vec<u8>) -> Option<()> {
    match operator {
        Operator::UpstreamCluster(ClusterNaming::Shown) => text(&info.upstream_cluster.as_ref()?.shown, out),
        Operator::UpstreamCluster(ClusterNaming::Own) => text(&info.upstream_cluster.as_ref()?.own, out),
        // Envoy writes 0 where there was none.
        Operator::UpstreamConnectionId => number(info.upstream_connection.as_ref().map_or(0, |conn| conn.number), out),
        Operator::UpstreamHostName(part) => upstream_name(info, *part, out),
        Operator::UpstreamPoolReadyDuration => number(millis(info.times.pool_wait?), out),
        Operator::UpstreamProtocol => text(protocol(info.upstream_protocol?)?, out),
        Operator::UpstreamRequestAttemptCount => number(info.attempts.into(), out),
        Operator::UpstreamTransportFailureReason => one_word(info.transport_failure.as_deref()?, out),
        _ => None,
    }
}

/// What an operator for metadata finds.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other operator reads metadata")]
pub(super) fn found<'i>(operator: &Operator, info: &'i StreamInfo) -> Option<Found<'i>> {
    match operator {
        Operator::ConfiguredMetadata { of, path } => {
            let known = info.upstream_metadata.as_ref()?;
            known.all.of(*of, known.endpoint)?.get(path)
        }
        Operator::DynamicMetadata(path) => info.metadata.as_ref()?.get(path),
        Operator::RouteMetadata(path) => info.route_metadata.as_ref()?.get(path),
        _ => None,
    }
}

/// A text as it is, anything else as JSON.
fn metadata(found: Found<'_>, out: &mut Vec<u8>) -> Option<()> {
    match found {
        Found::Value(Value::Null) => None,
        Found::Value(Value::Text(value)) => text(value, out),
        found @ (Found::Struct(_) | Found::Value(_)) => text(&json_text(&found.to_json()), out),
    }
}

/// What a filter has left under `key`.
pub(super) fn object<'i>(of: StateOwner, key: &str, info: &'i StreamInfo) -> Option<&'i Object> {
    match of {
        StateOwner::Downstream => info.state(key),
        StateOwner::Upstream => info.upstream_connection.as_ref()?.state.as_ref()?.get(key),
    }
}

/// An object of the filter state.
fn state(object: &Object, form: &StateForm, out: &mut Vec<u8>) -> Option<()> {
    match form {
        StateForm::Field(name) => text(&object.field(name)?, out),
        StateForm::Plain => bytes(object.plain()?, out),
        StateForm::Typed => text(&object.json(FieldNames::CamelCase)?, out),
    }
}

fn point_in_time(
    format: Option<&str>,
    at: std::time::SystemTime,
    second: &mut Second,
    out: &mut Vec<u8>,
) -> Option<()> {
    match format {
        None => second.iso_8601(at, out),
        Some(format) => time::strftime(format, at, out),
    }
    Some(())
}

/// When the line is written, which is when the stream has ended.
/// As in Envoy, spans for Zipkin show none.
fn span_id(info: &StreamInfo) -> Option<String> {
    let trace = info.trace.as_ref()?;
    match trace.propagation {
        Propagation::B3(_) => None,
        Propagation::W3c { .. } => Some(trace.context?.span_id()),
    }
}

fn emitted(info: &StreamInfo) -> std::time::SystemTime {
    info.started.checked_add(info.times.duration()).unwrap_or(info.started)
}

fn local_time(format: Option<&str>, at: std::time::SystemTime, second: &Second, out: &mut Vec<u8>) -> Option<()> {
    second.local(format, at, out);
    Some(())
}

fn common_duration(times: &Times, from: TimePoint, to: TimePoint, unit: TimeUnit, out: &mut Vec<u8>) -> Option<()> {
    let at = |point| match point {
        TimePoint::RequestBegin => Some(times.begin),
        TimePoint::RequestEnd => times.request_end,
        TimePoint::UpstreamRequestBegin => times.upstream_ready,
        TimePoint::UpstreamRequestEnd => times.upstream_request_end(),
        TimePoint::UpstreamResponseBegin => times.upstream_response_begin,
        TimePoint::UpstreamResponseEnd => times.upstream_response_end,
        TimePoint::ResponseBegin => times.response_begin,
        TimePoint::ResponseEnd => times.end,
        TimePoint::Never => None,
    };
    let took = at(to)?.checked_duration_since(at(from)?)?;
    let count = match unit {
        TimeUnit::Milliseconds => took.as_millis(),
        TimeUnit::Microseconds => took.as_micros(),
        TimeUnit::Nanoseconds => took.as_nanos(),
    };
    number(u64::try_from(count).unwrap_or(u64::MAX), out)
}

/// The path with which the request came, where the one it has is another.
fn original_path(head: &RequestHead) -> Option<&HeaderValue> {
    head.headers.get(&names::X_ENVOY_ORIGINAL_PATH)
}

fn path(head: &RequestHead, query: Query, of: PathChoice, out: &mut Vec<u8>) -> Option<()> {
    let path = match of {
        PathChoice::Current => head.path.as_ref()?,
        PathChoice::Original => original_path(head)?,
        PathChoice::First => original_path(head).or(head.path.as_ref())?,
    };
    let path = path.as_bytes();
    let end = match query {
        Query::With => None,
        Query::Without => path.iter().position(|byte| *byte == b'?'),
    };
    bytes(end.and_then(|end| path.get(..end)).unwrap_or(path), out)
}

/// What stands behind the question mark.
fn query(head: &RequestHead) -> Option<&[u8]> {
    let path = head.path.as_ref()?.as_bytes();
    let at = path.iter().position(|byte| *byte == b'?')?;
    path.get(at + 1..)
}

/// The first parameter of this name, without its escapes, but for those of control characters: a line break in a value must
/// not begin a line of the log.
fn query_parameter(head: &RequestHead, name: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut pairs = query(head)?.split(|byte| *byte == b'&').map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default())
    });
    let is_named = |key: &[u8]| {
        let mut decoded = Vec::new();
        unescape(key, &mut decoded);
        decoded == name.as_bytes()
    };
    let (_, value) = pairs.find(|(key, _)| is_named(key))?;
    unescape(value, out);
    Some(())
}

fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let escaped = match (*byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok().filter(|byte| !byte.is_ascii_control()),
            _ => None,
        };
        out.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
}

/// Names and values of the head, those of pseudo-headers among them.
pub(in crate::access_log) fn request_bytes(head: &RequestHead) -> u64 {
    let pseudo = [(":authority", &head.authority), (":path", &head.path), (":protocol", &head.protocol)];
    let known = pseudo.iter().filter_map(|(name, value)| value.as_ref().map(|value| name.len() + value.len()));
    let always = ":method".len() + head.method.as_str().len() + ":scheme".len() + scheme(head).len();
    fields_bytes(&head.headers) + (known.sum::<usize>() + always) as u64
}

pub(in crate::access_log) fn response_bytes(head: &ResponseHead) -> u64 {
    fields_bytes(&head.headers) + (":status".len() + head.status.as_str().len()) as u64
}

fn fields_bytes(fields: &Headers) -> u64 {
    fields.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}

/// The scheme of the request: that of its URI, or what was said of the connection to another proxy, or that of ours.
fn scheme(head: &RequestHead) -> &[u8] {
    let forwarded = || {
        let proto = head.headers.get(&names::X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        proto.filter(|proto| [&b"http"[..], b"https"].contains(proto))
    };
    head.scheme.as_ref().map(HeaderValue::as_bytes).or_else(forwarded).unwrap_or(b"http")
}

/// The address of an end, if there is one.
pub(in crate::access_log) fn end(of: End, info: &StreamInfo) -> Option<&Address> {
    match of {
        End::Client => Some(info.client.as_ref().unwrap_or(&info.downstream.peer)),
        End::DirectClient => Some(info.downstream.direct.as_ref().map_or(&info.downstream.peer, |ends| &ends.peer)),
        End::DirectLocal => Some(info.downstream.direct.as_ref().map_or(&info.downstream.local, |ends| &ends.local)),
        End::Local => Some(&info.downstream.local),
        End::UpstreamHost => info.upstream_host.as_ref(),
        End::UpstreamLocal => {
            info.upstream_connection.as_ref().map(|conn| &conn.local).filter(|local| !is_unnamed(local))
        }
        End::UpstreamRemote => info.upstream_host.as_ref().filter(|_| info.upstream_connection.is_some()),
    }
}

/// The endpoint's name, or its address if it has none.
fn upstream_name(info: &StreamInfo, part: AddressPart, out: &mut Vec<u8>) -> Option<()> {
    let Some(name) = &info.upstream_name else { return part_of_address(info.upstream_host.as_ref()?, part, out) };
    let name = name.as_bytes();
    let end = match part {
        AddressPart::Whole | AddressPart::Port => None,
        AddressPart::WithoutPort => name.iter().rposition(|byte| *byte == b':'),
    };
    bytes(end.and_then(|end| name.get(..end)).unwrap_or(name), out)
}

/// Is it the end of a Unix domain socket's connection that was never bound?
fn is_unnamed(address: &Address) -> bool {
    matches!(address, Address::Pipe(pipe) if pipe.path.is_empty())
}

fn part_of_address(address: &Address, part: AddressPart, out: &mut Vec<u8>) -> Option<()> {
    // Writing to a Vec does not fail.
    match (address, part) {
        (Address::Internal(_), AddressPart::Port) => None,
        // To Envoy a pipe has a port, which is an empty text.
        (Address::Pipe(_), AddressPart::Port) => Some(()),
        (Address::Socket(SocketAddr::V4(at)), AddressPart::Whole) => {
            ipv4(*at.ip(), out)?;
            out.push(b':');
            number(at.port().into(), out)
        }
        (Address::Internal(_) | Address::Pipe(_), AddressPart::WithoutPort) | (_, AddressPart::Whole) => {
            write!(out, "{address}").ok()
        }
        (Address::Socket(at), AddressPart::Port) => number(at.port().into(), out),
        (Address::Socket(SocketAddr::V4(at)), AddressPart::WithoutPort) => ipv4(*at.ip(), out),
        (Address::Socket(SocketAddr::V6(at)), AddressPart::WithoutPort) => write!(out, "{}", at.ip()).ok(),
    }
}

/// As its `Display` writes it, but many times as fast: nearly every line has such an address.
fn ipv4(address: Ipv4Addr, out: &mut Vec<u8>) -> Option<()> {
    let [first, others @ ..] = address.octets();
    number(first.into(), out)?;
    others.into_iter().try_for_each(|octet| {
        out.push(b'.');
        number(octet.into(), out)
    })
}

/// The value of the first name, or else of the second.
fn either(name: &str, or: &Option<String>, mut value: impl FnMut(&str) -> Option<()>) -> Option<()> {
    value(name).or_else(|| value(or.as_deref()?))
}

fn request_header(head: &RequestHead, name: &str, out: &mut Vec<u8>) -> Option<()> {
    match pseudo_header(head, name) {
        None => header(&head.headers, name, out),
        Some(value) => bytes(value?, out),
    }
}

/// What stands in the pseudo-header of this name, if that is one of a request.
pub(in crate::access_log) fn pseudo_header<'h>(head: &'h RequestHead, name: &str) -> Option<Option<&'h [u8]>> {
    let value = |value: &'h Option<HeaderValue>| value.as_ref().map(HeaderValue::as_bytes);
    Some(match name {
        ":method" => Some(head.method.as_str().as_bytes()),
        ":path" => value(&head.path),
        ":scheme" => Some(scheme(head)),
        ":protocol" => value(&head.protocol),
        // The codec keeps `host` there, whatever the protocol called it.
        ":authority" | "host" => value(&head.authority),
        _ => return None,
    })
}

fn response_header(head: &ResponseHead, name: &str, out: &mut Vec<u8>) -> Option<()> {
    match name {
        ":status" => text(head.status.as_str(), out),
        _ => header(&head.headers, name, out),
    }
}

fn header(headers: &Headers, name: &str, out: &mut Vec<u8>) -> Option<()> {
    // Of several fields the first, as in Envoy.
    bytes(headers.get_str(name)?.as_bytes(), out)
}

fn protocol(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("HTTP/1.0"),
        Version::HTTP_11 => Some("HTTP/1.1"),
        Version::HTTP_2 => Some("HTTP/2"),
        _ => None,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn number(number: u64, out: &mut Vec<u8>) -> Option<()> {
    text(itoa::Buffer::new().format(number), out)
}

fn text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    bytes(text.as_bytes(), out)
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(bytes);
    Some(())
}

fn pieces(value: &impl Text, out: &mut Vec<u8>) -> Option<()> {
    value.pieces().into_iter().try_for_each(|piece| text(piece, out))
}

/// Envoy joins these with `_`, so that a line can be cut at its blanks.
fn one_word(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend(text.bytes().map(|byte| if byte == b' ' { b'_' } else { byte }));
    Some(())
}

/// Joined by commas; no flags are a value of their own.
fn list<'a>(items: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Option<()> {
    let from = out.len();
    for item in items {
        if out.len() > from {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    if out.len() == from {
        out.push(b'-');
    }
    Some(())
}
