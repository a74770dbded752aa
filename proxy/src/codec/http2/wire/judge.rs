//! Which of h2's frames go out, which are replaced, and which tell that the peer's message was malformed.

use bytes::Bytes;

use super::Wire;
use crate::codec::http2::frames::{
    ACK, DATA, FRAME_HEAD_LEN, FrameHead, GOAWAY, PING, PROTOCOL_ERROR, RST_STREAM, Role, SETTINGS, SHUTDOWN,
    STREAM_CLOSED, be_u32, frame_len, goaway_frame,
};

/// What to do with the bytes that h2 wants to write.
pub(super) enum Plan {
    /// The peer's message on this stream is malformed.
    Fail(Option<u32>),
    /// So many may go out.
    Pass(usize),
    /// These go out in the place of a frame, which has this length.
    Replace(Bytes, usize),
    /// Go on replacing.
    Resume,
}

/// What to do with a frame of h2.
enum Verdict {
    Fail(Option<u32>),
    Pass,
    Replace(Bytes),
}

impl Wire {
    /// Judges what h2 wants to write, of which `first` is the part that holds frame heads.
    pub(super) fn plan(&self, first: &[u8]) -> Plan {
        if self.replaced > 0 {
            return Plan::Resume;
        }
        let mut pass = self.writing_left.min(first.len());
        while let Some(frame) = first.get(pass..).filter(|frame| !frame.is_empty()) {
            match self.judge(frame) {
                Verdict::Pass => pass = first.len().min(pass + frame_len(frame)),
                _ if pass > 0 => break,
                Verdict::Fail(stream) => return Plan::Fail(stream),
                Verdict::Replace(instead) => return Plan::Replace(instead, frame_len(frame).min(first.len())),
            }
        }
        Plan::Pass(pass)
    }

    fn judge(&self, frame: &[u8]) -> Verdict {
        let Some(head) = FrameHead::parse(frame) else { return Verdict::Pass };
        let payload = frame.get(FRAME_HEAD_LEN..).unwrap_or_default();
        let is_server = self.role == Role::Server;
        match head.kind {
            SETTINGS if head.flags & ACK == 0 => match &self.settings {
                None => Verdict::Pass,
                Some(settings) => Verdict::Replace(settings.clone()),
            },
            PING if head.flags & ACK == 0 && payload.starts_with(&SHUTDOWN) => Verdict::Replace(Bytes::new()),
            RST_STREAM if is_server && be_u32(payload) == Some(PROTOCOL_ERROR) => self.judge_reset(head.stream),
            GOAWAY if is_server => match payload.split_first_chunk() {
                Some((last, rest)) if be_u32(rest) == Some(PROTOCOL_ERROR) => self.judge_goaway(*last),
                _ => Verdict::Pass,
            },
            _ => Verdict::Pass,
        }
    }

    /// h2 found a message malformed: connection headers, a missing or an unwanted pseudo-header, a body that
    /// does not have its content-length. Envoy drops the connection, and so do we.
    fn judge_reset(&self, stream: u32) -> Verdict {
        match self.shared.reset_by_us.borrow().contains(&stream) {
            true => Verdict::Pass,
            false => Verdict::Fail(Some(stream)),
        }
    }

    /// h2 found PROTOCOL_ERROR in the frames themselves.
    fn judge_goaway(&self, last: [u8; 4]) -> Verdict {
        let is_known = (1..=u32::from_be_bytes(last)).contains(&self.reading.stream);
        if self.reading.kind == DATA && is_known {
            // RFC 9113 5.1, half-closed (remote): the code is STREAM_CLOSED. The text is nghttp2's.
            return Verdict::Replace(goaway_frame(last, STREAM_CLOSED, b"DATA: stream in half-closed(remote)"));
        }
        if self.reading.saw_header_block {
            // An upper-case field name is an HPACK error to h2, a malformed message to Envoy.
            return Verdict::Fail(None);
        }
        Verdict::Pass
    }
}
