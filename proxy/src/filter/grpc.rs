//! Calls over gRPC: one message goes to a service, and one comes back ("gRPC over HTTP2").

use std::sync::Arc;

use http::header::{CONTENT_TYPE, TE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use prost::Message;

use super::call::{Call, CallEnd, Sender};
use super::edits::add_to_check;
use crate::access_log::StreamInfo;
use crate::codec::{Headers, RequestHead, grpc};
use crate::config::service::GrpcService;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// In front of each message: whether it is compressed, and its length ("gRPC over HTTP2", Length-Prefixed-Message).
const PREFIX_BYTES: usize = 5;

/// The call of a method, made because of `request`. A response with a longer message than `bytes_max` is none.
pub(super) fn call(
    service: &GrpcService,
    method: &'static str,
    message: &impl Message,
    bytes_max: usize,
    request: &RequestHead,
    info: &StreamInfo,
) -> Call {
    let mut headers = Headers::default();
    headers.append(TE, HeaderValue::from_static("trailers"));
    headers.append(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(timeout) = service.to.timeout {
        grpc::set_timeout(&mut headers, timeout);
    }
    add_to_check(&service.edits, &mut headers, request, info);
    let head = RequestHead {
        method: Method::POST,
        authority: Some(service.authority.clone()),
        path: Some(HeaderValue::from_static(method)),
        version: Version::HTTP_2,
        headers,
        ..RequestHead::default()
    };
    let body = grpc::frame(&message.encode_to_vec());
    let bytes_max = bytes_max.min(service.bytes_max.saturating_add(PREFIX_BYTES));
    Call { to: Arc::clone(&service.to), head, body, bytes_max, sender: Sender::Forwarded }
}

/// The message of a call that has succeeded.
pub(super) fn message<M: Message + Default>(end: CallEnd) -> Option<M> {
    let CallEnd::Response { head, body, trailers } = end else { return None };
    let is_ok = |value: &HeaderValue| value.as_bytes() == b"0";
    // A status in the head means that there is no message.
    if head.status != StatusCode::OK || !trailers?.get(&GRPC_STATUS).is_some_and(is_ok) {
        return None;
    }
    M::decode(last_message(&body)?).ok()
}

/// The message in the body; of several, the last.
fn last_message(mut body: &[u8]) -> Option<&[u8]> {
    let mut last = None;
    while let Some((&[compressed, a, b, c, d], rest)) = body.split_first_chunk::<PREFIX_BYTES>() {
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        if compressed != 0 && length > 0 {
            return None; // no coding was offered
        }
        let (message, behind) = rest.split_at_checked(length)?;
        (last, body) = (Some(message), behind);
    }
    last.filter(|_| body.is_empty())
}
