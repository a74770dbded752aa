//! HTTP/2 frames (RFC 9113 section 6), with the payload of extended CONNECT streams named as well.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Bulk, Meaning, Message, hpack::Decoder, websocket};
use crate::words::{ERROR_NAMES, size};

/// What a client sends before its first frame.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const FRAME_HEAD_BYTES: usize = 9;

/// Names the frames in `stream` from `start` on. `websockets` are the streams whose DATA is WebSocket frames:
/// the client's direction, read first, finds them.
pub(super) fn read(stream: &[u8], start: usize, websockets: &mut Vec<u32>) -> Vec<Message> {
    let mut frames = Vec::new();
    let mut reader = Reader {
        decoder: Decoder::default(),
        block: Vec::new(),
        block_ends: false,
        tunnels: BTreeMap::new(),
        websockets,
    };
    let mut at = start;
    if stream.len() == start && start > 0 {
        frames.push(Message::new(0..start, "the connection preface".into(), Meaning::Other));
    }
    while let Some(rest) = stream.get(at..).filter(|rest| !rest.is_empty()) {
        // The preface belongs to the first frame: neither makes sense alone.
        let from = if frames.is_empty() { 0 } else { at };
        let Some((frame, taken)) = Frame::first_in(rest) else {
            let text = format!("{} of an unfinished frame", size(rest.len()));
            frames.push(Message::new(from..stream.len(), text, Meaning::Other));
            break;
        };
        frames.push(reader.name(&frame, from..at + taken));
        at += taken;
    }
    frames
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn first_in(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (&[a, b, c, kind, flags, s0, s1, s2, s3], rest) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
        let payload = rest.get(..length)?;
        Some((Self { kind, flags, stream, payload }, FRAME_HEAD_BYTES + length))
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The first four bytes as a number; the frame types that have it are useless without it.
    fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
    }

    /// The payload without padding and priority (RFC 9113 sections 6.1, 6.2).
    fn content(&self) -> &'a [u8] {
        let mut content = self.payload;
        if self.has(PADDED)
            && matches!(self.kind, DATA | HEADERS)
            && let Some((&padding, rest)) = content.split_first()
        {
            content = rest.get(..rest.len().saturating_sub(usize::from(padding))).unwrap_or_default();
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..).unwrap_or_default();
        }
        content
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

struct Reader<'a> {
    decoder: Decoder,
    /// A header block that continues in the next frame, and whether its stream ends with it.
    block: Vec<u8>,
    block_ends: bool,
    /// Payload of extended CONNECT streams that does not yet make a whole WebSocket frame.
    tunnels: BTreeMap<u32, Vec<u8>>,
    websockets: &'a mut Vec<u32>,
}

impl Reader<'_> {
    fn name(&mut self, frame: &Frame<'_>, bytes: Range<usize>) -> Message {
        let Frame { stream, payload, .. } = *frame;
        let mut message = Message::new(bytes, String::new(), Meaning::Other);
        message.text = match frame.kind {
            DATA => return self.data(frame, message),
            HEADERS | 9 => return self.headers(frame, message),
            2 => format!("PRIORITY stream {stream}"),
            3 => {
                let code = error_name(frame.number());
                message.meaning = Meaning::Reset { stream, code: code.clone() };
                format!("RST_STREAM stream {stream} {code}")
            }
            4 if frame.has(ACK) => "SETTINGS ack".into(),
            4 => settings(payload),
            5 => format!("PUSH_PROMISE stream {stream}"),
            6 => {
                let is_ack = frame.has(ACK);
                message.meaning = Meaning::Ping { is_ack };
                if is_ack { "PING ack".into() } else { "PING".into() }
            }
            7 => {
                let code = payload.get(4..8).and_then(|code| code.first_chunk());
                let code = error_name(code.map_or(0, |code| u32::from_be_bytes(*code)));
                let last = frame.number() & 0x7fff_ffff;
                message.meaning = Meaning::GoAway { last, code: code.clone() };
                format!("GOAWAY last stream {last} {code}")
            }
            8 => {
                let amount = usize::try_from(frame.number()).unwrap_or_default();
                message.bulk = Some(Bulk { of: "WINDOW_UPDATE".into(), amount });
                format!("WINDOW_UPDATE stream {stream} +{amount}")
            }
            other => format!("frame of type {other} stream {stream}, {}", size(payload.len())),
        };
        message
    }

    fn data(&mut self, frame: &Frame<'_>, message: Message) -> Message {
        let (stream, content) = (frame.stream, frame.content());
        let of = format!("DATA stream {stream}");
        let mut text = if content.is_empty() { of.clone() } else { format!("{of}, {}", size(content.len())) };
        if self.websockets.contains(&stream) {
            let waiting = self.tunnels.entry(stream).or_default();
            waiting.extend_from_slice(content);
            let mut frames = Vec::new();
            while let Some(frame) = websocket::frame(waiting) {
                waiting.drain(..frame.bytes);
                frames.push(frame.text);
            }
            if !frames.is_empty() {
                text = format!("{text}: {}", frames.join(", "));
            }
        } else if let Ok(words) = std::str::from_utf8(content)
            && !words.is_empty()
            && words.len() < 120
        {
            text = format!("{text}: {}", super::excerpt(content));
        }
        let ends = frame.has(END_STREAM);
        if ends {
            text.push_str(", end of stream");
        }
        let bulk = (!ends).then_some(Bulk { of, amount: content.len() });
        Message {
            text,
            bulk,
            meaning: Meaning::Data { stream, bytes: content.len(), is_close: false, ends },
            ..message
        }
    }

    fn headers(&mut self, frame: &Frame<'_>, mut message: Message) -> Message {
        self.block.extend_from_slice(frame.content());
        let name = if frame.kind == HEADERS { "HEADERS" } else { "CONTINUATION" };
        let mut text = format!("{name} stream {}", frame.stream);
        let ends = frame.kind == HEADERS && frame.has(END_STREAM);
        self.block_ends |= ends;
        if frame.has(END_HEADERS) {
            let block = std::mem::take(&mut self.block);
            match self.decoder.decode(&block) {
                Some(fields) => {
                    text = format!("{text} {}", self.summary(frame.stream, &fields));
                    message.meaning = meaning(frame.stream, &fields, self.block_ends);
                    message.fields = fields;
                }
                None => text.push_str(" that no decoder reads"),
            }
            self.block_ends = false;
        }
        if ends {
            text.push_str(", end of stream");
        }
        Message { text, ..message }
    }

    /// The pseudo-fields of the request or the response.
    fn summary(&mut self, stream: u32, fields: &[(String, String)]) -> String {
        let value = |name: &str| fields.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str());
        if let Some(status) = value(":status") {
            return status.into();
        }
        let Some(method) = value(":method") else { return "trailers".into() };
        let target = value(":path").or_else(|| value(":authority")).unwrap_or("?");
        match value(":protocol") {
            None => format!("{method} {target}"),
            Some(protocol) => {
                if protocol.eq_ignore_ascii_case("websocket") {
                    self.websockets.push(stream);
                }
                format!("{method} {target}, :protocol: {protocol}")
            }
        }
    }
}

