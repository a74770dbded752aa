//! The YAML a person writes: who takes part, what they do, what must be seen.
//!
//! [`Scenario::load`] reads a file of a [`Library`], and refuses what it does not know with the line it stands in.
//! Past it everything is typed and every name in the script names a host.

mod action;
mod chance;
mod document;
mod error;
mod expect;
pub(crate) mod frame;
mod habits;
mod host;
mod intervention;
mod library;
mod load;
mod names;
mod patch;
pub(crate) mod repeat;
mod reply;
mod step;
mod tree;
mod units;
mod variation;

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_yaml::Spanned;

pub use action::{Action, Payload, Request};
pub use document::Document;
pub use error::ScenarioError;
pub use expect::{Ending, Expect, Seen, Share};
pub use frame::{ErrorCode, Frame, FrameFields, FrameKind, Opcode, WebSocketFields, WebSocketFrame, setting};
pub use host::{Alb, Http2, Reuse, Speech};
pub use intervention::{ClockStep, Draining, Gate, Intervention, Kind, Naming, Pair, Segments, Stall, Way};
pub use library::Library;
pub(crate) use library::plain;
pub use load::Family;
pub use patch::Patch;
pub use repeat::Repeat;
pub use reply::Reply;
pub use step::{Cue, Step};
pub(crate) use tree::flow;
pub use units::{Hex, Rate, Size, Time, TimeStep, Times};
pub use variation::{Label, When};

use crate::world::perturb::Course;

/// A scenario, ready to be played.
#[derive(Debug)]
pub struct Scenario {
    /// Its path, as it was asked for.
    pub file: String,
    /// The file's content, for messages that quote it.
    pub document: Document,
    /// One sentence: what a reader learns.
    pub about: String,
    /// The reports it comes from.
    pub refs: Vec<String>,
    /// What tells this run from the others of its file.
    pub label: Label,
    /// Decides everything that chance decides.
    pub seed: u64,
    /// When to give up, in virtual time.
    pub limit: Time,
    /// How long a host's programs take to notice what its kernel knows; at once if absent.
    pub notice: Option<Times>,
    /// Whether and how a run departs from its plain course.
    pub course: Course<String>,
    /// In the order of the file, which is the order of their addresses.
    pub hosts: Vec<Host>,
    /// Between pairs of hosts.
    pub links: Vec<Link>,
    /// What happens.
    pub script: Vec<Spanned<Cue>>,
    /// What must be seen.
    pub expect: Vec<Spanned<Expect>>,
    /// Words that may stand in no line of the story.
    pub never: Vec<Spanned<String>>,
    /// What holds in every run, except in this one.
    pub except: Vec<Invariant>,
}

/// What holds in every run unless its scenario says otherwise.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Nobody spins: every host that runs gets on.
    EveryHostGetsOn,
    /// When everybody has left, no gauge that counts work is above zero.
    GaugesAtZero,
    /// When everybody has left, no program holds a socket.
    NothingLeftOpen,
    /// A request has at most one answer.
    OneAnswer,
    /// A request that is not safe to repeat reaches an app at most once, unless a configuration has `retry_on`.
    OneDelivery,
    /// What comes out of a WebSocket is what went in, in order.
    TunnelsKeepOrder,
}

/// A simulated machine.
#[derive(Debug)]
pub struct Host {
    /// Its name, which resolves to its address.
    pub name: String,
    /// Its address; the next free one of 10.0.0.0/24 if absent.
    pub ip: Option<IpAddr>,
    /// Who lives there.
    pub role: Role,
}

/// Who lives on a host.
#[derive(Clone, Debug)]
pub enum Role {
    /// A load balancer.
    Alb(Alb),
    /// A server that answers.
    App(Box<App>),
    /// A client that follows the script.
    Client(Client),
    /// The proxy, with its configuration as text.
    Proxy {
        /// Where the text comes from, for messages.
        file: String,
        /// Envoy's YAML, or JSON if it was patched.
        text: String,
        /// Without the differences from Envoy that are there on purpose.
        exact: bool,
        /// The file as it was before it was patched.
        unpatched: Option<String>,
    },
}

/// A client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Whom it connects to, as `host:port`.
    pub connect: String,
    /// What its requests are told in.
    #[serde(default)]
    pub speaks: Speech,
    /// Its habits if it speaks HTTP/2.
    #[serde(default)]
    pub http2: Http2,
    /// Closes a connection on which nothing was asked for this long; never if absent.
    pub idle_timeout: Option<Time>,
}

/// A server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Where it listens.
    #[serde(default = "App::default_port")]
    pub port: u16,
    /// Its answer to requests that are no upgrade.
    #[serde(default)]
    pub reply: Reply,
    /// Its answers to the first such requests, one each, before it comes to `reply`.
    #[serde(default)]
    pub first: Vec<Reply>,
    /// Its answer to a WebSocket handshake.
    #[serde(default)]
    pub websocket: Greeting,
    /// Answers whatever comes with these bytes and closes, instead of speaking HTTP.
    pub answer_bytes: Option<String>,
    /// Closes a connection on which no request came for this long; never if absent.
    pub idle_timeout: Option<Time>,
    /// How fast it reads what comes; as fast as it comes if absent.
    pub read_rate: Option<Rate>,
    /// What it understands.
    #[serde(default)]
    pub speaks: Speech,
    /// Its habits if it speaks HTTP/2.
    #[serde(default)]
    pub http2: Http2,
    /// Closes a connection that has been asked this often; never if absent.
    pub requests_max: Option<usize>,
    /// What it does on its first connection, its second and so on; the last is also for all that follow.
    #[serde(default)]
    pub programs: Vec<Vec<Action>>,
}

impl App {
    fn default_port() -> u16 {
        80
    }
}

/// What an app does with a WebSocket handshake.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Greeting {
    /// Accepts it and sends every message back.
    #[default]
    Echo,
    /// Accepts it and says nothing by itself.
    Listen,
    /// Answers like this instead.
    Refuse(Reply),
}

/// A pair of hosts and what lies between them.
#[derive(Debug)]
pub struct Link {
    /// The two hosts.
    pub between: (String, String),
    /// What lies between them.
    pub path: Path,
}

/// What lies between two hosts, the same in both directions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// One way.
    #[serde(default = "Path::default_latency")]
    pub latency: Time,
    /// Up to this much is added to each packet's latency.
    #[serde(default)]
    pub jitter: Time,
    /// Unlimited if absent.
    pub bandwidth: Option<Rate>,
    /// Whether jitter may let a packet overtake another.
    #[serde(default)]
    pub reorder: bool,
    /// The share of packets that get lost, from 0 to 1.
    #[serde(default)]
    pub loss: f64,
}

impl Path {
    fn default_latency() -> Time {
        Time(std::time::Duration::from_micros(250)) // two machines in one data centre
    }
}

impl Scenario {
    /// Where in the file `location` is, with what is wrong there.
    #[must_use]
    pub fn complain(&self, location: serde_yaml::Location, what: impl Into<String>) -> ScenarioError {
        ScenarioError::at(&self.file, &self.document, location, what)
    }
}

/// The machine that reads the script aloud; it has no links.
pub(crate) const SCRIPT_HOST: &str = "script";

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
