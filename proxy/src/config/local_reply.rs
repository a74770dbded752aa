//! `local_reply_config`: what becomes of responses that the proxy makes itself.

use std::sync::Arc;

use http::HeaderValue;

use super::log_filter::LogFilter;
use super::log_format::LineFormat;
use super::route::HeaderEdits;

/// How a connection manager's own responses are changed. By default they are not.
#[derive(Clone, Debug, Default)]
pub struct LocalReplies {
    /// The first whose filter takes the response changes it.
    pub mappers: Vec<Mapper>,
    /// The format of bodies, where the mapper has none.
    pub format: Option<BodyFormat>,
}

/// A change of the responses that a filter takes.
#[derive(Clone, Debug)]
pub struct Mapper {
    /// The local replies that the mapper changes.
    pub filter: LogFilter,
    /// Their status: 200 to 599.
    pub status: Option<u16>,
    /// Their body, before it is formatted.
    pub body: Option<String>,
    /// The format of their body.
    pub format: Option<BodyFormat>,
    /// What is added to their head; `None` is nothing.
    pub edits: Option<Arc<HeaderEdits>>,
}

/// The format of bodies.
#[derive(Clone, Debug)]
pub struct BodyFormat {
    /// The format, in which `%LOCAL_REPLY_BODY%` is the body as it would be without it.
    pub format: LineFormat,
    /// What `content-type` says of it.
    pub content_type: HeaderValue,
}
