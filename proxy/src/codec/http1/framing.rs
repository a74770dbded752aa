//! Where a body begins and ends (RFC 9112 6 and 7). Pure: bytes in, pieces of the body out.

use std::mem;

use bytes::Bytes;

use super::refusal::Refusal;
use crate::codec::{ExchangeError, Violation};

/// Every framing error, but for those of trailers.
pub(super) const MALFORMED: ExchangeError = ExchangeError::Malformed(Violation::Http1(Refusal::Codec));

/// A chunk size with its extensions. Extensions mean nothing to a proxy (RFC 9112 7.1.1 lets it ignore
/// them); without a limit they are a free ride.
const CHUNK_LINE_BYTES_MAX: usize = 4096;
/// The section after the last chunk, which waits in memory until it is whole. Envoy's default for a head,
/// max_request_headers_kb.
const TRAILER_BYTES_MAX: usize = 60 * 1024;
/// Fields in that section. Envoy's default for a head, max_headers_count.
pub(super) const TRAILERS_MAX: usize = 100;
/// CRLF
const EMPTY_LINE_BYTES: usize = 2;
const TRAILERS_TOO_LARGE: ExchangeError = ExchangeError::Malformed(Violation::Http1(Refusal::HeadersTooLarge));

/// Finds the body in what comes after a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decoder {
    /// `transfer-encoding: chunked`.
    Chunked(Chunk),
    /// The message is complete.
    Done,
    /// So many bytes are still to come; never zero.
    Length(u64),
    /// All bytes until the peer closes: a response without a length, or a tunnel.
    UntilClose,
    /// All bytes until FIN, on a connection without HTTP: the end of a peer that is gone altogether is none in order.
    UntilFin,
}

/// What a chunked body is in the middle of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Chunk {
    /// So many bytes of a chunk are still to come; never zero.
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    /// The line before a chunk.
    Size,
    /// What follows the last chunk, of which so many bytes are known not to hold the end.
    Trailers(usize),
}

/// A step of a [`Decoder`].
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Decoded {
    /// Payload; never empty.
    Data(Bytes),
    /// The message is complete.
    End,
    /// More input is needed.
    More,
    /// The message is complete, and has these fields behind its last chunk: whole lines, the empty one included.
    Trailers(Bytes),
}

impl Decoder {
    /// A body of `length` bytes.
    pub(super) fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    /// Takes the next piece off the front of `input`, which keeps what is not part of the message.
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Decoded, ExchangeError> {
        loop {
            if *self == Self::Done {
                return Ok(Decoded::End);
            }
            if input.is_empty() {
                return Ok(Decoded::More);
            }
            match *self {
                Self::Done => return Ok(Decoded::End),
                Self::UntilClose | Self::UntilFin => return Ok(Decoded::Data(mem::take(input))),
                Self::Length(left) => {
                    let (data, left) = take_up_to(input, left);
                    *self = Self::length(left);
                    return Ok(Decoded::Data(data));
                }
                Self::Chunked(Chunk::Data(left)) => {
                    let (data, left) = take_up_to(input, left);
                    *self = Self::Chunked(if left == 0 { Chunk::DataEnd } else { Chunk::Data(left) });
                    return Ok(Decoded::Data(data));
                }
                Self::Chunked(Chunk::DataEnd) => {
                    let Some(()) = take_line_end(input)? else { return Ok(Decoded::More) };
                    *self = Self::Chunked(Chunk::Size);
                }
                Self::Chunked(Chunk::Size) => {
                    let Some(line) = take_line(input)? else { return Ok(Decoded::More) };
                    let size = chunk_size(&line)?;
                    *self = Self::Chunked(if size == 0 { Chunk::Trailers(0) } else { Chunk::Data(size) });
                }
                Self::Chunked(Chunk::Trailers(parsed)) => match take_trailers(input, parsed)? {
                    Trailers::Taken(section) => {
                        *self = Self::Done;
                        if section.len() > EMPTY_LINE_BYTES {
                            return Ok(Decoded::Trailers(section));
                        }
                    }
                    Trailers::Open { parsed } => {
                        *self = Self::Chunked(Chunk::Trailers(parsed));
                        return Ok(Decoded::More);
                    }
                },
            }
        }
    }
}

/// Up to `left` bytes, and what is then left.
fn take_up_to(input: &mut Bytes, left: u64) -> (Bytes, u64) {
    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    (input.split_to(wanted), left - wanted as u64)
}

/// The CRLF behind a chunk's data. Nothing else will do: a parser that skips two bytes unseen reads another
/// message than one that looks.
fn take_line_end(input: &mut Bytes) -> Result<Option<()>, ExchangeError> {
    match input.get(..2) {
        Some(b"\r\n") => {
            drop(input.split_to(2));
            Ok(Some(()))
        }
        None if input.starts_with(b"\r") => Ok(None),
        Some(_) | None => Err(MALFORMED),
    }
}

