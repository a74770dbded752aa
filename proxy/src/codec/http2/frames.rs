//! As much of RFC 9113 4 and 6 as it takes to look at frames in passing: heads, and three frames of our own.

use bytes::{BufMut, Bytes, BytesMut};

use super::CONNECTION;
use crate::config::listener::Http2Options;

/// RFC 9113 3.4.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 4.1.
pub(super) const FRAME_HEAD_LEN: usize = 9;

/// The largest stream id, and the bits of one: the highest bit is reserved.
pub(super) const STREAM_ID_MAX: u32 = u32::MAX >> 1;

// Frame types, RFC 9113 6.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// A type that no RFC defines, so that a frame of it is ignored (RFC 9113 5.5).
pub(super) const IGNORED: u8 = 0xff;

/// Where the type stands in a head.
pub(super) const KIND_AT: usize = 3;
/// The least SETTINGS_MAX_FRAME_SIZE, and its initial value (RFC 9113 6.5.2).
pub(super) const FRAME_BYTES_MIN: u32 = 1 << 14;
/// The largest SETTINGS_MAX_FRAME_SIZE.
pub(super) const FRAME_BYTES_LIMIT: u32 = (1 << 24) - 1;
/// The largest window (RFC 9113 6.9.1).
pub(super) const WINDOW_BYTES_MAX: u32 = u32::MAX >> 1;
/// The initial size of a window (RFC 9113 6.9.2).
pub(super) const WINDOW_BYTES_INITIAL: u32 = 65_535;
/// The least that GOAWAY holds, RFC 9113 6.8.
pub(super) const GOAWAY_BYTES_MIN: usize = 8;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITISED: u8 = 0x20;
pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// What h2 puts into the PING of a graceful shutdown.
pub(super) const SHUTDOWN: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

/// A frame of the peer's, as soon as its head has come whole.
#[derive(Clone, Copy)]
pub(super) struct ReceivedFrame {
    pub(super) head: FrameHead,
    /// Bytes of the payload that are padding, its length included.
    pub(super) padding: usize,
}

/// Does h2 see a frame of the peer's?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Visibility {
    Shown,
    /// Its type is changed to one that is ignored.
    Hidden,
}

impl ReceivedFrame {
    /// `None` while the head, or the length of the padding behind it, is cut.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = FrameHead::parse(bytes)?;
        let padding = match head.kind == DATA && head.flags & PADDED != 0 {
            false => 0,
            true if head.len == 0 => 1, // the length of the padding itself is missing
            true => usize::from(*bytes.get(FRAME_HEAD_LEN)?) + 1,
        };
        Some(Self { head, padding })
    }

    /// Is this a piece of a message that brings nothing of it, not even its end?
    pub(super) fn is_empty(self) -> bool {
        self.head.len == self.padding && self.head.flags & END_STREAM == 0
    }

    /// The payload of DATA without its padding.
    pub(super) fn content_bytes(self) -> u64 {
        u64::try_from(self.head.len.saturating_sub(self.padding)).unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FrameHead {
    /// Of the payload.
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<FRAME_HEAD_LEN>()?;
        let len = payload_len([*a, *b, *c]);
        Some(Self { len, kind: *kind, flags: *flags, stream: u32::from_be_bytes(*stream) & STREAM_ID_MAX })
    }
}

fn payload_len([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

/// The length of a frame with its head; a cut head counts as all that is there.
pub(super) fn frame_len(frame: &[u8]) -> usize {
    FrameHead::parse(frame).map_or(frame.len(), |head| FRAME_HEAD_LEN + head.len)
}

pub(super) fn be_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// SETTINGS with Envoy's members in Envoy's order.
pub(super) fn settings_frame(role: Role, options: &Http2Options) -> Bytes {
    let common = [
        (0x1, options.hpack_table_size),
        (0x8, u32::from(options.allow_connect)),
        (0x3, options.max_concurrent_streams.get()),
        (0x4, options.initial_stream_window_size),
    ];
    let no_push = (role == Role::Client).then_some((0x2, 0));
    let mut payload = BytesMut::new();
    for (id, value) in no_push.into_iter().chain(common) {
        payload.put_u16(id);
        payload.put_u32(value);
    }
    control_frame(SETTINGS, 0, &payload)
}

pub(super) fn goaway_frame(last: [u8; 4], code: u32, debug: &[u8]) -> Bytes {
    control_frame(GOAWAY, 0, &[&last, &code.to_be_bytes(), debug].concat())
}

pub(super) fn window_update_frame(stream: u32, bytes: u32) -> Bytes {
    frame(WINDOW_UPDATE, 0, stream, &bytes.min(STREAM_ID_MAX).to_be_bytes())
}

pub(super) fn reset_frame(stream: u32, code: u32) -> Bytes {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// The acknowledgement of h2's PING, RFC 9113 6.7.
pub(super) fn shutdown_ping_ack() -> Bytes {
    control_frame(PING, ACK, &SHUTDOWN)
}

fn control_frame(kind: u8, flags: u8, payload: &[u8]) -> Bytes {
    frame(kind, flags, CONNECTION, payload)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_LEN + payload.len());
    put_frame_head(FrameHead { len: payload.len(), kind, flags, stream }, &mut frame);
    frame.put_slice(payload);
    frame.freeze()
}

/// RFC 9113 4.1.
pub(super) fn put_frame_head(head: FrameHead, to: &mut BytesMut) {
    to.put_uint(u64::try_from(head.len).unwrap_or_default(), 3);
    to.put_slice(&[head.kind, head.flags]);
    to.put_u32(head.stream);
}
