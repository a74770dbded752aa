//! The filter `envoy.filters.http.ext_authz`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use super::pattern::string_match;
use super::{fraction, metadata, mutation, pattern, service};
use crate::config::bootstrap::ext_authz::{
    BufferSettings, CheckSettings, ExtAuthz as Written, ExtAuthzPerRoute, HeaderMutationRules, HttpService,
};
use crate::config::bootstrap::grpc_service::CoreGrpcService;
use crate::config::bootstrap::matchers::RegexMatcher;
use crate::config::bootstrap::stats::ListStringMatcher;
use crate::config::constraints::{HeaderName as WrittenName, HeaderText};
use crate::config::error::Place;
use crate::config::ext_authz::{
    AuthorisationService, Body, CheckAttributes, CheckPath, CheckedBody, ExtAuthz, HeaderForm, HttpAuthorisation,
    LargerBody, OnError,
};
use crate::config::fraction::{Fraction, MILLION};
use crate::config::mutation_rules::MutationRules;
use crate::config::problem::Problem;
use crate::config::route::Sense;
use crate::config::string_match::{Pattern, StringMatch};
use crate::config::yaml::{At, Notes};

/// How long a call over gRPC may take by default.
const GRPC_TIMEOUT: Duration = Duration::from_millis(200);
/// What a client gets to see of every denial.
const ALWAYS_SENT: [&str; 4] = [":status", "content-length", "www-authenticate", "location"];

/// What a level says of the filter.
pub(super) enum OfRoute {
    /// Requests need no authorisation.
    Disabled,
    /// They need it in another way.
    Check { body: BodyOfRoute, service: Option<AuthorisationService>, extensions: BTreeMap<String, String> },
}

/// What a level says of bodies.
pub(super) enum BodyOfRoute {
    /// The service gets none.
    None,
    /// Nothing.
    AsFilter,
    /// The service gets this much.
    Own(CheckedBody),
}

pub(super) fn filter(written: &Written, place: &Place, notes: &Notes) -> Result<ExtAuthz, Problem> {
    let Some(service) = service(written.grpc_service.as_ref(), written.http_service.as_ref(), notes)? else {
        return Err(Problem::invalid(place, "ext_authz needs grpc_service or http_service"));
    };
    let request = written.http_service.as_ref().and_then(|http| http.value.authorization_request.as_ref());
    let allowed_by_service = request.and_then(|request| request.allowed_headers.as_ref());
    if let (Some(_), Some(second)) = (&written.allowed_headers, allowed_by_service) {
        return Err(second.invalid("Invalid duplicate configuration for allowed_headers."));
    }
    let allowed = allowed_by_service.or(written.allowed_headers.as_ref());
    let enabled = written.filter_enabled.as_ref().map(|share| fraction::fraction(share, notes));
    let status = written.status_on_error.and_then(|status| StatusCode::from_u16(status.code as u16).ok());
    Ok(ExtAuthz {
        service,
        enabled: enabled.unwrap_or(Fraction { millionths: MILLION, key: None }),
        enabled_metadata: match &written.filter_enabled_metadata {
            None => None,
            Some(at) => {
                let (path, value) = metadata::matcher(at)?;
                Some((path, value, if at.value.invert { Sense::Inverted } else { Sense::Direct }))
            }
        },
        denied_at_disable: fraction::flag(written.deny_at_disable.as_ref(), 0, notes),
        allowed: allowed.map(|allowed| patterns(Some(allowed), &[])).transpose()?,
        disallowed: patterns(written.disallowed_headers.as_ref(), &[])?,
        body: written.with_request_body.as_ref().map(body).transpose()?,
        on_error: match (written.failure_mode_allow, written.failure_mode_allow_header_add) {
            (true, true) => OnError::AllowMarked,
            (true, false) => OnError::Allow,
            (false, _) => OnError::Deny,
        },
        status_on_error: status.unwrap_or(StatusCode::FORBIDDEN),
        denied_bytes_max: NonZeroU32::new(written.max_denied_response_body_bytes),
        clears_route: written.clear_route_cache,
        charges_cluster: written.charge_cluster_response_stats.unwrap_or(true),
        stat_prefix: written.stat_prefix.clone(),
        validates_mutations: written.validate_mutations,
        attributes: Arc::new(attributes(written)),
        rules: written.decoder_header_mutation_rules.as_ref().map(rules).transpose()?.map(Arc::new),
        keeps_metadata: written.enable_dynamic_metadata_ingestion.unwrap_or(true),
        is_shadow: written.shadow_mode,
        clearing: written.clear_route_cache_headers.iter().map(header_name).collect::<Result<_, _>>()?,
    })
}

