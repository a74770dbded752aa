//! An authorisation service that speaks HTTP: it gets the request's head, and 200 allows the request.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, StatusCode};

use super::{Changes, Verdict};
use crate::access_log::StreamInfo;
use crate::codec::head::{is_of_connection, tokens};
use crate::codec::{Headers, RequestHead};
use crate::config::ext_authz::{ExtAuthz, HttpAuthorisation};
use crate::config::metadata::{Struct, Value};
use crate::config::string_match::StringMatch;
use crate::filter::call::{Call, CallEnd, Sender};
use crate::filter::edits::add_to_check;

/// The largest body of a response. A page for a client that is denied has some kilobytes.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// Whether the service has got a part of the body alone.
const PARTIAL_BODY: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");
/// In a response that allows a request: what is removed from the request.
const REMOVED: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The request to the service. `is_cut`: whether the body is a part of it alone, where it was read.
pub(super) fn check(
    options: &ExtAuthz,
    request: &RequestHead,
    body: Bytes,
    is_cut: Option<bool>,
    info: &StreamInfo,
) -> Call {
    let service = &options.service;
    let mut headers = Headers::default();
    headers.append(CONTENT_LENGTH, HeaderValue::from(body.len()));
    for (name, value) in request.headers.iter() {
        let is_seen = listed(&options.allowed, name) && !listed(&options.disallowed, name);
        // A body's length is that of what is sent, and headers of the connection belong to it (RFC 9110 7.6.1).
        if is_seen && *name != CONTENT_LENGTH && *name != PARTIAL_BODY && !is_of_connection(name) {
            headers.append_or_join(name, value.clone(), |_| true);
        }
    }
    if let Some(is_cut) = is_cut {
        headers.append(PARTIAL_BODY, HeaderValue::from_static(if is_cut { "true" } else { "false" }));
    }
    let path = request.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let prefix = service.path_prefix.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    add_to_check(&service.edits, &mut headers, request, info);
    let head = RequestHead {
        method: request.method.clone(),
        authority: request.authority.clone(),
        // Two values behind one another are a value.
        path: HeaderValue::from_bytes(&[prefix, path].concat()).ok(),
        headers,
        ..RequestHead::default()
    };
    Call { to: Arc::clone(&service.to), head, body, bytes_max: RESPONSE_BYTES_MAX, sender: Sender::Hidden }
}

/// What a response means.
pub(super) fn verdict(service: &HttpAuthorisation, end: CallEnd, bytes_max: Option<NonZeroU32>) -> Verdict {
    let CallEnd::Response { head, body } = end else { return Verdict::Error };
    if head.status.is_server_error() {
        return Verdict::Error;
    }
    let kept = || head.headers.iter().filter(|(name, _)| **name != REMOVED && !is_of_message(name));
    let select = |patterns: &[StringMatch]| of(kept().filter(|(name, _)| listed(patterns, name)));
    let metadata: Struct = head
        .headers
        .iter()
        .filter(|(name, _)| listed(&service.metadata, name))
        .map(|(name, value)| (name.to_string(), Value::Text(String::from_utf8_lossy(value.as_bytes()).into_owned())))
        .collect();
    if head.status == StatusCode::OK {
        let name = REMOVED;
        let removed = head.headers.get_all(&name).flat_map(tokens);
        return Verdict::Allowed(Changes {
            set: select(&service.upstream),
            added: select(&service.upstream_appended),
            removed: removed.filter_map(|name| HeaderName::from_bytes(name).ok()).filter(is_removable).collect(),
            in_response: select(&service.client_on_success),
            metadata,
        });
    }
    let headers = match &service.client {
        Some(patterns) => select(patterns),
        None => of(kept().filter(|(name, _)| **name != HOST)),
    };
    let length = bytes_max.and_then(|max| usize::try_from(max.get()).ok()).unwrap_or(usize::MAX).min(body.len());
    Verdict::Denied { status: head.status, headers, body: body.slice(..length), metadata }
}

fn of<'h>(fields: impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)>) -> Headers {
    let mut headers = Headers::default();
    fields.for_each(|(name, value)| headers.append(name.clone(), value.clone()));
    headers
}

/// Does one of the patterns take the name?
fn listed(patterns: &[StringMatch], name: &HeaderName) -> bool {
    patterns.iter().any(|pattern| pattern.takes(name.as_str().as_bytes()))
}

/// Does it say where the service's own message ends? Another message has another end (RFC 9112 6).
fn is_of_message(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || is_of_connection(name)
}

/// A request without host is malformed.
fn is_removable(name: &HeaderName) -> bool {
    *name != HOST && !is_of_message(name)
}
