//! One connection of a client: opened when it is needed, kept as long as both sides like it, opened again after that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use finwait::net::Outside;
use http::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming as Body;
use hyper::client::conn::http1::{self, Connection, Parts, SendRequest};
use hyper::ext::on_informational;
use tokio::io::AsyncWriteExt;
use tokio::select;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::by_hand::{ByHand, cannot_send, expect_ending};
use super::dialling::Dialling;
use super::io::{HyperConn, HyperIo, Sending};
use super::websocket::{Incoming, WebSocket, key};
use super::{Notebook, Order, Orders, Outcome, WebSocketMessage, WebSocketRecord};
use crate::scenario::{self, Action, Ending, Payload, Rate, Request, Time, WebSocketFrame};

/// A connection of a client, or the place for one.
pub(super) struct Line {
    outside: Outside,
    manner: scenario::Client,
    dialling: Rc<Dialling>,
    /// Its name in the script; none for the one that needs no name.
    name: Option<String>,
    notebook: Notebook,
    link: Link,
    /// The last exchange begun, which the connection belongs to.
    current: usize,
    /// The connection below HTTP/1, which can be half-closed while a response is waited for.
    hyper_conn: Rc<RefCell<Option<HyperConn>>>,
}

/// What a client is connected with.
enum Link {
    ByHand(ByHand),
    Http(Http),
    None,
    WebSocket(WebSocket),
}

/// An HTTP connection.
struct Http {
    requests: SendRequest<Sending>,
    abort: oneshot::Sender<()>,
    task: JoinHandle<Parts<HyperIo>>,
    peer_ended: Rc<Cell<Option<Ending>>>,
    /// How fast it is read.
    rate: Rc<Cell<Option<Rate>>>,
    hyper_conn: HyperConn,
    /// Whether it can take a request; not after our FIN.
    writable: bool,
}

impl Http {
    fn is_usable(&self) -> bool {
        self.writable && !self.task.is_finished() && self.requests.is_ready()
    }
}

impl Line {
    pub(super) fn new(
        outside: Outside,
        manner: scenario::Client,
        dialling: Rc<Dialling>,
        name: Option<String>,
        notebook: Notebook,
    ) -> Self {
        Self { outside, manner, dialling, name, notebook, link: Link::None, current: 0, hyper_conn: Rc::default() }
    }

    /// Follows orders until there are no more, then leaves.
    pub(super) async fn run(mut self, mut orders: Orders) {
        let mut waiting = VecDeque::new();
        loop {
            let order = match waiting.pop_front() {
                Some(order) => Some(order),
                None => self.next(&mut orders).await,
            };
            let Some(Order { action, done, connection }) = order else { return };
            let end = self.work(&action, &mut orders, &mut waiting).await;
            let result = match end {
                End::Done(result) => result,
                End::Interrupted => {
                    self.interrupted(&action);
                    Ok(())
                }
                End::NoOrders => return,
            };
            Order { action, done, connection }.finish(result);
        }
    }

    /// The next order. A connection on which nothing is requested too long is closed while one waits.
    async fn next(&mut self, orders: &mut Orders) -> Option<Order> {
        if let (Some(timeout), Link::Http(_)) = (self.manner.idle_timeout, &self.link) {
            // An order comes first: what is ordered in the last instant is ordered in time.
            select! {
                biased;
                order = orders.recv() => return order,
                () = sleep(timeout.0) => {}
            }
            self.notebook.note("idle for too long: fin");
            drop(self.leave(Leaving::InOrder).await); // a connection that is gone already is idle no more
        }
        orders.recv().await
    }

    /// Carries out one action, unless an order to leave interrupts it. Other orders wait.
    async fn work(&mut self, action: &Action, orders: &mut Orders, waiting: &mut VecDeque<Order>) -> End {
        let hyper_conn = Rc::clone(&self.hyper_conn);
        let mut work = std::pin::pin!(self.carry_out(action));
        loop {
            // What is done is done: an order in the same instant comes too late to interrupt it.
            select! {
                biased;
                result = &mut work => return End::Done(result),
                order = orders.recv() => match order {
                    None => return End::NoOrders,
                    Some(order) if order.action.interrupts() => {
                        waiting.push_front(order);
                        return End::Interrupted;
                    }
                    Some(order) => waiting.extend(half_close(&hyper_conn, order)),
                },
            }
        }
    }

