//! Certificates and keys of peers that are known in advance, by their SHA-256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// A SHA-256.
type Hash = [u8; SHA256_OUTPUT_LEN];

/// `verify_certificate_hash` and `verify_certificate_spki`: a certificate has to be among these, or its key.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// Of whole certificates.
    pub certificates: Vec<Hash>,
    /// Of the SubjectPublicKeyInfo (RFC 5280 4.1) of certificates.
    pub keys: Vec<Hash>,
}

impl Pins {
    /// Is any certificate permitted?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.keys.is_empty()
    }

    pub(super) fn hold(&self, certificate: &CertificateDer<'_>, read: &EndEntityCert<'_>) -> bool {
        let is_among = |hashes: &[Hash], der: &[u8]| {
            !hashes.is_empty() && hashes.iter().any(|hash| hash[..] == *digest(&SHA256, der).as_ref())
        };
        is_among(&self.certificates, certificate) || is_among(&self.keys, &read.subject_public_key_info())
    }
}

/// The hash that is written in hexadecimal digits, with a colon between every two or without.
#[must_use]
pub fn hash_of_hex(written: &str) -> Option<Hash> {
    let digits: Vec<u8> = match written.len() {
        64 => written.bytes().collect(),
        95 if written.bytes().skip(2).step_by(3).all(|byte| byte == b':') => {
            written.bytes().enumerate().filter(|(at, _)| at % 3 != 2).map(|(_, byte)| byte).collect()
        }
        _ => return None,
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(|two| Some(digit(two[0])? << 4 | digit(two[1])?)).collect();
    bytes?.try_into().ok()
}

/// The hash that is written in base64.
#[must_use]
pub fn hash_of_base64(written: &str) -> Option<Hash> {
    STANDARD.decode(written).ok()?.try_into().ok()
}

/// A certificate that is not among those known in advance.
#[derive(Debug)]
pub struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "neither the certificate nor its key is among those of verify_certificate_hash and verify_certificate_spki",
        )
    }
}

impl std::error::Error for NotPinned {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_as_people_write_them() {
        let plain = "00".repeat(31) + "fF";
        let mut expected = [0; SHA256_OUTPUT_LEN];
        expected[31] = 0xff;
        let colons = ["00"; 31].join(":") + ":ff";
        assert_eq!(hash_of_hex(&plain), Some(expected));
        assert_eq!(hash_of_hex(&colons), Some(expected));
        assert_eq!(hash_of_base64("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8="), Some(expected));
        for wrong in ["", "00", &"zz".repeat(32), &colons.replace(':', "-"), &"é".repeat(32)] {
            assert_eq!(hash_of_hex(wrong), None, "{wrong}");
        }
        for wrong in ["", "AAAA", "!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(hash_of_base64(wrong), None, "{wrong}");
        }
    }
}
