//! Header sections of the peer, judged.
//!
//! A section that is well-formed passes as it is, bytes untouched. For a malformed one h2 gets a frame for which it resets
//! that stream and no other (RFC 9113 5.3.1). h2's HPACK table then lacks what the section would have done to it: from there
//! on, each section is written anew for h2, without the table.

use std::mem;

use bytes::{BufMut, BytesMut};

use super::Refusal;
use super::closed::ClosedBy;
use super::complaint::Complaint;
use super::intake::{End, Intake, MessageErrors, Step, Table};
use super::section::{FRAME_BYTES_MAX, PRIORITY_LEN, Section};
use super::shared::Shared;
use super::streams::{Receiving, Rest};
use crate::codec::Violation;
use crate::codec::http2::frames::{
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, FrameHead, HEADERS, PRIORITISED, PROTOCOL_ERROR,
    Received, Role, STREAM_CLOSED, put_frame_head,
};
use crate::codec::http2::hpack::{Block, DecodingError, write_literal};
use crate::codec::http2::message::{Original, SectionKind, Wrong, judge, stand_in};

/// CONTINUATION frames that h2 takes in any section.
const H2_CONTINUATIONS: usize = 5;

/// What becomes of a header section.
enum Verdict {
    Plain,
    Odd,
    /// The stream is reset.
    Refused(Refusal),
    /// The connection ends, as Envoy's does.
    Fatal,
    /// Its stream is over here, so it is dropped.
    Late,
    /// Its stream does not exist or is closed: the connection ends with this code.
    Forbidden(u32),
}

/// A header section on a stream whose peer may send nothing more.
const ON_A_CLOSED_STREAM: Refusal = Refusal::Malformed { violation: Violation::Unknown, code: STREAM_CLOSED };

impl Intake {
    pub(super) fn judge_section(&mut self, bytes: &[u8], section: &Section, shared: &Shared) -> Step {
        let mut block = mem::take(&mut self.block);
        let decoded = self.decoder.decode(section.block(bytes), &mut block);
        let step = match decoded {
            Ok(()) => {
                let verdict = self.verdict(section, &block, shared);
                self.carry_out(verdict, section, &block, shared)
            }
            Err(DecodingError) => {
                self.note_unread(section.head.stream, shared);
                self.complain(Complaint::Told { code: COMPRESSION_ERROR, text: b"", stream: section.head.stream })
            }
        };
        self.block = block;
        step
    }

