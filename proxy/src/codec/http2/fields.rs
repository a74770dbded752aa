//! Which fields a message may have (RFC 9113 8.2 and 8.3), and which values each of them.
//!
//! The sets of characters are those of Envoy's codec, tried byte by byte.

/// What a field is to HTTP/2, by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FieldKind {
    Authority,
    ContentLength,
    /// Belongs to one HTTP/1 connection (RFC 9113 8.2.2).
    HopByHop,
    Host,
    /// A name that no field has (RFC 9113 8.2.1).
    Impossible,
    Method,
    Path,
    Protocol,
    Regular,
    Scheme,
    Status,
    Te,
    UnknownPseudo,
}

impl FieldKind {
    pub(super) fn of(name: &[u8]) -> Self {
        match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":scheme" => Self::Scheme,
            b":status" => Self::Status,
            [b':', ..] => Self::UnknownPseudo,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => Self::HopByHop,
            b"content-length" => Self::ContentLength,
            b"host" => Self::Host,
            b"te" => Self::Te,
            [] => Self::Impossible,
            _ if name.len() <= NAME_BYTES_MAX && name.iter().all(|byte| has(*byte, NAME)) => Self::Regular,
            _ => Self::Impossible,
        }
    }

    /// May a field of this kind have this value, in some message?
    pub(super) fn allows(self, value: &[u8]) -> bool {
        let all = |class| value.iter().all(|byte| has(*byte, class));
        match self {
            Self::Authority | Self::Host => !value.is_empty() && all(AUTHORITY),
            Self::ContentLength => content_length(value).is_some(),
            Self::HopByHop | Self::Impossible | Self::UnknownPseudo => false,
            Self::Method => !value.is_empty() && all(TOKEN),
            Self::Path => !value.is_empty() && all(PATH),
            Self::Protocol => !value.is_empty() && all(VALUE) && std::str::from_utf8(value).is_ok(),
            Self::Regular => all(VALUE),
            Self::Scheme => {
                value.first().is_some_and(u8::is_ascii_alphabetic) && all(SCHEME) && value.len() <= SCHEME_BYTES_MAX
            }
            Self::Status => value.len() == 3 && value.iter().all(u8::is_ascii_digit) && !value.starts_with(b"0"),
            Self::Te => value.eq_ignore_ascii_case(b"trailers"),
        }
    }
}

/// The value of a content-length, if it is one: digits, and a number that a signed 64-bit integer holds.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 19;
    let is_number = (1..=DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number: i64 = std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()?;
    u64::try_from(number).ok()
}

/// Can h2 carry this path? The http crate cuts a fragment off and refuses other characters, where Envoy does not.
pub(super) fn is_plain_path(path: &[u8]) -> bool {
    path.starts_with(b"/") && path.iter().all(|byte| has(*byte, PLAIN_PATH)) || path == b"*"
}

/// Can h2 carry this authority? A name or an IPv4 address, and perhaps a port.
pub(super) fn is_plain_authority(authority: &[u8]) -> bool {
    let mut parts = authority.split(|byte| *byte == b':');
    let is_name = parts.next().is_some_and(|name| !name.is_empty() && name.iter().all(|byte| has(*byte, PLAIN_NAME)));
    let is_port = parts.next().is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    is_name && is_port && parts.next().is_none()
}

/// The http crate's limits.
const NAME_BYTES_MAX: usize = (1 << 16) - 1;
const SCHEME_BYTES_MAX: usize = 64;

// Classes of bytes: one bit each in `CLASSES`.
const NAME: u8 = 1;
const TOKEN: u8 = 1 << 1;
const VALUE: u8 = 1 << 2;
const PATH: u8 = 1 << 3;
const AUTHORITY: u8 = 1 << 4;
const SCHEME: u8 = 1 << 5;
const PLAIN_PATH: u8 = 1 << 6;
const PLAIN_NAME: u8 = 1 << 7;

fn has(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

static CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which stops at an index out of bounds")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::as_conversions,
    reason = "the index ends at 255; TryFrom is not const"
)]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < classes.len() {
        classes[at] = classes_of(at as u8);
        at += 1;
    }
    classes
}

