//! One HTTP/2 connection from a client: streams side by side, each a task of its own.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderName;
use tokio::task::JoinSet;

use super::lifecycle::{Lifecycle, LifecycleStep, Protocol};
use super::{ConnectionEnd, ConnectionManager};
use crate::access_log::{Downstream, LocalEnd, ResponseFlag};
use crate::codec::http2::{
    ConnectionError, Counting, HeadLimit, Incoming, ListLimit, MessageErrorScope, Responder, ServerConnection,
};
use crate::codec::{Body, RequestHead, ResetReason, Violation};
use crate::config::header_names::Underscores;
use crate::exchange::{LazyTimer, Timers};
use crate::net::Conn;
use crate::probe;
use crate::runtime::Runtime;
use crate::stream::{self, After, GoAway, Record};

pub(super) async fn serve(
    manager: &Rc<ConnectionManager>,
    conn: Conn,
    read: BytesMut,
    downstream: Rc<Downstream>,
    mut lifecycle: Lifecycle,
) -> ConnectionEnd {
    manager.service.stats.downstream_cx_http2_total.inc();
    manager.codec_stats.http2().nghttp2_downstream_connections.inc();
    let _active = manager.service.stats.downstream_cx_http2_active.enter();
    let options = &manager.service.options;
    let limit = ListLimit { bytes: options.request_head_bytes_max, fields: options.request_headers_max };
    let errors = MessageErrorScope::with(manager.runtime.differences());
    let counting = if manager.service.logs.shows_wire_bytes { Counting::EachStream } else { Counting::Off };
    let handshake = ServerConnection::handshake(
        conn,
        read.freeze(),
        &options.http2,
        errors,
        limit,
        manager.codec_stats.http2(),
        counting,
    );
    // Boxed: it is larger than the rest of the connection, which lives longer.
    let Ok(mut connection) = Box::pin(handshake).await else {
        manager.service.stats.downstream_cx_protocol_error.inc();
        downstream.is_malformed.set(true);
        return ConnectionEnd::Local;
    };
    downstream.protocol.set(Some(http::Version::HTTP_2));
    let mut streams = JoinSet::new();
    lifecycle.first_bytes(Protocol::Http2);
    let ended = run(manager, &mut connection, &mut lifecycle, &mut streams, &downstream).await;
    let with_request = !streams.is_empty() || ended == Ended::WithUnread;
    if let Ended::Abandoned(why) = ended {
        downstream.local_end.set(Some(why));
        drop(connection);
        while streams.join_next().await.is_some() {}
        return if with_request { ConnectionEnd::LocalWithRequest } else { ConnectionEnd::Local };
    }
    // Every stream gets the end from its own half and writes its own line.
    while streams.join_next().await.is_some() {}
    if connection.is_peer_gone() {
        manager.service.outside.ends.turn().await; // while the connection is still there
        return if with_request { ConnectionEnd::RemoteWithRequest } else { ConnectionEnd::Remote };
    }
    let is_peer_first = linger(manager, connection.wait_for_peer()).await;
    match (is_peer_first, with_request) {
        (true, true) => ConnectionEnd::RemoteWithLocalRequest,
        (false, true) => ConnectionEnd::LocalWithRequest,
        (true, false) => ConnectionEnd::Remote,
        (false, false) => ConnectionEnd::Local,
    }
}

/// Leaves the socket open until the client has closed it, though no longer than `delayed_close_timeout`, so that what
/// was sent last is not lost to a reset. Did the client close it?
async fn linger(manager: &ConnectionManager, peer_closed: impl Future<Output = ()>) -> bool {
    let limit = manager.service.options.timeouts.delayed_close;
    let closed = tokio::time::timeout(limit, peer_closed).await.is_ok();
    if !closed && !limit.is_zero() {
        manager.service.stats.downstream_cx_delayed_close_timeout.inc();
    }
    closed
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// The client is dead or attacks: nothing more is sent to it.
    Abandoned(LocalEnd),
    Closed,
    /// Closed, with a request whose head could not be read.
    WithUnread,
}

