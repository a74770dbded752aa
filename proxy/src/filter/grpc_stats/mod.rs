//! `envoy.filters.http.grpc_stats`: counts calls of gRPC and of the Connect protocol by method, how they end, and their messages.

mod messages;

use std::rc::Rc;

use http::StatusCode;

use super::{End, Piece};
use crate::access_log::StreamInfo;
use crate::codec::{Headers, Payload, RequestHead, ResponseHead, names};
use crate::config::filter::{CountedCalls, CountedMethods, ServiceNames};
use crate::config::filter_state::{Object, ObjectKind, Sharing};
use crate::stats::{GrpcFamily, GrpcMethod, GrpcStats, service_and_method};
use messages::Messages;

/// What logs and other filters find the numbers of messages under.
const STATE_KEY: &str = "envoy.filters.http.grpc_stats";

/// The filter while it serves one stream.
pub(super) struct GrpcCalls<'c> {
    options: &'c CountedCalls,
    /// What is counted of the method that is called; `None` of what is no call, or not counted.
    method: Option<Rc<GrpcMethod>>,
    asked: Asked,
    /// The response is one of gRPC.
    is_grpc_response: bool,
    requests: Messages,
    responses: Messages,
    /// Bodies of a call of Connect with one message each way that have come whole.
    whole: Whole,
    /// Something has come to be counted.
    is_begun: bool,
    /// The response has said how the call ended.
    has_ended: bool,
}

/// What a request is by its head. As in Envoy it may be several.
#[derive(Clone, Copy, Default)]
struct Asked {
    grpc: bool,
    /// Connect, with one message each way.
    connect: bool,
    connect_streaming: bool,
}

#[derive(Clone, Copy, Default)]
struct Whole {
    request: bool,
    response: bool,
}

impl Asked {
    fn of(headers: &Headers) -> Self {
        Self {
            grpc: headers.is_grpc(),
            connect: headers.contains(&names::CONNECT_PROTOCOL_VERSION),
            connect_streaming: is_connect_streaming(headers),
        }
    }

    fn is_call(self) -> bool {
        self.grpc || self.connect || self.connect_streaming
    }
}

fn is_connect_streaming(headers: &Headers) -> bool {
    headers.get_str("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/connect+"))
}

impl<'c> GrpcCalls<'c> {
    pub(super) fn new(options: &'c CountedCalls) -> Self {
        Self {
            options,
            method: None,
            asked: Asked::default(),
            is_grpc_response: false,
            requests: Messages::default(),
            responses: Messages::of_response(),
            whole: Whole::default(),
            is_begun: false,
            has_ended: false,
        }
    }

    pub(super) fn on_request(&mut self, request: &RequestHead, stats: Option<&Rc<GrpcStats>>) {
        self.asked = Asked::of(&request.headers);
        let (Some(stats), true) = (stats, self.asked.is_call()) else { return };
        let path = request.path.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default();
        let called = service_and_method(path);
        self.method = match (&self.options.methods, called) {
            (CountedMethods::All(names), Some((service, method))) => {
                let service = match names {
                    ServiceNames::AsWritten => service.to_owned(),
                    ServiceNames::WithoutDots => service.replace('.', "_"),
                };
                stats.method(GrpcFamily::Grpc, &format!("{service}.{method}"))
            }
            (CountedMethods::All(_), None) => None,
            (CountedMethods::Listed(listed), called) => {
                let name = called.map(|(service, method)| format!("{service}.{method}"));
                let name = name.filter(|name| listed.contains(name)).unwrap_or_default();
                stats.method(GrpcFamily::Grpc, &name)
            }
        };
    }

    pub(super) fn on_request_data(&mut self, piece: &Piece) {
        let begun = if self.asked.grpc || self.asked.connect_streaming {
            self.requests.begun_in(&piece.data)
        } else {
            self.whole.request = self.asked.connect && piece.is_last();
            self.whole.request.into()
        };
        self.is_begun |= begun > 0;
        if let Some(method) = &self.method {
            method.count_requests(begun);
        }
    }

    pub(super) fn on_response(&mut self, response: &ResponseHead, payload: Payload, info: &mut StreamInfo) {
        let headers = &response.headers;
        let is_ok = response.status == StatusCode::OK;
        self.is_grpc_response = match payload {
            Payload::None => headers.contains(&names::GRPC_STATUS),
            Payload::Raw | Payload::Some => is_ok && headers.is_grpc(),
        };
        if self.asked.connect {
            self.conclude(is_ok);
        } else if !(is_ok && is_connect_streaming(headers)) {
            self.charge(headers);
        }
        self.has_ended = payload == Payload::None;
        self.leave_state(info);
    }

    pub(super) fn on_response_data(&mut self, piece: &Piece) {
        let begun = if self.is_grpc_response || self.asked.connect_streaming {
            self.responses.begun_in(&piece.data)
        } else {
            self.whole.response = self.asked.connect && piece.is_last();
            self.whole.response.into()
        };
        self.is_begun |= begun > 0;
        if let Some(method) = &self.method {
            method.count_responses(begun);
        }
        match &piece.end {
            End::Complete(None) if self.asked.connect_streaming && !self.is_grpc_response => {
                self.conclude(self.responses.has_succeeded());
                self.has_ended = true;
            }
            End::Complete(None) => self.has_ended |= self.whole.response,
            End::Complete(Some(trailers)) if self.asked.grpc => {
                self.charge(trailers);
                self.has_ended = true;
            }
            End::Complete(Some(_)) | End::Open => {}
        }
    }

    /// The stream is over.
    pub(super) fn end(&self, info: &mut StreamInfo) {
        self.leave_state(info);
        if let (Some(method), true) = (&self.method, self.has_ended && self.options.is_timed)
            && let Some((sent, received)) = info.times.upstream_request_end().zip(info.times.upstream_response_end)
        {
            method.record_time(received.saturating_duration_since(sent));
        }
    }

    /// Leaves the numbers of messages for logs, as soon as there are some.
    fn leave_state(&self, info: &mut StreamInfo) {
        if !self.options.leaves_state || !self.is_begun {
            return;
        }
        let (requests, responses) = match self.asked.connect {
            true => (self.whole.request.into(), self.whole.response.into()),
            false => (self.requests.begun, self.responses.begun),
        };
        let text = format!("{requests},{responses}").into_bytes().into();
        info.set_state(STATE_KEY.into(), Object { kind: ObjectKind::GrpcMessages, text, sharing: Sharing::None });
    }

    /// Counts a call if these fields say how it ended.
    fn charge(&self, fields: &Headers) {
        if let (Some(method), Some(status)) = (&self.method, fields.get(&names::GRPC_STATUS)) {
            method.charge(status.as_bytes());
        }
    }

    /// Counts a call of Connect, which has no number for how it ended.
    fn conclude(&self, has_succeeded: bool) {
        if let Some(method) = &self.method {
            method.conclude(has_succeeded);
        }
    }
}
