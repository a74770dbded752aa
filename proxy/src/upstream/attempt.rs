//! One try at one endpoint.
//!
//! [`forward`](super::forward) calls [`run`]; `run` takes a connection, sends the head, lets the body follow,
//! and waits for the response head. It never decides whether to try again: it reports, and
//! [`retry`](super::retry) decides.
//!
//! Promise: when `run` returns without an answer, its connection is back in the pool or closed.

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};

use super::exchange::{Exchange, Interrupted};
use crate::access_log::StreamInfo;
use crate::cluster::{Cluster, Failure, Lease};
use crate::codec::{Body, Broken, Payload, RequestHead, ResetReason, ResponseHead, Writer};
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
    /// Not one byte of the request was written.
    pub(super) nothing_sent: bool,
}

/// Sends the request to an endpoint of `cluster` and waits for the response head.
pub(super) async fn run(
    exchange: &mut Exchange,
    head: &RequestHead,
    cluster: &Cluster,
    info: &mut StreamInfo,
) -> Result<Result<Answer, Failed>, Interrupted> {
    let Some(endpoint) = cluster.choose() else {
        cluster.shared.stats.upstream_cx_none_healthy.inc();
        return Ok(Err(Failed { failure: Failure::NoHealthyUpstream, nothing_sent: true }));
    };
    info.upstream_host = Some(endpoint.address.clone());
    let lease = match exchange.alongside(&mut None, endpoint.pool.checkout()).await? {
        Ok(lease) => lease,
        Err(failure) => {
            if let Failure::Connect(why) = &failure {
                info.transport_failure = Some(format!("delayed connect error: {why}").into());
            }
            return Ok(Err(Failed { failure, nothing_sent: true }));
        }
    };
    info.upstream_local = lease.local();
    let answered = match lease {
        Lease::Http1(_) => over_http1(exchange, head, lease).await?,
        Lease::Http2(_) => over_http2(exchange, head, lease).await?,
    };
    endpoint.pool.count_answer(answered.as_ref().ok().map(|answer| answer.head.status));
    Ok(answered.map_err(|broken| Failed { failure: Failure::from(broken), nothing_sent: false }))
}

async fn over_http1(
    exchange: &mut Exchange,
    head: &RequestHead,
    mut lease: Lease,
) -> Result<Result<Answer, Broken>, Interrupted> {
    let Lease::Http1(exclusive) = &mut lease else { return Ok(Err(Broken::Closed)) };
    let Some(connection) = exclusive.connection() else { return Ok(Err(Broken::Closed)) };
    let payload = payload(exchange, head);
    let with_length = (payload == Payload::None && wants_length(&head.method)).then(|| with_zero_length(head));
    let mut writer = Some(Writer::Http1(connection.send(with_length.as_ref().unwrap_or(head), payload)));
    let answered = exchange.alongside(&mut writer, connection.response()).await;
    match answered? {
        Ok((head, incoming)) => Ok(Ok(Answer { head, body: Body::Http1(incoming), writer, lease })),
        Err(broken) => {
            drop(writer);
            lease.broken(broken);
            Ok(Err(broken))
        }
    }
}

async fn over_http2(
    exchange: &mut Exchange,
    head: &RequestHead,
    lease: Lease,
) -> Result<Result<Answer, Broken>, Interrupted> {
    let Lease::Http2(stream) = &lease else { return Ok(Err(Broken::Closed)) };
    let upgrade = head.upgrade().cloned();
    let mut sent = head.clone();
    handshake::request_to_http2(&mut sent);
    let opened = stream.connection().send(&sent, payload(exchange, head));
    let (outgoing, mut response) = match opened {
        Ok(both) => both,
        Err(broken) => return Ok(Err(broken)),
    };
    let mut writer = Some(Writer::Http2(outgoing));
    let answered = match exchange.alongside(&mut writer, response.head()).await {
        Ok(answered) => answered,
        Err(interrupted) => {
            break_off(writer, &lease);
            return Err(interrupted);
        }
    };
    match answered {
        Ok((mut head, incoming)) => {
            if let Some(protocol) = upgrade {
                handshake::response_from_http2(&mut head, &protocol);
            }
            Ok(Ok(Answer { head, body: Body::Http2(incoming), writer, lease }))
        }
        Err(broken) => {
            lease.broken(broken);
            Ok(Err(broken))
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
