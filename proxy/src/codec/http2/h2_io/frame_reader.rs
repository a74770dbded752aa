//! What comes from the peer, before h2 sees it: each frame is read once, counted, and passed, hidden, dropped or replaced.
//!
//! Header sections are judged in [`sections`](super::sections), so that h2 never finds one that would cost the whole
//! connection. Nor does h2 see frames that break the framing: it is shown one that stands for them, when all that came
//! before has been handed out, and what it then sends is replaced by what Envoy sends ([`FrameError`]).

use std::mem;

use bytes::BytesMut;

use super::StreamError;
use super::connection_state::ConnectionState;
use super::early_reset::EarlyReset;
use super::frame_error::{FrameError, has_right_length};
use super::recently_closed::ClosedBy;
use super::section::{BrokenFraming, FRAME_BYTES_MAX, PRIORITY_LEN, Section, SectionLimit};
use super::streams::{RemoteHalf, Streams};
use crate::codec::Violation;
use crate::codec::http2::CONNECTION;
use crate::codec::http2::flood::{Flood, FloodCounters};
use crate::codec::http2::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD_LEN, FRAME_SIZE_ERROR, FrameHead, GOAWAY, HEADERS,
    IGNORED, KIND_AT, PREFACE, PRIORITY, PROTOCOL_ERROR, RST_STREAM, ReceivedFrame, Role, SETTINGS, STREAM_CLOSED,
    STREAM_ID_MAX, Visibility, WINDOW_UPDATE, be_u32, put_frame_head,
};
use crate::codec::http2::hpack::{Block, Decoder, ListLimit};
use crate::config::listener::Http2Options;
use crate::config::{Difference, Differences};

/// How many frames a section may have when a head is as large as may be, at least. With the size of a frame this bounds
/// [`FrameReader::partial`]: of every other frame less than one waits there.
const SECTION_FRAMES_MIN: usize = 6;
/// CONTINUATION frames of a section: Envoy's limit.
const CONTINUATIONS_MAX: usize = 512;

/// What a malformed message ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageErrorScope {
    /// The connection, and with it every stream: Envoy's default.
    Connection,
    /// The stream (RFC 9113 8.1.1).
    Stream,
}

impl MessageErrorScope {
    /// What holds where these differences from Envoy are in force.
    #[must_use]
    pub fn with(differences: Differences) -> Self {
        if differences.has(Difference::Http2StreamErrors) { Self::Stream } else { Self::Connection }
    }
}

/// Reads the frames of the peer and decides what h2 sees of each.
#[derive(Debug)]
pub(super) struct FrameReader {
    pub(super) role: Role,
    pub(super) errors: MessageErrorScope,
    pub(super) may_have_protocol: bool,
    section_limit: SectionLimit,
    floods: FloodCounters,
    pub(super) decoder: Decoder,
    /// Of the section that is being judged; kept for its memory.
    pub(super) block: Block,
    pub(super) h2s_table: HpackTable,
    first_frame: FirstFrame,
    /// Begins at the beginning of a frame that cannot be judged yet, or of the section that it belongs to.
    partial: BytesMut,
    /// The section of which some frames are in `partial`.
    section: Option<Section>,
    /// What h2 is to read next.
    pub(super) out: BytesMut,
    current: CurrentFrame,
    pub(super) streams: Streams,
    pub(super) settings_ack: SettingsAck,
    pub(super) shown: LastShown,
    early_reset: EarlyReset,
    ended: Option<ReadEnd>,
}

/// Has h2's HPACK decoder seen what ours has?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HpackTable {
    InSync,
    /// It has not, so no section may refer to it.
    Unused,
}

/// The first frame of all, which has to be SETTINGS (RFC 9113 3.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FirstFrame {
    Awaited,
    Received,
}

/// Have our SETTINGS been acknowledged?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SettingsAck {
    Awaited,
    Received,
}

/// What becomes of the frames at hand, of which so many bytes have yet to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CurrentFrame {
    Passing(usize),
    Dropping(usize),
}

