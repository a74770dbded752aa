//! Who takes part besides the proxy: clients that follow the script, and apps that respond.
//!
//! An actor uses HTTP/1 through hyper and writes down what it saw as [`Exchange`]s and [`Delivery`]s; it never
//! judges. Its connections come through the same seam as the proxy's, so every byte of theirs is in the trace.

mod alb;
mod app;
mod by_hand;
mod client;
mod dialling;
mod http1;
mod http2;
mod io;
mod line;
mod log_entries;
mod service;
mod websocket;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Millis;
use crate::scenario::{Action, Ending, Payload};
use crate::trace::HostId;
use crate::words::size;
use crate::world::Control;

pub(crate) use alb::{Alb, AlbTls};
pub(crate) use app::App;
pub(crate) use client::Client;

/// A step that waits to be carried out.
pub(crate) struct Order {
    /// Which of the actor's connections it is for; the one it has, or its newest, if absent.
    pub(crate) connection: Option<String>,
    pub(crate) action: Action,
    /// Notified when it is done, or why it could not be.
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

impl Order {
    /// Reports that it is done, or why it is not. No receiver is left only when the run is over.
    fn finish(self, done: Result<(), String>) {
        drop(self.done.send(done));
    }
}

/// Steps for one actor: each part of the script gives one at a time.
pub(crate) type Orders = mpsc::Receiver<Order>;

/// Orders that one connection may have waiting.
const ORDERS_MAX: usize = 64;

/// What all actors of a run saw, in the order in which it began.
#[derive(Debug, Default)]
pub struct Sightings {
    /// The exchanges of clients, in the order of their requests.
    pub exchanges: Vec<Exchange>,
    /// The requests that apps received, in the order of their arrival.
    pub deliveries: Vec<Delivery>,
}

/// A request, as its client lived through it.
#[derive(Debug)]
pub struct Exchange {
    /// The client's host.
    pub host: String,
    /// Which of its connections; the one it has if absent.
    pub connection: Option<String>,
    /// What was request, in words.
    pub request: String,
    /// When, since the run began.
    pub began: Duration,
    /// How it went.
    pub outcome: Outcome,
    /// When the response was complete, or when the exchange failed.
    pub responded: Option<Duration>,
    /// How the connection ended, and when, if it has ended.
    pub ended: Option<(Ending, Duration)>,
    /// What followed the body of the response.
    pub trailers: Vec<(String, String)>,
    /// What crossed the WebSocket.
    pub tunnel: Option<WebSocketRecord>,
}

/// How a request went.
#[derive(Debug)]
pub enum Outcome {
    /// There was a response.
    Response {
        /// The status code.
        status: u16,
        /// In the order received.
        headers: Vec<(String, String)>,
        /// All of it; empty for a WebSocket.
        body: Vec<u8>,
    },
    /// Given up, with the reason.
    Failed(String),
    /// No response yet.
    Waiting,
}

/// A request, as it reached an app.
#[derive(Debug)]
pub struct Delivery {
    /// The app's host.
    pub host: String,
    /// Method and path.
    pub request: String,
    /// When the head had arrived, since the run began.
    pub at: Duration,
    /// In the order received.
    pub headers: Vec<(String, String)>,
    /// As far as it came.
    pub body: Vec<u8>,
    /// What followed the body.
    pub trailers: Vec<(String, String)>,
    /// The x-request-id the proxy gave it, which is one per request and shared by all its attempts.
    pub request_id: Option<String>,
    /// What crossed the WebSocket.
    pub tunnel: Option<WebSocketRecord>,
}

/// One side's account of a WebSocket.
#[derive(Debug, Default)]
pub struct WebSocketRecord {
    /// The client's `sec-websocket-key`, which travels from end to end.
    pub key: String,
    /// Whole messages received, in order.
    pub received: Vec<WebSocketMessage>,
    /// Whole messages sent, in order.
    pub sent: Vec<WebSocketMessage>,
}

/// A WebSocket message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WebSocketMessage {
    /// A binary message.
    Binary(Vec<u8>),
    /// A text message.
    Text(String),
}

impl WebSocketMessage {
    /// How many payload bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
        }
    }

    /// Whether there are no payload bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Binary(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

