//! A proxy reads another configuration while it runs, as finwait does on SIGHUP, or a file that it watches has changed.

use serde::Deserialize;
use serde_json::Value;
use serde_yaml::Spanned;

use crate::scenario::{CertificateFile, Ordered, Patch, ProxyConfig};

/// A proxy that is given another configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// The name of the proxy.
    pub host: String,
    /// The file, relative to the scenario; that of the host if absent.
    pub config: Option<Spanned<String>>,
    /// Changes to `config`, or else to what the host began with.
    #[serde(default)]
    pub patch: Patch,
    /// What files hold from now on that its configuration names and has watched.
    #[serde(default)]
    pub files: Ordered<Value>,
    /// The same of files of certificates, keys and lists of revoked certificates.
    #[serde(default)]
    pub certificates: Ordered<CertificateFile>,
    /// The configuration that it reads: known when the files of the scenario have been read.
    #[serde(skip)]
    pub read: Option<ProxyConfig>,
}

impl Reload {
    /// The paths of the files that change, if no other configuration is read.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(path, _)| path).chain(self.certificates.iter().map(|(path, _)| path))
    }
}
