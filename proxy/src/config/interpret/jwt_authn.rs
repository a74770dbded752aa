//! The filter `envoy.filters.http.jwt_authn`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::pattern::string_match;
use super::{data_source, matching, service};
use crate::config::bootstrap::jwt_authn::{
    FilterStateRule, JwtAuthentication, JwtClaimToHeader, JwtPerRoute, JwtProvider, JwtRequirement, RemoteJwks,
    RequirementRule,
};
use crate::config::constraints::HeaderName as WrittenName;
use crate::config::error::Place;
use crate::config::jwks::Keys;
use crate::config::jwt_authn::{
    ByState, Forgiven, JwtAuthn, KeySource, Provider, RemoteKeys, Requirement, Requires, Rule,
};
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes};

/// `RemoteJwks.cache_duration`
const KEPT_FOR: Duration = Duration::from_secs(600);
/// `JwtProvider.clock_skew_seconds`
const CLOCK_SKEW: u32 = 60;
/// When keys are fetched again, if a policy says that they are.
const RETRY_ON: &str = "5xx,gateway-error,connect-failure,reset";

/// What a level says of the filter.
pub(super) enum OfRoute {
    /// Requests need no token.
    Disabled,
    /// They need what this name stands for.
    Named(String),
}

pub(super) fn filter(written: &JwtAuthentication, notes: &Notes) -> Result<JwtAuthn, Problem> {
    let providers = written.providers.values().map(|at| provider(at, notes)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&str> = written.providers.keys().map(String::as_str).collect();
    let mut named = BTreeMap::new();
    for (name, at) in &written.requirement_map {
        named.insert(name.clone(), Arc::new(requirement(at, &names)?));
    }
    let rules = written.rules.iter().map(|at| rule(&at.value, &at.place, &names, &named, notes));
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    let by_state = written.filter_state_rules.as_ref().map(|state| by_state(state, &names).map(Arc::new));
    Ok(JwtAuthn {
        requires: Requires::ByRules(rules.into(), by_state.transpose()?),
        providers: providers.into(),
        named,
        bypasses_preflights: written.bypass_cors_preflight,
        strips_failures: written.strip_failure_response,
        stat_prefix: written.stat_prefix.clone(),
    })
}

fn by_state(written: &FilterStateRule, names: &[&str]) -> Result<ByState, Problem> {
    let each = written.requires.iter().map(|(text, at)| Ok((text.clone(), Arc::new(requirement(at, names)?))));
    Ok(ByState { key: written.name.to_string(), requirements: each.collect::<Result<_, Problem>>()? })
}

/// What a level says.
pub(super) fn of_route(written: &JwtPerRoute, place: &Place) -> Result<OfRoute, Problem> {
    match (&written.disabled, &written.requirement_name) {
        (Some(disabled), None) if disabled.value => Ok(OfRoute::Disabled),
        (Some(disabled), None) => Err(disabled.invalid("must be true; leave it out where the filter is on")),
        (None, Some(name)) => Ok(OfRoute::Named(name.value.to_string())),
        (None, None) | (Some(_), Some(_)) => {
            Err(Problem::invalid(place, "takes exactly one of disabled and requirement_name"))
        }
    }
}

/// The filter below what the most specific level says; `None` if no request needs a token.
pub(super) fn below(filter: &Arc<JwtAuthn>, level: Option<&OfRoute>) -> Option<Arc<JwtAuthn>> {
    match level {
        None => Some(Arc::clone(filter)),
        Some(OfRoute::Disabled) => None,
        // A name that the filter does not have was refused with its level.
        Some(OfRoute::Named(name)) => filter.named.get(name).map(|requirement| {
            Arc::new(JwtAuthn { requires: Requires::Of(Arc::clone(requirement)), ..JwtAuthn::clone(filter) })
        }),
    }
}

fn rule(
    written: &RequirementRule,
    place: &Place,
    names: &[&str],
    named: &BTreeMap<String, Arc<Requirement>>,
    notes: &Notes,
) -> Result<Rule, Problem> {
    let requirement = match (&written.requires, &written.requirement_name) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid(place, "takes at most one of requires and requirement_name"));
        }
        (Some(at), None) => Arc::new(requirement(at, names)?),
        (None, Some(name)) => {
            let what = || {
                name.invalid(format!(
                    "Wrong requirement_name: {}. It should be one of: {}",
                    &*name.value,
                    super::shown(&named.keys().map(String::as_str).collect::<Vec<_>>())
                ))
            };
            named.get(&*name.value).map(Arc::clone).ok_or_else(what)?
        }
        (None, None) => Arc::new(Requirement::Nothing),
    };
    let path = matching::path(&written.r#match)?;
    Ok(Rule { path, conditions: matching::conditions(&written.r#match.value, notes)?, requirement })
}

fn requirement(at: &At<JwtRequirement>, names: &[&str]) -> Result<Requirement, Problem> {
    let JwtRequirement {
        allow_missing,
        allow_missing_or_failed,
        extract_only_without_validation,
        provider_and_audiences,
        provider_name,
        requires_all,
        requires_any,
    } = &at.value;
    let index = |name: &At<String>| {
        let found = names.iter().position(|known| **known == *name.value);
        found.ok_or_else(|| name.invalid(format!("Required provider ['{}'] is not configured.", name.value)))
    };
    let found = [
        provider_name.as_ref().map(|name| index(name).map(|index| Requirement::Provider(index, None))),
        provider_and_audiences.as_ref().map(|both| {
            let audiences = Some(both.audiences.clone()).filter(|audiences| !audiences.is_empty());
            index(&both.provider_name).map(|index| Requirement::Provider(index, audiences))
        }),
        requires_all.as_ref().map(|list| {
            let each = list.value.requirements.iter().map(|at| requirement(at, names));
            each.collect::<Result<_, _>>().map(Requirement::All)
        }),
        requires_any.as_ref().map(|list| any(&list.value.requirements, names)),
        allow_missing.as_ref().map(|_| Ok(Requirement::Missing)),
        extract_only_without_validation.as_ref().map(|_| Ok(Requirement::Marked)),
        allow_missing_or_failed.as_ref().map(|_| Ok(Requirement::MissingOrFailed)),
    ];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (None, _) => Ok(Requirement::Nothing),
        (Some(one), None) => one,
        (Some(_), Some(_)) => Err(at.invalid("a requirement takes at most one kind")),
    }
}

/// One of several. As in Envoy, what may be missing forgives what the others lack, and looks for tokens only where it is alone.
fn any(list: &[At<JwtRequirement>], names: &[&str]) -> Result<Requirement, Problem> {
    let is_lenient =
        |at: &&At<JwtRequirement>| at.value.allow_missing.is_some() || at.value.allow_missing_or_failed.is_some();
    let strict = list.iter().filter(|at| !is_lenient(at)).map(|at| requirement(at, names));
    let strict = strict.collect::<Result<Vec<_>, _>>()?;
    let failing = list.iter().find(|at| at.value.allow_missing_or_failed.is_some());
    let lenient = failing.or_else(|| list.iter().find(is_lenient));
    if let (Some(at), []) = (lenient, &strict[..]) {
        return requirement(at, names);
    }
    let forgiven = match (failing, lenient) {
        (Some(_), _) => Forgiven::MissingOrFailed,
        (None, Some(_)) => Forgiven::Missing,
        (None, None) => Forgiven::Nothing,
    };
    Ok(Requirement::Any(strict, forgiven))
}

fn provider(at: &At<JwtProvider>, notes: &Notes) -> Result<Provider, Problem> {
    let written = &at.value;
    let keys = match (&written.local_jwks, &written.remote_jwks) {
        (Some(local), None) => {
            let bytes = data_source::bytes(local)?;
            let keys = Keys::parse(&bytes.value).map_err(|why| bytes.invalid(format!("invalid local jwks: {why}")))?;
            KeySource::Local(Arc::new(keys))
        }
        (None, Some(remote)) => KeySource::Remote(Box::new(remote_keys(&remote.value, &remote.place, notes)?)),
        (None, None) | (Some(_), Some(_)) => {
            return Err(at.invalid("takes exactly one of local_jwks and remote_jwks"));
        }
    };
    let headers = written.from_headers.iter().map(|it| Ok((header_name(&it.name)?, it.value_prefix.clone())));
    let mut headers: Vec<_> = headers.collect::<Result<_, Problem>>()?;
    let mut parameters: Vec<String> = written.from_params.iter().map(|name| name.to_string()).collect();
    if headers.is_empty() && parameters.is_empty() && written.from_cookies.is_empty() {
        headers.push((AUTHORIZATION, "Bearer ".to_owned()));
        parameters.push("access_token".to_owned());
    }
    let payload_header = written.forward_payload_header.as_ref().map(header_name).transpose()?;
    let claims = written.claim_to_headers.iter().map(claim);
    let skew = if written.clock_skew_seconds == 0 { CLOCK_SKEW } else { written.clock_skew_seconds };
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    Ok(Provider {
        issuer: written.issuer.clone(),
        audiences: written.audiences.clone(),
        subjects: written.subjects.as_ref().map(string_match).transpose()?,
        requires_expiration: written.require_expiration,
        lifetime_max: written.max_lifetime.map(|limit| limit.0),
        clock_skew: skew.into(),
        keys,
        headers,
        parameters,
        cookies: written.from_cookies.iter().map(|name| name.to_string()).collect(),
        forwards: written.forward,
        payload_header: payload_header.map(|name| (name, written.pad_forward_payload_header)),
        claims: claims.collect::<Result<_, Problem>>()?,
        payload_in_metadata: named(&written.payload_in_metadata),
        header_in_metadata: named(&written.header_in_metadata),
        failure_in_metadata: named(&written.failed_status_in_metadata),
        delimited_claims: written
            .normalize_payload_in_metadata
            .as_ref()
            .map_or_else(Vec::new, |it| it.space_delimited_claims.clone()),
        clears_route: written.clear_route_cache,
    })
}

fn claim(at: &At<JwtClaimToHeader>) -> Result<(HeaderName, Vec<String>), Problem> {
    let JwtClaimToHeader { claim_name, claim_path, header_name: name } = &at.value;
    let path = match (&**claim_name, &claim_path[..]) {
        ("", []) => return Err(at.invalid("takes exactly one of claim_name and claim_path")),
        (name, []) => name.split('.').map(str::to_owned).collect(),
        ("", path) => path.iter().map(|segment| segment.key.to_string()).collect(),
        (_, _) => return Err(at.invalid("takes exactly one of claim_name and claim_path")),
    };
    Ok((header_name(name)?, path))
}

fn remote_keys(written: &RemoteJwks, place: &Place, notes: &Notes) -> Result<RemoteKeys, Problem> {
    let uri = &written.http_uri.value;
    let (_, behind) =
        uri.uri.value.split_once("://").ok_or_else(|| uri.uri.invalid("is not a URL; write http://host/path"))?;
    let at = behind.find('/').unwrap_or(behind.len());
    let (host, path) = behind.split_at(at);
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| uri.uri.invalid("is not a URL"));
    Ok(RemoteKeys {
        place: place.path.clone(),
        service: service::service(uri, written.retry_policy.as_ref(), Some(RETRY_ON), notes)?,
        host: value(host)?,
        path: value(if path.is_empty() { "/" } else { path })?,
        kept_for: written.cache_duration.map_or(KEPT_FOR, |kept| kept.0),
    })
}

fn header_name(written: &At<WrittenName>) -> Result<HeaderName, Problem> {
    // Constraints are those of a token.
    HeaderName::from_bytes(written.value.as_bytes()).map_err(|_| written.invalid("is not a header name"))
}
