//! WebSocket frames by hand (RFC 6455 section 5): to be sent as they stand, or as a pattern that a received frame must fit.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::payload::Payload;
use crate::scenario::Ordered;
use crate::scenario::units::{Hex, Size};

/// A WebSocket frame. What is left out is usual, or may be anything.
#[derive(Clone, Debug)]
pub struct WebSocketFrame {
    /// The opcode (RFC 6455 5.2).
    pub opcode: Opcode,
    /// What is in it.
    pub fields: WebSocketFields,
}

/// The opcodes of WebSocket frames.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Opcode {
    /// A binary message, or its beginning.
    Binary,
    /// A close frame.
    Close,
    /// More of a message.
    Continuation,
    /// Checks that the peer responds.
    Ping,
    /// Yes.
    Pong,
    /// A text message, or its beginning.
    Text,
}

impl Opcode {
    /// RFC 6455 section 5.2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// What is in a WebSocket frame.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketFields {
    /// Whether the message ends here.
    pub fin: Option<bool>,
    /// Payload as text.
    pub text: Option<String>,
    /// Payload of this size.
    pub bytes: Option<Size>,
    /// Payload in hexadecimal digits.
    pub hex: Option<Hex>,
    /// The status code of a close frame.
    pub code: Option<u16>,
}

impl WebSocketFields {
    /// The payload, if one is given.
    #[must_use]
    pub fn payload(&self) -> Option<Vec<u8>> {
        let text = self.text.clone().map(String::into_bytes);
        let bytes = || self.bytes.map(|size| Payload::Binary(size).to_bytes());
        let payload = text.or_else(bytes).or_else(|| self.hex.clone().map(|hex| hex.0));
        match self.code {
            Some(code) => Some(code.to_be_bytes().into_iter().chain(payload.unwrap_or_default()).collect()),
            None => payload,
        }
    }
}

impl fmt::Display for WebSocketFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.opcode {
            Opcode::Binary => "a binary frame",
            Opcode::Close => "a close frame",
            Opcode::Continuation => "a continuation frame",
            Opcode::Ping => "a ping",
            Opcode::Pong => "a pong",
            Opcode::Text => "a text frame",
        })?;
        match (&self.fields.text, self.fields.payload()) {
            (Some(text), _) => write!(f, " {text:?}"),
            (None, Some(payload)) => write!(f, ", {}", Size(payload.len())),
            (None, None) => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for WebSocketFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OpcodeAndFields)
    }
}

struct OpcodeAndFields;

impl<'de> Visitor<'de> for OpcodeAndFields {
    type Value = WebSocketFrame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame such as `ping` or `text: { text: hel, fin: false }`")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<WebSocketFrame, E> {
        let opcode = Opcode::deserialize(serde::de::value::StrDeserializer::new(word))?;
        Ok(WebSocketFrame { opcode, fields: WebSocketFields::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WebSocketFrame, A::Error> {
        let mut pairs = Ordered::<WebSocketFields>::deserialize(MapAccessDeserializer::new(map))?.0.into_iter();
        match (pairs.next(), pairs.next()) {
            (Some((opcode, fields)), None) => {
                let opcode = Opcode::deserialize(serde::de::value::StrDeserializer::new(&opcode))?;
                Ok(WebSocketFrame { opcode, fields })
            }
            _ => Err(A::Error::custom("a step has one frame")),
        }
    }
}