/// The frame that h2 was shown last, so that an error of h2 can be traced to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastShown {
    pub(super) kind: u8,
    pub(super) stream: u32,
    /// Of the frames of the last read.
    pub(super) frame_error: Option<FrameError>,
}

/// Why nothing more is read of the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReadEnd {
    /// Too many frames that cost their sender nothing, the last of them on this stream.
    Flooded { flood: Flood, stream: u32 },
    /// A message that is not permitted, on this stream.
    MalformedMessage(u32),
    /// The first frame was something else.
    NotSettings,
    /// h2 is to end the connection, for a [`FrameError`].
    FrameError,
    /// h2 has been given a frame for which it does.
    FrameErrorInjected,
}

/// What to do with the frames at hand.
pub(super) enum FrameAction {
    /// So many bytes pass as they are, though some have yet to come.
    Pass(usize),
    /// The same, with a type that is ignored.
    Hide(usize),
    /// So many bytes are dropped, though some have yet to come. What h2 gets instead is in `out`.
    Drop(usize),
    /// Nothing until more has come.
    Wait,
    End(ReadEnd),
}

impl FrameReader {
    pub(super) fn new(role: Role, errors: MessageErrorScope, options: &Http2Options, limit: ListLimit) -> Self {
        let frames = limit.bytes.div_ceil(FRAME_BYTES_MAX);
        let frames = (frames + frames / 4).max(SECTION_FRAMES_MIN);
        Self {
            role,
            errors,
            may_have_protocol: options.allow_connect,
            section_limit: SectionLimit { bytes: frames * FRAME_BYTES_MAX, continuations: CONTINUATIONS_MAX },
            floods: FloodCounters::new(options.floods),
            decoder: Decoder::new(options.hpack_table_size, limit),
            block: Block::default(),
            h2s_table: HpackTable::InSync,
            first_frame: FirstFrame::Awaited,
            partial: BytesMut::new(),
            section: None,
            out: BytesMut::new(),
            // The client's preface is no frame.
            current: CurrentFrame::Passing(if role == Role::Server { PREFACE.len() } else { 0 }),
            streams: Streams::new(role),
            settings_ack: SettingsAck::Awaited,
            shown: LastShown::default(),
            early_reset: EarlyReset::None,
            ended: None,
        }
    }

