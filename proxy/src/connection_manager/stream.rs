//! One request, top to bottom: decorate, route, forward, reply, record.

use std::future::Future;
use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::life::Life;
use super::local_reply::LocalReply;
use super::{ConnectionManager, decorate};
use crate::access_log::{ResponseFlag, StreamInfo};
use crate::alarm::Alarm;
use crate::cluster::{Cluster, Failure};
use crate::codec::http1::{Close, Informer, Refusal, ServerConnection};
use crate::codec::{Body, Broken, Payload, RequestHead, ResetReason, ResponseHead, Writer, http2, names};
use crate::config::route::{Action, Forward, Upgrade, Upgrades};
use crate::router;
use crate::stats::Held;
use crate::tunnel::{self, handshake};
use crate::upstream::relay::{RelayEnd, relay};
use crate::upstream::timers::{Expired, Timers};
use crate::upstream::{self, Answer, Ended, Exchange, Interrupted};

/// Where the response goes.
pub(super) enum Responder<'a> {
    Http1 { connection: &'a mut ServerConnection, life: &'a mut Life },
    Http2 { respond: http2::Responder, go_away: Rc<GoAway> },
}

/// A stream's wish that its HTTP/2 connection be drained.
#[derive(Default)]
pub(super) struct GoAway(Notify);

impl GoAway {
    fn ask(&self) {
        self.0.notify_one();
    }

    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn asked(&self) {
        self.0.notified().await;
    }
}

/// What becomes of an HTTP/1 connection after a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    /// It ends like this.
    Close(Close),
    /// The client has gone.
    Gone,
    /// The next request may come.
    KeepAlive,
}

/// What is to be sent to the client.
enum Reply {
    /// The upstream's answer.
    Answer(Box<Answered>),
    /// Nobody is left to reply to.
    Gone(Broken),
    /// One of our own.
    Local(LocalReply, Option<Rc<Cluster>>),
}

struct Answered {
    answer: Answer,
    cluster: Rc<Cluster>,
    kind: Kind,
    /// `x-envoy-upstream-service-time`, unless it does not apply.
    service_time: Option<HeaderValue>,
    _upgrade_active: Option<Held>,
}

/// How an answer relates to what was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// A response.
    Plain,
    /// The upgrade was refused with an error status, which passes whole.
    Rejected,
    /// An HTTP/1 upstream answered a WebSocket handshake with something that is neither: its head passes.
    Unsuccessful,
    /// The upgrade was accepted.
    Tunnel,
}

/// Serves one request. The connection's alarm, which was lent to the stream's `timers`, comes back.
pub(super) async fn serve(
    manager: &ConnectionManager,
    mut head: RequestHead,
    body: Body,
    mut timers: Timers,
    mut responder: Responder<'_>,
    info: &mut StreamInfo,
) -> (After, Alarm) {
    info.protocol = Some(head.version);
    handshake::request_from_http2(&mut head);
    let asks_to_close = decorate::asks_to_close(&head);
    let informer = responder.informer().filter(|_| manager.options.proxy_100_continue);
    if informer.is_none() && decorate::take_expect_continue(&mut head.headers) {
        responder.send_continue(manager);
    }
    if head.version == Version::HTTP_10 && head.authority.is_none() {
        head.authority = manager.default_host.clone();
    }
    timers.head_is_complete();
    let mut exchange = Exchange::new(body, timers, manager.buffer_bytes_max);
    exchange.informer = informer;
    let reply = decide(manager, &mut head, &mut exchange, info).await;
    let after = match reply {
        Reply::Answer(answered) => {
            deliver(manager, *answered, &head, &mut exchange, responder, asks_to_close, info).await
        }
        Reply::Gone(broken) => {
            record_gone(manager, info, broken);
            After::Gone
        }
        Reply::Local(reply, cluster) => {
            if let Some(cluster) = &cluster {
                cluster.codes.charge(reply.row().status, info.internal);
            }
            reply_locally(manager, &reply, &head, &mut exchange, responder, asks_to_close, info).await
        }
    };
    info.bytes_received = exchange.bytes_received;
    info.times.request_end = exchange.completed_at();
    info.request = Some(head);
    (after, exchange.timers.into_alarm())
}

