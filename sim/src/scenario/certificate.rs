//! The certificates that a world makes up.

use std::time::Duration;

use serde::Deserialize;

use super::Ordered;
use super::units::{Time, TimeStep};

/// A certificate that the world makes up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// Its subject alternative names: DNS names, IP addresses and URIs. The name of its host if there are none.
    pub names: Vec<String>,
    /// From when on it is valid, as seen from the beginning of the run.
    pub not_before: TimeStep,
    /// Until when.
    pub not_after: TimeStep,
    /// The authority that signs it. All trust the one that is called `authority`, unless they name another.
    pub issuer: String,
}

impl Certificate {
    /// The authority that everybody trusts.
    pub const AUTHORITY: &str = "authority";
}

impl Default for Certificate {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            names: Vec::new(),
            not_before: TimeStep::Back(Time(DAY)),
            not_after: TimeStep::Forth(Time(90 * DAY)),
            issuer: Self::AUTHORITY.into(),
        }
    }
}

/// The certificates that the configuration of a proxy names, by their paths. Those that are not here are as by default.
#[derive(Clone, Debug, Default)]
pub struct Certificates(pub Ordered<Certificate>);

impl Certificates {
    /// What is written of the file at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Certificate> {
        self.0.iter().find(|(has, _)| *has == path).map(|(_, certificate)| certificate)
    }

    /// The authority whose certificate is in the file at `path`.
    #[must_use]
    pub fn issuer_of(&self, path: &str) -> &str {
        self.get(path).map_or(Certificate::AUTHORITY, |certificate| &certificate.issuer)
    }
}
