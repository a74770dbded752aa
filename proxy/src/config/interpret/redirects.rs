//! What `internal_redirect_policy` means.

use http::HeaderName;

use crate::config::bootstrap::policies::{InternalRedirectPolicy, RedirectPredicateConfig};
use crate::config::problem::Problem;
use crate::config::redirects::{InternalRedirects, RedirectPredicate};
use crate::config::yaml::At;

/// `InternalRedirectPolicy.max_internal_redirects`
const REDIRECTS_MAX: u32 = 1;
/// `InternalRedirectPolicy.redirect_response_codes`
const STATUSES: [u16; 1] = [302];
/// Those of which more than these are no redirects; as in Envoy, others are left out.
const REDIRECTS: [u32; 5] = [301, 302, 303, 307, 308];
/// Envoy takes no longer list.
const STATUSES_MAX: usize = 5;

pub(super) fn policy(at: &At<InternalRedirectPolicy>) -> Result<InternalRedirects, Problem> {
    let written = &at.value;
    if written.redirect_response_codes.len() > STATUSES_MAX {
        return Err(at.invalid(format!("redirect_response_codes has at most {STATUSES_MAX} statuses")));
    }
    let is_redirect = |status: &&u32| REDIRECTS.contains(status);
    let statuses = written.redirect_response_codes.iter().filter(is_redirect);
    let statuses = match written.redirect_response_codes.is_empty() {
        true => STATUSES.to_vec(),
        false => statuses.filter_map(|status| u16::try_from(*status).ok()).collect(),
    };
    let copied = written.response_headers_to_copy.iter().map(|name| {
        let is_forbidden = name.value.starts_with(':') || &*name.value == "host";
        let parsed = HeaderName::from_bytes(name.value.as_bytes()).ok().filter(|_| !is_forbidden);
        parsed.ok_or_else(|| name.invalid(":-prefixed headers or Hosts may not be specified here"))
    });
    let predicates = written.predicates.iter().map(|predicate| match &predicate.typed_config {
        RedirectPredicateConfig::AllowListedRoutes(config) => RedirectPredicate::AllowListedRoutes(
            config.allowed_route_names.iter().map(|name| name.to_string()).collect(),
        ),
        RedirectPredicateConfig::PreviousRoutes(_) => RedirectPredicate::PreviousRoutes,
        RedirectPredicateConfig::SafeCrossScheme(_) => RedirectPredicate::SafeCrossScheme,
    });
    Ok(InternalRedirects {
        redirects_max: written.max_internal_redirects.unwrap_or(REDIRECTS_MAX),
        statuses,
        predicates: predicates.collect(),
        cross_scheme: written.allow_cross_scheme_redirect,
        copied: copied.collect::<Result<_, _>>()?,
    })
}
