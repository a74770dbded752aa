//! The filter `envoy.filters.http.ratelimit`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::rate_limit::{RESOURCE_EXHAUSTED, added, headers};
use super::rate_limit_policy::{OfLevel, Owner, below_service, of_host, policies, stage};
use super::{fraction, service};
use crate::config::bootstrap::RuntimeFractionalPercent;
use crate::config::bootstrap::filter::{HttpRateLimit as Written, RateLimitPerRoute};
use crate::config::bootstrap::rate_limit::HttpStatus;
use crate::config::fraction::{Fraction, MILLION};
use crate::config::global_rate_limit::{
    CountedOrigin, GlobalOfRoute, GlobalRateLimit, GloballyLimited, LimitedMark, RetryAfterHeader,
};
use crate::config::problem::Problem;
use crate::config::service::{GrpcService, Service};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// How long a call may take by default.
const TIMEOUT: Duration = Duration::from_millis(20);
/// Where what the service says is left by default.
const NAMESPACE: &str = "envoy.filters.http.ratelimit";

pub(super) fn filter(written: &Written, notes: &Notes) -> Result<GlobalRateLimit, Problem> {
    let share = |written: Option<&RuntimeFractionalPercent>, key: Option<&str>, default: u32| match written {
        Some(written) => fraction::fraction(written, notes),
        None => {
            key.into_iter().for_each(|key| notes.reads(key));
            Fraction { millionths: default, key: key.map(str::to_owned) }
        }
    };
    let status = |written: Option<HttpStatus>| written.and_then(|it| StatusCode::from_u16(it.code as u16).ok());
    let denied = if written.failure_mode_deny { MILLION } else { 0 };
    let namespace = Some(&written.metadata_namespace).filter(|name| !name.is_empty());
    Ok(GlobalRateLimit {
        service: Arc::new(called(written, notes)?),
        domain: (*written.domain).into(),
        stage: stage(written.stage.as_ref())?,
        origin: origin(written.request_type.as_ref())?,
        enabled: share(written.filter_enabled.as_ref(), Some("ratelimit.http_filter_enabled"), MILLION),
        enforced: share(written.filter_enforced.as_ref(), Some("ratelimit.http_filter_enforcing"), MILLION),
        denied_on_error: share(written.failure_mode_deny_percent.as_ref(), None, denied),
        status_on_error: status(written.status_on_error).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        // As in Envoy, what is no error is not said of a request that is refused.
        status: status(written.rate_limited_status)
            .filter(|status| status.as_u16() >= 400)
            .unwrap_or(StatusCode::TOO_MANY_REQUESTS),
        grpc_status: written.rate_limited_as_resource_exhausted.then_some(RESOURCE_EXHAUSTED),
        response: Arc::new(added(&written.response_headers_to_add)?),
        mark: if written.disable_x_envoy_ratelimited_header { LimitedMark::Unset } else { LimitedMark::Set },
        retry_after: match written.enable_retry_after_header {
            true => RetryAfterHeader::Set,
            false => RetryAfterHeader::Unset,
        },
        headers: headers(written.enable_x_ratelimit_headers),
        stat_prefix: written.stat_prefix.clone(),
        namespace: namespace.map_or(NAMESPACE, String::as_str).to_owned(),
        policies: policies(&written.rate_limits, Owner::Service, notes)?.into(),
    })
}

/// The service, with the time that the filter gives it: as in Envoy, that of `grpc_service` does not count.
fn called(written: &Written, notes: &Notes) -> Result<GrpcService, Problem> {
    let at = &written.rate_limit_service.grpc_service;
    if at.value.timeout.is_some() {
        notes.note(&at.place, "timeout has no effect here: write timeout in the filter");
    }
    let service = service::grpc(at, TIMEOUT, notes)?;
    let timeout = written.timeout.map_or(Some(TIMEOUT), Seconds::unless_zero);
    Ok(GrpcService { to: Arc::new(Service { timeout, ..Service::clone(&service.to) }), ..service })
}

fn origin(written: Option<&At<String>>) -> Result<CountedOrigin, Problem> {
    match written.map(|at| (at, at.value.as_str())) {
        None | Some((_, "" | "both")) => Ok(CountedOrigin::Any),
        Some((_, "external")) => Ok(CountedOrigin::External),
        Some((_, "internal")) => Ok(CountedOrigin::Internal),
        Some((at, _)) => Err(at.invalid("must be internal, external or both")),
    }
}

/// What a level says.
pub(super) fn of_route(written: &RateLimitPerRoute, notes: &Notes) -> Result<GlobalOfRoute, Problem> {
    if let Some(option) = &written.override_option {
        notes.note(&option.place, "has no effect, as in Envoy: rate_limits here take the place of all others");
    }
    Ok(GlobalOfRoute {
        domain: Some(written.domain.as_str()).filter(|domain| !domain.is_empty()).map(Arc::from),
        policies: policies(&written.rate_limits, Owner::Service, notes)?.into(),
        of_host: of_host(written.vh_rate_limits),
    })
}

/// The filter below these levels, where `said` is what the most specific of them says of it.
pub(super) fn below<'l>(
    filter: &Arc<GlobalRateLimit>,
    said: Option<&Arc<GlobalOfRoute>>,
    levels: impl Iterator<Item = &'l OfLevel>,
) -> GloballyLimited {
    let said = said.map(|said| &**said);
    let domain = said.and_then(|said| said.domain.as_ref()).unwrap_or(&filter.domain);
    GloballyLimited {
        limit: Arc::clone(filter),
        domain: Arc::clone(domain),
        policies: below_service(filter, said, levels),
    }
}
