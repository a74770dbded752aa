//! Messages of protobuf and gRPC, as far as services need them.

use crate::scenario::script::{Payload, Reply};
use crate::scenario::units::Time;
use crate::scenario::{FieldLines, Ordered};

/// A message under way: fields behind one another (protobuf, Encoding).
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A field of bytes, a text or a message.
    pub(super) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.number_of_bytes(field << 3 | 2);
        self.number_of_bytes(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A field of a number.
    pub(super) fn number(mut self, field: u64, value: u64) -> Self {
        self.number_of_bytes(field << 3);
        self.number_of_bytes(value);
        self
    }

    /// A message within.
    pub(super) fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// A number in groups of seven bits, the lowest first.
    fn number_of_bytes(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or(0));
    }

    /// The response of a call that succeeds: the message, and the status in the trailers.
    pub(super) fn reply(&self, after: Time) -> Reply {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let frame = [&[0][..], &length.to_be_bytes(), &self.0].concat();
        Reply { body: Payload::Hex(frame), trailers: pairs(&[("grpc-status", "0")]), ..head(after) }
    }
}

/// A `google.protobuf.Struct` of texts.
pub(super) fn texts(members: &Ordered<String>) -> Message {
    members.iter().fold(Message::default(), |all, (key, value)| {
        let value = Message::default().bytes(3, value.as_bytes());
        all.message(1, &Message::default().bytes(1, key.as_bytes()).message(2, &value))
    })
}

/// The response of a call that fails: a head alone.
pub(super) fn failed(status: u16, after: Time) -> Reply {
    let mut reply = head(after);
    reply.headers.0.push(("grpc-status".to_owned(), status.to_string()));
    reply
}

fn head(after: Time) -> Reply {
    let headers = pairs(&[("content-type", "application/grpc")]);
    Reply { headers, after, body: Payload::Text(String::new()), ..Reply::default() }
}

fn pairs(fields: &[(&str, &str)]) -> FieldLines {
    FieldLines(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_tags_and_values() {
        let inner = Message::default().bytes(1, b"ab").number(2, 300);
        assert_eq!(inner.0, [0x0a, 2, b'a', b'b', 0x10, 0xac, 2]);
        assert_eq!(Message::default().message(20, &inner).0[..3], [0xa2, 1, 7]);
        let Reply { body: Payload::Hex(frame), trailers, .. } = inner.reply(Time::default()) else { panic!("bytes") };
        assert_eq!((&frame[..6], trailers.0.len()), (&[0, 0, 0, 0, 7, 0x0a][..], 1));
    }
}
