//! WebSocket frames (RFC 6455 section 5) in a byte stream.

use super::{Meaning, Message, excerpt};
use crate::words::size;

/// The opcode of a close frame.
const CLOSE: u8 = 8;

/// Names the frames in `stream` from `start` on; they are the payload of `exchange`.
pub(super) fn read(stream: &[u8], start: usize, exchange: u32) -> Vec<Message> {
    let mut frames = Vec::new();
    let mut at = start;
    let data = |bytes, is_close| Meaning::Data { stream: exchange, bytes, is_close, ends: false };
    while let Some(rest) = stream.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(Frame { text, bytes, is_close }) = frame(rest) else {
            let text = format!("{} of an unfinished frame", size(rest.len()));
            frames.push(Message::new(at..stream.len(), text, data(rest.len(), false)));
            break;
        };
        frames.push(Message::new(at..at + bytes, text, data(bytes, is_close)));
        at += bytes;
    }
    frames
}

/// A whole frame.
pub(super) struct Frame {
    /// What it is, in one line.
    pub(super) text: String,
    /// How many bytes it takes.
    pub(super) bytes: usize,
    pub(super) is_close: bool,
}

/// The first frame in `bytes`, if it is whole.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match second & 0x7f {
        126 => rest.split_first_chunk::<2>().map(|(length, rest)| (u64::from(u16::from_be_bytes(*length)), rest))?,
        127 => rest.split_first_chunk::<8>().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match second & 0x80 {
        0 => ([0; 4], rest),
        _ => rest.split_first_chunk::<4>().map(|(mask, rest)| (*mask, rest))?,
    };
    let masked = rest.get(..usize::try_from(length).ok()?)?;
    let payload: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let text = describe(first, &payload);
    let is_close = first & 0x0f == CLOSE;
    Some(Frame { text, bytes: bytes.len() - rest.len() + masked.len(), is_close })
}

fn describe(first: u8, payload: &[u8]) -> String {
    let name = match first & 0x0f {
        0 => "continuation",
        1 => "text",
        2 => return format!("binary, {}", size(payload.len())),
        CLOSE => {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            return code.map_or("close".into(), |code| format!("close {code}"));
        }
        9 => "ping",
        10 => "pong",
        other => return format!("frame of opcode {other}, {}", size(payload.len())),
    };
    if payload.is_empty() { name.into() } else { format!("{name} {}", excerpt(payload)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_named() {
        type Case<'a> = (&'a [u8], Option<(&'a str, usize)>);
        let cases: &[Case<'_>] = &[
            (b"\x81\x05hello", Some(("text \"hello\"", 7))),
            // RFC 6455 section 5.7: a masked "Hello".
            (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Some(("text \"Hello\"", 11))),
            (b"\x88\x02\x03\xe8", Some(("close 1000", 4))),
            (b"\x88\x00", Some(("close", 2))),
            (b"\x89\x00", Some(("ping", 2))),
            (b"\x82\x7e\x00\x03abc", Some(("binary, 3 bytes", 7))),
            (b"\x81\x05hell", None),
            (b"\x81", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(frame(bytes).as_ref().map(|frame| (frame.text.as_str(), frame.bytes)), *expected, "{bytes:?}");
        }
    }
}
