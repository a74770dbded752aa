//! Renders a stream as a line.
//!
//! The format was parsed with the configuration; here it is only walked. A value that is not known prints
//! `-`, as in every access log since the first web servers.

use std::io::Write;
use std::time::Duration;

use http::Version;

use super::StreamInfo;
use super::time::{self, Second};
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::log_format::{Format, Operator, Piece};
use crate::net::Address;

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
        for piece in &self.format.0 {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Operator(operator, bytes_max) => {
                    let from = out.len();
                    if value(operator, info, &mut self.second, out).is_none() {
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

/// Appends the value of `operator`; `None`, with nothing appended, if it is not known.
fn value(operator: &Operator, info: &StreamInfo, second: &mut Second, out: &mut Vec<u8>) -> Option<()> {
    let downstream = &info.downstream;
    let client = info.client.as_ref().unwrap_or(&downstream.peer);
    match operator {
        Operator::BytesReceived => number(info.bytes_received, out),
        Operator::BytesSent => number(info.bytes_sent, out),
        Operator::ConnectionId => number(downstream.connection_id, out),
        Operator::ConnectionTerminationDetails => text(info.connection_termination.as_deref()?, out),
        Operator::DownstreamLocalAddress => address(&downstream.local, out),
        Operator::DownstreamRemoteAddress => address(client, out),
        Operator::DownstreamRemoteAddressWithoutPort => address_without_port(client, out),
        Operator::Duration => number(millis(info.times.duration()), out),
        Operator::Protocol => text(protocol(info.protocol?)?, out),
        Operator::RequestHeader { name, or } => {
            let head = info.request.as_ref()?;
            request_header(head, name, out).or_else(|| request_header(head, or.as_deref()?, out))
        }
        Operator::ResponseHeader { name, or } => {
            let head = info.response.as_ref()?;
            response_header(head, name, out).or_else(|| response_header(head, or.as_deref()?, out))
        }
        Operator::ResponseCode => number(info.response_code.unwrap_or(0).into(), out),
        Operator::ResponseCodeDetails => one_word(info.details.as_deref()?, out),
        Operator::ResponseFlags => list(info.flags.iter().map(|flag| flag.short().as_bytes()), out),
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
    let fields = headers.iter().filter(|(known, _)| known.as_str() == name);
    list(fields.map(|(_, value)| value.as_bytes()), out)
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