    /// What h2 is to read before anything else.
    pub(super) fn ready(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Why nothing more is taken, once h2 has read what came before.
    pub(super) fn ended(&self) -> Option<ReadEnd> {
        self.ended.filter(|_| self.out.is_empty())
    }

    /// Gives h2 a frame for which it ends the connection, once, if that is how it ends: a CONTINUATION that continues nothing
    /// stands for whatever is wrong.
    pub(super) fn inject_frame_error(&mut self) -> bool {
        let is_to_be_given = self.ended == Some(ReadEnd::FrameError);
        if is_to_be_given {
            let stray = FrameHead { len: 0, kind: CONTINUATION, flags: END_HEADERS, stream: 1 };
            put_frame_head(stray, &mut self.out);
            self.ended = Some(ReadEnd::FrameErrorInjected);
        }
        is_to_be_given
    }

    /// Has h2 read frames that are whole?
    pub(super) fn is_between_frames(&self) -> bool {
        self.out.is_empty() && matches!(self.current, CurrentFrame::Passing(0) | CurrentFrame::Dropping(_))
    }

    /// Takes bytes that have just come. Returns how many of them, from the first on, pass as they are but for types that
    /// were changed; what becomes of the others is ready or waits. To be called while nothing is ready.
    pub(super) fn take(&mut self, fresh: &mut [u8], state: &ConnectionState) -> usize {
        self.shown.frame_error = None;
        let mut at = 0;
        while self.partial.is_empty()
            && let CurrentFrame::Passing(left) = &mut self.current
        {
            let passed = (*left).min(fresh.len() - at);
            *left -= passed;
            at += passed;
            let Some(rest) = fresh.get_mut(at..).filter(|rest| !rest.is_empty()) else { return at };
            match self.step(rest, state) {
                FrameAction::Wait => break,
                FrameAction::End(end) => {
                    self.ended = Some(end);
                    return at;
                }
                decided @ (FrameAction::Drop(_) | FrameAction::Hide(_) | FrameAction::Pass(_)) => {
                    self.carry_on(&decided, rest)
                }
            }
        }
        self.partial.extend_from_slice(fresh.get(at..).unwrap_or_default());
        self.work_off(state);
        at
    }

    /// Has nothing more to be read before the next turn? To be called once a turn, while nothing is ready.
    pub(super) fn waits_a_turn(&mut self, state: &ConnectionState) -> bool {
        self.early_reset.pass_turn(&self.streams);
        if matches!(self.early_reset, EarlyReset::Due) {
            self.work_off(state);
        }
        matches!(self.early_reset, EarlyReset::Waiting { .. }) && self.out.is_empty()
    }

    /// Judges what has waited.
    fn work_off(&mut self, state: &ConnectionState) {
        let mut bytes = mem::take(&mut self.partial);
        while !bytes.is_empty() {
            match &mut self.current {
                CurrentFrame::Passing(left) if *left > 0 => {
                    let piece = bytes.split_to(bytes.len().min(*left));
                    *left -= piece.len();
                    self.out.extend_from_slice(&piece);
                    continue;
                }
                CurrentFrame::Dropping(left) if *left > 0 => {
                    let piece = bytes.split_to(bytes.len().min(*left));
                    *left -= piece.len();
                    continue;
                }
                CurrentFrame::Dropping(_) | CurrentFrame::Passing(_) => {}
            }
            match self.step(&bytes, state) {
                FrameAction::Wait => {
                    self.partial = bytes;
                    return;
                }
                FrameAction::End(end) => {
                    self.ended = Some(end);
                    return;
                }
                decided @ (FrameAction::Drop(_) | FrameAction::Hide(_) | FrameAction::Pass(_)) => {
                    self.carry_on(&decided, &mut bytes)
                }
            }
        }
        if self.current == CurrentFrame::Dropping(0) {
            self.current = CurrentFrame::Passing(0);
        }
    }

    fn carry_on(&mut self, decided: &FrameAction, bytes: &mut [u8]) {
        self.current = match *decided {
            FrameAction::Drop(len) => CurrentFrame::Dropping(len),
            FrameAction::Hide(len) => {
                if let Some(kind) = bytes.get_mut(KIND_AT) {
                    *kind = IGNORED;
                }
                CurrentFrame::Passing(len)
            }
            FrameAction::Pass(len) => CurrentFrame::Passing(len),
            FrameAction::End(_) | FrameAction::Wait => return,
        };
    }

    /// Judges the frame that `bytes` begin with, or the frames if it begins a header section. Each frame is counted here,
    /// once, as soon as there is enough of it to be judged.
    fn step(&mut self, bytes: &[u8], state: &ConnectionState) -> FrameAction {
        loop {
            let at = self.section.as_ref().map_or(0, |section| section.len);
            let frame = bytes.get(at..).unwrap_or_default();
            let Some(received) = ReceivedFrame::parse(frame) else { return FrameAction::Wait };
            let head = received.head;
            if self.first_frame == FirstFrame::Awaited && (head.kind != SETTINGS || head.flags & ACK != 0) {
                return FrameAction::End(ReadEnd::NotSettings);
            }
            self.first_frame = FirstFrame::Received;
            if head.len > FRAME_BYTES_MAX {
                return self.end_with(FrameError::of_length(b"too large frame size"));
            }
            let payload = frame.get(FRAME_HEAD_LEN..).unwrap_or_default();
            if payload.len() < bytes_needed(head) {
                return FrameAction::Wait;
            }
            if head.kind == RST_STREAM && self.section.is_none() && self.early_reset.holds(head.stream, &self.streams) {
                return FrameAction::Wait;
            }
            if let Some(flood) = state.count(received, &mut self.floods, self.role) {
                return FrameAction::End(ReadEnd::Flooded { flood, stream: head.stream });
            }
            if self.section.is_none() && (head.kind != HEADERS || head.stream == CONNECTION) {
                return self.judge_frame(received, payload, state);
            }
            match self.gather(bytes, head, payload) {
                Ok(Some(section)) => return self.judge_section(bytes, &section, state),
                Ok(None) => {}
                Err(BrokenFraming::TooMany) => {
                    return FrameAction::End(ReadEnd::Flooded { flood: Flood::Continuations, stream: head.stream });
                }
                Err(BrokenFraming::CutOff) => {
                    let stream = FrameHead::parse(bytes).map_or(CONNECTION, |first| first.stream);
                    self.note_unread(stream, state);
                    let text = b"unexpected non-CONTINUATION frame or stream_id is invalid";
                    return self.end_with(FrameError::Unreadable { code: PROTOCOL_ERROR, text, stream });
                }
                Err(BrokenFraming::NoPriority) => return self.end_with(FrameError::of_length(b"")),
                Err(BrokenFraming::NoPadding) => {
                    return self.end_with(FrameError::of_framing(b"HEADERS: insufficient padding space"));
                }
                Err(BrokenFraming::TooMuchPadding) => {
                    return self.end_with(FrameError::of_framing(b"HEADERS: invalid padding"));
                }
            }
        }
    }

    /// Adds a frame to the section that is under way, or begins one. Returns it when it is whole.
    fn gather(&mut self, bytes: &[u8], head: FrameHead, payload: &[u8]) -> Result<Option<Section>, BrokenFraming> {
        let section = match self.section.take() {
            None => Section::begin(head, payload.get(..head.len).unwrap_or_default())?,
            Some(mut section) => {
                section.go_on(bytes, head, self.section_limit)?;
                section
            }
        };
        if section.is_whole() {
            return Ok(Some(section));
        }
        self.section = Some(section);
        Ok(None)
    }

    pub(super) fn end_with(&mut self, frame_error: FrameError) -> FrameAction {
        self.shown.frame_error = Some(frame_error);
        FrameAction::End(ReadEnd::FrameError)
    }

    /// The connection ends for a section that may have been a request's head: it has a record of its own.
    pub(super) fn note_unread(&self, stream: u32, state: &ConnectionState) {
        if self.role == Role::Server && self.streams.is_idle(stream) {
            state.malformed_as.set(Some(Violation::Protocol));
        }
    }

    /// Judges a frame that is no part of a section.
    fn judge_frame(&mut self, received: ReceivedFrame, payload: &[u8], state: &ConnectionState) -> FrameAction {
        let head = received.head;
        let len = FRAME_HEAD_LEN + head.len;
        match head.kind {
            PRIORITY if head.len != PRIORITY_LEN && self.is_of_its_stream(head.stream) => {
                return self.stream_error(head, FRAME_SIZE_ERROR, state);
            }
            _ if !has_right_length(head) => return self.end_with(FrameError::of_length(b"")),
            CONTINUATION => return self.end_with(FrameError::of_framing(b"CONTINUATION: unexpected")),
            DATA => return self.judge_data(received, state),
            _ => {}
        }
        if let Some(forbidden) = self.forbid(head, payload, state) {
            return forbidden;
        }
        match head.kind {
            GOAWAY => match self.role {
                // It is about streams that we would open, and we push none (RFC 9113 6.8). Envoy ignores it too; h2 would
                // send a GOAWAY of its own and serve nothing more.
                Role::Server => return FrameAction::Hide(len),
                Role::Client => state.goaway_last.set(be_u32(payload).map(|last| last & STREAM_ID_MAX)),
            },
            PRIORITY => return self.judge_priority(received, payload, state),
            RST_STREAM => {
                if self.early_reset.end() || self.streams.is_open(head.stream) {
                    state.stats.rx_reset.inc();
                }
                self.streams.note_reset(head.stream);
            }
            WINDOW_UPDATE if head.stream != CONNECTION => return self.judge_window(received, payload, state),
            _ => {}
        }
        self.show(received, state, len)
    }

    /// Lets h2 see a frame, unless it has to be hidden.
    pub(super) fn show(&mut self, received: ReceivedFrame, state: &ConnectionState, len: usize) -> FrameAction {
        let ReceivedFrame { head, .. } = received;
        self.shown.kind = head.kind;
        self.shown.stream = head.stream;
        match state.note_shown(received) {
            Visibility::Hidden => FrameAction::Hide(len),
            Visibility::Shown => FrameAction::Pass(len),
        }
    }

    fn judge_data(&mut self, received: ReceivedFrame, state: &ConnectionState) -> FrameAction {
        let head = received.head;
        if head.stream == CONNECTION {
            return self.end_with(FrameError::of_framing(b"DATA: stream_id == 0"));
        }
        if self.streams.is_closed(head.stream, state) {
            return drop_data(head, state);
        }
        if self.streams.is_idle(head.stream) {
            return self.end_with(FrameError::of_framing(b"DATA: stream in idle"));
        }
        if received.padding > head.len {
            let text: &[u8] =
                if head.len == 0 { b"DATA: insufficient padding space" } else { b"DATA: invalid padding" };
            return self.end_with(FrameError::of_framing(text));
        }
        let code = match self.streams.remote_half(head.stream) {
            Some(RemoteHalf::Body(_)) => {
                self.streams.add_content(head.stream, received.content_bytes());
                None
            }
            Some(RemoteHalf::WithoutContent) if received.content_bytes() > 0 => {
                self.reset(head.stream, StreamError::UnexpectedContent, state);
                return drop_data(head, state);
            }
            Some(RemoteHalf::WithoutContent) => None,
            Some(RemoteHalf::Ended) if self.errors == MessageErrorScope::Connection => {
                // RFC 9113 5.1, half-closed (remote): the code is STREAM_CLOSED. The text is nghttp2's.
                let text = b"DATA: stream in half-closed(remote)";
                return self.end_with(FrameError::Unreadable { code: STREAM_CLOSED, text, stream: CONNECTION });
            }
            Some(RemoteHalf::Head) if self.errors == MessageErrorScope::Connection => {
                return self.end_with(FrameError::of_framing(b"DATA: stream not opened"));
            }
            None if self.errors == MessageErrorScope::Connection => return drop_data(head, state),
            // RFC 9113 8.1: a body comes behind its head.
            Some(RemoteHalf::Head) => Some((Violation::MessagingRule, PROTOCOL_ERROR)),
            Some(RemoteHalf::Ended) => Some((Violation::Unknown, STREAM_CLOSED)),
            None if self.streams.closed_by(head.stream) == Some(ClosedBy::Reset) => {
                Some((Violation::Unknown, STREAM_CLOSED))
            }
            None => None,
        };
        if let Some((violation, code)) = code
            && self.errors == MessageErrorScope::Stream
        {
            self.reset(head.stream, StreamError::Malformed { violation, code }, state);
            return drop_data(head, state);
        }
        if head.flags & END_STREAM != 0 && self.streams.remote_half(head.stream).is_some() {
            self.streams.note_end(head.stream);
        }
        self.show(received, state, FRAME_HEAD_LEN + head.len)
    }
}

/// How much of a payload has to be there to judge its frame. Bytes.
fn bytes_needed(head: FrameHead) -> usize {
    match head.kind {
        HEADERS | CONTINUATION => head.len,
        SETTINGS if has_right_length(head) => head.len,
        GOAWAY | PRIORITY | WINDOW_UPDATE => head.len.min(4),
        _ => 0,
    }
}

/// Keeps DATA from h2, and has its sender paid for it.
fn drop_data(head: FrameHead, state: &ConnectionState) -> FrameAction {
    state.add_credit(head.len);
    FrameAction::Drop(FRAME_HEAD_LEN + head.len)
}
