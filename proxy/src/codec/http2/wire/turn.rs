//! How many frames came from the peer: in one turn, and since the peer last read.

use std::cell::Cell;

use crate::codec::http2::bounds::{OWED_FRAMES_MAX, TURN_FRAMES_MAX};

/// Frames that have come since something happened.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Since the turn began; see [`TURN_FRAMES_MAX`].
    frames: Cell<u32>,
    /// Those that may call for an answer, since the socket took something; see [`OWED_FRAMES_MAX`].
    owed: Cell<u32>,
    after: Cell<After>,
}

/// What the end of the turn has to wake.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum After {
    /// Nothing.
    #[default]
    Nothing,
    /// The way in, to report its end.
    Reading,
}

impl Turn {
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
    pub(super) fn is_owing(&self) -> bool {
        self.owed.get() >= OWED_FRAMES_MAX
    }

    /// The socket has taken something.
    pub(super) fn note_write(&self) {
        self.owed.set(0);
    }

    /// A frame has come that may call for RST_STREAM.
    pub(super) fn owe(&self) {
        self.owed.set(self.owed.get().saturating_add(1));
    }

    /// Has all that was read been handed out? If not, the end of the turn wakes the reader.
    pub(super) fn is_fresh(&self) -> bool {
        let is_fresh = self.frames.get() == 0;
        if !is_fresh {
            self.after.set(After::Reading);
        }
        is_fresh
    }

    /// All that was read has been handed out. Does the way in wait for that?
    pub(super) fn end(&self) -> bool {
        let is_awaited = self.after.replace(After::Nothing) == After::Reading;
        self.frames.replace(0) >= TURN_FRAMES_MAX || is_awaited
    }
}
