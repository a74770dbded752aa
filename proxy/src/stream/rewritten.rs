//! What `local_reply_config` makes of a response of the proxy's own.

use std::cell::RefCell;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::local_reply::Content;
use super::log_filter::{LogFilter, Subject};
use crate::access_log::StreamInfo;
use crate::access_log::format::{Heads, Renderer, Source};
use crate::codec::{RequestHead, ResponseHead};
use crate::config::listener::ConnectionManager as Options;
use crate::config::local_reply::{BodyFormat, Mapper as MapperOptions};
use crate::config::log_filter::LogType;
use crate::filter::edits::edit_response;
use crate::net::{Clock, Random};
use crate::runtime::Runtime;

/// How the responses of a connection manager's own are changed.
pub(crate) struct LocalReplies {
    mappers: Vec<Mapper>,
    format: Option<Formatter>,
}

struct Mapper {
    filter: LogFilter,
    options: MapperOptions,
    format: Option<Formatter>,
}

struct Formatter {
    renderer: RefCell<Renderer>,
    content_type: HeaderValue,
}

impl LocalReplies {
    pub(crate) fn new(options: &Options, runtime: &Runtime, clock: &dyn Clock) -> Self {
        let options = &options.local_replies;
        let mapper = |options: &MapperOptions| Mapper {
            filter: LogFilter::new(&options.filter, runtime),
            options: options.clone(),
            format: options.format.as_ref().map(|format| Formatter::new(format, clock)),
        };
        Self {
            mappers: options.mappers.iter().map(mapper).collect(),
            format: options.format.as_ref().map(|format| Formatter::new(format, clock)),
        }
    }

    /// Changes a response whose head has its status and what routes add to it. `info` gets the status, as it is before and
    /// after, since filters and formats read it.
    pub(super) fn rewrite(
        &self,
        request: &RequestHead,
        head: &mut ResponseHead,
        content: &mut Content,
        random: &dyn Random,
        info: &mut StreamInfo,
    ) {
        if self.mappers.is_empty() && self.format.is_none() {
            return;
        }
        info.response_code = Some(head.status.as_u16());
        let heads = Heads { request: Some(request), response: Some(&*head) };
        let subject = Subject { heads, info, log_type: LogType::NotSet, random };
        let mapper = self.mappers.iter().find(|mapper| mapper.filter.takes(&subject));
        if let Some(Mapper { options, .. }) = mapper {
            options.apply(request, head, content, info);
        }
        let format = mapper.and_then(|mapper| mapper.format.as_ref()).or(self.format.as_ref());
        if let Some(format) = format {
            let source = Source {
                heads: Heads { request: Some(request), response: Some(&*head) },
                info,
                body: &content.body,
                log_type: LogType::NotSet,
                random: Some(random),
            };
            let mut body = Vec::new();
            format.renderer.borrow_mut().render(&source, &mut body);
            content.rewrite(body.into(), Some(&format.content_type));
        }
    }
}

impl MapperOptions {
    fn apply(&self, request: &RequestHead, head: &mut ResponseHead, content: &mut Content, info: &mut StreamInfo) {
        if let Some(body) = &self.body {
            content.rewrite(Bytes::copy_from_slice(body.as_bytes()), None);
        }
        if let Some(edits) = &self.edits {
            let before = head.headers.get(&CONTENT_TYPE).cloned();
            edit_response(std::slice::from_ref(edits), head, request, info);
            content.keeps_type |= head.headers.get(&CONTENT_TYPE) != before.as_ref();
        }
        // Configuration allows 200 to 599.
        if let Some(status) = self.status.and_then(|status| StatusCode::from_u16(status).ok()) {
            head.status = status;
            info.response_code = Some(status.as_u16());
        }
    }
}

impl Formatter {
    fn new(options: &BodyFormat, clock: &dyn Clock) -> Self {
        Self {
            renderer: RefCell::new(Renderer::new(options.format.clone()).timed_by(clock)),
            content_type: options.content_type.clone(),
        }
    }
}