/// Decides what to reply: asks the route, and the upstream if the route says so.
async fn decide(
    manager: &ConnectionManager,
    head: &mut RequestHead,
    exchange: &mut Exchange,
    info: &mut StreamInfo,
) -> Reply {
    if let Err(refusal) = decorate::check(head) {
        if matches!(refusal, LocalReply::NotAPath) {
            manager.stats.downstream_rq_non_relative_path.inc();
        }
        if matches!(refusal, LocalReply::PathWithFragment) {
            manager.stats.downstream_rq_failed_path_normalization.inc();
        }
        return Reply::Local(refusal, None);
    }
    let peer = info.downstream.peer.ip();
    decorate::request(head, &manager.options, peer, &*manager.outside.random);
    let Some((_, route)) = router::route(&manager.options.routes, head) else {
        manager.stats.rq_total.inc();
        manager.stats.no_route.inc();
        return Reply::Local(LocalReply::NoRoute, None);
    };
    if !route.name.is_empty() {
        info.route_name = Some(route.name.as_str().into());
    }
    let none = Upgrades::default();
    let upgrades = match &route.action {
        Action::Forward(to) => &to.upgrades,
        Action::Direct { .. } | Action::NoCluster { .. } => &none,
    };
    let upgrade = match upgrade_wanted(head) {
        None => None,
        Some(protocol) => match tunnel::allowed(&protocol, &manager.options.upgrades, upgrades) {
            Some(upgrade) => Some(upgrade),
            None => {
                manager.stats.downstream_rq_ws_on_non_ws_route.inc();
                return Reply::Local(LocalReply::UpgradeRefused, None);
            }
        },
    };
    manager.stats.rq_total.inc();
    match &route.action {
        Action::Direct { status, body } => {
            manager.stats.rq_direct_response.inc();
            Reply::Local(LocalReply::Direct { status: *status, body: body.clone() }, None)
        }
        Action::Forward(to) => forward(manager, head, exchange, to, upgrade, info).await,
        Action::NoCluster { status } => {
            manager.stats.no_cluster.inc();
            Reply::Local(LocalReply::NoCluster { status: *status }, None)
        }
    }
}

/// What the request asks to switch to, in lower case; `connect` for CONNECT.
fn upgrade_wanted(head: &RequestHead) -> Option<String> {
    if head.method == Method::CONNECT {
        return Some("connect".into());
    }
    head.upgrade().map(|protocol| String::from_utf8_lossy(protocol.as_bytes()).to_ascii_lowercase())
}

async fn forward(
    manager: &ConnectionManager,
    head: &mut RequestHead,
    exchange: &mut Exchange,
    to: &Forward,
    upgrade: Option<&Upgrade>,
    info: &mut StreamInfo,
) -> Reply {
    // Configuration checks that the index names a cluster.
    let Some(cluster) = manager.clusters.get(to.cluster).map(Rc::clone) else {
        return Reply::Local(LocalReply::NoRoute, None);
    };
    info.upstream_cluster = Some(Rc::clone(&cluster.name));
    let router = upgrade.and_then(|upgrade| upgrade.router).unwrap_or(manager.options.router);
    exchange.timers.set_route(to);
    info.attempts_in_response = to.attempt_count.in_response;
    let mut upgrade_active = None;
    if upgrade.is_some() {
        manager.stats.downstream_cx_upgrades_total.inc();
        upgrade_active = Some(manager.stats.downstream_cx_upgrades_active.enter());
        exchange.withhold();
    }
    if !router.suppress_envoy_headers
        && let Some(limit) = to.expected_timeout()
    {
        head.headers.set(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), manager.millis.header(limit));
    }
    let random = &*manager.outside.random;
    let answer = match upstream::forward(exchange, head, to, &cluster, random, info).await {
        Ok(answer) => answer,
        Err(ended) => return unanswered(manager, ended, exchange, cluster),
    };
    info.detail("via_upstream");
    info.upstream_protocol = Some(answer.head.version);
    info.times.upstream_response_begin = Some(Instant::now());
    exchange.timers.response_began();
    let kind = kind(&answer, head, upgrade);
    match kind {
        Kind::Tunnel => {
            exchange.release();
            exchange.timers.upgrade_accepted();
        }
        Kind::Unsuccessful => info.detail("websocket_handshake_unsuccessful"),
        Kind::Plain | Kind::Rejected => {}
    }
    let timed = exchange.is_complete() && !router.suppress_envoy_headers;
    let service_time = if timed { exchange.completed_at().map(millis_since) } else { None };
    Reply::Answer(Box::new(Answered { answer, cluster, kind, service_time, _upgrade_active: upgrade_active }))
}

