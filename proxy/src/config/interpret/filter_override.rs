//! What routes, and the levels above them, say of HTTP filters.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::rate_limit::{self, LimitOwner};
use super::{
    basic_auth, compression, cors, ext_authz, fault, filter_state, forward_proxy, fraction, global_rate_limit,
    header_to_metadata, jwt_authn, lua, metadata, mutation, pattern, rbac,
};
use crate::config::basic_auth::Users;
use crate::config::bootstrap::ext_authz::ExtAuthzPerRoute;
use crate::config::bootstrap::fault::HttpFault;
use crate::config::bootstrap::filter::{
    Buffer as WrittenBuffer, BufferPerRoute, CorsPolicy, CsrfPolicy, FilterConfig, HeaderMutationPerRoute,
    LocalRateLimit, PerFilterConfig, PerRouteConfig, SetMetadata as WrittenSetMetadata,
};
use crate::config::bootstrap::filter_state::HttpSetFilterState;
use crate::config::bootstrap::header_to_metadata::HeaderToMetadata as WrittenRules;
use crate::config::dns_cache::HostRewrite;
use crate::config::error::Place;
use crate::config::fault::Fault;
use crate::config::filter::{Buffer, Csrf, MetadataEntry, Mutations, Rbac};
use crate::config::filter_state::StateEntry;
use crate::config::fraction::Fraction;
use crate::config::global_rate_limit::GlobalOfRoute;
use crate::config::header_to_metadata::HeaderToMetadata;
use crate::config::problem::Problem;
use crate::config::rate_limit::RateLimit;
use crate::config::yaml::{At, Notes};

/// What a level says of a filter.
pub(super) struct Override {
    pub(super) disabled: bool,
    /// `None` leaves the options to the levels above.
    pub(super) options: Option<OverrideOptions>,
}

pub(super) enum OverrideOptions {
    BasicAuth(Arc<Users>),
    /// `None` switches it off.
    Buffer(Option<Buffer>),
    Compressor(compression::OfRoute),
    Cors(Arc<cors::Policy>),
    Csrf(Arc<Csrf>),
    ExtAuthz(ext_authz::OfRoute),
    Fault(Arc<Fault>),
    GlobalRateLimit(Arc<GlobalOfRoute>),
    HeaderToMetadata(Arc<HeaderToMetadata>),
    JwtAuthn(jwt_authn::OfRoute),
    HeaderMutation(Arc<Mutations>),
    /// `None` leaves the host as it is.
    HostRewrite(Option<HostRewrite>),
    Lua(lua::OfRoute),
    RateLimit(Arc<RateLimit>),
    /// `None` has nothing judged.
    Rbac(Option<Rbac>),
    SetFilterState(Arc<[StateEntry]>),
    SetMetadata(Arc<[MetadataEntry]>),
}

impl OverrideOptions {
    pub(super) fn buffer(&self) -> Option<Option<Buffer>> {
        if let Self::Buffer(buffer) = self { Some(*buffer) } else { None }
    }

    pub(super) fn compressor(&self) -> Option<&compression::OfRoute> {
        if let Self::Compressor(said) = self { Some(said) } else { None }
    }

    pub(super) fn cors(&self) -> Option<&Arc<cors::Policy>> {
        if let Self::Cors(policy) = self { Some(policy) } else { None }
    }

    pub(super) fn csrf(&self) -> Option<&Arc<Csrf>> {
        if let Self::Csrf(policy) = self { Some(policy) } else { None }
    }

    pub(super) fn ext_authz(&self) -> Option<&ext_authz::OfRoute> {
        if let Self::ExtAuthz(said) = self { Some(said) } else { None }
    }

    pub(super) fn fault(&self) -> Option<&Arc<Fault>> {
        if let Self::Fault(fault) = self { Some(fault) } else { None }
    }

    pub(super) fn global_rate_limit(&self) -> Option<&Arc<GlobalOfRoute>> {
        if let Self::GlobalRateLimit(said) = self { Some(said) } else { None }
    }

    pub(super) fn header_to_metadata(&self) -> Option<&Arc<HeaderToMetadata>> {
        if let Self::HeaderToMetadata(rules) = self { Some(rules) } else { None }
    }

