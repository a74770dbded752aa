//! One HTTP/2 connection from a client: streams side by side, each a task of its own.

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::stream::{self, GoAway};
use super::{ConnectionEnd, ConnectionManager, after};
use crate::access_log::{Downstream, ResponseFlag};
use crate::alarm::Alarm;
use crate::codec::http2::{ConnectionError, Incoming, Responder, ServerConnection};
use crate::codec::{Body, RequestHead};
use crate::drain::Stage;
use crate::net::Conn;

pub(super) async fn serve(
    manager: &Rc<ConnectionManager>,
    conn: Conn,
    read: BytesMut,
    downstream: Rc<Downstream>,
) -> ConnectionEnd {
    manager.stats.downstream_cx_http2_total.inc();
    manager.http2_stats.nghttp2_downstream_connections.inc();
    let _active = manager.stats.downstream_cx_http2_active.enter();
    let options = &manager.options;
    let (bytes_max, count_max) = (options.request_head_bytes_max, options.request_headers_max);
    let handshake =
        ServerConnection::handshake(conn, read.freeze(), &options.http2, bytes_max, count_max, &manager.http2_stats);
    let Ok(mut connection) = handshake.await else {
        manager.stats.downstream_cx_protocol_error.inc();
        return ConnectionEnd::Local;
    };
    let mut streams = JoinSet::new();
    let ended = run(manager, &mut connection, &mut streams, &downstream).await;
    let with_request = !streams.is_empty();
    match ended {
        Ended::InvalidMessage(details) => {
            // Envoy drops the whole connection for one malformed message, without a word: its peer sees only
            // the close, after the delay.
            refuse(manager, &downstream, details);
            streams.shutdown().await;
            let limit = manager.options.timeouts.delayed_close;
            if tokio::time::timeout(limit, connection.wait_for_peer()).await.is_err() {
                manager.stats.downstream_cx_delayed_close_timeout.inc();
            }
            ConnectionEnd::LocalWithRequest
        }
        Ended::Closed => {
            // Every stream hears of the end from its own half and writes its own line.
            while streams.join_next().await.is_some() {}
            match (connection.is_peer_gone(), with_request) {
                (true, true) => ConnectionEnd::RemoteWithRequest,
                (true, false) => ConnectionEnd::Remote,
                (false, true) => ConnectionEnd::LocalWithRequest,
                (false, false) => ConnectionEnd::Local,
            }
        }
    }
}

enum Ended {
    Closed,
    InvalidMessage(&'static str),
}

/// Whether the client has been asked to go elsewhere.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Draining {
    No,
    /// With GOAWAY of the largest id; the one with the last id follows at this instant.
    Until(Instant),
    Final,
}

impl Draining {
    async fn over(self) {
        match self {
            Self::Until(deadline) => tokio::time::sleep_until(deadline).await,
            Self::No | Self::Final => std::future::pending().await,
        }
    }
}

/// Asks the client to go elsewhere; streams that cross the request on the wire are still served.
fn ask(connection: &mut ServerConnection, drain_timeout: Duration) -> Draining {
    connection.go_away_gently();
    Draining::Until(Instant::now() + drain_timeout)
}

async fn run(
    manager: &Rc<ConnectionManager>,
    connection: &mut ServerConnection,
    streams: &mut JoinSet<()>,
    downstream: &Rc<Downstream>,
) -> Ended {
    let go_away = Rc::new(GoAway::default());
    let mut drain = manager.drain.clone();
    let mut draining = Draining::No;
    let timeouts = manager.options.timeouts;
    loop {
        let idle = if streams.is_empty() && draining == Draining::No { timeouts.idle } else { None };
        tokio::select! {
            // A stream's wish for GOAWAY first: it must be on the wire before that stream's response.
            biased;
            () = go_away.asked(), if draining == Draining::No => {
                draining = ask(connection, timeouts.drain);
            }
            accepted = connection.accept() => match accepted {
                None | Some(Err(ConnectionError::Broken(_))) => return Ended::Closed,
                Some(Ok((head, incoming, respond))) => {
                    begin(manager, streams, downstream, &go_away, (head, incoming, respond));
                }
                Some(Err(ConnectionError::HeadTooLarge { details })) => {
                    manager.http2_stats.header_overflow.inc();
                    let (mut info, _active) = manager.begin_stream(downstream);
                    manager.stats.downstream_rq_http2_total.inc();
                    info.protocol = Some(http::Version::HTTP_2);
                    info.flag(ResponseFlag::DR);
                    info.detail(details);
                    manager.end_stream(info);
                }
                Some(Err(ConnectionError::InvalidMessage { details })) => return Ended::InvalidMessage(details),
                Some(Err(ConnectionError::Protocol(_))) => {
                    manager.stats.downstream_cx_protocol_error.inc();
                    return Ended::Closed;
                }
            },
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            () = drain.reached(Stage::Draining), if draining == Draining::No => {
                manager.stats.downstream_cx_drain_close.inc();
                draining = ask(connection, timeouts.drain);
            }
            () = after(idle) => {
                manager.stats.downstream_cx_idle_timeout.inc();
                draining = ask(connection, timeouts.drain);
            }
            () = draining.over() => {
                connection.go_away_now();
                draining = Draining::Final;
            }
        }
    }
}

fn begin(
    manager: &Rc<ConnectionManager>,
    streams: &mut JoinSet<()>,
    downstream: &Rc<Downstream>,
    go_away: &Rc<GoAway>,
    (head, incoming, respond): (RequestHead, Incoming, Responder),
) {
    manager.stats.downstream_rq_http2_total.inc();
    let (manager, downstream, go_away) = (Rc::clone(manager), Rc::clone(downstream), Rc::clone(go_away));
    streams.spawn_local(async move {
        let (mut info, _active) = manager.begin_stream(&downstream);
        let responder = stream::Responder::Http2 { respond, go_away };
        // An HTTP/2 stream has nothing to say about its connection beyond GOAWAY, which it has asked for.
        stream::serve(&manager, head, Body::Http2(incoming), responder, &mut Alarm::default(), &mut info).await;
        manager.end_stream(info);
    });
}

/// The line of a stream whose head was malformed.
fn refuse(manager: &ConnectionManager, downstream: &Rc<Downstream>, details: &'static str) {
    let (mut info, _active) = manager.begin_stream(downstream);
    manager.stats.downstream_rq_http2_total.inc();
    manager.stats.downstream_rq_rx_reset.inc();
    manager.stats.downstream_cx_protocol_error.inc();
    manager.http2_stats.rx_messaging_error.inc();
    info.protocol = Some(http::Version::HTTP_2);
    info.flag(ResponseFlag::DPE);
    info.detail(details);
    manager.end_stream(info);
}
