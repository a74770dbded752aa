//! What gRPC writes into heads and trailers ("gRPC over HTTP2").

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;

use super::{Headers, names};

/// The largest number in the header: it has eight digits at most ("gRPC over HTTP2", Timeout).
const NUMBER_MAX: u128 = 99_999_999;

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

/// Sets the time that the caller of a request waits.
pub(crate) fn set_timeout(headers: &mut Headers, limit: Duration) {
    headers.set(names::GRPC_TIMEOUT.clone(), value(limit));
}

/// The value for a duration: in milliseconds, or in the first larger unit in which it has no more than eight digits.
fn value(duration: Duration) -> HeaderValue {
    let millis = duration.as_millis();
    let units = [(millis, 'm'), (millis / 1_000, 'S'), (millis / 60_000, 'M'), (millis / 3_600_000, 'H')];
    let (number, unit) = units.into_iter().find(|(number, _)| *number <= NUMBER_MAX).unwrap_or((NUMBER_MAX, 'H'));
    // Digits and a letter are always a value.
    HeaderValue::try_from(format!("{number}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("99999999H"))
}

/// A message behind what says that it is not compressed, and its length ("gRPC over HTTP2", Length-Prefixed-Message).
pub(crate) fn frame(message: &[u8]) -> Bytes {
    const PREFIX_BYTES: usize = 5;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0); // not compressed
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_eight_digits() {
        for (millis, expected) in [
            (0, "0m"),
            (1_500, "1500m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
            (100_000_000_000, "1666666M"),
            (6_000_000_000_000, "1666666H"),
            (u64::MAX, "99999999H"),
        ] {
            assert_eq!(value(Duration::from_millis(millis)), expected);
        }
    }
}
