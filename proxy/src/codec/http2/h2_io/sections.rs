//! Header sections of the peer, judged.
//!
//! A section that is well-formed passes as it is, bytes untouched. For a malformed one h2 gets a frame for which it resets
//! that stream and no other (RFC 9113 5.3.1). h2's HPACK table then lacks what the section would have done to it: from there
//! on, each section is written anew for h2, without the table.

use std::mem;

use bytes::{BufMut, BytesMut};

use super::StreamError;
use super::connection_state::ConnectionState;
use super::frame_error::FrameError;
use super::frame_reader::{FrameAction, FrameReader, HpackTable, MessageErrorScope, ReadEnd};
use super::recently_closed::ClosedBy;
use super::section::{FRAME_BYTES_MAX, PRIORITY_LEN, Section};
use super::streams::{MessageProgress, RemoteHalf};
use crate::codec::Violation;
use crate::codec::http2::frames::{
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, FrameHead, HEADERS, PRIORITISED, PROTOCOL_ERROR,
    ReceivedFrame, Role, STREAM_CLOSED, put_frame_head,
};
use crate::codec::http2::hpack::{Block, DecodingError, write_literal};
use crate::codec::http2::message::{MessageError, Original, SectionKind, judge, stand_in};

/// CONTINUATION frames that h2 takes in any section.
const H2_CONTINUATIONS: usize = 5;

/// What becomes of a header section.
enum SectionVerdict {
    Valid,
    NeedsRewrite,
    /// The stream is reset.
    StreamError(StreamError),
    /// The connection ends, as Envoy's does.
    MalformedMessage,
    /// Its stream is over here, so it is dropped.
    Ignored,
    /// Its stream does not exist or is closed: the connection ends with this code.
    ConnectionError(u32),
}

/// A header section on a stream whose peer may send nothing more.
const ON_A_CLOSED_STREAM: StreamError = StreamError::Malformed { violation: Violation::Unknown, code: STREAM_CLOSED };

impl FrameReader {
    pub(super) fn judge_section(&mut self, bytes: &[u8], section: &Section, state: &ConnectionState) -> FrameAction {
        let mut block = mem::take(&mut self.block);
        let decoded = self.decoder.decode(section.block(bytes), &mut block);
        let step = match decoded {
            Ok(()) => {
                state.count_section(section.head.stream, section.len, &block);
                let verdict = self.verdict(section, &block, state);
                self.carry_out(verdict, section, &block, state)
            }
            Err(DecodingError) => {
                self.note_unread(section.head.stream, state);
                self.end_with(FrameError::Unreadable {
                    code: COMPRESSION_ERROR,
                    text: b"",
                    stream: section.head.stream,
                })
            }
        };
        self.block = block;
        step
    }

    fn verdict(&mut self, section: &Section, block: &Block, state: &ConnectionState) -> SectionVerdict {
        let (stream, is_end) = (section.head.stream, section.head.flags & END_STREAM != 0);
        let kind = match self.section_kind(stream, state) {
            Ok(kind) => kind,
            Err(verdict) => return verdict,
        };
        if self.role == Role::Server && matches!(kind, SectionKind::Trailers { .. }) {
            state.stats.trailers.inc();
        }
        if let Some(excess) = block.excess() {
            return SectionVerdict::StreamError(StreamError::HeaderListTooLarge(excess));
        }
        let malformed =
            |violation| SectionVerdict::StreamError(StreamError::Malformed { violation, code: PROTOCOL_ERROR });
        let depends_on_itself = section.depends_on_itself;
        match judge(kind, block, is_end) {
            // RFC 9113 5.3.1. Envoy does not look at a server's priorities.
            Ok(_) if depends_on_itself && self.role == Role::Server => malformed(Violation::InvalidHeaderField),
            Ok(good) => {
                match (good.is_informational, is_end) {
                    (true, _) => {}
                    (false, true) => self.streams.note_end(stream),
                    (false, false) if good.excludes_content => {
                        self.streams.set(stream, RemoteHalf::WithoutContent);
                    }
                    (false, false) => {
                        self.streams.set(stream, RemoteHalf::Body(MessageProgress::after_head(good.content_length)));
                    }
                }
                let is_odd = good.is_odd || depends_on_itself || section.continuations > H2_CONTINUATIONS;
                if is_odd { SectionVerdict::NeedsRewrite } else { SectionVerdict::Valid }
            }
            Err(MessageError::Malformed) => malformed(Violation::InvalidHeaderField),
            Err(MessageError::Misplaced) => malformed(Violation::MessagingRule),
            Err(MessageError::NotPermitted) => SectionVerdict::MalformedMessage,
        }
    }

