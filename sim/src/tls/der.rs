//! Values in the distinguished encoding of ASN.1 (X.690), as far as a certificate needs them.

use std::time::Duration;

/// What a value is.
#[derive(Clone, Copy)]
pub(super) enum Tag {
    BitString,
    Boolean,
    /// Around a value, by its number.
    Explicit(u8),
    /// In place of the value's own, by its number.
    Implicit(u8),
    Integer,
    ObjectIdentifier,
    OctetString,
    Sequence,
    Set,
    Time,
    Utf8String,
}

impl Tag {
    fn byte(self) -> u8 {
        match self {
            Self::BitString => 3,
            Self::Boolean => 1,
            Self::Explicit(number) => 0xa0 | number,
            Self::Implicit(number) => 0x80 | number,
            Self::Integer => 2,
            Self::ObjectIdentifier => 6,
            Self::OctetString => 4,
            Self::Sequence => 0x30,
            Self::Set => 0x31,
            Self::Time => 24, // GeneralizedTime
            Self::Utf8String => 12,
        }
    }
}

/// A value of at most 64 KiB.
pub(super) fn element(tag: Tag, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag.byte()];
    match u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes() {
        [0, low @ 0..=0x7f] => bytes.push(low),
        [0, low] => bytes.extend([0x81, low]),
        [high, low] => bytes.extend([0x82, high, low]),
    }
    bytes.extend(content);
    bytes
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(Tag::Sequence, &parts.concat())
}

pub(super) fn integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut content = bytes.get(significant..).unwrap_or_default().to_vec();
    if content.first().is_some_and(|first| first & 0x80 != 0) {
        content.insert(0, 0); // it is not negative
    }
    element(Tag::Integer, &content)
}

/// Whole bytes.
pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(Tag::BitString, &[&[0], bytes].concat())
}

/// An instant since 1970, to the second.
pub(super) fn time(since: Duration) -> Vec<u8> {
    const DAY: u64 = 24 * 60 * 60;
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let text = format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    element(Tag::Time, text.as_bytes())
}

/// The same as a person reads it.
pub(super) fn date_and_time(since: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let ((year, month, day), second) = (date(since.as_secs() / DAY), since.as_secs() % DAY);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // since the first of March of the year 0
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates() {
        for (seconds, expected) in [
            (0, "19700101000000Z"),
            (951_782_400, "20000229000000Z"),
            (1_704_067_199, "20231231235959Z"),
            (4_102_444_800, "21000101000000Z"),
        ] {
            assert_eq!(time(Duration::from_secs(seconds))[2..], *expected.as_bytes());
        }
    }

    #[test]
    fn lengths_and_integers() {
        assert_eq!(element(Tag::OctetString, &[7; 2]), [4, 2, 7, 7]);
        assert_eq!(element(Tag::OctetString, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(element(Tag::OctetString, &[7; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(0x80), [2, 2, 0, 0x80]);
        assert_eq!(integer(0x1234), [2, 2, 0x12, 0x34]);
    }
}
