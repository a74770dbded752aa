//! Fingerprints of the programs that clients are, by what their ClientHello offers and in which order: JA3 and JA4.

use std::fmt::Write;

use md5::{Digest, Md5};

use super::certificate::sha256;
use super::raw_hello::{ALPN, RawHello, SERVER_NAME};
use crate::config::listener_filter::Fingerprinted;

/// So many digits of a hash are part of a JA4.
const JA4_HASH_LEN: usize = 12;

/// The fingerprints of a client that `tls_inspector` is to make.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fingerprints {
    /// `%TLS_JA3_FINGERPRINT%`
    pub ja3: Option<Box<str>>,
    /// `%TLS_JA4_FINGERPRINT%`
    pub ja4: Option<Box<str>>,
}

impl Fingerprints {
    /// Of the client whose ClientHello `stream` begins with.
    #[must_use]
    pub fn of(stream: &[u8], wanted: Fingerprinted) -> Option<Self> {
        let hello = RawHello::parse(stream)?;
        Some(Self { ja3: wanted.ja3.then(|| ja3(&hello).into()), ja4: wanted.ja4.then(|| ja4(&hello).into()) })
    }
}

/// MD5 over the numbers of version, cipher suites, extensions, groups and point formats.
fn ja3(hello: &RawHello) -> String {
    let RawHello { version, ciphers, extensions, groups, point_formats, .. } = hello;
    let point_formats: Vec<_> = point_formats.iter().copied().map(u16::from).collect();
    let lists = [ciphers, extensions, groups, &point_formats].map(|list| {
        let numbers: Vec<_> = list.iter().map(u16::to_string).collect();
        numbers.join("-")
    });
    let digest = Md5::digest(format!("{version},{}", lists.join(",")));
    digest.iter().fold(String::new(), |mut text, byte| {
        let Ok(()) = write!(text, "{byte:02x}") else { return text };
        text
    })
}

/// What is offered in short, and a hash each of the cipher suites and the extensions, sorted, so that a client that shuffles them has one
/// fingerprint.
fn ja4(hello: &RawHello) -> String {
    let RawHello { version, ciphers, extensions, signature_algorithms, versions, alpn, server_name, .. } = hello;
    let version = match versions.iter().max().unwrap_or(version) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    };
    let sni = if server_name.is_some() { 'd' } else { 'i' };
    let count = |list: &[u16]| list.len().min(99);
    let hashed = extensions.iter().copied().filter(|kind| ![SERVER_NAME, ALPN].contains(kind)).collect();
    let mut hashed = hex_sorted(hashed);
    if !signature_algorithms.is_empty() {
        hashed = format!("{hashed}_{}", hex(signature_algorithms));
    }
    format!(
        "t{version}{sni}{:02}{:02}{}_{}_{}",
        count(ciphers),
        count(extensions),
        first_protocol(alpn),
        hash(&hex_sorted(ciphers.clone())),
        hash(&hashed)
    )
}

/// The first and the last character of the application protocol that is preferred; of one that is no text, the first and the last of
/// its digits.
fn first_protocol(alpn: &[Vec<u8>]) -> String {
    let Some([first, .., last] | [first @ last]) = alpn.first().map(Vec::as_slice) else { return "00".into() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last].map(char::from).iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

fn hex_sorted(mut values: Vec<u16>) -> String {
    values.sort_unstable();
    hex(&values)
}

fn hex(values: &[u16]) -> String {
    let digits: Vec<_> = values.iter().map(|value| format!("{value:04x}")).collect();
    digits.join(",")
}

fn hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(JA4_HASH_LEN);
    }
    sha256(text.as_bytes()).chars().take(JA4_HASH_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_the_fingerprints_that_envoy_logs() {
        let lines = include_str!("../../../tests/tls/hellos.txt").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let [ja3, ja4, hello] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let digits = hello.as_bytes().as_chunks::<2>().0;
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let hello: Vec<u8> = digits.iter().map(byte).collect();
            let made = Fingerprints::of(&hello, Fingerprinted { ja3: true, ja4: true }).unwrap();
            assert_eq!((made.ja3.as_deref(), made.ja4.as_deref()), (Some(ja3), Some(ja4)));
            assert_eq!(Fingerprints::of(&hello[..hello.len() - 1], Fingerprinted { ja3: true, ja4: true }), None);
            let ja4 = Fingerprints::of(&hello, Fingerprinted { ja3: false, ja4: true }).unwrap();
            assert_eq!(ja4.ja3, None);
        }
    }

    #[test]
    fn bytes_that_are_no_client_hello_have_no_fingerprint() {
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\n", &[22, 3, 1, 0, 4, 1, 0, 0, 0], &[22, 3, 1, 0, 4, 9, 9, 9, 9]] {
            assert_eq!(Fingerprints::of(bytes, Fingerprinted { ja3: true, ja4: true }), None);
        }
    }
}
