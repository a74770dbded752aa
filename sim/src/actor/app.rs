//! A server that answers every request the same way, and every WebSocket handshake the same way.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use finwait::net::{Address, Conn, ListenOptions, Outside};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;
use tokio_tungstenite::tungstenite::protocol::frame::{Frame as TungsteniteFrame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::by_hand::{ByHand, sleep_for};
use super::http2::{Peer, Side};
use super::io::HyperIo;
use super::line::headers;
use super::{Notebook, ORDERS_MAX, Order, Orders, Said, Talk};
use crate::scenario::{self, Action, Greeting, Rate, Reply, Speech};

/// An app, with what its connections share.
pub(crate) struct App {
    outside: Outside,
    shared: Rc<Shared>,
}

struct Shared {
    manner: scenario::App,
    notebook: Notebook,
    /// Requests so far that were no upgrade.
    asked: Cell<usize>,
    /// Where the script reaches each connection, in the order in which they were accepted.
    connections: RefCell<Vec<mpsc::Sender<Order>>>,
    /// The place of the newest WebSocket among them.
    newest: Cell<Option<usize>>,
    /// Orders for connections that have not come yet.
    early: RefCell<Vec<Order>>,
}

impl App {
    pub(crate) fn new(outside: Outside, manner: &scenario::App, notebook: Notebook) -> Self {
        let (connections, newest, early) = Default::default();
        let shared = Shared { manner: manner.clone(), notebook, asked: Cell::new(0), connections, newest, early };
        Self { outside, shared: Rc::new(shared) }
    }

    /// Serves until there are no more orders, then closes everything.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub(crate) async fn run(self, mut orders: Orders) -> io::Result<()> {
        let any = std::net::Ipv4Addr::UNSPECIFIED;
        let at = Address::Socket((any, self.shared.manner.port).into());
        let mut listener = self.outside.net.listen(&at, &ListenOptions::default())?;
        let mut connections = JoinSet::new();
        loop {
            // The script comes first: what it orders happens before what arrives in the same instant.
            select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.shared.pass_on(order).await,
                    None => return Ok(()), // dropping the set closes the connections
                },
                conn = listener.accept() => {
                    let (orders, incoming) = mpsc::channel(ORDERS_MAX);
                    let number = self.shared.add(orders).await;
                    connections.spawn_local(serve(conn?, Rc::clone(&self.shared), number, incoming));
                }
            }
        }
    }
}

impl Shared {
    /// Adds a connection, and hands it the orders that were there before it. Gives its place.
    async fn add(&self, orders: mpsc::Sender<Order>) -> usize {
        let number = self.connections.borrow().len();
        self.connections.borrow_mut().push(orders);
        for order in self.early.take() {
            self.pass_on(order).await;
        }
        number
    }

    /// Hands the script's order to the connection it is for.
    async fn pass_on(&self, order: Order) {
        let wanted = order.connection.as_deref().and_then(|number| number.parse::<usize>().ok());
        let place = wanted.map_or_else(|| self.newest(), |number| number.checked_sub(1));
        let orders = place.and_then(|place| self.connections.borrow().get(place).cloned());
        let waits = wanted.is_some() || self.manner.speaks != Speech::Http1;
        match orders {
            Some(orders) => {
                if let Err(refused) = orders.send(order).await {
                    refused.0.answer(Err("the connection is closed".into()));
                }
            }
            None if waits => self.early.borrow_mut().push(order),
            None => order.answer(Err("the app has no open WebSocket".into())),
        }
    }

    /// The newest WebSocket, if one is open; else the newest open connection.
    fn newest(&self) -> Option<usize> {
        let connections = self.connections.borrow();
        let is_open = |place: &usize| connections.get(*place).is_some_and(|orders| !orders.is_closed());
        self.newest.get().filter(is_open).or_else(|| (0..connections.len()).rev().find(is_open))
    }
}

