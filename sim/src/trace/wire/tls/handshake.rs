//! Messages of handshakes (RFC 8446 section 4; RFC 5246 section 7.4), in words.

use finwait::net::tls::ClientHello;

use super::Tls;
use super::record::{Kind, Record};

/// Puts messages together that cross several records.
#[derive(Default)]
pub(super) struct Reader {
    unread: Vec<u8>,
}

/// One message.
pub(super) struct HandshakeMessage {
    pub(super) kind: u8,
    pub(super) text: String,
    pub(super) tls: Option<Tls>,
}

pub(super) const FINISHED: u8 = 20;
pub(super) const SERVER_HELLO: u8 = 2;
const CLIENT_HELLO: u8 = 1;
const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

/// What two hellos have agreed upon.
pub(super) struct Agreed {
    pub(super) client_random: [u8; 32],
    pub(super) server_random: [u8; 32],
    pub(super) suite: u16,
    pub(super) version: Version,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    V12,
    V13,
}

impl Agreed {
    /// From the beginnings of both directions; none if there are not two hellos.
    pub(super) fn of(from_client: &[u8], from_server: &[u8]) -> Option<Self> {
        let client = hello(from_client, CLIENT_HELLO)?;
        let server = hello(from_server, SERVER_HELLO)?;
        let version = match server.version() {
            TLS13 => Version::V13,
            _ => Version::V12,
        };
        Some(Self { client_random: client.random, server_random: server.random, suite: server.suite, version })
    }
}

/// The ClientHello that a byte stream begins with, if it does.
pub(super) fn client_hello(stream: &[u8]) -> Option<ClientHello> {
    let hello = hello(stream, CLIENT_HELLO)?;
    let alpn = hello.alpn().into_iter().map(String::into_bytes).collect();
    Some(ClientHello { alpn, server_name: hello.server_name() })
}

fn hello(stream: &[u8], kind: u8) -> Option<Hello> {
    let record = Record::first_in(stream).filter(|record| record.kind == Kind::Handshake)?;
    let (head, body) = record.payload.split_first_chunk::<4>()?;
    (head[0] == kind).then(|| Hello::read(body, kind))?
}

impl Reader {
    /// The messages that are whole with `payload`.
    pub(super) fn read(&mut self, payload: &[u8]) -> Vec<HandshakeMessage> {
        self.unread.extend_from_slice(payload);
        let mut messages = Vec::new();
        while let Some((&[kind, a, b, c], rest)) = self.unread.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
            let Some(body) = rest.get(..length) else { break };
            messages.push(parse(kind, body));
            self.unread.drain(..4 + length);
        }
        messages
    }
}

fn parse(kind: u8, body: &[u8]) -> HandshakeMessage {
    let mut tls = None;
    let text = match kind {
        CLIENT_HELLO => {
            let Some(hello) = Hello::read(body, kind) else { return unread(kind) };
            let (alpn, server_name) = (hello.alpn(), hello.server_name());
            let sni = server_name.as_ref().map_or_else(|| "no SNI".into(), |name| format!("SNI {name}"));
            let offered = if alpn.is_empty() { "no ALPN".into() } else { format!("ALPN {}", alpn.join(" ")) };
            tls = Some(Tls::ClientHello { alpn, server_name });
            format!("ClientHello, {sni}, {offered}, {}{}", hello.versions_offered(), hello.resumption())
        }
        SERVER_HELLO => {
            let Some(hello) = Hello::read(body, kind) else { return unread(kind) };
            let version = version_name(hello.version()).to_owned();
            let alpn = hello.alpn();
            let chosen = if alpn.is_empty() { String::new() } else { format!(", ALPN {}", alpn.join(" ")) };
            tls = Some(Tls::ServerHello { version: version.clone() });
            format!("ServerHello, {version} {}{chosen}{}", suite_name(hello.suite), hello.resumption())
        }
        8 => {
            let alpn = extensions(body).find(|(id, _)| *id == ALPN).map(|(_, value)| alpn(value)).unwrap_or_default();
            if alpn.is_empty() {
                "EncryptedExtensions".into()
            } else {
                format!("EncryptedExtensions, ALPN {}", alpn.join(" "))
            }
        }
        11 => {
            let subject = certificate(body).map(|der| subject(der).unwrap_or_else(|| "?".into()));
            let text =
                subject.as_ref().map_or_else(|| "Certificate, none".into(), |name| format!("Certificate {name}"));
            tls = Some(Tls::Certificate { subject });
            text
        }
        4 => "NewSessionTicket".into(),
        12 => "ServerKeyExchange".into(),
        13 => "CertificateRequest".into(),
        14 => "ServerHelloDone".into(),
        15 => "CertificateVerify".into(),
        16 => "ClientKeyExchange".into(),
        FINISHED => "Finished".into(),
        24 => "KeyUpdate".into(),
        _ => return unread(kind),
    };
    HandshakeMessage { kind, text, tls }
}

fn unread(kind: u8) -> HandshakeMessage {
    HandshakeMessage { kind, text: format!("handshake message of type {kind}"), tls: None }
}

