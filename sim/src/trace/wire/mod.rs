//! What two byte streams of one connection mean, in the words of their protocol.
//!
//! The trace has segments; a story has messages. [`messages`] takes both directions of a connection, as far
//! as they arrived or were sent, and names what is in them: HTTP/1 heads with their bodies, HTTP/2 frames,
//! alerts and handshakes of TLS,
//! WebSocket frames inside an upgraded connection or an extended CONNECT stream. It never fails: bytes it
//! cannot name are shown as bytes.

pub(crate) mod hpack;
mod http1;
mod http2;
mod tls;
mod websocket;

use std::ops::Range;

use finwait::net::proxy_protocol::{self, Found};

use super::Secret;
use super::conversation::Conversation;
use crate::words::size;
pub use tls::Tls;
pub(crate) use tls::{begins as begins_tls, client_hello};

/// One message within one direction of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Where it stands in its direction's byte stream.
    pub bytes: Range<usize>,
    /// What it is, in one line.
    pub text: String,
    /// What it may be summed up with, if its neighbours are of the same kind.
    pub bulk: Option<Bulk>,
    /// What it does to its exchange.
    pub meaning: Meaning,
    /// The fields of its head, HTTP/2's pseudo-fields too; the first line of HTTP/1 has an empty name.
    pub fields: Vec<(String, String)>,
}

impl Message {
    /// A message without a head.
    fn new(bytes: Range<usize>, text: String, meaning: Meaning) -> Self {
        Self { bytes, text, bulk: None, meaning, fields: Vec::new() }
    }

    /// The value of a field of its head.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(has, _)| has.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What a message does to its exchange. `stream` is HTTP/2's number; in HTTP/1 the first exchange of a connection is 1,
/// the second 2.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// The final response, or 101; `ends` if nothing more belongs to it.
    Response {
        /// The stream; the number of the request in HTTP/1.
        stream: u32,
        /// The status code.
        status: u16,
        /// Whether it is complete.
        ends: bool,
    },
    /// The head of a request.
    Request {
        /// The stream; the number of the request in HTTP/1.
        stream: u32,
        /// The request method, as it was sent.
        method: String,
        /// The path with its query.
        path: String,
        /// Whether it is complete.
        ends: bool,
    },
    /// An informational response: one of the 1xx kind, but for 101.
    Informational {
        /// The stream; the number of the request in HTTP/1.
        stream: u32,
        /// The status code.
        status: u16,
    },
    /// Payload, tunnelled bytes included.
    Data {
        /// The stream; the number of the request in HTTP/1.
        stream: u32,
        /// How many bytes.
        bytes: usize,
        /// Whether it is a WebSocket's close frame.
        is_close: bool,
        /// Whether nothing more comes in this direction.
        ends: bool,
    },
    /// The sender takes no streams above `last`.
    GoAway {
        /// The last stream it takes.
        last: u32,
        /// The error code's name.
        code: String,
    },
    /// Nothing to an exchange.
    Other,
    /// A question whether the other side is there, or the response to one.
    Ping {
        /// Whether it is a response.
        is_ack: bool,
    },
    /// A message of TLS itself.
    Tls(Tls),
    /// One stream is broken off.
    Reset {
        /// The stream; the number of the request in HTTP/1.
        stream: u32,
        /// The error code's name.
        code: String,
    },
}

/// A message that may be one of many alike: a piece of a long transfer, or a window update.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bulk {
    /// What the many are together, `DATA stream 1` for example.
    pub of: String,
    /// How much this one adds: payload bytes, or window bytes.
    pub amount: usize,
}

impl Bulk {
    /// Whether a transfer may begin with this piece. What is smaller only ever ends a transfer.
    #[must_use]
    pub fn is_large(&self) -> bool {
        const BYTES_MIN: usize = 1_024;
        self.amount >= BYTES_MIN
    }
}

/// Both directions of a connection, as messages.
#[derive(Debug, Default)]
pub struct Messages {
    /// From the side that connected.
    pub from_client: Vec<Message>,
    /// From the side that accepted.
    pub from_server: Vec<Message>,
    /// HTTP/1 requests, a broken one included.
    pub requests: usize,
    /// Final HTTP/1 responses.
    pub responses: usize,
}

/// Names what both directions of a connection carry. What is encrypted is read with the secrets that its ends have recorded.
#[must_use]
pub fn messages(conversation: &Conversation, secrets: &[Secret]) -> Messages {
    let Conversation { from_client, from_server, .. } = conversation;
    let header = proxy_header(&from_client.bytes);
    let within = header.as_ref().map_or(0, |header| header.bytes.end);
    let begins = from_client.bytes.get(within..).is_some_and(tls::begins);
    if !begins && !tls::begins(&from_server.bytes) {
        return read(&from_client.bytes, &from_server.bytes);
    }
    let mut messages = tls::read((from_client, within), from_server, secrets);
    messages.from_client.splice(0..0, header);
    messages
}

/// Whether a client's bytes begin with a PROXY header.
pub(crate) fn has_proxy_header(from_client: &[u8]) -> bool {
    proxy_header(from_client).is_some()
}

/// The PROXY header that a client's bytes begin with.
fn proxy_header(from_client: &[u8]) -> Option<Message> {
    let Found::Header { ends, length, .. } = proxy_protocol::parse(from_client) else { return None };
    let whose = ends.map_or_else(String::new, |ends| format!(" of {} to {}", ends.client, ends.server));
    Some(Message::new(0..length, format!("PROXY header{whose}"), Meaning::Other))
}

/// Names what both directions of a connection in clear text carry.
#[must_use]
pub fn read(from_client: &[u8], from_server: &[u8]) -> Messages {
    let Some(header) = proxy_header(from_client) else { return read_behind_header(from_client, from_server) };
    let start = header.bytes.end;
    let mut messages = read_behind_header(from_client.get(start..).unwrap_or_default(), from_server);
    for message in &mut messages.from_client {
        message.bytes = message.bytes.start + start..message.bytes.end + start;
    }
    messages.from_client.insert(0, header);
    messages
}

fn read_behind_header(from_client: &[u8], from_server: &[u8]) -> Messages {
    if !from_client.starts_with(http2::PREFACE) {
        return http1::read(from_client, from_server);
    }
    let mut websockets = Vec::new();
    let client = http2::read(from_client, http2::PREFACE.len(), &mut websockets);
    // A server with only HTTP/1 responds to the preface with a 400, which is no frame.
    let server = match from_server.starts_with(b"HTTP/1") {
        true => http1::read(&[], from_server).from_server,
        false => http2::read(from_server, 0, &mut websockets),
    };
    Messages { from_client: client, from_server: server, requests: 0, responses: 0 }
}

/// Text in quotes if it is text, else its size. Long text is cut.
fn excerpt(payload: &[u8]) -> String {
    const CHARS_MAX: usize = 48; // a story line stays on one screen line
    let Ok(text) = std::str::from_utf8(payload) else { return size(payload.len()) };
    if text.len() > 4 * CHARS_MAX || text.chars().any(|c| c.is_control() && c != '\n') {
        return size(payload.len());
    }
    let cut: String = text.chars().take(CHARS_MAX).collect();
    if cut.len() < text.len() { format!("{} {cut:?}...", size(text.len())) } else { format!("{cut:?}") }
}
