//! What is still to come on each stream from its peer (RFC 9113 5.1).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::connection_state::ConnectionState;
use super::recently_closed::{ClosedBy, RecentlyClosed};
use super::stream_map::remove;
use crate::codec::http2::frames::{DATA, END_STREAM, FrameHead, HEADERS, RST_STREAM, Role};

/// The streams of a connection, as far as their peer's frames are concerned.
#[derive(Debug)]
pub(super) struct Streams {
    role: Role,
    open: BTreeMap<u32, RemoteHalf>,
    /// Requests of ours that have not ended. Clients only.
    requests: BTreeSet<u32>,
    /// Servers only.
    closed: RecentlyClosed,
    /// The largest stream that the client, at whichever end, has opened.
    last: u32,
    /// Streams below it that the client passed over, the latest time that it did: they are never opened (RFC 9113 5.1.1).
    skipped: Range<u32>,
}

/// What is still to come on a stream from its peer. Of a stream that is not here, nothing; it is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RemoteHalf {
    /// The head of a response. Clients only.
    Head,
    /// The rest of a message whose header section has come.
    Body(MessageProgress),
    /// The end of a response whose status excludes content (RFC 9110 15.3.5, 15.4.5), perhaps with trailers. Clients only.
    WithoutContent,
    /// Nothing, but our response has not ended (RFC 9113 5.1, half-closed). Servers only: a client that has its response
    /// takes no interest in the stream any more.
    Ended,
}

/// A message whose header section has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct MessageProgress {
    /// We have ended our half.
    ours_ended: bool,
    /// The content-length of the head.
    pub(super) head_length: Option<u64>,
    pub(super) content_bytes: u64,
}

impl MessageProgress {
    pub(super) fn after_head(head_length: Option<u64>) -> Self {
        Self { head_length, ..Self::default() }
    }
}

impl Streams {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            open: BTreeMap::new(),
            requests: BTreeSet::new(),
            closed: RecentlyClosed::default(),
            last: 0,
            skipped: 0..0,
        }
    }

    /// What is still to come on `stream`; `None` if it is closed or was never opened.
    pub(super) fn remote_half(&self, stream: u32) -> Option<RemoteHalf> {
        self.open.get(&stream).copied()
    }

    pub(super) fn set(&mut self, stream: u32, remote_half: RemoteHalf) {
        self.open.insert(stream, remote_half);
    }

    /// Counts content of a message whose head has come.
    pub(super) fn add_content(&mut self, stream: u32, bytes: u64) {
        if let Some(RemoteHalf::Body(rest)) = self.open.get_mut(&stream) {
            rest.content_bytes = rest.content_bytes.saturating_add(bytes);
        }
    }

    /// How the client closed `stream`, if it did so of late.
    pub(super) fn closed_by(&self, stream: u32) -> Option<ClosedBy> {
        self.closed.by(stream)
    }

    /// The client opens `stream`.
    pub(super) fn begin(&mut self, stream: u32) {
        if stream > self.last + 2 {
            self.skipped = self.last + 1..stream;
        }
        self.last = stream;
    }

    /// A frame of ours leaves.
    pub(super) fn note_sent(&mut self, frame: FrameHead) {
        match frame.kind {
            HEADERS if self.role == Role::Client && frame.stream > self.last => {
                self.last = frame.stream;
                self.open.insert(frame.stream, RemoteHalf::Head);
                self.requests.insert(frame.stream);
            }
            RST_STREAM => {
                remove(&mut self.open, frame.stream);
                self.requests.remove(&frame.stream);
            }
            _ => {}
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            self.requests.remove(&frame.stream);
        }
        if self.role == Role::Server && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            match self.open.get_mut(&frame.stream) {
                Some(RemoteHalf::Body(rest)) => rest.ours_ended = true,
                Some(RemoteHalf::Head | RemoteHalf::WithoutContent | RemoteHalf::Ended) => {
                    remove(&mut self.open, frame.stream);
                    self.closed.note(frame.stream, ClosedBy::BothEnds);
                }
                None => {}
            }
        }
    }

    /// The peer has ended its half of a stream.
    pub(super) fn note_end(&mut self, stream: u32) {
        match remove(&mut self.open, stream) {
            None | Some(RemoteHalf::Body(MessageProgress { ours_ended: false, .. })) if self.role == Role::Server => {
                self.open.insert(stream, RemoteHalf::Ended);
            }
            Some(RemoteHalf::Body(MessageProgress { ours_ended: true, .. })) => {
                self.closed.note(stream, ClosedBy::BothEnds)
            }
            _ => {}
        }
    }

    /// Has one of the two ends more to send on the stream? `None` from [`Self::remote_half`] may be only the peer's half.
    pub(super) fn is_open(&self, stream: u32) -> bool {
        self.open.contains_key(&stream) || self.requests.contains(&stream)
    }

    /// Has the response come whole, and our request not ended? Clients only.
    pub(super) fn awaits_only_our_end(&self, stream: u32) -> bool {
        !self.open.contains_key(&stream) && self.requests.contains(&stream)
    }

    /// The peer has reset a stream.
    pub(super) fn note_reset(&mut self, stream: u32) {
        self.requests.remove(&stream);
        if remove(&mut self.open, stream).is_some() && self.role == Role::Server {
            self.closed.note(stream, ClosedBy::Reset);
        }
    }

    /// We reset a stream. Had its head come?
    pub(super) fn reset(&mut self, stream: u32) -> bool {
        let had_head = remove(&mut self.open, stream).is_some() || self.closed.by(stream).is_some();
        self.closed.forget(stream);
        had_head
    }

    /// Is nothing that comes on the stream of interest any more? It was closed by us, or so long ago that nothing is known of
    /// it (RFC 9113 5.1, closed).
    pub(super) fn is_closed(&self, stream: u32, state: &ConnectionState) -> bool {
        state.is_reset_by_us(stream)
            || !self.open.contains_key(&stream) && !self.was_never_opened(stream) && self.closed.by(stream).is_none()
    }

    /// Has the client not opened this stream, be it that it passed it over?
    pub(super) fn was_never_opened(&self, stream: u32) -> bool {
        self.is_idle(stream) || self.skipped.contains(&stream)
    }

    /// May the client still open this stream, or is it one that it cannot open?
    pub(super) fn is_idle(&self, stream: u32) -> bool {
        stream > self.last || stream.is_multiple_of(2)
    }
}
