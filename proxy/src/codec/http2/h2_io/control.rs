//! Control frames that may not come where they stand, or with their values (RFC 9113 6.3 to 6.9).
//!
//! h2 finds them too, but from then on it hands out no request, not even one that came before. So they are found here.

use super::StreamError;
use super::connection_state::ConnectionState;
use super::frame_error::FrameError;
use super::frame_reader::{FrameAction, FrameReader, MessageErrorScope, SettingsAck};
use super::streams::Streams;
use crate::codec::Violation;
use crate::codec::http2::CONNECTION;
use crate::codec::http2::frames::{
    ACK, FLOW_CONTROL_ERROR, FRAME_BYTES_LIMIT, FRAME_BYTES_MIN, FRAME_HEAD_LEN, FrameHead, GOAWAY, HEADERS, PING,
    PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, RST_STREAM, ReceivedFrame, Role, SETTINGS, STREAM_ID_MAX, WINDOW_BYTES_MAX,
    WINDOW_UPDATE, be_u32,
};

// Settings, RFC 9113 6.5.2, RFC 8441 3 and RFC 9218 2.1.
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
const NO_RFC7540_PRIORITIES: u16 = 9;

impl FrameReader {
    /// Is this a control frame for which the connection ends? All frames but DATA and those of a header section pass here.
    pub(super) fn forbid(&mut self, head: FrameHead, payload: &[u8], state: &ConnectionState) -> Option<FrameAction> {
        let stream = head.stream;
        let code = match head.kind {
            // RFC 9113 6.3.
            PRIORITY if stream == CONNECTION && self.errors == MessageErrorScope::Stream => Some(PROTOCOL_ERROR),
            // A proxy takes no pushed streams (RFC 9113 8.4), and a header section has a stream (6.2).
            PUSH_PROMISE | HEADERS => Some(PROTOCOL_ERROR),
            SETTINGS | PING | GOAWAY if stream != CONNECTION => Some(PROTOCOL_ERROR),
            SETTINGS if head.flags & ACK == 0 => wrong_setting(payload.get(..head.len).unwrap_or_default(), self.role),
            SETTINGS => {
                let before = std::mem::replace(&mut self.settings_ack, SettingsAck::Received);
                (before == SettingsAck::Received).then_some(PROTOCOL_ERROR)
            }
            RST_STREAM if self.streams.is_idle(stream) => Some(PROTOCOL_ERROR),
            WINDOW_UPDATE => wrong_window(stream, be_u32(payload)? & STREAM_ID_MAX, &self.streams, state),
            _ => None,
        };
        code.map(|code| self.end_with(FrameError::Forbidden { code, stream }))
    }

    /// Is an error of this stream no more than that? A stream that was never opened cannot be reset (RFC 9113 5.1, idle).
    pub(super) fn is_of_its_stream(&self, stream: u32) -> bool {
        self.errors == MessageErrorScope::Stream && !self.streams.was_never_opened(stream)
    }

    /// An error of a stream (RFC 9113 5.4.2) in a frame that brings nothing else. It is nothing if the stream is over.
    pub(super) fn stream_error(&mut self, head: FrameHead, code: u32, state: &ConnectionState) -> FrameAction {
        if self.streams.remote_half(head.stream).is_some() {
            self.reset(head.stream, StreamError::Malformed { violation: Violation::Unknown, code }, state);
        }
        FrameAction::Drop(FRAME_HEAD_LEN + head.len)
    }

    /// A window of a stream that grows by nothing is an error of that stream (RFC 9113 6.9), and one of the connection to
    /// Envoy, unless the stream is over. h2 would end the connection even then.
    pub(super) fn judge_window(
        &mut self,
        received: ReceivedFrame,
        payload: &[u8],
        state: &ConnectionState,
    ) -> FrameAction {
        let head = received.head;
        if be_u32(payload).is_some_and(|by| by & STREAM_ID_MAX != 0) {
            return self.show(received, state, FRAME_HEAD_LEN + head.len);
        }
        match self.errors {
            MessageErrorScope::Connection if self.streams.remote_half(head.stream).is_some() => {
                self.end_with(FrameError::Forbidden { code: PROTOCOL_ERROR, stream: head.stream })
            }
            MessageErrorScope::Connection | MessageErrorScope::Stream => self.stream_error(head, PROTOCOL_ERROR, state),
        }
    }

