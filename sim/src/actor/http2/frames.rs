//! HTTP/2 frames as bytes and back (RFC 9113 sections 4 and 6), without any of the rules on which may be sent.

use std::io;

use bytes::{Buf, BytesMut};

use crate::scenario::{Frame, FrameFields, FrameKind, Ordered, setting};

/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEAD_BYTES: usize = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The largest payload that is believed; a peer's default limit is 16,384.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// A frame that came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) kind: FrameKind,
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) end_headers: bool,
    /// Without padding and priority.
    pub(super) payload: Vec<u8>,
    pub(super) padding: Option<u8>,
    pub(super) priority: Option<[u8; 5]>,
    /// The header block, when it is complete.
    pub(super) fields: Vec<(String, String)>,
}

impl Received {
    /// The first four bytes: an error code, a window, a last stream.
    pub(super) fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
    }

    /// What it takes of a window (RFC 9113 section 6.1).
    pub(super) fn flow_bytes(&self) -> usize {
        self.payload.len() + self.padding.map_or(0, |padding| usize::from(padding) + 1)
    }

    /// The stream it depends on, whether it is the only one that does, and its weight (RFC 9113 section 6.3).
    fn dependency(&self) -> Option<(u32, bool, u16)> {
        let [a, b, c, d, weight] = self.priority?;
        let stream = u32::from_be_bytes([a, b, c, d]);
        Some((stream & 0x7fff_ffff, stream >> 31 == 1, u16::from(weight) + 1))
    }

    fn code(&self) -> u32 {
        // GOAWAY has the last stream in front of it.
        if self.kind != FrameKind::Goaway {
            return self.number();
        }
        self.payload.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |code| u32::from_be_bytes(*code))
    }

    /// The value of a setting, if it has it.
    pub(super) fn setting(&self, wanted: u16) -> Option<u32> {
        let pairs = self.payload.chunks_exact(6).filter_map(|pair| {
            let (id, value) = pair.split_first_chunk::<2>()?;
            Some((u16::from_be_bytes(*id), u32::from_be_bytes(*value.first_chunk()?)))
        });
        pairs.filter(|(id, _)| *id == wanted).map(|(_, value)| value).next_back()
    }
}

/// Whether a frame fits the pattern; what the pattern leaves out may be anything.
pub(super) fn fits(pattern: &Frame, frame: &Received) -> bool {
    let wanted = &pattern.fields;
    pattern.kind == frame.kind
        && wanted.stream.is_none_or(|stream| stream == frame.stream)
        && wanted.end_stream.is_none_or(|end| end == frame.end_stream)
        && wanted.end_headers.is_none_or(|end| end == frame.end_headers)
        && wanted.padding.is_none_or(|padding| Some(padding) == frame.padding)
        && wanted.depends_on.is_none_or(|stream| frame.dependency().is_some_and(|(of, _, _)| of == stream))
        && wanted.exclusive.is_none_or(|exclusive| frame.dependency().is_some_and(|(_, is, _)| is == exclusive))
        && wanted.weight.is_none_or(|weight| frame.dependency().is_some_and(|(_, _, is)| is == weight))
        && wanted.code.is_none_or(|code| code.0 == frame.code())
        && wanted.last_stream.is_none_or(|last| last == frame.number() & 0x7fff_ffff)
        && wanted.by.is_none_or(|by| by == frame.number())
        && wanted.payload().is_none_or(|payload| payload == frame.payload)
        && wanted.settings.iter().all(|(name, value)| setting(name).and_then(|id| frame.setting(id)) == Some(*value))
        && wanted.fields.iter().all(|(name, value)| frame.fields.iter().any(|(has, is)| has == name && is == value))
}

