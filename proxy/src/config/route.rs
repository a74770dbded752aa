//! Virtual hosts, routes and what they do, typed.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{ClusterName, Priority};
use super::filter::Chains;
pub use super::retry::{RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy};
use super::rewrite::Redirect;

/// The routes of one connection manager.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// In the order of the file.
    pub virtual_hosts: Vec<VirtualHost>,
    /// `internal_only_headers`, in lower case: taken from requests that come from outside.
    pub internal_only_headers: Vec<String>,
}

/// Routes for a set of domains.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// For stats.
    pub name: String,
    /// Which `:authority` values it takes.
    pub domains: Vec<Domain>,
    /// The first that matches wins.
    pub routes: Vec<Route>,
    /// `require_tls`: which requests in clear text are redirected before any route is asked.
    pub require_tls: RequireTls,
}

/// Which requests in clear text are redirected to `https`. `x-forwarded-proto` says what came over TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RequireTls {
    /// None.
    #[default]
    None,
    /// Those that come from outside.
    ExternalOnly,
    /// All.
    All,
}

/// A domain pattern. Lower case; compared ignoring case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Domain {
    /// `*`
    Any,
    /// `example.com`
    Exact(String),
    /// `example.*`: holds `example.`
    Prefix(String),
    /// `*.example.com`: holds `.example.com`
    Suffix(String),
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// `%ROUTE_NAME%`
    pub name: String,
    /// Which requests.
    pub matches: PathMatch,
    /// The filter chains that they go through, where those of the connection manager are changed for them.
    pub filters: Option<Arc<Chains>>,
    /// What happens to them.
    pub action: Action,
}

/// The path part of a route match. Compared with the path without its query.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// Plain CONNECT requests, and nothing else.
    Connect,
    /// The whole path.
    Exact {
        /// The path.
        path: String,
        /// Compare letters exactly.
        case_sensitive: bool,
    },
    /// The beginning of the path.
    Prefix {
        /// The beginning.
        prefix: String,
        /// Compare letters exactly.
        case_sensitive: bool,
    },
    /// The whole path.
    Regex(regex::Regex),
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Answer without asking anyone.
    Direct {
        /// 200 to 599.
        status: u16,
        /// The body; may be empty.
        body: String,
    },
    /// Ask a cluster.
    Forward(Box<Forward>),
    /// Send the client elsewhere.
    Redirect(Box<Redirect>),
    /// Send the client to the same place over TLS: what `require_tls` does. No route of a file has this action.
    RedirectToTls,
}

/// How to ask a cluster.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Which.
    pub cluster: Destination,
    /// `cluster_not_found_response_code`: the status of the response while there is no such cluster. 404, 500 or 503.
    pub missing: u16,
    /// Whose limits the request counts against.
    pub priority: Priority,
    /// From the request's end to the response's end; `None` is no limit.
    pub timeout: Option<Duration>,
    /// Replaces the connection manager's stream flush timeout: `Some(None)` switches it off.
    pub flush_timeout: Option<Option<Duration>>,
    /// Replaces the connection manager's stream idle timeout: `Some(None)` switches it off.
    pub idle_timeout: Option<Option<Duration>>,
    /// Replaces the connection manager's longest stream: `Some(None)` switches it off.
    pub stream_duration_max: Option<Option<Duration>>,
    /// What the request header `grpc-timeout` does.
    pub grpc_timeout: GrpcTimeout,
    /// Overrides of the connection manager's upgrades.
    pub upgrades: Upgrades,
    /// When and how often to try again.
    pub retry: Option<Box<RetryPolicy>>,
    /// Who is told which try it is.
    pub attempt_count: AttemptCount,
}

/// What the request header `grpc-timeout` does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GrpcTimeout {
    /// Nothing: it is passed on as it came.
    #[default]
    Passed,
    /// `max_stream_duration` is there: upstreams of gRPC requests are told the longest time of their stream. With
    /// `grpc_timeout_header_max` the header is that time.
    Stream(Option<GrpcLimit>),
    /// `max_grpc_timeout`: it is the timeout of a gRPC request in place of the route's, and upstreams are told what holds.
    Whole(GrpcLimit),
}

/// How much of `grpc-timeout` is granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrpcLimit {
    /// No more than this; `None` is no limit.
    pub max: Option<Duration>,
    /// Taken off, so that the caller hears of it while it still waits.
    pub offset: Duration,
}

/// Which cluster a route asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// The one of this name. Without `validate_clusters` the configuration may lack it.
    Cluster(ClusterName),
    /// The one that the value of a request header names. The header's name is in lower case; `:authority`, `:method` and
    /// `:path` are headers here.
    Header(String),
}

/// Where `x-envoy-attempt-count` goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AttemptCount {
    /// `include_request_attempt_count`: into each try.
    pub in_request: bool,
    /// `include_attempt_count_in_response`: into the response.
    pub in_response: bool,
}

/// Upgrade types by name. Types are compared ignoring case and kept in lower case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upgrades(pub Vec<Upgrade>);

/// One upgrade type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upgrade {
    /// `websocket`, `connect`, ...
    pub protocol: String,
    /// Off entries are known; a route may switch them on.
    pub enabled: bool,
}

impl Upgrades {
    /// The entry for `protocol`.
    #[must_use]
    pub fn find(&self, protocol: &str) -> Option<&Upgrade> {
        self.0.iter().find(|upgrade| upgrade.protocol.eq_ignore_ascii_case(protocol))
    }
}
