//! Which of h2's frames go out, which are replaced, and which tell that the peer's message was malformed.

use bytes::Bytes;

use super::complaint::Complaint;
use super::{Fate, MessageErrors, Wire};
use crate::codec::Violation;
use crate::codec::http2::frames::{
    ACK, DATA, FRAME_HEAD_LEN, FrameHead, GOAWAY, HEADERS, NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, Role, SETTINGS,
    SHUTDOWN, STREAM_CLOSED, be_u32, frame_len, goaway_frame, reset_frame,
};
use crate::codec::http2::target::NotStandIn;

/// What to do with the bytes that h2 wants to write.
pub(super) enum Plan {
    /// Nothing more goes out, for this reason.
    Fail(Fate),
    /// So many may go out.
    Pass(usize),
    /// These go out in the place of a frame, which has this length.
    Replace(Bytes, usize),
    /// Go on replacing.
    Resume,
}

/// What to do with a frame of h2.
enum Verdict {
    Fail(Fate),
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
                Verdict::Fail(fate) => return Plan::Fail(fate),
                Verdict::Replace(instead) => return Plan::Replace(instead, frame_len(frame).min(first.len())),
            }
        }
        Plan::Pass(pass)
    }

    fn judge(&self, frame: &[u8]) -> Verdict {
        let Some(head) = FrameHead::parse(frame) else { return Verdict::Pass };
        let payload = frame.get(FRAME_HEAD_LEN..).unwrap_or_default();
        let is_server = self.intake.role == Role::Server;
        match head.kind {
            HEADERS if !is_server => match self.shared.targets.replace(head, frame) {
                None => Verdict::Pass,
                Some(Ok(frames)) => Verdict::Replace(frames),
                // Rather no connection than a request that says something else.
                Some(Err(NotStandIn)) => Verdict::Fail(Fate::Dropped),
            },
            SETTINGS if head.flags & ACK == 0 => match &self.settings {
                None => Verdict::Pass,
                Some(settings) => Verdict::Replace(settings.clone()),
            },
            PING if head.flags & ACK == 0 && payload.starts_with(&SHUTDOWN) => Verdict::Replace(Bytes::new()),
            RST_STREAM if be_u32(payload) == Some(PROTOCOL_ERROR) => self.judge_reset(head.stream),
            // For answers that cross the reset of their stream, of which h2 remembers only the latest.
            RST_STREAM
                if !is_server && be_u32(payload) == Some(STREAM_CLOSED) && !self.shared.is_reset_by_us(head.stream) =>
            {
                Verdict::Replace(Bytes::new())
            }
            // Envoy's clients leave by FIN alone: a server learns nothing from GOAWAY that FIN does not say.
            GOAWAY if !is_server && payload.get(4..).and_then(be_u32) == Some(NO_ERROR) => {
                Verdict::Replace(Bytes::new())
            }
            GOAWAY if is_server || self.intake.shown.complaint.is_some() => match payload.split_first_chunk() {
                Some((last, rest)) => self.judge_goaway(*last, be_u32(rest)),
                None => Verdict::Pass,
            },
            _ => Verdict::Pass,
        }
    }

    /// h2 found a message malformed, or was shown that it is. Where that costs the connection, as with Envoy, a body that
    /// does not have its content-length still costs its stream alone, and so does a response.
    fn judge_reset(&self, stream: u32) -> Verdict {
        if let Some(code) = self.shared.reset_code(stream) {
            return Verdict::Replace(reset_frame(stream, code));
        }
        if self.shared.is_reset_by_us(stream) {
            return Verdict::Pass;
        }
        let shown = self.intake.shown;
        let ends_by_data = match shown.stream == stream {
            true => shown.kind == DATA,
            // Other frames came behind it; a head that was good makes it probable.
            false => self.shared.is_watched(stream),
        };
        if ends_by_data || self.intake.errors == MessageErrors::EndStreams || self.intake.role == Role::Client {
            self.shared.note_malformed(stream, Violation::RemoteReset);
            return Verdict::Pass;
        }
        Verdict::Fail(Fate::InvalidMessage(stream))
    }

    /// h2 ends the connection.
    fn judge_goaway(&self, last: [u8; 4], code: Option<u32>) -> Verdict {
        match code {
            None | Some(NO_ERROR) => Verdict::Pass,
            Some(PROTOCOL_ERROR) => self.judge_protocol_error(last),
            Some(_) => {
                self.shared.fail(Fate::BrokenProtocol);
                Verdict::Pass
            }
        }
    }

    /// h2 found PROTOCOL_ERROR in the frames themselves.
    fn judge_protocol_error(&self, last: [u8; 4]) -> Verdict {
        match self.intake.shown.complaint {
            Some(Complaint::Forbidden { code, stream }) => {
                self.shared.note_malformed(stream, Violation::Unknown);
                if self.intake.errors == MessageErrors::EndConnections {
                    return Verdict::Fail(Fate::BrokenProtocol);
                }
                self.shared.fail(Fate::BrokenProtocol);
                Verdict::Replace(goaway_frame(last, code, b""))
            }
            Some(Complaint::Told { code, text, stream }) => {
                self.shared.fail(Fate::BrokenProtocol);
                let last = u32::from_be_bytes(last).max(stream);
                Verdict::Replace(goaway_frame(last.to_be_bytes(), code, text))
            }
            None => {
                self.shared.fail(Fate::BrokenProtocol);
                Verdict::Pass
            }
        }
    }
}
