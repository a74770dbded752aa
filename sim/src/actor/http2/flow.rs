//! What a peer of HTTP/2 has still to send by itself, and how much of it the other side takes (RFC 9113
//! section 5.2). Frames by hand do not come by here.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::io::SEND_BYTES_MAX;
use super::frames::{encode, head};
use crate::scenario::{Frame, FrameFields, FrameKind, Hex, Rate};

/// The largest payload of a DATA frame that a peer must take (RFC 9113 section 4.2).
const DATA_BYTES_MAX: usize = 16_384;

/// The initial window (RFC 9113 section 6.9.2).
const WINDOW_BYTES_DEFAULT: i64 = 65_535;

/// Bodies under way, and the windows they go through.
pub(super) struct Flow {
    /// Whether it keeps to windows.
    keeps: bool,
    connection: i64,
    initial: i64,
    /// By how much a stream's window differs from the initial one.
    streams: BTreeMap<u32, i64>,
    bodies: BTreeMap<u32, Body>,
}

/// What follows a head.
pub(super) struct Sending {
    pub(super) body: Vec<u8>,
    pub(super) end: End,
    /// As fast as it goes if absent.
    pub(super) rate: Option<Rate>,
}

/// How a stream goes on behind a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// It ends with it.
    Body,
    /// It does not end.
    Open,
    /// It ends with these.
    Trailers(Vec<(String, String)>),
}

/// The rest of a body.
struct Body {
    rest: Bytes,
    end: End,
    rate: Option<Rate>,
    /// A slow sender sends nothing before.
    not_before: Instant,
}

impl Flow {
    pub(super) fn new(keeps: bool) -> Self {
        let (streams, bodies) = Default::default();
        Self { keeps, connection: WINDOW_BYTES_DEFAULT, initial: WINDOW_BYTES_DEFAULT, streams, bodies }
    }

    /// The other side's initial window, which is also that of streams under way.
    pub(super) fn set_initial(&mut self, bytes: u32) {
        self.initial = bytes.into();
    }

    /// A WINDOW_UPDATE.
    pub(super) fn open(&mut self, stream: u32, by: u32) {
        let window = if stream == 0 { &mut self.connection } else { self.streams.entry(stream).or_default() };
        *window = window.saturating_add(by.into());
    }

    /// A body to be sent.
    pub(super) fn add(&mut self, stream: u32, sending: Sending) {
        let Sending { body, end, rate } = sending;
        let body = Body { rest: body.into(), end, rate, not_before: Instant::now() };
        if !body.rest.is_empty() || matches!(body.end, End::Trailers(_)) {
            self.bodies.insert(stream, body);
        }
    }

    /// Nothing more is sent on a stream.
    pub(super) fn forget(&mut self, stream: u32) {
        self.bodies.remove(&stream);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// When a slow sender goes on, unless a window stops it.
    pub(super) fn next(&self) -> Option<Instant> {
        self.bodies.iter().filter(|(stream, _)| self.room(**stream) > 0).map(|(_, body)| body.not_before).min()
    }

    /// The frames that can leave now.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let now = Instant::now();
        let mut frames = Vec::new();
        let streams: Vec<u32> = self.bodies.keys().copied().collect();
        for stream in streams {
            while let Some(frame) = self.frame(stream, now) {
                frames.extend(frame);
            }
        }
        frames
    }

    fn frame(&mut self, stream: u32, now: Instant) -> Option<Vec<u8>> {
        let room = self.room(stream);
        let body = self.bodies.get_mut(&stream).filter(|body| body.not_before <= now && room > 0)?;
        let step = if body.rate.is_some() { SEND_BYTES_MAX } else { DATA_BYTES_MAX };
        let piece = body.rest.split_to(body.rest.len().min(step).min(room));
        body.not_before = now + body.rate.map_or(Duration::ZERO, |rate| rate.time_for(piece.len()));
        let is_last = body.rest.is_empty();
        let fields = FrameFields {
            stream: Some(stream),
            end_stream: Some(is_last && body.end == End::Body),
            hex: Some(Hex(piece.to_vec())),
            ..FrameFields::default()
        };
        let done = if is_last { self.bodies.remove(&stream) } else { None };
        let taken = i64::try_from(piece.len()).unwrap_or(i64::MAX);
        self.connection -= taken;
        *self.streams.entry(stream).or_default() -= taken;
        let mut frames = if taken == 0 { Vec::new() } else { encode(&Frame { kind: FrameKind::Data, fields }) };
        if let Some(Body { end: End::Trailers(trailers), .. }) = done {
            frames.extend(head(stream, trailers, true));
        }
        Some(frames)
    }

    /// How much the other side takes at the moment.
    fn room(&self, stream: u32) -> usize {
        if !self.keeps {
            return usize::MAX;
        }
        let window = self.initial + self.streams.get(&stream).copied().unwrap_or_default();
        usize::try_from(window.min(self.connection)).unwrap_or(0) // below zero after the initial window has shrunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(body: usize, keeps: bool) -> Flow {
        let mut flow = Flow::new(keeps);
        flow.add(1, Sending { body: vec![0; body], end: End::Body, rate: None });
        flow
    }

    #[tokio::test]
    async fn windows_are_kept_to() {
        let mut flow = flow(100_000, true);
        let head = 9;
        assert_eq!(flow.take().len(), 65_535 + 4 * head);
        assert_eq!(flow.next(), None);
        flow.open(0, 10);
        assert!(flow.take().is_empty(), "the stream's window is closed");
        flow.open(1, 20);
        assert_eq!(flow.take().len(), 10 + head);
        flow.open(0, 100_000);
        assert_eq!(flow.take().len(), 10 + head);
        flow.set_initial(100_000);
        assert_eq!(flow.take().len(), 100_000 - 65_555 + 3 * head);
        assert!(flow.is_empty());
    }

    #[tokio::test]
    async fn only_peers_that_respect_windows_stop_at_them() {
        assert_eq!(flow(100_000, false).take().len(), 100_000 + 7 * 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_waits_between_pieces() {
        let mut flow = Flow::new(true);
        flow.add(1, Sending { body: vec![0; 1500], end: End::Body, rate: Some(Rate(1024)) });
        assert_eq!(flow.take().len(), 1024 + 9);
        assert!(flow.take().is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(flow.take().len(), 476 + 9);
    }
}