fn unanswered(manager: &ConnectionManager, ended: Ended, exchange: &Exchange, cluster: Rc<Cluster>) -> Reply {
    let expired = match ended {
        Ended::Failed { failure, retried } => {
            return Reply::Local(LocalReply::Upstream { failure, retried }, Some(cluster));
        }
        Ended::Interrupted(Interrupted::Downstream(Broken::Malformed(_))) => {
            manager.stats.downstream_cx_protocol_error.inc();
            return Reply::Local(LocalReply::BadBody, None);
        }
        Ended::Interrupted(Interrupted::Downstream(broken)) => return Reply::Gone(broken),
        Ended::Interrupted(Interrupted::Timer(expired)) => expired,
    };
    let reply = LocalReply::too_late(expired, exchange.is_complete());
    count_expired(manager, expired);
    match expired {
        Expired::Global => {
            cluster.shared.stats.upstream_rq_timeout.inc();
            Reply::Local(reply, Some(cluster))
        }
        Expired::Duration | Expired::Head | Expired::Idle | Expired::Request => Reply::Local(reply, None),
    }
}

/// Counts a timer of the stream's that fired; the route's counts for its cluster.
pub(super) fn count_expired(manager: &ConnectionManager, expired: Expired) {
    let stats = &manager.stats;
    match expired {
        Expired::Duration => stats.downstream_rq_max_duration_reached.inc(),
        Expired::Global => {}
        Expired::Head => stats.downstream_rq_header_timeout.inc(),
        Expired::Idle => stats.downstream_rq_idle_timeout.inc(),
        Expired::Request => stats.downstream_rq_timeout.inc(),
    }
}

fn kind(answer: &Answer, head: &RequestHead, upgrade: Option<&Upgrade>) -> Kind {
    let Some(upgrade) = upgrade else { return Kind::Plain };
    if answer.accepts_upgrade(head) {
        return Kind::Tunnel;
    }
    let is_websocket = upgrade.protocol.eq_ignore_ascii_case("websocket");
    let from_http1 = answer.head.version != Version::HTTP_2;
    if is_websocket && from_http1 && answer.head.status < StatusCode::BAD_REQUEST {
        return Kind::Unsuccessful;
    }
    Kind::Rejected
}

