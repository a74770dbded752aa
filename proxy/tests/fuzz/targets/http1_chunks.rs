//! Chunk framing, against a second reader that is written straight from RFC 9112 7.1: both find the same payload, the
//! same end and the same faults, and what follows the body is the next request for both.

use finwait::codec::http1::Refusal;
use finwait::codec::{ExchangeError, Violation};

use super::cuts::cuts;
use super::http1::{NEXT_HOP, read_requests};

/// What chunks can be refused for.
const OF_CHUNKS: &[Refusal] = &[Refusal::Codec];
/// What trailers can be refused for.
const OF_TRAILERS: &[Refusal] =
    &[Refusal::Codec, Refusal::HeadersTooLarge, Refusal::InvalidCharacters, Refusal::TooManyHeaders];
const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
/// Limits of the proxy, which the grammar does not have. Bytes, bytes and fields.
const CHUNK_LINE_BYTES_MAX: usize = 4096;
const TRAILER_BYTES_MAX: usize = 60 * 1024;
const TRAILERS_MAX: usize = 100;

/// How a body ends.
#[derive(Debug, Eq, PartialEq)]
enum End<'a> {
    /// This follows it.
    Complete(&'a [u8]),
    /// The input ends before it, or is malformed: what it can be refused for.
    Short(Fault, &'static [Refusal]),
}

/// Why a body has no end.
#[derive(Debug, Eq, PartialEq)]
enum Fault {
    CutShort,
    Malformed,
}

/// What a client sends behind the head of a chunked request.
///
/// # Panics
/// If one of the properties does not hold.
pub fn http1_chunks(input: &[u8]) {
    let (body, end) = reference(input);
    let ways = [vec![input]].into_iter().chain(cuts(input));
    for mut pieces in ways {
        pieces.insert(0, HEAD);
        let mut requests = read_requests(&pieces, NEXT_HOP);
        let chunked = requests.exchanges.remove(0);
        assert_eq!(chunked.body, body, "{end:?}, cut into {pieces:?}");
        match end {
            End::Complete(rest) => {
                assert_eq!(chunked.broken, None, "cut into {pieces:?}");
                let behind = read_requests(&[rest], NEXT_HOP);
                assert_eq!(format!("{requests:?}"), format!("{behind:?}"), "cut into {pieces:?}");
            }
            // Where the input ends within a line or within the trailers, a fault in them may show or not.
            End::Short(_, refusals) => {
                let is_expected = match &chunked.broken {
                    Some(ExchangeError::Closed) => true,
                    Some(ExchangeError::Malformed(Violation::Http1(refusal))) => refusals.contains(refusal),
                    _ => false,
                };
                assert!(is_expected, "{:?}, {end:?}, cut into {pieces:?}", chunked.broken);
            }
        }
    }
}

/// The payload, as far as it is well-formed, and its end.
fn reference(mut rest: &[u8]) -> (Vec<u8>, End<'_>) {
    let mut body = Vec::new();
    loop {
        let (line, behind) = match line(rest, CHUNK_LINE_BYTES_MAX) {
            Ok(found) => found,
            Err(fault) => return (body, End::Short(fault, OF_CHUNKS)),
        };
        let Some(size) = chunk_size(line) else { return (body, End::Short(Fault::Malformed, OF_CHUNKS)) };
        if size == 0 {
            return (body, trailers(behind));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some((data, behind)) = behind.split_at_checked(size) else {
            body.extend_from_slice(behind);
            return (body, End::Short(Fault::CutShort, OF_CHUNKS));
        };
        body.extend_from_slice(data);
        rest = match behind {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return (body, End::Short(Fault::CutShort, OF_CHUNKS)),
            _ => return (body, End::Short(Fault::Malformed, OF_CHUNKS)),
        };
    }
}

/// A line without its CRLF, and what follows it.
fn line(input: &[u8], bytes_max: usize) -> Result<(&[u8], &[u8]), Fault> {
    match input.iter().take(bytes_max).position(|byte| *byte == b'\n') {
        Some(0) => Err(Fault::Malformed),
        Some(end) if input[end - 1] == b'\r' => Ok((&input[..end - 1], &input[end + 1..])),
        None if input.len() < bytes_max => Err(Fault::CutShort),
        Some(_) | None => Err(Fault::Malformed),
    }
}

/// `1*HEXDIG [ BWS ] [ ";" extension ]`. The extension may hold anything but control characters.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let text: String = line.iter().map(|byte| char::from(*byte)).collect();
    let (size, extension) = text.split_once(';').unwrap_or((&text, ""));
    let size = size.trim_end_matches([' ', '\t']);
    let is_hexadecimal = !size.is_empty() && size.chars().all(|digit| digit.is_ascii_hexdigit());
    let is_clean = extension.chars().all(|char| char == '\t' || !char.is_ascii_control());
    (is_hexadecimal && is_clean).then(|| u64::from_str_radix(size, 16).ok()).flatten()
}

/// Field lines up to an empty one.
fn trailers(input: &[u8]) -> End<'_> {
    let mut rest = input;
    for _ in 0..=TRAILERS_MAX {
        let left = TRAILER_BYTES_MAX - (input.len() - rest.len());
        let (field, behind) = match line(rest, left) {
            Ok(found) => found,
            Err(fault) => return End::Short(fault, OF_TRAILERS),
        };
        if field.is_empty() {
            return End::Complete(behind);
        }
        if !is_field(field) {
            return End::Short(Fault::Malformed, OF_TRAILERS);
        }
        rest = behind;
    }
    End::Short(Fault::Malformed, OF_TRAILERS)
}

/// `token ":" OWS value OWS`.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_text)
}
