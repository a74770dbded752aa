//! Responses of filters' own.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::access_log::{Details, ResponseFlag};
use crate::codec::Headers;
use crate::config::route::Edits;

/// A response of a filter's own to the head of a request.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum FilterReply {
    /// The request goes no further.
    Ended(Box<EndedReply>),
    /// What a preflight requested (Fetch Standard, "CORS protocol").
    Preflight(Headers),
    /// The body that came meanwhile is refused.
    Refused(Refusal),
}

/// A response that passes the same edits and rewrites as the proxy's other ones.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct EndedReply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) details: Details,
    pub(crate) flag: Option<ResponseFlag>,
    /// What it changes in the head, behind the edits of its route.
    pub(crate) edits: Option<Arc<Edits>>,
    /// These take the place of others of their names, behind those edits.
    pub(crate) headers: Headers,
    /// The cluster of its route counts it as a response to a request of its own.
    pub(crate) is_charged: bool,
    /// Of gRPC, where it does not follow from `status`.
    pub(crate) grpc_status: Option<u32>,
}

impl EndedReply {
    /// Without a flag and edits of its own.
    pub(super) fn new(status: StatusCode, body: &'static str, details: Details) -> Self {
        Self {
            status,
            body: Bytes::from_static(body.as_bytes()),
            details,
            flag: None,
            edits: None,
            headers: Headers::default(),
            is_charged: false,
            grpc_status: None,
        }
    }

    /// The end of the request's way through the filters.
    pub(super) fn end(self) -> super::Flow<FilterReply> {
        super::Flow::Respond(FilterReply::Ended(Box::new(self)))
    }
}

/// Why a filter does not let a body pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// A request's body that should be base64 is something else.
    Base64Data,
    /// A request's body that should be base64 is not made of whole groups of four characters.
    Base64Size,
    /// A request's body is not of the coding that it names, or becomes too long.
    RequestUndecodable,
    /// The same of a response's.
    ResponseUndecodable,
    /// A request's body is larger than it may be.
    RequestTooLarge,
    /// A response's body that has to be kept is larger than may be.
    ResponseTooLarge,
}
