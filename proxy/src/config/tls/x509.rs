//! What is read of certificates beside their names in DNS and their URIs: how long they are valid, and their other names
//! (RFC 5280 4.1, 4.2.1.6). Whatever cannot be read is not there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::general_name::{address, utf8, value};

pub use super::general_name::{NameKind, ObjectId};

/// A subject alternative name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AltName {
    /// Of which kind it is.
    pub kind: NameKind,
    /// It, as text.
    pub text: String,
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// `notBefore`
    pub start: SystemTime,
    /// `notAfter`
    pub end: SystemTime,
}

pub(super) const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
pub(super) const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// `[0]` and `[3]` of a TBSCertificate: its version and its extensions. `[0]` is an otherName, and the value in it, as well.
pub(super) const CONTEXT_0: u8 = 0xa0;
const CONTEXT_3: u8 = 0xa3;
/// 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.3.6.1.5.5.7.1.24, tlsfeature (RFC 7633).
const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];

/// An element of DER: its tag and its content, and what stands behind it.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None, // 64 KiB and more
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The elements one after the other, as far as they can be read.
pub(super) fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = element(der)?;
        der = rest;
        Some((tag, content))
    })
}

/// The parts of the TBSCertificate, without its version.
fn parts(certificate: &[u8]) -> Option<impl Iterator<Item = (u8, &[u8])>> {
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, signed, _) = element(certificate)? else { return None };
    Some(elements(signed).filter(|(tag, _)| *tag != CONTEXT_0))
}

/// Its names of one kind, in their order.
#[must_use]
pub fn alt_names(certificate: &[u8], kind: NameKind) -> Vec<String> {
    let Some(names) = alternative_names(certificate) else { return Vec::new() };
    elements(names).filter_map(|(tag, content)| name(tag, content, kind)).collect()
}

/// Its otherNames of one type, in their order.
#[must_use]
pub(super) fn other_names(certificate: &[u8], kind: &ObjectId) -> Vec<String> {
    let Some(names) = alternative_names(certificate) else { return Vec::new() };
    let others = elements(names).filter(|(tag, _)| *tag == CONTEXT_0).filter_map(|(_, content)| other(content));
    others.filter(|(id, _)| kind.is(id)).filter_map(|(_, text)| text).collect()
}

/// Its names of all kinds, in their order.
#[must_use]
pub fn alternatives(certificate: &[u8]) -> Vec<AltName> {
    let Some(names) = alternative_names(certificate) else { return Vec::new() };
    let read = |(tag, content)| {
        NameKind::ALL.into_iter().find_map(|kind| Some(AltName { kind, text: name(tag, content, kind)? }))
    };
    elements(names).filter_map(read).collect()
}

/// Its serial number, two hexadecimal digits a byte, without bytes of zero at the front.
#[must_use]
pub fn serial(certificate: &[u8]) -> Option<String> {
    const INTEGER: u8 = 0x02;
    let (INTEGER, number) = parts(certificate)?.next()? else { return None };
    Some(hex_number(number))
}

/// A number in DER, two hexadecimal digits a byte, without bytes of zero at the front.
pub(super) fn hex_number(number: &[u8]) -> String {
    number.iter().skip_while(|byte| **byte == 0).map(|byte| format!("{byte:02x}")).collect()
}

/// Must a response of OCSP go with it (RFC 7633 4.2.3.1)?
#[must_use]
pub fn must_be_stapled(certificate: &[u8]) -> bool {
    // A list of one feature: status_request, which is extension 5.
    extension(certificate, TLS_FEATURE) == Some(&[SEQUENCE, 3, 2, 1, 5])
}

fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, names, _) = element(extension(certificate, SUBJECT_ALT_NAME)?)? else { return None };
    Some(names)
}

/// The value of the extension of this type.
fn extension<'c>(certificate: &'c [u8], kind: &[u8]) -> Option<&'c [u8]> {
    let (_, extensions) = parts(certificate)?.find(|(tag, _)| *tag == CONTEXT_3)?;
    let (SEQUENCE, extensions, _) = element(extensions)? else { return None };
    let (_, found) = elements(extensions)
        .find(|(_, extension)| element(extension).is_some_and(|(tag, id, _)| tag == OBJECT_ID && id == kind))?;
    elements(found).find(|(tag, _)| ![OBJECT_ID, BOOLEAN].contains(tag)).map(|(_, value)| value)
}

