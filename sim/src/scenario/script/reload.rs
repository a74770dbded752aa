//! A proxy reads another configuration while it runs, as finwait does on SIGHUP, or a file that it watches has changed.

use serde::Deserialize;
use serde_json::Value;
use serde_yaml::Spanned;

use crate::scenario::{Ordered, Patch, ProxyConfig};

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
    /// The configuration that it reads: known when the files of the scenario have been read.
    #[serde(skip)]
    pub read: Option<ProxyConfig>,
}
