//! What HTTP filter chains mean, and what a route makes of them.
//!
//! A chain is resolved for each route while the file is read: what is switched off is not in it, and what the route, its
//! virtual host and the route configuration say of a filter is in the filter's options.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::filter_options::Options;
use super::filter_override::{Override, OverrideOptions, overridden};
use super::lua::LuaTemplate;
use super::rate_limit_policy::{OfLevel, below_bucket};
use super::{basic_auth, compression, cors, ext_authz, forward_proxy, global_rate_limit, jwt_authn, lua, rbac};
use crate::config::bootstrap::filter::{CorsPolicy, HttpFilter, HttpFilterConfig, Router, TypedPerFilterConfig};
use crate::config::bootstrap::route::UpgradeConfig;
use crate::config::cors::Cors;
use crate::config::error::{Name, Place};
use crate::config::filter::{
    Chain, Chains, Filter, HeaderMutation, Kind, Mutations, RateLimited, RouterOptions, SetMetadata, StrictHeader,
};
use crate::config::global_rate_limit::{GlobalRateLimit, GloballyLimited};
use crate::config::lua::Lua;
use crate::config::metadata::Metadata;
use crate::config::problem::{Problem, unknown};
use crate::config::rate_limit::RateLimit;
use crate::config::yaml::{At, Notes};

/// The chains of a connection manager, before a route has its say.
pub(super) struct Template {
    default: ChainTemplate,
    upgrades: Vec<(String, ChainTemplate)>,
    /// The limits of requests that routes, and levels above them, have so far.
    limits_of_routes: RefCell<Vec<Arc<RateLimit>>>,
}

struct ChainTemplate {
    filters: Vec<FilterTemplate>,
    router: RouterOptions,
}

/// A filter before the router.
struct FilterTemplate {
    name: String,
    /// Off, unless a route switches it on.
    disabled: bool,
    options: Options,
}

/// What one level (route configuration, virtual host or route) says of filters.
#[derive(Default)]
pub(super) struct Level {
    /// `typed_per_filter_config`, by the names of filters.
    overrides: BTreeMap<String, Override>,
    /// `cors`, the deprecated field.
    cors: Option<Arc<cors::Policy>>,
    /// `rate_limits`
    pub(super) limits: Option<OfLevel>,
    /// `metadata` of a route
    pub(super) metadata: Option<Metadata>,
}

/// What becomes of the requests that a chain is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forwarding {
    /// They are forwarded.
    Forwarded,
    /// They meet no route, or one that responds by itself.
    NotForwarded,
}

impl Template {
    /// The chains of the connection manager at `place`.
    pub(super) fn new(
        filters: &[At<HttpFilter>],
        upgrades: &[At<UpgradeConfig>],
        place: &Place,
        notes: &Notes,
    ) -> Result<Self, Problem> {
        let default = chain(filters, place, "http", notes)?;
        let mut own = Vec::new();
        for upgrade in upgrades {
            // An empty list means the same as none: the connection manager's own filters.
            let Some(filters) = upgrade.value.filters.as_ref().filter(|filters| !filters.value.is_empty()) else {
                continue;
            };
            let chain = chain(&filters.value, &filters.place, "http upgrade", notes)?;
            own.push((upgrade.value.upgrade_type.value.to_ascii_lowercase(), chain));
        }
        Ok(Self { default, upgrades: own, limits_of_routes: RefCell::default() })
    }

    /// The chains where `levels` say something of them, the most specific last.
    pub(super) fn resolve(&self, levels: &[&Level], forwarding: Forwarding) -> Chains {
        let own = self.upgrades.iter().map(|(protocol, chain)| (protocol.clone(), chain.resolve(levels, forwarding)));
        Chains { default: self.default.resolve(levels, forwarding), upgrades: own.collect() }
    }

    /// The filters with stats of their own that one of the chains has.
    pub(super) fn counted(&self) -> BTreeSet<Kind> {
        self.filters().filter_map(|filter| filter.options.counted()).collect()
    }

    /// The limits of requests that one of the chains has.
    pub(super) fn rate_limits(&self) -> Vec<Arc<RateLimit>> {
        let limit = |filter: &FilterTemplate| {
            if let Options::RateLimit(limit) = &filter.options { Some(Arc::clone(limit)) } else { None }
        };
        self.filters().filter_map(limit).collect()
    }

