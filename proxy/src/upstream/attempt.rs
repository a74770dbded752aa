//! One try at one endpoint.
//!
//! [`forward`](super::forward) calls [`run`]; `run` takes a connection, sends the head, lets the body follow,
//! and waits for the response head. It never decides whether to try again: it reports, and
//! [`retry`](super::retry) decides.
//!
//! Promise: when `run` returns without an answer, its connection is back in the pool or closed.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use crate::access_log::StreamInfo;
use crate::cluster::{Avoided, Cluster, Endpoint, Exclusive, Failure, Lease, Stream, Wanted};
use crate::codec::{Body, Broken, Payload, RequestHead, ResetReason, ResponseHead, Writer, names};
use crate::config::cluster::Priority;
use crate::config::filter::RouterOptions;
use crate::config::rewrite::ForwardedHost;
use crate::exchange::{Exchange, Expired, Interrupted, LazyTimer, TryLimit};
use crate::router::rewrite;
use crate::tunnel::handshake;

use super::reach::{Course, Failed, Reach, is_loss};

/// A response whose payload has not been read yet.
pub(crate) struct UpstreamResponse {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// Where the rest of the request goes; `None` once the upstream stopped taking it.
    pub(crate) writer: Option<Writer>,
    /// Who gave it.
    endpoint: Rc<Endpoint>,
    /// `None` once the upstream was given up.
    lease: Option<Lease>,
    /// How long the payload may pause, if that is limited.
    silence: Option<Silence>,
}

/// `per_try_idle_timeout`, once there is a response head.
struct Silence {
    limit: Duration,
    since: Instant,
    timer: LazyTimer,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: LazyTimer::default() }
    }
}

/// How to try.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) priority: Priority,
    pub(super) wanted: Wanted,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    /// The request gets the name of its endpoint as host.
    pub(super) endpoint_host: Option<EndpointHost<'a>>,
}

/// How a request gets the name of its endpoint as host.
#[derive(Clone, Copy)]
pub(super) struct EndpointHost<'a> {
    pub(super) forwarded: ForwardedHost,
    pub(super) router: &'a RouterOptions,
}

/// What a try came to.
pub(super) struct Tried {
    pub(super) result: Result<UpstreamResponse, Failed>,
    /// There was an informational response, which an answer of another try cannot follow.
    pub(super) informed: bool,
}

impl Tried {
    fn unconnected(failure: Failure) -> Self {
        Self { result: Err(Failed { failure, reach: Reach::NoConnection }), informed: false }
    }
}

/// Sends the request to an endpoint of `cluster` and waits for the response head.
pub(super) async fn run(
    exchange: &mut Exchange<'_>,
    head: &mut RequestHead,
    cluster: &Cluster,
    how: How<'_>,
    avoided: Option<&mut Avoided>,
    info: &mut StreamInfo,
) -> Result<Tried, Interrupted> {
    let Some(endpoint) = cluster.choose(avoided) else {
        cluster.shared.stats.upstream_cx_none_healthy.inc();
        return Ok(Tried::unconnected(Failure::NoHealthyUpstream));
    };
    info.upstream_host = Some(endpoint.address.clone());
    let began = Instant::now();
    info.times.upstream_ready = None;
    let pool = endpoint.pool(how.priority);
    let lease = match exchange.alongside(&mut None, pool.checkout(how.wanted)).await? {
        Ok(lease) => lease,
        Err(failure) => {
            info.times.pool_wait = Some(began.elapsed());
            report_unconnected(cluster, &endpoint, &failure, info);
            return Ok(Tried::unconnected(failure));
        }
    };
    cluster.report_connected(&endpoint);
    info.times.pool_wait = Some(began.elapsed());
    info.times.upstream_ready = Some(Instant::now());
    if let Some(EndpointHost { forwarded, router }) = how.endpoint_host
        && let Some(name) = cluster.hostname(&endpoint)
    {
        rewrite::set_host(name, forwarded, router, head);
    }
    info.upstream_local = Some(lease.local());
    info.parts.iter().for_each(|part| part.counters.upstream_rq_total.inc());
    let limit = TryLimit::new(how.timeout, how.idle_timeout);
    let mut informed = Vec::new();
    let answered = match lease {
        Lease::Http1(exclusive) => over_http1(exchange, head, &endpoint, exclusive, limit, &mut informed).await,
        Lease::Http2(stream) => over_http2(exchange, head, &endpoint, stream, limit, &mut informed).await,
    };
    for status in &informed {
        cluster.codes.charge(*status, info.internal, info.alt_stat_name.as_deref());
        info.parts.iter().for_each(|part| part.charge(*status));
    }
    if let Err(Interrupted::Timer(Expired::Global)) = &answered {
        cluster.report_timeout(&endpoint);
        endpoint.counts.rq_error.inc();
    }
    let mut result = answered?;
    if let Ok(answer) = &mut result {
        answer.silence = how.idle_timeout.map(Silence::new);
    }
    report(cluster, &endpoint, &result);
    Ok(Tried { result, informed: !informed.is_empty() })
}

