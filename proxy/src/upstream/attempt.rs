//! One try at one endpoint.
//!
//! [`forward`](super::forward) calls [`run`]; `run` takes a connection, sends the head, lets the body follow,
//! and waits for the response head. It never decides whether to try again: it reports, and
//! [`retry`](super::retry) decides.
//!
//! Promise: when `run` returns without an answer, its connection is back in the pool or closed.

use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};

use super::exchange::{Exchange, Interrupted, TryExpired, TryLimit};
use crate::access_log::StreamInfo;
use crate::cluster::{Cluster, Exclusive, Failure, Lease, Stream, Wanted};
use crate::codec::{Body, Broken, Payload, RequestHead, ResetReason, ResponseHead, Writer, names};
use crate::tunnel::handshake;

/// A response whose payload has not been read yet.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// Where the rest of the request goes; `None` once the upstream stopped taking it.
    pub(crate) writer: Option<Writer>,
    lease: Lease,
}

/// A try that brought no response.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// How far the request got.
    pub(super) reach: Reach,
}

impl Failed {
    fn expired(which: TryExpired, nothing_sent: bool) -> Self {
        let failure = match which {
            TryExpired::Idle => Failure::TryIdle,
            TryExpired::Timeout => Failure::TryTimeout,
        };
        // An upstream that is slow is no stale connection.
        let reach = match nothing_sent {
            true => Reach::Unseen { on_reused: false },
            false => Reach::Sent { lost_on_reused: false },
        };
        Self { failure, reach }
    }
}

/// How far a request got that has no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// There was no connection to send it on.
    NoConnection,
    /// An upstream may have acted on it.
    Sent {
        /// The connection had carried other requests, ended as a whole, and brought no byte of an answer: what a
        /// server does to an idle connection, perhaps before it could see the request.
        lost_on_reused: bool,
    },
    /// No upstream has seen it, though there was a connection: not one byte was written, or the peer's GOAWAY says
    /// that it was not looked at.
    Unseen {
        /// The connection had carried other requests.
        on_reused: bool,
    },
}

impl Reach {
    /// Is it certain that not one byte of the request was written?
    pub(super) fn nothing_sent(self) -> bool {
        matches!(self, Self::NoConnection | Self::Unseen { .. })
    }
}

/// How to try.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) wanted: Wanted,
    pub(super) timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
}

/// Sends the request to an endpoint of `cluster` and waits for the response head.
pub(super) async fn run(
    exchange: &mut Exchange,
    head: &RequestHead,
    cluster: &Cluster,
    how: How,
    info: &mut StreamInfo,
) -> Result<Result<Answer, Failed>, Interrupted> {
    let Some(endpoint) = cluster.choose() else {
        cluster.shared.stats.upstream_cx_none_healthy.inc();
        return Ok(Err(Failed { failure: Failure::NoHealthyUpstream, reach: Reach::NoConnection }));
    };
    info.upstream_host = Some(endpoint.address.clone());
    let lease = match exchange.alongside(&mut None, endpoint.pool.checkout(how.wanted)).await? {
        Ok(lease) => lease,
        Err(failure) => {
            if failure == Failure::PendingOverflow {
                info.upstream_host = None; // it never came so far as to be this endpoint's
            }
            if let Failure::Connect(why) = &failure {
                info.transport_failure = Some(format!("delayed connect error: {why}").into());
            }
            cluster.report(&endpoint, Err(&failure));
            return Ok(Err(Failed { failure, reach: Reach::NoConnection }));
        }
    };
    info.upstream_local = lease.local();
    let limit = TryLimit::new(how.timeout, how.idle_timeout);
    let answered = match lease {
        Lease::Http1(exclusive) => over_http1(exchange, head, exclusive, limit).await?,
        Lease::Http2(stream) => over_http2(exchange, head, stream, limit).await?,
    };
    let stats = &cluster.shared.stats;
    match answered.as_ref().err().map(|failed| &failed.failure) {
        Some(Failure::TryIdle) => stats.upstream_rq_per_try_idle_timeout.inc(),
        Some(Failure::TryTimeout) => stats.upstream_rq_per_try_timeout.inc(),
        Some(_) | None => {}
    }
    match &answered {
        Ok(answer) => {
            cluster.report(&endpoint, Ok(answer.head.status));
            if answer.head.headers.contains(&names::X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL) {
                cluster.fail_at_once(&endpoint);
            }
        }
        Err(failed) => cluster.report(&endpoint, Err(&failed.failure)),
    }
    endpoint.pool.count_answer(answered.as_ref().ok().map(|answer| answer.head.status));
    Ok(answered)
}

