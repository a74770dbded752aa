//! Virtual hosts, routes and what they do, typed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::address::ProxyVersion;
use super::cluster::{ClusterName, Priority};
use super::filter::{Chains, Mutation};
pub use super::fraction::Fraction;
use super::hashing::HashPolicy;
use super::lookup::{DomainIndex, PathIndex};
pub use super::matching::{
    CertificateMatch, Condition, CookieMatch, Domain, HeaderMatch, HeaderTest, Missing, PathMatch, QueryMatch,
    QueryTest, Sense,
};
use super::metadata::Metadata;
pub use super::mutation::{Edits, HeaderEdits};
use super::rate_limit::RateLimit;
use super::redirects::InternalRedirects;
pub use super::retry::{RateLimitedBackOff, ResetFormat, RetryOn, RetryPolicy};
use super::rewrite::{Redirect, Rewrites};
use super::subsets::MetadataMatch;
use super::tracing::RouteTracing;

/// The routes of one connection manager.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// In the order of the file.
    pub virtual_hosts: HostList,
    /// `ignore_port_in_host_matching`
    pub ports: PortMatch,
    /// `ignore_path_parameters_in_path_matching`
    pub parameters: ParameterMatch,
    /// The prefixes of stats that virtual clusters and routes have, which refer to them by their number.
    pub stat_prefixes: Vec<String>,
    /// The limits of requests that routes, and what is above them, have.
    pub rate_limits: Vec<Arc<RateLimit>>,
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

/// Whether path parameters count when a route is looked for: what stands between a semicolon and the end of its segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ParameterMatch {
    /// They are part of the path.
    #[default]
    Compared,
    /// They are left out.
    Ignored,
}

/// Routes for a set of domains.
#[derive(Clone, Debug)]
pub struct VirtualHost {
    /// The name of the virtual host in stats and logs.
    pub name: String,
    /// Which `:authority` values it takes.
    pub domains: Vec<Domain>,
    /// The first that matches wins.
    pub routes: RouteList,
    /// `virtual_clusters`: the first that takes a request counts it.
    pub virtual_clusters: Vec<VirtualCluster>,
    /// `require_tls`: which requests in clear text are redirected before any route is tried.
    pub require_tls: RequireTls,
}

/// The virtual hosts of a route table, in the order of the file.
#[derive(Clone, Default)]
pub struct HostList {
    hosts: Vec<VirtualHost>,
    index: DomainIndex,
}

impl From<Vec<VirtualHost>> for HostList {
    fn from(hosts: Vec<VirtualHost>) -> Self {
        let domains = hosts.iter().enumerate();
        let domains = domains.flat_map(|(nth, host)| host.domains.iter().map(move |domain| (nth, domain)));
        Self { index: DomainIndex::new(domains), hosts }
    }
}

impl HostList {
    /// The most specific virtual host for `authority`.
    #[must_use]
    pub fn find(&self, authority: &[u8]) -> Option<&VirtualHost> {
        self.hosts.get(self.index.find(authority)?)
    }
}

/// The routes of a virtual host, in the order of the file.
#[derive(Clone, Default)]
pub struct RouteList {
    routes: Vec<Route>,
    index: PathIndex,
}

impl From<Vec<Route>> for RouteList {
    fn from(routes: Vec<Route>) -> Self {
        Self { index: PathIndex::new(routes.iter().map(|route| &route.matches)), routes }
    }
}

impl RouteList {
    /// The routes that may take a request with this path, in the order of the file: all that do are among them.
    pub fn candidates<'l>(&'l self, path: &[u8]) -> impl Iterator<Item = &'l Route> + use<'l> {
        self.index.candidates(path).map_while(|nth| self.routes.get(nth))
    }
}

/// A part of the requests to a virtual host that has stats of its own.
#[derive(Clone, Debug)]
pub struct VirtualCluster {
    /// What logs call it.
    pub name: Arc<str>,
    /// All of them must hold.
    pub headers: Vec<HeaderMatch>,
    /// Which of the table's prefixes its stats have.
    pub stats: usize,
}

/// Which requests in clear text are redirected to `https`. `x-forwarded-proto` says what came over TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RequireTls {
    /// `NONE`: no request is redirected.
    #[default]
    None,
    /// Those that come from outside.
    ExternalOnly,
    /// `ALL`: every request in clear text is redirected.
    All,
}

/// A route of a virtual host; the first that matches is taken.
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
    /// `stat_prefix`: which of the table's prefixes its stats have.
    pub stats: Option<usize>,
    /// `metadata`, for logs.
    pub metadata: Option<Arc<Metadata>>,
    /// `tracing` and `decorator`
    pub tracing: Option<Arc<RouteTracing>>,
    /// What happens to them.
    pub action: Action,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Respond without an upstream.
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
    /// The cluster, by name or by header.
    pub cluster: Destination,
    /// `cluster_not_found_response_code`: the status of the response while there is no such cluster. 404, 500 or 503.
    pub missing: u16,
    /// What of a request chooses its endpoint, where the cluster's load balancer reads hashes.
    pub hash_policies: Vec<HashPolicy>,
    /// `metadata_match`: what the endpoint of the request has to have, where the cluster has subsets.
    pub metadata_match: Option<MetadataMatch>,
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
    /// `hedge_on_per_try_timeout`: a try whose time is over goes on beside the next one.
    pub hedges: bool,
    /// Who learns the number of the attempt.
    pub attempt_count: AttemptCount,
    /// `include_is_timeout_retry_header`: retries say whether they follow a timeout.
    pub adds_timeout_header: bool,
    /// How much of a body is kept for another try; `None` is as much as the listener's connections may buffer.
    pub kept_body: Option<KeptBody>,
    /// Which redirects of the upstream are followed here; `None` is none.
    pub redirects: Option<Box<InternalRedirects>>,
    /// What is changed in the target of a request; `None` is nothing.
    pub rewrites: Option<Box<Rewrites>>,
    /// `request_mirror_policies`: who gets copies of requests.
    pub mirrors: Vec<Mirror>,
}

