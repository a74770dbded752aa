//! The head of a client's first record, as BoringSSL reads it: whether TLS begins there, and if not, with which alert and words
//! the connection ends.

use std::fmt;
use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::alert_names;
use crate::net::Conn;

/// So many bytes begin a record of TLS: its type, version and length (RFC 8446 5.1). Envoy says of fewer neither that they are TLS
/// nor that they are not.
pub(super) const RECORD_HEAD_LEN: usize = 5;
/// The type of a record that carries an alert (RFC 8446 5.1).
const ALERT: u8 = 21;
/// The type of a record that carries a handshake (RFC 8446 5.1).
pub(super) const HANDSHAKE: u8 = 22;
/// The most that BoringSSL takes as the length of a record: 2^14 bytes, and what encryption may add. Bytes.
const RECORD_BYTES_MAX: u16 = (1 << 14) + 320;

/// So much of it is read at once: what is left unread when a connection closes would make an RST of its FIN. Bytes.
const READ_BYTES: usize = 1024;
/// An alert in clear text is so long: behind the head of its record its level and its description (RFC 8446 6).
const ALERT_LEN: usize = RECORD_HEAD_LEN + 2;

/// What begins no TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotTls {
    /// An alert with this description.
    Alert(u8),
    /// A request of HTTP in clear text, with one of the methods that BoringSSL knows.
    HttpRequest,
    /// CONNECT.
    ProxyRequest,
    /// A record that is too long.
    TooLong,
    /// A record of another type than a handshake.
    UnexpectedRecord,
    /// Anything else.
    WrongVersion,
}

impl NotTls {
    /// What is wrong with a record that begins with `head`; `None` if nothing is.
    fn of(head: &[u8]) -> Option<Self> {
        let [kind, major, _, length @ ..] = *head.first_chunk::<RECORD_HEAD_LEN>()?;
        if [&b"GET "[..], b"POST ", b"HEAD ", b"PUT "].iter().any(|method| head.starts_with(method)) {
            return Some(Self::HttpRequest);
        }
        if head.starts_with(b"CONNE") {
            return Some(Self::ProxyRequest);
        }
        match (kind, major) {
            (_, 3) if u16::from_be_bytes(length) > RECORD_BYTES_MAX => Some(Self::TooLong),
            (ALERT, 3) => head.get(ALERT_LEN - 1).map(|description| Self::Alert(*description)),
            (HANDSHAKE, 3) => None,
            (_, 3) => Some(Self::UnexpectedRecord),
            (_, _) => Some(Self::WrongVersion),
        }
    }

    /// The alert that is sent (RFC 8446 6.2); a client of HTTP could not read one.
    fn alert(self) -> Option<u8> {
        match self {
            Self::Alert(_) | Self::HttpRequest | Self::ProxyRequest => None,
            Self::TooLong => Some(22),          // record_overflow
            Self::UnexpectedRecord => Some(10), // unexpected_message
            Self::WrongVersion => Some(70),     // protocol_version
        }
    }

    /// BoringSSL's number and name of it.
    pub(super) fn reason(self) -> (u32, &'static str) {
        match self {
            Self::Alert(description) => alert_names::of(description),
            Self::HttpRequest => (156, "HTTP_REQUEST"),
            Self::ProxyRequest => (155, "HTTPS_PROXY_REQUEST"),
            Self::TooLong => (146, "ENCRYPTED_LENGTH_TOO_LONG"),
            Self::UnexpectedRecord => (225, "UNEXPECTED_RECORD"),
            Self::WrongVersion => (247, "WRONG_VERSION_NUMBER"),
        }
    }
}

impl fmt::Display for NotTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name) = self.reason();
        write!(f, "the client does not begin TLS: {name}")
    }
}

impl std::error::Error for NotTls {}

/// Waits for the head of the first record, and for the whole of an alert, which can be read again afterwards.
///
/// # Errors
/// The connection closed or broke, or begins with something else: then the alert for it has been sent, and [`NotTls`] is within.
pub(super) async fn check(mut conn: Conn) -> io::Result<Conn> {
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    while bytes.len() < if bytes.first() == Some(&ALERT) { ALERT_LEN } else { RECORD_HEAD_LEN } {
        if conn.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let Some(not) = NotTls::of(&bytes) else { return Ok(conn.with_unread(bytes.freeze())) };
    if let Some(alert) = not.alert() {
        // Whether it arrives makes no difference: the connection ends.
        drop(conn.write_all(&[ALERT, 3, 1, 0, 2, 2, alert]).await);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, not))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Envoy 1.40 sends and logs.
    #[test]
    fn first_bytes_that_are_no_handshake_are_told_apart() {
        for (head, expected) in [
            (&b"GET / HTTP/1.1"[..], Some(NotTls::HttpRequest)),
            (b"POST / HTTP/1.1", Some(NotTls::HttpRequest)),
            (b"CONNECT a:1 HTTP/1.1", Some(NotTls::ProxyRequest)),
            (b"DELETE / HTTP/1.1", Some(NotTls::WrongVersion)),
            (b"PRI * HTTP/2.0", Some(NotTls::WrongVersion)),
            (b"PROXY TCP4", Some(NotTls::WrongVersion)),
            (&[22, 9, 9, 0, 4], Some(NotTls::WrongVersion)),
            (&[22, 3, 1, 0xff, 0xff], Some(NotTls::TooLong)),
            (&[23, 3, 3, 0, 4], Some(NotTls::UnexpectedRecord)),
            (&[20, 3, 3, 0, 1], Some(NotTls::UnexpectedRecord)),
            (&[21, 3, 1, 0, 2, 2, 40], Some(NotTls::Alert(40))),
            (&[22, 3, 1, 0, 4], None),
        ] {
            assert_eq!(NotTls::of(head), expected, "{head:?}");
        }
    }
}
