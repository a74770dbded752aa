//! What an actor sends and expects to receive: a text, given bytes, or so many bytes.

use std::fmt;

use crate::scenario::units::Size;

/// A message of a WebSocket, or bytes of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// This many bytes, which count upwards.
    Binary(Size),
    /// Bytes written as hexadecimal digits.
    Hex(Vec<u8>),
    /// The bytes of a text in UTF-8.
    Text(String),
}

impl Payload {
    /// The bytes that are sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            // A pattern whose period is no power of two, so that a block out of place shows.
            Self::Binary(size) => (0..=250).cycle().take(size.0).collect(),
            Self::Hex(bytes) => bytes.clone(),
            Self::Text(text) => text.clone().into_bytes(),
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(size) => write!(f, "{size}"),
            Self::Hex(bytes) => write!(f, "{}", Size(bytes.len())),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