fn millis_since(begun: Instant) -> HeaderValue {
    HeaderValue::from(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Passes an upstream's answer on, payload and all.
async fn deliver(
    manager: &ConnectionManager,
    answered: Answered,
    request: &RequestHead,
    exchange: &mut Exchange,
    responder: Responder<'_>,
    asks_to_close: bool,
    info: &mut StreamInfo,
) -> After {
    let Answered { mut answer, cluster, kind, service_time, _upgrade_active } = answered;
    let mut head = std::mem::replace(&mut answer.head, ResponseHead::new(StatusCode::OK));
    decorate::end_response_hop(&mut head.headers, kind == Kind::Tunnel);
    if let Some(millis) = service_time {
        head.headers.set(names::X_ENVOY_SERVICE_TIME.clone(), millis);
    }
    if kind != Kind::Unsuccessful {
        cluster.codes.charge(head.status, info.internal);
    }
    let payload = match kind {
        Kind::Tunnel => Payload::Raw,
        Kind::Unsuccessful => {
            head.headers.remove(&CONTENT_TYPE);
            head.headers.remove(&CONTENT_LENGTH);
            Payload::None
        }
        Kind::Plain | Kind::Rejected if answer.body.is_complete() => Payload::None,
        Kind::Plain | Kind::Rejected => Payload::Some,
    };
    let early = !exchange.is_complete();
    // The end of a payload without a length is the end of an HTTP/1.0 connection.
    let endless = request.version == Version::HTTP_10
        && payload == Payload::Some
        && request.method != Method::HEAD
        && !head.headers.contains(&CONTENT_LENGTH);
    let asks_to_close = asks_to_close || endless;
    let closes = kind != Kind::Tunnel && (asks_to_close || early || kind != Kind::Plain);
    let mut down = begin_response(manager, head, payload, request, responder, closes, info);
    let is_tunnel = kind == Kind::Tunnel;
    let end = match payload {
        Payload::None => flush_head(exchange, &mut answer, &mut down).await,
        Payload::Raw | Payload::Some => {
            let relayed = relay(exchange, &mut answer, &mut down, is_tunnel, &mut info.bytes_sent);
            unless_drained(manager, is_tunnel, relayed).await
        }
    };
    let complete = exchange.is_complete();
    info.times.upstream_response_end = Some(Instant::now());
    record_relay_end(manager, &cluster, &end, is_tunnel, complete, info);
    match end {
        RelayEnd::Complete => {
            let went_well = answer.body.is_complete();
            answer.end(exchange);
            drop(down);
            if went_well
                && complete
                && let Some(at) = exchange.completed_at()
            {
                cluster.codes.record_time(at.elapsed(), info.internal);
            }
            // After a tunnel nothing on an HTTP/1 connection is a request any more.
            after_response(closes || is_tunnel, asks_to_close && complete)
        }
        RelayEnd::Interrupted(Interrupted::Downstream(_)) => {
            // What the client said before it left still goes out.
            let limit = manager.options.timeouts.delayed_close;
            drop(tokio::time::timeout(limit, answer.flush()).await);
            answer.end(exchange);
            down.reset(ResetReason::InternalError);
            After::Gone
        }
        RelayEnd::Interrupted(Interrupted::Timer(_)) => {
            answer.end(exchange);
            down.reset(ResetReason::InternalError);
            After::Close(Close::FlushThenWaitForPeer)
        }
        RelayEnd::Drained => {
            answer.end(exchange);
            down.reset(ResetReason::NoError);
            After::Close(Close::FlushThenWaitForPeer)
        }
        RelayEnd::Upstream { failure, broken } => {
            match broken {
                Some(broken) => answer.end_broken(broken),
                // A tunnel that its HTTP/1 upstream ended: the peer closed.
                None => answer.end_broken(Broken::Closed),
            }
            down.reset(reset_for(&failure, is_tunnel));
            After::Close(Close::FlushThenWaitForPeer)
        }
    }
}

/// Tunnels have no end of their own: a drain ends them in its time.
async fn unless_drained(
    manager: &ConnectionManager,
    is_tunnel: bool,
    relayed: impl Future<Output = RelayEnd>,
) -> RelayEnd {
    if !is_tunnel {
        return relayed.await;
    }
    let number = manager.tunnels_begun.replace(manager.tunnels_begun.get().wrapping_add(1));
    tokio::select! {
        // What has ended by itself is not ended by the drain.
        biased;
        end = relayed => end,
        () = manager.drain.ends_tunnel(number) => RelayEnd::Drained,
    }
}

/// A response without payload: nothing is relayed, but the head must go out while the client is watched.
async fn flush_head(exchange: &mut Exchange, answer: &mut Answer, down: &mut Writer) -> RelayEnd {
    down.finish(None);
    let flushed = std::future::poll_fn(|cx| down.poll_flush(cx));
    match exchange.alongside(&mut answer.writer, flushed).await {
        Ok(Ok(())) => RelayEnd::Complete,
        Ok(Err(broken)) => RelayEnd::Interrupted(Interrupted::Downstream(broken)),
        Err(interrupted) => RelayEnd::Interrupted(interrupted),
    }
}

/// How the next hop back hears of an upstream's end: CONNECT_ERROR says that a tunnel's TCP connection was
/// lost (RFC 9113 8.5).
fn reset_for(failure: &Failure, is_tunnel: bool) -> ResetReason {
    let lost_tunnel = is_tunnel && *failure == Failure::Terminated;
    if lost_tunnel { ResetReason::ConnectError } else { ResetReason::InternalError }
}

fn after_response(closes: bool, client_asked: bool) -> After {
    match (closes, client_asked) {
        (false, _) => After::KeepAlive,
        // The client expects the end and has sent all: nothing can be lost by closing at once.
        (true, true) => After::Close(Close::Flush),
        (true, false) => After::Close(Close::FlushThenWaitForPeer),
    }
}

/// Sends one of the proxy's own responses.
async fn reply_locally(
    manager: &ConnectionManager,
    reply: &LocalReply,
    request: &RequestHead,
    exchange: &mut Exchange,
    responder: Responder<'_>,
    asks_to_close: bool,
    info: &mut StreamInfo,
) -> After {
    let row = reply.row();
    if let Some(flag) = row.flag {
        info.flag(flag);
    }
    info.detail(row.details.clone());
    let complete = exchange.is_complete();
    let closes = asks_to_close || !complete || row.closes;
    if let Responder::Http2 { go_away, .. } = &responder
        && row.closes
    {
        go_away.ask();
    }
    let (head, body) = reply.response(&row);
    let no_body = body.is_empty() || request.method == Method::HEAD;
    let payload = if no_body { Payload::None } else { Payload::Some };
    let mut down = begin_response(manager, head, payload, request, responder, closes, info);
    if !no_body {
        info.bytes_sent = body.len() as u64;
        down.write(body);
    }
    down.finish(None);
    if !complete {
        manager.stats.downstream_rq_response_before_rq_complete.inc();
        manager.stats.downstream_rq_rx_reset.inc();
    }
    match std::future::poll_fn(|cx| down.poll_flush(cx)).await {
        Ok(()) => after_response(closes, asks_to_close && complete && !row.closes),
        Err(_gone) => After::Gone,
    }
}

/// A request whose head cannot be read: the reply is sent and the connection ends.
pub(super) async fn refuse_head(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    life: &mut Life,
    reply: &LocalReply,
    info: &mut StreamInfo,
) -> After {
    let row = reply.row();
    if let Some(flag) = row.flag {
        info.flag(flag);
    }
    info.detail(row.details.clone());
    info.protocol = Some(Version::HTTP_11);
    let (head, body) = reply.response(&row);
    let request = RequestHead {
        method: Method::GET,
        scheme: None,
        authority: None,
        path: None,
        protocol: None,
        version: Version::HTTP_11,
        headers: crate::codec::Headers::default(),
    };
    if !matches!(reply, LocalReply::BadHead(Refusal::LowVersion)) {
        manager.stats.downstream_rq_response_before_rq_complete.inc();
        manager.stats.downstream_rq_rx_reset.inc();
    }
    let responder = Responder::Http1 { connection, life };
    let payload = if body.is_empty() { Payload::None } else { Payload::Some };
    let mut down = begin_response(manager, head, payload, &request, responder, true, info);
    info.bytes_sent = body.len() as u64;
    if !body.is_empty() {
        down.write(body);
    }
    down.finish(None);
    match std::future::poll_fn(|cx| down.poll_flush(cx)).await {
        Ok(()) => After::Close(Close::FlushThenWaitForPeer),
        Err(_gone) => After::Gone,
    }
}

/// Queues a response head, finished for this client's protocol, and counts it.
fn begin_response(
    manager: &ConnectionManager,
    mut head: ResponseHead,
    payload: Payload,
    request: &RequestHead,
    responder: Responder<'_>,
    closes: bool,
    info: &mut StreamInfo,
) -> Writer {
    decorate::response(&mut head, manager.server_header.clone(), manager.date.at(manager.outside.clock.wall()));
    if info.attempts_in_response {
        head.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), HeaderValue::from(info.attempts));
    }
    manager.count_response(head.status);
    info.response_code = Some(head.status.as_u16());
    info.times.response_begin = Some(Instant::now());
    let writer = match responder {
        Responder::Http1 { connection, life } => {
            // A tunnel's response says nothing of its connection, which is no longer HTTP.
            if closes || (payload != Payload::Raw && life.closes_with_response(&manager.drain)) {
                head.headers.set(CONNECTION, HeaderValue::from_static("close"));
            } else if request.version == Version::HTTP_10 && payload != Payload::Raw {
                head.headers.set(CONNECTION, HeaderValue::from_static("keep-alive"));
            }
            Writer::Http1(connection.respond(&head, payload, &request.method))
        }
        Responder::Http2 { respond, go_away } => {
            if manager.drain.is_draining() {
                go_away.ask();
            }
            handshake::response_to_http2(&mut head);
            Writer::Http2(respond.respond(&head, payload))
        }
    };
    info.response = Some(head);
    writer
}

