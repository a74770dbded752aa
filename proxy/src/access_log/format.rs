//! Renders a stream as a line.
//!
//! The format was parsed with the configuration; here it is only walked. A value that is not known prints
//! `-`, as in every access log since the first web servers.

use std::io::Write;
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use super::StreamInfo;
use super::time::{self, Second};
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::log_format::{Format, Operator, Piece};
use crate::net::Address;
use crate::texts::Text;

/// Renders lines of one format.
#[derive(Debug)]
pub struct Renderer {
    format: Format,
    second: Second,
}

impl Renderer {
    /// Lines of `format`.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, second: Second::default() }
    }

    /// Appends the line to `out`.
    pub fn render(&mut self, info: &StreamInfo, out: &mut Vec<u8>) {
        let heads = Heads { request: info.request.as_ref(), response: info.response.as_ref() };
        for piece in &self.format.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Operator(operator, bytes_max) => {
                    let from = out.len();
                    if value(operator, heads, info, &mut self.second, out).is_none() {
                        out.push(b'-');
                    }
                    if let Some(bytes_max) = bytes_max {
                        out.truncate(from.saturating_add(*bytes_max));
                    }
                }
            }
        }
    }
}

/// The heads that a format reads from; `None` where there is none (yet).
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    pub(crate) request: Option<&'a RequestHead>,
    pub(crate) response: Option<&'a ResponseHead>,
}

impl<'a> Heads<'a> {
    /// Those of a request that has no response yet.
    pub(crate) fn of_request(request: &'a RequestHead) -> Self {
        Self { request: Some(request), response: None }
    }
}

/// The value of a header in `format`: what is not known is empty there, as in Envoy, and not `-`.
pub(crate) fn header_value(format: &Format, heads: Heads<'_>, info: &StreamInfo) -> Vec<u8> {
    let mut out = Vec::new();
    let mut second = Second::default();
    for piece in &format.0 {
        match piece {
            Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Operator(operator, bytes_max) => {
                let from = out.len();
                let known = value(operator, heads, info, &mut second, &mut out).is_some();
                if !known && matches!(operator, Operator::ResponseFlags | Operator::ResponseFlagsLong) {
                    out.push(b'-'); // no flags is a value
                }
                if let Some(bytes_max) = bytes_max {
                    out.truncate(from.saturating_add(*bytes_max));
                }
            }
        }
    }
    out
}

/// Appends the value of `operator`; `None`, with nothing appended, if it is not known.
fn value(
    operator: &Operator,
    heads: Heads<'_>,
    info: &StreamInfo,
    second: &mut Second,
    out: &mut Vec<u8>,
) -> Option<()> {
    let downstream = &info.downstream;
    let times = &info.times;
    let client = info.client.as_ref().unwrap_or(&downstream.peer);
    match operator {
        Operator::BytesReceived => number(info.bytes_received, out),
        Operator::BytesSent => number(info.bytes_sent, out),
        Operator::ConnectionId => number(downstream.connection_id, out),
        Operator::ConnectionTerminationDetails => pieces(info.connection_termination.as_ref()?, out),
        Operator::DownstreamDirectRemoteAddress => address(&downstream.peer, out),
        Operator::DownstreamDirectRemoteAddressWithoutPort => address_without_port(&downstream.peer, out),
        Operator::DownstreamLocalAddress => address(&downstream.local, out),
        Operator::DownstreamLocalAddressWithoutPort => address_without_port(&downstream.local, out),
        Operator::DownstreamLocalPort => match &downstream.local {
            Address::Internal(_) => None,
            Address::Socket(local) => number(local.port().into(), out),
        },
        Operator::DownstreamRemoteAddress => address(client, out),
        Operator::DownstreamRemoteAddressWithoutPort => address_without_port(client, out),
        Operator::Duration => number(millis(times.duration()), out),
        Operator::Protocol => text(protocol(info.protocol?)?, out),
        Operator::RequestDuration => between(Some(times.begin), times.request_end, out),
        Operator::RequestHeader { name, or } => {
            let head = heads.request?;
            request_header(head, name, out).or_else(|| request_header(head, or.as_deref()?, out))
        }
        Operator::ResponseHeader { name, or } => {
            let head = heads.response?;
            response_header(head, name, out).or_else(|| response_header(head, or.as_deref()?, out))
        }
        Operator::ResponseCode => number(info.response_code.unwrap_or(0).into(), out),
        Operator::ResponseCodeDetails => pieces(info.details.as_ref()?, out),
        Operator::ResponseDuration => between(Some(times.begin), times.upstream_response_begin, out),
        Operator::ResponseFlags => list(info.flags.iter().map(|flag| flag.short().as_bytes()), out),
        Operator::ResponseFlagsLong => list(info.flags.iter().map(|flag| flag.long().as_bytes()), out),
        Operator::ResponseTxDuration => between(times.upstream_response_begin, times.end, out),
        Operator::RouteName => text(info.route_name.as_deref().filter(|name| !name.is_empty())?, out),
        Operator::StartTime(None) => {
            second.iso_8601(info.started, out);
            Some(())
        }
        Operator::StartTime(Some(format)) => {
            time::strftime(format, info.started, out);
            Some(())
        }
        Operator::UpstreamCluster => text(info.upstream_cluster.as_deref()?, out),
        Operator::UpstreamHost => address(info.upstream_host.as_ref()?, out),
        Operator::UpstreamLocalAddress => address(info.upstream_local.as_ref()?, out),
        Operator::UpstreamProtocol => text(protocol(info.upstream_protocol?)?, out),
        Operator::UpstreamRequestAttemptCount => number(info.attempts.into(), out),
        Operator::UpstreamTransportFailureReason => one_word(info.transport_failure.as_deref()?, out),
    }
}

