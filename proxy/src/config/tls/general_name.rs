//! The names of a certificate as texts (RFC 5280 4.2.1.6), and the types of otherNames.

use std::net::IpAddr;

/// A kind of subject alternative name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameKind {
    /// dNSName
    Dns,
    /// rfc822Name
    Email,
    /// iPAddress
    Ip,
    /// otherName, whose value has a text.
    Other,
    /// uniformResourceIdentifier
    Uri,
}

impl NameKind {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Dns, Self::Email, Self::Ip, Self::Other, Self::Uri];
}

/// An object identifier, encoded (X.690 8.19).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectId(Vec<u8>);

impl ObjectId {
    /// Its numbers, with dots between them.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        let numbers: Option<Vec<u64>> = written.split('.').map(|number| number.parse().ok()).collect();
        let numbers = numbers?;
        let (&[first, second], rest) = numbers.split_first_chunk::<2>()?;
        if first > 2 || first < 2 && second >= 40 {
            return None;
        }
        let begin = second.checked_add(first * 40)?;
        let mut encoded = Vec::new();
        for number in std::iter::once(begin).chain(rest.iter().copied()) {
            let groups = (64 - number.leading_zeros()).div_ceil(7).max(1);
            for group in (0..groups).rev() {
                let seven = u8::try_from(number >> (7 * group) & 0x7f).unwrap_or_default();
                encoded.push(if group > 0 { 0x80 | seven } else { seven });
            }
        }
        Some(Self(encoded))
    }

    pub(super) fn is(&self, encoded: &[u8]) -> bool {
        self.0 == encoded
    }
}

/// An object identifier as people write it.
fn dotted(encoded: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number: u64 = 0;
    for byte in encoded {
        number = number.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let (begin, rest) = numbers.split_first()?;
    let first = (begin / 40).min(2);
    let all = [first, begin - first * 40].into_iter().chain(rest.iter().copied());
    Some(all.map(|number| number.to_string()).collect::<Vec<_>>().join("."))
}

pub(super) fn address(content: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(content).ok().map(IpAddr::from);
    four().or_else(|| <[u8; 16]>::try_from(content).ok().map(IpAddr::from))
}

pub(super) fn utf8(content: &[u8]) -> Option<String> {
    str::from_utf8(content).ok().map(str::to_owned)
}

/// The value of an otherName, of the type that its tag says (X.680 8.6).
pub(super) fn value(tag: u8, content: &[u8]) -> Option<String> {
    const BIT_STRING: u8 = 3;
    const BOOLEAN: u8 = 1;
    const BMP_STRING: u8 = 30;
    const ENUMERATED: u8 = 10;
    const INTEGER: u8 = 2;
    const OBJECT_ID: u8 = 6;
    const UNIVERSAL_STRING: u8 = 28;
    match tag {
        BOOLEAN => content.first().map(|byte| (*byte != 0).to_string()),
        INTEGER | ENUMERATED => integer(content),
        OBJECT_ID => dotted(content),
        BIT_STRING => content.get(1..).and_then(utf8), // behind the number of unused bits
        BMP_STRING => {
            let units: Vec<u16> =
                content.chunks_exact(2).map(|two| u16::from(two[0]) << 8 | u16::from(two[1])).collect();
            String::from_utf16(&units).ok()
        }
        UNIVERSAL_STRING => {
            let chars = content.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            chars.map(char::from_u32).collect()
        }
        _ => utf8(content),
    }
}

/// In two's complement (X.690 8.3), as far as 128 bits go.
fn integer(content: &[u8]) -> Option<String> {
    let (first, _) = content.split_first()?;
    if content.len() > 16 {
        return None;
    }
    let begin: i128 = if first & 0x80 == 0 { 0 } else { -1 };
    Some(content.iter().fold(begin, |number, byte| number << 8 | i128::from(*byte)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_read_and_written() {
        for (written, encoded) in [
            ("1.2.3.4", Some(&[42, 3, 4][..])),
            ("1.3.6.1.4.1.311.20.2.3", Some(&[43, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3])),
            ("2.999.3", Some(&[0x88, 0x37, 3])),
            ("0.0", Some(&[0])),
            ("x", None),
            ("", None),
            ("1", None),
            ("3.1", None),
            ("1.40", None),
            ("1..2", None),
            ("2.18446744073709551615", None),
        ] {
            assert_eq!(ObjectId::parse(written).map(|id| id.0).as_deref(), encoded, "{written}");
            if let Some(encoded) = encoded {
                assert_eq!(dotted(encoded).as_deref(), Some(written));
            }
        }
        assert_eq!(dotted(&[0xff; 20]), None);
    }

    #[test]
    fn values_of_other_names_have_texts() {
        for (tag, content, text) in [
            (1, &[0xff][..], Some("true")),
            (1, &[0], Some("false")),
            (2, &[5], Some("5")),
            (2, &[0xff, 0x7f], Some("-129")),
            (2, &[1; 17], None),
            (3, &[0, b'a'], Some("a")),
            (4, b"hi", Some("hi")),
            (6, &[42, 3, 4], Some("1.2.3.4")),
            (10, &[3], Some("3")),
            (12, "ü".as_bytes(), Some("ü")),
            (22, b"ia5", Some("ia5")),
            (28, &[0, 0, 0, b'u'], Some("u")),
            (30, &[0, b'b', 0x20, 0xac], Some("b€")),
            (12, &[0xff], None),
        ] {
            assert_eq!(value(tag, content).as_deref(), text, "{tag} {content:?}");
        }
    }
}
