//! TLS of clients and apps: rustls as a library of theirs would use it, not as the proxy does.

use std::io;
use std::sync::Arc;

use finwait::config::tls::Crypto;
use finwait::net::Conn;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::any_certificate::AnyCertificate;
use super::authority::{Authorities, Issued};
use super::io::Encrypted;
use super::provider::crypto;
use crate::scenario::{
    AppTls, Certificate, ClientCertificate, ClientTls, PeerProtocol, TlsClosing, TlsVersion, Trusted,
};

/// The TLS of a client: one for all of its connections, so that it may resume a session.
pub(crate) struct ClientEnd {
    connector: TlsConnector,
    name: ServerName<'static>,
    closing: TlsClosing,
}

/// The TLS of an app.
pub(crate) struct AppEnd {
    acceptor: TlsAcceptor,
    closing: TlsClosing,
}

impl ClientEnd {
    /// That of `host`, which connects to `to`.
    ///
    /// # Errors
    /// rustls refuses what was written.
    pub(crate) fn new(
        written: &ClientTls,
        (host, to): (&str, &str),
        protocol: PeerProtocol,
        authorities: &Authorities,
    ) -> Result<Self, String> {
        let text = |error: rustls::Error| error.to_string();
        let Crypto { key_log, provider, time, .. } = crypto();
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time);
        let builder = builder.with_protocol_versions(&versions(written.versions.as_deref())).map_err(text)?;
        let builder = match &written.trusted {
            Trusted::Any => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
            Trusted::By(authority) => {
                let roots = roots(authorities, authority)?;
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
                builder.with_webpki_verifier(verifier.map_err(|error| error.to_string())?)
            }
        };
        let mut config = match &written.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = shown(authorities, host, certificate)?;
                builder.with_client_auth_cert(chain, key).map_err(text)?
            }
        };
        config.alpn_protocols = alpn(written.alpn.as_ref(), protocol);
        config.key_log = key_log;
        let of_host = || to.rsplit_once(':').map_or(to, |(name, _)| name).to_owned();
        let name = written.server_name.clone().unwrap_or_else(of_host);
        let name = ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name of a server"))?;
        Ok(Self { connector: Arc::new(config).into(), name, closing: written.closing })
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// The other side is refused, or refuses.
    pub(crate) async fn connect(&self, conn: Conn) -> io::Result<Conn> {
        let stream = self.connector.connect(self.name.clone(), conn).await?;
        Ok(Encrypted::conn(TlsStream::from(stream), self.closing))
    }
}

impl AppEnd {
    /// That of `host`.
    ///
    /// # Errors
    /// rustls refuses what was written.
    pub(crate) fn new(
        written: &AppTls,
        host: &str,
        protocol: PeerProtocol,
        authorities: &Authorities,
    ) -> Result<Self, String> {
        let text = |error: rustls::Error| error.to_string();
        let Crypto { key_log, provider, time, ticketer } = crypto();
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time);
        let builder = builder.with_protocol_versions(&versions(written.versions.as_deref())).map_err(text)?;
        let clients = || {
            let roots = roots(authorities, Certificate::AUTHORITY)?;
            Ok::<_, String>(WebPkiClientVerifier::builder_with_provider(roots, provider))
        };
        let builder = match written.client_certificate {
            ClientCertificate::Ignored => builder.with_no_client_auth(),
            ClientCertificate::Optional => {
                let verifier = clients()?.allow_unauthenticated().build();
                builder.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            }
            ClientCertificate::Required => {
                builder.with_client_cert_verifier(clients()?.build().map_err(|error| error.to_string())?)
            }
        };
        let (chain, key) = shown(authorities, host, &written.certificate)?;
        let mut config = builder.with_single_cert(chain, key).map_err(text)?;
        config.alpn_protocols = alpn(written.alpn.as_ref(), protocol);
        config.key_log = key_log;
        config.ticketer = ticketer().map_err(text)?;
        Ok(Self { acceptor: Arc::new(config).into(), closing: written.closing })
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// The other side is refused, or refuses.
    pub(crate) async fn accept(&self, conn: Conn) -> io::Result<Conn> {
        let stream = self.acceptor.accept(conn).await?;
        Ok(Encrypted::conn(TlsStream::from(stream), self.closing))
    }
}

fn versions(written: Option<&[TlsVersion]>) -> Vec<&'static SupportedProtocolVersion> {
    let version = |version: &TlsVersion| match version {
        TlsVersion::V12 => &rustls::version::TLS12,
        TlsVersion::V13 => &rustls::version::TLS13,
    };
    written.map_or_else(|| rustls::ALL_VERSIONS.to_vec(), |written| written.iter().map(version).collect())
}

fn alpn(written: Option<&Vec<String>>, protocol: PeerProtocol) -> Vec<Vec<u8>> {
    let of_protocol = || match protocol {
        PeerProtocol::Bytes | PeerProtocol::Http10 => Vec::new(),
        PeerProtocol::Http1 => vec!["http/1.1".to_owned()],
        PeerProtocol::Http2 => vec!["h2".to_owned()],
    };
    let names = written.cloned().unwrap_or_else(of_protocol);
    names.into_iter().map(String::into_bytes).collect()
}

fn roots(authorities: &Authorities, name: &str) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    let root = authorities.root(name).ok_or("the authority cannot be made up")?;
    store.add(CertificateDer::from(root)).map_err(|error| error.to_string())?;
    Ok(Arc::new(store))
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn shown(authorities: &Authorities, host: &str, wanted: &Certificate) -> Result<Shown, String> {
    let Issued { certificate, key } = authorities.issue(host, wanted).ok_or("the certificate cannot be made up")?;
    Ok((vec![certificate.into()], PrivatePkcs8KeyDer::from(key).into()))
}
