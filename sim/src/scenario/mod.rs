//! The YAML a person writes: who takes part, what they do, what must be seen.
//!
//! [`Scenario::load`] reads a file of a [`Library`], and refuses unknown keys and values with the line they stand in.
//! Past it everything is typed and every name in the script names a host.

mod certificate;
mod config;
mod document;
mod env;
mod error;
mod expect;
mod hosts;
mod leave_out;
mod library;
mod load;
mod names;
mod patch;
mod reloaded;
mod revoked;
mod script;
mod tree;
mod units;
mod vary;

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_yaml::Spanned;

pub use certificate::{Certificate, CertificateFile, Certificates, RevocationList};
pub use config::{CommandLine, Concurrency, DrainFlags, DrainStrategy, ProxyConfig, Reloaded, ReloadedFrom};
pub use document::Document;
pub(crate) use env::placeholders;
pub use error::ScenarioError;
pub use expect::{Expect, Label, Seen, Share, When};
pub use hosts::{
    Alb, App, AppTls, Authorisation, Client, ClientCertificate, ClientTls, Decision, Greeting, Health, HealthService,
    Host, Http2, Key, KeyServer, KeySet, LimitCount, LimitLeft, LimitService, LimitUnit, Link, LogCall, LogService,
    Path, PeerProtocol, Redirect, Reuse, Role, Service, Serving, TlsClosing, TlsVersion, Trusted, Verdict,
};
pub use leave_out::LeaveOut;
pub use library::Library;
pub(crate) use library::plain;
pub use load::Family;
pub(crate) use load::is_name_of_step;
pub use patch::Patch;
pub(crate) use patch::steps;
pub use script::{
    Action, ClockStep, Cue, Direction, Draining, Ending, ErrorCode, ExpectedFields, ExpectedValue, FieldLines, Frame,
    FrameFields, FrameKind, Gate, Intervention, NameAnswer, Naming, Opcode, Pair, Payload, Reload, Repeat, Reply,
    Request, Segments, Stall, Step, WebSocketFields, WebSocketFrame, setting,
};
pub(crate) use tree::flow;
pub use units::{Hex, Rate, Size, Time, TimeStep, Times};

use crate::course::Course;

/// A scenario, ready to be played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its path, as it was requested.
    pub file: String,
    /// The file's content, for messages that quote it.
    pub document: Document,
    /// One sentence: what a reader learns.
    pub about: String,
    /// The reports it comes from.
    pub refs: Vec<String>,
    /// What distinguishes this run from the others of its file.
    pub label: Label,
    /// Decides everything that chance decides.
    pub seed: u64,
    /// When to give up, in virtual time.
    pub limit: Time,
    /// When its script begins.
    pub from: Beginning,
    /// How long a host's programs take to notice what its kernel has; at once if absent.
    pub read_delay: Option<Times>,
    /// Whether and how a run departs from its plain course.
    pub course: Course<String>,
    /// In the order of the file, which is the order of their addresses.
    pub hosts: Vec<Host>,
    /// Between pairs of hosts.
    pub links: Vec<Link>,
    /// The steps of the script, in order.
    pub script: Vec<Spanned<Cue>>,
    /// What must be seen.
    pub expect: Vec<Spanned<Expect>>,
    /// Words that may stand in no line of the story.
    pub never: Vec<Spanned<String>>,
    /// What holds in every run, except in this one.
    pub except: Vec<Invariant>,
    /// Whether explanations try what they name.
    pub remedies: Remedies,
}

/// When a script begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Beginning {
    /// When every proxy accepts connections: names are resolved, and the first health checks have ended.
    #[default]
    Ready,
    /// A millisecond after all programs were started, whatever the proxies wait for.
    Start,
}

/// What an explanation does about what would change the outcome of a failed request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Remedies {
    /// It names them.
    Named,
    /// It plays the run again with each of them.
    #[default]
    Tried,
}

/// What holds in every run unless its scenario sets otherwise.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// No host runs for ever at one instant.
    EveryHostProgresses,
    /// When everybody has left, no gauge that counts work is above zero.
    GaugesAtZero,
    /// When everybody has left, no program holds a socket.
    NothingLeftOpen,
    /// A request has at most one response.
    OneResponse,
    /// A request that is not safe to repeat reaches an app at most once, unless a configuration has `retry_on`.
    OneDelivery,
    /// What comes out of a WebSocket is what went in, in order.
    TunnelsKeepOrder,
}

impl Scenario {
    /// The file of a proxy's configuration, as a person wrote it; that of the scenario for any other host.
    #[must_use]
    pub fn file_of(&self, host: &str) -> String {
        match self.hosts.iter().find(|has| has.name == host).map(|host| &host.role) {
            Some(Role::Proxy(config)) => plain(config.written_file()),
            _ => plain(&self.file),
        }
    }

    /// Where in the file `location` is, with what is wrong there.
    #[must_use]
    pub fn complain(&self, location: serde_yaml::Location, what: impl Into<String>) -> ScenarioError {
        ScenarioError::at(&self.file, &self.document, location, what)
    }
}

/// A map that keeps the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Ordered<T> {
    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

struct InOrder<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Ordered(entries))
    }
}
