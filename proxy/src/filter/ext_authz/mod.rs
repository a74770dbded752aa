//! `envoy.filters.http.ext_authz`: a service says whether a request may go on.
//!
//! The request waits while its service decides; what it may change in the request, and in the response to it, is named in the
//! configuration. A service that does not respond, or says that it has failed, is an error, which lets requests through or not as
//! the configuration says.

mod attributes;
mod changes;
mod grpc;
mod http;
mod message;

use std::sync::Arc;

use ::http::header::{CONTENT_LENGTH, HOST};
use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use self::changes::{Changes, InResponse};
use super::call::{Call, CallEnd};
use super::reply::EndedReply;
use super::{Around, FilterReply, Flow, Piece, Refusal};
use crate::access_log::{Details, ResponseFlag, StreamInfo};
use crate::codec::head::is_of_connection;
use crate::codec::{Headers, Payload, RequestHead, ResponseHead};
use crate::config::ext_authz::{AuthorisationService, CheckedBody, ExtAuthz, LargerBody, OnError};
use crate::config::metadata::{Struct, Value};
use crate::config::route::Sense;
use crate::config::string_match::StringMatch;
use crate::stats::AuthorisationEvent as Event;

/// Where what the service says is left for logs and other filters.
const NAMESPACE: &str = "envoy.filters.http.ext_authz";
/// The largest body of a response. A page for a client that is denied has some kilobytes.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// Whether the service has got a part of the body alone.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";
const FAILURE_MODE_ALLOWED: HeaderName = HeaderName::from_static("x-envoy-auth-failure-mode-allowed");

pub(super) struct Authorisation<'c> {
    options: &'c Arc<ExtAuthz>,
    state: State,
}

enum State {
    /// Nothing has come.
    New,
    /// The service is to get the body, which is read.
    Reading(ReadBody),
    /// This is to be sent.
    ToSend(Box<Call>),
    /// It has been sent.
    Sent { since: Instant },
    /// The service has decided, or has not.
    Ended { since: Instant, end: CallEnd },
    /// The request goes on, and this changes in the response.
    Allowed { changes: InResponse, route: Route },
}

/// What becomes of the route that was found for the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route {
    /// It is looked for again: the request is another one.
    Cleared,
    Kept,
}

/// What has come of a body that a service gets.
struct ReadBody {
    /// At most as much as it may get.
    bytes: BytesMut,
    /// More has come than it may get.
    is_cut: bool,
}

/// What a service gets of a body.
struct CheckBody {
    bytes: Bytes,
    /// Whether it is a part alone, where the body was read.
    is_cut: Option<bool>,
}

/// What a service has decided.
enum Verdict {
    Allowed(Box<Changes>),
    Denied(Box<Answer>),
    /// Nothing; it may have a response for the client.
    Error(Option<Box<Answer>>),
    /// What it wants changed cannot be in a message.
    Invalid,
}

/// What a client gets whose request does not go on.
#[derive(Default)]
struct Answer {
    /// `None`: what is written for the case.
    status: Option<StatusCode>,
    headers: Headers,
    body: Bytes,
    metadata: Struct,
}

impl<'c> Authorisation<'c> {
    pub(super) fn new(options: &'c Arc<ExtAuthz>) -> Self {
        Self { options, state: State::New }
    }

    /// What is to be sent, once.
    pub(super) fn take_call(&mut self) -> Option<Box<Call>> {
        if !matches!(self.state, State::ToSend(_)) {
            return None;
        }
        let sent = State::Sent { since: Instant::now() };
        if let State::ToSend(call) = std::mem::replace(&mut self.state, sent) { Some(call) } else { None }
    }

    pub(super) fn end_call(&mut self, end: CallEnd) {
        if let State::Sent { since } = self.state {
            self.state = State::Ended { since, end };
        }
    }

    /// Is the route to be looked for again?
    pub(super) fn clears_route(&self) -> bool {
        matches!(self.state, State::Allowed { route: Route::Cleared, .. })
    }

    /// How much of the body has to be there at once.
    pub(super) fn bytes_max(&self) -> usize {
        match &self.state {
            State::Reading(_) => self.options.body.map_or(0, bytes_max),
            State::New | State::ToSend(_) | State::Sent { .. } | State::Ended { .. } | State::Allowed { .. } => 0,
        }
    }