    /// Does a filter read the metadata of routes?
    pub(super) fn reads_metadata(&self) -> bool {
        self.filters().any(|filter| matches!(filter.options, Options::Lua(_)))
    }

    /// Does a limit tell requests apart by what routes say?
    pub(super) fn tells_apart(&self) -> bool {
        self.filters().any(|filter| matches!(filter.options, Options::RateLimit(_) | Options::GlobalRateLimit(_)))
    }

    /// The limits of requests that routes, and levels above them, have.
    pub(super) fn take_limits_of_routes(&self) -> Vec<Arc<RateLimit>> {
        self.limits_of_routes.take()
    }

    /// The filters before the router, of all chains.
    fn filters(&self) -> impl Iterator<Item = &FilterTemplate> {
        let all = [&self.default].into_iter().chain(self.upgrades.iter().map(|(_, chain)| chain));
        all.flat_map(|chain| &chain.filters)
    }

    /// What a level says of the filters, in its `typed_per_filter_config` and its `cors`.
    pub(super) fn level(
        &self,
        written: &TypedPerFilterConfig,
        cors: Option<&CorsPolicy>,
        notes: &Notes,
    ) -> Result<Level, Problem> {
        let cors = cors.map(|policy| cors::Policy::new(policy, notes)).transpose()?.map(Arc::new);
        let mut level = Level { overrides: BTreeMap::new(), cors, limits: None, metadata: None };
        for (name, config) in written {
            let said = overridden(config, name, notes)?;
            let mut named = self.filters().filter(|filter| filter.name == *name).peekable();
            if named.peek().is_none() {
                notes.note(&config.place, format!("has no effect: no HTTP filter before the router is named {name}"));
            }
            if let Some(options) = &said.options
                && let Some(other) = named.find(|filter| !filter.options.is_configured_by(options))
            {
                let what =
                    format!("filter {name} is of type {}, and this configures another type", other.options.kind());
                return Err(config.invalid(what));
            }
            if let Some(OverrideOptions::JwtAuthn(jwt_authn::OfRoute::Named(requirement))) = &said.options {
                let lacks = |filter: &FilterTemplate| {
                    let Options::JwtAuthn(options) = &filter.options else { return false };
                    filter.name == *name && !options.named.contains_key(requirement)
                };
                if self.filters().any(lacks) {
                    return Err(config.invalid(format!("requirement_map of filter {name} has no {requirement}")));
                }
            }
            if let Some(named) = said.options.as_ref().and_then(OverrideOptions::lua).and_then(lua::OfRoute::named) {
                let lacks = |filter: &FilterTemplate| {
                    let Options::Lua(options) = &filter.options else { return false };
                    filter.name == *name && !options.named.contains_key(named)
                };
                if self.filters().any(lacks) {
                    notes.note(&config.place, format!("runs nothing: source_codes of filter {name} has no {named}"));
                }
            }
            if let Some(OverrideOptions::RateLimit(limit)) = &said.options {
                self.limits_of_routes.borrow_mut().push(Arc::clone(limit));
            }
            level.overrides.insert(name.clone(), said);
        }
        Ok(level)
    }
}

impl Level {
    /// Does it leave every filter as it is?
    pub(super) fn is_empty(&self) -> bool {
        self.overrides.is_empty() && self.cors.is_none() && self.limits.is_none() && self.metadata.is_none()
    }
}

impl ChainTemplate {
    fn resolve(&self, levels: &[&Level], forwarding: Forwarding) -> Chain {
        let filters = self.filters.iter().filter_map(|filter| filter.resolve(levels, forwarding)).collect();
        Chain { filters, router: self.router.clone() }
    }
}

