//! The HTTP filters before the router, before a route has its say.

use std::sync::Arc;

use super::filter_override::{OverrideOptions, buffer, csrf};
use super::lua::LuaTemplate;
use super::rate_limit::{self, LimitOwner};
use super::{
    basic_auth, compression, ext_authz, fault, filter_state, forward_proxy, global_rate_limit, header_to_metadata,
    health_check, jwt_authn, lua, metadata, mutation, rbac,
};
use crate::config::basic_auth::BasicAuth;
use crate::config::bootstrap::filter::{GrpcStatsConfig, HttpFilter, HttpFilterConfig};
use crate::config::compression::{Compressor, Decompressor};
use crate::config::dns_cache::ForwardProxy;
use crate::config::fault::Fault;
use crate::config::filter::{
    Buffer, CountedCalls, CountedMethods, Csrf, ExtAuthz, HealthCheck, JwtAuthn, Kind, MetadataEntry, Mutations, Rbac,
    ServiceNames, SetFilterState,
};
use crate::config::global_rate_limit::GlobalRateLimit;
use crate::config::header_to_metadata::HeaderToMetadata;
use crate::config::problem::Problem;
use crate::config::rate_limit::RateLimit;
use crate::config::yaml::{At, Notes};

pub(super) enum Options {
    BasicAuth(Arc<BasicAuth>),
    Buffer(Buffer),
    Compressor(Arc<Compressor>),
    Cors,
    Csrf(Arc<Csrf>),
    Decompressor(Arc<Decompressor>),
    ExtAuthz(Arc<ExtAuthz>),
    Fault(Arc<Fault>),
    ForwardProxy(Arc<ForwardProxy>),
    GlobalRateLimit(Arc<GlobalRateLimit>),
    GrpcStats(Arc<CountedCalls>),
    GrpcWeb,
    HeaderMutation { mutations: Arc<Mutations>, most_specific_wins: bool },
    HeaderToMetadata(Arc<HeaderToMetadata>),
    HealthCheck(Arc<HealthCheck>),
    JwtAuthn(Arc<JwtAuthn>),
    Lua(LuaTemplate),
    RateLimit(Arc<RateLimit>),
    Rbac(Arc<Rbac>),
    SetFilterState(SetFilterState),
    SetMetadata(Arc<[MetadataEntry]>),
}

