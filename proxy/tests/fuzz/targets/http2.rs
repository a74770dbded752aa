//! HTTP/2 frames: what both ends of a connection need.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::task::{Context, Poll};

use finwait::codec::http2::Incoming;
use finwait::codec::{ExchangeError, Frame, Headers};
use finwait::config::listener::Http2Options;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS with nothing in it.
pub(super) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const FRAME_HEAD_BYTES: usize = 9;

pub(super) const RST_STREAM: u8 = 3;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

/// Windows and streams that a short input can use up.
pub(super) fn options() -> Http2Options {
    Http2Options {
        allow_connect: true,
        initial_connection_window_size: 65_535,
        initial_stream_window_size: 65_535,
        max_concurrent_streams: NonZeroU32::new(8).expect("8 is not 0"),
        ..Http2Options::default()
    }
}

/// Type and payload of each frame in `bytes`, as far as they are whole.
pub(super) fn frames(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let Some((&[a, b, c, kind, _, _, _, _, _], behind)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() {
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let Some((payload, behind)) = behind.split_at_checked(length) else { break };
        frames.push((kind, payload));
        rest = behind;
    }
    frames
}

/// How often each type of frame stands in `bytes`.
pub(super) fn kinds(bytes: &[u8]) -> BTreeMap<u8, usize> {
    let mut kinds = BTreeMap::new();
    frames(bytes).iter().for_each(|(kind, _)| *kinds.entry(*kind).or_default() += 1);
    kinds
}

/// What has come of a message's payload.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<Headers>,
    /// `None` while the message is under way.
    pub(super) end: Option<Result<(), ExchangeError>>,
}

impl Message {
    /// Reads what is there.
    pub(super) fn read(&mut self, incoming: &mut Incoming, cx: &mut Context<'_>) {
        while self.end.is_none()
            && let Poll::Ready(frame) = incoming.poll_frame(cx)
        {
            match frame {
                None => self.end = Some(Ok(())),
                Some(Err(broken)) => self.end = Some(Err(broken)),
                Some(Ok(Frame::Data(data))) => self.body.extend_from_slice(&data),
                Some(Ok(Frame::Trailers(trailers))) => self.trailers = Some(trailers),
            }
        }
    }
}