/// There is no connection to `endpoint`.
fn report_unconnected(cluster: &Cluster, endpoint: &Rc<Endpoint>, failure: &Failure, info: &mut StreamInfo) {
    if *failure == Failure::PendingOverflow {
        info.upstream_host = None; // it never came so far as to be this endpoint's
    }
    if matches!(failure, Failure::Connect(_) | Failure::ConnectTimeout) {
        tracing::debug!(
            connection = info.downstream.connection_id,
            cluster = &*cluster.shared.config.name,
            endpoint = %endpoint.address,
            ?failure,
            "a connect failed"
        );
    }
    if let Failure::Connect(why) = failure {
        info.transport_failure = Some(why.clone().into());
    }
    cluster.report(endpoint, Err(failure));
    endpoint.counts.rq_error.inc();
}

/// What an attempt came to, for the endpoint's health and its stats.
fn report(cluster: &Cluster, endpoint: &Rc<Endpoint>, result: &Result<UpstreamResponse, Failed>) {
    cluster.report(endpoint, result.as_ref().map(|answer| answer.head.status).map_err(|failed| &failed.failure));
    let (stats, counts) = (&cluster.shared.stats, &endpoint.counts);
    match result {
        Ok(answer) => {
            if answer.head.headers.contains(&names::X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL) {
                cluster.fail_at_once(endpoint);
            }
        }
        Err(Failed { failure, .. }) => {
            counts.rq_error.inc();
            if *failure == Failure::TryIdle {
                stats.upstream_rq_per_try_idle_timeout.inc();
            }
            if *failure == Failure::TryTimeout {
                stats.upstream_rq_per_try_timeout.inc();
            }
        }
    }
}

async fn over_http1(
    exchange: &mut Exchange<'_>,
    head: &RequestHead,
    endpoint: &Rc<Endpoint>,
    mut exclusive: Box<Exclusive>,
    mut limit: TryLimit,
    informed: &mut Vec<StatusCode>,
) -> Result<Result<UpstreamResponse, Failed>, Interrupted> {
    let on_reused = exclusive.is_reused();
    let connection = exclusive.connection();
    let written_before = connection.tx_bytes();
    let payload = payload(exchange, head);
    let with_length = (payload == Payload::None && wants_length(&head.method)).then(|| with_zero_length(head));
    let mut writer = Some(Writer::Http1(connection.send(with_length.as_ref().unwrap_or(head), payload)));
    if let Some(informational_sender) = &exchange.informational_sender {
        connection.pass_informational(informational_sender.clone());
    }
    let answered = exchange.alongside_try(&mut writer, &mut limit, connection.response()).await;
    informed.extend_from_slice(connection.informational());
    match answered? {
        Err(expired) => {
            let nothing_sent = connection.tx_bytes() == written_before;
            Ok(Err(Failed::expired(expired, nothing_sent))) // the lease closes the connection
        }
        Ok(Ok((head, incoming))) => {
            let lease = Some(Lease::Http1(exclusive));
            Ok(Ok(UpstreamResponse {
                head,
                body: Body::Http1(incoming),
                writer,
                endpoint: Rc::clone(endpoint),
                lease,
                silence: None,
            }))
        }
        Ok(Err(broken)) => {
            let is_unseen = connection.tx_bytes() == written_before;
            let reach = Course { on_reused, is_unseen, informed }.reach(broken);
            drop(writer);
            Lease::Http1(exclusive).close_broken(broken);
            Ok(Err(Failed { failure: Failure::from(broken), reach }))
        }
    }
}

async fn over_http2(
    exchange: &mut Exchange<'_>,
    head: &RequestHead,
    endpoint: &Rc<Endpoint>,
    stream: Stream,
    mut limit: TryLimit,
    informed: &mut Vec<StatusCode>,
) -> Result<Result<UpstreamResponse, Failed>, Interrupted> {
    let on_reused = stream.is_reused();
    let upgrade = head.upgrade().cloned();
    let mut sent = head.clone();
    handshake::request_to_http2(&mut sent);
    let (outgoing, mut response) = match stream.connection().send(&sent, payload(exchange, head)) {
        Ok(opened) => opened,
        Err(broken) => return Ok(Err(Failed::unseen(broken, on_reused))),
    };
    let mut writer = Some(Writer::Http2(outgoing));
    if let Some(informational_sender) = &exchange.informational_sender {
        response.pass_informational(informational_sender.clone());
    }
    let answered = exchange.alongside_try(&mut writer, &mut limit, response.head()).await;
    informed.extend_from_slice(response.informational());
    match answered {
        Ok(Ok(Ok((mut head, incoming)))) => {
            if let Some(protocol) = upgrade {
                handshake::response_from_http2(&mut head, &protocol);
            }
            let lease = Some(Lease::Http2(stream));
            Ok(Ok(UpstreamResponse {
                head,
                body: Body::Http2(incoming),
                writer,
                endpoint: Rc::clone(endpoint),
                lease,
                silence: None,
            }))
        }
        Ok(Ok(Err(broken))) => {
            let refused = broken == Broken::StreamReset(ResetReason::RefusedStream);
            let excluded = refused && stream.connection().goaway_received();
            let is_unseen = excluded || (is_loss(broken) && !response.request_was_sent());
            let reach = Course { on_reused, is_unseen, informed }.reach(broken);
            Lease::Http2(stream).close_broken(broken);
            Ok(Err(Failed { failure: Failure::from(broken), reach }))
        }
        Ok(Err(expired)) => {
            let nothing_sent = !response.request_was_sent();
            break_off(writer, &Lease::Http2(stream));
            Ok(Err(Failed::expired(expired, nothing_sent)))
        }
        Err(interrupted) => {
            break_off(writer, &Lease::Http2(stream));
            Err(interrupted)
        }
    }
}

