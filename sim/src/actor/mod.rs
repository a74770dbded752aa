//! Who takes part besides the proxy: clients that follow the script, and apps that answer.
//!
//! An actor speaks HTTP/1 through hyper and writes down what it saw as [`Exchange`]s and [`Delivery`]s; it never
//! judges. Its connections come through the same seam as the proxy's, so every byte of theirs is in the trace.

mod app;
mod client;
mod io;
mod websocket;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::scenario::{Action, Ending, Payload};
use crate::trace::wire;

pub(crate) use app::App;
pub(crate) use client::Client;

/// A step that waits to be carried out.
pub(crate) struct Order {
    pub(crate) action: Action,
    /// Told when it is done, or why it could not be.
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

/// Steps for one actor: the script gives one at a time.
pub(crate) type Orders = mpsc::Receiver<Order>;

/// What all actors of a run saw, in the order in which it began.
#[derive(Debug, Default)]
pub struct Sightings {
    /// By clients.
    pub exchanges: Vec<Exchange>,
    /// By apps.
    pub deliveries: Vec<Delivery>,
}

/// A request, as its client lived through it.
#[derive(Debug)]
pub struct Exchange {
    /// The client's host.
    pub host: String,
    /// What was asked, in words.
    pub asked: String,
    /// When, since the run began.
    pub began: Duration,
    /// How it went.
    pub outcome: Outcome,
    /// When the answer was complete, or when hope was lost.
    pub answered: Option<Duration>,
    /// How the connection ended, and when, if it has ended.
    pub ended: Option<(Ending, Duration)>,
    /// What crossed the WebSocket.
    pub tunnel: Option<Talk>,
}

/// How a request went.
#[derive(Debug)]
pub enum Outcome {
    /// Answered.
    Answer {
        /// The status code.
        status: u16,
        /// In the order received.
        headers: Vec<(String, String)>,
        /// All of it; empty for a WebSocket.
        body: Vec<u8>,
    },
    /// Given up, with the reason.
    Failed(String),
    /// Not answered yet.
    Waiting,
}

/// A request, as it reached an app.
#[derive(Debug)]
pub struct Delivery {
    /// The app's host.
    pub host: String,
    /// Method and path.
    pub asked: String,
    /// The x-request-id the proxy gave it, which is one per request and shared by all its attempts.
    pub request_id: Option<String>,
    /// What crossed the WebSocket.
    pub tunnel: Option<Talk>,
}

/// One side's account of a WebSocket.
#[derive(Debug, Default)]
pub struct Talk {
    /// The client's `sec-websocket-key`, which travels from end to end.
    pub key: String,
    /// Whole messages received, in order.
    pub received: Vec<Said>,
    /// Whole messages sent, in order.
    pub sent: Vec<Said>,
}

/// A WebSocket message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// A binary message.
    Binary(Vec<u8>),
    /// A text message.
    Text(String),
}

impl Said {
    /// Payload bytes.
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

impl From<&Payload> for Said {
    fn from(payload: &Payload) -> Self {
        match payload {
            // A pattern whose period is no power of two, so that a block out of place shows.
            Payload::Binary(size) => Self::Binary((0..=250).cycle().take(size.0).collect()),
            Payload::Text(text) => Self::Text(text.clone()),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(bytes) => f.write_str(&wire::size(bytes.len())),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Where an actor writes down what it saw.
#[derive(Clone)]
pub(crate) struct Notebook {
    host: String,
    began: Instant,
    sightings: Rc<RefCell<Sightings>>,
}

impl Notebook {
    pub(crate) fn new(host: &str, began: Instant, sightings: &Rc<RefCell<Sightings>>) -> Self {
        Self { host: host.into(), began, sightings: Rc::clone(sightings) }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn begin_exchange(&self, asked: String) -> usize {
        let mut sightings = self.sightings.borrow_mut();
        sightings.exchanges.push(Exchange {
            host: self.host.clone(),
            asked,
            began: self.now(),
            outcome: Outcome::Waiting,
            answered: None,
            ended: None,
            tunnel: None,
        });
        sightings.exchanges.len() - 1
    }

    fn begin_delivery(&self, asked: String, request_id: Option<String>) -> usize {
        let mut sightings = self.sightings.borrow_mut();
        sightings.deliveries.push(Delivery { host: self.host.clone(), asked, request_id, tunnel: None });
        sightings.deliveries.len() - 1
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
