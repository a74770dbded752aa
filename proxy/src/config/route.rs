//! Virtual hosts, routes and what they do, typed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::cluster::{ClusterName, Priority};
use super::filter::{Chains, Mutation};
pub use super::retry::{RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy};
use super::rewrite::{Redirect, Rewrites};
use super::string_match::StringMatch;

/// The routes of one connection manager.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// In the order of the file.
    pub virtual_hosts: Vec<VirtualHost>,
    /// `ignore_port_in_host_matching`
    pub ports: PortMatch,
    /// `internal_only_headers`, in lower case: taken from requests that come from outside.
    pub internal_only_headers: Vec<String>,
}

/// Whether the port of a host counts when its virtual host is looked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PortMatch {
    /// It is part of the host.
    #[default]
    Compared,
    /// It is left out, with whatever else stands behind the colon.
    Ignored,
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
    /// Which requests, by their path.
    pub matches: PathMatch,
    /// And what else has to hold for them: all of it.
    pub conditions: Vec<Condition>,
    /// The filter chains that they go through, where those of the connection manager are changed for them.
    pub filters: Option<Arc<Chains>>,
    /// What is changed in their heads, in the order in which it is applied. Levels that change nothing are not here.
    pub edits: Vec<Arc<HeaderEdits>>,
    /// What happens to them.
    pub action: Action,
}

/// What a route, or something above it, changes in heads.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// In requests that are forwarded.
    pub request: Edits,
    /// In responses, the proxy's own among them.
    pub response: Edits,
}

/// What is changed in a head.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// What is taken off. It goes first.
    pub remove: Vec<HeaderName>,
    /// What is set.
    pub add: Vec<Mutation<HeaderName>>,
}

impl HeaderEdits {
    /// Does it change nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.request, &self.response].iter().all(|edits| edits.remove.is_empty() && edits.add.is_empty())
    }
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
    /// The whole path, or its beginning up to a slash.
    SeparatedPrefix {
        /// The path, which ends in no slash.
        prefix: String,
        /// Compare letters exactly.
        case_sensitive: bool,
    },
}

/// What a request must be like besides its path.
#[derive(Clone, Debug)]
pub enum Condition {
    /// `grpc`: a gRPC request.
    Grpc,
    /// One of `headers`.
    Header(HeaderMatch),
    /// One of `query_parameters`.
    Query(QueryMatch),
    /// `runtime_fraction`: the request is among so many.
    Fraction(Fraction),
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`: a share of the requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fraction {
    /// So many of a million, while the key has no value. More than a million is all.
    pub millionths: u32,
    /// `runtime_key`
    pub key: Option<String>,
}

/// `envoy.config.route.v3.HeaderMatcher`. `:authority`, `:method`, `:path` and `:scheme` are headers here.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// In lower case.
    pub name: String,
    /// What one of its values must be.
    pub value: HeaderTest,
    /// `invert_match`: it must not.
    pub sense: Sense,
    /// `treat_missing_header_as_empty`, or not: then a test of a value fails, inverted or not, where there is none.
    pub missing: Missing,
}

/// What a [`HeaderMatch`] asks of a header.
#[derive(Clone, Debug)]
pub enum HeaderTest {
    /// `present_match: false`
    Absent,
    /// `present_match`, or nothing.
    Present,
    /// `range_match`: a decimal number in this range.
    Range(Range<i64>),
    /// `string_match` and its older forms.
    Text(StringMatch),
}

/// Whether a test must succeed or fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sense {
    /// It must succeed.
    Direct,
    /// It must fail.
    Inverted,
}

/// What a header is that is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// Not there.
    Absent,
    /// There, and empty.
    Empty,
}

/// `envoy.config.route.v3.QueryParameterMatcher`. Of several parameters of the name the first counts; escapes stay as they are.
#[derive(Clone, Debug)]
pub struct QueryMatch {
    /// Compared byte for byte.
    pub name: String,
    /// What it must be.
    pub value: QueryTest,
}

/// What a [`QueryMatch`] asks of a parameter.
#[derive(Clone, Debug)]
pub enum QueryTest {
    /// `present_match: false`
    Absent,
    /// `present_match`, or nothing.
    Present,
    /// `string_match`
    Text(StringMatch),
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
    /// What is changed in the target of a request; `None` is nothing.
    pub rewrites: Option<Box<Rewrites>>,
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
#[derive(Clone, Debug)]
pub enum Destination {
    /// Always the same one.
    One(NamedCluster),
    /// `weighted_clusters`: one of several.
    Weighted(Box<WeightedClusters>),
}

/// Several clusters of which each gets a share of the requests.
#[derive(Clone, Debug)]
pub struct WeightedClusters {
    /// In the order of the file. Their weights, without runtime keys, add up to a number from 1 to 2^32-1, or to 0 if there are
    /// runtime keys.
    pub clusters: Vec<WeightedCluster>,
    /// `header_name`, in lower case: a number in this request header takes the place of chance.
    pub chosen_by: Option<String>,
}

/// One of [`WeightedClusters`].
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// Which.
    pub cluster: NamedCluster,
    /// Its share, of the sum of all weights.
    pub weight: u32,
    /// The runtime key whose value replaces the weight.
    pub key: Option<String>,
    /// `host_rewrite_literal`: the host of its requests, unless the route rewrites that.
    pub host: Option<HeaderValue>,
    /// In place of the route's: what is changed in heads, in the order in which it is applied.
    pub edits: Vec<Arc<HeaderEdits>>,
    /// In place of the route's filter chains.
    pub filters: Option<Arc<Chains>>,
}

/// How a route names a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamedCluster {
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
