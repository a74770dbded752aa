//! Clusters, typed.

use std::borrow::Borrow;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::address::Address;
use super::assignment::Assigned;
use super::balancing::{Balancing, Placement};
use super::dns_cache::DnsCache;
use super::hashing::HashPolicy;
use super::header_names::{NameCase, TrailerRule};
use super::health::{HealthCheck, OutlierDetection};
use super::http2::Http2Options;
pub use super::metadata::{ClusterMetadata, MetadataOwner};
use super::metadata::{Metadata, Struct};
use super::proxy_header::HeaderToUpstream;
pub use super::resolution::{FailureRefresh, LookupFamily, Refresh};
use super::socket_option::SocketOption;
use super::tls::{ClientTls, HttpAlpn};
use super::upstream_name::HostAsName;

/// The name of a cluster, unique among the clusters of a configuration: routes, stats and the admin interface refer to a
/// cluster by it. Clones share the text.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClusterName(Arc<str>);

impl From<&str> for ClusterName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for ClusterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Deref for ClusterName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group of equal backends.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `cluster.<name>.`
    pub name: ClusterName,
    /// `alt_stat_name`: what its stats are called in place of its name.
    pub alt_stat_name: Option<String>,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// The file that they come from, of a cluster of type EDS.
    pub assigned: Option<Assigned>,
    /// The hosts of its endpoints, as requests may name them, in the order of `discovery`; `None` is one without a name.
    pub hostnames: Vec<Option<HeaderValue>>,
    /// What the configuration says of the kind of its endpoints, in the same order; empty if it says nothing of any.
    pub labels: Vec<Option<Labels>>,
    /// Their places among each other, in the same order; empty if they are equal in everything.
    pub placements: Vec<Placement>,
    /// How one is chosen.
    pub balancing: Balancing,
    /// How it is spoken to.
    pub protocol: ClusterProtocol,
    /// `connection_pool_per_downstream_connection`: its connections carry the requests of one connection of a client each.
    pub is_per_client: bool,
    /// What the configuration says of it and of its endpoints, for logs, headers and internal listeners; `None` is nothing.
    pub metadata: Option<Arc<ClusterMetadata>>,
    /// `transport_socket`: how its connections are made.
    pub socket: UpstreamSocket,
    /// `transport_socket_matches`: how those to some of its endpoints are made instead.
    pub socket_matches: Vec<SocketMatch>,
    /// `upstream_http_protocol_options`: what the host of a request means for TLS.
    pub host_as_name: Option<HostAsName>,
    /// `header_key_format`, towards endpoints that speak HTTP/1.
    pub name_case: NameCase,
    /// What becomes of trailers over HTTP/1.
    pub trailers: TrailerRule,
    /// From the start of a connect to its end.
    pub connect_timeout: Duration,
    /// An unused connection is closed after this; `None` is never.
    pub idle_timeout: Option<Duration>,
    /// A connection is closed after so many requests; `None` is no limit.
    pub requests_per_connection_max: Option<NonZeroU32>,
    /// A connection takes no more requests once it is as old; `None` is no limit.
    pub connection_duration_max: Option<Duration>,
    /// `max_stream_duration`: a try is ended after this, with its response, whatever it does; `None` is no limit.
    pub stream_duration_max: Option<Duration>,
    /// `circuit_breakers`.
    pub limits: ByPriority<Limits>,
    /// How it is found out which endpoints work; none takes all for healthy.
    pub health_checks: Vec<HealthCheck>,
    /// Endpoints that their names or their file do not have any more stay while checks find them healthy. Not with
    /// `ignore_health_on_host_removal`.
    pub keeps_healthy: bool,
    /// When an endpoint whose responses are bad is left out.
    pub outlier_detection: Option<OutlierDetection>,
    /// `update_merge_window`: changes of health that follow another within this take effect together, once as much time has
    /// passed; `None` is at once.
    pub merge_window: Option<Duration>,
    /// If a smaller share of the endpoints is healthy, health does not count. Hundredths of a percent; 0 is never.
    pub panic_threshold: u32,
    /// An endpoint has so many connections for each request under way or waiting, in percent: more than 100 opens them ahead
    /// of need.
    pub preconnect_percent: u32,
    /// All endpoints together have so many connections for each request under way, waiting or expected next, in percent: more
    /// than 100 opens them where the next requests will go.
    pub predictive_percent: u32,
    /// What is hashed of its requests, in place of what their routes say; empty: what the routes say.
    pub hash_policies: Vec<HashPolicy>,
    /// The kernel asks a silent endpoint whether it is there.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `upstream_bind_config.source_address`: its connections come from there.
    pub source: Option<SocketAddr>,
    /// `upstream_bind_config`: what is set on the sockets of its connections, by family.
    pub socket_options: ByFamily<Arc<[SocketOption]>>,
    /// What else is counted of it.
    pub extra_stats: ExtraStats,
    /// Bytes that may wait in one direction of one connection before the other side is no longer read.
    pub buffer_bytes_max: usize,
}