async fn over_http1(
    exchange: &mut Exchange,
    head: &RequestHead,
    mut exclusive: Box<Exclusive>,
    mut limit: TryLimit,
) -> Result<Result<Answer, Failed>, Interrupted> {
    let on_reused = exclusive.is_reused();
    // Only giving the lease back takes its connection.
    let Some(connection) = exclusive.connection() else {
        return Ok(Err(Failed { failure: Failure::Terminated, reach: Reach::Unseen { on_reused } }));
    };
    let written_before = connection.tx_bytes();
    let payload = payload(exchange, head);
    let with_length = (payload == Payload::None && wants_length(&head.method)).then(|| with_zero_length(head));
    let mut writer = Some(Writer::Http1(connection.send(with_length.as_ref().unwrap_or(head), payload)));
    if let Some(informer) = &exchange.informer {
        connection.pass_informational(informer.clone());
    }
    let answered = exchange.alongside_try(&mut writer, &mut limit, connection.response()).await?;
    match answered {
        Err(expired) => {
            let nothing_sent = connection.tx_bytes() == written_before;
            Ok(Err(Failed::expired(expired, nothing_sent))) // the lease closes the connection
        }
        Ok(Ok((head, incoming))) => {
            Ok(Ok(Answer { head, body: Body::Http1(incoming), writer, lease: Lease::Http1(exclusive) }))
        }
        Ok(Err(broken)) => {
            let reach = if connection.tx_bytes() == written_before {
                Reach::Unseen { on_reused }
            } else {
                let silent = connection.informational().is_empty();
                Reach::Sent { lost_on_reused: on_reused && silent && is_loss(broken) }
            };
            drop(writer);
            Lease::Http1(exclusive).broken(broken);
            Ok(Err(Failed { failure: Failure::from(broken), reach }))
        }
    }
}

/// Did the connection end as a whole, before a byte of the response?
fn is_loss(broken: Broken) -> bool {
    matches!(broken, Broken::Closed | Broken::ConnectionReset)
}

async fn over_http2(
    exchange: &mut Exchange,
    head: &RequestHead,
    stream: Stream,
    mut limit: TryLimit,
) -> Result<Result<Answer, Failed>, Interrupted> {
    let on_reused = stream.is_reused();
    let upgrade = head.upgrade().cloned();
    let mut sent = head.clone();
    handshake::request_to_http2(&mut sent);
    let opened = stream.connection().send(&sent, payload(exchange, head));
    let (outgoing, mut response) = match opened {
        Ok(both) => both,
        Err(broken) => {
            return Ok(Err(Failed { failure: Failure::from(broken), reach: Reach::Unseen { on_reused } }));
        }
    };
    let mut writer = Some(Writer::Http2(outgoing));
    if let Some(informer) = &exchange.informer {
        response.pass_informational(informer.clone());
    }
    let answered = match exchange.alongside_try(&mut writer, &mut limit, response.head()).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(expired)) => {
            let nothing_sent = !response.request_was_sent();
            break_off(writer, &Lease::Http2(stream));
            return Ok(Err(Failed::expired(expired, nothing_sent)));
        }
        Err(interrupted) => {
            break_off(writer, &Lease::Http2(stream));
            return Err(interrupted);
        }
    };
    match answered {
        Ok((mut head, incoming)) => {
            if let Some(protocol) = upgrade {
                handshake::response_from_http2(&mut head, &protocol);
            }
            Ok(Ok(Answer { head, body: Body::Http2(incoming), writer, lease: Lease::Http2(stream) }))
        }
        Err(broken) => {
            let refused = broken == Broken::StreamReset(ResetReason::RefusedStream);
            let left_out = refused && stream.connection().goaway_received();
            let reach = if left_out || (is_loss(broken) && !response.request_was_sent()) {
                Reach::Unseen { on_reused }
            } else {
                Reach::Sent { lost_on_reused: on_reused && is_loss(broken) }
            };
            Lease::Http2(stream).broken(broken);
            Ok(Err(Failed { failure: Failure::from(broken), reach }))
        }
    }
}

fn payload(exchange: &Exchange, head: &RequestHead) -> Payload {
    if head.upgrade().is_some() || head.method == Method::CONNECT {
        Payload::Raw
    } else if exchange.has_no_body() {
        Payload::None
    } else {
        Payload::Some
    }
}

/// RFC 9110 8.6: a method that usually has content says so when it has none.
fn wants_length(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::OPTIONS].contains(method)
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

impl Answer {
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

    /// The exchange is over: gives the connection back if both halves are whole, else closes or resets it.
    pub(crate) fn end(self, exchange: &Exchange) {
        let whole = self.body.is_complete() && exchange.is_finished();
        if !whole {
            break_off(self.writer, &self.lease);
            return;
        }
        drop((self.body, self.writer));
        self.lease.give_back();
    }

    /// As [`end`](Self::end), where the peer or the wire broke the response off.
    pub(crate) fn end_broken(self, by: Broken) {
        if !matches!(by, Broken::StreamReset(_)) {
            self.lease.count_reset();
        }
        if let Some(writer) = self.writer {
            writer.reset(ResetReason::InternalError);
        }
        self.lease.broken(by);
    }

    /// This response is not passed on: the request will be tried again.
    pub(super) fn discard(self, exchange: &Exchange) {
        self.end(exchange);
    }
}
