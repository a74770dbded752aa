//! What HTTP filter chains mean, and what a route makes of them.
//!
//! A chain is resolved for each route while the file is read: what is switched off is not in it, and what the route, its
//! virtual host and the route configuration say of a filter is in the filter's options.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::{cors, metadata, mutation};
use crate::config::bootstrap::filter::{
    Buffer as WrittenBuffer, BufferPerRoute, CorsPolicy, FilterConfig, GrpcStatsConfig, HeaderMutationPerRoute,
    HttpFilter, HttpFilterConfig, PerFilterConfig, PerRouteConfig, Router, SetMetadata as WrittenSetMetadata,
    TypedPerFilterConfig,
};
use crate::config::bootstrap::route::UpgradeConfig;
use crate::config::error::{Name, Place};
use crate::config::filter::{
    Buffer, Chain, Chains, CountedMethods, Filter, HeaderMutation, MetadataEntry, Mutations, RouterOptions,
    ServiceNames, SetMetadata, StrictHeader,
};
use crate::config::problem::{Problem, unknown};
use crate::config::yaml::{At, Notes};

/// The chains of a connection manager, before a route has its say.
pub(super) struct Template {
    default: ChainTemplate,
    upgrades: Vec<(String, ChainTemplate)>,
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

enum Options {
    Buffer(Buffer),
    Cors,
    GrpcStats(Arc<CountedMethods>),
    GrpcWeb,
    HeaderMutation { mutations: Arc<Mutations>, most_specific_wins: bool },
    SetMetadata(Arc<[MetadataEntry]>),
}

/// What one level (route configuration, virtual host or route) says of filters.
#[derive(Default)]
pub(super) struct Level {
    /// `typed_per_filter_config`, by the names of filters.
    overrides: BTreeMap<String, Override>,
    /// `cors`, the deprecated field.
    cors: Option<Arc<cors::Policy>>,
}

/// What a level says of a filter.
struct Override {
    disabled: bool,
    /// `None` leaves the options to the levels above.
    options: Option<OverrideOptions>,
}

enum OverrideOptions {
    /// `None` switches it off.
    Buffer(Option<Buffer>),
    Cors(Arc<cors::Policy>),
    HeaderMutation(Arc<Mutations>),
    SetMetadata(Arc<[MetadataEntry]>),
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
    ) -> Result<Self, Problem> {
        let default = chain(filters, place, "http")?;
        let mut own = Vec::new();
        for upgrade in upgrades {
            // An empty list means the same as none: the connection manager's own filters.
            let Some(filters) = upgrade.value.filters.as_ref().filter(|filters| !filters.value.is_empty()) else {
                continue;
            };
            let chain = chain(&filters.value, &filters.place, "http upgrade")?;
            own.push((upgrade.value.upgrade_type.value.to_ascii_lowercase(), chain));
        }
        Ok(Self { default, upgrades: own })
    }

    /// The chains where `levels` say something of them, the most specific last.
    pub(super) fn resolve(&self, levels: &[&Level], forwarding: Forwarding) -> Chains {
        let own = self.upgrades.iter().map(|(protocol, chain)| (protocol.clone(), chain.resolve(levels, forwarding)));
        Chains { default: self.default.resolve(levels, forwarding), upgrades: own.collect() }
    }

    /// Does one of the chains have the filter `envoy.filters.http.cors`?
    pub(super) fn has_cors(&self) -> bool {
        self.filters().any(|filter| matches!(filter.options, Options::Cors))
    }

    /// Does one of the chains have the filter `envoy.filters.http.set_metadata`?
    pub(super) fn has_set_metadata(&self) -> bool {
        self.filters().any(|filter| matches!(filter.options, Options::SetMetadata(_)))
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
        let mut level = Level { overrides: BTreeMap::new(), cors };
        for (name, config) in written {
            let said = overridden(config, name, notes)?;
            let mut named = self.filters().filter(|filter| filter.name == *name).peekable();
            if named.peek().is_none() {
                notes.note(&config.place, format!("has no effect: no HTTP filter before the router is named {name}"));
            }
            if let Some(options) = &said.options
                && let Some(other) = named.find(|filter| !options.is_for(&filter.options))
            {
                let what =
                    format!("filter {name} is of type {}, and this configures another type", other.options.kind());
                return Err(config.invalid(what));
            }
            level.overrides.insert(name.clone(), said);
        }
        Ok(level)
    }
}