/// One line without its CRLF. A bare LF ends a line for some parsers and not for others; in heads recipients
/// may accept it (RFC 9112 2.2), in chunk framing no sender ever used it but to smuggle.
fn take_line(input: &mut Bytes) -> Result<Option<Bytes>, ExchangeError> {
    let searched = input.get(..CHUNK_LINE_BYTES_MAX).unwrap_or(input);
    let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
        return if searched.len() == CHUNK_LINE_BYTES_MAX { Err(MALFORMED) } else { Ok(None) };
    };
    let line = input.split_to(end + 1);
    let text = line.strip_suffix(b"\r\n").ok_or(MALFORMED)?;
    Ok(Some(line.slice_ref(text)))
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 7.1). Blanks and TABs after the size are tolerated, since servers are known
/// to pad it and they leave one reading only. No other white space is: a CR there ends the line for some parsers.
fn chunk_size(line: &[u8]) -> Result<u64, ExchangeError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(MALFORMED)?;
    let blanks = rest.iter().take_while(|byte| b" \t".contains(byte)).count();
    let rest = rest.get(blanks..).unwrap_or_default();
    let ends_well = rest.is_empty() || rest.starts_with(b";");
    if !ends_well || rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(MALFORMED);
    }
    // No size, or more digits than a u64 holds; from_str_radix alone would take a sign.
    let digits = str::from_utf8(digits).map_err(|_| MALFORMED)?;
    u64::from_str_radix(digits, 16).map_err(|_| MALFORMED)
}

/// Trailers and the empty line behind them.
fn take_trailers(input: &mut Bytes, parsed: usize) -> Result<Trailers, ExchangeError> {
    let section = input.get(..TRAILER_BYTES_MAX).unwrap_or(input);
    // Whole lines only, and each set of them once: how the section is cut by reads decides neither what is found in it
    // nor how often it is parsed.
    let whole = section.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let lines = section.get(..whole).filter(|_| whole > parsed).unwrap_or_default();
    let httparse::Status::Complete((length, _)) = httparse::parse_headers(lines, &mut fields).map_err(bad_trailers)?
    else {
        let is_full = section.len() == TRAILER_BYTES_MAX;
        return if is_full { Err(TRAILERS_TOO_LARGE) } else { Ok(Trailers::Open { parsed: whole }) };
    };
    let section = input.split_to(length);
    // Each LF behind a CR, for the reason given at take_line.
    let bare = section.split(|byte| *byte == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r"));
    if bare { Err(MALFORMED) } else { Ok(Trailers::Taken(section)) }
}

/// What a head gets for the same, as with Envoy.
pub(super) fn bad_trailers(error: httparse::Error) -> ExchangeError {
    ExchangeError::Malformed(Violation::Http1(match error {
        httparse::Error::HeaderValue => Refusal::InvalidCharacters,
        httparse::Error::TooManyHeaders => Refusal::TooManyHeaders,
        httparse::Error::HeaderName
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => Refusal::Codec,
    }))
}

/// How far [`take_trailers`] has come.
enum Trailers {
    /// So many bytes are whole lines, and their end is not among them.
    Open {
        parsed: usize,
    },
    Taken(Bytes),
}

/// The framing fields of the head, before the two are checked against each other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct BodyFields {
    pub(super) content_length: Option<u64>,
    pub(super) transfer_coding: TransferCoding,
}

/// The only transfer coding a proxy has to implement.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum TransferCoding {
    #[default]
    Absent,
    Chunked,
}

impl BodyFields {
    /// Notes a `content-length` field: digits only, once only. RFC 9110 8.6 allows a list of equal values to
    /// be repaired; who sends one is testing for a parser that does not.
    pub(super) fn note_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = parse_content_length(value).ok_or(Refusal::Codec)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Refusal::Codec),
        }
    }

    /// Notes a `transfer-encoding` field: exactly `chunked`, once only.
    pub(super) fn note_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        match mem::replace(&mut self.transfer_coding, TransferCoding::Chunked) {
            TransferCoding::Absent if value.eq_ignore_ascii_case(b"chunked") => Ok(()),
            TransferCoding::Absent | TransferCoding::Chunked => Err(Refusal::TransferEncoding),
        }
    }
}

