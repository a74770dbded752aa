//! How many frames are read of the peer: in one turn of the connection's task, and until the peer reads.

use std::cell::Cell;

use crate::codec::http2::bounds::{PENDING_REPLIES_MAX, TURN_FRAMES_MAX};

/// Frames that have come since something happened.
#[derive(Debug, Default)]
pub(super) struct ReadBudget {
    /// Since the turn began; see [`TURN_FRAMES_MAX`].
    frames: Cell<u32>,
    /// Those that may call for a reply, since the socket took something; see [`PENDING_REPLIES_MAX`].
    replies: Cell<u32>,
    after: Cell<WakeAtEnd>,
}

/// What the end of the turn has to wake.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum WakeAtEnd {
    /// No read waits for the end of the turn.
    #[default]
    Nothing,
    /// The way in, to report its end.
    Reader,
}

impl ReadBudget {
    #[cfg(test)]
    pub(super) fn frames(&self) -> u32 {
        self.frames.get()
    }

    /// A frame has come.
    pub(super) fn count(&self) {
        self.frames.set(self.frames.get().saturating_add(1));
    }

    /// Have enough frames been read in this turn?
    pub(super) fn is_over(&self) -> bool {
        self.frames.get() >= TURN_FRAMES_MAX
    }

    /// Does the peer have to read before more is read of it?
    pub(super) fn has_too_many_replies(&self) -> bool {
        self.replies.get() >= PENDING_REPLIES_MAX
    }

    /// The socket has taken something.
    pub(super) fn note_write(&self) {
        self.replies.set(0);
    }

    /// A frame has come that may call for RST_STREAM.
    pub(super) fn count_reply(&self) {
        self.replies.set(self.replies.get().saturating_add(1));
    }

    /// Has all that was read been handed out? If not, the end of the turn wakes the reader.
    pub(super) fn is_fresh(&self) -> bool {
        let is_fresh = self.frames.get() == 0;
        if !is_fresh {
            self.after.set(WakeAtEnd::Reader);
        }
        is_fresh
    }

    /// All that was read has been handed out. Does the way in wait for that?
    pub(super) fn end(&self) -> bool {
        let is_awaited = self.after.replace(WakeAtEnd::Nothing) == WakeAtEnd::Reader;
        self.frames.replace(0) >= TURN_FRAMES_MAX || is_awaited
    }
}
