//! The first bytes of a connection: whether they are TLS, and which server name and protocols the ClientHello has.

use std::io;

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;

use super::first_record::{HANDSHAKE, RECORD_HEAD_LEN};
use super::raw_hello::RawHello;
use crate::net::Conn;

/// A ClientHello is not longer; Envoy's tls_inspector takes as much. Bytes.
const HELLO_BYTES_MAX: usize = 16 * 1024;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FirstBytes {
    /// The bytes begin no TLS, or what begins like a ClientHello is none: as in Envoy the connection counts as clear text.
    Plaintext,
    /// TLS.
    Tls(ClientHello),
    /// They were not looked at.
    Unknown,
}

/// What a client requests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    /// `application_layer_protocol_negotiation`, in the client's order.
    pub alpn: Vec<Vec<u8>>,
    /// `server_name`, in lower case.
    pub server_name: Option<String>,
}

impl From<RawHello> for ClientHello {
    fn from(hello: RawHello) -> Self {
        Self { alpn: hello.alpn, server_name: hello.server_name }
    }
}

impl FirstBytes {
    /// Waits for them. What is read is in `bytes` then, behind what was read before.
    ///
    /// # Errors
    /// The connection closed (`UnexpectedEof`) or broke, or its ClientHello is too large.
    ///
    /// # Cancellation
    /// Dropped, it has read nothing that is not in `bytes`.
    pub async fn read(conn: &mut Conn, bytes: &mut BytesMut) -> io::Result<Self> {
        let mut acceptor = Acceptor::default();
        let mut seen = 0;
        loop {
            if (bytes.len() == seen || bytes.len() < RECORD_HEAD_LEN) && conn.read_buf(bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if bytes.len() < RECORD_HEAD_LEN {
                continue;
            }
            if bytes.first().is_some_and(|first| *first != HANDSHAKE) {
                return Ok(Self::Plaintext);
            }
            let mut rest = bytes.get(seen..).unwrap_or_default();
            seen = bytes.len();
            while !rest.is_empty() {
                if acceptor.read_tls(&mut rest).is_err() {
                    return Ok(Self::Plaintext);
                }
            }
            // rustls takes none of TLS 1.1 or before. That it is one of TLS still chooses the filter chain.
            let Ok(accepted) = acceptor.accept() else {
                return Ok(RawHello::parse(bytes).map_or(Self::Plaintext, |hello| Self::Tls(hello.into())));
            };
            if let Some(accepted) = accepted {
                let hello = accepted.client_hello();
                return Ok(Self::Tls(ClientHello {
                    alpn: hello.alpn().map(|offer| offer.map(<[u8]>::to_vec).collect()).unwrap_or_default(),
                    server_name: hello.server_name().map(str::to_ascii_lowercase),
                }));
            }
            if bytes.len() > HELLO_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the ClientHello is too large"));
            }
        }
    }
}
