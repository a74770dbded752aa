//! What comes from the peer, before h2 sees it: header sections are judged here, so that h2 never finds one that would cost
//! the whole connection.
//!
//! A section that is well-formed passes as it is, bytes untouched. For a malformed one h2 gets a frame for which it resets
//! that stream and no other (RFC 9113 5.3.1). h2's HPACK table then lacks what the section would have done to it: from there
//! on, each section is written anew for h2, without the table.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::Refusal;
use super::closed::{ClosedBy, LatelyClosed};
use super::section::{BrokenFraming, FRAME_BYTES_MAX, PRIORITY_LEN, Section};
use super::shared::{Fate, Shared};
use crate::codec::Violation;
use crate::codec::http2::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD_LEN, FrameHead, HEADERS, PREFACE, PRIORITISED,
    PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, Received, Role, STREAM_CLOSED, put_frame_head,
};
use crate::codec::http2::hpack::{Block, Decoder, DecodingError, ListLimit, write_literal};
use crate::codec::http2::message::{Original, SectionKind, Wrong, judge, stand_in};
use crate::config::listener::Http2Options;
use crate::config::{Difference, Differences};

/// How many CONTINUATION frames a section may have, at least: h2's number. Every other kind of bytes that waits here is one
/// frame at most, so this bounds [`Intake::partial`].
const CONTINUATIONS_MIN: usize = 5;
/// A block that no decoder takes (RFC 7541 6.1): h2 ends the connection for it.
const NO_BLOCK: &[u8] = &[0x80];

/// What a malformed message costs its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageErrors {
    /// The connection, and with it every stream: Envoy's default.
    EndConnections,
    /// The stream (RFC 9113 8.1.1).
    EndStreams,
}

impl MessageErrors {
    /// What holds where these differences from Envoy are in force.
    #[must_use]
    pub fn with(differences: Differences) -> Self {
        if differences.has(Difference::Http2StreamErrors) { Self::EndStreams } else { Self::EndConnections }
    }
}

/// Judges what comes from the peer.
#[derive(Debug)]
pub(super) struct Intake {
    role: Role,
    errors: MessageErrors,
    may_have_protocol: bool,
    continuations_max: usize,
    decoder: Decoder,
    /// Of the section that is being judged; kept for its memory.
    block: Block,
    h2s_table: Table,
    /// From the beginning of a frame that cannot be judged yet.
    partial: BytesMut,
    /// What h2 is to read next.
    out: BytesMut,
    /// Bytes of the current frames that are still to come, and what becomes of them.
    left: usize,
    left_is_dropped: bool,
    streams: BTreeMap<u32, Receiving>,
    /// Servers only.
    closed: LatelyClosed,
    /// The largest stream that the client, at whichever end, has opened.
    last_stream: u32,
    /// Streams below it that the client passed over, the latest time that it did: they are never opened (RFC 9113 5.1.1).
    skipped: Range<u32>,
    /// The peer's message has ended the connection.
    failed: Option<Fate>,
}

/// Has h2's HPACK decoder seen what ours has?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Table {
    Same,
    /// It has not, so no section may refer to it.
    Unused,
    /// The peer broke the framing: h2 sees everything as it comes, and ends the connection.
    Unwatched,
}

/// What is still to come on a stream from its peer. Of a stream that is not here, nothing; it is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Receiving {
    /// A response.
    Head,
    /// The rest of a message whose header section has come.
    Rest(Rest),
    /// The end of a response whose status excludes content (RFC 9110 15.3.5, 15.4.5), perhaps with trailers. Clients only.
    RestWithoutContent,
    /// Nothing, but our response has not ended (RFC 9113 5.1, half-closed). Servers only: a client that has its response
    /// takes no interest in the stream any more.
    Nothing,
}

/// A message whose header section has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Rest {
    /// We have ended our half.
    ours_ended: bool,
    head_has_length: bool,
    content_bytes: u64,
}

/// What to do with the frames at hand.
enum Step {
    /// So many bytes pass as they are, though some have yet to come.
    Pass(usize),
    /// So many bytes are dropped, though some have yet to come. What h2 gets instead is in `out`.
    Drop(usize),
    /// Nothing until more has come.
    Wait,
}

/// What becomes of a header section.
enum Verdict {
    Plain,
    Odd,
    /// The stream is reset.
    Refused(Refusal),
    /// The connection ends, as Envoy's does.
    Fatal,
    /// Nobody waits for it any more.
    Late,
}

/// A header section on a stream whose peer may send nothing more.
const ON_A_CLOSED_STREAM: Refusal = Refusal::Malformed { violation: Violation::MessagingRule, code: STREAM_CLOSED };

