//! Requests that a filter makes itself, and waits for: the filter says what to send, and the stream sends it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::service::Service;

/// A request to a cluster.
#[derive(Debug)]
pub(crate) struct Call {
    /// Where it goes, and how long it may take.
    pub(crate) to: Arc<Service>,
    pub(crate) head: RequestHead,
    pub(crate) body: Bytes,
    /// A response with a larger body is none.
    pub(crate) bytes_max: usize,
    pub(crate) sender: Sender,
}

/// Whether a call names this host in `x-forwarded-for`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sender {
    Hidden,
    Forwarded,
}

/// What stands in the place of a response: what a client would have got.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Unanswered {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Unanswered {
    /// As a response.
    pub(super) fn into_response(self) -> (ResponseHead, Bytes) {
        let mut head = ResponseHead::new(self.status);
        head.headers.set(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        head.headers.set(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        (head, self.body)
    }
}

/// What a call came to.
#[derive(Debug)]
pub(crate) enum CallEnd {
    /// There is no response, or none that is whole.
    Failed(Unanswered),
    /// A response of any status.
    Response { head: ResponseHead, body: Bytes, trailers: Option<Headers> },
}
