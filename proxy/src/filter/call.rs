//! Requests that a filter makes itself, and waits for: the filter says what to send, and the stream sends it.

use std::sync::Arc;

use bytes::Bytes;

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

/// What a call came to.
#[derive(Debug)]
pub(crate) enum CallEnd {
    /// There is no response, or none that is whole.
    Failed,
    /// A response of any status.
    Response { head: ResponseHead, body: Bytes, trailers: Option<Headers> },
}
