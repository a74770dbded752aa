//! Certificates of the proxy: read from PEM, and chosen by the SNI of a client.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::certificate_error::CertificateError;
use super::inventory::{InUse, Origin};
use super::ocsp::{OcspError, OcspResponse};
use super::{Crypto, private_key, x509};

/// A chain of certificates and the key of its first.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    origin: Origin,
    /// It says itself that a response of OCSP must go with it.
    must_be_stapled: bool,
    /// `ocsp_staple`, and the certificate with it.
    staple: Option<(OcspResponse, Arc<CertifiedKey>)>,
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
        let must_be_stapled = x509::must_be_stapled(first);
        let key = private_key::read(key, password)?;
        let key = crypto.provider.key_provider.load_private_key(key).map_err(|_| CertificateError::NoKey)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(Self { key: Arc::new(certified), origin: Origin::default(), must_be_stapled, staple: None })
            }
            Err(_) => Err(CertificateError::KeyMismatch),
        }
    }

    /// It was found there.
    #[must_use]
    pub fn found_at(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The same with a response of OCSP, in DER.
    ///
    /// # Errors
    /// It cannot be read, or is about another certificate.
    pub fn with_staple(self, der: &[u8]) -> Result<Self, OcspError> {
        let response = OcspResponse::read(der)?;
        if !response.is_of(self.chain().first().and_then(|first| x509::serial(first)).as_deref()) {
            return Err(OcspError::OfAnother);
        }
        let stapled = CertifiedKey { ocsp: Some(der.to_vec()), ..CertifiedKey::clone(&self.key) };
        Ok(Self { staple: Some((response, Arc::new(stapled))), ..self })
    }

    /// It is that of a secret of this name.
    #[must_use]
    pub fn of_secret(self, name: &str) -> Self {
        let origin = Origin { secret: Some(name.to_owned()), ..self.origin };
        Self { origin, ..self }
    }

    /// It as operators see it.
    pub(super) fn in_use(&self) -> Option<InUse> {
        let staple = self.staple().map(|response| response.validity);
        Some(InUse { origin: self.origin.clone(), certificate: self.chain().first()?.clone(), staple })
    }

    /// The chain, its first certificate at the front.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Its response of OCSP.
    #[must_use]
    pub fn staple(&self) -> Option<&OcspResponse> {
        self.staple.as_ref().map(|(response, _)| response)
    }

    /// Does it say itself that a response of OCSP must go with it?
    #[must_use]
    pub fn must_be_stapled(&self) -> bool {
        self.must_be_stapled
    }

    /// It, as rustls shows it.
    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// The same with its response of OCSP, if it has one.
    pub(super) fn stapled(&self) -> Arc<CertifiedKey> {
        Arc::clone(self.staple.as_ref().map_or(&self.key, |(_, stapled)| stapled))
    }

    /// The first URI among its names.
    pub(super) fn uri(&self) -> Option<String> {
        let certificate = EndEntityCert::try_from(self.key.cert.first()?).ok()?;
        certificate.valid_uri_names().next().map(str::to_owned)
    }

    /// Is it for this name?
    pub(super) fn is_for(&self, name: &str) -> bool {
        let certificate = self.key.cert.first().and_then(|first| EndEntityCert::try_from(first).ok());
        let name = rustls::pki_types::ServerName::try_from(name);
        certificate.zip(name.ok()).is_some_and(|(it, name)| it.verify_is_valid_for_subject_name(&name).is_ok())
    }

    /// Can a client that takes these signatures check it?
    fn has_one_of(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
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
#[derive(Debug)]
pub(super) struct ByName(pub(super) Vec<Certificate>);

impl ByName {
    /// The choice for a client; one that is not permitted only if there is no other.
    pub(super) fn choose(
        &self,
        hello: &ClientHello<'_>,
        is_permitted: impl Fn(&Certificate) -> bool,
    ) -> Option<&Certificate> {
        let is_usable = |it: &&Certificate| it.has_one_of(hello.signature_schemes()) && is_permitted(it);
        let usable = || self.0.iter().filter(is_usable);
        let named = hello.server_name().and_then(|name| usable().find(|certificate| certificate.is_for(name)));
        named.or_else(|| usable().next()).or(self.0.first())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello, |_| true).map(Certificate::key)
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
        self.0.has_one_of(schemes).then(|| self.0.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