    fn interrupted(&self, action: &Action) {
        if let Action::Request(_) = action {
            self.notebook.conclude(self.current, Outcome::Failed("closed before the response".into()));
        }
    }

    async fn carry_out(&mut self, action: &Action) -> Result<(), String> {
        if let Link::ByHand(by_hand) = &mut self.link {
            let done = by_hand.carry_out(action, &self.notebook).await;
            if by_hand.is_over() {
                self.link = Link::None;
            }
            return done;
        }
        match action {
            Action::Close => self.close().await,
            Action::Closed(expected) => expect_ending(*expected, self.closed().await?),
            Action::Connect => {
                let conn = self.dialling.dial(&self.outside).await;
                let conn = conn.map_err(|error| format!("cannot connect: {error}"))?;
                self.link = Link::ByHand(ByHand::new(conn));
                Ok(())
            }
            Action::Fin => self.leave(Leaving::InOrder).await,
            Action::HalfClose => match &mut self.link {
                Link::Http(http) => {
                    http.writable = false;
                    http.hyper_conn.half_close().map_err(cannot_send)
                }
                Link::ByHand(_) | Link::None | Link::WebSocket(_) => {
                    self.websocket()?.conn.shutdown().await.map_err(cannot_send)
                }
            },
            Action::Receive { message, rate } => self.receive(message, *rate).await,
            Action::ReceiveWebSocketFrame(frame) => {
                self.websocket()?.receive_frame(frame).await.map_err(|error| format!("expected {frame}, got: {error}"))
            }
            Action::Request(request) => self.request(request).await,
            Action::Rst => self.leave(Leaving::Abruptly).await,
            Action::Send { message, rate } => self.send(message, *rate).await,
            Action::SendWebSocketFrame(frame) => self.send_frame(frame).await,
            Action::Pause
            | Action::ReceiveFrame(_)
            | Action::ReceiveRequest(_)
            | Action::Reply(_)
            | Action::Resume
            | Action::SendFrame { .. }
            | Action::Wait(_) => Err(format!("an HTTP/1 connection cannot: {action}")),
        }
    }

    /// Sends a request, and writes down the response. A response that does not come is a sighting too, not a broken script.
    async fn request(&mut self, request: &Request) -> Result<(), String> {
        if let Link::WebSocket(_) = self.link {
            return Err("the connection is a WebSocket: close it before the next request".into());
        }
        self.current = self.notebook.begin_exchange(self.name.as_deref(), request.to_string());
        let key = request.websocket.then(|| key(&*self.outside.random));
        let outcome = match self.exchange(request, key.as_deref()).await {
            Ok(outcome) => outcome,
            Err(why) => {
                self.link = Link::None;
                Outcome::Failed(why)
            }
        };
        let upgraded = matches!(&outcome, Outcome::Response { status: 101, .. });
        self.notebook.conclude(self.current, outcome);
        self.notebook.exchange(self.current, |exchange| {
            exchange.tunnel = key.filter(|_| upgraded).map(|key| WebSocketRecord { key, ..WebSocketRecord::default() });
        });
        Ok(())
    }

    async fn exchange(&mut self, request: &Request, key: Option<&str>) -> Result<Outcome, String> {
        let message = self.message(request, key)?;
        let usable = matches!(&self.link, Link::Http(http) if http.is_usable());
        if !usable {
            // What was there is given up when there is something better, as browsers do.
            let http = connect(&self.outside, &self.dialling).await;
            let http = http.map_err(|error| format!("cannot connect: {error}"))?;
            *self.hyper_conn.borrow_mut() = Some(http.hyper_conn.clone());
            self.link = Link::Http(http);
        }
        let Link::Http(http) = &mut self.link else { return Err("there is no connection".into()) };
        http.rate.set(request.rate);
        let response =
            http.requests.send_request(message).await.map_err(|error| error_text(&error, &http.peer_ended))?;
        let status = response.status();
        let headers = headers(response.headers());
        if status == StatusCode::SWITCHING_PROTOCOLS {
            check_accept(&response, key)?;
            drop(response);
            let parts = (&mut http.task).await.map_err(|error| error.to_string())?;
            let conn = parts.io.into_conn().map_err(|error| error.to_string())?;
            self.link = Link::WebSocket(WebSocket::new(conn, &parts.read_buf));
            return Ok(Outcome::Response { status: status.as_u16(), headers, body: Vec::new() });
        }
        let body = response.into_body().collect().await.map_err(|error| error_text(&error, &http.peer_ended))?;
        let trailers = body.trailers().map(self::headers).unwrap_or_default();
        self.notebook.exchange(self.current, |exchange| exchange.trailers = trailers);
        http.rate.set(None);
        http.writable = self.hyper_conn.borrow().is_some();
        Ok(Outcome::Response { status: status.as_u16(), headers, body: body.to_bytes().to_vec() })
    }

