//! The content of a peer's certificate, for logs and for `x-forwarded-client-cert`.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::config::tls::PeerName;
use crate::config::tls::x509::serial;

/// The certificate of a peer, and those that came with it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerCertificate {
    /// DNS names among its subject alternative names.
    pub dns_names: Vec<String>,
    /// The distinguished name of its issuer, by RFC 2253.
    pub issuer: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// Whose it is, by RFC 2253.
    pub subject: String,
    /// URIs among its subject alternative names.
    pub uris: Vec<String>,
    /// The whole chain, the certificate at its front.
    pub(crate) chain: Vec<CertificateDer<'static>>,
}

impl PeerCertificate {
    /// The first of `chain`; `None` if there is none that can be read.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let first = chain.first()?;
        let read = EndEntityCert::try_from(first).ok()?;
        Some(Self {
            dns_names: read.valid_dns_names().map(str::to_owned).collect(),
            issuer: name(read.issuer()),
            serial: serial(first).unwrap_or_default(),
            sha256: sha256(first),
            subject: name(read.subject()),
            uris: read.valid_uri_names().map(str::to_owned).collect(),
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
        })
    }

    /// The certificate in PEM, with its special characters as in a URL.
    #[must_use]
    pub fn url_encoded(&self) -> String {
        self.chain.first().map(|first| url_encoded(first)).unwrap_or_default()
    }

    /// It, in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.chain.first().map_or(&[], |first| first)
    }

    /// Has it this name?
    #[must_use]
    pub fn has_name(&self, name: &PeerName) -> bool {
        self.chain.first().is_some_and(|first| name.is_in(first))
    }

    /// The same of the whole chain.
    #[must_use]
    pub fn url_encoded_chain(&self) -> String {
        self.chain.iter().map(|one| url_encoded(one)).collect()
    }
}

/// Whose a certificate in DER is, by RFC 2253.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    EndEntityCert::try_from(certificate).ok().map(|read| name(read.subject()))
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = TLS13_AES_128_GCM_SHA256.tls13().map(|suite| suite.common.hash_provider.hash(bytes));
    hash.map(|hash| hex(hash.as_ref())).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let Ok(()) = write!(text, "{byte:02x}") else { return text };
        text
    })
}

/// PEM (RFC 7468), in which a URL would not keep four characters as they are.
fn url_encoded(certificate: &[u8]) -> String {
    const LINE: usize = 64;
    let coded = STANDARD.encode(certificate);
    let mut text = "-----BEGIN%20CERTIFICATE-----%0A".to_owned();
    for (nth, character) in coded.chars().enumerate() {
        if nth > 0 && nth % LINE == 0 {
            text.push_str("%0A");
        }
        match character {
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            other => text.push(other),
        }
    }
    text + "%0A-----END%20CERTIFICATE-----%0A"
}

/// A name in the form of RFC 2253: its last part first.
fn name(der: &[u8]) -> String {
    let mut sets = Vec::new();
    let mut rest = der;
    while let Some((set, behind)) = element(rest) {
        let mut parts = Vec::new();
        let mut inside = set;
        while let Some((part, behind)) = element(inside) {
            parts.extend(attribute(part));
            inside = behind;
        }
        sets.push(parts.join("+"));
        rest = behind;
    }
    sets.reverse();
    sets.join(",")
}

/// The content of the first DER element, and what stands behind it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn attribute(der: &[u8]) -> Option<String> {
    let (oid, value) = element(der)?;
    let (text, _) = element(value)?;
    let name = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        other => return Some(format!("{}=#{}", dotted(other), hex(value))),
    };
    Some(format!("{name}={}", escaped(text)))
}

/// An object identifier with dots.
fn dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in oid {
        arc = (arc << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            match arcs.is_empty() {
                true => arcs.extend([(arc / 40).min(2), arc - 40 * (arc / 40).min(2)]),
                false => arcs.push(arc),
            }
            arc = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// A value with the characters escaped that mean something in a name (RFC 2253 2.4), and all that are not ASCII.
fn escaped(value: &[u8]) -> String {
    let last = value.len().saturating_sub(1);
    let mut text = String::new();
    for (nth, byte) in value.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => text.extend(['\\', char::from(*byte)]),
            b'#' if nth == 0 => text.push_str("\\#"),
            b' ' if nth == 0 || nth == last => text.push_str("\\ "),
            0x20..=0x7e => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_names_of_a_certificate_are_read() {
        let pem = include_bytes!("../../../tests/tls/client.pem");
        let chain = [CertificateDer::from_pem_slice(pem).unwrap()];
        let peer = PeerCertificate::of(&chain).unwrap();
        assert_eq!((&*peer.subject, &*peer.issuer), ("CN=client,O=finwait", "CN=authority"));
        assert_eq!(
            (peer.dns_names.join(" "), peer.uris.join(" ")),
            ("client.test".into(), "spiffe://test/client".into())
        );
        assert_eq!(peer.sha256.len(), 64);
        let pem = std::str::from_utf8(pem).unwrap();
        let expected =
            pem.replace(' ', "%20").replace('\n', "%0A").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        assert_eq!(peer.url_encoded(), expected);
    }

    #[test]
    fn special_characters_of_a_name_are_escaped() {
        for (value, expected) in
            [("a,b", "a\\,b"), (" a ", "\\ a\\ "), ("#a#", "\\#a#"), ("\u{fc}", "\\C3\\BC"), ("a\"\\", "a\\\"\\\\")]
        {
            assert_eq!(escaped(value.as_bytes()), expected);
        }
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]), "1.2.840.113549.1.9.1");
    }
}
