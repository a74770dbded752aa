//! Requests that the proxy makes itself while it serves one: copies of it, and what filters request.
//!
//! Such a request goes through the same tries and the same connections as any other, and comes from inside, as in Envoy.

use std::rc::Rc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::local_reply::LocalReply;
use crate::access_log::StreamInfo;
use crate::cluster::Cluster;
use crate::codec::{Body, ExchangeError, Frame, Headers, RequestHead, ResponseHead, copied, names};
use crate::config::filter::RouterOptions;
use crate::config::listener::ManagerTimeouts;
use crate::config::route::Forward;
use crate::exchange::{Exchange, Expired, Interrupted, LazyTimer, Timers};
use crate::filter::{FilterContext, Filters, Unanswered};
use crate::net::Outside;
use crate::stats::{Charged, ClusterStats, HttpStats};
use crate::upstream::request_options::RequestOptions;
use crate::upstream::{self, Ended, Forwarding, UpstreamResponse};

/// A request of the proxy's own, with all that it needs to outlive the one that it was made for.
pub(super) struct Subrequest {
    head: RequestHead,
    body: Body,
    cluster: Rc<Cluster>,
    parts: SubrequestParts,
    info: StreamInfo,
}

/// What requests of the proxy's own need beside themselves.
#[derive(Clone)]
pub(crate) struct SubrequestParts {
    pub(crate) outside: Outside,
    pub(crate) filters: Rc<FilterContext>,
    pub(crate) stats: Rc<HttpStats>,
    pub(crate) buffer_bytes_max: usize,
}

/// How much of a response is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kept {
    /// A body with at most so many bytes.
    AtMost(usize),
    Nothing,
}

/// A response that is there as a whole, as far as it is kept.
pub(super) struct Whole {
    pub(super) head: ResponseHead,
    pub(super) body: Bytes,
    pub(super) trailers: Option<Headers>,
}

impl Subrequest {
    /// For the stream of `info`.
    pub(super) fn new(
        parts: SubrequestParts,
        head: RequestHead,
        body: Body,
        cluster: Rc<Cluster>,
        info: &StreamInfo,
    ) -> Self {
        let mut own = StreamInfo::new(info.times.begin, info.started, Rc::clone(&info.downstream));
        own.process = info.process.clone();
        Self::of(parts, head, body, cluster, own)
    }

    /// For no stream; `info` is its own.
    pub(super) fn of(
        parts: SubrequestParts,
        head: RequestHead,
        body: Body,
        cluster: Rc<Cluster>,
        mut info: StreamInfo,
    ) -> Self {
        (info.internal, info.is_own) = (true, true);
        Self { head, body, cluster, parts, info }
    }