impl Responder<'_> {
    /// Sends what comes before the final response. HTTP/2 clients get none of it: none of them has to wait for 100.
    fn informer(&self) -> Option<Informer> {
        match self {
            Self::Http1 { connection, .. } => Some(connection.informer()),
            Self::Http2 { .. } => None,
        }
    }

    fn send_continue(&mut self, manager: &ConnectionManager) {
        // HTTP/2 clients that wait for 100 send the body anyway, sooner or later (RFC 9110 10.1.1).
        if let Self::Http1 { connection, .. } = self {
            connection.send_continue();
            manager.count_response(StatusCode::CONTINUE);
        }
    }
}

/// The client went away, or what it sent is no HTTP.
pub(super) fn record_gone(manager: &ConnectionManager, info: &mut StreamInfo, broken: Broken) {
    manager.stats.downstream_rq_rx_reset.inc();
    match broken {
        Broken::Closed | Broken::ConnectionReset => {
            info.flag(ResponseFlag::DC);
            info.detail("downstream_remote_disconnect");
        }
        Broken::StreamReset(_) => {
            info.flag(ResponseFlag::DR);
            info.detail("http2.remote_reset");
        }
        Broken::Malformed(details) => {
            info.flag(ResponseFlag::DPE);
            info.detail(details);
        }
    }
}