fn payload(exchange: &Exchange<'_>, head: &RequestHead) -> Payload {
    if head.upgrade().is_some() || head.method == Method::CONNECT {
        Payload::Raw
    } else if exchange.has_no_body() {
        Payload::None
    } else {
        Payload::Some
    }
}

/// RFC 9110 8.6: a request whose method may have content says so when it has none. Envoy's list of those that have none.
fn wants_length(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::DELETE, Method::TRACE, Method::CONNECT].contains(method)
}

fn with_zero_length(head: &RequestHead) -> RequestHead {
    let mut head = head.clone();
    head.headers.set_if_absent(CONTENT_LENGTH, HeaderValue::from_static("0"));
    head
}

/// RST_STREAM with INTERNAL_ERROR, as Envoy's upstreams see it when a client has gone.
fn break_off(writer: Option<Writer>, lease: &Lease) {
    lease.count_reset();
    if let Some(writer) = writer {
        writer.reset(ResetReason::InternalError);
    }
}

impl UpstreamResponse {
    /// Did the upstream accept an upgrade or CONNECT?
    pub(crate) fn accepts_upgrade(&self, request: &RequestHead) -> bool {
        self.head.status == StatusCode::SWITCHING_PROTOCOLS
            || (request.method == Method::CONNECT && self.head.status.is_success())
    }

    /// Waits until what was written towards the upstream has left.
    pub(crate) async fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        // An upstream that is gone hears nothing more.
        let _flushed = std::future::poll_fn(|cx| writer.poll_flush(cx)).await;
    }

    /// Something of the payload came.
    pub(crate) fn heard(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.since = Instant::now();
        }
    }

    /// Ready when the payload has paused for too long: the upstream is then given up.
    pub(crate) fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Silence { limit, since, timer }) = &mut self.silence else { return Poll::Pending };
        ready!(timer.poll(cx, *since + *limit));
        self.endpoint.gave_no_more();
        if let Some(lease) = self.lease.take() {
            break_off(self.writer.take(), &lease);
        }
        Poll::Ready(())
    }

    /// The exchange is over: gives the connection back if both halves are whole, else closes or resets it.
    pub(crate) fn end(self, exchange: &Exchange<'_>) {
        let whole = self.body.is_complete() && exchange.is_finished();
        let Some(lease) = self.lease else { return };
        if !whole {
            return break_off(self.writer, &lease);
        }
        drop((self.body, self.writer));
        lease.release();
    }

    /// As [`end`](Self::end), where the peer or the wire broke the response off.
    pub(crate) fn end_broken(self, by: Broken) {
        let Some(lease) = self.lease else { return };
        // What the wire broke off is counted with the end of the lease.
        if matches!(by, Broken::Closed | Broken::ConnectionReset) {
            lease.count_reset();
        }
        if let Some(writer) = self.writer {
            writer.reset(ResetReason::InternalError);
        }
        lease.close_broken(by);
    }

    /// This response is passed on.
    pub(super) fn settle(&self) {
        let counts = &self.endpoint.counts;
        let by_status = if self.head.status.is_server_error() { &counts.rq_error } else { &counts.rq_success };
        by_status.inc();
    }

    /// This response is not passed on: the request will be tried again.
    pub(super) fn discard(self, exchange: &Exchange<'_>) {
        self.endpoint.counts.rq_error.inc();
        self.end(exchange);
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::codec::Headers;

    #[test]
    fn a_method_that_may_have_content_says_that_it_has_none() {
        for (method, expected) in [
            ("GET", false),
            ("HEAD", false),
            ("DELETE", false),
            ("TRACE", false),
            ("CONNECT", false),
            ("POST", true),
            ("PUT", true),
            ("FOO", true),
        ] {
            assert_eq!(wants_length(&Method::from_bytes(method.as_bytes()).unwrap()), expected, "{method}");
        }
        let mut head = RequestHead {
            method: Method::POST,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            version: Version::HTTP_11,
            headers: Headers::default(),
        };
        assert_eq!(with_zero_length(&head).headers.get(&CONTENT_LENGTH).map(HeaderValue::as_bytes), Some(&b"0"[..]));
        head.headers.set(CONTENT_LENGTH, HeaderValue::from_static("00"));
        let lengths: Vec<_> = with_zero_length(&head).headers.get_all(&CONTENT_LENGTH).cloned().collect();
        assert_eq!(lengths, ["00"], "what the request says stays");
    }
}