const fn classes_of(byte: u8) -> u8 {
    let is_token = byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
    let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_sub_delim = matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
    let mut classes = 0;
    if is_token && !byte.is_ascii_uppercase() {
        classes |= NAME;
    }
    if is_token {
        classes |= TOKEN;
    }
    if byte == b'\t' || byte >= b' ' && byte != 0x7f {
        classes |= VALUE;
    }
    if byte > b' ' && byte != 0x7f {
        classes |= PATH;
    }
    if is_unreserved || is_sub_delim || matches!(byte, b'%' | b':' | b'[' | b']') {
        classes |= AUTHORITY;
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
        classes |= SCHEME;
    }
    if is_unreserved || is_sub_delim || matches!(byte, b'%' | b':' | b'@' | b'/' | b'?') {
        classes |= PLAIN_PATH;
    }
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
        classes |= PLAIN_NAME;
    }
    classes
}

#[cfg(test)]
mod tests {
    use http::uri::{Authority, PathAndQuery, Scheme};
    use http::{HeaderName, HeaderValue, Method, StatusCode};
    use proptest::prelude::*;

    use super::*;

    type Values = &'static [&'static [u8]];

    proptest! {
        /// What is let through to h2 has to be something that the http crate can hold.
        #[test]
        fn what_is_allowed_can_be_held(bytes in prop::collection::vec(any::<u8>(), 0..8)) {
            let allowed = |kind: FieldKind| kind.allows(&bytes);
            if allowed(FieldKind::Method) {
                prop_assert!(Method::from_bytes(&bytes).is_ok());
            }
            if allowed(FieldKind::Regular) {
                prop_assert!(HeaderValue::from_bytes(&bytes).is_ok());
            }
            if FieldKind::of(&bytes) == FieldKind::Regular {
                prop_assert!(HeaderName::from_lowercase(&bytes).is_ok());
            }
            if allowed(FieldKind::Status) {
                prop_assert!(StatusCode::from_bytes(&bytes).is_ok());
            }
            if allowed(FieldKind::Scheme) {
                prop_assert!(Scheme::try_from(&bytes[..]).is_ok());
            }
            if is_plain_authority(&bytes) {
                prop_assert!(Authority::try_from(&bytes[..]).is_ok_and(|held| held.as_str().as_bytes() == bytes));
            }
            let path = [b"/", &bytes[..]].concat();
            if is_plain_path(&path) {
                prop_assert!(PathAndQuery::try_from(&path[..]).is_ok_and(|held| held.as_str().as_bytes() == path));
            }
        }
    }

    #[test]
    fn each_kind_has_its_values() {
        let cases: [(FieldKind, Values, Values); 9] = [
            (
                FieldKind::Authority,
                &[b"a", b"a:80", b"[::1]:80", b"a_b%41"],
                &[b"", b"u@a", b"a/b", b"a b", b"{a}", b"\x80"],
            ),
            (
                FieldKind::ContentLength,
                &[b"0", b"00", b"9223372036854775807"],
                &[b"", b"-1", b"+1", b"9223372036854775808", b"1,1"],
            ),
            (FieldKind::Method, &[b"GET", b"get", b"M-SEARCH"], &[b"", b"G T", b"G@", b"G\n", b"G\x80"]),
            (FieldKind::Path, &[b"/", b"*", b"/<x>`", b"/\x80", b"/a#b"], &[b"", b"/ ", b"/\n", b"/\x7f"]),
            (FieldKind::Protocol, &[b"websocket", b"a b"], &[b"", b"a\nb", b"a\x80"]),
            (FieldKind::Scheme, &[b"http", b"HTTP", b"a+b"], &[b"", b"1a", b"h ttp", b"h_"]),
            (FieldKind::Status, &[b"200", b"999"], &[b"", b"20", b"2000", b"099", b"abc"]),
            (FieldKind::Te, &[b"trailers", b"Trailers"], &[b"", b"gzip", b"trailers, gzip"]),
            (FieldKind::Regular, &[b"", b"a\tb", b" a ", b"\x80"], &[b"\0", b"a\r", b"a\nb", b"\x7f", b"\x01"]),
        ];
        for (kind, good, bad) in cases {
            good.iter().for_each(|value| assert!(kind.allows(value), "{kind:?} {value:?}"));
            bad.iter().for_each(|value| assert!(!kind.allows(value), "{kind:?} {value:?}"));
        }
    }

    #[test]
    fn names_have_their_kinds() {
        assert_eq!(FieldKind::of(b"x_a"), FieldKind::Regular);
        assert_eq!(FieldKind::of(b":foo"), FieldKind::UnknownPseudo);
        for impossible in [&b""[..], b"X-A", b"x a", b"x:a", b"x\x80", b"x(a", b"x\0"] {
            assert_eq!(FieldKind::of(impossible), FieldKind::Impossible, "{impossible:?}");
        }
    }
}
