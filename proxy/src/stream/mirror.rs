//! Copies of requests for other clusters, whose responses are not waited for (`request_mirror_policies`).
//!
//! A copy leaves beside its request, and its body comes as the request's does. The request never waits for it: a copy that falls
//! behind by more than a connection may buffer breaks off. Whatever becomes of a copy, the client sees nothing of it.

use std::rc::Rc;
use std::task::Poll;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::StreamContext;
use super::decorate;
use super::service::Service;
use crate::access_log::StreamInfo;
use crate::cluster::Cluster;
use crate::codec::{Body, ExchangeError, Frame, RequestHead, names};
use crate::config::filter::RouterOptions;
use crate::config::listener::ManagerTimeouts;
use crate::config::route::{Forward, Mirror, MirrorHost};
use crate::exchange::{Exchange, Expired, Interrupted, LazyTimer, Timers};
use crate::filter::edits::edit_copy;
use crate::filter::{FilterContext, Filters};
use crate::net::Outside;
use crate::router::{self, Chance};
use crate::stats::HttpStats;
use crate::upstream::request_options::RequestOptions;
use crate::upstream::{self, Ended, Forwarding, UpstreamResponse};

/// Sends copies of a request that is about to be forwarded, with the timeout that the request has.
pub(super) fn begin(stream: &mut StreamContext<'_>, to: &Forward, options: &RequestOptions<'_>, chance: &Chance<'_>) {
    for mirror in &to.mirrors {
        if mirror.share.as_ref().is_some_and(|share| !chance.is_within(share)) {
            continue;
        }
        let Some(cluster) = stream.service.cluster(&mirror.cluster, &stream.request) else { continue };
        let mirrored = MirroredRequest::of(stream, mirror, cluster, options);
        tokio::task::spawn_local(mirrored.run());
    }
}

/// A copy of a request.
struct MirroredRequest {
    head: RequestHead,
    body: Body,
    to: Forward,
    cluster: Rc<Cluster>,
    outside: Outside,
    filters: Rc<FilterContext>,
    stats: Rc<HttpStats>,
    buffer_bytes_max: usize,
    info: StreamInfo,
}

impl MirroredRequest {
    fn of(stream: &mut StreamContext<'_>, mirror: &Mirror, cluster: Rc<Cluster>, options: &RequestOptions<'_>) -> Self {
        let StreamContext { service, request, exchange, info, .. } = stream;
        // One try, within the time that the request has.
        let to = Forward::to(mirror.cluster.clone(), options.timeout);
        let body = Body::Copied(exchange.copy(service.buffer_bytes_max));
        let mut own = StreamInfo::new(info.times.begin, info.started, Rc::clone(&info.downstream));
        own.internal = true;
        let head = head(request, mirror, service, info);
        Self {
            head,
            body,
            to,
            cluster,
            outside: service.outside.clone(),
            filters: Rc::clone(&service.filters),
            stats: Rc::clone(&service.stats),
            buffer_bytes_max: service.buffer_bytes_max,
            info: own,
        }
    }

    async fn run(mut self) {
        let options = RequestOptions::of_copy(self.to.timeout);
        let router = RouterOptions::default();
        let timers = Timers::new(LazyTimer::default(), &ManagerTimeouts::default(), Instant::now());
        let ends = Rc::clone(&self.outside.ends);
        let filters = Filters::none(&self.filters);
        let mut exchange = Exchange::new(self.body, filters, timers, self.buffer_bytes_max, self.stats, ends);
        exchange.timers.set_route(&self.to, self.to.timeout, None);
        let mut forwarding = Forwarding {
            exchange: &mut exchange,
            head: &mut self.head,
            to: &self.to,
            options: &options,
            router: &router,
            cluster: &self.cluster,
            random: &*self.outside.random,
            info: &mut self.info,
        };
        let status = match upstream::forward(&mut forwarding).await {
            Ok(response) => {
                let status = response.head.status;
                self.cluster.codes.charge(status, true, None);
                return drain(response, &mut exchange).await;
            }
            Err(Ended::Failed { failure, .. }) => failure.status(),
            Err(Ended::Interrupted(Interrupted::Timer(Expired::Global))) => {
                self.cluster.shared.stats.upstream_rq_timeout.inc();
                StatusCode::GATEWAY_TIMEOUT
            }
            Err(Ended::Interrupted(_) | Ended::InterruptedBetweenTries(_)) => return,
        };
        self.cluster.codes.charge(status, true, None);
    }
}

/// The head of the copy. Envoy sends copies as requests of its own, which come from inside.
fn head(request: &RequestHead, mirror: &Mirror, service: &Service, info: &StreamInfo) -> RequestHead {
    let mut head = request.clone();
    match &mirror.host {
        MirrorHost::Literal(host) => head.authority = Some(host.clone()),
        MirrorHost::Same => {}
        MirrorHost::Shadow => head.authority = head.authority.as_ref().and_then(shadow),
    }
    edit_copy(&mirror.edits, &mut head, info);
    head.headers.set(names::X_ENVOY_INTERNAL.clone(), HeaderValue::from_static("true"));
    if let Some(own) = service.own_address {
        decorate::append_forwarded_for(&mut head.headers, own);
    }
    head
}

/// The host with `-shadow` before its port.
fn shadow(host: &HeaderValue) -> Option<HeaderValue> {
    let host = host.as_bytes();
    let (name, port) = router::port_at(host).and_then(|at| host.split_at_checked(at)).unwrap_or((host, b""));
    // Parts of a value and letters make a value.
    HeaderValue::from_bytes(&[name, b"-shadow", port].concat()).ok()
}

/// Reads the response to its end, so that the connection can be used again.
async fn drain(mut response: Box<UpstreamResponse>, exchange: &mut Exchange<'_>) {
    let broken: Option<ExchangeError> = std::future::poll_fn(|cx| {
        loop {
            match response.body.poll_frame(cx) {
                Poll::Ready(Some(Ok(Frame::Data(_) | Frame::Trailers(_)))) => response.heard(),
                Poll::Ready(Some(Err(broken))) => return Poll::Ready(Some(broken)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
        }
        // The rest of the request still goes out, and the timeout still runs.
        exchange.poll_interrupted(cx, &mut response.writer).map(|_| None)
    })
    .await;
    match broken {
        Some(broken) => response.end_broken(broken),
        None => response.end(exchange),
    }
}
