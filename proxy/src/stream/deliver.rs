//! An upstream's response on its way to the client, payload and all.

use std::future::poll_fn;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::decide::refused;
use super::decorate;
use super::hold::{Stopped, filter_response};
use super::record::record_relay_end;
use super::relay::{self, Relay, RelayEnd};
use super::reply::reply_locally;
use super::respond::{Remaining, Responder, Response, after_response, begin_response, edit_response, tell_attempts};
use super::unsent::push_out;
use super::{After, Forwarded, Persistence, ResponseKind, StreamContext};
use crate::access_log::StreamInfo;
use crate::cluster::{Cluster, Failure};
use crate::codec::http1::Close;
use crate::codec::{Body, ExchangeError, Payload, RequestHead, ResetReason, ResponseHead, Writer, names};
use crate::config::log_filter::LogType;
use crate::exchange::{Exchange, Expired, Interrupted};
use crate::filter::Piece;
use crate::stats::FlowStats;
use crate::upstream::{self, UpstreamResponse};

/// Passes an upstream's response on, payload and all. Returns the writer to the client if the response's end was queued.
pub(super) async fn deliver(
    stream: &mut StreamContext<'_>,
    forwarded: Forwarded,
    responder: Responder<'_>,
) -> (After, Option<Writer>) {
    let Forwarded { mut response, cluster, kind, service_time } = forwarded;
    let payload = payload(kind, &response);
    let mut head = head(kind, &mut response, service_time);
    if kind != ResponseKind::Unsuccessful {
        stream.info.is_canary |= head.headers.get(&names::X_ENVOY_UPSTREAM_CANARY).is_some_and(|value| value == "true");
        upstream::charge(&cluster, head.status, stream.info);
    }
    stream.info.response_code = Some(head.status.as_u16());
    edit_response(stream, &mut head);
    tell_attempts(stream, &mut head);
    let first = match filter_response(stream, &mut response, &mut head, payload).await {
        Ok(first) => first,
        Err(Stopped::Ended(end)) => return end_without_response(stream, &cluster, response, kind, end, responder),
        Err(Stopped::Refused(refusal)) => {
            response.end(&stream.exchange);
            stream.exchange.filters.bypass();
            return reply_locally(stream, &refused(stream.service, refusal), responder).await;
        }
    };
    let payload = match (&first, payload) {
        (Some(piece), _) if piece.is_bare_end() => Payload::None,
        // A filter has given a body to a response that had none.
        (Some(_), Payload::None) => Payload::Some,
        _ => payload,
    };
    if ends_with_connection(&stream.request, &head, payload) {
        stream.client_persistence = Persistence::Close;
    }
    let was_complete = stream.exchange.is_complete();
    let persistence = match kind {
        ResponseKind::Tunnel => Persistence::KeepAlive,
        ResponseKind::Plain if was_complete => stream.client_persistence,
        ResponseKind::Plain | ResponseKind::Rejected | ResponseKind::Unsuccessful => Persistence::Close,
    };
    let begun = Response { head, payload, persistence };
    let mut down = begin_response(stream.service, &stream.request, begun, responder, stream.info);
    stream.exchange.note(&stream.request, stream.info);
    count_early_tunnel(stream, kind, &response);
    if kind == ResponseKind::Tunnel && stream.service.options.early_logs.at_tunnel {
        stream.log(LogType::DownstreamTunnelSuccessfullyEstablished);
    }
    let end = match payload {
        Payload::None => send_head(&mut down).await,
        Payload::Raw | Payload::Some => relay(stream, &cluster.flow, &mut response, &mut down, payload, first).await,
    };
    count_early_response(stream, kind, &response);
    record_end(stream, &cluster, &response, &end);
    let after = after(stream, kind, persistence, &end);
    if matches!(end, RelayEnd::Interrupted(Interrupted::Downstream(_))) {
        // What the client sent before it closed still goes out.
        let limit = stream.service.options.timeouts.delayed_close;
        drop(tokio::time::timeout(limit, response.flush()).await);
    }
    (after, release(end, kind, response, Some(down), &stream.exchange))
}

/// Of a tunnel the head decides whether the response is early: there is no request that could still be complete in time.
fn is_tunnel(kind: ResponseKind, response: &UpstreamResponse) -> bool {
    kind == ResponseKind::Tunnel || matches!(response.body, Body::Tcp(_))
}