/// Something for each family of addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ByFamily<T> {
    /// Over IPv4.
    pub ipv4: T,
    /// Over IPv6.
    pub ipv6: T,
}

impl<T> ByFamily<T> {
    /// That of the address's family.
    #[must_use]
    pub fn of(&self, at: &Address) -> &T {
        if at.ip().is_some_and(|ip| ip.is_ipv6()) { &self.ipv6 } else { &self.ipv4 }
    }
}

/// `track_cluster_stats`: what else is counted of a cluster.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExtraStats {
    /// How much of their timeouts requests use.
    pub timeout_budgets: bool,
    /// How large messages are.
    pub sizes: bool,
    /// The numbers of single endpoints, as stats.
    pub per_endpoint: bool,
}

/// A namespace that is passed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PassedNamespace {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub of: MetadataOwner,
}

impl Cluster {
    /// What a connection to the endpoint at this place passes on, and how many of these namespaces are not there.
    #[must_use]
    pub fn passed(&self, namespaces: &[PassedNamespace], endpoint: Option<usize>) -> (Metadata, u64) {
        let (mut passed, mut missing) = (Metadata::default(), 0);
        for namespace in namespaces {
            let owner = self.metadata.as_ref().and_then(|all| all.of(namespace.of, endpoint));
            match owner.and_then(|owner| owner.0.get(&namespace.name)) {
                Some(value) => drop(passed.0.insert(namespace.name.clone(), value.clone())),
                None => missing += 1,
            }
        }
        (passed, missing)
    }

    /// What its stats are called.
    #[must_use]
    pub fn stat_name(&self) -> &str {
        self.alt_stat_name.as_deref().unwrap_or(&self.name)
    }

    /// What it is called here and there.
    #[must_use]
    pub fn names(&self) -> ClusterNames {
        ClusterNames { own: (*self.name).into(), shown: self.stat_name().into() }
    }
}

/// What a cluster is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterNames {
    /// By routes.
    pub own: Box<str>,
    /// By stats, logs and traces: `alt_stat_name`, if it has one.
    pub shown: Box<str>,
}

/// How the kernel asks a silent endpoint. What is `None` is the system's choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpKeepalive {
    /// So many questions without a response end the connection.
    pub probes: Option<u32>,
    /// From the last word to the first question; whole seconds.
    pub time: Option<Duration>,
    /// From one question to the next; whole seconds.
    pub interval: Option<Duration>,
}

/// How connections are made: a transport socket, and those within it.
#[derive(Clone, Debug, Default)]
pub struct UpstreamSocket {
    /// `internal_upstream.passthrough_metadata`: what connections to internal listeners pass on.
    pub passing: Option<Arc<[PassedNamespace]>>,
    /// `upstream_proxy_protocol`: what connections begin with.
    pub proxy_header: Option<HeaderToUpstream>,
    /// Connections are encrypted.
    pub tls: Option<Arc<ClientTls>>,
}

/// An entry of `transport_socket_matches`.
#[derive(Clone, Debug)]
pub struct SocketMatch {
    /// What its stat is called.
    pub name: String,
    /// How connections to the endpoints that it matches are made.
    pub socket: UpstreamSocket,
}

impl Cluster {
    /// How connections are made for which the entry of this number matches, or none.
    #[must_use]
    pub fn socket(&self, matched: Option<usize>) -> &UpstreamSocket {
        matched.and_then(|nth| self.socket_matches.get(nth)).map_or(&self.socket, |matched| &matched.socket)
    }

    /// All ways in which connections are made, that of most endpoints first.
    pub fn sockets(&self) -> impl Iterator<Item = &UpstreamSocket> {
        std::iter::once(&self.socket).chain(self.socket_matches.iter().map(|matched| &matched.socket))
    }
}

/// What `metadata` says of an endpoint under the name `envoy.lb`.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// `canary: true`
    pub is_canary: bool,
    /// All that stands there.
    pub balancing: Struct,
}

/// Where endpoints come from.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// Addresses in the file.
    Static(Vec<Address>),
    /// Names, resolved again and again; every address of the family is an endpoint.
    StrictDns {
        /// Which addresses count.
        family: LookupFamily,
        /// Name and port, in the order of the file.
        targets: Vec<(String, u16)>,
        /// How often to ask.
        refresh: Refresh,
    },
    /// One name, resolved again and again, that is one endpoint whatever it resolves to: a new connection goes to the first
    /// address of the last response that takes it.
    LogicalDns {
        /// Which addresses count.
        family: LookupFamily,
        /// Name and port.
        target: (String, u16),
        /// How often to ask.
        refresh: Refresh,
    },
    /// Those of other clusters, one cluster behind the other.
    Aggregate(Vec<ClusterName>),
    /// The hosts that requests name, each as this cache resolves it.
    Forward(Arc<DnsCache>),
    /// Where each connection or request was to go.
    Original(OriginalDestination),
}

