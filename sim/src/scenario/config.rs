//! The configuration that a proxy reads: at the start, or later in place of the one it has.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::certificate::{CertificateFile, Certificates};
use super::{LeaveOut, Ordered, Time};

/// A configuration as text.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where the text comes from, for messages.
    pub file: String,
    /// Envoy's YAML, or JSON if it was patched.
    pub text: String,
    /// The certificates that it names.
    pub certificates: Certificates,
    /// The files that it names beside certificates, by their paths: files of endpoints.
    pub files: BTreeMap<String, String>,
    /// Without the differences from Envoy that are there on purpose.
    pub exact: bool,
    /// The file as it was before it was patched.
    pub unpatched: Option<String>,
    /// What may be left out of it, so that it loads.
    pub leave_out: LeaveOut,
    /// Values of the placeholders of files that it reads.
    pub env: Ordered<String>,
    /// What is on its command line.
    pub flags: CommandLine,
    /// None for what the host began with.
    pub reloaded: Option<Box<Reloaded>>,
}

/// The flags of a proxy that a scenario may set.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandLine {
    /// Its drains.
    pub drain: DrainFlags,
    /// `--concurrency`.
    pub concurrency: Concurrency,
}

/// How many workers a proxy has. Each accepts its share of the connections, and has pools of its own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "u8")]
pub struct Concurrency(u8);

impl Concurrency {
    /// Workers that a simulated proxy may have: as many as large machines have cores.
    const MAX: u8 = 64;

    /// How many there are, at least one.
    #[must_use]
    pub fn workers(self) -> u8 {
        self.0
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u8> for Concurrency {
    type Error = String;

    fn try_from(workers: u8) -> Result<Self, String> {
        match workers {
            1..=Self::MAX => Ok(Self(workers)),
            _ => Err(format!("a proxy has from 1 to {} workers, not {workers}", Self::MAX)),
        }
    }
}

/// `--drain-time-s` and `--drain-strategy`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainFlags {
    /// How long a drain takes that an operator has begun.
    pub time: Time,
    /// How it sends clients elsewhere.
    pub strategy: DrainStrategy,
}

/// How a drain that an operator has begun sends clients elsewhere.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum DrainStrategy {
    /// By a share of the responses that grows over the drain time.
    #[default]
    Gradual,
    /// By every response.
    Immediate,
}

impl Default for DrainFlags {
    fn default() -> Self {
        Self { time: Time(finwait::drain::DRAIN_TIME), strategy: DrainStrategy::default() }
    }
}

impl ProxyConfig {
    /// What a host begins with.
    pub(crate) fn new(file: String, text: String, unpatched: Option<String>, exact: bool) -> Self {
        let (certificates, files, leave_out, env, flags) = Default::default();
        Self { file, text, certificates, files, exact, unpatched, leave_out, env, flags, reloaded: None }
    }

    pub(crate) fn with_certificates(mut self, certificates: &Ordered<CertificateFile>) -> Self {
        self.certificates.change(certificates);
        self
    }

    pub(crate) fn with_files(mut self, files: &Ordered<Value>) -> Self {
        // JSON is YAML: what is written in place is read as a file is. A text is the file as it stands there.
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.files.extend(files.iter().map(|(path, value)| (path.to_owned(), text(value))));
        self
    }

    pub(super) fn with_env(self, env: Ordered<String>) -> Self {
        Self { env, ..self }
    }

    pub(super) fn with_flags(self, flags: CommandLine) -> Self {
        Self { flags, ..self }
    }

    pub(crate) fn without(self, leave_out: LeaveOut) -> Self {
        Self { leave_out, ..self }
    }

    /// The name of the file that a person wrote.
    #[must_use]
    pub fn written_file(&self) -> &str {
        self.file.trim_end_matches(", patched").trim_end_matches(", inline")
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