async fn serve(conn: Conn, shared: Rc<Shared>, number: usize, orders: Orders) {
    let program = shared.manner.programs.get(number).or(shared.manner.programs.last()).cloned().unwrap_or_default();
    match (&shared.manner.answer_bytes, shared.manner.speaks) {
        (Some(answer), _) => answer_bytes(conn, answer).await,
        (None, Speech::Bytes) => by_hand(conn, &shared, program, orders).await,
        (None, Speech::Http1) => serve_http1(conn, &shared, number, orders).await,
        (None, Speech::Http2) => {
            let scenario::App { reply, first, http2, .. } = shared.manner.clone();
            let side = Side::Server { reply, first: first.into() };
            Peer::new(side, http2, shared.notebook.clone()).serve(conn, program, orders).await;
        }
    }
}

async fn answer_bytes(mut conn: Conn, answer: &str) {
    // The peer's bytes are read before the answer, or closing would be a reset.
    let mut space = [0; 16 * 1024];
    if matches!(conn.read(&mut space).await, Ok(1..)) && conn.write_all(answer.as_bytes()).await.is_ok() {
        drop(conn.shutdown().await); // a peer that is gone needs no farewell
        while matches!(conn.read(&mut space).await, Ok(1..)) {}
    }
}

/// Follows its program, then the script.
async fn by_hand(conn: Conn, shared: &Shared, program: Vec<Action>, mut orders: Orders) {
    let mut bytes = ByHand::new(conn);
    for action in program {
        shared.notebook.note(action.to_string());
        if let Err(why) = bytes.carry_out(&action, &shared.notebook).await {
            shared.notebook.note(format!("its program ends: {why}"));
            return;
        }
    }
    while !bytes.is_over() {
        let Some(order) = orders.recv().await else { return };
        let mut waiting = None;
        let result = {
            let mut work = std::pin::pin!(bytes.carry_out(&order.action, &shared.notebook));
            // What is done is done: an order to leave in the same instant comes too late to interrupt it.
            select! {
                biased;
                result = &mut work => result,
                next = orders.recv() => match next {
                    Some(next) if next.action.interrupts() => {
                        waiting = Some(next);
                        Ok(())
                    }
                    Some(next) => {
                        next.answer(Err("the connection is busy with another step".into()));
                        work.await
                    }
                    None => return,
                },
            }
        };
        order.answer(result);
        if let Some(leave) = waiting {
            let left = bytes.carry_out(&leave.action, &shared.notebook).await;
            leave.answer(left);
        }
    }
}

async fn serve_http1(conn: Conn, shared: &Shared, number: usize, mut orders: Orders) {
    let (io, _) = HyperIo::new(conn);
    let accepted = Cell::new(None);
    let busy = Cell::new(Busy { requests: 0, served: 0, since: Instant::now() });
    let service = service_fn(|request| {
        let (accepted, busy) = (&accepted, &busy);
        Box::pin(async move {
            busy.set(busy.get().enter());
            let answer = answer(request, shared, accepted).await;
            busy.set(busy.get().leave());
            answer
        })
    });
    let mut connection = http1::Builder::new().half_close(true).auto_date_header(false).serve_connection(io, service);
    let idle_timeout = shared.manner.idle_timeout.map(|time| time.0);
    // The script comes first, as above. What has arrived comes before the time that has passed: a request that is there
    // is served.
    let leaving = loop {
        select! {
            biased;
            Some(order) = orders.recv() => {
                if order.action.interrupts() {
                    break Some(order);
                }
                order.answer(Err("the connection is no WebSocket: it can be told `fin` and `rst`".into()));
            }
            // A connection that fails has said so on the wire.
            () = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll_without_shutdown(cx);
                if polled.is_ready() || busy.get().is_spent(shared.manner.requests_max) {
                    return Poll::Ready(());
                }
                Poll::Pending
            }) => break None,
            () = idle(&busy, idle_timeout) => break None,
        }
    };
    let parts = connection.into_parts();
    if let Some(order) = leaving {
        if let Action::Rst = order.action {
            parts.io.conn.abort();
        } else {
            drop(parts.io.conn);
        }
        order.answer(Ok(()));
    } else if let Some(delivery) = accepted.get() {
        shared.newest.set(Some(number));
        talk(parts.io.conn, &parts.read_buf, shared, delivery, orders).await;
    }
}

