//! Certificates of the proxy: read from PEM, and chosen by the SNI of a client.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::inventory::{InUse, Origin};
use super::{Crypto, private_key};

/// A chain of certificates and the key of its first.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<CertifiedKey>, Origin);

/// Why there is no [`Certificate`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// The chain holds none.
    #[error("no certificate in PEM (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// The first certificate of the chain is none.
    #[error("not a certificate of X.509, version 3")]
    NotX509,
    /// There is no key, or one of a kind that is not known.
    #[error("no private key in PEM: PKCS #8, PKCS #1 or SEC 1, RSA, ECDSA (P-256, P-384) or Ed25519")]
    NoKey,
    /// The key is encrypted in a way that is not known.
    #[error(
        "the private key is encrypted, but not by PBES2 of PKCS #8; write what `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes of it"
    )]
    KeyEncryption,
    /// The key is encrypted, and there is no password.
    #[error("the private key is encrypted, and there is no password; write password beside private_key")]
    NoPassword,
    /// The key is encrypted with another password.
    #[error(
        "the password does not decrypt the private key; a line end at the end of the password's file is part of it"
    )]
    WrongPassword,
    /// The key is that of another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
}

impl Certificate {
    /// From a chain in PEM and a key in PEM, which may need a password, and signs as `crypto` does.
    ///
    /// # Errors
    /// One of them is none, or they do not belong together.
    pub fn new(
        chain: &[u8],
        (key, password): (&[u8], Option<&[u8]>),
        crypto: &Crypto,
    ) -> Result<Self, CertificateError> {
        let chain = chain_of(chain)?;
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        EndEntityCert::try_from(first).map_err(|_| CertificateError::NotX509)?;
        let key = private_key::read(key, password)?;
        let key = crypto.provider.key_provider.load_private_key(key).map_err(|_| CertificateError::NoKey)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(Self(Arc::new(certified), Origin::default()))
            }
            Err(_) => Err(CertificateError::KeyMismatch),
        }
    }

    /// It was found there.
    #[must_use]
    pub fn found_at(self, origin: Origin) -> Self {
        Self(self.0, origin)
    }

    /// It is that of a secret of this name.
    #[must_use]
    pub fn of_secret(self, name: &str) -> Self {
        let origin = Origin { secret: Some(name.to_owned()), ..self.1 };
        Self(self.0, origin)
    }

    /// It as operators see it.
    pub(super) fn in_use(&self) -> Option<InUse> {
        Some(InUse { origin: self.1.clone(), certificate: self.chain().first()?.clone() })
    }

    /// The chain, its first certificate at the front.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }

    /// The first URI among its names.
    pub(super) fn uri(&self) -> Option<String> {
        let certificate = EndEntityCert::try_from(self.0.cert.first()?).ok()?;
        certificate.valid_uri_names().next().map(str::to_owned)
    }

    /// Is it for this name?
    pub(super) fn is_for(&self, name: &str) -> bool {
        let certificate = self.0.cert.first().and_then(|first| EndEntityCert::try_from(first).ok());
        let name = rustls::pki_types::ServerName::try_from(name);
        certificate.zip(name.ok()).is_some_and(|(it, name)| it.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// Can a client that takes these signatures check it?
    fn has_one_of(&self, schemes: &[SignatureScheme]) -> bool {
        self.0.key.choose_scheme(schemes).is_some()
    }
}

impl Eq for Certificate {}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain() == other.chain()
    }
}

/// All certificates of a text in PEM.
///
/// # Errors
/// There is none.
pub(super) fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(CertificateError::NoCertificate)
}

/// Chooses for each client: of the certificates that it can check, the first that is for its SNI, else
/// the first.
pub(super) fn of_server(certificates: Vec<Certificate>) -> Arc<dyn ResolvesServerCert> {
    Arc::new(ByName(certificates))
}

#[derive(Debug)]
struct ByName(Vec<Certificate>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = || self.0.iter().filter(|certificate| certificate.has_one_of(hello.signature_schemes()));
        let named = hello.server_name().and_then(|name| usable().find(|certificate| certificate.is_for(name)));
        named.or_else(|| usable().next()).or(self.0.first()).map(|certificate| Arc::clone(&certificate.0))
    }
}

/// Presents the certificate to every upstream that requests one.
pub(super) fn of_client(certificate: Certificate) -> Arc<dyn ResolvesClientCert> {
    Arc::new(Always(certificate))
}

#[derive(Debug)]
struct Always(Certificate);

impl ResolvesClientCert for Always {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.has_one_of(schemes).then(|| Arc::clone(&self.0.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
