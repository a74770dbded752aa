//! A ClientHello as its bytes have it (RFC 8446 4.1.2), with what a fingerprint is made of and rustls does not keep.

use super::first_record::{HANDSHAKE, RECORD_HEAD_LEN};

/// `server_name` (RFC 6066 3).
pub(super) const SERVER_NAME: u16 = 0;
/// `status_request` (RFC 6066 8).
const STATUS_REQUEST: u16 = 5;
/// `supported_groups` (RFC 8446 4.2.7).
const GROUPS: u16 = 10;
/// `ec_point_formats` (RFC 8422 5.1.2).
const POINT_FORMATS: u16 = 11;
/// `signature_algorithms` (RFC 8446 4.2.3).
const SIGNATURE_ALGORITHMS: u16 = 13;
/// `application_layer_protocol_negotiation` (RFC 7301 3.1).
pub(super) const ALPN: u16 = 16;
/// `supported_versions` (RFC 8446 4.2.1).
const VERSIONS: u16 = 43;

/// What a client sends first, without the values that are there to be ignored (RFC 8701).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RawHello {
    /// `legacy_version`
    pub(super) version: u16,
    pub(super) ciphers: Vec<u16>,
    /// Their types, in the client's order.
    pub(super) extensions: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) point_formats: Vec<u8>,
    pub(super) signature_algorithms: Vec<u16>,
    /// `supported_versions`
    pub(super) versions: Vec<u16>,
    pub(super) alpn: Vec<Vec<u8>>,
    /// In lower case.
    pub(super) server_name: Option<String>,
}

impl RawHello {
    /// The one that `stream` begins with; `None` if that is none, or not whole.
    pub(super) fn parse(stream: &[u8]) -> Option<Self> {
        let message = handshake(stream);
        let mut hello = body(&message)?;
        let version = hello.number()?;
        hello.take(32)?; // its random bytes
        hello.short()?; // legacy_session_id
        let ciphers = numbers(hello.long()?);
        hello.short()?; // legacy_compression_methods
        let mut parsed = Self { version, ciphers, ..Self::default() };
        let mut extensions = Reader(hello.long().unwrap_or_default());
        while let Some(kind) = extensions.number() {
            parsed.extend(kind, extensions.long()?)?;
        }
        Some(parsed)
    }

    fn extend(&mut self, kind: u16, value: &[u8]) -> Option<()> {
        if is_grease(kind) {
            return Some(());
        }
        self.extensions.push(kind);
        let mut value = Reader(value);
        match kind {
            SERVER_NAME => {
                let mut list = Reader(value.long()?);
                let [0] = *list.array::<1>()? else { return Some(()) };
                self.server_name = std::str::from_utf8(list.long()?).ok().map(str::to_ascii_lowercase);
            }
            GROUPS => self.groups = numbers(value.long()?),
            POINT_FORMATS => self.point_formats = value.short()?.to_vec(),
            SIGNATURE_ALGORITHMS => self.signature_algorithms = numbers(value.long()?),
            ALPN => {
                let mut list = Reader(value.long()?);
                while let Some(protocol) = list.short() {
                    self.alpn.push(protocol.to_vec());
                }
            }
            VERSIONS => self.versions = numbers(value.short()?),
            _ => {}
        }
        Some(())
    }
}

/// Does the ClientHello that `stream` begins with ask for a response of OCSP with the certificate?
pub(super) fn asks_for_status(stream: &[u8]) -> bool {
    const OCSP: u8 = 1;
    let message = handshake(stream);
    let value = || {
        let mut hello = body(&message)?;
        hello.take(2 + 32)?; // its version and random bytes
        hello.short()?; // legacy_session_id
        hello.long()?; // its cipher suites
        hello.short()?; // legacy_compression_methods
        let mut extensions = Reader(hello.long()?);
        while let Some(kind) = extensions.number() {
            let value = extensions.long()?;
            if kind == STATUS_REQUEST {
                return Some(value);
            }
        }
        None
    };
    value().is_some_and(|value| value.first() == Some(&OCSP))
}

/// The content of a ClientHello.
fn body(message: &[u8]) -> Option<Reader<'_>> {
    let mut message = Reader(message);
    let [1, length @ ..] = *message.array::<4>()? else { return None };
    let [high, rest @ ..] = length;
    let length = usize::from(high) << 16 | usize::from(u16::from_be_bytes(rest));
    message.take(length).map(Reader)
}

/// The handshake messages in the records that a stream begins with.
fn handshake(stream: &[u8]) -> Vec<u8> {
    let (mut messages, mut rest) = (Vec::new(), stream);
    while let Some(([HANDSHAKE, _, _, length @ ..], body)) = rest.split_first_chunk::<RECORD_HEAD_LEN>() {
        let (record, behind) = body.split_at(usize::from(u16::from_be_bytes(*length)).min(body.len()));
        messages.extend_from_slice(record);
        rest = behind;
    }
    messages
}

/// RFC 8701 2: values that no side supports, so that peers learn to ignore what they do not know.
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn numbers(list: &[u8]) -> Vec<u16> {
    let (pairs, _) = list.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).filter(|value| !is_grease(*value)).collect()
}

/// What of a message has not been read yet.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.array().copied().map(u16::from_be_bytes)
    }

    /// What has its length, of one byte, in front of it.
    fn short(&mut self) -> Option<&'b [u8]> {
        let [length] = *self.array()?;
        self.take(length.into())
    }

    /// The same with a length of two bytes.
    fn long(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}