    pub(super) fn host_rewrite(&self) -> Option<&Option<HostRewrite>> {
        if let Self::HostRewrite(rewrite) = self { Some(rewrite) } else { None }
    }

    pub(super) fn jwt_authn(&self) -> Option<&jwt_authn::OfRoute> {
        if let Self::JwtAuthn(said) = self { Some(said) } else { None }
    }

    pub(super) fn lua(&self) -> Option<&lua::OfRoute> {
        if let Self::Lua(said) = self { Some(said) } else { None }
    }

    pub(super) fn metadata(&self) -> Option<&Arc<[MetadataEntry]>> {
        if let Self::SetMetadata(entries) = self { Some(entries) } else { None }
    }

    pub(super) fn mutations(&self) -> Option<&Arc<Mutations>> {
        if let Self::HeaderMutation(mutations) = self { Some(mutations) } else { None }
    }

    pub(super) fn rbac(&self) -> Option<&Option<Rbac>> {
        if let Self::Rbac(rbac) = self { Some(rbac) } else { None }
    }

    pub(super) fn state(&self) -> Option<&Arc<[StateEntry]>> {
        if let Self::SetFilterState(entries) = self { Some(entries) } else { None }
    }

    pub(super) fn users(&self) -> Option<&Arc<Users>> {
        if let Self::BasicAuth(users) = self { Some(users) } else { None }
    }

    pub(super) fn rate_limit(&self) -> Option<&Arc<RateLimit>> {
        if let Self::RateLimit(limit) = self { Some(limit) } else { None }
    }
}

/// What a level says of the filter named `name`.
pub(super) fn overridden(at: &At<PerFilterConfig>, name: &str, notes: &Notes) -> Result<Override, Problem> {
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
        PerFilterConfig::FilterConfig(FilterConfig { config: Some(config), .. }) => within(config, notes)?,
        PerFilterConfig::BasicAuth(written) => Some(OverrideOptions::BasicAuth(basic_auth::of_route(written)?)),
        PerFilterConfig::Buffer(written) => Some(buffer_override(written, &at.place)?),
        PerFilterConfig::Compressor(written) => {
            Some(OverrideOptions::Compressor(compression::of_route(written, &at.place)?))
        }
        PerFilterConfig::Cors(written) => Some(cors_override(written, notes)?),
        PerFilterConfig::Csrf(written) => Some(csrf_override(written, notes)?),
        PerFilterConfig::ExtAuthz(written) => Some(authorisation_override(written, &at.place, notes)?),
        PerFilterConfig::Fault(written) => Some(fault_override(written, notes)?),
        PerFilterConfig::ForwardProxy(written) => {
            Some(OverrideOptions::HostRewrite(forward_proxy::of_route(written, &at.place)?))
        }
        PerFilterConfig::HeaderMutation(written) => Some(mutation_override(written)?),
        PerFilterConfig::HeaderToMetadata(written) => Some(rules_override(written, &at.place)?),
        PerFilterConfig::JwtAuthn(written) => Some(OverrideOptions::JwtAuthn(jwt_authn::of_route(written, &at.place)?)),
        PerFilterConfig::LocalRateLimit(written) => Some(rate_limit_override(written, &at.place, notes)?),
        PerFilterConfig::Lua(written) => Some(OverrideOptions::Lua(lua::of_route(written, &at.place)?)),
        PerFilterConfig::RateLimit(written) => {
            Some(OverrideOptions::GlobalRateLimit(Arc::new(global_rate_limit::of_route(written, notes)?)))
        }
        PerFilterConfig::Rbac(written) => Some(OverrideOptions::Rbac(rbac::of_route(written)?)),
        PerFilterConfig::SetFilterState(written) => Some(state_override(written)?),
        PerFilterConfig::SetMetadata(written) => Some(metadata_override(written)?),
    };
    Ok(Override { disabled: false, options })
}

