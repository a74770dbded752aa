//! An upstream's answer on its way to the client, payload and all.

use std::future::Future;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::decorate;
use super::record::record_relay_end;
use super::relay::{RelayEnd, relay};
use super::respond::{Responder, after_response, begin_response};
use super::service::Service;
use super::unsent::push_out;
use super::{After, Answered, Kind};
use crate::access_log::StreamInfo;
use crate::cluster::Failure;
use crate::codec::http1::Close;
use crate::codec::{Broken, Payload, RequestHead, ResetReason, ResponseHead, Writer, names};
use crate::exchange::{Exchange, Interrupted};
use crate::upstream::Answer;

/// Passes an upstream's answer on, payload and all. Comes back with the way to the client if its end was reached.
pub(super) async fn deliver(
    service: &Service,
    answered: Answered,
    request: &RequestHead,
    exchange: &mut Exchange,
    responder: Responder<'_>,
    asks_to_close: bool,
    info: &mut StreamInfo,
) -> (After, Option<Writer>) {
    let Answered { mut answer, cluster, kind, service_time, _upgrade_active } = answered;
    let is_tunnel = kind == Kind::Tunnel;
    let payload = payload(kind, &answer);
    let head = head(kind, &mut answer, service_time);
    if kind != Kind::Unsuccessful {
        cluster.codes.charge(head.status, info.internal, info.alt_stat_name.as_deref());
    }
    let asks_to_close = asks_to_close || ends_with_connection(request, &head, payload);
    let was_complete = exchange.is_complete();
    let closes = !is_tunnel && (asks_to_close || !was_complete || kind != Kind::Plain);
    let mut down = begin_response(service, head, payload, request, responder, closes, info);
    let end = match payload {
        Payload::None => send_head(&mut down).await,
        Payload::Raw | Payload::Some => {
            let relayed = relay(exchange, &mut answer, &mut down, is_tunnel, &mut info.bytes_sent);
            unless_drained(service, is_tunnel, relayed).await
        }
    };
    let complete = exchange.is_complete();
    info.times.upstream_response_end = Some(Instant::now());
    // A tunnel's request is over before its response only if it never was one: END_STREAM came with its head.
    if !(complete && (was_complete || !is_tunnel)) {
        service.stats.downstream_rq_response_before_rq_complete.inc();
    }
    record_relay_end(service, &cluster, &end, complete, info);
    let after = match end {
        // After a tunnel nothing on an HTTP/1 connection is a request any more.
        RelayEnd::Complete => after_response(closes || is_tunnel, asks_to_close && complete),
        RelayEnd::Interrupted(Interrupted::Downstream(_)) => After::Gone,
        // Nothing inside a tunnel tells its client that the time has come.
        RelayEnd::Drained => After::Close(Close::FinThenWaitForPeer),
        RelayEnd::Interrupted(Interrupted::Timer(_)) | RelayEnd::Upstream { .. } => {
            After::Close(Close::FlushThenWaitForPeer)
        }
    };
    if matches!(end, RelayEnd::Complete)
        && answer.body.is_complete()
        && complete
        && let Some(at) = exchange.completed_at()
    {
        cluster.codes.record_time(at.elapsed(), info.internal, info.alt_stat_name.as_deref());
    }
    if matches!(end, RelayEnd::Interrupted(Interrupted::Downstream(_))) {
        // What the client said before it left still goes out.
        let limit = service.options.timeouts.delayed_close;
        drop(tokio::time::timeout(limit, answer.flush()).await);
    }
    (after, let_go(end, is_tunnel, answer, down, exchange))
}

/// What follows the head that the client gets.
fn payload(kind: Kind, answer: &Answer) -> Payload {
    match kind {
        Kind::Tunnel => Payload::Raw,
        Kind::Unsuccessful => Payload::None,
        Kind::Plain | Kind::Rejected if answer.body.is_complete() => Payload::None,
        Kind::Plain | Kind::Rejected => Payload::Some,
    }
}

/// The head that the client gets: the upstream's, without what was said of its connection.
fn head(kind: Kind, answer: &mut Answer, service_time: Option<HeaderValue>) -> ResponseHead {
    let mut head = std::mem::replace(&mut answer.head, ResponseHead::new(StatusCode::OK));
    // A client that was refused may read which protocols it may ask for (RFC 9110 15.5.22).
    decorate::end_response_hop(&mut head.headers, matches!(kind, Kind::Tunnel | Kind::Rejected));
    if let Some(millis) = service_time {
        head.headers.set(names::X_ENVOY_SERVICE_TIME.clone(), millis);
    }
    if kind == Kind::Unsuccessful {
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

/// Tunnels have no end of their own: a drain ends them in its time.
async fn unless_drained(service: &Service, is_tunnel: bool, relayed: impl Future<Output = RelayEnd>) -> RelayEnd {
    if !is_tunnel {
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

/// Ends both sides in the way that the end of the payload demands. What is left of a whole response comes back.
fn let_go(end: RelayEnd, is_tunnel: bool, answer: Answer, down: Writer, exchange: &mut Exchange) -> Option<Writer> {
    match end {
        RelayEnd::Complete => {
            answer.end(exchange);
            return Some(down);
        }
        RelayEnd::Interrupted(Interrupted::Downstream(_) | Interrupted::Timer(_)) => {
            answer.end(exchange);
            down.reset(ResetReason::InternalError);
        }
        RelayEnd::Drained => {
            answer.end(exchange);
            down.reset(ResetReason::NoError);
        }
        RelayEnd::Upstream { failure, broken } => {
            // Without a cause, a tunnel was ended by its HTTP/1 upstream: the peer closed.
            answer.end_broken(broken.unwrap_or(Broken::Closed));
            down.reset(reset_for(&failure, is_tunnel));
        }
    }
    None
}

/// How the next hop back hears of an upstream's end: CONNECT_ERROR says that a tunnel's TCP connection was
/// lost (RFC 9113 8.5).
fn reset_for(failure: &Failure, is_tunnel: bool) -> ResetReason {
    let lost_tunnel = is_tunnel && *failure == Failure::Terminated;
    if lost_tunnel { ResetReason::ConnectError } else { ResetReason::InternalError }
}