impl Forward {
    /// To this cluster, with this time, and nothing else.
    #[must_use]
    pub fn to(cluster: NamedCluster, timeout: Option<Duration>) -> Self {
        Self {
            cluster: Destination::One(cluster),
            missing: 503,
            hash_policies: Vec::new(),
            metadata_match: None,
            priority: Priority::Default,
            timeout,
            flush_timeout: None,
            idle_timeout: None,
            stream_duration_max: None,
            grpc_timeout: GrpcTimeout::Passed,
            upgrades: Upgrades::default(),
            retry: None,
            hedges: false,
            attempt_count: AttemptCount::default(),
            adds_timeout_header: false,
            kept_body: None,
            redirects: None,
            rewrites: None,
            mirrors: Vec::new(),
        }
    }
}

/// A cluster that gets copies of requests, and whose responses are dropped.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The cluster, by name or by header.
    pub cluster: NamedCluster,
    /// Which share of the requests; `None` is all.
    pub share: Option<Fraction>,
    /// The host of a copy.
    pub host: MirrorHost,
    /// `request_headers_mutations`: what is changed in a copy's headers.
    pub edits: Vec<Mutation<HeaderName>>,
}

/// The host of a copy of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MirrorHost {
    /// `host_rewrite_literal`: this one.
    Literal(HeaderValue),
    /// `disable_shadow_host_suffix_append`: that of the request.
    Same,
    /// That of the request, with `-shadow` before its port.
    Shadow,
}

/// How much of a body is kept for another try. Bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeptBody {
    /// `per_request_buffer_limit_bytes`: no more than this.
    AtMost(usize),
    /// `request_body_buffer_limit`: this, also if connections may buffer less.
    UpTo(usize),
}

/// What the request header `grpc-timeout` does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum GrpcTimeout {
    /// Nothing: it is passed on as it came.
    #[default]
    Passed,
    /// `max_stream_duration` is there: upstreams of gRPC requests learn the longest time of their stream. With
    /// `grpc_timeout_header_max` the header is that time.
    Stream(Option<GrpcLimit>),
    /// `max_grpc_timeout`: it is the timeout of a gRPC request in place of the route's, and upstreams learn what holds.
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
    /// The cluster, by name or by header.
    pub cluster: NamedCluster,
    /// Its share, of the sum of all weights.
    pub weight: u32,
    /// The runtime key whose value replaces the weight.
    pub key: Option<String>,
    /// `metadata_match`, joined with that of the route.
    pub metadata_match: Option<MetadataMatch>,
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
    /// Of a route's entry for CONNECT: tunnels end here. `None` passes CONNECT on.
    pub termination: Option<Termination>,
}

/// `connect_config`: the payload of a tunnel goes to an endpoint without HTTP around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Termination {
    /// A POST is such a tunnel too.
    pub allow_post: bool,
    /// What is sent before the payload tells the client's address.
    pub proxy: Option<ProxyVersion>,
}

impl Upgrades {
    /// How a tunnel that is requested by `method` ends here; `None` if it is passed on, or is none.
    #[must_use]
    pub fn termination(&self, method: &Method) -> Option<&Termination> {
        let termination = self.0.iter().find_map(|upgrade| upgrade.termination.as_ref())?;
        let is_tunnel = *method == Method::CONNECT || (termination.allow_post && *method == Method::POST);
        is_tunnel.then_some(termination)
    }

    /// The entry for `protocol`.
    #[must_use]
    pub fn find(&self, protocol: &str) -> Option<&Upgrade> {
        self.0.iter().find(|upgrade| upgrade.protocol.eq_ignore_ascii_case(protocol))
    }
}

impl Deref for HostList {
    type Target = Vec<VirtualHost>;

    fn deref(&self) -> &Self::Target {
        &self.hosts
    }
}

impl Deref for RouteList {
    type Target = Vec<Route>;

    fn deref(&self) -> &Self::Target {
        &self.routes
    }
}

impl<'l> IntoIterator for &'l HostList {
    type Item = &'l VirtualHost;
    type IntoIter = std::slice::Iter<'l, VirtualHost>;

    fn into_iter(self) -> Self::IntoIter {
        self.hosts.iter()
    }
}

impl<'l> IntoIterator for &'l RouteList {
    type Item = &'l Route;
    type IntoIter = std::slice::Iter<'l, Route>;

    fn into_iter(self) -> Self::IntoIter {
        self.routes.iter()
    }
}

// Tables say nothing that the lists do not say.
impl fmt::Debug for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hosts.fmt(f)
    }
}

impl fmt::Debug for RouteList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.routes.fmt(f)
    }
}
