//! What health checks request, and which response they want.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;

use super::{mutation, pattern, proxy_protocol};
use crate::config::address::ProxyVersion;
use crate::config::bootstrap::health::{
    CheckCodec, GrpcHealthCheck, HealthCheck as Written, HealthCheckPayload, HttpHealthCheck, Int64Range,
    RequestMethod, TcpHealthCheck,
};
use crate::config::health::{CheckVersion, HttpProbe, Probe};
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// `HttpHealthCheck.response_buffer_size`
const RESPONSE_BYTES_MAX: u64 = 1024;

pub(super) fn probe(at: &At<Written>, cluster: &str, is_http2: bool) -> Result<Probe, Problem> {
    let written = &at.value;
    match (&written.http_health_check, &written.tcp_health_check, &written.grpc_health_check) {
        (None, None, Some(grpc)) => grpc_probe(grpc, at, cluster, is_http2),
        (Some(http), None, None) => http_probe(http, at, cluster).map(Box::new).map(Probe::Http),
        (None, Some(tcp), None) => tcp_probe(tcp, at),
        _ => Err(at.invalid("a health check is one of http_health_check, tcp_health_check and grpc_health_check")),
    }
}

fn tcp_probe(written: &TcpHealthCheck, at: &At<Written>) -> Result<Probe, Problem> {
    Ok(Probe::Tcp {
        header: written
            .proxy_protocol_config
            .as_ref()
            .map(|config| config.version.map_or(ProxyVersion::V1, proxy_protocol::version)),
        send: written.send.as_ref().map(|send| bytes(send, at)).transpose()?.unwrap_or_default(),
        receive: written.receive.iter().map(|receive| bytes(receive, at)).collect::<Result<_, _>>()?,
    })
}

/// The host of requests: what is written, or the name of the cluster.
fn host<'w>(
    written: Option<&'w At<String>>,
    (check, cluster, field): (&At<Written>, &str, &str),
) -> Result<Option<&'w At<String>>, Problem> {
    let host = written.filter(|host| !host.value.is_empty());
    if host.is_none() && !is_visible(cluster) {
        return Err(check.invalid_but(
            format!("the name of the cluster, {cluster:?}, would be the host of its health checks, and cannot be one"),
            format!("write {field}"),
        ));
    }
    host.map(visible).transpose()
}

fn visible(text: &At<String>) -> Result<&At<String>, Problem> {
    if is_visible(&text.value) { Ok(text) } else { Err(text.invalid("must be visible ASCII characters")) }
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn grpc_probe(
    written: &At<GrpcHealthCheck>,
    check: &At<Written>,
    cluster: &str,
    is_http2: bool,
) -> Result<Probe, Problem> {
    let host = host(written.value.authority.as_ref(), (check, cluster, "grpc_health_check.authority"))?;
    if !is_http2 {
        return Err(written.invalid_but(
            format!("{cluster} cluster must support HTTP/2 for gRPC healthchecking"),
            "write explicit_http_config: {http2_protocol_options: {}} for the cluster",
        ));
    }
    Ok(Probe::Grpc {
        host: host.map(|host| host.value.clone()),
        service: written.value.service_name.clone(),
        edits: mutation::edits(&written.value.initial_metadata, &[])?,
    })
}

fn http_probe(written: &HttpHealthCheck, check: &At<Written>, cluster: &str) -> Result<HttpProbe, Problem> {
    let host = host(written.host.as_ref(), (check, cluster, "http_health_check.host"))?;
    let expected = ranges(&written.expected_statuses, "expected")?;
    let method = method(written)?;
    Ok(HttpProbe {
        version: match written.codec_client_type {
            None | Some(CheckCodec::Http1) => CheckVersion::Http1,
            Some(CheckCodec::Http2) => CheckVersion::Http2,
        },
        body: body(written, &method, check)?,
        method,
        host: host.map(|host| host.value.clone()),
        path: visible(&written.path)?.value.clone(),
        edits: mutation::edits(&written.request_headers_to_add, &written.request_headers_to_remove)?,
        expected: if expected.is_empty() { vec![200..=200] } else { expected },
        retriable: ranges(&written.retriable_statuses, "retriable")?,
        receive: written.receive.iter().map(|receive| bytes(receive, check)).collect::<Result<_, _>>()?,
        response_bytes_max: match written.response_buffer_size.unwrap_or(RESPONSE_BYTES_MAX) {
            0 => None,
            max => Some(usize::try_from(max).unwrap_or(usize::MAX)),
        },
        service: written.service_name_matcher.as_ref().map(pattern::string_match).transpose()?,
    })
}

fn method(written: &HttpHealthCheck) -> Result<Method, Problem> {
    let Some(at) = &written.method else { return Ok(Method::GET) };
    Ok(match at.value {
        RequestMethod::Unspecified | RequestMethod::Get => Method::GET,
        RequestMethod::Head => Method::HEAD,
        RequestMethod::Post => Method::POST,
        RequestMethod::Put => Method::PUT,
        RequestMethod::Delete => Method::DELETE,
        RequestMethod::Options => Method::OPTIONS,
        RequestMethod::Trace => Method::TRACE,
        RequestMethod::Patch => Method::PATCH,
        RequestMethod::Connect => return Err(at.invalid("checks cannot be sent with CONNECT")),
    })
}

/// What is sent behind the head; empty is nothing.
fn body(written: &HttpHealthCheck, method: &Method, check: &At<Written>) -> Result<Bytes, Problem> {
    let Some(send) = &written.send else { return Ok(Bytes::new()) };
    if ![Method::POST, Method::PUT, Method::PATCH, Method::OPTIONS].contains(method) {
        return Err(send.invalid_but(
            format!("a check with the method {method} has no body"),
            "write method: POST, PUT, PATCH or OPTIONS",
        ));
    }
    bytes(&send.value, check).map(Bytes::from)
}

/// Ranges of statuses; `kind` is Envoy's word for them. They end before their end.
fn ranges(written: &[At<Int64Range>], kind: &str) -> Result<Vec<RangeInclusive<u16>>, Problem> {
    let range = |at: &At<Int64Range>| {
        let Int64Range { start, end } = at.value;
        let broken = match (start, end) {
            (start, end) if start >= end => "start < end",
            (..100, _) => "start >= 100",
            (_, 601..) => "end <= 600",
            (_, _) => return Ok(start..=end - 1),
        };
        Err(at.invalid_but(
            format!("invalid http {kind} status range: expecting {broken}, but found start={start} and end={end}"),
            "the end is not part of the range: a single status, 200, is { start: 200, end: 201 }",
        ))
    };
    written.iter().map(range).collect()
}

/// Pairs of hexadecimal digits, or base64.
fn bytes(written: &HealthCheckPayload, check: &At<Written>) -> Result<Vec<u8>, Problem> {
    let text = match (&written.text, &written.binary) {
        (Some(text), None) => text,
        (None, Some(binary)) => {
            let decoded = STANDARD.decode(&binary.value);
            return decoded.map_err(|error| binary.invalid(format!("is no base64: {error}")));
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(check.invalid("what is sent or received is either text, in hexadecimal digits, or binary"));
        }
    };
    let digits: Option<Vec<u32>> = text.value.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
    let Some(digits) = digits else { return Err(text.invalid("must be pairs of hexadecimal digits")) };
    let pair = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte * 16 + digit);
    Ok(digits.chunks(2).filter_map(|digits| u8::try_from(pair(digits)).ok()).collect())
}
