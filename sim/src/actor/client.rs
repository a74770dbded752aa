//! A client: one connection at a time, opened when it is needed, kept as long as both sides like it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use finwait::net::{Address, Conn, ConnectOptions, Outside};
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Body;
use hyper::client::conn::http1::{self, Connection, Parts, SendRequest};
use tokio::select;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::io::HyperIo;
use super::websocket::{Incoming, WebSocket, key};
use super::{Notebook, Orders, Outcome, Said, Talk};
use crate::scenario::{self, Action, Ending, Payload, Rate, Request};

/// A client and the connection it has.
pub(crate) struct Client {
    outside: Outside,
    to: String,
    notebook: Notebook,
    link: Link,
    /// The last exchange begun, which the connection belongs to.
    current: usize,
}

/// What a client is connected with.
enum Link {
    Http(Http),
    None,
    WebSocket(WebSocket),
}

/// A connection that speaks HTTP.
struct Http {
    requests: SendRequest<Full<Bytes>>,
    abort: oneshot::Sender<()>,
    task: JoinHandle<Parts<HyperIo>>,
    peer_ended: Rc<Cell<Option<Ending>>>,
}

impl Client {
    pub(crate) fn new(outside: Outside, client: &scenario::Client, notebook: Notebook) -> Self {
        Self { outside, to: client.connect.clone(), notebook, link: Link::None, current: 0 }
    }

    /// Follows orders until there are no more, then leaves.
    pub(crate) async fn run(mut self, mut orders: Orders) {
        while let Some(order) = orders.recv().await {
            let done = self.carry_out(order.action).await;
            // Nobody waits any more only when the run is over.
            drop(order.done.send(done));
        }
    }

