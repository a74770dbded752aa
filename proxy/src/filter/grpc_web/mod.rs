//! `envoy.filters.http.grpc_web`: lets browsers call gRPC services ("gRPC Web", PROTOCOL-WEB.md).
//!
//! A browser can neither send nor read HTTP/2 trailers. Its request becomes one of gRPC's; the trailers of the response become the
//! last frame of its body. Where a side requests text, its bodies are base64. A response that is no gRPC, such as an error of a
//! proxy on the way, becomes a status with a message.

mod text;

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderValue, StatusCode};

use super::{End, FilterContext, Flow, Piece, Refusal};
use crate::access_log::grpc_status;
use crate::codec::{Headers, Payload, RequestHead, ResponseHead, grpc, names};
use crate::stats::{GrpcFamily, GrpcMethod, GrpcStats, service_and_method};
use text::{Decoder, Encoder};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const WEB: HeaderValue = HeaderValue::from_static("application/grpc-web");
const WEB_PROTO: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");
const WEB_TEXT: HeaderValue = HeaderValue::from_static("application/grpc-web-text");
const WEB_TEXT_PROTO: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");

/// The first byte of the frame that holds trailers.
const TRAILERS: u8 = 0b1000_0000;
/// So much of a body that is no gRPC becomes a message. Envoy's number.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// The filter while it serves one stream.
#[derive(Default)]
pub(super) struct GrpcWeb {
    request: Request,
    response: Response,
    /// What is counted of the method that is called, if it is known which.
    method: Option<Rc<GrpcMethod>>,
}

/// What the request's body is.
#[derive(Default)]
enum Request {
    /// Frames.
    Binary,
    /// Another protocol's: nothing is changed.
    #[default]
    Other,
    /// Frames in base64.
    Text(Decoder),
}

/// What the response's body becomes.
#[derive(Default)]
enum Response {
    /// Frames, and one more with the trailers.
    #[default]
    Binary,
    /// A message in the head, which has not come to its end.
    Message(BytesMut),
    /// A message in the head, which is there.
    MessageComplete(BytesMut),
    /// The same as of `Binary`, in base64.
    Text(Encoder),
}

impl GrpcWeb {
    pub(super) fn on_request(&mut self, request: &mut RequestHead, methods: Option<&Rc<GrpcStats>>) {
        let Some(path) = &request.path else { return };
        let content_type = request.headers.get(&CONTENT_TYPE);
        let is = |types: [HeaderValue; 2]| content_type.is_some_and(|it| types.contains(it));
        self.request = if is([WEB, WEB_PROTO]) {
            Request::Binary
        } else if is([WEB_TEXT, WEB_TEXT_PROTO]) {
            Request::Text(Decoder::default())
        } else {
            return;
        };
        self.method = methods.zip(path.to_str().ok()).and_then(|(methods, path)| {
            let (service, method) = service_and_method(path)?;
            methods.method(GrpcFamily::Web, &format!("{service}.{method}"))
        });
        let headers = &mut request.headers;
        if headers.get(&ACCEPT).is_some_and(|it| *it == WEB_TEXT || *it == WEB_TEXT_PROTO) {
            self.response = Response::Text(Encoder::default());
        }
        // The length of another body.
        headers.remove(&CONTENT_LENGTH);
        headers.set(CONTENT_TYPE, GRPC);
        headers.set(TE, HeaderValue::from_static("trailers"));
        headers.set_if_absent(names::GRPC_ACCEPT_ENCODING.clone(), HeaderValue::from_static("identity"));
    }

    pub(super) fn on_request_data(&mut self, piece: &mut Piece) -> Flow<Refusal> {
        let Request::Text(decoder) = &mut self.request else { return Flow::Continue };
        let Some(decoded) = decoder.decode(&piece.data) else { return Flow::Respond(Refusal::Base64Data) };
        piece.data = decoded;
        if piece.is_last() && !decoder.is_whole() {
            return Flow::Respond(Refusal::Base64Size);
        }
        Flow::Continue
    }

    pub(super) fn on_response(&mut self, response: &mut ResponseHead, payload: Payload) -> Flow<Refusal> {
        if matches!(self.request, Request::Other) {
            return Flow::Continue;
        }
        let headers = &mut response.headers;
        if let Response::MessageComplete(message) = &self.response {
            headers.set(names::GRPC_MESSAGE.clone(), grpc::message(message));
            headers.set(names::GRPC_STATUS.clone(), HeaderValue::from(grpc_status::of_http(response.status.as_u16())));
            headers.set(CONTENT_LENGTH, HeaderValue::from(0));
            return Flow::Continue;
        }
        self.charge(headers);
        let has_messages = response.status == StatusCode::OK && (headers.is_grpc() || is_grpc_web(headers));
        headers.remove(&CONTENT_LENGTH);
        headers.set(CONTENT_TYPE, if let Response::Text(_) = self.response { WEB_TEXT_PROTO } else { WEB_PROTO });
        if has_messages || payload == Payload::None {
            return Flow::Continue;
        }
        self.response = Response::Message(BytesMut::new());
        Flow::Wait
    }

