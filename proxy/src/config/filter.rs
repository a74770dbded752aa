//! HTTP filter chains, typed.
//!
//! A chain is what stands between a request and its route's cluster. The router is always its last filter, so a chain is
//! its other filters and the router's options.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::basic_auth::BasicAuth;
use super::compression::{Coding, Compressor, CompressorName, Decompressor};
use super::cors::Cors;
use super::dns_cache::ForwardProxy;
pub use super::ext_authz::ExtAuthz;
use super::fault::Fault;
use super::filter_state::StateEntry;
use super::fraction::Fraction;
use super::global_rate_limit::GloballyLimited;
use super::header_to_metadata::HeaderToMetadata;
use super::judge::Judge;
pub use super::jwt_authn::JwtAuthn;
use super::lua::Lua;
use super::metadata::Struct;
pub use super::mutation::{AppendAction, Mutation};
use super::rate_limit::{Policy, RateLimit};
use super::route::HeaderMatch;
use super::string_match::StringMatch;

/// The filter chains of one connection manager.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    /// `http_filters`
    pub default: Chain,
    /// `upgrade_configs[].filters`, with the upgrade type in lower case. Types without filters of their own are not here.
    pub upgrades: Vec<(String, Chain)>,
}

impl Chains {
    /// The chain of requests for an upgrade to `protocol`; `None` is a request for none.
    #[must_use]
    pub fn of(&self, protocol: Option<&str>) -> &Chain {
        let own = |protocol: &str| self.upgrades.iter().find(|(of, _)| of.eq_ignore_ascii_case(protocol));
        protocol.and_then(own).map_or(&self.default, |(_, chain)| chain)
    }
}

/// An HTTP filter chain.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Those before the router that act, in the order of the file.
    pub filters: Vec<Filter>,
    /// Options of the filter at its end.
    pub router: RouterOptions,
}

/// A filter before the router.
#[derive(Clone, Debug)]
pub enum Filter {
    /// `envoy.filters.http.basic_auth`
    BasicAuth(Arc<BasicAuth>),
    /// `envoy.filters.http.buffer`
    Buffer(Buffer),
    /// `envoy.filters.http.compressor`
    Compressor(Arc<Compressor>),
    /// `envoy.filters.http.cors`
    Cors(Arc<Cors>),
    /// `envoy.filters.http.csrf`
    Csrf(Arc<Csrf>),
    /// `envoy.filters.http.decompressor`
    Decompressor(Arc<Decompressor>),
    /// `envoy.filters.http.ext_authz`
    ExtAuthz(Arc<ExtAuthz>),
    /// `envoy.filters.http.fault`
    Fault(Arc<Fault>),
    /// `envoy.filters.http.dynamic_forward_proxy`
    ForwardProxy(Arc<ForwardProxy>),
    /// `envoy.filters.http.ratelimit`
    GlobalRateLimit(GloballyLimited),
    /// `envoy.filters.http.grpc_stats`
    GrpcStats(Arc<CountedCalls>),
    /// `envoy.filters.http.grpc_web`
    GrpcWeb,
    /// `envoy.filters.http.header_mutation`
    HeaderMutation(HeaderMutation),
    /// `envoy.filters.http.header_to_metadata`
    HeaderToMetadata(Arc<HeaderToMetadata>),
    /// `envoy.filters.http.health_check`
    HealthCheck(Arc<HealthCheck>),
    /// `envoy.filters.http.jwt_authn`
    JwtAuthn(Arc<JwtAuthn>),
    /// `envoy.filters.http.lua`
    Lua(Arc<Lua>),
    /// `envoy.filters.http.local_ratelimit`
    RateLimit(RateLimited),
    /// `envoy.filters.http.rbac`
    Rbac(Arc<Rbac>),
    /// `envoy.filters.http.set_filter_state`
    SetFilterState(SetFilterState),
    /// `envoy.filters.http.set_metadata`
    SetMetadata(SetMetadata),
}

