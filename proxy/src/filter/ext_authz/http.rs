//! An authorisation service that speaks HTTP: it gets the request's head, and 200 allows the request.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, StatusCode};

use super::changes::{Changes, InResponse};
use super::{Answer, CheckBody, PARTIAL_BODY, RESPONSE_BYTES_MAX, Verdict, is_of_message, is_removable, listed};
use crate::access_log::StreamInfo;
use crate::codec::head::{is_of_connection, tokens};
use crate::codec::{Headers, RequestHead};
use crate::config::ext_authz::{CheckPath, ExtAuthz, HttpAuthorisation};
use crate::config::metadata::{Struct, Value};
use crate::config::string_match::StringMatch;
use crate::filter::call::{Call, CallEnd, Sender};
use crate::filter::edits::add_to_check;

/// In a response that allows a request: what is removed from the request.
const REMOVED: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The request to the service.
pub(super) fn check(
    options: &ExtAuthz,
    service: &HttpAuthorisation,
    request: &RequestHead,
    CheckBody { bytes: body, is_cut }: CheckBody,
    info: &StreamInfo,
) -> Call {
    let mut headers = Headers::default();
    headers.append(CONTENT_LENGTH, HeaderValue::from(body.len()));
    for (name, value) in request.headers.iter() {
        let is_allowed =
            *name == AUTHORIZATION || options.allowed.as_ref().is_some_and(|allowed| listed(allowed, name.as_str()));
        let is_seen = is_allowed && !listed(&options.disallowed, name.as_str());
        // A body's length is that of what is sent, and headers of the connection belong to it (RFC 9110 7.6.1).
        if is_seen && *name != CONTENT_LENGTH && name.as_str() != PARTIAL_BODY && !is_of_connection(name) {
            headers.append_or_join(name, value.clone(), |_| true);
        }
    }
    if let Some(is_cut) = is_cut {
        headers.append(
            HeaderName::from_static(PARTIAL_BODY),
            HeaderValue::from_static(if is_cut { "true" } else { "false" }),
        );
    }
    let path = match &service.path {
        CheckPath::Own(own) => Some(own.clone()),
        CheckPath::Prefixed(None) => request.path.clone(),
        CheckPath::Prefixed(Some(prefix)) => {
            let path = request.path.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
            // Two values behind one another are a value.
            HeaderValue::from_bytes(&[prefix.as_bytes(), path].concat()).ok()
        }
    };
    add_to_check(&service.edits, &mut headers, request, info);
    let head = RequestHead {
        method: request.method.clone(),
        authority: request.authority.clone(),
        path,
        headers,
        ..RequestHead::default()
    };
    Call { to: Arc::clone(&service.to), head, body, bytes_max: RESPONSE_BYTES_MAX, sender: Sender::Hidden }
}

/// What a response means.
pub(super) fn verdict(service: &HttpAuthorisation, end: CallEnd) -> Verdict {
    let CallEnd::Response { head, body, .. } = end else { return Verdict::Error(None) };
    if head.status.is_server_error() {
        return Verdict::Error(None);
    }
    let kept = || head.headers.iter().filter(|(name, _)| **name != REMOVED && !is_of_message(name));
    let select = |patterns: &[StringMatch]| of(kept().filter(|(name, _)| listed(patterns, name.as_str())));
    let metadata: Struct = head
        .headers
        .iter()
        .filter(|(name, _)| listed(&service.metadata, name.as_str()))
        .map(|(name, value)| (name.to_string(), Value::Text(String::from_utf8_lossy(value.as_bytes()).into_owned())))
        .collect();
    if head.status == StatusCode::OK {
        let name = REMOVED;
        let removed = head.headers.get_all(&name).flat_map(tokens);
        return Verdict::Allowed(Box::new(Changes {
            set: select(&service.upstream),
            added: select(&service.upstream_appended),
            removed: removed.filter_map(|name| HeaderName::from_bytes(name).ok()).filter(is_removable).collect(),
            in_response: InResponse::added(&select(&service.client_on_success)),
            metadata,
            ..Changes::default()
        }));
    }
    let headers = match &service.client {
        Some(patterns) => select(patterns),
        None => of(kept().filter(|(name, _)| **name != HOST)),
    };
    Verdict::Denied(Box::new(Answer { status: Some(head.status), headers, body, metadata }))
}

fn of<'h>(fields: impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)>) -> Headers {
    let mut headers = Headers::default();
    fields.for_each(|(name, value)| headers.append(name.clone(), value.clone()));
    headers
}
