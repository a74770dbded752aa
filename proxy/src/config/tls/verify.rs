//! Judges the certificates of peers as Envoy does: the chain and the names apart from each other, each only if it is configured.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError as Fault, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions};

use super::certificate_error::CertificateError;
use super::certificates::chain_of;
use super::inventory::{InUse, Origin};
use super::pins::{NotPinned, Pins};
use super::revocations::{self, Revocations};
use super::x509::{NameKind, ObjectId, Validity, alt_names, alternatives, other_names, validity};
use crate::config::string_match::{Pattern, StringMatch};

/// What a peer's certificate has to fulfil.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// The authorities one of which has to have signed it; `None` permits any certificate.
    trusted: Option<Trusted>,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`: one of these has to have signed it if it is to count as valid. Any other
    /// certificate is accepted, too.
    known: Option<Trusted>,
    /// The lists on which it must not be.
    revocations: Option<Revocations>,
    /// It has one of these names; an empty list permits any name.
    names: Vec<PeerName>,
    /// It is one of these; none permits any.
    pins: Pins,
    expiry: Expiry,
    /// `max_verify_depth`: so many certificates of authorities may be in a chain, unless the peer's is signed by one that is
    /// trusted.
    depth_max: Option<u32>,
}

/// Must certificates be valid now?
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Expiry {
    /// They must.
    #[default]
    Checked,
    /// `allow_expired_certificate`: they need not.
    Ignored,
}

#[derive(Clone, Debug)]
struct Trusted {
    origin: Origin,
    anchors: Vec<TrustAnchor<'static>>,
    /// The same, whole: a certificate that is trusted itself needs no signature, as with OpenSSL, but a list needs one that
    /// has signed it.
    certificates: Vec<CertificateDer<'static>>,
}

/// A name among the subject alternative names of a certificate.
#[derive(Clone, Debug)]
pub enum PeerName {
    /// A DNS name. What is written exactly is taken by a wildcard of the certificate as well.
    Dns(StringMatch),
    /// An rfc822Name.
    Email(StringMatch),
    /// An IP address.
    Ip(std::net::IpAddr),
    /// An IP address, as text.
    IpText(StringMatch),
    /// A URI, as SPIFFE writes identities.
    Uri(StringMatch),
    /// An otherName of this type.
    Other(ObjectId, StringMatch),
}

impl PeerRules {
    /// `trusted_ca`, in PEM, with where it was found, and `match_typed_subject_alt_names`.
    ///
    /// # Errors
    /// There is no certificate.
    pub fn new(trusted_ca: Option<(&[u8], Origin)>, names: Vec<PeerName>) -> Result<Self, CertificateError> {
        let trusted = trusted_ca.map(|(pem, origin)| Trusted::new(pem, origin)).transpose()?;
        Ok(Self { trusted, names, ..Self::default() })
    }

    /// The same with `verify_certificate_hash` and `verify_certificate_spki`, `allow_expired_certificate` and
    /// `max_verify_depth`.
    #[must_use]
    pub fn with_limits(self, pins: Pins, expiry: Expiry, depth_max: Option<u32>) -> Self {
        Self { pins, expiry, depth_max, ..self }
    }

    /// The same with `trusted_ca` beside `trust_chain_verification: ACCEPT_UNTRUSTED`.
    ///
    /// # Errors
    /// There is no certificate.
    pub fn with_known(self, known: Option<(&[u8], Origin)>) -> Result<Self, CertificateError> {
        let known = known.map(|(pem, origin)| Trusted::new(pem, origin)).transpose()?;
        Ok(Self { known, ..self })
    }

    /// Is the chain of a peer, which the handshake has accepted, valid? One that nothing is demanded of is not.
    pub(super) fn has_validated(
        &self,
        chain: &[CertificateDer<'_>],
        now: Option<UnixTime>,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let Some((first, others)) = chain.split_first() else { return false };
        match (&self.trusted, &self.known, now) {
            (Some(_), _, _) => true,
            (None, Some(known), Some(now)) => {
                self.check_chain(known, first, others, now, KeyUsage::client_auth(), algorithms).is_ok()
            }
            (None, Some(_), None) => false,
            (None, None, _) => !self.pins.is_empty(),
        }
    }

    /// The same with `crl`.
    #[must_use]
    pub fn with_revocations(self, revocations: Option<Revocations>) -> Self {
        Self { revocations, ..self }
    }

    /// `crl`.
    pub(super) fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// The first of those that are trusted, as operators see it.
    pub(super) fn in_use(&self) -> Option<InUse> {
        let Trusted { origin, certificates, .. } = self.trusted.as_ref()?;
        Some(InUse { origin: origin.clone(), certificate: certificates.first()?.clone(), staple: None })
    }

    /// Those that are trusted, or known.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.trusted.as_ref().or(self.known.as_ref()).map_or(&[], |trusted| &trusted.certificates)
    }

    /// Is a peer without a certificate refused, whatever else is configured?
    pub(super) fn need_certificate(&self) -> bool {
        !self.pins.is_empty()
    }

    /// All of it that is not read of a file, in one line.
    pub(super) fn demands(&self) -> String {
        let Self { names, pins, expiry, depth_max, .. } = self;
        let pins = if pins.is_empty() { String::new() } else { format!(" {pins:?}") };
        let has_limits = *expiry == Expiry::Ignored || depth_max.is_some();
        let limits = if has_limits { format!(" {expiry:?} {depth_max:?}") } else { String::new() };
        format!("{names:?}{pins}{limits}")
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let end = EndEntityCert::try_from(certificate).map_err(|_| Fault::BadEncoding)?;
        if let Some(trusted) = &self.trusted {
            self.check_chain(trusted, certificate, intermediates, now, usage, algorithms)?;
        }
        if !self.names.is_empty() && !self.names.iter().any(|name| name.is_among(&end, certificate)) {
            return Err(OtherNames::of(certificate).into());
        }
        if !self.pins.is_empty() && !self.pins.hold(certificate, &end) {
            return Err(Fault::Other(OtherError(Arc::new(NotPinned))).into());
        }
        Ok(())
    }

    /// Has one of these authorities signed it?
    fn check_chain(
        &self,
        trusted: &Trusted,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let end = EndEntityCert::try_from(certificate).map_err(|_| Fault::BadEncoding)?;
        if self.revocations.is_some() || !trusted.holds(certificate) {
            let verify = |at: UnixTime| {
                let verify = |revocation: Option<RevocationOptions<'_>>| {
                    let anchors = &trusted.anchors;
                    let path =
                        end.verify_for_usage(algorithms.all, anchors, intermediates, at, usage, revocation, None)?;
                    Ok(path.intermediate_certificates().count())
                };
                self.revocations.as_ref().map_or_else(|| verify(None), |lists| lists.within(verify))
            };
            let verified = verify(now).or_else(|error| match self.expiry {
                Expiry::Checked => Err(error),
                Expiry::Ignored => {
                    valid_together(certificate, intermediates).into_iter().find_map(|at| verify(at).ok()).ok_or(error)
                }
            });
            self.judge_depth(verified.map_err(fault)?)?;
        }
        Ok(())
    }

    /// The depth as BoringSSL counts it: all certificates of authorities, unless there is none but the one that is trusted.
    fn judge_depth(&self, intermediates: usize) -> Result<(), Fault> {
        let is_too_deep = |max: u32| intermediates > 0 && u32::try_from(intermediates).is_ok_and(|count| count >= max);
        if self.depth_max.is_some_and(is_too_deep) { Err(Fault::UnknownIssuer) } else { Ok(()) }
    }
}

/// When these could be valid at once, if they ever were: one of them was the last to become valid.
fn valid_together(certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Vec<UnixTime> {
    let starts = std::iter::once(certificate).chain(intermediates).filter_map(|it| validity(it));
    let since_1970 = |start: SystemTime| start.duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch);
    starts.filter_map(|Validity { start, .. }| since_1970(start)).collect()
}

impl Trusted {
    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|one| one.as_ref() == certificate.as_ref())
    }

    fn new(pem: &[u8], origin: Origin) -> Result<Self, CertificateError> {
        let certificates = chain_of(pem)?;
        let anchor = |certificate| webpki::anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned());
        let anchors: Result<Vec<_>, _> = certificates.iter().map(anchor).collect();
        Ok(Self { origin, anchors: anchors.map_err(|_| CertificateError::NotX509)?, certificates })
    }
}

impl PeerName {
    /// Is it among the names of a certificate in DER?
    #[must_use]
    pub fn is_in(&self, der: &CertificateDer<'_>) -> bool {
        EndEntityCert::try_from(der).is_ok_and(|certificate| self.is_among(&certificate, der))
    }

    fn is_among(&self, certificate: &EndEntityCert<'_>, der: &CertificateDer<'_>) -> bool {
        let is_valid_for = |name: ServerName<'_>| certificate.verify_is_valid_for_subject_name(&name).is_ok();
        match self {
            Self::Dns(StringMatch { pattern: Pattern::Exact(name), .. }) => {
                ServerName::try_from(name.as_str()).is_ok_and(is_valid_for)
            }
            Self::Dns(wanted) => certificate.valid_dns_names().any(|name| wanted.takes(name.as_bytes())),
            Self::Email(wanted) => alt_names(der, NameKind::Email).iter().any(|name| wanted.takes(name.as_bytes())),
            Self::Ip(address) => is_valid_for(ServerName::IpAddress((*address).into())),
            Self::IpText(wanted) => alt_names(der, NameKind::Ip).iter().any(|name| wanted.takes(name.as_bytes())),
            Self::Uri(wanted) => certificate.valid_uri_names().any(|name| wanted.takes(name.as_bytes())),
            Self::Other(id, wanted) => other_names(der, id).iter().any(|name| wanted.takes(name.as_bytes())),
        }
    }
}

/// The names of a certificate that has to have another one. As with Envoy, the alert for it is certificate_unknown.
#[derive(Debug)]
pub struct OtherNames(pub Vec<String>);

impl OtherNames {
    fn of(certificate: &CertificateDer<'_>) -> Fault {
        let names = alternatives(certificate).into_iter().map(|name| name.text).collect();
        Fault::Other(OtherError(Arc::new(Self(names))))
    }
}

impl fmt::Display for OtherNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate is for [{}]", self.0.join(", "))
    }
}

impl std::error::Error for OtherNames {}

/// What is wrong with a chain, in rustls' terms, from which the alert follows.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow, and has no more that TLS has an alert for")]
fn fault(error: webpki::Error) -> Fault {
    if let Some(fault) = revocations::fault(&error) {
        return fault;
    }
    match error {
        webpki::Error::BadDer | webpki::Error::BadDerTime => Fault::BadEncoding,
        webpki::Error::CertExpired { .. } | webpki::Error::InvalidCertValidity => Fault::Expired,
        webpki::Error::CertNotValidYet { .. } => Fault::NotValidYet,
        webpki::Error::InvalidSignatureForPublicKey => Fault::BadSignature,
        webpki::Error::CaUsedAsEndEntity | webpki::Error::UnknownIssuer => Fault::UnknownIssuer,
        webpki::Error::RequiredEkuNotFoundContext(_) => Fault::InvalidPurpose,
        other => Fault::Other(OtherError(Arc::new(other))),
    }
}

/// Must a client show a certificate?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It need not.
    Optional,
    /// A client without a certificate is refused.
    Required,
}

/// For connections that are accepted.
pub(super) fn clients(
    rules: Arc<PeerRules>,
    presence: Presence,
    provider: &CryptoProvider,
) -> Arc<dyn ClientCertVerifier> {
    let algorithms = provider.signature_verification_algorithms;
    Arc::new(Verifier { rules, presence, algorithms, certified: Box::default() })
}

/// Makes the verifiers of the certificates of upstreams.
#[derive(Clone, Debug)]
pub(super) struct UpstreamVerifiers {
    rules: Arc<PeerRules>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl UpstreamVerifiers {
    pub(super) fn new(rules: PeerRules, provider: &CryptoProvider) -> Self {
        // As Envoy, which limits the chains of clients alone.
        let rules = PeerRules { depth_max: None, ..rules };
        Self { rules: Arc::new(rules), algorithms: provider.signature_verification_algorithms }
    }

    /// For connections that are opened; a certificate has to be for one of `certified`, if there is one, beside all else.
    pub(super) fn of(&self, certified: &[Box<str>]) -> Arc<dyn ServerCertVerifier> {
        let (rules, algorithms) = (Arc::clone(&self.rules), self.algorithms);
        let certified = certified.into();
        Arc::new(Verifier { rules, presence: Presence::Required, algorithms, certified })
    }
}

#[derive(Debug)]
struct Verifier {
    rules: Arc<PeerRules>,
    presence: Presence,
    algorithms: WebPkiSupportedAlgorithms,
    /// The certificate has to be for one of these names, of hosts, addresses or URIs; empty permits any.
    certified: Box<[Box<str>]>,
}

/// Is the certificate for a host, an address or a URI of this name?
fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(read) = EndEntityCert::try_from(certificate) else { return false };
    let is_host = ServerName::try_from(name).is_ok_and(|name| read.verify_is_valid_for_subject_name(&name).is_ok());
    is_host || read.valid_uri_names().any(|uri| uri == name)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.rules.check(end_entity, intermediates, now, KeyUsage::server_auth(), &self.algorithms)?;
        if !self.certified.is_empty() && !self.certified.iter().any(|name| is_for(end_entity, name)) {
            return Err(OtherNames::of(end_entity).into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.presence == Presence::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[] // clients choose by themselves; with a list some would present nothing
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.rules.check(end_entity, intermediates, now, KeyUsage::client_auth(), &self.algorithms)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_of_a_chain_is_that_of_boringssl() {
        for (intermediates, depth_max, is_accepted) in [
            (0, 0, true),
            (1, 0, false),
            (1, 1, false),
            (1, 2, true),
            (2, 2, false),
            (2, 3, true),
            (3, 3, false),
            (3, 4, true),
        ] {
            let rules = PeerRules { depth_max: Some(depth_max), ..PeerRules::default() };
            assert_eq!(rules.judge_depth(intermediates).is_ok(), is_accepted, "{intermediates} {depth_max}");
        }
        assert!(PeerRules::default().judge_depth(6).is_ok());
    }
}