impl Level {
    /// Does it leave every filter as it is?
    pub(super) fn is_empty(&self) -> bool {
        self.overrides.is_empty() && self.cors.is_none()
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
        let options = said.iter().filter_map(|said| said.options.as_ref());
        match &self.options {
            Options::Buffer(buffer) => {
                let mut limits = options.rev().filter_map(|options| match options {
                    OverrideOptions::Buffer(buffer) => Some(*buffer),
                    OverrideOptions::Cors(_) | OverrideOptions::HeaderMutation(_) | OverrideOptions::SetMetadata(_) => {
                        None
                    }
                });
                limits.next().unwrap_or(Some(*buffer)).map(Filter::Buffer)
            }
            // Envoy has no policy for a response of the route's own.
            Options::Cors if forwarding == Forwarding::NotForwarded => None,
            Options::Cors => {
                let policies = options.rev().filter_map(|options| match options {
                    OverrideOptions::Cors(policy) => Some(Arc::clone(policy)),
                    OverrideOptions::Buffer(_)
                    | OverrideOptions::HeaderMutation(_)
                    | OverrideOptions::SetMetadata(_) => None,
                });
                let mut policies: Vec<Arc<cors::Policy>> = policies.collect();
                if policies.is_empty() {
                    policies.extend(levels.iter().rev().filter_map(|level| level.cors.clone()));
                }
                cors::merged(&policies).map(Arc::new).map(Filter::Cors)
            }
            Options::GrpcStats(methods) => Some(Filter::GrpcStats(Arc::clone(methods))),
            Options::GrpcWeb => Some(Filter::GrpcWeb),
            Options::HeaderMutation { mutations, most_specific_wins } => {
                let more = options.filter_map(|options| match options {
                    OverrideOptions::HeaderMutation(mutations) => Some(Arc::clone(mutations)),
                    OverrideOptions::Buffer(_) | OverrideOptions::Cors(_) | OverrideOptions::SetMetadata(_) => None,
                });
                let mut more: Vec<Arc<Mutations>> = more.collect();
                // What is applied last wins.
                if !most_specific_wins {
                    more.reverse();
                }
                let levels = std::iter::once(Arc::clone(mutations)).chain(more).collect();
                Some(Filter::HeaderMutation(HeaderMutation { levels }))
            }
            Options::SetMetadata(own) => {
                // The most specific level alone counts.
                let of_route = options.rev().find_map(|options| match options {
                    OverrideOptions::SetMetadata(entries) => Some(Arc::clone(entries)),
                    OverrideOptions::Buffer(_) | OverrideOptions::Cors(_) | OverrideOptions::HeaderMutation(_) => None,
                });
                Some(Filter::SetMetadata(SetMetadata { own: Arc::clone(own), of_route }))
            }
        }
    }
}

impl Options {
    fn kind(&self) -> &'static str {
        match self {
            Self::Buffer(_) => "envoy.filters.http.buffer",
            Self::Cors => "envoy.filters.http.cors",
            Self::GrpcStats(_) => "envoy.filters.http.grpc_stats",
            Self::GrpcWeb => "envoy.filters.http.grpc_web",
            Self::HeaderMutation { .. } => "envoy.filters.http.header_mutation",
            Self::SetMetadata(_) => "envoy.filters.http.set_metadata",
        }
    }
}

impl OverrideOptions {
    /// Do they configure a filter that has these options?
    fn is_for(&self, options: &Options) -> bool {
        matches!(
            (self, options),
            (Self::Buffer(_), Options::Buffer(_))
                | (Self::Cors(_), Options::Cors)
                | (Self::HeaderMutation(_), Options::HeaderMutation { .. })
                | (Self::SetMetadata(_), Options::SetMetadata(_))
        )
    }
}