/// `original_dst_lb_config`, of a cluster whose endpoints are where its clients' connections were to go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginalDestination {
    /// `use_http_header`: this header of a request says it first.
    pub header: Option<HeaderName>,
    /// `upstream_port_override`: the port of all endpoints.
    pub port: Option<u16>,
    /// `cleanup_interval`: an endpoint that was not used for so long is forgotten.
    pub cleanup: Duration,
}

/// How a cluster is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterProtocol {
    /// As is configured.
    Fixed(UpstreamProtocol),
    /// `use_downstream_protocol_config`: as the client speaks whose request it is.
    OfClient {
        /// For HTTP/2.
        http2: Http2Options,
        /// What is spoken where there is no client.
        without_client: HttpVersion,
    },
}

impl ClusterProtocol {
    /// What is spoken for a client of this version; `None` is no client.
    #[must_use]
    pub fn of(&self, client: Option<HttpVersion>) -> UpstreamProtocol {
        match *self {
            Self::Fixed(protocol) => protocol,
            Self::OfClient { http2, without_client } => match client.unwrap_or(without_client) {
                HttpVersion::Http1 => UpstreamProtocol::Http1,
                HttpVersion::Http2 => UpstreamProtocol::Http2(http2),
            },
        }
    }

    /// The options of HTTP/2, if all connections speak it.
    #[must_use]
    pub fn always_http2(&self) -> Option<&Http2Options> {
        match self {
            Self::Fixed(UpstreamProtocol::Http2(options)) => Some(options),
            Self::Fixed(UpstreamProtocol::Alpn(_) | UpstreamProtocol::Http1) | Self::OfClient { .. } => None,
        }
    }
}

/// Versions of HTTP that differ on the wire.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum HttpVersion {
    /// HTTP/1.1 and HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What connections to an endpoint speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2(Http2Options),
    /// `auto_config`: what ALPN agrees upon, HTTP/2 or HTTP/1.1.
    Alpn(Http2Options),
}

impl UpstreamProtocol {
    /// What ALPN offers.
    #[must_use]
    pub fn alpn(&self) -> HttpAlpn {
        match self {
            Self::Alpn(_) => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::Http2(_) => &[b"h2"],
        }
    }
}

/// Which of a cluster's limits and connections a request uses: Envoy's `RoutingPriority`.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// `DEFAULT`
    #[default]
    Default,
    /// `HIGH`
    High,
}

/// Something that there is once for each priority.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ByPriority<T> {
    /// Of [`Priority::Default`].
    pub default: T,
    /// Of [`Priority::High`].
    pub high: T,
}

impl Priority {
    /// As runtime keys and stats spell it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::High => "high",
        }
    }
}

impl<T> ByPriority<T> {
    /// Calls `make` for each priority.
    pub fn new(make: impl Fn(Priority) -> T) -> Self {
        Self { default: make(Priority::Default), high: make(Priority::High) }
    }

    /// The one of `priority`.
    #[must_use]
    pub fn of(&self, priority: Priority) -> &T {
        match priority {
            Priority::Default => &self.default,
            Priority::High => &self.high,
        }
    }

    /// The value of the default priority, then that of the high one.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.default, &self.high].into_iter()
    }
}

/// Circuit breakers of one priority, shared by all workers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// `max_connections`, of one cluster on all workers.
    pub connections_max: u32,
    /// Requests waiting for a connection.
    pub pending_max: u32,
    /// `max_connection_pools`: endpoints that have connections, each for every worker and origin; the default is no limit.
    pub pools_max: u32,
    /// Requests under way.
    pub requests_max: u32,
    /// Retries under way.
    pub retries_max: u32,
    /// Limits retries by the requests there are, in place of `retries_max`.
    pub retry_budget: Option<RetryBudget>,
    /// The `remaining_*` gauges are kept.
    pub track_remaining: bool,
    /// `per_host_thresholds`: connections to one endpoint; `None` is no limit.
    pub connections_per_endpoint_max: Option<u32>,
}

/// Retries as a share of requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryBudget {
    /// Of the requests under way and waiting, in hundredths of a percent.
    pub basis_points: u32,
    /// So many retries may be under way in any case.
    pub retries_min: u32,
    /// `budget_interval`: the share is of those that began so lately; `None` is of those under way.
    pub interval: Option<Duration>,
}

impl RetryBudget {
    /// What holds where a budget leaves a number out; Envoy's numbers.
    pub const DEFAULT: Self = Self { basis_points: 2000, retries_min: 3, interval: None };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            pending_max: 1024,
            pools_max: u32::MAX,
            requests_max: 1024,
            retries_max: 3,
            retry_budget: None,
            track_remaining: false,
            connections_per_endpoint_max: None,
        }
    }
}
