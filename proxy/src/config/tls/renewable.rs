//! What can be replaced while it is in use.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::SHA256_OUTPUT_LEN;
use rustls::pki_types::CertificateDer;

use super::inventory::Inventory;
use super::ocsp::OcspResponse;

/// Certificates, and all that TLS is done with, in their present form. Listeners and clusters hold it for as long as they are
/// there; a connection takes the present form, and keeps it.
pub struct Renewable<T>(Mutex<Arc<T>>);

/// What one form differs in from the next. A key is that of its certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Material {
    /// Those of our own, and those that are trusted.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// `crl`, as it was read.
    pub(super) revocations: Option<Arc<[u8]>>,
    /// The responses of OCSP to our own certificates.
    pub(super) staples: Vec<Option<OcspResponse>>,
    /// SHA-256 of the keys of session tickets.
    pub(super) ticket_keys: Vec<[u8; SHA256_OUTPUT_LEN]>,
    /// What peers have to fulfil beside being trusted.
    pub(super) demands: String,
}

/// Where the secrets come from that certificates and authorities are part of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SecretSource {
    /// The configuration itself, or there is none.
    #[default]
    Configuration,
    /// Files of secrets.
    Files,
}

/// What is made of [`Material`].
pub trait MadeOf {
    /// The certificates in use, for operators.
    fn inventory(&self) -> &Inventory;

    /// The certificates or authorities in use.
    fn material(&self) -> &Material;

    /// Where its secrets come from.
    fn secrets(&self) -> SecretSource;
}

impl<T: MadeOf> Renewable<T> {
    /// In this form.
    pub(super) fn new(first: T) -> Self {
        Self(Mutex::new(Arc::new(first)))
    }

    /// The present form.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Is `other` made of other material?
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        !std::ptr::eq(self, other) && self.current().material() != other.current().material()
    }

    /// Takes the form of `other`. Connections that are there keep theirs.
    pub fn renew(&self, other: &Self) {
        let next = other.current();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl<T: MadeOf + fmt::Debug> fmt::Debug for Renewable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}