impl Options {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::BasicAuth(_) => "envoy.filters.http.basic_auth",
            Self::Buffer(_) => "envoy.filters.http.buffer",
            Self::Compressor(_) => "envoy.filters.http.compressor",
            Self::Cors => "envoy.filters.http.cors",
            Self::Csrf(_) => "envoy.filters.http.csrf",
            Self::Decompressor(_) => "envoy.filters.http.decompressor",
            Self::ExtAuthz(_) => "envoy.filters.http.ext_authz",
            Self::Fault(_) => "envoy.filters.http.fault",
            Self::ForwardProxy(_) => "envoy.filters.http.dynamic_forward_proxy",
            Self::GlobalRateLimit(_) => "envoy.filters.http.ratelimit",
            Self::GrpcStats(_) => "envoy.filters.http.grpc_stats",
            Self::GrpcWeb => "envoy.filters.http.grpc_web",
            Self::HeaderMutation { .. } => "envoy.filters.http.header_mutation",
            Self::HeaderToMetadata(_) => "envoy.filters.http.header_to_metadata",
            Self::HealthCheck(_) => "envoy.filters.http.health_check",
            Self::JwtAuthn(_) => "envoy.filters.http.jwt_authn",
            Self::Lua(_) => "envoy.filters.http.lua",
            Self::RateLimit(_) => "envoy.filters.http.local_ratelimit",
            Self::Rbac(_) => "envoy.filters.http.rbac",
            Self::SetFilterState(_) => "envoy.filters.http.set_filter_state",
            Self::SetMetadata(_) => "envoy.filters.http.set_metadata",
        }
    }

    /// Does a level configure such a filter by these?
    pub(super) fn is_configured_by(&self, options: &OverrideOptions) -> bool {
        matches!(
            (options, self),
            (OverrideOptions::BasicAuth(_), Self::BasicAuth(_))
                | (OverrideOptions::Buffer(_), Self::Buffer(_))
                | (OverrideOptions::Compressor(_), Self::Compressor(_))
                | (OverrideOptions::Cors(_), Self::Cors)
                | (OverrideOptions::Csrf(_), Self::Csrf(_))
                | (OverrideOptions::ExtAuthz(_), Self::ExtAuthz(_))
                | (OverrideOptions::Fault(_), Self::Fault(_))
                | (OverrideOptions::HostRewrite(_), Self::ForwardProxy(_))
                | (OverrideOptions::GlobalRateLimit(_), Self::GlobalRateLimit(_))
                | (OverrideOptions::HeaderMutation(_), Self::HeaderMutation { .. })
                | (OverrideOptions::HeaderToMetadata(_), Self::HeaderToMetadata(_))
                | (OverrideOptions::JwtAuthn(_), Self::JwtAuthn(_))
                | (OverrideOptions::Lua(_), Self::Lua(_))
                | (OverrideOptions::RateLimit(_), Self::RateLimit(_))
                | (OverrideOptions::Rbac(_), Self::Rbac(_))
                | (OverrideOptions::SetFilterState(_), Self::SetFilterState(_))
                | (OverrideOptions::SetMetadata(_), Self::SetMetadata(_))
        )
    }

    /// The filter, if it has stats of its own.
    pub(super) fn counted(&self) -> Option<Kind> {
        match self {
            Self::BasicAuth(_) => Some(Kind::BasicAuth),
            Self::Compressor(options) => Some(Kind::Compressor(options.stats.clone())),
            Self::Cors => Some(Kind::Cors),
            Self::Csrf(_) => Some(Kind::Csrf),
            Self::Decompressor(options) => Some(Kind::Decompressor(options.library.clone(), options.coding)),
            Self::ExtAuthz(options) => Some(Kind::ExtAuthz(options.stat_prefix.clone())),
            Self::Fault(_) => Some(Kind::Fault),
            Self::HealthCheck(_) => Some(Kind::HealthCheck),
            Self::JwtAuthn(options) => Some(Kind::JwtAuthn(options.stat_prefix.clone())),
            Self::Lua(lua) => Some(Kind::Lua(lua.stat_prefix.clone())),
            Self::Rbac(rbac) => Some(Kind::Rbac(rbac.prefixes.clone())),
            Self::SetMetadata(_) => Some(Kind::SetMetadata),
            Self::Buffer(_)
            | Self::ForwardProxy(_)
            | Self::GlobalRateLimit(_)
            | Self::GrpcStats(_)
            | Self::GrpcWeb
            | Self::HeaderMutation { .. }
            | Self::HeaderToMetadata(_)
            | Self::RateLimit(_)
            | Self::SetFilterState(_) => None,
        }
    }

    /// What a file says of a filter; `None` of the router, which is none of these.
    pub(super) fn read(at: &At<HttpFilter>, notes: &Notes) -> Result<Option<Self>, Problem> {
        Ok(Some(match &at.value.typed_config {
            HttpFilterConfig::BasicAuth(written) => {
                Self::BasicAuth(Arc::new(basic_auth::filter(written, &at.value.name)?))
            }
            HttpFilterConfig::Buffer(written) => Self::Buffer(buffer(written)?),
            HttpFilterConfig::Compressor(written) => {
                Self::Compressor(Arc::new(compression::compressor(written, notes)?))
            }
            HttpFilterConfig::Cors(_) => Self::Cors,
            HttpFilterConfig::Csrf(written) => Self::Csrf(Arc::new(csrf(written, notes)?)),
            HttpFilterConfig::Decompressor(written) => {
                Self::Decompressor(Arc::new(compression::decompressor(written, notes)?))
            }
            HttpFilterConfig::ExtAuthz(written) => {
                Self::ExtAuthz(Arc::new(ext_authz::filter(written, &at.place, notes)?))
            }
            HttpFilterConfig::Fault(written) => Self::Fault(Arc::new(fault::interpret(written, notes)?)),
            HttpFilterConfig::ForwardProxy(written) => {
                Self::ForwardProxy(Arc::new(forward_proxy::filter(written, &at.place, notes)?))
            }
            HttpFilterConfig::GrpcStats(written) => Self::GrpcStats(Arc::new(counted_calls(written)?)),
            HttpFilterConfig::GrpcWeb(_) => Self::GrpcWeb,
            HttpFilterConfig::HeaderMutation(written) => Self::HeaderMutation {
                mutations: Arc::new(mutation::mutations(written.mutations.as_ref())?),
                most_specific_wins: written.most_specific_header_mutations_wins.unwrap_or(false),
            },
            HttpFilterConfig::HeaderToMetadata(written) => {
                Self::HeaderToMetadata(Arc::new(header_to_metadata::filter(written)?))
            }
            HttpFilterConfig::HealthCheck(written) => {
                Self::HealthCheck(Arc::new(health_check::interpret(written, &at.place)?))
            }
            HttpFilterConfig::JwtAuthn(written) => Self::JwtAuthn(Arc::new(jwt_authn::filter(written, notes)?)),
            HttpFilterConfig::LocalRateLimit(written) => {
                Self::RateLimit(Arc::new(rate_limit::rate_limit(written, LimitOwner::Filter, &at.place, notes)?))
            }
            HttpFilterConfig::RateLimit(written) => {
                Self::GlobalRateLimit(Arc::new(global_rate_limit::filter(written, notes)?))
            }
            HttpFilterConfig::Lua(written) => Self::Lua(lua::filter(written, &at.value.name)?),
            HttpFilterConfig::Rbac(written) => Self::Rbac(Arc::new(rbac::of_requests_alone(written)?)),
            HttpFilterConfig::Router(_) => return Ok(None),
            HttpFilterConfig::SetFilterState(written) => Self::SetFilterState(filter_state::filter(written)?),
            HttpFilterConfig::SetMetadata(written) => Self::SetMetadata(metadata::entries(written)?.into()),
        }))
    }
}

fn counted_calls(written: &GrpcStatsConfig) -> Result<CountedCalls, Problem> {
    Ok(CountedCalls {
        methods: counted_methods(written)?,
        leaves_state: written.emit_filter_state,
        is_timed: written.enable_upstream_stats,
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