/// What a header block does to its exchange.
fn meaning(stream: u32, fields: &[(String, String)], ends: bool) -> Meaning {
    let value = |name: &str| fields.iter().find(|(has, _)| has == name).map(|(_, value)| value.clone());
    if let Some(method) = value(":method") {
        let path = value(":path").or_else(|| value(":authority")).unwrap_or_default();
        return Meaning::Request { stream, method, path, ends };
    }
    match value(":status").and_then(|status| status.parse().ok()) {
        Some(status @ 100..200) => Meaning::Informational { stream, status },
        Some(status) => Meaning::Response { stream, status, ends },
        None => Meaning::Data { stream, bytes: 0, is_close: false, ends }, // trailers
    }
}

fn settings(payload: &[u8]) -> String {
    let mut text = String::from("SETTINGS");
    for setting in payload.chunks_exact(6) {
        let Some((&[i0, i1, v0, v1, v2, v3], _)) = setting.split_first_chunk() else { break };
        let name = match u16::from_be_bytes([i0, i1]) {
            1 => "header_table_size",
            2 => "enable_push",
            3 => "max_concurrent_streams",
            4 => "initial_window_size",
            5 => "max_frame_size",
            6 => "max_header_list_size",
            8 => "enable_connect_protocol",
            _ => "unknown",
        };
        text = format!("{text} {name}={}", u32::from_be_bytes([v0, v1, v2, v3]));
    }
    text
}

fn error_name(code: u32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| ERROR_NAMES.get(code));
    name.map_or_else(|| format!("error {code}"), |name| (*name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_named() {
        let mut stream = PREFACE.to_vec();
        stream.extend_from_slice(b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01"); // SETTINGS
        // HEADERS: CONNECT as literal, :path / indexed, :protocol literal without indexing.
        stream.extend_from_slice(b"\0\0\x1f\x01\x04\0\0\0\x01\x42\x07CONNECT\x84\x00\x09:protocol\x09websocket");
        stream.extend_from_slice(b"\0\0\x04\0\0\0\0\0\x01\x81\x02hi"); // DATA
        stream.extend_from_slice(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"); // RST_STREAM
        stream.extend_from_slice(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0"); // GOAWAY
        let mut websockets = Vec::new();
        let texts: Vec<String> =
            read(&stream, PREFACE.len(), &mut websockets).into_iter().map(|message| message.text).collect();
        assert_eq!(
            texts,
            [
                "SETTINGS enable_connect_protocol=1",
                "HEADERS stream 1 CONNECT /, :protocol: websocket",
                "DATA stream 1, 4 bytes: text \"hi\"",
                "RST_STREAM stream 1 CANCEL",
                "GOAWAY last stream 1 NO_ERROR",
            ]
        );
        assert_eq!(websockets, [1]);
    }
}