/// The head is on its way.
fn count_early_tunnel(stream: &StreamContext<'_>, kind: ResponseKind, response: &UpstreamResponse) {
    if is_tunnel(kind, response) && !stream.exchange.is_complete() {
        stream.service.stats.downstream_rq_response_before_rq_complete.inc();
    }
}

/// The end is on its way.
fn count_early_response(stream: &StreamContext<'_>, kind: ResponseKind, response: &UpstreamResponse) {
    if !is_tunnel(kind, response) && !stream.exchange.is_complete() {
        stream.service.stats.downstream_rq_response_before_rq_complete.inc();
    }
}

/// The exchange has ended while the response's head waited in a filter: as in Envoy, there is no response.
fn end_without_response(
    stream: &mut StreamContext<'_>,
    cluster: &Cluster,
    response: Box<UpstreamResponse>,
    kind: ResponseKind,
    end: RelayEnd,
    responder: Responder<'_>,
) -> (After, Option<Writer>) {
    record_end(stream, cluster, &response, &end);
    let after = after(stream, kind, Persistence::Close, &end);
    if let Responder::Http2 { respond, .. } = responder {
        respond.reset(ResetReason::InternalError);
    }
    (after, release(end, kind, response, None, &stream.exchange))
}

/// The response has ended: its stats, and the access log's facts of its end.
fn record_end(stream: &mut StreamContext<'_>, cluster: &Cluster, response: &UpstreamResponse, end: &RelayEnd) {
    let StreamContext { service, request, exchange, info, .. } = stream;
    let now = Instant::now();
    info.times.upstream_response_end = Some(now);
    record_relay_end(service, cluster, end, exchange.is_complete(), info);
    // Envoy counts it where it decides whether a gRPC request went well, which only the end of its response does.
    if matches!(end, RelayEnd::Upstream { .. })
        && request.headers.is_grpc()
        && info.response_code.is_some_and(|code| code < 500)
    {
        service.stats.rq_reset_after_downstream_response_started.inc();
    }
    let is_whole = matches!(end, RelayEnd::Complete) && response.body.is_complete() && exchange.is_complete();
    if is_whole || *end == RelayEnd::Interrupted(Interrupted::Timer(Expired::Global)) {
        cluster.shared.tracked.record_budget(exchange.timers.budget_used());
    }
    if is_whole
        && info.has_code_stats
        && let Some(at) = exchange.timers.forwarded_whole_at()
    {
        let took = now.saturating_duration_since(at);
        cluster.codes.record_time(took, info.charged());
        info.parts.iter().for_each(|part| part.record_time(took));
    }
}

/// What becomes of an HTTP/1 connection after this response.
fn after(stream: &StreamContext<'_>, kind: ResponseKind, persistence: Persistence, end: &RelayEnd) -> After {
    match end {
        RelayEnd::Complete => {
            // After a tunnel nothing on an HTTP/1 connection is a request any more.
            let persistence = if kind == ResponseKind::Tunnel { Persistence::Close } else { persistence };
            let remaining = match stream.client_persistence {
                Persistence::Close if stream.exchange.is_complete() => Remaining::Nothing,
                Persistence::Close | Persistence::KeepAlive => Remaining::Possible,
            };
            after_response(persistence, remaining)
        }
        RelayEnd::Interrupted(Interrupted::Downstream(_)) => After::Gone,
        // Nothing inside a tunnel notifies its client that the server drains.
        RelayEnd::Drained => After::Close(Close::FinThenWaitForPeer),
        RelayEnd::Interrupted(Interrupted::Filter(_) | Interrupted::Timer(_)) | RelayEnd::Upstream { .. } => {
            After::Close(Close::FlushThenWaitForPeer)
        }
    }
}

/// What follows the head that the client gets.
fn payload(kind: ResponseKind, response: &UpstreamResponse) -> Payload {
    match kind {
        ResponseKind::Tunnel => Payload::Raw,
        ResponseKind::Unsuccessful => Payload::None,
        ResponseKind::Plain | ResponseKind::Rejected if response.body.is_complete() => Payload::None,
        ResponseKind::Plain | ResponseKind::Rejected => Payload::Some,
    }
}