    /// A stream that depends on itself is an error of that stream (RFC 9113 5.3.1), and nothing to Envoy, nor is one of the connection.
    pub(super) fn judge_priority(
        &mut self,
        received: ReceivedFrame,
        payload: &[u8],
        state: &ConnectionState,
    ) -> FrameAction {
        let head = received.head;
        let len = FRAME_HEAD_LEN + head.len;
        let depends_on_itself = be_u32(payload).is_some_and(|dependency| dependency & STREAM_ID_MAX == head.stream);
        match self.errors {
            MessageErrorScope::Connection if depends_on_itself || head.stream == CONNECTION => FrameAction::Drop(len),
            MessageErrorScope::Connection | MessageErrorScope::Stream => self.show(received, state, len),
        }
    }
}

/// Is a value of these settings none that its setting may have? The code for that.
fn wrong_setting(settings: &[u8], role: Role) -> Option<u32> {
    let (settings, _) = settings.as_chunks::<6>();
    settings.iter().find_map(|[high, low, value @ ..]| {
        let value = u32::from_be_bytes(*value);
        match u16::from_be_bytes([*high, *low]) {
            // A server may not let us push (RFC 9113 6.5.2).
            ENABLE_PUSH if role == Role::Client => (value != 0).then_some(PROTOCOL_ERROR),
            ENABLE_PUSH | ENABLE_CONNECT_PROTOCOL | NO_RFC7540_PRIORITIES => (value > 1).then_some(PROTOCOL_ERROR),
            INITIAL_WINDOW_SIZE => (value > WINDOW_BYTES_MAX).then_some(FLOW_CONTROL_ERROR),
            MAX_FRAME_SIZE => (!(FRAME_BYTES_MIN..=FRAME_BYTES_LIMIT).contains(&value)).then_some(PROTOCOL_ERROR),
            _ => None,
        }
    })
}

/// May the connection's window not grow by so much, or that of an idle stream at all? The code for that. The connection's
/// window grows.
fn wrong_window(stream: u32, by: u32, streams: &Streams, state: &ConnectionState) -> Option<u32> {
    if stream != CONNECTION {
        return streams.is_idle(stream).then_some(PROTOCOL_ERROR);
    }
    let window = state.window.get().checked_add(by).filter(|window| *window <= WINDOW_BYTES_MAX);
    match window {
        _ if by == 0 => Some(PROTOCOL_ERROR),
        None => Some(FLOW_CONTROL_ERROR),
        Some(window) => {
            state.window.set(window);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_its_range() {
        let wrong =
            |id: u16, value: u32, role| wrong_setting(&[&id.to_be_bytes()[..], &value.to_be_bytes()].concat(), role);
        for (id, good, bad, code) in [
            (ENABLE_CONNECT_PROTOCOL, 1, 2, PROTOCOL_ERROR),
            (ENABLE_PUSH, 1, 2, PROTOCOL_ERROR),
            (INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX, WINDOW_BYTES_MAX + 1, FLOW_CONTROL_ERROR),
            (MAX_FRAME_SIZE, FRAME_BYTES_MIN, FRAME_BYTES_MIN - 1, PROTOCOL_ERROR),
            (MAX_FRAME_SIZE, FRAME_BYTES_LIMIT, FRAME_BYTES_LIMIT + 1, PROTOCOL_ERROR),
            (NO_RFC7540_PRIORITIES, 1, 2, PROTOCOL_ERROR),
        ] {
            assert_eq!(wrong(id, good, Role::Server), None, "{id} {good}");
            assert_eq!(wrong(id, bad, Role::Server), Some(code), "{id} {bad}");
        }
        assert_eq!(wrong(ENABLE_PUSH, 1, Role::Client), Some(PROTOCOL_ERROR), "a server's");
        assert_eq!(wrong(1, u32::MAX, Role::Client), None, "any size of the table");
    }
}
