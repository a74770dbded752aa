//! `envoy.filters.http.ratelimit`: a service counts requests, and says which are above its limits.
//!
//! The service gets descriptors, which the policies of the route make of a request, and not the request itself. The request waits
//! until the service has responded; without a response it goes on or not as the configuration says. Policies may have the service
//! count a stream when it is over, too: then nothing waits for the response, and nothing comes of it.

mod headers;
mod message;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue};

use self::message::{Entry, LimitOverride, Number, RateLimitDescriptor, RateLimitRequest, RateLimitResponse};
use super::call::{Call, CallEnd};
use super::change::Change;
use super::descriptors::{Descriptor, descriptors};
use super::edits::add_to_response;
use super::reply::EndedReply;
use super::{Around, FilterContext, FilterReply, Flow, grpc};
use crate::access_log::format::Heads;
use crate::access_log::{Details, ResponseFlag, StreamInfo};
use crate::codec::head::{is_joined_in_requests, is_joined_in_responses, is_of_connection};
use crate::codec::{Headers, RequestHead, ResponseHead};
use crate::config::filter_state::Object;
use crate::config::global_rate_limit::{CountedOrigin, GloballyLimited, LimitedMark, RetryAfterHeader};
use crate::config::metadata::Struct;
use crate::config::rate_limit::{BucketHeaders, HitSign, Moment};
use crate::protobuf::Header;
use crate::stats::{Charged, LimitEvent};

const METHOD: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
/// The largest response. One has some hundred bytes for each descriptor, and the body for a client above a limit.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// `RateLimitResponse.Code`. Every other number means that no limit was reached, as in Envoy.
const OVER_LIMIT: i32 = 2;
/// How much a stream counts for, where a filter has left it.
const HITS: &str = "envoy.ratelimit.hits_addend";

pub(super) struct GlobalLimit<'c> {
    options: &'c GloballyLimited,
    /// Of each descriptor that was sent, whether responses have headers about it.
    shown: Vec<BucketHeaders>,
    state: State,
}

enum State {
    /// Nothing has come.
    New,
    /// This is to be sent.
    ToSend(Box<Call>),
    /// It has been sent.
    Sent,
    /// What the service has said, or that it has said nothing.
    Ended(CallEnd),
    /// The request is not counted.
    Uncounted,
    /// The request goes on, and these come to the response.
    Passed(Headers),
    /// The request goes no further, and these come to the response.
    Refused(Headers),
}

impl<'c> GlobalLimit<'c> {
    pub(super) fn new(options: &'c GloballyLimited) -> Self {
        Self { options, shown: Vec::new(), state: State::New }
    }

    /// What is to be sent, once.
    pub(super) fn take_call(&mut self) -> Option<Box<Call>> {
        if !matches!(self.state, State::ToSend(_)) {
            return None;
        }
        if let State::ToSend(call) = std::mem::replace(&mut self.state, State::Sent) { Some(call) } else { None }
    }

    pub(super) fn end_call(&mut self, end: CallEnd) {
        if matches!(self.state, State::Sent) {
            self.state = State::Ended(end);
        }
    }

    pub(super) fn on_request(
        &mut self,
        request: &mut RequestHead,
        info: &mut StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        match std::mem::replace(&mut self.state, State::Uncounted) {
            State::New => self.begin(request, info, around),
            State::Ended(end) => match grpc::message::<RateLimitResponse>(end) {
                None => self.fail(around),
                Some(response) => self.decide(response, request, info, around),
            },
            waiting @ (State::ToSend(_) | State::Sent) => {
                self.state = waiting;
                Flow::Wait
            }
            over @ (State::Uncounted | State::Passed(_) | State::Refused(_)) => {
                self.state = over;
                Flow::Continue
            }
        }
    }

    fn begin(&mut self, request: &RequestHead, info: &StreamInfo, around: Around<'_>) -> Flow<FilterReply> {
        let limit = &*self.options.limit;
        let is_counted = match limit.origin {
            CountedOrigin::Any => true,
            CountedOrigin::External => !info.internal,
            CountedOrigin::Internal => info.internal,
        };
        // As in Envoy, a request that has no cluster is none to count.
        if !around.context.draw(&limit.enabled) || around.cluster.is_none() || !is_counted {
            return Flow::Continue;
        }
        self.state = State::Passed(Headers::default());
        let policies = &*self.options.policies;
        let made = descriptors(policies, Moment::Request, Heads::of_request(request), info, around.context);
        if made.is_empty() {
            return Flow::Continue;
        }
        self.shown = made.iter().map(|descriptor| descriptor.headers.unwrap_or(limit.headers)).collect();
        self.state = State::ToSend(Box::new(self.call(made, request, info)));
        Flow::Wait
    }

