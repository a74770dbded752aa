//! One HTTP/1 connection from a client: requests in turn, then its end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::local_reply::LocalReply;
use super::stream::{self, After};
use super::{ConnectionEnd, ConnectionManager, after};
use crate::access_log::{Downstream, StreamInfo};
use crate::alarm::Alarm;
use crate::codec::Body;
use crate::codec::http1::{Close, HeadError, ServerConnection, ServerOptions};
use crate::drain::Stage;
use crate::net::Conn;

/// What an idle connection was woken by.
enum Woken {
    /// The client closed.
    Closed,
    /// The server drains.
    Drain,
    /// `idle_timeout`.
    Idle,
    /// A request begins.
    Request,
}

pub(super) async fn serve(
    manager: &ConnectionManager,
    conn: Conn,
    read: BytesMut,
    downstream: Rc<Downstream>,
) -> ConnectionEnd {
    manager.stats.downstream_cx_http1_total.inc();
    let _active = manager.stats.downstream_cx_http1_active.enter();
    let options = ServerOptions {
        head_bytes_max: manager.options.request_head_bytes_max,
        headers_max: manager.options.request_headers_max,
        accept_http_10: manager.options.http1.accept_http_10,
        write_buffer_bytes_max: manager.buffer_bytes_max,
    };
    let mut connection = ServerConnection::new(conn, read, options);
    let mut served_any = false;
    let mut alarm = Alarm::default();
    let mut drain = manager.drain.clone();
    let mut draining = pin!(drain.reached(Stage::Draining));
    loop {
        match wait(manager, &mut connection, &mut alarm, draining.as_mut()).await {
            Woken::Request => {}
            Woken::Closed => return ConnectionEnd::Remote,
            Woken::Drain => return close(manager, connection, Close::Flush).await,
            Woken::Idle => {
                manager.stats.downstream_cx_idle_timeout.inc();
                let how = if served_any { Close::FlushThenWaitForPeer } else { Close::Flush };
                return close(manager, connection, how).await;
            }
        }
        match serve_one(manager, &mut connection, &downstream, &mut alarm).await {
            After::KeepAlive => served_any = true,
            After::Close(how) => return close(manager, connection, how).await,
            After::Gone => return ConnectionEnd::RemoteWithRequest,
        }
    }
}

async fn wait(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    alarm: &mut Alarm,
    draining: Pin<&mut impl Future<Output = ()>>,
) -> Woken {
    let deadline = manager.options.timeouts.idle.map(|limit| Instant::now() + limit);
    tokio::select! {
        // A request first: one that has come is served, even if the server drains or time is up just now.
        biased;
        begun = connection.wait() => match begun {
            Ok(true) => Woken::Request,
            Ok(false) | Err(_) => Woken::Closed,
        },
        () = draining => Woken::Drain,
        () = alarm.at(deadline) => Woken::Idle,
    }
}

async fn serve_one(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    downstream: &Rc<Downstream>,
    alarm: &mut Alarm,
) -> After {
    let (mut info, _active) = manager.begin_stream(downstream);
    manager.stats.downstream_rq_http1_total.inc();
    let read = tokio::select! {
        // The head first: one that is complete is not late.
        biased;
        read = connection.read_head() => read.map_err(Some),
        () = after(manager.options.timeouts.request_headers) => Err(None),
    };
    let after = match read {
        Ok((head, incoming)) => {
            let responder = stream::Responder::Http1(connection);
            stream::serve(manager, head, Body::Http1(incoming), responder, alarm, &mut info).await
        }
        Err(Some(error)) => refuse(manager, connection, error, &mut info).await,
        Err(None) => {
            manager.stats.downstream_rq_header_timeout.inc();
            stream::refuse_head(manager, connection, &LocalReply::RequestHeadersTimeout, &mut info).await
        }
    };
    manager.end_stream(info);
    after
}

/// A head that is none, or did not arrive whole.
async fn refuse(
    manager: &ConnectionManager,
    connection: &mut ServerConnection,
    error: HeadError,
    info: &mut StreamInfo,
) -> After {
    match error {
        HeadError::Broken(broken) => {
            stream::record_gone(manager, info, broken);
            After::Gone
        }
        HeadError::Refused(why) => {
            manager.stats.downstream_cx_protocol_error.inc();
            manager.stats.downstream_rq_rx_reset.inc();
            info.connection_termination = why.connection_details().map(Into::into);
            stream::refuse_head(manager, connection, &LocalReply::BadHead(why), info).await
        }
    }
}

/// Ends the connection; waits no longer for the client than `delayed_close_timeout`.
async fn close(manager: &ConnectionManager, connection: ServerConnection, how: Close) -> ConnectionEnd {
    let limit = manager.options.timeouts.delayed_close;
    let how = if limit == Duration::ZERO && how == Close::FlushThenWaitForPeer { Close::Flush } else { how };
    // With no delayed close at all, writing out still has a bound: a client that reads nothing is cut.
    let bound = if limit == Duration::ZERO { FLUSH_WAIT_MAX } else { limit };
    match tokio::time::timeout(bound, connection.close(how)).await {
        Ok(()) if how == Close::FlushThenWaitForPeer => ConnectionEnd::Remote,
        Ok(()) => ConnectionEnd::Local,
        Err(_elapsed) => {
            manager.stats.downstream_cx_delayed_close_timeout.inc();
            ConnectionEnd::Local
        }
    }
}

/// How long a closing connection may take to write out what is queued where nothing else bounds it.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(1);