/// An alert in words, and what it means.
pub(super) fn alert(payload: &[u8]) -> (String, Tls) {
    let [level, code] = *payload.first_chunk::<2>().unwrap_or(&[2, 255]);
    let name = match code {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "of an unknown kind",
    };
    // RFC 8446 6.2: but for the two that end a connection in order, every alert is fatal, whatever its level is.
    let fatal = !matches!(code, 0 | 90) && (level == 2 || code != 100);
    (format!("TLS alert {name}"), Tls::Alert { fatal, name: name.into() })
}

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;

/// A ClientHello or a ServerHello.
struct Hello {
    random: [u8; 32],
    suite: u16,
    legacy_version: u16,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    fn read(body: &[u8], kind: u8) -> Option<Self> {
        let (version, rest) = body.split_first_chunk::<2>()?;
        let (random, rest) = rest.split_first_chunk::<32>()?;
        let (_session, rest) = vector8(rest)?;
        let (suite, rest) = if kind == SERVER_HELLO {
            let (suite, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_be_bytes(*suite), rest.get(1..)?) // and the compression, which is none
        } else {
            let (_suites, rest) = vector16(rest)?;
            (0, vector8(rest)?.1)
        };
        let extensions = extensions(rest).map(|(id, value)| (id, value.to_vec())).collect();
        Some(Self { random: *random, suite, legacy_version: u16::from_be_bytes(*version), extensions })
    }

    fn extension(&self, wanted: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|(id, _)| *id == wanted).map(|(_, value)| value.as_slice())
    }

    fn alpn(&self) -> Vec<String> {
        self.extension(ALPN).map(alpn).unwrap_or_default()
    }

    fn server_name(&self) -> Option<String> {
        let (list, _) = vector16(self.extension(SERVER_NAME)?)?;
        let (name, _) = vector16(list.get(1..)?)?; // behind the kind of name, of which there is one
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// Of a ServerHello.
    fn version(&self) -> u16 {
        let chosen = self.extension(SUPPORTED_VERSIONS).and_then(|value| value.first_chunk::<2>());
        chosen.map_or(self.legacy_version, |version| u16::from_be_bytes(*version))
    }

    fn versions_offered(&self) -> String {
        let Some((list, _)) = self.extension(SUPPORTED_VERSIONS).and_then(vector8) else {
            return version_name(self.legacy_version).into();
        };
        let versions = list.chunks_exact(2).filter_map(|two| two.first_chunk::<2>());
        versions.map(|two| version_name(u16::from_be_bytes(*two))).collect::<Vec<_>>().join(" ")
    }

    /// Whether a session is resumed by a key that was shared before.
    fn resumption(&self) -> &'static str {
        if self.extension(PRE_SHARED_KEY).is_some() { ", resumes a session" } else { "" }
    }
}

fn version_name(version: u16) -> &'static str {
    match version {
        TLS12 => "TLSv1.2",
        TLS13 => "TLSv1.3",
        _ => "another version",
    }
}

fn suite_name(suite: u16) -> String {
    let name = match suite {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "ECDHE-ECDSA-AES128-GCM-SHA256",
        0xc02c => "ECDHE-ECDSA-AES256-GCM-SHA384",
        0xcca9 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        other => return format!("cipher suite {other:#06x}"),
    };
    name.into()
}

/// The names in an ALPN extension (RFC 7301 3.1).
fn alpn(value: &[u8]) -> Vec<String> {
    let (mut list, _) = vector16(value).unwrap_or_default();
    let mut names = Vec::new();
    while let Some((name, rest)) = vector8(list) {
        names.push(String::from_utf8_lossy(name).into_owned());
        list = rest;
    }
    names
}

/// The extensions that `bytes` begin with: numbers and values.
fn extensions(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let (mut list, _) = vector16(bytes).unwrap_or_default();
    std::iter::from_fn(move || {
        let (id, rest) = list.split_first_chunk::<2>()?;
        let (value, rest) = vector16(rest)?;
        list = rest;
        Some((u16::from_be_bytes(*id), value))
    })
}

/// The first certificate of a message, in either version's form.
fn certificate(body: &[u8]) -> Option<&[u8]> {
    // TLS 1.3 has a context in front, which is empty in a handshake; a list is never so long that its length begins with it.
    let list = match vector24(body) {
        Some((list, [])) => list,
        Some(_) | None => vector24(vector8(body)?.1)?.0,
    };
    vector24(list).map(|(der, _)| der)
}

/// The first subject alternative name of a certificate, without reading what does not matter here.
fn subject(der: &[u8]) -> Option<String> {
    const SUBJECT_ALT_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];
    let at = der.windows(SUBJECT_ALT_NAME.len()).position(|some| some == SUBJECT_ALT_NAME)? + SUBJECT_ALT_NAME.len();
    let list = element(element(der.get(at..)?)?.1)?.1;
    let (tag, name) = element(list)?;
    Some(match (tag, name) {
        (0x87, &[a, b, c, d]) => std::net::Ipv4Addr::new(a, b, c, d).to_string(),
        _ => String::from_utf8_lossy(name).into_owned(),
    })
}

/// Tag and content of the first DER element.
fn element(der: &[u8]) -> Option<(u8, &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    Some((tag, rest.get(..length)?))
}

fn vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn vector24(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[a, b, c], rest) = bytes.split_first_chunk::<3>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?)
}
