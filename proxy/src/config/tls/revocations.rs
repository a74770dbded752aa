//! Lists of revoked certificates (RFC 5280 5), as authorities sign them.

use std::sync::Arc;

use rustls::CertificateError as Fault;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder,
};

/// What was read holds no list.
#[derive(Debug, thiserror::Error)]
#[error("no list of revoked certificates of X.509 in version 2, in PEM (BEGIN X509 CRL)")]
pub struct NoRevocations;

/// `crl`: each certificate needs a list of its authority, and must not be on it.
#[derive(Clone, Debug)]
pub struct Revocations {
    lists: Arc<[CertRevocationList<'static>]>,
    /// As they were read.
    read: Arc<[u8]>,
    depth: RevocationCheckDepth,
}

impl Revocations {
    /// The lists in `pem`; with `only_leaf` the certificates of authorities are not looked for.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn new(pem: &[u8], only_leaf: bool) -> Result<Self, NoRevocations> {
        let mut lists = Vec::new();
        for list in CertificateRevocationListDer::pem_slice_iter(pem) {
            let list = list.map_err(|_| NoRevocations)?;
            let list = OwnedCertRevocationList::from_der(&list).map_err(|_| NoRevocations)?;
            lists.push(CertRevocationList::from(list));
        }
        if lists.is_empty() {
            return Err(NoRevocations);
        }
        let depth = if only_leaf { RevocationCheckDepth::EndEntity } else { RevocationCheckDepth::Chain };
        Ok(Self { lists: lists.into(), read: pem.into(), depth })
    }

    /// The lists, as they were read.
    pub(super) fn read(&self) -> Arc<[u8]> {
        Arc::clone(&self.read)
    }

    pub(super) fn depth(&self) -> RevocationCheckDepth {
        self.depth
    }

    /// Calls `check` with what it needs to look certificates up. A list that has expired is of no use, as with OpenSSL.
    pub(super) fn within<T>(&self, check: impl FnOnce(Option<RevocationOptions<'_>>) -> T) -> T {
        let lists: Vec<_> = self.lists.iter().collect();
        // There is at least one list, and only without one there is no builder.
        let builder = RevocationOptionsBuilder::new(&lists).ok();
        check(builder.map(|it| it.with_depth(self.depth).with_expiration_policy(ExpirationPolicy::Enforce).build()))
    }
}

/// What is wrong with a chain because of a list, in rustls' terms.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; all else is not about lists")]
pub(super) fn fault(error: &webpki::Error) -> Option<Fault> {
    match error {
        webpki::Error::CertRevoked => Some(Fault::Revoked),
        webpki::Error::CrlExpired { .. } => Some(Fault::ExpiredRevocationList),
        webpki::Error::UnknownRevocationStatus => Some(Fault::UnknownRevocationStatus),
        _ => None,
    }
}
