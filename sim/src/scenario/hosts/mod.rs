//! The hosts of a scenario, what runs on each, and the links between them.

pub(super) mod habits;
mod protocol;
mod services;
mod tls;

use std::net::IpAddr;

use serde::Deserialize;

pub use protocol::{Alb, Http2, PeerProtocol, Reuse};
pub use services::{
    Authorisation, Decision, Health, HealthService, Key, KeyServer, KeySet, LimitCount, LimitLeft, LimitService,
    LimitUnit, LogCall, LogService, Service, Serving, Verdict,
};
pub use tls::{AppTls, ClientCertificate, ClientTls, TlsClosing, TlsVersion, Trusted};

use super::config::ProxyConfig;
use super::script::{Action, Reply};
use super::units::{Rate, Time};

/// A simulated machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name, which resolves to its address.
    pub name: String,
    /// Its address; the next free one of 10.0.0.0/24 if absent.
    pub ip: Option<IpAddr>,
    /// Names that resolve to its address as well, and more addresses.
    pub aliases: Vec<String>,
    /// The host whose addresses it shares, as a container of a pod does.
    pub pod: Option<String>,
    /// Connections of others that its kernel sends to a port of its own.
    pub redirect: Option<Redirect>,
    /// What runs there.
    pub role: Role,
}

/// A rule REDIRECT of a host's kernel (iptables -t nat -A PREROUTING -p tcp -j REDIRECT) that other hosts have for a router.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The hosts whose connections to others pass this one.
    pub from: Vec<String>,
    /// The port that they reach instead.
    pub to: u16,
}

/// What runs on a host.
#[derive(Clone, Debug)]
pub enum Role {
    /// A load balancer.
    Alb(Alb),
    /// A server.
    App(Box<App>),
    /// A client that follows the script.
    Client(Client),
    /// A proxy, with its configuration.
    Proxy(ProxyConfig),
}

/// The settings of a client host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The address that it connects to, as `host:port`.
    pub connect: String,
    /// The protocol of its requests.
    #[serde(default)]
    pub protocol: PeerProtocol,
    /// Its settings with HTTP/2.
    #[serde(default)]
    pub http2: Http2,
    /// Closes a connection on which nothing was requested this long; never if absent.
    pub idle_timeout: Option<Time>,
    /// Its TLS settings; clear text if absent.
    pub tls: Option<ClientTls>,
}

/// The settings of an app host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Where it listens.
    #[serde(default = "App::default_port")]
    pub port: u16,
    /// Its response to requests that are no upgrade.
    #[serde(default)]
    pub reply: Reply,
    /// Its responses to the first such requests, one each, before it comes to `reply`.
    #[serde(default)]
    pub first: Vec<Reply>,
    /// Its response to a WebSocket handshake.
    #[serde(default)]
    pub websocket: Greeting,
    /// Sends these bytes in response to whatever comes and closes, instead of HTTP.
    pub response_bytes: Option<String>,
    /// Closes a connection on which no request came for this long; never if absent.
    pub idle_timeout: Option<Time>,
    /// Whether it reads the bodies of requests; if not, it responds as soon as it has the head.
    #[serde(default = "App::reads")]
    pub reads_bodies: bool,
    /// How fast it reads what comes; as fast as it comes if absent.
    pub read_rate: Option<Rate>,
    /// The protocol that it serves.
    #[serde(default)]
    pub protocol: PeerProtocol,
    /// Its settings with HTTP/2.
    #[serde(default)]
    pub http2: Http2,
    /// Closes a connection after so many requests; never if absent.
    pub requests_max: Option<usize>,
    /// What it does on its first connection, its second and so on; the last is also for all that follow.
    #[serde(default)]
    pub programs: Vec<Vec<Action>>,
    /// Its TLS settings; clear text if absent.
    pub tls: Option<AppTls>,
    /// It is a service that authorises requests: over gRPC with HTTP/2, else over HTTP.
    pub ext_authz: Option<Authorisation>,
    /// It is the health service of gRPC besides.
    pub grpc_health: Option<HealthService>,
    /// It is a server of keys.
    pub jwks: Option<KeyServer>,
    /// It is a rate limit service, over gRPC with HTTP/2.
    pub rate_limit: Option<LimitService>,
    /// It is an access log service, over gRPC with HTTP/2.
    pub access_log_service: Option<LogService>,
}

impl App {
    fn default_port() -> u16 {
        80
    }

    fn reads() -> bool {
        true
    }
}

/// What an app does with a WebSocket handshake.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Greeting {
    /// Accepts it and sends every message back.
    #[default]
    Echo,
    /// Accepts it and sends nothing by itself.
    Listen,
    /// Sends this response instead.
    Refuse(Reply),
}

/// A pair of hosts and what lies between them.
#[derive(Clone, Debug)]
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
    /// How long a packet takes, one way.
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
