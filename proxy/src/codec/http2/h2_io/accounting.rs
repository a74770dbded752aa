//! Counts the frames of the peer: floods, frames that call for a reply, and payload that is not read.

use std::rc::Rc;
use std::task::Context;

use super::connection_state::ConnectionState;
use super::early_bytes::EarlyBytes;
use crate::codec::http2::bounds::TURN_FRAMES_MAX;
use crate::codec::http2::flood::{Flood, FloodCounters};
use crate::codec::http2::frames::{
    DATA, END_STREAM, FRAME_HEAD_LEN, FrameHead, HEADERS, PRIORITY, ReceivedFrame, Role, Visibility,
};
use crate::codec::http2::hpack::Block;
use crate::codec::{Counted, WireBytes};

/// Requests whose bytes are kept until they are handed out: as many as a turn can bring, [`TURN_FRAMES_MAX`].
const EARLY_STREAMS_MAX: usize = TURN_FRAMES_MAX as usize;

impl ConnectionState {
    /// Counts a frame that has come, whatever becomes of it. Is it one too many of its kind?
    pub(super) fn count(&self, frame: ReceivedFrame, floods: &mut FloodCounters, role: Role) -> Option<Flood> {
        if frame.head.kind == HEADERS && role == Role::Server {
            self.note_stream(frame.head.stream);
        }
        self.read_budget.count();
        // Stream ids of clients are odd, and no server of ours or theirs pushes.
        let streams = u64::from(self.last_stream.get()).div_ceil(2);
        floods.note(frame, streams, self.data_sent.get())
    }

    /// Counts a header section that has come, in `frames` bytes, if that is wanted.
    pub(super) fn count_section(&self, stream: u32, frames: usize, block: &Block) {
        if !self.counts.get() {
            return;
        }
        let fields = block.field_bytes();
        match self.streams.borrow().get(&stream) {
            Some(state) => state.counted.iter().for_each(|counted| counted.section_received(frames, fields)),
            None => self.count_early(stream, EarlyBytes { sections: frames, fields, data: 0 }),
        }
    }

    /// Counts what comes of a request that was not handed out.
    fn count_early(&self, stream: u32, EarlyBytes { sections, fields, data }: EarlyBytes) {
        if self.counts.get() && stream > self.last_accepted_stream.get() {
            let mut uncounted = self.uncounted.borrow_mut();
            let early = uncounted.entry(stream).or_default();
            early.sections = early.sections.saturating_add(sections);
            early.fields = early.fields.saturating_add(fields);
            early.data = early.data.saturating_add(data);
            // Requests that are refused are never handed out; a turn brings no more than these.
            if uncounted.len() > EARLY_STREAMS_MAX {
                uncounted.pop_first();
            }
        }
    }

    /// Where a stream is counted.
    pub(in crate::codec::http2) fn counted(&self, stream: u32) -> Counted {
        self.streams.borrow().get(&stream).and_then(|state| state.counted.clone())
    }

    /// Counts a stream of a client there.
    pub(in crate::codec::http2) fn count_stream(&self, stream: u32, counted: &Rc<WireBytes>) {
        self.counts.set(true);
        if let Some(state) = self.streams.borrow_mut().get_mut(&stream) {
            state.counted = Some(Rc::clone(counted));
        }
    }

    /// Where a stream is counted that is handed out, with the head that it came with. Those before it that were not will not be any
    /// more (RFC 9113 5.1.1).
    pub(super) fn counted_from_head(&self, stream: u32) -> Counted {
        if !self.counts.get() {
            return None;
        }
        let mut uncounted = self.uncounted.borrow_mut();
        *uncounted = uncounted.split_off(&stream);
        let counted = WireBytes::default();
        if let Some(EarlyBytes { sections, fields, data }) = uncounted.remove(&stream) {
            counted.section_received(sections, fields);
            counted.frame_received(data);
        }
        Some(Rc::new(counted))
    }