    fn verdict(&mut self, section: &Section, block: &Block, shared: &Shared) -> Verdict {
        let (stream, is_end) = (section.head.stream, section.head.flags & END_STREAM != 0);
        if self.streams.is_late(stream, shared) {
            return Verdict::Late;
        }
        let costs_its_stream = self.errors == MessageErrors::EndStreams;
        let kind = match (self.role, self.streams.receiving(stream)) {
            (_, Some(Receiving::Head)) => {
                SectionKind::Response { length_says_nothing: shared.length_says_nothing(stream) }
            }
            (_, Some(Receiving::Rest(Rest { head_length, content_bytes, .. }))) => {
                SectionKind::Trailers { head_length, content_bytes }
            }
            (_, Some(Receiving::RestWithoutContent)) => SectionKind::Trailers { head_length: None, content_bytes: 0 },
            (_, Some(Receiving::Nothing)) if costs_its_stream => return Verdict::Refused(ON_A_CLOSED_STREAM),
            (Role::Server, None) if self.streams.is_idle(stream) && !stream.is_multiple_of(2) => {
                self.streams.begin(stream);
                SectionKind::Request { may_have_protocol: self.may_have_protocol }
            }
            (_, None) if costs_its_stream && self.streams.closed_by(stream) == Some(ClosedBy::Reset) => {
                return Verdict::Refused(ON_A_CLOSED_STREAM);
            }
            (_, Some(Receiving::Nothing)) => return Verdict::Forbidden(STREAM_CLOSED),
            (_, None) if self.streams.is_idle(stream) => return Verdict::Forbidden(PROTOCOL_ERROR),
            (_, None) if !costs_its_stream => return Verdict::Late,
            (_, None) if self.streams.was_never_opened(stream) => return Verdict::Forbidden(PROTOCOL_ERROR),
            (_, None) => return Verdict::Forbidden(STREAM_CLOSED),
        };
        if self.role == Role::Server && matches!(kind, SectionKind::Trailers { .. }) {
            shared.stats.trailers.inc();
        }
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
                    (false, true) => self.streams.note_end(stream),
                    (false, false) if good.excludes_content => {
                        self.streams.set(stream, Receiving::RestWithoutContent);
                    }
                    (false, false) => {
                        self.streams.set(stream, Receiving::Rest(Rest::after_head(good.content_length)));
                    }
                }
                let is_odd = good.is_odd || depends_on_itself || section.continuations > H2_CONTINUATIONS;
                if is_odd { Verdict::Odd } else { Verdict::Plain }
            }
            Err(Wrong::Malformed) => malformed(Violation::InvalidHeaderField),
            Err(Wrong::Misplaced) => malformed(Violation::MessagingRule),
            Err(Wrong::NotPermitted) => Verdict::Fatal,
        }
    }

    fn carry_out(&mut self, verdict: Verdict, section: &Section, block: &Block, shared: &Shared) -> Step {
        let stream = section.head.stream;
        match verdict {
            Verdict::Plain if self.h2s_table == Table::Same => {
                return self.show(Received { head: section.head, padding: 0 }, shared, section.len);
            }
            Verdict::Plain | Verdict::Odd => self.write_stand_in(section.head, block, shared),
            Verdict::Fatal => return Step::End(End::Invalid(stream)),
            Verdict::Refused(Refusal::Malformed { violation, .. }) if self.errors == MessageErrors::EndConnections => {
                shared.malformed_as.set(Some(violation));
                return Step::End(End::Invalid(stream));
            }
            Verdict::Refused(refusal) => self.reset(stream, refusal, shared),
            Verdict::Late => {}
            Verdict::Forbidden(code) => return self.complain(Complaint::Forbidden { code, stream }),
        }
        self.h2s_table = Table::Unused;
        Step::Drop(section.len)
    }

    /// Makes h2 reset a stream.
    pub(super) fn reset(&mut self, stream: u32, refusal: Refusal, shared: &Shared) {
        let had_head = self.streams.reset(stream);
        shared.refuse(stream, refusal, had_head);
        let flags = END_HEADERS | END_STREAM | PRIORITISED;
        let head = FrameHead { len: PRIORITY_LEN, kind: HEADERS, flags, stream };
        put_frame_head(head, &mut self.out);
        self.out.put_u32(stream);
        self.out.put_u8(0);
        self.show_instead(head, shared);
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
        write_section(head, &coded, &mut self.out);
        self.show_instead(head, shared);
    }

    /// h2 is shown a section of ours, whose frames have been counted as their peer sent them.
    fn show_instead(&mut self, head: FrameHead, shared: &Shared) {
        self.shown.kind = head.kind;
        self.shown.stream = head.stream;
        shared.note_shown(Received { head, padding: 0 });
    }
}

fn write_section(head: FrameHead, coded: &[u8], to: &mut BytesMut) {
    let last = coded.len().saturating_sub(1) / FRAME_BYTES_MAX;
    let (mut kind, mut flags) = (HEADERS, head.flags & END_STREAM);
    for at in 0..=last {
        if at == last {
            flags |= END_HEADERS;
        }
        let begin = at * FRAME_BYTES_MAX;
        let piece = coded.get(begin..coded.len().min(begin + FRAME_BYTES_MAX)).unwrap_or_default();
        put_frame_head(FrameHead { len: piece.len(), kind, flags, stream: head.stream }, to);
        to.put_slice(piece);
        (kind, flags) = (CONTINUATION, 0);
    }
}