/// Requests under way on a connection, and since when there are so many.
#[derive(Clone, Copy)]
struct Busy {
    requests: usize,
    /// Requests that were answered.
    served: usize,
    since: Instant,
}

impl Busy {
    fn enter(self) -> Self {
        Self { requests: self.requests + 1, since: Instant::now(), ..self }
    }

    fn leave(self) -> Self {
        Self { requests: self.requests.saturating_sub(1), served: self.served + 1, since: Instant::now() }
    }

    /// Whether it has been asked as often as it may be, and has said everything.
    fn is_spent(self, requests_max: Option<usize>) -> bool {
        requests_max.is_some_and(|max| self.requests == 0 && self.served >= max)
    }
}

/// Ends when there was no request for `timeout`; without one, never.
async fn idle(busy: &Cell<Busy>, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return pending().await };
    loop {
        let Busy { requests, since, .. } = busy.get();
        if requests == 0 && since.elapsed() >= timeout {
            return;
        }
        // A request under way may last: it is looked at again a timeout later.
        let next = if requests == 0 { since + timeout } else { Instant::now() + timeout };
        sleep_until(next).await;
    }
}

async fn answer(
    request: Request<Body>,
    shared: &Shared,
    accepted: &Cell<Option<usize>>,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let asked = format!("{} {}", request.method(), request.uri());
    let delivery = shared.notebook.begin_delivery(asked, headers(request.headers()));
    let key = text(request.headers(), SEC_WEBSOCKET_KEY.as_str()).filter(|_| request.headers().contains_key(UPGRADE));
    let reply = match (&shared.manner.websocket, key) {
        (Greeting::Echo | Greeting::Listen, Some(key)) => {
            accepted.set(Some(delivery));
            let answer = switching(&key);
            shared.notebook.delivery(delivery, |delivery| delivery.tunnel = Some(Talk { key, ..Talk::default() }));
            return Ok(answer);
        }
        (Greeting::Refuse(reply), Some(_)) => reply,
        (_, None) => {
            let asked_before = shared.asked.replace(shared.asked.get() + 1);
            shared.manner.first.get(asked_before).unwrap_or(&shared.manner.reply)
        }
    };
    // A body that breaks off is answered all the same: the app does not look at it.
    if let Ok(body) = request.into_body().collect().await {
        shared.notebook.delivery(delivery, |delivery| delivery.body = body.to_bytes().to_vec());
    }
    sleep_for(reply).await;
    Ok(response(reply))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn switching(key: &str) -> Response<Full<bytes::Bytes>> {
    let mut response = Response::new(Full::default());
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

fn response(reply: &Reply) -> Response<Full<bytes::Bytes>> {
    let mut builder = Response::builder().status(reply.status);
    for (name, value) in reply.headers.iter() {
        builder = builder.header(name, value);
    }
    builder.body(Full::from(reply.body.clone())).unwrap_or_else(|_| {
        // A status or header that is none: the scenario's author sees it at the client.
        let mut response = Response::new(Full::from("the reply of this scenario is no HTTP"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Holds a WebSocket until a side ends it.
async fn talk(conn: Conn, unread: &[u8], shared: &Shared, delivery: usize, mut orders: Orders) {
    let paced = Paced { conn, rate: shared.manner.read_rate, pause: None };
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES_MAX).write_buffer_size(0);
    let mut socket = WebSocketStream::from_partially_read(paced, unread.to_vec(), Role::Server, Some(config)).await;
    loop {
        // The script comes first, as above. It speaks to the newest WebSocket alone: the others hear only their peers.
        let incoming = select! {
            biased;
            Some(order) = orders.recv() => match obey(order, socket, shared, delivery).await {
                Some(open) => {
                    socket = open;
                    continue;
                }
                None => return,
            },
            incoming = socket.next() => incoming,
        };
        // Neither an error nor the end leaves anything to say; dropping the socket closes it.
        let Some(Ok(message)) = incoming else { return };
        let Some(said) = Said::from_message(&message) else { continue };
        shared.talked(delivery, |talk| talk.received.push(said.clone()));
        if let Greeting::Echo = shared.manner.websocket {
            if socket.send(message).await.is_err() {
                return;
            }
            shared.talked(delivery, |talk| talk.sent.push(said));
        }
    }
}

impl Shared {
    fn talked(&self, delivery: usize, change: impl FnOnce(&mut Talk)) {
        self.notebook.delivery(delivery, |delivery| change(delivery.tunnel.get_or_insert_default()));
    }
}

/// Carries out an order; gives the socket back unless the order ended it.
async fn obey(
    order: Order,
    mut socket: WebSocketStream<Paced>,
    shared: &Shared,
    delivery: usize,
) -> Option<WebSocketStream<Paced>> {
    let done = match &order.action {
        Action::Fin => {
            drop(socket);
            order.answer(Ok(()));
            return None;
        }
        Action::Rst => {
            socket.into_inner().conn.abort();
            order.answer(Ok(()));
            return None;
        }
        Action::HalfClose => socket.get_mut().conn.shutdown().await.map_err(|error| error.to_string()),
        Action::SendWebSocketFrame(frame) => {
            let header = FrameHeader {
                is_final: frame.fields.fin.unwrap_or(true),
                opcode: OpCode::from(frame.opcode.number()),
                ..FrameHeader::default()
            };
            let payload = frame.fields.payload().unwrap_or_default();
            let message = Message::Frame(TungsteniteFrame::from_payload(header, payload.into()));
            socket.send(message).await.map_err(|error| error.to_string())
        }
        Action::Send { message, rate: None } => {
            let said = Said::from(message);
            let sent = socket.send(said.to_message()).await.map_err(|error| error.to_string());
            shared.talked(delivery, |talk| talk.sent.push(said));
            sent
        }
        Action::Close
        | Action::Closed(_)
        | Action::Connect
        | Action::Pause
        | Action::Receive { .. }
        | Action::ReceiveFrame(_)
        | Action::ReceiveRequest(_)
        | Action::ReceiveWebSocketFrame(_)
        | Action::Reply(_)
        | Action::Request(_)
        | Action::Resume
        | Action::Send { rate: Some(_), .. }
        | Action::SendFrame(_)
        | Action::Wait(_) => Err("an app's WebSocket cannot be told this".into()),
    };
    order.answer(done);
    Some(socket)
}

/// One read's worth; also the step in which a slow reader reads.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A connection that is read no faster than its rate.
struct Paced {
    conn: Conn,
    rate: Option<Rate>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Paced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.conn).poll_read(cx, into))?;
        if let Some(rate) = this.rate {
            this.pause = Some(Box::pin(sleep(rate.time_for(into.filled().len() - before))));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().conn).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().conn).poll_shutdown(cx)
    }
}

impl Said {
    fn from_message(message: &Message) -> Option<Self> {
        match message {
            Message::Binary(bytes) => Some(Self::Binary(bytes.to_vec())),
            Message::Text(text) => Some(Self::Text(text.as_str().to_owned())),
            Message::Close(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => None,
        }
    }

    fn to_message(&self) -> Message {
        match self {
            Self::Binary(bytes) => Message::binary(bytes.clone()),
            Self::Text(text) => Message::text(text.as_str()),
        }
    }
}