impl FilterTemplate {
    /// The filter under these levels, unless it is off or has nothing to do.
    fn resolve(&self, levels: &[&Level], forwarding: Forwarding) -> Option<Filter> {
        let said: Vec<&Override> = levels.iter().filter_map(|level| level.overrides.get(&self.name)).collect();
        // The most specific level that names the filter says whether it is on, even where it has no options for it.
        if said.last().map_or(self.disabled, |said| said.disabled) {
            return None;
        }
        let options = || said.iter().filter_map(|said| said.options.as_ref());
        Some(match &self.options {
            Options::BasicAuth(own) => {
                Filter::BasicAuth(basic_auth::below(own, options().rev().find_map(OverrideOptions::users)))
            }
            Options::Buffer(own) => {
                return options().rev().find_map(OverrideOptions::buffer).unwrap_or(Some(*own)).map(Filter::Buffer);
            }
            Options::Compressor(own) => {
                Filter::Compressor(compression::below(own, options().rev().find_map(OverrideOptions::compressor)))
            }
            // Envoy has no policy for a response of the route's own.
            Options::Cors if forwarding == Forwarding::NotForwarded => return None,
            Options::Cors => return cors_below(&said, levels).map(Filter::Cors),
            Options::Csrf(own) => Filter::Csrf(most_specific(&said, OverrideOptions::csrf, own)),
            Options::Decompressor(options) => Filter::Decompressor(Arc::clone(options)),
            Options::ExtAuthz(own) => {
                return ext_authz::below(own, options().filter_map(OverrideOptions::ext_authz)).map(Filter::ExtAuthz);
            }
            Options::Fault(own) => Filter::Fault(most_specific(&said, OverrideOptions::fault, own)),
            Options::ForwardProxy(own) => {
                Filter::ForwardProxy(forward_proxy::below(own, options().rev().find_map(OverrideOptions::host_rewrite)))
            }
            Options::GlobalRateLimit(own) => Filter::GlobalRateLimit(globally_limited(&said, own, levels)),
            Options::GrpcStats(methods) => Filter::GrpcStats(Arc::clone(methods)),
            Options::GrpcWeb => Filter::GrpcWeb,
            Options::HeaderMutation { mutations, most_specific_wins } => {
                let of_levels = options().filter_map(OverrideOptions::mutations).cloned().collect();
                Filter::HeaderMutation(mutated(mutations, of_levels, *most_specific_wins))
            }
            Options::HealthCheck(options) => Filter::HealthCheck(Arc::clone(options)),
            Options::JwtAuthn(own) => {
                let of_route = options().rev().find_map(OverrideOptions::jwt_authn);
                return jwt_authn::below(own, of_route).map(Filter::JwtAuthn);
            }
            Options::Lua(own) => return scripted(&said, own, levels).map(Filter::Lua),
            Options::RateLimit(own) => Filter::RateLimit(rate_limited(&said, own, levels)),
            Options::Rbac(own) => match options().rev().find_map(OverrideOptions::rbac) {
                None => Filter::Rbac(Arc::clone(own)),
                Some(of_route) => Filter::Rbac(Arc::new(rbac::below(own, of_route.as_ref()?))),
            },
            Options::SetFilterState(own) => {
                Filter::SetFilterState(own.below(options().filter_map(OverrideOptions::state)))
            }
            Options::HeaderToMetadata(own) => {
                Filter::HeaderToMetadata(most_specific(&said, OverrideOptions::header_to_metadata, own))
            }
            Options::SetMetadata(own) => {
                // The most specific level alone counts.
                let of_route = options().rev().find_map(OverrideOptions::metadata).cloned();
                Filter::SetMetadata(SetMetadata { own: Arc::clone(own), of_route })
            }
        })
    }
}

/// The mutations of all levels, the most specific of which comes last.
fn mutated(own: &Arc<Mutations>, mut of_levels: Vec<Arc<Mutations>>, most_specific_wins: bool) -> HeaderMutation {
    // What is applied last wins.
    if !most_specific_wins {
        of_levels.reverse();
    }
    HeaderMutation { levels: std::iter::once(Arc::clone(own)).chain(of_levels).collect() }
}

fn cors_below(said: &[&Override], levels: &[&Level]) -> Option<Arc<Cors>> {
    let of_levels = said.iter().rev().filter_map(|said| said.options.as_ref()?.cors());
    let mut policies: Vec<Arc<cors::Policy>> = of_levels.cloned().collect();
    if policies.is_empty() {
        policies.extend(levels.iter().rev().filter_map(|level| level.cors.clone()));
    }
    cors::merged(&policies).map(Arc::new)
}

