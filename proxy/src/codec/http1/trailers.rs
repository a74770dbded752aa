//! Trailers of chunked messages (RFC 9112 7.1.2), where `enable_trailers` has them passed on.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use super::framing::{TRAILERS_MAX, bad_trailers};
use super::parse;
use crate::codec::spelling::{self, Spelling};
use crate::codec::{ExchangeError, Headers};
use crate::config::header_names::NameCase;

/// RFC 9110 6.5.1: framing and routing fields belong in the head; a recipient that finds them behind the body may take the message
/// for another one.
const NEVER_TRAILERS: [HeaderName; 7] = [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// The fields of a section whose end has been found.
///
/// # Errors
/// It has a line that is no field.
pub(super) fn read(section: &Bytes, case: NameCase) -> Result<Headers, ExchangeError> {
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    httparse::parse_headers(section, &mut fields).map_err(bad_trailers)?;
    let mut trailers = Headers::default();
    let mut spelling = Spelling::default();
    for field in fields.iter().take_while(|field| !field.name.is_empty()) {
        // Parsed fields have names and values.
        let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(field.name.as_bytes()),
            HeaderValue::from_maybe_shared(section.slice_ref(field.value)),
        ) else {
            continue;
        };
        if NEVER_TRAILERS.contains(&name) {
            continue;
        }
        if case == NameCase::AsReceived {
            spelling.note(field.name);
        }
        trailers.append(name, value);
    }
    trailers.spell(spelling);
    Ok(trailers)
}

/// The bytes of the fields of a section, as they are counted; 0 if it is not well-formed.
pub(super) fn field_bytes(section: &Bytes) -> u64 {
    let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((_, found))) => parse::field_bytes(found),
        Ok(httparse::Status::Partial) | Err(_) => 0,
    }
}

/// Writes fields behind the last chunk.
pub(super) fn write(out: &mut BytesMut, trailers: &Headers, case: NameCase) {
    for (name, value) in trailers.iter().filter(|(name, _)| !NEVER_TRAILERS.contains(name)) {
        spelling::put(name.as_str(), case, trailers.spelling(), |bytes| out.put_slice(bytes));
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_or_routes_a_message_is_no_trailer() {
        let section = Bytes::from_static(
            b"X-One: 1\r\nContent-Length: 9\r\nhost: evil\r\ntransfer-encoding: x\r\nx-two:2 \r\n\r\n",
        );
        let trailers = read(&section, NameCase::Lower).unwrap();
        let mut out = BytesMut::new();
        write(&mut out, &trailers, NameCase::Words);
        assert_eq!(&out[..], b"X-One: 1\r\nX-Two: 2\r\n");
        assert_eq!(read(&Bytes::from_static(b"\r\n"), NameCase::Lower).unwrap().len(), 0);
    }
}