    /// What a header section on `stream` has to be, by the state of the stream.
    fn section_kind(&mut self, stream: u32, state: &ConnectionState) -> Result<SectionKind, SectionVerdict> {
        if self.streams.is_closed(stream, state) {
            return Err(SectionVerdict::Ignored);
        }
        let ends_stream_only = self.errors == MessageErrorScope::Stream;
        Ok(match (self.role, self.streams.remote_half(stream)) {
            (_, Some(RemoteHalf::Head)) => SectionKind::Response { ignores_length: state.ignores_length(stream) },
            (_, Some(RemoteHalf::Body(MessageProgress { head_length, content_bytes, .. }))) => {
                SectionKind::Trailers { head_length, content_bytes }
            }
            (_, Some(RemoteHalf::WithoutContent)) => SectionKind::Trailers { head_length: None, content_bytes: 0 },
            (_, Some(RemoteHalf::Ended)) if ends_stream_only => {
                return Err(SectionVerdict::StreamError(ON_A_CLOSED_STREAM));
            }
            (Role::Server, None) if self.streams.is_idle(stream) && !stream.is_multiple_of(2) => {
                self.streams.begin(stream);
                SectionKind::Request { may_have_protocol: self.may_have_protocol }
            }
            (_, None) if ends_stream_only && self.streams.closed_by(stream) == Some(ClosedBy::Reset) => {
                return Err(SectionVerdict::StreamError(ON_A_CLOSED_STREAM));
            }
            (_, Some(RemoteHalf::Ended)) => return Err(SectionVerdict::ConnectionError(STREAM_CLOSED)),
            (_, None) if self.streams.is_idle(stream) => return Err(SectionVerdict::ConnectionError(PROTOCOL_ERROR)),
            (_, None) if !ends_stream_only => return Err(SectionVerdict::Ignored),
            (_, None) if self.streams.was_never_opened(stream) => {
                return Err(SectionVerdict::ConnectionError(PROTOCOL_ERROR));
            }
            (_, None) => return Err(SectionVerdict::ConnectionError(STREAM_CLOSED)),
        })
    }

    fn carry_out(
        &mut self,
        verdict: SectionVerdict,
        section: &Section,
        block: &Block,
        state: &ConnectionState,
    ) -> FrameAction {
        let stream = section.head.stream;
        match verdict {
            SectionVerdict::Valid if self.h2s_table == HpackTable::InSync => {
                return self.show(ReceivedFrame { head: section.head, padding: 0 }, state, section.len);
            }
            SectionVerdict::Valid | SectionVerdict::NeedsRewrite => self.write_stand_in(section.head, block, state),
            SectionVerdict::MalformedMessage => return FrameAction::End(ReadEnd::MalformedMessage(stream)),
            SectionVerdict::StreamError(StreamError::Malformed { violation, .. })
                if self.errors == MessageErrorScope::Connection =>
            {
                state.malformed_as.set(Some(violation));
                return FrameAction::End(ReadEnd::MalformedMessage(stream));
            }
            SectionVerdict::StreamError(error) => self.reset(stream, error, state),
            SectionVerdict::Ignored => {}
            SectionVerdict::ConnectionError(code) => return self.end_with(FrameError::Forbidden { code, stream }),
        }
        self.h2s_table = HpackTable::Unused;
        FrameAction::Drop(section.len)
    }

    /// Makes h2 reset a stream.
    pub(super) fn reset(&mut self, stream: u32, error: StreamError, state: &ConnectionState) {
        let had_head = self.streams.reset(stream);
        state.note_stream_error(stream, error, had_head);
        let flags = END_HEADERS | END_STREAM | PRIORITISED;
        let head = FrameHead { len: PRIORITY_LEN, kind: HEADERS, flags, stream };
        put_frame_head(head, &mut self.out);
        self.out.put_u32(stream);
        self.out.put_u8(0);
        self.show_instead(head, state);
    }

    /// Writes a section anew, without the table, and with placeholders for what h2 cannot hold.
    fn write_stand_in(&mut self, head: FrameHead, block: &Block, state: &ConnectionState) {
        let mut original = Original::default();
        let mut coded = BytesMut::new();
        for field in block.fields() {
            let (name, value) = stand_in(field, &mut original);
            write_literal(name, value, &mut coded);
        }
        state.keep_original(head.stream, original);
        write_section(head, &coded, &mut self.out);
        self.show_instead(head, state);
    }

    /// h2 is shown a section of ours, whose frames have been counted as their peer sent them.
    fn show_instead(&mut self, head: FrameHead, state: &ConnectionState) {
        self.shown.kind = head.kind;
        self.shown.stream = head.stream;
        state.note_shown(ReceivedFrame { head, padding: 0 });
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