/// The head that the client gets: the upstream's, without the fields about its connection.
fn head(kind: ResponseKind, response: &mut UpstreamResponse, service_time: Option<HeaderValue>) -> ResponseHead {
    let mut head = std::mem::replace(&mut response.head, ResponseHead::new(StatusCode::OK));
    // A client that was refused may read which protocols it may offer (RFC 9110 15.5.22).
    decorate::end_response_hop(&mut head.headers, matches!(kind, ResponseKind::Tunnel | ResponseKind::Rejected));
    if let Some(millis) = service_time {
        head.headers.set(names::X_ENVOY_SERVICE_TIME.clone(), millis);
    }
    if kind == ResponseKind::Unsuccessful {
        head.headers.remove(&CONTENT_TYPE);
        head.headers.remove(&CONTENT_LENGTH);
    }
    head
}

/// The end of a payload without a length is the end of an HTTP/1.0 connection.
fn ends_with_connection(request: &RequestHead, head: &ResponseHead, payload: Payload) -> bool {
    request.version == Version::HTTP_10
        && payload == Payload::Some
        && request.method != Method::HEAD
        && !head.headers.contains(&CONTENT_LENGTH)
}

/// Moves payload both ways until the exchange ends. Tunnels have no end of their own: a drain ends them in its time.
///
/// # Cancellation
/// Safe to drop: both halves are broken off.
async fn relay(
    stream: &mut StreamContext<'_>,
    flow: &FlowStats,
    response: &mut UpstreamResponse,
    down: &mut Writer,
    payload: Payload,
    first: Option<Piece>,
) -> RelayEnd {
    let StreamContext { service, exchange, info, .. } = stream;
    let StreamInfo { bytes_sent: sent, trailers, .. } = &mut **info;
    let trailers = service.logs.reads_trailers.then_some(trailers);
    let state = relay::State::Open;
    let mut relay = Relay { exchange, response, down, payload, sent, trailers, state, flow, paused: None };
    if let Some(piece) = first {
        relay.write(piece);
    }
    let relayed = poll_fn(|cx| relay.poll(cx));
    if payload != Payload::Raw {
        return relayed.await;
    }
    let number = service.tunnels_begun.replace(service.tunnels_begun.get().wrapping_add(1));
    tokio::select! {
        // What has ended by itself is not ended by the drain.
        biased;
        end = relayed => end,
        () = service.drain.ends_tunnel(number) => RelayEnd::Drained,
    }
}

/// A response without payload: nothing is relayed.
async fn send_head(down: &mut Writer) -> RelayEnd {
    down.finish(None);
    match push_out(down).await {
        Ok(()) => RelayEnd::Complete,
        Err(broken) => RelayEnd::Interrupted(Interrupted::Downstream(broken)),
    }
}

/// Ends both sides in the way that the end of the payload demands. Returns the writer of a whole response.
fn release(
    end: RelayEnd,
    kind: ResponseKind,
    response: Box<UpstreamResponse>,
    down: Option<Writer>,
    exchange: &Exchange<'_>,
) -> Option<Writer> {
    let reset = match end {
        RelayEnd::Complete => {
            response.end(exchange);
            return down;
        }
        RelayEnd::Interrupted(_) => {
            response.end(exchange);
            ResetReason::InternalError
        }
        RelayEnd::Drained => {
            response.end(exchange);
            ResetReason::NoError
        }
        RelayEnd::Upstream { failure, broken } => {
            // Without a cause, a tunnel was ended by its HTTP/1 upstream: the peer closed.
            response.end_broken(broken.unwrap_or(ExchangeError::Closed));
            reset_for(&failure, kind)
        }
    };
    if let Some(down) = down {
        down.reset(reset);
    }
    None
}

/// The code that reports an upstream's end to the next hop back: CONNECT_ERROR, if a tunnel's TCP connection was
/// lost (RFC 9113 8.5).
fn reset_for(failure: &Failure, kind: ResponseKind) -> ResetReason {
    let lost_tunnel = kind == ResponseKind::Tunnel && *failure == Failure::Terminated;
    if lost_tunnel { ResetReason::ConnectError } else { ResetReason::InternalError }
}
