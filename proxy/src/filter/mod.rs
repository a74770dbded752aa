//! HTTP filters: what happens to a request between its route and its upstream, and to the response on its way back.
//!
//! Which filters act, and with which options, was resolved for each route when the configuration was read. [`Filters`] is
//! such a chain while it serves one stream. A request passes the filters in the order of the file, its head first and then each
//! [`Piece`] of its body; a response passes them in the opposite order. A filter may change what it sees, end the request with a
//! response of its own, or wait with a head: those after it see nothing until it continues. The router is the end of every chain
//! and no filter here: the stream goes on to it when all others have continued. A chain of the router alone takes no memory, and
//! costs each piece of a body one comparison.
//!
//! A filter that waits is given the pieces that come meanwhile, says with one of them that its wait is over, and is then asked
//! once more for the head. What it leaves of a request's body waits in the [`exchange`](crate::exchange); of a response's body
//! it keeps what it wants, and only the last piece goes on.

mod basic_auth;
mod buffer;
mod call;
mod change;
mod compression;
mod context;
mod cors;
mod csrf;
mod descriptors;
pub(crate) mod edits;
mod ext_authz;
mod fault;
mod fetched_keys;
mod fields;
mod forward_proxy;
mod global_rate_limit;
mod grpc;
mod grpc_stats;
mod grpc_web;
mod header_mutation;
mod header_to_metadata;
mod health_check;
mod health_sources;
mod jwt_authn;
mod keeper;
mod kind;
mod limits;
mod lua;
mod passage;
mod piece;
mod rate_limit;
mod rbac;
mod reply;
mod scripts;
mod set_filter_state;
mod set_metadata;
#[cfg(test)]
mod testing;
mod waiting;

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::access_log::StreamInfo;
use crate::codec::{Payload, RequestHead, ResponseHead};
use crate::config::filter;
use crate::config::route::HeaderEdits;
use crate::dns_cache::{HostFailure, WantedHost};
use crate::stats::{AuthorisationEvent, ClusterAuthorisations, ClusterLimits, CodeStats, GrpcStats, LimitEvent};
pub(crate) use call::{Call, CallEnd, Sender, Unanswered};
use compression::Encodings;
pub(crate) use context::{FilterContext, FilterStats};
pub(crate) use health_sources::{HealthSources, Membership};
pub(crate) use keeper::Kept;
use kind::Filter;
pub(crate) use lua::Released;
pub(crate) use piece::{End, Piece};
pub(crate) use reply::{EndedReply, FilterReply, Refusal};
pub(crate) use set_filter_state::set_on_connection;

/// The filters of one stream, without the router.
pub(crate) struct Filters<'c> {
    filters: Vec<Filter<'c>>,
    context: &'c FilterContext,
    /// What the route changes in the response.
    edits: &'c [Arc<HeaderEdits>],
    /// Of the cluster that the route leads to.
    cluster: Option<ClusterFilterStats>,
    /// What its compressors have agreed upon, where it has some.
    encodings: Option<Box<Encodings<'c>>>,
    /// How many have continued with the request's head: those before this index.
    requested: usize,
    /// What the next of them does.
    next: Next,
    /// What that one waits for, until it is taken.
    awaited: Awaited,
    /// How many have not continued with the response's head: those before this index.
    undecided: usize,
    /// Does the filter that the request's head has come to get what comes of the body?
    reads: bool,
    /// What a filter has made of a body that it held, until it goes on.
    released: Option<(usize, Released)>,
}

/// What filters count for the cluster that a route leads to, and know of it.
#[derive(Clone)]
pub(crate) struct ClusterFilterStats {
    pub(crate) methods: Rc<GrpcStats>,
    pub(crate) authorisations: Rc<ClusterAuthorisations>,
    /// Of a forward proxy: the port of a host that a request names without one.
    pub(crate) forward_port: Option<u16>,
    pub(crate) limits: Rc<ClusterLimits>,
    pub(crate) codes: Rc<CodeStats>,
}

/// What the filter does that a head has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// It waits for the end of a call, for a host, or for an instant.
    Calling,
    /// It is to see the request.
    Requested,
    /// It waits for more of the body.
    Waiting,
}

/// What a filter waits for with a request's head.
#[derive(Debug, Default)]
pub(crate) enum Awaited {
    /// More of the body.
    #[default]
    Body,
    /// The end of this call.
    Call(Box<Call>),
    /// What is known of this host.
    Host(Box<WantedHost>),
    /// This instant.
    Instant(Instant),
}

/// What a filter wants done with a head, or with a piece of a body.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Flow<A> {
    /// It goes on to the next filter, and behind the last to the router or the client. Of a filter that waits: the wait is over.
    Continue,
    /// The stream ends here, with a response of the filter's own.
    Respond(A),
    /// The head waits until more of the body has come.
    Wait,
}

