//! Why a handshake failed, in the words of Envoy, which are those of BoringSSL: operators search their logs for them.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use crate::stats::HandshakeFailure;

/// What an error of a handshake means.
#[must_use]
pub fn kind(error: &io::Error) -> HandshakeFailure {
    match tls_error(error) {
        None => HandshakeFailure::Transport,
        Some(Error::NoCertificatesPresented) => HandshakeFailure::NoCertificate,
        Some(Error::InvalidCertificate(CertificateError::NotValidForName)) => HandshakeFailure::OtherName,
        Some(Error::InvalidCertificate(_)) => HandshakeFailure::NotTrusted,
        Some(_) => HandshakeFailure::Protocol,
    }
}

/// The value of `%UPSTREAM_TRANSPORT_FAILURE_REASON%`; `None` where the connection just ended, for which Envoy has none.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; rustls has words for all others")]
pub fn reason(error: &io::Error) -> Option<String> {
    let words = match tls_error(error)? {
        Error::InvalidCertificate(CertificateError::NotValidForName) => {
            "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: verify SAN list"
                .into()
        }
        Error::InvalidCertificate(fault) => format!(
            "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: \
             certificate verification error at depth 0: {}",
            fault_of(fault)
        ),
        Error::AlertReceived(alert) => alert_of(*alert),
        Error::InvalidMessage(_) => "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER".into(),
        Error::PeerIncompatible(_) => "268435696:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL".into(),
        other => other.to_string(), // rustls' words, where BoringSSL's are not known
    };
    Some(format!("TLS_error:|{words}:TLS_error_end"))
}

/// rustls' error, within that of the transport.
fn tls_error(error: &io::Error) -> Option<&Error> {
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

/// An alert by its number: BoringSSL counts them from 1000 in its 16th library.
#[expect(clippy::wildcard_enum_match_arm, reason = "those that peers send in a handshake have their names")]
fn alert_of(alert: AlertDescription) -> String {
    let name = match alert {
        AlertDescription::BadCertificate => "SSLV3_ALERT_BAD_CERTIFICATE",
        AlertDescription::CertificateRequired => "TLSV1_ALERT_CERTIFICATE_REQUIRED",
        AlertDescription::CertificateExpired => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        AlertDescription::CertificateUnknown => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        AlertDescription::HandshakeFailure => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        AlertDescription::InternalError => "TLSV1_ALERT_INTERNAL_ERROR",
        AlertDescription::NoApplicationProtocol => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        AlertDescription::ProtocolVersion => "TLSV1_ALERT_PROTOCOL_VERSION",
        AlertDescription::UnknownCA => "TLSV1_ALERT_UNKNOWN_CA",
        AlertDescription::UnrecognisedName => "TLSV1_ALERT_UNRECOGNIZED_NAME",
        _ => "TLSV1_ALERT",
    };
    let number = (16_u32 << 24) + 1000 + u32::from(u8::from(alert));
    format!("{number}:SSL routines:OPENSSL_internal:{name}")
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
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
            ),
        ] {
            assert_eq!(within(error), expected);
        }
        assert_eq!(reason(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