    pub(super) fn on_request(
        &mut self,
        request: &mut RequestHead,
        payload: Payload,
        info: &mut StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        let over = State::Allowed { changes: InResponse::default(), route: Route::Kept };
        match std::mem::replace(&mut self.state, over) {
            State::New => self.begin(request, payload, info, around),
            State::Reading(read) => self.prepare_call(request, Some(read), info, around),
            State::Ended { since, end } => {
                let verdict = match &self.options.service {
                    AuthorisationService::Grpc(_) => grpc::verdict(self.options, end),
                    AuthorisationService::Http(service) => http::verdict(service, end),
                };
                self.decide(verdict, since, request, info, around)
            }
            over @ State::Allowed { .. } => {
                self.state = over;
                Flow::Continue
            }
            waiting @ (State::ToSend(_) | State::Sent { .. }) => {
                self.state = waiting;
                Flow::Wait
            }
        }
    }

    fn begin(
        &mut self,
        request: &mut RequestHead,
        payload: Payload,
        info: &mut StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        if !self.is_enabled(info, around) {
            around.count(&self.options.stat_prefix, Event::Disabled);
            if around.context.draw(&self.options.denied_at_disable) {
                return self.refuse();
            }
            return Flow::Continue;
        }
        // A tunnel has no end that could be waited for.
        let has_body = payload == Payload::Some && request.upgrade().is_none() && request.method != Method::CONNECT;
        if self.options.body.is_some() && has_body {
            self.state = State::Reading(ReadBody { bytes: BytesMut::new(), is_cut: false });
            return Flow::Wait;
        }
        self.prepare_call(request, None, info, around)
    }

    fn is_enabled(&self, info: &StreamInfo, around: Around<'_>) -> bool {
        if !around.context.draw(&self.options.enabled) {
            return false;
        }
        let Some((path, test, sense)) = &self.options.enabled_metadata else { return true };
        let found = info.metadata.as_ref().and_then(|metadata| metadata.get(path));
        found.is_some_and(|found| test.takes(found)) == (*sense == Sense::Direct)
    }

    fn prepare_call(
        &mut self,
        request: &RequestHead,
        body: Option<ReadBody>,
        info: &StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        let (bytes, is_cut) = body.map_or((Bytes::new(), None), |read| (read.bytes.freeze(), Some(read.is_cut)));
        let (options, body) = (self.options, CheckBody { bytes, is_cut });
        self.state = State::ToSend(Box::new(match &options.service {
            AuthorisationService::Grpc(service) => {
                grpc::check(options, service, request, body, info, around.context.next_number())
            }
            AuthorisationService::Http(service) => http::check(options, service, request, body, info),
        }));
        Flow::Wait
    }

    /// A piece of the body has come.
    pub(super) fn on_request_data(&mut self, piece: &Piece) -> Flow<Refusal> {
        let (State::Reading(read), Some(body)) = (&mut self.state, self.options.body) else { return Flow::Continue };
        let room = bytes_max(body).saturating_sub(read.bytes.len());
        if piece.data.len() > room {
            if body.larger == LargerBody::Refused {
                return Flow::Respond(Refusal::RequestTooLarge);
            }
            read.is_cut = true;
        }
        read.bytes.extend_from_slice(piece.data.get(..room).unwrap_or(&piece.data));
        let is_full = body.larger == LargerBody::Cut && read.bytes.len() >= bytes_max(body);
        if piece.is_last() || is_full { Flow::Continue } else { Flow::Wait }
    }