    /// May some requests have come that were not handed out?
    pub(super) fn has_requests(&self) -> bool {
        self.last_stream.get() > self.last_accepted_stream.get() || !self.rejected_requests.borrow().is_empty()
    }

    /// A frame is to be shown to h2, or the first of those of a header section. May it be?
    pub(super) fn note_shown(&self, frame: ReceivedFrame) -> Visibility {
        match frame.head.kind {
            DATA => self.note_data(frame),
            HEADERS => {
                self.read_budget.count_reply();
                self.note_message(frame.head);
                Visibility::Shown
            }
            PRIORITY => {
                self.read_budget.count_reply();
                Visibility::Shown
            }
            _ => Visibility::Shown,
        }
    }

    /// Empty DATA changes nothing for its message, so h2 need not see it, which would count it: for a stream that is open,
    /// and for one that is over and may have been reset by us. For others it is an error, which h2 finds.
    fn note_data(&self, frame: ReceivedFrame) -> Visibility {
        let head = frame.head;
        let is_known = head.stream % 2 == 1 && head.stream <= self.last_stream.get();
        let Some(has_ended) = self.note_message(head) else {
            self.count_early(head.stream, EarlyBytes { data: FRAME_HEAD_LEN + head.len, ..EarlyBytes::default() });
            self.read_budget.count_reply();
            if frame.is_empty() && is_known {
                return self.credit(head);
            }
            return Visibility::Shown;
        };
        if frame.is_empty() && !has_ended { self.credit(head) } else { Visibility::Shown }
    }

    /// Hides a frame, whose bytes are to be given back to the windows.
    fn credit(&self, head: FrameHead) -> Visibility {
        self.add_credit(head.len);
        if let Some(sent) = self.streams.borrow_mut().get_mut(&head.stream) {
            sent.credit = sent.credit.saturating_add(u32::try_from(head.len).unwrap_or(u32::MAX));
        }
        Visibility::Hidden
    }

    /// So much payload is kept from h2, which would have given it back to the connection's window.
    pub(super) fn add_credit(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.credit.set(self.credit.get().saturating_add(bytes));
    }

    /// A piece of a message has come on a stream; had its message ended before? `None` if no handle of the stream is left.
    fn note_message(&self, head: FrameHead) -> Option<bool> {
        let mut streams = self.streams.borrow_mut();
        let sent = streams.get_mut(&head.stream)?;
        if head.kind == DATA
            && let Some(counted) = &sent.counted
        {
            counted.frame_received(FRAME_HEAD_LEN + head.len);
        }
        let had_ended = sent.has_ended;
        sent.has_ended |= head.flags & END_STREAM != 0;
        if let Some(stream) = sent.stream.upgrade()
            && stream.note_unread()
        {
            self.unread_streams.borrow_mut().push(head.stream);
        }
        Some(had_ended)
    }

    /// Everything that came has been handed out: takes care of what is not read, and lets more come.
    pub(in crate::codec::http2) fn end_turn(&self, cx: &mut Context<'_>) {
        let noted = std::mem::take(&mut *self.unread_streams.borrow_mut());
        for id in noted {
            let stream = self.streams.borrow().get(&id).and_then(|sent| sent.stream.upgrade());
            if stream.is_some_and(|stream| stream.gather()) {
                self.unread_streams.borrow_mut().push(id);
            }
        }
        if self.read_budget.end() {
            cx.waker().wake_by_ref();
        }
    }

    /// Counts a flood that ends the connection.
    pub(super) fn count_flood(&self, flood: Flood) {
        match flood {
            // Has no count of its own, in Envoy neither.
            Flood::Continuations => {}
            Flood::EmptyFrames => self.stats.inbound_empty_frames_flood.inc(),
            Flood::Priorities => self.stats.inbound_priority_frames_flood.inc(),
            Flood::WindowUpdates => self.stats.inbound_window_update_frames_flood.inc(),
        }
    }
}