fn rules(written: &HeaderMutationRules) -> Result<MutationRules, Problem> {
    let regex = |written: &Option<RegexMatcher>| written.as_ref().map(|it| pattern::whole(&it.regex)).transpose();
    Ok(MutationRules {
        denied: regex(&written.disallow_expression)?,
        allowed: regex(&written.allow_expression)?,
        denies_others: written.disallow_all.unwrap_or(false),
        denies_system: written.disallow_system.unwrap_or(false),
        allows_routing: written.allow_all_routing.unwrap_or(false),
        allows_envoy: written.allow_envoy.unwrap_or(false),
        is_error: written.disallow_is_error.unwrap_or(false),
    })
}

fn header_name(written: &At<WrittenName>) -> Result<HeaderName, Problem> {
    // Constraints are those of a token.
    HeaderName::from_bytes(written.value.as_bytes()).map_err(|_| written.invalid("is not a header name"))
}

fn attributes(written: &Written) -> CheckAttributes {
    let packs_bytes = written.with_request_body.as_ref().is_some_and(|body| body.value.pack_as_bytes);
    CheckAttributes {
        body: if packs_bytes { Body::Bytes } else { Body::Text },
        extensions: BTreeMap::new(),
        has_certificate: written.include_peer_certificate,
        has_tls_session: written.include_tls_session,
        headers: if written.encode_raw_headers { HeaderForm::Raw } else { HeaderForm::Joined },
        metadata_namespaces: written.metadata_context_namespaces.clone(),
        route_namespaces: written.route_metadata_context_namespaces.clone(),
    }
}

/// The one that is written, if there is one.
fn service(
    grpc: Option<&At<CoreGrpcService>>,
    http: Option<&At<HttpService>>,
    notes: &Notes,
) -> Result<Option<AuthorisationService>, Problem> {
    match (grpc, http) {
        (None, None) => Ok(None),
        (None, Some(http)) => Ok(Some(AuthorisationService::Http(http_service(http, notes)?))),
        (Some(grpc), None) => Ok(Some(AuthorisationService::Grpc(Arc::new(service::grpc(grpc, GRPC_TIMEOUT, notes)?)))),
        (Some(_), Some(http)) => Err(http.invalid("takes exactly one of grpc_service and http_service")),
    }
}

/// What a level says.
pub(super) fn of_route(written: &ExtAuthzPerRoute, place: &Place, notes: &Notes) -> Result<OfRoute, Problem> {
    match (&written.check_settings, &written.disabled) {
        (None, Some(disabled)) if disabled.value => Ok(OfRoute::Disabled),
        (None, Some(disabled)) => Err(disabled.invalid("must be true; leave it out where the filter is on")),
        (Some(settings), None) => check(settings, notes),
        (None, None) | (Some(_), Some(_)) => {
            Err(Problem::invalid(place, "takes exactly one of check_settings and disabled"))
        }
    }
}

fn check(written: &CheckSettings, notes: &Notes) -> Result<OfRoute, Problem> {
    let CheckSettings {
        context_extensions,
        disable_request_body_buffering,
        grpc_service,
        http_service,
        with_request_body,
    } = written;
    let disabled = disable_request_body_buffering.as_ref().filter(|disabled| disabled.value);
    let body = match (disabled, with_request_body) {
        (Some(disabled), Some(_)) => {
            let what = "only one of disable_request_body_buffering and with_request_body can be set";
            return Err(disabled.invalid(what));
        }
        (Some(_), None) => BodyOfRoute::None,
        (None, Some(own)) => BodyOfRoute::Own(body(own)?),
        (None, None) => BodyOfRoute::AsFilter,
    };
    let service = service(grpc_service.as_ref(), http_service.as_ref(), notes)?;
    Ok(OfRoute::Check { body, service, extensions: context_extensions.clone() })
}

