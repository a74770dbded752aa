//! Errors of a frame for which the connection ends (RFC 9113 5.4.1), and what Envoy sends for each.

use super::section::PRIORITY_LEN;
use crate::codec::http2::CONNECTION;
use crate::codec::http2::frames::{
    ACK, FRAME_SIZE_ERROR, FrameHead, GOAWAY, GOAWAY_BYTES_MIN, PING, PRIORITY, PROTOCOL_ERROR, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};

/// A frame for which h2 will end the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FrameError {
    /// A frame that may not come, or not with this value, on this stream: RFC 9113 5.4.1 requires GOAWAY with this code, and
    /// Envoy ends the connection without a word.
    Forbidden { code: u32, stream: u32 },
    /// A frame that cannot be read, for which Envoy sends GOAWAY with this code and nghttp2's text. The stream is that of a
    /// section which had begun.
    Unreadable { code: u32, text: &'static [u8], stream: u32 },
}

impl FrameError {
    /// Of a length that a frame must not have (RFC 9113 4.2).
    pub(super) fn of_length(text: &'static [u8]) -> Self {
        Self::Unreadable { code: FRAME_SIZE_ERROR, text, stream: CONNECTION }
    }

    pub(super) fn of_framing(text: &'static [u8]) -> Self {
        Self::Unreadable { code: PROTOCOL_ERROR, text, stream: CONNECTION }
    }
}

/// Does a frame of a fixed length have that length?
pub(super) fn has_right_length(head: FrameHead) -> bool {
    match head.kind {
        GOAWAY => head.len >= GOAWAY_BYTES_MIN,
        PING => head.len == 8,
        PRIORITY => head.len == PRIORITY_LEN,
        RST_STREAM | WINDOW_UPDATE => head.len == 4,
        SETTINGS if head.flags & ACK != 0 => head.len == 0,
        SETTINGS => head.len.is_multiple_of(6),
        _ => true,
    }
}