    fn call(&self, made: Vec<Descriptor>, request: &RequestHead, info: &StreamInfo) -> Call {
        let message = RateLimitRequest {
            domain: self.options.domain.to_string(),
            descriptors: made.into_iter().map(sent).collect(),
            hits_addend: info.state(HITS).and_then(Object::hits).unwrap_or(0),
        };
        grpc::call(&self.options.limit.service, METHOD, &message, RESPONSE_BYTES_MAX, request, info)
    }

    /// The service has said nothing.
    fn fail(&mut self, around: Around<'_>) -> Flow<FilterReply> {
        let limit = &*self.options.limit;
        self.state = State::Passed(Headers::default());
        around.count_limit(&limit.stat_prefix, LimitEvent::Error);
        if !around.context.draw(&limit.denied_on_error) {
            around.count_limit(&limit.stat_prefix, LimitEvent::FailureModeAllowed);
            return Flow::Continue;
        }
        let reply = EndedReply::new(limit.status_on_error, "", Details::RateLimiterError);
        EndedReply { flag: Some(ResponseFlag::RLSE), ..reply }.end()
    }

    fn decide(
        &mut self,
        response: RateLimitResponse,
        request: &mut RequestHead,
        info: &mut StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        let limit = &*self.options.limit;
        info.leave(&limit.namespace, &response.dynamic_metadata.map(Struct::from).unwrap_or_default());
        let mut added = fields(&response.response_headers_to_add);
        let is_over = response.overall_code == OVER_LIMIT;
        if is_over {
            around.count_limit(&limit.stat_prefix, LimitEvent::OverLimit);
            // As in Envoy, the route's cluster counts a response to a request of the proxy's own, also where none is sent.
            if let Some(cluster) = around.cluster {
                cluster.codes.charge(limit.status, Charged { is_internal: true, ..Charged::default() });
            }
            headers::mark(&mut added, limit.mark);
        } else {
            around.count_limit(&limit.stat_prefix, LimitEvent::Ok);
        }
        headers::add_limits(&mut added, &response.statuses, &self.shown, limit.headers);
        if !is_over || !around.context.draw(&limit.enforced) {
            for (name, value) in fields(&response.request_headers_to_add).iter() {
                Change::Append(name, value.clone()).apply(&mut request.headers, is_joined_in_requests);
            }
            self.state = State::Passed(added);
            return Flow::Continue;
        }
        if limit.retry_after == RetryAfterHeader::Set {
            headers::add_retry_after(&mut added, &response.statuses);
        }
        // Nothing has no type.
        if response.raw_body.is_empty() {
            added.remove(&CONTENT_TYPE);
        }
        self.state = State::Refused(added);
        let mut reply = EndedReply::new(limit.status, "", Details::RequestRateLimited);
        reply.body = response.raw_body;
        (reply.flag, reply.grpc_status) = (Some(ResponseFlag::RL), limit.grpc_status);
        reply.end()
    }

    pub(super) fn on_response(&mut self, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        let is_refused = matches!(self.state, State::Refused(_));
        let (State::Passed(added) | State::Refused(added)) = &mut self.state else { return };
        let added = std::mem::take(added);
        // What the service says takes the place of what a response of the proxy's own is by default.
        if is_refused && added.contains(&CONTENT_TYPE) {
            response.headers.remove(&CONTENT_TYPE);
        }
        for (name, value) in added.iter() {
            Change::Append(name, value.clone()).apply(&mut response.headers, is_joined_in_responses);
        }
        if is_refused {
            add_to_response(&self.options.limit.response, response, request, info);
        }
    }

    /// The stream is over: what the service is to count of it.
    pub(super) fn last_call(
        &mut self,
        request: &RequestHead,
        info: &StreamInfo,
        context: &FilterContext,
    ) -> Option<Call> {
        match self.state {
            // As in Envoy, a stream that ends while it waits for the service is not counted once more.
            State::New | State::ToSend(_) | State::Sent | State::Ended(_) | State::Uncounted => return None,
            State::Passed(_) | State::Refused(_) => {}
        }
        let heads = Heads { request: Some(request), response: info.response.as_ref() };
        let made = descriptors(&self.options.policies, Moment::End, heads, info, context);
        (!made.is_empty()).then(|| self.call(made, request, info))
    }
}

fn sent(made: Descriptor) -> RateLimitDescriptor {
    RateLimitDescriptor {
        entries: made.entries.into_iter().map(|(key, value)| Entry { key, value }).collect(),
        limit: made.limit.map(|(requests_per_unit, unit)| LimitOverride { requests_per_unit, unit }),
        is_negative_hits: made.hits.is_some_and(|(_, sign)| sign == HitSign::GivenBack),
        hits_addend: made.hits.map(|(value, _)| Number { value }),
    }
}

/// Headers that a message can have. What tells where a message ends is the proxy's own (RFC 9112 6), and so is the host.
fn fields(written: &[Header]) -> Headers {
    let mut fields = Headers::default();
    for Header { key, value, .. } in written {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(value))
            && name != http::header::CONTENT_LENGTH
            && name != HOST
            && !is_of_connection(&name)
        {
            fields.append(name, value);
        }
    }
    fields
}