    fn message(&self, request: &Request, key: Option<&str>) -> Result<http::Request<Sending>, String> {
        let mut builder = http::Request::builder().method(request.method.as_str()).uri(request.path.as_str());
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            builder = builder.header(HOST, self.dialling.authority.as_str());
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(key) = key {
            builder = builder
                .header(CONNECTION, "Upgrade")
                .header(UPGRADE, "websocket")
                .header(SEC_WEBSOCKET_KEY, key)
                .header(SEC_WEBSOCKET_VERSION, "13");
        }
        builder = builder.version(self.manner.protocol.version());
        let body = Sending::new(request.body.as_ref().map(Payload::to_bytes).unwrap_or_default(), request.send_rate);
        let Some(Time(wait)) = request.expect_continue else {
            return builder.body(body).map_err(|error| error.to_string());
        };
        let continues = Arc::new(Notify::new());
        let held = Arc::clone(&continues);
        // RFC 9110 section 10.1.1: a client does not wait for ever, since a server may not know the field.
        let held = Box::pin(async move { drop(timeout(wait, held.notified()).await) });
        let message = builder.header(EXPECT, "100-continue").body(body.after(held));
        let mut message = message.map_err(|error| error.to_string())?;
        on_informational(&mut message, move |response| {
            if response.status() == StatusCode::CONTINUE {
                continues.notify_one();
            }
        });
        Ok(message)
    }

    async fn send(&mut self, message: &Payload, rate: Option<Rate>) -> Result<(), String> {
        let message = WebSocketMessage::from(message);
        self.websocket()?;
        let Link::WebSocket(websocket) = &mut self.link else { return Ok(()) };
        websocket.send_message(&message, rate, &*self.outside.random).await.map_err(cannot_send)?;
        self.record(|record| record.sent.push(message));
        Ok(())
    }

    async fn send_frame(&mut self, frame: &WebSocketFrame) -> Result<(), String> {
        self.websocket()?;
        let Link::WebSocket(websocket) = &mut self.link else { return Ok(()) };
        websocket.send_frame(frame, &*self.outside.random).await.map_err(cannot_send)
    }

    async fn receive(&mut self, expected: &Payload, rate: Option<Rate>) -> Result<(), String> {
        let websocket = self.websocket()?;
        let got = match websocket.receive(rate).await.map_err(|error| error.to_string())? {
            Incoming::Message(message) => message,
            Incoming::Close => return Err(format!("expected {expected}, got a close frame")),
            Incoming::End(end) => {
                self.peer_ended(&end);
                return Err(format!("expected {expected}, got the end of the connection"));
            }
        };
        let fits = got == WebSocketMessage::from(expected);
        let text = format!("expected {expected}, got {got}");
        self.record(|record| record.received.push(got));
        if fits { Ok(()) } else { Err(text) }
    }

    async fn close(&mut self) -> Result<(), String> {
        self.websocket()?;
        let Link::WebSocket(websocket) = &mut self.link else { return Ok(()) };
        websocket.send_close(&*self.outside.random).await.map_err(cannot_send)?;
        match websocket.receive(None).await.map_err(|error| error.to_string())? {
            Incoming::Close => self.leave(Leaving::InOrder).await,
            Incoming::Message(message) => Err(format!("expected a close frame, got {message}")),
            Incoming::End(end) => {
                self.peer_ended(&end);
                Err("expected a close frame, got the end of the connection".into())
            }
        }
    }

