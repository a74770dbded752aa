//! One HTTP/1 connection from a client: requests in turn, then its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::lifecycle::{Lifecycle, Protocol};
use super::{ConnectionEnd, ConnectionManager};
use crate::access_log::{Downstream, ResponseFlag, StreamInfo};
use crate::codec::http1::{Close, HeadError, Incoming, Methods, NameRules, Refusal, ServerConnection, ServerOptions};
use crate::codec::{Body, RequestHead};
use crate::config::listener::ConnectionManager as ConnectionManagerOptions;
use crate::config::{Difference, Differences};
use crate::drain::ListenerDrain;
use crate::exchange::{Expired, LazyTimer, Timers};
use crate::net::Conn;
use crate::stream::{self, After, LocalReply, Persistence, Record};
use bytes::BytesMut;
use http::Version;
use tokio::time::Instant;

/// What an idle connection was woken by.
enum Woken {
    /// The client closed.
    Closed,
    /// The connection's time is up.
    Ended(Close),
    /// A request begins.
    Request,
}

pub(super) async fn serve(
    manager: &ConnectionManager,
    conn: Conn,
    read: BytesMut,
    downstream: Rc<Downstream>,
    mut lifecycle: Lifecycle,
) -> ConnectionEnd {
    manager.service.stats.downstream_cx_http1_total.inc();
    let _active = manager.service.stats.downstream_cx_http1_active.enter();
    let options = ServerOptions {
        head_bytes_max: manager.service.options.request_head_bytes_max,
        headers_max: manager.service.options.request_headers_max,
        accept_http_10: manager.service.options.http1.accept_http_10,
        methods: if manager.service.options.http1.allow_custom_methods { Methods::Tokens } else { Methods::Known },
        names: names(&manager.service.options),
        trailers: manager.service.options.http1.trailers,
        write_buffer_bytes_max: manager.service.buffer_bytes_max,
    };
    let mut connection = ServerConnection::new(conn, read, options);
    let mut timer = LazyTimer::default();
    let drain = manager.service.drain.clone();
    let mut draining = pin!(drain.begun());
    loop {
        match wait(&mut connection, &mut lifecycle, &mut timer, draining.as_mut()).await {
            Woken::Request => {}
            Woken::Closed => {
                manager.service.outside.ends.turn().await; // while the connection is still there
                return ConnectionEnd::Remote;
            }
            Woken::Ended(how) => {
                let how = when_idle(how, manager.runtime.differences());
                return close(manager, connection, how).await;
            }
        }
        lifecycle.request_begins(Protocol::Http1);
        match serve_one(manager, &mut connection, &mut lifecycle, &downstream, &mut timer).await {
            After::KeepAlive => lifecycle.is_idle(),
            After::Close(how) => return close(manager, connection, how).await,
            After::Gone => return ConnectionEnd::RemoteWithRequest,
        }
    }
}

/// How names of header fields are read and written.
fn names(options: &ConnectionManagerOptions) -> NameRules {
    NameRules { case: options.http1.name_case, underscores: options.underscores }
}

async fn wait(
    connection: &mut ServerConnection,
    lifecycle: &mut Lifecycle,
    timer: &mut LazyTimer,
    mut draining: Pin<&mut impl Future<Output = ()>>,
) -> Woken {
    loop {
        lifecycle.elapse();
        if let Some(how) = lifecycle.close() {
            return Woken::Ended(how);
        }
        tokio::select! {
            // A request first: one that has come is served, even if the server drains or time is up just now.
            biased;
            begun = connection.wait() => return match begun {
                Ok(true) => Woken::Request,
                Ok(false) | Err(_) => Woken::Closed,
            },
            () = draining.as_mut(), if lifecycle.is_unannounced() => drop(lifecycle.drain_with_server()),
            () = timer.at(lifecycle.due()) => {}
        }
    }
}

/// How a connection closes on which no request is under way. What a delayed FIN protects, a response that is still to be
/// read, is kept as well by a FIN, which means only that no other response follows.
fn when_idle(how: Close, differences: Differences) -> Close {
    match how {
        Close::FlushThenWaitForPeer if differences.has(Difference::FinWhenDrained) => Close::FinThenWaitForPeer,
        Close::Abort
        | Close::FinThenDiscard
        | Close::FinThenWaitForPeer
        | Close::Flush
        | Close::FlushThenWaitForPeer => how,
    }
}

async fn serve_one(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    lifecycle: &mut Lifecycle,
    downstream: &Rc<Downstream>,
    timer: &mut LazyTimer,
) -> After {
    let mut record = Record::begin(&manager.service, downstream);
    record.info.protocol = Some(Version::HTTP_11); // until a head has another
    manager.service.stats.downstream_rq_http1_total.inc();
    connection.count(record.info.wire.as_ref().map(|wire| Rc::clone(&wire.downstream)));
    let mut timers = Timers::new(std::mem::take(timer), &manager.service.options.timeouts, record.info.times.begin);
    let read = read_head(connection, &mut timers, &record, manager.service.options.early_logs.every).await;
    let info = &mut record.info;
    let after = match read {
        Ok((head, incoming)) => {
            manager.codec_stats.http1().dropped_headers_with_underscores.add(connection.dropped_fields().into());
            let (routes, body) = (manager.service.routes(), Body::Http1(incoming));
            let mut persistence = || persistence(lifecycle, &manager.service.drain);
            let mut responder = stream::Responder::Http1 { connection, persistence: &mut persistence };
            let mut context = stream::prepare(&manager.service, &routes, head, body, timers, &mut responder, info);
            let served = stream::serve(&mut context, responder).await;
            *timer = served.timer;
            served.after
        }
        Err(NoHead::Unreadable(error)) => without_head(manager, connection, lifecycle, error, info).await,
        Err(NoHead::Late(expired)) => {
            stream::count_expired(&manager.service, expired);
            let reply = LocalReply::too_late(expired, false);
            refuse(manager, connection, lifecycle, &reply, info).await
        }
    };
    note(downstream, &record.info);
    record.end();
    after
}