/// `1*DIGIT` that fits; `parse` alone would take a sign.
pub(super) fn parse_content_length(value: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Frames a body that we write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoder {
    /// `transfer-encoding: chunked`.
    Chunked,
    /// So many bytes are still owed.
    Length(u64),
    /// The message ends with its head; a body is swallowed, as in the response to HEAD.
    Nothing,
    /// Bytes as they are: a tunnel, or a response to an HTTP/1.0 client that ends with the connection.
    UntilClose,
    /// Bytes as they are; the message ends with FIN, and what comes the other way goes on.
    UntilFin,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `step` bytes; the body so far, what is left, and the error if there was one.
    fn decode(mut decoder: Decoder, input: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, Option<ExchangeError>) {
        let (mut body, mut buffer) = (Vec::new(), Bytes::new());
        for piece in input.chunks(step) {
            buffer = [buffer.as_ref(), piece].concat().into();
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Decoded::Data(data)) => body.extend_from_slice(&data),
                    Ok(Decoded::More | Decoded::End | Decoded::Trailers(_)) => break,
                    Err(broken) => return (body, buffer.to_vec(), Some(broken)),
                }
            }
        }
        (body, buffer.to_vec(), None)
    }

    const CHUNKED: Decoder = Decoder::Chunked(Chunk::Size);

    #[test]
    fn chunked_bodies_end_with_their_last_chunk() {
        let cases: [(&[u8], &[u8], &[u8]); 9] = [
            (b"0\r\n\r\n", b"", b""),
            (b"5\r\nhello\r\n0\r\n\r\nGET", b"hello", b"GET"),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", b""),
            (b"A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", b""),
            (b"a;name=value\r\n0123456789\r\n0;x\r\n\r\n", b"0123456789", b""),
            (b"5;q=\"a;b\"\r\nhello\r\n0\r\n\r\n", b"hello", b""),
            (b"5 \t\r\nhello\r\n0 \r\n\r\n", b"hello", b""),
            (b"0\r\nx-sum: 1\r\n\r\nrest", b"", b"rest"),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", b""),
        ];
        for (input, body, rest) in cases {
            for step in 1..=input.len() {
                let expected = (body.to_vec(), rest.to_vec(), None);
                assert_eq!(decode(CHUNKED, input, step), expected, "{:?} by {step}", input.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn chunk_framing_has_one_reading() {
        let cases: [&[u8]; 30] = [
            b"zz\r\n",
            b"\r\n",
            b"+5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 5\r\nhello\r\n",
            b"5_0\r\nhello\r\n",
            b"5\r\r\nhello\r\n",
            b"5\x0c\r\nhello\r\n",
            b"5\x0b\r\nhello\r\n",
            b"5 \r\r\nhello\r\n",
            b"5\xa0\r\nhello\r\n",
            b"5;\x0c\r\nhello\r\n",
            b"0\r\r\n\r\n",
            b"0\x0c\r\n\r\n",
            b"0\r\n\r\r\n",
            b"5,5\r\nhello\r\n",
            b"5\nhello\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5;a\x00b\r\nhello\r\n",
            b"5;a\nhello\r\n",
            b"10000000000000000\r\n", // 2^64
            b"ffffffffffffffffff\r\n",
            b"0\r\n\n",
            b"0\r\nx: 1\n\r\n",
            b"0\r\nbad name: 1\r\n\r\n",
        ];
        for input in cases {
            for step in [1, 2, input.len()] {
                let (_, _, broken) = decode(CHUNKED, input, step);
                assert_eq!(broken, Some(MALFORMED), "{:?} by {step}", input.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn chunk_lines_and_trailers_are_bounded() {
        let long_extension = [b"5;".as_slice(), &vec![b'a'; CHUNK_LINE_BYTES_MAX]].concat();
        assert_eq!(decode(CHUNKED, &long_extension, 1000).2, Some(MALFORMED));
        let long_trailer = [b"0\r\nx: ".as_slice(), &vec![b'a'; TRAILER_BYTES_MAX]].concat();
        assert_eq!(decode(CHUNKED, &long_trailer, 1000).2, Some(TRAILERS_TOO_LARGE));
        let many_trailers = [b"0\r\n".as_slice(), &b"x: 1\r\n".repeat(TRAILERS_MAX + 1), b"\r\n"].concat();
        let too_many = ExchangeError::Malformed(Violation::Http1(Refusal::TooManyHeaders));
        assert_eq!(decode(CHUNKED, &many_trailers, 1000).2, Some(too_many));
        let control = ExchangeError::Malformed(Violation::Http1(Refusal::InvalidCharacters));
        assert_eq!(decode(CHUNKED, b"0\r\nx: a\x01b\r\n\r\n", 1000).2, Some(control));
    }

    #[test]
    fn a_length_is_kept_to_the_byte() {
        assert_eq!(decode(Decoder::length(3), b"abcdef", 2), (b"abc".to_vec(), b"def".to_vec(), None));
        assert_eq!(decode(Decoder::length(0), b"abc", 3), (Vec::new(), b"abc".to_vec(), None));
        assert_eq!(decode(Decoder::UntilClose, b"abc", 1), (b"abc".to_vec(), Vec::new(), None));
    }

    #[test]
    fn a_content_length_is_digits() {
        for (text, length) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1, 1", None),
            ("1 1", None),
            ("0x1", None),
            ("1.0", None),
        ] {
            assert_eq!(parse_content_length(text.as_bytes()), length, "{text}");
        }
    }
}