impl Intake {
    pub(super) fn new(role: Role, errors: MessageErrors, options: &Http2Options, limit: ListLimit) -> Self {
        let frames = limit.bytes.div_ceil(FRAME_BYTES_MAX);
        Self {
            role,
            errors,
            may_have_protocol: options.allow_connect,
            continuations_max: (frames + frames / 4).max(CONTINUATIONS_MIN),
            decoder: Decoder::new(options.hpack_table_size, limit),
            block: Block::default(),
            h2s_table: Table::Same,
            partial: BytesMut::new(),
            out: BytesMut::new(),
            // The client's preface is no frame.
            left: if role == Role::Server { PREFACE.len() } else { 0 },
            left_is_dropped: false,
            streams: BTreeMap::new(),
            closed: LatelyClosed::default(),
            last_stream: 0,
            skipped: 0..0,
            failed: None,
        }
    }

    /// What h2 is to read before anything else.
    pub(super) fn ready(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// Why nothing more may be read, once h2 has read what came before.
    pub(super) fn failed(&self) -> Option<Fate> {
        self.failed.filter(|_| self.out.is_empty())
    }

    /// A frame of ours leaves.
    pub(super) fn note_sent(&mut self, frame: FrameHead) {
        match frame.kind {
            HEADERS if self.role == Role::Client && frame.stream > self.last_stream => {
                self.last_stream = frame.stream;
                self.streams.insert(frame.stream, Receiving::Head);
            }
            RST_STREAM => drop(self.streams.remove(&frame.stream)),
            _ => {}
        }
        if self.role == Role::Server && matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            match self.streams.get_mut(&frame.stream) {
                Some(Receiving::Rest(rest)) => rest.ours_ended = true,
                Some(Receiving::Head | Receiving::RestWithoutContent | Receiving::Nothing) => {
                    self.streams.remove(&frame.stream);
                    self.closed.note(frame.stream, ClosedBy::BothEnds);
                }
                None => {}
            }
        }
    }

    /// The peer has ended its half of a stream.
    fn note_end(&mut self, stream: u32) {
        match self.streams.remove(&stream) {
            None | Some(Receiving::Rest(Rest { ours_ended: false, .. })) if self.role == Role::Server => {
                self.streams.insert(stream, Receiving::Nothing);
            }
            Some(Receiving::Rest(Rest { ours_ended: true, .. })) => self.closed.note(stream, ClosedBy::BothEnds),
            _ => {}
        }
    }

    /// Nothing more will come: what waits is for h2 to complain of.
    pub(super) fn end(&mut self) {
        self.out.unsplit(mem::take(&mut self.partial));
    }

    /// Takes bytes that have just come. Returns how many of them, from the first on, pass as they are; what becomes of the
    /// others is ready or waits. To be called while nothing is ready.
    pub(super) fn take(&mut self, fresh: &[u8], shared: &Shared) -> usize {
        let mut at = 0;
        if self.partial.is_empty() && !self.left_is_dropped {
            loop {
                let passed = self.left.min(fresh.len() - at);
                self.left -= passed;
                at += passed;
                let Some(rest) = fresh.get(at..).filter(|rest| !rest.is_empty()) else { return at };
                match self.step(rest, shared) {
                    Step::Pass(bytes) => self.left = bytes,
                    Step::Drop(bytes) => {
                        self.left = bytes;
                        self.left_is_dropped = true;
                        break;
                    }
                    Step::Wait => break,
                }
            }
        }
        self.partial.extend_from_slice(fresh.get(at..).unwrap_or_default());
        self.work_off(shared);
        at
    }

    /// Judges what has waited.
    fn work_off(&mut self, shared: &Shared) {
        let mut bytes = mem::take(&mut self.partial);
        while !bytes.is_empty() && self.failed.is_none() {
            if self.left > 0 {
                let piece = bytes.split_to(self.left.min(bytes.len()));
                self.left -= piece.len();
                if !self.left_is_dropped {
                    self.out.extend_from_slice(&piece);
                }
                continue;
            }
            self.left_is_dropped = false;
            match self.step(&bytes, shared) {
                Step::Pass(len) => self.left = len,
                Step::Drop(len) => {
                    self.left = len;
                    self.left_is_dropped = true;
                }
                Step::Wait => {
                    self.partial = bytes;
                    return;
                }
            }
        }
        self.left_is_dropped &= self.left > 0;
    }

