//! Heads, to bytes. The framing fields come from the framing that was chosen, never from the message that is
//! passed on.

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};

use super::framing::{Encoder, parse_content_length};
use crate::codec::spelling::{self, Spelling};
use crate::codec::{Headers, Payload, RequestHead, ResponseHead};
use crate::config::header_names::NameCase;

/// Room for a start line, and for what a field has besides name and value.
const LINE_BYTES: usize = 64;

/// Writes a request head; how its body is to be framed.
pub(super) fn request(out: &mut BytesMut, head: &RequestHead, payload: Payload, case: NameCase) -> Encoder {
    let (encoder, length) = match (payload, content_length(&head.headers)) {
        // A length without a body would make the server wait, then take the next request for it. Zero is
        // what some servers insist on for a POST.
        (Payload::None, Some(0)) => (Encoder::Nothing, Length::Write(0)),
        (Payload::None, _) => (Encoder::Nothing, Length::Drop),
        (Payload::Some, Some(length)) => (Encoder::Length(length), Length::Write(length)),
        (Payload::Some, None) => (Encoder::Chunked, Length::Drop),
        // The length of an upgrade request is the server's business; what follows it is not counted.
        (Payload::Raw, Some(length)) => (Encoder::UntilClose, Length::Write(length)),
        (Payload::Raw, None) => (Encoder::UntilClose, Length::Drop),
    };
    out.reserve(estimate(&head.headers));
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    put_target(out, head);
    out.put_slice(b" HTTP/1.1\r\n");
    let names = Names { case, spelling: head.headers.spelling() };
    names.put("host", out);
    out.put_slice(head.authority.as_ref().map_or(&b""[..], HeaderValue::as_bytes));
    out.put_slice(b"\r\n");
    put_fields(out, &head.headers, length, names);
    put_end(out, encoder, names);
    encoder
}

/// The request target. HTTP/2 lets a path carry blanks, which here would end it early.
fn put_target(out: &mut BytesMut, head: &RequestHead) {
    let target = if head.method == Method::CONNECT { &head.authority } else { &head.path };
    let target = target.as_ref().map_or(&b"/"[..], HeaderValue::as_bytes);
    if !target.iter().any(|byte| b" \t".contains(byte)) {
        return out.put_slice(target);
    }
    for byte in target {
        match byte {
            b' ' => out.put_slice(b"%20"),
            b'\t' => out.put_slice(b"%09"),
            _ => out.put_u8(*byte),
        }
    }
}

/// What a response is a response to.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) method: &'a Method,
    pub(super) version: Version,
    /// How the client reads names.
    pub(super) case: NameCase,
}

/// How names are written.
#[derive(Clone, Copy)]
struct Names<'a> {
    case: NameCase,
    spelling: Option<&'a Spelling>,
}

impl Names<'_> {
    /// A name, and what separates it from its value.
    fn put(self, name: &str, out: &mut BytesMut) {
        spelling::put(name, self.case, self.spelling, |bytes| out.put_slice(bytes));
        out.put_slice(b": ");
    }
}

/// Writes a response head; how its body is to be framed.
pub(super) fn response(out: &mut BytesMut, head: &ResponseHead, payload: Payload, to: To<'_>) -> Encoder {
    let To { method, version, case } = to;
    let status = head.status;
    let has_length = content_length(&head.headers);
    let is_tunnel = *method == Method::CONNECT && status.is_success();
    let (encoder, length) = if status.is_informational() || status == StatusCode::NO_CONTENT || is_tunnel {
        // RFC 9110 8.6 and 9.3.6: no framing fields here.
        let encoder = if payload == Payload::Raw { Encoder::UntilClose } else { Encoder::Nothing };
        (encoder, Length::Drop)
    } else if status == StatusCode::NOT_MODIFIED || *method == Method::HEAD {
        // The length is that of the body that GET would have; none is invented.
        (Encoder::Nothing, has_length.map_or(Length::Drop, Length::Write))
    } else {
        match (payload, has_length) {
            (Payload::None, _) => (Encoder::Nothing, Length::Write(0)),
            (Payload::Some, Some(length)) => (Encoder::Length(length), Length::Write(length)),
            (Payload::Some, None) if version == Version::HTTP_10 => (Encoder::UntilClose, Length::Drop),
            (Payload::Some, None) => (Encoder::Chunked, Length::Drop),
            // A response with a body that refuses an upgrade but leaves the tunnel standing.
            (Payload::Raw, length) => (Encoder::UntilClose, length.map_or(Length::Drop, Length::Write)),
        }
    };
    out.reserve(estimate(&head.headers));
    out.put_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(reason(status).as_bytes());
    out.put_slice(b"\r\n");
    let names = Names { case, spelling: head.headers.spelling() };
    put_fields(out, &head.headers, length, names);
    // To HEAD, the fields are those of GET: without a length, its body would be chunked.
    let of_get = (*method == Method::HEAD && has_length.is_none() && payload != Payload::Raw)
        && version != Version::HTTP_10
        && may_have_body(status);
    put_end(out, if of_get { Encoder::Chunked } else { encoder }, names);
    encoder
}

fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// What becomes of `content-length`.
#[derive(Clone, Copy)]
enum Length {
    Drop,
    /// In its place, or at the end if the head has none.
    Write(u64),
}

fn content_length(headers: &Headers) -> Option<u64> {
    parse_content_length(headers.get(&CONTENT_LENGTH)?.as_bytes())
}

fn put_fields(out: &mut BytesMut, headers: &Headers, mut length: Length, names: Names<'_>) {
    for (name, value) in headers.iter() {
        if *name == CONTENT_LENGTH {
            put_length(out, length, names);
            length = Length::Drop;
        } else if *name != TRANSFER_ENCODING {
            put_field(out, name, value.as_bytes(), names);
        }
    }
    put_length(out, length, names);
}

fn put_length(out: &mut BytesMut, length: Length, names: Names<'_>) {
    if let Length::Write(length) = length {
        put_field(out, &CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes(), names);
    }
}

fn put_field(out: &mut BytesMut, name: &HeaderName, value: &[u8], names: Names<'_>) {
    names.put(name.as_str(), out);
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn put_end(out: &mut BytesMut, encoder: Encoder, names: Names<'_>) {
    if encoder == Encoder::Chunked {
        names.put("transfer-encoding", out);
        out.put_slice(b"chunked\r\n");
    }
    out.put_slice(b"\r\n");
}

/// About how many bytes the head takes, so that the buffer grows once.
fn estimate(headers: &Headers) -> usize {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    4 * LINE_BYTES + fields.sum::<usize>()
}

/// Envoy's reason phrases: a peer may compare them, and 103 is `Unknown` there.
pub(super) fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        102 | 103 | 418 | 451 => "Unknown",
        203 => "Non-Authoritative Information",
        599 => "Last Unassigned Server Error Code",
        _ => status.canonical_reason().unwrap_or("Unknown"),
    }
}
