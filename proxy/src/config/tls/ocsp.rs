//! Responses of OCSP (RFC 6960 4.2) that are stapled to certificates. As in Envoy, their signature is for the client to check: whoever
//! writes the configuration vouches for them here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;

use super::x509::{CONTEXT_0, GENERALIZED_TIME, OBJECT_ID, SEQUENCE, element, elements, hex_number, time};

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
/// 1.3.6.1.5.5.7.48.1.1, id-pkix-ocsp-basic.
const BASIC: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];

/// A response of OCSP about one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OcspResponse {
    /// It, in DER.
    pub(super) der: Arc<[u8]>,
    /// The serial number of its certificate, as [`serial`](super::x509::serial) has it.
    serial: String,
    pub(super) validity: OcspValidity,
}

/// From when until when a response is of use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OcspValidity {
    /// `thisUpdate`
    pub start: SystemTime,
    /// `nextUpdate`; without one a response counts as expired, as in Envoy.
    pub end: Option<SystemTime>,
}

impl OcspValidity {
    /// So long it is of use.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Duration {
        self.end.and_then(|end| end.duration_since(now).ok()).unwrap_or_default()
    }
}

/// Why there is no [`OcspResponse`], in Envoy's words where it has any.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OcspError {
    /// It is about another certificate.
    #[error("OCSP response does not match its TLS certificate")]
    OfAnother,
    /// It is about none or several.
    #[error("OCSP Response must be for one certificate only")]
    NotOfOne,
    /// It cannot be read.
    #[error("not one response of OCSP in DER (RFC 6960 4.2), as `openssl ocsp -respout` writes it")]
    Unreadable,
    /// The responder has not responded to the question.
    #[error("OCSP response was unsuccessful")]
    Unsuccessful,
}

impl OcspResponse {
    /// # Errors
    /// It is no response, or not one about a single certificate.
    pub(super) fn read(der: &[u8]) -> Result<Self, OcspError> {
        let (serial, validity) = parse(der)?;
        Ok(Self { der: der.into(), serial, validity })
    }

    /// Is it about the certificate with this serial number? As in Envoy, nothing else is compared.
    pub(super) fn is_of(&self, serial: Option<&str>) -> bool {
        serial == Some(&self.serial)
    }

    /// Has it expired? Without a time that is known, it has.
    pub(super) fn has_expired(&self, now: Option<UnixTime>) -> bool {
        let now = now.and_then(|now| UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs())));
        self.validity.end.zip(now).is_none_or(|(end, now)| end < now)
    }
}

/// The serial number of its certificate, and how long it is of use.
fn parse(der: &[u8]) -> Result<(String, OcspValidity), OcspError> {
    let Some((SEQUENCE, response, &[])) = element(der) else { return Err(OcspError::Unreadable) };
    let Some((ENUMERATED, status, rest)) = element(response) else { return Err(OcspError::Unreadable) };
    if status != [0] {
        return Err(OcspError::Unsuccessful);
    }
    let mut responses = elements(responses(rest).ok_or(OcspError::Unreadable)?);
    let (Some((SEQUENCE, single)), None) = (responses.next(), responses.next()) else {
        return Err(OcspError::NotOfOne);
    };
    about(single).ok_or(OcspError::Unreadable)
}

/// The list of SingleResponses in the `responseBytes` of a response.
fn responses(bytes: &[u8]) -> Option<&[u8]> {
    let (CONTEXT_0, explicit, _) = element(bytes)? else { return None };
    let (SEQUENCE, typed, _) = element(explicit)? else { return None };
    let (OBJECT_ID, kind, rest) = element(typed)? else { return None };
    let (OCTET_STRING, basic, _) = element(rest)? else { return None };
    let (SEQUENCE, basic, _) = element(basic)? else { return None };
    let (SEQUENCE, signed, _) = element(basic)? else { return None };
    // Behind the version, where it is written, come the responder and when it has responded.
    let mut parts = elements(signed).filter(|(tag, _)| *tag != CONTEXT_0).skip(1);
    let (GENERALIZED_TIME, _) = parts.next()? else { return None };
    let (SEQUENCE, list) = parts.next()? else { return None };
    (kind == BASIC).then_some(list)
}

/// What a SingleResponse is about, and how long it is of use.
fn about(single: &[u8]) -> Option<(String, OcspValidity)> {
    let mut parts = elements(single);
    let (SEQUENCE, certificate) = parts.next()? else { return None };
    // Behind the algorithm and the hashes of the issuer's name and key.
    let (INTEGER, serial) = elements(certificate).nth(3)? else { return None };
    let _status = parts.next()?;
    let (GENERALIZED_TIME, start) = parts.next()? else { return None };
    let start = time(GENERALIZED_TIME, start)?;
    let end = match parts.next() {
        Some((CONTEXT_0, explicit)) => element(explicit).and_then(|(tag, text, _)| time(tag, text)),
        Some(_) | None => None, // extensions, or nothing
    };
    Some((hex_number(serial), OcspValidity { start, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = include_bytes!("../../../tests/tls/server.ocsp");

    #[test]
    fn a_response_is_about_one_certificate_and_expires() {
        let response = OcspResponse::read(GOOD).unwrap();
        assert!(response.is_of(Some("5730206b68d31850a0b8e6ec765be75e08591617")));
        assert!(!response.is_of(Some("01")) && !response.is_of(None));
        let at = |seconds| Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert!(!response.has_expired(at(1_800_000_000)));
        assert!(response.has_expired(at(5_000_000_000)) && response.has_expired(None));
        let endless = OcspResponse::read(include_bytes!("../../../tests/tls/endless.ocsp")).unwrap();
        assert!(endless.has_expired(at(1_800_000_000)), "as in Envoy");
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for end in 0..GOOD.len() {
            assert_eq!(OcspResponse::read(GOOD.get(..end).unwrap()), Err(OcspError::Unreadable));
        }
        assert_eq!(OcspResponse::read(&[GOOD, b"a"].concat()), Err(OcspError::Unreadable));
        assert_eq!(OcspResponse::read(&[0x30, 3, 0x0a, 1, 3]), Err(OcspError::Unsuccessful), "try later");
        assert_eq!(OcspResponse::read(&[0x30, 3, 0x0a, 1, 0]), Err(OcspError::Unreadable));
    }
}
