//! An app's connection of HTTP/1, through hyper.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use finwait::net::Conn;
use http::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::by_hand::{cannot_send, sleep_for};
use super::super::io::{HyperIo, Progress, Sending};
use super::super::line::headers;
use super::super::{Orders, WebSocketRecord};
use super::{AppShared, websocket};
use crate::scenario::{Action, Greeting, Reply, TlsClosing};

/// Serves a connection until it ends, becomes a WebSocket that ends, or the app has had enough of it.
pub(super) async fn serve(conn: Conn, shared: &AppShared, number: usize, mut orders: Orders) {
    let io = HyperIo::new(conn);
    io.rate().set(shared.manner.read_rate);
    let wire = io.hyper_conn();
    let accepted = Cell::new(None);
    let busy = Busy { requests: Cell::default(), since: Cell::new(Instant::now()), progress: io.progress() };
    let service = service_fn(|request| {
        let (accepted, busy) = (&accepted, &busy);
        Box::pin(async move {
            busy.enter();
            let mut response = respond(request, shared, accepted).await;
            *response.version_mut() = shared.manner.protocol.version();
            Ok::<_, Infallible>(response.map(|body| body.counted(&busy.progress)))
        })
    });
    let mut connection = http1::Builder::new().half_close(true).auto_date_header(false).serve_connection(io, service);
    let idle_timeout = shared.manner.idle_timeout.map(|time| time.0);
    let requests_max = shared.manner.protocol.requests_max().or(shared.manner.requests_max);
    // The script comes first, as above. What has arrived comes before the time that has passed: a request that is there
    // is served.
    let leaving = loop {
        select! {
            biased;
            Some(order) = orders.recv() => {
                if order.action.interrupts() {
                    break Some(order);
                }
                let half_closes = matches!(order.action, Action::HalfClose);
                let done = if half_closes { wire.half_close().map_err(cannot_send) } else { Err(NO_WEBSOCKET.into()) };
                order.finish(done);
            }
            // A connection that fails has shown it on the wire.
            () = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll_without_shutdown(cx);
                if polled.is_ready() || busy.is_spent(requests_max) {
                    return Poll::Ready(());
                }
                Poll::Pending
            }) => break None,
            () = idle(&busy, idle_timeout) => break None,
        }
    };
    let parts = connection.into_parts();
    let Ok(conn) = parts.io.into_conn() else { return };
    if let Some(order) = leaving {
        if let Action::Rst = order.action {
            conn.abort();
        } else {
            drop(conn);
        }
        order.finish(Ok(()));
    } else if let Some(delivery) = accepted.get() {
        shared.newest.set(Some(number));
        websocket::serve(conn, &parts.read_buf, shared, delivery, orders).await;
    } else {
        leave(conn, shared).await;
    }
}

/// Closes a connection; one that ends by close_notify alone once the peer has closed.
async fn leave(mut conn: Conn, shared: &AppShared) {
    let waits = shared.manner.tls.as_ref().is_some_and(|tls| tls.closing == TlsClosing::CloseNotifyOnly);
    if waits && conn.shutdown().await.is_ok() {
        let mut space = [0; 16 * 1024];
        while matches!(conn.read(&mut space).await, Ok(1..)) {} // what comes now is not processed
    }
}

/// The error of an order that only a WebSocket can carry out.
const NO_WEBSOCKET: &str = "the connection is not a WebSocket: its steps are `half_close`, `fin` and `rst`";

/// The requests of a connection. One is under way until the last byte of its response has left.
struct Busy {
    requests: Cell<usize>,
    /// When the last one came.
    since: Cell<Instant>,
    progress: Rc<Progress>,
}

impl Busy {
    fn enter(&self) {
        self.requests.set(self.requests.get() + 1);
        self.since.set(Instant::now());
    }

    fn is_idle(&self) -> bool {
        self.progress.flushed() >= self.requests.get()
    }

    fn since(&self) -> Instant {
        self.since.get().max(self.progress.since())
    }

    /// Whether it has had as many requests as it may have, and has sent everything.
    fn is_spent(&self, requests_max: Option<usize>) -> bool {
        requests_max.is_some_and(|max| self.is_idle() && self.requests.get() >= max)
    }
}

/// Ends when there was no request for `timeout`; without one, never.
async fn idle(busy: &Busy, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return pending().await };
    loop {
        let since = busy.since();
        if busy.is_idle() && since.elapsed() >= timeout {
            return;
        }
        // A request under way may last: it is looked at again a timeout later.
        let next = if busy.is_idle() { since + timeout } else { Instant::now() + timeout };
        sleep_until(next).await;
    }
}

async fn respond(request: Request<Body>, shared: &AppShared, accepted: &Cell<Option<usize>>) -> Response<Sending> {
    let request_line = format!("{} {}", request.method(), request.uri());
    let delivery = shared.notebook.begin_delivery(request_line, headers(request.headers()));
    let key = text(request.headers(), SEC_WEBSOCKET_KEY.as_str()).filter(|_| request.headers().contains_key(UPGRADE));
    let service = shared.service.as_ref().and_then(|service| service.reply_to(request.uri().path()));
    let reply = match (&shared.manner.websocket, key) {
        (Greeting::Echo | Greeting::Listen, Some(key)) => {
            accepted.set(Some(delivery));
            let response = switching(&key);
            shared.notebook.delivery(delivery, |delivery| {
                delivery.tunnel = Some(WebSocketRecord { key, ..WebSocketRecord::default() })
            });
            return response;
        }
        (Greeting::Refuse(reply), Some(_)) => reply,
        (_, None) if service.is_some() => service.as_ref().unwrap_or(&shared.manner.reply),
        (_, None) => {
            let requests_before = shared.requests.replace(shared.requests.get() + 1);
            shared.manner.first.get(requests_before).unwrap_or(&shared.manner.reply)
        }
    };
    // A body that breaks off gets its response all the same: the app does not look at it.
    if shared.manner.reads_bodies
        && let Ok(body) = request.into_body().collect().await
    {
        shared.notebook.delivery(delivery, |delivery| {
            delivery.trailers = body.trailers().map(headers).unwrap_or_default();
            delivery.body = body.to_bytes().to_vec();
        });
    }
    sleep_for(reply).await;
    response(reply)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn switching(key: &str) -> Response<Sending> {
    let mut response = Response::new(Sending::new(Vec::new(), None));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = http::HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok();
    let fields = [
        (CONNECTION, Some(http::HeaderValue::from_static("Upgrade"))),
        (UPGRADE, Some(http::HeaderValue::from_static("websocket"))),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    response.headers_mut().extend(fields.into_iter().filter_map(|(name, value)| Some((name, value?))));
    response
}

fn response(reply: &Reply) -> Response<Sending> {
    let mut builder = Response::builder().status(reply.status);
    for (name, value) in reply.headers.iter() {
        builder = builder.header(name, value);
    }
    builder.body(Sending::new(reply.body.to_bytes(), reply.send_rate)).unwrap_or_else(|_| {
        // A status or header that is none: the scenario's author sees it at the client.
        let mut response = Response::new(Sending::new(b"the reply of this scenario is no HTTP".to_vec(), None));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