impl<'c> Filters<'c> {
    /// A chain that is about to see a request.
    pub(crate) fn of(chain: &'c filter::Chain, context: &'c FilterContext) -> Self {
        let filters: Vec<_> = chain.filters.iter().map(Filter::of).collect();
        let undecided = filters.len();
        Self {
            filters,
            context,
            edits: &[],
            cluster: None,
            encodings: Encodings::of(chain),
            requested: 0,
            next: Next::Requested,
            awaited: Awaited::Body,
            undecided,
            reads: false,
            released: None,
        }
    }

    /// The router alone.
    pub(crate) fn none(context: &'c FilterContext) -> Self {
        Self {
            filters: Vec::new(),
            context,
            edits: &[],
            cluster: None,
            encodings: None,
            requested: 0,
            next: Next::Requested,
            awaited: Awaited::Body,
            undecided: 0,
            reads: false,
            released: None,
        }
    }

    /// The same for a route that changes responses, and leads to a cluster with these stats.
    pub(crate) fn for_route(
        self,
        edits: &'c [Arc<HeaderEdits>],
        cluster: impl FnOnce() -> Option<ClusterFilterStats>,
    ) -> Self {
        // Who counts is a filter.
        let cluster = if self.filters.is_empty() { None } else { cluster() };
        Self { edits, cluster, ..self }
    }

    /// The request goes another way than was found for it at first.
    pub(crate) fn reroute(&mut self, edits: &'c [Arc<HeaderEdits>]) {
        self.edits = edits;
    }

    /// Has a filter changed the request so that its route has to be looked for again?
    pub(crate) fn clears_route(&self) -> bool {
        self.filters.iter().any(Filter::clears_route)
    }

    /// What the filter that has the request's head waits for, once.
    pub(crate) fn take_awaited(&mut self) -> Awaited {
        std::mem::take(&mut self.awaited)
    }

    /// The instant has come for which a filter has waited.
    pub(crate) fn end_wait(&mut self) {
        self.next = Next::Requested;
    }

    /// The host that a filter has waited for is known, or cannot be.
    pub(crate) fn end_lookup(&mut self, found: Result<(), HostFailure>) {
        if let Some(filter) = self.filters.get_mut(self.requested) {
            filter.end_lookup(found);
        }
        self.next = Next::Requested;
    }

    /// What the call came to.
    pub(crate) fn end_call(&mut self, end: CallEnd) {
        if let Some(filter) = self.filters.get_mut(self.requested) {
            filter.end_call(end, self.context);
        }
        self.next = Next::Requested;
    }

    /// Is the router the only filter?
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// A response of the proxy's own takes the place of one that is on its way: no filter sees it, as in Envoy.
    pub(crate) fn bypass(&mut self) {
        self.filters.clear();
        self.undecided = 0;
    }

    /// Does the route leave responses as they are?
    pub(crate) fn has_no_edits(&self) -> bool {
        self.edits.is_empty()
    }

    /// The router is about to hand on the head of the final response.
    pub(crate) fn edit_response(&self, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        edits::edit_response(self.edits, response, request, info);
    }

    /// A request's head has come, and `payload` follows it; or the wait of the filter that it had come to is over.
    pub(crate) fn on_request(
        &mut self,
        request: &mut RequestHead,
        mut payload: Payload,
        info: &mut StreamInfo,
    ) -> Flow<FilterReply> {
        let around = Around { context: self.context, cluster: self.cluster.as_ref() };
        while let Some(filter) = self.filters.get_mut(self.requested) {
            match filter.on_request(request, payload, info, around) {
                Flow::Continue => {
                    if let Some(released) = filter.release_request() {
                        payload = released.payload(payload);
                        self.released = Some((self.requested, released));
                    }
                    (self.requested, self.reads) = (self.requested + 1, false);
                }
                Flow::Wait => {
                    self.awaited = filter.take_awaited();
                    self.reads |= matches!(self.awaited, Awaited::Body);
                    self.next = match self.awaited {
                        Awaited::Body => Next::Waiting,
                        Awaited::Call(_) | Awaited::Host(_) | Awaited::Instant(_) => Next::Calling,
                    };
                    return Flow::Wait;
                }
                Flow::Respond(reply) => return Flow::Respond(reply),
            }
        }
        Flow::Continue
    }

    /// The stream is over. Returns the calls that filters make then, which nothing waits for.
    pub(crate) fn end(&mut self, request: &RequestHead, info: &mut StreamInfo) -> Vec<Call> {
        self.filters.iter_mut().filter_map(|filter| filter.end(request, info, self.context)).collect()
    }

    /// How many have continued with the request's head.
    pub(crate) fn requested(&self) -> usize {
        self.requested
    }

    /// Does a filter wait, for more of the request's body or for a call?
    pub(crate) fn holds_request(&self) -> bool {
        self.next != Next::Requested
    }

    /// How much of a request's body the filter that waits wants to be there at once.
    pub(crate) fn request_bytes_max(&self) -> usize {
        self.filters.get(self.requested).map_or(0, Filter::request_bytes_max)
    }

    /// A piece of the request's body has come.
    ///
    /// # Errors
    /// A filter refuses it.
    pub(crate) fn on_request_data(&mut self, piece: &mut Piece) -> Result<(), Refusal> {
        if self.filters.is_empty() { Ok(()) } else { self.on_held_data(0, piece) }
    }

