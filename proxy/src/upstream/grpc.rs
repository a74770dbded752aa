//! The header `grpc-timeout`, the time that the caller of a gRPC request waits.
//!
//! Pure.

use std::time::Duration;

use crate::codec::{Headers, names};
use crate::config::route::GrpcLimit;

/// How long the caller waits, in milliseconds, rounded up; `None` if the header is absent or malformed.
fn timeout(headers: &Headers) -> Option<Duration> {
    let text = headers.get(&names::GRPC_TIMEOUT)?.to_str().ok()?;
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => number.checked_mul(3600).map(Duration::from_secs),
        "M" => number.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_millis(number.div_ceil(1_000))),
        "n" => Some(Duration::from_millis(number.div_ceil(1_000_000))),
        _ => None,
    }
}

/// The timeout of a gRPC request to a route with `max_grpc_timeout`; `None` is no limit.
pub(super) fn whole_timeout(limit: GrpcLimit, headers: &Headers) -> Option<Duration> {
    // 0 is no limit, and an offset never makes one out of a limit.
    let requested = timeout(headers).filter(|requested| !requested.is_zero());
    let requested = requested
        .map(|requested| requested.checked_sub(limit.offset).filter(|left| !left.is_zero()).unwrap_or(requested));
    requested.into_iter().chain(limit.max).min()
}

/// The longest stream that the header requests, of any request; `None` if the header is absent or malformed. 0 ends the stream
/// at once.
pub(super) fn longest_stream(limit: GrpcLimit, headers: &Headers) -> Option<Duration> {
    let requested = timeout(headers)?;
    Some(limit.max.map_or(requested, |max| requested.min(max)).saturating_sub(limit.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NONE: GrpcLimit = GrpcLimit { max: None, offset: Duration::ZERO };
    const SOME: GrpcLimit = GrpcLimit { max: Some(SECOND), offset: Duration::from_millis(100) };

    /// Each row as Envoy 1.40 does it.
    #[test]
    fn the_header_is_digits_and_a_unit() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (text, requested, stream, whole) in [
            ("1S", ms(1000), ms(900), ms(900)),
            ("200m", ms(200), ms(100), ms(100)),
            ("2S", ms(2000), ms(900), ms(1000)),
            ("0m", ms(0), ms(0), ms(1000)),
            ("1500u", ms(2), ms(0), ms(2)),
            ("1n", ms(1), ms(0), ms(1)),
            ("100000000m", None, None, ms(1000)),
            ("99999999S", ms(99_999_999_000), ms(900), ms(1000)),
            ("5", None, None, ms(1000)),
            ("x", None, None, ms(1000)),
            ("1x", None, None, ms(1000)),
            ("-1S", None, None, ms(1000)),
            ("1.5S", None, None, ms(1000)),
            ("S", None, None, ms(1000)),
            ("", None, None, ms(1000)),
            ("1H", ms(3_600_000), ms(900), ms(1000)),
            ("1M", ms(60_000), ms(900), ms(1000)),
        ] {
            let headers = Headers::of(&[("grpc-timeout", text)]);
            assert_eq!(timeout(&headers), requested, "{text}");
            assert_eq!(longest_stream(SOME, &headers), stream, "{text}");
            assert_eq!(longest_stream(NONE, &headers), requested, "{text}");
            assert_eq!(whole_timeout(SOME, &headers), whole, "{text}");
            assert_eq!(whole_timeout(NONE, &headers), requested.filter(|requested| !requested.is_zero()), "{text}");
        }
        assert_eq!(timeout(&Headers::of(&[])), None);
    }

    #[test]
    fn the_content_type_decides_what_is_grpc() {
        for (text, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(Headers::of(&[("content-type", text)]).is_grpc(), expected, "{text}");
        }
        assert!(!Headers::of(&[]).is_grpc());
    }
}