/// The filter below these levels, the most specific last; `None` if no request needs authorisation.
pub(super) fn below<'l>(
    filter: &Arc<ExtAuthz>,
    levels: impl DoubleEndedIterator<Item = &'l OfRoute> + Clone,
) -> Option<Arc<ExtAuthz>> {
    match levels.clone().next_back() {
        None => Some(Arc::clone(filter)),
        Some(OfRoute::Disabled) => None,
        Some(OfRoute::Check { body, service, .. }) => {
            // Of all levels, where the most specific has the last word.
            let all = levels.filter_map(|level| match level {
                OfRoute::Check { extensions, .. } => Some(extensions.clone()),
                OfRoute::Disabled => None,
            });
            let attributes = CheckAttributes::clone(&filter.attributes);
            Some(Arc::new(ExtAuthz {
                body: match body {
                    BodyOfRoute::None => None,
                    BodyOfRoute::AsFilter => filter.body,
                    BodyOfRoute::Own(own) => Some(*own),
                },
                service: service.as_ref().unwrap_or(&filter.service).clone(),
                attributes: Arc::new(CheckAttributes { extensions: all.flatten().collect(), ..attributes }),
                ..ExtAuthz::clone(filter)
            }))
        }
    }
}

fn http_service(at: &At<HttpService>, notes: &Notes) -> Result<Arc<HttpAuthorisation>, Problem> {
    let HttpService { authorization_request: request, authorization_response: response, .. } = &at.value;
    let added = request.as_ref().map_or(&[][..], |request| &request.headers_to_add);
    let response = response.as_ref();
    let listed = |list: Option<&At<ListStringMatcher>>| patterns(list, &[]);
    let client = response.and_then(|it| it.allowed_client_headers.as_ref());
    let client = client.filter(|list| !list.value.patterns.is_empty());
    Ok(Arc::new(HttpAuthorisation {
        to: service::service(&at.value.server_uri.value, at.value.retry_policy.as_ref(), None, notes)?,
        path: check_path(&at.value)?,
        edits: mutation::overwritten(added)?,
        upstream: listed(response.and_then(|it| it.allowed_upstream_headers.as_ref()))?,
        upstream_appended: listed(response.and_then(|it| it.allowed_upstream_headers_to_append.as_ref()))?,
        client: client.map(|list| patterns(Some(list), &ALWAYS_SENT)).transpose()?,
        client_on_success: listed(response.and_then(|it| it.allowed_client_headers_on_success.as_ref()))?,
        metadata: listed(response.and_then(|it| it.dynamic_metadata_from_headers.as_ref()))?,
    }))
}

fn check_path(written: &HttpService) -> Result<CheckPath, Problem> {
    let (own, prefix) = (&written.path_override, &written.path_prefix);
    if let (Some(_), Some(prefix)) = (own, prefix) {
        return Err(prefix.invalid("Only one of path_prefix or path_override may be set, not both."));
    }
    let is_relative = |path: &&At<HeaderText>| !path.value.0.as_bytes().starts_with(b"/");
    if let Some(path) = own.as_ref().or(prefix.as_ref()).filter(is_relative) {
        return Err(path.invalid("must begin with a slash"));
    }
    Ok(match own {
        Some(own) => CheckPath::Own(own.value.0.clone()),
        None => CheckPath::Prefixed(prefix.as_ref().map(|prefix| prefix.value.0.clone())),
    })
}

/// The patterns of a list, and these names.
fn patterns(list: Option<&At<ListStringMatcher>>, names: &[&str]) -> Result<Vec<StringMatch>, Problem> {
    let exact = |name: &&str| Ok(StringMatch { pattern: Pattern::Exact((*name).to_owned()), ignore_case: true });
    let listed = list.into_iter().flat_map(|list| &list.value.patterns).map(string_match);
    listed.chain(names.iter().map(exact)).collect()
}

fn body(written: &At<BufferSettings>) -> Result<CheckedBody, Problem> {
    let bytes = &written.value.max_request_bytes;
    let bytes_max = NonZeroU32::new(bytes.value).ok_or_else(|| bytes.invalid("must be greater than 0"))?;
    let larger = if written.value.allow_partial_message { LargerBody::Cut } else { LargerBody::Refused };
    Ok(CheckedBody { bytes_max, larger })
}