fn name(tag: u8, content: &[u8], kind: NameKind) -> Option<String> {
    match (tag, kind) {
        (0x81, NameKind::Email) | (0x82, NameKind::Dns) | (0x86, NameKind::Uri) => utf8(content),
        (0x87, NameKind::Ip) => address(content).map(|address| address.to_string()),
        (CONTEXT_0, NameKind::Other) => other(content).and_then(|(_, text)| text),
        _ => None,
    }
}

/// The type of an otherName, and its value.
fn other(content: &[u8]) -> Option<(&[u8], Option<String>)> {
    let (OBJECT_ID, id, rest) = element(content)? else { return None };
    let (CONTEXT_0, explicit, _) = element(rest)? else { return None };
    let (tag, content, _) = element(explicit)?;
    Some((id, value(tag, content)))
}

/// How long it is valid.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    // Behind the serial number, the algorithm and the issuer.
    let (SEQUENCE, times) = parts(certificate)?.nth(3)? else { return None };
    let mut times = elements(times).map(|(tag, text)| time(tag, text));
    Some(Validity { start: times.next()??, end: times.next()?? })
}

/// RFC 5280 4.1.2.5: in UTC, to the second.
pub(super) fn time(tag: u8, text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |text: &str| text.parse::<u32>().ok();
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => text.split_at_checked(4).and_then(|(year, rest)| Some((number(year)?, rest)))?,
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2).and_then(number);
    let (month, day) = (two(0)?, two(2)?);
    let seconds = u64::from(two(4)? * 3600 + two(6)? * 60 + two(8)?);
    let days = days_since_1970(year, month, day)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::from(days) * 86_400 + seconds))
}

/// Of the Gregorian calendar; `None` before 1970.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<u32> {
    const DAYS_TO_1970: u32 = 719_469; // as counted below
    // Years that begin in March have the day that may be missing at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day;
    days.checked_sub(DAYS_TO_1970)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn names_and_times_of_a_certificate_are_read() {
        let pem = include_bytes!("../../../tests/tls/client.pem");
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        assert_eq!(alt_names(&certificate, NameKind::Dns), ["client.test"]);
        assert_eq!(alt_names(&certificate, NameKind::Uri), ["spiffe://test/client"]);
        assert!(alt_names(&certificate, NameKind::Email).is_empty());
        let Validity { start, end } = validity(&certificate).unwrap();
        assert!(start < end && start > UNIX_EPOCH);
        for end in 0..certificate.len() {
            let cut = certificate.get(..end).unwrap();
            assert!(alt_names(cut, NameKind::Dns).is_empty());
            assert!(validity(cut).is_none());
        }
    }

    #[test]
    fn general_names_are_told_apart() {
        let other = [0x06, 1, 42, 0xa0, 4, 0x0c, 2, b'u', b'p'];
        for (tag, content, kind, expected) in [
            (0x81, &b"a@b.test"[..], NameKind::Email, Some("a@b.test")),
            (0x81, b"a@b.test", NameKind::Dns, None),
            (0x87, &[10, 0, 0, 7], NameKind::Ip, Some("10.0.0.7")),
            (0x87, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], NameKind::Ip, Some("::1")),
            (0x87, &[10, 0, 0], NameKind::Ip, None),
            (0xa0, &other, NameKind::Other, Some("up")),
        ] {
            assert_eq!(name(tag, content, kind).as_deref(), expected);
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20240229120001Z", Some(1_709_208_001)),
            (GENERALIZED_TIME, "20240301000000Z", Some(1_709_251_200)),
            (GENERALIZED_TIME, "19691231235959Z", None),
            (GENERALIZED_TIME, "2024Z", None),
            (0x04, "700101000000Z", None),
        ] {
            let at = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(time(tag, text.as_bytes()), at, "{text}");
        }
    }
}