    /// The same, of a piece that has passed the filters before `first`, and waited with the head.
    ///
    /// # Errors
    /// A filter refuses it.
    pub(crate) fn on_held_data(&mut self, first: usize, piece: &mut Piece) -> Result<(), Refusal> {
        let seen = self.requested + usize::from(self.next == Next::Waiting);
        for (index, filter) in self.filters.iter_mut().enumerate().take(seen).skip(first) {
            match filter.on_request_data(piece, self.context) {
                Flow::Continue if index == self.requested => self.next = Next::Requested,
                Flow::Continue | Flow::Wait => {}
                Flow::Respond(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    /// The head of the final response is there, an upstream's or one of the proxy's own, and `payload` follows it; or the wait
    /// of the filter that it had come to is over.
    pub(crate) fn on_response(
        &mut self,
        response: &mut ResponseHead,
        mut payload: Payload,
        request: &RequestHead,
        info: &mut StreamInfo,
    ) -> Flow<Refusal> {
        while let Some(index) = self.undecided.checked_sub(1)
            && let Some(filter) = self.filters.get_mut(index)
        {
            let encodings = self.encodings.as_deref_mut();
            match filter.on_response(response, payload, request, info, encodings, self.context) {
                Flow::Continue => {
                    if let Some(released) = filter.release_response() {
                        payload = released.payload(payload);
                        self.released = Some((index, released));
                    }
                    self.undecided = index;
                }
                stop @ (Flow::Respond(_) | Flow::Wait) => return stop,
            }
        }
        Flow::Continue
    }

    /// How many have not continued with the response's head.
    pub(crate) fn undecided(&self) -> usize {
        self.undecided
    }

    /// A piece of the response's body has come, to those that have continued with its head and to the one that waits.
    pub(crate) fn on_response_data(&mut self, piece: &mut Piece) -> Flow<Refusal> {
        if self.filters.is_empty() { Flow::Continue } else { self.on_held_response_data(usize::MAX, piece) }
    }

    /// The same, of a piece that has ended the wait of the filter with the index `below`.
    pub(crate) fn on_held_response_data(&mut self, below: usize, piece: &mut Piece) -> Flow<Refusal> {
        let waiting = self.undecided.checked_sub(1);
        let passed = self.filters.iter_mut().enumerate().take(below).skip(waiting.unwrap_or(0)).rev();
        let mut flow = Flow::Continue;
        for (index, filter) in passed {
            match filter.on_response_data(piece, self.context) {
                Flow::Continue => {}
                Flow::Wait if waiting == Some(index) => flow = Flow::Wait,
                Flow::Wait => {}
                Flow::Respond(refusal) => return Flow::Respond(refusal),
            }
        }
        flow
    }

    /// Does the filter that the request's head has come to get what comes of the body?
    pub(crate) fn reads(&self) -> bool {
        self.reads
    }

    /// What a filter has made of a body that it held, with the index of the filter, once.
    pub(crate) fn take_released(&mut self) -> Option<(usize, Released)> {
        self.released.take()
    }

    /// Calls that filters have made, and do not wait for.
    pub(crate) fn take_detached(&mut self) -> Vec<Call> {
        self.filters.iter_mut().flat_map(Filter::take_detached).collect()
    }

    /// The call that the filter waits for which the response's head has come to.
    pub(crate) fn take_call_of_response(&mut self) -> Option<Box<Call>> {
        let index = self.undecided.checked_sub(1)?;
        let awaited = self.filters.get_mut(index).map(Filter::take_awaited);
        if let Some(Awaited::Call(call)) = awaited { Some(call) } else { None }
    }

    /// What that call came to.
    pub(crate) fn end_call_of_response(&mut self, end: CallEnd) {
        if let Some(filter) = self.undecided.checked_sub(1).and_then(|index| self.filters.get_mut(index)) {
            filter.end_call(end, self.context);
        }
    }
}

/// What a filter uses besides the message.
#[derive(Clone, Copy)]
struct Around<'a> {
    context: &'a FilterContext,
    cluster: Option<&'a ClusterFilterStats>,
}

impl<'a> Around<'a> {
    fn methods(self) -> Option<&'a Rc<GrpcStats>> {
        self.cluster.map(|cluster| &cluster.methods)
    }

    fn forward_port(self) -> Option<u16> {
        self.cluster.and_then(|cluster| cluster.forward_port)
    }

    /// Counts what a rate limit service has said of a request.
    fn count_limit(self, prefix: &str, event: LimitEvent) {
        if let Some(cluster) = self.cluster {
            cluster.limits.count(prefix, event);
        }
    }

    /// Counts what has become of a request that has to be authorised.
    fn count(self, prefix: &str, event: AuthorisationEvent) {
        if let Some(stats) = self.context.stats.authorisations(prefix) {
            stats.count(event);
        }
        if let Some(cluster) = self.cluster {
            cluster.authorisations.count(prefix, event);
        }
    }
}