/// Reads a head; meanwhile writes a line each time that `every` has passed.
async fn read_head(
    connection: &mut ServerConnection,
    timers: &mut Timers,
    record: &Record<'_>,
    every: Option<Duration>,
) -> Result<(RequestHead, Incoming), NoHead> {
    let mut lines = LazyTimer::default();
    let mut due = every.map(|every| record.info.times.begin + every);
    loop {
        tokio::select! {
            // The head first: one that is complete is not late.
            biased;
            read = connection.read_head() => return read.map_err(NoHead::Unreadable),
            expired = timers.expired() => return Err(NoHead::Late(expired)),
            () = lines.at(due) => {
                record.write_periodic();
                due = every.map(|every| Instant::now() + every);
            }
        }
    }
}

/// What a request has shown of its connection. As in Envoy, one whose first request is malformed has no protocol.
fn note(downstream: &Downstream, info: &StreamInfo) {
    if info.flags.contains(ResponseFlag::DPE) {
        downstream.is_malformed.set(true);
    } else if downstream.protocol.get().is_none() {
        downstream.protocol.set(info.protocol);
    }
}

/// Why there is no head.
enum NoHead {
    /// It did not come in time.
    Late(Expired),
    /// What came is none, or the client went away.
    Unreadable(HeadError),
}

/// A head that is none, or did not arrive whole.
async fn without_head(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    lifecycle: &mut Lifecycle,
    error: HeadError,
    info: &mut StreamInfo,
) -> After {
    match error {
        HeadError::Lost(broken) => {
            stream::record_gone(&manager.service, info, broken);
            After::Gone
        }
        HeadError::Refused(why) => {
            if why == Refusal::Underscore {
                manager.codec_stats.http1().requests_rejected_with_underscores_in_headers.inc();
            }
            manager.service.stats.downstream_cx_protocol_error.inc();
            refuse(manager, connection, lifecycle, &LocalReply::BadMessage(why), info).await
        }
    }
}

async fn refuse(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    lifecycle: &mut Lifecycle,
    reply: &LocalReply,
    info: &mut StreamInfo,
) -> After {
    let mut persistence = || persistence(lifecycle, &manager.service.drain);
    let responder = stream::Responder::Http1 { connection, persistence: &mut persistence };
    stream::refuse_head(&manager.service, responder, reply, info).await
}

fn persistence(lifecycle: &mut Lifecycle, drain: &ListenerDrain) -> Persistence {
    if lifecycle.closes_with_response(drain) { Persistence::Close } else { Persistence::KeepAlive }
}

/// Ends the connection; waits no longer for the client than `delayed_close_timeout`, and that anew with everything it
/// takes of what is still to be written.
async fn close(manager: &ConnectionManager, mut connection: ServerConnection, how: Close) -> ConnectionEnd {
    let limit = manager.service.options.timeouts.delayed_close;
    let waits = matches!(how, Close::FinThenWaitForPeer | Close::FlushThenWaitForPeer);
    let how = if limit == Duration::ZERO && waits { Close::Flush } else { how };
    // With no delayed close at all, writing out still has a bound: a client that reads nothing is cut.
    let bound = if limit == Duration::ZERO { FLUSH_WAIT_MAX } else { limit };
    let has_left = how == Close::Abort || write_out(&mut connection, bound).await;
    if has_left && tokio::time::timeout(bound, connection.close(how)).await.is_ok() {
        return if how == Close::FlushThenWaitForPeer { ConnectionEnd::Remote } else { ConnectionEnd::Local };
    }
    manager.service.stats.downstream_cx_delayed_close_timeout.inc();
    ConnectionEnd::Local
}

/// Has everything been written? Gives up when the client has taken nothing for as long as `limit`.
async fn write_out(connection: &mut ServerConnection, limit: Duration) -> bool {
    let mut timer = LazyTimer::default();
    let mut written = connection.tx_bytes();
    let mut due = Instant::now() + limit;
    poll_fn(|cx| {
        if connection.poll_flush(cx).is_ready() {
            return Poll::Ready(true);
        }
        if connection.tx_bytes() > written {
            written = connection.tx_bytes();
            due = Instant::now() + limit;
        }
        timer.poll(cx, due).map(|()| false)
    })
    .await
}

/// How long a closing connection may take to write out what is queued where nothing else bounds it.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_gets_fin_at_once_unless_that_is_switched_off() {
        let delayed = Close::FlushThenWaitForPeer;
        let switched_off = Differences::ALL.with(Difference::FinWhenDrained, false);
        assert_eq!(when_idle(delayed, Differences::ALL), Close::FinThenWaitForPeer);
        assert_eq!(when_idle(delayed, switched_off), delayed);
        assert_eq!(when_idle(Close::Flush, Differences::ALL), Close::Flush, "before the first byte there is no drain");
    }
}
