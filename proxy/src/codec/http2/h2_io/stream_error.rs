//! Errors of a stream (RFC 9113 5.4.2) that the peer made: the stream is reset, the connection goes on.

use crate::codec::Violation;
use crate::codec::http2::frames::{INTERNAL_ERROR, PROTOCOL_ERROR};
use crate::codec::http2::{ExchangeError, HeadLimit};

/// Why a stream's peer gets RST_STREAM for what it sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::codec::http2) enum StreamError {
    /// The message breaks the rules; `code` is that of the RST_STREAM.
    Malformed { violation: Violation, code: u32 },
    /// A header section is over a limit of ours.
    HeaderListTooLarge(HeadLimit),
    /// DATA for a message that has no content.
    UnexpectedContent,
}

impl StreamError {
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Malformed { code, .. } => code,
            Self::HeaderListTooLarge(_) => INTERNAL_ERROR,
            Self::UnexpectedContent => PROTOCOL_ERROR,
        }
    }

    /// The error that the reader of the stream gets.
    pub(super) fn broken(self) -> ExchangeError {
        match self {
            Self::Malformed { violation, .. } => ExchangeError::Malformed(violation),
            Self::HeaderListTooLarge(limit) => ExchangeError::OverLimit(limit.violation()),
            Self::UnexpectedContent => ExchangeError::Malformed(Violation::RemoteReset),
        }
    }
}
