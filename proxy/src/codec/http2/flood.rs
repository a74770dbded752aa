//! Frames that cost their sender nothing and us something, counted against Envoy's limits.
//!
//! What calls for a reply (PING, SETTINGS, requests over the limit) needs no count here: h2 reads the next frame only
//! when it could write the reply to the last one, so a peer that does not read is not read either.

use super::frames::{CONTINUATION, DATA, HEADERS, PRIORITY, ReceivedFrame, WINDOW_UPDATE};
use crate::codec::Violation;
use crate::config::listener::Http2Floods;

/// What a peer sent too much of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flood {
    /// Frames of one head.
    Continuations,
    /// Frames of a message that bring nothing of it.
    EmptyFrames,
    Priorities,
    WindowUpdates,
}

impl Flood {
    /// As a violation, for the streams that were under way.
    pub(super) fn violation(self) -> Violation {
        match self {
            Self::Continuations => Violation::TooManyContinuations,
            Self::EmptyFrames => Violation::TooManyEmptyFrames,
            Self::Priorities => Violation::TooManyPriorities,
            Self::WindowUpdates => Violation::TooManyWindowUpdates,
        }
    }

    /// The same for the stream whose own frames they were.
    pub(super) fn violation_of_culprit(self) -> Violation {
        match self {
            Self::EmptyFrames => Violation::EmptyFramesFlood,
            Self::Continuations | Self::Priorities | Self::WindowUpdates => self.violation(),
        }
    }
}

/// What has come, of the frames that are limited.
#[derive(Debug)]
pub(super) struct FloodCounters {
    limits: Http2Floods,
    /// In a row.
    empty_frames: u32,
    priorities: u64,
    window_updates: u64,
}

impl FloodCounters {
    pub(super) fn new(limits: Http2Floods) -> Self {
        Self { limits, empty_frames: 0, priorities: 0, window_updates: 0 }
    }

    /// Counts a frame that came on a connection with so many streams, which has sent so many DATA frames.
    pub(super) fn note(&mut self, frame: ReceivedFrame, streams: u64, data_sent: u64) -> Option<Flood> {
        match frame.head.kind {
            DATA | HEADERS | CONTINUATION => {
                self.empty_frames = if frame.is_empty() { self.empty_frames.saturating_add(1) } else { 0 };
                (self.empty_frames > self.limits.empty_frames_max).then_some(Flood::EmptyFrames)
            }
            PRIORITY => {
                self.priorities += 1;
                let allowed = u64::from(self.limits.priorities_per_stream_max).saturating_mul(streams + 1);
                (self.priorities > allowed).then_some(Flood::Priorities)
            }
            WINDOW_UPDATE => {
                self.window_updates += 1;
                let for_data = u64::from(self.limits.window_updates_per_data_max).saturating_mul(data_sent);
                let allowed = for_data.saturating_add(streams).saturating_mul(2).saturating_add(1);
                (self.window_updates > allowed).then_some(Flood::WindowUpdates)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{END_STREAM, FrameHead};
    use super::*;

    const LIMITS: Http2Floods =
        Http2Floods { empty_frames_max: 1, priorities_per_stream_max: 3, window_updates_per_data_max: 10 };

    fn frame(kind: u8, len: usize, flags: u8) -> ReceivedFrame {
        ReceivedFrame { head: FrameHead { len, kind, flags, stream: 1 }, padding: 0 }
    }

    /// How many of `frame` pass on a connection with these figures.
    fn passed(frame: ReceivedFrame, streams: u64, data_sent: u64) -> usize {
        let mut floods = FloodCounters::new(LIMITS);
        (0..1000).take_while(|_| floods.note(frame, streams, data_sent).is_none()).count()
    }

    #[test]
    fn each_kind_has_its_limit() {
        assert_eq!(passed(frame(DATA, 0, 0), 1, 0), 1);
        assert_eq!(passed(ReceivedFrame { padding: 5, ..frame(DATA, 5, 0) }, 1, 0), 1);
        assert_eq!(passed(frame(DATA, 0, END_STREAM), 1, 0), 1000);
        assert_eq!(passed(frame(DATA, 1, 0), 1, 0), 1000);
        assert_eq!(passed(frame(PRIORITY, 5, 0), 1, 0), 6);
        assert_eq!(passed(frame(WINDOW_UPDATE, 4, 0), 2, 0), 5);
        assert_eq!(passed(frame(WINDOW_UPDATE, 4, 0), 2, 3), 65);
    }

    #[test]
    fn payload_between_empty_frames_begins_the_count_anew() {
        let mut floods = FloodCounters::new(LIMITS);
        for len in [0, 1, 0, 7, 0] {
            assert_eq!(floods.note(frame(DATA, len, 0), 1, 0), None);
        }
        assert_eq!(floods.note(frame(CONTINUATION, 0, 0), 1, 0), Some(Flood::EmptyFrames));
    }
}
