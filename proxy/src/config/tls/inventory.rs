//! The certificates in use, for operators who want to know when they expire.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;

use super::ocsp::OcspValidity;
use super::x509::{AltName, alternatives, validity};

/// Where a certificate was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The file; `None` if it stands in the configuration itself.
    pub path: Option<String>,
    /// The name of its secret; `None` if it is part of its context.
    pub secret: Option<String>,
}

/// A certificate in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InUse {
    /// Where it was found.
    pub origin: Origin,
    /// It, in DER.
    pub certificate: CertificateDer<'static>,
    /// How long the response of OCSP is of use that goes with it.
    pub staple: Option<OcspValidity>,
}

/// The certificates of one context.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inventory {
    /// Those that it shows, without the rest of their chains.
    pub own: Vec<InUse>,
    /// Of those that it trusts the first, as in Envoy.
    pub trusted: Option<InUse>,
}

/// What a context does with a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// It shows it to peers.
    Shown,
    /// It trusts what it has signed.
    Trusted,
}

impl InUse {
    /// Where it was found, as Envoy has it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.origin.path.as_deref().unwrap_or("<inline>")
    }

    /// Its subject alternative names, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<AltName> {
        alternatives(&self.certificate)
    }

    /// When it expires.
    #[must_use]
    pub fn end(&self) -> Option<SystemTime> {
        validity(&self.certificate).map(|validity| validity.end)
    }

    /// When it expires, in seconds since 1970.
    #[must_use]
    pub fn end_seconds(&self) -> Option<u64> {
        self.end()?.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// Whole days until it expires: 0 if it has.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> u64 {
        const SECONDS_A_DAY: u64 = 86_400;
        let left = self.end().and_then(|end| end.duration_since(now).ok()).unwrap_or_default();
        left.as_secs() / SECONDS_A_DAY
    }

    /// By which stats name it: its secret, or what Envoy has for certificates without a name, which ends in the first digits
    /// of SHA-256 of nothing.
    #[must_use]
    pub fn stat_name(&self, is: Use) -> &str {
        self.origin.secret.as_deref().unwrap_or(match is {
            Use::Shown => "unnamed_cert_e3b0c442",
            Use::Trusted => "unnamed_ca_cert_e3b0c442",
        })
    }
}

impl Inventory {
    /// All of them, and what each is for.
    pub fn all(&self) -> impl Iterator<Item = (Use, &InUse)> {
        let own = self.own.iter().map(|one| (Use::Shown, one));
        own.chain(self.trusted.iter().map(|one| (Use::Trusted, one)))
    }

    /// When the certificate of this name in stats expires, in seconds since 1970; of several the last.
    #[must_use]
    pub fn end_of(&self, stat_name: &str) -> Option<u64> {
        self.all().filter(|(is, one)| one.stat_name(*is) == stat_name).last().and_then(|(_, one)| one.end_seconds())
    }
}