/// A filter with stats of its own for the whole connection manager.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `envoy.filters.http.basic_auth`
    BasicAuth,
    /// `envoy.filters.http.compressor`
    Compressor(CompressorName),
    /// `envoy.filters.http.cors`
    Cors,
    /// `envoy.filters.http.csrf`
    Csrf,
    /// `envoy.filters.http.decompressor`, with the name of its library
    Decompressor(String, Coding),
    /// `envoy.filters.http.ext_authz`, with its `stat_prefix`
    ExtAuthz(String),
    /// `envoy.filters.http.fault`
    Fault,
    /// `envoy.filters.http.health_check`
    HealthCheck,
    /// `envoy.filters.http.jwt_authn`, with its `stat_prefix`
    JwtAuthn(String),
    /// `envoy.filters.http.lua`, with its `stat_prefix`
    Lua(String),
    /// `envoy.filters.http.rbac`
    Rbac(RbacPrefixes),
    /// `envoy.filters.http.set_metadata`
    SetMetadata,
}

/// `envoy.filters.http.health_check`: which requests ask for the health of this proxy, and who responds.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Where it stands in the file: one place keeps one response.
    pub place: String,
    /// A request that has all of these is a health check.
    pub headers: Vec<HeaderMatch>,
    /// Who responds.
    pub responder: HealthResponder,
}

/// `pass_through_mode`
#[derive(Clone, Debug, PartialEq)]
pub enum HealthResponder {
    /// The proxy, as its own health says and that of these clusters.
    Proxy {
        /// `cluster_min_healthy_percentages`: by name, how many percent of the endpoints have to be healthy.
        clusters: Vec<(String, f64)>,
    },
    /// The upstream, while the proxy itself is healthy.
    Upstream {
        /// `cache_time`: for so long its last status is the response.
        cache_time: Option<Duration>,
    },
}

/// `envoy.filters.http.rbac`: rules by which requests are let through.
#[derive(Clone, Debug)]
pub struct Rbac {
    /// None lets everything through.
    pub rules: Option<Judge>,
    /// These only count.
    pub shadow_rules: Option<Judge>,
    /// What stands in front of the names of what they count and leave for logs.
    pub prefixes: RbacPrefixes,
    /// Those of the filter, where a route has rules of its own: it counts.
    pub of_filter: RbacPrefixes,
    /// `track_per_rule_stats`: the policies that decide have stats of their own.
    pub counts_policies: bool,
}

/// `rules_stat_prefix` and `shadow_rules_stat_prefix`
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct RbacPrefixes {
    /// Of the rules.
    pub rules: String,
    /// Of the shadow rules.
    pub shadow_rules: String,
}

/// `envoy.filters.http.local_ratelimit` on a route.
#[derive(Clone, Debug)]
pub struct RateLimited {
    /// The limit.
    pub limit: Arc<RateLimit>,
    /// What requests are told apart by.
    pub policies: Arc<[Policy]>,
}

/// `envoy.filters.http.csrf`: from which pages requests may come that change something.
#[derive(Clone, Debug)]
pub struct Csrf {
    /// `filter_enabled`: of how many requests the policy is enforced.
    pub enforced: Fraction,
    /// `shadow_enabled`: of how many of the others it is counted what the policy would do.
    pub counted: Fraction,
    /// Hosts, with their ports, whose pages may besides those of the host that is asked.
    pub additional_origins: Vec<StringMatch>,
}

/// What is kept of gRPC calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CountedCalls {
    /// What they are counted under.
    pub methods: CountedMethods,
    /// `emit_filter_state`: how many messages a stream had is left as filter state.
    pub leaves_state: bool,
    /// `enable_upstream_stats`: how long a call took is recorded.
    pub is_timed: bool,
}

/// Which gRPC methods have stats of their own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CountedMethods {
    /// All that a path can name, in this spelling. A call whose path names none is not counted.
    All(ServiceNames),
    /// Those listed, as `<service>.<method>`. All others are counted together.
    Listed(BTreeSet<String>),
}

/// How a service is named in stats.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceNames {
    /// As the path has it.
    AsWritten,
    /// `replace_dots_in_grpc_service_name`: with `_` for each dot.
    WithoutDots,
}