impl From<&Payload> for WebSocketMessage {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Binary(_) | Payload::Hex(_) => Self::Binary(payload.to_bytes()),
            Payload::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl fmt::Display for WebSocketMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(bytes) => f.write_str(&size(bytes.len())),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Where an actor writes down what it saw.
#[derive(Clone)]
pub(crate) struct Notebook {
    host: String,
    id: HostId,
    control: Control,
    sightings: Rc<RefCell<Sightings>>,
}

impl Notebook {
    pub(crate) fn new(host: &str, id: HostId, control: Control, sightings: &Rc<RefCell<Sightings>>) -> Self {
        Self { host: host.into(), id, control, sightings: Rc::clone(sightings) }
    }

    /// Since the run began.
    fn now(&self) -> Duration {
        self.control.now()
    }

    /// Puts a sentence into the story.
    fn note(&self, text: impl Into<String>) {
        self.control.note(self.id, text);
    }

    fn begin_exchange(&self, connection: Option<&str>, request: String) -> usize {
        let mut sightings = self.sightings.borrow_mut();
        sightings.exchanges.push(Exchange {
            host: self.host.clone(),
            connection: connection.map(str::to_owned),
            request,
            began: self.now(),
            outcome: Outcome::Waiting,
            responded: None,
            ended: None,
            trailers: Vec::new(),
            tunnel: None,
        });
        sightings.exchanges.len() - 1
    }

    fn begin_delivery(&self, request: String, headers: Vec<(String, String)>) -> usize {
        let mut sightings = self.sightings.borrow_mut();
        let request_id = headers.iter().find(|(name, _)| name == "x-request-id").map(|(_, value)| value.clone());
        let (host, at) = (self.host.clone(), self.now());
        let (body, trailers) = Default::default();
        sightings.deliveries.push(Delivery { host, request, at, headers, body, trailers, request_id, tunnel: None });
        sightings.deliveries.len() - 1
    }

    /// An exchange has come to its end.
    fn conclude(&self, number: usize, outcome: Outcome) {
        let now = self.now();
        self.exchange(number, |exchange| {
            exchange.outcome = outcome;
            exchange.responded = Some(now);
        });
    }

    /// Changes an exchange begun before.
    fn exchange(&self, number: usize, change: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.sightings.borrow_mut().exchanges.get_mut(number) {
            change(exchange);
        }
    }

    /// Changes a delivery begun before.
    fn delivery(&self, number: usize, change: impl FnOnce(&mut Delivery)) {
        if let Some(delivery) = self.sightings.borrow_mut().deliveries.get_mut(number) {
            change(delivery);
        }
    }
}

/// Whether a method may be repeated (RFC 9110 9.2.2).
pub(crate) fn is_idempotent(method: &str) -> bool {
    matches!(method, "DELETE" | "GET" | "HEAD" | "OPTIONS" | "PUT" | "TRACE")
}

/// One line: what was requested, what came of it, and when.
impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.connection.as_ref().map_or_else(String::new, |name| format!("on {name}: "));
        let mut line = format!("{on}{}: ", self.request);
        let after = self.responded.map(|at| Millis(at.saturating_sub(self.began)).to_string());
        let after = after.map_or_else(String::new, |after| format!(" after {after} ms"));
        match &self.outcome {
            Outcome::Response { status, body, .. } => {
                line = format!("{line}{status}{after}");
                match std::str::from_utf8(body) {
                    _ if body.is_empty() => {}
                    Ok(text) if text.len() <= 120 => line = format!("{line}, {text:?}"),
                    _ => line = format!("{line}, {}", size(body.len())),
                }
            }
            Outcome::Failed(why) => line = format!("{line}no response{after}: {why}"),
            Outcome::Waiting => line.push_str("no response"),
        }
        if let Some(WebSocketRecord { sent, received, .. }) = &self.tunnel {
            line = format!("{line}; sent {}, received {}", list(sent), list(received));
        }
        if let Some((ending, at)) = self.ended {
            let how = match ending {
                Ending::Fin => "closed by the peer",
                Ending::Rst => "reset by the peer",
                Ending::Local => "closed by the client",
            };
            line = format!("{line}; {how} at {} ms", Millis(at));
        }
        f.write_str(&line)
    }
}

fn list(messages: &[WebSocketMessage]) -> String {
    if messages.is_empty() {
        return "nothing".into();
    }
    messages.iter().map(WebSocketMessage::to_string).collect::<Vec<_>>().join(", ")
}
