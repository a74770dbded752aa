//! As much of RFC 9113 4 and 6 as it takes to look at frames in passing: heads, and three frames of our own.

use std::mem;

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
/// A type that nobody has defined, so that a frame of it is ignored (RFC 9113 5.5).
const IGNORED: u8 = 0xff;

/// Where the type stands in a head.
const KIND_AT: usize = 3;
/// A head that is cut by one byte, or is whole and lacks the length of the padding. Bytes.
pub(super) const UNDECIDED_BYTES_MAX: usize = FRAME_HEAD_LEN;
/// The least that GOAWAY holds, RFC 9113 6.8.
const GOAWAY_BYTES_MIN: usize = 8;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITISED: u8 = 0x20;
pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// What h2 puts into the PING of a graceful shutdown.
pub(super) const SHUTDOWN: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

/// Finds frame heads in a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Payload of the current frame that has not passed yet.
    left: usize,
    /// Type and stream of the current frame, or of the last one.
    pub(super) kind: u8,
    pub(super) stream: u32,
    is_past_first: bool,
    /// There was DATA with more padding than it has room for (RFC 9113 6.1).
    pub(super) is_overpadded: bool,
    /// The first bytes of the payload of the GOAWAY that is passing: the last stream that its sender will process.
    goaway: [u8; 4],
    goaway_len: usize,
    /// The same of the last GOAWAY of which they have passed whole. A second one (RFC 9113 6.8, a drain in two steps)
    /// takes nothing back while it is cut.
    goaway_last: Option<u32>,
    /// Did the last read hold a piece of a header block?
    pub(super) saw_header_block: bool,
    resets: u64,
    /// The peer is a client, whose GOAWAY nobody needs to see.
    hides_goaway: bool,
}

/// A frame of the peer's, as soon as its head has come whole.
#[derive(Clone, Copy)]
pub(super) struct Received {
    pub(super) head: FrameHead,
    /// Bytes of the payload that are padding, its length included.
    pub(super) padding: usize,
}

/// Is h2 to see a frame?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sight {
    Shown,
    /// Its type is changed to one that is ignored.
    Hidden,
}

impl Scanner {
    /// For what comes to an end of this role.
    pub(super) fn at(role: Role) -> Self {
        match role {
            Role::Client => Self::default(),
            // The client's preface is no frame: it is stepped over like the rest of one.
            Role::Server => Self { left: PREFACE.len(), hides_goaway: true, ..Self::default() },
        }
    }

    /// Looks at what has been read, shows each frame to `see` and hides it from h2 if `see` says so. Returns how many bytes
    /// have been dealt with: a head that is cut, with the length of its padding, waits for the rest and is at most
    /// [`UNDECIDED_BYTES_MAX`] long. `None` if the first frame of all is not SETTINGS (RFC 9113 3.4).
    ///
    /// A client's GOAWAY becomes a frame that is ignored, as Envoy ignores it. It speaks of streams that we would open, and
    /// we push none (RFC 9113 6.8); h2 would answer it with a GOAWAY of its own and serve nothing more.
    pub(super) fn scan(&mut self, bytes: &mut [u8], mut see: impl FnMut(Received) -> Sight) -> Option<usize> {
        self.saw_header_block = self.left > 0 && is_header_block(self.kind);
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            if self.left > 0 {
                let passed = self.left.min(rest.len());
                self.keep_goaway(rest.get(..passed).unwrap_or_default());
                self.left -= passed;
                at += passed;
                continue;
            }
            let Some(received) = Received::parse(rest) else { break };
            let head = received.head;
            self.begin(head, received.padding);
            if !self.is_past_first && head.kind != SETTINGS {
                return None;
            }
            self.is_past_first = true;
            if (see(received) == Sight::Hidden || self.hides_goaway && is_whole_goaway(head))
                && let Some(kind) = rest.get_mut(KIND_AT)
            {
                *kind = IGNORED;
            }
            at += FRAME_HEAD_LEN;
        }
        Some(at)
    }

    fn begin(&mut self, head: FrameHead, padding: usize) {
        self.left = head.len;
        self.kind = head.kind;
        self.stream = head.stream;
        self.saw_header_block |= is_header_block(head.kind);
        self.is_overpadded |= head.kind == DATA && padding > head.len;
        match head.kind {
            GOAWAY => self.goaway_len = 0,
            RST_STREAM => self.resets += 1,
            _ => {}
        }
    }

    /// The last stream that the peer will process, once it has said so.
    pub(super) fn goaway_last(&self) -> Option<u32> {
        self.goaway_last
    }

    fn keep_goaway(&mut self, payload: &[u8]) {
        let free = self.goaway.get_mut(self.goaway_len..).unwrap_or_default();
        if self.kind == GOAWAY {
            self.goaway_len += free.len().min(payload.len());
            free.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
            if self.goaway_len == self.goaway.len() {
                self.goaway_last = Some(u32::from_be_bytes(self.goaway) & STREAM_ID_MAX);
            }
        }
    }

    /// How many RST_STREAM came since the last call.
    pub(super) fn take_resets(&mut self) -> u64 {
        mem::take(&mut self.resets)
    }

    /// Has the payload of the last frame passed?
    pub(super) fn is_between_frames(&self) -> bool {
        self.left == 0
    }
}

