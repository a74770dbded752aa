//! Why a handshake failed, in the words of Envoy, which are those of BoringSSL: operators search their logs for them.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible};

use super::alert_names;
use super::first_record::NotTls;
use crate::config::tls::{NotPinned, OtherNames};
use crate::stats::HandshakeFailure;

/// What an error of a handshake means.
#[must_use]
pub fn kind(error: &io::Error) -> HandshakeFailure {
    if within::<NotTls>(error).is_some() {
        return HandshakeFailure::Protocol;
    }
    match within(error) {
        None => HandshakeFailure::Transport,
        Some(Error::NoCertificatesPresented) => HandshakeFailure::NoCertificate,
        Some(Error::InvalidCertificate(fault)) if other_names(fault).is_some() => HandshakeFailure::OtherName,
        Some(Error::InvalidCertificate(fault)) if is_not_pinned(fault) => HandshakeFailure::NotPinned,
        Some(Error::InvalidCertificate(_)) => HandshakeFailure::NotTrusted,
        Some(_) => HandshakeFailure::Protocol,
    }
}

/// Has the handshake taken too long?
#[must_use]
pub fn is_slow(error: &io::Error) -> bool {
    // That of the system has a number.
    error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
}

/// Is there no version that both sides have?
pub(super) fn lacks_version(error: &io::Error) -> bool {
    let Some(Error::PeerIncompatible(why)) = within(error) else { return false };
    matches!(
        why,
        PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
    )
}

/// The value of `%UPSTREAM_TRANSPORT_FAILURE_REASON%`; `None` where the connection just ended, for which Envoy has none.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; rustls has words for all others")]
pub fn reason(error: &io::Error) -> Option<String> {
    let words = match within(error)? {
        Error::InvalidCertificate(fault) => of_certificate(fault),
        Error::AlertReceived(alert) => alert_of(*alert),
        Error::InvalidMessage(_) => ssl(247, "WRONG_VERSION_NUMBER"),
        Error::PeerIncompatible(_) => ssl(240, "UNSUPPORTED_PROTOCOL"),
        other => other.to_string(), // rustls' words, where BoringSSL's are not known
    };
    Some(framed(&words))
}

/// The value of `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%` of a handshake that failed, in which TLS was about to have this version;
/// `None` where the client just ended its connection.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enums may grow; rustls has words for all others")]
pub(super) fn of_client(error: &io::Error, version: &str) -> Option<String> {
    if let Some(not) = within::<NotTls>(error) {
        let (number, name) = not.reason();
        return Some(framed(&ssl(number, name)));
    }
    let Some(fault) = within(error) else { return of_transport(error) };
    let words = match fault {
        Error::NoCertificatesPresented => {
            ssl(192, "PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate")
        }
        Error::InvalidCertificate(fault) => of_certificate(fault),
        Error::AlertReceived(alert) => alert_of(*alert),
        Error::DecryptError => bad_record(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => ssl(184, "NO_SHARED_CIPHER"),
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) if version == "TLSv1.3" => {
            ssl(266, "NO_SHARED_GROUP")
        }
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => ssl(243, "WRONG_CURVE"),
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) if version == "TLSv1.3" => {
            ssl(253, "NO_COMMON_SIGNATURE_ALGORITHMS")
        }
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => ssl(184, "NO_SHARED_CIPHER"),
        Error::PeerIncompatible(_) => ssl(240, "UNSUPPORTED_PROTOCOL"),
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => ssl(150, "EXCESSIVE_MESSAGE_SIZE"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            ssl(247, "WRONG_VERSION_NUMBER")
        }
        Error::InvalidMessage(_) => ssl(131, "CLIENTHELLO_PARSE_FAILED"),
        other => other.to_string(),
    };
    Some(framed(&words))
}

/// The same of a client that gets no certificate.
pub(super) fn rejected() -> String {
    framed(&ssl(133, "CONNECTION_REJECTED"))
}

