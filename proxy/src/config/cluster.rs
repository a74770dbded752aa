//! Clusters, typed.

use std::net::SocketAddr;
use std::time::Duration;

use super::listener::Http2Options;

/// A group of equal backends.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `cluster.<name>.`
    pub name: String,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How one is chosen.
    pub balancing: Balancing,
    /// How it is spoken to.
    pub protocol: UpstreamProtocol,
    /// From the start of a connect to its end.
    pub connect_timeout: Duration,
    /// An unused connection is closed after this; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// Limits.
    pub limits: Limits,
    /// Bytes that may wait in one direction of one connection before the other side is no longer read.
    pub buffer_bytes_max: usize,
}

/// Where endpoints come from.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// Addresses in the file.
    Static(Vec<SocketAddr>),
    /// Names, resolved again and again; every address is an endpoint.
    StrictDns {
        /// Name and port, in the order of the file.
        targets: Vec<(String, u16)>,
        /// How often to ask.
        refresh: Duration,
    },
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balancing {
    /// The less loaded of two random endpoints.
    LeastRequest,
    /// Any.
    Random,
    /// In turn.
    RoundRobin,
}

/// How a cluster is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2(Http2Options),
}

/// Circuit breakers of the default priority, shared by all workers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections.
    pub connections_max: u32,
    /// Requests waiting for a connection.
    pub pending_max: u32,
    /// Requests under way.
    pub requests_max: u32,
    /// Retries under way.
    pub retries_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 1024, pending_max: 1024, requests_max: 1024, retries_max: 3 }
    }
}
