//! One request, top to bottom.
//!
//! [`serve`] prepares it, [`decide`] finds what it gets, and that goes out: [`deliver`] passes an upstream's response on,
//! [`reply`] sends one of our own, both through [`respond`]. What happened is put down by [`record`]; what has not left
//! by then is [`unsent`].

mod call;
mod client_cert;
mod connection_log;
mod date;
mod decide;
mod decorate;
mod deliver;
mod direct;
mod entries;
mod follow;
mod hold;
mod local_reply;
mod log_filter;
mod logs;
mod mirror;
mod normalise;
mod record;
mod relay;
mod remote_client;
mod reply;
mod reports;
mod respond;
mod rewritten;
mod service;
mod subrequest;
mod tracer;
mod unsent;

use std::rc::Rc;

use http::{HeaderValue, StatusCode, Version};

use crate::access_log::format::Heads;
use crate::access_log::{ResponseStart, StreamInfo};
use crate::cluster::Cluster;
use crate::codec::http1::Close;
use crate::codec::{Body, ExchangeError, InformationalSender, RequestHead, ResponseHead};
use crate::config::log_filter::LogType;
use crate::exchange::Exchange;
use crate::exchange::LazyTimer;
use crate::exchange::Periodic;
use crate::exchange::Timers;
use crate::filter::Filters;
use crate::stats::Held;
use crate::tunnel::handshake;
use crate::upstream::{self, UpstreamResponse};
use decide::decide;
use deliver::deliver;
use local_reply::{Content, Form};
use reply::reply_locally;
use service::Routes;

pub(crate) use connection_log::{ConnectionLog, ListenerLogs};
pub(crate) use entries::{Calls, Entries};
pub(crate) use local_reply::LocalReply;
pub(crate) use logs::Logs;
pub(crate) use record::{Record, count_expired, record_gone};
pub(crate) use reply::refuse_head;
pub(crate) use reports::Reports;
pub(crate) use respond::{GoAway, Responder};
pub(crate) use rewritten::LocalReplies;
pub(crate) use service::{Service, ServiceParts};
pub(crate) use subrequest::SubrequestParts;
pub(crate) use tracer::Tracer;
pub(crate) use unsent::Unsent;

/// What becomes of an HTTP/1 connection after a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    /// It ends like this.
    Close(Close),
    /// The client has gone.
    Gone,
    /// The next request may come.
    KeepAlive,
}

/// Whether an HTTP/1 connection carries another request after a response (RFC 9112 9.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Persistence {
    Close,
    KeepAlive,
}

/// What is to be sent to the client.
enum Reply {
    /// The upstream's response.
    Upstream(Forwarded),
    /// The client has disconnected: no reply is sent.
    Gone(ExchangeError),
    /// One of our own.
    Local(LocalReply, Option<Rc<Cluster>>),
}

struct Forwarded {
    response: Box<UpstreamResponse>,
    cluster: Rc<Cluster>,
    kind: ResponseKind,
    /// `x-envoy-upstream-service-time`, unless it does not apply.
    service_time: Option<HeaderValue>,
}

impl Reply {
    /// The same; if `wanted`, a timeout is no error.
    fn with_timeouts_empty(self, wanted: bool) -> Self {
        match self {
            Self::Local(reply, cluster) if wanted && reply.is_timeout() => {
                Self::Local(LocalReply::TimedOutEmpty(Box::new(reply)), cluster)
            }
            Self::Upstream(_) | Self::Gone(_) | Self::Local(..) => self,
        }
    }
}

/// How a response relates to what was requested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ResponseKind {
    /// An ordinary response, to a request without an upgrade.
    Plain,
    /// The upgrade was refused with an error status, which passes whole.
    Rejected,
    /// An HTTP/1 upstream responded to a WebSocket handshake with something that is neither: its head passes.
    Unsuccessful,
    /// The upgrade was accepted.
    Tunnel,
}

/// A stream that is over.
pub(crate) struct Served {
    pub(crate) after: After,
    /// The connection's, which was lent to the stream's timers.
    pub(crate) timer: LazyTimer,
    /// What an HTTP/2 client has not taken yet. An HTTP/1 connection sees to that by itself.
    pub(crate) unsent: Option<Unsent>,
}

/// One request while it is served. What is known of it goes into its record when this is dropped, also if it is cut.
pub(crate) struct StreamContext<'a> {
    service: &'a Service,
    routes: &'a Routes,
    request: RequestHead,
    /// In which its sender reads a response of the proxy's own.
    form: Form,
    exchange: Exchange<'a>,
    /// Whether the client keeps its HTTP/1 connection after this request.
    client_persistence: Persistence,
    /// Counts it among the upgrades that the connection manager has let through.
    upgrade_active: Option<Held>,
    info: &'a mut StreamInfo,
}

