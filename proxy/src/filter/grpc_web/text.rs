//! Bodies in base64, piece by piece (RFC 4648 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// Reads base64. What is padded may be followed by more: a sender encodes each of its messages by itself.
#[derive(Default)]
pub(super) struct Decoder {
    /// The beginning of a group of four characters.
    rest: Vec<u8>,
}

impl Decoder {
    /// What `text` holds, as far as it is made of whole groups; `None` if it is no base64.
    pub(super) fn decode(&mut self, text: &[u8]) -> Option<Bytes> {
        self.rest.extend_from_slice(text);
        let rest = self.rest.split_off(self.rest.len() / 4 * 4);
        let mut groups = std::mem::replace(&mut self.rest, rest);
        let mut decoded = Vec::with_capacity(groups.len() / 4 * 3);
        while !groups.is_empty() {
            let padded = groups.chunks(4).position(|group| group.contains(&b'='));
            let after = groups.split_off(padded.map_or(groups.len(), |index| (index + 1) * 4));
            STANDARD.decode_vec(&groups, &mut decoded).ok()?;
            groups = after;
        }
        Some(decoded.into())
    }

    /// Was all that came decoded?
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Writes gRPC frames, each in base64 by itself, so that a reader can decode one that is there.
#[derive(Default)]
pub(super) struct Encoder {
    /// The head of a frame: a byte of flags and the length of what follows.
    head: Vec<u8>,
    /// What is still to come of the frame whose head is there.
    left: usize,
    /// Not yet encoded: fewer than three bytes.
    rest: Vec<u8>,
}

/// A frame's flags and its length.
const HEAD_BYTES: usize = 5;

impl Encoder {
    /// The text of `data`, as far as that can be said without what follows it.
    pub(super) fn encode(&mut self, mut data: &[u8]) -> String {
        let mut text = String::with_capacity((data.len() / 3 + 2) * 4);
        while !data.is_empty() {
            if self.head.len() < HEAD_BYTES {
                let (head, after) = split(data, HEAD_BYTES - self.head.len());
                self.head.extend_from_slice(head);
                self.rest.extend_from_slice(head);
                data = after;
                let [_, length @ ..] = self.head.as_slice() else { break };
                let Ok(length) = <[u8; 4]>::try_from(length) else { break };
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            } else {
                let (payload, after) = split(data, self.left);
                self.rest.extend_from_slice(payload);
                self.left -= payload.len();
                data = after;
            }
            if self.head.len() == HEAD_BYTES && self.left == 0 {
                text.push_str(&self.finish());
            }
        }
        let rest = self.rest.split_off(self.rest.len() / 3 * 3);
        text.push_str(&encode(&std::mem::replace(&mut self.rest, rest)));
        text
    }

    /// The text of what is left; another frame may begin.
    pub(super) fn finish(&mut self) -> String {
        self.head.clear();
        self.left = 0;
        encode(&std::mem::take(&mut self.rest))
    }
}

/// The first `length` bytes, and those after them.
fn split(data: &[u8], length: usize) -> (&[u8], &[u8]) {
    data.split_at_checked(length).unwrap_or((data, &[]))
}

pub(super) fn encode(data: &[u8]) -> String {
    STANDARD.encode(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"\0\0\0\0\x05hello";

    #[test]
    fn text_is_decoded_however_it_is_cut() {
        for (text, decoded) in [
            ("AAAAAAVoZWxsbw==", Some(HELLO)),
            ("AA==AQ==", Some(b"\0\x01")),
            ("", Some(b"")),
            ("AA%A", None),
            ("AB==", None),
            ("====", None),
            ("A-_A", None),
        ] {
            for size in 1..=text.len().max(1) {
                let mut decoder = Decoder::default();
                let pieces: Option<Vec<Bytes>> = text.as_bytes().chunks(size).map(|it| decoder.decode(it)).collect();
                assert_eq!(pieces.map(|pieces| pieces.concat()).as_deref(), decoded, "{text} in pieces of {size}");
                assert!(decoded.is_none() || decoder.is_whole());
            }
        }
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"AAAAA").as_deref(), Some(&b"\0\0\0"[..]));
        assert!(!decoder.is_whole());
    }

    #[test]
    fn each_frame_is_encoded_by_itself_however_it_is_cut() {
        let frames = [HELLO, b"\x01\0\0\0\0", b"\0\0\0\0\x01!"].concat();
        for size in 1..=frames.len() {
            let mut encoder = Encoder::default();
            let mut text: String = frames.chunks(size).map(|piece| encoder.encode(piece)).collect();
            text.push_str(&encoder.finish());
            assert_eq!(text, "AAAAAAVoZWxsbw==AQAAAAA=AAAAAAEh", "in pieces of {size}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_passes_as_it_came() {
        let mut encoder = Encoder::default();
        let text = encoder.encode(b"already") + &encoder.finish();
        assert_eq!(text, encode(b"already"));
    }
}