/// Takes the first frame out of `unread`, if it is whole; of a server's, the preface first. Frames of other types are
/// skipped, as RFC 9113 section 5.5 requires.
///
/// # Errors
/// What came is not HTTP/2.
pub(super) fn first_in(unread: &mut BytesMut, is_server: bool) -> io::Result<Option<Received>> {
    if is_server && unread.starts_with(b"PRI") {
        if unread.len() < PREFACE.len() {
            return Ok(None);
        }
        unread.advance(PREFACE.len());
    }
    loop {
        let Some((&[a, b, c, kind, flags, s0, s1, s2, s3], rest)) = unread.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).map_err(io::Error::other)?;
        if length > PAYLOAD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP/2"));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = kind_of(kind, flags).map(|kind| {
            let (padding, priority, payload) = content(kind, flags, payload);
            Received {
                kind,
                stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
                end_stream: matches!(kind, FrameKind::Data | FrameKind::Headers) && flags & END_STREAM != 0,
                end_headers: matches!(kind, FrameKind::Continuation | FrameKind::Headers) && flags & END_HEADERS != 0,
                payload: payload.to_vec(),
                padding,
                priority,
                fields: Vec::new(),
            }
        });
        unread.advance(HEAD_BYTES + length);
        if frame.is_some() {
            return Ok(frame);
        }
    }
}

fn kind_of(number: u8, flags: u8) -> Option<FrameKind> {
    Some(match number {
        0 => FrameKind::Data,
        1 => FrameKind::Headers,
        2 => FrameKind::Priority,
        3 => FrameKind::RstStream,
        4 if flags & ACK != 0 => FrameKind::SettingsAck,
        4 => FrameKind::Settings,
        6 if flags & ACK != 0 => FrameKind::PingAck,
        6 => FrameKind::Ping,
        7 => FrameKind::Goaway,
        8 => FrameKind::WindowUpdate,
        9 => FrameKind::Continuation,
        _ => return None,
    })
}

/// Padding and priority, and what is left without them (RFC 9113 sections 6.1 to 6.3).
fn content(kind: FrameKind, flags: u8, payload: &[u8]) -> (Option<u8>, Option<[u8; 5]>, &[u8]) {
    let (mut padding, mut priority, mut content) = (None, None, payload);
    if matches!(kind, FrameKind::Data | FrameKind::Headers)
        && flags & PADDED != 0
        && let Some((&bytes, rest)) = content.split_first()
    {
        padding = Some(bytes);
        content = rest.get(..rest.len().saturating_sub(usize::from(bytes))).unwrap_or_default();
    }
    if kind == FrameKind::Priority || kind == FrameKind::Headers && flags & PRIORITY != 0 {
        priority = content.first_chunk().copied();
        content = content.get(5..).unwrap_or_default();
    }
    (padding, priority, content)
}

/// The head of a message.
pub(super) fn head(stream: u32, fields: Vec<(String, String)>, ends: bool) -> Vec<u8> {
    let fields =
        FrameFields { stream: Some(stream), fields: Ordered(fields), end_stream: Some(ends), ..FrameFields::default() };
    encode(&Frame { kind: FrameKind::Headers, fields })
}

/// A frame as it is sent; the preface, which is none, as it stands.
pub(super) fn encode(frame: &Frame) -> Vec<u8> {
    let fields = &frame.fields;
    let Some(number) = frame.kind.number() else { return PREFACE.to_vec() };
    let given = || fields.payload().unwrap_or_default();
    let end_stream = if fields.end_stream.unwrap_or(false) { END_STREAM } else { 0 };
    let end_headers = if fields.end_headers.unwrap_or(true) { END_HEADERS } else { 0 };
    let code = fields.code.map_or(0, |code| code.0);
    let (flags, payload) = match frame.kind {
        FrameKind::Continuation => (end_headers, block(frame)),
        FrameKind::Data => padded(end_stream, given(), fields.padding),
        FrameKind::Goaway => {
            // The highest number there is: nothing is refused yet (RFC 9113 section 6.8).
            let last = fields.last_stream.unwrap_or(0x7fff_ffff);
            (0, [last.to_be_bytes(), code.to_be_bytes()].concat().into_iter().chain(given()).collect())
        }
        FrameKind::Headers => {
            let flag = fields.priority().map_or(0, |_| PRIORITY);
            let payload = fields.priority().into_iter().flatten().chain(block(frame)).collect();
            padded(end_stream | end_headers | flag, payload, fields.padding)
        }
        FrameKind::Ping => (0, fields.payload().unwrap_or_else(|| vec![0; 8])),
        FrameKind::PingAck => (ACK, fields.payload().unwrap_or_else(|| vec![0; 8])),
        FrameKind::Preface => (0, Vec::new()),
        FrameKind::Priority => (0, fields.priority().unwrap_or([0, 0, 0, 0, 15]).to_vec()), // the default weight
        FrameKind::RstStream => (0, code.to_be_bytes().to_vec()),
        FrameKind::Settings => {
            let pairs = fields.settings.iter().filter_map(|(name, value)| Some((setting(name)?, value)));
            (0, pairs.flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes())).collect())
        }
        FrameKind::SettingsAck => (ACK, Vec::new()),
        FrameKind::WindowUpdate => (0, fields.by.unwrap_or_default().to_be_bytes().to_vec()),
    };
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let stream = fields.stream.unwrap_or_default();
    let head = length.into_iter().chain([number, flags]).chain(stream.to_be_bytes());
    head.chain(payload).collect()
}

