//! HTTP/2 frames by hand (RFC 9113 4.1), so that they can be wrong.

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const WHOLE: u8 = END_STREAM | END_HEADERS;

pub(crate) const CANCEL: u32 = 8;
pub(crate) const STREAM_MAX: u32 = u32::MAX >> 1;
/// SETTINGS_INITIAL_WINDOW_SIZE and the window of a connection before any SETTINGS (RFC 9113 6.9.2).
pub(crate) const WINDOW_DEFAULT: i64 = 65_535;
/// Bytes before a frame's payload.
const HEAD_BYTES: usize = 9;

/// A frame that came.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&len[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Takes the first frame out of the bytes that have come, if it is complete.
pub(crate) fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
    let end = HEAD_BYTES + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = bytes.get(HEAD_BYTES..end)?.to_vec();
    bytes.drain(..end);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & STREAM_MAX;
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// A payload that is one number: an error code, or what a window grows by.
pub(crate) fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// A field that enters no table; its lengths in as many bytes as they take (RFC 7541 5.1 and 6.2.2).
pub(crate) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    const PREFIX_MAX: usize = 127;
    if text.len() < PREFIX_MAX {
        return [&[u8::try_from(text.len()).expect("below 127")], text].concat();
    }
    let (mut encoded, mut left) = (vec![0x7f], text.len() - PREFIX_MAX);
    while left >= 128 {
        encoded.push(u8::try_from(left % 128 + 128).expect("below 256"));
        left /= 128;
    }
    encoded.push(u8::try_from(left).expect("below 128"));
    [&encoded, text].concat()
}

/// The head of a GET for any path: `:method` and `:scheme` of HPACK's static table, and two literals.
pub(crate) fn get(path: &[u8]) -> Vec<u8> {
    head(0x82, path)
}

/// The same of a POST.
pub(crate) fn post(path: &[u8]) -> Vec<u8> {
    head(0x83, path)
}

fn head(method: u8, path: &[u8]) -> Vec<u8> {
    [&[method, 0x86][..], &field(b":path", path), &field(b":authority", b"bench")].concat()
}

/// Whether a header block has this path, plain or in Huffman's code, which takes no HPACK decoder to see. The path is a
/// slash and lower-case letters.
pub(crate) fn has_path(block: &[u8], path: &str) -> bool {
    let contains = |part: &[u8]| block.windows(part.len()).any(|window| window == part);
    contains(path.as_bytes()) || contains(&huffman(path))
}

/// RFC 7541 appendix B, for a slash and lower-case letters.
fn huffman(text: &str) -> Vec<u8> {
    /// Code and its length in bits, from `a` on.
    const LETTERS: [(u8, u8); 26] = [
        (0x3, 5),
        (0x23, 6),
        (0x4, 5),
        (0x24, 6),
        (0x5, 5),
        (0x25, 6),
        (0x26, 6),
        (0x27, 6),
        (0x6, 5),
        (0x74, 7),
        (0x75, 7),
        (0x28, 6),
        (0x29, 6),
        (0x2a, 6),
        (0x7, 5),
        (0x2b, 6),
        (0x76, 7),
        (0x2c, 6),
        (0x8, 5),
        (0x9, 5),
        (0x2d, 6),
        (0x77, 7),
        (0x78, 7),
        (0x79, 7),
        (0x7a, 7),
        (0x7b, 7),
    ];
    const SLASH: (u8, u8) = (0x18, 6);
    let codes = text.bytes().map(|byte| if byte == b'/' { SLASH } else { LETTERS[usize::from(byte - b'a')] });
    let bits: Vec<bool> = codes.flat_map(|(code, len)| (0..len).rev().map(move |bit| code >> bit & 1 == 1)).collect();
    // The last byte is filled with the most significant bits of EOS, which are ones.
    let byte = |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at).copied().unwrap_or(true)));
    bits.chunks(8).map(byte).collect()
}