/// A filter chain; `kind` is Envoy's word for it.
fn chain(filters: &[At<HttpFilter>], place: &Place, kind: &str) -> Result<ChainTemplate, Problem> {
    let mut before = Vec::new();
    for (nth, at) in filters.iter().enumerate() {
        let (filter, is_last) = (&at.value, nth + 1 == filters.len());
        let disabled = filter.disabled.as_ref().is_some_and(|disabled| disabled.value);
        let options = match &filter.typed_config {
            HttpFilterConfig::Buffer(written) => Options::Buffer(buffer(written)?),
            HttpFilterConfig::Cors(_) => Options::Cors,
            HttpFilterConfig::GrpcStats(written) => Options::GrpcStats(Arc::new(counted_methods(written)?)),
            HttpFilterConfig::GrpcWeb(_) => Options::GrpcWeb,
            HttpFilterConfig::HeaderMutation(written) => Options::HeaderMutation {
                mutations: Arc::new(mutation::mutations(written.mutations.as_ref())?),
                most_specific_wins: written.most_specific_header_mutations_wins.unwrap_or(false),
            },
            HttpFilterConfig::Router(_) if !is_last => return Err(misplaced(at, "terminal", ROUTER, "must be", kind)),
            HttpFilterConfig::Router(_) if disabled => {
                return Err(at.invalid("the router ends its filter chain, and cannot be disabled"));
            }
            HttpFilterConfig::Router(written) => {
                return Ok(ChainTemplate { filters: before, router: router(written)? });
            }
            HttpFilterConfig::SetMetadata(written) => Options::SetMetadata(metadata::entries(written)?.into()),
        };
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

fn counted_methods(written: &GrpcStatsConfig) -> Result<CountedMethods, Problem> {
    match (&written.individual_method_stats_allowlist, written.stats_for_all_methods) {
        (Some(list), Some(_)) => {
            Err(list.invalid("takes at most one of individual_method_stats_allowlist and stats_for_all_methods"))
        }
        (None, Some(true)) => Ok(CountedMethods::All(match written.replace_dots_in_grpc_service_name {
            true => ServiceNames::WithoutDots,
            false => ServiceNames::AsWritten,
        })),
        (list, _) => {
            let services = list.iter().flat_map(|list| &list.value.services);
            let methods = services.flat_map(|service| service.method_names.iter().map(|name| (&*service.name, name)));
            Ok(CountedMethods::Listed(methods.map(|(service, name)| format!("{service}.{name}")).collect()))
        }
    }
}

fn buffer(written: &WrittenBuffer) -> Result<Buffer, Problem> {
    let bytes = &written.max_request_bytes;
    let request_bytes_max = NonZeroU32::new(bytes.value).ok_or_else(|| bytes.invalid("must be greater than 0"))?;
    Ok(Buffer { request_bytes_max })
}

/// What a level says of the filter named `name`.
fn overridden(at: &At<PerFilterConfig>, name: &str, notes: &Notes) -> Result<Override, Problem> {
    let options = match &at.value {
        PerFilterConfig::FilterConfig(FilterConfig { disabled: true, .. }) => {
            return Ok(Override { disabled: true, options: None });
        }
        PerFilterConfig::FilterConfig(FilterConfig { config: None, .. }) => {
            return Err(at.invalid_but(
                format!("empty configuration of filter {name}"),
                "write disabled: true to switch it off, or config: {} to switch it on",
            ));
        }
        PerFilterConfig::FilterConfig(FilterConfig { config: Some(config), .. }) => match &config.value {
            PerRouteConfig::Buffer(written) => Some(buffer_override(written, &config.place)?),
            PerRouteConfig::Cors(written) => Some(cors_override(written, notes)?),
            PerRouteConfig::Empty(_) => None,
            PerRouteConfig::HeaderMutation(written) => Some(mutation_override(written)?),
            PerRouteConfig::SetMetadata(written) => Some(metadata_override(written)?),
        },
        PerFilterConfig::Buffer(written) => Some(buffer_override(written, &at.place)?),
        PerFilterConfig::Cors(written) => Some(cors_override(written, notes)?),
        PerFilterConfig::HeaderMutation(written) => Some(mutation_override(written)?),
        PerFilterConfig::SetMetadata(written) => Some(metadata_override(written)?),
    };
    Ok(Override { disabled: false, options })
}

fn buffer_override(written: &BufferPerRoute, place: &Place) -> Result<OverrideOptions, Problem> {
    match (&written.buffer, &written.disabled) {
        (Some(written), None) => Ok(OverrideOptions::Buffer(Some(buffer(written)?))),
        (None, Some(disabled)) if disabled.value => Ok(OverrideOptions::Buffer(None)),
        (None, Some(disabled)) => Err(disabled.invalid("must be true; leave it out where the filter is on")),
        (None, None) | (Some(_), Some(_)) => Err(Problem::invalid(place, "takes exactly one of buffer and disabled")),
    }
}

fn cors_override(written: &CorsPolicy, notes: &Notes) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::Cors(Arc::new(cors::Policy::new(written, notes)?)))
}

fn mutation_override(written: &HeaderMutationPerRoute) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::HeaderMutation(Arc::new(mutation::mutations(written.mutations.as_ref())?)))
}

fn metadata_override(written: &WrittenSetMetadata) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::SetMetadata(metadata::entries(written)?.into()))
}