fn record_relay_end(
    manager: &ConnectionManager,
    cluster: &Cluster,
    end: &RelayEnd,
    is_tunnel: bool,
    request_complete: bool,
    info: &mut StreamInfo,
) {
    let stats = &manager.stats;
    // A tunnel's request never ends before its response.
    if is_tunnel || !request_complete {
        stats.downstream_rq_response_before_rq_complete.inc();
    }
    match end {
        RelayEnd::Complete => {
            if !request_complete {
                stats.downstream_rq_rx_reset.inc();
            }
            stats.downstream_rq_time.record_ms(info.times.begin.elapsed());
        }
        RelayEnd::Interrupted(Interrupted::Downstream(broken)) => record_gone(manager, info, *broken),
        RelayEnd::Interrupted(Interrupted::Timer(expired)) => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            count_expired(manager, *expired);
            if *expired == Expired::Global {
                cluster.shared.stats.upstream_rq_timeout.inc();
            }
            let row = LocalReply::too_late(*expired, request_complete).row();
            if let Some(flag) = row.flag {
                info.flag(flag);
            }
            info.detail(row.details);
        }
        RelayEnd::Drained => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            info.detail("downstream_local_disconnect(drain)");
        }
        RelayEnd::Upstream { failure, .. } => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            info.flag(failure.flag());
            info.detail(failure.details("after"));
        }
    }
}
