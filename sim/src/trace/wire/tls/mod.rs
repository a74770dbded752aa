//! TLS (RFC 8446; RFC 5246): the records of a connection, decrypted with the secrets that its ends have recorded in the trace.
//!
//! Handshakes and alerts are messages of their own; application data is read as if it had not been encrypted. The places of
//! all messages are those of the records that carry them.

mod handshake;
mod keys;
mod record;

use std::ops::Range;

use finwait::net::tls::ClientHello;

use super::{Meaning, Message, Messages};
use crate::trace::Secret;
use crate::trace::conversation::Lane;
use crate::words::size;
use handshake::{Agreed, Reader};
use keys::{LaneKeys, Protection, Side};
use record::{Kind, Record};

/// A message of TLS itself that bears on how a connection ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tls {
    /// An alert (RFC 8446 section 6).
    Alert {
        /// Whether the connection ends with it.
        fatal: bool,
        /// Its name, such as `unknown_ca`.
        name: String,
    },
    /// A certificate was shown, or none where one was wanted.
    Certificate {
        /// Its first name; none if the list is empty.
        subject: Option<String>,
    },
    /// The first message of a client.
    ClientHello {
        /// Application protocols that it offers.
        alpn: Vec<String>,
        /// The SNI; none if the message has none.
        server_name: Option<String>,
    },
    /// The server's first message.
    ServerHello {
        /// The version that it has chosen.
        version: String,
    },
}

/// The ClientHello that a byte stream begins with, if it does.
pub(crate) fn client_hello(stream: &[u8]) -> Option<ClientHello> {
    handshake::client_hello(stream)
}

/// Whether a byte stream begins as TLS does: with a handshake, or with an alert in place of one.
pub(crate) fn begins(stream: &[u8]) -> bool {
    matches!(stream, [22 | 21, 3, 0..=4, ..])
}

/// Names what both directions carry, of which at least one is TLS; that of the client from an offset on.
pub(super) fn read((from_client, start): (&Lane, usize), from_server: &Lane, secrets: &[Secret]) -> Messages {
    let client_bytes = from_client.bytes.get(start..).unwrap_or_default();
    let agreed = Agreed::of(client_bytes, &from_server.bytes);
    let decode = |lane: &Lane, start: usize, side| {
        let bytes = lane.bytes.get(start..).unwrap_or_default();
        if !begins(bytes) {
            let pieces = vec![(start..lane.bytes.len(), 0)];
            return Decoded { messages: Vec::new(), clear: bytes.to_vec(), pieces };
        }
        Decoder::new(lane, LaneKeys::new(side, agreed.as_ref(), secrets)).run(start)
    };
    let client = decode(from_client, start, Side::Client);
    let server = decode(from_server, 0, Side::Server);
    let within = super::read(&client.clear, &server.clear);
    Messages {
        from_client: client.with(within.from_client),
        from_server: server.with(within.from_server),
        requests: within.requests,
        responses: within.responses,
    }
}

/// One direction in the clear.
struct Decoded {
    /// Those of TLS itself.
    messages: Vec<Message>,
    /// The application data.
    clear: Vec<u8>,
    /// The records that carry it, and where in `clear` each begins.
    pieces: Vec<(Range<usize>, usize)>,
}

impl Decoded {
    /// With the messages of applications, each in the place of its records.
    fn with(self, of_applications: Vec<Message>) -> Vec<Message> {
        let Self { mut messages, pieces, .. } = self;
        let record = |offset: usize| {
            let nth = pieces.partition_point(|(_, begins)| *begins <= offset).checked_sub(1)?;
            pieces.get(nth).map(|(bytes, _)| bytes.clone())
        };
        for mut message in of_applications {
            let (first, last) = (record(message.bytes.start), record(message.bytes.end.saturating_sub(1)));
            if let (Some(first), Some(last)) = (first, last) {
                message.bytes = first.start..last.end;
                messages.push(message);
            }
        }
        messages.sort_by_key(|message| message.bytes.start); // stable: in one record the order stays
        messages
    }
}

struct Decoder<'a> {
    lane: &'a Lane,
    keys: LaneKeys,
    reader: Reader,
    done: Decoded,
}

impl<'a> Decoder<'a> {
    fn new(lane: &'a Lane, keys: LaneKeys) -> Self {
        let done = Decoded { messages: Vec::new(), clear: Vec::new(), pieces: Vec::new() };
        Self { lane, keys, reader: Reader::default(), done }
    }

    fn run(mut self, start: usize) -> Decoded {
        let mut at = start;
        while let Some(rest) = self.lane.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(record) = Record::first_in(rest) else {
                let text = format!("{} of an unfinished TLS record", size(rest.len()));
                self.push(at..self.lane.bytes.len(), text, Meaning::Other);
                break;
            };
            let bytes = at..at + record.bytes;
            at = bytes.end;
            self.record(&record, bytes);
        }
        self.done
    }

    fn record(&mut self, record: &Record<'_>, bytes: Range<usize>) {
        let opened = match (self.keys.protection(), record.kind) {
            (Protection::Clear, _) | (_, Kind::ChangeCipherSpec) => Some((record.kind, record.payload.to_vec())),
            (Protection::Encrypted, _) => self.keys.open(record),
        };
        let Some((kind, payload)) = opened else {
            let text = format!("TLS, {} encrypted", size(record.payload.len()));
            return self.push(bytes, text, Meaning::Other);
        };
        match kind {
            Kind::Alert => {
                let (text, tls) = handshake::alert(&payload);
                self.push(bytes, text, Meaning::Tls(tls));
            }
            Kind::ApplicationData => {
                self.done.pieces.push((bytes, self.done.clear.len()));
                self.done.clear.extend(payload);
            }
            Kind::ChangeCipherSpec => self.keys.change_cipher_spec(),
            Kind::Handshake => self.handshake(&payload, &bytes),
            Kind::Other(kind) => {
                self.push(bytes, format!("TLS record of type {kind}, {}", size(payload.len())), Meaning::Other);
            }
        }
    }

    /// Messages of a handshake that leave together are one line.
    fn handshake(&mut self, payload: &[u8], bytes: &Range<usize>) {
        for message in self.reader.read(payload) {
            self.keys.after(message.kind);
            let meaning = message.tls.map_or(Meaning::Other, Meaning::Tls);
            let sent = self.lane.sent(bytes.start);
            let together = self.done.messages.last_mut().filter(|last| {
                last.text.starts_with("TLS ") && last.fields.is_empty() && self.lane.sent(last.bytes.start) == sent
            });
            match together {
                Some(last) if last.meaning == Meaning::Other || meaning == Meaning::Other => {
                    last.text = format!("{}; {}", last.text, message.text);
                    last.bytes.end = bytes.end;
                    if last.meaning == Meaning::Other {
                        last.meaning = meaning;
                    }
                }
                _ => self.push(bytes.clone(), format!("TLS {}", message.text), meaning),
            }
        }
    }

    fn push(&mut self, bytes: Range<usize>, text: String, meaning: Meaning) {
        self.done.messages.push(Message::new(bytes, text, meaning));
    }
}