/// The same inside of a `FilterConfig`.
fn within(at: &At<PerRouteConfig>, notes: &Notes) -> Result<Option<OverrideOptions>, Problem> {
    Ok(match &at.value {
        PerRouteConfig::BasicAuth(written) => Some(OverrideOptions::BasicAuth(basic_auth::of_route(written)?)),
        PerRouteConfig::Buffer(written) => Some(buffer_override(written, &at.place)?),
        PerRouteConfig::Compressor(written) => {
            Some(OverrideOptions::Compressor(compression::of_route(written, &at.place)?))
        }
        PerRouteConfig::Cors(written) => Some(cors_override(written, notes)?),
        PerRouteConfig::Csrf(written) => Some(csrf_override(written, notes)?),
        PerRouteConfig::Empty(_) => None,
        PerRouteConfig::ExtAuthz(written) => Some(authorisation_override(written, &at.place, notes)?),
        PerRouteConfig::Fault(written) => Some(fault_override(written, notes)?),
        PerRouteConfig::ForwardProxy(written) => {
            Some(OverrideOptions::HostRewrite(forward_proxy::of_route(written, &at.place)?))
        }
        PerRouteConfig::HeaderMutation(written) => Some(mutation_override(written)?),
        PerRouteConfig::HeaderToMetadata(written) => Some(rules_override(written, &at.place)?),
        PerRouteConfig::JwtAuthn(written) => Some(OverrideOptions::JwtAuthn(jwt_authn::of_route(written, &at.place)?)),
        PerRouteConfig::LocalRateLimit(written) => Some(rate_limit_override(written, &at.place, notes)?),
        PerRouteConfig::Lua(written) => Some(OverrideOptions::Lua(lua::of_route(written, &at.place)?)),
        PerRouteConfig::RateLimit(written) => {
            Some(OverrideOptions::GlobalRateLimit(Arc::new(global_rate_limit::of_route(written, notes)?)))
        }
        PerRouteConfig::Rbac(written) => Some(OverrideOptions::Rbac(rbac::of_route(written)?)),
        PerRouteConfig::SetFilterState(written) => Some(state_override(written)?),
        PerRouteConfig::SetMetadata(written) => Some(metadata_override(written)?),
    })
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

pub(super) fn csrf(written: &CsrfPolicy, notes: &Notes) -> Result<Csrf, Problem> {
    let counted = written.shadow_enabled.as_ref().map(|share| fraction::fraction(share, notes));
    Ok(Csrf {
        enforced: fraction::fraction(&written.filter_enabled, notes),
        counted: counted.unwrap_or(Fraction { millionths: 0, key: None }),
        additional_origins: written.additional_origins.iter().map(pattern::string_match).collect::<Result<_, _>>()?,
    })
}

fn csrf_override(written: &CsrfPolicy, notes: &Notes) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::Csrf(Arc::new(csrf(written, notes)?)))
}

fn authorisation_override(
    written: &ExtAuthzPerRoute,
    place: &Place,
    notes: &Notes,
) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::ExtAuthz(ext_authz::of_route(written, place, notes)?))
}

fn fault_override(written: &HttpFault, notes: &Notes) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::Fault(Arc::new(fault::interpret(written, notes)?)))
}

fn rate_limit_override(written: &LocalRateLimit, place: &Place, notes: &Notes) -> Result<OverrideOptions, Problem> {
    let limit = rate_limit::rate_limit(written, LimitOwner::Route, place, notes)?;
    Ok(OverrideOptions::RateLimit(Arc::new(limit)))
}

fn mutation_override(written: &HeaderMutationPerRoute) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::HeaderMutation(Arc::new(mutation::mutations(written.mutations.as_ref())?)))
}

fn rules_override(written: &WrittenRules, place: &Place) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::HeaderToMetadata(Arc::new(header_to_metadata::of_route(written, place)?)))
}

fn state_override(written: &HttpSetFilterState) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::SetFilterState(filter_state::entries(&written.on_request_headers)?.into()))
}

fn metadata_override(written: &WrittenSetMetadata) -> Result<OverrideOptions, Problem> {
    Ok(OverrideOptions::SetMetadata(metadata::entries(written)?.into()))
}

pub(super) fn buffer(written: &WrittenBuffer) -> Result<Buffer, Problem> {
    let bytes = &written.max_request_bytes;
    let request_bytes_max = NonZeroU32::new(bytes.value).ok_or_else(|| bytes.invalid("must be greater than 0"))?;
    Ok(Buffer { request_bytes_max })
}