fn request_header(head: &RequestHead, name: &str, out: &mut Vec<u8>) -> Option<()> {
    let pseudo = match name {
        ":method" => return text(head.method.as_str(), out),
        ":path" => &head.path,
        ":scheme" => &head.scheme,
        ":protocol" => &head.protocol,
        // The codec keeps `host` there, whatever the protocol called it.
        ":authority" | "host" => &head.authority,
        _ => return header(&head.headers, name, out),
    };
    bytes(pseudo.as_ref()?.as_bytes(), out)
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

/// Milliseconds from one stage to another, if both were reached.
fn between(from: Option<Instant>, to: Option<Instant>, out: &mut Vec<u8>) -> Option<()> {
    number(millis(to?.saturating_duration_since(from?)), out)
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

/// Joined by commas.
fn list<'a>(items: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) -> Option<()> {
    let mut known = None;
    for item in items {
        if known.is_some() {
            out.push(b',');
        }
        known = bytes(item, out);
    }
    known
}

fn address(address: &Address, out: &mut Vec<u8>) -> Option<()> {
    // Writing to a Vec does not fail.
    write!(out, "{address}").ok()
}

fn address_without_port(at: &Address, out: &mut Vec<u8>) -> Option<()> {
    match at {
        Address::Internal(_) => address(at, out),
        Address::Socket(at) => write!(out, "{}", at.ip()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::SystemTime;

    use http::{HeaderName, HeaderValue, Method, StatusCode};

    use super::*;
    use crate::access_log::details::ConnectFailure;
    use crate::access_log::{
        ConnectionTermination, Details, Downstream, ResetCause, ResponseFlag, ResponseStart, UpstreamReset,
    };

    fn at(text: &str) -> Address {
        Address::Socket(text.parse().unwrap())
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    /// A stream of which nothing is known but that it began.
    fn blank() -> StreamInfo {
        let downstream = Downstream::new(7, at("[::1]:80"), at("127.0.0.1:5000"));
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_237_736_710);
        StreamInfo::new(Instant::now(), started, Rc::new(downstream))
    }

    /// A stream that went through.
    fn served() -> StreamInfo {
        let mut info = blank();
        info.protocol = Some(Version::HTTP_11);
        info.request = Some(RequestHead {
            method: Method::GET,
            scheme: None,
            authority: Some(HeaderValue::from_static("lab.test")),
            path: Some(HeaderValue::from_static("/a/b?c")),
            protocol: None,
            version: Version::HTTP_11,
            headers: headers(&[
                ("x-forwarded-for", "10.0.0.1"),
                ("x-two", "1"),
                ("x-request-id", "id"),
                ("x-two", "2"),
            ]),
        });
        let mut response = ResponseHead::new(StatusCode::OK);
        response.headers = headers(&[("x-envoy-upstream-service-time", "0")]);
        info.response = Some(response);
        info.response_code = Some(200);
        info.detail(Details::ViaUpstream);
        info.bytes_received = 3;
        info.bytes_sent = 2;
        info.route_name = Some("r".into());
        info.upstream_cluster = Some("up".into());
        info.upstream_host = Some(at("127.0.0.1:26010"));
        info.upstream_local = Some(at("127.0.0.1:40000"));
        info.upstream_protocol = Some(Version::HTTP_2);
        info.attempts = 1;
        info.times.request_end = Some(info.times.begin + Duration::from_micros(500));
        info.times.upstream_response_begin = Some(info.times.begin + Duration::from_micros(1000));
        info.finish(info.times.begin + Duration::from_micros(1999));
        info
    }

    /// A stream whose connect failed and whose client then left.
    fn failed() -> StreamInfo {
        let mut info = served();
        info.request = None;
        info.response = None;
        info.response_code = None;
        info.client = Some(Address::Internal("inner".into()));
        for flag in [ResponseFlag::UF, ResponseFlag::URX, ResponseFlag::UF, ResponseFlag::DC] {
            info.flag(flag);
        }
        info.detail(Details::UpstreamReset(UpstreamReset {
            response: ResponseStart::Before,
            cause: ResetCause::Connect(ConnectFailure::new("Connection refused")),
        }));
        info.connection_termination = Some(ConnectionTermination::HeadersTooLarge);
        info.transport_failure = Some("delayed connect error: Connection refused".into());
        info.route_name = Some("".into());
        info
    }

    fn line(format: &str, info: &StreamInfo) -> String {
        let mut out = b"kept ".to_vec();
        Renderer::new(Format::parse(format).unwrap()).render(info, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("kept ").unwrap().to_owned()
    }

    #[test]
    fn every_operator_in_three_streams() {
        // Format, nothing known, served, failed.
        let cases = [
            ("%BYTES_RECEIVED%/%BYTES_SENT%", "0/0", "3/2", "3/2"),
            ("%CONNECTION_ID%", "7", "7", "7"),
            (
                "%CONNECTION_TERMINATION_DETAILS%",
                "-",
                "-",
                "codec_error:http/1.1_protocol_error:_headers_size_exceeds_limit",
            ),
            ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1:5000"),
            ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
            ("%DOWNSTREAM_LOCAL_ADDRESS%", "[::1]:80", "[::1]:80", "[::1]:80"),
            ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "::1", "::1", "::1"),
            ("%DOWNSTREAM_LOCAL_PORT%", "80", "80", "80"),
            ("%DOWNSTREAM_REMOTE_ADDRESS%", "127.0.0.1:5000", "127.0.0.1:5000", "envoy://inner/"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1", "127.0.0.1", "envoy://inner/"),
            ("%DURATION%", "0", "1", "1"),
            ("%PROTOCOL%", "-", "HTTP/1.1", "HTTP/1.1"),
            ("%REQ(:METHOD)% %REQ(:PATH)%", "- -", "GET /a/b?c", "- -"),
            ("%REQ(HOST)% %REQ(:SCHEME)%", "- -", "lab.test -", "- -"),
            ("%REQ(X-TWO)%", "-", "1", "-"),
            ("%REQ(X-NONE?:PATH)%", "-", "/a/b?c", "-"),
            ("%REQ(:PATH?X-NONE)%", "-", "/a/b?c", "-"),
            ("%REQ(:PATH):3% %REQ(X-NONE):3% %REQ(:PATH):99%", "- - -", "/a/ - /a/b?c", "- - -"),
            ("%RESP(:STATUS)% %RESP(X-NONE?X-ENVOY-UPSTREAM-SERVICE-TIME)%", "- -", "200 0", "- -"),
            ("%REQUEST_DURATION%", "-", "0", "0"),
            ("%RESPONSE_CODE%", "0", "200", "0"),
            (
                "%RESPONSE_CODE_DETAILS%",
                "-",
                "via_upstream",
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
            ),
            ("%RESPONSE_DURATION%", "-", "1", "1"),
            ("%RESPONSE_FLAGS%", "-", "-", "UF,URX,DC"),
            (
                "%RESPONSE_FLAGS_LONG%",
                "-",
                "-",
                "UpstreamConnectionFailure,UpstreamRetryLimitExceeded,DownstreamConnectionTermination",
            ),
            ("%RESPONSE_TX_DURATION%", "-", "0", "0"),
            ("%ROUTE_NAME%", "-", "r", "-"),
            ("%START_TIME%", "2026-11-21T05:08:56.710Z", "2026-11-21T05:08:56.710Z", "2026-11-21T05:08:56.710Z"),
            (
                "%START_TIME(%s.%3f %d/%b/%Y)%",
                "1795237736.710 21/Nov/2026",
                "1795237736.710 21/Nov/2026",
                "1795237736.710 21/Nov/2026",
            ),
            ("%UPSTREAM_CLUSTER%", "-", "up", "up"),
            ("%UPSTREAM_HOST%", "-", "127.0.0.1:26010", "127.0.0.1:26010"),
            ("%UPSTREAM_LOCAL_ADDRESS%", "-", "127.0.0.1:40000", "127.0.0.1:40000"),
            ("%UPSTREAM_PROTOCOL%", "-", "HTTP/2", "HTTP/2"),
            ("%UPSTREAM_REMOTE_ADDRESS%", "-", "127.0.0.1:26010", "127.0.0.1:26010"),
            ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "0", "1", "1"),
            ("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "-", "-", "delayed_connect_error:_Connection_refused"),
            ("100%% of \"it\"", "100% of \"it\"", "100% of \"it\"", "100% of \"it\""),
        ];
        let [blank, served, failed] = [blank(), served(), failed()];
        for (format, nothing_known, went_through, went_wrong) in cases {
            assert_eq!(line(format, &blank), nothing_known, "{format}, nothing known");
            assert_eq!(line(format, &served), went_through, "{format}, served");
            assert_eq!(line(format, &failed), went_wrong, "{format}, failed");
        }
    }

    #[test]
    fn the_default_line_is_envoys() {
        let mut out = Vec::new();
        Renderer::new(Format::default_line()).render(&served(), &mut out);
        // As Envoy 1.40 wrote it for such a request.
        let want = "[2026-11-21T05:08:56.710Z] \"GET /a/b?c HTTP/1.1\" 200 - 3 2 1 0 \"10.0.0.1\" \"-\" \"id\" \
                    \"lab.test\" \"127.0.0.1:26010\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
