//! The filters there are, while they serve one stream, each with what it does at every step.

use super::buffer::Buffer;
use super::call::{Call, CallEnd};
use super::compression::{Compression, Decompression, Encodings};
use super::context::FilterContext;
use super::cors::Cors;
use super::ext_authz::Authorisation;
use super::fault::Faults;
use super::forward_proxy::ForwardedHost;
use super::global_rate_limit::GlobalLimit;
use super::grpc_stats::GrpcCalls;
use super::grpc_web::GrpcWeb;
use super::header_mutation::HeaderMutation;
use super::health_check::HealthChecked;
use super::jwt_authn::Authentication;
use super::keeper::Keeper;
use super::lua::{Released, Scripted};
use super::piece::Direction;
use super::rate_limit::RateLimited;
use super::{
    Around, Awaited, FilterReply, Flow, Piece, Refusal, basic_auth, csrf, header_to_metadata, rbac, set_filter_state,
    set_metadata,
};
use crate::access_log::StreamInfo;
use crate::codec::{Payload, RequestHead, ResponseHead};
use crate::config::basic_auth::BasicAuth;
use crate::config::filter;
use crate::config::header_to_metadata::HeaderToMetadata;
use crate::dns_cache::HostFailure;

/// A filter while it serves one stream.
pub(super) enum Filter<'c> {
    BasicAuth(&'c BasicAuth),
    Buffer(Buffer),
    Compressor(Box<Compression<'c>>),
    Cors(Cors<'c>),
    Csrf(&'c filter::Csrf),
    Decompressor(Box<Decompression<'c>>),
    ExtAuthz(Box<Authorisation<'c>>),
    Fault(Box<Faults<'c>>),
    ForwardProxy(Box<ForwardedHost<'c>>),
    GlobalRateLimit(Box<GlobalLimit<'c>>),
    GrpcStats(GrpcCalls<'c>),
    GrpcWeb(Box<GrpcWeb>),
    HeaderMutation(HeaderMutation<'c>),
    HeaderToMetadata(&'c HeaderToMetadata),
    HealthCheck(HealthChecked<'c>),
    JwtAuthn(Box<Authentication<'c>>),
    Lua(Box<Scripted<'c>>),
    RateLimit(RateLimited<'c>),
    Rbac(&'c filter::Rbac),
    SetFilterState(&'c filter::SetFilterState),
    SetMetadata(&'c filter::SetMetadata),
}

impl<'c> Filter<'c> {
    pub(super) fn of(options: &'c filter::Filter) -> Self {
        match options {
            filter::Filter::BasicAuth(options) => Self::BasicAuth(options),
            filter::Filter::Buffer(options) => Self::Buffer(Buffer::new(*options)),
            filter::Filter::Compressor(options) => Self::Compressor(Box::new(Compression::new(options))),
            filter::Filter::Cors(policy) => Self::Cors(Cors::new(policy)),
            filter::Filter::Csrf(policy) => Self::Csrf(policy),
            filter::Filter::Decompressor(options) => Self::Decompressor(Box::new(Decompression::new(options))),
            filter::Filter::ExtAuthz(options) => Self::ExtAuthz(Box::new(Authorisation::new(options))),
            filter::Filter::Fault(fault) => Self::Fault(Box::new(Faults::new(fault))),
            filter::Filter::ForwardProxy(options) => Self::ForwardProxy(Box::new(ForwardedHost::new(options))),
            filter::Filter::GlobalRateLimit(options) => Self::GlobalRateLimit(Box::new(GlobalLimit::new(options))),
            filter::Filter::GrpcStats(methods) => Self::GrpcStats(GrpcCalls::new(methods)),
            filter::Filter::GrpcWeb => Self::GrpcWeb(Box::default()),
            filter::Filter::HeaderMutation(options) => Self::HeaderMutation(HeaderMutation::new(options)),
            filter::Filter::HeaderToMetadata(rules) => Self::HeaderToMetadata(rules),
            filter::Filter::HealthCheck(options) => Self::HealthCheck(HealthChecked::new(options)),
            filter::Filter::JwtAuthn(options) => Self::JwtAuthn(Box::new(Authentication::new(options))),
            filter::Filter::Lua(options) => Self::Lua(Box::new(Scripted::new(options))),
            filter::Filter::RateLimit(options) => Self::RateLimit(RateLimited::new(options)),
            filter::Filter::Rbac(options) => Self::Rbac(options),
            filter::Filter::SetFilterState(options) => Self::SetFilterState(options),
            filter::Filter::SetMetadata(options) => Self::SetMetadata(options),
        }
    }

    /// How much of a request's body it wants to be there at once.
    pub(super) fn request_bytes_max(&self) -> usize {
        match self {
            Self::Buffer(buffer) => buffer.bytes_max(),
            Self::ExtAuthz(authorisation) => authorisation.bytes_max(),
            Self::Compressor(_)
            | Self::Cors(_)
            | Self::BasicAuth(_)
            | Self::Csrf(_)
            | Self::Decompressor(_)
            | Self::Fault(_)
            | Self::ForwardProxy(_)
            | Self::GlobalRateLimit(_)
            | Self::GrpcStats(_)
            | Self::GrpcWeb(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::HealthCheck(_)
            | Self::JwtAuthn(_)
            | Self::Lua(_)
            | Self::RateLimit(_)
            | Self::Rbac(_)
            | Self::SetFilterState(_)
            | Self::SetMetadata(_) => 0,
        }
    }

    /// What it waits for.
    pub(super) fn take_awaited(&mut self) -> Awaited {
        let call = match self {
            Self::ExtAuthz(authorisation) => authorisation.take_call(),
            Self::GlobalRateLimit(limit) => limit.take_call(),
            Self::JwtAuthn(authentication) => authentication.take_call(),
            Self::Lua(script) => script.take_call(),
            Self::Fault(faults) => return faults.continues_at().map_or(Awaited::Body, Awaited::Instant),
            Self::ForwardProxy(host) => {
                return host.take_wanted().map_or(Awaited::Body, |host| Awaited::Host(Box::new(host)));
            }
            Self::Buffer(_)
            | Self::Compressor(_)
            | Self::Cors(_)
            | Self::BasicAuth(_)
            | Self::Csrf(_)
            | Self::Decompressor(_)
            | Self::GrpcStats(_)
            | Self::GrpcWeb(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::HealthCheck(_)
            | Self::RateLimit(_)
            | Self::Rbac(_)
            | Self::SetFilterState(_)
            | Self::SetMetadata(_) => None,
        };
        call.map_or(Awaited::Body, Awaited::Call)
    }

    /// What keeps pieces of a body for a time.
    pub(super) fn keeper(&mut self, direction: Direction) -> Option<Keeper<'_>> {
        match (self, direction) {
            (Self::Compressor(compression), _) => compression.bodies.of(direction).map(Keeper::Recoder),
            (Self::Decompressor(decompression), _) => decompression.bodies.of(direction).map(Keeper::Recoder),
            (Self::Fault(faults), Direction::Response) => faults.limiter().map(Keeper::Limiter),
            _ => None,
        }
    }

    /// A body that it has kept is broken.
    pub(super) fn count_broken(&self) {
        if let Self::Decompressor(decompression) = self {
            decompression.count_broken();
        }
    }

    pub(super) fn end_call(&mut self, end: CallEnd, context: &FilterContext) {
        match self {
            Self::ExtAuthz(authorisation) => authorisation.end_call(end),
            Self::GlobalRateLimit(limit) => limit.end_call(end),
            Self::JwtAuthn(authentication) => authentication.end_call(end, context),
            Self::Lua(script) => script.end_call(end),
            Self::Buffer(_)
            | Self::Compressor(_)
            | Self::Cors(_)
            | Self::BasicAuth(_)
            | Self::Csrf(_)
            | Self::Decompressor(_)
            | Self::Fault(_)
            | Self::ForwardProxy(_)
            | Self::GrpcStats(_)
            | Self::GrpcWeb(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::HealthCheck(_)
            | Self::RateLimit(_)
            | Self::Rbac(_)
            | Self::SetFilterState(_)
            | Self::SetMetadata(_) => {}
        }
    }

    /// Calls that it has made, and does not wait for.
    pub(super) fn take_detached(&mut self) -> Vec<Call> {
        if let Self::Lua(script) = self { script.take_detached() } else { Vec::new() }
    }

    /// What it has made of a request's body that it held, once.
    pub(super) fn release_request(&mut self) -> Option<Released> {
        if let Self::Lua(script) = self { script.release_request() } else { None }
    }

    /// The same of a response's.
    pub(super) fn release_response(&mut self) -> Option<Released> {
        if let Self::Lua(script) = self { script.release_response() } else { None }
    }

    /// The host that it wanted looked up is known, or cannot be.
    pub(super) fn end_lookup(&mut self, found: Result<(), HostFailure>) {
        if let Self::ForwardProxy(host) = self {
            host.end(found);
        }
    }

    /// The stream is over: a call that it makes then.
    pub(super) fn end(
        &mut self,
        request: &RequestHead,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) -> Option<Call> {
        if let Self::GrpcStats(calls) = self {
            calls.end(info);
        }
        if let Self::GlobalRateLimit(limit) = self { limit.last_call(request, info, context) } else { None }
    }

    pub(super) fn clears_route(&self) -> bool {
        match self {
            Self::ExtAuthz(authorisation) => authorisation.clears_route(),
            Self::JwtAuthn(authentication) => authentication.clears_route(),
            Self::Lua(script) => script.clears_route(),
            Self::SetFilterState(options) => options.clears_route,
            Self::Buffer(_)
            | Self::Compressor(_)
            | Self::Cors(_)
            | Self::BasicAuth(_)
            | Self::Csrf(_)
            | Self::Decompressor(_)
            | Self::Fault(_)
            | Self::ForwardProxy(_)
            | Self::GlobalRateLimit(_)
            | Self::GrpcStats(_)
            | Self::GrpcWeb(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::HealthCheck(_)
            | Self::RateLimit(_)
            | Self::Rbac(_)
            | Self::SetMetadata(_) => false,
        }
    }

    pub(super) fn on_request(
        &mut self,
        request: &mut RequestHead,
        payload: Payload,
        info: &mut StreamInfo,
        around: Around<'_>,
    ) -> Flow<FilterReply> {
        match self {
            Self::ExtAuthz(authorisation) => authorisation.on_request(request, payload, info, around),
            Self::Buffer(buffer) => buffer.on_request(request, payload),
            Self::Compressor(compression) => {
                compression.on_request(request, payload, around.context);
                Flow::Continue
            }
            Self::Cors(cors) => cors.on_request(request, around.context),
            Self::Decompressor(decompression) => {
                decompression.on_request(request, payload, around.context);
                Flow::Continue
            }
            Self::BasicAuth(options) => basic_auth::on_request(options, request, info, around.context),
            Self::Csrf(policy) => csrf::on_request(policy, request, around.context),
            Self::Fault(faults) => faults.on_request(request, info, around.context),
            Self::ForwardProxy(host) => host.on_request(request, around.forward_port()),
            Self::GlobalRateLimit(limit) => limit.on_request(request, info, around),
            Self::GrpcStats(calls) => {
                calls.on_request(request, around.methods());
                Flow::Continue
            }
            Self::GrpcWeb(web) => {
                web.on_request(request, around.methods());
                Flow::Continue
            }
            Self::HeaderMutation(mutation) => {
                mutation.on_request(request, info);
                Flow::Continue
            }
            Self::HeaderToMetadata(rules) => {
                header_to_metadata::on_request(rules, request, info);
                Flow::Continue
            }
            Self::HealthCheck(check) => check.on_request(request, info, around.context),
            Self::JwtAuthn(authentication) => authentication.on_request(request, info, around.context),
            Self::Lua(script) => script.on_request(request, payload, info, around.context),
            Self::RateLimit(limited) => limited.on_request(request, info, around.context),
            Self::Rbac(options) => rbac::on_request(options, request, info, around.context),
            Self::SetFilterState(options) => {
                set_filter_state::on_request(options, request, info);
                Flow::Continue
            }
            Self::SetMetadata(options) => {
                if let Some(stats) = &around.context.stats.set_metadata {
                    set_metadata::on_request(options, &mut info.metadata, stats);
                }
                Flow::Continue
            }
        }
    }

    pub(super) fn on_request_data(&mut self, piece: &mut Piece, context: &FilterContext) -> Flow<Refusal> {
        match self {
            Self::Buffer(buffer) => buffer.on_request_data(piece),
            Self::Compressor(compression) => {
                compression.bodies.keep(Direction::Request, piece);
                Flow::Continue
            }
            Self::Decompressor(decompression) => {
                decompression.bodies.keep(Direction::Request, piece);
                Flow::Continue
            }
            Self::ExtAuthz(authorisation) => authorisation.on_request_data(piece),
            Self::GrpcStats(calls) => {
                calls.on_request_data(piece);
                Flow::Continue
            }
            Self::GrpcWeb(web) => web.on_request_data(piece),
            Self::Lua(script) => script.on_request_data(piece, context),
            Self::BasicAuth(_)
            | Self::Cors(_)
            | Self::Csrf(_)
            | Self::Fault(_)
            | Self::ForwardProxy(_)
            | Self::GlobalRateLimit(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::HealthCheck(_)
            | Self::JwtAuthn(_)
            | Self::RateLimit(_)
            | Self::Rbac(_)
            | Self::SetFilterState(_)
            | Self::SetMetadata(_) => Flow::Continue,
        }
    }

    pub(super) fn on_response(
        &mut self,
        response: &mut ResponseHead,
        payload: Payload,
        request: &RequestHead,
        info: &mut StreamInfo,
        encodings: Option<&mut Encodings<'c>>,
        context: &FilterContext,
    ) -> Flow<Refusal> {
        match self {
            Self::Buffer(_)
            | Self::BasicAuth(_)
            | Self::Csrf(_)
            | Self::Fault(_)
            | Self::ForwardProxy(_)
            | Self::JwtAuthn(_)
            | Self::Rbac(_)
            | Self::SetFilterState(_)
            | Self::SetMetadata(_) => {}
            Self::Compressor(compression) => compression.on_response(response, payload, encodings, context),
            Self::Cors(cors) => cors.on_response(response),
            Self::Decompressor(decompression) => decompression.on_response(response, payload, context),
            Self::ExtAuthz(authorisation) => authorisation.on_response(response),
            Self::GlobalRateLimit(limit) => limit.on_response(response, request, info),
            Self::GrpcStats(calls) => calls.on_response(response, payload, info),
            Self::GrpcWeb(web) => return web.on_response(response, payload),
            Self::HeaderMutation(mutation) => mutation.on_response(response, request, info),
            Self::HeaderToMetadata(rules) => header_to_metadata::on_response(rules, response, info),
            Self::HealthCheck(check) => check.on_response(response, context),
            Self::Lua(script) => return script.on_response(response, payload, info, context),
            Self::RateLimit(limited) => limited.on_response(response),
        }
        Flow::Continue
    }

    pub(super) fn on_response_data(&mut self, piece: &mut Piece, context: &FilterContext) -> Flow<Refusal> {
        match self {
            Self::Compressor(compression) => {
                compression.bodies.keep(Direction::Response, piece);
                Flow::Continue
            }
            Self::Decompressor(decompression) => {
                decompression.bodies.keep(Direction::Response, piece);
                Flow::Continue
            }
            Self::Fault(faults) => {
                faults.on_response_data(piece);
                Flow::Continue
            }
            Self::GrpcStats(calls) => {
                calls.on_response_data(piece);
                Flow::Continue
            }
            Self::GrpcWeb(web) => web.on_response_data(piece, context),
            Self::Lua(script) => script.on_response_data(piece, context),
            Self::Buffer(_)
            | Self::Cors(_)
            | Self::BasicAuth(_)
            | Self::Csrf(_)
            | Self::ExtAuthz(_)
            | Self::ForwardProxy(_)
            | Self::GlobalRateLimit(_)
            | Self::HeaderMutation(_)
            | Self::HeaderToMetadata(_)
            | Self::HealthCheck(_)
            | Self::JwtAuthn(_)
            | Self::RateLimit(_)
            | Self::Rbac(_)
            | Self::SetFilterState(_)
            | Self::SetMetadata(_) => Flow::Continue,
        }
    }
}