    pub(super) fn on_response_data(&mut self, piece: &mut Piece, context: &FilterContext) -> Flow<Refusal> {
        if matches!(self.request, Request::Other) {
            return Flow::Continue;
        }
        if let End::Complete(Some(trailers)) = &piece.end {
            self.charge(trailers);
        }
        match &mut self.response {
            Response::Message(message) => {
                let kept = piece.data.len().min(MESSAGE_BYTES_MAX.saturating_sub(message.len()));
                message.extend_from_slice(&piece.data.split_to(kept));
                piece.data.clear();
                if !piece.is_last() {
                    let fits = message.len() <= context.buffer_bytes_max;
                    return if fits { Flow::Wait } else { Flow::Respond(Refusal::ResponseTooLarge) };
                }
                self.response = Response::MessageComplete(std::mem::take(message));
            }
            Response::MessageComplete(_) => {}
            Response::Binary => {
                if let Some(trailers) = take_trailers(&mut piece.end) {
                    piece.data = [piece.data.as_ref(), trailers.as_ref()].concat().into();
                }
            }
            Response::Text(encoder) => {
                let mut text = encoder.encode(&piece.data);
                if piece.is_last() {
                    text.push_str(&encoder.finish());
                }
                if let Some(trailers) = take_trailers(&mut piece.end) {
                    text.push_str(&text::encode(&trailers));
                }
                piece.data = text.into();
            }
        }
        Flow::Continue
    }

    /// Counts a call whose status is among these fields.
    fn charge(&self, fields: &Headers) {
        if let Some((method, status)) = self.method.as_ref().zip(fields.get(&names::GRPC_STATUS)) {
            method.charge(status.as_bytes());
        }
    }
}

/// Is it a response whose body is gRPC-Web already? Parameters of the type do not matter, nor does its case.
fn is_grpc_web(headers: &Headers) -> bool {
    let content_type = headers.get(&CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    [WEB, WEB_PROTO].iter().any(|it| media_type.eq_ignore_ascii_case(it.as_bytes()))
}

/// The trailers at the end of a body as its last frame, in their stead.
fn take_trailers(end: &mut End) -> Option<Bytes> {
    let End::Complete(trailers) = end else { return None };
    let trailers = trailers.take()?;
    let mut lines = Vec::new();
    for (name, value) in trailers.iter() {
        lines.extend([name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"].concat());
    }
    // A codec reads no more than a few hundred kilobytes of trailers.
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    Some([&[TRAILERS][..], &length.to_be_bytes(), &lines].concat().into())
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn only_the_types_of_grpc_web_are_translated() {
        for (content_type, becomes) in [
            ("application/grpc-web", "application/grpc"),
            ("application/grpc-web+proto", "application/grpc"),
            ("application/grpc-web-text", "application/grpc"),
            ("application/grpc-web-text+proto", "application/grpc"),
            ("application/grpc-web+json", "application/grpc-web+json"),
            ("application/grpc-web; charset=utf-8", "application/grpc-web; charset=utf-8"),
            ("Application/grpc-web", "Application/grpc-web"),
            ("application/grpc", "application/grpc"),
        ] {
            let path = Some(HeaderValue::from_static("/pkg.Service/Method"));
            let fields = Headers::of(&[("content-type", content_type), ("content-length", "5")]);
            let mut request = RequestHead { path, headers: fields, ..RequestHead::default() };
            GrpcWeb::default().on_request(&mut request, None);
            let is_translated = becomes != content_type;
            assert_eq!(request.headers.get(&CONTENT_TYPE).unwrap(), becomes);
            assert_eq!(request.headers.contains(&CONTENT_LENGTH), !is_translated, "{content_type}");
            assert_eq!(request.headers.contains(&TE), is_translated, "{content_type}");
        }
    }

    #[test]
    fn trailers_are_a_frame_of_lines() {
        let mut end = End::Complete(Some(Headers::of(&[("grpc-status", "0"), ("x", "1"), ("x", "2")])));
        assert_eq!(take_trailers(&mut end).unwrap(), &b"\x80\0\0\0\x19grpc-status:0\r\nx:1\r\nx:2\r\n"[..]);
        assert!(take_trailers(&mut end).is_none());
    }
}
