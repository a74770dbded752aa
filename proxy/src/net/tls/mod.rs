//! TLS on connections that are accepted and opened. Which certificates and versions: [`config::tls`](crate::config::tls).

mod alert;
mod alert_names;
mod certificate;
mod client_hello;
pub mod failure;
mod fingerprint;
mod first_record;
mod hello_bytes;
mod io;
mod key_log;
mod raw_hello;

use std::io::{Error, ErrorKind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::{CommonState, HandshakeKind, NamedGroup};
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsConnector, TlsStream, server};

use super::{Address, Conn, Io, Logs, Passed, SocketEnds};
use crate::config::tls::{Carries, Certificate, ClientContext, Presence, ServerContext, Staple, StapleOutcome};
use crate::config::upstream_name::RequestedNames;
use crate::stats::Handshake;
pub use certificate::PeerCertificate;
pub(crate) use certificate::subject;
pub use client_hello::{ClientHello, FirstBytes};
pub use fingerprint::Fingerprints;
use hello_bytes::Copied;
use io::TlsIo;
use key_log::Keys;
use raw_hello::asks_for_status;

/// What was agreed upon in a handshake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsSession {
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// The cipher suite, as Envoy names it.
    pub cipher: &'static str,
    /// The number of the cipher suite in the registry of TLS.
    pub cipher_number: u16,
    /// The group of the key exchange, as BoringSSL names it.
    pub group: &'static str,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The first URI among the names of our own certificate, where clients are requested to present theirs.
    pub own_uri: Option<String>,
    /// The certificate that the peer has shown.
    pub peer: Option<PeerCertificate>,
    /// Its chain is valid, by what is demanded of clients; of upstreams nothing asks for it.
    pub is_validated: bool,
    /// The certificate that was shown to a client for its SNI.
    pub own: Option<Certificate>,
    /// The name in the SNI of a client.
    pub server_name: Option<String>,
    /// What a client has got that asked for a response of OCSP; `None` of others.
    pub staple: Option<Staple>,
    /// `TLSv1.3`; of a handshake that failed, what it was about to be.
    pub version: &'static str,
    /// Why the handshake failed, or the connection broke later, in the words of Envoy.
    pub failure: OnceLock<Box<str>>,
}

impl TlsSession {
    /// What stats have of the handshake with a client.
    #[must_use]
    pub fn with_client(&self) -> Handshake {
        Handshake { is_anonymous: self.peer.is_none(), ..self.with_upstream() }
    }

    /// The connection has broken. The first call counts.
    fn note_failure(&self, why: Option<String>) {
        if let Some(why) = why {
            self.failure.get_or_init(|| why.into());
        }
    }

    /// What stats have of the handshake with an upstream.
    #[must_use]
    pub fn with_upstream(&self) -> Handshake {
        let Self { cipher, group, version, is_resumed, .. } = *self;
        Handshake { cipher, group, version, is_resumed, is_anonymous: false }
    }
}

/// A handshake that failed, and what is known of its connection, which has been closed.
pub struct Failed {
    /// Why. rustls' own error is within, or what [`first_record`] has found.
    pub error: Error,
    /// As far as the handshake came.
    pub session: Arc<TlsSession>,
    /// As in [`Conn`].
    pub local: Address,
    /// As in [`Conn`].
    pub peer: Address,
    /// As in [`Conn`].
    pub direct: Option<Box<SocketEnds>>,
    /// As in [`Conn`].
    pub passed: Option<Arc<Passed>>,
    /// As in [`Conn`].
    pub requested_server_name: Option<Box<str>>,
    /// As in [`Conn`].
    pub fingerprints: Option<Box<Fingerprints>>,
    /// As in [`Conn`].
    pub filter_chain: Option<Arc<str>>,
}

/// Does the handshake of a connection that was accepted.
///
/// # Errors
/// The client sends something else, or there is nothing that both sides support; where TLS has an alert for it, the alert has
/// been sent. Or it takes longer than `limit` (`TimedOut`).
pub async fn accept(
    mut conn: Conn,
    tls: &ServerContext,
    limit: Duration,
    logs: &dyn Logs,
) -> Result<Conn, Box<Failed>> {
    let filter_chain = conn.filter_chain.take();
    let (local, peer) = (conn.local.clone(), conn.peer.clone());
    let (requested_server_name, direct) = (conn.requested_server_name.take(), conn.direct.take());
    let (passed, fingerprints) = (conn.passed.take(), conn.fingerprints.take());
    let staple = StapleOutcome::default();
    let done = timeout(limit, handshake(conn, tls, logs, &staple)).await;
    let staple = staple.get().copied();
    match done.unwrap_or_else(|_| Err((TLS12, ErrorKind::TimedOut.into()))) {
        Ok((stream, session)) => {
            let session = TlsSession { staple, ..session };
            let encrypted = over(TlsStream::from(stream), local, peer, session);
            Ok(Conn { requested_server_name, fingerprints, direct, passed, filter_chain, ..encrypted })
        }
        Err((version, error)) => {
            // Of a client that was refused for want of a response, BoringSSL says the same as of one without a version.
            let has_none = failure::lacks_version(&error) || staple == Some(Staple::Failed);
            let version = if has_none { TLS12 } else { version };
            let session = TlsSession { version, staple, ..TlsSession::default() };
            session.note_failure(match staple {
                Some(Staple::Failed) => Some(failure::rejected()),
                Some(Staple::Omitted | Staple::Responded) | None => failure::of_client(&error, version),
            });
            let session = Arc::new(session);
            Err(Box::new(Failed {
                error,
                session,
                local,
                peer,
                direct,
                passed,
                requested_server_name,
                fingerprints,
                filter_chain,
            }))
        }
    }
}

