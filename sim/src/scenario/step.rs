//! Everything a script can say: `wait: 2s`, or an actor's name and what it does.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::Ordered;
use super::units::{Rate, Size, Time};

/// One line of a script. A step begins when the one before it has ended.
#[derive(Clone, Debug)]
pub enum Step {
    /// An actor does something.
    Do {
        /// The host it lives on.
        host: String,
        /// What it does.
        action: Action,
    },
    /// Virtual time passes.
    Wait(Time),
}

/// What an actor can be told to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ends a WebSocket politely: a close frame, the peer's close frame, then FIN.
    Close,
    /// Waits until the peer has closed the connection.
    Closed,
    /// Closes the connection.
    Fin,
    /// Waits for exactly this from a WebSocket.
    Receive {
        /// What.
        message: Payload,
        /// How fast it is read; as fast as it comes if absent.
        rate: Option<Rate>,
    },
    /// Asks for something and waits for the answer.
    Request(Request),
    /// Aborts the connection.
    Rst,
    /// Sends one message over a WebSocket.
    Send(Payload),
}

/// A message of a WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// A binary message of this many bytes, which count upwards.
    Binary(Size),
    /// A text message.
    Text(String),
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, ...
    pub method: String,
    /// With the query.
    pub path: String,
    /// Sent after `host`, in this order.
    pub headers: Vec<(String, String)>,
    /// Sent with its content-length, if there is one.
    pub body: Option<String>,
    /// Whether it asks for a WebSocket.
    pub websocket: bool,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.websocket {
            true => write!(f, "websocket {}", self.path),
            false => write!(f, "{} {}", self.method, self.path),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Do { action, .. } => write!(f, "{action}"),
            Self::Wait(time) => write!(f, "wait {time}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close => f.write_str("close"),
            Self::Closed => f.write_str("wait until the peer has closed"),
            Self::Fin => f.write_str("fin"),
            Self::Receive { message, rate: None } => write!(f, "receive {message}"),
            Self::Receive { message, rate: Some(rate) } => write!(f, "receive {message} at {rate}"),
            Self::Request(request) => write!(f, "{request}"),
            Self::Rst => f.write_str("rst"),
            Self::Send(message) => write!(f, "send {message}"),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(size) => write!(f, "{size}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OneKey)
    }
}

struct OneKey;

impl<'de> Visitor<'de> for OneKey {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step such as `wait: 2s` or `client: GET /`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Step, A::Error> {
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::custom("an empty step"));
        };
        let step = match key.as_str() {
            "wait" => Step::Wait(map.next_value()?),
            _ => Step::Do { host: key, action: map.next_value()? },
        };
        match map.next_key::<String>()? {
            None => Ok(step),
            Some(second) => Err(A::Error::custom(format!("`{second}` needs a step of its own"))),
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrMap)
    }
}

struct WordOrMap;

impl<'de> Visitor<'de> for WordOrMap {
    type Value = Action;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`close`, `closed`, `fin`, `rst`, a request such as `GET /`, or a map with one action")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Action, E> {
        match word {
            "close" => Ok(Action::Close),
            "closed" => Ok(Action::Closed),
            "fin" => Ok(Action::Fin),
            "rst" => Ok(Action::Rst),
            line => request(line, Fields::default()).map(Action::Request),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Action, A::Error> {
        action(Fields::deserialize(MapAccessDeserializer::new(map))?)
    }
}

/// An action as written: exactly one of the first six says what it is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    request: Option<String>,
    websocket: Option<String>,
    send: Option<String>,
    send_bytes: Option<Size>,
    receive: Option<String>,
    receive_bytes: Option<Size>,
    body: Option<String>,
    #[serde(default)]
    headers: Ordered<String>,
    rate: Option<Rate>,
}

fn action<E: Error>(mut fields: Fields) -> Result<Action, E> {
    let (request_line, websocket) = (fields.request.take(), fields.websocket.take());
    let send = one_payload(fields.send.take(), fields.send_bytes)?;
    let receive = one_payload(fields.receive.take(), fields.receive_bytes)?;
    let rate = fields.rate;
    if rate.is_some() && receive.is_none() {
        return Err(E::custom("`rate` belongs to `receive` and `receive_bytes`"));
    }
    if request_line.is_none() && websocket.is_none() && (fields.body.is_some() || !fields.headers.0.is_empty()) {
        return Err(E::custom("`headers` and `body` belong to `request` and `websocket`"));
    }
    match (request_line, websocket, send, receive) {
        (Some(line), None, None, None) => request(&line, fields).map(Action::Request),
        (None, Some(path), None, None) => Ok(Action::Request(Request {
            method: "GET".into(),
            path,
            headers: fields.headers.0,
            body: fields.body,
            websocket: true,
        })),
        (None, None, Some(message), None) => Ok(Action::Send(message)),
        (None, None, None, Some(message)) => Ok(Action::Receive { message, rate }),
        _ => Err(E::custom(
            "a step does one thing: `request`, `websocket`, `send`, `send_bytes`, `receive` or `receive_bytes`",
        )),
    }
}

fn one_payload<E: Error>(text: Option<String>, bytes: Option<Size>) -> Result<Option<Payload>, E> {
    match (text, bytes) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Payload::Text(text))),
        (None, Some(size)) => Ok(Some(Payload::Binary(size))),
        (Some(_), Some(_)) => Err(E::custom("a message is text or bytes, not both")),
    }
}

fn request<E: Error>(line: &str, fields: Fields) -> Result<Request, E> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[method, path] = words.as_slice() else {
        return Err(E::custom(format!("`{line}` is neither an action nor a request such as `GET /path`")));
    };
    if !method.chars().all(|c| c.is_ascii_uppercase()) || !path.starts_with('/') {
        return Err(E::custom(format!("`{line}` is not a request such as `GET /path`")));
    }
    Ok(Request {
        method: method.into(),
        path: path.into(),
        headers: fields.headers.0,
        body: fields.body,
        websocket: false,
    })
}