    async fn closed(&mut self) -> Result<Ending, String> {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::None | Link::ByHand(_) => Err("there is no connection".into()),
            Link::Http(http) => {
                let Http { requests: _kept, abort: _unused, task, peer_ended, .. } = http;
                drop(task.await.map_err(|error| error.to_string())?);
                let ending = peer_ended.get().unwrap_or(Ending::Local);
                self.ended(ending);
                Ok(ending)
            }
            Link::WebSocket(mut websocket) => loop {
                match websocket.receive(None).await.map_err(|error| error.to_string())? {
                    Incoming::Close => {}
                    Incoming::Message(message) => self.record(|record| record.received.push(message)),
                    Incoming::End(end) => {
                        self.peer_ended(&end);
                        return Ok(if end.is_ok() { Ending::Fin } else { Ending::Rst });
                    }
                }
            },
        }
    }

    async fn leave(&mut self, how: Leaving) -> Result<(), String> {
        let conn = match std::mem::replace(&mut self.link, Link::None) {
            Link::None | Link::ByHand(_) => return Err("there is no connection".into()),
            Link::Http(Http { requests: _kept, abort, task, .. }) => {
                let _sent = abort.send(()); // fails only if the task has ended by itself
                let parts = task.await.map_err(|error| error.to_string())?;
                parts.io.into_conn().map_err(|error| error.to_string())?
            }
            Link::WebSocket(websocket) => websocket.conn,
        };
        match how {
            Leaving::InOrder => drop(conn),
            Leaving::Abruptly => conn.abort(),
        }
        self.ended(Ending::Local);
        Ok(())
    }

    fn websocket(&mut self) -> Result<&mut WebSocket, String> {
        match &mut self.link {
            Link::WebSocket(websocket) => Ok(websocket),
            Link::ByHand(_) | Link::Http(_) | Link::None => Err("there is no open WebSocket".into()),
        }
    }

    fn peer_ended(&mut self, end: &io::Result<()>) {
        self.link = Link::None;
        self.ended(if end.is_ok() { Ending::Fin } else { Ending::Rst });
    }

    fn ended(&self, ending: Ending) {
        let now = self.notebook.now();
        self.notebook.exchange(self.current, |exchange| exchange.ended = Some((ending, now)));
    }

    fn record(&self, change: impl FnOnce(&mut WebSocketRecord)) {
        self.notebook.exchange(self.current, |exchange| change(exchange.tunnel.get_or_insert_default()));
    }
}

/// Half-closes the connection below a request that is under way, if that is the order and there is one; else gives the
/// order back. Afterwards the place of the connection is empty, and no request goes out on it.
fn half_close(hyper_conn: &RefCell<Option<HyperConn>>, order: Order) -> Option<Order> {
    if !matches!(order.action, Action::HalfClose) {
        return Some(order);
    }
    let Some(hyper_conn) = hyper_conn.take().filter(HyperConn::is_in_use) else { return Some(order) };
    order.finish(hyper_conn.half_close().map_err(cannot_send));
    None
}

/// How an action came to its end.
enum End {
    Done(Result<(), String>),
    Interrupted,
    NoOrders,
}

enum Leaving {
    Abruptly,
    InOrder,
}

async fn connect(outside: &Outside, dialling: &Dialling) -> io::Result<Http> {
    let conn = dialling.dial(outside).await?;
    let io = HyperIo::new(conn);
    let (peer_ended, rate, hyper_conn) = (io.peer_ended(), io.rate(), io.hyper_conn());
    let (requests, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
    let (abort, aborted) = oneshot::channel();
    let task = spawn_local(drive(connection, aborted));
    Ok(Http { requests, abort, task, peer_ended, rate, hyper_conn, writable: true })
}

/// Runs a connection until either side has enough, and gives back what it ran on.
async fn drive(mut connection: Connection<HyperIo, Sending>, mut aborted: oneshot::Receiver<()>) -> Parts<HyperIo> {
    // The order to leave comes first: a connection that is left must not write another byte.
    select! {
        biased;
        _ = &mut aborted => {}
        // How it ended stands in the response, or in what the socket saw.
        _ = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {}
    }
    connection.into_parts()
}

/// Names and values, in the order received.
pub(super) fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// RFC 6455 section 4.1: a client that gets another accept value fails the connection.
fn check_accept(response: &Response<Body>, key: Option<&str>) -> Result<(), String> {
    let expected = key.map(|key| derive_accept_key(key.as_bytes()));
    let got = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(|value| value.to_str().ok());
    if expected.as_deref() == got {
        return Ok(());
    }
    Err(format!("101 with a wrong sec-websocket-accept: {}", got.unwrap_or("none")))
}

fn error_text(error: &hyper::Error, peer_ended: &Cell<Option<Ending>>) -> String {
    if let Some(tls) = crate::tls::error_within(error) {
        return format!("TLS: {tls}");
    }
    match peer_ended.get() {
        Some(Ending::Fin) => format!("closed by the peer: {error}"),
        Some(Ending::Rst) => format!("reset by the peer: {error}"),
        Some(Ending::Local) | None => error.to_string(),
    }
}