    /// Sends it and reads the response to its end, so that the connection can be used again.
    ///
    /// # Errors
    /// There is no response, or none that is whole and as small as it may be.
    ///
    /// # Cancellation
    /// Safe to drop: what is under way is broken off.
    pub(super) async fn send(
        mut self,
        to: &Forward,
        options: &RequestOptions<'_>,
        kept: Kept,
    ) -> Result<Whole, Unanswered> {
        let router = RouterOptions::default();
        let timers = Timers::new(LazyTimer::default(), &ManagerTimeouts::default(), Instant::now());
        let SubrequestParts { outside, filters, stats, buffer_bytes_max } = self.parts;
        let ends = Rc::clone(&outside.ends);
        let filters = Filters::none(&filters);
        let mut exchange = Exchange::new(self.body, filters, timers, buffer_bytes_max, stats, ends);
        exchange.timers.set_route(to, options.timeout, None);
        let mut forwarding = Forwarding {
            exchange: &mut exchange,
            head: &mut self.head,
            to,
            options,
            router: &router,
            cluster: &self.cluster,
            random: &*outside.random,
            info: &mut self.info,
        };
        let unanswered = match upstream::forward(&mut forwarding).await {
            Ok(mut response) => {
                self.cluster.codes.charge(response.head.status, Charged { is_internal: true, ..self.info.charged() });
                if let Some(sent) = exchange.completed_at() {
                    let took = HeaderValue::from(u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX));
                    response.head.headers.set(names::X_ENVOY_SERVICE_TIME.clone(), took);
                }
                let stats = &self.cluster.shared.stats;
                return read(response, &mut exchange, stats, kept).await.ok_or_else(broken_off);
            }
            Err(Ended::Failed { failure, retried }) => {
                let row = LocalReply::Upstream { failure, retried, response: self.info.response_start }.row();
                Unanswered { status: row.status, body: row.body }
            }
            Err(Ended::Interrupted(Interrupted::Timer(Expired::Global))) => {
                self.cluster.shared.stats.upstream_rq_timeout.inc();
                Unanswered {
                    status: StatusCode::GATEWAY_TIMEOUT,
                    body: Bytes::from_static(b"upstream request timeout"),
                }
            }
            Err(Ended::Interrupted(_) | Ended::InterruptedBetweenTries(_)) => return Err(broken_off()),
        };
        self.cluster.codes.charge(unanswered.status, Charged { is_internal: true, ..self.info.charged() });
        Err(unanswered)
    }
}

/// As Envoy has it for a response that is not whole.
fn broken_off() -> Unanswered {
    Unanswered { status: StatusCode::SERVICE_UNAVAILABLE, body: Bytes::from_static(b"upstream failure") }
}

/// How a response's body has ended.
enum End {
    Broken(ExchangeError),
    /// The body is too large, or the stream that it is for ends.
    GivenUp,
    /// The timeout has passed.
    Late,
    Whole,
}

/// Reads the response to its end.
async fn read(
    mut response: Box<UpstreamResponse>,
    exchange: &mut Exchange<'_>,
    stats: &ClusterStats,
    kept: Kept,
) -> Option<Whole> {
    let (mut body, mut trailers) = (BytesMut::new(), None);
    let end = std::future::poll_fn(|cx| {
        loop {
            match response.body.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    response.restart_idle_timeout();
                    match (frame, kept) {
                        (_, Kept::Nothing) => {}
                        (Frame::Data(data), Kept::AtMost(max)) if body.len() + data.len() > max => {
                            return Poll::Ready(End::GivenUp);
                        }
                        (Frame::Data(data), Kept::AtMost(_)) => body.extend_from_slice(&data),
                        (Frame::Trailers(fields), Kept::AtMost(_)) => trailers = Some(fields),
                    }
                }
                Poll::Ready(Some(Err(broken))) => return Poll::Ready(End::Broken(broken)),
                Poll::Ready(None) => return Poll::Ready(End::Whole),
                Poll::Pending => break,
            }
        }
        // The rest of the request still goes out, and the timeout still runs.
        exchange.poll_interrupted(cx, &mut response.writer).map(|interrupted| match interrupted {
            Interrupted::Timer(Expired::Global) => End::Late,
            Interrupted::Downstream(_) | Interrupted::Filter(_) | Interrupted::Timer(_) => End::GivenUp,
        })
    })
    .await;
    let head = response.head.clone();
    match end {
        End::Broken(broken) => {
            response.end_broken(broken);
            None
        }
        End::GivenUp => {
            response.end(exchange);
            None
        }
        End::Late => {
            stats.upstream_rq_timeout.inc();
            response.end(exchange);
            None
        }
        End::Whole => {
            response.end(exchange);
            Some(Whole { head, body: body.freeze(), trailers })
        }
    }
}

/// A body that is there as a whole.
pub(super) fn of_bytes(bytes: Bytes) -> Body {
    if bytes.is_empty() {
        return Body::Empty;
    }
    let (copier, body) = copied(bytes.len());
    copier.push(bytes);
    copier.finish(None);
    Body::Copied(body)
}