    async fn carry_out(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Close => self.close().await,
            Action::Closed => self.closed().await,
            Action::Fin => self.leave(Leaving::InOrder).await,
            Action::Receive { message, rate } => self.receive(&message, rate).await,
            Action::Request(request) => self.request(request).await,
            Action::Rst => self.leave(Leaving::Abruptly).await,
            Action::Send(message) => self.send(&message).await,
        }
    }

    /// Asks, and writes down the answer. An answer that does not come is a sighting too, not a broken script.
    async fn request(&mut self, request: Request) -> Result<(), String> {
        if let Link::WebSocket(_) = self.link {
            return Err("the connection is a WebSocket: leave it before the next request".into());
        }
        self.current = self.notebook.begin_exchange(request.to_string());
        let key = request.websocket.then(|| key(&*self.outside.random));
        let outcome = match self.exchange(&request, key.as_deref()).await {
            Ok(outcome) => outcome,
            Err(why) => Outcome::Failed(why),
        };
        let now = self.notebook.now();
        let upgraded = matches!(&outcome, Outcome::Answer { status: 101, .. });
        self.notebook.exchange(self.current, |exchange| {
            exchange.outcome = outcome;
            exchange.answered = Some(now);
            exchange.tunnel = key.filter(|_| upgraded).map(|key| Talk { key, ..Talk::default() });
        });
        Ok(())
    }

    async fn exchange(&mut self, request: &Request, key: Option<&str>) -> Result<Outcome, String> {
        let message = self.message(request, key)?;
        let mut http = match std::mem::replace(&mut self.link, Link::None) {
            Link::Http(http) if !http.task.is_finished() && http.requests.is_ready() => http,
            Link::Http(_) | Link::None | Link::WebSocket(_) => {
                connect(&self.outside, &self.to).await.map_err(|error| format!("cannot connect: {error}"))?
            }
        };
        let response = http.requests.send_request(message).await.map_err(|error| told(&error, &http.peer_ended))?;
        let status = response.status();
        let headers = headers(&response);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            check_accept(&response, key)?;
            drop(response);
            let parts = http.task.await.map_err(|error| error.to_string())?;
            self.link = Link::WebSocket(WebSocket::new(parts.io.conn, &parts.read_buf));
            return Ok(Outcome::Answer { status: status.as_u16(), headers, body: Vec::new() });
        }
        let body = response.into_body().collect().await.map_err(|error| told(&error, &http.peer_ended))?;
        self.link = Link::Http(http);
        Ok(Outcome::Answer { status: status.as_u16(), headers, body: body.to_bytes().to_vec() })
    }

    fn message(&self, request: &Request, key: Option<&str>) -> Result<http::Request<Full<Bytes>>, String> {
        let mut builder = http::Request::builder().method(request.method.as_str()).uri(request.path.as_str());
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let name = self.to.rsplit_once(':').map_or(self.to.as_str(), |(name, _)| name);
            builder = builder.header(HOST, name);
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
        let body = Full::from(request.body.clone().unwrap_or_default());
        builder.body(body).map_err(|error| error.to_string())
    }

    async fn send(&mut self, message: &Payload) -> Result<(), String> {
        let said = Said::from(message);
        self.websocket()?;
        let Link::WebSocket(websocket) = &mut self.link else { return Ok(()) };
        websocket.say(&said, &*self.outside.random).await.map_err(|error| format!("cannot send: {error}"))?;
        self.talk(|talk| talk.sent.push(said));
        Ok(())
    }

    async fn receive(&mut self, expected: &Payload, rate: Option<Rate>) -> Result<(), String> {
        let websocket = self.websocket()?;
        let got = match websocket.hear(rate).await.map_err(|error| error.to_string())? {
            Incoming::Said(said) => said,
            Incoming::Close => return Err(format!("expected {expected}, got a close frame")),
            Incoming::End(end) => {
                self.peer_ended(&end);
                return Err(format!("expected {expected}, got the end of the connection"));
            }
        };
        let fits = got == Said::from(expected);
        let text = format!("expected {expected}, got {got}");
        self.talk(|talk| talk.received.push(got));
        if fits { Ok(()) } else { Err(text) }
    }

    async fn close(&mut self) -> Result<(), String> {
        self.websocket()?;
        let Link::WebSocket(websocket) = &mut self.link else { return Ok(()) };
        websocket.say_close(&*self.outside.random).await.map_err(|error| format!("cannot send: {error}"))?;
        match websocket.hear(None).await.map_err(|error| error.to_string())? {
            Incoming::Close => self.leave(Leaving::InOrder).await,
            Incoming::Said(said) => Err(format!("expected a close frame, got {said}")),
            Incoming::End(end) => {
                self.peer_ended(&end);
                Err("expected a close frame, got the end of the connection".into())
            }
        }
    }

    async fn closed(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::None => Err("there is no connection".into()),
            Link::Http(http) => {
                let Http { requests: _kept, abort: _unused, task, peer_ended } = http;
                drop(task.await.map_err(|error| error.to_string())?);
                self.ended(peer_ended.get().unwrap_or(Ending::Us));
                Ok(())
            }
            Link::WebSocket(mut websocket) => loop {
                match websocket.hear(None).await.map_err(|error| error.to_string())? {
                    Incoming::Close => {}
                    Incoming::Said(said) => self.talk(|talk| talk.received.push(said)),
                    Incoming::End(end) => {
                        self.peer_ended(&end);
                        return Ok(());
                    }
                }
            },
        }
    }

    async fn leave(&mut self, how: Leaving) -> Result<(), String> {
        let conn = match std::mem::replace(&mut self.link, Link::None) {
            Link::None => return Err("there is no connection".into()),
            Link::Http(Http { requests: _kept, abort, task, .. }) => {
                let _sent = abort.send(()); // fails only if the task has ended by itself
                task.await.map_err(|error| error.to_string())?.io.conn
            }
            Link::WebSocket(websocket) => websocket.conn,
        };
        match how {
            Leaving::InOrder => drop(conn),
            Leaving::Abruptly => conn.abort(),
        }
        self.ended(Ending::Us);
        Ok(())
    }

    fn websocket(&mut self) -> Result<&mut WebSocket, String> {
        match &mut self.link {
            Link::WebSocket(websocket) => Ok(websocket),
            Link::Http(_) | Link::None => Err("there is no open WebSocket".into()),
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

    fn talk(&self, change: impl FnOnce(&mut Talk)) {
        self.notebook.exchange(self.current, |exchange| change(exchange.tunnel.get_or_insert_default()));
    }
}

enum Leaving {
    Abruptly,
    InOrder,
}

async fn connect(outside: &Outside, to: &str) -> io::Result<Http> {
    let conn = dial(outside, to).await?;
    let (io, peer_ended) = HyperIo::new(conn);
    let (requests, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
    let (abort, aborted) = oneshot::channel();
    let task = spawn_local(drive(connection, aborted));
    Ok(Http { requests, abort, task, peer_ended })
}

async fn dial(outside: &Outside, to: &str) -> io::Result<Conn> {
    let not_an_address = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{to}` is not host:port"));
    let (name, port) = to.rsplit_once(':').ok_or_else(not_an_address)?;
    let port: u16 = port.parse().map_err(|_| not_an_address())?;
    let addresses = outside.net.resolve(name).await?;
    let ip = addresses.first().ok_or(io::ErrorKind::NotFound)?;
    outside.net.connect(&Address::Socket((*ip, port).into()), &ConnectOptions::default()).await
}

/// Runs a connection until either side has enough, and gives back what it ran on.
async fn drive(mut connection: Connection<HyperIo, Full<Bytes>>, mut aborted: oneshot::Receiver<()>) -> Parts<HyperIo> {
    // The order to leave comes first: a connection that is left must not write another byte.
    select! {
        biased;
        _ = &mut aborted => {}
        // How it ended stands in the answer, or in what the socket saw.
        _ = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {}
    }
    connection.into_parts()
}

fn headers(response: &Response<Body>) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
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

fn told(error: &hyper::Error, peer_ended: &Cell<Option<Ending>>) -> String {
    match peer_ended.get() {
        Some(Ending::Fin) => format!("closed by the peer: {error}"),
        Some(Ending::Rst) => format!("reset by the peer: {error}"),
        Some(Ending::Us) | None => error.to_string(),
    }
}
