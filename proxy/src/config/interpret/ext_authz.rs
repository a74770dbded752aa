//! The filter `envoy.filters.http.ext_authz`.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::StatusCode;

use super::pattern::string_match;
use super::{fraction, metadata, mutation, service};
use crate::config::bootstrap::ext_authz::{
    BufferSettings, CheckSettings, ExtAuthz as Written, ExtAuthzPerRoute, HttpService,
};
use crate::config::bootstrap::stats::ListStringMatcher;
use crate::config::error::Place;
use crate::config::ext_authz::{CheckedBody, ExtAuthz, HttpAuthorisation, LargerBody, OnError};
use crate::config::fraction::{Fraction, MILLION};
use crate::config::problem::Problem;
use crate::config::route::Sense;
use crate::config::string_match::{Pattern, StringMatch};
use crate::config::yaml::{At, Notes};

/// What an authorisation service gets to see of every request.
const ALWAYS_SEEN: [&str; 4] = ["authorization", ":method", ":path", ":authority"];
/// What a client gets to see of every denial.
const ALWAYS_SENT: [&str; 4] = [":status", "content-length", "www-authenticate", "location"];

/// What a level says of the filter.
pub(super) enum OfRoute {
    /// Requests need no authorisation.
    Disabled,
    /// They need it in another way.
    Check { body: BodyOfRoute, service: Option<Arc<HttpAuthorisation>> },
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
    let Some(service) = &written.http_service else {
        return Err(Problem::invalid(place, "ext_authz needs http_service"));
    };
    let request = service.value.authorization_request.as_ref();
    let allowed_by_service = request.and_then(|request| request.allowed_headers.as_ref());
    if let (Some(_), Some(second)) = (&written.allowed_headers, allowed_by_service) {
        return Err(second.invalid("Invalid duplicate configuration for allowed_headers."));
    }
    let allowed = allowed_by_service.or(written.allowed_headers.as_ref());
    let enabled = written.filter_enabled.as_ref().map(|share| fraction::fraction(share, notes));
    let status = written.status_on_error.and_then(|status| StatusCode::from_u16(status.code as u16).ok());
    Ok(ExtAuthz {
        service: http_service(service, notes)?,
        enabled: enabled.unwrap_or(Fraction { millionths: MILLION, key: None }),
        enabled_metadata: match &written.filter_enabled_metadata {
            None => None,
            Some(at) => {
                let (path, value) = metadata::matcher(at)?;
                Some((path, value, if at.value.invert { Sense::Inverted } else { Sense::Direct }))
            }
        },
        denied_at_disable: fraction::flag(written.deny_at_disable.as_ref(), 0, notes),
        allowed: patterns(allowed, &ALWAYS_SEEN)?,
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
    })
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
    let CheckSettings { disable_request_body_buffering, http_service, with_request_body, .. } = written;
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
    let service = http_service.as_ref().map(|service| self::http_service(service, notes)).transpose()?;
    Ok(OfRoute::Check { body, service })
}

/// The filter below these levels, the most specific last; `None` if no request needs authorisation.
pub(super) fn below<'l>(
    filter: &Arc<ExtAuthz>,
    mut levels: impl DoubleEndedIterator<Item = &'l OfRoute>,
) -> Option<Arc<ExtAuthz>> {
    match levels.next_back() {
        None => Some(Arc::clone(filter)),
        Some(OfRoute::Disabled) => None,
        Some(OfRoute::Check { body, service }) => Some(Arc::new(ExtAuthz {
            body: match body {
                BodyOfRoute::None => None,
                BodyOfRoute::AsFilter => filter.body,
                BodyOfRoute::Own(own) => Some(*own),
            },
            service: Arc::clone(service.as_ref().unwrap_or(&filter.service)),
            ..ExtAuthz::clone(filter)
        })),
    }
}

fn http_service(at: &At<HttpService>, notes: &Notes) -> Result<Arc<HttpAuthorisation>, Problem> {
    let HttpService { authorization_request: request, authorization_response: response, path_prefix, .. } = &at.value;
    if let Some(prefix) = path_prefix.as_ref().filter(|prefix| !prefix.value.0.as_bytes().starts_with(b"/")) {
        return Err(prefix.invalid("must begin with a slash"));
    }
    let added = request.as_ref().map_or(&[][..], |request| &request.headers_to_add);
    let response = response.as_ref();
    let listed = |list: Option<&At<ListStringMatcher>>| patterns(list, &[]);
    let client = response.and_then(|it| it.allowed_client_headers.as_ref());
    let client = client.filter(|list| !list.value.patterns.is_empty());
    Ok(Arc::new(HttpAuthorisation {
        to: service::service(&at.value.server_uri.value, at.value.retry_policy.as_ref(), None, notes)?,
        path_prefix: path_prefix.as_ref().map(|prefix| prefix.value.0.clone()),
        edits: mutation::overwritten(added)?,
        upstream: listed(response.and_then(|it| it.allowed_upstream_headers.as_ref()))?,
        upstream_appended: listed(response.and_then(|it| it.allowed_upstream_headers_to_append.as_ref()))?,
        client: client.map(|list| patterns(Some(list), &ALWAYS_SENT)).transpose()?,
        client_on_success: listed(response.and_then(|it| it.allowed_client_headers_on_success.as_ref()))?,
        metadata: listed(response.and_then(|it| it.dynamic_metadata_from_headers.as_ref()))?,
    }))
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