/// Holds a request until it is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Buffer {
    /// `max_request_bytes`: a request with a larger body is refused.
    pub request_bytes_max: NonZeroU32,
}

/// `envoy.filters.http.header_mutation`.
#[derive(Clone, Debug)]
pub struct HeaderMutation {
    /// The filter's own mutations and those of the route and of what is above it, in the order in which they are applied.
    pub levels: Vec<Arc<Mutations>>,
}

/// The mutations of one level.
#[derive(Clone, Debug, Default)]
pub struct Mutations {
    /// Of the request's query string. They come before those of the request's headers.
    pub query: Vec<Mutation<String>>,
    /// Of the request's headers.
    pub request: Vec<Mutation<HeaderName>>,
    /// Of the response's headers.
    pub response: Vec<Mutation<HeaderName>>,
}

/// `envoy.filters.http.set_filter_state`
#[derive(Clone, Debug)]
pub struct SetFilterState {
    /// The filter's own entries, then those of what is above the route, and of the route.
    pub levels: Vec<Arc<[StateEntry]>>,
    /// `clear_route_cache`: the route is looked for again behind it.
    pub clears_route: bool,
}

impl SetFilterState {
    /// The filter where these levels have entries of their own.
    pub(super) fn below<'l>(&self, of_levels: impl Iterator<Item = &'l Arc<[StateEntry]>>) -> Self {
        let levels = self.levels.iter().cloned().chain(of_levels.cloned()).collect();
        Self { levels, clears_route: self.clears_route }
    }
}

/// `envoy.filters.http.set_metadata`
#[derive(Clone, Debug)]
pub struct SetMetadata {
    /// The filter's own entries.
    pub own: Arc<[MetadataEntry]>,
    /// Those that the route, or what is above it, adds behind them.
    pub of_route: Option<Arc<[MetadataEntry]>>,
}

/// A fixed value of a namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct MetadataEntry {
    /// Whose value is set.
    pub namespace: String,
    /// The value.
    pub value: Struct,
    /// What happens where the namespace has one already.
    pub overwriting: Overwriting,
}

/// `allow_overwrite`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overwriting {
    /// What is there stays, and the entry is counted.
    Denied,
    /// Both are merged.
    Merged,
}

/// Options of the router filter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouterOptions {
    /// `dynamic_stats`: responses count by their status.
    pub has_code_stats: bool,
    /// `respect_expected_rq_timeout`: the time that a caller expects is the request's timeout.
    pub respect_expected_timeout: bool,
    /// `strict_check_headers`: a request in which one of these is malformed is refused; else it is ignored.
    pub strict: Vec<StrictHeader>,
    /// `suppress_grpc_request_failure_code_stats`: responses to gRPC requests do not count by their status.
    pub suppress_grpc_codes: bool,
    /// Add no x-envoy headers.
    pub suppress_envoy_headers: bool,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            has_code_stats: true,
            respect_expected_timeout: false,
            strict: Vec::new(),
            suppress_grpc_codes: false,
            suppress_envoy_headers: false,
        }
    }
}

/// A header whose value can be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StrictHeader {
    /// `x-envoy-max-retries`
    MaxRetries,
    /// `x-envoy-upstream-rq-per-try-timeout-ms`
    PerTryTimeout,
    /// `x-envoy-retry-grpc-on`
    RetryGrpcOn,
    /// `x-envoy-retry-on`
    RetryOn,
    /// `x-envoy-upstream-rq-timeout-ms`
    Timeout,
}

impl StrictHeader {
    /// Every kind of header, in the order of names.
    pub const ALL: [Self; 5] = [Self::MaxRetries, Self::PerTryTimeout, Self::RetryGrpcOn, Self::RetryOn, Self::Timeout];

    /// The header's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxRetries => "x-envoy-max-retries",
            Self::PerTryTimeout => "x-envoy-upstream-rq-per-try-timeout-ms",
            Self::RetryGrpcOn => "x-envoy-retry-grpc-on",
            Self::RetryOn => "x-envoy-retry-on",
            Self::Timeout => "x-envoy-upstream-rq-timeout-ms",
        }
    }
}
