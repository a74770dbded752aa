//! The certificates that a world makes up.

use std::time::Duration;

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

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

/// A list of revoked certificates that the world makes up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationList {
    /// The authority that signs it.
    pub issuer: String,
    /// Since when it is valid, as seen from the beginning of the run.
    pub this_update: TimeStep,
    /// Until when.
    pub next_update: TimeStep,
    /// The hosts whose certificates are revoked.
    pub revoked: Vec<String>,
    /// Those certificates, by host and names: known when the hosts of the scenario have been read.
    pub certificates: Vec<(String, Vec<String>)>,
}

/// What a file holds that a configuration names for a certificate, an authority or a list of revoked certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CertificateFile {
    /// A certificate, or that of its issuer where an authority is expected.
    Certificate(Certificate),
    /// A list of revoked certificates.
    Revocations(RevocationList),
    /// The file as it stands.
    Text(String),
}

impl<'de> Deserialize<'de> for CertificateFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrMap)
    }
}

struct TextOrMap;

impl<'de> Visitor<'de> for TextOrMap {
    type Value = CertificateFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a certificate such as `{ names: [shop.example] }`, `{ revoked: [client] }`, or the text of the file",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<CertificateFile, E> {
        Ok(CertificateFile::Text(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CertificateFile, A::Error> {
        let written = CertificateFields::deserialize(MapAccessDeserializer::new(map))?;
        let default = Certificate::default();
        let issuer = written.issuer.unwrap_or(default.issuer);
        let not_before = written.not_before.unwrap_or(default.not_before);
        let not_after = written.not_after.unwrap_or(default.not_after);
        match (written.names, written.revoked) {
            (Some(_), Some(_)) => {
                Err(A::Error::custom("`names` are those of a certificate, and `revoked` makes a list"))
            }
            (None, Some(revoked)) => Ok(CertificateFile::Revocations(RevocationList {
                issuer,
                this_update: not_before,
                next_update: not_after,
                revoked,
                certificates: Vec::new(),
            })),
            (names, None) => {
                let names = names.unwrap_or_default();
                Ok(CertificateFile::Certificate(Certificate { names, not_before, not_after, issuer }))
            }
        }
    }
}

/// The keys of either.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateFields {
    names: Option<Vec<String>>,
    not_before: Option<TimeStep>,
    not_after: Option<TimeStep>,
    issuer: Option<String>,
    revoked: Option<Vec<String>>,
}

/// The files of certificates that the configuration of a proxy names, by their paths. Those that are not here are as by default.
#[derive(Clone, Debug, Default)]
pub struct Certificates(pub Ordered<CertificateFile>);

impl Certificates {
    /// What is written of the file at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&CertificateFile> {
        self.0.iter().find(|(has, _)| *has == path).map(|(_, file)| file)
    }

    /// The files of `changed` in place of those at the same paths.
    pub(super) fn change(&mut self, changed: &Ordered<CertificateFile>) {
        for (path, file) in changed.iter() {
            self.0.0.retain(|(has, _)| has != path);
            self.0.0.push((path.to_owned(), file.clone()));
        }
    }
}