impl StreamContext<'_> {
    /// Has `local_reply_config` change a response of the proxy's own.
    fn rewrite_reply(&mut self, head: &mut ResponseHead, content: &mut Content) {
        let Self { service, request, exchange, info, .. } = self;
        info.bytes_received = exchange.bytes_received;
        info.times.request_end = exchange.completed_at();
        service.local_replies.rewrite(request, head, content, &*service.outside.random, info);
    }

    /// Its head has been read and its route is known: writes a line, if that is requested.
    fn log_begin(&mut self) {
        self.exchange.note(&self.request, self.info);
        if self.service.options.early_logs.at_begin {
            self.info.times.request_end = self.exchange.completed_at();
            self.log(LogType::DownstreamStart);
        }
    }

    /// Writes a line of the stream before its end.
    fn log(&self, log_type: LogType) {
        let heads = Heads { request: Some(&self.request), response: self.info.response.as_ref() };
        self.service.logs.write(log_type, heads, self.info, &*self.service.outside.random);
    }
}

impl Drop for StreamContext<'_> {
    fn drop(&mut self) {
        self.info.bytes_received = self.exchange.bytes_received;
        self.info.times.request_end = self.exchange.completed_at();
        if !self.exchange.filters.is_empty() {
            call::make_last(self.service, &mut self.exchange.filters, &self.request, self.info);
        }
        self.info.request = Some(std::mem::take(&mut self.request));
    }
}

/// Prepares a request to be served. Apart from [`serve`], since a future keeps each of its arguments for as long as it lives, and
/// moves them with itself.
pub(crate) fn prepare<'a>(
    service: &'a Service,
    routes: &'a Routes,
    mut request: RequestHead,
    body: Body,
    mut timers: Timers,
    responder: &mut Responder<'_>,
    info: &'a mut StreamInfo,
) -> StreamContext<'a> {
    info.protocol = Some(request.version);
    handshake::request_from_http2(&mut request);
    let client_persistence = decorate::persistence(&request);
    let informational_sender = service.options.proxy_100_continue.then(|| responder.informational_sender());
    if informational_sender.is_none() && decorate::take_expect_continue(&mut request.headers) {
        responder.send_continue(service, info);
    }
    if request.version == Version::HTTP_10 && request.authority.is_none() {
        request.authority = service.default_host.clone();
    }
    if body.is_complete() {
        timers.head_is_all();
    } else {
        timers.head_is_complete();
    }
    // Those of a request that meets no route; `decide` puts the route's in their place.
    let filters = Filters::of(&service.options.filters.default, &service.filters);
    let mut exchange = Exchange::new(
        body,
        filters,
        timers,
        service.buffer_bytes_max,
        Rc::clone(&service.stats),
        Rc::clone(&service.outside.ends),
    );
    exchange.informational_sender = informational_sender;
    exchange.periodic = periodic(service, info);
    let form = Form::of(&request);
    StreamContext { service, routes, request, form, exchange, client_persistence, upgrade_active: None, info }
}

/// The lines of a stream before its last, if they are wanted.
fn periodic<'a>(service: &'a Service, info: &StreamInfo) -> Option<Box<Periodic<'a>>> {
    let every = service.options.early_logs.every?;
    Some(Periodic::new(every, info, Box::new(|info| log_periodic(service, info))))
}

/// Writes a line of a stream that is under way.
pub(crate) fn log_periodic(service: &Service, info: &StreamInfo) {
    let heads = Heads { request: info.request.as_ref(), response: info.response.as_ref() };
    service.logs.write(LogType::DownstreamPeriodic, heads, info, &*service.outside.random);
}

/// Serves one request.
pub(crate) async fn serve(stream: &mut StreamContext<'_>, responder: Responder<'_>) -> Served {
    let (after, rest) = match decide(stream).await {
        Reply::Upstream(forwarded) => deliver(stream, forwarded, responder).await,
        Reply::Gone(broken) => {
            record_gone(stream.service, stream.info, broken);
            (After::Gone, None)
        }
        Reply::Local(reply, cluster) => {
            // As in Envoy, a response that has begun with an informational one is not counted once more.
            if let Some(cluster) = cluster.filter(|_| stream.info.response_start == ResponseStart::Before) {
                upstream::charge(&cluster, reply.row().status, stream.info);
            }
            reply_locally(stream, &reply, responder).await
        }
    };
    let exchange = &mut stream.exchange;
    let passed = exchange.informational_sender.as_ref().map_or(0, InformationalSender::passed);
    (0..passed).for_each(|_| stream.service.count_response(StatusCode::CONTINUE)); // all of 1xx count as one
    // A client that closed before the final response had at least these.
    let informed =
        exchange.informational_sender.as_ref().and_then(InformationalSender::last).map(|status| status.as_u16());
    stream.info.response_code = stream.info.response_code.or(informed);
    let limit = exchange.timers.flush_limit();
    let unsent = rest.map(|writer| Unsent::new(writer, limit));
    Served { after, timer: exchange.timers.take_timer(), unsent }
}
