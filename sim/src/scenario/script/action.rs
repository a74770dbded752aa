//! Everything an actor can be ordered to do.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::field_lines::FieldLines;
use super::http2_frame::Frame;
use super::payload::Payload;
use super::reply::Reply;
use super::websocket_frame::WebSocketFrame;
use crate::scenario::units::{Hex, Rate, Size, Time};

/// What an actor can be ordered to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ends a WebSocket politely: a close frame, the peer's close frame, then FIN.
    Close,
    /// Waits until the peer has closed the connection, in this way if one is given.
    Closed(Option<Ending>),
    /// Opens a connection for bytes or frames by hand.
    Connect,
    /// Closes the connection.
    Fin,
    /// Sends FIN and goes on reading.
    HalfClose,
    /// The host stops reading from its connection.
    Pause,
    /// Waits for exactly this: a WebSocket's message, or bytes.
    Receive {
        /// The message, or the bytes.
        message: Payload,
        /// How fast it is read; as fast as it comes if absent.
        rate: Option<Rate>,
    },
    /// Waits for an HTTP/2 frame like this.
    ReceiveFrame(Frame),
    /// Waits for an HTTP/1 request, which begins like this.
    ReceiveRequest(Option<String>),
    /// Waits for a WebSocket frame like this.
    ReceiveWebSocketFrame(WebSocketFrame),
    /// Responds in HTTP/1.
    Reply(Reply),
    /// Sends a request and waits for the response.
    Request(Request),
    /// The host reads from its connection again.
    Resume,
    /// Aborts the connection.
    Rst,
    /// Sends a WebSocket's message, or bytes.
    Send {
        /// The message, or the bytes.
        message: Payload,
        /// How fast; as fast as it goes if absent.
        rate: Option<Rate>,
    },
    /// Sends an HTTP/2 frame.
    SendFrame {
        /// The frame, as the script has it.
        frame: Frame,
        /// How often, one behind the other.
        times: u32,
    },
    /// Sends a WebSocket frame.
    SendWebSocketFrame(WebSocketFrame),
    /// Does nothing for a while; of an app's program.
    Wait(Time),
}

/// Frames that one step may send: they are made one by one.
const FRAMES_MAX: u32 = 1_000_000;

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, ...
    pub method: String,
    /// With the query.
    pub path: String,
    /// Sent after `host`, in this order.
    pub headers: Vec<(String, String)>,
    /// Sent after the body; HTTP/2 only.
    pub trailers: Vec<(String, String)>,
    /// Sent with its content-length, if there is one.
    pub body: Option<Payload>,
    /// It has `expect: 100-continue`, and the body waits so long for the response 100, as RFC 9110 section 10.1.1 permits.
    pub expect_continue: Option<Time>,
    /// How fast the body is sent; as fast as it goes if absent.
    pub send_rate: Option<Rate>,
    /// How fast the response is read; as fast as it comes if absent.
    pub rate: Option<Rate>,
    /// Whether it requests a WebSocket.
    pub websocket: bool,
}

/// How a connection ended, as one side saw it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The peer closed it in order.
    Fin,
    /// The peer aborted it.
    Rst,
    /// This side closed or aborted it.
    Local,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Local => "local",
        })
    }
}

impl Action {
    /// Whether it ends what the connection is doing at the moment.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        matches!(self, Self::Fin | Self::Rst)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.websocket {
            true => write!(f, "websocket {}", self.path),
            false => write!(f, "{} {}", self.method, self.path),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close => f.write_str("close"),
            Self::Closed(None) => f.write_str("wait until the peer has closed"),
            Self::Closed(Some(ending)) => write!(f, "wait until the peer has closed: {ending}"),
            Self::Connect => f.write_str("connect"),
            Self::Fin => f.write_str("fin"),
            Self::HalfClose => f.write_str("half-close"),
            Self::Pause => f.write_str("stop reading"),
            Self::Receive { message, rate: None } => write!(f, "receive {message}"),
            Self::Receive { message, rate: Some(rate) } => write!(f, "receive {message} at {rate}"),
            Self::ReceiveFrame(frame) => write!(f, "receive {frame}"),
            Self::ReceiveRequest(None) => f.write_str("receive a request"),
            Self::ReceiveRequest(Some(start)) => write!(f, "receive {start}"),
            Self::ReceiveWebSocketFrame(frame) => write!(f, "receive {frame}"),
            Self::Reply(reply) => write!(f, "reply {}", reply.status),
            Self::Request(request) => write!(f, "{request}"),
            Self::Resume => f.write_str("read again"),
            Self::Rst => f.write_str("rst"),
            Self::Send { message, rate: None } => write!(f, "send {message}"),
            Self::Send { message, rate: Some(rate) } => write!(f, "send {message} at {rate}"),
            Self::SendFrame { frame, times: 1 } => write!(f, "send {frame}"),
            Self::SendFrame { frame, times } => write!(f, "send {frame}, {times} times"),
            Self::SendWebSocketFrame(frame) => write!(f, "send {frame}"),
            Self::Wait(time) => write!(f, "wait {time}"),
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
            "closed" => Ok(Action::Closed(None)),
            "connect" => Ok(Action::Connect),
            "fin" => Ok(Action::Fin),
            "half_close" => Ok(Action::HalfClose),
            "pause" => Ok(Action::Pause),
            "receive_request" => Ok(Action::ReceiveRequest(None)),
            "resume" => Ok(Action::Resume),
            "rst" => Ok(Action::Rst),
            line => request(line, Fields::default()).map(Action::Request),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Action, A::Error> {
        action(Fields::deserialize(MapAccessDeserializer::new(map))?)
    }
}

