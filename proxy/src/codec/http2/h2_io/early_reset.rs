//! RST_STREAM right behind the whole response to a request that has not ended (RFC 9113 8.1): h2 sees it a little later.
//!
//! The reader of a response resets the stream by itself, as it does when no RST_STREAM follows, and Envoy does so before it reads
//! on. h2 would have read both frames by then, and would send nothing.

use super::streams::Streams;

/// Turns of the event loop that the reader of the response has: one to see it, one for its RST_STREAM to leave, and one more where the
/// end of the response is read on its own. A reader that goes on with its request gets the reset then.
const TURNS_MAX: u8 = 3;

/// The RST_STREAM that waits, if one does. Nothing behind it is read before.
#[derive(Debug, Default)]
pub(super) enum EarlyReset {
    #[default]
    None,
    Waiting {
        stream: u32,
        turns: u8,
    },
    /// It has waited, and is the next frame.
    Due,
}

impl EarlyReset {
    /// A RST_STREAM of `stream` is the next frame. Has it to wait?
    pub(super) fn holds(&mut self, stream: u32, streams: &Streams) -> bool {
        match *self {
            Self::None if streams.awaits_only_our_end(stream) => {
                *self = Self::Waiting { stream, turns: 0 };
                true
            }
            Self::None | Self::Due => false,
            Self::Waiting { .. } => true,
        }
    }

    /// A turn has passed.
    pub(super) fn pass_turn(&mut self, streams: &Streams) {
        if let Self::Waiting { stream, turns } = self {
            *turns += 1;
            if *turns > TURNS_MAX || !streams.is_open(*stream) {
                *self = Self::Due;
            }
        }
    }

    /// A RST_STREAM is read. Has it waited?
    pub(super) fn end(&mut self) -> bool {
        matches!(std::mem::take(self), Self::Due)
    }
}
