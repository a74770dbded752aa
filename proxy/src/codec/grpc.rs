//! What gRPC writes into heads and trailers ("gRPC over HTTP2", Responses).

use http::HeaderValue;

/// A text as the value of `grpc-message`: what is not printable, `%` and, as Envoy does it, `~` are escaped.
pub(crate) fn message(text: &[u8]) -> HeaderValue {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | 0..b' ' | b'~'.. => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(*byte)),
        }
    }
    // Printable ASCII is always a value.
    HeaderValue::try_from(out).unwrap_or_else(|_| HeaderValue::from_static(""))
}
