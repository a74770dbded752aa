//! `envoy.filters.http.grpc_stats`: counts gRPC calls by method, how they end, and their messages.

use std::rc::Rc;

use http::StatusCode;

use super::{End, Piece};
use crate::access_log::StreamInfo;
use crate::codec::{Headers, Payload, RequestHead, ResponseHead, names};
use crate::config::filter::{CountedCalls, CountedMethods, ServiceNames};
use crate::config::filter_state::{Object, ObjectKind, Sharing};
use crate::stats::{GrpcFamily, GrpcMethod, GrpcStats, service_and_method};

/// What logs and other filters find the numbers of messages under.
const STATE_KEY: &str = "envoy.filters.http.grpc_stats";

/// The filter while it serves one stream.
pub(super) struct GrpcCalls<'c> {
    options: &'c CountedCalls,
    /// What is counted of the method that is called; `None` of what is no call, or not counted.
    method: Option<Rc<GrpcMethod>>,
    /// `None` if the request is no gRPC.
    requests: Option<Messages>,
    /// `None` if the response is no gRPC.
    responses: Option<Messages>,
    /// The response has said how the call ended.
    has_ended: bool,
}

impl<'c> GrpcCalls<'c> {
    pub(super) fn new(options: &'c CountedCalls) -> Self {
        Self { options, method: None, requests: None, responses: None, has_ended: false }
    }

    pub(super) fn on_request(&mut self, request: &RequestHead, stats: Option<&Rc<GrpcStats>>) {
        self.requests = request.headers.is_grpc().then(Messages::default);
        let (Some(stats), Some(_)) = (stats, &self.requests) else { return };
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
        let begun = self.requests.as_mut().map_or(0, |requests| requests.begun_in(&piece.data));
        if let Some(method) = &self.method {
            method.count_requests(begun);
        }
    }

    pub(super) fn on_response(&mut self, response: &ResponseHead, payload: Payload, info: &mut StreamInfo) {
        let headers = &response.headers;
        let is_grpc = match payload {
            Payload::None => headers.contains(&names::GRPC_STATUS),
            Payload::Raw | Payload::Some => response.status == StatusCode::OK && headers.is_grpc(),
        };
        self.responses = is_grpc.then(Messages::default);
        self.charge(headers);
        self.has_ended = payload == Payload::None;
        self.leave_state(info);
    }

    pub(super) fn on_response_data(&mut self, piece: &Piece) {
        let begun = self.responses.as_mut().map_or(0, |responses| responses.begun_in(&piece.data));
        if let Some(method) = &self.method {
            method.count_responses(begun);
        }
        if let End::Complete(Some(trailers)) = &piece.end {
            self.charge(trailers);
            self.has_ended = true;
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
        let begun = |messages: &Option<Messages>| messages.as_ref().map_or(0, |messages| messages.begun);
        let (requests, responses) = (begun(&self.requests), begun(&self.responses));
        if self.options.leaves_state && requests + responses > 0 {
            let text = format!("{requests},{responses}").into_bytes().into();
            let object = Object { kind: ObjectKind::GrpcMessages, text, sharing: Sharing::None };
            info.set_state(STATE_KEY.into(), object);
        }
    }

    /// Counts a call if these fields say how it ended.
    fn charge(&self, fields: &Headers) {
        if let (Some(method), Some(status)) = (&self.method, fields.get(&names::GRPC_STATUS)) {
            method.charge(status.as_bytes());
        }
    }
}

/// Where a body is in its messages, each of which is a flag of one byte, a length of four, and as many bytes ("gRPC over
/// HTTP2", Length-Prefixed-Message).
#[derive(Debug, Default)]
struct Messages {
    /// Bytes of the present prefix that have come, the flag among them.
    prefix: u8,
    /// The length, as far as it has come.
    length: u32,
    /// Bytes of the present message that have not come.
    rest: u32,
    /// Those that have begun.
    begun: u64,
}

impl Messages {
    const PREFIX: u8 = 5;

    /// How many messages begin in `data`, which follows what came before.
    fn begun_in(&mut self, data: &[u8]) -> u64 {
        let (mut begun, mut data) = (0, data);
        loop {
            let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(data.len());
            data = data.get(skipped..).unwrap_or_default();
            self.rest = self.rest.saturating_sub(u32::try_from(skipped).unwrap_or(u32::MAX));
            let Some((byte, after)) = data.split_first() else {
                self.begun += begun;
                return begun;
            };
            data = after;
            match self.prefix {
                0 => begun += 1,
                _ => self.length = self.length << 8 | u32::from(*byte),
            }
            self.prefix += 1;
            if self.prefix == Self::PREFIX {
                *self = Self { rest: self.length, begun: self.begun, ..Self::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_the_body_is_cut() {
        let mut body = Vec::new();
        for length in [0_u32, 1, 300] {
            body.push(0);
            body.extend(length.to_be_bytes());
            body.extend(vec![7; length as usize]);
        }
        body.push(0); // and the flag of one more
        for size in [1, 2, 3, 5, 7, 100, body.len()] {
            let mut messages = Messages::default();
            let begun: u64 = body.chunks(size).map(|piece| messages.begun_in(piece)).sum();
            assert_eq!(begun, 4, "{size}");
        }
    }
}
