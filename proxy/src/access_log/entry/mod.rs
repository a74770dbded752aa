//! A stream as an entry for a service: `HTTPAccessLogEntry` of a request, `TCPAccessLogEntry` of a connection.

mod common;
mod message;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderName, REFERER, USER_AGENT};
use http::{Method, Version};
use prost::Message;

use super::format::{Source, pseudo_header, request_bytes, response_bytes, text_of, wire_bytes};
use super::time::Second;
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::config::entry_log::{EntryExtras, EntryHeaders, EntryKind, EntryLog};
use crate::config::log_format::{ByteKind, Hop, Operator, Way};
use crate::net::Clock;
use crate::protobuf::{Number, text};
use message::{Connection, HttpEntry, Request, Response, TcpEntry};

pub(crate) use message::{Entries as EntryList, Identifier, Locality, LogsMessage, Node};

/// Makes the entries of one log.
pub(super) struct Entries {
    kind: EntryKind,
    headers: Arc<EntryHeaders>,
    extras: Arc<EntryExtras>,
    second: RefCell<Second>,
}

impl Entries {
    pub(super) fn new(options: &EntryLog, clock: &dyn Clock) -> Self {
        let EntryLog { kind, headers, extras, .. } = options;
        let second = match options.any(&Operator::is_local_time) {
            true => Second::in_zone(clock.zone()),
            false => Second::default(),
        };
        Self { kind: *kind, headers: Arc::clone(headers), extras: Arc::clone(extras), second: RefCell::new(second) }
    }

    /// The entry of a stream, as protobuf has it.
    pub(super) fn entry(&self, source: &Source<'_>) -> Vec<u8> {
        let common_properties = Some(common::common(&self.extras, source, &mut self.second.borrow_mut()));
        match self.kind {
            EntryKind::Http => HttpEntry {
                common_properties,
                protocol_version: protocol(source.info.protocol),
                request: Some(self.request(source)),
                response: Some(self.response(source)),
            }
            .encode_to_vec(),
            EntryKind::Tcp => TcpEntry {
                common_properties,
                connection_properties: Some(Connection {
                    received_bytes: source.info.bytes_received,
                    sent_bytes: source.info.bytes_sent,
                }),
            }
            .encode_to_vec(),
        }
    }

    fn request(&self, source: &Source<'_>) -> Request {
        let info = source.info;
        let on_the_wire = Request {
            request_body_bytes: info.bytes_received,
            upstream_header_bytes_sent: wire_bytes(Hop::Upstream, ByteKind::Header, Way::Sent, info),
            downstream_header_bytes_received: wire_bytes(Hop::Downstream, ByteKind::Header, Way::Received, info),
            ..Request::default()
        };
        let Some(head) = source.heads.request else { return on_the_wire };
        let value = |name: &HeaderName| head.headers.get(name).map(|value| text(value.as_bytes())).unwrap_or_default();
        let pseudo = |name: &str| header_of_request(head, name).unwrap_or_default();
        Request {
            request_method: method(&head.method),
            scheme: pseudo(":scheme"),
            authority: pseudo(":authority"),
            path: pseudo(":path"),
            user_agent: value(&USER_AGENT),
            referer: value(&REFERER),
            forwarded_for: value(&names::X_FORWARDED_FOR),
            request_id: value(&names::X_REQUEST_ID),
            original_path: value(&names::X_ENVOY_ORIGINAL_PATH),
            request_headers_bytes: request_bytes(head),
            request_headers: named(&self.headers.request, |name| header_of_request(head, name)),
            ..on_the_wire
        }
    }

    fn response(&self, source: &Source<'_>) -> Response {
        let info = source.info;
        let head = source.heads.response;
        Response {
            response_code: info.response_code.map(|code| Number { value: code.into() }),
            response_headers_bytes: head.map_or(0, response_bytes),
            response_body_bytes: info.bytes_sent,
            response_headers: named(&self.headers.response, |name| header_of_response(head?, name)),
            response_trailers: named(&self.headers.trailers, |name| joined(info.trailers.as_ref()?, name)),
            response_code_details: text_of(&Operator::ResponseCodeDetails, source).unwrap_or_default(),
            upstream_header_bytes_received: wire_bytes(Hop::Upstream, ByteKind::Header, Way::Received, info),
            downstream_header_bytes_sent: wire_bytes(Hop::Downstream, ByteKind::Header, Way::Sent, info),
        }
    }
}

/// Those of these names that are there.
fn named(names: &[String], value: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    names.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

fn header_of_request(head: &RequestHead, name: &str) -> Option<String> {
    pseudo_header(head, name).map_or_else(|| joined(&head.headers, name), |value| value.map(text))
}

fn header_of_response(head: &ResponseHead, name: &str) -> Option<String> {
    match name {
        ":status" => Some(head.status.as_str().to_owned()),
        _ => joined(&head.headers, name),
    }
}

/// The values of all fields of this name, with commas between them, as in Envoy.
fn joined(headers: &Headers, name: &str) -> Option<String> {
    let values = headers.iter().filter(|(known, _)| known.as_str() == name).map(|(_, value)| value.as_bytes());
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| text(&values.join(&b',')))
}

/// `HTTPAccessLogEntry.HTTPVersion`
fn protocol(version: Option<Version>) -> i32 {
    match version {
        Some(Version::HTTP_10) => 1,
        Some(Version::HTTP_11) => 2,
        Some(Version::HTTP_2) => 3,
        Some(_) | None => 0,
    }
}

/// `envoy.config.core.v3.RequestMethod`, in which other methods have no number.
fn method(method: &Method) -> i32 {
    const NAMED: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let at = NAMED.iter().position(|name| *name == method.as_str());
    at.and_then(|at| i32::try_from(at + 1).ok()).unwrap_or(0)
}
