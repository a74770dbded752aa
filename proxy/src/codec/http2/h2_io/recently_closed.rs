//! The streams that the client closed of late, so that its errors on them are distinguished from frames that cross our own reset.

/// Streams that [`RecentlyClosed`] holds. Frames on a stream that is forgotten are ignored, which RFC 9113 5.1 permits, so this
/// only limits for how long a client's error is called one.
const CLOSED_STREAMS_MAX: usize = 16;

/// How the peer closed a stream. What it sends behind that is its error (RFC 9113 5.1, closed).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClosedBy {
    /// Each side has ended its half, with END_STREAM.
    BothEnds,
    /// The peer's RST_STREAM.
    Reset,
}

/// The latest streams that the peer closed, so that frames behind are distinguished from those that cross our own reset.
#[derive(Debug, Default)]
pub(super) struct RecentlyClosed {
    streams: [Option<(u32, ClosedBy)>; CLOSED_STREAMS_MAX],
    next: usize,
}

impl RecentlyClosed {
    pub(super) fn note(&mut self, stream: u32, by: ClosedBy) {
        if let Some(slot) = self.streams.get_mut(self.next) {
            *slot = Some((stream, by));
        }
        self.next = (self.next + 1) % CLOSED_STREAMS_MAX;
    }

    /// `None` for a stream that is open, was closed by us, or was closed too long ago.
    pub(super) fn by(&self, stream: u32) -> Option<ClosedBy> {
        self.streams.iter().flatten().find(|(closed, _)| *closed == stream).map(|(_, by)| *by)
    }

    pub(super) fn forget(&mut self, stream: u32) {
        for slot in &mut self.streams {
            *slot = slot.filter(|(closed, _)| *closed != stream);
        }
    }
}