/// An action as written: exactly one key names it; `times` and the last seven qualify it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    request: Option<String>,
    websocket: Option<String>,
    send: Option<String>,
    send_bytes: Option<Size>,
    send_hex: Option<Hex>,
    receive: Option<String>,
    receive_bytes: Option<Size>,
    receive_hex: Option<Hex>,
    receive_request: Option<String>,
    reply: Option<Reply>,
    frame: Option<Frame>,
    times: Option<u32>,
    receive_frame: Option<Frame>,
    websocket_frame: Option<WebSocketFrame>,
    receive_websocket_frame: Option<WebSocketFrame>,
    closed: Option<Ending>,
    wait: Option<Time>,
    body: Option<String>,
    body_bytes: Option<Size>,
    #[serde(default)]
    headers: FieldLines,
    #[serde(default)]
    trailers: FieldLines,
    expect_continue: Option<Time>,
    rate: Option<Rate>,
    send_rate: Option<Rate>,
}

impl Fields {
    /// Whether it has fields that only requests have.
    fn describes_a_request(&self) -> bool {
        self.body.is_some()
            || self.body_bytes.is_some()
            || !self.headers.0.is_empty()
            || !self.trailers.0.is_empty()
            || self.expect_continue.is_some()
            || self.send_rate.is_some()
    }
}

fn action<E: Error>(mut fields: Fields) -> Result<Action, E> {
    let (request_line, websocket) = (fields.request.take(), fields.websocket.take());
    let rate = fields.rate;
    let is_request = request_line.is_some() || websocket.is_some();
    let mut found = Vec::new();
    if let Some(message) = one_payload(fields.send.take(), fields.send_bytes, fields.send_hex.take())? {
        found.push(Action::Send { message, rate });
    }
    if let Some(message) = one_payload(fields.receive.take(), fields.receive_bytes, fields.receive_hex.take())? {
        found.push(Action::Receive { message, rate });
    }
    if rate.is_some() && found.is_empty() && !is_request {
        return Err(E::custom("`rate` belongs to requests, to `receive` and to `send`"));
    }
    if !is_request && fields.describes_a_request() {
        return Err(E::custom(
            "`headers`, `trailers`, `body`, `body_bytes`, `expect_continue` and `send_rate` belong to `request` and \
             `websocket`",
        ));
    }
    found.extend(fields.receive_request.take().map(|start| Action::ReceiveRequest(Some(start))));
    found.extend(fields.reply.take().map(Action::Reply));
    match (fields.frame.take(), fields.times) {
        (None, None) => {}
        (Some(_), Some(times)) if times > FRAMES_MAX => {
            return Err(E::custom(format!("`times` is a number up to {FRAMES_MAX}")));
        }
        (Some(frame), times) => found.push(Action::SendFrame { frame, times: times.unwrap_or(1) }),
        (None, Some(_)) => return Err(E::custom("`times` belongs to `frame`")),
    }
    found.extend(fields.receive_frame.take().map(Action::ReceiveFrame));
    found.extend(fields.websocket_frame.take().map(Action::SendWebSocketFrame));
    found.extend(fields.receive_websocket_frame.take().map(Action::ReceiveWebSocketFrame));
    found.extend(fields.closed.take().map(|ending| Action::Closed(Some(ending))));
    found.extend(fields.wait.take().map(Action::Wait));
    let mut found = found.into_iter();
    match (request_line, websocket, found.next(), found.next()) {
        (Some(line), None, None, _) => request(&line, fields).map(Action::Request),
        (None, Some(path), None, _) => request_of("GET", &path, true, fields).map(Action::Request),
        (None, None, Some(action), None) => Ok(action),
        _ => Err(E::custom(
            "a step does one thing: `request`, `websocket`, `send`, `send_bytes`, `receive`, `receive_bytes`, or \
             another of those in scenarios/README.md",
        )),
    }
}

fn one_payload<E: Error>(text: Option<String>, bytes: Option<Size>, hex: Option<Hex>) -> Result<Option<Payload>, E> {
    match (text, bytes, hex) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => Ok(Some(Payload::Text(text))),
        (None, Some(size), None) => Ok(Some(Payload::Binary(size))),
        (None, None, Some(Hex(bytes))) => Ok(Some(Payload::Hex(bytes))),
        _ => Err(E::custom("a message is text, bytes or hex, only one of them")),
    }
}

fn request<E: Error>(line: &str, fields: Fields) -> Result<Request, E> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[method, path] = words.as_slice() else {
        return Err(E::custom(format!(
            "`{line}` is not a request such as `GET /path`, nor an action: known here are close, closed, connect, fin, \
             half_close, pause, receive_request, resume, rst"
        )));
    };
    if !method.chars().all(|c| c.is_ascii_uppercase()) || !path.starts_with('/') {
        return Err(E::custom(format!("`{line}` is not a request such as `GET /path`")));
    }
    request_of(method, path, false, fields)
}

fn request_of<E: Error>(method: &str, path: &str, websocket: bool, fields: Fields) -> Result<Request, E> {
    let Fields { headers, trailers, body, body_bytes, expect_continue, rate, send_rate, .. } = fields;
    if expect_continue.is_some() && body.is_none() && body_bytes.is_none() {
        return Err(E::custom(
            "`expect_continue` is for a request with `body` or `body_bytes`, which waits for the 100",
        ));
    }
    Ok(Request {
        method: method.into(),
        path: path.into(),
        headers: headers.0,
        trailers: trailers.0,
        body: one_payload(body, body_bytes, None)?,
        expect_continue,
        send_rate,
        rate,
        websocket,
    })
}
