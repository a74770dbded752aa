//! Which of h2's frames go out, which are replaced, and which show that h2 found the peer's message malformed.

use bytes::Bytes;

use super::frame_error::FrameError;
use super::{ConnectionStatus, H2Io, MessageErrorScope};
use crate::codec::Violation;
use crate::codec::http2::frames::{
    ACK, DATA, FRAME_HEAD_LEN, FrameHead, GOAWAY, HEADERS, NO_ERROR, PING, PROTOCOL_ERROR, RST_STREAM, Role, SETTINGS,
    SHUTDOWN, STREAM_CLOSED, be_u32, frame_len, goaway_frame, reset_frame,
};
use crate::codec::http2::target::NotStandIn;

/// What to do with the bytes that h2 wants to write.
pub(super) enum WriteAction {
    /// Nothing more goes out, for this reason.
    Fail(ConnectionStatus),
    /// So many may go out.
    Pass(usize),
    /// These go out in the place of a frame, which has this length.
    Replace(Bytes, usize),
    /// Go on replacing.
    Resume,
}

/// What to do with a frame of h2.
enum FrameVerdict {
    Fail(ConnectionStatus),
    Pass,
    Replace(Bytes),
}

impl H2Io {
    /// Judges what h2 wants to write, of which `first` is the part that holds frame heads.
    pub(super) fn write_action(&self, first: &[u8]) -> WriteAction {
        if self.replaced > 0 {
            return WriteAction::Resume;
        }
        let mut pass = self.writing_left.min(first.len());
        while let Some(frame) = first.get(pass..).filter(|frame| !frame.is_empty()) {
            match self.judge(frame) {
                FrameVerdict::Pass => pass = first.len().min(pass + frame_len(frame)),
                _ if pass > 0 => break,
                FrameVerdict::Fail(status) => return WriteAction::Fail(status),
                FrameVerdict::Replace(instead) => {
                    return WriteAction::Replace(instead, frame_len(frame).min(first.len()));
                }
            }
        }
        WriteAction::Pass(pass)
    }

    fn judge(&self, frame: &[u8]) -> FrameVerdict {
        let Some(head) = FrameHead::parse(frame) else { return FrameVerdict::Pass };
        let payload = frame.get(FRAME_HEAD_LEN..).unwrap_or_default();
        let is_server = self.frame_reader.role == Role::Server;
        match head.kind {
            HEADERS if !is_server => match self.state.targets.replace(head, frame) {
                None => FrameVerdict::Pass,
                Some(Ok(frames)) => FrameVerdict::Replace(frames),
                // A request with another target than the client's must not go out: the connection ends instead.
                Some(Err(NotStandIn)) => FrameVerdict::Fail(ConnectionStatus::ClosedByUs),
            },
            SETTINGS if head.flags & ACK == 0 => match &self.settings {
                None => FrameVerdict::Pass,
                Some(settings) => FrameVerdict::Replace(settings.clone()),
            },
            PING if head.flags & ACK == 0 && payload.starts_with(&SHUTDOWN) => FrameVerdict::Replace(Bytes::new()),
            RST_STREAM if be_u32(payload) == Some(PROTOCOL_ERROR) => self.judge_reset(head.stream),
            RST_STREAM if be_u32(payload) == Some(NO_ERROR) => match self.state.reset_code(head.stream) {
                Some(code) => FrameVerdict::Replace(reset_frame(head.stream, code)),
                None => FrameVerdict::Pass,
            },
            // For responses that cross the reset of their stream, of which h2 remembers only the latest.
            RST_STREAM
                if !is_server && be_u32(payload) == Some(STREAM_CLOSED) && !self.state.is_reset_by_us(head.stream) =>
            {
                FrameVerdict::Replace(Bytes::new())
            }
            // Envoy's clients close with FIN alone: GOAWAY NO_ERROR adds nothing for a server.
            GOAWAY if !is_server && payload.get(4..).and_then(be_u32) == Some(NO_ERROR) => {
                FrameVerdict::Replace(Bytes::new())
            }
            GOAWAY if is_server || self.frame_reader.shown.frame_error.is_some() => match payload.split_first_chunk() {
                Some((last, rest)) => self.judge_goaway(*last, be_u32(rest)),
                None => FrameVerdict::Pass,
            },
            _ => FrameVerdict::Pass,
        }
    }

    /// h2 found a message malformed, or was shown that it is. Where that costs the connection, as with Envoy, a body that
    /// does not have its content-length still costs its stream alone, and so does a response.
    fn judge_reset(&self, stream: u32) -> FrameVerdict {
        if let Some(code) = self.state.reset_code(stream) {
            return FrameVerdict::Replace(reset_frame(stream, code));
        }
        if self.state.is_reset_by_us(stream) {
            return FrameVerdict::Pass;
        }
        let shown = self.frame_reader.shown;
        let ends_by_data = match shown.stream == stream {
            true => shown.kind == DATA,
            // Other frames came behind it; a head that was good makes it probable.
            false => self.state.is_accepted(stream),
        };
        if ends_by_data
            || self.frame_reader.errors == MessageErrorScope::Stream
            || self.frame_reader.role == Role::Client
        {
            self.state.note_malformed(stream, Violation::RemoteReset);
            return FrameVerdict::Pass;
        }
        FrameVerdict::Fail(ConnectionStatus::MalformedMessage(stream))
    }

    /// h2 ends the connection.
    fn judge_goaway(&self, last: [u8; 4], code: Option<u32>) -> FrameVerdict {
        match code {
            None | Some(NO_ERROR) => FrameVerdict::Pass,
            Some(PROTOCOL_ERROR) => self.judge_protocol_error(last),
            Some(_) => {
                self.state.fail(ConnectionStatus::ProtocolError);
                FrameVerdict::Pass
            }
        }
    }

    /// h2 found PROTOCOL_ERROR in the frames themselves.
    fn judge_protocol_error(&self, last: [u8; 4]) -> FrameVerdict {
        match self.frame_reader.shown.frame_error {
            Some(FrameError::Forbidden { code, stream }) => {
                self.state.note_malformed(stream, Violation::Unknown);
                if self.frame_reader.errors == MessageErrorScope::Connection {
                    return FrameVerdict::Fail(ConnectionStatus::ProtocolError);
                }
                self.state.fail(ConnectionStatus::ProtocolError);
                FrameVerdict::Replace(goaway_frame(last, code, b""))
            }
            Some(FrameError::Unreadable { code, text, stream }) => {
                self.state.fail(ConnectionStatus::ProtocolError);
                let last = u32::from_be_bytes(last).max(stream);
                FrameVerdict::Replace(goaway_frame(last.to_be_bytes(), code, text))
            }
            None => {
                self.state.fail(ConnectionStatus::ProtocolError);
                FrameVerdict::Pass
            }
        }
    }
}
