//! What lines have of TLS and of certificates.

use std::borrow::Cow;
use std::time::SystemTime;

use crate::access_log::StreamInfo;
use crate::config::log_format::{FingerprintKind, TlsPart, TlsPeer, ValidityEnd};
use crate::config::tls::x509::{self, NameKind, Validity};
use crate::net::tls::{TlsSession, subject};

/// `part` of the connection with that peer; `None` if it is not there.
pub(super) fn part(with: TlsPeer, part: TlsPart, info: &StreamInfo) -> Option<Cow<'_, str>> {
    if let TlsPart::Fingerprint(kind) = part {
        return fingerprint(kind, info).map(Cow::Borrowed); // also of a connection that TLS passes through
    }
    let session = session(with, info)?;
    let (peer, own) = (|| session.peer.as_ref(), || session.own.as_ref()?.chain().first());
    Some(match part {
        TlsPart::Cipher => session.cipher.into(),
        TlsPart::Failure => session.failure.get()?.replace(' ', "_").into(),
        TlsPart::Fingerprint(_) => return None,
        TlsPart::LocalNames(kind) => names_of(own()?, kind)?.into(),
        TlsPart::LocalSubject => subject(own()?)?.into(),
        TlsPart::PeerCertificate => peer()?.url_encoded().into(),
        TlsPart::PeerNames(kind) => names_of(peer()?.der(), kind)?.into(),
        TlsPart::PeerDnsNames => peer()?.dns_names.join(",").into(),
        TlsPart::PeerFingerprint => peer()?.sha256.as_str().into(),
        TlsPart::PeerIssuer => peer()?.issuer.as_str().into(),
        TlsPart::PeerSerial => peer()?.serial.as_str().into(),
        TlsPart::PeerSubject => peer()?.subject.as_str().into(),
        TlsPart::PeerUris => peer()?.uris.join(",").into(),
        TlsPart::Version => session.version.into(),
    })
}

/// The fingerprint of the client's program, if its listener makes one.
fn fingerprint(kind: FingerprintKind, info: &StreamInfo) -> Option<&str> {
    let made = info.downstream.fingerprints.as_deref()?;
    match kind {
        FingerprintKind::Ja3 => made.ja3.as_deref(),
        FingerprintKind::Ja4 => made.ja4.as_deref(),
    }
}

/// When the peer's certificate begins or ends to be valid.
pub(super) fn peer_valid((with, end): (TlsPeer, ValidityEnd), info: &StreamInfo) -> Option<SystemTime> {
    let Validity { start, end: until } = x509::validity(session(with, info)?.peer.as_ref()?.der())?;
    Some(match end {
        ValidityEnd::Start => start,
        ValidityEnd::End => until,
    })
}

fn session(with: TlsPeer, info: &StreamInfo) -> Option<&TlsSession> {
    match with {
        TlsPeer::Client => info.downstream.tls.as_deref(),
        TlsPeer::Upstream => info.upstream_connection.as_ref()?.tls.as_deref(),
    }
}

/// Names of a certificate; none is no value.
fn names_of(certificate: &[u8], kind: NameKind) -> Option<String> {
    let names = x509::alt_names(certificate, kind);
    (!names.is_empty()).then(|| names.join(","))
}