/// Flags and payload with so much padding, if any.
fn padded(flags: u8, payload: Vec<u8>, padding: Option<u8>) -> (u8, Vec<u8>) {
    let Some(padding) = padding else { return (flags, payload) };
    let zeros = std::iter::repeat_n(0, padding.into());
    (flags | PADDED, std::iter::once(padding).chain(payload).chain(zeros).collect())
}

/// The header block: the payload if one is given, else each field as a literal without indexing (RFC 7541
/// section 6.2.2).
fn block(frame: &Frame) -> Vec<u8> {
    if let Some(payload) = frame.fields.payload() {
        return payload;
    }
    let mut block = Vec::new();
    for (name, value) in frame.fields.fields.iter() {
        block.push(0);
        string(name, &mut block);
        string(value, &mut block);
    }
    block
}

/// RFC 7541 sections 5.1 and 5.2, without Huffman's code.
fn string(text: &str, block: &mut Vec<u8>) {
    const PREFIX_MAX: usize = 0x7f;
    let mut length = text.len();
    if length < PREFIX_MAX {
        block.push(u8::try_from(length).unwrap_or_default());
    } else {
        block.push(0x7f);
        length -= PREFIX_MAX;
        while length >= 0x80 {
            block.push(u8::try_from(length % 0x80).unwrap_or_default() | 0x80);
            length /= 0x80;
        }
        block.push(u8::try_from(length).unwrap_or_default());
    }
    block.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::wire::hpack::Decoder;

    fn frame(yaml: &str) -> Frame {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn read(yaml: &str) -> Received {
        first_in(&mut BytesMut::from(&encode(&frame(yaml))[..]), false).unwrap().unwrap()
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let cases = [
            "ping",
            "settings_ack",
            "settings: { initial_window_size: 0, 153: 7 }",
            "data: { stream: 1, text: hello, end_stream: true }",
            "rst_stream: { stream: 3, code: REFUSED_STREAM }",
            "goaway: { last_stream: 5, code: ENHANCE_YOUR_CALM }",
            "window_update: { stream: 0, by: 65535 }",
            "headers: { stream: 1, end_headers: false }",
            "data: { stream: 1, text: hello, padding: 200 }",
            "priority: { stream: 3, depends_on: 1, weight: 256, exclusive: true }",
            "headers: { stream: 1, padding: 0, weight: 1 }",
        ];
        for case in cases {
            assert!(fits(&frame(case), &read(case)), "{case}");
        }
    }

    #[test]
    fn patterns_that_do_not_fit() {
        let sent = read("rst_stream: { stream: 3, code: REFUSED_STREAM }");
        for pattern in ["rst_stream: { stream: 1 }", "rst_stream: { code: CANCEL }", "ping"] {
            assert!(!fits(&frame(pattern), &sent), "{pattern}");
        }
    }

    #[test]
    fn long_header_fields() {
        let long = "x".repeat(300);
        let sent = read(&format!("headers: {{ stream: 1, fields: {{ a: {long} }} }}"));
        assert_eq!(Decoder::default().decode(&sent.payload), Some(vec![("a".into(), long)]));
    }

    #[test]
    fn the_preface_comes_before_a_servers_first_frame() {
        let bytes = [PREFACE, &encode(&frame("ping"))].concat();
        let mut unread = BytesMut::from(&bytes[..]);
        assert_eq!(first_in(&mut unread, true).unwrap().map(|frame| frame.kind), Some(FrameKind::Ping));
        assert!(first_in(&mut BytesMut::from(&b"HTTP/1.1 400 Bad Request"[..]), false).is_err());
    }
}