    /// Judges the frame that `bytes` begin with, or the frames if it begins a header section.
    fn step(&mut self, bytes: &[u8], shared: &Shared) -> Step {
        if self.h2s_table == Table::Unwatched {
            return Step::Pass(usize::MAX);
        }
        let Some(head) = FrameHead::parse(bytes) else { return Step::Wait };
        match head.kind {
            _ if head.len > FRAME_BYTES_MAX => self.stop_watching(),
            DATA => self.judge_data(bytes, head, shared),
            HEADERS if head.stream > 0 => match Section::parse(bytes, self.continuations_max) {
                Ok(Some(section)) => self.judge_section(bytes, &section, shared),
                Ok(None) => Step::Wait,
                Err(BrokenFraming) => self.stop_watching(),
            },
            HEADERS | CONTINUATION | PUSH_PROMISE => self.stop_watching(),
            RST_STREAM => {
                if self.streams.remove(&head.stream).is_some() && self.role == Role::Server {
                    self.closed.note(head.stream, ClosedBy::Reset);
                }
                Step::Pass(FRAME_HEAD_LEN + head.len)
            }
            _ => Step::Pass(FRAME_HEAD_LEN + head.len),
        }
    }

    fn stop_watching(&mut self) -> Step {
        self.h2s_table = Table::Unwatched;
        Step::Pass(usize::MAX)
    }

    fn judge_data(&mut self, bytes: &[u8], head: FrameHead, shared: &Shared) -> Step {
        if self.is_late(head.stream, shared) {
            return drop_data(head, shared);
        }
        let Some(received) = Received::parse(bytes) else { return Step::Wait };
        let code = match self.streams.get_mut(&head.stream) {
            Some(Receiving::Rest(rest)) => {
                rest.content_bytes = rest.content_bytes.saturating_add(received.content_bytes());
                None
            }
            Some(Receiving::RestWithoutContent) if received.content_bytes() > 0 => {
                self.reset(head.stream, Refusal::Content, shared);
                return drop_data(head, shared);
            }
            Some(Receiving::RestWithoutContent) => None,
            // RFC 9113 8.1: a body comes behind its head.
            Some(Receiving::Head) => Some(PROTOCOL_ERROR),
            Some(Receiving::Nothing) => Some(STREAM_CLOSED),
            None if self.closed.by(head.stream) == Some(ClosedBy::Reset) => Some(STREAM_CLOSED),
            None => None,
        };
        match code {
            Some(code) if self.errors == MessageErrors::EndStreams => {
                self.reset(head.stream, Refusal::Malformed { violation: Violation::MessagingRule, code }, shared);
                drop_data(head, shared)
            }
            Some(_) | None => {
                if head.flags & END_STREAM != 0 && self.streams.contains_key(&head.stream) {
                    self.note_end(head.stream);
                }
                Step::Pass(FRAME_HEAD_LEN + head.len)
            }
        }
    }

    fn judge_section(&mut self, bytes: &[u8], section: &Section, shared: &Shared) -> Step {
        let mut block = mem::take(&mut self.block);
        let decoded = self.decoder.decode(section.block(bytes), &mut block);
        let step = match decoded {
            Ok(()) => {
                let verdict = self.verdict(section, &block, shared);
                self.carry_out(verdict, section, &block, shared)
            }
            Err(DecodingError) => {
                self.write_section(section.head, NO_BLOCK);
                self.h2s_table = Table::Unwatched;
                Step::Drop(section.len)
            }
        };
        self.block = block;
        step
    }

    fn verdict(&mut self, section: &Section, block: &Block, shared: &Shared) -> Verdict {
        let (stream, is_end) = (section.head.stream, section.head.flags & END_STREAM != 0);
        if self.is_late(stream, shared) {
            return Verdict::Late;
        }
        let receiving = self.streams.get(&stream).copied();
        let kind = match (self.role, receiving) {
            (_, Some(Receiving::Head)) => SectionKind::Response,
            (_, Some(Receiving::Rest(Rest { head_has_length, content_bytes, .. }))) => {
                SectionKind::Trailers { head_has_length, content_bytes }
            }
            (_, Some(Receiving::RestWithoutContent)) => {
                SectionKind::Trailers { head_has_length: false, content_bytes: 0 }
            }
            (_, Some(Receiving::Nothing)) if self.errors == MessageErrors::EndStreams => {
                return Verdict::Refused(ON_A_CLOSED_STREAM);
            }
            (Role::Server, None) if self.is_idle(stream) && !stream.is_multiple_of(2) => {
                if stream > self.last_stream + 2 {
                    self.skipped = self.last_stream + 1..stream;
                }
                self.last_stream = stream;
                SectionKind::Request { may_have_protocol: self.may_have_protocol }
            }
            (_, None)
                if self.errors == MessageErrors::EndStreams && self.closed.by(stream) == Some(ClosedBy::Reset) =>
            {
                return Verdict::Refused(ON_A_CLOSED_STREAM);
            }
            // The stream does not exist or is closed, and h2 ends the connection for it.
            (_, Some(Receiving::Nothing) | None) => return Verdict::Plain,
        };
        if let Some(excess) = block.excess() {
            return Verdict::Refused(Refusal::TooLarge(excess));
        }
        let malformed = |violation| Verdict::Refused(Refusal::Malformed { violation, code: PROTOCOL_ERROR });
        let depends_on_itself = section.depends_on_itself;
        match judge(kind, block, is_end) {
            // RFC 9113 5.3.1. Envoy does not look at a server's priorities.
            Ok(_) if depends_on_itself && self.role == Role::Server => malformed(Violation::InvalidHeaderField),
            Ok(good) => {
                match (good.is_informational, is_end) {
                    (true, _) => {}
                    (false, true) => self.note_end(stream),
                    (false, false) if good.excludes_content => {
                        self.streams.insert(stream, Receiving::RestWithoutContent);
                    }
                    (false, false) => {
                        let rest = Rest { head_has_length: good.has_content_length, ..Rest::default() };
                        self.streams.insert(stream, Receiving::Rest(rest));
                    }
                }
                if good.is_odd || depends_on_itself { Verdict::Odd } else { Verdict::Plain }
            }
            Err(Wrong::Malformed) => malformed(Violation::InvalidHeaderField),
            Err(Wrong::Misplaced) => malformed(Violation::MessagingRule),
            Err(Wrong::NotPermitted) => Verdict::Fatal,
        }
    }