impl Received {
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

/// Is nothing wrong with this GOAWAY?
fn is_whole_goaway(head: FrameHead) -> bool {
    head.kind == GOAWAY && head.len >= GOAWAY_BYTES_MIN && head.stream == CONNECTION
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

fn is_header_block(kind: u8) -> bool {
    matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION)
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

/// The answer to h2's PING, RFC 9113 6.7.
pub(super) fn shutdown_pong() -> Bytes {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_scan_does_not_depend_on_where_the_bytes_are_cut(
            frames in prop::collection::vec((0_u8..12, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 1..12),
            cuts in prop::collection::vec(1_usize..50, 1..20),
        ) {
            let later = frames.iter().flat_map(|(kind, flags, payload)| control_frame(*kind, *flags, payload));
            let mut bytes: Vec<u8> = control_frame(SETTINGS, 0, &[]).into_iter().chain(later).collect();
            let (mut whole, mut cut) = (Scanner::default(), Scanner::default());
            prop_assert_eq!(whole.scan(&mut bytes, show), Some(bytes.len()));
            let (mut undecided, mut rest) = (Vec::new(), &bytes[..]);
            for len in cuts.iter().cycle() {
                let piece;
                (piece, rest) = rest.split_at(rest.len().min(*len));
                undecided.extend_from_slice(piece);
                let decided = cut.scan(&mut undecided, show).unwrap();
                undecided.drain(..decided);
                prop_assert!(undecided.len() <= UNDECIDED_BYTES_MAX);
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(undecided.is_empty());
            prop_assert!(whole.is_between_frames() && cut.is_between_frames());
            prop_assert_eq!((whole.kind, whole.goaway_last()), (cut.kind, cut.goaway_last()));
            let (last_kind, ..) = frames.last().unwrap();
            prop_assert_eq!(whole.kind, *last_kind);
            let mut goaways = frames.iter().rev().filter(|(kind, ..)| *kind == GOAWAY);
            let last = goaways.find_map(|(.., payload)| be_u32(payload)).map(|last| last & STREAM_ID_MAX);
            prop_assert_eq!(whole.goaway_last(), last);
            let overpadded = frames.iter().any(|(kind, flags, payload)| {
                let room = payload.first().map_or(0, |padding| payload.len().saturating_sub(usize::from(*padding)));
                *kind == DATA && flags & PADDED != 0 && room == 0
            });
            prop_assert_eq!((whole.is_overpadded, cut.is_overpadded), (overpadded, overpadded));
        }

        #[test]
        fn any_bytes_can_be_scanned(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut scanner = Scanner::default();
            let first = Received::parse(&bytes).map(|received| received.head.kind);
            let decided = scanner.scan(&mut bytes, show);
            prop_assert_eq!(decided.is_some(), first.is_none_or(|kind| kind == SETTINGS));
            prop_assert!(decided.is_none_or(|decided| bytes.len() - decided <= UNDECIDED_BYTES_MAX));
        }
    }

    fn show(_: Received) -> Sight {
        Sight::Shown
    }

    #[test]
    fn a_clients_goaway_is_hidden_wherever_it_is_cut() {
        let (settings, goaway) = (control_frame(SETTINGS, 0, &[]), control_frame(GOAWAY, 0, &[0; 8]));
        let sent = [PREFACE, &settings, &goaway, &shutdown_pong(), &goaway].concat();
        let begin = PREFACE.len() + settings.len();
        let kinds = [begin + 3, begin + goaway.len() + 17 + 3];
        for cut in 0..sent.len() {
            let (mut scanner, mut seen) = (Scanner::at(Role::Server), sent.clone());
            let decided = scanner.scan(&mut seen[..cut], show).unwrap();
            assert_eq!(scanner.scan(&mut seen[decided..], show), Some(sent.len() - decided));
            let changed: Vec<_> = (0..sent.len()).filter(|at| seen[*at] != sent[*at]).collect();
            assert_eq!((changed.as_slice(), seen[kinds[0]]), (&kinds[..], IGNORED), "{cut}");
        }
    }

    #[test]
    fn a_second_goaway_takes_nothing_back_wherever_it_is_cut() {
        let [first, second] = [7_u32, 5].map(|last| control_frame(GOAWAY, 0, &[last.to_be_bytes(), [0; 4]].concat()));
        for cut in 0..second.len() {
            let mut scanner = Scanner { is_past_first: true, ..Scanner::at(Role::Client) };
            let mut seen = [&first[..], &second[..cut]].concat();
            let decided = scanner.scan(&mut seen, show).unwrap();
            let last = if cut < FRAME_HEAD_LEN + 4 { 7 } else { 5 };
            assert_eq!(scanner.goaway_last(), Some(last), "{cut}");
            let mut rest = [&seen[decided..], &second[cut..]].concat();
            assert_eq!(scanner.scan(&mut rest, show), Some(rest.len()));
            assert_eq!(scanner.goaway_last(), Some(5), "{cut}");
        }
    }

    #[test]
    fn what_is_no_good_goaway_or_comes_from_a_server_is_left_for_h2_to_judge() {
        let on_a_stream = [&control_frame(GOAWAY, 0, &[0; 8])[..8], &[1], &[0; 8]].concat();
        let too_short = control_frame(GOAWAY, 0, &[0; 7]).to_vec();
        let good = control_frame(GOAWAY, 0, &[0; 8]).to_vec();
        for (role, frame) in [(Role::Server, on_a_stream), (Role::Server, too_short), (Role::Client, good)] {
            let mut scanner = Scanner { left: 0, is_past_first: true, ..Scanner::at(role) };
            let mut seen = frame.clone();
            assert_eq!(scanner.scan(&mut seen, show), Some(frame.len()));
            assert_eq!(seen, frame);
        }
    }
}