fn scripted(said: &[&Override], own: &LuaTemplate, levels: &[&Level]) -> Option<Arc<Lua>> {
    let of_level = last_said(said, OverrideOptions::lua);
    lua::below(own, of_level, levels.iter().rev().find_map(|level| level.metadata.as_ref()))
}

fn rate_limited(said: &[&Override], own: &Arc<RateLimit>, levels: &[&Level]) -> RateLimited {
    let limit = most_specific(said, OverrideOptions::rate_limit, own);
    let policies = below_bucket(&limit, levels.iter().filter_map(|level| level.limits.as_ref()));
    RateLimited { limit, policies }
}

fn globally_limited(said: &[&Override], own: &Arc<GlobalRateLimit>, levels: &[&Level]) -> GloballyLimited {
    let of_level = last_said(said, OverrideOptions::global_rate_limit);
    global_rate_limit::below(own, of_level, levels.iter().filter_map(|level| level.limits.as_ref()))
}

/// The options of the most specific level that has some, or the filter's own.
fn most_specific<'s, T>(
    said: &[&'s Override],
    of: impl Fn(&'s OverrideOptions) -> Option<&'s Arc<T>>,
    own: &'s Arc<T>,
) -> Arc<T> {
    Arc::clone(last_said(said, of).unwrap_or(own))
}

/// The options of the most specific level that has some.
fn last_said<'s, T>(said: &[&'s Override], of: impl Fn(&'s OverrideOptions) -> Option<&'s T>) -> Option<&'s T> {
    said.iter().rev().filter_map(|said| said.options.as_ref()).find_map(of)
}

/// A filter chain; `kind` is Envoy's word for it.
fn chain(filters: &[At<HttpFilter>], place: &Place, kind: &str, notes: &Notes) -> Result<ChainTemplate, Problem> {
    let mut before = Vec::new();
    for (nth, at) in filters.iter().enumerate() {
        let (filter, is_last) = (&at.value, nth + 1 == filters.len());
        let disabled = filter.disabled.as_ref().is_some_and(|disabled| disabled.value);
        if let HttpFilterConfig::Router(written) = &filter.typed_config {
            if !is_last {
                return Err(misplaced(at, "terminal", ROUTER, "must be", kind));
            }
            if disabled {
                return Err(at.invalid("the router ends its filter chain, and cannot be disabled"));
            }
            return Ok(ChainTemplate { filters: before, router: router(written)? });
        }
        let Some(options) = Options::read(at, notes)? else { continue };
        if is_last {
            return Err(misplaced(at, "non-terminal", options.kind(), "is", kind));
        }
        before.push(FilterTemplate { name: filter.name.to_string(), disabled, options });
    }
    let what = format!("the {kind} filter chain is empty; it must end in {ROUTER}");
    Err(Problem::invalid(place, what))
}

const ROUTER: &str = "envoy.filters.http.router";

/// Envoy's words for a filter that stands in the wrong place.
fn misplaced(at: &At<HttpFilter>, terminal: &str, kind: &str, how: &str, chain: &str) -> Problem {
    let name = &*at.value.name;
    at.invalid(format!("{terminal} filter named {name} of type {kind} {how} the last filter in a {chain} filter chain"))
}

fn router(written: &Router) -> Result<RouterOptions, Problem> {
    Ok(RouterOptions {
        has_code_stats: written.dynamic_stats.unwrap_or(true),
        respect_expected_timeout: written.respect_expected_rq_timeout,
        strict: written.strict_check_headers.iter().map(strict_header).collect::<Result<_, _>>()?,
        suppress_grpc_codes: written.suppress_grpc_request_failure_code_stats,
        suppress_envoy_headers: written.suppress_envoy_headers,
    })
}

fn strict_header(written: &At<String>) -> Result<StrictHeader, Problem> {
    let found = StrictHeader::ALL.into_iter().find(|header| written.value.eq_ignore_ascii_case(header.name()));
    found.ok_or_else(|| {
        let names = StrictHeader::ALL.map(StrictHeader::name);
        written.problem(unknown(Name::Value(written.value.clone()), &written.value, &names))
    })
}