/// The same of a connection that broke after its handshake: Envoy adds that it could not be ended as TLS ends.
pub(super) fn of_stream(error: &io::Error) -> Option<String> {
    match within::<Error>(error) {
        None => of_transport(error),
        Some(_) => Some(format!("{}|{}:TLS_error_end", reason(error)?, ssl(194, "PROTOCOL_IS_SHUTDOWN"))),
    }
}

/// The system has its numbers in BoringSSL's second library.
fn of_transport(error: &io::Error) -> Option<String> {
    const ECONNRESET: u32 = 104;
    let was_reset = error.kind() == io::ErrorKind::ConnectionReset;
    was_reset.then(|| {
        framed(&format!("{}:system library:OPENSSL_internal:Connection reset by peer", (2 << 24) + ECONNRESET))
    })
}

fn bad_record() -> String {
    let number = (30 << 24) + 101;
    format!(
        "{number}:Cipher functions:OPENSSL_internal:BAD_DECRYPT|{}",
        ssl(139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC")
    )
}

/// What Envoy's text of it begins and ends with.
fn framed(words: &str) -> String {
    format!("TLS_error:|{words}:TLS_error_end")
}

/// An error of BoringSSL's library for TLS, which is its 16th.
fn ssl(number: u32, name: &str) -> String {
    format!("{}:SSL routines:OPENSSL_internal:{name}", (16 << 24) + number)
}

fn of_certificate(fault: &CertificateError) -> String {
    let what = match other_names(fault) {
        Some(OtherNames(names)) => format!("SAN matcher, certificate SANs are [{}]", names.join(", ")),
        None if is_not_pinned(fault) => "cert hash and spki".into(),
        None => format!("X509_verify_cert: certificate verification error at depth 0: {}", fault_of(fault)),
    };
    ssl(125, &format!("CERTIFICATE_VERIFY_FAILED:verify cert failed: {what}"))
}

/// The names of a certificate that has to have another one.
fn other_names(fault: &CertificateError) -> Option<&OtherNames> {
    let CertificateError::Other(OtherError(within)) = fault else { return None };
    within.downcast_ref()
}

/// Is the certificate not among those known in advance?
fn is_not_pinned(fault: &CertificateError) -> bool {
    matches!(fault, CertificateError::Other(OtherError(within)) if within.is::<NotPinned>())
}

/// rustls' error, or ours, within that of the transport.
fn within<E: std::error::Error + 'static>(error: &io::Error) -> Option<&E> {
    error.get_ref()?.downcast_ref()
}

/// What stands in Envoy's text in front of BoringSSL's words.
const REVOCATION: &str = "certificate revocation check against provided CRLs failed";

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; rustls has words for all others")]
fn fault_of(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired => "certificate has expired".into(),
        CertificateError::InvalidPurpose => "unsuitable certificate purpose".into(),
        CertificateError::NotValidYet => "certificate is not yet valid".into(),
        CertificateError::UnknownIssuer => "unable to get local issuer certificate".into(),
        CertificateError::BadSignature => "certificate signature failure".into(),
        CertificateError::Revoked => format!("{REVOCATION}: certificate revoked"),
        CertificateError::UnknownRevocationStatus => format!("{REVOCATION}: unable to get certificate CRL"),
        CertificateError::ExpiredRevocationList => format!("{REVOCATION}: CRL has expired"),
        other => other.to_string(),
    }
}

/// An alert by its number: BoringSSL counts them from 1000.
fn alert_of(alert: AlertDescription) -> String {
    let (number, name) = alert_names::of(alert.into());
    ssl(number, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_text_of_envoy() {
        let within = |error: Error| reason(&io::Error::new(io::ErrorKind::InvalidData, error)).unwrap();
        for (error, expected) in [
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: \
                 X509_verify_cert: certificate verification error at depth 0: unable to get local issuer \
                 certificate:TLS_error_end",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "TLS_error:|268436496:SSL routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE:TLS_error_end",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
            ),
        ] {
            assert_eq!(within(error), expected);
        }
        assert_eq!(reason(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