async fn run(
    manager: &Rc<ConnectionManager>,
    connection: &mut ServerConnection,
    lifecycle: &mut Lifecycle,
    streams: &mut JoinSet<Streamed>,
    downstream: &Rc<Downstream>,
) -> Ended {
    let go_away = Rc::new(GoAway::default());
    let drain = manager.service.drain.clone();
    let mut timer = LazyTimer::default();
    let mut resets = Resets::new(&manager.runtime);
    let pinger = connection.pinger();
    let mut dead =
        pin!(probe::until_dead(pinger, manager.service.options.http2.keepalive, &*manager.service.outside.random));
    loop {
        tokio::select! {
            // A stream's request for GOAWAY first: it must be on the wire before that stream's response. Streams that have
            // ended come before new ones: a client that opens them as fast as they are read would never be judged by its
            // resets.
            biased;
            () = go_away.requested(), if lifecycle.is_unannounced() => {
                let begins = if manager.service.drain.is_draining() { lifecycle.drain_with_server() } else { lifecycle.drain() };
                take(connection, begins.then_some(LifecycleStep::Notice));
            }
            Some(ended) = streams.join_next(), if !streams.is_empty() => {
                // A stream that panicked returns nothing.
                if ended.is_ok_and(|streamed| resets.note(streamed)) {
                    return too_many_resets(manager);
                }
                if streams.is_empty() {
                    lifecycle.is_idle();
                }
            }
            accepted = connection.accept() => match accepted {
                None => return Ended::Closed,
                Some(Ok(request)) => {
                    take(connection, lifecycle.request_begins(Protocol::Http2));
                    begin(manager, streams, downstream, &go_away, request);
                    if streams.is_empty() {
                        lifecycle.is_idle(); // it was refused
                    }
                }
                Some(Err(error)) => {
                    if let Some(ended) = refused(manager, downstream, error) {
                        return ended;
                    }
                }
            },
            () = drain.begun(), if lifecycle.is_unannounced() => {
                lifecycle.drain_with_server();
                take(connection, Some(LifecycleStep::Notice));
            }
            () = dead.as_mut() => {
                manager.codec_stats.http2().keepalive_timeout.inc();
                return Ended::Abandoned(LocalEnd::PingTimeout);
            }
            () = timer.at(lifecycle.due()) => take(connection, lifecycle.elapse()),
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Streamed {
    /// The client reset it before there was a response, and within [`premature_max`].
    Prematurely,
    Usually,
}

/// Streams that were opened to be reset (CVE-2023-44487): each costs its client two frames, and us a request.
#[derive(Debug)]
struct Resets {
    /// A connection is judged by this many streams, or by all if there were more.
    judged_min: u32,
    ended: u32,
    premature: u32,
}

/// Envoy's runtime key and default for [`Resets::judged_min`].
const JUDGED_STREAMS_MIN: (&str, u32) = ("overload.premature_reset_total_stream_count", 500);
/// The same for the seconds after which a stream may have been reset for a reason.
const PREMATURE_SECONDS_MAX: (&str, u32) = ("overload.premature_reset_min_stream_lifetime_seconds", 1);

impl Resets {
    fn new(runtime: &Runtime) -> Self {
        let (key, otherwise) = JUDGED_STREAMS_MIN;
        Self { judged_min: runtime.count(key).unwrap_or(otherwise), ended: 0, premature: 0 }
    }

    /// Counts a stream that has ended. Has it become too much?
    fn note(&mut self, streamed: Streamed) -> bool {
        self.ended = self.ended.saturating_add(1);
        if streamed == Streamed::Prematurely {
            self.premature = self.premature.saturating_add(1);
        }
        self.premature.saturating_mul(2) >= self.ended.max(self.judged_min)
    }
}

fn premature_max(runtime: &Runtime) -> Duration {
    let (key, otherwise) = PREMATURE_SECONDS_MAX;
    Duration::from_secs(runtime.count(key).unwrap_or(otherwise).into())
}

/// Sends what the drain sequence requires.
fn take(connection: &mut ServerConnection, turn: Option<LifecycleStep>) {
    match turn {
        None => {}
        Some(LifecycleStep::End) => connection.go_away_now(),
        Some(LifecycleStep::Notice) => connection.go_away_gently(),
    }
}

fn begin(
    manager: &Rc<ConnectionManager>,
    streams: &mut JoinSet<Streamed>,
    downstream: &Rc<Downstream>,
    go_away: &Rc<GoAway>,
    (mut head, incoming, respond): (RequestHead, Incoming, Responder),
) {
    if has_bad_name(manager, &mut head) {
        respond.reset(ResetReason::InternalError);
        return record_unread(manager, downstream, ResponseFlag::DR, Violation::Underscore);
    }
    manager.service.stats.downstream_rq_http2_total.inc();
    let (manager, downstream, go_away) = (Rc::clone(manager), Rc::clone(downstream), Rc::clone(go_away));
    // Boxed before it is given away: it has some KiB, which a spawn would copy several times.
    streams.spawn_local(Box::pin(serve_stream(manager, downstream, go_away, (head, incoming, respond))));
}

/// Serves a stream to its end.
async fn serve_stream(
    manager: Rc<ConnectionManager>,
    downstream: Rc<Downstream>,
    go_away: Rc<GoAway>,
    (head, incoming, respond): (RequestHead, Incoming, Responder),
) -> Streamed {
    let mut record = Record::begin(&manager.service, &downstream);
    if let (Some(wire), Some(counted)) = (&mut record.info.wire, respond.counted()) {
        wire.downstream = counted;
    }
    let (routes, body) = (manager.service.routes(), Body::Http2(incoming));
    let mut responder = stream::Responder::Http2 { respond, go_away };
    let timers = Timers::new(LazyTimer::default(), &manager.service.options.timeouts, record.info.times.begin);
    // The one thing that an HTTP/2 stream does to its connection is GOAWAY, which it has requested.
    let served = {
        let (service, info) = (&manager.service, &mut record.info);
        let mut context = stream::prepare(service, &routes, head, body, timers, &mut responder, info);
        stream::serve(&mut context, responder).await
    };
    let has_no_response = served.after == After::Gone && record.info.response_code.is_none();
    let premature = has_no_response && record.info.times.begin.elapsed() < premature_max(&manager.runtime);
    record.end();
    record.count_last_frames().await;
    drop(record); // writes its line now: what a slow client has not taken yet is not waited for
    if let Some(unsent) = served.unsent {
        unsent.write_out(served.timer, manager.codec_stats.http2()).await;
    }
    if premature { Streamed::Prematurely } else { Streamed::Usually }
}

/// Is the request to be refused for an underscore in a name? Takes such fields off where they are only not wanted.
fn has_bad_name(manager: &ConnectionManager, head: &mut RequestHead) -> bool {
    let rule = manager.service.options.underscores;
    let has_underscore = |name: &HeaderName| name.as_str().contains('_');
    let found = if rule == Underscores::Allowed {
        0
    } else {
        head.headers.iter().filter(|(name, _)| has_underscore(name)).count()
    };
    let stats = manager.codec_stats.http2();
    match rule {
        Underscores::Allowed => false,
        Underscores::Dropped => {
            stats.dropped_headers_with_underscores.add(u64::try_from(found).unwrap_or(u64::MAX));
            head.headers.retain(|name, _| !has_underscore(name));
            false
        }
        Underscores::Refused if found == 0 => false,
        Underscores::Refused => {
            stats.requests_rejected_with_underscores_in_headers.inc();
            true
        }
    }
}

/// A request that could not be read. How the connection ends, if it does not go on without it.
fn refused(manager: &ConnectionManager, downstream: &Rc<Downstream>, error: ConnectionError) -> Option<Ended> {
    let (stats, http2_stats) = (&manager.service.stats, manager.codec_stats.http2());
    match error {
        ConnectionError::ExchangeError(_) => Some(Ended::Closed),
        ConnectionError::HeadTooLarge(limit) => {
            match limit {
                HeadLimit::Bytes => http2_stats.header_list_size_too_large.inc(),
                HeadLimit::Fields => http2_stats.header_overflow.inc(),
            }
            record_unread(manager, downstream, ResponseFlag::DR, limit.violation());
            None
        }
        ConnectionError::Malformed(violation) => {
            record_unread(manager, downstream, ResponseFlag::DPE, violation);
            None
        }
        ConnectionError::InvalidMessage { unread } => {
            stats.downstream_cx_protocol_error.inc();
            http2_stats.rx_messaging_error.inc();
            Some(closed(manager, downstream, unread))
        }
        // The flood has counted in its own stats.
        ConnectionError::Flooded { unread } => Some(closed(manager, downstream, unread)),
        ConnectionError::Protocol { unread } => {
            stats.downstream_cx_protocol_error.inc();
            Some(closed(manager, downstream, unread))
        }
    }
}

/// The client broke a rule; `unread` is which, if it was within a request's head.
fn closed(manager: &ConnectionManager, downstream: &Rc<Downstream>, unread: Option<Violation>) -> Ended {
    downstream.is_malformed.set(true);
    let Some(violation) = unread else { return Ended::Closed };
    record_unread(manager, downstream, ResponseFlag::DPE, violation);
    Ended::WithUnread
}

fn too_many_resets(manager: &ConnectionManager) -> Ended {
    manager.service.stats.downstream_rq_too_many_premature_resets.inc();
    manager.service.stats.downstream_cx_protocol_error.inc();
    Ended::Abandoned(LocalEnd::TooManyResets)
}

/// The line of a stream whose head could not be read.
fn record_unread(manager: &ConnectionManager, downstream: &Rc<Downstream>, flag: ResponseFlag, violation: Violation) {
    let mut record = Record::begin(&manager.service, downstream);
    manager.service.stats.downstream_rq_http2_total.inc();
    manager.service.stats.downstream_rq_rx_reset.inc();
    record.info.protocol = Some(http::Version::HTTP_2);
    record.info.flag(flag);
    record.info.detail(violation);
    record.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_many_streams_reset_at_once_is_too_much() {
        let ends = |streams: &[(Streamed, u32)]| {
            let mut resets = Resets { judged_min: 500, ended: 0, premature: 0 };
            let each = streams.iter().flat_map(|(streamed, count)| (0..*count).map(|_| *streamed));
            each.map(|streamed| resets.note(streamed)).position(|too_much| too_much)
        };
        use Streamed::{Prematurely, Usually};
        assert_eq!(ends(&[(Prematurely, 1000)]), Some(249), "no need to wait for the other half of 500");
        assert_eq!(ends(&[(Usually, 1000), (Prematurely, 999)]), None);
        assert_eq!(ends(&[(Usually, 1000), (Prematurely, 1000)]), Some(1999));
    }
}
