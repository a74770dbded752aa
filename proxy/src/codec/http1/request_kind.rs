//! The kind of a request, as far as it decides how the response is framed (RFC 9112 6.3).

use http::{HeaderValue, Method, StatusCode, Version};

use super::framing::{Chunk, Decoder, MALFORMED, TransferCoding};
use super::parse::FoundResponse;
use crate::codec::head::tokens;
use crate::codec::{ExchangeError, Headers, Payload, RequestHead, ResponseHead};

/// A request under way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RequestKind {
    Connect,
    Head,
    Other {
        /// The version of the client that the request comes from.
        version: Version,
    },
    /// To switch to one of these protocols.
    Upgrade(HeaderValue),
}

impl RequestKind {
    pub(super) fn by(head: &RequestHead, payload: Payload) -> Self {
        match (payload, &head.method) {
            (_, &Method::CONNECT) => Self::Connect,
            (Payload::Raw, _) => Self::Upgrade(head.upgrade().cloned().unwrap_or(HeaderValue::from_static(""))),
            (Payload::None | Payload::Some, &Method::HEAD) => Self::Head,
            (Payload::None | Payload::Some, _) => Self::Other { version: head.version },
        }
    }

    /// How the body of the response is framed.
    pub(super) fn body_of(&self, found: &FoundResponse) -> Result<Decoder, ExchangeError> {
        let ResponseHead { status, version, headers } = &found.head;
        let (coding, length) = (found.framing.transfer_coding, found.framing.content_length);
        let has_body_fields = coding != TransferCoding::Absent || length.is_some_and(|length| length > 0);
        match self {
            Self::Connect if status.is_success() => return Ok(Decoder::UntilClose),
            _ if *status == StatusCode::SWITCHING_PROTOCOLS => {
                return if has_body_fields { Err(MALFORMED) } else { self.switch(headers) };
            }
            Self::Connect | Self::Head | Self::Other { .. } | Self::Upgrade(_) => {}
        }
        if *status == StatusCode::NOT_MODIFIED {
            return Ok(Decoder::Done);
        }
        if status.is_informational() || *status == StatusCode::NO_CONTENT {
            // A body where there can be none, whatever the method: half the world would skip it, the other half read it.
            return if has_body_fields { Err(MALFORMED) } else { Ok(Decoder::Done) };
        }
        if *self == Self::Head {
            return Ok(Decoder::Done);
        }
        match (coding, length) {
            (TransferCoding::Chunked, Some(_)) => Err(MALFORMED),
            // HTTP/1.0 has no transfer codings; RFC 9112 6.1 calls such a message faulty.
            (TransferCoding::Chunked, None) if *version == Version::HTTP_10 => Err(MALFORMED),
            (TransferCoding::Chunked, None) => Ok(Decoder::Chunked(Chunk::Size)),
            (TransferCoding::Absent, Some(length)) => Ok(Decoder::length(length)),
            (TransferCoding::Absent, None) => Ok(Decoder::UntilClose),
        }
    }

    /// What follows a 101. It names the protocol from here on, which has to be one that was requested (RFC 9110 7.8): a tunnel for another
    /// protocol would be one that no configuration permits.
    fn switch(&self, headers: &Headers) -> Result<Decoder, ExchangeError> {
        match self {
            Self::Upgrade(requested) if headers.upgrade().is_some_and(|named| is_among(named, requested)) => {
                Ok(Decoder::UntilClose)
            }
            // HTTP/2 has no 101 (RFC 9113 8.6), and what stands for it there would be an accepted tunnel.
            Self::Other { version: Version::HTTP_2 } | Self::Upgrade(_) => Err(MALFORMED),
            Self::Connect | Self::Head | Self::Other { .. } => Ok(Decoder::Done),
        }
    }
}

/// Is each protocol of `named` one of `requested`, and is there one? Protocols are compared ignoring case, as Envoy does.
fn is_among(named: &HeaderValue, requested: &HeaderValue) -> bool {
    let is_requested = |protocol: &[u8]| tokens(requested).any(|one| one.eq_ignore_ascii_case(protocol));
    tokens(named).next().is_some() && tokens(named).all(is_requested)
}