    /// Is nothing that comes on the stream of interest any more? It was closed by us, or so long ago that nothing is known of
    /// it (RFC 9113 5.1, closed).
    fn is_late(&self, stream: u32, shared: &Shared) -> bool {
        let was_opened = || !self.is_idle(stream) && !self.skipped.contains(&stream);
        shared.is_reset_by_us(stream)
            || !self.streams.contains_key(&stream) && was_opened() && self.closed.by(stream).is_none()
    }

    /// Has the client never opened this stream?
    fn is_idle(&self, stream: u32) -> bool {
        stream > self.last_stream || stream.is_multiple_of(2)
    }

    fn carry_out(&mut self, verdict: Verdict, section: &Section, block: &Block, shared: &Shared) -> Step {
        let stream = section.head.stream;
        match verdict {
            Verdict::Plain if self.h2s_table == Table::Same => return Step::Pass(section.len),
            Verdict::Plain | Verdict::Odd => self.write_stand_in(section.head, block, shared),
            Verdict::Fatal => self.failed = Some(Fate::InvalidMessage(Some(stream))),
            Verdict::Refused(Refusal::Malformed { violation, .. }) if self.errors == MessageErrors::EndConnections => {
                shared.malformed_as.set(Some(violation));
                self.failed = Some(Fate::InvalidMessage(Some(stream)));
            }
            Verdict::Refused(refusal) => self.reset(stream, refusal, shared),
            Verdict::Late => {}
        }
        self.h2s_table = Table::Unused;
        Step::Drop(section.len)
    }

    /// Makes h2 reset a stream.
    fn reset(&mut self, stream: u32, refusal: Refusal, shared: &Shared) {
        let had_head = self.streams.remove(&stream).is_some() || self.closed.by(stream).is_some();
        self.closed.forget(stream);
        shared.refuse(stream, refusal, had_head);
        let flags = END_HEADERS | END_STREAM | PRIORITISED;
        put_frame_head(FrameHead { len: PRIORITY_LEN, kind: HEADERS, flags, stream }, &mut self.out);
        self.out.put_u32(stream);
        self.out.put_u8(0);
    }

    /// Writes a section anew, without the table, and with placeholders for what h2 cannot hold.
    fn write_stand_in(&mut self, head: FrameHead, block: &Block, shared: &Shared) {
        let mut original = Original::default();
        let mut coded = BytesMut::new();
        for field in block.fields() {
            let (name, value) = stand_in(field, &mut original);
            write_literal(name, value, &mut coded);
        }
        shared.keep_original(head.stream, original);
        self.write_section(head, &coded);
    }

    fn write_section(&mut self, head: FrameHead, coded: &[u8]) {
        let mut pieces = coded.chunks(FRAME_BYTES_MAX).peekable();
        let (mut kind, mut flags) = (HEADERS, head.flags & END_STREAM);
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= END_HEADERS;
            }
            put_frame_head(FrameHead { len: piece.len(), kind, flags, stream: head.stream }, &mut self.out);
            self.out.put_slice(piece);
            (kind, flags) = (CONTINUATION, 0);
        }
    }
}

/// Keeps DATA from h2, and has its sender paid for it.
fn drop_data(head: FrameHead, shared: &Shared) -> Step {
    shared.owe_credit(head.len);
    Step::Drop(FRAME_HEAD_LEN + head.len)
}
