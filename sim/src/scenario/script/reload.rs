//! A proxy reads another configuration while it runs, as finwait does on SIGHUP.

use serde::Deserialize;
use serde_yaml::Spanned;

use crate::scenario::{Patch, Role};

/// A proxy that is given another configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// Which.
    pub host: String,
    /// The file, relative to the scenario; that of the host if absent.
    pub config: Option<Spanned<String>>,
    /// Changes to `config`, or else to what the host began with.
    #[serde(default)]
    pub patch: Patch,
    /// The proxy as it is then: known when the files have been read.
    #[serde(skip)]
    pub role: Option<Box<Role>>,
}

/// Where a proxy's configuration comes from that it did not begin with.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The line of the step.
    pub line: usize,
    /// The configuration that the host began with.
    pub first: String,
    /// What the step names.
    pub from: ReloadedFrom,
}

/// What a reload names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReloadedFrom {
    /// Another file, perhaps with changes to it.
    File,
    /// Changes to what the host began with.
    Patch,
}
