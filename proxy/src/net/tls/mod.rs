//! TLS on connections that are accepted and opened. Which certificates and versions: [`config::tls`](crate::config::tls).

mod alert;
mod certificate;
mod client_hello;
pub mod failure;
mod io;

use std::io::Error;
use std::sync::Arc;

use rustls::server::Acceptor;
use rustls::{CommonState, HandshakeKind, NamedGroup};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream};

use super::{Conn, Io};
use crate::config::tls::{Carries, Certificate, ClientContext, Presence, ServerContext};
use crate::config::upstream_name::RequestedNames;
use crate::stats::Handshake;
pub use certificate::PeerCertificate;
pub(crate) use certificate::subject;
pub use client_hello::{ClientHello, FirstBytes};
use io::TlsIo;

/// What was agreed upon in a handshake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsSession {
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// The cipher suite, as Envoy names it.
    pub cipher: &'static str,
    /// The group of the key exchange, as BoringSSL names it.
    pub group: &'static str,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The first URI among the names of our own certificate, where clients are requested to present theirs.
    pub own_uri: Option<String>,
    /// The certificate that the peer has shown.
    pub peer: Option<PeerCertificate>,
    /// The certificate that was shown to a client for its SNI.
    pub own: Option<Certificate>,
    /// The name in the SNI of a client.
    pub server_name: Option<String>,
    /// `TLSv1.3`
    pub version: &'static str,
}

impl TlsSession {
    /// What stats have of the handshake with a client.
    #[must_use]
    pub fn with_client(&self) -> Handshake {
        Handshake { is_anonymous: self.peer.is_none(), ..self.with_upstream() }
    }

    /// What stats have of the handshake with an upstream.
    #[must_use]
    pub fn with_upstream(&self) -> Handshake {
        let Self { cipher, group, version, is_resumed, .. } = *self;
        Handshake { cipher, group, version, is_resumed, is_anonymous: false }
    }
}

/// Does the handshake of a connection that was accepted.
///
/// # Errors
/// The client sends something else, or there is nothing that both sides support; where TLS has an alert for it, the alert has
/// been sent.
pub async fn accept(conn: Conn, tls: &ServerContext) -> Result<Conn, Error> {
    let Conn { io, local, peer, requested_server_name, direct, passed, filter_chain, .. } = conn;
    let io = match tls.presence {
        Presence::Required => alert::of_version(io),
        Presence::Optional => io,
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
    let config = tls.for_offer(start.client_hello().alpn());
    let stream = start.into_stream(config).await?;
    let mut session = agreed(stream.get_ref().1);
    session.server_name = stream.get_ref().1.server_name().map(str::to_owned);
    session.own = tls.own(stream.get_ref().1.server_name()).cloned();
    if session.peer.is_some() {
        session.own_uri = tls.own_uri(stream.get_ref().1.server_name());
    }
    let encrypted = over(TlsStream::from(stream), local, peer, session);
    Ok(Conn { requested_server_name, direct, passed, filter_chain, ..encrypted })
}

/// Does the handshake of a connection that was opened.
///
/// # Errors
/// As the server's side: [`accept`]. rustls' own error is within.
pub async fn connect(conn: Conn, tls: &ClientContext, names: &RequestedNames, carries: Carries) -> Result<Conn, Error> {
    let (config, name) = tls.of_connection(names, carries);
    let Conn { io, local, peer, number, .. } = conn;
    let stream = TlsConnector::from(config).connect(name, io).await?;
    let session = agreed(stream.get_ref().1);
    Ok(Conn { number, ..over(TlsStream::from(stream), local, peer, session) })
}

fn over(
    stream: TlsStream<Box<dyn Io + Send>>,
    local: super::Address,
    peer: super::Address,
    session: TlsSession,
) -> Conn {
    Conn { tls: Some(Arc::new(session)), ..Conn::new(Box::new(TlsIo::new(stream)), local, peer) }
}

fn agreed(state: &CommonState) -> TlsSession {
    let suite = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsSession {
        alpn: state.alpn_protocol().map(<[u8]>::to_vec),
        cipher: suite.map_or("", name_of),
        group: state.negotiated_key_exchange_group().map_or("", |group| name_of_group(group.name())),
        is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        own: None,
        own_uri: None,
        server_name: None,
        peer: state.peer_certificates().and_then(PeerCertificate::of),
        version: match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(_) | None => "",
        },
    }
}

/// A group as BoringSSL names it. rustls with ring has no others.
fn name_of_group(group: NamedGroup) -> &'static str {
    const NAMES: [(NamedGroup, &str); 5] = [
        (NamedGroup::X25519, "X25519"),
        (NamedGroup::X25519MLKEM768, "X25519MLKEM768"),
        (NamedGroup::secp256r1, "P-256"),
        (NamedGroup::secp384r1, "P-384"),
        (NamedGroup::secp521r1, "P-521"),
    ];
    NAMES.iter().find(|(known, _)| *known == group).map_or("", |(_, name)| name)
}

/// A suite as OpenSSL calls it, where it has a name of its own.
fn name_of(standard: &'static str) -> &'static str {
    match standard {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-RSA-CHACHA20-POLY1305",
        // rustls calls those of TLS 1.3 TLS13_…, the registry and OpenSSL TLS_….
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}