    fn decide(
        &mut self,
        verdict: Verdict,
        since: Instant,
        request: &mut RequestHead,
        info: &mut StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        let (options, prefix) = (self.options, &self.options.stat_prefix);
        match verdict {
            Verdict::Allowed(mut changes) => {
                if !changes.metadata.is_empty() && options.keeps_metadata {
                    let milliseconds = u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX);
                    changes.metadata.insert("ext_authz_duration".to_owned(), Value::Number(milliseconds.into()));
                }
                self.leave(&std::mem::take(&mut changes.metadata), info, around);
                if options.rules.as_ref().is_some_and(|rules| !changes.obey(rules) && rules.is_error) {
                    return self.decide(Verdict::Invalid, since, request, info, around);
                }
                around.count(prefix, Event::Ok);
                self.allow(*changes, request)
            }
            Verdict::Denied(answer) => {
                around.count(prefix, Event::Denied);
                self.leave(&answer.metadata, info, around);
                if options.is_shadow {
                    around.count(prefix, Event::ShadowDenied);
                    return Flow::Continue;
                }
                self.answer(*answer, StatusCode::FORBIDDEN, Details::ExtAuthzDenied, options.charges_cluster)
            }
            Verdict::Error(answer) => {
                around.count(prefix, Event::Error);
                if options.is_shadow {
                    around.count(prefix, Event::ShadowError);
                    return Flow::Continue;
                }
                if let Some(answer) = &answer {
                    self.leave(&answer.metadata, info, around);
                }
                if options.on_error == OnError::Deny {
                    let answer = answer.map(|answer| *answer).unwrap_or_default();
                    return self.answer(answer, options.status_on_error, Details::ExtAuthzError, false);
                }
                around.count(prefix, Event::FailureModeAllowed);
                if options.on_error == OnError::AllowMarked {
                    request.headers.append(FAILURE_MODE_ALLOWED, HeaderValue::from_static("true"));
                }
                Flow::Continue
            }
            Verdict::Invalid => {
                around.count(prefix, Event::Invalid);
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                self.answer(Answer::default(), status, Details::ExtAuthzInvalid, false)
            }
        }
    }

    fn allow(&mut self, changes: Changes, request: &mut RequestHead) -> Flow<FilterReply> {
        let clearing = &self.options.clearing;
        let is_other = if clearing.is_empty() { changes.is_of_request() } else { changes.is_of(clearing) };
        let clears = self.options.clears_route && is_other;
        let route = if clears { Route::Cleared } else { Route::Kept };
        self.state = State::Allowed { changes: changes.apply(request), route };
        Flow::Continue
    }

    /// Leaves what the service says for logs and other filters, if that is wanted.
    fn leave(&self, metadata: &Struct, info: &mut StreamInfo, around: Around<'_>) {
        if self.options.keeps_metadata {
            info.leave(NAMESPACE, metadata);
        } else if !metadata.is_empty() {
            around.count(&self.options.stat_prefix, Event::IgnoredMetadata);
        }
    }

    /// The request goes no further, and its client gets this.
    fn answer(&self, answer: Answer, status: StatusCode, details: Details, is_charged: bool) -> Flow<FilterReply> {
        let Answer { status: own, headers, body, .. } = answer;
        let bytes_max = self.options.denied_bytes_max.and_then(|max| usize::try_from(max.get()).ok());
        let mut reply = EndedReply::new(own.unwrap_or(status), "", details);
        reply.body = body.slice(..bytes_max.unwrap_or(usize::MAX).min(body.len()));
        (reply.flag, reply.headers, reply.is_charged) = (Some(ResponseFlag::UAEX), headers, is_charged);
        reply.end()
    }

    /// No service has allowed it.
    fn refuse(&self) -> Flow<FilterReply> {
        let reply = EndedReply::new(self.options.status_on_error, "", Details::ExtAuthzError);
        EndedReply { flag: Some(ResponseFlag::UAEX), ..reply }.end()
    }

    pub(super) fn on_response(&self, response: &mut ResponseHead) {
        if let State::Allowed { changes, .. } = &self.state {
            changes.apply(response);
        }
    }
}

/// Does one of the patterns take the name?
fn listed(patterns: &[StringMatch], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.takes(name.as_bytes()))
}

/// Does a header say where a message ends? Another message has another end (RFC 9112 6).
fn is_of_message(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || is_of_connection(name)
}

/// A request without host is malformed.
fn is_removable(name: &HeaderName) -> bool {
    *name != HOST && !is_of_message(name)
}

/// A usize has at least 32 bits wherever this runs.
fn bytes_max(body: CheckedBody) -> usize {
    usize::try_from(body.bytes_max.get()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
