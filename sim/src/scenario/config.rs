//! The configuration that a proxy reads: at the start, or later in place of the one it has.

use super::Ordered;
use super::certificate::{Certificate, Certificates};

/// A configuration as text.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where the text comes from, for messages.
    pub file: String,
    /// Envoy's YAML, or JSON if it was patched.
    pub text: String,
    /// The certificates that it names.
    pub certificates: Certificates,
    /// Without the differences from Envoy that are there on purpose.
    pub exact: bool,
    /// The file as it was before it was patched.
    pub unpatched: Option<String>,
    /// None for what the host began with.
    pub reloaded: Option<Box<Reloaded>>,
}

impl ProxyConfig {
    /// What a host begins with.
    pub(crate) fn new(file: String, text: String, unpatched: Option<String>, exact: bool) -> Self {
        Self { file, text, certificates: Certificates::default(), exact, unpatched, reloaded: None }
    }

    pub(super) fn with_certificates(self, certificates: Ordered<Certificate>) -> Self {
        Self { certificates: Certificates(certificates), ..self }
    }
}

/// Where a configuration comes from that a proxy did not begin with.
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