/// The version that TLS was about to have, and why it did not come to that.
type Failure = (&'static str, Error);

const TLS12: &str = "TLSv1.2";
const TLS13: &str = "TLSv1.3";

async fn handshake(
    conn: Conn,
    tls: &ServerContext,
    logs: &dyn Logs,
    staple: &StapleOutcome,
) -> Result<(server::TlsStream<Box<dyn Io + Send>>, TlsSession), Failure> {
    let conn = first_record::check(conn).await.map_err(|error| (TLS12, error))?;
    let ends = (conn.local.clone(), conn.peer.clone());
    let io = if tls.presence == Presence::Required || tls.may_refuse_for_staple() {
        alert::of_version(conn.io)
    } else {
        conn.io
    };
    let io = Copied { io, read: Vec::new() };
    // As long as there is no ClientHello, BoringSSL has that for the version.
    let start = LazyConfigAcceptor::new(Acceptor::default(), io).await.map_err(|error| (TLS12, error))?;
    let StartHandshake { accepted, io: Copied { io, read }, .. } = start;
    let start = StartHandshake::from_parts(accepted, io);
    let version = tls.version_for(start.client_hello().cipher_suites());
    let mut config = tls.for_offer(start.client_hello().alpn());
    if asks_for_status(&read) {
        tls.choose_with_staple(&mut config, staple);
    }
    let keys = Keys::of(tls.key_log.as_ref(), (&ends.0, &ends.1), logs, &config.key_log);
    if let Some(keys) = &keys {
        Arc::make_mut(&mut config).key_log = keys.of_rustls();
    }
    let stream = start.into_stream(config).await.map_err(|error| (version, error))?;
    let mut session = agreed(stream.get_ref().1);
    session.is_validated = tls.has_validated(stream.get_ref().1.peer_certificates().unwrap_or_default());
    session.server_name = stream.get_ref().1.server_name().map(str::to_owned);
    session.own = tls.own(stream.get_ref().1.server_name()).cloned();
    if session.peer.is_some() {
        session.own_uri = tls.own_uri(stream.get_ref().1.server_name());
    }
    Ok((stream, session))
}

/// Does the handshake of a connection that was opened.
///
/// # Errors
/// As the server's side: [`accept`]. rustls' own error is within.
pub async fn connect(
    conn: Conn,
    tls: &ClientContext,
    (names, carries): (&RequestedNames, Carries),
    logs: &dyn Logs,
) -> Result<Conn, Error> {
    let (mut config, name) = tls.of_connection(names, carries);
    let Conn { io, local, peer, number, .. } = conn;
    let keys = Keys::of(tls.key_log.as_ref(), (&local, &peer), logs, &config.key_log);
    if let Some(keys) = &keys {
        Arc::make_mut(&mut config).key_log = keys.of_rustls();
    }
    let stream = TlsConnector::from(config).connect(name, io).await?;
    let session = agreed(stream.get_ref().1);
    Ok(Conn { number, ..over(TlsStream::from(stream), local, peer, session) })
}

fn over(stream: TlsStream<Box<dyn Io + Send>>, local: Address, peer: Address, session: TlsSession) -> Conn {
    let session = Arc::new(session);
    let io = TlsIo::new(stream, Arc::clone(&session));
    Conn { tls: Some(session), ..Conn::new(Box::new(io), local, peer) }
}

fn agreed(state: &CommonState) -> TlsSession {
    let negotiated = state.negotiated_cipher_suite().map(|suite| suite.suite());
    let suite = negotiated.and_then(|suite| suite.as_str());
    TlsSession {
        alpn: state.alpn_protocol().map(<[u8]>::to_vec),
        cipher: suite.map_or("", name_of),
        cipher_number: negotiated.map_or(0, u16::from),
        group: state.negotiated_key_exchange_group().map_or("", |group| name_of_group(group.name())),
        is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        is_validated: false,
        own: None,
        staple: None,
        own_uri: None,
        server_name: None,
        peer: state.peer_certificates().and_then(PeerCertificate::of),
        version: match state.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => TLS12,
            Some(rustls::ProtocolVersion::TLSv1_3) => TLS13,
            Some(_) | None => "",
        },
        failure: OnceLock::new(),
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
